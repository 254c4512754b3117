"""Counted tries: at what could be guessed, and at what could be had too often; the same for all replicas."""

from __future__ import annotations

import ipaddress
from typing import Protocol

from gateway.core.errors import Refusal

#: Somebody with IPv6 has at least so many addresses of their own.
_OWN_IPV6 = 64


class TryStore(Protocol):
    """Where tries are counted."""

    async def take(self, name: str, most: int, seconds: float) -> bool:
        """Counts one, before it is known how it ends. False where there were `most` already: then none is left
        until `seconds` after the last."""
        ...

    async def give_back(self, name: str) -> None:
        """It was none of those that count."""
        ...


async def take(store: TryStore, name: str, most: int, seconds: float, message: str) -> None:
    """Counts a try. Raises `rate_limited` with the message where none is left."""
    if not await store.take(name, most, seconds):
        raise Refusal("rate_limited", message, retryable=True, retry_after_ms=int(seconds * 1000))


def network_of(address: str | None) -> str:
    """What of an address is one person's: it alone, or their network where they have as many as they like."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "-"
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed), _OWN_IPV6), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
