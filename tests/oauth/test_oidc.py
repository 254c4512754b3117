"""An ID token is believed when everything about it is right, and an issuer when it is who it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from oauth.oidc import Identity, IdTokenRefused, IssuerUnusable, OpenIdProvider
from oauth.secret import Secret
from tests.fakes.issuer import _EC, _OTHER, _RSA, CLIENT_ID, FakeIssuer, hostile_tokens, issuer, part
from tests.oauth.ends import AiohttpHttp, Clock, way_out


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fake(clock: Clock) -> AsyncIterator[FakeIssuer]:
    async with issuer(clock) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[AiohttpHttp]:
    async with way_out() as made:
        yield made


@pytest.fixture
def openid(fake: FakeIssuer, http: AiohttpHttp, clock: Clock) -> OpenIdProvider:
    return ours(fake.url, http, clock)


def ours(url: str, http: AiohttpHttp, clock: Clock) -> OpenIdProvider:
    return OpenIdProvider(http, issuer=url, client_id=CLIENT_ID, client_secret=Secret("s"), clock=clock)


async def test_a_right_token_says_who_it_is(fake: FakeIssuer, openid: OpenIdProvider) -> None:
    fake.claims = {"email": "Ada@Example.com", "email_verified": True, "name": "Ada\u202e Lovelace"}
    told = await openid.identity(fake.id_token(nonce="n"), nonce="n")
    assert told == Identity(issuer=fake.url, subject="ada", email="Ada@Example.com", name="Ada Lovelace")
    assert await openid.identity(fake.id_token(aud=[CLIENT_ID]), nonce=None) == told
    assert await openid.identity(fake.id_token(aud=[CLIENT_ID, "x"], azp=CLIENT_ID), nonce=None) == told
    fake.keys.append(_EC.as_dict(private=False))
    openid_again = ours(fake.url, openid._http, fake.clock)  # type: ignore[arg-type]
    assert await openid_again.identity(fake.id_token(key=_EC), nonce=None) == told


@pytest.mark.parametrize("said", [False, None, "true", 1, "false", [True]])
async def test_an_address_that_is_not_verified_is_none(fake: FakeIssuer, openid: OpenIdProvider, said: Any) -> None:
    token = fake.id_token(email="ada@example.com", email_verified=said)
    assert (await openid.identity(token, nonce=None)).email is None


async def test_no_hostile_token_is_believed(fake: FakeIssuer, openid: OpenIdProvider) -> None:
    assert (await openid.identity(fake.id_token(), nonce=None)).subject == "ada"
    for wrong, token in hostile_tokens(fake).items():
        with pytest.raises(IdTokenRefused):
            print(wrong, await openid.identity(token, nonce=None))
    assert "/evil-keys" not in fake.asked


async def test_a_token_of_another_flow_is_not_believed(fake: FakeIssuer, openid: OpenIdProvider) -> None:
    for nonce in (None, "", "other", ["n"], "N"):
        with pytest.raises(IdTokenRefused, match="wrong_nonce"):
            await openid.identity(fake.id_token(nonce=nonce), nonce="n")


async def test_a_key_that_is_new_is_looked_for_once_and_not_again_at_once(
    fake: FakeIssuer, openid: OpenIdProvider, clock: Clock
) -> None:
    await openid.identity(fake.id_token(), nonce=None)
    assert fake.asked.count("/keys") == 1
    fake.keys = [_OTHER.as_dict(private=False)]
    # Too soon: whoever sends tokens with made-up key ids makes us ask nobody.
    for _ in range(20):
        with pytest.raises(IdTokenRefused, match="unknown_key"):
            await openid.identity(fake.id_token(key=_OTHER), nonce=None)
    assert fake.asked.count("/keys") == 1
    clock.move(31)
    assert (await openid.identity(fake.id_token(key=_OTHER), nonce=None)).subject == "ada"
    with pytest.raises(IdTokenRefused, match="unknown_key"):
        await openid.identity(fake.id_token(), nonce=None)
    assert fake.asked.count("/keys") == 2
    assert fake.asked.count("/.well-known/openid-configuration") == 1


async def test_a_key_that_was_withdrawn_is_worth_nothing_within_the_hour(
    fake: FakeIssuer, openid: OpenIdProvider, clock: Clock
) -> None:
    await openid.identity(fake.id_token(), nonce=None)
    fake.keys = [_OTHER.as_dict(private=False)]
    clock.move(3601)
    with pytest.raises(IdTokenRefused, match="unknown_key"):
        await openid.identity(fake.id_token(), nonce=None)


async def test_keys_that_cannot_be_used_are_as_if_they_were_not_there(fake: FakeIssuer, openid: OpenIdProvider) -> None:
    small = {"kty": "RSA", "kid": "small", "n": part(b"\xff" * 128), "e": "AQAB"}
    odd: list[Any] = [
        {"kty": "oct", "kid": "one", "k": part(b"secret")}, {"kty": "RSA", "kid": "one"}, {"kty": "EC", "crv": "P-0"},
        {"kty": "OKP", "crv": "X25519", "x": "!"}, {"kty": "AKP", "kid": "pq"}, 7, None, "key", {}, small,
        {**_OTHER.as_dict(private=False), "kid": "one", "use": "enc"},
    ]  # fmt: skip
    fake.keys = [*odd, _RSA.as_dict(private=False)]
    assert (await openid.identity(fake.id_token(), nonce=None)).subject == "ada"
    # Without an id there must be one key alone that fits.
    assert (await openid.identity(fake.id_token(header={"kid": None}), nonce=None)).subject == "ada"
    with pytest.raises(IdTokenRefused):
        await openid.identity(fake.id_token(header={"kid": "small"}), nonce=None)


async def test_of_two_keys_that_fit_none_is_guessed(fake: FakeIssuer, openid: OpenIdProvider) -> None:
    fake.keys = [_RSA.as_dict(private=False), _OTHER.as_dict(private=False)]
    for key in (_RSA, _OTHER):
        assert (await openid.identity(fake.id_token(key=key), nonce=None)).subject == "ada"
    with pytest.raises(IdTokenRefused, match="unknown_key"):
        await openid.identity(fake.id_token(header={"kid": None}), nonce=None)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": "SLASH"},
        {"issuer": "UPPER"},
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
    ],
)
async def test_metadata_that_is_not_the_issuers_is_not_used(
    fake: FakeIssuer, openid: OpenIdProvider, change: dict[str, Any]
) -> None:
    """T97, RFC 8414 §3.3: the name is compared exactly."""
    spelled = {"SLASH": fake.url + "/", "UPPER": fake.url.upper()}
    fake.metadata = {name: spelled.get(value, value) for name, value in change.items()}
    for ask in (openid.provider("http://127.0.0.1/cb"), openid.identity(fake.id_token(), nonce=None)):
        with pytest.raises(IssuerUnusable):
            await ask


async def test_an_issuer_over_https_sends_nobody_into_the_open(http: AiohttpHttp, clock: Clock) -> None:
    openid = ours("https://id.example.com", http, clock)
    with pytest.raises(IssuerUnusable):
        openid._address({"token_endpoint": "http://id.example.com/token"}, "token_endpoint")
    assert openid._address({"token_endpoint": "https://x.example/t"}, "token_endpoint") == "https://x.example/t"


async def test_an_issuer_that_is_down_is_told_and_not_asked_by_everybody(
    fake: FakeIssuer, openid: OpenIdProvider, clock: Clock
) -> None:
    fake.down = True
    for _ in range(10):
        with pytest.raises(IssuerUnusable):
            await openid.identity(fake.id_token(), nonce=None)
    assert len(fake.asked) == 1
    fake.down = False
    clock.move(6)
    assert (await openid.identity(fake.id_token(), nonce=None)).subject == "ada"


async def test_what_the_token_leaves_out_the_userinfo_endpoint_says(fake: FakeIssuer, openid: OpenIdProvider) -> None:
    bare = await openid.identity(fake.id_token(), nonce=None)
    fake.userinfo = {"sub": "ada", "email": "ada@example.com", "email_verified": True, "name": "Ada"}
    full = await openid.described(bare, Secret("an-access-token"))
    assert (full.subject, full.email, full.name) == ("ada", "ada@example.com", "Ada")
    fake.userinfo["sub"] = "mallory"
    with pytest.raises(IdTokenRefused, match="wrong_subject"):
        await openid.described(bare, Secret("an-access-token"))
    # Where the token said it, nobody is asked.
    asked = len(fake.asked)
    assert await openid.described(full, Secret("x")) == full
    assert len(fake.asked) == asked


async def test_the_client_says_who_it_is_as_the_issuer_takes_it(
    fake: FakeIssuer, http: AiohttpHttp, clock: Clock
) -> None:
    for methods, way in ((None, "basic"), (["client_secret_basic", "x"], "basic"), (["client_secret_post"], "post")):
        fake.metadata = {"token_endpoint_auth_methods_supported": methods}
        provider = await ours(fake.url, http, clock).provider("http://127.0.0.1/cb")
        assert (provider.token_auth, provider.pkce, provider.issuer) == (way, "S256", None)
    fake.metadata = {"authorization_response_iss_parameter_supported": True}
    assert (await ours(fake.url, http, clock).provider("http://127.0.0.1/cb")).issuer == fake.url


def test_a_token_is_told_from_a_key_without_believing_it(http: AiohttpHttp, clock: Clock) -> None:
    openid = ours("https://id.example.com", http, clock)
    assert openid.is_ours(f"x.{part({'iss': 'https://id.example.com'})}.x")
    for text in ("", "sk_live_gw_x", "a.b.c", f"x.{part({'iss': 'https://evil.example'})}.x", f"x.{part([1])}.x", "é.é.é"):
        assert not openid.is_ours(text), text
