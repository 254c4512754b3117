"""One call of an action and the request that it must be, both written down by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.upstream import Part

#: Values of the prepared counterpart by name: ids, shas, what a test cannot know before it runs.
World = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class At:
    """A value of the world, in params or in a body."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """The upstream answers no JSON; the caller gets this string."""

    text: str


@dataclass(frozen=True, slots=True)
class File:
    """The upstream answers bytes; the caller gets them in base64 under this name and type."""

    content_type: str
    filename: str | None
    #: None where they are what the counterpart itself answered.
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`{name}` in `sent` and in a filename stands for a value of the world."""

    params: Mapping[str, Any]
    #: Method and request target, exactly as they come over the wire.
    sent: str
    #: The JSON of the body, its members in the order in which they are sent; None where there is no body.
    json: Any = None
    #: The last member of the body: our own idempotency key.
    key: str | None = None
    #: The parts of a multipart body.
    parts: tuple[Part, ...] = ()
    status: int = 200
    #: None where the upstream's bytes themselves stand under `data`, or nothing at all.
    data: Text | File | None = None
    #: Path on the second origin that the call is redirected to, without the signature.
    then: str | None = None


def filled(value: Any, world: World) -> Any:
    """The value with everything of the world in its place."""
    if isinstance(value, At):
        return world[value.name]
    if isinstance(value, Mapping):
        return {name: filled(member, world) for name, member in value.items()}
    if isinstance(value, list):
        return [filled(item, world) for item in value]
    return value


def text_part(name: str, text: str) -> Part:
    """A part that is no file."""
    return Part(name=name, filename=None, content_type=None, content=text.encode())


def file_part(name: str, filename: str, content_type: str, content: bytes) -> Part:
    return Part(name=name, filename=filename, content_type=content_type, content=content)
