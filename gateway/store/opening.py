"""Opens what a URL names; of the drivers those alone are loaded that are used, for they take long to load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.core.tenants.counters import SharedCounters
from gateway.store.database import Database, NotUsable
from gateway.store.sqlite import SqliteDatabase


async def open_database(url: str | None, data_dir: Path) -> Database:
    """`postgresql://…`, or SQLite: `skillway.db` in the data folder, or the file of a `sqlite:///path`."""
    if not url:
        return await SqliteDatabase.open(data_dir / "skillway.db")
    scheme = url.partition(":")[0]
    if scheme in ("postgresql", "postgres"):
        from gateway.store.postgres import PostgresDatabase

        return await PostgresDatabase.open(url)
    if url.startswith("sqlite:///"):
        return await SqliteDatabase.open(Path(url.removeprefix("sqlite://")))
    raise NotUsable(f"The database URL starts with {scheme!r}; known are postgresql:// and sqlite:///.")


def shared_counters(url: str, *, installation: str, clock: Callable[[], float]) -> SharedCounters:
    """Counts in a Valkey or Redis; `installation` keeps two that share a server apart."""
    from gateway.store.valkey import ValkeyCounters

    return ValkeyCounters(url, installation=installation, clock=clock)
