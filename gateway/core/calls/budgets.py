"""One budget per connection and per OAuth client, whoever calls: what the upstream allows is never overdrawn.

The definition says how much an upstream takes, its own answers correct that. A call for which there is no
room waits its turn for some seconds, fairly between keys; then it is told when to come back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from gateway.core.calls.call import Plan
from gateway.core.errors import Refusal
from gateway.core.requests.request import Headers
from gateway.core.times import until

#: Seconds that a call waits for its turn at most, and how many calls may wait at one integration's client.
LONGEST_WAIT = 5.0
LONGEST_LINE = 100
#: A window is counted in so many parts; what was used comes back when its part has wholly left the window.
_PARTS = 60
#: An upstream may not close itself for longer than that, whatever it says.
_LONGEST_PAUSE = 3600.0
#: The pause after a 429 that does not say how long.
_SHORT_PAUSE = 1.0
_MOST_SCOPES = 20_000


class Turn:
    """Room that a call has taken. `release` it when the upstream has answered."""

    __slots__ = ("_line", "_scopes")

    def __init__(self, line: _Line, scopes: Sequence[_Scope]) -> None:
        self._line = line
        self._scopes = scopes

    def release(self) -> None:
        scopes, self._scopes = self._scopes, ()
        for scope in scopes:
            scope.in_flight -= 1
        if scopes:
            self._line.go_on()


class Budgets:
    """Gives out turns. Counts are those of this process; with several each takes its share."""

    def __init__(
        self,
        client_of: Callable[[str, str], Awaitable[str]],
        *,
        replicas: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._client_of = client_of
        self._replicas = replicas
        self._clock = clock
        self._scopes: dict[str, _Scope] = {}
        self._lines: dict[str, _Line] = {}

    async def turn(self, plan: Plan) -> Turn | None:
        """Waits for room. Raises `upstream_rate_limited` where that would take too long.

        None where nothing is known of any limit.
        """
        scopes = await self._scopes_of(plan)
        if not scopes:
            return None
        line = self._line(plan.integration.slug)
        if not line.waits and all(scope.delay(self._clock()) <= 0 for scope in scopes):
            return line.take(scopes)
        return await line.wait(plan, scopes)

    async def left(self, plan: Plan) -> Refusal | None:
        """What a call would be refused with at this moment; None where it would get its turn."""
        delay = max((scope.delay(self._clock()) for scope in await self._scopes_of(plan)), default=0.0)
        return _refusal(plan, delay) if LONGEST_WAIT < delay < inf else None

    def observe(self, plan: Plan, status: int, headers: Headers) -> None:
        """Learns from an answer: what is left, when it comes back, and that it was too much."""
        limits = plan.integration.upstream_limits
        if limits is None and status != 429:
            return
        seen = {name.lower(): value for name, value in headers}
        now = self._clock()
        remaining = _number(seen.get((_named(limits, "remaining") or "x-ratelimit-remaining").lower()))
        reset = until(seen.get((_named(limits, "reset") or "x-ratelimit-reset").lower()), now)
        pause = None
        if status == 429 or (status == 503 and "retry-after" in seen):
            named = (_named(limits, "retry_after") or "retry-after").lower()
            retry = until(seen.get(named), now, is_delay=True)
            pause = retry or (reset if remaining == 0 else None) or now + _SHORT_PAUSE
        if pause is None and (remaining is None or reset is None):
            return
        scope = self._scope(_own_name(plan), ())
        if pause is not None:
            scope.closed_until = max(scope.closed_until, min(pause, now + _LONGEST_PAUSE))
        elif remaining is not None and reset is not None:
            scope.learn(remaining, min(reset, now + _LONGEST_PAUSE))

    async def _scopes_of(self, plan: Plan) -> list[_Scope]:
        limits, connection = plan.integration.upstream_limits, _connection_name(plan)
        own = _own_name(plan)
        if limits is None:
            scope = self._scopes.get(own)
            return [scope] if scope is not None else []
        found = [self._scope(connection, limits.get("per_connection", ()), limits.get("concurrency"))]
        if own != connection:
            found.append(self._scope(own, limits["actions"][plan.skill.name]))
        if "per_client" in limits and plan.held is not None:
            client = await self._client_of(plan.call.principal.org, plan.integration.slug)
            found.append(self._scope(f"client {client}", limits["per_client"]))
        return found

    def _scope(self, name: str, windows: Sequence[Mapping[str, Any]], at_once: int | None = None) -> _Scope:
        scope = self._scopes.get(name)
        if scope is None:
            if len(self._scopes) >= _MOST_SCOPES:
                now = self._clock()
                self._scopes = {known: scope for known, scope in self._scopes.items() if not scope.is_idle(now)}
            replicas = self._replicas()
            # A window for one plan of the upstream's may be another account's: its answers will tell.
            counted = [
                _Window(max(1, window["requests"] // replicas), window["window"])
                for window in windows
                if "plan" not in window
            ]
            scope = self._scopes[name] = _Scope(counted, at_once)
        return scope

    def _line(self, slug: str) -> _Line:
        line = self._lines.get(slug)
        if line is None:
            line = self._lines[slug] = _Line(self._clock)
        return line


class _Window:
    """At most `limit` in any stretch of `seconds`."""

    __slots__ = ("_limit", "_part", "_used", "_width")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._width = seconds / _PARTS
        #: (part of time, used in it), oldest first.
        self._used: deque[list[int]] = deque()
        self._part = 0

    def delay(self, now: float) -> float:
        """Seconds until there is room for one."""
        self._forget(now)
        if sum(used for _, used in self._used) < self._limit:
            return 0.0
        return (self._used[0][0] + _PARTS + 1) * self._width - now

    def take(self, now: float) -> None:
        part = int(now / self._width)
        if self._used and self._used[-1][0] == part:
            self._used[-1][1] += 1
        else:
            self._used.append([part, 1])

    def _forget(self, now: float) -> None:
        while self._used and (self._used[0][0] + _PARTS + 1) * self._width <= now:
            self._used.popleft()


class _Scope:
    """What is limited together: a connection, one action of a connection, an OAuth client."""

    __slots__ = ("_at_once", "_left", "_left_until", "_windows", "closed_until", "in_flight")

    def __init__(self, windows: Sequence[_Window], at_once: int | None) -> None:
        self._windows = windows
        self._at_once = at_once
        self.in_flight = 0
        self.closed_until = 0.0
        self._left: int | None = None
        self._left_until = 0.0

    def delay(self, now: float) -> float:
        """Seconds until there is room; infinite where only somebody's end can make it."""
        if self._at_once is not None and self.in_flight >= self._at_once:
            return inf
        delay = self.closed_until - now
        if self._left is not None and self._left_until > now and self._left <= 0:
            delay = max(delay, self._left_until - now)
        for window in self._windows:
            delay = max(delay, window.delay(now))
        return delay

    def take(self, now: float) -> None:
        self.in_flight += 1
        if self._left is not None:
            self._left -= 1
        for window in self._windows:
            window.take(now)

    def learn(self, remaining: int, until: float) -> None:
        """The upstream says what is left; what is under way may not be in it yet."""
        left = remaining - max(0, self.in_flight - 1)
        if self._left is None or self._left_until != until or left < self._left:
            self._left, self._left_until = left, until

    def is_idle(self, now: float) -> bool:
        return not self.in_flight and self.delay(now) <= 0


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call that waits."""

    key: str
    scopes: Sequence[_Scope]
    turn: asyncio.Future[Turn]
    in_line: bool = True

    @property
    def has_turn(self) -> bool:
        return self.turn.done() and not self.turn.cancelled()


class _Line:
    """Who waits at one integration: keys take turns, and nobody waits behind a call whose room is elsewhere."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.waits = 0

    def take(self, scopes: Sequence[_Scope]) -> Turn:
        now = self._clock()
        for scope in scopes:
            scope.take(now)
        return Turn(self, scopes)

    async def wait(self, plan: Plan, scopes: Sequence[_Scope]) -> Turn:
        delay = max(scope.delay(self._clock()) for scope in scopes)
        if self.waits >= LONGEST_LINE or LONGEST_WAIT < delay < inf:
            raise _refusal(plan, delay)
        mine = _Waiting(plan.call.principal.actor.id or "", scopes, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(mine.key, deque()).append(mine)
        self.waits += 1
        self.go_on()
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                return await mine.turn
        except TimeoutError:
            if mine.has_turn:
                # It came in the same moment.
                return mine.turn.result()
            raise _refusal(plan, max(scope.delay(self._clock()) for scope in scopes)) from None
        except asyncio.CancelledError:
            if mine.has_turn:
                mine.turn.result().release()
            raise
        finally:
            self._leave(mine)

    def go_on(self) -> None:
        """Gives turns to whom there is room for, one key after the other."""
        soonest, given = inf, True
        while given and self.waits:
            given, soonest, now = False, inf, self._clock()
            for key in list(self._waiting):
                for waiting in list(self._waiting.get(key, ())):
                    if waiting.turn.done():
                        self._leave(waiting)
                        continue
                    delay = max(scope.delay(now) for scope in waiting.scopes)
                    if delay > 0:
                        soonest = min(soonest, delay)
                        continue
                    self._leave(waiting)
                    if key in self._waiting:
                        # Whoever had a turn stands behind the others.
                        self._waiting[key] = self._waiting.pop(key)
                    waiting.turn.set_result(self.take(waiting.scopes))
                    given = True
                    break
        self._wake_in(soonest)

    def _leave(self, waiting: _Waiting) -> None:
        if not waiting.in_line:
            return
        waiting.in_line = False
        self.waits -= 1
        line = self._waiting[waiting.key]
        line.remove(waiting)
        if not line:
            del self._waiting[waiting.key]

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < inf and self.waits:
            # A little later than said: a clock that is a moment behind would find no room yet.
            self._timer = asyncio.get_running_loop().call_later(seconds + 0.001, self.go_on)


def _refusal(plan: Plan, delay: float) -> Refusal:
    wait = 1.0 if delay == inf else max(delay, 0.001)
    return Refusal(
        "upstream_rate_limited",
        f"{plan.integration.name} takes no further call of this connection for {wait:.0f} s."
        if wait >= 1
        else f"Too many calls of {plan.integration.name} wait already.",
        outcome="not_sent",
        retryable=True,
        retry_after_ms=int(wait * 1000) + 1,
    )


def _connection_name(plan: Plan) -> str:
    if plan.held is not None:
        return plan.held.connection.id
    return f"{plan.call.principal.org} {plan.integration.slug}"


def _own_name(plan: Plan) -> str:
    """The scope that an answer speaks of: an action with windows of its own is counted by itself upstream too."""
    limits = plan.integration.upstream_limits
    own = limits is not None and plan.skill.name in limits.get("actions", ())
    return f"{_connection_name(plan)} {plan.skill.name}" if own else _connection_name(plan)


def _named(limits: Mapping[str, Any] | None, what: str) -> str | None:
    return limits.get(what) if limits is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None
