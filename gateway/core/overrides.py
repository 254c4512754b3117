"""The operator's choices laid over the catalog: other addresses, other scopes, integrations switched off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.operator_file import BadSetting, Installation, Override
from skills_catalog.catalog import Catalog
from skills_catalog.model import AuthMethod, Integration
from skills_catalog.names import nearest
from skills_catalog.templates import Malformed, address, fields_in, host_mistake

#: The addresses of each type of auth method that an operator may say otherwise.
_ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "oauth2": ("authorization_url", "token_url", "refresh_url", "revocation_url", "issuer"),
    "client_credentials": ("authorization_url", "token_url", "refresh_url", "revocation_url", "issuer"),
    "jwt_bearer": ("token_url", "issuer"),
    "session": ("token_url",),
    "oauth1": ("request_token_url", "authorization_url", "token_url"),
}


def chosen(catalog: Catalog, installation: Installation, *, known: Iterable[str] = ()) -> Catalog:
    """The catalog as this installation wants it. Raises `BadSetting` for a slug or address that cannot be.

    `known` are slugs that somebody may have meant, beside those of the catalog.
    """
    for slug in (*(installation.integrations or ()), *installation.overrides):
        if catalog.get(slug) is None:
            near = nearest(slug, {*catalog.integrations, *known})
            raise BadSetting(
                f"skills.yaml: there is no integration {slug!r}" + (f"; did you mean {near!r}?" if near else "")
            )
    for slug, override in installation.overrides.items():
        _check_addresses(catalog.integrations[slug], override)
    return Catalog(
        _with(integration, installation.overrides).reviewed()
        for slug, integration in catalog.integrations.items()
        if _is_on(slug, installation)
    )


def _is_on(slug: str, installation: Installation) -> bool:
    override = installation.overrides.get(slug)
    if override is not None and not override.enabled:
        return False
    return installation.integrations is None or slug in installation.integrations


def _check_addresses(integration: Integration, override: Override) -> None:
    """An address that a definition could not have is told at the start, not at every call."""
    where = f"skills.yaml: integrations.{integration.slug}"
    given = dict(override.addresses)
    for name, url in override.servers.items():
        if name not in integration.servers:
            raise BadSetting(f"{where}.servers.{name}: {_unknown(integration, 'server', name, integration.servers)}")
        given[f"servers.{name}"] = url
    for name, addresses in override.methods.items():
        method = integration.method(name)
        if method is None:
            known = [one.name for one in integration.auth]
            raise BadSetting(f"{where}.auth.{name}: {_unknown(integration, 'auth method', name, known)}")
        for key, url in addresses.items():
            if key != "base_url" and key not in _ADDRESSES.get(method.type, ()):
                raise BadSetting(f"{where}.auth.{name}.{key}: has no meaning for the type {method.type}.")
            given[f"auth.{name}.{key}"] = url
    for name, url in given.items():
        if wrong := _mistake(integration, name, url):
            raise BadSetting(f"{where}.{name}: {wrong}")
    for method in integration.auth:
        place, moved = method.placement, override.methods.get(method.name, {}).get("base_url")
        now = moved or override.addresses.get("base_url")
        if now and place is not None and place.location == "path" and place.name not in fields_in(now):
            raise BadSetting(f"{where}.base_url: holds no {{{place.name}}}, which is where {method.name} is let in.")
    if "base_url" in override.addresses and (left := sorted(integration.servers.keys() - override.servers.keys())):
        # Credentials that are meant for another installation must not go to the service's own.
        raise BadSetting(f"{where}.base_url: the actions of servers.{left[0]} would go elsewhere; say its address too.")


def _mistake(integration: Integration, name: str, url: str) -> str | None:
    fields = {item.name: item.host for item in integration.fields}
    # The credential itself may stand in the path of what calls start with.
    inputs = {place.name for method in integration.auth if (place := method.placement) and place.location == "path"}
    base = name == "base_url" or name.startswith("servers.") or name.endswith(".base_url")
    try:
        parts = address(url)
        wrong = host_mistake(parts.host, {**dict.fromkeys(inputs), **fields})
    except Malformed as error:
        return str(error)
    if unknown := set(fields_in(url)) - fields.keys() - (inputs if base else set()):
        return f"{integration.slug} has no connection field {min(unknown)!r}."
    return "The base URL holds no query." if parts.query and base else wrong


def _unknown(integration: Integration, what: str, name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"{integration.slug} has no {what} {name!r}." + (f" Did you mean {near!r}?" if near else "")


def _with(integration: Integration, overrides: Mapping[str, Override]) -> Integration:
    override = overrides.get(integration.slug)
    if override is None:
        return integration
    return replace(
        integration,
        base_url=override.addresses.get("base_url", integration.base_url),
        servers={**integration.servers, **{name: url.rstrip("/") for name, url in override.servers.items()}},
        auth=tuple(_method(method, override) for method in integration.auth),
    )


def _method(method: AuthMethod, override: Override) -> AuthMethod:
    given = {**override.addresses, **override.methods.get(method.name, {})}
    changed: dict[str, Any] = {name: given[name] for name in _ADDRESSES.get(method.type, ()) if name in given}
    if "base_url" in override.methods.get(method.name, {}):
        changed["base_url"] = override.methods[method.name]["base_url"]
    elif "base_url" in override.addresses and method.base_url is not None:
        # Whoever moves the integration moves all of it.
        changed["base_url"] = None
    if override.scopes is not None and method.type in ("oauth2", "client_credentials", "jwt_bearer", "oauth1"):
        changed["scopes"] = replace(method.scopes, default=override.scopes)
    return replace(method, **changed) if changed else method
