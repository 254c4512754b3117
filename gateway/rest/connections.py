"""Connect, poll, confirm; connections as resources; the org's return URLs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.access import check_scope, user_of
from gateway.core.errors import Refusal
from gateway.core.keys import Principal
from gateway.core.wishes import Wish
from gateway.web.answers import json_answer, tagged
from gateway.web.bodies import bad_field, json_object, query, strings, text_field, whole_number
from gateway.web.context import services

_CONNECT = {
    "integration": str,
    "user": str,
    "auth": str,
    "scopes": list,
    "label": str,
    "credentials": dict,
    "connection": str,
    "redirect_url": str,
}
_MOST_SCOPES = 200
_MOST_URLS = 20


async def connect(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, _CONNECT)
    if "integration" not in body:
        raise bad_field("integration", "required", "The field 'integration' is missing.")
    slug = body["integration"]
    check_scope(who, slug)
    user = text_field(body["user"], "user") if "user" in body else None
    if "connection" in body:
        _check_seen(
            who, await services(request).connecting.connection(who.org, body["connection"]), body["connection"]
        )
        user = user if user is None else user_of(who, user)
    elif who.grant.connections is not None:
        raise Refusal("forbidden", "This key is for certain connections, and makes no new one.")
    else:
        user = user_of(who, user)
    return json_answer(
        await services(request).connecting.begin(
            Wish(
                org=who.org,
                by=who.actor,
                integration=slug,
                user=user,
                method=body.get("auth"),
                scopes=strings(body["scopes"], "scopes", _MOST_SCOPES) if "scopes" in body else None,
                label=text_field(body["label"], "label") if "label" in body else None,
                credentials=body.get("credentials", {}),
                connection=body.get("connection"),
                redirect_url=body.get("redirect_url"),
            )
        )
    )


async def poll(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("wait",))
    most = int(services(request).settings.sync_ceiling)
    wait = whole_number(asked, "wait", default=0, low=0, high=most) or 0
    connecting, connection = services(request).connecting, request.match_info["id"]
    _check_seen(who, await connecting.status(who.org, connection), connection)
    return json_answer(await connecting.status(who.org, connection, wait=wait))


async def confirm(request: web.Request, who: Principal) -> web.Response:
    body = await json_object(request, {"user": str, "handle": str})
    for name in ("user", "handle"):
        if name not in body:
            raise bad_field(name, "required", f"The field {name!r} is missing.")
    connecting, connection = services(request).connecting, request.match_info["id"]
    _check_seen(who, await connecting.status(who.org, connection), connection)
    return json_answer(await connecting.confirm(who.org, connection, user=body["user"], handle=body["handle"]))


async def list_connections(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("user", "integration"))
    found = await services(request).connecting.connections(who.org, asked.get("user"), asked.get("integration"))
    return tagged(request, {"connections": [shown for shown in found if _may_see(who, shown, shown["id"])]})


async def show(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    connection = request.match_info["id"]
    shown = await services(request).connecting.connection(who.org, connection)
    _check_seen(who, shown, connection)
    return tagged(request, shown)


async def disconnect(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    connecting, connection = services(request).connecting, request.match_info["id"]
    _check_seen(who, await connecting.connection(who.org, connection), connection)
    await connecting.disconnect(who.org, connection, by=who.actor)
    return web.Response(status=204)


async def return_urls(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    return json_answer({"redirect_urls": await services(request).connecting.redirect_urls(who.org)})


async def set_return_urls(request: web.Request, who: Principal) -> web.Response:
    body = await json_object(request, {"redirect_urls": list})
    if "redirect_urls" not in body:
        raise bad_field("redirect_urls", "required", "The field 'redirect_urls' is missing.")
    urls = strings(body["redirect_urls"], "redirect_urls", _MOST_URLS)
    kept = await services(request).connecting.set_redirect_urls(who.org, urls, by=who.actor)
    return json_answer({"redirect_urls": kept})


def _may_see(who: Principal, shown: dict[str, Any], connection_id: str) -> bool:
    """A test key has no connections; any other those of its scopes, its users, its connections."""
    grant = who.grant
    return (
        who.mode == "live"
        and grant.allows_integration(shown["integration"])
        and grant.allows_user(shown["user"])
        and grant.allows_connection(connection_id)
    )


def _check_seen(who: Principal, shown: dict[str, Any], connection_id: str) -> None:
    if who.mode == "test":
        raise Refusal("not_found", "Connection not found.")
    check_scope(who, shown["integration"])
    if not _may_see(who, shown, connection_id):
        raise Refusal("forbidden", "This key is not for this connection.")
