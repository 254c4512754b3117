"""Connections and OAuth clients: what comes back, who sees it, who wins a race, and what a swapped seal does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.core.connections.clients import OAuthClient
from gateway.core.tenants.keys import Org
from gateway.store.clients import SqlClients
from gateway.store.connections import CredentialBroken, SqlConnections
from gateway.store.database import AlreadyThere, Database
from oauth.connections import Connection, ConnectionState
from oauth.secret import Secret
from oauth.vault import SealBroken, Vault
from tests.store.samples import Clock, a_connection, a_credential, whole_credential


async def test_a_connection_and_its_credential_come_back_as_they_were(
    database: Database, vault: Vault, org: Org
) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(
        org.id, label="work", reason="slow", retry_at=1_800_000_100.5, state=ConnectionState.DEGRADED, version=3
    )
    await connections.add(connection, whole_credential())
    held = await connections.find(org.id, connection.id)
    assert held is not None
    assert held.connection == connection
    assert held.credential == whole_credential()
    bare = a_connection(org.id, scopes=None, fields={}, account=None, account_id=None)
    await connections.add(bare, replace(a_credential(), refresh_token=None, expires_at=None))
    held = await connections.find(org.id, bare.id)
    assert held is not None
    assert held.connection == bare
    assert held.credential.refresh_token is None and held.credential.expires_at is None


async def test_an_id_is_taken_once(database: Database, vault: Vault, org: Org, other_org: Org) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())
    with pytest.raises(AlreadyThere):
        await connections.add(replace(connection, org=other_org.id), a_credential("other"))


async def test_candidates_are_the_users_own_and_neither_pending_nor_revoked(
    database: Database, vault: Vault, org: Org, other_org: Org
) -> None:
    connections = SqlConnections(database, vault)
    first = a_connection(org.id, created_at=1_800_000_000.0)
    second = a_connection(org.id, created_at=1_800_000_001.0, state=ConnectionState.NEEDS_REAUTH)
    others = [
        a_connection(org.id, user="bob"),
        a_connection(org.id, integration="slack"),
        a_connection(other_org.id),
        a_connection(org.id, state=ConnectionState.PENDING),
        a_connection(org.id, state=ConnectionState.REVOKED),
    ]
    for connection in (second, first, *others):
        await connections.add(connection, a_credential(f"token of {connection.id}"))
    found = await connections.candidates(org.id, "github", "alice")
    assert [held.connection.id for held in found] == [first.id, second.id]
    assert [held.credential.token for held in found] == [Secret(f"token of {first.id}"), Secret(f"token of {second.id}")]


async def test_lists_can_be_narrowed_to_a_user_and_an_integration(
    database: Database, vault: Vault, org: Org, other_org: Org
) -> None:
    connections = SqlConnections(database, vault)
    alice, bob = a_connection(org.id), a_connection(org.id, user="bob")
    slack = a_connection(org.id, integration="slack")
    for connection in (alice, bob, slack, a_connection(other_org.id)):
        await connections.add(connection, a_credential())
    assert ids(await connections.list(org.id)) == {alice.id, bob.id, slack.id}
    assert ids(await connections.list(org.id, user="alice")) == {alice.id, slack.id}
    assert ids(await connections.list(org.id, "alice", "github")) == {alice.id}
    assert ids(await connections.list(org.id, integration="github")) == {alice.id, bob.id}


def ids(connections: Sequence[Connection]) -> set[str]:
    return {connection.id for connection in connections}


async def test_of_fifty_refreshes_at_once_one_wins(database: Database, vault: Vault, org: Org) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())

    async def refresh(number: int) -> bool:
        return await connections.replace_credential(
            org.id, connection.id, version=1, credential=a_credential(f"token {number}"), scopes=None
        )

    won = await asyncio.gather(*(refresh(number) for number in range(50)))
    assert won.count(True) == 1
    held = await connections.find(org.id, connection.id)
    assert held is not None
    assert held.connection.version == 2
    assert held.credential.token == Secret(f"token {won.index(True)}")
    assert held.connection.scopes == connection.scopes


async def test_a_new_credential_makes_the_connection_active_and_may_change_its_scopes(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    connections = SqlConnections(database, vault, clock=clock)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())
    needs = ConnectionState.NEEDS_REAUTH
    assert await connections.set_state(
        org.id, connection.id, version=1, state=needs, reason="invalid_grant", retry_at=5.5
    )
    held = await connections.find(org.id, connection.id)
    assert held is not None
    now = held.connection
    assert (now.state, now.reason, now.retry_at, now.version) == (needs, "invalid_grant", 5.5, 1)

    assert await connections.replace_credential(
        org.id, connection.id, version=1, credential=a_credential("new"), scopes=("gist",)
    )
    held = await connections.find(org.id, connection.id)
    assert held is not None
    now = held.connection
    assert (now.state, now.reason, now.retry_at) == (ConnectionState.ACTIVE, None, None)
    assert (now.scopes, now.updated_at) == (("gist",), clock.now)
    assert not await connections.set_state(org.id, connection.id, version=1, state=needs)


async def test_no_org_touches_anothers_connection(database: Database, vault: Vault, org: Org, other_org: Org) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())
    theirs = other_org.id
    assert await connections.find(theirs, connection.id) is None
    assert not await connections.replace_credential(
        theirs, connection.id, version=1, credential=a_credential("x"), scopes=None
    )
    assert not await connections.set_state(theirs, connection.id, version=1, state=ConnectionState.REVOKED)
    assert not await connections.renew(replace(connection, org=theirs), a_credential("x"))
    assert not await connections.delete(theirs, connection.id)
    held = await connections.find(org.id, connection.id)
    assert held is not None and held.connection == connection and held.credential == a_credential()


async def test_renewing_keeps_id_and_label_and_fences_what_was_under_way(
    database: Database, vault: Vault, org: Org
) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id, state=ConnectionState.NEEDS_REAUTH, reason="invalid_grant", label="work")
    await connections.add(connection, a_credential())
    renewed = replace(connection, method="token", scopes=None, account="octocat2", fields={"x": "y"}, label=None)
    assert await connections.renew(renewed, a_credential("renewed"))
    held = await connections.find(org.id, connection.id)
    assert held is not None
    assert held.credential.token == Secret("renewed")
    now = held.connection
    assert (now.state, now.reason, now.version, now.label) == (ConnectionState.ACTIVE, None, 2, "work")
    assert (now.method, now.scopes, now.account, now.fields) == ("token", None, "octocat2", {"x": "y"})
    assert not await connections.replace_credential(
        org.id, connection.id, version=1, credential=a_credential("late"), scopes=None
    )
    assert not await connections.renew(a_connection(org.id), a_credential())


async def test_rows_go(database: Database, vault: Vault, org: Org) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())
    assert await connections.delete(org.id, connection.id)
    assert not await connections.delete(org.id, connection.id)
    assert await connections.find(org.id, connection.id) is None
    assert await database.fetch("SELECT * FROM connections") == []


async def test_a_sealed_value_moved_to_any_other_place_does_not_open(
    database: Database, vault: Vault, org: Org, other_org: Org
) -> None:
    connections, clients = SqlConnections(database, vault), SqlClients(database, vault)
    rows = [a_connection(org.id), a_connection(org.id, user="bob"), a_connection(other_org.id)]
    for row in rows:
        await connections.add(row, a_credential(f"token of {row.id}"))
    await clients.save(org.id, OAuthClient(integration="github", client_id="c", client_secret=Secret("s")))
    sealed = {row["id"]: row["credential"] for row in await database.fetch("SELECT id, credential FROM connections")}
    client = await database.fetch_one("SELECT secrets FROM org_clients")
    assert client is not None
    sealed["client"] = client["secrets"]

    put = "UPDATE connections SET credential = :blob WHERE id = :id"
    for here, there in itertools.permutations(sealed, 2):
        if here == "client":
            await database.execute("UPDATE org_clients SET secrets = :blob", blob=sealed[there])
            with pytest.raises(SealBroken):
                await clients.find(org.id, "github")
            continue
        row = next(row for row in rows if row.id == here)
        await database.execute(put, id=here, blob=sealed[there])
        with pytest.raises(CredentialBroken) as broken:
            await connections.find(row.org, here)
        assert broken.value.connection_id == here
        with pytest.raises(CredentialBroken):
            await connections.candidates(row.org, "github", row.user)
        await database.execute(put, id=here, blob=sealed[here])
        assert await connections.find(row.org, here) is not None


@pytest.mark.parametrize("blob", [b"", b"token", b'{"token": "plain"}', b"\x01" * 100], ids=range(4))
async def test_plain_text_in_place_of_a_seal_does_not_open(
    database: Database, vault: Vault, org: Org, blob: bytes
) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())
    await database.execute("UPDATE connections SET credential = :blob", blob=blob)
    with pytest.raises(CredentialBroken):
        await connections.find(org.id, connection.id)


@pytest.mark.parametrize(
    ("column", "value"),
    [("fields", '{"instance":"evil.example"}'), ("user", "mallory"), ("integration", "evil"), ("method", "token")],
)
async def test_a_credential_cannot_be_redirected_by_changing_its_row(
    database: Database, vault: Vault, org: Org, column: str, value: str
) -> None:
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential())
    await database.execute(f'UPDATE connections SET "{column}" = :value', value=value)
    with pytest.raises(CredentialBroken):
        await connections.find(org.id, connection.id)


async def test_an_org_keeps_one_client_per_integration(
    database: Database, vault: Vault, org: Org, other_org: Org
) -> None:
    clients = SqlClients(database, vault)
    client = OAuthClient(integration="github", client_id="c1", client_secret=Secret("s1"), org=org.id)
    await clients.save(org.id, client)
    signed = OAuthClient(integration="apple", client_id="c2", org=org.id, extra={"private_key": Secret("-----BEGIN")})
    await clients.save(org.id, signed)
    assert await clients.find(org.id, "github") == client
    assert [*await clients.all(org.id)] == [signed, client]
    assert await clients.find(other_org.id, "github") is None and [*await clients.all(other_org.id)] == []
    await clients.save(org.id, replace(client, client_id="c3", client_secret=None))
    assert await clients.find(org.id, "github") == replace(client, client_id="c3", client_secret=None)
    assert not await clients.remove(other_org.id, "github")
    assert await clients.remove(org.id, "github") and not await clients.remove(org.id, "github")
