"""A provider that speaks OAuth 1.0a, with an API behind it; every signature is verified by oauthlib.

    async with oauth1_provider() as server:
        server.base_url  # request token, consent page, access token and API all live here
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from oauthlib.oauth1 import RequestValidator, WebApplicationServer

from tests.demo import listening
from tests.fakes.upstream import Seen

CLIENT = "consumer-key-of-ours"
#: With letters that every encoding on the way has to keep.
CLIENT_SECRET = "consumer secret&of=ours+%/~"


@dataclass(slots=True)
class _Token:
    secret: str
    login: str = ""
    callback: str = ""
    verifier: str = ""
    #: What a person was asked for.
    scope: str = ""


class _Validator(RequestValidator):  # type: ignore[misc]
    """What the server knows: one client, tokens in two dicts, and which nonces it has seen."""

    enforce_ssl = False
    client_key_length = request_token_length = access_token_length = nonce_length = verifier_length = (8, 100)
    safe_characters = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~.")

    def __init__(self, server: OAuth1Server) -> None:
        super().__init__()
        self.server = server

    @property
    def allowed_signature_methods(self) -> Sequence[str]:
        return (self.server.signature_method,)

    dummy_client = "dummy-client"
    dummy_request_token = "dummy-request-token"
    dummy_access_token = "dummy-access-token"

    def get_client_secret(self, client_key: str, request: Any) -> str:
        return CLIENT_SECRET if client_key == CLIENT else "dummy"

    def get_request_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.server.requested.get(token, _Token("dummy")).secret

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        return self.server.granted.get(token, _Token("dummy")).secret

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        return client_key == CLIENT

    def validate_request_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.server.requested

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        return token in self.server.granted

    def validate_timestamp_and_nonce(
        self, client_key: str, timestamp: str, nonce: str, request: Any, **_: Any
    ) -> bool:
        fresh = (timestamp, nonce) not in self.server.nonces
        self.server.nonces.add((timestamp, nonce))
        return fresh

    def validate_redirect_uri(self, client_key: str, redirect_uri: str, request: Any) -> bool:
        return redirect_uri.startswith("http://127.0.0.1:")

    def validate_requested_realms(self, client_key: str, realms: Any, request: Any) -> bool:
        return True

    def validate_realms(self, client_key: str, token: str, request: Any, uri: Any = None, realms: Any = None) -> bool:
        return True

    def verify_request_token(self, token: str, request: Any) -> bool:
        return token in self.server.requested

    def verify_realms(self, token: str, realms: Any, request: Any) -> bool:
        return True

    def get_realms(self, token: str, request: Any) -> list[str]:
        return []

    def get_default_realms(self, client_key: str, request: Any) -> list[str]:
        return []

    def get_redirect_uri(self, token: str, request: Any) -> str:
        return self.server.requested[token].callback

    def validate_verifier(self, client_key: str, token: str, verifier: str, request: Any) -> bool:
        kept = self.server.requested.get(token, _Token("dummy")).verifier
        return bool(kept) and secrets.compare_digest(kept, verifier)

    def save_request_token(self, token: Any, request: Any) -> None:
        self.server.requested[token["oauth_token"]] = _Token(token["oauth_token_secret"], callback=request.redirect_uri)

    def save_verifier(self, token: str, verifier: Any, request: Any) -> None:
        self.server.requested[token].verifier = verifier["oauth_verifier"]

    def save_access_token(self, token: Any, request: Any) -> None:
        asked = self.server.requested[request.resource_owner_key]
        self.server.granted[token["oauth_token"]] = _Token(token["oauth_token_secret"], login=asked.login, scope=asked.scope)

    def invalidate_request_token(self, client_key: str, request_token: str, request: Any) -> None:
        self.server.requested.pop(request_token, None)


@dataclass(slots=True)
class OAuth1Server:
    """The endpoints, what came to them, and what a test wants changed."""

    signature_method: str = "HMAC-SHA1"
    base_url: str = ""
    requested: dict[str, _Token] = field(default_factory=dict)
    granted: dict[str, _Token] = field(default_factory=dict)
    nonces: set[tuple[str, str]] = field(default_factory=set)
    #: Requests to the API that were let in, as they came.
    seen: list[Seen] = field(default_factory=list)
    #: How often each endpoint was asked.
    counts: dict[str, int] = field(default_factory=dict)
    #: Whether the request token says that its callback is confirmed (1.0a).
    confirms: bool = True
    #: Who is at the consent page, and what they say: None is a provider that has no word for "no".
    login: str = "ada"
    approves: bool = True
    #: What the API answers by its path, where that is not who is asking.
    answers: dict[str, Callable[[Seen], web.Response]] = field(default_factory=dict)
    #: How many requests to the API are heard, and then left without a word.
    deaf: int = 0
    #: What the request token and access token endpoints answer instead.
    says: web.Response | None = None

    @property
    def endpoint(self) -> WebApplicationServer:
        return WebApplicationServer(_Validator(self))

    async def request_token(self, request: web.Request) -> web.Response:
        if (said := await self._begin("request_token")) is not None:
            return said
        headers, body, status = self.endpoint.create_request_token_response(*await self._parts(request))
        if not self.confirms:
            body = urlencode([pair for pair in parse_qsl(body) if pair[0] != "oauth_callback_confirmed"])
        return web.Response(status=status, text=body, headers=headers)

    async def authorize(self, request: web.Request) -> web.Response:
        """The person's page: one click is not shown, it only happens."""
        await self._begin("authorize")
        token = request.query["oauth_token"]
        if token not in self.requested:
            return web.Response(status=400, text="This token was not asked for.")
        asked = self.requested[token]
        asked.login, asked.scope = self.login, request.query.get("scope", "")
        if not self.approves:
            joint = "&" if "?" in asked.callback else "?"
            raise web.HTTPFound(f"{asked.callback}{joint}{urlencode({'denied': token})}")
        headers, body, status = self.endpoint.create_authorization_response(str(request.url), "GET")
        return web.Response(status=status, text=body, headers=headers)

    async def access_token(self, request: web.Request) -> web.Response:
        if (said := await self._begin("access_token")) is not None:
            return said
        login = self.login
        headers, body, status = self.endpoint.create_access_token_response(
            *await self._parts(request), credentials={"screen_name": login, "user_id": "7"}
        )
        return web.Response(status=status, text=body, headers=headers)

    async def api(self, request: web.Request) -> web.Response:
        await self._begin("api")
        body = await request.read()
        valid, asked = self.endpoint.validate_protected_resource_request(*await self._parts(request))
        if not valid:
            return web.json_response({"error": "invalid signature"}, status=401)
        headers = [(name.decode(), value.decode()) for name, value in request.raw_headers]
        seen = Seen(method=request.method, raw_path=request.raw_path, headers=headers, body=body)
        self.seen.append(seen)
        if self.deaf:
            self.deaf -= 1
            assert request.transport is not None
            request.transport.abort()
        if request.path in self.answers:
            return self.answers[request.path](seen)
        login = self.granted[asked.resource_owner_key].login
        return web.Response(
            text=json.dumps({"id": "7", "username": login}), content_type="application/json"
        )

    async def _begin(self, name: str) -> web.Response | None:
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.says

    async def _parts(self, request: web.Request) -> tuple[str, str, str, dict[str, str]]:
        # The address as it was sent: a signature is over that, and not over what a library makes of it.
        uri = f"{self.base_url}{request.raw_path}"
        return uri, request.method, (await request.read()).decode("latin-1"), dict(request.headers)


@asynccontextmanager
async def oauth1_provider(**options: Any) -> AsyncIterator[OAuth1Server]:
    """Listens on a free loopback port until the block ends."""
    server = OAuth1Server(**options)
    async with listening(
        web.post("/1/OAuthGetRequestToken", server.request_token),
        web.get("/1/OAuthAuthorizeToken", server.authorize),
        web.post("/1/OAuthGetAccessToken", server.access_token),
        web.route("*", "/1/{rest:.*}", server.api),
    ) as origin:
        server.base_url = origin
        yield server
