"""Ways in of an imported API: the vendor's security schemes as auth methods, and the scopes of each operation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin

from skills_catalog.descriptions.model import Description, Json, OAuthFlow, Operation, SecurityScheme
from skills_catalog.importing.words import words_of
from skills_catalog.names import is_header_name, is_transport_header
from skills_catalog.templates import Malformed, address

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
#: Scopes that a new connection is asked for; the rest is asked for when an action needs it.
_MOST_SCOPES = 20
#: How scopes are called that only let us look, and those that let us do more or that only administrators have.
_LOOKS = re.compile(r"read-?only|(?<![a-z])read(?![a-z])", re.IGNORECASE)
_DOES_MORE = re.compile(r"(?<![a-z])(admin|write|update|delete|manage|modify|edit|create|full)", re.IGNORECASE)
#: An operation that lists more scopes than that is served by any of them.
_MOST_TOGETHER = 5


@dataclass(slots=True, kw_only=True)
class Ways:
    """The auth methods in the words of a definition, and which of them a scheme of the vendor's became."""

    methods: list[dict[str, Json]] = field(default_factory=list)
    #: Scheme -> names of methods.
    names: dict[str, list[str]] = field(default_factory=dict)
    #: OAuth scheme -> scope -> the operations for which it is enough.
    reach: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def ways_in(description: Description, base_url: str, operations: Sequence[Operation], reading: Collection[str]) -> Ways:
    """The auth methods for these operations; `reading` are the keys of those that only read."""
    made = Ways()
    used = {name for one in operations for alternative in one.security for name in alternative}
    for name, scheme in description.schemes.items():
        if used and name not in used:
            continue
        methods = _methods(scheme, base_url, made)
        for method in methods:
            while any(method["name"] == other["name"] for other in made.methods):
                method["name"] = f"{str(method['name'])[:58]}_2"
        made.names[name] = [str(method["name"]) for method in methods]
        made.methods += methods
        if scheme.type == "oauth2":
            made.reach[name] = _reach(description, name)
    for method in made.methods:
        if method["type"] in ("oauth2", "client_credentials"):
            _add_scopes(method, made, operations, reading)
    if not made.methods:
        why = "names no way in" if not description.schemes else "names no way in that can be brought over"
        made.notes.append(f"auth: the description {why}; a bearer token is a guess.")
        made.methods.append({"name": "token", "type": "bearer", "title": "Access token"})
    return made


def auth_of(operation: Operation, ways: Ways) -> list[str] | None:
    """The methods that may serve an operation, or None where all may."""
    named = [name for alternative in operation.security for name in alternative if name in ways.names]
    methods = list(dict.fromkeys(method for name in named for method in ways.names[name]))
    return methods if methods and len(methods) < len(ways.methods) else None


def scopes_of(operation: Operation, ways: Ways) -> list[str]:
    """The scopes that an operation needs of its OAuth method.

    Of several that are enough: where one only lets us look, the widest such, so that a connection for reading is asked
    for few; else the narrowest.
    """
    choices = [
        (name, scopes)
        for alternative in operation.security
        for name, scopes in alternative.items()
        if name in ways.reach and ways.names.get(name)
    ]
    if not choices:
        return []
    if not operation.any_scope:
        # Slack writes `none` where no scope is needed.
        needed = [scope for scope in dict.fromkeys(choices[0][1]) if scope.lower() != "none"]
        return needed if len(needed) <= _MOST_TOGETHER else []
    reach = ways.reach[choices[0][0]]
    enough = [scope for _, scopes in choices for scope in scopes]
    if not enough:
        return []
    looking = [scope for scope in enough if _LOOKS.search(scope)]
    if looking:
        return [max(looking, key=lambda scope: (len(reach.get(scope, ())), -len(scope), scope))]
    return [min(enough, key=lambda scope: (len(reach.get(scope, ())), len(scope), scope))]


def _methods(scheme: SecurityScheme, base_url: str, made: Ways) -> list[dict[str, Json]]:
    name = _method_name(scheme.name)
    match scheme.type:
        case "bearer":
            return [{"name": name, "type": "bearer"}]
        case "basic":
            return [{"name": name, "type": "basic"}]
        case "api_key":
            return _api_key(scheme, name, made)
        case "oauth2":
            return _oauth(scheme, name, base_url, made)
        case _:
            made.notes.append(f"auth: {scheme.name} is of a kind that cannot be brought over.")
            return []


