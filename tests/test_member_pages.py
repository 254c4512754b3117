"""The pages for members as a person meets them: in a real browser, with scripts and without."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.core.tenants.keys import is_well_formed
from tests.conftest import lacking
from tests.demo import demo, listening
from tests.fakes.provider import Provider, ProviderUnavailable, available_providers, provider_process
from tests.harness import RunningGateway, gateway
from tests.pages.chromium import Chromium, Page, chromium, find_chromium, origin_of
from tests.people import invite
from tests.workshop import workshop

KEY = re.compile(r"sk_live_gw_[0-9A-Za-z]{44}")


@pytest.fixture(scope="module")
def openid() -> Iterator[Provider]:
    if "oidc" not in available_providers():
        lacking("the OpenID provider")
    try:
        with provider_process("oidc", scopes=("openid", "profile", "email", "read", "write")) as started:
            yield started
    except ProviderUnavailable as refusal:
        lacking(str(refusal))


@pytest.fixture
async def window() -> AsyncIterator[Chromium]:
    program = find_chromium()
    if program is None:
        lacking("Chromium")
        return
    async with chromium(program) as running:
        yield running


@pytest.fixture
async def page(window: Chromium) -> Page:
    return await window.page()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path) as made:
        yield made


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: `PAGE_SHOTS` keeps them."""
    folder = Path(os.environ.get("PAGE_SHOTS") or tmp_path / "shots")
    folder.mkdir(exist_ok=True)
    return folder


async def look(page: Page, shots: Path, name: str, *, height: int = 900) -> None:
    """Takes the page in the light and in the dark, wide and on a phone, where nothing may stick out."""
    await page.shot(shots / f"{name}-dark.png", dark=True, height=height)
    await page.shot(shots / f"{name}-phone.png", width=380, height=1100)
    assert await page.width() <= 380
    await page.shot(shots / f"{name}.png", height=height)


def assert_clean(page: Page, running: RunningGateway) -> None:
    """Our pages fetched nothing, broke no policy of theirs, and no script ran."""
    assert page.asked_by(running.url) == []
    assert [told for at, told in page.complaints if origin_of(at) == running.url] == []
    assert page.dialogs == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_person_signs_in_makes_a_key_lets_a_device_in_and_signs_out(
    running: RunningGateway, page: Page, shots: Path, scripts: bool
) -> None:
    if not scripts:
        await page.switch_scripts_off()
    await page.open(f"{running.url}/keys")
    assert await page.url() == f"{running.url}/sign-in"
    await look(page, shots, "sign-in-by-link")

    await page.open(await invite(running, name="Ada Lovelace"))
    assert "Ada Lovelace" in await page.text()
    await look(page, shots, "link")
    await page.press("main button")
    assert await page.url() == f"{running.url}/keys"
    await running.call("github", "get_repo", {"repo": "a/b"}, key=running.org.test)
    await look(page, shots, "keys", height=1300)

    await page.type("input[name=name]", "issue bot")
    await page.choose("input[name=level][value=read_only]")
    await page.choose("input[name=scope][value=github]")
    await page.press("form.columns > button")
    [text] = set(KEY.findall(await page.html()))
    assert is_well_formed(text)
    await look(page, shots, "key-made")
    shown = (await running.ask("GET", "/v1/verify", key=text)).json()["api_key"]
    assert (shown["name"], shown["level"], shown["scopes"]) == ("issue bot", "read_only", ["github"])
    await page.press("main a.button")
    assert await page.url() == f"{running.url}/keys"
    assert text not in await page.html() and "issue bot" in await page.text()

    begun = (await running.ask("POST", "/auth/device/code", key="", body={"device_name": "skillway on ada-laptop"})).json()
    await page.open(begun["verification_uri_complete"])
    await look(page, shots, "device")
    await page.press("main button")
    assert "skillway on ada-laptop" in await page.text()
    await look(page, shots, "device-decision")
    await page.press("button[value=approve]")
    assert "Approved" in await page.text()
    await look(page, shots, "device-approved")
    token = (await running.ask("POST", "/auth/device/token", key="", body={"device_code": begun["device_code"]})).json()
    assert token["status"] == "complete"

    await page.press("header nav a")
    await page.press(f'a[aria-label="Revoke {shown["name"]}"]')
    await look(page, shots, "revoke")
    await page.press("button.danger")
    assert "Revoked and expired (1)" in await page.text()
    assert (await running.ask("GET", "/v1/verify", key=text)).json()["error"] == "api_key_revoked"
    await page.choose("summary")
    await look(page, shots, "keys-revoked", height=1500)

    await page.open(f"{running.url}/sign-in")
    await look(page, shots, "signed-in")
    await page.press("header button")
    assert await page.url() == f"{running.url}/sign-in"
    await page.open(f"{running.url}/keys")
    assert await page.url() == f"{running.url}/sign-in"
    assert_clean(page, running)


