"""Webhooks: rows that say who is told what, their secrets sealed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from gateway.core.errors import Refusal
from gateway.core.events import Actor, Event
from gateway.core.messages.signing import SigningSecret, live, new_secret, rotated
from gateway.core.messages.webhook import Webhook
from gateway.core.tenants.grants import Grant
from gateway.core.tenants.keys import TooMany
from gateway.store.database import Database, Row, Statements
from gateway.store.deliveries import lock_endpoint, open_endpoint
from gateway.store.events import append
from gateway.store.orgs import lock_org
from gateway.store.signing_secrets import SealedSecrets
from gateway.store.times import to_ms, to_seconds
from oauth.secret import Secret
from oauth.vault import Vault

#: Every webhook of an org, with what became of the key that made it and of what is sent to it.
OF_ORG = """
    SELECT webhooks.*, api_keys.revoked_at AS key_revoked_at, api_keys.expires_at AS key_expires_at,
        endpoints.failing_since
    FROM webhooks
    LEFT JOIN api_keys ON api_keys.id = webhooks.key
    LEFT JOIN endpoints ON endpoints.org = webhooks.org AND endpoints.name = webhooks.id
    WHERE webhooks.org = :org
"""
_LIST = OF_ORG + " ORDER BY webhooks.created_at, webhooks.id"
_FIND = OF_ORG + " AND webhooks.id = :id"
_INSERT = """
    INSERT INTO webhooks (id, org, mode, url, events, description, "grant", key, actor, secrets, created_at)
    VALUES (:id, :org, :mode, :url, :events, :description, :grant, :key, :actor, :secrets, :created_at)
"""
_SWAP = "UPDATE webhooks SET secrets = :secrets WHERE org = :org AND id = :id AND secrets = :before"
_ENABLE = """
    UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL, "grant" = :grant, key = :key, actor = :actor
    WHERE org = :org AND id = :id RETURNING mode
"""
_FORGIVE = """
    UPDATE endpoints SET failures = 0, failing_since = NULL, resume_at = 0 WHERE org = :org AND name = :id
"""
_DISABLE = """
    UPDATE webhooks SET disabled_at = :now, disabled_reason = :reason
    WHERE org = :org AND id = :id AND disabled_at IS NULL RETURNING mode, url
"""
# One that is being sent at this moment ends by itself.
_GIVE_UP = """
    UPDATE deliveries SET state = 'dead', error = 'webhook_disabled', next_at = NULL, claimed_until = NULL,
        finished_at = :now
    WHERE org = :org AND endpoint = :id AND next_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= :now)
