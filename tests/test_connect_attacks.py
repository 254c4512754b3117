"""What people who want other people's accounts do to a connect flow, step by step over real HTTP.

The rows are those of the threat table. What counts is never our answer alone: the token endpoints of the
honest and of the evil authorization server count what reached them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
import pytest
import yarl
from aiohttp import web

from tests.conftest import lacking
from tests.demo import Definition, Desk, KeyedApi, demo, keyed_definition, listening, query_of, visit
from tests.fakes.provider import (
    ConsentFailed,
    Provider,
    available_providers,
    browser,
    provider,
)
from tests.fakes.upstream import HandClock, serve
from tests.leaks import files, leaks
from tests.people import Person, invite


@dataclass(slots=True, kw_only=True)
class App:
    """The org's own application: it knows who is signed in, and confirms with its key as that person and nobody else."""

    desk: Desk
    url: str = ""
    #: Every confirmation it asked for: who was signed in, and what came back.
    confirmed: list[tuple[str, int, Any]] = field(default_factory=list)

    async def connected(self, request: web.Request) -> web.Response:
        user = request.cookies.get("app_user")
        if user is None:
            return web.Response(text="Please sign in.", status=401)
        given = request.query
        answer = await self.desk.running.ask(
            "POST", f"/v1/connect/{given['connection_id']}/confirm", body={"user": user, "handle": given["handle"]}
        )
        self.confirmed.append((user, answer.status, answer.json()))
        return web.Response(text="done")

    async def begin(self, user: str, **more: Any) -> Any:
        """What the application does when its signed-in user presses "connect"."""
        return await self.desk.begin(user=user, redirect_url=self.url, **more)


@dataclass(slots=True, kw_only=True)
class EvilServer:
    """An authorization server that sends whoever comes on to the honest one, and waits for codes."""

    #: Where it sends a browser that came with these params.
    bounce: Any = None
    issuer: str = ""
    token_requests: list[dict[str, str]] = field(default_factory=list)

    async def authorize(self, request: web.Request) -> web.Response:
        assert self.bounce is not None
        location = self.bounce(dict(request.query))
        return web.Response(status=302, headers={"Location": location})

    async def token(self, request: web.Request) -> web.Response:
        self.token_requests.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response({"access_token": "evil-token", "token_type": "bearer"})

    async def api(self, request: web.Request) -> web.Response:
        return web.json_response({"login": "evil"})

    def definition(self, slug: str = "evil") -> Definition:
        """The integration that a malicious author got into the catalog."""
        return {
            "slug": slug,
            "name": "Useful",
            "description": "Looks useful.",
            "base_url": self.issuer,
            "auth": [
                {
                    "name": "oauth", "type": "oauth2", "title": "OAuth", "authorization_url": f"{self.issuer}/authorize",
                    "token_url": f"{self.issuer}/token", "scopes": {"default": ["read"]},
                }
            ],
            "whoami": {"action": "whoami", "account": "login"},
            "actions": {
                "whoami": {
                    "description": "Says who.", "request": "GET /api/me",
                    "examples": [{"params": {}, "response": {"status": 200, "data": {}}}],
                }
            },
        }


@asynccontextmanager
async def evil_server() -> AsyncIterator[EvilServer]:
    evil = EvilServer()
    routes = (web.get("/authorize", evil.authorize), web.post("/token", evil.token), web.get("/api/me", evil.api))
    async with listening(*routes) as origin:
        evil.issuer = origin
        yield evil


@asynccontextmanager
async def app_of(desk: Desk) -> AsyncIterator[App]:
    """The application of the desk's org, its return URL registered."""
    app = App(desk=desk)
    async with listening(web.get("/connected", app.connected)) as origin:
        app.url = f"{origin}/connected"
        put = await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [app.url]})
        assert put.status == 200, put.body
        yield app