async def test_what_goes_wrong_is_said_where_it_can_be_mended(running: RunningGateway, page: Page, shots: Path) -> None:
    link = await invite(running)
    await page.open(link)
    await page.press("main button")
    await page.open(link)
    assert "was used" in await page.text()
    await look(page, shots, "link-used")
    await page.open(f"{running.url}/device")
    await page.type("input[name=user_code]", "bcdf-ghjk")
    await page.press("main button")
    assert "This code is wrong" in await page.text() and await page.has("[role=alert]")
    await look(page, shots, "device-wrong")
    begun = (await running.ask("POST", "/auth/device/code", key="")).json()
    await page.open(begun["verification_uri_complete"])
    await page.press("main button")
    await page.choose("input[value=full_access]")
    await page.press("button[value=approve]")
    assert "once more" in await page.text()
    await look(page, shots, "device-full")
    await page.type("input[name=typed_again]", begun["user_code"])
    await page.press("button[value=approve]")
    assert "Approved" in await page.text()
    await page.open(f"{running.url}/sign-in?next=//evil.example")
    await look(page, shots, "elsewhere")
    assert_clean(page, running)


async def test_long_names_stay_inside_the_pages(running: RunningGateway, page: Page, shots: Path) -> None:
    long = "Antidisestablishmentarianism" * 4
    await running.ask("POST", "/api-keys", body={"name": long, "scopes": ["github", "overten", "skycot", "overskill"]})
    await page.open(await invite(running, "l" * 60 + "@example.com", name=long))
    await look(page, shots, "long-link")
    await page.press("main button")
    await look(page, shots, "long-keys", height=1300)
    begun = (await running.ask("POST", "/auth/device/code", key="", body={"device_name": long})).json()
    await page.open(begun["verification_uri_complete"])
    await page.press("main button")
    await look(page, shots, "long-device")
    assert_clean(page, running)


