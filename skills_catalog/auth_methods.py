"""How an integration lets us in: auth methods, what each of their types may say, where their credential goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skills_catalog import templates
from skills_catalog.definition import Definition, Path, is_visible, meant
from skills_catalog.model import AuthMethod, Placement, Scopes
from skills_catalog.names import is_header_name, is_transport_header
from skills_catalog.schemas import is_pattern

#: Key -> the types of auth method for which it means something.
ONLY_FOR = {
    "authorization_url": ("oauth2", "oauth1"),
    "token_url": ("oauth2", "client_credentials", "jwt_bearer", "oauth1"),
    "refresh_url": ("oauth2",),
    "revocation_url": ("oauth2", "client_credentials"),
    "scopes": ("oauth2", "client_credentials", "jwt_bearer"),
    "pkce": ("oauth2",),
    "token_auth": ("oauth2", "client_credentials", "jwt_bearer"),
    "token_body": ("oauth2", "client_credentials", "jwt_bearer"),
    "token_headers": ("oauth2", "client_credentials", "jwt_bearer"),
    "authorize_params": ("oauth2",),
    "token_params": ("oauth2", "client_credentials", "jwt_bearer"),
    "refresh_params": ("oauth2",),
    "token_path": ("oauth2", "client_credentials", "jwt_bearer"),
    "copy_from_token": ("oauth2", "client_credentials"),
    "copy_from_callback": ("oauth2",),
    "lifetime": ("oauth2", "client_credentials", "jwt_bearer"),
    "issuer": ("oauth2", "jwt_bearer"),
    "in": ("oauth2", "client_credentials", "jwt_bearer", "bearer", "api_key"),
    "as": ("oauth2", "client_credentials", "jwt_bearer", "bearer", "api_key"),
    "prefix": ("oauth2", "client_credentials", "jwt_bearer", "bearer", "api_key"),
    "pattern": ("bearer", "api_key", "basic"),
}
_TITLES = {
    "oauth2": "OAuth",
    "client_credentials": "Client credentials",
    "bearer": "Token",
    "api_key": "API key",
    "basic": "User name and password",
    "oauth1": "OAuth 1.0a",
    "jwt_bearer": "Signed JWT",
    "none": "No sign-in",
}
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def read_auth(definition: Definition) -> tuple[AuthMethod, ...]:
    """The auth methods in the order of the file."""
    methods = tuple(_method(definition, index, spec) for index, spec in enumerate(definition.spec["auth"]))
    seen: set[str] = set()
    for index, method in enumerate(methods):
        if method.name in seen:
            definition.note(("auth", index, "name"), f"There is another auth method named {method.name}.")
        seen.add(method.name)
    return methods


def _method(definition: Definition, index: int, spec: Mapping[str, Any]) -> AuthMethod:
    at: Path = ("auth", index)
    kind = spec["type"]
    for key, kinds in ONLY_FOR.items():
        if key in spec and kind not in kinds:
            definition.note((*at, key), f"Has no meaning for the type {kind}.")
    for key in ("authorization_url", "token_url", "refresh_url", "revocation_url"):
        definition.url((*at, key), spec.get(key), shown=key == "authorization_url")
    definition.page_url((*at, "help_url"), spec.get("help_url"))
    if "pattern" in spec and not is_pattern(spec["pattern"]):
        definition.note((*at, "pattern"), "Not a regular expression that runs in linear time.")
    for name, value in spec.get("token_headers", {}).items():
        if not is_header_name(name) or is_transport_header(name):
            definition.note((*at, "token_headers", name), f"The header {name} may not be set here.")
        definition.header_value((*at, "token_headers", name), value)
    for key in ("token_headers", "authorize_params", "token_params", "refresh_params"):
        for name, value in spec.get(key, {}).items():
            definition.known_fields((*at, key, name), value)
    definition.jmespath((*at, "token_path"), spec.get("token_path"))
    known = [field.name for field in definition.fields]
    for key in ("copy_from_token", "copy_from_callback"):
        for name, path in spec.get(key, {}).items():
            if name not in known:
                definition.note((*at, key, name), f"There is no connection field {name}.{meant(name, known)}")
            if key == "copy_from_token":
                definition.jmespath((*at, key, name), path)
    scopes = spec.get("scopes", {})
    lifetime = spec.get("lifetime")
    return AuthMethod(
        name=spec["name"],
        type=kind,
        title=spec.get("title", _TITLES[kind]),
        help_url=spec.get("help_url"),
        pattern=spec.get("pattern"),
        placement=_placement(definition, at, spec),
        authorization_url=spec.get("authorization_url"),
        token_url=spec.get("token_url"),
        refresh_url=spec.get("refresh_url"),
        revocation_url=spec.get("revocation_url"),
        scopes=Scopes(
            default=tuple(scopes.get("default", ())),
            separator=scopes.get("separator", " "),
            answer_separator=scopes.get("answer_separator"),
            implies={name: tuple(implied) for name, implied in scopes.get("implies", {}).items()},
        ),
        pkce=spec.get("pkce", "S256"),
        token_auth=spec.get("token_auth", "post"),
        token_body=spec.get("token_body", "form"),
        token_headers=spec.get("token_headers", {}),
        authorize_params=spec.get("authorize_params", {}),
        token_params=spec.get("token_params", {}),
        refresh_params=spec.get("refresh_params", {}),
        token_path=spec.get("token_path"),
        copy_from_token=spec.get("copy_from_token", {}),
        copy_from_callback=spec.get("copy_from_callback", {}),
        lifetime=int(templates.seconds(lifetime)) if lifetime is not None else None,
        issuer=spec.get("issuer"),
    )


def _placement(definition: Definition, at: Path, spec: Mapping[str, Any]) -> Placement | None:
    kind = spec["type"]
    if kind in ("none", "oauth1"):
        return None
    if kind == "basic":
        return Placement(location="header", name="Authorization", prefix="Basic ")
    location = spec.get("in", "header")
    key_at = (*at, "as") if "as" in spec else (*at, "name")
    if "as" not in spec and kind != "api_key":
        if location != "header":
            definition.note((*at, "in"), "Needs `as:`, the name under which the credential goes there.")
        name = "Authorization"
    else:
        name = spec.get("as", spec["name"])
    prefix = spec.get("prefix", "Bearer " if name == "Authorization" and kind != "api_key" else "")
    if location in ("header", "cookie") and not is_header_name(name):
        definition.note(key_at, f"{name} cannot be the name of a {location}.")
    if location == "header" and (is_transport_header(name) or name.lower() in ("cookie", "set-cookie")):
        definition.note(key_at, f"A credential cannot go into the header {name}.")
    if _CONTROLS.search(name) or not is_visible(prefix):
        definition.note(key_at, "Holds a character that cannot stand there.")
    return Placement(location=location, name=name, prefix=prefix)
