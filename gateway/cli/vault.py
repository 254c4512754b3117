"""`skillway vault`: the keys that seal credentials, their use, their rotation while the gateway runs."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from gateway.cli import output
from gateway.cli.operator import print_json, run, settings_of, settings_options
from gateway.installation import Opened, open_installation
from gateway.store.sealed_values import SqlSealedValues

#: Seconds in which every running gateway has learned of a new data key.
_LEARNED = 6.0


@click.group()
def vault() -> None:
    """Look after the keys that seal credentials."""


@vault.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def status(as_json: bool, **flags: Any) -> None:
    """Show the data keys, and how many values each one seals.

    \b
    skillway vault status
    """
    settings, _ = settings_of(**flags)

    async def work() -> dict[str, Any]:
        async with open_installation(settings) as opened:
            return await _status(opened)

    found = run(work())
    if not output.for_people(as_json):
        print_json(found)
        return
    print(f"master key {found['master_key']}")
    output.table(
        ("data key", "state", "values"),
        [(key["id"], key["state"], str(key["values"])) for key in found["data_keys"]],
    )


@vault.command()
@settings_options
def rotate(**flags: Any) -> None:
    """Make a new data key and seal every value under it, while the gateway runs.

    To change the master key: set SKILLWAY_MASTER_KEY to the new and SKILLWAY_MASTER_KEY_PREVIOUS to the
    present one; the next start or command wraps the data keys anew.

    \b
    skillway vault rotate
    """
    settings, _ = settings_of(**flags)

    async def work() -> dict[str, Any]:
        async with open_installation(settings) as opened:
            key_id = await opened.vault.ring.rotate()
            moved = await _move_all(opened)
            # A gateway that runs may seal under the old key until it has learned of the new one.
            if moved:
                await asyncio.sleep(_LEARNED)
                moved += await _move_all(opened)
            counts = await SqlSealedValues(opened.database).counts()
            for key in opened.vault.ring.keys:
                if not key.primary and key.retired_at is None and not counts.get(key.id):
                    await opened.vault.ring.retire(key.id, needed_by=0)
            return {"primary": key_id, "moved": moved, "left": sum(n for k, n in counts.items() if k != key_id)}

    done = run(work())
    print_json(done)
    if done["left"]:
        output.warn(f"{done['left']} values are still under an older key; run it again.")
        raise SystemExit(1)


async def _move_all(opened: Opened) -> int:
    """Seals every value under the primary key. A value that changes meanwhile is left to the next pass."""
    values, moved = SqlSealedValues(opened.database), 0
    counts = await values.counts()
    total = sum(counts.values())
    async for batch in values.batches():
        for value in batch:
            place = {"org": value.org, "table": value.table, "row": value.row, "column": value.column}
            fresh = opened.vault.reseal(value.blob, **place)
            if fresh is not None and await values.swap(value, fresh):
                moved += 1
        if sys.stderr.isatty():
            output.note(f"{moved} of {total} values")
    return moved


async def _status(opened: Opened) -> dict[str, Any]:
    counts = await SqlSealedValues(opened.database).counts()
    keys = [
        {
            "id": key.id,
            "state": "primary" if key.primary else "retired" if key.retired_at is not None else "old",
            "values": counts.get(key.id, 0),
        }
        for key in opened.vault.ring.keys
    ]
    return {"master_key": opened.master.fingerprint, "data_keys": keys, "damaged": counts.get("damaged", 0)}
