"""An agent with the OpenAI SDK: the gateway's tools in a loop around one model.

Needs `pip install openai mcp`; OPENAI_API_KEY and MODEL (OPENAI_BASE_URL for another endpoint that speaks the same);
SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
"""

import asyncio
import json
import os

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from openai import AsyncOpenAI

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    model, items = AsyncOpenAI().responses, [{"role": "user", "content": TASK}]
    async with Client(streamable_http_client(URL, http_client=httpx2.AsyncClient(headers=HEADERS))) as skillway:
        listed = (await skillway.list_tools()).tools
        about = [{"name": one.name, "description": one.description, "parameters": one.input_schema} for one in listed]
        tools = [{"type": "function", "strict": False, **one} for one in about]
        while True:
            said = await model.create(model=os.environ["MODEL"], input=items, tools=tools)
            calls = [item for item in said.output if item.type == "function_call"]
            items += said.output
            for call in calls:
                result = await skillway.call_tool(call.name, json.loads(call.arguments))
                text = "\n".join(part.text for part in result.content)
                items.append({"type": "function_call_output", "call_id": call.call_id, "output": text})
            if not calls:
                break
    print(said.output_text)


asyncio.run(main())
