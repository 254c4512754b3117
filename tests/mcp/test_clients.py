"""The official clients of both eras, in environments of their own: they find, connect and call."""

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


async def met_by(name: str, stage: Stage, *more: str) -> Any:
    """What the client met, as it prints it."""
    try:
        python = await asyncio.to_thread(python_with, HERE / f"{name}.txt")
    except PipFailed as error:
        lacking(str(error))
    command = f"/usr/bin/env PYTHONPATH={ROOT} {' '.join(COMMAND)} mcp"
    process = await asyncio.create_subprocess_exec(
        str(python), str(HERE / f"{name}.py"), f"{stage.running.url}/mcp", stage.running.org.live, command, *more,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_the_client_of_the_handshake_finds_and_calls(stage: Stage) -> None:
    met = await met_by("legacy", stage)
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
    met = await met_by("modern", stage, stage.github.upstream.token)
    called = {"tools": META, "found": "get_repo", "status": 200}
    assert met["auto"] == {"version": "2026-07-28", **called, "missing": "integration_not_connected"}
    assert met["legacy"] == {"version": "2025-11-25", **called, "missing": None}
    assert met["stdio"] == {"version": "2026-07-28", **called, "missing": "integration_not_connected"}
    assert met["connected"] == [[["url", f"{stage.running.url}/connect/new"]], 200]
    assert met["progress"] == [True, 200]
