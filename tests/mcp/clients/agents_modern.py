"""pydantic-ai and openai-agents with models that follow a plan. Prints what each met as JSON."""

import asyncio
import json
import sys

from agents import Agent as OpenAIAgent
from agents import ModelResponse as OpenAIResponse
from agents import Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStreamableHttp
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from plan import Plan
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel


async def with_pydantic_ai(url, key, plan):
    def model(messages, info):
        parts = [part for message in messages for part in message.parts]
        answers = [str(part.content) for part in parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
        step = plan.next([tool.name for tool in info.function_tools], answers)
        return ModelResponse(parts=[ToolCallPart(*step) if step else TextPart("done")])

    toolset = MCPToolset(url, headers={"Authorization": f"Bearer {key}"})
    return (await Agent(FunctionModel(model), toolsets=[toolset]).run("Look the repository up.")).output


class Planned(Model):
    def __init__(self, plan):
        self.plan = plan

    async def get_response(self, system_instructions, input, model_settings, tools, *more, **other):
        items = input if isinstance(input, list) else []
        answers = [str(item["output"]) for item in items if item.get("type") == "function_call_output"]
        step = self.plan.next([tool.name for tool in tools], answers)
        if step is None:
            text = ResponseOutputText(text="done", type="output_text", annotations=[])
            output = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        else:
            output = ResponseFunctionToolCall(
                call_id=f"call_{len(answers)}", name=step[0], arguments=json.dumps(step[1]), type="function_call"
            )
        return OpenAIResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *more, **other):
        raise NotImplementedError("nobody streams here")


async def with_openai_agents(url, key, plan):
    set_tracing_disabled(True)
    params = {"url": url, "headers": {"Authorization": f"Bearer {key}"}}
    async with MCPServerStreamableHttp(params=params) as server:
        agent = OpenAIAgent(name="agent", model=Planned(plan), mcp_servers=[server])
        return (await Runner.run(agent, "Look the repository up.")).final_output


async def main(url, key, token):
    met = {}
    for name, visit in (("pydantic-ai", with_pydantic_ai), ("openai-agents", with_openai_agents)):
        plan = Plan(url, key, token, f"of-{name}")
        met[name] = {"output": await visit(url, key, plan), **plan.met}
    print(json.dumps(met))


asyncio.run(main(*sys.argv[1:]))
