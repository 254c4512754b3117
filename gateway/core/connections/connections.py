"""Connections as the way of a call meets them: remembered for a moment, chosen without guessing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.links import Links
from gateway.core.remember import Remembered
from oauth.connections import Connection, ConnectionState, ConnectionStore, Credential, Held
from oauth.vault import SealBroken
from skills_catalog.model import Integration, Skill

log = logging.getLogger("skillway.connections")

SERVING = (ConnectionState.ACTIVE, ConnectionState.DEGRADED)
_SECONDS = 2.0


class AllConnections(ConnectionStore, Protocol):
    """The whole of what the store offers on connections.

    `find` and `candidates` raise `SealBroken` for a credential that does not open, or is not its row's.
    """

    async def add(self, connection: Connection, credential: Credential, *, by: Actor, most: int | None) -> None:
        """Raises `TooMany` where the org has `most` connections."""
        ...

    async def list(self, org: str, user: str | None = None, integration: str | None = None) -> Sequence[Connection]: ...

    async def renew(self, connection: Connection, credential: Credential, *, by: Actor) -> bool:
        """Stores a new credential with scopes, account and fields under the same id; active again."""
        ...

    async def delete(self, org: str, connection_id: str, *, by: Actor) -> bool: ...


class Connections:
    """The connection store with a short memory in front of `candidates`, emptied by every change made here.

    A connection whose credential does not open comes out as one that needs its person, without a credential.
    """

    def __init__(self, store: AllConnections) -> None:
        self._store = store
        self._candidates: Remembered[tuple[str, str, str], Sequence[Held]] = Remembered(
            lambda key: self._open(*key), seconds=_SECONDS
        )

    async def find(self, org: str, connection_id: str) -> Held | None:
        try:
            held = await self._store.find(org, connection_id)
        except SealBroken as error:
            log.error("%s needs its person: %s", connection_id, error)
            rows = await self._store.list(org)
            return next((_unusable(row) for row in rows if row.id == connection_id), None)
        if held is not None:
            self._forget_older(held.connection)
        return held

    async def candidates(self, org: str, integration: str, user: str) -> Sequence[Held]:
        return await self._candidates.get((org, integration, user))

    async def list(self, org: str, user: str | None = None, integration: str | None = None) -> Sequence[Connection]:
        return await self._store.list(org, user, integration)

    async def add(self, connection: Connection, credential: Credential, *, by: Actor, most: int | None) -> None:
        await self._store.add(connection, credential, by=by, most=most)
        self._candidates.forget((connection.org, connection.integration, connection.user))

    async def renew(self, connection: Connection, credential: Credential, *, by: Actor) -> bool:
        renewed = await self._store.renew(connection, credential, by=by)
        self._candidates.forget((connection.org, connection.integration, connection.user))
        return renewed

    async def delete(self, org: str, connection_id: str, *, by: Actor) -> bool:
        deleted = await self._store.delete(org, connection_id, by=by)
        self._forget(org)
        return deleted

    async def replace_credential(
        self, org: str, connection_id: str, *, version: int, credential: Credential, scopes: tuple[str, ...] | None
    ) -> bool:
        swapped = await self._store.replace_credential(
            org, connection_id, version=version, credential=credential, scopes=scopes
        )
        self._forget(org)
        return swapped

    async def set_state(
        self,
        org: str,
        connection_id: str,
        *,
        version: int,
        state: ConnectionState,
        reason: str | None = None,
        retry_at: float | None = None,
    ) -> bool:
        changed = await self._store.set_state(
            org, connection_id, version=version, state=state, reason=reason, retry_at=retry_at
        )
        self._forget(org)
        return changed

    def _forget(self, org: str) -> None:
        self._candidates.forget_if(lambda key: key[0] == org)

    async def _open(self, org: str, integration: str, user: str) -> Sequence[Held]:
        try:
            return await self._store.candidates(org, integration, user)
        except SealBroken:
            # One that does not open must not take the others along.
            rows = await self._store.list(org, user, integration)
        unfit = (ConnectionState.PENDING, ConnectionState.REVOKED)
        found = [await self.find(org, row.id) for row in rows if row.state not in unfit]
        return [held for held in found if held is not None]

    def _forget_older(self, found: Connection) -> None:
        """Where another process has renewed a connection, the next call takes the new credential at once."""
        key = (found.org, found.integration, found.user)
        for held in self._candidates.peek(key) or ():
            if held.connection.id == found.id and held.connection.version != found.version:
                self._candidates.forget(key)
                return


async def choose(
    connections: Connections,
    links: Links,
    integration: Integration,
    skill: Skill,
    *,
    org: str,
    user: str,
    wanted: str | None,
    allowed: Callable[[str], bool] = lambda _: True,
) -> Held | None:
    """The one connection that may serve a skill; None where the skill needs none.

    Never a silent choice: several that fit are `ambiguous_connection`. `allowed` says of an id whether the key
    may use it. Raises `integration_not_connected` and `token_expired` with the link that mends it.
    """
    able = [method.name for method in integration.methods_for(skill) if method.type != "none"]
    needs_none = len(able) < len(skill.auth)
    if not able and wanted is None:
        return None
    fitting = [
        held
        for held in await connections.candidates(org, integration.slug, user)
        if held.connection.method in able and allowed(held.connection.id)
    ]
    if wanted is not None:
        # An id is nobody else's, also where somebody has made it a label.
        fitting = [held for held in fitting if held.connection.id == wanted] or [
            held for held in fitting if held.connection.label == wanted
        ]
        if not fitting:
            raise Refusal(
                "not_found", f"User {user!r} has no {integration.slug} connection {wanted!r} that serves {skill.name}."
            )
    serving = [held for held in fitting if held.connection.state in SERVING]
    if len(serving) == 1:
        return serving[0]
    if serving:
        raise _ambiguous(integration, serving)
    if fitting:
        raise reconnect(links, fitting[0].connection)
    if needs_none:
        return None
    raise Refusal(
        "integration_not_connected",
        f"The user needs to connect their {integration.slug} account first.",
        action_url=links.connect(org, integration.slug, user, method=able[0] if len(able) == 1 else None),
        hint=f'POST /v1/connect with {{"integration": "{integration.slug}"}}, or open action_url in a browser.',
    )


def reconnect(links: Links, connection: Connection, reason: str | None = None) -> Refusal:
    """The refusal of a connection whose grant is dead."""
    return Refusal(
        "token_expired",
        "Token expired and refresh failed. Please reconnect.",
        action_url=links.connect(
            connection.org, connection.integration, connection.user, method=connection.method, connection=connection.id
        ),
        details={"connection": connection.id, "reason": reason or connection.reason},
    )


def _unusable(connection: Connection) -> Held:
    broken = replace(connection, state=ConnectionState.NEEDS_REAUTH, reason="credential_broken", retry_at=None)
    return Held(connection=broken, credential=Credential())


def _ambiguous(integration: Integration, serving: Sequence[Held]) -> Refusal:
    choices = [
        {"connection": held.connection.id, "label": held.connection.label, "account": held.connection.account}
        for held in serving
    ]
    return Refusal(
        "ambiguous_connection",
        f"{len(choices)} {integration.slug} connections fit; send one of details.choices as `connection`.",
        details={"choices": choices},
        retryable=False,
    )
