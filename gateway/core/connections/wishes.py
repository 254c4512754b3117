"""From "connect this" to a flow: which auth method, which scopes and fields, where the browser returns to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gateway.core.connections.connections import Connections
from gateway.core.connections.flows import FLOW_LIFETIME, Flow
from gateway.core.connections.providers import Providers, Tenancy
from gateway.core.entered import bad_field, check_fields, is_whole, takes
from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.ids import new_id
from gateway.core.tenants.access import Plans
from gateway.core.tenants.grants import DEFAULT_USER
from gateway.core.tenants.keys import Org
from oauth.connections import Connection
from skills_catalog.model import AuthMethod, Integration

VerifyConnect = Literal["none", "redirect", "session"]


class OrgStore(Protocol):
    """What connecting needs to know of an org."""

    async def find(self, org: str) -> Org | None: ...

    async def redirect_urls(self, org: str) -> Sequence[str]: ...

    async def set_redirect_urls(self, org: str, urls: Sequence[str], *, by: Actor) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants connected."""

    org: str
    by: Actor
    integration: str
    #: None is the user of the connection that is renewed, or the default one.
    user: str | None = None
    #: Name of the auth method; None takes that of the connection that is renewed, or the first that can be used.
    method: str | None = None
    #: OAuth scopes; None takes the definition's.
    scopes: tuple[str, ...] | None = None
    label: str | None = None
    #: A credential and connection fields by name; with a whole credential it connects at once.
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: The connection to renew.
    connection: str | None = None
    redirect_url: str | None = None


class Wishes:
    """Checks wishes and turns them into flows."""

    def __init__(
        self,
        *,
        providers: Providers,
        orgs: OrgStore,
        connections: Connections,
        plans: Plans,
        tenancy: Tenancy,
        verify: VerifyConnect,
        clock: Callable[[], float],
    ) -> None:
        self._providers = providers
        self._orgs = orgs
        self._connections = connections
        self._plans = plans
        self._tenancy = tenancy
        self._verify = verify
        self._clock = clock

    async def method(self, integration: Integration, wish: Wish) -> AuthMethod:
        """The method that was asked for, that of the connection renewed, the one that takes the credential, or the first."""
        usable = [method for method in integration.auth if method.type != "none"]
        if wish.method is not None:
            return _named(integration, usable, wish.method)
        if (renewed := await self._renewed(integration, wish)) is not None:
            return _named(integration, usable, renewed.method)
        if not usable:
            raise bad_field("integration", f"{integration.slug} needs no connection.")
        if wish.credentials:
            fitting = [method for method in usable if takes(integration, method, wish.credentials)]
            whole = [method for method in fitting if is_whole(integration, method, wish.credentials)]
            if not fitting:
                given = ", ".join(sorted(wish.credentials))[:200]
                raise bad_field(
                    "credentials", f"No auth method of {integration.slug} takes {given}; {_taken(integration, usable)}."
                )
            typed = [method for method in whole if not method.is_oauth]
            if typed or whole:
                return (typed or whole)[0]
            usable = fitting
        client = await self._providers.client(wish.org, integration.slug)
        return next((method for method in usable if not method.is_oauth or client is not None), usable[0])

    async def link_flow(self, integration: Integration, method: AuthMethod, wish: Wish) -> Flow:
        """A flow that a person finishes in a browser."""
        if method.is_oauth and await self._providers.client(wish.org, integration.slug) is None:
            raise Refusal("forbidden", self._providers.missing_client(wish.org, integration))
        if is_whole(integration, method, wish.credentials):
            # It would lie readable in the flow's row until somebody comes.
            raise bad_field(
                "credentials", f"The method {method.name!r} is connected in a browser, where secrets are typed in."
            )
        return await self.flow(
            integration,
            method,
            wish,
            scopes=_scopes(method, wish.scopes),
            redirect_url=await self._return_url(wish),
            fields=check_fields(integration, method, wish.credentials, partial=True),
        )

    async def flow(self, integration: Integration, method: AuthMethod, wish: Wish, **more: Any) -> Flow:
        """The flow of a wish, for a new connection or for one that is renewed."""
        renewed = await self._renewed(integration, wish)
        if renewed is None:
            await self._check_room(wish.org)
        now = self._clock()
        return Flow(
            connection=wish.connection or new_id("conn"),
            org=wish.org,
            integration=integration.slug,
            user=renewed.user if renewed else wish.user or DEFAULT_USER,
            method=method.name,
            label=wish.label,
            by=wish.by,
            renews=renewed is not None,
            created_at=now,
            expires_at=now + FLOW_LIFETIME,
            **more,
        )

    async def _check_room(self, org: str) -> None:
        """Nobody shall consent to what could not be stored then."""
        most = (await self._plans.find(org)).connections
        if most is not None and len(await self._connections.list(org)) >= most:
            raise self._plans.reached(most, "connections")

    async def _renewed(self, integration: Integration, wish: Wish) -> Connection | None:
        """The connection that is renewed; it must be the integration's, and the user's if one is named."""
        if wish.connection is None:
            return None
        held = await self._connections.find(wish.org, wish.connection)
        if (
            held is None
            or held.connection.integration != integration.slug
            or wish.user not in (None, held.connection.user)
        ):
            raise Refusal("not_found", "Connection not found.")
        return held.connection

    async def _return_url(self, wish: Wish) -> str | None:
        if self._tenancy == "separate" and self._verify == "none":
            raise Refusal(
                "forbidden",
                "With TENANCY=separate a connect link must prove who finished it: "
                "the operator sets VERIFY_CONNECT=redirect or VERIFY_CONNECT=session.",
            )
        registered = await self._orgs.redirect_urls(wish.org)
        if wish.redirect_url is not None and wish.redirect_url not in registered:
            raise bad_field(
                "redirect_url", "Not one of the org's registered URLs. Register it with PUT /v1/org/redirect-urls."
            )
        if self._verify != "redirect" or wish.redirect_url is not None:
            return wish.redirect_url
        if len(registered) != 1:
            raise bad_field(
                "redirect_url", "Say which registered URL the browser returns to (PUT /v1/org/redirect-urls)."
            )
        return registered[0]


def _named(integration: Integration, usable: Sequence[AuthMethod], name: str) -> AuthMethod:
    found = next((method for method in usable if method.name == name), None)
    if found is None:
        names = ", ".join(method.name for method in usable)
        raise bad_field("auth", f"{integration.slug} has no auth method {name[:64]!r}; it has {names}.")
    return found


def _taken(integration: Integration, usable: Sequence[AuthMethod]) -> str:
    """What `credentials` may hold, by auth method."""
    typed = [
        f"{method.name} takes {' and '.join(names)}"
        for method in usable
        if (names := [*method.asks, *(item.name for item in integration.fields_for(method))])
    ]
    return ", ".join(typed) or "it is connected in a browser"


def _scopes(method: AuthMethod, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    for scope in wanted or ():
        # RFC 6749 §3.3: scope-token.
        if not 0 < len(scope) <= 256 or any(char in '"\\' or not "!" <= char <= "~" for char in scope):
            raise bad_field("scopes", f"{scope[:64]!r} is not an OAuth scope.")
    return tuple(dict.fromkeys((*(method.scopes.default if wanted is None else wanted), *method.scopes.always)))
