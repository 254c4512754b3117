"""One gateway for each module, connected to a GitHub of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.github import GitHub
from tests.fakes.upstream import Answer, Asked, Running, Upstream, json_answer, route, serve
from tests.harness import Org, RunningGateway, gateway, make_org

DEFINITION = """\
slug: slow
name: Slow
description: An upstream whose work takes a while.
base_url: {base_url}
auth: [{{name: nobody, type: none}}]
$defs: {{"yes": {{type: boolean, description: Whether it was done.}}}}
actions:
  ask:
    description: Ask, and wait for the answer.
    request: GET /ask
    timeout: 30s
    examples: [{{params: {{}}, response: {{status: 200, data: {{}}}}}}]
  build:
    description: Build something.
    request: POST /build
    effect: create
    timeout: 90s
    params: {{name: {{type: string, description: Its name.}}}}
    output: {{type: object, properties: {{built: {{$ref: "#/$defs/yes"}}}}, required: [built]}}
    examples: [{{params: {{name: x}}, response: {{status: 200, data: {{built: true}}}}}}]
"""


class Slow(Upstream):
    """Answers whatever is asked; tests plan how late."""

    @route("GET", "/ask")
    def ask(self, asked: Asked) -> Answer:
        return json_answer({})

    @route("POST", "/build")
    def build(self, asked: Asked) -> Answer:
        return json_answer({"built": True})


@dataclass(slots=True, kw_only=True)
class Stage:
    running: RunningGateway
    github: Running[GitHub]
    slow: Running[Slow]
    other: Org

    async def key(self, **grant: object) -> str:
        """A new key that may less."""
        body = {"name": "narrow", **grant}
        return str((await self.running.ask("POST", "/api-keys", body=body)).json()["full_key"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("mcp")
    (folder / "definitions").mkdir()
    async with serve(GitHub()) as github, serve(Slow()) as slow:
        (folder / "definitions" / "slow.yaml").write_text(DEFINITION.format(base_url=slow.base_url))
        where = {"github": {"base_url": github.base_url}}
        async with gateway(folder, integrations=where, definitions=folder / "definitions") as running:
            await running.connect("github", {"token": github.upstream.token})
            environ = {"SKILLWAY_DATA_DIR": str(folder / "data"), "SKILLWAY_CONFIG": str(folder / "skills.yaml")}
            yield Stage(running=running, github=github, slow=slow, other=await make_org(environ, "Other"))
