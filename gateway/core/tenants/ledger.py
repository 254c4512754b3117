"""The ledger: every movement of credits as one entry, whose sum is the balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.core.events import Actor
from gateway.core.times import iso

#: `call`: an action was carried out. `allowance`: the credits of a month, and what a change of plan adds or takes.
#: `adjustment`: the operator gave or took some. `period_end`: brings the balance of the month before to zero.
EntryType = Literal["call", "allowance", "adjustment", "period_end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement. Its amount is negative where credits are spent."""

    id: str
    org: str
    type: EntryType
    #: Unix milliseconds.
    at: int
    amount: int
    run: str | None = None
    key: str | None = None
    integration: str | None = None
    action: str | None = None
    note: str | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type,
            "at": iso(self.at / 1000),
            "amount": self.amount,
            "run_id": self.run,
            "api_key": self.key,
            "integration": self.integration,
            "action": self.action,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How many calls were carried out, and the credits that they cost."""

    calls: int = 0
    credits: int = 0


class LedgerStore(Protocol):
    """Where entries are kept. Those of calls are written together with the calls' own records."""

    async def used(self, org: str, since: int) -> Use:
        """What calls have used from that time (unix ms) on."""
        ...

    async def used_by(self, org: str, since: int, what: Literal["integration", "key"]) -> Sequence[tuple[str, Use]]:
        """The same for each integration or key, the most calls first."""
        ...

    async def granted(self, org: str, since: int) -> int:
        """Credits that came in from that time (unix ms) on, but for the allowance."""
        ...

    async def open_month(self, org: str, start: int, allowance: int) -> None:
        """Closes the month before and brings the allowance of the one that begins at `start` (unix ms) to this.

        Once, however often and from wherever it is called.
        """
        ...

    async def balance(self, org: str) -> int:
        """The sum of all entries."""
        ...

    async def adjust(self, org: str, amount: int, note: str, *, by: Actor) -> Entry: ...

    async def list(self, org: str, *, limit: int = 50, cursor: str | None = None) -> tuple[Sequence[Entry], str | None]:
        """Newest first, and where the next page starts. Raises `Refusal` for a cursor that is none of ours."""
        ...
