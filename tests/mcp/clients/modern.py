"""The official client of 2026-07-28, and of the handshake by choice: finds, connects, calls. Prints what it met as JSON."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

CALL = {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}}


def transport(url, key):
    return streamable_http_client(url, http_client=httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}))


async def visit(client):
    met = {"version": client.protocol_version}
    met["tools"] = [tool.name for tool in (await client.list_tools()).tools]
    found = await client.call_tool("search_skills", {"query": "get a repository", "integration": "github"})
    met["found"] = found.structured_content["skills"][0]["action"]
    met["status"] = (await client.call_tool("call_skill", CALL)).structured_content["status"]
    missing = await client.call_tool("call_skill", {**CALL, "user": "nobody"}) if met["version"] >= "2026" else None
    met["missing"] = missing and missing.structured_content["error"]
    return met


async def main(url, key, command, token):
    met = {}
    for mode in ("auto", "legacy"):
        async with Client(transport(url, key), mode=mode) as client:
            met[mode] = await visit(client)
    opened = []

    async def opens_pages(context, params):
        """The person opens the page; here they connect by a token of theirs."""
        opened.append([params.mode, params.url.split("?")[0]])
        body = {"integration": "github", "user": "page", "credentials": {"token": token}}
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient() as browser:
            await browser.post(url.removesuffix("/mcp") + "/v1/connect", json=body, headers=headers)
        return ElicitResult(action="accept")

    told = []

    async def progress(done, total, message):
        told.append(message)

    async with Client(transport(url, key), elicitation_callback=opens_pages) as client:
        result = await client.call_tool("call_skill", {**CALL, "user": "page"})
        met["connected"] = [opened, result.structured_content["status"]]
        slow = {"integration": "slow", "action": "ask", "params": {}}
        result = await client.call_tool("call_skill", slow, progress_callback=progress)
        met["progress"] = [len(told) > 0, result.structured_content["status"]]
    words = command.split()
    environment = {"SKILLWAY_URL": url.removesuffix("/mcp"), "SKILLWAY_API_KEY": key}
    server = StdioServerParameters(command=words[0], args=words[1:], env=environment)
    async with Client(stdio_client(server)) as client:
        met["stdio"] = await visit(client)
    print(json.dumps(met))


asyncio.run(main(*sys.argv[1:]))
