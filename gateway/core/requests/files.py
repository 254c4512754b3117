"""Files on their way: given for a call, or made by one; kept sealed until they expire, for those who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.core.blobs import BlobStore, TooLarge
from gateway.core.errors import Refusal
from gateway.core.ids import new_id
from gateway.core.tenants.access import check_scope
from gateway.core.tenants.keys import Principal
from gateway.core.times import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What is known of a file beside its bytes."""

    id: str
    org: str
    mode: str
    filename: str | None
    content_type: str
    size: int
    #: Unix time in seconds.
    expires_at: float
    #: The key that gave it, or that made the call whose answer it is.
    by: str
    #: Of an answer: whose, from where, through which connection.
    user: str | None = None
    integration: str | None = None
    connection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the answer comes from that a file is: only whoever may see that may have it."""

    user: str
    integration: str
    connection: str | None


class Files:
    """Keeps files of orgs; `most` bounds one file, `room` all of an org's, in bytes."""

    def __init__(
        self,
        blobs: BlobStore,
        *,
        most: int,
        room: int,
        retention: float,
        public_url: str,
        clock: Callable[[], float],
    ) -> None:
        self._blobs = blobs
        self._most = most
        self._room = room
        self._retention = retention
        self._public_url = public_url
        self._clock = clock

    async def add(
        self,
        principal: Principal,
        chunks: AsyncIterator[bytes],
        *,
        filename: str | None,
        content_type: str,
        origin: Origin | None = None,
    ) -> File:
        """Stores it as it comes, in flat memory.

        Raises `payload_too_large` for one that is too large, `plan_limit_reached` where the org has no room for more.
        """
        if await self._blobs.used(principal.org) >= self._room:
            raise Refusal(
                "plan_limit_reached",
                f"The org's files and kept answers take {self._room} bytes, which is all that there is room for.",
                hint="Delete files, or wait until some expire.",
            )
        file = File(
            id=new_id("file"),
            org=principal.org,
            mode=principal.mode,
            filename=filename,
            content_type=content_type,
            size=0,
            expires_at=self._clock() + self._retention,
            by=principal.actor.id or "",
            user=origin.user if origin else None,
            integration=origin.integration if origin else None,
            connection=origin.connection if origin else None,
        )
        try:
            size = await self._blobs.write(
                file.org, file.id, _head(file), chunks, expires_at=file.expires_at, most=self._most
            )
        except TooLarge:
            raise Refusal("payload_too_large", f"A file may have {self._most} bytes at most.") from None
        return replace(file, size=size)

    async def find(self, principal: Principal, file_id: str) -> File:
        """Raises `not_found`, or `scope_not_allowed` or `forbidden` for one that the principal's key is not for."""
        found = await self._blobs.find(principal.org, file_id) if file_id.startswith("file_") else None
        file = None if found is None else _file(found.head, file_id, principal.org, found.size)
        if file is None or file.mode != principal.mode:
            raise Refusal("not_found", "File not found.", hint="Files expire; add it again with POST /v1/files.")
        if file.integration is not None:
            check_scope(principal, file.integration)
        if not _is_visible(principal, file):
            raise Refusal("forbidden", "This key is not for this file.")
        return file

    def read(self, file: File, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Some of its bytes, or all. Raises `BlobBroken`."""
        return self._blobs.read(file.org, file.id, offset, length)

    async def delete(self, principal: Principal, file_id: str) -> None:
        """Raises `not_found`."""
        file = await self.find(principal, file_id)
        await self._blobs.delete(file.org, file.id)

    def shown(self, file: File) -> dict[str, Any]:
        """A file as the API tells of it."""
        return {
            "file_id": file.id,
            "url": f"{self._public_url}/v1/files/{file.id}",
            "content_type": file.content_type,
            "filename": file.filename,
            "size": file.size,
            "expires_at": iso(file.expires_at),
        }


def _is_visible(principal: Principal, file: File) -> bool:
    grant = principal.grant
    if file.integration is None:
        # Nobody knows what it is for: a key that is for some things only has nothing to do with it.
        is_for_all = grant.users is None and grant.connections is None and "*" in grant.scopes
        return file.by == principal.actor.id or is_for_all
    return grant.allows_user(file.user or "") and (
        file.connection is None or grant.allows_connection(file.connection)
    )


_SAID = ("mode", "filename", "content_type", "expires_at", "by", "user", "integration", "connection")


def _head(file: File) -> bytes:
    return orjson.dumps({name: getattr(file, name) for name in _SAID})


def _file(head: bytes, file_id: str, org: str, size: int) -> File:
    return File(id=file_id, org=org, size=size, **orjson.loads(head))
