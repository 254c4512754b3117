"""Patterns of actions, `integration.action` with `*`: how grants, plans and limits name more than one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from skills_catalog.names import HATCH

#: `github` alone means all of it, `*` stands for any letters.
PATTERN = re.compile(r"(?:[a-z0-9_*]+\.)?[a-z0-9_*]+")
LONGEST = 160


def is_pattern(text: object) -> bool:
    """Whether it can stand where patterns do."""
    return isinstance(text, str) and len(text) <= LONGEST and PATTERN.fullmatch(text) is not None


def fits(action_id: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns covers `integration.action`."""
    return any(_covers(_whole(pattern), action_id) for pattern in patterns)


def within(pattern: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns surely covers all that `pattern` does."""
    # Its `*` is then a letter that only a `*` of the other one takes in.
    return fits(_whole(pattern), patterns)


def lets_through(action_id: str, allow: Sequence[str] | None, deny: Sequence[str]) -> bool:
    """Whether `allow` (None is everything) has the action and `deny`, which wins, does not.

    The escape hatch can do what any other action does. So it is let through where nothing of its integration is left
    out, or where `allow` names it in full.
    """
    if deny and fits(action_id, deny):
        return False
    slug, _, name = action_id.partition(".")
    if name != HATCH:
        return allow is None or fits(action_id, allow)
    if allow is not None and action_id in allow:
        return True
    return not touches(slug, deny) and (allow is None or within(f"{slug}.*", allow))


def touches(slug: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns may cover an action of the integration."""
    return any(_covers(_whole(pattern).partition(".")[0], slug) for pattern in patterns)


def _covers(pattern: str, name: str) -> bool:
    """In linear time, however many `*` there are."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == first
    *middle, last = rest
    at, end = len(first), len(name) - len(last)
    if at > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for piece in middle:
        at = name.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _whole(pattern: str) -> str:
    return pattern if "." in pattern or pattern == "*" else f"{pattern}.*"
