"""The escape hatch: any request of an integration goes the way of a call, and never further than a call could."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.cli.shell import Shell
from tests.demo import write_definitions
from tests.fakes.github import GitHub
from tests.fakes.upstream import Running, Upstream, serve
from tests.harness import Answer, RunningGateway, gateway, make_org
from tests.mcp.wire import tool
from tests.people import invite, person
from tests.workshop import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "tok-very-secret"


def depot(base_url: str) -> dict[str, Any]:
    """An API whose key stands in the header, the query or the body, as the connection's method says."""

    def action(request: str, **more: Any) -> dict[str, Any]:
        return {
            "description": "Do it.",
            "request": request,
            "examples": [{"params": {}, "response": {"status": 200, "data": None}}],
            **more,
        }

    return {
        "slug": "depot",
        "name": "Depot",
        "description": "Keeps things.",
        "base_url": f"{base_url}/v2",
        "auth": [
            {"name": "header", "type": "bearer", "title": "Token"},
            {"name": "query", "type": "api_key", "title": "Key", "in": "query", "as": "apiKey"},
            {"name": "body", "type": "api_key", "title": "Key", "in": "body", "as": "secretKey"},
        ],
        "actions": {
            "list_things": action("GET /things", auth=["header", "query"], cache={"ttl": "60s"}, resource="thing"),
            "empty": action(
                "POST /things/empty", effect="delete", cost=7, errors=[{"status": 409, "fix": "Nothing is there."}]
            ),
            "remove_thing": action(
                "DELETE /things/{id}",
                effect="delete",
                params={"id": {"type": "string", "required": True, "description": "Which."}},
                examples=[{"params": {"id": "x"}, "response": {"status": 204}}],
            ),
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Running[Upstream]]:
    async with serve(Upstream()) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def github() -> AsyncIterator[Running[GitHub]]:
    async with serve(GitHub()) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, upstream: Running[Upstream], github: Running[GitHub]
) -> AsyncIterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    definitions = write_definitions(folder, depot(upstream.base_url))
    plans = {"p": {"requests_per_minute": 100_000, "calls_per_day": 100_000, "credits_per_month": 1_000_000}}
    async with gateway(
        folder,
        definitions=definitions,
        integrations={"github": {"base_url": github.base_url}},
        plans=plans,
        plan="p",
    ) as opened:
        await opened.connect("github", {"token": github.upstream.token})
        await opened.connect("depot", {"token": SECRET})
        for user in ("query", "body"):
            await opened.connect("depot", {"api_key": SECRET}, auth=user, user=user)
        yield opened


@pytest.fixture(autouse=True)
def forget(running: RunningGateway, upstream: Running[Upstream]) -> None:
    running.forget_pace()
    upstream.seen.clear()


async def ask(running: RunningGateway, upstream: Running[Upstream], method: str, path: str, **params: Any) -> Answer:
    """A request to the depot, which says yes."""
    names = ("key", "user", "headers_of_call", "select")
    more: dict[str, Any] = {name: params.pop(name) for name in names if name in params}
    upstream.next(status=200, body=b'{"done":[1,2,3]}', headers={"Content-Type": "application/json"})
    if "headers_of_call" in more:
        more["headers"] = more.pop("headers_of_call")
    answer = await running.call("depot", "request", {"method": method, "path": path, **params}, **more)
    # Where nothing was sent the next one must not find what was planned.
    upstream.upstream.planned.clear()
    return answer


async def key_for(running: RunningGateway, **grant: Any) -> str:
    made = await running.ask("POST", "/api-keys", body={"name": "k", "level": "full_access", **grant})
    assert made.status == 201, made.body
    return str(made.json()["full_key"])


def refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status, body["error"]) == (status, code), answer.body
    return body


# ------------------------------------------------------------------------------------------------------ as a call


async def test_a_request_that_no_action_makes_goes_out_with_the_credential_and_comes_back_as_a_call(
    running: RunningGateway, github: Running[GitHub]
) -> None:
    answer = await running.call("github", "request", {"method": "GET", "path": "/repos/acme/webapp/stargazers"})
    body = answer.json()
    assert (answer.status, body["status"], answer.headers["X-Upstream-Status"]) == (200, 200, "200"), body
    seen = github.seen[-1]
    assert (seen.method, seen.raw_path, seen.bearer()) == ("GET", "/repos/acme/webapp/stargazers", github.upstream.token)
    # What the definition says of all requests holds for this one.
    assert seen.header("X-GitHub-Api-Version")
    run = (await running.ask("GET", "/v1/runs")).json()["runs"][0]
    assert (run["run_id"], run["action"], run["status"]) == (body["meta"]["run_id"], "request", "completed")


