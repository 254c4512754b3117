"""The same against authorization servers that we did not write: PKCE, reuse detection, revocation."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from oauth.connections import Connection, ConnectionState, Credential, Held
from oauth.credentials import CredentialSource, NeedsReauth
from oauth.flow import CallbackRefused, begin, check_callback, hash_state
from oauth.provider import Provider
from oauth.secret import Secret
from oauth.token_answers import ClientRefused, GrantDead, TokenAnswer
from oauth.tokens import exchange_code, own_token, refresh, revoke
from tests.fakes import provider as fakes
from tests.oauth.ends import AiohttpHttp, Clock, MemoryConnections, MemoryLeases, way_out

CALLBACK = "http://127.0.0.1:9/oauth/callback/demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One person's browser, our way out, and an authorization server."""

    server: fakes.Provider
    browser: aiohttp.ClientSession
    http: AiohttpHttp

    def provider(self, **changes: Any) -> Provider:
        made = Provider(
            authorization_url=self.server.authorization_url,
            token_url=self.server.token_url,
            revocation_url=self.server.revocation_url,
            client_id=self.server.client_id,
            client_secret=Secret(self.server.client_secret),
            redirect_uri=CALLBACK,
            issuer=self.server.issuer,
        )
        return replace(made, **changes)

    async def come_back(self, url: str, **choice: Any) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(await self.server.consent(url, self.browser, **choice)).query)

    async def connect(self) -> TokenAnswer:
        provider = self.provider()
        begun = begin(provider, ["read", "profile"])
        returned = await self.come_back(begun.url)
        assert hash_state(dict(returned)["state"]) == hash_state(begun.state.reveal())
        code = check_callback(provider, returned).code
        return await exchange_code(self.http, provider, code, begun.verifier, now=0.0)

    async def works(self, credential: Credential) -> bool:
        assert credential.token is not None
        headers = {"Authorization": f"Bearer {credential.token.reveal()}"}
        async with self.browser.get(self.server.resource_url, headers=headers) as answer:
            return answer.status == 200


@pytest.fixture(scope="module", params=["oidc", "dot"])
def server(request: pytest.FixtureRequest) -> Iterator[fakes.Provider]:
    kind = str(request.param)
    if kind not in fakes.available_providers():
        lacking(f"the OAuth server {kind!r}")
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(fakes.provider_process(kind, redirect_uris=[CALLBACK]))
        except fakes.ProviderUnavailable as refusal:
            lacking(str(refusal))
        yield started


@pytest.fixture
async def desk(server: fakes.Provider) -> AsyncIterator[Desk]:
    async with fakes.browser() as browser, way_out() as http:
        yield Desk(server=server, browser=browser, http=http)


def lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"this machine lacks {what}, which CI must have")
    pytest.skip(f"this machine lacks {what}")


async def test_a_person_connects_and_the_token_works(desk: Desk) -> None:
    granted = await desk.connect()
    assert granted.scopes is not None
    assert set(granted.scopes) == {"read", "profile"}
    assert granted.credential.refresh_token
    assert granted.credential.expires_at == 3600
    assert await desk.works(granted.credential)


@pytest.mark.parametrize("token_auth", ["basic", "post"])
async def test_a_refresh_gives_a_new_pair(desk: Desk, token_auth: Any) -> None:
    first = (await desk.connect()).credential
    second = (await refresh(desk.http, desk.provider(token_auth=token_auth), first, now=0.0)).credential
    assert second.refresh_token != first.refresh_token
    assert await desk.works(second)


async def test_without_the_verifier_a_code_is_dead(desk: Desk) -> None:
    provider = desk.provider()
    begun = begin(provider, ["read"])
    code = check_callback(provider, await desk.come_back(begun.url)).code
    with pytest.raises(GrantDead):
        await exchange_code(desk.http, provider, code, Secret("w" * 43), now=0.0)


async def test_a_code_is_redeemed_once(desk: Desk) -> None:
    provider = desk.provider()
    begun = begin(provider, ["read"])
    code = check_callback(provider, await desk.come_back(begun.url)).code
    await exchange_code(desk.http, provider, code, begun.verifier, now=0.0)
    with pytest.raises(GrantDead, match="invalid_grant"):
        await exchange_code(desk.http, provider, code, begun.verifier, now=0.0)


async def test_a_wrong_secret_is_the_operators(desk: Desk) -> None:
    first = (await desk.connect()).credential
    with pytest.raises(ClientRefused, match="invalid_client"):
        await refresh(desk.http, desk.provider(client_secret=Secret("wrong")), first, now=0.0)
    assert await desk.works((await refresh(desk.http, desk.provider(), first, now=0.0)).credential)


async def test_a_person_may_decline(desk: Desk) -> None:
    # django-oauth-toolkit leaves `iss` out of its errors, which RFC 9207 does not allow.
    provider = desk.provider(issuer=desk.server.issuer if desk.server.kind == "oidc" else None)
    # A session of its own: who has agreed once is not always asked again.
    async with fakes.browser() as browser:
        other = replace(desk, browser=browser)
        returned = await other.come_back(begin(provider, ["write"]).url, approve=False, login="bob")
    with pytest.raises(CallbackRefused) as caught:
        check_callback(provider, returned)
    assert caught.value.error == "access_denied"


