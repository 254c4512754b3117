"""An OpenID provider whose every word a test chooses: metadata, keys, ID tokens. A real little server on loopback.

    async with issuer(clock) as fake:
        fake.claims = {"email": "ada@example.com", "email_verified": True}
        token = fake.id_token(sub="ada", nonce="n")
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.demo import listening, query_of

CLIENT_ID = "gateway"
_RSA = RSAKey.generate_key(2048, parameters={"kid": "one"}, private=True)
_OTHER = RSAKey.generate_key(2048, parameters={"kid": "two"}, private=True)
_EC = ECKey.generate_key("P-256", parameters={"kid": "ec"}, private=True)


@dataclass(slots=True, kw_only=True)
class FakeIssuer:
    """What it says of itself and of people; what is set here is what it answers next."""

    url: str
    clock: Callable[[], float]
    client_id: str = CLIENT_ID
    #: Members of the metadata that replace its own; None leaves one out.
    metadata: dict[str, Any] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=lambda: [_RSA.as_dict(private=False)])
    #: Claims that every ID token has beside the usual ones; None leaves one out.
    claims: dict[str, Any] = field(default_factory=dict)
    #: What every token says that it is; None leaves it unsaid.
    kind: str | None = None
    #: The ID token that the token endpoint gives out instead of a right one.
    planned: str | None = None
    userinfo: dict[str, Any] | None = None
    #: Whom it lets in without asking.
    login: str = "ada"
    down: bool = False
    asked: list[str] = field(default_factory=list)
    token_requests: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_token(
        self,
        *,
        key: RSAKey | ECKey = _RSA,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A signed ID token; a claim of None is left out."""
        now = int(self.clock())
        usual = {"iss": self.url, "sub": self.login, "aud": self.client_id, "iat": now, "exp": now + 300}
        said = {name: value for name, value in {**usual, **self.claims, **claims}.items() if value is not None}
        head = {"alg": "ES256" if isinstance(key, ECKey) else "RS256", "kid": key.kid, "typ": self.kind, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, said, key, algorithms=[head["alg"]])

    def by_hand(
        self, header: Mapping[str, Any], *, signature: str = "", secret: bytes | None = None, **claims: Any
    ) -> str:
        """A token that no library would make; with a secret it is signed by HMAC."""
        now = int(self.clock())
        said = {"iss": self.url, "sub": self.login, "aud": self.client_id, "iat": now, "exp": now + 300, **claims}
        head = {"typ": self.kind, **header} if self.kind is not None else header
        signed = f"{part(head)}.{part(said)}"
        return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256')) if secret is not None else signature}"

    def approve(self, address: str) -> str:
        """What the person's browser is sent back to from an authorization request."""
        asked = query_of(address)
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"]}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    async def discovery(self, request: web.Request) -> web.Response:
        self._note(request)
        usual = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
        }
        told = {name: value for name, value in {**usual, **self.metadata}.items() if value is not None}
        return web.json_response(told)

    async def published(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"keys": self.keys})

    async def token(self, request: web.Request) -> web.Response:
        self._note(request)
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.token_requests.append(form)
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        made = self.planned if self.planned is not None else self.id_token(nonce=asked.get("nonce"))
        answer = {"access_token": "an-access-token", "token_type": "Bearer", "id_token": made}
        return web.json_response({name: value for name, value in answer.items() if value != ""})

    async def described(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.headers.get("Authorization") != "Bearer an-access-token" or self.userinfo is None:
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response(self.userinfo)

    def _note(self, request: web.Request) -> None:
        self.asked.append(request.path)
        if self.down:
            raise web.HTTPServiceUnavailable


@asynccontextmanager
async def issuer(clock: Callable[[], float]) -> AsyncIterator[FakeIssuer]:
    made = FakeIssuer(url="", clock=clock)
    routes = (
        web.get("/.well-known/openid-configuration", made.discovery),
        web.get("/keys", made.published),
        web.post("/token", made.token),
        web.get("/userinfo", made.described),
    )
    async with listening(*routes) as origin:
        made.url = origin
        yield made


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hostile_tokens(fake: FakeIssuer, **claims: Any) -> dict[str, str]:
    """ID tokens that nobody may believe, by what is wrong with them. `claims` make them right but for that."""
    now = int(fake.clock())
    right = fake.id_token(**claims)
    head, body, signature = right.split(".")
    hs256 = {"alg": "HS256", "kid": "one"}
    return {
        "alg none": fake.by_hand({"alg": "none"}, **claims),
        "alg None": fake.by_hand({"alg": "None"}, **claims),
        "alg nOnE with a kid": fake.by_hand({"alg": "nOnE", "kid": "one"}, **claims),
        "no alg": fake.by_hand({"kid": "one"}, signature=signature, **claims),
        "alg that is no text": fake.by_hand({"alg": ["RS256"], "kid": "one"}, signature=signature, **claims),
        "HMAC by the public key": fake.by_hand(hs256, secret=_RSA.as_pem(private=False), **claims),
        "HMAC by the client's secret": fake.by_hand(hs256, secret=b"s", **claims),
        "HMAC by nothing": fake.by_hand(hs256, secret=b"", **claims),
        "another key of the same id": fake.id_token(key=_OTHER, header={"kid": "one"}, **claims),
        "an unknown key": fake.id_token(key=_OTHER, **claims),
        "its own key in the header": fake.id_token(
            key=_OTHER, header={"kid": None, "jwk": _OTHER.as_dict(private=False)}, **claims
        ),
        "a key elsewhere": fake.id_token(key=_OTHER, header={"jku": f"{fake.url}/evil-keys"}, **claims),
        "a signature of something else": f"{head}.{part({'sub': 'mallory'})}.{signature}",
        "no signature": f"{head}.{body}.",
        "a cut signature": f"{head}.{body}.{signature[:-4]}",
        "another algorithm than the key's": fake.id_token(key=_EC, header={"kid": "one"}, **claims),
        "crit": fake.by_hand({"alg": "RS256", "kid": "one", "crit": ["exp"]}, signature=signature, **claims),
        "b64": fake.by_hand({"alg": "RS256", "kid": "one", "b64": False}, signature=signature, **claims),
        "wrong iss": fake.id_token(**{**claims, "iss": "https://evil.example"}),
        "iss with a slash": fake.id_token(**{**claims, "iss": fake.url + "/"}),
        "iss as a list": fake.id_token(**{**claims, "iss": [fake.url]}),
        "wrong aud": fake.id_token(**{**claims, "aud": "another-client"}),
        "aud of others": fake.id_token(**{**claims, "aud": ["another-client", "one-more"]}),
        "several aud without azp": fake.id_token(**{**claims, "aud": [CLIENT_ID, "another-client"]}),
        "azp of another": fake.id_token(**{**claims, "aud": [CLIENT_ID, "another-client"], "azp": "another-client"}),
        "one aud and azp of another": fake.id_token(**{**claims, "azp": "another-client"}),
        "expired": fake.id_token(**{**claims, "exp": now - 60, "iat": now - 400}),
        "exp of NaN": fake.id_token(**{**claims, "exp": float("nan")}),
        "exp without end": fake.id_token(**{**claims, "exp": float("inf")}),
        "exp as text": fake.id_token(**{**claims, "exp": str(now + 300)}),
        "no exp": fake.id_token(**{**claims, "exp": None}),
        "no iat": fake.id_token(**{**claims, "iat": None}),
        "no aud": fake.id_token(**{**claims, "aud": None}),
        "no iss": fake.id_token(**{**claims, "iss": None}),
        "no sub": fake.id_token(**{**claims, "sub": None}),
        "from the future": fake.id_token(**{**claims, "iat": now + 3600, "exp": now + 7200}),
        "not yet": fake.id_token(**{**claims, "nbf": now + 3600}),
        "sub of nothing": fake.id_token(**{**claims, "sub": ""}),
        "sub with a control character": fake.id_token(**{**claims, "sub": "ada\x00"}),
        "sub too long": fake.id_token(**{**claims, "sub": "a" * 256}),
        "sub as a number": fake.id_token(**{**claims, "sub": 7}),
        "an access token": fake.id_token(header={"typ": "at+jwt"}, **claims),
        "a logout token": fake.id_token(
            **claims, events={"http://schemas.openid.net/event/backchannel-logout": {}}
        ),
        "a list for claims": f"{head}.{part([1])}.{signature}",
        "four parts": right + ".x",
        "two parts": f"{head}.{body}",
        "very long": fake.id_token(**{**claims, "x": "x" * 20_000}),
        "nothing": " ",
        "no token at all": "sk_live_gw_x",
    }
