"""Runs: listed, looked up and waited for, cancelled, done again; and the answers that were cut, piece by piece."""

from __future__ import annotations

from aiohttp import web

from gateway.core.keys import Principal
from gateway.rest.calls import accepted
from gateway.web.answers import json_answer, json_bytes
from gateway.web.bodies import json_object, query, text_field, whole_number
from gateway.web.context import services

PAGE, MOST = 50, 200
_LONGEST = 2000
_MOST_OFFSET = 999_999_999


async def list_runs(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("limit", "cursor"))
    limit = whole_number(asked, "limit", default=PAGE, low=1, high=MOST) or PAGE
    return json_answer(await services(request).runs.list(who, limit=limit, cursor=asked.get("cursor")))


async def show(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("wait",))
    most = int(services(request).settings.sync_ceiling)
    wait = whole_number(asked, "wait", default=0, low=0, high=most) or 0
    book = services(request).runs
    run = await book.find(who, request.match_info["id"], wait=wait)
    return json_bytes(await book.shown(run))


async def cancel(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await json_object(request, {})
    book = services(request).runs
    return json_bytes(await book.shown(await book.cancel(who, request.match_info["id"])))


async def retry(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, {"even_if_unknown": bool})
    is_sure = body.get("even_if_unknown", False)
    return accepted(request, await services(request).gateway.again(who, request.match_info["id"], is_sure=is_sure))


async def result(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("path", "offset", "limit", "grep"))
    limit = whole_number(asked, "limit", default=PAGE, low=1, high=100_000) or PAGE
    offset = whole_number(asked, "offset", default=0, low=0, high=_MOST_OFFSET) or 0
    grep = text_field(asked["grep"], "grep", most=_LONGEST) if asked.get("grep") else None
    run = await services(request).runs.find(who, request.match_info["id"])
    piece = await services(request).results.read(
        run, path=asked.get("path", ""), offset=offset, limit=limit, grep=grep
    )
    return json_bytes(piece)
