"""The keys of an org, as those see them who may: listed, made and revoked, never wider than whoever makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gateway.approval_rules import ApprovalRule
from gateway.core.catalogs import Catalogs
from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.tenants.access import Access, Plans, check_level
from gateway.core.tenants.grants import LEVEL_MEANINGS, LEVELS, Grant
from gateway.core.tenants.keys import ApiKey, Gone, KeyStore, Mode, Principal, TooMany
from gateway.core.times import iso
from gateway.patterns import is_pattern
from oauth.connections import ConnectionList
from oauth.secret import Secret

Json = dict[str, Any]

_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """A key that somebody wants. What is None is taken from whoever makes it."""

    name: str
    mode: Mode | None = None
    scopes: tuple[str, ...] | None = None
    level: str | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    connections: tuple[str, ...] | None = None
    approval: ApprovalRule | None = None
    expires_in_days: int | None = None


class ApiKeys:
    """What the key routes and the keys page ask for.

    A member, and a key that the operator or a member made, see all keys of their org; a key that was made by
    a key sees itself and what it made.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        access: Access,
        plans: Plans,
        catalogs: Catalogs,
        connections: ConnectionList,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._access = access
        self._plans = plans
        self._catalogs = catalogs
        self._connections = connections
        self._clock = clock

    async def list(self, principal: Principal) -> list[Json]:
        """The keys that the principal sees, revoked ones too, oldest first."""
        now = self._clock()
        return [shown(key, now) for key in await self._seen(principal)]

    async def create(self, principal: Principal, wish: KeyWish) -> tuple[Json, Secret]:
        """The new key, and its text, which nobody sees a second time.

        Raises `forbidden` where it would be wider than the principal's own grant, `plan_limit_reached` where
        the plan has no room for it.
        """
        check_level(principal, "full_access")
        now = self._clock()
        mode = wish.mode or principal.mode
        if principal.mode == "test" and mode == "live":
            raise Refusal("forbidden", "A test key makes test keys only.")
        grant = self._granted(principal, wish, now)
        await self._check_connections(principal.org, wish.connections or ())
        try:
            key, text = await self._store.create(
                principal.org,
                wish.name,
                mode,
                grant,
                by=principal.actor,
                parent=principal.key.id if principal.key else None,
                most=principal.plan.api_keys,
            )
        except TooMany:
            assert principal.plan.api_keys is not None
            raise self._plans.reached(principal.plan.api_keys, "API keys") from None
        except Gone:
            raise Refusal("api_key_revoked", "This API key has been revoked.") from None
        return shown(key, now), text

    async def check_room(self, principal: Principal) -> None:
        """Raises `plan_limit_reached` where the org has as many keys that work as its plan lets it have."""
        most, now = principal.plan.api_keys, self._clock()
        if most is None:
            return
        keys = await self._store.list(principal.org)
        if sum(key.revoked_at is None and not key.is_expired(now) for key in keys) >= most:
            raise self._plans.reached(most, "API keys")

    async def revoke(self, principal: Principal, key_id: str) -> None:
        """The key stops, and all that were made by it. Raises `not_found`, also for another's."""
        check_level(principal, "full_access")
        if not await self._sees(principal, key_id) or not await self._store.revoke(
            principal.org, key_id, by=principal.actor
        ):
            raise Refusal("not_found", "API key not found.")
        self._access.forget()

    async def _sees(self, principal: Principal, key_id: str) -> bool:
        if principal.key is not None and principal.key.parent is not None:
            return any(key.id == key_id for key in await self._seen(principal))
        # Not by the list: an org that makes and revokes keys all day has very many.
        key = await self._store.find(principal.org, key_id)
        return key is not None and (key.mode == "test" or principal.mode != "test")

    async def _seen(self, principal: Principal) -> Sequence[ApiKey]:
        check_level(principal, "full_access")
        keys = await self._store.list(principal.org, mode="test" if principal.mode == "test" else None)
        if principal.key is None or principal.key.parent is None:
            return keys
        mine, found = {principal.key.id}, 0
        while len(mine) > found:
            found = len(mine)
            mine |= {key.id for key in keys if key.parent in mine}
        return [key for key in keys if key.id in mine]

    def _granted(self, principal: Principal, wish: KeyWish, now: float) -> Grant:
        """The grant of the new key. A wish that cannot be had whole is refused, never cut down in silence."""
        given = {name: getattr(wish, name) for name in _GRANT if getattr(wish, name) is not None}
        self._check(given)
        asked = Grant(
            **given, expires_at=now + wish.expires_in_days * _DAY if wish.expires_in_days is not None else None
        )
        granted = principal.grant.narrow(asked)
        for name, value in given.items():
            # `*` is all that there is to give; what its maker is denied it is denied too, or has to have approved.
            if name not in ("deny", "approval") and value != ("*",) and getattr(granted, name) != value:
                raise Refusal(
                    "forbidden",
                    f"A key cannot make one that may do more than itself: {name} goes beyond its own.",
                    details={"fields": [{"path": name, "keyword": "grant", "message": "Beyond the key's own grant."}]},
                )
        return granted

    async def _check_connections(self, org: str, wanted: Sequence[str]) -> None:
        known = {connection.id for connection in await self._connections.list(org)} if wanted else set()
        for position, connection_id in enumerate(wanted):
            if connection_id not in known:
                message = f"There is no connection {connection_id[:64]!r}."
                field = {"path": f"connections/{position}", "keyword": "exists", "message": message}
                raise Refusal("not_found", message, details={"fields": [field]})

    def _check(self, given: Mapping[str, Any]) -> None:
        catalog = self._catalogs.current
        for position, scope in enumerate(given.get("scopes", ())):
            if scope != "*" and catalog.get(scope) is None:
                near = catalog.nearest_integration(scope)
                hint = f" Did you mean {near!r}?" if near else ""
                raise bad_field(f"scopes/{position}", f"There is no integration {scope[:64]!r}.{hint}")
        if given.get("level", LEVELS[0]) not in LEVELS:
            raise bad_field("level", f"The level must be one of {', '.join(LEVELS)}.")
        for name in ("allow", "deny"):
            for position, pattern in enumerate(given.get(name, ())):
                if not is_pattern(pattern):
                    raise bad_field(
                        f"{name}/{position}", "A pattern looks like `github.create_issue`, `github.*` or `*.get_*`."
                    )


_GRANT = tuple(item.name for item in fields(Grant) if item.name != "expires_at")


def shown(key: ApiKey, now: float) -> Json:
    """A key as the API shows it."""
    grant = key.grant
    expired = key.is_expired(now)
    return {
        "id": key.id,
        "name": key.name,
        "key_prefix": key.prefix,
        "masked_key": f"{key.prefix}…",
        "mode": key.mode,
        "scopes": list(grant.scopes),
        "level": grant.level,
        "scope_description": LEVEL_MEANINGS[grant.level],
        "allow": _list(grant.allow),
        "deny": list(grant.deny),
        "users": _list(grant.users),
        "connections": _list(grant.connections),
        "approval": grant.approval.to_json() if grant.approval else None,
        "parent": key.parent,
        "active": key.revoked_at is None and not expired,
        "expired": expired,
        "expires_at": iso(grant.expires_at),
        "last_used_at": iso(key.last_used_at),
        "revoked_at": iso(key.revoked_at),
        "request_count": key.request_count,
        "created_at": iso(key.created_at),
    }


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
