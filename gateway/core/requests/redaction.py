"""Keeps the credential of a call out of whatever comes back: a byte search, in bodies, headers and streams."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from urllib.parse import quote

from gateway.core.requests.request import Headers

REDACTED = b"[secret]"
#: A shorter secret would be found everywhere by chance.
MIN_REDACTED = 6
#: A secret of these characters has one spelling.
_ONE_SPELLING = re.compile(r"[\w.~-]+", re.ASCII)


def spellings(secrets: Iterable[str]) -> Sequence[bytes]:
    """The secrets of a call as they are, as JSON spells them and as a URL does; the longest first."""
    found: set[bytes] = set()
    for secret in secrets:
        if len(secret) < MIN_REDACTED:
            continue
        found.add(secret.encode())
        if not _ONE_SPELLING.fullmatch(secret):
            for quoted in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
                found |= {quoted.encode(), quoted.replace("/", "\\/").encode()}
                # Some libraries keep HTML out of JSON.
                found.add(re.sub(r"[&<>]", lambda sign: f"\\u{ord(sign[0]):04x}", quoted).encode())
            found.add(quote(secret, safe="").encode())
    return sorted(found, key=len, reverse=True)


def redact(text: bytes, spelled: Sequence[bytes]) -> tuple[bytes, bool]:
    """Replaces every occurrence, and says whether there was one."""
    found = False
    for spelling in spelled:
        if spelling in text:
            text, found = text.replace(spelling, REDACTED), True
    return text, found


def redact_headers(headers: Sequence[tuple[str, str]], spelled: Sequence[bytes]) -> tuple[Headers, bool]:
    """The same for the values of headers: a link to the next page may hold the key that stood in the query."""
    values = "\n".join([value for _, value in headers]).encode()
    if not any(spelling in values for spelling in spelled):
        return tuple(headers), False
    return tuple([(name, redact(value.encode(), spelled)[0].decode(errors="replace")) for name, value in headers]), True


async def redact_stream(chunks: AsyncIterator[bytes], spelled: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The same for a body in pieces. Held back is only what may be the beginning of a secret."""
    held = b""
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            text, _ = redact(held + chunk, spelled)
            begun = _begun(text, spelled)
            held = text[len(text) - begun :]
            if len(text) > begun:
                yield text[: len(text) - begun]
    if held:
        yield held


def _begun(text: bytes, spelled: Sequence[bytes]) -> int:
    """How many bytes at the end of the text are the beginning of a secret."""
    most = 0
    for one in spelled:
        start = text.find(one[:1], max(0, len(text) - len(one) + 1))
        while 0 <= start < len(text) - most:
            if one.startswith(text[start:]):
                most = len(text) - start
            start = text.find(one[:1], start + 1)
    return most
