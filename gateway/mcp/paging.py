"""Lists by pages, and for how long a client may keep what it was given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, TypeVar

from gateway.mcp.asked import Asked, Json
from gateway.mcp.jsonrpc import INVALID_PARAMS, RpcError

T = TypeVar("T")
#: Milliseconds for which a client may keep a list: a reload of the catalog is seen then.
TTL = 60_000


def page(asked: Asked, things: Mapping[str, T], most: int) -> tuple[list[T], Json]:
    """The things after the request's cursor, in the order of their names, and `nextCursor` where more follow."""
    after = _after(asked.params.get("cursor"))
    names = sorted(name for name in things if name > after)
    shown = [things[name] for name in names[:most]]
    return shown, {"nextCursor": _cursor(names[most - 1])} if len(names) > most else {}


def cacheable(answer: Json) -> Json:
    """The answer with how long it may be kept, and that only for whoever asked."""
    return {**answer, "ttlMs": TTL, "cacheScope": "private"}


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _after(cursor: Any) -> str:
    if cursor is None:
        return ""
    try:
        return base64.b64decode(cursor.encode(), b"-_", validate=True).decode()
    except (AttributeError, binascii.Error, ValueError):
        raise RpcError(INVALID_PARAMS, "`cursor` is not one that we gave.") from None
