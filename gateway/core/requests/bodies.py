"""The body of an upstream request: JSON, a form, parts of several types, a GraphQL operation, or what a param is."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any

import orjson

from gateway.core.errors import bad_param
from gateway.core.requests.file_params import GivenFiles, Stored, file_content
from gateway.core.requests.request import Pieces, Readable
from gateway.core.requests.spelling import pairs, quoted, scalar
from skills_catalog.model import Param, Skill

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_JSON_TYPE = re.compile(r"[\w.-]+/([\w.-]+\+)?json(\s*;.*)?", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\]')

Values = list[tuple[Param, Any]]
#: A body with its content type; None where there is none.
Body = tuple[bytes | Pieces | None, str | None]
_Pieces = Sequence[bytes | Readable]


def body_of(skill: Skill, values: Values, injected: Mapping[str, str], files: GivenFiles) -> Body:
    """The body that the params and constants `values` make; `injected` are the credential's members of it.

    `files` are those that params name by an id: they are read when the body is sent.
    """
    if skill.body in ("null", "none"):
        return (b"null", JSON) if skill.body == "null" else (None, None)
    places = {param.location for param in (*skill.params.values(), *skill.constants)} - {"path", "query", "header"}
    if any(param.whole for param in (*skill.params.values(), *skill.constants)):
        whole = next(((param, value) for param, value in values if param.whole), None)
        # Left out it is no body. An empty object would be something that nobody said.
        return (None, None) if whole is None else _whole(skill, *whole, files)
    if skill.graphql is not None:
        return orjson.dumps({"query": skill.graphql, "variables": _document(values)}), JSON
    if skill.body == "related":
        return _related(values, injected, files)
    if skill.body == "multipart":
        return _multipart(values, injected, files)
    if not places and not injected:
        return None, None
    if skill.body == "form":
        return _form(values, injected), FORM
    return orjson.dumps(_document(values) | dict(injected)), JSON


def is_json(content_type: str) -> bool:
    """Whether bodies of that type are JSON."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def _whole(skill: Skill, param: Param, value: Any, files: GivenFiles) -> Body:
    """One value as the whole body: JSON, unless the param or the action's own headers say another type."""
    if param.location == "file":
        _, content_type, content = file_content(param.name, value, name=param.name, files=files)
        return _put_together([content]), param.content_type or content_type
    said = next((text for name, text in skill.headers.items() if name.lower() == "content-type"), None)
    if param.content_type is not None and isinstance(value, str | bytes):
        return value if isinstance(value, bytes) else value.encode(), param.content_type
    if said is None or is_json(said) or not isinstance(value, str | bytes):
        return orjson.dumps(value), param.content_type or said or JSON
    if param.schema.get("contentEncoding") != "base64" or isinstance(value, bytes):
        return value if isinstance(value, bytes) else value.encode(), said
    try:
        return base64.b64decode(value, validate=True), said
    except (binascii.Error, ValueError):
        raise bad_param(param.name, "contentEncoding", f"The param {param.name!r} is not base64.") from None


def _document(values: Iterable[tuple[Param, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for param, value in values:
        if param.location == "body":
            put(document, param.wire, value)
    return document


def put(document: dict[str, Any], wire: tuple[str, ...], value: Any) -> None:
    """Puts a value at its place in an object, making the objects on the way."""
    for part in wire[:-1]:
        document = document.setdefault(part, {})
    document[wire[-1]] = value


def _form(values: Values, injected: Mapping[str, str]) -> bytes:
    spelled = [pair for param, value in values for pair in pairs(param, value)]
    spelled += [(quoted(name), quoted(value)) for name, value in injected.items()]
    return "&".join(f"{name}={value}" for name, value in spelled).encode()


def _multipart(values: Values, injected: Mapping[str, str], files: GivenFiles) -> Body:
    """RFC 7578."""
    parts = [part for param, value in values for part in _parts(param, value, files)]
    parts += [[_named(_UNSAFE.sub("_", name)) + b"\r\n\r\n" + secret.encode()] for name, secret in injected.items()]
    return _joined("form-data", parts)


def _parts(param: Param, value: Any, files: GivenFiles) -> Iterable[_Pieces]:
    wire = _UNSAFE.sub("_", ".".join(param.wire))
    repeats = isinstance(value, list) and (param.location == "file" or param.explode)
    for number, item in enumerate(value if repeats else [value]):
        if item is None:
            continue
        name = wire
        if repeats and param.style == "indices":
            name = f"{wire}[{number}]"
        elif repeats and param.style == "brackets" and not wire.endswith("[]"):
            name = f"{wire}[]"
        content: bytes | Stored
        if param.location == "file":
            filename, content_type, content = file_content(param.name, item, name=param.name, files=files)
            about = f'; filename="{_UNSAFE.sub("_", filename)}"'
            kind = f"\r\nContent-Type: {param.content_type or content_type}"
        else:
            about, kind = "", f"\r\nContent-Type: {param.content_type}" if param.content_type else ""
            content = item if isinstance(item, bytes) else scalar(item).encode()
        yield [_named(name) + f"{about}{kind}\r\n\r\n".encode(), content]


def _named(name: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"'.encode()


def _related(values: Values, injected: Mapping[str, str], files: GivenFiles) -> Body:
    """RFC 2387: the JSON of the body params, then the file."""
    document = orjson.dumps(_document(values) | dict(injected))
    parts: list[_Pieces] = [[b"Content-Type: application/json; charset=UTF-8\r\n\r\n" + document]]
    for param, value in values:
        if param.location == "file" and value is not None:
            _, content_type, content = file_content(param.name, value, name=param.name, files=files)
            parts.append([f"Content-Type: {param.content_type or content_type}\r\n\r\n".encode(), content])
    return _joined("related", parts)


def _joined(kind: str, parts: Iterable[_Pieces]) -> Body:
    # Random, so that no content can end its part.
    boundary = token_hex(24)
    pieces: list[bytes | Readable] = []
    for part in parts:
        pieces += [f"--{boundary}\r\n".encode(), *part, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return _put_together(pieces), f"multipart/{kind}; boundary={boundary}"


def _put_together(pieces: _Pieces) -> bytes | Pieces:
    """Bytes where all of it is at hand."""
    if all(isinstance(piece, bytes) for piece in pieces):
        return b"".join(pieces)  # type: ignore[arg-type]
    return Pieces(tuple(pieces))


def check_spread(skill: Skill, param: Param, value: Mapping[str, Any], injected: Iterable[str]) -> None:
    """Members that stand side by side with other params must not pass for one of them, nor for the credential."""
    depth = len(param.wire)
    taken = {
        one.wire[depth]
        for one in (*skill.params.values(), *skill.constants)
        if one.location in (param.location, "file") and one.wire[:depth] == param.wire and len(one.wire) > depth
    } | set(injected if depth == 0 else ())
    roots = {re.split(r"[\[.]", name)[0] for name in taken}
    for name in value:
        if not name or name in taken or re.split(r"[\[.]", name)[0] in roots or not name.isprintable():
            message = f"{param.name!r} may not hold the name {name[:64]!r}: something else goes there."
            raise bad_param(param.name, "propertyNames", message)
