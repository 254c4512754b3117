"""Connections: rows that say who connected what, and the credential, sealed before it touches the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from gateway.core.events import OPERATOR, Actor, Event
from gateway.core.tenants.keys import TooMany
from gateway.store.credentials import credential_of, credential_plain
from gateway.store.database import Database, Row, Statements, Value
from gateway.store.events import append
from gateway.store.orgs import lock_org
from gateway.store.times import to_ms, to_seconds
from oauth.connections import Connection, ConnectionState, Credential, Held
from oauth.vault import SealBroken, Vault

_INSERT = """
    INSERT INTO connections (id, org, integration, "user", method, state, version, label, account, account_id,
        fields, scopes, reason, retry_at, credential, created_at, updated_at)
    VALUES (:id, :org, :integration, :user, :method, :state, :version, :label, :account, :account_id,
        :fields, :scopes, :reason, :retry_at, :credential, :created_at, :updated_at)
"""
_CANDIDATES = """
    SELECT * FROM connections
    WHERE org = :org AND integration = :integration AND "user" = :user AND state NOT IN ('pending', 'revoked')
    ORDER BY created_at, id
"""
_LIST = """
    SELECT * FROM connections
    WHERE org = :org AND (CAST(:user AS TEXT) IS NULL OR "user" = :user)
        AND (CAST(:integration AS TEXT) IS NULL OR integration = :integration)
    ORDER BY created_at, id
"""
_FIND = "SELECT * FROM connections WHERE org = :org AND id = :id"
_COUNT = "SELECT COUNT(*) AS n FROM connections WHERE org = :org AND state NOT IN ('pending', 'revoked')"
_RENEW = """
    UPDATE connections SET version = version + 1, state = 'active', reason = NULL, retry_at = NULL,
        integration = :integration, "user" = :user, method = :method, label = COALESCE(:label, label),
        account = :account, account_id = :account_id, fields = :fields, scopes = :scopes,
        credential = :credential, updated_at = :now
    WHERE org = :org AND id = :id
"""
_REPLACE = """
    UPDATE connections SET version = version + 1, state = 'active', reason = NULL, retry_at = NULL,
        credential = :credential, scopes = COALESCE(:scopes, scopes), updated_at = :now
    WHERE org = :org AND id = :id AND version = :version
"""
_SET_STATE = """
    UPDATE connections SET state = :state, reason = :reason, retry_at = :retry_at, updated_at = :now
    WHERE org = :org AND id = :id AND version = :version
"""


class CredentialBroken(SealBroken):
    """The stored credential does not open, or was sealed for something else than its row now says."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(f"the credential of {connection_id} does not open")
        self.connection_id = connection_id


