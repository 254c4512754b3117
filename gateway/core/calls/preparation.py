"""Every check of a call up to the socket, in order: found, allowed, params, connection, scopes, request.

A live call stops at the first thing that is in its way; a preflight goes on and names them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

from gateway.core.calls.asked import upstream_key
from gateway.core.calls.call import Call, Plan
from gateway.core.calls.escape_hatch import made_for, no_example
from gateway.core.calls.paging import check_pages, with_page_size
from gateway.core.calls.sandbox import best_example
from gateway.core.catalogs import Catalogs, unreviewed
from gateway.core.connections.connections import Connections, choose
from gateway.core.connections.credentials import Credentials, fields_of
from gateway.core.connections.outgoing import Outgoing
from gateway.core.connections.scopes import check_scopes
from gateway.core.errors import Refusal
from gateway.core.ids import new_ordered_id
from gateway.core.links import Links
from gateway.core.requests.building import build_request
from gateway.core.requests.file_params import NO_FILES, GivenFiles, given_files
from gateway.core.requests.files import Files
from gateway.core.tenants.access import Plans, check_action, check_scope, user_of
from gateway.core.tenants.keys import Principal
from oauth.connections import Held
from skills_catalog.escape_hatch import matching
from skills_catalog.model import Integration, Problem, Skill
from skills_catalog.samples import sample_value
from skills_catalog.validation import problems

#: Where a request of the sandbox would go (RFC 6761 §6.4).
_NOWHERE = "https://sandbox.invalid"


class Blocked(Protocol):
    """What becomes of a refusal in one step: raised, or noted so that the next step is tried."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


class _Raised:
    """The first refusal ends it."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Noted:
    """Refusals are collected."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Refusal):
            self.refusals.append(error)
            return True
        return False


_RAISED = _Raised()


