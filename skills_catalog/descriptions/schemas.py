"""Schemas as vendors write them become JSON Schema of draft 2020-12, with `$ref` to `#/$defs/name` alone.

OpenAPI 3.0 and Swagger have a dialect of their own (`nullable`, `exclusiveMinimum: true`), and descriptions are full
of small slips. What is no schema is left out; what is left can be compiled.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from skills_catalog.descriptions.model import Json
from skills_catalog.descriptions.references import BadReference, References, steps_of
from skills_catalog.schemas import is_pattern
from skills_catalog.validation import compile_schema

TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
# Keyword -> the Python types that its value may have.
_PLAIN: Mapping[str, tuple[type, ...]] = {
    "title": (str,),
    "description": (str,),
    "format": (str,),
    "contentEncoding": (str,),
    "contentMediaType": (str,),
    "readOnly": (bool,),
    "writeOnly": (bool,),
    "deprecated": (bool,),
    "uniqueItems": (bool,),
    "multipleOf": (int, float),
    "minimum": (int, float),
    "maximum": (int, float),
}
_COUNTS = (
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
)
_ONE = (
    *("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else"),
    *("unevaluatedProperties", "unevaluatedItems"),
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas")
#: Applied to the same value, so that a circle of them would never end.
_IN_PLACE = ("allOf", "anyOf", "oneOf")
#: Stays beside alternatives rather than within one of them.
_ABOUT = ("description", "default", "readOnly", "writeOnly", "examples")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
#: More patterns than that differ too much to try.
_LONGEST_PATTERN = 1000


class Schemas:
    """Reads the schemas of one document; whatever they name ends up under `definitions`."""

    def __init__(self, references: References, *, dialect: str) -> None:
        self._references = references
        #: `3.0` has `nullable` and ignores what stands beside a `$ref`; `3.1` is JSON Schema.
        self._dialect = dialect
        self._names: dict[str, str] = {}
        self._open: deque[str] = deque()
        #: Definition -> why what it stands for cannot be followed.
        self._bad: dict[str, BadReference] = {}
        self.definitions: dict[str, Json] = {}

    def read(self, node: Any) -> Json:
        """The schema of a node. Raises `BadReference` if something that it names cannot be followed."""
        schema = self._schema(node)
        while self._open:
            reference = self._open.popleft()
            name = self._names[reference]
            try:
                self.definitions[name] = self._schema(self._references.at(reference))
            except BadReference as error:
                self.definitions[name] = {}
                self._bad[name] = error
        if self._bad:
            for name in reachable(schema, self.definitions):
                if name in self._bad:
                    raise self._bad[name]
        return schema

    def _schema(self, node: Any) -> Json:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            return {}
        if isinstance(node.get("$ref"), str):
            reference = {"$ref": f"#/$defs/{self._name(node['$ref'])}"}
            if self._dialect == "3.1" and len(node) > 1:
                return {**self._keywords({key: value for key, value in node.items() if key != "$ref"}), **reference}
            said = node.get("description")
            return {**reference, "description": said} if isinstance(said, str) else reference
        return self._keywords(node)

    def _name(self, reference: str) -> str:
        if reference not in self._names:
            self._references.at(reference)
            last = re.sub(r"[^A-Za-z0-9_-]", "_", steps_of(reference)[-1] if steps_of(reference) else "root")[:56]
            name = wanted = last if _NAME.fullmatch(last) else f"_{last}"
            taken = set(self._names.values())
            number = 2
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            self._names[reference] = name
            self._open.append(reference)
        return self._names[reference]

    def _keywords(self, node: Mapping[str, Any]) -> dict[str, Json]:
        schema: dict[str, Json] = {}
        types = [name for name in _listed(node.get("type")) if name in TYPES]
        if node.get("type") == "file":
            types, schema["contentEncoding"] = ["string"], "binary"
        nullable = node.get("nullable") is True or node.get("x-nullable") is True
        if nullable and types and "null" not in types:
            types.append("null")
        if types:
            schema["type"] = types[0] if len(types) == 1 else types
        for keyword, kinds in _PLAIN.items():
            value = node.get(keyword)
            if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
                schema[keyword] = value
        for keyword in _COUNTS:
            count = node.get(keyword)
            if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
                schema[keyword] = count
        if "multipleOf" in schema and schema["multipleOf"] <= 0:
            del schema["multipleOf"]
        _bounds(node, schema)
        _values(node, schema, nullable=nullable)
        pattern = node.get("pattern")
        if isinstance(pattern, str) and len(pattern) <= _LONGEST_PATTERN and is_pattern(pattern):
            schema["pattern"] = pattern
        _without_contradictions(schema)
        self._inner(node, schema)
        if nullable and not types and not schema.keys().isdisjoint({*_IN_PLACE, "enum"}):
            if schema.get("enum") and None in schema["enum"]:
                return schema
            about: dict[str, Json] = {key: schema.pop(key) for key in _ABOUT if key in schema}
            return {"anyOf": [schema, {"type": "null"}], **about}
        return schema

    def _inner(self, node: Mapping[str, Any], schema: dict[str, Json]) -> None:
        for keyword in _ONE:
            value = node.get(keyword)
            if isinstance(value, dict | bool):
                schema[keyword] = self._schema(value)
        for keyword in _LISTS:
            value = node.get(keyword)
            if isinstance(value, list) and value:
                schema[keyword] = [self._schema(item) for item in value]
        for keyword in _MAPS:
            value = node.get(keyword)
            if isinstance(value, dict):
                schema[keyword] = {
                    name: self._schema(inner)
                    for name, inner in value.items()
                    if keyword != "patternProperties" or is_pattern(name)
                }
        if isinstance(node.get("items"), list):
            schema["prefixItems"] = [self._schema(item) for item in node["items"]] or [{}]
        required = node.get("required")
        if isinstance(required, list) and (names := [name for name in required if isinstance(name, str)]):
            schema["required"] = list(dict.fromkeys(names))
        dependent = node.get("dependentRequired")
        if isinstance(dependent, dict):
            schema["dependentRequired"] = {
                name: [one for one in names if isinstance(one, str)]
                for name, names in dependent.items()
                if isinstance(names, list)
            }


def _bounds(node: Mapping[str, Any], schema: dict[str, Json]) -> None:
    """`exclusiveMinimum: true` beside `minimum` is how OpenAPI 3.0 says it."""
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        value = node.get(exclusive)
        if value is True and plain in schema:
            schema[exclusive] = schema.pop(plain)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            schema[exclusive] = value


def _values(node: Mapping[str, Any], schema: dict[str, Json], *, nullable: bool) -> None:
    enum = node.get("enum")
    if isinstance(enum, list) and enum:
        schema["enum"] = [*enum, None] if nullable and None not in enum else list(enum)
    if "const" in node:
        schema["const"] = node["const"]
    if "default" in node:
        schema["default"] = node["default"]
    examples = [node["example"]] if "example" in node else []
    listed = node.get("examples")
    examples += listed if isinstance(listed, list) else []
    if examples:
        schema["examples"] = examples[:5]


def _without_contradictions(schema: dict[str, Json]) -> None:
    """A format or pattern that the vendor's own examples do not have is a slip of the pen."""
    examples = [one for one in schema.get("examples", ()) if isinstance(one, str)]
    for keyword in ("format", "pattern"):
        if examples and keyword in schema and not any(_has(keyword, schema[keyword], one) for one in examples):
            del schema[keyword]


