"""Members: the people who sign in for an org. One that is removed is gone; the audit trail remembers the name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from gateway.core.events import OPERATOR, Actor, Event
from gateway.core.ids import new_id
from gateway.core.tenants.members import Member, Taken
from gateway.store.database import AlreadyThere, Database, Row, Statements
from gateway.store.events import append
from gateway.store.times import to_ms, to_seconds

_INSERT = """
    INSERT INTO members (id, org, email, name, issuer, subject, created_at)
    VALUES (:id, :org, :email, :name, :issuer, :subject, :created_at)
"""
_BIND = """
    UPDATE members SET issuer = :issuer, subject = :subject
    WHERE org = :org AND id = :id AND subject IS NULL
    RETURNING *
"""


class SqlMembers:
    """Members in the database; implements `MemberStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(self, org: str, *, email: str | None, name: str | None = None, by: Actor = OPERATOR) -> Member:
        member = Member(id=new_id("mem"), org=org, email=email, name=name, created_at=self._clock())
        try:
            async with self._database.transaction() as transaction:
                await insert_member(transaction, member, by=by)
        except AlreadyThere:
            raise Taken from None
        return member

    async def find(self, org: str, member_id: str) -> Member | None:
        sql = "SELECT * FROM members WHERE org = :org AND id = :id"
        row = await self._database.fetch_one(sql, org=org, id=member_id)
        return None if row is None else member_of(row)

    async def by_email(self, email: str) -> Member | None:
        row = await self._database.fetch_one("SELECT * FROM members WHERE email = :email", email=email)
        return None if row is None else member_of(row)

    async def by_subject(self, issuer: str, subject: str) -> Member | None:
        sql = "SELECT * FROM members WHERE issuer = :issuer AND subject = :subject"
        row = await self._database.fetch_one(sql, issuer=issuer, subject=subject)
        return None if row is None else member_of(row)

    async def bind(self, org: str, member_id: str, issuer: str, subject: str) -> bool:
        try:
            async with self._database.transaction() as transaction:
                row = await transaction.fetch_one(_BIND, org=org, id=member_id, issuer=issuer, subject=subject)
                if row is None:
                    return False
                member = member_of(row)
                bound = Event.now(org, "member.bound", self._clock(), actor=member.actor, id=member_id, issuer=issuer)
                await append(transaction, bound)
        except AlreadyThere:
            return False
        return True

    async def list(self, org: str) -> Sequence[Member]:
        sql = "SELECT * FROM members WHERE org = :org ORDER BY created_at, id"
        return [member_of(row) for row in await self._database.fetch(sql, org=org)]

    async def remove(self, org: str, member_id: str, *, by: Actor = OPERATOR) -> bool:
        async with self._database.transaction() as transaction:
            # Sessions and links go with the row: one that is made at this moment finds nobody to belong to.
            sql = "DELETE FROM members WHERE org = :org AND id = :id RETURNING *"
            row = await transaction.fetch_one(sql, org=org, id=member_id)
            if row is None:
                return False
            gone = member_of(row)
            removed = Event.now(
                org, "member.removed", self._clock(), actor=by, id=member_id, email=gone.email, name=gone.name
            )
            await append(transaction, removed)
        return True


async def insert_member(transaction: Statements, member: Member, *, by: Actor | None = None) -> None:
    """A new member, with its event. Raises `AlreadyThere`. Whoever signs up by themselves is their own actor."""
    await transaction.execute(
        _INSERT,
        id=member.id,
        org=member.org,
        email=member.email,
        name=member.name,
        issuer=member.issuer,
        subject=member.subject,
        created_at=to_ms(member.created_at),
    )
    added = Event.now(
        member.org,
        "member.added",
        member.created_at,
        actor=by or member.actor,
        id=member.id,
        email=member.email,
        name=member.name,
    )
    await append(transaction, added)


def member_of(row: Row, prefix: str = "") -> Member:
    """A member of a row with the columns of `members`, each after the prefix."""
    return Member(
        id=row[f"{prefix}id"],
        org=row[f"{prefix}org"],
        email=row[f"{prefix}email"],
        name=row[f"{prefix}name"],
        issuer=row[f"{prefix}issuer"],
        subject=row[f"{prefix}subject"],
        created_at=to_seconds(row[f"{prefix}created_at"]),
        signed_in_at=to_seconds(row[f"{prefix}signed_in_at"]),
    )
