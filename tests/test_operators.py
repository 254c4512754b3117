"""The operator's commands on a whole installation: what they make, refuse, keep, move and never show."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import click
import pytest

from gateway.cli.main import skillway
from gateway.store.backup import TABLES
from oauth.vault import MasterKey
from tests.conftest import lacking
from tests.fakes.github import GitHub
from tests.fakes.upstream import serve
from tests.harness import Org
from tests.operator import MISCONFIGURED, Done, Operator

ISSUE = {"repo": "acme/webapp", "title": "Bug report"}
KEY = re.compile(r"sk_(live|test)_gw_[0-9A-Za-z]{44}")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator.at(tmp_path / "here")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Org]:
    """A folder in which `init` has run, and its org."""
    operator = Operator.at(tmp_path_factory.mktemp("made"))
    return operator.folder, operator.init()


@pytest.fixture
def installed(made: tuple[Path, Org], tmp_path: Path) -> tuple[Operator, Org]:
    """An installation of one's own, without the second that `init` takes."""
    folder, org = made
    shutil.copytree(folder, tmp_path / "here")
    return Operator.at(tmp_path / "here"), org


def with_github(operator: Operator, base_url: str) -> Operator:
    """The same installation, whose GitHub is the counterpart there."""
    (operator.folder / "skills.yaml").write_text(json.dumps({"integrations": {"github": {"base_url": base_url}}}))
    return operator


# --------------------------------------------------------------------------------------------------------- init


def test_init_makes_one_org_with_two_keys_and_prints_them_once_as_json_to_a_pipe(operator: Operator) -> None:
    made = operator.done("init", "--name", "Acme & Sons").json()
    assert made["org"]["id"].startswith("org_")
    assert made["org"]["name"] == "Acme & Sons"
    assert (KEY.fullmatch(made["live_key"]) or [""])[1] == "live"
    assert (KEY.fullmatch(made["test_key"]) or [""])[1] == "test"
    again = operator.done("init")
    assert json.loads(again.out) == {"org": None}
    assert "There is an org already" in again.err
    assert not KEY.search(again.err)
    assert operator.done("init", "--quiet") == Done(code=0, out="", err="")
    listed = operator.done("orgs", "list").json()["orgs"]
    assert [(org["id"], org["name"]) for org in listed] == [(made["org"]["id"], "Acme & Sons")]


def test_init_on_a_terminal_shows_words_and_a_line_to_copy(operator: Operator) -> None:
    shown = on_terminal(operator, "init")
    assert len(KEY.findall(shown)) == 3  # the live key, the test key, and the test key in the line
    assert "  curl http://127.0.0.1:8700/v1/github/create_issue " in shown


async def test_the_curl_line_that_init_prints_works_as_it_is(operator: Operator) -> None:
    if shutil.which("curl") is None:
        lacking("curl")
    operator = operator.with_settings(port=str(free_port()))
    shown = (await operator.later("init", "--quiet")).out
    [line] = [line.strip() for line in shown.splitlines() if line.strip().startswith("curl ")]
    org = org_of(shown)
    async with operator.serving(org, "--port", operator.environ["SKILLWAY_PORT"]):
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    answer = json.loads(out)
    assert answer["status"] == 201
    assert answer["data"]["title"] == "Bug report"
    assert answer["meta"]["sandbox"] is True


def test_serve_makes_no_org_and_shows_no_key(operator: Operator) -> None:
    async def serve_and_stop() -> None:
        async with operator.serving(org_of(operator.done("orgs", "list").out)) as running:
            assert (await running.ask("GET", "/healthz", key="")).status == 200

    asyncio.run(serve_and_stop())
    assert operator.done("orgs", "list").json() == {"orgs": []}
    assert not KEY.search(operator.log())


# -------------------------------------------------------------------------------------------- what serve refuses

Break = Callable[[Operator], Operator]


def no_key(operator: Operator) -> Operator:
    (operator.data / "master.key").unlink()
    return operator


