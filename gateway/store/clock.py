"""The database's own clock in SQL: replicas whose clocks differ still agree on what is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.store.database import Dialect, Value

_NOW: Mapping[Dialect, str] = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
}


class DatabaseClock:
    """The present inside a statement, in unix milliseconds. `clock` (unix seconds) replaces it, for tests."""

    def __init__(self, dialect: Dialect, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._sql = _NOW[dialect] if clock is None else "CAST(:now AS BIGINT)"

    def into(self, sql: str) -> str:
        """The statement with its `{now}` filled in; its parameters are then `params()` beside its own."""
        return sql.replace("{now}", self._sql)

    def params(self) -> dict[str, Value]:
        return {} if self._clock is None else {"now": round(self._clock() * 1000)}
