"""The one route of MCP. It is not a route of the REST API: its bodies are JSON-RPC, described by MCP."""

from __future__ import annotations

from aiohttp import web

from gateway.mcp.endpoint import serve


def routes() -> list[web.RouteDef]:
    """`POST` alone: there is no stream to open with GET and no session to end with DELETE, so both are 405."""
    return [web.post("/mcp", serve)]
