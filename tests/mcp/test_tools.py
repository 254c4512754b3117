"""Tools as agents use them: found, described, called, cut, connected, waited for; and nobody reaches what is another's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.web.tool_options import BUDGET
from skills_catalog.exporting.tool_names import LONGEST, tool_name, tools_of
from skills_catalog.loader import SHIPPED, load_catalog
from tests.fakes.github import GitHub
from tests.fakes.upstream import serve
from tests.harness import gateway
from tests.mcp.conftest import Stage
from tests.mcp.wire import TASK_CLIENT, URL_CLIENT, modern, older, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPO = {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}}
META = ["search_skills", "describe_skill", "call_skill", "connect_integration", "get_result"]


async def names(stage: Stage, path: str = "/mcp", **more: Any) -> list[str]:
    answer = await modern(stage.running, "tools/list", path=path, **more)
    return [one["name"] for one in answer.json()["result"]["tools"]]


# ------------------------------------------------------------------------------------------------------- how listed


async def test_a_key_with_many_actions_gets_the_tools_that_find_them(stage: Stage) -> None:
    assert await names(stage) == META


async def test_a_key_with_few_actions_gets_them_as_tools_in_one_order(stage: Stage) -> None:
    key = await stage.key(allow=["github.list_*"], level="read_only")
    listed = await names(stage, key=key)
    assert listed == [*sorted(listed[:-2]), "connect_integration", "get_result"]
    assert {name.split("_list_")[0] for name in listed[:-2]} == {"github_"}
    assert await names(stage, "/mcp?tools=meta", key=key) == META
    assert await names(stage, key=key) == listed


async def test_an_address_says_how_to_list_and_what(stage: Stage) -> None:
    assert len(await names(stage, "/mcp?tools=direct")) > 100
    only = await names(stage, "/mcp?integration=slow,overscore")
    assert {name.partition("__")[0] for name in only[:-2]} == {"slow", "overscore"}
    refused = await tool(stage.running, "call_skill", REPO, path="/mcp?integration=slow")
    assert refused["structuredContent"]["error"] == "scope_not_allowed"


async def test_annotations_say_what_an_action_does_to_the_world(stage: Stage) -> None:
    answer = await modern(stage.running, "tools/list", path="/mcp?tools=direct&integration=github,overten")
    tools = {one["name"]: one for one in answer.json()["result"]["tools"]}
    assert tools["github__get_repo"]["annotations"]["readOnlyHint"] is True
    assert tools["github__create_issue"]["annotations"]["destructiveHint"] is False
    assert tools["overten__delete_image"]["annotations"]["destructiveHint"] is True
    for one in tools.values():
        assert len(one["name"]) <= LONGEST and one["inputSchema"]["type"] == "object"


async def test_every_shipped_action_has_one_name_that_leads_back_to_it() -> None:
    catalog = load_catalog([SHIPPED])
    for integration in catalog.integrations.values():
        for skill in integration.skills.values():
            assert tools_of(catalog)[tool_name(catalog, skill)] is skill


async def test_a_tool_that_changed_since_its_digest_was_noted_is_refused(stage: Stage) -> None:
    key = await stage.key(allow=["github.get_repo"])
    [listed] = (await modern(stage.running, "tools/list", key=key)).json()["result"]["tools"][:1]
    arguments, noted = {"repo": "acme/webapp"}, listed["_meta"]["skillway/digest"]
    good = await tool(stage.running, listed["name"], arguments, meta={"skillway/digest": noted})
    assert good["structuredContent"]["status"] == 200
    bad = await tool(stage.running, listed["name"], arguments, meta={"skillway/digest": "0" * 16})
    assert bad["structuredContent"]["error"] == "conflict"


async def test_what_an_action_says_that_it_answers_stands_beside_what_it_takes(stage: Stage) -> None:
    """And clients, which refuse what does not fit it, have nothing to refuse: whatever came, the call was made."""
    listed = (await modern(stage.running, "tools/list", path="/mcp?tools=direct&integration=slow")).json()["result"]
    said = {one["name"]: one.get("outputSchema") for one in listed["tools"]}
    assert [name for name, schema in said.items() if schema is not None] == ["slow__build"]
    schema = said["slow__build"]
    assert schema["properties"]["data"]["anyOf"][0]["properties"] == {"built": {"$ref": "#/$defs/yes"}}
    check, ask = jsonschema_rs.validator_for(schema), {"name": "x"}
    stage.slow.next(json={"unlike": "anything"})
    drifted = await tool(stage.running, "slow__build", ask)
    usual = await tool(stage.running, "slow__build", ask)
    part = await tool(stage.running, "slow__build", ask, meta={"skillway/select": "built"})
    later = await tool(stage.running, "slow__build", ask, meta={"skillway/async": True})
    for answer in (drifted, usual, part, later):
        assert "isError" not in answer and check.is_valid(answer["structuredContent"]), answer
    read = await tool(stage.running, "describe_skill", {"integration": "slow", "action": "build"})
    shown = (await stage.running.ask("GET", "/v1/skills/slow/build")).json()
    assert (
        read["structuredContent"]["output"]
        == shown["output"]
        == schema["properties"]["data"]["anyOf"][0] | {"$defs": schema["$defs"]}
    )


# ------------------------------------------------------------------------------------------------ found and called


async def test_an_agent_finds_reads_and_calls(stage: Stage) -> None:
    found = (await tool(stage.running, "search_skills", {"query": "get a repository", "effect": "read"}))[
        "structuredContent"
    ]
    assert ("github", "get_repo") in [(hit["integration"], hit["action"]) for hit in found["skills"]]
    assert {hit["effect"] for hit in found["skills"]} == {"read"} and len(found["skills"]) <= 8
    read = await tool(stage.running, "describe_skill", {"integration": "github", "action": "get_repo"})
    assert read["structuredContent"]["parameters"]["required"] == ["repo"]
    called = await tool(stage.running, "call_skill", REPO)
    assert called["structuredContent"]["status"] == 200 and "isError" not in called
    assert json.loads(called["content"][0]["text"]) == called["structuredContent"]
    nothing = await tool(stage.running, "search_skills", {"query": "zzzzqqq"})
    assert "github" in nothing["structuredContent"]["hint"]


@pytest.mark.parametrize(
    ("name", "arguments", "path"),
    [
        ("search_skills", {}, "query"), ("search_skills", {"query": "x", "limit": 0}, "limit"),
        ("search_skills", {"query": "x", "efect": "read"}, "efect"), ("describe_skill", {"integration": "github"}, "action"),
        ("call_skill", {**REPO, "params": []}, "params"), ("call_skill", {**REPO, "select": "["}, "select"),
        ("call_skill", {**REPO, "max_bytes": 1}, "max_bytes"), ("get_result", {}, "result_id"),
        ("github__get_repo", {"repo": "acme/webapp", "x": 1}, "x"),
    ],
)  # fmt: skip
async def test_a_wrong_argument_is_named(stage: Stage, name: str, arguments: Any, path: str) -> None:
    refused = await tool(stage.running, name, arguments)
    assert refused["isError"] and refused["structuredContent"]["error"] == "bad_request"
    assert refused["structuredContent"]["details"]["fields"][0]["path"] == path
    assert path in refused["content"][0]["text"]


async def test_an_option_that_is_not_known_is_named_and_the_nearest(stage: Stage) -> None:
    refused = await tool(stage.running, "github__get_repo", {"repo": "a/b"}, meta={"skillway/usr": "x"})
    assert "Did you mean 'user'" in refused["content"][0]["text"]
    wrong = await tool(stage.running, "github__get_repo", {"repo": "a/b"}, meta={"skillway/select": "["})
    assert wrong["structuredContent"]["error"] == "bad_request"


async def test_a_no_of_the_upstream_is_an_error_with_its_own_words(stage: Stage) -> None:
    stage.github.next(status=422, json={"message": "No."})
    refused = await tool(stage.running, "call_skill", REPO)
    assert refused["isError"] and refused["structuredContent"]["status"] == 422
    assert refused["structuredContent"]["data"] == {"message": "No."}


async def test_a_call_under_one_idempotency_key_is_made_once(stage: Stage) -> None:
    before = len(stage.github.seen)
    arguments = {"repo": "acme/webapp", "title": "Once"}
    meta = {"skillway/idempotency_key": "once-1"}
    first = await tool(stage.running, "github__create_issue", arguments, meta=meta)
    again = await tool(
        stage.running,
        "call_skill",
        {"integration": "github", "action": "create_issue", "params": arguments, "idempotency_key": "once-1"},
    )
    assert again["structuredContent"]["data"] == first["structuredContent"]["data"]
    assert again["structuredContent"]["meta"]["replayed"] is True
    assert len(stage.github.seen) == before + 1


# ---------------------------------------------------------------------------------------------- answers that fit


async def test_a_long_answer_is_cut_and_the_rest_is_read_by_the_next_that_is_told(stage: Stage) -> None:
    stage.github.next(json=[{"id": number, "text": "x" * 400} for number in range(200)])
    cut = (await tool(stage.running, "github__get_repo", {"repo": "acme/webapp"}))["structuredContent"]
    assert cut["meta"]["truncated"] and cut["meta"]["total"] == 200
    assert len(json.dumps(cut)) <= BUDGET + 2000
    seen = len(cut["data"])
    following = cut["meta"]["next"]
    while following is not None:
        assert following["tool"] == "get_result"
        piece = (await tool(stage.running, "get_result", following["arguments"]))["structuredContent"]
        assert piece["data"][0]["id"] == seen
        seen += len(piece["data"])
        more = {**following["arguments"], "offset": piece.get("next")}
        following = {"tool": "get_result", "arguments": more} if "next" in piece else None
    assert seen == 200


async def test_a_part_is_asked_for_by_select(stage: Stage) -> None:
    stage.github.next(json={"name": "webapp", "big": "x" * 100_000})
    part = await tool(stage.running, "call_skill", {**REPO, "select": "name"})
    assert part["structuredContent"]["data"] == "webapp"


# -------------------------------------------------------------------------------------- an account that is missing


async def test_a_client_that_opens_pages_is_asked_and_the_call_goes_on_once_connected(stage: Stage) -> None:
    params = {"name": "github__get_repo", "arguments": {"repo": "acme/webapp"}, "_meta": {"skillway/user": "eve"}}
    asked = (await modern(stage.running, "tools/call", params, client=URL_CLIENT)).json()["result"]
    assert asked["resultType"] == "input_required"
    elicit = asked["inputRequests"]["connect"]
    assert (elicit["method"], elicit["params"]["mode"]) == ("elicitation/create", "url")
    assert elicit["params"]["url"].startswith(f"{stage.running.url}/connect/new?t=")
    back = {**params, "requestState": asked["requestState"], "inputResponses": {"connect": {"action": "accept"}}}
    waiting = asyncio.create_task(modern(stage.running, "tools/call", back, client=URL_CLIENT))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await stage.running.connect("github", {"token": stage.github.upstream.token}, user="eve")
    assert (await waiting).json()["result"]["structuredContent"]["status"] == 200


async def test_who_does_not_come_back_connected_is_asked_to_wait_and_at_last_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mcp.calling.WAIT", 0.0)
    params = {"name": "github__get_repo", "arguments": {"repo": "acme/webapp"}, "_meta": {"skillway/user": "zoe"}}
    state, rounds = None, 0
    while True:
        more: Any = {} if state is None else {"requestState": state}
        result = (await modern(stage.running, "tools/call", {**params, **more}, client=URL_CLIENT)).json()["result"]
        if result["resultType"] != "input_required":
            break
        assert ("inputRequests" in result) == (state is None)
        state, rounds = result["requestState"], rounds + 1
    assert rounds == 8
    assert result["structuredContent"]["error"] == "integration_not_connected"


async def test_a_person_who_says_no_is_not_asked_twice(stage: Stage) -> None:
    params = {"name": "github__get_repo", "arguments": {"repo": "a/b"}, "_meta": {"skillway/user": "zoe"}}
    back = {**params, "requestState": "connect.1", "inputResponses": {"connect": {"action": "decline"}}}
    result = (await modern(stage.running, "tools/call", back, client=URL_CLIENT)).json()["result"]
    assert result["structuredContent"]["error"] == "integration_not_connected"


@pytest.mark.parametrize("state", ["connect.0", "connect.99", "x", "", 1, {"a": 1}])
async def test_a_state_that_is_not_ours_is_refused(stage: Stage, state: Any) -> None:
    params = {"name": "github__get_repo", "arguments": {"repo": "a/b"}, "requestState": state}
    answer = await modern(stage.running, "tools/call", params, client=URL_CLIENT)
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)


async def test_the_handshakes_last_revision_is_told_by_its_own_error(stage: Stage) -> None:
    params = {"name": "github__get_repo", "arguments": {"repo": "a/b"}, "_meta": {"skillway/user": "nobody"}}
    error = (await older(stage.running, "tools/call", params)).json()["error"]
    assert error["code"] == -32042
    [elicitation] = error["data"]["elicitations"]
    assert elicitation["mode"] == "url" and elicitation["elicitationId"] and elicitation["url"] in error["message"]


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2026-07-28"])
async def test_a_client_that_opens_no_pages_gets_the_link_in_words(stage: Stage, version: str) -> None:
    params = {"name": "github__get_repo", "arguments": {"repo": "a/b"}, "_meta": {"skillway/user": "nobody"}}
    ask = (
        modern(stage.running, "tools/call", params)
        if version == "2026-07-28"
        else older(stage.running, "tools/call", params, version=version)
    )
    result = (await ask).json()["result"]
    assert result["isError"] and result["structuredContent"]["error"] == "integration_not_connected"
    assert result["structuredContent"]["action_url"] in result["content"][0]["text"]


async def test_a_client_that_said_so_in_its_handshake_gets_the_link_in_words(stage: Stage) -> None:
    hello: dict[str, Any] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    }
    session = (await older(stage.running, "initialize", hello)).headers["Mcp-Session-Id"]
    params = {"name": "github__get_repo", "arguments": {"repo": "a/b"}, "_meta": {"skillway/user": "nobody"}}
    answer = await older(stage.running, "tools/call", params, headers={"Mcp-Session-Id": session})
    assert answer.json()["result"]["structuredContent"]["error"] == "integration_not_connected"
    hello["capabilities"] = URL_CLIENT
    assert "Mcp-Session-Id" not in (await older(stage.running, "initialize", hello)).headers


async def test_a_link_to_connect_by_is_made_where_none_is_connected(stage: Stage) -> None:
    link = await tool(stage.running, "connect_integration", {"integration": "github", "user": "new"})
    assert link["structuredContent"]["status"] == "pending"
    assert link["structuredContent"]["oauth_url"] in link["content"][0]["text"]
    there = await tool(stage.running, "connect_integration", {"integration": "github"})
    assert there["structuredContent"] == {"status": "connected", "integration": "github", "user": "default"}


# ------------------------------------------------------------------------------------------------------ long calls


async def test_what_a_person_approves_tells_a_model_what_to_do(stage: Stage) -> None:
    key = await stage.key(approval={"effects": ["create"]})
    arguments = {"repo": "acme/webapp", "title": "Held"}
    held = await tool(stage.running, "github__create_issue", arguments, key=key)
    said = held["structuredContent"]
    assert said["error"] == "approval_required"
    for part in (said["action_url"], said["run_id"], "do not send it again", "get_result"):
        assert part in held["content"][0]["text"]
    waiting = await tool(stage.running, "get_result", {"result_id": said["run_id"]}, key=key)
    assert waiting["structuredContent"]["status"] == "awaiting_approval"
    assert waiting["structuredContent"]["action_url"] == said["action_url"]


async def test_a_call_for_later_is_waited_for_by_its_run(stage: Stage) -> None:
    later = await tool(stage.running, "github__get_repo", {"repo": "acme/webapp"}, meta={"skillway/async": True})
    run = later["structuredContent"]["run_id"]
    done = await tool(stage.running, "get_result", {"result_id": run, "wait": 20})
    assert done["structuredContent"]["status"] == 200
    assert done["structuredContent"]["meta"]["run_id"] == run


async def test_a_long_call_is_a_task_for_whoever_knows_them(stage: Stage) -> None:
    stage.slow.next(delay=0.2)
    made = await tool(stage.running, "slow__build", {"name": "x"}, client=TASK_CLIENT)
    assert made["resultType"] == "task" and made["status"] == "working" and made["ttlMs"] > 0
    for _ in range(100):
        task = (await modern(stage.running, "tasks/get", {"taskId": made["taskId"]}, client=TASK_CLIENT)).json()[
            "result"
        ]
        if task["status"] != "working":
            break
        await asyncio.sleep(0.1)
    assert (task["resultType"], task["status"]) == ("complete", "completed")
    assert task["result"]["structuredContent"]["data"] == {"built": True}
    for method in ("tasks/cancel", "tasks/update"):
        answer = await modern(
            stage.running, method, {"taskId": made["taskId"], "inputResponses": {}}, client=TASK_CLIENT
        )
        assert set(answer.json()["result"]) == {"resultType", "_meta"}
    assert "content" in await tool(stage.running, "slow__build", {"name": "x"})


async def test_a_task_that_a_person_approves_asks_for_it_and_can_be_cancelled(stage: Stage) -> None:
    key = await stage.key(approval={"effects": ["create"]})
    client = {**TASK_CLIENT, **URL_CLIENT}
    task = await tool(
        stage.running, "github__create_issue", {"repo": "acme/webapp", "title": "T"}, key=key, client=client
    )
    assert (task["resultType"], task["status"]) == ("task", "input_required")
    assert "/approvals/" in task["inputRequests"]["approve"]["params"]["url"]
    await modern(stage.running, "tasks/cancel", {"taskId": task["taskId"]}, key=key, client=client)
    shown = await modern(stage.running, "tasks/get", {"taskId": task["taskId"]}, key=key, client=client)
    assert shown.json()["result"]["status"] == "cancelled"


async def test_tasks_are_for_clients_that_say_they_know_them(stage: Stage) -> None:
    answer = await modern(stage.running, "tasks/get", {"taskId": "run_1"})
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32021)


# --------------------------------------------------------------------------------------------- nobody else's things


async def test_handles_and_tasks_of_others_do_not_exist(stage: Stage) -> None:
    """Another org, a test key, and a key for something else or somebody else."""
    later = await tool(stage.running, "github__get_repo", {"repo": "acme/webapp"}, meta={"skillway/async": True})
    run = later["structuredContent"]["run_id"]
    unknown = "run_" + "0" * len(run.removeprefix("run_"))
    for key in (stage.other.live, stage.other.test, stage.running.org.test):
        said = [await tool(stage.running, "get_result", {"result_id": one}, key=key) for one in (run, unknown)]
        assert said[0]["structuredContent"]["error"] == "not_found" and said[0] == said[1]
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            given = {"taskId": run, "inputResponses": {}}
            theirs = await modern(stage.running, method, given, key=key, client=TASK_CLIENT)
            nobodys = await modern(stage.running, method, {**given, "taskId": unknown}, key=key, client=TASK_CLIENT)
            assert (theirs.status, theirs.json()["error"]["data"]["error"]) == (400, "not_found")
            assert theirs.body == nobodys.body
    for grant in ({"scopes": ["overten"]}, {"users": ["somebody"]}):
        key = await stage.key(**grant)
        said = await tool(stage.running, "get_result", {"result_id": run}, key=key)
        assert said["structuredContent"]["error"] in ("forbidden", "scope_not_allowed"), grant
        task = await modern(stage.running, "tasks/get", {"taskId": run}, key=key, client=TASK_CLIENT)
        assert task.json()["error"]["code"] == -32602


async def test_a_weaker_key_reads_and_does_no_more(stage: Stage) -> None:
    key, before = await stage.key(level="read_only"), len(stage.github.seen)
    assert "github__create_issue" not in await names(stage, "/mcp?tools=direct", key=key)
    for name, arguments in (
        ("github__create_issue", {"repo": "acme/webapp", "title": "x"}),
        ("connect_integration", {"integration": "github"}),
        ("describe_skill", {"integration": "github", "action": "create_issue"}),
    ):
        refused = await tool(stage.running, name, arguments, key=key)
        assert refused["structuredContent"]["error"] == "forbidden", name
    hits = (await tool(stage.running, "search_skills", {"query": "create issue"}, key=key))["structuredContent"][
        "skills"
    ]
    assert {hit["effect"] for hit in hits} == {"read"}
    assert len(stage.github.seen) == before
    test = await tool(stage.running, "connect_integration", {"integration": "github"}, key=stage.running.org.test)
    assert test["structuredContent"]["error"] == "forbidden"


async def test_a_key_for_one_integration_finds_no_other(stage: Stage) -> None:
    key = await stage.key(scopes=["overten"])
    assert "github" not in str(await names(stage, key=key))
    found = await tool(stage.running, "search_skills", {"query": "create issue"}, key=key)
    assert {hit["integration"] for hit in found["structuredContent"]["skills"]} <= {"overten"}
    for name, arguments in (("call_skill", REPO), ("connect_integration", {"integration": "github"})):
        refused = await tool(stage.running, name, arguments, key=key)
        assert refused["structuredContent"]["error"] == "scope_not_allowed"


async def test_a_revoked_key_is_401(stage: Stage) -> None:
    made = (await stage.running.ask("POST", "/api-keys", body={"name": "gone"})).json()
    await stage.running.ask("DELETE", f"/api-keys/{made['api_key']['id']}")
    for method in ("tools/list", "server/discover"):
        answer = await modern(stage.running, method, key=made["full_key"])
        assert (answer.status, answer.json()["error"]["data"]["error"]) == (401, "api_key_revoked")


async def test_requests_are_counted_as_everywhere(tmp_path: Path) -> None:
    async with serve(GitHub()) as github:
        where = {"github": {"base_url": github.base_url}}
        plans = {"small": {"requests_per_minute": 2}}
        async with gateway(tmp_path, integrations=where, plans=plans, plan="small") as running:
            for left in ("1", "0"):
                assert (await modern(running, "tools/list")).headers["X-RateLimit-Remaining"] == left
            refused = await modern(running, "tools/list")
            assert refused.status == 429 and int(refused.headers["Retry-After"]) > 0
            assert refused.json()["id"] == 1
            assert refused.json()["error"]["data"]["error"] == "rate_limited"
