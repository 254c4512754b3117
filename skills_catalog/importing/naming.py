"""Names for imported actions: from the vendor's operation ids, verb first, unique, and the same at every import."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from skills_catalog.descriptions.model import Description, Operation
from skills_catalog.importing.words import words_of
from skills_catalog.names import RESERVED_ACTIONS
from skills_catalog.verbs import ALSO_NOUNS, NEVER_LAST, ONLY_READS, VERBS, imperative, verb_at

#: The longest name of an action, and of an action with its integration before it (`slug__name`).
LONGEST = 48
LONGEST_TOOL = 64
_FILLERS = frozenset({"a", "an", "the", "of", "deprecated"})
_SMALL = frozenset(
    {"to", "from", "for", "in", "on", "by", "with", "at", "as", "and", "or", "into", "via", "using", "per"}
)
#: What a method does where no word of the name tells.
_VERBS = {"GET": "get", "HEAD": "check", "POST": "create", "PUT": "set", "PATCH": "update", "DELETE": "delete"}
_PARAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def action_names(description: Description, slug: str) -> dict[str, str]:
    """A name for every operation of the description by its `key`, whichever of them are imported."""
    most = min(LONGEST, LONGEST_TOOL - len(slug) - 2)
    shared = _shared_group(description)
    short = {one.key: _fitted(one, _short(one, shared), most) for one in description.operations}
    short |= _replacing(description.operations, short, most)
    many = Counter(short.values())
    long = {
        one.key: short[one.key] if many[short[one.key]] == 1 else _fitted(one, _long(one, shared), most)
        for one in description.operations
    }
    names: dict[str, str] = {}
    taken: set[str] = set(RESERVED_ACTIONS)
    # The order must not depend on the file, where operations come and go.
    for one in sorted(description.operations, key=lambda one: (one.deprecated, len(one.path), one.path, one.method)):
        name = long[one.key]
        if name in taken:
            name = f"{name[: most - 5].rstrip('_')}_{_mark(one)}"
        number = 2
        while name in taken:
            name, number = f"{name[: most - 3].rstrip('_')}_{number}", number + 1
        taken.add(name)
        names[one.key] = name
    return names


def _replacing(operations: Sequence[Operation], names: Mapping[str, str], most: int) -> dict[str, str]:
    """Other names for each PUT that has the name of the PATCH of its path: it replaces what that one changes."""
    changing = {(one.path, names[one.key]) for one in operations if one.method == "PATCH"}
    return {
        one.key: f"replace_{names[one.key].removeprefix('update_')}"[:most].rstrip("_")
        for one in operations
        if one.method == "PUT" and (one.path, names[one.key]) in changing and names[one.key].startswith("update_")
    }


def param_name(name: str, taken: Mapping[str, object] | set[str], location: str = "") -> str:
    """A name of a param that may stand in a definition: the vendor's own where it can be."""
    wanted = name if _PARAM_NAME.fullmatch(name) else "_".join(re.findall(r"[A-Za-z0-9]+", name))[:60] or "value"
    if not re.match(r"[A-Za-z_]", wanted):
        wanted = f"_{wanted}"
    found, number = wanted, 2
    if found in taken and location:
        found = f"{location}_{wanted}"[:64]
    while found in taken:
        found, number = f"{wanted[:58]}_{number}", number + 1
    return found


def slug_of(description: Description) -> str:
    """A slug from the host of the API, or from its title where many share the host; empty where neither tells."""
    slug = _slug_of(description)
    if slug and description.kind == "Google discovery" and not slug.startswith(("google", "gmail", "youtube")):
        # `calendar` alone is anybody's.
        return f"google_{slug}"[:32].rstrip("_")
    return slug


