"""What happened, said once: who may read it by polling, hear it by webhook, or audit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gateway.core.ids import new_ordered_id

#: What the types of events begin with.
KINDS = ("api_key", "approval", "connection", "device", "hook", "limit", "member", "org", "plan", "run", "skill", "webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did something: an API key, a member who is signed in, the user behind a link
    or a sign-up, or the operator at the machine."""

    kind: Literal["api_key", "member", "user", "operator"]
    id: str | None = None
    name: str | None = None

    def shown(self) -> dict[str, Any]:
        return {"type": self.kind, "id": self.id, "name": self.name}

    @classmethod
    def of(cls, shown: Mapping[str, Any]) -> Actor:
        return cls(kind=shown["type"], id=shown["id"], name=shown["name"])


OPERATOR = Actor(kind="operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in an org. `data` holds ids, names and numbers, never a secret."""

    id: str
    org: str
    #: `api_key.created`, `connection.needs_reauth`; what stands before the dot is its kind.
    type: str
    #: Unix milliseconds.
    at: int
    data: Mapping[str, Any] = field(default_factory=dict)
    #: Set where somebody did it; such events are the audit trail.
    actor: Actor | None = None
    #: `test` for what happened to test keys and their calls: all that a test key sees.
    mode: Literal["live", "test"] = "live"

    @classmethod
    def now(
        cls,
        org: str,
        type: str,
        at: float,
        *,
        actor: Actor | None = None,
        mode: Literal["live", "test"] = "live",
        **data: Any,
    ) -> Event:
        """`at` in unix seconds."""
        ms = int(at * 1000)
        return cls(id=new_ordered_id("evt", ms), org=org, type=type, at=ms, data=data, actor=actor, mode=mode)

    @property
    def kind(self) -> str:
        return self.type.partition(".")[0]


class EventStore(Protocol):
    """Where events are kept; what tells of a change is written by whoever makes the change, together with it."""

    async def add(self, event: Event) -> None:
        """One that tells of no change in the database."""
        ...

    async def page(
        self,
        org: str,
        *,
        mode: Literal["live", "test"] = "live",
        kind: str | None = None,
        since: str | int | None = None,
        limit: int = 50,
    ) -> tuple[Sequence[Event], bool]:
        """Oldest first, after an event's id or from a time (unix ms) on, and whether there are more.

        Where events are large it may be fewer than `limit`. The kind `audit` is what has an actor.
        The mode `live` sees all events, `test` its own alone.
        """
        ...
