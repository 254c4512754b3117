"""Names of the catalog: which are reserved, which headers no definition may set, and the nearest to a typo."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

#: First segments of fixed routes under `/v1/`, and the words that stand second where an integration
#: could (`GET /v1/skills/search`, `GET /v1/{integration}/download`).
RESERVED_SLUGS = frozenset(
    {
        "connect",
        "connections",
        "download",
        "events",
        "files",
        "hooks",
        "ledger",
        "org",
        "preflight",
        "results",
        "runs",
        "sandbox",
        "search",
        "signup",
        "skills",
        "tools",
        "usage",
        "verify",
        "webhooks",
    }
)

#: `POST /v1/{integration}/request` is the escape hatch: any request of an integration.
HATCH = "request"
RESERVED_ACTIONS = frozenset({HATCH})

#: Among more names than that nobody is helped by the nearest.
_MOST_KNOWN = 500

SLUG = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: RFC 9110 §5.6.2 `token`.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: A media type as a part of a form may have it (RFC 7578 §4.4).
MEDIA_TYPE = r"[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+(?:; ?[A-Za-z0-9_-]+=[A-Za-z0-9_.-]+)?"

# Set by the transport, or by the credential alone; a definition or a param that sets them could
# smuggle requests (RFC 9112 §11.2) or pass for somebody else.
_TRANSPORT_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    }
)
_TRANSPORT_PREFIXES = ("proxy-", "x-forwarded-")
_CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "cookie2", "set-cookie"})


def is_header_name(name: str) -> bool:
    """Whether it is a token, as header names must be."""
    return HEADER_NAME.fullmatch(name) is not None


def is_transport_header(name: str) -> bool:
    """Whether only the transport may set the header, in any casing."""
    low = name.lower()
    return low in _TRANSPORT_HEADERS or low.startswith(_TRANSPORT_PREFIXES)


def is_reserved_header(name: str) -> bool:
    """Whether neither a param nor a definition may set the header: transport's or a credential's."""
    return is_transport_header(name) or name.lower() in _CREDENTIAL_HEADERS


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be, or None if nothing is close."""
    if not 0 < len(name) <= 64:
        return None
    plain = _plain(name)
    best: tuple[int, int, str] | None = None
    for position, candidate in enumerate(islice(known, _MOST_KNOWN)):
        distance = _likeness(plain, _plain(candidate))
        if distance is not None and (best is None or (distance, position) < best[:2]):
            best = (distance, position, candidate)
    return best[2] if best else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(".", "")


def _likeness(name: str, candidate: str) -> int | None:
    """Smaller is nearer; None is too far."""
    allowed = max(1, min(len(name), len(candidate)) // 3)
    if abs(len(name) - len(candidate)) <= allowed:
        distance = edits(name, candidate)
        if distance <= allowed:
            return distance
    short, long = sorted((name, candidate), key=len)
    return 10 + len(long) - len(short) if len(short) >= 3 and short in long else None


def edits(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
