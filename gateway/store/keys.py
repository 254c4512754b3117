"""API keys: a hash and what is shown of them; how often each was used is counted in memory and written in groups."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from gateway.core.ids import new_id
from gateway.core.keys import SHOWN, ApiKey, Grant, Mode, Org, digest, mint
from gateway.store.database import Batch, Database, Row
from gateway.store.times import to_ms, to_seconds
from oauth.secret import Secret

_INSERT = """
    INSERT INTO api_keys (id, org, name, mode, prefix, hash, "grant", created_at, expires_at, request_count)
    VALUES (:id, :org, :name, :mode, :prefix, :hash, :grant, :created_at, :expires_at, 0)
"""
_FIND = """
    SELECT api_keys.*, orgs.name AS org_name, orgs.plan AS org_plan,
        orgs.created_at AS org_created_at, orgs.suspended_at AS org_suspended_at
    FROM api_keys JOIN orgs ON orgs.id = api_keys.org
    WHERE api_keys.hash = :hash
"""
_USED = """
    UPDATE api_keys SET request_count = request_count + :uses, last_used_at = :at
    WHERE org = :org AND id = :id
"""


class SqlKeys:
    """API keys in the database; implements `KeyStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._uses: dict[tuple[str, str], int] = {}
        #: Called at the first use after `take_uses`; the run writer puts its own here.
        self.on_use: Callable[[], None] = lambda: None

    async def create(
        self, org: str, name: str, mode: Mode, grant: Grant | None = None, expires_at: float | None = None
    ) -> tuple[ApiKey, Secret]:
        """The new key, and its text, which nobody can read a second time."""
        text = mint(mode)
        key = ApiKey(
            id=new_id("key"),
            org=org,
            name=name,
            mode=mode,
            prefix=text.reveal()[:SHOWN],
            grant=grant or Grant(),
            created_at=self._clock(),
            expires_at=expires_at,
        )
        await self._database.execute(
            _INSERT,
            id=key.id,
            org=org,
            name=name,
            mode=mode,
            prefix=key.prefix,
            hash=digest(text.reveal()),
            grant=json.dumps(key.grant.to_json()),
            created_at=to_ms(key.created_at),
            expires_at=to_ms(expires_at),
        )
        return key, text

    async def find_by_hash(self, digest: bytes) -> tuple[ApiKey, Org] | None:
        row = await self._database.fetch_one(_FIND, hash=digest)
        if row is None:
            return None
        org = Org(
            id=row["org"],
            name=row["org_name"],
            plan=row["org_plan"],
            created_at=to_seconds(row["org_created_at"]),
            suspended_at=to_seconds(row["org_suspended_at"]),
        )
        return _key(row), org

    async def find(self, org: str, key_id: str) -> ApiKey | None:
        sql = "SELECT * FROM api_keys WHERE org = :org AND id = :id"
        row = await self._database.fetch_one(sql, org=org, id=key_id)
        return None if row is None else _key(row)

    async def list(self, org: str) -> Sequence[ApiKey]:
        """All keys of the org, revoked ones too, oldest first."""
        sql = "SELECT * FROM api_keys WHERE org = :org ORDER BY created_at, id"
        return [_key(row) for row in await self._database.fetch(sql, org=org)]

    async def revoke(self, org: str, key_id: str) -> bool:
        """False where there is no such key or it was revoked before."""
        sql = "UPDATE api_keys SET revoked_at = :now WHERE org = :org AND id = :id AND revoked_at IS NULL"
        return await self._database.execute(sql, org=org, id=key_id, now=to_ms(self._clock())) == 1

    def note_use(self, org: str, key_id: str) -> None:
        """Counts a request; durable with the next group of runs."""
        uses = self._uses
        if not uses:
            self.on_use()
        key = (org, key_id)
        uses[key] = uses.get(key, 0) + 1

    def take_uses(self) -> Batch | None:
        """What was counted since the last time, to be written. `give_back_uses` where that fails."""
        if not self._uses:
            return None
        uses, self._uses = self._uses, {}
        now = to_ms(self._clock())
        return _USED, [(count, now, org, key_id) for (org, key_id), count in uses.items()]

    def give_back_uses(self, batch: Batch) -> None:
        for count, _, org, key_id in batch[1]:
            assert isinstance(count, int)
            key = (str(org), str(key_id))
            self._uses[key] = self._uses.get(key, 0) + count


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        org=row["org"],
        name=row["name"],
        mode=row["mode"],
        prefix=row["prefix"],
        grant=Grant.from_json(json.loads(row["grant"])),
        created_at=to_seconds(row["created_at"]),
        expires_at=to_seconds(row["expires_at"]),
        revoked_at=to_seconds(row["revoked_at"]),
        last_used_at=to_seconds(row["last_used_at"]),
        request_count=row["request_count"],
    )
