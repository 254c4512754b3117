"""Members: the people who sign in for an org, each of one org alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.events import Actor
from oauth.oidc import Identity

#: No check of an address but sending to it is worth much; this keeps out what is none, and what would not be stored.
_EMAIL = re.compile(r"[^\s@<>\"'\\,;:()\[\]]{1,64}@[^\s@<>\"'\\,;:()\[\]]{1,190}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person. Times are unix seconds."""

    id: str
    org: str
    #: In lower case, and known to be theirs; None where nobody has said so.
    email: str | None = None
    name: str | None = None
    #: Who they are at the OpenID provider, once they came by it.
    issuer: str | None = None
    subject: str | None = None
    created_at: float = 0.0
    signed_in_at: float | None = None

    @property
    def shown_name(self) -> str:
        return self.name or self.email or self.id

    @property
    def actor(self) -> Actor:
        return Actor(kind="member", id=self.id, name=self.shown_name)


class Taken(Exception):
    """A member of some org has this email address, or this subject, already."""


class MemberStore(Protocol):
    """Where members are kept. The look-ups that find the org of somebody have none."""

    async def add(
        self,
        org: str,
        *,
        email: str | None,
        name: str | None = None,
        by: Actor,
    ) -> Member:
        """Raises `Taken`."""
        ...

    async def find(self, org: str, member_id: str) -> Member | None: ...

    async def by_email(self, email: str) -> Member | None: ...

    async def by_subject(self, issuer: str, subject: str) -> Member | None: ...

    async def bind(self, org: str, member_id: str, issuer: str, subject: str) -> bool:
        """Ties a member to a subject, once: False where there is one already, or where it is another member's."""
        ...

    async def list(self, org: str) -> Sequence[Member]:
        """Oldest first."""
        ...

    async def remove(self, org: str, member_id: str, *, by: Actor) -> bool:
        """The member, their sessions and their sign-in link. False where there is no such member."""
        ...


def email_of(text: str) -> str | None:
    """The address as it is kept: in lower case, without spaces around it; None for what is none."""
    address = text.strip().lower()
    return address if address.isprintable() and _EMAIL.fullmatch(address) else None


async def member_of_identity(members: MemberStore, identity: Identity) -> Member | None:
    """The member that an identity is: the one tied to it, or one who was invited by its verified address and now is."""
    found = await members.by_subject(identity.issuer, identity.subject)
    email = email_of(identity.email or "")
    if found is not None or email is None:
        return found
    invited = await members.by_email(email)
    if invited is None or invited.subject is not None:
        return None
    await members.bind(invited.org, invited.id, identity.issuer, identity.subject)
    # Whoever came first has it: two at once may both have found the member free.
    return await members.by_subject(identity.issuer, identity.subject)
