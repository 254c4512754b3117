"""Makes values that a schema takes, for the examples of imported actions: the vendor's own first, else the plainest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from skills_catalog.descriptions.model import NOTHING, Json
from skills_catalog.descriptions.schemas import referred
from skills_catalog.importing.patterns import matching
from skills_catalog.linting.safety import looks_issued

_FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-05T10:00:00Z",
    "date": "2026-01-05",
    "time": "10:00:00Z",
    "duration": "P1D",
    "uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "email": "ada@example.com",
    "idn-email": "ada@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "https://example.com/",
    "iri": "https://example.com/",
    "iri-reference": "https://example.com/",
    "byte": "aGk=",
    "binary": "aGk=",
}
# What a name tells of its value, the first that fits.
_NAMES: Final = (
    (re.compile(r"e-?mail$", re.IGNORECASE), "ada@example.com"),
    (re.compile(r"(^|_)(url|uri|link|href)$|Url$|Uri$"), "https://example.com/"),
    (re.compile(r"(^|_)(date|day)$|Date$"), "2026-01-05"),
    (re.compile(r"_at$|(^|_)time$|Time$|timestamp"), "2026-01-05T10:00:00Z"),
    (re.compile(r"(^|_|-)(id|gid|ids)$|Ids?$"), "123"),
    (re.compile(r"(^|_)(color|colour)$"), "ff0000"),
    (re.compile(r"(^|_)(query|q)$"), "launch"),
    (re.compile(r"(^|_)(title|subject)$"), "Launch plan"),
    (re.compile(r"(^|_)(text|body|content|message|description|comment)$"), "Hello."),
    (re.compile(r"name$", re.IGNORECASE), "acme"),
)
#: Bytes of JSON that a vendor's own value may have.
_MOST_OWN = 400
#: Candidates that are held against their schemas before a value is given up.
_MOST_TRIES = 400
_DEEPEST = 6


class Samples:
    """Makes samples; `definition` gives the schema of a name, `fits` says whether a schema takes a value."""

    def __init__(self, definition: Callable[[str], Json], fits: Callable[[Json, Json], bool]) -> None:
        self._definition = definition
        self._check = fits
        self._tries = 0

    def of(self, schema: Json, name: str = "", own: Iterable[Json] = ()) -> Json:
        """A value that the schema takes, or `NOTHING` if none was found. `own` are the vendor's, tried first."""
        self._tries = _MOST_TRIES
        for value in own:
            if _is_fit_to_print(value) and self._fits(schema, value):
                return value
        for value in self._made(schema, name, _DEEPEST):
            if self._fits(schema, value):
                return value
            if self._tries <= 0:
                break
        return NOTHING

    def several(self, schema: Json, name: str = "") -> Iterator[Json]:
        """The values that the schema takes, as many as a few tries find."""
        self._tries = _MOST_TRIES
        yield from (value for value in islice(self._made(schema, name, _DEEPEST), 30) if self._fits(schema, value))

    def _fits(self, schema: Json, value: Json) -> bool:
        self._tries -= 1
        return self._tries > 0 and self._check(schema, value)

    def _made(self, schema: Json, name: str, depth: int) -> Iterator[Json]:
        """Candidates, the likeliest first."""
        if self._tries <= 0:
            return
        said = self._resolved(schema)
        if "const" in said:
            yield said["const"]
        yield from (value for value in [*said.get("enum", ())[:3], *said.get("examples", ())] if value is not None)
        for way in said.get("anyOf", ())[:12]:
            yield from islice(self._made(way, name, depth - 1), 2) if depth > 0 else ()
        if "default" in said:
            yield said["default"]
        kinds = [said["type"]] if isinstance(said.get("type"), str) else list(said.get("type", ()))
        if not kinds and "properties" in said:
            kinds = ["object"]
        for kind in kinds or ["string", "object"]:
            yield from self._of_type(kind, said, name, depth)

    def _of_type(self, kind: str, schema: Mapping[str, Json], name: str, depth: int) -> Iterator[Json]:
        match kind:
            case "string":
                yield from _texts(schema, name)
            case "integer" | "number":
                yield from _numbers(schema, is_whole=kind == "integer")
            case "boolean":
                yield True
                yield False
            case "array":
                yield self._array(schema, name, depth)
            case "object":
                yield self._object(schema, depth)
            case "null":
                yield None

    def _array(self, schema: Mapping[str, Json], name: str, depth: int) -> list[Json]:
        many = schema.get("minItems", 1 if depth > 0 else 0)
        if not many or many > 20:
            return []
        candidates = self._made(schema.get("items", {"type": "string"}), name.removesuffix("s"), depth - 1)
        if many > 1 and schema.get("uniqueItems"):
            items = schema.get("items", {})
            return list(_distinct((value for value in candidates if self._fits(items, value)), many))
        return [value for value in islice(candidates, 1) for _ in range(many)]

    def _object(self, schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
        properties = schema.get("properties", {})
        wanted = list(schema.get("required", ()))
        if not wanted and depth > 0:
            wanted = list(properties)[: schema.get("minProperties", 1)]
        made: dict[str, Json] = {}
        for name in wanted:
            inner = properties.get(name, schema.get("additionalProperties", {"type": "string"}))
            for value in self._made(inner if isinstance(inner, dict) else {}, name, depth - 1):
                if self._fits(inner, value):
                    made[name] = value
                    break
        if not properties and isinstance(schema.get("additionalProperties"), dict) and depth > 0:
            for value in islice(self._made(schema["additionalProperties"], "", depth - 1), 1):
                made["key"] = value
        return made

    def _resolved(self, schema: Json) -> Mapping[str, Json]:
        seen: set[str] = set()
        while (name := referred(schema)) is not None and name not in seen:
            seen.add(name)
            schema = self._definition(name)
        return schema if isinstance(schema, dict) else {}


def _texts(schema: Mapping[str, Json], name: str) -> Iterator[str]:
    wanted = str(schema.get("format", ""))
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    if schema.get("contentEncoding") == "base64":
        yield "aGk="
    if "pattern" in schema:
        yield from matching(schema["pattern"], least=least)
    if wanted in _FORMATS:
        yield _FORMATS[wanted]
    for pattern, value in _NAMES:
        if pattern.search(name) and least <= len(value) <= most:
            yield value
    for value in ("example", "1", "a", "123456", "en", "00000000-0000-0000-0000-000000000000", "a@example.com"):
        if least <= len(value) <= most:
            yield value
    if least and least <= 10_000:
        yield ("example " * (least // 8 + 1))[:least].strip().ljust(least, "e")
    yield ""


def _numbers(schema: Mapping[str, Json], *, is_whole: bool) -> Iterator[int | float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    step = schema.get("multipleOf")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if over is not None:
        low = math.floor(over) + 1 if is_whole else over + 1
    if under is not None:
        high = math.ceil(under) - 1 if is_whole else under - 1
    for value in (1, low, high, 0, step, -1):
        if value is not None:
            number = math.ceil(value) if is_whole else value
            yield math.ceil(number / step) * step if step else number
    if low is not None and high is not None:
        yield (low + high) / 2


def _distinct(values: Iterator[Json], many: int) -> Iterator[Json]:
    seen: list[Json] = []
    for value in values:
        if len(seen) >= many:
            return
        if value not in seen:
            seen.append(value)
            yield value


def _is_fit_to_print(value: Json) -> bool:
    """Whether a vendor's own value is small, and holds nothing that a file could not."""
    if value is None or value in ("", [], {}):
        return False
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, UnicodeEncodeError, RecursionError):
        return False
    return (
        len(text) <= _MOST_OWN and not looks_issued(text) and all(abs(number) < 2**53 for number in _numbers_in(value))
    )


def _numbers_in(value: Json) -> Iterator[int | float]:
    open_values = [value]
    while open_values:
        one = open_values.pop()
        if isinstance(one, dict):
            open_values += one.values()
        elif isinstance(one, list):
            open_values += one
        elif isinstance(one, int | float):
            yield one
