"""Connecting under `VERIFY_CONNECT=session`: a signed-in member of the flow's org finishes it, or nobody does.

T82 and T83 run under it in `tests/test_connect_attacks.py`, beside the other ways to prove who finished.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import aiohttp
import pytest
import yarl

from tests.demo import Desk, KeyedApi, demo, keyed_definition, query_of, visit
from tests.fakes.provider import ConsentFailed, Provider, browser
from tests.fakes.upstream import HandClock, serve
from tests.people import OWN_SITE, Person, invite, member_of, person, suspend
from tests.test_connect_attacks import Nothing, _click


@pytest.fixture
async def desk(tmp_path: Path, server: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    async with demo(tmp_path, server, clock=clock, verify_connect="session") as made:
        yield made


@pytest.fixture
async def one_desk(tmp_path: Path, one_server: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    async with demo(tmp_path, one_server, clock=clock, verify_connect="session") as made:
        yield made


@asynccontextmanager
async def member(desk: Desk, name: str = "ada", *, org: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """The browser of a signed-in member."""
    async with person(desk.running, await invite(desk.running, f"{name}@example.com", org=org, name=name)) as made:
        yield made.session


def to_sign_in(desk: Desk, back: str) -> str:
    return f"{desk.running.url}/sign-in?next={quote(back, safe='')}"


async def test_a_signed_in_member_connects_and_stands_in_the_audit_trail(desk: Desk) -> None:
    begun = await desk.begin(user="u-1")
    async with member(desk) as session:
        landed = await visit(session, await desk.consent(begun["oauth_url"], "alice", session=session))
        assert landed.status == 303 and "Demo is connected" in landed.page
    assert await desk.login(user="u-1") == "alice"
    audit = (await desk.running.ask("GET", "/v1/events?kind=connection")).json()["events"]
    who = (await member_of(desk.running)).id
    assert [event["actor"] for event in audit] == [{"type": "member", "id": who, "name": "ada"}]


async def test_who_is_not_signed_in_signs_in_first_and_comes_back(one_desk: Desk) -> None:
    desk, nothing = one_desk, Nothing(one_desk.server)
    begun = await desk.begin()
    path = f"/connect/{begun['connection_id']}"
    async with person(desk.running) as ada:
        shown = await ada.open(path)
        assert "Sign in to go on" in shown.words and "Acme" in shown.words and "form_token" not in shown.html
        pressed = await ada.press(shown)
        assert (pressed.status, pressed.location) == (303, to_sign_in(desk, path))
        await nothing.came_of_it(desk)
        link = await invite(desk.running)
        done = await ada.press(await ada.open(f"{link}&next={quote(path)}"))
        assert done.location == desk.running.url + path
        assert "Signed in as ada@example.com" in (await ada.open(path)).words
        landed = await visit(ada.session, await desk.consent(begun["oauth_url"], "alice", session=ada.session))
        assert "Demo is connected" in landed.page
    assert await desk.login() == "alice"


async def test_the_link_of_a_refusal_asks_for_a_member_too(one_desk: Desk) -> None:
    desk, nothing = one_desk, Nothing(one_desk.server)
    link = (await desk.whoami(user="u-2")).json()["action_url"]
    async with person(desk.running) as ada:
        pressed = await ada.press(await ada.open(link))
        assert pressed.location == to_sign_in(desk, link.removeprefix(desk.running.url))
        await nothing.came_of_it(desk)
        # It came back through the sign-in page as a page of ours.
        assert (await ada.open(pressed.location)).status == 200
    async with member(desk) as session:
        await visit(session, await desk.consent(link, "alice", session=session))
    assert await desk.login(user="u-2") == "alice"


# -- T81: cross-user session fixation --------------------------------------------------------------


async def test_t81_the_attackers_link_opened_by_a_victim_who_is_no_member_connects_nobody(desk: Desk) -> None:
    nothing = Nothing(desk.server)
    begun = await desk.begin(user="mallory")
    async with browser() as victim:
        # Our page sends the browser to sign in, and no further.
        with pytest.raises(ConsentFailed):
            await desk.consent(begun["oauth_url"], "alice", session=victim)
    assert (await desk.poll(begun["connection_id"]))["status"] == "pending"
    await nothing.came_of_it(desk)


async def test_t81_a_victim_of_another_org_connects_nobody(desk: Desk) -> None:
    nothing = Nothing(desk.server)
    other = await desk.another_org("Victims Ltd")
    begun = await desk.begin(user="mallory")
    link = (await desk.whoami(user="mallory")).json()["action_url"]
    async with member(desk, "victim", org=other.id) as session:
        victim = Person(running=desk.running, session=session)
        for address in (begun["oauth_url"], link):
            pressed = await victim.press(await victim.open(address))
            assert pressed.status == 403 and "Victims Ltd" in pressed.words
    await nothing.came_of_it(desk)
    assert (await desk.running.ask("GET", "/v1/connections", key=other.live)).json() == {"connections": []}


async def test_t81_the_providers_address_handed_on_is_of_no_use_in_the_victims_browser(desk: Desk) -> None:
    nothing = Nothing(desk.server)
    begun = await desk.begin(user="mallory")
    async with member(desk, "mallory") as hers, member(desk, "victim") as theirs, browser() as nobodys:
        address = await _click(begun["oauth_url"], hers)
        callback = await desk.consent(address, "alice", session=theirs)
        # The victim is a member even, but this is not the browser of the click.
        assert (await visit(theirs, callback)).status == 400
        again = await desk.begin(user="mallory")
        callback = await desk.consent(await _click(again["oauth_url"], hers), "alice", session=nobodys)
        assert (await visit(nobodys, callback)).status == 400
    await nothing.came_of_it(desk)


async def test_t81_a_browser_that_is_signed_out_on_the_way_redeems_nothing(desk: Desk) -> None:
    nothing = Nothing(desk.server)
    begun = await desk.begin()
    async with member(desk) as session:
        callback = await desk.consent(begun["oauth_url"], "alice", session=session)
        await Person(running=desk.running, session=session).sign_out()
        landed = await visit(session, callback)
        assert (landed.status, landed.location) == (303, to_sign_in(desk, f"/connect/{begun['connection_id']}"))
        # The state is used up: not even once they are back.
        await Person(running=desk.running, session=session).sign_in(await invite(desk.running))
        assert (await visit(session, callback)).status == 400
        await nothing.came_of_it(desk)
        # The link still works, from its beginning.
        landed = await visit(session, await desk.consent(begun["oauth_url"], "alice", session=session))
        assert landed.status == 303
    assert await desk.login() == "alice"


async def test_t81_another_orgs_member_in_the_same_browser_redeems_nothing(desk: Desk) -> None:
    nothing = Nothing(desk.server)
    other = await desk.another_org()
    begun = await desk.begin()
    async with member(desk) as session:
        callback = await desk.consent(begun["oauth_url"], "alice", session=session)
        await Person(running=desk.running, session=session).sign_in(
            await invite(desk.running, "eve@example.com", org=other.id)
        )
        landed = await visit(session, callback)
        assert (landed.status, landed.location) == (403, "")
    await nothing.came_of_it(desk)
    assert (await desk.running.ask("GET", "/v1/connections", key=other.live)).json() == {"connections": []}


async def test_t81_a_session_that_is_over_or_made_up_redeems_nothing(one_desk: Desk, clock: HandClock) -> None:
    desk, nothing = one_desk, Nothing(one_desk.server)
    begun = await desk.begin()
    async with member(desk) as session:
        callback = await desk.consent(begun["oauth_url"], "alice", session=session)
        browser_cookie = next(cookie.value for cookie in session.cookie_jar if cookie.key == "skillway_browser")
        for cookie in ("", "A" * 43, browser_cookie):
            again = await desk.begin()
            address = await desk.consent(again["oauth_url"], "alice", session=session)
            cookies = {"skillway_browser": browser_cookie} | ({"skillway_session": cookie} if cookie else {})
            async with aiohttp.ClientSession() as bare:
                async with bare.get(yarl.URL(address, encoded=True), cookies=cookies, allow_redirects=False) as answer:
                    assert answer.status == 303 and "/sign-in?next=" in answer.headers["Location"]
        await suspend(desk.running)
        assert (await visit(session, callback)).status == 403
        await suspend(desk.running, undo=True)
        clock.move(8 * 3600 + 1)
        assert (await visit(session, callback)).status == 400
    await nothing.came_of_it(desk)


async def test_t81_a_key_typed_by_somebody_who_is_no_member_connects_nobody(tmp_path: Path, one_server: Provider) -> None:
    async with serve(KeyedApi()) as api:
        keyed = keyed_definition(api.base_url)
        async with demo(tmp_path, one_server, keyed, verify_connect="session") as desk:
            desk.slug = "keyed"
            begun = await desk.begin(user="mallory")
            async with person(desk.running) as victim:
                # The page does not even ask for it.
                assert "name=\"token\"" not in (await victim.open(begun["oauth_url"])).html
                sent = await victim.send(begun["oauth_url"], {"token": "key-of-alice"})
                assert sent.status == 303 and "/sign-in?next=" in sent.location
                assert "key-of-alice" not in sent.location
            assert api.seen == []
            async with person(desk.running, await invite(desk.running)) as ada:
                shown = await ada.open(begun["oauth_url"])
                done = await ada.press(shown, token="key-of-alice")
                assert done.status == 303
            assert await desk.login(user="mallory") == "alice"


async def test_another_sites_form_in_a_members_browser_connects_nobody(one_desk: Desk) -> None:
    desk, nothing = one_desk, Nothing(one_desk.server)
    begun = await desk.begin()
    link = (await desk.whoami(user="u-2")).json()["action_url"]
    async with person(desk.running, await invite(desk.running)) as ada:
        for address in (begun["oauth_url"], link):
            token = (await ada.open(address)).form().fields["form_token"]
            for fields, headers in (
                ({"form_token": token}, {"Sec-Fetch-Site": "cross-site"}),
                ({"form_token": token}, {"Origin": "https://evil.example"}),
                ({}, OWN_SITE),
                ({"form_token": token[::-1]}, OWN_SITE),
                ({}, {}),
            ):
                sent = await ada.send(address, fields, headers=headers)
                assert (sent.status, sent.location) == (403, ""), headers
    await nothing.came_of_it(desk)


async def test_one_callback_of_many_redeems_the_code(
    tmp_path: Path, one_server: Provider, database_setting: dict[str, Any]
) -> None:
    async with demo(tmp_path, one_server, verify_connect="session", **database_setting) as desk:
        before = one_server.counts()
        begun = await desk.begin()
        async with member(desk) as session:
            callback = await desk.consent(begun["oauth_url"], session=session)
            landed = await asyncio.gather(*(visit(session, callback) for _ in range(20)))
        assert sorted(page.status for page in landed) == [303] + [400] * 19
        assert one_server.counts()["token"] == before["token"] + 1
        assert await desk.login() == "alice"


# -- T84: one OAuth client for several owners ------------------------------------------------------


async def test_t84_separate_owners_are_served_by_session_and_by_their_own_client_alone(
    tmp_path: Path, server: Provider
) -> None:
    async with demo(tmp_path, server, tenancy="separate", verify_connect="session") as desk:
        honest, evil = desk.running.org.id, await desk.another_org("Evil")
        nothing = Nothing(server)
        for key in (desk.running.org.live, evil.live):
            body = {"integration": "demo", "auth": "oauth"}
            refused = await desk.running.ask("POST", "/v1/connect", body=body, key=key)
            assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        words = ("orgs", "set-client", honest, "demo", "--client-id", server.client_id, "--client-secret-stdin")
        code, _, err = await desk.operate(*words, stdin=server.client_secret)
        assert code == 0, err
        code, _, err = await desk.operate("orgs", "set-client", evil.id, "demo", "--client-id", server.client_id)
        assert code == 0, err
        uri = f"{desk.running.url}/oauth/callback/demo.{honest}"
        server.add_redirect_uri(uri)

        # The evil org's own member, in the honest org's name: by the honest redirect URI, with the state of its own flow.
        async with member(desk, "mallory", org=evil.id) as session:
            begun = await desk.begin(key=evil.live)
            with pytest.raises(ConsentFailed):
                await desk.consent(begun["oauth_url"], "alice", session=session)
            begun = await desk.begin(key=evil.live)
            asked = urlsplit(await _click(begun["oauth_url"], session))
            bent = dict(parse_qsl(asked.query)) | {"redirect_uri": uri}
            address = urlunsplit(asked._replace(query=urlencode(bent)))
            callback = await desk.consent(address, "alice", session=session)
            assert callback.startswith(uri + "?") and query_of(callback)["code"]
            assert (await visit(session, callback)).status == 400
            assert (await visit(session, re.sub(honest, evil.id, callback))).status == 400
        await nothing.came_of_it(desk)
        assert (await desk.running.ask("GET", "/v1/connections", key=evil.live)).json() == {"connections": []}

        async with member(desk) as session:
            begun = await desk.begin()
            landed = await visit(session, await desk.consent(begun["oauth_url"], "alice", session=session))
            assert landed.status == 303
        assert await desk.login() == "alice"


async def test_afterwards_the_browser_goes_where_the_org_asked(one_desk: Desk) -> None:
    desk, url = one_desk, "https://app.example.com/connected"
    await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
    begun = await desk.begin(redirect_url=url)
    async with member(desk) as session:
        callback = await desk.consent(begun["oauth_url"], session=session)
        async with session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as answer:
            assert answer.headers["Location"] == f"{url}?connection_id={begun['connection_id']}"
    assert await desk.login() == "alice"
