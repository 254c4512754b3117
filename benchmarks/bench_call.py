"""Measures a whole call next to a plain nginx proxy of the same request, in one interleaved run.

    python -m benchmarks.bench_call [--rounds 5] [--seconds 3] [--json FILE]

The figure that counts is CPU microseconds per call of the gateway's processes, as a ratio to nginx in the same
round. Requests per second and latencies move with the machine's neighbours; the run says when they disturbed it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from benchmarks import servers
from benchmarks.machine import Cores, busy_seconds, cpu_seconds, forget_peak, peak_mb, rss_mb

HERE = Path(__file__).resolve().parent
CONNECTIONS = 16
IDLE = 1000
#: Body of every call, about 210 bytes on both sides.
PARAMS = {"text": "t" * 165, "count": 42}
#: A run is void where the reference itself moves further than this from its median, or others use more CPU.
MAX_RANGE = 0.15
MAX_FOREIGN = 0.15
#: What `performance.md` calls the levels of a small and of a large answer.
LEVELS = {"small": {"must": 16.0, "goal": 10.0, "moonshot": 6.0}, "large": {"must": 12.0, "goal": 8.0, "moonshot": 5.0}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something under load: whose CPU is counted, and what is asked."""

    name: str
    pid: int
    url: str
    #: The target that the ratio is made to; None for a reference itself.
    reference: str | None = None
    level: str | None = None
    body: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One target for some seconds."""

    rps: float
    mb_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    foreign: float


@dataclass(slots=True, kw_only=True)
class Results:
    """All that was measured."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    stream: dict[str, float] = field(default_factory=dict)

    def ratios(self, target: Target) -> list[float]:
        pairs = zip(self.rounds[target.name], self.rounds[target.reference or target.name], strict=True)
        return [one.cpu_us / other.cpu_us for one, other in pairs]

    def void(self, target: Target) -> list[str]:
        """Why the figures of this target are not to be believed."""
        reference = [one.cpu_us for one in self.rounds[target.reference or target.name]]
        middle = median(reference)
        reasons = []
        if max(abs(value / middle - 1) for value in reference) > MAX_RANGE:
            reasons.append(f"nginx itself ranged {min(reference):.1f} to {max(reference):.1f} µs")
        foreign = median(one.foreign for one in self.rounds[target.name])
        if foreign > MAX_FOREIGN:
            reasons.append(f"others used {foreign:.0%} of the CPU")
        return reasons


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load, per target and round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args(arguments)
    _raise_file_limit()
    started = time.monotonic()
    with _everything() as (targets, gateway, streams, key):
        results = Results()
        _memory(results, gateway, key)
        for target in targets:
            _load(target, 1)
        for number in range(options.rounds):
            _say(f"round {number + 1} of {options.rounds}")
            for target in targets:
                results.rounds.setdefault(target.name, []).append(_load(target, options.seconds))
        _stream(results, streams, gateway)
        results.memory["after the load"] = rss_mb(gateway.pid)
    print(_table(targets, results))
    print(f"{time.monotonic() - started:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(_document(targets, results, options), indent=1) + "\n")
    return 0


@contextmanager
def _everything() -> Iterator[tuple[list[Target], servers.Server, list[Target], str]]:
    """All servers up: the targets of the rounds, the gateway, the targets of the stream, the key."""
    cores = Cores.of_this_machine()
    if not cores.apart:
        _say("only one core: load, upstream and what is measured share it")
    # The load runs where the upstream does; wrk inherits this.
    os.sched_setaffinity(0, {cores.others})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream = stack.enter_context(servers.upstream_nginx(folder / "upstream", cores.others))
        nginx = stack.enter_context(servers.proxy_nginx(folder / "nginx", cores.measured, upstream))
        gateway, key = stack.enter_context(servers.gateway(folder / "gateway", cores.measured, upstream))
        body = json.dumps({"params": PARAMS})

        def ours(name: str, action: str, reference: str, level: str) -> Target:
            url = f"{gateway.url}/v1/bench/{action}"
            return Target(name=name, pid=gateway.pid, url=url, reference=reference, level=level, body=body, key=key)

        yield (
            [
                Target(name="nginx", pid=nginx.pid, url=f"{nginx.url}/small", body=body),
                ours("read", "read_small", "nginx", "small"),
                ours("create", "create_small", "nginx", "small"),
                Target(name="nginx 20 KB", pid=nginx.pid, url=f"{nginx.url}/large.json"),
                ours("read 20 KB", "read_large", "nginx 20 KB", "large"),
            ],
            gateway,
            [
                Target(name="nginx", pid=nginx.pid, url=f"{nginx.url}/file.bin"),
                Target(
                    name="gateway", pid=gateway.pid, url=f"{gateway.url}/v1/bench/download?raw=1", body="{}", key=key
                ),
            ],
            key,
        )


def _load(target: Target, seconds: int, connections: int = CONNECTIONS) -> Round:
    wrk = [servers.find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "load.lua"), target.url]
    environment = dict(os.environ)
    if target.body is not None:
        environment |= {"BENCH_METHOD": "POST", "BENCH_BODY": target.body}
    if target.key is not None:
        environment["BENCH_KEY"] = target.key
    before = _Clocks.now(target.pid)
    done = subprocess.run(wrk, env=environment, capture_output=True, text=True, check=True)
    after = _Clocks.now(target.pid)
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[7:])
    if told["errors"] or not told["requests"]:
        raise SystemExit(f"{target.name}: {told['errors']} of {told['requests']} requests failed")
    return Round(
        rps=told["requests"] / told["seconds"],
        mb_per_s=told["bytes"] / told["seconds"] / 1e6,
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        cpu_us=(after.target - before.target) / told["requests"] * 1e6,
        foreign=after.foreign_since(before),
    )


