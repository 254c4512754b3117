"""Packages from npm that tests run: installed once for each lock file, beside the tests and ignored by git."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache"


class NpmFailed(RuntimeError):
    """The packages cannot be had; the message says why."""


def is_at_hand(folder: Path) -> bool:
    """Whether the packages of a folder's lock file are installed, or could be; installs nothing."""
    return _is_installed(folder) or shutil.which("npm") is not None


def installed(folder: Path) -> Path:
    """Where the packages of a folder's lock file are, installed now if they are not there yet. Raises `NpmFailed`."""
    target = _target(folder)
    if _is_installed(folder):
        return target
    with locked(CACHE / "npm.lock"):
        if _is_installed(folder):
            return target
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            fresh = Path(made) / "package"
            fresh.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(folder / name, fresh)
            _npm_ci(fresh)
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
    return target


def _is_installed(folder: Path) -> bool:
    # npm writes it last.
    return (_target(folder) / "node_modules" / ".package-lock.json").is_file()


def _target(folder: Path) -> Path:
    lock = (folder / "package-lock.json").read_bytes()
    return CACHE / f"npm-{folder.name}-{hashlib.sha256(lock).hexdigest()[:12]}"


def _npm_ci(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NpmFailed("npm is not installed")
    environment = os.environ | {"npm_config_omit_lockfile_registry_resolved": "true"}
    try:
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise NpmFailed("npm ci took more than five minutes") from late
    if done.returncode != 0:
        raise NpmFailed(f"npm ci failed: {done.stderr[-1000:]}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
