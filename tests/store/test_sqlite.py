"""What only SQLite must prove: files, modes, several processes, locks, and what is left of a deleted row."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.store import sqlite
from gateway.store.connections import SqlConnections
from gateway.store.data_keys import SqlDataKeys
from gateway.store.database import NotUsable, StorageUnavailable
from gateway.store.migrate import migrate
from gateway.store.orgs import SqlOrgs
from gateway.store.sqlite import SqliteDatabase, make_private, refuse_network
from oauth.vault import MasterKey, Vault, open_ring
from tests.conftest import lacking
from tests.store.samples import a_connection, a_credential, opened

ROOT = Path(__file__).resolve().parents[2]


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    file = await SqliteDatabase.open(tmp_path / "data" / "skillway.db")
    try:
        await migrate(file, tmp_path / "data")
        yield file
    finally:
        await file.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    before = os.umask(0)
    try:
        async with opened(None, folder) as database:
            await migrate(database, folder)
            assert mode(folder) == 0o700
            assert {file.name: mode(file) for file in folder.iterdir()} == {
                "skillway.db": 0o600,
                "skillway.db-wal": 0o600,
                "skillway.db-shm": 0o600,
            }
    finally:
        os.umask(before)


async def test_loose_modes_are_mended_but_a_shared_folder_is_left_alone(tmp_path: Path) -> None:
    async with opened(None, tmp_path / "data"):
        pass
    (tmp_path / "data").chmod(0o755)
    (tmp_path / "data" / "skillway.db").chmod(0o644)
    make_private(tmp_path / "data" / "skillway.db")
    assert mode(tmp_path / "data") == 0o700 and mode(tmp_path / "data" / "skillway.db") == 0o600

    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private(shared / "skillway.db")
    assert mode(shared) == 0o1777 and mode(shared / "skillway.db") == 0o600


@pytest.mark.failure("R02")
async def test_the_promised_settings_are_on(database: SqliteDatabase) -> None:
    async with database.transaction() as transaction:
        for name, promised in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("secure_delete", 1),
            ("foreign_keys", 1),
        ):
            row = await transaction.fetch_one(f"PRAGMA {name}")
            assert row is not None and row[name] == promised


@pytest.mark.failure("R36")
@pytest.mark.parametrize(
    ("kind", "refused"),
    [("nfs4", True), ("cifs", True), ("smb3", True), ("fuse.sshfs", True), ("9p", True), ("ext4", False),
     ("fuse.fuse-overlayfs", False), ("tmpfs", False)],
)
async def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, refused: bool) -> None:
    folder = tmp_path / "my data"
    mounts = tmp_path / "mounts"
    point = str(folder).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {point} {kind} rw 0 0\nother /elsewhere nfs rw 0 0\n")
    if not refused:
        refuse_network(folder / "deep", mounts)
        return
    with pytest.raises(NotUsable, match=f"network file system \\({kind}\\)"):
        await SqliteDatabase.open(folder / "skillway.db", mounts=mounts)
    assert not folder.exists()


async def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "skillway.db"
    path.write_bytes(b"these are my holiday pictures" * 100)
    with pytest.raises(NotUsable, match="not an SQLite database"):
        await SqliteDatabase.open(path)
    assert path.read_bytes() == b"these are my holiday pictures" * 100


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotUsable, match="cannot be opened"):
        await SqliteDatabase.open(tmp_path / "file" / "skillway.db")


@pytest.mark.failure("R06")
async def test_another_processes_lock_ends_as_unavailable_and_reads_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sqlite, "_PRAGMAS", [pragma.replace("busy_timeout = 5000", "busy_timeout = 50") for pragma in sqlite._PRAGMAS]
    )
    async with opened(None, tmp_path) as database:
        await migrate(database, tmp_path)
        orgs = SqlOrgs(database)
        with closing(sqlite3.connect(tmp_path / "skillway.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable) as refused:
                await orgs.create("Acme")
            assert "locked" in str(refused.value.__cause__)
            with pytest.raises(StorageUnavailable):
                async with database.transaction():
                    raise AssertionError("never reached")
            assert [*await orgs.list()] == []
            await database.check()
            holder.execute("ROLLBACK")
        await orgs.create("Acme")
        assert len(await orgs.list()) == 1


@pytest.mark.failure("R06")
async def test_a_write_waits_for_another_process_and_then_goes_through(database: SqliteDatabase) -> None:
    orgs = SqlOrgs(database)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(orgs.create("Acme"))
        # A read of ours passes by while the write waits in its thread.
        assert [*await orgs.list()] == []
        assert not waiting.done()
        holder.execute("COMMIT")
    await waiting
    assert len(await orgs.list()) == 1


async def test_a_new_file_that_another_process_is_busy_with_is_opened_once_it_is_free(tmp_path: Path) -> None:
    """Before the file has a write-ahead log, where SQLite itself does not wait."""
    with closing(sqlite3.connect(tmp_path / "skillway.db", isolation_level=None)) as holder:
        holder.execute("CREATE TABLE theirs (n)")
        holder.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(SqliteDatabase.open(tmp_path / "skillway.db"))
        finished, _ = await asyncio.wait([opening], timeout=0.1)
        assert not finished
        holder.execute("COMMIT")
    await (await opening).close()


async def test_two_processes_share_one_file(database: SqliteDatabase) -> None:
    """Both read, then write what follows from it; nothing is lost and nobody is turned away."""
    await database.execute("INSERT INTO installation (name, value) VALUES ('counter', '0')")
    script = f"""
