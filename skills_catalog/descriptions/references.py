"""Follows the `$ref`s of a description: only within the document, and never round in a circle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

#: References that may lead to further references, one after the other.
_MOST_STEPS = 20


class BadReference(ValueError):
    """A `$ref` that is not followed; the message says why."""


class References:
    """The document in which `$ref`s lead from one place to another (RFC 6901 pointers)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolved(self, node: Any) -> Any:
        """The node, or what its `$ref` leads to in the end."""
        for _ in range(_MOST_STEPS):
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                return node
            node = self.at(node["$ref"])
        raise BadReference("`$ref`s lead round in a circle")

    def at(self, reference: str) -> Any:
        """What stands at a reference such as `#/components/schemas/Pet`."""
        if not reference.startswith("#"):
            raise BadReference(f"`$ref` leads out of the file, to {_short(reference)}; bundle the files into one first")
        place: Any = self._document
        for step in steps_of(reference):
            if isinstance(place, dict) and step in place:
                place = place[step]
            elif isinstance(place, list) and step.isascii() and step.isdigit() and int(step) < len(place):
                place = place[int(step)]
            else:
                raise BadReference(f"`$ref` to {_short(reference)}, which is not there")
        return place


def steps_of(reference: str) -> list[str]:
    """The steps of a pointer within the file: `#/components/schemas/a~1b` is `components`, `schemas`, `a/b`."""
    pointer = unquote(reference[1:])
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}…"
