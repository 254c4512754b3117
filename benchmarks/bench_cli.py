"""Measures how soon a command of an agent answers: from its start to the first byte on stdout, on a pipe.

    python -m benchmarks.bench_cli [--rounds 20]

A gateway with the shipped catalog answers on the same machine, with a test key, so that its own time is in the figure.
What an empty Python needs stands beside it: the machine's share.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.harness import gateway_process

#: Milliseconds that the median may take (on two cores).
MOST = 250.0
COMMANDS = {
    "skillway skills": ("skills",),
    "skillway skills --search": ("skills", "--search", "open an issue"),
    "skillway skills github create_issue": ("skills", "github", "create_issue"),
    "skillway run": ("run", "github", "create_issue", "--repo", "acme/webapp", "--title", "Bug report"),
    "skillway help": ("help",),
}


def first_byte(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Milliseconds until the first byte came; the command has to end well."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        took = (time.perf_counter() - began) * 1000
        process.stdout.read()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return took


def measure(url: str, key: str, rounds: int) -> dict[str, list[float]]:
    """The figures of each command, taken in turns so that a busy moment hits all alike."""
    skillway = str(Path(sys.executable).with_name("skillway"))
    commands: dict[str, Sequence[str]] = {"python -c 'print()'": (sys.executable, "-c", "print()")}
    commands |= {name: (skillway, *words) for name, words in COMMANDS.items()}
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "SKILLWAY_URL": url, "SKILLWAY_API_KEY": key}
    figures: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            took = first_byte(command, environment)
            # The first time fills the disk's cache and writes what Python compiles.
            if number:
                figures[name].append(took)
    return figures


async def run(rounds: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_process(Path(folder)) as running:
            return await asyncio.to_thread(measure, running.url, running.org.test, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=20)
    for name, taken in asyncio.run(run(parser.parse_args().rounds)).items():
        middle = median(taken)
        verdict = f"({'within' if middle <= MOST else 'over'} {MOST:g})" if name.startswith("skillway") else ""
        print(f"{name:<40} median {middle:5.0f} ms, slowest {max(taken):5.0f} ms  {verdict}".rstrip())


if __name__ == "__main__":
    main()