def another_key(operator: Operator) -> Operator:
    (operator.data / "master.key").write_text(MasterKey.generate().text())
    return operator


def newer_schema(operator: Operator) -> Operator:
    with closing(sqlite3.connect(operator.database)) as database, database:
        database.execute("INSERT INTO migrations VALUES (9999, 'to_come', 'x', 0)")
    return operator


def changed_migration(operator: Operator) -> Operator:
    with closing(sqlite3.connect(operator.database)) as database, database:
        database.execute("UPDATE migrations SET checksum = 'x' WHERE number = 1")
    return operator


def damaged(operator: Operator) -> Operator:
    for beside in operator.data.glob("skillway.db-*"):
        beside.unlink()
    operator.database.write_bytes(b"this is no database" * 1000)
    return operator


def config(text: str) -> Break:
    def write(operator: Operator) -> Operator:
        (operator.folder / "skills.yaml").write_text(text)
        return operator

    return write


def setting(**settings: str) -> Break:
    return lambda operator: operator.with_settings(**settings)


def key_file(content: bytes) -> Break:
    def write(operator: Operator) -> Operator:
        (operator.data / "master.key").write_bytes(content)
        return operator

    return write


REFUSED: dict[str, tuple[Break, str]] = {
    "no master key beside a database": (no_key, r"no master key at .*master\.key"),
    "another master key": (another_key, r"belongs to the master key [0-9a-f]{16}, but the given one is [0-9a-f]{16}"),
    "an empty master key file": (key_file(b"\n"), "master key is empty"),
    "a short master key": (setting(master_key=base64.b64encode(b"short").decode()), "32 bytes, this one has 5"),
    "a master key that is no text": (key_file(b"\xff\xfe" * 16), "not base64 or hex"),
    "a master key that is no base64": (setting(master_key="?" * 43), "neither base64 nor hex"),
    "a placeholder": (setting(master_key="0" * 64), "placeholder"),
    "a master key file that is not there": (setting(master_key_file="/nonexistent/key"), "SKILLWAY_MASTER_KEY_FILE"),
    "the key in two ways": (setting(master_key="0" * 64, master_key_file="/dev/null"), "not both"),
    "a setting that does not exist": (setting(prot="8700"), r"SKILLWAY_PROT; did you mean SKILLWAY_PORT\?"),
    "a port that is none": (setting(port="http"), "SKILLWAY_PORT: expected a port from 0 to 65535"),
    "a host that browsers cannot reach": (setting(host="0.0.0.0"), "SKILLWAY_PUBLIC_URL is required"),
    "a host that is not ours": (
        setting(host="192.0.2.1", public_url="https://a.example"),
        "cannot listen on 192.0.2.1",
    ),
    "a public address without a host": (setting(public_url="https://"), "SKILLWAY_PUBLIC_URL: expected"),
    "a newer schema": (newer_schema, r"has schema 9999, this Skillway knows \d+"),
    "a migration that was changed": (changed_migration, r"Migration 1 \(.*\) was changed"),
    "a file that is no database": (damaged, "damaged or not an SQLite database"),
    "a database of another kind": (setting(database_url="mysql://root:hunter2secret@db/x"), "SKILLWAY_DATABASE_URL"),
    "a PostgreSQL that is not there": (setting(database_url="postgresql://u:hunter2secret@127.0.0.1:1/x"), "database"),
    "an unknown key in skills.yaml": (config("integratons: {}\n"), r"skills\.yaml:1: .*'integratons'; did you mean"),
    "an unknown setting in skills.yaml": (config("settings:\n  prot: 1\n"), r"skills\.yaml:2: .*did you mean 'PORT'"),
    "an integration that does not exist": (config("integrations: {githb: {}}\n"), r"'githb'; did you mean 'github'\?"),
    "skills.yaml that is no YAML": (config("a: [\n"), r"skills\.yaml:\d"),
    "a folder that is not there": (config("catalog: {paths: [./nowhere]}\n"), "nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_serve_refuses_to_start_says_why_and_listens_nowhere(installed: tuple[Operator, Org], case: str) -> None:
    operator, _ = installed
    broken, expected = REFUSED[case]
    port = free_port()
    with watched(port) as connected:
        done = broken(operator).run("serve", *(() if "port" in case else ("--port", str(port))))
    assert done.code == MISCONFIGURED, done
    assert re.search(expected, done.err), done.err
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") <= 2
    assert "listening" not in done.out
    assert "Traceback" not in done.err
    assert "hunter2secret" not in done.err + done.out
    assert connected == []


def test_serve_refuses_a_port_that_is_in_use(operator: Operator) -> None:
    operator.init()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = operator.run("serve", "--port", str(port))
    assert done.code == MISCONFIGURED
    assert done.err.startswith(f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use")


def test_serve_refuses_a_data_folder_that_is_a_file(operator: Operator) -> None:
    operator.data.write_text("in the way")
    done = operator.run("serve", "--port", "0")
    assert done.code == MISCONFIGURED
    assert "cannot be opened" in done.err
    assert "Traceback" not in done.err


async def test_loose_modes_of_our_files_are_mended_and_that_of_skills_yaml_is_told(operator: Operator) -> None:
    org = operator.init()
    (operator.folder / "skills.yaml").write_text("{}")
    loose = [operator.data / "master.key", operator.database, operator.folder / "skills.yaml"]
    for path in loose:
        path.chmod(0o666)
    operator.data.chmod(0o755)
    async with operator.serving(org):
        pass
    assert [mode_of(path) for path in loose] == [0o600, 0o600, 0o666]
    assert mode_of(operator.data) == 0o700
    assert re.search(r"others may write skills\.yaml", operator.log())


async def test_everything_that_is_written_is_for_the_owner_alone(operator: Operator) -> None:
    operator = with_github(operator, "http://127.0.0.1:9")
    os.umask(0o000)
    try:
        org = operator.init()
        async with operator.serving(org) as running:
            await running.ask("POST", "/v1/connect", body={"integration": "github"})
            await operator.later("backup", str(operator.folder / "copy.db"), "--with-key")
            loose = [path for path in operator.data.rglob("*") if mode_of(path) & 0o077]
            assert loose == []
    finally:
        os.umask(0o022)
    assert mode_of(operator.data) == 0o700
    assert mode_of(operator.folder / "copy.db") == 0o600


# --------------------------------------------------------------------------------------------------------- orgs


async def test_a_revoked_key_is_refused_by_a_running_gateway_and_the_others_go_on(operator: Operator) -> None:
    org = operator.init()
    async with operator.serving(org) as running:
        assert (await running.ask("GET", "/v1/verify")).status == 200
        assert (await running.ask("GET", "/v1/verify", key=org.test)).status == 200
        listed = (await operator.later("orgs", "keys", org.id)).json()["api_keys"]
        # Both may be of the same millisecond, so no order is asked of them.
        keys = {key["mode"]: key for key in listed}
        assert {mode: key["revoked_at"] for mode, key in keys.items()} == {"live": None, "test": None}
        live = keys["live"]
        assert not {"hash", "full_key"} & live.keys()
        began = time.monotonic()
        gone = (await operator.later("orgs", "revoke-key", org.id, live["id"])).json()
        assert gone == {"id": live["id"], "revoked": True}
        # Nobody tells the gateway: what it remembers of a key is two seconds old at most.
        while (answer := await running.ask("GET", "/v1/verify")).status == 200:
            assert time.monotonic() - began < 20, "the revoked key still works"
        assert answer.json()["error"] == "api_key_revoked"
        assert (await running.ask("GET", "/v1/verify", key=org.test)).status == 200
    again = operator.run("orgs", "revoke-key", org.id, live["id"])
    assert (again.code, again.json()["error"]) == (1, "bad_request")


async def test_orgs_get_keys_of_their_own_that_work_at_once(operator: Operator) -> None:
    first = operator.init()
    async with operator.serving(first) as running:
        org = (await operator.later("orgs", "create", "--name", "Globex", "--json")).json()
        assert org["id"].startswith("org_")
        assert (org["name"], org["plan"], org["suspended"]) == ("Globex", None, False)
        words = (
            "orgs",
            "create-key",
            org["id"],
            "--name",
            "CI",
            "--scopes",
            "github,overten",
            "--expires-in-days",
            "30",
        )
        key = (await operator.later(*words, "--json")).json()
        assert (KEY.fullmatch(key["full_key"]) or [""])[1] == "live"
        assert key["api_key"]["scopes"] == ["github", "overten"]
        assert key["api_key"]["key_prefix"] == key["full_key"][:16]
        verified = (await running.ask("GET", "/v1/verify", key=key["full_key"])).json()
        assert verified["org"] == {"id": org["id"], "name": "Globex", "plan": None}
        assert verified["api_key"]["expires_at"] == key["api_key"]["expires_at"]
        refused = await running.ask("POST", "/v1/skycot/get_usage", key=key["full_key"], body={})
        assert (refused.status, refused.json()["error"]) == (403, "scope_not_allowed")
        test = (await operator.later("orgs", "create-key", org["id"], "--name", "try", "--test")).json()
        assert (KEY.fullmatch(test["full_key"]) or [""])[1] == "test"
    with closing(sqlite3.connect(operator.database)) as database:
        stored = "".join(map(repr, database.execute("SELECT * FROM api_keys")))
    assert key["full_key"] not in stored


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("orgs", "create-key", "org_nobody", "--name", "x"), "There is no org 'org_nobody'"),
        (("orgs", "create-key", "ORG", "--name", "x", "--scopes", "githb"), "Did you mean 'github'"),
        (("orgs", "create-key", "ORG", "--name", "x", "--scopes", " , "), "--scopes is empty"),
        (("orgs", "create-key", "ORG", "--name", "a\nb"), "printable"),
        (("orgs", "create", "--name", " "), "1 to 128"),
        (("orgs", "create", "--name", "x" * 129), "1 to 128"),
        (("orgs", "create", "--name", "x", "--plan", "fre"), "Did you mean 'free'"),
        (("orgs", "set-client", "ORG", "githb", "--client-id", "x"), "Did you mean 'github'"),
        (("orgs", "set-client", "ORG", "github"), "--client-id or --remove"),
        (("orgs", "suspend", "org_nobody"), "There is no org"),
    ],
)
def test_a_word_that_names_nothing_is_refused_with_the_nearest(
    installed: tuple[Operator, Org], words: tuple[str, ...], said: str
) -> None:
    operator, org = installed
    (operator.folder / "skills.yaml").write_text("plans: {free: {connections: 3}}")
    done = operator.run(*(org.id if word == "ORG" else word for word in words))
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err


