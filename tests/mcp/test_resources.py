"""Skills as resources and guides as prompts: what is listed can be read, and nobody reads what their key is not for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.mcp.conftest import Stage
from tests.mcp.wire import modern, modern_body, modern_headers, older, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

GITHUB = "skill://skillway-github/SKILL.md"


async def asked(stage: Stage, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
    answer = await modern(stage.running, method, params, **more)
    assert answer.status == 200, answer.body
    return answer.json()["result"]


async def all_of(stage: Stage, method: str, name: str, **more: Any) -> list[Any]:
    """Every page of a list."""
    found, cursor = [], None
    while True:
        result = await asked(stage, method, {"cursor": cursor} if cursor else {}, **more)
        assert result["ttlMs"] > 0 and result["cacheScope"] == "private"
        found += result[name]
        if (cursor := result.get("nextCursor")) is None:
            return found


async def test_both_eras_say_that_there_are_resources_prompts_and_skills(stage: Stage) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    then = (await older(stage.running, "initialize", hello)).json()["result"]["capabilities"]
    now = (await asked(stage, "server/discover"))["capabilities"]
    for said in (then, now):
        assert {"tools", "resources", "prompts"} <= set(said)
        assert said["extensions"]["io.modelcontextprotocol/skills"] == {}


async def test_every_integration_is_a_skill_whose_files_are_what_their_digests_say(stage: Stage) -> None:
    skills = await all_of(stage, "skills/list", "skills")
    assert [entry["uri"] for entry in await all_of(stage, "resources/list", "resources")] == [
        entry["uri"] for entry in skills
    ]
    assert len({entry["uri"] for entry in skills}) == len(skills) > 10
    entry = next(entry for entry in skills if entry["uri"] == GITHUB)
    assert entry == (await asked(stage, "skills/get", {"uri": GITHUB}))["skill"]
    files = entry["resources"]
    assert [file["uri"] for file in files if file["uri"].endswith("/create_issue.md")] == [
        "skill://skillway-github/endpoints/issues/create_issue.md"
    ]
    for file in (files[0], files[len(files) // 2], files[-1]):
        [content] = (await asked(stage, "resources/read", {"uri": file["uri"]}))["contents"]
        raw = content["text"].encode()
        assert (content["uri"], content["mimeType"]) == (file["uri"], "text/markdown")
        assert file["digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}" and file["size"] == len(raw)


async def test_what_is_said_of_a_skill_is_what_its_file_says(stage: Stage) -> None:
    for entry in await all_of(stage, "skills/list", "skills"):
        [content] = (await asked(stage, "resources/read", {"uri": entry["uri"]}))["contents"]
        head = yaml.safe_load(content["text"].split("---\n")[1])
        assert entry["frontmatter"] == head and 0 < len(head["description"]) <= 1024
        assert head["name"] == entry["uri"].split("/")[-2]
    listed = {one["uri"]: one for one in await all_of(stage, "resources/list", "resources")}
    assert listed[GITHUB]["name"] == "skillway-github"
    assert (
        listed[GITHUB]["description"]
        == (await asked(stage, "skills/get", {"uri": GITHUB}))["skill"]["frontmatter"]["description"]
    )


async def test_a_skill_over_mcp_is_the_one_that_is_downloaded(stage: Stage) -> None:
    files = (await stage.running.ask("GET", "/v1/github/download")).json()["files"]
    [content] = (await asked(stage, "resources/read", {"uri": GITHUB}))["contents"]
    assert content["text"] == files[0]["content"]


async def test_a_key_reads_only_of_what_it_may_use(stage: Stage) -> None:
    other = await stage.key(scopes=["overten"])
    assert [one["uri"] for one in await all_of(stage, "resources/list", "resources", key=other)] == [
        "skill://skillway-overten/SKILL.md"
    ]
    assert {one["name"].split("__")[0] for one in await all_of(stage, "prompts/list", "prompts", key=other)} == {
        "overten"
    }
    narrow = await stage.key(allow=["github.get_repo"])
    files = (await asked(stage, "skills/get", {"uri": GITHUB}, key=narrow))["skill"]["resources"]
    endpoints = [file["uri"] for file in files if "/endpoints/" in file["uri"]]
    assert [uri.rpartition("/")[2] for uri in endpoints] == ["get_repo.md"]
    hidden = "skill://skillway-github/endpoints/issues/create_issue.md"
    for key, uri in ((other, GITHUB), (narrow, hidden)):
        refused = await modern(stage.running, "resources/read", {"uri": uri}, key=key)
        nobodys = await modern(stage.running, "resources/read", {"uri": f"{uri}x"}, key=key)
        assert (refused.status, refused.json()["error"]["code"]) == (400, -32602)
        assert refused.json()["error"]["message"] == nobodys.json()["error"]["message"]
    prompt = await modern(stage.running, "prompts/get", {"name": "github__pagination"}, key=other)
    assert (prompt.status, prompt.json()["error"]["code"]) == (400, -32602)


async def test_an_address_for_one_integration_shows_no_other(stage: Stage) -> None:
    only = "/mcp?integration=github"
    assert [one["uri"] for one in await all_of(stage, "skills/list", "skills", path=only)] == [GITHUB]
    assert {one["name"].split("__")[0] for one in await all_of(stage, "prompts/list", "prompts", path=only)} == {
        "github"
    }
    for method, params in (
        ("resources/read", {"uri": "skill://skillway-overten/SKILL.md"}),
        ("skills/get", {"uri": "skill://skillway-overten/SKILL.md"}),
    ):
        assert (await modern(stage.running, method, params, path=only)).status == 400


@pytest.mark.parametrize(
    "uri",
    [
        "skill://skillway-github", "skill://skillway-github/", "skill://skillway-github/../skillway-overten/SKILL.md",
        "skill://skillway-github/%53KILL.md", "SKILL.md", "skill://skillway-nobody/SKILL.md", "SKILL://skillway-github/SKILL.md",
        "file:///etc/passwd", "http://127.0.0.1/", "skill://skillway-github/skill.md", "",
    ],
)  # fmt: skip
async def test_what_is_no_address_of_a_file_is_told_so_by_the_code_of_its_era(stage: Stage, uri: str) -> None:
    now = await modern(stage.running, "resources/read", {"uri": uri})
    assert (now.status, now.json()["error"]["code"], now.json()["error"]["data"]) == (400, -32602, {"uri": uri})
    then = await older(stage.running, "resources/read", {"uri": uri})
    assert (then.status, then.json()["error"]["code"]) == (200, -32002)
    entry = await modern(stage.running, "skills/get", {"uri": uri})
    assert (entry.status, entry.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("uri", [None, 1, [GITHUB], {"uri": GITHUB}, "skill://" + "x" * 2000])
@pytest.mark.parametrize("method", ["resources/read", "skills/get"])
async def test_an_address_is_a_string_and_no_longer_than_one(stage: Stage, method: str, uri: Any) -> None:
    error = (await older(stage.running, method, {"uri": uri})).json()["error"]
    assert error["code"] == -32602 and "uri" in error["message"]


@pytest.mark.parametrize("method", ["resources/list", "skills/list", "prompts/list", "tools/list"])
@pytest.mark.parametrize("cursor", [1, "%", "====", "w5Y", {"a": 1}])
async def test_a_cursor_that_is_not_ours_is_refused(stage: Stage, method: str, cursor: Any) -> None:
    answer = await modern(stage.running, method, {"cursor": cursor}, path="/mcp?tools=direct")
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)


async def test_a_header_that_names_another_file_or_guide_is_refused(stage: Stage) -> None:
    for method, params, other in (
        ("resources/read", {"uri": GITHUB}, "skill://skillway-overten/SKILL.md"),
        ("prompts/get", {"name": "github__pagination"}, "github__errors"),
    ):
        body = modern_body(method, params)
        answer = await send(stage.running, body, headers={**modern_headers(body), "Mcp-Name": other})
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32020)


async def test_every_guide_is_a_prompt_that_can_be_got(stage: Stage) -> None:
    prompts = await all_of(stage, "prompts/list", "prompts")
    names = [prompt["name"] for prompt in prompts]
    assert names == sorted(set(names)) and len(names) > 100
    got = await asked(stage, "prompts/get", {"name": "github__pagination"})
    [message] = got["messages"]
    assert message["role"] == "user" and message["content"]["type"] == "text"
    guide = (await stage.running.ask("GET", "/v1/github/download")).json()["files"]
    [text] = [file["content"] for file in guide if file["file_path"] == "guides/pagination.md"]
    assert message["content"]["text"].endswith(text.partition("\n")[2])
    for prompt in prompts:
        assert prompt["title"] and prompt["description"] and "arguments" not in prompt
        assert len(prompt["name"]) <= 128


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "name"), ({"name": 1}, "name"), ({"name": "github__pagination", "arguments": []}, "arguments"),
        ({"name": "github__pagination", "arguments": {"page": "2"}}, "page"), ({"name": "github__nothing"}, "github__nothing"),
        ({"name": "x" * 5000}, "x" * 64),
    ],
)  # fmt: skip
async def test_a_prompt_that_there_is_not_and_arguments_that_it_does_not_take_are_named(
    stage: Stage, params: Any, said: str
) -> None:
    error = (await older(stage.running, "prompts/get", params)).json()["error"]
    assert error["code"] == -32602 and said in error["message"] and len(error["message"]) < 200
