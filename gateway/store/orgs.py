"""Orgs: the tenants that everything belongs to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.events import OPERATOR, Actor, Event
from gateway.core.ids import new_id
from gateway.core.tenants.keys import Org
from gateway.store.database import Database, Row, Statements
from gateway.store.events import append
from gateway.store.times import to_ms, to_seconds

_INSERT = """
    INSERT INTO orgs (id, name, plan, redirect_urls, created_at) VALUES (:id, :name, :plan, '[]', :created_at)
"""


class SqlOrgs:
    """Orgs in the database."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def create(self, name: str, *, plan: str | None = None, by: Actor = OPERATOR) -> Org:
        org = Org(id=new_id("org"), name=name, plan=plan, created_at=self._clock())
        async with self._database.transaction() as transaction:
            await insert_org(transaction, org, by=by)
        return org

    async def find(self, org: str) -> Org | None:
        row = await self._database.fetch_one("SELECT * FROM orgs WHERE id = :org", org=org)
        return None if row is None else org_of(row)

    async def list(self) -> Sequence[Org]:
        """Every org of the installation, oldest first: for the operator."""
        return [org_of(row) for row in await self._database.fetch("SELECT * FROM orgs ORDER BY created_at, id")]

    async def set_plan(
        self, org: str, plan: str | None, numbers: Mapping[str, int | None] | None = None, *, by: Actor = OPERATOR
    ) -> bool:
        """The plan, and the numbers that stand for this org instead of the plan's."""
        sql = "UPDATE orgs SET plan = :plan, numbers = :numbers WHERE id = :org"
        own = dict(numbers or {})
        async with self._database.transaction() as transaction:
            if not await transaction.execute(sql, org=org, plan=plan, numbers=json.dumps(own)):
                return False
            await self._tell(transaction, org, "plan.changed", by, plan=plan, numbers=own)
        return True

    async def suspend(self, org: str, *, suspended: bool = True, by: Actor = OPERATOR) -> bool:
        sql = "UPDATE orgs SET suspended_at = :at WHERE id = :org"
        async with self._database.transaction() as transaction:
            if not await transaction.execute(sql, org=org, at=to_ms(self._clock()) if suspended else None):
                return False
            await self._tell(transaction, org, "org.suspended" if suspended else "org.resumed", by)
        return True

    async def redirect_urls(self, org: str) -> tuple[str, ...]:
        """Where the browser may be sent after a connect flow."""
        row = await self._database.fetch_one("SELECT redirect_urls FROM orgs WHERE id = :org", org=org)
        return () if row is None else tuple(json.loads(row["redirect_urls"]))

    async def set_redirect_urls(self, org: str, urls: Sequence[str], *, by: Actor = OPERATOR) -> bool:
        sql = "UPDATE orgs SET redirect_urls = :urls WHERE id = :org"
        async with self._database.transaction() as transaction:
            if not await transaction.execute(sql, org=org, urls=json.dumps([*urls])):
                return False
            await self._tell(transaction, org, "org.redirect_urls_changed", by, redirect_urls=[*urls])
        return True

    async def _tell(self, transaction: Statements, org: str, type: str, by: Actor, **data: Any) -> None:
        await append(transaction, Event.now(org, type, self._clock(), actor=by, **data))


async def insert_org(transaction: Statements, org: Org, *, by: Actor, **more: Any) -> None:
    """A new org, with its event."""
    await transaction.execute(_INSERT, id=org.id, name=org.name, plan=org.plan, created_at=to_ms(org.created_at))
    told = Event.now(org.id, "org.created", org.created_at, actor=by, name=org.name, plan=org.plan, **more)
    await append(transaction, told)


async def lock_org(transaction: Statements, org: str) -> None:
    """Until the transaction ends nobody else counts what this org has: two at once would both find room."""
    await transaction.execute("UPDATE orgs SET name = name WHERE id = :org", org=org)


def org_of(row: Row) -> Org:
    """An org of a row with the columns of `orgs`."""
    return Org(
        id=row["id"],
        name=row["name"],
        plan=row["plan"],
        numbers=json.loads(row["numbers"] or "{}"),
        created_at=to_seconds(row["created_at"]),
        suspended_at=to_seconds(row["suspended_at"]),
    )
