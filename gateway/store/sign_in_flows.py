"""Sign-in flows: found by the hash of a state or a handle, and gone once they were taken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from gateway.core.ids import new_id
from gateway.core.people.sign_in import SignInFlow
from gateway.store.database import Database, Row
from gateway.store.times import to_ms, to_seconds
from oauth.oidc import Identity

_ADD = """
    INSERT INTO sign_in_flows (id, state, browser, next, identity, expires_at)
    VALUES (:id, :state, :browser, :next, :identity, :expires_at)
"""


class SqlSignInFlows:
    """Sign-in flows in the database; implements `SignInFlowStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(self, flow: SignInFlow, digest: bytes) -> None:
        await self._database.execute(
            _ADD,
            id=new_id("sif"),
            state=digest,
            browser=flow.browser,
            next=flow.next,
            identity=None if flow.identity is None else json.dumps(asdict(flow.identity)),
            expires_at=to_ms(flow.expires_at),
        )

    async def find(self, digest: bytes) -> SignInFlow | None:
        sql = "SELECT * FROM sign_in_flows WHERE state = :state AND expires_at > :now"
        row = await self._database.fetch_one(sql, state=digest, now=to_ms(self._clock()))
        return None if row is None else _flow(row)

    async def take(self, digest: bytes) -> SignInFlow | None:
        # Anybody may come with a made-up state: none of that takes a turn at writing.
        if await self.find(digest) is None:
            return None
        sql = "DELETE FROM sign_in_flows WHERE state = :state AND expires_at > :now RETURNING *"
        row = await self._database.fetch_one(sql, state=digest, now=to_ms(self._clock()))
        return None if row is None else _flow(row)

    async def purge(self) -> int:
        """Forgets flows that are over; says how many."""
        sql = "DELETE FROM sign_in_flows WHERE expires_at <= :now"
        return await self._database.execute(sql, now=to_ms(self._clock()))


def _flow(row: Row) -> SignInFlow:
    return SignInFlow(
        browser=row["browser"],
        next=row["next"],
        identity=None if row["identity"] is None else Identity(**json.loads(row["identity"])),
        expires_at=to_seconds(row["expires_at"]),
    )
