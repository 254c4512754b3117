"""PostgreSQL: a pool of connections that keep no session state, so that any pooler may stand in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Literal

import asyncpg

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

#: How long we wait for a free connection, for a new one, and for the answer to a statement.
ACQUIRE_SECONDS = 5.0
CONNECT_SECONDS = 2.0
STATEMENT_SECONDS = 10.0
#: The same for a statement of a migration or a copy.
PATIENT_SECONDS = 86400.0
POOL_SIZE = 10

_GONE = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)


class PostgresDatabase:
    """A pool. Open it with `PostgresDatabase.open(url)`."""

    dialect: Dialect = "postgresql"

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._holders: set[asyncio.Task[Any]] = set()
        self._listeners = Listeners()

    @classmethod
    async def open(cls, url: str, *, size: int = POOL_SIZE) -> PostgresDatabase:
        pool = None
        try:
            with _translated():
                pool = await asyncpg.create_pool(
                    url,
                    # None is kept for its own sake: the driver would look for it in the background, and log.
                    min_size=0,
                    max_size=size,
                    # A pooler hands out another server for each transaction: statements prepared by name are
                    # not there any more.
                    statement_cache_size=0,
                    command_timeout=STATEMENT_SECONDS,
                    timeout=CONNECT_SECONDS,
                    # We leave nothing in a session, so there is nothing to reset and one round trip less.
                    reset=_keep,
                    server_settings={"application_name": "skillway"},
                )
            database = cls(pool)
            await database.check()
        except BaseException as error:
            if pool is not None:
                pool.terminate()
            if isinstance(error, ValueError):
                # The driver's message may hold the URL and so the password.
                raise NotUsable("The URL is not of the form postgresql://user:password@host:port/name.") from None
            raise
        return database

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        async with self.transaction() as transaction:
            return await transaction.fetch(sql, **params)

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        async with self.transaction() as transaction:
            return await transaction.fetch_one(sql, **params)

    async def execute(self, sql: str, /, **params: Value) -> int:
        async with self.transaction() as transaction:
            return await transaction.execute(sql, **params)

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        await self.write([(sql, rows)])

    async def write(self, batches: Sequence[Batch], /) -> None:
        async with self.transaction() as transaction:
            for sql, rows in batches:
                await transaction.execute_many(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[_Transaction]:
        # Single statements come here too: the driver sends them in two steps, and a pooler in transaction
        # mode could give each step another server.
        async with self._transaction("read_committed", patient) as transaction:
            yield transaction
        self._listeners.tell(transaction.told)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[_Transaction]:
        async with self._transaction("repeatable_read", patient=True) as transaction:
            yield transaction

    def tell(self, topic: str) -> None:
        self._listeners.tell((topic,))

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        self._listeners.add(topic, listener)

    async def check(self) -> None:
        await self.fetch_one("SELECT 1 AS one")

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._pool.close(), STATEMENT_SECONDS)
        except (*_GONE, asyncpg.PostgresError):
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def _transaction(
        self, isolation: Literal["read_committed", "repeatable_read"], patient: bool
    ) -> AsyncIterator[_Transaction]:
        task = asyncio.current_task()
        assert task is not None
        if task in self._holders:
            # It would take a second connection while it keeps the first: enough such tasks stop each other for ever.
            raise RuntimeError("inside a transaction use what transaction() yields: the pool is not endless")
        with _translated():
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        self._holders.add(task)
        try:
            with _translated():
                transaction = connection.transaction(isolation=isolation, readonly=isolation == "repeatable_read")
                await transaction.start()
            yield _Transaction(connection, PATIENT_SECONDS if patient else None)
            with _translated():
                await transaction.commit()
        except BaseException as error:
            # A connection that is lost has left the pool by itself, and refuses even these.
            with contextlib.suppress(StorageUnavailable), _translated():
                if _hangs(error):
                    # A polite good-bye would wait for a server that does not answer.
                    connection.terminate()
                elif connection.is_in_transaction():
                    await transaction.rollback()
            raise
        finally:
            self._holders.discard(task)
            with contextlib.suppress(StorageUnavailable), _translated():
                await self._pool.release(connection, timeout=CONNECT_SECONDS)


class _Transaction:
    """Statements on one connection that is inside a transaction."""

    def __init__(self, connection: Any, timeout: float | None) -> None:
        self._connection = connection
        # None: the pool's own limit.
        self._timeout = timeout
        #: Topics that are told after the commit.
        self.told: set[str] = set()

    async def fetch(self, sql: str, /, **params: Value) -> Sequence[Row]:
        statement = compile_sql(sql, "postgresql")
        values = statement.values(params)
        refuse_nul(values)
        with _translated():
            rows: Sequence[Row] = await self._connection.fetch(statement.text, *values, timeout=self._timeout)
        return rows

    async def fetch_one(self, sql: str, /, **params: Value) -> Row | None:
        rows = await self.fetch(sql, **params)
        return rows[0] if rows else None

    async def execute(self, sql: str, /, **params: Value) -> int:
        statement = compile_sql(sql, "postgresql")
        values = statement.values(params)
        refuse_nul(values)
        with _translated():
            done: str = await self._connection.execute(statement.text, *values, timeout=self._timeout)
        # `UPDATE 3`, `INSERT 0 3`, `CREATE TABLE`
        count = done.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]], /) -> None:
        statement = compile_sql(sql, "postgresql")
        for row in rows:
            refuse_nul(row)
        with _translated():
            await self._connection.executemany(statement.text, rows, timeout=self._timeout)

    def tell(self, topic: str) -> None:
        self.told.add(topic)


def _hangs(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError) or isinstance(error.__cause__, _GONE)


async def _keep(_connection: Any) -> None:
    """What a connection goes through before it returns to the pool: nothing."""


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        # The detail names the value.
        raise AlreadyThere(str(error.constraint_name)) from error
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
        raise NotStorable from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # the driver could not encode a value; nothing was sent
            raise NotStorable from error
        raise StorageUnavailable from error
    except UnicodeEncodeError as error:
        raise NotStorable from error
    except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise StorageUnavailable from error
