"""Builds the upstream request from a skill, its params and a credential. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from gateway.core.errors import bad_param
from gateway.core.requests.bodies import Values, body_of, check_spread, put
from gateway.core.requests.file_params import NO_FILES, GivenFiles
from gateway.core.requests.request import UpstreamRequest
from gateway.core.requests.spelling import Pairs, ascii_json, encoded, pairs, quoted, scalar
from oauth import texts
from oauth.schemes import Injection
from skills_catalog.model import AuthMethod, Integration, Param, Skill, Text, Variable, secret_name

USER_AGENT = "Skillway"
MAX_URL = 8 * 1024
MAX_HEADERS = 16 * 1024
_LONGEST = {"path": MAX_URL, "query": MAX_URL, "header": MAX_HEADERS}
DEFAULT_TIMEOUT = 30.0
NO_INJECTION = Injection()
#: The names by which a credential stands in a base URL.
_CREDENTIALS = frozenset({secret_name("bearer"), secret_name("api_key")})
_FIELD = re.compile(r"\{(\w+)\}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_PLAIN = re.compile(r"[\w~-]+", re.ASCII)
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)

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
    method: AuthMethod | None = None,
    base_url: str | None = None,
    fields: Mapping[str, str] | None = None,
    injection: Injection = NO_INJECTION,
    secrets: Sequence[str] = (),
    files: GivenFiles = NO_FILES,
) -> UpstreamRequest:
    """The request that a call makes, ready to send.

    `params` have passed the skill's schema. `method` is the auth method of the connection, `fields` are the
    connection's values for `{field}`s, `base_url` replaces the definition's, `secrets` are all of the credential's,
    `files` are those that params name by an id.
    Raises `Refusal` (`bad_request`, `details.fields`) for a value that cannot stand where its param goes: a dot segment
    in a path, a line break in a header.
    """
    fields = fields or {}
    base_url = base_url or integration.base_url_for(skill, method)
    origin, base_path = base_address(base_url, fields)
    query: Pairs = []
    headers = _fixed(integration.headers, fields) + _fixed(skill.headers, fields)
    in_body: Values = []
    for param, value in _values(integration, skill, params, fields, injection, files):
        if param.location == "query":
            query += pairs(param, value)
        elif param.location == "header":
            headers += [] if value is None else [(param.wire[0], _header_value(param, value))]
        else:
            in_body.append((param, value))
    body, content_type = body_of(skill, in_body, injection.body, files)
    headers = _with_defaults(headers, content_type)
    headers += injection.headers
    if injection.cookies:
        headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in injection.cookies)))
    request = UpstreamRequest(
        method=skill.request.method,
        origin=origin,
        path=base_path + _path(skill, params, fields),
        query=_joined(query, injection.query),
        headers=tuple(headers),
        body=body,
        timeout=skill.timeout or DEFAULT_TIMEOUT,
        idempotent=skill.idempotent,
        follow_redirects=skill.redirect,
        credential_headers=frozenset(
            [name.lower() for name, _ in injection.headers] + (["cookie"] if injection.cookies else [])
        ),
        credential_params=frozenset([quoted(name) for name, _ in injection.query]),
        host_is_typed="{" in base_url.split("/", 3)[2],
        secrets=(*secrets, *injection.secrets, *_spelled_secrets(integration, skill, fields)),
    )
    check_size(request)
    return request


def check_size(request: UpstreamRequest) -> None:
    """Raises `Refusal` for a request with more of an address or of headers than servers take."""
    if len(request.origin) + len(request.path) + len(request.query) > MAX_URL:
        raise bad_param("", "maxLength", f"The request's URL would be longer than {MAX_URL} bytes.")
    if sum([len(name) + len(value) + 4 for name, value in request.headers]) > MAX_HEADERS:
        raise bad_param("", "maxLength", f"The request's headers would be larger than {MAX_HEADERS} bytes.")


def base_address(base_url: str, fields: Mapping[str, str]) -> tuple[str, str]:
    """Origin and path (without a slash at its end) of a base URL whose `{field}`s are filled in."""
    return _base_address(base_url) if "{" not in base_url else _split_filled(base_url, fields)


@lru_cache(maxsize=4096)
def _base_address(base_url: str) -> tuple[str, str]:
    return _split_filled(base_url, {})


def _split_filled(base_url: str, fields: Mapping[str, str]) -> tuple[str, str]:
    origin, path = _filled_address(base_url, fields)
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
            raise bad_param(match[1], "format", f"The connection field {match[1]!r} is not a host name.")
        return value

    def path_value(match: re.Match[str]) -> str:
        # A colon is a letter of a path like any (RFC 3986 §3.3), and of the keys that stand in one.
        escaped = _segment(match[1], fields.get(match[1], ""))
        return escaped.replace("%3A", ":") if match[1] in _CREDENTIALS else escaped

    return f"{scheme}://{_FIELD.sub(host_value, host)}", slash + _FIELD.sub(path_value, path)


def _is_host_name(text: str) -> bool:
    return len(text) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in text.split("."))


def _values(
    integration: Integration,
    skill: Skill,
    params: Mapping[str, Any],
    fields: Mapping[str, str],
    injection: Injection,
    files: GivenFiles,
) -> Iterable[tuple[Param, Any]]:
    """What goes where, apart from the path: encoded, gathered into the JSON texts that it is a member of, spread out."""
    gathered: dict[tuple[str, ...], tuple[Param, dict[str, Any]]] = {}
    for param, given in _given(integration, skill, params, fields):
        if param.location == "path":
            continue
        _refuse_long(param, given)
        value = encoded(param, given, files) if param.encode else given
        if param.member:
            _, document = gathered.setdefault((param.location, *param.wire), (param, {}))
            put(document, param.member, value)
        elif param.spread and isinstance(value, Mapping):
            names = injection.body if param.location != "query" else [name for name, _ in injection.query]
            check_spread(skill, param, value, names)
            for name, inner in value.items():
                yield replace(param, wire=(*param.wire, name), spread=False), inner
        else:
            yield param, value
    for param, document in gathered.values():
        text = ascii_json(document) if param.location == "header" else orjson.dumps(document).decode()
        yield replace(param, member=(), content_type=param.content_type or "application/json"), text


def _given(
    integration: Integration, skill: Skill, params: Mapping[str, Any], fields: Mapping[str, str]
) -> Iterable[tuple[Param, Any]]:
    for constant in skill.constants:
        value = constant.const
        if isinstance(value, str | dict | list) and integration.fields:
            value = texts.fill_json(value, fields, {item.name for item in integration.fields})
            if value == "" and constant.const != "":
                # It is a field that this connection does not have.
                continue
        yield constant, value
    for name, value in params.items():
        yield skill.params[name], value


def _spelled_secrets(integration: Integration, skill: Skill, fields: Mapping[str, str]) -> Iterable[str]:
    """Constants with a secret field in them, as their steps spell it: nobody would find it in them."""
    hidden = {item.name for item in integration.fields if item.secret and fields.get(item.name)}
    for constant in skill.constants if hidden else ():
        if constant.encode and isinstance(constant.const, str) and hidden & set(texts.names_in(constant.const)):
            filled = texts.fill_json(constant.const, fields, {item.name for item in integration.fields})
            yield scalar(encoded(constant, filled))


def _refuse_long(param: Param, value: Any) -> None:
    """What cannot fit is refused before it is looked at and escaped, which takes seconds for megabytes."""
    longest = _LONGEST.get(param.location)
    if longest is None:
        return
    # The quotes and commas of JSON weigh no more than twice the items that they part.
    size = len(value) if isinstance(value, str) else len(orjson.dumps(value)) // 3
    if size > longest:
        where = "a header" if param.location == "header" else "a URL"
        raise bad_param(param.name, "maxLength", f"The param {param.name!r} goes into {where}: at most {longest} bytes.")


def _path(skill: Skill, params: Mapping[str, Any], fields: Mapping[str, str]) -> str:
    path = ""
    for segment in skill.request.segments:
        path += "/"
        for piece in segment:
            if isinstance(piece, Text):
                path += piece.text
            elif piece.is_field:
                path += _path_value(piece, fields.get(piece.name))
            else:
                path += _param_in_path(skill, piece, params)
    return path


def _param_in_path(skill: Skill, piece: Variable, params: Mapping[str, Any]) -> str:
    param = skill.params.get(piece.name)
    if param is None:
        constant = next((one for one in skill.constants if one.name == piece.name), None)
        return _path_value(piece, constant.const if constant else None)
    value = params.get(piece.name)
    _refuse_long(param, value)
    return _path_value(piece, encoded(param, value))


def _path_value(piece: Variable, value: Any) -> str:
    if value is None:
        what = "connection field" if piece.is_field else "param"
        raise bad_param(piece.name, "required", f"The {what} {piece.name!r} stands in the path and may not be missing.")
    text = ",".join(scalar(item) for item in value) if isinstance(value, list) else scalar(value)
    if not piece.keep_slash:
        return _segment(piece.name, text)
    return "/".join(_segment(piece.name, part) for part in text.split("/"))


def _segment(name: str, text: str) -> str:
    """One opaque path segment. Dots that could walk out are refused as written and as any server might decode them."""
    if not text:
        raise bad_param(name, "minLength", f"The param {name!r} makes an empty path segment.")
    if _PLAIN.fullmatch(text):
        # Nothing that walks, and nothing to escape.
        return text
    decoded = text
    for _ in range(3):
        for part in re.split(r"[/\\]", decoded):
            if part.split(";", 1)[0].strip(" \t\r\n\0") in (".", ".."):
                raise bad_param(name, "pattern", f"The param {name!r} may not hold the path segments `.` or `..`.")
        if "%" not in decoded:
            break
        decoded = unquote(decoded)
    return quoted(text)


def _joined(query: Pairs, injected: Sequence[tuple[str, str]]) -> str:
    if not query and not injected:
        return ""
    found = query + [(quoted(name), quoted(value)) for name, value in injected]
    return "&".join(f"{name}={value}" for name, value in found)


def _header_value(param: Param, value: Any) -> str:
    text = ",".join(scalar(item) for item in value) if isinstance(value, list) else scalar(value)
    if text and not _HEADER_VALUE.fullmatch(text):
        raise bad_param(param.name, "pattern", f"The param {param.name!r} goes into a header: visible ASCII only.")
    return text


def _fixed(headers: Mapping[str, str], fields: Mapping[str, str]) -> Pairs:
    """Headers of a definition; one with a field that the connection does not have is left out."""
    found: Pairs = []
    for name, value in headers.items():
        if "{" not in value:
            found.append((name, value))
        elif filled := texts.fill_whole(value, fields):
            if not _HEADER_VALUE.fullmatch(filled):
                raise bad_param("", "pattern", "A connection field cannot stand in a header: visible ASCII only.")
            found.append((name, filled))
    return found


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
