"""What test keys made: each key's own, sealed, a few at a time."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.calls.sandbox import Thing
from gateway.core.tenants.keys import Org
from gateway.store.database import Database
from gateway.store.orgs import SqlOrgs
from gateway.store.sandbox import SqlSandbox
from oauth.vault import Vault
from tests.store.samples import Clock


def a_thing(name: str) -> Thing:
    return Thing(
        id=f"thing_{name}", kind="github.issue", name=name, place={"repo": "a/b"}, members={"title": "größe ✓", "n": [1]}
    )


async def test_a_thing_comes_back_as_it_was_put(database: Database, vault: Vault, org: Org, clock: Clock) -> None:
    store = SqlSandbox(database, vault, clock=clock)
    assert await store.add(org.id, "key_1", a_thing("7"), most=9)
    assert not await store.add(org.id, "key_1", replace(a_thing("7"), members={}), most=9)
    assert [*await store.things(org.id, "key_1", "github.issue")] == [a_thing("7")]
    changed = replace(a_thing("7"), members={"title": "x"}, is_deleted=True)
    await store.put(org.id, "key_1", changed, most=9)
    assert [*await store.things(org.id, "key_1", "github.issue")] == [changed]


async def test_a_thing_is_one_keys_and_one_orgs(database: Database, vault: Vault, org: Org, clock: Clock) -> None:
    store, other = SqlSandbox(database, vault, clock=clock), await SqlOrgs(database).create("Other")
    await store.put(org.id, "key_1", a_thing("7"), most=9)
    assert [*await store.things(other.id, "key_1", "github.issue")] == []
    assert [*await store.things(org.id, "key_2", "github.issue")] == []
    assert [*await store.things(org.id, "key_1", "github.pull")] == []
    assert await store.clear(other.id, "key_1") == await store.clear(org.id, "key_2") == 0
    assert await store.clear(org.id, "key_1") == 1


async def test_what_was_touched_longest_ago_makes_room(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    store = SqlSandbox(database, vault, clock=clock)
    for name in "abcd":
        clock.move(1)
        await store.put(org.id, "key_1", a_thing(name), most=3)
    clock.move(1)
    await store.put(org.id, "key_1", a_thing("b"), most=3)
    await store.put(org.id, "key_2", a_thing("e"), most=3)
    assert [thing.name for thing in await store.things(org.id, "key_1", "github.issue")] == ["b", "d", "c"]
    assert await store.forget(clock.now - 1.5) == 1
    assert len(await store.things(org.id, "key_1", "github.issue")) == 2


async def test_nothing_of_a_thing_can_be_read_in_the_database(
    database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    store = SqlSandbox(database, vault, clock=clock)
    await store.put(org.id, "key_1", a_thing("planted-name"), most=9)
    (row,) = await database.fetch("SELECT sealed FROM sandbox_things")
    assert b"planted" not in row["sealed"] and "größe".encode() not in row["sealed"]
