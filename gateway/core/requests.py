"""Builds the upstream request from a skill, its params and a credential. Pure: no I/O, no clock."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from secrets import token_hex
from typing import Any
from urllib.parse import quote, unquote

import orjson

from gateway.core.errors import Refusal
from gateway.core.request import UpstreamRequest
from oauth.schemes import Injection
from skills_catalog.model import Integration, Param, Skill, Text, Variable
from skills_catalog.names import MEDIA_TYPE

USER_AGENT = "Skillway"
MAX_URL = 8 * 1024
MAX_HEADERS = 16 * 1024
_LONGEST = {"path": MAX_URL, "query": MAX_URL, "header": MAX_HEADERS}
DEFAULT_TIMEOUT = 30.0
NO_INJECTION = Injection()
_FIELD = re.compile(r"\{(\w+)\}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_IS_JSON = re.compile(r"[\w.-]+/([\w.-]+\+)?json(\s*;.*)?", re.IGNORECASE)
_FILENAME_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\]')
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)

Pairs = list[tuple[str, str]]

_DEFAULT_HEADERS = {
    "accept": ("Accept", "application/json"),
    "accept-encoding": ("Accept-Encoding", "gzip, deflate"),
    "user-agent": ("User-Agent", USER_AGENT),
}


def build_request(
    integration: Integration,
    skill: Skill,
    params: Mapping[str, Any],
    *,
    base_url: str | None = None,
    fields: Mapping[str, str] | None = None,
    injection: Injection = NO_INJECTION,
    secrets: Sequence[str] = (),
) -> UpstreamRequest:
    """The request that a call makes, ready to send.

    `params` have passed the skill's schema. `fields` are the connection's values for `{field}`s, `base_url`
    replaces the definition's, `secrets` are all of the credential's. Raises `Refusal` (`bad_request`,
    `details.fields`) for a value that cannot stand where its param goes: a dot segment in a path, a line break in
    a header.
    """
    fields = fields or {}
    base_url = base_url or integration.base_url
    origin, base_path = base_address(base_url, tuple(sorted(fields.items())))
    query: Pairs = []
    headers: Pairs = [(name, _fill(value, fields)) for name, value in integration.headers.items()]
    headers += [(name, _fill(value, fields)) for name, value in skill.headers.items()]
    body_fields: list[tuple[Param, Any]] = []
    for param, value in _values(skill, params):
        _refuse_long(param, value)
        if param.location == "query":
            query += _query_pairs(param, value)
        elif param.location == "header":
            headers += [] if value is None else [(param.wire[0], _header_value(param, value))]
        elif param.location != "path":
            body_fields.append((param, value))
    body, content_type = _body(skill, body_fields, injection)
    headers = _with_defaults(headers, content_type)
    headers += injection.headers
    if injection.cookies:
        headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in injection.cookies)))
    request = UpstreamRequest(
        method=skill.request.method,
        origin=origin,
        path=base_path + _path(skill, params),
        query=_joined(query, injection.query),
        headers=tuple(headers),
        body=body,
        timeout=skill.timeout or DEFAULT_TIMEOUT,
        idempotent=skill.idempotent,
        follow_redirects=skill.redirect,
        credential_headers=frozenset(
            [name.lower() for name, _ in injection.headers] + (["cookie"] if injection.cookies else [])
        ),
        credential_in_query=bool(injection.query),
        host_is_typed="{" in base_url.split("/", 3)[2],
        secrets=tuple(secrets),
    )
    if len(request.origin) + len(request.path) + len(request.query) > MAX_URL:
        raise _bad("", "maxLength", f"The request's URL would be longer than {MAX_URL} bytes.")
    if sum(len(name) + len(value) + 4 for name, value in request.headers) > MAX_HEADERS:
        raise _bad("", "maxLength", f"The request's headers would be larger than {MAX_HEADERS} bytes.")
    return request


@lru_cache(maxsize=4096)
def base_address(base_url: str, fields: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Origin and path (without a slash at its end) of a base URL whose `{field}`s are filled in."""
    origin, path = _filled_address(base_url, dict(fields))
    return origin, path.rstrip("/")


def fill_address(url: str, fields: Mapping[str, str]) -> str:
    """An address of a definition with its `{field}`s filled in.

    A field in the host must be a host name by itself, with a port only where it is the whole host; one in
    the path is escaped like a path param. Raises `Refusal` for a value that cannot stand there.
    """
    return "".join(_filled_address(url, fields))


