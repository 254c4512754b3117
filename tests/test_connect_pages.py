"""The connect pages as a person meets them: in a real browser, with scripts and without."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import time
from urllib.parse import urlencode

import pytest
from aiohttp import web

from tests.conftest import lacking
from tests.demo import Definition, Desk, KeyedApi, demo, keyed_definition, listening, oauth_definition, query_of
from tests.fakes.provider import Provider, ProviderUnavailable, available_providers, provider_process
from tests.fakes.upstream import HandClock, Running, serve
from tests.harness import make_org
from tests.pages.chromium import Chromium, Page, chromium, find_chromium, origin_of


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    if not available_providers():
        lacking("an OAuth server")
    try:
        with provider_process(available_providers()[0]) as started:
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
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: `PAGE_SHOTS` keeps them."""
    folder = Path(os.environ.get("PAGE_SHOTS") or tmp_path / "shots")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
async def api() -> AsyncIterator[Running[KeyedApi]]:
    async with serve(KeyedApi()) as running:
        yield running


@pytest.fixture
def clock() -> HandClock:
    return HandClock(time())


@pytest.fixture
async def desk(tmp_path: Path, server: Provider, api: Running[KeyedApi], clock: HandClock) -> AsyncIterator[Desk]:
    async with demo(tmp_path, server, filled_definition(api.base_url), clock=clock) as made:
        yield made


def filled_definition(base_url: str) -> Definition:
    """A key and what else a connection may want to know."""
    definition = keyed_definition(base_url)
    definition["auth"][0]["help_url"] = "https://keyed.example/where-is-my-token"
    definition["connection"] = {
        "project": {"title": "Project", "schema": {"type": "string", "pattern": "^[a-z]+$"}, "required": False}
    }
    return definition


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_person_clicks_through_the_whole_flow(desk: Desk, page: Page, shots: Path, scripts: bool) -> None:
    if not scripts:
        await page.switch_scripts_off()
    begun = await desk.begin(user="u-1")
    await page.open(begun["oauth_url"])
    seen = await page.text()
    for named in ("Acme", "Demo", "read", "profile", "OAuth"):
        assert named in seen
    await page.shot(shots / "connect-dark.png", dark=True)
    await page.shot(shots / "connect-phone.png", width=380, height=760)
    assert await page.width() <= 380
    await page.shot(shots / "connect.png")

    await page.press("button")
    assert origin_of(await page.url()) == desk.server.issuer
    await _sign_in_and_agree(desk, page)
    assert await page.url() == begun["oauth_url"]
    seen = await page.text()
    assert "Demo is connected" in seen
    assert "alice" in seen
    await page.shot(shots / "connected.png")
    await page.shot(shots / "connected-dark.png", dark=True)
    assert await desk.login(user="u-1") == "alice"
    assert_clean(page, desk)
    # Neither the code nor the state left in a referrer.
    visited = next(one.url for one in page.requests if "/oauth/callback/" in one.url)
    for one in page.requests:
        referrer = one.headers.get("Referer", "")
        assert query_of(visited)["code"] not in referrer
        assert query_of(visited)["state"] not in referrer


async def test_who_declines_sees_that_nothing_was_connected(
    desk: Desk, page: Page, shots: Path
) -> None:
    begun = await desk.begin()
    await page.open(begun["oauth_url"])
    await page.press("button")
    state = query_of(next(one.url for one in page.requests if "state=" in one.url))["state"]
    told = {"error": "access_denied", "error_description": "The resource owner said no.", "state": state}
    await page.open(f"{desk.running.url}/oauth/callback/demo?{urlencode({**told, 'iss': desk.server.issuer})}")
    seen = await page.text()
    assert "Demo was not connected" in seen
    assert "Access was not granted." in seen
    assert "The resource owner said no." in seen
    assert await page.url() == begun["oauth_url"]
    await page.shot(shots / "declined.png")
    await page.shot(shots / "declined-phone.png", width=380, height=760)
    assert_clean(page, desk)


