"""What every test may use: the data beside the checkout, databases, and a loud word where something is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.postgres import PostgresMissing, fresh_database, postgres

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


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; the tests that use it are marked `shared`."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    try:
        with postgres() as url:
            yield url
    except PostgresMissing as error:
        lacking(str(error))


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A new, empty PostgreSQL database."""
    return fresh_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_setting(request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting that chooses the database: once for each that we support."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgres_url")}
