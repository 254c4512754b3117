"""`GET /v1/events`: what happened in an org, to poll."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.core.events import Event
from gateway.core.tenants.access import check_level, may_see
from gateway.core.tenants.keys import Principal
from gateway.core.times import iso
from gateway.rest.fields import LIMIT
from gateway.rest.shapes import EVENT
from gateway.web.answers import json_answer
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, Field, operation
from gateway.web.shapes import TEXT, listed, shape

#: Events of the last moments may still come in before others that are seen already, by another replica's commit.
_UNSETTLED = 2.0
_ID = {"type": "string", "pattern": "^evt_[0-9a-f]{1,32}$"}
_KIND = Field(
    name="kind",
    about="Only events of this kind, such as `connection`; `audit` is who did what, for keys of level full_access.",
    schema={"type": "string", "pattern": "^[a-z_]{1,32}$"},
    must="is a word such as connection or audit",
)
_SINCE = Field(
    name="since",
    about="Only what came after this event, or from this time on; take `since` of the answer before.",
    schema={"anyOf": [_ID, {"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]},
    must="is an event's id, or a time such as 2026-11-28T10:00:00Z",
)
_CURSOR = Field(
    name="cursor", about="`next_cursor` of the page before.", schema=_ID, must="is `next_cursor` of the page before"
)


@operation(
    "list_events",
    "Read what happened",
    group="Events",
    about="The oldest first. Ask again with `since` of the answer; some of the last events may come twice, under the same ids.",
    query=[_KIND, _SINCE, LIMIT, _CURSOR],
    answers={
        200: Answer(
            about="A page of events.",
            schema=shape(
                events=listed(EVENT),
                optional={"next_cursor": TEXT, "since": {"type": ["string", "integer"]}},
            ),
            example={
                "events": [
                    {
                        "id": "evt_019",
                        "type": "connection.created",
                        "created_at": "2026-11-28T10:00:00Z",
                        "data": {"connection": "conn_01cf", "integration": "github", "user": "default"},
                        "actor": {"type": "api_key", "id": "key_90d2", "name": "issue bot"},
                    }
                ],
                "since": "evt_019",
            },
        )
    },
)
async def list_events(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    kind, limit = asked.query.get("kind"), asked.query["limit"]
    check_level(who, "full_access" if kind == "audit" else "read_only")
    since = asked.query.get("cursor") or _since(asked.query.get("since"))
    ours = services(request)
    page, more = await ours.events.page(who.org, mode=who.mode, kind=kind, since=since, limit=limit)
    full = who.grant.has_level("full_access")
    answer: dict[str, Any] = {"events": [shown(event, with_actor=full) for event in page if may_see(who, event)]}
    if more:
        answer["next_cursor"] = page[-1].id
    settled = [event.id for event in page if more or event.at < (ours.clock() - _UNSETTLED) * 1000]
    if settled or isinstance(since, str):
        #: Where the next poll begins: it may bring some of the last events again, under the same ids.
        answer["since"] = settled[-1] if settled else since
    return json_answer(answer)


def shown(event: Event, *, with_actor: bool) -> dict[str, Any]:
    """An event as the API shows it."""
    body: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "created_at": iso(event.at / 1000),
        "data": dict(event.data),
    }
    if with_actor:
        body["actor"] = None if event.actor is None else event.actor.shown()
    return body


def _since(text: str | None) -> str | int | None:
    """An event's id, or a time in RFC 3339 as unix milliseconds."""
    if text is None or text.startswith("evt_"):
        return text
    try:
        # RFC 3339 §5.6 knows leap seconds, and our calendar no year 0.
        at = datetime.fromisoformat(re.sub(r":60\b", ":59", text.upper()))
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
