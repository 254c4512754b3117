"""Which operations of a description are meant: by tag, by path, by the vendor's id or by our name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from skills_catalog.descriptions.model import Operation
from skills_catalog.names import nearest


class NothingSelected(ValueError):
    """A pattern that fits no operation; the message names it, and the nearest that would."""


def selected(operations: Sequence[Operation], patterns: Sequence[str], names: Mapping[str, str]) -> list[Operation]:
    """The operations that fit one of the patterns, and none that is `!excluded`; all without patterns.

    `tag:Issues`, `/repos/*`, `GET /repos/*`, `issues/*` (the vendor's id) or `list_*` (our name); `*` is anything.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    for pattern in (*wanted, *unwanted):
        if not any(_fits(one, pattern, names[one.key]) for one in operations):
            raise NothingSelected(_nothing(pattern, operations, names))
    return [
        one
        for one in operations
        if (not wanted or any(_fits(one, pattern, names[one.key]) for pattern in wanted))
        and not any(_fits(one, pattern, names[one.key]) for pattern in unwanted)
    ]


def _fits(operation: Operation, pattern: str, name: str) -> bool:
    if pattern.lower().startswith("tag:"):
        return any(fnmatchcase(tag.lower(), pattern[4:].strip().lower()) for tag in operation.tags)
    if pattern.startswith("/"):
        return _glob(operation.path, pattern)
    if re.match(r"[A-Z]+ /", pattern):
        return _glob(operation.line, pattern)
    return fnmatchcase(operation.id, pattern) or fnmatchcase(name, pattern)


def _glob(text: str, pattern: str) -> bool:
    # Braces and brackets are letters of a path.
    escaped = "".join(f"[{letter}]" if letter in "[" else letter for letter in pattern)
    return fnmatchcase(text, escaped)


def _nothing(pattern: str, operations: Sequence[Operation], names: Mapping[str, str]) -> str:
    if pattern.lower().startswith("tag:"):
        known = list(dict.fromkeys(tag for one in operations for tag in one.tags))
        meant = nearest(pattern[4:].strip(), known)
        hint = f"; did you mean tag:{meant}?" if meant else f"; tags: {', '.join(known[:20])}." if known else ""
    else:
        meant = nearest(pattern, [*(one.id for one in operations), *names.values()])
        hint = f"; did you mean {meant}?" if meant else ""
    return f"No operation fits {pattern!r}{hint or '.'}"
