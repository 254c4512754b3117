"""The table of commands: help shows it, and only the command that runs is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from gateway.cli.main import COMMANDS, PEOPLE, skillway

from .shell import ROOT, Shell

HEAVY = (
    "aiohttp",
    "yarl",
    "msgspec",
    "orjson",
    "yaml",
    "jsonschema",
    "jsonschema_rs",
    "cryptography",
    "authlib",
)
SERVER = (
    "gateway.app",
    "gateway.core",
    "gateway.rest",
    "gateway.store",
    "gateway.web",
    "skills_catalog",
    "oauth",
)


def modules_after(code: str) -> list[str]:
    show = f"{code}\nimport json, sys; sys.stdout = sys.__stdout__; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, cwd=ROOT, check=True, timeout=60)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("words", [["help"], ["--help"], []])
def test_help_lists_every_command(shell: Shell, words: list[str]) -> None:
    done = shell.run(*words)
    assert (done.code, done.err) == (0, "")
    for name in ("help", *COMMANDS):
        assert f"\n  {name} " in done.out.decode()


@pytest.mark.parametrize("name", PEOPLE)
def test_help_explains_a_command(shell: Shell, name: str) -> None:
    done = shell.run("help", name)
    assert done.code == 0
    assert done.out.decode().startswith(f"Usage: skillway {name} ")
    assert shell.run(name, "--help").out == done.out


def test_help_of_a_command_below_a_command(shell: Shell) -> None:
    assert shell.run("help", "connections", "rm").out.startswith(b"Usage: skillway connections rm ")


def test_help_of_nothing_is_refused(shell: Shell) -> None:
    for words in (["nope"], ["run", "nope"]):
        done = shell.run("help", *words)
        assert (done.code, done.out) == (1, b"")
        assert "There is no command 'nope'." in done.err


def test_a_mistyped_command_gets_the_nearest_name(shell: Shell) -> None:
    done = shell.run("conect", "github")
    assert done.code == 1
    assert "Did you mean" in done.err
    assert "connect" in done.err


def test_help_imports_no_command_at_all() -> None:
    code = "import gateway.cli.main as m, io, sys; sys.stdout = io.StringIO(); assert m._run(['help']) == 0"
    loaded = modules_after(code)
    commands = {f"gateway.cli.{entry.module}" for entry in COMMANDS.values()}
    assert commands.isdisjoint(loaded)
    assert not any(name.split(".")[0] in HEAVY or name == "http.client" for name in loaded)


def test_the_commands_of_people_import_nothing_of_the_server() -> None:
    modules = {entry.module for entry in PEOPLE.values()}
    loaded = modules_after("\n".join(f"import gateway.cli.{module}" for module in modules))
    assert f"gateway.cli.{next(iter(modules))}" in loaded
    assert [name for name in loaded if name.split(".")[0] in HEAVY or name.startswith(SERVER)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    command = skillway.get_command(click.Context(skillway), name)
    assert isinstance(command, click.Command)
    assert command.name == name
