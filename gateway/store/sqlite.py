"""SQLite: one connection that writes and one that reads, each in its own thread; other processes may share the file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gateway.store.database import (
    AlreadyThere,
    Batch,
    Dialect,
    NotStorable,
    NotUsable,
    Row,
    Statement,
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
_UNIQUE = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"})
_NO_DATABASE = frozenset({"SQLITE_NOTADB", "SQLITE_CORRUPT"})
#: After these nobody knows what is on the disk: a second fsync may succeed and mean nothing.
_FSYNC = frozenset({"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"})


class SqliteDatabase:
    """One file. Open it with `SqliteDatabase.open(path)`."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, writer: _Thread, reader: _Thread) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        # Single statements need no lock, the writer's thread keeps them apart; a transaction takes several turns.
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    @classmethod
    async def open(cls, path: Path, *, mounts: Path = Path("/proc/mounts")) -> SqliteDatabase:
        """Makes the file and its folder where they are missing, for the owner's eyes only."""
        path = path.absolute()
        refuse_network(path.parent, mounts)
        make_private(path)
        writer = await _Thread.start(f"{path.name} writes", lambda: _connect(path))
        try:
            reader = await _Thread.start(f"{path.name} reads", lambda: _connect(path, "PRAGMA query_only = ON"))
        except BaseException:
            await writer.close()
            raise
        return cls(path, writer, reader)

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        statement = compile_sql(sql, "sqlite")
        values = statement.values(params)
        if statement.reads:
            return await self._reader.run(lambda connection: _rows(connection, statement, values))
        return await self._write(lambda connection: _rows(connection, statement, values))

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        rows = await self.fetch(sql, **params)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **params: Value) -> int:
        statement = compile_sql(sql, "sqlite")
        values = statement.values(params)
        return await self._write(lambda connection: _change(connection, statement, values))

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        await self.write([(sql, rows)])

    async def write(self, batches: Sequence[Batch], /) -> None:
        compiled = [(compile_sql(sql, "sqlite"), rows) for sql, rows in batches]

        def work(connection: sqlite3.Connection) -> None:
            for statement, rows in compiled:
                _change_many(connection, statement, rows)

        await self._write(work)

    @contextlib.asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[_Transaction]:
        self._refuse_nesting()
        async with self._lock:
            self._holder = asyncio.current_task()
            try:
                await self._writer.run(_begin)
                yield _Transaction(self._writer)
                await self._writer.run(_commit)
            except BaseException:
                # Also for a task cancelled while it waited for BEGIN: the thread does what it was given.
                with contextlib.suppress(StorageUnavailable):
                    await self._writer.run(_rollback)
                raise
            finally:
                self._holder = None

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_Transaction]:
        # A connection of its own: a long copy must not keep the reader from the calls.
        path = self.path
        thread = await _Thread.start(f"{path.name} snapshot", lambda: _connect(path, "PRAGMA query_only = ON"))
        try:
            await thread.run(lambda connection: connection.execute("BEGIN").close())
            yield _Transaction(thread)
        finally:
            await thread.close()

    async def check(self) -> None:
        if self._writer.broken:
            raise StorageUnavailable
        await self._reader.run(lambda connection: connection.execute("SELECT 1").close())

    async def checkpoint(self) -> None:
        """Moves the write-ahead log into the file and empties it, as far as readers of other processes allow."""
        await self._writer.run(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close())

    async def copy_into(self, target: Path) -> None:
        """A consistent copy of the whole file, made beside the running writers; `target` must be empty or missing."""
        path = self.path
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(descriptor)
        thread = await _Thread.start(f"{path.name} copy", lambda: _connect(path))
        try:
            await thread.run(lambda connection: connection.execute("VACUUM INTO ?", (str(target),)).close())
            await asyncio.to_thread(_sync, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        finally:
            await thread.close()

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def whole(connection: sqlite3.Connection) -> T:
            _begin(connection)
            try:
                result = work(connection)
                _commit(connection)
            except BaseException:
                _rollback(connection)
                raise
            return result

        if not self._lock.locked():
            return await self._writer.run(whole)
        self._refuse_nesting()
        async with self._lock:
            return await self._writer.run(whole)

    def _refuse_nesting(self) -> None:
        if self._holder is not None and self._holder is asyncio.current_task():
            raise RuntimeError("inside a transaction use what transaction() yields: the database waits for it")


class _Transaction:
    """Statements on one connection that is inside a transaction."""

    def __init__(self, thread: _Thread) -> None:
        self._thread = thread

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        statement = compile_sql(sql, "sqlite")
        values = statement.values(params)
        return await self._thread.run(lambda connection: _rows(connection, statement, values))

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        rows = await self.fetch(sql, **params)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **params: Value) -> int:
        statement = compile_sql(sql, "sqlite")
        values = statement.values(params)
        return await self._thread.run(lambda connection: _change(connection, statement, values))

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        statement = compile_sql(sql, "sqlite")
        await self._thread.run(lambda connection: _change_many(connection, statement, rows))


