"""Large answers of many calls at once: what there is no room for is refused or left out, and only the org that takes too much feels it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from gateway.core.room import Holding, Room
from gateway.operator_file import BadSetting, Installation
from gateway.settings import Settings, check_together
from tests.demo import write_definitions
from tests.harness import RunningGateway, environment, gateway, make_org
from tests.workshop import definition, until

MIB = 1024**2
#: Of one org half: two of these answers are too much, and one of each of two orgs is not.
SETTINGS: dict[str, Any] = {"response_limit": "8MiB", "answer_room": "16MiB"}
LARGE = b'{"text":"' + b"x" * (6 * MIB) + b'"}'


class Slow:
    """Answers at length; the last byte comes when it is let go, or at once where it is zipped."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.zipped = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = gzip.compress(LARGE, 1) if self.zipped else LARGE
        response = web.StreamResponse(status=200 if request.method == "GET" else 201)
        response.headers["Content-Type"] = "application/json"
        if self.zipped:
            response.headers["Content-Encoding"] = "gzip"
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[:-1])
        if not self.zipped:
            await self.let_go.wait()
        await response.write(body[-1:])
        return response


@asynccontextmanager
async def slow_upstream(folder: Path) -> AsyncIterator[tuple[RunningGateway, Slow]]:
    upstream = Slow()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    definitions = write_definitions(folder, definition(f"http://127.0.0.1:{site.port}"))
    try:
        async with gateway(folder, definitions=definitions, **SETTINGS) as running:
            yield running, upstream
    finally:
        upstream.let_go.set()
        await runner.cleanup()


def taken(running: RunningGateway) -> int:
    assert running.services is not None
    return running.services.gateway._carrier._fetching._room._taken


async def held(running: RunningGateway, upstream: Slow) -> asyncio.Task[Any]:
    """A read that has nearly all of its answer, and waits for the rest."""
    call = asyncio.create_task(running.call("shop", "look"))

    async def is_taken() -> bool:
        return taken(running) > 5 * MIB

    await until(is_taken)
    return call


@pytest.mark.failure("R28")
async def test_an_org_that_reads_too_much_at_once_is_refused_and_others_are_not(tmp_path: Path) -> None:
    async with slow_upstream(tmp_path) as (running, upstream):
        first = await held(running, upstream)
        refused = await running.call("shop", "look")
        body = refused.json()
        assert (refused.status, body["error"], body["retryable"]) == (503, "overloaded", True)
        assert refused.headers["Retry-After"] == "1" and body["run_id"].startswith("run_")
        other = await make_org(environment(tmp_path, None, tmp_path, SETTINGS, None), "Other")
        theirs = asyncio.create_task(running.call("shop", "look", key=other.live))
        upstream.let_go.set()
        for call in (first, theirs):
            answer = await call
            assert answer.status == 200 and len(answer.json()["data"]["text"]) == 6 * MIB
        await until_empty(running)
        assert (await running.call("shop", "look")).status == 200


async def test_a_change_that_was_made_is_told_without_the_answer_that_has_no_room(tmp_path: Path) -> None:
    async with slow_upstream(tmp_path) as (running, upstream):
        first = await held(running, upstream)
        made = (await running.call("shop", "send")).json()
        assert (made["status"], made["data"]["omitted"]) == (201, True)
        upstream.let_go.set()
        assert (await first).status == 200
        await until_empty(running)


async def test_what_is_unpacked_counts(tmp_path: Path) -> None:
    async with slow_upstream(tmp_path) as (running, upstream):
        first = await held(running, upstream)
        upstream.zipped = True
        assert (await running.call("shop", "look")).status == 503
        upstream.let_go.set()
        assert (await first).status == 200
        await until_empty(running)
        answer = await running.call("shop", "look")
        assert answer.status == 200 and len(answer.body) > 6 * MIB
        await until_empty(running)


async def test_an_answer_takes_its_room_until_the_caller_has_it(tmp_path: Path) -> None:
    async with slow_upstream(tmp_path) as (running, upstream):
        upstream.let_go.set()
        where = urlsplit(running.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1024)
        body = json.dumps({"params": {}}).encode()
        writer.write(
            b"POST /v1/shop/look HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (running.org.live.encode(), len(body), body)
        )
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: _is(taken(running) > 5 * MIB))
        assert (await running.call("shop", "look")).json()["error"] == "overloaded"
        while len(await reader.read(MIB)):
            if not taken(running):
                break
        await until_empty(running)
        writer.close()


async def test_a_kept_answer_needs_room_as_well(tmp_path: Path) -> None:
    async with slow_upstream(tmp_path) as (running, upstream):
        upstream.let_go.set()
        run_id = (await running.call("shop", "look", **{"async": True})).json()["run_id"]
        assert (await running.ask("GET", f"/v1/runs/{run_id}?wait=20")).json()["status"] == "completed"
        await until_empty(running)
        upstream.let_go.clear()
        first = await held(running, upstream)
        refused = await running.ask("GET", f"/v1/runs/{run_id}")
        assert (refused.status, refused.json()["error"]) == (503, "overloaded")
        upstream.let_go.set()
        await first
        await until_empty(running)
        assert len((await running.ask("GET", f"/v1/runs/{run_id}")).body) > 6 * MIB


async def until_empty(running: RunningGateway) -> None:
    await until(lambda: _is(taken(running) == 0))


async def _is(truth: bool) -> bool:
    return truth


def test_what_is_held_inside_is_handed_on_to_what_is_around_it_while_that_lasts() -> None:
    room = Room(100)
    with Holding():
        with Holding():
            assert room.part("a").take(30)
        assert not room.part("a").take(30)
        assert room.part("b").take(30)
    assert room._taken == 0
    with Holding():
        late = room.part("a")
    # Nobody would give it back.
    assert late.take(99) and room._taken == 0


def test_an_org_may_have_half_and_a_half_must_hold_the_largest_answer() -> None:
    with pytest.raises(BadSetting, match="SKILLWAY_ANSWER_ROOM must be at least twice SKILLWAY_RESPONSE_LIMIT"):
        check_together(Settings(answer_room=100 * MIB), Installation())
