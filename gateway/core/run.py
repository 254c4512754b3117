"""The one record of a call, and where it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.events import Event


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
    #: `queued`, `running`, `polling` (shown as running), `awaiting_approval`; `completed` (the upstream answered,
    #: whatever its status), `failed`, `cancelled`, `unknown`.
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
    #: Bytes of the answer that is kept; None where none is.
    kept: int | None = None
    #: Why there is no answer: envelope 2 of the contract.
    refusal: Mapping[str, Any] | None = None
    #: How far the upstream says it is.
    progress: Any = None
    #: What its Idempotency-Key was used for; another body under the same key is a conflict.
    fingerprint: str | None = None

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None

    @property
    def is_charged(self) -> bool:
        """It has ended, and may have reached the upstream."""
        return self.credits is not None and self.finished_at is not None and self.outcome != "not_sent"

    @property
    def credits_used(self) -> int:
        return self.credits or 0 if self.is_charged else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A run that one process has to itself until its lease runs out; `attempt` is the fence of what it writes."""

    run: Run
    owner: str
    attempt: int
    #: What was asked, as it was stored.
    request: bytes = field(default=b"", repr=False)
    #: What the upstream's own work is asked for, where the run waits for that.
    poll: Mapping[str, Any] | None = None


class RunStore(Protocol):
    """Where runs are kept. Writes are grouped: many calls share one commit."""

    async def begin(self, run: Run) -> None:
        """Durable when it returns: what a write to an upstream waits for. Raises where the store refuses."""
        ...

    def record(self, run: Run) -> None:
        """Durable within 200 ms: a whole read, or the end of a run that was begun. Never waits."""
        ...

    async def flush(self) -> None:
        """Everything recorded until now is durable when it returns."""
        ...

    async def find(self, org: str, run_id: str) -> Run | None: ...

    async def list(
        self, org: str, *, mode: str = "live", limit: int = 50, cursor: str | None = None
    ) -> tuple[Sequence[Run], str | None]:
        """Newest first, and where the next page starts. Raises `Refusal` for a cursor that is none of ours."""
        ...


class RunQueue(Protocol):
    """Runs that somebody waits for or that are carried out later. Each step is one atomic statement.

    A run is one process's while its lease lasts; what a process writes whose lease has run out changes nothing.
    """

    async def claim(
        self, run: Run, *, idempotency: str, fingerprint: str, owner: str, seconds: float, is_safe: bool, request: bytes
    ) -> Run | None:
        """Begins a run under a hash of its Idempotency-Key, durable when it returns.

        Gives back the run that was begun under it before, if there is one.
        """
        ...

    async def add(
        self,
        run: Run,
        *,
        request: bytes,
        is_safe: bool,
        priority: int,
        due_at: int | None,
        idempotency: str | None = None,
        fingerprint: str | None = None,
        callback_url: str | None = None,
        events: Sequence[Event] = (),
    ) -> Run | None:
        """Puts a run in line, or lays it aside where `due_at` is None; `events` tell of it.

        Gives back an older one as `claim` does.
        """
        ...

    async def promote(self, run: Run, *, owner: str, seconds: float, is_safe: bool, request: bytes) -> None:
        """A run that is under way, and that others may ask for from now on."""
        ...

    async def take(self, owner: str, seconds: float, *, after: str) -> Leased | None:
        """The most urgent run that is due, of the org that follows `after`: orgs take turns."""
        ...

    async def mark_sent(self, leased: Leased) -> bool:
        """The upstream is about to be asked. False where the run is no longer ours, or is to stop."""
        ...

    async def is_held(self, leased: Leased) -> bool:
        """Whether the run is still ours; also one that is to stop."""
        ...

    async def prolong(self, leased: Leased, seconds: float) -> bool:
        """False where the run is no longer ours, or is to stop."""
        ...

    async def finish(
        self, leased: Leased, run: Run, events: Sequence[Event] = (), *, release_key: bool = False
    ) -> bool:
        """The end of a run, its entry and what tells of it, webhooks and `callback_url` included, together.

        False where it is no longer ours.

        `release_key` lets its Idempotency-Key be used anew.
        """
        ...

    async def postpone(
        self,
        leased: Leased,
        *,
        state: str,
        due_at: int,
        poll: Mapping[str, Any] | None = None,
        progress: Any = None,
        run: Run | None = None,
    ) -> bool:
        """Gives it back until it is due again; `run` is what is known of it meanwhile."""
        ...

    async def lapsed(self, most: int, *, living: str) -> Sequence[tuple[Leased, bool, bool, bool]]:
        """Runs whose lease has run out or whose process lives no longer, taken over.

        `living` is the owner that asks, who surely lives. Each with whether it was sent, is safe to repeat, and is of
        the queue.
        """
        ...

    async def cancel(
        self, org: str, run_id: str, run: Run, events: Sequence[Event] = (), *, state: str | None = None
    ) -> bool:
        """Ends a run that nobody is carrying out. False where somebody is, it is over, or not in that state."""
        ...

    async def stop(self, org: str, run_id: str) -> bool:
        """Asks whoever carries it out to stop."""
        ...

    async def request_of(self, org: str, run_id: str) -> bytes | None:
        """What was asked, as it was stored; None where that is not kept."""
        ...

    async def resume(
        self, org: str, run_id: str, *, state: str, due_at: int, events: Sequence[Event] = ()
    ) -> bool:
        """Puts a run in line that was laid aside in that state; what held it together without a key is let go."""
        ...

    async def forget_keys(self, before: int) -> int:
        """Lets Idempotency-Keys go that were used before that time (unix ms)."""
        ...


class AnswerIndex(Protocol):
    """Which kept answer may serve a read."""

    async def cached(self, org: str, cache_key: str) -> Run | None:
        """The newest run whose answer was offered under that key."""
        ...

    async def offer(self, org: str, run_id: str, cache_key: str, size: int) -> None:
        """The answer of that run is kept, and may serve reads of that key."""
        ...

    async def keeps(self, org: str, run_id: str, size: int) -> None:
        """The answer of that run is kept."""
        ...

    async def withdraw(self, org: str, prefix: str) -> None:
        """No answer whose key begins so serves any further read."""
        ...
