"""Connection fields wherever a definition can name them, looked up and chosen, over sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yarl

from gateway.core.errors import Refusal
from gateway.core.requests.building import build_request
from gateway.operator_file import BadSetting
from skills_catalog.loader import load_integration
from tests.demo import query_of, visit
from tests.fakes.provider import browser
from tests.fakes.upstream import Answer, HandClock, json_answer
from tests.format.desk import DEFINITIONS, Desk, chosen, desk
from tests.leaks import files, leaks
from tests.people import invite, person

SITES = load_integration(DEFINITIONS / "sites.yaml")
CLIENT = {"client_id": "us", "client_secret": "our-secret"}


def moved(origin: str) -> Mapping[str, Any]:
    return {
        "base_url": f"{origin}/ex/{{cloud_id}}",
        "servers": {"accounts": f"{origin}/accounts", "files": f"{origin}/files/{{cloud_id}}"},
        "authorization_url": f"{origin}/authorize",
        "token_url": f"{origin}/token",
        # The site stands in the path here: a name under 127.0.0.1 is no host.
        "auth": {"api_token": {"base_url": f"{origin}/{{site}}/rest"}},
        **CLIENT,
    }


def told(*sites: tuple[str, str], **more: Any) -> Answer:
    values = [{"id": one, "name": name, "active": True} for one, name in sites]
    return json_answer({"values": [{"id": "c-0", "name": "Old", "active": False}, *values], **more})


@asynccontextmanager
async def sites(folder: Path, **settings: Any) -> AsyncIterator[Desk]:
    async with desk(folder, "sites", moved, **settings) as made:
        made.says["/accounts/sites"] = told(("c-1", "One"))
        made.says["/token"] = json_answer({"access_token": "token-of-ada", "token_type": "bearer"})
        yield made


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Desk]:
    async with sites(tmp_path) as made:
        yield made


# -- looked up and chosen --------------------------------------------------------------------------


async def test_what_an_action_tells_right_after_connecting_is_a_field_of_the_connection(one: Desk) -> None:
    answer = await one.connect({"token": "token-of-ada"}, auth="token")
    assert (answer["status"], answer["account"]) == ("connected", "Ada")
    asked = [(seen.method, seen.raw_path, seen.header("Authorization")) for seen in one.api.seen]
    assert asked == [
        ("GET", "/accounts/sites", "Bearer token-of-ada"),
        ("GET", "/ex/c-1/me", "Bearer token-of-ada"),
    ]
    assert (await one.connection())["fields"] == {"cloud_id": "c-1"}
    await one.call("get_me")
    assert one.last.raw_path == "/ex/c-1/me"


async def test_of_several_the_api_is_told_which_there_are_and_says_one(one: Desk) -> None:
    one.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"), ("c-2", "Two again"))
    answer = await one.connect({"token": "token-of-ada"}, auth="token")
    assert (answer["http"], answer["error"]) == (400, "bad_request")
    assert answer["details"]["choices"] == [
        {"cloud_id": "c-1", "title": "One"},
        {"cloud_id": "c-2", "title": "Two"},
    ]
    assert answer["details"]["fields"][0]["path"] == "credentials/cloud_id"
    assert "One (c-1), Two (c-2)" in answer["message"] and "as cloud_id" in answer["message"]
    assert (await one.running.ask("GET", "/v1/connections")).json() == {"connections": []}
    assert (await one.connect({"token": "token-of-ada", "cloud_id": "c-2"}))["status"] == "connected"
    assert one.last.raw_path == "/ex/c-2/me"
    wrong = await one.connect({"token": "token-of-ada", "cloud_id": "c-3"})
    assert (wrong["http"], "One (c-1), Two (c-2)" in wrong["message"]) == (400, True)


@pytest.mark.parametrize(
    "answer",
    [
        told(), json_answer({"values": None}), json_answer([]), Answer(body=b"<html>"), Answer(status=404),
        json_answer({"values": [{"name": "no id", "active": True}, {"id": {"a": 1}, "active": True}, "x"]}),
        json_answer({"values": [{"id": "a\nb", "name": "x", "active": True}]}),
        Answer(body=b'{"values": [{"id": "' + b"x" * 2_000_000 + b'", "active": true}]}'),
    ],
)  # fmt: skip
async def test_an_answer_that_tells_of_nothing_connects_nothing(one: Desk, answer: Answer) -> None:
    one.says["/accounts/sites"] = answer
    said = await one.connect({"token": "token-of-ada"}, auth="token")
    assert (said["http"], said["error"]) == (400, "bad_request")
    assert len(one.api.seen) == 1


async def test_what_cannot_stand_where_it_goes_is_refused_and_nothing_is_asked_there(one: Desk) -> None:
    for evil in ("..", "../../accounts", "%2e%2e"):
        one.says["/accounts/sites"] = told((evil, "Evil"))
        before = len(one.api.seen)
        said = await one.connect({"token": "token-of-ada"}, auth="token")
        assert (said["http"], len(one.api.seen)) == (400, before + 1), evil


async def test_an_answer_that_repeats_the_credential_does_not_make_it_a_field(one: Desk) -> None:
    one.says["/accounts/sites"] = told(("token-of-ada", "token-of-ada"), ("c-1", "One"))
    said = await one.connect({"token": "token-of-ada"}, auth="token")
    assert said["details"]["choices"][0] == {"cloud_id": "[secret]", "title": "[secret]"}


async def _consent(made: Desk, session: aiohttp.ClientSession, **more: Any) -> tuple[str, str]:
    """Begins, clicks, agrees; the id and the callback's address."""
    body = {"integration": "sites", "auth": "oauth", **more}
    begun = (await made.running.ask("POST", "/v1/connect", body=body)).json()
    async with session.post(begun["oauth_url"], allow_redirects=False) as clicked:
        assert clicked.status == 303, await clicked.text()
        state = query_of(clicked.headers["Location"])["state"]
    return begun["connection_id"], f"{made.running.url}/oauth/callback/sites?code=the-code&state={state}"


