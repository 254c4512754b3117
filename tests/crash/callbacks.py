"""Every run that was accepted calls back, though the workers that carry runs out are killed again and again.

    python -m tests.crash.callbacks --runs 1000 --kills 10 --database postgresql

prints the figures as JSON and fails where one of these is not so: each run that was accepted came to its end; each
called back, under one `webhook-id`; every signature was right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.database import Database
from tests.crash.webhooks import worker
from tests.demo import write_definitions
from tests.fakes.postgres import fresh_database, postgres
from tests.fakes.receiver import Receiver, verified
from tests.fakes.upstream import Answer, Seen, serve
from tests.harness import Org, RunningGateway, environment, make_org
from tests.workshop import Workshop, definition


class Called(Receiver):
    """Keeps by run which ids it was told under; fails now and then."""

    def __init__(self, seed: int) -> None:
        super().__init__(self._decide)
        self._chance = random.Random(seed)  # noqa: S311 - it shall fail in the same way each time
        self.secret = ""
        self.taken: dict[str, set[str]] = defaultdict(set)
        self.wrong = 0
        self.requests = 0

    def _decide(self, number: int, seen: Seen) -> Answer:
        self.seen.clear()
        self.requests += 1
        try:
            told = verified(seen, self.secret)
        except Exception:
            self.wrong += 1
            return Answer(status=400)
        if self._chance.random() < 0.3:
            return Answer(status=503)
        self.taken[told["data"]["run_id"]].add(told["id"])
        return Answer(status=204)


class _Workers:
    """Two of them, of which one is killed now and then; calls go to whichever lives."""

    def __init__(self, environ: Mapping[str, str], folder: Path, org: Org) -> None:
        self._environ, self._folder, self._org = environ, folder, org
        self._alive: dict[int, RunningGateway] = {}
        self._lives = [asyncio.create_task(self._live(number)) for number in range(2)]

    async def _live(self, number: int) -> None:
        async with worker(self._environ, self._folder, self._org) as running:
            self._alive[number] = running
            try:
                await asyncio.Event().wait()
            finally:
                del self._alive[number]

    async def kill(self, number: int) -> None:
        self._lives[number].cancel()
        await asyncio.gather(self._lives[number], return_exceptions=True)
        self._lives[number] = asyncio.create_task(self._live(number))

    async def one(self, chance: random.Random) -> RunningGateway:
        while not self._alive:  # noqa: ASYNC110 - whoever starts tells nobody
            await asyncio.sleep(0.02)
        return chance.choice(list(self._alive.values()))

    def check(self) -> None:
        for life in self._lives:
            assert not life.done(), f"a worker died by itself: {life}"

    async def close(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)


async def crash(
    folder: Path,
    *,
    runs: int,
    kills: int,
    seed: int = 1,
    within: float = 600.0,
    database: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The figures of one run. Raises AssertionError where a promise is broken."""
    upstream, receiver, chance, began = Workshop(), Called(seed), random.Random(seed), time.monotonic()  # noqa: S311
    upstream.takes = 0.05
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        definitions = write_definitions(folder, definition(f"http://127.0.0.1:{site.port}"))
        environ = environment(folder, None, definitions, {"webhook_rate": "500", **(database or {})})
        org = await make_org(environ)
        settings, _ = load_settings(environ)
        async with serve(receiver) as receiving, open_installation(settings) as opened:
            async with worker(environ, folder, org) as first:
                made = await first.ask("POST", "/v1/org/signing-secret")
                receiver.secret = made.json()["secret"]
            workers, accepted = _Workers(environ, folder, org), set[str]()
            pause = kills * 1.0 / runs
            calling = asyncio.create_task(_call(workers, chance, runs, pause, receiving.base_url, accepted))
            try:
                async with asyncio.timeout(within):
                    for _ in range(kills):
                        await asyncio.sleep(chance.uniform(0.6, 1.6))
                        await workers.kill(chance.randrange(2))
                    await calling
                    while not accepted <= receiver.taken.keys() or await _open(opened.database):
                        workers.check()
                        await asyncio.sleep(0.1)
            finally:
                calling.cancel()
                await workers.close()
                await asyncio.gather(calling, return_exceptions=True)
            rows = await opened.database.fetch("SELECT id, state, finished_at FROM runs WHERE callback_url IS NOT NULL")
    finally:
        await runner.cleanup()
    states: dict[str, int] = defaultdict(int)
    for row in rows:
        states[row["state"]] += 1
    # A call whose caller was never answered may be a run as well.
    assert accepted <= {row["id"] for row in rows} == receiver.taken.keys()
    assert all(row["finished_at"] is not None for row in rows)
    assert all(len(ids) == 1 for ids in receiver.taken.values()), "one run, several ends"
    assert receiver.wrong == 0
    return {
        "runs": len(rows),
        "called_back": len(receiver.taken),
        "requests": receiver.requests,
        "kills": kills,
        "states": dict(states),
        "seconds": round(time.monotonic() - began, 1),
    }


async def _call(
    workers: _Workers, chance: random.Random, runs: int, pause: float, base_url: str, accepted: set[str]
) -> None:
    """Half of the calls may be done twice, and half may not: those end `unknown` where their worker dies."""
    for number in range(runs):
        running = await workers.one(chance)
        body = {"async": True, "callback_url": f"{base_url}/{number}"}
        try:
            answer = await running.call("shop", "put" if number % 2 else "send", {"note": str(number)}, **body)
        except (aiohttp.ClientError, OSError):
            # It was killed at that moment.
            continue
        if answer.status == 202:
            accepted.add(answer.json()["run_id"])
        await asyncio.sleep(pause)


async def _open(database: Database) -> bool:
    for sql in (
        "SELECT 1 AS one FROM deliveries WHERE next_at IS NOT NULL LIMIT 1",
        "SELECT 1 AS one FROM runs WHERE finished_at IS NULL LIMIT 1",
    ):
        if await database.fetch_one(sql) is not None:
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    async def run(database: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            figures = await crash(Path(folder), runs=given.runs, kills=given.kills, seed=given.seed, database=database)
            print(json.dumps({"database": given.database, **figures}))

    if given.database == "sqlite":
        asyncio.run(run({}))
    else:
        with postgres() as server:
            asyncio.run(run({"database_url": fresh_database(server)}))


if __name__ == "__main__":
    main()
