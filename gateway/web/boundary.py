"""The outermost layer of every request: its id, its errors, its log line."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.web.answers import refusal_answer
from gateway.web.context import PRINCIPAL, REQUEST_ID, services

log = logging.getLogger("skillway.requests")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request an id, turns whatever is raised into an answer, and writes one log line."""
    request_id = "req_" + os.urandom(8).hex()
    request[REQUEST_ID] = request_id
    began = perf_counter()
    try:
        if not request.raw_path.startswith("/"):
            # The absolute form (RFC 9112 §3.2.2) would let a client choose our host name.
            raise Refusal("bad_request", "Send the path alone in the request line.")
        response = await handler(request)
    except Refusal as refusal:
        if refusal.status >= 500 and refusal.__cause__ is not None:
            log.error("%s %s: %s", request_id, refusal.code, refusal.__cause__)
        response = refusal_answer(refusal)
    except web.HTTPException as error:
        response = _from_http(request, error)
    except Exception as error:
        log.error("%s failed: %s", request_id, type(error).__name__, exc_info=error)
        response = refusal_answer(
            Refusal("internal", f"Something went wrong here. Tell the operator the reference {request_id}.")
        )
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
        response.headers["Server"] = "skillway"
    resource = request.match_info.route.resource
    who = request.get(PRINCIPAL)
    # The route's template only: a path or a query may hold what somebody typed by mistake.
    services(request).request_log.line(
        request.method,
        resource.canonical if resource is not None else "-",
        response.status,
        request_id,
        round((perf_counter() - began) * 1000, 1),
        who.org if who is not None else None,
        who.key.id if who is not None else None,
    )
    return response


def _from_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
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
    if error.status < 400:
        return error
    return refusal_answer(Refusal("bad_request", "The request cannot be read."))
