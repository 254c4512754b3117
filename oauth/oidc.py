"""OpenID Connect, as much as signing in takes: discovery, signing keys, and what an ID token must be to be believed.

Nothing here opens a socket: `Http` does, through the same door as every upstream request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jwt import JWTClaimsRegistry

from oauth.flow import shown
from oauth.http_port import ANSWER_LIMIT, Http, HttpAnswer, HttpRequest, Unreached
from oauth.provider import Provider
from oauth.secret import Secret

log = logging.getLogger("skillway.sign_in")

SCOPES = ("openid", "email", "profile")
#: Signatures by a key that the issuer alone has: no `none`, and no HMAC, whose key we would have too.
ALGORITHMS: Mapping[str, str] = {
    **{f"{family}{bits}": "RSA" for family in ("RS", "PS") for bits in (256, 384, 512)},
    **{f"ES{bits}": "EC" for bits in (256, 384, 512)},
    "Ed25519": "OKP",
}
#: Seconds that metadata and keys are believed, and that must lie between two looks for a key that is not among them.
_MEMORY = 3600.0
_LOOK_AGAIN = 30.0
#: Seconds that the issuer's clock may be apart from ours.
_LEEWAY = 30
_TIMEOUT = 15.0
#: Seconds for which an issuer that did not answer is not asked again.
_PAUSE = 5.0
_MOST_KEYS = 64
_LONGEST_TOKEN = 16 * 1024
#: Characters of an RSA modulus of 2048 bits in base64url.
_SHORTEST_MODULUS = 342

#: How an access token says what it is (RFC 9068 §4).
_ACCESS = ("AT+JWT", "APPLICATION/AT+JWT")

Key = RSAKey | ECKey | OKPKey
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who somebody is, as an issuer says it."""

    issuer: str
    subject: str
    #: Only one that the issuer has verified.
    email: str | None = None
    name: str | None = None


class IdTokenRefused(Exception):
    """An ID token that is not believed. `reason` is a stable word of ours; nothing of the token is in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class IssuerUnusable(Exception):
    """The issuer cannot be reached, or says what cannot be right; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    authorization_url: str
    token_url: str
    keys_url: str
    userinfo_url: str | None
    token_auth: Sequence[str]
    names_itself: bool


