"""`POST /v1/{integration}/{action}` and what is asked like it: HTTP to a call, a result or a run back to HTTP."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from gateway.core.calls.call import AS_IT_COMES, LONGEST_DELAY, Call, Forced, Shape
from gateway.core.calls.paging import MOST_PAGES
from gateway.core.calls.shaping import check_select
from gateway.core.gateway import RawResult
from gateway.core.requests.request import UpstreamFailed
from gateway.core.runs.once import Accepted
from gateway.core.tenants.keys import Principal
from gateway.rest.fields import ACTION, INTEGRATION, LONGEST_URL, USER
from gateway.rest.shapes import ACCEPTED, PREFLIGHT, RESULT
from gateway.web.answers import json_answer, json_bytes
from gateway.web.bodies import bad_field
from gateway.web.context import MORE_HEADERS, services
from gateway.web.deprecation import deprecation_headers
from gateway.web.operations import ANYTHING, NAME, SLUG, Answer, Asked, Field, choice, number, operation, switch, text
from gateway.web.streaming import download

#: Why there may be no answer to a call.
CALL_REFUSALS = (
    "scope_not_allowed",
    "integration_not_connected",
    "missing_scopes",
    "plan_limit_reached",
    "approval_required",
    "token_expired",
    "not_found",
    "conflict",
    "ambiguous_connection",
    "idempotency_conflict",
    "sync_timeout_upgrade_async",
    "daily_limit_reached",
    "allowance_exhausted",
    "upstream_rate_limited",
    "upstream_unreachable",
    "upstream_invalid_response",
    "response_too_large",
    "upstream_timeout",
)
#: Headers of an upstream that a raw answer keeps; everything else could act on our own origin.
_RAW_HEADERS = ("content-type", "content-language", "etag", "last-modified")
_LONGEST_WAIT = 3600
_LONGEST_KEY = 255
_LEAST_BYTES, _MOST = 256, 10**9
_PREFER_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)

_YES: dict[str, Any] = {"type": "boolean"}
_OPTIONS = [
    Field(name="params", about="What the action takes, by its JSON Schema.", schema=ANYTHING),
    USER,
    text("connection", "Id or label of the connection, where the user has several that fit."),
    Field(name="async", about="Carry it out later, as a run to poll.", schema=_YES),
    Field(
        name="wait",
        about="Seconds to wait for the end of the run, also for work that the upstream goes on with, before polling it.",
        schema={"type": "number", "minimum": 0, "maximum": _LONGEST_WAIT},
    ),
    Field(
        name="select",
        about="JMESPath: the part of the upstream's body that is wanted.",
        schema={"type": "string", "minLength": 1, "maxLength": 2000, "format": "jmespath"},
        must="must be JMESPath of 1 to 2000 characters",
    ),
    choice("view", "`brief` is the action's own short view, where it has one.", ["brief", "full"], default="full"),
    number("max_bytes", "Most bytes of the answer; what is cut is kept whole.", low=_LEAST_BYTES, high=_MOST),
    number("max_items", "Most items of its largest array; what is cut is kept whole.", low=0, high=_MOST),
    Field(
        name="callback_url",
        about="With `async` or `wait`: is sent the event of the run's end, signed with the org's signing secret.",
        schema={"type": "string", "minLength": 1, "maxLength": LONGEST_URL, "format": "webhook-url"},
    ),
    Field(name="all", about="Follow the pages of a list, and join their items.", schema=_YES),
]
IDEMPOTENCY_KEY = Field(
    name="Idempotency-Key",
    about="Sent again with the same body, the call is not made again: its answer is given back, for 24 hours.",
    schema={"type": "string", "minLength": 1, "maxLength": _LONGEST_KEY, "pattern": "^[ -~]+$"},
)
_HEADERS = [
    IDEMPOTENCY_KEY,
    Field(
        name="Prefer",
        about="`respond-async` is `async`, `wait=10` is `wait` (RFC 7240).",
        schema={"type": "string"},
    ),
    Field(
        name="Cache-Control",
        about="`no-cache`: an answer that is kept for later reads will not do.",
        schema={"type": "string"},
    ),
]
#: Of a test key: how an agent's tests meet an upstream that is slow, or that refuses.
FORCED = [
    Field(
        name="X-Sandbox-Status",
        about="Test keys only: the status that the made-up upstream answers with; 429 brings a `Retry-After`.",
        schema={"type": "integer", "minimum": 200, "maximum": 599},
    ),
    Field(
        name="X-Sandbox-Delay",
        about="Test keys only: seconds that the made-up upstream takes, decimals allowed.",
        schema={"type": "number", "minimum": 0, "maximum": LONGEST_DELAY},
    ),
]
_STATUS = re.compile(r"[2-5]\d\d")
_SECONDS = re.compile(r"\d{1,3}(\.\d{1,3})?")
_ACCEPTED = Answer(
    about="It is carried out as a run; poll it.",
    schema=ACCEPTED,
    example={"run_id": "run_0193", "status": "queued", "poll_url": "http://127.0.0.1:8700/v1/runs/run_0193"},
    headers=("Location", "X-Deprecated", "Deprecation", "Sunset", "Link"),
)


@operation(
    "execute",
    "Call an action",
    group="Calls",
    about="The upstream answered, whatever it said: 200, with its status and its data. No answer to give: an error. "
    "The action `request` is any request of the integration: `method`, `path`, `query`, `headers`, `body`.",
    path=[INTEGRATION, ACTION],
    query=[switch("raw", "Stream the upstream's body alone, with its own content type.")],
    headers=[*_HEADERS, *FORCED],
    body=_OPTIONS,
    answers={
        200: Answer(
            about="The upstream answered. With `raw=1` the body is the upstream's own.",
            schema={"anyOf": [RESULT, {"description": "With `raw=1`: the upstream's own body."}]},
            example={"status": 201, "data": {"number": 7}, "meta": {"run_id": "run_0193", "account": "ada"}},
            headers=("X-Upstream-Status", "X-Run-Id", "X-Deprecated", "Deprecation", "Sunset", "Link"),
            also=("*/*",),
        ),
        202: _ACCEPTED,
    },
    refuses=CALL_REFUSALS,
    example={
        "path": {"integration": "github", "action": "create_issue"},
        "body": {"params": {"repo": "acme/webapp", "title": "Bug report"}},
    },
)
async def execute(request: web.Request, who: Principal, asked: Asked) -> web.StreamResponse:
    ours = services(request)
    slug, action = request.match_info["integration"], request.match_info["action"]
    note_deprecation(request, slug, action)
    call = _call(request, who, slug, action, asked.body)
    if asked.query["raw"] in ("1", "true"):
        if call.is_async or call.wait is not None or call.idempotency_key or call.pages or not call.shape.is_whole:
            raise bad_field("raw", "oneOf", "A raw answer is streamed as it comes: not later, not twice, not in part.")
        return await _stream(request, await ours.gateway.stream(call))
    result = await ours.gateway.call(call)
    if isinstance(result, Accepted):
        return accepted(request, result)
    return json_bytes(result.envelope(), headers={"X-Upstream-Status": str(result.status)})


@operation(
    "preflight",
    "Ask what a call would do",
    group="Calls",
    about="All that is in its way at once, and the request that it would make, its secrets masked. Spends nothing.",
    headers=_HEADERS,
    body=[
        Field(name="integration", about="Slug of the integration.", schema=SLUG, required=True),
        Field(name="action", about="Name of the action.", schema=NAME, required=True),
        *_OPTIONS,
    ],
    answers={
        200: Answer(
            about="Whether the call would be made.",
            schema=PREFLIGHT,
            example={
                "ok": False,
                "problems": [{"error": "integration_not_connected", "message": "Connect GitHub first."}],
            },
        )
    },
    refuses=("not_found",),
    example={"body": {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}}},
)
async def preflight(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    call = _call(request, who, asked.body["integration"], asked.body["action"], asked.body)
    return json_answer(await services(request).preflight.of(call))


def note_deprecation(request: web.Request, slug: str, action: str) -> None:
    """Whatever the answer is, its headers tell of an action that is deprecated."""
    ours = services(request)
    if (found := ours.catalogs.deprecation(slug, action)) is not None:
        gone, instead = found
        use = None if instead is None else f"{ours.public_url}/v1/{instead.integration}/{instead.name}"
        request[MORE_HEADERS] = deprecation_headers(gone.since, gone.sunset, use)


def accepted(request: web.Request, run: Accepted) -> web.Response:
    """202: the run to poll."""
    poll_url = services(request).runs.poll_url(run.run_id)
    status = "running" if run.state == "polling" else run.state
    body = {"run_id": run.run_id, "status": status, "poll_url": poll_url}
    return json_answer(body, status=202, headers={"Location": poll_url})


def _call(request: web.Request, who: Principal, slug: str, action: str, body: Any) -> Call:
    """The call that a body and the headers beside it ask for."""
    wait = body.get("wait")
    preferred = ",".join(request.headers.getall("Prefer", ())) if "Prefer" in request.headers else ""
    if preferred and wait is None and (found := _PREFER_WAIT.search(preferred)):
        wait = int(found[1])
    is_async = body.get("async", False) or "respond-async" in preferred.lower()
    callback_url = body.get("callback_url")
    if callback_url is not None:
        if not is_async and wait is None:
            raise bad_field("callback_url", "dependentRequired", "Only a call with `async` or `wait` is called back.")
        services(request).webhooks.check_url(callback_url, "callback_url")
    return Call(
        principal=who,
        integration=slug,
        action=action,
        params=body.get("params", {}),
        user=body.get("user"),
        connection=body.get("connection"),
        shape=_shape(body),
        idempotency_key=idempotency_key(request),
        is_async=is_async,
        wait=None if wait is None else min(float(wait), services(request).settings.sync_ceiling),
        callback_url=callback_url,
        pages=MOST_PAGES if body.get("all", False) else None,
        is_fresh="no-cache" in request.headers.get("Cache-Control", "").lower(),
        forced=forced(request, who),
    )


def forced(request: web.Request, who: Principal) -> Forced:
    """What the headers of the sandbox ask for."""
    status, delay = request.headers.get("X-Sandbox-Status"), request.headers.get("X-Sandbox-Delay")
    if status is None and delay is None:
        return AS_IT_COMES
    name = "X-Sandbox-Delay" if status is None else "X-Sandbox-Status"
    if who.mode != "test":
        # Whoever believes that nothing is sent must not find out that it was.
        raise bad_field(name, "const", f"The header {name} is for test keys: a live call goes to the upstream.")
    if status is not None and not _STATUS.fullmatch(status):
        raise bad_field("X-Sandbox-Status", "pattern", "The header X-Sandbox-Status must be a status from 200 to 599.")
    if delay is not None and not (_SECONDS.fullmatch(delay) and float(delay) <= LONGEST_DELAY):
        message = f"The header X-Sandbox-Delay must be seconds from 0 to {LONGEST_DELAY:g}."
        raise bad_field("X-Sandbox-Delay", "maximum", message)
    return Forced(status=None if status is None else int(status), delay=float(delay or 0))


def _shape(body: Any) -> Shape:
    select = body.get("select")
    if select is not None:
        check_select(select)
    return Shape(
        select=select,
        brief=body["view"] == "brief",
        max_bytes=body.get("max_bytes"),
        max_items=body.get("max_items"),
    )


def idempotency_key(request: web.Request) -> str | None:
    """The header of that name."""
    given = request.headers.getall("Idempotency-Key", ())
    if not given:
        return None
    if len(given) > 1 or not 0 < len(given[0]) <= _LONGEST_KEY or not given[0].isascii() or not given[0].isprintable():
        message = f"The header Idempotency-Key must be 1 to {_LONGEST_KEY} printable ASCII characters, once."
        raise bad_field("Idempotency-Key", "format", message)
    return str(given[0])


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