async def test_a_person_types_a_key(desk: Desk, page: Page, api: Running[KeyedApi], shots: Path) -> None:
    desk.slug = "keyed"
    begun = await desk.begin(auth="bearer")
    await page.open(begun["oauth_url"])
    for named in ("Acme", "Keyed", "Token", "Project", "(optional)", "Where do I find this?"):
        assert named in await page.text()
    await page.shot(shots / "key-dark.png", dark=True)
    await page.shot(shots / "key-phone.png", width=380, height=760)
    assert await page.width() <= 380
    await page.shot(shots / "key.png")

    await page.type("input[name=token]", "key-of-alice")
    await page.type("input[name=project]", "No Such!")
    await page.press("button")
    seen = await page.text()
    assert "'project'" in seen
    assert await page.has("[role=alert]")
    assert await page.has("input[name=token]")
    # What was typed comes back, but for the secret.
    assert "No Such!" in await page.html()
    assert "key-of-alice" not in await page.html()
    assert api.seen == []
    await page.shot(shots / "key-mended.png")

    await page.type("input[name=token]", "key-of-alice")
    await page.clear("input[name=project]")
    await page.type("input[name=project]", "apollo")
    await page.press("button")
    assert "Keyed is connected" in await page.text()
    assert await desk.login() == "alice"
    assert (await desk.shown(begun["connection_id"]))["fields"] == {"project": "apollo"}
    assert_clean(page, desk)


async def test_a_username_and_a_password_are_asked_for_as_such(desk: Desk, page: Page, shots: Path) -> None:
    desk.slug = "keyed"
    begun = await desk.begin(auth="basic")
    await page.open(begun["oauth_url"])
    assert await page.has("input[name=username][type=text]")
    assert await page.has("input[name=password][type=password]")
    await page.shot(shots / "password.png")
    await page.type("input[name=username]", "someone")
    await page.type("input[name=password]", "key-of-bob")
    await page.press("button")
    assert "bob" in await page.text()
    assert await desk.login() == "bob"


async def test_a_key_that_the_integration_refuses_is_told_on_the_page(desk: Desk, page: Page, shots: Path) -> None:
    desk.slug = "keyed"
    begun = await desk.begin(auth="bearer")
    await page.open(begun["oauth_url"])
    await page.type("input[name=token]", "key-of-nobody")
    await page.press("button")
    seen = await page.text()
    assert "Keyed was not connected" in seen
    assert "does not accept this credential" in seen
    assert "key-of-nobody" not in await page.html()
    await page.shot(shots / "refused.png")
    assert_clean(page, desk)


async def test_links_that_are_over_or_never_were_say_what_to_do(
    desk: Desk, page: Page, clock: HandClock, shots: Path
) -> None:
    await page.open(f"{desk.running.url}/connect/conn_{'0' * 32}")
    assert "This link does not work" in await page.text()
    await page.shot(shots / "unknown.png")
    await page.open(f"{desk.running.url}/connect/new?t=nonsense")
    assert "This link does not work" in await page.text()
    begun = await desk.begin()
    await page.open(begun["oauth_url"])
    clock.move(601)
    await page.press("button")
    seen = await page.text()
    assert "Ask for a new link" in seen
    await page.shot(shots / "over.png")
    await page.open(begun["oauth_url"])
    assert "This link is over" in await page.text()
    await page.open(f"{desk.running.url}/oauth/callback/demo?code=c&state=s")
    assert "Ask for a new link" in await page.text()
    await page.shot(shots / "stray-callback.png")
    assert_clean(page, desk)


async def test_another_sites_form_connects_nobody(desk: Desk, page: Page) -> None:
    begun = await desk.begin()
    form = f'<form method="post" action="{begun["oauth_url"]}"><button>You have won</button></form>'
    await page.open("data:text/html," + form)
    await page.press("button")
    assert "another site" in await page.text()
    assert not any(origin_of(one.url) == desk.server.issuer for one in page.requests)


async def test_the_browser_would_tell_of_what_our_policy_forbids(desk: Desk, page: Page) -> None:
    """Else the silence that the tests above assert would mean nothing."""
    async with listening(web.get("/", _careless)) as origin:
        await page.open(origin)
    told = " ".join(text for _, text in page.complaints)
    for policy in ("script-src", "img-src", "style-src"):
        assert policy in told
    assert page.dialogs == []
    with pytest.raises(AssertionError):
        assert_clean(page, desk)


