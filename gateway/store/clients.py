"""Orgs' own OAuth clients, their secrets sealed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson

from gateway.core.connections.clients import OAuthClient
from gateway.store.database import Database, Row
from gateway.store.times import to_ms
from oauth.secret import Secret
from oauth.vault import Vault

_SAVE = """
    INSERT INTO org_clients (org, integration, client_id, secrets, updated_at)
    VALUES (:org, :integration, :client_id, :secrets, :now)
    ON CONFLICT (org, integration) DO UPDATE SET client_id = excluded.client_id, secrets = excluded.secrets,
        updated_at = excluded.updated_at
"""


class SqlClients:
    """OAuth clients in the database; implements `ClientStore`."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def find(self, org: str, integration: str) -> OAuthClient | None:
        """Raises `SealBroken`."""
        sql = "SELECT * FROM org_clients WHERE org = :org AND integration = :integration"
        row = await self._database.fetch_one(sql, org=org, integration=integration)
        return None if row is None else await self._client(row)

    async def save(self, org: str, client: OAuthClient) -> None:
        """Stores it, or replaces the one that was there."""
        plain = {
            "client_id": client.client_id,
            "client_secret": None if client.client_secret is None else client.client_secret.reveal(),
            "extra": {name: secret.reveal() for name, secret in client.extra.items()},
        }
        sealed = self._vault.seal(
            orjson.dumps(plain), org=org, table="org_clients", row=client.integration, column="secrets"
        )
        await self._database.execute(
            _SAVE,
            org=org,
            integration=client.integration,
            client_id=client.client_id,
            secrets=sealed,
            now=to_ms(self._clock()),
        )

    async def remove(self, org: str, integration: str) -> bool:
        sql = "DELETE FROM org_clients WHERE org = :org AND integration = :integration"
        return await self._database.execute(sql, org=org, integration=integration) == 1

    async def all(self, org: str) -> Sequence[OAuthClient]:
        """Raises `SealBroken`."""
        rows = await self._database.fetch("SELECT * FROM org_clients WHERE org = :org ORDER BY integration", org=org)
        return [await self._client(row) for row in rows]

    async def _client(self, row: Row) -> OAuthClient:
        opened = await self._vault.open_fresh(
            row["secrets"], org=row["org"], table="org_clients", row=row["integration"], column="secrets"
        )
        plain = orjson.loads(opened)
        return OAuthClient(
            integration=row["integration"],
            # The sealed one: the column beside it is only for people who look into the table.
            client_id=plain["client_id"],
            client_secret=None if plain["client_secret"] is None else Secret(plain["client_secret"]),
            org=row["org"],
            extra={name: Secret(text) for name, text in plain["extra"].items()},
        )
