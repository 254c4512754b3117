"""OAuth clients: the installation's from `skills.yaml`, an org's own from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from oauth.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """What the provider registered for us. `org` is None for the installation's own."""

    integration: str
    client_id: str
    client_secret: Secret | None = None
    org: str | None = None
    #: Further values a definition may ask for: `private_key` (PEM) and `key_id` for private_key_jwt.
    extra: Mapping[str, Secret] = field(default_factory=dict)


class ClientStore(Protocol):
    """Where orgs' own OAuth clients are kept, sealed."""

    async def find(self, org: str, integration: str) -> OAuthClient | None: ...

    async def save(self, org: str, client: OAuthClient) -> None: ...

    async def remove(self, org: str, integration: str) -> bool: ...

    async def all(self, org: str) -> Sequence[OAuthClient]: ...
