"""`GET /v1/verify`: who am I."""

from __future__ import annotations

from aiohttp import web

from gateway.core.times import iso
from gateway.web.answers import json_answer
from gateway.web.auth import principal
from gateway.web.bodies import query


async def verify(request: web.Request) -> web.Response:
    who = await principal(request)
    query(request, ())
    key = who.key
    return json_answer(
        {
            "org": {"id": who.org, "name": who.org_name},
            "api_key": {
                "id": key.id,
                "name": key.name,
                "key_prefix": key.prefix,
                "mode": key.mode,
                "scopes": list(key.grant.scopes),
                "expires_at": iso(key.expires_at),
                "created_at": iso(key.created_at),
            },
        }
    )
