"""API keys: how they are spelled, hashed and checked, and whom they stand for."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.core.events import Actor
from gateway.core.tenants.grants import Grant
from gateway.core.tenants.members import Member
from gateway.plans import UNLIMITED, Plan
from oauth.secret import Secret

Mode = Literal["live", "test"]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIXES: Mapping[Mode, str] = {"live": "sk_live_gw_", "test": "sk_test_gw_"}
_RANDOM = 38
_CHECKSUM = 6
_LENGTH = len("sk_live_gw_") + _RANDOM + _CHECKSUM
#: How much of a key is shown in lists.
SHOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """The tenant that everything belongs to."""

    id: str
    name: str
    plan: str | None = None
    #: Limits that the operator set for this org alone, instead of its plan's.
    numbers: Mapping[str, int | None] = field(default_factory=dict)
    created_at: float = 0.0
    suspended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored: never its text, only a hash. Times are unix seconds."""

    id: str
    org: str
    name: str
    mode: Mode
    #: The first 16 characters, shown in lists.
    prefix: str
    grant: Grant
    created_at: float
    #: Id of the key that made it, and dies with it the latest.
    parent: str | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    request_count: int = 0

    def is_expired(self, now: float) -> bool:
        return self.grant.expires_at is not None and self.grant.expires_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever a key or a session was resolved to: org, plan, grant, and who it is."""

    org: str
    org_name: str
    actor: Actor
    grant: Grant
    mode: Mode = "live"
    plan: Plan = UNLIMITED
    #: One of the two: the key that asks, or the member.
    key: ApiKey | None = None
    member: Member | None = None


class KeyStore(Protocol):
    """Where keys are kept. Only the look-up by hash has no org: it is what finds the org."""

    async def find_by_hash(self, digest: bytes) -> tuple[ApiKey, Org] | None: ...

    async def create(
        self,
        org: str,
        name: str,
        mode: Mode,
        grant: Grant | None = None,
        *,
        by: Actor,
        parent: str | None = None,
        most: int | None = None,
    ) -> tuple[ApiKey, Secret]:
        """The new key, and its text, which nobody can read a second time.

        Raises `TooMany` where the org has `most` keys that work, `Gone` where the parent no longer does.
        """
        ...

    async def find(self, org: str, key_id: str) -> ApiKey | None: ...

    async def list(self, org: str, *, mode: Mode | None = None) -> Sequence[ApiKey]:
        """The org's keys, revoked ones too, oldest first."""
        ...

    async def revoke(self, org: str, key_id: str, *, by: Actor) -> bool:
        """The key and all that were made by it. False where there is no such key or it was revoked before."""
        ...

    def note_use(self, org: str, key_id: str) -> None:
        """Counts a request of the key; written later, together with others."""
        ...


class TooMany(Exception):
    """The org has as many of these as its plan lets it have."""


class Gone(Exception):
    """What the new thing was to belong to no longer works."""


def mint(mode: Mode) -> Secret:
    """A new key: prefix, 38 random base62 characters, 6 of CRC-32 so that scanners can tell it from noise."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(_RANDOM))
    head = _PREFIXES[mode] + body
    return Secret(head + _checksum(head))


def digest(key: str) -> bytes:
    """What is stored of a key. 226 random bits need no slow hash. A text that is not UTF-8 is nobody's key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def is_well_formed(key: str) -> bool:
    """Whether the text can be one of our keys at all; a wrong checksum costs no look-up."""
    return (
        len(key) == _LENGTH
        and key.startswith(tuple(_PREFIXES.values()))
        and key.isascii()
        and key[len("sk_live_gw_") :].isalnum()
        and _checksum(key[:-_CHECKSUM]) == key[-_CHECKSUM:]
    )


def _checksum(head: str) -> str:
    number = zlib.crc32(head.encode())
    digits = ""
    for _ in range(_CHECKSUM):
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    return digits
