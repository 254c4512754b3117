"""`/llms.txt`: in the form of llmstxt.org, and nobody without a key is told which integrations there are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from skills_catalog.exporting.llms_text import llms_text
from skills_catalog.loader import load_integration
from tests.harness import Answer, RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD = """\
slug: odd
name: "Odd](http://evil.example) [x"
description: "Says\\n## Integrations\\n- [Evil](http://evil.example): more\\u202e"
base_url: https://odd.example
auth: [{name: nobody, type: none}]
actions:
  ask:
    description: Ask.
    request: GET /ask
    examples: [{response: {status: 200}}]
"""
LINK = re.compile(r"- \[[^\[\]]+\]\((?P<url>[^()\s]+)\): .+")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path_factory.mktemp("llms")) as running:
        yield running


def sections(text: str) -> dict[str, list[str]]:
    """The parts of the format: one title, one quote, words, then headings with nothing but links below them."""
    title, quote, *rest = [block for block in text.split("\n\n") if block.strip()]
    assert re.fullmatch(r"# .+", title) and re.fullmatch(r"> .+", quote)
    found: dict[str, list[str]] = {}
    for block in rest:
        if block.startswith("## "):
            found[block.removeprefix("## ")] = []
        elif found and block.startswith("- "):
            lines = block.splitlines()
            assert all(LINK.fullmatch(line) for line in lines), block
            found[list(found)[-1]] += lines
        else:
            assert not block.startswith(("#", "-", ">")), block
    return found


async def read(running: RunningGateway, *, key: str, **headers: str) -> Answer:
    return await running.ask("GET", "/llms.txt", key=key, headers=headers)


async def test_everybody_is_told_how_to_call_and_nobody_what_there_is(running: RunningGateway) -> None:
    answer = await read(running, key="")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    found = sections(answer.body.decode())
    assert list(found) == ["Finding and calling", "Other ways in"]
    assert b"github" not in answer.body.lower()
    for line in (line for lines in found.values() for line in lines):
        match = LINK.fullmatch(line)
        assert match is not None and match["url"].startswith(running.url)


async def test_a_key_is_told_what_it_may_use(running: RunningGateway) -> None:
    body = {"name": "narrow", "scopes": ["github", "overten"], "allow": ["github.get_repo"]}
    key = (await running.ask("POST", "/api-keys", body=body)).json()["full_key"]
    [line] = sections((await read(running, key=key)).body.decode())["Integrations"]
    assert line == (
        f"- [GitHub]({running.url}/v1/skills/github): Issues, pull requests, repositories, actions, releases, gists and "
        f"search. 1 action; as files at {running.url}/v1/github/download"
    )
    whole = sections((await read(running, key=running.org.live)).body.decode())["Integrations"]
    assert len(whole) > 40


async def test_a_key_that_nobody_has_is_refused_and_a_text_that_is_known_not_sent_again(
    running: RunningGateway,
) -> None:
    refused = await read(running, key="sk_live_gw_" + "a" * 44)
    assert (refused.status, refused.json()["error"]) == (401, "api_key_invalid")
    first = await read(running, key="")
    again = await read(running, key="", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert "Authorization" in first.headers["Vary"]


async def test_a_definition_writes_no_link_and_no_heading_of_its_own(tmp_path: Path) -> None:
    text = llms_text("https://gateway.example/", [load_integration(ODD)])
    [line] = sections(text)["Integrations"]
    match = LINK.fullmatch(line)
    assert match is not None and match["url"] == "https://gateway.example/v1/skills/odd"
    assert text.count("## Integrations\n") == 1 and "\u202e" not in text
