"""`POST /mcp`: Streamable HTTP without sessions, so that any replica answers any request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.ids import random_hex
from gateway.mcp.asked import Asked, Json, Mode
from gateway.mcp.eras import LATEST_HANDSHAKE, Era, era_of
from gateway.mcp.jsonrpc import (
    INTERNAL,
    STATUSES,
    Id,
    Message,
    RpcError,
    read_message,
)
from gateway.mcp.methods import result_of
from gateway.mcp.protected import challenge
from gateway.web.answers import json_bytes, refusal_answer
from gateway.web.auth import principal
from gateway.web.bodies import bad_field, read, unknown_field
from gateway.web.boundary import standing_headers
from gateway.web.context import REQUEST_ID, services
from gateway.web.forms import own_origin
from gateway.web.tool_answers import safe

log = logging.getLogger("skillway.mcp")

#: Seconds after which a call that was asked to tell of its progress does, and how often from then on.
PROGRESS_AFTER = 2.0
_PROGRESS_EVERY = 5.0
_QUERY: Mapping[str, str] = {"tools": "direct or meta", "integration": "slugs, with commas between them"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: A handshake whose client does not open pages for its person is remembered by the client, in its session id.
_NO_PAGES = "nopages-"
_STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def serve(request: web.Request) -> web.StreamResponse:
    """One message in, its answer out."""
    id: Id = None
    try:
        _check_origin(request)
        try:
            who = await principal(request, bearer=True)
        except Refusal as refusal:
            if refusal.status == 429 and (message := read_message(await read(request))) is not None:
                # Only now is it known to be a client's own: an answer it can hand to whoever asked.
                id = message.id
            raise
        mode, only = _address(request)
        if request.content_type != "application/json":
            raise Refusal("unsupported_media_type", "Send `Content-Type: application/json`, in UTF-8.")
        message = read_message(await read(request))
        if message is None:
            return web.Response(status=202)
        id = message.id
        era = era_of(message, request.headers)
        if id is None:
            # Of the notifications that clients send none changes anything where nothing is kept.
            return web.Response(status=202)
        asked = Asked(
            ours=services(request),
            who=who,
            era=era,
            params=message.params,
            meta=message.meta,
            mode=mode,
            only=only,
            ignores_pages=request.headers.get("Mcp-Session-Id", "").startswith(_NO_PAGES),
        )
        token = asked.meta.get("progressToken")
        if message.method == "tools/call" and _may_stream(request, token):
            return await _streamed(request, message, asked, token)
        answer, status = await _answered(message, asked)
        return json_bytes(answer, status=status, headers=_session(message, era))
    except Refusal as refusal:
        response = refusal_answer(refusal)
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = challenge(request)
        response.body = orjson.dumps(RpcError.of(refusal).body(id))
        return response
    except RpcError as error:
        return json_bytes(orjson.dumps(error.body(id)), status=STATUSES.get(error.code, 400))


async def _answered(message: Message, asked: Asked) -> tuple[bytes, int]:
    """The whole answer to a request, and its HTTP status."""
    try:
        body: Json = {"jsonrpc": "2.0", "id": message.id, "result": await result_of(message.method, asked)}
        status = 200
    except Refusal as refusal:
        body, status = RpcError.of(refusal).body(message.id), 200
    except RpcError as error:
        body = error.body(message.id)
        status = STATUSES.get(error.code, 200) if asked.era.is_modern else 200
    return safe(orjson.dumps(body)), status


async def _streamed(request: web.Request, message: Message, asked: Asked, token: Any) -> web.StreamResponse:
    """A call that tells of its progress, if it takes long enough for that: as events, the answer last."""
    task = asyncio.create_task(_answered(message, asked))
    try:
        done, _ = await asyncio.wait({task}, timeout=PROGRESS_AFTER)
        if done:
            answer, status = task.result()
            return json_bytes(answer, status=status)
        response = web.StreamResponse(headers={**_STREAM, **standing_headers(request)})
        loop = asyncio.get_running_loop()
        began = loop.time() - PROGRESS_AFTER
        await response.prepare(request)
        while not task.done():
            seconds = round(loop.time() - began)
            await response.write(_event(_progress(token, seconds, message)))
            await asyncio.wait({task}, timeout=_PROGRESS_EVERY)
        try:
            answer, _ = task.result()
        except Exception as error:
            log.error("%s failed: %s", request[REQUEST_ID], type(error).__name__, exc_info=error)
            told = f"Something went wrong here. Tell the operator the reference {request[REQUEST_ID]}."
            answer = orjson.dumps(RpcError(INTERNAL, told).body(message.id))
        await response.write(_event(answer))
        await response.write_eof()
        return response
    finally:
        # Whoever does not wait any more has called all the same: the call ends as it would have.
        if not task.done():
            await asyncio.wait({task})


def _progress(token: Any, seconds: int, message: Message) -> bytes:
    told = f"{str(message.params.get('name'))[:64]}: waiting for {seconds} s."
    params: dict[str, Any] = {"progressToken": token, "progress": seconds, "message": told}
    return safe(orjson.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))


def _event(message: bytes) -> bytes:
    return b"event: message\ndata: " + message + b"\n\n"


def _may_stream(request: web.Request, token: Any) -> bool:
    is_token = isinstance(token, str | int) and not isinstance(token, bool) and len(str(token)) <= 256
    return is_token and "text/event-stream" in request.headers.get("Accept", "")


def _session(message: Message, era: Era) -> Mapping[str, str] | None:
    """No session is kept. But what a client of 2025-11-25 cannot do has to come back with its requests."""
    if message.method != "initialize" or message.params.get("protocolVersion") != LATEST_HANDSHAKE:
        return None
    said = Era(version=LATEST_HANDSHAKE, capabilities=message.params.get("capabilities") or {})
    return None if said.opens_pages else {"Mcp-Session-Id": _NO_PAGES + random_hex(8)}


def _address(request: web.Request) -> tuple[Mode | None, frozenset[str] | None]:
    """What the address says of how to list, and what. Raises `bad_request` for anything else in it."""
    query = request.rel_url.query
    for name in query:
        if name not in _QUERY:
            raise unknown_field(name, _QUERY, what="query parameter")
        if len(query.getall(name)) > 1:
            raise bad_field(name, "unique", f"The query parameter {name!r} is given twice.")
    mode, slugs = query.get("tools"), query.get("integration")
    if mode not in (None, "direct", "meta"):
        raise bad_field("tools", "enum", "The query parameter 'tools' must be direct or meta.")
    if slugs is None:
        return mode, None  # type: ignore[return-value]
    only = frozenset(slugs.split(","))
    for slug in only:
        services(request).catalogs.integration(slug)
    return mode, only  # type: ignore[return-value]


def _check_origin(request: web.Request) -> None:
    """Raises `forbidden` for a page of another site, also one whose name was made to lead here (DNS rebinding)."""
    ours = services(request)
    own = own_origin(ours.public_url)
    place = urlsplit(own)
    allowed = {own}
    if place.hostname in _LOOPBACK:
        port = f":{place.port}" if place.port else ""
        allowed |= {f"{place.scheme}://{_spelled(name)}{port}" for name in _LOOPBACK}
    if any(origin not in allowed for origin in request.headers.getall("Origin", ())):
        raise Refusal("forbidden", "Pages of other sites may not use this gateway.")
    # What listens on loopback alone is called by no other name, but for the one that a proxy passes on.
    name = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    if ours.settings.host in _LOOPBACK and name not in (*_LOOPBACK, place.hostname):
        raise Refusal("forbidden", "This gateway does not go by that name.")


def _spelled(host: str) -> str:
    return f"[{host}]" if ":" in host else host
