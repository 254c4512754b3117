"""The benchmark's arithmetic: ratios per round, levels, and when a run is not to be believed."""

import os
import subprocess

import pytest

from benchmarks.bench_call import Results, Round, Target, _level, _table
from benchmarks.machine import cpu_seconds, family, rss_mb

NGINX = Target(name="nginx", pid=1, url="")
OURS = Target(name="read", pid=2, url="", reference="nginx", level="small")


def rounds(*costs: float, foreign: float = 0.0) -> list[Round]:
    return [Round(rps=1, mb_per_s=1, p50_ms=1, p99_ms=1, cpu_us=cost, foreign=foreign) for cost in costs]


def test_the_ratio_is_made_within_each_round() -> None:
    results = Results(rounds={"nginx": rounds(10, 20, 40), "read": rounds(100, 100, 100)})
    assert results.ratios(OURS) == [10, 5, 2.5]
    assert "5.0 (2.5-10.0)" in _table([NGINX, OURS], results)


@pytest.mark.parametrize(
    ("ratio", "level"), [(5.9, "moonshot"), (6.1, "goal"), (10, "goal"), (16, "must"), (16.1, "missed")]
)
def test_the_level_is_the_best_that_is_reached(ratio: float, level: str) -> None:
    assert _level(OURS, ratio) == level


@pytest.mark.parametrize(
    ("nginx", "foreign", "void"),
    [
        ((100, 110, 90), 0.1, False),
        ((100, 116, 100), 0.0, True),
        ((100, 84, 100), 0.0, True),
        ((100, 100, 100), 0.2, True),
    ],
)
def test_a_run_is_void_where_nginx_wandered_or_others_were_busy(
    nginx: tuple[float, ...], foreign: float, void: bool
) -> None:
    results = Results(rounds={"nginx": rounds(*nginx), "read": rounds(500, 500, 500, foreign=foreign)})
    assert bool(results.void(OURS)) is void
    assert ("VOID read" in _table([NGINX, OURS], results)) is void


def test_a_process_is_measured_with_its_children() -> None:
    before = cpu_seconds(os.getpid())
    child = subprocess.Popen(["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 60"])
    try:
        while cpu_seconds(child.pid) == 0:
            pass
        assert child.pid in family(os.getpid())
        assert cpu_seconds(os.getpid()) > before
        assert rss_mb(child.pid) > 0.1
    finally:
        child.kill()
        child.wait()
