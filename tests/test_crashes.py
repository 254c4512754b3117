"""Processes killed with -9 while they carry out calls, and one under load: short forms of `tests.crash.calls` and `soak`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash.calls import crash
from tests.crash.process import PROGRAM
from tests.crash.soak import Growth, Sample, soak


@pytest.mark.failure("R01", "R03")
async def test_nothing_accepted_is_lost_and_nothing_is_done_twice(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    processes = 2 if database_setting else 1
    figures = await crash(tmp_path, kills=4, processes=processes, program=PROGRAM, database=database_setting)
    assert figures["kills"] == 4 and figures["reached_the_upstream"] > 20, figures


@pytest.mark.failure("R34")
async def test_mixed_load_is_answered_as_it_should_be_and_leaves_no_file_open(tmp_path: Path) -> None:
    figures = await soak(tmp_path, seconds=2, pause=0.01)
    assert sum(figures["answers"].values()) > 50 and len(figures["answers"]) > 8
    assert figures["files_last"] - figures["files_first"] <= 4 and figures["log_most_mb"] < 64


@pytest.mark.failure("R34")
@pytest.mark.parametrize(
    ("a_minute", "faults"),
    [
        ({}, []),
        ({"rss_mb": 0.09}, []),
        ({"rss_mb": 0.2}, ["memory grows by 2.0 MB in ten minutes"]),
        ({"files": 1}, ["open files went from 36 to 74"]),
        ({"log_mb": 1.0}, ["the log had 69.0 MB"]),
    ],
)
def test_what_grows_is_told(a_minute: dict[str, float], faults: list[str]) -> None:
    samples = [
        Sample(
            at=60.0 * minute,
            rss_mb=90 + a_minute.get("rss_mb", 0) * minute,
            files=20 + int(a_minute.get("files", 0) * minute),
            log_mb=10 + a_minute.get("log_mb", 0) * minute,
        )
        for minute in range(60)
    ]
    assert Growth.of(samples).faults() == faults
