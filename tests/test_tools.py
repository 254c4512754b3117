"""Actions as tools of a model: listed in each vendor's shape, called as its models call, answered as it takes results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from skills_catalog.exporting.tool_shapes import FORMATS
from tests.fakes.github import GitHub
from tests.fakes.upstream import Answer as Reply
from tests.fakes.upstream import Asked, Running, Upstream, json_answer, route, serve
from tests.harness import Answer, RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFINITION = """\
slug: desk
name: Desk
description: Moves papers about.
base_url: {base_url}
auth: [{{name: nobody, type: none}}]
actions:
  file_paper:
    description: Files a paper.
    request: POST /papers
    effect: create
    params:
      title: {{type: string, maxLength: 40, description: Its title., required: true}}
      pages: {{type: integer, description: How many.}}
      weight: {{type: number, description: In grams.}}
      owner: {{type: [string, "null"], description: Null is nobody.}}
      tray:
        type: object
        description: Where it goes.
        properties: {{level: {{type: integer}}, label: {{type: string}}}}
        required: [level]
    examples: [{{params: {{title: x}}, response: {{status: 201, data: {{}}}}}}]
  burn_paper:
    description: Burns a paper.
    request: DELETE /papers/{{id}}
    effect: delete
    params: {{id: {{type: string, description: Its id.}}}}
    deprecated: {{since: 2026-01-01, use: desk.file_paper}}
    examples: [{{params: {{id: x}}, response: {{status: 204}}}}]
