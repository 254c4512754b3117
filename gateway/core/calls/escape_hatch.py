"""The escape hatch: a request that the caller made up becomes a skill made for the occasion, and goes the way of a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from gateway.core.errors import Refusal, bad_param
from gateway.core.requests.bodies import FORM, is_json
from gateway.core.tenants.keys import Principal
from skills_catalog.escape_hatch import HEADERS, IDEMPOTENT, matching, nearest_to
from skills_catalog.model import Effect, Integration, Param, RequestTemplate, Skill, Text
from skills_catalog.templates import PATH_TEXT

_EFFECTS: Mapping[str, Effect] = {"GET": "read", "HEAD": "read", "POST": "create", "DELETE": "delete"}
_BODILESS = ("GET", "HEAD")
_HEADERS = frozenset(name.lower() for name in HEADERS)
#: A server in front of the API may take a backslash for a slash, a control character for the end of a line, and what is
#: no UTF-8 (here U+FFFD) for a dot or a slash.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ufffd]")
#: How often somebody on the way might decode a path.
_DECODED = 3


def made_for(integration: Integration, hatch: Skill, params: Mapping[str, Any], same: Skill | None) -> Skill:
    """The skill of this one request; `params` have passed the hatch's schema.

    Where an action makes the `same` request, what the definition knows of it holds here too: its cost, its time, what its
    refusals mean. Raises `Refusal` (`bad_request`, `details.fields`) for what may not stand in a request.
    """
    method, path = params["method"], params["path"]
    _check_path(path)
    _check_headers(params.get("headers", {}))
    _check_query(integration, params.get("query", {}))
    segments = tuple((Text(segment),) if segment else () for segment in path[1:].split("/"))
    made = replace(
        hatch,
        effect=_EFFECTS.get(method, "update"),
        idempotent=method in IDEMPOTENT,
        auth=_serving(integration, method),
        request=RequestTemplate(method=method, path=path, segments=segments),
        **_body(method, hatch.params, params),
    )
    if same is None:
        return made
    return replace(
        made,
        auth=same.auth,
        hook=same.hook,
        redirect=same.redirect,
        timeout=same.timeout,
        cost=same.cost,
        errors=same.errors,
        error_when=same.error_when,
        resource=same.resource,
        # A key goes into a header; no param is ours to fill.
        idempotency=same.idempotency if same.idempotency and "header" in same.idempotency else None,
    )


def hint_of(principal: Principal, integration: Integration, made: Skill) -> str | None:
    """Which action the caller could have used instead; None where none that it may use is near."""
    may_use = [
        skill
        for skill in integration.skills.values()
        if principal.grant.allows_action(skill) and principal.plan.holds(skill.id)
    ]
    same = matching(integration.skills.values(), made.request.method, made.request.path)
    if same is not None and any(skill is same for skill in may_use):
        return f"The action {same.id} makes this request, and checks its params: POST /v1/{same.integration}/{same.name}."
    near = nearest_to(may_use, made.request.method, made.request.path)
    return None if near is None else f"The nearest action is {near.id}, {near.request.method} {near.request.path}."


def no_example(principal: Principal, integration: Integration, made: Skill) -> Refusal:
    """What a test key is told: nobody knows what would be answered."""
    return Refusal(
        "forbidden",
        f"A test key is answered from examples, and {made.id} has none. Use a live key, or an action.",
        hint=hint_of(principal, integration, made),
    )


def _serving(integration: Integration, method: str) -> tuple[str, ...]:
    """The auth methods whose credential finds a place in such a request."""
    if method not in _BODILESS:
        return tuple(one.name for one in integration.auth)
    found = tuple(
        one.name for one in integration.auth if one.placement is None or one.placement.location != "body"
    )
    if not found:
        message = f"The credential of {integration.slug} stands in the body, which a {method} does not have."
        raise bad_param("method", "enum", message)
    return found


def _check_path(path: str) -> None:
    if not path.startswith("/") or path.startswith("//"):
        raise _bad_path("begins with one `/`, after which it goes on from the base URL: no scheme, no host")
    if "?" in path or "#" in path:
        raise _bad_path("holds no `?` and no `#`: names and values of the query go into the param 'query'")
    *segments, last = path[1:].split("/")
    if "" in segments:
        raise _bad_path("may not hold an empty segment (`//`)")
    if not all(PATH_TEXT.fullmatch(segment) for segment in (*segments, *([last] if last else []))):
        raise _bad_path("holds a character that has to be percent-encoded")
    decoded = path
    for _ in range(_DECODED + 1):
        if _UNSAFE.search(decoded):
            raise _bad_path("may not hold control characters, backslashes or what is no UTF-8, encoded neither")
        if any(part.split(";", 1)[0].strip() in (".", "..") for part in decoded.split("/")):
            raise _bad_path("may not hold the segments `.` or `..`, encoded ones neither")
        decoded = unquote(decoded)


def _bad_path(what: str) -> Refusal:
    return bad_param("path", "pattern", f"The param 'path' {what}.")


def _check_headers(headers: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name in headers:
        if name.lower() not in _HEADERS:
            message = f"The header {name[:64]!r} may not be set here; these may: {', '.join(HEADERS)}."
            raise bad_param("headers", "propertyNames", message)
        if name.lower() in seen:
            raise bad_param("headers", "propertyNames", f"The header {name!r} is given twice.")
        seen.add(name.lower())


def _check_query(integration: Integration, query: Mapping[str, Any]) -> None:
    """The credential is the connection's, by whichever of the integration's methods it came."""
    taken = {name.lower() for method in integration.auth for name in method.query}
    for method in integration.auth:
        if method.placement is not None and method.placement.location == "query":
            taken.add(method.placement.name.lower())
    for name in query:
        if name.lower() in taken:
            message = f"The param 'query' may not hold {name[:64]!r}: credentials come from the connection."
            raise bad_param("query", "propertyNames", message)


def _body(method: str, places: Mapping[str, Param], params: Mapping[str, Any]) -> dict[str, Any]:
    """How the body is spelled, as members of the skill: what its type and the value's own say."""
    if "body" not in params:
        return {"params": {name: param for name, param in places.items() if name != "body"}}
    if method in _BODILESS:
        raise bad_param("body", "dependentRequired", f"A {method} has no body; its values go into the param 'query'.")
    given = params.get("headers", {})
    said = next((text for name, text in given.items() if name.lower() == "content-type"), None)
    media_type = (said or "").partition(";")[0].strip().lower()
    value, place = params["body"], places["body"]
    if media_type == FORM and isinstance(value, dict):
        return {"params": {**places, "body": replace(place, location="form", whole=False, spread=True)}, "body": "form"}
    if said is None or is_json(said):
        if isinstance(value, dict):
            # Its members, so that a credential which stands among them finds its place.
            place = replace(place, whole=False, spread=True)
        return {"params": {**places, "body": place}}
    if not isinstance(value, str):
        raise bad_param("body", "type", f"A body of the type {media_type[:64]!r} is given as text.")
    return {"params": {**places, "body": replace(place, content_type=said)}}
