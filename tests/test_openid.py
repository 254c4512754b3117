"""Signing in at an OpenID provider: a real one, and one that lies; who is let in, and who may make an org."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from gateway.installation import open_installation
from gateway.store.members import SqlMembers
from tests.conftest import lacking
from tests.demo import demo, listening, query_of
from tests.fakes.issuer import CLIENT_ID, FakeIssuer, hostile_tokens, issuer
from tests.fakes.provider import Provider, ProviderUnavailable, available_providers, provider, provider_process
from tests.fakes.upstream import HandClock
from tests.harness import RunningGateway, gateway
from tests.leaks import files, leaks
from tests.people import OWN_SITE, Page, Person, invite, member_of, person, suspend

SCOPES = ("openid", "profile", "email")


@pytest.fixture(scope="module")
def real() -> Iterator[Provider]:
    if "oidc" not in available_providers():
        lacking("the OpenID provider")
    try:
        with provider_process("oidc", scopes=SCOPES) as started:
            yield started
    except ProviderUnavailable as refusal:
        lacking(str(refusal))


@pytest.fixture
async def fake(clock: HandClock) -> AsyncIterator[FakeIssuer]:
    async with issuer(clock) as made:
        yield made


@asynccontextmanager
async def at(folder: Path, server: Provider | FakeIssuer, **more: Any) -> AsyncIterator[RunningGateway]:
    """A gateway whose people sign in at that provider."""
    settings: dict[str, Any]
    if isinstance(server, FakeIssuer):
        settings = {"oidc_issuer": server.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": "s"}
    else:
        settings = {
            "oidc_issuer": server.issuer,
            "oidc_client_id": server.client_id,
            "oidc_client_secret": server.client_secret,
        }
    async with gateway(folder, **settings, **more) as running:
        if isinstance(server, Provider):
            server.add_redirect_uri(f"{running.url}/sign-in/callback")
        yield running


async def begin(somebody: Person, after: str = "") -> str:
    """Presses the button of the sign-in page; where the browser is sent."""
    done = await somebody.press(await somebody.open("/sign-in" + (f"?next={after}" if after else "")))
    assert done.status == 303, done.words
    return done.location


async def come(somebody: Person, server: Provider, login: str = "ada") -> Page:
    """The whole way: button, provider, back."""
    callback = await asyncio.wait_for(server.consent(await begin(somebody), somebody.session, login), 60)
    return await somebody.open(callback)


async def come_by(somebody: Person, fake: FakeIssuer) -> Page:
    return await somebody.open(fake.approve(await begin(somebody)))


# -- a real provider ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_token", [True, False], ids=["claims in the token", "claims from userinfo"])
async def test_an_invited_person_is_known_by_their_verified_address(
    tmp_path: Path, database_setting: dict[str, Any], in_token: bool
) -> None:
    async with provider("oidc", scopes=SCOPES, id_token_claims=in_token) as server:
        async with at(tmp_path, server, **database_setting) as running, person(running) as ada:
            await invite(running, "ada@example.com")
            done = await come(ada, server)
            assert (done.status, done.location) == (303, f"{running.url}/keys")
            assert "Acme" in (await ada.open("/keys")).words
            member = await member_of(running)
            assert (member.issuer, member.subject) == (server.issuer, "ada")
            # Tied to the subject, the address no longer matters: another browser, a second time.
            async with person(running) as again:
                assert (await come(again, server)).location == f"{running.url}/keys"
            audit = (await running.ask("GET", "/v1/events?kind=member")).json()["events"]
            assert [event["type"] for event in audit] == [
                "member.added", "member.link_made", "member.bound", "member.signed_in", "member.signed_in",
            ]  # fmt: skip


async def test_the_request_has_pkce_state_and_nonce_and_the_browser_alone_can_finish_it(
    tmp_path: Path, real: Provider
) -> None:
    async with at(tmp_path, real) as running, person(running) as ada, person(running) as other:
        await invite(running)
        address = await begin(ada, "/device")
        sent = query_of(address)
        assert (sent["scope"], sent["code_challenge_method"]) == ("openid email profile", "S256")
        assert sent["redirect_uri"] == f"{running.url}/sign-in/callback"
        assert len(sent["state"]) == 43 and len(sent["nonce"]) == 43 and sent["nonce"] != sent["state"]
        callback = await real.consent(address, ada.session, "ada")
        before = real.counts()
        # Another browser, with a cookie of its own or with none.
        assert (await other.open(callback)).status == 400
        await begin(other)
        assert (await other.open(callback)).status == 400
        assert real.counts() == before
        # It was tried: it is over for its own browser too.
        assert (await ada.open(callback)).status == 400
        callback = await real.consent(await begin(ada, "/device"), ada.session, "ada")
        done = await asyncio.gather(*(ada.open(callback) for _ in range(10)))
        assert sorted(page.status for page in done) == [303] + [400] * 9
        assert next(page for page in done if page.status == 303).location == f"{running.url}/device"
        assert list(leaks([sent["state"], sent["nonce"], query_of(callback)["code"]], files(running.data_dir))) == []


async def test_a_sign_in_ends_after_ten_minutes(tmp_path: Path, real: Provider, clock: HandClock) -> None:
    async with at(tmp_path, real, clock=clock) as running, person(running) as ada:
        await invite(running)
        callback = await real.consent(await begin(ada), ada.session, "ada")
        clock.move(601)
        assert (await ada.open(callback)).status == 400


async def test_who_was_not_invited_is_told_to_ask(tmp_path: Path, real: Provider) -> None:
    async with at(tmp_path, real) as running, person(running) as bob:
        await invite(running, "ada@example.com")
        page = await come(bob, real, "bob")
        assert page.status == 403 and "invitation" in page.words
        assert "skillway_session" not in bob.cookies
        assert (await bob.open("/keys")).status == 303


async def test_an_address_that_is_not_verified_opens_nobodys_membership(tmp_path: Path) -> None:
    async with provider("oidc", scopes=SCOPES, email_verified=False) as server:
        async with at(tmp_path, server) as running, person(running) as ada:
            await invite(running, "ada@example.com")
            assert (await come(ada, server)).status == 403
            assert (await member_of(running)).subject is None


async def test_who_declines_at_the_provider_is_not_signed_in(tmp_path: Path, real: Provider) -> None:
    async with at(tmp_path, real) as running, person(running) as ada:
        await invite(running)
        callback = await real.consent(await begin(ada), ada.session, "ada", approve=False)
        page = await ada.open(callback)
        assert page.status == 403 and "Access was not granted." in page.words


async def test_a_removed_member_is_nobody_until_invited_again(tmp_path: Path, real: Provider) -> None:
    async with at(tmp_path, real) as running, person(running) as ada:
        await invite(running)
        await come(ada, real)
        first = await member_of(running)
        assert running.services is not None
        async with open_installation(running.services.settings) as opened:
            assert await SqlMembers(opened.database).remove(running.org.id, first.id)
        assert (await ada.open("/keys")).status == 303
        assert (await come(ada, real)).status == 403
        await invite(running)
        assert (await come(ada, real)).status == 303
        assert (await member_of(running)).id != first.id


async def test_a_new_person_makes_an_org_where_they_may(tmp_path: Path, real: Provider, database_setting: dict[str, Any]) -> None:
    settings = {"signup": "oidc", "signup_plan": "free", "plans": {"free": {"api_keys": 2}}, **database_setting}
    async with at(tmp_path, real, **settings) as running, person(running) as eve, person(running) as other:
        arrived = await come(eve, real, "eve")
        assert arrived.location.startswith(f"{running.url}/sign-up?h=")
        shown = await eve.open(arrived.location)
        assert "eve@example.com" in shown.words and shown.status == 200
        # The handle is this browser's alone, and a wrong name does not use it up.
        assert (await other.open(arrived.location)).status == 400
        for name in ("", "  ", "x" * 129, "a\x07b"):
            assert (await eve.press(shown, org_name=name)).status == 400
        assert (await eve.send(arrived.location, {"org_name": "Eve & Co"}, headers=OWN_SITE)).status == 403
        made = await eve.press(shown, org_name="Eve & Co")
        assert (made.status, made.location) == (303, f"{running.url}/keys")
        assert "Eve & Co" in (await eve.open("/keys")).words
        assert (await eve.press(shown, org_name="Again")).status == 400
        member = await member_of(running, "eve@example.com")
        assert member.org != running.org.id and member.subject == "eve"
        # From then on they are known.
        async with person(running) as again:
            assert (await come(again, real, "eve")).location == f"{running.url}/keys"


async def test_a_handle_for_making_an_org_ends_after_ten_minutes(
    tmp_path: Path, real: Provider, clock: HandClock
) -> None:
    async with at(tmp_path, real, signup="oidc", clock=clock) as running, person(running) as eve:
        arrived = await come(eve, real, "eve")
        shown = await eve.open(arrived.location)
        clock.move(601)
        assert (await eve.press(shown, org_name="Late")).status == 400
        assert (await eve.open(arrived.location)).status == 400


# -- a provider that lies ------------------------------------------------------------------------------


async def test_no_hostile_id_token_signs_anybody_in(tmp_path: Path, fake: FakeIssuer, clock: HandClock) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True}
    async with at(tmp_path, fake, clock=clock) as running, person(running) as ada:
        await invite(running)
        for wrong in hostile_tokens(fake):
            address = await begin(ada)
            fake.planned = hostile_tokens(fake, nonce=query_of(address)["nonce"])[wrong]
            page = await ada.open(fake.approve(address))
            assert (page.status, page.location) == (403, ""), wrong
            assert "skillway_session" not in ada.cookies, wrong
        for planned in ("", fake.id_token(), fake.id_token(nonce="other")):
            fake.planned = planned
            assert (await come_by(ada, fake)).status == 403
        assert (await member_of(running)).subject is None
        # And the right one does, else none of this would show anything.
        fake.planned = None
        assert (await come_by(ada, fake)).status == 303


async def test_a_code_is_redeemed_with_its_verifier_and_for_its_own_state_alone(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock
) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True}
    async with at(tmp_path, fake, clock=clock) as running, person(running) as ada:
        await invite(running)
        first, second = await begin(ada), await begin(ada)
        callback = fake.approve(first)
        swapped = callback.replace(query_of(first)["state"], query_of(second)["state"])
        # The code of one flow in another: its nonce is not that one's.
        assert (await ada.open(swapped)).status == 403
        assert "skillway_session" not in ada.cookies
        assert len({form["code_verifier"] for form in fake.token_requests}) == 1
        for query in ("", "code=x", "state=x&code=x", "error=access_denied", "state=&code="):
            assert (await ada.open(f"/sign-in/callback?{query}")).status == 400
        lied = fake.approve(await begin(ada)) + "&iss=https%3A%2F%2Fevil.example"
        asked = len(fake.token_requests)
        assert (await ada.open(lied)).status == 403
        assert len(fake.token_requests) == asked


async def test_what_a_provider_says_is_shown_short_and_inert(tmp_path: Path, fake: FakeIssuer, clock: HandClock) -> None:
    async with at(tmp_path, fake, clock=clock) as running, person(running) as ada:
        tags: list[list[str]] = []
        for text in ("calm", "<script>alert(1)</script>", "\u202eevil" * 100, "</title><img src=x onerror=alert(1)>"):
            state = query_of(await begin(ada))["state"]
            given = urlencode({"state": state, "error": "access_denied", "error_description": text})
            page = await ada.open(f"/sign-in/callback?{given}")
            assert page.status == 403 and "\u202e" not in page.html and len(page.words) < 500
            tags.append(page.tags)
        assert all(one == tags[0] for one in tags)


async def test_a_provider_that_is_down_signs_nobody_in_and_says_so(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock
) -> None:
    async with at(tmp_path, fake, clock=clock) as running, person(running) as ada:
        fake.down = True
        done = await ada.press(await ada.open("/sign-in"))
        assert done.status == 502 and "cannot be reached" in done.words
        fake.down = False
        clock.move(6)
        assert (await begin(ada)).startswith(fake.url)


async def test_a_provider_in_a_network_that_is_not_allowed_is_not_asked(tmp_path: Path, clock: HandClock) -> None:
    async with listening() as origin:
        settings: dict[str, Any] = {"oidc_issuer": origin, "oidc_client_id": "x", "allowed_private_networks": "10.0.0.0/8"}
        async with gateway(tmp_path, clock=clock, **settings) as running, person(running) as ada:
            done = await ada.press(await ada.open("/sign-in"))
            assert done.status == 502


async def test_without_a_provider_nobody_is_sent_to_one(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, person(running) as ada:
        shown = await ada.open(await invite(running))
        token = shown.form().fields["form_token"]
        assert (await ada.send("/sign-in", {"form_token": token})).status == 403


# -- ID tokens in place of keys -------------------------------------------------------------------------


async def test_an_id_token_is_taken_on_the_api_where_the_operator_allows_it(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock, database_setting: dict[str, Any]
) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True, "name": "Ada"}
    async with at(tmp_path, fake, clock=clock, oidc_on_api="on", **database_setting) as running:
        token = fake.id_token()
        assert (await running.ask("GET", "/v1/verify", key=token)).json()["error"] == "forbidden"
        await invite(running, name="Ada Lovelace")
        verified = (await running.ask("GET", "/v1/verify", key=token)).json()
        member = await member_of(running)
        assert verified["org"]["id"] == running.org.id
        assert verified["member"] == {"id": member.id, "email": "ada@example.com", "name": "Ada Lovelace"}
        assert (await running.ask("GET", "/v1/verify", key="", headers={"X-API-Key": token})).status == 200
        listed = (await running.ask("GET", "/v1/skills", key=token)).json()["integrations"]
        assert {one["slug"] for one in listed} >= {"github"}
        begun = await running.ask("POST", "/v1/connect", body={"integration": "overten"}, key=token)
        assert begun.status == 200
        call = await running.call("github", "get_repo", {"repo": "acme/webapp"}, key=token)
        assert call.json()["error"] == "integration_not_connected"
        # It is no key: the routes of keys know it not.
        assert (await running.ask("GET", "/api-keys", key=token)).json()["error"] == "api_key_invalid"


async def test_no_hostile_id_token_is_taken_on_the_api(tmp_path: Path, fake: FakeIssuer, clock: HandClock) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True}
    async with at(tmp_path, fake, clock=clock, oidc_on_api="on") as running:
        await invite(running)
        for wrong, token in hostile_tokens(fake).items():
            if token.strip() and token.isprintable():
                answer = await running.ask("GET", "/v1/verify", key=token)
                assert answer.json()["error"] in ("unauthorized", "api_key_invalid", "bad_request"), wrong
        assert (await running.ask("GET", "/v1/verify", key=fake.id_token())).status == 200


async def test_by_default_an_id_token_is_no_key(tmp_path: Path, fake: FakeIssuer, clock: HandClock) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True}
    async with at(tmp_path, fake, clock=clock) as running:
        await invite(running)
        assert (await running.ask("GET", "/v1/verify", key=fake.id_token())).json()["error"] == "api_key_invalid"
        assert fake.asked == []


async def test_a_suspended_orgs_id_tokens_are_refused(tmp_path: Path, fake: FakeIssuer, clock: HandClock) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True}
    async with at(tmp_path, fake, clock=clock, oidc_on_api="on") as running, person(running) as ada:
        await invite(running)
        await suspend(running)
        refused = await running.ask("GET", "/v1/verify", key=fake.id_token())
        assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        page = await come_by(ada, fake)
        assert page.status == 403 and "suspended" in page.words
        assert parse_qsl(urlsplit(page.location).query) == []


async def test_a_call_by_id_token_is_the_members(
    tmp_path: Path, one_server: Provider, fake: FakeIssuer, clock: HandClock
) -> None:
    fake.claims = {"email": "ada@example.com", "email_verified": True}
    settings: dict[str, Any] = {"oidc_issuer": fake.url, "oidc_client_id": CLIENT_ID, "oidc_on_api": "on"}
    async with demo(tmp_path, one_server, clock=clock, **settings) as desk:
        await invite(desk.running)
        await desk.connect()
        assert await desk.login(key=fake.id_token()) == "alice"
        usage = (await desk.running.ask("GET", "/v1/usage", key=fake.id_token())).json()
        assert [row["api_key"] for row in usage["by_key"]] == [(await member_of(desk.running)).id]


async def test_one_address_sets_out_so_often_an_hour(tmp_path: Path, fake: FakeIssuer, clock: HandClock) -> None:
    async with at(tmp_path, fake, clock=clock) as running, person(running) as ada:
        token = (await ada.open("/sign-in")).form().fields["form_token"]
        done = [(await ada.send("/sign-in", {"form_token": token})).status for _ in range(1003)]
        assert done == [303] * 1000 + [429] * 3
