"""How actions are called as tools: one name each, the same as long as the catalog holds it, looked up and never parsed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from skills_catalog.catalog import Catalog
from skills_catalog.model import Skill

#: What every vendor of models takes: `[A-Za-z0-9_-]{1,64}`.
LONGEST = 64
_DIGEST = 8


@lru_cache(maxsize=4)
def tools_of(catalog: Catalog) -> Mapping[str, Skill]:
    """Every action by the name of its tool, in the order of integrations and actions."""
    skills = [
        integration.skills[name] for integration in catalog.integrations.values() for name in sorted(integration.skills)
    ]
    plain = Counter(map(_plain, skills))
    return MappingProxyType({_plain(one) if plain[_plain(one)] == 1 else _hashed(one): one for one in skills})


def tool_name(catalog: Catalog, skill: Skill) -> str:
    """`integration__action`; where that is too long, or two would be called the same, a digest tells them apart."""
    name = _plain(skill)
    return name if tools_of(catalog).get(name) is skill else _hashed(skill)


def _plain(skill: Skill) -> str:
    name = f"{skill.integration}__{skill.name}"
    return name if len(name) <= LONGEST else _hashed(skill)


def _hashed(skill: Skill) -> str:
    digest = hashlib.sha256(skill.id.encode()).hexdigest()[:_DIGEST]
    return f"{skill.integration}__{skill.name}"[: LONGEST - _DIGEST - 1] + f"_{digest}"
