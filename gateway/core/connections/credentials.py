"""Credentials on the way of a call: fresh before it, renewed once after a 401, placed as the definition says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from gateway.core.connections.clients import OAuthClient
from gateway.core.connections.connections import reconnect
from gateway.core.errors import Refusal
from gateway.core.links import Links
from gateway.core.remember import Remembered
from oauth import schemes
from oauth.connections import Held
from oauth.credentials import CredentialSource, NeedsReauth, StillRefused, TemporarilyUnavailable
from oauth.oauth1 import signer_of
from oauth.schemes import Injection, UnsafeCredential
from oauth.texts import fill_whole
from skills_catalog.model import AuthMethod, Integration

#: Seconds that a client is remembered to sign with: a changed secret is used after that.
_CLIENT_MEMORY = 10.0
_RENEWABLE = ("oauth2", "client_credentials", "jwt_bearer", "session")


class Clients(Protocol):
    """Where the OAuth client of an org is looked up."""

    async def client(self, org: str, slug: str) -> OAuthClient | None: ...


class Credentials:
    """`CredentialSource` in the words of the gateway: what it cannot give becomes a refusal."""

    def __init__(self, source: CredentialSource, clients: Clients, links: Links, clock: Callable[[], float]) -> None:
        self._source = source
        self._links = links
        self._clock = clock
        self._clients: Remembered[tuple[str, str], OAuthClient | None] = Remembered(
            lambda key: clients.client(*key), seconds=_CLIENT_MEMORY
        )

    async def whole(self, integration: Integration, held: Held) -> Held:
        """The connection with all that its requests are made with; nothing is renewed. Raises `forbidden`."""
        if not signs(integration, held):
            return held
        client = await self._clients.get((held.connection.org, integration.slug))
        if client is None:
            raise Refusal("forbidden", f"The OAuth client that {integration.name} knows this connection by is gone.")
        return with_client(held, client)

    async def fresh(self, integration: Integration, held: Held) -> Held:
        """The connection with a credential that is good now. Raises `token_expired` or `upstream_unreachable`."""
        held = await self.whole(integration, held)
        if not renews(integration, held):
            return held
        try:
            return await self._source.fresh(held)
        except NeedsReauth as error:
            raise reconnect(self._links, held.connection, error.reason) from None
        except TemporarilyUnavailable as error:
            raise self._unavailable(integration, error) from None

    async def renewed(self, integration: Integration, held: Held) -> Held | None:
        """After an upstream 401: a newer credential, or None where the 401 is the answer."""
        try:
            return await self._source.renew(held)
        except StillRefused:
            return None
        except NeedsReauth as error:
            raise reconnect(self._links, held.connection, error.reason) from None
        except TemporarilyUnavailable as error:
            raise self._unavailable(integration, error) from None

    def refused(self, renewed: Held) -> None:
        """The renewed credential was refused too: no further refresh of it for a while."""
        self._source.refused(renewed)

    def _unavailable(self, integration: Integration, error: TemporarilyUnavailable) -> Refusal:
        wait = max(error.retry_at - self._clock(), 1.0)
        return Refusal(
            "upstream_unreachable",
            f"{integration.name} gives no new token at the moment ({error.reason}). The connection stays.",
            outcome="not_sent",
            retryable=True,
            retry_after_ms=int(wait * 1000),
        )


def renews(integration: Integration, held: Held) -> bool:
    """Whether the connection's credential is one that can be had anew without a person."""
    method = integration.method(held.connection.method)
    return method is not None and method.type in _RENEWABLE


def signs(integration: Integration, held: Held) -> bool:
    """Whether the requests of a connection are signed, with our client's secret beside its own."""
    method = integration.method(held.connection.method)
    return method is not None and method.type == "oauth1"


def with_client(held: Held, client: OAuthClient) -> Held:
    """The connection with our client in its credential, to sign with; it is not stored like this."""
    credential = replace(held.credential, client_id=client.client_id, client_secret=client.client_secret)
    return replace(held, credential=credential)


def fields_of(held: Held) -> Mapping[str, str]:
    """The connection's fields, secret ones too: what `{field}`s in addresses and headers stand for."""
    hidden = held.credential.fields
    if not hidden:
        return held.connection.fields
    return {**held.connection.fields, **{name: value.reveal() for name, value in hidden.items()}}


def values_of(method: AuthMethod, held: Held) -> Mapping[str, str]:
    """The fields, and the credential itself where the definition puts it into the base URL."""
    place, token = method.placement, held.credential.token
    if place is None or place.location != "path" or token is None:
        return fields_of(held)
    return {**fields_of(held), place.name: token.reveal()}


def method_of(integration: Integration, held: Held) -> AuthMethod:
    """The auth method of a connection. Raises `conflict` where the definition has it no more."""
    method = integration.method(held.connection.method)
    if method is None:
        raise Refusal(
            "conflict", f"{integration.slug} no longer has the method {held.connection.method!r}; connect again."
        )
    return method


def injection(method: AuthMethod, held: Held) -> Injection:
    """What the connection's credential adds to a request."""
    fields = fields_of(held)
    try:
        main = _main(method, held, fields)
        if not method.headers and not method.query:
            return main
        return main + schemes.further(method.headers, method.query, fields)
    except UnsafeCredential as error:
        raise Refusal("bad_request", f"The connection cannot be used: {error}. Connect again.") from None


def _main(method: AuthMethod, held: Held, fields: Mapping[str, str]) -> Injection:
    credential, place = held.credential, method.placement
    if method.type == "oauth1":
        return Injection(signer=signer_of(method.signature, credential))
    if method.type == "basic":
        password = credential.password.reveal() if credential.password is not None else None
        return schemes.basic(
            credential.username if method.username is None else fill_whole(method.username, fields),
            password if method.password is None else fill_whole(method.password, fields),
        )
    if place is None:
        return schemes.inject(method.type, credential)
    return schemes.inject(
        method.type,
        credential,
        location=place.location,
        name=place.name,
        prefix=place.prefix,
        template=place.template,
        values=fields,
    )
