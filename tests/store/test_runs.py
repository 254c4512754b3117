"""The record of calls: groups share a commit, reads never wait, a refusing store is felt by writes alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from gateway.core.errors import Refusal
from gateway.core.run import Run
from gateway.core.tenants.keys import Org
from gateway.store.database import Batch, Database, Dialect, NotStorable, Row, Statements, StorageUnavailable, Value
from gateway.store.keys import SqlKeys
from gateway.store.leases import SqlLeases
from gateway.store.runs import CHUNK, PROMPT, RunWriter
from tests.store.samples import Clock, a_run, ended, until

T = TypeVar("T")
NEVER = 3600.0


class Watched:
    """A real database behind a switch: commits of groups are counted, and can be refused or held up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.commits = 0
        self.refuses = False
        self.gate: asyncio.Event | None = None
        #: Set as soon as a commit is under way.
        self.writing = asyncio.Event()
        self.broken = database.broken

    @property
    def dialect(self) -> Dialect:
        return self._database.dialect

    async def write(self, batches: Sequence[Batch], /) -> None:
        await self._watch(self._database.write(batches))

    async def _watch(self, commit: Coroutine[Any, Any, T]) -> T:
        self.writing.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.refuses:
                raise StorageUnavailable
            # Before it is done: what it wrote can be seen a moment before it comes back.
            self.commits += 1
            return await commit
        finally:
            commit.close()

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        return await self._database.fetch(sql, **params)

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        return await self._database.fetch_one(sql, **params)

    async def execute(self, sql: str, /, **params: Value) -> int:
        return await self._watch(self._database.execute(sql, **params))

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        await self._database.execute_many(sql, rows)

    def transaction(self, *, patient: bool = False) -> AbstractAsyncContextManager[Statements]:
        return self._database.transaction(patient=patient)

    def snapshot(self) -> AbstractAsyncContextManager[Statements]:
        return self._database.snapshot()

    def tell(self, topic: str) -> None:
        self._database.tell(topic)

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        self._database.listen(topic, listener)

    async def check(self) -> None:
        await self._database.check()

    async def close(self) -> None:
        await self._database.close()


@pytest.fixture
def watched(database: Database) -> Watched:
    return Watched(database)


@pytest_asyncio.fixture
async def runs(watched: Watched, clock: Clock) -> AsyncIterator[RunWriter]:
    """One whose delay never ends by itself: what is written was asked for."""
    writer = RunWriter(watched, delay=NEVER, clock=clock)
    yield writer
    watched.refuses = False
    await writer.close()


async def stored(database: Database) -> int:
    row = await database.fetch_one("SELECT COUNT(*) AS n FROM runs")
    assert row is not None
    return int(row["n"])


async def has_stored(database: Database, number: int) -> bool:
    return await stored(database) == number


async def was_used(keys: SqlKeys, org: Org, times: int) -> bool:
    return (await keys.list(org.id))[0].request_count == times


async def test_a_begun_run_is_durable_when_begin_returns(runs: RunWriter, database: Database, org: Org) -> None:
    run = a_run(org.id)
    await runs.begin(run)
    assert await RunWriter(database).find(org.id, run.id) == run


async def test_two_hundred_begins_share_a_few_commits(
    runs: RunWriter, watched: Watched, database: Database, org: Org
) -> None:
    await asyncio.gather(*(runs.begin(a_run(org.id)) for _ in range(200)))
    assert await stored(database) == 200
    assert watched.commits == 1


async def test_who_comes_during_a_commit_shares_the_next_one(
    runs: RunWriter, watched: Watched, database: Database, org: Org
) -> None:
    watched.gate = asyncio.Event()
    begins = [asyncio.create_task(runs.begin(a_run(org.id)))]
    await watched.writing.wait()
    begins += [asyncio.create_task(runs.begin(a_run(org.id))) for _ in range(50)]
    await asyncio.sleep(0)
    watched.gate.set()
    await asyncio.gather(*begins)
    assert watched.commits == 2
    assert await stored(database) == 51


