"""`GET /openapi.json`: what this API is, for programs."""

from __future__ import annotations

from aiohttp import web

from gateway.web.answers import tagged_bytes
from gateway.web.auth import has_key, principal
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, operation
from gateway.web.shapes import TEXT, shape


@operation(
    "get_description",
    "Read this description",
    group="The gateway itself",
    about="OpenAPI 3.1. With a key it also has an operation for every action that the key may use.",
    answers={
        200: Answer(
            about="The description.",
            schema=shape(openapi=TEXT, info={"type": "object"}, paths={"type": "object"}),
            headers=("ETag",),
        ),
        304: Answer(about="You have it already.", headers=("ETag",)),
    },
    takes_key=True,
)
async def description(request: web.Request, asked: Asked) -> web.Response:
    who = await principal(request) if has_key(request) else None
    page = await services(request).description.page(who)
    return tagged_bytes(request, page.body, page.tag)
