"""Answers that are kept whole: of runs that are polled, replayed or cut, and for reads that the same answer serves."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Callable

import orjson

from gateway.core.blobs import BlobBroken, BlobStore
from gateway.core.calls.call import Plan
from gateway.core.catalogs import Catalogs
from gateway.core.requests.answers import Result, says_no
from gateway.core.room import Room, overloaded
from gateway.core.run import AnswerIndex, Run, RunStore
from gateway.core.times import iso
from skills_catalog.model import Integration, Skill

#: Bytes that are sealed at once.
_PIECE = 256 * 1024


class KeptAnswers:
    """Keeps answers under the id of their run, sealed, for as long as runs are kept."""

    def __init__(
        self, blobs: BlobStore, room: Room, *, retention: float, most: int, clock: Callable[[], float]
    ) -> None:
        self._blobs = blobs
        self._room = room
        self._retention = retention
        self._most = most
        self._clock = clock

    async def keep(self, org: str, run_id: str, result: Result, *, seconds: float | None = None) -> int:
        """Stores it; gives back how many bytes its data has."""
        head = orjson.dumps({"status": result.status, "meta": dict(result.meta)})
        expires_at = self._clock() + (seconds or self._retention)
        await self._blobs.delete(org, run_id)
        return await self._blobs.write(
            org, run_id, head, _pieces(result.data), expires_at=expires_at, most=self._most
        )

    async def size(self, org: str, run_id: str) -> int | None:
        """How many bytes of data are kept; None where no answer is."""
        found = await self._blobs.find(org, run_id)
        return None if found is None else found.size

    async def find(self, org: str, run_id: str) -> Result | None:
        """The answer as it was kept; None where it no longer is, or does not open. Raises `overloaded` without room."""
        found = await self._blobs.find(org, run_id)
        if found is None:
            return None
        if found.size > _PIECE and not self._room.part(org).take(found.size):
            raise overloaded("Too many large answers are under way, and this one was not read.")
        # Joined from a list, or moved as it grows, a large answer would be in memory twice.
        data = io.BytesIO(bytes(found.size))
        try:
            async for piece in self._blobs.read(org, run_id):
                data.write(piece)
        except BlobBroken:
            return None
        about = orjson.loads(found.head)
        return Result(status=about["status"], data=data.getvalue(), meta=about["meta"])


class AnswerCache:
    """Reads whose definition says so are answered from the last answer for a while: one connection's, one action's."""

    def __init__(
        self,
        kept: KeptAnswers,
        runs: RunStore,
        index: AnswerIndex,
        catalogs: Catalogs,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._kept = kept
        self._runs = runs
        self._index = index
        self._clock = clock

    async def find(self, plan: Plan) -> Result | None:
        """An answer that still serves; None where the upstream has to be asked."""
        ttl = _ttl(plan)
        if ttl is None or plan.call.is_fresh:
            return None
        org, now = plan.call.principal.org, self._clock()
        run = await self._index.cached(org, _cache_key(plan))
        if run is None or run.finished_at is None or run.finished_at / 1000 + ttl <= now:
            return None
        result = await self._kept.find(org, run.id)
        if result is None:
            return None
        until = run.finished_at / 1000 + ttl
        meta = {**result.meta, "run_id": plan.run_id}
        meta |= {"cached": True, "cache_ttl": int(ttl), "cache_expires_at": iso(until)}
        return Result(status=result.status, data=result.data, meta=meta)

    async def empty(self, run: Run) -> None:
        """After a change that was made, or may have been, nobody has what was read before."""
        integration = self._catalogs.current.integrations.get(run.integration)
        if integration is None or not integration.has_cache or run.effect == "read" or run.outcome == "not_sent":
            return
        skill, connection = integration.skills.get(run.action), run.connection or run.user
        # Nobody knows what a request that the caller made up has changed, or an action that is no more.
        prefix = _everything(connection, integration) if skill is None else f"{_group(connection, integration, skill)}:"
        await self._index.withdraw(run.org, prefix)

    async def offer(self, plan: Plan, result: Result, run: Run) -> None:
        """A read that others may have from now on, where its definition says so."""
        org, ttl = plan.call.principal.org, _ttl(plan)
        if ttl is None or plan.skill.effect != "read":
            return
        if not 200 <= result.status < 300 or says_no(plan.skill, result.status, result.data):
            return
        # Where the run itself is asked for, its answer is kept already, and for longer.
        size = await self._kept.size(org, plan.run_id)
        if size is None:
            size = await self._kept.keep(org, plan.run_id, result, seconds=ttl)
        # Its own row first, which other answers would let wait.
        await self._runs.begin(run)
        await self._index.offer(org, plan.run_id, _cache_key(plan), size)


def _ttl(plan: Plan) -> float | None:
    cache = plan.skill.cache
    if cache is None or plan.call.pages is not None or plan.example is not None:
        return None
    return float(cache["ttl"])


def _group(connection: str, integration: Integration, skill: Skill) -> str:
    """What a change empties: the reads of one connection that work on the same kind of thing."""
    return f"{_everything(connection, integration)}{skill.resource or ''}"


def _everything(connection: str, integration: Integration) -> str:
    return f"{connection}:{integration.slug}."


def _cache_key(plan: Plan) -> str:
    what = orjson.dumps(
        [plan.skill.name, plan.params, plan.user, plan.integration.digest], option=orjson.OPT_SORT_KEYS
    )
    group = _group(plan.connection or plan.user, plan.integration, plan.skill)
    return f"{group}:{hashlib.sha256(what).hexdigest()}"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]
