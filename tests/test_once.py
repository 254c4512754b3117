"""Idempotency-Key: one call, however often it is sent, on whichever replica; and what may be repeated without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, make_org
from tests.workshop import Workshop, workshop

Shop = tuple[RunningGateway, Workshop]


@pytest.fixture
async def shop(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[Shop]:
    async with workshop(tmp_path, clock=clock, **database_setting) as (running, upstream):
        yield running, upstream


async def send(running: RunningGateway, key: str | None = "k1", action: str = "send", **more: Any) -> Answer:
    headers = {**more.pop("headers", {}), **({"Idempotency-Key": key} if key is not None else {})}
    params = more.pop("params", {"note": "x"})
    if more.pop("later", False):
        more["async"] = True
    return await running.call("shop", action, params, headers=headers, key=more.pop("api_key", None), **more)


async def test_fifty_calls_at_once_are_one_request_and_fifty_equal_answers(shop: Shop) -> None:
    running, upstream = shop
    upstream.takes = 0.2
    answers = await asyncio.gather(*(send(running) for _ in range(50)))
    assert upstream.count("/send") == 1
    assert {answer.status for answer in answers} == {200}
    bodies = [answer.json() for answer in answers]
    assert all((body["status"], body["data"]) == (200, {"number": 1, "echo": {"note": "x"}}) for body in bodies)
    assert sorted(body["meta"].get("replayed", False) for body in bodies) == [False] + [True] * 49
    assert len({body["meta"]["run_id"] for body in bodies}) == 1
    usage = (await running.ask("GET", "/v1/usage")).json()
    assert usage["calls"]["used"] == 1


async def test_fifty_calls_on_two_replicas_are_one_request(tmp_path: Path, postgres_url: str) -> None:
    async with workshop(tmp_path, replicas=2, database_url=postgres_url) as (replicas, upstream):
        upstream.takes = 0.5
        answers = await asyncio.gather(*(send(replicas[number % 2]) for number in range(50)))
        assert {answer.status for answer in answers} == {200}
        assert upstream.count("/send") == 1
        assert {answer.json()["data"]["number"] for answer in answers} == {1}


async def test_the_answer_is_replayed_for_a_day(shop: Shop, clock: HandClock) -> None:
    running, upstream = shop
    first = (await send(running)).json()
    clock.move(23 * 3600)
    again = (await send(running)).json()
    assert again["data"] == first["data"] and again["meta"]["replayed"] is True
    clock.move(3600 + 1)
    assert running.services is not None
    queue = running.services.gateway._queue
    assert await queue.forget_keys(int((clock.now - 86_400) * 1000)) == 1
    assert (await send(running)).json()["data"]["number"] == 2
    assert upstream.count("/send") == 2


async def test_another_body_under_the_same_key_is_a_conflict(shop: Shop) -> None:
    running, upstream = shop
    await send(running)
    answer = await send(running, params={"note": "y"})
    body = answer.json()
    assert (answer.status, body["error"], body["retryable"]) == (409, "idempotency_conflict", False)
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.count("/send") == 1


async def test_members_in_another_order_are_the_same_body(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, upstream):
        for raw in (b'{"params":{"note":"x"},"user":"u"}', b'{"user":"u", "params": {"note": "x"}}'):
            answer = await running.ask("POST", "/v1/shop/send", raw=raw, headers={"Idempotency-Key": "k"})
            assert answer.status == 200
        assert upstream.count("/send") == 1


async def test_a_key_means_something_else_for_another_action_user_key_or_org(
    shop: Shop, database_setting: dict[str, Any]
) -> None:
    running, upstream = shop
    other_key = (await running.ask("POST", "/api-keys", body={"name": "other"})).json()["full_key"]
    other_org = await make_org(
        {"SKILLWAY_DATA_DIR": str(running.data_dir)}
        | {f"SKILLWAY_{name.upper()}": value for name, value in database_setting.items()},
        "Other",
    )
    answers = [
        await send(running),
        await send(running, action="put"),
        await send(running, user="ada"),
        await send(running, api_key=other_key),
        await send(running, api_key=other_org.live),
    ]
    assert not [answer for answer in answers if answer.json()["meta"].get("replayed")]
    assert (upstream.count("/send"), upstream.count("/put")) == (4, 1)


async def test_an_upstreams_refusal_is_replayed_as_well(shop: Shop) -> None:
    running, upstream = shop
    upstream.statuses = [422]
    assert [(await send(running)).json()["status"] for _ in range(2)] == [422, 422]
    assert upstream.count("/send") == 1


async def test_what_nobody_knows_of_is_not_sent_again(shop: Shop) -> None:
    running, upstream = shop
    upstream.statuses = [-1]
    first, second = await send(running), await send(running)
    for answer in (first, second):
        body = answer.json()
        assert (answer.status, body["outcome"], body["retryable"]) == (502, "unknown", False)
    assert first.json()["run_id"] == second.json()["run_id"]
    assert upstream.count("/send") == 1


async def test_what_was_not_sent_may_be_sent_again_under_the_same_key(
    tmp_path: Path, database_setting: dict[str, Any], clock: HandClock
) -> None:
    plans = {"p": {"credits_per_month": 1}}
    async with workshop(tmp_path, plans=plans, plan="p", clock=clock, **database_setting) as (running, upstream):
        assert (await send(running, "first")).status == 200
        refused = await send(running, "second")
        assert (refused.status, refused.json()["error"]) == (429, "allowance_exhausted")
        clock.move(40 * 86_400)
        answer = (await send(running, "second")).json()
        assert answer["status"] == 200 and "replayed" not in answer["meta"]
        assert upstream.count("/send") == 2


async def test_a_refused_body_uses_no_key_up(shop: Shop) -> None:
    running, _ = shop
    assert (await send(running, params={"nota": 1})).status == 400
    assert (await send(running)).status == 200


async def test_a_call_for_later_has_its_key_too(shop: Shop) -> None:
    running, upstream = shop
    answers = await asyncio.gather(*(send(running, later=True) for _ in range(10)))
    runs = {answer.json().get("run_id") or answer.json()["meta"]["run_id"] for answer in answers}
    assert len(runs) == 1
    [run_id] = runs
    run = (await running.ask("GET", f"/v1/runs/{run_id}?wait=20")).json()
    assert (run["status"], upstream.count("/send")) == ("completed", 1)
    replayed = await send(running, wait=5)
    assert replayed.json()["meta"]["replayed"] is True


async def test_a_key_in_the_sandbox_replays_without_an_upstream(shop: Shop) -> None:
    running, upstream = shop
    answers = [(await send(running, api_key=running.org.test)).json() for _ in range(2)]
    assert [answer["meta"].get("replayed", False) for answer in answers] == [False, True]
    assert upstream.seen == []


async def test_a_derived_key_goes_to_an_upstream_that_knows_them(shop: Shop) -> None:
    running, upstream = shop
    for key in ("k1", "k1", "k2"):
        await send(running, key, action="keyed")
    await send(running, None, action="keyed")
    keys = [headers.get("X-Request-Key") for _, _, headers in upstream.seen]
    assert len(keys) == 3 and all(keys) and len(set(keys)) == 3
    assert not [key for key in keys if key and ("k1" in key or "k2" in key)]


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
async def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    async with workshop(tmp_path) as (running, upstream):
        answer = await send(running, key)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert upstream.seen == []


# -------------------------------------------------------------------------------------------------------- repeats


async def test_a_read_whose_answer_does_not_come_is_asked_again(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, upstream):
        upstream.statuses = [-1, -1]
        answer = await send(running, None, action="look")
        assert (answer.status, upstream.count("/look")) == (200, 3)
        upstream.statuses = [-1] * 20
        answer = await send(running, None, action="put")
        assert (answer.status, answer.json()["error"]) == (502, "upstream_unreachable")
        assert answer.json()["retryable"] is True
        # The client itself may add one where a kept connection had gone stale.
        assert 3 <= upstream.count("/put") <= 4


async def test_a_write_whose_answer_does_not_come_is_not(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, upstream):
        upstream.statuses = [-1]
        answer = await send(running, None)
        assert (answer.status, answer.json()["outcome"], upstream.count("/send")) == (502, "unknown", 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_whatever_the_upstream_answers_is_the_answer(tmp_path: Path, status: int) -> None:
    async with workshop(tmp_path) as (running, upstream):
        upstream.statuses = [status]
        answer = await send(running, None, action="look")
        assert (answer.status, answer.json()["status"], upstream.count("/look")) == (200, status, 1)


@pytest.mark.failure("R15")
async def test_an_upstream_that_never_answers_is_left_alone_for_a_while(tmp_path: Path, clock: HandClock) -> None:
    async with workshop(tmp_path, clock=clock) as (running, upstream):
        upstream.statuses = [-1] * 100
        for _ in range(5):
            await send(running, None)
        before = upstream.count("/send")
        answer = await send(running, None)
        body = answer.json()
        assert (answer.status, body["error"], body["outcome"], body["retryable"]) == (
            502, "upstream_unreachable", "not_sent", True,
        )  # fmt: skip
        assert body["retry_after_ms"] > 0 and upstream.count("/send") == before
        other = await make_org({"SKILLWAY_DATA_DIR": str(running.data_dir)}, "Other")
        await send(running, None, api_key=other.live)
        assert upstream.count("/send") == before + 1
        # After a while one call shows whether it is well again.
        clock.move(11)
        upstream.statuses = []
        assert (await send(running, None)).status == 200
        assert (await send(running, None)).status == 200