async def test_another_sites_form_signs_nobody_in_and_makes_nothing(running: RunningGateway, page: Page) -> None:
    """T182 in the browser: login CSRF, and a form in the name of somebody who is signed in."""
    link = await invite(running, "mallory@example.com")
    forms = (
        f'<form method="post" action="{link}"><button>You have won</button></form>',
        f'<form method="post" action="{running.url}/keys"><input name="name" value="x"><button>Win</button></form>',
        f'<form method="post" action="{running.url}/sign-out"><button>Win</button></form>',
    )

    async def evil(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html>" + forms[int(request.query["n"])], content_type="text/html")

    async with listening(web.get("/", evil)) as origin:
        await page.open(f"{origin}/?n=0")
        await page.press("button")
        assert "another site" in await page.text()
        await page.open(f"{running.url}/keys")
        assert await page.url() == f"{running.url}/sign-in"
        await page.open(await invite(running))
        await page.press("main button")
        for number in (1, 2):
            await page.open(f"{origin}/?n={number}")
            await page.press("button")
            # The cookie did not even come along: it is of this site alone.
            assert (await page.url()).startswith(f"{running.url}/sign-in") or "another site" in await page.text()
            await page.open(f"{running.url}/keys")
            assert await page.url() == f"{running.url}/keys"
    assert len((await running.ask("GET", "/api-keys")).json()) == 2


async def test_a_person_comes_by_the_provider_and_makes_an_org(
    tmp_path: Path, openid: Provider, page: Page, shots: Path
) -> None:
    settings: dict[str, Any] = {
        "oidc_issuer": openid.issuer, "oidc_client_id": openid.client_id, "oidc_client_secret": openid.client_secret,
        "signup": "oidc",
    }  # fmt: skip
    async with gateway(tmp_path, **settings) as running:
        openid.add_redirect_uri(f"{running.url}/sign-in/callback")
        await page.open(f"{running.url}/device")
        await look(page, shots, "sign-in")
        await page.press("main button")
        assert origin_of(await page.url()) == openid.issuer
        await _sign_in_and_agree(page, running)
        assert (await page.url()).startswith(f"{running.url}/sign-up?h=")
        assert "eve@example.com" in await page.text()
        await look(page, shots, "sign-up")
        await page.type("input[name=org_name]", "Eve & Daughters")
        await page.press("main button")
        assert await page.url() == f"{running.url}/device"
        assert "Eve & Daughters" in await page.text()
        assert_clean(page, running)


async def test_a_member_connects_an_account_where_one_must_be_signed_in(
    tmp_path: Path, openid: Provider, page: Page, shots: Path
) -> None:
    async with demo(tmp_path, openid, verify_connect="session") as desk:
        begun = await desk.begin()
        await page.open(begun["oauth_url"])
        await look(page, shots, "connect-sign-in")
        await page.press("main button")
        assert (await page.url()).startswith(f"{desk.running.url}/sign-in?next=")
        await page.open(f"{await invite(desk.running)}&next=/connect/{begun['connection_id']}")
        await page.press("main button")
        assert await page.url() == begun["oauth_url"]
        await look(page, shots, "connect-member")
        await page.press("main button")
        await _sign_in_and_agree(page, desk.running)
        assert "Demo is connected" in await page.text()
        assert await desk.login() == "eve"
        assert_clean(page, desk.running)


async def _sign_in_and_agree(page: Page, running: RunningGateway) -> None:
    for _ in range(6):
        if origin_of(await page.url()) == running.url:
            return
        if await page.has("input[name=login]"):
            await page.type("input[name=login]", "eve")
            await page.type("input[name=password]", "any password will do")
        await page.press("button[type=submit]")
    raise AssertionError(f"still at the provider: {await page.text()}")


async def test_a_member_looks_at_a_call_and_approves_it(tmp_path: Path, page: Page, shots: Path) -> None:
    async with workshop(tmp_path) as (running, upstream):
        rule = {"effects": ["send"]}
        made = await running.ask("POST", "/api-keys", body={"name": "mail agent", "approval": rule})
        note = "To all customers: <b>everything must go</b>. " * 12
        parked = await running.call("shop", "send", {"note": note}, key=made.json()["full_key"])
        await page.open(await invite(running, name="Ada Lovelace"))
        await page.press("main button")
        await page.open(f"{running.url}/approvals")
        await look(page, shots, "approvals")
        await page.press("main td.act a")
        assert await page.url() == parked.json()["action_url"]
        await look(page, shots, "approval")
        text = await page.text()
        assert "mail agent" in text and "<b>everything must go</b>" in text
        await page.press("button[value=approve]")
        assert "Approved" in await page.text()
        await upstream.wait_for("/send")
        assert upstream.seen[0][1] == {"note": note}
        await page.open(f"{running.url}/approvals")
        assert "Nothing waits" in await page.text()
        await look(page, shots, "no-approvals")
        assert_clean(page, running)
