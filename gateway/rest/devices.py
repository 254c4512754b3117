"""`/auth/device/*`: device login as RFC 8628 has it, for clients that know it and for such as do not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from gateway.core.access import check_live
from gateway.core.devices import USUAL_LEVEL, as_device
from gateway.core.errors import Refusal
from gateway.core.keys import Principal
from gateway.core.strict_json import NotStrictJson, parse
from gateway.web.answers import json_answer, refusal_answer
from gateway.web.bodies import bad_field, json_object, query, read
from gateway.web.context import services
from gateway.web.forms import FORM, form_pairs
from gateway.web.peers import peer

Handler = Callable[[web.Request], Awaitable[web.Response]]
#: What a poll that brought no key says of the request, beside RFC 8628's codes.
_STATUSES: Mapping[str, str] = {
    "authorization_pending": "pending",
    "slow_down": "slow_down",
    "access_denied": "denied",
    "expired_token": "expired",
}


def _in_rfc_terms(handler: Handler) -> Handler:
    """Refusals also in the words of RFC 6749 §5.2, which OAuth clients read."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            more = {"error_description": refusal.message}
            if refusal.code in _STATUSES:
                more["status"] = _STATUSES[refusal.code]
            return refusal_answer(refusal, more)

    return handle


@_in_rfc_terms
async def code(request: web.Request) -> web.Response:
    given = await _fields(request)
    device = as_device(given.get("device_name")) or as_device(request.headers.get("User-Agent")) or "a device"
    return json_answer(await services(request).devices.begin(device=device, address=peer(request)))


@_in_rfc_terms
async def token(request: web.Request) -> web.Response:
    device_code = (await _fields(request)).get("device_code")
    if not device_code or len(device_code) > 128:
        raise bad_field("device_code", "required", "The field 'device_code' is missing, or is none that we gave.")
    return json_answer(await services(request).devices.poll(device_code))


async def authorize(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    check_live(who)
    body = await json_object(request, {"user_code": str, "deny": bool, "level": str})
    if "user_code" not in body:
        raise bad_field("user_code", "required", "The field 'user_code' is missing.")
    level = None if body.get("deny") else body.get("level", USUAL_LEVEL)
    await services(request).devices.decide(who, body["user_code"][:64], level, address=peer(request))
    return json_answer({"status": "denied" if level is None else "authorized"})


async def _fields(request: web.Request) -> dict[str, str]:
    """The texts of a JSON object, of a form, or of nothing; a client may send more than we know."""
    if request.content_type == FORM:
        return dict(await form_pairs(request))
    body = await read(request)
    if not body:
        return {}
    if request.content_type != "application/json":
        raise Refusal("unsupported_media_type", "Send JSON, or a form.")
    try:
        value: Any = parse(body)
    except NotStrictJson as error:
        raise Refusal("bad_request", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise bad_field("", "type", "The body must be a JSON object.")
    return {name: text for name, text in value.items() if isinstance(text, str)}

