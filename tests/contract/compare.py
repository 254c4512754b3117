"""What differs between two descriptions of the API, and whether a client that keeps to the old one would notice.

The policy: members of answers, optional members of requests, routes, codes and words may be added. Nothing that is there
is removed, renamed, or given another type; nothing that was taken is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skills_catalog.schemas import type_of

Json = Any
Kind = Literal["breaking", "additive"]
#: Who writes what a schema describes: a client (it may take more one day, never less), or the gateway (the other way).
Side = Literal["request", "response"]

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_LEVELS = ("read_only", "read_write", "full_access")
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_WORDS = frozenset({"summary", "description", "example", "examples", "tags", "title"})
_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was."""

    kind: Kind
    #: `GET /v1/events: query parameter limit`.
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def contract_of(document: Json) -> Json:
    """The part of a description that clients rely on: without words for people, which may change."""
    return {
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
        "security": document["security"],
        "paths": _without_words(document["paths"]),
        "components": _without_words(document["components"]),
    }


def differences(old: Json, new: Json) -> list[Difference]:
    """All that differs, in the order of the paths."""
    return [*_Comparison(old, new).paths()]


def code_differences(old: Mapping[str, int], new: Mapping[str, int]) -> list[Difference]:
    """The same of two tables of error codes with their statuses."""
    found = []
    for code in sorted({*old, *new}):
        if code not in new:
            found.append(Difference("breaking", f"error code {code}", "is gone"))
        elif code not in old:
            found.append(Difference("additive", f"error code {code}", "is new"))
        elif old[code] != new[code]:
            found.append(Difference("breaking", f"error code {code}", f"was {old[code]} and is {new[code]}"))
    return found


