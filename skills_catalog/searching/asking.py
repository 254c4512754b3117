"""A request of a person, read: which words count, which services it names, and whether it asks to read or to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from skills_catalog.model import Effect
from skills_catalog.searching.everyday import OTHER_SERVICES, spelled_out
from skills_catalog.searching.words import LIGHT, STOP, plain, stem, words_in, words_of
from skills_catalog.verbs import VERBS

#: A request is cut to so many letters, and words that count.
_LONGEST, _MOST_WORDS = 2000, 24
_SHORT = 3
#: A verb is looked for among so many words at the beginning.
_BEGINNING = 3
#: What an action is to do: one effect, any but reading, or whatever.
Does = Effect | Literal["write"] | None
_FROM = words_in("from of")
_TO = words_in("to into onto with via through as")
_AT = words_in("in on at for by")
#: So many words may stand between a preposition and the name.
_BETWEEN = 3
_AND = words_in("and then")
_QUESTION = words_in("what which who whose when where why how is are was were did does do has have")
#: Verbs of people, beside those of APIs.
_SAID: Mapping[Effect, str] = {
    "read": "who whose see tell know am",
    "create": "put refund bill charge invoice remind raise draw paint type plan arrange dial ring call book file kick cut",
    "update": "mute silence snooze ack acknowledge turn switch tick bump escalate tell fix correct reassign hand take",
    "send": "ping dm text mail answer",
    "delete": "throw scrap kill",
}
_EFFECTS: Mapping[str, Effect] = {
    **{stem(verb): effect for verb, effect in VERBS.items()},
    **{stem(verb): effect for effect, verbs in _SAID.items() for verb in verbs.split()},
}


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a request: `place` counts all words, a `light` one is not missed where it is not found."""

    text: str
    place: int
    light: bool


@dataclass(frozen=True, slots=True)
class Named:
    """A service that is named: the slugs that may be meant, where, and what it is to be asked to do, if that shows."""

    slugs: frozenset[str]
    place: int
    does: Does = None


@dataclass(frozen=True, slots=True)
class Request:
    words: Sequence[Word]
    #: The effect that its verb stands for, if it has one.
    effect: Effect | None
    named: Sequence[Named]

    def near(self, named: Named) -> list[tuple[Word, bool]]:
        """All words, and whether each stands nearer to that service than to another.

        The verb at the beginning is near to all that it may be for: `post payments of Stripe to Slack` posts to Slack.
        """
        first = self.words[0].place if self.words and named.does != "read" else -1
        words = [(word, word.place == first or self._nearest(word) is named) for word in self.words]
        if self.effect == "send" and named.does == "write":
            # Whatever is posted, shared or announced there is a message.
            words.append((Word("message", named.place, True), True))
        return words

    def _nearest(self, word: Word) -> Named:
        return min(self.named, key=lambda one: (abs(one.place - word.place), -one.place))


def read(
    text: str, names: Mapping[tuple[str, ...], Sequence[str]], meant: Callable[[str], Mapping[str, float]]
) -> Request:
    """The request in `text`; `names` are those of services, `meant` the stems that a word may have been meant to be."""
    said = words_of(spelled_out(plain(text[:_LONGEST])))
    words = [Word(word, place, _is_light(word, meant)) for place, word in enumerate(said) if word not in STOP][:_MOST_WORDS]
    named, taken = _named(said[: words[-1].place + 1] if words else [], names, meant)
    return Request([word for word in words if word.place not in taken], _effect(said), _with_roles(said, named))


def _is_light(word: str, meant: Callable[[str], Mapping[str, float]]) -> bool:
    """Whether nobody misses it; short words that nothing is called are slips of words such as `the`, or names."""
    if word in LIGHT or word.isdigit():
        return True
    return len(word) <= _SHORT and word not in OTHER_SERVICES and not meant(word)


def _with_roles(said: Sequence[str], named: Sequence[Named]) -> Sequence[Named]:
    """Of several services: something is read from one and written to the other, as the words between tell."""
    if len(named) < 2:
        return named
    before = [_preposition(said, one.place) for one in named]
    # Of the first, `in` and `on` tell only where its things are.
    sides: list[Does] = [
        "read" if word in _FROM else "write" if word in _TO or (number and word in _AT) else None
        for number, word in enumerate(before)
    ]
    if "read" in sides:
        other: Does = "write"
    elif "write" in sides:
        clause = said[: next((place for place, word in enumerate(said) if word in _AND), 0)]
        other = _effect(clause) or "read"
    else:
        other = None
    return [replace(one, does=side or other) for one, side in zip(named, sides, strict=True)]


def _preposition(said: Sequence[str], place: int) -> str:
    """The nearest one before the place, or nothing."""
    near = reversed(said[max(0, place - _BETWEEN) : place])
    return next((word for word in near if word in _FROM or word in _TO or word in _AT), "")


def _effect(said: Sequence[str]) -> Effect | None:
    if said and said[0] in _QUESTION:
        return "read"
    for word in [word for word in said if word not in STOP][:_BEGINNING]:
        if effect := _EFFECTS.get(stem(word)):
            return effect
    return None


def _named(
    said: Sequence[str], names: Mapping[tuple[str, ...], Sequence[str]], meant: Callable[[str], Mapping[str, float]]
) -> tuple[list[Named], set[int]]:
    """The services that are named, the longest name at a place first, and the places that these names take."""
    found: dict[frozenset[str], int] = {}
    taken: set[int] = set()
    longest = max(map(len, names), default=0)
    stems = [() if word in STOP else meant(word) for word in said]
    for length in range(longest, 0, -1):
        for place in range(len(said) - length + 1):
            places = range(place, place + length)
            if taken.intersection(places):
                continue
            for name in _spelled([stems[one] for one in places]):
                if name in names:
                    found.setdefault(frozenset(names[name]), place)
                    taken.update(places)
                    break
    return sorted((Named(slugs, place) for slugs, place in found.items()), key=lambda one: one.place), taken


def _spelled(stems: Sequence[Sequence[str] | Mapping[str, float]]) -> list[tuple[str, ...]]:
    ways: list[tuple[str, ...]] = [()]
    for choices in stems:
        ways = [(*way, one) for way in ways for one in choices]
    return ways
