"""The index in memory that the catalog is searched by, and how actions are ranked.

It is our own because most of what finds an action is in no engine: that a request names a service, asks to read or to
change, or is close to one of the `asks`. An engine (FTS5, `bm25s`) would be ranked again in Python after it, and has
files or packages to keep; BM25 itself is a few lines.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from skills_catalog.model import Effect, Integration, Skill
from skills_catalog.searching.asking import Does, Named, Request, Word, read
from skills_catalog.searching.documents import Document, Words, called, documents
from skills_catalog.searching.everyday import MEANINGS, OTHER_SERVICES
from skills_catalog.searching.typos import Typos
from skills_catalog.searching.words import COMMON_VERBS, stem

#: From this worth on, more of the same word adds less (BM25's k1).
_ENOUGH = 0.8
#: Actions in which a word may stand before it tells noticeably less.
_COMMON = 3
#: The verbs that most actions have, next to other words.
_VERB = 0.7
#: A word that is nowhere is missed as much as one that stands in so many actions.
_UNKNOWN = 2
#: A word of the thesaurus, next to the one that was said.
_OTHER_WORD = 0.7
#: What the name of a service counts as.
_SERVICE = 3.0
#: What a light word counts for, where it is found.
_LIGHT = 0.6
#: As which share of a request count hits in one that has light words alone.
_LIGHTLY = 0.3
#: Of several services that are named, what a word counts for that stands nearer to another one.
_FARTHER = 0.6
#: What a service counts as that is named and that the catalog does not have.
_ELSEWHERE = 10.0
#: So many are looked at closely.
_CLOSER = 80
#: The shares of the closer look: words found, the name, and the nearest of the requests that it answers.
_WORDS, _NAME, _ASK = 0.5, 0.3, 0.2
#: What is left of the score of an action that does something else than what was asked.
_ELSE = 0.85
#: The same where the words between several services tell it.
_OTHER_WAY = 0.7

#: Words that are remembered with where they stand.
_REMEMBERED = 1024

Hit = tuple[Skill, float]


@dataclass(frozen=True, slots=True)
class _Term:
    """A word looked up: how much it tells, and where it and its like stand, in order, with what each place adds."""

    weight: float
    where: Sequence[int]
    adds: Sequence[float]
    #: Stem -> how sure it is that it was meant.
    stems: Mapping[str, float]

    def within(self, spans: Sequence[range]) -> Iterable[tuple[Sequence[int], Sequence[float]]]:
        """The parts of `where` and `adds` for some documents."""
        for span in spans:
            part = slice(bisect_left(self.where, span.start), bisect_left(self.where, span.stop))
            yield self.where[part], self.adds[part]


#: A word, the share that counts here, and whether it is light.
_Weighed = tuple[_Term, float, bool]


class Index:
    """Built once from all integrations of a catalog; afterwards it only remembers words that were looked up."""

    def __init__(self, integrations: Iterable[Integration]) -> None:
        words = Words()
        self._documents: list[Document] = []
        #: slug -> the numbers of its documents.
        self._of: dict[str, range] = {}
        self._names: dict[tuple[str, ...], list[str]] = {}
        worths: dict[str, dict[int, float]] = {}
        for integration in integrations:
            first = len(self._documents)
            for number, document in enumerate(documents(integration, words), first):
                self._documents.append(document)
                for word, worth in document.worths.items():
                    worths.setdefault(word, {})[number] = worth / (worth + _ENOUGH)
            self._of[integration.slug] = range(first, len(self._documents))
            for name in called(integration, words):
                self._names.setdefault(name, []).append(integration.slug)
        self._where = {word: (array("I", found), array("f", found.values())) for word, found in worths.items()}
        verbs = {stem(verb) for verb in COMMON_VERBS}
        self._tells = {
            word: self._weight(len(found)) * (_VERB if word in verbs else 1.0) for word, found in worths.items()
        }
        #: Of each document, how much all words of its name tell, and of each request.
        self._told = [
            (self._sum(document.name), tuple(map(self._sum, document.asks))) for document in self._documents
        ]
        self._typos = Typos(words.written)
        self._spelled = lru_cache(maxsize=_REMEMBERED)(self._spellings)
        self._term = lru_cache(maxsize=_REMEMBERED)(self._looked_up)

    def search(self, text: str, limit: int, wanted: Callable[[Skill], bool] | None = None) -> list[Hit]:
        """The best actions that are wanted, with scores between 0 and 1.

        Where the text names several services they take turns, each with the words that stand near its name; only
        then may a score be higher than the one before it.
        """
        request = read(text, self._names, self._spelled)
        if len(request.named) < 2:
            terms = self._weighed((word, 1.0) for word in request.words)
            slugs = request.named[0].slugs if request.named else frozenset()
            return self._ranked(terms, slugs, request.effect, limit, wanted)
        rankings = [
            self._ranked(self._near(request, one), one.slugs, one.does, limit, wanted, alone=True) for one in request.named
        ]
        return list(_in_turns(rankings))[:limit]

    def _near(self, request: Request, named: Named) -> list[_Weighed]:
        """The words of the request as they count for one of the services in it."""
        return self._weighed((word, 1.0 if near else _FARTHER) for word, near in request.near(named))

    def _weighed(self, words: Iterable[tuple[Word, float]]) -> list[_Weighed]:
        """Each word once, looked up, at the most that it counts."""
        factors: dict[str, tuple[float, bool]] = {}
        for word, factor in words:
            most = max(factor * (_LIGHT if word.light else 1.0), factors.get(word.text, (0.0,))[0])
            factors[word.text] = (most, word.light)
        return [(self._term(word), factor, light) for word, (factor, light) in factors.items()]

    def _ranked(
        self,
        terms: Sequence[_Weighed],
        slugs: Collection[str],
        does: Does,
        limit: int,
        wanted: Callable[[Skill], bool] | None,
        *,
        alone: bool = False,
    ) -> list[Hit]:
        """The actions by their scores; those of the services `slugs` first, or alone."""
        sums = [0.0] * len(self._documents)
        spans = [self._of[slug] for slug in slugs]
        for term, factor, _ in terms:
            for where, adding in term.within(spans) if alone else ((term.where, term.adds),):
                for number, adds in zip(where, adding, strict=True):
                    sums[number] += adds * factor
        theirs = [number for span in spans for number in span]
        for number in theirs:
            sums[number] += _SERVICE
        asked = sum(term.weight * factor for term, factor, light in terms if not light)
        whole = asked + (_SERVICE if slugs else 0.0)
        stems: dict[str, float] = {}
        for term, factor, _ in terms:
            for word, sure in term.stems.items():
                stems[word] = max(sure * factor, stems.get(word, 0.0))
        otherwise = _OTHER_WAY if alone else _ELSE
        hits: list[Hit] = []
        for number in self._best(sums, theirs if alone else range(len(sums)), max(limit, _CLOSER), wanted):
            words = min(1.0, sums[number] / whole) if whole else _LIGHTLY
            score = self._score(number, words, stems, asked)
            skill = self._documents[number].skill
            hits.append((skill, round(score * _fit(does, skill.effect, otherwise), 4)))
        hits.sort(key=lambda hit: (-hit[1], hit[0].integration, hit[0].name))
        return hits[:limit]

    def _best(
        self, sums: Sequence[float], among: Sequence[int], most: int, wanted: Callable[[Skill], bool] | None
    ) -> list[int]:
        """Those with the highest sums that are wanted. Only where the better ones are too few, the others are sorted."""
        top = max(sums, default=0.0)
        best: list[int] = []
        for least, below in ((top / 2, math.inf), (0.0, top / 2)):
            # Numbers are sorted, not pairs: thousands of tuples a search would set off the garbage collector.
            sorting = [number for number in among if below >= sums[number] > least]
            sorting.sort(key=sums.__getitem__, reverse=True)
            for number in sorting:
                if wanted is None or wanted(self._documents[number].skill):
                    best.append(number)
                    if len(best) == most:
                        return best
        return best

    def _score(self, number: int, words: float, stems: Mapping[str, float], asked: float) -> float:
        """Of 1: how much of the request was found, how well the name is meant, how near it is to one of the asks."""
        document = self._documents[number]
        name = ask = 0.0
        if tells := self._told[number][0]:
            name = self._shared(document.name, stems) / tells
        for request, tells in zip(document.asks, self._told[number][1], strict=True):
            ask = max(ask, 2 * self._shared(request, stems) / (tells + asked))
        return words * (_WORDS + _NAME * name + _ASK * min(1.0, ask))

    def _shared(self, words: Iterable[str], stems: Mapping[str, float]) -> float:
        shared = 0.0
        for word in words:
            if word in stems:
                shared += self._tells[word] * stems[word]
        return shared

    def _spellings(self, word: str) -> Mapping[str, float]:
        """The stems that a word, as it is written, may stand for, each with how sure that is."""
        own = stem(word)
        if own in self._where or own in MEANINGS:
            return {own: 1.0}
        meant: dict[str, float] = {}
        for known, sure in self._typos.meant(word):
            meant.setdefault(stem(known), sure)
        return meant

    def _looked_up(self, word: str) -> _Term:
        stems = dict(self._spelled(word))
        for said, sure in list(stems.items()):
            for other in MEANINGS.get(said, ()):
                stems[other] = max(sure * _OTHER_WORD, stems.get(other, 0.0))
        best: dict[int, float] = {}
        weight = 0.0
        for one, sure in stems.items():
            if one not in self._where:
                continue
            tells = self._tells[one] * sure
            weight = max(weight, tells)
            numbers, worths = self._where[one]
            for number, worth in zip(numbers, worths, strict=True):
                if worth * tells > best.get(number, 0.0):
                    best[number] = worth * tells
        if word in OTHER_SERVICES and (stem(word),) not in self._names:
            weight = _ELSEWHERE
        where = array("I", sorted(best))
        adds = array("f", map(best.__getitem__, where))
        return _Term(weight or self._weight(_UNKNOWN), where, adds, stems)

    def _sum(self, words: Iterable[str]) -> float:
        return sum(self._tells[word] for word in words)

    def _weight(self, count: int) -> float:
        """How much a word tells that stands in so many documents (BM25's idf)."""
        return math.log(1 + len(self._documents) / (count + _COMMON))


def _fit(asked: Does, does: Effect, otherwise: float) -> float:
    """What is left of the score of an action that does this, where that was asked."""
    if asked is None or asked == does or {asked, does} in _ALIKE:
        return 1.0
    if asked == "write" and does != "read":
        # What comes from elsewhere is added or sent rather than put in the place of something, and deletes nothing.
        return {"create": 1.0, "send": 1.0, "update": math.sqrt(otherwise)}.get(does, otherwise)
    return otherwise


#: Effects that people do not tell apart: a comment is made or sent, a thing is archived or deleted.
_ALIKE = ({"create", "send"}, {"update", "delete"}, {"create", "update"})


def _in_turns(rankings: Sequence[Sequence[Hit]]) -> Iterable[Hit]:
    for turn in range(max(map(len, rankings))):
        for ranking in rankings:
            if turn < len(ranking):
                yield ranking[turn]
