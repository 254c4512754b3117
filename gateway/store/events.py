"""Events: appended in the transaction of the change that they tell of, never changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal

from gateway.core.events import Actor, Event
from gateway.store.database import Database, Row, Statements

_INSERT = """
    INSERT INTO events (id, org, mode, kind, type, at, actor, data, pending)
    VALUES (:id, :org, :mode, :kind, :type, :at, :actor, :data, (
        SELECT CASE WHEN COUNT(*) > 0 THEN 1 END FROM webhooks WHERE org = :org AND disabled_at IS NULL
    ))
    ON CONFLICT (id) DO NOTHING
"""
_LIST = """
    SELECT * FROM (
        SELECT page.*, COUNT(*) OVER () AS found, SUM(LENGTH(data)) OVER (ORDER BY id) AS size FROM (
            SELECT * FROM events
            WHERE org = :org AND id > :after AND at >= :at AND (:mode = 'live' OR mode = :mode)
                AND (:kind = '' OR kind = :kind OR (:kind = 'audit' AND actor IS NOT NULL))
            ORDER BY id LIMIT :limit
        ) AS page
    ) AS measured
    WHERE size <= :most OR size = LENGTH(data) ORDER BY id
"""
_FORGET = "DELETE FROM events WHERE at < :before AND actor IS NULL AND pending IS NULL"
#: Characters of data on one page of events; what came through hooks can be large.
_MOST_ON_A_PAGE = 4 * 1024 * 1024
#: What is told where events were written.
TOPIC: Final = "events"


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
        """The events of `page` alone."""
        return (await self.page(org, mode=mode, kind=kind, since=since, limit=limit))[0]

    async def page(
        self,
        org: str,
        *,
        mode: Literal["live", "test"] = "live",
        kind: str | None = None,
        since: str | int | None = None,
        limit: int = 50,
    ) -> tuple[Sequence[Event], bool]:
        rows = await self._database.fetch(
            _LIST,
            org=org,
            mode=mode,
            kind=kind or "",
            after=since if isinstance(since, str) else "",
            at=since if isinstance(since, int) else 0,
            limit=limit + 1,
            most=_MOST_ON_A_PAGE,
        )
        page = [event_of(row) for row in rows[:limit]]
        return page, bool(rows) and rows[0]["found"] > len(page)

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
    statements.tell(TOPIC)


def event_of(row: Row) -> Event:
    """An event of a row with the columns of `events`."""
    return Event(
        id=row["id"],
        org=row["org"],
        type=row["type"],
        at=row["at"],
        data=json.loads(row["data"]),
        mode=row["mode"],
        actor=None if row["actor"] is None else Actor.of(json.loads(row["actor"])),
    )
