"""What a large answer costs a gateway's process, and that all of it can be read afterwards."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from benchmarks.machine import forget_peak, peak_mb, rss_mb
from tests.harness import RunningGateway
from tests.workshop import Workshop, workshop

MB = 1024 * 1024
#: Over the body itself.
MOST = 32


def records() -> bytes:
    text = os.urandom(250).hex()
    return json.dumps({"items": [{"id": number, "text": text} for number in range(39_000)]}).encode()


def numbers() -> bytes:
    return b'{"items":[' + b",".join([b"%d" % (number % 10) for number in range(10_200_000)]) + b"]}"


def letters_beyond_ascii() -> bytes:
    text = "😀 größer " + os.urandom(250).hex()
    return json.dumps({"items": [{"text": text} for _ in range(38_000)]}, ensure_ascii=False).encode()


@pytest.mark.failure("R28", "R29")
@pytest.mark.parametrize("made", [records, numbers, letters_beyond_ascii])
async def test_twenty_megabytes_are_cut_in_bounded_memory_and_every_byte_is_in_reach(
    tmp_path: Path, made: Callable[[], bytes]
) -> None:
    raw = made()
    items = json.loads(raw)["items"]
    assert len(raw) > 20_000_000
    async with workshop(tmp_path, replicas=1) as ((running,), upstream):
        await running.connect("shop", {"token": "secret-of-the-shop"})
        # Once before, so that what stays for good is there.
        await cut(running, upstream, json.dumps({"items": ["x" * 100] * 100}).encode())
        assert running.process is not None
        pid = running.process.pid
        before = rss_mb(pid)
        forget_peak(pid)
        waited = asyncio.create_task(longest_wait(running))
        body = await cut(running, upstream, raw)
        waited.cancel()
        # Others are answered meanwhile; what a busy machine adds is left room for.
        assert await waited < 5
        assert peak_mb(pid) - before < len(raw) / MB + MOST
        kept = len(body["data"]["items"])
        assert body["data"]["items"] == items[:kept] and body["meta"]["total"] == len(items)
        # Its body is on the disk: neither the call nor the idle connection that brought it holds on to it.
        assert rss_mb(pid) - before < len(raw) / MB
        while kept < len(items):
            # Of ten million numbers the first and the last: all of them, piece by piece, would take minutes.
            limit = 100_000 if made is records else 2_000
            path = f"/v1/results/{body['meta']['result_id']}?path=/items&offset={kept}&limit={limit}"
            page = (await running.ask("GET", path)).json()
            assert page["data"] == items[kept : kept + len(page["data"])] and page["data"]
            kept += len(page["data"])
            assert page.get("next") == (kept if kept < len(items) else None)
            if made is not records:
                kept = max(kept, len(items) - 1_000) if kept < len(items) else kept
        assert peak_mb(pid) - before < len(raw) / MB + MOST


async def test_an_object_of_very_many_members_is_read_member_by_member(tmp_path: Path) -> None:
    whole = {f"/{number}~": [number] for number in range(40_000)} | {"large": "x" * 300_000}
    async with workshop(tmp_path) as (running, upstream):
        body = await cut(running, upstream, json.dumps(whole).encode())
        assert body["data"]["$omitted"] == ""
        path = f"/v1/results/{body['meta']['result_id']}"
        seen: dict[str, Any] = {}
        following: int | None = 0
        while following is not None:
            page = (await running.ask("GET", f"{path}?offset={following}&limit=100000")).json()
            assert page["total"] == len(whole)
            for one in page["data"]:
                seen |= one if "$omitted" not in one else {"large": one}
            following = page.get("next")
        large = seen.pop("large")
        assert seen == {name: value for name, value in whole.items() if name != "large"}
        assert large["$omitted"] == "/large" and large["bytes"] > 300_000
        assert (await running.ask("GET", f"{path}?path=/~139999~0")).json()["data"] == [39_999]
        letters = (await running.ask("GET", f"{path}?path=/large&limit=100000")).json()
        assert letters["total"] == 300_000 and set(letters["data"][0]) == {"x"}


async def longest_wait(running: RunningGateway) -> float:
    """Seconds that one of many small requests took at most, until it is cancelled."""
    longest = 0.0
    try:
        while True:
            began = monotonic()
            assert (await running.ask("GET", "/healthz", key="")).status == 200
            longest = max(longest, monotonic() - began)
    except asyncio.CancelledError:
        return longest


async def cut(running: RunningGateway, upstream: Workshop, raw: bytes) -> Any:
    """What a caller gets of it who can take 4,000 bytes."""
    upstream.answers["/look"] = raw
    answer = await running.call("shop", "look", max_bytes=4000)
    assert answer.status == 200 and len(answer.body) < 4000
    body = answer.json()
    assert body["meta"]["truncated"] is True
    return body
