"""How answers leave: JSON that is never sniffed or cached, refusals by the one table of codes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from gateway.core.errors import Refusal

JSON = "application/json"
_JSON_HEADERS = {"Content-Type": JSON, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return json_bytes(orjson.dumps(value), status=status, headers=headers)


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers={**_JSON_HEADERS, **headers} if headers else _JSON_HEADERS)


def tagged(request: web.Request, value: Any) -> web.Response:
    """A JSON answer with an ETag; 304 where the client has it already (RFC 9110 §13.1.2)."""
    body = orjson.dumps(value)
    return tagged_bytes(request, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def tagged_bytes(request: web.Request, body: bytes, tag: str, *, content_type: str = JSON) -> web.Response:
    """The same of text whose tag is known."""
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key"}
    known = request.headers.get("If-None-Match", "")
    if known and tag in [part.strip().removeprefix("W/") for part in known.split(",")]:
        return web.Response(status=304, headers=headers)
    return json_bytes(body, headers={**headers, "Content-Type": content_type})


def refusal_answer(refusal: Refusal, more: Mapping[str, Any] | None = None) -> web.Response:
    """Envelope 2 of the contract with its HTTP status and headers, and `more` members."""
    headers: dict[str, str] = {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.retryable is False:
        # Common SDKs repeat 408 and 409 by themselves unless told not to.
        headers["x-should-retry"] = "false"
    if refusal.retry_after_ms is not None:
        headers["Retry-After"] = str(max(1, -(-refusal.retry_after_ms // 1000)))
    answer = json_answer({**refusal.body(), **(more or {})}, status=refusal.status, headers=headers)
    if refusal.status == 408:
        # RFC 9110 §15.5.9: the connection is not used any further.
        answer.force_close()
    return answer
