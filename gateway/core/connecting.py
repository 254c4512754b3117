"""Connecting an account: from the wish to a connection, and the proof of who finished it.

A connect link is a bearer link: whoever opens it attaches their account to the org that made it. So the
link leads to our page, the click binds the browser, the callback must come back to the same browser and
the same context, and under `VERIFY_CONNECT=redirect` the org's own backend says who finished before the
code is worth anything.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets as random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlencode, urlsplit

from gateway.core.accounts import Account, CredentialRefused, identify
from gateway.core.catalogs import Catalogs
from gateway.core.connections import Connections
from gateway.core.credentials import injection
from gateway.core.entered import check_fields, field_inputs, is_return_url
from gateway.core.errors import Refusal
from gateway.core.flows import Flow, FlowSecrets, FlowStore
from gateway.core.ids import new_id
from gateway.core.keys import Org
from gateway.core.links import Links
from gateway.core.providers import Providers
from gateway.core.request import Upstream
from oauth import flow as oauth_flow
from oauth import tokens
from oauth.connections import Connection, ConnectionState, Credential
from oauth.flow import CallbackRefused, hash_state
from oauth.schemes import InputRefused, credential_from_input
from oauth.secret import Secret
from oauth.tokens import ClientRefused, GrantDead, Http, TokenError
from skills_catalog.model import AuthMethod, Integration

log = logging.getLogger("skillway.connect")

#: Seconds from the wish to the click, and from the click to the callback.
FLOW_LIFETIME = 600.0
#: Seconds a provider may take to revoke before the connection goes without.
_REVOKE_DEADLINE = 10.0
_POLL_EVERY = 1.0

VerifyConnect = Literal["none", "redirect"]


class OrgStore(Protocol):
    """What connecting needs to know of an org."""

    async def find(self, org: str) -> Org | None: ...

    async def redirect_urls(self, org: str) -> Sequence[str]: ...

    async def set_redirect_urls(self, org: str, urls: Sequence[str]) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants connected."""

    org: str
    integration: str
    user: str
    #: Name of the auth method; None takes the first that can be used.
    method: str | None = None
    #: OAuth scopes; None takes the definition's.
    scopes: tuple[str, ...] | None = None
    label: str | None = None
    #: A credential and connection fields by name; with a whole credential it connects at once.
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: The connection to renew.
    connection: str | None = None
    redirect_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One field of the form on the connect page."""

    name: str
    title: str
    secret: bool = False
    required: bool = True
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the connect page shows."""

    org_name: str
    integration: Integration
    method: AuthMethod
    scopes: tuple[str, ...]
    inputs: Sequence[Input]
    #: `open` (the form), `connected`, `error`, `over`.
    state: str = "open"
    account: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """Where the browser goes next, and the cookie that binds it."""

    url: str
    browser: str = field(default="", repr=False)


