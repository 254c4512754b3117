"""How much a key and its org may still do: requests a minute, windows, calls a day, credits of a month.

Windows are fixed and aligned to the UTC clock. With shared counts a limit is exact over all replicas;
without them, or while they are gone, each replica goes by its share of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import Refusal
from gateway.core.events import Event, EventStore
from gateway.core.remember import Remembered
from gateway.core.tenants.access import Plans
from gateway.core.tenants.counters import Base, BaseMissing, CountersGone, LocalCounters, SharedCounters, Took, Want
from gateway.core.tenants.keys import Principal
from gateway.core.tenants.ledger import LedgerStore
from gateway.core.times import day_of, iso, month_of
from gateway.patterns import fits
from gateway.plans import Plan, Window
from skills_catalog.model import Skill

log = logging.getLogger("skillway.limits")

#: Seconds for which shared counts that failed are not asked again.
_PAUSE = 1.0
#: Seconds for which what the operator granted beyond the plan is remembered.
_GRANTED_MEMORY = 10.0
#: Seconds after which one replica of several looks into the ledger for what the others have used.
_LOOK_AGAIN = 5.0
_UNLIMITED = 2**62
_SPELLED = {60: "minute", 3600: "hour", 86400: "day"}
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of the requests of this minute, as the `X-RateLimit-*` headers say it."""

    limit: int
    remaining: int
    #: Unix seconds.
    reset: int


@dataclass(frozen=True, slots=True)
class Spending:
    """What a call was counted as, so that it can be given back where it never reached its upstream."""

    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """What a call would meet at this moment: its refusals, and each limit with what was used of it."""

    refusals: Sequence[Refusal]
    shown: Sequence[dict[str, Any]]


