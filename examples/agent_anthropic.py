"""An agent with the Anthropic SDK: the gateway's tools in a loop around one model.

Needs `pip install anthropic mcp`; ANTHROPIC_API_KEY and MODEL (ANTHROPIC_BASE_URL for another endpoint that speaks the
same); SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
"""

import asyncio
import os

import httpx2
from anthropic import AsyncAnthropic
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    model, messages = AsyncAnthropic().messages, [{"role": "user", "content": TASK}]
    async with Client(streamable_http_client(URL, http_client=httpx2.AsyncClient(headers=HEADERS))) as skillway:
        listed = (await skillway.list_tools()).tools
        tools = [{"name": one.name, "description": one.description, "input_schema": one.input_schema} for one in listed]
        said = None
        while said is None or said.stop_reason == "tool_use":
            said = await model.create(model=os.environ["MODEL"], max_tokens=1024, messages=messages, tools=tools)
            results = []
            for block in said.content:
                if block.type == "tool_use":
                    result = await skillway.call_tool(block.name, block.input)
                    text = "\n".join(part.text for part in result.content)
                    results.append({"type": "tool_result", "tool_use_id": block.id, "content": text})
            messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]
    print("".join(block.text for block in said.content if block.type == "text"))


asyncio.run(main())
