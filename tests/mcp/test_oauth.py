"""OAuth at `/mcp`, where it is switched on: only tokens of the provider, made for us, for people who are members."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.github import GitHub
from tests.fakes.issuer import CLIENT_ID, FakeIssuer, hostile_tokens, issuer
from tests.fakes.upstream import HandClock, serve
from tests.harness import RunningGateway, gateway
from tests.mcp.wire import modern, older, tool
from tests.people import invite

METADATA = "/.well-known/oauth-protected-resource"
CALL = {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}}


@pytest.fixture
async def fake(clock: HandClock) -> AsyncIterator[FakeIssuer]:
    async with issuer(clock) as made:
        made.claims = {"email": "ada@example.com", "email_verified": True}
        yield made


@asynccontextmanager
async def at(folder: Path, fake: FakeIssuer, clock: HandClock, **more: Any) -> AsyncIterator[RunningGateway]:
    settings = {"oidc_issuer": fake.url, "oidc_client_id": CLIENT_ID, "mcp_oauth": "on", **more}
    async with gateway(folder, clock=clock, **settings) as running:
        yield running


def access(fake: FakeIssuer, running: RunningGateway, **claims: Any) -> str:
    """An access token made for this gateway, unless the claims say otherwise."""
    said = {"aud": f"{running.url}/mcp", "client_id": "some-agent", "scope": "openid", **claims}
    return fake.id_token(header={"typ": "at+jwt"}, **said)


async def test_a_client_without_a_key_is_led_from_the_401_to_the_provider(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock
) -> None:
    async with at(tmp_path, fake, clock) as running:
        refused = await modern(running, "tools/list", key="")
        place = f"{running.url}{METADATA}/mcp"
        wanted = f'resource_metadata="{place}", scope="openid email profile"'
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, f"Bearer {wanted}")
        wrong = await older(running, "ping", key="nonsense")
        assert wrong.headers["WWW-Authenticate"] == f'Bearer error="invalid_token", {wanted}'
        for path in (f"{METADATA}/mcp", METADATA):
            said = (await running.ask("GET", path, key="")).json()
            assert said["resource"] == f"{running.url}/mcp"
            assert said["authorization_servers"] == [fake.url]
        # A key works as it always did, and the rest of the gateway says nothing of it.
        assert (await modern(running, "tools/list")).status == 200
        assert (await running.ask("GET", "/v1/skills", key="")).headers["WWW-Authenticate"] == "Bearer"


async def test_a_member_asks_with_a_token_made_for_us_and_it_goes_no_further(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock
) -> None:
    async with serve(GitHub()) as github:
        where = {"github": {"base_url": github.base_url}}
        async with at(tmp_path, fake, clock, integrations=where) as running:
            token = access(fake, running)
            assert (await modern(running, "tools/list", key=token)).status == 403
            await invite(running)
            clock.move(5)
            await running.connect("github", {"token": github.upstream.token})
            answer = await tool(running, "call_skill", CALL, key=token)
            assert answer["structuredContent"]["status"] == 200
            several = access(fake, running, aud=["https://other.example", f"{running.url}/mcp"])
            assert (await modern(running, "tools/list", key=several)).status == 200
            assert github.seen and all(token not in str(seen.headers) + seen.raw_path for seen in github.seen)
            # It is for MCP alone.
            assert (await running.ask("GET", "/v1/skills", key=token)).status == 401


async def test_what_was_made_for_somebody_else_or_is_another_kind_is_refused(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock
) -> None:
    async with at(tmp_path, fake, clock, oidc_on_api="on") as running:
        await invite(running)
        audience = f"{running.url}/mcp"
        refused = {
            "for another": access(fake, running, aud="https://other.example/mcp"),
            "for the gateway, not its /mcp": access(fake, running, aud=running.url),
            "for a longer address": access(fake, running, aud=f"{audience}/"),
            "for another case": access(fake, running, aud=audience.upper()),
            "for our client": access(fake, running, aud=CLIENT_ID),
            "for nobody": access(fake, running, aud=None),
            "for none": access(fake, running, aud=[]),
            "expired": access(fake, running, exp=int(clock()) - 60),
            "without an end": access(fake, running, exp=None),
            "about nobody": access(fake, running, sub=None),
            "of another issuer": access(fake, running, iss="https://other.example"),
            "an ID token": fake.id_token(),
            "an ID token for us": fake.id_token(aud=audience),
            "a logout token": access(fake, running, events={"x": {}}),
            "an upstream's own": "gho_0123456789",
        }
        fake.kind = "at+jwt"
        hostile = hostile_tokens(fake, aud=audience)
        # `azp` is a word of ID tokens: any client of the provider may ask for a token for us.
        for right in ("an access token", "one aud and azp of another", "nothing"):
            del hostile[right]
        refused |= {wrong: token for wrong, token in hostile.items() if token.isprintable()}
        for wrong, token in refused.items():
            answer = await modern(running, "tools/list", key=token)
            # No header may be that long.
            assert answer.status == (400 if wrong == "very long" else 401), wrong
        assert (await modern(running, "tools/list", key=access(fake, running))).status == 200


async def test_switched_off_a_token_is_no_key_and_no_metadata_is_found(
    tmp_path: Path, fake: FakeIssuer, clock: HandClock
) -> None:
    async with at(tmp_path, fake, clock, mcp_oauth="off") as running:
        await invite(running)
        answer = await modern(running, "tools/list", key=access(fake, running))
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["data"]["error"] == "api_key_invalid"
        for path in (METADATA, f"{METADATA}/mcp", "/.well-known/oauth-authorization-server"):
            assert (await running.ask("GET", path, key="")).status == 404
        assert fake.asked == []
