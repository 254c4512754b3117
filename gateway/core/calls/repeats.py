"""When a request is made again by itself, and when not at all for a while.

Only what is safe to repeat is: the action is idempotent, or the request provably never left. Whoever fails
again and again is left alone for some seconds, by org and host. What is made again is made anew: a signature holds for
its own time, and for once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.calls.call import Plan
from gateway.core.errors import Refusal
from gateway.core.requests.request import UpstreamAnswer, UpstreamFailed, UpstreamRequest, UpstreamStream

Answer = TypeVar("Answer", UpstreamAnswer, UpstreamStream)

#: Requests of one call at most, the first one included.
MOST = 3
#: Seconds before the second; twice as many before the third. A random part of it is waited (full jitter).
_FIRST_PAUSE = 0.2
#: So many calls in a row without an answer open the circuit, for so many seconds.
FAILURES = 5
OPEN_SECONDS = 10.0
_MOST_CIRCUITS = 10_000


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    #: One call goes through to see whether it is well again.
    is_probed: bool = False


class Repeats:
    """Sends requests, as often as they may be sent."""

    def __init__(
        self,
        rebuilt: Callable[[Plan], Plan],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._rebuilt = rebuilt
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._circuits: dict[tuple[str, str], _Circuit] = {}

    async def send(self, plan: Plan, send: Callable[[UpstreamRequest], Awaitable[Answer]]) -> Answer:
        """The answer to the plan's request. Raises `UpstreamFailed`, or `Refusal` where the circuit is open."""
        request = plan.request
        where = (plan.call.principal.org, request.origin)
        self._enter(plan, where)
        until = self._clock() + request.timeout
        for number in range(1, MOST + 1):
            try:
                answer = await send(request)
            except UpstreamFailed as failed:
                self._failed(where, failed)
                pause = _FIRST_PAUSE * 2 ** (number - 1) * self._chance()
                is_safe = not failed.sent or (request.idempotent and failed.status is None)
                if number == MOST or not is_safe or self._clock() + pause >= until:
                    raise
            except BaseException:
                self._leave(where)
                raise
            else:
                # Whatever it says: "not now" is an answer too, and the caller's to act on.
                self._answered(where)
                return answer
            await self._sleep(pause)
            request = self._rebuilt(plan).request
        raise AssertionError("the last attempt answers or raises")

    def _enter(self, plan: Plan, where: tuple[str, str]) -> None:
        circuit = self._circuits.get(where)
        if circuit is None or circuit.failures < FAILURES:
            return
        wait = circuit.open_until - self._clock()
        if wait <= 0 and not circuit.is_probed:
            circuit.is_probed = True
            return
        raise Refusal(
            "upstream_unreachable",
            f"{plan.integration.name} could not be reached {circuit.failures} times in a row; it is left alone for now.",
            outcome="not_sent",
            retryable=True,
            retry_after_ms=int(max(wait, 1.0) * 1000),
            run_id=plan.run_id,
        )

    def _failed(self, where: tuple[str, str], failed: UpstreamFailed) -> None:
        if failed.status is not None or failed.code == "upstream_invalid_response":
            # It is there, whatever it said.
            self._answered(where)
            return
        if where not in self._circuits and len(self._circuits) >= _MOST_CIRCUITS:
            self._circuits.clear()
        circuit = self._circuits.setdefault(where, _Circuit())
        circuit.failures += 1
        circuit.is_probed = False
        if circuit.failures >= FAILURES:
            circuit.open_until = self._clock() + OPEN_SECONDS

    def _answered(self, where: tuple[str, str]) -> None:
        self._circuits.pop(where, None)

    def _leave(self, where: tuple[str, str]) -> None:
        circuit = self._circuits.get(where)
        if circuit is not None:
            circuit.is_probed = False

