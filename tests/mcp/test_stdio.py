"""`skillway mcp`: what a client writes on a line goes to the gateway, and what that answers comes back on one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import COMMAND, Shell
from tests.mcp.conftest import Stage
from tests.mcp.wire import modern_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
REPO = {"name": "github__get_repo", "arguments": {"repo": "acme/webapp"}}


def asked(id: Any, method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


async def said(shell: Shell, *messages: Any, words: tuple[str, ...] = ()) -> tuple[list[Any], str]:
    """What comes back for these messages, sorted by id, and what stands on stderr."""
    given = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in messages)
    done = await asyncio.to_thread(shell.run, "mcp", *words, given=given)
    assert done.code == 0, done.err
    answers = [json.loads(line) for line in done.out.splitlines()]
    return sorted(answers, key=lambda answer: str(answer["id"])), done.err


@pytest.fixture
def shell(stage: Stage, tmp_path: Path) -> Shell:
    return Shell.at(tmp_path, url=stage.running.url).with_environment(SKILLWAY_API_KEY=stage.running.org.live)


async def test_a_client_of_today_lists_and_calls(stage: Stage, shell: Shell) -> None:
    stage.github.next(body=b'{\n"id": 9007199254740993\n}', headers={"Content-Type": "application/json"})
    listed, called = (await said(shell, modern_body("tools/list", id=1), modern_body("tools/call", REPO, id=2)))[0]
    assert listed["result"]["tools"][0]["name"] == "search_skills"
    assert called["result"]["structuredContent"]["data"] == {"id": 9007199254740993}


async def test_an_older_client_shakes_hands_first(stage: Stage, shell: Shell) -> None:
    talking = await Talk.begun(shell, "--tools", "direct", "--integration", "github")
    try:
        hello = await talking.ask(asked(1, "initialize", HELLO))
        assert hello["result"]["protocolVersion"] == "2025-11-25"
        await talking.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        tools = (await talking.ask(asked(2, "tools/list")))["result"]["tools"]
        assert {tool["name"].partition("__")[0] for tool in tools} == {"github", "connect_integration", "get_result"}
        # The client said that it opens no pages: so it gets a text, which its handshake alone could tell.
        nobody = {**REPO, "_meta": {"skillway/user": "nobody"}}
        missing = (await talking.ask(asked(3, "tools/call", nobody)))["result"]
        assert missing["structuredContent"]["error"] == "integration_not_connected" and missing["isError"]
    finally:
        assert await talking.end() == 0


async def test_progress_comes_as_it_is_told(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.mcp.endpoint.PROGRESS_AFTER", 0.1)
    stage.slow.next(delay=0.4)
    talking = await Talk.begun(shell)
    try:
        call = modern_body("tools/call", {"name": "slow__ask", "_meta": {"progressToken": "p"}})
        told = await talking.ask(call)
        assert (told["method"], told["params"]["progressToken"]) == ("notifications/progress", "p")
        assert (await talking.read())["result"]["structuredContent"]["status"] == 200
    finally:
        assert await talking.end() == 0


async def test_what_is_refused_comes_back_under_its_id(shell: Shell) -> None:
    wrong = shell.with_environment(SKILLWAY_API_KEY="sk_live_gw_wrong")
    [refused] = (await said(wrong, asked("a", "tools/list")))[0]
    assert (refused["id"], refused["error"]["data"]["error"]) == ("a", "api_key_invalid")
    [broken] = (await said(shell, b"{"))[0]
    assert (broken["id"], broken["error"]["code"]) == (None, -32700)


async def test_a_gateway_that_is_gone_is_an_error_under_the_id(shell: Shell) -> None:
    gone = shell.with_environment(SKILLWAY_URL="http://127.0.0.1:1")
    [answer], told = await said(gone, asked(7, "ping"))
    assert (answer["id"], answer["error"]["code"]) == (7, -32603)
    assert "No gateway can be reached" in told


class Talk:
    """A client that has started `skillway mcp` and waits for each answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout

    @classmethod
    async def begun(cls, shell: Shell, *words: str) -> Talk:
        environment: Mapping[str, str] = shell.environment
        return cls(
            await asyncio.create_subprocess_exec(
                *COMMAND,
                "mcp",
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                limit=2**22,
            )
        )

    async def tell(self, message: Any) -> None:
        self._in.write(json.dumps(message).encode() + b"\n")
        await self._in.drain()

    async def read(self) -> Any:
        return json.loads(await asyncio.wait_for(self._out.readline(), 20))

    async def ask(self, message: Any) -> Any:
        await self.tell(message)
        return await self.read()

    async def end(self) -> int:
        self._in.close()
        return await asyncio.wait_for(self._process.wait(), 20)
