"""`skillway sandbox record`: a live call becomes an example that its definition lints with, and test keys are answered from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skills_catalog.loader import load_integration
from tests.cli.shell import Done, Shell, without_colour
from tests.fakes.upstream import Running, Upstream, serve
from tests.harness import RunningGateway, gateway

DEFINITION = """slug: rooms
name: Rooms
description: Finds and books our meeting rooms.
categories: [office]
docs_url: https://rooms.example/docs
base_url: BASE
auth:
  - {name: key, type: bearer, title: Token}
actions:
  list_rooms:
    description: List the rooms that are free.
    request: GET /rooms
    params:
      seats: {type: integer, minimum: 1, description: At least so many seats.}
      owner: {type: string, description: Whose they are.}
      floor: {type: string, enum: [low, high], description: Which floor.}
    examples:
      - response: {status: 200, data: [{id: 3, name: Library}]}
    page: {type: page, param: seats}

  book_room:
    description: Book a room.
    request: POST /rooms
    effect: create
    examples:
      - response: {status: 201, data: {id: 12}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    running: RunningGateway
    upstream: Running[Upstream]
    shell: Shell
    file: Path

    async def record(self, *words: str) -> Done:
        return await asyncio.to_thread(self.shell.run, "sandbox", "record", *words)

    def says(self, data: Any, status: int = 200) -> None:
        body = json.dumps(data).encode()
        self.upstream.next(status=status, body=body, headers={"Content-Type": "application/json"})


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with serve(Upstream()) as upstream:
        file = tmp_path / "here" / "my-integrations" / "rooms.yaml"
        shell = Shell.at(tmp_path, url="")
        file.parent.mkdir()
        file.write_text(DEFINITION.replace("BASE", upstream.base_url))
        async with gateway(tmp_path, definitions=file.parent) as running:
            await running.connect("rooms", {"token": "tok-very-secret"})
            shell = shell.with_environment(SKILLWAY_URL=running.url, SKILLWAY_API_KEY=running.org.live)
            yield Stage(running=running, upstream=upstream, shell=shell, file=file)


async def test_a_call_is_made_printed_as_an_example_and_added_to_its_definition(stage: Stage) -> None:
    stage.says([{"id": 48213, "name": "Attic", "user": {"email": "joan@wayne.com", "login": "joan"}, "token": "abc"}] * 5)
    words = ("rooms", "list_rooms", "--seats", "6", "--owner", "joan", "--floor", "high")
    done = await stage.record("--to", "my-integrations/rooms.yaml", *words)
    assert done.code == 0, done
    assert stage.upstream.seen[-1].raw_path == "/rooms?seats=6&owner=joan&floor=high"
    integration = load_integration(stage.file)
    example = integration.skills["list_rooms"].examples[1]
    (room, same) = example.data
    assert room == same and room["name"] == "Attic" and room["token"] == "example"
    assert room["user"] == {"email": "ada@example.com", "login": "alovelace"} and 10_000 <= room["id"] != 48213
    assert example.params == {"seats": 6, "owner": "alovelace", "floor": "high"}
    printed = done.out.decode()
    assert printed.startswith("- params: {seats: 6, owner: alovelace, floor: high}\n  response:\n")
    indented = "".join(f"      {line}\n" for line in printed.splitlines())
    before = DEFINITION.replace("BASE", stage.upstream.base_url)
    assert stage.file.read_text() == before.replace("    page:", f"{indented}    page:")
    assert "joan" not in printed and "1 secret" not in printed and "Made up: " in done.err
    # Served, it is what a test key is answered from.
    stage.running.services.catalogs.reload()  # type: ignore[union-attr]
    answer = await stage.running.call("rooms", "list_rooms", dict(example.params), key=stage.running.org.test)
    assert answer.json()["data"] == example.data


async def test_without_a_file_it_is_printed_alone(stage: Stage) -> None:
    before = stage.file.read_text()
    stage.says([{"id": 4}])
    done = await stage.record("rooms", "list_rooms")
    assert done.code == 0 and done.out.startswith(b"- response: {status: 200, data: [{id: "), done
    assert stage.file.read_text() == before


async def test_a_call_that_changes_something_is_made_only_where_somebody_says_so(stage: Stage) -> None:
    done = await stage.record("rooms", "book_room")
    assert done.code == 1 and "--yes" in done.err and stage.upstream.seen == []
    said = ("sandbox", "record", "rooms", "book_room")
    shown = await asyncio.to_thread(stage.shell.on_terminal, *said, typed="n\n", prompt="Go on?")
    assert shown.code == 1 and "Nothing was done" in without_colour(shown.out) and stage.upstream.seen == []
    stage.says({"id": 55}, status=201)
    done = await stage.record("--yes", "rooms", "book_room")
    assert done.code == 0 and b"status: 201" in done.out and len(stage.upstream.seen) == 1


async def test_on_a_terminal_nothing_is_written_before_somebody_says_so(stage: Stage) -> None:
    before = stage.file.read_text()
    said = ("sandbox", "record", "--to", str(stage.file), "rooms", "list_rooms")
    stage.says([{"id": 4}])
    shown = await asyncio.to_thread(stage.shell.on_terminal, *said, typed="n\n", prompt="Write ")
    assert shown.code == 1 and stage.file.read_text() == before and "+      - response:" in without_colour(shown.out)
    stage.says([{"id": 4}])
    shown = await asyncio.to_thread(stage.shell.on_terminal, *said, typed="y\n", prompt="Write ")
    assert shown.code == 0 and len(load_integration(stage.file).skills["list_rooms"].examples) == 2


async def test_an_example_that_the_definition_would_not_lint_with_is_not_added(stage: Stage) -> None:
    text = stage.file.read_text()
    text = text.replace("status: 200, data: [{id: 3, name: Library}]", "status: 404, data: {message: Nothing}")
    stage.file.write_text(text.replace("page: {type: page, param: seats}", "brief: message"))
    before = stage.file.read_text()
    # It would be the first success, which `brief` is tried on.
    stage.says([{"id": 4}])
    done = await stage.record("--to", str(stage.file), "rooms", "list_rooms")
    assert done.code == 1 and "would not lint" in done.err and "brief" in done.err and stage.file.read_text() == before
    # What was wrong before is not its fault.
    stage.says({"message": "Also nothing"}, status=404)
    done = await stage.record("--to", str(stage.file), "rooms", "list_rooms")
    assert done.code == 0 and len(load_integration(stage.file).skills["list_rooms"].examples) == 2, done


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--to", "nowhere.yaml", "rooms", "list_rooms"), "cannot be read"),
        (("--to", "my-integrations/rooms.yaml", "github", "list_issues"), "is the definition of rooms"),
        (("--to", "broken.yaml", "rooms", "list_rooms"), "does not load"),
    ],
)
async def test_a_file_that_cannot_take_it_is_told_before_the_call(stage: Stage, words: tuple[str, ...], why: str) -> None:
    (stage.shell.folder / "broken.yaml").write_text("slug: [")
    done = await stage.record(*words)
    assert done.code == 1 and why in done.err and stage.upstream.seen == []


async def test_a_test_key_has_nothing_to_record(stage: Stage) -> None:
    shell = stage.shell.with_environment(SKILLWAY_API_KEY=stage.running.org.test)
    done = await asyncio.to_thread(shell.run, "sandbox", "record", "rooms", "list_rooms")
    assert done.code == 1 and "live key" in done.err
