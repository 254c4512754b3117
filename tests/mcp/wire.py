"""MCP spoken by hand: every byte of a request is the test's own choice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.harness import Answer, RunningGateway

MODERN = "2026-07-28"
_META = "io.modelcontextprotocol/"
BOTH = "application/json, text/event-stream"
URL_CLIENT: Mapping[str, Any] = {"elicitation": {"url": {}}}
TASK_CLIENT: Mapping[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
_NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


async def send(
    running: RunningGateway,
    body: Any,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "/mcp",
) -> Answer:
    """One body, of whatever kind."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await running.ask("POST", path, key=key, raw=raw, headers={"Accept": BOTH, **(headers or {})})


def modern_body(
    method: str, params: Mapping[str, Any] | None = None, *, id: Any = 1, client: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    given = dict(params or {})
    meta = {f"{_META}protocolVersion": MODERN, f"{_META}clientCapabilities": dict(client or {})}
    return {
        "jsonrpc": "2.0",
        "id": id,
        "method": method,
        "params": {**given, "_meta": {**meta, **given.get("_meta", {})}},
    }


def modern_headers(body: Mapping[str, Any]) -> dict[str, str]:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": body["method"]}
    if (param := _NAMED.get(body["method"])) is not None and param in body["params"]:
        headers["Mcp-Name"] = body["params"][param]
    return headers


async def modern(
    running: RunningGateway,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    client: Mapping[str, Any] | None = None,
    path: str = "/mcp",
) -> Answer:
    """A request of 2026-07-28."""
    body = modern_body(method, params, client=client)
    return await send(running, body, key=key, headers=modern_headers(body), path=path)


async def older(
    running: RunningGateway,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    version: str = "2025-11-25",
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "/mcp",
) -> Answer:
    """A request of the time of the handshake."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params or {})}
    said = {} if method == "initialize" else {"MCP-Protocol-Version": version}
    return await send(running, body, key=key, headers={**said, **(headers or {})}, path=path)


async def tool(running: RunningGateway, name: str, arguments: Any = None, *, meta: Any = None, **more: Any) -> Any:
    """The result of a tool."""
    params = {"name": name, "arguments": arguments or {}, **({"_meta": meta} if meta else {})}
    answer = await modern(running, "tools/call", params, **more)
    assert answer.status == 200, answer.body
    return answer.json()["result"]
