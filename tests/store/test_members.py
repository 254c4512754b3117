"""Members and what lets them in: unique, found by hash, used once, gone together; on both databases."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.events import OPERATOR, Actor
from gateway.core.people.devices import DeviceFlow
from gateway.core.people.sign_in import SignInFlow
from gateway.core.tenants.keys import Org
from gateway.core.tenants.members import Taken, email_of
from gateway.store.database import Database, NotStorable
from gateway.store.device_flows import SqlDeviceFlows
from gateway.store.events import SqlEvents
from gateway.store.keys import SqlKeys
from gateway.store.members import SqlMembers
from gateway.store.orgs import SqlOrgs
from gateway.store.sessions import SqlSessions
from gateway.store.sign_in_flows import SqlSignInFlows
from gateway.store.sign_in_links import SqlSignInLinks
from gateway.store.sign_ups import SqlSignUps
from gateway.store.tries import SqlTries
from oauth.oidc import Identity
from tests.store.samples import Clock

ISSUER = "https://id.example.com"


async def events(database: Database, org: Org, kind: str) -> list[tuple[str, str | None]]:
    found = await SqlEvents(database).list(org.id, kind=kind)
    return [(event.type, event.actor.kind if event.actor else None) for event in found]


async def test_an_address_belongs_to_one_member_of_the_whole_installation(
    database: Database, org: Org, other_org: Org, clock: Clock
) -> None:
    members = SqlMembers(database, clock=clock)
    ada = await members.add(org.id, email="ada@example.com", name="Ada")
    assert ada.id.startswith("mem_")
    for where in (org, other_org):
        with pytest.raises(Taken):
            await members.add(where.id, email="ada@example.com")
    # Two of whom nobody knows an address are two.
    await members.add(org.id, email=None)
    await members.add(org.id, email=None)
    assert await members.by_email("ada@example.com") == await members.find(org.id, ada.id) == ada
    assert await members.find(other_org.id, ada.id) is None
    assert [member.id for member in await members.list(other_org.id)] == []
    assert len(await members.list(org.id)) == 3
    assert await events(database, org, "member") == [("member.added", "operator")] * 3


async def test_a_member_is_tied_to_one_subject_once(database: Database, org: Org, clock: Clock) -> None:
    members = SqlMembers(database, clock=clock)
    ada, bob = [await members.add(org.id, email=f"{name}@example.com") for name in ("ada", "bob")]
    tied = await asyncio.gather(*(members.bind(org.id, ada.id, ISSUER, f"s-{number}") for number in range(5)))
    assert sorted(tied) == [False] * 4 + [True]
    subject = f"s-{tied.index(True)}"
    assert not await members.bind(org.id, bob.id, ISSUER, subject)
    assert await members.bind(org.id, bob.id, "https://other.example.com", subject)
    found = await members.by_subject(ISSUER, subject)
    assert found is not None and found.id == ada.id
    assert await members.by_subject(ISSUER, "s-nobody") is None
    assert (await events(database, org, "member"))[2:] == [("member.bound", "member")] * 2


async def test_who_is_removed_takes_sessions_and_link_along(database: Database, org: Org, clock: Clock) -> None:
    members, links = SqlMembers(database, clock=clock), SqlSignInLinks(database, clock=clock)
    sessions = SqlSessions(database, clock=clock)
    ada = await members.add(org.id, email="ada@example.com")
    await sessions.start(ada, b"cookie", expires_at=clock.now + 60)
    await links.make(ada, b"link", expires_at=clock.now + 60)
    assert not await members.remove("org_other", ada.id)
    assert await members.remove(org.id, ada.id, by=OPERATOR)
    assert not await members.remove(org.id, ada.id)
    assert await sessions.find(b"cookie", seen_after=0) is None
    assert await links.take(b"link") is None
    with pytest.raises(NotStorable):
        await sessions.start(ada, b"another", expires_at=clock.now + 60)
    # The address is free again, for somebody new.
    assert (await members.add(org.id, email="ada@example.com")).id != ada.id
    [gone] = [one for one in await SqlEvents(database).list(org.id) if one.type == "member.removed"]
    assert gone.data == {"id": ada.id, "email": "ada@example.com", "name": None}


async def test_a_session_is_found_until_it_idles_or_ends(database: Database, org: Org, clock: Clock) -> None:
    members, sessions = SqlMembers(database, clock=clock), SqlSessions(database, clock=clock)
    ada = await members.add(org.id, email="ada@example.com", name="Ada")
    await sessions.start(ada, b"one", expires_at=clock.now + 100)
    await sessions.start(ada, b"two", expires_at=clock.now + 100)
    found = await sessions.find(b"one", seen_after=clock.now - 10)
    assert found is not None
    session, member, of = found
    assert (member.id, member.name, member.signed_in_at, of.id) == (ada.id, "Ada", clock.now, org.id)
    clock.move(20)
    assert await sessions.find(b"one", seen_after=clock.now - 10) is None
    await sessions.note(org.id, session.id)
    assert await sessions.find(b"one", seen_after=clock.now - 10) is not None
    await sessions.end(b"one")
    assert await sessions.find(b"one", seen_after=0) is None
    clock.move(81)
    assert await sessions.find(b"two", seen_after=0) is None
    await sessions.start(ada, b"three", expires_at=clock.now + 100)
    await sessions.end_all(org.id, ada.id)
    assert await sessions.find(b"three", seen_after=0) is None
    await sessions.start(ada, b"four", expires_at=clock.now + 100)
    clock.move(101)
    assert await sessions.purge() == 1


async def test_a_link_is_taken_once_by_however_many(database: Database, org: Org, clock: Clock) -> None:
    members, links = SqlMembers(database, clock=clock), SqlSignInLinks(database, clock=clock)
    ada = await members.add(org.id, email="ada@example.com")
    await links.make(ada, b"first", expires_at=clock.now + 60)
    await links.make(ada, b"second", expires_at=clock.now + 60)
    assert await links.find(b"first") is None and await links.find(b"second") == ada
    taken = await asyncio.gather(*(links.take(b"second") for _ in range(10)))
    assert [member for member in taken if member is not None] == [ada]
    await links.make(ada, b"third", expires_at=clock.now + 60)
    clock.move(61)
    assert await links.find(b"third") is None and await links.take(b"third") is None
    assert await links.purge() == 1


async def test_a_sign_in_flow_is_taken_once(database: Database, clock: Clock) -> None:
    flows = SqlSignInFlows(database, clock=clock)
    known = Identity(issuer=ISSUER, subject="s", email="a@b.example", name="Größe")
    flow = SignInFlow(browser=b"\0b", next="/device", identity=known, expires_at=clock.now + 60)
    await flows.add(flow, b"state")
    assert await flows.find(b"state") == flow
    taken = await asyncio.gather(*(flows.take(b"state") for _ in range(10)))
    assert [one for one in taken if one is not None] == [flow]
    await flows.add(flow, b"late")
    clock.move(61)
    assert await flows.find(b"late") is None and await flows.take(b"late") is None
    assert await flows.purge() == 1


async def test_a_sign_up_is_made_whole_or_not_at_all(database: Database, org: Org, clock: Clock) -> None:
    members, sign_ups = SqlMembers(database, clock=clock), SqlSignUps(database, clock=clock)
    await members.add(org.id, email="ada@example.com")
    before = len(await SqlOrgs(database).list())
    taken = Identity(issuer=ISSUER, subject="s-1", email="ada@example.com")
    with pytest.raises(Taken):
        await sign_ups.sign_up("Mine", plan="free", by=None, member=taken, key_name="first")
    assert len(await SqlOrgs(database).list()) == before
    new = Identity(issuer=ISSUER, subject="s-1", email="Eve@Example.com", name="Eve")
    made = await sign_ups.sign_up("Mine", plan="free", by=None, member=new, key_name="first")
    assert made.member is not None and made.key is not None and made.text is not None
    assert (made.org.plan, made.member.email, made.member.subject) == ("free", "eve@example.com", "s-1")
    assert [key.id for key in await SqlKeys(database).list(made.org.id)] == [made.key.id]
    told = await SqlEvents(database).list(made.org.id)
    assert [event.type for event in told] == ["org.created", "member.added", "api_key.created"]
    assert {event.actor and event.actor.id for event in told} == {made.member.id}


def a_device(clock: Clock, number: int = 1) -> DeviceFlow:
    return DeviceFlow(id=f"dev_{number}", device="laptop", created_at=clock.now, expires_at=clock.now + 900)


async def test_a_device_is_decided_once_and_redeemed_once(database: Database, org: Org, clock: Clock) -> None:
    flows, ada = SqlDeviceFlows(database, clock=clock), Actor(kind="member", id="mem_1", name="Ada")
    assert await flows.add(a_device(clock), b"device", b"user")
    assert not await flows.add(a_device(clock, 2), b"other", b"user")
    assert await flows.redeem(b"device") is None
    decided = await asyncio.gather(*(flows.decide(b"user", org.id, ada, "read_only") for _ in range(10)))
    [flow] = [one for one in decided if one is not None]
    assert (flow.status, flow.org, flow.approver, flow.level) == ("approved", org.id, ada, "read_only")
    assert await flows.by_user_code(b"user") is None
    assert await flows.decide(b"user", org.id, ada, None) is None
    redeemed = await asyncio.gather(*(flows.redeem(b"device") for _ in range(10)))
    assert len([one for one in redeemed if one is not None]) == 1
    await flows.give_back(flow)
    assert await flows.redeem(b"device") is not None
    assert await events(database, org, "device") == [("device.approved", "member")]


async def test_polls_that_come_too_early_make_the_pace_slower(database: Database, clock: Clock) -> None:
    flows = SqlDeviceFlows(database, clock=clock)
    await flows.add(a_device(clock), b"device", b"user")

    async def poll() -> tuple[bool, int]:
        flow = await flows.poll(b"device")
        assert flow is not None
        return flow.hurried, flow.pace

    assert await poll() == (False, 5)
    clock.move(5)
    assert await poll() == (False, 5)
    clock.move(1)
    assert await poll() == (True, 10)
    clock.move(6)
    assert await poll() == (True, 15)
    clock.move(15)
    assert await poll() == (False, 15)
    assert await flows.poll(b"nobody's") is None


async def test_what_is_over_is_forgotten(database: Database, clock: Clock) -> None:
    flows, tries = SqlDeviceFlows(database, clock=clock), SqlTries(database, clock=clock)
    await flows.add(a_device(clock), b"device", b"user")
    assert await tries.take("a", 1, 60)
    clock.move(901)
    assert await flows.by_user_code(b"user") is None
    assert await flows.decide(b"user", "org_1", OPERATOR, "read_only") is None
    assert (await flows.purge(clock.now), await tries.purge()) == (1, 1)


async def test_no_more_tries_are_given_out_than_there_are_even_at_once(database: Database, clock: Clock) -> None:
    tries = SqlTries(database, clock=clock)
    taken = await asyncio.gather(*(tries.take("codes", 5, 900) for _ in range(20)))
    assert sum(taken) == 5
    clock.move(899)
    assert not await tries.take("codes", 5, 900)
    assert await tries.take("others", 5, 900)
    clock.move(2)
    assert await tries.take("codes", 5, 900)
    for _ in range(10):
        await tries.give_back("codes")
    assert sum([await tries.take("codes", 5, 900) for _ in range(10)]) == 5


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada+x@mail.example", "ada+x@mail.example"),
        ("größe@example.com", "größe@example.com"),
        ("", None),
        ("ada", None),
        ("@example.com", None),
        ("ada@", None),
        ("a b@example.com", None),
        ("ada@example.com\nBcc: x@y", None),
        ("<ada@example.com>", None),
        ("a@b@c", None),
        ("ada@" + "x" * 200, None),
        ("ada\x00@example.com", None),
    ],
)
def test_an_address_is_kept_in_lower_case_or_not_at_all(typed: str, kept: str | None) -> None:
    assert email_of(typed) == kept
