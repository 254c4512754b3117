"""Reads what a client sent, strictly: JSON objects with known names, queries with known names, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.errors import Refusal
from gateway.core.strict_json import NotStrictJson, parse
from gateway.web.context import LAST
from skills_catalog.names import nearest

#: Seconds for a request body to arrive, whatever its size: 8 MiB in that time is a slow line.
BODY_DEADLINE = 30.0


async def read(request: web.Request) -> bytes:
    """The body, within the deadline and the limit."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "Send the body uncompressed.")
    if request.content.is_eof():
        # It came with the head: nothing to wait for, and no timer to set.
        return await request.read()
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            return await request.read()
    except TimeoutError:
        request[LAST] = True
        raise Refusal("bad_request", f"The body did not arrive within {BODY_DEADLINE:g} s.") from None
    except (ConnectionError, RequestPayloadError):
        request[LAST] = True
        raise Refusal("bad_request", "The body broke off, or its chunks are malformed.") from None


async def json_object(request: web.Request, known: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The body as a JSON object whose members are `known` names of the given types.

    Raises `Refusal` that names the member and suggests the nearest known one.
    """
    body = await read(request)
    if request.content_type != "application/json" and body:
        raise Refusal("unsupported_media_type", "Send `Content-Type: application/json`.")
    if not body:
        return {}
    try:
        value = parse(body)
    except NotStrictJson as error:
        raise Refusal("bad_request", _sentence(str(error))) from None
    if not isinstance(value, dict):
        raise bad_field("", "type", "The body must be a JSON object.")
    for name, member in value.items():
        if name not in known:
            raise unknown_field(name, known)
        if not isinstance(member, known[name]) or (isinstance(member, bool) and known[name] in (int, (int, float))):
            raise bad_field(name, "type", f"The field {name!r} must be {_type_name(known[name])}.")
    return value


def query(request: web.Request, known: tuple[str, ...]) -> dict[str, str]:
    """The query's parameters, each known and given once."""
    found: dict[str, str] = {}
    for name, value in request.rel_url.query.items():
        if name not in known:
            raise unknown_field(name, known, what="query parameter")
        if name in found:
            raise bad_field(name, "unique", f"The query parameter {name!r} is given twice.")
        found[name] = value
    return found


def whole_number(values: Mapping[str, str], name: str, *, default: int | None, low: int, high: int) -> int | None:
    """A number of the query between two bounds."""
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise bad_field(name, "range", f"The query parameter {name!r} must be a whole number from {low} to {high}.")
    return int(text)


def yes_or_no(values: Mapping[str, str], name: str) -> bool:
    """A switch of the query: `1` or `true` is on, `0`, `false` and nothing are off."""
    text = values.get(name, "0")
    if text not in ("1", "true", "0", "false"):
        raise bad_field(name, "enum", f"The query parameter {name!r} must be 1 or 0.")
    return text in ("1", "true")


def text_field(value: Any, name: str, *, most: int = 128) -> str:
    """A short, printable string: a user, a label, a name."""
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise bad_field(name, "format", f"The field {name!r} must be 1 to {most} printable characters.")
    return value


def strings(values: list[Any], name: str, most: int, *, least: int = 0) -> tuple[str, ...]:
    """An array of strings, each once."""
    if not least <= len(values) <= most or not all(isinstance(value, str) for value in values):
        raise bad_field(name, "items", f"The field {name!r} must be {least or 'at most'} {'to ' if least else ''}{most} strings.")
    return tuple(dict.fromkeys(values))


def bad_field(path: str, keyword: str, message: str) -> Refusal:
    return Refusal("bad_request", message, details={"fields": [{"path": path, "keyword": keyword, "message": message}]})


def unknown_field(name: str, known: Mapping[str, Any] | tuple[str, ...], *, what: str = "field") -> Refusal:
    shown, near = name[:64], nearest(name, known)
    message = f"Unknown {what} {shown!r}." + (f" Did you mean {near!r}?" if near else "")
    problem = {"path": shown, "keyword": "additionalProperties", "message": message}
    return Refusal(
        "bad_request",
        message,
        hint=None if near else f"Known here: {', '.join(sorted(known))}.",
        details={"fields": [problem | ({"suggestion": near} if near else {})]},
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _type_name(types: type | tuple[type, ...]) -> str:
    names = {dict: "an object", str: "a string", list: "an array", bool: "true or false", int: "a whole number"}
    if types == (int, float):
        return "a number"
    return " or ".join(names[kind] for kind in (types if isinstance(types, tuple) else (types,)))
