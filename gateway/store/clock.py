"""The database's own clock in SQL: replicas whose clocks differ still agree on when a lease ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.store.database import Dialect

_NOW: Mapping[Dialect, str] = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
}


def now_in(dialect: Dialect, clock: Callable[[], float] | None) -> str:
    """The present in unix milliseconds, or the parameter `:now` where a clock is given instead."""
    return _NOW[dialect] if clock is None else "CAST(:now AS BIGINT)"