async def test_every_part_of_a_request_goes_where_it_was_said_to(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    answer = await ask(
        running, upstream, "PATCH", "/things/a%2Fb;v=1/",
        query={"page": 2, "tag": ["a b", "c&d"], "deep": True},
        headers={"accept": "text/csv", "If-Match": '"v7"'},
        body={"name": "x", "size": 1.5, "none": None},
    )  # fmt: skip
    assert answer.json()["data"] == {"done": [1, 2, 3]}
    (seen,) = upstream.seen
    assert (seen.method, seen.raw_path) == ("PATCH", "/v2/things/a%2Fb;v=1/?page=2&tag=a%20b&tag=c%26d&deep=true")
    assert (seen.headers_named("Accept"), seen.header("If-Match")) == (["text/csv"], '"v7"')
    assert seen.json() == {"name": "x", "size": 1.5, "none": None}


@pytest.mark.parametrize(
    ("kind", "given", "sent"),
    [
        (None, [1, "two"], b'[1,"two"]'),
        (None, "text", b'"text"'),
        (None, None, b"null"),
        ("application/merge-patch+json", {"a": 1}, b'{"a":1}'),
        ("application/x-www-form-urlencoded", {"a": "b c", "d": [1, 2]}, b"a=b%20c&d=1&d=2"),
        ("application/x-www-form-urlencoded", "a=b+c", b"a=b+c"),
        ("application/xml; charset=utf-8", "<a>é</a>", "<a>é</a>".encode()),
    ],
)
async def test_a_body_is_spelled_as_its_type_says(
    running: RunningGateway, upstream: Running[Upstream], kind: str | None, given: Any, sent: bytes
) -> None:
    headers = {} if kind is None else {"headers": {"Content-Type": kind}}
    assert (await ask(running, upstream, "POST", "/x", body=given, **headers)).status == 200
    (seen,) = upstream.seen
    assert (seen.body, seen.headers_named("Content-Type")) == (sent, [kind or "application/json"])


@pytest.mark.parametrize(
    ("method", "effect"),
    [("GET", "read"), ("HEAD", "read"), ("POST", "create"), ("PUT", "update"), ("PATCH", "update"), ("DELETE", "delete")],
)
async def test_the_method_says_what_a_request_does_to_the_world(
    running: RunningGateway, upstream: Running[Upstream], method: str, effect: str
) -> None:
    answer = await ask(running, upstream, method, "/x")
    assert answer.json()["status"] == 200 and upstream.seen[-1].method == method

    async def recorded() -> Any:
        with closing(sqlite3.connect(running.data_dir / "skillway.db")) as database:
            sql = "SELECT effect FROM runs WHERE id = ?"
            return database.execute(sql, (answer.json()["meta"]["run_id"],)).fetchone()

    assert await until(recorded) == (effect,)


@pytest.mark.parametrize("user", ["query", "body"])
async def test_a_credential_that_stands_in_the_query_or_the_body_finds_its_place(
    running: RunningGateway, upstream: Running[Upstream], user: str
) -> None:
    assert (await ask(running, upstream, "POST", "/x", body={"a": 1}, query={"b": "2"}, user=user)).status == 200
    (seen,) = upstream.seen
    expected = ("/v2/x?b=2&apiKey=" + SECRET, {"a": 1}) if user == "query" else ("/v2/x?b=2", {"a": 1, "secretKey": SECRET})
    assert (seen.raw_path, seen.json()) == expected


async def test_an_answer_is_fitted_and_a_call_made_once_as_with_any_action(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    once = {"Idempotency-Key": "hatch-1"}
    first = await ask(running, upstream, "POST", "/x", body={}, select="done[1]", headers_of_call=once)
    again = await ask(running, upstream, "POST", "/x", body={}, select="done[1]", headers_of_call=once)
    assert (first.json()["data"], again.json()["data"], again.json()["meta"]["replayed"]) == (2, 2, True)
    assert len(upstream.seen) == 1
    other = await ask(running, upstream, "POST", "/y", body={}, headers_of_call=once)
    refused(other, 409, "idempotency_conflict")
    upstream.next(status=200, body=b"plain words", headers={"Content-Type": "text/plain"})
    raw = await running.ask("POST", "/v1/depot/request?raw=1", body={"params": {"method": "GET", "path": "/x"}})
    assert (raw.body, raw.headers["X-Upstream-Status"]) == (b"plain words", "200")


async def test_it_can_be_carried_out_later_and_done_again(running: RunningGateway, upstream: Running[Upstream]) -> None:
    for _ in range(2):
        upstream.next(status=200, body=b"{}", headers={"Content-Type": "application/json"})
    params = {"method": "PUT", "path": "/later", "body": {"n": 1}}
    queued = await running.call("depot", "request", params, **{"async": True})
    run = (await running.ask("GET", f"/v1/runs/{queued.json()['run_id']}?wait=20")).json()
    assert (run["status"], run["upstream_status"]) == ("completed", 200), run
    retried = await running.ask("POST", f"/v1/runs/{run['run_id']}/retry", body={})
    run = (await running.ask("GET", f"/v1/runs/{retried.json()['run_id']}?wait=20")).json()
    assert run["status"] == "completed" and [seen.raw_path for seen in upstream.seen] == ["/v2/later"] * 2


async def test_a_dry_run_shows_the_request_without_the_credential_and_sends_nothing(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    body = {"integration": "depot", "action": "request", "user": "query"}
    params = {"method": "POST", "path": "/x", "body": {"a": 1}}
    shown = (await running.ask("POST", "/v1/preflight", body={**body, "params": params})).json()
    assert shown["ok"] is True and shown["request"]["url"] == f"{upstream.base_url}/v2/x?apiKey=[secret]"
    for wrong in ({"method": "GET", "path": "/../x"}, {"method": "GET"}, {"method": "GET", "path": "/x", "query": 7}, {"nota": 1}):
        answer = await running.ask("POST", "/v1/preflight", body={**body, "params": wrong})
        assert answer.status == 200 and answer.json()["problems"][0]["error"] == "bad_request", answer.body
    assert upstream.seen == []


async def test_a_write_empties_what_was_kept_of_reads(running: RunningGateway, upstream: Running[Upstream]) -> None:
    await running.forget_answers()
    for number in (1, 2, 3):
        upstream.next(status=200, body=b"%d" % number, headers={"Content-Type": "application/json"})
    await running.call("depot", "list_things")
    assert (await running.call("depot", "list_things")).json()["meta"]["cached"] is True
    await running.call("depot", "request", {"method": "POST", "path": "/elsewhere", "body": {}})
    assert (await running.call("depot", "list_things")).json()["data"] == 3


# ------------------------------------------------------------------------------------------ what an action says of it


async def test_the_answer_names_the_action_that_makes_the_request_or_is_nearest_to_it(
    running: RunningGateway, github: Running[GitHub]
) -> None:
    async def hint(method: str, path: str) -> str | None:
        answer = await running.call("github", "request", {"method": method, "path": path})
        assert answer.status == 200, answer.body
        found: str | None = answer.json()["meta"].get("hint")
        return found

    same = await hint("GET", "/repos/acme/webapp/issues")
    assert same is not None and "POST /v1/github/list_issues" in same
    near = await hint("GET", "/repos/acme/webapp/issues/events")
    assert near is not None and near.startswith("The nearest action is github.") and "/issues" in near
    # Neither is a repository called webapp/tags.
    assert "github.get_repo," in (await hint("GET", "/repos/acme/webapp/tags") or "")
    assert await hint("GET", "/octocat") is None


async def test_what_the_definition_knows_of_an_action_holds_for_the_same_request(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    upstream.next(status=409, body=b"{}", headers={"Content-Type": "application/json"})
    before = (await running.ask("GET", "/v1/usage")).json()["credits"]["used"]
    answer = await running.call("depot", "request", {"method": "POST", "path": "/things/empty"})
    assert answer.json()["meta"]["hint"] == "Nothing is there."
    assert (await running.ask("GET", "/v1/usage")).json()["credits"]["used"] - before == 7


async def test_it_is_documented_for_whoever_may_use_it_and_listed_for_nobody(running: RunningGateway) -> None:
    page = (await running.ask("GET", "/v1/skills/github/request")).json()
    assert set(page["parameters"]["properties"]) == {"method", "path", "query", "headers", "body"}
    listed = (await running.ask("GET", "/v1/skills/github")).json()["skills"]
    assert "request" not in [skill["name"] for skill in listed]
    less = await key_for(running, level="read_write")
    refused(await running.ask("GET", "/v1/skills/github/request", key=less), 403, "forbidden")


# -------------------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize("level", ["read_only", "read_write"])
async def test_a_key_below_full_access_may_not_even_read_by_it(
    running: RunningGateway, upstream: Running[Upstream], level: str
) -> None:
    key = await key_for(running, level=level)
    refused(await ask(running, upstream, "GET", "/things", key=key), 403, "forbidden")
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("grant", "may"),
    [
        ({}, True),
        ({"allow": ["*"]}, True),
        ({"allow": ["depot.*"]}, True),
        ({"allow": ["depot"]}, True),
        ({"allow": ["depot.request"]}, True),
        ({"allow": ["depot.list_things"]}, False),
        ({"allow": ["depot.re*"]}, False),
        ({"allow": ["github.*"]}, False),
        ({"deny": ["*.request"]}, False),
        ({"deny": ["github.create_issue"]}, True),
        # Whatever is denied it could do all the same, unless somebody meant it to.
        ({"deny": ["depot.empty"]}, False),
        ({"allow": ["*"], "deny": ["dep*.empty"]}, False),
        ({"allow": ["*", "depot.request"], "deny": ["depot.empty"]}, True),
        ({"allow": ["depot.request"], "deny": ["depot.*"]}, False),
        ({"scopes": ["github"]}, False),
    ],
)
async def test_a_grant_that_leaves_something_out_lets_it_through_only_by_its_full_name(
    running: RunningGateway, upstream: Running[Upstream], grant: dict[str, Any], may: bool
) -> None:
    answer = await ask(running, upstream, "GET", "/elsewhere", key=await key_for(running, **grant))
    if may:
        assert answer.status == 200, answer.body
    else:
        refused(answer, 403, "scope_not_allowed" if "scopes" in grant else "forbidden")
    assert len(upstream.seen) == may


async def test_a_key_makes_no_key_that_opens_what_is_closed_to_itself(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    for grant in ({"deny": ["depot.empty"]}, {"allow": ["depot.*"], "deny": ["depot.empty"]}, {"allow": ["depot.re*"]}):
        parent = await key_for(running, **grant)
        body = {"name": "child", "level": "full_access", "allow": ["depot.request"]}
        made = await running.ask("POST", "/api-keys", key=parent, body=body)
        if made.status == 201:
            answer = await ask(running, upstream, "DELETE", "/things/1", key=made.json()["full_key"])
            refused(answer, 403, "forbidden")
        else:
            assert made.status == 403, made.body
    assert upstream.seen == []


async def test_the_request_of_a_denied_action_is_denied_however_its_path_is_spelled(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    key = await key_for(running, allow=["*", "depot.request"], deny=["depot.empty"])
    for path in ("/things/empty", "/things/%65mpty", "/things/empty/"):
        refused(await ask(running, upstream, "POST", path, key=key, body={}), 403, "forbidden")
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("rule", "method", "waits"),
    [
        ({"effects": ["delete"]}, "DELETE", True),
        # A POST may delete too.
        ({"effects": ["delete"]}, "POST", True),
        ({"effects": ["delete"]}, "GET", False),
        ({"effects": ["read"]}, "GET", True),
        ({"effects": ["read"]}, "POST", False),
        ({"when": [{"action": "depot.empty", "if": "sure == `false`"}]}, "POST", True),
        ({"when": [{"action": "github.*"}]}, "POST", False),
        ({"when": [{"action": "depot.request", "if": "method != 'PUT'"}]}, "PUT", False),
        ({"when": [{"action": "depot.request", "if": "method != 'PUT'"}]}, "POST", True),
    ],
)
async def test_a_person_looks_first_wherever_the_request_could_be_what_a_rule_is_about(
    running: RunningGateway, upstream: Running[Upstream], rule: Any, method: str, waits: bool
) -> None:
    key = await key_for(running, approval=rule)
    answer = await ask(running, upstream, method, "/elsewhere", key=key)
    if waits:
        assert refused(answer, 403, "approval_required")["outcome"] == "not_sent"
    else:
        assert answer.status == 200, answer.body
    assert len(upstream.seen) == (not waits)


async def test_what_a_person_approves_is_the_very_request_and_goes_on_by_itself(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    key = await key_for(running, approval={"effects": ["delete"]})
    held = await ask(running, upstream, "DELETE", "/things/a%20b", key=key, query={"force": True})
    run_id = refused(held, 403, "approval_required")["run_id"]
    upstream.next(status=204)
    async with person(running, await invite(running, name="Ada")) as ada:
        page = await ada.open(f"/approvals/{run_id}")
        assert f"DELETE {upstream.base_url}/v2/things/a%20b?force=true" in page.words and SECRET not in page.html
        await ada.press(page, run_id, decision="approve")
    run = (await running.ask("GET", f"/v1/runs/{run_id}?wait=20", key=key)).json()
    assert (run["status"], run["upstream_status"]) == ("completed", 204), run
    assert [(seen.method, seen.raw_path) for seen in upstream.seen] == [("DELETE", "/v2/things/a%20b?force=true")]


async def test_another_org_reaches_neither_the_connection_nor_the_run(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    run_id = (await ask(running, upstream, "PUT", "/x", body={})).json()["meta"]["run_id"]
    ours = (await running.ask("GET", "/v1/connections")).json()["connections"][0]["id"]
    upstream.seen.clear()
    other = (await make_org({"SKILLWAY_DATA_DIR": str(running.data_dir)}, "Other")).live
    params = {"method": "GET", "path": "/things"}
    answer = await running.call("depot", "request", params, key=other)
    refused(answer, 403, "integration_not_connected")
    refused(await running.call("depot", "request", params, key=other, connection=ours), 404, "not_found")
    refused(await running.ask("POST", f"/v1/runs/{run_id}/retry", body={}, key=other), 404, "not_found")
    assert upstream.seen == []


async def test_a_plan_that_leaves_an_action_out_leaves_it_out_too(tmp_path: Path) -> None:
    async with serve(Upstream()) as upstream:
        definitions = write_definitions(tmp_path, depot(upstream.base_url))
        plans = {"p": {"deny": ["depot.empty"]}}
        async with gateway(tmp_path, definitions=definitions, plans=plans, plan="p") as running:
            await running.connect("depot", {"token": SECRET})
            refused(await ask(running, upstream, "POST", "/x"), 403, "plan_limit_reached")
            assert upstream.seen == []


async def test_without_a_connection_it_is_refused_with_the_way_to_make_one(running: RunningGateway) -> None:
    answer = await running.call("github", "request", {"method": "GET", "path": "/user"}, user="nobody")
    assert "/connect/new" in refused(answer, 403, "integration_not_connected")["action_url"]


async def test_a_test_key_is_told_that_there_is_no_example_and_which_action_has_one(
    running: RunningGateway, github: Running[GitHub]
) -> None:
    before = len(github.seen)
    params = {"method": "GET", "path": "/repos/acme/webapp/issues"}
    answer = await running.call("github", "request", params, key=running.org.test)
    assert "POST /v1/github/list_issues" in refused(answer, 403, "forbidden")["hint"]
    answer = await running.call("github", "request", {"method": "GET", "path": "/../x"}, key=running.org.test)
    refused(answer, 400, "bad_request")
    assert len(github.seen) == before


# ---------------------------------------------------------------------------------------------------- hostile input


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"method": "TRACE"}, "method"),
        ({"method": "get"}, "method"),
        ({"method": "GET /x HTTP/1.1\r\nX: y"}, "method"),
        ({"path": "things"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "https://evil.example/"}, "path"),
        ({"path": "//evil.example/"}, "path"),
        ({"path": "/\\evil.example/"}, "path"),
        ({"path": "/%5cevil.example/"}, "path"),
        ({"path": "/a//b"}, "path"),
        ({"path": "/a?b=c"}, "path"),
        ({"path": "/a#b"}, "path"),
        ({"path": "/a b"}, "path"),
        ({"path": "/é"}, "path"),
        ({"path": "/{token}"}, "path"),
        ({"path": "/a/.."}, "path"),
        ({"path": "/..;x/admin"}, "path"),
        ({"path": "/%252e%252e/admin"}, "path"),
        ({"path": "/a%2f..%2fb"}, "path"),
        ({"path": "/a%25250d%25250ab"}, "path"),
        ({"path": "/..%c0%afadmin"}, "path"),
        ({"path": "/" + "a" * 5000}, "path"),
        ({"query": {"apikey": "mine"}}, "query"),
        ({"query": {"a": {"b": 1}}}, "query/a"),
        ({"query": {f"n{n}": n for n in range(101)}}, "query"),
        ({"headers": {"Authorization": "Bearer mine"}}, "headers"),
        ({"headers": {"cookie": "a=b"}}, "headers"),
        ({"headers": {"Host": "evil.example"}}, "headers"),
        ({"headers": {"Content-Length": "0"}}, "headers"),
        ({"headers": {"X-HTTP-Method-Override": "DELETE"}}, "headers"),
        ({"headers": {"Accept": "a\r\nX-Evil: 1"}}, "headers"),
        ({"headers": {"Accept": "a", "accept": "b"}}, "headers"),
        ({"headers": {"Accept": "a" * 2000}}, "headers/Accept"),
        ({"body": {"a": 1}}, "body"),
        ({"method": "POST", "headers": {"Content-Type": "text/plain"}, "body": {"a": 1}}, "body"),
        ({"url": "https://evil.example/"}, "url"),
    ],
)
async def test_what_may_not_stand_in_a_request_is_refused_by_the_name_of_its_field(
    running: RunningGateway, upstream: Running[Upstream], params: dict[str, Any], field: str
) -> None:
    answer = await ask(running, upstream, **{"method": "GET", "path": "/x", **params})
    assert refused(answer, 400, "bad_request")["details"]["fields"][0]["path"] == field, answer.body
    assert upstream.seen == []


async def test_a_body_may_not_hold_the_name_of_the_credential(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    refused(await ask(running, upstream, "POST", "/x", body={"secretKey": "mine"}, user="body"), 400, "bad_request")
    # A GET has no body that the credential could stand in.
    refused(await ask(running, upstream, "GET", "/x", user="body"), 403, "integration_not_connected")
    assert upstream.seen == []


@pytest.mark.shared
@pytest.mark.parametrize("name", ["crlf.txt", "path-traversal.txt", "open-redirects.txt"])
async def test_no_hostile_path_leaves_the_base_url(
    running: RunningGateway, upstream: Running[Upstream], shared: Path, name: str
) -> None:
    lines = (shared / "hostile" / name).read_text(errors="replace").splitlines()
    let_through = 0
    for line in lines:
        for path in (line, f"/{line}"):
            answer = await ask(running, upstream, "GET", path)
            if answer.status != 200:
                refused(answer, 400, "bad_request")
                continue
            let_through += 1
            seen = upstream.seen[-1]
            assert seen.raw_path == f"/v2{path}" and ".." not in path.split("/") and "%0" not in path, path
            assert seen.header("Host") == upstream.base_url.removeprefix("http://") and seen.bearer() == SECRET
    assert len(upstream.seen) == let_through


# ------------------------------------------------------------------------------------------------------ other doors


async def test_the_command_line_makes_the_same_request(
    running: RunningGateway, upstream: Running[Upstream], tmp_path: Path
) -> None:
    shell = Shell.at(tmp_path, url=running.url).with_environment(SKILLWAY_API_KEY=running.org.live)
    upstream.next(status=201, body=b'{"id":7}', headers={"Content-Type": "application/json"})
    done = await asyncio.to_thread(
        shell.run, "request", "depot", "post", "/things?a=1&a=2", "-q", "b=x=y", "-H", "Accept: text/csv",
        "--body", '{"n": 1.50}',
    )  # fmt: skip
    assert (done.code, done.json["status"], done.json["data"]) == (0, 201, {"id": 7}), done
    (seen,) = upstream.seen
    assert (seen.method, seen.raw_path, seen.body) == ("POST", "/v2/things?a=1&a=2&b=x%3Dy", b'{"n":1.5}')
    assert seen.header("Accept") == "text/csv" and "nearest action is depot.list_things" in done.err
    (shell.folder / "q.txt").write_text("to find")
    upstream.next(status=404, body=b"{}", headers={"Content-Type": "application/json"})
    done = await asyncio.to_thread(
        shell.run, "request", "--select", "id", "depot", "PUT", "/q", "-H", "content-type: text/plain", "--body", "@q.txt"
    )
    assert (done.code, upstream.seen[-1].body, upstream.seen[-1].header("Content-Type")) == (1, b"to find", "text/plain")
    wrong = await asyncio.to_thread(shell.run, "request", "depot", "POST", "/q", "--body", "to find")
    assert wrong.code == 1 and "Content-Type" in wrong.err and len(upstream.seen) == 2


async def test_a_model_can_call_it_by_the_tool_that_leads_to_every_action(
    running: RunningGateway, upstream: Running[Upstream]
) -> None:
    upstream.next(status=200, body=b'{"id":7}', headers={"Content-Type": "application/json"})
    arguments = {"integration": "depot", "action": "request", "params": {"method": "GET", "path": "/x"}}
    answer = await tool(running, "call_skill", arguments)
    assert '"id": 7' in json.dumps(answer) and upstream.seen[-1].raw_path == "/v2/x"
