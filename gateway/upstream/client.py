"""The only way out: sends a request through the address guard, brings the answer back or says why not.

Two wires do the sending, our own for plain calls and aiohttp's for streams. Deadline, redirects, repeats,
decoding and the meaning of every failure are decided here, once for both.
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import aiohttp

from gateway.core.requests.redaction import redact, spellings
from gateway.core.requests.request import UpstreamAnswer, UpstreamFailed, UpstreamRequest, UpstreamStream
from gateway.core.room import Part
from gateway.upstream import decoding, redirects
from gateway.upstream.deadline import Deadline
from gateway.upstream.egress import DEFAULT_PORTS, AddressRefused, Egress, Url, parse_url_strict
from gateway.upstream.fast import FastWire
from gateway.upstream.session import SessionWire, headers_of
from gateway.upstream.wire import Attempt, Broken, Raw, Wire, tls_context

#: What foreign errors mean, the first that fits; for those that came once the request may have arrived.
_MEANINGS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, "upstream_timeout"),
    (aiohttp.ClientPayloadError, "upstream_invalid_response"),
    (aiohttp.ClientResponseError, "upstream_invalid_response"),
    (aiohttp.http.HttpProcessingError, "upstream_invalid_response"),
    (aiohttp.ClientError, "upstream_unreachable"),
    (OSError, "upstream_unreachable"),
    (ValueError, "upstream_unreachable"),
)
#: How an exchange ends that brings nothing.
_NO_ANSWER: Final = (Broken, OSError, aiohttp.ClientError)
#: How a connection ends that the peer had closed before it heard us, or that held leftovers of an earlier answer.
_STALE: Final = (
    Broken,
    ConnectionError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientResponseError,
)


class HttpUpstream:
    """`Upstream` over HTTP/1.1. One per event loop; `close` it at the end.

    `ca_file` names certificates that the operator trusts besides the system's. With `fast=False`
    everything goes the ordinary way.
    """

    def __init__(
        self,
        egress: Egress,
        *,
        ca_file: str | None = None,
        tls: ssl.SSLContext | None = None,
        fast: bool = True,
    ) -> None:
        tls = tls or tls_context(ca_file)
        self._egress = egress
        self._session = SessionWire(egress, tls)
        self._fast = FastWire(egress, tls) if fast else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drops every connection."""
        if self._fast is not None:
            await self._fast.close()
        await self._session.close()

    async def send(self, request: UpstreamRequest, *, limit: int, part: Part | None = None) -> UpstreamAnswer:
        """Sends it and reads the decoded body up to `limit` bytes. Raises `UpstreamFailed`.

        A body over the limit, one that its `part` has no room for, and one that cannot be decoded, is left out
        (`omitted`): the upstream answered, and an answered write is never an error.
        """
        attempt = Attempt()
        try:
            with Deadline(request.timeout):
                url = _url_of(request.origin)
                raw = await self._exchange(request, url, attempt, limit, part)
                if request.follow_redirects and raw.status in redirects.STATUSES:
                    raw = await self._follow(request, url, raw, limit, part)
                return await _answer(raw, limit, part)
        except Exception as error:
            raise _failed(error, attempt, request) from error

    async def stream(self, request: UpstreamRequest) -> UpstreamStream:
        """Sends it and returns as soon as the head is there. Raises `UpstreamFailed`; so do its chunks.

        `request.timeout` counts the time that is spent waiting for the upstream, not that of a slow reader.
        """
        attempt = Attempt()
        started = time.monotonic()
        try:
            with Deadline(request.timeout):
                response = await self._open(request, _url_of(request.origin), attempt)
        except Exception as error:
            raise _failed(error, attempt, request) from error
        try:
            headers = headers_of(response)
            encoding = decoding.encoding_of(headers)
            decoder = decoding.decoder_for(encoding) if encoding else None
        except (Broken, decoding.Undecodable) as error:
            response.close()
            raise UpstreamFailed(
                "upstream_invalid_response", sent=True, cause=_cause(error, request), status=response.status
            ) from error
        return UpstreamStream(
            status=response.status,
            headers=decoding.without_encoding(headers) if decoder else headers,
            chunks=_chunks(response, decoder, request, request.timeout - (time.monotonic() - started)),
            close=response.close,
        )

    async def _exchange(
        self, request: UpstreamRequest, url: Url, attempt: Attempt, limit: int, part: Part | None
    ) -> Raw:
        """One request, one answer. A connection closed before it heard us costs one repeat, on a new one."""
        await self._check_port(request, url)
        wire: Wire = self._fast if self._fast is not None and self._fast.serves(request) else self._session
        try:
            return await wire.exchange(request, url, attempt, limit=limit, part=part, fresh=False)
        except _STALE:
            if not _may_repeat(request, attempt):
                raise
        attempt.reused = False
        return await wire.exchange(request, url, attempt, limit=limit, part=part, fresh=True)

    async def _follow(self, request: UpstreamRequest, url: Url, raw: Raw, limit: int, part: Part | None) -> Raw:
        """The answer at the end of the redirects, or the redirect itself where it is not followed."""
        for _ in range(redirects.MAX_HOPS):
            hop = redirects.next_hop(request, url, raw.status, raw.headers)
            if hop is None or not await self._may_hop(url, hop[1]):
                return raw
            attempt = Attempt()
            try:
                raw = await self._exchange(*hop, attempt, limit, part)
            except _NO_ANSWER:
                if _matters(request, attempt):
                    raise
                return raw
            request, url = hop
            if raw.status not in redirects.STATUSES:
                return raw
        return raw

    async def _open(self, request: UpstreamRequest, url: Url, attempt: Attempt) -> aiohttp.ClientResponse:
        """The head of the answer, redirects followed; what they throw away is not read."""
        response = await self._open_once(request, url, attempt)
        hops = redirects.MAX_HOPS if request.follow_redirects else 0
        try:
            while hops and response.status in redirects.STATUSES:
                hops -= 1
                hop = redirects.next_hop(request, url, response.status, headers_of(response))
                if hop is None or not await self._may_hop(url, hop[1]):
                    break
                attempt = Attempt()
                try:
                    following = await self._open_once(*hop, attempt)
                except _NO_ANSWER:
                    if _matters(request, attempt):
                        raise
                    break
                response.close()
                response = following
                request, url = hop
        except BaseException:
            response.close()
            raise
        return response

    async def _may_hop(self, here: Url, there: Url) -> bool:
        """Whether the port is one that somebody of ours wrote, or lies where any port is allowed."""
        usual = there.origin == here.origin or there.port == DEFAULT_PORTS[there.scheme]
        return usual or await self._egress.is_private(there)

    async def _check_port(self, request: UpstreamRequest, url: Url) -> None:
        """Raises `AddressRefused` for a port of the internet that neither a definition nor the operator wrote."""
        if request.host_is_typed and url.port != DEFAULT_PORTS[url.scheme] and not await self._egress.is_private(url):
            raise AddressRefused(f"{url.host} port {url.port}, which a person typed")

    async def _open_once(self, request: UpstreamRequest, url: Url, attempt: Attempt) -> aiohttp.ClientResponse:
        await self._check_port(request, url)
        try:
            return await self._session.open(request, url, attempt, fresh=False)
        except _STALE:
            if not _may_repeat(request, attempt):
                raise
        attempt.reused = False
        return await self._session.open(request, url, attempt, fresh=True)


