"""What a caller gets of an upstream's answer: its status and its data, byte for byte, and what we know beside it."""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import jmespath
import msgspec
import orjson
from jmespath.exceptions import JMESPathError

from gateway.core.requests.redaction import redact, redact_headers, spellings
from gateway.core.requests.request import Headers, UpstreamAnswer, UpstreamFailed
from skills_catalog.model import Skill

#: Bytes of an answer, or letters of a text, that are looked through without giving anybody else a turn.
PIECE = 1024 * 1024
#: What nobody says what it is (RFC 2046 §4.5.1).
OCTETS = "application/octet-stream"
_LARGEST_REFUSAL = 256 * 1024
#: Python knows codecs that take quadratic time (`punycode`), read escapes or make half a surrogate pair, which no JSON
#: can carry; and it remembers every name that it was asked for.
_CHARSETS = re.compile(
    r"(?:us-)?ascii|utf-?(?:8|16|32)(?:-?[lb]e)?|latin-?1|iso-?8859-?\d{1,2}|(?:windows-?|cp-?)\d{3,4}|koi8-[rut]"
    r"|(?:shift[-_]?|s)jis|euc-?(?:jp|kr)|iso-2022-(?:jp|kr)|gb2312|gbk|gb18030|big5(?:-hkscs)?|tis-620"
)
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)
#: RFC 6266 §4.1: `filename*=UTF-8''…`, and `filename=…` as a token or a quoted string.
_EXTENDED_NAME = re.compile(r"[;\s]filename\*\s*=\s*utf-8'[\w-]*'([^\s;]+)", re.IGNORECASE)
_PLAIN_NAME = re.compile(r'[;\s]filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_utf8 = codecs.getincrementaldecoder("utf-8")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A body that is a file, too large to stand in an envelope."""

    content_type: str
    filename: str | None
    content: bytes = field(repr=False)


def fit(
    skill: Skill, answer: UpstreamAnswer, secrets: Iterable[str], *, inline_limit: int
) -> tuple[bytes | Attachment, dict[str, Any]]:
    """The answer's body as JSON text, and what `meta` says of the answer.

    JSON stays as it was sent; no body is `null`; text becomes a string; anything else base64 in an object, or
    above the limit an attachment.
    """
    meta: dict[str, Any] = {}
    spelled = spellings(secrets)
    body, in_body = redact(answer.body, spelled)
    shown = [pair for pair in with_link(skill, answer.headers) if pair[0].lower() in _SHOWN]
    headers, in_headers = redact_headers(shown, spelled)
    if in_body or in_headers:
        answer = replace(answer, headers=headers, body=body)
    content_type = (answer.header("content-type") or "").lower()
    data: bytes | Attachment
    if answer.told is not None:
        data = answer.told
    elif answer.omitted:
        data = orjson.dumps({"omitted": True, "size": answer.size, "content_type": content_type or None})
    else:
        data = _data(skill, content_type, answer, inline_limit)
    meta |= told_of(skill, answer)
    if in_body or in_headers:
        meta["redacted"] = True
    return data, meta


def with_link(skill: Skill, headers: Headers) -> Headers:
    """The headers with the next page's address as a Link (RFC 8288), where the upstream names it in one of its own."""
    own = str(skill.page.get("header", "")).lower() if skill.page is not None else ""
    if not own:
        return headers
    return tuple(("Link", f'<{value}>; rel="next"') if name.lower() == own else (name, value) for name, value in headers)


def told_of(skill: Skill, answer: UpstreamAnswer) -> dict[str, Any]:
    """What to do about a refusal, and the headers that a caller can act on: members of `meta`."""
    meta: dict[str, Any] = {}
    if hint := _hint(skill, answer):
        meta["hint"] = hint
    if upstream := upstream_meta(with_link(skill, answer.headers)):
        meta["upstream"] = upstream
    return meta


async def up_to(limit: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body in pieces of at most `limit` bytes in all. Raises `UpstreamFailed` where it is larger."""
    size = 0
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise too_large(limit, None)
            yield chunk


def too_large(limit: int, status: int | None) -> UpstreamFailed:
    """The streamed answer is larger than may be; `status` is what the upstream said."""
    return UpstreamFailed("response_too_large", sent=True, cause=f"a body of more than {limit} bytes", status=status)


def upstream_meta(headers: Headers) -> dict[str, Any]:
    """The few upstream headers a caller can act on, by their plain names."""
    meta: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, value in headers:
        name = name.lower()
        if name in _PASSED:
            # Of a list, a second header goes on where the first ended (RFC 9110 §5.3).
            before = meta.get(_PASSED[name])
            meta[_PASSED[name]] = f"{before}, {value}"[:_LONGEST] if before else value[:_LONGEST]
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
_LONGEST = 2048
_LIMITS = {f"{prefix}ratelimit-{name}": name for prefix in ("x-", "") for name in ("limit", "remaining", "reset")} | {
    f"x-rate-limit-{name}": name for name in ("limit", "remaining", "reset")
}


_SHOWN = frozenset({"content-type", "content-disposition", *_PASSED, *_LIMITS})


def _data(skill: Skill, content_type: str, answer: UpstreamAnswer, inline_limit: int) -> bytes | Attachment:
    body = answer.body
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
            return _json_string(text)
    return _file(media_type, answer, inline_limit)


def json_bytes(body: bytes) -> bytes | None:
    """The body itself if it is one JSON text in UTF-8, without a byte order mark; else None."""
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    try:
        if not body.isascii():
            _check_utf8(body)  # the scanner below lets it through
        _raw_json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body


def _check_utf8(body: bytes) -> None:
    """Raises `UnicodeDecodeError`. As one text the body would take up to four times its size."""
    decoder = _utf8()
    for start in range(0, len(body), PIECE):
        decoder.decode(body[start : start + PIECE], final=start + PIECE >= len(body))


def _is_json(media_type: str) -> bool:
    return media_type.endswith(("/json", "+json"))


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(
        ("/xml", "+xml", "/javascript", "/x-ndjson", "/yaml", "/x-www-form-urlencoded")
    )


def _decoded(body: bytes, content_type: str) -> str | None:
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named else "utf-8"
    if not _CHARSETS.fullmatch(charset):
        return None
    try:
        return body.decode(charset)
    except (UnicodeError, LookupError):
        return None


def _json_string(text: str) -> bytes:
    """The text as JSON, made in pieces: between them another thread has its turn."""
    pieces = [orjson.dumps(text[start : start + PIECE])[1:-1] for start in range(0, len(text), PIECE)]
    return b'"%b"' % b"".join(pieces)


def _file(media_type: str, answer: UpstreamAnswer, inline_limit: int) -> bytes | Attachment:
    content_type = media_type or OCTETS
    filename = filename_of(answer.header("content-disposition") or "")
    if len(answer.body) > inline_limit:
        return Attachment(content_type=content_type, filename=filename, content=answer.body)
    content = base64.b64encode(answer.body).decode()
    about = {"encoding": "base64", "content_type": content_type, "filename": filename, "size": len(answer.body)}
    return orjson.dumps({**about, "content": content})


def filename_of(disposition: str) -> str | None:
    """The name that a Content-Disposition gives, without the folders that may stand before it (RFC 6266 §4.3)."""
    name = ""
    if extended := _EXTENDED_NAME.search(disposition):
        try:
            # RFC 8187 §3.2.1: every other charset is obsolete.
            name = unquote(extended[1], encoding="utf-8", errors="strict")
        except UnicodeError:
            name = ""
    if not name and (plain := _PLAIN_NAME.search(disposition)):
        name = re.sub(r'\\(["\\])', r"\1", plain[1]) if plain[1] is not None else plain[2]
    name = re.split(r"[/\\]", name)[-1]
    return "".join(char for char in name if char.isprintable()).strip()[:255] or None


def says_no(skill: Skill, status: int, body: bytes) -> bool:
    """Whether the upstream refused, by its status or, with one of success, by what the definition knows of its body."""
    if status >= 400:
        return True
    # A refusal is small; to read more only to know its kind would cost every large answer.
    if skill.error_when is None or not 200 <= status < 300 or not 0 < len(body) <= _LARGEST_REFUSAL:
        return False
    try:
        return bool(jmespath.search(skill.error_when, json.loads(body)))
    except (ValueError, RecursionError, JMESPathError):
        return False


def _hint(skill: Skill, answer: UpstreamAnswer) -> str | None:
    fitting = [error for error in skill.errors if error.fix and error.status in (None, answer.status)]
    if not fitting or not says_no(skill, answer.status, answer.body):
        return None
    found = (error.fix for error in fitting if error.code is None or error.code.encode() in answer.body)
    return next(found, None)
