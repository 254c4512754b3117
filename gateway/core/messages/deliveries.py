"""A delivery: one event on its way to one endpoint, tried again by a table until it arrives or is given up."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson

from gateway.core.events import Event
from gateway.core.tenants.keys import Mode
from gateway.core.times import iso

#: `failed`: the last attempt did, and there will be another. `dead`: given up; a replay begins anew.
DeliveryState = Literal["pending", "failed", "delivered", "dead"]

_MINUTE, _HOUR = 60.0, 3600.0
#: Seconds from a failed attempt to the next one: ten attempts over 75 hours, as Standard Webhooks proposes.
PAUSES: tuple[float, ...] = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
#: A pause is longer by up to this part of it, so that what failed together does not come back together.
_JITTER = 0.1
#: A `Retry-After` counts for no more seconds than this.
LONGEST_RETRY_AFTER = 3600.0
#: So many failures in a row are bad luck; from then on the endpoint is only probed, ever less often.
_BAD_LUCK = 4
_LONGEST_REST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event for an endpoint, with the bytes that every attempt sends. Times are unix seconds."""

    id: str
    org: str
    #: A webhook's id, or the origin that a callback goes to.
    endpoint: str
    #: Where a callback goes; a webhook knows its own.
    url: str | None = field(repr=False)
    mode: Mode
    event: str
    type: str
    payload: bytes = field(repr=False)
    state: DeliveryState
    #: How often it was taken in hand; what a late worker still holds has a smaller one.
    attempt: int
    #: The same since it was made or replayed.
    tries: int
    next_at: float | None
    claimed_until: float | None
    status: int | None
    error: str | None
    answer: str | None
    created_at: float
    last_at: float | None
    finished_at: float | None

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "event": {"id": self.event, "type": self.type},
            # While it is being sent it waits for what comes of that.
            "state": "pending" if self.claimed_until is not None else self.state,
            "attempts": self.attempt,
            "last_status": self.status,
            "last_error": self.error,
            "last_answer": self.answer,
            "created_at": iso(self.created_at),
            "last_attempt_at": iso(self.last_at),
            "next_attempt_at": iso(self.next_at),
            "finished_at": iso(self.finished_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an attempt: an HTTP status, or the error that stood in its way."""

    status: int | None = None
    #: `unreachable`, `timeout`, `invalid_response`, `redirect`, `client_error`, `server_error`, `gone`,
    #: `worker_lost`, `webhook_disabled`; None where it was delivered.
    error: str | None = None
    #: The beginning of an answer in text.
    answer: str | None = None
    #: Seconds that the endpoint wants to be left alone.
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Whether an endpoint is due, though perhaps not for us, and in how many seconds the next one will be."""

    is_now: bool
    next_in: float | None


class FanOut(Protocol):
    """What makes deliveries of events."""

    async def fan_out(self, most: int) -> int:
        """Those of so many events at most; says how many it found."""
        ...


class DeliveryStore(Protocol):
    """The queue of deliveries, shared by every process."""

    async def claim(self, most: int, *, busy: Collection[str], interval: float) -> Sequence[Delivery]:
        """Takes deliveries that are due, at most one of an endpoint, fairly between orgs; none of `busy` orgs.

        They are this process's for `LEASE` seconds. To an endpoint nothing else is sent for `interval` seconds.
        """
        ...

    async def due(self) -> Due: ...

    async def finish(
        self, delivery: Delivery, state: DeliveryState, outcome: Outcome, *, pause: float | None = None
    ) -> float | None:
        """Notes what became of it, and in how many seconds it is tried again.

        Gives back for how long its endpoint has answered with nothing but failures. None, and changes nothing,
        where it is another worker's by now.
        """
        ...

    async def list(
        self, org: str, endpoint: str, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[Delivery], str | None]:
        """Newest first, and where the next page starts. Raises `Refusal` for a cursor that is none of ours."""
        ...

    async def replay(self, org: str, endpoint: str, delivery_id: str) -> Delivery | None:
        """Due at once, its schedule begun anew. None where there is no such; `conflict` while it is being sent."""
        ...


def payload_of(event: Event) -> bytes:
    """The bytes of an event's deliveries: made once and kept, so that every attempt signs the same."""
    return orjson.dumps(
        {
            "type": event.type,
            "timestamp": iso(event.at / 1000),
            "id": event.id,
            "data": dict(event.data),
            "org": event.org,
        }
    )


def pause_after(
    tries: int, retry_after: float | None, chance: Callable[[], float] = random.random
) -> float | None:
    """Seconds until the next attempt; None where that was the last."""
    if tries > len(PAUSES):
        return None
    return max(PAUSES[tries - 1] * (1 + _JITTER * chance()), retry_after or 0.0)


def rest_after(failures: int, retry_after: float | None) -> float:
    """Seconds for which an endpoint gets nothing at all after so many failures in a row."""
    rest = min(2.0 ** min(failures - _BAD_LUCK, 10), _LONGEST_REST) if failures > _BAD_LUCK else 0.0
    return max(rest, retry_after or 0.0)
