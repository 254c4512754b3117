"""A call under an Idempotency-Key is carried out once: whoever sends it again gets the answer of the first time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.calls.asked import fingerprint_of, scope_of, stored
from gateway.core.calls.call import Plan
from gateway.core.calls.carrying import Carrier, record_of
from gateway.core.calls.kept import KeptAnswers
from gateway.core.changes import Changes
from gateway.core.errors import Refusal
from gateway.core.requests.answers import Result
from gateway.core.run import Leased, Run, RunQueue
from gateway.core.runs.run_book import RunBook, ended_event

#: Seconds by which the lease of a call outlasts what its upstream may take.
LEASE_GRACE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """No answer yet: a run to poll."""

    run_id: str
    state: str


class LeasedRecord:
    """A run that others ask for: its answer is kept before it is called over."""

    def __init__(
        self,
        leased: Leased,
        queue: RunQueue,
        kept: KeptAnswers,
        changes: Changes,
        *,
        tells: bool,
        clock: Callable[[], float],
    ) -> None:
        self._leased = leased
        self._queue = queue
        self._kept = kept
        self._changes = changes
        self._tells = tells
        self._clock = clock

    async def begin(self, plan: Plan) -> None:
        """Raises `Stopped` where the run is no longer ours, or somebody has cancelled it."""
        if not await self._queue.mark_sent(self._leased):
            raise Stopped

    async def answered(self, plan: Plan, result: Result, run: Run) -> None:
        if not await self._queue.is_held(self._leased):
            # Another has taken it over: its answer is not to be replaced by this one.
            return
        size = await self._kept.keep(run.org, run.id, result)
        await self.end(replace(run, kept=size))

    async def refused(self, plan: Plan, refusal: Refusal, run: Run) -> None:
        # What was not sent, or may be done again, may be sent again under the same key.
        free = run.outcome == "not_sent" or (run.outcome == "unknown" and plan.skill.idempotent)
        await self.end(replace(run, refusal=refusal.body()), release_key=free)

    async def broken_off(self, plan: Plan, run: Run) -> None:
        await self.end(replace(run, refusal=lost(run)))

    async def end(self, run: Run, *, release_key: bool = False) -> None:
        events = [ended_event(run, self._clock())] if self._tells else []
        if await self._queue.finish(self._leased, run, events, release_key=release_key):
            self._changes.tell(run.id)


class Stopped(Exception):
    """The run is not to be carried out any further."""


class Once:
    """Claims keys, and answers whoever comes second."""

    def __init__(
        self,
        *,
        carrier: Carrier,
        queue: RunQueue,
        kept: KeptAnswers,
        book: RunBook,
        changes: Changes,
        owner_id: str,
        ceiling: float,
        clock: Callable[[], float],
    ) -> None:
        self._carrier = carrier
        self._queue = queue
        self._kept = kept
        self._book = book
        self._changes = changes
        self._owner_id = owner_id
        self._ceiling = ceiling
        self._clock = clock
        #: Keys whose claim is on its way to the database, so that those at once do not all try.
        self._claiming: dict[tuple[str, str], asyncio.Lock] = {}

    async def answer(self, plan: Plan) -> Result:
        """The answer, of now or of the first time. Raises `idempotency_conflict` for another body."""
        org, scope = plan.call.principal.org, scope_of(plan)
        lock = self._claiming.setdefault((org, scope), asyncio.Lock())
        try:
            async with lock:
                older = await self._queue.claim(
                    record_of(plan),
                    idempotency=scope,
                    fingerprint=fingerprint_of(plan),
                    owner=self._owner_id,
                    seconds=plan.request.timeout + LEASE_GRACE,
                    is_safe=plan.skill.idempotent,
                    request=stored(plan),
                )
        finally:
            if not lock.locked():
                self._claiming.pop((org, scope), None)
        if older is not None:
            return await self.replay(plan, older)
        leased = Leased(run=record_of(plan), owner=self._owner_id, attempt=1)
        record = LeasedRecord(leased, self._queue, self._kept, self._changes, tells=False, clock=self._clock)
        return await self._carrier.carry(plan, record)

    async def replay(self, plan: Plan, older: Run, *, wait: float | None = None) -> Result:
        """The answer of the run that the key was used for, waited for where it goes on."""
        check_same_body(plan, older)
        run = await self._book.until_over(older, self._ceiling if wait is None else wait)
        if not run.is_over:
            raise too_long(run.id, self._book.poll_url(run.id))
        if run.refusal is not None:
            raise Refusal.of(run.refusal)
        result = await self._kept.find(run.org, run.id)
        if result is None:
            raise Refusal(
                "conflict",
                f"The call under this Idempotency-Key is over ({run.state}), and its answer is no longer kept.",
                run_id=run.id,
                retryable=False,
            )
        return Result(status=result.status, data=result.data, meta={**result.meta, "replayed": True})


def check_same_body(plan: Plan, older: Run) -> None:
    """Raises `idempotency_conflict` where the key of the older run was used for something else."""
    if older.fingerprint != fingerprint_of(plan):
        raise Refusal(
            "idempotency_conflict",
            "This Idempotency-Key was used for another body. Take a new key for a new call.",
            run_id=older.id,
            retryable=False,
        )


def lost(run: Run) -> Mapping[str, Any]:
    """The refusal of a run of which nobody will ever know more."""
    return Refusal(
        "upstream_timeout",
        "The process that carried it out has ended. Whether the upstream did it is not known.",
        outcome="unknown",
        retryable=False,
        run_id=run.id,
    ).body()


def too_long(run_id: str, poll_url: str) -> Refusal:
    """The caller has waited as long as it may; the call goes on as a run."""
    return Refusal(
        "sync_timeout_upgrade_async",
        "The upstream takes longer than a caller waits. The call goes on; poll the run.",
        run_id=run_id,
        outcome="unknown",
        retryable=False,
        poll_url=poll_url,
    )
