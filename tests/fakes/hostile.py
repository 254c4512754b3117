"""An upstream that misbehaves on purpose, over raw sockets; a faulty line; and a silent witness.

    async with hostile("reset_mid_body") as upstream:      # every name is a key of BEHAVIOURS
        ...                                                # upstream.base_url, .requests, .connections, .sent
    async with toxic(port) as line:                        # a TCP proxy to that port that can be made to fail
        line.to_client.stop()
    async with Recorder() as witness:                      # counts connections and bytes, and never answers
        ...
"""

import asyncio
import contextlib
import functools
import importlib
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

#: What a compressed answer grows to: 194 KB of gzip on the wire.
BOMB_BYTES = 200_000_000

#: The longest request head that is read as one.
LONGEST_HEAD = 1 << 20

#: Headers of an answer that must never be passed on to whoever called us.
DANGEROUS_HEADERS: tuple[tuple[str, str], ...] = (
    ("Set-Cookie", "session=stolen; Path=/"),
    ("Content-Security-Policy", "default-src *"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Location", "http://127.0.0.1:1/elsewhere"),
    ("Refresh", "0; url=http://127.0.0.1:1/"),
    ("Content-Disposition", "inline; filename=run.html"),
    ("X-Content-Type-Options", "sniff"),
    ("X-Frame-Options", "ALLOWALL"),
    ("Strict-Transport-Security", "max-age=0"),
    ("Clear-Site-Data", '"*"'),
    ("WWW-Authenticate", 'Basic realm="your password, please"'),
    ("Proxy-Authenticate", 'Basic realm="your password, please"'),
    ("Public-Key-Pins", 'pin-sha256="AAAA"; max-age=99999999'),
    ("Service-Worker-Allowed", "/"),
    ("SourceMap", "http://127.0.0.1:1/map"),
    ("Alt-Svc", 'h3="127.0.0.1:1"'),
    ("X-Accel-Redirect", "/etc/passwd"),
    ("X-Sendfile", "/etc/passwd"),
    ("X-Request-Id", "not-ours"),
)


@contextlib.asynccontextmanager
async def hostile(
    behaviour: str, *, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator["Hostile"]:
    """An upstream on a free loopback port that does `behaviour`, with its `options`, to every request."""
    behave = functools.partial(BEHAVIOURS[behaviour], **options)
    upstream = Hostile(behave, early=behaviour in BEFORE_THE_BODY)
    upstream.listener = await asyncio.start_server(
        upstream.serve, "127.0.0.1", 0, ssl=tls, limit=LONGEST_HEAD
    )
    port = upstream.listener.sockets[0].getsockname()[1]
    upstream.base_url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield upstream
    finally:
        await upstream.stop()


class Hostile:
    """A misbehaving upstream and what it saw."""

    def __init__(self, behave: "Behaviour", *, early: bool) -> None:
        self.base_url = ""
        #: Every request as it came, head and body in one.
        self.requests: list[bytes] = []
        #: How many connections were ever accepted.
        self.connections = 0
        #: How many of them are still open: a client that gave up must have closed its own.
        self.open = 0
        #: Bytes handed to the kernel: a client that stops reading stops this from growing.
        self.sent = 0
        self.listener: asyncio.Server
        self._behave = behave
        self._early = early
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    @property
    def port(self) -> int:
        return int(self.base_url.rsplit(":", 1)[1])

    async def received(self, requests: int = 1) -> None:
        """Waits until that many requests have come in."""
        await self._until(lambda: len(self.requests) >= requests)

    async def deserted(self) -> None:
        """Waits until no client holds a connection any more."""
        await self._until(lambda: self.connections > 0 and self.open == 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self.connections += 1
        self.open += 1
        peer = Peer(self, reader, writer)
        try:
            while (request := await peer.read_request(with_body=not self._early)) is not None:
                self.requests.append(request)
                await self._tell()
                await self._behave(peer, request)
                peer.answered += 1
        except (_Over, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()
            await self._tell()
            if task is not None:
                self._tasks.discard(task)

    async def stop(self) -> None:
        self.listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(true)


class _Over(Exception):
    """The behaviour is done with this connection."""


class Peer:
    """One connection, as a behaviour sees it."""

    def __init__(self, upstream: Hostile, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answered = 0
        self._upstream = upstream
        self._reader = reader
        self._writer = writer

    async def read_request(self, *, with_body: bool) -> bytes | None:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return None
        if not with_body:
            return head
        fields = dict(_fields(head))
        if "chunked" in fields.get("transfer-encoding", ""):
            return head + await self._read_chunks()
        return head + await self._reader.readexactly(int(fields.get("content-length", "0")))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._upstream.sent += len(data)

    async def wait_for_the_end(self) -> None:
        """Reads on, and answers nothing, until the client goes."""
        while await self._reader.read(65536):
            pass
        raise _Over

    async def wait_for_more(self) -> None:
        """Returns once the client sends another byte; ends when it goes instead."""
        if not await self._reader.read(1):
            raise _Over

    def close(self) -> None:
        raise _Over

    def half_close(self) -> None:
        self._writer.write_eof()

    def reset(self) -> None:
        _reset(self._writer)
        raise _Over

    async def _read_chunks(self) -> bytes:
        parts = []
        while True:
            line = await self._reader.readuntil(b"\r\n")
            data = await self._reader.readexactly(int(line.split(b";")[0], 16) + 2)
            parts += [line, data]
            if len(data) == 2:
                return b"".join(parts)


Behaviour = Callable[[Peer, bytes], Awaitable[None]]

Misbehaving = Callable[..., Coroutine[Any, Any, None]]

#: Every misbehaviour by its name; the functions stand below, their keyword arguments are the options.
BEHAVIOURS: dict[str, Misbehaving] = {}
#: These act on the head alone, while the client may still be sending its body.
BEFORE_THE_BODY = {"early_answer", "deaf"}


def _behaviour(function: Misbehaving) -> Misbehaving:
    BEHAVIOURS[function.__name__] = function
    return function


# Silence and broken lines


@_behaviour
async def hang(peer: Peer, request: bytes) -> None:
    """Accepts, reads, says nothing."""
    await peer.wait_for_the_end()


@_behaviour
async def hang_after_headers(peer: Peer, request: bytes) -> None:
    await peer.send(_head(length=100))
    await peer.wait_for_the_end()


@_behaviour
async def hang_mid_body(peer: Peer, request: bytes) -> None:
    await peer.send(_head(length=100) + b'{"half": ')
    await peer.wait_for_the_end()


@_behaviour
async def deaf(peer: Peer, request: bytes) -> None:
    """Stops reading after the head: a large upload fills the buffers and stays there."""
    await asyncio.Event().wait()


@_behaviour
async def close_without_answer(peer: Peer, request: bytes) -> None:
    peer.close()


@_behaviour
async def reset_without_answer(peer: Peer, request: bytes) -> None:
    peer.reset()


@_behaviour
async def reset_mid_body(peer: Peer, request: bytes) -> None:
    await peer.send(_head(length=1000) + b'{"half": ')
    peer.reset()


@_behaviour
async def half_close(peer: Peer, request: bytes) -> None:
    """Shuts its own side in the middle of the body and goes on listening."""
    await peer.send(_head(length=1000) + b'{"half": ')
    peer.half_close()
    await peer.wait_for_the_end()


@_behaviour
async def short_body(
    peer: Peer, request: bytes, *, promised: int = 1000, body: bytes = b'{"short": 1}'
) -> None:
    """Promises more bytes than it sends, then closes in good order."""
    await peer.send(_head(length=promised) + body)
    peer.close()


@_behaviour
async def short_chunks(peer: Peer, request: bytes) -> None:
    """A chunked body without its last chunk."""
    await peer.send(_head(chunked=True) + _chunk(b'{"short": 1}'))
    peer.close()


@_behaviour
async def early_answer(peer: Peer, request: bytes, *, status: int = 413) -> None:
    """Answers before it has read the body, and closes."""
    await peer.send(_head(status, length=2, headers=[("Connection", "close")]) + b"{}")
    peer.close()


# Slowness and endlessness


@_behaviour
async def drip(peer: Peer, request: bytes, *, interval: float = 1, length: int = 3600) -> None:
    """One byte of body at a time: no single read is slow, the whole never ends."""
    await peer.send(_head(length=length))
    for _ in range(length):
        await peer.send(b" ")
        await asyncio.sleep(interval)


@_behaviour
async def drip_headers(peer: Peer, request: bytes, *, interval: float = 1) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        await peer.send(b"a")
        await asyncio.sleep(interval)


@_behaviour
async def endless_headers(peer: Peer, request: bytes) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    await _forever(peer, b"X-More: and more\r\n" * 100)


@_behaviour
async def endless_header(peer: Peer, request: bytes) -> None:
    """A single header that does not end."""
    await peer.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    await _forever(peer, b"a" * 4096)


@_behaviour
async def endless_informational(peer: Peer, request: bytes) -> None:
    """Interim answers (1xx) and never a final one."""
    await _forever(peer, b"HTTP/1.1 102 Processing\r\n\r\n" * 10)


@_behaviour
async def endless_body(peer: Peer, request: bytes, *, chunked: bool = True) -> None:
    if chunked:
        await peer.send(_head(chunked=True))
        await _forever(peer, _chunk(b" " * 65536))
    await peer.send(_head(headers=[("Connection", "close")]))
    await _forever(peer, b" " * 65536)


@_behaviour
async def endless_chunk_extension(peer: Peer, request: bytes) -> None:
    await peer.send(_head(chunked=True) + b"1;x=")
    await _forever(peer, b"a" * 4096)


@_behaviour
async def endless_trailers(peer: Peer, request: bytes) -> None:
    await peer.send(_head(chunked=True) + _chunk(b"{}") + b"0\r\n")
    await _forever(peer, b"X-More: and more\r\n" * 100)


# Bodies that are not what they seem


@_behaviour
async def bomb(peer: Peer, request: bytes, *, encoding: str = "gzip", size: int = BOMB_BYTES) -> None:
    """A small answer that decodes to `size` bytes; see `ENCODINGS`."""
    # In a thread: packing takes a second, and the client under test shares this loop.
    body = await asyncio.to_thread(packed, encoding, size)
    await peer.send(_head(length=len(body), headers=[("Content-Encoding", encoding)]) + body)


@_behaviour
async def stacked_encodings(
    peer: Peer, request: bytes, *, encodings: Iterable[str] = ("gzip", "gzip"), body: bytes = b"{}"
) -> None:
    """A body encoded more than once."""
    encodings = list(encodings)
    for encoding in encodings:
        body = ENCODINGS[encoding]([body])
    headers = [("Content-Encoding", ", ".join(encodings))]
    await peer.send(_head(length=len(body), headers=headers) + body)


@_behaviour
async def broken_encoding(peer: Peer, request: bytes, *, encoding: str = "gzip") -> None:
    """Claims an encoding that the body is not in."""
    body = b'{"plain": "text"}'
    await peer.send(_head(length=len(body), headers=[("Content-Encoding", encoding)]) + body)


@_behaviour
async def bad_json(peer: Peer, request: bytes, *, case: str | bytes = "nan") -> None:
    """Claims JSON; `case` is a key of `BAD_JSON`, or the bytes themselves."""
    body = BAD_JSON[case] if isinstance(case, str) else case
    await peer.send(_head(length=len(body)) + body)


@_behaviour
async def echo(peer: Peer, request: bytes, *, status: int = 200, form: str = "json") -> None:
    """Says back the request line, all headers and the body: credentials too. `form`: json, text or header."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *_ = head.decode("latin-1").split("\r\n")
    told = {"line": line, "headers": dict(_fields(head)), "body": body.decode("latin-1")}
    if form == "header":
        # Folded into one value each, as a debugging proxy does it.
        headers = [(f"X-Saw-{name.title()}", value) for name, value in _fields(head)]
        await peer.send(_head(status, length=2, headers=headers) + b"{}")
    elif form == "text":
        text = f"{line} is not valid: {told['headers']} {told['body']}".encode()
        await peer.send(_head(status, length=len(text), kind="text/plain") + text)
    else:
        data = json.dumps(told).encode()
        await peer.send(_head(status, length=len(data)) + data)


# Not quite HTTP


@_behaviour
async def garbage(
    peer: Peer, request: bytes, *, data: bytes = b"\x16\x03\x01\x00 what? \x00\xff\r\n\r\n"
) -> None:
    """Bytes that are no status line."""
    await peer.send(data)
    peer.close()


@_behaviour
async def http09(peer: Peer, request: bytes) -> None:
    """A body without status line or headers, as HTTP/0.9 had it."""
    await peer.send(b'{"ok": true}\n')
    peer.close()


@_behaviour
async def length_and_chunked(peer: Peer, request: bytes) -> None:
    """Both framings at once: whoever believes the other one leaves bytes on the connection."""
    head = _head(length=3, headers=[("Transfer-Encoding", "chunked")])
    await peer.send(head + _chunk(b'{"ok": true}') + b"0\r\n\r\n")


@_behaviour
async def two_lengths(peer: Peer, request: bytes) -> None:
    await peer.send(_head(length=2, headers=[("Content-Length", "12")]) + b'{"ok": true}')


@_behaviour
async def no_content_with_body(peer: Peer, request: bytes) -> None:
    """204 may carry no body (RFC 9110 §15.3.5); this one does."""
    await peer.send(_head(204, length=12) + b'{"ok": true}')


@_behaviour
async def switching_protocols(peer: Peer, request: bytes) -> None:
    """101 that nobody asked for."""
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nhello")
    await peer.wait_for_the_end()


@_behaviour
async def unsolicited_answer(peer: Peer, request: bytes) -> None:
    """A good answer, and behind it on the kept connection another one that belongs to nobody's request."""
    good, planted = b'{"answer": "yours"}', b'{"answer": "planted"}'
    await peer.send(_head(length=len(good)) + good + _head(length=len(planted)) + planted)


@_behaviour
async def dangerous_headers(
    peer: Peer, request: bytes, *, headers: Iterable[tuple[str, str]] = DANGEROUS_HEADERS, status: int = 200
) -> None:
    await peer.send(_head(status, length=2, headers=headers) + b"{}")


@_behaviour
async def redirect(
    peer: Peer, request: bytes, *, status: int = 302, location: str | bytes = "http://127.0.0.1:1/"
) -> None:
    """Sends the client on to any place, as it is: userinfo, other schemes, internal addresses, bytes."""
    where = location.encode() if isinstance(location, str) else location
    await peer.send(_head(status, length=0).replace(b"\r\n\r\n", b"\r\nLocation: " + where + b"\r\n\r\n", 1))


@_behaviour
async def huge_location(peer: Peer, request: bytes, *, status: int = 302, size: int = 10_000_000) -> None:
    await redirect(peer, request, status=status, location=b"http://127.0.0.1:1/" + b"a" * size)


@_behaviour
async def stale_keepalive(peer: Peer, request: bytes, *, when: str = "idle", body: bytes = b"{}") -> None:
    """One good answer on each connection, then it is stale.

    `when="idle"`: closed as soon as the answer is out. `when="next_request"`: closed by a reset once the next
    request arrives on it, unread: the client sent bytes and cannot know whether anybody read them.
    """
    await peer.send(_head(length=len(body)) + body)
    if when == "next_request":
        await peer.wait_for_more()
        peer.reset()
    peer.close()


@_behaviour
async def answer(
    peer: Peer,
    request: bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes = b"{}",
    kind: str = "application/json",
) -> None:
    """A well-formed answer: always 401, an odd Retry-After, a Link to another host, any token answer."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    await peer.send(_head(status, length=len(body), headers=pairs, kind=kind) + body)


@_behaviour
async def raw(peer: Peer, request: bytes, *, data: bytes, close: bool = True) -> None:
    """These bytes, whatever they are."""
    await peer.send(data)
    if close:
        peer.close()


BAD_JSON: dict[str, bytes] = {
    "nan": b'{"value": NaN, "other": -Infinity}',
    "invalid_utf8": b'{"name": "caf\xe9 \xff\xfe"}',
    "lone_surrogate": b'{"name": "\\ud800"}',
    "nul": b'{"name": "a\\u0000b"}',
    "truncated": b'{"name": "unfin',
    "html": b"<html><body>Bad Gateway</body></html>",
    "empty": b"",
    "two_documents": b'{"first": 1}{"second": 2}',
    "duplicate_keys": b'{"role": "user", "role": "admin"}',
    "huge_number": b'{"id": 1' + b"0" * 5000 + b"}",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "byte_order_mark": b'\xef\xbb\xbf{"ok": true}',
    "utf16": '{"ok": true}'.encode("utf-16"),
}


# How answers are made


def _head(
    status: int = 200,
    *,
    length: int | None = None,
    chunked: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    kind: str = "application/json",
) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _forever(peer: Peer, data: bytes) -> None:
    while True:
        await peer.send(data)
        # A fast reader never lets `drain` wait: let the rest of the loop live.
        await asyncio.sleep(0)


def _fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def _gzip(parts: Iterable[bytes]) -> bytes:
    return _compress(parts, zlib.compressobj(9, zlib.DEFLATED, 31))


def _deflate(parts: Iterable[bytes]) -> bytes:
    return _compress(parts, zlib.compressobj(9))


def _compress(parts: Iterable[bytes], compressor: Any) -> bytes:
    return b"".join([*(compressor.compress(part) for part in parts), compressor.flush()])


def _brotli(library: Any, parts: Iterable[bytes]) -> bytes:
    compressor = library.Compressor(quality=5)
    return b"".join([*(compressor.process(part) for part in parts), compressor.finish()])


def _zstd(library: Any, parts: Iterable[bytes]) -> bytes:
    return _compress(parts, library.ZstdCompressor())


#: How a body is encoded, by the name in Content-Encoding; what needs a library is here if that is.
ENCODINGS: dict[str, Callable[[Iterable[bytes]], bytes]] = {"gzip": _gzip, "deflate": _deflate}

for _name, _encode, _library in (
    ("br", _brotli, "brotli"),
    ("zstd", _zstd, "compression.zstd"),
    ("zstd", _zstd, "backports.zstd"),
):
    with contextlib.suppress(ImportError):
        ENCODINGS[_name] = functools.partial(_encode, importlib.import_module(_library))


@functools.cache
def packed(encoding: str, size: int) -> bytes:
    """`size` bytes of JSON white space, encoded; made once per test run."""
    block = b" " * 1_000_000
    whole, rest = divmod(size, len(block))
    return ENCODINGS[encoding]([*[block] * whole, block[:rest]])


def _reset(writer: asyncio.StreamWriter) -> None:
    # With SO_LINGER at zero seconds a close sends RST instead of FIN.
    raw_socket = writer.get_extra_info("socket")
    raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# The faulty line


@contextlib.asynccontextmanager
async def toxic(target_port: int, *, target_host: str = "127.0.0.1") -> AsyncIterator["Toxic"]:
    """A TCP proxy to `target_port` on a free loopback port."""
    line = Toxic(target_host, target_port)
    listener = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.port = listener.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        listener.close()
        await line.hang_up()


class Lane:
    """One direction of a line, and what is wrong with it; may be changed while connections are open."""

    def __init__(self) -> None:
        #: Seconds that each piece of data takes longer.
        self.latency = 0.0
        #: Bytes that may pass on each connection; it ends after the last of them.
        self.limit_data: int | None = None
        self.bytes = 0
        self._open = asyncio.Event()
        self._open.set()

    def stop(self) -> None:
        """Holds everything back without closing anything: the other side hears nothing more."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        while data := await reader.read(65536):
            await asyncio.sleep(self.latency)
            await self._open.wait()
            limit = self.limit_data
            passed = data if limit is None else data[: max(limit - carried, 0)]
            carried += len(passed)
            self.bytes += len(passed)
            writer.write(passed)
            await writer.drain()
            if limit is not None and carried >= limit:
                raise _Over
        await self._open.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()


class Toxic:
    """A line that can be slowed, cut and stopped, with a lane for each direction."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.to_target = Lane()
        self.to_client = Lane()
        #: New connections are reset at once while this is set.
        self.down = False
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Holds back both directions."""
        self.to_target.stop()
        self.to_client.stop()

    def resume(self) -> None:
        self.to_target.resume()
        self.to_client.resume()

    def reset(self) -> None:
        """Resets every open connection, towards both ends."""
        for writer in list(self._writers):
            _reset(writer)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.down:
            _reset(writer)
            return
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        writers = {writer}
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.add(far_writer)
            self._writers |= writers
            async with asyncio.TaskGroup() as lanes:
                lanes.create_task(self.to_target.carry(reader, far_writer))
                lanes.create_task(self.to_client.carry(far_reader, writer))
        except* _Over:
            pass
        except* OSError:
            _reset(writer)
        finally:
            self._writers -= writers
            for one in writers:
                one.close()
            if task is not None:
                self._tasks.discard(task)

    async def hang_up(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


# The silent witness


@dataclass(slots=True, kw_only=True)
class Recorder:
    """A TCP listener that answers nothing and counts: the proof that nobody came."""

    host: str = "127.0.0.1"
    port: int = 0
    connections: int = 0
    #: What was sent to us, piece by piece.
    data: list[bytes] = field(default_factory=list)
    _listener: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._record, self.host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def received(self) -> int:
        """How many bytes came in."""
        return sum(map(len, self.data))

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def _record(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self.connections += 1
        try:
            while data := await reader.read(65536):
                self.data.append(data)
        except ConnectionError:
            pass
        finally:
            writer.close()
            if task is not None:
                self._tasks.discard(task)
