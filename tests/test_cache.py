"""What is kept of reads is given up once a change was made, or may have been, and before anybody is told of its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.store.queue import SqlQueue
from tests.fakes.upstream import Running, Upstream, serve
from tests.harness import RunningGateway, gateway
from tests.store.samples import a_run
from tests.workshop import until

BUILDING = {"action": "get_job", "id": "id", "status": "status", "every": "1s", "done": ["done"]}


def shelf(base_url: str) -> dict[str, Any]:
    def action(request: str, **more: Any) -> dict[str, Any]:
        examples = [{"params": {}, "response": {"status": 200, "data": None}}]
        return {"description": "Do it.", "request": request, "resource": "thing", "examples": examples, **more}

    return {
        "slug": "shelf",
        "name": "Shelf",
        "description": "Keeps things.",
        "base_url": base_url,
        "auth": [{"name": "token", "type": "bearer", "title": "Token"}],
        "actions": {
            "list_things": action("GET /things", cache={"ttl": "60s"}),
            "add_thing": action("POST /things", effect="create", timeout="1s"),
            "get_job": action("GET /jobs/{id}", params={"id": {"type": "integer"}}, resource="job"),
            "build_thing": action("POST /jobs", effect="create", poll=BUILDING),
        },
    }


@pytest.fixture
async def upstream() -> AsyncIterator[Running[Upstream]]:
    async with serve(Upstream()) as running:
        yield running


@asynccontextmanager
async def reading(tmp_path: Path, upstream: Running[Upstream]) -> AsyncIterator[RunningGateway]:
    """A read of it is kept."""
    (tmp_path / "shelf.yaml").write_text(json.dumps(shelf(upstream.base_url)))
    async with gateway(tmp_path, definitions=tmp_path / "shelf.yaml") as started:
        await started.connect("shelf", {"token": "secret-of-the-shelf"})
        upstream.next(json=["before"])
        await started.call("shelf", "list_things")
        assert (await started.call("shelf", "list_things")).json()["meta"]["cached"] is True
        yield started


@pytest.fixture
async def running(tmp_path: Path, upstream: Running[Upstream]) -> AsyncIterator[RunningGateway]:
    async with reading(tmp_path, upstream) as started:
        yield started


async def is_read_anew(running: RunningGateway, upstream: Running[Upstream]) -> bool:
    upstream.next(json=["after"])
    return bool((await running.call("shelf", "list_things")).json()["data"] == ["after"])


async def test_who_is_told_of_a_changes_end_reads_what_has_changed(
    running: RunningGateway, upstream: Running[Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = list[str]()

    def noted(name: str) -> Callable[..., Awaitable[Any]]:
        real = getattr(SqlQueue, name)

        async def note(self: SqlQueue, *given: Any, **more: Any) -> Any:
            order.append(name)
            return await real(self, *given, **more)

        return note

    for name in ("withdraw", "finish"):
        monkeypatch.setattr(SqlQueue, name, noted(name))
    upstream.next(status=201, json={})
    run_id = (await running.call("shelf", "add_thing", **{"async": True})).json()["run_id"]
    shown = (await running.ask("GET", f"/v1/runs/{run_id}?wait=30")).json()
    assert shown["status"] == "completed"
    assert order == ["withdraw", "finish"]
    assert await is_read_anew(running, upstream)


async def test_work_that_the_upstream_goes_on_with_has_changed_things_when_it_is_done(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    upstream.next(status=202, json={"id": 7, "status": "working"})
    run_id = (await running.call("shelf", "build_thing", **{"async": True})).json()["run_id"]

    async def is_accepted() -> bool:
        return bool((await running.ask("GET", f"/v1/runs/{run_id}")).json()["status"] == "running")

    await until(is_accepted)
    # Read in the middle of it, and kept.
    upstream.next(json=["half"])
    assert (await running.call("shelf", "list_things")).json()["data"] == ["half"]
    assert (await running.call("shelf", "list_things")).json()["meta"]["cached"] is True
    upstream.next(json={"id": 7, "status": "done"})
    assert (await running.ask("GET", f"/v1/runs/{run_id}?wait=30")).json()["status"] == "completed"
    assert await is_read_anew(running, upstream)


async def test_a_change_whose_process_died_counts_as_one(tmp_path: Path, upstream: Running[Upstream]) -> None:
    async with reading(tmp_path, upstream) as running:
        assert running.services is not None
        [connection] = (await running.ask("GET", "/v1/connections")).json()["connections"]
        about = {"integration": "shelf", "action": "add_thing", "effect": "create", "connection": connection["id"]}
        # It began long ago, and will never end.
        await running.services.gateway._runs.begin(a_run(running.org.id, started_at=1, **about))
        key = running.org.live
    async with gateway(tmp_path, definitions=tmp_path / "shelf.yaml") as running:
        upstream.next(json=["after"])

        async def is_after() -> bool:
            return bool((await running.call("shelf", "list_things", key=key)).json()["data"] == ["after"])

        await until(is_after)


async def test_a_change_that_nobody_knows_of_counts_as_one(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    upstream.next(status=201, json={}, delay=3)
    refused = await running.call("shelf", "add_thing")
    assert refused.json()["outcome"] == "unknown", refused.body
    assert await is_read_anew(running, upstream)


async def test_a_change_whose_answer_is_streamed_counts_as_one(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    upstream.next(status=201, json={})
    streamed = await running.ask("POST", "/v1/shelf/add_thing?raw=1", body={"params": {}})
    assert streamed.headers["X-Upstream-Status"] == "201", streamed.body
    assert await is_read_anew(running, upstream)


async def test_a_change_that_was_refused_before_it_was_sent_is_none(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    assert (await running.call("shelf", "add_thing", {"colour": "red"})).json()["error"] == "bad_request"
    assert (await running.call("shelf", "list_things")).json()["meta"]["cached"] is True