def _slug_of(description: Description) -> str:
    host = re.sub(r"^https?://|[/:].*$", "", description.servers[0]) if description.servers else ""
    labels = [label for label in host.split(".") if re.fullmatch(r"[a-z0-9-]+", label)]
    telling = [label for label in labels[:-1] if label in re.findall(r"[a-z0-9]+", description.title.lower())]
    if telling and telling[0] not in ("api", "www", "app"):
        return re.sub(r"^[^a-z]+", "", telling[0].replace("-", "_"))[:32]
    if len(labels) > 1 and labels[-2] not in ("googleapis", "amazonaws", "azure", "herokuapp", "co", "com"):
        return re.sub(r"^[^a-z]+", "", labels[-2].replace("-", "_"))[:32]
    noise = {"api", "apis", "rest", "web", "http", "the", "openapi", "official", "spec", "specification", "preview"}
    words = [word for word in re.findall(r"[a-z0-9]+", description.title.lower()) if word not in noise]
    return re.sub(r"^[^a-z]+", "", "_".join(words[:3]))[:32].strip("_")


def category_of(operation: Operation) -> str:
    """The first tag, or the first fixed segment of the path, as a category."""
    segments = [
        part for part in operation.path.split("/") if part and "{" not in part and not re.fullmatch(r"v[0-9.]+", part)
    ]
    for text in (*operation.tags[:1], *segments[:1]):
        words = words_of(re.split(r"[(:]", text)[0])
        name = re.sub(r"^[^a-z]+", "", "-".join(words[:4]))[:40].strip("-")
        if name:
            return name
    return "general"


# ---------------------------------------------------------------------- from an id to words


def _shared_group(description: Description) -> list[str]:
    """The group in which nearly all operations are (`users` of Gmail): it tells nothing."""
    first = Counter(" ".join(groups[0]) for one in description.operations if (groups := _parts(one)[0]))
    group, many = next(iter(first.most_common(1)), ("", 0))
    return group.split() if many > max(4, len(description.operations) * 0.6) else []


def _short(operation: Operation, shared: list[str]) -> list[str]:
    groups, words = _parts(operation)
    if groups[:1] == [shared] and len(groups) > 1:
        groups = groups[1:]
    return _ordered(operation, groups, words)


def _long(operation: Operation, shared: list[str]) -> list[str]:
    """The same with what its path says: of two operations with one name."""
    by_path = [
        word
        for part in operation.path.split("/")
        if "{" not in part and not re.fullmatch(r"v[0-9.]+", part)
        for word in words_of(part)
    ]
    return list(dict.fromkeys([*_short(operation, shared), *by_path]))


def _parts(operation: Operation) -> tuple[list[list[str]], list[str]]:
    """The groups and the words of an id: `issues/list-for-repo` is issues and list, for, repo."""
    name = operation.id
    if operation.tags and name.startswith(f"{operation.tags[0]}.") and operation.path.endswith("graphql"):
        return [], _graphql_words(operation)
    if not re.search(r"[A-Za-z]", name):
        segments = [words_of(part) for part in operation.path.split("/") if "{" not in part]
        return [], [word for words in segments for word in words if not re.fullmatch(r"v[0-9]+", word)]
    last_segment = operation.path.rpartition("/")[2]
    if "." in last_segment and "{" not in last_segment and words_of(last_segment) == words_of(name):
        # RPC over HTTP: the path says where one word of the id ends.
        name = last_segment
    *groups, last = (words_of(part) for part in re.split(r"[/.:]", name) if part)
    return [group for group in groups if group], last


def _graphql_words(operation: Operation) -> list[str]:
    words = words_of(operation.id.partition(".")[2])
    if operation.tags[0] == "Query" and verb_at(words, 0) != "read":
        answer = operation.responses[0].media["application/json"]
        data = answer["properties"]["data"]["properties"][operation.id.partition(".")[2]]
        return ["list" if _is_many(data) else "get", *words]
    return words


def _is_many(schema: Mapping[str, Any]) -> bool:
    schema = next((way for way in schema.get("anyOf", ()) if way.get("type") != "null"), schema)
    return schema.get("type") == "array" or any(
        name in str(schema.get("properties", "")) for name in ("'pageInfo'", "'nodes'")
    )


