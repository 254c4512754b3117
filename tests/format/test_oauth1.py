"""OAuth 1.0a from our page to signed calls, against a server that verifies every signature with oauthlib."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yarl
from aiohttp import web
from oauthlib.oauth1 import Client

from oauth.oauth1 import Signer
from oauth.secret import Secret
from tests.demo import Landing, listening, query_of, visit
from tests.fakes.oauth1 import CLIENT, CLIENT_SECRET, OAuth1Server, oauth1_provider
from tests.fakes.provider import browser
from tests.fakes.upstream import HandClock
from tests.format.desk import DEFINITIONS
from tests.harness import RunningGateway, gateway
from tests.leaks import files, leaks


@dataclass(slots=True, kw_only=True)
class Lists:
    running: RunningGateway
    server: OAuth1Server
    session: aiohttp.ClientSession
    slug: str = "lists"

    async def begin(self, **more: Any) -> Any:
        answer = await self.running.ask("POST", "/v1/connect", body={"integration": self.slug, **more})
        assert answer.status == 200, answer.body
        return answer.json()

    async def consent(self, link: str, session: aiohttp.ClientSession | None = None) -> str:
        """From our page over the click and the provider; the callback's address, not yet visited."""
        session = session or self.session
        async with session.post(link, allow_redirects=False) as clicked:
            assert clicked.status == 303, await clicked.text()
            away = clicked.headers["Location"]
        assert away.startswith(self.server.base_url)
        async with session.get(yarl.URL(away, encoded=True), allow_redirects=False) as consent:
            assert consent.status == 302, await consent.text()
            return consent.headers["Location"]

    async def connect(self, **more: Any) -> str:
        begun = await self.begin(**more)
        back = await visit(self.session, await self.consent(begun["oauth_url"]))
        assert f"{self.slug.capitalize()} is connected" in back.page, back.page
        return str(begun["connection_id"])

    async def poll(self, connection: str) -> Any:
        return (await self.running.ask("GET", f"/v1/connect/{connection}")).json()

    async def call(self, action: str, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
        answer = await self.running.call(self.slug, action, params, **more)
        assert answer.status == 200, answer.body
        return answer.json()


@asynccontextmanager
async def lists(
    folder: Path,
    server: OAuth1Server,
    *,
    slug: str = "lists",
    client: bool = True,
    signature: str | None = None,
    **settings: Any,
) -> AsyncIterator[Lists]:
    definitions = DEFINITIONS
    if signature:
        definitions = folder / "own"
        definitions.mkdir()
        text = (DEFINITIONS / "lists.yaml").read_text()
        (definitions / "lists.yaml").write_text(text.replace("    type: oauth1\n", f"    type: oauth1\n    signature: {signature}\n"))
    base = server.base_url + "/1"
    said = {
        "base_url": base,
        "request_token_url": f"{base}/OAuthGetRequestToken",
        "authorization_url": f"{base}/OAuthAuthorizeToken?theme=plain",
        "token_url": f"{base}/OAuthGetAccessToken",
        **({"client_id": CLIENT, "client_secret": CLIENT_SECRET} if client else {}),
    }
    async with gateway(folder, integrations={slug: said}, definitions=definitions, **settings) as running:
        async with browser() as session:
            yield Lists(running=running, server=server, session=session, slug=slug)


@pytest.fixture
async def server() -> AsyncIterator[OAuth1Server]:
    async with oauth1_provider() as running:
        yield running


@pytest.fixture
async def desk(tmp_path: Path, server: OAuth1Server) -> AsyncIterator[Lists]:
    async with lists(tmp_path, server) as made:
        yield made


# -- connecting and calling ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
async def test_a_person_connects_and_every_call_is_signed(tmp_path: Path, method: str) -> None:
    async with oauth1_provider(signature_method=method) as server, lists(tmp_path, server, signature=method) as desk:
        begun = await desk.begin(user="u-1")
        page = await visit(desk.session, begun["oauth_url"])
        assert "<code>read</code>" in page.page and "<code>write</code>" in page.page
        callback = await desk.consent(begun["oauth_url"])
        assert callback.startswith(f"{desk.running.url}/oauth/callback/lists?state=")
        back = await visit(desk.session, callback)
        assert (back.status, back.location) == (303, begun["oauth_url"])
        polled = await desk.poll(begun["connection_id"])
        assert polled == {"status": "connected", "integration": "lists", "user": "u-1", "account": "ada"}
        (token,) = server.granted.values()
        assert token.scope == "read,write"
        answer = await desk.running.call("lists", "get_me", user="u-1")
        assert answer.json()["data"] == {"id": "7", "username": "ada"}
        assert server.seen[-1].raw_path == "/1/members/me"


async def test_the_browser_goes_where_the_definition_says_with_its_params(desk: Lists) -> None:
    begun = await desk.begin(scopes=["read"])
    async with desk.session.post(begun["oauth_url"], allow_redirects=False) as clicked:
        away = clicked.headers["Location"]
    (token,) = desk.server.requested
    assert urlsplit(away).path == "/1/OAuthAuthorizeToken"
    assert query_of(away) == {
        "theme": "plain", "oauth_token": token, "name": "Skillway", "expiration": "never", "scope": "read",
    }  # fmt: skip


STRANGE = "a b+c%20d&e=f/ü~*'()!\u2028🦄"


@pytest.mark.parametrize(
    ("action", "params", "sent"),
    [
        ("find", {"name": STRANGE}, None),
        ("find", {"name": "x", "query": STRANGE, "tags": ["b", "a", "", STRANGE], "realm": "mine"}, None),
        ("add_card", {"title": STRANGE, "labels": ["b", "a", STRANGE]}, None),
        ("add_card_as_json", {"title": STRANGE}, {"title": STRANGE}),
    ],
)
async def test_paths_queries_and_forms_are_signed_as_they_are_sent(
    desk: Lists, action: str, params: dict[str, Any], sent: Any
) -> None:
    await desk.connect()
    envelope = await desk.call(action, params)
    assert envelope["status"] == 200, envelope
    seen = desk.server.seen[-1]
    if sent is not None:
        assert seen.json() == sent
    elif action == "add_card":
        assert seen.form() == [("title", STRANGE), *(("labels", label) for label in params["labels"])]


async def test_two_calls_at_once_have_nonces_of_their_own(desk: Lists) -> None:
    await desk.connect()
    answers = await asyncio.gather(*(desk.call("get_me") for _ in range(50)))
    assert {answer["status"] for answer in answers} == {200}


@pytest.mark.parametrize("form", [None, b"a=1&b=%20x&a=%C3%BC&x=%2526&y="])
@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256"])
def test_a_signature_is_the_one_that_another_library_makes(method: Any, form: bytes | None) -> None:
    url = "https://api.example:8443/p%2Fq/x?b=%2520&a=&c%40=2%20q&realm=r"
    ours = Signer(
        client_id="key", client_secret=Secret("s&%"), token=Secret("to%2Fken"), token_secret=Secret("t+s"), method=method
    ).authorization("POST", url, form=form)
    said = dict(part.split("=", 1) for part in ours.removeprefix("OAuth ").split(", "))
    theirs = Client(
        "key", "s&%", "to%2Fken", "t+s", signature_method=method,
        nonce=said["oauth_nonce"].strip('"'), timestamp=said["oauth_timestamp"].strip('"'),
    )  # fmt: skip
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    _, signed, _ = theirs.sign(url, "POST", body=form.decode() if form else None, headers=headers)
    assert set(ours.removeprefix("OAuth ").split(", ")) == set(signed["Authorization"].removeprefix("OAuth ").split(", "))


async def test_key_and_token_in_the_query_serve_the_same_actions(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    async def api(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response({"id": "7", "username": "ada"})

    async with listening(web.route("*", "/{rest:.*}", api)) as origin:
        integrations = {"lists": {"base_url": origin}}
        async with gateway(tmp_path, integrations=integrations, definitions=DEFINITIONS) as running:
            connection = await running.connect("lists", {"api_key": "token-of-ada", "key": "key-of-ada"})
            answer = await running.call("lists", "find", {"name": "x", "query": "q"})
            assert answer.json()["status"] == 200
            shown = (await running.ask("GET", f"/v1/connections/{connection}")).json()
    assert asked == [
        {"token": "token-of-ada", "key": "key-of-ada"},
        {"query": "q", "token": "token-of-ada", "key": "key-of-ada"},
    ]
    assert (shown["account"], shown["auth"], shown["fields"]) == ("ada", "key_and_token", {})


async def test_what_the_client_may_is_gone_with_it_and_a_401_is_passed_through(desk: Lists) -> None:
    await desk.connect()
    desk.server.granted.clear()
    envelope = await desk.call("get_me")
    assert (envelope["status"], envelope["data"]) == (401, {"error": "invalid signature"})


async def test_connecting_again_keeps_the_id_and_another_account_is_refused(desk: Lists) -> None:
    connection = await desk.connect(label="mine")
    assert await desk.connect(connection=connection) == connection
    assert (await desk.call("get_me"))["data"]["username"] == "ada"
    begun = await desk.begin(connection=connection)
    desk.server.login = "bob"
    back = await visit(desk.session, await desk.consent(begun["oauth_url"]))
    # The id of the account is the same in this API; the name alone may change.
    assert "is connected" in back.page


async def test_no_secret_of_it_is_readable_in_the_database_or_a_log(
    tmp_path: Path, server: OAuth1Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with lists(tmp_path, server) as desk:
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        (request_token,) = server.requested.items()
        hidden = [request_token[0], request_token[1].secret, query_of(callback)["state"]]
        assert list(leaks(hidden, files(desk.running.data_dir))) == []
        await visit(desk.session, callback)
        await desk.call("find", {"name": "x", "query": "y"})
        (granted,) = server.granted.items()
        hidden += [granted[0], granted[1].secret, query_of(callback)["oauth_verifier"]]
        # The provider writes down what it is asked and verifies.
        theirs = ("oauthlib", "aiohttp.access")
        ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith(theirs))
        assert list(leaks(hidden, [*files(desk.running.data_dir), ("the log", ours.encode())])) == []


# -- attacks: as strong as with OAuth 2 ------------------------------------------------------------


async def test_the_callback_must_come_back_to_the_browser_that_clicked(desk: Lists) -> None:
    """T81, T86: the attacker's link, the victim's consent; and the other way round."""
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    async with browser() as other:
        assert (await visit(other, callback)).status == 400
    assert desk.server.counts.get("access_token", 0) == 0
    assert (await desk.poll(begun["connection_id"]))["error"] == "flow_expired"
    assert (await visit(desk.session, callback)).status == 400
    assert desk.server.counts.get("access_token", 0) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda query: {name: value for name, value in query.items() if name != "state"},
        lambda query: {**query, "state": query["state"][:-1]},
        lambda query: {**query, "state": query["oauth_token"]},
        lambda query: {name: value for name, value in query.items() if name != "oauth_token"},
        lambda query: {**query, "oauth_token": "of-the-attacker"},
        lambda query: {**query, "oauth_verifier": ""},
        lambda query: {**query, "oauth_verifier": "a\nb"},
    ],
)
async def test_a_callback_that_was_tampered_with_redeems_nothing(desk: Lists, change: Any) -> None:
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    tampered = yarl.URL(callback).with_query(change(query_of(callback)))
    back = await visit(desk.session, str(tampered))
    assert "is connected" not in back.page
    assert desk.server.counts.get("access_token", 0) == 0
    assert (await desk.running.ask("GET", "/v1/connections")).json() == {"connections": []}


async def test_a_token_twice_in_the_callback_is_refused(desk: Lists) -> None:
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    back = await visit(desk.session, f"{callback}&oauth_token=other")
    assert "more than once" in back.page
    assert desk.server.counts.get("access_token", 0) == 0


async def test_the_context_of_the_path_is_held_against_the_flow(desk: Lists) -> None:
    """T82, T83."""
    begun = await desk.begin()
    callback = (await desk.consent(begun["oauth_url"])).replace("/oauth/callback/lists", "/oauth/callback/github")
    assert (await visit(desk.session, callback)).status == 400
    assert desk.server.counts.get("access_token", 0) == 0


async def test_fifty_callbacks_at_once_redeem_once(desk: Lists) -> None:
    """T87."""
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    landed: list[Landing] = await asyncio.gather(*(visit(desk.session, callback) for _ in range(50)))
    assert sum(one.status == 303 for one in landed) == 1
    assert desk.server.counts["access_token"] == 1
    assert (await desk.poll(begun["connection_id"]))["status"] == "connected"


async def test_a_flow_ends_after_ten_minutes(tmp_path: Path, server: OAuth1Server, clock: HandClock) -> None:
    """T88."""
    async with lists(tmp_path, server, clock=clock) as desk:
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        clock.move(601)
        assert (await visit(desk.session, callback)).status == 400
        assert server.counts.get("access_token", 0) == 0


async def test_the_state_says_nothing_and_is_not_the_providers_token(desk: Lists) -> None:
    """T89."""
    begun = await desk.begin()
    given = query_of(await desk.consent(begun["oauth_url"]))
    assert len(given["state"]) == 43
    assert given["oauth_token"] not in given["state"]
    assert set(given) == {"state", "oauth_token", "oauth_verifier"}


async def test_a_provider_that_does_not_confirm_the_callback_is_not_gone_to(desk: Lists) -> None:
    """The first 1.0 could be fixed: whoever began a flow could have another person finish it."""
    desk.server.confirms = False
    begun = await desk.begin()
    async with desk.session.post(begun["oauth_url"], allow_redirects=False) as clicked:
        assert (clicked.status, "Location" in clicked.headers) == (403, False)
        assert "The operator has to look at it" in await clicked.text()
    assert desk.server.counts.get("authorize", 0) == 0


async def test_who_declines_is_told_and_so_is_the_poll(desk: Lists) -> None:
    desk.server.approves = False
    begun = await desk.begin()
    back = await visit(desk.session, await desk.consent(begun["oauth_url"]))
    assert "Access was not granted." in back.page
    assert (await desk.poll(begun["connection_id"]))["error"] == "access_denied"
    assert desk.server.counts.get("access_token", 0) == 0


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (web.Response(status=401, text="bad"), 403, "The operator has to look at it"),
        (web.Response(status=500), 502, "could not be reached"),
        (web.Response(text="<html>"), 502, "could not be reached"),
        (web.Response(text="oauth_token=a&oauth_token=b&oauth_token_secret=c&oauth_callback_confirmed=true"), 502, "could"),
        (web.Response(text="oauth_token=%0d%0aX&oauth_token_secret=c&oauth_callback_confirmed=true"), 502, "could"),
        (web.Response(text="oauth_token=a&oauth_callback_confirmed=true&x=" + "y" * 2_000_000), 502, "could"),
    ],
)
async def test_an_answer_to_the_request_for_a_token_that_is_none_starts_no_flow(
    desk: Lists, answer: web.Response, status: int, words: str
) -> None:
    desk.server.says = answer
    begun = await desk.begin()
    async with desk.session.post(begun["oauth_url"], allow_redirects=False) as clicked:
        assert clicked.status == status
        assert words in await clicked.text()
    assert (await desk.poll(begun["connection_id"]))["status"] == "pending"


