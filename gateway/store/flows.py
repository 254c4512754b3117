"""Connect flows: every step is one statement that changes a row or finds nothing, so that it happens once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.core.connections.flows import Choice, Flow, FlowSecrets, FlowStatus
from gateway.core.events import Actor
from gateway.store.credentials import credential_of, credential_plain
from gateway.store.database import AlreadyThere, Database, Row
from gateway.store.times import to_ms, to_seconds
from oauth.secret import Secret
from oauth.token_answers import TokenAnswer
from oauth.vault import Vault

_ADD = """
    INSERT INTO flows (connection, org, integration, "user", method, scopes, label, redirect_url, fields, renews,
        actor, status, detail, error, message, account, created_at, expires_at)
    VALUES (:connection, :org, :integration, :user, :method, :scopes, :label, :redirect_url, :fields, :renews,
        :actor, :status, :detail, :error, :message, :account, :created_at, :expires_at)
    ON CONFLICT (connection) DO UPDATE SET integration = excluded.integration, "user" = excluded."user",
        method = excluded.method, scopes = excluded.scopes, label = excluded.label,
        redirect_url = excluded.redirect_url, fields = excluded.fields, renews = excluded.renews,
        actor = excluded.actor, status = excluded.status, detail = excluded.detail, error = excluded.error, message = excluded.message,
        account = excluded.account, created_at = excluded.created_at, expires_at = excluded.expires_at,
        state = NULL, handle = NULL, secrets = NULL
    WHERE flows.org = excluded.org
"""
# A flow that waits for confirmation is not started again: a second click must not throw away the first one's code.
_START = """
    UPDATE flows SET state = :state, secrets = :secrets, expires_at = :expires_at
    WHERE org = :org AND connection = :connection AND status = 'pending' AND detail IS NULL AND handle IS NULL
        AND expires_at > :now
"""
_TAKE = """
    UPDATE flows SET state = NULL WHERE state = :state AND status = 'pending' AND expires_at > :now RETURNING *
"""
_PARK = """
    UPDATE flows SET handle = :handle, secrets = :secrets, expires_at = :expires_at, state = NULL,
        detail = 'awaiting_confirmation'
    WHERE org = :org AND connection = :connection AND status = 'pending' AND expires_at > :now
"""
_TAKE_PARKED = """
    UPDATE flows SET handle = NULL, detail = NULL
    WHERE org = :org AND connection = :connection AND handle = :handle AND status = 'pending' AND expires_at > :now
    RETURNING *
"""
_AWAIT_CHOICE = """
    UPDATE flows SET secrets = :secrets, expires_at = :expires_at, state = NULL, handle = NULL,
        detail = 'awaiting_choice'
    WHERE org = :org AND connection = :connection AND status = 'pending' AND expires_at > :now
"""
_CHOOSING = """
    SELECT * FROM flows
    WHERE org = :org AND connection = :connection AND detail = 'awaiting_choice' AND status = 'pending'
        AND expires_at > :now
"""
_TAKE_CHOOSING = """
    UPDATE flows SET detail = NULL
    WHERE org = :org AND connection = :connection AND detail = 'awaiting_choice' AND status = 'pending'
        AND expires_at > :now
    RETURNING *
"""
_FINISH = """
    UPDATE flows SET status = :status, error = :error, message = :message, account = :account,
        detail = NULL, state = NULL, handle = NULL, secrets = NULL
    WHERE org = :org AND connection = :connection AND status = 'pending'
