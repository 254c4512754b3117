"""Starts what is measured and what it talks to, each pinned to a core, and stops it by its process id."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
#: What the upstream answers: 312 bytes of JSON.
SMALL = json.dumps({"id": 12345, "title": "x" * 200, "state": "open", "labels": ["bug", "p1"], "n": 1.5, "ok": True})
SMALL += " " * (312 - len(SMALL))
FILE_MB = 50

_NGINX = """
{user}
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  types {{ application/json json; }} default_type application/octet-stream;
  {upstream}
  server {{ listen 127.0.0.1:{port} backlog=1024; {locations} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running process that answers at `url`."""

    pid: int
    url: str


@contextmanager
def upstream_nginx(folder: Path, core: int) -> Iterator[Server]:
    """Answers `/small` from memory, `/large.json` (20 KB) and `/file.bin` (50 MB) from files."""
    folder.mkdir()
    (folder / "large.json").write_text(_large())
    with (folder / "file.bin").open("wb") as file:
        for _ in range(FILE_MB):
            file.write(os.urandom(1 << 20))
    locations = f"location = /small {{ default_type application/json; return 200 '{SMALL}'; }} root {folder};"
    with _nginx(folder, core, locations) as server:
        yield server


@contextmanager
def proxy_nginx(folder: Path, core: int, upstream: Server) -> Iterator[Server]:
    """The reference: a plain `proxy_pass` that keeps its connections to the upstream."""
    folder.mkdir()
    address = upstream.url.removeprefix("http://")
    pool = f"upstream there {{ server {address}; keepalive 128; keepalive_requests 100000000; }}"
    locations = 'location / { proxy_pass http://there; proxy_http_version 1.1; proxy_set_header Connection ""; }'
    with _nginx(folder, core, locations, pool) as server:
        yield server


@contextmanager
def gateway(folder: Path, core: int, upstream: Server) -> Iterator[tuple[Server, str]]:
    """A whole gateway on SQLite with one org, one key and one connection. Gives it and the key."""
    folder.mkdir()
    config = folder / "skills.yaml"
    config.write_text(
        "catalog:\n  integrations: [bench]\n"
        f"  paths: [{json.dumps(str(HERE / 'integrations'))}]\n"
        f"integrations:\n  bench: {{base_url: {json.dumps(upstream.url)}}}\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKILLWAY_")} | {
        "SKILLWAY_DATA_DIR": str(folder / "data"),
        "SKILLWAY_CONFIG": str(config),
        "SKILLWAY_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
    }
    org = _skillway(environment, "orgs", "create", "--name", "Bench", "--json")
    key = str(_skillway(environment, "orgs", "create-key", org["id"], "--name", "bench", "--json")["full_key"])
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=_on(core)
        )
        try:
            url = _address(process)
            _connect(url, key)
            yield Server(process.pid, url), key
        finally:
            _stop(process)


def find(program: str) -> str:
    """The program's path; it ends the run with what to install where there is none."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise SystemExit(f"{program} is not installed: apt-get install nginx-light wrk")
    return found


def post(url: str, key: str, body: Mapping[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        connection.request("POST", where.path, json.dumps(body).encode(), headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _large() -> str:
    rows = [{"id": n, "title": "y" * 150, "state": "open"} for n in range(100)]
    text = json.dumps(rows)
    return text + " " * (20_000 - len(text))


@contextmanager
def _nginx(folder: Path, core: int, locations: str, upstream: str = "") -> Iterator[Server]:
    port = _free_port()
    config = folder / "nginx.conf"
    # Started by root, its worker would become somebody who may not look into our folder.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(user=user, folder=folder, port=port, locations=locations, upstream=upstream))
    process = subprocess.Popen([find("nginx"), "-p", str(folder), "-c", str(config)], preexec_fn=_on(core))
    try:
        _wait_for(port)
        yield Server(process.pid, f"http://127.0.0.1:{port}")
    finally:
        _stop(process)


def _skillway(environment: Mapping[str, str], *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"skillway {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("listening on "):
            return line.split()[-1]
    raise SystemExit("the gateway did not start; its log has the reason")


def _connect(url: str, key: str) -> None:
    made = post(f"{url}/v1/connect", key, {"integration": "bench", "credentials": {"token": "bench-token-0123456789"}})
    if made["status"] != "connected":
        raise SystemExit(f"no connection was made: {made}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("nginx did not start")


def _on(core: int) -> Any:
    return lambda: os.sched_setaffinity(0, {core})


def _stop(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
