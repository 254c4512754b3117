"""SQLite: one connection that writes and one that reads; other processes may share the file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from gateway.store.database import (
    AlreadyThere,
    Batch,
    Dialect,
    Listeners,
    NotStorable,
    NotUsable,
    Row,
    StorageUnavailable,
    Value,
    compile_sql,
    refuse_nul,
)

T = TypeVar("T")

#: How long a statement waits for another process's write.
BUSY_SECONDS = 5.0
#: File systems of other machines: their locks and shared memory do not hold what WAL needs.
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs"}
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.bindfs", "fuseblk"})
_PRAGMAS = (
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",
    # NORMAL lost every acknowledged commit in a simulated power cut.
    "PRAGMA synchronous = FULL",
    # What is deleted is overwritten, so that it is not found in free pages.
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8000",
    "PRAGMA journal_size_limit = 16777216",
)
_READ_ONLY = "PRAGMA query_only = ON"
_UNIQUE = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"})
_NO_DATABASE = frozenset({"SQLITE_NOTADB", "SQLITE_CORRUPT"})
#: After these nobody knows what is on the disk: a second fsync may succeed and mean nothing.
_FSYNC = frozenset({"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"})


class SqliteDatabase:
    """One file. Open it with `SqliteDatabase.open(path)`, and close it: its threads keep the process alive."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, writer: _Writer, reader: _Statements) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        # A transaction is several steps of the writer's thread; nothing of another task may come in between.
        self._lock = asyncio.Lock()
        self._listeners = Listeners()
        self._holder: asyncio.Task[Any] | None = None

    @classmethod
    async def open(cls, path: Path, *, mounts: Path = Path("/proc/mounts")) -> SqliteDatabase:
        """Makes the file and its folder where they are missing, for the owner's eyes only."""
        path = path.absolute()
        refuse_network(path.parent, mounts)
        make_private(path)
        writer = _Writer(await _connect(path))
        try:
            reader = _Statements(await _connect(path, _READ_ONLY))
        except BaseException:
            await writer.close()
            raise
        return cls(path, writer, reader)

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        if compile_sql(sql, "sqlite").reads:
            return await self._reader.fetch(sql, **params)
        async with self._turn():
            return await self._writer.fetch(sql, **params)

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        rows = await self.fetch(sql, **params)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **params: Value) -> int:
        # Outside a transaction a statement is one by itself, and takes the write lock before it reads anything.
        async with self._turn():
            return await self._writer.execute(sql, **params)

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        await self.write([(sql, rows)])

    async def write(self, batches: Sequence[Batch], /) -> None:
        async with self.transaction() as transaction:
            for sql, rows in batches:
                await transaction.execute_many(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[_Statements]:
        async with self._turn():
            try:
                # IMMEDIATE takes the write lock before anything is read: a deferred transaction that reads and
                # then writes fails at once when another process wrote in between, in spite of the busy timeout.
                await self._writer.execute("BEGIN IMMEDIATE")
                self._writer.told.clear()
                yield self._writer
                await self._writer.execute("COMMIT")
                self._listeners.tell(self._writer.told)
            except BaseException:
                # Also where the task was cancelled: the thread comes to it after all that it was given before.
                await self._writer.roll_back()
                raise

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_Statements]:
        # A connection of its own: a long copy must not keep the reader from the calls.
        statements = _Statements(await _connect(self.path, _READ_ONLY))
        try:
            await statements.execute("BEGIN")
            yield statements
        finally:
            await statements.close()

    def tell(self, topic: str) -> None:
        self._listeners.tell((topic,))

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        self._listeners.add(topic, listener)

    async def check(self) -> None:
        if self._writer.broken:
            raise StorageUnavailable
        await self._reader.fetch("SELECT 1")

    async def checkpoint(self) -> None:
        """Moves the write-ahead log into the file and empties it, as far as readers of other processes allow."""
        await self.fetch("PRAGMA wal_checkpoint(TRUNCATE)")

    async def copy_into(self, target: Path) -> None:
        """A consistent copy of the whole file, made beside the running writers; `target` must be empty or missing."""
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        try:
            statements = _Statements(await _connect(self.path))
            try:
                await statements.execute("VACUUM INTO :target", target=str(target))
            finally:
                await statements.close()
            await asyncio.to_thread(_sync, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    async def close(self) -> None:
        try:
            await self._reader.close()
        finally:
            await self._writer.close()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The writer is this task's alone."""
        task = asyncio.current_task()
        if task is self._holder:
            raise RuntimeError("inside a transaction use what transaction() yields: the database waits for it")
        async with self._lock:
            self._holder = task
            try:
                yield
            finally:
                self._holder = None


class _Statements:
    """Statements on one connection; its thread does them in the order in which they came, whoever still waits."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._closed = False
        #: Topics that are told after the commit.
        self.told: set[str] = set()

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        statement = compile_sql(sql, "sqlite")
        values = statement.values(params)
        refuse_nul(values)
        return [*await self._do(lambda: self._connection.execute_fetchall(statement.text, values))]

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        rows = await self.fetch(sql, **params)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **params: Value) -> int:
        statement = compile_sql(sql, "sqlite")
        values = statement.values(params)
        refuse_nul(values)
        cursor = await self._do(lambda: self._connection.execute(statement.text, values))
        # A statement with rows has not ended, and is not committed, before they are read.
        assert not cursor.description, f"use fetch for what answers with rows: {sql}"
        return max(cursor.rowcount, 0)

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        statement = compile_sql(sql, "sqlite")
        for row in rows:
            refuse_nul(row)
        await self._do(lambda: self._connection.executemany(statement.text, rows))

    def tell(self, topic: str) -> None:
        self.told.add(topic)

    async def close(self) -> None:
        """After all work that was given; a second time does nothing."""
        if not self._closed:
            self._closed = True
            await self._connection.close()

    async def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._closed:
            raise StorageUnavailable
        with _translated():
            return await work()


class _Writer(_Statements):
    """Statements on the connection that writes, until the disk fails to sync."""

    #: Set once it did: nothing may be written until the process starts anew.
    broken = False

    async def roll_back(self) -> None:
        """Ends the transaction, if there is one."""
        with contextlib.suppress(StorageUnavailable):
            await super()._do(self._connection.rollback)

    async def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        # Shielded: a failed sync must be learned of also where who waited for it was cancelled.
        return await asyncio.shield(self._watch(work))

    async def _watch(self, work: Callable[[], Awaitable[T]]) -> T:
        if self.broken:
            raise StorageUnavailable
        try:
            return await super()._do(work)
        except StorageUnavailable as error:
            if _errorname(error.__cause__) in _FSYNC:
                self.broken = True
            raise


def refuse_network(folder: Path, mounts: Path) -> None:
    """Raises `NotUsable` where the folder lies on another machine's disk."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return
    target = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode("ascii", "surrogateescape").decode("unicode_escape"))
        # A later mount on the same point hides the earlier one.
        if target.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    if kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        raise NotUsable(
            f"{folder} is on a network file system ({kind}), where SQLite can lose data. "
            "Put the data folder on a local disk, or set a PostgreSQL database URL."
        )


