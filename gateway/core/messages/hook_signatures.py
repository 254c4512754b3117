"""Whether a message came from the upstream: its signature, checked as the integration's definition describes it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.core.messages.hook_challenges import search
from gateway.core.strict_json import NotStrictJson, parse
from oauth.secret import Secret

Spec = Mapping[str, Any]

#: Seconds that a timestamp may be off where the definition does not say.
TOLERANCE = 300.0
#: A header with more signatures than that is no list of keys that are being changed.
_MOST_SIGNATURES = 16
#: A larger number counts milliseconds.
_IS_MS = 1e11
_PLACEHOLDER = re.compile(r"\{(timestamp|id|body|form|url|method)\}")
#: Fields of a form that is signed field by field.
_MOST_FIELDS = 1000
_HASHES = {"hmac-sha1": "sha1", "hmac-sha256": "sha256", "hmac-sha512": "sha512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What came in, as it came."""

    method: str
    #: The whole URL of the hook, as it was given out.
    url: str = field(repr=False)
    #: By name in lower case.
    headers: Mapping[str, Sequence[str]] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str | None) -> str | None:
        """The one header of that name; None where there is none, or more than one."""
        values = self.headers.get(name.lower(), ()) if name else ()
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What the signature vouches for."""

    content: bytes = field(repr=False)
    #: The message's id, where it is part of that.
    id: str | None = None


class NotSigned(Exception):
    """`signature_missing`, `signature_wrong`, `timestamp_missing` or `timestamp_out_of_tolerance`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def verify(spec: Spec, secret: Secret, message: Message, now: float) -> Signed:
    """Raises `NotSigned`. Compares in constant time, over the bytes as they came."""
    if "path" in spec:
        _check_token(spec["path"], secret, message.body)
        return Signed(content=message.body)
    header = message.header(spec["header"])
    if not header:
        raise NotSigned("signature_missing")
    if spec.get("algorithm") == "token":
        if not _same(header, spec["scheme"].replace("{signature}", secret.reveal())):
            raise NotSigned("signature_wrong")
        return Signed(content=message.body)
    found = _parts(spec, header)
    timestamps = found["timestamp"]
    timestamp = message.header(spec["timestamp_header"]) if "timestamp_header" in spec else None
    if timestamps:
        timestamp = timestamps[0] if len(timestamps) == 1 else None
    template, message_id = spec.get("template", "{body}"), message.header(spec.get("id_header"))
    if timestamp is None and (has_timestamp(spec) or "{timestamp}" in template):
        raise NotSigned("timestamp_missing")
    content = _content(template, message, timestamp or "", message_id or "")
    if not found["signature"] or ("{id}" in template and not message_id):
        raise NotSigned("signature_missing")
    if not _fits(spec, secret, content, found["signature"][:_MOST_SIGNATURES]):
        raise NotSigned("signature_wrong")
    if timestamp is not None and not _is_fresh(timestamp, now, spec.get("tolerance", TOLERANCE)):
        raise NotSigned("timestamp_out_of_tolerance")
    return Signed(content=content, id=message_id if "{id}" in template else None)


def has_timestamp(spec: Spec) -> bool:
    """Whether a signature of this form says when it was made."""
    return "timestamp_header" in spec or "{timestamp}" in spec["scheme"]


def key_of(spec: Spec, secret: Secret) -> bytes:
    """The key that a secret stands for. Raises ValueError for one that cannot be one."""
    text = secret.reveal().removeprefix(spec.get("secret_prefix", ""))
    algorithm = spec.get("algorithm")
    if algorithm == "ecdsa-sha256":
        key = base64.b64decode(text, validate=True)
        _ecdsa(key)
        return key
    is_public = algorithm == "ed25519"
    encoding = spec.get("secret_encoding", "hex" if is_public else "text")
    if encoding == "base64":
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    else:
        key = bytes.fromhex(text) if encoding == "hex" else text.encode()
    if not key or (is_public and len(key) != 32):
        raise ValueError("not a key")
    return key


