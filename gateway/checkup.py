"""What `skillway doctor` looks at: everything that keeps a fresh installation from working, with the fix."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import urlsplit

from gateway.core.people.sign_in import redirect_uri
from gateway.installation import key_file, open_installation, read_catalog
from gateway.operator_file import BadSetting, Installation
from gateway.settings import Settings, check_together, public_url_of
from gateway.store.database import NotUsable, StorageUnavailable
from oauth.vault import KeyProblem
from skills_catalog.mistakes import CatalogError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check, how it went, and what to do."""

    name: str
    ok: bool
    message: str

    def shown(self) -> dict[str, Any]:
        return {"check": self.name, "ok": self.ok, "message": self.message}


async def checkup(settings: Settings, installation: Installation) -> list[Finding]:
    """All findings, in the order in which a start would meet them."""
    return [finding async for finding in _findings(settings, installation)]


def others_may_write(path: Path) -> bool:
    """Whether somebody else could change this file, and with it where credentials are sent."""
    return path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o022 != 0


async def _findings(settings: Settings, installation: Installation) -> AsyncIterator[Finding]:
    yield _public_url(settings)
    yield _config(settings.config)
    yield _sign_in(settings, installation)
    async for finding in _store(settings):
        yield finding
    async for finding in _catalog(settings, installation):
        yield finding


def _public_url(settings: Settings) -> Finding:
    try:
        url = public_url_of(settings, settings.port)
    except BadSetting as error:
        return Finding(name="public address", ok=False, message=str(error))
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return Finding(
            name="public address",
            ok=False,
            message=f"{url} is plain http: keys and consent would travel in the open. Put a TLS proxy in front.",
        )
    return Finding(name="public address", ok=True, message=url)


def _config(path: Path) -> Finding:
    if not path.exists():
        return Finding(name="skills.yaml", ok=True, message=f"{path} is not there; every default holds")
    if others_may_write(path):
        return Finding(name="skills.yaml", ok=False, message=f"others may write {path}: chmod go-w {path}")
    return Finding(name="skills.yaml", ok=True, message=str(path))


def _sign_in(settings: Settings, installation: Installation) -> Finding:
    try:
        check_together(settings, installation)
        by = "by links (skillway orgs invite)"
        if settings.oidc_issuer is not None:
            by += f" and at {settings.oidc_issuer}; redirect URI {redirect_uri(public_url_of(settings, settings.port))}"
    except BadSetting as error:
        return Finding(name="sign-in", ok=False, message=str(error))
    return Finding(name="sign-in", ok=True, message=f"{by}; sign-up {settings.signup}")


async def _store(settings: Settings) -> AsyncIterator[Finding]:
    try:
        async with open_installation(settings) as opened:
            yield Finding(name="database", ok=True, message=f"{opened.database.dialect}, at this version's schema")
            yield await _clock(opened.database)
            where = "SKILLWAY_MASTER_KEY" if settings.master_key else str(key_file(settings))
            yield Finding(name="master key", ok=True, message=f"{opened.master.fingerprint}, from {where}")
    except (NotUsable, StorageUnavailable) as error:
        yield Finding(name="database", ok=False, message=str(error))
    except KeyProblem as error:
        yield Finding(name="master key", ok=False, message=str(error))


async def _clock(database: Any) -> Finding:
    if database.dialect == "sqlite":
        row = await database.fetch_one("SELECT strftime('%s', 'now') AS now")
    else:
        row = await database.fetch_one("SELECT extract(epoch FROM now())::bigint AS now")
    apart = abs(time() - float(row["now"]))
    return Finding(
        name="clock",
        ok=apart < 5,
        message=f"{apart:.0f} s apart from the database's"
        + ("" if apart < 5 else "; leases and tokens need them together"),
    )


async def _catalog(settings: Settings, installation: Installation) -> AsyncIterator[Finding]:
    try:
        catalog = read_catalog(installation)
    except (CatalogError, BadSetting) as error:
        yield Finding(name="catalog", ok=False, message=str(error))
        return
    count = sum(len(integration.skills) for integration in catalog.integrations.values())
    yield Finding(name="catalog", ok=True, message=f"{len(catalog.integrations)} integrations, {count} actions")
    try:
        url = public_url_of(settings, settings.port)
    except BadSetting:
        return
    for slug, integration in catalog.integrations.items():
        if not any(method.is_oauth for method in integration.auth):
            continue
        override = installation.overrides.get(slug)
        has_client = override is not None and override.client_id is not None
        said = (
            "has a client"
            if has_client
            else "no client (other methods still connect)"
            if any(not method.is_oauth for method in integration.auth)
            else "no client: not available"
        )
        yield Finding(name=f"oauth: {slug}", ok=True, message=f"{said}; redirect URI {url}/oauth/callback/{slug}")
