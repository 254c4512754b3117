"""Signing up: an org and its first key in one call, for whomever the operator lets, and for nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.app import open_gateway
from gateway.core.tenants.keys import is_well_formed
from gateway.installation import open_installation
from gateway.operator_file import BadSetting
from gateway.settings import load_settings
from gateway.store.orgs import SqlOrgs
from tests.fakes.issuer import CLIENT_ID, issuer
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, environment, gateway
from tests.operator import MISCONFIGURED, Operator
from tests.people import invite, member_of

TOKEN = "operators-token-5b1f"
PLANS = {"free": {"requests_per_minute": 60, "api_keys": 3}}


async def sign_up(running: RunningGateway, bearer: str = "", **body: Any) -> Answer:
    return await running.ask("POST", "/v1/signup", key=bearer, body={"org_name": "Globex", **body})


async def test_sign_up_is_off_unless_the_operator_says_so(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for bearer in ("", TOKEN, running.org.live):
            answer = await sign_up(running, bearer)
            assert (answer.status, answer.json()["error"]) == (403, "forbidden")
            assert "off" in answer.json()["message"]


async def test_the_operators_token_makes_an_org_its_key_and_its_member(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    settings = {"signup": "operator", "signup_token": TOKEN, "signup_plan": "free", **database_setting}
    async with gateway(tmp_path, plans=PLANS, **settings) as running:
        for bearer in ("", "wrong", TOKEN[:-1], TOKEN + "x", running.org.live, "é"):
            answer = await sign_up(running, bearer)
            assert (answer.status, answer.json()["error"]) == (401, "unauthorized"), bearer
        answer = await sign_up(running, TOKEN, key_name="prod", email="Hank@Example.com")
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
        made = answer.json()
        assert set(made) == {"org", "api_key", "full_key", "warning", "member"}
        assert (made["org"]["name"], made["org"]["plan"]) == ("Globex", "free")
        assert (made["api_key"]["name"], made["api_key"]["level"]) == ("prod", "full_access")
        assert made["member"]["email"] == "hank@example.com"
        assert is_well_formed(made["full_key"])
        verified = await running.ask("GET", "/v1/verify", key=made["full_key"])
        assert verified.json()["org"] == {"id": made["org"]["id"], "name": "Globex", "plan": "free"}
        assert verified.headers["X-RateLimit-Limit"] == "60"
        audit = (await running.ask("GET", "/v1/events?kind=audit", key=made["full_key"])).json()["events"]
        assert [(event["type"], event["actor"]["type"]) for event in audit] == [
            ("org.created", "operator"), ("member.added", "operator"), ("api_key.created", "operator"),
        ]  # fmt: skip
        # The address is taken; nothing of a second try stays behind.
        before = await _orgs(running)
        again = await sign_up(running, TOKEN, email="hank@example.com")
        assert (again.status, again.json()["error"]) == (409, "conflict")
        assert await _orgs(running) == before
        bare = (await sign_up(running, TOKEN)).json()
        assert bare["api_key"]["name"] == "first key" and "member" not in bare


WRONG_WISHES: list[tuple[dict[str, Any], str]] = [
    ({"org_name": ""}, "org_name"),
    ({"org_name": "  "}, "org_name"),
    ({"org_name": "x" * 129}, "org_name"),
    ({"org_name": "a\x07"}, "org_name"),
    ({"org_name": 7}, "org_name"),
    ({"key_name": ""}, "key_name"),
    ({"email": "nonsense"}, "email"),
    ({"plan": "enterprise"}, "plan"),
    ({"mode": "live"}, "mode"),
]


async def test_a_wrong_sign_up_is_told_with_its_field(tmp_path: Path) -> None:
    async with gateway(tmp_path, signup="operator", signup_token=TOKEN) as running:
        for body, path in WRONG_WISHES:
            answer = await sign_up(running, TOKEN, **body)
            assert (answer.status, answer.json()["details"]["fields"][0]["path"]) == (400, path), body
        two = await running.ask("POST", "/v1/signup?plan=x", key=TOKEN, body={"org_name": "x"})
        assert two.status == 400


async def test_a_person_of_the_provider_signs_up_once(
    tmp_path: Path, clock: HandClock, database_setting: dict[str, Any]
) -> None:
    async with issuer(clock) as fake:
        settings: dict[str, Any] = {"oidc_issuer": fake.url, "oidc_client_id": CLIENT_ID, "signup": "oidc", "signup_plan": "free"}
        async with gateway(tmp_path, plans=PLANS, clock=clock, **settings, **database_setting) as running:
            fake.claims = {"email": "eve@example.com", "email_verified": True, "name": "Eve"}
            for bearer in ("", "x", TOKEN, fake.id_token(aud="other"), fake.by_hand({"alg": "none"})):
                answer = await sign_up(running, bearer)
                assert (answer.status, answer.json()["error"]) == (401, "unauthorized"), bearer
            token = fake.id_token(sub="eve")
            wrong = await sign_up(running, token, email="other@example.com")
            assert (wrong.status, wrong.json()["details"]["fields"][0]["path"]) == (400, "email")
            answers = await asyncio.gather(*(sign_up(running, token, email="eve@example.com") for _ in range(5)))
            assert sorted(answer.status for answer in answers) == [201] + [409] * 4
            made = next(answer.json() for answer in answers if answer.status == 201)
            assert made["member"]["name"] == "Eve" and made["org"]["plan"] == "free"
            assert (await member_of(running, "eve@example.com")).subject == "eve"
            assert (await sign_up(running, token)).json()["error"] == "conflict"
            # Whoever was invited somewhere is expected there.
            await invite(running, "bob@example.com")
            invited = fake.id_token(sub="bob", email="bob@example.com")
            assert (await sign_up(running, invited)).json()["error"] == "conflict"
            # An address that nobody verified is not theirs: they have none.
            fake.claims = {"email": "ada@example.com", "email_verified": False}
            stranger = (await sign_up(running, fake.id_token(sub="stranger"))).json()
            assert stranger["member"]["email"] is None
            assert len(await _orgs(running)) == 3


async def test_open_sign_up_lets_anybody_five_times_an_hour(
    tmp_path: Path, clock: HandClock, database_setting: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {
        "signup": "open", "tenancy": "separate", "verify_connect": "session", "signup_plan": "free",
    }  # fmt: skip
    async with gateway(tmp_path, plans=PLANS, clock=clock, **settings, **database_setting) as running:
        answers = await asyncio.gather(*(sign_up(running) for _ in range(8)))
        assert sorted(answer.status for answer in answers) == [201] * 5 + [429] * 3
        full = next(answer for answer in answers if answer.status == 429)
        assert full.json()["error"] == "rate_limited" and full.headers["Retry-After"] == "3600"
        clock.move(3601)
        made = (await sign_up(running, email="victim@example.com")).json()
        # Nobody knows that it is theirs: it makes no member, and keeps nobody's address from them.
        assert "member" not in made
        await invite(running, "victim@example.com")
        audit = (await running.ask("GET", "/v1/events?kind=audit", key=made["full_key"])).json()["events"]
        assert [(event["type"], event["actor"]["type"]) for event in audit] == [
            ("org.created", "user"), ("api_key.created", "user"),
        ]  # fmt: skip
        assert audit[0]["data"]["contact"] == "victim@example.com"
        # It is an org like any other, apart from the others, with the plan's limits.
        listed = (await running.ask("GET", "/api-keys", key=made["full_key"])).json()
        assert [key["id"] for key in listed] == [made["api_key"]["id"]]


async def test_open_sign_up_counts_by_the_address_that_a_trusted_proxy_names(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "signup": "open", "tenancy": "separate", "signup_plan": "free", "trusted_proxies": "127.0.0.1",
    }  # fmt: skip
    async with gateway(tmp_path, plans=PLANS, **settings) as running:

        async def come_from(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            body = {"org_name": "x"}
            return (await running.ask("POST", "/v1/signup", key="", body=body, headers=headers)).status

        assert [await come_from("203.0.113.7") for _ in range(6)] == [201] * 5 + [429]
        assert await come_from("203.0.113.8") == 201
        # Whoever has IPv6 has more addresses than anybody can count: their network is one.
        assert [await come_from(f"2001:db8::{number}") for number in range(1, 7)] == [201] * 5 + [429]
        assert await come_from("2001:db8:0:1::1") == 201


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"signup": "open", "signup_plan": "free"}, "TENANCY=separate"),
        ({"signup": "open", "tenancy": "separate"}, "SIGNUP_PLAN"),
        ({"signup": "operator", "signup_token": TOKEN, "signup_plan": "fre"}, "did you mean 'free'"),
        ({"signup": "operator"}, "SIGNUP_TOKEN"),
        ({"signup": "oidc"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://id.example.com"}, "OIDC_CLIENT_ID"),
        ({"oidc_client_id": "x"}, "OIDC_ISSUER"),
        ({"oidc_on_api": "on"}, "OIDC_ISSUER"),
        ({"mcp_oauth": "on"}, "OIDC_ISSUER"),
    ],
)
async def test_settings_that_do_not_go_together_are_told_at_the_start(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    loaded, installation = load_settings(environment(tmp_path, None, None, settings, PLANS))
    with pytest.raises(BadSetting, match=said):
        async with open_gateway(loaded, installation, port=8700):
            raise AssertionError("it started")


async def test_serve_and_doctor_say_what_does_not_go_together(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here", signup="open")
    operator.init()
    for words in (("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2")):
        done = await operator.later(*words)
        assert done.code == MISCONFIGURED and "SKILLWAY_TENANCY=separate" in done.err
    checks = (await operator.later("doctor")).json()["checks"]
    assert [check["ok"] for check in checks if check["check"] == "sign-in"] == [False]
    told = operator.with_settings(signup=None, oidc_issuer="https://id.example.com", oidc_client_id="x").done("doctor")
    [fine] = [check for check in told.json()["checks"] if check["check"] == "sign-in"]
    assert fine["ok"] and "redirect URI http://127.0.0.1:8700/sign-in/callback" in fine["message"]


async def _orgs(running: RunningGateway) -> list[str]:
    assert running.services is not None
    async with open_installation(running.services.settings) as opened:
        return [org.id for org in await SqlOrgs(opened.database).list()]
