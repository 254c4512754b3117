"""The kinds of values that settings have: each reads a text, or says in a `ValueError` what it expected."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oauth.secret import Secret

#: Characters of a secret that an operator chooses: fewer could be guessed over the network.
_SHORTEST_TOKEN = 16
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def size(text: str) -> int:
    """Bytes: `1048576`, `8MiB`, `512KiB`."""
    match = re.fullmatch(r"(\d{1,12}) ?(B|KiB|MiB|GiB)?", text)
    if not match or not int(match[1]):
        raise ValueError("a size such as 8MiB")
    return int(match[1]) * {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[match[2] or "B"]


def days(text: str) -> int:
    """Seconds, from `7d`, `12h` or plain seconds."""
    match = re.fullmatch(r"(\d{1,9}) ?(s|m|h|d| days?)?", text)
    if not match:
        raise ValueError("a time such as 7d, 12h or 300")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[(match[2] or "s").strip()[:1]]


def positive(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) or float(text) == 0:
        raise ValueError("a positive number of seconds such as 30 or 0.5")
    return float(text)


def rate(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or not 0.01 <= float(text) <= 1000:
        raise ValueError("a number a second from 0.01 to 1000")
    return float(text)


def count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII):
        raise ValueError("a whole number from 1 to 9999")
    return int(text)


def port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
        raise ValueError("a port from 0 to 65535")
    return int(text)


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in re.split(r"[,\s]+", text) if part)
    except ValueError:
        raise ValueError("networks such as 10.0.0.0/8, fd00::/8") from None


def names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part for part in re.split(r"[,\s]+", text) if part))
    if not all(re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) for name in names):
        raise ValueError("a list of names such as sign_requests, add_date")
    return names


def certificates(text: str) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
    except OSError:
        raise ValueError("a file of certificates in PEM") from None
    return Path(text)


def public_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("an address such as https://skillway.example.com")
    return text.rstrip("/")


def url(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https"):
        raise ValueError("an http or https address")
    return text


def database(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("postgresql://user:password@host/name (leave it out for SQLite)")
    return text


def valkey(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "valkey://", "valkeys://", "unix://")):
        raise ValueError("redis://[:password@]host:port/0")
    return text.replace("valkey", "redis", 1) if text.startswith("valkey") else text


def issuer(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("an issuer as it names itself, such as https://accounts.example.com")
    # Not one character is changed: it is compared exactly.
    return text


def token(text: str) -> Secret:
    if len(text) < _SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"at least {_SHORTEST_TOKEN} printable characters without spaces")
    return Secret(text)


def switch(text: str) -> bool:
    known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    if text.lower() not in known:
        raise ValueError("one of on, off")
    return known[text.lower()]


def choice(*words: str) -> Callable[[str], Any]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse
