"""Turns a file of the right shape into an Integration, and notes every place where it contradicts itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from skills_catalog import templates
from skills_catalog.mistakes import Mistake
from skills_catalog.model import (
    AuthMethod,
    ConnectionField,
    Deprecation,
    ErrorHint,
    Example,
    Guide,
    Integration,
    Json,
    Location,
    Param,
    Placement,
    RequestTemplate,
    Scopes,
    Skill,
    Text,
    Variable,
    Whoami,
)
from skills_catalog.names import (
    RESERVED_ACTIONS,
    RESERVED_SLUGS,
    is_header_name,
    is_reserved_header,
    is_transport_header,
    nearest,
)
from skills_catalog.schemas import check_default, check_schema, check_size, is_pattern, with_definitions
from skills_catalog.strict_yaml import Document
from skills_catalog.templates import Malformed

MAX_TIMEOUT = 1800.0

#: What callers give for a file where the definition says nothing else.
FILE_SCHEMA: Mapping[str, Json] = {
    "anyOf": [
        {"type": "string", "contentEncoding": "base64", "description": "The content in base64."},
        {
            "type": "object",
            "properties": {
                "content": {"type": "string", "contentEncoding": "base64"},
                "filename": {"type": "string", "maxLength": 255},
                "content_type": {"type": "string", "maxLength": 100},
            },
            "required": ["content"],
            "additionalProperties": False,
        },
    ]
}

_PLACING = frozenset({"in", "as", "whole", "explode", "const"})
_ONLY_FOR = {
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
_VISIBLE = re.compile(r"[\x20-\x7e]*")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Path = tuple[str | int, ...]


def build(document: Document) -> tuple[Integration | None, list[Mistake]]:
    """The integration of a document that fits the schema; None and the mistakes if it cannot stand."""
    builder = _Builder(document)
    integration = builder.integration()
    return (None, builder.mistakes) if builder.mistakes else (integration, [])


@dataclass(frozen=True, slots=True)
class _Wire:
    """A param with the place where the file says it, and its schema as callers see it."""

    at: Path
    param: Param


class _Builder:
    def __init__(self, document: Document) -> None:
        self.mistakes: list[Mistake] = []
        self._document = document
        self._spec: dict[str, Any] = document.value
        self._actions: dict[str, Any] = self._spec["actions"]
        self._definitions: dict[str, Any] = self._spec.get("$defs", {})
        self._fields: tuple[ConnectionField, ...] = ()
        self._methods: tuple[AuthMethod, ...] = ()

    def integration(self) -> Integration:
        spec = self._spec
        slug: str = spec["slug"]
        if slug in RESERVED_SLUGS:
            self._note(("slug",), f"{slug} is reserved for a route of the gateway; take another name.")
        for name, schema in self._definitions.items():
            self._schema(("$defs", name), schema, self._definitions)
        self._fields = tuple(self._field(name, field) for name, field in spec.get("connection", {}).items())
        self._url(("base_url",), spec["base_url"], query=False)
        for key in ("docs_url",):
            self._page_url((key,), spec.get(key))
        self._fixed_headers(("headers",), spec.get("headers", {}))
        self._methods = tuple(self._method(index, method) for index, method in enumerate(spec["auth"]))
        self._unique_methods()
        skills = {name: self._skill(slug, name, action) for name, action in self._actions.items()}
        self._references(skills)
        return Integration(
            slug=slug,
            name=spec["name"],
            description=_text(spec["description"]),
            base_url=spec["base_url"].rstrip("/"),
            auth=self._methods,
            skills=skills,
            categories=tuple(spec.get("categories", ())),
            version=spec.get("version", "0.1.0"),
            docs_url=spec.get("docs_url"),
            headers=spec.get("headers", {}),
            fields=self._fields,
            whoami=Whoami(**spec["whoami"]) if "whoami" in spec else None,
            redirect=spec.get("redirect") == "follow",
            upstream_limits=self._limits(spec.get("upstream_limits")),
            webhooks=self._webhooks(spec.get("webhooks")),
            guides=_guides(spec.get("guides", ())),
            workflows=_guides(spec.get("workflows", ())),
            synonyms=tuple(spec.get("synonyms", ())),
            lifecycle=spec.get("lifecycle"),
            source=self._document.source,
            digest=_digest(spec),
        )

    # ------------------------------------------------------------------ connection fields and URLs

    def _field(self, name: str, spec: Mapping[str, Any]) -> ConnectionField:
        at: Path = ("connection", name)
        schema = spec.get("schema", {"type": "string"})
        self._schema((*at, "schema"), schema, self._definitions)
        host, default = spec.get("host"), spec.get("default")
        if default is not None:
            if host and not templates.is_host_value(default, host):
                self._note((*at, "default"), f"The default is not a {host} of a host name.")
            self._default((*at, "schema"), {**schema, "default": default}, at_default=(*at, "default"))
        target = spec.get("default_for")
        if target and spec.get("secret"):
            self._note((*at, "default_for"), "A secret cannot fill a param: params are recorded. Use `headers`.")
        return ConnectionField(
            name=name,
            title=spec.get("title", _title(name)),
            schema=with_definitions(_described(schema, spec), self._definitions),
            required=spec.get("required", True),
            host=host,
            secret=spec.get("secret", False),
            default=default,
            default_for=target,
        )

    def _url(self, at: Path, url: str | None, *, query: bool = True, shown: bool = False) -> None:
        """Checks a URL that requests go to, with its `{field}`s; `shown` ones stand in a browser."""
        if url is None:
            return
        try:
            address = templates.address(url)
        except Malformed as error:
            self._note(at, str(error))
            return
        if address.query and not query:
            self._note(at, "The base URL holds no query; give params `in: query` with `const:` instead.")
        self._known_fields(at, url)
        secret = {field.name for field in self._fields if field.secret}
        if secret & {*templates.fields_in(address.host), *(templates.fields_in(url) if shown else ())}:
            self._note(at, "A secret field cannot stand here: hosts and pages of the browser are seen by others.")
        kinds: dict[str, str | None] = {field.name: field.host for field in self._fields}
        if all(name in kinds for name in templates.fields_in(address.host)):
            self._note_if(at, templates.host_mistake(address.host, kinds))

    def _page_url(self, at: Path, url: str | None) -> None:
        """Checks a URL that people open."""
        if url is not None and not re.fullmatch(r"https?://[\x21-\x7e]+", url):
            self._note(at, "Must be a URL that begins with https:// or http://.")

    def _known_fields(self, at: Path, text: str) -> None:
        known = [field.name for field in self._fields]
        for name in templates.fields_in(text):
            if name not in known:
                self._note(at, f"There is no connection field {name}.{_meant(name, known)}")

    def _fixed_headers(self, at: Path, headers: Mapping[str, str]) -> None:
        seen: set[str] = set()
        for name, value in headers.items():
            if is_reserved_header(name):
                self._note((*at, name), f"The header {name} may not be set here.")
            if name.lower() in seen:
                self._note((*at, name), "The header is set twice.")
            seen.add(name.lower())
            self._header_value((*at, name), value)
            self._known_fields((*at, name), value)

    def _header_value(self, at: Path, value: str) -> None:
        if not _VISIBLE.fullmatch(value) or value != value.strip():
            self._note(at, "A header's value is visible ASCII, without spaces at its ends.")

    # ------------------------------------------------------------------ auth methods

    def _method(self, index: int, spec: Mapping[str, Any]) -> AuthMethod:
        at: Path = ("auth", index)
        kind = spec["type"]
        for key, kinds in _ONLY_FOR.items():
            if key in spec and kind not in kinds:
                self._note((*at, key), f"Has no meaning for the type {kind}.")
        for key in ("authorization_url", "token_url", "refresh_url", "revocation_url"):
            self._url((*at, key), spec.get(key), shown=key == "authorization_url")
        self._page_url((*at, "help_url"), spec.get("help_url"))
        if "pattern" in spec and not is_pattern(spec["pattern"]):
            self._note((*at, "pattern"), "Not a regular expression that runs in linear time.")
        for key in ("token_headers",):
            for name, value in spec.get(key, {}).items():
                if not is_header_name(name) or is_transport_header(name):
                    self._note((*at, key, name), f"The header {name} may not be set here.")
                self._header_value((*at, key, name), value)
        for key in ("token_headers", "authorize_params", "token_params", "refresh_params"):
            for name, value in spec.get(key, {}).items():
                self._known_fields((*at, key, name), value)
        self._jmespath((*at, "token_path"), spec.get("token_path"))
        known = [field.name for field in self._fields]
        for key in ("copy_from_token", "copy_from_callback"):
            for name, path in spec.get(key, {}).items():
                if name not in known:
                    self._note((*at, key, name), f"There is no connection field {name}.{_meant(name, known)}")
                if key == "copy_from_token":
                    self._jmespath((*at, key, name), path)
        scopes = spec.get("scopes", {})
        lifetime = spec.get("lifetime")
        return AuthMethod(
            name=spec["name"],
            type=kind,
            title=spec.get("title", _TITLES[kind]),
            help_url=spec.get("help_url"),
            pattern=spec.get("pattern"),
            placement=self._placement(at, spec),
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

    def _placement(self, at: Path, spec: Mapping[str, Any]) -> Placement | None:
        kind = spec["type"]
        if kind in ("none", "oauth1"):
            return None
        if kind == "basic":
            return Placement(location="header", name="Authorization", prefix="Basic ")
        location = spec.get("in", "header")
        key_at = (*at, "as") if "as" in spec else (*at, "name")
        if "as" not in spec and kind != "api_key":
            if location != "header":
                self._note((*at, "in"), "Needs `as:`, the name under which the credential goes there.")
            name = "Authorization"
        else:
            name = spec.get("as", spec["name"])
        prefix = spec.get("prefix", "Bearer " if name == "Authorization" and kind != "api_key" else "")
        if location in ("header", "cookie") and not is_header_name(name):
            self._note(key_at, f"{name} cannot be the name of a {location}.")
        if location == "header" and (is_transport_header(name) or name.lower() in ("cookie", "set-cookie")):
            self._note(key_at, f"A credential cannot go into the header {name}.")
        if _CONTROLS.search(name) or not _VISIBLE.fullmatch(prefix):
            self._note(key_at, "Holds a character that cannot stand there.")
        return Placement(location=location, name=name, prefix=prefix)

    def _unique_methods(self) -> None:
        seen: set[str] = set()
        for index, method in enumerate(self._methods):
            if method.name in seen:
                self._note(("auth", index, "name"), f"There is another auth method named {method.name}.")
            seen.add(method.name)

    # ------------------------------------------------------------------ actions

    def _skill(self, slug: str, name: str, spec: Mapping[str, Any]) -> Skill:
        at: Path = ("actions", name)
        if name in RESERVED_ACTIONS:
            self._note(at, f"{name} is a reserved action name; take another.")
        template = self._template((*at, "request"), spec["request"])
        effect = self._effect(at, spec, template.method)
        auth = self._auth_of(at, spec)
        wires = self._wires(at, spec, template)
        template = self._bound(at, template, wires)
        self._check_wires(wires, template.method)
        self._fixed_headers((*at, "headers"), spec.get("headers", {}))
        self._check_injections(at, spec, wires, auth, template.method)
        params = {wire.param.name: wire.param for wire in wires if not wire.param.is_const}
        timeout = spec.get("timeout")
        if timeout is not None and templates.seconds(timeout) > MAX_TIMEOUT:
            self._note((*at, "timeout"), "A timeout is at most 30m.")
        if spec.get("cache") and effect != "read":
            self._note((*at, "cache"), f"Only actions that read can be cached; the effect of this one is {effect}.")
        self._jmespath((*at, "brief"), spec.get("brief"))
        deprecated = spec.get("deprecated")
        return Skill(
            integration=slug,
            name=name,
            title=spec.get("title", _title(name)),
            category=spec.get("category", "general"),
            description=_text(spec["description"]),
            effect=effect,  # type: ignore[arg-type]
            idempotent=spec.get("idempotent", template.method in ("GET", "HEAD", "PUT", "DELETE")),
            scopes=tuple(spec.get("scopes", ())),
            auth=auth,
            request=template,
            params=params,
            constants=tuple(wire.param for wire in wires if wire.param.is_const),
            input_schema=self._input_schema(at, spec, params),
            headers=spec.get("headers", {}),
            response=spec.get("response", "auto"),
            redirect=spec.get("redirect", self._spec.get("redirect")) == "follow",
            timeout=templates.seconds(timeout) if timeout is not None else None,
            cost=spec.get("cost", 1),
            requires_plan=spec.get("requires_plan"),
            lifecycle=spec.get("lifecycle"),
            deprecated=Deprecation(**deprecated) if deprecated else None,
            errors=tuple(_error_hint(error) for error in spec.get("errors", ())),
            examples=tuple(_example(example) for example in spec["examples"]),
            synonyms=tuple(spec.get("synonyms", ())),
            asks=tuple(spec.get("asks", ())),
            page=self._page(at, spec.get("page"), params),
            poll=self._poll(at, spec.get("poll")),
            cache=_in_seconds(spec.get("cache"), "ttl"),
            brief=spec.get("brief"),
            resource=spec.get("resource"),
            idempotency=self._idempotency(at, spec.get("idempotency"), params),
        )

    def _template(self, at: Path, line: str) -> RequestTemplate:
        try:
            return templates.request_template(line)
        except Malformed as error:
            self._note(at, str(error))
            method = line.split(" ", 1)[0].upper()
            return RequestTemplate(method=method, path="", segments=())

    def _effect(self, at: Path, spec: Mapping[str, Any], method: str) -> str:
        effect: str | None = spec.get("effect")
        if method in ("GET", "HEAD"):
            if effect not in (None, "read"):
                self._note((*at, "effect"), f"A {method} that has the effect {effect} contradicts itself.")
            return "read"
        if effect is None:
            self._note(at, f"`effect` is missing; a {method} may read, create, update, delete or send.")
            return "update"
        if method == "DELETE" and effect in ("read", "create", "send"):
            self._note((*at, "effect"), f"A DELETE that has the effect {effect} contradicts itself.")
        return effect

    def _auth_of(self, at: Path, spec: Mapping[str, Any]) -> tuple[str, ...]:
        known = [method.name for method in self._methods]
        for index, name in enumerate(spec.get("auth", ())):
            if name not in known:
                self._note((*at, "auth", index), f"There is no auth method {name}.{_meant(name, known)}")
        return tuple(spec.get("auth", known))

    # ------------------------------------------------------------------ params

    def _wires(self, at: Path, spec: Mapping[str, Any], template: RequestTemplate) -> list[_Wire]:
        """Every param and constant of an action, with its place."""
        full: Mapping[str, Any] = spec.get("input", {})
        properties: Mapping[str, Any] = full.get("properties", {})
        placed: Mapping[str, Any] = spec.get("params", {})
        if full:
            self._check_input(at, full, placed)
        entries: dict[str, tuple[Path, Any, Any]] = {
            name: ((*at, "input", "properties", name), schema, placed.get(name, {}))
            for name, schema in properties.items()
        }
        for name, entry in placed.items():
            if name not in entries:
                entries[name] = ((*at, "params", name), _without_placing(entry), entry)
        named = set(templates.variables(template))
        has_file = any(entry.get("in") == "file" for _, _, entry in entries.values())
        return [
            _Wire(where, self._param(where, name, schema, entry, full, template, named, has_file))
            for name, (where, schema, entry) in entries.items()
        ]

    def _param(
        self,
        at: Path,
        name: str,
        schema: Any,
        entry: Mapping[str, Any],
        full: Mapping[str, Any],
        template: RequestTemplate,
        named: set[str],
        has_file: bool,
    ) -> Param:
        wire = entry.get("as", name)
        location: Location = entry.get("in") or _default_location(wire, template.method, named, has_file)
        required = entry.get("required") is True or name in full.get("required", ()) or location == "path"
        if location == "path" and entry.get("required") is False:
            self._note((*at, "required"), "A param of the path is always required.")
        if location == "file" and isinstance(schema, dict) and not _has_type(schema):
            schema = {**FILE_SCHEMA, **schema}
        is_const = "const" in entry
        if is_const:
            self._constant((*at, "const"), entry["const"], location)
        else:
            self._schema(at, schema, self._definitions_of(full))
        default = next((field.name for field in self._fields if field.default_for == name), None)
        return Param(
            name=name,
            location=location,
            wire=_wire(wire, location, entry),
            schema=schema if isinstance(schema, dict) else {"not": {}} if schema is False else {},
            required=required,
            whole=entry.get("whole", False),
            explode=entry.get("explode", True),
            const=entry.get("const"),
            is_const=is_const,
            default_from=None if is_const else default,
        )

    def _check_input(self, at: Path, full: Mapping[str, Any], placed: Mapping[str, Any]) -> None:
        properties = full["properties"]
        if full.get("additionalProperties", False) is not False:
            self._note((*at, "input", "additionalProperties"), "The input is closed: only false can stand here.")
        for name in full.get("required", ()):
            if name not in properties:
                self._note((*at, "input", "required"), f"{name} is required but is not a property.")
        for name, entry in placed.items():
            if name in properties:
                for key in sorted(set(entry) - _PLACING | set(entry) & {"const"}):
                    self._note((*at, "params", name, key), "Beside `input`, a param says only where it goes.")
            elif "const" not in entry:
                self._note((*at, "params", name), "Is not a property of `input`.")
        rest = {key: value for key, value in full.items() if key not in ("properties", "$defs")}
        self._schema((*at, "input"), rest, self._definitions_of(full))
        for name, schema in full.get("$defs", {}).items():
            self._schema((*at, "input", "$defs", name), schema, self._definitions_of(full))

    def _constant(self, at: Path, value: Json, location: Location) -> None:
        if location in ("path", "query", "header") and isinstance(value, dict | list | None):
            self._note(at, f"A constant in the {location} is a string, a number, true or false.")
        elif location == "header":
            self._header_value(at, str(value))
        elif location == "file":
            self._note(at, "A file cannot be a constant.")

    def _bound(self, at: Path, template: RequestTemplate, wires: Sequence[_Wire]) -> RequestTemplate:
        """The template with its variables renamed to the params that fill them."""
        filling: dict[str, str] = {}
        for wire in wires:
            if wire.param.location == "path":
                filling[wire.param.wire[0]] = wire.param.name
        found = templates.variables(template)
        for name in dict.fromkeys(found):
            if name not in filling:
                known = [wire.param.name for wire in wires]
                self._note((*at, "request"), f"No param fills {{{name}}}.{_meant(name, known)}")
            if found.count(name) > 1:
                self._note((*at, "request"), f"{{{name}}} stands in the path twice.")
        for wire in wires:
            if wire.param.location == "path" and wire.param.wire[0] not in found and template.path:
                self._note(wire.at, f"The path has no {{{wire.param.wire[0]}}} for it.")
        return RequestTemplate(
            method=template.method,
            path=template.path,
            segments=tuple(
                tuple(
                    piece
                    if isinstance(piece, Text)
                    else Variable(filling.get(piece.name, piece.name), piece.keep_slash)
                    for piece in pieces
                )
                for pieces in template.segments
            ),
        )

    def _check_wires(self, wires: Sequence[_Wire], method: str) -> None:
        """Where things go must be possible, and no two may go to the same place."""
        taken: dict[tuple[str, ...], str] = {}
        kinds = {wire.param.location for wire in wires}
        whole = [wire for wire in wires if wire.param.whole]
        for wire in wires:
            param = wire.param
            self._check_wire(wire, method, kinds)
            if whole and param.location == "body" and (not param.whole or wire is not whole[0]):
                self._note(wire.at, f"{whole[0].param.name} is the whole body, so nothing else goes there.")
                continue
            place = _place(param)
            for length in range(1, len(place) + 1):
                other = taken.get(place[:length]) if length > 1 else None
                if other:
                    self._note(wire.at, f"Goes to the same place as {other}.")
                    break
            else:
                clash = next((name for known, name in taken.items() if known[: len(place)] == place), None)
                if clash:
                    self._note(wire.at, f"Goes to the same place as {clash}.")
            taken.setdefault(place, param.name)

    def _check_wire(self, wire: _Wire, method: str, kinds: set[Location]) -> None:
        param, name = wire.param, ".".join(wire.param.wire)
        if param.location in ("body", "form", "file") and method in ("GET", "HEAD"):
            self._note(wire.at, f"A {method} has no body; use `in: query`.")
        if param.location == "file" and method not in ("POST", "PUT", "PATCH"):
            self._note(wire.at, "A file needs POST, PUT or PATCH.")
        if param.location == "body" and kinds & {"form", "file"}:
            self._note(wire.at, "A body is either JSON or a form; beside forms and files use `in: form`.")
        if param.whole and param.location != "body":
            self._note(wire.at, "Only a param `in: body` can be the whole body.")
        if param.location == "header":
            if not is_header_name(name):
                self._note(wire.at, f"{name} cannot be the name of a header; give the name with `as:`.")
            elif is_reserved_header(name):
                self._note(wire.at, f"The header {name} may not be set by a param.")
        if _CONTROLS.search(name) or (not all(wire.param.wire) and not param.whole):
            self._note(wire.at, "The name on the wire is empty or holds control characters.")

    def _check_injections(
        self, at: Path, spec: Mapping[str, Any], wires: Sequence[_Wire], auth: Sequence[str], method: str
    ) -> None:
        """Callers must not be able to say what the credential says."""
        fixed = {name.lower(): ("headers", name) for name in self._spec.get("headers", {})}
        fixed |= {name.lower(): (*at, "headers", name) for name in spec.get("headers", {})}
        for wire in wires:
            if wire.param.location == "header" and wire.param.wire[0].lower() in fixed:
                self._note(wire.at, f"The header {wire.param.wire[0]} is set by `headers` already.")
        for one in self._methods:
            if one.name not in auth or one.placement is None:
                continue
            slot = one.placement
            if slot.location == "body" and method in ("GET", "HEAD"):
                self._note((*at, "request"), f"{one.name} goes into the body, which a {method} does not have.")
            if slot.location == "header" and slot.name.lower() in fixed:
                self._note(fixed[slot.name.lower()], f"The header is where the credential of {one.name} goes.")
            for wire in wires:
                if _collides(wire.param, slot):
                    self._note(wire.at, f"Is where the credential of {one.name} goes; callers may not set it.")

    def _input_schema(self, at: Path, spec: Mapping[str, Any], params: Mapping[str, Param]) -> dict[str, Json]:
        full: Mapping[str, Any] = spec.get("input", {})
        # A param that a connection field can fill is asked for only after that was tried.
        required = [param.name for param in params.values() if param.required and param.default_from is None]
        schema: dict[str, Json] = {
            "type": "object",
            **{key: value for key, value in full.items() if key not in ("type", "$defs", "required")},
            "properties": {
                name: param.schema if name not in full.get("properties", {}) else full["properties"][name]
                for name, param in params.items()
            },
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }
        definitions = self._definitions_of(full)
        before = len(self.mistakes)
        where: Path = (*at, "input" if full else "params")
        check_size(schema, definitions, lambda _, message: self._note(where, message))
        return with_definitions(schema, definitions) if len(self.mistakes) == before else schema

    def _definitions_of(self, full: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._definitions, **full["$defs"]} if "$defs" in full else self._definitions

    def _schema(self, at: Path, schema: Json, definitions: Mapping[str, Json]) -> None:
        def note(inner: Sequence[str | int], message: str) -> None:
            self._note((*at, *inner), message)

        before = len(self.mistakes)
        check_schema(schema, definitions, note)
        if isinstance(schema, dict) and len(self.mistakes) == before:
            self._default(at, schema, definitions=definitions)

    def _default(
        self,
        at: Path,
        schema: Mapping[str, Json],
        *,
        definitions: Mapping[str, Json] | None = None,
        at_default: Path | None = None,
    ) -> None:
        known = self._definitions if definitions is None else definitions
        check_default(schema, known, lambda inner, message: self._note(at_default or (*at, *inner), message))

    # ------------------------------------------------------------------ what names something else

    def _references(self, skills: Mapping[str, Skill]) -> None:
        """Names of actions and params must exist."""
        whoami = self._spec.get("whoami")
        if whoami:
            self._action_exists(("whoami", "action"), whoami["action"], skills)
            for key in ("account", "account_id"):
                self._jmespath(("whoami", key), whoami.get(key))
            skill = skills.get(whoami["action"])
            if skill and skill.effect != "read":
                self._note(("whoami", "action"), "Checks every new connection, so it must only read.")
            if skill and skill.input_schema.get("required"):
                self._note(("whoami", "action"), f"{skill.name} has required params; this must work without.")
        for name in self._spec.get("upstream_limits", {}).get("actions", {}):
            self._action_exists(("upstream_limits", "actions", name), name, skills)
        every = {param for skill in skills.values() for param in skill.params}
        for field in self._fields:
            if field.default_for and field.default_for not in every:
                at: Path = ("connection", field.name, "default_for")
                self._note(at, f"No action has a param {field.default_for}.{_meant(field.default_for, every)}")
        for name, skill in skills.items():
            if skill.poll:
                self._check_poll(("actions", name, "poll"), skill.poll, skills)

    def _check_poll(self, at: Path, poll: Mapping[str, Any], skills: Mapping[str, Skill]) -> None:
        self._action_exists((*at, "action"), poll["action"], skills)
        target = skills.get(poll["action"])
        if target is None:
            return
        if target.effect != "read":
            self._note((*at, "action"), "Is asked again and again, so it must only read.")
        if "param" in poll:
            self._param_exists((*at, "param"), poll["param"], target.params)
        elif "id" in poll and len(target.input_schema.get("required", ())) != 1:
            self._note(at, f"`param` is missing: {target.name} has not exactly one required param.")

    def _action_exists(self, at: Path, name: str, skills: Mapping[str, Skill]) -> None:
        if name not in skills:
            self._note(at, f"There is no action {name}.{_meant(name, skills)}")

    def _param_exists(self, at: Path, name: str, params: Iterable[str]) -> None:
        names = list(params)
        if name not in names:
            self._note(at, f"There is no param {name}.{_meant(name, names)}")

    def _page(self, at: Path, page: Any, params: Mapping[str, Param]) -> Mapping[str, Json] | None:
        if page is None:
            return None
        for key in ("items", "next", "more", "total", "pages"):
            self._jmespath((*at, "page", key), page.get(key))
        for key in ("param", "size_param"):
            if key in page:
                self._param_exists((*at, "page", key), page[key], params)
        return dict(page)

    def _poll(self, at: Path, poll: Any) -> Mapping[str, Json] | None:
        if poll is None:
            return None
        for key in ("id", "status", "progress", "result", "error"):
            self._jmespath((*at, "poll", key), poll.get(key))
        return _in_seconds(poll, "every", "timeout")

    def _idempotency(self, at: Path, spec: Any, params: Mapping[str, Param]) -> Mapping[str, Json] | None:
        if spec is None:
            return None
        if "param" in spec:
            self._param_exists((*at, "idempotency", "param"), spec["param"], params)
        if "header" in spec and is_reserved_header(spec["header"]):
            self._note((*at, "idempotency", "header"), f"The header {spec['header']} may not be set here.")
        if "header" in spec and "param" in spec:
            self._note((*at, "idempotency"), "Is either a header or a param.")
        return _in_seconds(spec, "window")

    def _limits(self, spec: Any) -> Mapping[str, Json] | None:
        if spec is None:
            return None
        limits = dict(spec)
        for key in ("per_connection", "per_client"):
            if key in limits:
                limits[key] = _windows(limits[key])
        if "actions" in limits:
            limits["actions"] = {name: _windows(value) for name, value in limits["actions"].items()}
        return limits

    def _webhooks(self, spec: Any) -> Mapping[str, Json] | None:
        if spec is None:
            return None
        self._page_url(("webhooks", "docs_url"), spec.get("docs_url"))
        self._jmespath(("webhooks", "event"), spec.get("event"))
        events = [{"name": event} if isinstance(event, str) else event for event in spec.get("events", ())]
        signature = _in_seconds(spec.get("signature"), "tolerance")
        return {**spec, "events": events, **({"signature": signature} if signature else {})}

    # ------------------------------------------------------------------ notes

    def _jmespath(self, at: Path, path: str | None) -> None:
        if path is None:
            return
        try:
            jmespath.compile(path)
        except (JMESPathError, RecursionError) as error:
            reason = str(error).splitlines()[0].rstrip(":. ")[:200]
            self._note(at, f"Not a JMESPath: {reason}.")

    def _note_if(self, at: Path, message: str | None) -> None:
        if message:
            self._note(at, message)

    def _note(self, at: Sequence[str | int], message: str) -> None:
        mistake = self._document.mistake(at, message)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)


def _default_location(wire: str, method: str, named: set[str], has_file: bool) -> Location:
    if wire in named:
        return "path"
    if method in ("GET", "HEAD", "DELETE"):
        return "query"
    # Beside a file the rest can only be fields of the same form.
    return "form" if has_file else "body"


def _wire(name: str, location: Location, entry: Mapping[str, Any]) -> tuple[str, ...]:
    if entry.get("whole"):
        return ()
    # Only a JSON body nests; elsewhere a dot is a letter of the name.
    return tuple(name.split(".")) if location == "body" and "as" in entry else (name,)


def _place(param: Param) -> tuple[str, ...]:
    """Where a param goes, so that two of the same place can be found: location, then the parts of its name."""
    location = "form" if param.location == "file" else param.location
    names = tuple(name.lower() for name in param.wire) if location == "header" else param.wire
    return (location, *names)


def _collides(param: Param, slot: Placement) -> bool:
    if slot.location == "header":
        return param.location == "header" and param.wire[0].lower() == slot.name.lower()
    if slot.location == "query":
        return param.location == "query" and param.wire[0] == slot.name
    if slot.location == "body" and param.location in ("body", "form", "file"):
        return param.whole or param.wire[0] == slot.name
    return False


def _without_placing(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in entry.items()
        if key not in _PLACING and not (key == "required" and isinstance(value, bool))
    }


def _has_type(schema: Mapping[str, Any]) -> bool:
    return not schema.keys().isdisjoint({"type", "$ref", "anyOf", "oneOf", "allOf", "enum"})


def _described(schema: Mapping[str, Json], spec: Mapping[str, Any]) -> Mapping[str, Json]:
    """The field's schema with the field's description, which forms show."""
    return {"description": spec["description"], **schema} if "description" in spec else schema


def _error_hint(spec: Mapping[str, Any]) -> ErrorHint:
    return ErrorHint(
        status=spec.get("status"),
        code=spec.get("code"),
        description=_text(spec.get("description", "")),
        fix=_text(spec.get("fix", "")),
    )


def _example(spec: Mapping[str, Any]) -> Example:
    response = spec["response"]
    return Example(
        params=spec.get("params", {}),
        status=response["status"],
        data=response.get("data"),
        headers=response.get("headers", {}),
    )


def _guides(spec: Iterable[Mapping[str, str]]) -> tuple[Guide, ...]:
    return tuple(Guide(title=page["title"], text=page["text"].strip()) for page in spec)


def _windows(spec: Any) -> list[Json]:
    return [_in_seconds(window, "window") for window in (spec if isinstance(spec, list) else [spec])]


def _in_seconds(spec: Mapping[str, Any] | None, *keys: str) -> dict[str, Json] | None:
    """The mapping with its durations as seconds."""
    if spec is None:
        return None
    return {key: templates.seconds(value) if key in keys else value for key, value in spec.items()}


def _title(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").strip().lower()
    return words[:1].upper() + words[1:]


def _text(text: str) -> str:
    return text.strip()


def _meant(name: str, known: Iterable[str]) -> str:
    meant = nearest(name, sorted(known))
    return f" Did you mean {meant}?" if meant else ""


def _digest(spec: Mapping[str, Any]) -> str:
    """SHA-256 of what the file says; comments, layout and the order of keys aside."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
