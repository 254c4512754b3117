"""Reads YAML as if it were JSON with comments: no anchors, aliases, tags, merge keys or duplicate keys.

A plain scalar is a number, a truth value or null only where JSON would say so; `no`, `on`, `08`, `1:30` and
dates are strings. Size and depth are capped before anything is built, so that no file costs more than its size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from skills_catalog.mistakes import CatalogError, Mistake

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 32

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "": None}
#: Integers must survive every JSON reader and writer on the way.
_LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """The line of a value (from 1), and the places of what it holds."""

    line: int
    inner: dict[Any, Place] | list[Place] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The value of a file, and where each part of it stands."""

    source: str
    value: Any
    place: Place

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the deepest part of `path` that the file has."""
        place = self.place
        for step in path:
            inner = place.inner
            if isinstance(inner, list):
                inner = dict(enumerate(inner))
            if inner is None or step not in inner:
                break
            place = inner[step]
        return place.line

    def mistake(self, path: Sequence[str | int], message: str) -> Mistake:
        return Mistake(file=self.source, line=self.line(path), field=dotted(path), message=message)


def read(content: str | bytes, source: str) -> Document:
    """The one document of `content`; raises `CatalogError` that names line and field."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(raw) > MAX_BYTES:
        raise _refusal(source, 1, (), f"The file is larger than {MAX_BYTES // 1024**2} MB.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(source, raw[: error.start].count(b"\n") + 1, (), "The file is not UTF-8.") from error
    try:
        return _Reader(text, source).document()
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _refusal(source, line, (), f"Not YAML: {error.reason}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(source, _line(mark), (), f"Not YAML: {error.problem}.") from error


def dotted(path: Sequence[str | int]) -> str:
    """`actions.create_issue.examples.0`."""
    return ".".join(str(step) for step in path)


def _line(mark: Any) -> int:
    return mark.line + 1 if mark else 1


def _refusal(source: str, line: int, path: Sequence[str | int], message: str) -> CatalogError:
    return CatalogError([Mistake(file=source, line=line, field=dotted(path), message=message)])


class _Reader:
    """Builds the value from the parser's events; the first hard mistake ends it, duplicates are collected."""

    def __init__(self, text: str, source: str) -> None:
        self._parser = yaml.CSafeLoader(text)
        self._source = source
        self._path: list[str | int] = []
        self._mistakes: list[Mistake] = []

    def document(self) -> Document:
        self._next()
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            self._refuse(start, "The file is empty.")
        if start.version or start.tags:
            self._refuse(start, "Directives (%YAML, %TAG) are not allowed.")
        value, place = self._node(self._next())
        self._next()
        end = self._next()
        if not isinstance(end, yaml.StreamEndEvent):
            self._refuse(end, "Only one document is allowed in a file.")
        if self._mistakes:
            raise CatalogError(self._mistakes)
        return Document(self._source, value, place)

    def _next(self) -> Any:
        return self._parser.get_event()

    def _node(self, event: Any) -> tuple[Any, Place]:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "Aliases (*name) are not allowed; write the value out.")
        if event.anchor is not None:
            self._refuse(event, "Anchors (&name) are not allowed; write the value out.")
        if event.tag is not None:
            self._refuse(event, f"Tags ({event.tag[:40]}) are not allowed.")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event), Place(_line(event.start_mark))
        if len(self._path) >= MAX_DEPTH:
            self._refuse(event, f"Nested deeper than {MAX_DEPTH} levels.")
        return self._mapping(event) if isinstance(event, yaml.MappingStartEvent) else self._sequence(event)

    def _mapping(self, start: Any) -> tuple[dict[str, Any], Place]:
        value: dict[str, Any] = {}
        places: dict[Any, Place] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event)
            line = event.start_mark.line + 1
            self._path.append(key)
            if key in value:
                self._note(line, f"Written twice; first in line {places[key].line}.")
            value[key], inner = self._node(self._next())
            # The line of a property is the line of its name, where an editor would look for it.
            places[key] = Place(line, inner.inner)
            self._path.pop()
        return value, Place(start.start_mark.line + 1, places)

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "Names must be plain text, without anchors or nesting.")
        if event.anchor is not None or event.tag is not None:
            self._refuse(event, "Names must be plain text, without anchors or tags.")
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, "Merge keys (<<) are not allowed; write the properties out.")
        return str(event.value)

    def _sequence(self, start: Any) -> tuple[list[Any], Place]:
        value: list[Any] = []
        places: list[Place] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._path.append(len(value))
            item, place = self._node(event)
            self._path.pop()
            value.append(item)
            places.append(place)
        return value, Place(start.start_mark.line + 1, places)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            # The length is checked first: reading a long row of digits takes quadratic time.
            if len(text) > 20 or abs(number := int(text)) > _LARGEST_INTEGER:
                self._refuse(event, "The number is too large; put it in quotes to make it text.")
            return number
        if _NUMBER.fullmatch(text):
            if not math.isfinite(decimal := float(text)):
                self._refuse(event, "The number is too large; put it in quotes to make it text.")
            return decimal
        return text

    def _note(self, line: int, message: str) -> None:
        self._mistakes.append(Mistake(file=self._source, line=line, field=dotted(self._path), message=message))

    def _refuse(self, event: Any, message: str) -> NoReturn:
        self._note(event.start_mark.line + 1, message)
        raise CatalogError(self._mistakes)
