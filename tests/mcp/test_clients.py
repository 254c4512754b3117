"""The official clients of both eras, and agents of four frameworks, in environments of their own: they find, connect, call."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import COMMAND
from tests.conftest import lacking
from tests.fakes.venvs import PipFailed, python_with
from tests.harness import ROOT
from tests.mcp.conftest import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

META = ["search_skills", "describe_skill", "call_skill", "connect_integration", "get_result"]
HERE = Path(__file__).parent / "clients"
BRIDGE = f"/usr/bin/env PYTHONPATH={ROOT} {' '.join(COMMAND)} mcp"


async def met_by(era: str, script: str, stage: Stage, *more: str) -> Any:
    """What the client met, as it prints it."""
    try:
        python = await asyncio.to_thread(python_with, HERE / f"{era}.txt")
    except PipFailed as error:
        lacking(str(error))
    process = await asyncio.create_subprocess_exec(
        str(python), str(HERE / f"{script}.py"), f"{stage.running.url}/mcp", stage.running.org.live, *more,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_the_client_of_the_handshake_finds_and_calls(stage: Stage) -> None:
    met = await met_by("legacy", "legacy", stage, BRIDGE)
    for way, missing in (
        ("plain", [True, "integration_not_connected"]), ("pages", [-32042, "url"]),
        ("stdio", [True, "integration_not_connected"]),
    ):  # fmt: skip
        assert met[way] == {
            "version": "2025-11-25", "tools": META, "found": "get_repo", "status": 200, "missing": missing
        }, way  # fmt: skip


async def test_the_client_of_today_finds_connects_and_calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.mcp.endpoint.PROGRESS_AFTER", 0.1)
    stage.slow.next(delay=0.4)
    met = await met_by("modern", "modern", stage, BRIDGE, stage.github.upstream.token)
    called = {"tools": META, "found": "get_repo", "status": 200}
    assert met["auto"] == {"version": "2026-07-28", **called, "missing": "integration_not_connected"}
    assert met["legacy"] == {"version": "2025-11-25", **called, "missing": None}
    assert met["stdio"] == {"version": "2026-07-28", **called, "missing": "integration_not_connected"}
    assert met["connected"] == [[["url", f"{stage.running.url}/connect/new"]], 200]
    assert met["progress"] == [True, 200]


@pytest.mark.parametrize(
    ("era", "frameworks"), [("modern", ["pydantic-ai", "openai-agents"]), ("legacy", ["langchain", "llama-index"])]
)
async def test_agents_of_the_frameworks_find_connect_and_call(stage: Stage, era: str, frameworks: list[str]) -> None:
    met = await met_by(era, f"agents_{era}", stage, stage.github.upstream.token)
    for framework in frameworks:
        said = {"output": "done", "tools": sorted(META), "found": True, "link": True, "answer": True}
        assert met.pop(framework) == said, framework
    assert met == {}
