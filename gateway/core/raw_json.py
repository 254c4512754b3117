"""JSON looked at as text, level by level: pieces are not copied, and nothing is built up as objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import orjson

#: JSON text: bytes of its own, or a piece of others that was not copied.
Text = bytes | msgspec.Raw
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def head_of(data: Text) -> bytes:
    """The first character, which says what a value is."""
    return bytes(memoryview(data)[:1])


def items_of(data: Text) -> list[msgspec.Raw]:
    """The items of an array. Raises `msgspec.DecodeError` for anything else."""
    return _ITEMS.decode(data)


def members_of(data: Text) -> dict[str, msgspec.Raw]:
    """The members of an object. Raises `msgspec.DecodeError` for anything else."""
    return _MEMBERS.decode(data)


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
