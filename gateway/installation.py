"""Opens what an installation stands on: database, schema, master key, vault. `serve` and the operator's commands share it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time

from gateway.core.overrides import chosen
from gateway.operator_file import Installation
from gateway.settings import Settings
from gateway.store.data_keys import SqlDataKeys
from gateway.store.database import Database
from gateway.store.migrate import migrate
from gateway.store.opening import open_database
from gateway.store.sealed_values import SqlSealedValues
from oauth.vault import MasterKey, Vault, load_or_create_master_key, open_ring
from skills_catalog.catalog import Catalog
from skills_catalog.loader import SHIPPED, definition_files, load_catalog
from skills_catalog.versions.lock import warnings

log = logging.getLogger("skillway.catalog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A database at this version's schema, and the vault that opens what is sealed in it."""

    database: Database
    vault: Vault
    master: MasterKey


@asynccontextmanager
async def open_installation(settings: Settings, *, clock: Callable[[], float] = time) -> AsyncIterator[Opened]:
    """Opens the database, migrates it and opens its key ring.

    Raises `NotUsable` (the database) or `KeyProblem` (the master key), both fit to show the operator.
    """
    async with open_store(settings) as database:
        await migrate(database, settings.data_dir)
        keys, sealed = SqlDataKeys(database), SqlSealedValues(database)
        has_sealed_values = await sealed.exist()
        is_new = not has_sealed_values and not await keys.load()
        master = master_key(settings, create=is_new)
        previous = settings.master_key_previous
        ring = await open_ring(
            keys,
            master,
            previous=MasterKey.parse(previous.reveal()) if previous else None,
            has_sealed_values=has_sealed_values,
            clock=clock,
        )
        yield Opened(database=database, vault=Vault(ring), master=master)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Database]:
    """The database alone, at whatever schema it has."""
    url = settings.database_url.reveal() if settings.database_url else None
    database = await open_database(url, settings.data_dir)
    try:
        yield database
    finally:
        await database.close()


def key_file(settings: Settings) -> Path:
    """Where the master key lies if no setting gives it."""
    return settings.data_dir / "master.key"


def master_key(settings: Settings, *, create: bool) -> MasterKey:
    """The master key of the settings or of the data folder; made there for an empty database."""
    if settings.master_key is not None:
        return MasterKey.parse(settings.master_key.reveal())
    return load_or_create_master_key(key_file(settings), create=create)


def read_catalog(installation: Installation) -> Catalog:
    """The shipped integrations and the operator's own, with the operator's choices. Raises `CatalogError`.

    Warns of own definitions that changed without the version that says so, where their folder is locked.
    """
    shipped = {file.stem: file for file in definition_files(SHIPPED)}
    if installation.integrations is not None:
        # What is off need not be read: it is most of a start.
        on = {*installation.integrations, *installation.overrides}
        files = [file for slug, file in shipped.items() if slug in on]
    else:
        files = [*shipped.values()]
    catalog = chosen(load_catalog([*files, *installation.paths]), installation, known=shipped)
    for warning in warnings(installation.paths):
        log.warning("%s", warning)
    return catalog
