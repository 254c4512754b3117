"""Who is at the other end: the address of the socket, unless a proxy that the operator named speaks for another."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from aiohttp import web

from gateway.setting_kinds import Network
from gateway.web.context import services


def peer_of(request: web.Request, trusted: Sequence[Network]) -> str | None:
    """The address for the log and for limits. `X-Forwarded-For` is believed as far as trusted proxies wrote it, from the right."""
    peer = request.remote
    if not trusted or peer is None:
        return peer
    chain = [peer, *reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(","))]
    for text in chain:
        address = _address(text)
        if address is None:
            # Whoever wrote this was not the proxy: what stands left of it is worth nothing.
            break
        peer = str(address)
        if not any(address in network for network in trusted):
            break
    return peer


def peer(request: web.Request) -> str | None:
    """The address that a request counts for."""
    return peer_of(request, services(request).settings.trusted_proxies)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # A scope would let any text into the log.
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
