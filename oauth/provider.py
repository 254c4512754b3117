"""One authorization server as resolved for one connection: addresses, our client, its quirks as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from oauth.secret import Secret

TokenAuth = Literal["basic", "post", "none", "private_key_jwt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An authorization server and our client there. Addresses are whole: connection fields are filled in.

    In `authorize_params`, `token_params` and `refresh_params` an empty value leaves the parameter out
    (RFC 6749 §3.1 treats it so), and `{redirect_uri}` and `{client_id}` stand for this client's.
    """

    token_url: str
    client_id: str
    client_secret: Secret | None = None
    #: How a token is got anew: by a refresh token, or by asking again as the client itself.
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    authorization_url: str | None = None
    refresh_url: str | None = None
    revocation_url: str | None = None
    redirect_uri: str = ""
    #: What `iss` must equal in the callback (RFC 9207) and `aud` in a client assertion.
    issuer: str | None = None

    #: Scopes to ask for where the grant has no person: `client_credentials`.
    scopes: tuple[str, ...] = ()
    separator: str = " "
    #: How the token answer separates granted scopes; None means as in the request.
    answer_separator: str | None = None
    #: scope -> the scopes that it includes.
    implies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    pkce: Literal["S256", "off"] = "S256"
    token_auth: TokenAuth = "post"
    token_body: Literal["form", "json"] = "form"
    token_headers: Mapping[str, str] = field(default_factory=dict)
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, str] = field(default_factory=dict)
    refresh_params: Mapping[str, str] = field(default_factory=dict)
    #: JMESPath of the object that holds `access_token`; None means the top.
    token_path: str | None = None
    #: connection field -> JMESPath in the token answer.
    copy_from_token: Mapping[str, str] = field(default_factory=dict)
    #: connection field -> query parameter of the callback.
    copy_from_callback: Mapping[str, str] = field(default_factory=dict)
    #: Seconds an access token lives where the answer does not say.
    lifetime: int | None = None

    #: PEM of the key that signs client assertions, and its `kid`: `private_key_jwt` (RFC 7523).
    private_key: Secret | None = None
    key_id: str | None = None
    #: Seconds the token endpoint may take.
    timeout: float = 15.0
