"""Programs of others in virtual environments of their own, since their packages do not go together with ours."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fakes.npm import CACHE, locked

_UV = Path(sys.executable).with_name("uv")


class PipFailed(RuntimeError):
    """The packages cannot be had; the message says why."""


def python_with(requirements: Path) -> Path:
    """A Python that has the packages of a requirements file, installed now if they are not there. Raises `PipFailed`."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"venv-{requirements.stem}-{digest}"
    python, whole = folder / "bin" / "python", folder / "whole"
    if whole.exists():
        return python
    with locked(CACHE / f"venv-{requirements.stem}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            # Ten times as fast as venv and pip: it unpacks side by side, and compiles nothing that nobody imports.
            _done([str(_UV), "venv", "-q", "--python", sys.executable, str(folder)])
            _done([str(_UV), "pip", "install", "-q", "--python", str(python), "-r", str(requirements)])
            whole.touch()
    return python


def _done(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired as late:
        raise PipFailed(f"{words[1]} took more than five minutes") from late
    if done.returncode != 0:
        raise PipFailed(f"{' '.join(words[1:4])} failed: {done.stderr[-1000:]}")