async def test_a_suspended_org_is_refused_within_seconds_and_let_in_again(operator: Operator) -> None:
    org = operator.init()
    async with operator.serving(org) as running:
        assert (await running.ask("GET", "/v1/verify")).status == 200
        assert (await operator.later("orgs", "suspend", org.id)).json() == {"id": org.id, "suspended": True}
        assert await status_within(running.ask, 403, seconds=5)
        await operator.later("orgs", "suspend", org.id, "--undo")
        assert await status_within(running.ask, 200, seconds=5)


def test_a_client_secret_comes_by_stdin_and_lies_sealed(operator: Operator) -> None:
    org = operator.init()
    secret = "planted-client-secret-of-the-org"
    words = ("orgs", "set-client", org.id, "github", "--client-id", "planted-id", "--client-secret-stdin")
    done = operator.done(*words, given=secret + "\n")
    uri = f"http://127.0.0.1:8700/oauth/callback/github.{org.id}"
    assert done.json() == {"org": org.id, "integration": "github", "client_id": "planted-id", "redirect_uri": uri}
    assert uri in done.err
    files = b"".join(path.read_bytes() for path in operator.data.iterdir())
    assert b"planted-id" not in files or secret.encode() not in files
    assert secret.encode() not in files
    assert operator.done("vault", "status").json()["data_keys"][0]["values"] == 1
    assert operator.done("orgs", "set-client", org.id, "github", "--remove").json() == {"removed": True}
    assert operator.done("orgs", "set-client", org.id, "github", "--remove").json() == {"removed": False}


