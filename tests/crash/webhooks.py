"""Every event is delivered, though a third of the answers are failures and the workers are killed again and again.

    python -m tests.crash.webhooks --deliveries 10000 --kills 10 --database postgresql

prints the figures as JSON and fails where one of these is not so: each event reached each endpoint; a repeat came
under the same `webhook-id` with the same bytes; every signature was right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.core.events import Event
from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.database import Database
from gateway.store.events import append
from tests.fakes.postgres import fresh_database, postgres
from tests.fakes.receiver import Receiver, verified
from tests.fakes.upstream import Answer, Seen, serve
from tests.harness import ROOT, Org, RunningGateway, browser, environment, make_org

ENDPOINTS_OF_AN_ORG = 5


class Unreliable(Receiver):
    """Fails now and then, and keeps what came and whether it was taken."""

    def __init__(self, failing: float, seed: int) -> None:
        super().__init__(self._decide)
        self._failing = failing
        self._chance = random.Random(seed)  # noqa: S311 - it shall fail in the same way each time
        self.secrets: dict[str, str] = {}
        #: By endpoint and message: how often it came, how often it was taken, and the bytes.
        self.came: Counter[tuple[str, str]] = Counter()
        self.taken: Counter[tuple[str, str]] = Counter()
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        self.wrong = 0

    async def _take(self, request: web.Request) -> web.StreamResponse:
        answer = await super()._take(request)
        # Long enough that a worker may die between the delivery and the answer.
        await asyncio.sleep(0.03)
        return answer

    def _decide(self, number: int, seen: Seen) -> Answer:
        # A list of all requests would grow by the payload of each.
        self.seen.clear()
        which = seen.path, seen.header("webhook-id") or ""
        self.came[which] += 1
        self.bodies[which[1]].add(seen.body)
        try:
            assert verified(seen, self.secrets[seen.path])["id"] == which[1]
        except Exception:
            self.wrong += 1
        if self._chance.random() < self._failing:
            return Answer(status=self._chance.choice((500, 503, 429, 404)))
        self.taken[which] += 1
        return Answer(status=204)


@asynccontextmanager
async def worker(environ: Mapping[str, str], folder: Path, org: Org) -> AsyncIterator[RunningGateway]:
    """A gateway of `tests.crash.process`; killed at the end if it still lives."""
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.process", "serve", "--port", "0",
            cwd=ROOT, env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert line.startswith("listening on "), (line, (folder / "log").read_text()[-2000:])
        async with browser() as session:
            url = line.removeprefix("listening on ").strip()
            yield RunningGateway(url=url, org=org, session=session, data_dir=folder / "data", process=process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def crash(
    folder: Path,
    *,
    deliveries: int,
    kills: int,
    endpoints: int = 10,
    failing: float = 0.3,
    workers: int = 2,
    seed: int = 1,
    rate: int = 200,
    within: float = 600.0,
    database: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The figures of one run. Raises AssertionError where a promise is broken."""
    environ = environment(folder, None, None, {"webhook_rate": str(rate), **(database or {})})
    orgs = [await make_org(environ, f"Org {number}") for number in range(-(-endpoints // ENDPOINTS_OF_AN_ORG))]
    receiver, began, chance = Unreliable(failing, seed), time.monotonic(), random.Random(seed)  # noqa: S311
    settings, _ = load_settings(environ)
    async with serve(receiver) as receiving, open_installation(settings) as opened:
        async with worker(environ, folder, orgs[0]) as first:
            paths = await _subscribe(first, orgs, receiving.base_url, receiver, endpoints)
        expected: set[tuple[str, str]] = set()
        # Faster than it is delivered, so that whoever is killed has much in flight.
        pause = kills * 0.4 / (deliveries / endpoints)
        writing = asyncio.create_task(_write(opened.database, orgs, paths, deliveries // endpoints, pause, expected))
        killed = 0
        lives = [asyncio.create_task(_live(environ, folder, orgs[0], chance)) for _ in range(workers)]
        try:
            async with asyncio.timeout(within):
                while killed < kills:
                    await asyncio.sleep(chance.uniform(0.6, 1.6))
                    victim = chance.randrange(workers)
                    lives[victim].cancel()
                    await asyncio.gather(lives[victim], return_exceptions=True)
                    lives[victim] = asyncio.create_task(_live(environ, folder, orgs[0], chance))
                    killed += 1
                await writing
                while set(receiver.taken) != expected or await _open(opened.database):
                    for life in lives:
                        assert not life.done(), f"a worker died by itself: {life}"
                    await asyncio.sleep(0.1)
        finally:
            writing.cancel()
            for life in lives:
                life.cancel()
            await asyncio.gather(writing, *lives, return_exceptions=True)
        states = await opened.database.fetch("SELECT state, COUNT(*) AS n FROM deliveries GROUP BY state")
    repeats = sum(times - 1 for times in receiver.taken.values())
    figures = {
        "deliveries": len(expected),
        "delivered": len(receiver.taken),
        "requests": sum(receiver.came.values()),
        "answered_with_failures": sum(receiver.came.values()) - sum(receiver.taken.values()),
        "taken_more_than_once": repeats,
        "kills": killed,
        "wrong_signatures": receiver.wrong,
        "seconds": round(time.monotonic() - began, 1),
    }
    assert set(receiver.taken) == set(receiver.came) == expected, "not every event reached every endpoint"
    assert {row["state"]: row["n"] for row in states} == {"delivered": len(expected)}
    assert receiver.wrong == 0
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values()), "one id, several bodies"
    # A worker that dies between the answer and the note of it has at most its attempts in flight repeated.
    assert repeats <= killed * 64
    return figures


async def _subscribe(
    running: RunningGateway, orgs: list[Org], base_url: str, receiver: Unreliable, endpoints: int
) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = defaultdict(list)
    for number in range(endpoints):
        org, path = orgs[number % len(orgs)], f"/{number}"
        body = {"url": base_url + path, "events": ["limit.*"]}
        answer = await running.ask("POST", "/v1/webhooks", body=body, key=org.live)
        assert answer.status == 201, answer.body
        receiver.secrets[path] = answer.json()["secret"]
        paths[org.id].append(path)
    return paths


async def _write(
    database: Database,
    orgs: list[Org],
    paths: Mapping[str, list[str]],
    number: int,
    pause: float,
    expected: set[tuple[str, str]],
) -> None:
    """Events of all orgs, some in one transaction, while the workers die."""
    for position in range(number):
        async with database.transaction() as transaction:
            for org in orgs:
                event = Event.now(org.id, "limit.reached", time.time(), number=position, text="größe ✓")
                await append(transaction, event)
                expected |= {(path, event.id) for path in paths[org.id]}
        await asyncio.sleep(pause)


async def _live(environ: Mapping[str, str], folder: Path, org: Org, chance: random.Random) -> None:
    async with worker(environ, folder, org):
        await asyncio.Event().wait()


async def _open(database: Database) -> bool:
    row = await database.fetch_one("SELECT 1 AS one FROM deliveries WHERE next_at IS NOT NULL LIMIT 1")
    return row is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    async def run(database: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            figures = await crash(
                Path(folder), deliveries=given.deliveries, kills=given.kills, endpoints=given.endpoints,
                seed=given.seed, database=database,
            )  # fmt: skip
            print(json.dumps({"database": given.database, **figures}))

    if given.database == "sqlite":
        asyncio.run(run({}))
    else:
        with postgres() as server:
            asyncio.run(run({"database_url": fresh_database(server)}))


if __name__ == "__main__":
    main()
