"""LangChain and LlamaIndex with their MCP adapters and models that follow a plan. Prints what each met as JSON."""

import asyncio
import json
import sys

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from plan import Plan


class Planned(BaseChatModel):
    plan: object
    tools: list[str] = []

    @property
    def _llm_type(self):
        return "planned"

    def bind_tools(self, tools, **more):
        return self.model_copy(update={"tools": [tool.name for tool in tools]})

    def _generate(self, messages, stop=None, run_manager=None, **more):
        answers = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        step = self.plan.next(self.tools, answers)
        calls = [{"name": step[0], "args": step[1], "id": f"call_{len(answers)}"}] if step else []
        message = AIMessage(content="" if step else "done", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


async def with_langchain(url, key, plan):
    place = {"transport": "streamable_http", "url": url, "headers": {"Authorization": f"Bearer {key}"}}
    tools = await MultiServerMCPClient({"skillway": place}).get_tools()
    for tool in tools:
        # What a tool says no to is for the model to read.
        tool.handle_tool_error = True
    agent = create_agent(Planned(plan=plan), tools)
    said = await agent.ainvoke({"messages": [("user", "Look the repository up.")]})
    return said["messages"][-1].content


async def with_llama_index(url, key, plan):
    """The adapter alone: its tools are called as an agent would, whose model LlamaIndex has no fake of that calls tools."""
    spec = McpToolSpec(client=BasicMCPClient(url, headers={"Authorization": f"Bearer {key}"}))
    tools = {tool.metadata.name: tool for tool in await spec.to_tool_list_async()}
    answers = []
    while step := plan.next(list(tools), answers):
        answers.append(str((await tools[step[0]].acall(**step[1])).content))
    return "done"


async def main(url, key, token):
    met = {}
    for name, visit in (("langchain", with_langchain), ("llama-index", with_llama_index)):
        plan = Plan(url, key, token, f"of-{name}")
        met[name] = {"output": await visit(url, key, plan), **plan.met}
    print(json.dumps(met))


asyncio.run(main(*sys.argv[1:]))
