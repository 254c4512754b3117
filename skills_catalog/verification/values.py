"""Checks values against a vendor's schemas: every name must be known, though vendors leave their objects open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from jsonschema_rs import Draft202012Validator, ValidationError

from skills_catalog.descriptions.model import Json
from skills_catalog.descriptions.schemas import names_in, resolved
from skills_catalog.schemas import type_of
from skills_catalog.validation import compile_schema, expectation

Side = Literal["request", "answer"]
_BRANCHES = ("allOf", "anyOf", "oneOf")
#: What an example of an answer need not show: it is cut down to what matters.
_NOT_OF_EXAMPLES = frozenset({"required", "minItems", "minProperties", "dependentRequired", "contains", "minContains"})
_MOST_FOUND = 20
_DEEPEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One thing wrong with a value: where in it, and what was expected. `unknown` are names nobody knows."""

    path: tuple[str | int, ...]
    message: str
    unknown: tuple[str, ...] = ()


class Values:
    """The schemas of one description, made strict and compiled as they are needed."""

    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self.definitions = definitions
        self._strict: dict[tuple[str, Side], Json] = {}
        #: The schema is kept beside what was compiled of it, so that its id stays its own.
        self._compiled: dict[tuple[int, Side], tuple[Json, Draft202012Validator | None]] = {}

    def wrong(self, schema: Json, value: Json, side: Side = "request") -> list[Wrong]:
        """What is wrong with a value that is sent, or that an example shows as an answer."""
        check = self._validator(schema, side)
        if check is None:
            return []
        try:
            errors = list(islice(check.iter_errors(value), _MOST_FOUND))
        except ValueError:
            return [Wrong(path=(), message="is nested too deeply to be checked")]
        found = [_wrong(error) for error in errors]
        return [one for one in found if not one.unknown or self._is_unknown(schema, one)]

    def takes(self, schema: Json, value: Json, side: Side = "request") -> bool:
        check = self._validator(schema, side)
        try:
            return check is None or check.is_valid(value)
        except ValueError:
            return False

    def types(self, schema: Json) -> frozenset[str]:
        """The JSON types that a schema takes; empty where it does not say."""
        return frozenset(self._types(schema, _DEEPEST) or ())

    def choices(self, schema: Json) -> list[Json] | None:
        """The values that a schema lists, through its alternatives; None where any of them lists nothing."""
        return self._choices(schema, _DEEPEST)

    def properties(self, schema: Json) -> tuple[dict[str, Json], set[str], bool]:
        """Known properties of an object schema, the required ones, and whether others may stand beside them."""
        known, required, is_open = self._properties(schema, _DEEPEST)
        if known:
            # What is required may stand there, though the vendor forgot to say what it is.
            known = {**known, **{name: {} for name in sorted(required - known.keys())}}
        return known, required, is_open

    def _is_unknown(self, schema: Json, wrong: Wrong) -> bool:
        """Whether a name is really unknown: where a part of a schema fails, the names that it knows count for nothing."""
        for step in wrong.path:
            if isinstance(step, int):
                items = resolved(schema, self.definitions)
                schema = items.get("items", {}) if isinstance(items, dict) else {}
            else:
                schema = self.properties(schema)[0].get(step, {})
        known = self.properties(schema)[0]
        return any(name not in known for name in wrong.unknown)

    # ------------------------------------------------------------------ what a schema says

    def _types(self, schema: Json, depth: int) -> set[str] | None:
        said = resolved(schema, self.definitions)
        if not isinstance(said, dict) or depth <= 0:
            return None
        if "type" in said:
            return {said["type"]} if isinstance(said["type"], str) else set(said["type"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in said:
                found = [self._types(way, depth - 1) for way in said[keyword]]
                return None if None in found else {kind for kinds in found for kind in kinds or ()}
        for part in said.get("allOf", ()):
            kinds = self._types(part, depth - 1)
            if kinds is not None:
                return kinds
        listed = [said["const"]] if "const" in said else said.get("enum")
        if listed:
            return {type_of(value) for value in listed}
        return {"object"} if "properties" in said else None

    def _choices(self, schema: Json, depth: int) -> list[Json] | None:
        said = resolved(schema, self.definitions)
        if not isinstance(said, dict) or depth <= 0:
            return None
        if "const" in said:
            return [said["const"]]
        if "enum" in said:
            return list(said["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in said:
                found: list[Json] = []
                for way in said[keyword]:
                    inner = self._choices(way, depth - 1)
                    if inner is None and self._types(way, depth - 1) != {"null"}:
                        return None
                    found += inner or []
                return found
        listed = (self._choices(part, depth - 1) for part in said.get("allOf", ()))
        return next((choices for choices in listed if choices is not None), None)

    def _properties(self, schema: Json, depth: int) -> tuple[dict[str, Json], set[str], bool]:
        said = resolved(schema, self.definitions)
        if not isinstance(said, dict) or depth <= 0:
            return {}, set(), True
        required = set(said.get("required", ()))
        known: dict[str, Json] = dict(said.get("properties", {}))
        extra = said.get("additionalProperties")
        is_open = (isinstance(extra, dict) or extra is True) or bool(said.get("patternProperties"))
        is_free = not known and not _has_branches(said) and extra is not False
        for part in said.get("allOf", ()):
            names, needed, _ = self._properties(part, depth - 1)
            known |= {name: both(known.get(name), inner) for name, inner in names.items()}
            required |= needed
            is_open = is_open or self._is_explicitly_open(part, depth - 1)
        for keyword in ("anyOf", "oneOf"):
            ways = [
                self._properties(way, depth - 1)
                for way in said.get(keyword, ())
                if self._types(way, depth - 1) in (None, {"object"})
            ]
            for names, _, way_is_open in ways:
                known = {**known, **{name: either(known.get(name), inner) for name, inner in names.items()}}
                # A form that only names what is required leaves the names to what stands beside it.
                is_open = is_open or (way_is_open and not said.get("properties"))
            if ways:
                required |= set.intersection(*(needed for _, needed, _ in ways))
        return known, required, is_open or is_free or not known

    def _is_explicitly_open(self, schema: Json, depth: int) -> bool:
        said = resolved(schema, self.definitions)
        if not isinstance(said, dict) or depth <= 0:
            return False
        extra = said.get("additionalProperties")
        return (
            isinstance(extra, dict)
            or extra is True
            or any(self._is_explicitly_open(part, depth - 1) for part in said.get("allOf", ()))
        )

    # ------------------------------------------------------------------ strict schemas

    def _validator(self, schema: Json, side: Side) -> Draft202012Validator | None:
        key = (id(schema), side)
        if key not in self._compiled:
            strict = self._value(schema, side)
            needed: dict[str, Json] = {}
            open_names = list(names_in(strict))
            while open_names:
                name = open_names.pop()
                if name not in needed:
                    needed[name] = self._definition(name, side)
                    open_names += names_in(needed[name])
            whole = {**strict, "$defs": needed} if isinstance(strict, dict) else strict
            try:
                self._compiled[key] = (schema, compile_schema(whole))
            except (ValidationError, ValueError):
                # A schema that is none says nothing about any value.
                self._compiled[key] = (schema, None)
        return self._compiled[key][1]

    def _definition(self, name: str, side: Side) -> Json:
        key = (name, side)
        if key not in self._strict:
            self._strict[key] = self._branch(self.definitions.get(name, {}), side)
        return self._strict[key]

    def _value(self, schema: Json, side: Side) -> Json:
        """The schema of a value: names that nobody knows are refused, unless it says that others may be there."""
        made = self._branch(schema, side)
        known, required, is_open = self.properties(schema)
        if not isinstance(made, dict) or is_open:
            return made
        forgotten: dict[str, Json] = {name: {} for name in required if known.get(name) == {}}
        properties = {"properties": {**forgotten, **made.get("properties", {})}} if forgotten else {}
        return {**made, **properties, "unevaluatedProperties": False}

    def _branch(self, schema: Json, side: Side) -> Json:
        """A part of a schema: it does not see what stands beside it, so it refuses no names by itself."""
        if not isinstance(schema, dict):
            return schema
        made: dict[str, Json] = {}
        for keyword, value in schema.items():
            if keyword in ("items", "additionalProperties", "contains", "propertyNames"):
                made[keyword] = self._value(value, side)
            elif keyword in ("properties", "patternProperties"):
                made[keyword] = {name: self._value(inner, side) for name, inner in value.items()}
            elif keyword == "prefixItems":
                made[keyword] = [self._value(inner, side) for inner in value]
            elif keyword == "allOf":
                made["allOf"] = [*made.get("allOf", ()), *(self._branch(inner, side) for inner in value)]
            elif keyword in ("anyOf", "oneOf"):
                # Forms that overlap are common; which one is meant is not for us to say.
                forms = {"anyOf": [self._branch(inner, side) for inner in value]}
                made["allOf"] = [*made.get("allOf", ()), forms]
            elif keyword in ("not", "if", "then", "else"):
                made[keyword] = self._branch(value, side)
            elif keyword not in ("examples", "default", "description", "title", "dependentSchemas"):
                made[keyword] = value
        if side == "answer":
            return {keyword: value for keyword, value in made.items() if keyword not in _NOT_OF_EXAMPLES}
        if "required" in made:
            properties = schema.get("properties", {})
            made["required"] = [name for name in made["required"] if not self._is_read_only(properties.get(name))]
        return made

    def _is_read_only(self, schema: Json) -> bool:
        said = resolved(schema, self.definitions)
        return isinstance(said, dict) and said.get("readOnly") is True


def both(one: Json, other: Json) -> Json:
    """A schema that takes what both take; None stands for a schema that is not there."""
    if one is None or one == other or one == {}:
        return other
    return {"allOf": [one, other]} if other != {} else one


def either(one: Json, other: Json) -> Json:
    """A schema that takes what either takes; None stands for a schema that is not there."""
    if one is None or one == other:
        return other
    listed = one["anyOf"] if isinstance(one, dict) and set(one) == {"anyOf"} else [one]
    return {"anyOf": listed if other in listed else [*listed, other]}


def _wrong(error: ValidationError) -> Wrong:
    kind = error.kind
    unknown: Sequence[str] = ()
    if kind.name in ("additionalProperties", "unevaluatedProperties"):
        unknown = tuple(kind.unexpected)  # type: ignore[attr-defined]
        return Wrong(
            path=tuple(error.instance_path),
            message=f"has unknown names: {', '.join(unknown[:5])}",
            unknown=tuple(unknown),
        )
    if kind.name == "required":
        name = kind.property  # type: ignore[attr-defined]
        return Wrong(path=tuple(error.instance_path), message=f"lacks {name}, which is required")
    return Wrong(path=tuple(error.instance_path), message=expectation(error))


def _has_branches(schema: Mapping[str, Json]) -> bool:
    return any(keyword in schema for keyword in _BRANCHES)


def readings(text: str, types: frozenset[str]) -> Iterator[Json]:
    """What a text on the wire may stand for, given the types that are expected there."""
    if "boolean" in types and text in ("true", "false"):
        yield text == "true"
    if types & {"integer", "number"}:
        try:
            number = float(text)
            yield int(text) if text.lstrip("-").isdigit() else number
        except ValueError:
            pass
    if "null" in types and text in ("null", ""):
        yield None
    yield text
