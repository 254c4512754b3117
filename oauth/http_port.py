"""The way out of this package: who implements `Http` opens the sockets, through the door that skills use too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

#: Bytes of a server's answer that are read; those of real token endpoints have under 10 kB.
ANSWER_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request to an authorization server. It is not to be redirected, retried or logged."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Seconds for the whole exchange.
    timeout: float
    #: Bytes of the decoded answer worth reading; more may be cut off behind `limit + 1`.
    limit: int = ANSWER_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Unreached(Exception):
    """No answer came. `sent`: the request may have arrived."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("no answer after the request was sent" if sent else "the request was not sent")
        self.sent = sent


class Http(Protocol):
    """The way out: the door that skills use too."""

    async def exchange(self, request: HttpRequest) -> HttpAnswer:
        """Sends it once and follows no redirect. Raises `Unreached`."""
        ...
