"""SIGHUP reads the definitions again: new ones are served at once, broken ones never take the running catalog down."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes.upstream import Answer, Asked, Running, Upstream, json_answer, route, serve
from tests.harness import RunningGateway, gateway_process
from tests.operator import Operator


class Echo(Upstream):
    """Lets everybody in and says which path was asked for."""

    @route("GET", "/{path...}")
    def answer(self, asked: Asked) -> Answer:
        return json_answer({"path": asked.seen.raw_path})


def definition(slug: str, base_url: str, path: str = "/one") -> str:
    return f"""\
slug: {slug}
name: {slug}
description: Says which path was asked for.
base_url: {base_url}
auth: [{{name: nobody, type: none}}]
actions:
  ask:
    description: Asks.
    request: GET {path}
    examples: [{{params: {{}}, response: {{status: 200, data: {{}}}}}}]
"""


@asynccontextmanager
async def many(folder: Path, *arguments: str) -> AsyncIterator[tuple[RunningGateway, Path, Running[Echo]]]:
    """A gateway as a process, with twenty definitions of its operator's own beside the shipped ones."""
    definitions = folder / "definitions"
    definitions.mkdir()
    async with serve(Echo()) as echo:
        for number in range(20):
            (definitions / f"own_{number}.yaml").write_text(definition(f"own_{number}", echo.base_url))
        async with gateway_process(
            folder, catalog=None, definitions=definitions, arguments=arguments, log_format="json"
        ) as running:
            yield running, definitions, echo


async def test_sighup_brings_a_new_definition_a_changed_one_and_takes_one_away(tmp_path: Path) -> None:
    async with many(tmp_path) as (running, definitions, echo):
        assert (await running.call("new_one", "ask")).json()["error"] == "not_found"
        before = (await running.ask("GET", "/v1/skills/own_0/ask")).headers["ETag"]
        (definitions / "new_one.yaml").write_text(definition("new_one", echo.base_url, "/new"))
        (definitions / "own_0.yaml").write_text(definition("own_0", echo.base_url, "/changed"))
        (definitions / "own_1.yaml").unlink()
        # Nothing happens before it is asked for.
        assert (await running.call("own_0", "ask")).json()["data"] == {"path": "/one"}
        [line] = await reload(running, tmp_path)
        assert re.fullmatch(r"catalog reloaded: \d+ integrations", line["message"])
        assert (await running.call("new_one", "ask")).json()["data"] == {"path": "/new"}
        assert (await running.call("own_0", "ask")).json()["data"] == {"path": "/changed"}
        assert (await running.call("own_1", "ask")).json()["error"] == "not_found"
        again = await running.ask("GET", "/v1/skills/own_0/ask", headers={"If-None-Match": before})
        assert (again.status, again.json()["path"]) == (200, "/changed")


async def test_fifty_reloads_with_a_broken_file_fail_no_call(tmp_path: Path) -> None:
    async with many(tmp_path) as (running, definitions, _):
        going, answers = True, 0

        async def call(number: int) -> None:
            nonlocal answers
            while going:
                answer = await running.call(f"own_{number}", "ask")
                assert answer.json().get("status") == 200, answer.body
                answers += 1

        callers = [asyncio.create_task(call(number)) for number in range(8)]
        broken = definitions / "own_19.yaml"
        good = broken.read_text()
        for number in range(50):
            broken.write_text(good[: 20 + number * 3])  # as half a write leaves it
            [line] = await reload(running, tmp_path)
            assert line["level"] == "error"
            assert line["message"].startswith("catalog not reloaded, the last good one stays: ")
            assert re.search(rf"{re.escape(str(broken))}:\d+: ", line["message"]), line
        going = False
        await asyncio.gather(*callers)
        # They went on while the files were read, and not only between.
        assert answers > 250
        assert (await running.call("own_19", "ask")).json()["status"] == 200
        broken.write_text(good)
        [line] = await reload(running, tmp_path)
        assert line["message"].startswith("catalog reloaded")