class OpenIdProvider:
    """One issuer, and our client there. What it publishes is fetched when it is first needed, and kept an hour."""

    def __init__(
        self, http: Http, *, issuer: str, client_id: str, client_secret: Secret | None, clock: Callable[[], float]
    ) -> None:
        self.issuer = issuer
        self._http = http
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._metadata: tuple[float, _Metadata] | None = None
        self._keys: tuple[float, Sequence[tuple[Mapping[str, Any], Key]]] | None = None
        self._down: tuple[float, IssuerUnusable] | None = None
        self._fetching = asyncio.Lock()

    async def provider(self, redirect_uri: str) -> Provider:
        """The authorization server. Raises `IssuerUnusable`."""
        known = await self._known()
        return Provider(
            token_url=known.token_url,
            client_id=self._client_id,
            client_secret=self._client_secret,
            authorization_url=known.authorization_url,
            redirect_uri=redirect_uri,
            # RFC 9207 §3: who says that it names itself must.
            issuer=self.issuer if known.names_itself else None,
            token_auth="basic" if "client_secret_basic" in known.token_auth else "post",
            timeout=_TIMEOUT,
        )

    async def identity(self, id_token: str, *, nonce: str | None) -> Identity:
        """Whoever the token is about (OpenID Connect Core §3.1.3.7). Raises `IdTokenRefused` or `IssuerUnusable`.

        A nonce of None is that of a token which came by itself, not by a flow of ours.
        """
        header = _header(id_token)
        claims = _verified(id_token, await self._key(header))
        self._check(claims, self._client_id)
        self._check_given_to_us(claims)
        if nonce is not None and claims.get("nonce") != nonce:
            raise IdTokenRefused("wrong_nonce")
        return _identity(self.issuer, claims)

    async def bearer(self, access_token: str, *, audience: str) -> Identity:
        """Whoever an access token is about that was made for `audience` (RFC 9068 §4). Raises as `identity` does."""
        header = _header(access_token, _ACCESS)
        claims = _verified(access_token, await self._key(header))
        self._check(claims, audience)
        return _identity(self.issuer, claims)

    def is_ours(self, token: str) -> bool:
        """Whether a text says of itself that it is a token of this issuer; nothing of it is believed yet."""
        try:
            return len(token) <= _LONGEST_TOKEN and _parsed(token.split(".")[1]).get("iss") == self.issuer
        except (IndexError, IdTokenRefused):
            return False

    async def described(self, identity: Identity, access_token: Secret) -> Identity:
        """The same with a verified email address and a name, where only the userinfo endpoint says them (§5.3)."""
        known = await self._known()
        if identity.email is not None or known.userinfo_url is None:
            return identity
        claims = await self._fetch(known.userinfo_url, bearer=access_token)
        if claims.get("sub") != identity.subject:
            # §5.3.2: it may be about somebody else.
            raise IdTokenRefused("wrong_subject")
        told = _identity(self.issuer, claims)
        return replace(identity, email=told.email, name=identity.name or told.name)

    def _check(self, claims: Mapping[str, Any], audience: str) -> None:
        registry = JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            registry.validate(dict(claims))
        except ExpiredTokenError:
            raise IdTokenRefused("expired") from None
        except (InvalidClaimError, MissingClaimError) as error:
            raise IdTokenRefused("bad_claims") from error
        if "events" in claims:
            # A logout token, which need not say so in its head.
            raise IdTokenRefused("other_kind")

    def _check_given_to_us(self, claims: Mapping[str, Any]) -> None:
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        # Made for several: then it says whom it was given to, and that must be us.
        if claims.get("azp", self._client_id if len(audiences) == 1 else None) != self._client_id:
            raise IdTokenRefused("wrong_azp")

    # -- what the issuer publishes ---------------------------------------------------------------------

    async def _known(self) -> _Metadata:
        async with self._fetching:
            if self._metadata is None or self._metadata[0] <= self._clock():
                self._metadata = self._clock() + _MEMORY, await self._asked(self._discover)
            return self._metadata[1]

    async def _discover(self) -> _Metadata:
        found = await self._fetch(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self.issuer:
            # RFC 8414 §3.3: exactly, or it is somebody else's.
            raise IssuerUnusable(f"it calls itself {str(found.get('issuer'))[:200]!r}")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return _Metadata(
            authorization_url=self._address(found, "authorization_endpoint"),
            token_url=self._address(found, "token_endpoint"),
            keys_url=self._address(found, "jwks_uri"),
            userinfo_url=self._address(found, "userinfo_endpoint") if found.get("userinfo_endpoint") else None,
            token_auth=methods if isinstance(methods, list) else (),
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _address(self, found: Mapping[str, Any], name: str) -> str:
        url = found.get(name)
        parts = urlsplit(url) if isinstance(url, str) else None
        # Only an issuer that is itself reached in the open may send us and the browser on in the open.
        allowed = ("https", "http") if self.issuer.startswith("http://") else ("https",)
        if not isinstance(url, str) or parts is None or parts.scheme not in allowed or not parts.hostname:
            raise IssuerUnusable(f"its {name} is not usable")
        return url

    async def _key(self, header: Mapping[str, Any]) -> Key:
        """The one key that may have signed. One that is not known is looked for once more, now and then."""
        known = await self._known()
        async with self._fetching:
            now = self._clock()
            if self._keys is None or self._keys[0] + _MEMORY <= now:
                self._keys = now, await self._asked(lambda: self._published(known.keys_url))
            fetched_at, keys = self._keys
            fitting = _fitting(keys, header)
            if not fitting and fetched_at + _LOOK_AGAIN <= now:
                self._keys = now, await self._asked(lambda: self._published(known.keys_url))
                fitting = _fitting(self._keys[1], header)
        if len(fitting) != 1:
            raise IdTokenRefused("unknown_key")
        return fitting[0]

    async def _published(self, url: str) -> Sequence[tuple[Mapping[str, Any], Key]]:
        return _keys(await self._fetch(url))

    async def _asked(self, fetch: Callable[[], Awaitable[T]]) -> T:
        """What the issuer publishes; where it did not answer a moment ago, nobody waits for it again."""
        if self._down is not None and self._down[0] > self._clock():
            raise self._down[1].with_traceback(None)
        try:
            found = await fetch()
        except IssuerUnusable as error:
            self._down = self._clock() + _PAUSE, error
            raise
        self._down = None
        return found

    async def _fetch(self, url: str, *, bearer: Secret | None = None) -> Mapping[str, Any]:
        headers = {"Accept": "application/json"}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer.reveal()}"
        try:
            async with asyncio.timeout(_TIMEOUT + 1):
                answer = await self._http.exchange(
                    HttpRequest(method="GET", url=url, headers=headers, body=b"", timeout=_TIMEOUT)
                )
        except (Unreached, TimeoutError) as error:
            raise IssuerUnusable(f"{url} cannot be reached: {error.__cause__ or error}") from error
        return _object(url, answer)


def _object(url: str, answer: HttpAnswer) -> Mapping[str, Any]:
    if answer.status != 200 or len(answer.body) > ANSWER_LIMIT:
        raise IssuerUnusable(f"{url} answered {answer.status} with {len(answer.body)} bytes")
    try:
        parsed = json.loads(answer.body)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise IssuerUnusable(f"{url} did not answer with a JSON object")
    return parsed


def _keys(found: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Key]]:
    """The public keys of a set; one that cannot be used is as if it was not there (RFC 7517 §5)."""
    listed = found.get("keys")
    usable: list[tuple[Mapping[str, Any], Key]] = []
    for described in listed[:_MOST_KEYS] if isinstance(listed, list) else ():
        key = _imported(described) if isinstance(described, dict) else None
        if key is not None:
            usable.append((described, key))
    return usable


