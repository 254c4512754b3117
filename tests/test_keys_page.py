"""The keys page: a member lists, makes and revokes keys, and sees the text of one once."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.core.tenants.keys import is_well_formed
from tests.fakes.upstream import HandClock
from tests.harness import RunningGateway, gateway
from tests.people import OWN_SITE, Page, Person, invite, person

KEY = re.compile(r"sk_(?:live|test)_gw_[0-9A-Za-z]{44}")


@pytest.fixture
async def running(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path, clock=clock, **database_setting) as made:
        yield made


@pytest.fixture
async def ada(running: RunningGateway) -> AsyncIterator[Person]:
    async with person(running, await invite(running, name="Ada")) as made:
        yield made


async def make(ada: Person, **typed: str) -> Page:
    return await ada.press(await ada.open("/keys"), "/keys", **typed)


async def test_the_keys_are_listed_as_they_are(running: RunningGateway, ada: Person) -> None:
    await running.ask("POST", "/api-keys", body={"name": "narrow", "scopes": ["github"], "level": "read_only"})
    await running.call("github", "get_repo", {"repo": "a/b"}, key=running.org.test)
    page = await ada.open("/keys")
    assert page.status == 200
    for named in ("Acme", "Ada", "narrow", "read only", "github", "live", "test", "active", "never"):
        assert named in page.words
    assert not KEY.search(page.html)
    assert running.org.live[:16] in page.html


async def test_a_key_is_made_and_its_text_shown_on_this_answer_alone(running: RunningGateway, ada: Person) -> None:
    page = await make(ada, name="CI", level="read_only", mode="live", expires_in_days="30")
    assert page.status == 200 and page.headers["Cache-Control"] == "no-store"
    [text] = set(KEY.findall(page.html))
    assert is_well_formed(text)
    shown = (await running.ask("GET", "/v1/verify", key=text)).json()["api_key"]
    assert (shown["name"], shown["level"], shown["scopes"], shown["parent"]) == ("CI", "read_only", ["*"], None)
    assert shown["expires_at"] is not None
    for path in ("/keys", f"/keys/{shown['id']}/revoke"):
        again = await ada.open(path)
        assert text not in again.html and not KEY.search(again.html)
    made = [event for event in (await running.ask("GET", "/v1/events?kind=audit")).json()["events"] if event["data"].get("id") == shown["id"]]
    assert [(event["type"], event["actor"]["type"], event["actor"]["name"]) for event in made] == [
        ("api_key.created", "member", "Ada")
    ]


async def test_chosen_integrations_are_the_only_ones(running: RunningGateway, ada: Person) -> None:
    form = (await ada.open("/keys")).form("/keys")
    pairs = [*form.fields.items(), ("name", "two"), ("scope", "github"), ("scope", "overten")]
    page = await ada._ask(
        "POST", "/keys",
        headers={"Content-Type": "application/x-www-form-urlencoded", **OWN_SITE}, data=urlencode(pairs).encode(),
    )  # fmt: skip
    [text] = set(KEY.findall(page.html))
    shown = (await running.ask("GET", "/v1/verify", key=text)).json()["api_key"]
    assert shown["scopes"] == ["github", "overten"]


WRONG_WISHES = [
    {"name": ""}, {"name": "   "}, {"name": "x" * 129}, {"name": "a\x00b"}, {"name": "a", "level": "root"},
    {"name": "a", "mode": "prod"}, {"name": "a", "expires_in_days": "0"}, {"name": "a", "expires_in_days": "-1"},
    {"name": "a", "scope": "githb"},
]  # fmt: skip


async def test_a_wrong_wish_is_told_on_the_form(running: RunningGateway, ada: Person) -> None:
    for typed in WRONG_WISHES:
        page = await make(ada, **typed)
        assert page.status == 400 and 'role="alert"' in page.html, typed
        assert not KEY.search(page.html)
        if typed["name"].isprintable() and typed["name"].strip():
            assert page.form("/keys").fields["name"] == typed["name"]
        assert len((await running.ask("GET", "/api-keys")).json()) == 2


async def test_a_key_is_revoked_after_a_second_look(running: RunningGateway, ada: Person) -> None:
    page = await make(ada, name="to go")
    [text] = set(KEY.findall(page.html))
    key = (await running.ask("GET", "/v1/verify", key=text)).json()["api_key"]["id"]
    asked = await ada.open(f"/keys/{key}/revoke")
    assert "Revoke to go?" in asked.words and "cannot be undone" in asked.words
    assert (await running.ask("GET", "/v1/verify", key=text)).status == 200
    done = await ada.press(asked)
    assert (done.status, done.location) == (303, f"{running.url}/keys")
    assert (await running.ask("GET", "/v1/verify", key=text)).json()["error"] == "api_key_revoked"
    listed = await ada.open("/keys")
    assert "Revoked and expired (1)" in listed.words and f"/keys/{key}/revoke" not in listed.html
    for again in (await ada.open(f"/keys/{key}/revoke"), await ada.press(asked)):
        assert again.status == 404
    for unknown in ("key_nobody", "..", "%00", "x" * 200):
        assert (await ada.open(f"/keys/{unknown}/revoke")).status == 404, unknown


async def test_the_plan_has_the_last_word(tmp_path: Path, database_setting: dict[str, Any]) -> None:
    async with gateway(tmp_path, plans={"free": {"api_keys": 3}}, plan="free", **database_setting) as running:
        async with person(running, await invite(running)) as ada:
            assert "room for 3; 2 work" in (await ada.open("/keys")).words
            assert KEY.search((await make(ada, name="third")).html)
            page = await make(ada, name="fourth")
            assert page.status == 403 and "Plan limit reached: maximum 3 API keys." in page.words


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "{{ 7 * 7 }}",
    "' autofocus onfocus=alert(1) x='", "</title></style><script>alert(1)</script>", "javascript:alert(1)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_names_are_words_and_nothing_else(tmp_path: Path, text: str) -> None:
    """T181: names of keys, of members, of orgs."""
    async with gateway(tmp_path) as running:
        async with person(running, await invite(running, "calm@example.com", name="calm")) as calm:
            await make(calm, name="calm")
            tags = {path: (await calm.open(path)).tags for path in ("/keys", "/device", "/sign-in")}
        link = await invite(running, name=text)
        async with person(running) as ada:
            assert text in (await ada.open(link)).words
            await ada.sign_in(link)
            made = await make(ada, name=text)
            assert text in made.words
            await _revoke_all(running, "calm")
            for path in ("/keys", "/device", "/sign-in"):
                page = await ada.open(path)
                assert text in page.words
                assert set(page.tags) <= set(tags[path]) | {"details", "summary"}, path
            key = next(key for key in (await running.ask("GET", "/api-keys")).json() if key["name"] == text)
            asked = await ada.open(f"/keys/{key['id']}/revoke")
            assert f"Revoke {text}?" in asked.words and "<script" not in asked.html


@pytest.mark.shared
async def test_no_naughty_string_is_alive_on_the_keys_page(tmp_path: Path, shared: Path) -> None:
    naughty = json.loads((shared / "hostile" / "naughty-strings.json").read_text(encoding="utf-8"))
    texts = [text for text in naughty if text.strip() and text.isprintable() and len(text) <= 128]
    assert len(texts) > 300
    async with gateway(tmp_path) as running, person(running, await invite(running)) as ada:
        known = set((await ada.open("/keys")).tags)
        for text in texts:
            made = await running.ask("POST", "/api-keys", body={"name": text})
            assert made.status == 201, text
        page = await ada.open("/keys")
        assert set(page.tags) - known <= {"time"}
        assert all(text.strip() in unescape(page.html) for text in texts)


async def _revoke_all(running: RunningGateway, name: str) -> None:
    for key in (await running.ask("GET", "/api-keys")).json():
        if key["name"] == name:
            await running.ask("DELETE", f"/api-keys/{key['id']}")