class _Comparison:
    """Walks through both documents together."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new

    def paths(self) -> Iterator[Difference]:
        old, new = self._old["paths"], self._new["paths"]
        for path in sorted({*old, *new}):
            for method in _METHODS:
                before, after = old.get(path, {}).get(method), new.get(path, {}).get(method)
                where = f"{method.upper()} {path}"
                if before is None and after is not None:
                    yield Difference("additive", where, "is new")
                elif before is not None and after is None:
                    yield Difference("breaking", where, "is gone")
                elif before is not None and after is not None:
                    yield from self._operation(where, before, after)

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[Difference]:
        if old.get("operationId") != new.get("operationId"):
            yield Difference("breaking", where, f"its name was {old.get('operationId')} and is {new.get('operationId')}")
        yield from self._access(where, old, new)
        if new.get("deprecated") and not old.get("deprecated"):
            yield Difference("additive", where, "is deprecated")
        yield from self._parameters(where, old, new)
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(where, old["responses"], new["responses"])

    def _access(self, where: str, old: Json, new: Json) -> Iterator[Difference]:
        was_open = self._is_open(old, self._old)
        if was_open != self._is_open(new, self._new):
            yield Difference("breaking" if was_open else "additive", where, "needs a key" if was_open else "needs no key")
        before, after = old.get("x-level", _LEVELS[0]), new.get("x-level", _LEVELS[0])
        if before != after:
            kind: Kind = "breaking" if _LEVELS.index(after) > _LEVELS.index(before) else "additive"
            yield Difference(kind, where, f"the level of its key was {before} and is {after}")
        if old.get("x-live-only", False) != new.get("x-live-only", False):
            wants_live = new.get("x-live-only", False)
            yield Difference("breaking" if wants_live else "additive", where, "whether a test key may is another")

    @staticmethod
    def _is_open(operation: Json, document: Json) -> bool:
        ways = operation.get("security", document.get("security", []))
        return not ways or {} in ways

    def _parameters(self, where: str, old: Json, new: Json) -> Iterator[Difference]:
        before = {(one["in"], one["name"]): one for one in old.get("parameters", ())}
        after = {(one["in"], one["name"]): one for one in new.get("parameters", ())}
        for place, name in sorted({*before, *after}):
            at = f"{where}: {place} parameter {name}"
            was, now = before.get((place, name)), after.get((place, name))
            if now is None:
                yield Difference("breaking", at, "is gone")
            elif was is None:
                required = now.get("required", False)
                yield Difference("breaking" if required else "additive", at, "is new" + (" and required" if required else ""))
            else:
                yield from self._required(at, was.get("required", False), now.get("required", False))
                yield from self._schema(at, was.get("schema", {}), now.get("schema", {}), "request")

    @staticmethod
    def _required(where: str, old: bool, new: bool) -> Iterator[Difference]:
        if old != new:
            yield Difference("breaking" if new else "additive", where, f"is {'' if new else 'no longer '}required")

    def _body(self, where: str, old: Json, new: Json) -> Iterator[Difference]:
        at = f"{where}: body"
        if old is None and new is not None:
            required = new.get("required", False)
            yield Difference("breaking" if required else "additive", at, "is new" + (" and required" if required else ""))
        elif new is None and old is not None:
            yield Difference("breaking", at, "is no longer read")
        elif old is not None:
            yield from self._required(at, old.get("required", False), new.get("required", False))
            yield from self._content(at, old["content"], new["content"], "request")

    def _responses(self, where: str, old: Json, new: Json) -> Iterator[Difference]:
        for status in sorted({*old, *new}):
            at = f"{where}: {status}"
            if status not in new:
                # What no longer goes wrong is nobody's loss; what no longer comes back is.
                kind: Kind = "additive" if status[0] in "45" else "breaking"
                yield Difference(kind, at, "is gone")
            elif status not in old:
                yield Difference("additive", at, "is new")
            else:
                before, after = self._resolved(old[status], self._old), self._resolved(new[status], self._new)
                yield from _codes_differ(f"{at}.error", before.get("x-codes", ()), after.get("x-codes", ()))
                yield from self._headers(at, before.get("headers", {}), after.get("headers", {}))
                yield from self._content(at, before.get("content", {}), after.get("content", {}), "response")

    def _headers(self, where: str, old: Json, new: Json) -> Iterator[Difference]:
        for name in sorted({*old, *new}):
            at = f"{where}: header {name}"
            if name not in new:
                yield Difference("breaking", at, "is gone")
            elif name not in old:
                yield Difference("additive", at, "is new")
            else:
                before, after = self._resolved(old[name], self._old), self._resolved(new[name], self._new)
                if before.get("required", False) and not after.get("required", False):
                    yield Difference("breaking", at, "is no longer always there")
                yield from self._schema(at, before.get("schema", {}), after.get("schema", {}), "response")

    def _content(self, where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
        for kind in sorted({*old, *new}):
            at = where if kind == "application/json" else f"{where}: {kind}"
            if kind not in new:
                yield Difference("breaking", at, f"{kind} is gone")
            elif kind not in old:
                # Nobody who sends or reads JSON is asked to do otherwise.
                yield Difference("additive" if old or side == "request" else "breaking", at, f"{kind} is new")
            else:
                yield from self._schema(at, old[kind].get("schema", {}), new[kind].get("schema", {}), side)

    # ------------------------------------------------------------------ schemas

    def _schema(self, where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
        old, new = _merged(self._resolved_all(old, self._old)), _merged(self._resolved_all(new, self._new))
        if "anyOf" in old or "anyOf" in new or "oneOf" in old or "oneOf" in new:
            yield from self._ways(where, old, new, side)
            return
        yield from _types_differ(where, old, new, side)
        yield from _values_differ(where, old, new, side)
        yield from _bounds_differ(where, old, new, side)
        for keyword in ("pattern", "format", "multipleOf", "uniqueItems", "not"):
            yield from _limit_differs(where, keyword, old.get(keyword), new.get(keyword), side)
        if side == "request" and old.get("default") != new.get("default"):
            yield Difference("breaking", where, f"left out it was {old.get('default')!r} and is {new.get('default')!r}")
        yield from self._members(where, old, new, side)
        if "items" in old or "items" in new:
            yield from self._schema(f"{where}[]", old.get("items", {}), new.get("items", {}), side)

    def _members(self, where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = {*old.get("required", ())}, {*new.get("required", ())}
        for name in sorted({*before, *after}):
            at = f"{where}.{name}"
            if name not in after:
                yield Difference("breaking", at, "is gone")
            elif name not in before:
                wanted = side == "request" and name in needs
                yield Difference("breaking" if wanted else "additive", at, "is new" + (" and required" if wanted else ""))
            else:
                yield from self._schema(at, before[name], after[name], side)
                if (name in needed) != (name in needs):
                    worse = (name in needs) == (side == "request")
                    yield Difference("breaking" if worse else "additive", at, _presence(side, name in needs))
        yield from self._others(where, old.get("additionalProperties", True), new.get("additionalProperties", True), side)

    def _others(self, where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
        """Members that the schema does not name."""
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self._schema(f"{where}.*", old, new, side)
        elif old != new:
            narrower = new is False or (old is True and isinstance(new, dict))
            worse = narrower == (side == "request")
            yield Difference("breaking" if worse else "additive", f"{where}.*", "other members are another matter")

    def _ways(self, where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
        """Alternatives: what a client may send must stay possible, what it may get must have been possible."""
        before, after = _ways_of(old), _ways_of(new)
        held, against = (before, after) if side == "request" else (after, before)
        for way in held:
            tries = [
                [*self._schema(where, *((way, other) if side == "request" else (other, way)), side)] for other in against
            ]
            broken = [[one for one in found if one.kind == "breaking"] for found in tries]
            if all(broken):
                # Told of the alternative that was most likely meant: the one of the same type.
                yield from min(zip(against, broken, strict=True), key=lambda pair: (_kind(pair[0]) != _kind(way), len(pair[1])))[1]
        if len(before) != len(after):
            yield Difference("additive", where, "its alternatives are others")

    def _resolved(self, value: Json, document: Json) -> Json:
        while isinstance(value, Mapping) and "$ref" in value:
            found = document
            for step in value["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            value = found
        return value

    def _resolved_all(self, schema: Json, document: Json) -> Json:
        """The schema with its own `$ref` and those under `allOf` followed."""
        schema = self._resolved(schema, document)
        if isinstance(schema, Mapping) and "allOf" in schema:
            return {**schema, "allOf": [self._resolved_all(part, document) for part in schema["allOf"]]}
        return schema


def _merged(schema: Json) -> Json:
    """`allOf` as one schema: enough for how ours are written."""
    if "allOf" not in schema:
        return schema
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in map(_merged, schema["allOf"]):
        for key, value in part.items():
            if key == "properties":
                mine = merged.setdefault("properties", {})
                merged["properties"] = {
                    **mine,
                    **{name: {**mine.get(name, {}), **member} for name, member in value.items()},
                }
            elif key == "required":
                merged["required"] = [*merged.get("required", ()), *value]
            else:
                merged[key] = value
    return merged


def _kind(way: Json) -> Json:
    return way.get("type"), "const" in way, "$ref" in way


def _types_differ(where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
    before, after = _types(old), _types(new)
    if before == after:
        return
    lost, won = before - after, after - before
    shown = f"was {_words(before)} and is {_words(after)}"
    worse = lost if side == "request" else won
    yield Difference("breaking" if worse else "additive", where, shown)


def _types(schema: Json) -> frozenset[str]:
    said = schema.get("type")
    if said is None:
        values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
        return frozenset(map(type_of, values)) if values else _TYPES
    found = frozenset([said] if isinstance(said, str) else said)
    return found | {"integer"} if "number" in found else found


def _words(types: frozenset[str]) -> str:
    return "anything" if types == _TYPES else " or ".join(sorted(types))


def _codes_differ(where: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Difference]:
    """What a route refuses with."""
    yield from (Difference("breaking", where, f"the value {code!r} is gone") for code in old if code not in new)
    yield from (Difference("additive", where, f"the value {code!r} is new") for code in new if code not in old)


def _values_differ(where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
    before, after = _values(old), _values(new)
    if before is None or after is None:
        if before != after:
            # Words of answers may become more at any time: that they are listed no longer takes nothing away.
            narrower = side == "request" and before is None
            yield Difference("breaking" if narrower else "additive", where, "whether its words are listed is another")
        return
    for value in before:
        if value not in after:
            yield Difference("breaking", where, f"the value {value!r} is gone")
    for value in after:
        if value not in before:
            yield Difference("additive", where, f"the value {value!r} is new")


def _values(schema: Json) -> Sequence[Json] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema.get("enum")  # type: ignore[no-any-return]


def _bounds_differ(where: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
    for keyword in (*_LEAST, *_MOST):
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        if before is None or after is None:
            narrower = before is None
        else:
            narrower = after > before if keyword in _LEAST else after < before
        worse = narrower == (side == "request")
        yield Difference("breaking" if worse else "additive", where, f"{keyword} was {before} and is {after}")


def _limit_differs(where: str, keyword: str, old: Json, new: Json, side: Side) -> Iterator[Difference]:
    """A keyword that only narrows: two of them that differ cannot be weighed."""
    if old == new:
        return
    narrower, wider = old is None, new is None
    worse = not wider if side == "request" else not narrower
    yield Difference("breaking" if worse else "additive", where, f"{keyword} was {old} and is {new}")


def _presence(side: Side, is_required: bool) -> str:
    if side == "request":
        return "is required" if is_required else "is no longer required"
    return "is always there" if is_required else "is no longer always there"


def _ways_of(schema: Json) -> list[Json]:
    ways = schema.get("anyOf") or schema.get("oneOf")
    if ways is None:
        types = schema.get("type")
        # `["string", "null"]` says the same as two alternatives.
        return [{**schema, "type": one} for one in types] if isinstance(types, list) else [schema]
    beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    return [{**beside, **way} for way in ways]


def _without_words(value: Json, *, names: bool = False) -> Json:
    """`names` is set where the keys are names of things: a member may be called `description`."""
    if isinstance(value, Mapping):
        return {
            key: _without_words(member, names=not names and key in ("properties", "schemas", "responses", "headers"))
            for key, member in value.items()
            if names or key not in _WORDS
        }
    return [_without_words(item) for item in value] if isinstance(value, list) else value