def make_private(path: Path) -> None:
    """Folder 0700 and files 0600; looser modes are mended where the folder is ours alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = path.parent.stat()
        # A folder such as /tmp serves others too.
        if folder.st_mode & 0o077 and not folder.st_mode & stat.S_ISVTX and folder.st_uid == os.geteuid():
            path.parent.chmod(0o700)
        with contextlib.suppress(FileExistsError):
            # One that is there is left alone: to close it would end the locks that this process holds on it by another
            # connection (fcntl(2)), and the next process to leave would take itself for the last.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            # The log and the shared memory take the mode of the database when SQLite makes them.
            if file.exists() and file.stat().st_mode & 0o077:
                file.chmod(0o600)
    except OSError as error:
        raise NotUsable(f"The database {path} cannot be opened: {error.strerror}.") from error


async def _connect(path: Path, *more: str) -> aiosqlite.Connection:
    with _translated():
        # No isolation level: the driver begins no transaction by itself.
        connection = await aiosqlite.connect(path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=256)
        connection.row_factory = sqlite3.Row
        try:
            await _switch_to_wal(connection)
            await connection.executescript(";".join((*_PRAGMAS, *more)))
        except BaseException as error:
            await connection.close()
            if _errorname(error) in _NO_DATABASE:
                raise NotUsable(f"{path} is damaged or not an SQLite database ({error}). Restore a backup.") from error
            raise
        return connection


async def _switch_to_wal(connection: aiosqlite.Connection) -> None:
    # The switch does not wait for other processes that switch, whatever the busy timeout says.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


def _sync(path: Path) -> None:
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        if _errorname(error) in _UNIQUE:
            raise AlreadyThere(str(error)) from error
        raise NotStorable from error
    except (sqlite3.DataError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError) as error:
        raise NotStorable from error
    except sqlite3.Error as error:
        raise StorageUnavailable from error


def _errorname(error: BaseException | None) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
