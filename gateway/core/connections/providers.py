"""Which OAuth client serves whom, and how a definition's auth method becomes one authorization server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gateway.core.catalogs import Catalogs
from gateway.core.connections.clients import ClientStore, OAuthClient
from gateway.core.errors import Refusal
from gateway.core.remember import Remembered
from gateway.core.requests.building import fill_address
from oauth.connections import Connection, Credential
from oauth.provider import Grant, Provider
from oauth.secret import Secret
from skills_catalog.model import AuthMethod, Integration

Tenancy = Literal["one_owner", "separate"]

_GRANTS: Mapping[str, Grant] = {
    "client_credentials": "client_credentials",
    "jwt_bearer": "jwt_bearer",
    "session": "session",
    "oauth1": "oauth1",
}


class Providers:
    """Resolves clients and authorization servers.

    An org's own client wins over the installation's. Where orgs know nothing of each other
    (`TENANCY=separate`) the installation's is refused: one client across owners lets one of them receive
    what another's user consented to.
    """

    def __init__(
        self,
        catalogs: Catalogs,
        installed: Mapping[str, OAuthClient],
        store: ClientStore,
        *,
        public_url: str,
        tenancy: Tenancy,
    ) -> None:
        self._catalogs = catalogs
        self._installed = installed if tenancy == "one_owner" else {}
        self._store = store
        self._public_url = public_url
        self._tenancy = tenancy
        self._names: Remembered[tuple[str, str], str] = Remembered(self._client_name, seconds=10.0)

    async def client(self, org: str, slug: str) -> OAuthClient | None:
        """The client that an org connects an integration with."""
        return await self._store.find(org, slug) or self._installed.get(slug)

    async def client_name(self, org: str, slug: str) -> str:
        """The OAuth client that serves an org, by a name that is the same for all whom it serves."""
        return await self._names.get((org, slug))

    async def _client_name(self, what: tuple[str, str]) -> str:
        org, slug = what
        client = await self.client(org, slug)
        return slug if client is None else self.context(client)

    async def clients_of(self, org: str) -> Mapping[str, OAuthClient]:
        """integration -> client, for all that an org may use."""
        return {**self._installed, **{client.integration: client for client in await self._store.all(org)}}

    def context(self, client: OAuthClient) -> str:
        """What the callback path must carry for this client: `github`, or `github.org_…` for an org's own."""
        return client.integration if client.org is None else f"{client.integration}.{client.org}"

    def redirect_uri(self, client: OAuthClient) -> str:
        """The redirect URI to register at the provider for this client."""
        return f"{self._public_url}/oauth/callback/{self.context(client)}"

    def unavailable_reason(self, org: str, integration: Integration, client: OAuthClient | None) -> str | None:
        """Why nobody of an org can connect the integration, ready to act on; None where somebody can."""
        if client is not None or any(not method.is_oauth for method in integration.auth):
            return None
        return self.missing_client(org, integration)

    def missing_client(self, org: str, integration: Integration) -> str:
        """What to do where an OAuth method has no client: with the redirect URI to register."""
        callback = f"{self._public_url}/oauth/callback/{integration.slug}"
        if self._tenancy == "separate":
            return (
                f"No OAuth client. Register one at {integration.name} with the redirect URI {callback}.{org}, "
                f"then run: skillway orgs set-client {org} {integration.slug}"
            )
        return (
            f"No OAuth client. Register one at {integration.name} with the redirect URI {callback}, "
            f"then put client_id and client_secret under integrations.{integration.slug} in skills.yaml "
            "and restart the gateway."
        )

    def resolve(
        self,
        method: AuthMethod,
        client: OAuthClient | None,
        fields: Mapping[str, str],
        credential: Credential | None = None,
    ) -> Provider:
        """The authorization server of a method for one connection.

        Raises `Refusal` where a connection field cannot stand in one of its addresses.
        """
        client_id, secret = "", None
        extra: Mapping[str, Secret] = {}
        if client is not None:
            client_id, secret, extra = client.client_id, client.client_secret, client.extra
        if method.type == "client_credentials" and credential is not None and credential.client_id:
            client_id, secret, extra = credential.client_id, credential.client_secret, {}
        elif client is None and method.type not in ("jwt_bearer", "session"):
            raise Refusal("forbidden", f"There is no OAuth client for the method {method.name!r}.")

        def address(url: str | None) -> str | None:
            return fill_address(url, fields) if url else None

        key, key_id = extra.get("private_key"), extra["key_id"].reveal() if "key_id" in extra else None
        if method.type == "jwt_bearer" and credential is not None:
            key, key_id = credential.private_key, credential.key_id
        return Provider(
            grant=_GRANTS.get(method.type, "authorization_code"),
            fields=fields,
            client_id=client_id,
            client_secret=secret,
            redirect_uri=self.redirect_uri(client) if client is not None else "",
            request_token_url=address(method.request_token_url),
            authorization_url=address(method.authorization_url),
            token_url=address(method.token_url) or "",
            refresh_url=address(method.refresh_url),
            revocation_url=address(method.revocation_url),
            issuer=address(method.issuer),
            scopes=method.scopes.default,
            always=method.scopes.always,
            separator=method.scopes.separator,
            scope_param=method.scopes.param,
            answer_separator=method.scopes.answer_separator,
            implies=method.scopes.implies,
            pkce=method.pkce,
            token_auth=method.token_auth,
            token_method=method.token_method,
            token_body=method.token_body,
            token_headers=method.token_headers,
            authorize_params=method.authorize_params,
            token_params=method.token_params,
            refresh_params=method.refresh_params,
            token_path=method.token_path,
            token_answer=method.token_answer,
            copy_from_token=method.copy_from_token,
            copy_from_callback=method.copy_from_callback,
            lifetime=method.lifetime,
            signature=method.signature,
            claims=method.claims,
            private_key=key,
            key_id=key_id,
        )

    async def for_connection(self, connection: Connection, credential: Credential) -> Provider | None:
        """The authorization server that renews a connection's credential; None where nothing can be renewed."""
        integration = self._catalogs.current.get(connection.integration)
        method = integration.method(connection.method) if integration else None
        if method is None or not (method.type == "oauth2" or method.is_own_grant):
            return None
        client = await self.client(connection.org, connection.integration)
        if client is None and method.is_oauth:
            return None
        fields = {**connection.fields, **{name: value.reveal() for name, value in credential.fields.items()}}
        return self.resolve(method, client, fields, credential)
