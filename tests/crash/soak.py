"""Hours of mixed load on one process with SQLite, and whether anything grows that should not.

    python -m tests.crash.soak --minutes 60

Calls that read, write, are repeated, wait in line, answer much or are refused; accounts and keys that come and go;
webhooks; and every minute somebody who reads the database for five seconds, which keeps its log from being emptied.
Prints the figures as JSON, and fails where after a warm-up (a sixth of the time) the memory grows by 1 MB in ten minutes
or more, open files become more, or the log ever is larger than 64 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from aiohttp import web

from benchmarks.machine import rss_mb
from tests.crash.herd import Counting
from tests.demo import listening, write_definitions
from tests.fakes.upstream import serve
from tests.harness import RunningGateway, gateway_process
from tests.workshop import definition

#: MB that memory may grow in ten minutes, and MB that its last piece may come to: allocators give back in pieces.
SLOPE, PIECE = 1.0, 4.0
#: MB of write-ahead log, and open files more at the end than after the warm-up.
LOG, FILES = 64.0, 4
#: Seconds of every so many in which a reader holds the log.
_READS, _EVERY = 5.0, 60.0
_LARGE = json.dumps({"items": [{"id": number, "text": "x" * 100} for number in range(5000)]}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a process had at one time."""

    at: float
    rss_mb: float
    files: int
    log_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What became of it over a run."""

    rss_first_mb: float
    rss_last_mb: float
    #: By the straight line through all samples after the warm-up.
    rss_mb_in_ten_minutes: float
    files_first: int
    files_last: int
    log_most_mb: float
    log_last_mb: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Growth:
        """Of at least eight samples; the first sixth of the time is warm-up."""
        begin, end = samples[0].at, samples[-1].at
        warm = [sample for sample in samples if sample.at >= begin + (end - begin) / 6]
        quarter = max(len(warm) // 4, 1)
        first, last = warm[:quarter], warm[-quarter:]
        line = linear_regression([sample.at for sample in warm], [sample.rss_mb for sample in warm])
        return cls(
            rss_first_mb=round(median(sample.rss_mb for sample in first), 1),
            rss_last_mb=round(median(sample.rss_mb for sample in last), 1),
            rss_mb_in_ten_minutes=round(line.slope * 600, 2),
            files_first=round(median(sample.files for sample in first)),
            files_last=round(median(sample.files for sample in last)),
            log_most_mb=round(max(sample.log_mb for sample in samples), 1),
            log_last_mb=last[-1].log_mb,
        )

    def faults(self) -> list[str]:
        """What is not as it should be, in words."""
        found = []
        if self.rss_mb_in_ten_minutes >= SLOPE and self.rss_last_mb - self.rss_first_mb >= PIECE:
            found.append(f"memory grows by {self.rss_mb_in_ten_minutes} MB in ten minutes")
        if self.files_last - self.files_first > FILES:
            found.append(f"open files went from {self.files_first} to {self.files_last}")
        if self.log_most_mb >= LOG:
            found.append(f"the log had {self.log_most_mb} MB")
        return found


async def soak(
    folder: Path, *, seconds: float, clients: int = 8, pause: float = 0.1, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The figures of one run; `say` hears of it twenty times. Raises AssertionError for an answer that should not be."""
    stop, answers, samples = asyncio.Event(), Counter[str](), list[Sample]()
    receiver = Counting()
    async with (
        listening(web.route("*", "/{any:.*}", _answer)) as upstream,
        serve(receiver) as receiving,
        gateway_process(folder, definitions=write_definitions(folder, definition(upstream))) as running,
    ):
        assert running.process is not None
        hook = {"url": f"{receiving.base_url}/hook", "events": ["run.*", "api_key.*", "connection.*"]}
        assert (await running.ask("POST", "/v1/webhooks", body=hook)).status == 201
        asking = [
            asyncio.create_task(_client(running, random.Random(number), answers, stop, pause))  # noqa: S311
            for number in range(clients)
        ]
        reading = asyncio.create_task(_reader(running.data_dir / "skillway.db", stop))
        began, told = time.monotonic(), 0
        try:
            while (now := time.monotonic() - began) < seconds:
                samples.append(sample(running.process.pid, running.data_dir, now))
                if now >= told * seconds / 20:
                    say(json.dumps(asdict(samples[-1])))
                    told += 1
                done, _ = await asyncio.wait([*asking, reading], timeout=min(5.0, seconds / 20))
                for task in done:
                    task.result()
                assert running.process.returncode is None, "the gateway ended by itself"
        finally:
            stop.set()
            await asyncio.gather(*asking, reading, return_exceptions=True)
    return {
        "seconds": round(seconds),
        "answers": dict(sorted(answers.items())),
        "delivered": receiver.taken,
        **asdict(Growth.of(samples)),
        "faults": Growth.of(samples).faults(),
    }


