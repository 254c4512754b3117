"""The record of calls, written in groups: many calls share one commit, and reads never wait for one."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Protocol

from gateway.core.run import Run
from gateway.store.cursors import cursor_of, place_of
from gateway.store.database import AlreadyThere, Batch, Database, NotStorable, Row, StorageUnavailable, Value
from gateway.store.ledger import INSERT_ENTRY, call_entry

log = logging.getLogger("skillway.store")

#: A recorded run is durable at most this long after its answer.
DELAY_SECONDS = 0.2
#: Seconds for which a run that was begun waits for others to share its commit.
GATHER_SECONDS = 0.0005
#: That many waiting runs are written at once, without waiting for the delay.
PROMPT = 500
#: One transaction holds at most that many, so that other writers get their turn.
CHUNK = 2000
#: How many runs wait in memory while the store refuses, about 1 kB each. Far above what a working store ever
#: lets come together (it writes `PROMPT` runs in milliseconds), so it is met in an outage only; then the oldest
#: are given up: a read is forgotten, and a begun run stays unfinished until `settle` calls it unknown. New writes
#: are refused by `begin` all that time.
BOUND = 50_000
#: Pause before the next try after the store refused.
RETRY_SECONDS = 1.0

#: What is recorded of every run, in the order of `values_of`.
RUN_COLUMNS = (
    "id", "org", "key", '"user"', "integration", "action", "effect", "mode", "state", "started_at", "finished_at",
    "connection", "status", "error", "outcome", "credits",
)  # fmt: skip
_COLUMNS = ", ".join(RUN_COLUMNS)
# A run that has ended never goes back to running, whatever order two writes of it arrive in.
_NAMES = tuple(name.strip('"') for name in RUN_COLUMNS)
_INSERT = f"INSERT INTO runs ({_COLUMNS}, process) VALUES "
_OR_UPDATE = """
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at,
        connection = excluded.connection, status = excluded.status, error = excluded.error,
        outcome = excluded.outcome, credits = excluded.credits
    WHERE runs.org = excluded.org AND (runs.finished_at IS NULL OR excluded.finished_at IS NOT NULL)
"""
#: Up to that many runs are written by one statement. It is a transaction by itself, at a third of the price of
#: one that is begun and committed.
TOGETHER = 32
_LIST = """
    SELECT * FROM runs
    WHERE org = :org AND mode = :mode AND (started_at, id) < (:started_at, :id)
    ORDER BY started_at DESC, id DESC LIMIT :limit
"""
#: So that no write of a call waits long for it.
_FORGOTTEN_AT_ONCE = 2000
_FORGET = """
    DELETE FROM runs WHERE id IN (
        SELECT id FROM runs WHERE started_at < :before AND finished_at IS NOT NULL LIMIT :most
    )
"""
_SETTLE = """
    UPDATE runs SET state = 'unknown', outcome = 'unknown', finished_at = :now
    WHERE finished_at IS NULL AND state = 'running' AND owner IS NULL AND (
        started_at < :before OR (started_at < :recent AND process IS NOT NULL AND process NOT IN (
            SELECT owner FROM leases WHERE name LIKE 'replica:%' AND until > :now
        ))
    )
    RETURNING *
