"""The known words that an unknown one was most likely meant to be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from skills_catalog.names import edits

_VOWELS = frozenset("aeiouy")
#: From so many letters on two slips are forgiven.
_LONG = 7
#: From so many letters on, the beginning of a word stands for it.
_BEGUN = 4
#: More candidates are no help, and cost time.
_MOST = 3


class Typos:
    """Knows words, and finds those one slip away by what is left when a letter is taken out of both.

    A word of seven letters or more may be two slips away from one that begins with the same letter.
    """

    __slots__ = ("_by_rest", "_by_start", "_known")

    def __init__(self, words: Iterable[str]) -> None:
        self._known = known = sorted({word for word in words if len(word) > 2 and word.isalpha()})
        self._by_rest: dict[str, list[str]] = {}
        self._by_start: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for word in known:
            for rest in _rests(word):
                self._by_rest.setdefault(rest, []).append(word)
            if len(word) >= _LONG - 1:
                self._by_start.setdefault((word[0], len(word)), []).append((word, _letters(word)))

    def meant(self, word: str) -> list[tuple[str, float]]:
        """Known words near `word`, the nearest first, each with how sure that is, between 0 and 1."""
        if len(word) < 3 or not word.isalpha():
            return []
        near = {one for rest in _rests(word) for one in self._by_rest.get(rest, ()) if _one_slip(word, one)}
        if near:
            sure = {one: 0.85 if one[0] == word[0] else 0.7 for one in near}
        else:
            sure = dict.fromkeys(self._begun(word) or self._two_slips(word), 0.7)
        return sorted(sure.items(), key=lambda item: (-item[1], abs(len(item[0]) - len(word)), item[0]))[:_MOST]

    def _begun(self, word: str) -> list[str]:
        """Words that somebody may be in the middle of."""
        if len(word) < _BEGUN:
            return []
        first = bisect_left(self._known, word)
        return [one for one in self._known[first : first + _MOST] if one.startswith(word)]

    def _two_slips(self, word: str) -> list[str]:
        if len(word) < _LONG:
            return []
        letters = _letters(word)
        return [
            one
            for length in range(len(word) - 2, len(word) + 3)
            for one, others in self._by_start.get((word[0], length), ())
            if (letters ^ others).bit_count() <= 4 and edits(word, one) <= 2
        ]


def _rests(word: str) -> set[str]:
    """The word, and the word without each of its letters."""
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


def _letters(word: str) -> int:
    """The set of its letters as bits: two slips change four of them at most."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) & 63)
    return bits


def _one_slip(word: str, known: str) -> bool:
    """Whether it is a slip that people make; in short words, another letter makes another word."""
    if len(word) == len(known):
        wrong = [(a, b) for a, b in zip(word, known, strict=True) if a != b]
        if len(wrong) == 1:
            (a, b) = wrong[0]
            return len(word) > 5 or (len(word) > 3 and {a, b} <= _VOWELS)
        return len(wrong) == 2 and wrong[0] == wrong[1][::-1] and edits(word, known) == 1
    if len(word) < 4 or word[0] != known[0]:
        return False
    return edits(word, known) == 1
