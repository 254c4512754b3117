"""Sends what is due: every process that serves takes its part of the deliveries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.messages.deliveries import (
    LONGEST_RETRY_AFTER,
    PAUSES,
    Delivery,
    DeliveryStore,
    FanOut,
    Outcome,
    pause_after,
)
from gateway.core.messages.signing import SigningSecretStore, signatures
from gateway.core.messages.webhook import WebhookStore
from gateway.core.requests.building import USER_AGENT
from gateway.core.requests.request import Headers, UpstreamFailed
from gateway.core.times import until
from oauth.secret import Secret

log = logging.getLogger("skillway.deliveries")

#: Seconds for one attempt.
TIMEOUT = 15.0
#: Seconds between two looks for what another process wrote.
POLL = 1.0
#: Attempts at one time, just after the start and how many more each second, until there are so many.
FIRST_SLOTS, MORE_SLOTS, MOST_SLOTS = 16, 1, 64
#: The part of the slots that one org may fill.
_SHARE = 0.75
#: Deliveries that are claimed, and events whose deliveries are made, in one transaction.
_CLAIMED_AT_ONCE = 16
_FANNED_OUT_AT_ONCE = 100
#: Seconds that attempts in flight get when the process ends.
_GRACE = 2.0
#: Seconds of nothing but failures after which a webhook is disabled.
_HOPELESS = 5 * 86400.0
_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What an endpoint answered."""

    status: int
    retry_after: str | None = None
    #: The beginning of a text; None where it was none, or may not be kept.
    text: str | None = None


