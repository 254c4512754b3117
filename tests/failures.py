"""What may fail around a gateway, by number, and which tests show what must be true then.

A test says which rows it shows by `@pytest.mark.failure("R08")`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

#: Row -> what fails. The numbers are used in issues and commits, and never given away again.
ROWS = {
    "R01": "kill -9 at any moment",
    "R02": "power cut with SQLite",
    "R03": "kill -9 of one of several processes on one database",
    "R04": "disk full",
    "R05": "disk that fails to sync",
    "R06": "database locked by another process",
    "R07": "database file damaged",
    "R08": "PostgreSQL stopped, hung, back",
    "R09": "answer to a COMMIT lost",
    "R10": "pooler in transaction mode before PostgreSQL",
    "R11": "Valkey stopped, hung, full, read-only, flushed",
    "R12": "Valkey flushed under load",
    "R13": "upstream that hangs, breaks off, drips or sends rubbish",
    "R14": "upstream that says 429 and when to come back",
    "R15": "upstream that is down for a while",
    "R16": "kept connections that the upstream has closed",
    "R17": "token that ends while calls are made",
    "R18": "two processes that refresh one token",
    "R19": "two processes that carry out one run or delivery",
    "R20": "SIGTERM with calls in flight",
    "R21": "SIGTERM between a provider's answer and our commit",
    "R22": "replicas restarted one after the other",
    "R23": "old and new version on one database",
    "R24": "migration killed half-way",
    "R25": "clock that jumps, and clocks that disagree",
    "R26": "start with much to catch up on",
    "R27": "more connections than descriptors",
    "R28": "more bodies than memory",
    "R29": "work that keeps the event loop from others",
    "R30": "threads all taken",
    "R31": "run or delivery that ends every process that takes it up",
    "R32": "webhook's endpoint down for days",
    "R33": "backup under load, restored elsewhere",
    "R34": "hours of load",
    "R35": "two gateways on one SQLite file",
    "R36": "SQLite on a network file system",
}


def shown(folder: Path) -> dict[str, list[str]]:
    """Row -> the tests below `folder` that say they show it, as `file::test`. Read, not imported."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("test_*.py")):
        for test in ast.parse(file.read_text()).body:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                for row in _rows(test):
                    found.setdefault(row, []).append(f"{file.relative_to(folder)}::{test.name}")
    return found


def _rows(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.failure":
            yield from (ast.literal_eval(argument) for argument in decorator.args)
