"""An agent with Google's Gen AI SDK: the gateway's tools in a loop around one model.

Needs `pip install google-genai mcp`; GEMINI_API_KEY and MODEL (GOOGLE_GEMINI_BASE_URL for another endpoint that speaks
the same); SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
"""

import asyncio
import os

import httpx2
from google import genai
from google.genai import types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    model, contents = genai.Client().aio.models, [types.UserContent(TASK)]
    async with Client(streamable_http_client(URL, http_client=httpx2.AsyncClient(headers=HEADERS))) as skillway:
        # By hand: given the session itself, the SDK (3.6) fails on schemas with `additionalProperties: false`.
        declarations = [
            {"name": tool.name, "description": tool.description, "parameters_json_schema": tool.input_schema}
            for tool in (await skillway.list_tools()).tools
        ]
        config = {"tools": [{"function_declarations": declarations}]}
        while True:
            said = await model.generate_content(model=os.environ["MODEL"], contents=contents, config=config)
            if not said.function_calls:
                break
            contents.append(said.candidates[0].content)
            results = [(call.name, await skillway.call_tool(call.name, call.args)) for call in said.function_calls]
            contents.append(types.UserContent([
                types.Part.from_function_response(name=name, response=result.structured_content) for name, result in results
            ]))
    print(said.text)


asyncio.run(main())
