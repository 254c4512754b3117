"""How an integration lets us in: auth methods, what each of their types may say, where their credential goes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from skills_catalog import templates
from skills_catalog.definition import Definition, Path, is_visible, meant
from skills_catalog.model import INPUTS, AuthMethod, Lookup, Placement, Scopes, secret_name
from skills_catalog.names import is_header_name, is_transport_header
from skills_catalog.schemas import is_pattern

_TOKENS = ("oauth2", "client_credentials", "jwt_bearer", "session")
_PLACED = (*_TOKENS, "bearer", "api_key")
#: Key -> the types of auth method for which it means something.
ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "request_token_url": ("oauth1",),
    "authorization_url": ("oauth2", "oauth1"),
    "token_url": (*_TOKENS, "oauth1"),
    "refresh_url": ("oauth2",),
    "revocation_url": ("oauth2", "client_credentials"),
    "scopes": ("oauth2", "client_credentials", "jwt_bearer", "oauth1"),
    "pkce": ("oauth2",),
    "token_auth": _TOKENS,
    "token_method": _TOKENS,
    "token_body": _TOKENS,
    "token_headers": _TOKENS,
    "authorize_params": ("oauth2", "oauth1"),
    "token_params": _TOKENS,
    "refresh_params": ("oauth2",),
    "token_path": _TOKENS,
    "token_answer": _TOKENS,
    "copy_from_token": (*_TOKENS, "oauth1"),
    "copy_from_callback": ("oauth2", "oauth1"),
    "copy_from_credential": ("bearer", "api_key", "basic"),
    "lookup": (*_PLACED, "basic", "oauth1"),
    "lifetime": _TOKENS,
    "issuer": ("oauth2", "jwt_bearer"),
    "in": _PLACED,
    "as": _PLACED,
    "prefix": _PLACED,
    "value": _PLACED,
    "pattern": ("bearer", "api_key", "basic"),
    "inputs": ("bearer", "api_key", "basic", "client_credentials", "jwt_bearer"),
    "username": ("basic",),
    "password": ("basic",),
    "base_url": (*_PLACED, "basic", "oauth1"),
    "headers": (*_PLACED, "basic", "oauth1"),
    "query": (*_PLACED, "basic", "oauth1"),
    "signature": ("oauth1",),
    "claims": ("jwt_bearer",),
    "key_file": ("jwt_bearer",),
}
#: Names that stand in the texts of a token request beside connection fields.
_ABOUT_US = ("client_id", "redirect_uri", "scopes")
_TITLES = {
    "oauth2": "OAuth",
    "client_credentials": "Client credentials",
    "bearer": "Token",
    "api_key": "API key",
    "basic": "User name and password",
    "oauth1": "OAuth 1.0a",
    "jwt_bearer": "Signed JWT",
    "session": "Sign-in",
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
    kind, name = spec["type"], spec["name"]
    for key, kinds in ONLY_FOR.items():
        if key in spec and kind not in kinds:
            definition.note((*at, key), f"Has no meaning for the type {kind}.")
    for key in ("request_token_url", "authorization_url", "token_url", "refresh_url", "revocation_url"):
        definition.url((*at, key), spec.get(key), shown=key == "authorization_url", method=name)
    definition.page_url((*at, "help_url"), spec.get("help_url"))
    if "pattern" in spec and not is_pattern(spec["pattern"]):
        definition.note((*at, "pattern"), "Not a regular expression that runs in linear time.")
    placement = _placement(definition, at, spec)
    _check_inputs(definition, at, spec)
    _check_token_request(definition, at, spec)
    _check_parts(definition, at, spec, placement)
    scopes = spec.get("scopes", {})
    lifetime = spec.get("lifetime")
    method = AuthMethod(
        name=name,
        type=kind,
        title=spec.get("title", _TITLES[kind]),
        help_url=spec.get("help_url"),
        pattern=spec.get("pattern"),
        inputs=spec.get("inputs", {}),
        placement=placement,
        base_url=spec["base_url"].rstrip("/") if "base_url" in spec else None,
        headers=spec.get("headers", {}),
        query=spec.get("query", {}),
        username=spec.get("username"),
        password=spec.get("password"),
        request_token_url=spec.get("request_token_url"),
        authorization_url=spec.get("authorization_url"),
        token_url=spec.get("token_url"),
        refresh_url=spec.get("refresh_url"),
        revocation_url=spec.get("revocation_url"),
        scopes=Scopes(
            default=tuple(scopes.get("default", ())),
            separator=scopes.get("separator", " "),
            answer_separator=scopes.get("answer_separator"),
            implies={name: tuple(implied) for name, implied in scopes.get("implies", {}).items()},
            always=tuple(scopes.get("always", ())),
            param=scopes.get("param", "scope"),
        ),
        pkce=spec.get("pkce", "S256"),
        # A key or login proves itself: there is no client.
        token_auth=spec.get("token_auth", "none" if kind in ("jwt_bearer", "session") else "post"),
        token_method=spec.get("token_method", "POST"),
        token_body=spec.get("token_body", "form"),
        token_headers=spec.get("token_headers", {}),
        authorize_params=spec.get("authorize_params", {}),
        token_params=spec.get("token_params", {}),
        refresh_params=spec.get("refresh_params", {}),
        token_path=spec.get("token_path"),
        token_answer=spec.get("token_answer", {}),
        copy_from_token=spec.get("copy_from_token", {}),
        copy_from_callback=spec.get("copy_from_callback", {}),
        copy_from_credential=spec.get("copy_from_credential", {}),
        lookup=Lookup(**spec["lookup"]) if "lookup" in spec else None,
        lifetime=int(templates.seconds(lifetime)) if lifetime is not None else None,
        issuer=spec.get("issuer"),
        signature=spec.get("signature", "HMAC-SHA1"),
        claims=spec.get("claims", {}),
        key_file=spec.get("key_file", {}),
    )
    _check_copies(definition, at, method)
    return method


def _check_inputs(definition: Definition, at: Path, spec: Mapping[str, Any]) -> None:
    """Inputs and connection fields are entered side by side, so no two may have one name."""
    kind, name = spec["type"], spec["name"]
    asked = INPUTS.get(kind, ())
    if kind == "basic":
        asked = tuple(one for one in asked if one not in spec)
    for field in definition.fields:
        if field.name in asked and (field.auth is None or name in field.auth):
            message = f"{name} is connected with a {field.name} already; give the field another name."
            definition.note(("connection", field.name), message)
    for one in spec.get("inputs", {}):
        if one not in asked:
            definition.note((*at, "inputs", one), f"{name} does not ask for it.{meant(one, asked)}")
    fields = [field for field in definition.fields if field.auth is None or name in field.auth]
    secret = any(field.secret for field in fields)
    if kind == "session" and not secret:
        definition.note(at, "A session is got with a secret: declare a connection field with `secret: true`.")
    if kind == "basic" and not asked and not secret:
        definition.note(at, "Nothing is asked for: a connection field with `secret: true` is missing.")


def _check_token_request(definition: Definition, at: Path, spec: Mapping[str, Any]) -> None:
    kind, name = spec["type"], spec["name"]
    about = (*_ABOUT_US, "assertion") if kind == "jwt_bearer" else _ABOUT_US
    for header, value in spec.get("token_headers", {}).items():
        if not is_header_name(header) or is_transport_header(header):
            definition.note((*at, "token_headers", header), f"The header {header} may not be set here.")
        definition.header_value((*at, "token_headers", header), value)
        definition.known_fields((*at, "token_headers", header), value, method=name, also=about)
    for key in ("token_params", "refresh_params", "authorize_params"):
        for param, value in spec.get(key, {}).items():
            nests = isinstance(value, Mapping | list)
            if nests and (spec.get("token_body") != "json" or spec.get("token_method") == "GET"):
                definition.note((*at, key, param), "Only the JSON body of a token request nests: `token_body: json`.")
            for text in texts_in(value):
                definition.known_fields((*at, key, param), text, method=name, also=about)
    for claim, value in spec.get("claims", {}).items():
        for text in texts_in(value):
            definition.known_fields((*at, "claims", claim), text, method=name, also=("client_id", "token_url", "scopes"))
    hidden = {field.name for field in definition.fields if field.secret}
    for param, value in spec.get("authorize_params", {}).items():
        if hidden & set(templates.fields_in(value)):
            definition.note((*at, "authorize_params", param), "A secret field cannot stand here: the browser shows it.")
    if spec.get("token_method") == "GET" and kind in ("oauth2", "client_credentials") and spec.get("token_auth", "post") == "post":
        definition.note((*at, "token_method"), "The client secret would stand in the address: say `token_auth: basic`.")
    definition.jmespath((*at, "token_path"), spec.get("token_path"))
    for key, path in spec.get("token_answer", {}).items():
        definition.jmespath((*at, "token_answer", key), path)


def _check_parts(
    definition: Definition, at: Path, spec: Mapping[str, Any], placement: Placement | None
) -> None:
    """What of the credential stands beside its main place: own base URL, headers, query, a fixed user name."""
    name = spec["name"]
    here = (secret_name(spec["type"]),) if placement is not None and placement.location == "path" else ()
    definition.url((*at, "base_url"), spec.get("base_url"), query=False, method=name, also=here)
    main = placement.name.lower() if placement is not None and placement.location == "header" else ""
    for header, value in spec.get("headers", {}).items():
        where = (*at, "headers", header)
        if is_transport_header(header) or header.lower() in ("cookie", "set-cookie"):
            definition.note(where, f"The header {header} may not be set here.")
        if header.lower() == main or (spec["type"] == "oauth1" and header.lower() == "authorization"):
            definition.note(where, "Is where the credential itself goes.")
        definition.header_value(where, value)
        definition.known_fields(where, value, method=name)
    for param, value in spec.get("query", {}).items():
        if placement is not None and placement.location == "query" and placement.name == param:
            definition.note((*at, "query", param), "Is where the credential itself goes.")
        definition.known_fields((*at, "query", param), value, method=name)
    for key in ("username", "password"):
        definition.known_fields((*at, key), spec.get(key, ""), method=name)
        if _CONTROLS.search(spec.get(key, "")) or (key == "username" and ":" in spec.get(key, "")):
            definition.note((*at, key), "Holds a character that cannot stand there (RFC 7617).")


def _check_copies(definition: Definition, at: Path, method: AuthMethod) -> None:
    """Fields that connecting finds out must exist, be fit for what they get, and be found in one way alone."""
    known = {field.name: field for field in definition.fields}
    ways: list[tuple[str, Mapping[str, str]]] = [
        ("copy_from_token", method.copy_from_token),
        ("copy_from_callback", method.copy_from_callback),
        ("copy_from_credential", method.copy_from_credential),
        ("key_file", {name: path for name, path in method.key_file.items() if name not in ("private_key", "key_id")}),
    ]
    if method.lookup:
        ways.append(("lookup", method.lookup.fields))
        for key in ("items", "title"):
            definition.jmespath((*at, "lookup", key), getattr(method.lookup, key))
    for key in ("private_key", "key_id"):
        definition.jmespath((*at, "key_file", key), method.key_file.get(key))
    found: dict[str, str] = {}
    for key, copied in ways:
        for name, path in copied.items():
            where: Path = (*at, key, "fields", name) if key == "lookup" else (*at, key, name)
            if key in ("copy_from_token", "key_file", "lookup"):
                definition.jmespath(where, path)
            if name not in known:
                definition.note(where, f"There is no connection field {name}.{meant(name, known)}")
                continue
            field = known[name]
            if not field.serves(method):
                definition.note(where, f"Connections of {method.name} have no field {name}; its `auth` says so.")
            if name in found:
                definition.note(where, f"Is found by {found[name]} already.")
            found[name] = key
            if key == "copy_from_callback" and field.host == "domain" and not {"pattern", "enum"} & set(field.schema):
                message = "What a browser brings back must not choose the host: give the field a `pattern` or `enum`."
                definition.note(where, message)
            if field.secret and key in ("copy_from_callback", "lookup"):
                definition.note(where, "A secret field is not filled in like this: it is shown on the way.")


def _placement(definition: Definition, at: Path, spec: Mapping[str, Any]) -> Placement | None:
    kind = spec["type"]
    if kind in ("none", "oauth1"):
        return None
    if kind == "basic":
        return Placement(location="header", name="Authorization", prefix="Basic ")
    location = spec.get("in", "header")
    if location == "path":
        for key in ("as", "prefix", "value"):
            if key in spec:
                definition.note((*at, key), "The base URL says how the credential stands in the path.")
        if kind not in ("bearer", "api_key"):
            definition.note((*at, "in"), "Only a bearer token or an api_key can stand in the path.")
        return Placement(location="path", name=secret_name(kind))
    key_at = (*at, "as") if "as" in spec else (*at, "name")
    if "as" not in spec and kind != "api_key":
        if location != "header":
            definition.note((*at, "in"), "Needs `as:`, the name under which the credential goes there.")
        name = "Authorization"
    else:
        name = spec.get("as", spec["name"])
    template = spec.get("value")
    if template is not None:
        _check_template(definition, at, spec, template)
    prefix = spec.get("prefix", "Bearer " if name == "Authorization" and kind != "api_key" and not template else "")
    if location in ("header", "cookie") and not is_header_name(name):
        definition.note(key_at, f"{name} cannot be the name of a {location}.")
    if location == "header" and (is_transport_header(name) or name.lower() in ("cookie", "set-cookie")):
        definition.note(key_at, f"A credential cannot go into the header {name}.")
    if _CONTROLS.search(name) or not is_visible(prefix):
        definition.note(key_at, "Holds a character that cannot stand there.")
    return Placement(location=location, name=name, prefix=prefix, template=template)


def _check_template(definition: Definition, at: Path, spec: Mapping[str, Any], template: str) -> None:
    secret = secret_name(spec["type"])
    if "prefix" in spec:
        definition.note((*at, "prefix"), "`value` says the whole text; leave `prefix` out.")
    if secret not in templates.fields_in(template):
        definition.note((*at, "value"), f"Holds no {{{secret}}}, so that the credential is not sent.")
    if not is_visible(template):
        definition.note((*at, "value"), "Holds a character that cannot stand there.")
    definition.known_fields((*at, "value"), template, method=spec["name"], also=(secret,))


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names of members aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