class _Thread:
    """One connection and the thread that alone touches it; work is done in the order in which it came."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        #: Set once the disk failed to sync: nothing may be written until the process starts anew.
        self.broken = False

    @classmethod
    async def start(cls, name: str, connect: Callable[[], sqlite3.Connection]) -> _Thread:
        self = cls()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        threading.Thread(target=self._work, args=(connect, _Job(opened, None)), name=name, daemon=True).start()
        await opened
        return self

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed or self.broken:
            raise StorageUnavailable
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(future, work))
        return await future

    async def close(self) -> None:
        """After all work that was given; a second time does nothing."""
        if self._closed:
            return
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = True
        self._jobs.put(_Job(closed, sqlite3.Connection.close))
        self._jobs.put(None)
        await closed

    def _work(self, connect: Callable[[], sqlite3.Connection], opening: _Job) -> None:
        try:
            with _translated():
                connection = connect()
        except BaseException as error:
            opening.fail(error)
            return
        opening.succeed(None)
        while (job := self._jobs.get()) is not None:
            try:
                with _translated():
                    result = job.work(connection)
            except BaseException as error:
                if _errorname(error.__cause__) in _FSYNC:
                    self.broken = True
                job.fail(error)
            else:
                job.succeed(result)
            # What was asked and answered must not live on until the next job comes.
            del job
            result = None


class _Job:
    """Work for the thread, and where its end is told."""

    __slots__ = ("_future", "_loop", "work")

    def __init__(self, future: asyncio.Future[Any], work: Any) -> None:
        self._future = future
        self._loop = future.get_loop()
        self.work = work

    def succeed(self, result: object) -> None:
        self._tell(result, None)

    def fail(self, error: BaseException) -> None:
        self._tell(None, error)

    def _tell(self, result: object, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self._future.done():  # cancelled by whoever waited
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)


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
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            # The log and the shared memory take the mode of the database when SQLite makes them.
            if file.exists() and file.stat().st_mode & 0o077:
                file.chmod(0o600)
    except OSError as error:
        raise NotUsable(f"The database {path} cannot be opened: {error.strerror}.") from error


def _connect(path: Path, *more: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=256)
    connection.row_factory = sqlite3.Row
    try:
        _switch_to_wal(connection)
        for pragma in (*_PRAGMAS, *more):
            connection.execute(pragma).close()
    except BaseException as error:
        connection.close()
        if _errorname(error) in _NO_DATABASE:
            raise NotUsable(f"{path} is damaged or not an SQLite database ({error}). Restore a backup.") from error
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # The switch does not wait for other processes that switch, whatever the busy timeout says.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin(connection: sqlite3.Connection) -> None:
    # IMMEDIATE takes the write lock before anything is read: a deferred transaction that reads and then
    # writes fails at once when another process wrote in between, in spite of the busy timeout.
    connection.execute("BEGIN IMMEDIATE").close()


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT").close()
    except BaseException:
        _rollback(connection)
        raise


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK").close()


def _rows(connection: sqlite3.Connection, statement: Statement, values: Sequence[Value]) -> list[Any]:
    refuse_nul(values)
    cursor = connection.execute(statement.text, values)
    rows = cursor.fetchall()
    cursor.close()
    return rows


def _change(connection: sqlite3.Connection, statement: Statement, values: Sequence[Value]) -> int:
    refuse_nul(values)
    cursor = connection.execute(statement.text, values)
    count = max(cursor.rowcount, 0)
    cursor.close()
    return count


def _change_many(connection: sqlite3.Connection, statement: Statement, rows: Sequence[Sequence[Value]]) -> None:
    for row in rows:
        refuse_nul(row)
    connection.executemany(statement.text, rows).close()


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
