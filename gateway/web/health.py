"""`/healthz` for "is the process alive", `/readyz` for "may it get traffic"."""

from __future__ import annotations

from aiohttp import web

from gateway.web.answers import json_answer
from gateway.web.context import services


async def healthz(_request: web.Request) -> web.Response:
    return json_answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    problem = await services(request).health.problem()
    return json_answer({"status": problem or "ready"}, status=503 if problem else 200)
