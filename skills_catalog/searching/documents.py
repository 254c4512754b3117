"""What the search knows of an action: its words with what they are worth, its name, and the requests it answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skills_catalog.model import Integration, Skill
from skills_catalog.searching.everyday import spelled_out
from skills_catalog.searching.words import STOP, apart, plain, stem, words_of

#: What a hit is worth by where it is; a word that stands in several places adds up.
_NAME, _ASK, _DESCRIPTION, _SYNONYM = 2.5, 1.0, 1.5, 2.0
_CATEGORY, _AROUND, _PARAM, _EXAMPLE = 0.8, 0.5, 0.5, 0.1
#: Texts of an example that are longer are content and tell nothing of what the action does.
_LONGEST_VALUE = 60
#: Words that the name of a service may have to be known by it.
_LONGEST_NAME = 4


@dataclass(frozen=True, slots=True)
class Document:
    """One action, cut to stems. The requests that it answers are its name, how its description begins, and each of its `asks`."""

    skill: Skill
    worths: Mapping[str, float]
    name: tuple[str, ...]
    asks: tuple[tuple[str, ...], ...]


class Words:
    """Takes texts apart, and remembers every word as it is written: what a typo may have been meant to be."""

    def __init__(self) -> None:
        self.written: set[str] = set()

    def stems(self, text: str) -> list[str]:
        """Of what is written for people to find."""
        words = _words(text)
        self.written.update(words)
        return [stem(word) for word in words]


def documents(integration: Integration, words: Words) -> list[Document]:
    """All actions of an integration."""
    around: dict[str, float] = {}
    for worth, text in (
        (_AROUND, f"{integration.slug} {integration.name} {integration.description}"),
        (_AROUND, " ".join(integration.synonyms)),
        (_CATEGORY, " ".join(integration.categories)),
    ):
        for word in set(words.stems(text)):
            around[word] = max(worth, around.get(word, 0.0))
    return [_document(skill, around, words) for skill in integration.skills.values()]


def _document(skill: Skill, around: Mapping[str, float], words: Words) -> Document:
    name = tuple(dict.fromkeys(words.stems(skill.name)))
    description = words.stems(f"{skill.description} {skill.resource or ''}")
    # What stands before the first comma is the action; what follows tells how.
    short = words.stems(re.split(r"[,;.]", skill.description, maxsplit=1)[0])
    asks = [words.stems(ask) for ask in (*skill.asks, *skill.synonyms)]
    params = {stem(word) for text in _about_params(skill) for word in _words(text)}
    worths = dict(around)
    for worth, said in (
        (_NAME, {*name, *words.stems(skill.title)}),
        (_DESCRIPTION, set(description)),
        (_SYNONYM, {word for text in skill.synonyms for word in words.stems(text)}),
        (_CATEGORY, set(words.stems(skill.category))),
        (_PARAM, params),
        (_EXAMPLE, {stem(word) for text in _values(skill) for word in _words(text)}),
        *((_ASK, set(ask)) for ask in asks),
    ):
        for word in said:
            worths[word] = worths.get(word, 0.0) + worth
    requests = tuple(tuple(dict.fromkeys(text)) for text in (name, short, *asks) if text)
    return Document(skill, worths, name, requests)


def called(integration: Integration, words: Words) -> list[tuple[str, ...]]:
    """What people call the service, each name as stems: as one word, as several, or by the first of several."""
    whole = words.stems(integration.name)
    names = (whole, words.stems(apart(integration.name)), words.stems(integration.slug.replace("_", "")), whole[:1])
    return list(dict.fromkeys(tuple(name) for name in (*names, words.stems(integration.slug)) if 0 < len(name) <= _LONGEST_NAME))


def _words(text: str) -> list[str]:
    return [word for word in words_of(spelled_out(plain(text))) if word not in STOP]


def _about_params(skill: Skill) -> Iterable[str]:
    for name, param in skill.params.items():
        yield name
        about = param.schema.get("description")
        if isinstance(about, str):
            yield about
        allowed = param.schema.get("enum")
        if isinstance(allowed, list | tuple):
            yield from (one for one in allowed if isinstance(one, str))


def _values(skill: Skill) -> Iterable[str]:
    for example in skill.examples:
        for value in example.params.values():
            if isinstance(value, str) and len(value) <= _LONGEST_VALUE:
                yield value
