"""The official MCP client, without a model: finds an action, reads what it takes, calls it.

Needs `pip install mcp`; SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account
anywhere.
"""

import asyncio
import os

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    async with Client(streamable_http_client(URL, http_client=httpx2.AsyncClient(headers=HEADERS))) as skillway:
        found = await skillway.call_tool("search_skills", {"query": "create issue", "integration": "github"})
        skill = found.structured_content["skills"][0]
        named = {"integration": skill["integration"], "action": skill["action"]}
        described = await skillway.call_tool("describe_skill", named)
        print(described.structured_content["parameters"]["required"])
        params = {"repo": "acme/webapp", "title": "The login page is slow"}
        result = await skillway.call_tool("call_skill", {**named, "params": params})
        if result.is_error:  # refused, by the gateway or by GitHub; the text says what to do next
            raise SystemExit(result.content[0].text)
        print(result.structured_content["data"]["html_url"])


asyncio.run(main())