class SqlConnections:
    """Connections in the database; implements `ConnectionStore` and what the surfaces need beyond it."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def add(
        self, connection: Connection, credential: Credential, *, by: Actor = OPERATOR, most: int | None = None
    ) -> None:
        """Raises `AlreadyThere` where the id is taken, `TooMany` where the org has `most` connections."""
        row: dict[str, Value] = {
            "id": connection.id,
            "org": connection.org,
            "integration": connection.integration,
            "user": connection.user,
            "method": connection.method,
            "state": connection.state.value,
            "version": connection.version,
            "label": connection.label,
            "account": connection.account,
            "account_id": connection.account_id,
            "fields": _json(dict(connection.fields)),
            "scopes": _scopes(connection.scopes),
            "reason": connection.reason,
            "retry_at": to_ms(connection.retry_at),
            "credential": self._seal(connection, credential),
            "created_at": to_ms(connection.created_at or self._clock()),
            "updated_at": to_ms(connection.updated_at or self._clock()),
        }
        async with self._database.transaction() as transaction:
            if most is not None:
                await lock_org(transaction, connection.org)
                there = await transaction.fetch_one(_COUNT, org=connection.org)
                if there is not None and there["n"] >= most:
                    raise TooMany
            await transaction.execute(_INSERT, **row)
            await self._tell(transaction, "connection.active", connection, by)

    async def find(self, org: str, connection_id: str) -> Held | None:
        """Raises `CredentialBroken`."""
        row = await self._row(org, connection_id)
        return None if row is None else await self._held(row)

    async def candidates(self, org: str, integration: str, user: str) -> Sequence[Held]:
        """Raises `CredentialBroken`."""
        rows = await self._database.fetch(_CANDIDATES, org=org, integration=integration, user=user)
        return [await self._held(row) for row in rows]

    async def list(self, org: str, user: str | None = None, integration: str | None = None) -> Sequence[Connection]:
        """Oldest first, in whatever state; no credential is opened."""
        rows = await self._database.fetch(_LIST, org=org, user=user, integration=integration)
        return [_connection(row) for row in rows]

    async def renew(self, connection: Connection, credential: Credential, *, by: Actor = OPERATOR) -> bool:
        """Stores a new credential with method, scopes, account and fields under the same id; active again.

        A label of None keeps the stored one. False where the connection is gone.
        """
        row: dict[str, Value] = {
            "id": connection.id,
            "org": connection.org,
            "integration": connection.integration,
            "user": connection.user,
            "method": connection.method,
            "label": connection.label,
            "account": connection.account,
            "account_id": connection.account_id,
            "fields": _json(dict(connection.fields)),
            "scopes": _scopes(connection.scopes),
            "credential": self._seal(connection, credential),
            "now": to_ms(self._clock()),
        }
        async with self._database.transaction() as transaction:
            if not await transaction.execute(_RENEW, **row):
                return False
            await self._tell(transaction, "connection.active", connection, by, renewed=True)
        return True

    async def replace_credential(
        self, org: str, connection_id: str, *, version: int, credential: Credential, scopes: tuple[str, ...] | None
    ) -> bool:
        # What the credential is for goes into the seal, and changes only together with the version.
        row = await self._row(org, connection_id)
        if row is None or row["version"] != version:
            return False
        before = _connection(row)
        sealed = self._seal(before, credential)
        async with self._database.transaction() as transaction:
            changed = await transaction.execute(
                _REPLACE,
                org=org,
                id=connection_id,
                version=version,
                credential=sealed,
                scopes=_scopes(scopes),
                now=to_ms(self._clock()),
            )
            if changed and before.state is not ConnectionState.ACTIVE:
                await self._tell(transaction, "connection.active", before, None)
        return changed == 1

    async def set_state(
        self,
        org: str,
        connection_id: str,
        *,
        version: int,
        state: ConnectionState,
        reason: str | None = None,
        retry_at: float | None = None,
    ) -> bool:
        async with self._database.transaction() as transaction:
            before = await transaction.fetch_one(_FIND, org=org, id=connection_id)
            changed = await transaction.execute(
                _SET_STATE,
                org=org,
                id=connection_id,
                version=version,
                state=state.value,
                reason=reason,
                retry_at=to_ms(retry_at),
                now=to_ms(self._clock()),
            )
            if changed and before is not None and before["state"] != state.value:
                await self._tell(transaction, f"connection.{state.value}", _connection(before), None, reason=reason)
        return changed == 1

    async def delete(self, org: str, connection_id: str, *, by: Actor = OPERATOR) -> bool:
        """The row is gone, and SQLite overwrites where it was."""
        sql = "DELETE FROM connections WHERE org = :org AND id = :id"
        async with self._database.transaction() as transaction:
            before = await transaction.fetch_one(_FIND, org=org, id=connection_id)
            if before is None or not await transaction.execute(sql, org=org, id=connection_id):
                return False
            await self._tell(transaction, "connection.removed", _connection(before), by)
        return True

    async def _row(self, org: str, connection_id: str) -> Row | None:
        return await self._database.fetch_one(_FIND, org=org, id=connection_id)

    async def _tell(
        self, transaction: Statements, type: str, connection: Connection, by: Actor | None, **more: Any
    ) -> None:
        told = Event.now(
            connection.org,
            type,
            self._clock(),
            actor=by,
            connection=connection.id,
            integration=connection.integration,
            user=connection.user,
            auth=connection.method,
            **more,
        )
        await append(transaction, told)

    def _seal(self, connection: Connection, credential: Credential) -> bytes:
        plain = orjson.dumps({"for": _purpose(connection), **credential_plain(credential)})
        return self._vault.seal(plain, org=connection.org, table="connections", row=connection.id, column="credential")

    async def _held(self, row: Row) -> Held:
        connection = _connection(row)
        try:
            plain = await self._vault.open_fresh(
                row["credential"], org=connection.org, table="connections", row=connection.id, column="credential"
            )
        except SealBroken as error:
            raise CredentialBroken(connection.id) from error
        held = orjson.loads(plain)
        # Whoever can write rows but has no key must not send a credential to another host by changing `fields`.
        if held["for"] != _purpose(connection):
            raise CredentialBroken(connection.id)
        return Held(connection=connection, credential=credential_of(held))


def _connection(row: Row) -> Connection:
    scopes = row["scopes"]
    return Connection(
        id=row["id"],
        org=row["org"],
        integration=row["integration"],
        user=row["user"],
        method=row["method"],
        state=ConnectionState(row["state"]),
        version=row["version"],
        label=row["label"],
        account=row["account"],
        account_id=row["account_id"],
        fields=orjson.loads(row["fields"]),
        scopes=None if scopes is None else tuple(orjson.loads(scopes)),
        reason=row["reason"],
        retry_at=to_seconds(row["retry_at"]),
        created_at=to_seconds(row["created_at"]),
        updated_at=to_seconds(row["updated_at"]),
    )


def _purpose(connection: Connection) -> dict[str, object]:
    return {
        "integration": connection.integration,
        "user": connection.user,
        "method": connection.method,
        "fields": dict(connection.fields),
    }


def _scopes(scopes: tuple[str, ...] | None) -> Value:
    return None if scopes is None else _json(list(scopes))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
