"""What people and programs enter on connecting: credentials, connection fields, return URLs, checked before they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError

from gateway.core.errors import Refusal
from gateway.core.strict_json import NotStrictJson, parse
from oauth.connections import Credential
from oauth.schemes import InputRefused, credential_from_input
from oauth.texts import names_in
from oauth.token_answers import copied
from skills_catalog.model import AuthMethod, ConnectionField, Integration
from skills_catalog.validation import compile_schema, expectation

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_LONGEST_URL = 2048
_LONGEST_KEY_FILE = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A credential as it was entered, with the connection fields beside it."""

    credential: Credential
    fields: Mapping[str, str]


def read_credential(
    integration: Integration, method: AuthMethod, given: Mapping[str, Any], *, now: float = 0.0
) -> Entered:
    """What was entered for a method that is no OAuth. Raises `Refusal` (`bad_request`), which names the key."""
    names = {item.name for item in integration.fields_for(method)}
    try:
        opened = _open_key_file(method, given)
        credential = credential_from_input(
            method.type, opened, wanted=method.asks, accepts=accepts(method), also=names, now=now
        )
    except InputRefused as refused:
        raise bad_field(f"credentials/{refused.field}", f"{refused}.") from None
    fields = {name: value for name, value in opened.items() if name in names}
    fields |= _copied(method, credential)
    return Entered(credential=credential, fields=check_fields(integration, method, fields, told=method.told))


def check_fields(
    integration: Integration,
    method: AuthMethod,
    given: Mapping[str, Any],
    *,
    partial: bool = False,
    told: Collection[str] | None = None,
) -> dict[str, str]:
    """The connection fields of a method among `given`, with defaults. Raises `bad_request` that names the field.

    `partial` leaves required fields out where they are missing: the page will ask for them. `told` are those that
    need not be there yet; it is all that connecting finds out where nothing else is said.
    """
    later = method.filled_in if told is None else told
    fields: dict[str, str] = {}
    for item in integration.fields_for(method):
        value = given.get(item.name, None if partial else item.default)
        if value is None:
            if item.required and not partial and item.name not in later:
                raise bad_field(item.name, f"The connection field {item.name!r} ({item.title}) is missing.")
            continue
        check_field(item, value)
        fields[item.name] = value
    return fields


def check_found(integration: Integration, method: AuthMethod, found: Mapping[str, str]) -> dict[str, str]:
    """All fields of a connection that is about to be stored. Raises `bad_request` for one that is missing or unfit.

    Of an address that a provider told, a field that stands in a host keeps the host.
    """
    fields: dict[str, str] = {}
    for item in integration.fields_for(method):
        value = found.get(item.name) or item.default
        if value is None:
            if item.required:
                raise bad_field(item.name, f"{integration.name} did not tell its {item.title} ({item.name}).")
            continue
        if item.host and item.name in method.filled_in:
            value = _host_of(value)
        check_field(item, value)
        fields[item.name] = value
    return fields


def check_brought(integration: Integration, method: AuthMethod, brought: Mapping[str, str]) -> dict[str, str]:
    """The fields that a browser came back with. Raises `bad_request` for one that is not what its field is."""
    fields: dict[str, str] = {}
    for item in integration.fields_for(method):
        if item.name in brought:
            fields[item.name] = _host_of(brought[item.name]) if item.host else brought[item.name]
            check_field(item, fields[item.name])
    return fields


def check_field(item: ConnectionField, value: Any) -> None:
    """Raises `bad_request` for a value that the field cannot have."""
    if not isinstance(value, str) or len(value) > 2048 or not value.isprintable():
        raise bad_field(item.name, f"The connection field {item.name!r} must be printable text.")
    if item.host == "label" and not _LABEL.fullmatch(value):
        raise bad_field(item.name, f"The connection field {item.name!r} must be one host label, such as `acme`.")
    if item.host == "domain" and not is_host(value):
        raise bad_field(item.name, f"The connection field {item.name!r} must be a host name, such as `api.example.com`.")
    for error in compile_schema(item.schema).iter_errors(value):
        raise bad_field(item.name, f"The connection field {item.name!r} {expectation(error)}.")


def asked_fields(integration: Integration, method: AuthMethod) -> list[ConnectionField]:
    """The fields that somebody has to say: not those that connecting finds out, unless it needs them before."""
    addresses = (
        method.request_token_url, method.authorization_url, method.token_url, *method.authorize_params.values(),
        *method.token_headers.values(), *_texts(method.token_params), *_texts(method.claims),
    )  # fmt: skip
    needed = {name for text in addresses if text for name in names_in(text)} - method.key_file.keys()
    return [
        item for item in integration.fields_for(method) if item.name not in method.filled_in or item.name in needed
    ]


def is_whole(integration: Integration, method: AuthMethod, given: Mapping[str, Any]) -> bool:
    """Whether what was given is a credential, rather than fields that a page is to be opened with."""
    fields = {item.name: item for item in integration.fields}
    return any(name not in fields or fields[name].secret for name in given)


def takes(integration: Integration, method: AuthMethod, given: Iterable[str]) -> bool:
    """Whether all the names are inputs or fields of the method."""
    return set(given) <= {*method.asks, *(item.name for item in integration.fields_for(method))}


def accepts(method: AuthMethod) -> Callable[[str], bool] | None:
    """The method's pattern as a check that takes linear time, whoever wrote the pattern; None without one."""
    return compile_schema({"pattern": method.pattern}).is_valid if method.pattern is not None else None


def _open_key_file(method: AuthMethod, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a key file holds, in the place of the file."""
    if not method.key_file or not given.get("key_file"):
        return {name: value for name, value in given.items() if name != "key_file" or not method.key_file}
    content = given["key_file"]
    if isinstance(content, str):
        if len(content) > _LONGEST_KEY_FILE:
            raise InputRefused("key_file", f"`key_file` is longer than {_LONGEST_KEY_FILE} characters")
        try:
            content = parse(content.encode("utf-8", "replace"))
        except NotStrictJson:
            raise InputRefused("key_file", "`key_file` is not JSON") from None
    if not isinstance(content, Mapping):
        raise InputRefused("key_file", "`key_file` must be a JSON object")
    found = copied(content, {name: path for name, path in method.key_file.items() if name != "private_key"})
    key = _search(method.key_file["private_key"], content)
    if not isinstance(key, str):
        raise InputRefused("key_file", f"`key_file` has no private key at {method.key_file['private_key']}")
    return {**{name: value for name, value in given.items() if name != "key_file"}, **found, "private_key": key}


def _search(path: str, content: Any) -> Any:
    try:
        return jmespath.search(path, content)
    except JMESPathError:
        return None


def _copied(method: AuthMethod, credential: Credential) -> dict[str, str]:
    """What the credential itself says of the account: the data centre behind the last dash of a key."""
    held = credential.token or credential.password
    text = held.reveal() if held else credential.username or ""
    found = {}
    for name, separator in method.copy_from_credential.items():
        _, there, behind = text.rpartition(separator)
        if there and behind:
            found[name] = behind
    return found


def _host_of(value: str) -> str:
    """`https://acme.example.com/` as `acme.example.com`; what is no address stays as it is."""
    match = re.fullmatch(r"https?://([^/?#@\\]+)/?", value)
    return match[1] if match else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


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
