"""Calls of every kind, while the processes that carry them out are killed with -9 again and again.

    python -m tests.crash.calls --kills 200 --database postgresql

A client writes down every fact that was acknowledged to it; at the end each is held against what the upstream saw and
what the gateway says. Prints the figures as JSON and fails where one of these is not so: no run that was accepted is
lost; nothing that is not safe to repeat was done twice, whatever the client repeated under an Idempotency-Key; an answer
is of its own call; 60 seconds after the last kill no run is open; the ledger sums to the balance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.installation import open_installation
from gateway.settings import load_settings
from tests.demo import write_definitions
from tests.fakes.postgres import fresh_database, postgres
from tests.harness import Org, RunningGateway, environment, gateway_process, make_org
from tests.workshop import Workshop, definition

#: Seconds after the last kill within which every run has come to its end.
SETTLED = 60.0
#: Not safe to repeat, and safe.
_ONCE, _AGAIN = ("send",), ("put", "look")
_STATES = {"completed", "failed", "cancelled", "unknown"}
_GONE = (aiohttp.ClientError, ConnectionError, TimeoutError)


class Counting(Workshop):
    """Counts what was done, by the note of each call."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.done: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311 - it shall be as slow in the same way each time

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else dict(request.query)
        self.done[body["note"]] += 1
        await asyncio.sleep(self._chance.uniform(0, 0.06))
        return web.json_response({"note": body["note"]})


@dataclass(slots=True)
class Journal:
    """What was acknowledged."""

    #: Run -> its note.
    accepted: dict[str, str] = field(default_factory=dict)
    #: Note -> the answers that it got.
    answered: dict[str, list[Any]] = field(default_factory=dict)
    #: Notes of calls that are not safe to repeat.
    once: set[str] = field(default_factory=set)
    #: Notes of calls that said `unknown`.
    unknown: set[str] = field(default_factory=set)
    asked: int = 0
    broken_off: int = 0
    wrong: list[str] = field(default_factory=list)