async def test_a_record_waits_for_its_group_and_is_seen_here_at_once(
    runs: RunWriter, watched: Watched, database: Database, org: Org, other_org: Org
) -> None:
    run = ended(a_run(org.id, effect="read"))
    runs.record(run)
    assert watched.commits == 0 and await stored(database) == 0
    assert await runs.find(org.id, run.id) == run
    assert await runs.find(other_org.id, run.id) is None
    assert (await runs.list(org.id))[0] == [run]
    await runs.flush()
    assert await stored(database) == 1
    assert await runs.find(org.id, run.id) == run
    assert await runs.find(other_org.id, run.id) is None


async def test_a_record_is_written_by_itself_after_the_delay(watched: Watched, database: Database, org: Org) -> None:
    writer = RunWriter(watched, delay=0.01)
    for _ in range(10):
        writer.record(ended(a_run(org.id)))
    await until(lambda: has_stored(database, 10))
    assert watched.commits == 1
    await writer.close()


async def test_the_end_of_a_run_replaces_its_beginning_and_never_the_other_way(
    runs: RunWriter, database: Database, org: Org, other_org: Org
) -> None:
    run = a_run(org.id)
    await runs.begin(run)
    runs.record(ended(run))
    await runs.flush()
    assert await runs.find(org.id, run.id) == ended(run)
    runs.record(run)
    runs.record(ended(replace(run, org=other_org.id), state="failed"))
    await runs.flush()
    assert await runs.find(org.id, run.id) == ended(run)
    assert await stored(database) == 1


async def test_begun_and_ended_in_one_group_is_ended(runs: RunWriter, org: Org) -> None:
    run = a_run(org.id)
    begin = asyncio.create_task(runs.begin(run))
    await asyncio.sleep(0)
    runs.record(ended(run))
    await begin
    await runs.flush()
    assert await runs.find(org.id, run.id) == ended(run)


async def test_many_records_are_written_without_waiting_for_the_delay(
    runs: RunWriter, database: Database, org: Org
) -> None:
    for _ in range(PROMPT):
        runs.record(ended(a_run(org.id)))
    await until(lambda: has_stored(database, PROMPT))


async def test_a_flush_writes_more_than_one_transaction_holds(
    runs: RunWriter, watched: Watched, database: Database, org: Org
) -> None:
    for _ in range(2 * CHUNK + 10):
        runs.record(ended(a_run(org.id)))
    await runs.flush()
    assert await stored(database) == 2 * CHUNK + 10
    assert watched.commits == 3


async def test_begin_is_refused_while_the_store_is_down(runs: RunWriter, watched: Watched, org: Org) -> None:
    watched.refuses = True
    run = a_run(org.id)
    with pytest.raises(StorageUnavailable):
        await runs.begin(run)
    watched.refuses = False
    await runs.begin(a_run(org.id))
    assert await runs.find(org.id, run.id) is None


async def test_records_outlast_an_outage(runs: RunWriter, watched: Watched, database: Database, org: Org) -> None:
    watched.refuses = True
    early, late = ended(a_run(org.id)), ended(a_run(org.id))
    runs.record(early)
    with pytest.raises(StorageUnavailable):
        await runs.flush()
    runs.record(late)
    runs.record(replace(early, status=500))
    assert (await runs.list(org.id))[0] == [late, replace(early, status=500)]
    watched.refuses = False
    await runs.flush()
    assert await stored(database) == 2
    assert await runs.find(org.id, early.id) == replace(early, status=500)
    assert runs.lost == 0


