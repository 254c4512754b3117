"""Clients that generators make of `/openapi.json`: nothing is left out of them, and they call and are refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skills_catalog.exporting.openapi import action_schemas
from skills_catalog.loader import SHIPPED, load_catalog
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
             "--moduleResolution", "bundler", "--skipLibCheck", str(tmp_path / "generated.ts")],
        )  # fmt: skip
        assert json.loads(await done(["node", str(tmp_path / "generated.js"), running.url, key])) == MET


def test_no_action_is_described_in_a_way_that_generators_drop() -> None:
    schemas = [
        (name, schema)
        for one in load_catalog([SHIPPED]).integrations.values()
        for skill in one.skills.values()
        for name, schema in action_schemas(skill).items()
    ]
    assert len(schemas) > 500
    # openapi-python-client 0.29 drops operations whose params merge texts by `allOf`, or have arrays without `items`.
    assert [name for name, schema in schemas for part in parts(schema) if "allOf" in part] == []
    arrays = [(name, part) for name, schema in schemas for part in parts(schema) if "array" in types(part)]
    assert len(arrays) > 100 and [name for name, part in arrays if "items" not in part] == []


def parts(schema: Any) -> Iterator[Any]:
    """The schema and those in it."""
    yield schema
    for below in ("properties", "$defs"):
        for part in schema.get(below, {}).values():
            yield from parts(part)
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(part, dict):
            yield from parts(part)


def types(schema: Any) -> list[str]:
    said = schema.get("type", [])
    return [said] if isinstance(said, str) else list(said)


async def described(running: RunningGateway, folder: Path) -> tuple[str, Path]:
    """A test key for actions that generators had left out or might, and the description for it in a file."""
    actions = ["github.create_issue", "github.get_issue", "asana.get_task", "clickup.create_task"]
    grant: dict[str, Any] = {"name": "client", "mode": "test", "scopes": ["github", "asana", "clickup"], "allow": actions}
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