async def test_of_several_the_page_asks_the_person_who_consented(one: Desk) -> None:
    one.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", '<b>"Two" & co</b>'))
    connection, callback = await _consent(one, one.session, label="mine")
    landed = await visit(one.session, callback)
    page = f"{one.running.url}/connect/{connection}"
    assert (landed.status, landed.location) == (303, page)
    assert "Which one?" in landed.page and "One" in landed.page
    assert "&lt;b&gt;&#34;Two&#34; &amp; co&lt;/b&gt;" in landed.page
    polled = (await one.running.ask("GET", f"/v1/connect/{connection}")).json()
    assert polled == {
        "status": "pending", "detail": "awaiting_choice", "integration": "sites", "user": "default", "oauth_url": page,
    }  # fmt: skip
    for wrong in ({}, {"choice": "2"}, {"choice": "-1"}, {"choice": "٠"}, {"choice": "999999999999"}, {"choice": "x"}):
        async with one.session.post(page, data=wrong, allow_redirects=False) as clicked:
            assert (clicked.status, "Choose one of the list." in await clicked.text()) == (400, True)
    async with one.session.post(page, data={"choice": "1"}) as done:
        assert "Sites is connected" in await done.text()
    shown = await one.connection()
    assert (shown["id"], shown["fields"], shown["label"]) == (connection, {"cloud_id": "c-2"}, "mine")
    # The code was redeemed once, whatever the page went through.
    assert [seen.raw_path for seen in one.api.seen].count("/token") == 1
    async with one.session.post(page, data={"choice": "0"}, allow_redirects=False) as again:
        assert again.status == 400
    assert (await one.connection())["fields"] == {"cloud_id": "c-2"}


async def test_nobody_else_sees_or_makes_the_choice(one: Desk) -> None:
    """The link is known to whoever made it; the names of a person's sites are the person's."""
    one.says["/accounts/sites"] = told(("c-1", "Secret One"), ("c-2", "Secret Two"))
    connection, callback = await _consent(one, one.session)
    await visit(one.session, callback)
    page = f"{one.running.url}/connect/{connection}"
    async with browser() as other:
        seen = await visit(other, page)
        assert "Secret" not in seen.page
        async with other.post(page, data={"choice": "0"}, allow_redirects=False) as clicked:
            assert clicked.status == 400
        async with other.post(page, data={"choice": "0"}, headers={"Cookie": "skillway_browser=" + "x" * 43}) as clicked:
            assert clicked.status == 400
    polled = await one.running.ask("GET", f"/v1/connect/{connection}")
    assert "Secret" not in polled.body.decode()
    async with one.session.post(page, data={"choice": "0"}) as done:
        assert "Sites is connected" in await done.text()


