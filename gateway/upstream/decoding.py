"""Undoes a Content-Encoding piece by piece, so that a bomb is cut off before it is in memory."""

from __future__ import annotations

import asyncio
import importlib
import zlib
from collections.abc import Iterator
from typing import Any, Final, Protocol

from gateway.core.requests.request import Headers
from gateway.core.room import Part

brotli: Any
try:
    brotli = importlib.import_module("brotli")
except ImportError:  # an extra of the gateway; without it `br` is an encoding that we do not know
    brotli = None

#: The most that is decoded at once.
PIECE: Final = 256 * 1024
#: Decoded without giving the event loop a turn.
_TURN: Final = 1024 * 1024
#: A gzip stream may hold several members; real ones hold few.
_MAX_MEMBERS: Final = 1024


class Undecodable(Exception):
    """Stacked, unknown or broken: the body cannot be given. The text is for the operator's log."""


class Decoder(Protocol):
    """Takes the encoded body in pieces of any size and gives the decoded one in pieces of at most `PIECE`."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None:
        """Raises `Undecodable` where the end is missing."""
        ...


def encoding_of(headers: Headers) -> str | None:
    """The one encoding to undo; None where there is nothing to do. Raises `Undecodable` for more than one."""
    named: list[str] = []
    for name, value in headers:
        if len(name) == 16 and name.lower() == "content-encoding":
            named += [token for word in value.split(",") if (token := word.strip().lower()) not in ("", "identity")]
    if not named:
        return None
    if len(named) > 1:
        raise Undecodable(f"stacked encodings: {', '.join(named)[:100]}")
    return named[0]


def decoder_for(encoding: str) -> Decoder:
    """Raises `Undecodable` for an encoding that we do not know."""
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    if encoding == "deflate":
        return _Deflate()
    if encoding == "br" and brotli is not None:
        return _Brotli()
    raise Undecodable(f"the encoding {encoding[:50]!r} is not known")


async def decode(body: bytes, encoding: str, limit: int, part: Part | None = None) -> tuple[bytes, int] | None:
    """The decoded body and its size, or None and no more than `limit` in memory where it is larger, or has no room.

    Raises `Undecodable`.
    """
    decoder = decoder_for(encoding)
    pieces: list[bytes] = []
    size = turn = 0
    for start in range(0, len(body), PIECE):
        # Not all at once: zlib copies whatever it has not come to yet.
        for piece in decoder.feed(body[start : start + PIECE]):
            size += len(piece)
            if size > limit or (size > PIECE and part is not None and not part.take(len(piece))):
                return None
            pieces.append(piece)
            if size - turn > _TURN:
                turn = size
                await asyncio.sleep(0)
    decoder.finish()
    return b"".join(pieces), size


def without_encoding(headers: Headers) -> Headers:
    """The headers of the decoded body: those that describe the encoded one are left out."""
    return tuple(pair for pair in headers if pair[0].lower() not in ("content-encoding", "content-length"))


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._members = 1
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream.eof:
                # RFC 1952 §2.2: members follow one another. Zeros behind the last are padding.
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._members += 1
                if self._members > _MAX_MEMBERS:
                    raise Undecodable("a gzip body of too many members")
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._begun = True
            yield from _inflate(self._stream, data)
            data = self._stream.unused_data

    def finish(self) -> None:
        if self._begun and not self._stream.eof:
            raise Undecodable("the gzip body ends too early")


class _Deflate:
    """RFC 9110 §8.4.1.2 means zlib; some servers send the raw stream."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            self._head = b""
        yield from _inflate(self._stream, data)

    def finish(self) -> None:
        if self._head or (self._stream is not None and not self._stream.eof):
            raise Undecodable("the deflate body ends too early")


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        self._begun = True
        while True:
            try:
                piece = self._stream.process(data, output_buffer_limit=PIECE)
            except brotli.error as error:
                raise Undecodable(f"a broken brotli body: {error}") from error
            if piece:
                yield piece
            data = b""
            if self._stream.can_accept_more_data() or self._stream.is_finished():
                return

    def finish(self) -> None:
        if self._begun and not self._stream.is_finished():
            raise Undecodable("the brotli body ends too early")


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while data:
        try:
            piece = stream.decompress(data, PIECE)
        except zlib.error as error:
            raise Undecodable(f"a broken body: {error}") from error
        if piece:
            yield piece
        elif not stream.unconsumed_tail:
            return
        data = stream.unconsumed_tail
