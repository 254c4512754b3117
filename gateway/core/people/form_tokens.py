"""What a form of ours carries, so that no other site can send it in somebody's name."""

from __future__ import annotations

import base64
import hashlib
import hmac

from gateway.core.errors import Refusal


class FormTokens:
    """Tokens made of a browser's cookie, which another site can neither read nor set, by a key of ours."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, cookie: str) -> str:
        """The token of the forms that are shown to the browser with this cookie."""
        made = hmac.digest(self._key, b"form\0" + cookie.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()

    def check(self, cookie: str | None, token: str) -> None:
        """Raises `forbidden` for a form that was not shown to this browser, or before it signed in anew."""
        if cookie is None or not hmac.compare_digest(self.of(cookie).encode(), token.encode("utf-8", "surrogatepass")):
            raise Refusal("forbidden", "This form is too old, or your browser keeps no cookies. Open the page again.")
