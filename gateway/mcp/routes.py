"""The routes of MCP. They are none of the REST API: their bodies are JSON-RPC, described by MCP, or OAuth's."""

from __future__ import annotations

from aiohttp import web

from gateway.mcp.endpoint import serve
from gateway.mcp.protected import METADATA, metadata


def routes() -> list[web.RouteDef]:
    """`POST` alone of `/mcp`: there is no stream to open with GET and no session to end with DELETE, so both are 405."""
    return [web.post("/mcp", serve), web.get(METADATA, metadata), web.get(f"{METADATA}/mcp", metadata)]