async def test_a_choice_is_made_once_and_in_time(tmp_path: Path, clock: HandClock) -> None:
    async with sites(tmp_path, clock=clock) as made:
        made.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
        connection, callback = await _consent(made, made.session)
        await visit(made.session, callback)
        page = f"{made.running.url}/connect/{connection}"

        async def choose(which: int) -> int:
            async with made.session.post(page, data={"choice": str(which)}, allow_redirects=False) as clicked:
                return clicked.status

        # Who clicks while it is being made is refused; who comes after that is led to what was made.
        clicked = await asyncio.gather(*(choose(turn % 2) for turn in range(10)))
        assert 303 in clicked and {*clicked} <= {303, 400}
        listed = (await made.running.ask("GET", "/v1/connections")).json()["connections"]
        assert [one["id"] for one in listed] == [connection]
        connection, callback = await _consent(made, made.session, user="u-2")
        await visit(made.session, callback)
        clock.move(601)
        page = f"{made.running.url}/connect/{connection}"
        assert await choose(0) == 400
        assert (await made.running.ask("GET", f"/v1/connect/{connection}")).json()["error"] == "flow_expired"


async def test_what_waits_for_a_choice_is_sealed(one: Desk) -> None:
    one.says["/token"] = json_answer({"access_token": "access-token-of-ada", "refresh_token": "refresh-token-of-ada"})
    one.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
    _, callback = await _consent(one, one.session)
    await visit(one.session, callback)
    hidden = ["access-token-of-ada", "refresh-token-of-ada"]
    assert list(leaks(hidden, files(one.running.data_dir))) == []


async def test_a_field_that_was_said_at_the_beginning_needs_no_choice(one: Desk) -> None:
    one.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
    _, callback = await _consent(one, one.session, credentials={"cloud_id": "c-2"})
    assert "Sites is connected" in (await visit(one.session, callback)).page
    assert (await one.connection())["fields"] == {"cloud_id": "c-2"}


async def test_connecting_again_takes_the_same_one_again(one: Desk) -> None:
    one.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
    await one.connect({"token": "token-of-ada", "cloud_id": "c-2"})
    connection = (await one.connection())["id"]
    again = await one.connect({"token": "new-token"}, connection=connection)
    assert (again["status"], again["connection_id"]) == ("connected", connection)
    assert one.last.raw_path == "/ex/c-2/me"


async def test_with_verify_connect_the_choice_comes_after_the_confirmation(tmp_path: Path) -> None:
    async with sites(tmp_path, verify_connect="redirect") as made:
        made.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
        url = "https://app.example/back"
        await made.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
        connection, callback = await _consent(made, made.session, user="u-1")
        async with made.session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as back:
            handle = query_of(back.headers["Location"])["handle"]
        path = f"/v1/connect/{connection}/confirm"
        said = (await made.running.ask("POST", path, body={"user": "u-1", "handle": handle})).json()
        assert (said["status"], said["detail"]) == ("pending", "awaiting_choice")
        async with made.session.post(said["oauth_url"], data={"choice": "0"}, allow_redirects=False) as done:
            assert done.status == 303
        assert (await made.running.ask("GET", f"/v1/connect/{connection}")).json()["status"] == "connected"


async def test_where_members_finish_flows_a_member_makes_the_choice(tmp_path: Path) -> None:
    async with sites(tmp_path, verify_connect="session") as made:
        made.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
        body = {"integration": "sites", "auth": "oauth"}
        connection = (await made.running.ask("POST", "/v1/connect", body=body)).json()["connection_id"]
        path = f"/connect/{connection}"
        async with person(made.running, await invite(made.running)) as ada:
            clicked = await ada.press(await ada.open(path))
            state = query_of(clicked.location)["state"]
            landed = await ada.open(f"/oauth/callback/sites?code=the-code&state={state}")
            assert landed.location == f"{made.running.url}{path}"
            choosing = await ada.open(path)
            assert "Which one?" in choosing.words
            await ada.sign_out()
            # The browser is the same one, but nobody of the org any more.
            asked = await ada.open(path)
            assert "Sign in to go on" in asked.words and "Two" not in asked.words
            async with ada.session.post(f"{made.running.url}{path}", data={"choice": "1"}, allow_redirects=False) as pressed:
                assert pressed.headers["Location"].startswith(f"{made.running.url}/sign-in?next=")
            await ada.sign_in(await invite(made.running))
            async with ada.session.post(f"{made.running.url}{path}", data={"choice": "1"}, allow_redirects=False) as forged:
                assert forged.status in (400, 403)
            done = await ada.press(await ada.open(path), choice="1")
            assert done.location == f"{made.running.url}{path}"
        assert (await made.connection())["fields"] == {"cloud_id": "c-2"}
        audit = (await made.running.ask("GET", "/v1/events?kind=connection")).json()["events"]
        assert {event["actor"]["type"] for event in audit} == {"member"}


