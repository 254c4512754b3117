"""What an agent reads before it chooses: descriptions that say what is done, and requests in other words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from skills_catalog.model import Integration, Json, Skill
from skills_catalog.verbs import VERBS

Found = Iterator[tuple[Literal["error", "warning", "info"], tuple[str | int, ...], str]]

_FEWEST_ASKS, _MOST_ASKS = 3, 6
_NO_ORDER = re.compile(
    r"(this|the|a|an|it|you|we|your|use|used|allows?|enables|lets?|provides?|api|endpoint|method|function|action|returns)\b",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"(https?://|</?[a-z]+>|\]\(|\bclick here\b|\bsee (the )?(docs|documentation|below|above)\b|\bfor more (information|details)\b"
    r"|\bread more\b|\bnote that\b|\bplease\b|\betc\.?$|\.\.\.$|…$)",
    re.IGNORECASE,
)
# Words without which a sentence says the same.
_SMALL = frozenset(
    {
        *("a", "an", "the", "of", "to", "in", "on", "for", "and", "or", "is", "are", "was", "were", "be", "been", "it"),
        *("its", "this", "that", "these", "those", "i", "me", "my", "we", "our", "us", "you", "your", "they", "them"),
        *("their", "he", "she", "his", "her", "what", "which", "who", "whom", "when", "where", "why", "how", "do"),
        *("does", "did", "have", "has", "had", "can", "could", "should", "would", "will", "may", "might", "must"),
        *("no", "not", "nor", "so", "if", "then", "than", "as", "at", "by", "from", "with", "without", "into", "about"),
        *("over", "under", "up", "down", "out", "off", "all", "any", "some", "more", "most", "each", "every", "other"),
        *("another", "one", "two", "three", "there", "here", "again", "also", "just", "only", "own", "same", "too"),
        *("very", "please", "let", "make", "get", "give", "tell", "show", "find", "see", "look", "want", "need"),
        *("new", "old", "now"),
    }
)


def descriptions(integration: Integration) -> Found:
    """Of actions: begin with a verb, end with a full stop, say more than the name."""
    for skill in integration.skills.values():
        at = ("actions", skill.name, "description")
        text = skill.description
        first = re.match(r"[A-Za-z]+", text)
        word = first[0] if first else ""
        if _NO_ORDER.match(text) or _is_no_order(word):
            yield "warning", at, f"Begin with what it does, as an order: List, Create, Send. Not {word or text[:10]!r}."
        if noise := _NOISE.search(text):
            yield "warning", at, f"`{noise[0].strip()}` helps no agent; leave it out."
        if text and text[-1] not in ".!?`)":
            yield "warning", at, "End it with a full stop."
        if not _stems(text) - _stems(skill.name.replace("_", " ")) and len(_stems(text)) > 0:
            yield "info", at, "Says no more than the name; what is it for, what does it need?"


def asks(integration: Integration) -> Found:
    """Three to six requests as people say them, in words that name and description do not use."""
    for skill in integration.skills.values():
        at = ("actions", skill.name)
        if not _FEWEST_ASKS <= len(skill.asks) <= _MOST_ASKS:
            message = f"Has {len(skill.asks)} `asks`; {_FEWEST_ASKS} to {_MOST_ASKS} let search find it."
            yield "warning", (*at, *(("asks",) if skill.asks else ())), message
        known = _known(skill)
        for number, ask in enumerate(skill.asks):
            place = (*at, "asks", number)
            if common := [word for word in _words(ask) if _stem(word) in known]:
                yield (
                    "warning",
                    place,
                    f"{', '.join(common)}: the name or description says that already; use other words.",
                )
            elif len(ask) > 120:
                yield "warning", place, "Is longer than people ask."


def param_words(integration: Integration) -> Found:
    """Params whose description only repeats their name."""
    for skill in integration.skills.values():
        for name, schema in skill.input_schema["properties"].items():
            text = _described(schema)
            if text and not _stems(text) - _stems(name.replace("_", " ").replace("-", " ")):
                yield "info", ("actions", skill.name, "params", name), "The description says no more than the name."


def _described(schema: Json) -> str:
    return str(schema.get("description", "")) if isinstance(schema, Mapping) else ""


def _is_no_order(word: str) -> bool:
    """Whether a first word is a verb in another form: `Lists`, `Creating`."""
    low = word.lower()
    if low in VERBS:
        return False
    bases = (low.removesuffix("s"), low.removesuffix("es"), re.sub("ies$", "y", low))
    if any(base != low and base in VERBS for base in bases):
        return True
    return low.endswith("ing") and any(base in VERBS for base in (low[:-3], f"{low[:-3]}e", low[:-4]))


def _known(skill: Skill) -> set[str]:
    return _stems(" ".join((skill.name.replace("_", " "), skill.title, skill.description)))


def _words(text: str) -> list[str]:
    """The words that mean something, each once."""
    found = re.findall(r"[a-z0-9]+", text.lower())
    return [word for word in dict.fromkeys(found) if word not in _SMALL]


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in _words(text)}


def _stem(word: str) -> str:
    """What forms of a word have in common, as far as a rule can tell: `notes`, `note`; `creating`, `create`."""
    if len(word) <= 3:
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    word = re.sub(r"(?<=ch|sh|ss)es$|(?<=[xz])es$|(?<=[^s])s$", "", word)
    if len(word) > 5:
        word = re.sub(r"(ing|ed)$", "", word)
    return word.removesuffix("e")
