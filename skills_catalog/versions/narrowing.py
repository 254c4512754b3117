"""Whether a schema takes everything that another took: if not, callers of the old one break.

It errs on one side only: what cannot be judged counts as narrower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema_rs import ValidationError

from skills_catalog.model import Json
from skills_catalog.validation import compile_schema

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
#: Keyword -> the type it is about, and whether a larger number narrows.
_LIMITS: Mapping[str, tuple[str, bool]] = {
    "minLength": ("string", True),
    "maxLength": ("string", False),
    "minItems": ("array", True),
    "maxItems": ("array", False),
    "minProperties": ("object", True),
    "maxProperties": ("object", False),
}
#: Formats that only describe.
_DESCRIBING = frozenset({"int32", "int64", "float", "double", "byte", "binary", "password"})
#: Keywords that are compared as a whole, with those that belong to them: the same, or the first one gone.
_WHOLE = (
    *(("not",), ("if", "then", "else"), ("contains", "minContains", "maxContains"), ("propertyNames",)),
    *(("dependentRequired",), ("dependentSchemas",), ("oneOf",)),
)
_NO_SCHEMA: Json = {}
_DEEPEST = 40


class _Narrower(Exception):
    """The new schema refuses something; the message says what."""


def narrower(old: Json, new: Json, old_defs: Mapping[str, Json], new_defs: Mapping[str, Json]) -> str | None:
    """What the new schema refuses that the old one took, in words; None where it takes all of it."""
    try:
        _Pair(old_defs, new_defs).check(old, new, (), 0)
    except _Narrower as error:
        return str(error)
    return None


class _Pair:
    def __init__(self, old_defs: Mapping[str, Json], new_defs: Mapping[str, Json]) -> None:
        self._old_defs = old_defs
        self._new_defs = new_defs

    def check(self, old: Json, new: Json, at: tuple[str, ...], depth: int) -> None:
        """Raises `_Narrower` unless every value that fits `old` fits `new`."""
        if depth > _DEEPEST:
            raise _Narrower(_placed(at, "is nested too deeply to be judged"))
        if new is True or new == {} or old is False:
            return
        if self._same(old, new):
            return
        if "$ref" in _mapping(old):
            self.check(_resolved(_mapping(old), self._old_defs, at), new, at, depth + 1)
            return
        if "$ref" in _mapping(new):
            self.check(old, _resolved(_mapping(new), self._new_defs, at), at, depth + 1)
            return
        if new is False:
            raise _Narrower(_placed(at, "is not allowed any more"))
        self._plain(_mapping(old), _mapping(new), at, depth)

    def _same(self, old: Json, new: Json) -> bool:
        """Whether two schemas say the same, with what they name on either side."""
        if old != new:
            return False
        open_names = _names(old)
        seen: set[str] = set()
        while open_names:
            name = open_names.pop()
            if name in seen:
                continue
            seen.add(name)
            if self._old_defs.get(name) != self._new_defs.get(name):
                return False
            open_names |= _names(self._old_defs.get(name))
        return True

    def _plain(self, old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...], depth: int) -> None:
        listed = [old["const"]] if "const" in old else old.get("enum")
        if listed is not None:
            self._values(listed, new, at)
            return
        for keyword in ("anyOf", "oneOf"):
            if keyword in old and not self._same(old[keyword], new.get(keyword)):
                rest = {key: value for key, value in old.items() if key != keyword}
                for way in old[keyword]:
                    self.check({"allOf": [rest, way]} if rest else way, new, at, depth + 1)
                return
        if "allOf" in old and not self._same(old["allOf"], new.get("allOf")):
            self._all_of_old(old, new, at, depth)
            return
        if "allOf" in new and not self._same(old.get("allOf"), new["allOf"]):
            for part in new["allOf"]:
                self.check(old, part, at, depth + 1)
        if "anyOf" in new and not self._same(old.get("anyOf"), new["anyOf"]):
            self._any_of_new(old, new["anyOf"], at, depth)
        self._itself(old, new, at)
        self._members(old, new, at, depth)

    def _values(self, listed: list[Json], new: Mapping[str, Any], at: tuple[str, ...]) -> None:
        """Of a finite set each value is tried."""
        try:
            check = compile_schema({**new, "$defs": dict(self._new_defs)})
        except (ValidationError, ValueError) as error:
            raise _Narrower(_placed(at, "is no schema any more")) from error
        for value in listed:
            if not check.is_valid(value):
                raise _Narrower(_placed(at, f"no longer takes {_shown(value)}"))

    def _all_of_old(self, old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...], depth: int) -> None:
        """A value fits all parts, so it is enough that one of them, or all joined, is within the new schema."""
        rest = {key: value for key, value in old.items() if key != "allOf"}
        parts = [part for part in (*old["allOf"], rest) if part not in ({}, True)]
        joined: dict[str, Json] | None = {}
        for part in parts:
            part = _resolved(_mapping(part), self._old_defs, at) if "$ref" in _mapping(part) else part
            if joined is None or not isinstance(part, Mapping) or joined.keys() & part.keys():
                joined = None
                break
            joined |= part
        reasons = []
        for one in [*([joined] if joined is not None else []), *parts]:
            if isinstance(one, Mapping) and one == old:
                continue
            try:
                self.check(one, new, at, depth + 1)
                return
            except _Narrower as error:
                reasons.append(error)
        raise reasons[0] if reasons else _Narrower(_placed(at, "changed in a way that cannot be judged"))

    def _any_of_new(self, old: Mapping[str, Any], ways: list[Json], at: tuple[str, ...], depth: int) -> None:
        reasons = []
        for way in ways:
            try:
                self.check(old, way, at, depth + 1)
                return
            except _Narrower as error:
                reasons.append(error)
        types = _types(old)
        if len(types) > 1:
            # Each type may have a form of its own.
            for kind in sorted(types):
                narrowed = {**old, "type": kind}
                if not any(self._takes(narrowed, way, at, depth) for way in ways):
                    raise reasons[0]
            return
        raise reasons[0]

    def _takes(self, old: Json, new: Json, at: tuple[str, ...], depth: int) -> bool:
        try:
            self.check(old, new, at, depth + 1)
        except _Narrower:
            return False
        return True

    def _itself(self, old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...]) -> None:
        """Types, values, bounds, patterns: the value without what it holds."""
        types = _types(old)
        wider = _types(new)
        wider = wider | {"integer"} if "number" in wider else wider
        if lacking := sorted(types - wider):
            raise _Narrower(_placed(at, f"no longer takes {' or '.join(lacking)}"))
        if "enum" in new or "const" in new:
            raise _Narrower(_placed(at, "takes only listed values now"))
        if types & {"number", "integer"}:
            _check_range(old, new, at)
        for keyword, (kind, upward) in _LIMITS.items():
            if kind in types and keyword in new:
                before = old.get(keyword, 0 if upward else None)
                if before is None or (new[keyword] > before if upward else new[keyword] < before):
                    raise _Narrower(_placed(at, f"has a {keyword} of {new[keyword]} now"))
        if "string" in types and "pattern" in new and new["pattern"] != old.get("pattern"):
            raise _Narrower(_placed(at, "must match another pattern now"))
        wanted = new.get("format")
        if "string" in types and wanted is not None and wanted != old.get("format") and wanted not in _DESCRIBING:
            raise _Narrower(_placed(at, f"must have the format {wanted} now"))
        if "array" in types and new.get("uniqueItems") is True and old.get("uniqueItems") is not True:
            raise _Narrower(_placed(at, "must not hold the same item twice now"))
        for together in _WHOLE:
            if together[0] in new and any(not self._same(old.get(one), new.get(one)) for one in together):
                raise _Narrower(_placed(at, f"has another `{together[0]}` now"))
        for keyword in ("unevaluatedProperties", "unevaluatedItems"):
            if keyword in new:
                # What it refuses depends on all that stands beside it, and that is another.
                raise _Narrower(_placed(at, f"changed beside `{keyword}`"))

    def _members(self, old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...], depth: int) -> None:
        types = _types(old)
        if "array" in types and ("items" in new or "prefixItems" in new):
            if "prefixItems" not in old and "prefixItems" not in new:
                self.check(old.get("items", _NO_SCHEMA), new["items"], (*at, "[]"), depth + 1)
            elif any(not self._same(old.get(keyword), new.get(keyword)) for keyword in ("items", "prefixItems")):
                raise _Narrower(_placed(at, "has other items now"))
        if "object" not in types:
            return
        if added := [name for name in new.get("required", ()) if name not in old.get("required", ())]:
            raise _Narrower(_placed(at, f"requires {', '.join(added)} now"))
        by_pattern = "patternProperties" in old or "patternProperties" in new
        other_before = old.get("additionalProperties", True)
        other_after = new.get("additionalProperties", True)
        is_same = self._same(old.get("patternProperties"), new.get("patternProperties"))
        if by_pattern and not is_same and ("patternProperties" in new or other_after is not True):
            raise _Narrower(_placed(at, "has other `patternProperties` now"))
        before, after = old.get("properties", {}), new.get("properties", {})
        # A name that a pattern takes is not held against `additionalProperties`.
        unknown = True if by_pattern else other_before
        for name in sorted({*before, *after}):
            self.check(before.get(name, unknown), after.get(name, other_after), (*at, name), depth + 1)
        self.check(other_before, other_after, (*at, "*"), depth + 1)


def _check_range(old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...]) -> None:
    for plain, exclusive, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        before, after = _bound(old, plain, exclusive, sign), _bound(new, plain, exclusive, sign)
        if after is not None and (before is None or after > before):
            limit = new.get(exclusive, new.get(plain))
            raise _Narrower(_placed(at, f"has a {plain} of {limit} now"))
    step = new.get("multipleOf")
    if step is not None:
        known = old.get("multipleOf")
        is_finer = isinstance(known, int) and isinstance(step, int) and known % step == 0
        if known != step and not is_finer:
            raise _Narrower(_placed(at, f"must be a multiple of {step} now"))


def _bound(schema: Mapping[str, Any], plain: str, exclusive: str, sign: int) -> tuple[float, int] | None:
    """A limit so that a greater one is narrower; an exclusive limit is narrower than the same one inclusive."""
    found = []
    if plain in schema:
        found.append((sign * schema[plain], 0))
    if exclusive in schema:
        found.append((sign * schema[exclusive], 1))
    return max(found) if found else None


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    said = schema.get("type")
    if said is None:
        return _TYPES - {"integer"}
    return frozenset({said} if isinstance(said, str) else said)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Json], at: tuple[str, ...]) -> Json:
    name = str(schema["$ref"]).removeprefix("#/$defs/")
    if name not in definitions:
        raise _Narrower(_placed(at, "names a schema that is not there"))
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    return {"allOf": [definitions[name], rest]} if rest else definitions[name]


def _names(schema: Json) -> set[str]:
    """The definitions that a schema names; too many are better than too few here."""
    found: set[str] = set()
    open_values = [schema]
    while open_values:
        value = open_values.pop()
        if isinstance(value, Mapping):
            if isinstance(value.get("$ref"), str):
                found.add(value["$ref"].removeprefix("#/$defs/"))
            open_values += value.values()
        elif isinstance(value, list):
            open_values += value
    return found


def _mapping(schema: Json) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {} if schema is True else {"not": {}}


def _placed(at: tuple[str, ...], message: str) -> str:
    return f"{'.'.join(at)} {message}" if at else message


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
