"""An agent with Pydantic AI, which speaks MCP itself.

Needs `pip install "pydantic-ai-slim[mcp,openai]"`; a MODEL such as `openai:gpt-5` or `anthropic:claude-sonnet-4-5` with
its provider's key; SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
"""

import asyncio
import os

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    agent = Agent(os.environ["MODEL"], toolsets=[MCPToolset(URL, headers=HEADERS)])
    print((await agent.run(TASK)).output)


asyncio.run(main())
