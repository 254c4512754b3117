"""Measures what a key and its limits cost on the way of a call, in process: CPU microseconds per call.

    python -m benchmarks.bench_limits [--calls 50000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from gateway.app import open_gateway
from gateway.core.tenants.grants import Grant
from gateway.settings import load_settings
from gateway.store.keys import SqlKeys
from gateway.store.opening import open_database
from gateway.store.orgs import SqlOrgs
from tests.harness import make_org

#: What the key check and all limits of a call may cost together, CPU microseconds.
MOST = 25.0
PLAN = {
    "requests_per_minute": 10**9,
    "calls_per_day": 10**9,
    "credits_per_month": 10**9,
    "windows": {"github.create_issue": {"per_minute": 10**9, "per_hour": 10**9}, "POST /v1/connect": {"per_hour": 5}},
}
_ROUNDS = 5


async def measure(calls: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "skills.yaml"
        config.write_text(json.dumps({"plans": {"p": PLAN}}))
        environ = {"SKILLWAY_DATA_DIR": f"{folder}/data", "SKILLWAY_CONFIG": str(config)}
        org = await make_org(environ, plan="p")
        settings, installation = load_settings(environ)
        database = await open_database(None, settings.data_dir)
        grant = Grant(scopes=("github",), level="read_write", deny=("github.delete_*",), users=("ada",))
        _, text = await SqlKeys(database).create(org.id, "narrow", "live", grant)
        assert await SqlOrgs(database).find(org.id) is not None
        await database.close()
        async with open_gateway(settings, installation, port=1) as services:
            principal = await services.access.principal(text.reveal())
            _, skill = services.catalogs.find("github", "create_issue")
            limits = services.limits

            async def key() -> None:
                await services.access.principal(text.reveal())

            async def counted() -> None:
                await limits.request(principal, "POST /v1/{integration}/{action}")
                await limits.call(principal, skill)
                await limits.spend(principal, skill)

            async def granted() -> None:
                assert principal.grant.allows(skill, "ada")

            return {
                "the key becomes a principal": await _cpu(key, calls),
                "its grant is held against the call": await _cpu(granted, calls),
                "requests, windows, calls and credits are counted": await _cpu(counted, calls),
            }


async def _cpu(work: Callable[[], Awaitable[None]], calls: int) -> float:
    figures = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(calls):
            await work()
        figures.append((time.process_time() - began) / calls * 1e6)
    return median(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=50_000)
    figures = asyncio.run(measure(parser.parse_args().calls))
    for name, value in figures.items():
        print(f"{name:<50} {value:5.1f} µs")
    total = sum(figures.values())
    print(f"{'key and limits of a call':<50} {total:5.1f} µs  ({'within' if total <= MOST else 'over'} {MOST:g})")


if __name__ == "__main__":
    main()
