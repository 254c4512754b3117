"""Plans from the outside: what is left, what is refused and until when, on one replica and on two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import time
from typing import Any

import pytest

from gateway.core.events import OPERATOR
from gateway.core.times import day_of, month_of
from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.events import SqlEvents
from gateway.store.ledger import SqlLedger
from gateway.store.orgs import SqlOrgs
from tests.conftest import lacking
from tests.fakes.github import GitHub
from tests.fakes.upstream import HandClock, serve
from tests.fakes.valkey import Valkey, ValkeyMissing, valkey
from tests.harness import Answer, RunningGateway, gateway, gateway_process
from tests.operator import Operator

REPO = {"repo": "acme/webapp"}


@pytest.fixture
def cache() -> Iterator[Valkey]:
    try:
        with valkey() as started:
            yield started
    except ValkeyMissing as missing:
        lacking(str(missing))


@pytest.fixture
def clock() -> HandClock:
    """In the middle of a minute, an hour, a day and a month."""
    return HandClock(1_795_000_000.0)


async def ask(running: RunningGateway, path: str = "/v1/verify") -> Answer:
    return await running.ask("GET", path, key=running.org.test)


# --------------------------------------------------------------------------------------------------- requests


async def test_every_answer_says_what_is_left_of_the_minute(tmp_path: Path, clock: HandClock) -> None:
    async with gateway(tmp_path, plans={"p": {"requests_per_minute": 3}}, plan="p", clock=clock) as running:
        reset = str((int(clock.now) // 60 + 1) * 60)
        seen = []
        for path in ("/v1/verify", "/v1/skills", "/v1/skills/nothing"):
            answer = await ask(running, path)
            seen.append(answer.headers["X-RateLimit-Remaining"])
            assert (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Reset"]) == ("3", reset)
        assert seen == ["2", "1", "0"]
        refused = await ask(running)
        body = refused.json()
        assert (refused.status, body["error"], body["retryable"]) == (429, "rate_limited", True)
        assert refused.headers["X-RateLimit-Remaining"] == "0"
        assert int(refused.headers["Retry-After"]) == int(reset) - int(clock.now) == body["retry_after_ms"] // 1000
        assert body["details"]["limit"] == 3 and body["details"]["per"] == "minute"
        # By key: another one of the same org goes on.
        assert (await running.ask("GET", "/v1/verify")).status == 200
        clock.move(60)
        assert (await ask(running)).headers["X-RateLimit-Remaining"] == "2"


async def test_an_org_without_a_plan_and_a_plan_without_a_limit_know_no_rate(tmp_path: Path) -> None:
    async with gateway(tmp_path, plans={"p": {"connections": 1}}, plan="p") as running:
        answer = await ask(running)
        assert answer.status == 200 and not [name for name in answer.headers if name.startswith("X-RateLimit")]


async def test_a_stream_says_what_is_left_too(tmp_path: Path) -> None:
    async with gateway(tmp_path, plans={"p": {"requests_per_minute": 9}}, plan="p") as running:
        answer = await running.ask(
            "POST", "/v1/github/get_repo?raw=1", key=running.org.test, body={"params": REPO}
        )
        assert answer.headers["X-RateLimit-Remaining"] == "8"


async def test_windows_of_an_action_and_of_a_route_are_counted_by_key(tmp_path: Path, clock: HandClock) -> None:
    windows = {
        "github.get_repo": {"per_minute": 2, "per_hour": 3},
        "overten.*": {"per_day": 1},
        "GET /v1/skills/{integration}": {"per_hour": 1},
    }
    async with gateway(tmp_path, plans={"p": {"windows": windows}}, plan="p", clock=clock) as running:

        async def call(action: str = "get_repo", integration: str = "github", params: Any = REPO) -> int:
            return (await running.call(integration, action, params, key=running.org.test)).status

        assert [await call() for _ in range(3)] == [200, 200, 429]
        assert await call("list_issues_for_repo") == 200
        clock.move(60)
        assert [await call() for _ in range(2)] == [200, 429]
        refused = (await running.call("github", "get_repo", REPO, key=running.org.test)).json()
        assert refused["error"] == "rate_limited"
        assert refused["details"]["what"] == "github.get_repo" and refused["details"]["per"] == "hour"
        # One pattern is one count, whichever of its actions is called.
        assert [await call("list_runs", "overten", {}), await call("list_images", "overten", {})] == [200, 429]
        paths = ("/v1/skills/github", "/v1/skills/overten", "/v1/skills")
        assert [(await ask(running, path)).status for path in paths] == [200, 429, 200]


async def test_an_action_that_the_plan_leaves_out_is_refused_and_not_shown(tmp_path: Path) -> None:
    plans = {"p": {"deny": ["skycot.deploy_build"], "allow": ["skycot", "github.get_repo"]}}
    url = "https://example.com/plans"
    async with gateway(tmp_path, plans=plans, plan="p", upgrade_url=url) as running:
        answer = await running.call("skycot", "deploy_build", {"id": "bld_1"}, key=running.org.test)
        body = answer.json()
        assert (answer.status, body["error"], body["action_url"]) == (403, "plan_limit_reached", url)
        shown = (await ask(running, "/v1/skills/skycot")).json()["skills"]
        assert "deploy_build" not in {skill["name"] for skill in shown} and len(shown) > 5
        assert [one["name"] for one in (await ask(running, "/v1/skills/github")).json()["skills"]] == ["get_repo"]


# ------------------------------------------------------------------------------------- calls and credits of an org


@pytest.fixture
async def github() -> AsyncIterator[Any]:
    async with serve(GitHub()) as served:
        yield served


async def connected(running: RunningGateway, github: Any) -> None:
    await running.connect("github", {"token": github.upstream.token})


async def test_a_day_holds_so_many_calls_of_the_org(
    tmp_path: Path, database_setting: dict[str, Any], github: Any, clock: HandClock
) -> None:
    integrations = {"github": {"base_url": github.base_url}}
    options: dict[str, Any] = {"plans": {"p": {"calls_per_day": 4}}, "plan": "p", "integrations": integrations, "clock": clock}
    async with gateway(tmp_path, **options, **database_setting) as running:
        await connected(running, github)
        other = (await running.ask("POST", "/api-keys", body={"name": "other"})).json()["full_key"]
        answers = await asyncio.gather(*(running.call("github", "get_repo", REPO) for _ in range(3)))
        assert {answer.status for answer in answers} == {200}
        # Discovery, refused params and the sandbox are no calls.
        assert (await running.call("github", "get_repo", {})).status == 400
        assert (await running.call("github", "get_repo", REPO, key=running.org.test)).status == 200
        assert (await running.call("github", "get_repo", REPO, key=other)).status == 200
        refused = await running.call("github", "get_repo", REPO)
        body = refused.json()
        assert (refused.status, body["error"]) == (429, "daily_limit_reached")
        assert body["message"] == "Daily API call limit reached (4). Resets at midnight UTC."
        _, midnight = day_of(clock.now)
        assert int(refused.headers["Retry-After"]) == midnight - int(clock.now)
        usage = (await running.ask("GET", "/v1/usage")).json()
        assert (usage["calls_today"]["used"], usage["calls_today"]["left"]) == (4, 0)
        clock.move(86_400)
        assert (await running.call("github", "get_repo", REPO)).status == 200


async def test_what_was_used_today_outlives_the_process(
    tmp_path: Path, database_setting: dict[str, Any], github: Any, clock: HandClock
) -> None:
    options: dict[str, Any] = {
        "plans": {"p": {"calls_per_day": 2, "credits_per_month": 50}},
        "integrations": {"github": {"base_url": github.base_url}},
        "clock": clock,
        **database_setting,
    }
    async with gateway(tmp_path, plan="p", **options) as running:
        await connected(running, github)
        assert (await running.call("github", "get_repo", REPO)).status == 200
        org = running.org
    async with gateway(tmp_path, **options) as again:
        again.org = org
        assert [(await again.call("github", "get_repo", REPO)).status for _ in range(2)] == [200, 429]


async def test_credits_of_a_month_are_spent_and_told_with_their_numbers(
    tmp_path: Path, database_setting: dict[str, Any], github: Any, clock: HandClock
) -> None:
    plans = {"p": {"credits_per_month": 3, "overage": {"credits": 1, "rate": "8.00 per 1M tokens"}}}
    integrations = {"github": {"base_url": github.base_url}}
    async with gateway(
        tmp_path, plans=plans, plan="p", integrations=integrations, clock=clock, **database_setting
    ) as running:
        await connected(running, github)
        answers = [await running.call("github", "get_repo", REPO) for _ in range(5)]
        assert [answer.status for answer in answers] == [200] * 4 + [429]
        body = answers[-1].json()
        assert body["error"] == "allowance_exhausted"
        assert body["details"] == {
            "credits_used": 4,
            "credits_limit": 4,
            "credits_needed": 1,
            "overage_rate": "8.00 per 1M tokens",
            "resets_at": body["details"]["resets_at"],
        }
        usage = (await running.ask("GET", "/v1/usage")).json()
        assert usage["credits"] == {
            "limit": 3,
            "used": 4,
            "left": 0,
            "balance": -1,
            "overage": 1,
            "overage_rate": "8.00 per 1M tokens",
        }
        assert usage["by_integration"] == [{"integration": "github", "calls": 4, "credits": 4}]
        assert [(row["name"], row["calls"]) for row in usage["by_key"]] == [("live", 4)]
        _, month = month_of(clock.now)
        clock.move(month - clock.now + 1)
        assert (await running.call("github", "get_repo", REPO)).status == 200
        ledger = (await running.ask("GET", "/v1/ledger")).json()["entries"]
        assert [entry["type"] for entry in ledger] == [
            "call", "allowance", "period_end", "call", "call", "call", "call", "allowance",
        ]  # fmt: skip
        assert [entry["amount"] for entry in ledger] == [-1, 3, 1, -1, -1, -1, -1, 3]
        usage = (await running.ask("GET", "/v1/usage")).json()
        assert usage["credits"]["balance"] == sum(entry["amount"] for entry in ledger) == 2


async def test_a_call_that_never_reached_its_upstream_costs_nothing(tmp_path: Path, clock: HandClock) -> None:
    plans = {"p": {"credits_per_month": 2, "calls_per_day": 2}}
    async with AsyncExitStack() as upstream:
        github = await upstream.enter_async_context(serve(GitHub()))
        integrations = {"github": {"base_url": github.base_url}}
        async with gateway(tmp_path, plans=plans, plan="p", integrations=integrations, clock=clock) as running:
            await connected(running, github)
            await upstream.aclose()
            for _ in range(4):
                answer = await running.call("github", "get_repo", REPO)
                assert (answer.status, answer.json()["outcome"]) == (502, "not_sent")
            usage = (await running.ask("GET", "/v1/usage")).json()
            assert (usage["credits"]["used"], usage["calls_today"]["used"]) == (0, 0)


async def test_the_operator_gives_credits_and_changes_plans(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here", upgrade_url="https://example.com/plans")
    plans = "plans: {free: {credits_per_month: 10, requests_per_minute: 60}, pro: {credits_per_month: 100}}"
    (operator.folder / "skills.yaml").write_text(plans)
    org = operator.init()
    changed = operator.done("orgs", "set-plan", org.id, "free", "--set", "requests_per_minute=500").json()
    assert (changed["plan"], changed["numbers"]) == ("free", {"requests_per_minute": 500})
    async with operator.serving(org) as running:
        assert (await running.ask("GET", "/v1/verify")).headers["X-RateLimit-Limit"] == "500"
        assert (await running.ask("GET", "/v1/usage")).json()["credits"]["limit"] == 10
        entry = (await operator.later("orgs", "credit", org.id, "5", "--note", "a gift")).json()
        assert (entry["type"], entry["amount"], entry["note"]) == ("adjustment", 5, "a gift")
        assert (await operator.later("orgs", "set-plan", org.id, "pro")).json()["numbers"] == {}
        for _ in range(100):
            usage = (await running.ask("GET", "/v1/usage")).json()
            if usage["plan"] == "pro":
                break
            await asyncio.sleep(0.05)
        assert usage["credits"]["limit"] == 105 == usage["credits"]["balance"]
        ledger = (await running.ask("GET", "/v1/ledger")).json()["entries"]
        assert sorted(entry["amount"] for entry in ledger) == [5, 10, 90]
        person = operator.with_settings(url=running.url, api_key=org.live)
        assert (await person.later("usage")).json()["plan"] == "pro"
        audit = (await running.ask("GET", "/v1/events?kind=audit")).json()["events"]
        assert [event["type"] for event in audit if event["type"].startswith("plan.")] == [
            "plan.changed",
            "plan.credits_adjusted",
            "plan.changed",
        ]
    for words, said in (
        (("orgs", "set-plan", org.id, "por"), "Did you mean 'pro'?"),
        (("orgs", "set-plan", org.id, "pro", "--set", "requests_per_minut=1"), "requests_per_minute"),
        (("orgs", "set-plan", org.id, "pro", "--set", "api_keys=many"), "a whole number"),
        (("orgs", "credit", "org_nobody", "5", "--note", "x"), "There is no org"),
    ):
        refused = operator.run(*words)
        assert refused.code == 1 and said in refused.err, refused


async def test_a_plan_that_is_gone_lets_nobody_in_and_is_no_crash(tmp_path: Path) -> None:
    async with gateway(tmp_path, plan="lost") as running:
        answer = await ask(running)
        assert (answer.status, answer.json()["error"]) == (403, "forbidden")
        assert "lost" in answer.json()["message"]


async def test_connections_are_limited_where_a_flow_begins_and_where_it_ends(
    tmp_path: Path, database_setting: dict[str, Any], github: Any
) -> None:
    options: dict[str, Any] = {"plans": {"p": {"connections": 2}}, "plan": "p", **database_setting}
    async with gateway(tmp_path, integrations={"github": {"base_url": github.base_url}}, **options) as running:
        body = {"integration": "github", "credentials": {"token": github.upstream.token}}
        tries = [running.ask("POST", "/v1/connect", body={**body, "user": f"u{number}"}) for number in range(6)]
        answers = await asyncio.gather(*tries)
        assert sorted(answer.status for answer in answers) == [200, 200, 403, 403, 403, 403]
        refusal = next(answer.json() for answer in answers if answer.status == 403)
        assert (refusal["error"], refusal["details"]) == (
            "plan_limit_reached",
            {"limit": 2, "resource": "connections"},
        )
        link = await running.ask("POST", "/v1/connect", body={"integration": "github", "auth": "token"})
        assert link.json()["error"] == "plan_limit_reached"
        # One that is renewed takes no more room.
        mine = (await running.ask("GET", "/v1/connections")).json()["connections"][0]
        again = await running.ask("POST", "/v1/connect", body={**body, "connection": mine["id"]})
        assert again.status == 200


async def test_a_limit_that_is_reached_is_told_once(tmp_path: Path, clock: HandClock) -> None:
    async with gateway(tmp_path, plans={"p": {"requests_per_minute": 2}}, plan="p", clock=clock) as running:
        for _ in range(6):
            await ask(running)
        events = (await running.ask("GET", "/v1/events?kind=limit")).json()["events"]
        assert [(event["type"], event["data"]["what"]) for event in events] == [("limit.reached", "requests")]


# ------------------------------------------------------------------------------------------------- the five seeds

SEEDS: dict[str, dict[str, Any]] = {
    # OverSkill: requests a minute by plan; keys with levels come with every plan.
    "overskill": {
        "free": {"requests_per_minute": 60},
        "pro": {"requests_per_minute": 300},
        "enterprise": {"requests_per_minute": 1000},
    },
    # SKYCOT: five keys, a monthly allowance with overage, and a deployment that Business alone has.
    "skycot": {
        "pro": {
            "requests_per_minute": 60,
            "api_keys": 5,
            "credits_per_month": 10_000_000,
            "overage": {"credits": None, "rate": "8.00 per 1M tokens"},
            "deny": ["skycot.deploy_build"],
        },
        "business": {"requests_per_minute": 120, "api_keys": 5, "overage": {"rate": "5.00 per 1M tokens"}},
        "enterprise": {"api_keys": 5},
    },
    # Overten: credits that are bought; nothing beyond them.
    "overten": {"workspace": {"credits_per_month": 500, "overage": {"credits": 0}}},
    # Overscore: by endpoint, by the minute and by the hour.
    "overscore": {
        "project": {
            "windows": {"overscore.run_query": {"per_minute": 100}, "overscore.deploy_dashboard": {"per_hour": 10}}
        }
    },
    # Skillett.
    "skillett": {
        "free": {"connections": 3, "api_keys": 1, "requests_per_minute": 30, "calls_per_day": 10_000},
        "pro": {"connections": 10, "api_keys": None},
        "unlimited": {},
    },
}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plans_of_each_seed_can_be_written_down(seed: str, tmp_path: Path) -> None:
    config = tmp_path / "skills.yaml"
    config.write_text(json.dumps({"plans": SEEDS[seed]}))
    _, installation = load_settings({"SKILLWAY_CONFIG": str(config)})
    assert installation.plans.keys() == SEEDS[seed].keys()
    for name, spec in SEEDS[seed].items():
        plan = installation.plans[name]
        for number, value in spec.items():
            if number not in ("overage", "windows", "deny"):
                assert getattr(plan, number) == value
        for what, limits in spec.get("windows", {}).items():
            kept = {window.seconds: window.limit for window in plan.windows if window.what == what}
            seconds = {"per_minute": 60, "per_hour": 3600}
            assert kept == {seconds[per]: limit for per, limit in limits.items()}
        if "overage" in spec:
            assert plan.overage == spec["overage"].get("credits") and plan.overage_rate == spec["overage"].get("rate")
        assert plan.deny == tuple(spec.get("deny", ()))


async def test_overscores_hundred_a_minute_and_ten_an_hour_hold(tmp_path: Path, clock: HandClock) -> None:
    async with gateway(tmp_path, plans=SEEDS["overscore"], plan="project", clock=clock) as running:
        query = {"projectSlug": "acme", "dashboardSlug": "sales", "queryName": "revenue"}
        statuses = [
            (await running.call("overscore", "run_query", query, key=running.org.test)).status for _ in range(101)
        ]
        assert statuses == [200] * 100 + [429]
        bundle = {"filename": "dist.tar.gz", "content": "H4sIAAAAAAAAA0vLz1dISixSSE4sKlLILC4GAC8hrk8SAAAA"}
        params = {"projectSlug": "acme", "dashboardSlug": "sales", "bundle": bundle}
        statuses = [
            (await running.call("overscore", "deploy_dashboard", params, key=running.org.test)).status
            for _ in range(11)
        ]
        assert statuses == [200] * 10 + [429]
        clock.move(60)
        again = await running.call("overscore", "deploy_dashboard", params, key=running.org.test)
        assert again.status == 429 and int(again.headers["Retry-After"]) > 60


# ---------------------------------------------------------------------------------------------------- two replicas


async def flood(replicas: list[RunningGateway], each: int) -> list[Answer]:
    key = replicas[0].org.test
    wanted = [replica.ask("GET", "/v1/verify", key=key) for _ in range(each) for replica in replicas]
    return await asyncio.gather(*wanted)


async def start_of_a_minute() -> None:
    """A window that ends in the middle of a flood would be two."""
    left = 60 - time() % 60
    if left < 10:
        await asyncio.sleep(left + 0.05)


@pytest.mark.failure("R11")
async def test_two_replicas_admit_exactly_the_limit_and_no_error_when_valkey_stops(
    tmp_path: Path, postgres_url: str, cache: Valkey
) -> None:
    options: dict[str, Any] = {
        "plans": {"p": {"requests_per_minute": 60}},
        "plan": "p",
        "database_url": postgres_url,
        "valkey_url": cache.url,
    }
    async with gateway_process(tmp_path, **options) as one, gateway_process(tmp_path, org=one.org, **options) as two:
        await start_of_a_minute()
        answers = await flood([one, two], 200)
        assert {answer.status for answer in answers} == {200, 429}
        assert sum(answer.status == 200 for answer in answers) == 60
        left = sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in answers if answer.status == 200)
        assert left == [*range(60)]
        cache.stop()
        # Each goes by its share, of which it has used a part: no more than the whole limit once more, and no error.
        during = await flood([one, two], 100)
        assert {answer.status for answer in during} <= {200, 429}
        assert sum(answer.status == 200 for answer in during) <= 60
        cache.start()
        await asyncio.sleep(1.1)
        after = await flood([one, two], 50)
        assert {answer.status for answer in after} <= {200, 429}


async def test_without_valkey_each_replica_goes_by_its_share(tmp_path: Path, postgres_url: str) -> None:
    options: dict[str, Any] = {"plans": {"p": {"requests_per_minute": 60}}, "plan": "p", "database_url": postgres_url}
    async with gateway(tmp_path, **options) as one, gateway(tmp_path, **options) as two:
        # What each does every ten seconds; the first sees the second only once that has said that it lives.
        for replica in (two, one, two):
            assert replica.services is not None
            await replica.services.limits._replicas.look()  # type: ignore[attr-defined]
        await start_of_a_minute()
        answers = await flood([one, two], 200)
        assert sum(answer.status == 200 for answer in answers) == 60


@pytest.mark.failure("R11")
async def test_a_valkey_that_hangs_holds_up_nobody(tmp_path: Path, cache: Valkey) -> None:
    options: dict[str, Any] = {"plans": {"p": {"requests_per_minute": 600}}, "plan": "p", "valkey_url": cache.url}
    async with gateway(tmp_path, **options) as running:
        assert (await ask(running)).status == 200
        cache.hang()
        try:
            loop = asyncio.get_running_loop()
            began = loop.time()
            statuses = {answer.status for answer in await flood([running], 40)}
            assert statuses == {200} and loop.time() - began < 15
        finally:
            cache.go_on()


async def test_what_was_let_through_without_valkey_is_counted_when_it_is_back(tmp_path: Path, cache: Valkey) -> None:
    options: dict[str, Any] = {"plans": {"p": {"requests_per_minute": 50}}, "plan": "p", "valkey_url": cache.url}
    async with gateway(tmp_path, **options) as running:
        await start_of_a_minute()
        cache.stop()
        assert {answer.status for answer in await flood([running], 20)} == {200}
        cache.start()
        await asyncio.sleep(1.1)
        # One after the other: what is let through while an answer of Valkey is late is owed, and paid by the next.
        answers = [await running.ask("GET", "/v1/verify", key=running.org.test) for _ in range(40)]
        assert sum(answer.status == 200 for answer in answers) == 30


async def test_the_ledger_of_an_org_is_paged_and_is_nobody_elses(
    tmp_path: Path, database_setting: dict[str, Any], clock: HandClock
) -> None:
    async with gateway(tmp_path, clock=clock, **database_setting) as running:
        settings, _ = load_settings(
            {"SKILLWAY_DATA_DIR": str(running.data_dir)}
            | {f"SKILLWAY_{name.upper()}": value for name, value in database_setting.items()}
        )
        async with open_installation(settings) as opened:
            ledger, orgs = SqlLedger(opened.database, clock=clock), SqlOrgs(opened.database)
            other = await orgs.create("Other")
            for number in range(7):
                await ledger.adjust(running.org.id, number + 1, "x", by=OPERATOR)
                clock.move(1)
            await ledger.adjust(other.id, 1000, "theirs", by=OPERATOR)
            assert await ledger.balance(other.id) == 1000
            told = {event.type for event in await SqlEvents(opened.database).list(other.id)}
            assert told == {"org.created", "plan.credits_adjusted"}
        seen: list[int] = []
        query = "limit=3"
        while True:
            page = (await running.ask("GET", f"/v1/ledger?{query}")).json()
            seen += [entry["amount"] for entry in page["entries"]]
            if "next_cursor" not in page:
                break
            query = f"limit=3&cursor={page['next_cursor']}"
        assert seen == [7, 6, 5, 4, 3, 2, 1]
        assert (await running.ask("GET", "/v1/ledger", key=running.org.test)).json() == {"entries": []}
        for wrong in ("cursor=abc", "limit=0", "limit=500"):
            assert (await running.ask("GET", f"/v1/ledger?{wrong}")).json()["error"] == "bad_request"
