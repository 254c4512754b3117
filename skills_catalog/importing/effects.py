"""What an imported operation does to the world, as far as its method and its words tell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skills_catalog.descriptions.model import Operation
from skills_catalog.importing.words import plain, words_of
from skills_catalog.model import Effect
from skills_catalog.verbs import ONLY_READS, VERBS, imperative, verb_at

_BY_METHOD: dict[str, Effect] = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
_STRENGTH: tuple[Effect, ...] = ("read", "create", "update", "send", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """An effect, and why a person should look at it before it is served."""

    effect: Effect
    doubt: str = ""


def effect_of(operation: Operation, name: str) -> Guess:
    """The effect of an operation that gets this name. In doubt it is the stronger one, and the doubt is told."""
    words = name.split("_")
    said = _said(operation, words)
    if operation.method in ("GET", "HEAD"):
        doubt = f"a {operation.method} that sounds like it changes something" if _changes(operation, words) else ""
        return Guess(effect="read", doubt=doubt)
    if operation.tags == ("Query",) and operation.path.endswith("graphql"):
        return Guess(effect="read")
    if operation.method == "DELETE":
        return Guess(effect="delete")
    if operation.method == "POST" and words[0] in ONLY_READS and said == "read" and not _also_changes(words[1:]):
        return Guess(effect="read")
    if said in ("send", "delete"):
        return Guess(effect=said)
    if words[0] in ONLY_READS:
        return Guess(effect=_BY_METHOD[operation.method], doubt=f"a {operation.method} that sounds like it only reads")
    if operation.method in ("PUT", "PATCH"):
        return Guess(effect="create" if said == "create" and operation.method == "PUT" else "update")
    return Guess(effect=said if said in ("create", "update") else "create")


def _said(operation: Operation, words: list[str]) -> Effect | None:
    """The effect of the leading verb, of the name or of what the vendor says first; of several the strongest."""
    found = [effect for effect in (verb_at(words, 0),) if effect is not None]
    for text in (operation.summary, operation.description):
        first = re.match(r"[A-Za-z]+", plain(text))
        verb = imperative(first[0]) if first else None
        if verb and VERBS.get(verb) in ("send", "delete"):
            found.append(VERBS[verb])
    return max(found, key=_STRENGTH.index, default=None)


def _also_changes(words: list[str]) -> bool:
    return any(
        VERBS.get(word) not in (None, "read") for word in words if word in ("create", "add", "update", "delete", "set")
    )


def _changes(operation: Operation, words: list[str]) -> bool:
    effect = verb_at(words, 0)
    if effect in (None, "read") or words[0] not in VERBS:
        return False
    # `/search/issues` and `/download` are things to look at; a verb that the vendor gave it is meant.
    given = words_of(operation.id or operation.summary)
    return words[0] in given and words[0] not in ("export", "generate", "list", "convert", "render", "open", "connect")
