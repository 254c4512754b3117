"""What the browser is sent away with, and what it may come back with."""

import base64
import hashlib
import json
import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from multidict import MultiDict

from oauth.flow import (
    REFUSALS,
    TEXT_LIMIT,
    CallbackRefused,
    begin,
    challenge,
    check_callback,
    hash_state,
    missing_scopes,
    shown,
)
from oauth.secret import Secret
from tests.oauth.ends import provider_at

SHARED = Path(os.environ.get("SKILLWAY_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))
PROVIDER = provider_at("https://as.example")


def query(url: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def test_the_browser_is_sent_with_everything_the_code_flow_asks_for() -> None:
    begun = begin(PROVIDER, ["read", "write", "read"])
    assert begun.verifier is not None
    assert begun.url.startswith("https://as.example/authorize?")
    assert query(begun.url) == {
        "response_type": "code",
        "client_id": "gateway",
        "redirect_uri": "http://127.0.0.1:9/oauth/callback/demo",
        "state": begun.state.reveal(),
        "scope": "read write",
        "code_challenge": challenge(begun.verifier),
        "code_challenge_method": "S256",
    }


def test_state_and_verifier_are_256_bits_and_never_the_same() -> None:
    many = [begin(PROVIDER, []) for _ in range(200)]
    states = {begun.state.reveal() for begun in many}
    verifiers = {begun.verifier.reveal() for begun in many if begun.verifier}
    assert len(states) == len(verifiers) == 200
    assert not states & verifiers
    for text in states | verifiers:
        assert len(base64.urlsafe_b64decode(text + "=")) == 32


def test_the_challenge_is_the_one_of_the_standard() -> None:
    # RFC 7636 appendix B
    verifier = Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_neither_the_verifier_nor_any_content_is_in_the_address_or_a_repr() -> None:
    begun = begin(PROVIDER, ["read"])
    assert begun.verifier is not None
    assert begun.verifier.reveal() not in begun.url
    assert begun.state.reveal() not in repr(begun)
    assert begun.verifier.reveal() not in repr(begun)


def test_pkce_is_off_only_where_the_definition_says_so() -> None:
    begun = begin(provider_at("https://as.example", pkce="off"), [])
    assert begun.verifier is None
    assert "code_challenge" not in begun.url
    assert "scope" not in query(begun.url)


def test_extra_params_add_and_leave_out_but_never_touch_ours() -> None:
    extra = {
        "access_type": "offline",
        "prompt": "consent select_account",
        "scope": "read_write",
        "state": "chosen",
        "redirect_uri": "https://evil.example",
        "client_id": "evil",
        "response_type": "token",
        "code_challenge": "x",
        "code_challenge_method": "plain",
        "app": "{client_id}",
    }
    begun = begin(provider_at("https://as.example", authorize_params=extra), ["read"])
    sent = query(begun.url)
    assert (sent["access_type"], sent["prompt"], sent["scope"]) == (
        "offline",
        "consent select_account",
        "read_write",
    )
    assert sent["app"] == "gateway"
    assert sent["state"] == begun.state.reveal()
    assert sent["redirect_uri"] == PROVIDER.redirect_uri
    assert (sent["client_id"], sent["response_type"]) == ("gateway", "code")
    assert begun.verifier is not None
    assert (sent["code_challenge"], sent["code_challenge_method"]) == (challenge(begun.verifier), "S256")
    dropped = begin(provider_at("https://as.example", authorize_params={"scope": ""}), ["read"])
    assert "scope" not in query(dropped.url)


def test_scopes_are_joined_as_the_provider_spells_lists() -> None:
    begun = begin(provider_at("https://as.example", separator=","), ["a:b", "c d"])
    assert query(begun.url)["scope"] == "a:b,c d"
    assert "+" not in begun.url


def test_a_query_that_the_address_has_stays() -> None:
    provider = provider_at(
        "https://as.example", authorization_url="https://as.example/o?tenant=a%20b&flag=&state=x#frag"
    )
    sent = query(begin(provider, []).url)
    assert (sent["tenant"], sent["flag"]) == ("a b", "")
    assert sent["state"] != "x"
    assert "#" not in begin(provider, []).url


def test_a_callback_gives_its_code_and_the_fields_of_the_definition() -> None:
    provider = provider_at("https://as.example", copy_from_callback={"realm": "realmId", "gone": "nothing"})
    returned = check_callback(provider, {"code": "abc/+~ d", "state": "s", "realmId": "42"})
    assert returned.code == Secret("abc/+~ d")
    assert returned.fields == {"realm": "42"}
    assert "abc" not in repr(returned)
    assert check_callback(provider, [("code", "abc")]).fields == {}


@pytest.mark.parametrize(
    "iss", [None, "", "https://as.example/", "https://AS.example", "https://evil.example", "as.example"]
)
def test_an_issuer_that_is_declared_must_be_exactly_that(iss: str | None) -> None:
    provider = provider_at("https://as.example", issuer="https://as.example")
    returned = {"code": "abc"} | ({} if iss is None else {"iss": iss})
    with pytest.raises(CallbackRefused) as caught:
        check_callback(provider, returned)
    assert caught.value.error == "issuer_mismatch"
    assert check_callback(provider, {"code": "abc", "iss": "https://as.example"}).code == Secret("abc")


def test_the_issuer_is_checked_before_an_error_is_believed() -> None:
    provider = provider_at("https://as.example", issuer="https://as.example")
    with pytest.raises(CallbackRefused) as caught:
        check_callback(provider, {"error": "access_denied", "iss": "https://evil.example"})
    assert caught.value.error == "issuer_mismatch"


def test_an_issuer_that_nobody_declared_is_not_looked_at() -> None:
    assert check_callback(PROVIDER, {"code": "abc", "iss": "https://accounts.example"}).code == Secret("abc")


@pytest.mark.parametrize("error", REFUSALS)
def test_an_error_of_the_standard_keeps_its_name(error: str) -> None:
    with pytest.raises(CallbackRefused) as caught:
        check_callback(PROVIDER, {"error": error, "error_description": "Not today", "code": "abc"})
    assert (caught.value.error, str(caught.value), caught.value.detail) == (
        error,
        REFUSALS[error],
        "Not today",
    )


def test_any_other_error_is_shown_but_not_used_as_a_code() -> None:
    with pytest.raises(CallbackRefused) as caught:
        check_callback(PROVIDER, {"error": "<script>alert(1)</script>"})
    assert caught.value.error == "provider_error"
    assert caught.value.detail == "<script>alert(1)</script>"


@pytest.mark.parametrize("name", ["code", "state", "iss", "error"])
def test_a_parameter_given_twice_is_refused(name: str) -> None:
    for twice in (
        MultiDict([("code", "abc"), (name, "x"), (name, "y")]),
        [("code", "abc"), (name, "x"), (name, "x")],
    ):
        with pytest.raises(CallbackRefused) as caught:
            check_callback(PROVIDER, twice)
        assert caught.value.error == "invalid_callback"


@pytest.mark.parametrize("code", ["", "a\r\nb", "a\0b", "kód", "x" * 5000])
def test_what_cannot_be_a_code_is_refused(code: str) -> None:
    with pytest.raises(CallbackRefused) as caught:
        check_callback(PROVIDER, {"code": code, "access_token": "implicit"})
    assert caught.value.error == "invalid_callback"
    assert not code or code not in str(caught.value)


def test_a_callback_field_with_control_characters_is_left_out() -> None:
    provider = provider_at("https://as.example", copy_from_callback={"realm": "realmId"})
    assert check_callback(provider, {"code": "c", "realmId": "4\r\n2"}).fields == {}


def test_foreign_text_is_one_short_clean_line() -> None:
    assert shown("  You\r\nsaid\tno\0 \u202eevil ") == "You said no evil"
    assert shown("\x1b[31mred") == "[31mred"
    assert shown("") is shown(None) is shown("\n\0") is None
    long = shown("x" * 100_000)
    assert long is not None
    assert len(long) == TEXT_LIMIT


@pytest.mark.shared
def test_no_naughty_string_gets_through_a_callback_unclean() -> None:
    path = SHARED / "data" / "hostile" / "naughty-strings.json"
    if not path.exists():
        pytest.skip("the shared data is not beside this checkout")
    for text in json.loads(path.read_text()):
        for answer in ({"error": text or "x", "error_description": text}, {"code": text}):
            refused: CallbackRefused | None = None
            try:
                returned = check_callback(PROVIDER, answer)
            except CallbackRefused as error:
                refused = error
            if refused is None:
                assert returned.code.reveal().isascii()
                continue
            assert refused.error in (*REFUSALS, "provider_error", "invalid_callback")
            detail = refused.detail or ""
            assert len(detail) <= TEXT_LIMIT
            assert not any(ord(character) < 32 or character in "\u202e\u2028" for character in detail)


def test_a_state_is_kept_as_its_hash() -> None:
    assert hash_state("the-state") == hashlib.sha256(b"the-state").digest()
    assert len({hash_state(text) for text in ("", "a", "a ", "\ud800", "é")}) == 5


def test_missing_scopes_follow_what_others_imply() -> None:
    implies = {"admin": ["write"], "write": ["read"], "loop": ["loop", "read"]}
    assert missing_scopes(["admin"], ["read", "write", "admin"], implies) == ()
    assert missing_scopes(["read"], ["write", "read", "admin", "write"], implies) == ("write", "admin")
    assert missing_scopes(["loop"], ["read", "x"], implies) == ("x",)
    assert missing_scopes([], ["read"], implies) == ("read",)
    assert missing_scopes(None, ["read"], implies) == ()
