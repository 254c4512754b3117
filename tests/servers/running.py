"""Servers of others, from PyPI and as they come: Jupyter, Kinto and Moto, each a process of its own on a free port.

    with kinto(folder) as url:
        ...
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import lacking
from tests.fakes.venvs import PipFailed, python_with

HERE = Path(__file__).parent
DEFINITIONS, REQUIREMENTS = HERE / "definitions", HERE / "requirements"
#: A loaded machine needs some seconds to import such a server.
START_SECONDS = 60
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[0-9]+")

#: What Jupyter asks for. Its user name is made up anew for every visitor that has no cookie.
JUPYTER_TOKEN = "token-of-the-notebooks"
#: The owner of Moto's keys is made by the test; until then it lets anybody in so many times.
MOTO_OPEN_DOORS = 4

_KINTO = """
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = %(http_port)s
[app:main]
use = egg:kinto
kinto.includes = kinto.plugins.accounts
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = of-the-tests
kinto.account_create_principals = system.Everyone
kinto.bucket_create_principals = system.Authenticated
kinto.experimental_collection_schema_validation = true
multiauth.policies = account
multiauth.policy.account.use = kinto.plugins.accounts.AccountsPolicy
[loggers]
keys = root
[handlers]
keys = stderr
[formatters]
keys = plain
[logger_root]
level = INFO
handlers = stderr
[handler_stderr]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(message)s
"""


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """A Jupyter server whose files lie in `folder/notebooks`; its address."""
    files = folder / "notebooks"
    files.mkdir()
    words = [
        "jupyter-server", "--ip=127.0.0.1", "--port=0", "--no-browser", "--allow-root",
        f"--IdentityProvider.token={JUPYTER_TOKEN}", f"--ServerApp.root_dir={files}",
    ]  # fmt: skip
    own = {f"JUPYTER_{name}_DIR": str(folder / "jupyter") for name in ("CONFIG", "DATA", "RUNTIME")}
    with _serving("jupyter-server", words, folder, own | {"HOME": str(folder)}) as address:
        yield address


@contextmanager
def kinto(folder: Path) -> Iterator[str]:
    """A Kinto that keeps everything in memory, and on which anybody may make an account; its API's address."""
    (folder / "kinto.ini").write_text(_KINTO)
    words = ["kinto", "start", "--ini", str(folder / "kinto.ini"), "--port", "0"]
    with _serving("kinto", words, folder) as address:
        yield f"{address}/v1"


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """A Moto server, which is AWS in one process, and checks signatures after `MOTO_OPEN_DOORS` requests; its address."""
    words = ["moto_server", "-H", "127.0.0.1", "-p", "0"]
    with _serving("moto", words, folder, {"INITIAL_NO_AUTH_ACTION_COUNT": str(MOTO_OPEN_DOORS)}) as address:
        yield address


def installed(name: str) -> Path:
    """The Python that has the server of that name; skips the test where it cannot be had."""
    try:
        return python_with(REQUIREMENTS / f"{name}.txt")
    except PipFailed as error:
        lacking(str(error))
        raise  # `lacking` never comes back


@contextmanager
def _serving(name: str, words: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """Runs a program that says its address in its log, until the block ends."""
    python = installed(name)
    process = subprocess.Popen(
        [str(python.with_name(words[0])), *words[1:]], cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **(environ or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    log: list[str] = []
    found = None
    try:
        for line in process.stdout:
            log.append(line)
            if found := _ADDRESS.search(line):
                break
        timer.cancel()
        assert found, f"{name} did not start: {''.join(log[-30:])}"
        # A pipe that nobody reads fills up, and the server stands still.
        reading = threading.Thread(target=log.extend, args=(process.stdout,), daemon=True)
        reading.start()
        yield found[0]
    finally:
        timer.cancel()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if found:
            reading.join()
        process.stdout.close()
