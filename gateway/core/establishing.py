"""From a code or a credential to a stored connection: redeemed once, checked by `whoami`, sealed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from gateway.core.access import Plans
from gateway.core.accounts import CredentialRefused, identify
from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.connections import Connections
from gateway.core.entered import accepts, bad_field
from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.flows import Flow, FlowSecrets, FlowStore
from gateway.core.keys import TooMany
from gateway.core.providers import Providers
from gateway.core.request import Upstream
from oauth import tokens
from oauth.connections import Connection, ConnectionState, Credential
from oauth.provider import Provider
from oauth.schemes import credential_from_input
from oauth.secret import Secret
from oauth.tokens import ClientRefused, GrantDead, Http, TokenAnswer, TokenError
from skills_catalog.model import AuthMethod, Integration

log = logging.getLogger("skillway.connect")


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

    async def redeem(self, flow: Flow, kept: FlowSecrets) -> None:
        """Redeems what was kept and stores the connection, or says on the flow why not."""
        # Between the provider's answer and our commit nothing may come: a code is redeemed once.
        await asyncio.shield(asyncio.ensure_future(self._redeem(flow, kept)))

    async def store(
        self,
        integration: Integration,
        method: AuthMethod,
        flow: Flow,
        granted: TokenAnswer,
    ) -> str | None:
        """Checks a credential by `whoami` and stores the connection; gives back the account's name.

        Raises `Refusal` where the integration does not take it.
        """
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
        credential = replace(granted.credential, fields=secret_fields)
        if method.type == "client_credentials":
            answer = await self._client_token(integration, method, granted)
            credential = replace(answer.credential, fields=secret_fields)
            connection = replace(connection, scopes=answer.scopes)
        connection = await self._with_account(integration, connection, credential)
        if flow.renews:
            await self._renew(connection, credential, flow.by)
        else:
            await self._add(connection, credential, flow.by)
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
        try:
            integration, method = self.found(flow)
            granted = await self._granted(flow, method, kept)
            account = await self.store(integration, method, flow, granted)
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

    async def _granted(self, flow: Flow, method: AuthMethod, kept: FlowSecrets) -> TokenAnswer:
        """What the code is worth at the provider, or the credential that was typed in."""
        assert kept.code is not None
        fields, now = {**flow.fields, **kept.callback_fields}, self._clock()
        if not method.is_oauth:
            typed = json.loads(kept.code.reveal())
            credential = credential_from_input(method.type, typed, accepts=accepts(method), now=now)
            return TokenAnswer(credential=credential, fields=fields)
        provider = replace(await self.provider(flow, method, fields), redirect_uri=kept.redirect_uri)
        answer = await tokens.exchange_code(self._http, provider, kept.code, kept.verifier, now=now)
        return replace(answer, fields={**fields, **answer.fields})

    async def _client_token(self, integration: Integration, method: AuthMethod, granted: TokenAnswer) -> TokenAnswer:
        """The first token of a client of the user's own (RFC 6749 §4.4): shows that the client is accepted."""
        provider = self._providers.resolve(method, None, granted.fields, granted.credential)
        try:
            return await tokens.client_credentials(
                self._http, provider, credential=granted.credential, now=self._clock()
            )
        except (GrantDead, ClientRefused) as error:
            message = f"{integration.name} does not accept this client ({error.reason})."
            raise bad_field("credentials", message) from None
        except TokenError as error:
            raise Refusal(
                "upstream_unreachable",
                f"{integration.name} gave no token ({error.reason}).",
                outcome="unknown",
                retryable=True,
            ) from None

    async def _with_account(
        self, integration: Integration, connection: Connection, credential: Credential
    ) -> Connection:
        try:
            account = await identify(self._upstream, integration, connection, credential)
        except CredentialRefused as refused:
            message = f"{integration.name} does not accept this credential (it answered {refused.status})."
            raise bad_field("credentials", message) from None
        return replace(connection, account=account.name, account_id=account.id)

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