def _api_key(scheme: SecurityScheme, name: str, made: Ways) -> list[dict[str, Json]]:
    if scheme.location not in ("header", "query", "cookie") or not scheme.key_name:
        made.notes.append(f"auth: where {scheme.name} goes is not said.")
        return []
    if scheme.location == "header" and (not is_header_name(scheme.key_name) or is_transport_header(scheme.key_name)):
        made.notes.append(f"auth: {scheme.name} goes into a header that cannot be set.")
        return []
    method: dict[str, Json] = {"name": name, "type": "api_key", "in": scheme.location, "as": scheme.key_name}
    if scheme.key_name.lower() == "authorization":
        prefix = re.search(
            r"\b(Bearer|Bot|Token|Basic|ApiKey|Key)\b", f"{scheme.description} {scheme.name}", re.IGNORECASE
        )
        if prefix:
            method["prefix"] = f"{prefix[1].capitalize()} "
            made.notes.append(f"auth: that {scheme.name} begins with {prefix[1].capitalize()} is a guess.")
    return [method]


def _oauth(scheme: SecurityScheme, name: str, base_url: str, made: Ways) -> list[dict[str, Json]]:
    methods: list[dict[str, Json]] = []
    for flow in scheme.flows:
        kinds = {"authorization_code": "oauth2", "client_credentials": "client_credentials"}
        if flow.kind not in kinds:
            made.notes.append(f"auth: {scheme.name} has the flow {flow.kind}, which is not supported.")
            continue
        method: dict[str, Json] = {
            "name": name if not methods else f"{name[:60]}_cc",
            "type": kinds[flow.kind],
        }
        urls = _urls(flow, base_url)
        needed = ("authorization_url", "token_url") if flow.kind == "authorization_code" else ("token_url",)
        if any(key not in urls for key in needed):
            lacking = ", ".join(key for key in needed if key not in urls)
            made.notes.append(f"auth: {scheme.name} has no usable {lacking}.")
            continue
        methods.append({**method, **{key: url for key, url in urls.items() if key in needed or key == "refresh_url"}})
    return methods


def _urls(flow: OAuthFlow, base_url: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, url in (
        ("authorization_url", flow.authorization_url),
        ("token_url", flow.token_url),
        ("refresh_url", flow.refresh_url if flow.refresh_url != flow.token_url else ""),
    ):
        if url:
            try:
                whole = urljoin(f"{base_url}/", url)
                address(whole)
            except (Malformed, ValueError):
                continue
            if "{" not in whole:
                found[key] = whole
    if flow.kind == "client_credentials":
        found.pop("refresh_url", None)
    return found


def _add_scopes(method: dict[str, Json], ways: Ways, operations: Sequence[Operation], reading: Collection[str]) -> None:
    """What reading needs is asked for at first; a scope that is enough wherever another is includes it."""
    scheme = next(name for name, methods in ways.names.items() if method["name"] in methods)
    own = [one for one in operations if any(scheme in alternative for alternative in one.security)]
    needed = list(dict.fromkeys(scope for one in own for scope in scopes_of(one, ways)))
    if not needed:
        return
    served = Counter(scope for one in own if one.key in reading for scope in scopes_of(one, ways))
    first = [scope for scope, _ in served.most_common() if not _DOES_MORE.search(scope)] or list(served) or needed
    if len(first) > _MOST_SCOPES:
        left = len(first) - _MOST_SCOPES
        ways.notes.append(f"auth: {left} scopes of {method['name']} are asked for only when an action needs them.")
    scopes: dict[str, Json] = {"default": sorted(first[:_MOST_SCOPES])}
    reach = ways.reach.get(scheme, {})
    if any(one.any_scope for one in operations):
        implies = {wide: narrow for wide in reach if (narrow := [one for one in needed if _includes(reach, wide, one)])}
        if implies:
            ways.notes.append(f"auth: which scopes of {scheme} include others is taken from where each is enough.")
            scopes["implies"] = {wide: sorted(narrow) for wide, narrow in sorted(implies.items())}
    method["scopes"] = scopes


def _includes(reach: Mapping[str, frozenset[str]], wide: str, narrow: str) -> bool:
    """Whether one scope is enough wherever another is, and somewhere else; `events.owned` is less than `events`."""
    return narrow in reach and reach[narrow] < reach[wide] and not wide.startswith(f"{narrow}.")


def _reach(description: Description, scheme: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one in description.operations:
        for alternative in one.security:
            for scope in alternative.get(scheme, ()):
                found.setdefault(scope, set()).add(one.key)
    return {scope: frozenset(keys) for scope, keys in found.items()}


def _method_name(name: str) -> str:
    plain = "_".join(words_of(name))
    return plain[:60] if _NAME.fullmatch(plain[:60]) else "auth"
