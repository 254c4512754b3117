"""JSON as it comes in: what two parsers could read in two ways is refused instead of guessed."""

from __future__ import annotations

import json
import math
import re
from itertools import islice
from typing import Any, Never

MAX_DEPTH = 64
MAX_NODES = 100_000
_MAX_INT = 2**63
#: A comma or opening bracket outside of strings with all that stands before it, and at last the rest of the text.
#: It matches wherever it begins and goes back over nothing, so that no text costs more than its length.
_UP_TO_A_VALUE = re.compile(r'(?!\Z)(?:[^",\[{]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"?)*+(?:[,\[{]|\Z)', re.DOTALL)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotStrictJson(ValueError):
    """The text is not JSON, or is JSON that parsers disagree about; the message is fit to show."""


def parse(body: bytes) -> Any:
    """The value of a UTF-8 JSON text (RFC 8259).

    Refuses duplicate names, NaN and infinities, integers outside ±2^63, numbers too large for a double,
    lone surrogates, nesting over 64 and more than 100,000 values.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"the body is not UTF-8 (byte {error.start})") from None
    _refuse_many_values(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise NotStrictJson("the body starts with a byte order mark; send plain UTF-8") from None
        raise NotStrictJson(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotStrictJson(f"the JSON is nested deeper than {MAX_DEPTH}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _refuse_depth(value)
    if _ESCAPED_SURROGATE.search(text):
        _refuse_lone_surrogates(value)
    return value


def _refuse_many_values(text: str) -> None:
    if text.count(",") + text.count("[") + text.count("{") <= MAX_NODES:
        return
    if sum(1 for _ in islice(_UP_TO_A_VALUE.finditer(text), MAX_NODES + 2)) > MAX_NODES + 1:
        raise NotStrictJson(f"the JSON holds more than {MAX_NODES} values")


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
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
