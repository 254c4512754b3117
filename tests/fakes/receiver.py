"""The other end of a webhook: takes deliveries, checks who signed them, and answers as a test wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from standardwebhooks import Webhook

from tests.fakes.upstream import Answer, Clock, HandClock, Seen, Upstream

#: What a receiver answers to the delivery of that number, counted from 0.
Answering = Callable[[int, Seen], Answer]


class WalkingClock(HandClock):
    """Goes on by itself, as what is paced needs it, and can be moved by hand too."""

    def __init__(self) -> None:
        super().__init__(time.time())
        self._began = time.monotonic()

    def __call__(self) -> float:
        return self.now + time.monotonic() - self._began


class Receiver(Upstream):
    """Every path is an endpoint. `answering` decides; 204 unless said otherwise."""

    def __init__(self, answering: Answering | None = None, *, clock: Clock = time.time) -> None:
        super().__init__(clock=clock)
        self.answering = answering or (lambda number, seen: Answer(status=204))
        #: When each of `seen` came, by the clock.
        self.times: list[float] = []

    def _answer(self, seen: Seen) -> Answer:
        self.times.append(self.clock())
        return self.answering(len(self.times) - 1, seen)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was told, in the order in which it came."""
        return [seen.json() for seen in self.seen]


def verified(seen: Seen, secret: str) -> Any:
    """The payload, once the library of Standard Webhooks has found its signature right. Raises as that does."""
    return Webhook(secret).verify(seen.body, headers_of(seen))


def headers_of(seen: Seen) -> dict[str, str]:
    return {name.lower(): value for name, value in seen.headers}


def answering(*statuses: int, headers: Mapping[str, str] | None = None) -> Answering:
    """One status after the other; the last one from then on."""
    return lambda number, seen: Answer(status=statuses[min(number, len(statuses) - 1)], headers=headers or {})
