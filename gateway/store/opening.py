"""Opens the database that a URL names."""

from __future__ import annotations

from pathlib import Path

from gateway.store.database import Database, NotUsable
from gateway.store.postgres import PostgresDatabase
from gateway.store.sqlite import SqliteDatabase


async def open_database(url: str | None, data_dir: Path) -> Database:
    """`postgresql://…`, or SQLite: `skillway.db` in the data folder, or the file of a `sqlite:///path`."""
    if not url:
        return await SqliteDatabase.open(data_dir / "skillway.db")
    scheme = url.partition(":")[0]
    if scheme in ("postgresql", "postgres"):
        return await PostgresDatabase.open(url)
    if url.startswith("sqlite:///"):
        return await SqliteDatabase.open(Path(url.removeprefix("sqlite://")))
    raise NotUsable(f"The database URL starts with {scheme!r}; known are postgresql:// and sqlite:///.")