# --------------------------------------------------------------------------------------- backup, restore, copy


@pytest.mark.failure("R33")
async def test_a_backup_taken_under_load_holds_all_that_was_answered_before_it(
    operator: Operator, tmp_path: Path
) -> None:
    async with serve(GitHub(requests_per_hour=1_000_000)) as github:
        org = with_github(operator, github.base_url).init()
        file = tmp_path / "backup.db"
        async with operator.serving(org) as running:
            connection = await running.connect("github", {"token": github.upstream.token})
            before = [(await running.call("github", "create_issue", ISSUE)).json()["meta"]["run_id"] for _ in range(20)]
            going = True

            async def write() -> None:
                while going:
                    answer = await running.call("github", "create_issue", ISSUE)
                    assert answer.json()["status"] == 201

            writers = [asyncio.create_task(write()) for _ in range(8)]
            done = await operator.later("backup", str(file))
            going = False
            await asyncio.gather(*writers)
        assert done.code == 0, done
        assert json.loads(done.out) == {"backup": str(file), "with_key": False}
        assert "without the master key" in done.err
        assert mode_of(file) == 0o600
        key = (operator.data / "master.key").read_text().strip()
        for planted in (key.encode(), base64.b64decode(key), github.upstream.token.encode(), org.live.encode()):
            assert planted not in file.read_bytes()

        # A new folder, the key beside it: everything works as it did.
        other = with_github(Operator.at(tmp_path / "other"), github.base_url)
        other.data.mkdir(mode=0o700)
        shutil.copy(operator.data / "master.key", other.data)
        restored = other.done("restore", str(file)).json()["restored"]
        assert restored["connections"] == 1
        assert restored["runs"] >= 20
        with closing(sqlite3.connect(other.database)) as database:
            kept = {row[0] for row in database.execute("SELECT id FROM runs")}
            assert set(before) <= kept
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        async with other.serving(org) as running:
            listed = (await running.ask("GET", "/v1/connections")).json()["connections"]
            assert [item["id"] for item in listed] == [connection]
            assert (await running.call("github", "create_issue", ISSUE)).json()["status"] == 201