class Post(Protocol):
    """The way out for deliveries."""

    def check(self, url: str) -> str | None:
        """What is wrong with a URL that somebody wants to keep; names are judged when something is sent."""
        ...

    async def send(self, url: str, headers: Headers, body: bytes, *, timeout: float) -> Posted:
        """One POST, no redirect. Raises `UpstreamFailed`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    url: str = field(repr=False)
    secrets: Sequence[Secret] = field(repr=False)


class Deliverer:
    """Makes deliveries of events, claims those that are due, and sends them; `rate` a second to one endpoint."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        fan_out: FanOut,
        webhooks: WebhookStore,
        signing_secrets: SigningSecretStore,
        post: Post,
        rate: float,
        clock: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._fan_out = fan_out
        self._webhooks = webhooks
        self._signing_secrets = signing_secrets
        self._post = post
        self._interval = 1.0 / rate
        self._clock = clock
        self._awake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._began = 0.0
        self._failed = False
        self._attempts: set[asyncio.Task[None]] = set()
        self._of_org: Counter[str] = Counter()

    async def __aenter__(self) -> Deliverer:
        self._began = asyncio.get_running_loop().time()
        self._loop = asyncio.create_task(self._run(), name="deliver")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=_GRACE)
        for attempt in self._attempts:
            # Its claim runs out, and another process tries again.
            attempt.cancel()
        await asyncio.gather(self._loop, *self._attempts, return_exceptions=True)

    def wake(self) -> None:
        """There may be something to do: it is looked for at once."""
        self._awake.set()

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            try:
                wait = await self._turn()
                self._failed = False
            except Exception as error:
                if not self._failed:
                    log.warning("deliveries wait: %s", type(error).__name__)
                self._failed, wait = True, POLL
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._awake.wait()

    async def _turn(self) -> float:
        """Does what there is to do at this moment; seconds until there may be more."""
        found = await self._fan_out.fan_out(_FANNED_OUT_AT_ONCE)
        due = await self._deliveries.due()
        while due.is_now and (room := min(self._slots() - len(self._attempts), _CLAIMED_AT_ONCE)) > 0:
            claimed = await self._deliveries.claim(room, busy=self._busy(), interval=self._interval)
            for delivery in claimed:
                self._begin(delivery)
            due = await self._deliveries.due()
            if not claimed:
                # What is due waits for something else: an attempt in flight, or its org.
                break
        if found == _FANNED_OUT_AT_ONCE:
            return 0.0
        # Processes that started together shall not look together.
        poll = POLL * random.uniform(0.8, 1.2)  # noqa: S311 - nothing depends on its being unknown
        return poll if due.next_in is None else min(due.next_in, poll)

    def _slots(self) -> int:
        """More from second to second: what has piled up must not fall on a process that has just started."""
        return min(MOST_SLOTS, FIRST_SLOTS + int(MORE_SLOTS * (asyncio.get_running_loop().time() - self._began)))

    def _busy(self) -> list[str]:
        share = int(self._slots() * _SHARE)
        return [org for org, attempts in self._of_org.items() if attempts >= share]

    def _begin(self, delivery: Delivery) -> None:
        attempt = asyncio.create_task(self._attempt(delivery), name=delivery.id)
        self._attempts.add(attempt)
        self._of_org[delivery.org] += 1

        def over(_: object) -> None:
            self._attempts.discard(attempt)
            self._of_org[delivery.org] -= 1
            if not self._of_org[delivery.org]:
                del self._of_org[delivery.org]
            self.wake()

        attempt.add_done_callback(over)

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            await self._settle(delivery, await self._outcome(delivery))
        except Exception as error:
            # Nothing is lost: the claim runs out.
            log.warning("%s was not settled: %s", delivery.id, type(error).__name__)

    async def _outcome(self, delivery: Delivery) -> Outcome:
        if delivery.tries > len(PAUSES) + 1:
            return Outcome(error="worker_lost")
        target = await self._target(delivery)
        if target is None:
            return Outcome(error="webhook_disabled")
        at = int(self._clock())
        headers = (
            ("Content-Type", "application/json"),
            ("User-Agent", f"{USER_AGENT}-Webhook"),
            ("X-Skillway-Event", delivery.type),
            *signatures(target.secrets, delivery.event, at, delivery.payload),
        )
        try:
            posted = await self._post.send(target.url, headers, delivery.payload, timeout=TIMEOUT)
        except UpstreamFailed as failed:
            log.info("%s: %s (%s)", delivery.id, failed.code, failed.cause)
            return Outcome(error=failed.code.removeprefix("upstream_"))
        asked = until(posted.retry_after, self._clock(), is_delay=True)
        return Outcome(
            status=posted.status,
            error=_error_of(posted.status),
            answer=posted.text,
            retry_after=None if asked is None else min(max(asked - self._clock(), 0.0), LONGEST_RETRY_AFTER),
        )

    async def _target(self, delivery: Delivery) -> _Target | None:
        """Where it goes at this moment, and what signs it."""
        if delivery.url is not None:
            return _Target(
                url=delivery.url, secrets=await self._signing_secrets.live(delivery.org, delivery.mode)
            )
        found = await self._webhooks.with_secrets(delivery.org, delivery.endpoint)
        if found is None:
            return None
        webhook, secrets = found
        if webhook.disabled_reason is not None:
            # The first to see that its key has ended says so.
            await self._webhooks.disable(webhook.org, webhook.id, webhook.disabled_reason)
            return None
        return _Target(url=webhook.url, secrets=secrets)

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        if outcome.error is None:
            await self._deliveries.finish(delivery, "delivered", outcome)
            return
        pause = pause_after(delivery.tries, outcome.retry_after)
        if outcome.error in ("gone", "worker_lost", "webhook_disabled"):
            pause = None
        failing = await self._deliveries.finish(
            delivery, "dead" if pause is None else "failed", outcome, pause=pause
        )
        if failing is None or delivery.url is not None:
            return
        if outcome.error == "gone":
            await self._webhooks.disable(delivery.org, delivery.endpoint, "gone")
        elif failing >= _HOPELESS:
            await self._webhooks.disable(delivery.org, delivery.endpoint, "failing")


def _error_of(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if status == _GONE:
        return "gone"
    return "redirect" if status < 400 else "client_error" if status < 500 else "server_error"
