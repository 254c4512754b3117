"""Named values of the whole installation."""

from __future__ import annotations

from gateway.store.database import Database

_SET = """
    INSERT INTO installation (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


class SqlInstallation:
    """Values by name; nothing in them is secret."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        row = await self._database.fetch_one("SELECT value FROM installation WHERE name = :name", name=name)
        return None if row is None else str(row["value"])

    async def set(self, name: str, value: str) -> None:
        await self._database.execute(_SET, name=name, value=value)
