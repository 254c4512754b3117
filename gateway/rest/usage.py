"""`GET /v1/usage` and `GET /v1/ledger`: what was used, what is left, and every movement of credits."""

from __future__ import annotations

from aiohttp import web

from gateway.core.keys import Principal
from gateway.web.answers import json_answer
from gateway.web.bodies import query, whole_number
from gateway.web.context import services

PAGE = 50
MOST = 200


async def usage(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    return json_answer(await services(request).usage.of(who))


async def ledger(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("limit", "cursor"))
    limit = whole_number(asked, "limit", default=PAGE, low=1, high=MOST) or PAGE
    return json_answer(await services(request).usage.ledger(who, limit=limit, cursor=asked.get("cursor")))