@functools.lru_cache(maxsize=4096)
def _url_of(origin: str) -> Url:
    return parse_url_strict(origin)


def _may_repeat(request: UpstreamRequest, attempt: Attempt) -> bool:
    may_again = request.idempotent and not request.once
    return attempt.reused and not attempt.answered and (may_again or not attempt.sent)


def _matters(request: UpstreamRequest, hop: Attempt) -> bool:
    """Whether a hop that failed is a failure of the call.

    A write was answered already, by the redirect itself. A place that could not be asked (refused, closed,
    unknown) is no reason to hide that answer.
    """
    return hop.sent and request.idempotent


async def _answer(raw: Raw, limit: int, part: Part | None) -> UpstreamAnswer:
    if raw.over:
        return _omitted(raw, raw.size)
    if not raw.body:
        return UpstreamAnswer(status=raw.status, headers=raw.headers)
    try:
        encoding = decoding.encoding_of(raw.headers)
        if encoding is None:
            return UpstreamAnswer(status=raw.status, headers=raw.headers, body=raw.body, size=raw.size)
        decoded = await decoding.decode(raw.body, encoding, limit, part)
    except decoding.Undecodable:
        return _omitted(raw, raw.size)
    headers = decoding.without_encoding(raw.headers)
    if decoded is None:
        return UpstreamAnswer(status=raw.status, headers=headers, omitted=True, size=limit + 1)
    return UpstreamAnswer(status=raw.status, headers=headers, body=decoded[0], size=decoded[1])


def _omitted(raw: Raw, size: int) -> UpstreamAnswer:
    return UpstreamAnswer(status=raw.status, headers=raw.headers, omitted=True, size=size)


async def _chunks(
    response: aiohttp.ClientResponse,
    decoder: decoding.Decoder | None,
    request: UpstreamRequest,
    budget: float,
) -> AsyncIterator[bytes]:
    attempt = Attempt(sent=True, answered=True)
    read = response.content.readany
    try:
        while True:
            started = time.monotonic()
            with Deadline(budget):
                piece = await read()
            budget -= time.monotonic() - started
            if not piece:
                break
            if decoder is None:
                yield piece
                continue
            for decoded in decoder.feed(piece):
                yield decoded
        if decoder is not None:
            decoder.finish()
    except (decoding.Undecodable, aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError) as error:
        raise _failed(error, attempt, request) from error
    finally:
        response.close()


# What went wrong


def _failed(error: Exception, attempt: Attempt, request: UpstreamRequest) -> UpstreamFailed:
    cause = _cause(error, request)
    if isinstance(error, UpstreamFailed):
        return error
    if isinstance(error, Broken):
        return UpstreamFailed(error.code, sent=attempt.sent, cause=cause)
    if isinstance(error, decoding.Undecodable):
        return UpstreamFailed("upstream_invalid_response", sent=attempt.sent, cause=cause)
    for kind, code in _MEANINGS:
        if isinstance(error, kind):
            return UpstreamFailed(code, sent=attempt.sent, cause=cause)
    raise error


def _cause(error: BaseException, request: UpstreamRequest) -> str:
    """For the operator: where to, what happened. The path and the query may hold secrets and are left out."""
    refusal = _refusal_in(error)
    what = f"refused: {refusal.reason}" if refusal else f"{type(error).__name__}: {_told(error)}"
    told, _ = redact(what.encode(errors="replace"), spellings(request.secrets))
    return f"{request.method} {request.origin}: {told.decode()}"[:500]


def _told(error: BaseException) -> str:
    """The text of an error, without what aiohttp says in it: the URL, and on further lines what the upstream sent."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return text.partition("\n")[0]


def _refusal_in(error: BaseException | None) -> AddressRefused | None:
    """The guard's refusal, however deep the connector has wrapped it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, AddressRefused):
            return error
        seen.add(id(error))
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return None
