"""JSON looked at as text, level by level: pieces are not copied, and nothing is built up as objects.

What is large is looked at block by block: twenty megabytes may hold ten million items, and a Python object for each
would take a gigabyte.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import overload

import msgspec
import orjson

#: JSON text: bytes of its own, or a piece of others that was not copied.
Text = bytes | msgspec.Raw
#: Members that one object may have to be looked into by name.
MOST_MEMBERS = 10_000

_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAME = msgspec.json.Decoder(str)
#: How much is looked at in one go; up to so much is one block.
_BLOCK = 64 * 1024
#: Containers within containers that an expression sees through; deeper ones are counted down.
_DEPTH = 5
# Nothing here gives back what it took: text that is valid JSON needs no second try.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_INSIDE = rb'(?:[^"\[\]{}]++|%b)*+' % _STRING
for _ in range(_DEPTH):
    _INSIDE = rb'(?:[^"\[\]{}]++|%b|[\[{]%b[\]}])*+' % (_STRING, _INSIDE)
_UNIT = rb"%b|[\[{]%b[\]}]" % (_STRING, _INSIDE)
_string = re.compile(_STRING, re.DOTALL)
_name = re.compile(rb"\s*+(%b)\s*+:\s*+" % _STRING, re.DOTALL)
#: Whole items, each with the comma behind it.
_whole = re.compile(rb'(?:(?:[^,"\[\]{}]++|%b)++,)++' % _UNIT, re.DOTALL)
#: Whole strings and containers and what is between them, within one item or with the commas of several.
_balanced = re.compile(rb'(?:[^"\[\]{}]++|%b)++' % _UNIT, re.DOTALL)
_balanced_in_item = re.compile(rb'(?:[^,"\[\]{}]++|%b)++' % _UNIT, re.DOTALL)


class TooWide(Exception):
    """An object of more members than are looked into by name."""


class _Blocks(Sequence[msgspec.Raw]):
    """The items of an array, or the members of an object as objects of one member, found again block by block."""

    def __init__(self, data: Text) -> None:
        self._view = memoryview(data)
        self._is_object = head_of(data) == b"{"
        self._spans: list[tuple[int, int]] = []
        #: How many items lie before each block, and in all.
        self._before = [0]
        for start, end in _blocks(self._view):
            self._spans.append((start, end))
            self._before.append(self._before[-1] + self._count(start, end))

    def __len__(self) -> int:
        return self._before[-1]

    @overload
    def __getitem__(self, index: int) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[msgspec.Raw]: ...
    def __getitem__(self, index: int | slice) -> msgspec.Raw | list[msgspec.Raw]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            assert step == 1
            return [*islice(self.beginning(start), max(0, stop - start))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return next(self.beginning(index))

    def __iter__(self) -> Iterator[msgspec.Raw]:
        return self.beginning(0)

    def beginning(self, number: int) -> Iterator[msgspec.Raw]:
        """The items from this one on."""
        first = max(0, bisect_right(self._before, number) - 1)
        passed = number - self._before[first]
        for start, end in self._spans[first:]:
            yield from islice(self._inside(start, end), passed, None)
            passed = 0

    def _inside(self, start: int, end: int) -> Iterable[msgspec.Raw]:
        if not self._is_object:
            return _items(self._view, start, end)
        members = _members(self._view, start, end)
        return (msgspec.Raw(b"{%b:%b}" % (orjson.dumps(name), bytes(value))) for name, value in members)

    def _count(self, start: int, end: int) -> int:
        if end - start > _BLOCK:
            return 1
        if self._is_object:
            return len(_MEMBERS.decode(b"{%b}" % bytes(self._view[start:end])))
        return len(_ITEMS.decode(b"[%b]" % bytes(self._view[start:end])))


def head_of(data: Text) -> bytes:
    """The first character, which says what a value is."""
    return bytes(memoryview(data)[:1])


def items_of(data: Text) -> Sequence[msgspec.Raw]:
    """The items of an array. Raises `msgspec.DecodeError` for anything else."""
    if len(data) > _BLOCK and head_of(data) == b"[":
        return _Blocks(data)
    return _ITEMS.decode(data)


def single_members_of(data: Text) -> Sequence[msgspec.Raw]:
    """The members of an object, each as an object that has no other."""
    return _Blocks(data)


def some_of(items: Sequence[Text], start: int, most: int) -> Iterator[Text]:
    """Items from one on; those that nobody comes to are not looked at."""
    following = items.beginning(start) if isinstance(items, _Blocks) else islice(items, start, None)
    return islice(following, most)


def first_of(data: Text) -> Text | None:
    """The first item of an array, if it has one."""
    view = memoryview(data)
    for start, end in _blocks(view):
        return _items(view, start, end)[0]
    return None


def members_of(data: Text) -> dict[str, msgspec.Raw]:
    """The members of an object. Raises `TooWide`, and `msgspec.DecodeError` for anything else."""
    if len(data) <= _BLOCK or head_of(data) != b"{":
        return _MEMBERS.decode(data)
    members: dict[str, msgspec.Raw] = {}
    view = memoryview(data)
    for start, end in _blocks(view):
        members.update(_members(view, start, end))
        if len(members) > MOST_MEMBERS:
            raise TooWide
    return members


def member(data: Text, name: str) -> Text | None:
    """One member of an object, however many it has; of two with the same name the last."""
    view = memoryview(data)
    found: Text | None = None
    for start, end in _blocks(view):
        for one, value in _members(view, start, end):
            if one == name:
                found = value
    return found


def at(data: Text, path: Sequence[str]) -> Text:
    """The value under these names. Raises `KeyError`, or `msgspec.DecodeError` where there is no object."""
    for name in path:
        data = members_of(data)[name]
    return data


def replaced(data: Text, path: Sequence[str], value: bytes) -> bytes:
    """The same with another value at that place."""
    if not path:
        return value
    members: dict[str, Text] = {**members_of(data)}
    members[path[0]] = replaced(members[path[0]], path[1:], value)
    return written(members)


def array(items: Iterable[Text]) -> bytes:
    return b"[%b]" % b",".join([bytes(item) for item in items])


def written(members: Mapping[str, Text]) -> bytes:
    """An object of these members."""
    return b"{%b}" % b",".join([b"%b:%b" % (orjson.dumps(name), bytes(value)) for name, value in members.items()])


def _items(view: memoryview, start: int, end: int) -> list[msgspec.Raw]:
    """The items of one block; a large one is not copied."""
    if end - start <= _BLOCK:
        return _ITEMS.decode(b"[%b]" % bytes(view[start:end]))
    return [msgspec.Raw(view[slice(*_trimmed(view, start, end))])]


def _members(view: memoryview, start: int, end: int) -> Iterable[tuple[str, msgspec.Raw]]:
    """Names and values of one block; a large value is not copied."""
    if end - start <= _BLOCK:
        return _MEMBERS.decode(b"{%b}" % bytes(view[start:end])).items()
    name = _name.match(view, start)
    assert name is not None
    return [(_NAME.decode(name[1]), msgspec.Raw(view[slice(*_trimmed(view, name.end(), end))]))]


def _blocks(view: memoryview) -> Iterator[tuple[int, int]]:
    """Where whole items of a container lie, as many as a block holds; a larger item lies alone."""
    start, last = _trimmed(view, 1, len(view) - 1)
    position = start
    while position < last:
        window = min(last, start + _BLOCK)
        several = _whole.match(view, position, window)
        if several is not None:
            position = several.end()
            continue
        # What does not end within the window, the last item, or one that is deep.
        end = _end_of_item(view, position, last)
        if end - start > _BLOCK and position > start:
            # What was found before stands without it.
            yield start, position - 1
            start = position
        if end == last:
            yield start, last
            return
        position = end + 1
        if position - start > _BLOCK:
            yield start, end
            start = position


def _trimmed(view: memoryview, start: int, end: int) -> tuple[int, int]:
    """The same without the space around it."""
    while start < end and view[start] in b" \t\r\n":
        start += 1
    while end > start and view[end - 1] in b" \t\r\n":
        end -= 1
    return start, end


def _end_of_item(view: memoryview, position: int, last: int) -> int:
    """Where the comma is that ends the item, or the container."""
    depth = 0
    while position < last:
        window = min(last, position + _BLOCK)
        passed = (_balanced if depth else _balanced_in_item).match(view, position, window)
        if passed is not None:
            position = passed.end()
            continue
        sign = view[position]
        if sign == 0x2C and not depth:
            return position
        if sign == 0x22:
            # Longer than the window.
            string = _string.match(view, position, last)
            assert string is not None
            position = string.end()
            continue
        depth += 1 if sign in b"[{" else -1
        position += 1
    return last
