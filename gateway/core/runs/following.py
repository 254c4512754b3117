"""The upstream's own long work: asked after until it is done, as the definition's `poll` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from gateway.core.calls.call import Call, Plan
from gateway.core.calls.carrying import Carrier
from gateway.core.calls.preparation import Preparation
from gateway.core.catalogs import Catalogs
from gateway.core.errors import Refusal
from gateway.core.requests.answers import Result, says_no
from gateway.core.run import Leased, Run
from gateway.core.tenants.grants import Grant
from skills_catalog.model import Skill

_EVERY = 5.0
_LONGEST = 1800.0
#: An upstream may not put the next question off for longer, seconds.
_LONGEST_PAUSE = 300.0
#: Answers that say nothing about the work: the question is asked again.
_NOT_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What comes next: another look at `due_at` (unix ms), or the end with what is kept of it."""

    run: Run | None = None
    due_at: int | None = None
    poll: Mapping[str, Any] | None = None
    progress: Any = None
    result: Result | None = None


class Following:
    """Reads answers of long-running actions, and asks after their work."""

    def __init__(
        self,
        *,
        catalogs: Catalogs,
        preparation: Preparation,
        carrier: Carrier,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._preparation = preparation
        self._carrier = carrier
        self._clock = clock

    def first(self, plan: Plan, result: Result, run: Run) -> Step | None:
        """What the first answer leads to; None where it is the last one already."""
        poll = plan.skill.poll
        if poll is None or not 200 <= result.status < 300:
            return None
        body = _body(result)
        state = _found(poll["status"], body)
        thing = _found(poll.get("id"), body) if poll.get("id") else None
        if thing is None or state in poll["done"] or state in poll.get("failed", ()):
            return None
        if plan.example is not None:
            return self._of_example(plan, run)
        now = self._clock()
        return Step(
            run=replace(run, state="polling", finished_at=None),
            due_at=int((now + _every(poll)) * 1000),
            poll={"id": thing, "until": int((now + poll.get("timeout", _LONGEST)) * 1000)},
            progress=_found(poll.get("progress"), body),
        )

    async def look(self, leased: Leased, call: Call) -> Step:
        """Asks once how far it is. Raises `Refusal` where the connection no longer serves."""
        run, kept = leased.run, leased.poll or {}
        _, skill = self._catalogs.find(run.integration, run.action)
        now = self._clock()
        if skill.poll is None:
            raise Refusal("conflict", f"{skill.id} no longer says how its work is followed.", run_id=run.id)
        if kept["until"] <= now * 1000:
            return Step(run=_ended(run, "failed", now, refusal=_too_long(run)))
        plan = await self._preparation.plan(self._question(skill, run, call, kept["id"]))
        try:
            _, result = await self._carrier.ask(plan)
        except Refusal as refusal:
            if refusal.code == "token_expired":
                raise
            return self._again(skill, kept, run, refusal.retry_after_ms)
        if result.status in _NOT_NOW:
            retry = result.meta.get("upstream", {}).get("retry_after", "")
            return self._again(skill, kept, run, int(retry) * 1000 if str(retry).isdigit() else None)
        return self._read(skill.poll, kept, run, plan.skill, result, now)

    def _read(
        self, poll: Mapping[str, Any], kept: Mapping[str, Any], run: Run, teller: Skill, result: Result, now: float
    ) -> Step:
        body = _body(result)
        state, progress = _found(poll["status"], body), _found(poll.get("progress"), body)
        if not 200 <= result.status < 300:
            return Step(run=_ended(run, "failed", now, status=result.status), result=_own(result, run))
        for states, name in (("done", "completed"), ("failed", "failed"), ("cancelled", "cancelled")):
            if state in poll.get(states, ()):
                ended = replace(_ended(run, name, now, status=result.status), progress=progress)
                return Step(run=ended, result=_own(_part(poll, body, result), run))
        if says_no(teller, result.status, result.data):
            return Step(run=_ended(run, "failed", now, status=result.status), result=_own(result, run))
        return Step(
            run=replace(run, state="polling", status=run.status),
            due_at=int((now + _every(poll)) * 1000),
            poll=kept,
            progress=progress if progress is not None else run.progress,
        )

    def _again(self, skill: Skill, kept: Mapping[str, Any], run: Run, retry_after_ms: int | None) -> Step:
        assert skill.poll is not None
        pause = max(_every(skill.poll), min((retry_after_ms or 0) / 1000, _LONGEST_PAUSE))
        due_at = int((self._clock() + pause) * 1000)
        return Step(run=run, due_at=due_at, poll=kept, progress=run.progress)

    def _question(self, skill: Skill, run: Run, call: Call, thing: Any) -> Call:
        """The call of the action that tells; it is a part of the run, so the key need not allow it by itself."""
        assert skill.poll is not None
        _, teller = self._catalogs.find(run.integration, skill.poll["action"])
        name = skill.poll.get("param") or next(iter(teller.input_schema.get("required", ())), "id")
        shared = {name: value for name, value in call.params.items() if name in teller.params}
        return Call(
            principal=replace(call.principal, grant=Grant()),
            integration=run.integration,
            action=teller.name,
            params={**shared, name: thing},
            user=run.user,
            connection=run.connection,
        )

    def _of_example(self, plan: Plan, run: Run) -> Step | None:
        """In the sandbox the work is done at once, if the examples have its end."""
        poll = plan.skill.poll
        assert poll is not None
        teller = plan.integration.skills.get(poll["action"])
        for example in teller.examples if teller else ():
            if _found(poll["status"], example.data) in poll["done"]:
                meta = {"run_id": run.id, "sandbox": True}
                result = Result(status=example.status, data=orjson.dumps(example.data), meta=meta)
                return Step(run=run, result=_part(poll, example.data, result))
        return None


def _part(poll: Mapping[str, Any], body: Any, result: Result) -> Result:
    part = _found(poll.get("result"), body)
    return result if part is None else replace(result, data=orjson.dumps(part))


def _own(result: Result, run: Run) -> Result:
    """The answer as the run's: its id is the one that was asked after."""
    return replace(result, meta={**result.meta, "run_id": run.id})


def _ended(
    run: Run, state: str, now: float, *, status: int | None = None, refusal: Mapping[str, Any] | None = None
) -> Run:
    return replace(
        run,
        state=state,
        status=status if status is not None else run.status,
        outcome="answered",
        finished_at=int(now * 1000),
        refusal=refusal,
        error=None if refusal is None else refusal["error"],
    )


def _too_long(run: Run) -> Mapping[str, Any]:
    return Refusal(
        "upstream_timeout",
        "The upstream's work was not done in time. It may still go on there.",
        outcome="answered",
        run_id=run.id,
    ).body()


def _every(poll: Mapping[str, Any]) -> float:
    return float(poll.get("every", _EVERY))


def _body(result: Result) -> Any:
    try:
        return orjson.loads(result.data)
    except orjson.JSONDecodeError:
        return None


def _found(path: str | None, body: Any) -> Any:
    if path is None:
        return None
    try:
        return jmespath.search(path, body)
    except JMESPathError:
        return None
