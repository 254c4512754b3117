"""An installation as its operator has it: a folder, an environment, and the commands as child processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness import LOOPBACK, ROOT, Org, RunningGateway

MISCONFIGURED = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Runs `skillway …` in a folder of its own, where `./data` and `./skills.yaml` are the defaults."""

    folder: Path
    environ: Mapping[str, str]

    @classmethod
    def at(cls, folder: Path, **settings: str) -> Operator:
        folder.mkdir(exist_ok=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SKILLWAY_")}
        environ |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "HOME": str(folder), "COLUMNS": "200"}
        return cls(folder=folder, environ=environ).with_settings(allowed_private_networks=LOOPBACK, **settings)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def database(self) -> Path:
        return self.data / "skillway.db"

    def with_settings(self, **settings: str | None) -> Operator:
        """The same with settings by their lower-case names; None takes one away."""
        environ = dict(self.environ)
        for name, value in settings.items():
            if value is None:
                environ.pop(f"SKILLWAY_{name.upper()}", None)
            else:
                environ[f"SKILLWAY_{name.upper()}"] = value
        return replace(self, environ=environ)

    def run(self, *words: str, given: str = "") -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words],
            check=False,
            input=given.encode(),
            capture_output=True,
            cwd=self.folder,
            env=self.environ,
            timeout=60,
        )
        return Done(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    def done(self, *words: str, given: str = "") -> Done:
        """Runs a command that must succeed."""
        done = self.run(*words, given=given)
        assert done.code == 0, (words, done)
        return done

    async def later(self, *words: str, given: str = "") -> Done:
        """Runs a command beside what else this test serves."""
        return await asyncio.to_thread(self.run, *words, given=given)

    def init(self) -> Org:
        made = self.done("init").json()
        return Org(id=made["org"]["id"], live=made["live_key"], test=made["test_key"])

    @asynccontextmanager
    async def serving(self, org: Org, *words: str) -> AsyncIterator[RunningGateway]:
        """`skillway serve` until the block ends; its log is `folder/log`."""
        given = () if "--port" in words else ("--port", "0")
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", *given, *words,
                cwd=self.folder, env=self.environ, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        try:
            assert process.stdout is not None
            said = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
            assert said.startswith("listening on http://"), (said, self.log())
            async with aiohttp.ClientSession() as session:
                url = said.removeprefix("listening on ").strip()
                yield RunningGateway(url=url, org=org, session=session, data_dir=self.data, process=process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), 15)
                except TimeoutError:
                    process.kill()
                    await process.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()
