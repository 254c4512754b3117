"""`/auth/device/*`: device login as RFC 8628 has it, for clients that know it and for such as do not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.devices import USUAL_LEVEL, as_device
from gateway.core.strict_json import NotStrictJson, parse
from gateway.core.tenants.grants import LEVELS
from gateway.core.tenants.keys import Principal
from gateway.rest.shapes import BEGUN_DEVICE, DEVICE_KEY
from gateway.web.answers import json_answer, refusal_answer
from gateway.web.bodies import bad_field, read
from gateway.web.context import services
from gateway.web.forms import FORM, form_pairs
from gateway.web.operations import Answer, Asked, Field, Schema, choice, operation, text
from gateway.web.peers import peer
from gateway.web.shapes import one_of, shape

Handler = Callable[[web.Request], Awaitable[web.Response]]
_GROUP = "Signing up and in"
#: What a poll that brought no key says of the request, beside RFC 8628's codes.
_STATUSES: Mapping[str, str] = {
    "authorization_pending": "pending",
    "slow_down": "slow_down",
    "access_denied": "denied",
    "expired_token": "expired",
}
_LONGEST_CODE = 128


def _taken(properties: Mapping[str, Schema], *required: str) -> Mapping[str, Schema]:
    """A body as JSON or, as OAuth clients send it, as a form."""
    schema: Schema = {"type": "object", "properties": properties, **({"required": [*required]} if required else {})}
    return {"application/json": schema, FORM: schema}


def _in_rfc_terms(handler: Handler) -> Callable[[web.Request, Asked], Awaitable[web.Response]]:
    """Refusals also in the words of RFC 6749 §5.2, which OAuth clients read."""

    async def handle(request: web.Request, asked: Asked) -> web.Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            more = {"error_description": refusal.message}
            if refusal.code in _STATUSES:
                more["status"] = _STATUSES[refusal.code]
            return refusal_answer(refusal, more)

    return handle


@operation(
    "begin_device",
    "Ask for a device's codes",
    group=_GROUP,
    about="RFC 8628 §3.1. The device shows the user code and the address, then polls for its key.",
    takes=_taken({"device_name": {"type": "string", "description": "What the key will be called."}}),
    answers={
        200: Answer(
            about="The codes.",
            schema=BEGUN_DEVICE,
            example={
                "device_code": "Yz8…",
                "user_code": "WDJB-MJHT",
                "verification_uri": "http://127.0.0.1:8700/device",
                "verification_uri_complete": "http://127.0.0.1:8700/device?user_code=WDJB-MJHT",
                "expires_in": 900,
                "interval": 5,
            },
        )
    },
    refuses=("rate_limited",),
    example={"body": {"device_name": "build server"}},
)
@_in_rfc_terms
async def code(request: web.Request) -> web.Response:
    given = await _fields(request, ("device_name",))
    device = as_device(given.get("device_name")) or as_device(request.headers.get("User-Agent")) or "a device"
    return json_answer(await services(request).devices.begin(device=device, address=peer(request)))


@operation(
    "poll_device",
    "Poll for a device's key",
    group=_GROUP,
    about="RFC 8628 §3.4: `authorization_pending` until somebody decides, `slow_down` for who polls too fast.",
    takes=_taken({"device_code": {"type": "string", "minLength": 1, "maxLength": _LONGEST_CODE}}, "device_code"),
    answers={
        200: Answer(
            about="The key, once.",
            schema=DEVICE_KEY,
            example={
                "status": "complete",
                "user": {"email": "ada@example.com", "display_name": "Ada"},
                "api_keys_url": "http://127.0.0.1:8700/keys",
                "access_token": "sk_live_gw_…",
                "token_type": "Bearer",
                "scope": "read_write",
            },
        )
    },
    refuses=(
        *("authorization_pending", "slow_down", "access_denied", "expired_token", "already_used"),
        *("not_found", "forbidden", "plan_limit_reached"),
    ),
    example={"body": {"device_code": "Yz8…"}},
)
@_in_rfc_terms
async def token(request: web.Request) -> web.Response:
    device_code = (await _fields(request, ("device_code",))).get("device_code")
    if not device_code or len(device_code) > _LONGEST_CODE:
        raise bad_field("device_code", "required", "The field 'device_code' is missing, or is none that we gave.")
    return json_answer(await services(request).devices.poll(device_code))


@operation(
    "decide_device",
    "Let a device in, or not",
    group=_GROUP,
    about="For a signed-in member, or a key of full access. The device's key belongs to whoever approves.",
    body=[
        text("user_code", "As the device shows it; case and dashes do not matter.", most=64, required=True),
        choice("level", "How much its key may change.", LEVELS, default=USUAL_LEVEL),
        Field(name="deny", about="It is not to be let in.", schema={"type": "boolean", "default": False}),
    ],
    answers={
        200: Answer(
            about="What was decided.",
            schema=shape(status=one_of(["authorized", "denied"])),
            example={"status": "authorized"},
        )
    },
    refuses=("forbidden", "plan_limit_reached", "rate_limited"),
    example={"body": {"user_code": "WDJB-MJHT"}},
)
async def authorize(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    level = None if asked.body["deny"] else asked.body["level"]
    await services(request).devices.decide(who, asked.body["user_code"], level, address=peer(request))
    return json_answer({"status": "denied" if level is None else "authorized"})


async def _fields(request: web.Request, texts: tuple[str, ...]) -> dict[str, str]:
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
    for name in texts:
        if not isinstance(value.get(name, ""), str):
            raise bad_field(name, "type", f"The field {name!r} must be a string.")
    return {name: text for name, text in value.items() if isinstance(text, str)}
