"""`POST /v1/sandbox/reset`: a test key begins anew."""

from __future__ import annotations

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.tenants.keys import Principal
from gateway.web.answers import json_answer
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, operation

_FORGOTTEN = {
    "type": "object",
    "properties": {"forgotten": {"type": "integer", "minimum": 0}},
    "required": ["forgotten"],
    "additionalProperties": False,
}


@operation(
    "reset_sandbox",
    "Forget what a test key made",
    group="Calls",
    about="What calls of this test key made, changed and deleted: the next one finds the examples as they were.",
    body=[],
    answers={200: Answer(about="How many things were forgotten.", schema=_FORGOTTEN, example={"forgotten": 3})},
)
async def reset(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    if who.mode != "test" or who.actor.id is None:
        raise Refusal("forbidden", "Only a test key has a sandbox: a live key's calls are real.")
    return json_answer({"forgotten": await services(request).sandbox.clear(who.org, who.actor.id)})
