"""Preflight: everything in the way at once, the request with its secrets masked, and a promise that holds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from skills_catalog.loader import SHIPPED, load_catalog
from tests.fakes.upstream import HandClock
from tests.harness import RunningGateway, gateway
from tests.workshop import workshop

#: Codes of what only the upstream, or the way to it, can say.
BEYOND = {"upstream_unreachable", "upstream_timeout", "upstream_invalid_response", "response_too_large"}


async def asked(running: RunningGateway, action: str, params: Any, *, key: str | None = None, **more: Any) -> Any:
    body = {"integration": "shop", "action": action, "params": params, **more}
    answer = await running.ask("POST", "/v1/preflight", key=key, body=body)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_everything_in_the_way_is_named_at_once(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, upstream):
        made = await running.ask("POST", "/api-keys", body={"name": "k", "level": "read_only", "users": ["ada"]})
        key = made.json()["full_key"]
        found = await asked(running, "send", {"nota": 1}, key=key, user="bob", connection="conn_none")
        assert found["ok"] is False
        assert [problem["error"] for problem in found["problems"]] == [
            "forbidden", "forbidden", "bad_request", "not_found",
        ]  # fmt: skip
        assert upstream.seen == []


async def test_the_request_is_shown_with_its_secrets_masked(tmp_path: Path) -> None:
    auth = [{"name": "key", "type": "bearer", "title": "Key"}]
    async with workshop(tmp_path, changes={"auth": auth}) as (running, upstream):
        connection = await running.connect("shop", {"token": "tok-very-secret"})
        found = await asked(running, "send", {"note": "mind tok-very-secret and this"})
        assert found["ok"] is True and found["connection"]["id"] == connection
        assert found["request"]["method"] == "POST" and found["request"]["url"].endswith("/send")
        headers = {header["name"]: header["value"] for header in found["request"]["headers"]}
        assert headers["Authorization"] == "[secret]" and headers["Content-Type"] == "application/json"
        assert "tok-very-secret" not in str(found) and "and this" in found["request"]["body"]
        # At the place where a large body is cut no half of it is left either.
        long = "x" * (64 * 1024 - 20) + "tok-very-secret" + "y" * 100
        found = await asked(running, "send", {"note": long})
        assert "tok-ve" not in str(found) and found["request"]["body_bytes"] > 64 * 1024
        assert upstream.seen == []


async def test_it_spends_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    plans = {"p": {"calls_per_day": 3, "credits_per_month": 5}}
    async with workshop(tmp_path, plans=plans, plan="p") as (running, upstream):
        before = (await running.ask("GET", "/v1/usage")).json()
        for _ in range(10):
            found = await asked(running, "look", {})
            assert found["ok"] is True and found["cost"] == 1
        after = (await running.ask("GET", "/v1/usage")).json()
        assert (before["calls"], before["credits"]) == (after["calls"], after["credits"])
        assert (await running.ask("GET", "/v1/runs")).json()["runs"] == [] and upstream.seen == []


async def test_ok_is_a_promise_about_every_local_check(tmp_path: Path, clock: HandClock) -> None:
    """Whatever a preflight says of a call, the call itself finds the same."""
    plans = {"p": {"calls_per_day": 400}}
    async with workshop(tmp_path, plans=plans, plan="p", clock=clock) as (running, _):
        keys: list[str | None] = [None, running.org.test]
        for grant in (
            {"level": "read_only"},
            {"level": "read_write"},
            {"scopes": ["github"]},
            {"users": ["ada"]},
            {"users": ["ada", "bob"]},
            {"allow": ["shop.look"]},
            {"deny": ["shop.send"]},
        ):
            made = await running.ask("POST", "/api-keys", body={"name": "k", **grant})
            assert made.status == 201, made.body
            keys.append(made.json()["full_key"])
        ways: list[dict[str, Any]] = [
            {}, {"user": "ada"}, {"user": "carl"}, {"connection": "conn_none"}, {"all": True}, {"connection": "x" * 20},
        ]  # fmt: skip
        several: list[Any] = [{"note": "x"}, {"note": 1}, {"nota": "x"}, {}]
        agreed = {True: 0, False: 0}
        for key, way, action, params in itertools.product(keys, ways, ("look", "send", "remove", "get_job"), several):
            found = await asked(running, action, params, key=key, **way)
            answer = await running.call("shop", action, params, key=key, **way)
            refused = None if answer.status == 200 else answer.json()["error"]
            assert refused not in BEYOND
            if found["ok"]:
                assert refused is None, (action, params, way, answer.body)
            else:
                assert found["problems"][0]["error"] == refused, (action, params, way, found["problems"], answer.body)
            agreed[found["ok"]] += 1
            clock.move(0.5)
        assert agreed[True] > 100 and agreed[False] > 100
        # The day's calls are used up meanwhile: that is told beforehand too.
        for _ in range(400):
            clock.move(0.5)
            if (await running.call("shop", "look", {})).status == 429:
                break
        found = await asked(running, "look", {})
        assert [problem["error"] for problem in found["problems"]] == ["daily_limit_reached"]


async def test_every_action_of_the_catalog_passes_with_its_example(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        count = 0
        for integration in load_catalog([SHIPPED]).integrations.values():
            for skill in integration.skills.values():
                for example in skill.examples:
                    body = {"integration": integration.slug, "action": skill.name, "params": example.params}
                    found = (await running.ask("POST", "/v1/preflight", key=running.org.test, body=body)).json()
                    assert found["ok"] is True, (skill.id, found["problems"])
                    count += 1
        assert count > 100


async def test_what_does_not_exist_is_no_problem_but_a_404(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, _):
        for names in ({"integration": "shop", "action": "nothing"}, {"integration": "nowhere", "action": "look"}):
            answer = await running.ask("POST", "/v1/preflight", body={**names, "params": {}})
            assert (answer.status, answer.json()["error"]) == (404, "not_found")
        answer = await running.ask("POST", "/v1/preflight", body={"integration": "shop"})
        assert answer.json()["details"]["fields"][0]["path"] == "action"


async def test_params_that_are_refused_are_named_with_a_connection_too(tmp_path: Path) -> None:
    auth = [{"name": "key", "type": "bearer", "title": "Key"}]
    async with workshop(tmp_path, changes={"auth": auth}) as (running, _):
        await running.connect("shop", {"token": "tok"})
        found = await asked(running, "send", {"nota": 1})
        assert [problem["error"] for problem in found["problems"]] == ["bad_request"]
