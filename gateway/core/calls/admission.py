"""Whether a call that passed its checks may be sent now: the plan of its org, and the budget of its upstream."""

from __future__ import annotations

from types import TracebackType

from gateway.core.calls.budgets import Budgets, Turn
from gateway.core.calls.call import Plan
from gateway.core.tenants.limits import Limits, Spending


class Admission:
    """Lets calls through while the plan has room, at the pace that the upstream takes."""

    def __init__(self, limits: Limits, budgets: Budgets) -> None:
        self._limits = limits
        self._budgets = budgets

    def of(self, plan: Plan) -> Admitted:
        """`async with` it around the request. What was counted is given back where nothing was sent."""
        return Admitted(plan, self._limits, self._budgets)


class Admitted:
    """A call that is let through. Set `sent` before the upstream is asked."""

    __slots__ = ("_budgets", "_limits", "_plan", "_spending", "_turn", "sent")

    def __init__(self, plan: Plan, limits: Limits, budgets: Budgets) -> None:
        self._plan = plan
        self._limits = limits
        self._budgets = budgets
        self._spending: Spending | None = None
        self._turn: Turn | None = None
        self.sent = False

    async def __aenter__(self) -> Admitted:
        """Raises `rate_limited`, `daily_limit_reached`, `allowance_exhausted` or `upstream_rate_limited`."""
        principal, skill = self._plan.call.principal, self._plan.skill
        await self._limits.call(principal, skill)
        self._spending = await self._limits.spend(principal, skill)
        try:
            self._turn = await self._budgets.turn(self._plan)
        except BaseException:
            await self._limits.give_back(self._spending)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turn is not None:
            self._turn.release()
        if not self.sent:
            await self._limits.give_back(self._spending)
