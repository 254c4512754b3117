"""`POST /v1/{integration}/{action}` and what is asked like it: HTTP to a call, a result or a run back to HTTP."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from gateway.core.call import Call, Shape
from gateway.core.gateway import RawResult
from gateway.core.keys import Principal
from gateway.core.once import Accepted
from gateway.core.paging import MOST_PAGES
from gateway.core.request import UpstreamFailed
from gateway.core.shaping import check_select
from gateway.web.answers import json_answer, json_bytes
from gateway.web.bodies import bad_field, json_object, query, text_field, yes_or_no
from gateway.web.context import services
from gateway.web.streaming import download

BODY: dict[str, type | tuple[type, ...]] = {
    "params": dict,
    "user": str,
    "connection": str,
    "async": bool,
    "wait": (int, float),
    "select": str,
    "view": str,
    "max_bytes": int,
    "max_items": int,
    "all": bool,
}
#: Headers of an upstream that a raw answer keeps; everything else could act on our own origin.
_RAW_HEADERS = ("content-type", "content-language", "etag", "last-modified")
_LONGEST_KEY = 255
_LONGEST_SELECT = 2000
_LEAST_BYTES, _MOST = 256, 10**9
_PREFER_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)


async def execute(request: web.Request, who: Principal) -> web.StreamResponse:
    asked = query(request, ("raw",)) if request.rel_url.raw_query_string else {}
    call = call_of(request, who, request.match_info, await json_object(request, BODY))
    gateway = services(request).gateway
    if yes_or_no(asked, "raw"):
        if call.is_async or call.wait is not None or call.idempotency_key or call.pages or not call.shape.is_whole:
            raise bad_field("raw", "oneOf", "A raw answer is streamed as it comes: not later, not twice, not in part.")
        return await _stream(request, await gateway.stream(call))
    result = await gateway.call(call)
    if isinstance(result, Accepted):
        return accepted(request, result)
    return json_bytes(result.envelope(), headers={"X-Upstream-Status": str(result.status)})


async def preflight(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    body = await json_object(request, {**BODY, "integration": str, "action": str})
    for name in ("integration", "action"):
        if name not in body:
            raise bad_field(name, "required", f"The field {name!r} is missing.")
    call = call_of(request, who, body, body)
    return json_answer(await services(request).preflight.of(call))


def call_of(request: web.Request, who: Principal, names: Any, body: dict[str, Any]) -> Call:
    """The call that a body and the headers beside it ask for."""
    wait = _number(body, "wait", 0, services(request).settings.sync_ceiling)
    preferred = ",".join(request.headers.getall("Prefer", ())) if "Prefer" in request.headers else ""
    if preferred and wait is None and (found := _PREFER_WAIT.search(preferred)):
        wait = min(float(found[1]), services(request).settings.sync_ceiling)
    return Call(
        principal=who,
        integration=names["integration"],
        action=names["action"],
        params=body.get("params", {}),
        user=text_field(body["user"], "user") if "user" in body else None,
        connection=text_field(body["connection"], "connection") if "connection" in body else None,
        shape=_shape(body),
        idempotency_key=_idempotency_key(request),
        is_async=body.get("async", False) or "respond-async" in preferred.lower(),
        wait=wait,
        pages=MOST_PAGES if body.get("all", False) else None,
        is_fresh="no-cache" in request.headers.get("Cache-Control", "").lower(),
    )


def accepted(request: web.Request, run: Accepted) -> web.Response:
    """202: the run to poll."""
    poll_url = services(request).runs.poll_url(run.run_id)
    status = "running" if run.state == "polling" else run.state
    body = {"run_id": run.run_id, "status": status, "poll_url": poll_url}
    return json_answer(body, status=202, headers={"Location": poll_url})


def _shape(body: dict[str, Any]) -> Shape:
    select = body.get("select")
    if select is not None:
        check_select(text_field(select, "select", most=_LONGEST_SELECT))
    view = body.get("view", "full")
    if view not in ("brief", "full"):
        raise bad_field("view", "enum", "The field 'view' must be brief or full.")
    return Shape(
        select=select,
        brief=view == "brief",
        max_bytes=_whole(body, "max_bytes", _LEAST_BYTES),
        max_items=_whole(body, "max_items", 0),
    )


def _idempotency_key(request: web.Request) -> str | None:
    given = request.headers.getall("Idempotency-Key", ())
    if not given:
        return None
    if len(given) > 1 or not 0 < len(given[0]) <= _LONGEST_KEY or not given[0].isascii() or not given[0].isprintable():
        message = f"The header Idempotency-Key must be 1 to {_LONGEST_KEY} printable ASCII characters, once."
        raise bad_field("Idempotency-Key", "format", message)
    return str(given[0])


def _whole(body: dict[str, Any], name: str, low: int) -> int | None:
    value = body.get(name)
    if value is not None and not low <= value <= _MOST:
        raise bad_field(name, "range", f"The field {name!r} must be a whole number from {low} to {_MOST}.")
    return value


def _number(body: dict[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not low <= value <= high:
        raise bad_field(name, "range", f"The field {name!r} must be a number from {low:g} to {high:g}.")
    return float(value)


async def _stream(request: web.Request, result: RawResult) -> web.StreamResponse:
    """The upstream's body as it comes, as a download that no browser runs."""
    # Of two headers of a name the first stands; one that cannot be passed on is left out.
    headers = {
        name.lower(): value
        for name, value in reversed(result.headers)
        if name.lower() in _RAW_HEADERS and value.isprintable()
    }
    response = web.StreamResponse(headers=headers)
    response.headers["X-Upstream-Status"] = str(result.status)
    response.headers["X-Run-Id"] = result.run_id
    try:
        return await download(request, response, result.chunks, what=result.run_id, broken=UpstreamFailed)
    finally:
        # A stream that was never begun has no other end.
        result.close()
