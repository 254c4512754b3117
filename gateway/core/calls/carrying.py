"""Carries a plan out: admitted, begun, asked, recorded. The same way for calls that wait for it and for runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from gateway.core.calls.admission import Admission, Admitted
from gateway.core.calls.budgets import Budgets
from gateway.core.calls.call import Plan
from gateway.core.calls.escape_hatch import hint_of
from gateway.core.calls.fetching import Fetching
from gateway.core.calls.kept import AnswerCache
from gateway.core.calls.paging import Paging
from gateway.core.calls.preparation import Preparation
from gateway.core.calls.repeats import Repeats
from gateway.core.calls.sandbox import Sandbox
from gateway.core.connections.credentials import Credentials, renews
from gateway.core.deprecations import deprecation_hint
from gateway.core.errors import Outcome, Refusal
from gateway.core.requests import answers
from gateway.core.requests.answers import Attachment, Result
from gateway.core.requests.request import UpstreamAnswer, UpstreamFailed, UpstreamRequest, UpstreamStream
from gateway.core.room import Holding
from gateway.core.run import Run, RunStore

log = logging.getLogger("skillway.calls")

Answer = TypeVar("Answer", UpstreamAnswer, UpstreamStream)


class Record(Protocol):
    """What is written of a call while it is carried out."""

    async def begin(self, plan: Plan) -> None:
        """What must not be forgotten is durable when it returns: the upstream is asked next."""
        ...

    async def answered(self, plan: Plan, result: Result, run: Run) -> None: ...

    async def refused(self, plan: Plan, refusal: Refusal, run: Run) -> None:
        """There is no answer; the run's outcome says whether anything was sent."""
        ...

    async def broken_off(self, plan: Plan, run: Run) -> None:
        """The time to drain is over, or somebody stopped it: nobody will know what became of it."""
        ...


