"""Tries the description out: requests that fit it, requests that do not, and whether the answers are what it says.

`python -m tests.contract.fuzz` is the long form, over the whole shipped catalog and with another seed each time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.harness import ROOT, RunningGateway, gateway_process

CONFIG = Path(__file__).with_name("schemathesis.toml")
#: Seconds after which the long form ends.
LONG = 1800


async def fuzz(running: RunningGateway, folder: Path, *, allow: Sequence[str], options: Sequence[str]) -> tuple[int, str]:
    """Runs schemathesis with a test key for these actions; gives back its exit code and all that it said."""
    made = await running.ask("POST", "/api-keys", key=running.org.test, body={"name": "fuzz", "allow": list(allow)})
    assert made.status == 201, made.body
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run"),
        f"{running.url}/openapi.json",
        *("--header", f"Authorization: Bearer {made.json()['full_key']}", "--no-color"),
        *options,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def main() -> int:
    seed = secrets.randbelow(2**31)
    options = ["--max-examples", "200", "--seed", str(seed), "--max-time", str(LONG), "--continue-on-failure"]
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_process(Path(folder)) as running:
            code, said = await fuzz(running, Path(folder), allow=["*"], options=options)
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
