"""Grants without a person: keys that sign (RFC 7523), logins for a session, clients with accounts, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.fakes.upstream import Answer, HandClock, Seen, json_answer
from tests.format.desk import Desk, desk

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any, encryption: Any = None) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode())


KEY_FILE = {
    "type": "service_account",
    "project_id": "acme",
    "private_key_id": "kid-1",
    "private_key": pem(RSA),
    "client_email": "robot@acme.example",
}


def opened(token: str, key: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT whose signature holds; checked without the library that made it."""
    head, body, signature = token.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    signed = f"{head}.{body}".encode()
    if isinstance(key, rsa.RSAPrivateKey):
        key.public_key().verify(raw, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key.public_key().verify(pair, signed, ec.ECDSA(hashes.SHA256()))
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body)]
    return decoded[0], decoded[1]


@pytest.fixture
async def robots(tmp_path: Path, clock: HandClock) -> AsyncIterator[Desk]:
    def moved(origin: str) -> Mapping[str, Any]:
        return {
            "base_url": origin,
            "auth": {
                "service_account": {"token_url": f"{origin}/token"},
                "app": {"token_url": f"{origin}/app/{{app_id}}/tokens"},
                "login": {"token_url": f"{origin}/{{company}}/login"},
                "account": {"token_url": f"{origin}/oauth/token"},
            },
        }

    async with desk(tmp_path, "robots", moved, clock=clock) as made:
        yield made


def numbered(**more: Any) -> Any:
    """A token endpoint that counts: at-1, at-2, …"""
    issued: list[Seen] = []

    def answer(seen: Seen) -> Answer:
        issued.append(seen)
        return json_answer({"access_token": f"token-number-{len(issued)}", "token_type": "Bearer", "expires_in": 3600, **more})

    answer.issued = issued  # type: ignore[attr-defined]
    return answer


