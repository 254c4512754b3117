"""The way out for deliveries: the same door as for skills, one POST, the beginning of the answer."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Final

from gateway.core.messages.delivering import Posted
from gateway.core.requests.request import Headers, UpstreamFailed, UpstreamRequest, UpstreamStream
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import BadUrl, Egress, parse_url_strict

#: Bytes of an answer that are kept where it is a text; nothing more of it is read.
MOST_KEPT: Final = 1024
_TEXT = re.compile(r"(?i)\s*(?:text/[\w.+-]+|application/(?:[\w.+-]+\+)?json)\s*(?:;|$)")


class DeliveryPost:
    """`Post` over HTTP. With `keep_private=False` no answer of a private network is kept: tenants would read it."""

    def __init__(self, upstream: HttpUpstream, egress: Egress, *, keep_private: bool) -> None:
        self._upstream = upstream
        self._egress = egress
        self._keep_private = keep_private

    def check(self, url: str) -> str | None:
        return self._egress.mistake(url)

    async def send(self, url: str, headers: Headers, body: bytes, *, timeout: float) -> Posted:
        try:
            target = parse_url_strict(url)
        except BadUrl as error:
            raise UpstreamFailed("upstream_unreachable", sent=False, cause=str(error)) from error
        request = UpstreamRequest(
            method="POST",
            origin=target.origin,
            path=target.path,
            query=target.query,
            headers=headers,
            body=body,
            timeout=timeout,
            # Whoever gets it twice knows it by its id.
            idempotent=True,
            host_is_typed=True,
        )
        answer = await self._upstream.stream(request)
        try:
            may_keep = self._keep_private or not await self._egress.is_private(target)
            text = await _beginning(answer) if may_keep else None
        finally:
            answer.close()
        return Posted(status=answer.status, retry_after=answer.header("retry-after"), text=text)


async def _beginning(answer: UpstreamStream) -> str | None:
    if not _TEXT.match(answer.header("content-type") or ""):
        return None
    kept = bytearray()
    try:
        async with aclosing(answer.chunks) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                kept += chunk
                if len(kept) >= MOST_KEPT:
                    break
    except UpstreamFailed:
        # The status came, and that is what counts.
        pass
    text = bytes(kept[:MOST_KEPT]).decode(errors="replace")
    return "".join(char for char in text if char.isprintable() or char in "\n\t") or None
