"""Words of a text as the search compares them: lower case, without accents, and each cut to its stem."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HUMPED = re.compile(r"\b[a-z][a-z0-9]*[A-Z]\w*")
_VOWEL = re.compile(r"[aeiouy]")
#: Longer words are nobody's, and cost time.
_LONGEST = 40


def words_in(text: str) -> frozenset[str]:
    """The words of a list that is written as a text."""
    return frozenset(text.split())


#: Words that say nothing about what is wanted.
STOP = words_in(
    """a an and are as at be been being but by can could do does did done for from had has have he her here him his how
    i if in into is isn it its just let me my of on onto or our ours please shall she should so some such than
    that the their them then there these they this those to too us via was we were what when where which will
    with would you your yours about am any because may might must ought cannot hi hello hey thanks thank kindly
    whether while instead else yes ok okay without s t ll re ve d m don doesn didn want wants need needs like
    also anyone anybody somebody someone something anything"""
)
#: Words that help where they are found and that nobody misses: when, how many, how nearly.
LIGHT = words_in(
    """all new now next last latest recent today tomorrow yesterday tonight week weekend month quarter year day hour
    minute morning evening noon night monday tuesday wednesday thursday friday saturday sunday january february
    march april june july august september october november december one two three four five six seven eight
    nine ten every each again still up out off over down back right left not no only more most many much few who
    whose why get give take go come put see tell know thing stuff way other another same own really quick
    quickly soon until before after during between within per ago since both it using use old current currently
    existing certain specific particular look looks try help kind sort lot lots long think sure maybe called
    named first second several whole entire complete team company people person us everybody everyone"""
)

#: What most actions do, by whatever word: it tells little which of them is meant.
COMMON_VERBS = words_in(
    "list get read find search show look view see check fetch create add make new update change edit set delete remove"
)


def plain(text: str) -> str:
    """The text in lower case, without accents, with a space for `_` and between the humps of `createIssue`.

    `GitHub` is one word: what begins with a capital is a name.
    """
    text = _HUMPED.sub(lambda found: apart(found[0]), text).replace("_", " ").lower()
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def apart(word: str) -> str:
    """A word with spaces between its humps."""
    return _HUMP.sub(" ", word)


def words_of(text: str) -> list[str]:
    """The words of a plain text in their order, not cut to their stems."""
    return [word for word in _WORD.findall(text) if len(word) <= _LONGEST]


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """What the forms of a word share: `merges`, `merged` and `merging` are all `merg`.

    A few rules for English. They need not give words, only the same for what belongs together.
    """
    if len(word) < 4 and not (len(word) == 3 and word.endswith("s") and word != "sms" and word != "dns"):
        return word
    word = _without_ending(_singular(word))
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    if word.endswith("at") and len(word) >= 7:
        word = word[:-2]
    return word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word


def _singular(word: str) -> str:
    if not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes", "zes")):
        return word[:-2]
    return word[:-1]


def _without_ending(word: str) -> str:
    word = re.sub(r"is(e|ed|ing|ation)$", r"iz\1", word) if len(word) > 6 else word
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending, least in _ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= least and _VOWEL.search(rest):
            return rest
    return word


#: What is cut off, and how many letters have to stay: `document` is no `docu`, `station` no `stat`.
_ENDINGS = (("ing", 3), ("ed", 3), ("ment", 5), ("ion", 5), ("ly", 4), ("ee", 5))
