"""Cursors of lists that are paged by time: opaque to clients, checked when they come back."""

from __future__ import annotations

import base64
import binascii

from gateway.core.errors import Refusal


def cursor_of(at: int, row_id: str) -> str:
    """Where the next page starts: after the row of that time (unix ms) and id."""
    return base64.urlsafe_b64encode(f"{at} {row_id}".encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[int, str]:
    """Time and id of a cursor. Raises `Refusal` for one that is none of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        at, _, row_id = text.partition(" ")
        place = int(at), row_id
        if not 0 <= place[0] < 2**63 or "\0" in row_id:
            raise ValueError(cursor)
        return place
    except (ValueError, binascii.Error):
        message = "`cursor` is not one that a list gave out."
        field = {"path": "cursor", "keyword": "format", "message": message}
        raise Refusal("bad_request", message, details={"fields": [field]}) from None
