"""Clients that generators make of `/openapi.json`: nothing is left out of them, and they call and are refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import lacking
from tests.fakes.npm import NpmFailed, installed
from tests.fakes.venvs import PipFailed, python_with
from tests.harness import ROOT, RunningGateway, gateway

CLIENTS = ROOT / "tests" / "clients"
MET = {
    "found": ["create_issue"],
    "opened": [201, "Bug report"],
    "refused": ["bad_request", "title must not be empty."],
}


async def test_a_python_client_is_generated_and_calls(tmp_path: Path) -> None:
    try:
        python = await asyncio.to_thread(python_with, CLIENTS / "generated.txt")
    except PipFailed as error:
        lacking(str(error))
    async with gateway(tmp_path) as running:
        key, document = await described(running, tmp_path)
        (tmp_path / "config.json").write_text('{"post_hooks": []}')
        said = await done(
            [str(python.with_name("openapi-python-client")), "generate", "--path", str(document), "--meta", "none",
             "--output-path", str(tmp_path / "skillway_client"), "--config", str(tmp_path / "config.json")],
        )  # fmt: skip
        assert "Warning" not in said and "Error" not in said, said
        shutil.copy(CLIENTS / "generated.py", tmp_path)
        assert json.loads(await done([str(python), str(tmp_path / "generated.py"), running.url, key])) == MET


async def test_a_typescript_client_is_generated_and_calls(tmp_path: Path) -> None:
    if not shutil.which("node"):
        lacking("node")
    try:
        packages = await asyncio.to_thread(installed, ROOT / "tests" / "fakes" / "openapi_typescript") / "node_modules"
    except NpmFailed as error:
        lacking(str(error))
    (tmp_path / "node_modules").symlink_to(packages)
    shutil.copy(CLIENTS / "generated.ts", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    async with gateway(tmp_path) as running:
        key, document = await described(running, tmp_path)
        programs = packages / ".bin"
        await done([str(programs / "openapi-typescript"), str(document), "-o", str(tmp_path / "api.d.ts")])
        await done(
            [str(programs / "tsc"), "--strict", "--target", "es2022", "--module", "es2022",
             "--moduleResolution", "bundler", str(tmp_path / "generated.ts")],
        )  # fmt: skip
        assert json.loads(await done(["node", str(tmp_path / "generated.js"), running.url, key])) == MET


async def described(running: RunningGateway, folder: Path) -> tuple[str, Path]:
    """A test key for three actions, with params of every kind in their paths, and the description for it in a file."""
    actions = ["github.create_issue", "github.get_issue", "asana.get_task"]
    grant: dict[str, Any] = {"name": "client", "mode": "test", "scopes": ["github", "asana"], "allow": actions}
    key = (await running.ask("POST", "/api-keys", body=grant)).json()["full_key"]
    document = folder / "openapi.json"
    document.write_bytes((await running.ask("GET", "/openapi.json", key=key)).body)
    return key, document


async def done(command: list[str]) -> str:
    """What a command says; it has to end well."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"PATH": os.environ["PATH"]}
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, out.decode()
    return out.decode()
