"""What a caller gets of an upstream's answer: its status and its data, byte for byte, and what we know beside it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from gateway.core.request import Headers, UpstreamAnswer
from skills_catalog.model import Skill

REDACTED = b"[secret]"
#: A shorter secret would be found everywhere by chance.
MIN_REDACTED = 6
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)
_FILENAME = re.compile(r"filename\*?=(?:UTF-8'')?[\"']?([^\"';]+)", re.IGNORECASE)
_raw_json = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The upstream answered, whatever it said. `data` is JSON text, ready to splice into an envelope."""

    status: int
    data: bytes
    meta: Mapping[str, Any] = field(default_factory=dict)

    def envelope(self) -> bytes:
        """Envelope 1 of the contract: `{"status", "data", "meta"}`; the data's bytes are not re-encoded."""
        meta = b',"meta":' + orjson.dumps(self.meta) if self.meta else b""
        return b'{"status":%d,"data":%b%b}' % (self.status, self.data, meta)


def fit(
    skill: Skill, answer: UpstreamAnswer, secrets: Iterable[str], *, inline_limit: int
) -> tuple[bytes, dict[str, Any]]:
    """The answer's body as JSON text, and what `meta` says of the answer.

    JSON stays as it was sent; no body is `null`; text becomes a string; anything else base64 in an object.
    """
    meta: dict[str, Any] = {}
    body = answer.body
    if body:
        body, redacted = redact(body, secrets)
        if redacted:
            meta["redacted"] = True
    content_type = (answer.header("content-type") or "").lower()
    if answer.omitted:
        data = orjson.dumps({"omitted": True, "size": answer.size, "content_type": content_type or None})
    else:
        data = _data(skill, body, content_type, answer, inline_limit)
    if hint := _hint(skill, answer):
        meta["hint"] = hint
    if upstream := upstream_meta(answer.headers):
        meta["upstream"] = upstream
    return data, meta


def redact(body: bytes, secrets: Iterable[str]) -> tuple[bytes, bool]:
    """Replaces exact occurrences of the secrets of this call, as they are and as JSON spells them."""
    found = False
    for secret in secrets:
        if len(secret) < MIN_REDACTED:
            continue
        plain = secret.encode()
        quoted = json.dumps(secret)[1:-1]
        for spelling in {plain, quoted.encode(), quoted.replace("/", "\\/").encode()}:
            if spelling in body:
                body, found = body.replace(spelling, REDACTED), True
    return body, found


def upstream_meta(headers: Headers) -> dict[str, Any]:
    """The few upstream headers a caller can act on, by their plain names."""
    meta: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, value in headers:
        name = name.lower()
        if name in _PASSED:
            meta[_PASSED[name]] = value[:2048]
        elif name in _LIMITS:
            limits[_LIMITS[name]] = (
                int(value) if value.isascii() and value.isdigit() and len(value) < 16 else value[:64]
            )
    if limits:
        meta["rate_limit"] = limits
    return meta


_PASSED = {
    "retry-after": "retry_after",
    "deprecation": "deprecation",
    "sunset": "sunset",
    "link": "link",
    "etag": "etag",
}
_LIMITS = {f"{prefix}ratelimit-{name}": name for prefix in ("x-", "") for name in ("limit", "remaining", "reset")} | {
    f"x-rate-limit-{name}": name for name in ("limit", "remaining", "reset")
}


def _data(skill: Skill, body: bytes, content_type: str, answer: UpstreamAnswer, inline_limit: int) -> bytes:
    if not body:
        return b"null"
    kind = skill.response if 200 <= answer.status < 300 else "auto"
    media_type = content_type.partition(";")[0].strip()
    may_be_json = kind == "json" or (kind == "auto" and (_is_json(media_type) or not media_type))
    if may_be_json and (spliced := json_bytes(body)) is not None:
        return spliced
    if kind != "binary" and (kind == "text" or not media_type or _is_text(media_type) or _is_json(media_type)):
        text = _decoded(body, content_type)
        if text is not None:
            return orjson.dumps(text)
    return _file(body, media_type, answer, inline_limit)


def json_bytes(body: bytes) -> bytes | None:
    """The body itself if it is one JSON text in UTF-8, without a byte order mark; else None."""
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    try:
        if not body.isascii():
            body.decode()  # the scanner below lets invalid UTF-8 through
        _raw_json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body


def _is_json(media_type: str) -> bool:
    return media_type.endswith(("/json", "+json"))


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(
        ("/xml", "+xml", "/javascript", "/x-ndjson", "/yaml", "/x-www-form-urlencoded")
    )


def _decoded(body: bytes, content_type: str) -> str | None:
    charset = _CHARSET.search(content_type)
    for name in [charset[1]] if charset else ["utf-8"]:
        try:
            text = body.decode(name)
            text.encode()  # a codec may make half a surrogate pair, which no JSON can carry
            return text
        except (UnicodeError, LookupError):
            continue
    return None


def _file(body: bytes, media_type: str, answer: UpstreamAnswer, inline_limit: int) -> bytes:
    disposition = _FILENAME.search(answer.header("content-disposition") or "")
    about = {
        "content_type": media_type or "application/octet-stream",
        "filename": disposition[1].strip()[:255] if disposition else None,
        "size": len(body),
    }
    if len(body) > inline_limit:
        return orjson.dumps({"omitted": True, **about})
    return orjson.dumps({"encoding": "base64", **about, "content": base64.b64encode(body).decode()})


def _hint(skill: Skill, answer: UpstreamAnswer) -> str | None:
    for error in skill.errors:
        if not error.fix or answer.status < 400 or error.status not in (None, answer.status):
            continue
        if error.code is None or error.code.encode() in answer.body:
            return error.fix
    return None
