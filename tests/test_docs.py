"""The README says what the code does, and what it shows to type is typed here and answers as shown."""

from __future__ import annotations

import ast
import asyncio
import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import click
import pytest

from gateway.app import make_web_app
from gateway.cli.main import COMMANDS
from gateway.core.errors import CODES
from gateway.core.messages.signing import new_secret, signatures
from gateway.settings import load_settings, options
from skills_catalog.exporting.shipped_table import row_of
from skills_catalog.lint import lint_file
from skills_catalog.loader import SHIPPED, definition_files, load_integration
from skills_catalog.strict_yaml import read
from skills_catalog.verification.records import read_record, record_file
from tests.cli.shell import RULED_BY_TERMINAL
from tests.conftest import lacking
from tests.fakes.upstream import Answer, Asked, Seen, Upstream, json_answer, route, serve
from tests.harness import ROOT, RunningGateway, gateway, gateway_process
from tests.people import person

README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
#: What stands in the README for the reader's own.
URL, TEST_KEY, LIVE_KEY, HOME = "http://127.0.0.1:8700", "sk_test_gw_7xe0W4EK…", "sk_live_gw_mMJw3Y9a…", "/home/you"
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block, and the heading that it stands under."""

    heading: str
    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A command of a console block, and what the README says comes back."""

    command: str
    shown: str


# ---------------------------------------------------------------------- what the README says, and the code


def test_every_setting_is_in_the_readme_as_the_code_has_it() -> None:
    _agree("Settings", [(f"`{name}`", f"`{default}`", help) for name, default, help in options()])


def test_settings_named_anywhere_in_the_readme_exist() -> None:
    known = {name for name, _, _ in options()} | {"SKILLWAY_URL", "SKILLWAY_API_KEY"}
    assert set(re.findall(r"\bSKILLWAY_[A-Z_]+[A-Z]\b", README)) <= known


def test_every_error_code_is_in_the_readme_as_the_code_has_it() -> None:
    codes = [(f"`{code}`", str(said.status), said.meaning, said.fix) for code, said in CODES.items()]
    _agree("Error codes", codes)


def test_the_command_lines_own_codes_are_in_the_readme() -> None:
    written = {code for file in (ROOT / "gateway" / "cli").glob("*.py") for code in _codes_in(file)}
    rows = _tables("Error codes")[1]
    assert {row[0].strip("`") for row in rows} == written - CODES.keys()


async def test_every_route_is_in_the_readme(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        assert running.services is not None
        served = {
            f"{one.method} {one.resource.canonical}"
            for one in make_web_app(running.services).router.routes()
            if one.method != "HEAD" and one.resource is not None
        }
    assert set(_spans(row[0] for row in _tables("Routes")[0])) == served


def test_every_command_is_in_the_readme() -> None:
    known = {"help"}
    for name, entry in COMMANDS.items():
        command = getattr(import_module(f"gateway.cli.{entry.module}"), entry.attribute)
        below = [f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else []
        alone = not below or command.invoke_without_command
        known |= {*below, *([name] if alone else [])}
    assert set(_spans(row[0] for row in _tables("Commands")[0])) == known


def test_every_make_target_is_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"(?:`|\$ )make ([a-z]+)", README)) == set(
        re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)
    )


def test_every_shipped_integration_is_in_the_readme_with_what_it_was_verified_against() -> None:
    files = definition_files(SHIPPED)
    _agree("What is shipped", [row_of(load_integration(file), read_record(record_file(file))) for file in files])


def test_the_code_map_names_files_and_codes_that_exist() -> None:
    paths = re.findall(r"`((?:gateway|oauth|skills_catalog|tests)/[\w./-]*)`", README)
    assert len(paths) > 25
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for table in _tables("Code map"):
        assert {code for code in _spans(row[-1] for row in table) if code not in CODES} == set()


def test_json_and_yaml_of_the_readme_can_be_read() -> None:
    kinds = [block.language for block in _blocks()]
    assert kinds.count("json") >= 2 and kinds.count("yaml") >= 2
    for block in _blocks():
        if block.language == "json":
            json.loads(block.text)
        if block.language == "yaml":
            read(block.text.encode(), block.heading)


