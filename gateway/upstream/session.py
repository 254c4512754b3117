"""The ordinary way out: aiohttp's ClientSession, for streams and whatever our own client does not take."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from gateway.core.requests.request import Headers, Pieces, UpstreamRequest
from gateway.core.room import Part
from gateway.upstream.egress import Egress, Url
from gateway.upstream.wire import (
    CONNECT_TIMEOUT,
    KEEP,
    MAX_FIELD,
    MAX_FIELDS,
    MAX_HEAD,
    Attempt,
    Body,
    Broken,
    Raw,
    head_of,
    text_of,
)

#: aiohttp warns when it is given more than this as plain bytes.
_PLAIN_BODY = 512 * 1024
#: aiohttp would add these by itself.
_AUTOMATIC = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class SessionWire:
    """One session per scheme, for the address guard judges by scheme. One per event loop."""

    def __init__(self, egress: Egress, tls: ssl.SSLContext) -> None:
        self._egress = egress
        self._tls = tls
        self._sessions: dict[tuple[str, bool], aiohttp.ClientSession] = {}

    async def exchange(
        self, request: UpstreamRequest, url: Url, attempt: Attempt, *, limit: int, part: Part | None, fresh: bool
    ) -> Raw:
        response = await self.open(request, url, attempt, fresh=fresh)
        try:
            return await _read(response, limit, part)
        finally:
            # After a whole body the connection is back in the pool already; else it is dropped.
            response.close()

    async def open(
        self, request: UpstreamRequest, url: Url, attempt: Attempt, *, fresh: bool
    ) -> aiohttp.ClientResponse:
        """The answer's head; its body is still on the wire, encoded as it was sent."""
        # The same check of one request being one request as on our own wire.
        head_of(request, url)
        body: Any = request.body
        headers = CIMultiDict(request.headers)
        if isinstance(body, Pieces):
            # Its length is known: many servers take no chunks.
            headers["Content-Length"] = str(len(body))
            body = body.read()
        elif body is not None and len(body) > _PLAIN_BODY:
            body = io.BytesIO(body)
        if body is None and request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        target = f"{url.origin}{request.path}" + (f"?{request.query}" if request.query else "")
        # This pool gives out connections that were closed a moment ago. A read is repeated then, a write cannot be.
        response = await self._session(url.scheme, fresh or not request.idempotent).request(
            request.method,
            URL(target, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
            trace_request_ctx=attempt,
        )
        attempt.answered = True
        if not 200 <= response.status <= 999:
            response.close()
            raise Broken("upstream_invalid_response", f"the status {response.status}, which nobody asked for")
        return response

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    def _session(self, scheme: str, fresh: bool) -> aiohttp.ClientSession:
        session = self._sessions.get((scheme, fresh))
        if session is None:
            session = self._sessions[scheme, fresh] = self._new_session(scheme, fresh)
        return session

    def _new_session(self, scheme: str, fresh: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            resolver=_Resolver(self._egress, scheme),
            # Names are kept by the resolver itself, which judges them each time.
            use_dns_cache=False,
            socket_factory=self._egress.socket_factory(scheme),
            # No bound: a hanging upstream would make the others of its host wait in line.
            limit=0,
            force_close=fresh,
            keepalive_timeout=None if fresh else KEEP,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            # A jar would carry one tenant's cookies into another's call.
            cookie_jar=aiohttp.DummyCookieJar(),
            # The environment's proxies and .netrc are not ours.
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_AUTOMATIC,
            # The caller's deadline covers everything else.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            max_line_size=MAX_FIELD,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            trace_configs=[_progress()],
        )
        # Whether to repeat is decided in one place, which is not aiohttp's.
        session._retry_connection = False
        return session


def headers_of(response: aiohttp.ClientResponse) -> Headers:
    """All headers in order, as text. Raises `Broken` where they are too much in sum."""
    raw = response.raw_headers
    if sum(len(name) + len(value) for name, value in raw) > MAX_HEAD:
        raise Broken("upstream_invalid_response", f"a head of more than {MAX_HEAD} bytes")
    return tuple([(text_of(name), text_of(value)) for name, value in raw])


async def _read(response: aiohttp.ClientResponse, limit: int, part: Part | None) -> Raw:
    headers = headers_of(response)
    declared = response.content_length or 0
    body = Body(part)
    size = 0
    if declared <= limit or response.method == "HEAD":
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit or not body.add(piece):
                break
        else:
            return Raw(response.status, headers, body.whole(), False, size)
    return Raw(response.status, headers, b"", True, max(size, declared))


class _Resolver(AbstractResolver):
    """Judges every answer of a name. An address in the URL itself comes to the socket factory alone."""

    def __init__(self, egress: Egress, scheme: str) -> None:
        self._egress = egress
        self._scheme = scheme

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = await self._egress.resolve(Url(scheme=self._scheme, host=host, port=port))
        return [
            ResolveResult(hostname=host, host=where[0], port=port, family=found, proto=0, flags=socket.AI_NUMERICHOST)
            for found, _, _, _, where in answers
        ]

    async def close(self) -> None:
        return


def _progress() -> aiohttp.TraceConfig:
    """Tells the attempt when its first byte may have left: as soon as it has a connection."""
    trace = aiohttp.TraceConfig()

    def on(signal: Any, *, reused: bool) -> None:
        async def tell(_: Any, context: SimpleNamespace, __: Any) -> None:
            attempt: Attempt = context.trace_request_ctx
            attempt.sent = True
            attempt.reused = reused

        told: Callable[..., Awaitable[None]] = tell
        signal.append(told)

    on(trace.on_connection_create_end, reused=False)
    on(trace.on_connection_reuseconn, reused=True)
    return trace