async def test_a_registered_page_of_the_org_is_gone_to_after_the_choice(one: Desk) -> None:
    one.says["/accounts/sites"] = told(("c-1", "One"), ("c-2", "Two"))
    url = "https://app.example/back"
    await one.running.ask("PUT", "/v1/org/redirect-urls", body={"redirect_urls": [url]})
    connection, callback = await _consent(one, one.session, redirect_url=url)
    async with one.session.get(yarl.URL(callback, encoded=True), allow_redirects=False) as back:
        page = back.headers["Location"]
    assert page == f"{one.running.url}/connect/{connection}"
    async with one.session.post(page, data={"choice": "0"}, allow_redirects=False) as done:
        assert done.headers["Location"] == f"{url}?connection_id={connection}"


# -- where fields stand ----------------------------------------------------------------------------


async def test_each_method_has_its_base_url_its_headers_and_its_fields(one: Desk) -> None:
    given = {"password": "api-token-1", "email": "ada@acme.example", "site": "acme"}
    assert (await one.connect(given))["account"] == "Ada"
    seen = one.last
    assert seen.raw_path == "/acme/rest/me"
    assert seen.header("Authorization") == "Basic " + base64.b64encode(b"ada@acme.example/token:api-token-1").decode()
    assert seen.header("X-Site") == "acme"
    # The fields that this connection does not have are no empty headers.
    assert seen.header("X-Project") is None and seen.header("X-Team") is None
    assert set((await one.connection())["fields"]) == {"email", "site"}


async def test_a_field_fills_headers_constants_paths_and_params(one: Desk) -> None:
    given = {"token": "token-of-ada", "team": "t 1", "project": 'p"1'}
    assert (await one.connect(given))["status"] == "connected"
    await one.call("list_pages")
    assert one.last.header("X-Team") == "t 1"
    assert urlsplit(one.last.raw_path).path == "/ex/c-1/teams/t%201/pages"
    # A brace around what is no field is a letter.
    assert one.last.query == [("scope", 'project:p"1'), ("owner", 'p"1'), ("literal", '{"a": "{not_a_field}"}')]
    await one.call("add_page", {"title": "{cloud_id}"})
    assert one.last.raw_path == "/ex/c-1/sites/c-1/pages"
    assert one.last.json() == {"origin": {"site": "c-1", "kinds": ['p"1', "plain"]}, "title": "{cloud_id}"}


async def test_a_constant_whose_field_is_missing_is_left_out(one: Desk) -> None:
    await one.connect({"token": "token-of-ada"}, auth="token")
    await one.call("list_pages", {"team": "t"})
    assert [name for name, _ in one.last.query] == ["scope", "literal"]


async def test_a_server_of_its_own_gets_the_credential_and_a_raw_body(one: Desk) -> None:
    await one.connect({"token": "token-of-ada"}, auth="token")
    file = {"content": base64.b64encode(b"\x00\xff hi").decode(), "content_type": "text/x-odd", "filename": "a"}
    await one.call("put_file", {"name": "a b.txt", "content": file})
    seen = one.last
    assert (seen.method, seen.raw_path) == ("PUT", "/files/c-1/files/a%20b.txt")
    assert (seen.body, seen.header("Content-Type")) == (b"\x00\xff hi", "text/x-odd")
    assert seen.header("Authorization") == "Bearer token-of-ada"


@pytest.mark.parametrize("site", ["evil.example/", "a.evil", "evil#", "e:80@x", "", "a b", "ünï", "a\nb"])
async def test_a_label_of_a_host_is_one(one: Desk, site: str) -> None:
    given = {"password": "api-token-1", "email": "ada@acme.example", "site": site}
    said = await one.connect(given)
    assert (said["http"], one.api.seen) == (400, [])
    if site == "a.evil":
        # Behind the domain that the definition fixes it leads nowhere else.
        return
    method = SITES.method("api_token")
    with pytest.raises(Refusal):
        build_request(SITES, SITES.skills["get_me"], {}, method=method, fields={"site": site})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\u560a\u560dX", "ünï", " a", "a\0"])
