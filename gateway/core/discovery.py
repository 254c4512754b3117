"""What an agent may do, in three levels: integrations, the actions of one, everything about one action."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.catalogs import Catalogs
from gateway.core.connections.clients import OAuthClient
from gateway.core.connections.connections import SERVING, Connections
from gateway.core.connections.providers import Providers
from gateway.core.deprecations import shown
from gateway.core.entered import asked_fields
from gateway.core.tenants.access import check_action, check_scope
from gateway.core.tenants.grants import level_of
from gateway.core.tenants.keys import Principal
from skills_catalog.catalog import LIKELY
from skills_catalog.exporting.skill_files import Form, cli_example, skill_files, skill_name
from skills_catalog.model import AuthMethod, Effect, Integration, Skill

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A search: what for, and what the actions have to be."""

    text: str
    limit: int
    integration: str | None = None
    effect: Effect | None = None
    #: Only of integrations that the user has connected, or that need no connection.
    connected: bool = False
    #: Only of these integrations.
    among: frozenset[str] | None = None


class Discovery:
    """Answers of the discovery routes as plain JSON values. A key sees the integrations of its scopes."""

    def __init__(self, catalogs: Catalogs, connections: Connections, providers: Providers, public_url: str) -> None:
        self._catalogs = catalogs
        self._connections = connections
        self._providers = providers
        self._public_url = public_url

    async def integrations(self, principal: Principal, user: str) -> list[Json]:
        """Level 1: every integration of the key's scopes, by slug."""
        catalog = self._catalogs.current
        connected = await self._connected(principal.org, user)
        clients = await self._providers.clients_of(principal.org)
        return [
            self._integration(principal, catalog.integrations[slug], connected, clients)
            for slug in sorted(catalog.integrations)
            if principal.grant.allows_integration(slug)
        ]

    async def integration(self, principal: Principal, slug: str, user: str) -> Json:
        """Level 2: the actions of one integration."""
        integration = self._visible(principal, slug)
        return {
            "integration": integration.slug,
            "name": integration.name,
            "description": integration.description,
            "connected": _is_connected(integration, await self._connected(principal.org, user)),
            "auth": [_method(integration, method) for method in integration.auth],
            "skills": [
                {
                    "name": skill.name,
                    "title": skill.title,
                    "method": skill.request.method,
                    "category": skill.category,
                    "description": skill.description,
                    "effect": skill.effect,
                    **({"lifecycle": skill.lifecycle} if skill.lifecycle else {}),
                }
                for skill in _usable(principal, integration).values()
            ],
        }

    def action(self, principal: Principal, slug: str, name: str) -> Json:
        """Level 3: params, examples and errors of one action."""
        self._visible(principal, slug)
        _, skill = self._catalogs.find(slug, name)
        check_action(principal, skill)
        document: Json = {
            "integration": skill.integration,
            "name": skill.name,
            "title": skill.title,
            "method": skill.request.method,
            "path": skill.request.path,
            "category": skill.category,
            "description": skill.description,
            "effect": skill.effect,
            "idempotent": skill.idempotent,
            "scopes": list(skill.scopes),
            **({"other_scopes": [list(choice) for choice in skill.other_scopes]} if skill.other_scopes else {}),
            "auth": list(skill.auth),
            "parameters": skill.input_schema,
            "examples": [
                {
                    "cli": cli_example(skill, example),
                    "params": example.params,
                    "response": {"status": example.status, "data": example.data},
                }
                for example in skill.examples
            ],
            "errors": [
                {
                    "code": error.code or (str(error.status) if error.status else ""),
                    "status": error.status,
                    "description": error.description,
                    "fix": error.fix,
                }
                for error in skill.errors
            ],
        }
        if skill.output is not None:
            document["output"] = skill.output
        if skill.requires_plan:
            document["requires_plan"] = skill.requires_plan
        if skill.lifecycle:
            document["lifecycle"] = skill.lifecycle
        if skill.deprecated:
            document["deprecated"] = shown(skill.deprecated)
        return document

    async def search(self, principal: Principal, sought: Sought, user: str) -> Json:
        """Actions that do what is sought, best first, of those that the principal may use.

        Not `likely`, where the best score is below `LIKELY`: then there is probably no such action.
        Raises what `integration` does for one that the key may not see.
        """
        connected = await self._connected(principal.org, user)
        catalog = self._catalogs.current
        slugs = {
            integration.slug
            for integration in ([self._visible(principal, sought.integration)] if sought.integration else catalog.integrations.values())
            if principal.grant.allows_integration(integration.slug)
            and (sought.among is None or integration.slug in sought.among)
            and (not sought.connected or _is_connected(integration, connected))
        }
        if not catalog.is_indexed:
            await asyncio.to_thread(catalog.index)
        found = catalog.search(
            sought.text,
            sought.limit,
            lambda skill: skill.integration in slugs and sought.effect in (None, skill.effect) and _may_use(principal, skill),
        )
        skills = [
            {
                "integration": skill.integration,
                "action": skill.name,
                "description": skill.description,
                "effect": skill.effect,
                "score": score,
                "connected": _is_connected(catalog.integrations[skill.integration], connected),
            }
            for skill, score in found
        ]
        if found and found[0][1] >= LIKELY:
            return {"skills": skills, "likely": True}
        hint = "Probably no action that you may use does this. Say it in other words, or name the service."
        return {"skills": skills, "likely": False, "hint": hint}

    def download(self, principal: Principal, slug: str, form: Form) -> Json:
        """The integration as files of an Agent Skill, or of another form; `name` is that of their folder."""
        integration = self._visible(principal, slug)
        usable = replace(integration, skills=_usable(principal, integration))
        files = skill_files(usable, self._public_url, form)
        return {"slug": integration.slug, "name": skill_name(integration.slug), "files": files}

    def usable(self, principal: Principal) -> Sequence[Integration]:
        """The integrations of the key's scopes, each with the actions that its key and plan leave it."""
        return [
            replace(integration, skills=_usable(principal, integration))
            for integration in self._catalogs.current.integrations.values()
            if principal.grant.allows_integration(integration.slug)
        ]

    def view(self, principal: Principal) -> object:
        """What decides about `usable`, to be compared: two principals of one view may use the same."""
        grant, plan = principal.grant, principal.plan
        return (
            self._catalogs.current.digest,
            (grant.scopes, grant.level, grant.allow, grant.deny),
            (plan.allow, plan.deny),
        )

    def check_visible(self, principal: Principal, slug: str) -> None:
        """Raises `not_found` or `scope_not_allowed` for an integration that the key does not see."""
        self._visible(principal, slug)

    def _visible(self, principal: Principal, slug: str) -> Integration:
        integration = self._catalogs.integration(slug)
        check_scope(principal, slug)
        return integration

    async def _connected(self, org: str, user: str) -> Mapping[str, Sequence[str]]:
        """integration -> methods of the user's connections that serve calls."""
        methods: dict[str, list[str]] = {}
        for connection in await self._connections.list(org, user):
            if connection.state in SERVING:
                methods.setdefault(connection.integration, []).append(connection.method)
        return methods

    def _integration(
        self,
        principal: Principal,
        integration: Integration,
        connected: Mapping[str, Sequence[str]],
        clients: Mapping[str, OAuthClient],
    ) -> Json:
        reason = self._providers.unavailable_reason(principal.org, integration, clients.get(integration.slug))
        item: Json = {
            "slug": integration.slug,
            "name": integration.name,
            "description": integration.description,
            "categories": list(integration.categories),
            "auth": [method.name for method in integration.auth],
            "connected": _is_connected(integration, connected),
            "available": reason is None,
            "skill_count": len(_usable(principal, integration)),
            "version": integration.version,
        }
        if reason is not None:
            item["unavailable_reason"] = reason
        if integration.lifecycle:
            item["lifecycle"] = integration.lifecycle
        return item


def _usable(principal: Principal, integration: Integration) -> Mapping[str, Skill]:
    """The actions that the principal's key and plan leave it."""
    grant, plan = principal.grant, principal.plan
    if grant.level == "full_access" and grant.allow is None and not grant.deny and plan.allow is None and not plan.deny:
        return integration.skills
    return {name: skill for name, skill in integration.skills.items() if _may_use(principal, skill)}


def _may_use(principal: Principal, skill: Skill) -> bool:
    grant = principal.grant
    return grant.has_level(level_of(skill)) and grant.allows_action(skill) and principal.plan.holds(skill.id)


def _method(integration: Integration, method: AuthMethod) -> Json:
    """How an auth method is connected: the names that `credentials` takes, or OAuth in a browser."""
    return {
        "name": method.name,
        "type": method.type,
        "title": method.title,
        "credentials": list(method.asks),
        "fields": [
            {"name": item.name, "title": item.title, "required": item.required, **({"secret": True} if item.secret else {})}
            for item in asked_fields(integration, method)
        ],
    }


def _is_connected(integration: Integration, connected: Mapping[str, Sequence[str]]) -> bool:
    made = connected.get(integration.slug, ())
    return any(method.type == "none" or method.name in made for method in integration.auth)
