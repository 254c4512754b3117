"""`/v1/webhooks`: who is told what happened, what became of it, and the secret that signs callbacks."""

from __future__ import annotations

from aiohttp import web

from gateway.core.messages.webhooks import WebhookWish
from gateway.core.tenants.keys import Principal
from gateway.rest.fields import CURSOR, LIMIT, LONGEST_URL
from gateway.rest.shapes import DELIVERY, MADE_WEBHOOK, NEW_SECRET, WEBHOOK
from gateway.web.answers import json_answer
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, Field, operation, strings, text
from gateway.web.shapes import TEXT, listed, shape

_GROUP = "Webhooks"
_MOST_PATTERNS = 100
_LONGEST_PATTERN = 1024
_LONGEST_DESCRIPTION = 500
_WARNING = "Save this secret now: it is not shown again."
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_WEBHOOK_ID = Field(name="id", about="Id of the webhook.", schema={"type": "string"}, required=True)
_DELIVERY_ID = Field(name="delivery", about="Id of the delivery.", schema={"type": "string"}, required=True)
_AT = {"id": "whk_7c1f"}
_CREATE = [
    Field(
        name="url",
        about="Where deliveries go: https on port 443, or what the operator allows.",
        schema={"type": "string", "minLength": 1, "maxLength": LONGEST_URL, "format": "webhook-url"},
        required=True,
        must=f"must be a URL of 1 to {LONGEST_URL} characters",
    ),
    strings(
        "events",
        "What is told: types such as `connection.needs_reauth`, all of a kind as `run.*`, or `*`.",
        least=1,
        most=_MOST_PATTERNS,
        each={"type": "string", "maxLength": _LONGEST_PATTERN, "format": "event-pattern"},
        required=True,
    ),
    text("description", "What it is for; shown in lists.", most=_LONGEST_DESCRIPTION),
]
_EXAMPLE = {
    "id": "whk_7c1f",
    "url": "https://app.example.com/skillway",
    "events": ["run.*", "connection.needs_reauth"],
    "description": "tells the app",
    "mode": "live",
    "active": True,
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "created_by": {"type": "api_key", "id": "key_90d2", "name": "backend"},
    "created_at": "2026-11-28T10:00:00Z",
}
_MADE = {**_EXAMPLE, "secret": _SECRET, "warning": _WARNING}
_DELIVERY = {
    "id": "dlv_0193",
    "event": {"id": "evt_019", "type": "run.completed"},
    "state": "failed",
    "attempts": 1,
    "last_status": 503,
    "last_error": "server_error",
    "last_answer": "try again later",
    "created_at": "2026-11-28T10:00:00Z",
    "last_attempt_at": "2026-11-28T10:00:00Z",
    "next_attempt_at": "2026-11-28T10:00:05Z",
    "finished_at": None,
}


