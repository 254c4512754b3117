"""`/v1/webhooks`: who is told what happened, what became of it, and the secret that signs callbacks."""

from __future__ import annotations

from aiohttp import web

from gateway.core.keys import Principal
from gateway.core.webhooks import WebhookWish
from gateway.web.answers import json_answer
from gateway.web.bodies import bad_field, json_object, query, strings, text_field, whole_number
from gateway.web.context import services

PAGE = 50
MOST = 200
_CREATE = {"url": str, "events": list, "description": str}
_MOST_PATTERNS = 100
_LONGEST_URL = 2048
_LONGEST_DESCRIPTION = 500
_WARNING = "Save this secret now: it is not shown again."


async def create(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, _CREATE)
    for name in ("url", "events"):
        if name not in body:
            raise bad_field(name, "required", f"The field {name!r} is missing.")
    wish = WebhookWish(
        url=text_field(body["url"], "url", most=_LONGEST_URL),
        events=strings(body["events"], "events", _MOST_PATTERNS, least=1),
        description=text_field(body["description"], "description", most=_LONGEST_DESCRIPTION)
        if "description" in body
        else None,
    )
    made, secret = await services(request).webhooks.create(who, wish)
    return json_answer({**made, "secret": secret.reveal(), "warning": _WARNING}, status=201)


async def list_webhooks(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    return json_answer({"webhooks": await services(request).webhooks.list(who)})


async def remove(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await services(request).webhooks.remove(who, request.match_info["id"])
    return web.Response(status=204)


async def rotate(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await json_object(request, {})
    shown, secret = await services(request).webhooks.rotate(who, request.match_info["id"])
    return json_answer({**shown, "secret": secret.reveal(), "warning": _WARNING})


async def enable(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await json_object(request, {})
    return json_answer(await services(request).webhooks.enable(who, request.match_info["id"]))


async def list_deliveries(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("limit", "cursor"))
    limit = whole_number(asked, "limit", default=PAGE, low=1, high=MOST) or PAGE
    webhooks, webhook_id = services(request).webhooks, request.match_info["id"]
    return json_answer(await webhooks.deliveries(who, webhook_id, limit=limit, cursor=asked.get("cursor")))


async def replay(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await json_object(request, {})
    webhooks, info = services(request).webhooks, request.match_info
    return json_answer(await webhooks.replay(who, info["id"], info["delivery"]), status=202)


async def rotate_signing_secret(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await json_object(request, {})
    secret = await services(request).webhooks.rotate_signing_secret(who)
    return json_answer({"secret": secret.reveal(), "warning": _WARNING}, status=201)