async def test_an_answer_in_the_name_of_another_issuer_is_refused(desk: Desk) -> None:
    for told in (False, "http://127.0.0.1:1"):
        async with fakes.provider(desk.server.kind, redirect_uris=[CALLBACK], iss=told) as lying:
            liar = replace(desk, server=lying)
            returned = await liar.come_back(begin(liar.provider(), ["read"]).url)
            assert dict(returned)["code"]
            with pytest.raises(CallbackRefused) as caught:
                check_callback(liar.provider(), returned)
            assert caught.value.error == "issuer_mismatch"
            assert lying.counts()["token"] == 0


async def test_a_disconnected_account_is_gone_at_the_provider(desk: Desk) -> None:
    credential = (await desk.connect()).credential
    assert await revoke(desk.http, desk.provider(), credential) is True
    assert not await desk.works(credential)
    with pytest.raises(GrantDead, match="invalid_grant"):
        await refresh(desk.http, desk.provider(), credential, now=0.0)
    assert await revoke(desk.http, desk.provider(), credential) is True


async def test_a_client_gets_a_token_of_its_own(desk: Desk) -> None:
    granted = await own_token(desk.http, desk.provider(grant="client_credentials", scopes=("read",)), now=0.0)
    assert await desk.works(granted.credential)
    assert granted.credential.refresh_token is None


class Processes:
    """Several credential sources over one store, as several processes would be."""

    def __init__(self, desk: Desk, granted: TokenAnswer, number: int) -> None:
        self.clock = Clock(0.0)
        self.store = MemoryConnections(self.clock)
        leases = MemoryLeases(self.clock)
        connection = Connection(
            id="conn_1",
            org="org_1",
            integration="demo",
            user="default",
            method="oauth",
            state=ConnectionState.ACTIVE,
            scopes=granted.scopes,
        )
        self.store.put(Held(connection=connection, credential=granted.credential))

        async def provider_for(connection: Connection, credential: Credential) -> Provider:
            return desk.provider()

        self.sources = [
            CredentialSource(self.store, leases, desk.http, provider_for, owner_id=str(index), clock=self.clock)
            for index in range(number)
        ]

    @property
    def held(self) -> Held:
        (only,) = self.store.rows.values()
        return only


async def test_many_calls_of_many_processes_at_expiry_never_meet_reuse_detection(desk: Desk) -> None:
    processes = Processes(desk, await desk.connect(), 4)
    before = desk.server.counts()
    for expiry in range(1, 11):
        desk.server.expire_access_tokens()
        processes.clock.move(3600)
        held = processes.held
        found = await asyncio.gather(*(source.fresh(held) for source in processes.sources for _ in range(50)))
        assert len({each.credential.token for each in found}) == 1
        assert await desk.works(found[0].credential)
        counts = desk.server.counts()
        assert counts["refresh"] - before["refresh"] == expiry
        assert counts["invalid_grant"] == before["invalid_grant"]


async def test_many_upstream_401s_of_many_processes_renew_once(desk: Desk) -> None:
    processes = Processes(desk, await desk.connect(), 4)
    before = desk.server.counts()
    for revocation in range(1, 6):
        desk.server.expire_access_tokens()
        held = processes.held
        assert not await desk.works(held.credential)
        found = await asyncio.gather(*(source.renew(held) for source in processes.sources for _ in range(25)))
        assert await desk.works(found[0].credential)
        assert desk.server.counts()["refresh"] - before["refresh"] == revocation
    assert desk.server.counts()["invalid_grant"] == before["invalid_grant"]


async def test_a_grant_withdrawn_at_the_provider_needs_a_person_after_one_question(desk: Desk) -> None:
    processes = Processes(desk, await desk.connect(), 2)
    before = desk.server.counts()
    desk.server.revoke_all()
    processes.clock.move(3600)
    held = processes.held
    for _ in range(3):
        refused = await asyncio.gather(*(source.fresh(held) for source in processes.sources), return_exceptions=True)
        assert {type(each) for each in refused} == {NeedsReauth}
    assert processes.held.connection.reason == "invalid_grant"
    assert desk.server.counts()["refresh"] - before["refresh"] == 1


async def test_a_provider_that_never_repeats_the_refresh_token_keeps_working(desk: Desk) -> None:
    async with fakes.provider(
        desk.server.kind, redirect_uris=[CALLBACK], rotate=False, repeat_refresh_token=False
    ) as quiet:
        quieter = replace(desk, server=quiet)
        credential = (await quieter.connect()).credential
        for _ in range(3):
            renewed = (await refresh(desk.http, quieter.provider(), credential, now=0.0)).credential
            assert renewed.refresh_token == credential.refresh_token
            assert await quieter.works(renewed)
            credential = renewed
