"""Credentials on the way of a call: fresh before it, renewed once after a 401, placed as the definition says."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.core.connections import reconnect
from gateway.core.errors import Refusal
from gateway.core.links import Links
from oauth import schemes
from oauth.connections import Held
from oauth.credentials import CredentialSource, NeedsReauth, StillRefused, TemporarilyUnavailable
from oauth.schemes import Injection, UnsafeCredential
from skills_catalog.model import Integration

_RENEWABLE = ("oauth2", "client_credentials")


class Credentials:
    """`CredentialSource` in the words of the gateway: what it cannot give becomes a refusal."""

    def __init__(self, source: CredentialSource, links: Links, clock: Callable[[], float]) -> None:
        self._source = source
        self._links = links
        self._clock = clock

    async def fresh(self, integration: Integration, held: Held) -> Held:
        """The connection with a credential that is good now. Raises `token_expired` or `upstream_unreachable`."""
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


def fields_of(held: Held) -> Mapping[str, str]:
    """The connection's fields, secret ones too: what `{field}`s in addresses and headers stand for."""
    hidden = held.credential.fields
    if not hidden:
        return held.connection.fields
    return {**held.connection.fields, **{name: value.reveal() for name, value in hidden.items()}}


def injection(integration: Integration, held: Held) -> Injection:
    """What the connection's credential adds to a request."""
    method = integration.method(held.connection.method)
    if method is None:
        raise Refusal(
            "conflict", f"{integration.slug} no longer has the method {held.connection.method!r}; connect again."
        )
    place = method.placement
    try:
        if place is None:
            return schemes.inject(method.type, held.credential)
        return schemes.inject(
            method.type, held.credential, location=place.location, name=place.name, prefix=place.prefix
        )
    except UnsafeCredential as error:
        raise Refusal("bad_request", f"The connection cannot be used: {error}. Connect again.") from None