@operation(
    "create_webhook",
    "Subscribe a URL to events",
    group=_GROUP,
    about="It hears what the key that makes it may see, for as long as that key lives. Deliveries are signed, and tried again.",
    body=_CREATE,
    answers={
        201: Answer(
            about="The webhook and, this once, what signs its deliveries.",
            schema=MADE_WEBHOOK,
            example=_MADE,
            links={
                "list_deliveries": {"id": "/id"},
                "rotate_webhook_secret": {"id": "/id"},
                "enable_webhook": {"id": "/id"},
                "remove_webhook": {"id": "/id"},
            },
        )
    },
    refuses=["plan_limit_reached"],
    example={"body": {"url": _EXAMPLE["url"], "events": _EXAMPLE["events"], "description": "tells the app"}},
)
async def create(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    wish = WebhookWish(url=asked.body["url"], events=asked.body["events"], description=asked.body.get("description"))
    made, secret = await services(request).webhooks.create(who, wish)
    return json_answer({**made, "secret": secret.reveal(), "warning": _WARNING}, status=201)


@operation(
    "list_webhooks",
    "List the webhooks",
    group=_GROUP,
    about="The oldest first. A key that was made by a key sees those that it and its own keys made.",
    answers={
        200: Answer(about="The webhooks.", schema=shape(webhooks=listed(WEBHOOK)), example={"webhooks": [_EXAMPLE]})
    },
)
async def list_webhooks(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return json_answer({"webhooks": await services(request).webhooks.list(who)})


@operation(
    "remove_webhook",
    "Remove a webhook",
    group=_GROUP,
    about="With its deliveries; what waits is not sent.",
    path=[_WEBHOOK_ID],
    answers={204: Answer(about="It is gone.")},
    refuses=["not_found"],
    example={"path": _AT},
)
async def remove(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    await services(request).webhooks.remove(who, request.match_info["id"])
    return web.Response(status=204)


@operation(
    "rotate_webhook_secret",
    "Give a webhook a new secret",
    group=_GROUP,
    about="For 24 hours the old one signs beside it.",
    path=[_WEBHOOK_ID],
    body=[],
    answers={200: Answer(about="The webhook and, this once, its new secret.", schema=MADE_WEBHOOK, example=_MADE)},
    refuses=["not_found", "conflict"],
    example={"path": _AT},
)
async def rotate(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    shown, secret = await services(request).webhooks.rotate(who, request.match_info["id"])
    return json_answer({**shown, "secret": secret.reveal(), "warning": _WARNING})


@operation(
    "enable_webhook",
    "Wake a webhook",
    group=_GROUP,
    about="One that was disabled hears again, from now on what this key may see. What was given up has to be replayed.",
    path=[_WEBHOOK_ID],
    body=[],
    answers={200: Answer(about="The webhook as it is now.", schema=WEBHOOK, example=_EXAMPLE)},
    refuses=["not_found"],
    example={"path": _AT},
)
async def enable(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return json_answer(await services(request).webhooks.enable(who, request.match_info["id"]))


@operation(
    "list_deliveries",
    "List what was sent to a webhook",
    group=_GROUP,
    about="And what will be, the newest first.",
    path=[_WEBHOOK_ID],
    query=[LIMIT, CURSOR],
    answers={
        200: Answer(
            about="A page of deliveries.",
            schema=shape(deliveries=listed(DELIVERY), optional={"next_cursor": TEXT}),
            example={"deliveries": [_DELIVERY]},
        )
    },
    refuses=["not_found"],
    example={"path": _AT},
)
async def list_deliveries(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    webhooks, limit, cursor = services(request).webhooks, asked.query["limit"], asked.query.get("cursor")
    return json_answer(await webhooks.deliveries(who, request.match_info["id"], limit=limit, cursor=cursor))


@operation(
    "replay_delivery",
    "Send a delivery again",
    group=_GROUP,
    about="At once, under the same event id, and by the whole schedule if it fails.",
    path=[_WEBHOOK_ID, _DELIVERY_ID],
    body=[],
    answers={
        202: Answer(
            about="It is due.",
            schema=DELIVERY,
            example={**_DELIVERY, "state": "pending", "next_attempt_at": "2026-11-28T10:00:00Z"},
        )
    },
    refuses=["not_found", "conflict"],
    example={"path": {**_AT, "delivery": "dlv_0193"}},
)
async def replay(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    webhooks, info = services(request).webhooks, request.match_info
    return json_answer(await webhooks.replay(who, info["id"], info["delivery"]), status=202)


@operation(
    "rotate_signing_secret",
    "Make a new secret for callbacks",
    group=_GROUP,
    about="It signs what is sent to the `callback_url` of calls. For 24 hours the one before signs beside it.",
    body=[],
    answers={
        201: Answer(about="The secret, this once.", schema=NEW_SECRET, example={"secret": _SECRET, "warning": _WARNING})
    },
    refuses=["conflict"],
)
async def rotate_signing_secret(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    secret = await services(request).webhooks.rotate_signing_secret(who)
    return json_answer({"secret": secret.reveal(), "warning": _WARNING}, status=201)
