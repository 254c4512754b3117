"""Connecting an account, from `POST /v1/connect` to a call that goes through, against real OAuth servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import lacking
from tests.demo import (
    Desk,
    KeyedApi,
    demo,
    keyed_definition,
    oauth_definition,
    query_of,
    visit,
    write_definitions,
)
from tests.fakes.provider import Provider, available_providers, browser, provider
from tests.fakes.upstream import HandClock, Running, iso, serve
from tests.harness import RunningGateway, gateway

NOBODYS = "conn_" + "0" * 32


@pytest.fixture
async def api() -> AsyncIterator[Running[KeyedApi]]:
    async with serve(KeyedApi()) as running:
        yield running


@pytest.fixture
async def keyed(tmp_path: Path, api: Running[KeyedApi]) -> AsyncIterator[RunningGateway]:
    definitions = write_definitions(tmp_path, keyed_definition(api.base_url))
    async with gateway(tmp_path, definitions=definitions) as running:
        yield running


# -- by consent in a browser -----------------------------------------------------------------------


async def test_a_person_connects_and_a_call_goes_through_as_them(desk: Desk, clock: HandClock) -> None:
    before = desk.server.counts()
    begun = await desk.begin(user="u-1", label="work")
    connection = begun["connection_id"]
    assert begun == {
        "connection_id": connection,
        "status": "pending",
        "expires_at": iso(clock.now + 600),
        "oauth_url": f"{desk.running.url}/connect/{connection}",
    }
    assert await desk.poll(connection) == {"status": "pending", "integration": "demo", "user": "u-1"}

    page = await visit(desk.session, begun["oauth_url"])
    assert page.status == 200
    for named in ("Acme", "Demo", "<code>read</code>", "<code>profile</code>"):
        assert named in page.page
    assert len(re.findall(r"<form\b", page.page)) == 1 == len(re.findall(r'<form method="post"', page.page))
    assert "<script" not in page.page
    assert "Set-Cookie" not in page.headers

    callback = await desk.consent(begun["oauth_url"])
    assert callback.startswith(f"{desk.running.url}/oauth/callback/demo?")
    assert desk.server.counts()["token"] == before["token"]
    back = await desk.come_back(callback)
    assert (back.status, back.location) == (303, begun["oauth_url"])
    assert back.page_status == 200
    assert "Demo is connected" in back.page
    assert "alice" in back.page

    assert await desk.poll(connection) == {"status": "connected", "integration": "demo", "user": "u-1", "account": "alice"}
    assert desk.server.counts()["token"] == before["token"] + 1
    answer = await desk.whoami(user="u-1")
    assert answer.json()["data"]["login"] == "alice"
    assert answer.json()["meta"]["account"] == "alice"
    shown = await desk.shown(connection)
    assert (shown["id"], shown["state"], shown["auth"], shown["label"]) == (connection, "active", "oauth", "work")
    assert set(shown["scopes"]) == {"read", "profile"}


async def test_a_poll_that_waits_is_woken_by_the_callback(desk: Desk) -> None:
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    waiting = asyncio.create_task(desk.poll(begun["connection_id"], wait=60))
    other = asyncio.create_task(desk.poll(begun["connection_id"], wait=60))
    done, _ = await asyncio.wait([waiting, other], timeout=0.2)
    assert not done
    await desk.come_back(callback)
    async with asyncio.timeout(5):
        assert (await waiting)["status"] == "connected"
        assert (await other)["status"] == "connected"


async def test_a_poll_that_waits_in_vain_says_pending_when_its_time_is_up(one_desk: Desk, clock: HandClock) -> None:
    begun = await one_desk.begin()
    waiting = asyncio.create_task(one_desk.poll(begun["connection_id"], wait=30))
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    clock.move(31)
    async with asyncio.timeout(10):
        assert (await waiting)["status"] == "pending"


async def test_a_wait_out_of_bounds_is_refused_by_name(one_desk: Desk) -> None:
    begun = await one_desk.begin()
    for wait in ("-1", "x", "3601", "1.5", ""):
        answer = await one_desk.running.ask("GET", f"/v1/connect/{begun['connection_id']}?wait={wait}")
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert "wait" in answer.json()["message"]


async def test_the_scopes_asked_for_are_shown_sent_and_granted(desk: Desk) -> None:
    begun = await desk.begin(scopes=["read"])
    page = await visit(desk.session, begun["oauth_url"])
    assert "<code>read</code>" in page.page
    assert "<code>profile</code>" not in page.page
    await desk.come_back(await desk.consent(begun["oauth_url"]))
    assert (await desk.shown(begun["connection_id"]))["scopes"] == ["read"]


async def test_what_cannot_be_a_scope_is_refused(one_desk: Desk) -> None:
    for scopes in (["a b"], [""], ['x"'], ["é"], [1], "read", ["r"] * 201):
        answer = await one_desk.running.ask("POST", "/v1/connect", body={"integration": "demo", "scopes": scopes})
        assert (answer.status, answer.json()["error"]) == (400, "bad_request"), scopes
        assert "scope" in answer.json()["message"]


async def test_who_declines_is_told_and_so_is_the_poll(tmp_path: Path, server: Provider) -> None:
    # django-oauth-toolkit leaves `iss` out of its errors: its issuer cannot be declared and the error believed.
    oauth = {"issuer": None} if server.kind == "dot" else {}
    async with demo(tmp_path, server, oauth=oauth) as desk:
        await _decline(desk)


async def _decline(desk: Desk) -> None:
    before = desk.server.counts()
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"], approve=False)
    assert query_of(callback)["error"] == "access_denied"
    back = await desk.come_back(callback)
    assert "Demo was not connected" in back.page
    assert "Access was not granted." in back.page
    polled = await desk.poll(begun["connection_id"])
    assert (polled["status"], polled["error"]) == ("error", "access_denied")
    assert polled["message"].startswith("Access was not granted.")
    assert desk.server.counts()["token"] == before["token"]
    assert (await desk.running.ask("GET", f"/v1/connections/{begun['connection_id']}")).status == 404


async def test_a_flow_ends_after_ten_minutes(desk: Desk, clock: HandClock) -> None:
    before = desk.server.counts()
    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    clock.move(601)
    polled = await desk.poll(begun["connection_id"])
    assert (polled["status"], polled["error"]) == ("error", "flow_expired")
    assert (await visit(desk.session, begun["oauth_url"])).status == 400
    async with desk.session.post(begun["oauth_url"], allow_redirects=False) as clicked:
        assert clicked.status == 400
    back = await desk.come_back(callback)
    assert (back.status, back.location) == (400, "")
    assert desk.server.counts()["token"] == before["token"]
    assert (await desk.running.ask("GET", "/v1/connections")).json() == {"connections": []}


async def test_a_second_click_makes_the_first_one_worthless(one_desk: Desk) -> None:
    before = one_desk.server.counts()
    begun = await one_desk.begin()
    first = await one_desk.consent(begun["oauth_url"])
    second = await one_desk.consent(begun["oauth_url"])
    assert (await one_desk.come_back(first)).status == 400
    assert (await one_desk.come_back(second)).status == 303
    assert (await one_desk.poll(begun["connection_id"]))["status"] == "connected"
    assert one_desk.server.counts()["code"] == before["code"] + 1


async def test_a_code_that_the_provider_refuses_is_an_error_of_the_flow(tmp_path: Path, one_server: Provider) -> None:
    async with demo(tmp_path, one_server) as desk:
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        one_server.revoke_all()
        back = await desk.come_back(callback)
        assert "was not connected" in back.page
        polled = await desk.poll(begun["connection_id"])
        assert (polled["status"], polled["error"]) == ("error", "invalid_grant")
        assert (await desk.whoami()).json()["error"] == "integration_not_connected"


async def test_a_provider_that_is_down_at_the_callback_is_an_error_of_the_flow(tmp_path: Path) -> None:
    if not available_providers():
        lacking("an OAuth server")
    async with provider() as server, demo(tmp_path, server) as desk:
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        server.stop()
        back = await desk.come_back(callback)
        assert "could not be reached" in back.page
        polled = await desk.poll(begun["connection_id"])
        assert (polled["status"], polled["error"]) == ("error", "not_reached")


async def test_the_link_is_of_no_use_after_the_connection_is_made(one_desk: Desk) -> None:
    connection = await one_desk.connect(user="u-1")
    link = f"{one_desk.running.url}/connect/{connection}"
    async with one_desk.session.post(link, allow_redirects=False) as clicked:
        assert clicked.status == 400
    assert (await visit(one_desk.session, link)).status == 200
    assert (await one_desk.shown(connection))["account"] == "alice"


async def test_an_answer_without_a_redirect_url_of_the_org_stays_on_our_page_and_with_one_goes_there(
    one_desk: Desk,
) -> None:
    url = "https://app.example.com/done?tab=1"
    body = {"integration": "demo", "redirect_url": url}
    assert (await one_desk.running.ask("POST", "/v1/connect", body=body)).status == 400
    put = await one_desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
    assert put.json() == {"redirect_urls": [url]}
    assert (await one_desk.running.ask("GET", "/v1/org/redirect-urls")).json() == {"redirect_urls": [url]}
    begun = await one_desk.begin(redirect_url=url)
    callback = await one_desk.consent(begun["oauth_url"])
    async with one_desk.session.get(callback, allow_redirects=False) as back:
        assert (back.status, back.headers["Location"]) == (303, f"{url}&connection_id={begun['connection_id']}")
    assert (await one_desk.poll(begun["connection_id"]))["status"] == "connected"


# -- connecting again ------------------------------------------------------------------------------


async def test_connecting_again_keeps_the_id_and_changes_the_token(desk: Desk) -> None:
    connection = await desk.connect(label="mine")
    tokens = _tokens_seen(desk)
    again = await desk.connect(connection=connection)
    assert again == connection
    assert await desk.login() == "alice"
    assert _tokens_seen(desk) != tokens
    listed = (await desk.running.ask("GET", "/v1/connections")).json()["connections"]
    assert [(item["id"], item["label"], item["state"]) for item in listed] == [(connection, "mine", "active")]


async def test_another_account_on_connecting_again_is_refused_and_the_old_one_stays(desk: Desk) -> None:
    connection = await desk.connect(login="alice")
    begun = await desk.begin(connection=connection)
    async with browser() as bobs:
        back = await desk.come_back(await desk.consent(begun["oauth_url"], "bob", session=bobs), bobs)
        assert "was not connected" in back.page
    polled = await desk.poll(connection)
    assert (polled["status"], polled["error"]) == ("error", "account_changed")
    shown = await desk.shown(connection)
    assert (shown["account"], shown["state"]) == ("alice", "active")
    assert await desk.login() == "alice"


async def test_only_the_users_own_connection_of_that_integration_can_be_renewed(one_desk: Desk) -> None:
    connection = await one_desk.connect(user="u-1")
    for body in (
        {"integration": "demo", "user": "u-2", "connection": connection},
        {"integration": "github", "user": "u-1", "connection": connection},
        {"integration": "demo", "user": "u-1", "connection": NOBODYS},
    ):
        answer = await one_desk.running.ask("POST", "/v1/connect", body=body)
        assert (answer.status, answer.json()["error"]) == (404, "not_found"), body
    begun = await one_desk.begin(connection=connection)
    assert (await one_desk.poll(begun["connection_id"]))["user"] == "u-1"


async def test_several_accounts_are_told_apart_by_id_or_label_and_never_guessed(desk: Desk, clock: HandClock) -> None:
    first = await desk.connect(login="alice", label="private")
    clock.move(1)
    second = await desk.connect(login="bob", label="work")
    refused = await desk.whoami()
    assert (refused.status, refused.json()["error"]) == (409, "ambiguous_connection")
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["retryable"] is False
    assert refused.json()["details"]["choices"] == [
        {"connection": first, "label": "private", "account": "alice"},
        {"connection": second, "label": "work", "account": "bob"},
    ]
    assert await desk.login(connection=first) == "alice"
    assert await desk.login(connection=second) == "bob"
    assert await desk.login(connection="work") == "bob"
    unknown = await desk.whoami(connection="elsewhere")
    assert (unknown.status, unknown.json()["error"]) == (404, "not_found")


async def test_users_of_an_org_do_not_use_each_others_accounts(desk: Desk) -> None:
    connection = await desk.connect(login="alice", user="u-1")
    await desk.connect(login="bob", user="u-2")
    assert await desk.login(user="u-1") == "alice"
    assert await desk.login(user="u-2") == "bob"
    assert (await desk.whoami()).json()["error"] == "integration_not_connected"
    assert (await desk.whoami(user="u-2", connection=connection)).status == 404
    mine = (await desk.running.ask("GET", "/v1/connections?user=u-1")).json()["connections"]
    assert [item["account"] for item in mine] == ["alice"]
    for user, connected in (("u-1", True), ("u-3", False)):
        listed = (await desk.running.ask("GET", f"/v1/skills?user={user}")).json()["integrations"]
        assert next(item for item in listed if item["slug"] == "demo")["connected"] is connected


# -- the link of a refusal -------------------------------------------------------------------------


async def test_the_link_of_a_refusal_leads_to_a_connection(desk: Desk) -> None:
    refused = await desk.whoami(user="u-9")
    assert (refused.status, refused.json()["error"]) == (403, "integration_not_connected")
    link = refused.json()["action_url"]
    assert link.startswith(f"{desk.running.url}/connect/new?t=")
    page = await visit(desk.session, link)
    assert page.status == 200
    assert "Acme" in page.page
    assert await _flows(desk) == 0
    back = await desk.come_back(await desk.consent(link))
    assert "Demo is connected" in back.page
    assert await desk.login(user="u-9") == "alice"


async def test_a_link_that_was_changed_or_is_a_day_old_opens_nothing(one_desk: Desk, clock: HandClock) -> None:
    link = (await one_desk.whoami()).json()["action_url"]
    start, _, token = link.partition("?t=")
    middle = len(token) // 2
    changed = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for bad in (changed, token[:-2], "", "x", "%00", "%C3%A9", token[:20]):
        assert (await visit(one_desk.session, f"{start}?t={bad}")).status == 404, bad
        async with one_desk.session.post(f"{start}?t={bad}", allow_redirects=False) as clicked:
            assert clicked.status in (400, 404), bad
    clock.move(24 * 3600 + 1)
    assert (await visit(one_desk.session, link)).status == 404
    assert await _flows(one_desk) == 0


# -- connections as resources ----------------------------------------------------------------------


async def test_disconnecting_revokes_at_the_provider_and_forgets_the_account(desk: Desk) -> None:
    connection = await desk.connect()
    token = _tokens_seen(desk)[-1]
    before = desk.server.counts()
    answer = await desk.running.ask("DELETE", f"/v1/connections/{connection}")
    assert (answer.status, answer.body) == (204, b"")
    assert desk.server.counts()["revoked"] == before["revoked"] + 2
    async with desk.session.get(desk.server.resource_url, headers={"Authorization": f"Bearer {token}"}) as used:
        assert used.status == 401
    assert (await desk.running.ask("GET", f"/v1/connections/{connection}")).status == 404
    assert (await desk.running.ask("DELETE", f"/v1/connections/{connection}")).status == 404
    assert (await desk.whoami()).json()["error"] == "integration_not_connected"
    assert (await desk.running.ask("GET", f"/v1/connect/{connection}")).status == 404


async def test_disconnecting_works_without_the_provider(tmp_path: Path) -> None:
    if not available_providers():
        lacking("an OAuth server")
    async with provider() as server, demo(tmp_path, server) as desk:
        connection = await desk.connect()
        server.stop()
        assert (await desk.running.ask("DELETE", f"/v1/connections/{connection}")).status == 204
        assert (await desk.running.ask("GET", f"/v1/connections/{connection}")).status == 404
        assert (await desk.running.ask("GET", "/v1/connections")).json() == {"connections": []}


async def test_connections_are_listed_by_user_and_integration_and_show_no_secret(one_desk: Desk) -> None:
    connection = await one_desk.connect(user="u-1")
    secrets = [*_tokens_seen(one_desk), *_refresh_tokens(one_desk)]
    assert secrets
    for path in (
        "/v1/connections", "/v1/connections?user=u-1", "/v1/connections?integration=demo",
        f"/v1/connections/{connection}", f"/v1/connect/{connection}",
    ):
        answer = await one_desk.running.ask("GET", path)
        assert answer.status == 200
        assert connection in answer.body.decode() or path.startswith("/v1/connect/")
        for secret in secrets:
            assert secret not in answer.body.decode()
    for path in ("/v1/connections?user=u-2", "/v1/connections?integration=github"):
        assert (await one_desk.running.ask("GET", path)).json() == {"connections": []}
    assert (await one_desk.running.ask("GET", "/v1/connections?usr=u-1")).status == 400


async def test_another_orgs_things_are_the_same_as_things_that_do_not_exist(one_desk: Desk) -> None:
    """T101: byte for byte, but for the id that was asked for."""
    connection = await one_desk.connect()
    pending = (await one_desk.begin(user="u-2"))["connection_id"]
    other = await one_desk.another_org()
    for theirs in (connection, pending):
        for method, path, body in (
            ("GET", "/v1/connections/{}", None),
            ("DELETE", "/v1/connections/{}", None),
            ("GET", "/v1/connect/{}", None),
            ("POST", "/v1/connect/{}/confirm", {"user": "default", "handle": "h"}),
            ("POST", "/v1/connect", {"integration": "demo", "connection": "THEIRS"}),
            ("POST", "/v1/demo/whoami", {"params": {}, "connection": "THEIRS"}),
        ):
            told = []
            for asked in (theirs, NOBODYS):
                filled = json.loads(json.dumps(body).replace("THEIRS", asked))
                answer = await one_desk.running.ask(method, path.format(asked), body=filled, key=other.live)
                assert answer.status == 404, (method, path, answer.body)
                told.append((answer.body.decode().replace(asked, "ID"), dict(_told(answer.headers))))
            assert told[0] == told[1], path
    assert (await one_desk.running.ask("GET", "/v1/connections", key=other.live)).json() == {"connections": []}
    assert await one_desk.login() == "alice"
    assert (await one_desk.poll(pending))["status"] == "pending"


# -- a credential at once --------------------------------------------------------------------------

PLACES = ["bearer", "header", "query", "body", "cookie", "basic"]


def _entered(method: str, key: str) -> dict[str, str]:
    if method == "bearer":
        return {"token": key}
    return {"username": "someone", "password": key} if method == "basic" else {"api_key": key}


@pytest.mark.parametrize("method", PLACES)
async def test_a_credential_connects_at_once_wherever_it_goes(
    keyed: RunningGateway, api: Running[KeyedApi], method: str
) -> None:
    body = {"integration": "keyed", "auth": method, "credentials": _entered(method, "key-of-alice")}
    answer = await keyed.ask("POST", "/v1/connect", body=body)
    assert answer.status == 200, answer.body
    begun = answer.json()
    assert (begun["status"], begun["oauth_url"]) == ("connected", None)
    polled = (await keyed.ask("GET", f"/v1/connect/{begun['connection_id']}")).json()
    assert polled == {"status": "connected", "integration": "keyed", "user": "default", "account": "alice"}
    called = (await keyed.call("keyed", "whoami", {"note": "n"})).json()
    assert called["data"] == {"login": "alice"}
    assert b"key-of-alice" not in answer.body
    # In its own place and in no other.
    raw = api.last
    at = {
        "bearer": raw.bearer(), "header": raw.header("X-Key"), "query": dict(raw.query).get("key"),
        "body": raw.json().get("apiKey"), "cookie": raw.cookie("session"),
        "basic": (raw.header("Authorization") or "").startswith("Basic ") or None,
    }
    assert [place for place, value in at.items() if value] == [method]


@pytest.mark.parametrize("method", PLACES)
async def test_a_credential_that_the_integration_refuses_is_not_kept(
    keyed: RunningGateway, api: Running[KeyedApi], method: str
) -> None:
    body = {"integration": "keyed", "auth": method, "credentials": _entered(method, "key-of-nobody")}
    answer = await keyed.ask("POST", "/v1/connect", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert "401" in answer.json()["message"]
    assert b"key-of-nobody" not in answer.body
    assert len(api.seen) == 1
    assert (await keyed.ask("GET", "/v1/connections")).json() == {"connections": []}


async def test_the_method_follows_from_the_credential_where_it_is_not_named(keyed: RunningGateway) -> None:
    for credentials, method in (
        ({"token": "key-of-alice"}, "bearer"),
        ({"api_key": "key-of-alice"}, "header"),
        ({"username": "someone", "password": "key-of-alice"}, "basic"),
    ):
        connection = await keyed.connect("keyed", credentials, user=method)
        assert (await keyed.ask("GET", f"/v1/connections/{connection}")).json()["auth"] == method


async def test_what_cannot_be_the_credential_is_refused_by_name(keyed: RunningGateway, api: Running[KeyedApi]) -> None:
    for body, named in (
        ({"credentials": {"token": ""}}, "token"),
        ({"credentials": {"token": 5}}, "token"),
        ({"credentials": {"token": "a\nb"}}, "token"),
        ({"credentials": {"toke": "x"}}, "toke"),
        ({"auth": "basic", "credentials": {"username": "someone"}}, "password"),
        ({"auth": "nothing", "credentials": {"token": "x"}}, "auth"),
        ({"credentials": {"token": "x", "api_key": "x"}}, "credentials"),
    ):
        answer = await keyed.ask("POST", "/v1/connect", body={"integration": "keyed", **body})
        assert (answer.status, answer.json()["error"]) == (400, "bad_request"), body
        assert named in json.dumps(answer.json()["details"]), answer.body
    assert not api.seen


async def test_a_credential_is_renewed_in_place_and_keeps_to_its_account(keyed: RunningGateway) -> None:
    connection = await keyed.connect("keyed", {"token": "key-of-alice"}, label="first")
    same = await keyed.connect("keyed", {"api_key": "key-of-alice"}, auth="query", connection=connection)
    assert same == connection
    shown = (await keyed.ask("GET", f"/v1/connections/{connection}")).json()
    assert (shown["auth"], shown["label"], shown["account"]) == ("query", "first", "alice")
    body = {"integration": "keyed", "auth": "bearer", "credentials": {"token": "key-of-bob"}, "connection": connection}
    changed = await keyed.ask("POST", "/v1/connect", body=body)
    assert (changed.status, changed.json()["error"]) == (409, "account_changed")
    assert (await keyed.call("keyed", "whoami")).json()["data"] == {"login": "alice"}
    missing = {"integration": "keyed", "credentials": {"token": "key-of-bob"}, "connection": NOBODYS}
    assert (await keyed.ask("POST", "/v1/connect", body=missing)).status == 404


async def test_a_key_is_typed_into_our_page_where_no_browser_consent_exists(keyed: RunningGateway) -> None:
    begun = (await keyed.ask("POST", "/v1/connect", body={"integration": "keyed", "auth": "query"})).json()
    page = await visit(keyed.session, begun["oauth_url"])
    assert page.status == 200
    assert 'name="api_key"' in page.page
    assert 'type="password"' in page.page
    async with keyed.session.post(begun["oauth_url"], data={"api_key": "  "}, allow_redirects=False) as empty:
        assert empty.status == 400
        assert 'name="api_key"' in await empty.text()
    async with keyed.session.post(begun["oauth_url"], data={"api_key": "key-of-bob"}, allow_redirects=False) as typed:
        assert (typed.status, typed.headers["Location"]) == (303, begun["oauth_url"])
    done = await visit(keyed.session, begun["oauth_url"])
    assert "Keyed is connected" in done.page
    assert "bob" in done.page
    assert "key-of-bob" not in done.page
    assert (await keyed.call("keyed", "whoami")).json()["data"] == {"login": "bob"}


async def test_a_client_of_the_users_own_gets_its_token_at_once_and_renews_it(desk: Desk, clock: HandClock) -> None:
    credentials = {"client_id": desk.server.client_id, "client_secret": desk.server.client_secret}
    begun = await desk.begin(auth="machine", credentials=credentials)
    assert begun["status"] == "connected"
    assert await desk.login() == "gateway"
    asked = desk.server.counts()["token"]
    assert await desk.login() == "gateway"
    assert desk.server.counts()["token"] == asked
    clock.move(3600)
    assert await desk.login() == "gateway"
    assert desk.server.counts()["token"] == asked + 1
    shown = await desk.shown(begun["connection_id"])
    assert (shown["auth"], shown["account"], shown["state"]) == ("machine", "gateway", "active")


async def test_a_client_that_the_provider_refuses_is_not_kept(desk: Desk) -> None:
    credentials = {"client_id": desk.server.client_id, "client_secret": "wrong"}
    body = {"integration": "demo", "auth": "machine", "credentials": credentials}
    answer = await desk.running.ask("POST", "/v1/connect", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert "does not accept this client" in answer.json()["message"]
    assert (await desk.running.ask("GET", "/v1/connections")).json() == {"connections": []}


async def test_one_integration_is_connected_by_several_methods(desk: Desk) -> None:
    oauth = await desk.connect(login="alice", user="u-1")
    token = _tokens_seen(desk)[-1]
    pasted = await desk.begin(user="u-1", credentials={"token": token}, label="pasted")
    machine = await desk.begin(
        user="u-1", auth="machine",
        credentials={"client_id": desk.server.client_id, "client_secret": desk.server.client_secret},
    )
    assert await desk.login(user="u-1", connection=oauth) == "alice"
    assert await desk.login(user="u-1", connection="pasted") == "alice"
    assert await desk.login(user="u-1", connection=machine["connection_id"]) == "gateway"
    methods = {item["id"]: item["auth"] for item in (await desk.running.ask("GET", "/v1/connections")).json()["connections"]}
    assert methods == {oauth: "oauth", pasted["connection_id"]: "token", machine["connection_id"]: "machine"}


async def test_only_connections_of_a_method_that_may_serve_the_action_are_candidates(
    tmp_path: Path, api: Running[KeyedApi]
) -> None:
    definition = keyed_definition(api.base_url)
    whoami = definition["actions"]["whoami"]
    definition["actions"]["by_header"] = {**whoami, "auth": ["header"]}
    async with gateway(tmp_path, definitions=write_definitions(tmp_path, definition)) as running:
        await running.connect("keyed", {"token": "key-of-alice"})
        refused = await running.call("keyed", "by_header")
        assert refused.json()["error"] == "integration_not_connected"
        page = await visit(running.session, refused.json()["action_url"])
        assert 'name="api_key"' in page.page
        await running.connect("keyed", {"api_key": "key-of-bob"})
        assert (await running.call("keyed", "by_header")).json()["data"] == {"login": "bob"}
        assert (await running.call("keyed", "whoami")).json()["error"] == "ambiguous_connection"


async def test_oauth_is_never_connected_by_a_credential_in_the_request(one_desk: Desk) -> None:
    body = {"integration": "demo", "auth": "oauth", "credentials": {"token": "x"}}
    answer = await one_desk.running.ask("POST", "/v1/connect", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")


# -- whose OAuth client ----------------------------------------------------------------------------


async def test_without_a_client_an_integration_says_what_to_register(tmp_path: Path, one_server: Provider) -> None:
    only_oauth = oauth_definition(one_server, "solo")
    only_oauth["auth"] = only_oauth["auth"][:1]
    async with demo(tmp_path, one_server, only_oauth, client=False) as desk:
        listed = (await desk.running.ask("GET", "/v1/skills")).json()["integrations"]
        solo = next(item for item in listed if item["slug"] == "solo")
        assert solo["available"] is False
        assert f"{desk.running.url}/oauth/callback/solo" in solo["unavailable_reason"]
        assert "skills.yaml" in solo["unavailable_reason"]
        refused = await desk.running.ask("POST", "/v1/connect", body={"integration": "solo"})
        assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        assert f"{desk.running.url}/oauth/callback/solo" in refused.json()["message"]
        # Where there is another way in, that one is offered.
        available = next(item for item in listed if item["slug"] == "demo")
        assert available["available"] is True
        begun = await desk.begin()
        assert 'name="token"' in (await visit(desk.session, begun["oauth_url"])).page


async def test_an_orgs_own_client_serves_that_org_alone(one_desk: Desk) -> None:
    desk, server = one_desk, one_desk.server
    other = await desk.another_org()
    code, out, err = await desk.operate(
        "orgs", "set-client", desk.running.org.id, "demo", "--client-id", server.second_client.id,
        "--client-secret-stdin", stdin=server.second_client.secret + "\n",
    )
    assert code == 0, err
    uri = f"{desk.running.url}/oauth/callback/demo.{desk.running.org.id}"
    assert json.loads(out) == {
        "org": desk.running.org.id, "integration": "demo", "client_id": "neighbour", "redirect_uri": uri,
    }
    assert server.second_client.secret not in out + err
    server.add_redirect_uri(uri)

    begun = await desk.begin()
    callback = await desk.consent(begun["oauth_url"])
    assert callback.startswith(uri + "?")
    assert (await desk.come_back(callback)).status == 303
    assert await desk.login() == "alice"
    assert "client_id=neighbour" in _last_token_request(desk)

    theirs = await desk.begin(key=other.live)
    async with browser() as session:
        callback = await desk.consent(theirs["oauth_url"], "bob", session=session)
        assert callback.startswith(f"{desk.running.url}/oauth/callback/demo?")
        assert (await desk.come_back(callback, session)).status == 303
    assert await desk.login(key=other.live) == "bob"
    assert "client_id=gateway" in _last_token_request(desk)

    code, out, err = await desk.operate("orgs", "set-client", desk.running.org.id, "demo", "--remove")
    assert (code, json.loads(out)) == (0, {"removed": True}), err
    callback = await desk.consent((await desk.begin(user="later"))["oauth_url"])
    assert callback.startswith(f"{desk.running.url}/oauth/callback/demo?")


async def test_a_client_that_cannot_be_saved_says_why(one_desk: Desk) -> None:
    org = one_desk.running.org.id
    for arguments, named in (
        ((org, "demmo", "--client-id", "x"), "demo"),
        (("org_nobody", "demo", "--client-id", "x"), "org_nobody"),
        ((org, "demo"), "--client-id"),
    ):
        code, _, err = await one_desk.operate("orgs", "set-client", *arguments)
        assert code != 0
        assert named in err


async def test_orgs_that_know_nothing_of_each_other_bring_their_own_client(tmp_path: Path, one_server: Provider) -> None:
    back = "https://app.example.com/connected"
    async with demo(tmp_path, one_server, tenancy="separate", verify_connect="redirect") as desk:
        await desk.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [back]})
        refused = await desk.running.ask("POST", "/v1/connect", body={"integration": "demo", "auth": "oauth"})
        assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        org = desk.running.org.id
        code, _, err = await desk.operate(
            "orgs", "set-client", org, "demo", "--client-id", one_server.client_id, "--client-secret-stdin",
            stdin=one_server.client_secret,
        )
        assert code == 0, err
        one_server.add_redirect_uri(f"{desk.running.url}/oauth/callback/demo.{org}")
        begun = await desk.begin()
        callback = await desk.consent(begun["oauth_url"])
        async with desk.session.get(callback, allow_redirects=False) as parked:
            handle = query_of(parked.headers["Location"])["handle"]
        body = {"user": "default", "handle": handle}
        confirmed = await desk.running.ask("POST", f"/v1/connect/{begun['connection_id']}/confirm", body=body)
        assert confirmed.json()["status"] == "connected"
        assert await desk.login() == "alice"


async def test_orgs_that_know_nothing_of_each_other_must_prove_who_finished(tmp_path: Path, one_server: Provider) -> None:
    """Refused when a connect begins, never at start-up; a credential of the caller's own needs no proof."""
    async with demo(tmp_path, one_server, tenancy="separate") as desk:
        refused = await desk.running.ask("POST", "/v1/connect", body={"integration": "demo", "auth": "token"})
        assert (refused.status, refused.json()["error"]) == (403, "forbidden")
        assert "VERIFY_CONNECT" in refused.json()["message"]
        credentials = {"client_id": one_server.client_id, "client_secret": one_server.client_secret}
        assert (await desk.begin(auth="machine", credentials=credentials))["status"] == "connected"
        assert await desk.login() == "gateway"


