"""Vendors' schemas become those of a definition: smaller, without circles, in words that every tool calling takes.

Named schemas stay named (`#/$defs/x`) as long as an action does not grow too large with them; what refers back to
itself ends as an open object. What is lost on the way is counted.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from jsonschema_rs import ValidationError

from skills_catalog.descriptions.model import Json
from skills_catalog.descriptions.schemas import inner_schemas, names_in, referred, resolved
from skills_catalog.importing.words import first_sentence
from skills_catalog.schemas import FORMATS, MAX_UNIQUE_ITEMS
from skills_catalog.validation import compile_schema

#: Parts of an action's schemas with everything written out; a larger one is cut to fewer levels.
MOST_PARTS = 1500
#: Parts that are made before it is given up; a few lines can stand for millions.
_MOST_MADE = 20_000
#: Levels of a schema that may be kept; a definition nests two lines for each.
DEEPEST = 9
_MOST_CHOICES = 100
_MOST_WAYS = 30
_MOST_PROPERTIES = 200
#: Whole numbers beyond are not the same to every reader of JSON.
_LARGEST = 2**53
_LONGEST_TEXT = 200
_TEXT_FORMATS = FORMATS - {"int32", "int64", "float", "double"}
_NUMBER_FORMATS = frozenset({"int32", "int64", "float", "double"})
_BOUNDS = (
    *(("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties")),
    ("minimum", "maximum"),
)


class TooLarge(Exception):
    """A schema that, written out, has more parts than anybody will read."""


class Shapes:
    """Makes schemas of definitions from those of one description."""

    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self._definitions = definitions
        self._circles = _circles(definitions)
        self._made: dict[str, Json] = {}
        self._sizes: dict[str, int] = {}
        self._left = _MOST_MADE
        #: What could not be kept -> how often.
        self.lost: Counter[str] = Counter()

    def made(self, schema: Json, *, depth: int = DEEPEST, named: bool = True) -> dict[str, Json]:
        """The schema of a value. With `named`, schemas that have a name are referred to. Raises `TooLarge`."""
        self._left = _MOST_MADE
        return self._shape(schema, depth, named, frozenset(), "")

    def definition(self, name: str) -> dict[str, Json]:
        """What a name that `made` refers to stands for."""
        if name not in self._made:
            self._made[name] = {}
            before, self._left = self._left, _MOST_MADE
            try:
                self._made[name] = self._shape(self._definitions.get(name, {}), DEEPEST, True, frozenset({name}), name)
            except TooLarge:
                self._made[name] = self._end(_as_mapping(resolved(self._definitions.get(name, {}), self._definitions)))
            self._left = before
        made: dict[str, Json] = self._made[name]
        return made

    def size(self, schema: Json) -> int:
        """The parts of a made schema with every name written out."""
        total = 1 + sum(self.size(inner) for inner in inner_schemas(schema))
        name = referred(schema)
        if name is not None:
            if name not in self._sizes:
                self._sizes[name] = 0
                self._sizes[name] = self.size(self.definition(name))
            total += self._sizes[name]
        return total

    def validates(self, schema: Json, value: Json) -> bool:
        """Whether a made schema takes a value."""
        needed: dict[str, Json] = {}
        open_names = list(names_in(schema))
        while open_names:
            name = open_names.pop()
            if name not in needed:
                needed[name] = self.definition(name)
                open_names += names_in(needed[name])
        try:
            return bool(compile_schema({**schema, "$defs": needed}).is_valid(value))
        except (ValidationError, ValueError):
            return False

    # ------------------------------------------------------------------ one schema

    def _shape(self, schema: Json, depth: int, named: bool, within: frozenset[str], holder: str) -> dict[str, Json]:
        self._left -= 1
        if self._left < 0:
            raise TooLarge
        if not isinstance(schema, dict):
            return {}
        name = referred(schema)
        if name is not None:
            return self._named(schema, name, depth, named, within, holder)
        if "allOf" in schema:
            schema, within = self._merged(schema, within)
            if referred(schema) is not None:
                return self._shape(schema, depth, named, within, holder)
        if schema.get("oneOf") or schema.get("anyOf"):
            return self._ways(schema, depth, named, within, holder)
        return self._plain(schema, depth, named, within, holder)

    def _named(
        self, schema: Mapping[str, Json], name: str, depth: int, named: bool, within: frozenset[str], holder: str
    ) -> dict[str, Json]:
        target = self._definitions.get(name, {})
        about = {key: schema[key] for key in ("description", "readOnly", "default") if key in schema}
        if self._goes_round(holder, name) or name in within:
            self.lost["schemas that refer back to themselves end as open objects"] += 1
            return self._end({**_as_mapping(resolved(target, self._definitions)), **about})
        if named and self._is_worth_a_name(name):
            text = first_sentence(str(about.get("description", "")), _LONGEST_TEXT)
            return {"$ref": f"#/$defs/{name}", **({"description": text} if text else {})}
        if not isinstance(target, dict):
            return {}
        return self._shape({**target, **about}, depth, named, within | {name}, name)

    def _goes_round(self, holder: str, name: str) -> bool:
        return (
            bool(holder)
            and self._circles.get(holder, holder) == self._circles.get(name, name)
            and holder in self._circles
        )

    def _is_worth_a_name(self, name: str) -> bool:
        target = resolved(self._definitions.get(name, {}), self._definitions)
        if not isinstance(target, dict):
            return False
        return bool(target.keys() & {"properties", "allOf", "anyOf", "oneOf"}) or len(target.get("enum", ())) > 5

    def _plain(
        self, schema: Mapping[str, Json], depth: int, named: bool, within: frozenset[str], holder: str
    ) -> dict[str, Json]:
        if depth <= 0:
            self.lost["levels that lie too deep end as open objects"] += 1
            return self._end(schema)
        made = self._values(schema)
        for inner in ("items", "additionalProperties"):
            if isinstance(schema.get(inner), dict) and (
                shape := self._shape(schema[inner], depth - 1, named, within, holder)
            ):
                made[inner] = shape
        if schema.get("additionalProperties") is False:
            made["additionalProperties"] = False
        properties = _as_mapping(schema.get("properties"))
        if properties:
            kept = {
                name: self._shape(inner, depth - 1, named, within, holder)
                for name, inner in properties.items()
                if not _is_read_only(inner, self._definitions) and _is_text(name)
            }
            if len(kept) > _MOST_PROPERTIES:
                self.lost[f"properties after the first {_MOST_PROPERTIES} of an object"] += 1
                kept = dict(list(kept.items())[:_MOST_PROPERTIES])
                made.pop("additionalProperties", None)
            made["properties"] = kept
            made.setdefault("type", "object")
        required = [name for name in schema.get("required", ()) if name in made.get("properties", {})]
        if required:
            made["required"] = required
        for keyword in (
            "not",
            "if",
            "patternProperties",
            "propertyNames",
            "contains",
            "dependentSchemas",
            "prefixItems",
        ):
            if keyword in schema:
                self.lost[f"`{keyword}` of schemas"] += 1
        return self._with_default(made, schema)

    def _values(self, schema: Mapping[str, Json]) -> dict[str, Json]:
        """The keywords that say something about the value itself."""
        made: dict[str, Json] = {}
        types = [schema["type"]] if isinstance(schema.get("type"), str) else list(schema.get("type", ()))
        enum = _choices(schema, types)
        if enum is not None and len(enum) > _MOST_CHOICES:
            self.lost[f"choices of which there are more than {_MOST_CHOICES}"] += 1
            made["examples"], enum = enum[:3], None
        if types and types != ["null"]:
            made["type"] = types[0] if len(types) == 1 else types
        text = _about(schema)
        if text:
            made["description"] = text
        if enum:
            made["enum"] = enum
        wanted = schema.get("format")
        if ("string" in types and wanted in _TEXT_FORMATS) or (
            not {"integer", "number"}.isdisjoint(types) and wanted in _NUMBER_FORMATS
        ):
            made["format"] = wanted
        for keyword in ("pattern", "contentEncoding", "multipleOf"):
            if keyword in schema:
                made[keyword] = schema[keyword]
        for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if keyword in schema and abs(schema[keyword]) <= _LARGEST and math.isfinite(schema[keyword]):
                made[keyword] = schema[keyword]
        for least, most in _BOUNDS:
            low, high = schema.get(least), schema.get(most)
            if low is not None and high is not None and low > high:
                made.pop(least, None)
                made.pop(most, None)
                continue
            if least != "minimum":
                made |= {least: low} if low else {}
                made |= {most: high} if high is not None and high <= _LARGEST else {}
        if schema.get("uniqueItems") is True and schema.get("maxItems", MAX_UNIQUE_ITEMS + 1) <= MAX_UNIQUE_ITEMS:
            made["uniqueItems"] = True
        return made

    def _with_default(self, made: dict[str, Json], schema: Mapping[str, Json]) -> dict[str, Json]:
        default = schema.get("default")
        if default is None or not _is_small(default):
            return made
        # Written as text it is meant as what the type says.
        for one in (default, _as_type(default, made.get("type"))):
            if _can_be_written(one) and self.validates(made, one):
                return {**made, "default": one}
        return made

    def _end(self, schema: Mapping[str, Json]) -> dict[str, Json]:
        """An open value of the same type, where a schema stops."""
        kind = schema.get("type") or ("object" if "properties" in schema or "allOf" in schema else None)
        text = _about(schema)
        made: dict[str, Json] = {"type": kind} if kind and kind != "null" else {}
        return {**made, **({"description": text} if text else {})}

    # ------------------------------------------------------------------ compositions

    def _ways(
        self, schema: Mapping[str, Json], depth: int, named: bool, within: frozenset[str], holder: str
    ) -> dict[str, Json]:
        """`oneOf` becomes `anyOf`: it is the vendor who decides, and strict tool calling knows no other."""
        ways = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
        if schema.get("oneOf") and schema.get("anyOf"):
            self.lost["`oneOf` beside `anyOf`"] += 1
        base = {key: value for key, value in schema.items() if key not in ("oneOf", "anyOf")}
        constants = _constants(ways, self._definitions)
        if "enum" in base or "const" in base:
            # It says itself which of them it is.
            return self._plain(base, depth, named, within, holder)
        if constants is not None:
            return self._plain({**base, **constants}, depth, named, within, holder)
        if base.get("properties"):
            # What all have in common stays, and what some have beside; which go together, the vendor finds out.
            extra: dict[str, Json] = {}
            for way in ways:
                extra |= _as_mapping(_as_mapping(resolved(way, self._definitions)).get("properties"))
            base = {**base, "properties": {**extra, **base["properties"]}}
            self.lost["which properties of an object go together"] += 1
            return self._plain(base, depth, named, within, holder)
        shapes: list[dict[str, Json]] = []
        is_nullable = False
        for way in ways:
            if _as_mapping(resolved(way, self._definitions)).get("type") == "null":
                is_nullable = True
                continue
            shape = self._shape(way, depth, named, within, holder)
            if shape not in shapes:
                shapes.append(shape)
        text = _about(base)
        about: dict[str, Json] = {"description": text} if text else {}
        if len(shapes) > _MOST_WAYS:
            self.lost[f"forms of a value of which there are more than {_MOST_WAYS}"] += 1
            return about
        if len(shapes) == 1 and not is_nullable:
            return self._with_default({**shapes[0], **about}, schema)
        if len(shapes) == 1 and (simple := _nullable(shapes[0])) is not None:
            return self._with_default({**simple, **about}, schema)
        if not shapes or {} in shapes:
            return about
        return self._with_default({"anyOf": [*shapes, *([{"type": "null"}] if is_nullable else [])], **about}, schema)

    def _merged(self, schema: Mapping[str, Json], within: frozenset[str]) -> tuple[dict[str, Json], frozenset[str]]:
        """`allOf` as one schema, its objects joined; and what that lies within: the circles that were joined too."""
        base = {key: value for key, value in schema.items() if key != "allOf"}
        parts = list(schema["allOf"])
        if len(parts) == 1 and not base.keys() - {"description", "title", "default", "readOnly", "type"}:
            about = {key: value for key, value in base.items() if key != "type"}
            return {**_as_mapping(parts[0]), **about}, within
        made: dict[str, Json] = {}
        open_parts: list[Json] = list(reversed([*parts, base]))
        seen = set(within)
        closed = bool(parts)
        while open_parts:
            part = open_parts.pop()
            name = referred(part)
            if name is not None:
                if name not in seen:
                    open_parts.append(self._definitions.get(name, {}))
                seen.add(name)
                continue
            if not isinstance(part, dict):
                continue
            if "allOf" in part:
                rest = {key: value for key, value in part.items() if key != "allOf"}
                open_parts += reversed([*part["allOf"], rest])
                continue
            closed = closed and (part.get("additionalProperties") is False or not part.keys() & {"properties", "type"})
            _join(made, part)
        if not closed and made.get("additionalProperties") is False:
            del made["additionalProperties"]
        return made, within | (seen & self._circles.keys())


def _join(made: dict[str, Json], part: Mapping[str, Json]) -> None:
    for key, value in part.items():
        if key == "properties":
            made["properties"] = {**made.get("properties", {}), **value}
        elif key == "required":
            made["required"] = list(dict.fromkeys([*made.get("required", ()), *value]))
        elif key in ("anyOf", "oneOf") and ("anyOf" in made or "oneOf" in made):
            continue
        else:
            made[key] = value


def _constants(ways: Sequence[Json], definitions: Mapping[str, Json]) -> dict[str, Json] | None:
    """`oneOf` of single values is an `enum`, with null where that is one of them."""
    values: list[Json] = []
    types: set[str] = set()
    for way in ways:
        said = _as_mapping(resolved(way, definitions))
        if said.get("type") == "null":
            values.append(None)
            continue
        listed = [said["const"]] if "const" in said else said.get("enum", ())
        if not listed or any(isinstance(one, dict | list) for one in listed):
            return None
        values += listed
        types |= {said["type"]} if isinstance(said.get("type"), str) else set(said.get("type", ()))
    if not any(value is not None for value in values):
        return None
    types |= {"null"} if None in values else set()
    return {"enum": values, **({"type": sorted(types, key=lambda kind: kind == "null")} if types else {})}


def _choices(schema: Mapping[str, Json], types: list[str]) -> list[Json] | None:
    """The values of an enum, each once, in the type that the schema says; types that contradict them are dropped."""
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if not listed or any(isinstance(one, dict | list) for one in listed):
        return None
    values: list[Json] = []
    for one in listed:
        value = one
        if types and "string" in types and not {"number", "integer"} & {*types} and isinstance(one, int | float):
            value = str(one).lower() if isinstance(one, bool) else str(one)
            value = one if isinstance(one, bool) and "boolean" in types else value
        elif types and "string" not in types and isinstance(one, str):
            value = _as_type(one, types)
        if not any(value is other or (value == other and type(value) is type(other)) for other in values):
            values.append(value)
    if None in values and types and "null" not in types:
        types.append("null")
    if not all(_can_be_written(value) for value in values):
        return None
    if types and not all(_has_type(value, types) for value in values):
        types.clear()
    return values


def _has_type(value: Json, types: Iterable[str]) -> bool:
    match value:
        case None:
            return "null" in types
        case bool():
            return "boolean" in types
        case int():
            return "integer" in types or "number" in types
        case float():
            return "number" in types
        case _:
            return "string" in types


def _as_type(value: Json, types: Json) -> Json:
    """A number or truth value that was written as text."""
    wanted = [types] if isinstance(types, str) else list(types or ())
    if not isinstance(value, str):
        return (
            str(value)
            if "string" in wanted and isinstance(value, int | float) and not isinstance(value, bool)
            else value
        )
    if "boolean" in wanted and value in ("true", "false"):
        return value == "true"
    try:
        if "integer" in wanted and len(value) < 18:
            return int(value)
        if "number" in wanted and math.isfinite(number := float(value)):
            return number
    except ValueError:
        return value
    return value


def _nullable(shape: Mapping[str, Json]) -> dict[str, Json] | None:
    """A shape that takes null too, where its types can say so."""
    kind = shape.get("type")
    if kind is None or "$ref" in shape or "anyOf" in shape:
        return None
    types = [kind] if isinstance(kind, str) else list(kind)
    made: dict[str, Json] = {**shape, "type": [*types, "null"] if "null" not in types else types}
    if "enum" in made and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]
    return made


def _about(schema: Mapping[str, Json]) -> str:
    text = first_sentence(str(schema.get("description") or ""), _LONGEST_TEXT)
    return text or first_sentence(str(schema.get("title") or ""), _LONGEST_TEXT)


def _is_read_only(schema: Json, definitions: Mapping[str, Json]) -> bool:
    said = resolved(schema, definitions)
    return isinstance(said, dict) and said.get("readOnly") is True


def _is_small(value: Json) -> bool:
    return not isinstance(value, dict | list) or len(json.dumps(value)) <= 200


def _can_be_written(value: Json) -> bool:
    """Whether every reader of a file gets the value that was meant."""
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.isfinite(value) and abs(value) < 2**63
    return True


def _is_text(text: str) -> bool:
    """Whether a name or choice can stand in a file: no control characters, no halves of a character."""
    return text.isprintable() and len(text) <= 200 if text else True


def _as_mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _circles(definitions: Mapping[str, Json]) -> dict[str, int]:
    """Definition -> number of the circle that it is part of; those in no circle are left out (Tarjan, 1972)."""
    edges = {name: list(dict.fromkeys(names_in(schema))) for name, schema in definitions.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    circles: dict[str, int] = {}
    for root in definitions:
        if root in index:
            continue
        work: list[tuple[str, int]] = [(root, 0)]
        while work:
            name, step = work.pop()
            if step == 0:
                index[name] = low[name] = len(index)
                stack.append(name)
                on_stack.add(name)
            for at, target in enumerate(edges[name][step:], step):
                if target not in edges:
                    continue
                if target not in index:
                    work += [(name, at + 1), (target, 0)]
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                if low[name] == index[name]:
                    members = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        members.append(member)
                        if member == name:
                            break
                    if len(members) > 1 or name in edges[name]:
                        circles |= dict.fromkeys(members, index[name])
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[name])
    return circles