def _fits(spec: Spec, secret: Secret, content: bytes, given: Sequence[str]) -> bool:
    algorithm, encoding = spec.get("algorithm", "hmac-sha256"), spec.get("encoding", "hex")
    key = key_of(spec, secret)
    if algorithm == "ecdsa-sha256":
        curve = _ecdsa(key)
        return any(_is_taken(one, encoding, lambda it: curve.verify(it, content, ec.ECDSA(SHA256()))) for one in given)
    if algorithm == "ed25519":
        public = Ed25519PublicKey.from_public_bytes(key)
        return any(_is_taken(one, encoding, lambda it: public.verify(it, content)) for one in given)
    expected = _spelled(hmac.digest(key, content, _HASHES[algorithm]), encoding)
    # Text against text: more than one spelling may stand for the same bytes. And all of them, whichever fits.
    return sum(_same(one, expected) for one in given) > 0


def _is_taken(given: str, encoding: str, check: Callable[[bytes], None]) -> bool:
    """Whether a public key takes the signature, in the one spelling that it has."""
    try:
        signature = base64.b64decode(given, validate=True) if encoding == "base64" else bytes.fromhex(given)
        if _spelled(signature, encoding) != given:
            return False
        check(signature)
    except (ValueError, binascii.Error, InvalidSignature):
        return False
    return True


def _ecdsa(key: bytes) -> ec.EllipticCurvePublicKey:
    """Raises ValueError for what is no public key of that kind."""
    try:
        public = load_der_public_key(key)
    except UnsupportedAlgorithm as error:
        raise ValueError("not a key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("not a key of an elliptic curve")
    return public


def _check_token(path: str, secret: Secret, body: bytes) -> None:
    """The token that stands in the payload, once or in each of its parts."""
    try:
        found = search(path, parse(body))
    except NotStrictJson:
        found = None
    given = found if isinstance(found, list) else [found]
    if not given or not all(isinstance(one, str) for one in given):
        raise NotSigned("signature_missing")
    if sum(_same(one, secret.reveal()) for one in given) < len(given):
        raise NotSigned("signature_wrong")


def _form_text(body: bytes) -> bytes:
    """A form's names and values, decoded, in the order of the names, with nothing between them."""
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise NotSigned("signature_wrong") from None
    return "".join(name + value for name, value in sorted(fields)).encode()


def _spelled(signature: bytes, encoding: str) -> str:
    return base64.b64encode(signature).decode() if encoding == "base64" else signature.hex()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in (one, other)))


def _parts(spec: Spec, header: str) -> dict[str, list[str]]:
    """What stands in the header where the scheme has its placeholders; other elements of the list are passed over."""
    found: dict[str, list[str]] = {"timestamp": [], "signature": []}
    separator = spec.get("separator", ",")
    patterns = [_pattern(part.strip()) for part in spec["scheme"].split(separator)]
    for element in header.split(separator, 64):
        for pattern in patterns:
            match = pattern.fullmatch(element.strip(" "))
            if match:
                for name, value in match.groupdict().items():
                    found[name].append(value)
                break
    return found


@lru_cache(maxsize=256)
def _pattern(part: str) -> re.Pattern[str]:
    literal = re.split(r"(\{timestamp\}|\{signature\})", part)
    return re.compile(
        "".join(
            f"(?P<{piece[1:-1]}>[^\\s]+?)" if piece in ("{timestamp}", "{signature}") else re.escape(piece)
            for piece in literal
        )
    )


def _content(template: str, message: Message, timestamp: str, message_id: str) -> bytes:
    known = {
        "timestamp": timestamp.encode("utf-8", "surrogateescape"),
        "id": message_id.encode("utf-8", "surrogateescape"),
        "body": message.body,
        "form": _form_text(message.body) if "{form}" in template else b"",
        "url": message.url.encode(),
        "method": message.method.encode(),
    }
    pieces = _PLACEHOLDER.split(template)
    # Every second piece is a placeholder's name.
    return b"".join(known[piece] if at % 2 else piece.encode() for at, piece in enumerate(pieces))


def _is_fresh(text: str, now: float, tolerance: float) -> bool:
    if text.isascii() and text.isdigit() and len(text) < 20:
        number = float(text)
        at = number / 1000 if number > _IS_MS else number
    else:
        try:
            moment = datetime.fromisoformat(text)
            at = moment.timestamp() if moment.tzinfo is not None else float("nan")
        except (ValueError, OverflowError):
            return False
    # Not a number is not within anything.
    return abs(now - at) <= tolerance


def waste(body: bytes) -> None:
    """The work of one signature: whoever tries out names shall not see in the time which of them exist."""
    hmac.digest(hashlib.sha256(b"nobody").digest(), body, "sha256")
