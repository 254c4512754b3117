"""Brings one more example into a definition, whose text stays as people wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from skills_catalog.model import Json
from skills_catalog.strict_yaml import Document
from skills_catalog.writing import block


class CannotAdd(ValueError):
    """The file has no place for it; the message says what to do."""


def lines_of(example: Mapping[str, Json]) -> list[str]:
    """The example as it stands below `examples:`, without the room before it."""
    first, *others = block(example)
    return [f"- {first}", *(f"  {line}" for line in others)]


def with_example(text: str, document: Document, action: str, example: Mapping[str, Json]) -> str:
    """The text of a definition with the example after those of the action.

    Raises `CannotAdd` where there is no such action, where it has the very example, or where its examples stand on one line.
    """
    actions = document.value.get("actions", {})
    if action not in actions:
        raise CannotAdd(f"The file has no action {action}.")
    if example in actions[action]["examples"]:
        raise CannotAdd(f"The file has this example of {action} already.")
    places = document.place.inner
    for step in ("actions", action, "examples"):
        assert isinstance(places, dict)
        places = places[step].inner
    assert isinstance(places, list)
    lines = text.split("\n")
    first = places[0].line - 1
    dash = re.match(r"( *)- ", lines[first])
    if dash is None:
        raise CannotAdd(f"The examples of {action} stand on one line; put them below each other, each after a dash.")
    indent, end = len(dash[1]), first + 1
    while end < len(lines) and _belongs(lines[end], indent):
        end += 1
    # Comments and empty lines before what follows belong to that.
    while re.fullmatch(r"\s*(#.*)?", lines[end - 1]):
        end -= 1
    lines[end:end] = [f"{' ' * indent}{line}" if line else line for line in lines_of(example)]
    return "\n".join(lines)


def _belongs(line: str, indent: int) -> bool:
    """Whether a line goes on with a list whose dashes stand at that place."""
    if not line.strip() or line.lstrip().startswith("#"):
        return True
    room = len(line) - len(line.lstrip(" "))
    return room > indent or (room == indent and line[room:].startswith("-"))
