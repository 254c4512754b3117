"""The path of a call: found, allowed, checked, sent, recorded. Who reads `Gateway.call` knows the program."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import orjson

from gateway.core import answers
from gateway.core.access import Plans, check_action, check_scope
from gateway.core.admission import Admission, Admitted
from gateway.core.answers import Result
from gateway.core.budgets import Budgets
from gateway.core.call import Call, Plan
from gateway.core.catalogs import Catalogs
from gateway.core.connections import Connections, choose
from gateway.core.credentials import Credentials, fields_of, renews
from gateway.core.errors import Outcome, Refusal
from gateway.core.ids import new_ordered_id
from gateway.core.limits import Limits
from gateway.core.links import Links
from gateway.core.outgoing import Outgoing
from gateway.core.redaction import redact_headers, redact_stream, spellings
from gateway.core.request import Headers, Upstream, UpstreamAnswer, UpstreamFailed, UpstreamRequest, UpstreamStream
from gateway.core.requests import build_request
from gateway.core.runs import Run, RunStore
from gateway.core.sandbox import best_example
from gateway.core.scopes import check_scopes
from oauth.connections import Held
from skills_catalog.model import Integration, Problem, Skill
from skills_catalog.samples import sample_value
from skills_catalog.validation import problems

#: Where a request of the sandbox would go (RFC 6761 §6.4).
_NOWHERE = "https://sandbox.invalid"

Answer = TypeVar("Answer", UpstreamAnswer, UpstreamStream)

log = logging.getLogger("skillway.calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of an answer is read, and how much of it may stand in an envelope, bytes."""

    response: int
    inline: int


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
        catalogs: Catalogs,
        connections: Connections,
        credentials: Credentials,
        outgoing: Outgoing,
        upstream: Upstream,
        runs: RunStore,
        links: Links,
        plans: Plans,
        limits: Limits,
        budgets: Budgets,
        sizes: Sizes,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._connections = connections
        self._credentials = credentials
        self._outgoing = outgoing
        self._upstream = upstream
        self._runs = runs
        self._links = links
        self._plans = plans
        self._limits = limits
        self._budgets = budgets
        self._admission = Admission(limits, budgets)
        self._sizes = sizes
        self._clock = clock

    async def call(self, call: Call) -> Result:
        """Makes the call and gives back what the upstream answered, whatever its status.

        Raises `Refusal` where there is no answer to give.
        """
        if call.principal.mode == "test":
            return await self._from_example(call)
        plan = await self.prepare(call)
        async with self._admission.of(plan) as admitted:
            await self._begin(plan)
            plan, answer = await self._ask(plan, admitted, self._send)
        return await self._finish(plan, answer)

    async def stream(self, call: Call) -> RawResult:
        """The same call with its body streamed through (`?raw=1`), in flat memory."""
        if call.principal.mode == "test":
            return _streamed(await self._from_example(call))
        plan = await self.prepare(call)
        async with self._admission.of(plan) as admitted:
            await self._begin(plan)
            plan, stream = await self._ask(plan, admitted, self._stream)
        self._runs.record(self._run(plan, state="completed", status=stream.status, outcome="answered"))
        spelled = spellings(plan.request.secrets)
        return RawResult(
            status=stream.status,
            headers=redact_headers(stream.headers, spelled)[0],
            chunks=redact_stream(answers.up_to(self._sizes.response, stream.chunks), spelled),
            close=stream.close,
            run_id=plan.run_id,
        )

    async def prepare(self, call: Call) -> Plan:
        """Every check of a call, in order, up to the socket: found, allowed, params, connection, request."""
        integration, skill = self._check(call)
        held = await choose(
            self._connections,
            self._links,
            integration,
            skill,
            org=call.principal.org,
            user=call.user,
            wanted=call.connection,
            allowed=call.principal.grant.allows_connection,
        )
        if held is not None:
            check_scopes(self._links, integration, skill, held)
            held = await self._credentials.fresh(integration, held)
        params = _with_defaults(skill, call.params, held)
        started_at = int(self._clock() * 1000)
        return Plan(
            call=call,
            integration=integration,
            skill=skill,
            params=params,
            held=held,
            request=self._outgoing.request(integration, skill, params, held),
            run_id=new_ordered_id("run", started_at),
            started_at=started_at,
        )

    def _check(self, call: Call) -> tuple[Integration, Skill]:
        integration, skill = self._catalogs.find(call.integration, call.action)
        check_scope(call.principal, integration.slug)
        check_action(call.principal, skill)
        self._plans.check_holds(call.principal.plan, skill)
        if found := problems(skill, call.params):
            raise bad_params(skill, found)
        return integration, skill

    async def _begin(self, plan: Plan) -> None:
        """What must not be forgotten is durable before the upstream is asked."""
        if plan.skill.effect != "read":
            await self._runs.begin(self._run(plan, state="running"))

    async def _send(self, request: UpstreamRequest) -> UpstreamAnswer:
        return await self._upstream.send(request, limit=self._sizes.response)

    async def _stream(self, request: UpstreamRequest) -> UpstreamStream:
        stream = await self._upstream.stream(request)
        declared = stream.header("content-length") or ""
        if declared.isdigit() and int(declared) > self._sizes.response:
            stream.close()
            raise answers.too_large(self._sizes.response, stream.status)
        return stream

    async def _ask(
        self, plan: Plan, admitted: Admitted, send: Callable[[UpstreamRequest], Awaitable[Answer]]
    ) -> tuple[Plan, Answer]:
        """Sends the request; gives back the plan as it was carried out.

        A 401 where the credential can be renewed means that nothing was done: once more, with the new one.
        """
        admitted.sent = True
        try:
            answer = await send(plan.request)
            self._budgets.observe(plan, answer.status, answer.headers)
            if answer.status != 401 or plan.held is None or not renews(plan.integration, plan.held):
                return plan, answer
            try:
                renewed = await self._credentials.renewed(plan.integration, plan.held)
            except BaseException:
                _let_go(answer)
                raise
            if renewed is None:
                return plan, answer
            _let_go(answer)
            request = self._outgoing.request(plan.integration, plan.skill, plan.params, renewed)
            plan = replace(plan, held=renewed, request=request)
            answer = await send(request)
            if answer.status == 401:
                self._credentials.refused(renewed)
            return plan, answer
        except UpstreamFailed as failed:
            admitted.sent = failed.sent
            raise self._failed(plan, failed) from failed
        except Refusal as refusal:
            self._runs.record(self._run(plan, state="failed", error=refusal.code, outcome="answered", status=401))
            raise
        except asyncio.CancelledError:
            # The time to drain is over.
            self._runs.record(self._run(plan, state="unknown", outcome="unknown"))
            raise

    async def _finish(self, plan: Plan, answer: UpstreamAnswer) -> Result:
        """Records the answer and makes it fit for the caller."""
        self._runs.record(self._run(plan, state="completed", status=answer.status, outcome="answered"))
        fit = partial(answers.fit, plan.skill, answer, plan.request.secrets, inline_limit=self._sizes.inline)
        # Other calls must not wait for a second because this one got sixty megabytes of text.
        data, meta = fit() if len(answer.body) <= answers.PIECE else await asyncio.to_thread(fit)
        meta["run_id"] = plan.run_id
        if plan.held is not None:
            meta["account"] = plan.held.connection.account or plan.held.connection.label or plan.held.connection.id
        return Result(status=answer.status, data=data, meta=meta)

    def _failed(self, plan: Plan, failed: UpstreamFailed) -> Refusal:
        """No answer: was it not sent, or does nobody know?"""
        outcome: Outcome = "answered" if failed.status is not None else "unknown" if failed.sent else "not_sent"
        state = "unknown" if outcome == "unknown" and not plan.skill.idempotent else "failed"
        self._runs.record(self._run(plan, state=state, status=failed.status, error=failed.code, outcome=outcome))
        log.warning("%s %s: %s (%s)", plan.run_id, plan.skill.id, failed.code, failed.cause)
        return Refusal(
            failed.code,
            _FAILED[failed.code].format(name=plan.integration.name, seconds=plan.request.timeout),
            outcome=outcome,
            retryable=outcome == "not_sent" or plan.skill.idempotent,
            run_id=plan.run_id,
            upstream_status=failed.status,
        )

    async def _from_example(self, call: Call) -> Result:
        integration, skill = self._check(call)
        await self._limits.call(call.principal, skill)
        # Whatever no request could be made of is refused as it would be live; a connection might fill in the rest.
        filled = {param.name: "sandbox" for param in skill.params.values() if param.default_from}
        fields = {item.name: sample_value(item) for item in integration.fields}
        build_request(integration, skill, {**filled, **call.params}, base_url=_NOWHERE, fields=fields)
        example = best_example(skill, call.params)
        now = int(self._clock() * 1000)
        run_id = new_ordered_id("run", now)
        self._runs.record(
            _run(
                call,
                skill,
                run_id=run_id,
                started_at=now,
                finished_at=now,
                state="completed",
                status=example.status,
                outcome="not_sent",
            )
        )
        data = b"null" if example.data is None else orjson.dumps(example.data)
        return Result(status=example.status, data=data, meta={"run_id": run_id, "sandbox": True})

    def _run(
        self,
        plan: Plan,
        *,
        state: str,
        status: int | None = None,
        error: str | None = None,
        outcome: Outcome | None = None,
    ) -> Run:
        return _run(
            plan.call,
            plan.skill,
            run_id=plan.run_id,
            started_at=plan.started_at,
            finished_at=None if state == "running" else int(self._clock() * 1000),
            connection=plan.held.connection.id if plan.held else None,
            state=state,
            status=status,
            error=error,
            outcome=outcome,
            credits=plan.skill.cost,
        )


