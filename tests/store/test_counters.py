"""Counts of limits: one suite for those of a process and for those that Valkey keeps for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from redis.asyncio import Redis

from gateway.core.tenants.counters import BaseMissing, CountersGone, LocalCounters, Took, Want
from gateway.store.valkey import ValkeyCounters
from tests.conftest import lacking
from tests.fakes.valkey import Valkey, ValkeyMissing, valkey
from tests.store.samples import Clock


class Counters(Protocol):
    """What both can do."""

    async def take(self, *wants: Want) -> Took: ...

    async def begin(self, want: Want, base: int) -> None: ...

    async def give_back(self, want: Want) -> None: ...


class Local:
    def __init__(self, clock: Clock) -> None:
        self._counters = LocalCounters()
        self._clock = clock

    async def take(self, *wants: Want) -> Took:
        return self._counters.take(wants, self._clock.now)

    async def begin(self, want: Want, base: int) -> None:
        self._counters.begin(want, base, self._clock.now)

    async def give_back(self, want: Want) -> None:
        self._counters.give_back(want)


class Shared:
    def __init__(self, counters: ValkeyCounters) -> None:
        self.counters = counters

    async def take(self, *wants: Want) -> Took:
        return await self.counters.take(wants, [0] * len(wants))

    async def begin(self, want: Want, base: int) -> None:
        await self.counters.begin(want, base)

    async def give_back(self, want: Want) -> None:
        await self.counters.give_back(want)


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    try:
        with valkey() as started:
            yield started
    except ValkeyMissing as missing:
        lacking(str(missing))


@pytest.fixture
async def shared(server: Valkey, clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[ValkeyCounters]:
    counters = ValkeyCounters(server.url, installation=request.node.name, clock=clock)
    yield counters
    await counters.close()


@pytest.fixture(params=["local", "valkey"])
def counters(request: pytest.FixtureRequest, clock: Clock) -> Counters:
    return Local(clock) if request.param == "local" else Shared(request.getfixturevalue("shared"))


@pytest.fixture
def minute(clock: Clock) -> Want:
    return Want("org_1", "key_1 requests 60", 1, 3, int(clock.now) + 60)


async def test_as_many_are_let_through_as_the_limit_says(counters: Counters, minute: Want) -> None:
    assert [await counters.take(minute) for _ in range(5)] == [
        Took((1,)),
        Took((2,)),
        Took((3,)),
        Took((3,), refused=True),
        Took((3,), refused=True),
    ]


async def test_a_new_window_begins_at_nothing(counters: Counters, minute: Want) -> None:
    for _ in range(4):
        await counters.take(minute)
    assert await counters.take(replace(minute, until=minute.until + 60)) == Took((1,))


async def test_of_several_limits_all_are_counted_or_none(counters: Counters, minute: Want) -> None:
    hour = replace(minute, name="key_1 github.* 3600", limit=2, until=minute.until + 3600)
    assert await counters.take(minute, hour) == Took((1, 1))
    assert await counters.take(minute, hour) == Took((2, 2))
    assert await counters.take(minute, hour) == Took((2, 2), refused=True)
    assert await counters.take(minute) == Took((3,))
    assert await counters.take(minute, hour) == Took((3,), refused=True)


async def test_what_is_given_back_can_be_taken_again(counters: Counters, minute: Want) -> None:
    for _ in range(3):
        await counters.take(minute)
    await counters.give_back(minute)
    assert await counters.take(minute) == Took((3,))
    await counters.give_back(replace(minute, until=minute.until + 60))
    assert (await counters.take(minute)).refused


async def test_a_count_of_the_ledger_begins_where_it_stands(counters: Counters, minute: Want) -> None:
    credits = replace(minute, name="org_1 credits", amount=5, limit=100, base="credits")
    with pytest.raises(BaseMissing) as missing:
        await counters.take(minute, credits)
    assert missing.value.want == credits
    await counters.begin(credits, 90)
    assert await counters.take(minute, credits) == Took((1, 95))
    # Somebody who looked into the ledger at the same time does not set it back.
    await counters.begin(credits, 90)
    assert await counters.take(minute, credits) == Took((2, 100))
    assert await counters.take(minute, credits) == Took((2, 100), refused=True)


async def test_a_limit_of_nothing_lets_nothing_through(counters: Counters, minute: Want) -> None:
    assert (await counters.take(replace(minute, limit=0))).refused


async def test_a_limit_that_was_lowered_holds_at_once(counters: Counters, minute: Want) -> None:
    for _ in range(3):
        await counters.take(minute)
    assert await counters.take(replace(minute, limit=1)) == Took((3,), refused=True)


async def test_many_at_once_get_no_more_than_there_is(shared: ValkeyCounters, minute: Want) -> None:
    want = replace(minute, limit=60)
    answers = await asyncio.gather(*(shared.take([want], [0]) for _ in range(400)))
    assert sorted(took.counts[0] for took in answers if not took.refused) == [*range(1, 61)]


async def test_a_crowd_asks_together_over_one_connection(shared: ValkeyCounters, minute: Want) -> None:
    await shared.take([minute], [0])
    before = await shared._redis.info()
    await asyncio.gather(*(shared.take([minute], [0]) for _ in range(400)))
    after = await shared._redis.info()
    assert after["total_connections_received"] == before["total_connections_received"]
    assert after["total_reads_processed"] - before["total_reads_processed"] < 40


async def test_a_process_that_is_busy_does_not_take_the_server_for_gone(shared: ValkeyCounters, minute: Want) -> None:
    await shared.take([minute], [0])
    asked = asyncio.create_task(shared.take([minute], [0]))
    for _ in range(2):
        # Longer than an answer is waited for.
        await asyncio.sleep(0)
        time.sleep(0.7)  # noqa: ASYNC251
    assert await asked == Took((2,))


async def test_whoever_gives_up_while_others_are_served_is_not_counted(shared: ValkeyCounters, minute: Want) -> None:
    first = asyncio.create_task(shared.take([minute], [0]))
    await asyncio.sleep(0)
    late = [asyncio.create_task(shared.take([minute], [0])) for _ in range(3)]
    await asyncio.sleep(0)
    late[1].cancel()
    assert [await each for each in (first, late[0], late[2])] == [Took((1,)), Took((2,)), Took((3,))]


async def test_a_server_that_forgot_the_scripts_is_told_them_again(shared: ValkeyCounters, minute: Want) -> None:
    await shared.take([minute], [0])
    await shared._redis.script_flush()
    assert await shared.take([minute], [0]) == Took((2,))
    await shared._redis.script_flush()
    await shared.give_back(minute)
    assert await shared.take([minute], [0]) == Took((2,))


async def test_a_connection_that_the_server_closed_is_opened_again(
    server: Valkey, shared: ValkeyCounters, minute: Want
) -> None:
    await shared.take([minute], [0])
    admin = Redis.from_url(server.url)
    await admin.client_kill_filter(_type="normal", skipme=True)
    await admin.aclose()
    assert await shared.take([minute], [0]) == Took((2,))


async def test_what_was_let_through_meanwhile_is_counted_afterwards(shared: ValkeyCounters, minute: Want) -> None:
    assert await shared.take([minute], [2]) == Took((3,))
    assert await shared.take([minute], [4]) == Took((7,), refused=True)


async def test_two_installations_on_one_server_count_apart(server: Valkey, clock: Clock, minute: Want) -> None:
    both = [ValkeyCounters(server.url, installation=name, clock=clock) for name in ("one", "two")]
    assert [await counters.take([minute], [0]) for counters in both] == [Took((1,)), Took((1,))]
    for counters in both:
        await counters.close()


async def test_counts_are_forgotten_when_they_are_over(shared: ValkeyCounters, minute: Want) -> None:
    await shared.take([minute], [0])
    [key] = await shared._redis.keys("*test_counts_are_forgotten*")
    assert 60 <= await shared._redis.ttl(key) <= 121


async def test_a_server_that_is_gone_or_hangs_is_told_soon(clock: Clock, minute: Want) -> None:
    with valkey() as own:
        counters = ValkeyCounters(own.url, installation="x", clock=clock)
        await counters.take([minute], [0])
        own.hang()
        began = asyncio.get_running_loop().time()
        with pytest.raises(CountersGone):
            await counters.take([minute], [0])
        assert asyncio.get_running_loop().time() - began < 20
        own.go_on()
        own.stop()
        for work in (counters.take([minute], [0]), counters.begin(minute, 1), counters.give_back(minute)):
            with pytest.raises(CountersGone):
                await work
        own.start()
        assert await counters.take([minute], [0]) == Took((1,))
        await counters.close()


def test_counts_of_a_process_do_not_pile_up() -> None:
    counters = LocalCounters()
    for number in range(120_000):
        counters.take([Want("org_1", f"key_{number} requests 60", 1, 3, number // 1000 + 1)], number / 1000)
    assert len(counters._counts) <= 50_001
