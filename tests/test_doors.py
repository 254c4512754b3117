"""One call through every door of the gateway is one and the same request at the upstream, and one and the same refusal."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.cli.shell import Done, Shell
from tests.fakes.github import GitHub
from tests.fakes.hostile import Hostile, hostile
from tests.fakes.overscore import Overscore
from tests.fakes.overskill import OverSkill
from tests.fakes.overten import Overten
from tests.fakes.skycot import SkyCot
from tests.fakes.upstream import Running, Seen, serve
from tests.harness import Org, RunningGateway, gateway
from tests.mcp.wire import modern

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = bytes(range(256))


@dataclass(slots=True, kw_only=True)
class Stage:
    """One gateway, connected to its counterparts, and a shell whose `skillway` talks to it."""

    running: RunningGateway
    shell: Shell
    counterparts: Mapping[str, Running[Any]]
    hanging: Hostile


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One call as each door takes it: params of a body, words of a command line."""

    slug: str
    action: str
    params: Mapping[str, Any]
    words: tuple[str, ...]
    user: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a door said: the upstream's status and data, or the code of a refusal."""

    status: int | None = None
    data: Any = None
    code: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Outcome:
        if "error" in body:
            return cls(code=body["error"])
        return cls(status=body["status"], data=body["data"])


Door = Callable[[Stage, Use, Org], Awaitable[Outcome]]


async def through_rest(stage: Stage, use: Use, org: Org) -> Outcome:
    answer = await stage.running.call(use.slug, use.action, use.params, user=use.user, key=org.live)
    outcome = Outcome.of(answer.json())
    assert (answer.status == 200) == (outcome.code is None)
    return outcome


async def through_the_command_line(stage: Stage, use: Use, org: Org) -> Outcome:
    shell = stage.shell.with_environment(SKILLWAY_API_KEY=org.live)
    done = await command(shell, "run", "--user", use.user, use.slug, use.action, *use.words)
    outcome = Outcome.of(done.json)
    assert (done.code == 0) == (outcome.status is not None and outcome.status < 400), done
    return outcome


async def through_a_run(stage: Stage, use: Use, org: Org) -> Outcome:
    answer = await stage.running.call(
        use.slug, use.action, use.params, user=use.user, key=org.live, **{"async": True}
    )
    if answer.status != 202:
        return Outcome.of(answer.json())
    shown = await stage.running.ask("GET", f"/v1/runs/{answer.json()['run_id']}?wait=60", key=org.live)
    run = shown.json()
    assert run["finished_at"] is not None, run
    return Outcome.of(run["error"] or run["result"])


async def through_mcp_direct(stage: Stage, use: Use, org: Org) -> Outcome:
    meta = {"skillway/user": use.user}
    return await through_a_tool(stage, f"{use.slug}__{use.action}", use.params, org, meta)


async def through_mcp_meta(stage: Stage, use: Use, org: Org) -> Outcome:
    arguments = {"integration": use.slug, "action": use.action, "params": use.params, "user": use.user}
    return await through_a_tool(stage, "call_skill", arguments, org, {})


async def through_a_tool(stage: Stage, name: str, arguments: Any, org: Org, meta: Mapping[str, Any]) -> Outcome:
    params = {"name": name, "arguments": arguments, "_meta": meta}
    answer = (await modern(stage.running, "tools/call", params, key=org.live)).json()
    if "error" in answer:
        return Outcome(code=answer["error"]["data"]["error"])
    outcome = Outcome.of(answer["result"]["structuredContent"])
    assert answer["result"].get("isError", False) == (outcome.status is None or outcome.status >= 400)
    return outcome


async def through_a_tool_call(stage: Stage, use: Use, org: Org) -> Outcome:
    """As a model of OpenAI makes it: arguments are a text, and so is what it gets back."""
    function = {"name": f"{use.slug}__{use.action}", "arguments": json.dumps(use.params)}
    call = {"id": "call_1", "type": "function", "function": function}
    body = {"format": "openai", "call": call, "user": use.user}
    answer = (await stage.running.ask("POST", "/v1/tools/call", key=org.live, body=body)).json()
    if "error" in answer:
        return Outcome.of(answer)
    assert (answer["role"], answer["tool_call_id"]) == ("tool", "call_1")
    return Outcome.of(json.loads(answer["content"].splitlines()[-1]))


#: A new way in gets a line here, and nothing else.
DOORS: Mapping[str, Door] = {
    "rest": through_rest,
    "command line": through_the_command_line,
    "a run": through_a_run,
    "mcp direct": through_mcp_direct,
    "mcp meta": through_mcp_meta,
    "tools call": through_a_tool_call,
}


