"""What the operator's commands share: settings from flags, their failures as messages, one way to print."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from gateway.cli.failures import CommandFailed, Problem
from gateway.operator_file import BadSetting, Installation
from gateway.settings import Settings, load_settings, public_url_of
from gateway.store.database import DiskFailed, NotUsable, StorageUnavailable
from oauth.vault import KeyProblem, SealBroken
from skills_catalog.mistakes import CatalogError

#: `EX_CONFIG` of sysexits: the installation has to be mended first.
MISCONFIGURED = 78

T = TypeVar("T")
Command = Callable[..., Any]


def settings_options(command: Command) -> Command:
    """The flags that say which installation is meant."""
    for option in (
        click.option("--config", metavar="FILE", help="The operator's file (./skills.yaml)."),
        click.option("--database-url", metavar="URL", help="postgresql://… instead of SQLite in the data folder."),
        click.option("--data-dir", metavar="DIR", help="Folder of the database and the master key (./data)."),
    ):
        command = option(command)
    return command


def settings_of(**flags: Any) -> tuple[Settings, Installation]:
    try:
        return load_settings(**flags)
    except BadSetting as error:
        raise misconfigured(str(error)) from None


def public_url(settings: Settings) -> str:
    """How browsers reach the gateway; where that is not known, what to set."""
    try:
        return public_url_of(settings, settings.port)
    except BadSetting as error:
        raise misconfigured(str(error)) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work; what the operator has to mend becomes a message. Files it makes are private."""
    os.umask(0o077)
    try:
        return asyncio.run(work)
    except (BadSetting, NotUsable, KeyProblem, CatalogError, SealBroken) as error:
        raise misconfigured(str(error)) from None
    except DiskFailed as error:
        # The installation is as it should be: a supervisor may start it anew.
        raise CommandFailed(1, Problem(code="storage_unavailable", message=str(error))) from None
    except StorageUnavailable as error:
        cause = error.__cause__
        raise misconfigured(f"{error.message} ({cause})" if cause else error.message) from None


def misconfigured(message: str) -> CommandFailed:
    return CommandFailed(MISCONFIGURED, Problem(code="misconfigured", message=message))


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
