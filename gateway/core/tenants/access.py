"""Who asks, and may they: a key becomes a principal, a principal's grant is held against what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.core.errors import Refusal
from gateway.core.events import Actor, Event
from gateway.core.remember import Remembered
from gateway.core.tenants import keys
from gateway.core.tenants.grants import LEVELS, Grant, Level, level_of
from gateway.core.tenants.keys import ApiKey, KeyStore, Org, Principal
from gateway.core.tenants.members import Member
from gateway.patterns import fits
from gateway.plans import UNLIMITED, Plan
from skills_catalog.model import Skill

#: Kinds of events that every key may see as far as its grant goes; the others are about keys, members and plans.
_ABOUT_WORK = ("connection", "run", "limit", "skill", "hook", "approval")
#: How long a revoked key may still work on another replica, seconds.
KEY_MEMORY = 2.0


class Orgs(Protocol):
    """Where orgs are looked up."""

    async def find(self, org: str) -> Org | None: ...


class Plans:
    """The plans of this installation, as they are for each org."""

    def __init__(self, plans: Mapping[str, Plan], orgs: Orgs, *, upgrade_url: str | None) -> None:
        self._plans = plans
        self._orgs = orgs
        #: Where a person raises a plan; None where the operator has no such page.
        self.upgrade_url = upgrade_url

    async def find(self, org: str) -> Plan:
        """The plan of an org by its id."""
        found = await self._orgs.find(org)
        return UNLIMITED if found is None else self.of(found)

    def of(self, org: Org) -> Plan:
        """The org's plan with its own numbers. Raises `forbidden` where `skills.yaml` no longer has it."""
        if org.plan is None:
            return UNLIMITED.with_numbers(org.numbers)
        plan = self._plans.get(org.plan)
        if plan is None:
            # No limits at all would be the worst guess.
            raise Refusal("forbidden", f"The plan {org.plan!r} of this org is not set up. Ask the operator.")
        return plan.with_numbers(org.numbers)

    def reached(self, limit: int, what: str) -> Refusal:
        """`plan_limit_reached`, with the page where a person raises it if the operator has one."""
        return Refusal(
            "plan_limit_reached",
            f"Plan limit reached: maximum {limit} {what}." + (" Upgrade your plan for more." if self.upgrade_url else ""),
            action_url=self.upgrade_url,
            details={"limit": limit, "resource": what},
        )

    def check_holds(self, plan: Plan, skill: Skill) -> None:
        """Raises `plan_limit_reached` for an action that the plan leaves out."""
        if not plan.holds(skill.id):
            raise Refusal(
                "plan_limit_reached",
                f"{skill.id} is not part of the plan {plan.name}.",
                action_url=self.upgrade_url,
                details={"plan": plan.name, "action": skill.id},
            )


