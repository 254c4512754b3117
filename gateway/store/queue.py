"""The queue of runs: who carries out which run until when. Every step finds its row as it expects it, or changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.events import Event
from gateway.core.run import Leased, Run
from gateway.store.clock import DatabaseClock
from gateway.store.database import AlreadyThere, Database, Dialect, Row, Statements, Value
from gateway.store.deliveries import call_back
from gateway.store.events import append
from gateway.store.ledger import INSERT_ENTRY, call_entry
from gateway.store.runs import RUN_COLUMNS, run_of, values_of
from oauth.vault import Vault

_EXTRA = (
    "idempotency", "fingerprint", "request", "safe", "priority", "due_at", "callback_url",
    "owner", "lease_until", "attempts", "sent",
)  # fmt: skip
_NAMES = tuple(name.strip('"') for name in RUN_COLUMNS)
_INSERT = f"""
    INSERT INTO runs ({", ".join((*RUN_COLUMNS, *_EXTRA))})
    VALUES ({", ".join(f":{name}" for name in (*_NAMES, *_EXTRA))})
"""
#: Two workers never wait for each other's row. SQLite has one writer at a time anyway.
_SKIP: Mapping[Dialect, str] = {"sqlite": "", "postgresql": "FOR UPDATE SKIP LOCKED"}
_MINE = "org = :org AND id = :id AND owner = :owner AND attempts = :attempt AND finished_at IS NULL"


#: No run in line is put off for longer, in milliseconds: one that is was written before the clock was set back.
_LONGEST_DUE = 900_000


class SqlQueue:
    """The queue in the database; implements `RunQueue` and `AnswerIndex`. `clock` replaces the database's own.

    When a run is due comes by the clock of this process and is kept by the database's: replicas' clocks differ.
    """

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._vault = vault
        self._clock = DatabaseClock(database.dialect, clock)
        self._here = clock or time.time
        now, skip = self._clock.into("{now}"), _SKIP[database.dialect]
        self._sql = {
            "org": f"SELECT org FROM runs WHERE due_at <= {now} AND org > :after ORDER BY org LIMIT 1",
            "take": f"""
                UPDATE runs SET due_at = NULL, owner = :owner, lease_until = {now} + :ms,
                    attempts = COALESCE(attempts, 0) + 1, sent = 0,
                    state = CASE WHEN state = 'queued' THEN 'running' ELSE state END
                WHERE id = (
                    SELECT id FROM runs WHERE org = :org AND due_at <= {now} ORDER BY priority, due_at LIMIT 1 {skip}
                ) AND due_at IS NOT NULL
                RETURNING *
            """,
            "prolong": f"UPDATE runs SET lease_until = {now} + :ms WHERE {_MINE} AND stopping IS NULL",
            "lapsed": f"""
                UPDATE runs SET lease_until = {now} + :ms, owner = :owner
                WHERE id IN (
                    SELECT id FROM runs
                    WHERE lease_until <= {now} OR (lease_until IS NOT NULL AND owner NOT IN ('lapsed', :living)
                        AND owner NOT IN (
                        SELECT owner FROM leases WHERE name LIKE 'replica:%' AND until > {now}
                    ))
                    LIMIT :most {skip}
                ) AND finished_at IS NULL
                RETURNING *
            """,
            "add": _INSERT.replace(":due_at", f"{now} + :due_at"),
            "postpone": f"""
                UPDATE runs SET state = :state, due_at = {now} + :due_in, poll = :poll, progress = :progress, owner = NULL,
                    lease_until = NULL, connection = :connection, status = :status
                WHERE {_MINE}
            """,
            # Without a fingerprint it was no key of the caller's that made it one.
            "resume": f"""
                UPDATE runs SET state = 'queued', due_at = {now} + :due_in,
                    idempotency = CASE WHEN fingerprint IS NULL THEN NULL ELSE idempotency END
                WHERE org = :org AND id = :id AND state = :state AND finished_at IS NULL
            """,
            "too far": f"UPDATE runs SET due_at = {now} WHERE state = 'queued' AND due_at > {now} + :most",
            "leased": _INSERT.replace(":lease_until", f"{now} + :lease_until"),
            "promote": f"""
                UPDATE runs SET owner = :owner, attempts = 1, sent = 1, safe = :safe, request = :request,
                    lease_until = {now} + :ms
                WHERE org = :org AND id = :id
            """,
        }

    async def claim(
        self, run: Run, *, idempotency: str, fingerprint: str, owner: str, seconds: float, is_safe: bool, request: bytes
    ) -> Run | None:
        row = self._row(run, request, is_safe) | {
            "idempotency": idempotency,
            "fingerprint": fingerprint,
            "owner": owner,
            "lease_until": round(seconds * 1000),
            "attempts": 1,
            "sent": 1,
        }
        return await self._insert(self._sql["leased"], run.org, idempotency, row)

    async def add(
        self,
        run: Run,
        *,
        request: bytes,
        is_safe: bool,
        priority: int,
        due_at: int | None,
        idempotency: str | None = None,
        fingerprint: str | None = None,
        callback_url: str | None = None,
        events: Sequence[Event] = (),
    ) -> Run | None:
        row = self._row(run, request, is_safe) | {
            "idempotency": idempotency,
            "fingerprint": fingerprint,
            "priority": priority,
            "due_at": None if due_at is None else self._in(due_at),
            "callback_url": callback_url,
        }
        return await self._insert(self._sql["add"], run.org, idempotency, row, events)

    async def promote(self, run: Run, *, owner: str, seconds: float, is_safe: bool, request: bytes) -> None:
        await self._database.execute(
            self._sql["promote"],
            org=run.org,
            id=run.id,
            owner=owner,
            safe=int(is_safe),
            request=self._sealed(run, request),
            ms=round(seconds * 1000),
            **self._clock.params(),
        )

    async def take(self, owner: str, seconds: float, *, after: str) -> Leased | None:
        for start in (after, "") if after else ("",):
            found = await self._database.fetch_one(self._sql["org"], after=start, **self._clock.params())
            if found is None:
                continue
            row = await self._database.fetch_one(
                self._sql["take"], org=found["org"], owner=owner, ms=round(seconds * 1000), **self._clock.params()
            )
            if row is not None:
                return await self._leased(row)
        return None

    async def mark_sent(self, leased: Leased) -> bool:
        sql = f"UPDATE runs SET sent = 1 WHERE {_MINE} AND stopping IS NULL"
        return await self._database.execute(sql, **_mine(leased)) == 1

    async def is_held(self, leased: Leased) -> bool:
        sql = f"SELECT 1 AS one FROM runs WHERE {_MINE}"
        return await self._database.fetch_one(sql, **_mine(leased)) is not None

    async def prolong(self, leased: Leased, seconds: float) -> bool:
        ms = round(seconds * 1000)
        return await self._database.execute(self._sql["prolong"], ms=ms, **_mine(leased), **self._clock.params()) == 1

    async def finish(
        self, leased: Leased, run: Run, events: Sequence[Event] = (), *, release_key: bool = False
    ) -> bool:
        async with self._database.transaction() as transaction:
            return await self._end(transaction, run, events, _MINE, _mine(leased), release_key=release_key)

    async def postpone(
        self,
        leased: Leased,
        *,
        state: str,
        due_at: int,
        poll: Mapping[str, Any] | None = None,
        progress: Any = None,
        run: Run | None = None,
    ) -> bool:
        known = run or leased.run
        changed = await self._database.execute(
            self._sql["postpone"],
            state=state,
            due_in=self._in(due_at),
            poll=None if poll is None else json.dumps(dict(poll)),
            progress=None if progress is None else json.dumps(progress),
            connection=known.connection,
            status=known.status,
            **_mine(leased),
            **self._clock.params(),
        )
        return changed == 1

    async def lapsed(self, most: int, *, living: str) -> Sequence[tuple[Leased, bool, bool, bool]]:
        await self._database.execute(self._sql["too far"], most=_LONGEST_DUE, **self._clock.params())
        rows = await self._database.fetch(
            self._sql["lapsed"], living=living, owner="lapsed", ms=30_000, most=most, **self._clock.params()
        )
        return [
            (await self._leased(row), bool(row["sent"]), bool(row["safe"]), row["priority"] is not None)
            for row in rows
        ]

    async def cancel(
        self, org: str, run_id: str, run: Run, events: Sequence[Event] = (), *, state: str | None = None
    ) -> bool:
        idle = "org = :org AND id = :id AND owner IS NULL AND priority IS NOT NULL AND finished_at IS NULL"
        which: dict[str, Value] = {"org": org, "id": run_id}
        if state is not None:
            idle, which = f"{idle} AND state = :was", {**which, "was": state}
        async with self._database.transaction() as transaction:
            return await self._end(transaction, run, events, idle, which, release_key=True)

    async def stop(self, org: str, run_id: str) -> bool:
        sql = "UPDATE runs SET stopping = 1 WHERE org = :org AND id = :id AND finished_at IS NULL"
        return await self._database.execute(sql, org=org, id=run_id) == 1

    async def request_of(self, org: str, run_id: str) -> bytes | None:
        sql = "SELECT id, org, request FROM runs WHERE org = :org AND id = :id AND request IS NOT NULL"
        row = await self._database.fetch_one(sql, org=org, id=run_id)
        return None if row is None else await self._opened(row)

    async def resume(
        self, org: str, run_id: str, *, state: str, due_at: int, events: Sequence[Event] = ()
    ) -> bool:
        which: dict[str, Value] = {"org": org, "id": run_id, "state": state}
        async with self._database.transaction() as transaction:
            if await transaction.execute(self._sql["resume"], due_in=self._in(due_at), **which, **self._clock.params()) != 1:
                return False
            await append(transaction, *events)
        return True

    async def awaiting(self, org: str, most: int) -> Sequence[Run]:
        sql = """
            SELECT * FROM runs WHERE org = :org AND state = 'awaiting_approval' ORDER BY started_at LIMIT :most
        """
        return [run_of(row) for row in await self._database.fetch(sql, org=org, most=most)]

    async def overdue(self, before: int, most: int) -> Sequence[Run]:
        sql = """
            SELECT * FROM runs WHERE state = 'awaiting_approval' AND started_at <= :before
            ORDER BY started_at LIMIT :most
        """
        return [run_of(row) for row in await self._database.fetch(sql, before=before, most=most)]

    async def forget_keys(self, before: int) -> int:
        sql = """
            UPDATE runs SET idempotency = NULL
            WHERE idempotency IS NOT NULL AND finished_at IS NOT NULL AND started_at < :before
        """
        return await self._database.execute(sql, before=before)

    async def cached(self, org: str, cache_key: str) -> Run | None:
        sql = """
            SELECT * FROM runs WHERE org = :org AND cache_key = :cache_key AND kept IS NOT NULL
            ORDER BY finished_at DESC LIMIT 1
        """
        row = await self._database.fetch_one(sql, org=org, cache_key=cache_key)
        return None if row is None else run_of(row)

    async def offer(self, org: str, run_id: str, cache_key: str, size: int) -> None:
        sql = "UPDATE runs SET cache_key = :cache_key, kept = :size WHERE org = :org AND id = :id"
        await self._database.execute(sql, org=org, id=run_id, cache_key=cache_key, size=size)

    async def keeps(self, org: str, run_id: str, size: int) -> None:
        sql = "UPDATE runs SET kept = :size WHERE org = :org AND id = :id"
        await self._database.execute(sql, org=org, id=run_id, size=size)

    async def withdraw(self, org: str, prefix: str) -> None:
        sql = """
            UPDATE runs SET cache_key = NULL
            WHERE org = :org AND cache_key IS NOT NULL AND cache_key >= :first AND cache_key < :end
        """
        await self._database.execute(sql, org=org, first=prefix, end=f"{prefix}\U0010ffff")

    async def _insert(
        self, sql: str, org: str, idempotency: str | None, row: dict[str, Value], events: Sequence[Event] = ()
    ) -> Run | None:
        given = self._clock.params()
        while True:
            try:
                if not events:
                    await self._database.execute(sql, **row, **given)
                    return None
                async with self._database.transaction() as transaction:
                    await transaction.execute(sql, **row, **given)
                    await append(transaction, *events)
                return None
            except AlreadyThere:
                older = await self._database.fetch_one(
                    "SELECT * FROM runs WHERE org = :org AND idempotency = :idempotency", org=org, idempotency=idempotency
                )
                # Gone in this moment: its key was let go, and is free.
                if older is not None:
                    return run_of(older)

    async def _end(
        self,
        transaction: Statements,
        run: Run,
        events: Sequence[Event],
        where: str,
        which: Mapping[str, Value],
        *,
        release_key: bool,
    ) -> bool:
        """All that the end of a run means, or nothing of it: whoever is called back then is so in spite of a crash."""
        sql = f"""
            UPDATE runs SET state = :state, finished_at = :finished_at, connection = :connection, status = :status,
                error = :error, outcome = :outcome, credits = :credits, kept = :kept, refusal = :refusal,
                progress = :progress, due_at = NULL, owner = NULL, lease_until = NULL, poll = NULL
                {", idempotency = NULL" if release_key else ""}
            WHERE {where}
            RETURNING callback_url
        """
        ended = await transaction.fetch_one(
            sql,
            state=run.state,
            finished_at=run.finished_at,
            connection=run.connection,
            status=run.status,
            error=run.error,
            outcome=run.outcome,
            credits=run.credits,
            kept=run.kept,
            refusal=None if run.refusal is None else json.dumps(dict(run.refusal)),
            progress=None if run.progress is None else json.dumps(run.progress),
            **which,
        )
        if ended is None:
            return False
        if run.is_charged:
            await transaction.execute_many(INSERT_ENTRY, [call_entry(run)])
        await append(transaction, *events)
        # Whoever waits to be called back waits for the run, and not for what else ended with it.
        for event in events:
            if event.kind == "run" and ended["callback_url"] is not None:
                await call_back(transaction, self._clock, run.org, ended["callback_url"], event)
        return True

    def _row(self, run: Run, request: bytes, is_safe: bool) -> dict[str, Value]:
        base: dict[str, Value] = dict(zip(_NAMES, values_of(run), strict=True))
        return base | dict.fromkeys(_EXTRA) | {"request": self._sealed(run, request), "safe": int(is_safe)}

    def _sealed(self, run: Run, request: bytes) -> bytes:
        return self._vault.seal(request, org=run.org, table="runs", row=run.id, column="request")

    async def _leased(self, row: Row) -> Leased:
        return Leased(
            run=run_of(row),
            owner=row["owner"],
            attempt=row["attempts"],
            request=await self._opened(row) if row["request"] is not None else b"",
            poll=None if row["poll"] is None else json.loads(row["poll"]),
        )

    async def _opened(self, row: Row) -> bytes:
        return await self._vault.open_fresh(
            row["request"], org=row["org"], table="runs", row=row["id"], column="request"
        )

    def _in(self, due_at: int) -> int:
        """Milliseconds from now."""
        return due_at - round(self._here() * 1000)


def _mine(leased: Leased) -> dict[str, Value]:
    return {"org": leased.run.org, "id": leased.run.id, "owner": leased.owner, "attempt": leased.attempt}
