"""What will be gone one day says so: routes and actions on every answer, and actions to every org that uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.app import API_ROUTES, bind
from gateway.core.deprecations import Deprecations
from gateway.settings import load_settings
from gateway.store.deprecations import SqlDeprecations
from gateway.web.boundary import boundary
from gateway.web.context import SERVICES
from gateway.web.operations import Retiring
from gateway.web.routing import mounted
from gateway.web.server import Listener
from skills_catalog.loader import load_integration
from skills_catalog.mistakes import CatalogError
from tests.fakes.upstream import Answer, Asked, HandClock, Running, Seen, Upstream, json_answer, route, serve
from tests.harness import RunningGateway, gateway, gateway_process, make_org

SINCE, SUNSET = "2026-01-01", "2027-06-30"
#: 2026-01-01 and 2027-06-30, both at 00:00 UTC.
HEADERS = {"X-Deprecated": "true", "Deprecation": "@1767225600", "Sunset": "Wed, 30 Jun 2027 00:00:00 GMT"}
DAY = 86400.0


class Times(Upstream):
    """An API with an old way and a new one, and a way that it refuses."""

    def admit(self, seen: Seen) -> str:
        return "anybody"

    @route("GET", "/old")
    def old(self, asked: Asked) -> Answer:
        return json_answer({"time": 1})

    @route("GET", "/new")
    def new(self, asked: Asked) -> Answer:
        return json_answer({"time": 2})

    @route("GET", "/lost")
    def lost(self, asked: Asked) -> Answer:
        return json_answer({"message": "gone"}, 410)


def definition(base_url: str, **deprecated: Any) -> dict[str, Any]:
    def action(path: str, **more: Any) -> dict[str, Any]:
        example = {"params": {}, "response": {"status": 200, "data": {"time": 1}}}
        return {"description": f"Ask {path}.", "request": f"GET {path}", "examples": [example], **more}

    gone = {"since": SINCE, "sunset": SUNSET, "use": "new_time", **deprecated}
    return {
        "slug": "times",
        "name": "Times",
        "description": "What time it is.",
        "base_url": base_url,
        "auth": [{"name": "none", "type": "none", "title": "None"}],
        "actions": {
            "old_time": action("/old", deprecated=gone),
            "lost_time": action("/lost", deprecated={"since": SINCE}, errors=[{"status": 410, "fix": "Look elsewhere."}]),
            "worded_time": action("/old", deprecated={"since": SINCE, "use": "your own clock"}),
            "new_time": action("/new"),
        },
    }


@pytest.fixture
async def times() -> AsyncIterator[Running[Times]]:
    async with serve(Times()) as running:
        yield running


def written(folder: Path, base_url: str, **deprecated: Any) -> Path:
    definitions = folder / "definitions"
    definitions.mkdir(exist_ok=True)
    (definitions / "times.yaml").write_text(json.dumps(definition(base_url, **deprecated)))
    return definitions


@pytest.fixture
async def running(tmp_path: Path, times: Running[Times], clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path, definitions=written(tmp_path, times.base_url), clock=clock) as started:
        yield started


def said(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in (*HEADERS, "Link") if name in headers}


# ---------------------------------------------------------------------- routes


@asynccontextmanager
async def retiring(running: RunningGateway) -> AsyncIterator[RunningGateway]:
    """The same gateway with all its routes deprecated."""
    assert running.services is not None
    gone = Retiring(since=date(2026, 1, 1), sunset=date(2027, 6, 30), use="/v2/elsewhere")
    app = web.Application(middlewares=[boundary])
    app[SERVICES] = running.services
    app.add_routes(mounted([replace(one, deprecated=gone) for one in API_ROUTES]))
    listening = bind(load_settings({"SKILLWAY_PORT": "0"})[0])
    listener = Listener(app, drain=1.0)
    await listener.setup()
    await web.SockSite(listener, listening).start()
    try:
        yield replace(running, url=f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        await listener.cleanup()


async def test_a_deprecated_route_says_so_on_every_answer(running: RunningGateway) -> None:
    told = {**HEADERS, "Link": '</v2/elsewhere>; rel="successor-version"'}
    async with retiring(running) as old:
        for answer, status in (
            (await old.ask("GET", "/v1/verify"), 200),
            (await old.ask("GET", "/v1/verify", key=""), 401),
            (await old.ask("GET", "/v1/verify?what=1"), 400),
            (await old.ask("GET", "/v1/skills/nothing"), 404),
            (await old.ask("POST", "/v1/times/new_time?raw=1", body={}), 200),
            (await old.ask("GET", "/healthz", key=""), 200),
        ):
            assert (answer.status, said(answer.headers)) == (status, told)
    answer = await running.ask("GET", "/v1/verify")
    assert said(answer.headers) == {}


def test_a_route_is_deprecated_for_twelve_months_at_least() -> None:
    Retiring(since=date(2026, 1, 1), sunset=date(2027, 1, 1))
    with pytest.raises(AssertionError, match="12 months"):
        Retiring(since=date(2026, 1, 1), sunset=date(2026, 12, 31))


# ---------------------------------------------------------------------- actions


async def test_a_call_of_a_deprecated_action_says_so(running: RunningGateway) -> None:
    link = {"Link": f'<{running.url}/v1/times/new_time>; rel="successor-version"'}
    hint = f"This action is deprecated since {SINCE}, and may be gone after {SUNSET}. Use new_time instead."
    for key in (running.org.live, running.org.test):
        answer = await running.call("times", "old_time", key=key)
        assert said(answer.headers) == {**HEADERS, **link}
        assert answer.json()["data"] == {"time": 1}
        assert answer.json()["meta"]["hint"] == hint
        raw = await running.ask("POST", "/v1/times/old_time?raw=1", key=key, body={})
        assert (json.loads(raw.body), said(raw.headers)) == ({"time": 1}, {**HEADERS, **link})
        refused = await running.call("times", "old_time", {"what": 1}, key=key)
        assert (refused.status, said(refused.headers)) == (400, {**HEADERS, **link})
        other = await running.call("times", "new_time", key=key)
        assert said(other.headers) == {} and "hint" not in other.json()["meta"]


async def test_what_the_upstream_says_is_the_better_hint(running: RunningGateway) -> None:
    answer = await running.call("times", "lost_time")
    assert (answer.json()["status"], answer.json()["meta"]["hint"]) == (410, "Look elsewhere.")
    # Nobody knows yet when it goes, or what to use.
    assert said(answer.headers) == {name: HEADERS[name] for name in ("X-Deprecated", "Deprecation")}


async def test_words_are_no_link(running: RunningGateway) -> None:
    answer = await running.call("times", "worded_time")
    assert "Link" not in answer.headers
    assert answer.json()["meta"]["hint"].endswith("Use your own clock instead.")


async def test_discovery_tells_the_days(running: RunningGateway) -> None:
    found = (await running.ask("GET", "/v1/skills/times/old_time")).json()
    assert found["deprecated"] == {"since": SINCE, "sunset": SUNSET, "use": "new_time"}


@pytest.mark.parametrize(
    ("deprecated", "told"),
    [
        ({"since": "2026"}, "Must be a day such as 2026-11-30"),
        ({"since": "1.4.0"}, "Must be a day such as 2026-11-30"),
        ({"since": "2026-02-30"}, "Must be a day such as 2026-11-30"),
        ({"since": "0000-01-01"}, "Must be a day such as 2026-11-30"),
        ({"sunset": "soon"}, "Must be a day such as 2026-11-30"),
        ({"sunset": SINCE}, "Must be after `since`"),
    ],
)
def test_days_are_real_days(deprecated: dict[str, str], told: str) -> None:
    with pytest.raises(CatalogError) as refused:
        load_integration(json.dumps(definition("https://times.example", **deprecated)))
    assert told in str(refused.value)


# ---------------------------------------------------------------------- events


async def told_to(running: RunningGateway, key: str | None = None) -> list[dict[str, Any]]:
    events = (await running.ask("GET", "/v1/events?kind=skill", key=key)).json()["events"]
    return [event["data"] for event in events if event["type"] == "skill.deprecated"]


def deprecations(running: RunningGateway) -> Deprecations:
    """Another look at the same catalog, as another replica has it."""
    assert running.services is not None
    store = running.services.events
    database = store._database  # type: ignore[attr-defined]
    return Deprecations(running.services.catalogs, SqlDeprecations(database), clock=running.services.clock)


async def test_whoever_uses_a_deprecated_action_is_told_once(
    tmp_path: Path, times: Running[Times], clock: HandClock, database_setting: Any
) -> None:
    definitions = written(tmp_path, times.base_url)
    async with gateway(tmp_path, definitions=definitions, clock=clock, **database_setting) as running:
        assert running.services is not None
        idle = await make_org(
            {
                "SKILLWAY_DATA_DIR": str(running.data_dir),
                "SKILLWAY_CONFIG": str(tmp_path / "skills.yaml"),
                **{f"SKILLWAY_{name.upper()}": value for name, value in database_setting.items()},
            },
            "Idle",
        )
        assert (await running.call("times", "old_time")).status == 200
        assert (await running.call("times", "new_time")).status == 200
        assert (await running.call("times", "worded_time", key=running.org.test)).status == 200
        assert (await running.call("times", "old_time", key=idle.test)).status == 200
        await running.ask("GET", "/v1/usage")
        # Several replicas look at once, again and again.
        for _ in range(2):
            await asyncio.gather(*(deprecations(running).look() for _ in range(4)))
        told = {"integration": "times", "action": "old_time", "since": SINCE, "sunset": SUNSET, "use": "new_time"}
        assert await told_to(running) == [told]
        assert await told_to(running, idle.live) == []
        assert await told_to(running, running.org.test) == []


async def test_a_new_day_is_told_again_and_old_use_is_not(
    tmp_path: Path, times: Running[Times], clock: HandClock
) -> None:
    definitions = written(tmp_path, times.base_url)
    async with gateway(tmp_path, definitions=definitions, clock=clock) as running:
        assert running.services is not None
        await running.call("times", "old_time")
        await running.ask("GET", "/v1/usage")
        watching = deprecations(running)
        await watching.look()
        await watching.look()
        assert [one["since"] for one in await told_to(running)] == [SINCE]
        written(tmp_path, times.base_url, since="2026-02-02")
        await asyncio.to_thread(running.services.catalogs.reload)
        clock.move(89 * DAY)
        await watching.look()
        assert [one["since"] for one in await told_to(running)] == [SINCE, "2026-02-02"]
        written(tmp_path, times.base_url, since="2026-03-03")
        await asyncio.to_thread(running.services.catalogs.reload)
        clock.move(2 * DAY)
        await watching.look()
        assert [one["since"] for one in await told_to(running)] == [SINCE, "2026-02-02"]


async def test_a_serving_process_tells_at_its_start(tmp_path: Path, times: Running[Times]) -> None:
    definitions = written(tmp_path, times.base_url)
    async with gateway(tmp_path, definitions=definitions) as first:
        await first.call("times", "old_time")
        await first.ask("GET", "/v1/usage")
    async with gateway_process(tmp_path, definitions=definitions, org=first.org) as second:
        async with asyncio.timeout(20):
            while not await told_to(second):  # noqa: ASYNC110 - nobody can tell us
                await asyncio.sleep(0.1)


async def test_many_orgs_are_told_in_chunks(tmp_path: Path, times: Running[Times], clock: HandClock) -> None:
    definitions = written(tmp_path, times.base_url)
    async with gateway(tmp_path, definitions=definitions, clock=clock) as running:
        assert running.services is not None
        database = running.services.events._database  # type: ignore[attr-defined]
        orgs = [f"org_{number:04}" for number in range(250)]
        await database.execute_many(
            "INSERT INTO orgs (id, name, redirect_urls, created_at) VALUES (:id, :name, '[]', 0)",
            [(org, org) for org in orgs],
        )
        used = int(clock() * 1000)
        await database.execute_many(
            "INSERT INTO entries (org, id, type, at, amount, integration, action) "
            "VALUES (:org, :id, 'call', :at, -1, 'times', 'old_time')",
            [(org, "ent_1", used) for org in orgs],
        )
        await deprecations(running).look()
        rows = await database.fetch("SELECT org FROM events WHERE type = 'skill.deprecated' ORDER BY org")
        assert [row["org"] for row in rows] == orgs
