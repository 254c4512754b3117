"""What a definition says in one place and takes back in another: effects, scopes, auth methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from skills_catalog.model import Integration, Skill
from skills_catalog.verbs import VERBS

Found = Iterator[tuple[Literal["error", "warning", "info"], tuple[str | int, ...], str]]

#: Verbs that never only read.
_CHANGING = frozenset(
    {
        *("create", "add", "update", "edit", "delete", "remove", "send", "post", "publish", "invite", "revoke"),
        *("rename", "move", "merge", "cancel", "archive", "close", "reopen", "lock", "unlock", "approve", "reject"),
        *("assign", "upload", "replace", "enable", "disable", "transfer", "restore", "purge", "destroy"),
    }
)
_SCOPED = ("oauth2", "client_credentials", "jwt_bearer", "oauth1")
#: So many actions make a habit, of which this share keeps to it.
_HABIT, _SHARE = 4, 0.8


def effects_and_methods(integration: Integration) -> Found:
    """The loader refuses what cannot be; this is what is hardly ever meant."""
    for skill in integration.skills.values():
        method, effect = skill.request.method, skill.effect
        at = ("actions", skill.name, "effect")
        verb = skill.name.partition("_")[0]
        if method in ("PUT", "PATCH") and effect == "read":
            yield "error", at, f"A {method} that only reads contradicts itself; keys that may only read could call it."
        elif method in ("PUT", "PATCH") and effect == "delete":
            yield "warning", at, f"A {method} that deletes: is the method right?"
        elif method == "PATCH" and effect == "create":
            yield "warning", at, "A PATCH changes what exists; the effect is update, unless it makes something too."
        if effect == "read" and verb in _CHANGING and VERBS.get(verb) != "read":
            place = at if method not in ("GET", "HEAD") else ("actions", skill.name)
            yield "warning", place, f"{skill.name} sounds as if it changed something, and its effect is read."
        if effect == "read" and method == "POST" and not skill.idempotent:
            yield (
                "info",
                ("actions", skill.name),
                "Only reads; with `idempotent: true` it may be repeated after a failure.",
            )


def missing_scopes(integration: Integration) -> Found:
    """An action without scopes where its neighbours have some fails at the upstream, not here."""
    scoped = {method.name for method in integration.auth if method.type in _SCOPED}
    for reads in (True, False):
        alike = [
            skill
            for skill in integration.skills.values()
            if (skill.effect == "read") == reads and scoped.intersection(skill.auth)
        ]
        lacking = [skill for skill in alike if not skill.scopes]
        if len(alike) < _HABIT or len(lacking) > len(alike) * (1 - _SHARE):
            continue
        kind = "reading" if reads else "writing"
        for skill in lacking:
            message = f"`scopes` is missing: {len(alike) - len(lacking)} of {len(alike)} {kind} actions have some."
            yield "warning", ("actions", skill.name), message


def unused_methods(integration: Integration) -> Found:
    """An auth method that serves nothing, or whose connections cannot be checked."""
    for index, method in enumerate(integration.auth):
        at = ("auth", index)
        served = [skill for skill in integration.skills.values() if method.name in skill.auth]
        if not served:
            yield "warning", at, f"No action is served by {method.name}."
        elif integration.whoami is not None and method.type != "none":
            whoami = integration.skills.get(integration.whoami.action)
            if whoami is not None and method.name not in whoami.auth:
                message = (
                    f"`whoami` asks {whoami.name}, which {method.name} does not serve: such connections go unchecked."
                )
                yield "info", at, message


def names(integration: Integration) -> Found:
    """Names that make a tool hard to choose, or to take apart."""
    for skill in integration.skills.values():
        at = ("actions", skill.name)
        if "__" in skill.name or skill.name.endswith("_"):
            yield "warning", at, "`__` parts integration and action in the names of tools; use single `_` inside."
        if len(skill.name) > 48:
            yield (
                "warning",
                at,
                f"The name has {len(skill.name)} characters; up to 48 leave room for the integration's.",
            )
        if _repeats(integration, skill):
            yield "info", at, f"{integration.slug} stands before every name already; leave it out."


def _repeats(integration: Integration, skill: Skill) -> bool:
    return len(integration.slug) > 3 and skill.name.startswith(f"{integration.slug}_")
