"""The queue of runs, where clocks differ and processes come too late."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.tenants.keys import Org
from gateway.store.database import Database
from gateway.store.queue import SqlQueue
from oauth.vault import Vault
from tests.store.samples import Clock, a_run, ended


async def add(queue: SqlQueue, org: Org, *, due_at: float) -> str:
    run = a_run(org.id, state="queued")
    await queue.add(run, request=b"{}", is_safe=True, priority=1, due_at=int(due_at * 1000))
    return run.id


@pytest.mark.failure("R25")
async def test_a_replica_whose_clock_is_ahead_or_behind_puts_runs_in_line_for_now(
    database: Database, vault: Vault, org: Org
) -> None:
    for skew in (600.0, -600.0):
        ours, theirs = SqlQueue(database, vault), SqlQueue(database, vault)
        theirs._here = lambda skew=skew: time.time() + skew  # type: ignore[misc]
        run_id = await add(theirs, org, due_at=theirs._here())
        later = await add(theirs, org, due_at=theirs._here() + 300)
        taken = await ours.take("proc_ours", 15, after="")
        assert taken is not None and taken.run.id == run_id
        assert await theirs.postpone(taken, state="queued", due_at=int((theirs._here() + 300) * 1000))
        assert await ours.take("proc_ours", 15, after="") is None
        await database.execute("DELETE FROM runs WHERE id IN (:one, :other)", one=run_id, other=later)


@pytest.mark.failure("R25")
async def test_runs_in_line_do_not_wait_for_a_clock_that_was_set_back(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    queue = SqlQueue(database, vault, clock=clock)
    run_id = await add(queue, org, due_at=clock())
    clock.move(-3600)
    assert await queue.take("proc_1", 15, after="") is None
    await queue.lapsed(100, living="another")
    taken = await queue.take("proc_1", 15, after="")
    assert taken is not None and taken.run.id == run_id


async def test_who_lost_its_lease_changes_nothing_even_if_it_has_the_run_again(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    queue = SqlQueue(database, vault, clock=clock)
    run_id = await add(queue, org, due_at=clock())
    late = await taken_by(queue, "proc_1")
    clock.move(16)
    [(lapsed, was_sent, is_safe, is_queued)] = await queue.lapsed(100, living="another")
    assert (lapsed.run.id, was_sent, is_safe, is_queued) == (run_id, False, True, True)
    over = replace(ended(late.run), finished_at=int(clock() * 1000))
    for _ in range(2):
        assert not await queue.is_held(late) and not await queue.mark_sent(late)
        assert not await queue.prolong(late, 15) and not await queue.finish(late, over)
        assert not await queue.postpone(late, state="queued", due_at=0)
        if lapsed.owner == "lapsed" and await queue.postpone(lapsed, state="queued", due_at=int(clock() * 1000)):
            again = await taken_by(queue, "proc_1")
    assert await queue.is_held(again) and await queue.finish(again, over)


async def taken_by(queue: SqlQueue, owner: str) -> Any:
    taken = await queue.take(owner, 15, after="")
    assert taken is not None
    return taken
