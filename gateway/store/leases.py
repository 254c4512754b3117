"""Lease rows: who works on something, until when. They hold no connection and end by themselves."""

from __future__ import annotations

from collections.abc import Callable

from gateway.store.clock import DatabaseClock
from gateway.store.database import Database

# An advisory lock would keep a connection for as long as it waits; enough waiters and the holder gets none.
_ACQUIRE = """
    INSERT INTO leases (name, owner, until) VALUES (:name, :owner, {now} + :ms)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE leases.until <= {now} OR leases.owner = excluded.owner
    RETURNING owner
"""
_COUNT = "SELECT COUNT(*) AS n FROM leases WHERE name LIKE :prefix AND until > {now}"
_PURGE = "DELETE FROM leases WHERE until <= {now}"


class SqlLeases:
    """Leases in the database; implements `Leases`. `clock` replaces the database's own."""

    def __init__(self, database: Database, *, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._clock = DatabaseClock(database.dialect, clock)
        self._acquire, self._count, self._purge = map(self._clock.into, (_ACQUIRE, _COUNT, _PURGE))

    async def acquire(self, name: str, owner: str, seconds: float) -> bool:
        ms = max(1, round(seconds * 1000))
        return await self._database.fetch_one(self._acquire, name=name, owner=owner, ms=ms, **self._clock.params()) is not None

    async def release(self, name: str, owner: str) -> None:
        sql = "DELETE FROM leases WHERE name = :name AND owner = :owner"
        await self._database.execute(sql, name=name, owner=owner)

    async def count(self, prefix: str) -> int:
        """How many leases whose names begin so are held at this moment."""
        row = await self._database.fetch_one(self._count, prefix=f"{prefix}%", **self._clock.params())
        return 0 if row is None else int(row["n"])

    async def purge(self) -> int:
        """Forgets leases that have run out, of processes that died; says how many."""
        return await self._database.execute(self._purge, **self._clock.params())
