"""Calls that are carried out later: put in line, taken by whichever process has room, followed to their end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from gateway.core.calls.asked import digest_of, fingerprint_of, is_held, restored, scope_of, stored
from gateway.core.calls.call import Call, Plan
from gateway.core.calls.carrying import Carrier, record_of
from gateway.core.calls.kept import AnswerCache, KeptAnswers
from gateway.core.calls.preparation import Preparation
from gateway.core.changes import Changes
from gateway.core.errors import Refusal
from gateway.core.requests.answers import Result
from gateway.core.run import Leased, Run, RunQueue
from gateway.core.runs.following import Following, Step
from gateway.core.runs.once import Accepted, LeasedRecord, Once, Stopped, check_same_body, lost
from gateway.core.runs.run_book import RunBook
from gateway.core.tenants.keys import Principal

log = logging.getLogger("skillway.runs")

#: Seconds for which a worker has a run to itself; it prolongs that while it works.
LEASE = 15.0
#: Seconds between two looks for runs that another process put in line.
_LOOK_AGAIN = 1.0
#: How often a run is taken up before it counts as one that brings its worker down.
MOST_ATTEMPTS = 5
#: Refusals after which a run goes back in line: nothing was sent, and that may change.
_LATER = frozenset({"rate_limited", "upstream_rate_limited", "upstream_unreachable", "storage_unavailable"})
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 300.0
#: Answers after which one that may be repeated goes back in line, without its caller having to ask again.
_NOT_NOW = frozenset({429, 503})
#: Runs of which a worker need not fear that they take long go first.
_SHORT, _LONG = 0, 1
_LONG_TIMEOUT = 60.0

#: The principal of an org's key, by its id.
PrincipalOf = Callable[[str, str], Awaitable[Principal]]


class Later:
    """Puts calls in line, and waits for them where the caller does."""

    def __init__(
        self,
        *,
        queue: RunQueue,
        once: Once,
        book: RunBook,
        kept: KeptAnswers,
        changes: Changes,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._once = once
        self._book = book
        self._kept = kept
        self._changes = changes
        self._clock = clock

    async def add(self, plan: Plan) -> Accepted | Result:
        """Durable when it returns. With `wait` it gives back the answer if that comes in time."""
        call, now = plan.call, int(self._clock() * 1000)
        run = record_of(plan, state="queued")
        keyed = call.idempotency_key is not None
        older = await self._queue.add(
            run,
            request=stored(plan),
            is_safe=plan.skill.idempotent,
            priority=priority_of(plan),
            due_at=now,
            idempotency=scope_of(plan) if keyed else None,
            fingerprint=fingerprint_of(plan) if keyed else None,
            callback_url=call.callback_url,
        )
        if older is not None:
            return await self.decided(plan, older)
        self._changes.tell("queue")
        if call.wait:
            return await self._waited(run, call.wait)
        return Accepted(run_id=run.id, state=run.state)

    async def decided(self, plan: Plan, older: Run) -> Accepted | Result:
        """What became of the run that an Idempotency-Key stands for."""
        check_same_body(plan, older)
        if plan.call.is_async and plan.call.wait is None and not older.is_over:
            return Accepted(run_id=older.id, state=older.state)
        try:
            return await self._once.replay(plan, older, wait=plan.call.wait)
        except Refusal as refusal:
            if refusal.code != "sync_timeout_upgrade_async" or plan.call.wait is None:
                raise
            return Accepted(run_id=older.id, state=older.state)

    async def _waited(self, run: Run, seconds: float) -> Accepted | Result:
        found = await self._book.until_over(run, seconds)
        if not found.is_over:
            return Accepted(run_id=found.id, state=found.state)
        if found.refusal is not None:
            raise Refusal.of(found.refusal)
        result = await self._kept.find(found.org, found.id)
        if result is None:
            raise Refusal("conflict", f"The run is {found.state}.", run_id=found.id, retryable=False)
        return result


class RunWorker:
    """Takes runs that are due and carries them out, some at once, in every process that serves."""

    def __init__(
        self,
        *,
        queue: RunQueue,
        preparation: Preparation,
        carrier: Carrier,
        following: Following,
        kept: KeptAnswers,
        cache: AnswerCache,
        changes: Changes,
        principal_of: PrincipalOf,
        owner_id: str,
        at_once: int,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._preparation = preparation
        self._carrier = carrier
        self._following = following
        self._kept = kept
        self._cache = cache
        self._changes = changes
        self._principal_of = principal_of
        self._owner_id = owner_id
        self._room = asyncio.Semaphore(at_once)
        self._clock = clock
        self._chance = chance
        self._tasks: set[asyncio.Task[None]] = set()
        #: Runs that somebody wants to end, while they do.
        self._stopping: set[str] = set()
        self._loop: asyncio.Task[None] | None = None
        self._after = ""

    def start(self) -> None:
        self._loop = asyncio.create_task(self._take_up(), name="take up runs")

    def stop_taking(self) -> None:
        """Takes up nothing more; what is in line is another process's."""
        if self._loop is not None:
            self._loop.cancel()

    async def close(self, seconds: float) -> None:
        """Gives what is under way so long to end."""
        self.stop_taking()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*filter(None, [self._loop]), *self._tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Decides about runs whose process has gone: in line again, or over, for whoever waits to know."""
        for leased, was_sent, is_safe, is_queued in await self._queue.lapsed(100, living=self._owner_id):
            run, now = leased.run, int(self._clock() * 1000)
            record = self._record(leased)
            if run.state == "polling":
                await self._queue.postpone(leased, state="polling", due_at=now, poll=leased.poll, progress=run.progress)
            elif not is_queued or (was_sent and not is_safe):
                # Its caller is gone, or it may have been done: nobody will ever know more.
                ended = replace(run, state="unknown", outcome="unknown", finished_at=now, refusal=lost(run))
                await self._cache.empty(ended)
                await record.end(ended, release_key=is_safe and not is_queued)
            elif leased.attempt >= MOST_ATTEMPTS:
                log.error("%s given up: its worker has gone %d times", run.id, leased.attempt)
                await record.end(
                    replace(run, state="failed", outcome="not_sent", finished_at=now, refusal=_given_up(run))
                )
            else:
                await self._queue.postpone(leased, state="queued", due_at=now)
            self._changes.tell("queue")

    async def _take_up(self) -> None:
        with self._changes.watch("queue") as added:
            while True:
                await self._room.acquire()
                leased = None
                try:
                    leased = await self._queue.take(self._owner_id, LEASE, after=self._after)
                except Refusal as refusal:
                    log.warning("the queue cannot be read: %s", refusal.code)
                finally:
                    if leased is None:
                        self._room.release()
                if leased is None:
                    with suppress(TimeoutError):
                        # Several processes shall not all look at the same moment.
                        await asyncio.wait_for(added.wait(), _LOOK_AGAIN * (0.5 + self._chance() / 2))
                    added.clear()
                    continue
                self._after = leased.run.org
                task = asyncio.create_task(self._with_lease(leased), name=leased.run.id)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _with_lease(self, leased: Leased) -> None:
        work = asyncio.create_task(self._carry(leased))
        try:
            with self._changes.watch(f"stop {leased.run.id}") as stopped:
                while not work.done():
                    waiting = asyncio.create_task(stopped.wait())
                    await asyncio.wait({work, waiting}, timeout=LEASE / 3, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                    if not work.done() and not await self._prolonged(leased):
                        self._stopping.add(leased.run.id)
                        work.cancel()
                        await asyncio.wait({work})
                        await self._stopped(leased)
                        return
            await work
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work})
            raise
        except Exception:
            log.exception("%s broke off", leased.run.id)
        finally:
            self._stopping.discard(leased.run.id)
            self._room.release()

    async def _prolonged(self, leased: Leased) -> bool:
        try:
            return await self._queue.prolong(leased, LEASE)
        except Refusal:
            # The database is away for a moment; the lease says how long that may be.
            return True

    async def _stopped(self, leased: Leased) -> None:
        """Somebody wants it to end, or it is another's by now: then this changes nothing."""
        now = int(self._clock() * 1000)
        run = replace(leased.run, state="cancelled", outcome="unknown", finished_at=now)
        await self._record(leased).end(run)

    async def _carry(self, leased: Leased) -> None:
        run = leased.run
        try:
            principal = await self._principal_of(run.org, run.key)
            call = restored(leased.request, principal, run.integration, run.action, run.user)
            if run.state == "polling":
                await self._follow(leased, await self._following.look(leased, call))
            else:
                await self._begin(leased, call)
        except Stopped:
            await self._stopped(leased)
        except Refusal as refusal:
            await self._refused(leased, refusal)

    async def _begin(self, leased: Leased, call: Call) -> None:
        plan = await self._preparation.plan(call, run_id=leased.run.id)
        if is_held(leased.request) and digest_of(leased.request) != plan.integration.digest:
            raise Refusal("conflict", "The integration's definition has changed since a person approved this call.")
        record = _QueuedRecord(
            self._record(leased),
            leased,
            self._following,
            self._follow,
            self._not_now,
            lambda: leased.run.id in self._stopping,
        )
        try:
            await self._carrier.carry(plan, record)
        except Refusal:
            if not record.is_done:
                raise

    async def _follow(self, leased: Leased, step: Step) -> None:
        if step.due_at is not None:
            await self._queue.postpone(
                leased, state="polling", due_at=step.due_at, poll=step.poll, progress=step.progress, run=step.run
            )
            self._changes.tell(leased.run.id)
            return
        assert step.run is not None
        ended = step.run
        if not await self._queue.is_held(leased):
            return
        if step.result is not None:
            ended = replace(ended, kept=await self._kept.keep(ended.org, ended.id, step.result))
        # Once more, after what was emptied on acceptance: it may have been read while the upstream worked.
        await self._cache.empty(ended)
        await self._record(leased).end(ended)

    async def _refused(self, leased: Leased, refusal: Refusal) -> None:
        """Before the upstream was asked: later once more, or over."""
        run, now = leased.run, self._clock()
        if refusal.code in _LATER and refusal.outcome in (None, "not_sent") and leased.attempt <= MOST_ATTEMPTS:
            await self._back_in_line(leased, (refusal.retry_after_ms or 0) / 1000)
            return
        ended = replace(
            run,
            state="failed",
            error=refusal.code,
            outcome="not_sent",
            finished_at=int(now * 1000),
            refusal={**refusal.body(), "run_id": run.id},
        )
        await self._record(leased).end(ended, release_key=True)

    async def _not_now(self, leased: Leased, result: Result) -> None:
        retry = str(result.meta.get("upstream", {}).get("retry_after", ""))
        await self._back_in_line(leased, float(retry) if retry.isascii() and retry.isdigit() else 0.0)

    async def _back_in_line(self, leased: Leased, pause: float) -> None:
        """Due again after the pause that was asked for, or a longer one each time; not all at the same moment."""
        pause = min(pause or _FIRST_PAUSE * 2 ** (leased.attempt - 1), _LONGEST_PAUSE)
        due_at = int((self._clock() + pause * (1 + 0.2 * self._chance())) * 1000)
        await self._queue.postpone(leased, state="queued", due_at=due_at)

    def _record(self, leased: Leased) -> LeasedRecord:
        return LeasedRecord(leased, self._queue, self._kept, self._changes, tells=True, clock=self._clock)