import asyncio, sys
from pathlib import Path
from tests.store.samples import opened
async def main():
    async with opened(None, Path({str(database.path.parent)!r})) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(100):
            async with database.transaction() as transaction:
                row = await transaction.fetch_one("SELECT value FROM installation WHERE name = 'counter'")
                await transaction.execute("UPDATE installation SET value = :value", value=str(int(row["value"]) + 1))
asyncio.run(main())
"""
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
    for _ in range(50):
        sql = "INSERT INTO installation (name, value) VALUES (:name, 'x')"
        await database.execute(sql, name=os.urandom(8).hex())
        await database.execute("DELETE FROM installation WHERE value = 'x'")
    for process in processes:
        await process.communicate()
        assert process.returncode == 0
    row = await database.fetch_one("SELECT value FROM installation WHERE name = 'counter'")
    assert row is not None and row["value"] == "200"


async def test_an_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    script = f"""
import asyncio, os
from pathlib import Path
from gateway.store.migrate import migrate
from gateway.store.runs import RunWriter
from tests.store.samples import a_run, opened
async def main():
    folder = Path({str(tmp_path)!r})
    async with opened(None, folder) as database:
        await migrate(database, folder)
        runs = RunWriter(database)
        await asyncio.gather(*(runs.begin(a_run("org_1")) for _ in range(30)))
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT)
    assert await process.wait() == -9
    with closing(sqlite3.connect(tmp_path / "skillway.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM runs").fetchone() == (30,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.failure("R04")
async def test_a_full_disk_refuses_writes_and_takes_them_again_once_there_is_room(database: SqliteDatabase) -> None:
    async def allow(pages: int) -> None:
        async with database.transaction() as transaction:
            await transaction.fetch(f"PRAGMA max_page_count = {pages}")

    orgs = SqlOrgs(database)
    await orgs.create("before")
    await allow(1)  # no less than what it has already
    with pytest.raises(StorageUnavailable) as refused:
        await orgs.create("x" * 100_000)
    assert "full" in str(refused.value.__cause__)
    assert [org.name for org in await orgs.list()] == ["before"]
    await allow(1_000_000)
    await orgs.create("after")
    assert len(await orgs.list()) == 2


@pytest.mark.failure("R05")
@pytest.mark.parametrize("end", ["awaited", "cancelled"])
async def test_a_disk_that_fails_to_sync_is_not_written_to_again(tmp_path: Path, end: str) -> None:
    """Also where whoever waited for the failing write was cancelled: what fails is known all the same."""
    script = f"""
import asyncio
from pathlib import Path
from gateway.store.database import StorageUnavailable
from gateway.store.migrate import migrate
from gateway.store.orgs import SqlOrgs
from tests.store.failing_disk import fail_syncs
from tests.store.samples import opened, until
async def main():
    folder = Path({str(tmp_path)!r})
    async with opened(None, folder) as database:
        await migrate(database, folder)
        orgs = SqlOrgs(database)
        await orgs.create("before")
        try:
            fail_syncs()
        except OSError as error:
            print("no filter:", error)
            return
        await work(database, orgs, folder / "skillway.db-wal")
async def is_refused(what):
    try:
        await what
    except StorageUnavailable as error:
        print(getattr(error.__cause__, "sqlite_errorname", "-"), end=" ")
        return True
    return False
async def work(database, orgs, log):
    failing = asyncio.create_task(is_refused(database.execute("UPDATE orgs SET plan = 'failing'")))
    await asyncio.sleep(0)
    if {end == "cancelled"}:
        failing.cancel()
        await asyncio.wait([failing])
        assert failing.cancelled()
        await until(lambda: is_refused(database.check()))
    else:
        assert await failing
        assert await is_refused(database.check())
    before = log.read_bytes()
    assert await is_refused(orgs.create("after"))
    async def change():
        async with database.transaction() as transaction:
            await transaction.execute("DELETE FROM orgs")
    assert await is_refused(change())
    assert log.read_bytes() == before
    assert [org.name for org in await orgs.list()] == ["before"]
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT, stdout=PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    if told.startswith(b"no filter"):
        lacking("a kernel that lets a test fail its fsync")
    assert told == {"awaited": b"SQLITE_IOERR_FSYNC - - - ", "cancelled": b"- - - "}[end]
    with closing(sqlite3.connect(tmp_path / "skillway.db")) as connection:
        assert ("before",) in connection.execute("SELECT name FROM orgs").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_closing_twice_at_once_and_under_work_ends_and_tears_nothing(tmp_path: Path) -> None:
    sql = "INSERT INTO installation (name, value) VALUES (:name, 'x')"
    for steps in range(12):
        async with opened(None, tmp_path / str(steps)) as database:
            await migrate(database, tmp_path / str(steps))
            single = asyncio.create_task(database.execute(sql, name="single"))
            pair = asyncio.create_task(database.write([(sql, [("one",)]), (sql, [("two",)])]))
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.gather(database.close(), database.close())
        done = await asyncio.gather(single, pair, return_exceptions=True)
        assert all(not isinstance(end, BaseException) or isinstance(end, StorageUnavailable) for end in done)
        with closing(sqlite3.connect(tmp_path / str(steps) / "skillway.db")) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM installation")}
        assert ("single" in names) == (done[0] == 1)
        assert names & {"one", "two"} == (set() if isinstance(done[1], StorageUnavailable) else {"one", "two"})


async def test_a_secret_is_never_on_the_disk_and_a_deleted_seal_is_overwritten(database: SqliteDatabase) -> None:
    planted = "planted-token-8c1f0a"
    org = await SqlOrgs(database).create("Acme")
    vault = Vault(await open_ring(SqlDataKeys(database), MasterKey.generate(), has_sealed_values=False))
    connections = SqlConnections(database, vault)
    connection = a_connection(org.id)
    await connections.add(connection, a_credential(planted))
    row = await database.fetch_one("SELECT credential FROM connections")
    assert row is not None
    sealed: bytes = row["credential"]

    await database.checkpoint()
    assert found(sealed[40:80], database.path) == 1
    assert found(planted.encode(), database.path) == 0

    assert await connections.delete(org.id, connection.id)
    await database.checkpoint()
    assert found(sealed[40:80], database.path) == 0
    assert found(planted.encode(), database.path) == 0


def found(needle: bytes, path: Path) -> int:
    """How often the bytes occur in the database, its log and its shared memory."""
    files = [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]
    return sum(file.read_bytes().count(needle) for file in files if file.exists())
