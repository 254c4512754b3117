"""Long calls as tasks (extension `io.modelcontextprotocol/tasks`, SEP-2663): a task is a run, and its id the run's."""

from __future__ import annotations

from typing import Any

from gateway.core.calls.call import Shape
from gateway.core.calls.shaping import cut_to
from gateway.core.errors import CODES, Refusal
from gateway.core.requests.answers import Result
from gateway.core.run import Run
from gateway.core.runs.run_book import approval_page
from gateway.core.tenants.access import check_level
from gateway.core.times import iso
from gateway.mcp.asked import Asked, Json
from gateway.mcp.jsonrpc import INVALID_PARAMS, MISSING_CAPABILITY, RpcError
from gateway.mcp.rendering import of_refusal, of_result
from gateway.web.tool_options import BUDGET
from skills_catalog.model import Skill

EXTENSION = "io.modelcontextprotocol/tasks"
#: Milliseconds between two looks at a task.
_POLL = 2000
#: Seconds that an upstream may take before a call is a task from the start.
_LONG = 60.0
_APPROVE = "approve"


def may_be_task(asked: Asked) -> bool:
    """Whether the client takes a task for an answer."""
    return asked.era.is_modern and asked.era.has_extension(EXTENSION)


def takes_long(skill: Skill) -> bool:
    return skill.poll is not None or (skill.timeout or 0) > _LONG


async def created(asked: Asked, run_id: str) -> Json:
    """The answer to a call that goes on as a run."""
    run = await asked.ours.runs.find(asked.who, run_id)
    return {"resultType": "task", **_shown(asked, run)}


async def get(asked: Asked) -> Json:
    run = await _run(asked)
    shown = _shown(asked, run)
    if shown["status"] == "completed":
        shown["result"] = {"resultType": "complete", **await outcome(asked, run)}
    return shown


async def update(asked: Asked) -> Json:
    """Nothing to do: whoever approves does it on the page, and the run goes on by itself."""
    await _run(asked)
    if not isinstance(asked.params.get("inputResponses"), dict):
        raise RpcError(INVALID_PARAMS, "`inputResponses` must be an object.")
    return {}


async def cancel(asked: Asked) -> Json:
    """Stops it as far as may be; of one that is over there is nothing to stop."""
    run = await _run(asked)
    try:
        check_level(asked.who, "read_write")
        if not run.is_over:
            await asked.ours.runs.cancel(asked.who, run.id)
    except Refusal as refusal:
        if refusal.code != "conflict":
            raise RpcError.of(refusal) from None
    return {}


async def outcome(asked: Asked, run: Run) -> Json:
    """What a tool answers for a run that is over: its result, cut to what fits, or why there is none."""
    if run.refusal is not None or run.error is not None:
        said = run.refusal or {"error": run.error, "message": CODES[str(run.error)].meaning, "run_id": run.id}
        return of_refusal(Refusal.of(said))
    if run.state == "cancelled":
        return of_refusal(Refusal("conflict", "The run was cancelled.", run_id=run.id, retryable=False))
    try:
        result = await asked.ours.results.whole(run)
    except Refusal as refusal:
        return of_refusal(refusal)
    return of_result(fitted(run, result))


def fitted(run: Run, result: Result, shape: Shape = Shape(max_bytes=BUDGET)) -> Result:  # noqa: B008
    """The first whole items of a kept answer; the rest is where it was."""
    meta: dict[str, Any] = {**result.meta, "run_id": run.id}
    cut = cut_to(result.data, max_bytes=shape.max_bytes, max_items=shape.max_items)
    if cut is None:
        return Result(status=result.status, data=result.data, meta=meta)
    if not cut.is_whole:
        where = f"?path={cut.path or ''}&offset={cut.kept}" if cut.total is not None else ""
        meta |= {"truncated": True, "result_id": run.id, "next": where}
        meta |= {name: value for name, value in (("total", cut.total), ("shape", cut.shape)) if value is not None}
    return Result(status=result.status, data=cut.data, meta=meta)


async def _run(asked: Asked) -> Run:
    if not asked.era.has_extension(EXTENSION):
        needed: Json = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise RpcError(MISSING_CAPABILITY, f"Declare the extension {EXTENSION} to use tasks.", needed)
    task = asked.params.get("taskId")
    if not isinstance(task, str):
        raise RpcError(INVALID_PARAMS, "`taskId` must be a string.")
    try:
        return await asked.ours.runs.find(asked.who, task)
    except Refusal as refusal:
        raise RpcError.of(refusal, INVALID_PARAMS) from None


def _shown(asked: Asked, run: Run) -> Json:
    settings = asked.ours.settings
    changed = run.finished_at if run.finished_at is not None else int(asked.ours.clock() * 1000)
    shown: Json = {
        "taskId": run.id,
        "status": _status(run),
        "createdAt": iso(run.started_at / 1000),
        "lastUpdatedAt": iso(changed / 1000),
        "ttlMs": int(settings.retention * 1000),
        "pollIntervalMs": _POLL,
    }
    if run.state == "awaiting_approval":
        page = approval_page(asked.ours.public_url, run.id)
        message = f"A person has to approve {run.integration}.{run.action} at {page}."
        shown["statusMessage"] = message
        if asked.era.opens_pages:
            elicit = {"method": "elicitation/create", "params": {"mode": "url", "message": message, "url": page}}
            shown |= {"status": "input_required", "inputRequests": {_APPROVE: elicit}}
    elif not run.is_over and run.progress is not None:
        shown["statusMessage"] = f"{run.progress} % done."
    return shown


def _status(run: Run) -> str:
    if not run.is_over:
        return "working"
    # A call that failed is one that ended: only what the protocol itself could not do would be `failed`.
    return "cancelled" if run.state == "cancelled" else "completed"
