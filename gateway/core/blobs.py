"""What is kept whole for a while: answers of runs, and files on their way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Something kept: what is said of it, and how large it is."""

    head: bytes = field(repr=False)
    size: int


class BlobStore(Protocol):
    """Where blobs are kept: sealed, in parts, until they expire."""

    async def write(
        self, org: str, blob_id: str, head: bytes, chunks: AsyncIterator[bytes], *, expires_at: float, most: int
    ) -> int:
        """Stores it and gives back its size; nothing of it stays where that goes wrong or over `most` bytes.

        `head` is what is said of it. Raises `TooLarge`.
        """
        ...

    async def find(self, org: str, blob_id: str) -> Blob | None:
        """None where there is none, or no longer, or not yet the whole of it."""
        ...

    def read(self, org: str, blob_id: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Some of its bytes; only the parts that hold them are opened. Raises `BlobBroken`."""
        ...

    async def delete(self, org: str, blob_id: str) -> None: ...

    async def used(self, org: str) -> int:
        """About how many bytes are kept for an org, a little more rather than less."""
        ...


class TooLarge(Exception):
    """More bytes than may be kept."""


class BlobBroken(Exception):
    """A part is missing, was swapped or was cut off."""
