"""A small memory for look-ups on the way of a call: bounded, short-lived, and one look-up at a time per key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Answers of `look_up` by key, each for `seconds`; callers at once share one look-up.

    What another process changes is seen after at most `seconds`; what this one changes at once, if it calls
    `forget`.
    """

    def __init__(
        self,
        look_up: Callable[[K], Awaitable[V]],
        *,
        seconds: float = 2.0,
        size: int = 20_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._known: dict[K, tuple[float, V]] = {}
        self._under_way: dict[K, asyncio.Future[V]] = {}
        #: Counts changes, so that a look-up begun before one is not remembered after it.
        self._changes = 0

    def peek(self, key: K) -> V | None:
        """What is remembered, without a look-up."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] > self._clock() else None

    async def get(self, key: K) -> V:
        known = self._known.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        under_way = self._under_way.get(key)
        if under_way is None:
            under_way = asyncio.ensure_future(self._fetch(key))
            self._under_way[key] = under_way
            under_way.add_done_callback(lambda done: self._ended(key, done))
        # One caller's cancellation is not the other callers' business.
        return await asyncio.shield(under_way)

    def forget(self, key: K) -> None:
        """Drops one answer."""
        self._changes += 1
        self._known.pop(key, None)
        self._under_way.pop(key, None)

    def forget_if(self, concerned: Callable[[K], bool]) -> None:
        """Drops the answers whose keys are concerned by a change."""
        self._changes += 1
        for key in [key for key in {*self._known, *self._under_way} if concerned(key)]:
            self._known.pop(key, None)
            self._under_way.pop(key, None)

    async def _fetch(self, key: K) -> V:
        changes = self._changes
        value = await self._look_up(key)
        if changes == self._changes:
            while len(self._known) >= self._size:
                del self._known[next(iter(self._known))]
            self._known.pop(key, None)
            self._known[key] = (self._clock() + self._seconds, value)
        return value

    def _ended(self, key: K, done: asyncio.Future[V]) -> None:
        if self._under_way.get(key) is done:
            del self._under_way[key]
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody waiting is no reason for a warning
