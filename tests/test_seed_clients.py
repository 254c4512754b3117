"""The clients of the seed, as they stand there: only the key and the base URL are ours."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import runpy
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.conftest import lacking
from tests.fakes.github import GitHub
from tests.fakes.upstream import Running, serve
from tests.harness import RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = Path(__file__).parent / "clients"
KEY = '"sk_a1b2c3d4e5f6..."'
BASE_URL = '"https://api.skillett.dev"'
ISSUE = {"repo": "acme/webapp", "title": "Bug report"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def github() -> AsyncIterator[Running[GitHub]]:
    async with serve(GitHub()) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory, github: Running[GitHub]) -> AsyncIterator[RunningGateway]:
    async with gateway(
        tmp_path_factory.mktemp("gateway"), integrations={"github": {"base_url": github.base_url}}
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def connected(live: RunningGateway, github: Running[GitHub]) -> AsyncIterator[RunningGateway]:
    """The gateway while the user has GitHub connected."""
    made = await live.connect("github", {"token": github.upstream.token})
    yield live
    await live.ask("DELETE", f"/v1/connections/{made}")


def client(name: str, live: RunningGateway, key: str | None = None) -> str:
    """A client of the seed with our key and address in the place of its own."""
    text = (CLIENTS / name).read_text()
    assert (text.count(KEY), text.count(BASE_URL)) == (1, 1)
    return text.replace(KEY, json.dumps(key or live.org.live)).replace(BASE_URL, json.dumps(live.url))


@pytest.mark.shared
async def test_the_clients_are_those_of_the_seed_word_for_word(shared: Path) -> None:
    seed = "".join((shared.parent / "seeds" / "skillett.txt").read_text().split())
    for name in ("agent.py", "agent.mjs", "errors.mjs"):
        assert "".join((CLIENTS / name).read_text().split()) in seed


async def test_the_python_client_discovers_and_executes(
    connected: RunningGateway, github: Running[GitHub], tmp_path: Path
) -> None:
    program = tmp_path / "agent.py"
    program.write_text(client("agent.py", connected))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = await asyncio.to_thread(runpy.run_path, str(program))
    number = max(github.upstream.repos["acme/webapp"].issues)
    assert printed.getvalue() == f"https://github.com/acme/webapp/issues/{number}\n"
    assert github.last.json() == {"title": "Bug report"}
    (entry,) = [one for one in names["integrations"] if one["slug"] == "github"]
    assert (entry["connected"], entry["available"]) == (True, True)
    assert names["result"]["status"] == 201


@dataclass(frozen=True, slots=True)
class Ended:
    """How a Node program ended."""

    code: int
    out: str
    err: str


async def node(text: str) -> Ended:
    program = shutil.which("node")
    if program is None:
        lacking("node")
    process = await asyncio.create_subprocess_exec(
        str(program), "--input-type=module", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(text.encode()), 30)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def errors_client(live: RunningGateway, params: dict[str, str], key: str | None = None) -> str:
    """The error handling of the seed behind the lines of its client that it builds on."""
    opening = client("agent.mjs", live, key).partition("// Discover integrations")[0]
    return f"{opening}const params = {json.dumps(params)};\n{(CLIENTS / 'errors.mjs').read_text()}"


async def test_the_javascript_client_discovers_and_executes(
    connected: RunningGateway, github: Running[GitHub]
) -> None:
    ended = await node(client("agent.mjs", connected))
    number = max(github.upstream.repos["acme/webapp"].issues)
    assert ended == Ended(0, f"https://github.com/acme/webapp/issues/{number}\n", "")
    assert github.last.json() == {"title": "Bug report"}


async def test_the_error_handling_sees_a_success(connected: RunningGateway) -> None:
    ended = await node(errors_client(connected, ISSUE))
    assert (ended.code, ended.err) == (0, "")
    assert "title: 'Bug report'" in ended.out


async def test_the_error_handling_sees_an_upstream_error(connected: RunningGateway) -> None:
    ended = await node(errors_client(connected, {**ISSUE, "repo": "acme/nowhere"}))
    assert (ended.code, ended.out) == (0, "")
    assert "message: 'Not Found'" in ended.err
    assert "documentation_url" in ended.err


async def test_the_error_handling_sees_a_gateway_error_with_the_page_that_mends_it(
    live: RunningGateway, github: Running[GitHub]
) -> None:
    before = len(github.seen)
    ended = await node(errors_client(live, ISSUE))
    message, fix = ended.err.splitlines()
    assert (ended.code, ended.out) == (0, "")
    assert message == "The user needs to connect their github account first."
    address = fix.removeprefix("Fix: ")
    assert address.startswith(f"{live.url}/connect/new?")
    assert len(github.seen) == before
    # The page stands, and says what it is for.
    async with live.session.get(address) as page:
        assert page.status == 200
        assert "GitHub" in await page.text()


@pytest.mark.parametrize(
    ("params", "key", "message"),
    [
        (ISSUE, "sk_live_gw_nobodys", "Invalid API key"),
        ({"repo": "acme/webapp"}, None, "title"),
        ({"repository": "acme/webapp", "title": "x"}, None, "repo"),
    ],
)
async def test_the_error_handling_sees_what_is_wrong_with_the_call(
    connected: RunningGateway, params: dict[str, str], key: str | None, message: str
) -> None:
    ended = await node(errors_client(connected, params, key))
    assert (ended.code, ended.out) == (0, "")
    assert message in ended.err.splitlines()[0]


async def test_the_same_order_of_decisions_holds_in_python(connected: RunningGateway) -> None:
    def decide(params: dict[str, str], key: str) -> tuple[str, Any]:
        body = httpx.post(
            f"{connected.url}/v1/github/create_issue",
            headers={"Authorization": f"Bearer {key}"},
            json={"params": params},
        ).json()
        if body.get("error"):
            return "gateway", body["message"]
        return ("upstream" if body["status"] >= 400 else "success"), body["data"]

    live = connected.org.live
    kind, data = await asyncio.to_thread(decide, ISSUE, live)
    assert (kind, data["title"]) == ("success", "Bug report")
    kind, data = await asyncio.to_thread(decide, {**ISSUE, "repo": "acme/nowhere"}, live)
    assert (kind, data["message"]) == ("upstream", "Not Found")
    kind, data = await asyncio.to_thread(decide, ISSUE, "sk_live_gw_nobodys")
    assert kind == "gateway"


async def test_the_clients_run_in_the_sandbox_without_any_account(live: RunningGateway) -> None:
    ended = await node(client("agent.mjs", live, live.org.test))
    assert ended == Ended(0, "https://github.com/acme/webapp/issues/7\n", "")
