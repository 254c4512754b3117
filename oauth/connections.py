"""A connection: one account of one integration that a user let us use, and the credential that proves it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from oauth.secret import Secret


class ConnectionState(StrEnum):
    """`pending → active → degraded → needs_reauth → revoked`; only active and degraded ones serve calls."""

    PENDING = "pending"
    ACTIVE = "active"
    DEGRADED = "degraded"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The secret part of a connection. Which fields are set follows from the auth method's type."""

    #: The bearer token or API key: what goes on a request.
    token: Secret | None = None
    #: Of an OAuth 1.0a token: what requests are signed with.
    token_secret: Secret | None = None
    refresh_token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    #: PEM of the key that signs assertions (RFC 7523), and its `kid`.
    private_key: Secret | None = None
    key_id: str | None = None
    #: Secret connection fields (`secret: true` in the definition).
    fields: Mapping[str, Secret] = field(default_factory=dict)
    #: When the token stops working, unix seconds; None where nobody knows.
    expires_at: float | None = None
    #: When it was issued or entered, unix seconds.
    issued_at: float = 0.0

    def secrets(self) -> list[str]:
        """Every secret string in it, as it is and as Basic sends it, for scrubbing answers and logs."""
        held = [self.token, self.token_secret, self.refresh_token, self.password, self.client_secret, self.private_key]
        found = [secret.reveal() for secret in (*held, *self.fields.values()) if secret]
        if self.username is not None:
            # A service that takes a key as the username leaves the password empty, or fixes it.
            found += [] if self.password else [self.username]
            password = self.password.reveal() if self.password else ""
            found.append(base64.b64encode(f"{self.username}:{password}".encode()).decode())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connected account. `version` counts changes of the credential: the fence of every refresh."""

    id: str
    org: str
    integration: str
    user: str
    #: Name of the auth method that made it.
    method: str
    state: ConnectionState
    version: int = 1
    label: str | None = None
    #: What `whoami` called the account, and its unchanging id where the definition names one.
    account: str | None = None
    account_id: str | None = None
    #: Values of connection fields that are not secret (`instance`, `domain`, `projectSlug`).
    fields: Mapping[str, str] = field(default_factory=dict)
    #: OAuth scopes the provider granted; None where it did not say.
    scopes: tuple[str, ...] | None = None
    #: Why it is degraded or needs a person: a stable word such as `invalid_grant`.
    reason: str | None = None
    #: When a degraded connection is tried again, unix seconds.
    retry_at: float | None = None
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A connection together with its opened credential."""

    connection: Connection
    credential: Credential
    #: What was worked out of the two and is worth keeping as long as they are.
    notes: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)


class ConnectionList(Protocol):
    """Whoever can name the connections of an org, without what is secret of them."""

    async def list(self, org: str) -> Sequence[Connection]: ...


class ConnectionStore(Protocol):
    """Where connections are kept; credentials are sealed before they touch the disk."""

    async def find(self, org: str, connection_id: str) -> Held | None: ...

    async def candidates(self, org: str, integration: str, user: str) -> Sequence[Held]:
        """Connections of that user that are not revoked or pending, oldest first."""
        ...

    async def replace_credential(
        self, org: str, connection_id: str, *, version: int, credential: Credential, scopes: tuple[str, ...] | None
    ) -> bool:
        """Compare and swap: stores it as `version + 1` and makes the connection active.

        False where the stored version is no longer `version`: somebody else was first; and where the
        connection was revoked or removed meanwhile. `scopes` None keeps what is stored.
        """
        ...

    async def set_state(
        self,
        org: str,
        connection_id: str,
        *,
        version: int,
        state: ConnectionState,
        reason: str | None = None,
        retry_at: float | None = None,
    ) -> bool:
        """Changes the state if the version is still that one and it is not revoked; says whether it was."""
        ...


class Leases(Protocol):
    """Rows that say who works on something, until when. A lease ends by itself."""

    async def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """Takes or prolongs it; False while another owner's has not run out."""
        ...

    async def release(self, name: str, owner: str) -> None:
        """Gives it back if it is still that owner's."""
        ...
