"""Brings answers in. What is a file goes into the org's files as it comes, not through memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import orjson

from gateway.core.calls.call import Plan
from gateway.core.errors import Refusal
from gateway.core.requests import answers
from gateway.core.requests.answers import OCTETS, Attachment
from gateway.core.requests.files import Files, Origin
from gateway.core.requests.redaction import redact_stream, spellings
from gateway.core.requests.request import Upstream, UpstreamAnswer, UpstreamRequest, UpstreamStream
from gateway.core.room import Room, overloaded


class Fetching:
    """Sends requests; `limit` bounds an answer that is read, `inline` a file that may stand in an envelope, bytes."""

    def __init__(self, upstream: Upstream, files: Files, room: Room, *, limit: int, inline: int) -> None:
        self._upstream = upstream
        self._room = room
        self._files = files
        self._limit = limit
        self.inline = inline

    async def send(self, plan: Plan, request: UpstreamRequest) -> UpstreamAnswer:
        """The answer; of one that is a file, and larger than may stand in an envelope, what is told of it.

        Raises `UpstreamFailed`, and `overloaded` for a read whose answer there is no room for.
        """
        if plan.skill.response != "binary":
            part = self._room.part(plan.call.principal.org)
            answer = await self._upstream.send(request, limit=self._limit, part=part)
            if part.is_refused and plan.skill.effect == "read":
                raise _no_room(plan, answer.status)
            return answer
        stream = await self._upstream.stream(request)
        answer = UpstreamAnswer(status=stream.status, headers=stream.headers)
        is_file = 200 <= stream.status < 300
        begun, size = [], 0
        try:
            async with aclosing(stream.chunks) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    begun.append(chunk)
                    size += len(chunk)
                    if size > self.inline:
                        break
                else:
                    return replace(answer, body=b"".join(begun))
                if not is_file:
                    return replace(answer, omitted=True, size=size)
                whole = redact_stream(_after(begun, chunks), spellings(request.secrets))
                return replace(answer, told=await self._kept(plan, answer, whole))
        finally:
            stream.close()

    async def stream(self, request: UpstreamRequest) -> UpstreamStream:
        """The answer with its body still to come. Raises `UpstreamFailed`."""
        stream = await self._upstream.stream(request)
        declared = stream.header("content-length") or ""
        if declared.isdigit() and int(declared) > self._limit:
            stream.close()
            raise answers.too_large(self._limit, stream.status)
        return replace(stream, chunks=answers.up_to(self._limit, stream.chunks))

    async def keep(self, plan: Plan, attachment: Attachment) -> bytes:
        """Keeps a file that was read whole; gives back what is told of it, as JSON."""
        return await self._add(plan, attachment.filename, attachment.content_type, _after([attachment.content], None))

    async def _kept(self, plan: Plan, answer: UpstreamAnswer, chunks: AsyncIterator[bytes]) -> bytes:
        content_type = (answer.header("content-type") or "").partition(";")[0].strip().lower() or OCTETS
        return await self._add(plan, answers.filename_of(answer.header("content-disposition") or ""), content_type, chunks)

    async def _add(self, plan: Plan, filename: str | None, content_type: str, chunks: AsyncIterator[bytes]) -> bytes:
        origin = Origin(user=plan.user, integration=plan.integration.slug, connection=plan.connection)
        async with aclosing(chunks) as coming:  # type: ignore[type-var]
            try:
                file = await self._files.add(
                    plan.call.principal, coming, filename=filename, content_type=content_type, origin=origin
                )
            except Refusal as refusal:
                # The upstream did what it was asked for: that there is no room here is no error of the call.
                about = {"content_type": content_type, "filename": filename, "reason": refusal.message}
                return orjson.dumps({"omitted": True, "size": None, **about})
        return orjson.dumps(self._files.shown(file))


def _no_room(plan: Plan, status: int) -> Refusal:
    refusal = overloaded("Too many large answers are under way, and this one was left out.")
    refusal.run_id, refusal.reached, refusal.upstream_status = plan.run_id, True, status
    return refusal


async def _after(begun: list[bytes], more: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    for chunk in begun:
        yield chunk
    begun.clear()
    if more is not None:
        async for chunk in more:
            yield chunk