class Preparation:
    """Turns calls into plans."""

    def __init__(
        self,
        *,
        catalogs: Catalogs,
        connections: Connections,
        credentials: Credentials,
        outgoing: Outgoing,
        files: Files,
        links: Links,
        plans: Plans,
        clock: Callable[[], float],
    ) -> None:
        self._catalogs = catalogs
        self._connections = connections
        self._credentials = credentials
        self._outgoing = outgoing
        self._files = files
        self._links = links
        self._plans = plans
        self._clock = clock

    async def plan(self, call: Call, *, run_id: str | None = None) -> Plan:
        """The plan of a call; `run_id` is that of a run which was begun before. Raises `Refusal`."""
        integration, skill = self._catalogs.find(call.integration, call.action)
        user, skill = self._check(call, integration, skill, _RAISED)
        held = await self._connection(call, integration, skill, user, _RAISED)
        if held is not None:
            held = await self._credentials.fresh(integration, held)
        files = await given_files(self._files, call.principal, skill, call.params)
        return self._planned(call, integration, skill, user, held, files, run_id)

    async def blockers(self, call: Call) -> tuple[Plan | None, Sequence[Refusal]]:
        """What is in the way of a call, all at once; and its plan where a request can be made nevertheless.

        No token is renewed. Raises `not_found` where there is no such action at all.
        """
        noted = Noted()
        integration, skill = self._catalogs.find(call.integration, call.action)
        user, skill = self._check(call, integration, skill, noted)
        held, plan, files = None, None, NO_FILES
        with noted:
            found = await self._connection(call, integration, skill, user, noted)
            held = None if found is None else await self._credentials.whole(integration, found)
        with noted:
            files = await given_files(self._files, call.principal, skill, call.params)
        with noted:
            # Of params that are refused nobody can make a request.
            is_refused = any(refusal.code == "bad_request" for refusal in noted.refusals)
            if not noted.refusals or (held is not None and not is_refused):
                plan = self._planned(call, integration, skill, user, held, files, None)
        return plan, noted.refusals

    def rebuilt(self, plan: Plan) -> Plan:
        """The plan with its request made anew: for another credential, other params, or one more sending."""
        key = None
        if plan.skill.idempotency is not None:
            key = upstream_key(plan.call, plan.user, plan.connection, plan.skill, plan.run_id)
        request = self._outgoing.request(
            plan.integration, plan.skill, plan.params, plan.held, files=plan.files, key=key, link=plan.link
        )
        return replace(plan, request=request)

    def _check(self, call: Call, integration: Integration, skill: Skill, blocked: Blocked) -> tuple[str, Skill]:
        """For whom, and the skill: of the escape hatch the one that is this very request."""
        principal = call.principal
        user = call.user or ""
        with blocked:
            check_scope(principal, integration.slug)
        with blocked:
            check_action(principal, skill)
        with blocked:
            self._plans.check_holds(principal.plan, skill)
        with blocked:
            user = user_of(principal, call.user)
        with blocked:
            if found := problems(skill, call.params):
                raise bad_params(skill, found)
            if skill.is_hatch:
                skill = self._made_for(principal, integration, skill, call.params)
        with blocked:
            check_pages(skill, call)
        return user, skill

    def _made_for(
        self, principal: Principal, integration: Integration, hatch: Skill, params: Mapping[str, Any]
    ) -> Skill:
        """Raises `Refusal` also where the request is that of an action which the caller may not use."""
        method, path = params["method"], params["path"]
        same = matching(integration.skills.values(), method, path)
        made = made_for(integration, hatch, params, same)
        if same is None and (hidden := matching(integration.unreviewed.values(), method, path)) is not None:
            raise unreviewed(integration.slug, hidden.name)
        if same is not None:
            check_action(principal, same)
            self._plans.check_holds(principal.plan, same)
        if principal.mode == "test":
            raise no_example(principal, integration, made)
        return made

    async def _connection(
        self, call: Call, integration: Integration, skill: Skill, user: str, blocked: Blocked
    ) -> Held | None:
        if call.principal.mode == "test":
            return None
        held = await choose(
            self._connections,
            self._links,
            integration,
            skill,
            org=call.principal.org,
            user=user,
            wanted=call.connection,
            allowed=call.principal.grant.allows_connection,
        )
        with blocked:
            if held is not None:
                check_scopes(self._links, integration, skill, held)
        return held

    def _planned(
        self,
        call: Call,
        integration: Integration,
        skill: Skill,
        user: str,
        held: Held | None,
        files: GivenFiles,
        run_id: str | None,
    ) -> Plan:
        started_at = int(self._clock() * 1000)
        run_id = run_id or new_ordered_id("run", started_at)
        if call.principal.mode == "test":
            example = best_example(skill, call.params)
            # Whatever no request could be made of is refused as it would be live; a connection might fill in the rest.
            filled = {param.name: "sandbox" for param in skill.params.values() if param.default_from}
            params: Mapping[str, Any] = {**filled, **call.params}
            fields = {item.name: sample_value(item) for item in integration.fields}
            request = build_request(integration, skill, params, base_url=_NOWHERE, fields=fields, files=files)
        else:
            example, params = None, _with_defaults(skill, call.params, held)
            if call.pages is not None:
                params = with_page_size(skill, params)
            key = None
            if skill.idempotency is not None:
                key = upstream_key(call, user, held.connection.id if held else None, skill, run_id)
                params = _with_key(skill, params, key)
            request = self._outgoing.request(integration, skill, params, held, files=files, key=key)
        return Plan(
            call=call,
            integration=integration,
            skill=skill,
            user=user,
            params=params,
            held=held,
            request=request,
            run_id=run_id,
            started_at=started_at,
            files=files,
            example=example,
        )


def bad_params(skill: Skill, found: Sequence[Problem]) -> Refusal:
    """`bad_request` with every field at once; the message names the first."""
    first = found[0]
    return Refusal(
        "bad_request",
        first.message,
        details={"action": skill.id, "fields": [_shown(problem) for problem in found]},
    )


def _shown(problem: Problem) -> dict[str, str]:
    shown = {"path": problem.path, "keyword": problem.keyword, "message": problem.message}
    return shown | {"suggestion": problem.suggestion} if problem.suggestion else shown


def _with_key(skill: Skill, params: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Params with our key in the one that takes it, unless the caller has one of its own."""
    name = (skill.idempotency or {}).get("param")
    return params if name is None or name in params else {**params, name: key}


def _with_defaults(skill: Skill, params: Mapping[str, Any], held: Held | None) -> Mapping[str, Any]:
    """Params with what the connection's fields fill in (a project slug entered once, on connecting)."""
    filled = dict(params)
    for param in skill.params.values():
        if param.default_from is None or param.name in params:
            continue
        value = fields_of(held).get(param.default_from) if held else None
        if value:
            filled[param.name] = value
        elif param.required:
            message = (
                f"The param {param.name!r} is missing, and the connection has no {param.default_from!r} to fill it."
            )
            raise bad_params(skill, [Problem(path=param.name, keyword="required", message=message)])
    if len(filled) > len(params) and (found := problems(skill, filled)):
        raise bad_params(skill, found)
    return filled
