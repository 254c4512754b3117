"""The queue of deliveries: taken once, for a lease, by one process; nothing lost and nothing sent too often."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.events import OPERATOR, Event
from gateway.core.messages.deliveries import PAUSES, Delivery, Due, Outcome, pause_after, payload_of, rest_after
from gateway.core.messages.signing import new_secret
from gateway.core.messages.webhook import Webhook
from gateway.core.tenants.keys import Org
from gateway.store import deliveries as module
from gateway.store.data_keys import SqlDataKeys
from gateway.store.database import Database
from gateway.store.deliveries import LEASE, TOGETHER, SqlDeliveries, call_back
from gateway.store.events import SqlEvents, append
from gateway.store.fan_out import SqlFanOut
from gateway.store.keys import SqlKeys
from gateway.store.migrate import migrate
from gateway.store.orgs import SqlOrgs
from gateway.store.webhooks import SqlWebhooks
from oauth.vault import MasterKey, Vault, open_ring
from tests.store.samples import Clock, a_webhook, opened, until

WENT = Outcome(status=200)
FAILED = Outcome(status=500, error="server_error")


class Queue:
    """The stores of one process, on one clock."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, org: Org) -> None:
        self.database = database
        self.clock = clock
        self.org = org
        self.webhooks = SqlWebhooks(database, vault, clock=clock)
        self.deliveries = SqlDeliveries(database, clock=clock)
        self.fan_out = SqlFanOut(database, clock=clock, database_clock=clock)

    async def subscribe(self, *events: str, org: Org | None = None) -> Webhook:
        org = org or self.org
        webhook = a_webhook(org.id, events=events or ("*",), created_at=self.clock())
        await self.webhooks.add(webhook, new_secret(), most=1000)
        # What tells of it is no part of a test.
        await self.database.execute("UPDATE events SET pending = NULL")
        return webhook

    async def call_back(self, url: str, event: Event) -> None:
        async with self.database.transaction() as transaction:
            await append(transaction, event)
            await call_back(transaction, self.deliveries._clock, self.org.id, url, event)

    async def happen(self, number: int = 1, *, org: Org | None = None) -> list[Event]:
        events = []
        for _ in range(number):
            events.append(Event.now((org or self.org).id, "limit.reached", self.clock()))
            await SqlEvents(self.database).add(events[-1])
        return events

    async def claim(self, most: int = 100, *, busy: tuple[str, ...] = (), interval: float = 0.0) -> list[Delivery]:
        return [*await self.deliveries.claim(most, busy=busy, interval=interval)]

    async def one(self) -> Delivery:
        [claimed] = await self.claim()
        return claimed

    async def stored(self, delivery: Delivery) -> Delivery:
        found, _ = await self.deliveries.list(delivery.org, delivery.endpoint, limit=1000, cursor=None)
        return next(one for one in found if one.id == delivery.id)


@pytest_asyncio.fixture
async def queue(database: Database, vault: Vault, clock: Clock, org: Org) -> Queue:
    return Queue(database, vault, clock, org)


# ---------------------------------------------------------------------------------------------------------- fan out


async def test_an_event_waits_only_where_somebody_subscribed(queue: Queue) -> None:
    async def pending() -> int:
        return len(await queue.database.fetch("SELECT id FROM events WHERE pending IS NOT NULL"))

    await queue.happen()
    assert await pending() == 0
    webhook = await queue.subscribe()
    await queue.happen(3)
    assert await pending() == 3
    assert await queue.fan_out.fan_out(2) == 2
    assert await queue.fan_out.fan_out(2) == 1
    assert await queue.fan_out.fan_out(2) == 0
    found, _ = await queue.deliveries.list(queue.org.id, webhook.id, limit=10, cursor=None)
    assert len(found) == 3 and {one.state for one in found} == {"pending"}
    await queue.webhooks.disable(queue.org.id, webhook.id, "gone")
    await queue.happen()
    assert await pending() == 0