def a_link_that_leads_nowhere(path: Path) -> None:
    path.symlink_to("/nonexistent")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def text(content: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(content)

    return write


def content(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


BROKEN: dict[str, Callable[[Path], None]] = {
    "nothing": text(""),
    "no YAML": text("slug: ["),
    "bytes": content(b"\xff\xfe\x00"),
    "a list": text("- one\n"),
    "a slug that a route has": text(definition("skills", "https://a.example")),
    "a slug that another file has": text(definition("own_0", "https://a.example")),
    "an unknown key": text(definition("broken", "https://a.example") + "colour: red\n"),
    "the same key twice": text(definition("broken", "https://a.example") + "slug: broken\n"),
    "an anchor": text("a: &a [*a]\n"),
    "a tag": text("!!python/object/apply:os.system [id]\n"),
    "depth": text("a: " + "[" * 3000 + "]" * 3000 + "\n"),
    "size": text("# " + "x" * 5_000_000),
    "a reference to elsewhere": text(definition("broken", "https://a.example").replace(
        "    examples:", "    input: {$ref: 'file:///etc/passwd'}\n    examples:")),
    "an expression that stalls": text(definition("broken", "https://a.example").replace(
        "    examples:", "    params: {a: {type: string, pattern: '^(?=(a+)+$)'}}\n    examples:")),
    "a link that leads nowhere": a_link_that_leads_nowhere,
    "a pipe that nobody writes to": a_pipe,
}  # fmt: skip


async def test_whatever_is_wrong_with_a_file_the_log_says_where_and_calls_go_on(tmp_path: Path) -> None:
    async with many(tmp_path) as (running, definitions, _):
        path = definitions / "z_broken.yaml"
        unnamed, wrong = [], {}
        for name, breaks in BROKEN.items():
            breaks(path)
            [line] = await reload(running, tmp_path)
            if not line["message"].startswith("catalog not reloaded"):
                wrong[name] = line["message"]
            if "z_broken.yaml" not in line["message"]:
                unnamed.append((name, line["message"]))
            assert (await running.call("own_7", "ask")).json()["status"] == 200
            path.unlink()
        assert wrong == {}
        assert unnamed == []


async def test_every_worker_reloads(tmp_path: Path) -> None:
    async with many(tmp_path, "--workers", "2") as (running, definitions, echo):
        (definitions / "new_one.yaml").write_text(definition("new_one", echo.base_url))
        assert running.process is not None
        for worker in children(running.process.pid):
            await until_it_reloads(worker)
        lines = await reload(running, tmp_path, lines=2)
        assert all(line["message"].startswith("catalog reloaded") for line in lines)
        answers = await asyncio.gather(*(running.call("new_one", "ask") for _ in range(20)))
        assert {answer.json().get("status") for answer in answers} == {200}


async def test_a_sighup_during_the_start_does_no_harm(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here")
    org = operator.init()
    stop, others = asyncio.Event(), set(children(os.getpid()))

    async def pester() -> None:
        """SIGHUP to the gateway as soon as it ignores or handles it, which it says in /proc."""
        while not stop.is_set():
            for pid in children(os.getpid()):
                if pid not in others and handles_sighup(pid, "SigIgn", "SigCgt"):
                    os.kill(pid, signal.SIGHUP)
            await asyncio.sleep(0.005)

    pestering = asyncio.create_task(pester())
    try:
        async with operator.serving(org) as running:
            assert (await running.ask("GET", "/v1/skills")).status == 200
    finally:
        stop.set()
        await pestering


# ---------------------------------------------------------------------------------------------------- what helps


async def reload(running: RunningGateway, folder: Path, *, lines: int = 1) -> list[dict[str, str]]:
    """Sends SIGHUP and waits for the lines that tell how it went."""
    assert running.process is not None
    known = len(told(folder))
    running.process.send_signal(signal.SIGHUP)
    for _ in range(1000):
        if len(told(folder)) >= known + lines:
            return told(folder)[known:]
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was said of the reload")


def told(folder: Path) -> list[dict[str, str]]:
    lines = (json.loads(line) for line in (folder / "log").read_text().splitlines() if line.endswith("}"))
    return [line for line in lines if line["logger"] == "skillway.catalog"]


def children(of: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


async def until_it_reloads(pid: int) -> None:
    for _ in range(1000):
        if handles_sighup(pid, "SigCgt"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{pid} never came to handle SIGHUP")


def handles_sighup(pid: int, *how: str) -> bool:
    """Whether the process ignores (`SigIgn`) or catches (`SigCgt`) it: one of these ways."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = re.findall(rf"^(?:{'|'.join(how)}):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return any(int(mask, 16) & 1 << (signal.SIGHUP - 1) for mask in masks)