class Fleet:
    """So many gateways on one database, each started anew when it is killed."""

    def __init__(self, folder: Path, org: Org, options: Mapping[str, Any], count: int) -> None:
        self._folder = folder
        self._org = org
        self._options = options
        self.running: list[RunningGateway | None] = [None] * count
        self._lives = [asyncio.create_task(self._live(number)) for number in range(count)]

    def any(self, chance: random.Random) -> RunningGateway | None:
        return chance.choice(self.running)

    async def kill(self, number: int, after: float) -> None:
        """Kills one that has been up for so many seconds."""
        while self.running[number] is None:  # noqa: ASYNC110 - nobody can tell us
            await asyncio.sleep(0.02)
        await asyncio.sleep(after)
        victim = self.running[number]
        assert victim is not None
        self.running[number] = None
        assert victim.process is not None
        assert victim.process.returncode is None, "a gateway died by itself"
        victim.process.kill()
        await victim.process.wait()

    async def close(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    async def _live(self, number: int) -> None:
        folder = self._folder / f"process-{number}"
        folder.mkdir(exist_ok=True)
        while True:
            async with gateway_process(folder, org=self._org, **self._options) as running:
                assert running.process is not None
                self.running[number] = running
                await running.process.wait()


async def crash(
    folder: Path,
    *,
    kills: int,
    processes: int = 1,
    clients: int = 8,
    seed: int = 1,
    database: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The figures of one run. Raises AssertionError where a promise is broken."""
    chance, began = random.Random(seed), time.monotonic()  # noqa: S311
    upstream, journal = Counting(seed), Journal()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    definitions = write_definitions(folder, definition(f"http://127.0.0.1:{site.port}"))
    options: dict[str, Any] = {"definitions": definitions, "data_dir": str(folder / "data"), **(database or {})}
    environ = environment(folder, None, definitions, {"data_dir": str(folder / "data"), **(database or {})})
    org = await make_org(environ)
    fleet = Fleet(folder, org, options, processes)
    stop = asyncio.Event()
    try:
        asking = [
            asyncio.create_task(_client(fleet, journal, random.Random(f"{seed} {number}"), stop))  # noqa: S311
            for number in range(clients)
        ]
        for _ in range(kills):
            await fleet.kill(chance.randrange(processes), chance.uniform(0.02, 1.0))
        stop.set()
        await asyncio.gather(*asking)
        settling = time.monotonic()
        runs = await _settled(fleet, chance, org)
        settled = time.monotonic() - settling
        lost = {run_id for run_id in journal.accepted if run_id not in runs}
        balance = await _ask(fleet, chance, "GET", "/v1/usage", org)
        entries = await _pages(fleet, chance, org, "/v1/ledger", "entries")
    finally:
        stop.set()
        await fleet.close()
        await runner.cleanup()
    settings, _ = load_settings(environ)
    async with open_installation(settings) as opened:
        [row] = await opened.database.fetch("SELECT COUNT(*) AS n FROM runs WHERE finished_at IS NULL")
    states = Counter(str(run["status"]) for run in runs.values())
    doubled = {note for note in journal.once if upstream.done[note] > 1}
    figures = {
        "kills": kills,
        "calls": journal.asked,
        "broken_off": journal.broken_off,
        "accepted": len(journal.accepted),
        "answered": len(journal.answered),
        "reached_the_upstream": len(upstream.done),
        "lost": len(lost),
        "doubled": len(doubled),
        "open_after_60_s": int(row["n"]),
        "settled_after_s": round(settled, 1),
        "runs": dict(sorted(states.items())),
        "seconds": round(time.monotonic() - began, 1),
    }
    assert not journal.wrong, journal.wrong[:5]
    assert not lost, f"accepted and lost: {sorted(lost)[:5]}"
    assert not doubled, f"done twice: {sorted(doubled)[:5]}"
    assert row["n"] == 0, f"{row['n']} runs are open"
    assert states.keys() <= _STATES, states
    for run_id, note in journal.accepted.items():
        if runs[run_id]["status"] == "completed":
            assert upstream.done[note] >= 1, f"{run_id} says it was done, and was not"
    for note, answers in journal.answered.items():
        assert all(answer == {"note": note} for answer in answers), (note, answers)
        assert upstream.done[note] >= 1, f"{note} was answered, and not done"
    assert -sum(entry["amount"] for entry in entries if entry["type"] == "call") == balance["credits"]["used"]
    return figures


async def _client(fleet: Fleet, journal: Journal, chance: random.Random, stop: asyncio.Event) -> None:
    while not stop.is_set():
        running = fleet.any(chance)
        if running is None:
            await asyncio.sleep(0.02)
            continue
        note, action = f"n{chance.getrandbits(64):016x}", chance.choice((*_ONCE, *_AGAIN))
        if action in _ONCE:
            journal.once.add(note)
        journal.asked += 1
        body: dict[str, Any] = {"params": {"note": note}}
        kind = chance.choice(("plain", "keyed", "later", "later keyed"))
        if "later" in kind:
            body["async"] = True
        headers = {"Idempotency-Key": note} if "keyed" in kind else {}
        try:
            while True:
                try:
                    answer = await running.ask("POST", f"/v1/shop/{action}", body=body, headers=headers)
                except _GONE:
                    journal.broken_off += 1
                    if "keyed" not in kind:
                        break
                    # Whoever hears nothing asks again, wherever somebody answers.
                    running = await _anybody(fleet, chance)
                    continue
                _note(journal, note, answer.status, answer.json())
                if "keyed" in kind and chance.random() < 0.3:
                    running = await _anybody(fleet, chance)
                    again = await running.ask("POST", f"/v1/shop/{action}", body=body, headers=headers)
                    _note(journal, note, again.status, again.json())
                break
        except _GONE:
            journal.broken_off += 1


def _note(journal: Journal, note: str, status: int, body: Any) -> None:
    if status == 202:
        before = next((run for run, other in journal.accepted.items() if other == note), body["run_id"])
        journal.accepted[body["run_id"]] = note
        if before != body["run_id"]:
            journal.wrong.append(f"one key, two runs: {before} and {body['run_id']}")
    elif status == 200:
        journal.answered.setdefault(note, []).append(body["data"])
    elif body.get("outcome") == "unknown" or body["error"] in ("storage_unavailable", "conflict"):
        journal.unknown.add(note)
    elif body["error"] != "sync_timeout_upgrade_async":
        journal.wrong.append(f"{status} {body}")


async def _anybody(fleet: Fleet, chance: random.Random) -> RunningGateway:
    while (running := fleet.any(chance)) is None:  # noqa: ASYNC110 - nobody can tell us
        await asyncio.sleep(0.02)
    return running


async def _ask(fleet: Fleet, chance: random.Random, method: str, path: str, org: Org) -> Any:
    answer = await (await _anybody(fleet, chance)).ask(method, path, key=org.live)
    assert answer.status == 200, answer.body
    return answer.json()


async def _pages(fleet: Fleet, chance: random.Random, org: Org, path: str, what: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = await _ask(fleet, chance, "GET", f"{path}?limit=200{cursor}", org)
        found += page[what]
        if not page.get("next_cursor"):
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def _settled(fleet: Fleet, chance: random.Random, org: Org) -> dict[str, Any]:
    """All runs, once none is open any more, or after a minute."""
    until = time.monotonic() + SETTLED
    while True:
        runs = {run["run_id"]: run for run in await _pages(fleet, chance, org, "/v1/runs", "runs")}
        if all(run["finished_at"] for run in runs.values()) or time.monotonic() > until:
            return runs
        await asyncio.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    async def run(database: Mapping[str, str], processes: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            figures = await crash(
                Path(folder), kills=given.kills, processes=processes, seed=given.seed, database=database
            )
        print(json.dumps({"database": given.database, **figures}))

    if given.database == "sqlite":
        asyncio.run(run({}, 1))
    else:
        with postgres() as server:
            asyncio.run(run({"database_url": fresh_database(server)}, 2))


if __name__ == "__main__":
    main()