"""


class Desk(Upstream):
    @route("POST", "/papers")
    def file(self, asked: Asked) -> Reply:
        return json_answer({"filed": True}, status=201)

    @route("DELETE", "/papers/x")
    def burn(self, asked: Asked) -> Reply:
        return json_answer({"burnt": True})


class Stage:
    def __init__(self, running: RunningGateway, desk: Running[Desk], github: Running[GitHub]) -> None:
        self.running, self.desk, self.github = running, desk, github

    async def listed(self, query: str, *, key: str | None = None) -> Answer:
        return await self.running.ask("GET", f"/v1/tools?{query}", key=key)

    async def called(self, format: str, call: Any, *, key: str | None = None, **beside: Any) -> Answer:
        body = {"format": format, "call": call, **beside}
        return await self.running.ask("POST", "/v1/tools/call", body=body, key=key)

    async def key(self, **grant: object) -> str:
        body = {"name": "narrow", **grant}
        return str((await self.running.ask("POST", "/api-keys", body=body)).json()["full_key"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("tools")
    (folder / "definitions").mkdir()
    async with serve(Desk()) as desk, serve(GitHub()) as github:
        (folder / "definitions" / "desk.yaml").write_text(DEFINITION.format(base_url=desk.base_url))
        where = {"github": {"base_url": github.base_url}}
        async with gateway(folder, integrations=where, definitions=folder / "definitions") as running:
            yield Stage(running, desk, github)


# ------------------------------------------------------------------------------------------------------- the list


async def test_tools_come_as_the_vendors_api_takes_them(stage: Stage) -> None:
    chat = (await stage.listed("format=openai&integration=desk")).json()["tools"]
    assert [tool["function"]["name"] for tool in chat] == ["desk__burn_paper", "desk__file_paper"]
    assert chat[0]["function"]["description"] == "Desk: Burns a paper. Deprecated; use desk.file_paper."
    responses = (await stage.listed("format=openai&api=responses&integration=desk")).json()["tools"]
    assert responses == [{"type": "function", **tool["function"]} for tool in chat]
    [gemini] = (await stage.listed("format=gemini&integration=desk")).json()["tools"]
    assert [tool["name"] for tool in gemini["functionDeclarations"]] == ["desk__burn_paper", "desk__file_paper"]
    anthropic = (await stage.listed("format=anthropic&integration=desk")).json()["tools"]
    assert anthropic[1]["input_schema"]["required"] == ["title"]
    [_, mcp] = (await stage.listed("format=mcp&integration=desk")).json()["tools"]
    assert mcp["_meta"]["skillway/action"] == "desk.file_paper"


async def test_what_strict_mode_cannot_say_is_marked_with_the_reason(stage: Stage) -> None:
    page = (await stage.listed("format=openai-strict&integration=desk")).json()
    assert {tool["function"]["name"]: tool["function"]["strict"] for tool in page["tools"]} == {
        "desk__burn_paper": True, "desk__file_paper": False
    }  # fmt: skip
    assert page["not_strict"] == [
        {
            "name": "desk__file_paper",
            "integration": "desk",
            "action": "file_paper",
            "reason": "`owner` takes null for something other than being left out.",
        }
    ]


async def test_pages_follow_each_other_without_a_gap(stage: Stage) -> None:
    whole = (await stage.listed("format=anthropic&integration=desk,overten,skycot")).json()
    assert "next_cursor" not in whole
    names, query = [], "format=anthropic&integration=skycot,desk,overten&limit=10"
    page = (await stage.listed(query)).json()
    names += [tool["name"] for tool in page["tools"]]
    while "next_cursor" in page:
        page = (await stage.listed(f"{query}&cursor={page['next_cursor']}")).json()
        names += [tool["name"] for tool in page["tools"]]
    assert names == [tool["name"] for tool in whole["tools"]] == sorted(set(names))


async def test_a_key_is_shown_what_it_may_use(stage: Stage) -> None:
    reader = await stage.key(scopes=["desk", "skycot"], level="read_only")
    shown = (await stage.listed("format=anthropic", key=reader)).json()["tools"]
    assert shown and {tool["name"].partition("__")[0] for tool in shown} == {"skycot"}
    assert (await stage.listed("format=gemini&integration=desk", key=reader)).json() == {"tools": []}
    refused = await stage.listed("format=mcp&integration=github", key=reader)
    assert (refused.status, refused.json()["error"]) == (403, "scope_not_allowed")


async def test_a_list_that_is_known_already_is_not_sent_again(stage: Stage) -> None:
    first = await stage.listed("format=openai&integration=desk")
    again = await stage.running.ask(
        "GET", "/v1/tools?format=openai&integration=desk", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "format"),
        ("format=llama", 400, "format"),
        ("format=gemini&api=responses", 400, "api"),
        ("format=mcp&limit=201", 400, "limit"),
        ("format=mcp&cursor=%2B%2B", 400, "cursor"),
        ("format=mcp&integration=desk,", 400, "integration"),
        ("format=mcp&integration=dsk", 404, None),
    ],
)
async def test_a_question_that_cannot_be_used_is_refused_by_name(
    stage: Stage, query: str, status: int, field: str | None
) -> None:
    refused = await stage.listed(query)
    assert refused.status == status
    if field is not None:
        assert refused.json()["details"]["fields"][0]["path"] == field
    else:
        assert "'desk'" in refused.json()["hint"]


# ------------------------------------------------------------------------------------------------------- the calls

ARGUMENTS = {"title": "Tax"}


def call_of(format: str, name: str, arguments: Mapping[str, Any], id: str = "call_7") -> dict[str, Any]:
    """A tool call as the model of each vendor makes it."""
    text = json.dumps(arguments)
    calls: dict[str, dict[str, Any]] = {
        "chat": {"id": id, "type": "function", "function": {"name": name, "arguments": text}, "index": 0},
        "responses": {"type": "function_call", "id": "fc_1", "call_id": id, "name": name, "arguments": text},
        "anthropic": {"type": "tool_use", "id": id, "name": name, "input": arguments, "caller": {"type": "direct"}},
        "gemini": {"functionCall": {"id": id, "name": name, "args": arguments}, "thoughtSignature": "abc"},
        "mcp": {"name": name, "arguments": arguments},
    }
    return calls[format]


def said_of(format: str, answer: Mapping[str, Any]) -> tuple[bool | None, Any]:
    """Whether a result says that it is an error, where it can; and the envelope in it."""
    match format:
        case "chat":
            assert (answer["role"], answer["tool_call_id"]) == ("tool", "call_7")
            return None, json.loads(answer["content"].splitlines()[-1])
        case "responses":
            assert (answer["type"], answer["call_id"]) == ("function_call_output", "call_7")
            return None, json.loads(answer["output"].splitlines()[-1])
        case "anthropic":
            assert (answer["type"], answer["tool_use_id"]) == ("tool_result", "call_7")
            [content] = answer["content"]
            return answer["is_error"], json.loads(content["text"].splitlines()[-1])
        case "gemini":
            said = answer["functionResponse"]
            assert said["id"] == "call_7"
            [(kind, envelope)] = said["response"].items()
            return kind == "error", envelope
        case _:
            return answer.get("isError", False), answer["structuredContent"]


#: How a call is made, and which format says so.
WAYS = {"chat": "openai", "responses": "openai-strict", "anthropic": "anthropic", "gemini": "gemini", "mcp": "mcp"}


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_comes_back_in_the_vendors_shape(stage: Stage, way: str) -> None:
    answer = await stage.called(WAYS[way], call_of(way, "desk__file_paper", ARGUMENTS))
    assert answer.status == 200
    is_error, envelope = said_of(way, answer.json())
    assert not is_error
    assert (envelope["status"], envelope["data"]) == (201, {"filed": True})
    assert stage.desk.last.json() == ARGUMENTS


@pytest.mark.parametrize("way", WAYS)
async def test_a_no_of_the_upstream_is_an_error_with_its_words(stage: Stage, way: str) -> None:
    stage.desk.next(status=422, json={"why": "full\u202e"})
    answer = await stage.called(WAYS[way], call_of(way, "desk__file_paper", ARGUMENTS))
    is_error, envelope = said_of(way, answer.json())
    assert (answer.status, is_error in (True, None), envelope["status"]) == (200, True, 422)
    assert envelope["data"]["why"].startswith("full")
    # What a person does not see and a model reads is escaped, wherever it stands.
    assert b"\xe2\x80\xae" not in answer.body


REFUSED = [
    ("github__get_repo", {"repo": "a/b"}, "integration_not_connected", "/connect/new"),
    ("desk__file_paper", {"titel": "x"}, "bad_request", "Did you mean title?"),
    ("desk__burn_papers", {"id": "x"}, "not_found", "Did you mean 'burn_paper'?"),
    ("no_such_tool", {}, "not_found", "Unknown tool 'no_such_tool'"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "arguments", "code", "told"), REFUSED)
async def test_a_refusal_is_a_result_that_a_model_can_act_on(
    stage: Stage, way: str, name: str, arguments: Any, code: str, told: str
) -> None:
    answer = await stage.called(WAYS[way], call_of(way, name, arguments))
    is_error, envelope = said_of(way, answer.json())
    assert (answer.status, is_error in (True, None), envelope["error"]) == (200, True, code)
    assert told in answer.body.decode()


@pytest.mark.parametrize(
    ("format", "arguments", "taken"),
    [
        ("openai-strict", {"title": "Tax", "pages": None, "tray": None}, {"title": "Tax"}),
        ("openai", {"title": "Tax", "tray": {"level": 1, "label": None}}, {"title": "Tax", "tray": {"level": 1}}),
        # There null says something of its own.
        ("openai-strict", {"title": "Tax", "owner": None}, {"title": "Tax", "owner": None}),
    ],
)
async def test_nulls_that_strict_mode_adds_are_taken_away_again(
    stage: Stage, format: str, arguments: Any, taken: Any
) -> None:
    answer = await stage.called(format, call_of("chat", "desk__file_paper", arguments))
    assert said_of("chat", answer.json())[1]["status"] == 201
    assert stage.desk.last.json() == taken


@pytest.mark.parametrize(
    ("format", "way", "arguments", "path"),
    [
        ("openai-strict", "chat", {"title": None}, "title"),
        ("openai-strict", "chat", {"title": "Tax", "tray": {"level": None}}, "tray/level"),
        ("openai-strict", "chat", {"title": "Tax", "colour": None}, "colour"),
        ("anthropic", "anthropic", {"title": "Tax", "pages": None}, "pages"),
    ],
)
async def test_a_null_that_nobody_asked_for_is_refused_as_over_rest(
    stage: Stage, format: str, way: str, arguments: Any, path: str
) -> None:
    _, refused = said_of(way, (await stage.called(format, call_of(way, "desk__file_paper", arguments))).json())
    over_rest = (await stage.running.call("desk", "file_paper", arguments)).json()
    assert refused == over_rest
    assert [field["path"] for field in refused["details"]["fields"]] == [path]


async def test_a_whole_number_with_decimals_is_one_again_for_gemini_alone(stage: Stage) -> None:
    arguments = {"title": "Tax", "pages": 7.0, "weight": 7.0, "tray": {"level": 2.0}}
    await stage.called("gemini", call_of("gemini", "desk__file_paper", arguments))
    assert stage.desk.last.body == b'{"title":"Tax","pages":7,"weight":7.0,"tray":{"level":2}}'
    await stage.called("mcp", call_of("mcp", "desk__file_paper", arguments))
    assert b'"pages":7.0' in stage.desk.last.body


@pytest.mark.parametrize(
    "call",
    [
        {"name": "desk__file_paper", "args": ARGUMENTS},
        {"function_call": {"id": None, "name": "desk__file_paper", "args": ARGUMENTS}},
    ],
)
async def test_geminis_call_is_taken_without_its_part_and_without_an_id(stage: Stage, call: Any) -> None:
    answer = (await stage.called("gemini", call)).json()
    assert answer["functionResponse"].keys() == {"name", "response"}
    assert answer["functionResponse"]["response"]["output"]["status"] == 201


async def test_arguments_may_be_an_object_and_none_may_be_said_by_no_text(stage: Stage) -> None:
    call = call_of("chat", "desk__file_paper", {})
    call["function"]["arguments"] = ARGUMENTS
    assert said_of("chat", (await stage.called("openai", call)).json())[1]["status"] == 201
    call["function"]["arguments"] = ""
    _, refused = said_of("chat", (await stage.called("openai", call)).json())
    assert refused["details"]["fields"][0]["path"] == "title"


@pytest.mark.parametrize("text", ['{"title": "Tax"', "[1]", "7", '{"title": 1, "title": 2}', "\\ud800", "NaN"])
async def test_arguments_that_are_no_object_are_told_to_the_model(stage: Stage, text: str) -> None:
    call = call_of("responses", "desk__file_paper", {}) | {"arguments": text}
    _, refused = said_of("responses", (await stage.called("openai", call)).json())
    assert refused["error"] == "bad_request"
    assert refused["message"].startswith("The arguments ")


@pytest.mark.parametrize(
    ("format", "call", "path"),
    [
        ("openai", {"type": "function"}, "call/id"),
        ("openai", {"id": "1", "type": "custom", "function": {"name": "x", "arguments": ""}}, "call/type"),
        ("openai", {"id": "1", "function": {"name": "x"}}, "call/function/arguments"),
        ("openai", {"id": "1", "function": {"name": "x" * 257, "arguments": ""}}, "call/function/name"),
        ("openai", {"type": "function_call", "name": "x", "arguments": ""}, "call/call_id"),
        ("anthropic", {"id": "1", "name": "x", "input": "{}"}, "call/input"),
        ("anthropic", {"id": "x" * 257, "name": "x", "input": {}}, "call/id"),
        ("gemini", {"functionCall": 7}, "call/functionCall"),
        ("gemini", {"functionCall": {"args": {}}}, "call/functionCall/name"),
        ("mcp", {"name": "x", "arguments": None}, "call/arguments"),
        ("mcp", {"name": "desk__file_paper", "arguments": {}, "_meta": {"skillway/usr": "ann"}}, "usr"),
    ],
)
async def test_a_call_that_no_model_made_is_refused_by_name(stage: Stage, format: str, call: Any, path: str) -> None:
    refused = await stage.called(format, call)
    assert (refused.status, refused.json()["error"]) == (400, "bad_request")
    assert refused.json()["details"]["fields"][0]["path"] == path


@pytest.mark.parametrize(
    ("beside", "path"),
    [
        ({"user": ""}, "user"), ({"connexion": "x"}, "connexion"), ({"max_bytes": 1}, "max_bytes"),
        ({"select": "a["}, "select"), ({"idempotency_key": "☃"}, "idempotency_key"), ({"digest": "x"}, "digest"),
    ],
)  # fmt: skip
async def test_what_stands_beside_the_call_is_held_against_its_schema(stage: Stage, beside: Any, path: str) -> None:
    refused = await stage.called("mcp", call_of("mcp", "desk__file_paper", ARGUMENTS), **beside)
    assert (refused.status, refused.json()["details"]["fields"][0]["path"]) == (400, path)


async def test_what_stands_beside_the_call_rules_it(stage: Stage) -> None:
    call = call_of("chat", "github__get_repo", {"repo": "acme/webapp"})
    token = {"token": stage.github.upstream.token}
    await stage.running.connect("github", token, user="ann")
    picked = await stage.called("openai", call, user="ann", select="full_name")
    assert said_of("chat", picked.json())[1]["data"] == "acme/webapp"
    cut = await stage.called("openai", call, user="ann", max_bytes=300)
    _, envelope = said_of("chat", cut.json())
    assert envelope["meta"]["truncated"] and envelope["meta"]["next"].startswith(f"{stage.running.url}/v1/results/")
    in_meta = {"name": "github__get_repo", "arguments": {"repo": "acme/webapp"}, "_meta": {"skillway/user": "ann"}}
    assert said_of("mcp", (await stage.called("mcp", in_meta)).json())[1]["status"] == 200
    # The body goes before what the model may have put there.
    nobody = said_of("mcp", (await stage.called("mcp", in_meta, user="nobody")).json())[1]
    assert nobody["error"] == "integration_not_connected"


async def test_a_call_sent_twice_with_one_key_is_made_once(stage: Stage) -> None:
    before = len(stage.desk.seen)
    call = call_of("anthropic", "desk__file_paper", {"title": "Once"})
    first = await stage.called("anthropic", call, idempotency_key="k1")
    again = await stage.running.ask(
        "POST",
        "/v1/tools/call",
        body={"format": "anthropic", "call": call | {"id": "call_7"}},
        headers={"Idempotency-Key": "k1"},
    )
    assert len(stage.desk.seen) == before + 1
    assert said_of("anthropic", again.json())[1]["meta"]["replayed"] is True
    assert said_of("anthropic", first.json())[1]["data"] == said_of("anthropic", again.json())[1]["data"]
    both = await stage.running.ask(
        "POST",
        "/v1/tools/call",
        body={"format": "anthropic", "call": call, "idempotency_key": "k2"},
        headers={"Idempotency-Key": "k1"},
    )
    assert (both.status, both.json()["details"]["fields"][0]["path"]) == (400, "idempotency_key")


async def test_a_run_tells_where_its_end_is_found(stage: Stage) -> None:
    call = call_of("anthropic", "desk__file_paper", ARGUMENTS)
    answer = (await stage.called("anthropic", call, wait=0)).json()
    is_error, run = said_of("anthropic", answer)
    assert (is_error, run["poll_url"]) == (False, f"{stage.running.url}/v1/runs/{run['run_id']}")
    assert answer["content"][0]["text"].startswith("Not done yet. Whoever made the call for you can read")
    shown = await stage.running.ask("GET", f"/v1/runs/{run['run_id']}?wait=30")
    assert shown.json()["result"]["status"] == 201


async def test_what_a_key_may_not_do_is_a_result_and_a_key_that_nobody_has_an_error(stage: Stage) -> None:
    reader = await stage.key(scopes=["desk"], level="read_only")
    call = call_of("anthropic", "desk__burn_paper", {"id": "x"})
    is_error, refused = said_of("anthropic", (await stage.called("anthropic", call, key=reader)).json())
    assert (is_error, refused["error"]) == (True, "forbidden")
    nobody = await stage.called("anthropic", call, key="sk_live_gw_" + "a" * 44)
    assert (nobody.status, nobody.json()["error"]) == (401, "api_key_invalid")


async def test_headers_tell_of_a_deprecated_action_and_rule_a_test_key(stage: Stage) -> None:
    call = call_of("mcp", "desk__burn_paper", {"id": "x"})
    assert (await stage.called("mcp", call)).headers["X-Deprecated"] == "true"
    answer = await stage.running.ask(
        "POST",
        "/v1/tools/call",
        key=stage.running.org.test,
        body={"format": "mcp", "call": call},
        headers={"X-Sandbox-Status": "503"},
    )
    is_error, envelope = said_of("mcp", answer.json())
    assert (is_error, envelope["status"]) == (True, 503)
    live = await stage.running.ask(
        "POST", "/v1/tools/call", body={"format": "mcp", "call": call}, headers={"X-Sandbox-Status": "503"}
    )
    assert live.status == 400


async def test_each_format_that_can_be_listed_can_be_called(stage: Stage) -> None:
    assert set(WAYS.values()) == set(FORMATS)
