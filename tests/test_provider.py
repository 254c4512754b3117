"""The OAuth servers that the tests run against do what the tests rely on."""

import asyncio
import base64
import contextlib
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from tests.fakes.provider import (
    ConsentFailed,
    Provider,
    ProviderUnavailable,
    TokenAnswer,
    available_providers,
    browser,
    provider,
    provider_process,
)

CALLBACK = "http://127.0.0.1:9/oauth/callback"
KINDS = ("oidc", "dot")

Session = aiohttp.ClientSession
Counted = Callable[[], dict[str, int]]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    wanted = str(request.param)
    if wanted not in available_providers():
        lacking(f"the OAuth server {wanted!r}")
    return wanted


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Provider]:
    """One server for every test that asks nothing special of it."""
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(provider_process(kind, redirect_uris=[CALLBACK]))
        except ProviderUnavailable as refusal:
            lacking(str(refusal))
        yield started


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with browser() as made:
        yield made


@pytest.fixture
def counted(server: Provider) -> Counted:
    """What the server counted during this test, without the zeros."""
    before = server.counts()
    return lambda: {name: now - before[name] for name, now in server.counts().items() if now != before[name]}


def lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"this machine lacks {what}, which CI must have")
    pytest.skip(f"this machine lacks {what}")


async def test_a_code_and_its_verifier_become_a_token_of_that_person(
    server: Provider, session: Session, counted: Counted
) -> None:
    landed = await server.consent(authorize(server), session, login="bob")
    assert landed.startswith(CALLBACK + "?")
    assert query(landed)["state"] == "the-state"
    assert query(landed)["iss"] == server.issuer
    status, token = await redeem(server, session, query(landed)["code"])
    assert status == 200
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 3600
    assert set(token["scope"].split()) == {"read", "profile"}
    assert await whoami(server, session, token["access_token"]) == (200, "Bob")
    assert counted() == {"token": 1, "code": 1, "resource": 1}


async def test_a_request_without_pkce_or_with_plain_pkce_is_refused(
    server: Provider, session: Session
) -> None:
    for challenge in ({}, {"code_challenge": "x" * 43, "code_challenge_method": "plain"}):
        landed = await server.consent(authorize(server, challenge), session)
        assert query(landed)["error"] == "invalid_request"
        assert "code" not in query(landed)


async def test_a_code_without_its_verifier_or_with_another_is_refused(
    server: Provider, session: Session
) -> None:
    for verifier in (None, secrets.token_urlsafe(40)):
        landed = await server.consent(authorize(server), session)
        status, answer = await redeem(server, session, query(landed)["code"], verifier=verifier)
        assert status == 400, answer
        assert answer["error"] in ("invalid_grant", "invalid_request")


async def test_a_code_is_good_once(server: Provider, session: Session, counted: Counted) -> None:
    landed = await server.consent(authorize(server), session)
    assert (await redeem(server, session, query(landed)["code"]))[0] == 200
    status, answer = await redeem(server, session, query(landed)["code"])
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert counted()["invalid_grant"] == 1


async def test_a_refresh_rotates_the_refresh_token(
    server: Provider, session: Session, counted: Counted
) -> None:
    first = await signed_in(server, session)
    server.expire_access_tokens()
    assert (await whoami(server, session, first["access_token"]))[0] == 401
    status, second = await refresh(server, session, first["refresh_token"])
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert await whoami(server, session, second["access_token"]) == (200, "Alice")
    wanted = {"token": 2, "code": 1, "refresh": 1, "resource": 2, "unauthorized": 1}
    assert counted() == wanted


async def test_an_old_refresh_token_kills_the_whole_grant(
    server: Provider, session: Session, counted: Counted
) -> None:
    first = await signed_in(server, session)
    _, second = await refresh(server, session, first["refresh_token"])
    assert (await refresh(server, session, first["refresh_token"])) == (400, "invalid_grant")
    assert (await refresh(server, session, second["refresh_token"])) == (400, "invalid_grant")
    assert (await whoami(server, session, second["access_token"]))[0] == 401
    assert counted()["invalid_grant"] == 2


