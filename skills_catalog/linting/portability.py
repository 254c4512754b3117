"""Whether every tool calling takes the input of an action: OpenAI, Anthropic, Gemini, MCP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from skills_catalog.model import Integration, Json

Found = Iterator[tuple[Literal["error", "warning", "info"], tuple[str | int, ...], str]]
Step = tuple[tuple[str | int, ...], Mapping[str, Any]]

#: Anthropic refuses other names of properties.
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: OpenAI's strict mode: levels and properties of one schema.
_DEEPEST, _MOST_PROPERTIES = 10, 5000
#: JSON of one input schema that takes much of a model's attention, in bytes.
_LARGE = 16 * 1024
_AT_ROOT = ("anyOf", "oneOf", "allOf", "not", "if", "enum", "const")
#: What Gemini's schemas do not have, and no other words can say.
_LOST_BY_GEMINI = (
    *("not", "if", "patternProperties", "propertyNames", "contains", "dependentRequired", "dependentSchemas"),
    *("unevaluatedProperties", "unevaluatedItems", "prefixItems", "uniqueItems"),
)
_ONE = ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs")


def roots(integration: Integration) -> Found:
    """An input is a plain object: neither OpenAI nor Anthropic takes alternatives there."""
    for skill in integration.skills.values():
        for keyword in _AT_ROOT:
            if keyword in skill.input_schema:
                at = ("actions", skill.name, "input", keyword)
                yield "warning", at, f"OpenAI and Anthropic take no `{keyword}` beside the properties of an input."


def property_names(integration: Integration) -> Found:
    for skill in integration.skills.values():
        for at, schema in _schemas(skill.input_schema):
            for name in schema.get("properties", {}) if isinstance(schema.get("properties"), Mapping) else ():
                if not _PROPERTY.fullmatch(name):
                    place = ("actions", skill.name, "params", *at, "properties", name)
                    yield (
                        "warning",
                        place,
                        "Anthropic takes letters, digits, `_`, `.` and `-` in the names of properties.",
                    )


def gemini(integration: Integration) -> Found:
    """What Gemini does without: it is left out of its tools, so that its models are told less."""
    for skill in integration.skills.values():
        told: set[str] = set()
        for at, schema in _schemas(skill.input_schema):
            place = ("actions", skill.name, "params", *at[:1])
            for message in _without(schema, is_root=not at):
                if message not in told:
                    told.add(message)
                    yield "info", place, f"Not for Gemini as it is: {message}."


def sizes(integration: Integration) -> Found:
    for skill in integration.skills.values():
        at = ("actions", skill.name)
        deepest, properties = _extent(skill.input_schema)
        if deepest > _DEEPEST or properties > _MOST_PROPERTIES:
            yield "info", at, f"Not for OpenAI's strict mode: {deepest} levels, {properties} properties."
        size = len(json.dumps(skill.input_schema, separators=(",", ":")))
        if size > _LARGE:
            yield "info", at, f"The input's schema has {size // 1024} KB; every call to a model carries it."


def _without(schema: Mapping[str, Any], *, is_root: bool) -> Iterator[str]:
    for keyword in _LOST_BY_GEMINI:
        if keyword in schema:
            yield f"`{keyword}` is dropped"
    listed = schema.get("enum", ())
    if any(not isinstance(value, str) and value is not None for value in listed):
        yield "an `enum` of other values than text is dropped"
    types = schema.get("type")
    if isinstance(types, list) and len([kind for kind in types if kind != "null"]) > 1:
        yield "several types at once become alternatives"
    if types == "object" and not schema.get("properties") and not is_root:
        yield "an object without properties becomes text"


def _schemas(schema: Json, at: tuple[str | int, ...] = ()) -> Iterator[Step]:
    """Every schema within an input; properties of the root are params."""
    if not isinstance(schema, Mapping):
        return
    yield at, schema
    for keyword in _ONE:
        if keyword in schema:
            yield from _schemas(schema[keyword], (*at, keyword))
    for keyword in _LISTS:
        for number, inner in enumerate(schema.get(keyword, ())):
            yield from _schemas(inner, (*at, keyword, number))
    for keyword in _MAPS:
        for name, inner in schema.get(keyword, {}).items():
            yield from _schemas(inner, (*at, name) if not at and keyword == "properties" else (*at, keyword, name))


def _extent(root: Mapping[str, Any]) -> tuple[int, int]:
    """Levels and properties of a schema, every name written out; a definition never comes back to itself."""
    definitions: Mapping[str, Json] = root.get("$defs", {})
    known: dict[str, tuple[int, int]] = {}

    def extent(schema: Json) -> tuple[int, int]:
        if not isinstance(schema, Mapping):
            return 0, 0
        deepest, many = 0, len(schema.get("properties", {}))
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name in definitions:
            if name not in known:
                known[name] = extent(definitions[name])
            deepest, many = known[name][0] - 1, many + known[name][1]
        inner = [schema[keyword] for keyword in ("items", "additionalProperties") if keyword in schema]
        inner += schema.get("properties", {}).values()
        for part in inner:
            levels, properties = extent(part)
            deepest, many = max(deepest, levels), many + properties
        for keyword in ("anyOf", "allOf", "oneOf"):
            for part in schema.get(keyword, ()):
                levels, properties = extent(part)
                deepest, many = max(deepest, levels - 1), many + properties
        return deepest + 1, many

    return extent(root)