async def command(shell: Shell, *words: str, given: bytes = b"") -> Done:
    return await asyncio.to_thread(shell.run, *words, given=given)


DEFINITIONS = """\
slug: broken
name: Broken
description: An upstream that nobody finds at home.
base_url: http://127.0.0.1:1
auth: [{name: nobody, type: none}]
actions:
  ask:
    description: Asks nobody.
    request: GET /nobody
    examples: [{params: {}, response: {status: 200, data: {}}}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("doors")
    definitions = folder / "definitions"
    definitions.mkdir()
    async with AsyncExitStack() as stack:
        upstreams: dict[str, Any] = {
            "github": GitHub(), "overskill": OverSkill(), "skycot": SkyCot(), "overten": Overten(),
            "overscore": Overscore(),
        }  # fmt: skip
        fakes = {slug: await stack.enter_async_context(serve(upstream)) for slug, upstream in upstreams.items()}
        hanging = await stack.enter_async_context(hostile("hang"))
        (definitions / "broken.yaml").write_text(DEFINITIONS)
        slow = DEFINITIONS.replace("broken", "slow").replace("http://127.0.0.1:1", hanging.base_url)
        (definitions / "slow.yaml").write_text(slow.replace("GET /nobody", "GET /nobody\n    timeout: 1s"))
        running = await stack.enter_async_context(
            gateway(
                folder,
                definitions=definitions,
                integrations={
                    "github": {"base_url": fakes["github"].base_url},
                    "overskill": {"base_url": fakes["overskill"].base_url + "/api/v1"},
                    "skycot": {"base_url": "http://{domain}/api/v1"},
                    "overten": {"base_url": fakes["overten"].base_url + "/api/v1"},
                    "overscore": {"base_url": fakes["overscore"].base_url},
                },
            )
        )
        domain = fakes["skycot"].base_url.removeprefix("http://")
        for slug, method, given in (
            ("github", "token", {"token": upstreams["github"].token}),
            ("overskill", "api_key", {"api_key": upstreams["overskill"].key}),
            ("skycot", "key", {"token": upstreams["skycot"].live_key, "domain": domain}),
            ("overten", "key", {"api_key": upstreams["overten"].key}),
            ("overscore", "project_key", {"api_key": upstreams["overscore"].key}),
            ("overscore", "session", {"api_key": upstreams["overscore"].session}),
        ):
            await running.connect(slug, given, auth=method, user="ann" if method == "session" else "default")
        shell = Shell.at(folder, url=running.url).with_environment(SKILLWAY_API_KEY=running.org.live)
        (shell.folder / "dot.png").write_bytes(PICTURE)
        (shell.folder / "hi.txt").write_bytes(b"hi")
        (shell.folder / "dist.tar.gz").write_bytes(b"\x1f\x8b" + PICTURE)
        (shell.folder / "issue.json").write_text(
            '{"repo": "acme/webapp", "title": "1e400", "milestone": 12345678901234567}'
        )
        yield Stage(running=running, shell=shell, counterparts=fakes, hanging=hanging)


@pytest.fixture(autouse=True)
def nothing_planned(stage: Stage) -> None:
    for counterpart in stage.counterparts.values():
        counterpart.upstream.planned.clear()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


USES = {
    "a body with lists": Use(
        slug="github",
        action="create_issue",
        params={
            "repo": "acme/webapp",
            "title": "42",
            "body": "Zeile 1\nZeile 2 – ☃",
            "labels": ["bug", "high, really"],
        },
        words=(
            "--repo",
            "acme/webapp",
            "--title",
            "42",
            "--body",
            "Zeile 1\nZeile 2 – ☃",
            "--labels",
            '["bug", "high, really"]',
        ),
    ),
    "a path with slashes and what else a path may hold": Use(
        slug="github",
        action="get_contents",
        params={"repo": "acme/webapp", "path": "src/a b/ü#?%2F&.py", "ref": "feature/x y&z=1"},
        words=("--repo=acme/webapp", "--path", "src/a b/ü#?%2F&.py", "--ref", "feature/x y&z=1"),
    ),
    "numbers and booleans in a query": Use(
        slug="github",
        action="list_workflow_runs",
        params={"repo": "acme/webapp", "exclude_pull_requests": True, "per_page": 7, "branch": "7"},
        words=("--repo", "acme/webapp", "--exclude-pull-requests", "--per-page", "7", "--branch", "7"),
    ),
    "a put with a nested body": Use(
        slug="github",
        action="create_or_update_file",
        params={
            "repo": "acme/webapp",
            "path": "docs/read me.md",
            "message": "x",
            "content": "aGk=",
            "author": {"name": "Ann", "email": "ann@acme.example"},
        },
        words=(
            "--repo",
            "acme/webapp",
            "--path",
            "docs/read me.md",
            "--message",
            "x",
            # Content that is base64 on the wire comes from a file.
            "--content",
            "@hi.txt",
            "--author",
            '{"name": "Ann", "email": "ann@acme.example"}',
        ),
    ),
    "a delete": Use(slug="overten", action="delete_image", params={"id": "image_1"}, words=("--id", "image_1")),
    "a delete without an id in its path": Use(
        slug="overten", action="delete_webhook", params={"webhook_id": "whk_1"}, words=("--webhook-id", "whk_1")
    ),
    "a file": Use(
        slug="overten",
        action="upload_image",
        params={
            "file": {"filename": "dot.png", "content_type": "image/png", "content": b64(PICTURE)},
            "tags": "logo,header",
            "caption": "a, b",
        },
        words=("--file", "@dot.png", "--tags", "logo,header", "--caption", "a, b"),
    ),
    "a path under a domain of the customer's own": Use(
        slug="skycot",
        action="get_build_file",
        params={"id": "bld_1", "path": "src/app/cards/[id]/page.tsx"},
        words=("--id", "bld_1", "--path", "src/app/cards/[id]/page.tsx"),
    ),
    "a key in the body": Use(
        slug="overscore",
        action="run_query",
        params={"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "revenue_by_month"},
        words=("--projectSlug", "acme", "--dashboardSlug", "sales-dashboard", "--queryName=revenue_by_month"),
    ),
    "a cookie and a file": Use(
        slug="overscore",
        action="deploy_dashboard",
        params={
            "projectSlug": "acme",
            "dashboardSlug": "sales-dashboard",
            "bundle": {
                "filename": "dist.tar.gz",
                "content_type": "application/x-tar",
                "content": b64(b"\x1f\x8b" + PICTURE),
            },
        },
        words=("--projectSlug", "acme", "--dashboardSlug", "sales-dashboard", "--bundle", "dist.tar.gz"),
        user="ann",
    ),
    "nothing at all": Use(slug="skycot", action="get_usage", params={}, words=()),
    "a status that is an error": Use(
        slug="overskill", action="list_apps", params={"status": "draft"}, words=("--status", "draft")
    ),
}


@pytest.mark.parametrize("name", USES)
async def test_every_door_makes_the_same_upstream_request(stage: Stage, name: str) -> None:
    use = USES[name]
    counterpart = stage.counterparts[use.slug]
    requests, outcomes = {}, {}
    for door, call in DOORS.items():
        await stage.running.forget_answers()
        before = len(counterpart.seen)
        if name == "a status that is an error":
            counterpart.next(status=422, json={"error": "slow down"}, headers={"Retry-After": "3"})
        else:
            counterpart.next(
                status=200, body=b'{"fine": 1.50, "id": 9007199254740993}', headers={"Content-Type": "application/json"}
            )
        outcomes[door] = await call(stage, use, stage.running.org)
        assert outcomes[door].code is None, (door, outcomes[door])
        [seen] = counterpart.seen[before:]
        requests[door] = as_sent(seen)
    first = requests["rest"]
    assert {door: request for door, request in requests.items() if request != first} == {}
    assert len({repr(outcome) for outcome in outcomes.values()}) == 1
    assert first.headers, "a request without headers is no request"


#: A run waits for an upstream that is away.
TRIED_AGAIN = {"upstream_unreachable"}

REFUSALS = {
    "an unknown integration": (Use(slug="githb", action="get_repo", params={}, words=()), "not_found"),
    "an unknown action": (Use(slug="github", action="create_isue", params={}, words=()), "not_found"),
    "a missing param": (
        Use(slug="github", action="create_issue", params={"title": "x"}, words=("--title", "x")), "bad_request",
    ),
    "an unknown param": (
        Use(slug="github", action="get_repo", params={"repo": "a/b", "titel": "x"}, words=("--repo", "a/b", "--titel", "x")),
        "bad_request",
    ),
    "a param of the wrong kind": (
        Use(slug="github", action="get_issue", params={"repo": "a/b", "issue_number": "x"},
            words=("--repo", "a/b", "--issue-number", "x")),
        "bad_request",
    ),
    "a param that would leave its path": (
        Use(slug="github", action="get_contents", params={"repo": "a/b", "path": "../../../user"},
            words=("--repo", "a/b", "--path", "../../../user")),
        "bad_request",
    ),
    "a user without a connection": (
        Use(slug="github", action="get_repo", params={"repo": "a/b"}, words=("--repo", "a/b"), user="nobody"),
        "integration_not_connected",
    ),
    "an upstream that cannot be reached": (
        Use(slug="broken", action="ask", params={}, words=()), "upstream_unreachable",
    ),
    "an upstream that says nothing": (Use(slug="slow", action="ask", params={}, words=()), "upstream_timeout"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_every_door_refuses_with_the_same_code(stage: Stage, name: str) -> None:
    use, code = REFUSALS[name]
    before = {slug: len(counterpart.seen) for slug, counterpart in stage.counterparts.items()}
    for door, call in DOORS.items():
        if door == "a run" and code in TRIED_AGAIN:
            continue
        stage.running.forget_failures()
        assert (await call(stage, use, stage.running.org)).code == code, door
    assert {slug: len(counterpart.seen) for slug, counterpart in stage.counterparts.items()} == before


@pytest.mark.parametrize(
    ("key", "code"), [("sk_live_gw_" + "a" * 44, "api_key_invalid"), ("nonsense", "api_key_invalid")]
)
async def test_every_door_refuses_a_key_that_nobody_has(stage: Stage, key: str, code: str) -> None:
    use = Use(slug="github", action="get_repo", params={"repo": "a/b"}, words=("--repo", "a/b"))
    for door, call in DOORS.items():
        assert (await call(stage, use, Org(id="", live=key, test=""))).code == code, door


async def test_every_door_answers_a_test_key_from_the_examples(stage: Stage) -> None:
    use = USES["a body with lists"]
    before = len(stage.counterparts["github"].seen)
    org = Org(id=stage.running.org.id, live=stage.running.org.test, test="")
    outcomes = []
    for call in DOORS.values():
        # What the door before made is forgotten: each makes the first one.
        assert (await stage.running.ask("POST", "/v1/sandbox/reset", key=org.live, body={})).status == 200
        outcomes.append(await call(stage, use, org))
    assert {outcome.status for outcome in outcomes} == {201}
    assert len({repr(outcome) for outcome in outcomes}) == 1
    assert len(stage.counterparts["github"].seen) == before


# ---------------------------------------------------------------------- the command line and the real gateway


@pytest.mark.parametrize(
    ("answered", "code"),
    [(200, 0), (201, 0), (204, 0), (400, 1), (401, 1), (404, 1), (422, 1), (429, 1), (500, 2), (502, 2), (503, 2)],
)
async def test_the_exit_code_of_run_says_how_the_upstream_answered(stage: Stage, answered: int, code: int) -> None:
    stage.counterparts["github"].next(status=answered, json=None if answered == 204 else {"message": "planned"})
    done = await command(stage.shell, "run", "github", "get_repo", "--repo", "acme/webapp")
    assert done.code == code
    assert done.json["status"] == answered


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("github", "no_such_action"), 1), (("github", "get_repo"), 1), (("broken", "ask"), 2), (("slow", "ask"), 2),
        (("--user", "nobody", "github", "get_repo", "--repo", "a/b"), 1),
    ],
)  # fmt: skip
async def test_the_exit_code_of_run_says_why_there_is_no_answer(
    stage: Stage, words: tuple[str, ...], code: int
) -> None:
    done = await command(stage.shell, "run", *words)
    assert done.code == code
    assert done.err.startswith("Error: ")


async def test_a_gateway_that_is_gone_is_a_network_error(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    gone = stage.shell.with_environment(SKILLWAY_URL=f"http://127.0.0.1:{port}")
    done = await command(gone, "run", "github", "get_repo", "--repo", "a/b")
    assert done.code == 2
    assert done.json["error"] == "gateway_unreachable"


async def test_params_from_a_file_keep_their_numbers(stage: Stage) -> None:
    github = stage.counterparts["github"]
    github.next(status=201, json={})
    done = await command(stage.shell, "run", "--params", "@issue.json", "github", "create_issue")
    assert done.code == 0
    assert github.last.body == b'{"title":"1e400","milestone":12345678901234567}'


async def test_a_raw_answer_is_the_upstreams_bytes(stage: Stage) -> None:
    stage.counterparts["github"].next(body=PICTURE, headers={"Content-Type": "application/octet-stream"})
    done = await command(stage.shell, "run", "--raw", "github", "get_repo", "--repo", "acme/webapp")
    assert (done.code, done.out) == (0, PICTURE)
    stage.counterparts["github"].next(body=PICTURE, headers={"Content-Type": "application/octet-stream"})
    done = await command(stage.shell, "run", "--raw", "-o", "kept.bin", "github", "get_repo", "--repo", "acme/webapp")
    assert (done.code, done.out) == (0, b"")
    assert (stage.shell.folder / "kept.bin").read_bytes() == PICTURE


async def test_a_person_logs_in_looks_around_connects_calls_and_leaves(stage: Stage, tmp_path: Path) -> None:
    org, github = stage.running.org, stage.counterparts["github"]
    (tmp_path / "home").mkdir()
    shell = Shell.at(tmp_path / "home", url=stage.running.url).with_environment(SKILLWAY_API_KEY=None)
    refused = await command(shell, "whoami")
    assert (refused.code, refused.json["error"]) == (1, "unauthorized")
    wrong = await command(shell, "login", "--key-stdin", given=b"sk_live_gw_wrong\n")
    assert (wrong.code, wrong.json["error"]) == (1, "api_key_invalid")
    assert not shell.config.exists()

    logged_in = await command(shell, "login", "--key-stdin", given=org.live.encode() + b"\n")
    assert logged_in.json == {"status": "logged_in", "url": stage.running.url, "key_prefix": org.live[:16]}
    assert shell.config.stat().st_mode & 0o777 == 0o600
    assert (shell.folder / ".skillway/skills/skillway/SKILL.md").exists()
    shell = shell.with_environment(SKILLWAY_URL=None)
    who = await command(shell, "whoami")
    assert (who.json["org"]["id"], who.json["api_key"]["mode"]) == (org.id, "live")

    listed = (await command(shell, "skills")).json["integrations"]
    assert {item["slug"] for item in listed if item["connected"]} == {
        "broken", "slow", "github", "overskill", "skycot", "overten", "overscore",
    }  # fmt: skip
    actions = (await command(shell, "skills", "github")).json
    assert "create_issue" in [skill["name"] for skill in actions["skills"]]
    page = (await command(shell, "skills", "github", "create_issue")).json
    assert page["parameters"]["properties"]["title"]["type"] == "string"
    found = (await command(shell, "skills", "--search", "open an issue")).json["skills"]
    assert ("github", "create_issue") in [(skill["integration"], skill["action"]) for skill in found]
    nearest = await command(shell, "skills", "githb")
    assert (nearest.code, nearest.json["error"]) == (1, "not_found")
    assert "github" in nearest.err

    words = ("connect", "github", "--user", "bob", "--auth", "token", "--credential-stdin")
    bad = await command(shell, *words, given=b"not-a-token")
    assert bad.code == 1
    connected = await command(shell, *words, given=github.upstream.token.encode() + b"\n")
    assert connected.json == {"status": "connected", "integration": "github"}
    assert connected.err == "Connected as ada.\n"
    connections = (await command(shell, "connections")).json["connections"]
    [bobs] = [item for item in connections if item["user"] == "bob"]
    assert (bobs["integration"], bobs["account"], bobs["state"]) == ("github", "ada", "active")
    call = ("run", "--user", "bob", "github", "get_repo", "--repo", "acme/webapp")
    assert (await command(shell, *call)).code == 0
    assert (await command(shell, "connections", "rm", bobs["id"])).code == 0
    gone = await command(shell, *call)
    assert (gone.code, gone.json["error"]) == (1, "integration_not_connected")
    assert "skillway connect github --user bob" in gone.err
    assert github.upstream.token not in json.dumps([connections, connected.json, bad.err, gone.err])

    pulled = await command(shell, "pull", "github")
    assert pulled.code == 0
    folder = shell.folder / pulled.json["folder"]
    skill = (folder / "SKILL.md").read_text()
    assert re.match(r"---\nname: [a-z0-9-]+\n", skill)
    assert "create_issue" in (folder / "endpoints/issues/create_issue.md").read_text()

    assert (await command(shell, "logout")).code == 0
    assert not shell.config.exists()
    assert (await command(shell, "whoami")).code == 1


# ------------------------------------------------------------------------------------------------- what helps


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request as it stood on the wire; only the boundary between parts, which is random, is made one."""

    method: str
    raw_path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def as_sent(seen: Seen) -> Sent:
    content_type = seen.header("Content-Type") or ""
    boundary = re.search('boundary="?([^";]+)', content_type)
    old = boundary[1] if boundary else "\0"
    return Sent(
        method=seen.method,
        raw_path=seen.raw_path,
        headers=tuple((name, value.replace(old, "BOUNDARY")) for name, value in seen.headers),
        body=seen.body.replace(old.encode(), b"BOUNDARY"),
    )