def _imported(described: Mapping[str, Any]) -> Key | None:
    kind = described.get("kty")
    if described.get("use", "sig") != "sig":
        return None
    try:
        if kind == "RSA" and len(described["n"]) >= _SHORTEST_MODULUS:
            return RSAKey.import_key({name: described[name] for name in ("kty", "n", "e")})
        if kind == "EC":
            return ECKey.import_key({name: described[name] for name in ("kty", "crv", "x", "y")})
        if kind == "OKP":
            return OKPKey.import_key({name: described[name] for name in ("kty", "crv", "x")})
    except (JoseError, ValueError, TypeError, KeyError) as error:
        log.warning("a key of the OpenID provider is left out: %s", type(error).__name__)
    return None


def _fitting(keys: Sequence[tuple[Mapping[str, Any], Key]], header: Mapping[str, Any]) -> list[Key]:
    algorithm, kid = header["alg"], header.get("kid")
    return [
        key
        for described, key in keys
        if described["kty"] == ALGORITHMS[algorithm]
        and described.get("alg", algorithm) == algorithm
        and (kid is None or described.get("kid") == kid)
    ]


# -- the token -------------------------------------------------------------------------------------


def _header(token: str, kinds: tuple[str, ...] = ("JWT",)) -> Mapping[str, Any]:
    if len(token) > _LONGEST_TOKEN or not token.isascii() or token.count(".") != 2:
        raise IdTokenRefused("malformed")
    header = _parsed(token.split(".")[0])
    if header.get("alg") not in ALGORITHMS:
        raise IdTokenRefused("bad_algorithm")
    if "crit" in header or "b64" in header or not isinstance(header.get("kid", ""), str):
        # RFC 7515 §4.1.11: it must be understood, and nothing of the kind is.
        raise IdTokenRefused("malformed")
    if str(header.get("typ", "JWT")).upper() not in kinds:
        # RFC 9068 §4, OpenID Connect Back-Channel Logout §2.4: signed by the same keys for the same client, and another kind.
        raise IdTokenRefused("other_kind")
    return header


def _parsed(part: str) -> Mapping[str, Any]:
    try:
        value = json.loads(base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise IdTokenRefused("malformed") from None
    if not isinstance(value, dict) or not isinstance(value.get("alg", ""), str):
        raise IdTokenRefused("malformed")
    return value


def _verified(token: str, key: Key) -> Mapping[str, Any]:
    """The claims, if the key signed them. What else the header says (`jku`, `jwk`, …) is not looked at."""
    registry = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    try:
        jws.deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        raise IdTokenRefused("bad_signature") from None
    return _parsed(token.split(".")[1])


def _identity(issuer: str, claims: Mapping[str, Any]) -> Identity:
    subject, email, name = claims.get("sub"), claims.get("email"), claims.get("name") or claims.get("preferred_username")
    # OpenID Connect Core §2: at most 255 ASCII characters.
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isascii() or not subject.isprintable():
        raise IdTokenRefused("bad_sub")
    is_verified = claims.get("email_verified") is True and isinstance(email, str)
    return Identity(
        issuer=issuer,
        subject=subject,
        email=email if is_verified else None,
        name=(shown(name) or "")[:128] or None if isinstance(name, str) else None,
    )
