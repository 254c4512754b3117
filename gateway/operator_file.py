"""`skills.yaml`, as the operator writes it: which integrations, with which clients and addresses, and the plans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.plans import Plan, PlanMistake, read_plan
from oauth.secret import Secret
from skills_catalog.mistakes import CatalogError
from skills_catalog.names import nearest
from skills_catalog.strict_yaml import Document, read


class BadSetting(Exception):
    """An option whose value cannot be used; the message names it and says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What the operator says about one integration."""

    enabled: bool = True
    client_id: str | None = None
    client_secret: Secret | None = None
    #: Definition keys to replace: `base_url`, and `authorization_url`, `token_url`, … of its OAuth methods.
    addresses: Mapping[str, str] = field(default_factory=dict)
    #: The same for single auth methods, by name.
    methods: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Other base URLs for the definition's `servers`.
    servers: Mapping[str, str] = field(default_factory=dict)
    #: OAuth scopes to ask for instead of the definition's.
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """`skills.yaml` as read: the operator's choices beside the settings."""

    #: Slugs that are on; None means all.
    integrations: tuple[str, ...] | None = None
    paths: tuple[Path, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)


def text_of(document: Document, name: str, environ: Mapping[str, str]) -> str | None:
    value = document.value["settings"][name]
    if value is None:
        return None
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, (dict, list)) for part in parts):
        raise BadSetting(str(document.mistake(("settings", name), "expected one value, or a list of them")))
    return ",".join(_expand(str(part), environ) for part in parts)


def read_file(path: Path) -> Document:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise BadSetting(f"{path}: {error.strerror}") from None
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines()):
        # An operator who comments everything out has chosen the defaults.
        content = b"{}"
    try:
        document = read(content, str(path))
    except CatalogError as error:
        raise BadSetting(str(error)) from None
    if document.value is None:
        document = read(b"{}", str(path))
    if not isinstance(document.value, dict):
        raise BadSetting(f"{path}: expected a mapping")
    return document


def installation_of(document: Document, folder: Path, environ: Mapping[str, str]) -> Installation:
    _only(document, (), ("catalog", "integrations", "plans", "settings"))
    catalog = mapping(document, ("catalog",))
    _only(document, ("catalog",), ("integrations", "paths"))
    chosen = catalog.get("integrations", "all")
    if chosen != "all" and not _is_strings(chosen):
        raise BadSetting(str(document.mistake(("catalog", "integrations"), "expected `all` or a list of slugs")))
    paths = catalog.get("paths") or []
    if not _is_strings(paths):
        raise BadSetting(str(document.mistake(("catalog", "paths"), "expected a list of folders or files")))
    overrides = {slug: _override(document, slug, environ) for slug in mapping(document, ("integrations",))}
    return Installation(
        integrations=None if chosen == "all" else tuple(chosen),
        paths=tuple(folder / path for path in paths),
        overrides=overrides,
        plans={name: _plan(document, name) for name in mapping(document, ("plans",))},
    )


_ADDRESSES = (
    *("base_url", "request_token_url", "authorization_url", "token_url", "refresh_url", "revocation_url", "issuer"),
)
#: An origin and what follows; a host may hold `{field}`s that a connection fills in.
_ADDRESS = re.compile(r"https?://[^\s/?#@\\]+([/?][^\s\\]*)?")


def _override(document: Document, slug: str, environ: Mapping[str, str]) -> Override:
    at = ("integrations", slug)
    given = mapping(document, at)
    _only(document, at, ("enabled", "client_id", "client_secret", "scopes", "servers", "auth", *_ADDRESSES))
    texts = _texts(document, at, ("client_id", "client_secret"), environ, addresses=False)
    addresses = _texts(document, at, _ADDRESSES, environ)
    servers = _texts(document, (*at, "servers"), tuple(mapping(document, (*at, "servers"))), environ)
    methods: dict[str, Mapping[str, str]] = {}
    for name in mapping(document, (*at, "auth")):
        _only(document, (*at, "auth", name), _ADDRESSES)
        methods[name] = _texts(document, (*at, "auth", name), _ADDRESSES, environ)
    enabled, scopes = given.get("enabled", True), given.get("scopes")
    if not isinstance(enabled, bool):
        raise BadSetting(str(document.mistake((*at, "enabled"), "expected true or false")))
    if scopes is not None and not _is_strings(scopes):
        raise BadSetting(str(document.mistake((*at, "scopes"), "expected a list of OAuth scopes")))
    secret = texts.pop("client_secret", None)
    return Override(
        enabled=enabled,
        client_id=texts.pop("client_id", None),
        client_secret=Secret(secret) if secret else None,
        addresses=addresses,
        methods=methods,
        servers=servers,
        scopes=tuple(scopes) if scopes is not None else None,
    )


def _texts(
    document: Document,
    at: tuple[str, ...],
    names: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    addresses: bool = True,
) -> dict[str, str]:
    """The texts of a mapping, with what they name in the environment."""
    given = mapping(document, at)
    texts: dict[str, str] = {}
    for name in names:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise BadSetting(str(document.mistake((*at, name), "expected text")))
        expanded = _expand(value, environ)
        if expanded and addresses and not _ADDRESS.fullmatch(expanded):
            raise BadSetting(str(document.mistake((*at, name), "expected an address such as https://api.example.com")))
        if expanded:
            texts[name] = expanded
        elif value and addresses:
            # The definition's own address would get credentials that were meant for this one.
            raise BadSetting(str(document.mistake((*at, name), f"the environment does not say {value}")))
    return texts


def _plan(document: Document, name: str) -> Plan:
    try:
        return read_plan(document, name)
    except PlanMistake as wrong:
        raise BadSetting(str(document.mistake(("plans", name, *wrong.path), str(wrong)))) from None


def mapping(document: Document, path: tuple[str, ...]) -> dict[str, Any]:
    value = document.value
    for step in path:
        value = (value or {}).get(step)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadSetting(str(document.mistake(path, "expected a mapping")))
    return value


def _only(document: Document, path: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in mapping(document, path):
        if name not in known:
            raise BadSetting(unknown(document, (*path, name), name, list(known)))


def unknown(document: Document, path: tuple[str, ...], name: str, known: list[str]) -> str:
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; known here: {', '.join(known)}"
    return str(document.mistake(path, f"unknown key {name!r}{hint}"))


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _expand(text: str, environ: Mapping[str, str]) -> str:
    """`${NAME}` from the environment; a name that is not set makes nothing."""
    return re.sub(r"\$\{(\w+)\}", lambda match: environ.get(match[1], ""), text)
