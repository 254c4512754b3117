"""An agent with LangChain, on LangGraph underneath, by LangChain's adapters for MCP.

Needs `pip install langchain langchain-openai langchain-mcp-adapters`; OPENAI_API_KEY and MODEL (OPENAI_BASE_URL for another
endpoint that speaks the same); SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no
account anywhere.
"""

import asyncio
import os

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_openai import ChatOpenAI

TASK = "Open an issue in acme/webapp: the login page is slow. Answer with its address."
URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700") + "/mcp"
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}"}


async def main() -> None:
    client = MultiServerMCPClient({"skillway": {"transport": "streamable_http", "url": URL, "headers": HEADERS}})
    agent = create_agent(ChatOpenAI(model=os.environ["MODEL"]), await client.get_tools())
    state = await agent.ainvoke({"messages": [{"role": "user", "content": TASK}]})
    print(state["messages"][-1].text)


asyncio.run(main())
