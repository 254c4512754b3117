"""Every sealed value of the database, wherever it lies: what a rotation of data keys goes through."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.store.database import Database
from oauth.vault import SealBroken, key_id_of

#: Table, sealed column, and the column that names the row within its org.
SEALED = (
    ("connections", "credential", "id"),
    ("flows", "secrets", "connection"),
    ("org_clients", "secrets", "integration"),
    ("runs", "request", "id"),
    ("blobs", "sealed", "place"),
    ("webhooks", "secrets", "id"),
    ("signing_secrets", "secrets", "mode"),
    ("hooks", "secret", "id"),
    ("sandbox_things", "sealed", "id"),
)
#: Values that are large are met fewer at a time.
_LARGE = {"blobs": 16}
#: In `counts`, what is not a sealed value at all.
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValue:
    """A sealed value and the place it is bound to."""

    org: str
    table: str
    row: str
    column: str
    blob: bytes = field(repr=False)


class SqlSealedValues:
    """Walks over all sealed values and swaps them one by one, beside running traffic."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def batches(self, size: int = 200) -> AsyncIterator[Sequence[SealedValue]]:
        """All of them, some at a time; what is added or changed meanwhile may be missed or given as it was."""
        for table, column, row_name in SEALED:
            sql = f"""
                SELECT org, {row_name} AS row_name, {column} AS blob FROM {table}
                WHERE {column} IS NOT NULL AND (org, {row_name}) > (:org, :row)
                ORDER BY org, {row_name} LIMIT :size
            """
            org, row = "", ""
            some = min(size, _LARGE.get(table, size))
            while rows := await self._database.fetch(sql, org=org, row=row, size=some):
                org, row = rows[-1]["org"], rows[-1]["row_name"]
                yield [
                    SealedValue(org=found["org"], table=table, row=found["row_name"], column=column, blob=found["blob"])
                    for found in rows
                ]

    async def swap(self, value: SealedValue, blob: bytes) -> bool:
        """Puts another blob in its place if it is still the same; says whether it was."""
        row_name = next(name for table, column, name in SEALED if (table, column) == (value.table, value.column))
        sql = f"""
            UPDATE {value.table} SET {value.column} = :new
            WHERE org = :org AND {row_name} = :row AND {value.column} = :old
        """
        return await self._database.execute(sql, org=value.org, row=value.row, old=value.blob, new=blob) == 1

    async def counts(self) -> Mapping[str, int]:
        """How many values are sealed under each data key, by its id; `damaged` for what names none."""
        counts: Counter[str] = Counter()
        async for batch in self.batches(1000):
            counts.update(_key_id(value.blob) for value in batch)
        return counts

    async def exist(self) -> bool:
        """Whether there is any: a database with sealed values must not get a new key."""
        for table, column, _ in SEALED:
            if await self._database.fetch_one(f"SELECT 1 AS one FROM {table} WHERE {column} IS NOT NULL LIMIT 1"):
                return True
        return False


def _key_id(blob: bytes) -> str:
    try:
        return key_id_of(blob)
    except SealBroken:
        return DAMAGED
