"""Token requests are what the definition says, and each answer means one of four things."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from oauth.connections import Credential
from oauth.http_port import ANSWER_LIMIT, HttpAnswer, HttpRequest, Unreached
from oauth.secret import Secret
from oauth.token_answers import ClientRefused, GrantDead, TokenError, Transient
from oauth.tokens import exchange_code, own_token, refresh, revoke
from tests.oauth.ends import NOW, AiohttpHttp, Says, TokenEndpoint, provider_at, token_endpoint, way_out

OLD = Credential(token=Secret("old-at"), refresh_token=Secret("old-rt"), expires_at=NOW - 5, issued_at=NOW - 3605)
GOOD = {"access_token": "new-at", "token_type": "Bearer", "expires_in": 3600}


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as started:
        yield started


@pytest.fixture
async def http() -> AsyncIterator[AiohttpHttp]:
    async with way_out() as made:
        yield made


async def test_a_code_is_exchanged_with_its_verifier(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD | {"refresh_token": "new-rt", "scope": "read write"}))
    granted = await exchange_code(http, provider_at(endpoint.url), Secret("the-code"), Secret("v" * 43), now=NOW)
    assert granted.credential.token == Secret("new-at")
    assert granted.credential.refresh_token == Secret("new-rt")
    assert granted.credential.expires_at == NOW + 3600
    assert granted.credential.issued_at == NOW
    assert granted.scopes == ("read", "write")
    (seen,) = endpoint.seen
    assert seen.form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "redirect_uri": "http://127.0.0.1:9/oauth/callback/demo",
        "code_verifier": "v" * 43,
        "client_id": "gateway",
        "client_secret": "gateway-secret",
    }
    assert seen.headers["Accept"] == "application/json"
    assert seen.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in seen.headers


async def test_a_refresh_sends_no_scope_and_keeps_the_old_refresh_token(
    endpoint: TokenEndpoint, http: AiohttpHttp
) -> None:
    endpoint.plan(Says.json(GOOD), Says.json(GOOD | {"refresh_token": None}), Says.json(GOOD | {"refresh_token": ""}))
    provider = provider_at(endpoint.url, scopes=("read",))
    for _ in range(3):
        granted = await refresh(http, provider, OLD, now=NOW)
        assert granted.credential.token == Secret("new-at")
        assert granted.credential.refresh_token == Secret("old-rt")
        assert granted.scopes is None
    assert endpoint.seen[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": "old-rt",
        "client_id": "gateway",
        "client_secret": "gateway-secret",
    }


async def test_a_refresh_goes_where_and_as_the_definition_says(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD))
    provider = provider_at(
        endpoint.url,
        refresh_url=f"{endpoint.url}/refresh",
        refresh_params={
            "scope": "read",
            "redirect_uri": "{redirect_uri}",
            "grant_type": "",
            "type": "refresh",
        },
        token_headers={"Accept": "application/vnd.demo+json", "X-Version": "2"},
    )
    await refresh(http, provider, OLD, now=NOW)
    (seen,) = endpoint.seen
    assert seen.path == "/refresh"
    assert seen.form["scope"] == "read"
    assert seen.form["redirect_uri"] == "http://127.0.0.1:9/oauth/callback/demo"
    assert seen.form["type"] == "refresh"
    assert "grant_type" not in seen.form
    assert (seen.headers["Accept"], seen.headers["X-Version"]) == ("application/vnd.demo+json", "2")


async def test_fields_of_the_old_credential_survive_a_refresh(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    old = Credential(
        refresh_token=Secret("old-rt"), client_id="c", client_secret=Secret("s"), fields={"pin": Secret("1")}
    )
    endpoint.plan(Says.json(GOOD))
    new = (await refresh(http, provider_at(endpoint.url), old, now=NOW)).credential
    assert (new.client_id, new.client_secret, new.fields) == ("c", Secret("s"), {"pin": Secret("1")})


async def test_without_a_refresh_token_nothing_is_asked(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    with pytest.raises(GrantDead, match="no_refresh_token"):
        await refresh(http, provider_at(endpoint.url), Credential(token=Secret("at")), now=NOW)
    assert endpoint.seen == []


async def test_client_credentials_ask_for_the_scopes(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD), Says.json(GOOD))
    provider = provider_at(
        endpoint.url, grant="client_credentials", scopes=("a", "b"), separator=",", token_params={"audience": "api"}
    )
    await own_token(http, provider, now=NOW)
    await own_token(http, replace(provider, scopes=()), now=NOW)
    first, second = (seen.form for seen in endpoint.seen)
    assert (first["grant_type"], first["scope"], first["audience"]) == ("client_credentials", "a,b", "api")
    assert "scope" not in second


async def test_basic_form_encodes_id_and_secret_and_sends_neither_in_the_body(
    endpoint: TokenEndpoint, http: AiohttpHttp
) -> None:
    endpoint.plan(Says.json(GOOD))
    provider = provider_at(endpoint.url, token_auth="basic", client_id="a:b", client_secret=Secret("p+ä %:"))
    await refresh(http, provider, OLD, now=NOW)
    (seen,) = endpoint.seen
    scheme, _, encoded = seen.headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    pair = base64.b64decode(encoded).decode().split(":")
    assert [unquote_plus(part) for part in pair] == ["a:b", "p+ä %:"]
    assert set(seen.form) == {"grant_type", "refresh_token"}


async def test_a_public_client_sends_its_id_alone(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD))
    await refresh(http, provider_at(endpoint.url, token_auth="none"), OLD, now=NOW)
    assert endpoint.seen[0].form["client_id"] == "gateway"
    assert "gateway-secret" not in endpoint.seen[0].body + str(endpoint.seen[0].headers)


async def test_a_json_body_is_json(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD))
    provider = provider_at(endpoint.url, token_body="json", token_auth="basic")
    await exchange_code(http, provider, Secret("c"), None, now=NOW)
    (seen,) = endpoint.seen
    assert seen.headers["Content-Type"] == "application/json"
    assert json.loads(seen.body) == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "http://127.0.0.1:9/oauth/callback/demo",
    }


@pytest.mark.parametrize("issuer", [None, "https://as.example"])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384"])
async def test_an_assertion_is_signed_for_this_server_alone(
    endpoint: TokenEndpoint, http: AiohttpHttp, algorithm: str, issuer: str | None
) -> None:
    keys: dict[str, Any] = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }
    pem = keys[algorithm]().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    endpoint.plan(Says.json(GOOD), Says.json(GOOD))
    provider = provider_at(
        endpoint.url,
        token_auth="private_key_jwt",
        client_secret=None,
        issuer=issuer,
        private_key=Secret(pem.decode()),
        key_id="key-1",
    )
    for _ in range(2):
        await refresh(http, provider, OLD, now=NOW)
    key = RSAKey.import_key(pem) if algorithm == "RS256" else ECKey.import_key(pem)
    tokens = [jwt.decode(seen.form["client_assertion"], key, algorithms=[algorithm]) for seen in endpoint.seen]
    assert tokens[0].header["kid"] == "key-1"
    assert tokens[0].claims["aud"] == (issuer or f"{endpoint.url}/token")
    assert tokens[0].claims["iss"] == tokens[0].claims["sub"] == "gateway"
    assert 0 < tokens[0].claims["exp"] - tokens[0].claims["iat"] <= 300
    assert tokens[0].claims["jti"] != tokens[1].claims["jti"]
    form = endpoint.seen[0].form
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in form


@pytest.mark.parametrize(
    "pem", [None, "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "ed25519"]
)
async def test_a_key_that_cannot_sign_is_the_operators(
    endpoint: TokenEndpoint, http: AiohttpHttp, pem: str | None
) -> None:
    if pem == "ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    provider = provider_at(endpoint.url, token_auth="private_key_jwt", private_key=Secret(pem) if pem else None)
    with pytest.raises(ClientRefused) as caught:
        await refresh(http, provider, OLD, now=NOW)
    assert caught.value.reason.startswith("private_key_")
    assert endpoint.seen == []


def lifetime(value: Any) -> dict[str, Any]:
    return {"access_token": "new-at", "expires_in": value}


#: name -> answer, seconds until it expires, granted scopes
GRANTED: dict[str, tuple[Says, float | None, tuple[str, ...] | None]] = {
    "plain": (Says.json(GOOD), 3600, None),
    "bearer in lower case": (Says.json(GOOD | {"token_type": "bearer"}), 3600, None),
    "a token type of its own": (Says.json(GOOD | {"token_type": "bot"}), 3600, None),
    "no token type": (Says.json({"access_token": "new-at"}), None, None),
    "expires_in as a string": (Says.json(lifetime("1800")), 1800, None),
    "expires_in as a fraction": (Says.json(lifetime(1800.5)), 1800.5, None),
    "expires_in null": (Says.json(lifetime(None)), None, None),
    "expires_in zero": (Says.json(lifetime(0)), None, None),
    "expires_in negative": (Says.json(lifetime(-1)), None, None),
    "expires_in huge": (Says.json(lifetime(10**400)), None, None),
    "expires_in overflowing": (Says(body=b'{"access_token": "new-at", "expires_in": 1e999}'), None, None),
    "expires_in a word": (Says.json(lifetime("never")), None, None),
    "expires_in nan as a string": (Says.json(lifetime("NaN")), None, None),
    "expires_in true": (Says.json(lifetime(True)), None, None),
    "expires_in a list": (Says.json(lifetime([3600])), None, None),
    "scopes by space": (Says.json(GOOD | {"scope": "read  write read"}), 3600, ("read", "write")),
    "scopes as a list": (Says.json(GOOD | {"scope": ["read", "write"]}), 3600, ("read", "write")),
    "scope empty": (Says.json(GOOD | {"scope": ""}), 3600, None),
    "scope null": (Says.json(GOOD | {"scope": None}), 3600, None),
    "scope a number": (Says.json(GOOD | {"scope": 7}), 3600, None),
    "another scope than asked": (Says.json(GOOD | {"scope": "less"}), 3600, ("less",)),
    "form-encoded": (
        Says(body=b"access_token=new-at&scope=repo&token_type=bearer", headers={"Content-Type": "text/plain"}),
        None,
        ("repo",),
    ),
    "form-encoded with expiry": (Says(body=b"access_token=new-at&expires_in=60"), 60, None),
    "byte order mark": (Says(body=b"\xef\xbb\xbf" + json.dumps(GOOD).encode()), 3600, None),
    "json as text/html": (
        Says(body=json.dumps(GOOD).encode(), headers={"Content-Type": "text/html"}),
        3600,
        None,
    ),
    "201": (Says.json(GOOD, 201), 3600, None),
    "error null": (Says.json(GOOD | {"error": None}), 3600, None),
    "ok true": (Says.json(GOOD | {"ok": True}), 3600, None),
}


@pytest.mark.parametrize("name", GRANTED)
async def test_a_grant_is_understood(endpoint: TokenEndpoint, http: AiohttpHttp, name: str) -> None:
    says, seconds, scopes = GRANTED[name]
    endpoint.plan(says)
    granted = await refresh(http, provider_at(endpoint.url), OLD, now=NOW)
    assert granted.credential.token == Secret("new-at")
    assert granted.credential.expires_at == (None if seconds is None else NOW + seconds)
    assert granted.scopes == scopes


X_REFUSAL = {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}
ATLASSIAN_REFUSAL = {"error": "unauthorized_client", "error_description": "refresh_token is invalid"}
STRAVA_REFUSAL = {
    "message": "Bad Request",
    "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}],
}
META_REFUSAL = {"error": {"message": "Session has expired", "type": "OAuthException", "code": 190}}

#: name -> answer, what it means, the reason
REFUSED: dict[str, tuple[Says, type[TokenError], str]] = {
    "invalid_grant": (Says.json({"error": "invalid_grant"}, 400), GrantDead, "invalid_grant"),
    "invalid_grant as 401": (Says.json({"error": "invalid_grant"}, 401), GrantDead, "invalid_grant"),
    "invalid_grant as 403": (Says.json({"error": "invalid_grant"}, 403), GrantDead, "invalid_grant"),
    "invalid_grant as a form": (Says(status=400, body=b"error=invalid_grant"), GrantDead, "invalid_grant"),
    "github 200": (Says.json({"error": "bad_refresh_token"}), GrantDead, "bad_refresh_token"),
    "github 200 as a form": (
        Says(body=b"error=bad_verification_code&error_description=x"),
        GrantDead,
        "bad_verification_code",
    ),
    "slack ok false": (
        Says.json({"ok": False, "error": "invalid_refresh_token"}),
        GrantDead,
        "invalid_refresh_token",
    ),
    "slack revoked": (Says.json({"ok": False, "error": "token_revoked"}), GrantDead, "token_revoked"),
    "microsoft": (Says.json({"error": "interaction_required"}, 400), GrantDead, "interaction_required"),
    "hubspot": (Says.json({"status": "BAD_REFRESH_TOKEN"}, 400), GrantDead, "bad_refresh_token"),
    "zoho 200": (Says.json({"error": "invalid_code"}), GrantDead, "invalid_code"),
    "x": (Says.json(X_REFUSAL, 400), GrantDead, "invalid_grant"),
    "atlassian": (Says.json(ATLASSIAN_REFUSAL, 403), GrantDead, "invalid_grant"),
    "strava": (Says.json(STRAVA_REFUSAL, 400), GrantDead, "invalid_grant"),
    "meta": (Says.json(META_REFUSAL, 400), GrantDead, "invalid_grant"),
    "twitch": (
        Says.json({"status": 400, "message": "Invalid refresh token"}, 400),
        GrantDead,
        "invalid_refresh_token",
    ),
    "fitbit": (Says.json({"errors": [{"errorType": "invalid_grant"}]}, 400), GrantDead, "invalid_grant"),
    "invalid_client": (Says.json({"error": "invalid_client"}, 401), ClientRefused, "invalid_client"),
    "unauthorized_client": (
        Says.json({"error": "unauthorized_client"}, 400),
        ClientRefused,
        "unauthorized_client",
    ),
    "invalid_scope": (Says.json({"error": "invalid_scope"}, 400), ClientRefused, "invalid_scope"),
    "invalid_request": (Says.json({"error": "invalid_request"}, 400), ClientRefused, "invalid_request"),
    "github client": (
        Says.json({"error": "incorrect_client_credentials"}),
        ClientRefused,
        "incorrect_client_credentials",
    ),
    "slack client": (
        Says.json({"ok": False, "error": "bad_client_secret"}),
        ClientRefused,
        "bad_client_secret",
    ),
    "mac token": (Says.json(GOOD | {"token_type": "mac"}), ClientRefused, "unusable_token_type"),
    "dpop token": (Says.json(GOOD | {"token_type": "DPoP"}), ClientRefused, "unusable_token_type"),
    "500": (Says(status=500, body=b"oops"), Transient, "http_500"),
    "500 with invalid_grant": (Says.json({"error": "invalid_grant"}, 500), Transient, "http_500"),
    "503": (Says(status=503), Transient, "http_503"),
    "429 with invalid_grant": (Says.json({"error": "invalid_grant"}, 429), Transient, "http_429"),
    "408": (Says(status=408), Transient, "http_408"),
    "425": (Says(status=425), Transient, "http_425"),
    "html 200": (
        Says(body=b"<html>Sign in</html>", headers={"Content-Type": "text/html"}),
        Transient,
        "answer_not_understood",
    ),
    "html 400": (Says(status=400, body=b"<h1>Bad Request</h1>"), Transient, "answer_not_understood"),
    "html 404": (Says(status=404, body=b"<h1>Not Found</h1>"), Transient, "answer_not_understood"),
    "empty 200": (Says(), Transient, "answer_not_understood"),
    "204": (Says(status=204), Transient, "answer_not_understood"),
    "redirect": (Says(status=302, headers={"Location": "/elsewhere"}), Transient, "redirected"),
    "busy": (Says.json({"error": "temporarily_unavailable"}, 400), Transient, "unknown_error"),
    "busy with 200": (Says.json({"error": "temporarily_unavailable"}), Transient, "unknown_error"),
    "slack rate": (Says.json({"ok": False, "error": "ratelimited"}), Transient, "unknown_error"),
    "ok false alone": (Says.json({"ok": False}), Transient, "answer_not_understood"),
    "an unknown error": (Says.json({"error": "s3cret\nword"}, 400), Transient, "unknown_error"),
    "no token": (Says.json({"token_type": "Bearer"}), Transient, "no_token_in_answer"),
    "token null": (Says.json({"access_token": None}), Transient, "no_token_in_answer"),
    "token empty": (Says.json({"access_token": ""}), Transient, "no_token_in_answer"),
    "token a number": (Says.json({"access_token": 7}), Transient, "no_token_in_answer"),
    "token an object": (Says.json({"access_token": {"a": 1}}), Transient, "no_token_in_answer"),
    "token with a line break": (
        Says.json({"access_token": "a\r\nX-Evil: 1"}),
        Transient,
        "no_token_in_answer",
    ),
    "token not ascii": (Says.json({"access_token": "ключ"}), Transient, "no_token_in_answer"),
    "token and error": (Says.json(GOOD | {"error": "odd"}), Transient, "unknown_error"),
    "a list": (Says.json([GOOD]), Transient, "answer_not_understood"),
    "a string": (Says.json("new-at"), Transient, "answer_not_understood"),
    "not utf-8": (Says(body=b'{"access_token": "\xff"}'), Transient, "answer_not_understood"),
    "nan": (Says(body=b'{"access_token": "new-at", "expires_in": NaN}'), Transient, "answer_not_understood"),
    "cut off": (Says(body=b'{"access_token": "new-'), Transient, "answer_not_understood"),
    "deep": (Says(body=b"[" * 100_000), Transient, "answer_not_understood"),
    "5 MB": (Says(body=b" " * 5_000_000 + json.dumps(GOOD).encode()), Transient, "answer_too_large"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_is_understood(endpoint: TokenEndpoint, http: AiohttpHttp, name: str) -> None:
    says, kind, reason = REFUSED[name]
    endpoint.plan(says)
    with pytest.raises(TokenError) as caught:
        await refresh(http, provider_at(endpoint.url), OLD, now=NOW)
    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert len(endpoint.seen) == 1


def test_more_than_25_shapes_are_told_apart() -> None:
    assert len(GRANTED) + len(REFUSED) > 80


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999999", 3600.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
    ],
)
async def test_retry_after_is_read_and_capped(
    endpoint: TokenEndpoint, http: AiohttpHttp, value: str, seconds: float | None
) -> None:
    endpoint.plan(Says.json({"error": "slow_down"}, 429, Retry_After=value))
    with pytest.raises(Transient) as caught:
        await refresh(http, provider_at(endpoint.url), OLD, now=NOW)
    assert caught.value.retry_after == seconds


async def test_the_provider_s_separator_splits_the_granted_scopes(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(*[Says.json(GOOD | {"scope": "read:user, repo"})] * 2)
    for quirk in ({"answer_separator": ","}, {"separator": ","}):
        granted = await refresh(http, provider_at(endpoint.url, **quirk), OLD, now=NOW)
        assert granted.scopes == ("read:user", "repo")


async def test_a_nested_token_is_found_with_its_own_lifetime(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    user = {
        "id": "U1",
        "access_token": "xoxp-1",
        "refresh_token": "xoxe-1",
        "expires_in": 43200,
        "scope": "chat:write",
    }
    answer = {"ok": True, "access_token": "xoxb-1", "expires_in": 1, "scope": "bot", "authed_user": user}
    endpoint.plan(Says.json(answer), Says.json({"ok": True, "access_token": "xoxb-1"}))
    provider = provider_at(endpoint.url, token_path="authed_user", separator=",")
    granted = await exchange_code(http, provider, Secret("c"), None, now=NOW)
    assert granted.credential.token == Secret("xoxp-1")
    assert granted.credential.refresh_token == Secret("xoxe-1")
    assert granted.credential.expires_at == NOW + 43200
    assert granted.scopes == ("chat:write",)
    with pytest.raises(Transient, match="no_token_in_answer"):
        await exchange_code(http, provider, Secret("c"), None, now=NOW)


async def test_connection_fields_are_copied_from_the_answer(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    team = {
        "team": {"id": 42},
        "instance_url": "https://na1.example",
        "flag": True,
        "evil": "a\nb",
        "long": "x" * 5000,
    }
    endpoint.plan(Says.json(GOOD | team))
    paths = {
        "instance": "instance_url",
        "team": "team.id",
        "flag": "flag",
        "evil": "evil",
        "long": "long",
        "gone": "nothing.here",
        "odd": "length(team.id)",
    }
    granted = await refresh(http, provider_at(endpoint.url, copy_from_token=paths), OLD, now=NOW)
    assert granted.fields == {"instance": "https://na1.example", "team": "42"}


async def test_a_lifetime_from_the_definition_fills_in_for_a_missing_one(
    endpoint: TokenEndpoint, http: AiohttpHttp
) -> None:
    endpoint.plan(Says.json({"access_token": "a"}), Says.json({"access_token": "a", "expires_in": 60}))
    provider = provider_at(endpoint.url, lifetime=7200)
    assert (await refresh(http, provider, OLD, now=NOW)).credential.expires_at == NOW + 7200
    assert (await refresh(http, provider, OLD, now=NOW)).credential.expires_at == NOW + 60


async def test_an_endpoint_that_is_not_there_is_transient(http: AiohttpHttp) -> None:
    async with token_endpoint() as gone:
        url = gone.url
    with pytest.raises(Transient, match="not_reached"):
        await refresh(http, provider_at(url), OLD, now=NOW)


async def test_an_endpoint_that_hangs_is_transient(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.gate.clear()
    with pytest.raises(Transient, match="no_answer"):
        await refresh(http, provider_at(endpoint.url, timeout=0.05), OLD, now=NOW)


async def test_a_way_out_that_hangs_is_given_up() -> None:
    class Hangs:
        async def exchange(self, request: HttpRequest) -> HttpAnswer:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(Transient, match="no_answer"):
        await refresh(Hangs(), provider_at("http://127.0.0.1:9", timeout=-0.95), OLD, now=NOW)


async def test_both_tokens_are_revoked_as_the_client(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    assert await revoke(http, provider_at(endpoint.url), OLD) is True
    told = [(seen.path, seen.form["token"], seen.form["token_type_hint"]) for seen in endpoint.seen]
    assert told == [("/revoke", "old-rt", "refresh_token"), ("/revoke", "old-at", "access_token")]
    assert all(seen.form["client_secret"] == "gateway-secret" for seen in endpoint.seen)


async def test_without_a_revocation_endpoint_nothing_is_asked(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    assert await revoke(http, provider_at(endpoint.url, revocation_url=None), OLD) is False
    assert endpoint.seen == []


@pytest.mark.parametrize("error", ["unsupported_token_type", "invalid_grant"])
async def test_a_token_that_cannot_be_or_is_already_revoked_is_no_failure(
    endpoint: TokenEndpoint, http: AiohttpHttp, error: str
) -> None:
    endpoint.plan(Says.json({"error": error}, 400))
    assert await revoke(http, provider_at(endpoint.url), OLD) is True
    assert len(endpoint.seen) == 2


async def test_a_failed_revocation_says_so_after_both_were_tried(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says(status=503, headers={"Retry-After": "9"}))
    with pytest.raises(Transient) as caught:
        await revoke(http, provider_at(endpoint.url), OLD)
    assert (caught.value.reason, caught.value.retry_after) == ("http_503", 9.0)
    assert len(endpoint.seen) == 2
    endpoint.plan(Says.json({"error": "invalid_client"}, 401))
    with pytest.raises(ClientRefused):
        await revoke(http, provider_at(endpoint.url), OLD)


async def test_no_request_answer_or_error_shows_a_secret(endpoint: TokenEndpoint) -> None:
    shown: list[str] = []

    class Notes:
        async def exchange(self, request: HttpRequest) -> HttpAnswer:
            shown.append(repr(request))
            answer = HttpAnswer(
                status=400, headers={}, body=b'{"error": "xx", "error_description": "old-rt gateway-secret"}'
            )
            shown.append(repr(answer))
            return answer

    provider = provider_at("http://127.0.0.1:9", token_auth="basic", private_key=Secret("pem"))
    with pytest.raises(TokenError) as caught:
        await refresh(Notes(), provider, OLD, now=NOW)
    shown += [repr(caught.value), str(caught.value), repr(provider), repr(OLD)]
    text = " ".join(shown)
    assert len(shown) == 6
    for secret in (
        "old-rt",
        "old-at",
        "gateway-secret",
        "pem'",
        base64.b64encode(b"gateway:gateway-secret").decode(),
    ):
        assert secret not in text


async def test_an_answer_of_the_limit_is_read_whole(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    body = json.dumps(GOOD).encode()
    endpoint.plan(Says(body=b" " * (ANSWER_LIMIT - len(body)) + body))
    assert (await refresh(http, provider_at(endpoint.url), OLD, now=NOW)).credential.token == Secret("new-at")


def test_an_unreached_server_says_whether_the_request_left() -> None:
    assert "not sent" in str(Unreached(sent=False))
    assert "after" in str(Unreached(sent=True))


# -- what a definition may say of a token request ---------------------------------------------------


async def test_a_token_may_be_asked_for_with_a_get(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD))
    provider = provider_at(
        endpoint.url, grant="session", token_auth="none", token_method="GET", token_url=f"{endpoint.url}/login?v=1",
        fields={"user": "a b", "password": "p&q=+"}, token_params={"u": "{user}", "p": "{password}", "empty": "{gone}"},
    )  # fmt: skip
    await own_token(http, provider, now=NOW)
    (seen,) = endpoint.seen
    assert (seen.method, seen.path, seen.query, seen.body) == ("GET", "/login", "v=1&u=a%20b&p=p%26q%3D%2B", "")


async def test_params_are_filled_in_once_and_only_with_what_is_known(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    endpoint.plan(Says.json(GOOD))
    provider = provider_at(
        endpoint.url,
        grant="session",
        token_auth="none",
        token_body="json",
        token_headers={"X-User": "{user}"},
        fields={"user": "{password}", "password": "{client_id}"},
        token_params={"a": {"b": ["{user}", 7, True, "{{user}}"]}, "c": "{client_id}/{scopes}"},
        scopes=("x", "y"),
        always=("z",),
    )
    await own_token(http, provider, now=NOW)
    (seen,) = endpoint.seen
    assert json.loads(seen.body) == {"a": {"b": ["{password}", 7, True, "{{password}}"]}, "c": "gateway/x y z"}
    assert seen.headers["X-User"] == "{password}"


async def test_a_field_that_would_begin_a_header_of_a_token_request_is_not_sent(
    endpoint: TokenEndpoint, http: AiohttpHttp
) -> None:
    provider = provider_at(
        endpoint.url, grant="session", token_headers={"X-User": "{user}"}, fields={"user": "a\r\nX-Evil: 1"}
    )
    with pytest.raises(ClientRefused, match="unusable_header"):
        await own_token(http, provider, now=NOW)
    assert endpoint.seen == []


@pytest.mark.parametrize(
    ("until", "left"),
    [
        (NOW + 600, 600), (str(int(NOW) + 600), 600), ((NOW + 600) * 1000, 600),
        ("2027-01-15T08:10:00Z", 600), ("2027-01-15T09:10:00+01:00", 600), ("2027-01-15T08:10:00", 600),
        ("soon", None), (None, None), (True, None), (NOW - 5, None), ("9" * 40, None), (1e300, None), ([], None),
    ],
)  # fmt: skip
async def test_an_answer_may_name_the_moment_of_the_end(
    endpoint: TokenEndpoint, http: AiohttpHttp, until: Any, left: float | None
) -> None:
    endpoint.plan(Says.json({"data": {"jwt": "t-1", "meta": {"until": until}, "old": "r-1"}}))
    provider = provider_at(
        endpoint.url,
        grant="session",
        token_path="data",
        token_answer={"access_token": "jwt", "expires_at": "meta.until", "refresh_token": "old"},
    )
    granted = (await own_token(http, provider, now=NOW)).credential
    assert (granted.token, granted.refresh_token) == (Secret("t-1"), Secret("r-1"))
    assert granted.expires_at == (None if left is None else pytest.approx(NOW + left, abs=1))


async def test_a_key_signs_for_the_token_url_unless_it_is_told_for_whom(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    pem = Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    provider = provider_at(endpoint.url, grant="jwt_bearer", private_key=pem, claims={"iss": "{client_id}", "sub": "{gone}"})
    for claims, aud in (({}, f"{endpoint.url}/token"), ({"aud": ["a", "b"], "exp": 7}, ["a", "b"])):
        endpoint.plan(Says.json(GOOD))
        await own_token(http, replace(provider, claims={**provider.claims, **claims}), now=NOW)
        form = endpoint.seen[-1].form
        # A client that there is proves itself beside the key.
        assert form["client_secret"] == "gateway-secret"
        token = jwt.decode(form["assertion"], ECKey.import_key(pem.reveal()), algorithms=["ES384"])
        assert (token.claims["aud"], token.claims["iss"], "sub" in token.claims) == (aud, "gateway", False)
        assert ("exp" in claims) == (token.claims["exp"] == 7)


async def test_a_grant_without_a_key_asks_nobody(endpoint: TokenEndpoint, http: AiohttpHttp) -> None:
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in (None, Secret("no key"), Secret(other.decode())):
        with pytest.raises(ClientRefused):
            await own_token(http, provider_at(endpoint.url, grant="jwt_bearer", private_key=key), now=NOW)
    assert endpoint.seen == []
