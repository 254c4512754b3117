"""Connecting as the API sees it: begin, poll, confirm; connections as resources; where browsers may return to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.connections.connections import Connections
from gateway.core.connections.establishing import Establishing, Undecided, over
from gateway.core.connections.flows import Flow, FlowStore
from gateway.core.connections.lookups import named
from gateway.core.connections.providers import Providers
from gateway.core.connections.wishes import OrgStore, Wish, Wishes
from gateway.core.entered import bad_field, is_return_url, is_whole, read_credential
from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.links import Links
from gateway.core.times import iso
from oauth import tokens
from oauth.connections import Connection, ConnectionState
from oauth.flow import hash_state
from oauth.http_port import Http
from oauth.token_answers import TokenAnswer, TokenError
from skills_catalog.model import AuthMethod, Integration

log = logging.getLogger("skillway.connect")

#: Seconds a provider may take to revoke before the connection goes without.
_REVOKE_DEADLINE = 10.0
#: Another replica may end a flow: its row is looked at again this often, seconds.
_LOOK_AGAIN = 1.0

Json = dict[str, Any]


class Connecting:
    """What the connect routes and the connection routes ask for."""

    def __init__(
        self,
        *,
        catalogs: Catalogs,
        providers: Providers,
        flows: FlowStore,
        orgs: OrgStore,
        connections: Connections,
        wishes: Wishes,
        establishing: Establishing,
        changes: Changes,
        links: Links,
        http: Http,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._providers = providers
        self._flows = flows
        self._orgs = orgs
        self._connections = connections
        self._wishes = wishes
        self._establishing = establishing
        self._changes = changes
        self._links = links
        self._http = http
        self._clock = clock

    async def begin(self, wish: Wish) -> Json:
        """A link to our page or, with a whole credential, a connection at once."""
        integration = self._catalogs.integration(wish.integration)
        method = await self._wishes.method(integration, wish)
        if not method.is_oauth and is_whole(integration, method, wish.credentials):
            return await self._connect_at_once(integration, method, wish)
        flow = await self._wishes.link_flow(integration, method, wish)
        await self._flows.add(flow)
        return _begun(flow) | {"oauth_url": f"{self._links.public_url}/connect/{flow.connection}"}

    async def status(self, org: str, connection_id: str, *, wait: float = 0.0) -> Json:
        """The poll: `pending`, `connected` or `error`. With `wait` (seconds) it answers when that changes, or after it."""
        until = self._clock() + wait
        with self._changes.watch(connection_id) as changed:
            while True:
                shown = await self._poll(org, connection_id)
                left = until - self._clock()
                if shown["status"] != "pending" or left <= 0:
                    return shown
                try:
                    await asyncio.wait_for(changed.wait(), min(left, _LOOK_AGAIN))
                except TimeoutError:
                    continue
                changed.clear()

    async def confirm(self, org: str, connection_id: str, *, user: str, handle: str) -> Json:
        """The org's backend says who finished: only now is the code redeemed."""
        if await self._flows.find(org, connection_id) is None:
            raise Refusal("not_found", "Connection not found.")
        taken = await self._flows.take_parked(org, connection_id, hash_state(handle))
        if taken is None:
            raise over()
        flow, kept = taken
        if user != flow.user:
            message = "Another user finished the flow."
            await self._establishing.end(flow, "error", error="forbidden", message=message)
            raise Refusal("forbidden", "The flow was begun for another user. Nothing was connected.")
        await self._establishing.redeem(flow, kept)
        return await self._poll(org, connection_id)

    async def connections(self, org: str, user: str | None, integration: str | None) -> list[Json]:
        """The org's connections, of one user or one integration if asked."""
        return [self._shown(connection) for connection in await self._connections.list(org, user, integration)]

    async def connection(self, org: str, connection_id: str) -> Json:
        """One connection. Raises `not_found`."""
        held = await self._connections.find(org, connection_id)
        if held is None:
            raise Refusal("not_found", "Connection not found.")
        return self._shown(held.connection)

    async def disconnect(self, org: str, connection_id: str, *, by: Actor) -> None:
        """Forgets the credential, and revokes it at the provider where it can (RFC 7009)."""
        held = await self._connections.find(org, connection_id)
        if held is None:
            raise Refusal("not_found", "Connection not found.")
        # The row first: a refresh under way then finds nothing to store in, and revokes what it was given.
        await self._connections.delete(org, connection_id, by=by)
        try:
            provider = await self._providers.for_connection(held.connection, held.credential)
            if provider is not None:
                async with asyncio.timeout(_REVOKE_DEADLINE):
                    await tokens.revoke(self._http, provider, held.credential)
        except (TokenError, TimeoutError, Refusal) as error:
            log.warning("%s not revoked at the provider: %s", connection_id, error)

    async def redirect_urls(self, org: str) -> Sequence[str]:
        """Where browsers may be sent after a flow."""
        return await self._orgs.redirect_urls(org)

    async def set_redirect_urls(self, org: str, urls: Sequence[str], *, by: Actor) -> Sequence[str]:
        """Registers where browsers may be sent. They are compared whole, never by prefix."""
        for position, url in enumerate(urls):
            if not is_return_url(url):
                raise bad_field(
                    f"redirect_urls/{position}", "Register an https address without a fragment; http on loopback only."
                )
        await self._orgs.set_redirect_urls(org, urls, by=by)
        return urls

    async def _connect_at_once(self, integration: Integration, method: AuthMethod, wish: Wish) -> Json:
        entered = read_credential(integration, method, wish.credentials, now=self._clock())
        granted = TokenAnswer(credential=entered.credential, fields=entered.fields)
        flow = await self._wishes.flow(integration, method, wish)
        try:
            account = await self._establishing.store(integration, method, flow, granted)
        except Undecided as undecided:
            raise _choose(integration, undecided) from None
        flow = replace(flow, status="connected", account=account)
        await self._flows.add(flow)
        return _begun(flow) | {"oauth_url": None} | ({"account": account} if account else {})

    async def _poll(self, org: str, connection_id: str) -> Json:
        flow = await self._flows.find(org, connection_id)
        if flow is None or flow.status == "connected":
            # What a flow has made may be gone again, or renewed: the connection itself says what there is.
            held = await self._connections.find(org, connection_id)
            if held is None:
                raise Refusal("not_found", "Connection not found.")
            made = held.connection
            shown: Json = {"status": "connected", "integration": made.integration, "user": made.user}
            return shown | ({"account": made.account} if made.account else {})
        shown = {"status": flow.status, "integration": flow.integration, "user": flow.user}
        if flow.status == "pending" and flow.expires_at <= self._clock():
            return shown | {"status": "error", "error": "flow_expired", "message": "Nobody finished the flow in time."}
        known = {name: getattr(flow, name) for name in ("detail", "account", "error", "message")}
        if flow.detail == "awaiting_choice":
            # Only the person can say which; the page knows their browser.
            known["oauth_url"] = f"{self._links.public_url}/connect/{flow.connection}"
        return shown | {name: value for name, value in known.items() if value is not None}

    def _shown(self, connection: Connection) -> Json:
        """A connection as the API shows it: no credential in it."""
        shown: Json = {
            "id": connection.id,
            "integration": connection.integration,
            "user": connection.user,
            "auth": connection.method,
            "state": connection.state.value,
            "label": connection.label,
            "account": connection.account,
            "scopes": list(connection.scopes) if connection.scopes is not None else None,
            "fields": dict(connection.fields),
            "created_at": iso(connection.created_at),
            "updated_at": iso(connection.updated_at),
        }
        if connection.reason:
            shown["reason"] = connection.reason
        if connection.retry_at is not None:
            shown["retry_at"] = iso(connection.retry_at)
        if connection.state is ConnectionState.NEEDS_REAUTH:
            shown["action_url"] = self._links.connect(
                connection.org,
                connection.integration,
                connection.user,
                method=connection.method,
                connection=connection.id,
            )
        return shown


def _choose(integration: Integration, undecided: Undecided) -> Refusal:
    """`bad_request` with the choices; one of them goes into `credentials`."""
    names = sorted({name for choice in undecided.choices for name in choice.fields})
    message = (
        f"The account has {len(undecided.choices)} of what {integration.name} connects to: {named(undecided.choices)}. "
        f"Say which one in credentials, as {' and '.join(names)}."
    )
    refusal = bad_field(f"credentials/{names[0]}", message)
    choices = [{**choice.fields, "title": choice.title} for choice in undecided.choices]
    return Refusal("bad_request", message, details={**(refusal.details or {}), "choices": choices})


def _begun(flow: Flow) -> Json:
    return {"connection_id": flow.connection, "status": flow.status, "expires_at": iso(flow.expires_at)}
