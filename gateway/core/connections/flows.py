"""A connect flow: from `POST /v1/connect` to a connection, in steps that each happen once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.core.events import Actor
from oauth.secret import Secret
from oauth.token_answers import TokenAnswer

#: Seconds from the wish to the click, from the click to the callback, and for a choice.
FLOW_LIFETIME = 600.0

FlowStatus = Literal["pending", "connected", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One attempt to connect an account. Its id is the id of the connection it makes or renews.

    Times are unix seconds. A flow ends by `expires_at`, whatever its state.
    """

    connection: str
    org: str
    integration: str
    user: str
    method: str
    #: Who asked for it.
    by: Actor
    #: OAuth scopes to ask for.
    scopes: tuple[str, ...] = ()
    label: str | None = None
    #: Where the browser goes afterwards: one of the org's registered URLs.
    redirect_url: str | None = None
    #: Connection fields given with the request.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: It renews a connection that exists; the account must stay the same.
    renews: bool = False
    status: FlowStatus = "pending"
    #: `awaiting_confirmation` while the org's backend has still to confirm, `awaiting_choice` while the person has to
    #: say which of several sites or tenants is meant.
    detail: str | None = None
    error: str | None = None
    message: str | None = None
    account: str | None = None
    created_at: float = 0.0
    expires_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several things that the account has, of which the connection is for one: a site, a tenant."""

    #: The connection fields that it fills in.
    fields: Mapping[str, str]
    #: What a person knows it by.
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSecrets:
    """What a started flow must keep to itself; sealed at rest."""

    #: PKCE verifier (RFC 7636), None for a method without; of OAuth 1.0a the secret of the request token.
    verifier: Secret | None = None
    #: OAuth 1.0a: the request token, which must come back equal.
    request_token: Secret | None = None
    #: The callback path's context, which must come back equal: `github` or `github.org_…`.
    context: str = ""
    redirect_uri: str = ""
    #: Hash of the cookie of the browser that clicked.
    browser: bytes = b""
    #: Set once the provider answered and the org's backend has to confirm.
    code: Secret | None = None
    #: Connection fields copied from the callback's query (`realmId`).
    callback_fields: Mapping[str, str] = field(default_factory=dict)
    #: Set once the credential is there and the person has still to choose: what was granted, and the choices.
    granted: TokenAnswer | None = None
    choices: tuple[Choice, ...] = ()


class FlowStore(Protocol):
    """Where flows are kept. Each step is one atomic statement: it happens once or not at all."""

    async def add(self, flow: Flow) -> None:
        """Opens it; an older flow of the same connection id is replaced."""
        ...

    async def find(self, org: str, connection: str) -> Flow | None: ...

    async def by_link(self, connection: str) -> Flow | None:
        """For the page behind the link, which knows no org: the id itself is the secret of the link."""
        ...

    async def start(self, org: str, connection: str, *, state: bytes, secrets: FlowSecrets, expires_at: float) -> bool:
        """The click: remembers the hash of `state`. A later click replaces an earlier one; False once it is over."""
        ...

    async def take(self, state: bytes) -> tuple[Flow, FlowSecrets] | None:
        """The callback: the flow that this hash of `state` belongs to, given out once and never when expired."""
        ...

    async def park(self, org: str, connection: str, *, handle: bytes, secrets: FlowSecrets, expires_at: float) -> bool:
        """Consent is given, confirmation is missing: keeps the code under the hash of a one-time handle."""
        ...

    async def take_parked(self, org: str, connection: str, handle: bytes) -> tuple[Flow, FlowSecrets] | None:
        """The confirmation: gives the parked code out once."""
        ...

    async def await_choice(self, org: str, connection: str, *, secrets: FlowSecrets, expires_at: float) -> bool:
        """The credential is there, a choice is missing: keeps both until the person has made it."""
        ...

    async def choosing(self, org: str, connection: str) -> FlowSecrets | None:
        """What `await_choice` kept, to be shown to the browser that it is for."""
        ...

    async def take_choosing(self, org: str, connection: str) -> tuple[Flow, FlowSecrets] | None:
        """The choice is made: gives it out once."""
        ...

    async def finish(
        self,
        org: str,
        connection: str,
        status: FlowStatus,
        *,
        error: str | None = None,
        message: str | None = None,
        account: str | None = None,
    ) -> None: ...

    async def purge(self, before: float) -> int:
        """Forgets flows that expired before that time; says how many."""
        ...
