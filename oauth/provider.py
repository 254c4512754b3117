"""One authorization server as resolved for one connection: addresses, our client, its quirks as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from oauth.secret import Secret

TokenAuth = Literal["basic", "post", "none", "private_key_jwt"]
Grant = Literal["authorization_code", "client_credentials", "jwt_bearer", "session", "oauth1"]
SignatureMethod = Literal["HMAC-SHA1", "HMAC-SHA256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An authorization server and our client there. Addresses are whole: connection fields are filled in.

    Texts of headers and params may hold the names of `fields`, `{redirect_uri}`, `{client_id}` and `{scopes}`. In
    `authorize_params`, `token_params` and `refresh_params` an empty value leaves the parameter out (RFC 6749 §3.1
    treats it so).
    """

    token_url: str
    client_id: str
    client_secret: Secret | None = None
    #: How a token is got anew: by a refresh token, or by proving again what proved it the first time.
    grant: Grant = "authorization_code"
    #: Values of connection fields, secret ones too.
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    request_token_url: str | None = None
    authorization_url: str | None = None
    refresh_url: str | None = None
    revocation_url: str | None = None
    redirect_uri: str = ""
    #: What `iss` must equal in the callback (RFC 9207) and `aud` in a client assertion.
    issuer: str | None = None

    #: Scopes to ask for where the grant has no person.
    scopes: tuple[str, ...] = ()
    #: Asked for whatever else is.
    always: tuple[str, ...] = ()
    separator: str = " "
    #: The parameter of the authorization URL that carries them.
    scope_param: str = "scope"
    #: How the token answer separates granted scopes; None means as in the request.
    answer_separator: str | None = None
    #: scope -> the scopes that it includes.
    implies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    pkce: Literal["S256", "off"] = "S256"
    token_auth: TokenAuth = "post"
    token_method: Literal["POST", "PUT", "GET"] = "POST"
    token_body: Literal["form", "json"] = "form"
    token_headers: Mapping[str, str] = field(default_factory=dict)
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, Any] = field(default_factory=dict)
    refresh_params: Mapping[str, Any] = field(default_factory=dict)
    #: JMESPath of the object that holds `access_token`; None means the top.
    token_path: str | None = None
    #: What has another name there: `access_token`, `expires_at`, … -> JMESPath in that object.
    token_answer: Mapping[str, str] = field(default_factory=dict)
    #: connection field -> JMESPath in the token answer.
    copy_from_token: Mapping[str, str] = field(default_factory=dict)
    #: connection field -> query parameter of the callback.
    copy_from_callback: Mapping[str, str] = field(default_factory=dict)
    #: Seconds an access token lives where the answer does not say.
    lifetime: int | None = None

    #: How OAuth 1.0a requests are signed.
    signature: SignatureMethod = "HMAC-SHA1"
    #: Claims of the assertion of a `jwt_bearer` grant.
    claims: Mapping[str, Any] = field(default_factory=dict)
    #: PEM of the key that signs assertions, of the client or of the grant, and its `kid` (RFC 7523).
    private_key: Secret | None = None
    key_id: str | None = None
    #: Seconds the token endpoint may take.
    timeout: float = 15.0