class _QueuedRecord:
    """The record of a run of the queue: an answer may be only the beginning of the upstream's own work."""

    def __init__(
        self,
        record: LeasedRecord,
        leased: Leased,
        following: Following,
        follow: Callable[[Leased, Step], Awaitable[None]],
        not_now: Callable[[Leased, Result], Awaitable[None]],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._record = record
        self._leased = leased
        self._following = following
        self._follow = follow
        self._not_now = not_now
        self._is_stopped = is_stopped
        self.is_done = False

    async def begin(self, plan: Plan) -> None:
        await self._record.begin(plan)

    async def answered(self, plan: Plan, result: Result, run: Run) -> None:
        step = self._following.first(plan, result, run)
        if result.status in _NOT_NOW and plan.skill.idempotent and self._leased.attempt <= MOST_ATTEMPTS:
            await self._not_now(self._leased, result)
        elif step is None:
            await self._record.answered(plan, result, run)
        else:
            await self._follow(self._leased, step)

    async def refused(self, plan: Plan, refusal: Refusal, run: Run) -> None:
        if run.outcome == "not_sent":
            # The worker decides whether it is tried again.
            return
        self.is_done = True
        await self._record.refused(plan, refusal, run)

    async def broken_off(self, plan: Plan, run: Run) -> None:
        # Stopped runs are ended by the worker; one that is safe to repeat is taken over by another.
        if not plan.skill.idempotent and not self._is_stopped():
            await self._record.broken_off(plan, run)


def priority_of(plan: Plan) -> int:
    """How soon a worker takes it up, beside others of its org: short work goes first."""
    return _LONG if plan.skill.poll is not None or plan.request.timeout > _LONG_TIMEOUT else _SHORT


def _given_up(run: Run) -> dict[str, object]:
    return Refusal(
        "internal", f"Given up: the process that carried it out ended {MOST_ATTEMPTS} times.", run_id=run.id
    ).body()
