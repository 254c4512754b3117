"""Connect, poll, confirm; connections as resources; the org's return URLs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.access import check_live, check_scope
from gateway.core.errors import Refusal
from gateway.core.keys import Principal
from gateway.core.wishes import Wish
from gateway.web.answers import json_answer, tagged
from gateway.web.auth import principal
from gateway.web.bodies import bad_field, json_object, query, text_field, whole_number
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


async def connect(request: web.Request) -> web.Response:
    who = await principal(request)
    check_live(who)
    query(request, ())
    body = await json_object(request, _CONNECT)
    if "integration" not in body:
        raise bad_field("integration", "required", "The field 'integration' is missing.")
    slug = body["integration"]
    check_scope(who, slug)
    return json_answer(
        await services(request).connecting.begin(
            Wish(
                org=who.org,
                integration=slug,
                user=text_field(body["user"], "user") if "user" in body else None,
                method=body.get("auth"),
                scopes=_strings(body["scopes"], "scopes", _MOST_SCOPES) if "scopes" in body else None,
                label=text_field(body["label"], "label") if "label" in body else None,
                credentials=body.get("credentials", {}),
                connection=body.get("connection"),
                redirect_url=body.get("redirect_url"),
            )
        )
    )


async def poll(request: web.Request) -> web.Response:
    who = await principal(request)
    asked = query(request, ("wait",))
    most = int(services(request).settings.sync_ceiling)
    wait = whole_number(asked, "wait", default=0, low=0, high=most) or 0
    shown = await services(request).connecting.status(who.org, request.match_info["id"], wait=wait)
    _check_seen(who, shown)
    return json_answer(shown)


async def confirm(request: web.Request) -> web.Response:
    who = await principal(request)
    check_live(who)
    body = await json_object(request, {"user": str, "handle": str})
    for name in ("user", "handle"):
        if name not in body:
            raise bad_field(name, "required", f"The field {name!r} is missing.")
    connecting, connection = services(request).connecting, request.match_info["id"]
    check_scope(who, (await connecting.status(who.org, connection))["integration"])
    return json_answer(await connecting.confirm(who.org, connection, user=body["user"], handle=body["handle"]))


async def list_connections(request: web.Request) -> web.Response:
    who = await principal(request)
    asked = query(request, ("user", "integration"))
    found = await services(request).connecting.connections(who.org, asked.get("user"), asked.get("integration"))
    may = [shown for shown in found if who.mode == "live" and who.grant.allows_integration(shown["integration"])]
    return tagged(request, {"connections": may})


async def show(request: web.Request) -> web.Response:
    who = await principal(request)
    query(request, ())
    shown = await services(request).connecting.connection(who.org, request.match_info["id"])
    _check_seen(who, shown)
    return tagged(request, shown)


async def disconnect(request: web.Request) -> web.Response:
    who = await principal(request)
    check_live(who)
    query(request, ())
    connecting, connection = services(request).connecting, request.match_info["id"]
    check_scope(who, (await connecting.connection(who.org, connection))["integration"])
    await connecting.disconnect(who.org, connection)
    return web.Response(status=204)


async def return_urls(request: web.Request) -> web.Response:
    who = await principal(request)
    query(request, ())
    return json_answer({"redirect_urls": await services(request).connecting.redirect_urls(who.org)})


async def set_return_urls(request: web.Request) -> web.Response:
    who = await principal(request)
    check_live(who)
    body = await json_object(request, {"redirect_urls": list})
    if "redirect_urls" not in body:
        raise bad_field("redirect_urls", "required", "The field 'redirect_urls' is missing.")
    urls = _strings(body["redirect_urls"], "redirect_urls", _MOST_URLS)
    return json_answer({"redirect_urls": await services(request).connecting.set_redirect_urls(who.org, urls)})


def _check_seen(who: Principal, shown: dict[str, Any]) -> None:
    """A test key has no connections, and any other those of its scopes."""
    if who.mode == "test":
        raise Refusal("not_found", "Connection not found.")
    check_scope(who, shown["integration"])


def _strings(values: list[Any], name: str, most: int) -> tuple[str, ...]:
    if len(values) > most or not all(isinstance(value, str) for value in values):
        raise bad_field(name, "items", f"The field {name!r} must be at most {most} strings.")
    return tuple(values)
