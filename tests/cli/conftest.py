"""What the tests of the command line share: a gateway, and ways to run the command against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .gateway_fake import FakeGateway
from .shell import Shell


@pytest.fixture
def fake() -> Iterator[FakeGateway]:
    with FakeGateway() as gateway:
        yield gateway


@pytest.fixture
def shell(fake: FakeGateway, tmp_path: Path) -> Shell:
    """A shell that is logged in to the fake gateway by its environment, in a folder of its own."""
    return Shell.at(tmp_path, url=fake.url)


@pytest.fixture(autouse=True)
def no_login_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SKILLWAY_") and name != "SKILLWAY_SHARED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
