"""The path of a call: checked, known already, asked, fit for whoever asked. Who reads `Gateway.call` knows the program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from gateway.core.calls.asked import restored, stored
from gateway.core.calls.call import Call, Plan
from gateway.core.calls.carrying import Carrier, PlainRecord, Record, record_of
from gateway.core.calls.kept import AnswerCache, KeptAnswers
from gateway.core.calls.preparation import Preparation
from gateway.core.calls.shaping import Shaping
from gateway.core.changes import Changes
from gateway.core.errors import Refusal
from gateway.core.requests.answers import Result
from gateway.core.requests.redaction import redact_headers, redact_stream, spellings
from gateway.core.requests.request import Headers
from gateway.core.run import Leased, Run, RunQueue, RunStore
from gateway.core.runs.approvals import Approvals
from gateway.core.runs.later import Later
from gateway.core.runs.once import LEASE_GRACE, Accepted, LeasedRecord, Once, too_long
from gateway.core.runs.run_book import RunBook
from gateway.core.tenants.keys import Principal


@dataclass(slots=True, kw_only=True)
class RawResult:
    """The upstream answered and its body is streamed: read `chunks` once; `close` ends it, read or not."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    close: Callable[[], None]
    run_id: str


class Gateway:
    """Joins what can be called with how we are let in. Surfaces hand it calls and render what comes back."""

    def __init__(
        self,
        *,
        preparation: Preparation,
        approvals: Approvals,
        carrier: Carrier,
        once: Once,
        later: Later,
        cache: AnswerCache,
        shaping: Shaping,
        runs: RunStore,
        queue: RunQueue,
        kept: KeptAnswers,
        book: RunBook,
        changes: Changes,
        ceiling: float,
        owner_id: str,
        clock: Callable[[], float],
    ) -> None:
        self._preparation = preparation
        self._approvals = approvals
        self._carrier = carrier
        self._once = once
        self._later = later
        self._cache = cache
        self._shaping = shaping
        self._runs = runs
        self._queue = queue
        self._kept = kept
        self._book = book
        self._changes = changes
        self._ceiling = ceiling
        self._owner_id = owner_id
        self._clock = clock
        self._plain = PlainRecord(runs)
        #: Calls that may go on although nobody waits for them any more.
        self._going_on: set[asyncio.Task[Result]] = set()

    async def call(self, call: Call) -> Result | Accepted:
        """Makes the call and gives back what the upstream answered, whatever its status, or the run to poll.

        Raises `Refusal` where there is no answer to give.
        """
        plan = await self._preparation.plan(call)
        if (decided := await self._approvals.hold(plan)) is not None:
            answer: Result | Accepted = await self._later.decided(plan, decided)
        elif call.is_async or call.wait is not None:
            answer = await self._later.add(plan)
        elif call.idempotency_key is not None:
            answer = await self._once.answer(plan)
        else:
            answer = await self._cached(plan) or await self._carried(plan)
        return answer if isinstance(answer, Accepted) else await self._shaping.fit(plan, answer)

    async def stream(self, call: Call) -> RawResult:
        """The same call with its body streamed through (`?raw=1`), in flat memory."""
        plan = await self._preparation.plan(call)
        await self._approvals.hold(plan)
        if plan.example is not None:
            return _streamed(await self._carrier.carry(plan, self._plain))
        plan, stream = await self._carrier.stream(plan, self._plain)
        spelled = spellings(plan.request.secrets)
        return RawResult(
            status=stream.status,
            headers=redact_headers(stream.headers, spelled)[0],
            chunks=redact_stream(stream.chunks, spelled),
            close=stream.close,
            run_id=plan.run_id,
        )

    async def again(self, principal: Principal, run_id: str, *, is_sure: bool) -> Accepted:
        """Does once more, as a new run, what an earlier one was asked. Raises `conflict` where that may not be."""
        run, request = await self._book.again(principal, run_id, is_sure=is_sure)
        call = restored(request, principal, run.integration, run.action, run.user)
        plan = await self._preparation.plan(replace(call, is_async=True))
        await self._approvals.hold(plan)
        added = await self._later.add(plan)
        assert isinstance(added, Accepted)
        return added

    async def close(self, seconds: float) -> None:
        """Gives calls that outlasted their callers so long to end; the others end `unknown`."""
        if self._going_on:
            await asyncio.wait(self._going_on, timeout=seconds)
        for task in self._going_on:
            task.cancel()
        await asyncio.gather(*self._going_on, return_exceptions=True)

    async def _cached(self, plan: Plan) -> Result | None:
        result = await self._cache.find(plan)
        if result is not None:
            self._runs.record(self._carrier.ended(plan, status=result.status, outcome="not_sent"))
        return result

    async def _carried(self, plan: Plan) -> Result:
        """The answer, if it comes before the caller has waited as long as it may."""
        if plan.request.timeout <= self._ceiling:
            return await self._carrier.carry(plan, self._plain)
        record = _Promotable(self._plain)
        task = asyncio.create_task(self._carrier.carry(plan, record))
        self._going_on.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._ceiling)
        if done or not await record.become(lambda: self._promoted(plan)):
            return await task
        raise too_long(plan.run_id, self._book.poll_url(plan.run_id))

    async def _promoted(self, plan: Plan) -> LeasedRecord:
        """From now on the call is a run that others may ask for."""
        run = record_of(plan)
        await self._runs.begin(run)
        await self._queue.promote(
            run,
            owner=self._owner_id,
            seconds=plan.request.timeout + LEASE_GRACE,
            is_safe=plan.skill.idempotent,
            request=stored(plan),
        )
        leased = Leased(run=run, owner=self._owner_id, attempt=1)
        return LeasedRecord(leased, self._queue, self._kept, self._changes, tells=True, clock=self._clock)

    def _ended(self, task: asyncio.Task[Result]) -> None:
        self._going_on.discard(task)
        if not task.cancelled():
            task.exception()  # told in its run


class _Promotable:
    """The record of a call that may become a run while it is under way."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._changing = asyncio.Lock()
        self._is_over = False

    async def become(self, promote: Callable[[], Awaitable[Record]]) -> bool:
        """False where the call has ended in the meantime."""
        async with self._changing:
            if not self._is_over:
                self._record = await promote()
            return not self._is_over

    async def begin(self, plan: Plan) -> None:
        await self._record.begin(plan)

    async def answered(self, plan: Plan, result: Result, run: Run) -> None:
        async with self._changing:
            self._is_over = True
            await self._record.answered(plan, result, run)

    async def refused(self, plan: Plan, refusal: Refusal, run: Run) -> None:
        async with self._changing:
            self._is_over = True
            await self._record.refused(plan, refusal, run)

    async def broken_off(self, plan: Plan, run: Run) -> None:
        await self._record.broken_off(plan, run)


def _streamed(result: Result) -> RawResult:
    async def once() -> AsyncIterator[bytes]:
        yield result.data

    return RawResult(
        status=result.status,
        headers=(("Content-Type", "application/json"),),
        chunks=once(),
        close=lambda: None,
        run_id=result.meta["run_id"],
    )
