"""The operator's choices laid over the catalog: other addresses, other scopes, integrations switched off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.settings import BadSetting, Installation, Override
from skills_catalog.catalog import Catalog
from skills_catalog.model import AuthMethod, Integration
from skills_catalog.names import nearest

_METHOD_ADDRESSES = ("authorization_url", "token_url", "refresh_url", "revocation_url", "issuer")


def chosen(catalog: Catalog, installation: Installation) -> Catalog:
    """The catalog as this installation wants it. Raises `BadSetting` for a slug that does not exist."""
    for slug in (*(installation.integrations or ()), *installation.overrides):
        if catalog.get(slug) is None:
            near = nearest(slug, catalog.integrations)
            raise BadSetting(
                f"skills.yaml: there is no integration {slug!r}" + (f"; did you mean {near!r}?" if near else "")
            )
    return Catalog(
        _with(integration, installation.overrides)
        for slug, integration in catalog.integrations.items()
        if _is_on(slug, installation)
    )


def _is_on(slug: str, installation: Installation) -> bool:
    override = installation.overrides.get(slug)
    if override is not None and not override.enabled:
        return False
    return installation.integrations is None or slug in installation.integrations


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
