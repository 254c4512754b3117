"""What the two ways of putting a request on a wire have in common: one attempt, and the answer as it came."""

from __future__ import annotations

import io
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from gateway.core.requests.request import Headers, UpstreamRequest
from gateway.core.room import Part
from gateway.upstream.egress import Url

#: The longest status line with headers, the longest header, and how many headers an answer may have.
MAX_HEAD: Final = 64 * 1024
MAX_FIELD: Final = 16 * 1024
MAX_FIELDS: Final = 256
#: Seconds that opening a connection may take, the TLS handshake included.
CONNECT_TIMEOUT: Final = 10.0
#: Seconds that an unused connection is kept. Common servers close after 5 (Node) to 75 (nginx); a stale one
#: costs an idempotent request a repeat.
KEEP: Final = 30.0
#: Set by us alone; in a request they would change where it ends or who reads it.
OURS: Final = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
    )
)
#: Larger bodies are joined as they come.
_JOINED: Final = 256 * 1024
_CARRY_BODIES: Final = frozenset(("POST", "PUT", "PATCH"))


@dataclass(slots=True)
class Attempt:
    """How far one attempt got, for deciding what a failure means."""

    #: From now on a byte of the request may have arrived.
    sent: bool = False
    #: It went over a connection that had served before.
    reused: bool = False
    #: At least one byte of an answer came.
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came over the wire, its Content-Encoding still on."""

    status: int
    headers: Headers
    body: bytes
    #: The body went over the limit, or there was no room for it: it is left out, and had at least `size` bytes.
    over: bool
    size: int


class Body:
    """A body in pieces as they come; a large one is never in memory twice, and takes its `part` of what there is."""

    __slots__ = ("_large", "_part", "_pieces", "_size")

    def __init__(self, part: Part | None = None) -> None:
        self._part = part
        self._pieces: list[bytes] = []
        self._large: io.BytesIO | None = None
        self._size = 0

    def add(self, piece: bytes) -> bool:
        """Whether there was room for it."""
        self._size += len(piece)
        if self._large is not None:
            self._large.write(piece)
            return self._part is None or self._part.take(len(piece))
        self._pieces.append(piece)
        if self._size > _JOINED:
            self._large = io.BytesIO()
            self._large.writelines(self._pieces)
            self._pieces.clear()
            return self._part is None or self._part.take(self._size)
        return True

    def whole(self) -> bytes:
        if self._large is not None:
            return self._large.getvalue()
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class Broken(Exception):
    """The exchange ended without a whole answer. `code` is one of `UpstreamFailed`'s."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause


class Wire(Protocol):
    """A way to put one request on a connection and to take one answer off it."""

    async def exchange(
        self, request: UpstreamRequest, url: Url, attempt: Attempt, *, limit: int, part: Part | None, fresh: bool
    ) -> Raw:
        """`fresh` takes no connection that served before. Raises `Broken`, OSError and foreign errors."""
        ...

    async def close(self) -> None: ...


@lru_cache(maxsize=4)
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, verified against the system's certificates and those of the operator's own file."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


def head_of(request: UpstreamRequest, url: Url) -> bytes:
    """Request line and headers in their order, Host first. Raises ValueError for what is not one request."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    lines = [f"{request.method} {target} HTTP/1.1\r\nHost: {url.host_header}"]
    for name, value in request.headers:
        if name.lower() in OURS:
            raise ValueError(f"the header {name} is set by us alone")
        lines.append(f"{name}: {value}")
    if request.body is not None:
        lines.append(f"Content-Length: {len(request.body)}")
    elif request.method in _CARRY_BODIES:
        lines.append("Content-Length: 0")
    head = "\r\n".join(lines) + "\r\n\r\n"
    # Whatever the builder let through, one request stays one request.
    breaks = len(lines) + 2
    if head.count("\r") != breaks or head.count("\n") != breaks or "\0" in head or " " in target or "#" in target:
        raise ValueError("a line break, a NUL or a space where none may be")
    if not (target.startswith("/") and request.method.isalpha()):
        raise ValueError("the method is no word, or the path does not begin with a slash")
    return head.encode("latin-1")


def text_of(raw: bytes) -> str:
    """A header's text: UTF-8 where it is, and never half a surrogate."""
    return raw.decode("utf-8", "replace")