@asynccontextmanager
async def signed_in(user: str, desk: Desk | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """The browser of somebody who is signed in to the org's application, and to ours as a member where that is asked."""
    async with browser() as session:
        session.cookie_jar.update_cookies({"app_user": user}, yarl.URL("http://127.0.0.1/"))
        if desk is not None and desk.environ.get("SKILLWAY_VERIFY_CONNECT") == "session":
            member = Person(running=desk.running, session=session)
            await member.sign_in(await invite(desk.running, f"{user}@example.com"))
        yield session


@pytest.fixture
async def desk(tmp_path: Path, server: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    async with demo(tmp_path, server, clock=clock, verify_connect="redirect") as made:
        yield made


@pytest.fixture
async def app(desk: Desk) -> AsyncIterator[App]:
    async with app_of(desk) as made:
        yield made


@pytest.fixture
async def one_desk(tmp_path: Path, one_server: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    """Under `none`: what holds there holds by the flow alone."""
    async with demo(tmp_path, one_server, clock=clock) as made:
        yield made


class Nothing:
    """Asserts that no code was redeemed and no token given since it was made."""

    def __init__(self, *servers: Provider) -> None:
        self._before = [(server, server.counts()) for server in servers]

    async def came_of_it(self, desk: Desk, evil: EvilServer | None = None) -> None:
        for server, before in self._before:
            after = server.counts()
            assert {name: after[name] for name in ("token", "code", "resource")} == {
                name: before[name] for name in ("token", "code", "resource")
            }
        if evil is not None:
            assert evil.token_requests == []
        assert (await desk.running.ask("GET", "/v1/connections")).json() == {"connections": []}


# -- T81: cross-user session fixation --------------------------------------------------------------


async def test_who_uses_the_link_honestly_is_connected(desk: Desk, app: App) -> None:
    """What the attacks below are measured against."""
    before = desk.server.counts()
    async with signed_in("victim") as session:
        begun = await app.begin("victim")
        callback = await desk.consent(begun["oauth_url"], "alice", session=session)
        assert desk.server.counts()["token"] == before["token"]
        async with session.get(callback) as landed:
            assert (landed.status, await landed.text()) == (200, "done")
    assert [(user, status) for user, status, _ in app.confirmed] == [("victim", 200)]
    assert app.confirmed[0][2] == {"status": "connected", "integration": "demo", "user": "victim", "account": "alice"}
    assert desk.server.counts()["code"] == before["code"] + 1
    assert await desk.login(user="victim") == "alice"


async def test_t81_the_attackers_link_opened_by_the_victim_connects_nobody(desk: Desk, app: App) -> None:
    nothing = Nothing(desk.server)
    # 1. Mallory, a user of the same application, begins a flow. 2. She sends its link to the victim.
    begun = await app.begin("mallory")
    # 3. The victim, signed in to the application, opens it, agrees at the provider, and comes back.
    async with signed_in("victim") as session:
        callback = await desk.consent(begun["oauth_url"], "alice", session=session)
        async with session.get(callback) as landed:
            assert landed.status == 200
    # 4. The application confirms as the one who is signed in: not the one who began.
    assert [(user, status) for user, status, _ in app.confirmed] == [("victim", 403)]
    # 5. Mallory polls, and tries to finish it in her own session.
    polled = await desk.poll(begun["connection_id"])
    assert (polled["status"], polled["error"]) == ("error", "forbidden")
    async with signed_in("mallory") as session:
        async with session.get(f"{app.url}?connection_id={begun['connection_id']}&handle=guess") as landed:
            assert landed.status == 200
    assert app.confirmed[-1][1] == 400
    assert (await desk.whoami(user="mallory")).json()["error"] == "integration_not_connected"
    await nothing.came_of_it(desk)


async def test_t81_a_victim_who_is_not_signed_in_to_the_app_confirms_nothing(
    desk: Desk, app: App, clock: HandClock
) -> None:
    nothing = Nothing(desk.server)
    begun = await app.begin("mallory")
    async with browser() as session:
        async with session.get(await desk.consent(begun["oauth_url"], "alice", session=session)) as landed:
            assert landed.status == 401
    assert await desk.poll(begun["connection_id"]) == {
        "status": "pending", "detail": "awaiting_confirmation", "integration": "demo", "user": "mallory",
    }
    clock.move(601)
    assert (await desk.poll(begun["connection_id"]))["error"] == "flow_expired"
    await nothing.came_of_it(desk)


async def test_t81_the_providers_address_handed_on_is_of_no_use_in_the_victims_browser(desk: Desk, app: App) -> None:
    nothing = Nothing(desk.server)
    begun = await app.begin("mallory")
    async with signed_in("mallory") as hers, signed_in("victim") as theirs:
        # Mallory clicks herself, so that the cookie is hers, and passes on where it led.
        address = await _click(begun["oauth_url"], hers)
        callback = await desk.consent(address, "alice", session=theirs)
        assert (await visit(theirs, callback)).status == 400
        # Nor once the victim's browser has a cookie of ours by a flow of its own.
        own = await app.begin("victim")
        await _click(own["oauth_url"], theirs)
        again = await app.begin("mallory")
        callback = await desk.consent(await _click(again["oauth_url"], hers), "alice", session=theirs)
        assert (await visit(theirs, callback)).status == 400
    assert app.confirmed == []
    await nothing.came_of_it(desk)


async def test_t81_the_link_of_a_refusal_is_confirmed_as_well(desk: Desk, app: App) -> None:
    nothing = Nothing(desk.server)
    link = (await desk.whoami(user="mallory")).json()["action_url"]
    async with signed_in("victim") as session:
        async with session.get(await desk.consent(link, "alice", session=session)) as landed:
            assert landed.status == 200
    assert [(user, status) for user, status, _ in app.confirmed] == [("victim", 403)]
    await nothing.came_of_it(desk)
    link = (await desk.whoami(user="victim")).json()["action_url"]
    async with signed_in("victim") as session:
        async with session.get(await desk.consent(link, "alice", session=session)) as landed:
            assert landed.status == 200
    assert await desk.login(user="victim") == "alice"


async def test_t81_a_key_typed_by_the_victim_waits_for_the_same_proof(tmp_path: Path, one_server: Provider) -> None:
    async with serve(KeyedApi()) as api:
        async with demo(tmp_path, one_server, keyed_definition(api.base_url), verify_connect="redirect") as desk:
            desk.slug = "keyed"
            async with app_of(desk) as app:
                for user, status in (("mallory", 403), ("victim", 200)):
                    begun = await app.begin(user)
                    async with signed_in("victim") as session:
                        typed = {"token": "key-of-alice"}
                        async with session.post(begun["oauth_url"], data=typed, allow_redirects=False) as clicked:
                            assert clicked.status == 303
                            assert "key-of-alice" not in clicked.headers["Location"]
                            back = clicked.headers["Location"]
                        assert api.seen == []
                        async with session.get(back) as landed:
                            assert landed.status == 200
                    assert app.confirmed[-1][:2] == ("victim", status)
                assert await desk.login(user="victim") == "alice"
                assert (await desk.whoami(user="mallory")).json()["error"] == "integration_not_connected"


# -- T82: cross-application OAuth account takeover -------------------------------------------------


@asynccontextmanager
async def two_integrations(
    folder: Path, server: Provider, evil: EvilServer, *, verify_connect: str = "none"
) -> AsyncIterator[Desk]:
    """`demo` on the honest server and `evil` on the other; the victim connects the latter."""
    async with demo(folder, server, evil.definition(), clients={"evil": CLIENT}, verify_connect=verify_connect) as desk:
        yield desk


CLIENT = {"client_id": "gateway-at-evil", "client_secret": "secret-at-evil"}


@pytest.mark.parametrize("verify", ["none", "redirect", "session"])
async def test_t82_an_evil_server_that_sends_the_browser_to_the_honest_one_gets_no_code(
    tmp_path: Path, server: Provider, verify: str
) -> None:
    async with evil_server() as evil, AsyncExitStack() as stack:
        desk = await stack.enter_async_context(two_integrations(tmp_path, server, evil, verify_connect=verify))
        app = await stack.enter_async_context(app_of(desk))
        nothing = Nothing(server)
        honest = f"{desk.running.url}/oauth/callback/demo"
        seen: list[dict[str, str]] = []

        def bounce(asked: Mapping[str, str]) -> str:
            # 3. Our state and challenge, the honest client, the honest redirect URI.
            seen.append(dict(asked))
            kept = {name: asked[name] for name in ("state", "code_challenge", "code_challenge_method")}
            sent = {"response_type": "code", "client_id": server.client_id, "redirect_uri": honest, "scope": "read"}
            return f"{server.authorization_url}?{urlencode(sent | kept)}"

        evil.bounce = bounce
        desk.slug = "evil"
        async with signed_in("victim", desk) as session:
            # 1. The victim connects the useful looking integration. 2. The browser goes to its server.
            begun = await app.begin("victim")
            # 4. The honest server knows its client and the victim, and gives a code.
            callback = await desk.consent(begun["oauth_url"], "alice", session=session)
            assert callback.startswith(honest + "?")
            assert query_of(callback)["code"]
            assert query_of(callback)["state"] == seen[0]["state"]
            # 5. It comes back with the evil flow's state: 6. no code goes to the evil token endpoint.
            landed = await visit(session, callback)
            assert (landed.status, landed.location) == (400, "")
            # Nor to its own context afterwards.
            moved = callback.replace("/callback/demo", "/callback/evil")
            assert (await visit(session, moved)).status == 400
        polled = await desk.poll(begun["connection_id"])
        assert (polled["status"], polled["error"]) == ("error", "flow_expired")
        assert app.confirmed == []
        await nothing.came_of_it(desk, evil)


async def test_t82_the_evil_integrations_own_redirect_uri_is_unknown_to_the_honest_server(
    tmp_path: Path, server: Provider
) -> None:
    async with evil_server() as evil, AsyncExitStack() as stack:
        desk = await stack.enter_async_context(two_integrations(tmp_path, server, evil, verify_connect="redirect"))
        app = await stack.enter_async_context(app_of(desk))
        nothing = Nothing(server)
        evil.bounce = lambda asked: f"{server.authorization_url}?{urlencode({**asked, 'client_id': server.client_id})}"
        desk.slug = "evil"
        async with signed_in("victim") as session:
            begun = await app.begin("victim")
            with pytest.raises(ConsentFailed):
                await desk.consent(begun["oauth_url"], "alice", session=session)
        await nothing.came_of_it(desk, evil)


async def test_t82_the_evil_integration_works_where_it_is_honest(tmp_path: Path, one_server: Provider) -> None:
    """Else the tests above would show nothing."""
    async with evil_server() as evil, two_integrations(tmp_path, one_server, evil) as desk:
        evil.bounce = lambda asked: f"{asked['redirect_uri']}?{urlencode({'code': 'c', 'state': asked['state']})}"
        desk.slug = "evil"
        begun = await desk.begin()
        async with browser() as session:
            address = await _click(begun["oauth_url"], session)
            async with session.get(address, allow_redirects=False) as bounced:
                callback = bounced.headers["Location"]
            assert (await visit(session, callback)).status == 303
        assert [request["code"] for request in evil.token_requests] == ["c"]
        assert await desk.login() == "evil"


# -- T83: cross-application OAuth request forgery --------------------------------------------------


@pytest.mark.parametrize("verify", ["none", "redirect", "session"])
async def test_t83_a_code_brought_to_another_context_is_not_redeemed(
    tmp_path: Path, server: Provider, verify: str
) -> None:
    async with evil_server() as evil, AsyncExitStack() as stack:
        desk = await stack.enter_async_context(two_integrations(tmp_path, server, evil, verify_connect=verify))
        app = await stack.enter_async_context(app_of(desk))
        nothing = Nothing(server)
        org = desk.running.org.id
        async with signed_in("victim", desk) as session:
            for context in ("evil", f"demo.{org}", f"evil.{org}", "demo.", "Demo", "demo%20", "dem%6F.", "demo%2E", "x"):
                begun = await app.begin("victim")
                callback = await desk.consent(begun["oauth_url"], "alice", session=session)
                swapped = callback.replace("/oauth/callback/demo?", f"/oauth/callback/{context}?")
                assert swapped != callback
                assert (await visit(session, swapped)).status == 400, context
                # Found out once, the flow is over in its own context too.
                assert (await visit(session, callback)).status == 400, context
        assert app.confirmed == []
        await nothing.came_of_it(desk, evil)


@pytest.mark.parametrize("verify", ["none", "redirect", "session"])
async def test_t83_the_attackers_code_in_the_victims_flow_connects_nobody(
    tmp_path: Path, server: Provider, verify: str
) -> None:
    """The evil server knows the state of the victim's flow with it, and brings a code of its own account."""
    async with evil_server() as evil, AsyncExitStack() as stack:
        desk = await stack.enter_async_context(two_integrations(tmp_path, server, evil, verify_connect=verify))
        app = await stack.enter_async_context(app_of(desk))
        async with signed_in("mallory", desk) as hers:
            own = await app.begin("mallory")
            attackers = query_of(await desk.consent(own["oauth_url"], "mallory", session=hers))
        nothing = Nothing(server)
        honest = f"{desk.running.url}/oauth/callback/demo"

        def bounce(asked: Mapping[str, str]) -> str:
            return f"{honest}?{urlencode({**attackers, 'state': asked['state']})}"

        evil.bounce = bounce
        desk.slug = "evil"
        async with signed_in("victim", desk) as session:
            begun = await app.begin("victim")
            address = await _click(begun["oauth_url"], session)
            async with session.get(address, allow_redirects=False) as bounced:
                forged = bounced.headers["Location"]
            assert (await visit(session, forged)).status == 400
        assert app.confirmed == []
        await nothing.came_of_it(desk, evil)


async def test_t83_the_attackers_whole_callback_is_refused_in_the_victims_browser(desk: Desk, app: App) -> None:
    nothing = Nothing(desk.server)
    async with signed_in("mallory") as hers, signed_in("victim") as theirs:
        own = await app.begin("mallory")
        callback = await desk.consent(own["oauth_url"], "mallory", session=hers)
        victims = await app.begin("victim")
        await _click(victims["oauth_url"], theirs)
        assert (await visit(theirs, callback)).status == 400
        # The victim's own flow is untouched by it.
        assert (await desk.poll(victims["connection_id"]))["status"] == "pending"
    await nothing.came_of_it(desk)


# -- T84: one OAuth client for several owners ------------------------------------------------------


async def test_t84_an_installation_wide_client_serves_nobody_where_owners_differ(tmp_path: Path, server: Provider) -> None:
    async with demo(tmp_path, server, tenancy="separate", verify_connect="redirect") as desk:
        nothing = Nothing(server)
        other = await desk.another_org()
        for key in (desk.running.org.live, other.live):
            refused = await desk.running.ask("POST", "/v1/connect", body={"integration": "demo", "auth": "oauth"}, key=key)
            assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        await nothing.came_of_it(desk)


async def test_t84_another_owner_cannot_use_an_orgs_client(tmp_path: Path, server: Provider) -> None:
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(demo(tmp_path, server, tenancy="separate", verify_connect="redirect"))
        app = await stack.enter_async_context(app_of(desk))
        honest, evil = desk.running.org.id, await desk.another_org("Evil")
        code, _, err = await desk.operate(
            "orgs", "set-client", honest, "demo", "--client-id", server.client_id, "--client-secret-stdin",
            stdin=server.client_secret,
        )
        assert code == 0, err
        uri = f"{desk.running.url}/oauth/callback/demo.{honest}"
        server.add_redirect_uri(uri)
        nothing = Nothing(server)

        # Without a client of its own: nothing to begin with.
        refused = await desk.running.ask("POST", "/v1/connect", body={"integration": "demo", "auth": "oauth"}, key=evil.live)
        assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        assert honest not in refused.body.decode()

        # With the honest org's client id, which is no secret: the provider knows another redirect URI.
        code, _, err = await desk.operate("orgs", "set-client", evil.id, "demo", "--client-id", server.client_id)
        assert code == 0, err
        await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [app.url]}, key=evil.live)
        async with signed_in("victim") as session:
            begun = await desk.begin(key=evil.live)
            with pytest.raises(ConsentFailed):
                await desk.consent(begun["oauth_url"], "alice", session=session)

            # By the honest org's redirect URI, with the state of its own flow.
            begun = await desk.begin(key=evil.live)
            asked = urlsplit(await _click(begun["oauth_url"], session))
            bent = dict(parse_qsl(asked.query)) | {"redirect_uri": uri}
            address = urlunsplit(asked._replace(query=urlencode(bent)))
            callback = await desk.consent(address, "alice", session=session)
            assert callback.startswith(uri + "?")
            assert (await visit(session, callback)).status == 400
            # And carried over to its own context by hand: a flow that was found out is over.
            assert (await visit(session, callback.replace(honest, evil.id))).status == 400
        assert app.confirmed == []
        await nothing.came_of_it(desk)
        assert (await desk.running.ask("GET", "/v1/connections", key=evil.live)).json() == {"connections": []}

        # The honest org itself is served.
        async with signed_in("victim") as session:
            begun = await app.begin("victim")
            async with session.get(await desk.consent(begun["oauth_url"], "alice", session=session)) as landed:
                assert landed.status == 200
        assert await desk.login(user="victim") == "alice"


# -- T85: whose answer it is -----------------------------------------------------------------------


@pytest.mark.parametrize("told", [False, "http://127.0.0.1:1"], ids=["missing", "another"])
@pytest.mark.parametrize("kind", ["oidc", "dot"])
async def test_t85_an_answer_without_the_issuers_name_or_with_another_is_not_believed(
    tmp_path: Path, kind: str, told: bool | str
) -> None:
    if kind not in available_providers():
        lacking(f"the OAuth server {kind!r}")
    async with provider(kind, iss=told) as server, demo(tmp_path, server) as desk:
        nothing = Nothing(server)
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        assert query_of(callback)["code"]
        await desk.come_back(callback)
        polled = await desk.poll(begun["connection_id"])
        assert (polled["status"], polled["error"]) == ("error", "issuer_mismatch")
        await nothing.came_of_it(desk)


async def test_t85_the_issuer_is_compared_exactly_and_in_errors_too(one_desk: Desk) -> None:
    nothing, desk = Nothing(one_desk.server), one_desk
    issuer = desk.server.issuer
    port = urlsplit(issuer).port
    spellings = [
        issuer + "/", issuer.upper(), issuer.replace("127.0.0.1", "localhost"), f"https://127.0.0.1:{port}", "", "null",
        issuer + "#", issuer + "?", f" {issuer}", issuer.replace("127.0.0.1", "127.1"), issuer + "\x00",
    ]
    for answer in ({"code": "a-code"}, {"error": "access_denied"}):
        for iss in [None, *spellings]:
            begun = await desk.begin()
            state = query_of(await _click(begun["oauth_url"], desk.session))["state"]
            given = {**answer, "state": state} | ({} if iss is None else {"iss": iss})
            await visit(desk.session, f"{desk.running.url}/oauth/callback/demo?{urlencode(given)}")
            polled = await desk.poll(begun["connection_id"])
            assert (polled["status"], polled["error"]) == ("error", "issuer_mismatch"), iss
    await nothing.came_of_it(desk)


async def test_t85_a_param_that_comes_twice_is_nobodys(one_desk: Desk) -> None:
    nothing, desk = Nothing(one_desk.server), one_desk
    for twice in ("code", "iss", "error"):
        begun = await desk.begin()
        state = query_of(await _click(begun["oauth_url"], desk.session))["state"]
        given = [("state", state), ("iss", desk.server.issuer), ("code", "a"), (twice, "b"), (twice, "c")]
        await visit(desk.session, f"{desk.running.url}/oauth/callback/demo?{urlencode(given)}")
        assert (await desk.poll(begun["connection_id"]))["error"] == "invalid_callback", twice
    await nothing.came_of_it(desk)


# -- T86, T87, T88: state ----------------------------------------------------------------------------


async def test_t86_a_state_that_is_missing_guessed_or_cut_finds_no_flow(one_desk: Desk) -> None:
    nothing, desk = Nothing(one_desk.server), one_desk
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    good = query_of(callback)
    state = good["state"]
    swapped = state[:10] + ("A" if state[10] != "A" else "B") + state[11:]
    for wrong in (
        None, "", state[:-1], state[1:], state + "A", swapped, state.swapcase(), "A" * 43, "null", "%00", "'--",
        state + "\x00", " " + state, state + "=", "é" * 43, "x" * 10_000,
    ):
        given = {name: value for name, value in good.items() if name != "state"} | ({} if wrong is None else {"state": wrong})
        landed = await visit(desk.session, f"{desk.running.url}/oauth/callback/demo?{urlencode(given)}")
        assert landed.status == 400, wrong
        assert landed.location == ""
    # T95: an error without a valid state changes nothing.
    for query in ("error=access_denied", "error=access_denied&state=", f"error=access_denied&state={swapped}"):
        assert (await visit(desk.session, f"{desk.running.url}/oauth/callback/demo?{query}")).status == 400
    await nothing.came_of_it(desk)
    assert await desk.poll(begun["connection_id"]) == {"status": "pending", "integration": "demo", "user": "default"}
    assert (await desk.come_back(callback)).status == 303
    assert (await desk.poll(begun["connection_id"]))["status"] == "connected"


async def test_t86_another_browser_or_none_redeems_nothing(one_desk: Desk) -> None:
    nothing, desk = Nothing(one_desk.server), one_desk
    async with browser() as other:
        await _click((await desk.begin(user="other"))["oauth_url"], other)
        own = {cookie.key: cookie.value for cookie in other.cookie_jar}
    for cookies in ({}, own, {"skillway_browser": "A" * 43}, {"skillway_browser": ""}, {"skillway_browser": "x"}):
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        async with aiohttp.ClientSession() as bare:
            async with bare.get(yarl.URL(callback, encoded=True), cookies=cookies, allow_redirects=False) as answer:
                assert answer.status == 400, cookies
        # Somebody has the state: the flow is over for its own browser as well.
        assert (await desk.come_back(callback)).status == 400
        assert (await desk.poll(begun["connection_id"]))["error"] == "flow_expired"
    await nothing.came_of_it(desk)


async def test_t87_fifty_callbacks_at_once_redeem_one_code(
    tmp_path: Path, one_server: Provider, database_setting: dict[str, str]
) -> None:
    async with demo(tmp_path, one_server, **_settings(database_setting)) as desk:
        before = one_server.counts()
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        landed = await asyncio.gather(*(visit(desk.session, callback) for _ in range(50)))
        assert sorted(page.status for page in landed) == [303] + [400] * 49
        assert one_server.counts()["token"] == before["token"] + 1
        assert (await desk.poll(begun["connection_id"]))["status"] == "connected"
        assert (await visit(desk.session, callback)).status == 400
        assert one_server.counts()["token"] == before["token"] + 1
        assert await desk.login() == "alice"


async def test_t87_fifty_confirmations_at_once_redeem_one_code(
    tmp_path: Path, one_server: Provider, database_setting: dict[str, str]
) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect", **_settings(database_setting)) as desk:
        begun, handle = await _parked(desk)
        before = one_server.counts()
        answers = await asyncio.gather(*(_confirm(desk, begun, "default", handle) for _ in range(50)))
        assert sorted(status for status, _ in answers) == [200] + [400] * 49
        assert one_server.counts()["token"] == before["token"] + 1
        assert await desk.login() == "alice"


async def test_t88_a_callback_after_ten_minutes_is_too_late(one_desk: Desk, clock: HandClock) -> None:
    nothing, desk = Nothing(one_desk.server), one_desk
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    clock.move(601)
    assert (await desk.come_back(callback)).status == 400
    assert (await desk.poll(begun["connection_id"]))["error"] == "flow_expired"
    # Setting the clock back does not bring it back to life for long: it was never redeemed.
    await nothing.came_of_it(desk)


# -- T89, T90, T92: what is written where ------------------------------------------------------------


async def test_t89_the_state_says_nothing_and_the_verifier_is_written_nowhere(tmp_path: Path, one_server: Provider) -> None:
    async with demo(tmp_path, one_server) as desk:
        states, urls = set(), []
        for _ in range(3):
            begun = await desk.begin()
            address = await _click(begun["oauth_url"], desk.session)
            callback = await desk.consent(begun["oauth_url"])
            urls += [begun["oauth_url"], address, callback]
            sent = query_of(callback)["state"]
            states.add(sent)
            assert re.fullmatch(r"[\w-]{43}", sent)
            raw = base64.urlsafe_b64decode(sent + "=")
            assert len(raw) == 32
            for known in (begun["connection_id"], desk.running.org.id, "demo", "default"):
                assert known.encode() not in raw
            with pytest.raises(ValueError):
                json.loads(raw)
            pending = list(files(desk.running.data_dir))
            assert (await desk.come_back(callback)).status == 303
        assert len(states) == 3
        forms = [query_of("?" + seen["body"]) for seen in one_server.requests() if "code_verifier=" in seen["body"]][-3:]
        secrets = [value for form in forms for value in (form["code_verifier"], form["code"])]
        places = [*pending, *files(desk.running.data_dir), *(("a URL", url.encode()) for url in urls)]
        verifiers = [form["code_verifier"] for form in forms]
        assert list(leaks(verifiers, places)) == []
        assert list(leaks([*secrets, *states], [*pending, *files(desk.running.data_dir)])) == []


async def test_t90_only_the_click_gives_a_cookie(one_desk: Desk) -> None:
    desk = one_desk
    begun = await desk.begin()
    async with browser() as session:
        for path in (begun["oauth_url"], f"{desk.running.url}/connect/none", (await desk.whoami()).json()["action_url"]):
            assert "Set-Cookie" not in (await visit(session, path)).headers
        async with session.post(begun["oauth_url"], allow_redirects=False) as clicked:
            assert clicked.status == 303
            (cookie,) = clicked.headers.getall("Set-Cookie")
    name, _, rest = cookie.partition("=")
    assert name == "skillway_browser"
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    assert not any(part.startswith("domain") for part in attributes)
    assert "secure" not in attributes


async def test_t90_behind_https_the_cookie_is_of_this_host_alone(tmp_path: Path, one_server: Provider) -> None:
    async with demo(tmp_path, one_server, public_url="https://gateway.example.com") as desk:
        begun = await desk.begin()
        assert begun["oauth_url"].startswith("https://gateway.example.com/connect/")
        local = begun["oauth_url"].replace("https://gateway.example.com", desk.running.url)
        async with desk.session.post(local, allow_redirects=False) as clicked:
            sent = query_of(clicked.headers["Location"])
            assert sent["redirect_uri"] == "https://gateway.example.com/oauth/callback/demo"
            (cookie,) = clicked.headers.getall("Set-Cookie")
        assert cookie.startswith("__Host-skillway_browser=")
        assert "Secure" in cookie
        # A plainly named one, which another host could have set, counts for nothing.
        value = cookie.partition("=")[2].partition(";")[0]
        back = f"{desk.running.url}/oauth/callback/demo?{urlencode({'code': 'c', 'state': sent['state']})}"
        async with aiohttp.ClientSession() as bare:
            async with bare.get(back, cookies={"skillway_browser": value}, allow_redirects=False) as answer:
                assert answer.status == 400


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "Cross-Site"},
]


