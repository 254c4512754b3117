"""Processes killed with -9 while they carry out calls: the short form of `python -m tests.crash.calls`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.crash.calls import crash


async def test_nothing_accepted_is_lost_and_nothing_is_done_twice(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    processes = 2 if database_setting else 1
    figures = await crash(tmp_path, kills=4, processes=processes, database=database_setting)
    assert figures["kills"] == 4 and figures["reached_the_upstream"] > 20, figures