async def test_a_field_of_a_header_begins_no_other(one: Desk, value: str) -> None:
    said = await one.connect({"token": "token-of-ada", "team": value})
    if said["http"] == 200:
        assert (await one.refused("get_me"))["error"] == "bad_request"
    for seen in one.api.seen:
        assert seen.header("X-Evil") is None


async def test_a_field_of_another_method_is_not_taken(one: Desk) -> None:
    said = await one.connect({"token": "token-of-ada", "site": "acme"})
    assert (said["http"], "No auth method of sites takes site, token" in said["message"]) == (400, True)


async def test_the_page_of_a_method_asks_for_its_own_fields_alone(one: Desk) -> None:
    async def inputs(auth: str) -> str:
        body = {"integration": "sites", "auth": auth}
        link = (await one.running.ask("POST", "/v1/connect", body=body)).json()["oauth_url"]
        return (await visit(one.session, link)).page

    page = await inputs("api_token")
    for name in ("password", "site", "email", "team", "project"):
        assert f'name="{name}"' in page
    assert "API token" in page and 'name="username"' not in page and 'name="cloud_id"' not in page
    assert 'name="cloud_id"' not in await inputs("token") and 'name="site"' not in await inputs("oauth")


async def test_a_field_with_choices_is_a_list_to_choose_from_and_says_where_to_find_it(one: Desk) -> None:
    body = {"integration": "sites", "auth": "token"}
    link = (await one.running.ask("POST", "/v1/connect", body=body)).json()["oauth_url"]
    page = (await visit(one.session, link)).page
    assert '<select name="plan">' in page and "<option>pro</option>" in page
    assert "Which &lt;plan&gt; it is." in page
    form = {"token": "token-of-ada", "team": "", "project": "", "plan": "gold"}
    async with one.session.post(link, data=form, allow_redirects=False) as clicked:
        assert clicked.status == 400
        assert "must be one of" in await clicked.text()
    async with one.session.post(link, data={**form, "plan": "pro"}) as done:
        assert "Sites is connected" in await done.text()
    assert one.last.header("X-Plan") == "pro"


# -- what an operator may say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"base_url": "https://own.example/{cloud_id}"}, "the actions of servers.accounts would go elsewhere"),
        ({"servers": {"account": "https://own.example"}}, "has no server 'account'. Did you mean 'accounts'?"),
        ({"servers": {"accounts": "https://own.example/{nothing}"}}, "has no connection field 'nothing'"),
        ({"servers": {"accounts": "ftp://own.example"}}, "expected an address"),
        ({"servers": {"accounts": 7}}, "expected text"),
        ({"auth": {"tokens": {"base_url": "https://own.example"}}}, "has no auth method 'tokens'. Did you mean 'token'?"),
        ({"auth": {"token": {"token_url": "https://own.example"}}}, "has no meaning for the type bearer"),
        ({"auth": {"token": {"url": "https://own.example"}}}, "unknown key 'url'"),
        ({"auth": {"api_token": {"base_url": "https://{site}/x{site}"}}}, "must follow it"),
    ],
)
def test_an_address_that_cannot_be_is_told_at_the_start(tmp_path: Path, said: Any, words: str) -> None:
    with pytest.raises(BadSetting, match=r"integrations\.sites") as caught:
        chosen(tmp_path, {"sites": said})
    assert words in str(caught.value)


def test_a_base_url_of_the_operator_is_that_of_all_methods(tmp_path: Path) -> None:
    servers = {"accounts": "https://own.example/a", "files": "https://own.example/f"}
    own = chosen(tmp_path, {"sites": {"base_url": "https://own.example/api/", "servers": servers}}).integrations["sites"]
    skill = own.skills["get_me"]
    assert {own.base_url_for(skill, method) for method in own.auth} == {"https://own.example/api/"}
    request = build_request(own, skill, {}, method=own.method("api_token"))
    assert request.url == "https://own.example/api/me"


async def test_the_examples_of_a_test_key_need_no_connection(one: Desk) -> None:
    for action, params in (("list_pages", {"team": "t"}), ("add_page", {"title": "Hi"}), ("get_me", {})):
        answer = await one.running.call("sites", action, params, key=one.running.org.test)
        assert answer.json()["meta"]["sandbox"] is True, answer.body
    assert json.loads((await one.running.ask("GET", "/v1/sites/download")).body)["slug"] == "sites"
    assert one.api.seen == []
