"""The operator's choices laid over the catalog: other addresses, other scopes, integrations switched off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.settings import BadSetting, Installation, Override
from skills_catalog.catalog import Catalog
from skills_catalog.model import AuthMethod, Integration
from skills_catalog.names import nearest
from skills_catalog.templates import Malformed, address, fields_in, host_mistake

_METHOD_ADDRESSES = ("authorization_url", "token_url", "refresh_url", "revocation_url", "issuer")


def chosen(catalog: Catalog, installation: Installation) -> Catalog:
    """The catalog as this installation wants it. Raises `BadSetting` for a slug or address that cannot be."""
    for slug in (*(installation.integrations or ()), *installation.overrides):
        if catalog.get(slug) is None:
            near = nearest(slug, catalog.integrations)
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
    fields = {item.name: item.host for item in integration.fields}
    for name, url in override.addresses.items():
        try:
            parts = address(url)
            wrong = host_mistake(parts.host, dict(fields))
        except Malformed as error:
            parts, wrong = None, str(error)
        if unknown := set(fields_in(url)) - fields.keys():
            wrong = f"{integration.slug} has no connection field {min(unknown)!r}."
        if parts is not None and parts.query and name == "base_url":
            wrong = "The base URL holds no query."
        if wrong:
            raise BadSetting(f"skills.yaml: integrations.{integration.slug}.{name}: {wrong}")


def _with(integration: Integration, overrides: Mapping[str, Override]) -> Integration:
    override = overrides.get(integration.slug)
    if override is None:
        return integration
    return replace(
        integration,
        base_url=override.addresses.get("base_url", integration.base_url),
        auth=tuple(_method(method, override) for method in integration.auth),
    )


def _method(method: AuthMethod, override: Override) -> AuthMethod:
    if method.type not in ("oauth2", "client_credentials"):
        return method
    addresses = {name: url for name, url in override.addresses.items() if name in _METHOD_ADDRESSES}
    scopes = method.scopes if override.scopes is None else replace(method.scopes, default=override.scopes)
    return replace(method, scopes=scopes, **addresses)  # type: ignore[arg-type]
