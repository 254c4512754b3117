"""Test keys: checked like live ones, answered from the definition's examples, and nothing leaves the gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.tenants.grants import Grant
from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.keys import SqlKeys
from skills_catalog.loader import SHIPPED, load_catalog
from tests.elsewhere import moved
from tests.fakes.hostile import Recorder
from tests.harness import Answer, RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CATALOG = load_catalog([SHIPPED])
EXAMPLES = [
    pytest.param(skill.integration, skill.name, number, id=f"{skill.id}-{number}")
    for integration in CATALOG.integrations.values()
    for skill in integration.skills.values()
    for number, _ in enumerate(skill.examples)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A gateway whose integrations all point at a witness that counts who comes."""

    running: RunningGateway
    witness: Recorder

    async def call(self, integration: str, action: str, params: Any = None, **more: Any) -> Answer:
        return await self.running.call(integration, action, params, key=self.running.org.test, **more)

    async def reset(self, key: str | None = None) -> Answer:
        return await self.running.ask("POST", "/v1/sandbox/reset", key=key or self.running.org.test, body={})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with AsyncExitStack() as stack:
        witness = await stack.enter_async_context(Recorder())
        addresses = {slug: moved(one, witness.base_url) for slug, one in CATALOG.integrations.items()}
        running = await stack.enter_async_context(
            gateway(tmp_path_factory.mktemp("gateway"), integrations=addresses)
        )
        yield Sandbox(running=running, witness=witness)
        assert (witness.connections, witness.data) == (0, [])


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(whole_sandbox: Sandbox) -> Sandbox:
    """With nothing in it that another test made."""
    assert (await whole_sandbox.reset()).status == 200
    return whole_sandbox


@pytest.mark.parametrize(("integration", "action", "number"), EXAMPLES)
async def test_every_example_of_every_action_is_answered_as_it_says(
    sandbox: Sandbox, integration: str, action: str, number: int
) -> None:
    example = CATALOG.integrations[integration].skills[action].examples[number]
    answer = await sandbox.call(integration, action, dict(example.params))
    body = answer.json()
    assert (answer.status, body["status"]) == (200, example.status), body
    assert answer.headers["X-Upstream-Status"] == str(example.status)
    assert body["data"] == example.data
    assert body["meta"]["sandbox"] is True
    assert body["meta"]["run_id"].startswith("run_")
    assert list(body) == ["status", "data", "meta"]
    assert sandbox.witness.connections == 0


@pytest.mark.parametrize(
    ("integration", "action", "params", "status", "part"),
    [
        ("github", "create_issue", {"repo": "acme/webapp", "title": "Bug report"}, 201, '"number": 7'),
        ("github", "create_issue", {"repo": "x/y", "title": "z"}, 201, '"number": 7'),
        ("github", "create_issue", {"repo": "x/y", "title": "z", "labels": ["bug", "priority"]}, 201, '"number": 8'),
        ("github", "create_issue", {"repo": "acme/webapp", "title": "Login fails"}, 201, '"number": 8'),
        ("overten", "generate_excel", {"prompt": "A report"}, 200, '"status": "completed"'),
        ("overten", "generate_excel", {"prompt": "A report", "async": True}, 202, '"status": "queued"'),
        ("overscore", "run_query",
         {"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "cached_revenue"}, 200, '"cached": true'),
        ("overscore", "run_query",
         {"projectSlug": "acme", "dashboardSlug": "other", "queryName": "other"}, 200, '"cached": false'),
    ],
)
async def test_the_example_that_fits_the_call_best_is_chosen(
    sandbox: Sandbox, integration: str, action: str, params: dict[str, Any], status: int, part: str
) -> None:
    body = (await sandbox.call(integration, action, params)).json()
    assert body["status"] == status
    assert part in json.dumps(body["data"])


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"repo": "acme/webapp"}, "title"),
        ({"repo": "acme", "title": "x"}, "repo"),
        ({"repo": "acme/webapp", "title": "x", "label": []}, "label"),
        ({"repo": "acme/webapp", "title": 1}, "title"),
    ],
)
async def test_a_call_is_checked_as_a_live_one(sandbox: Sandbox, params: dict[str, Any], path: str) -> None:
    test = await sandbox.call("github", "create_issue", params)
    live = await sandbox.running.call("github", "create_issue", params)
    assert (test.status, live.status) == (400, 400)
    assert test.json() == live.json()
    assert test.json()["details"]["fields"][0]["path"] == path


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"repo": "acme/..", "branch": "main"}, "repo"),
        ({"repo": "acme/webapp", "branch": ".."}, "branch"),
    ],
)
async def test_what_could_not_be_sent_is_refused_here_too(sandbox: Sandbox, params: dict[str, Any], name: str) -> None:
    answer = await sandbox.call("github", "get_branch", params)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["details"]["fields"][0]["path"] == name


