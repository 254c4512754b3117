"""API keys: a hash and what is shown of them; how often each was used is counted in memory and written in groups."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from gateway.core.events import OPERATOR, Actor, Event
from gateway.core.ids import new_id
from gateway.core.tenants.grants import Grant
from gateway.core.tenants.keys import SHOWN, ApiKey, Gone, Mode, Org, TooMany, digest, mint
from gateway.store.database import Batch, Database, Row, Statements, Value
from gateway.store.events import append
from gateway.store.orgs import lock_org
from gateway.store.times import to_ms, to_seconds
from oauth.secret import Secret

_INSERT = """
    INSERT INTO api_keys (id, org, name, mode, prefix, hash, "grant", parent, created_at, expires_at, request_count)
    VALUES (:id, :org, :name, :mode, :prefix, :hash, :grant, :parent, :created_at, :expires_at, 0)
"""
_ACTIVE = """
    SELECT COUNT(*) AS n FROM api_keys
    WHERE org = :org AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
"""
# The row stays as it is, and locked until the transaction ends: PostgreSQL has no other way in one text with SQLite.
_LOCK = "UPDATE api_keys SET name = name WHERE org = :org AND id = :id AND revoked_at IS NULL"
_REVOKE = """
    UPDATE api_keys SET revoked_at = :now WHERE org = :org AND id = :id AND revoked_at IS NULL RETURNING mode
"""
_REVOKE_CHILDREN = """
    UPDATE api_keys SET revoked_at = :now
    WHERE org = :org AND revoked_at IS NULL AND parent IN (
        WITH RECURSIVE tree (id) AS (
            SELECT id FROM api_keys WHERE org = :org AND id = :id
            UNION SELECT api_keys.id FROM api_keys JOIN tree ON api_keys.parent = tree.id
        )
        SELECT id FROM tree
    )
"""
_FIND = """
    SELECT api_keys.*, orgs.name AS org_name, orgs.plan AS org_plan, orgs.numbers AS org_numbers,
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
        self,
        org: str,
        name: str,
        mode: Mode,
        grant: Grant | None = None,
        *,
        by: Actor = OPERATOR,
        parent: str | None = None,
        most: int | None = None,
    ) -> tuple[ApiKey, Secret]:
        key, text = new_key(org, name, mode, grant or Grant(), parent=parent, now=self._clock())
        async with self._database.transaction() as transaction:
            if most is not None:
                await lock_org(transaction, org)
                active = await transaction.fetch_one(_ACTIVE, org=org, now=to_ms(key.created_at))
                if active is not None and active["n"] >= most:
                    raise TooMany
            # A parent that is being revoked at this moment is waited for.
            if parent is not None and not await transaction.execute(_LOCK, org=org, id=parent):
                raise Gone
            await insert_key(transaction, key, text, by=by)
        return key, text

    async def find_by_hash(self, digest: bytes) -> tuple[ApiKey, Org] | None:
        row = await self._database.fetch_one(_FIND, hash=digest)
        if row is None:
            return None
        org = Org(
            id=row["org"],
            name=row["org_name"],
            plan=row["org_plan"],
            numbers=json.loads(row["org_numbers"] or "{}"),
            created_at=to_seconds(row["org_created_at"]),
            suspended_at=to_seconds(row["org_suspended_at"]),
        )
        return _key(row), org

    async def find(self, org: str, key_id: str) -> ApiKey | None:
        sql = "SELECT * FROM api_keys WHERE org = :org AND id = :id"
        row = await self._database.fetch_one(sql, org=org, id=key_id)
        return None if row is None else _key(row)

    async def list(self, org: str, *, mode: Mode | None = None) -> Sequence[ApiKey]:
        sql = "SELECT * FROM api_keys WHERE org = :org AND (:mode = '' OR mode = :mode) ORDER BY created_at, id"
        return [_key(row) for row in await self._database.fetch(sql, org=org, mode=mode or "")]

    async def revoke(self, org: str, key_id: str, *, by: Actor = OPERATOR) -> bool:
        now = self._clock()
        which: dict[str, Value] = {"org": org, "id": key_id, "now": to_ms(now)}
        async with self._database.transaction() as transaction:
            revoked = await transaction.fetch_one(_REVOKE, **which)
            if revoked is None:
                return False
            # Again until there is none: a child may have been made while its parent was not yet locked by us.
            children = 0
            while changed := await transaction.execute(_REVOKE_CHILDREN, **which):
                children += changed
            told = Event.now(org, "api_key.revoked", now, actor=by, mode=revoked["mode"], id=key_id, children=children)
            await append(transaction, told)
        return True

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


def new_key(
    org: str, name: str, mode: Mode, grant: Grant, *, parent: str | None = None, now: float
) -> tuple[ApiKey, Secret]:
    """A key that is not stored yet, and its text."""
    text = mint(mode)
    key = ApiKey(
        id=new_id("key"),
        org=org,
        name=name,
        mode=mode,
        prefix=text.reveal()[:SHOWN],
        grant=grant,
        parent=parent,
        created_at=now,
    )
    return key, text


async def insert_key(transaction: Statements, key: ApiKey, text: Secret, *, by: Actor) -> None:
    """Stores a new key, with its event."""
    await transaction.execute(
        _INSERT,
        id=key.id,
        org=key.org,
        name=key.name,
        mode=key.mode,
        prefix=key.prefix,
        hash=digest(text.reveal()),
        grant=json.dumps(key.grant.to_json()),
        parent=key.parent,
        created_at=to_ms(key.created_at),
        expires_at=to_ms(key.grant.expires_at),
    )
    made = Event.now(
        key.org,
        "api_key.created",
        key.created_at,
        actor=by,
        mode=key.mode,
        id=key.id,
        name=key.name,
        grant=key.grant.to_json(),
    )
    await append(transaction, made)


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        org=row["org"],
        name=row["name"],
        mode=row["mode"],
        prefix=row["prefix"],
        grant=Grant.from_json(json.loads(row["grant"]), expires_at=to_seconds(row["expires_at"])),
        parent=row["parent"],
        created_at=to_seconds(row["created_at"]),
        revoked_at=to_seconds(row["revoked_at"]),
        last_used_at=to_seconds(row["last_used_at"]),
        request_count=row["request_count"],
    )
