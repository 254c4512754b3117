"""The three levels of discovery, search and download."""

from __future__ import annotations

import base64
import binascii

from aiohttp import web

from gateway.core.access import user_of
from gateway.core.keys import Principal
from gateway.web.answers import tagged
from gateway.web.bodies import bad_field, query, text_field, whole_number
from gateway.web.context import services

MOST_LISTED = 200


async def integrations(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("user", "limit", "cursor"))
    limit = whole_number(asked, "limit", default=None, low=1, high=MOST_LISTED)
    listed = await services(request).discovery.integrations(who, _user(who, asked))
    if "cursor" in asked:
        after = _after(asked["cursor"])
        listed = [item for item in listed if item["slug"] > after]
    answer: dict[str, object] = {"integrations": listed[:limit]}
    if limit is not None and len(listed) > limit:
        answer["next_cursor"] = base64.urlsafe_b64encode(listed[limit - 1]["slug"].encode()).decode().rstrip("=")
    return tagged(request, answer)


async def integration(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("user",))
    slug = request.match_info["integration"]
    return tagged(request, await services(request).discovery.integration(who, slug, _user(who, asked)))


async def action(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    slug, name = request.match_info["integration"], request.match_info["action"]
    return tagged(request, services(request).discovery.action(who, slug, name))


async def search(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("q", "user", "limit"))
    text = text_field(asked.get("q", "").strip(), "q", most=400)
    limit = whole_number(asked, "limit", default=20, low=1, high=MOST_LISTED) or 20
    return tagged(request, {"skills": await services(request).discovery.search(who, text, _user(who, asked), limit)})


async def download(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    return tagged(request, services(request).discovery.download(who, request.match_info["integration"]))


def _user(who: Principal, asked: dict[str, str]) -> str:
    return user_of(who, text_field(asked["user"], "user") if "user" in asked else None)


def _after(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_field("cursor", "format", "The query parameter 'cursor' is not one that we gave.") from None