class Connecting:
    """Makes, renews and ends connections."""

    def __init__(
        self,
        *,
        catalogs: Catalogs,
        providers: Providers,
        flows: FlowStore,
        orgs: OrgStore,
        connections: Connections,
        links: Links,
        http: Http,
        upstream: Upstream,
        tenancy: str,
        verify: VerifyConnect,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._providers = providers
        self._flows = flows
        self._orgs = orgs
        self._connections = connections
        self._links = links
        self._http = http
        self._upstream = upstream
        self._tenancy = tenancy
        self._verify = verify
        self._clock = clock
        self._changed: dict[str, asyncio.Event] = {}

    async def begin(self, wish: Wish) -> dict[str, Any]:
        """`POST /v1/connect`: a link to our page, or with a credential a connection at once."""
        integration = self._catalogs.integration(wish.integration)
        method = await self._method(integration, wish)
        given = {name for name in wish.credentials if name not in _field_names(integration)}
        if given:
            return await self._connect_at_once(integration, method, wish)
        flow = await self._flow(integration, method, wish)
        await self._flows.add(flow)
        return self._shown(flow) | {"oauth_url": f"{self._links.public_url}/connect/{flow.connection}"}

    async def status(self, org: str, connection_id: str, *, wait: float = 0.0) -> dict[str, Any]:
        """The poll: `pending`, `connected` or `error`. With `wait` it answers when that changes, or after it."""
        until = self._clock() + wait
        while True:
            changed = self._changed.setdefault(connection_id, asyncio.Event())
            shown = await self._poll(org, connection_id)
            left = until - self._clock()
            if shown["status"] != "pending" or left <= 0:
                self._changed.pop(connection_id, None)
                return shown
            try:
                # Another replica may finish it: its row is looked at again.
                await asyncio.wait_for(changed.wait(), min(left, _POLL_EVERY))
            except TimeoutError:
                continue

    # The pages.

    async def page(self, connection_id: str) -> Page | None:
        """What the page behind a connect link shows; None where there is no such link."""
        flow = await self._flows.by_link(connection_id)
        if flow is None:
            return None
        return await self._page(flow)

    async def link_page(self, token: str) -> Page | None:
        """What the page of an `action_url` shows. Nothing is stored."""
        flow = await self._flow_of_link(token)
        return None if flow is None else await self._page(flow)

    async def click(self, connection_id: str, form: Mapping[str, str], browser: str | None) -> Away:
        """The POST of the page: on to the provider, or the credential that was typed in."""
        flow = await self._flows.by_link(connection_id)
        if flow is None or flow.status != "pending" or flow.detail or flow.expires_at <= self._clock():
            raise _over()
        return await self._click(flow, form, browser)

    async def link_click(self, token: str, form: Mapping[str, str], browser: str | None) -> Away:
        """The POST of an `action_url`'s page: the flow begins here."""
        flow = await self._flow_of_link(token)
        if flow is None:
            raise _over()
        await self._flows.add(flow)
        return await self._click(flow, form, browser)

    async def callback(self, context: str, query: Iterable[tuple[str, str]], browser: str | None) -> Away:
        """The provider sent the browser back. Raises `Refusal` (`flow_expired`) where nothing may be redeemed."""
        pairs = list(query)
        state = next((value for name, value in pairs if name == "state"), "")
        taken = await self._flows.take(hash_state(state)) if state else None
        if taken is None:
            raise _over()
        flow, kept = taken
        same_browser = browser is not None and hmac.compare_digest(hash_state(browser), kept.browser)
        if not same_browser or context != kept.context:
            # Another browser or another context than the click's: somebody else's flow (RFC 9700 §4.7, §4.4).
            await self._end(flow, "error", error="flow_expired", message="The flow was finished in another browser.")
            raise _over()
        integration, method = self._found(flow)
        try:
            provider = await self._provider(flow, method)
            back = oauth_flow.check_callback(provider, pairs)
        except CallbackRefused as refused:
            message = f"{refused} ({refused.detail})" if refused.detail else str(refused)
            await self._end(flow, "error", error=refused.error, message=message)
            return self._to_result(flow)
        kept = replace(kept, code=back.code, callback_fields=back.fields)
        if self._verify == "redirect":
            return await self._park(flow, kept)
        await self._redeem(flow, kept)
        return self._to_result(flow)

    async def confirm(self, org: str, connection_id: str, *, user: str, handle: str) -> dict[str, Any]:
        """The org's backend says who finished: only now is the code redeemed."""
        flow = await self._flows.find(org, connection_id)
        if flow is None:
            raise Refusal("not_found", "Connection not found.")
        taken = await self._flows.take_parked(org, connection_id, hash_state(handle))
        if taken is None:
            raise _over()
        flow, kept = taken
        if user != flow.user:
            await self._end(flow, "error", error="forbidden", message="Another user finished the flow.")
            raise Refusal("forbidden", "The flow was begun for another user. Nothing was connected.")
        await self._redeem(flow, kept)
        return await self._poll(org, connection_id)

    # Connections as resources.

    async def connections(self, org: str, user: str | None, integration: str | None) -> list[dict[str, Any]]:
        return [self.shown(connection) for connection in await self._connections.list(org, user, integration)]

    async def connection(self, org: str, connection_id: str) -> dict[str, Any]:
        held = await self._connections.find(org, connection_id)
        if held is None:
            raise Refusal("not_found", "Connection not found.")
        return self.shown(held.connection)

    async def disconnect(self, org: str, connection_id: str) -> None:
        """Revokes at the provider where it can, and forgets the credential whether or not it could."""
        held = await self._connections.find(org, connection_id)
        if held is None:
            raise Refusal("not_found", "Connection not found.")
        try:
            provider = await self._providers.for_connection(held.connection, held.credential)
            if provider is not None:
                async with asyncio.timeout(_REVOKE_DEADLINE):
                    await tokens.revoke(self._http, provider, held.credential)
        except (TokenError, TimeoutError, Refusal) as error:
            log.warning("%s not revoked at the provider: %s", connection_id, error)
        await self._connections.delete(org, connection_id)

    async def redirect_urls(self, org: str) -> Sequence[str]:
        return await self._orgs.redirect_urls(org)

    async def set_redirect_urls(self, org: str, urls: Sequence[Any]) -> Sequence[str]:
        """Registers where browsers may be sent after a flow. Compared whole, never by prefix."""
        for position, url in enumerate(urls):
            if not is_return_url(url):
                raise _bad(f"redirect_urls/{position}", "An https address without a fragment; http only on loopback.")
        await self._orgs.set_redirect_urls(org, [str(url) for url in urls])
        return [str(url) for url in urls]

    def shown(self, connection: Connection) -> dict[str, Any]:
        """A connection as the API shows it: no credential in it."""
        shown: dict[str, Any] = {
            "id": connection.id,
            "integration": connection.integration,
            "user": connection.user,
            "auth": connection.method,
            "state": connection.state.value,
            "label": connection.label,
            "account": connection.account,
            "scopes": list(connection.scopes) if connection.scopes is not None else None,
            "fields": dict(connection.fields),
            "created_at": connection.created_at,
            "updated_at": connection.updated_at,
        }
        if connection.reason:
            shown["reason"] = connection.reason
        if connection.retry_at is not None:
            shown["retry_at"] = connection.retry_at
        if connection.state is ConnectionState.NEEDS_REAUTH:
            shown["action_url"] = self._links.connect(
                connection.org, connection.integration, connection.user,
                method=connection.method, connection=connection.id,
            )
        return shown

    # From the wish to a flow.

    async def _method(self, integration: Integration, wish: Wish) -> AuthMethod:
        usable = [method for method in integration.auth if method.type not in ("none", "oauth1", "jwt_bearer")]
        names = [method.name for method in usable]
        if wish.method is not None:
            if wish.method not in names:
                raise _bad("auth", f"{integration.slug} has no auth method {wish.method[:64]!r}; it has {', '.join(names)}.")
            return next(method for method in usable if method.name == wish.method)
        if not usable:
            raise _bad("integration", f"{integration.slug} needs no connection.")
        keys = {name for name in wish.credentials if name not in _field_names(integration)}
        if keys:
            fitting = [method for method in usable if keys <= set(_inputs(method))]
            if not fitting:
                raise _bad("credentials", f"No auth method of {integration.slug} takes {', '.join(sorted(map(str, keys)))[:200]}.")
            return fitting[0]
        client = await self._providers.client(wish.org, integration.slug)
        ready = [method for method in usable if not method.is_oauth or client is not None]
        return (ready or usable)[0]

    async def _flow(self, integration: Integration, method: AuthMethod, wish: Wish) -> Flow:
        if method.is_oauth and await self._providers.client(wish.org, integration.slug) is None:
            raise Refusal(
                "forbidden", self._providers.unavailable_reason(integration, None) or
                f"There is no OAuth client for {integration.slug}; connect by another method."
            )
        redirect_url = await self._return_url(wish)
        if wish.connection is not None:
            held = await self._connections.find(wish.org, wish.connection)
            if held is None or held.connection.integration != integration.slug or held.connection.user != wish.user:
                raise Refusal("not_found", "Connection not found.")
        now = self._clock()
        return Flow(
            connection=wish.connection or new_id("conn"),
            org=wish.org,
            integration=integration.slug,
            user=wish.user,
            method=method.name,
            scopes=_scopes(method, wish.scopes),
            label=wish.label,
            redirect_url=redirect_url,
            fields=check_fields(integration, wish.credentials, partial=True),
            renews=wish.connection is not None,
            created_at=now,
            expires_at=now + FLOW_LIFETIME,
        )

    async def _return_url(self, wish: Wish) -> str | None:
        if self._tenancy == "separate" and self._verify == "none":
            raise Refusal(
                "forbidden",
                "With TENANCY=separate a connect link must prove who finished it. The operator sets VERIFY_CONNECT=redirect.",
            )
        registered = await self._orgs.redirect_urls(wish.org)
        if wish.redirect_url is not None and wish.redirect_url not in registered:
            raise _bad("redirect_url", "Not one of the org's registered URLs. Register it with PUT /v1/org/redirect-urls.")
        if self._verify != "redirect" or wish.redirect_url is not None:
            return wish.redirect_url
        if len(registered) != 1:
            raise _bad("redirect_url", "Say which registered URL the browser returns to (PUT /v1/org/redirect-urls).")
        return registered[0]

    async def _flow_of_link(self, token: str) -> Flow | None:
        link = self._links.read_connect(token)
        if link is None:
            return None
        integration = self._catalogs.integration(link.integration)
        wish = Wish(
            org=link.org, integration=link.integration, user=link.user, method=link.method, connection=link.connection
        )
        return await self._flow(integration, await self._method(integration, wish), wish)

    # From the click to the callback.

    async def _click(self, flow: Flow, form: Mapping[str, str], browser: str | None) -> Away:
        integration, method = self._found(flow)
        fields = {**flow.fields, **check_fields(integration, {k: v for k, v in form.items() if k in _field_names(integration) and v})}
        browser = browser or random.token_urlsafe(32)
        if not method.is_oauth:
            return await self._typed(flow, integration, method, form, fields, browser)
        flow = replace(flow, fields=fields)
        client = await self._providers.client(flow.org, flow.integration)
        if client is None:
            raise _over()
        provider = self._providers.resolve(method, client, fields)
        begun = oauth_flow.begin(provider, flow.scopes)
        kept = FlowSecrets(
            verifier=begun.verifier,
            context=self._providers.context(client),
            redirect_uri=provider.redirect_uri,
            browser=hash_state(browser),
            callback_fields=fields,
        )
        started = await self._flows.start(
            flow.org, flow.connection, state=hash_state(begun.state.reveal()), secrets=kept,
            expires_at=self._clock() + FLOW_LIFETIME,
        )
        if not started:
            raise _over()
        return Away(url=begun.url, browser=browser)

    async def _typed(
        self, flow: Flow, integration: Integration, method: AuthMethod, form: Mapping[str, str],
        fields: Mapping[str, str], browser: str,
    ) -> Away:
        """A credential typed into our page. Under `redirect` it waits for the confirmation like a code does."""
        given = {name: form.get(name, "") for name in _inputs(method)}
        try:
            credential_from_input(method.type, given, pattern=method.pattern)
        except InputRefused as refused:
            raise _bad(refused.field, f"{refused}.") from None
        kept = FlowSecrets(browser=hash_state(browser), code=Secret(json.dumps(given)), callback_fields=fields)
        if self._verify == "redirect":
            return replace(await self._park(flow, kept), browser=browser)
        await self._redeem(flow, kept)
        return self._to_result(flow)

    async def _park(self, flow: Flow, kept: FlowSecrets) -> Away:
        handle = random.token_urlsafe(32)
        until = self._clock() + FLOW_LIFETIME
        if flow.redirect_url is None or not await self._flows.park(
            flow.org, flow.connection, handle=hash_state(handle), secrets=kept, expires_at=until
        ):
            raise _over()
        return Away(url=_with_query(flow.redirect_url, {"connection_id": flow.connection, "handle": handle}))

    # From the code to a connection.

    async def _redeem(self, flow: Flow, kept: FlowSecrets) -> None:
        """Redeems what was kept and stores the connection, or says on the flow why not."""
        # Between the provider's answer and our commit nothing may come: a code is redeemed once.
        await asyncio.shield(asyncio.ensure_future(self._redeem_whole(flow, kept)))

    async def _redeem_whole(self, flow: Flow, kept: FlowSecrets) -> None:
        try:
            integration, method = self._found(flow)
            fields = {**flow.fields, **kept.callback_fields}
            now = self._clock()
            assert kept.code is not None
            if method.is_oauth:
                provider = replace(await self._provider(flow, method, fields), redirect_uri=kept.redirect_uri)
                answer = await tokens.exchange_code(self._http, provider, kept.code, kept.verifier, now=now)
                credential, scopes = answer.credential, answer.scopes
                fields |= answer.fields
            else:
                credential = credential_from_input(
                    method.type, json.loads(kept.code.reveal()), pattern=method.pattern, now=now
                )
                scopes = None
            account = await self._store(integration, method, flow, credential, scopes, fields)
        except TokenError as error:
            log.warning("%s code not redeemed: %s", flow.connection, error.reason)
            await self._end(flow, "error", error=error.reason, message=_told(error))
        except Refusal as refusal:
            await self._end(flow, "error", error=refusal.code, message=refusal.message)
        except Exception:
            log.exception("%s not connected", flow.connection)
            await self._end(flow, "error", error="internal", message="Something went wrong here. Start again.")
        else:
            await self._end(flow, "connected", account=account)

    async def _connect_at_once(self, integration: Integration, method: AuthMethod, wish: Wish) -> dict[str, Any]:
        if method.is_oauth:
            raise _bad("credentials", f"The method {method.name!r} is connected in a browser; leave `credentials` out.")
        names = _field_names(integration)
        try:
            credential = credential_from_input(
                method.type, wish.credentials, pattern=method.pattern, also=names, now=self._clock()
            )
        except InputRefused as refused:
            raise _bad(f"credentials/{refused.field}", f"{refused}.") from None
        flow = replace(await self._flow_without_link(integration, method, wish))
        fields = {**check_fields(integration, {k: v for k, v in wish.credentials.items() if k in names})}
        account = await self._store(integration, method, flow, credential, None, fields)
        await self._flows.add(replace(flow, status="connected", account=account))
        return self._shown(replace(flow, status="connected", account=account)) | {"oauth_url": None}

    async def _flow_without_link(self, integration: Integration, method: AuthMethod, wish: Wish) -> Flow:
        if wish.connection is not None:
            held = await self._connections.find(wish.org, wish.connection)
            if held is None or held.connection.integration != integration.slug or held.connection.user != wish.user:
                raise Refusal("not_found", "Connection not found.")
        now = self._clock()
        return Flow(
            connection=wish.connection or new_id("conn"), org=wish.org, integration=integration.slug, user=wish.user,
            method=method.name, label=wish.label, renews=wish.connection is not None,
            created_at=now, expires_at=now + FLOW_LIFETIME,
        )

    async def _store(
        self, integration: Integration, method: AuthMethod, flow: Flow, credential: Credential,
        scopes: tuple[str, ...] | None, fields: Mapping[str, str],
    ) -> str | None:
        """Checks the credential by `whoami` and stores the connection; gives back the account's name."""
        hidden = {item.name for item in integration.fields if item.secret}
        credential = replace(
            credential, fields={name: Secret(value) for name, value in fields.items() if name in hidden}
        )
        shown = {name: value for name, value in fields.items() if name not in hidden}
        now = self._clock()
        connection = Connection(
            id=flow.connection, org=flow.org, integration=flow.integration, user=flow.user, method=method.name,
            state=ConnectionState.ACTIVE, label=flow.label, fields=shown, scopes=scopes, created_at=now, updated_at=now,
        )
        if method.type == "client_credentials":
            provider = self._providers.resolve(method, None, fields, credential)
            try:
                granted = await tokens.client_credentials(self._http, provider, credential=credential, now=now)
            except (GrantDead, ClientRefused) as error:
                raise _bad("credentials", f"{integration.name} does not accept this client ({error.reason}).") from None
            except TokenError as error:
                raise Refusal("upstream_unreachable", f"{integration.name} gave no token ({error.reason}).",
                              outcome="unknown", retryable=True) from None
            credential = replace(granted.credential, fields=credential.fields)
            connection = replace(connection, scopes=granted.scopes)
        account = await self._whoami(integration, connection, credential)
        connection = replace(connection, account=account.name, account_id=account.id)
        if not flow.renews:
            await self._connections.add(connection, credential)
        else:
            await self._renew(connection, credential)
        return connection.account

    async def _renew(self, connection: Connection, credential: Credential) -> None:
        """Keeps the id; another account than before is refused, and what was stored stays."""
        held = await self._connections.find(connection.org, connection.id)
        if held is None:
            raise Refusal("not_found", "The connection was removed meanwhile.")
        before = held.connection
        old, new = before.account_id or before.account, connection.account_id or connection.account
        if old is not None and new != old:
            raise Refusal(
                "account_changed",
                f"This connection belongs to {before.account}; the account chosen now is {connection.account or 'unknown'}.",
            )
        kept = replace(connection, label=connection.label or before.label, created_at=before.created_at)
        await self._connections.renew(kept, credential)

    async def _whoami(self, integration: Integration, connection: Connection, credential: Credential) -> Account:
        try:
            return await identify(self._upstream, integration, connection, credential)
        except CredentialRefused as refused:
            raise _bad("credentials", f"{integration.name} does not accept this credential (it answered {refused.status}).") from None

    # Small parts.

    def _found(self, flow: Flow) -> tuple[Integration, AuthMethod]:
        integration = self._catalogs.integration(flow.integration)
        method = integration.method(flow.method)
        if method is None:
            raise _over()
        return integration, method

    async def _provider(self, flow: Flow, method: AuthMethod, fields: Mapping[str, str] | None = None) -> Any:
        client = await self._providers.client(flow.org, flow.integration)
        if client is None:
            raise _over()
        return self._providers.resolve(method, client, flow.fields if fields is None else fields)

    async def _page(self, flow: Flow) -> Page:
        integration, method = self._found(flow)
        org = await self._orgs.find(flow.org)
        state = {"connected": "connected", "error": "error"}.get(flow.status, "open")
        if state == "open" and (flow.expires_at <= self._clock() or flow.detail):
            state = "over"
        inputs: list[Input] = []
        if not method.is_oauth:
            inputs += [Input(name=name, title=_titles(method, name), secret=name != "username") for name in _inputs(method)]
        inputs += [
            Input(name=item.name, title=item.title, secret=item.secret, required=item.required, value=item.default or "")
            for item in field_inputs(integration, flow.fields)
        ]
        return Page(
            org_name=org.name if org else "", integration=integration, method=method, scopes=flow.scopes,
            inputs=inputs, state=state, account=flow.account, message=flow.message,
        )

    async def _end(
        self, flow: Flow, status: Literal["connected", "error"], *, error: str | None = None,
        message: str | None = None, account: str | None = None,
    ) -> None:
        await self._flows.finish(flow.org, flow.connection, status, error=error, message=message, account=account)
        if changed := self._changed.pop(flow.connection, None):
            changed.set()

    def _to_result(self, flow: Flow) -> Away:
        """To the org's page if it asked for one, else to ours. The address carries no code (RFC 9700 §4.2)."""
        if flow.redirect_url is not None and self._verify == "none":
            return Away(url=_with_query(flow.redirect_url, {"connection_id": flow.connection}))
        return Away(url=f"{self._links.public_url}/connect/{quote(flow.connection)}")

    def _shown(self, flow: Flow) -> dict[str, Any]:
        return {"connection_id": flow.connection, "status": flow.status, "expires_at": int(flow.expires_at)}

    async def _poll(self, org: str, connection_id: str) -> dict[str, Any]:
        flow = await self._flows.find(org, connection_id)
        if flow is None:
            held = await self._connections.find(org, connection_id)
            if held is None:
                raise Refusal("not_found", "Connection not found.")
            connection = held.connection
            return {"status": "connected", "integration": connection.integration, "user": connection.user,
                    "account": connection.account}
        shown: dict[str, Any] = {"status": flow.status, "integration": flow.integration, "user": flow.user}
        if flow.status == "pending" and flow.expires_at <= self._clock():
            return shown | {"status": "error", "error": "flow_expired", "message": "Nobody finished the flow in time."}
        for name in ("detail", "account", "error", "message"):
            value = getattr(flow, name)
            if value is not None:
                shown[name] = value
        return shown


def _inputs(method: AuthMethod) -> tuple[str, ...]:
    from oauth.schemes import INPUTS

    return INPUTS.get(method.type, ())


def _titles(method: AuthMethod, name: str) -> str:
    return {
        "token": method.title,
        "api_key": method.title,
        "username": "Username",
        "password": "Password",
        "client_id": "Client ID",
        "client_secret": "Client secret",
    }[name]


def _field_names(integration: Integration) -> frozenset[str]:
    return frozenset(item.name for item in integration.fields)


def _scopes(method: AuthMethod, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    for scope in wanted or ():
        # RFC 6749 §3.3: scope-token.
        if not scope or len(scope) > 256 or any(c in ' "\\' or not "!" <= c <= "~" for c in scope):
            raise _bad("scopes", f"{scope[:64]!r} is not an OAuth scope.")
    return method.scopes.default if wanted is None else tuple(dict.fromkeys(wanted))


def _with_query(url: str, more: Mapping[str, str]) -> str:
    return url + ("&" if urlsplit(url).query else "?") + urlencode(more)


def _told(error: TokenError) -> str:
    if isinstance(error, GrantDead):
        return "The provider did not accept the code. Start again."
    if isinstance(error, ClientRefused):
        return "The provider does not accept this gateway's OAuth client. The operator has to look at it."
    return "The provider could not be reached. Start again in a moment."


def _over() -> Refusal:
    return Refusal("flow_expired", "This connect flow is over, was already used, or belongs to another browser. Start again.")


def _bad(path: str, message: str) -> Refusal:
    return Refusal("bad_request", message, details={"fields": [{"path": path, "keyword": "format", "message": message}]})
