"""The official client of the handshake era: finds, is told to connect, and calls. Prints what it met as JSON."""

import asyncio
import json
import sys

from mcp import ClientSession, McpError
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import ElicitResult

CALL = {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}}


async def visit(session):
    met = {"version": (await session.initialize()).protocolVersion}
    met["tools"] = [tool.name for tool in (await session.list_tools()).tools]
    found = await session.call_tool("search_skills", {"query": "get a repository", "integration": "github"})
    met["found"] = found.structuredContent["skills"][0]["action"]
    met["status"] = (await session.call_tool("call_skill", CALL)).structuredContent["status"]
    try:
        missing = await session.call_tool("call_skill", {**CALL, "user": "nobody"})
        met["missing"] = [missing.isError, missing.structuredContent["error"]]
    except McpError as error:
        met["missing"] = [error.error.code, error.error.data["elicitations"][0]["mode"]]
    return met


async def opens_pages(context, params):
    return ElicitResult(action="accept")


async def main(url, key, command):
    met = {}
    for name, callback in (("plain", None), ("pages", opens_pages)):
        async with streamablehttp_client(url, headers={"Authorization": f"Bearer {key}"}) as (read, write, _):
            async with ClientSession(read, write, elicitation_callback=callback) as session:
                met[name] = await visit(session)
    words = command.split()
    environment = {"SKILLWAY_URL": url.removesuffix("/mcp"), "SKILLWAY_API_KEY": key}
    server = StdioServerParameters(command=words[0], args=words[1:], env=environment)
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            met["stdio"] = await visit(session)
    print(json.dumps(met))


asyncio.run(main(*sys.argv[1:]))
