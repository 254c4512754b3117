"""What a key may do, as one value: it is held against every call, and can only be made narrower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from gateway.approval_rules import NONE, ApprovalRule, read_rule
from gateway.patterns import lets_through, within
from skills_catalog.model import Effect, Skill
from skills_catalog.names import HATCH

Level = Literal["read_only", "read_write", "full_access"]

#: Whom an org calls for that has one user only, or names none.
DEFAULT_USER = "default"

#: From the least to the most.
LEVELS: tuple[Level, ...] = get_args(Level)
#: What each level says of itself where keys are shown.
LEVEL_MEANINGS: Mapping[Level, str] = {
    "read_only": "Looks things up; changes nothing.",
    "read_write": "Also creates, updates, sends and connects; deletes nothing.",
    "full_access": "Everything, also deleting, keys, webhooks and the audit trail.",
}
#: The least level that an action of an effect asks for.
_LEVEL_OF: Mapping[Effect, Level] = {
    "read": "read_only",
    "create": "read_write",
    "update": "read_write",
    "send": "read_write",
    "delete": "full_access",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Which integrations, actions, users and connections a key may use, how much it may change, and until when.

    It never changes after minting. `None` is no limit; an empty tuple allows nothing.
    """

    #: Integration slugs, or `*` for all.
    scopes: tuple[str, ...] = ("*",)
    level: Level = "full_access"
    #: Patterns of actions: one must fit, none of `deny` may.
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    users: tuple[str, ...] | None = None
    #: Ids of the only connections that may serve its calls.
    connections: tuple[str, ...] | None = None
    #: Calls that a person has to approve first.
    approval: ApprovalRule = NONE
    #: Unix seconds.
    expires_at: float | None = None

    def allows(self, skill: Skill, user: str) -> bool:
        """Whether a call of this action for this user is within the grant."""
        return (
            self.allows_integration(skill.integration)
            and self.allows_action(skill)
            and self.has_level(level_of(skill))
            and self.allows_user(user)
        )

    def allows_integration(self, slug: str) -> bool:
        return "*" in self.scopes or slug in self.scopes

    def allows_action(self, skill: Skill) -> bool:
        """By name alone: `deny` wins over `allow`."""
        return lets_through(skill.id, self.allow, self.deny)

    def has_level(self, level: Level) -> bool:
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def allows_user(self, user: str) -> bool:
        return self.users is None or user in self.users

    def allows_connection(self, connection_id: str) -> bool:
        return self.connections is None or connection_id in self.connections

    @property
    def default_user(self) -> str | None:
        """For whom it acts where nobody is named; None where somebody must be."""
        if self.users is None or DEFAULT_USER in self.users:
            return DEFAULT_USER
        return self.users[0] if len(self.users) == 1 else None

    def narrow(self, other: Grant) -> Grant:
        """The grant of a key made by this one that asked for `other`: never wider than either."""
        return Grant(
            scopes=_both(self.scopes, other.scopes),
            level=min(self.level, other.level, key=LEVELS.index),
            allow=self._without_new_hatches(_both_patterns(self.allow, other.allow)),
            deny=tuple(dict.fromkeys((*self.deny, *other.deny))),
            users=_both_limits(self.users, other.users),
            connections=_both_limits(self.connections, other.connections),
            approval=self.approval.and_also(other.approval),
            expires_at=min((at for at in (self.expires_at, other.expires_at) if at is not None), default=None),
        )

    def _without_new_hatches(self, allow: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The patterns but for an escape hatch that this grant, where it does not name it, keeps closed."""
        if allow is None:
            return None
        hatches = [pattern for pattern in allow if pattern.endswith(f".{HATCH}")]
        closed = [pattern for pattern in hatches if not lets_through(pattern, self.allow, self.deny)]
        return tuple(pattern for pattern in allow if pattern not in closed)

    def to_json(self) -> dict[str, Any]:
        """All but the expiry, which has a column of its own."""
        names = [item.name for item in fields(self) if item.name != "expires_at"]
        values = {name: getattr(self, name) for name in names}
        return {name: _written(value) for name, value in values.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, expires_at: float | None = None) -> Grant:
        read: dict[str, Any] = {name: tuple(given) if isinstance(given, list) else given for name, given in value.items()}
        read["approval"] = read_rule(value.get("approval") or {})
        return cls(**read, expires_at=expires_at)


def _written(value: Any) -> Any:
    if isinstance(value, ApprovalRule):
        return value.to_json()
    return list(value) if isinstance(value, tuple) else value


def level_of(skill: Skill) -> Level:
    """The least level of a key that may call the action; the escape hatch takes the highest, whatever it does."""
    return "full_access" if skill.is_hatch else _LEVEL_OF[skill.effect]


def _both(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in mine:
        return theirs
    return mine if "*" in theirs else tuple(scope for scope in theirs if scope in mine)


def _both_limits(mine: tuple[str, ...] | None, theirs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return tuple(name for name in theirs if name in mine)


def _both_patterns(mine: tuple[str, ...] | None, theirs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What both allow, as far as patterns can say it; what they cannot is left out."""
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    inside = [pattern for pattern in theirs if within(pattern, mine)]
    return tuple(dict.fromkeys([*inside, *(pattern for pattern in mine if within(pattern, theirs))]))