async def test_t90_another_site_cannot_press_the_button(one_desk: Desk) -> None:
    desk = one_desk
    begun = await desk.begin()
    link = (await desk.whoami(user="u-2")).json()["action_url"]
    for url in (begun["oauth_url"], link):
        for headers in FOREIGN:
            async with desk.session.post(url, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 403, headers
                assert "Set-Cookie" not in answer.headers
        for content_type in ("text/plain", "multipart/form-data; boundary=x", "application/json"):
            async with desk.session.post(
                url, data=b"a=b", headers={"Content-Type": content_type}, allow_redirects=False
            ) as answer:
                assert answer.status == 415, content_type
    own = {"Origin": desk.running.url, "Sec-Fetch-Site": "same-origin"}
    # With `no-referrer` a browser calls its own origin null.
    for headers in (own, own | {"Origin": "null"}, {}):
        async with desk.session.post(begun["oauth_url"], headers=headers, allow_redirects=False) as answer:
            assert answer.status == 303, headers


async def test_t92_the_callback_leaves_no_code_in_an_address_a_referrer_or_a_cache(desk: Desk, app: App) -> None:
    begun = await app.begin("victim")
    callback = await desk.consent(begun["oauth_url"], "alice")
    code, state = query_of(callback)["code"], query_of(callback)["state"]
    async with desk.session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as answer:
        assert answer.status == 303
        parts = urlsplit(answer.headers["Location"])
        assert set(dict(parse_qsl(parts.query))) == {"connection_id", "handle"}
        assert code not in answer.headers["Location"]
        assert state not in answer.headers["Location"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert code not in await answer.text()
    refused = await visit(desk.session, callback)
    assert refused.status == 400
    assert refused.headers["Referrer-Policy"] == "no-referrer"
    assert refused.headers["Cache-Control"] == "no-store"
    for told in (code, state):
        assert told not in refused.page


# -- T93: where a browser may be sent --------------------------------------------------------------

#: A few of each kind, for where the shared list is not at hand.
TARGETS = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example", "https:/evil.example",
    "https:///evil.example", "https://app.example.com@evil.example", "https://app.example.com:443@evil.example",
    "https://evil.example\\.app.example.com", "https://evil.example%00.app.example.com", "javascript:alert(1)",
    "java\tscript:alert(1)", "data:text/html,x", "http://evil.example", "HTTPS://evil.example\n", "https://e%76il.example",
    " https://evil.example", "https://evil.example ", "https://[::1", "https://app.example.com:99999", "https://",
    "/%09/evil.example", "/%2f%2fevil.example", "//%5cevil.example", "https://ｅvil.example", "https://evil。example",
    "ftp://evil.example", "file:///etc/passwd", "https://app.example.com#@evil.example", "https://app.example.com<script>",
    "http://127.0.0.1.evil.example", "http://localhost@evil.example", "http://127.0.0.1\\@evil.example", ".evil.example",
    "@evil.example", ":evil@evil.example",
]


async def test_t93_nothing_that_leads_elsewhere_is_a_return_address(one_desk: Desk) -> None:
    await _no_open_redirect(one_desk, TARGETS)


@pytest.mark.shared
async def test_t93_nothing_on_the_list_of_open_redirects_is_a_return_address(one_desk: Desk, shared: Path) -> None:
    lines = (shared / "hostile" / "open-redirects.txt").read_text(encoding="utf-8").splitlines()
    targets = [line for line in lines if line]
    assert len(targets) >= 550
    await _no_open_redirect(one_desk, targets)


async def _no_open_redirect(desk: Desk, targets: list[str]) -> None:
    registered = "https://app.example.com/done"
    put = await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [registered]})
    assert put.status == 200
    for target in targets:
        for wanted in (target, registered + target, "https://app.example.com" + target, registered + "/.." + target):
            body = {"integration": "demo", "redirect_url": wanted}
            answer = await desk.running.ask("POST", "/v1/connect", body=body)
            assert (answer.status, answer.json()["error"]) == (400, "bad_request"), wanted
    for target in targets:
        for wanted in (target, "https://app.example.com" + target):
            put = await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [wanted]})
            if put.status == 200:
                assert _is_plain(wanted), wanted
            else:
                assert (put.status, put.json()["error"]) == (400, "bad_request"), wanted
    now = (await desk.running.ask("GET", "/v1/org/redirect-urls")).json()["redirect_urls"]
    assert all(_is_plain(url) for url in now)


