"""The upstream request and its answer as plain values: what `requests.py` builds and `upstream/` sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.room import Part

Headers = tuple[tuple[str, str], ...]


class Readable(Protocol):
    """Bytes that are read only when they are needed, as often as that is."""

    @property
    def size(self) -> int: ...

    @property
    def about(self) -> str:
        """What stands for them where they are not shown."""
        ...

    def read(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Pieces:
    """A body that is put together while it is sent: files go through without being held."""

    pieces: tuple[bytes | Readable, ...] = field(repr=False)

    def __len__(self) -> int:
        return sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in self.pieces)

    async def read(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            async with aclosing(piece.read()) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One HTTP request, ready to send. `repr` hides what a credential may stand in."""

    method: str
    #: Scheme, host and port: `https://api.github.com`.
    origin: str
    #: Already percent-encoded, sent as it is; may hold a secret field.
    path: str = field(repr=False)
    #: Already percent-encoded, without `?`; may hold a credential.
    query: str = field(default="", repr=False)
    headers: Headers = field(default=(), repr=False)
    body: bytes | Pieces | None = field(default=None, repr=False)
    #: Seconds for the whole exchange.
    timeout: float = 30.0
    #: Safe to repeat after it may have arrived.
    idempotent: bool = False
    #: Whether redirects are followed; what `credential_*` names never leaves the origin.
    follow_redirects: bool = False
    #: Names of the headers (lower case) that carry the credential.
    credential_headers: frozenset[str] = frozenset()
    #: Names in the query, as they are sent, that carry the credential.
    credential_params: frozenset[str] = frozenset()
    #: It holds for one sending: whoever sends it again makes it anew, with a signature of that time.
    once: bool = False
    #: A person typed the host, so that an unusual port is open only where the operator allows any.
    host_is_typed: bool = False
    #: The credential's secrets, wherever they stand: kept out of answers, logs and redirects to another origin.
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def credential_in_query(self) -> bool:
        return bool(self.credential_params)

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}" + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamAnswer:
    """What the upstream answered: its status, its headers in order, its decoded body.

    `omitted` is set where the body went over the limit, or had no room: then `body` is empty and `size` says how much
    was seen. `told` is JSON that stands for a body which was kept elsewhere.
    """

    status: int
    headers: Headers
    body: bytes = b""
    omitted: bool = False
    size: int = 0
    told: bytes | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name, which is given in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True, kw_only=True)
class UpstreamStream:
    """An answer whose body is still to come. Read `chunks` to the end or call `close`."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    close: Callable[[], None]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class UpstreamFailed(Exception):
    """No answer. `sent` says whether any byte of the request may have reached the upstream, `status` what it
    answered where only its body cannot be had.

    `code` is `upstream_unreachable`, `upstream_timeout`, `upstream_invalid_response` or `response_too_large`;
    `cause` is for the operator's log only.
    """

    def __init__(self, code: str, *, sent: bool, cause: str, status: int | None = None) -> None:
        super().__init__(cause)
        self.code = code
        self.sent = sent
        self.cause = cause
        self.status = status


class Upstream(Protocol):
    """The only way out."""

    async def send(self, request: UpstreamRequest, *, limit: int, part: Part | None = None) -> UpstreamAnswer:
        """Sends it and reads the decoded body up to `limit` bytes, if there is room. Raises `UpstreamFailed`."""
        ...

    async def stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Sends it and returns as soon as the head is there. Raises `UpstreamFailed`."""
        ...
