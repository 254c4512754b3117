"""`GET /llms.txt`: what this gateway is, for models."""

from __future__ import annotations

import hashlib

from aiohttp import web

from gateway.web.answers import tagged_bytes
from gateway.web.auth import has_key, principal
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, operation
from skills_catalog.exporting.llms_text import llms_text


@operation(
    "get_llms_text",
    "Read about the gateway, as a model does",
    group="The gateway itself",
    about=(
        "Markdown as llmstxt.org has it. Everybody is told how to call; which integrations there are is told a key, of "
        "those that it may use."
    ),
    answers={
        200: Answer(about="The text.", headers=("ETag",), also=("text/plain",)),
        304: Answer(about="You have it already.", headers=("ETag",)),
    },
    takes_key=True,
)
async def llms(request: web.Request, asked: Asked) -> web.Response:
    ours = services(request)
    usable = ours.discovery.usable(await principal(request)) if has_key(request) else None
    body = llms_text(ours.public_url, usable).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return tagged_bytes(request, body, tag, content_type="text/plain; charset=utf-8")