async def test_the_redirect_uri_to_register_is_the_one_that_is_sent(tmp_path: Path, one_server: Provider) -> None:
    only_oauth = oauth_definition(one_server, "solo")
    only_oauth["auth"] = only_oauth["auth"][:1]
    async with demo(
        tmp_path, one_server, only_oauth, client=False, tenancy="separate", verify_connect="redirect"
    ) as desk:
        listed = (await desk.running.ask("GET", "/v1/skills")).json()["integrations"]
        reason = next(item for item in listed if item["slug"] == "solo")["unavailable_reason"]
        assert f"{desk.running.url}/oauth/callback/solo.{desk.running.org.id}" in reason
        assert f"skillway orgs set-client {desk.running.org.id} solo" in reason


# -- keys ------------------------------------------------------------------------------------------


async def test_connecting_needs_a_key_that_may_use_the_integration(one_desk: Desk) -> None:
    code, out, err = await one_desk.operate(
        "orgs", "create-key", one_desk.running.org.id, "--name", "narrow", "--scopes", "github", "--json"
    )
    assert code == 0, err
    narrow = json.loads(out)["full_key"]
    answer = await one_desk.running.ask("POST", "/v1/connect", body={"integration": "demo"}, key=narrow)
    assert (answer.status, answer.json()["error"]) == (403, "scope_not_allowed")
    for method, path in (("POST", "/v1/connect"), ("GET", f"/v1/connect/{NOBODYS}"), ("GET", "/v1/connections")):
        answer = await one_desk.running.ask(method, path, key="", body={} if method == "POST" else None)
        assert (answer.status, answer.json()["error"]) == (401, "unauthorized")