def test_a_backup_with_its_key_needs_nothing_else(operator: Operator, tmp_path: Path) -> None:
    org = operator.init()
    file = tmp_path / "backup.db"
    done = operator.done("backup", str(file), "--with-key")
    assert "holds the master key" in done.err
    assert operator.run("backup", str(file)).code == MISCONFIGURED  # never over a file
    other = Operator.at(tmp_path / "other")
    assert other.done("restore", str(file)).json()["restored"]["orgs"] == 1
    assert (other.data / "master.key").read_text() == (operator.data / "master.key").read_text()
    assert mode_of(other.data / "master.key") == 0o600
    assert other.done("orgs", "list").json()["orgs"][0]["id"] == org.id
    key = (operator.data / "master.key").read_bytes().strip()
    # Once restored, the key is in the database no more.
    assert key in file.read_bytes()
    assert all(key not in path.read_bytes() for path in other.data.glob("skillway.db*"))


@pytest.mark.failure("R33")
def test_a_restore_under_another_key_or_without_one_is_refused_and_leaves_nothing(
    operator: Operator, tmp_path: Path
) -> None:
    operator.init()
    plain, with_key = tmp_path / "plain.db", tmp_path / "with-key.db"
    operator.done("backup", str(plain))
    operator.done("backup", str(with_key), "--with-key")

    none = Operator.at(tmp_path / "none")
    done = none.run("restore", str(plain))
    assert done.code == MISCONFIGURED
    assert "holds no master key, and there is none here" in done.err

    stranger = Operator.at(tmp_path / "stranger", master_key=MasterKey.generate().text())
    for file in (plain, with_key):
        done = stranger.run("restore", str(file))
        assert done.code == MISCONFIGURED
        assert re.search("sealed under the master key [0-9a-f]{16}, but this installation has [0-9a-f]{16}", done.err)

    # An installation that lives: refused, unless forced; and its own key is never replaced.
    living = Operator.at(tmp_path / "living")
    living.init()
    own = (living.data / "master.key").read_bytes()
    assert living.run("restore", str(with_key)).code == MISCONFIGURED
    assert (living.data / "master.key").read_bytes() == own
    no_key(living)
    done = living.run("restore", str(with_key))
    assert done.code == MISCONFIGURED
    assert "not empty" in done.err
    assert not (living.data / "master.key").exists()


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_backup_is_refused(operator: Operator, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "backup.db"
    file.write_bytes(content)
    done = operator.run("restore", str(file))
    assert done.code == MISCONFIGURED
    assert "is not a backup of Skillway" in done.err
    assert operator.init().id  # the folder is as empty as before


async def test_a_copy_to_postgresql_and_back_is_the_same_installation(
    operator: Operator, tmp_path: Path, postgres_url: str
) -> None:
    async with serve(GitHub(requests_per_hour=1_000_000)) as github:
        org = with_github(operator, github.base_url).init()
        async with operator.serving(org) as running:
            await running.connect("github", {"token": github.upstream.token}, user="ann")
            await running.call("github", "create_issue", ISSUE, user="ann")
            await running.ask("POST", "/v1/connect", body={"integration": "overskill", "user": "Ünï 🜁"})
        done = await operator.later("copy", "--to", "-", given=postgres_url + "\n")
        assert done.code == 0, done
        original = sqlite_rows(operator.database)
        assert done.json()["copied"] == {table: len(rows) for table, rows in original.items()}
        assert await postgres_rows(postgres_url) == original

        moved = operator.with_settings(database_url=postgres_url)
        async with moved.serving(org) as running:
            answer = await running.call("github", "create_issue", ISSUE, user="ann")
            assert answer.json()["status"] == 201
        assert (await operator.later("copy", "--to", postgres_url)).code == MISCONFIGURED  # not empty

        back = tmp_path / "back"
        done = await moved.later("copy", "--to", f"sqlite:{back}")
        assert done.code == 0, done
        assert sqlite_rows(back / "skillway.db") == await postgres_rows(postgres_url)
        returned = operator.with_settings(data_dir=str(back))
        shutil.copy(operator.data / "master.key", back)
        async with returned.serving(org) as running:
            assert (await running.call("github", "create_issue", ISSUE, user="ann")).json()["status"] == 201


async def test_a_backup_of_postgresql_restores_into_sqlite(
    operator: Operator, tmp_path: Path, postgres_url: str
) -> None:
    org = (on_postgres := operator.with_settings(database_url=postgres_url)).init()
    on_postgres.done("backup", str(tmp_path / "backup.db"), "--with-key")
    other = Operator.at(tmp_path / "other")
    other.done("restore", str(tmp_path / "backup.db"))
    async with other.serving(org) as running:
        assert (await running.ask("GET", "/v1/verify")).json()["org"]["id"] == org.id


def test_migrate_says_what_it_applied_and_then_that_there_is_nothing(operator: Operator) -> None:
    applied = operator.done("migrate").json()["applied"]
    assert applied[0].startswith("0001 ")
    assert operator.done("migrate").json() == {"applied": []}


# -------------------------------------------------------------------------------------------------------- vault


async def test_rotation_under_load_fails_no_call_and_moves_every_value(operator: Operator) -> None:
    async with serve(GitHub(requests_per_hour=1_000_000)) as github:
        org = with_github(operator, github.base_url).init()
        async with operator.serving(org) as running:
            for user in range(30):
                await running.connect("github", {"token": github.upstream.token}, user=f"user-{user}")
            going, answers = True, []

            async def call(user: int) -> None:
                while going:
                    answer = await running.call("github", "get_repo", {"repo": "acme/webapp"}, user=f"user-{user}")
                    answers.append(answer.json().get("status"))

            callers = [asyncio.create_task(call(user)) for user in range(8)]
            rotating = asyncio.create_task(operator.later("vault", "rotate"))
            late = 0
            while not rotating.done():
                await running.connect("github", {"token": github.upstream.token}, user=f"late-{late}")
                late += 1
                await asyncio.sleep(0.1)
            done = await rotating
            going = False
            await asyncio.gather(*callers)
            assert done.code == 0, done
            assert done.json()["left"] == 0
            assert set(answers) == {200}
            status = (await operator.later("vault", "status")).json()
            states = {key["id"]: (key["state"], key["values"]) for key in status["data_keys"]}
            assert states.pop(done.json()["primary"]) == ("primary", 30 + late)
            assert set(states.values()) == {("retired", 0)}
            assert status["damaged"] == 0
            answer = await running.call("github", "get_repo", {"repo": "acme/webapp"}, user="user-29")
            assert answer.json()["status"] == 200


async def test_the_master_key_is_changed_by_naming_both_once(operator: Operator) -> None:
    async with serve(GitHub(requests_per_hour=1_000_000)) as github:
        org = with_github(operator, github.base_url).init()
        async with operator.serving(org) as running:
            await running.connect("github", {"token": github.upstream.token})
        old, new = (operator.data / "master.key").read_text().strip(), MasterKey.generate().text()
        (operator.data / "master.key").unlink()

        refused = operator.with_settings(master_key=new).run("vault", "status")
        assert refused.code == MISCONFIGURED
        for key in (old, new):
            assert MasterKey.parse(key).fingerprint in refused.err
            assert key not in refused.err

        changing = operator.with_settings(master_key=new, master_key_previous=old)
        for _ in range(2):  # a second start with both does no harm
            async with changing.serving(org) as running:
                assert (await running.call("github", "create_issue", ISSUE)).json()["status"] == 201
        async with operator.with_settings(master_key=new).serving(org) as running:
            assert (await running.call("github", "create_issue", ISSUE)).json()["status"] == 201
        assert operator.with_settings(master_key=old).run("vault", "status").code == MISCONFIGURED
        status = operator.with_settings(master_key=new).done("vault", "status").json()
        assert status["master_key"] == MasterKey.parse(new).fingerprint


# ------------------------------------------------------------------------------------------------------- doctor


def test_doctor_finds_nothing_wrong_in_a_good_installation(operator: Operator) -> None:
    operator.init()
    found = operator.done("doctor").json()
    assert found["ok"] is True
    checks = {check["check"]: check["message"] for check in found["checks"]}
    assert checks["public address"] == "http://127.0.0.1:8700"
    assert checks["database"].startswith("sqlite")
    assert re.match(r"[0-9a-f]{16}, from .*master\.key", checks["master key"])
    assert "/oauth/callback/github" in checks["oauth: github"]


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        (no_key, "master key", "no master key at"),
        (another_key, "master key", "belongs to the master key"),
        (newer_schema, "database", "schema 9999"),
        (damaged, "database", "damaged"),
        (setting(host="0.0.0.0"), "public address", "SKILLWAY_PUBLIC_URL is required"),
        (setting(public_url="http://skillway.example"), "public address", "plain http"),
        (setting(database_url="postgresql://u:hunter2secret@127.0.0.1:1/x"), "database", "cannot be used"),
        (config("integrations: {githb: {}}"), "catalog", "did you mean 'github'"),
        (config("catalog: {paths: [broken.yaml]}"), "catalog", "broken.yaml"),
    ],
)
def test_doctor_names_what_is_broken(installed: tuple[Operator, Org], broken: Break, check: str, said: str) -> None:
    operator, _ = installed
    (operator.folder / "broken.yaml").write_text("slug: 7\n")
    done = broken(operator).run("doctor")
    assert done.code == 1
    found = done.json()
    assert found["ok"] is False
    wrong = {item["check"]: item["message"] for item in found["checks"] if not item["ok"]}
    assert list(wrong) == [check]
    assert said in wrong[check]
    assert "hunter2secret" not in done.out + done.err
    assert "Traceback" not in done.err