async def test_of_refreshes_at_once_with_one_token_one_is_served(
    server: Provider, session: Session, counted: Counted
) -> None:
    token = (await signed_in(server, session))["refresh_token"]
    answers = await asyncio.gather(*(refresh(server, session, token) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    assert counted()["invalid_grant"] == 7


async def test_without_rotation_a_refresh_token_stays_good(kind: str, session: Session) -> None:
    async with provider(kind, redirect_uris=[CALLBACK], rotate=False, repeat_refresh_token=False) as server:
        token = (await signed_in(server, session))["refresh_token"]
        for _ in range(3):
            status, answer = await refresh(server, session, token)
            assert status == 200
            assert "refresh_token" not in answer


async def test_a_short_lifetime_is_told_and_kept(kind: str, session: Session) -> None:
    async with provider(kind, redirect_uris=[CALLBACK], access_token_ttl=1) as server:
        token = await signed_in(server, session)
        assert token["expires_in"] == 1
        async with asyncio.timeout(5):
            while (await whoami(server, session, token["access_token"]))[0] == 200:
                pass


async def test_revoke_all_leaves_nothing_that_works(server: Provider, session: Session) -> None:
    token = await signed_in(server, session)
    server.revoke_all()
    assert (await whoami(server, session, token["access_token"]))[0] == 401
    assert await refresh(server, session, token["refresh_token"]) == (400, "invalid_grant")


async def test_a_client_may_revoke_what_it_was_given(
    server: Provider, session: Session, counted: Counted
) -> None:
    token = await signed_in(server, session)
    form = {"token": token["refresh_token"], "token_type_hint": "refresh_token"}
    async with session.post(server.revocation_url, data=form, headers=basic(server)) as answer:
        assert answer.status == 200
    assert await refresh(server, session, token["refresh_token"]) == (400, "invalid_grant")
    assert counted()["revoked"] == 1


async def test_the_secret_is_taken_in_header_and_body_and_must_be_right(
    server: Provider, session: Session
) -> None:
    form = {"grant_type": "client_credentials", "scope": "read"}
    in_body = form | {"client_id": server.client_id, "client_secret": server.client_secret}
    async with session.post(server.token_url, data=in_body) as answer:
        assert answer.status == 200
    async with session.post(server.token_url, data=form, headers=basic(server)) as answer:
        assert answer.status == 200
        token = await answer.json()
    assert await whoami(server, session, token["access_token"]) == (200, "Gateway")
    async with session.post(server.token_url, data=in_body | {"client_secret": "wrong"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (401, "invalid_client")


async def test_a_code_belongs_to_the_client_that_asked_for_it(server: Provider, session: Session) -> None:
    landed = await server.consent(authorize(server), session)
    form = {
        "grant_type": "authorization_code",
        "code": query(landed)["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        "client_id": server.second_client.id,
        "client_secret": server.second_client.secret,
    }
    async with session.post(server.token_url, data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_grant")


async def test_a_device_waits_for_its_person(server: Provider, session: Session) -> None:
    client = {"client_id": server.client_id, "client_secret": server.client_secret}
    form = client | {"scope": "read"}
    async with session.post(server.device_authorization_url, data=form) as answer:
        assert answer.status == 200
        device = await answer.json()
    assert device["user_code"]
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    form = client | {"grant_type": grant, "device_code": device["device_code"]}
    async with session.post(server.token_url, data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "authorization_pending")


async def test_who_declines_gives_no_code(server: Provider, session: Session) -> None:
    landed = await server.consent(authorize(server), session, approve=False)
    assert query(landed)["error"] == "access_denied"
    assert "code" not in query(landed)


async def test_the_issuer_may_be_left_out_or_be_a_lie(kind: str, session: Session) -> None:
    lie = "http://127.0.0.1:1"
    for told, expected in ((False, None), (lie, lie)):
        async with provider(kind, redirect_uris=[CALLBACK], iss=told) as server:
            landed = query(await server.consent(authorize(server), session))
            assert landed.get("iss") == expected
            assert landed["code"]
            assert landed["state"] == "the-state"


async def test_a_redirect_uri_must_be_registered_and_may_be_later(kind: str, session: Session) -> None:
    later = "http://127.0.0.1:8/late"
    async with provider(kind) as server:
        with pytest.raises(ConsentFailed):
            await server.consent(authorize(server, redirect_uri=later), session)
        server.add_redirect_uri(later)
        assert (await server.consent(authorize(server, redirect_uri=later), session)).startswith(later)


async def test_planned_answers_come_first_and_are_counted(
    server: Provider, session: Session, counted: Counted
) -> None:
    token = await signed_in(server, session)
    html = TokenAnswer(body="<html>", headers={"Content-Type": "text/html"})
    server.plan_token_answers(TokenAnswer(status=503, body='{"error": "busy"}'), html)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    async with session.post(server.token_url, data=form, headers=basic(server)) as answer:
        assert (answer.status, await answer.json()) == (503, {"error": "busy"})
    async with session.post(server.token_url, data=form, headers=basic(server)) as answer:
        assert (answer.content_type, await answer.text()) == ("text/html", "<html>")
    assert (await refresh(server, session, token["refresh_token"]))[0] == 200
    assert counted() == {"token": 4, "code": 1, "refresh": 3}


async def test_requests_are_kept_as_they_came(server: Provider, session: Session) -> None:
    await refresh(server, session, "nonsense")
    seen = server.requests()[-1]
    assert seen["method"] == "POST"
    assert server.token_url.endswith(seen["path"])
    assert parse_qs(seen["body"]) == {"grant_type": ["refresh_token"], "refresh_token": ["nonsense"]}
    assert seen["headers"]["authorization"] == basic(server)["Authorization"]


async def test_a_delayed_answer_has_already_happened(kind: str, session: Session) -> None:
    async with provider(kind, redirect_uris=[CALLBACK], token_delay=0.3) as server:
        token = (await signed_in(server, session))["refresh_token"]
        given_up = asyncio.create_task(refresh(server, session, token))
        while (await asyncio.to_thread(server.counts))["refresh"] == 0:
            pass
        given_up.cancel()
        assert await refresh(server, session, token) == (400, "invalid_grant")


async def test_a_stopped_server_is_gone(kind: str) -> None:
    async with provider(kind) as server:
        pid, port = server.pid, urlsplit(server.issuer).port
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_two_servers_run_side_by_side(kind: str, session: Session) -> None:
    async with provider(kind, redirect_uris=[CALLBACK]) as one, provider(kind) as other:
        assert one.issuer != other.issuer
        token = await signed_in(one, session)
        assert (await whoami(other, session, token["access_token"]))[0] == 401


async def test_without_a_kind_the_first_that_starts_is_taken() -> None:
    if not available_providers():
        lacking("any OAuth server")
    async with provider(redirect_uris=[CALLBACK]) as server:
        assert server.kind in available_providers()


async def test_an_unknown_kind_is_unavailable() -> None:
    with pytest.raises(ProviderUnavailable, match="abacus"):
        async with provider("abacus"):
            raise AssertionError("it started")


VERIFIER = secrets.token_urlsafe(40)


def s256(verifier: str) -> dict[str, str]:
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {"code_challenge": challenge, "code_challenge_method": "S256"}


def authorize(
    server: Provider, challenge: dict[str, str] | None = None, *, redirect_uri: str = CALLBACK
) -> str:
    wanted = {
        "response_type": "code",
        "client_id": server.client_id,
        "redirect_uri": redirect_uri,
        "scope": "read profile",
        "state": "the-state",
    }
    pkce = s256(VERIFIER) if challenge is None else challenge
    return f"{server.authorization_url}?{urlencode(wanted | pkce)}"


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def basic(server: Provider) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth(server.client_id, server.client_secret)}


async def redeem(
    server: Provider, session: Session, code: str, *, verifier: str | None = VERIFIER
) -> tuple[int, dict[str, Any]]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    if verifier is not None:
        form["code_verifier"] = verifier
    async with session.post(server.token_url, data=form, headers=basic(server)) as answer:
        return answer.status, await answer.json()


async def signed_in(server: Provider, session: Session) -> dict[str, Any]:
    landed = await server.consent(authorize(server), session)
    status, token = await redeem(server, session, query(landed)["code"])
    assert status == 200, token
    return token


async def refresh(server: Provider, session: Session, token: str) -> tuple[int, Any]:
    """The status, and the error's code or else the whole answer."""
    form = {"grant_type": "refresh_token", "refresh_token": token}
    async with session.post(server.token_url, data=form, headers=basic(server)) as answer:
        told = await answer.json()
        return answer.status, told.get("error", told)


async def whoami(server: Provider, session: Session, token: str) -> tuple[int, str | None]:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(server.resource_url, headers=headers) as answer:
        return answer.status, (await answer.json()).get("name")

