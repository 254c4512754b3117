"""A process starts with 50,000 deliveries due: the API must answer as if there were none.

    python -m tests.crash.herd --deliveries 50000 --database postgresql

prints the latencies of `GET /v1/verify` in the minute after the start, and how much was delivered meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.core.events import Event
from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.events import append
from gateway.store.fan_out import SqlFanOut
from tests.fakes.postgres import fresh_database, postgres
from tests.fakes.receiver import Receiver
from tests.fakes.upstream import Answer, Seen, serve
from tests.harness import environment, gateway_process, make_org

ORGS, ENDPOINTS_OF_AN_ORG = 20, 5


class Counting(Receiver):
    """Takes everything, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self.taken = 0

    def _count(self, number: int, seen: Seen) -> Answer:
        self.seen.clear()
        self.taken += 1
        return Answer(status=204)


async def herd(folder: Path, deliveries: int, seconds: float, database: Mapping[str, str]) -> dict[str, Any]:
    """The figures of one start."""
    settings: dict[str, Any] = dict(database)
    environ = environment(folder, None, None, settings)
    orgs = [await make_org(environ, f"Org {number}") for number in range(ORGS)]
    receiver = Counting()
    async with serve(receiver) as receiving:
        async with gateway_process(folder, org=orgs[0], **settings) as running:
            for org in orgs:
                for number in range(ENDPOINTS_OF_AN_ORG):
                    body = {"url": f"{receiving.base_url}/{org.id}/{number}", "events": ["limit.*"]}
                    answer = await running.ask("POST", "/v1/webhooks", body=body, key=org.live)
                    assert answer.status == 201, answer.body
        loaded, _ = load_settings(environ)
        async with open_installation(loaded) as opened:
            for _ in range(deliveries // ORGS // ENDPOINTS_OF_AN_ORG):
                async with opened.database.transaction() as transaction:
                    await append(transaction, *(Event.now(org.id, "limit.reached", time.time()) for org in orgs))
            fan_out = SqlFanOut(opened.database)
            while await fan_out.fan_out(500):
                pass
        took: list[float] = []
        async with gateway_process(folder, org=orgs[0], **settings) as running:
            loop = asyncio.get_running_loop()
            end = loop.time() + seconds
            while loop.time() < end:
                began = loop.time()
                assert (await running.ask("GET", "/v1/verify")).status == 200
                took.append(loop.time() - began)
                await asyncio.sleep(0.02)
            delivered = receiver.taken
    took.sort()
    return {
        "due": deliveries,
        "seconds": seconds,
        "delivered": delivered,
        "requests": len(took),
        "p50_ms": round(took[len(took) // 2] * 1000, 1),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
        "max_ms": round(took[-1] * 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if given.database == "sqlite":
            figures = asyncio.run(herd(folder, given.deliveries, given.seconds, {}))
        else:
            with postgres() as server:
                url = {"database_url": fresh_database(server)}
                figures = asyncio.run(herd(folder, given.deliveries, given.seconds, url))
    print(json.dumps({"database": given.database, **figures}))
    assert figures["p99_ms"] < 500


if __name__ == "__main__":
    main()
