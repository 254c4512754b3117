"""JSON as it comes in: what two parsers could read in two ways is refused instead of guessed."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Never

MAX_DEPTH = 64
MAX_NODES = 200_000
_MAX_INT = 2**63
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotStrictJson(ValueError):
    """The text is not JSON, or is JSON that parsers disagree about; the message is fit to show."""


def parse(body: bytes) -> Any:
    """The value of a UTF-8 JSON text (RFC 8259).

    Refuses duplicate names, NaN and infinities, integers outside ±2^63, numbers too large for a double,
    lone surrogates, nesting over 64 and more than 200,000 values.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"the body is not UTF-8 (byte {error.start})") from None
    _refuse_bombs(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise NotStrictJson("the body starts with a byte order mark; send plain UTF-8") from None
        raise NotStrictJson(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotStrictJson(f"the JSON is nested deeper than {MAX_DEPTH}") from None
    if _ESCAPED_SURROGATE.search(text):
        _refuse_lone_surrogates(value)
    return value


def _refuse_bombs(text: str) -> None:
    opened = text.count("[") + text.count("{")
    if opened <= MAX_DEPTH and text.count(",") < MAX_NODES:
        return
    structure = _STRING.sub("", text)
    if structure.count(",") + structure.count("[") + structure.count("{") > MAX_NODES:
        raise NotStrictJson(f"the JSON holds more than {MAX_NODES} values")
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", structure):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise NotStrictJson(f"the JSON is nested deeper than {MAX_DEPTH}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotStrictJson(f"the name {name[:60]!r} stands twice in one JSON object")
            seen.add(name)
    return value


def _constant(name: str) -> Never:
    raise NotStrictJson(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) <= 20 and -_MAX_INT <= (number := int(digits)) < _MAX_INT:
        return number
    raise NotStrictJson("an integer is outside ±2^63; send it as a string")


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise NotStrictJson("a number is too large for a double")
    return number


def _refuse_lone_surrogates(value: Any) -> None:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError:
                raise NotStrictJson("a string holds half of a surrogate pair") from None
        elif isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number
)
