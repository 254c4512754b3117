"""Leases: one owner at a time, an end by themselves, and a clock that all replicas share."""

from __future__ import annotations

import asyncio

import pytest

from gateway.store.database import Database
from gateway.store.leases import SqlLeases
from tests.store.samples import Clock, until


async def test_of_fifty_at_once_one_gets_the_lease(database: Database) -> None:
    leases = SqlLeases(database)
    got = await asyncio.gather(*(leases.acquire("refresh", f"task {number}", 30) for number in range(50)))
    assert got.count(True) == 1


async def test_a_lease_runs_out_by_itself(database: Database, clock: Clock) -> None:
    leases = SqlLeases(database, clock=clock)
    assert await leases.acquire("refresh", "a", 30)
    clock.move(29.999)
    assert not await leases.acquire("refresh", "b", 30)
    clock.move(0.001)
    assert await leases.acquire("refresh", "b", 30)
    assert not await leases.acquire("refresh", "a", 30)


async def test_its_owner_may_prolong_it(database: Database, clock: Clock) -> None:
    leases = SqlLeases(database, clock=clock)
    assert await leases.acquire("refresh", "a", 30)
    clock.move(20)
    assert await leases.acquire("refresh", "a", 30)
    clock.move(20)
    assert not await leases.acquire("refresh", "b", 30)


async def test_only_its_owner_gives_it_back(database: Database, clock: Clock) -> None:
    leases = SqlLeases(database, clock=clock)
    await leases.acquire("refresh", "a", 30)
    await leases.release("refresh", "b")
    assert not await leases.acquire("refresh", "b", 30)
    await leases.release("refresh", "a")
    assert await leases.acquire("refresh", "b", 30)


async def test_a_late_owner_does_not_give_back_what_another_holds_by_now(database: Database, clock: Clock) -> None:
    leases = SqlLeases(database, clock=clock)
    await leases.acquire("refresh", "slow", 30)
    clock.move(31)
    await leases.acquire("refresh", "next", 30)
    await leases.release("refresh", "slow")
    assert not await leases.acquire("refresh", "third", 30)


async def test_leases_of_different_names_do_not_meet(database: Database) -> None:
    leases = SqlLeases(database)
    assert await leases.acquire("one", "a", 30)
    assert await leases.acquire("two", "b", 30)


@pytest.mark.failure("R25")
async def test_the_databases_own_clock_ends_a_lease(database: Database) -> None:
    leases = SqlLeases(database)
    assert await leases.acquire("refresh", "a", 0.05)
    assert not await leases.acquire("refresh", "b", 30)
    await until(lambda: leases.acquire("refresh", "b", 30))
    row = await database.fetch_one("SELECT owner FROM leases")
    assert row is not None and row["owner"] == "b"


async def test_leases_of_the_dead_are_purged(database: Database, clock: Clock) -> None:
    leases = SqlLeases(database, clock=clock)
    await leases.acquire("one", "dead", 10)
    await leases.acquire("two", "alive", 30)
    clock.move(10)
    assert await leases.purge() == 1
    assert not await leases.acquire("two", "b", 30)