async def test_the_payload_is_what_the_event_says(queue: Queue) -> None:
    await queue.subscribe()
    event = Event.now(queue.org.id, "limit.reached", queue.clock(), what="größe ✓", number=2**62, part=0.1)
    await SqlEvents(queue.database).add(event)
    await queue.fan_out.fan_out(10)
    assert (await queue.one()).payload == payload_of(event)


async def test_an_event_that_commits_late_is_not_passed_over(queue: Queue) -> None:
    """A cursor over ids would have gone by: its id is older than what was seen already."""
    webhook = await queue.subscribe()
    if queue.database.dialect == "sqlite":
        return  # one writer at a time: there is no such thing
    old = Event.now(queue.org.id, "limit.reached", queue.clock() - 10)
    async with queue.database.transaction() as transaction:
        await append(transaction, old)
        done = asyncio.create_task(_newer(queue))
        assert await done == 1
    assert await queue.fan_out.fan_out(10) == 1
    found, _ = await queue.deliveries.list(queue.org.id, webhook.id, limit=10, cursor=None)
    assert len(found) == 2 and old.id in {one.event for one in found}


async def _newer(queue: Queue) -> int:
    await queue.happen()
    return await queue.fan_out.fan_out(10)


async def test_events_are_fanned_out_once_however_many_do_it(queue: Queue) -> None:
    webhooks = [await queue.subscribe() for _ in range(3)]
    await queue.happen(60)
    rounds = await asyncio.gather(*(queue.fan_out.fan_out(7) for _ in range(30)))
    while found := await queue.fan_out.fan_out(7):
        rounds.append(found)
    assert sum(rounds) == 60
    for webhook in webhooks:
        deliveries, _ = await queue.deliveries.list(queue.org.id, webhook.id, limit=1000, cursor=None)
        assert len({one.event for one in deliveries}) == len(deliveries) == 60


async def test_a_webhook_that_was_removed_meanwhile_leaves_no_delivery(queue: Queue) -> None:
    webhook = await queue.subscribe()
    await queue.happen()
    await asyncio.gather(
        queue.fan_out.fan_out(10), queue.webhooks.remove(queue.org.id, webhook.id, by=OPERATOR)
    )
    assert await queue.database.fetch("SELECT * FROM deliveries") == []
    assert await queue.database.fetch("SELECT * FROM endpoints") == []


async def test_an_event_of_a_change_that_was_rolled_back_is_told_to_nobody(queue: Queue) -> None:
    heard = []
    queue.database.listen("events", lambda: heard.append(1))
    await queue.subscribe()
    heard.clear()
    with pytest.raises(RuntimeError, match="no"):
        async with queue.database.transaction() as transaction:
            await append(transaction, Event.now(queue.org.id, "limit.reached", queue.clock()))
            raise RuntimeError("no")
    assert heard == [] and await queue.fan_out.fan_out(10) == 0
    async with queue.database.transaction() as transaction:
        await append(transaction, Event.now(queue.org.id, "limit.reached", queue.clock()))
        assert heard == []
    assert heard == [1]


# ----------------------------------------------------------------------------------------------------------- claims


