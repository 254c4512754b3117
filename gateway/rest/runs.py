"""Runs: listed, looked up and waited for, cancelled, done again; and the answers that were cut, piece by piece."""

from __future__ import annotations

from aiohttp import web

from gateway.core.tenants.keys import Principal
from gateway.rest.calls import CALL_REFUSALS, accepted
from gateway.rest.fields import CURSOR, LIMIT, PAGE
from gateway.rest.shapes import ACCEPTED, PIECE, RUN, RUN_LISTED
from gateway.web.answers import json_answer, json_bytes
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, Field, number, operation, text
from gateway.web.shapes import TEXT, listed, shape

_RUN_ID = Field(name="id", about="Id of the run.", schema={"type": "string"}, required=True)
_REFUSALS = ("not_found", "scope_not_allowed")
_EXAMPLE = {
    "run_id": "run_0193",
    "status": "completed",
    "integration": "overten",
    "action": "generate_excel",
    "user": "default",
    "connection": "conn_01cf",
    "upstream_status": 200,
    "progress": 100,
    "error": None,
    "outcome": "answered",
    "credits_used": 1,
    "created_at": "2026-11-28T10:00:00Z",
    "finished_at": "2026-11-28T10:00:41Z",
    "poll_url": "http://127.0.0.1:8700/v1/runs/run_0193",
}
_WITH_RESULT = {**_EXAMPLE, "result": {"status": 200, "data": {"download_url": "https://files.example/1"}}}


@operation(
    "list_runs",
    "List runs",
    group="Runs",
    about="The newest first, without their results.",
    query=[LIMIT, CURSOR],
    answers={
        200: Answer(
            about="A page of runs.",
            schema=shape(runs=listed(RUN_LISTED), optional={"next_cursor": TEXT}),
            example={"runs": [_EXAMPLE]},
        )
    },
)
async def list_runs(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    limit, cursor = asked.query["limit"], asked.query.get("cursor")
    return json_answer(await services(request).runs.list(who, limit=limit, cursor=cursor))


@operation(
    "show_run",
    "Look at a run",
    group="Runs",
    path=[_RUN_ID],
    query=[number("wait", "Seconds to wait until it is over.", low=0, high=3600, default=0)],
    answers={200: Answer(about="The run, with its result once it is over.", schema=RUN, example=_WITH_RESULT)},
    refuses=_REFUSALS,
)
async def show(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    book = services(request).runs
    wait = min(asked.query["wait"], services(request).settings.sync_ceiling)
    return json_bytes(await book.shown(await book.find(who, request.match_info["id"], wait=wait)))


@operation(
    "cancel_run",
    "Cancel a run",
    group="Runs",
    about="At once where nobody carries it out yet, else as soon as may be; the upstream is not told.",
    path=[_RUN_ID],
    body=[],
    answers={200: Answer(about="The run as it is now.", schema=RUN, example={**_WITH_RESULT, "status": "cancelled"})},
    refuses=(*_REFUSALS, "conflict"),
)
async def cancel(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    book = services(request).runs
    return json_bytes(await book.shown(await book.cancel(who, request.match_info["id"])))


@operation(
    "retry_run",
    "Do a run again",
    group="Runs",
    about="As a new run. One of unknown outcome is done again only where that does no harm, or `even_if_unknown`.",
    path=[_RUN_ID],
    body=[
        Field(
            name="even_if_unknown",
            about="You have looked, and know that it was not done.",
            schema={"type": "boolean", "default": False},
        )
    ],
    answers={
        202: Answer(
            about="The new run.",
            schema=ACCEPTED,
            example={"run_id": "run_0194", "status": "queued", "poll_url": "http://127.0.0.1:8700/v1/runs/run_0194"},
            headers=("Location",),
        )
    },
    refuses=CALL_REFUSALS,
)
async def retry(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    run_id, is_sure = request.match_info["id"], asked.body["even_if_unknown"]
    return accepted(request, await services(request).gateway.again(who, run_id, is_sure=is_sure))


@operation(
    "read_result",
    "Read the whole of an answer that was cut",
    group="Runs",
    about="Items of an array, letters of a text, members of a large object, or the one value there is; `next` is the "
    "offset of what follows.",
    path=[_RUN_ID],
    query=[
        Field(
            name="path",
            about="Which part: a JSON pointer (RFC 6901) or JMESPath; left out, all of it.",
            schema={"type": "string", "maxLength": 2000, "default": ""},
        ),
        number("offset", "How many items or letters to pass over.", low=0, high=999_999_999, default=0),
        number("limit", "How many items at most.", low=1, high=100_000, default=PAGE),
        text("grep", "Only items, or lines, that hold this text.", most=2000),
    ],
    answers={
        200: Answer(
            about="A piece of it; no value is ever cut.",
            schema=PIECE,
            example={"data": [{"number": 7, "title": "Bug report"}], "total": 230, "next": 51},
        )
    },
    refuses=_REFUSALS,
)
async def result(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    run = await services(request).runs.find(who, request.match_info["id"])
    piece = await services(request).results.read(
        run,
        path=asked.query["path"],
        offset=asked.query["offset"],
        limit=asked.query["limit"],
        grep=asked.query.get("grep"),
    )
    return json_bytes(piece)
