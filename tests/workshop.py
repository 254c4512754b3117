"""An upstream and a definition of the tests' own for calls that take long, fail, answer much or must not happen twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.demo import write_definitions
from tests.harness import RunningGateway, gateway, gateway_process

JOB = {"action": "get_job", "id": "job", "param": "id", "status": "state", "done": ["done"], "failed": ["broken"]}


class Workshop:
    """Counts what was done, and is as slow or as broken as a test says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.takes = 0.0
        #: Statuses to answer with, one a request; then 200.
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        #: What each action answers, where that is not an echo.
        self.answers: dict[str, Any] = {}
        #: Answers of a job, the last one for ever.
        self.job: list[dict[str, Any]] = [{"state": "done", "percent": 100, "result": {"made": True}}]
        self.gate: asyncio.Event | None = None
        self.arrived = asyncio.Event()

    def count(self, path: str) -> int:
        return sum(one == path for one, _, _ in self.seen)

    async def wait_for(self, path: str, count: int = 1) -> None:
        async with asyncio.timeout(20):
            while self.count(path) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else dict(request.query)
        path = request.path
        self.seen.append((path, body, dict(request.headers)))
        self.arrived.set()
        number = self.count(path)
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(self.takes)
        status = self.statuses.pop(0) if self.statuses else 200
        if status < 0:
            # Gone without a word, after it was heard.
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if path.startswith("/jobs/"):
            told: Any = self.job.pop(0) if len(self.job) > 1 else self.job[0]
        else:
            told = self.answers.get(path, {"number": number, "echo": body})
        text = told if isinstance(told, bytes) else json.dumps(told).encode()
        return web.Response(body=text, status=status, headers={"Content-Type": "application/json", **self.headers})


def definition(base_url: str, **changes: Any) -> dict[str, Any]:
    """Actions of every effect; `shop` is its slug."""

    def action(request: str, **more: Any) -> dict[str, Any]:
        return {
            "description": "Do it.",
            "request": request,
            "params": {"note": {"type": "string", "description": "Comes back."}},
            "examples": [{"params": {"note": "x"}, "response": {"status": 200, "data": {"number": 1}}}],
            **more,
        }

    return {
        "slug": "shop",
        "name": "Shop",
        "description": "Makes things.",
        "base_url": base_url,
        "auth": [{"name": "open", "type": "none", "title": "Open"}, {"name": "key", "type": "bearer", "title": "Key"}],
        "actions": {
            "look": action("GET /look", brief="{n: number}"),
            "find": action("POST /find", effect="read", cache={"ttl": "60s"}, resource="thing"),
            "send": action("POST /send", effect="send"),
            "put": action("PUT /put", effect="update", resource="thing"),
            "remove": action("DELETE /remove", effect="delete"),
            "slow": action("POST /slow", effect="create", timeout="20s"),
            "slow_put": action("PUT /slow_put", effect="update", timeout="20s"),
            "keyed": action("POST /keyed", effect="create", idempotency={"header": "X-Request-Key"}),
            "start": action(
                "POST /start", effect="create", poll={**JOB, "every": "1s", "progress": "percent", "result": "result"}
            ),
            "get_job": {
                "description": "Tell how far a job is.",
                "request": "GET /jobs/{id}",
                "params": {"id": {"type": "string", "required": True, "description": "Which."}},
                "examples": [{"params": {"id": "j1"}, "response": {"status": 200, "data": {"state": "done"}}}],
            },
        },
        **changes,
    }


@asynccontextmanager
async def workshop(
    folder: Path, *, replicas: int = 0, changes: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Any, Workshop]]:
    """The upstream and a gateway before it; with `replicas` a list of that many processes."""
    upstream = Workshop()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    definitions = write_definitions(folder, definition(f"http://127.0.0.1:{site.port}", **(changes or {})))
    try:
        if not replicas:
            async with gateway(folder, definitions=definitions, **settings) as running:
                yield running, upstream
            return
        async with processes(folder, replicas, definitions=definitions, **settings) as started:
            yield started, upstream
    finally:
        await runner.cleanup()


@asynccontextmanager
async def processes(folder: Path, count: int, **options: Any) -> AsyncIterator[list[RunningGateway]]:
    """So many gateways on one database, with keys of one org."""
    if count == 0:
        yield []
        return
    async with gateway_process(folder, **options) as first:
        async with processes(folder, count - 1, **{**options, "org": first.org}) as others:
            yield [first, *others]


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What an asynchronous look gives once it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110 - nobody can tell us
            await asyncio.sleep(0.02)
    return found