class Access:
    """Resolves keys. A look-up is remembered for two seconds: so long may a revoked key still work."""

    def __init__(self, store: KeyStore, plans: Plans, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._plans = plans
        self._known: Remembered[bytes, Principal | Refusal | None] = Remembered(self._look_up, seconds=KEY_MEMORY)
        self._clock = clock

    async def principal(self, key: str) -> Principal:
        """The principal of a key's text. Raises `Refusal` with `api_key_invalid`, `_revoked` or `_expired`."""
        digest = keys.digest(key)
        found = self._known.peek(digest)
        # The checksum first: noise costs no look-up.
        if found is None and keys.is_well_formed(key):
            found = await self._known.get(digest)
        if found is None:
            raise Refusal("api_key_invalid", "Invalid API key. Check that it was copied whole.")
        if isinstance(found, Refusal):
            # Raised again and again, it must not grow with every trace.
            raise found.with_traceback(None)
        expires_at = found.grant.expires_at
        if expires_at is not None and expires_at <= self._clock():
            raise Refusal("api_key_expired", "This API key has expired.")
        assert found.key is not None
        self._store.note_use(found.org, found.key.id)
        return found

    def forget(self) -> None:
        """A key was revoked here: it stops at once."""
        self._known.forget_if(lambda _: True)

    async def _look_up(self, digest: bytes) -> Principal | Refusal | None:
        found = await self._store.find_by_hash(digest)
        if found is None:
            return None
        api_key, org = found
        if api_key.revoked_at is not None:
            return Refusal("api_key_revoked", "This API key has been revoked.")
        try:
            return principal_of(api_key, org, self._plans)
        except Refusal as refusal:
            return refusal


def principal_of(api_key: ApiKey, org: Org, plans: Plans) -> Principal:
    """The principal of a key that was found. Raises `forbidden` where the org may not call at all."""
    check_serving(org)
    return Principal(
        org=org.id,
        org_name=org.name,
        actor=Actor(kind="api_key", id=api_key.id, name=api_key.name),
        grant=api_key.grant,
        mode=api_key.mode,
        plan=plans.of(org),
        key=api_key,
    )


class KeysById(Protocol):
    """Keys looked up by id, of those that may be carried out later."""

    async def find(self, org: str, key_id: str) -> ApiKey | None: ...


class MembersById(Protocol):
    """Members looked up by id: an ID token may ask in place of a key."""

    async def find(self, org: str, member_id: str) -> Member | None: ...


class PrincipalsById:
    """The principal for whom a run is carried out later: what its key may do by then is what counts."""

    def __init__(self, keys: KeysById, members: MembersById, orgs: Orgs, plans: Plans, *, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._members = members
        self._orgs = orgs
        self._plans = plans
        self._clock = clock

    async def __call__(self, org: str, key_id: str) -> Principal:
        """Raises `Refusal` where the key, or its org, no longer works."""
        key, found = await self._keys.find(org, key_id), await self._orgs.find(org)
        if key is None and found is not None and (member := await self._members.find(org, key_id)) is not None:
            return principal_of_member(member, found, self._plans)
        if key is None or found is None or key.revoked_at is not None:
            raise Refusal("api_key_revoked", "The API key of this run has been revoked.")
        if key.is_expired(self._clock()):
            raise Refusal("api_key_expired", "The API key of this run has expired.")
        return principal_of(key, found, self._plans)
def principal_of_member(member: Member, org: Org, plans: Plans) -> Principal:
    """The principal of a person: all that their org may. Raises `forbidden` where the org may do nothing at all."""
    check_serving(org)
    return Principal(
        org=org.id, org_name=org.name, actor=member.actor, grant=Grant(), plan=plans.of(org), member=member
    )


def check_serving(org: Org) -> None:
    """Raises `forbidden` for an org that the operator suspended."""
    if org.suspended_at is not None:
        raise Refusal("forbidden", "This organisation is suspended. Ask the operator of this gateway.")


def check_live(principal: Principal) -> None:
    """Raises `forbidden` for a test key: what it may do reaches no upstream and no account."""
    if principal.mode == "test":
        raise Refusal(
            "forbidden", "A test key connects no accounts: its calls are answered without one. Use a live key."
        )


def check_level(principal: Principal, level: Level) -> None:
    """Raises `forbidden` where the key's level is below the one that is asked for."""
    if not principal.grant.has_level(level):
        raise Refusal(
            "forbidden",
            f"This key is {principal.grant.level}, and this takes {level}.",
            hint=f"Use a key of level {' or '.join(LEVELS[LEVELS.index(level) :])}.",
        )


def check_scope(principal: Principal, slug: str) -> None:
    """Raises `scope_not_allowed` where the key's grant leaves the integration out."""
    if not principal.grant.allows_integration(slug):
        raise Refusal("scope_not_allowed", f"API key does not have access to the {slug} integration.")


def check_action(principal: Principal, skill: Skill) -> None:
    """Raises `forbidden` where the key's grant leaves the action out, by name or by what it does."""
    if not principal.grant.allows_action(skill):
        hint = None
        if skill.is_hatch and not fits(skill.id, principal.grant.deny):
            hint = f"It could do what they leave out: only an `allow` that names {skill.id} in full lets it through."
        message = f"This key may not call {skill.id}: its `allow` and `deny` leave it out."
        raise Refusal("forbidden", message, hint=hint)
    check_level(principal, level_of(skill))


def needs_approval(principal: Principal, skill: Skill, params: Mapping[str, Any]) -> bool:
    """Whether the key's grant or the org's plan wants a person to look at such a call first."""
    rule = principal.grant.approval.and_also(principal.plan.approval)
    if not rule:
        return False
    return rule.asks_before_hatch(skill, params) if skill.is_hatch else rule.asks(skill.id, skill.effect, params)


def approval_required(*, run_id: str | None = None, page: str | None = None) -> Refusal:
    """Nothing was sent; a person decides at `page`."""
    return Refusal(
        "approval_required",
        "A person has to approve this call. It goes on by itself once somebody does.",
        hint="Give `action_url` to a member of the org, and poll the run; do not send the call again." if page else None,
        action_url=page,
        run_id=run_id,
        outcome="not_sent",
        retryable=False,
    )


def may_see(principal: Principal, event: Event) -> bool:
    """Whether an event is about nothing that the principal's grant leaves out."""
    return grant_sees(principal.grant, event)


def grant_sees(grant: Grant, event: Event) -> bool:
    """Whether an event is about nothing that the grant leaves out."""
    data = event.data
    if event.kind not in _ABOUT_WORK and not grant.has_level("full_access"):
        return False
    if event.kind == "hook" and "connection" not in data and (grant.users, grant.connections) != (None, None):
        # It is about whoever uses the integration.
        return False
    return (
        ("integration" not in data or grant.allows_integration(data["integration"]))
        and ("user" not in data or grant.allows_user(data["user"]))
        and ("connection" not in data or grant.allows_connection(data["connection"]))
    )


def user_of(principal: Principal, asked: str | None) -> str:
    """Whom the principal acts for. Raises `forbidden` for a user that its key is not for."""
    grant: Grant = principal.grant
    if asked is not None:
        if not grant.allows_user(asked):
            raise Refusal("forbidden", f"This key may not act for the user {asked!r}.")
        return asked
    user = grant.default_user
    if user is None:
        message = "This key is for several users; say which one as `user`."
        field = {"path": "user", "keyword": "required", "message": message}
        raise Refusal("bad_request", message, details={"fields": [field]})
    return user
