"""OAuth scopes of a connection against those of an action: what is missing, where that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.core.errors import Refusal
from gateway.core.links import Links
from oauth.connections import Held
from skills_catalog.model import Integration, Skill


def check_scopes(links: Links, integration: Integration, skill: Skill, held: Held) -> None:
    """Raises `missing_scopes` where the provider said what it granted, and that is not enough.

    Its link asks for what is granted and what is missing together: nobody loses what worked before.
    """
    connection = held.connection
    method = integration.method(connection.method)
    if not skill.scopes or connection.scopes is None or method is None or not method.is_oauth:
        return
    granted = closure(connection.scopes, method.scopes.implies)
    # Of several sets that are each enough, the one that lacks least is asked for.
    missing = min(
        ([scope for scope in choice if scope not in granted] for choice in (skill.scopes, *skill.other_scopes)), key=len
    )
    if not missing:
        return
    union = tuple(dict.fromkeys((*connection.scopes, *missing)))
    raise Refusal(
        "missing_scopes",
        f"{integration.name} granted this connection less than {skill.name} needs: {', '.join(missing)} is missing.",
        action_url=links.connect(
            connection.org,
            integration.slug,
            connection.user,
            method=method.name,
            connection=connection.id,
            scopes=union,
        ),
        hint="Connect once more at action_url; it asks for what is missing beside what is granted.",
        details={"missing": missing, "connection": connection.id},
    )


def closure(scopes: Iterable[str], implies: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The scopes with all that they include, and what those include."""
    found: set[str] = set()
    left = list(scopes)
    while left:
        scope = left.pop()
        if scope not in found:
            found.add(scope)
            left.extend(implies.get(scope, ()))
    return found
