"""`GET /v1/verify`: who am I; `/api-keys`: the keys of an org."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.api_keys import KeyWish, shown
from gateway.core.errors import Refusal
from gateway.core.keys import Principal
from gateway.web.answers import json_answer
from gateway.web.bodies import bad_field, json_object, query, strings, text_field
from gateway.web.context import services

_CREATE = {
    "name": str,
    "mode": str,
    "scopes": list,
    "level": str,
    "allow": list,
    "deny": list,
    "users": list,
    "connections": list,
    "expires_in_days": int,
}
_LISTS = ("scopes", "allow", "deny", "users", "connections")
_MOST_LISTED = 200
_LONGEST_DAYS = 3650


async def verify(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    answer: dict[str, Any] = {"org": {"id": who.org, "name": who.org_name, "plan": who.plan.name}}
    if who.key is not None:
        answer["api_key"] = shown(who.key, services(request).clock())
    elif who.member is not None:
        answer["member"] = {"id": who.member.id, "email": who.member.email, "name": who.member.name}
    return json_answer(answer)


async def list_keys(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    return json_answer(await services(request).api_keys.list(who))


async def create(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, _CREATE)
    if "name" not in body:
        raise bad_field("name", "required", "The field 'name' is missing.")
    if body.get("mode", "live") not in ("live", "test"):
        raise bad_field("mode", "enum", "The field 'mode' must be live or test.")
    days = body.get("expires_in_days")
    if days is not None and not 0 < days <= _LONGEST_DAYS:
        raise bad_field("expires_in_days", "range", f"The field 'expires_in_days' must be 1 to {_LONGEST_DAYS}.")
    lists = {name: strings(body[name], name, _MOST_LISTED, least=name != "deny") for name in _LISTS if name in body}
    for position, user in enumerate(lists.get("users", ())):
        text_field(user, f"users/{position}")
    wish = KeyWish(
        name=text_field(body["name"], "name"),
        mode=body.get("mode"),
        level=body.get("level"),
        expires_in_days=days,
        **lists,
    )
    made, text = await services(request).api_keys.create(who, wish)
    warning = "Save this key now: it is not shown again."
    return json_answer({"api_key": made, "full_key": text.reveal(), "warning": warning}, status=201)


async def revoke(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    key_id = request.match_info["id"]
    if not key_id.isprintable():
        raise Refusal("not_found", "API key not found.")
    await services(request).api_keys.revoke(who, key_id)
    return web.Response(status=204)