async def _careless(request: web.Request) -> web.Response:
    policy = "default-src 'none'; script-src 'none'; img-src 'none'; style-src 'none'"
    body = "<!doctype html><p style='color: red'>x</p><script>alert(1)</script><img src=/x.png>"
    return web.Response(text=body, content_type="text/html", headers={"Content-Security-Policy": policy})


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</title></style><script>alert(1)</script>",
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
    "<b>bold</b><iframe src=//evil.example>",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_names_are_words_and_nothing_else(
    tmp_path: Path, server: Provider, api: Running[KeyedApi], page: Page, text: str
) -> None:
    """T94: names of orgs, integrations, methods and fields, scopes, and what a provider says of an error."""
    hostile = filled_definition(api.base_url) | {"name": text, "description": text}
    hostile["auth"][0]["title"] = text
    hostile["connection"]["project"] |= {"title": text, "default": text, "schema": {"type": "string"}}
    renamed = oauth_definition(server, "renamed", name=text)
    clients = {"renamed": {"client_id": server.client_id, "client_secret": server.client_secret}}
    async with demo(tmp_path, server, hostile, renamed, clients=clients) as desk:
        org = await make_org(desk.environ, text)
        for body in (
            {"integration": "keyed", "auth": "bearer"},
            {"integration": "renamed", "scopes": [text.replace(" ", "").replace('"', "")]},
        ):
            begun = (await desk.running.ask("POST", "/v1/connect", body=body, key=org.live)).json()
            await page.open(begun["oauth_url"])
            assert text in " ".join((await page.text()).split())
            assert set(await page.tags()) <= KNOWN_TAGS
        state = query_of(await _address(desk, begun["oauth_url"], page))["state"]
        for given in ({"error": "access_denied", "error_description": text}, {"error": text}):
            query = urlencode({**given, "state": state, "iss": server.issuer})
            await page.open(f"{desk.running.url}/oauth/callback/renamed?{query}")
            assert set(await page.tags()) <= KNOWN_TAGS
            assert " ".join(text.split()) in await page.text()
            begun = (await desk.running.ask("POST", "/v1/connect", body=body, key=org.live)).json()
            state = query_of(await _address(desk, begun["oauth_url"], page))["state"]
        assert_clean(page, desk)


#: Whatever our own templates are made of.
KNOWN_TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "footer", "h1", "p", "strong", "dl", "div", "dt", "dd",
    "ul", "li", "code", "form", "label", "span", "input", "button", "a",
}


async def test_a_long_name_stays_inside_the_page(tmp_path: Path, server: Provider, page: Page, shots: Path) -> None:
    long = oauth_definition(server, "long", name="Antidisestablishmentarianism" * 3)
    clients = {"long": {"client_id": server.client_id, "client_secret": server.client_secret}}
    async with demo(tmp_path, server, long, clients=clients) as desk:
        desk.slug = "long"
        begun = await desk.begin(scopes=[f"https://api.example.com/auth/very.long.scope.number.{n}" for n in range(12)])
        await page.open(begun["oauth_url"])
        await page.shot(shots / "long-phone.png", width=380, height=1400)
        assert await page.width() <= 380


# -- small parts -----------------------------------------------------------------------------------


def assert_clean(page: Page, desk: Desk) -> None:
    """Our pages fetched nothing, broke no policy of theirs, and no script ran."""
    assert page.asked_by(desk.running.url) == []
    ours = [told for at, told in page.complaints if origin_of(at) != desk.server.issuer]
    assert ours == []
    assert page.dialogs == []


async def _address(desk: Desk, link: str, page: Page) -> str:
    """Presses the button in the browser; the provider's address that it led to."""
    known = len(page.requests)
    await page.open(link)
    await page.press("button")
    return next(one.url for one in page.requests[known:] if "state=" in one.url)


async def _sign_in_and_agree(desk: Desk, page: Page) -> None:
    for _ in range(6):
        if origin_of(await page.url()) == desk.running.url:
            return
        for field in ("login", "username"):
            if await page.has(f"input[name={field}]"):
                await page.type(f"input[name={field}]", "alice")
        if await page.has("input[name=password]"):
            await page.type("input[name=password]", "any password will do")
        await page.press("input[type=submit][name=allow], button[type=submit], input[type=submit]")
    raise AssertionError(f"still at the provider: {await page.text()}")
