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
from gateway.rest.fields import ACTION, INTEGRATION, USER
from gateway.rest.shapes import RESULT
from gateway.web.answers import json_bytes
from gateway.web.boundary import standing_headers
from gateway.web.context import MORE_HEADERS, services
from gateway.web.deprecation import deprecation_headers
from gateway.web.operations import ANYTHING, Answer, Asked, Field, operation, switch, text

log = logging.getLogger("skillway.calls")

#: Why there may be no answer to a call.
CALL_REFUSALS = (
    "scope_not_allowed",
    "integration_not_connected",
    "plan_limit_reached",
    "token_expired",
    "not_found",
    "ambiguous_connection",
    "daily_limit_reached",
    "allowance_exhausted",
    "upstream_rate_limited",
    "upstream_unreachable",
    "upstream_invalid_response",
    "response_too_large",
    "upstream_timeout",
)
#: Headers of an upstream that a raw answer keeps; everything else could act on our own origin.
_RAW_HEADERS = ("content-type", "content-language", "etag", "last-modified")
#: Seconds that a reader of a stream may stand still.
_STALL = 30.0


@operation(
    "execute",
    "Call an action",
    group="Calls",
    about="The upstream answered, whatever it said: 200, with its status and its data. No answer to give: an error.",
    path=[INTEGRATION, ACTION],
    query=[switch("raw", "Stream the upstream's body alone, with its own content type.")],
    body=[
        Field(name="params", about="What the action takes, by its JSON Schema.", schema=ANYTHING),
        USER,
        text("connection", "Id or label of the connection, where the user has several that fit."),
    ],
    answers={
        200: Answer(
            about="The upstream answered. With `raw=1` the body is the upstream's own.",
            schema={"anyOf": [RESULT, {"description": "With `raw=1`: the upstream's own body."}]},
            example={"status": 201, "data": {"number": 7}, "meta": {"run_id": "run_0193", "account": "ada"}},
            headers=("X-Upstream-Status", "X-Run-Id", "X-Deprecated", "Deprecation", "Sunset", "Link"),
            also=("*/*",),
        )
    },
    refuses=CALL_REFUSALS,
    example={
        "path": {"integration": "github", "action": "create_issue"},
        "body": {"params": {"repo": "acme/webapp", "title": "Bug report"}},
    },
)
async def execute(request: web.Request, who: Principal, asked: Asked) -> web.StreamResponse:
    ours, body = services(request), asked.body
    slug, action = request.match_info["integration"], request.match_info["action"]
    if (found := ours.catalogs.deprecation(slug, action)) is not None:
        gone, instead = found
        use = None if instead is None else f"{ours.public_url}/v1/{instead.integration}/{instead.name}"
        request[MORE_HEADERS] = deprecation_headers(gone.since, gone.sunset, use)
    call = Call(
        principal=who,
        integration=slug,
        action=action,
        params=body.get("params", {}),
        user=user_of(who, body.get("user")),
        connection=body.get("connection"),
    )
    if asked.query["raw"] in ("1", "true"):
        return await _stream(request, await ours.gateway.stream(call))
    result = await ours.gateway.call(call)
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
