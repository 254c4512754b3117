"""`GET /v1/usage` and `GET /v1/ledger`: what was used, what is left, and every movement of credits."""

from __future__ import annotations

from aiohttp import web

from gateway.core.tenants.keys import Principal
from gateway.rest.fields import CURSOR, LIMIT
from gateway.rest.shapes import ENTRY, USAGE
from gateway.web.answers import json_answer
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, operation
from gateway.web.shapes import TEXT, listed, shape

_GROUP = "Usage"


@operation(
    "get_usage",
    "See what was used and what is left",
    group=_GROUP,
    about="Of the calendar month and the day, UTC. A test key uses nothing.",
    answers={
        200: Answer(
            about="The month so far.",
            schema=USAGE,
            example={
                "plan": "free",
                "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
                "credits": {
                    "limit": 100000,
                    "used": 42,
                    "left": 99958,
                    "balance": 99958,
                    "overage": 0,
                    "overage_rate": None,
                },
                "calls": {"used": 42},
                "calls_today": {"limit": 10000, "used": 3, "left": 9997, "resets_at": "2026-11-29T00:00:00Z"},
                "requests_per_minute": 60,
                "connections": {"limit": 3, "used": 1, "left": 2},
                "api_keys": {"limit": 5, "used": 2, "left": 3},
                "by_integration": [{"integration": "github", "calls": 42, "credits": 42}],
                "by_key": [{"api_key": "key_90d2", "name": "issue bot", "calls": 42, "credits": 42}],
            },
        )
    },
)
async def usage(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return json_answer(await services(request).usage.of(who))


@operation(
    "list_entries",
    "List every movement of credits",
    group=_GROUP,
    about="The newest first. The sum of all amounts is the balance.",
    query=[LIMIT, CURSOR],
    answers={
        200: Answer(
            about="A page of the ledger.",
            schema=shape(entries=listed(ENTRY), optional={"next_cursor": TEXT}),
            example={
                "entries": [
                    {
                        "id": "ent_0193",
                        "type": "call",
                        "at": "2026-11-28T10:00:00Z",
                        "amount": -1,
                        "run_id": "run_0193",
                        "api_key": "key_90d2",
                        "integration": "github",
                        "action": "create_issue",
                        "note": None,
                    }
                ]
            },
        )
    },
)
async def ledger(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    page = await services(request).usage.ledger(who, limit=asked.query["limit"], cursor=asked.query.get("cursor"))
    return json_answer(page)
