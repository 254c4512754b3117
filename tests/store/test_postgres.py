"""What only PostgreSQL must prove: a server that goes, hangs and comes back, and poolers in between."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from gateway.store import postgres
from gateway.store.database import StorageUnavailable
from gateway.store.migrate import migrate
from gateway.store.orgs import SqlOrgs
from gateway.store.postgres import PostgresDatabase
from gateway.store.runs import RunWriter
from tests.fakes.postgres import PostgresServer, fresh_database, postgres_server
from tests.store.samples import a_run, ended


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[PostgresServer]:
    """One of our own, to stop and to freeze; where there is no PostgreSQL, `postgres_url` has skipped already."""
    with postgres_server(fsync=False) as running:
        yield running


@pytest_asyncio.fixture
async def database(server: PostgresServer, tmp_path: Path) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(fresh_database(server.url), size=4)
    await migrate(opened, tmp_path)
    yield opened
    await opened.close()


@pytest.mark.failure("R08")
async def test_after_a_crash_the_server_is_used_again_at_once(
    server: PostgresServer, database: PostgresDatabase
) -> None:
    orgs = SqlOrgs(database)
    await asyncio.gather(*(orgs.create(f"org {number}") for number in range(8)))  # every connection of the pool
    server.stop()
    started = time.monotonic()
    for _ in range(6):
        with pytest.raises(StorageUnavailable):
            await orgs.list()
    with pytest.raises(StorageUnavailable):
        await database.check()
    assert time.monotonic() - started < 20
    server.start()
    assert len(await orgs.list()) == 8
    await asyncio.gather(*(orgs.list() for _ in range(8)))


async def test_runs_outlast_a_crash_of_the_server(server: PostgresServer, database: PostgresDatabase) -> None:
    runs = RunWriter(database, delay=3600)
    begun = a_run("org_1")
    await runs.begin(begun)
    server.stop()
    with pytest.raises(StorageUnavailable):
        await runs.begin(a_run("org_1"))
    runs.record(ended(begun))
    with pytest.raises(StorageUnavailable):
        await runs.flush()
    server.start()
    await runs.flush()
    assert (await runs.list("org_1"))[0] == [ended(begun)]
    assert (await database.fetch("SELECT state FROM runs"))[0]["state"] == "completed"
    await runs.close()


@pytest.mark.failure("R08")
async def test_a_server_that_hangs_is_given_up_in_time_and_its_connections_dropped(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("ACQUIRE_SECONDS", "CONNECT_SECONDS", "STATEMENT_SECONDS"):
        monkeypatch.setattr(postgres, limit, 0.3)
    database = await PostgresDatabase.open(fresh_database(server.url), size=2)
    await migrate(database, tmp_path)
    orgs = SqlOrgs(database)
    server.pause()
    signal_sessions(server, signal.SIGSTOP)
    started = time.monotonic()
    refused = await asyncio.gather(*(orgs.list() for _ in range(4)), return_exceptions=True)
    assert [type(each) for each in refused] == [StorageUnavailable] * 4
    assert time.monotonic() - started < 20
    signal_sessions(server, signal.SIGCONT)
    server.resume()
    assert [*await orgs.list()] == []
    await orgs.create("Acme")
    await database.close()


def signal_sessions(server: PostgresServer, what: signal.Signals) -> None:
    """To the processes that serve connections: they go on when their parent is stopped."""
    for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
        os.kill(int(child), what)


async def test_a_server_that_is_not_there_is_unavailable(server: PostgresServer) -> None:
    with pytest.raises(StorageUnavailable):
        await PostgresDatabase.open("postgresql://skillway:x@127.0.0.1:1/nothing")


async def test_more_tasks_than_connections_all_get_their_turn(database: PostgresDatabase) -> None:
    async def count(number: int) -> None:
        async with database.transaction() as transaction:
            await transaction.execute("INSERT INTO installation (name, value) VALUES (:n, '1')", n=str(number))
            await transaction.fetch("SELECT * FROM installation")

    await asyncio.gather(*(count(number) for number in range(60)))
    assert len(await database.fetch("SELECT * FROM installation")) == 60


async def test_a_session_killed_by_the_server_is_replaced(server: PostgresServer, database: PostgresDatabase) -> None:
    orgs = SqlOrgs(database)
    with pytest.raises(StorageUnavailable):
        async with database.transaction() as transaction:
            row = await transaction.fetch_one("SELECT pg_backend_pid() AS pid")
            assert row is not None
            other = await asyncpg.connect(server.url)
            await other.execute("SELECT pg_terminate_backend($1)", row["pid"])
            await other.close()
            await transaction.execute("DELETE FROM orgs")
    assert [*await orgs.list()] == []


@pytest.mark.failure("R10")
async def test_every_statement_stands_inside_a_transaction_and_leaves_no_state(
    server: PostgresServer, database: PostgresDatabase
) -> None:
    """What a pooler in transaction mode needs: it may hand each transaction another server."""
    inside = await database.fetch_one("SELECT now() = statement_timestamp() AS alone, pg_backend_pid() AS pid")
    assert inside is not None and inside["alone"] is False
    prepared = await database.fetch_one("SELECT COUNT(*) AS n FROM pg_prepared_statements WHERE name <> ''")
    assert prepared is not None and prepared["n"] == 0
    held = await database.fetch("SELECT locktype FROM pg_locks WHERE locktype = 'advisory'")
    listening = await database.fetch("SELECT pg_listening_channels() AS channel")
    assert not held and not listening
    other = await asyncpg.connect(server.url)
    state = await other.fetchval("SELECT state FROM pg_stat_activity WHERE pid = $1", inside["pid"])
    await other.close()
    assert state == "idle"