def _filled_address(url: str, fields: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")

    def host_value(match: re.Match[str]) -> str:
        value = fields.get(match[1], "")
        name, _, port = value.partition(":") if host == match[0] else (value, "", "")
        if not _is_host_name(name) or (port and not port.isdigit()):
            raise _bad(match[1], "format", f"The connection field {match[1]!r} is not a host name.")
        return value

    def path_value(match: re.Match[str]) -> str:
        return _segment(match[1], fields.get(match[1], ""))

    return f"{scheme}://{_FIELD.sub(host_value, host)}", slash + _FIELD.sub(path_value, path)


def _is_host_name(text: str) -> bool:
    return len(text) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in text.split("."))


def _values(skill: Skill, params: Mapping[str, Any]) -> Iterable[tuple[Param, Any]]:
    for constant in skill.constants:
        yield constant, constant.const
    for name, value in params.items():
        yield skill.params[name], value


def _refuse_long(param: Param, value: Any) -> None:
    """What cannot fit is refused before it is looked at and escaped, which takes seconds for megabytes."""
    longest = _LONGEST.get(param.location)
    if longest is None:
        return
    # The quotes and commas of JSON weigh no more than twice the items that they part.
    size = len(value) if isinstance(value, str) else len(orjson.dumps(value)) // 3
    if size > longest:
        where = "a header" if param.location == "header" else "a URL"
        raise _bad(param.name, "maxLength", f"The param {param.name!r} goes into {where}: at most {longest} bytes.")


def _path(skill: Skill, params: Mapping[str, Any]) -> str:
    path = ""
    for segment in skill.request.segments:
        path += "/"
        for piece in segment:
            if isinstance(piece, Text):
                path += piece.text
                continue
            param = skill.params.get(piece.name)
            value = params.get(piece.name) if param else _constant(skill, piece.name)
            path += _path_value(piece, value)
    return path


def _constant(skill: Skill, name: str) -> Any:
    return next((constant.const for constant in skill.constants if constant.name == name), None)


def _path_value(piece: Variable, value: Any) -> str:
    if value is None:
        raise _bad(piece.name, "required", f"The param {piece.name!r} stands in the path and may not be missing.")
    text = ",".join(_scalar(item) for item in value) if isinstance(value, list) else _scalar(value)
    if not piece.keep_slash:
        return _segment(piece.name, text)
    return "/".join(_segment(piece.name, part) for part in text.split("/"))


def _segment(name: str, text: str) -> str:
    """One opaque path segment. Dots that could walk out are refused as written and as any server might decode them."""
    if not text:
        raise _bad(name, "minLength", f"The param {name!r} makes an empty path segment.")
    decoded = text
    for _ in range(3):
        for part in re.split(r"[/\\]", decoded):
            if part.split(";", 1)[0].strip(" \t\r\n\0") in (".", ".."):
                raise _bad(name, "pattern", f"The param {name!r} may not hold the path segments `.` or `..`.")
        if "%" not in decoded:
            break
        decoded = unquote(decoded)
    return quote(text, safe="")


def _query_pairs(param: Param, value: Any) -> Pairs:
    name = param.wire[0] + "".join(f"[{part}]" for part in param.wire[1:])
    if value is None:
        return []
    if not isinstance(value, list):
        return [(_quoted(name), _quoted(_scalar(value)))]
    if param.explode:
        return [(_quoted(name), _quoted(_scalar(item))) for item in value]
    return [(_quoted(name), ",".join(_quoted(_scalar(item)) for item in value))]


def _joined(query: Pairs, injected: Sequence[tuple[str, str]]) -> str:
    if not query and not injected:
        return ""
    pairs = query + [(_quoted(name), _quoted(value)) for name, value in injected]
    return "&".join(f"{name}={value}" for name, value in pairs)


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    # true, false, null and numbers as JSON spells them; an object as compact JSON.
    return orjson.dumps(value).decode()


def _header_value(param: Param, value: Any) -> str:
    text = ",".join(_scalar(item) for item in value) if isinstance(value, list) else _scalar(value)
    if text and not _HEADER_VALUE.fullmatch(text):
        raise _bad(param.name, "pattern", f"The param {param.name!r} goes into a header: visible ASCII only.")
    return text


def _fill(value: str, fields: Mapping[str, str]) -> str:
    if "{" not in value:
        return value
    filled = _FIELD.sub(lambda match: fields.get(match[1], ""), value)
    if filled and not _HEADER_VALUE.fullmatch(filled):
        raise _bad("", "pattern", "A connection field cannot stand in a header: visible ASCII only.")
    return filled


