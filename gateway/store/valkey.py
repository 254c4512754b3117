"""Counts in a Valkey or Redis that all replicas share: one script a take, so that a limit is exact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from gateway.core.tenants.counters import BaseMissing, CountersGone, Took, Want

#: How often, and for how many seconds each time, an answer is waited for: a call must not feel a Valkey that hangs.
#: Several short waits are not one long one: while this process is too busy to read, only one of them is used up.
_WAITS, _WAIT = 5, 0.1
#: Commands that go out together at most.
_BATCH = 500
#: Seconds for which a count is kept after its end: replicas whose clocks differ still mean the same one.
_SLACK = 60


class _Script:
    def __init__(self, text: str) -> None:
        self.text = text
        # Not for secrecy: it is the name by which the server knows a script.
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


# For each key: amount, limit, seconds it has left, whether it begins in the database, and what is owed to it.
# What is owed is counted whatever comes of the rest; of the rest all is counted or nothing.
_TAKE = _Script("""
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
""")
# Only what is still there: a count that is over must not begin again below nothing.
_GIVE_BACK = _Script("if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DECRBY', KEYS[1], ARGV[1]) end return 0")


class ValkeyCounters:
    """Implements `SharedCounters`. `installation` keeps two that share a server apart.

    What is asked for while an answer is under way goes out together as soon as it is there: a crowd of calls
    waits for two answers, not for hundreds.
    """

    def __init__(self, url: str, *, installation: str, clock: Callable[[], float] = time.time) -> None:
        # Once more where the connection had been closed, as many do that lay idle. Were it counted twice, too little is
        # let through, and never too much.
        again = Retry(NoBackoff(), 1)
        self._redis = Redis.from_url(url, decode_responses=False, retry=again, socket_timeout=None)
        self._prefix = f"skillway:{installation}"
        self._clock = clock
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def take(self, wants: Sequence[Want], owed: Sequence[int]) -> Took:
        arguments: list[int] = []
        for want, debt in zip(wants, owed, strict=True):
            arguments += [want.amount, want.limit, self._seconds(want), int(want.base is not None), debt]
        said = await self._run(_TAKE, [self._key(want) for want in wants], arguments)
        done, *counts = cast(list[int], said)
        if done < 0:
            raise BaseMissing(wants[counts[0] - 1])
        return Took(tuple(counts), refused=not done)

    async def begin(self, want: Want, base: int) -> None:
        await self._ask("SET", self._key(want), base, "EX", self._seconds(want), "NX")

    async def give_back(self, want: Want) -> None:
        await self._run(_GIVE_BACK, [self._key(want)], [want.amount])

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        await self._redis.aclose(close_connection_pool=True)

    def _key(self, want: Want) -> str:
        # In a cluster all counts of an org lie on one node, where a script can reach them together.
        return f"{self._prefix}:{{{want.org}}}:{want.name}:{want.until}"

    def _seconds(self, want: Want) -> int:
        return max(1, want.until - int(self._clock())) + _SLACK

    async def _run(self, script: _Script, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        command = "EVALSHA", script.digest, len(keys), *keys, *arguments
        try:
            return await self._ask(*command)
        except NoScriptError:
            # A server that was started anew knows no scripts.
            await self._ask("SCRIPT LOAD", script.text)
            return await self._ask(*command)

    async def _ask(self, *command: Any) -> Any:
        """The answer to one command. Raises `CountersGone`, and `NoScriptError`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        try:
            return await answer
        except NoScriptError:
            raise
        except RedisError as error:
            # It is full, or a replica that only reads.
            raise CountersGone(type(error).__name__) from error

    async def _send(self) -> None:
        while self._waiting:
            # Whoever does not wait any more wants nothing counted.
            batch = [one for one in self._waiting[:_BATCH] if not one[1].done()]
            del self._waiting[:_BATCH]
            try:
                said = await self._answers([command for command, _ in batch])
            except (RedisError, OSError, TimeoutError) as error:
                # Those that came meanwhile would wait as long for nothing.
                batch += self._waiting
                self._waiting.clear()
                said = [CountersGone(type(error).__name__) for _ in batch]
            except BaseException:
                for _, answer in batch + self._waiting:
                    answer.cancel()
                raise
            for (_, answer), value in zip(batch, said, strict=True):
                if answer.done():
                    continue
                if isinstance(value, BaseException):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)

    async def _answers(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers in order, an exception in place of one that the server refused."""
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        asked = asyncio.ensure_future(pipeline.execute(raise_on_error=False))
        try:
            for _ in range(_WAITS):
                if (await asyncio.wait({asked}, timeout=_WAIT))[0]:
                    return asked.result()
            raise TimeoutError
        finally:
            if not asked.done():
                # What is still on its way must not be read as the answer to the next batch: this closes the connection.
                asked.cancel()
                await asyncio.wait({asked})
