"""From a code or a credential to a stored connection: redeemed once, checked by `whoami`, sealed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Literal

from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.connections.accounts import CredentialRefused, identify
from gateway.core.connections.connections import Connections
from gateway.core.connections.credentials import with_client
from gateway.core.connections.flows import FLOW_LIFETIME, Choice, Flow, FlowSecrets, FlowStore
from gateway.core.connections.lookups import look_up, pick
from gateway.core.connections.outgoing import Outgoing
from gateway.core.connections.providers import Providers
from gateway.core.entered import bad_field, check_found, read_credential
from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.requests.request import Upstream
from gateway.core.tenants.access import Plans
from gateway.core.tenants.keys import TooMany
from oauth import flow as oauth_flow
from oauth import oauth1, tokens
from oauth.connections import Connection, ConnectionState, Credential, Held
from oauth.flow import Begun
from oauth.http_port import Http
from oauth.provider import Provider
from oauth.secret import Secret
from oauth.token_answers import ClientRefused, GrantDead, TokenAnswer, TokenError
from skills_catalog.model import AuthMethod, Integration

log = logging.getLogger("skillway.connect")


class Undecided(Exception):
    """The account has several of what the connection is for one of; somebody has to choose."""

    def __init__(self, granted: TokenAnswer, choices: tuple[Choice, ...]) -> None:
        super().__init__(f"{len(choices)} choices")
        self.granted = granted
        self.choices = choices


class Establishing:
    """Ends flows: with a connection, or with the reason why there is none."""

    def __init__(
        self,
        *,
        catalogs: Catalogs,
        providers: Providers,
        flows: FlowStore,
        connections: Connections,
        plans: Plans,
        changes: Changes,
        http: Http,
        upstream: Upstream,
        outgoing: Outgoing,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._providers = providers
        self._flows = flows
        self._connections = connections
        self._plans = plans
        self._changes = changes
        self._http = http
        self._upstream = upstream
        self._outgoing = outgoing
        self._clock = clock

    def found(self, flow: Flow) -> tuple[Integration, AuthMethod]:
        """The integration and auth method of a flow. Raises `flow_expired` where the catalog dropped the method."""
        integration = self._catalogs.integration(flow.integration)
        method = integration.method(flow.method)
        if method is None:
            raise over()
        return integration, method

    async def provider(self, flow: Flow, method: AuthMethod, fields: Mapping[str, str]) -> Provider:
        """The authorization server of a flow. Raises `flow_expired` where the client is gone."""
        client = await self._providers.client(flow.org, flow.integration)
        if client is None:
            raise over()
        return self._providers.resolve(method, client, fields)

    async def begin(self, flow: Flow, method: AuthMethod, provider: Provider) -> Begun:
        """Where the browser goes to consent. OAuth 1.0a asks the provider first: raises `Refusal` where it says no."""
        if method.type != "oauth1":
            return oauth_flow.begin(provider, flow.scopes)
        try:
            return await oauth1.begin(self._http, provider, flow.scopes)
        except TokenError as error:
            log.warning("%s not begun: %s", flow.connection, error.reason)
            if isinstance(error, ClientRefused):
                raise Refusal("forbidden", _told(error)) from None
            raise Refusal("upstream_unreachable", _told(error), outcome="not_sent", retryable=True) from None

    async def redeem(self, flow: Flow, kept: FlowSecrets) -> None:
        """Makes the connection, or says on the flow why not, or that the person has to choose."""
        # Between the provider's answer and our commit nothing may come: a code is redeemed once.
        await asyncio.shield(asyncio.ensure_future(self._redeem(flow, kept)))

    async def choose(self, flow: Flow, kept: FlowSecrets, choice: Choice) -> None:
        """Makes the connection for what the person has chosen, or says on the flow why not."""
        assert kept.granted is not None
        granted = replace(kept.granted, fields={**kept.granted.fields, **choice.fields})

        async def store() -> str | None:
            integration, method = self.found(flow)
            return await self.store(integration, method, flow, granted, is_chosen=True)

        await asyncio.shield(asyncio.ensure_future(self._end_by(store, flow, kept.browser)))

    async def store(
        self,
        integration: Integration,
        method: AuthMethod,
        flow: Flow,
        granted: TokenAnswer,
        *,
        is_chosen: bool = False,
    ) -> str | None:
        """Checks a credential by `whoami` and stores the connection; gives back the account's name.

        `is_chosen`: what is looked up has been, and somebody has chosen. Raises `Refusal` where the integration does
        not take the credential, `Undecided` where somebody has to choose first.
        """
        if method.is_own_grant and granted.credential.token is None:
            granted = await self._own_token(integration, method, flow, granted)
        if method.lookup is not None and not is_chosen:
            granted = await self._looked_up(integration, method, flow, granted)
        granted = replace(granted, fields=check_found(integration, method, granted.fields))
        held = self._held(integration, method, flow, granted)
        connection = await self._with_account(integration, method, held)
        if flow.renews:
            await self._renew(connection, held.credential, flow.by)
        else:
            await self._add(connection, held.credential, flow.by)
        return connection.account

    async def end(
        self,
        flow: Flow,
        status: Literal["connected", "error"],
        *,
        error: str | None = None,
        message: str | None = None,
        account: str | None = None,
    ) -> None:
        """Ends a flow and wakes who waits for it."""
        await self._flows.finish(flow.org, flow.connection, status, error=error, message=message, account=account)
        self._changes.tell(flow.connection)

    async def _redeem(self, flow: Flow, kept: FlowSecrets) -> None:
        async def store() -> str | None:
            integration, method = self.found(flow)
            granted = await self._granted(integration, flow, method, kept)
            return await self.store(integration, method, flow, granted)

        await self._end_by(store, flow, kept.browser)

    async def _end_by(self, store: Callable[[], Awaitable[str | None]], flow: Flow, browser: bytes) -> None:
        """Ends the flow with what storing the connection comes to."""
        try:
            account = await store()
        except Undecided as undecided:
            kept = FlowSecrets(browser=browser, granted=undecided.granted, choices=undecided.choices)
            until = self._clock() + FLOW_LIFETIME
            await self._flows.await_choice(flow.org, flow.connection, secrets=kept, expires_at=until)
            self._changes.tell(flow.connection)
        except TokenError as error:
            log.warning("%s not redeemed: %s", flow.connection, error.reason)
            await self.end(flow, "error", error=error.reason, message=_told(error))
        except Refusal as refusal:
            await self.end(flow, "error", error=refusal.code, message=refusal.message)
        except Exception:
            log.exception("%s not connected", flow.connection)
            await self.end(flow, "error", error="internal", message="Something went wrong here. Start again.")
        else:
            await self.end(flow, "connected", account=account)

    async def _granted(
        self, integration: Integration, flow: Flow, method: AuthMethod, kept: FlowSecrets
    ) -> TokenAnswer:
        """What the code is worth at the provider, or the credential that was typed in."""
        assert kept.code is not None
        fields, now = {**flow.fields, **kept.callback_fields}, self._clock()
        if not method.is_oauth:
            entered = read_credential(integration, method, {**fields, **json.loads(kept.code.reveal())}, now=now)
            return TokenAnswer(credential=entered.credential, fields=entered.fields)
        provider = replace(await self.provider(flow, method, fields), redirect_uri=kept.redirect_uri)
        if method.type == "oauth1":
            assert kept.request_token is not None and kept.verifier is not None
            answer = await oauth1.exchange_verifier(
                self._http, provider, kept.request_token, kept.verifier, kept.code, now=now
            )
        else:
            answer = await tokens.exchange_code(self._http, provider, kept.code, kept.verifier, now=now)
        return replace(answer, fields={**fields, **answer.fields})

    async def _own_token(
        self, integration: Integration, method: AuthMethod, flow: Flow, granted: TokenAnswer
    ) -> TokenAnswer:
        """The first token of a client, key or login of the user's own: shows that it is accepted."""
        is_users_own = granted.credential.client_id is not None
        client = None if is_users_own else await self._providers.client(flow.org, flow.integration)
        provider = self._providers.resolve(method, client, granted.fields, granted.credential)
        try:
            answer = await tokens.own_token(self._http, provider, credential=granted.credential, now=self._clock())
        except (GrantDead, ClientRefused) as error:
            what = "client" if method.type == "client_credentials" else "credential"
            message = f"{integration.name} does not accept this {what} ({error.reason})."
            raise bad_field("credentials", message) from None
        except TokenError as error:
            raise Refusal(
                "upstream_unreachable",
                f"{integration.name} gave no token ({error.reason}).",
                outcome="unknown",
                retryable=True,
            ) from None
        return replace(answer, fields={**granted.fields, **answer.fields})

    async def _looked_up(
        self, integration: Integration, method: AuthMethod, flow: Flow, granted: TokenAnswer
    ) -> TokenAnswer:
        """What was granted, with the fields of the one site or tenant that it is for."""
        assert method.lookup is not None
        held = await self._signing(method, self._held(integration, method, flow, granted))
        choices = await look_up(self._upstream, self._outgoing, integration, method.lookup, held)
        known = {name: value for name in method.lookup.fields if (value := granted.fields.get(name))}
        before = await self._connections.find(flow.org, flow.connection) if flow.renews else None
        choice = pick(integration, choices, known, before.connection.fields if before else {})
        if choice is None:
            raise Undecided(granted, choices)
        return replace(granted, fields={**granted.fields, **choice.fields})

    def _held(self, integration: Integration, method: AuthMethod, flow: Flow, granted: TokenAnswer) -> Held:
        """The connection as it stands so far; its secret fields are the credential's."""
        hidden = {item.name for item in integration.fields if item.secret}
        secret_fields = {name: Secret(value) for name, value in granted.fields.items() if name in hidden}
        now = self._clock()
        connection = Connection(
            id=flow.connection,
            org=flow.org,
            integration=flow.integration,
            user=flow.user,
            method=method.name,
            state=ConnectionState.ACTIVE,
            label=flow.label,
            fields={name: value for name, value in granted.fields.items() if name not in hidden},
            scopes=granted.scopes,
            created_at=now,
            updated_at=now,
        )
        return Held(connection=connection, credential=replace(granted.credential, fields=secret_fields))

    async def _signing(self, method: AuthMethod, held: Held) -> Held:
        """The connection as requests are made with it: OAuth 1.0a signs with our client's secret too."""
        if method.type != "oauth1":
            return held
        client = await self._providers.client(held.connection.org, held.connection.integration)
        if client is None:
            raise over()
        return with_client(held, client)

    async def _with_account(self, integration: Integration, method: AuthMethod, held: Held) -> Connection:
        try:
            signing = await self._signing(method, held)
            account = await identify(self._upstream, self._outgoing, integration, signing)
        except CredentialRefused as refused:
            message = f"{integration.name} does not accept this credential (it answered {refused.status})."
            raise bad_field("credentials", message) from None
        return replace(held.connection, account=account.name, account_id=account.id)

    async def _add(self, connection: Connection, credential: Credential, by: Actor) -> None:
        most = (await self._plans.find(connection.org)).connections
        try:
            await self._connections.add(connection, credential, by=by, most=most)
        except TooMany:
            assert most is not None
            raise self._plans.reached(most, "connections") from None

    async def _renew(self, connection: Connection, credential: Credential, by: Actor) -> None:
        """Keeps the id; another account than before is refused, and what was stored stays."""
        held = await self._connections.find(connection.org, connection.id)
        if held is None:
            raise Refusal("not_found", "The connection was removed meanwhile.")
        before = held.connection
        old, new = before.account_id or before.account, connection.account_id or connection.account
        if old is not None and new != old:
            raise Refusal(
                "account_changed",
                f"This connection belongs to {before.account}; "
                f"the account chosen now is {connection.account or 'unknown'}.",
            )
        kept = replace(connection, label=connection.label or before.label, created_at=before.created_at)
        await self._connections.renew(kept, credential, by=by)


def over() -> Refusal:
    """The refusal of a flow that cannot go on; it does not say which of the reasons it is."""
    return Refusal(
        "flow_expired", "This connect flow is over, was already used, or belongs to another browser. Start again."
    )


def _told(error: TokenError) -> str:
    if isinstance(error, GrantDead):
        return "The provider did not accept the code. Start again."
    if isinstance(error, ClientRefused):
        return "The provider does not accept this gateway's OAuth client. The operator has to look at it."
    return "The provider could not be reached. Start again in a moment."
