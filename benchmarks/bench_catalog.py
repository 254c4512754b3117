"""Measures loading a catalog in a fresh process, the shipped one and one of 10,000 actions, and discovery in the large one.

    python -m benchmarks.bench_catalog [--actions 10000] [--requests 30]

The large one is imported from the descriptions in the data beside the checkout (`SKILLWAY_SHARED`), again and again under
other slugs; without that data the shipped definitions are repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.machine import cpu_seconds, peak_mb, rss_mb
from skills_catalog.descriptions.reading import read_file
from skills_catalog.importing.importer import MOST_ACTIONS, Wish, import_operations
from skills_catalog.importing.naming import action_names, slug_of
from skills_catalog.loader import SHIPPED, load_integration
from tests.conftest import SHARED
from tests.harness import RunningGateway, gateway_process

#: What loading the shipped catalog may take: seconds, and the megabytes of the whole process.
MOST_SECONDS, MOST_MB = 1.5, 150.0
_LOAD = """
import json, os, sys, time
from pathlib import Path
from benchmarks.machine import cpu_seconds, peak_mb, rss_mb
began = time.perf_counter(), cpu_seconds(os.getpid())
from skills_catalog.loader import load_catalog
catalog = load_catalog([Path(sys.argv[1])])
took = time.perf_counter() - began[0], cpu_seconds(os.getpid()) - began[1]
actions = sum(len(one.skills) for one in catalog.integrations.values())
print(json.dumps([len(catalog.integrations), actions, *took, rss_mb(os.getpid()), peak_mb(os.getpid())]))
"""


def load(folder: Path) -> tuple[float, float, str]:
    """Seconds, resident megabytes, and a line that says all of it, of a process that loads the folder and nothing else."""
    command = [sys.executable, "-c", _LOAD, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1])
    integrations, actions, seconds, cpu, resident, peak = json.loads(done.stdout)
    words = f"{integrations} integrations, {actions} actions: {seconds:.2f} s ({cpu:.2f} s of CPU), "
    return seconds, resident, words + f"{resident:.0f} MB resident, {peak:.0f} MB at most"


def write_large(folder: Path, wanted: int) -> str:
    """Definitions of so many actions. Gives where they are from."""
    specs = SHARED / "data" / "specs"
    texts = list(_imported(specs) if specs.is_dir() else _shipped())
    written = 0
    for copy in count(1):
        for slug, actions, text in texts:
            if written >= wanted:
                return "imported" if specs.is_dir() else "repeated"
            (folder / f"{slug}_{copy}.yaml").write_text(re.sub(rf"(?m)^slug: {slug}$", f"slug: {slug}_{copy}", text))
            written += actions
    raise AssertionError("count() has no end")


def _imported(specs: Path) -> Iterator[tuple[str, int, str]]:
    for file in sorted(specs.iterdir()):
        description = read_file(file)
        slug = slug_of(description)
        names = action_names(description, slug)
        made = import_operations(description, description.operations[:MOST_ACTIONS], Wish(slug=slug), names=names)
        # Those that are marked as not reviewed would be loaded, and not listed.
        text = re.sub(r"(?m)^ *lifecycle: unreviewed\n", "", made.text(f"Imported from {file.name}."))
        yield slug, len(made.actions), text


def _shipped() -> Iterator[tuple[str, int, str]]:
    for file in sorted(SHIPPED.glob("*.yaml")):
        integration = load_integration(file)
        yield integration.slug, len(integration.skills), file.read_text()


async def discover(folder: Path, definitions: Path, requests: int) -> Iterator[str]:
    """Latencies of what agents ask first, over HTTP, in a gateway that has these definitions beside the shipped ones."""
    slug = max(definitions.glob("*.yaml"), key=lambda file: file.stat().st_size).stem
    action = next(iter(load_integration(definitions / f"{slug}.yaml").skills))
    async with gateway_process(folder, definitions=definitions) as running:
        assert running.process is not None
        lines = [f"a gateway of them: {cpu_seconds(running.process.pid):.1f} s of CPU until it listens"]
        for path in (
            "/v1/skills", "/v1/skills?limit=50", f"/v1/skills/{slug}", f"/v1/skills/{slug}/{action}",
            "/v1/skills/search?q=create+an+issue", "/v1/skills/search?q=who+has+not+paid+their+invoice",
        ):  # fmt: skip
            lines.append(await _line(running, "GET", path, requests))
        listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for path in ("/mcp", f"/mcp?tools=direct&integration={slug}"):
            lines.append(await _line(running, "POST", path, requests, listed))
        pid = running.process.pid
        lines.append(f"and then {rss_mb(pid):.0f} MB resident, {peak_mb(pid):.0f} MB at most")
    return iter(lines)


async def _line(running: RunningGateway, method: str, path: str, requests: int, body: Any = None) -> str:
    headers = {"Authorization": f"Bearer {running.org.test}", "Accept": "application/json, text/event-stream"}
    taken, size = [], 0
    for _ in range(requests + 1):
        began = time.perf_counter()
        async with running.session.request(method, running.url + path, json=body, headers=headers) as response:
            content = await response.read()
        taken.append((time.perf_counter() - began) * 1000)
        if response.status != 200:
            raise SystemExit(f"{method} {path} was answered {response.status}: {content[:200]!r}")
        size = len(content)
    first, *rest = taken
    cuts: Sequence[float] = quantiles(rest, n=100, method="inclusive")
    shown = f"{method} {path}" + (" tools/list" if body else "")
    return f"  {shown:<62} first {first:6.1f} ms, p50 {cuts[49]:6.1f}, p99 {cuts[98]:6.1f}  {size / 1000:7.1f} kB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=30)
    options = parser.parse_args()
    seconds, resident, words = load(SHIPPED)
    good = seconds <= MOST_SECONDS and resident <= MOST_MB
    print(f"shipped:  {words}  ({'within' if good else 'over'} {MOST_SECONDS:g} s and {MOST_MB:g} MB)")
    with tempfile.TemporaryDirectory() as folder:
        definitions = Path(folder) / "definitions"
        definitions.mkdir()
        source = write_large(definitions, options.actions)
        print(f"{source}: {load(definitions)[2]}")
        print(*asyncio.run(discover(Path(folder), definitions, options.requests)), sep="\n")


if __name__ == "__main__":
    main()
