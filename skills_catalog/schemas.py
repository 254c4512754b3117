"""The JSON Schemas of params: which of them a definition may use, and how they become one input schema.

What passes here is cheap to check for any input: patterns run in linear time, `$ref` stays in the file and
never comes back to itself, `uniqueItems` has a bound, and the schema written out has a bounded size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jsonschema_rs import ReferencingError, ValidationError

from skills_catalog.model import Json
from skills_catalog.names import nearest
from skills_catalog.validation import compile_schema, expectation

Note = Callable[[Sequence[str | int], str], None]
Definitions = Mapping[str, Json]

#: Nodes of a schema with every `$ref` written out.
MAX_NODES = 5000
MAX_UNIQUE_ITEMS = 1000

#: Checked formats, and those that only describe (OpenAPI's).
FORMATS = frozenset(
    {
        *("date-time", "date", "time", "duration", "uuid", "email", "idn-email", "hostname", "idn-hostname"),
        *("ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uri-template"),
        *("json-pointer", "relative-json-pointer"),
        *("int32", "int64", "float", "double", "byte", "binary", "password"),
    }
)

_REF = re.compile(r"#/\$defs/([A-Za-z_][A-Za-z0-9_-]*)")
# The keywords under which schemas stand: one, a list of them, or by name.
_ONE = frozenset(
    {
        *("items", "contains", "additionalProperties", "propertyNames"),
        *("unevaluatedProperties", "unevaluatedItems", "not", "if", "then", "else"),
    }
)
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP = frozenset({"properties", "patternProperties", "dependentSchemas"})


def check_schema(schema: Json, definitions: Definitions, note: Note) -> None:
    """Notes, by path within the schema, what of it may not stand in a definition."""
    for path, node in _nodes(schema, ()):
        _check_node(node, path, definitions, note)


def check_size(schema: Json, definitions: Definitions, note: Note) -> None:
    """Notes a schema that refers back to itself, or is too large once every `$ref` is written out."""
    try:
        size = _size(schema, definitions, {}, ())
    except _Circle as circle:
        note((), f"`$ref` to {circle} comes back to itself; a schema must end.")
        return
    if size > MAX_NODES:
        note((), f"With every `$ref` written out the schema has more than {MAX_NODES} parts.")


def check_default(schema: Mapping[str, Json], definitions: Definitions, note: Note) -> None:
    """Notes a default that its own schema refuses."""
    if "default" not in schema:
        return
    checked = {key: value for key, value in schema.items() if key != "default"}
    try:
        check = compile_schema(with_definitions(checked, definitions))
    except (ValidationError, ReferencingError, ValueError):
        return  # noted already, where the mistake is
    for error in check.iter_errors(schema["default"]):
        note(("default",), f"The default {expectation(error)}.")
        return


def with_definitions(schema: Mapping[str, Json], definitions: Definitions) -> dict[str, Json]:
    """The schema with the definitions that it needs, and no others, under `$defs`."""
    needed: dict[str, Json] = {}
    open_schemas: list[Json] = [schema]
    while open_schemas:
        for _, node in _nodes(open_schemas.pop(), ()):
            name = _referred(node)
            if name in definitions and name not in needed:
                needed[name] = definitions[name]
                open_schemas.append(definitions[name])
    return {**schema, "$defs": needed} if needed else dict(schema)


def is_pattern(text: str) -> bool:
    """Whether the linear engine takes the regular expression: no look-around, no back-reference, not huge."""
    return _compiles(text)


@lru_cache(maxsize=4096)
def _compiles(pattern: str) -> bool:
    try:
        compile_schema({"pattern": pattern})
    except (ValidationError, ValueError):
        return False
    return True


def _nodes(schema: Json, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Every schema within a schema, itself first; values such as defaults and enums are not entered."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for step, inner in _inner(schema):
        yield from _nodes(inner, path + step)


def _inner(schema: Mapping[str, Json]) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield (keyword,), value
        elif keyword in _LIST and isinstance(value, list):
            for index, item in enumerate(value):
                yield (keyword, index), item
        elif keyword in _MAP and isinstance(value, dict):
            for name, item in value.items():
                yield (keyword, name), item


def _referred(node: Mapping[str, Json]) -> str:
    match = _REF.fullmatch(str(node.get("$ref", "")))
    return match[1] if match else ""


def _check_node(node: Mapping[str, Json], path: tuple[str | int, ...], definitions: Definitions, note: Note) -> None:
    if "$ref" in node:
        name = _referred(node)
        if not name:
            note((*path, "$ref"), "Only schemas of this file may be named, as `#/$defs/name`.")
        elif name not in definitions:
            note((*path, "$ref"), f"There is no schema {name} under $defs.{_meant(name, definitions)}")
    if "pattern" in node and not is_pattern(node["pattern"]):
        note((*path, "pattern"), _BAD_PATTERN)
    for pattern in node.get("patternProperties", ()):
        if not is_pattern(pattern):
            note((*path, "patternProperties", pattern), _BAD_PATTERN)
    if node.get("uniqueItems") is True and node.get("maxItems", MAX_UNIQUE_ITEMS + 1) > MAX_UNIQUE_ITEMS:
        note((*path, "uniqueItems"), f"Needs `maxItems` of at most {MAX_UNIQUE_ITEMS} beside it.")
    if "format" in node and node["format"] not in FORMATS:
        note((*path, "format"), f"{node['format']} is not a known format.{_meant(node['format'], FORMATS)}")
    for least, most in _BOUNDS:
        if least in node and most in node and node[least] > node[most]:
            note((*path, least), f"Is greater than {most}, so that nothing fits.")


_BAD_PATTERN = (
    "Not a regular expression that runs in linear time: it is malformed, uses look-around or back-references, "
    "or repeats too much."
)
_BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
    ("minimum", "maximum"),
)


class _Circle(Exception):
    pass


def _size(schema: Json, definitions: Definitions, known: dict[str, int], within: tuple[str, ...]) -> int:
    """How many nodes the schema has with every `$ref` written out; each definition is counted once."""
    if not isinstance(schema, dict):
        return 1
    total = 1 + sum(_size(inner, definitions, known, within) for _, inner in _inner(schema))
    name = _referred(schema)
    if name in within:
        raise _Circle(name)
    if name in definitions:
        if name not in known:
            known[name] = _size(definitions[name], definitions, known, (*within, name))
        total += known[name]
    return total


def _meant(name: str, known: Any) -> str:
    meant = nearest(name, sorted(known))
    return f" Did you mean {meant}?" if meant else ""


def type_of(value: Json) -> str:
    """The JSON type of a value, in the word of JSON Schema: a whole number is an `integer`."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"