def _let_go(answer: UpstreamAnswer | UpstreamStream) -> None:
    if isinstance(answer, UpstreamStream):
        answer.close()


def bad_params(skill: Skill, found: Sequence[Problem]) -> Refusal:
    """`bad_request` with every field at once; the message names the first."""
    first = found[0]
    return Refusal(
        "bad_request",
        first.message,
        details={"action": skill.id, "fields": [_shown(problem) for problem in found]},
    )


def _shown(problem: Problem) -> dict[str, str]:
    shown = {"path": problem.path, "keyword": problem.keyword, "message": problem.message}
    return shown | {"suggestion": problem.suggestion} if problem.suggestion else shown


def _with_defaults(skill: Skill, params: Mapping[str, Any], held: Held | None) -> Mapping[str, Any]:
    """Params with what the connection's fields fill in (a project slug entered once, on connecting)."""
    filled = dict(params)
    for param in skill.params.values():
        if param.default_from is None or param.name in params:
            continue
        value = fields_of(held).get(param.default_from) if held else None
        if value:
            filled[param.name] = value
        elif param.required:
            message = (
                f"The param {param.name!r} is missing, and the connection has no {param.default_from!r} to fill it."
            )
            raise bad_params(skill, [Problem(path=param.name, keyword="required", message=message)])
    if len(filled) > len(params) and (found := problems(skill, filled)):
        raise bad_params(skill, found)
    return filled


def _run(call: Call, skill: Skill, **known: Any) -> Run:
    return Run(
        id=known.pop("run_id"),
        org=call.principal.org,
        key=call.principal.actor.id or "",
        user=call.user,
        integration=skill.integration,
        action=skill.name,
        effect=skill.effect,
        mode=call.principal.mode,
        **known,
    )


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


_FAILED = {
    "upstream_unreachable": "{name} could not be reached.",
    "upstream_timeout": "{name} did not answer within {seconds:g} s.",
    "upstream_invalid_response": "{name} answered something that is not HTTP.",
    "response_too_large": "{name}'s answer went over the limit.",
}
