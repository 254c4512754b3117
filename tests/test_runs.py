"""Runs from the outside: calls that are carried out later, waited for, stopped, done again, taken over."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.process import PROGRAM
from tests.harness import Answer, RunningGateway
from tests.workshop import Workshop, until, workshop

Shop = tuple[RunningGateway, Workshop]


@pytest.fixture
async def shop(tmp_path: Path, database_setting: dict[str, Any]) -> AsyncIterator[Shop]:
    async with workshop(tmp_path, **database_setting) as (running, upstream):
        yield running, upstream


async def call(running: RunningGateway, action: str, **more: Any) -> Answer:
    return await running.call("shop", action, more.pop("params", {"note": "x"}), **more)


async def run_of(running: RunningGateway, run_id: str, wait: int = 0, key: str | None = None) -> Any:
    answer = await running.ask("GET", f"/v1/runs/{run_id}" + (f"?wait={wait}" if wait else ""), key=key)
    assert answer.status == 200, answer.body
    return answer.json()


def accepted(answer: Answer) -> str:
    body = answer.json()
    assert (answer.status, body.keys()) == (202, {"run_id", "status", "poll_url"}), answer.body
    assert answer.headers["Location"] == body["poll_url"]
    return str(body["run_id"])


# ---------------------------------------------------------------------------------------------------- later


async def test_a_call_is_carried_out_later_and_its_answer_is_polled(shop: Shop) -> None:
    running, upstream = shop
    run_id = accepted(await call(running, "send", **{"async": True}))
    run = await run_of(running, run_id, wait=20)
    assert (run["status"], run["upstream_status"], run["error"]) == ("completed", 200, None)
    assert run["result"]["status"] == 200
    assert run["result"]["data"] == {"number": 1, "echo": {"note": "x"}}
    assert run["result"]["meta"]["run_id"] == run_id
    assert run["credits_used"] == 1 and run["finished_at"] is not None
    assert upstream.count("/send") == 1
    events = (await running.ask("GET", "/v1/events?kind=run")).json()["events"]
    assert [(event["type"], event["data"]["run_id"]) for event in events] == [("run.completed", run_id)]
    usage = (await running.ask("GET", "/v1/usage")).json()
    assert usage["calls"]["used"] == 1


@pytest.mark.parametrize("headers", [{"Prefer": "respond-async"}, {"Prefer": "return=minimal, respond-async"}])
async def test_a_header_asks_for_it_too(shop: Shop, headers: dict[str, str]) -> None:
    running, _ = shop
    run_id = accepted(await call(running, "send", headers=headers))
    assert (await run_of(running, run_id, wait=20))["status"] == "completed"


async def test_a_caller_waits_for_the_end_and_has_the_answer_inline(shop: Shop) -> None:
    running, upstream = shop
    answer = await call(running, "send", wait=20)
    assert (answer.status, answer.json()["status"]) == (200, 200)
    assert answer.headers["X-Upstream-Status"] == "200"
    assert answer.json()["data"]["number"] == 1
    upstream.takes = 1.0
    answer = await call(running, "send", headers={"Prefer": "wait=0"})
    assert (await run_of(running, accepted(answer), wait=20))["result"]["data"]["number"] == 2


async def test_an_upstreams_refusal_is_a_completed_run(shop: Shop) -> None:
    running, upstream = shop
    upstream.statuses = [422]
    run = await run_of(running, accepted(await call(running, "send", **{"async": True})), wait=20)
    assert (run["status"], run["upstream_status"], run["result"]["status"]) == ("completed", 422, 422)


async def test_what_is_refused_before_is_refused_at_once(shop: Shop) -> None:
    running, _ = shop
    answer = await call(running, "send", params={"nota": "x"}, **{"async": True})
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert (await running.ask("GET", "/v1/runs")).json() == {"runs": []}


async def test_no_answer_of_a_write_is_a_run_that_nobody_knows_of(shop: Shop) -> None:
    running, upstream = shop
    upstream.statuses = [-1]
    run = await run_of(running, accepted(await call(running, "send", **{"async": True})), wait=20)
    assert (run["status"], run["outcome"]) == ("unknown", "unknown")
    assert run["error"]["outcome"] == "unknown" and run["error"]["retryable"] is False
    assert run["credits_used"] == 1
    assert upstream.count("/send") == 1


@pytest.mark.failure("R14")
async def test_a_busy_upstream_is_asked_again_where_that_is_safe(shop: Shop) -> None:
    running, upstream = shop
    upstream.statuses, upstream.headers = [503, 503], {"Retry-After": "1"}
    run = await run_of(running, accepted(await call(running, "put", **{"async": True})), wait=20)
    assert (run["status"], run["upstream_status"]) == ("completed", 200)
    assert upstream.count("/put") == 3
    upstream.statuses = [503]
    run = await run_of(running, accepted(await call(running, "send", **{"async": True})), wait=20)
    assert (run["upstream_status"], upstream.count("/send")) == (503, 1)


async def test_runs_are_listed_newest_first_and_paged(shop: Shop) -> None:
    running, _ = shop
    made = [accepted(await call(running, "look", **{"async": True})) for _ in range(5)]
    for run_id in made:
        await run_of(running, run_id, wait=20)
    seen: list[str] = []
    query = "limit=2"
    while True:
        page = (await running.ask("GET", f"/v1/runs?{query}")).json()
        seen += [run["run_id"] for run in page["runs"]]
        if "next_cursor" not in page:
            break
        query = f"limit=2&cursor={page['next_cursor']}"
    assert seen == made[::-1]
    assert (await running.ask("GET", "/v1/runs", key=running.org.test)).json() == {"runs": []}


async def test_a_sandbox_call_can_be_later_too(shop: Shop) -> None:
    running, upstream = shop
    key = running.org.test
    run = await run_of(running, accepted(await call(running, "send", key=key, **{"async": True})), 20, key)
    assert (run["status"], run["result"]["data"], run["result"]["meta"]["sandbox"]) == (
        "completed",
        {"number": 1},
        True,
    )
    assert (run["credits_used"], upstream.seen) == (0, [])
    started = await call(running, "start", key=key, wait=20)
    assert started.json()["status"] == 200


async def test_a_plain_call_is_a_run_as_well(shop: Shop) -> None:
    running, _ = shop
    run_id = (await call(running, "look")).json()["meta"]["run_id"]
    run = await run_of(running, run_id)
    assert (run["status"], run["upstream_status"], run["result"]) == ("completed", 200, None)


# -------------------------------------------------------------------------------------------------- the ceiling


async def test_past_the_ceiling_the_very_same_request_goes_on_as_a_run(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    async with workshop(tmp_path, sync_ceiling="0.5", **database_setting) as (running, upstream):
        upstream.takes = 1.5
        answer = await call(running, "slow")
        body = answer.json()
        assert (answer.status, body["error"]) == (408, "sync_timeout_upgrade_async")
        assert body["retryable"] is False and answer.headers["x-should-retry"] == "false"
        assert body["poll_url"].endswith(body["run_id"]) and answer.headers["Connection"] == "close"
        assert (await run_of(running, body["run_id"]))["status"] == "running"
        while (run := await run_of(running, body["run_id"]))["status"] == "running":  # noqa: ASYNC110 - nobody can tell us
            await asyncio.sleep(0.05)
        assert (run["status"], run["result"]["data"]["number"]) == ("completed", 1)
        assert upstream.count("/slow") == 1
        events = (await running.ask("GET", "/v1/events?kind=run")).json()["events"]
        assert [event["type"] for event in events] == ["run.completed"]


async def test_a_call_that_ends_in_time_knows_no_ceiling(tmp_path: Path) -> None:
    async with workshop(tmp_path, sync_ceiling="5") as (running, upstream):
        assert (await call(running, "slow")).json()["status"] == 200
        upstream.statuses = [-1]
        answer = await call(running, "slow")
        assert (answer.status, answer.json()["outcome"]) == (502, "unknown")


@pytest.mark.failure("R20")
async def test_a_run_that_outlives_the_drain_ends_unknown(tmp_path: Path, postgres_url: str) -> None:
    settings: dict[str, Any] = {"sync_ceiling": "0.3", "drain": "1", "database_url": postgres_url}
    async with workshop(tmp_path, replicas=2, **settings) as ((first, second), upstream):
        upstream.takes = 15.0
        run_id = (await call(first, "slow")).json()["run_id"]
        assert first.process is not None
        first.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(first.process.wait(), 15)
        run = await run_of(second, run_id)
        assert (run["status"], run["outcome"], upstream.count("/slow")) == ("unknown", "unknown", 1)


# ------------------------------------------------------------------------------------------- the upstream's own work


async def test_the_upstreams_own_work_is_followed_with_its_progress(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"] = {"job": "j7", "state": "queued"}
    upstream.job = [
        {"state": "working", "percent": 40},
        {"state": "working", "percent": 80},
        {"state": "done", "percent": 100, "result": {"url": "https://made.example"}},
    ]
    run_id = accepted(await call(running, "start", **{"async": True}))

    async def is_half_way() -> Any:
        run = await run_of(running, run_id)
        return run if run["progress"] == 40 else None

    half = await until(is_half_way)
    assert (half["status"], half["result"]) == ("running", None)
    run = await run_of(running, run_id, wait=20)
    assert (run["status"], run["progress"]) == ("completed", 100)
    assert run["result"]["data"] == {"url": "https://made.example"}
    assert (upstream.count("/start"), upstream.count("/jobs/j7")) == (1, 3)
    assert run["credits_used"] == 1


async def test_a_caller_may_wait_for_the_upstreams_own_work_inline(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"] = {"job": "j7", "state": "queued"}
    answer = await call(running, "start", wait=20)
    assert (answer.status, answer.json()["data"]) == (200, {"made": True})


async def test_work_that_fails_is_a_failed_run_with_what_was_said(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"] = {"job": "j7"}
    upstream.job = [{"state": "broken", "why": "no wood"}]
    run = await run_of(running, accepted(await call(running, "start", **{"async": True})), wait=20)
    assert (run["status"], run["result"]["data"]["why"]) == ("failed", "no wood")
    events = (await running.ask("GET", "/v1/events?kind=run")).json()["events"]
    assert [event["type"] for event in events] == ["run.failed"]


async def test_work_that_is_done_at_once_is_not_asked_after(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"] = {"job": "j7", "state": "done", "result": 1}
    run = await run_of(running, accepted(await call(running, "start", **{"async": True})), wait=20)
    assert (run["status"], upstream.count("/jobs/j7")) == ("completed", 0)


async def test_trouble_on_the_way_does_not_end_the_work(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"] = {"job": "j7"}
    upstream.statuses = [200, 503, -1, 200]
    run = await run_of(running, accepted(await call(running, "start", **{"async": True})), wait=25)
    assert run["status"] == "completed"
    assert upstream.count("/jobs/j7") >= 3


async def test_without_a_wait_the_first_answer_is_the_answer(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"] = {"job": "j7", "state": "queued"}
    assert (await call(running, "start")).json()["data"] == {"job": "j7", "state": "queued"}


async def test_work_is_followed_by_another_process_after_a_restart(tmp_path: Path, postgres_url: str) -> None:
    settings: dict[str, Any] = {"database_url": postgres_url, "program": PROGRAM}
    async with workshop(tmp_path, replicas=2, **settings) as ((first, second), upstream):
        upstream.answers["/start"] = {"job": "j7"}
        upstream.job = [{"state": "working", "percent": 10}]
        run_id = accepted(await call(first, "start", **{"async": True}))
        await upstream.wait_for("/jobs/j7")
        assert first.process is not None
        first.process.kill()
        await first.process.wait()
        upstream.job = [{"state": "done", "result": "made"}]
        run = await run_of(second, run_id, wait=40)
        assert (run["status"], run["result"]["data"], upstream.count("/start")) == ("completed", "made", 1)


# ------------------------------------------------------------------------------------------------ stopped, done again


async def test_a_run_in_line_is_cancelled_at_once(tmp_path: Path, database_setting: dict[str, Any]) -> None:
    async with workshop(tmp_path, run_workers="1", **database_setting) as (running, upstream):
        upstream.gate = asyncio.Event()
        first = accepted(await call(running, "send", **{"async": True}))
        await upstream.wait_for("/send")
        second = accepted(await call(running, "send", **{"async": True}))
        answer = await running.ask("POST", f"/v1/runs/{second}/cancel")
        assert (answer.status, answer.json()["status"], answer.json()["outcome"]) == (200, "cancelled", "not_sent")
        again = await running.ask("POST", f"/v1/runs/{second}/cancel")
        assert (again.status, again.json()["error"]) == (409, "conflict")
        upstream.gate.set()
        assert (await run_of(running, first, wait=20))["status"] == "completed"
        assert upstream.count("/send") == 1


async def test_a_run_under_way_is_stopped_and_what_became_of_it_is_unknown(shop: Shop) -> None:
    running, upstream = shop
    upstream.gate = asyncio.Event()
    run_id = accepted(await call(running, "send", **{"async": True}))
    await upstream.wait_for("/send")
    assert (await running.ask("POST", f"/v1/runs/{run_id}/cancel")).status == 200
    run = await run_of(running, run_id, wait=20)
    assert (run["status"], run["outcome"]) == ("cancelled", "unknown")
    upstream.gate.set()


async def test_followed_work_is_cancelled_between_two_looks(shop: Shop) -> None:
    running, upstream = shop
    upstream.answers["/start"], upstream.job = {"job": "j7"}, [{"state": "working"}]
    run_id = accepted(await call(running, "start", **{"async": True}))
    await upstream.wait_for("/jobs/j7")

    async def is_cancelled() -> Any:
        answer = await running.ask("POST", f"/v1/runs/{run_id}/cancel")
        return answer.status == 200 and (await run_of(running, run_id))["status"] == "cancelled"

    await until(is_cancelled)
    before = upstream.count("/jobs/j7")
    await asyncio.sleep(1.5)
    assert upstream.count("/jobs/j7") <= before + 1


async def test_a_run_is_done_again_with_what_was_asked(shop: Shop) -> None:
    running, upstream = shop
    first = accepted(await call(running, "send", params={"note": "once more"}, **{"async": True}))
    await run_of(running, first, wait=20)
    second = accepted(await running.ask("POST", f"/v1/runs/{first}/retry"))
    run = await run_of(running, second, wait=20)
    assert second != first and run["result"]["data"] == {"number": 2, "echo": {"note": "once more"}}
    assert [body for path, body, _ in upstream.seen] == [{"note": "once more"}] * 2


async def test_what_may_have_been_done_is_not_done_again_without_a_word(shop: Shop) -> None:
    running, upstream = shop
    upstream.statuses = [-1]
    run_id = accepted(await call(running, "send", **{"async": True}))
    await run_of(running, run_id, wait=20)
    refused = await running.ask("POST", f"/v1/runs/{run_id}/retry")
    assert (refused.status, refused.json()["error"], upstream.count("/send")) == (409, "conflict", 1)
    sure = await running.ask("POST", f"/v1/runs/{run_id}/retry", body={"even_if_unknown": True})
    assert (await run_of(running, accepted(sure), wait=20))["status"] == "completed"


async def test_a_plain_call_is_not_done_again_since_nobody_kept_it(shop: Shop) -> None:
    running, _ = shop
    run_id = (await call(running, "look")).json()["meta"]["run_id"]
    assert (await running.ask("POST", f"/v1/runs/{run_id}/retry")).json()["error"] == "conflict"


# --------------------------------------------------------------------------------------------------- who carries it out


async def test_a_key_that_was_revoked_carries_out_nothing_more(shop: Shop) -> None:
    running, upstream = shop
    made = (await running.ask("POST", "/api-keys", body={"name": "short"})).json()
    upstream.answers["/start"], upstream.job = {"job": "j7"}, [{"state": "working"}]
    run_id = accepted(await call(running, "start", key=made["full_key"], **{"async": True}))
    await upstream.wait_for("/jobs/j7")
    await running.ask("DELETE", f"/api-keys/{made['api_key']['id']}")
    run = await run_of(running, run_id, wait=20)
    assert (run["status"], run["error"]["error"]) == ("failed", "api_key_revoked")


async def test_orgs_take_turns_however_much_one_of_them_wants(tmp_path: Path, database_setting: dict[str, Any]) -> None:
    from tests.harness import make_org

    async with workshop(tmp_path, run_workers="1", **database_setting) as (running, upstream):
        environ = {"SKILLWAY_DATA_DIR": str(running.data_dir)} | {
            f"SKILLWAY_{name.upper()}": value for name, value in database_setting.items()
        }
        other = await make_org(environ, "Quiet")
        upstream.gate = asyncio.Event()
        flood = [accepted(await call(running, "send", params={"note": "flood"}, **{"async": True})) for _ in range(20)]
        quiet = accepted(await call(running, "send", params={"note": "quiet"}, key=other.live, **{"async": True}))
        upstream.gate.set()
        await run_of(running, quiet, wait=20, key=other.live)
        order = [body["note"] for _, body, _ in upstream.seen]
        assert order.index("quiet") <= 3
        for run_id in flood:
            await run_of(running, run_id, wait=20)


async def test_short_work_goes_before_long_work(tmp_path: Path) -> None:
    async with workshop(tmp_path, run_workers="1") as (running, upstream):
        upstream.gate = asyncio.Event()
        await call(running, "send", **{"async": True})
        await upstream.wait_for("/send")
        for action in ("start", "start", "put"):
            last = accepted(await call(running, action, **{"async": True}))
        upstream.gate.set()
        await run_of(running, last, wait=20)
        assert [path for path, _, _ in upstream.seen][1] == "/put"


@pytest.mark.failure("R03")
async def test_a_run_whose_process_is_killed_is_taken_over_or_told_as_unknown(
    tmp_path: Path, postgres_url: str
) -> None:
    settings: dict[str, Any] = {"database_url": postgres_url, "run_workers": "2", "program": PROGRAM}
    async with workshop(tmp_path, replicas=1, **settings) as ([first], upstream):
        upstream.gate = asyncio.Event()
        write = accepted(await call(first, "send", **{"async": True}))
        safe = accepted(await call(first, "put", **{"async": True}))
        await upstream.wait_for("/send")
        await upstream.wait_for("/put")
        waiting = accepted(await call(first, "send", params={"note": "in line"}, **{"async": True}))
        assert first.process is not None
        first.process.kill()
        await first.process.wait()
        upstream.gate.set()
        async with workshop_again(tmp_path, first, **settings) as second:
            assert (await run_of(second, waiting, wait=20))["status"] == "completed"
            runs = [await run_of(second, run_id, wait=60) for run_id in (write, safe)]
            assert [(run["status"], run["outcome"]) for run in runs] == [
                ("unknown", "unknown"),
                ("completed", "answered"),
            ]
            notes = [body["note"] for path, body, _ in upstream.seen if path == "/send"]
            assert sorted(notes) == ["in line", "x"]
            assert upstream.count("/put") == 2


def workshop_again(folder: Path, before: RunningGateway, **settings: Any) -> Any:
    """A new process on what the old one left."""
    from tests.harness import gateway_process

    return gateway_process(folder, definitions=folder / "definitions", org=before.org, **settings)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"async": "yes"}, "async"),
        ({"wait": -1}, "wait"),
        ({"wait": 3601}, "wait"),
        ({"wait": True}, "wait"),
        ({"select": "a["}, "select"),
        ({"select": ""}, "select"),
        ({"view": "short"}, "view"),
        ({"max_bytes": 5}, "max_bytes"),
        ({"max_items": -1}, "max_items"),
        ({"max_items": 1.5}, "max_items"),
    ],
)
async def test_a_wrong_wish_is_told_with_its_field(tmp_path: Path, body: dict[str, Any], path: str) -> None:
    async with workshop(tmp_path) as (running, upstream):
        answer = await call(running, "look", **body)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request"), answer.body
        assert [field["path"] for field in answer.json()["details"]["fields"]] == [path]
        assert upstream.seen == []


async def test_nothing_of_a_call_lies_open_in_the_database(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, _):
        secret = "whispered-in-a-param"
        run_id = accepted(await call(running, "send", params={"note": secret}, **{"async": True}))
        run = await run_of(running, run_id, wait=20)
        assert run["result"]["data"]["echo"]["note"] == secret
        files = [path for path in running.data_dir.iterdir() if path.is_file()]
        assert len(files) > 1
        for path in files:
            assert secret.encode() not in path.read_bytes(), path.name
        assert secret not in json.dumps((await running.ask("GET", "/v1/events")).json())