async def test_a_request_that_says_too_little_or_too_much_is_refused_by_name(one_desk: Desk) -> None:
    for body, named in (
        ({}, "integration"),
        ({"integration": 5}, "integration"),
        ({"integration": "demo", "usr": "x"}, "usr"),
        ({"integration": "demo", "user": ""}, "user"),
        ({"integration": "demo", "user": "x" * 129}, "user"),
        ({"integration": "demo", "label": "a\u202eb"}, "label"),
        ({"integration": "demo", "auth": "tokne"}, "auth"),
        ({"integration": "demo", "redirect_url": "https://evil.example"}, "redirect_url"),
    ):
        answer = await one_desk.running.ask("POST", "/v1/connect", body=body)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request"), body
        assert named in json.dumps(answer.json()), answer.body
    answer = await one_desk.running.ask("POST", "/v1/connect", body={"integration": "demmo"})
    assert (answer.status, answer.json()["error"]) == (404, "not_found")
    assert "demo" in answer.json()["hint"]


# -- small parts -----------------------------------------------------------------------------------


def _tokens_seen(desk: Desk) -> list[str]:
    """Access tokens that calls of the resource carried, oldest first."""
    lines = [seen["headers"].get("authorization", "") for seen in desk.server.requests() if seen["path"] == "/api/me"]
    return [line.removeprefix("Bearer ") for line in lines]


def _refresh_tokens(desk: Desk) -> list[str]:
    return [query_of("?" + seen["body"]).get("refresh_token", "") for seen in desk.server.requests() if "refresh_token=" in seen["body"]]


def _last_token_request(desk: Desk) -> str:
    return [str(seen["body"]) for seen in desk.server.requests() if desk.server.token_url.endswith(seen["path"])][-1]


async def _flows(desk: Desk) -> int:
    """Rows of flows in the database."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(f"file:{desk.running.data_dir}/skillway.db?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM flows").fetchone()[0])


def _told(headers: Any) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if name.lower() not in ("x-request-id", "date"):
            yield name, value
