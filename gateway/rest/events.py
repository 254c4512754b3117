"""`GET /v1/events`: what happened in an org, to poll."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway.core.access import check_level, may_see
from gateway.core.events import Event
from gateway.core.keys import Principal
from gateway.core.times import iso
from gateway.web.answers import json_answer
from gateway.web.bodies import bad_field, query, whole_number
from gateway.web.context import services

PAGE = 50
MOST = 200
#: Events of the last moments may still come in before others that are seen already, by another replica's commit.
_UNSETTLED = 2.0
_ID = re.compile(r"evt_[0-9a-f]{1,32}")
_KIND = re.compile(r"[a-z_]{1,32}")


async def list_events(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("kind", "since", "limit", "cursor"))
    kind = asked.get("kind")
    if kind is not None and not _KIND.fullmatch(kind):
        raise bad_field("kind", "format", "The query parameter 'kind' is a word such as connection or audit.")
    check_level(who, "full_access" if kind == "audit" else "read_only")
    limit = whole_number(asked, "limit", default=PAGE, low=1, high=MOST) or PAGE
    since = _since(asked["cursor"], "cursor") if "cursor" in asked else _since(asked.get("since"), "since")
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


def _since(text: str | None, name: str) -> str | int | None:
    """An event's id, or a time in RFC 3339."""
    if text is None or _ID.fullmatch(text):
        return text
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        message = f"The query parameter {name!r} is an event's id, or a time such as 2026-11-28T10:00:00Z."
        raise bad_field(name, "format", message) from None