def _has(keyword: str, wanted: str, value: str) -> bool:
    return bool(_check(keyword, wanted).is_valid(value))


@lru_cache(maxsize=1024)
def _check(keyword: str, wanted: str) -> Draft202012Validator:
    return compile_schema({keyword: wanted})


def _listed(value: Any) -> list[Any]:
    return list(dict.fromkeys(one for one in value if isinstance(one, str))) if isinstance(value, list) else [value]


# ---------------------------------------------------------------------- walking


def inner_schemas(schema: Json) -> Iterator[Json]:
    """The schemas that stand directly within one."""
    if not isinstance(schema, dict):
        return
    for keyword in _ONE:
        if keyword in schema:
            yield schema[keyword]
    for keyword in _LISTS:
        yield from schema.get(keyword, ())
    for keyword in _MAPS:
        yield from schema.get(keyword, {}).values()


def referred(schema: Json) -> str | None:
    """The name that a schema refers to, if it does."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    return reference.removeprefix("#/$defs/") if isinstance(reference, str) else None


def names_in(schema: Json) -> Iterator[str]:
    """The definitions that a schema names, directly or further within it."""
    open_schemas = [schema]
    while open_schemas:
        current = open_schemas.pop()
        name = referred(current)
        if name is not None:
            yield name
        open_schemas += inner_schemas(current)


def reachable(schema: Json, definitions: Mapping[str, Json]) -> dict[str, Json]:
    """The definitions that a schema needs, and no others."""
    needed: dict[str, Json] = {}
    open_names = list(names_in(schema))
    while open_names:
        name = open_names.pop()
        if name not in needed and name in definitions:
            needed[name] = definitions[name]
            open_names += names_in(definitions[name])
    return needed


def resolved(schema: Json, definitions: Mapping[str, Json]) -> Json:
    """A schema, or the one that it refers to in the end, its own description kept; `{}` where that is a circle."""
    seen: set[str] = set()
    about: dict[str, Json] = {}
    while isinstance(schema, dict) and (name := referred(schema)) is not None:
        if name in seen:
            return {}
        seen.add(name)
        about = {**{key: value for key, value in schema.items() if key != "$ref"}, **about}
        schema = definitions.get(name, {})
    return {**schema, **about} if isinstance(schema, dict) and about else schema
