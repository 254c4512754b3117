"""The ledger in the database: entries are appended, never changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from gateway.core.events import Actor, Event
from gateway.core.ids import new_ordered_id
from gateway.core.run import Run
from gateway.core.tenants.ledger import Entry, EntryType, Use
from gateway.store.cursors import cursor_of, place_of
from gateway.store.database import Database, Row, Value
from gateway.store.events import append
from gateway.store.orgs import lock_org

_NAMES = ("org", "id", "type", "at", "amount", "run", "key", "integration", "action", "note")
_COLUMNS = ", ".join(_NAMES)
INSERT_ENTRY = f"""
    INSERT INTO entries ({_COLUMNS}) VALUES ({", ".join(f":{name}" for name in _NAMES)})
    ON CONFLICT (org, id) DO NOTHING
"""
_USED = """
    SELECT COUNT(*) AS calls, CAST(COALESCE(-SUM(amount), 0) AS BIGINT) AS credits FROM entries
    WHERE org = :org AND at >= :since AND type = 'call'
"""
_SUM = """
    SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS amount FROM entries
    WHERE org = :org AND at >= :since AND type = :type
"""
_USED_BY = """
    SELECT {what} AS what, COUNT(*) AS calls, CAST(COALESCE(-SUM(amount), 0) AS BIGINT) AS credits FROM entries
    WHERE org = :org AND at >= :since AND type = 'call'
    GROUP BY {what} ORDER BY calls DESC, what
"""
_BALANCE = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS amount FROM entries WHERE org = :org AND at < :before"
_LIST = f"""
    SELECT {_COLUMNS} FROM entries WHERE org = :org AND (at, id) < (:at, :id) ORDER BY at DESC, id DESC LIMIT :limit
"""
# What closed the months that go must go with them, or the rest would not sum to the balance.
_FORGET = "DELETE FROM entries WHERE at < :month OR (at = :month AND type = 'period_end')"
_NEWEST = (2**62, "")


class SqlLedger:
    """Entries in the database; implements `LedgerStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def used(self, org: str, since: int) -> Use:
        row = await self._database.fetch_one(_USED, org=org, since=since)
        assert row is not None
        return Use(calls=row["calls"], credits=row["credits"])

    async def used_by(self, org: str, since: int, what: Literal["integration", "key"]) -> Sequence[tuple[str, Use]]:
        rows = await self._database.fetch(_USED_BY.format(what=what), org=org, since=since)
        return [(row["what"], Use(calls=row["calls"], credits=row["credits"])) for row in rows]

    async def granted(self, org: str, since: int) -> int:
        return await self._sum(org, since, "adjustment")

    async def open_month(self, org: str, start: int, allowance: int) -> None:
        if await self._sum(org, start, "allowance") == allowance and not await self._open_balance(org, start):
            return
        async with self._database.transaction() as transaction:
            await lock_org(transaction, org)
            before = await transaction.fetch_one(_BALANCE, org=org, before=start)
            ended = await transaction.fetch_one(_SUM, org=org, since=start, type="period_end")
            there = await transaction.fetch_one(_SUM, org=org, since=start, type="allowance")
            assert before is not None and ended is not None and there is not None
            # Whatever is spent late in the old month was spent before this.
            left = before["amount"] + ended["amount"]
            movements: list[tuple[EntryType, int]] = [
                ("period_end", -left),
                ("allowance", allowance - there["amount"]),
            ]
            for type, amount in movements:
                if amount:
                    await transaction.execute(INSERT_ENTRY, **_values(_movement(org, type, start, amount)))

    async def balance(self, org: str) -> int:
        row = await self._database.fetch_one(_BALANCE, org=org, before=2**62)
        assert row is not None
        return int(row["amount"])

    async def adjust(self, org: str, amount: int, note: str, *, by: Actor) -> Entry:
        now = self._clock()
        entry = _movement(org, "adjustment", int(now * 1000), amount, note)
        async with self._database.transaction() as transaction:
            await transaction.execute(INSERT_ENTRY, **_values(entry))
            await append(transaction, Event.now(org, "plan.credits_adjusted", now, actor=by, amount=amount, note=note))
        return entry

    async def list(self, org: str, *, limit: int = 50, cursor: str | None = None) -> tuple[Sequence[Entry], str | None]:
        at, after = _NEWEST if cursor is None else place_of(cursor)
        rows = await self._database.fetch(_LIST, org=org, at=at, id=after, limit=limit + 1)
        page = [_entry(row) for row in rows[:limit]]
        return page, cursor_of(page[-1].at, page[-1].id) if len(rows) > limit else None

    async def forget(self, month: int) -> int:
        """Deletes the entries of all months before the one that begins at that time (unix ms)."""
        return await self._database.execute(_FORGET, month=month)

    async def _sum(self, org: str, since: int, type: str) -> int:
        row = await self._database.fetch_one(_SUM, org=org, since=since, type=type)
        assert row is not None
        return int(row["amount"])

    async def _open_balance(self, org: str, start: int) -> int:
        row = await self._database.fetch_one(_BALANCE, org=org, before=start)
        assert row is not None
        return int(row["amount"]) + await self._sum(org, start, "period_end")


def call_entry(run: Run) -> tuple[Value, ...]:
    """The entry of a call that has ended and is charged, for `INSERT_ENTRY`; its id is made of the run's."""
    assert run.credits is not None
    return (
        run.org,
        f"ent{run.id[3:]}",
        "call",
        run.finished_at,
        -run.credits,
        run.id,
        run.key,
        run.integration,
        run.action,
        None,
    )


def _movement(org: str, type: EntryType, at: int, amount: int, note: str | None = None) -> Entry:
    return Entry(id=new_ordered_id("ent", at), org=org, type=type, at=at, amount=amount, note=note)


def _values(entry: Entry) -> dict[str, Value]:
    return {name: getattr(entry, name) for name in _NAMES}


def _entry(row: Row) -> Entry:
    return Entry(**{name: row[name] for name in _NAMES})
