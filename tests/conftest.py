"""What every test may use: the data beside the checkout, databases, and a loud word where something is missing."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import time
from urllib.parse import urlsplit

import pytest
from hypothesis import settings

from gateway.store.migrate import migrate
from gateway.store.opening import open_database
from skills_catalog.loader import SHIPPED, load_catalog
from tests.demo import Desk, demo
from tests.fakes.postgres import PostgresMissing, fresh_database, postgres
from tests.fakes.provider import Provider, ProviderUnavailable, available_providers, provider_process
from tests.fakes.upstream import HandClock

# Started in the background of a shell, we ignore Ctrl-C, and every child that a test starts would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one made-up example takes is the machine's matter; of most properties fifty tell as much as a hundred.
settings.register_profile("here", deadline=None, max_examples=50)
settings.load_profile("here")

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SKILLWAY_SHARED") or ROOT.parent / "shared")


def lacking(what: str) -> None:
    """Skips loudly; where CI runs, a skip is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="the data beside the checkout is not there"))


@pytest.fixture(scope="session", autouse=True)
def settled() -> None:
    """What every test shares is not looked through again whenever rubbish is collected."""
    load_catalog([SHIPPED])
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; the tests that use it are marked `shared`."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    try:
        # It is never killed here, what uses it is; so nothing needs to reach the disk.
        with postgres(fsync=False) as url:
            yield url
    except PostgresMissing as error:
        lacking(str(error))


@pytest.fixture(scope="session")
def migrated(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a database that has every table; to copy it takes a third of what migrating takes."""
    url = fresh_database(postgres_server)

    async def make() -> None:
        folder = tmp_path_factory.mktemp("template")
        database = await open_database(url, folder)
        try:
            await migrate(database, folder)
        finally:
            await database.close()

    asyncio.run(make())
    return urlsplit(url).path[1:]


@pytest.fixture
def postgres_url(postgres_server: str, migrated: str) -> str:
    """A new PostgreSQL database that holds nothing."""
    return fresh_database(postgres_server, template=migrated)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_setting(request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting that chooses the database: once for each that we support."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_url")}


@pytest.fixture(scope="module", params=["oidc", "dot"])
def server(request: pytest.FixtureRequest) -> Iterator[Provider]:
    """Each kind of authorization server: it uses a refresh token up, and kills the grant when an old one comes back."""
    with _started(str(request.param)) as started:
        yield started


@pytest.fixture(scope="module")
def one_server() -> Iterator[Provider]:
    """Any authorization server: for what does not depend on which."""
    with _started(available_providers()[0] if available_providers() else "oidc") as started:
        yield started


@contextmanager
def _started(kind: str) -> Iterator[Provider]:
    if kind not in available_providers():
        lacking(f"the OAuth server {kind!r}")
    with ExitStack() as stack:
        try:
            started = stack.enter_context(provider_process(kind))
        except ProviderUnavailable as refusal:
            lacking(str(refusal))
        yield started


@pytest.fixture
def clock() -> HandClock:
    """A clock at the present time, moved by hand."""
    return HandClock(time())


@pytest.fixture
async def desk(tmp_path: Path, server: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    """A gateway, a person's browser and an authorization server of each kind."""
    async with demo(tmp_path, server, clock=clock) as made:
        yield made


@pytest.fixture
async def one_desk(tmp_path: Path, one_server: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    """The same with any one authorization server."""
    async with demo(tmp_path, one_server, clock=clock) as made:
        yield made
