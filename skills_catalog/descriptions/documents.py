"""Turns the bytes of a description into plain values, within bounds of size, depth and number of parts.

JSON and YAML are taken. Aliases of YAML are followed as long as the document written out stays within the bounds.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import orjson
import yaml

from skills_catalog.descriptions.model import DescriptionError

MAX_BYTES = 24 * 1024 * 1024
MAX_DEPTH = 100
#: Values in the document, aliases written out.
MAX_PARTS = 2_000_000

_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# The core schema of YAML 1.2; `no`, `on` and dates are text there.
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def read_document(content: bytes, source: str) -> Any:
    """The value of a JSON or YAML document. Raises `DescriptionError`."""
    if len(content) > MAX_BYTES:
        raise DescriptionError(f"{source}: is larger than {MAX_BYTES // 1024**2} MB.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DescriptionError(f"{source}: is not UTF-8.") from error
    if text.lstrip()[:1] in ("{", "["):
        return _json(text, source)
    return _Yaml(text, source).document()


def _json(text: str, source: str) -> Any:
    # Each part but the first is announced by one of these; in texts they only make the count larger.
    if sum(text.count(mark) for mark in ",[{") > MAX_PARTS:
        raise DescriptionError(f"{source}: has more than {MAX_PARTS} parts.")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg or "recursion limit" in error.msg:
            _too_deep(source)
        raise DescriptionError(f"{source}:{error.lineno}: is not JSON: {error.msg}.") from error
    _check_depth(value, source)
    return value


def _check_depth(value: Any, source: str) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for holder in level
            for inner in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    _too_deep(source)


def _too_deep(source: str) -> NoReturn:
    raise DescriptionError(f"{source}: is nested deeper than {MAX_DEPTH} levels.")


class _Yaml:
    """Builds the value from the parser's events, so that nothing is built that is over the bounds."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._parts = 0
        self._depth = 0
        #: Anchor -> its value, the parts that it has written out, and how deep it goes.
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._deepest = 0

    def document(self) -> Any:
        try:
            self._parser = yaml.CSafeLoader(self._text)
            self._next()
            if isinstance(self._next(), yaml.StreamEndEvent):
                raise DescriptionError(f"{self._source}: is empty.")
            value = self._node(self._next())
            self._next()
            if not isinstance(self._next(), yaml.StreamEndEvent):
                raise DescriptionError(f"{self._source}: holds more than one document.")
        except yaml.reader.ReaderError as error:
            raise DescriptionError(f"{self._source}: is not YAML: {error.reason}.") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise DescriptionError(f"{self._source}{line}: is not YAML: {error.problem}.") from error
        return value

    def _next(self) -> Any:
        return self._parser.get_event()

    def _node(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(event, 1)
        before, outer = self._parts, self._deepest
        self._deepest = self._depth
        value = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._parts - before + 1, self._deepest - self._depth)
        self._deepest = max(outer, self._deepest)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            # Not defined, or not complete yet: it would hold itself.
            self._refuse(event, f"*{event.anchor} names nothing that is complete before it")
        value, parts, depth = self._anchors[event.anchor]
        self._count(event, parts)
        self._deeper(event, depth)
        return value

    def _collection(self, event: Any) -> Any:
        self._depth += 1
        self._deeper(event, 0)
        value = self._mapping() if isinstance(event, yaml.MappingStartEvent) else self._sequence()
        self._depth -= 1
        return value

    def _mapping(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "names are plain text here")
            if event.value == "<<" and event.implicit[0]:
                self._refuse(event, "merge keys (<<) are not read; convert the document to JSON first")
            value[event.value] = self._node(self._next())
        return value

    def _sequence(self) -> list[Any]:
        value: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            value.append(self._node(event))
        return value

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0] or len(text) > 40:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        return text

    def _count(self, event: Any, parts: int) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            self._refuse(event, f"the document has more than {MAX_PARTS} parts")

    def _deeper(self, event: Any, further: int) -> None:
        self._deepest = max(self._deepest, self._depth + further)
        if self._deepest > MAX_DEPTH:
            self._refuse(event, f"the document is nested deeper than {MAX_DEPTH} levels")

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise DescriptionError(f"{self._source}:{event.start_mark.line + 1}: {message}.")
