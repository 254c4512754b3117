"""Credentials go where the definition says, and what would break its place goes nowhere."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from oauth.connections import Credential
from oauth.schemes import (
    VALUE_LIMIT,
    Injection,
    InputRefused,
    UnsafeCredential,
    credential_from_input,
    inject,
)
from oauth.secret import Secret

SHARED = Path(os.environ.get("SKILLWAY_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))
KEY = Credential(token=Secret("k-123"))
BREAKING = ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "a\x7f", "a\x85b", "a\u2028b", "\ud800", "a\tb"]


@pytest.mark.parametrize("kind", ["bearer", "oauth2", "client_credentials"])
def test_a_token_is_a_bearer_unless_said_otherwise(kind: str) -> None:
    assert inject(kind, KEY).headers == (("Authorization", "Bearer k-123"),)
    elsewhere = inject(kind, KEY, location="header", name="X-Shopify-Access-Token")
    assert elsewhere.headers == (("X-Shopify-Access-Token", "k-123"),)
    own_scheme = inject(kind, KEY, location="header", name="Authorization", prefix="Zoho-oauthtoken ")
    assert own_scheme.headers == (("Authorization", "Zoho-oauthtoken k-123"),)


def test_an_api_key_goes_into_its_one_place() -> None:
    assert inject("api_key", KEY, location="header", name="X-Key") == Injection(headers=(("X-Key", "k-123"),))
    assert inject("api_key", KEY, location="query", name="key") == Injection(query=(("key", "k-123"),))
    assert inject("api_key", KEY, location="cookie", name="sid") == Injection(cookies=(("sid", "k-123"),))
    assert inject("api_key", KEY, location="body", name="apiKey") == Injection(body={"apiKey": "k-123"})
    prefixed = inject("api_key", KEY, location="header", name="Authorization", prefix="Token token=")
    assert prefixed.headers == (("Authorization", "Token token=k-123"),)


def test_none_adds_nothing() -> None:
    assert inject("none", Credential()) == Injection()


@pytest.mark.parametrize(
    ("username", "password"),
    [("bob", "pass"), ("bob", "a:b:c"), ("sk_live", ""), ("", "key"), ("tëst", "пароль £")],
)
def test_basic_is_utf8_in_base64(username: str, password: str) -> None:
    credential = Credential(username=username, password=Secret(password))
    ((name, value),) = inject("basic", credential).headers
    assert name == "Authorization"
    scheme, _, encoded = value.partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).decode() == f"{username}:{password}"


def test_the_example_of_the_basic_standard_comes_out() -> None:
    credential = Credential(username="test", password=Secret("123£"))
    assert inject("basic", credential).headers == (("Authorization", "Basic dGVzdDoxMjPCow=="),)


@pytest.mark.parametrize("location", ["header", "query", "cookie", "body"])
@pytest.mark.parametrize("value", BREAKING)
def test_a_value_that_breaks_its_place_is_refused(location: str, value: str) -> None:
    with pytest.raises(UnsafeCredential) as caught:
        inject("api_key", Credential(token=Secret(value)), location=location, name="key")
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", ["ключ", "é", " edge", "edge "])
def test_a_header_takes_plain_ascii_only(value: str) -> None:
    with pytest.raises(UnsafeCredential):
        inject("bearer", Credential(token=Secret(value)))


@pytest.mark.parametrize("value", ["a;b", "a,b", "a b", 'a"b', "a\\b", "é"])
def test_a_cookie_takes_cookie_characters_only(value: str) -> None:
    with pytest.raises(UnsafeCredential):
        inject("api_key", Credential(token=Secret(value)), location="cookie", name="sid")


@pytest.mark.parametrize("value", BREAKING)
def test_basic_refuses_what_it_cannot_carry(value: str) -> None:
    for credential in (
        Credential(username=value, password=Secret("p")),
        Credential(username="u", password=Secret(value)),
        Credential(username="u:v", password=Secret("p")),
    ):
        with pytest.raises(UnsafeCredential):
            inject("basic", credential)


@pytest.mark.parametrize("kind", ["bearer", "oauth2", "basic"])
def test_an_empty_credential_is_not_sent(kind: str) -> None:
    with pytest.raises(UnsafeCredential):
        inject(kind, Credential())


def test_an_injection_does_not_show_its_values() -> None:
    assert "k-123" not in repr(inject("bearer", KEY)) + repr(inject("api_key", KEY, location="body", name="k"))


def test_each_method_takes_its_own_keys() -> None:
    token = credential_from_input("bearer", {"token": "t"}, now=5.0)
    assert (token.token, token.issued_at, token.expires_at) == (Secret("t"), 5.0, None)
    assert credential_from_input("api_key", {"api_key": "k"}).token == Secret("k")
    basic = credential_from_input("basic", {"username": "u", "password": "p "})
    assert (basic.username, basic.password) == ("u", Secret("p "))
    client = credential_from_input("client_credentials", {"client_id": "c", "client_secret": "s"})
    assert (client.client_id, client.client_secret, client.token) == ("c", Secret("s"), None)
    assert credential_from_input("none", {}) == Credential()


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        ("bearer", {}, "token"),
        ("bearer", {"api_key": "s3cret"}, "api_key"),
        ("bearer", {"token": "s3cret", "extra": "s3cret"}, "extra"),
        ("api_key", {"token": "s3cret"}, "token"),
        ("basic", {"username": "s3cret"}, "password"),
        ("basic", {"username": "s3:cret", "password": "x"}, "username"),
        ("basic", {"username": "", "password": ""}, "username"),
        ("client_credentials", {"client_id": "s3cret"}, "client_secret"),
        ("none", {"token": "s3cret"}, "token"),
        ("oauth2", {"token": "s3cret"}, "credentials"),
        ("oauth1", {}, "credentials"),
        ("bearer", {"token": ""}, "token"),
        ("bearer", {"token": "  \n"}, "token"),
        ("bearer", {"token": 7}, "token"),
        ("bearer", {"token": None}, "token"),
        ("bearer", {"token": ["s3cret"]}, "token"),
        ("bearer", {"token": "s3cret\nX-Evil: 1"}, "token"),
        ("bearer", {"token": "s3cret" * VALUE_LIMIT}, "token"),
    ],
)
def test_a_wrong_input_is_named_and_not_shown(kind: str, given: dict[str, Any], field: str) -> None:
    with pytest.raises(InputRefused) as caught:
        credential_from_input(kind, given)
    assert caught.value.field == field
    assert "s3" not in str(caught.value)


def test_connection_fields_may_stand_beside_a_credential() -> None:
    given = {"api_key": "k", "domain": "shop.example"}
    assert credential_from_input("api_key", given, also=["domain"]).token == Secret("k")
    with pytest.raises(InputRefused):
        credential_from_input("api_key", given)


def test_a_key_is_held_against_the_pattern_of_its_method() -> None:
    assert credential_from_input("bearer", {"token": " ghp_abc\n"}, accepts=lambda text: re.search("^ghp_[a-z]+$", text) is not None).token == Secret("ghp_abc")
    with pytest.raises(InputRefused) as caught:
        credential_from_input("bearer", {"token": "sk_abc"}, accepts=lambda text: text.startswith("ghp_"))
    assert "sk_abc" not in str(caught.value)


@pytest.mark.shared
def test_no_naughty_string_reaches_a_header_or_cookie_unchecked() -> None:
    path = SHARED / "data" / "hostile" / "naughty-strings.json"
    if not path.exists():
        pytest.skip("the shared data is not beside this checkout")
    refused = 0
    for text in json.loads(path.read_text()):
        for location in ("header", "cookie"):
            try:
                made = inject("api_key", Credential(token=Secret(text)), location=location, name="k")
            except UnsafeCredential:
                refused += 1
                continue
            ((_, value),) = made.headers + made.cookies
            assert value.isascii()
            assert value.isprintable()
            assert value == value.strip()
    assert refused > 100
