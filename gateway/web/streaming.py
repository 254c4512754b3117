"""Bodies that are streamed out: as downloads that no browser runs, never waiting for ever on whoever reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from aiohttp import web

from gateway.web.boundary import standing_headers

log = logging.getLogger("skillway.calls")

#: Seconds that a reader of a stream may stand still.
_STALL = 30.0
_DOWNLOAD = {
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-store",
}


async def download(
    request: web.Request,
    response: web.StreamResponse,
    body: AsyncIterator[bytes],
    *,
    what: str,
    broken: type[Exception],
) -> web.StreamResponse:
    """Streams a body out. `broken` is the error with which it may end early; `what` names it in the log."""
    for name, value in {**_DOWNLOAD, **standing_headers(request)}.items():
        response.headers.setdefault(name, value)
    try:
        async with aclosing(body) as chunks:  # type: ignore[type-var]
            await response.prepare(request)
            async for chunk in chunks:
                async with asyncio.timeout(_STALL):
                    await response.write(chunk)
    except (broken, TimeoutError) as failed:
        # The status is sent: only a connection cut short can still say that the body is not whole.
        log.warning("%s stream broken off: %s", what, failed)
        request.protocol.force_close()
        return response
    await response.write_eof()
    return response
