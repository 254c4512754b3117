"""Holds what the gateway makes against the vendors' own packages: reads JSON on stdin, prints what they refuse.

Runs where their packages are, and ours are not.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

from agents.strict_schema import ensure_strict_json_schema
from google.genai import types as gemini
from mcp_types import CallToolResult, Tool
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionToolMessageParam
from openai.types.responses import FunctionToolParam
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import TypeAdapter
from skills_ref.validator import validate


def strict(parameters):
    """Their validator makes a schema strict, or refuses: one that is strict already it leaves as it is."""
    made = ensure_strict_json_schema(copy.deepcopy(parameters), _reject_open_objects=True)
    assert made == parameters, "is not strict as it stands"


TOOLS = {
    "openai": TypeAdapter(ChatCompletionFunctionToolParam).validate_python,
    "openai-strict": TypeAdapter(ChatCompletionFunctionToolParam).validate_python,
    "responses": TypeAdapter(FunctionToolParam).validate_python,
    "gemini": gemini.FunctionDeclaration.model_validate,
    "mcp": Tool.model_validate,
}
RESULTS = {
    "chat": TypeAdapter(ChatCompletionToolMessageParam).validate_python,
    "responses": TypeAdapter(FunctionCallOutput).validate_python,
    "gemini": gemini.Part.model_validate,
    "mcp": CallToolResult.model_validate,
}


def problems_of(given):
    problems = []

    def tried(what, check, value):
        try:
            check(value)
        except Exception as error:  # whatever they say is what we want to know
            problems.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")

    for kind, tools in given["tools"].items():
        for tool in tools:
            tried(f"{kind} {json.dumps(tool)[:80]}", TOOLS[kind], tool)
            function = tool.get("function", {})
            if function.get("strict"):
                tried(f"strict {function['name']}", strict, function["parameters"])
    for kind, results in given["results"].items():
        for result in results:
            tried(f"{kind} {json.dumps(result)[:80]}", RESULTS[kind], result)
    for folder in given["skills"]:
        problems += [f"{folder}: {problem}" for problem in validate(Path(folder))]
    return problems


json.dump([problems_of(given) for given in json.load(sys.stdin)], sys.stdout)
