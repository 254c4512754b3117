"""Hooks: a hash of each URL, the upstream's secret sealed, and what came in within the last day."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from gateway.core.events import Actor, Event
from gateway.core.messages.hooks import Found, Hook
from gateway.core.tenants.keys import TooMany
from gateway.store.database import Database, Row, Statements
from gateway.store.events import append
from gateway.store.orgs import lock_org
from gateway.store.times import to_ms, to_seconds
from oauth.secret import Secret
from oauth.vault import Vault

_INSERT = """
    INSERT INTO hooks (id, org, mode, integration, connection, "user", token, secret, actor, created_at)
    VALUES (:id, :org, :mode, :integration, :connection, :user, :token, :secret, :actor, :created_at)
"""
_BY_TOKEN = """
    SELECT hooks.*, orgs.suspended_at AS org_suspended_at FROM hooks JOIN orgs ON orgs.id = hooks.org
    WHERE hooks.token = :token
"""
# What is over and was not yet forgotten may come again.
_REMEMBER = """
    INSERT INTO hook_messages (hook, name, until) VALUES (:hook, :name, :until)
    ON CONFLICT (hook, name) DO UPDATE SET until = excluded.until WHERE hook_messages.until <= :now
    RETURNING name
"""


class _Known(Exception):
    """The message was there before."""


class SqlHooks:
    """Hooks in the database; implements `HookStore`."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def add(self, hook: Hook, token: bytes, secret: Secret | None, *, most: int) -> None:
        async with self._database.transaction() as transaction:
            await lock_org(transaction, hook.org)
            there = await transaction.fetch_one("SELECT COUNT(*) AS n FROM hooks WHERE org = :org", org=hook.org)
            if there is not None and there["n"] >= most:
                raise TooMany
            await transaction.execute(
                _INSERT,
                id=hook.id,
                org=hook.org,
                mode=hook.mode,
                integration=hook.integration,
                connection=hook.connection,
                user=hook.user,
                token=token,
                secret=self._seal(hook.org, hook.id, secret),
                actor=orjson.dumps(hook.by.shown()).decode(),
                created_at=to_ms(hook.created_at),
            )
            about = {"integration": hook.integration, "connection": hook.connection}
            await self._tell(transaction, "hook_added", hook.org, hook.id, hook.mode, hook.by, **about)

    async def list(self, org: str) -> Sequence[Hook]:
        sql = "SELECT * FROM hooks WHERE org = :org ORDER BY created_at, id"
        return [_hook(row) for row in await self._database.fetch(sql, org=org)]

    async def set_secret(self, org: str, hook_id: str, secret: Secret, *, by: Actor) -> bool:
        sql = "UPDATE hooks SET secret = :secret WHERE org = :org AND id = :id RETURNING mode"
        async with self._database.transaction() as transaction:
            sealed = self._seal(org, hook_id, secret)
            changed = await transaction.fetch_one(sql, org=org, id=hook_id, secret=sealed)
            if changed is None:
                return False
            await self._tell(transaction, "hook_secret_changed", org, hook_id, changed["mode"], by)
        return True

    async def remove(self, org: str, hook_id: str, *, by: Actor) -> bool:
        sql = "DELETE FROM hooks WHERE org = :org AND id = :id RETURNING mode"
        async with self._database.transaction() as transaction:
            removed = await transaction.fetch_one(sql, org=org, id=hook_id)
            if removed is None:
                return False
            await transaction.execute("DELETE FROM hook_messages WHERE hook = :id", id=hook_id)
            await self._tell(transaction, "hook_removed", org, hook_id, removed["mode"], by)
        return True

    async def by_token(self, token: bytes) -> Found | None:
        """Raises `SealBroken`."""
        row = await self._database.fetch_one(_BY_TOKEN, token=token)
        if row is None:
            return None
        hook = _hook(row)
        return Found(hook=hook, secret=await self._open(row), suspended=row["org_suspended_at"] is not None)

    async def keep(self, hook: Hook, event: Event, names: Sequence[str], *, seconds: float) -> bool:
        now = self._clock()
        try:
            async with self._database.transaction() as transaction:
                for name in names:
                    fresh = await transaction.fetch_one(
                        _REMEMBER, hook=hook.id, name=name, until=to_ms(now + seconds), now=to_ms(now)
                    )
                    if fresh is None:
                        raise _Known
                await append(transaction, event)
        except _Known:
            return False
        return True

    async def forget(self, before: int) -> int:
        """Deletes what need not be known again since before that time (unix ms)."""
        return await self._database.execute("DELETE FROM hook_messages WHERE until <= :before", before=before)

    async def _tell(
        self, transaction: Statements, what: str, org: str, hook_id: str, mode: Any, by: Actor, **about: Any
    ) -> None:
        told = Event.now(org, f"org.{what}", self._clock(), actor=by, mode=mode, id=hook_id, **about)
        await append(transaction, told)

    def _seal(self, org: str, hook_id: str, secret: Secret | None) -> bytes | None:
        if secret is None:
            return None
        return self._vault.seal(secret.reveal().encode(), org=org, table="hooks", row=hook_id, column="secret")

    async def _open(self, row: Row) -> Secret | None:
        if row["secret"] is None:
            return None
        opened = await self._vault.open_fresh(
            bytes(row["secret"]), org=row["org"], table="hooks", row=row["id"], column="secret"
        )
        return Secret(opened.decode())


def _hook(row: Row) -> Hook:
    return Hook(
        id=row["id"],
        org=row["org"],
        mode=row["mode"],
        integration=row["integration"],
        connection=row["connection"],
        user=row["user"],
        by=Actor.of(orjson.loads(row["actor"])),
        created_at=to_seconds(row["created_at"]),
        has_secret=row["secret"] is not None,
    )