def test_the_yaml_for_skills_yaml_is_taken_by_it(tmp_path: Path) -> None:
    (block,) = _blocks("A live call on GitHub", "yaml")
    (tmp_path / "skills.yaml").write_text(block.text)
    given = {"SKILLWAY_CONFIG": str(tmp_path / "skills.yaml"), "GITHUB_CLIENT_ID": "ours"}
    _, installation = load_settings(given)
    assert installation.overrides["github"].client_id == "ours"
    assert block.text.splitlines()[1] in (ROOT / "skills.yaml").read_text().splitlines()


def test_requests_shown_in_the_readme_carry_json_that_can_be_read() -> None:
    bodies = [
        words[words.index("-d") + 1]
        for block in _blocks(language="console")
        for typed in _typed(block)
        if "-d" in (words := shlex.split(typed.command))
    ]
    assert len(bodies) >= 6
    for body in bodies:
        assert isinstance(json.loads(body), dict)


def test_the_changelog_keeps_the_form_of_keep_a_changelog() -> None:
    lines = CHANGELOG.splitlines()
    assert lines[0] == "# Changelog"
    assert "https://keepachangelog.com/en/1.1.0/" in CHANGELOG and "https://semver.org/" in CHANGELOG
    releases = [line for line in lines if line.startswith("## ")]
    assert releases[0] == "## [Unreleased]"
    assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", line) for line in releases[1:])
    assert releases[1:] == sorted(releases[1:], key=_version, reverse=True)
    parts = [line.removeprefix("### ") for line in lines if line.startswith("### ")]
    assert parts and set(parts) <= CHANGES
    entries = re.findall(r"^- .+(?:\n  .+)*", CHANGELOG, re.MULTILINE)
    assert entries and all(entry.endswith(".") for entry in entries)


# ---------------------------------------------------------------------- what the README shows, typed


