"""The outermost layer of every request: its id, its errors, its log line."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from types import MappingProxyType

from aiohttp import HttpVersion11, web

from gateway.core.errors import Refusal
from gateway.core.ids import random_hex
from gateway.web.answers import refusal_answer
from gateway.web.bodies import give_room_back
from gateway.web.context import LAST, MORE_HEADERS, PRINCIPAL, RATE, REQUEST_ID, services
from gateway.web.peers import peer_of

log = logging.getLogger("skillway.requests")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: What the log says of a request whose client did not wait for the answer.
_GONE = 499
_NONE: Mapping[str, str] = MappingProxyType({})


@web.middleware
async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request an id, turns whatever is raised into an answer, and writes one log line."""
    request_id = f"req_{random_hex(8)}"
    request[REQUEST_ID] = request_id
    began = perf_counter()
    try:
        _check_framing(request)
        response = await handler(request)
    except Refusal as refusal:
        if refusal.status >= 500 and refusal.__cause__ is not None:
            log.error("%s %s: %s", request_id, refusal.code, refusal.__cause__)
        response = refusal_answer(refusal)
    except web.HTTPException as error:
        response = _from_http(request, error)
    except Exception as error:
        response = _failed(request, request_id, error)
    finally:
        give_room_back(request)
    ours = services(request)
    if not response.prepared:
        response.headers.update(standing_headers(request))
        if request.writer.output_size > 0:
            # A part of another answer is out: this one would be taken for its end.
            request.protocol.force_close()
        elif ours.health.draining or request.get(LAST):
            response.force_close()
    resource = request.match_info.route.resource
    who = request.get(PRINCIPAL)
    # The route's template only: a path or a query may hold what somebody typed by mistake.
    ours.request_log.line(
        request.method,
        resource.canonical if resource is not None else "-",
        response.status,
        request_id,
        round((perf_counter() - began) * 1000, 1),
        who.org if who is not None else None,
        who.actor.id if who is not None else None,
        peer_of(request, ours.settings.trusted_proxies),
    )
    return response


def standing_headers(request: web.Request) -> dict[str, str]:
    """What every answer carries."""
    headers = {"X-Request-Id": request[REQUEST_ID], "Server": "skillway"}
    rate = request.get(RATE)
    if rate is not None:
        headers["X-RateLimit-Limit"] = str(rate.limit)
        headers["X-RateLimit-Remaining"] = str(rate.remaining)
        headers["X-RateLimit-Reset"] = str(rate.reset)
    headers.update(request.get(MORE_HEADERS, _NONE))
    return headers


def _failed(request: web.Request, request_id: str, error: Exception) -> web.Response:
    transport = request.transport
    if isinstance(error, ConnectionError) and (transport is None or transport.is_closing()):
        return web.Response(status=_GONE)
    log.error("%s failed: %s", request_id, type(error).__name__, exc_info=error)
    return refusal_answer(
        Refusal("internal", f"Something went wrong here. Tell the operator the reference {request_id}.")
    )


def _check_framing(request: web.Request) -> None:
    """Refuses what the parser lets through, though a proxy before us may read it in another way."""
    if not request.raw_path.startswith("/"):
        # The absolute form (RFC 9112 §3.2.2) would let a client choose our host name.
        request[LAST] = True
        raise Refusal("bad_request", "Send the path alone in the request line.")
    encoding = request.headers.get("Transfer-Encoding")
    if encoding is not None and (encoding.lower() != "chunked" or request.version < HttpVersion11):
        # RFC 9112 §6.1: chunks in HTTP/1.0 are faulty framing, and no other coding is one that we decode.
        request[LAST] = True
        raise Refusal("bad_request", "The only transfer coding is `chunked`, and only in HTTP/1.1.")


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """What aiohttp itself refuses, in our envelope."""
    if error.status == 405:
        allowed = error.headers.get("Allow", "")
        answer = refusal_answer(Refusal("method_not_allowed", f"This route takes {allowed}."))
        answer.headers["Allow"] = allowed
        return answer
    if error.status == 413:
        limit = request.client_max_size
        return refusal_answer(Refusal("payload_too_large", f"The body is larger than {limit} bytes."))
    if error.status == 404:
        return refusal_answer(Refusal("not_found", "There is no such route."))
    return refusal_answer(Refusal("bad_request", "The request cannot be read."))
