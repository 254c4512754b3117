"""What every part stands on: the settings, the database, the clock, and the one way out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import time
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.connections.outgoing import Outgoing
from gateway.core.ids import new_id
from gateway.core.links import Links
from gateway.core.requests.hook_functions import HookMissing
from gateway.core.requests.hook_functions import Hooks as HookFunctions
from gateway.installation import Opened
from gateway.operator_file import BadSetting, Installation
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.leases import SqlLeases
from gateway.store.tries import SqlTries
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import Egress, Policy
from gateway.upstream.token_http import TokenHttp
from oauth.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Shared by all parts. What is pushed on the stack is closed in reverse."""

    stack: AsyncExitStack
    settings: Settings
    installation: Installation
    opened: Opened
    catalogs: Catalogs
    public_url: str
    clock: Callable[[], float]
    #: Of this process: the owner of its leases, its runs and its sign of life.
    owner_id: str
    leases: SqlLeases
    tries: SqlTries
    links: Links
    changes: Changes
    outgoing: Outgoing
    egress: Egress
    upstream: HttpUpstream
    http: TokenHttp

    @property
    def database(self) -> Database:
        return self.opened.database

    @property
    def vault(self) -> Vault:
        return self.opened.vault

    @property
    def database_clock(self) -> Callable[[], float] | None:
        """None where the database's own clock rules, as it does unless a test moves ours."""
        return _database_clock(self.clock)

    def key_for(self, purpose: str) -> bytes:
        """A key of its own for each purpose: what one proves is worth nothing for another."""
        return _key_for(self.opened, purpose)


def make_ground(
    stack: AsyncExitStack,
    settings: Settings,
    installation: Installation,
    opened: Opened,
    catalogs: Catalogs,
    *,
    public_url: str,
    port: int,
    clock: Callable[[], float],
) -> Ground:
    """Raises `BadSetting`."""
    egress = Egress(policy_of(settings, public_url, port))
    upstream = HttpUpstream(egress, ca_file=str(settings.tls_ca_file) if settings.tls_ca_file else None)
    stack.push_async_callback(upstream.close)
    return Ground(
        stack=stack,
        settings=settings,
        installation=installation,
        opened=opened,
        catalogs=catalogs,
        public_url=public_url,
        clock=clock,
        owner_id=new_id("proc"),
        leases=SqlLeases(opened.database, clock=_database_clock(clock)),
        tries=SqlTries(opened.database, clock=clock),
        links=Links(public_url, _key_for(opened, "links"), clock),
        changes=Changes(),
        outgoing=Outgoing(_hook_functions(settings)),
        egress=egress,
        upstream=upstream,
        http=TokenHttp(upstream),
    )


def policy_of(settings: Settings, public_url: str, port: int) -> Policy:
    """Where requests may go: never to ourselves, our database or our Valkey."""
    own = [(settings.host, port)]
    for url, usual in ((settings.database_url, 5432), (settings.valkey_url, 6379)):
        parts = urlsplit(url.reveal()) if url else None
        if parts is not None and parts.hostname:
            own.append((parts.hostname, parts.port or usual))
    public = urlsplit(public_url)
    ours = (public.hostname or "", public.port or (443 if public.scheme == "https" else 80))
    return Policy.of(map(str, settings.allowed_private_networks), own, [ours])


def _hook_functions(settings: Settings) -> HookFunctions:
    try:
        return HookFunctions.installed(settings.hooks)
    except HookMissing as error:
        raise BadSetting(f"SKILLWAY_HOOKS: {error}") from None


def _key_for(opened: Opened, purpose: str) -> bytes:
    info = f"skillway {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(opened.master.key)


def _database_clock(clock: Callable[[], float]) -> Callable[[], float] | None:
    return None if clock is time else clock
