"""Webhooks from the outside: made, told, signed, tried again, given up, replayed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import svix

from gateway.core.events import OPERATOR, Event
from gateway.core.messages.deliveries import PAUSES
from tests.conftest import SHARED
from tests.fakes.receiver import Receiver, WalkingClock, answering, headers_of, verified
from tests.fakes.upstream import Answer, HandClock, Running, Seen, serve
from tests.harness import RunningGateway, gateway, gateway_process, make_org


@pytest.fixture
def clock() -> HandClock:
    return WalkingClock()


@pytest.fixture
async def running(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path, clock=clock, **database_setting) as made:
        yield made


@pytest.fixture
async def receiver(clock: HandClock) -> AsyncIterator[Running[Receiver]]:
    async with serve(Receiver(clock=clock)) as served:
        yield served


async def subscribe(
    running: RunningGateway, url: str, *events: str, key: str | None = None, **more: Any
) -> dict[str, Any]:
    body = {"url": url, "events": list(events or ("*",)), **more}
    answer = await running.ask("POST", "/v1/webhooks", body=body, key=key)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json()
    return made


async def happen(running: RunningGateway, name: str = "k", *, key: str | None = None, **body: Any) -> dict[str, Any]:
    """Something that leaves an event: `api_key.created`."""
    answer = await running.ask("POST", "/api-keys", body={"name": name, **body}, key=key)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json()
    return made


async def deliveries(running: RunningGateway, webhook: str) -> list[dict[str, Any]]:
    answer = await running.ask("GET", f"/v1/webhooks/{webhook}/deliveries")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


async def shown(running: RunningGateway, webhook: str) -> dict[str, Any]:
    found = (await running.ask("GET", "/v1/webhooks")).json()["webhooks"]
    [one] = [one for one in found if one["id"] == webhook]
    return dict(one)


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 15) -> None:
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - it happens in a task that tells nobody
            await asyncio.sleep(0.01)


async def settled(running: RunningGateway, webhook: str, *states: str) -> list[dict[str, Any]]:
    """The deliveries, once each is in one of the states."""
    found: list[dict[str, Any]] = []

    async def are() -> bool:
        found[:] = await deliveries(running, webhook)
        return bool(found) and all(one["state"] in states for one in found)

    await until(are)
    return found


def nudge(running: RunningGateway) -> None:
    """What is due by a clock that was moved is seen at once."""
    assert running.services is not None
    running.services.events._database.tell("deliveries")  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------- subscriptions


async def test_a_webhook_is_made_with_a_secret_that_is_shown_once_and_told_what_happens(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    made = await subscribe(running, receiver.base_url + "/in?a=1", "api_key.*", description="mine")
    assert made["id"].startswith("whk_") and made["secret"].startswith("whsec_") and made["active"]
    listed = await running.ask("GET", "/v1/webhooks")
    assert made["secret"] not in listed.body.decode() and "secret" not in (await shown(running, made["id"]))
    key = (await happen(running))["api_key"]
    seen = await receiver.arrival()
    assert (seen.method, seen.raw_path) == ("POST", "/in?a=1")
    told = seen.json()
    assert set(told) == {"type", "timestamp", "id", "data", "org"}
    assert (told["type"], told["org"], told["data"]["id"]) == ("api_key.created", running.org.id, key["id"])
    assert seen.header("webhook-id") == told["id"] and told["id"].startswith("evt_")
    assert seen.header("X-Skillway-Event") == "api_key.created"
    assert (seen.header("User-Agent") or "").startswith("Skillway")
    assert seen.header("Content-Type") == "application/json"
    [delivery] = await settled(running, made["id"], "delivered")
    assert delivery["id"].startswith("dlv_")
    assert (delivery["attempts"], delivery["last_status"], delivery["last_error"]) == (1, 204, None)
    assert delivery["event"] == {"id": told["id"], "type": "api_key.created"}
    assert delivery["next_attempt_at"] is None and delivery["finished_at"] is not None
    # The same event can be polled, under the same id.
    polled = (await running.ask("GET", "/v1/events?kind=api_key")).json()["events"]
    assert told["id"] in {event["id"] for event in polled}


async def test_a_subscription_hears_what_its_patterns_cover(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    all_of = await subscribe(running, receiver.base_url + "/all", "*")
    exact = await subscribe(running, receiver.base_url + "/exact", "api_key.revoked", "run.completed")
    kind = await subscribe(running, receiver.base_url + "/kind", "api_key.*")
    key = await happen(running)
    assert (await running.ask("DELETE", f"/api-keys/{key['api_key']['id']}")).status == 204

    async def told() -> bool:
        return len([seen for seen in receiver.seen if seen.path != "/all"]) == 3

    await until(told)
    for webhook in (all_of, exact, kind):
        await settled(running, webhook["id"], "delivered")
    heard = {path: [seen.json()["type"] for seen in receiver.seen if seen.path == path] for path in ("/exact", "/kind")}
    assert heard == {"/exact": ["api_key.revoked"], "/kind": ["api_key.created", "api_key.revoked"]}
    everything = [seen.json()["type"] for seen in receiver.seen if seen.path == "/all"]
    assert {"webhook.created", "api_key.created", "api_key.revoked"} == set(everything)
    # It is not told of itself, but of the two that came after it.
    assert everything.count("webhook.created") == 2


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "url"),
        ({"url": "https://ok.example/x"}, "events"),
        ({"url": "https://ok.example/x", "events": []}, "events"),
        ({"url": "https://ok.example/x", "events": ["conection.*"]}, "events/0"),
        ({"url": "https://ok.example/x", "events": ["*", "a b"]}, "events/1"),
        ({"url": "https://ok.example/x", "events": ["*.created"]}, "events/0"),
        ({"url": "ftp://ok.example/x", "events": ["*"]}, "url"),
        ({"url": "https://ok.example/x", "events": ["*"], "description": ""}, "description"),
        ({"url": "https://169.254.169.254/latest", "events": ["*"]}, "url"),
        ({"url": "http://[fe80::1]/", "events": ["*"]}, "url"),
        ({"url": "https://10.0.0.1/", "events": ["*"]}, "url"),
        ({"url": "https://user:pw@ok.example/", "events": ["*"]}, "url"),
        ({"url": "https://ok.example/" + "x" * 3000, "events": ["*"]}, "url"),
        ({"url": "https://ok.example/x", "events": ["*"], "secret": "mine"}, "secret"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused_with_its_field(
    tmp_path: Path, body: dict[str, Any], path: str
) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.ask("POST", "/v1/webhooks", body=body)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert [field["path"] for field in answer.json()["details"]["fields"]] == [path]
        assert (await running.ask("GET", "/v1/webhooks")).json() == {"webhooks": []}


async def test_where_no_private_network_is_allowed_a_webhook_is_https_on_443(tmp_path: Path) -> None:
    async with gateway(tmp_path, allowed_private_networks="") as running:
        for url, is_taken in (
            ("https://ok.example/x", True),
            ("https://ok.example:443/x", True),
            ("https://8.8.8.8/x", True),
            ("http://ok.example/x", False),
            ("https://ok.example:8443/x", False),
            ("http://127.0.0.1:1/", False),
            ("https://127.0.0.1/", False),
        ):
            answer = await running.ask("POST", "/v1/webhooks", body={"url": url, "events": ["run.*"]})
            assert (answer.status == 201) is is_taken, (url, answer.body)


async def test_our_own_address_is_no_endpoint(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.ask("POST", "/v1/webhooks", body={"url": running.url + "/v1/x", "events": ["*"]})
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")


async def test_an_org_has_so_many_webhooks_even_where_all_are_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_setting: dict[str, Any]
) -> None:
    monkeypatch.setattr("gateway.core.messages.webhooks.MOST", 5)
    async with gateway(tmp_path, **database_setting) as running:
        body = {"url": "https://ok.example/x", "events": ["run.*"]}
        answers = await asyncio.gather(*(running.ask("POST", "/v1/webhooks", body=body) for _ in range(9)))
        assert sorted(answer.status for answer in answers) == [201] * 5 + [403] * 4
        assert {answer.json()["error"] for answer in answers if answer.status == 403} == {"plan_limit_reached"}


async def test_a_removed_webhook_hears_nothing_more(running: RunningGateway, receiver: Running[Receiver]) -> None:
    made = await subscribe(running, receiver.base_url)
    assert (await running.ask("DELETE", f"/v1/webhooks/{made['id']}")).status == 204
    again = await running.ask("DELETE", f"/v1/webhooks/{made['id']}")
    assert (again.status, again.json()["error"]) == (404, "not_found")
    control = await subscribe(running, receiver.base_url + "/control")
    await happen(running)
    await settled(running, control["id"], "delivered")
    assert {seen.path for seen in receiver.seen} == {"/control"}
    assert (await running.ask("GET", f"/v1/webhooks/{made['id']}/deliveries")).status == 404


async def test_changes_of_webhooks_are_in_the_audit_trail_without_their_paths_and_secrets(
    running: RunningGateway,
) -> None:
    made = await subscribe(running, "https://ok.example/services/T0/SECRET-PATH", "run.*")
    rotated = (await running.ask("POST", f"/v1/webhooks/{made['id']}/rotate")).json()
    await running.ask("POST", f"/v1/webhooks/{made['id']}/enable")
    await running.ask("DELETE", f"/v1/webhooks/{made['id']}")
    events = (await running.ask("GET", "/v1/events?kind=audit")).json()["events"]
    mine = [event for event in events if event["data"].get("id") == made["id"]]
    assert [event["type"] for event in mine] == [
        "webhook.created", "webhook.rotated", "webhook.enabled", "webhook.removed",
    ]  # fmt: skip
    assert {event["actor"]["name"] for event in mine} == {"live"}
    text = json.dumps(events)
    assert "SECRET-PATH" not in text and made["secret"] not in text and rotated["secret"] not in text


# -------------------------------------------------------------------------------------------------------- who hears


async def test_a_webhook_hears_what_the_key_that_made_it_may_see(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    narrow = await happen(running, scopes=["overten"], users=["ada"])
    await subscribe(running, receiver.base_url + "/narrow", "connection.*", "hook.*", key=narrow["full_key"])
    wide = await subscribe(running, receiver.base_url + "/wide", "connection.*", "hook.*")
    assert running.services is not None

    def event(type: str, **data: Any) -> Event:
        return Event.now(running.org.id, type, running.services.clock(), **data)  # type: ignore[union-attr]

    about = {"integration": "overten", "user": "ada", "connection": "conn_1"}
    told = [
        event("connection.active", **about),
        event("connection.active", **{**about, "user": "bob"}),
        event("connection.active", **{**about, "integration": "github"}),
        event("hook.overten.run.completed", integration="overten", payload={}),
        event("hook.overten.run.completed", **about, payload={}),
    ]
    for one in told:
        await running.services.events.add(one)

    async def all_told() -> bool:
        return len([seen for seen in receiver.seen if seen.path == "/wide"]) == 5

    await until(all_told)
    await settled(running, wide["id"], "delivered")
    heard = {seen.json()["id"] for seen in receiver.seen if seen.path == "/narrow"}
    # A message of a hook that is about no connection is about everybody.
    assert heard == {told[0].id, told[4].id}


async def test_a_webhook_ends_with_its_key_until_another_takes_it_over(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    maker = await happen(running)
    made = await subscribe(running, receiver.base_url, key=maker["full_key"])
    short = await happen(running, expires_in_days=1)
    dated = await subscribe(running, receiver.base_url + "/dated", key=short["full_key"])
    await settled(running, made["id"], "delivered")
    assert (await running.ask("DELETE", f"/api-keys/{maker['api_key']['id']}")).status == 204
    clock.move(86_401)
    ended = await shown(running, made["id"])
    assert (ended["active"], ended["disabled_reason"]) == (False, "key_revoked")
    assert (await shown(running, dated["id"]))["disabled_reason"] == "key_expired"
    before = len(receiver.seen)
    control = await subscribe(running, receiver.base_url + "/control")
    await happen(running)
    await settled(running, control["id"], "delivered")
    assert {seen.path for seen in receiver.seen[before:]} == {"/control"}
    enabled = await running.ask("POST", f"/v1/webhooks/{made['id']}/enable")
    assert (enabled.status, enabled.json()["active"], enabled.json()["disabled_reason"]) == (200, True, None)
    assert enabled.json()["created_by"]["name"] == "live"
    before = len(receiver.seen)
    await happen(running)

    async def heard() -> bool:
        return "/" in {seen.path for seen in receiver.seen[before:]}

    await until(heard)


async def test_what_waits_for_a_webhook_whose_key_was_revoked_is_not_sent(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    maker = await happen(running)
    made = await subscribe(running, receiver.base_url, "api_key.created", key=maker["full_key"])
    receiver.upstream.answering = answering(500)
    await happen(running)
    await settled(running, made["id"], "failed")
    await running.ask("DELETE", f"/api-keys/{maker['api_key']['id']}")
    clock.move(3600)
    nudge(running)
    [dead] = await settled(running, made["id"], "dead")
    assert dead["last_error"] == "webhook_disabled" and len(receiver.seen) == 1


async def test_a_child_key_sees_the_webhooks_of_its_own_tree_alone(running: RunningGateway) -> None:
    child = await happen(running, "child")
    grandchild = await happen(running, "grandchild", key=child["full_key"])
    url = "https://ok.example/x"
    roots, childs, grandchilds = [
        (await subscribe(running, url, "run.*", key=key))["id"]
        for key in (None, child["full_key"], grandchild["full_key"])
    ]

    async def seen_by(key: str | None) -> set[str]:
        answer = await running.ask("GET", "/v1/webhooks", key=key)
        return {one["id"] for one in answer.json()["webhooks"]}

    assert await seen_by(None) == {roots, childs, grandchilds}
    assert await seen_by(child["full_key"]) == {childs, grandchilds}
    assert await seen_by(grandchild["full_key"]) == {grandchilds}
    foreign = await running.ask("POST", f"/v1/webhooks/{roots}/rotate", key=child["full_key"])
    assert (foreign.status, foreign.json()["error"]) == (404, "not_found")


async def test_webhooks_of_test_keys_hear_test_events_alone_and_live_ones_live_events(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    live = await subscribe(running, receiver.base_url + "/live", "api_key.*")
    test = await subscribe(running, receiver.base_url + "/test", "api_key.*", key=running.org.test)
    assert (live["mode"], test["mode"]) == ("live", "test")
    await happen(running, "a live one")
    await happen(running, "a test one", mode="test")
    for webhook in (live, test):
        await settled(running, webhook["id"], "delivered")
    heard = {seen.path: seen.json()["data"]["name"] for seen in receiver.seen}
    assert heard == {"/live": "a live one", "/test": "a test one"}
    mine = (await running.ask("GET", "/v1/webhooks", key=running.org.test)).json()["webhooks"]
    assert [one["id"] for one in mine] == [test["id"]]


# -------------------------------------------------------------------------------------------------------- signatures


async def test_what_is_sent_is_verified_by_libraries_of_others_and_by_the_recipe(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    made = await subscribe(running, receiver.base_url)
    await happen(running, "größe ✓")
    seen = await receiver.arrival()
    assert verified(seen, made["secret"]) == seen.json()
    svix.Webhook(made["secret"]).verify(seen.body, headers_of(seen))
    assert ours(seen, made["secret"], clock())
    for flipped in (seen.body[:-2] + b"!}", b" " + seen.body):
        changed = Seen(method="POST", raw_path="/", headers=seen.headers, body=flipped)
        assert not ours(changed, made["secret"], clock())
        with pytest.raises(Exception, match="signature"):
            verified(changed, made["secret"])


def ours(seen: Seen, secret: str, now: float) -> bool:
    """The check of `X-Skillway-Signature` as the README has it."""
    parts = [part.partition("=") for part in (seen.header("X-Skillway-Signature") or "").split(",")]
    at = next(value for name, _, value in parts if name == "t")
    expected = hmac.new(secret.encode(), f"{at}.".encode() + seen.body, hashlib.sha256).hexdigest()
    signatures = [value for name, _, value in parts if name == "v1"]
    return abs(now - int(at)) < 300 and any(hmac.compare_digest(expected, one) for one in signatures)


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    made = await subscribe(running, receiver.base_url, "api_key.*")
    rotated = (await running.ask("POST", f"/v1/webhooks/{made['id']}/rotate")).json()
    assert rotated["secret"] != made["secret"] and rotated["secret"].startswith("whsec_")
    await happen(running)
    seen = await receiver.arrival()
    for secret in (made["secret"], rotated["secret"]):
        svix.Webhook(secret).verify(seen.body, headers_of(seen))
        assert ours(seen, secret, clock())
    assert len((seen.header("webhook-signature") or "").split(" ")) == 2
    clock.move(86_401)
    await happen(running)
    later = await receiver.arrival(2)
    assert ours(later, rotated["secret"], clock()) and not ours(later, made["secret"], clock())
    assert len((later.header("webhook-signature") or "").split(" ")) == 1


async def test_more_rotations_than_can_sign_are_refused(running: RunningGateway, clock: HandClock) -> None:
    made = await subscribe(running, "https://ok.example/x", "run.*")
    statuses = [(await running.ask("POST", f"/v1/webhooks/{made['id']}/rotate")).status for _ in range(4)]
    assert statuses == [200, 200, 200, 409]
    clock.move(86_401)
    assert (await running.ask("POST", f"/v1/webhooks/{made['id']}/rotate")).status == 200


async def test_every_attempt_sends_the_same_bytes_and_id_with_a_fresh_signature(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    receiver.upstream.answering = answering(500, 500, 200)
    made = await subscribe(running, receiver.base_url, "api_key.*")
    await happen(running)
    for attempt in (1, 2):
        await receiver.arrival(attempt)
        await settled(running, made["id"], "failed")
        clock.move(PAUSES[attempt - 1] * 1.1 + 1)
        nudge(running)
    await settled(running, made["id"], "delivered")
    assert len(receiver.seen) == 3
    assert len({seen.body for seen in receiver.seen}) == 1
    assert len({seen.header("webhook-id") for seen in receiver.seen}) == 1
    assert len({seen.header("webhook-timestamp") for seen in receiver.seen}) == 3
    assert len({seen.header("webhook-signature") for seen in receiver.seen}) == 3


# ------------------------------------------------------------------------------------------------- trying again


@pytest.mark.failure("R32")
async def test_the_whole_schedule_goes_over_75_hours_and_ends_dead(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    """R32: ten attempts, each pause as the table has it and up to a tenth longer; then a replay delivers it."""
    receiver.upstream.answering = answering(503)
    made = await subscribe(running, receiver.base_url, "api_key.*")
    await happen(running)
    for attempt, pause in enumerate(PAUSES, 1):
        await receiver.arrival(attempt)
        [failed] = await settled(running, made["id"], "failed")
        assert (failed["attempts"], failed["last_status"]) == (attempt, 503)
        clock.move(pause - 1)
        nudge(running)
        await asyncio.sleep(0.03)
        assert len(receiver.seen) == attempt, "too early"
        clock.move(pause * 0.1 + 1)
        nudge(running)
    [dead] = await settled(running, made["id"], "dead")
    assert (dead["attempts"], dead["last_status"], dead["last_error"]) == (10, 503, "server_error")
    assert dead["next_attempt_at"] is None
    first, last = receiver.upstream.times[0], receiver.upstream.times[-1]
    assert len(receiver.seen) == 10 and (last - first) / 3600 >= 75
    clock.move(10 * 86_400)
    nudge(running)
    await asyncio.sleep(0.05)
    assert len(receiver.seen) == 10
    assert (await shown(running, made["id"]))["active"]
    receiver.upstream.answering = answering(200)
    replayed = await running.ask("POST", f"/v1/webhooks/{made['id']}/deliveries/{dead['id']}/replay")
    assert (replayed.status, replayed.json()["state"]) == (202, "pending")
    await settled(running, made["id"], "delivered")
    assert receiver.seen[-1].header("webhook-id") == receiver.seen[0].header("webhook-id")


@pytest.mark.failure("R32")
async def test_after_five_days_of_nothing_but_failures_the_webhook_is_disabled(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    receiver.upstream.answering = lambda number, seen: Answer(status=500 if seen.path == "/broken" else 200)
    watching = await subscribe(running, receiver.base_url + "/watching", "webhook.disabled")
    made = await subscribe(running, receiver.base_url + "/broken", "api_key.*")

    async def failed_once_more(than: int) -> bool:
        # What fails all the time is only probed, at most once a minute.
        clock.move(1800)
        nudge(running)
        # Time for the attempt: its claim must not run out by the next move.
        await asyncio.sleep(0.1)
        return len([seen for seen in receiver.seen if seen.path == "/broken"]) > than

    for day in range(5):
        before = len([seen for seen in receiver.seen if seen.path == "/broken"])
        await happen(running)
        await until(lambda before=before: failed_once_more(before))  # type: ignore[misc]
        assert (await shown(running, made["id"]))["active"], day
        clock.move(86_400)

    async def disabled() -> bool:
        await failed_once_more(0)
        return (await shown(running, made["id"]))["active"] is False

    await until(disabled)
    assert (await shown(running, made["id"]))["disabled_reason"] == "failing"
    [told] = await settled(running, watching["id"], "delivered")
    assert told["event"]["type"] == "webhook.disabled"
    [event] = [seen.json() for seen in receiver.seen if seen.path == "/watching"]
    assert (event["data"]["id"], event["data"]["reason"]) == (made["id"], "failing")
    for one in await settled(running, made["id"], "dead"):
        refused = await running.ask("POST", f"/v1/webhooks/{made['id']}/deliveries/{one['id']}/replay")
        assert (refused.status, refused.json()["error"]) == (409, "conflict")
    receiver.upstream.answering = answering(200)
    await running.ask("POST", f"/v1/webhooks/{made['id']}/enable")
    one = (await deliveries(running, made["id"]))[0]
    again = await running.ask("POST", f"/v1/webhooks/{made['id']}/deliveries/{one['id']}/replay")
    assert again.status == 202

    async def delivered() -> bool:
        return str((await deliveries(running, made["id"]))[0]["state"]) == "delivered"

    await until(delivered)


async def test_a_receiver_that_says_gone_is_disabled_at_once(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    receiver.upstream.answering = answering(410)
    made = await subscribe(running, receiver.base_url, "api_key.*")
    await happen(running)
    [dead] = await settled(running, made["id"], "dead")
    assert (dead["last_status"], dead["last_error"]) == (410, "gone")

    async def disabled() -> bool:
        return str((await shown(running, made["id"]))["disabled_reason"]) == "gone"

    await until(disabled)
    await happen(running)
    await asyncio.sleep(0.1)
    assert len(receiver.seen) == 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("120", 120), ("999999999", 3600), ("-5", 5), ("soon", 5), ("1", 5)]
)
async def test_retry_after_is_kept_within_bounds(
    tmp_path: Path, clock: HandClock, receiver: Running[Receiver], retry_after: str, seconds: float
) -> None:
    receiver.upstream.answering = answering(429, 200, headers={"Retry-After": retry_after})
    async with gateway(tmp_path, clock=clock) as running:
        made = await subscribe(running, receiver.base_url, "api_key.*")
        await happen(running)
        await settled(running, made["id"], "failed")
        clock.move(seconds - 0.5)
        nudge(running)
        await asyncio.sleep(0.05)
        assert len(receiver.seen) == 1
        clock.move(1.1)
        nudge(running)
        await settled(running, made["id"], "delivered")


async def test_a_redirect_is_a_failure_and_is_not_followed(
    tmp_path: Path, receiver: Running[Receiver], clock: HandClock
) -> None:
    async with serve(Receiver()) as other, gateway(tmp_path, clock=clock) as running:
        for status in (301, 302, 303, 307, 308):
            receiver.upstream.answering = answering(status, headers={"Location": other.base_url + "/stolen"})
            made = await subscribe(running, f"{receiver.base_url}/{status}", "api_key.*")
            await happen(running)
            [failed] = await settled(running, made["id"], "failed")
            assert (failed["last_status"], failed["last_error"]) == (status, "redirect")
            assert (await running.ask("DELETE", f"/v1/webhooks/{made['id']}")).status == 204
        assert other.seen == [] and other.connections == 0


async def test_an_answer_in_text_is_kept_up_to_1_kb_and_nothing_else(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    big = b"x" * 5000
    for path, kind, body, kept in (
        ("text", "text/plain", b"no such thing\0here", "no such thinghere"),
        ("big", "text/html; charset=utf-8", big, "x" * 1024),
        ("json", "application/problem+json", b'{"a": 1}', '{"a": 1}'),
        ("bytes", "application/octet-stream", b"secret bytes", None),
        ("none", "", b"", None),
    ):
        receiver.upstream.answering = lambda number, seen, body=body, kind=kind: Answer(  # type: ignore[misc]
            status=500, body=body, headers={"Content-Type": kind} if kind else {}
        )
        made = await subscribe(running, f"{receiver.base_url}/{path}", "api_key.*")
        await happen(running)
        [failed] = await settled(running, made["id"], "failed")
        assert failed["last_answer"] == kept, path
        assert (await running.ask("DELETE", f"/v1/webhooks/{made['id']}")).status == 204


async def test_between_strangers_no_answer_of_a_private_network_is_kept(
    tmp_path: Path, receiver: Running[Receiver]
) -> None:
    receiver.upstream.answering = lambda number, seen: Answer(
        status=500, body=b"IMDS-CREDS", headers={"Content-Type": "text/plain"}
    )
    async with gateway(tmp_path, tenancy="separate", verify_connect="redirect") as running:
        made = await subscribe(running, receiver.base_url, "api_key.*")
        await happen(running)
        [failed] = await settled(running, made["id"], "failed")
        assert (failed["last_status"], failed["last_answer"]) == (500, None)


async def test_an_endpoint_that_is_not_there_and_one_that_is_refused_look_the_same(
    tmp_path: Path, clock: HandClock
) -> None:
    async with serve(Receiver()) as gone:
        closed = gone.base_url
    async with gateway(tmp_path, clock=clock) as running:
        told = []
        # A name is judged when something is sent to it.
        for url in (closed, "http://metadata.localhost.invalid/"):
            made = await subscribe(running, url, "api_key.*")
            await happen(running)
            [failed] = await settled(running, made["id"], "failed")
            told.append((failed["last_status"], failed["last_error"], failed["last_answer"]))
            assert (await running.ask("DELETE", f"/v1/webhooks/{made['id']}")).status == 204
        assert told == [(None, "unreachable", None)] * 2


async def test_a_receiver_that_hangs_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Running[Receiver]
) -> None:
    monkeypatch.setattr("gateway.core.messages.delivering.TIMEOUT", 0.3)
    receiver.next(delay=3)
    async with gateway(tmp_path) as running:
        made = await subscribe(running, receiver.base_url, "api_key.*")
        await happen(running)
        [failed] = await settled(running, made["id"], "failed")
        assert (failed["last_status"], failed["last_error"]) == (None, "timeout")


async def test_a_replay_of_what_was_delivered_sends_it_once_more_under_its_id(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    made = await subscribe(running, receiver.base_url, "api_key.*")
    await happen(running)
    [delivery] = await settled(running, made["id"], "delivered")
    path = f"/v1/webhooks/{made['id']}/deliveries"
    assert (await running.ask("POST", f"{path}/{delivery['id']}/replay")).status == 202
    await receiver.arrival(2)
    [again] = await settled(running, made["id"], "delivered")
    assert again["attempts"] == 2 and again["id"] == delivery["id"]
    assert receiver.seen[0].header("webhook-id") == receiver.seen[1].header("webhook-id")
    for wrong in ("dlv_nobodys", "dlv_" + "0" * 32):
        answer = await running.ask("POST", f"{path}/{wrong}/replay")
        assert (answer.status, answer.json()["error"]) == (404, "not_found")


async def test_deliveries_are_paged_newest_first(running: RunningGateway, receiver: Running[Receiver]) -> None:
    made = await subscribe(running, receiver.base_url, "api_key.*")
    names = [(await happen(running, f"k{number}"))["api_key"]["id"] for number in range(7)]
    await receiver.arrival(7)
    await settled(running, made["id"], "delivered")
    path, query, found = f"/v1/webhooks/{made['id']}/deliveries", "?limit=3", []
    while True:
        page = (await running.ask("GET", path + query)).json()
        found += page["deliveries"]
        if "next_cursor" not in page:
            break
        query = f"?limit=3&cursor={page['next_cursor']}"
    ids = [one["id"] for one in found]
    assert len(ids) == len(set(ids)) == 7 and ids == sorted(ids, reverse=True)
    assert {event["data"]["id"] for event in receiver.upstream.events} == set(names)
    for wrong in ("?limit=0", "?limit=201", "?cursor=x", "?what=1"):
        assert (await running.ask("GET", path + wrong)).json()["error"] == "bad_request"


@pytest.mark.failure("R31")
async def test_a_delivery_that_no_worker_survived_is_given_up_and_can_be_replayed(
    running: RunningGateway, receiver: Running[Receiver], clock: HandClock
) -> None:
    """R31: each of its claims ran out."""
    receiver.upstream.answering = answering(500, 200)
    made = await subscribe(running, receiver.base_url, "api_key.*")
    await happen(running)
    [failed] = await settled(running, made["id"], "failed")
    assert running.services is not None
    database = running.services.events._database  # type: ignore[attr-defined]
    await database.execute("UPDATE deliveries SET tries = :tries", tries=len(PAUSES) + 1)
    clock.move(3600)
    nudge(running)
    [dead] = await settled(running, made["id"], "dead")
    assert dead["last_error"] == "worker_lost" and len(receiver.seen) == 1
    assert (await shown(running, made["id"]))["active"]
    path = f"/v1/webhooks/{made['id']}/deliveries/{failed['id']}/replay"
    assert (await running.ask("POST", path)).status == 202
    await settled(running, made["id"], "delivered")


async def test_a_secret_is_rotated_under_load_and_no_verification_fails(
    running: RunningGateway, receiver: Running[Receiver]
) -> None:
    """T159: a receiver that learns the new secret some time later."""
    made = await subscribe(running, receiver.base_url, "limit.*")
    assert running.services is not None
    rotated = made["secret"]
    for number in range(30):
        await running.services.events.add(Event.now(running.org.id, "limit.reached", running.services.clock()))
        if number == 10:
            rotated = (await running.ask("POST", f"/v1/webhooks/{made['id']}/rotate")).json()["secret"]
        await asyncio.sleep(0.01)
    await receiver.arrival(30)
    both = [seen for seen in receiver.seen if " " in (seen.header("webhook-signature") or "")]
    for seen in receiver.seen:
        verified(seen, made["secret"])
    assert both
    for seen in both:
        verified(seen, rotated)


# --------------------------------------------------------------------------------------------- fairness and pace


async def test_one_endpoint_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """T163: 1 of 100."""
    release = asyncio.Event()
    arrived: dict[str, float] = {}
    loop = asyncio.get_running_loop()

    class Slow(Receiver):
        async def _record(self, request: Any) -> Seen:
            seen = await super()._record(request)
            arrived.setdefault(seen.path, loop.time())
            if seen.path == "/hangs":
                await release.wait()
            return seen

    async with serve(Slow()) as receiver, gateway(tmp_path) as running:
        await subscribe(running, receiver.base_url + "/hangs", "limit.*")
        for number in range(99):
            await subscribe(running, f"{receiver.base_url}/{number}", "limit.*")
        assert running.services is not None
        took = []
        try:
            for _ in range(5):
                arrived.pop("/hangs", None)
                arrived_before = dict(arrived)
                arrived.clear()
                began = loop.time()
                await running.services.events.add(Event.now(running.org.id, "limit.reached", running.services.clock()))

                async def all_others() -> bool:
                    return len([path for path in arrived if path != "/hangs"]) == 99

                await until(all_others)
                took += [at - began for path, at in arrived.items() if path != "/hangs"]
                assert arrived_before is not arrived
        finally:
            release.set()
        took.sort()
        assert took[int(len(took) * 0.99)] < 2.0


async def test_one_with_a_queue_keeps_its_pace_beside_one_that_hangs_with_a_queue(tmp_path: Path) -> None:
    release = asyncio.Event()

    class Slow(Receiver):
        async def _record(self, request: Any) -> Seen:
            seen = await super()._record(request)
            if seen.path == "/hangs":
                await release.wait()
            return seen

    async with serve(Slow()) as receiver, gateway(tmp_path, webhook_rate="50") as running:
        for path in ("/hangs", "/works"):
            await subscribe(running, receiver.base_url + path, "limit.*")
        assert running.services is not None
        try:
            for _ in range(60):
                await running.services.events.add(Event.now(running.org.id, "limit.reached", running.services.clock()))

            async def all_told() -> bool:
                return len([seen for seen in receiver.seen if seen.path == "/works"]) == 60

            await until(all_told)
        finally:
            release.set()


async def test_an_endpoint_that_comes_back_is_not_flooded(tmp_path: Path) -> None:
    """T165: after an outage no faster than the rate, and while it lasts hardly at all."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    up = asyncio.Event()

    def answer(number: int, seen: Seen) -> Answer:
        times.append(loop.time())
        return Answer(status=200 if up.is_set() else 503)

    async with serve(Receiver(answer)) as receiver, gateway(tmp_path, webhook_rate="50") as running:
        made = await subscribe(running, receiver.base_url, "limit.*")
        assert running.services is not None
        for _ in range(150):
            await running.services.events.add(Event.now(running.org.id, "limit.reached", running.services.clock()))
        await asyncio.sleep(2)
        # Five failures in a row close it, and then it is only probed.
        assert 5 <= len(times) <= 10
        up.set()
        began = len(times)

        async def all_there() -> bool:
            return len(times) - began >= 140

        await until(all_there, within=30)
        after = times[began:]
        for at in after:
            assert len([one for one in after if at <= one < at + 1.0]) <= 51
        assert (await shown(running, made["id"]))["failing_since"] is None


