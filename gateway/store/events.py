"""Events: appended in the transaction of the change that they tell of, never changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from gateway.core.events import Actor, Event
from gateway.store.database import Database, Row, Statements

_INSERT = """
    INSERT INTO events (id, org, mode, kind, type, at, actor, data)
    VALUES (:id, :org, :mode, :kind, :type, :at, :actor, :data)
    ON CONFLICT (id) DO NOTHING
"""
_LIST = """
    SELECT * FROM events
    WHERE org = :org AND id > :after AND at >= :at AND (:mode = 'live' OR mode = :mode)
        AND (:kind = '' OR kind = :kind OR (:kind = 'audit' AND actor IS NOT NULL))
    ORDER BY id LIMIT :limit
"""
_FORGET = "DELETE FROM events WHERE at < :before AND actor IS NULL"


class SqlEvents:
    """Events in the database; implements `EventStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, event: Event) -> None:
        await append(self._database, event)

    async def list(
        self,
        org: str,
        *,
        mode: Literal["live", "test"] = "live",
        kind: str | None = None,
        since: str | int | None = None,
        limit: int = 50,
    ) -> Sequence[Event]:
        rows = await self._database.fetch(
            _LIST,
            org=org,
            mode=mode,
            kind=kind or "",
            after=since if isinstance(since, str) else "",
            at=since if isinstance(since, int) else 0,
            limit=limit,
        )
        return [_event(row) for row in rows]

    async def forget(self, before: int) -> int:
        """Deletes what is older than that time (unix ms), but for the audit trail, which stays."""
        return await self._database.execute(_FORGET, before=before)


async def append(statements: Statements, *events: Event) -> None:
    """Writes events inside a transaction. One whose id is there already is not written twice."""
    for event in events:
        await statements.execute(
            _INSERT,
            id=event.id,
            org=event.org,
            mode=event.mode,
            kind=event.kind,
            type=event.type,
            at=event.at,
            actor=None if event.actor is None else json.dumps(event.actor.shown()),
            data=json.dumps(dict(event.data)),
        )


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        org=row["org"],
        type=row["type"],
        at=row["at"],
        data=json.loads(row["data"]),
        mode=row["mode"],
        actor=None if row["actor"] is None else Actor.of(json.loads(row["actor"])),
    )
