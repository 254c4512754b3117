"""Whether this process can serve: what `/readyz` answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

#: Seconds the database has to answer.
_DEADLINE = 2.0


class Health:
    """Ready from the start until the drain, while the database answers."""

    def __init__(self, check_store: Callable[[], Awaitable[None]], store_broken: asyncio.Event) -> None:
        self._check_store = check_store
        #: Set once this process must not go on: only a new one may write.
        self.store_broken = store_broken
        self._drained_at: float | None = None

    @property
    def draining(self) -> bool:
        return self._drained_at is not None

    def drain(self) -> None:
        """From here on load balancers are told to look elsewhere."""
        self._drained_at = monotonic()

    def left(self, seconds: float) -> float:
        """What is left of so many seconds since the drain began."""
        return seconds if self._drained_at is None else max(0.0, seconds - (monotonic() - self._drained_at))

    async def problem(self) -> str | None:
        """Why it is not ready: `shutting_down` or `storage_unavailable`; None where it is."""
        if self.draining:
            return "shutting_down"
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._check_store()
        except Exception:
            return "storage_unavailable"
        return None
