"""A param's schema in the few words that every vendor of models has: one JSON type at a time, nothing by reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skills_catalog.model import Json
from skills_catalog.schemas import type_of

Definitions = Mapping[str, Json]

#: What says nothing of which values fit.
_ANNOTATIONS = frozenset(
    {
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"),
        *("contentEncoding", "contentMediaType"),
    }
)
#: Which values fit can't be said of one type alone where these stand.
_INTERTWINED = (
    *("allOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "patternProperties"),
    *("propertyNames", "unevaluatedProperties", "unevaluatedItems", "prefixItems", "contains"),
)
_OF_TYPE: Mapping[str, Sequence[str]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"),
    "array": ("items", "minItems", "maxItems", "uniqueItems"),
    "object": ("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    "boolean": (),
    "null": (),
}
_IN_WORDS = (
    ("minimum", "At least"),
    ("exclusiveMinimum", "More than"),
    ("maximum", "At most"),
    ("exclusiveMaximum", "Less than"),
    ("multipleOf", "A multiple of"),
    ("minLength", "Characters at least"),
    ("maxLength", "Characters at most"),
    ("minItems", "Items at least"),
    ("maxItems", "Items at most"),
    ("minProperties", "Members at least"),
    ("maxProperties", "Members at most"),
    ("format", "Format"),
    ("pattern", "Pattern"),
)


class Unsayable(Exception):
    """The schema cannot be said in one type at a time; the message says why, to stand after the name of a param."""


def definitions_of(schema: Mapping[str, Json]) -> Definitions:
    """What its `$ref`s lead to."""
    found: Definitions = schema.get("$defs", {})
    return found


def forms(schema: Json, definitions: Definitions) -> list[dict[str, Any]]:
    """The alternatives of which a value must have one: each a schema of a single `type`, or of none if all fit.

    Schemas within them are left as they are. Raises `Unsayable`.
    """
    if schema is False:
        raise Unsayable("takes nothing")
    if schema is True:
        return [{}]
    schema = _resolved(schema, definitions)
    for keyword in _INTERTWINED:
        if keyword in schema:
            raise Unsayable(f"has `{keyword}`")
    ways = [way for keyword in ("anyOf", "oneOf") for way in schema.get(keyword, ())]
    if ways:
        around = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
        if not around.keys() <= _ANNOTATIONS:
            raise Unsayable("has conditions beside its alternatives")
        return [{**around, **form} for way in ways for form in forms(way, definitions)]
    said = schema.get("type")
    types = [said] if isinstance(said, str) else list(said or ())
    if (values := _values(schema)) is not None:
        types = types or list(dict.fromkeys(type_of(value) for value in values))
    return [_of_type(schema, name, values) for name in types] or [dict(schema)]


def in_words(schema: Mapping[str, Json], *, but: Sequence[str] = ()) -> str:
    """The limits of a schema as sentences, but for keywords that are said otherwise."""
    words: list[str] = []
    if "enum" in schema and "enum" not in but:
        words.append(f"One of {', '.join(f'`{_compact(value)}`' for value in schema['enum'])}.")
    if "default" in schema and "default" not in but:
        words.append(f"Left out, it is `{_compact(schema['default'])}`.")
    words += [f"{text}: `{schema[word]}`." for word, text in _IN_WORDS if word in schema and word not in but]
    if schema.get("uniqueItems") and "uniqueItems" not in but:
        words.append("No item twice.")
    return " ".join(words)


def can_say(schema: Mapping[str, Any], value: Json) -> bool:
    """Whether a schema made of `properties`, `items` and `anyOf` names every member of the value."""
    ways = [schema, *schema.get("anyOf", ())]
    if isinstance(value, list):
        return any(all(can_say(way["items"], item) for item in value) for way in ways if "items" in way)
    if not isinstance(value, Mapping):
        return True
    return any(
        all(name in way["properties"] and can_say(way["properties"][name], member) for name, member in value.items())
        for way in ways
        if "properties" in way
    )


def _resolved(schema: Mapping[str, Json], definitions: Definitions) -> Mapping[str, Json]:
    """The schema with what it refers to in its place."""
    while "$ref" in schema:
        target = definitions[str(schema["$ref"]).rpartition("/")[2]]
        beside = {name: value for name, value in schema.items() if name not in ("$ref", "$defs")}
        if not beside.keys() <= _ANNOTATIONS:
            raise Unsayable("has conditions beside a `$ref`")
        if not isinstance(target, Mapping):
            return {} if target else {"not": {}}
        schema = {**target, **beside}
    return schema


def _values(schema: Mapping[str, Json]) -> list[Json] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _of_type(schema: Mapping[str, Json], name: str, values: Sequence[Json] | None) -> dict[str, Any]:
    keywords = (*_ANNOTATIONS, *_OF_TYPE["number" if name == "integer" else name])
    form: dict[str, Any] = {"type": name, **{word: schema[word] for word in schema if word in keywords}}
    if values is not None:
        fitting = [value for value in values if type_of(value) in (name, "integer" if name == "number" else name)]
        if name != "null":
            form["enum"] = fitting
    return form


def _compact(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
