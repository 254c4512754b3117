"""What deliveries are signed with: secrets that can be changed without a gap, and signatures in two known forms."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.requests.request import Headers
from gateway.core.tenants.keys import Mode
from oauth.secret import Secret

PREFIX = "whsec_"
_BYTES = 32
#: Seconds for which a secret that was replaced still signs beside its successor.
OVERLAP = 86400.0
#: So many sign at once; more rotations have to wait until one of them is over.
MOST_LIVE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """`whsec_` and 32 random bytes in base64."""

    secret: Secret
    #: Unix seconds until which it signs; None for the present one.
    until: float | None = None


class SigningSecretStore(Protocol):
    """The secrets that sign the callbacks of orgs."""

    async def live(self, org: str, mode: Mode) -> Sequence[Secret]:
        """The present one first, made now where there was none."""
        ...

    async def rotate(self, org: str, mode: Mode, *, by: Actor) -> Secret:
        """The new one, the old ones still sign for a day. Raises `conflict` where too many do."""
        ...


def new_secret() -> Secret:
    return Secret(PREFIX + base64.b64encode(os.urandom(_BYTES)).decode())


def rotated(secrets: Sequence[SigningSecret], secret: Secret, now: float) -> tuple[SigningSecret, ...]:
    """The list with a new secret in front. Raises `conflict` where too many would be live."""
    old = tuple(
        SigningSecret(secret=one.secret, until=one.until or now + OVERLAP)
        for one in secrets
        if one.until is None or one.until > now
    )
    if len(old) >= MOST_LIVE:
        raise Refusal(
            "conflict", f"{len(old)} secrets sign at the moment. Rotate again when the oldest has run out, within a day."
        )
    return (SigningSecret(secret=secret), *old)


def live(secrets: Sequence[SigningSecret], now: float) -> tuple[Secret, ...]:
    """Those that sign at this time, the present one first."""
    return tuple(one.secret for one in secrets if one.until is None or one.until > now)


def signatures(secrets: Sequence[Secret], message: str, at: int, body: bytes) -> Headers:
    """The headers that prove a delivery, one signature for each secret; `at` in unix seconds.

    Standard Webhooks keys its HMAC with the bytes behind `whsec_`; the other form with the secret's whole text.
    """
    content = f"{message}.{at}.".encode() + body
    standard = [f"v1,{_base64(_mac(_bytes(secret), content))}" for secret in secrets]
    plain = f"{at}.".encode() + body
    ours = [f"v1={_mac(secret.reveal().encode(), plain).hex()}" for secret in secrets]
    return (
        ("webhook-id", message),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", " ".join(standard)),
        ("X-Skillway-Signature", ",".join([f"t={at}", *ours])),
    )


def _bytes(secret: Secret) -> bytes:
    return base64.b64decode(secret.reveal().removeprefix(PREFIX))


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")


def _base64(mac: bytes) -> str:
    return base64.b64encode(mac).decode()
