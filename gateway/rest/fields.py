"""What several routes take: the names in their paths, the user, pages."""

from __future__ import annotations

import base64
import binascii

from gateway.web.bodies import bad_field
from gateway.web.operations import NAME, SLUG, Field, number, text

#: Items of a page where nothing is said, and at most.
PAGE = 50
MOST_LISTED = 200
#: Characters of a URL that we are to send something to.
LONGEST_URL = 2048

INTEGRATION = Field(name="integration", about="Slug of the integration.", schema=SLUG, required=True)
ACTION = Field(name="action", about="Name of the action.", schema=NAME, required=True)
CONNECTION_ID = Field(name="id", about="Id of the connection.", schema={"type": "string"}, required=True)
KEY_ID = Field(name="id", about="Id of the key.", schema={"type": "string"}, required=True)

USER = text("user", "Whom the call is for: any name that you give your end user. Left out, the key's only user or `default`.")
LIMIT = number("limit", "How many at most.", low=1, high=MOST_LISTED, default=PAGE)
CURSOR = Field(
    name="cursor",
    about="`next_cursor` of the page before.",
    # Which ones we gave out no schema can say.
    schema={"type": "string", "format": "cursor"},
    must="is not one that we gave",
)


def cursor_of(last: str) -> str:
    """`next_cursor` of a list in the order of its names, whose page ends with that one."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def after(cursor: str) -> str:
    """The name that the page before ended with. Raises `bad_request`."""
    try:
        return base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_field("cursor", "format", "The query parameter 'cursor' is not one that we gave.") from None