async def test_an_outage_keeps_the_newest_records_up_to_the_bound(
    watched: Watched, org: Org, database: Database
) -> None:
    writer = RunWriter(watched, delay=NEVER, bound=PROMPT + 10)
    watched.refuses = True
    made = [ended(a_run(org.id)) for _ in range(PROMPT + 30)]
    writer.record(made[0])
    with pytest.raises(StorageUnavailable):
        await writer.flush()
    for run in made[1:]:
        writer.record(run)
    assert writer.lost == 20
    watched.refuses = False
    await writer.close()
    assert await stored(database) == PROMPT + 10
    assert await writer.find(org.id, made[19].id) is None
    assert await writer.find(org.id, made[20].id) == made[20]


async def test_one_run_that_cannot_be_stored_keeps_no_other_out(
    runs: RunWriter, database: Database, org: Org
) -> None:
    good = [ended(a_run(org.id)) for _ in range(20)]
    for run in (*good[:7], ended(a_run(org.id, user="a\0b")), *good[7:]):
        runs.record(run)
    first, second, bad = a_run(org.id), a_run(org.id), a_run(org.id, user="a\0b")
    answers = await asyncio.gather(runs.begin(first), runs.begin(bad), runs.begin(second), return_exceptions=True)
    assert answers[0] is None and isinstance(answers[1], NotStorable) and answers[2] is None
    await runs.flush()
    assert await stored(database) == 22
    assert runs.lost == 1


async def test_a_closed_writer_has_written_everything_and_takes_no_more(
    watched: Watched, database: Database, org: Org
) -> None:
    writer = RunWriter(watched, delay=NEVER)
    writer.record(ended(a_run(org.id)))
    await writer.close()
    assert await stored(database) == 1
    with pytest.raises(StorageUnavailable):
        await writer.begin(a_run(org.id))


async def test_closing_says_when_something_is_lost(watched: Watched, org: Org) -> None:
    writer = RunWriter(watched, delay=NEVER)
    watched.refuses = True
    writer.record(ended(a_run(org.id)))
    with pytest.raises(StorageUnavailable):
        await writer.close()