async def test_names_that_do_not_exist_are_not_found_here_too(sandbox: Sandbox) -> None:
    for integration, action, meant in (("githbu", "get_repo", "github"), ("github", "get_rep", "get_repo")):
        answer = await sandbox.call(integration, action)
        assert (answer.status, answer.json()["error"]) == (404, "not_found")
        assert meant in answer.json()["hint"]


async def test_a_test_key_has_scopes_like_any_other(sandbox: Sandbox) -> None:
    running = sandbox.running
    settings, _ = load_settings({"SKILLWAY_DATA_DIR": str(running.data_dir), "SKILLWAY_CONFIG": str(running.data_dir.parent / "skills.yaml")})
    async with open_installation(settings) as opened:
        _, secret = await SqlKeys(opened.database).create(running.org.id, "narrow", "test", Grant(scopes=("skycot",)))
    key = secret.reveal()
    assert key.startswith("sk_test_gw_")
    assert (await running.call("skycot", "get_usage", key=key)).json()["status"] == 200
    refused = await running.call("github", "get_rate_limit", key=key)
    assert (refused.status, refused.json()["error"]) == (403, "scope_not_allowed")


async def test_a_connection_that_exists_is_not_used(sandbox: Sandbox) -> None:
    await sandbox.running.connect("skycot", {"token": "sk_live_abc", "domain": "127.0.0.1:9"})
    answer = await sandbox.call("skycot", "get_usage", user="default")
    assert answer.json()["meta"].keys() == {"run_id", "sandbox"}
    assert sandbox.witness.connections == 0


async def test_a_raw_answer_of_the_sandbox_is_the_example_alone(sandbox: Sandbox) -> None:
    answer = await sandbox.running.ask(
        "POST", "/v1/github/create_issue?raw=1", key=sandbox.running.org.test,
        body={"params": {"repo": "acme/webapp", "title": "Bug report"}},
    )
    assert (answer.status, answer.headers["X-Upstream-Status"]) == (200, "201")
    assert answer.json()["number"] == 7


async def test_a_test_key_connects_nothing(sandbox: Sandbox) -> None:
    for body in (
        {"integration": "github"},
        {"integration": "github", "credentials": {"token": "ghp_abc"}},
        {"integration": "overten", "credentials": {"api_key": "sk_live_abc"}},
    ):
        answer = await sandbox.running.ask("POST", "/v1/connect", body=body, key=sandbox.running.org.test)
        assert (answer.status, answer.json()["error"]) == (403, "forbidden")
    assert sandbox.witness.connections == 0


async def test_a_test_key_discovers_what_a_live_one_does(sandbox: Sandbox) -> None:
    for path in ("/v1/skills", "/v1/skills/github", "/v1/skills/github/create_issue", "/v1/skills/search?q=issue"):
        live = await sandbox.running.ask("GET", path)
        test = await sandbox.running.ask("GET", path, key=sandbox.running.org.test)
        assert (test.status, test.json()) == (200, live.json())


async def test_a_key_says_which_kind_it_is(sandbox: Sandbox) -> None:
    for key, mode in ((sandbox.running.org.live, "live"), (sandbox.running.org.test, "test")):
        told = (await sandbox.running.ask("GET", "/v1/verify", key=key)).json()
        assert told["api_key"]["mode"] == mode
        assert told["api_key"]["key_prefix"] == key[:16]
        assert key not in json.dumps(told)
