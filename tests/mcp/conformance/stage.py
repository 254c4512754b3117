"""What the programs of others that test MCP servers are pointed at: a gateway with the suite's fixtures, and a door.

The suite calls fixed names (`test_simple_text`, `test://static-text`), sends no key, and its client answers elicitations
without saying that it opens pages. The door in front of the gateway adds the key, says the gateway's own names, and that
pages are opened too; whatever else is asked and answered goes through as it is.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from multidict import CIMultiDict

from tests.fakes.upstream import Answer, Asked, Upstream, json_answer, route, serve
from tests.harness import RunningGateway, gateway

HERE = Path(__file__).parent
#: What the suite says -> what the gateway says. Tools are named by the same rule: `test_` begins the suite's, `test__` ours.
NAMES: Mapping[str, str] = {
    "test_simple_prompt": "test__simple-prompt",
    "greet": "test__greet",
    "slow_compute": "test__slow_compute",
    "failing_job": "test__failing_job",
    "test://static-text": "skill://skillway-test/SKILL.md",
}
#: One pixel, and one beat of silence.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SILENCE = b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x02\0\0\0\x80\x80"
_HOP = {"content-length", "transfer-encoding", "content-encoding", "connection", "date", "server"}


class Fixtures(Upstream):
    """The API behind the fixtures."""

    @route("GET", "/text")
    def text(self, asked: Asked) -> Answer:
        return Answer(body=b"This is a simple text response for testing.", headers={"Content-Type": "text/plain"})

    @route("GET", "/image")
    def image(self, asked: Asked) -> Answer:
        return Answer(body=PIXEL, headers={"Content-Type": "image/png"})

    @route("GET", "/audio")
    def audio(self, asked: Asked) -> Answer:
        return Answer(body=SILENCE, headers={"Content-Type": "audio/wav"})

    @route("GET", "/error")
    def error(self, asked: Asked) -> Answer:
        return json_answer({"message": "This tool intentionally returns an error for testing"}, status=422)

    @route("GET", "/slow")
    def slow(self, asked: Asked) -> Answer:
        return json_answer({"done": True})

    @route("GET", "/greeting")
    def greeting(self, asked: Asked) -> Answer:
        return json_answer({"greeting": f"Hello, {asked.query('name')}!"})

    @route("POST", "/work")
    def work(self, asked: Asked) -> Answer:
        return json_answer({"done": True})

    @route("POST", "/failure")
    def failure(self, asked: Asked) -> Answer:
        return json_answer({"message": "It came to nothing."}, status=422)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        """What takes as long as the suite's checks want to watch."""
        if request.path == "/slow":
            await asyncio.sleep(0.8)
        elif request.path == "/work":
            # Its seconds are a tenth of one: what it watches is still under way when it looks.
            await asyncio.sleep((await request.json())["seconds"] / 10)
        return await super()._take(request)


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[tuple[RunningGateway, str]]:
    """A gateway that has the fixtures alone, and the address of the door before it."""
    definitions = folder / "definitions"
    definitions.mkdir()
    async with serve(Fixtures()) as fixtures:
        text = (HERE / "test.yaml").read_text().replace("{base_url}", fixtures.base_url)
        (definitions / "test.yaml").write_text(text)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            door = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with gateway(folder, definitions=definitions, public_url=door) as running:
                key = (await running.ask("POST", "/api-keys", body={"name": "suite", "scopes": ["test"]})).json()
                runner = web.AppRunner(_door(running, key["full_key"]), access_log=None, shutdown_timeout=0.1)
                await runner.setup()
                await web.SockSite(runner, listening).start()
                try:
                    yield running, f"{door}/mcp"
                finally:
                    await runner.cleanup()


def _door(running: RunningGateway, key: str) -> web.Application:
    async def pass_on(request: web.Request) -> web.StreamResponse:
        headers = CIMultiDict(request.headers)
        if "Mcp-Name" in headers:
            headers["Mcp-Name"] = _ours(headers["Mcp-Name"])
        headers["X-API-Key"] = key
        body = _asked(await request.read())
        async with running.session.request(
            request.method, f"{running.url}{request.path_qs}", data=body, headers=_end_to_end(headers)
        ) as answer:
            kind = answer.headers.get("Content-Type", "")
            if kind.startswith("application/json"):
                said = _answered(await answer.read())
                return web.Response(status=answer.status, body=said, headers=_end_to_end(answer.headers))
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            return response

    door = web.Application()
    door.router.add_route("*", "/mcp", pass_on)
    return door


def _asked(body: bytes) -> bytes:
    """The request with the gateway's own names; what cannot be read is passed on as it is."""
    try:
        message = json.loads(body)
        params = message["params"]
    except (ValueError, KeyError, TypeError):
        return body
    for member in ("name", "uri"):
        if isinstance(params, dict) and isinstance(params.get(member), str):
            params[member] = _ours(params[member])
    meta = params.get("_meta") if isinstance(params, dict) else None
    client = meta.get("io.modelcontextprotocol/clientCapabilities") if isinstance(meta, dict) else None
    if isinstance(client, dict) and client.get("elicitation") == {}:
        client["elicitation"] = {"form": {}, "url": {}}
    return json.dumps(message).encode()


def _answered(body: bytes) -> bytes:
    """The answer with the suite's names."""
    message = json.loads(body)
    result = message.get("result")
    for name, member in (("tools", "name"), ("prompts", "name"), ("contents", "uri")):
        for item in result.get(name, ()) if isinstance(result, dict) else ():
            item[member] = _theirs(item[member])
    return json.dumps(message).encode()


def _ours(name: str) -> str:
    # Only names: whatever else starts like one goes through, so that the gateway says what it is not.
    return NAMES.get(name) or re.sub(r"^test_(?!_)", "test__", name)


def _theirs(name: str) -> str:
    return next((theirs for theirs, ours in NAMES.items() if ours == name), re.sub(r"^test__", "test_", name))


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP)
