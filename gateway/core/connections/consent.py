"""The browser's part of connecting: our page, the click, the provider's callback.

A connect link is a bearer link: whoever opens it attaches their account to the org that made it. So the
link leads to our page, the click binds the browser, the callback must come back to the same browser and
the same context, and before the code is worth anything somebody says who finished: under
`VERIFY_CONNECT=redirect` the org's own backend, under `session` a member of the org who is signed in there.
"""

from __future__ import annotations

import hmac
import json
import secrets as random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode, urlsplit

from gateway.core.catalogs import Catalogs
from gateway.core.connections.establishing import Establishing, over
from gateway.core.connections.flows import FLOW_LIFETIME, Choice, Flow, FlowSecrets, FlowStore
from gateway.core.connections.providers import Providers
from gateway.core.connections.wishes import OrgStore, VerifyConnect, Wish, Wishes
from gateway.core.entered import asked_fields, bad_field, check_brought, check_fields, read_credential
from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.links import Links
from gateway.core.tenants.keys import Principal
from oauth import flow as oauth_flow
from oauth import oauth1
from oauth.flow import CallbackRefused, hash_state
from oauth.provider import Provider
from oauth.secret import Secret
from skills_catalog.model import AuthMethod, Integration

_TITLES = {
    "username": "Username",
    "password": "Password",
    "client_id": "Client ID",
    "client_secret": "Client secret",
    "private_key": "Private key (PEM)",
    "key_id": "Key ID",
    "key_file": "Key file (JSON)",
}
_SHOWN = frozenset({"username", "client_id", "key_id"})
_MAY_BE_MISSING = frozenset({"private_key", "key_id", "key_file"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One field of the form on the connect page."""

    name: str
    title: str
    secret: bool = False
    required: bool = True
    value: str = ""
    #: Where to find it.
    description: str = ""
    #: Several lines: a key, a key file.
    is_long: bool = False
    #: The only values that it may have.
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the connect page shows."""

    org_name: str
    integration: Integration
    method: AuthMethod
    scopes: tuple[str, ...]
    inputs: Sequence[Input]
    #: `open` (the form), `sign_in` (the same, once a member has signed in), `choosing` (one of `choices`), `connected`,
    #: `error`, `over`.
    state: str = "open"
    choices: Sequence[Choice] = ()
    account: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """Where the browser goes next, and the cookie that binds it."""

    url: str
    browser: str = field(default="", repr=False)


class SignInFirst(Exception):
    """A member has to sign in before this goes on; then the page at `back` begins again."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.back = back


class Consent:
    """What the pages ask for. Raises `Refusal` (`flow_expired`) wherever nothing may go on."""

    def __init__(
        self,
        *,
        catalogs: Catalogs,
        providers: Providers,
        flows: FlowStore,
        orgs: OrgStore,
        wishes: Wishes,
        establishing: Establishing,
        links: Links,
        verify: VerifyConnect,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._providers = providers
        self._flows = flows
        self._orgs = orgs
        self._wishes = wishes
        self._establishing = establishing
        self._links = links
        self._verify = verify
        self._clock = clock

    @property
    def takes_members(self) -> bool:
        """Whether a member has to be signed in; then every step asks for theirs, and raises `SignInFirst` without."""
        return self._verify == "session"

    async def page(
        self, connection_id: str, browser: str | None = None, member: Principal | None = None
    ) -> Page | None:
        """What the page behind a connect link shows; None where there is no such link."""
        flow = await self._flows.by_link(connection_id)
        if flow is None:
            return None
        kept = await self._choosing(flow, browser)
        shown = await self._page(flow, member)
        if kept is None:
            return shown
        state = "sign_in" if self.takes_members and member is None else "choosing"
        return replace(shown, state=state, choices=kept.choices)

    async def link_page(self, token: str, member: Principal | None = None) -> Page | None:
        """What the page of an `action_url` shows. Nothing is stored."""
        flow = await self._flow_of_link(token)
        return None if flow is None else await self._page(flow, member)

    async def click(
        self, connection_id: str, form: Mapping[str, str], browser: str | None, member: Principal | None = None
    ) -> Away:
        """The POST of the page: on to the provider, or the credential that was typed in."""
        flow = await self._flows.by_link(connection_id)
        if flow is not None and (kept := await self._choosing(flow, browser)) is not None:
            return await self._choose(flow, kept, form, member)
        if flow is None or flow.status != "pending" or flow.detail or flow.expires_at <= self._clock():
            raise over()
        return await self._click(self._finished_by(member, flow, _page_of(flow)), form, browser)

    async def link_click(
        self, token: str, form: Mapping[str, str], browser: str | None, member: Principal | None = None
    ) -> Away:
        """The POST of an `action_url`'s page: the flow begins here."""
        flow = await self._flow_of_link(token)
        if flow is None:
            raise over()
        flow = self._finished_by(member, flow, f"/connect/new?t={token}")
        await self._flows.add(flow)
        return await self._click(flow, form, browser)

    async def callback(
        self,
        context: str,
        query: Iterable[tuple[str, str]],
        browser: str | None,
        member: Principal | None = None,
    ) -> Away:
        """The provider sent the browser back, with a code or with a refusal."""
        pairs = list(query)
        state = next((value for name, value in pairs if name == "state"), "")
        taken = await self._flows.take(hash_state(state)) if state else None
        if taken is None:
            raise over()
        flow, kept = taken
        same_browser = browser is not None and hmac.compare_digest(hash_state(browser), kept.browser)
        if not same_browser or context != kept.context:
            # Another browser or another context than the click's: somebody else's flow (RFC 9700 §4.7, §4.4).
            message = "The flow was finished in another browser."
            await self._establishing.end(flow, "error", error="flow_expired", message=message)
            raise over()
        # Whoever signed out on the way begins again: the state is used up, the link is not.
        flow = self._finished_by(member, flow, _page_of(flow))
        integration, method = self._establishing.found(flow)
        try:
            provider = await self._establishing.provider(flow, method, {**flow.fields, **kept.callback_fields})
            back = _check_callback(provider, kept, pairs)
            fields = check_brought(integration, method, back.fields)
        except (CallbackRefused, Refusal) as refused:
            if isinstance(refused, Refusal):
                # What a browser brings may choose an address: it is refused before anything is sent there.
                refused = CallbackRefused("invalid_callback", refused.message)
            message = f"{refused} The provider says: “{refused.detail}”" if refused.detail else str(refused)
            await self._establishing.end(flow, "error", error=refused.error, message=message)
            return await self._to_result(flow)
        return await self._finish(
            flow, replace(kept, code=back.code, callback_fields={**kept.callback_fields, **fields})
        )

    async def _choosing(self, flow: Flow, browser: str | None) -> FlowSecrets | None:
        """What a flow that waits for a choice has to choose from; None for any browser but the one that consented."""
        if flow.detail != "awaiting_choice" or flow.status != "pending" or browser is None:
            return None
        kept = await self._flows.choosing(flow.org, flow.connection)
        return kept if kept is not None and hmac.compare_digest(hash_state(browser), kept.browser) else None

    async def _choose(self, flow: Flow, kept: FlowSecrets, form: Mapping[str, str], member: Principal | None) -> Away:
        self._finished_by(member, flow, _page_of(flow))
        chosen = form.get("choice", "")
        if not (chosen.isascii() and chosen.isdigit() and len(chosen) < 6 and int(chosen) < len(kept.choices)):
            raise bad_field("choice", "Choose one of the list.")
        taken = await self._flows.take_choosing(flow.org, flow.connection)
        if taken is None:
            raise over()
        flow, kept = taken
        await self._establishing.choose(self._finished_by(member, flow, _page_of(flow)), kept, kept.choices[int(chosen)])
        return await self._to_result(flow)

    def _finished_by(self, member: Principal | None, flow: Flow, back: str) -> Flow:
        """The flow in the name of the member who finishes it, where that takes one; of the flow's own org."""
        if not self.takes_members:
            return flow
        if member is None:
            raise SignInFirst(back)
        if member.org != flow.org:
            raise Refusal("forbidden", f"This link is not of {member.org_name}, for which you are signed in.")
        return replace(flow, by=member.actor)

    async def _flow_of_link(self, token: str) -> Flow | None:
        link = self._links.read_connect(token)
        if link is None:
            return None
        integration = self._catalogs.integration(link.integration)
        wish = Wish(
            org=link.org,
            by=Actor(kind="user", name=link.user),
            integration=link.integration,
            user=link.user,
            method=link.method,
            connection=link.connection,
            scopes=link.scopes,
        )
        return await self._wishes.link_flow(integration, await self._wishes.method(integration, wish), wish)

    async def _click(self, flow: Flow, form: Mapping[str, str], browser: str | None) -> Away:
        integration, method = self._establishing.found(flow)
        names = {item.name for item in asked_fields(integration, method)}
        typed = {name: value for name, value in form.items() if name in names and value}
        fields = check_fields(integration, method, {**flow.fields, **typed})
        browser = browser or random.token_urlsafe(32)
        if not method.is_oauth:
            return replace(await self._typed(flow, integration, method, form, fields, browser), browser=browser)
        client = await self._providers.client(flow.org, flow.integration)
        if client is None:
            raise over()
        provider = self._providers.resolve(method, client, fields)
        begun = await self._establishing.begin(flow, method, provider)
        kept = FlowSecrets(
            verifier=begun.verifier,
            request_token=begun.request_token,
            context=self._providers.context(client),
            redirect_uri=provider.redirect_uri,
            browser=hash_state(browser),
            callback_fields=fields,
        )
        started = await self._flows.start(
            flow.org,
            flow.connection,
            state=hash_state(begun.state.reveal()),
            secrets=kept,
            expires_at=self._clock() + FLOW_LIFETIME,
        )
        if not started:
            raise over()
        return Away(url=begun.url, browser=browser)

    async def _typed(
        self,
        flow: Flow,
        integration: Integration,
        method: AuthMethod,
        form: Mapping[str, str],
        fields: Mapping[str, str],
        browser: str,
    ) -> Away:
        """A credential typed into our page: kept like a code, so that it waits for the confirmation like one."""
        # What may be left out was, if it is empty.
        given = {name: form.get(name, "") for name in method.asks if form.get(name) or name not in _MAY_BE_MISSING}
        read_credential(integration, method, {**fields, **given})
        kept = FlowSecrets(browser=hash_state(browser), code=Secret(json.dumps(given)), callback_fields=fields)
        return await self._finish(flow, kept)

    async def _finish(self, flow: Flow, kept: FlowSecrets) -> Away:
        """Redeems at once, or parks it until the org's backend has said who finished."""
        if self._verify != "redirect":
            await self._establishing.redeem(flow, kept)
            return await self._to_result(flow)
        handle = random.token_urlsafe(32)
        until = self._clock() + FLOW_LIFETIME
        if flow.redirect_url is None or not await self._flows.park(
            flow.org, flow.connection, handle=hash_state(handle), secrets=kept, expires_at=until
        ):
            raise over()
        return Away(url=_with_query(flow.redirect_url, {"connection_id": flow.connection, "handle": handle}))

    async def _page(self, flow: Flow, member: Principal | None) -> Page:
        integration, method = self._establishing.found(flow)
        org = await self._orgs.find(flow.org)
        state = {"connected": "connected", "error": "error"}.get(flow.status, "open")
        if state == "open" and (flow.expires_at <= self._clock() or flow.detail):
            state = "over"
        if state == "open" and self.takes_members and member is None:
            state = "sign_in"
        return Page(
            org_name=org.name if org else "",
            integration=integration,
            method=method,
            scopes=flow.scopes,
            inputs=_inputs(integration, method, flow),
            state=state,
            account=flow.account,
            message=flow.message,
        )

    async def _to_result(self, flow: Flow) -> Away:
        """To the org's page if it asked for one, else to ours. The address carries no code (RFC 9700 §4.2)."""
        now = await self._flows.find(flow.org, flow.connection)
        has_to_choose = now is not None and now.detail == "awaiting_choice"
        if flow.redirect_url is not None and self._verify != "redirect" and not has_to_choose:
            return Away(url=_with_query(flow.redirect_url, {"connection_id": flow.connection}))
        return Away(url=f"{self._links.public_url}{_page_of(flow)}")


def _check_callback(
    provider: Provider, kept: FlowSecrets, pairs: Sequence[tuple[str, str]]
) -> oauth_flow.Callback:
    if provider.grant == "oauth1":
        return oauth1.check_callback(provider, kept.request_token or Secret(""), pairs)
    return oauth_flow.check_callback(provider, pairs)


def _inputs(integration: Integration, method: AuthMethod, flow: Flow) -> list[Input]:
    """The credential's parts, then the connection fields that are still to be asked for."""
    # A key file holds the key that would be typed in by itself.
    asks = ("key_file",) if method.key_file else method.asks
    inputs = [
        Input(
            name=name,
            title=method.inputs.get(name) or _TITLES.get(name, method.title),
            # Where the password is fixed the user name is the key.
            secret=name not in _SHOWN or (name == "username" and method.password is not None),
            required=name != "key_id",
            is_long=name in ("private_key", "key_file"),
        )
        for name in asks
    ]
    inputs += [
        Input(
            name=item.name,
            title=item.title,
            secret=item.secret,
            required=item.required and item.name not in method.filled_in,
            value=item.default or "",
            description=str(item.schema.get("description", "")),
            options=tuple(option for option in item.schema.get("enum", ()) if isinstance(option, str)),
        )
        for item in asked_fields(integration, method)
        if item.name not in flow.fields
    ]
    return inputs


def _page_of(flow: Flow) -> str:
    return f"/connect/{quote(flow.connection)}"


def _with_query(url: str, more: Mapping[str, str]) -> str:
    return url + ("&" if urlsplit(url).query else "?") + urlencode(more)
