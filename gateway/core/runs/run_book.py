"""Runs as the API shows them: listed, looked up, waited for, stopped, done again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from gateway.core.calls.kept import KeptAnswers
from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.errors import CODES, Refusal
from gateway.core.events import Event
from gateway.core.run import Run, RunQueue, RunStore
from gateway.core.tenants.access import check_action, check_level, check_scope
from gateway.core.tenants.keys import Principal
from gateway.core.times import iso

#: Another replica may end a run: its row is looked at again this often, seconds.
_LOOK_AGAIN = 0.5
#: What a run is called that waits for the upstream's own work.
_SHOWN = {"polling": "running"}


class RunBook:
    """Reads runs, and changes what may be changed of them from outside."""

    def __init__(
        self,
        runs: RunStore,
        queue: RunQueue,
        kept: KeptAnswers,
        changes: Changes,
        catalogs: Catalogs,
        *,
        public_url: str,
        clock: Callable[[], float],
    ) -> None:
        self._runs = runs
        self._queue = queue
        self._kept = kept
        self._changes = changes
        self._catalogs = catalogs
        self._public_url = public_url
        self._clock = clock

    async def list(self, principal: Principal, *, limit: int, cursor: str | None) -> dict[str, Any]:
        """Newest first, without results; what the key's grant leaves out is not in it."""
        found, following = await self._runs.list(principal.org, mode=principal.mode, limit=limit, cursor=cursor)
        shown: dict[str, Any] = {"runs": [self._shown(run) for run in found if _is_visible(principal, run)]}
        return shown if following is None else {**shown, "next_cursor": following}

    async def find(self, principal: Principal, run_id: str, *, wait: float = 0.0) -> Run:
        """The run; with `wait` (seconds) once it is over, or after that. Raises `not_found`."""
        run = await self._visible(principal, run_id)
        if not run.is_over and wait > 0:
            run = await self.until_over(run, wait)
        return run

    async def shown(self, run: Run) -> bytes:
        """A run with its result, as JSON: the data's bytes are not re-encoded."""
        about = orjson.dumps(self._shown(run))
        result = await self._kept.find(run.org, run.id) if run.kept is not None and run.is_over else None
        if result is None:
            return about[:-1] + b',"result":null}'
        return about[:-1] + b',"result":' + result.envelope() + b"}"

    def poll_url(self, run_id: str) -> str:
        """Where a run is looked up."""
        return f"{self._public_url}/v1/runs/{run_id}"

    async def until_over(self, run: Run, seconds: float) -> Run:
        """The run as soon as it is over, or as it is after that many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        with self._changes.watch(run.id) as changed:
            while True:
                found = await self._runs.find(run.org, run.id) or run
                left = until - loop.time()
                if found.is_over or left <= 0:
                    return found
                try:
                    await asyncio.wait_for(changed.wait(), min(left, _LOOK_AGAIN))
                except TimeoutError:
                    continue
                changed.clear()

    async def cancel(self, principal: Principal, run_id: str) -> Run:
        """Stops a run: at once where nobody carries it out, else as soon as whoever does looks.

        Raises `conflict` for one that is over.
        """
        run = await self._visible(principal, run_id)
        if run.is_over:
            raise Refusal("conflict", f"The run is {run.state} already.")
        now = self._clock()
        ended = replace(run, state="cancelled", outcome=run.outcome or "not_sent", finished_at=int(now * 1000))
        if await self._queue.cancel(run.org, run.id, ended, [ended_event(ended, now)]):
            self._changes.tell(run.id)
            return ended
        if not await self._queue.stop(run.org, run.id):
            raise Refusal("conflict", "The run is over already.")
        self._changes.tell(f"stop {run.id}")
        return await self._runs.find(run.org, run.id) or run

    async def again(self, principal: Principal, run_id: str, *, is_sure: bool) -> tuple[Run, bytes]:
        """The run, and what was asked: to be done once more.

        Raises `conflict` where that is not kept, the run goes on, or nobody knows whether it was done and it is
        not safe to do twice; `is_sure` is the caller's word for the last.
        """
        run = await self._visible(principal, run_id)
        integration, skill = self._catalogs.find(run.integration, run.action)
        check_scope(principal, integration.slug)
        check_action(principal, skill)
        if not run.is_over:
            raise Refusal("conflict", f"The run is {_SHOWN.get(run.state, run.state)}; only one that is over is done again.")
        if run.outcome == "unknown" and not skill.idempotent and not is_sure:
            raise Refusal(
                "conflict",
                "Nobody knows whether it was done, and doing it twice may do harm.",
                hint='Look at the upstream first; then send {"even_if_unknown": true}.',
                retryable=False,
            )
        request = await self._queue.request_of(run.org, run.id)
        if request is None:
            raise Refusal("conflict", "What was asked is not kept of this run. Send the call again.")
        return run, request

    async def _visible(self, principal: Principal, run_id: str) -> Run:
        run = await self._runs.find(principal.org, run_id)
        if run is None or run.mode != principal.mode:
            raise Refusal("not_found", "Run not found.")
        check_scope(principal, run.integration)
        if not _is_visible(principal, run):
            raise Refusal("forbidden", "This key is not for this run.")
        check_level(principal, "read_only")
        return run

    def _shown(self, run: Run) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "run_id": run.id,
            "status": _SHOWN.get(run.state, run.state),
            "integration": run.integration,
            "action": run.action,
            "user": run.user,
            "connection": run.connection,
            "upstream_status": run.status,
            "progress": run.progress,
            "error": run.refusal or _refusal_of(run),
            "outcome": run.outcome,
            "credits_used": run.credits_used,
            "created_at": iso(run.started_at / 1000),
            "finished_at": None if run.finished_at is None else iso(run.finished_at / 1000),
            "poll_url": self.poll_url(run.id),
        }
        if run.state == "awaiting_approval":
            shown["action_url"] = approval_page(self._public_url, run.id)
        return shown


def approval_page(public_url: str, run_id: str) -> str:
    """Where a person decides whether a run goes on."""
    return f"{public_url}/approvals/{run_id}"


def ended_event(run: Run, now: float) -> Event:
    """What tells of the end of a run that somebody may wait for."""
    told = {"completed": "run.completed", "cancelled": "run.cancelled"}.get(run.state, "run.failed")
    about: dict[str, Any] = {
        "run_id": run.id,
        "integration": run.integration,
        "action": run.action,
        "user": run.user,
        "status": run.state,
        "upstream_status": run.status,
        "error": run.error,
    }
    if run.connection is not None:
        about["connection"] = run.connection
    return Event.now(run.org, told, now, mode="test" if run.mode == "test" else "live", **about)


def _is_visible(principal: Principal, run: Run) -> bool:
    grant = principal.grant
    return (
        grant.allows_integration(run.integration)
        and grant.allows_user(run.user)
        and (run.connection is None or grant.allows_connection(run.connection))
    )


def _refusal_of(run: Run) -> dict[str, Any] | None:
    """A plain call's refusal was told to its caller; its record has the code alone."""
    return None if run.error is None else {"error": run.error, "message": CODES[run.error].meaning, "run_id": run.id}
