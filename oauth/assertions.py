"""Signed statements (RFC 7523): of who we are to one server, or of whom a key may act for; and the keys that sign them."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from oauth.secret import Secret

#: Seconds that a statement is good for: some servers take none that lives longer than three minutes.
LIFETIME = 120
#: A PEM of 16384 bits has 13 kB.
KEY_LIMIT = 16 * 1024

_EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384"}
#: A key on one line: the armour and what stands between.
_ONE_LINE = re.compile(r"(-----BEGIN [A-Z ]+-----)\s*([A-Za-z0-9+/=\s]+?)\s*(-----END [A-Z ]+-----)")


class KeyRefused(Exception):
    """The key cannot sign; `reason` is a stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def pem_of(text: str) -> str:
    """A PEM as it was meant: JSON's `\\n` written out, and the lines that a form field took out put back."""
    text = text.replace("\\n", "\n").replace("\r\n", "\n").strip()
    match = _ONE_LINE.fullmatch(text)
    if match is None:
        return text
    return "\n".join((match[1], *"".join(match[2].split()).split(), match[3], ""))


def check_key(key: Secret) -> None:
    """Raises `KeyRefused` where the text is no key that can sign."""
    _loaded(key)


def signed(
    claims: Mapping[str, Any], key: Secret | None, key_id: str | None = None, *, now: float | None = None
) -> str:
    """A JWT of the claims with `iat`, `exp` and `jti`, which the claims may replace. Raises `KeyRefused`.

    Without `now` it is the machine's clock: our own alone decides whether the server takes it.
    """
    if not key:
        raise KeyRefused("private_key_missing")
    loaded, algorithm = _loaded(key)
    header = {"alg": algorithm} | ({"kid": key_id} if key_id else {})
    issued = int(time.time() if now is None else now)
    named = {"jti": uuid.uuid4().hex, "iat": issued, "exp": issued + LIFETIME, **claims}
    return jwt.encode(header, named, loaded, algorithms=[algorithm])


def _loaded(key: Secret) -> tuple[RSAKey | ECKey, str]:
    pem = key.reveal().encode()
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyRefused("private_key_unreadable") from error
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < 2048:
            # RFC 7518 §3.3
            raise KeyRefused("private_key_too_short")
        return RSAKey.import_key(pem), "RS256"
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _EC_ALGORITHMS:
        return ECKey.import_key(pem), _EC_ALGORITHMS[private.curve.name]
    raise KeyRefused("private_key_unusable")
