"""`POST /v1/signup`: an org and its first key in one call."""

from __future__ import annotations

from aiohttp import web

from gateway.core.people.sign_up import SignUpWish
from gateway.rest.keys import KEY_EXAMPLE
from gateway.rest.shapes import SIGNED_UP
from gateway.web.answers import json_answer
from gateway.web.auth import bearer_of
from gateway.web.bodies import bad_field
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, Field, operation, text
from gateway.web.peers import peer


@operation(
    "sign_up",
    "Make an org of your own",
    group="Signing up and in",
    about=(
        "Where the operator allows it: for their own backend (`Authorization: Bearer <SIGNUP_TOKEN>`), for people of the "
        "OpenID provider (`Authorization: Bearer <ID token>`), or for anybody."
    ),
    body=[
        text("org_name", "What it is called; shown to people.", required=True),
        text("key_name", "What its first key is for; `first key` if left out."),
        Field(
            name="email",
            about="Of whom becomes its first member; without it nobody does.",
            schema={"type": "string", "maxLength": 254},
        ),
    ],
    answers={
        201: Answer(
            about="The org, and its first key, which is shown once.",
            schema=SIGNED_UP,
            example={
                "org": {"id": "org_5494", "name": "Acme", "plan": "free", "created_at": "2026-11-28T10:00:00Z"},
                "api_key": {**KEY_EXAMPLE, "name": "first key"},
                "full_key": "sk_live_gw_Vt7Qe…",
                "warning": "Save this key now: it is not shown again.",
            },
        )
    },
    refuses=("forbidden", "unauthorized", "conflict", "rate_limited", "upstream_unreachable"),
    example={"body": {"org_name": "Acme", "email": "ada@example.com"}},
)
async def sign_up(request: web.Request, asked: Asked) -> web.Response:
    body = asked.body
    if not body["org_name"].strip():
        raise bad_field("org_name", "required", "The field 'org_name' is empty.")
    wish = SignUpWish(org_name=body["org_name"].strip(), key_name=body.get("key_name"), email=body.get("email"))
    made = await services(request).sign_up.by_request(wish, bearer=bearer_of(request), address=peer(request))
    return json_answer(made, status=201)
