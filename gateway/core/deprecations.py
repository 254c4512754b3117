"""Actions that are deprecated: what is said of them, and to whom it is told before they go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.core.catalogs import Catalogs
from gateway.core.events import Event
from skills_catalog.catalog import Catalog
from skills_catalog.model import Deprecation, Skill

log = logging.getLogger("skillway.catalog")

#: Seconds between two looks at whether there is another catalog.
EVERY = 2.0
#: Whoever used an action within that time is told.
_USED_WITHIN = 90 * 86400
#: So many orgs are looked at in one go; others have their turn in between.
_CHUNK = 100

Used = tuple[str, str, str]


class DeprecationStore(Protocol):
    """Who uses what, and who was told already."""

    async def next_orgs(self, after: str, limit: int) -> Sequence[str]:
        """Ids of orgs beyond one, in order."""
        ...

    async def untold(self, orgs: Sequence[str], skills: Sequence[Skill], since: int) -> Sequence[Used]:
        """(org, integration, action) of live use from that time (unix ms) on that nobody was told of yet."""
        ...

    async def tell(self, skill: Skill, event: Event) -> bool:
        """Writes the event, once for an org, an action and the day of its deprecation. False where it is there."""
        ...


class Deprecations:
    """Tells every org that uses a deprecated action: once, whichever replica looks first."""

    def __init__(self, catalogs: Catalogs, store: DeprecationStore, *, clock: Callable[[], float]) -> None:
        self._catalogs = catalogs
        self._store = store
        self._clock = clock
        self._done: Catalog | None = None

    async def look(self) -> None:
        """Tells what the catalog in force deprecates, unless it was done for this very catalog."""
        catalog = self._catalogs.current
        if catalog is self._done:
            return
        skills = {
            (one.slug, skill.name): skill
            for one in catalog.integrations.values()
            for skill in one.skills.values()
            if skill.deprecated is not None
        }
        told = await self._tell(skills) if skills else 0
        self._done = catalog
        if told:
            log.info("%d uses of deprecated actions were told to their orgs", told)

    async def _tell(self, skills: dict[tuple[str, str], Skill]) -> int:
        since, told, after = int((self._clock() - _USED_WITHIN) * 1000), 0, ""
        while orgs := await self._store.next_orgs(after, _CHUNK):
            after = orgs[-1]
            for org, integration, action in await self._store.untold(orgs, list(skills.values()), since):
                skill = skills[integration, action]
                told += await self._store.tell(skill, self._event(org, skill))
            await asyncio.sleep(0)
        return told

    def _event(self, org: str, skill: Skill) -> Event:
        assert skill.deprecated is not None
        about = {"integration": skill.integration, "action": skill.name, **shown(skill.deprecated)}
        return Event.now(org, "skill.deprecated", self._clock(), **about)


def shown(gone: Deprecation) -> dict[str, Any]:
    """A deprecation as the API shows it."""
    return {
        "since": gone.since.isoformat(),
        "sunset": gone.sunset.isoformat() if gone.sunset else None,
        "use": gone.use,
    }


def deprecation_hint(gone: Deprecation) -> str:
    """What a caller of a deprecated action is told."""
    until = f", and may be gone after {gone.sunset}" if gone.sunset else ""
    return f"This action is deprecated since {gone.since}{until}." + (f" Use {gone.use} instead." if gone.use else "")