"""


class SqlFlows:
    """Connect flows in the database; implements `FlowStore`."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def add(self, flow: Flow) -> None:
        """Raises `AlreadyThere` where another org has a flow of that id."""
        changed = await self._database.execute(
            _ADD,
            connection=flow.connection,
            org=flow.org,
            integration=flow.integration,
            user=flow.user,
            method=flow.method,
            scopes=_json(list(flow.scopes)),
            label=flow.label,
            redirect_url=flow.redirect_url,
            fields=_json(dict(flow.fields)),
            renews=int(flow.renews),
            actor=_json(flow.by.shown()),
            status=flow.status,
            detail=flow.detail,
            error=flow.error,
            message=flow.message,
            account=flow.account,
            created_at=to_ms(flow.created_at),
            expires_at=to_ms(flow.expires_at),
        )
        if not changed:
            raise AlreadyThere(flow.connection)

    async def find(self, org: str, connection: str) -> Flow | None:
        sql = "SELECT * FROM flows WHERE org = :org AND connection = :connection"
        row = await self._database.fetch_one(sql, org=org, connection=connection)
        return None if row is None else _flow(row)

    async def by_link(self, connection: str) -> Flow | None:
        sql = "SELECT * FROM flows WHERE connection = :connection"
        row = await self._database.fetch_one(sql, connection=connection)
        return None if row is None else _flow(row)

    async def start(self, org: str, connection: str, *, state: bytes, secrets: FlowSecrets, expires_at: float) -> bool:
        changed = await self._database.execute(
            _START,
            org=org,
            connection=connection,
            state=state,
            secrets=self._seal(org, connection, secrets),
            expires_at=to_ms(expires_at),
            now=to_ms(self._clock()),
        )
        return changed == 1

    async def take(self, state: bytes) -> tuple[Flow, FlowSecrets] | None:
        row = await self._database.fetch_one(_TAKE, state=state, now=to_ms(self._clock()))
        return None if row is None else (_flow(row), await self._open(row))

    async def park(self, org: str, connection: str, *, handle: bytes, secrets: FlowSecrets, expires_at: float) -> bool:
        changed = await self._database.execute(
            _PARK,
            org=org,
            connection=connection,
            handle=handle,
            secrets=self._seal(org, connection, secrets),
            expires_at=to_ms(expires_at),
            now=to_ms(self._clock()),
        )
        return changed == 1

    async def take_parked(self, org: str, connection: str, handle: bytes) -> tuple[Flow, FlowSecrets] | None:
        row = await self._database.fetch_one(
            _TAKE_PARKED, org=org, connection=connection, handle=handle, now=to_ms(self._clock())
        )
        return None if row is None else (_flow(row), await self._open(row))

    async def await_choice(self, org: str, connection: str, *, secrets: FlowSecrets, expires_at: float) -> bool:
        changed = await self._database.execute(
            _AWAIT_CHOICE,
            org=org,
            connection=connection,
            secrets=self._seal(org, connection, secrets),
            expires_at=to_ms(expires_at),
            now=to_ms(self._clock()),
        )
        return changed == 1

    async def choosing(self, org: str, connection: str) -> FlowSecrets | None:
        row = await self._database.fetch_one(_CHOOSING, org=org, connection=connection, now=to_ms(self._clock()))
        return None if row is None else await self._open(row)

    async def take_choosing(self, org: str, connection: str) -> tuple[Flow, FlowSecrets] | None:
        row = await self._database.fetch_one(_TAKE_CHOOSING, org=org, connection=connection, now=to_ms(self._clock()))
        return None if row is None else (_flow(row), await self._open(row))

    async def finish(
        self,
        org: str,
        connection: str,
        status: FlowStatus,
        *,
        error: str | None = None,
        message: str | None = None,
        account: str | None = None,
    ) -> None:
        await self._database.execute(
            _FINISH, org=org, connection=connection, status=status, error=error, message=message, account=account
        )

    async def purge(self, before: float) -> int:
        return await self._database.execute("DELETE FROM flows WHERE expires_at < :before", before=to_ms(before))

    def _seal(self, org: str, connection: str, secrets: FlowSecrets) -> bytes:
        plain = {
            "verifier": None if secrets.verifier is None else secrets.verifier.reveal(),
            "context": secrets.context,
            "redirect_uri": secrets.redirect_uri,
            "browser": secrets.browser.hex(),
            "code": None if secrets.code is None else secrets.code.reveal(),
            "callback_fields": dict(secrets.callback_fields),
            "request_token": None if secrets.request_token is None else secrets.request_token.reveal(),
            "granted": None if secrets.granted is None else _granted_plain(secrets.granted),
            "choices": [{"fields": dict(choice.fields), "title": choice.title} for choice in secrets.choices],
        }
        return self._vault.seal(orjson.dumps(plain), org=org, table="flows", row=connection, column="secrets")

    async def _open(self, row: Row) -> FlowSecrets:
        opened = await self._vault.open_fresh(
            row["secrets"], org=row["org"], table="flows", row=row["connection"], column="secrets"
        )
        plain = orjson.loads(opened)
        # Of the minutes before an update a flow may lack the later members.
        token, granted = plain.get("request_token"), plain.get("granted")
        return FlowSecrets(
            verifier=None if plain["verifier"] is None else Secret(plain["verifier"]),
            request_token=None if token is None else Secret(token),
            context=plain["context"],
            redirect_uri=plain["redirect_uri"],
            browser=bytes.fromhex(plain["browser"]),
            code=None if plain["code"] is None else Secret(plain["code"]),
            callback_fields=plain["callback_fields"],
            granted=None if granted is None else _granted(granted),
            choices=tuple(Choice(**choice) for choice in plain.get("choices", ())),
        )


def _granted_plain(granted: TokenAnswer) -> dict[str, object]:
    scopes = None if granted.scopes is None else list(granted.scopes)
    return {"credential": credential_plain(granted.credential), "scopes": scopes, "fields": dict(granted.fields)}


def _granted(plain: Mapping[str, Any]) -> TokenAnswer:
    return TokenAnswer(
        credential=credential_of(plain["credential"]),
        scopes=None if plain["scopes"] is None else tuple(plain["scopes"]),
        fields=plain["fields"],
    )


def _flow(row: Row) -> Flow:
    return Flow(
        connection=row["connection"],
        org=row["org"],
        integration=row["integration"],
        user=row["user"],
        method=row["method"],
        # Of the minutes before the column was there nobody knows.
        by=Actor.of(orjson.loads(row["actor"])) if row["actor"] else Actor(kind="user", name=row["user"]),
        scopes=tuple(orjson.loads(row["scopes"])),
        label=row["label"],
        redirect_url=row["redirect_url"],
        fields=orjson.loads(row["fields"]),
        renews=bool(row["renews"]),
        status=row["status"],
        detail=row["detail"],
        error=row["error"],
        message=row["message"],
        account=row["account"],
        created_at=to_seconds(row["created_at"]),
        expires_at=to_seconds(row["expires_at"]),
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