async def test_the_curl_tour_answers_as_shown(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        lacking("curl")
    async with gateway_process(tmp_path, catalog=None) as running:
        await _type_all("curl", Desk.of(tmp_path, running))


async def test_the_python_tour_prints_what_is_shown(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, catalog=None) as running:
        await _run_program("Python", "python", [sys.executable], Desk.of(tmp_path, running))


async def test_the_javascript_tour_prints_what_is_shown(tmp_path: Path) -> None:
    if not shutil.which("node"):
        lacking("node")
    async with gateway_process(tmp_path, catalog=None) as running:
        await _run_program("JavaScript", "javascript", ["node", "--input-type=module", "-"], Desk.of(tmp_path, running))


async def test_an_example_prints_what_is_shown(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, catalog=None) as running:
        desk = Desk.of(tmp_path, running)
        desk.environment["KEY"] = running.org.test
        (desk.folder / "examples").symlink_to(ROOT / "examples")
        await _type_all("Agents, and other languages", desk)


async def test_a_webhook_is_made_as_shown(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        lacking("curl")
    async with gateway_process(tmp_path, catalog=None) as running:
        desk = Desk.of(tmp_path, running)
        desk.environment.update(KEY=running.org.live, SKILLWAY_API_KEY=running.org.test)
        await _type_all("Webhooks", desk)


async def test_skill_files_are_pulled_as_shown(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, catalog=None) as running:
        desk = Desk.of(tmp_path, running)
        desk.environment["SKILLWAY_API_KEY"] = running.org.test
        await _type_all("Skill files and rules", desk)


async def test_tools_are_listed_and_called_as_shown(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        lacking("curl")
    async with gateway_process(tmp_path, catalog=None) as running:
        desk = Desk.of(tmp_path, running)
        desk.environment["KEY"] = running.org.test
        await _type_all("Tools for models, without MCP", desk)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_recipes_take_what_we_sign_and_nothing_else(language: str) -> None:
    if not shutil.which("node"):
        lacking("node")
    (recipe,) = _blocks("Webhooks", language)
    secret, old, body, now = new_secret(), new_secret(), '{"text": "größe ✓"}', int(time.time())
    cases = []
    for at, of in ((now, secret), (now, old), (now - 400, secret), (now, new_secret())):
        headers = dict(signatures([secret, old], "evt_1", at, body.encode()))
        cases.append([of.reveal(), headers["X-Skillway-Signature"], body])
    cases.append([cases[0][0], cases[0][1], body.replace("text", "tezt")])
    cases.append([cases[0][0], cases[0][1].replace("v1=", "v0="), body])
    if language == "python":
        program = recipe.text + (
            "import json, sys\n"
            "print(json.dumps([is_ours(s, h, b.encode()) for s, h, b in json.load(sys.stdin)]))"
        )
        command = [sys.executable, "-c", program]
    else:
        program = recipe.text.replace("export ", "") + (
            'import { readFileSync } from "node:fs";\n'
            'const cases = JSON.parse(readFileSync(0, "utf8"));\n'
            "console.log(JSON.stringify(cases.map(([s, h, b]) => isOurs(s, h, Buffer.from(b)))));"
        )
        command = ["node", "--input-type=module", "-e", program]
    done = subprocess.run(command, input=json.dumps(cases).encode(), capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [True, True, False, False, False, False]


async def test_the_command_line_tour_answers_as_shown(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, catalog=None) as running:
        desk = Desk.of(tmp_path, running)
        await _type_all("Command line", desk, answers={"API key for": running.org.test})


async def test_an_own_api_is_added_called_and_reloaded_as_shown(tmp_path: Path) -> None:
    heading = "Your own API in ten minutes"
    (block,) = _blocks(heading, "yaml")
    new, checks, use = _blocks(heading, "console")
    desk = Desk.at(tmp_path, {})
    answers = {
        "Name for people": "",
        "Base URL": "https://rooms.corp.example/v1",
        "How it lets us in": "",
        "First action": "",
    }
    await _type(new, desk, answers=answers)
    file = desk.folder / "my-integrations" / "rooms.yaml"
    file.write_text(block.text)
    assert lint_file(file) == []
    await _type(checks, desk)
    own = {"rooms": {"base_url": "", "enabled": True}}
    async with serve(Rooms()) as rooms:
        own["rooms"]["base_url"] = rooms.base_url + "/v1"
        async with gateway_process(tmp_path, catalog=None, integrations=own, definitions=file.parent) as running:
            desk = Desk.of(tmp_path, running)
            desk.environment["SKILLWAY_API_KEY"] = running.org.live
            (desk.folder / "key.txt").write_text(Rooms.key + "\n")
            await _type(use, desk)
            (booking,) = [seen for seen in rooms.seen if seen.method == "POST"]
            assert booking.json() == {"from": "2026-12-01T09:00:00Z", "minutes": 30}
            recorded = load_integration(file).skills["get_me"].examples[-1]
            assert recorded.data == {"id": 1, "email": "ada@example.com"}

            file.write_text(block.text.replace("Book a room from a time on.", "Book a room for a meeting."))
            assert running.process is not None
            running.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while True:
                    if b"for a meeting" in (await running.ask("GET", "/v1/skills/rooms")).body:
                        break


async def test_a_description_is_imported_and_compared_as_shown(tmp_path: Path) -> None:
    heading = "From the vendor's own description"
    (block,) = _blocks(heading, "yaml")
    desk = Desk.at(tmp_path, {})
    (desk.folder / "library.yaml").write_text(block.text)
    await _type_all(heading, desk)
    found = lint_file(desk.folder / "my-integrations" / "library.yaml")
    assert [(one.severity, one.rule) for one in found] == [("warning", "words")]


async def test_a_member_is_invited_and_lets_a_device_in_as_shown(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        lacking("curl")
    invite, device = _blocks("People: signing in, devices, signing up", "console")
    code, pending, complete = _typed(device)
    async with gateway_process(tmp_path, catalog=None) as running:
        means = {"org_5494…": running.org.id}
        desk = Desk.of(tmp_path, running, means)
        desk.environment["SKILLWAY_DATA_DIR"] = str(running.data_dir)
        desk.environment["SKILLWAY_PORT"] = running.url.rpartition(":")[2]
        await _type(invite, desk)
        made = json.loads(await asyncio.to_thread(_on_terminal, desk.mean(_typed(invite)[0].command), desk, {}))

        begun = json.loads(await asyncio.to_thread(_on_terminal, desk.mean(code.command), desk, {}))
        desk = Desk.of(tmp_path, running, {**means, "q8kA…": begun["device_code"], "SFVF-TMRZ": begun["user_code"]})
        assert json.loads(desk.mean(code.shown)) == begun
        came = await asyncio.to_thread(_on_terminal, desk.mean(pending.command), desk, {})
        assert _matches(pending.shown, came)
        async with person(running, made["sign_in_url"].replace(URL, running.url)) as ada:
            looked = await ada.press(await ada.open(begun["verification_uri_complete"]), "/device")
            assert (await ada.press(looked, "/device/decision", decision="approve")).status == 200
        came = await asyncio.to_thread(_on_terminal, desk.mean(complete.command), desk, {})
        assert _matches(desk.mean(complete.shown), came), came


async def test_backup_restore_and_the_move_to_postgresql_go_as_shown(tmp_path: Path, postgres_url: str) -> None:
    desk = Desk.at(tmp_path, {}, {"postgresql://skillway:…@db.internal/skillway": postgres_url})
    await asyncio.to_thread(_on_terminal, "skillway init --quiet", desk, {})
    await _type_all("Running it", desk)


async def test_make_run_prints_what_is_shown(tmp_path: Path) -> None:
    run = (ROOT / "Makefile").read_text().partition("\nrun:")[2].partition("\n\n")[0]
    assert [line.split()[1:] for line in run.splitlines()[1:]] == [["init", "--quiet"], ["serve"]]
    first = _typed(_blocks("Two commands", "console")[0])[0]
    assert first.command == "make run"
    shown = first.shown[first.shown.index("Made the org") :].strip().removesuffix(f"listening on {URL}")
    desk = Desk.at(tmp_path, {"SKILLWAY_DATA_DIR": str(tmp_path / "data")})
    assert _matches(shown, await asyncio.to_thread(_on_terminal, "skillway init --quiet", desk, {}))


# ---------------------------------------------------------------------- helpers


class Rooms(Upstream):
    """The in-house API of the README's own integration."""

    key = "key-of-ada"
    prefix = "/v1"

    def admit(self, seen: Seen) -> str:
        if seen.header("X-API-Key") != self.key:
            raise self.refuse(401, "Who are you?")
        return "ada@corp.example"

    @route("GET", "/me")
    def me(self, asked: Asked) -> Answer:
        return json_answer({"id": 7, "email": asked.who})

    @route("POST", "/rooms/{id}/bookings")
    def book(self, asked: Asked) -> Answer:
        return json_answer({"id": 12, "room": int(asked.params["id"]), **asked.seen.json()}, 201)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the README is typed: a folder, a home, and what its addresses and keys stand for."""

    folder: Path
    environment: dict[str, str]
    means: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, base: Path, running: RunningGateway, more: Mapping[str, str] | None = None) -> Desk:
        means = {URL: running.url, TEST_KEY: running.org.test, LIVE_KEY: running.org.live, **(more or {})}
        return cls.at(base, means=means, environment={"SKILLWAY_URL": running.url})

    @classmethod
    def at(cls, base: Path, environment: Mapping[str, str], means: Mapping[str, str] | None = None) -> Desk:
        home = base / "home"
        folder = home / "agent"
        folder.mkdir(parents=True, exist_ok=True)
        commands = base / "bin"
        commands.mkdir(exist_ok=True)
        skillway = commands / "skillway"
        skillway.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gateway "$@"\n')
        skillway.chmod(0o755)
        return cls(
            folder=folder,
            environment={
                "HOME": str(home),
                "PATH": f"{commands}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "LANG": "C.UTF-8",
                # No colours and no spinner: the README has none.
                "TERM": "dumb",
                **environment,
            },
            means={**(means or {}), HOME: str(home)},
        )

    def mean(self, text: str) -> str:
        for stands, own in self.means.items():
            text = text.replace(stands, own)
        return text


async def _type_all(heading: str, desk: Desk, *, answers: Mapping[str, str] | None = None) -> None:
    blocks = _blocks(heading, "console")
    assert blocks
    for block in blocks:
        await _type(block, desk, answers=answers)


async def _type(block: Block, desk: Desk, *, answers: Mapping[str, str] | None = None) -> None:
    """Types every command of a block and compares what comes back; `answers` are typed at a prompt."""
    for typed in _typed(block):
        command = desk.mean(typed.command)
        if assigned := re.fullmatch(r"(?:export )?([A-Z_]+)=(\S+)", command):
            desk.environment[assigned[1]] = assigned[2]
            continue
        came = await asyncio.to_thread(_on_terminal, command, desk, answers or {})
        if not _matches(desk.mean(typed.shown), came):
            pytest.fail(f"{typed.command}\n\nshown:\n{typed.shown}\ncame:\n{came}", pytrace=False)


async def _run_program(heading: str, language: str, command: list[str], desk: Desk) -> None:
    (program,), (shown,) = _blocks(heading, language), _blocks(heading, "text")
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        input=desk.mean(program.text).encode(),
        capture_output=True,
        cwd=desk.folder,
        env=desk.environment,
        timeout=60,
        check=False,
    )
    assert _matches(shown.text, done.stdout.decode()), done
    assert done.returncode == 0, done


def _matches(shown: str, came: str) -> bool:
    """Whether it came as shown; `…` stands for anything within its line, and a shortened id or key for any other."""
    shown = re.sub(r"\b((?:run|org|conn|whk|whsec|sk_live_gw|sk_test_gw)_|t=)\w+…", r"\1…", _trimmed(shown))
    return re.fullmatch(re.escape(shown).replace("…", "[^\n]+"), _trimmed(came)) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _on_terminal(command: str, desk: Desk, answers: Mapping[str, str]) -> str:
    """Runs a shell command on a terminal of 100 columns, as the reader does; gives back what stands there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", RULED_BY_TERMINAL, "/bin/sh", "-c", command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=desk.folder,
        env=desk.environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        came = _read_all(ours, dict(answers))
        child.wait(timeout=10)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    return came.replace(b"\r\n", b"\n").decode()


def _read_all(terminal: int, answers: dict[str, str]) -> bytes:
    came, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            # Linux says EIO when the other side has closed.
            break
        if not part:
            break
        came += part
        for prompt in [prompt for prompt in answers if prompt.encode() in came]:
            os.write(terminal, answers.pop(prompt).encode() + b"\n")
    return came


def _blocks(heading: str | None = None, language: str | None = None) -> list[Block]:
    """The fenced blocks of the README, of one heading and one language if said."""
    return [
        block
        for block in _all_blocks()
        if (heading is None or block.heading == heading) and (language is None or block.language == language)
    ]


def _all_blocks() -> Iterator[Block]:
    heading, lines = "", iter(README.splitlines())
    for line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if fence := re.match(r"( *)```(\w+)$", line):
            text = []
            for inside in lines:
                if inside == f"{fence[1]}```":
                    break
                text.append(inside)
            yield Block(heading=heading, language=fence[2], text=textwrap.dedent("\n".join(text)) + "\n")


def _typed(block: Block) -> list[Typed]:
    typed: list[Typed] = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.replace("\\\n", "").partition("\n")
        typed.append(Typed(command=command, shown=shown))
    return typed


def _tables(heading: str) -> list[list[list[str]]]:
    """The rows of every table between this heading and the next, without their heads."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    tables = re.findall(r"(?:^\|.*\n)+", found[1], re.MULTILINE)
    return [[[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]] for table in tables]


def _agree(heading: str, rows: Sequence[Sequence[str]]) -> None:
    """The first table below the heading has these rows; where it has not, the failure shows them to be copied."""
    wanted = [f"| {' | '.join(row)} |" for row in rows]
    assert [f"| {' | '.join(row)} |" for row in _tables(heading)[0]] == wanted, "\n".join(["", *wanted])


def _spans(cells: Iterator[str]) -> list[str]:
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


def _codes_in(file: Path) -> Iterator[str]:
    """Every code that a module of the command line gives an error: the literals of `code=…`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "code":
            given = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
            yield from (one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))


def _version(line: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", line)[:3])
