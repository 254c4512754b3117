"""The table of commands: help shows it, and only the command that runs is imported."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateway.cli.main import COMMANDS, PEOPLE, skillway

from .gateway_fake import KEY, FakeGateway
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
        assert (done.code, done.json["error"]) == (1, "bad_request")
        assert "There is no command 'nope'." in done.err


def every_command() -> Iterator[tuple[list[str], click.Command]]:
    """Each command with the words that call it, those below others too."""
    waiting = [([name], skillway.get_command(click.Context(skillway), name)) for name in COMMANDS]
    while waiting:
        words, command = waiting.pop()
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {}
        waiting += [([*words, name], one) for name, one in below.items()]
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield words, command


def test_the_help_of_each_command_has_an_example_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # What an example reads has to be there.
    for name in ("today.db", "rooms.yaml", "old/rooms.yaml", "my-integrations/rooms.yaml", "my-integrations/library.yaml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    for words, command in every_command():
        start = f"skillway {' '.join(words)}"
        lines = [line.strip() for line in (command.help or "").splitlines()]
        # A redirection is the shell's part of it; two spaces stand before a comment.
        examples = [line.partition(" < ")[0].partition("  ")[0] for line in lines if f"{line} ".startswith(f"{start} ")]
        examples += [line for line in lines if line.startswith("skillway run --")] if words == ["run"] else []
        assert examples, f"{start}: its help has no example"
        for example in examples:
            given = shlex.split(example)[1 + len(words) :]
            command.make_context(words[-1], given, parent=click.Context(skillway))


@pytest.mark.parametrize(
    "words",
    [["nope"], ["run", "github"], ["run", "--nope", "github", "get_repo"], ["runs", "show"], ["keys", "create"],
     ["connections", "nope"], ["skills", "--search"], ["webhooks", "add", "https://a.example"], ["vault"], ["catalog", "nope"]],
)  # fmt: skip
def test_what_makes_no_sense_is_told_to_machines_as_json_and_to_people_in_words(shell: Shell, words: list[str]) -> None:
    done = shell.run(*words)
    assert (done.code, done.json["error"], done.out.count(b"\n")) == (1, "bad_request", 1)
    assert done.json["message"].strip() and f"Error: {done.json['message'].splitlines()[0]}" in done.err
    assert b'"error"' not in shell.on_terminal(*words).out


def test_a_group_without_a_command_names_those_that_it_has(shell: Shell) -> None:
    assert shell.run("vault").json["message"] == "A command is missing, one of: rotate, status."


@pytest.mark.parametrize("words", [["skills"], ["run", "github", "create_issue", "--repo", "acme/webapp", "--title", "x"]])
def test_a_call_of_an_agent_loads_nothing_of_the_server(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("SKILLWAY_URL", fake.url)
    monkeypatch.setenv("SKILLWAY_API_KEY", KEY)
    loaded = modules_after(f"import gateway.cli.main as m, io, sys; assert m._run({words!r}) == 0")
    assert "http.client" in loaded
    assert [name for name in loaded if name.split(".")[0] in HEAVY or name.startswith(SERVER)] == []
    # Each of these costs more than the call.
    assert {"asyncio", "urllib.request", "concurrent.futures"}.isdisjoint(loaded)


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