def test_doctor_warns_of_a_config_that_others_may_write(operator: Operator) -> None:
    operator.init()
    config("{}")(operator)
    (operator.folder / "skills.yaml").chmod(0o666)
    found = operator.run("doctor")
    assert found.code == 1
    [wrong] = [check for check in found.json()["checks"] if not check["ok"]]
    assert "chmod go-w" in wrong["message"]


# --------------------------------------------------------------------------------------- what never is in argv


def test_no_option_takes_a_secret_as_its_value() -> None:
    """Whoever may list processes reads command lines: secrets come by stdin, by file or by the environment."""
    secret = re.compile("secret|token|password|credential|api.?key|master")
    taking = {
        f"{command.name} {option.opts[0]}"
        for command in all_commands(skillway)
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag and secret.search(option.name or "")
    }
    assert taking == set()


async def test_no_secret_is_in_any_command_line_while_commands_run(operator: Operator) -> None:
    async with serve(GitHub(requests_per_hour=1_000_000)) as github:
        org = with_github(operator, github.base_url).init()
        token = github.upstream.token
        async with operator.serving(org) as running:
            client = operator.with_settings(url=running.url, api_key=org.live)
            seen: set[str] = set()
            watching = asyncio.create_task(watch_command_lines(seen))
            steps = [
                await client.later("connect", "github", "--auth", "token", "--credential-stdin", given=token),
                await client.later("run", "github", "create_issue", "--repo", "acme/webapp", "--title", "x"),
                await operator.later(
                    "orgs",
                    "set-client",
                    org.id,
                    "github",
                    "--client-id",
                    "i",
                    "--client-secret-stdin",
                    given="planted-s",
                ),
                await operator.with_settings(url=running.url).later("login", "--key-stdin", given=org.live),
            ]
            watching.cancel()
    assert [step.code for step in steps] == [0] * 4, steps
    lines = "\n".join(seen)
    assert "--credential-stdin" in lines  # the watch sees the commands
    for planted in (token, org.live, org.test, "planted-s", (operator.data / "master.key").read_text().strip()):
        assert planted not in lines
    assert mode_of(operator.folder / ".config" / "skillway" / "config.json") == 0o600


