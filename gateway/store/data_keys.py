"""The wrapped data keys of the vault's key ring."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.database import Database
from gateway.store.times import to_ms, to_seconds
from oauth.vault import UnknownKey, WrappedKey

_ADD = """
    INSERT INTO data_keys (id, wrapped, is_primary, created_at, retired_at)
    VALUES (:id, :wrapped, :is_primary, :created_at, :retired_at)
"""
_SET_PRIMARY = "UPDATE data_keys SET is_primary = CASE WHEN id = :id THEN 1 ELSE 0 END"


class SqlDataKeys:
    """Data keys in the database; implements `KeyRingStore`. Deleting one would lock values away, so nothing does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Sequence[WrappedKey]:
        return [
            WrappedKey(
                id=row["id"],
                wrapped=row["wrapped"],
                created_at=to_seconds(row["created_at"]),
                primary=bool(row["is_primary"]),
                retired_at=to_seconds(row["retired_at"]),
            )
            for row in await self._database.fetch("SELECT * FROM data_keys ORDER BY created_at, id")
        ]

    async def add(self, key: WrappedKey) -> None:
        async with self._database.transaction() as transaction:
            await transaction.execute(
                _ADD,
                id=key.id,
                wrapped=key.wrapped,
                is_primary=int(key.primary),
                created_at=to_ms(key.created_at),
                retired_at=to_ms(key.retired_at),
            )
            if key.primary:
                await transaction.execute(_SET_PRIMARY, id=key.id)

    async def retire(self, key_id: str, at: float) -> None:
        sql = "UPDATE data_keys SET retired_at = :at WHERE id = :id AND is_primary = 0"
        await self._database.execute(sql, id=key_id, at=to_ms(at))

    async def rewrap(self, keys: Sequence[WrappedKey]) -> None:
        """Raises `UnknownKey` where one of them is not there, and changes none."""
        async with self._database.transaction() as transaction:
            for key in keys:
                sql = "UPDATE data_keys SET wrapped = :wrapped WHERE id = :id"
                if not await transaction.execute(sql, id=key.id, wrapped=key.wrapped):
                    raise UnknownKey(f"no data key {key.id}")