@dataclass(frozen=True, slots=True)
class _Clocks:
    """CPU clocks at one moment: the target's, everything of ours, the whole machine's; and the wall's."""

    target: float
    ours: float
    machine: float
    wall: float

    @classmethod
    def now(cls, pid: int) -> _Clocks:
        # Everything that the bench started is a child of this process.
        waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = cpu_seconds(os.getpid()) - sum(_waited(os.getpid()))
        ours = running + waited_for.ru_utime + waited_for.ru_stime
        return cls(cpu_seconds(pid), ours, busy_seconds(), time.monotonic())

    def foreign_since(self, before: _Clocks) -> float:
        """The share of all cores that somebody else used."""
        foreign = (self.machine - before.machine) - (self.ours - before.ours)
        return max(0.0, foreign / (self.wall - before.wall) / (os.cpu_count() or 1))


def _waited(pid: int) -> list[float]:
    """What the kernel adds to our own line for children that have ended; counted finer by getrusage."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) / os.sysconf("SC_CLK_TCK") for field in fields[13:15]]


def _memory(results: Results, gateway: servers.Server, key: str) -> None:
    _say("memory")
    results.memory["idle"] = rss_mb(gateway.pid)
    body = json.dumps({"params": PARAMS}).encode()
    host = urlsplit(gateway.url)
    head = (
        f"POST /v1/bench/read_small HTTP/1.1\r\nHost: {host.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        for _ in range(IDLE):
            client = stack.enter_context(socket.create_connection((host.hostname or "", host.port or 0)))
            client.sendall(head + body)
            if not client.recv(65536).startswith(b"HTTP/1.1 200 "):
                raise SystemExit("a call over one of the idle connections failed")
        results.memory[f"with {IDLE} idle connections"] = rss_mb(gateway.pid)


def _stream(results: Results, streams: list[Target], gateway: servers.Server) -> None:
    _say(f"{servers.FILE_MB} MB streams")
    figures: dict[str, list[float]] = {}
    for target in streams:
        _load(target, 1, connections=1)
    before = rss_mb(gateway.pid)
    forget_peak(gateway.pid)
    for _ in range(3):
        for target in streams:
            figures.setdefault(target.name, []).append(_load(target, 2, connections=1).mb_per_s)
    results.stream["gateway MB/s"] = median(figures["gateway"])
    results.stream["nginx MB/s"] = median(figures["nginx"])
    results.stream["share of nginx"] = median(
        ours / other for ours, other in zip(figures["gateway"], figures["nginx"], strict=True)
    )
    results.stream["RSS growth MB"] = max(0.0, peak_mb(gateway.pid) - before)


# What is shown


def _table(targets: list[Target], results: Results) -> str:
    lines = [_row("", "req/s", "p50 ms", "p99 ms", "CPU µs/call", "x nginx (min-max)", "foreign", "level")]
    for target in targets:
        rounds = results.rounds[target.name]

        def middle(value: Callable[[Round], float], rounds: list[Round] = rounds) -> float:
            return median(map(value, rounds))

        costs = [one.cpu_us for one in rounds]
        ratios = results.ratios(target)
        lines.append(
            _row(
                target.name,
                f"{middle(lambda one: one.rps):,.0f}",
                f"{middle(lambda one: one.p50_ms):.2f}",
                f"{middle(lambda one: one.p99_ms):.2f}",
                f"{median(costs):.1f} ({min(costs):.0f}-{max(costs):.0f})",
                "1" if target.reference is None else f"{median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})",
                f"{middle(lambda one: one.foreign):.0%}",
                _level(target, median(ratios)),
            )
        )
    lines.append("")
    for target in targets:
        lines += [f"VOID {target.name}: {reason}" for reason in results.void(target)]
    lines += [f"RSS {name}: {value:.0f} MB" for name, value in results.memory.items()]
    lines += [f"stream, {name}: {value:.2f}" for name, value in results.stream.items()]
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, (12, 8, 8, 8, 20, 18, 8, 9), strict=True)).rstrip()


def _level(target: Target, ratio: float) -> str:
    """The best level that the ratio reaches."""
    if target.level is None:
        return ""
    reached = [name for name, limit in LEVELS[target.level].items() if ratio <= limit]
    return reached[-1] if reached else "missed"


def _document(targets: list[Target], results: Results, options: argparse.Namespace) -> Mapping[str, Any]:
    return {
        "machine": {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": CONNECTIONS,
        "targets": {
            target.name: {
                "rounds": [asdict(one) for one in results.rounds[target.name]],
                "ratios": results.ratios(target) if target.reference else None,
                "ratio": median(results.ratios(target)) if target.reference else None,
                "level": _level(target, median(results.ratios(target))) or None,
                "void": results.void(target),
            }
            for target in targets
        },
        "memory_mb": results.memory,
        "stream": results.stream,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
