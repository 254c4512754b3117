"""All integrations and skills, loaded and checked: found by name, by a name nearly right, or by words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from types import MappingProxyType

from skills_catalog.model import Integration, Skill
from skills_catalog.names import nearest
from skills_catalog.searching.index import Index

#: The score from which on an action probably does what was asked for.
LIKELY = 0.28


class Catalog:
    """Immutable. A reload makes a new one."""

    __slots__ = ("_building", "_index", "digest", "integrations")

    #: By slug, in the order of the slugs.
    integrations: Mapping[str, Integration]
    #: SHA-256 over all definitions; changes when any of them says something else.
    digest: str

    def __init__(self, integrations: Iterable[Integration] = ()) -> None:
        by_slug = {integration.slug: integration for integration in integrations}
        self.integrations = MappingProxyType(dict(sorted(by_slug.items())))
        hashed = hashlib.sha256()
        for integration in self.integrations.values():
            hashed.update(f"{integration.slug}={integration.digest}\n".encode())
        self.digest = hashed.hexdigest()
        self._index: Index | None = None
        self._building = Lock()

    def get(self, slug: str) -> Integration | None:
        return self.integrations.get(slug)

    def find(self, slug: str, action: str) -> Skill | None:
        integration = self.integrations.get(slug)
        return integration.skills.get(action) if integration else None

    def nearest_integration(self, name: str) -> str | None:
        """The slug that `name` was most likely meant to be."""
        return nearest(name, self.integrations)

    def nearest_action(self, slug: str, name: str) -> str | None:
        """The action of the integration that `name` was most likely meant to be."""
        integration = self.integrations.get(slug)
        return nearest(name, integration.skills) if integration else None

    def search(
        self, text: str, limit: int = 20, wanted: Callable[[Skill], bool] | None = None
    ) -> list[tuple[Skill, float]]:
        """Skills that do what `text` asks for, the best first, of those that are wanted; scores are between 0 and 1.

        The same catalog and text give the same scores in the same order. Scores of different texts compare: where the
        best is below `LIKELY`, there is probably no such skill. Builds the index if nobody did.
        """
        return self.index().search(text, limit, wanted)

    @property
    def is_indexed(self) -> bool:
        """Whether a search need not build the index first."""
        return self._index is not None

    def index(self) -> Index:
        """What it is searched by, built once: a tenth of a second for a thousand skills, which a thread may spend."""
        with self._building:
            if self._index is None:
                self._index = Index(self.integrations.values())
        return self._index
