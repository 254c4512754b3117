"""Our own keep-alive HTTP/1.1 client for the plain case: one request, one answer in memory, no ceremony.

It costs a fraction of a ClientSession's time and is held to the same promises: addresses are judged on the
final socket, TLS is verified, heads and framing are bounded, a cancelled call closes its connection, and a
connection is used again only after an answer that ended exactly where it said.
"""

from __future__ import annotations

import asyncio
import errno
import select
import ssl
import time
from asyncio import Transport
from typing import Final, cast

import aiohappyeyeballs
import httptools

from gateway.core.requests.request import Pieces, UpstreamRequest
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

#: Unused connections that are kept for one origin.
_MAX_IDLE: Final = 100
#: A write is not put on a connection that lay unused for longer: many servers close after 5 s.
_KEEP_FOR_WRITES: Final = 4.0
#: A head and a body up to this size are one write and one packet; a larger body is not worth a copy.
_ONE_WRITE: Final = 64 * 1024
#: Interim answers (RFC 9110 §15.2) before the real one.
_MAX_INTERIM: Final = 16
#: What chunk sizes, chunk extensions and trailers may weigh beside the body itself.
_MAX_FRAMING: Final = 256 * 1024
_MAX_FRAMING_PER_BYTE: Final = 16

_Origin = tuple[str, str, int]


