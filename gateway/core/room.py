"""Memory that requests and answers take, counted: an org gets none where too much is taken, and nobody else suffers."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar, Token
from types import TracebackType

from gateway.core.errors import Refusal

#: Milliseconds after which somebody else's bytes may be gone.
_PAUSE = 1000


class Room:
    """So many bytes for all, of which one org, or all strangers together, may have half."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._by: Counter[str] = Counter()

    def take(self, who: str, size: int) -> bool:
        """Whether there was room. What was taken is given back once, with `give_back`."""
        if self._taken + size > self._size or self._by[who] + size > self._size // 2:
            return False
        self._taken += size
        self._by[who] += size
        return True

    def give_back(self, who: str, size: int) -> None:
        self._taken -= size
        self._by[who] -= size
        if not self._by[who]:
            del self._by[who]

    def part(self, who: str) -> Part:
        """A part for bytes that come piece by piece, and that stay until what is going on is over: see `Holding`."""
        return Part(self, who, _HOLDING.get())


class Part:
    """What an answer takes of a room while it comes. Outside any `Holding` nothing is counted."""

    __slots__ = ("_holding", "_room", "_who", "is_refused")

    def __init__(self, room: Room, who: str, holding: Holding | None) -> None:
        self._room = room
        self._who = who
        self._holding = holding
        #: There was no room for some of it.
        self.is_refused = False

    def take(self, size: int) -> bool:
        """Whether there was room for so many bytes more."""
        if self._holding is None or self._holding.is_over:
            return True
        if not self._room.take(self._who, size):
            self.is_refused = True
            return False
        self._holding.taken.append((self._room, self._who, size))
        return True


class Holding:
    """`with Holding():` what is taken inside is given back at the end, or handed on to the one around it."""

    __slots__ = ("_around", "_token", "is_over", "taken")

    def __init__(self) -> None:
        self.taken: list[tuple[Room, str, int]] = []
        self.is_over = False

    def __enter__(self) -> None:
        self._around = _HOLDING.get()
        self._token: Token[Holding | None] = _HOLDING.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _HOLDING.reset(self._token)
        self.is_over = True
        if self._around is not None and not self._around.is_over:
            self._around.taken += self.taken
            return
        for room, who, size in self.taken:
            room.give_back(who, size)


_HOLDING: ContextVar[Holding | None] = ContextVar("holding", default=None)


def overloaded(message: str) -> Refusal:
    """There is no room: what was asked for may be asked for again in a moment."""
    return Refusal("overloaded", message, retryable=True, retry_after_ms=_PAUSE)
