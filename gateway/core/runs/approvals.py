"""Calls that a person has to approve: laid aside as they are, decided once, then carried out as they were asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.core.calls.asked import digest_of, fingerprint_of, held_scope, restored, scope_of, stored
from gateway.core.calls.call import Plan
from gateway.core.calls.carrying import record_of
from gateway.core.calls.preflight import Preflight
from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.errors import Refusal
from gateway.core.events import Event
from gateway.core.run import Run, RunQueue, RunStore
from gateway.core.runs.later import PrincipalOf, priority_of
from gateway.core.runs.once import check_same_body
from gateway.core.runs.run_book import approval_page, ended_event
from gateway.core.tenants.access import approval_required, check_level, needs_approval
from gateway.core.tenants.keys import Principal

#: The state of a run that waits for a person.
AWAITING = "awaiting_approval"
_MOST_SHOWN = 200


class ApprovalStore(Protocol):
    """Runs that wait for a person."""

    async def awaiting(self, org: str, most: int) -> Sequence[Run]:
        """Those of an org, oldest first."""
        ...

    async def overdue(self, before: int, most: int) -> Sequence[Run]:
        """Those of any org that began before that time (unix ms)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person is asked to approve."""

    run: Run
    #: What the key that asks is called.
    asked_by: str
    #: Unix seconds.
    expires_at: float
    #: The request as it would be sent, without secrets; None where it can no longer be.
    request: dict[str, Any] | None
    connection: dict[str, Any] | None
    #: What else is in its way by now.
    problems: Sequence[dict[str, Any]]
    #: The integration's definition changed since it was asked: it cannot be approved any more.
    is_changed: bool


class Approvals:
    """Lays calls aside, shows them to members, and lets them go on or not."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        queue: RunQueue,
        runs: RunStore,
        catalogs: Catalogs,
        preflight: Preflight,
        changes: Changes,
        principal_of: PrincipalOf,
        public_url: str,
        lifetime: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._queue = queue
        self._runs = runs
        self._catalogs = catalogs
        self._preflight = preflight
        self._changes = changes
        self._principal_of = principal_of
        self._public_url = public_url
        self._lifetime = lifetime
        self._clock = clock

    async def hold(self, plan: Plan) -> Run | None:
        """Raises `approval_required` for a call that nobody has decided on, once it is durably laid aside.

        Sent again, the same call is the same run. Gives back the run of an Idempotency-Key that was decided already;
        None where nobody has to approve anything.
        """
        if not needs_approval(plan.call.principal, plan.skill, plan.params):
            return None
        call, keyed = plan.call, plan.call.idempotency_key is not None
        run = record_of(plan, state=AWAITING)
        older = await self._queue.add(
            run,
            request=stored(plan, is_held=True),
            is_safe=plan.skill.idempotent,
            priority=priority_of(plan),
            due_at=None,
            idempotency=scope_of(plan) if keyed else held_scope(plan),
            fingerprint=fingerprint_of(plan) if keyed else None,
            callback_url=call.callback_url,
            events=[_event("asked", run, self._clock(), page=self._page(run.id))],
        )
        if older is not None and keyed:
            check_same_body(plan, older)
        if older is not None and older.state != AWAITING:
            return older
        held = older or run
        raise approval_required(run_id=held.id, page=self._page(held.id))

    async def waiting(self, member: Principal) -> Sequence[Run]:
        """What waits in the member's org, oldest first."""
        _check_member(member)
        return await self._store.awaiting(member.org, _MOST_SHOWN)

    async def look(self, member: Principal, run_id: str) -> Asked:
        """What is to be decided. Raises `not_found`, and `conflict` where it was decided or is too late."""
        run = await self._awaiting(member, run_id)
        request = await self._queue.request_of(run.org, run.id)
        assert request is not None
        asked_by = run.key
        try:
            principal = await self._principal_of(run.org, run.key)
            asked_by = principal.key.name if principal.key else principal.actor.name or asked_by
            call = restored(request, principal, run.integration, run.action, run.user)
            shown = await self._preflight.of(call)
        except Refusal as refusal:
            shown = {"problems": [refusal.body()]}
        problems = [problem for problem in shown["problems"] if problem["error"] != "approval_required"]
        return Asked(
            run=run,
            asked_by=asked_by,
            expires_at=run.started_at / 1000 + self._lifetime,
            request=shown.get("request"),
            connection=shown.get("connection"),
            problems=problems,
            is_changed=digest_of(request) != self._digest(run),
        )

    async def decide(self, member: Principal, run_id: str, *, approves: bool) -> Run:
        """Lets it go on, or ends it as `cancelled`. Once: whoever is second gets `conflict`."""
        run, now = await self._awaiting(member, run_id), self._clock()
        if approves:
            asked = await self.look(member, run_id)
            if asked.is_changed:
                raise Refusal("conflict", "The integration's definition has changed since this was asked. Deny it.")
            event = _event("granted", run, now, actor=member.actor)
            is_first = await self._queue.resume(run.org, run.id, state=AWAITING, due_at=int(now * 1000), events=[event])
        else:
            who = member.member.shown_name if member.member else "A member"
            refusal = Refusal(
                "forbidden", f"{who} denied this call.", run_id=run.id, outcome="not_sent", retryable=False
            )
            is_first = await self._end(run, refusal, _event("denied", run, now, actor=member.actor))
        if not is_first:
            raise _decided()
        self._changes.tell(run.id)
        self._changes.tell("queue")
        return run

    async def expire(self) -> int:
        """Ends what nobody decided on in time; says how many there were."""
        now, ended = self._clock(), 0
        for run in await self._store.overdue(int((now - self._lifetime) * 1000), 100):
            refusal = Refusal(
                "approval_required",
                "Nobody approved this call in time.",
                run_id=run.id,
                outcome="not_sent",
                retryable=True,
            )
            ended += await self._end(run, refusal, _event("expired", run, now))
            self._changes.tell(run.id)
        return ended

    async def _end(self, run: Run, refusal: Refusal, event: Event) -> bool:
        now = self._clock()
        ended = replace(
            run,
            state="cancelled",
            error=refusal.code,
            outcome="not_sent",
            finished_at=int(now * 1000),
            refusal=refusal.body(),
        )
        return await self._queue.cancel(run.org, run.id, ended, [event, ended_event(ended, now)], state=AWAITING)

    async def _awaiting(self, member: Principal, run_id: str) -> Run:
        _check_member(member)
        run = await self._runs.find(member.org, run_id)
        if run is None:
            raise Refusal("not_found", "Run not found.")
        if run.state != AWAITING:
            raise _decided()
        if run.started_at / 1000 + self._lifetime <= self._clock():
            raise Refusal("conflict", "This is too old to be approved. The call has to be made again.")
        return run

    def _digest(self, run: Run) -> str | None:
        integration = self._catalogs.current.get(run.integration)
        return None if integration is None else integration.digest

    def _page(self, run_id: str) -> str:
        return approval_page(self._public_url, run_id)


def _check_member(principal: Principal) -> None:
    """Keys never approve, least of all the one that asks."""
    if principal.member is None:
        raise Refusal("forbidden", "Only a member who is signed in approves calls; no key does.")
    check_level(principal, "full_access")


def _decided() -> Refusal:
    return Refusal("conflict", "This was decided already, or cancelled.")


def _event(what: str, run: Run, now: float, **more: Any) -> Event:
    actor, page = more.pop("actor", None), more.pop("page", None)
    about: dict[str, Any] = {
        "run_id": run.id,
        "integration": run.integration,
        "action": run.action,
        "user": run.user,
        **({"connection": run.connection} if run.connection else {}),
        **({"action_url": page} if page else {}),
    }
    return Event.now(
        run.org, f"approval.{what}", now, mode="test" if run.mode == "test" else "live", actor=actor, **about
    )
