"""Long calls, calls that may not happen twice and answers that are cut, as who types commands has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.shell import Done, Shell
from tests.harness import RunningGateway
from tests.workshop import Workshop, workshop


@dataclass(frozen=True, slots=True)
class Place:
    running: RunningGateway
    upstream: Workshop
    shell: Shell

    async def run(self, *words: str) -> Done:
        return await asyncio.to_thread(self.shell.run, *words)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with workshop(tmp_path) as (running, upstream):
        shell = Shell.at(tmp_path, url=running.url).with_environment(SKILLWAY_API_KEY=running.org.live)
        yield Place(running, upstream, shell)


async def test_a_call_for_later_is_polled_to_its_end(place: Place) -> None:
    place.upstream.gate = asyncio.Event()
    done = await place.run("run", "--async", "shop", "send", "--note", "x")
    assert (done.code, done.json["status"]) == (0, "queued")
    run_id = done.json["run_id"]
    assert f"`skillway runs show --wait 60 {run_id}`" in done.err
    shown = await place.run("runs", "show", run_id)
    assert shown.code == 0 and shown.json["status"] in ("queued", "running") and shown.json["result"] is None
    place.upstream.gate.set()
    shown = await place.run("runs", "show", "--wait", "20", run_id)
    assert (shown.code, shown.json["status"], shown.json["result"]["data"]["number"]) == (0, "completed", 1)
    listed = await place.run("runs")
    assert [run["run_id"] for run in listed.json["runs"]] == [run_id]


async def test_the_end_of_long_work_is_waited_for(place: Place) -> None:
    place.upstream.answers["/start"] = {"job": "j1", "state": "queued"}
    place.upstream.job = [{"state": "going", "percent": 50}, {"state": "done", "percent": 100, "result": {"made": True}}]
    done = await place.run("run", "--wait", "30", "shop", "start")
    assert (done.code, done.json["data"]) == (0, {"made": True})


async def test_a_run_is_stopped_and_done_again(place: Place) -> None:
    place.upstream.gate = asyncio.Event()
    run_id = (await place.run("run", "--async", "shop", "put")).json["run_id"]
    await place.upstream.wait_for("/put")
    await place.run("runs", "cancel", run_id)
    ended = await place.run("runs", "show", "--wait", "20", run_id)
    assert ended.json["status"] in ("cancelled", "unknown") and ended.code in (1, 2)
    place.upstream.gate.set()
    again = await place.run("runs", "retry", "--even-if-unknown", run_id)
    assert again.code == 0 and again.json["run_id"] != run_id
    ended = await place.run("runs", "show", "--wait", "20", again.json["run_id"])
    assert (ended.code, ended.json["status"]) == (0, "completed")
    assert (await place.run("runs", "cancel", run_id)).code == 1


async def test_a_key_makes_a_call_once(place: Place) -> None:
    words = ("run", "--idempotency-key", "mail-7", "shop", "send", "--note", "x")
    first, second = await place.run(*words), await place.run(*words)
    assert first.json["data"] == second.json["data"] and second.json["meta"]["replayed"] is True
    assert place.upstream.count("/send") == 1
    other = await place.run(*words[:-1], "y")
    assert (other.code, other.json["error"]) == (1, "idempotency_conflict")
    assert (await place.run("run", "--idempotency-key", "", "shop", "send")).code == 1


async def test_a_dry_run_sends_nothing(place: Place) -> None:
    done = await place.run("run", "--dry-run", "shop", "send", "--note", "x")
    assert (done.code, done.json["ok"], done.json["request"]["method"]) == (0, True, "POST")
    done = await place.run("run", "--dry-run", "--connection", "conn_none", "shop", "send")
    assert (done.code, done.json["problems"][0]["error"]) == (1, "not_found")
    assert place.upstream.seen == []


async def test_an_answer_is_cut_and_read_to_its_end(place: Place) -> None:
    place.upstream.answers["/look"] = {"items": [{"id": number, "text": "x" * 100} for number in range(100)]}
    done = await place.run("run", "--max-bytes", "1000", "shop", "look")
    assert len(done.out) <= 1001 and done.json["meta"]["truncated"] is True
    kept = len(done.json["data"]["items"])
    result = done.json["meta"]["result_id"]
    rest = await place.run("runs", "result", "--path", "/items", "--offset", str(kept), "--limit", "200", result)
    assert [item["id"] for item in rest.json["data"]] == list(range(kept, 100))
    found = await place.run("runs", "result", "--path", "/items", "--grep", '"id": 42', result)
    assert found.json["total"] == 1
    assert (await place.run("run", "--select", "length(items)", "shop", "look")).json["data"] == 100
    assert (await place.run("run", "--max-items", "2", "shop", "look")).json["meta"]["total"] == 100
    place.upstream.answers["/look"] = {"number": 3, "much": "more"}
    assert (await place.run("run", "--brief", "shop", "look")).json["data"] == {"n": 3}


async def test_runs_are_a_table_on_a_terminal(place: Place) -> None:
    await place.run("run", "shop", "send")
    shown = await asyncio.to_thread(place.shell.on_terminal, "runs", columns=200)
    assert "shop.send" in shown.out.decode() and "completed" in shown.out.decode()
