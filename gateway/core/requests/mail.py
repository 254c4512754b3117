"""A mail as its parts make it (RFC 5322, MIME): what an agent says as fields, and a mail API takes as one text.

Headers are written here rather than by the standard library: it reads encoded words (RFC 2047) in what it is given, so
that a subject could write a header of its own, and takes quadratic time for a long name.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from gateway.core.errors import bad_param
from gateway.core.requests.file_params import NO_FILES, GivenFiles, file_content

_MOST_ITEMS = 500
_LONGEST_TEXT = 16 * 1024
#: RFC 5322 §2.1.1 allows 998 characters in a line.
_LONGEST_LINE = 900
#: RFC 2047 §2: an encoded word has at most 75 characters, of which these bytes in base64 are 60.
_WORD_BYTES = 45
#: `Ada <ada@example.com>`, or the address alone; what stands in it is visible ASCII (RFC 5322 §3.4).
_ADDRESS = re.compile(r'(?:"?([^<>"]*)"?\s*<([\x21-\x3b=\x3f-\x7e]+@[\x21-\x3b=\x3f-\x7e]+)>|([^\s<>",;]+@[^\s<>",;]+))')
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ID = re.compile(r"<[\x21-\x3b=\x3f-\x7e]+>")

_CRLF = b"\r\n"


def mail_bytes(param: str, parts: Mapping[str, Any], files: GivenFiles = NO_FILES) -> bytes:
    """The whole message; nothing in a part can begin a header or end a body. Raises `Refusal`, naming the part."""
    headers: list[str] = []
    for name, header in (("from", "From"), ("reply_to", "Reply-To"), ("to", "To"), ("cc", "Cc"), ("bcc", "Bcc")):
        if given := _items(f"{param}/{name}", parts.get(name)):
            addresses = [_address(f"{param}/{name}", item) for item in given]
            headers.append(f"{header}: " + ",\r\n ".join(addresses))
    if subject := _items(f"{param}/subject", parts.get("subject")):
        headers.append(f"Subject: {_words(subject[0])}")
    for name, header in (("in_reply_to", "In-Reply-To"), ("references", "References")):
        if given := _items(f"{param}/{name}", parts.get(name)):
            if not all(_ID.fullmatch(item) for item in given):
                raise bad_param(f"{param}/{name}", "pattern", "A Message-ID stands in angle brackets: `<id@example.com>`.")
            headers.append(f"{header}: " + "\r\n ".join(given))
    headers.append("MIME-Version: 1.0")
    return "\r\n".join(headers).encode("ascii") + _CRLF + _content(param, parts, files)


def _content(param: str, parts: Mapping[str, Any], files: GivenFiles) -> bytes:
    """The headers of the content, an empty line, the content."""
    bodies = [_text(f"{param}/{name}", kind, parts[name]) for name, kind in _BODIES if parts.get(name) is not None]
    content = _together("alternative", bodies) if bodies else _text(f"{param}/text", "plain", "")
    attached = [
        _attachment(f"{param}/attachments/{number}", number, item, files)
        for number, item in enumerate(parts.get("attachments") or ())
    ]
    return _together("mixed", [content, *attached])


_BODIES = (("text", "plain"), ("html", "html"))


def _together(kind: str, parts: Sequence[bytes]) -> bytes:
    if len(parts) == 1:
        return parts[0]
    # Random, so that no content can end its part.
    boundary = token_hex(24)
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    return head + b"".join(b"--%b\r\n%b" % (boundary.encode(), part) for part in parts) + f"--{boundary}--\r\n".encode()


def _text(path: str, kind: str, text: Any) -> bytes:
    if not isinstance(text, str):
        raise bad_param(path, "type", "The content of a mail is text.")
    try:
        return f"Content-Type: text/{kind}; charset=utf-8\r\n".encode() + _base64(text.encode())
    except UnicodeError:
        raise bad_param(path, "format", "The text holds half of a surrogate pair.") from None


def _attachment(path: str, number: int, given: Any, files: GivenFiles) -> bytes:
    filename, content_type, content = file_content(path, given, name=f"file-{number + 1}", files=files)
    assert isinstance(content, bytes), "files of a mail are read before"
    filename = "".join(filter(str.isprintable, filename))[:200]
    plain = re.sub(r"[^\w .()-]", "_", filename, flags=re.ASCII)
    named = f'filename="{plain}"'
    if plain != filename:
        # RFC 2231 for readers of today, the plain name for the others.
        named += f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f"Content-Type: {content_type}\r\nContent-Disposition: attachment; {named}\r\n".encode() + _base64(content)


def _base64(content: bytes) -> bytes:
    encoded = base64.encodebytes(content).replace(b"\n", _CRLF)
    return b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded + (b"" if encoded else _CRLF)


def _items(path: str, value: Any) -> list[str]:
    items = [] if value is None else value if isinstance(value, list) else [value]
    if len(items) > _MOST_ITEMS:
        raise bad_param(path, "maxItems", f"At most {_MOST_ITEMS} can stand there.")
    for item in items:
        if not isinstance(item, str) or len(item) > _LONGEST_TEXT or not item.isprintable():
            raise bad_param(path, "pattern", f"A header of a mail is one line of at most {_LONGEST_TEXT} letters.")
    return items


def _address(path: str, text: str) -> str:
    match = _ADDRESS.fullmatch(text.strip())
    address = (match[2] or match[3]) if match else ""
    if match is None or not _VISIBLE.fullmatch(address) or len(text) > _LONGEST_LINE:
        raise bad_param(path, "format", "An address is `ada@example.com` or `Ada <ada@example.com>`.")
    name = (match[1] or "").strip()
    return f"{_phrase(name)} <{address}>" if name else address


def _phrase(name: str) -> str:
    """A display name: an atom or a quoted string where it can be, else encoded words."""
    if name.isascii() and "=?" not in name:
        return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return _words(name)


def _words(text: str) -> str:
    """A text of a header: as it is where it is short ASCII, else in encoded words."""
    if text.isascii() and "=?" not in text and len(text) <= _LONGEST_LINE:
        return text
    words, piece = [], b""
    for letter in text:
        encoded = letter.encode()
        if len(piece) + len(encoded) > _WORD_BYTES:
            words.append(piece)
            piece = b""
        piece += encoded
    words.append(piece)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)
