"""Takes apart what a definition writes as text: request lines, URLs with `{field}`s, durations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from skills_catalog.model import RequestTemplate, Text, Variable

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_PIECE = re.compile(r"\{(\+?)([A-Za-z_][A-Za-z0-9_.-]*)\}|([^{}]+)|(.)", re.DOTALL)
#: RFC 3986 §3.3 `pchar`.
PATH_TEXT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_HOST_TEXT = re.compile(r"[A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Malformed(ValueError):
    """A text that cannot be taken apart; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The parts of a URL that may hold `{field}`s."""

    scheme: str
    host: str
    port: str
    path: str
    query: str


def request_template(line: str) -> RequestTemplate:
    """`POST /repos/{+repo}/issues` in pieces. Raises `Malformed`."""
    method, _, path = line.partition(" ")
    path = path.strip()
    if method not in METHODS:
        hint = f"; write {method.upper()}" if method.upper() in METHODS else f": {', '.join(METHODS)}"
        raise Malformed(f"{method} is not a method that can be used{hint}.")
    if "?" in path or "#" in path:
        raise Malformed("The path holds no query: use params with `in: query`, and `const:` for fixed values.")
    segments = path[1:].split("/")
    if "" in segments[:-1]:
        raise Malformed("The path has an empty segment (`//`).")
    return RequestTemplate(method=method, path=path, segments=tuple(_segment(text) for text in segments))


def variables(template: RequestTemplate) -> list[str]:
    """The names in the path, in its order."""
    return [piece.name for pieces in template.segments for piece in pieces if isinstance(piece, Variable)]


def address(url: str) -> Address:
    """The parts of an http(s) URL. Raises `Malformed`."""
    match = _URL.fullmatch(url)
    if match is None:
        raise Malformed("Must be a URL that begins with https:// or http://.")
    scheme, authority, path, query, fragment = match.groups()
    if fragment is not None:
        raise Malformed("A URL here has no fragment (`#`).")
    if "@" in authority:
        raise Malformed("A URL here holds no user or password (`@`); credentials come from the connection.")
    host, port = _split_port(authority)
    if not host:
        raise Malformed("The URL has no host.")
    if not _HOST_TEXT.fullmatch(_FIELD.sub("", host)) or (port and not 0 < int(port) < 65536):
        raise Malformed("The host holds a character that cannot stand there; write other scripts as punycode.")
    rest = _FIELD.sub("x", path)
    if rest and not re.fullmatch(rf"(?:/|{PATH_TEXT.pattern})+", rest):
        raise Malformed("The path of the URL holds a character that must be percent-encoded.")
    if any(_is_dots(part) for part in rest.split("/")) or "//" in rest:
        raise Malformed("The path of the URL has an empty, `.` or `..` segment.")
    if query and re.search(r"[\s{}\x00-\x20\x7f]", _FIELD.sub("", query)):
        raise Malformed("The query of the URL holds a character that must be percent-encoded.")
    return Address(scheme=scheme, host=host, port=port, path=path, query=(query or "")[1:])


def fields_in(text: str) -> list[str]:
    """The connection fields that a text names as `{field}`."""
    return _FIELD.findall(text)


def host_mistake(host: str, kinds: dict[str, str | None]) -> str | None:
    """What is wrong with the `{field}`s of a host; `kinds` says of each whether it is a label or a domain."""
    for match in _FIELD.finditer(host):
        kind = kinds.get(match[1])
        after = host[match.end() :]
        before = host[: match.start()]
        if kind is None:
            return f"{match[0]} stands in the host, so its field needs `host: label` or `host: domain`."
        if kind == "label" and "." not in after:
            return f"{match[0]} is one label of the host, so a fixed domain must follow it."
        if kind == "domain" and (after or (before and not before.endswith("."))):
            return f"{match[0]} is a whole domain, so the host must end with it."
    return None


def is_host_value(value: str, kind: str) -> bool:
    """Whether a value can stand in a host as one label, or as a whole domain name."""
    labels = [value] if kind == "label" else value.split(".")
    return len(value) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def seconds(duration: float | str) -> float:
    """`90`, `"90s"`, `"1.5m"` as seconds."""
    if isinstance(duration, str):
        match = _DURATION.fullmatch(duration)
        if match is None:
            raise Malformed("Must be seconds, or a duration such as 30s, 5m or 1h.")
        return float(match[1]) * _SECONDS[match[2]]
    return float(duration)


def _segment(text: str) -> tuple[Text | Variable, ...]:
    pieces: list[Text | Variable] = []
    for plus, name, plain, stray in _PIECE.findall(text):
        if stray:
            raise Malformed(f"`{stray}` cannot stand in the path; variables are {{name}} or {{+name}}.")
        if name:
            pieces.append(Variable(name, keep_slash=plus == "+"))
        elif PATH_TEXT.fullmatch(plain):
            pieces.append(Text(plain))
        else:
            raise Malformed(f"The path segment {plain} holds a character that must be percent-encoded.")
    if all(isinstance(piece, Text) for piece in pieces) and _is_dots(text):
        raise Malformed("The path has a `.` or `..` segment.")
    return tuple(pieces)


def _is_dots(segment: str) -> bool:
    return unquote(unquote(segment)).split(";")[0] in (".", "..")


def _split_port(authority: str) -> tuple[str, str]:
    host, colon, port = authority.rpartition(":")
    if not colon or (authority.startswith("[") and authority.endswith("]")):
        return authority, ""
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise Malformed("The port of the URL is not a number.")
    return host, port
