"""API keys: how they are spelled, hashed and checked, and the grant that says what a key may do."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
class Grant:
    """What a key may do, one value; it never changes after minting."""

    #: Integration slugs, or `*` for all.
    scopes: tuple[str, ...] = ("*",)

    def allows_integration(self, slug: str) -> bool:
        return "*" in self.scopes or slug in self.scopes

    def to_json(self) -> dict[str, Any]:
        return {"scopes": list(self.scopes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Grant:
        return cls(scopes=tuple(value.get("scopes", ("*",))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """The tenant that everything belongs to."""

    id: str
    name: str
    plan: str | None = None
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
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    request_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever a key was resolved to: org, key, mode, grant."""

    org: str
    org_name: str
    key: ApiKey

    @property
    def grant(self) -> Grant:
        return self.key.grant

    @property
    def mode(self) -> Mode:
        return self.key.mode


class KeyStore(Protocol):
    """Where keys are kept. Only the look-up by hash has no org: it is what finds the org."""

    async def find_by_hash(self, digest: bytes) -> tuple[ApiKey, Org] | None: ...

    def note_use(self, org: str, key_id: str) -> None:
        """Counts a request of the key; written later, together with others."""
        ...


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
