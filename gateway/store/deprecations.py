"""Who uses deprecated actions, and whom they were told to: the row that is written first decides."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.deprecations import Used
from gateway.core.events import Event
from gateway.store.database import Database
from gateway.store.events import append
from skills_catalog.model import Skill

_ORGS = "SELECT id FROM orgs WHERE id > :after ORDER BY id LIMIT :limit"
# Entries outlive runs, and runs that were not charged have none.
_USED = """
    SELECT org, integration, action FROM runs
    WHERE org IN ({orgs}) AND started_at >= :since AND mode = 'live' AND action IN ({actions})
    UNION
    SELECT org, integration, action FROM entries
    WHERE org IN ({orgs}) AND at >= :since AND type = 'call' AND action IN ({actions})
"""
_TOLD = "SELECT org, integration, action, since FROM deprecation_notices WHERE org IN ({orgs})"
_NOTE = """
    INSERT INTO deprecation_notices (org, integration, action, since, at)
    VALUES (:org, :integration, :action, :since, :at)
    ON CONFLICT (org, integration, action, since) DO NOTHING
"""
#: Names of actions in one statement; databases take no number of parameters without end.
_AT_ONCE = 200


class SqlDeprecations:
    """Notices in the database; implements `DeprecationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_orgs(self, after: str, limit: int) -> Sequence[str]:
        return [row["id"] for row in await self._database.fetch(_ORGS, after=after, limit=limit)]

    async def untold(self, orgs: Sequence[str], skills: Sequence[Skill], since: int) -> Sequence[Used]:
        named_orgs = {f"org_{number}": org for number, org in enumerate(orgs)}
        told_sql = _TOLD.format(orgs=_marks(named_orgs))
        told = {
            (row["org"], row["integration"], row["action"], row["since"])
            for row in await self._database.fetch(told_sql, **named_orgs)
        }
        found: list[Used] = []
        for start in range(0, len(skills), _AT_ONCE):
            part = {(skill.integration, skill.name): skill for skill in skills[start : start + _AT_ONCE]}
            named = {f"action_{number}": name for number, (_, name) in enumerate(part)}
            sql = _USED.format(orgs=_marks(named_orgs), actions=_marks(named))
            for row in await self._database.fetch(sql, since=since, **named_orgs, **named):
                skill = part.get((row["integration"], row["action"]))
                if skill is not None and (row["org"], *_key(skill)) not in told:
                    found.append((row["org"], row["integration"], row["action"]))
        return found

    async def tell(self, skill: Skill, event: Event) -> bool:
        integration, action, since = _key(skill)
        async with self._database.transaction() as transaction:
            is_new = await transaction.execute(
                _NOTE, org=event.org, integration=integration, action=action, since=since, at=event.at
            )
            if is_new:
                await append(transaction, event)
        return bool(is_new)


def _key(skill: Skill) -> tuple[str, str, str]:
    assert skill.deprecated is not None
    return skill.integration, skill.name, skill.deprecated.since.isoformat()


def _marks(named: dict[str, str]) -> str:
    return ", ".join(f":{name}" for name in named)