async def test_of_fifty_claims_at_once_one_gets_the_delivery(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    claims = await asyncio.gather(*(queue.claim() for _ in range(50)))
    assert sum(map(len, claims)) == 1


async def test_all_are_claimed_once_by_many(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 1000)
    for _ in range(10):
        await queue.subscribe()
    await queue.happen(12)
    await queue.fan_out.fan_out(100)
    got: Counter[str] = Counter()

    async def work() -> None:
        # Rows that another one has locked are passed over, and looked for again.
        for _ in range(200):
            got.update(one.id for one in await queue.claim(5))
            if len(got) == 120:
                break

    await asyncio.gather(*(work() for _ in range(8)))
    assert len(got) == 120 and set(got.values()) == {1}


@pytest.mark.failure("R19")
async def test_a_claim_runs_out_and_the_late_finisher_changes_nothing(queue: Queue) -> None:
    """R19: fenced by the attempt's number."""
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    late = await queue.one()
    assert (late.attempt, late.tries, late.claimed_until) == (1, 1, queue.clock() + LEASE)
    queue.clock.move(LEASE - 0.01)
    assert await queue.claim() == []
    queue.clock.move(0.01)
    second = await queue.one()
    assert (second.id, second.attempt, second.payload) == (late.id, 2, late.payload)
    assert await queue.deliveries.finish(late, "dead", FAILED) is None
    assert await queue.deliveries.finish(second, "delivered", WENT) == 0.0
    assert (await queue.stored(second)).state == "delivered"
    assert await queue.deliveries.finish(second, "failed", FAILED, pause=1) is None
    assert await queue.deliveries.due() == Due(is_now=False, next_in=None)


async def test_who_is_late_but_not_replaced_may_still_finish(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    claimed = await queue.one()
    queue.clock.move(LEASE + 5)
    assert await queue.deliveries.finish(claimed, "delivered", WENT) == 0.0
    assert await queue.claim() == []


async def test_a_failed_one_is_due_again_after_its_pause(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    first = await queue.one()
    queue.clock.move(1)
    assert await queue.deliveries.finish(first, "failed", FAILED, pause=300) == 0.0
    assert await queue.deliveries.due() == Due(is_now=False, next_in=300.0)
    queue.clock.move(299.9)
    assert await queue.claim() == []
    queue.clock.move(0.1)
    again = await queue.one()
    assert (again.attempt, again.state, again.status) == (2, "failed", 500)
    # How long it has failed is what a webhook is disabled by.
    assert await queue.deliveries.finish(again, "failed", FAILED, pause=5) == 300


async def test_an_endpoint_gets_so_many_at_one_time_and_one_where_it_fails(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen(10)
    await queue.fan_out.fan_out(100)
    claimed = []
    for _ in range(8):
        claimed += await queue.claim()
    assert len(claimed) == TOGETHER
    for one in claimed[:-1]:
        await queue.deliveries.finish(one, "failed", FAILED, pause=3600)
    assert await queue.claim() == [], "one is on its way, and the endpoint fails"
    await queue.deliveries.finish(claimed[-1], "delivered", WENT)
    more = []
    for _ in range(8):
        more += await queue.claim()
    assert len(more) == TOGETHER


async def test_an_endpoint_is_sent_no_more_than_its_pace(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen(10)
    await queue.fan_out.fan_out(100)
    sent = 0
    for _ in range(100):
        for one in await queue.claim(interval=0.1):
            sent += 1
            await queue.deliveries.finish(one, "delivered", WENT)
        queue.clock.move(0.005)
    # Half a second at ten a second, the first at once.
    assert sent == 5


async def test_an_endpoint_that_failed_five_times_in_a_row_rests_ever_longer(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen(30)
    await queue.fan_out.fan_out(100)
    rests = []
    for _ in range(14):
        one = await queue.one()
        await queue.deliveries.finish(one, "failed", FAILED, pause=1e6)
        due = await queue.deliveries.due()
        rests.append(0.0 if due.is_now else due.next_in or 0.0)
        queue.clock.move(rests[-1])
    assert rests == [0, 0, 0, 0, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    await queue.deliveries.finish(await queue.one(), "delivered", WENT)
    assert len(await queue.claim()) == 1


async def test_a_retry_after_holds_up_everything_to_that_endpoint(queue: Queue) -> None:
    await queue.subscribe()
    other = await queue.subscribe()
    await queue.happen(2)
    await queue.fan_out.fan_out(100)
    first = next(one for one in await queue.claim() if one.endpoint != other.id)
    await queue.deliveries.finish(first, "failed", replace(FAILED, retry_after=120.0), pause=120)
    assert {one.endpoint for one in await queue.claim()} == {other.id}
    queue.clock.move(119)
    assert first.endpoint not in {one.endpoint for one in await queue.claim()}
    queue.clock.move(1)
    assert first.endpoint in {one.endpoint for one in await queue.claim()}


async def test_orgs_take_turns_and_a_busy_one_waits(queue: Queue, other_org: Org) -> None:
    for _ in range(20):
        await queue.subscribe()
    alone = await queue.subscribe(org=other_org)
    await queue.happen(5)
    queue.clock.move(1)
    await queue.happen(org=other_org)
    await queue.fan_out.fan_out(100)
    assert alone.id in {one.endpoint for one in await queue.claim(2)}, "it came last, and is second"
    await queue.happen(org=other_org)
    await queue.fan_out.fan_out(100)
    assert {one.org for one in await queue.claim(50, busy=(queue.org.id,))} == {other_org.id}


async def test_what_is_for_a_suspended_org_waits_until_it_is_resumed(queue: Queue) -> None:
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    orgs = SqlOrgs(queue.database, clock=queue.clock)
    await orgs.suspend(queue.org.id)
    assert await queue.claim() == []
    await orgs.suspend(queue.org.id, suspended=False)
    assert len(await queue.claim()) == 1


@pytest.mark.failure("R31")
async def test_one_that_kills_every_worker_is_given_up(queue: Queue) -> None:
    """R31: the attempts are counted when they begin."""
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    for number in range(1, len(PAUSES) + 3):
        assert (await queue.one()).tries == number
        queue.clock.move(LEASE)


# ------------------------------------------------------------------------------------------------- what follows


async def test_a_replay_begins_the_schedule_anew_and_keeps_counting_attempts(queue: Queue) -> None:
    webhook = await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    one = await queue.one()
    assert await queue.deliveries.replay(queue.org.id, webhook.id, "dlv_nobodys") is None
    assert await queue.deliveries.replay("org_other", webhook.id, one.id) is None
    with pytest.raises(Exception, match="being sent"):
        await queue.deliveries.replay(queue.org.id, webhook.id, one.id)
    await queue.deliveries.finish(one, "dead", FAILED)
    assert await queue.claim() == []
    replayed = await queue.deliveries.replay(queue.org.id, webhook.id, one.id)
    assert replayed is not None and (replayed.state, replayed.finished_at) == ("pending", None)
    again = await queue.one()
    assert (again.attempt, again.tries) == (2, 1)


async def test_disabling_gives_up_what_waits_and_lets_what_is_under_way_end(queue: Queue) -> None:
    webhook = await queue.subscribe()
    await queue.happen(3)
    await queue.fan_out.fan_out(10)
    under_way = await queue.one()
    assert await queue.webhooks.disable(queue.org.id, webhook.id, "gone")
    assert not await queue.webhooks.disable(queue.org.id, webhook.id, "gone")
    found, _ = await queue.deliveries.list(queue.org.id, webhook.id, limit=10, cursor=None)
    assert Counter(one.state for one in found) == {"dead": 2, "pending": 1}
    assert await queue.deliveries.finish(under_way, "delivered", WENT) == 0.0
    assert (await queue.stored(under_way)).state == "delivered"


async def test_what_is_over_is_forgotten_in_time(queue: Queue) -> None:
    webhook = await queue.subscribe()
    await queue.happen(2)
    await queue.fan_out.fan_out(10)
    await queue.deliveries.finish(await queue.one(), "delivered", WENT)
    event = Event.now(queue.org.id, "run.completed", queue.clock())
    await queue.call_back("https://back.example/1", event)
    await queue.fan_out.fan_out(10)
    called = next(one for one in await queue.claim() if one.url is not None)
    await queue.deliveries.finish(called, "delivered", WENT)
    queue.clock.move(1)
    assert await queue.deliveries.forget(int(queue.clock() * 1000)) == 2
    rows = await queue.database.fetch("SELECT name FROM endpoints")
    assert [row["name"] for row in rows] == [webhook.id]
    assert await queue.deliveries.forget(int(queue.clock() * 1000) + 10**9) == 0


async def test_the_same_callback_counts_once(queue: Queue) -> None:
    event = Event.now(queue.org.id, "run.completed", queue.clock())
    for _ in range(3):
        await queue.call_back("https://Back.example/1", event)
    [one] = await queue.claim()
    assert (one.url, one.endpoint, one.event) == ("https://Back.example/1", "https://back.example", event.id)
    assert len(await queue.database.fetch("SELECT id FROM events WHERE type = 'run.completed'")) == 1


async def test_the_databases_own_clock_ends_a_claim(
    database: Database, vault: Vault, org: Org, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE", 0.1)
    queue = Queue(database, vault, clock, org)
    queue.deliveries, queue.fan_out = SqlDeliveries(database), SqlFanOut(database, clock=clock)
    await queue.subscribe()
    await queue.happen()
    await queue.fan_out.fan_out(10)
    first = await queue.one()
    assert await queue.claim() == []

    async def again() -> bool:
        return [one.attempt for one in await queue.claim()] == [2]

    await until(again)
    assert await queue.deliveries.finish(first, "delivered", WENT) is None


async def test_a_webhook_of_a_key_that_ended_hears_nothing(queue: Queue, database: Database) -> None:
    keys = SqlKeys(database, clock=queue.clock)
    key, _ = await keys.create(queue.org.id, "k", "live")
    webhook = a_webhook(queue.org.id, key=key.id, created_at=queue.clock())
    await queue.webhooks.add(webhook, new_secret(), most=10)
    await keys.revoke(queue.org.id, key.id)
    await queue.happen()
    while await queue.fan_out.fan_out(10):
        pass
    assert await database.fetch("SELECT id FROM deliveries") == []
    [found] = await queue.webhooks.list(queue.org.id)
    assert found.disabled_reason == "key_revoked"


def test_the_pauses_grow_and_come_to_75_hours() -> None:
    assert list(PAUSES) == sorted(PAUSES) and len(PAUSES) >= 7
    assert sum(PAUSES) >= 75 * 3600
    assert [pause_after(tries, None, lambda: 0.0) for tries in range(1, len(PAUSES) + 2)] == [*PAUSES, None]
    assert pause_after(1, None, lambda: 1.0) == pytest.approx(5.5)
    assert pause_after(1, 60.0, lambda: 0.0) == 60.0
    assert pause_after(9, 60.0, lambda: 0.0) == PAUSES[-1]
    assert pause_after(10, 60.0) is None
    assert [rest_after(failures, None) for failures in (1, 4, 5, 6, 100)] == [0, 0, 2, 4, 60]


async def test_two_processes_on_one_database_share_the_queue(tmp_path: Path, empty_url: str, clock: Clock) -> None:
    """What one has locked the other passes over, without waiting."""
    async with opened(empty_url, tmp_path / "data") as one, opened(empty_url, tmp_path / "data") as other:
        await migrate(one, tmp_path / "data")
        vault = Vault(await open_ring(SqlDataKeys(one), MasterKey.generate(), has_sealed_values=False))
        org = await SqlOrgs(one).create("Acme")
        queues = [Queue(database, vault, clock, org) for database in (one, other)]
        for _ in range(8):
            await queues[0].subscribe()
        await queues[0].happen(10)
        got: Counter[str] = Counter()

        async def work(queue: Queue) -> None:
            for _ in range(80):
                await queue.fan_out.fan_out(3)
                for claimed in await queue.claim(4):
                    got[claimed.id] += 1
                    assert await queue.deliveries.finish(claimed, "delivered", WENT) is not None

        await asyncio.gather(*(work(queue) for queue in queues for _ in range(2)))
        assert len(got) == 80 and set(got.values()) == {1}