class Limits:
    """Counts what is asked for and refuses what goes beyond the plan."""

    def __init__(
        self,
        ledger: LedgerStore,
        events: EventStore,
        plans: Plans,
        *,
        shared: SharedCounters | None,
        replicas: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._plans = plans
        self._shared = shared
        self._replicas = replicas
        self._clock = clock
        self._local = LocalCounters()
        #: What was let through here while the shared counts were gone: name -> (until, amount).
        self._owed: dict[str, tuple[int, int]] = {}
        self._gone_until = 0.0
        self._bases: Remembered[tuple[str, Base, int], int] = Remembered(self._base, seconds=0.2)
        self._granted: Remembered[tuple[str, int, int], int] = Remembered(self._open_month, seconds=_GRANTED_MEMORY)
        self._looked: dict[str, float] = {}
        self._told: dict[str, int] = {}

    async def request(self, principal: Principal, route: str) -> tuple[Rate | None, Refusal | None]:
        """Counts one request of a key to a route such as `POST /v1/connect`.

        Gives back what is left of the minute, None where the plan does not limit it; and `rate_limited` where
        nothing is.
        """
        plan = principal.plan
        minute, windows = plan.requests_per_minute, plan.routes.get(route, ())
        if minute is None and not windows:
            return None, None
        now = self._clock()
        if minute is not None:
            windows = (Window("requests", minute, 60), *windows)
        wants = [_want(principal, window, now) for window in windows]
        took = await self._take(wants, now)
        rate = None
        if minute is not None:
            rate = Rate(minute, max(0, minute - took.counts[0]), wants[0].until)
        return rate, await self._rate_limited(principal, windows, wants, took, now) if took.refused else None

    async def call(self, principal: Principal, skill: Skill) -> None:
        """Counts one call of an action in the windows that the plan has for it. Raises `rate_limited`."""
        windows = [window for window in principal.plan.windows if fits(skill.id, (window.what,))]
        if not windows:
            return
        now = self._clock()
        wants = [_want(principal, window, now) for window in windows]
        took = await self._take(wants, now)
        if took.refused:
            raise await self._rate_limited(principal, windows, wants, took, now)

    async def spend(self, principal: Principal, skill: Skill) -> Spending | None:
        """Counts a call that is about to be sent, and its cost.

        Raises `daily_limit_reached` or `allowance_exhausted`. `give_back` it where the upstream was not reached.
        """
        plan = principal.plan
        if plan.calls_per_day is None and plan.credits_per_month is None:
            return None
        now = self._clock()
        wants = await self._spending(principal, skill.cost, now)
        took = await self._take(wants, now)
        if took.refused:
            raise await self._used_up(principal, wants[len(took.counts) - 1], took.counts[-1], now)
        return Spending(tuple(wants))

    async def give_back(self, spending: Spending | None) -> None:
        """The call was not sent: it costs nothing, and is no call of the day."""
        for want in spending.wants if spending is not None else ():
            self._local.give_back(want)
            if self._shared is not None and not self._is_gone():
                try:
                    await self._shared.give_back(want)
                except CountersGone:
                    self._lost()

    async def left(self, principal: Principal, skill: Skill) -> Left:
        """What is left of each limit that a call of the action would be counted in, and what would refuse it."""
        now, plan = self._clock(), principal.plan
        windows = [window for window in plan.windows if fits(skill.id, (window.what,))]
        wants = [_want(principal, window, now) for window in windows]
        if plan.calls_per_day is not None or plan.credits_per_month is not None:
            wants += await self._spending(principal, skill.cost, now)
        refusals, shown = [], []
        for at, want in enumerate(wants):
            count = self._local.count(want)
            if want.base is not None and (count is None or self._shared is not None or self._replicas() > 1):
                count = max(count or 0, await self._bases.get((want.org, want.base, want.until)))
            used = count or 0
            what = windows[at].what if at < len(windows) else want.base
            shown.append({"what": what, "limit": want.limit, "used": used, "resets_at": iso(want.until)})
            if used + want.amount > want.limit:
                refusals.append(
                    _rate_limited(windows[at], want, now) if at < len(windows) else self._spent(principal, want, used, now)
                )
        return Left(refusals, shown)

    async def credit_limit(self, org: str, plan: Plan) -> int | None:
        """Credits that the org may spend this month, before any overage; None is no limit."""
        if plan.credits_per_month is None:
            return None
        start, _ = month_of(self._clock())
        return plan.credits_per_month + await self._granted.get((org, start, plan.credits_per_month))

    async def _spending(self, principal: Principal, cost: int, now: float) -> list[Want]:
        plan, org = principal.plan, principal.org
        wants: list[Want] = []
        if plan.calls_per_day is not None:
            wants.append(Want(org, f"{org} calls", 1, plan.calls_per_day, day_of(now)[1], "calls"))
        limit = await self.credit_limit(org, plan)
        if limit is not None:
            most = _UNLIMITED if plan.overage is None else limit + plan.overage
            wants.append(Want(org, f"{org} credits", cost, most, month_of(now)[1], "credits"))
        return wants

    async def _take(self, wants: Sequence[Want], now: float) -> Took:
        """Counts all or nothing, wherever the counts are kept at this moment."""
        while True:
            try:
                if self._shared is None:
                    return self._local.take(wants, now) if self._replicas() == 1 else await self._take_share(wants, now)
                if self._is_gone():
                    took = await self._take_share(wants, now)
                    if not took.refused:
                        self._owe(wants, [want.amount for want in wants])
                    return took
                return await self._take_shared(self._shared, wants, now)
            except BaseMissing as missing:
                await self._begin(missing.want, now)
            except CountersGone:
                self._lost()

    async def _take_shared(self, shared: SharedCounters, wants: Sequence[Want], now: float) -> Took:
        owed = [self._pay(want) for want in wants]
        try:
            took = await shared.take(wants, owed)
        except BaseException:
            self._owe(wants, owed)
            raise
        if not took.refused:
            # Should the shared counts go, this replica knows what it has let through itself.
            for want in wants:
                self._local.add(want, now)
        return took

    async def _take_share(self, wants: Sequence[Want], now: float) -> Took:
        """By this replica's share of what is counted nowhere else, and by the ledger for what is counted there."""
        for want in wants:
            if want.base is not None and now - self._looked.get(want.name, 0.0) > _LOOK_AGAIN:
                self._looked[want.name] = now
                self._local.begin(want, await self._bases.get((want.org, want.base, want.until)), now)
        replicas = self._replicas()
        return self._local.take([want if want.base is not None else _share(want, replicas) for want in wants], now)

    async def _begin(self, want: Want, now: float) -> None:
        assert want.base is not None
        base = await self._bases.get((want.org, want.base, want.until))
        self._local.begin(want, base, now)
        if self._shared is not None and not self._is_gone():
            await self._shared.begin(want, base)

    async def _base(self, what: tuple[str, Base, int]) -> int:
        """Where the ledger says a count stands."""
        org, base, until = what
        if base == "calls":
            return (await self._ledger.used(org, (until - _DAY) * 1000)).calls
        return (await self._ledger.used(org, month_of(until - _DAY)[0] * 1000)).credits

    async def _open_month(self, what: tuple[str, int, int]) -> int:
        """Brings the month's allowance into the ledger; gives back what the operator granted beside it."""
        org, start, allowance = what
        await self._ledger.open_month(org, start * 1000, allowance)
        return await self._ledger.granted(org, start * 1000)

    def _owe(self, wants: Sequence[Want], amounts: Sequence[int]) -> None:
        for want, amount in zip(wants, amounts, strict=True):
            # What the ledger counts begins there again.
            if amount and want.base is None:
                until, before = self._owed.get(want.name, (want.until, 0))
                self._owed[want.name] = want.until, amount + (before if until == want.until else 0)

    def _pay(self, want: Want) -> int:
        until, amount = self._owed.pop(want.name, (0, 0)) if self._owed else (0, 0)
        return amount if until == want.until else 0

    def _is_gone(self) -> bool:
        return self._gone_until > self._clock()

    def _lost(self) -> None:
        if not self._is_gone():
            log.warning("the shared counts cannot be reached: limits go by this replica's share for now")
        self._gone_until = self._clock() + _PAUSE

    async def _rate_limited(
        self, principal: Principal, windows: Sequence[Window], wants: Sequence[Want], took: Took, now: float
    ) -> Refusal:
        at = len(took.counts) - 1
        await self._tell(principal, wants[at], windows[at].what, per=_SPELLED[windows[at].seconds])
        return _rate_limited(windows[at], wants[at], now)

    async def _used_up(self, principal: Principal, full: Want, count: int, now: float) -> Refusal:
        assert full.base is not None
        await self._tell(principal, full, full.base, per="day" if full.base == "calls" else "month")
        return self._spent(principal, full, count, now)

    def _spent(self, principal: Principal, full: Want, count: int, now: float) -> Refusal:
        retry_after_ms = max(1, full.until - int(now)) * 1000
        if full.base == "calls":
            return Refusal(
                "daily_limit_reached",
                f"Daily API call limit reached ({full.limit}). Resets at midnight UTC.",
                action_url=self._plans.upgrade_url,
                retry_after_ms=retry_after_ms,
                details={"calls_used": count, "calls_limit": full.limit, "resets_at": iso(full.until)},
            )
        return Refusal(
            "allowance_exhausted",
            "Monthly credit allowance exhausted. Upgrade the plan or wait for the next month.",
            action_url=self._plans.upgrade_url,
            retry_after_ms=retry_after_ms,
            details={
                "credits_used": count,
                "credits_limit": full.limit,
                "credits_needed": full.amount,
                "overage_rate": principal.plan.overage_rate,
                "resets_at": iso(full.until),
            },
        )

    async def _tell(self, principal: Principal, full: Want, what: str, *, per: str) -> None:
        """Once for each window that is full: a client that does not stop shall not fill the events."""
        if self._told.get(full.name) == full.until:
            return
        if len(self._told) > 10_000:
            self._told.clear()
        self._told[full.name] = full.until
        about: dict[str, Any] = {"what": what, "per": per, "limit": full.limit, "resets_at": iso(full.until)}
        if full.base is None:
            about["api_key"] = principal.actor.id
        await self._events.add(
            Event.now(principal.org, "limit.reached", self._clock(), mode=principal.mode, **about)
        )


def _rate_limited(window: Window, full: Want, now: float) -> Refusal:
    wait, per = max(1, full.until - int(now)), _SPELLED[window.seconds]
    return Refusal(
        "rate_limited",
        f"Rate limit reached: {window.limit} {_counted(window)} a {per} for this key. Try again in {wait} s.",
        retryable=True,
        retry_after_ms=wait * 1000,
        details={"limit": window.limit, "what": window.what, "per": per, "resets_at": iso(full.until)},
    )


def _want(principal: Principal, window: Window, now: float) -> Want:
    until = (int(now) // window.seconds + 1) * window.seconds
    # The end of a window belongs to its name: two of one thing, for a minute and an hour, are two counts.
    return Want(principal.org, f"{principal.actor.id} {window.what} {window.seconds}", 1, window.limit, until)


def _share(want: Want, replicas: int) -> Want:
    return Want(want.org, want.name, want.amount, max(1, want.limit // replicas) if want.limit else 0, want.until)


def _counted(window: Window) -> str:
    return window.what if window.what == "requests" else f"calls of {window.what}"
