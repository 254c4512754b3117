"""A webhook: where an org is told what happened, and which of it that is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.events import Actor, Event
from gateway.core.tenants.access import grant_sees
from gateway.core.tenants.grants import Grant
from gateway.core.tenants.keys import Mode
from gateway.core.times import iso
from oauth.secret import Secret

#: `*`, an event's type, or all that begins with what stands before `.*`.
PATTERN = re.compile(r"\*|[a-z_]{1,32}(?:\.[A-Za-z0-9_:/-]{1,100}){0,8}(?:\.\*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A subscription. Times are unix seconds.

    It keeps a copy of the grant of the key that made or last enabled it, and hears what that key may see; when
    the key is revoked or runs out, so does the webhook.
    """

    id: str
    org: str
    mode: Mode
    url: str = field(repr=False)
    events: tuple[str, ...]
    description: str | None = None
    grant: Grant
    #: Id of that key; None for a member.
    key: str | None
    by: Actor
    created_at: float
    disabled_at: float | None = None
    #: Why it hears nothing: `gone`, `failing`, `key_revoked`, `key_expired`.
    disabled_reason: str | None = None
    #: Since when every attempt has failed.
    failing_since: float | None = None

    @property
    def active(self) -> bool:
        return self.disabled_reason is None

    def hears(self, event: Event) -> bool:
        """Whether it is told of the event."""
        return (
            self.active
            and event.org == self.org
            and event.mode == self.mode
            and any(_covers(pattern, event.type) for pattern in self.events)
            and grant_sees(self.grant, event)
            # Nobody waits to be told of what was just answered.
            and not (event.type == "webhook.created" and event.data.get("id") == self.id)
        )

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "url": self.url,
            "events": list(self.events),
            "description": self.description,
            "mode": self.mode,
            "active": self.active,
            "disabled_reason": self.disabled_reason,
            "disabled_at": iso(self.disabled_at),
            "failing_since": iso(self.failing_since),
            "created_by": self.by.shown(),
            "created_at": iso(self.created_at),
        }


class WebhookStore(Protocol):
    """Where webhooks are kept. Every change leaves an event in the same transaction."""

    async def add(self, webhook: Webhook, secret: Secret, *, most: int) -> None:
        """Raises `TooMany` where the org has `most`."""
        ...

    async def list(self, org: str) -> Sequence[Webhook]:
        """Oldest first."""
        ...

    async def with_secrets(self, org: str, webhook_id: str) -> tuple[Webhook, Sequence[Secret]] | None:
        """And what signs at this time, the present one first."""
        ...

    async def rotate(self, org: str, webhook_id: str, *, by: Actor) -> Secret | None:
        """The new secret; None where the webhook is gone. Raises `conflict` where too many sign already."""
        ...

    async def enable(self, org: str, webhook_id: str, *, grant: Grant, key: str | None, by: Actor) -> bool: ...

    async def disable(self, org: str, webhook_id: str, reason: str) -> bool:
        """What waits for it is given up. False where it was disabled or is gone."""
        ...

    async def remove(self, org: str, webhook_id: str, *, by: Actor) -> bool:
        """With all its deliveries."""
        ...


def _covers(pattern: str, type: str) -> bool:
    if pattern == "*" or pattern == type:
        return True
    return pattern.endswith(".*") and type.startswith(pattern[:-1])