def _is_plain(url: str) -> bool:
    """Whether browsers and every parser go to the host that stands there, by https or to this machine."""
    match = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[::1\])(:[0-9]{1,5})?(/[!-~]*|\?[!-~]*)?", url, re.IGNORECASE)
    if match is None or re.search(r"[\\<>\"^`{|}#]", url):
        return False
    host = match[2].lower()
    same = urlsplit(url).hostname == host.strip("[]") == (yarl.URL(url).host or "").lower()
    return same and (match[1] == "https" or host in ("127.0.0.1", "localhost", "[::1]"))


async def test_t93_only_strings_and_not_too_many_are_return_addresses(one_desk: Desk) -> None:
    wrong: list[Any] = [[1], [None], "https://a.example", ["https://a.example"] * 21, [["https://a.example"]], {}]
    for urls in wrong:
        answer = await one_desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": urls})
        assert (answer.status, answer.json()["error"]) == (400, "bad_request"), urls
    for url in ("https://a.example/x?y=1", "http://127.0.0.1:3000/back", "http://localhost/b", "http://[::1]:9/"):
        answer = await one_desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
        assert answer.status == 200, url


# -- T94: what others write onto our pages -----------------------------------------------------------

TEXTS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "'-alert(1)-'", "{{7*7}}",
    "{% raw %}", "javascript:alert(1)", "</style><script>alert(1)</script>", "\u202eevil", "a\x00b\x1b[31mc", "<" * 1000,
    "&lt;script&gt;", "é" * 300, "\ud800".encode("utf-16", "surrogatepass").hex(),
]


