"""What the vault keeps in the database: its data keys, and the sealed values that a rotation goes through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.connections.clients import OAuthClient
from gateway.core.messages.signing import new_secret
from gateway.core.tenants.keys import Org
from gateway.store.clients import SqlClients
from gateway.store.connections import SqlConnections
from gateway.store.data_keys import SqlDataKeys
from gateway.store.database import AlreadyThere, Database
from gateway.store.flows import SqlFlows
from gateway.store.hooks import SqlHooks
from gateway.store.sealed_values import DAMAGED, SealedValue, SqlSealedValues
from gateway.store.signing_secrets import SqlSigningSecrets
from gateway.store.webhooks import SqlWebhooks
from oauth.secret import Secret
from oauth.vault import KeyInUse, MasterKey, UnknownKey, Vault, WrappedKey, open_ring
from tests.store.samples import Clock, a_connection, a_credential, a_flow, a_hook, a_webhook, flow_secrets


def a_key(key_id: str, **changes: object) -> WrappedKey:
    key = WrappedKey(id=key_id, wrapped=f"wrapped {key_id}".encode(), created_at=1_800_000_000.5)
    return replace(key, **changes)  # type: ignore[arg-type]


async def fill(database: Database, vault: Vault, org: Org, clock: Clock, connections: int) -> None:
    """Sealed values in every table that has some."""
    store = SqlConnections(database, vault)
    for number in range(connections):
        await store.add(a_connection(org.id), a_credential(f"token {number}"))
    client = OAuthClient(integration="x", client_id="c", client_secret=Secret("s"))
    await SqlClients(database, vault).save(org.id, client)
    flow = a_flow(org.id)
    flows = SqlFlows(database, vault, clock=clock)
    await flows.add(flow)
    await flows.add(a_flow(org.id))  # not started: holds no secret
    await flows.start(org.id, flow.connection, state=b"state", secrets=flow_secrets(), expires_at=clock.now + 600)
    await SqlWebhooks(database, vault).add(a_webhook(org.id), new_secret(), most=9)
    await SqlSigningSecrets(database, vault).live(org.id, "live")
    hooks = SqlHooks(database, vault)
    await hooks.add(a_hook(org.id), b"a hash", Secret("s"), most=9)
    await hooks.add(a_hook(org.id), b"another", None, most=9)  # holds no secret yet


async def every(values: SqlSealedValues, size: int = 200) -> list[SealedValue]:
    return [value async for batch in values.batches(size) for value in batch]


async def test_exactly_one_data_key_is_primary(database: Database) -> None:
    keys = SqlDataKeys(database)
    await keys.add(a_key("a", primary=True))
    await keys.add(a_key("b", created_at=1_800_000_001.0))
    assert {key.id: key.primary for key in await keys.load()} == {"a": True, "b": False}
    await keys.add(a_key("c", primary=True, created_at=1_800_000_002.0))
    assert {key.id: key.primary for key in await keys.load()} == {"a": False, "b": False, "c": True}


async def test_a_data_key_is_never_overwritten_and_the_primary_one_never_retired(database: Database) -> None:
    keys = SqlDataKeys(database)
    await keys.add(a_key("a", primary=True))
    with pytest.raises(AlreadyThere):
        await keys.add(a_key("a", wrapped=b"other", primary=True))
    await keys.retire("a", 1_800_000_009.0)
    assert [*await keys.load()] == [a_key("a", primary=True)]
    await keys.add(a_key("b", primary=True, created_at=1_800_000_001.0))
    await keys.retire("a", 1_800_000_009.0)
    assert (await keys.load())[0].retired_at == 1_800_000_009.0


async def test_keys_are_rewrapped_all_or_none(database: Database) -> None:
    keys = SqlDataKeys(database)
    await keys.add(a_key("a", primary=True))
    await keys.add(a_key("b"))
    with pytest.raises(UnknownKey):
        await keys.rewrap([a_key("a", wrapped=b"new a"), a_key("nobody")])
    assert [key.wrapped for key in await keys.load()] == [b"wrapped a", b"wrapped b"]
    await keys.rewrap([a_key("a", wrapped=b"new a"), a_key("b", wrapped=b"new b")])
    assert [key.wrapped for key in await keys.load()] == [b"new a", b"new b"]


async def test_every_sealed_value_is_met_once_whatever_the_batch(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    values = SqlSealedValues(database)
    assert not await values.exist()
    assert await values.counts() == {}
    await fill(database, vault, org, clock, connections=7)
    assert await values.exist()
    for size in (1, 3, 7, 100):
        found = await every(values, size)
        assert len({(value.table, value.row) for value in found}) == len(found) == 12
        for value in found:
            assert vault.open(value.blob, org=value.org, table=value.table, row=value.row, column=value.column)
    assert await values.counts() == {vault.ring.primary: 12}
    await database.execute("UPDATE org_clients SET secrets = :plain", plain=b"plain text")
    assert await values.counts() == {vault.ring.primary: 11, DAMAGED: 1}


async def test_a_value_that_changed_meanwhile_is_not_swapped(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    await fill(database, vault, org, clock, connections=1)
    values = SqlSealedValues(database)
    for value in await every(values):
        place = {"org": value.org, "table": value.table, "row": value.row, "column": value.column}
        newer = vault.seal(b"{}", **place)
        assert await values.swap(value, newer)
        assert not await values.swap(value, vault.seal(b"{}", **place))
        assert newer in [each.blob for each in await every(values)]
        assert not await values.swap(replace(value, org="org_other", blob=newer), value.blob)


async def test_a_rotation_beside_traffic_leaves_every_value_readable(
    database: Database, org: Org, clock: Clock
) -> None:
    store = SqlDataKeys(database)
    master = MasterKey.generate()
    vault = Vault(await open_ring(store, master, has_sealed_values=False))
    elsewhere = Vault(await open_ring(store, master, has_sealed_values=False))  # another process
    await fill(database, vault, org, clock, connections=5)
    values = SqlSealedValues(database)
    old = vault.ring.primary
    new = await vault.ring.rotate()

    for value in await every(values, 2):
        blob = vault.reseal(value.blob, org=value.org, table=value.table, row=value.row, column=value.column)
        assert blob is not None
        assert await values.swap(value, blob)
    assert await values.counts() == {new: 10}

    connections = SqlConnections(database, elsewhere)
    for listed in await connections.list(org.id):
        assert await connections.find(org.id, listed.id) is not None
    # The other process now knows the new key; nothing needs the old one any more.
    assert elsewhere.ring.primary == new
    with pytest.raises(KeyInUse):
        await vault.ring.retire(new, needed_by=0)
    await vault.ring.retire(old, needed_by=(await values.counts()).get(old, 0))
    assert {key.id: key.retired_at is not None for key in await store.load()} == {old: True, new: False}
