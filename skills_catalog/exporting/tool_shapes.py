"""An action as a tool, in the form in which each vendor of models takes tools."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from skills_catalog.exporting.gemini_schemas import gemini_schema
from skills_catalog.exporting.schema_forms import Unsayable
from skills_catalog.exporting.strict_schemas import NotStrict, strict_schema
from skills_catalog.model import Integration, Skill

Format = Literal["openai", "openai-strict", "anthropic", "gemini", "mcp"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: Characters of a description that OpenAI takes.
LONGEST_DESCRIPTION = 1024
_DIGEST = 16
_NULLS = "Give null for whatever you leave out."


def tool_of(integration: Integration, skill: Skill, name: str, format: Format) -> dict[str, Any]:
    """The tool as one item of the vendor's list of tools: for OpenAI as the Chat Completions API has it."""
    return _SHAPES[format](integration, skill, name)


def why_not_strict(skill: Skill) -> str | None:
    """The reason why the action is not strict in `openai-strict`; None where it is."""
    strict = _strict(skill)
    return strict if isinstance(strict, str) else None


def digest_of(skill: Skill) -> str:
    """Changes with whatever a model is told of the tool: a client that noted it is not fooled later."""
    said = [skill.id, skill.description, skill.input_schema, *filter(None, [skill.output])]
    told = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()[:_DIGEST]


def _openai(integration: Integration, skill: Skill, name: str) -> dict[str, Any]:
    return _function(name, described(integration, skill), skill.input_schema, is_strict=False)


def _openai_strict(integration: Integration, skill: Skill, name: str) -> dict[str, Any]:
    strict = _strict(skill)
    if isinstance(strict, str):
        return _openai(integration, skill, name)
    told = described(integration, skill)
    if len(skill.input_schema.get("required", ())) < len(strict["properties"]):
        told = f"{_cut(told, LONGEST_DESCRIPTION - len(_NULLS) - 1)} {_NULLS}"
    return _function(name, told, strict, is_strict=True)


def _function(name: str, told: str, parameters: Mapping[str, Any], *, is_strict: bool) -> dict[str, Any]:
    told = _cut(told, LONGEST_DESCRIPTION)
    said = {"name": name, "description": told, "parameters": parameters, "strict": is_strict}
    return {"type": "function", "function": said}


def _anthropic(integration: Integration, skill: Skill, name: str) -> dict[str, Any]:
    return {"name": name, "description": described(integration, skill), "input_schema": skill.input_schema}


def _gemini(integration: Integration, skill: Skill, name: str) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": name, "description": described(integration, skill)}
    try:
        parameters = gemini_schema(skill)
    except Unsayable:
        # What OpenAPI cannot say: the newer member takes JSON Schema as it is.
        return {**tool, "parametersJsonSchema": skill.input_schema}
    return tool if parameters is None else {**tool, "parameters": parameters}


def _mcp(integration: Integration, skill: Skill, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": f"{integration.name}: {skill.title}",
        "description": described(integration, skill),
        "inputSchema": skill.input_schema,
        **({"outputSchema": _envelope(skill.output)} if skill.output is not None else {}),
        "annotations": _annotations(skill),
        "_meta": {"skillway/action": skill.id, "skillway/effect": skill.effect, "skillway/digest": digest_of(skill)},
    }


def _envelope(output: Mapping[str, Any]) -> dict[str, Any]:
    """What the structured content is. Clients refuse an answer that its schema does not take, and the call is made by then:
    so whatever else `data` may be, because the service changed or a part was asked for, is taken too."""
    own = {name: value for name, value in output.items() if name != "$defs"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "status": {"description": "HTTP status that the service answered with."},
            "data": {"anyOf": [own, {}]},
            "meta": {"type": "object"},
        },
    }
    return {**schema, "$defs": output["$defs"]} if "$defs" in output else schema


_SHAPES: Mapping[Format, Callable[[Integration, Skill, str], dict[str, Any]]] = {
    "openai": _openai,
    "openai-strict": _openai_strict,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "mcp": _mcp,
}


def described(integration: Integration, skill: Skill) -> str:
    """What a model is told that the tool does."""
    told = f"{integration.name}: {skill.description}"
    if skill.deprecated is not None:
        told += f" Deprecated{f'; use {skill.successor}' if skill.successor else ''}."
    return told


def _annotations(skill: Skill) -> dict[str, Any]:
    """What clients warn by. To create or send adds something; to update or delete does away with what was there."""
    if skill.effect == "read":
        return {"readOnlyHint": True, "openWorldHint": True}
    return {
        "readOnlyHint": False,
        "destructiveHint": skill.effect in ("update", "delete"),
        "idempotentHint": skill.idempotent,
        "openWorldHint": True,
    }


def _strict(skill: Skill) -> dict[str, Any] | str:
    """The strict schema, or why there is none; worked out once."""
    if "strict" not in skill.compiled:
        try:
            skill.compiled["strict"] = strict_schema(skill)
        except NotStrict as why:
            skill.compiled["strict"] = str(why)
    found: dict[str, Any] | str = skill.compiled["strict"]
    return found


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
