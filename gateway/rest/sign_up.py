"""`POST /v1/signup`: an org and its first key in one call."""

from __future__ import annotations

from aiohttp import web

from gateway.core.sign_up import SignUpWish
from gateway.web.answers import json_answer
from gateway.web.auth import bearer_of
from gateway.web.bodies import bad_field, json_object, query, text_field
from gateway.web.context import services
from gateway.web.peers import peer


async def sign_up(request: web.Request) -> web.Response:
    query(request, ())
    body = await json_object(request, {"org_name": str, "key_name": str, "email": str})
    if "org_name" not in body:
        raise bad_field("org_name", "required", "The field 'org_name' is missing.")
    wish = SignUpWish(
        org_name=text_field(body["org_name"].strip(), "org_name"),
        key_name=text_field(body["key_name"], "key_name") if "key_name" in body else None,
        email=body.get("email"),
    )
    made = await services(request).sign_up.by_request(wish, bearer=bearer_of(request), address=peer(request))
    return json_answer(made, status=201)
