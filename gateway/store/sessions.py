"""Sessions of members: found by the hash of their cookie, together with the member and the org."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.core.events import Event
from gateway.core.ids import new_id
from gateway.core.people.sessions import IDLE, Session
from gateway.core.tenants.keys import Org
from gateway.core.tenants.members import Member
from gateway.store.database import Database, Row
from gateway.store.events import append
from gateway.store.members import member_of
from gateway.store.orgs import org_of
from gateway.store.times import to_ms, to_seconds

_START = """
    INSERT INTO sessions (id, hash, org, member, created_at, last_seen_at, expires_at)
    VALUES (:id, :hash, :org, :member, :now, :now, :expires_at)
"""
_FIND = """
    SELECT orgs.*, sessions.id AS session_id, sessions.created_at AS session_created_at,
        sessions.last_seen_at AS session_last_seen_at, sessions.expires_at AS session_expires_at,
        members.id AS member_id, members.org AS member_org, members.email AS member_email,
        members.name AS member_name, members.issuer AS member_issuer, members.subject AS member_subject,
        members.created_at AS member_created_at, members.signed_in_at AS member_signed_in_at
    FROM sessions JOIN members ON members.id = sessions.member JOIN orgs ON orgs.id = sessions.org
    WHERE sessions.hash = :hash AND sessions.expires_at > :now AND sessions.last_seen_at > :seen_after
"""


class SqlSessions:
    """Sessions in the database; implements `SessionStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def start(self, member: Member, digest: bytes, *, expires_at: float) -> None:
        now, session = self._clock(), new_id("sess")
        async with self._database.transaction() as transaction:
            await transaction.execute(
                _START,
                id=session,
                hash=digest,
                org=member.org,
                member=member.id,
                now=to_ms(now),
                expires_at=to_ms(expires_at),
            )
            sql = "UPDATE members SET signed_in_at = :now WHERE org = :org AND id = :id"
            await transaction.execute(sql, org=member.org, id=member.id, now=to_ms(now))
            told = Event.now(member.org, "member.signed_in", now, actor=member.actor, id=member.id, session=session)
            await append(transaction, told)

    async def find(self, digest: bytes, *, seen_after: float) -> tuple[Session, Member, Org] | None:
        row = await self._database.fetch_one(
            _FIND, hash=digest, now=to_ms(self._clock()), seen_after=to_ms(seen_after)
        )
        return None if row is None else (_session(row), member_of(row, "member_"), org_of(row))

    async def note(self, org: str, session_id: str) -> None:
        sql = "UPDATE sessions SET last_seen_at = :now WHERE org = :org AND id = :id"
        await self._database.execute(sql, org=org, id=session_id, now=to_ms(self._clock()))

    async def end(self, digest: bytes) -> None:
        await self._database.execute("DELETE FROM sessions WHERE hash = :hash", hash=digest)

    async def end_all(self, org: str, member_id: str) -> None:
        sql = "DELETE FROM sessions WHERE org = :org AND member = :member"
        await self._database.execute(sql, org=org, member=member_id)

    async def purge(self) -> int:
        """Forgets sessions that are over; says how many."""
        now = self._clock()
        sql = "DELETE FROM sessions WHERE expires_at <= :now OR last_seen_at <= :idle"
        return await self._database.execute(sql, now=to_ms(now), idle=to_ms(now - IDLE))


def _session(row: Row) -> Session:
    return Session(
        id=row["session_id"],
        org=row["member_org"],
        member=row["member_id"],
        created_at=to_seconds(row["session_created_at"]),
        last_seen_at=to_seconds(row["session_last_seen_at"]),
        expires_at=to_seconds(row["session_expires_at"]),
    )
