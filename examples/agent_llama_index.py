"""An agent with LlamaIndex, by its tools for MCP.

Needs `pip install llama-index-core llama-index-llms-openai-like llama-index-tools-mcp`; OPENAI_API_KEY, OPENAI_BASE_URL
(https://api.openai.com/v1, or another endpoint that speaks the same) and MODEL; SKILLWAY_API_KEY, and SKILLWAY_URL where
the gateway is elsewhere. A test key needs no account anywhere.
"""

import asyncio
import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    tools = await McpToolSpec(BasicMCPClient(URL, headers=HEADERS)).to_tool_list_async()
    model = OpenAILike(
        model=os.environ["MODEL"],
        api_base=os.environ["OPENAI_BASE_URL"],
        api_key=os.environ["OPENAI_API_KEY"],
        is_chat_model=True,
        is_function_calling_model=True,
    )
    print(await FunctionAgent(tools=tools, llm=model, streaming=False).run(TASK))


asyncio.run(main())