def sample(pid: int, data_dir: Path, at: float) -> Sample:
    log = data_dir / "skillway.db-wal"
    return Sample(
        at=round(at, 1),
        rss_mb=round(rss_mb(pid), 1),
        files=len(os.listdir(f"/proc/{pid}/fd")),
        log_mb=round(log.stat().st_size / 1024**2, 1) if log.exists() else 0.0,
    )


async def _answer(request: web.Request) -> web.StreamResponse:
    body = await request.json() if request.can_read_body else dict(request.query)
    if body.get("note") == "large":
        return web.Response(body=_LARGE, content_type="application/json")
    if body.get("note") == "broken":
        return web.json_response({"message": "Not now."}, status=500)
    return web.json_response({"number": 1, "echo": body})


async def _client(
    running: RunningGateway, chance: random.Random, answers: Counter[str], stop: asyncio.Event, pause: float
) -> None:
    kinds: list[Callable[[], Awaitable[None]]] = []
    key, note = {"Authorization": f"Bearer {running.org.live}"}, ""

    async def ask(method: str, path: str, body: Any = None, *, status: int, headers: Any = None) -> Any:
        async with running.session.request(
            method, running.url + path, json=body, headers={**key, **(headers or {})}
        ) as answer:
            told = await answer.read()
            assert answer.status == status, (method, path, answer.status, told[:500])
            pieces = path.partition("?")[0].split("/")
            answers[f"{method} {'/'.join(pieces[: 3 if pieces[1] == 'v1' else 2])} {status}"] += 1
            return json.loads(told) if told else None

    async def call(action: str, params: Any, *, status: int = 200, headers: Any = None, **more: Any) -> Any:
        return await ask("POST", f"/v1/shop/{action}", {"params": params, **more}, status=status, headers=headers)

    async def look() -> None:
        await call("look", {"note": note})

    async def send_twice() -> None:
        for _ in range(2):
            await call("send", {"note": note}, headers={"Idempotency-Key": note})

    async def later() -> None:
        run = await call("put", {"note": note}, status=202, **{"async": True})
        assert (await ask("GET", f"/v1/runs/{run['run_id']}?wait=20", status=200))["status"] == "completed"

    async def large() -> None:
        found = await call("look", {"note": "large"}, max_bytes=4000)
        await ask("GET", f"/v1/results/{found['meta']['result_id']}?path=/items&offset=10&limit=20", status=200)

    async def broken() -> None:
        await call("put", {"note": "broken"})

    async def refused() -> None:
        await call("send", {"nothing": note}, status=400)
        await ask("GET", f"/v1/runs/{note}", status=404)
        await ask("GET", "/v1/verify", status=401, headers={"Authorization": f"Bearer sk_live_gw_{note}"})

    async def sandbox() -> None:
        await call("send", {"note": note}, headers={"Authorization": f"Bearer {running.org.test}"})

    async def keys() -> None:
        made = await ask("POST", "/api-keys", {"name": note}, status=201)
        await ask("DELETE", f"/api-keys/{made['api_key']['id']}", status=204)

    async def accounts() -> None:
        body = {"integration": "shop", "credentials": {"token": note}, "user": note}
        made = await ask("POST", "/v1/connect", body, status=200)
        await call("look", {"note": note}, user=note)
        await ask("DELETE", f"/v1/connections/{made['connection_id']}", status=204)

    async def discovery() -> None:
        await ask("GET", f"/v1/skills/search?q={note[:6]}+issue&limit=5", status=200)
        await ask("GET", "/v1/runs?limit=20", status=200)

    kinds += [look, look, look, look, send_twice, send_twice, later, broken, refused, sandbox, keys, accounts, discovery]
    kinds += [large] if chance.random() < 0.3 else []
    while not stop.is_set():
        note = f"n{chance.getrandbits(64):016x}"
        await chance.choice(kinds)()
        await asyncio.sleep(chance.uniform(0, 2 * pause))


async def _reader(database: Path, stop: asyncio.Event) -> None:
    """Holds a snapshot now and then, as a backup does."""
    while not stop.is_set():
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT COUNT(*) FROM runs").fetchone()
            await _stopped(stop, _READS)
        await _stopped(stop, _EVERY - _READS)


async def _stopped(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(soak(Path(folder), seconds=given.minutes * 60, say=lambda line: print(line, flush=True)))
    print(json.dumps(figures))
    assert not figures["faults"], figures["faults"]


if __name__ == "__main__":
    main()
