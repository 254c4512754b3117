"""Memory for request bodies, counted: an org takes some while its request lasts, and gets none where too much is taken."""

from __future__ import annotations

from collections import Counter


class Room:
    """So many bytes for the bodies of all requests, of which one org, or all strangers together, may have half."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._by: Counter[str] = Counter()

    def take(self, who: str, size: int) -> bool:
        """Whether there was room. What was taken is given back once, with `give_back`."""
        if self._taken + size > self._size or self._by[who] + size > self._size // 2:
            return False
        self._taken += size
        self._by[who] += size
        return True

    def give_back(self, who: str, size: int) -> None:
        self._taken -= size
        self._by[who] -= size
        if not self._by[who]:
            del self._by[who]