"""
#: Milliseconds in which a process that has just begun says that it lives.
_FIRST_SIGN = 10_000
_NEWEST = (2**62, "")

Begun = Sequence[tuple[Run | None, asyncio.Future[None]]]


class Uses(Protocol):
    """Counts of key uses, which ride along with the runs. `SqlKeys` is one."""

    on_use: Callable[[], None]

    def take_uses(self) -> Batch | None: ...

    def give_back_uses(self, batch: Batch) -> None: ...


class RunWriter:
    """Runs in the database; implements `RunStore`. One for a process, used from one event loop."""

    def __init__(
        self,
        database: Database,
        *,
        uses: Uses | None = None,
        process: str | None = None,
        delay: float = DELAY_SECONDS,
        bound: int = BOUND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._uses = uses
        # Written out: the same for every run of this process.
        assert process is None or re.fullmatch(r"\w+", process, re.ASCII)
        self._process = "NULL" if process is None else f"'{process}'"
        self._delay = delay
        self._bound = bound
        self._clock = clock
        #: Recorded and not yet being written, in order; the last word on a run replaces the one before.
        self._queued: dict[str, Run] = {}
        #: Being written at this moment.
        self._in_flight: dict[str, Run] = {}
        #: Whoever waits for the next commit, with the run to write; None waits for what is queued.
        self._begun: list[tuple[Run | None, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        #: The queue is to be written without further delay.
        self._due = False
        self._task: asyncio.Task[None] | None = None
        self._refusing = False
        self._closed = False
        #: Runs given up because the store refused for too long, or refused them for what they hold.
        self.lost = 0
        if uses is not None:
            uses.on_use = self._soon

    async def begin(self, run: Run) -> None:
        """Durable when it returns. Raises `StorageUnavailable`: then nothing may be sent.

        Where the caller is cancelled while it waits, the run may have been written: record its end.
        """
        if self._closed:
            raise StorageUnavailable
        await self._next_commit(run)

    def record(self, run: Run) -> None:
        """Durable within 200 ms while the store works. Never waits and never raises."""
        queued = self._queued
        queued[run.id] = run
        if self._timer is None and not self._due:
            self._soon()
        if len(queued) >= PROMPT:
            self._crowded()

    async def find(self, org: str, run_id: str) -> Run | None:
        """The run as this process knows it, written or not."""
        waiting = self._queued.get(run_id) or self._in_flight.get(run_id)
        if waiting is not None:
            return waiting if waiting.org == org else None
        sql = "SELECT * FROM runs WHERE org = :org AND id = :id"
        row = await self._database.fetch_one(sql, org=org, id=run_id)
        return None if row is None else run_of(row)

    async def list(
        self, org: str, *, mode: str = "live", limit: int = 50, cursor: str | None = None
    ) -> tuple[Sequence[Run], str | None]:
        after = _NEWEST if cursor is None else place_of(cursor)
        # Before the look into the database: what is written meanwhile is then seen twice, never missed.
        waiting = [
            run
            for run in self._waiting()
            if run.org == org and run.mode == mode and (run.started_at, run.id) < after
        ]
        rows = await self._database.fetch(_LIST, org=org, mode=mode, started_at=after[0], id=after[1], limit=limit + 1)
        runs = {run.id: run for run in (*map(run_of, rows), *waiting)}
        page = sorted(runs.values(), key=lambda run: (run.started_at, run.id), reverse=True)
        if len(page) <= limit:
            return page, None
        return page[:limit], cursor_of(page[limit - 1].started_at, page[limit - 1].id)

    async def settle(self, before: int) -> Sequence[Run]:
        """Calls runs `unknown` that never ended, because their process no longer lives or they began before that time.

        `before` (unix milliseconds) must lie further back than any call can last. Gives back those that it settled.
        """
        now = int(self._clock() * 1000)
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(_SETTLE, before=before, recent=now - _FIRST_SIGN, now=now)
            settled = [*map(run_of, rows)]
            charged = [call_entry(run) for run in settled if run.is_charged]
            if charged:
                await transaction.execute_many(INSERT_ENTRY, charged)
        return settled

    async def forget(self, before: int) -> int:
        """Deletes ended runs that began before that time (unix milliseconds), some thousands at a time."""
        forgotten = 0
        while changed := await self._database.execute(_FORGET, before=before, most=_FORGOTTEN_AT_ONCE):
            forgotten += changed
        return forgotten

    async def flush(self) -> None:
        """Everything recorded until now is durable when it returns. Raises `StorageUnavailable`."""
        for _ in range(len(self._queued) // CHUNK + 1):
            await self._next_commit(None)

    async def close(self) -> None:
        """Writes what is left and takes no more. Raises `StorageUnavailable` where that is lost."""
        self._closed = True
        try:
            await self.flush()
        finally:
            self._stop_timer()

    async def _next_commit(self, run: Run | None) -> None:
        done = asyncio.get_running_loop().create_future()
        self._begun.append((run, done))
        if run is None:
            self._now()
        else:
            self._work()
        await done

    def _soon(self) -> None:
        if self._timer is None and not self._due:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._now)

    def _now(self) -> None:
        self._stop_timer()
        self._due = True
        self._work()

    def _work(self) -> None:
        # A task that runs takes what has come in its next round: that is how a group comes together.
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_groups())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _crowded(self) -> None:
        if not self._refusing:
            if not self._due:
                self._now()
            return
        for run_id in list(islice(self._queued, max(0, len(self._queued) - self._bound))):
            del self._queued[run_id]
            self.lost += 1

    async def _write_groups(self) -> None:
        try:
            while self._due or self._begun:
                if not self._due:
                    # A commit costs the same for one as for ten, and an upstream takes far longer than this.
                    await asyncio.sleep(GATHER_SECONDS)
                with_queue, self._due = self._due, False
                await self._write_group(with_queue)
        finally:
            self._task = None

    async def _write_group(self, with_queue: bool) -> None:
        """One transaction: all that was begun and, where it is time, the oldest of what is queued."""
        begun, self._begun = self._begun, []
        part = self._in_flight = dict(islice(self._queued.items(), CHUNK)) if with_queue else {}
        for run_id in part:
            del self._queued[run_id]
        uses = self._uses.take_uses() if self._uses is not None and with_queue else None
        waiters = {run.id: done for run, done in begun if run is not None}
        try:
            runs = [run for run, _ in begun if run is not None]
            await self._write_rows([*runs, *part.values()], uses, waiters)
        except Exception as error:  # whatever it is, who waits must be told
            # What was recorded meanwhile is newer than what could not be written.
            self._queued = {**part, **self._queued}
            if self._uses is not None and uses is not None:
                self._uses.give_back_uses(uses)
            self._refuse(begun, error)
        else:
            self._accept(begun)
        finally:
            self._in_flight = {}

    def _accept(self, begun: Begun) -> None:
        for _, done in begun:
            if not done.done():
                done.set_result(None)
        if self._refusing:
            self._refusing = False
            log.warning("the store takes runs again; %d were given up", self.lost)
        if len(self._queued) >= PROMPT:
            self._due = True
        elif self._queued:
            self._soon()

    def _refuse(self, begun: Begun, error: Exception) -> None:
        cause = error.__cause__ or error
        for _, done in begun:
            if not done.done():
                refused = StorageUnavailable()
                refused.__cause__ = cause
                done.set_exception(refused)
        if not self._refusing:
            self._refusing = True
            log.error("the store refuses runs; they wait in memory: %r", cause)
        self._crowded()
        self._due = False
        self._stop_timer()
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(max(RETRY_SECONDS, self._delay), self._now)

    async def _write_rows(
        self, runs: Sequence[Run], uses: Batch | None, waiters: Mapping[str, asyncio.Future[None]]
    ) -> None:
        batches = _batches(runs, self._process)
        if uses is not None:
            batches.append(uses)
        if not batches:
            return
        try:
            # One statement may not touch a row twice: a begin that was cancelled, and its end.
            if len(batches) == 1 and uses is None and len({run.id for run in runs}) == len(runs) <= TOGETHER:
                await self._write_together(runs)
            else:
                await self._database.write(batches)
        except (NotStorable, AlreadyThere) as error:
            # One run that cannot be stored must not keep the others out for ever: halves, until it stands alone.
            if not runs:
                raise
            if len(runs) == 1:
                self._give_up(runs[0], error, waiters)
            else:
                middle = len(runs) // 2
                await self._write_rows(runs[:middle], None, waiters)
                await self._write_rows(runs[middle:], None, waiters)
            # Last, so that they are written once or given back.
            await self._write_rows([], uses, waiters)
            return
        for run in runs:
            waiter = waiters.get(run.id)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    async def _write_together(self, runs: Sequence[Run]) -> None:
        sql, names = _write_together(len(runs), self._process)
        await self._database.execute(sql, **dict(zip(names, chain.from_iterable(map(values_of, runs)), strict=True)))

    def _give_up(self, run: Run, error: Exception, waiters: Mapping[str, asyncio.Future[None]]) -> None:
        waiter = waiters.get(run.id)
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            return
        self.lost += 1
        log.error("run %s cannot be stored: %s", run.id, type(error).__name__)

    def _waiting(self) -> Iterator[Run]:
        yield from self._in_flight.values()
        yield from self._queued.values()


def _batches(runs: Sequence[Run], process: str) -> list[Batch]:
    """The runs, and the entries of those that are charged: both or neither."""
    charged = [call_entry(run) for run in runs if run.is_charged]
    batches: list[Batch] = [(_write_together(1, process)[0], [values_of(run) for run in runs])] if runs else []
    return [*batches, (INSERT_ENTRY, charged)] if charged else batches


@lru_cache(maxsize=2 * TOGETHER)
def _write_together(count: int, process: str) -> tuple[str, tuple[str, ...]]:
    """The statement for that many runs, and the names of its parameters, run by run."""
    names = [[f"{name}_{number}" for name in _NAMES] for number in range(count)]
    rows = ", ".join("(" + ", ".join(f":{name}" for name in row) + f", {process})" for row in names)
    return _INSERT + rows + _OR_UPDATE, tuple(chain.from_iterable(names))


def values_of(run: Run) -> tuple[Value, ...]:
    """The columns that every run has."""
    return (
        run.id,
        run.org,
        run.key,
        run.user,
        run.integration,
        run.action,
        run.effect,
        run.mode,
        run.state,
        run.started_at,
        run.finished_at,
        run.connection,
        run.status,
        run.error,
        run.outcome,
        run.credits,
    )


def run_of(row: Row) -> Run:
    """A run of a row with all columns of `runs`."""
    return Run(
        id=row["id"],
        org=row["org"],
        key=row["key"],
        user=row["user"],
        integration=row["integration"],
        action=row["action"],
        effect=row["effect"],
        mode=row["mode"],
        state=row["state"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        connection=row["connection"],
        status=row["status"],
        error=row["error"],
        outcome=row["outcome"],
        credits=row["credits"],
        kept=row["kept"],
        refusal=None if row["refusal"] is None else json.loads(row["refusal"]),
        progress=None if row["progress"] is None else json.loads(row["progress"]),
        fingerprint=row["fingerprint"],
    )
