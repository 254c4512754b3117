"""A 200 that says no, errors that all actions share, scopes of several kinds, over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.requests.answers import says_no
from skills_catalog.loader import load_integration
from tests.demo import query_of, visit
from tests.fakes.upstream import Answer, json_answer
from tests.format.desk import DEFINITIONS, Desk, desk

CHAT = load_integration(DEFINITIONS / "chat.yaml")


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Desk]:
    def moved(origin: str) -> Mapping[str, Any]:
        client = {"client_id": "us", "client_secret": "our-secret"}
        addresses = {"authorization_url": f"{origin}/authorize", "token_url": f"{origin}/token"}
        return {"base_url": f"{origin}/api", **addresses, **client}

    async with desk(tmp_path, "chat", moved) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"ok": False, "error": "not_in_channel"}, "Join the channel first."),
        ({"ok": False, "error": "ratelimited"}, "Wait as long as Retry-After says."),
        ({"ok": False, "error": "something_new"}, None),
        ({"ok": True, "warning": "not_in_channel"}, None),
        ({"ok": True, "text": "ratelimited"}, None),
    ],
)
async def test_the_hint_of_a_200_that_says_no_is_chosen_and_the_rest_stays(chat: Desk, body: Any, hint: str | None) -> None:
    await chat.connect({"token": "xoxb-token-1"})
    chat.says["/api/chat.postMessage"] = json_answer(body)
    envelope = await chat.call("post_message", {"channel": "C1", "text": "Hi"})
    assert (envelope["status"], envelope["data"], envelope["meta"].get("hint")) == (200, body, hint)


async def test_common_errors_hold_for_refusals_by_status_too(chat: Desk) -> None:
    await chat.connect({"token": "xoxb-token-1"})
    chat.says["/api/chat.postMessage"] = json_answer({"ok": False, "error": "ratelimited"}, 429)
    envelope = await chat.call("post_message", {"channel": "C1", "text": "Hi"})
    assert (envelope["status"], envelope["meta"]["hint"]) == (429, "Wait as long as Retry-After says.")


def test_what_is_no_json_or_too_large_for_a_refusal_is_a_success() -> None:
    skill = CHAT.skills["post_message"]
    assert says_no(skill, 200, b'{"ok": false}')
    assert says_no(skill, 500, b"")
    for body in (b"", b"<html>", b"\xff", b'{"ok": true}', b"[" * 100_000, b'{"ok": false, "x": "%b"}' % (b"y" * 300_000)):
        assert not says_no(skill, 200, body)
    assert not says_no(skill, 302, b'{"ok": false}')


async def test_a_token_that_whoami_refuses_with_a_200_connects_nothing(chat: Desk) -> None:
    chat.says["/api/auth.test"] = json_answer({"ok": False, "error": "invalid_auth"})
    answer = await chat.connect({"token": "xoxb-wrong-1"})
    assert (answer["http"], "does not accept this credential" in answer["message"]) == (400, True)
    assert (await chat.running.ask("GET", "/v1/connections")).json() == {"connections": []}


async def test_a_consent_is_not_lost_to_an_upstream_that_is_busy(chat: Desk) -> None:
    chat.says["/api/auth.test"] = json_answer({"ok": False, "error": "ratelimited"})
    chat.says["/token"] = json_answer({"access_token": "xoxb-1"})
    assert "Chat is connected" in await _consent(chat, "bot")


# -- scopes ----------------------------------------------------------------------------------------


async def _away(chat: Desk, method: str, **more: Any) -> dict[str, str]:
    """Begins and clicks; what the provider is asked with."""
    body = {"integration": "chat", "auth": method, **more}
    begun = (await chat.running.ask("POST", "/v1/connect", body=body)).json()
    async with chat.session.post(begun["oauth_url"], allow_redirects=False) as clicked:
        assert clicked.status == 303, await clicked.text()
        return query_of(clicked.headers["Location"])


async def _consent(chat: Desk, method: str, **more: Any) -> str:
    asked = await _away(chat, method, **more)
    landed = await visit(chat.session, f"{chat.running.url}/oauth/callback/chat?code=c&state={asked['state']}")
    return landed.page


async def test_scopes_go_where_the_provider_takes_them_and_some_always(chat: Desk) -> None:
    bot = await _away(chat, "bot")
    assert (bot["scope"], bot["user_scope"]) == ("chat.write,offline", "search.read")
    user = await _away(chat, "user")
    assert ("scope" in user, user["user_scope"]) == (False, "search.read")
    wider = await _away(chat, "user", scopes=["search.read", "files.read"])
    assert wider["user_scope"] == "search.read,files.read"
    narrow = await _away(chat, "bot", scopes=["users.read"])
    assert narrow["scope"] == "users.read,offline"


async def test_the_page_shows_what_is_always_asked_for_too(chat: Desk) -> None:
    begun = (await chat.running.ask("POST", "/v1/connect", body={"integration": "chat", "auth": "bot"})).json()
    page = (await visit(chat.session, begun["oauth_url"])).page
    assert "<code>chat.write</code>" in page and "<code>offline</code>" in page


async def test_the_token_of_the_person_stands_elsewhere_in_the_answer(chat: Desk) -> None:
    chat.says["/token"] = json_answer(
        {"ok": True, "access_token": "xoxb-bot", "authed_user": {"access_token": "xoxp-user", "scope": "search.read,chat.write"}}
    )
    assert "Chat is connected" in await _consent(chat, "user")
    assert chat.last.header("Authorization") == "Bearer xoxp-user"
    assert (await chat.connection())["scopes"] == ["search.read", "chat.write"]


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("chat.write,chat.everywhere", None),
        ("admin", None),
        ("chat.write,offline", ["chat.everywhere"]),
        ("offline", ["admin"]),
    ],
)
async def test_any_of_the_sets_of_scopes_is_enough_and_the_nearest_is_asked_for(
    chat: Desk, granted: str, missing: list[str] | None
) -> None:
    chat.says["/token"] = json_answer({"access_token": "xoxb-1", "scope": granted})
    await _consent(chat, "bot")
    answer = await chat.running.call("chat", "post_message", {"channel": "C1", "text": "Hi"})
    if missing is None:
        assert answer.json()["status"] == 200
        return
    body = answer.json()
    assert (answer.status, body["error"], body["details"]["missing"]) == (403, "missing_scopes", missing)
    page = (await visit(chat.session, body["action_url"])).page
    for scope in (*granted.split(","), *missing):
        assert f"<code>{scope}</code>" in page


async def test_discovery_and_skill_files_tell_of_the_choice(chat: Desk) -> None:
    document = (await chat.running.ask("GET", "/v1/skills/chat/post_message")).json()
    assert (document["scopes"], document["other_scopes"]) == (["chat.write", "chat.everywhere"], [["admin"]])
    assert [error["code"] for error in document["errors"]] == ["not_in_channel", "ratelimited", "invalid_auth"]
    files = (await chat.running.ask("GET", "/v1/chat/download")).json()["files"]
    page = next(file["content"] for file in files if file["file_path"].endswith("post_message.md"))
    assert "OAuth scopes: `chat.write`, `chat.everywhere`; or `admin`." in page


async def test_a_provider_that_answers_html_is_no_reason_to_fall_over(chat: Desk) -> None:
    chat.says["/token"] = Answer(body=b"<html>")
    assert "was not connected" in await _consent(chat, "bot")
