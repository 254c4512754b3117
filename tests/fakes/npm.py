"""Packages of npm that counterparts of the tests need: installed once per lock file, from hashes."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Beside the tests and ignored by git.
CACHE = Path(__file__).resolve().parents[2] / ".cache"


class NpmMissing(RuntimeError):
    """This machine has no npm, or it could not install; the message says more."""


def is_usable(counterpart: Path) -> bool:
    """Whether the packages of a folder with `package.json` and `package-lock.json` are there or can be had."""
    return bool(shutil.which("node") and (_is_installed(counterpart) or shutil.which("npm")))


def installed(counterpart: Path) -> Path:
    """The folder whose `node_modules` holds the packages, installed now if they are not there yet."""
    folder = _folder(counterpart)
    if _is_installed(counterpart):
        return folder
    if not shutil.which("npm"):
        raise NpmMissing("npm is not installed")
    with _locked(CACHE / "npm.lock"):
        if _is_installed(counterpart):
            return folder
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            target = Path(made) / "package"
            target.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(counterpart / name, target)
            _npm_ci(target)
            shutil.rmtree(folder, ignore_errors=True)
            target.rename(folder)
    return folder


def _is_installed(counterpart: Path) -> bool:
    wanted = json.loads((counterpart / "package.json").read_text())["dependencies"]
    modules = _folder(counterpart) / "node_modules"
    return all((modules / name / "package.json").is_file() for name in wanted)


def _folder(counterpart: Path) -> Path:
    lock = (counterpart / "package-lock.json").read_bytes()
    return CACHE / f"{counterpart.name}-{hashlib.sha256(lock).hexdigest()[:12]}"


def _npm_ci(folder: Path) -> None:
    command = [str(shutil.which("npm")), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    environment = os.environ | {"npm_config_omit_lockfile_registry_resolved": "true"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise NpmMissing("npm ci took more than five minutes") from late
    if done.returncode != 0:
        raise NpmMissing(f"npm ci failed: {done.stderr[-1000:]}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