class FastWire:
    """Connections by origin, the last used first. One per event loop."""

    def __init__(self, egress: Egress, tls: ssl.SSLContext) -> None:
        self._egress = egress
        self._tls = tls
        self._factories = {scheme: egress.socket_factory(scheme) for scheme in ("http", "https")}
        self._idle: dict[_Origin, list[_Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def serves(self, request: UpstreamRequest) -> bool:
        """Whether this client takes the request. A HEAD is answered with a length and no body."""
        return request.method != "HEAD" and not isinstance(request.body, Pieces)

    async def exchange(
        self, request: UpstreamRequest, url: Url, attempt: Attempt, *, limit: int, part: Part | None, fresh: bool
    ) -> Raw:
        head = head_of(request, url)
        origin = (url.scheme, url.host, url.port)
        connection = None if fresh else self._take(origin, idempotent=request.idempotent)
        if connection is None:
            connection = await self._connect(url)
        else:
            attempt.reused = True
        if not connection.usable:
            connection.abort()
            raise ConnectionResetError(errno.ECONNRESET, "closed before the request was written")
        attempt.sent = True
        try:
            assert not isinstance(request.body, Pieces), "`serves` leaves it to the other wire"
            raw = await connection.exchange(head, request.body, limit, part)
        except BaseException:
            attempt.answered = connection.received > 0
            connection.abort()
            raise
        attempt.answered = True
        if connection.reusable:
            self._give_back(origin, connection)
        else:
            connection.abort()
        return raw

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()
        # One turn of the loop, in which the transports tell that they are gone.
        await asyncio.sleep(0)

    def _take(self, origin: _Origin, *, idempotent: bool) -> _Connection | None:
        connections = self._idle.get(origin)
        if not connections:
            return None
        oldest = time.monotonic() - (KEEP if idempotent else _KEEP_FOR_WRITES)
        while connections:
            connection = connections.pop()
            if connection.usable and connection.idle_since > oldest and (idempotent or connection.is_quiet()):
                return connection
            connection.abort()
        return None

    def _give_back(self, origin: _Origin, connection: _Connection) -> None:
        connections = self._idle.setdefault(origin, [])
        if self._closed or len(connections) >= _MAX_IDLE:
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        connections.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(KEEP / 2, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = time.monotonic() - KEEP
        for origin, connections in list(self._idle.items()):
            kept = []
            for connection in connections:
                if connection.usable and connection.idle_since > oldest:
                    kept.append(connection)
                else:
                    connection.abort()
            if kept:
                self._idle[origin] = kept
            else:
                del self._idle[origin]
        self._sweeper = loop.call_later(KEEP / 2, self._sweep) if self._idle else None

    async def _connect(self, url: Url) -> _Connection:
        loop = asyncio.get_running_loop()
        addresses = await self._egress.resolve(url)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                sock = await aiohappyeyeballs.start_connection(
                    addresses,
                    happy_eyeballs_delay=0.25,
                    loop=loop,
                    socket_factory=self._factories[url.scheme],
                )
                tls = url.scheme == "https"
                # The loop owns the socket from here on: it closes it if the handshake fails or is cancelled.
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop),
                    sock=sock,
                    ssl=self._tls if tls else None,
                    server_hostname=url.host if tls else None,
                )
        except TimeoutError as error:
            if error.errno is not None:
                raise  # the kernel's own, of one address
            raise TimeoutError(errno.ETIMEDOUT, f"no connection within {CONNECT_TIMEOUT:g} s") from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection: it parses one answer at a time and refuses bytes that nobody asked for."""

    __slots__ = (
        "_body", "_done", "_failure", "_fields", "_head_done", "_interim", "_limit", "_loop", "_over",
        "_parser", "_poller", "_size", "_status", "_transport", "_waiter",
        "idle_since", "received", "reusable", "usable",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        # What sloppy servers do and what hides no second answer; aiohttp's client allows the same.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._transport: Transport
        self._waiter: asyncio.Future[Raw] | None = None
        self._poller: select.poll | None = None
        #: Open, and in step with the peer.
        self.usable = True
        #: The last answer ended cleanly and the peer keeps the connection.
        self.reusable = False
        self.idle_since = 0.0
        self.received = 0

    async def exchange(self, head: bytes, body: bytes | None, limit: int, part: Part | None) -> Raw:
        self._limit = limit
        self._body = Body(part)
        self._fields: list[tuple[bytes, bytes]] = []
        self._failure = ""
        self._head_done = self._done = self._over = False
        self._size = self._status = self._interim = self.received = 0
        self.reusable = False
        self._waiter = self._loop.create_future()
        if body and len(body) <= _ONE_WRITE:
            head += body
            body = None
        self._transport.write(head)
        if body:
            self._transport.write(body)
        return await self._waiter

    def is_quiet(self) -> bool:
        """Whether the peer has neither closed nor said anything that the loop has not yet read."""
        if self._poller is None:
            self._poller = select.poll()
            descriptor = self._transport.get_extra_info("socket").fileno()
            self._poller.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
        return not self._poller.poll(0)

    def abort(self) -> None:
        self.usable = False
        self._transport.abort()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Transport, transport)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            # Bytes that belong to no request of ours: whoever came next would take them for the answer.
            self.abort()
            return
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._failure = self._failure or f"not HTTP/1.1: {error or type(error).__name__}"
        if self._failure and not self._done:
            self._fail("upstream_invalid_response", self._failure)
        elif self._failure:
            # More came behind the end of the answer. The answer stands, the connection does not.
            self.reusable = False
            self._succeed()
        elif self._done or self._over:
            self._succeed()
        elif not self._head_done:
            if self.received > MAX_HEAD:
                self._fail("upstream_invalid_response", f"a head of more than {MAX_HEAD} bytes")
        elif self.received - self._size > MAX_HEAD + _MAX_FRAMING + _MAX_FRAMING_PER_BYTE * self._size:
            self._fail("upstream_invalid_response", "framing that outweighs the body")

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._waiter is None or self._waiter.done():
            return
        if not self.received:
            self._fail("upstream_unreachable", f"closed before any answer: {exc or 'end of stream'}")
        elif exc is None and self._head_done and self._ends_with_the_connection():
            self._succeed()
        else:
            self._fail("upstream_invalid_response", f"closed in the middle of the answer: {exc or 'end of stream'}")

    # The parser's side

    def on_message_begin(self) -> None:
        if self._done:
            self._failure = "more after the end of the answer"

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # trailers
        if len(self._fields) >= MAX_FIELDS or len(name) + len(value) > MAX_FIELD:
            self._failure = self._failure or f"more than {MAX_FIELDS} headers, or one of more than {MAX_FIELD} bytes"
            return
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self._done:
            return
        self._status = self._parser.get_status_code()
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            self._failure = f"HTTP version {self._parser.get_http_version()}"
        elif self._status >= 200:
            self._head_done = True
        elif self._status < 100:
            self._failure = f"the status {self._status}"
        elif self._status == 101:
            self._failure = "switched to a protocol that nobody asked for"

    def on_body(self, piece: bytes) -> None:
        if self._done or self._over:
            return
        if not self._size:
            self._over = self._declared() > self._limit
        self._size += len(piece)
        if self._over or self._size > self._limit or not self._body.add(piece):
            self._over = True
            self._body = Body()

    def on_message_complete(self) -> None:
        if self._done:
            return
        if self._head_done:
            self._done = True
            self.reusable = self._parser.should_keep_alive()
            return
        # An interim answer: forget it and wait for the real one.
        self._fields.clear()
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            self._failure = f"more than {_MAX_INTERIM} interim answers"

    # Ends

    def _succeed(self) -> None:
        waiter = self._waiter
        assert waiter is not None
        self._waiter = None
        if self.reusable and (self._over or not self._done or self._transport.get_write_buffer_size()):
            self.reusable = False  # a part of the answer or of the request is still on its way
        headers = tuple([(text_of(name), text_of(value)) for name, value in self._fields])
        # An idle connection keeps nothing of what it has carried.
        body, self._body = self._body, Body()
        if self._over:
            size = max(self._size, self._declared())
            waiter.set_result(Raw(self._status, headers, b"", True, size))
        else:
            waiter.set_result(Raw(self._status, headers, body.whole(), False, self._size))

    def _fail(self, code: str, cause: str) -> None:
        waiter = self._waiter
        assert waiter is not None
        self._waiter = None
        self._body = Body()
        waiter.set_exception(Broken(code, cause))
        self.abort()

    def _declared(self) -> int:
        for name, value in self._fields:
            if len(name) == 14 and name.lower() == b"content-length" and value.strip().isdigit():
                return int(value)
        return 0

    def _ends_with_the_connection(self) -> bool:
        """Whether nothing but the end of the connection says where the body ends (RFC 9112 §6.3)."""
        for name, value in self._fields:
            lower = name.lower()
            if lower == b"content-length" or (lower == b"transfer-encoding" and b"chunked" in value.lower()):
                return False
        return True
