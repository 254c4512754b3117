"""The wheel in an environment that holds nothing but what it declares: set up, served, called."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import aiohttp
import pytest
from packaging.requirements import Requirement

from tests.harness import ROOT

PACKAGES = ("gateway", "oauth", "skills_catalog")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout, and without asking a package index."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment: the wheel, and links to what it depends on, to nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    words = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    words += ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [site] = (folder / "lib").glob("python*/site-packages")
    for needed in dependencies("skillway", site):
        for top in tops(needed):
            target = site / top.name
            if not target.exists():
                target.symlink_to(top)
    return folder / "bin"


def test_everything_that_is_no_code_is_in_the_wheel_too(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours - inside == set()
    assert {name.split("/")[0] for name in inside if ".dist-info/" not in name} == set(PACKAGES)
    assert {Path(name).suffix for name in ours} >= {".py", ".sql", ".yaml", ".json", ".html", ".css"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)


def test_the_wheel_says_what_it_needs_and_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("dist-info/METADATA")]
    assert re.search(r"^Name: skillway$", metadata, re.MULTILINE)
    assert re.search(r"^License-Expression: Apache-2\.0$", metadata, re.MULTILINE)
    assert re.search(r"^Requires-Python: >=3\.11$", metadata, re.MULTILINE)
    [entry_points] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "skillway = gateway.cli.main:main" in entry_points


async def test_the_installed_command_sets_up_serves_and_makes_a_first_call(installed: Path, tmp_path: Path) -> None:
    environ = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    made = json.loads(run(installed, tmp_path, environ, "init"))
    process = await asyncio.create_subprocess_exec(
        installed / "skillway", "serve", "--port", "0", cwd=tmp_path, env=environ, stdout=-1, stderr=-1
    )
    try:
        assert process.stdout is not None
        said = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert said.startswith("listening on "), (said, await process.communicate())
        url = said.removeprefix("listening on ").strip()
        headers = {"Authorization": f"Bearer {made['test_key']}"}
        body = {"params": {"repo": "acme/webapp", "title": "Bug report"}}
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/v1/github/create_issue", json=body, headers=headers) as answer:
                assert answer.status == 200
                called = await answer.json()
            async with session.post(f"{url}/v1/connect", json={"integration": "overten"}, headers={
                "Authorization": f"Bearer {made['live_key']}"}) as answer:  # fmt: skip
                begun = await answer.json()
            # A page needs the templates.
            async with session.get(begun["oauth_url"]) as page:
                assert page.status == 200
                assert "Overten" in await page.text()
        assert called["status"] == 201
        assert called["data"]["title"] == "Bug report"
        client = {**environ, "SKILLWAY_URL": url, "SKILLWAY_API_KEY": made["test_key"]}
        words = ("run", "github", "get_issue", "--repo", "acme/webapp", "--issue_number", str(called["data"]["number"]))
        shown = json.loads(await asyncio.to_thread(run, installed, tmp_path, client, *words))
        assert shown["data"]["title"] == "Bug report"
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "words", [("--help",), ("catalog", "lint"), ("catalog", "test"), ("doctor",), ("vault", "status")]
)
def test_each_kind_of_command_starts_with_what_the_wheel_declares(
    installed: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert run(installed, tmp_path, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, *words)


def test_python_m_gateway_is_the_same_command(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "python", "-m", "gateway", "help"], check=True, capture_output=True, cwd=tmp_path, env={}
    )
    assert b"Commands for operators" in done.stdout


def run(installed: Path, folder: Path, environ: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [installed / "skillway", *words],
        check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr if words[:1] == ("catalog",) else done.stdout


def dependencies(name: str, site: Path) -> Iterator[Distribution]:
    """What the installed wheel requires, and what that requires in turn, as far as it holds for this Python."""
    [wheel] = [found for found in Distribution.discover(path=[str(site)]) if found.name == name]
    known: set[tuple[str, str]] = set()
    waiting: list[tuple[Distribution, str]] = [(wheel, "")]
    while waiting:
        here, extra = waiting.pop()
        for text in here.requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            for wanted in ("", *requirement.extras):
                if (requirement.name.lower(), wanted) not in known:
                    known.add((requirement.name.lower(), wanted))
                    found = distribution(requirement.name)
                    waiting.append((found, wanted))
                    yield found


def tops(found: Distribution) -> set[Path]:
    """What lies at the top of site-packages for this distribution."""
    names = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    return {Path(str(found.locate_file(name))) for name in names}
