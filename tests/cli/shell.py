"""Runs the command as a child process, with pipes or on a terminal, and gives back what came out of it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .gateway_fake import KEY

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "gateway.cli.main")
INTERRUPT = "\x03"
#: Makes stdin the terminal that rules the process, so that Ctrl-C means something, and becomes the command.
RULED_BY_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Where and with what environment commands run."""

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def at(cls, base: Path, *, url: str) -> Shell:
        folder = base / "here"
        folder.mkdir()
        environment = {
            "HOME": str(base),
            "XDG_CONFIG_HOME": str(base / "config"),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "BROWSER": "/nonexistent/browser",
            "SKILLWAY_URL": url,
            "SKILLWAY_API_KEY": KEY,
        }
        return cls(folder=folder, environment=environment)

    @property
    def config(self) -> Path:
        return Path(self.environment["XDG_CONFIG_HOME"]) / "skillway" / "config.json"

    def with_environment(self, **values: str | None) -> Shell:
        merged = {**self.environment, **values}
        return replace(self, environment={name: value for name, value in merged.items() if value is not None})

    def run(self, *words: str | bytes, given: bytes = b"") -> Done:
        done = subprocess.run(
            [*COMMAND, *words],
            check=False,
            input=given,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            timeout=60,
        )
        return Done(code=done.returncode, out=done.stdout, err=done.stderr.decode())

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
        )

    def on_terminal(self, *words: str, typed: str = "", prompt: str = "", columns: int = 100) -> Done:
        """Runs with stdin, stdout and stderr on one terminal; types once the prompt stands there."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = subprocess.Popen(
            [sys.executable, "-c", RULED_BY_TERMINAL, *COMMAND, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            shown = _read_all(ours, typed, prompt)
            code = child.wait(timeout=10)
        finally:
            child.kill()
            child.wait()
            os.close(ours)
        return Done(code=code, out=shown.replace(b"\r\n", b"\n"), err="")


def without_colour(shown: bytes) -> str:
    return re.sub(rb"\x1b\[[0-9;]*[mK]", b"", shown).decode()


def interrupt(child: subprocess.Popen[bytes]) -> Done:
    """Sends what Ctrl-C sends, to this child alone."""
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    return Done(code=child.returncode, out=out, err=err.decode())


def _read_all(terminal: int, typed: str, prompt: str) -> bytes:
    shown, deadline, waiting = b"", time.monotonic() + 60, bool(typed)
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if not ready:
            if typed == INTERRUPT and not waiting:
                # It came between the prompt and the reading of a line, where no program hears it. A person presses again.
                os.write(terminal, typed.encode())
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            # Linux says EIO when the other side has closed.
            break
        if not part:
            break
        shown += part
        if waiting and prompt.encode() in shown:
            os.write(terminal, typed.encode())
            waiting = False
    return shown
