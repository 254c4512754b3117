"""What the example of an imported action shows as its answer: the vendor's own example, cut down, or a made-up one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from skills_catalog.descriptions.model import NOTHING, Json, Operation, Response
from skills_catalog.descriptions.openapi import is_json, media_rank, plain_media
from skills_catalog.descriptions.schemas import resolved
from skills_catalog.importing.samples import Samples
from skills_catalog.importing.shapes import Shapes, TooLarge
from skills_catalog.linting.safety import looks_issued
from skills_catalog.verification.values import Values

#: Members that say what a thing is; of many they are shown first.
TELLING = frozenset({"id", "name", "title", "key", "email", "login", "username", "url", "state", "status", "type"})
_DEEPEST = 3
_MOST_MEMBERS = 8
_LONGEST_TEXT = 120
_MOST_BYTES = 1500
_TEXT = ("text/plain", "text/html", "text/csv", "text/markdown", "application/xml", "text/xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of an example, and what the action says of answers."""

    status: int
    data: Json = None
    has_data: bool = False
    is_binary: bool = False
    is_redirect: bool = False


class Answers:
    """Makes answers for the operations of one description."""

    def __init__(self, definitions: Mapping[str, Json], values: Values) -> None:
        self._definitions = definitions
        self._values = values
        self._shapes = Shapes(definitions)
        self._samples = Samples(self._shapes.definition, lambda _schema, _value: True)

    def of(self, operation: Operation) -> Answer:
        """The answer of a success, as small as can be shown."""
        response = _success(operation.responses)
        if response is None:
            return Answer(status=200, data={}, has_data=not operation.responses)
        status = _status(response, operation.method)
        if status in (204, 205) or operation.method == "HEAD" or not response.media:
            return Answer(status=status, is_redirect=300 <= status < 400)
        kinds = sorted(response.media, key=media_rank)
        media = kinds[0]
        if not is_json(media):
            is_binary = plain_media(media) not in _TEXT
            return Answer(status=status, data=None if is_binary else "…", has_data=not is_binary, is_binary=is_binary)
        schema = response.media[media]
        # What GraphQL answers stands below `data` and the name of the field.
        deepest = _DEEPEST + 2 if operation.path.endswith("graphql") else _DEEPEST
        data = self._data(schema, response, deepest)
        return Answer(status=status, data=None if data is NOTHING else data, has_data=data is not NOTHING)

    def _data(self, schema: Json, response: Response, deepest: int) -> Json:
        for example in response.examples:
            for depth in (_DEEPEST, 2, 1):
                data = _cut(example, depth)
                is_small = len(json.dumps(data)) <= _MOST_BYTES
                if is_small and (schema is None or self._values.takes(schema, data, "answer")):
                    return data
        if schema is None:
            return NOTHING
        for depth in range(deepest, 0, -1):
            data = self._made_up(schema, depth)
            if len(json.dumps(data)) <= _MOST_BYTES and self._values.takes(schema, data, "answer"):
                return data
        kinds = self._values.types(schema)
        empty: tuple[Json, ...] = ([], {}) if "array" in kinds else ({}, [])
        for plain in empty:
            if self._values.takes(schema, plain, "answer"):
                return plain
        return NOTHING

    def _made_up(self, schema: Json, depth: int) -> Json:
        """A value of the schema with its first members, those that are required before the others."""
        said = resolved(schema, self._definitions)
        if not isinstance(said, dict):
            return {}
        ways = [way for way in said.get("anyOf", ()) if not (isinstance(way, dict) and way.get("type") == "null")]
        if len(ways) == 1 and "properties" not in said:
            return self._made_up(ways[0], depth)
        known, required, _ = self._values.properties(schema)
        kinds = self._values.types(schema)
        if "array" in kinds and "object" not in kinds:
            items = said.get("items", {})
            return [self._made_up(items, depth - 1)] if depth > 0 else []
        if known and ("object" in kinds or not kinds) and depth <= 0:
            return {}
        if known and ("object" in kinds or not kinds):
            members: dict[str, Json] = {}
            for name in sorted(
                known, key=lambda name: (name not in required, len(known) > _MOST_MEMBERS and name not in TELLING)
            ):
                if name in ("error", "errors") and name not in required and members:
                    # A success shows no failures.
                    continue
                inner = resolved(known[name], self._definitions)
                is_plain = not self._values.types(inner) & {"object", "array"}
                if len(members) >= _MOST_MEMBERS or (not is_plain and depth <= 1):
                    continue
                if isinstance(inner, dict) and inner.get("writeOnly") is not True:
                    members[name] = self._made_up(known[name], depth - 1)
            return members
        own = [one for one in said.get("examples", ()) if self._values.takes(schema, one, "answer")]
        if own and len(json.dumps(own[0])) <= _LONGEST_TEXT and not looks_issued(json.dumps(own[0])):
            return own[0]
        try:
            shape = self._shapes.made(schema, depth=2, named=False)
        except TooLarge:
            return {}
        candidates = Samples(self._shapes.definition, self._shapes.validates)
        value = candidates.of(shape)
        return {} if value is NOTHING else value


def _success(responses: tuple[Response, ...]) -> Response | None:
    ordered = sorted(responses, key=lambda one: one.status)
    for begins in ("2", "default", "3"):
        for one in ordered:
            # 202 is answered where the thing is not done yet; a plain success tells more.
            if one.status.startswith(begins):
                return one
    return None


def _status(response: Response, method: str) -> int:
    if response.status.isdigit():
        return int(response.status)
    if response.status == "3XX":
        return 302
    return 200 if response.media else 204


def _cut(value: Json, depth: int) -> Json:
    """A value with its first members, to so many levels."""
    match value:
        case dict():
            if depth <= 0:
                return {}
            plain = sorted(value.items(), key=lambda item: isinstance(item[1], dict | list) and depth <= 1)
            return {name: _cut(inner, depth - 1) for name, inner in plain[:_MOST_MEMBERS]}
        case list():
            return [_cut(inner, depth - 1) for inner in value[:1]] if depth > 0 else []
        case str() if looks_issued(value):
            # What was once shown in documentation is no less a credential.
            return "example"
        case str():
            return value if len(value) <= _LONGEST_TEXT else f"{value[: _LONGEST_TEXT - 1]}…"
        case float() if value != value or abs(value) == float("inf"):
            return 0
        case int() if abs(value) >= 2**63:
            return 0
        case _:
            return value
