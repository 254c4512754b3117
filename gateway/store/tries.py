"""Counted tries: one atomic statement each, so that many at once do not slip through."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.store.database import Database
from gateway.store.times import to_ms

_TAKE = """
    INSERT INTO tries (name, taken, until) VALUES (:name, 1, :until)
    ON CONFLICT (name) DO UPDATE SET until = excluded.until,
        taken = CASE WHEN tries.until <= :now THEN 1 ELSE tries.taken + 1 END
    WHERE tries.until <= :now OR tries.taken < :most
    RETURNING taken
"""
_NONE_LEFT = "SELECT name FROM tries WHERE name = :name AND until > :now AND taken >= :most"
_GIVE_BACK = "UPDATE tries SET taken = taken - 1 WHERE name = :name AND taken > 0"


class SqlTries:
    """Tries in the database; implements `TryStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def take(self, name: str, most: int, seconds: float) -> bool:
        now = self._clock()
        # Whoever has none left can ask as often as they like: none of that takes a turn at writing.
        if await self._database.fetch_one(_NONE_LEFT, name=name, most=most, now=to_ms(now)) is not None:
            return False
        taken = await self._database.fetch_one(
            _TAKE, name=name, most=most, now=to_ms(now), until=to_ms(now + seconds)
        )
        return taken is not None

    async def give_back(self, name: str) -> None:
        await self._database.execute(_GIVE_BACK, name=name)

    async def purge(self) -> int:
        """Forgets counts that are over; says how many."""
        return await self._database.execute("DELETE FROM tries WHERE until <= :now", now=to_ms(self._clock()))
