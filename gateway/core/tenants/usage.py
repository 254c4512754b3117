"""What an org has used and what is left, and its ledger, as the API shows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.core.tenants.keys import KeyStore, Principal
from gateway.core.tenants.ledger import LedgerStore, Use
from gateway.core.tenants.limits import Limits
from gateway.core.times import day_of, iso, month_of
from oauth.connections import ConnectionList

Json = dict[str, Any]


class Usage:
    """What the usage routes ask for. `flush` makes every call that was answered until now count."""

    def __init__(
        self,
        *,
        ledger: LedgerStore,
        limits: Limits,
        keys: KeyStore,
        connections: ConnectionList,
        flush: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._keys = keys
        self._connections = connections
        self._flush = flush
        self._clock = clock

    async def of(self, principal: Principal) -> Json:
        """The month so far, the day so far, and what is left of each. A test key uses nothing."""
        org, plan, now = principal.org, principal.plan, self._clock()
        book = _book(principal)
        await self._flush()
        (start, end), (today, tomorrow) = month_of(now), day_of(now)
        limit = await self._limits.credit_limit(org, plan)
        if limit is None:
            await self._ledger.open_month(org, start * 1000, 0)
        used, day = await self._ledger.used(book, start * 1000), await self._ledger.used(book, today * 1000)
        keys = await self._keys.list(org)
        names = {key.id: key.name for key in keys}
        working = sum(key.revoked_at is None and not key.is_expired(now) for key in keys)
        return {
            "plan": plan.name,
            "period": {"start": iso(start), "end": iso(end)},
            "credits": {
                **_left(limit, used.credits),
                "balance": await self._ledger.balance(book),
                "overage": plan.overage if limit is not None else None,
                "overage_rate": plan.overage_rate,
            },
            "calls": {"used": used.calls},
            "calls_today": {**_left(plan.calls_per_day, day.calls), "resets_at": iso(tomorrow)},
            "requests_per_minute": plan.requests_per_minute,
            "connections": _left(plan.connections, len(await self._connections.list(org))),
            "api_keys": _left(plan.api_keys, working),
            "by_integration": [
                {"integration": slug, **_shown(use)}
                for slug, use in await self._ledger.used_by(book, start * 1000, "integration")
            ],
            "by_key": [
                {"api_key": key, "name": names.get(key), **_shown(use)}
                for key, use in await self._ledger.used_by(book, start * 1000, "key")
            ],
        }

    async def ledger(self, principal: Principal, *, limit: int, cursor: str | None) -> Json:
        """The movements, newest first."""
        await self._flush()
        entries, following = await self._ledger.list(_book(principal), limit=limit, cursor=cursor)
        shown = {"entries": [entry.shown() for entry in entries]}
        return shown if following is None else {**shown, "next_cursor": following}


def _book(principal: Principal) -> str:
    """Whose entries are counted: what test keys do stands in no ledger."""
    return principal.org if principal.mode == "live" else ""


def _left(limit: int | None, used: int) -> Json:
    return {"limit": limit, "used": used, "left": None if limit is None else max(0, limit - used)}


def _shown(use: Use) -> Json:
    return {"calls": use.calls, "credits": use.credits}
