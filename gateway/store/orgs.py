"""Orgs: the tenants that everything belongs to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from gateway.core.ids import new_id
from gateway.core.keys import Org
from gateway.store.database import Database, Row
from gateway.store.times import to_ms, to_seconds

_INSERT = """
    INSERT INTO orgs (id, name, plan, redirect_urls, created_at) VALUES (:id, :name, :plan, '[]', :created_at)
"""


class SqlOrgs:
    """Orgs in the database."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def create(self, name: str, *, plan: str | None = None) -> Org:
        org = Org(id=new_id("org"), name=name, plan=plan, created_at=self._clock())
        await self._database.execute(_INSERT, id=org.id, name=name, plan=plan, created_at=to_ms(org.created_at))
        return org

    async def find(self, org: str) -> Org | None:
        row = await self._database.fetch_one("SELECT * FROM orgs WHERE id = :org", org=org)
        return None if row is None else org_of(row)

    async def list(self) -> Sequence[Org]:
        """Every org of the installation, oldest first: for the operator."""
        return [org_of(row) for row in await self._database.fetch("SELECT * FROM orgs ORDER BY created_at, id")]

    async def set_plan(self, org: str, plan: str | None) -> bool:
        sql = "UPDATE orgs SET plan = :plan WHERE id = :org"
        return await self._database.execute(sql, org=org, plan=plan) == 1

    async def suspend(self, org: str, *, suspended: bool = True) -> bool:
        sql = "UPDATE orgs SET suspended_at = :at WHERE id = :org"
        return await self._database.execute(sql, org=org, at=to_ms(self._clock()) if suspended else None) == 1

    async def redirect_urls(self, org: str) -> tuple[str, ...]:
        """Where the browser may be sent after a connect flow."""
        row = await self._database.fetch_one("SELECT redirect_urls FROM orgs WHERE id = :org", org=org)
        return () if row is None else tuple(json.loads(row["redirect_urls"]))

    async def set_redirect_urls(self, org: str, urls: Sequence[str]) -> bool:
        sql = "UPDATE orgs SET redirect_urls = :urls WHERE id = :org"
        return await self._database.execute(sql, org=org, urls=json.dumps([*urls])) == 1


def org_of(row: Row) -> Org:
    """An org of a row with the columns of `orgs`."""
    return Org(
        id=row["id"],
        name=row["name"],
        plan=row["plan"],
        created_at=to_seconds(row["created_at"]),
        suspended_at=to_seconds(row["suspended_at"]),
    )
