"""Sign-in links: one a member, kept as a hash, gone once it was used."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.core.events import OPERATOR, Actor, Event
from gateway.core.tenants.members import Member
from gateway.store.database import Database
from gateway.store.events import append
from gateway.store.members import member_of
from gateway.store.times import to_ms

_MAKE = """
    INSERT INTO sign_in_links (member, org, hash, created_at, expires_at)
    VALUES (:member, :org, :hash, :now, :expires_at)
    ON CONFLICT (member) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at,
        expires_at = excluded.expires_at
"""
_FIND = """
    SELECT members.* FROM sign_in_links JOIN members ON members.id = sign_in_links.member
    WHERE sign_in_links.hash = :hash AND sign_in_links.expires_at > :now
"""
_TAKE = "DELETE FROM sign_in_links WHERE hash = :hash AND expires_at > :now RETURNING org, member"


class SqlSignInLinks:
    """Sign-in links in the database; implements `LinkStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def make(self, member: Member, digest: bytes, *, expires_at: float, by: Actor = OPERATOR) -> None:
        now = self._clock()
        async with self._database.transaction() as transaction:
            await transaction.execute(
                _MAKE,
                member=member.id,
                org=member.org,
                hash=digest,
                now=to_ms(now),
                expires_at=to_ms(expires_at),
            )
            told = Event.now(member.org, "member.link_made", now, actor=by, id=member.id, email=member.email)
            await append(transaction, told)

    async def find(self, digest: bytes) -> Member | None:
        row = await self._database.fetch_one(_FIND, hash=digest, now=to_ms(self._clock()))
        return None if row is None else member_of(row)

    async def take(self, digest: bytes) -> Member | None:
        async with self._database.transaction() as transaction:
            taken = await transaction.fetch_one(_TAKE, hash=digest, now=to_ms(self._clock()))
            if taken is None:
                return None
            sql = "SELECT * FROM members WHERE org = :org AND id = :id"
            row = await transaction.fetch_one(sql, org=taken["org"], id=taken["member"])
        return None if row is None else member_of(row)

    async def purge(self) -> int:
        """Forgets links that are over; says how many."""
        sql = "DELETE FROM sign_in_links WHERE expires_at <= :now"
        return await self._database.execute(sql, now=to_ms(self._clock()))