def form(seen: Seen) -> dict[str, str]:
    pairs = parse_qsl(seen.body.decode(), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# -- a key file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["an object", "a text"])
async def test_a_key_file_becomes_an_assertion_and_that_a_token(robots: Desk, spelled: str) -> None:
    robots.says["/token"] = said = numbered()
    given = KEY_FILE if spelled == "an object" else json.dumps(KEY_FILE)
    assert (await robots.connect({"key_file": given}))["account"] == "Ada"
    (asked,) = said.issued
    assert (asked.method, asked.raw_path) == ("POST", "/token")
    assert asked.header("Content-Type") == "application/x-www-form-urlencoded"
    assert asked.header("Authorization") is None
    sent = form(asked)
    assert set(sent) == {"grant_type", "assertion"}
    assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    header, claims = opened(sent["assertion"], RSA)
    assert header == {"alg": "RS256", "kid": "kid-1", "typ": "JWT"}
    assert {name: claims[name] for name in ("iss", "scope", "aud", "level")} == {
        "iss": "robot@acme.example",
        "scope": "read write",
        "aud": f"{robots.api.base_url}/token",
        "level": 3,
    }
    # There is no user to act for, so that nobody is named.
    assert set(claims) == {"iss", "scope", "aud", "level", "iat", "exp", "jti"}
    assert abs(claims["iat"] - time.time()) < 60
    assert claims["exp"] - claims["iat"] == 120
    assert robots.last.header("Authorization") == "Bearer token-number-1"
    shown = await robots.connection()
    assert (shown["fields"], shown["auth"]) == ({"client_email": "robot@acme.example"}, "service_account")


async def test_the_user_to_act_for_is_named_as_it_was_typed_and_filled_in_nowhere_else(robots: Desk) -> None:
    robots.says["/token"] = said = numbered()
    assert (await robots.connect({"key_file": KEY_FILE, "subject": "{client_email}"}))["status"] == "connected"
    _, claims = opened(form(said.issued[0])["assertion"], RSA)
    assert claims["sub"] == "{client_email}"


async def test_the_page_takes_a_key_file_in_a_field_of_several_lines(robots: Desk) -> None:
    robots.says["/token"] = said = numbered()
    begun = await robots.running.ask("POST", "/v1/connect", body={"integration": "robots", "auth": "service_account"})
    link = begun.json()["oauth_url"]
    async with robots.session.get(link) as page:
        text = await page.text()
    assert '<textarea name="key_file"' in text and 'name="subject"' in text
    assert 'name="client_email"' not in text and 'name="private_key"' not in text
    async with robots.session.post(link, data={"key_file": json.dumps(KEY_FILE, indent=1).replace("\n", "\r\n")}) as done:
        assert "Robots is connected" in await done.text()
    assert len(said.issued) == 1


async def test_many_calls_at_the_end_of_a_token_sign_once(robots: Desk, clock: HandClock) -> None:
    robots.says["/token"] = said = numbered()
    await robots.connect({"key_file": KEY_FILE})
    for turn in range(2, 4):
        clock.move(3600)
        answers = await asyncio.gather(*(robots.call("get_me") for _ in range(60)))
        assert {answer["status"] for answer in answers} == {200}
        assert len(said.issued) == turn
        assert robots.last.header("Authorization") == f"Bearer token-number-{turn}"
    ids = {opened(form(seen)["assertion"], RSA)[1]["jti"] for seen in said.issued}
    assert len(ids) == 3


async def test_a_401_gets_a_new_token_once(robots: Desk) -> None:
    robots.says["/token"] = said = numbered()
    await robots.connect({"key_file": KEY_FILE})
    robots.says["/me"] = lambda seen: json_answer({"name": "Ada"}, 401 if seen.bearer() == "token-number-1" else 200)
    assert (await robots.call("get_me"))["status"] == 200
    assert len(said.issued) == 2


@pytest.mark.parametrize("now", ["on connecting", "later"])
async def test_a_key_that_is_refused_is_told(robots: Desk, clock: HandClock, now: str) -> None:
    refusal = json_answer({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
    robots.says["/token"] = refusal if now == "on connecting" else numbered()
    answer = await robots.connect({"key_file": KEY_FILE})
    if now == "on connecting":
        assert (answer["http"], answer["error"]) == (400, "bad_request")
        assert "does not accept this credential (invalid_grant)" in answer["message"]
        assert (await robots.running.ask("GET", "/v1/connections")).json() == {"connections": []}
        return
    robots.says["/token"] = refusal
    clock.move(3600)
    assert (await robots.running.call("robots", "get_me")).json()["error"] == "token_expired"
    assert (await robots.connection())["state"] == "needs_reauth"


async def test_a_token_endpoint_that_is_down_on_connecting_connects_nothing(robots: Desk) -> None:
    robots.says["/token"] = Answer(status=503)
    answer = await robots.connect({"key_file": KEY_FILE})
    assert (answer["http"], answer["error"], answer["outcome"]) == (502, "upstream_unreachable", "unknown")


ENCRYPTED = pem(RSA, BestAvailableEncryption(b"pass"))
SHORT = pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505 - refused


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"key_file": "[]"}, "key_file", "must be a JSON object"),
        ({"key_file": "{"}, "key_file", "is not JSON"),
        ({"key_file": "x" * 40_000}, "key_file", "longer than"),
        ({"key_file": {**KEY_FILE, "private_key": 7}}, "key_file", "has no private key at private_key"),
        ({"key_file": {**KEY_FILE, "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}},
         "private_key", "is no RSA"),
        ({"key_file": {**KEY_FILE, "private_key": ENCRYPTED}}, "private_key", "without a passphrase"),
        ({"key_file": {**KEY_FILE, "private_key": SHORT}}, "private_key", "2048 bits or more"),
        ({"key_file": {**KEY_FILE, "private_key": "x" * 20_000}}, "private_key", "longer than"),
        ({"key_file": {**KEY_FILE, "client_email": "a\nb"}}, "client_email", "is missing"),
        ({"key_file": {**KEY_FILE, "client_email": {"a": 1}}}, "client_email", "is missing"),
        ({"private_key": pem(RSA)}, "client_email", "is missing"),
    ],
)  # fmt: skip
async def test_what_is_no_key_is_refused_by_name_and_never_shown(
    robots: Desk, changed: dict[str, Any], field: str, words: str
) -> None:
    robots.says["/token"] = said = numbered()
    answer = await robots.connect(changed, auth="service_account")
    assert (answer["http"], answer["error"]) == (400, "bad_request")
    assert words in answer["message"], answer["message"]
    assert answer["details"]["fields"][0]["path"].rpartition("/")[2] == field
    shown = json.dumps(answer)
    assert "PRIVATE KEY" not in shown and pem(RSA)[60:90] not in shown
    assert said.issued == []


# -- a key that is typed in, a token request that is not a standard's ------------------------------


@pytest.mark.parametrize("spelled", [pem(EC), pem(EC).replace("\n", "\\n"), pem(EC).replace("\n", " "), pem(EC).replace("\n", "")])
async def test_an_app_signs_for_itself_in_a_header_and_is_told_until_when(
    robots: Desk, clock: HandClock, spelled: str
) -> None:
    until = datetime.fromtimestamp(clock.now + 600, UTC).isoformat().replace("+00:00", "Z")
    robots.says["/app/a%2F%7B1/tokens"] = json_answer({"token": "app-token-1", "until": until}, 201)
    answer = await robots.connect({"private_key": spelled, "app_id": "a/{1"})
    assert answer["status"] == "connected", answer
    asked = robots.api.seen[0]
    assert asked.raw_path == "/app/a%2F%7B1/tokens"
    assert asked.body == b""
    assert asked.header("X-App") == "a/{1"
    scheme, _, token = str(asked.header("Authorization")).partition(" ")
    header, claims = opened(token, EC)
    assert (scheme, header["alg"], "kid" in header) == ("Bearer", "ES256", False)
    assert set(claims) == {"iss", "aud", "iat", "exp", "jti"} and claims["iss"] == "a/{1"
    assert robots.last.header("Authorization") == "Bearer app-token-1"
    clock.move(500)
    await robots.call("get_me")
    assert len(robots.api.seen) == 3
    clock.move(60)
    await robots.call("get_me")
    assert robots.api.seen[3].raw_path == "/app/a%2F%7B1/tokens"


@pytest.mark.parametrize("app_id", ["..", "../../evil", "%2e%2e", "a\r\nX-Evil: 1", "a\nb", "\u2028"])
async def test_a_field_of_a_token_address_stays_one_segment_of_it(robots: Desk, app_id: str) -> None:
    answer = await robots.connect({"private_key": pem(EC), "app_id": app_id})
    assert (answer["http"], answer["error"]) == (400, "bad_request")
    assert robots.api.seen == []


# -- a login ---------------------------------------------------------------------------------------

LOGIN = {"company": "acme", "login": "robot", "secret": 'pass"word {login} \\'}


def session(number: int = 1, ttl: Any = 900) -> Answer:
    return json_answer({"data": {"session": {"id": f"session-number-{number}", "ttl": ttl}}})


async def test_a_login_is_exchanged_for_a_session_token_that_goes_where_the_definition_says(robots: Desk) -> None:
    robots.says["/acme/login"] = session()
    answer = await robots.connect(LOGIN)
    assert (answer["status"], answer["account"]) == ("connected", "Ada")
    asked = robots.api.seen[0]
    assert (asked.method, asked.raw_path) == ("POST", "/acme/login")
    assert asked.header("Content-Type") == "application/json"
    assert asked.header("X-Company") == "acme"
    # Filled in once: what the password says is only said.
    assert asked.json() == {"auth": {"user": "robot", "password": LOGIN["secret"]}, "remember": True}
    assert robots.last.header("X-Session") == "session-number-1"
    assert robots.last.header("Authorization") is None
    assert (await robots.connection())["fields"] == {"company": "acme", "login": "robot"}


async def test_a_session_that_ends_is_asked_for_again_once(robots: Desk, clock: HandClock) -> None:
    robots.says["/acme/login"] = session()
    await robots.connect(LOGIN)
    robots.says["/acme/login"] = session(2)
    clock.move(900)
    answers = await asyncio.gather(*(robots.call("get_me") for _ in range(40)))
    assert {answer["status"] for answer in answers} == {200}
    assert [seen.raw_path for seen in robots.api.seen].count("/acme/login") == 2
    assert robots.last.header("X-Session") == "session-number-2"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_login_that_is_refused_needs_its_person(robots: Desk, clock: HandClock, status: int) -> None:
    robots.says["/acme/login"] = json_answer({"message": f"wrong: {LOGIN['secret']}"}, status)
    answer = await robots.connect(LOGIN)
    assert (answer["http"], "login_refused" in answer["message"]) == (400, True)
    assert LOGIN["secret"] not in json.dumps(answer)
    robots.says["/acme/login"] = session()
    await robots.connect(LOGIN)
    robots.says["/acme/login"] = json_answer({}, status)
    clock.move(900)
    refused = await robots.running.call("robots", "get_me")
    assert (refused.status, refused.json()["error"]) == (401, "token_expired")
    assert (await robots.connection())["reason"] == "login_refused"


async def test_a_login_that_cannot_be_asked_now_is_asked_later(robots: Desk, clock: HandClock) -> None:
    robots.says["/acme/login"] = session()
    await robots.connect(LOGIN)
    for broken in (Answer(status=500), json_answer({"data": {"session": {"id": 7}}}), json_answer({"error": "busy"}, 400)):
        robots.says["/acme/login"] = broken
        clock.move(900)
        refused = await robots.running.call("robots", "get_me")
        assert refused.json()["error"] == "upstream_unreachable", refused.body
        assert (await robots.connection())["state"] == "degraded"
    robots.says["/acme/login"] = session(3)
    clock.move(900)
    assert (await robots.call("get_me"))["status"] == 200


async def test_a_password_that_comes_back_is_taken_out(robots: Desk) -> None:
    robots.says["/acme/login"] = session()
    await robots.connect({**LOGIN, "secret": "hunter2-hunter2"})
    robots.says["/me"] = json_answer({"name": "Ada", "echo": "hunter2-hunter2", "token": "session-number-1"})
    envelope = await robots.call("get_me")
    assert envelope["data"] == {"name": "Ada", "echo": "[secret]", "token": "[secret]"}
    assert envelope["meta"]["redacted"] is True


@pytest.mark.parametrize("company", ["a.b", "acme/../x", "acme:80", "-acme", "acme.evil.example"])
async def test_a_label_stays_a_label(robots: Desk, company: str) -> None:
    answer = await robots.connect({**LOGIN, "company": company})
    assert (answer["http"], robots.api.seen) == (400, [])


async def test_a_link_asks_for_the_fields_of_its_method_and_keeps_no_secret_in_its_row(robots: Desk) -> None:
    body = {"integration": "robots", "auth": "login", "credentials": {"company": "acme"}}
    link = (await robots.running.ask("POST", "/v1/connect", body=body)).json()["oauth_url"]
    async with robots.session.get(link) as page:
        text = await page.text()
    assert 'name="login" type="text"' in text and 'name="secret" type="password"' in text
    for absent in ("company", "app_id", "account_id", "client_email"):
        assert f'name="{absent}"' not in text
    robots.says["/acme/login"] = session()
    async with robots.session.post(link, data={"login": "robot", "secret": "hunter2-hunter2"}) as done:
        assert "Robots is connected" in await done.text()


# -- a client with an account of its own -----------------------------------------------------------


async def test_a_client_asks_with_another_grant_type_its_account_and_its_audience(robots: Desk) -> None:
    robots.says["/oauth/token"] = said = numbered(scope="a|b")
    answer = await robots.connect({"client_id": "the id", "client_secret": "the+secret", "account_id": "acc-{redirect_uri}"})
    assert answer["status"] == "connected", answer
    (asked,) = said.issued
    assert asked.header("Authorization") == "Basic " + base64.b64encode(b"the+id:the%2Bsecret").decode()
    assert form(asked) == {
        "grant_type": "account_credentials",
        "account_id": "acc-{redirect_uri}",
        "audience": "api",
        "resource": "urn:robots",
        "scope": "a|b",
    }
    assert (await robots.connection())["scopes"] == ["a", "b"]


async def test_what_each_method_takes_is_told_by_discovery(robots: Desk) -> None:
    shown = (await robots.running.ask("GET", "/v1/skills/robots")).json()["auth"]
    assert {method["name"]: (method["credentials"], [field["name"] for field in method["fields"]]) for method in shown} == {
        "service_account": (["private_key", "key_id", "key_file"], ["subject"]),
        "app": (["private_key", "key_id"], ["subject", "app_id"]),
        "login": ([], ["company", "login", "secret"]),
        "account": (["client_id", "client_secret"], ["account_id"]),
    }
    (secret,) = [field for method in shown for field in method["fields"] if field.get("secret")]
    assert secret["name"] == "secret"