def _with_defaults(headers: Pairs, content_type: str | None) -> Pairs:
    """A later header replaces an earlier one of the same name; ours stand only where the definition is silent."""
    by_name = dict(_DEFAULT_HEADERS)
    if content_type is not None:
        by_name["content-type"] = ("Content-Type", content_type)
    for name, value in headers:
        by_name[name.lower()] = (name, value)
    if content_type is not None and content_type.startswith("multipart/"):
        # Nobody else knows the boundary.
        by_name["content-type"] = ("Content-Type", content_type)
    return list(by_name.values())


def _body(skill: Skill, values: list[tuple[Param, Any]], injection: Injection) -> tuple[bytes | None, str | None]:
    kinds = {param.location for param in skill.params.values()} | {param.location for param in skill.constants}
    if "file" in kinds:
        return _multipart(values, injection)
    if "form" in kinds:
        pairs: Pairs = []
        for param, value in values:
            pairs += _query_pairs(param, value)
        return _joined(pairs, list(injection.body.items())).encode(), "application/x-www-form-urlencoded"
    if "body" not in kinds and not injection.body:
        return None, None
    whole = next(((param, value) for param, value in values if param.whole), None)
    if whole:
        return _whole(skill, *whole)
    if any(param.whole for param in skill.params.values()):
        # It was left out. An empty object would be something that nobody said.
        return None, None
    document: dict[str, Any] = {}
    for param, value in values:
        _put(document, param.wire, value)
    document.update(injection.body)
    return orjson.dumps(document), "application/json"


def _whole(skill: Skill, param: Param, value: Any) -> tuple[bytes, str]:
    """One value as the whole body: JSON, unless the action's own headers say another type; then text or bytes."""
    said = next((value for name, value in skill.headers.items() if name.lower() == "content-type"), "application/json")
    if _IS_JSON.fullmatch(said) or not isinstance(value, str):
        return orjson.dumps(value), said
    if param.schema.get("contentEncoding") != "base64":
        return value.encode(), said
    try:
        return base64.b64decode(value, validate=True), said
    except (binascii.Error, ValueError):
        raise _bad(param.name, "contentEncoding", f"The param {param.name!r} is not base64.") from None


def _put(document: dict[str, Any], wire: tuple[str, ...], value: Any) -> None:
    for part in wire[:-1]:
        document = document.setdefault(part, {})
    document[wire[-1]] = value


def _multipart(values: list[tuple[Param, Any]], injection: Injection) -> tuple[bytes, str]:
    """RFC 7578. The boundary is random, so that no content can end its part."""
    boundary = token_hex(24)
    parts: list[bytes] = []
    for param, value in values:
        name = _FILENAME_UNSAFE.sub("_", ".".join(param.wire))
        for item in value if isinstance(value, list) and param.explode else [value]:
            if item is None:
                continue
            if param.location == "file":
                filename, content_type, content = file_content(param, item)
                about = f'; filename="{_FILENAME_UNSAFE.sub("_", filename)}"\r\nContent-Type: {content_type}'
            else:
                about, content = "", _scalar(item).encode()
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{about}\r\n\r\n'
            parts.append(head.encode() + content + b"\r\n")
    for key, secret in injection.body.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{secret}\r\n'.encode())
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def file_content(param: Param, value: Any) -> tuple[str, str, bytes]:
    """Name, type and bytes of a file param: base64, alone or as `{content, filename?, content_type?}`."""
    given = {"content": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("content"), str):
        raise _bad(param.name, "type", f"The file {param.name!r} must be base64, or an object with it as `content`.")
    filename = str(given.get("filename") or param.name)
    content_type = str(given.get("content_type") or "application/octet-stream")
    if not re.fullmatch(MEDIA_TYPE, content_type):
        raise _bad(f"{param.name}/content_type", "pattern", "Write a media type, such as `image/png`.")
    try:
        return filename, content_type, base64.b64decode(given["content"], validate=True)
    except (binascii.Error, ValueError):
        raise _bad(f"{param.name}/content", "contentEncoding", f"The file {param.name!r} is not base64.") from None


def _bad(path: str, keyword: str, message: str) -> Refusal:
    return Refusal("bad_request", message, details={"fields": [{"path": path, "keyword": keyword, "message": message}]})