async def test_a_verifier_that_the_provider_refuses_is_an_error_of_the_flow(desk: Lists) -> None:
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    desk.server.requested.clear()
    back = await visit(desk.session, callback)
    assert "did not accept the code" in back.page
    assert (await desk.poll(begun["connection_id"]))["error"] == "token_rejected"


async def test_with_verify_connect_the_verifier_waits_for_the_org_to_confirm(tmp_path: Path, server: OAuth1Server) -> None:
    async with lists(tmp_path, server, verify_connect="redirect") as desk:
        url = "https://app.example/back"
        await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
        begun = await desk.begin(user="u-1")
        callback = await desk.consent(begun["oauth_url"])
        async with desk.session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as back:
            handle = query_of(back.headers["Location"])["handle"]
        assert server.counts.get("access_token", 0) == 0
        path = f"/v1/connect/{begun['connection_id']}/confirm"
        wrong = await desk.running.ask("POST", path, body={"user": "u-2", "handle": handle})
        assert wrong.status == 403
        assert server.counts.get("access_token", 0) == 0
        begun = await desk.begin(user="u-1")
        async with desk.session.get(yarl.URL(await desk.consent(begun["oauth_url"]), encoded=True), allow_redirects=False) as back:
            handle = query_of(back.headers["Location"])["handle"]
        path = f"/v1/connect/{begun['connection_id']}/confirm"
        right = await desk.running.ask("POST", path, body={"user": "u-1", "handle": handle})
        assert right.json()["status"] == "connected"


async def test_without_a_client_it_is_not_available_and_says_what_to_register(tmp_path: Path, server: OAuth1Server) -> None:
    async with lists(tmp_path, server, client=False) as desk:
        answer = await desk.running.ask("POST", "/v1/connect", body={"integration": "lists", "auth": "oauth"})
        assert (answer.status, answer.json()["error"]) == (403, "forbidden")
        assert f"{desk.running.url}/oauth/callback/lists" in answer.json()["message"]
