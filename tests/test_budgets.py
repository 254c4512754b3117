"""The pace that an upstream takes: declared in its definition, corrected by its answers, shared by all who call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from aiohttp import web

from gateway.core.calls.budgets import _Line, _Scope, _Window
from tests.demo import keyed_definition, write_definitions
from tests.harness import Answer, RunningGateway, gateway


class Paced:
    """An upstream that notes when each request came and how many there were at once."""

    def __init__(self) -> None:
        self.came: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0
        self.takes = 0.0
        self.status = 200
        self.headers: dict[str, str] = {}
        self._arrival = asyncio.Event()

    async def wait_for(self, requests: int) -> None:
        """Until so many have come."""
        while len(self.came) < requests:
            self._arrival.clear()
            await self._arrival.wait()

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.came]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        self.came.append((monotonic(), str(body.get("note", ""))))
        self._arrival.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes)
        self.at_once -= 1
        return web.json_response({"login": "alice"}, status=self.status, headers=self.headers)


@asynccontextmanager
async def paced(
    folder: Path, limits: dict[str, Any] | None, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, Paced]]:
    """A gateway and an upstream whose definition declares `limits`, with connections of two users."""
    upstream = Paced()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    definition = keyed_definition(f"http://127.0.0.1:{site.port}")
    action = definition["actions"]["whoami"]
    definition["actions"] |= {"other": action, "special": action}
    if limits is not None:
        definition["upstream_limits"] = limits
    try:
        async with gateway(folder, definitions=write_definitions(folder, definition), **settings) as running:
            for user in ("alice", "bob"):
                await running.connect("keyed", {"token": f"key-of-{user}"}, auth="bearer", user=user)
            upstream.came.clear()
            upstream.most_at_once = 0
            running.forget_pace()
            yield running, upstream
    finally:
        await runner.cleanup()


async def call(running: RunningGateway, action: str = "whoami", user: str = "alice", **more: Any) -> Answer:
    return await running.call("keyed", action, more.pop("params", {}), user=user, **more)


def check_refused(answer: Answer, low: float, high: float) -> None:
    body = answer.json()
    assert (answer.status, body["error"], body["outcome"], body["retryable"]) == (
        429, "upstream_rate_limited", "not_sent", True,
    )  # fmt: skip
    assert low * 1000 <= body["retry_after_ms"] <= high * 1000
    assert int(answer.headers["Retry-After"]) >= 1


async def test_calls_beyond_a_window_wait_for_their_turn(tmp_path: Path) -> None:
    async with paced(tmp_path, {"per_connection": {"requests": 4, "window": "1s"}}) as (running, upstream):
        answers = await asyncio.gather(*(call(running) for _ in range(10)))
        assert {answer.status for answer in answers} == {200}
        times = upstream.times
        assert len(times) == 10
        # No stretch of a second saw more than four, as far as two clocks can agree on one.
        assert all(later - first > 0.95 for first, later in zip(times, times[4:], strict=False))


async def test_a_wait_that_would_be_long_is_refused_with_its_length(tmp_path: Path) -> None:
    limits = {"per_connection": {"requests": 2, "window": "1h"}}
    plans = {"p": {"credits_per_month": 100}}
    async with paced(tmp_path, limits, plans=plans, plan="p") as (running, upstream):
        statuses = [(await call(running)).status for _ in range(2)]
        check_refused(await call(running), 3500, 3700)
        # Another connection has a budget of its own, and what was not sent costs nothing.
        assert [*statuses, (await call(running, user="bob")).status] == [200, 200, 200]
        assert len(upstream.came) == 3
        assert (await running.ask("GET", "/v1/usage")).json()["credits"]["used"] == 3


async def test_no_more_than_so_many_are_under_way_at_once(tmp_path: Path) -> None:
    async with paced(tmp_path, {"concurrency": 2}) as (running, upstream):
        upstream.takes = 0.05
        answers = await asyncio.gather(*(call(running) for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
        assert (upstream.most_at_once, len(upstream.came)) == (2, 8)


async def test_a_stream_is_under_way_until_its_head_has_come(tmp_path: Path) -> None:
    async with paced(tmp_path, {"concurrency": 1}) as (running, upstream):
        for _ in range(3):
            answer = await running.ask("POST", "/v1/keyed/whoami?raw=1", body={"user": "alice"})
            assert answer.status == 200
        assert len(upstream.came) == 3


async def test_an_action_with_a_window_of_its_own_is_counted_by_itself(tmp_path: Path) -> None:
    limits = {
        "per_connection": {"requests": 3, "window": "1h"},
        "actions": {"special": {"requests": 1, "window": "1h"}},
    }
    async with paced(tmp_path, limits) as (running, _):
        assert (await call(running, "special")).status == 200
        check_refused(await call(running, "special"), 3500, 3700)
        # It counted for the connection as well.
        assert [(await call(running)).status for _ in range(3)] == [200, 200, 429]


async def test_an_oauth_clients_budget_is_shared_by_all_its_connections(tmp_path: Path) -> None:
    async with paced(tmp_path, {"per_client": {"requests": 3, "window": "1h"}}) as (running, upstream):
        answers = [await call(running, user=user) for user in ("alice", "bob", "alice", "bob")]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert len(upstream.came) == 3


async def test_what_the_upstream_says_is_left_goes_before_what_is_declared(tmp_path: Path) -> None:
    limits = {
        "per_connection": {"requests": 1000, "window": "1h"},
        "remaining": "X-Left",
        "reset": "X-Back",
        "reset_unit": "seconds",
    }
    async with paced(tmp_path, limits) as (running, upstream):
        upstream.headers = {"X-Left": "1", "X-Back": "30"}
        assert (await call(running)).status == 200
        upstream.headers = {"X-Left": "0", "X-Back": "30"}
        assert (await call(running)).status == 200
        check_refused(await call(running), 25, 31)
        assert (await call(running, user="bob")).status == 200
        assert len(upstream.came) == 3


@pytest.mark.failure("R14")
@pytest.mark.parametrize("limits", [None, {"concurrency": 100}])
async def test_a_retry_after_is_obeyed_whether_a_limit_was_declared_or_not(
    tmp_path: Path, limits: dict[str, Any] | None
) -> None:
    async with paced(tmp_path, limits) as (running, upstream):
        upstream.status, upstream.headers = 429, {"Retry-After": "77"}
        answer = await call(running)
        # The upstream's own refusal is an answer, and passed on.
        assert (answer.status, answer.json()["status"]) == (200, 429)
        upstream.status = 200
        check_refused(await call(running), 70, 78)
        assert (await call(running, user="bob")).status == 200
        assert len(upstream.came) == 2


@pytest.mark.failure("R14")
@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "999999999"}, 3590, 3601),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
        ({"Retry-After": "garbage"}, 0, 0),
        ({"Retry-After": "-5"}, 0, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "IN 40"}, 35, 41),
    ],
)
async def test_whatever_a_429_says_the_pause_has_an_end(
    tmp_path: Path, headers: dict[str, str], low: float, high: float
) -> None:
    async with paced(tmp_path, None) as (running, upstream):
        upstream.status = 429
        upstream.headers = {
            name: str(int(time()) + 40) if value == "IN 40" else value for name, value in headers.items()
        }
        await call(running)
        upstream.status, upstream.headers = 200, {}
        answer = await call(running)
        if high:
            check_refused(answer, low, high)
        else:
            assert answer.status == 200


async def test_keys_take_turns_however_many_calls_one_of_them_makes(tmp_path: Path) -> None:
    async with paced(tmp_path, {"concurrency": 1}) as (running, upstream):
        upstream.takes = 0.03
        other = (await running.ask("POST", "/api-keys", body={"name": "quiet"})).json()["full_key"]
        flood = [asyncio.create_task(call(running, params={"note": "flood"})) for _ in range(20)]
        await upstream.wait_for(2)
        before = len(upstream.came)
        assert (await call(running, params={"note": "quiet"}, key=other)).status == 200
        place = [note for _, note in upstream.came].index("quiet")
        assert place <= before + 2
        assert {answer.status for answer in await asyncio.gather(*flood)} == {200}


async def test_a_line_has_an_end(tmp_path: Path) -> None:
    async with paced(tmp_path, {"concurrency": 1}) as (running, upstream):
        upstream.takes = 0.3
        answers = [asyncio.create_task(call(running)) for _ in range(130)]
        refused = 0
        for done in asyncio.as_completed(answers):
            answer = await done
            refused += answer.status == 429
            if refused >= 29:
                break
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        assert refused >= 29


async def test_nobody_waits_behind_a_call_whose_room_is_elsewhere(tmp_path: Path) -> None:
    async with paced(tmp_path, {"concurrency": 1}) as (running, upstream):
        upstream.takes = 60
        slow = [asyncio.create_task(call(running)) for _ in range(4)]
        await upstream.wait_for(1)
        upstream.takes = 0
        assert (await call(running, user="bob")).status == 200
        assert not any(each.done() for each in slow)
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


# ------------------------------------------------------------------------------------------------ inside


def test_a_window_gives_back_what_has_left_it() -> None:
    window = _Window(3, 60.0)
    for now in (0.0, 0.5, 10.0):
        assert window.delay(now) == 0.0
        window.take(now)
    assert 60.0 < window.delay(10.0) + 10.0 <= 62.0
    assert window.delay(62.0) == 0.0
    # The third of them has not left it yet.
    for now in (62.0, 62.0):
        window.take(now)
    assert window.delay(62.0) > 0


def test_no_stretch_of_a_window_ever_holds_more_than_its_limit() -> None:
    window = _Window(5, 10.0)
    taken: list[float] = []
    now = 0.0
    while now < 100.0:
        if window.delay(now) <= 0:
            window.take(now)
            taken.append(now)
        now += 0.07
    assert len(taken) > 40
    assert all(later - first > 10.0 for first, later in zip(taken, taken[5:], strict=False))


async def test_a_turn_that_comes_when_nobody_wants_it_any_more_is_given_on() -> None:
    from types import SimpleNamespace

    def plan(key: str) -> Any:
        actor = SimpleNamespace(id=key)
        return SimpleNamespace(
            call=SimpleNamespace(principal=SimpleNamespace(actor=actor)), integration=SimpleNamespace(name="X")
        )

    line, scope = _Line(monotonic), _Scope([], 1)
    held = line.take([scope])
    first, second = (asyncio.create_task(line.wait(plan(key), [scope])) for key in ("a", "b"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert line.waits == 2
    held.release()
    # Its turn is there, and it is cancelled before it sees it.
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    (await asyncio.wait_for(second, 1)).release()
    assert (line.waits, scope.in_flight, line._waiting) == (0, 0, {})
