"""One line per request, written some at a time: the logging module costs more than the rest of a small answer."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Literal

import orjson

#: Seconds that a line may wait for others. A kill -9 loses at most those.
_DELAY = 0.1
#: Bytes that a pipe takes in one piece (PIPE_BUF), so that processes which share it do not mix their lines.
_PIECE = 4096


class RequestLog:
    """Lines on stderr, in the same form as the other log lines. Everything in them is ours: no path, no query."""

    def __init__(self, form: Literal["text", "json"]) -> None:
        self._form = form
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._stamp = ""

    def line(
        self,
        method: str,
        route: str,
        status: int,
        request_id: str,
        ms: float,
        org: str | None,
        key: str | None,
        peer: str | None,
    ) -> None:
        """Notes an answered request; `ms` is how long it took."""
        message = f"{method} {route} {status}"
        if self._form == "json":
            line: dict[str, object] = {
                "time": self._time(),
                "level": "info",
                "logger": "skillway.requests",
                "message": message,
                "request_id": request_id,
                "ms": ms,
                "peer": peer,
            }
            if org is not None:
                line["org"], line["key"] = org, key
            self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        else:
            who = f" org={org} key={key}" if org is not None else ""
            text = f"{self._time()} info    {message} request_id={request_id} ms={ms} peer={peer}{who}\n"
            self._lines.append(text.encode())
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self.flush)

    def flush(self) -> None:
        """Writes what waits. A stderr that is gone or full for good must not take the gateway with it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        piece = b""
        for line in lines:
            if len(piece) + len(line) > _PIECE:
                _write(piece)
                piece = b""
            piece += line
        if piece:
            _write(piece)

    def _time(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"


def _write(piece: bytes) -> None:
    try:
        os.write(sys.stderr.fileno(), piece)
    except (OSError, ValueError):
        return
