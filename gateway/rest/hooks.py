"""`/v1/hooks`: URLs for upstreams; `/hooks/{token}`: what they send there, without a key."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.errors import Refusal
from gateway.core.hooks import MOST_BODY, HookWish
from gateway.core.keys import Principal
from gateway.web.answers import json_answer
from gateway.web.bodies import BODY_DEADLINE, bad_field, json_object, query, text_field
from gateway.web.context import LAST, services
from oauth.secret import Secret

_CREATE = {"integration": str, "connection": str, "secret": str}
_LONGEST_SECRET = 500
_LONGEST_TOKEN = 256


async def create(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, _CREATE)
    if "integration" not in body:
        raise bad_field("integration", "required", "The field 'integration' is missing.")
    wish = HookWish(
        integration=body["integration"],
        connection=text_field(body["connection"], "connection") if "connection" in body else None,
        secret=_secret(body["secret"]) if "secret" in body else None,
    )
    return json_answer(await services(request).hooks.create(who, wish), status=201)


async def list_hooks(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    return json_answer({"hooks": await services(request).hooks.list(who)})


async def set_secret(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, {"secret": str})
    if "secret" not in body:
        raise bad_field("secret", "required", "The field 'secret' is missing.")
    return json_answer(
        await services(request).hooks.set_secret(who, request.match_info["id"], _secret(body["secret"]))
    )


async def remove(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await services(request).hooks.remove(who, request.match_info["id"])
    return web.Response(status=204)


async def receive(request: web.Request) -> web.Response:
    """A message of an upstream: 200 only once it is on disk."""
    body = await _read(request)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    answer = await services(request).hooks.receive(_token(request), request.method, headers, body)
    return json_answer({"status": "received"}) if answer is None else _plain(answer)


async def challenge(request: web.Request) -> web.Response:
    """An upstream tries out the URL before it uses it."""
    return _plain(await services(request).hooks.challenge(_token(request), dict(request.rel_url.query)))


def public_routes() -> list[web.RouteDef]:
    """Those that take no key: the URL itself is one, and what comes there is signed."""
    return [
        web.post("/hooks/{token}", receive),
        web.get("/hooks/{token}", challenge, allow_head=False),
    ]


def _token(request: web.Request) -> str:
    return request.match_info["token"][:_LONGEST_TOKEN]


def _secret(text: str) -> Secret:
    return Secret(text_field(text, "secret", most=_LONGEST_SECRET))


async def _read(request: web.Request) -> bytes:
    """The body, before anything else is done: whoever sends too much learns nothing of the URL."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "Send the body uncompressed.")
    body = bytearray()
    try:
        if (request.content_length or 0) > MOST_BODY:
            raise _too_large(request)
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
