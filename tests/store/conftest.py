"""The databases that every store test runs on: an SQLite file, and a PostgreSQL that the session starts itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.tenants.keys import Org
from gateway.store.backup import TABLES
from gateway.store.data_keys import SqlDataKeys
from gateway.store.database import Database
from gateway.store.migrate import migrate
from gateway.store.orgs import SqlOrgs
from oauth.vault import MasterKey, Vault, open_ring
from tests.fakes.postgres import PostgresMissing, drop_database, fresh_database, postgres
from tests.store.samples import Clock, opened


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    try:
        server = postgres(fsync=False)
        url = server.__enter__()
    except PostgresMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NO POSTGRESQL, half of the store is not tested: {missing}")
    try:
        yield url
    finally:
        server.__exit__(None, None, None)


@pytest.fixture
def fresh_postgres(postgres_url: str) -> Iterator[str]:
    """URL of an empty database."""
    url = fresh_database(postgres_url)
    yield url
    drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path / 'data' / 'skillway.db'}"
    return str(request.getfixturevalue("fresh_postgres"))


@pytest.fixture(scope="session")
def shared_postgres(postgres_url: str) -> Iterator[str]:
    """URL of a database that tests use one after the other; making one for each would cost most of their time."""
    url = fresh_database(postgres_url)
    yield url
    drop_database(url)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated, empty database of each kind."""
    url = str(request.getfixturevalue("shared_postgres")) if request.param == "postgresql" else None
    async with opened(url, tmp_path / "data") as database:
        await migrate(database, tmp_path / "data")
        for table in reversed([*TABLES]):
            await database.execute(f"DELETE FROM {table}")
        yield database


@pytest_asyncio.fixture
async def vault(database: Database) -> Vault:
    return Vault(await open_ring(SqlDataKeys(database), MasterKey.generate(), has_sealed_values=False))


@pytest_asyncio.fixture
async def org(database: Database) -> Org:
    return await SqlOrgs(database).create("Acme")


@pytest_asyncio.fixture
async def other_org(database: Database) -> Org:
    return await SqlOrgs(database).create("Other")


@pytest.fixture
def clock() -> Clock:
    return Clock()
