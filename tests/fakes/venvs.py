"""Programs of others in virtual environments of their own, since their packages do not go together with ours."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fakes.npm import CACHE, locked

# Of the thousands of modules that come along few are ever imported: compiling them all takes longer than the rest.
_QUICK = ("-q", "--disable-pip-version-check", "--no-compile")


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
            _done([sys.executable, "-m", "venv", str(folder)])
            _done([str(python), "-m", "pip", "install", *_QUICK, "-r", str(requirements)])
            whole.touch()
    return python


def _done(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired as late:
        raise PipFailed(f"{words[2]} took more than five minutes") from late
    if done.returncode != 0:
        raise PipFailed(f"{' '.join(words[1:4])} failed: {done.stderr[-1000:]}")