"""


class SqlWebhooks:
    """Webhooks in the database; implements `WebhookStore`."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._sealed = SealedSecrets(vault, "webhooks")
        self._clock = clock

    async def add(self, webhook: Webhook, secret: Secret, *, most: int) -> None:
        async with self._database.transaction() as transaction:
            await lock_org(transaction, webhook.org)
            sql = "SELECT COUNT(*) AS n FROM webhooks WHERE org = :org"
            there = await transaction.fetch_one(sql, org=webhook.org)
            if there is not None and there["n"] >= most:
                raise TooMany
            await transaction.execute(
                _INSERT,
                id=webhook.id,
                org=webhook.org,
                mode=webhook.mode,
                url=webhook.url,
                events=_json(list(webhook.events)),
                description=webhook.description,
                grant=_json(webhook.grant.to_json()),
                key=webhook.key,
                actor=_json(webhook.by.shown()),
                secrets=self._sealed.seal([SigningSecret(secret=secret)], webhook.org, webhook.id),
                created_at=to_ms(webhook.created_at),
            )
            await open_endpoint(transaction, webhook.org, webhook.id)
            about = {"host": _host(webhook.url), "events": list(webhook.events)}
            await self._tell(transaction, "created", webhook.org, webhook.id, webhook.mode, webhook.by, **about)

    async def list(self, org: str) -> Sequence[Webhook]:
        now = self._clock()
        return [webhook_of(row, now) for row in await self._database.fetch(_LIST, org=org)]

    async def with_secrets(self, org: str, webhook_id: str) -> tuple[Webhook, Sequence[Secret]] | None:
        """Raises `SealBroken`."""
        row = await self._database.fetch_one(_FIND, org=org, id=webhook_id)
        if row is None:
            return None
        now = self._clock()
        secrets = await self._sealed.open(bytes(row["secrets"]), org, webhook_id)
        return webhook_of(row, now), live(secrets, now)

    async def rotate(self, org: str, webhook_id: str, *, by: Actor) -> Secret | None:
        row = await self._database.fetch_one(_FIND, org=org, id=webhook_id)
        if row is None:
            return None
        before, secret = bytes(row["secrets"]), new_secret()
        after = rotated(await self._sealed.open(before, org, webhook_id), secret, self._clock())
        async with self._database.transaction() as transaction:
            secrets = self._sealed.seal(after, org, webhook_id)
            if not await transaction.execute(_SWAP, org=org, id=webhook_id, secrets=secrets, before=before):
                raise Refusal("conflict", "Somebody else rotated this secret at the same moment.")
            await self._tell(transaction, "rotated", org, webhook_id, row["mode"], by)
        return secret

    async def enable(self, org: str, webhook_id: str, *, grant: Grant, key: str | None, by: Actor) -> bool:
        async with self._database.transaction() as transaction:
            await lock_endpoint(transaction, org, webhook_id)
            enabled = await transaction.fetch_one(
                _ENABLE,
                org=org,
                id=webhook_id,
                grant=_json(grant.to_json()),
                key=key,
                actor=_json(by.shown()),
            )
            if enabled is None:
                return False
            await transaction.execute(_FORGIVE, org=org, id=webhook_id)
            await self._tell(transaction, "enabled", org, webhook_id, enabled["mode"], by)
        return True

    async def disable(self, org: str, webhook_id: str, reason: str) -> bool:
        now = to_ms(self._clock())
        async with self._database.transaction() as transaction:
            await lock_endpoint(transaction, org, webhook_id)
            disabled = await transaction.fetch_one(_DISABLE, org=org, id=webhook_id, reason=reason, now=now)
            if disabled is None:
                return False
            await transaction.execute(_GIVE_UP, org=org, id=webhook_id, now=now)
            about = {"reason": reason, "host": _host(disabled["url"])}
            await self._tell(transaction, "disabled", org, webhook_id, disabled["mode"], None, **about)
        return True

    async def remove(self, org: str, webhook_id: str, *, by: Actor) -> bool:
        async with self._database.transaction() as transaction:
            await lock_endpoint(transaction, org, webhook_id)
            sql = "DELETE FROM webhooks WHERE org = :org AND id = :id RETURNING mode"
            removed = await transaction.fetch_one(sql, org=org, id=webhook_id)
            if removed is None:
                return False
            for table, column in (("deliveries", "endpoint"), ("endpoints", "name")):
                sql = f"DELETE FROM {table} WHERE org = :org AND {column} = :id"
                await transaction.execute(sql, org=org, id=webhook_id)
            await self._tell(transaction, "removed", org, webhook_id, removed["mode"], by)
        return True

    async def _tell(
        self, transaction: Statements, what: str, org: str, webhook_id: str, mode: Any, by: Actor | None, **about: Any
    ) -> None:
        told = Event.now(org, f"webhook.{what}", self._clock(), actor=by, mode=mode, id=webhook_id, **about)
        await append(transaction, told)


def webhook_of(row: Row, now: float) -> Webhook:
    """A webhook of a row of `OF_ORG`. One whose key has ended is as good as disabled."""
    disabled_at, reason = to_seconds(row["disabled_at"]), row["disabled_reason"]
    if disabled_at is None:
        for ended, why in ((row["key_revoked_at"], "key_revoked"), (row["key_expires_at"], "key_expired")):
            if ended is not None and ended <= now * 1000:
                disabled_at, reason = to_seconds(ended), why
                break
    return Webhook(
        id=row["id"],
        org=row["org"],
        mode=row["mode"],
        url=row["url"],
        events=tuple(orjson.loads(row["events"])),
        description=row["description"],
        grant=Grant.from_json(orjson.loads(row["grant"])),
        key=row["key"],
        by=Actor.of(orjson.loads(row["actor"])),
        created_at=to_seconds(row["created_at"]),
        disabled_at=disabled_at,
        disabled_reason=reason,
        failing_since=to_seconds(row["failing_since"]),
    )


def _host(url: str) -> str:
    # The rest of a URL may be a secret.
    return urlsplit(url).hostname or ""


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
