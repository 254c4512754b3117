"""How many processes serve this installation: each says now and then that it lives."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from gateway.core.errors import Refusal

_PREFIX = "replica:"
#: Seconds between two signs of life, and for how long one counts.
EVERY = 10.0
_LASTS = 30.0


class CountedLeases(Protocol):
    """Leases that can be counted by how their names begin."""

    async def acquire(self, name: str, owner: str, seconds: float) -> bool: ...

    async def release(self, name: str, owner: str) -> None: ...

    async def count(self, prefix: str) -> int: ...


class Replicas:
    """The last known number of processes, this one included."""

    def __init__(self, leases: CountedLeases, owner_id: str) -> None:
        self._leases = leases
        self._owner_id = owner_id
        self._known = 1

    def __call__(self) -> int:
        return self._known

    async def look(self) -> None:
        """Says that this process lives, and counts those that do."""
        await self._leases.acquire(_PREFIX + self._owner_id, self._owner_id, _LASTS)
        self._known = max(1, await self._leases.count(_PREFIX))

    async def leave(self) -> None:
        """This process ends: its share is the others'."""
        # A database that is gone lets the lease run out by itself.
        with suppress(Refusal):
            await self._leases.release(_PREFIX + self._owner_id, self._owner_id)