async def test_orgs_take_turns(tmp_path: Path) -> None:
    async with serve(Receiver()) as receiver, gateway(tmp_path) as running:
        assert running.services is not None
        other = await make_org({"SKILLWAY_DATA_DIR": str(tmp_path / "data")}, name="Other")
        for number in range(20):
            await subscribe(running, f"{receiver.base_url}/many/{number}", "limit.*")
        await subscribe(running, receiver.base_url + "/one", "limit.*", key=other.live)
        clock = running.services.clock
        for _ in range(20):
            await running.services.events.add(Event.now(running.org.id, "limit.reached", clock()))
        await running.services.events.add(Event.now(other.id, "limit.reached", clock()))

        async def told() -> bool:
            return "/one" in {seen.path for seen in receiver.seen}

        await until(told)
        assert len(receiver.seen) < 250


# --------------------------------------------------------------------------------------------------- addresses


@pytest.mark.shared
async def test_no_spelling_of_an_internal_address_is_ever_connected_to(tmp_path: Path) -> None:
    """T160: at save, and where a name hides it when something is sent."""
    strings = (SHARED / "data" / "hostile" / "internal-addresses.txt").read_text().splitlines()
    async with gateway(tmp_path, allowed_private_networks="") as running:
        connected: list[Any] = []
        assert running.services is not None
        egress = running.services.webhooks._post._egress  # type: ignore[attr-defined]
        factory = egress.socket_factory

        def watching(scheme: str) -> Callable[[Any], Any]:
            make = factory(scheme)

            def open_socket(info: Any) -> Any:
                made = make(info)
                connected.append(info)
                return made

            return open_socket

        egress.socket_factory = watching
        kept = 0
        for url in [line for line in strings if line]:
            for spelled in (url, url.replace("http://", "https://", 1)):
                answer = await running.ask("POST", "/v1/webhooks", body={"url": spelled, "events": ["*"]})
                assert answer.status in (201, 400), (spelled, answer.body)
                kept += answer.status == 201
                if answer.status == 201:
                    made = answer.json()["id"]
                    await happen(running)
                    await settled(running, made, "failed", "dead")
                    assert (await running.ask("DELETE", f"/v1/webhooks/{made}")).status == 204
        assert connected == [] and kept > 0


