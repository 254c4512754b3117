"""Links to our own pages that carry their own proof: what `action_url` points a person at."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass

#: A link in a refusal is good for a day; opening it writes nothing.
_LIFETIME = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectLink:
    """What a connect link asks for."""

    org: str
    integration: str
    user: str
    method: str | None = None
    #: The connection to renew.
    connection: str | None = None
    #: OAuth scopes to ask for; None takes the definition's.
    scopes: tuple[str, ...] | None = None


class Links:
    """Makes and checks links. The key never leaves the process; a link names an org and cannot be forged."""

    def __init__(self, public_url: str, key: bytes, clock: Callable[[], float]) -> None:
        self.public_url = public_url
        self._key = key
        self._clock = clock

    def connect(
        self,
        org: str,
        integration: str,
        user: str,
        *,
        method: str | None = None,
        connection: str | None = None,
        scopes: tuple[str, ...] | None = None,
    ) -> str:
        """`/connect/new?t=…`: opens the connect page; nothing is stored until the person clicks."""
        payload = json.dumps(
            [int(self._clock()) + _LIFETIME, org, integration, user, method, connection, scopes], separators=(",", ":")
        ).encode()
        token = base64.urlsafe_b64encode(self._seal(payload) + payload).rstrip(b"=").decode()
        return f"{self.public_url}/connect/new?t={token}"

    def read_connect(self, token: str) -> ConnectLink | None:
        """What a link asks for; None where it was altered or is too old."""
        try:
            raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        proof, payload = raw[:16], raw[16:]
        if not hmac.compare_digest(proof, self._seal(payload)):
            return None
        until, org, integration, user, method, connection, *scopes = json.loads(payload)
        if until < self._clock():
            return None
        return ConnectLink(
            org=org,
            integration=integration,
            user=user,
            method=method,
            connection=connection,
            scopes=tuple(scopes[0]) if scopes and scopes[0] is not None else None,
        )

    def _seal(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, b"connect link\0" + payload, hashlib.sha256)[:16]
