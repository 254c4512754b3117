"""Counts of things that may happen so often in a stretch of time: kept in this process, or shared by all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

#: Counts in memory before those that are over are swept out: one sweep costs some milliseconds.
_SWEEP_AT = 50_000

Base = Literal["calls", "credits"]


@dataclass(frozen=True, slots=True)
class Want:
    """`amount` more of something that may happen `limit` times until `until` (unix seconds)."""

    org: str
    name: str
    amount: int
    limit: int
    until: int
    #: What the ledger knows of it: where the count begins.
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class Took:
    """All of it was counted, or nothing was. `counts` are those of the wants in order, up to the one that is full."""

    counts: tuple[int, ...]
    refused: bool = False


class BaseMissing(Exception):
    """A count that begins in the ledger is not known here."""

    def __init__(self, want: Want) -> None:
        super().__init__(want.name)
        self.want = want


class CountersGone(Exception):
    """The shared counts cannot be reached."""


class SharedCounters(Protocol):
    """Counts that all replicas share. Every method may raise `CountersGone`."""

    async def take(self, wants: Sequence[Want], owed: Sequence[int]) -> Took:
        """Counts all or nothing. `owed` was let through before, while the counts could not be reached.

        Raises `BaseMissing`.
        """
        ...

    async def begin(self, want: Want, base: int) -> None:
        """Where a count begins, unless somebody else has begun it."""
        ...

    async def give_back(self, want: Want) -> None: ...

    async def close(self) -> None: ...


class LocalCounters:
    """Counts of this process."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def take(self, wants: Sequence[Want], now: float) -> Took:
        """Raises `BaseMissing`."""
        found = [self._find(want, now) for want in wants]
        for at, (want, count) in enumerate(zip(wants, found, strict=True)):
            if count[1] + want.amount > want.limit:
                return Took(tuple(count[1] for count in found[: at + 1]), refused=True)
        for want, count in zip(wants, found, strict=True):
            count[1] += want.amount
        return Took(tuple(count[1] for count in found))

    def add(self, want: Want, now: float) -> None:
        """Counts without asking for a limit."""
        self._begun(want, now)[1] += want.amount

    def begin(self, want: Want, base: int, now: float) -> None:
        """Where a count begins; one that goes on is only ever raised."""
        count = self._begun(want, now)
        count[1] = max(count[1], base)

    def give_back(self, want: Want) -> None:
        count = self._counts.get(want.name)
        if count is not None and count[0] == want.until:
            count[1] = max(0, count[1] - want.amount)

    def count(self, want: Want) -> int | None:
        """What was counted so far; None where it is not known here."""
        count = self._counts.get(want.name)
        return count[1] if count is not None and count[0] == want.until else None

    def _find(self, want: Want, now: float) -> list[int]:
        count = self._counts.get(want.name)
        if count is not None and count[0] == want.until:
            return count
        if want.base is not None:
            raise BaseMissing(want)
        return self._begun(want, now)

    def _begun(self, want: Want, now: float) -> list[int]:
        count = self._counts.get(want.name)
        if count is None or count[0] != want.until:
            if len(self._counts) >= _SWEEP_AT:
                self._counts = {name: known for name, known in self._counts.items() if known[0] > now}
            count = self._counts[want.name] = [want.until, 0]
        return count
