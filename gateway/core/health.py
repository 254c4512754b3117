"""Whether this process can serve: what `/readyz` answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

#: Seconds the database has to answer.
_DEADLINE = 2.0


class Health:
    """Ready from the start until the drain, while the database answers."""

    def __init__(self, check_store: Callable[[], Awaitable[None]]) -> None:
        self._check_store = check_store
        self._draining = False

    @property
    def draining(self) -> bool:
        return self._draining

    def drain(self) -> None:
        """From here on load balancers are told to look elsewhere."""
        self._draining = True

    async def problem(self) -> str | None:
        """Why it is not ready: `shutting_down` or `storage_unavailable`; None where it is."""
        if self._draining:
            return "shutting_down"
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._check_store()
        except Exception:
            return "storage_unavailable"
        return None