class PlainRecord:
    """A call whose caller waits for it: one row, written with others."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    async def begin(self, plan: Plan) -> None:
        if plan.skill.effect != "read" and plan.example is None:
            await self._runs.begin(record_of(plan))

    async def answered(self, plan: Plan, result: Result, run: Run) -> None:
        self._runs.record(run)

    async def refused(self, plan: Plan, refusal: Refusal, run: Run) -> None:
        # What the limits held back was no call.
        if refusal.reached or (refusal.code.startswith("upstream_") and refusal.run_id is not None):
            self._runs.record(run)

    async def broken_off(self, plan: Plan, run: Run) -> None:
        self._runs.record(run)


class Carrier:
    """Asks upstreams, in turn and within limits."""

    def __init__(
        self,
        *,
        preparation: Preparation,
        credentials: Credentials,
        fetching: Fetching,
        paging: Paging,
        admission: Admission,
        budgets: Budgets,
        repeats: Repeats,
        cache: AnswerCache,
        sandbox: Sandbox,
        clock: Callable[[], float],
    ) -> None:
        self._preparation = preparation
        self._sandbox = sandbox
        self._credentials = credentials
        self._fetching = fetching
        self._paging = paging
        self._admission = admission
        self._budgets = budgets
        self._repeats = repeats
        self._cache = cache
        self._clock = clock

    async def carry(self, plan: Plan, record: Record) -> Result:
        """What the upstream answered, whatever its status. Raises `Refusal` where there is no answer to give."""
        with Holding():
            return await self._carried(plan, record)

    async def _carried(self, plan: Plan, record: Record) -> Result:
        try:
            plan, answer = await self._asked(plan, record, partial(self._fetching.send, plan))
        except Refusal as refusal:
            await self._tell_refused(plan, record, refusal)
            raise
        result = await self._result(plan, answer)
        if plan.call.pages is not None:
            result = await self._paging.joined(plan, result, self.ask)
        run = self.ended(plan, status=answer.status)
        # Before anybody is told of the end: whoever reads then reads what has changed.
        await self._cache.empty(run)
        await record.answered(plan, result, run)
        await self._cache.offer(plan, result, run)
        return result

    async def stream(self, plan: Plan, record: Record) -> tuple[Plan, UpstreamStream]:
        """The same with the body still to come."""
        try:
            plan, stream = await self._asked(plan, record, self._fetching.stream)
        except Refusal as refusal:
            await self._tell_refused(plan, record, refusal)
            raise
        result, run = Result(status=stream.status, data=b""), self.ended(plan, status=stream.status)
        await self._cache.empty(run)
        await record.answered(plan, result, run)
        return plan, stream

    async def ask(self, plan: Plan) -> tuple[Plan, Result]:
        """Asks beside a run: no call of the org's, and no record; the upstream's pace holds.

        The plan is as it was carried out: with the credential that is good from now on.
        """
        turn = await self._budgets.turn(plan)
        try:
            plan, answer = await self._ask(plan, None, partial(self._fetching.send, plan))
        finally:
            if turn is not None:
                turn.release()
        return plan, await self._result(plan, answer)

    def ended(self, plan: Plan, *, status: int | None, outcome: Outcome | None = None) -> Run:
        """The record of a call that was answered, by its upstream unless another outcome is given."""
        return record_of(
            plan,
            state="completed",
            status=status,
            outcome=outcome or ("answered" if plan.example is None else "not_sent"),
            finished_at=int(self._clock() * 1000),
        )

    async def _asked(
        self, plan: Plan, record: Record, send: Callable[[UpstreamRequest], Awaitable[Answer]]
    ) -> tuple[Plan, Answer]:
        async with self._admission.of(plan) as admitted:
            await record.begin(plan)
            try:
                return await self._ask(plan, admitted, send)
            except asyncio.CancelledError:
                unknown = record_of(plan, state="unknown", outcome="unknown", finished_at=int(self._clock() * 1000))
                await asyncio.shield(record.broken_off(plan, unknown))
                raise

    async def _ask(
        self, plan: Plan, admitted: Admitted | None, send: Callable[[UpstreamRequest], Awaitable[Answer]]
    ) -> tuple[Plan, Answer]:
        """Sends the request; gives back the plan as it was carried out.

        A 401 where the credential can be renewed means that nothing was done: once more, with the new one.
        """
        if plan.example is not None:
            return plan, await self._sandbox.answer(plan)  # type: ignore[return-value]
        admitted = admitted or self._admission.of(plan)
        admitted.sent = True
        try:
            answer = await self._repeats.send(plan, send)
            self._budgets.observe(plan, answer.status, answer.headers)
            if answer.status != 401 or plan.held is None or not renews(plan.integration, plan.held):
                return plan, answer
            try:
                renewed = await self._credentials.renewed(plan.integration, plan.held)
            except BaseException as error:
                _let_go(answer)
                if isinstance(error, Refusal):
                    error.reached, error.upstream_status = True, error.upstream_status or 401
                raise
            if renewed is None:
                return plan, answer
            _let_go(answer)
            plan = self._preparation.rebuilt(replace(plan, held=renewed))
            answer = await send(plan.request)
            if answer.status == 401:
                self._credentials.refused(renewed)
            return plan, answer
        except UpstreamFailed as failed:
            admitted.sent = failed.sent
            raise _failure(plan, failed) from failed

    async def _result(self, plan: Plan, answer: UpstreamAnswer) -> Result:
        """The answer as it fits into an envelope."""
        hint = _hint(plan)
        if plan.example is not None:
            # An example shows the envelope's data as it is, files too.
            meta = {**hint, **answers.told_of(plan.skill, answer), "run_id": plan.run_id, "sandbox": True}
            return Result(status=answer.status, data=answer.body or b"null", meta=meta)
        fit = partial(answers.fit, plan.skill, answer, plan.request.secrets, inline_limit=self._fetching.inline)
        # Other calls must not wait for a second because this one got sixty megabytes of text.
        data, meta = fit() if len(answer.body) <= answers.PIECE else await asyncio.to_thread(fit)
        if isinstance(data, Attachment):
            data = await self._fetching.keep(plan, data)
        meta = {**hint, **meta, "run_id": plan.run_id}
        if plan.held is not None:
            meta["account"] = plan.held.connection.account or plan.held.connection.label or plan.held.connection.id
        return Result(status=answer.status, data=data, meta=meta)

    async def _tell_refused(self, plan: Plan, record: Record, refusal: Refusal) -> None:
        run = self._refused(plan, refusal)
        await self._cache.empty(run)
        await record.refused(plan, refusal, run)

    def _refused(self, plan: Plan, refusal: Refusal) -> Run:
        outcome: Outcome = refusal.outcome or ("answered" if refusal.reached else "not_sent")
        return record_of(
            plan,
            state="unknown" if outcome == "unknown" and not plan.skill.idempotent else "failed",
            status=refusal.upstream_status,
            error=refusal.code,
            outcome=outcome,
            finished_at=int(self._clock() * 1000),
        )


def record_of(
    plan: Plan,
    *,
    state: str = "running",
    status: int | None = None,
    error: str | None = None,
    outcome: Outcome | None = None,
    finished_at: int | None = None,
) -> Run:
    """The record of a call: one that goes on, unless it is told how it ended."""
    principal = plan.call.principal
    return Run(
        id=plan.run_id,
        org=principal.org,
        key=principal.actor.id or "",
        user=plan.user,
        integration=plan.integration.slug,
        action=plan.skill.name,
        effect=plan.skill.effect,
        mode=principal.mode,
        state=state,
        started_at=plan.started_at,
        finished_at=finished_at,
        status=status,
        error=error,
        outcome=outcome,
        connection=plan.connection,
        credits=plan.skill.cost if plan.example is None else None,
    )


def _hint(plan: Plan) -> dict[str, str]:
    """What a caller is told about the action itself, as a member of `meta`."""
    if plan.skill.is_hatch:
        said = hint_of(plan.call.principal, plan.integration, plan.skill)
    else:
        said = deprecation_hint(plan.skill.deprecated) if plan.skill.deprecated is not None else None
    return {} if said is None else {"hint": said}


def _failure(plan: Plan, failed: UpstreamFailed) -> Refusal:
    """No answer: was it not sent, or does nobody know?"""
    outcome: Outcome = "answered" if failed.status is not None else "unknown" if failed.sent else "not_sent"
    log.warning("%s %s: %s (%s)", plan.run_id, plan.skill.id, failed.code, failed.cause)
    return Refusal(
        failed.code,
        _FAILED[failed.code].format(name=plan.integration.name, seconds=plan.request.timeout),
        outcome=outcome,
        retryable=outcome == "not_sent" or plan.skill.idempotent,
        run_id=plan.run_id,
        upstream_status=failed.status,
    )


def _let_go(answer: Any) -> None:
    if isinstance(answer, UpstreamStream):
        answer.close()


_FAILED = {
    "upstream_unreachable": "{name} could not be reached.",
    "upstream_timeout": "{name} did not answer within {seconds:g} s.",
    "upstream_invalid_response": "{name} answered something that is not HTTP.",
    "response_too_large": "{name}'s answer went over the limit.",
}
