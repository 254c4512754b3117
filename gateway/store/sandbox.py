"""What test keys made and changed: sealed, a few for each key, forgotten after some days."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson

from gateway.core.calls.sandbox import Thing
from gateway.store.database import Database, Row, Statements
from gateway.store.times import to_ms
from oauth.vault import SealBroken, Vault

_LIST = """
    SELECT id, kind, sealed FROM sandbox_things WHERE org = :org AND key = :key AND kind = :kind
    ORDER BY changed_at DESC, id
"""
_ADD = """
    INSERT INTO sandbox_things (org, id, key, kind, sealed, changed_at)
    VALUES (:org, :id, :key, :kind, :sealed, :now) ON CONFLICT (org, id) DO NOTHING
"""
_PUT = """
    INSERT INTO sandbox_things (org, id, key, kind, sealed, changed_at)
    VALUES (:org, :id, :key, :kind, :sealed, :now)
    ON CONFLICT (org, id) DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at
"""
_ROOM = """
    DELETE FROM sandbox_things WHERE org = :org AND id IN (
        SELECT id FROM sandbox_things WHERE org = :org AND key = :key
        ORDER BY changed_at DESC, id LIMIT 1000 OFFSET :most
    )
"""
_CLEAR = "DELETE FROM sandbox_things WHERE org = :org AND key = :key"


class SqlSandbox:
    """Things in the database; implements `SandboxStore`."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def things(self, org: str, key: str, kind: str) -> Sequence[Thing]:
        rows = await self._database.fetch(_LIST, org=org, key=key, kind=kind)
        return [thing for row in rows if (thing := await self._opened(org, row)) is not None]

    async def add(self, org: str, key: str, thing: Thing, *, most: int) -> bool:
        return await self._write(_ADD, org, key, thing, most)

    async def put(self, org: str, key: str, thing: Thing, *, most: int) -> None:
        await self._write(_PUT, org, key, thing, most)

    async def clear(self, org: str, key: str) -> int:
        return await self._database.execute(_CLEAR, org=org, key=key)

    async def forget(self, before: float) -> int:
        """Of all orgs: what was not touched since then."""
        return await self._database.execute("DELETE FROM sandbox_things WHERE changed_at <= :before", before=to_ms(before))

    async def _write(self, sql: str, org: str, key: str, thing: Thing, most: int) -> bool:
        plain = orjson.dumps([thing.name, dict(thing.place), dict(thing.members), thing.is_deleted])
        sealed = self._vault.seal(plain, org=org, table="sandbox_things", row=thing.id, column="sealed")
        async with self._database.transaction() as transaction:
            written = await transaction.execute(
                sql, org=org, id=thing.id, key=key, kind=thing.kind, sealed=sealed, now=to_ms(self._clock())
            )
            await self._make_room(transaction, org, key, most)
        return written == 1

    async def _make_room(self, transaction: Statements, org: str, key: str, most: int) -> None:
        await transaction.execute(_ROOM, org=org, key=key, most=most)

    async def _opened(self, org: str, row: Row) -> Thing | None:
        try:
            plain = await self._vault.open_fresh(
                row["sealed"], org=org, table="sandbox_things", row=row["id"], column="sealed"
            )
        except SealBroken:
            # What a test made is no reason to refuse the next one.
            return None
        name, place, members, is_deleted = orjson.loads(plain)
        return Thing(id=row["id"], kind=row["kind"], name=name, place=place, members=members, is_deleted=is_deleted)
