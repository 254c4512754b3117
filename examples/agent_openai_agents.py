"""An agent with the OpenAI Agents SDK, which speaks MCP itself.

Needs `pip install openai-agents`; OPENAI_API_KEY and MODEL (OPENAI_BASE_URL for another endpoint that speaks the same);
SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
"""

import asyncio
import os

from agents import Agent, Runner
from agents.mcp import MCPServerStreamableHttp

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    async with MCPServerStreamableHttp(params={"url": URL, "headers": HEADERS}, cache_tools_list=True) as skillway:
        agent = Agent(
            name="Helper",
            instructions="Find actions by search_skills, then use them by call_skill.",
            model=os.environ["MODEL"],
            mcp_servers=[skillway],
        )
        print((await Runner.run(agent, TASK)).final_output)


asyncio.run(main())
