"""The database as the stores see it: a few methods with named parameters, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

from gateway.core.errors import Refusal

Dialect = Literal["sqlite", "postgresql"]
#: What a parameter or a column can hold. Times are integer milliseconds, truths 0 and 1.
Value = str | int | float | bytes | None


class StorageUnavailable(Refusal):
    """The database did not do it: it is down, locked, full or hung. The driver's error is the cause."""

    def __init__(self) -> None:
        super().__init__("storage_unavailable", "The database cannot be used at the moment.", retry_after_ms=1000)


class AlreadyThere(Exception):
    """A row with the same unique value exists."""


class NotStorable(Refusal, ValueError):
    """A value that the schema refuses: a NUL in a text, a reference to nothing, a wrong type.

    It came with a request, so it is told as a bad one; the driver's error is the cause.
    """

    def __init__(self) -> None:
        super().__init__("bad_request", "A value holds what cannot be stored, such as a NUL character.")


class NotUsable(Exception):
    """This database must not be used as it is; the message tells the operator why, and what to do."""


class Row(Protocol):
    """One row; values by column name."""

    def __getitem__(self, name: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


class Statements(Protocol):
    """SQL with `:name` parameters. Every method may raise `StorageUnavailable`."""

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]: ...

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None: ...

    async def execute(self, sql: str, /, **params: Value) -> int:
        """Says how many rows were changed."""
        ...

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        """Once per row; the values stand in the order in which the SQL first names its parameters."""
        ...

    def tell(self, topic: str) -> None:
        """Whoever listens for the topic in this process is told, once what was written is committed."""
        ...


#: One statement and its rows, for `Database.write`.
Batch = tuple[str, Sequence[Sequence[Value]]]


class Database(Statements, Protocol):
    """A database. Statements outside `transaction()` are transactions of their own."""

    @property
    def dialect(self) -> Dialect: ...

    async def write(self, batches: Sequence[Batch], /) -> None:
        """All of it in one transaction, in one go: the group commit."""
        ...

    def transaction(self, *, patient: bool = False) -> AbstractAsyncContextManager[Statements]:
        """Writes that happen together or not at all. `patient` lifts the time limit of a statement.

        Inside it only the yielded object may be used: the database itself would wait for this transaction.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Statements]:
        """Reads that all see the same moment, however long they take; no writer waits for them."""
        ...

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        """What `Statements.tell` calls. What other processes write is not heard of."""
        ...

    async def check(self) -> None:
        """A cheap sign of life; raises `StorageUnavailable`."""
        ...

    async def close(self) -> None: ...


class Listeners:
    """Who in this process wants to hear what was committed."""

    def __init__(self) -> None:
        self._by_topic: dict[str, list[Callable[[], None]]] = {}

    def add(self, topic: str, listener: Callable[[], None]) -> None:
        self._by_topic.setdefault(topic, []).append(listener)

    def tell(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for listener in self._by_topic.get(topic, ()):
                listener()


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL in a driver's spelling, and the names of its parameters by position."""

    text: str
    names: tuple[str, ...]
    reads: bool

    def values(self, params: Mapping[str, Value]) -> list[Value]:
        """The parameters in order; a missing or unknown one is a mistake of ours."""
        if len(params) != len(self.names):
            raise TypeError(f"parameters {sorted(params)} do not fit {sorted(self.names)}: {self.text}")
        return [params[name] for name in self.names]


#: What is not a parameter comes first: strings, quoted names, comments, casts.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|::|:([a-z_][a-z0-9_]*)")
_READS = re.compile(r"\s*SELECT\b", re.IGNORECASE)


@lru_cache(maxsize=1024)
def compile_sql(sql: str, dialect: Dialect) -> Statement:
    """`:name` becomes `?1` or `$1`; a name used twice is one parameter."""
    names: list[str] = []
    mark = "?" if dialect == "sqlite" else "$"

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in names:
            names.append(name)
        return f"{mark}{names.index(name) + 1}"

    text = _TOKEN.sub(number, sql)
    return Statement(text, tuple(names), _READS.match(sql) is not None)


def refuse_nul(values: Iterable[Value]) -> None:
    """PostgreSQL has no NUL in a text; SQLite must not take what could never be moved there."""
    for value in values:
        if isinstance(value, str) and "\0" in value:
            raise NotStorable
