"""Listens: aiohttp with the deadlines and the silence about bad requests that it does not bring itself."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from gateway.core.errors import Refusal
from gateway.core.ids import random_hex
from gateway.core.room import Holding
from gateway.operator_file import BadSetting
from gateway.web.answers import refusal_answer

log = logging.getLogger("skillway.requests")

#: Seconds for the first request's head to arrive on a new connection.
HEAD_DEADLINE = 10.0
#: Seconds a kept-alive connection may wait for its next request, head included.
IDLE_DEADLINE = 75.0
#: Milliseconds that sent bytes may stay unacknowledged, also while the peer reads nothing.
WRITE_STALL = 30_000
#: Seconds for the rest of a body that nobody reads: a client that still sends would not see the answer otherwise.
LINGER = 5.0


class Listener(web.AppRunner):
    """An application runner whose connections have deadlines."""

    def __init__(self, app: web.Application, *, drain: float) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise BadSetting(
                "aiohttp runs without its compiled parser (AIOHTTP_NO_EXTENSIONS?), and the other one is less strict"
            )
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            # aiohttp waits that long twice, for the handlers and for what it then cancels; no call feels the middle.
            shutdown_timeout=drain / 2,
            keepalive_timeout=IDLE_DEADLINE,
            lingering_time=LINGER,
            # Compressed bodies are refused, so nothing needs to unpack them.
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        # aiohttp offers no other way to choose the protocol class; its version is pinned, and tests watch this.
        server.__class__ = Front
        return server


class Front(web.Server):
    """aiohttp's server with our connections."""

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(RequestHandler):
    """One client connection. aiohttp waits for a head for ever and echoes what it cannot parse; this does not."""

    __slots__ = ("_head_timer",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_DEADLINE, self.force_close)
        connected = transport.get_extra_info("socket")
        if connected is not None and hasattr(socket, "TCP_USER_TIMEOUT") and connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, WRITE_STALL)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._messages:
            return
        self._disarm()
        request = self._current_request
        if isinstance(self._messages[-1][0], _ErrInfo) and request is not None and not request.content.is_eof():
            # It was the body that could not be parsed: whoever reads it would wait for the rest until the deadline.
            request.content.set_exception(RequestPayloadError("malformed body"))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A request that could not be parsed: one fixed answer, nothing of it repeated anywhere."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer is out")
        request_id = f"req_{random_hex(8)}"
        if status >= 500:
            log.error("%s failed outside its handler: %s", request_id, type(exc).__name__)
            refusal = Refusal("internal", f"Something went wrong here. Tell the operator the reference {request_id}.")
        else:
            log.info("%s is not HTTP and was refused", request_id)
            refusal = Refusal("bad_request", "The request is not valid HTTP/1.1.")
        response = refusal_answer(refusal)
        response.headers["X-Request-Id"] = request_id
        response.headers["Server"] = "skillway"
        response.force_close()
        return response

    async def _handle_request(self, *given: Any) -> tuple[web.StreamResponse, bool]:
        # Until the answer is out: what calls take of the room for answers is given back then.
        with Holding():
            return await super()._handle_request(*given)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):
            # Raised before our middleware could see it: an `Expect` that aiohttp does not know and would repeat.
            resp = self.handle_error(request, resp.status)
        return await super().finish_response(request, resp, start_time)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
