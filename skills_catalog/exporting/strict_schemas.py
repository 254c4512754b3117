"""Input schemas for OpenAI's strict mode, in which the model can say nothing but what fits.

There every object is closed and every member required. What may be left out is null instead, which `tool_arguments`
takes away again. Where that would change what an action can be told, it is not strict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills_catalog.exporting.schema_forms import Definitions, Unsayable, can_say, definitions_of, forms, in_words
from skills_catalog.model import Json, Skill

#: The limits of https://platform.openai.com/docs/guides/structured-outputs.
DEEPEST, MOST_PROPERTIES, MOST_VALUES, MOST_LETTERS = 10, 5000, 1000, 120_000
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
#: What strict mode holds the model to; all else is said in words.
_KEPT = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
        *("pattern", "format", "enum"),
    }
)


class NotStrict(Exception):
    """The action cannot be said in strict mode; the message says why."""


def strict_schema(skill: Skill) -> dict[str, Any]:
    """The input schema of the skill for strict mode. Raises `NotStrict`."""
    schema = _object(skill.input_schema, definitions_of(skill.input_schema), (), 1)
    _check_size(schema)
    if not all(can_say(schema, example.params) for example in skill.examples):
        # An object that is not said to be closed mostly is; here it is known to be open.
        raise NotStrict("Its examples have members beyond those that it declares.")
    return schema


def _object(form: Mapping[str, Json], definitions: Definitions, path: Sequence[str], depth: int) -> dict[str, Any]:
    properties: Mapping[str, Json] = form.get("properties", {})
    if path and (not properties or form.get("additionalProperties", False) is not False):
        raise NotStrict(f"{_named(path)} takes members of any name.")
    if depth > DEEPEST:
        raise NotStrict(f"{_named(path)} is nested more than {DEEPEST} deep.")
    required = form.get("required", ())
    return {
        "type": "object",
        "properties": {
            name: _value(schema, definitions, (*path, name), depth, is_optional=name not in required)
            for name, schema in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _value(
    schema: Json, definitions: Definitions, path: Sequence[str], depth: int, *, is_optional: bool = False
) -> dict[str, Any]:
    try:
        ways = forms(schema, definitions)
    except Unsayable as why:
        raise NotStrict(f"{_named(path)} {why}.") from None
    takes_null = any(form.get("type") == "null" for form in ways)
    if takes_null and is_optional:
        raise NotStrict(f"{_named(path)} takes null for something other than being left out.")
    written = [_one(form, definitions, path, depth) for form in ways if form.get("type") != "null"]
    if len(written) > 1:
        null = [{"type": "null"}] if takes_null or is_optional else []
        return {"anyOf": [*written, *null]}
    if not written:
        return {"type": "null"}
    [only] = written
    if takes_null or is_optional:
        only["type"] = [only["type"], "null"]
        if "enum" in only:
            only["enum"] = [*only["enum"], None]
    return only


def _one(form: Mapping[str, Json], definitions: Definitions, path: Sequence[str], depth: int) -> dict[str, Any]:
    if "type" not in form:
        raise NotStrict(f"{_named(path)} takes any value.")
    kept = {word for word in _KEPT & form.keys() if word != "format" or form["format"] in FORMATS}
    said = " ".join(filter(None, (form.get("description", "").strip(), in_words(form, but=[*kept]))))
    written: dict[str, Any] = {"type": form["type"], **({"description": said} if said else {})}
    if form["type"] == "object":
        written |= _object(form, definitions, path, depth + 1)
    if form["type"] == "array":
        if "items" not in form:
            raise NotStrict(f"{_named(path)} takes items of any kind.")
        written["items"] = _value(form["items"], definitions, (*path, "[]"), depth + 1)
    return written | {word: form[word] for word in form if word in kept}


def _check_size(schema: Mapping[str, Any]) -> None:
    nodes = list(_nodes(schema))
    names = [name for node in nodes for name in node.get("properties", ())]
    values = [str(value) for node in nodes for value in node.get("enum", ())]
    if len(names) > MOST_PROPERTIES:
        raise NotStrict(f"It has more than {MOST_PROPERTIES} params and members.")
    if len(values) > MOST_VALUES:
        raise NotStrict(f"It lists more than {MOST_VALUES} values.")
    if sum(map(len, (*names, *values))) > MOST_LETTERS:
        raise NotStrict(f"Its names and values have more than {MOST_LETTERS} letters.")


def _nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for inner in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        yield from _nodes(inner)
    if "items" in schema:
        yield from _nodes(schema["items"])


def _named(path: Sequence[str]) -> str:
    return f"`{'/'.join(path)}`"
