"""The ledger under load and a kill -9: nothing is charged twice, and what reached an upstream is in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from time import monotonic, time
from typing import Any

from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.ledger import SqlLedger
from gateway.store.runs import DELAY_SECONDS, RunWriter
from tests.fakes.github import GitHub
from tests.fakes.upstream import serve
from tests.harness import RunningGateway, gateway_process

REPO = {"repo": "acme/webapp"}


async def test_the_ledger_sums_to_the_balance_after_a_kill_in_the_middle_of_load(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"plans": {"p": {"credits_per_month": 1_000_000}}, "plan": "p", **database_setting}
    #: run id -> when the client had its answer.
    reads: dict[str, float] = {}
    writes: dict[str, float] = {}
    async with serve(GitHub()) as github:
        options["integrations"] = {"github": {"base_url": github.base_url}}
        async with gateway_process(tmp_path, **options) as running:
            await running.connect("github", {"token": github.upstream.token})
            before = len(github.seen)
            load = [asyncio.create_task(keep_calling(running, reads, writes, number)) for number in range(12)]
            await asyncio.sleep(1.5)
            assert running.process is not None
            running.process.kill()
            killed = monotonic()
            await asyncio.gather(*load)
            org = running.org
        asked = Counter(seen.method for seen in github.seen[before:])
    assert len(reads) > 50 and len(writes) > 50

    settings, _ = load_settings(
        {"SKILLWAY_DATA_DIR": str(tmp_path / "data")}
        | {f"SKILLWAY_{name.upper()}": str(value) for name, value in database_setting.items()}
    )
    async with open_installation(settings) as opened:
        database, runs = opened.database, RunWriter(opened.database)
        # What the next process does with runs whose process died.
        await runs.settle(int((time() + 60) * 1000))
        rows = await database.fetch("SELECT * FROM runs WHERE org = :org", org=org.id)
        entries = await database.fetch("SELECT * FROM entries WHERE org = :org", org=org.id)
        ledger = SqlLedger(database)
        balance, used = await ledger.balance(org.id), await ledger.used(org.id, 0)
        await runs.close()

    charged = Counter(entry["run"] for entry in entries if entry["type"] == "call")
    assert set(charged.values()) == {1}
    assert set(charged) == {row["id"] for row in rows if row["outcome"] != "not_sent"}
    assert balance == sum(entry["amount"] for entry in entries) == 1_000_000 - used.credits
    assert used.calls == used.credits == len(charged)
    # Every write that the upstream saw was on disk before it was sent.
    actions = Counter(row["action"] for row in rows)
    assert actions["create_issue"] >= asked["POST"]
    assert writes.keys() <= charged.keys()
    # Reads may be lost that were answered within the delay, and a commit's time, before the end.
    lost = [answered for run, answered in reads.items() if run not in charged]
    assert all(killed - answered < DELAY_SECONDS + 0.5 for answered in lost)


async def keep_calling(
    running: RunningGateway, reads: dict[str, float], writes: dict[str, float], number: int
) -> None:
    while True:
        try:
            if number % 2:
                answer, kept = await running.call("github", "get_repo", REPO), reads
            else:
                answer, kept = await running.call("github", "create_issue", {**REPO, "title": "x"}), writes
        except Exception:
            return
        assert answer.status == 200, answer.body
        kept[answer.json()["meta"]["run_id"]] = monotonic()
