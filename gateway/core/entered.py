"""What people and programs enter on connecting: connection fields and return URLs, checked before they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.core.errors import Refusal
from skills_catalog.model import AuthMethod, Integration
from skills_catalog.validation import compile_schema, expectation

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_LONGEST_URL = 2048


def check_fields(integration: Integration, given: Mapping[str, Any], *, partial: bool = False) -> dict[str, str]:
    """The connection fields among `given`, with defaults. Raises `bad_request` that names the field.

    `partial` leaves required fields out where they are missing: the page will ask for them.
    """
    fields: dict[str, str] = {}
    for item in integration.fields:
        value = given.get(item.name, None if partial else item.default)
        if value is None:
            if item.required and not partial:
                raise bad_field(item.name, f"The connection field {item.name!r} ({item.title}) is missing.")
            continue
        if not isinstance(value, str) or len(value) > 2048 or not value.isprintable():
            raise bad_field(item.name, f"The connection field {item.name!r} must be printable text.")
        if item.host == "label" and not _LABEL.fullmatch(value):
            raise bad_field(item.name, f"The connection field {item.name!r} must be one host label, such as `acme`.")
        if item.host == "domain" and not is_host(value):
            raise bad_field(
                item.name, f"The connection field {item.name!r} must be a host name, such as `api.example.com`."
            )
        for error in compile_schema(item.schema).iter_errors(value):
            raise bad_field(item.name, f"The connection field {item.name!r} {expectation(error)}.")
        fields[item.name] = value
    return fields


def accepts(method: AuthMethod) -> Callable[[str], bool] | None:
    """The method's pattern as a check that takes linear time, whoever wrote the pattern; None without one."""
    return compile_schema({"pattern": method.pattern}).is_valid if method.pattern is not None else None


def field_names(integration: Integration) -> frozenset[str]:
    return frozenset(item.name for item in integration.fields)


def is_host(value: str) -> bool:
    """A host name, with a port or without."""
    name, colon, port = value.partition(":")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        return False
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def is_return_url(url: Any) -> bool:
    """Whether browsers may be sent there: https, or http on loopback; nothing that two parsers read differently."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable():
        return False
    if any(char in url for char in ' \\"<>^`{|}#'):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.username is not None or "@" in parts.netloc or not parts.hostname or port == 0:
        return False
    if parts.scheme == "http":
        return parts.hostname in _LOOPBACK and url.startswith("http://")
    return parts.scheme == "https" and url.startswith("https://") and is_host(parts.netloc)


def bad_field(path: str, message: str) -> Refusal:
    """`bad_request` that names the field."""
    return Refusal(
        "bad_request", message, details={"fields": [{"path": path, "keyword": "format", "message": message}]}
    )
