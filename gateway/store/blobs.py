"""Blobs: parts of 256 KiB, each sealed under its place, so that reading some bytes opens only their parts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import orjson

from gateway.core.blobs import Blob, BlobBroken, TooLarge
from gateway.store.database import Database
from gateway.store.times import to_ms
from oauth.vault import SealBroken, Vault

PART = 256 * 1024
_PARTS = 1_000_000
_INSERT = "INSERT INTO blobs (org, place, sealed, expires_at) VALUES (:org, :place, :sealed, :expires_at)"
_FIND = "SELECT sealed, expires_at FROM blobs WHERE org = :org AND place = :place AND expires_at > :now"
_DELETE = "DELETE FROM blobs WHERE org = :org AND place >= :first AND place < :end"
_USED = "SELECT COUNT(*) AS parts FROM blobs WHERE org = :org"
_EXPIRED = """
    DELETE FROM blobs WHERE (org, place) IN (
        SELECT org, place FROM blobs WHERE expires_at <= :now LIMIT :most
    )
"""
#: So that no write of a call waits long for it.
_FORGOTTEN_AT_ONCE = 200


class SqlBlobs:
    """Blobs in the database; implements `BlobStore`.

    The first part is the head: what is said of the blob and its size, written last, so that a blob without
    one is not there yet.
    """

    def __init__(self, database: Database, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def write(
        self, org: str, blob_id: str, head: bytes, chunks: AsyncIterator[bytes], *, expires_at: float, most: int
    ) -> int:
        size, number, held = 0, 0, bytearray()
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise TooLarge
                held += chunk
                # The last part is told apart, so one is always held back.
                while len(held) > PART:
                    number += 1
                    await self._put(org, _place(blob_id, number), bytes(held[:PART]), expires_at)
                    del held[:PART]
            await self._put(org, _place(blob_id, number + 1, last=True), bytes(held), expires_at)
            about = orjson.dumps([size, head.decode("latin-1")])
            await self._put(org, _place(blob_id, 0), about, expires_at)
        except BaseException:
            await self.delete(org, blob_id)
            raise
        return size

    async def find(self, org: str, blob_id: str) -> Blob | None:
        about = await self._part(org, _place(blob_id, 0))
        if about is None:
            return None
        size, head = orjson.loads(about)
        return Blob(head=head.encode("latin-1"), size=size)

    async def read(
        self, org: str, blob_id: str, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        found = await self.find(org, blob_id)
        if found is None:
            raise BlobBroken(f"{blob_id} is no longer there")
        end = found.size if length is None else min(found.size, offset + length)
        last = max(1, -(-found.size // PART))
        while offset < end:
            number = offset // PART + 1
            part = await self._part(org, _place(blob_id, number, last=number == last))
            if part is None:
                raise BlobBroken(f"part {number} of {blob_id} is not there")
            start = offset - (number - 1) * PART
            piece = part[start : start + end - offset]
            if not piece:
                raise BlobBroken(f"part {number} of {blob_id} is too short")
            offset += len(piece)
            yield piece

    async def delete(self, org: str, blob_id: str) -> None:
        first, end = f"{blob_id}/", f"{blob_id}0"
        await self._database.execute(_DELETE, org=org, first=first, end=end)

    async def used(self, org: str) -> int:
        row = await self._database.fetch_one(_USED, org=org)
        return PART * int(row["parts"]) if row else 0

    async def forget(self, now: float) -> int:
        """Deletes what has expired, some parts at a time; says how many."""
        forgotten = 0
        while changed := await self._database.execute(_EXPIRED, now=to_ms(now), most=_FORGOTTEN_AT_ONCE):
            forgotten += changed
        return forgotten

    async def _put(self, org: str, place: str, plain: bytes, expires_at: float) -> None:
        sealed = self._vault.seal(plain, org=org, table="blobs", row=place, column="sealed")
        await self._database.execute(_INSERT, org=org, place=place, sealed=sealed, expires_at=to_ms(expires_at))

    async def _part(self, org: str, place: str) -> bytes | None:
        row = await self._database.fetch_one(_FIND, org=org, place=place, now=to_ms(self._clock()))
        if row is None:
            return None
        try:
            return await self._vault.open_fresh(row["sealed"], org=org, table="blobs", row=place, column="sealed")
        except SealBroken as error:
            raise BlobBroken(f"{place} does not open") from error


def _place(blob_id: str, number: int, *, last: bool = False) -> str:
    assert number < _PARTS
    return f"{blob_id}/{number:06}{'!' if last else ''}"
