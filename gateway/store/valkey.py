"""Counts in a Valkey or Redis that all replicas share: one script a take, so that a limit is exact."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from gateway.core.counters import BaseMissing, CountersGone, Took, Want

T = TypeVar("T")

#: Seconds that a take may wait for an answer. A call must not feel a Valkey that hangs.
_DEADLINE = 0.25
_CONNECTIONS = 32
#: Seconds for which a count is kept after its end: replicas whose clocks differ still mean the same one.
_SLACK = 60

# For each key: amount, limit, seconds it has left, whether it begins in the database, and what is owed to it.
# What is owed is counted whatever comes of the rest; of the rest all is counted or nothing.
_TAKE = """
local counts = {}
for i, key in ipairs(KEYS) do
    counts[i] = redis.call('GET', key)
    if not counts[i] and ARGV[(i - 1) * 5 + 4] == '1' then return {-1, i} end
end
for i, key in ipairs(KEYS) do
    local at = (i - 1) * 5
    if not counts[i] then redis.call('SET', key, 0, 'EX', ARGV[at + 3]) end
    if ARGV[at + 5] ~= '0' then counts[i] = redis.call('INCRBY', key, ARGV[at + 5]) end
    counts[i] = tonumber(counts[i] or 0)
end
for i, count in ipairs(counts) do
    local at = (i - 1) * 5
    if count + tonumber(ARGV[at + 1]) > tonumber(ARGV[at + 2]) then
        return {0, unpack(counts, 1, i)}
    end
end
for i, key in ipairs(KEYS) do counts[i] = redis.call('INCRBY', key, ARGV[(i - 1) * 5 + 1]) end
return {1, unpack(counts)}
"""
# Only what is still there: a count that is over must not begin again below nothing.
_GIVE_BACK = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DECRBY', KEYS[1], ARGV[1]) end return 0"


class ValkeyCounters:
    """Implements `SharedCounters`. `installation` keeps two that share a server apart."""

    def __init__(self, url: str, *, installation: str, clock: Callable[[], float] = time.time) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_DEADLINE,
            socket_timeout=_DEADLINE,
            socket_connect_timeout=_DEADLINE,
            decode_responses=False,
            retry=None,
        )
        self._redis = Redis(connection_pool=pool)
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)
        self._prefix = f"skillway:{installation}"
        self._clock = clock

    async def take(self, wants: Sequence[Want], owed: Sequence[int]) -> Took:
        arguments: list[int] = []
        for want, debt in zip(wants, owed, strict=True):
            arguments += [want.amount, want.limit, self._seconds(want), int(want.base is not None), debt]
        said = await self._asked(self._take(keys=[self._key(want) for want in wants], args=arguments))
        done, *counts = cast(list[int], said)
        if done < 0:
            raise BaseMissing(wants[counts[0] - 1])
        return Took(tuple(counts), refused=not done)

    async def begin(self, want: Want, base: int) -> None:
        await self._asked(self._redis.set(self._key(want), base, ex=self._seconds(want), nx=True))

    async def give_back(self, want: Want) -> None:
        await self._asked(self._give_back(keys=[self._key(want)], args=[want.amount]))

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    def _key(self, want: Want) -> str:
        # In a cluster all counts of an org lie on one node, where a script can reach them together.
        return f"{self._prefix}:{{{want.org}}}:{want.name}:{want.until}"

    def _seconds(self, want: Want) -> int:
        return max(1, want.until - int(self._clock())) + _SLACK

    async def _asked(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except (RedisError, OSError, TimeoutError) as error:
            raise CountersGone(type(error).__name__) from error
