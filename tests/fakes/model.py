"""A model on loopback that speaks as OpenAI, Anthropic and Google do, and goes by a plan instead of thinking.

Each request of a conversation gets the next tool call of the plan; after the last one comes a sentence that ends with
the address of the issue that was opened, if the tools' answers in the conversation have it. A tool that was not
offered is not called: the request is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from tests.fakes.upstream import Answer, Asked, Upstream, json_answer, route

#: What is to be done: tools with their arguments, in this order.
Plan = Sequence[tuple[str, dict[str, Any]]]
_ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/issues/\d+")
_NO_TOKENS = {"input_tokens": 1, "output_tokens": 1}


class Model(Upstream):
    """One plan for every conversation; a conversation is told by the tool calls that it holds already."""

    key: ClassVar[str] = "model-key"

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    @route("POST", "/v1/chat/completions")
    def openai_chat(self, asked: Asked) -> Answer:
        given = self._given(asked, asked.seen.bearer())
        done = [one["content"] for one in given["messages"] if one["role"] == "tool"]
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in given["tools"]}
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if call := self._next(len(done), offered):
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            message["tool_calls"] = [{"id": f"call_{len(done)}", "type": "function", "function": function}]
        else:
            message["content"] = self._last_words(done)
        reason = "tool_calls" if call else "stop"
        choice = {"index": 0, "finish_reason": reason, "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": given["model"]}
        return json_answer({**head, "choices": [choice], "usage": usage})

    @route("POST", "/v1/responses")
    def openai_responses(self, asked: Asked) -> Answer:
        given = self._given(asked, asked.seen.bearer())
        items = given["input"] if isinstance(given["input"], list) else []
        done = [one["output"] for one in items if one.get("type") == "function_call_output"]
        offered = {tool["name"]: tool["parameters"] for tool in given["tools"]}
        output: dict[str, Any]
        if call := self._next(len(done), offered):
            output = {"type": "function_call", "id": f"fc_{len(done)}", "call_id": f"call_{len(done)}", "status": "completed"}
            output |= {"name": call[0], "arguments": json.dumps(call[1])}
        else:
            words = {"type": "output_text", "text": self._last_words(done), "annotations": []}
            output = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [words]}
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": given["model"], "status": "completed"}
        choices = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        usage = {**_NO_TOKENS, "total_tokens": 2, **details}
        return json_answer({**head, **choices, "output": [output], "usage": usage})

    @route("POST", "/v1/messages")
    def anthropic(self, asked: Asked) -> Answer:
        given = self._given(asked, asked.seen.header("X-Api-Key") or asked.seen.bearer())
        blocks = [block for one in given["messages"] if isinstance(one["content"], list) for block in one["content"]]
        done = [block["content"] for block in blocks if block["type"] == "tool_result"]
        offered = {tool["name"]: tool["input_schema"] for tool in given["tools"]}
        if call := self._next(len(done), offered):
            content = {"type": "tool_use", "id": f"toolu_{len(done)}", "name": call[0], "input": call[1]}
        else:
            content = {"type": "text", "text": self._last_words(done)}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": given["model"], "stop_sequence": None}
        reason = "tool_use" if call else "end_turn"
        return json_answer({**head, "content": [content], "stop_reason": reason, "usage": _NO_TOKENS})

    @route("POST", "/v1/models/{model}")
    def google(self, asked: Asked) -> Answer:
        given = self._given(asked, asked.seen.header("X-Goog-Api-Key"))
        parts = [part for one in given["contents"] for part in one["parts"]]
        done = [part["functionResponse"] for part in parts if "functionResponse" in part]
        declared = [one for tool in given["tools"] for one in tool["functionDeclarations"]]
        offered = {one["name"]: one.get("parametersJsonSchema") or one["parameters_json_schema"] for one in declared}
        if call := self._next(len(done), offered):
            part: dict[str, Any] = {"functionCall": {"name": call[0], "args": call[1]}}
        else:
            part = {"text": self._last_words(done)}
        content = {"role": "model", "parts": [part]}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        return json_answer({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage})

    def _given(self, asked: Asked, key: str | None) -> dict[str, Any]:
        if key != self.key:
            raise self.refuse(401, "Another key is expected.")
        given = self.read_object(asked)
        if given.get("stream"):
            raise self.refuse(400, "This model answers in one piece.")
        return given

    def _next(self, done: int, offered: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if done >= len(self.plan):
            return None
        name, arguments = self.plan[done]
        if name not in offered:
            raise self.refuse(400, f"{name} was not offered, but {', '.join(offered)}.")
        # Its case is Google's matter; that the params came along is what counts.
        if not set(arguments) <= set(offered[name].get("properties", {})):
            raise self.refuse(400, f"{name} takes {', '.join(offered[name].get('properties', {}))}.")
        return name, arguments

    def _last_words(self, done: Sequence[Any]) -> str:
        address = _ADDRESS.search(json.dumps(done))
        return f"It is opened: {address[0]}" if address else "Nothing was opened."
