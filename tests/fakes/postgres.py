"""A throw-away PostgreSQL on a free loopback port, and an empty database in it for each test.

    with postgres() as url:                 # once a session
        database = fresh_database(url)      # once a test
        ...
        drop_database(database)
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

#: In the URL. The server trusts whoever reaches it, but a scan for leaks wants something to look for.
USER, PASSWORD = "skillway", "postgres-password-in-a-url"

START_SECONDS = 30


class PostgresMissing(RuntimeError):
    """This machine has no PostgreSQL server, or it cannot run here; the message says which."""


@contextlib.contextmanager
def postgres(*, fsync: bool = True) -> Iterator[str]:
    """Runs a PostgreSQL and gives the URL of its administrative database."""
    with postgres_server(fsync=fsync) as server:
        yield server.url


@contextlib.contextmanager
def postgres_server(*, fsync: bool = True) -> Iterator["PostgresServer"]:
    """Runs a PostgreSQL that a test may stop, pause and start again."""
    server = PostgresServer(fsync=fsync)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def fresh_database(url: str, *, template: str = "template0") -> str:
    """Makes a database in the server behind `url` and gives its URL: an empty one, or a copy of another."""
    name = f"test_{secrets.token_hex(6)}"
    _run(_execute(url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def drop_database(url: str) -> None:
    """Drops a database that `fresh_database` made, whoever is still connected."""
    parts = urlsplit(url)
    administrative = urlunsplit(parts._replace(path="/postgres"))
    _run(_execute(administrative, f"DROP DATABASE IF EXISTS {parts.path[1:]} WITH (FORCE)"))


class PostgresServer:
    """One cluster in a temporary folder."""

    def __init__(self, *, fsync: bool) -> None:
        self._binaries = _binaries()
        self._fsync = fsync
        self._account = _account()
        self._folder = Path(tempfile.mkdtemp(prefix="skillway-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        # Ends the server and its folder when this process dies without a word, as under kill -9.
        self._watch: subprocess.Popen[bytes] | None = None
        try:
            self._initialise()
        except BaseException:
            self.remove()
            raise
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Starts the server, after `stop` on the same port with the same data."""
        if self.port:
            self._start()
            return
        for attempt in range(3):
            # Between our look and its bind somebody else may take the port.
            self.port = _free_port()
            try:
                self._start()
                return
            except PostgresMissing:
                self.stop()
                if attempt == 2:
                    raise

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Ends the server: SIGQUIT as in a crash, SIGINT in good order, SIGKILL at once."""
        if self._watch is not None:
            self._watch.kill()
            self._watch.wait()
            if self._watch.stdin is not None:
                self._watch.stdin.close()
            self._watch = None
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freezes the server as it is; new connections reach a socket that nobody serves."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        data = self._folder / "data"
        (data / "postmaster.pid").unlink(missing_ok=True)
        command = [str(self._binaries / "postgres"), "-D", str(data), "-p", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = self._spawn(command, stdout=log, stderr=log)
        self._watch = self._spawn(
            ["/bin/sh", "-c", 'read -r _; kill -QUIT "$1" 2>/dev/null; rm -rf "$2"', "watch", str(self.pid),
             str(self._folder)],
            stdin=subprocess.PIPE,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PostgresMissing(f"postgres did not start: {self._log()}")
            time.sleep(0.01)

    def _initialise(self) -> None:
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        command = [
            str(self._binaries / "initdb"), "--pgdata", str(self._folder / "data"), "--username", USER,
            "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions",
        ]
        with (self._folder / "log").open("ab") as log:
            if self._spawn(command, stdout=log, stderr=log).wait() != 0:
                raise PostgresMissing(f"initdb failed: {self._log()}")
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": "''",
            "max_connections": "200",
            "shared_buffers": "'64MB'",
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "autovacuum": "on",
            "timezone": "'UTC'",
        }
        with (self._folder / "data" / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _spawn(self, command: list[str], **pipes: Any) -> "subprocess.Popen[bytes]":
        # PostgreSQL refuses to run as root. A session of its own keeps Ctrl-C from reaching it before us.
        account = self._account
        as_user: dict[str, Any] = (
            {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        pipes.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            command, cwd=self._folder, env=environment, start_new_session=True, **as_user, **pipes
        )

    def _is_ready(self) -> bool:
        # The eighth line of the lock file is the server's own word for its state.
        with contextlib.suppress(FileNotFoundError):
            lines = (self._folder / "data" / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[7].strip() == "ready"
        return False

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("this PostgreSQL is stopped")
        return self._process

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]


@functools.cache
def _binaries() -> Path:
    candidates = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        candidates.append(Path(told.stdout.strip()))
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(debian, key=lambda folder: _version(folder.parent.name), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresMissing("no initdb and postgres in PATH, in pg_config's folder or in /usr/lib/postgresql")


def _version(name: str) -> int:
    return int(name) if name.isdigit() else 0


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as: ourselves, or for root the account that the package made."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing("PostgreSQL does not run as root, and there is no account postgres or nobody")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # In a thread of its own: the caller may stand inside a running event loop.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
