"""Orgs and their API keys: found by hash, listed by org, revoked once, uses counted in groups."""

from __future__ import annotations

from gateway.core.tenants.grants import Grant
from gateway.core.tenants.keys import Org, digest, is_well_formed
from gateway.store.database import Database
from gateway.store.keys import SqlKeys
from gateway.store.orgs import SqlOrgs
from tests.store.samples import Clock


async def test_an_org_is_found_as_it_was_made(database: Database, clock: Clock) -> None:
    orgs = SqlOrgs(database, clock=clock)
    org = await orgs.create("Größe & Co", plan="free")
    assert org.id.startswith("org_")
    assert await orgs.find(org.id) == org
    assert await orgs.find("org_nobody") is None
    clock.move(1)
    second = await orgs.create("Second")
    assert [*await orgs.list()] == [org, second]


async def test_plan_and_suspension_can_be_changed(database: Database, clock: Clock) -> None:
    orgs = SqlOrgs(database, clock=clock)
    org = await orgs.create("Acme")
    assert await orgs.set_plan(org.id, "pro")
    assert await orgs.suspend(org.id)
    changed = await orgs.find(org.id)
    assert changed is not None
    assert (changed.plan, changed.suspended_at) == ("pro", clock.now)
    await orgs.suspend(org.id, suspended=False)
    changed = await orgs.find(org.id)
    assert changed is not None and changed.suspended_at is None
    assert not await orgs.set_plan("org_nobody", "pro")


async def test_redirect_urls_belong_to_an_org(database: Database, org: Org, other_org: Org) -> None:
    orgs = SqlOrgs(database)
    assert await orgs.redirect_urls(org.id) == ()
    assert await orgs.set_redirect_urls(org.id, ["https://a.example/x?y=\"1\"", "https://b.example"])
    assert await orgs.redirect_urls(org.id) == ("https://a.example/x?y=\"1\"", "https://b.example")
    assert await orgs.redirect_urls(other_org.id) == ()
    assert not await orgs.set_redirect_urls("org_nobody", [])


async def test_a_key_is_found_by_its_hash_with_its_org(database: Database, org: Org, clock: Clock) -> None:
    keys = SqlKeys(database, clock=clock)
    key, text = await keys.create(org.id, "ci", "test", Grant(scopes=("github",), expires_at=clock.now + 60))
    assert is_well_formed(text.reveal())
    assert text.reveal().startswith(key.prefix) and key.prefix.startswith("sk_test_gw_")
    assert await keys.find_by_hash(digest(text.reveal())) == (key, await SqlOrgs(database).find(org.id))
    assert await keys.find_by_hash(digest("sk_test_gw_other")) is None
    assert key.grant.expires_at == clock.now + 60
    assert key.grant.allows_integration("github") and not key.grant.allows_integration("slack")


async def test_the_text_of_a_key_is_nowhere_in_its_row(database: Database, org: Org) -> None:
    _, text = await SqlKeys(database).create(org.id, "ci", "live")
    row = await database.fetch_one("SELECT * FROM api_keys")
    assert row is not None
    columns = [*row.keys()]
    stored = [str(row[name]) for name in columns]
    assert not any(text.reveal()[16:] in value for value in stored)


async def test_keys_are_seen_and_revoked_by_their_own_org_only(
    database: Database, org: Org, other_org: Org, clock: Clock
) -> None:
    keys = SqlKeys(database, clock=clock)
    first, text = await keys.create(org.id, "one", "live")
    clock.move(1)
    second, _ = await keys.create(org.id, "two", "live")
    assert [*await keys.list(org.id)] == [first, second]
    assert [*await keys.list(other_org.id)] == []
    assert await keys.find(other_org.id, first.id) is None
    assert not await keys.revoke(other_org.id, first.id)
    assert await keys.revoke(org.id, first.id)
    assert not await keys.revoke(org.id, first.id)
    found = await keys.find_by_hash(digest(text.reveal()))
    assert found is not None and found[0].revoked_at == clock.now
    assert len(await keys.list(org.id)) == 2


async def test_uses_are_counted_and_given_back_when_they_cannot_be_written(
    database: Database, org: Org, clock: Clock
) -> None:
    keys = SqlKeys(database, clock=clock)
    key, _ = await keys.create(org.id, "one", "live")
    assert keys.take_uses() is None
    for _ in range(3):
        keys.note_use(org.id, key.id)
    batch = keys.take_uses()
    assert batch is not None
    keys.give_back_uses(batch)
    keys.note_use(org.id, key.id)
    batch = keys.take_uses()
    assert batch is not None
    await database.write([batch])
    used = await keys.find(org.id, key.id)
    assert used is not None
    assert (used.request_count, used.last_used_at) == (4, clock.now)
