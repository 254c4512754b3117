"""Writes definitions as YAML the way people do: short things on one line, long ones below each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from skills_catalog.descriptions.model import Json

WIDTH = 120
#: Lists whose members always stand below each other.
_BELOW = frozenset({"auth", "examples"})
#: A plain scalar in block and in flow context, as every YAML reader takes it for text.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_ .,;()/+@=!?'’–…$^*%<>\"`&|~{}\[\]-]*|[0-9]+\.[0-9]+\.[0-9]+")
_PLAIN_IN_FLOW = re.compile(r"[A-Za-z_/$][A-Za-z0-9_ .;()/+@=!'’–…$^*%<>~-]*")
#: Words that YAML 1.1 takes for something else.
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"})
_COLON = re.compile(r":(?=\S)")


def scalar(value: Json, *, in_flow: bool = True) -> str:
    """A value without members."""
    if not isinstance(value, str):
        return json.dumps(value, allow_nan=False)
    text = _COLON.sub("", value)
    pattern = _PLAIN_IN_FLOW if in_flow else _PLAIN
    is_plain = (
        pattern.fullmatch(text)
        and value == value.strip()
        and value.lower().strip("._") not in _WORDS
        and " #" not in value
        and not value.startswith(":")
        and not value.endswith(":")
        # Beside a quote or a bracket a colon ends a name in flow context.
        and not (in_flow and ":" in value and not re.fullmatch(r"[A-Za-z0-9_./:-]+", value))
    )
    return value if is_plain else _quoted(value)


def flow(value: Json) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(name)}: {flow(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow(inner) for inner in value)}]"
    return scalar(value)


def block(value: Mapping[str, Json], indent: int = 0, notes: Mapping[str, str] | None = None) -> Iterator[str]:
    """The lines of a mapping; `notes` are comments behind the line of a key."""
    for name, inner in value.items():
        note = f"  # {notes[name]}" if notes and name in notes else ""
        yield from _member(name, f"{' ' * indent}{_key(name)}:", inner, indent, note)


def _member(name: str, head: str, value: Json, indent: int, note: str) -> Iterator[str]:
    if not isinstance(value, Mapping | list | tuple):
        yield f"{head} {scalar(value, in_flow=False)}{note}"
        return
    line = f"{head} {flow(value)}"
    is_list_of_things = name in _BELOW and isinstance(value, list) and any(isinstance(one, Mapping) for one in value)
    if not value or (len(line) + len(note) <= WIDTH and not is_list_of_things):
        yield line + note
        return
    if isinstance(value, list) and not any(isinstance(one, Mapping | list) for one in value):
        yield from _filled(f"{head} [", [scalar(one) for one in value], indent + 2, note)
        return
    yield f"{head}{note}"
    if isinstance(value, Mapping):
        yield from block(value, indent + 2)
        return
    for inner in value:
        yield from _item(inner, indent + 2)


def _filled(line: str, words: list[str], indent: int, note: str) -> Iterator[str]:
    """A list of plain values over as many lines as it takes."""
    for number, word in enumerate(words):
        piece = word + ("," if number < len(words) - 1 else "]")
        if len(line) + len(piece) + 1 > WIDTH and line.strip():
            yield line.rstrip()
            line = " " * indent
        line += piece if line.endswith(("[", " ")) else f" {piece}"
    yield line + note


def _item(value: Json, indent: int) -> Iterator[str]:
    line = f"{' ' * indent}- {flow(value)}"
    if not isinstance(value, Mapping | list | tuple) or not value or len(line) <= WIDTH:
        yield line
        return
    if isinstance(value, Mapping):
        lines = list(block(value, indent + 2))
        yield f"{' ' * indent}- {lines[0].lstrip()}"
        yield from lines[1:]
        return
    yield f"{' ' * indent}-"
    for inner in value:
        yield from _item(inner, indent + 2)


def _key(name: str) -> str:
    """The name of a member. Digits alone, and words that mean something, are quoted."""
    is_plain = re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$.-]*", name) and name.lower() not in _WORDS
    return name if is_plain else _quoted(name)


def _quoted(text: str) -> str:
    # What JSON writes as it is and YAML does not allow: C1 controls, the byte order mark, separators of lines.
    return re.sub(
        r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]",
        lambda match: f"\\u{ord(match[0]):04x}",
        json.dumps(text, ensure_ascii=False),
    )
