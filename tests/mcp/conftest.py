"""One gateway for each module, connected to a GitHub of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.github import GitHub
from tests.fakes.upstream import Running, serve
from tests.harness import Org, RunningGateway, gateway, make_org

DEFINITION = """\
slug: slow
name: Slow
description: An upstream whose work takes a while.
base_url: {base_url}
auth: [{{name: nobody, type: none}}]
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
    examples: [{{params: {{name: x}}, response: {{status: 200, data: {{}}}}}}]
"""


@dataclass(slots=True, kw_only=True)
class Stage:
    running: RunningGateway
    github: Running[GitHub]
    other: Org

    async def key(self, **grant: object) -> str:
        """A new key that may less."""
        body = {"name": "narrow", **grant}
        return str((await self.running.ask("POST", "/api-keys", body=body)).json()["full_key"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("mcp")
    (folder / "definitions").mkdir()
    async with serve(GitHub()) as github:
        (folder / "definitions" / "slow.yaml").write_text(DEFINITION.format(base_url=github.base_url))
        where = {"github": {"base_url": github.base_url}}
        async with gateway(folder, integrations=where, definitions=folder / "definitions") as running:
            await running.connect("github", {"token": github.upstream.token})
            environ = {"SKILLWAY_DATA_DIR": str(folder / "data"), "SKILLWAY_CONFIG": str(folder / "skills.yaml")}
            yield Stage(running=running, github=github, other=await make_org(environ, "Other"))