# --------------------------------------------------------------------------------------------------- what helps


def on_terminal(operator: Operator, *words: str) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=operator.folder, env=operator.environ,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the other side has closed.
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=20) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def org_of(text: str) -> Org:
    keys = {match[1]: match[0] for match in KEY.finditer(text)}
    found = re.search("org_[0-9a-f]+", text)
    return Org(id=found[0] if found else "", live=keys.get("live", ""), test=keys.get("test", ""))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def watched(port: int) -> Iterator[list[int]]:
    """Tries again and again to connect; what it yields stays empty if nobody ever listened."""
    stop, connected = threading.Event(), list[int]()

    def watch() -> None:
        while not stop.wait(0.005):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    connected.append(port)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield connected
    finally:
        stop.set()
        watching.join()


async def status_within(ask: Any, status: int, *, seconds: float) -> bool:
    for _ in range(int(seconds * 10)):
        if (await ask("GET", "/v1/verify")).status == status:
            return True
        await asyncio.sleep(0.1)
    return False


def sqlite_rows(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return {table: ordered(dict(row) for row in database.execute(f"SELECT * FROM {table}")) for table in TABLES}


async def postgres_rows(url: str) -> dict[str, list[Any]]:
    connection = await asyncpg.connect(url)
    try:
        return {table: ordered(map(dict, await connection.fetch(f"SELECT * FROM {table}"))) for table in TABLES}
    finally:
        await connection.close()


def ordered(rows: Any) -> list[Any]:
    return sorted(rows, key=repr)


def all_commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from all_commands(command)


async def watch_command_lines(seen: set[str]) -> None:
    while True:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        await asyncio.sleep(0.02)
