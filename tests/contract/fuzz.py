"""Tries the description out: requests that fit it, requests that do not, and whether the answers are what it says.

`python -m tests.contract.fuzz` is the long form, over the whole shipped catalog and with another seed each time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness import ROOT, RunningGateway, gateway_process

CONFIG = Path(__file__).with_name("schemathesis.toml")
#: Seconds after which the long form ends.
LONG = 1800


async def fuzz(
    running: RunningGateway, folder: Path, *, maker: str, grant: Mapping[str, Any], options: Sequence[str]
) -> tuple[int, str]:
    """Runs schemathesis with a key of this grant, made by the key `maker`; gives back its exit code and all it said."""
    made = await running.ask("POST", "/api-keys", key=maker, body={"name": "fuzz", **grant})
    assert made.status == 201, made.body
    key = made.json()
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run"),
        f"{running.url}/openapi.json",
        *("--header", f"Authorization: Bearer {key['full_key']}", "--no-color"),
        *options,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "FUZZ_KEY_ID": key["api_key"]["id"],
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    still = await running.ask("GET", "/v1/verify", key=key["full_key"])
    assert still.status == 200, "the key was lost on the way, and nothing was tried after that"
    return process.returncode, said.decode()


async def main() -> int:
    seed = secrets.randbelow(2**31)
    options = ["--max-examples", "200", "--seed", str(seed), "--max-time", str(LONG), "--continue-on-failure"]
    with tempfile.TemporaryDirectory() as folder:
        async with gateway_process(Path(folder)) as running:
            code, said = await fuzz(running, Path(folder), maker=running.org.test, grant={}, options=options)
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
