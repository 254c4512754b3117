"""`/v1/hooks`: URLs for upstreams; `/hooks/{token}`: what they send there, without a key."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.errors import Refusal
from gateway.core.messages.hooks import MOST_BODY, HookWish
from gateway.core.tenants.keys import Principal
from gateway.rest.shapes import HOOK, MADE_HOOK
from gateway.web.answers import json_answer
from gateway.web.bodies import BODY_DEADLINE, make_room
from gateway.web.context import LAST, services
from gateway.web.operations import SLUG, Answer, Asked, Field, operation, text
from gateway.web.shapes import TEXT, listed, shape
from oauth.secret import Secret

_GROUP = "Hooks"
_LONGEST_SECRET = 500
_LONGEST_TOKEN = 256
_HOOK_ID = Field(name="id", about="Id of the hook.", schema={"type": "string"}, required=True)
_TOKEN = Field(name="token", about="What stands in the hook's URL.", schema={"type": "string"}, required=True)
_ABOUT_SECRET = "What the upstream signs with, where it does."
_EXAMPLE = {
    "id": "hook_51ab",
    "integration": "github",
    "connection": None,
    "mode": "live",
    "events": ["issues"],
    "signed": True,
    "has_secret": True,
    "created_by": {"type": "api_key", "id": "key_90d2", "name": "backend"},
    "created_at": "2026-11-28T10:00:00Z",
}
_MADE = {
    **_EXAMPLE,
    "url": "http://127.0.0.1:8700/hooks/dR8pXq",
    "warning": "Save this URL now: it is not shown again.",
}


@operation(
    "create_hook",
    "Make a URL for an upstream",
    group=_GROUP,
    about="What the upstream sends there becomes an event of the org, `hook.<integration>.<event>`, once its signature is proven.",
    body=[
        Field(name="integration", about="Slug of an integration that tells of events.", schema=SLUG, required=True),
        text("connection", "Id of the connection that it is about; left out, the whole org."),
        text("secret", f"{_ABOUT_SECRET} It can be given later.", most=_LONGEST_SECRET),
    ],
    answers={
        201: Answer(
            about="The hook and, this once, its URL.",
            schema=MADE_HOOK,
            example=_MADE,
            links={"set_hook_secret": {"id": "/id"}, "remove_hook": {"id": "/id"}},
        )
    },
    refuses=["scope_not_allowed", "plan_limit_reached"],
    example={"body": {"integration": "github", "secret": "a long random word"}},
)
async def create(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    wish = HookWish(
        integration=asked.body["integration"],
        connection=asked.body.get("connection"),
        secret=Secret(asked.body["secret"]) if "secret" in asked.body else None,
    )
    return json_answer(await services(request).hooks.create(who, wish), status=201)


@operation(
    "list_hooks",
    "List the hooks",
    group=_GROUP,
    about="Those that the key reaches, the oldest first; never their URLs.",
    answers={200: Answer(about="The hooks.", schema=shape(hooks=listed(HOOK)), example={"hooks": [_EXAMPLE]})},
)
async def list_hooks(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return json_answer({"hooks": await services(request).hooks.list(who)})


@operation(
    "set_hook_secret",
    "Say what an upstream signs with",
    group=_GROUP,
    about="In place of what it was.",
    path=[_HOOK_ID],
    body=[text("secret", _ABOUT_SECRET, most=_LONGEST_SECRET, required=True)],
    answers={200: Answer(about="The hook as it is now.", schema=HOOK, example=_EXAMPLE)},
    refuses=["not_found", "scope_not_allowed"],
    example={"path": {"id": "hook_51ab"}, "body": {"secret": "a long random word"}},
)
async def set_secret(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    secret = Secret(asked.body["secret"])
    return json_answer(await services(request).hooks.set_secret(who, request.match_info["id"], secret))


@operation(
    "remove_hook",
    "Remove a hook",
    group=_GROUP,
    about="Nobody knows its URL any more.",
    path=[_HOOK_ID],
    answers={204: Answer(about="It is gone.")},
    refuses=["not_found", "scope_not_allowed"],
    example={"path": {"id": "hook_51ab"}},
)
async def remove(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    await services(request).hooks.remove(who, request.match_info["id"])
    return web.Response(status=204)


@operation(
    "receive_message",
    "Tell what happened at an upstream",
    group=_GROUP,
    about="For upstreams: signed as the definition of the integration describes it. A challenge is answered as it wants to be.",
    path=[_TOKEN],
    any_query=True,
    takes={
        "application/json": {},
        "application/x-www-form-urlencoded": {"type": "object"},
        "application/octet-stream": {"type": "string", "format": "binary"},
    },
    answers={
        200: Answer(
            about="It is on disk, or was before. A challenge gets what it asks for, as text or as JSON of its own.",
            schema=shape(status=TEXT),
            example={"status": "received"},
            also=("text/plain",),
        ),
        204: Answer(about="The same, for upstreams that expect no more."),
    },
    refuses=["unauthorized", "forbidden", "not_found"],
)
async def receive(request: web.Request, asked: Asked) -> web.Response:
    body = await _read(request)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    query = dict(request.rel_url.query)
    reply = await services(request).hooks.receive(_token(request), request.method, query, headers, body)
    if reply.json is not None:
        answer: web.Response = json_answer(reply.json, status=reply.status)
    else:
        answer = _plain(reply.text) if reply.text is not None else web.Response(status=reply.status)
    if reply.header is not None:
        answer.headers[reply.header[0]] = reply.header[1]
    return answer


@operation(
    "answer_challenge",
    "Try out the URL of a hook",
    group=_GROUP,
    about="For upstreams that do so before they use it, with query parameters of their own.",
    path=[_TOKEN],
    any_query=True,
    answers={200: Answer(about="The text that is expected.", also=("text/plain",))},
    refuses=["unauthorized", "not_found"],
)
async def challenge(request: web.Request, asked: Asked) -> web.Response:
    if request.method == "HEAD":
        await services(request).hooks.knock(_token(request))
        return web.Response()
    return _plain(await services(request).hooks.challenge(_token(request), dict(request.rel_url.query)))


def _token(request: web.Request) -> str:
    return request.match_info["token"][:_LONGEST_TOKEN]


async def _read(request: web.Request) -> bytes:
    """The body, before anything else is done: whoever sends too much learns nothing of the URL."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "Send the body uncompressed.")
    body = bytearray()
    try:
        if (request.content_length or 0) > MOST_BODY:
            raise _too_large(request)
        if not request.content.is_eof():
            make_room(request, MOST_BODY)
        async with asyncio.timeout(BODY_DEADLINE):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MOST_BODY:
                    raise _too_large(request)
    except TimeoutError:
        request[LAST] = True
        raise Refusal("bad_request", f"The body did not arrive within {BODY_DEADLINE:g} s.") from None
    except (ConnectionError, RequestPayloadError):
        request[LAST] = True
        raise Refusal("bad_request", "The body broke off, or its chunks are malformed.") from None
    return bytes(body)


def _too_large(request: web.Request) -> Refusal:
    request[LAST] = True
    return Refusal("payload_too_large", f"The body is larger than {MOST_BODY} bytes.")


def _plain(text: str) -> web.Response:
    """A text of somebody else's that no browser takes for a page."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "no-store",
    }
    return web.Response(text=text, content_type="text/plain", headers=headers)
