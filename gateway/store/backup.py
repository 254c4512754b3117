"""Backups, restores, and moves between databases: all one copy of every table, seen at one moment."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from gateway.store.database import Database, NotUsable, Row, Statements
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase
from oauth.secret import Secret
from oauth.vault import fingerprint_of

#: Every table but `migrations`, what is referred to first, with its primary key.
TABLES: Mapping[str, Sequence[str]] = {
    "installation": ("name",),
    "data_keys": ("id",),
    "orgs": ("id",),
    "api_keys": ("id",),
    "connections": ("id",),
    "flows": ("connection",),
    "org_clients": ("org", "integration"),
    "leases": ("name",),
    "runs": ("id",),
    "entries": ("org", "id"),
    "events": ("id",),
    "blobs": ("org", "place"),
    "deprecation_notices": ("org", "integration", "action", "since"),
    "members": ("id",),
    "sessions": ("id",),
    "sign_in_links": ("member",),
    "sign_in_flows": ("id",),
    "device_flows": ("id",),
    "tries": ("name",),
    "webhooks": ("id",),
    "signing_secrets": ("org", "mode"),
    "endpoints": ("org", "name"),
    "deliveries": ("id",),
    "hooks": ("id",),
    "hook_messages": ("hook", "name"),
    "sandbox_things": ("org", "id"),
}
_BATCH = 500
#: Rows that are large are copied fewer at a time.
_LARGE = {"blobs": 16}
#: In a backup `--with-key`, the row of `installation` that holds the master key.
_KEY = "master_key_in_backup"


async def backup(database: Database, file: Path, *, with_key: Secret | None = None) -> None:
    """Writes one SQLite file of mode 0600, whatever database it comes from, beside running traffic.

    The master key is in it only where it is given. Raises `NotUsable` where the file exists.
    """
    if file.exists():
        raise NotUsable(f"{file} exists already; a backup never replaces a file.")
    # Not beside the target: that may be a network file system, which a running SQLite does not bear.
    with _workplace(database.path.parent if isinstance(database, SqliteDatabase) else None) as folder:
        copy = folder / "backup.db"
        if isinstance(database, SqliteDatabase):
            await database.copy_into(copy)
        else:
            target = await SqliteDatabase.open(copy)
            try:
                await migrate(target, folder)
                await copy_to(database, target)
            finally:
                await target.close()
        await asyncio.to_thread(_seal_off, copy, with_key)
        await asyncio.to_thread(_deliver, copy, file)


async def restore(file: Path, target: Database, *, fingerprint: str | None, force: bool = False) -> Mapping[str, int]:
    """Copies a backup into a migrated database, in one transaction; says how many rows each table got.

    `fingerprint` is that of this installation's master key. Raises `NotUsable` where the backup was sealed
    under another one, and where the target holds anything, unless forced: then that is replaced.
    """
    with _opened(file) as connection:
        wrapped = [row[0] for row in connection.execute("SELECT wrapped FROM data_keys")]
    for theirs in sorted({fingerprint_of(key) for key in wrapped}):
        if theirs != fingerprint:
            raise NotUsable(
                f"{file} was sealed under the master key {theirs}, but this installation has "
                f"{fingerprint or 'none'}. Give the key that belongs to the backup."
            )
    with _workplace(None) as folder:
        copy = folder / "backup.db"
        await asyncio.to_thread(shutil.copyfile, file, copy)
        source = await SqliteDatabase.open(copy)
        try:
            # A backup of an older version is first brought to this version's schema.
            await migrate(source, folder)
            await source.execute("DELETE FROM installation WHERE name = :name", name=_KEY)
            return await copy_to(source, target, replace=force)
        finally:
            await source.close()


def key_in(file: Path) -> Secret | None:
    """The master key that a backup carries, if it was made with one."""
    with _opened(file) as connection:
        row = connection.execute("SELECT value FROM installation WHERE name = ?", (_KEY,)).fetchone()
    return None if row is None else Secret(row[0])


async def copy_to(source: Database, target: Database, *, replace: bool = False) -> Mapping[str, int]:
    """Copies every table into a migrated, empty database, or nothing at all; says how many rows each has.

    `replace` empties the target first. Raises `NotUsable` where the schemas differ, the target holds
    something, or the counts do not agree in the end.
    """
    copied = {}
    async with source.snapshot() as old, target.transaction(patient=True) as new:
        if await _schema(old) != await _schema(new):
            raise NotUsable("The two databases have different schemas; run `skillway migrate` on both first.")
        await _make_room(new, replace)
        for table in TABLES:
            copied[table] = await _copy_table(old, new, table)
            if not copied[table] == await _count(old, table) == await _count(new, table):
                raise NotUsable(f"Table {table} did not arrive whole; nothing was changed.")
    return copied


async def _schema(statements: Statements) -> list[tuple[int, str]]:
    rows = await statements.fetch("SELECT number, checksum FROM migrations ORDER BY number")
    return [(row["number"], row["checksum"]) for row in rows]


async def _make_room(target: Statements, replace: bool) -> None:
    for table in reversed([*TABLES]):
        if replace:
            await target.execute(f"DELETE FROM {table}")
        elif await _count(target, table):
            raise NotUsable(f"The target is not empty: table {table} has rows.")


async def _copy_table(source: Statements, target: Statements, table: str) -> int:
    key = TABLES[table]
    place, batch = ", ".join(key), _LARGE.get(table, _BATCH)
    select = f"SELECT * FROM {table} ORDER BY {place} LIMIT {batch}"
    following = (
        f"SELECT * FROM {table} WHERE ({place}) > ({', '.join(f':{name}' for name in key)}) "
        f"ORDER BY {place} LIMIT {batch}"
    )
    rows = await source.fetch(select)
    count = 0
    while rows:
        names = list(rows[0].keys())
        await target.execute_many(_insert(table, names), [[row[name] for name in names] for row in rows])
        count += len(rows)
        rows = await source.fetch(following, **_key_of(rows[-1], key))
    return count


def _insert(table: str, names: Sequence[str]) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(f':{name}' for name in names)})"


def _key_of(row: Row, key: Sequence[str]) -> dict[str, str]:
    return {name: row[name] for name in key}


async def _count(statements: Statements, table: str) -> int:
    row = await statements.fetch_one(f"SELECT COUNT(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])


def _seal_off(copy: Path, with_key: Secret | None) -> None:
    # One file: without the write-ahead log, which would otherwise stand beside it.
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = DELETE")
        if with_key is not None:
            connection.execute("INSERT INTO installation (name, value) VALUES (?, ?)", (_KEY, with_key.reveal()))


def _deliver(copy: Path, file: Path) -> None:
    """Puts a whole file there, or none: under another name first, and never over one that came meanwhile."""
    beside = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
    try:
        with copy.open("rb") as source, open(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        try:
            os.link(beside, file)
        except FileExistsError:
            raise NotUsable(f"{file} exists already; a backup never replaces a file.") from None
        except OSError:  # a file system without links
            os.rename(beside, file)
    except OSError as error:
        raise NotUsable(f"The backup {file} cannot be written: {error.strerror}.") from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise NotUsable(f"{file} is damaged.")
            yield connection
    except sqlite3.Error as error:
        raise NotUsable(f"{file} is not a backup of Skillway: {error}.") from error


@contextmanager
def _workplace(parent: Path | None) -> Iterator[Path]:
    """A folder of mode 0700 that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".skillway-", dir=parent) as folder:
        yield Path(folder)
