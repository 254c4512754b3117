"""Tool calls as the models of each vendor make them, and results as each vendor takes them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.errors import bad_param
from gateway.core.strict_json import NotStrictJson, parse
from gateway.web.bodies import bad_field
from gateway.web.operations import Field
from gateway.web.tool_answers import ToolAnswer
from skills_catalog.exporting.tool_arguments import as_taken
from skills_catalog.exporting.tool_shapes import Format
from skills_catalog.model import Skill

Json = dict[str, Any]
_ID = {"type": "string", "minLength": 1, "maxLength": 256}
_NAME = {"type": "string", "minLength": 1, "maxLength": 256}
#: Text with JSON in it; servers that speak OpenAI's protocol also send the object itself.
_ARGUMENTS = {"type": ["string", "object"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorCall:
    """What a model asked for, and how it is answered."""

    name: str
    #: An object, or JSON text of one.
    arguments: Any
    answer: Callable[[ToolAnswer], Json]
    #: `_meta` of an MCP request.
    meta: Mapping[str, Any] = field(default_factory=dict)
    drops_nulls: bool = False
    makes_whole: bool = False

    def params(self, skill: Skill) -> Mapping[str, Any]:
        """The arguments as the action takes them. Raises `bad_request` where they are no object."""
        given = self.arguments
        if isinstance(given, str):
            try:
                # Some models say nothing at all where there is nothing to say.
                given = parse(given.encode()) if given.strip() else {}
            except (NotStrictJson, UnicodeEncodeError) as error:
                said = str(error).replace("the body", "the text")
                raise bad_param("", "format", f"The arguments are not the JSON of an object: {said}.") from None
        if not isinstance(given, dict):
            raise bad_param("", "type", "The arguments must be a JSON object.")
        if self.drops_nulls or self.makes_whole:
            return as_taken(skill, given, drops_nulls=self.drops_nulls, makes_whole=self.makes_whole)
        return given


def read_call(format: Format, call: Mapping[str, Any]) -> VendorCall:
    """The tool call of a body's `call`. Raises `bad_request` that names what is not as the vendor says it."""
    return _READERS[format](call)


def _openai(call: Mapping[str, Any]) -> VendorCall:
    if call.get("type") == "function_call":
        _check(_RESPONSES, call)
        said, answer = call, _function_call_output(call["call_id"])
    else:
        _check(_CHAT, call)
        said, answer = call["function"], _tool_message(call["id"])
    return VendorCall(name=said["name"], arguments=said["arguments"], answer=answer, drops_nulls=True)


def _anthropic(call: Mapping[str, Any]) -> VendorCall:
    _check(_ANTHROPIC, call)
    return VendorCall(name=call["name"], arguments=call["input"], answer=_tool_result(call["id"]))


def _gemini(call: Mapping[str, Any]) -> VendorCall:
    # A part of the model's content, as JSON or as the Python SDK spells it; or what stands in it.
    wrapped = next((name for name in ("functionCall", "function_call") if name in call), None)
    _check(_GEMINI if wrapped is None else _GEMINI_PARTS[wrapped], call)
    said = call if wrapped is None else call[wrapped]
    return VendorCall(
        name=said["name"],
        arguments=said.get("args") or {},
        answer=_function_response(said["name"], said.get("id")),
        makes_whole=True,
    )


def _mcp(call: Mapping[str, Any]) -> VendorCall:
    _check(_MCP, call)
    return VendorCall(
        name=call["name"],
        arguments=call.get("arguments", {}),
        answer=ToolAnswer.as_mcp,
        meta=call.get("_meta", {}),
    )


_READERS: Mapping[Format, Callable[[Mapping[str, Any]], VendorCall]] = {
    "openai": _openai,
    "openai-strict": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "mcp": _mcp,
}


# ---------------------------------------------------------------------- results


def _tool_message(id: str) -> Callable[[ToolAnswer], Json]:
    return lambda answer: {"role": "tool", "tool_call_id": id, "content": answer.shown}


def _function_call_output(id: str) -> Callable[[ToolAnswer], Json]:
    return lambda answer: {"type": "function_call_output", "call_id": id, "output": answer.shown}


def _tool_result(id: str) -> Callable[[ToolAnswer], Json]:
    def written(answer: ToolAnswer) -> Json:
        content = [{"type": "text", "text": answer.shown}]
        return {"type": "tool_result", "tool_use_id": id, "content": content, "is_error": answer.is_error}

    return written


def _function_response(name: str, id: str | None) -> Callable[[ToolAnswer], Json]:
    def written(answer: ToolAnswer) -> Json:
        response = {"error" if answer.is_error else "output": orjson.Fragment(answer.structured)}
        said = {"name": name, "response": response}
        return {"functionResponse": said if id is None else {"id": id, **said}}

    return written


# ---------------------------------------------------------------------- what calls look like


def _shape(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> Field:
    schema = {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}
    return Field(name="call", about="", schema=schema)


_CHAT = _shape(
    {
        "id": _ID,
        "function": {
            "type": "object",
            "properties": {"name": _NAME, "arguments": _ARGUMENTS},
            "required": ["name", "arguments"],
        },
    },
    {"type": {"const": "function"}},
)
_RESPONSES = _shape({"call_id": _ID, "name": _NAME, "arguments": _ARGUMENTS})
_ANTHROPIC = _shape({"id": _ID, "name": _NAME, "input": {"type": "object"}}, {"type": {"const": "tool_use"}})
_GEMINI_CALL: Mapping[str, Any] = {
    "type": "object",
    "properties": {"name": _NAME, "args": {"type": ["object", "null"]}, "id": {**_ID, "type": ["string", "null"]}},
    "required": ["name"],
}
_GEMINI = Field(name="call", about="", schema=_GEMINI_CALL)
_GEMINI_PARTS = {name: _shape({name: _GEMINI_CALL}) for name in ("functionCall", "function_call")}
_MCP = _shape({"name": _NAME}, {"arguments": {"type": "object"}, "_meta": {"type": "object"}})


def _check(shape: Field, call: Mapping[str, Any]) -> None:
    try:
        if shape.takes(call):
            return
        path, keyword, must = shape.problem(call)
    except ValueError:
        path, keyword, must = "call", "format", "must be valid Unicode"
    raise bad_field(path, keyword, f"The field {path!r} {must}.")
