"""Reads what a client sent, strictly: JSON objects with known names, queries with known names, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.errors import Refusal
from gateway.core.room import overloaded
from gateway.core.strict_json import NotStrictJson, parse
from gateway.web.context import LAST, PRINCIPAL, ROOM, services
from gateway.web.operations import Asked, Field, Operation
from skills_catalog.names import nearest

#: Seconds for a request body to arrive, whatever its size: 8 MiB in that time is a slow line.
BODY_DEADLINE = 30.0
_NOTHING: Mapping[str, Any] = MappingProxyType({})


async def read(request: web.Request) -> bytes:
    """The body, within the deadline and the limit, where there is room for it."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "Send the body uncompressed.")
    if request.content.is_eof():
        # It came with the head: nothing to wait for, and no timer to set.
        return await request.read()
    make_room(request, request.client_max_size)
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            return await request.read()
    except TimeoutError:
        request[LAST] = True
        raise Refusal("bad_request", f"The body did not arrive within {BODY_DEADLINE:g} s.") from None
    except (ConnectionError, RequestPayloadError):
        request[LAST] = True
        raise Refusal("bad_request", "The body broke off, or its chunks are malformed.") from None


def make_room(request: web.Request, most: int) -> None:
    """Sets room aside for a body of `most` bytes, or of as many as it says, until the request is over.

    Raises `overloaded` where there is none.
    """
    if ROOM in request:
        return
    who = request.get(PRINCIPAL)
    length = request.content_length
    held = ("" if who is None else who.org, most if length is None else min(length, most))
    if not services(request).room.take(*held):
        # It is not read, so nothing can follow it.
        request[LAST] = True
        raise overloaded("Too many large requests are under way, and this one was not read.")
    request[ROOM] = held


def give_room_back(request: web.Request) -> None:
    """What `make_room` set aside, if it did: the request is over."""
    if (held := request.get(ROOM)) is not None:
        services(request).room.give_back(*held)


async def read_asked(request: web.Request, operation: Operation) -> Asked:
    """What the request says, held against what the operation takes.

    Raises `Refusal` that names what is wrong and suggests the nearest known name.
    """
    asks = (operation.query or request.rel_url.raw_query_string) and not operation.any_query
    return Asked(
        query=_query(request, operation.query) if asks else _NOTHING,
        body=_NOTHING if operation.body is None else await _json_object(request, operation.body),
    )


async def _json_object(request: web.Request, known: Mapping[str, Field]) -> dict[str, Any]:
    body = await read(request)
    if body and not _is_json(request):
        raise Refusal("unsupported_media_type", "Send `Content-Type: application/json`, in UTF-8.")
    try:
        value = parse(body) if body else {}
    except NotStrictJson as error:
        raise Refusal("bad_request", _sentence(str(error))) from None
    if not isinstance(value, dict):
        raise bad_field("", "type", "The body must be a JSON object.")
    return checked(value, known)


def checked(value: Mapping[str, Any], known: Mapping[str, Field], what: str = "field") -> dict[str, Any]:
    """The members of an object held against those that are known, with the defaults of what was left out.

    Raises `bad_request` that names what is wrong and suggests the nearest known name.
    """
    for name, member in value.items():
        if name not in known:
            raise unknown_field(name, known, what=what)
        _check(known[name], member, what)
    found = dict(value)
    _fill_in(found, known, what)
    return found


def _query(request: web.Request, known: Mapping[str, Field]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in request.rel_url.query.items():
        if name not in known:
            raise unknown_field(name, known, what="query parameter")
        if name in found:
            raise bad_field(name, "unique", f"The query parameter {name!r} is given twice.")
        is_number = known[name].schema.get("type") == "integer" and text.isascii() and text.isdigit() and len(text) < 10
        value = int(text) if is_number else text
        _check(known[name], value, "query parameter")
        found[name] = value
    _fill_in(found, known, "query parameter")
    return found


def _check(field: Field, value: Any, what: str) -> None:
    try:
        if field.takes(value):
            return
        path, keyword, must = field.problem(value)
    except ValueError:
        # Half a surrogate pair is no text.
        path, keyword, must = field.name, "format", "must be valid Unicode"
    raise bad_field(path, keyword, f"The {what} {path!r} {must}.")


def _fill_in(found: dict[str, Any], known: Mapping[str, Field], what: str) -> None:
    for name, field in known.items():
        if name in found:
            continue
        if field.required:
            raise bad_field(name, "required", f"The {what} {name!r} is missing.")
        if field.default is not None:
            found[name] = field.default


def _is_json(request: web.Request) -> bool:
    # RFC 8259 §8.1: there is no JSON but in UTF-8, whatever else a client may say.
    return request.content_type == "application/json" and (request.charset or "utf-8").lower() in ("utf-8", "utf8")


def bad_field(path: str, keyword: str, message: str) -> Refusal:
    return Refusal("bad_request", message, details={"fields": [{"path": path, "keyword": keyword, "message": message}]})


def unknown_field(name: str, known: Mapping[str, Any], *, what: str = "field") -> Refusal:
    shown, near = name[:64], nearest(name, known)
    message = f"Unknown {what} {shown!r}." + (f" Did you mean {near!r}?" if near else "")
    problem = {"path": shown, "keyword": "additionalProperties", "message": message}
    return Refusal(
        "bad_request",
        message,
        hint=f"Known here: {', '.join(sorted(known))}." if known and not near else None,
        details={"fields": [problem | ({"suggestion": near} if near else {})]},
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
