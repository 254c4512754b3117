"""A skill as an OpenAPI operation: its params, its examples, and what it does to the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skills_catalog.model import Json, Skill, Variable

#: What a path may not hold: what walks out of it, and empty segments.
_UPWARDS = {"enum": [".", ".."]}
_EMPTY_SEGMENT = {"pattern": "^/|//|/$"}
#: RFC 4648 §4, with its padding.
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def action_operation(
    skill: Skill,
    *,
    beside: Mapping[str, Json],
    result: Mapping[str, Json],
    headers: Mapping[str, Json],
    others: Mapping[str, Json],
) -> dict[str, Any]:
    """The operation that calls the skill.

    `beside` are the schemas of what a body may hold beside `params`; `result` is the schema of an answer with its
    `headers`, `others` are the other responses by status. The params are named: see `action_schemas`.
    """
    required = ["params"] if skill.input_schema.get("required") else []
    body = {
        "type": "object",
        "properties": {"params": {"$ref": _ref(skill)}, **beside},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
    operation: dict[str, Any] = {
        "operationId": f"{skill.integration}__{skill.name}",
        "summary": skill.title,
        "description": skill.description,
        "tags": [skill.integration],
        "x-effect": skill.effect,
        "x-idempotent": skill.idempotent,
        "x-cost": skill.cost,
    }
    if skill.scopes:
        operation["x-scopes"] = list(skill.scopes)
    if skill.lifecycle:
        operation["x-lifecycle"] = skill.lifecycle
    if skill.deprecated:
        operation["deprecated"] = True
        if skill.deprecated.sunset:
            operation["x-sunset"] = skill.deprecated.sunset.isoformat()
    calls: dict[str, Json] = {}
    answers: dict[str, Json] = {}
    for number, example in enumerate(skill.examples, 1):
        calls[f"example_{number}"] = {"value": {"params": example.params}}
        answers[f"example_{number}"] = {"value": {"status": example.status, "data": example.data}}
    operation["requestBody"] = {
        "required": bool(required),
        "content": {"application/json": {"schema": body, "examples": calls}},
    }
    operation["responses"] = {
        "200": {
            "description": "The upstream answered, whatever it said.",
            "headers": headers,
            "content": {"application/json": {"schema": result, "examples": answers}},
        },
        **others,
    }
    return operation


def action_schemas(skill: Skill) -> dict[str, Json]:
    """The schemas that the operation names, by the names under `components/schemas`."""
    schema = {key: value for key, value in skill.input_schema.items() if key != "$defs"}
    properties = schema.get("properties", {})
    schema["properties"] = {name: _as_sent(skill, name, value) for name, value in properties.items()}
    named = {_name(skill, name): value for name, value in skill.input_schema.get("$defs", {}).items()}
    return {key: _with_refs(skill, value) for key, value in {_name(skill): schema, **named}.items()}


def _as_sent(skill: Skill, name: str, schema: Json) -> Json:
    """The schema of a param with what its place on the wire demands beyond it."""
    location = skill.params[name].location
    if location == "file":
        return _with_base64(schema)
    if location == "path":
        slashes = any(
            isinstance(piece, Variable) and piece.name == name and piece.keep_slash
            for pieces in skill.request.segments
            for piece in pieces
        )
        return _as_path(schema, slashes=slashes)
    return schema


def _as_path(schema: Json, *, slashes: bool) -> Json:
    """The schema with what a path forbids beside what it says itself: generators of clients merge no `allOf` of texts."""
    if schema.get("type") in ("integer", "number", "boolean"):
        return schema
    forbidden: list[Json] = [_UPWARDS, *([_EMPTY_SEGMENT] if slashes else ()), *([schema["not"]] if "not" in schema else ())]
    return {
        **schema,
        "minLength": max(1, schema.get("minLength", 0)),
        "not": forbidden[0] if len(forbidden) == 1 else {"anyOf": forbidden},
    }


def _with_base64(schema: Json) -> Json:
    if isinstance(schema, Mapping):
        written = {key: _with_base64(value) for key, value in schema.items()}
        return {**written, "pattern": _BASE64} if schema.get("contentEncoding") == "base64" else written
    return [_with_base64(item) for item in schema] if isinstance(schema, list) else schema


def _with_refs(skill: Skill, value: Json) -> Json:
    """The schema where every `$ref` leads to where the document has the schemas, and every array has `items`."""
    if isinstance(value, Mapping):
        written = {
            key: _ref(skill, str(member).rpartition("/")[2])
            if key == "$ref" and isinstance(member, str)
            else _with_refs(skill, member)
            for key, member in value.items()
        }
        kinds = value.get("type")
        # Arrays of anything: generators of clients want it said.
        if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
            written.setdefault("items", {})
        return written
    return [_with_refs(skill, item) for item in value] if isinstance(value, list) else value


def _ref(skill: Skill, definition: str | None = None) -> str:
    return f"#/components/schemas/{_name(skill, definition)}"


def _name(skill: Skill, definition: str | None = None) -> str:
    name = f"{skill.integration}__{skill.name}"
    return name if definition is None else f"{name}.{definition}"
