"""Wakes who waits for something to change in this process; what changes in another one is found by looking again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """Events by name."""

    def __init__(self) -> None:
        self._watching: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, name: str) -> Iterator[asyncio.Event]:
        """An event that is set at the next change. Look at the state after this and before you wait."""
        event = asyncio.Event()
        watching = self._watching.setdefault(name, set())
        watching.add(event)
        try:
            yield event
        finally:
            watching.discard(event)
            if not watching and self._watching.get(name) is watching:
                del self._watching[name]

    def tell(self, name: str) -> None:
        for event in self._watching.get(name, ()):
            event.set()
