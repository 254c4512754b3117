"""Brings a database to the schema of this version: forward only, each step in a transaction, safe for two at once."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gateway.store.database import AlreadyThere, Database, Dialect, NotUsable, Statements, StorageUnavailable
from gateway.store.sqlite import SqliteDatabase

MIGRATIONS = Path(__file__).parent / "migrations"

_TABLE = """
    CREATE TABLE IF NOT EXISTS migrations (
        number BIGINT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        applied_at BIGINT NOT NULL
    )
"""
_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_BLOB = re.compile(r"\bBLOB\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema, as its file says it."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self, dialect: Dialect) -> list[str]:
        text = "\n".join(line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        if dialect == "postgresql":
            text = _BLOB.sub("BYTEA", text)
        return [statement for part in re.split(r";[ \t]*(?:\n|$)", text) if (statement := part.strip())]


async def migrate(database: Database, data_dir: Path, *, folder: Path = MIGRATIONS) -> list[Migration]:
    """Applies what is pending, and gives it back. An SQLite file with a schema is copied to `before-N.db` first.

    Raises `NotUsable` for a newer schema and for a migration that was changed after it was applied.
    """
    known = load(folder)
    await _prepare(database)
    pending = _pending(known, await _applied(database))
    if pending and pending[0].number > 1 and isinstance(database, SqliteDatabase):
        await _keep_copy(database, data_dir, pending[0].number)

    done = []
    while pending:
        async with database.transaction(patient=True) as transaction:
            if database.dialect == "postgresql":
                # Whoever comes second waits here and then finds the work done. On SQLite BEGIN IMMEDIATE does it.
                await transaction.execute("LOCK TABLE migrations IN EXCLUSIVE MODE")
            pending = _pending(known, await _applied(transaction))
            if pending:
                await _apply(transaction, pending[0], database.dialect)
                done.append(pending[0])
    return done


async def pending(database: Database, *, folder: Path = MIGRATIONS) -> list[Migration]:
    """What `migrate` would apply. Raises `NotUsable` as it does."""
    await _prepare(database)
    return _pending(load(folder), await _applied(database))


def load(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations of a folder, in order, numbered from 1 without a gap."""
    found = []
    for file in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(file.name)
        assert match is not None, f"{file.name} is not named 0001_what_it_does.sql"
        found.append(Migration(number=int(match[1]), name=match[2], sql=file.read_text(encoding="utf-8")))
    assert [migration.number for migration in found] == list(range(1, len(found) + 1)), "a migration is missing"
    return found


async def _prepare(database: Database) -> None:
    if await _has_table(database):
        return
    try:
        await database.execute(_TABLE)
    except (AlreadyThere, StorageUnavailable):
        # On PostgreSQL two that make the same table at once can collide in spite of IF NOT EXISTS.
        if not await _has_table(database):
            raise


async def _has_table(database: Database) -> bool:
    if database.dialect == "sqlite":
        sql = "SELECT 1 AS one FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
    else:
        sql = "SELECT 1 AS one FROM pg_catalog.pg_class WHERE oid = to_regclass('migrations')"
    return await database.fetch_one(sql) is not None


async def _applied(statements: Statements) -> dict[int, str]:
    rows = await statements.fetch("SELECT number, checksum FROM migrations ORDER BY number")
    return {row["number"]: row["checksum"] for row in rows}


def _pending(known: Sequence[Migration], applied: dict[int, str]) -> list[Migration]:
    newest = max(applied, default=0)
    if newest > len(known):
        raise NotUsable(
            f"The database has schema {newest}, this Skillway knows {len(known)}. Run the newer Skillway, "
            f"or restore a backup that was made before the upgrade (`before-{len(known) + 1}.db`)."
        )
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise NotUsable(
                f"Migration {migration.number} ({migration.name}) was changed after it had been applied to this "
                "database. Run the Skillway that made it, or restore a backup."
            )
    return [migration for migration in known if migration.number not in applied]


async def _apply(transaction: Statements, migration: Migration, dialect: Dialect) -> None:
    for statement in migration.statements(dialect):
        await transaction.execute(statement)
    await transaction.execute(
        "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (:number, :name, :checksum, :now)",
        number=migration.number,
        name=migration.name,
        checksum=migration.checksum,
        now=int(time.time() * 1000),
    )


async def _keep_copy(database: SqliteDatabase, data_dir: Path, number: int) -> None:
    copy = data_dir / f"before-{number}.db"
    beside = data_dir / f".before-{number}.{os.getpid()}.{os.urandom(4).hex()}"
    await database.copy_into(beside)
    try:
        # Another process may have migrated while we copied; its own copy is the one from before.
        with closing(sqlite3.connect(beside)) as connection:
            newest = connection.execute("SELECT MAX(number) FROM migrations").fetchone()[0]
        if newest == number - 1:
            os.replace(beside, copy)
    finally:
        beside.unlink(missing_ok=True)
