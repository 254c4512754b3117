"""`/docs` as a person sees it: whole, readable on any screen, without a script and without the internet."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest

from gateway.app import API_ROUTES
from gateway.core.errors import CODES
from gateway.web.openapi import codes_of
from tests.conftest import lacking
from tests.harness import RunningGateway, gateway
from tests.pages.chromium import Page, chromium, find_chromium, read_words


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path) as started:
        yield started


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    program = find_chromium()
    if program is None:
        lacking("Chromium")
        return
    async with chromium(program) as browser:
        yield await browser.page()


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: `PAGE_SHOTS` keeps them."""
    folder = Path(os.environ.get("PAGE_SHOTS") or tmp_path / "shots")
    folder.mkdir(exist_ok=True)
    return folder


async def test_it_tells_of_every_route_field_and_code(running: RunningGateway) -> None:
    answer = await running.ask("GET", "/docs", key="")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script" not in answer.headers["Content-Security-Policy"]
    html = answer.body.decode()
    for route in API_ROUTES:
        said = route.operation
        section = html.partition(f'<section id="{said.id}"')[2].partition("</section>")[0]
        assert section, said.id
        words = read_words(section)
        assert said.summary in words
        assert f"{route.method} {route.shown_path}" in words
        for one in (*said.path, *said.query.values(), *(said.body or {}).values()):
            assert f"<code>{one.name}</code>" in section
            assert one.about.replace("`", "") in re.sub(r"\s+([.,;:)])", r"\1", words) or one.about.replace("`", "")[:20] in words
        for status in said.answers:
            assert f'<span class="status">{status}</span>' in section
        assert "curl -s" in section
    assert set(re.findall(r'<tr id="code-(\w+)">', html)) == set(CODES)
    # Every link within the page leads somewhere.
    assert set(re.findall(r'href="#([\w-]+)"', html)) <= set(re.findall(r'id="([\w-]+)"', html))


async def test_the_lines_to_type_are_requests_that_are_taken(running: RunningGateway) -> None:
    html = (await running.ask("GET", "/docs", key="")).body.decode()
    for route in API_ROUTES:
        section = html.partition(f'<section id="{route.operation.id}"')[2].partition("</section>")[0]
        line = unescape(section.partition('<pre tabindex="0"><code>')[2].partition("</code>")[0])
        words = shlex.split(line.replace("\\\n", " "))
        url = next(word for word in words if word.startswith("http"))
        assert url.startswith(running.url)
        method = words[words.index("-X") + 1] if "-X" in words else "POST" if {"-d", "--data-binary"} & {*words} else "GET"
        assert method == route.method
        body = words[words.index("-d") + 1].encode() if "-d" in words else None
        key = running.org.test if any("$SKILLWAY_API_KEY" in word for word in words) else ""
        answer = await running.ask(method, url.removeprefix(running.url), key=key, raw=body)
        allowed = {*map(str, route.operation.answers), "403", "404"}
        assert str(answer.status) in allowed, (line, answer.body)
        if answer.status in (403, 404):
            assert answer.json()["error"] in codes_of(route)[answer.status]


async def test_it_fits_every_screen(running: RunningGateway, page: Page, shots: Path) -> None:
    await page.switch_scripts_off()
    await page.open(f"{running.url}/docs")
    await page.shot(shots / "docs.png", width=1400, height=1000)
    await page.shot(shots / "docs-dark.png", width=1400, height=1000, dark=True)
    assert await page.width() <= 1400
    await page.shot(shots / "docs-phone.png", width=360, height=760)
    assert await page.width() <= 360
    assert page.complaints == [] and page.dialogs == []
    assert [one for one in page.requests if not one.url.startswith(running.url)] == []
    assert "script" not in await page.tags() and "img" not in await page.tags()