# ---------------------------------------------------------------------------------------------- signing secrets


async def test_the_signing_secret_of_test_keys_is_another(running: RunningGateway) -> None:
    live = (await running.ask("POST", "/v1/org/signing-secret")).json()["secret"]
    test = (await running.ask("POST", "/v1/org/signing-secret", key=running.org.test)).json()["secret"]
    assert live != test
    told = (await running.ask("GET", "/v1/events?kind=org")).json()["events"]
    rotations = [event for event in told if event["type"] == "org.signing_secret_rotated"]
    assert len(rotations) == 2 and OPERATOR.id not in {event["actor"]["id"] for event in rotations}


# ---------------------------------------------------------------------------------------------------- replicas


async def test_an_event_that_one_replica_writes_is_delivered_by_the_other(
    tmp_path: Path, postgres_url: str
) -> None:
    async with (
        serve(Receiver()) as receiver,
        gateway_process(tmp_path, database_url=postgres_url) as first,
        gateway_process(tmp_path, database_url=postgres_url, org=first.org) as second,
    ):
        made = await subscribe(first, receiver.base_url, "api_key.*")
        for number in range(40):
            await happen(first if number % 2 else second, f"k{number}")
        await receiver.arrival(40, within=20)
        await settled(second, made["id"], "delivered")
        ids = [seen.header("webhook-id") for seen in receiver.seen]
        assert len(ids) == len(set(ids)) == 40
