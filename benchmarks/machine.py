"""What the kernel says of processes and of the machine: CPU time, memory, cores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where things run: the measured process on one core, load and upstream on another where there is one."""

    measured: int
    others: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1] if len(usable) > 1 else usable[0])

    @property
    def apart(self) -> bool:
        return self.measured != self.others


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living descendants, with that of the dead they waited for."""
    ticks = 0
    for one in family(pid):
        fields = _stat(one)
        ticks += sum(int(field) for field in fields[11:15])
    return ticks * TICK


def busy_seconds() -> float:
    """What all cores did since boot, in seconds of CPU: user, nice, system, irq, softirq, steal."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[n]) for n in (0, 1, 2, 5, 6, 7)) * TICK


def rss_mb(pid: int) -> float:
    return sum(_status(one, "VmRSS") for one in family(pid)) / 1024


def forget_peak(pid: int) -> None:
    """Lets `peak_mb` begin anew (proc(5), clear_refs)."""
    for one in family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    return sum(_status(one, "VmHWM") for one in family(pid)) / 1024


def _stat(pid: int) -> list[str]:
    # The name in parentheses may hold spaces.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
