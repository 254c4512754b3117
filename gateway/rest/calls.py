"""`POST /v1/{integration}/{action}`: HTTP to a call, a result back to HTTP."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from aiohttp import web

from gateway.core.access import user_of
from gateway.core.call import Call
from gateway.core.gateway import RawResult
from gateway.core.keys import Principal
from gateway.core.request import UpstreamFailed
from gateway.web.answers import json_bytes
from gateway.web.bodies import json_object, query, text_field, yes_or_no
from gateway.web.boundary import standing_headers
from gateway.web.context import services

log = logging.getLogger("skillway.calls")

_BODY = {"params": dict, "user": str, "connection": str}
#: Headers of an upstream that a raw answer keeps; everything else could act on our own origin.
_RAW_HEADERS = ("content-type", "content-language", "etag", "last-modified")
#: Seconds that a reader of a stream may stand still.
_STALL = 30.0


async def execute(request: web.Request, who: Principal) -> web.StreamResponse:
    asked = query(request, ("raw",)) if request.rel_url.raw_query_string else {}
    body = await json_object(request, _BODY)
    call = Call(
        principal=who,
        integration=request.match_info["integration"],
        action=request.match_info["action"],
        params=body.get("params", {}),
        user=user_of(who, text_field(body["user"], "user") if "user" in body else None),
        connection=text_field(body["connection"], "connection") if "connection" in body else None,
    )
    gateway = services(request).gateway
    if yes_or_no(asked, "raw"):
        return await _stream(request, await gateway.stream(call))
    result = await gateway.call(call)
    return json_bytes(result.envelope(), headers={"X-Upstream-Status": str(result.status)})


async def _stream(request: web.Request, result: RawResult) -> web.StreamResponse:
    """The upstream's body as it comes, as a download that no browser runs."""
    # Of two headers of a name the first stands; one that cannot be passed on is left out.
    headers = {
        name.lower(): value
        for name, value in reversed(result.headers)
        if name.lower() in _RAW_HEADERS and value.isprintable()
    }
    response = web.StreamResponse(headers=headers)
    response.headers["X-Upstream-Status"] = str(result.status)
    response.headers["X-Run-Id"] = result.run_id
    response.headers.update(standing_headers(request))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Disposition"] = "attachment"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cache-Control"] = "no-store"
    try:
        async with aclosing(result.chunks) as chunks:  # type: ignore[type-var]
            await response.prepare(request)
            async for chunk in chunks:
                async with asyncio.timeout(_STALL):
                    await response.write(chunk)
    except (UpstreamFailed, TimeoutError) as failed:
        # The status is sent: only a connection cut short can still say that the body is not whole.
        log.warning("%s stream broken off: %s", result.run_id, failed)
        request.protocol.force_close()
        return response
    finally:
        # A stream that was never begun has no other end.
        result.close()
    await response.write_eof()
    return response
