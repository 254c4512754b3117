"""JSON for the command line: numbers stay as they were written, key order stays, nothing raw reaches a terminal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A JSON number as somebody wrote it: `1.0`, `1e400` and 40 digits survive, which no float or int would do."""

    text: str


Json: TypeAlias = "dict[str, Json] | list[Json] | str | Number | bool | None"

#: What JSON allows as a number (RFC 8259 §6).
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)

# Characters that steer a terminal or hide text from its reader: C0, DEL and C1 controls, bidirectional overrides,
# zero-width characters, tags (U+E0000 and on), lone surrogates. The two joiners that scripts need are left alone.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def loads(text: str | bytes) -> Json:
    """The value that the text says; ValueError for anything that is not JSON, a key given twice, NaN, endless depth."""
    try:
        value: Json = json.loads(
            text,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def dumps(value: Json) -> str:
    """The value as one line of JSON."""
    match value:
        case Number():
            return value.text
        case dict():
            return "{" + ",".join(f"{_string(name)}:{dumps(member)}" for name, member in value.items()) + "}"
        case list():
            return "[" + ",".join(dumps(member) for member in value) + "]"
        case str():
            return _string(value)
        case _:
            return json.dumps(value)


def pretty(value: Json, *, colour: bool = False, indent: str = "") -> str:
    """The value as JSON for a person to read: indented, and safe to write to a terminal."""
    inner = indent + "  "
    match value:
        case dict() if value:
            members = (
                f"{inner}{_key(name, colour)}: {pretty(member, colour=colour, indent=inner)}"
                for name, member in value.items()
            )
            return "{\n" + ",\n".join(members) + f"\n{indent}}}"
        case list() if value:
            return "[\n" + ",\n".join(inner + pretty(v, colour=colour, indent=inner) for v in value) + f"\n{indent}]"
        case _:
            return _UNSAFE.sub(_json_escape, dumps(value))


def plain(text: str) -> str:
    """The text on one line, with whatever could steer a terminal shown as an escape instead."""
    return _UNSAFE.sub(_visible_escape, re.sub(r"[\t\n\r]+", " ", text))


def _number(text: str) -> Number:
    return Number(text=text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Json]]) -> Json:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return members


def _string(text: str) -> str:
    return re.sub("[\ud800-\udfff]", _json_escape, json.dumps(text, ensure_ascii=False))


def _key(name: str, colour: bool) -> str:
    text = _UNSAFE.sub(_json_escape, _string(name))
    return f"\x1b[36m{text}\x1b[0m" if colour else text


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _visible_escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