async def test_t94_what_a_provider_writes_is_shown_short_and_inert(one_desk: Desk) -> None:
    await _inert(one_desk, TEXTS)


@pytest.mark.shared
async def test_t94_no_naughty_string_of_a_provider_is_alive_on_our_page(one_desk: Desk, shared: Path) -> None:
    naughty = json.loads((shared / "hostile" / "naughty-strings.json").read_text(encoding="utf-8"))
    texts = [text for text in naughty if text]
    assert len(texts) >= 500
    # In both places at once: five hundred flows are enough of a wait.
    await _inert(one_desk, texts, places=1)


async def _inert(desk: Desk, texts: list[str], *, places: int = 2) -> None:
    calm = await _error_page(desk, {"error": "access_denied", "error_description": "calm"})
    for text in texts:
        alone, both = {"error": "access_denied", "error_description": text}, {"error": text, "error_description": text}
        for given in (both, alone)[:places]:
            page, polled = await _error_page(desk, given)
            # The same tags as on a page without any of it: nothing opened, nothing closed.
            assert _tags(page) == _tags(calm[0]), text
            assert polled["status"] == "error"
            assert len(polled["message"]) < 400
            assert not re.search(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", polled["message"]), text
            assert re.fullmatch(r"[a-z_]{3,40}", polled["error"])


async def _error_page(desk: Desk, given: Mapping[str, str]) -> tuple[str, Any]:
    begun = await desk.begin()
    state = query_of(await _click(begun["oauth_url"], desk.session))["state"]
    query = urlencode({**given, "state": state, "iss": desk.server.issuer}, errors="surrogatepass")
    landed = await visit(desk.session, f"{desk.running.url}/oauth/callback/demo?{query}")
    assert landed.status == 303
    return landed.page, await desk.poll(begun["connection_id"])


def _tags(page: str) -> list[str]:
    return re.findall(r"<[^>]*>?", page)


# -- T101, T102 and the confirmation -----------------------------------------------------------------


async def test_t102_no_answer_of_a_flow_holds_state_code_handle_or_token(desk: Desk, app: App) -> None:
    told: list[tuple[str, bytes]] = []

    async def look(path: str) -> None:
        answer = await desk.running.ask("GET", path)
        told.append((path, answer.body + str(answer.headers).encode()))

    begun = await app.begin("default")
    told.append(("begin", json.dumps(begun).encode()))
    paths = (f"/v1/connect/{begun['connection_id']}", f"/v1/connections/{begun['connection_id']}", "/v1/connections")
    callback = await desk.consent(begun["oauth_url"])
    for path in paths:
        await look(path)
    async with desk.session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as parked:
        handle = query_of(parked.headers["Location"])["handle"]
    for path in paths:
        await look(path)
    assert (await _confirm(desk, begun, "default", handle))[0] == 200
    for path in paths:
        await look(path)
    assert await desk.login() == "alice"
    seen = desk.server.requests()
    tokens = [one["headers"]["authorization"].removeprefix("Bearer ") for one in seen if one["path"] == "/api/me"]
    verifier = [query_of("?" + one["body"])["code_verifier"] for one in seen if "code_verifier=" in one["body"]]
    secrets = [query_of(callback)["code"], query_of(callback)["state"], handle, tokens[-1], verifier[-1]]
    assert list(leaks(secrets, told)) == []


async def test_a_confirmation_takes_the_right_user_and_handle_once(one_server: Provider, tmp_path: Path) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect") as desk:
        nothing = Nothing(one_server)
        begun, handle = await _parked(desk, user="u-1")
        other = await desk.another_org()
        path = f"/v1/connect/{begun['connection_id']}/confirm"
        # Another org: the flow is not even there. A wrong handle: nothing happens.
        answer = await desk.running.ask("POST", path, body={"user": "u-1", "handle": handle}, key=other.live)
        assert (answer.status, answer.json()["error"]) == (404, "not_found")
        for wrong in ("", handle[:-1], handle + "A", handle.swapcase(), "A" * 43, "é"):
            assert (await _confirm(desk, begun, "u-1", wrong))[0] == 400, wrong
        for body in ({}, {"user": "u-1"}, {"handle": handle}, {"user": 1, "handle": handle}, {"user": "u-1", "handl": handle}):
            assert (await desk.running.ask("POST", path, body=body)).status == 400
        await nothing.came_of_it(desk)
        assert (await desk.poll(begun["connection_id"]))["detail"] == "awaiting_confirmation"
        assert (await _confirm(desk, begun, "u-1", handle))[0] == 200
        assert (await _confirm(desk, begun, "u-1", handle))[0] == 400
        assert await desk.login(user="u-1") == "alice"


@pytest.mark.parametrize("wrong", ["u-2", "U-1", "u-1 ", "", "default"])
async def test_a_confirmation_for_another_user_ends_the_flow(one_server: Provider, tmp_path: Path, wrong: str) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect") as desk:
        nothing = Nothing(one_server)
        begun, handle = await _parked(desk, user="u-1")
        status, told = await _confirm(desk, begun, wrong, handle)
        assert (status, told["error"]) == (403, "forbidden")
        assert (await _confirm(desk, begun, "u-1", handle))[0] == 400
        await nothing.came_of_it(desk)


async def test_a_handle_ends_after_ten_minutes_and_serves_its_own_flow_alone(
    one_server: Provider, tmp_path: Path, clock: HandClock
) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect", clock=clock) as desk:
        nothing = Nothing(one_server)
        first, first_handle = await _parked(desk)
        second, _ = await _parked(desk)
        assert (await _confirm(desk, second, "default", first_handle))[0] == 400
        clock.move(601)
        assert (await _confirm(desk, first, "default", first_handle))[0] == 400
        await nothing.came_of_it(desk)


async def test_nothing_is_confirmed_before_the_person_has_agreed(one_server: Provider, tmp_path: Path) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect") as desk:
        await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": ["https://app.example.com/"]})
        begun = await desk.begin()
        for handle in ("", "x", begun["connection_id"]):
            assert (await _confirm(desk, begun, "default", handle))[0] == 400
        assert (await desk.poll(begun["connection_id"]))["status"] == "pending"


async def test_a_second_click_cannot_push_out_a_consent_that_waits_for_its_confirmation(
    one_server: Provider, tmp_path: Path
) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect") as desk:
        begun, handle = await _parked(desk)
        async with desk.session.post(begun["oauth_url"], allow_redirects=False) as clicked:
            assert clicked.status == 400
        assert (await _confirm(desk, begun, "default", handle))[0] == 200


async def test_with_confirmation_a_return_address_must_be_registered_and_chosen(one_server: Provider, tmp_path: Path) -> None:
    async with demo(tmp_path, one_server, verify_connect="redirect") as desk:
        answer = await desk.running.ask("POST", "/v1/connect", body={"integration": "demo"})
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert "redirect-urls" in answer.json()["message"]
        urls = ["https://a.example/", "https://b.example/"]
        await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": urls})
        assert (await desk.running.ask("POST", "/v1/connect", body={"integration": "demo"})).status == 400
        assert (await desk.begin(redirect_url=urls[1]))["status"] == "pending"


# -- small parts -----------------------------------------------------------------------------------


async def _click(link: str, session: aiohttp.ClientSession) -> str:
    """Presses the button of our page; where the browser is sent."""
    async with session.get(yarl.URL(link, encoded=True)) as shown:
        token = re.search(r'name="form_token" value="([\w-]+)"', await shown.text())
    form = {"form_token": token[1]} if token else None
    async with session.post(yarl.URL(link, encoded=True), data=form, allow_redirects=False) as clicked:
        assert clicked.status == 303, await clicked.text()
        return clicked.headers["Location"]


async def _parked(desk: Desk, **more: Any) -> tuple[Any, str]:
    """A flow whose person has agreed, and the handle that the org's application got."""
    url = "https://app.example.com/connected"
    await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
    begun = await desk.begin(redirect_url=url, **more)
    callback = await desk.consent(begun["oauth_url"])
    async with desk.session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as parked:
        assert parked.status == 303
        assert parked.headers["Location"].startswith(url + "?")
        return begun, query_of(parked.headers["Location"])["handle"]


async def _confirm(desk: Desk, begun: Mapping[str, Any], user: str, handle: str) -> tuple[int, Any]:
    body = {"user": user, "handle": handle}
    answer = await desk.running.ask("POST", f"/v1/connect/{begun['connection_id']}/confirm", body=body)
    return answer.status, answer.json()


def _settings(database_setting: dict[str, str]) -> Any:
    return database_setting
