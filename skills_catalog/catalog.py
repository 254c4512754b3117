"""All integrations and skills, loaded and checked: found by name, by a name nearly right, or by words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from skills_catalog.model import Integration, Skill
from skills_catalog.names import nearest

_MOST_WORDS = 16


@dataclass(frozen=True, slots=True)
class _Entry:
    """A skill with its texts in lower case, each with what a hit in it is worth."""

    skill: Skill
    texts: tuple[tuple[float, str], ...]


class Catalog:
    """Immutable. A reload makes a new one."""

    __slots__ = ("_entries", "digest", "integrations")

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
        self._entries: tuple[_Entry, ...] | None = None

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

    def search(self, text: str, limit: int = 20) -> list[tuple[Skill, float]]:
        """Skills in whose words the words of `text` occur, the best first; scores are between 0 and 1.

        The same catalog and text give the same scores in the same order.
        """
        words = list(dict.fromkeys(_plain(text).split()))[:_MOST_WORDS]
        if not words:
            return []
        hits = [(entry.skill, score) for entry in self._indexed() if (score := _score(entry, words)) > 0]
        hits.sort(key=lambda hit: (-hit[1], hit[0].integration, hit[0].name))
        return hits[:limit]

    def _indexed(self) -> tuple[_Entry, ...]:
        if self._entries is None:
            self._entries = tuple(
                _entry(integration, skill)
                for integration in self.integrations.values()
                for skill in integration.skills.values()
            )
        return self._entries


def _entry(integration: Integration, skill: Skill) -> _Entry:
    texts = (
        (1.0, f"{skill.name} {skill.title}"),
        (0.8, " ".join((integration.slug, integration.name, *integration.synonyms))),
        (0.7, " ".join(skill.synonyms)),
        (0.6, " ".join((skill.category, *integration.categories))),
        (0.5, " ".join(skill.asks)),
        (0.4, f"{skill.description} {skill.resource or ''}"),
        (0.2, integration.description),
    )
    return _Entry(skill, tuple((worth, f" {_plain(text)} ") for worth, text in texts if text.strip()))


def _score(entry: _Entry, words: list[str]) -> float:
    """The mean over the words of the best place where each occurs; a part of a word counts half."""
    total = 0.0
    for word in words:
        best = 0.0
        for worth, text in entry.texts:
            if worth > best and word in text:
                best = max(best, worth if f" {word} " in text else worth / 2)
        total += best
    return round(total / len(words), 4)


def _plain(text: str) -> str:
    """Lower case, and anything but letters and digits a space."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower())
