"""`/healthz` for "is the process alive", `/readyz` for "may it get traffic"."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.web.answers import json_answer
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, Route, operation
from gateway.web.shapes import TEXT, shape

_GROUP = "The gateway itself"
_HEALTH = shape(status=TEXT)


@operation(
    "get_health",
    "See whether it is alive",
    group=_GROUP,
    answers={200: Answer(about="It is.", schema=_HEALTH, example={"status": "ok"})},
)
async def healthz(request: web.Request, asked: Asked) -> web.Response:
    return json_answer({"status": "ok"})


@operation(
    "get_readiness",
    "See whether it may get traffic",
    group=_GROUP,
    about="503 while it stops, and while its database does not answer.",
    answers={
        200: Answer(about="It may.", schema=_HEALTH, example={"status": "ready"}),
        503: Answer(about="It may not, and why.", schema=_HEALTH, example={"status": "draining"}),
    },
)
async def readyz(request: web.Request, asked: Asked) -> web.Response:
    problem = await services(request).health.problem()
    return json_answer({"status": problem or "ready"}, status=503 if problem else 200)


ROUTES: Sequence[Route] = (
    Route("GET", "/healthz", healthz, None),
    Route("GET", "/readyz", readyz, None),
)
