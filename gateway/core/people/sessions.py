"""Sessions: a browser in which a member is signed in, until it idles, ends, or is signed out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.core.tenants.access import Plans, principal_of_member
from gateway.core.tenants.keys import Org, Principal
from gateway.core.tenants.members import Member
from oauth.flow import hash_state
from oauth.secret import Secret

#: Seconds after the last request, and after signing in.
IDLE = 8 * 3600.0
LONGEST = 7 * 86400.0
#: A request is noted on the session's row once in so many seconds.
_NOTED = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser. Times are unix seconds."""

    id: str
    org: str
    member: str
    created_at: float
    last_seen_at: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Whoever a session's cookie was resolved to."""

    session: Session
    member: Member
    principal: Principal


class SessionStore(Protocol):
    """Where sessions are kept, by the hash of their cookie."""

    async def start(self, member: Member, digest: bytes, *, expires_at: float) -> None:
        """Raises `Refusal` where the member was removed at this moment."""
        ...

    async def find(self, digest: bytes, *, seen_after: float) -> tuple[Session, Member, Org] | None:
        """None where it is over, or was last seen before that time."""
        ...

    async def note(self, org: str, session_id: str) -> None:
        """It was seen now."""
        ...

    async def end(self, digest: bytes) -> None: ...

    async def end_all(self, org: str, member_id: str) -> None: ...


class Sessions:
    """Starts, finds and ends sessions. Nothing is remembered here: one that was ended works nowhere any more."""

    def __init__(self, store: SessionStore, plans: Plans, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._plans = plans
        self._clock = clock

    async def start(self, member: Member, *, instead_of: str | None) -> Secret:
        """The cookie of a new session; the one that the browser had before ends."""
        cookie = secrets.token_urlsafe(32)
        await self._store.start(member, hash_state(cookie), expires_at=self._clock() + LONGEST)
        if instead_of is not None:
            await self._store.end(hash_state(instead_of))
        return Secret(cookie)

    async def find(self, cookie: str) -> SignedIn | None:
        """Who is signed in by a cookie, if anybody. Raises `forbidden` where their org is suspended."""
        now = self._clock()
        found = await self._store.find(hash_state(cookie), seen_after=now - IDLE)
        if found is None:
            return None
        session, member, org = found
        principal = principal_of_member(member, org, self._plans)
        if session.last_seen_at <= now - _NOTED:
            await self._store.note(session.org, session.id)
        return SignedIn(session=session, member=member, principal=principal)

    async def end(self, cookie: str) -> None:
        """Signs out this browser."""
        await self._store.end(hash_state(cookie))

    async def end_all(self, org: str, member_id: str) -> None:
        """Signs out every browser of a member."""
        await self._store.end_all(org, member_id)
