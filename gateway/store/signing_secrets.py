"""Signing secrets, sealed: lists of the present one and of those that still sign beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson

from gateway.core.errors import Refusal
from gateway.core.events import Actor, Event
from gateway.core.messages.signing import SigningSecret, live, new_secret, rotated
from gateway.core.tenants.keys import Mode
from gateway.store.database import Database
from gateway.store.events import append
from oauth.secret import Secret
from oauth.vault import Vault

_FIND = "SELECT secrets FROM signing_secrets WHERE org = :org AND mode = :mode"
_ADD = """
    INSERT INTO signing_secrets (org, mode, secrets) VALUES (:org, :mode, :secrets)
    ON CONFLICT (org, mode) DO NOTHING
"""
_SWAP = "UPDATE signing_secrets SET secrets = :secrets WHERE org = :org AND mode = :mode AND secrets = :before"


class SqlSigningSecrets:
    """What signs the callbacks of orgs; implements `SigningSecretStore`."""

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._sealed = SealedSecrets(vault, "signing_secrets")
        self._clock = clock

    async def live(self, org: str, mode: Mode) -> Sequence[Secret]:
        blob = await self._blob(org, mode)
        return live(await self._sealed.open(blob, org, mode), self._clock())

    async def rotate(self, org: str, mode: Mode, *, by: Actor) -> Secret:
        before = await self._blob(org, mode)
        secret, now = new_secret(), self._clock()
        after = rotated(await self._sealed.open(before, org, mode), secret, now)
        async with self._database.transaction() as transaction:
            secrets = self._sealed.seal(after, org, mode)
            if not await transaction.execute(_SWAP, org=org, mode=mode, secrets=secrets, before=before):
                raise Refusal("conflict", "Somebody else rotated this secret at the same moment.")
            await append(transaction, Event.now(org, "org.signing_secret_rotated", now, actor=by, mode=mode))
        return secret

    async def _blob(self, org: str, mode: Mode) -> bytes:
        row = await self._database.fetch_one(_FIND, org=org, mode=mode)
        if row is None:
            made = self._sealed.seal([SigningSecret(secret=new_secret())], org, mode)
            await self._database.execute(_ADD, org=org, mode=mode, secrets=made)
            row = await self._database.fetch_one(_FIND, org=org, mode=mode)
            assert row is not None
        return bytes(row["secrets"])


class SealedSecrets:
    """Lists of signing secrets as they lie in the column `secrets` of a table."""

    def __init__(self, vault: Vault, table: str) -> None:
        self._vault = vault
        self._table = table

    def seal(self, secrets: Sequence[SigningSecret], org: str, row: str) -> bytes:
        plain = [{"secret": one.secret.reveal(), "until": one.until} for one in secrets]
        return self._vault.seal(orjson.dumps(plain), org=org, table=self._table, row=row, column="secrets")

    async def open(self, sealed: bytes, org: str, row: str) -> Sequence[SigningSecret]:
        """Raises `SealBroken`."""
        plain = await self._vault.open_fresh(sealed, org=org, table=self._table, row=row, column="secrets")
        return [SigningSecret(secret=Secret(one["secret"]), until=one["until"]) for one in orjson.loads(plain)]
