"""The one record of a call, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One call as it is recorded. It holds names and numbers only: no params, no answer, no secret."""

    id: str
    org: str
    key: str
    user: str
    integration: str
    action: str
    effect: str
    mode: str
    #: `running`, `completed` (the upstream answered, whatever its status), `failed`, `unknown`.
    state: str
    #: Unix milliseconds.
    started_at: int
    finished_at: int | None = None
    connection: str | None = None
    #: The upstream's status, where it answered.
    status: int | None = None
    #: Our error code, where it did not.
    error: str | None = None
    #: `not_sent`, `unknown` or `answered`.
    outcome: str | None = None
    #: What it costs, or would if it is answered; None is never charged.
    credits: int | None = None

    @property
    def is_charged(self) -> bool:
        """It has ended, and may have reached the upstream."""
        return self.credits is not None and self.finished_at is not None and self.outcome != "not_sent"

    @property
    def credits_used(self) -> int:
        return self.credits or 0 if self.is_charged else 0


class RunStore(Protocol):
    """Where runs are kept. Writes are grouped: many calls share one commit."""

    async def begin(self, run: Run) -> None:
        """Durable when it returns: what a write to an upstream waits for. Raises where the store refuses."""
        ...

    def record(self, run: Run) -> None:
        """Durable within 200 ms: a whole read, or the end of a run that was begun. Never waits."""
        ...