async def test_a_cancelled_begin_disturbs_nobody(runs: RunWriter, watched: Watched, org: Org) -> None:
    watched.gate = asyncio.Event()
    impatient, patient = a_run(org.id), a_run(org.id)
    tasks = [asyncio.create_task(runs.begin(run)) for run in (impatient, patient)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    watched.gate.set()
    await tasks[1]
    assert tasks[0].cancelled()
    assert await runs.find(org.id, patient.id) == patient


async def test_key_uses_ride_along_and_are_counted_once(
    watched: Watched, database: Database, org: Org, clock: Clock
) -> None:
    keys = SqlKeys(database, clock=clock)
    key, _ = await keys.create(org.id, "one", "live")
    writer = RunWriter(watched, uses=keys, delay=0.01)
    watched.refuses = True
    keys.note_use(org.id, key.id)
    writer.record(ended(a_run(org.id)))
    with pytest.raises(StorageUnavailable):
        await writer.flush()
    watched.refuses = False
    keys.note_use(org.id, key.id)
    await writer.flush()
    assert watched.commits == 1
    # Without any run, too.
    keys.note_use(org.id, key.id)
    await until(lambda: was_used(keys, org, 3))
    assert (await keys.list(org.id))[0].last_used_at == clock.now
    await writer.close()


async def test_lists_come_newest_first_in_pages(runs: RunWriter, org: Org, other_org: Org) -> None:
    made = [ended(a_run(org.id)) for _ in range(5)]
    twins = [ended(a_run(org.id, started_at=made[2].started_at)) for _ in range(3)]
    for run in (*made, *twins, ended(a_run(other_org.id))):
        runs.record(run)
    expected = sorted([*made, *twins], key=lambda run: (run.started_at, run.id), reverse=True)
    for written in (False, True):
        seen: list[Run] = []
        cursor = None
        for _ in range(4):
            page, cursor = await runs.list(org.id, limit=2, cursor=cursor)
            assert len(page) == 2
            seen += page
        assert cursor is None and seen == expected
        if not written:
            await runs.flush()


async def test_a_page_joins_what_is_written_with_what_is_not(runs: RunWriter, org: Org) -> None:
    begun = [a_run(org.id) for _ in range(4)]
    await asyncio.gather(*(runs.begin(run) for run in begun))
    runs.record(ended(begun[1]))
    newest = ended(a_run(org.id))
    runs.record(newest)
    assert (await runs.list(org.id))[0] == [newest, begun[3], begun[2], ended(begun[1]), begun[0]]
    page, cursor = await runs.list(org.id, limit=2)
    assert page == [newest, begun[3]]
    assert (await runs.list(org.id, cursor=cursor))[0] == [begun[2], ended(begun[1]), begun[0]]


@pytest.mark.parametrize(
    "cursor", ["x", "!!", "", "MTIz\0", "MTIz*", "LTUgcnVu", "MTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAgcnVu", "é"]
)
async def test_a_made_up_cursor_is_a_bad_request(runs: RunWriter, org: Org, cursor: str) -> None:
    with pytest.raises(Refusal) as refused:
        await runs.list(org.id, cursor=cursor)
    assert refused.value.code == "bad_request"


async def test_runs_of_a_process_that_lives_no_longer_become_unknown_within_a_minute(
    database: Database, org: Org, clock: Clock
) -> None:
    leases = SqlLeases(database, clock=clock)
    writers = [RunWriter(database, process=f"proc_{number}", clock=clock) for number in range(2)]
    runs = [a_run(org.id, started_at=int(clock.now * 1000)) for _ in writers]
    for number, writer in enumerate(writers):
        await leases.acquire(f"replica:proc_{number}", f"proc_{number}", 30)
        await writer.begin(runs[number])
    clock.now += 20
    assert await writers[1].settle(0) == []
    await leases.acquire("replica:proc_1", "proc_1", 30)
    clock.now += 20
    assert [run.id for run in await writers[1].settle(0)] == [runs[0].id]
    dead = await writers[1].find(org.id, runs[0].id)
    assert dead is not None and (dead.state, dead.outcome) == ("unknown", "unknown")
    assert await writers[1].find(org.id, runs[1].id) == runs[1]
    for writer in writers:
        await writer.close()


async def test_runs_of_a_process_that_died_become_unknown(runs: RunWriter, org: Org, clock: Clock) -> None:
    dead = a_run(org.id, started_at=int(clock.now * 1000) - 1)
    alive = a_run(org.id, started_at=int(clock.now * 1000))
    done = a_run(org.id, started_at=int(clock.now * 1000) - 1)
    for run in (dead, alive, done):
        await runs.begin(run)
    runs.record(ended(done))
    await runs.flush()
    assert [run.id for run in await runs.settle(int(clock.now * 1000))] == [dead.id]
    settled = await runs.find(org.id, dead.id)
    assert settled == replace(dead, state="unknown", outcome="unknown", finished_at=int(clock.now * 1000))
    assert await runs.find(org.id, alive.id) == alive
    assert await runs.find(org.id, done.id) == ended(done)
    # The process was only slow: its word replaces ours.
    runs.record(ended(dead))
    await runs.flush()
    assert await runs.find(org.id, dead.id) == ended(dead)


async def test_ended_runs_are_forgotten_after_their_time_and_running_ones_are_not(database: Database, org: Org) -> None:
    writer = RunWriter(database)
    old = ended(a_run(org.id, id="run_old", started_at=1_000), finished_at=1_100)
    running = a_run(org.id, id="run_running", started_at=1_000)
    new = ended(a_run(org.id, id="run_new", started_at=9_000), finished_at=9_100)
    for run in (old, running, new):
        writer.record(run)
    await writer.flush()
    assert await writer.forget(5_000) == 1
    assert await writer.find(org.id, old.id) is None
    assert await writer.find(org.id, running.id) is not None
    assert await writer.find(org.id, new.id) is not None
    await writer.close()
