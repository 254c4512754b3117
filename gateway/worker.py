"""What has to be done now and then: forgetting flows that are over, settling runs whose process died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

log = logging.getLogger("skillway.worker")

Chore = tuple[str, float, Callable[[], Awaitable[object]]]


class Worker:
    """Repeats chores, each `(name, seconds between, what)`; one that fails is tried again at its next time."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Worker:
        self._tasks = [asyncio.create_task(_repeat(*chore), name=chore[0]) for chore in self._chores]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _repeat(name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:
            log.warning("%s: %s", name, type(error).__name__)
        await asyncio.sleep(seconds)