def _ordered(operation: Operation, groups: Sequence[list[str]], words: list[str]) -> list[str]:
    """Verb, then the group that it is about, then the rest."""
    words = [word for word in words if word not in _FILLERS] or words
    place = _verb(words)
    if not groups and words and words[0] == operation.method.lower() and words[0] in ("post", "patch", "put"):
        # `post-page` says the method, not what is done.
        verb, rest = _VERBS[operation.method], words[1:]
        if words[-1] in ("search", "query"):
            # `post-search` makes nothing.
            verb, rest = words[-1], words[1:-1]
    elif place is None and len(words) > 1 and operation.tags == ("Mutation",) and operation.path.endswith("graphql"):
        # What a mutation does is its first word, also where we do not know it.
        verb, rest = words[0], words[1:]
    elif place is None and words and _begins_with(operation, words[0]):
        # A verb that we do not know, and that the vendor's summary begins with too.
        verb, rest = words[0], words[1:]
    elif place is not None:
        verb, rest = words[place], [*words[:place], *words[place + 1 :]]
    else:
        verb, rest = _default_verb(operation), words
    if verb == "get" and _begins_with(operation, "list"):
        verb = "list"
    about = [word for group in groups for word in group if word not in rest and _one(word) not in rest]
    if about and (not rest or rest[0] in _SMALL) and verb not in ("list", "search", "find", "query"):
        about = [*about[:-1], _one(about[-1])]
    elif about and rest:
        about = [*about[:-1], _one(about[-1])] if rest[0] not in _SMALL else about
    return [verb, *about, *rest]


def _begins_with(operation: Operation, word: str) -> bool:
    text = operation.summary or operation.description
    return words_of(text.strip()[:100])[:1] in ([word], [f"{word}s"])


def _default_verb(operation: Operation) -> str:
    """The verb that the vendor's own words begin with, else the one of the method."""
    for text in (operation.summary, operation.description):
        first = re.match(r"[A-Za-z]+", text.strip())
        verb = imperative(first[0]) if first else None
        reads = verb is not None and VERBS.get(verb) == "read"
        if verb in VERBS and reads == (operation.method in ("GET", "HEAD")) and verb not in ONLY_READS:
            return str(verb)
    return _VERBS[operation.method]


def _verb(words: list[str]) -> int | None:
    """Where the verb stands: first, last, or in between; one that is as often a noun gives way."""
    last = len(words) - 1
    found = [place for place in (0, last, *range(1, last)) if words and verb_at(words, place) is not None]
    if found[:2] == [0, last] and words[0] in ALSO_NOUNS and words[last] not in ALSO_NOUNS:
        return last
    sure = [place for place in found if place == 0 or words[place] not in ALSO_NOUNS]
    return next(iter([*sure, *(place for place in found if words[place] not in NEVER_LAST)]), None)


def _one(word: str) -> str:
    """The singular of a plural, as far as a rule can tell."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if re.search(r"(sses|shes|ches|xes|zes)$", word):
        return word[:-2]
    is_plural = len(word) > 3 and re.search(r"[^s]s$", word) and not re.search(r"(us|is|news|settings)$", word)
    return word[:-1] if is_plural else word


def _fitted(operation: Operation, words: list[str], most: int) -> str:
    words = [word for word in words if word]
    if words and not words[0][0].isalpha():
        words = [_VERBS[operation.method], *words]
    words = [word for at, word in enumerate(words) if at == 0 or word != words[at - 1]]
    name = "_".join(words)
    while len(name) > most and any(word in _SMALL for word in words[1:]):
        last = max(at for at, word in enumerate(words) if word in _SMALL and at)
        words = [*words[:last], *words[last + 1 :]]
        name = "_".join(words)
    if len(name) > most:
        name = f"{name[: most - 5].rstrip('_')}_{_mark(operation)}"
    if operation.method not in ("GET", "HEAD") and words[0] in ("check", "download", "read", "show", "count"):
        # Names that begin so promise that nothing changes.
        return name if words[0] in ONLY_READS else f"run_{name}"[:most].rstrip("_")
    return name


def _mark(operation: Operation) -> str:
    # All operations of GraphQL have one line.
    said = operation.key if operation.path.endswith("graphql") else operation.line
    return hashlib.sha256(said.encode()).hexdigest()[:4]
