"""Refresh that cannot lose: once however many call at the end of a token, in however many processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import pytest

from gateway.store.opening import open_database
from tests import numbered
from tests.conftest import lacking
from tests.demo import Desk, demo, demo_processes, query_of, write_definitions
from tests.fakes.provider import (
    Provider,
    TokenAnswer,
    available_providers,
    browser,
    provider,
)
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, gateway, gateway_process
from tests.numbered import Numbered


@pytest.fixture
async def tokens() -> AsyncIterator[Numbered]:
    async with numbered.numbered() as running:
        yield running


@pytest.fixture
async def running(tmp_path: Path, tokens: Numbered, clock: HandClock) -> AsyncIterator[RunningGateway]:
    """A gateway on the server with numbered tokens, and one connection: `at-1`, `rt-1`."""
    definitions = write_definitions(tmp_path, tokens.definition())
    async with gateway(tmp_path, integrations=CLIENT, definitions=definitions, clock=clock) as made:
        await numbered.connect(made)
        yield made


CLIENT = {"demo": {"client_id": "us", "client_secret": "our-secret"}}


# -- many calls, one refresh -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["by the clock", "by a 401"])
async def test_200_calls_at_the_end_of_a_token_refresh_it_once(desk: Desk, clock: HandClock, how: str) -> None:
    await desk.connect()
    before = desk.server.counts()
    for turn in range(1, 4):
        if how == "by the clock":
            clock.move(3600)
        else:
            desk.server.expire_access_tokens()
        answers = await asyncio.gather(*(desk.whoami() for _ in range(200)))
        assert _went(answers) == {(200, 200): 200}
        after = desk.server.counts()
        assert after["refresh"] == before["refresh"] + turn
    assert desk.server.counts()["invalid_grant"] == before["invalid_grant"]
    assert await _state(desk.running) == ["active"]


@pytest.mark.failure("R18")
async def test_four_processes_refresh_once_at_every_end_of_a_token(
    tmp_path: Path, server: Provider, database_setting: dict[str, str]
) -> None:
    """T107: the server kills the grant at the first refresh token that comes twice."""
    before = server.counts()
    async with demo_processes(tmp_path, server, 4, **database_setting) as desks:
        await desks[0].connect()
        for desk in desks:
            assert await desk.login() == "alice"
        for turn in range(1, 4):
            server.expire_access_tokens()
            answers = await asyncio.gather(*(desk.whoami() for _ in range(50) for desk in desks))
            assert _went(answers) == {(200, 200): 200}
            after = server.counts()
            assert after["refresh"] == before["refresh"] + turn
        assert after["invalid_grant"] == before["invalid_grant"]
        assert await _state(desks[3].running) == ["active"]


@pytest.mark.failure("R17")
async def test_four_processes_keep_a_token_of_two_seconds_alive(
    tmp_path: Path, database_setting: dict[str, str]
) -> None:
    """Expiry as it really comes: in the middle of calls, at another moment in each process."""
    if not available_providers():
        lacking("an OAuth server")
    async with provider(access_token_ttl=2) as server:
        async with demo_processes(tmp_path, server, 4, **database_setting) as desks:
            await desks[0].connect()
            until = time() + 6

            async def keep_calling(desk: Desk) -> list[Answer]:
                answers = []
                while time() < until:
                    answers += await asyncio.gather(*(desk.whoami() for _ in range(3)))
                return answers

            answers = [answer for many in await asyncio.gather(*map(keep_calling, desks)) for answer in many]
            assert set(_went(answers)) == {(200, 200)}
            counts = server.counts()
            assert counts["invalid_grant"] == 0
            assert 2 <= counts["refresh"] <= 6


async def test_a_401_storm_costs_one_refresh(running: RunningGateway, tokens: Numbered) -> None:
    tokens.refuses = True
    answers = await asyncio.gather(*(running.call("demo", "whoami") for _ in range(200)))
    assert _went(answers) == {(200, 401): 200}
    assert tokens.presented == ["the-code", "rt-1"]


async def test_a_caller_that_goes_away_does_not_take_the_refresh_along(running: RunningGateway, tokens: Numbered) -> None:
    tokens.expire()
    hold = tokens.hold()
    first = asyncio.create_task(running.call("demo", "whoami"))
    await hold.decided.wait()
    others = [asyncio.create_task(running.call("demo", "whoami")) for _ in range(5)]
    first.cancel()
    await asyncio.wait([first])
    hold.release()
    assert _went(await asyncio.gather(*others)) == {(200, 200): 5}
    assert tokens.presented == ["the-code", "rt-1"]


async def test_a_token_that_comes_after_the_disconnect_is_revoked_and_not_kept(
    running: RunningGateway, tokens: Numbered
) -> None:
    (connection,) = (await running.ask("GET", "/v1/connections")).json()["connections"]
    tokens.expire()
    hold = tokens.hold()
    calling = asyncio.create_task(running.call("demo", "whoami"))
    await hold.decided.wait()
    assert (await running.ask("DELETE", f"/v1/connections/{connection['id']}")).status == 204
    assert tokens.revoked == ["rt-1", "at-1"]
    hold.release()
    refused = await calling
    assert (refused.status, refused.json()["error"]) == (401, "token_expired")
    assert tokens.revoked == ["rt-1", "at-1", "rt-2", "at-2"]
    assert await _state(running) == []


# -- a 401 of the upstream -------------------------------------------------------------------------


@pytest.mark.failure("R17")
@pytest.mark.parametrize("action", ["whoami", "create"])
async def test_a_401_is_followed_by_one_refresh_and_one_repetition(
    running: RunningGateway, tokens: Numbered, action: str
) -> None:
    tokens.expire()
    tokens.used.clear()
    answer = await running.call("demo", action)
    assert _went([answer]) == {(200, 200): 1}
    assert tokens.used == ["at-1", "at-2"]
    assert tokens.presented == ["the-code", "rt-1"]


async def test_a_second_401_is_passed_through_and_cools_down(
    running: RunningGateway, tokens: Numbered, clock: HandClock
) -> None:
    tokens.refuses = True
    tokens.used.clear()
    answer = await running.call("demo", "whoami")
    assert answer.status == 200
    assert answer.json()["status"] == 401
    assert answer.json()["data"] == {"message": "Bad credentials"}
    assert tokens.used == ["at-1", "at-2"]
    for _ in range(3):
        assert (await running.call("demo", "whoami")).json()["status"] == 401
    assert tokens.presented == ["the-code", "rt-1"]
    clock.move(31)
    assert (await running.call("demo", "whoami")).json()["status"] == 401
    assert tokens.presented == ["the-code", "rt-1", "rt-2"]
    clock.move(31)
    tokens.refuses = False
    assert (await running.call("demo", "whoami")).json()["status"] == 200
    assert await _state(running) == ["active"]


async def test_a_401_of_the_api_never_ends_a_connection_by_itself(
    running: RunningGateway, tokens: Numbered, clock: HandClock
) -> None:
    tokens.refuses = True
    for _ in range(4):
        await running.call("demo", "whoami")
        clock.move(40)
    assert await _state(running) == ["active"]


async def test_a_401_with_nothing_to_refresh_with_needs_the_person(tmp_path: Path, clock: HandClock) -> None:
    async with numbered.numbered() as tokens:
        async with gateway(
            tmp_path, integrations=CLIENT, definitions=write_definitions(tmp_path, tokens.definition()), clock=clock
        ) as running:
            tokens.names_refresh_token = False
            await numbered.connect(running)
            tokens.expire()
            refused = await running.call("demo", "whoami")
            assert (refused.status, refused.json()["error"]) == (401, "token_expired")
            assert refused.json()["action_url"]
            assert await _state(running) == ["needs_reauth"]


# -- what the token endpoint answers ---------------------------------------------------------------


async def test_a_grant_that_is_really_dead_needs_the_person_and_is_not_asked_again(desk: Desk, clock: HandClock) -> None:
    connection = await desk.connect(user="u-1")
    desk.server.revoke_all()
    before = desk.server.counts()
    refused = await desk.whoami(user="u-1")
    assert (refused.status, refused.json()["error"]) == (401, "token_expired")
    assert refused.json()["details"] == {"connection": connection, "reason": "invalid_grant"}
    shown = await desk.shown(connection)
    assert (shown["state"], shown["reason"]) == ("needs_reauth", "invalid_grant")
    assert shown["action_url"].startswith(f"{desk.running.url}/connect/new?t=")
    asked = desk.server.counts()["token"]
    assert asked == before["token"] + 1
    for _ in range(10):
        clock.move(360)
        again = await asyncio.gather(*(desk.whoami(user="u-1") for _ in range(5)))
        assert {(answer.status, answer.json()["error"]) for answer in again} == {(401, "token_expired")}
    assert desk.server.counts()["token"] == asked
    assert (await _connected(desk, "u-1")) is False

    async with browser() as session:
        await desk.come_back(await desk.consent(again[0].json()["action_url"], session=session), session)
    assert (await desk.shown(connection))["state"] == "active"
    assert await desk.login(user="u-1") == "alice"
    assert (await _connected(desk, "u-1")) is True


BUSY = [
    TokenAnswer(status=500, body="oops", headers={"Content-Type": "text/plain"}),
    TokenAnswer(status=502, body="<html>Bad gateway</html>", headers={"Content-Type": "text/html"}),
    TokenAnswer(status=503, body='{"error": "invalid_grant"}'),
    TokenAnswer(status=429, body="{}", headers={"Retry-After": "2"}),
    TokenAnswer(status=408, body="{}"),
    TokenAnswer(status=200, body="<html>Maintenance</html>", headers={"Content-Type": "text/html"}),
    TokenAnswer(status=200, body=""),
    TokenAnswer(status=200, body='{"token_type": "bearer"}'),
    TokenAnswer(status=200, body='{"access_token": '),
    TokenAnswer(status=302, body="", headers={"Location": "http://127.0.0.1:1/login"}),
    TokenAnswer(status=400, body='{"error": "temporarily_unavailable"}'),
    TokenAnswer(status=400, body='{"error": "server_error"}'),
    TokenAnswer(status=400, body='{"error": "never_heard_of"}'),
    TokenAnswer(status=401, body='{"error": "invalid_client"}'),
    TokenAnswer(status=400, body='{"error": "invalid_request"}'),
]


async def test_no_trouble_of_the_token_endpoint_ends_a_connection(desk: Desk, clock: HandClock) -> None:
    """T112: the call says that it may be repeated, and the next refresh that works mends it."""
    connection = await desk.connect()
    for trouble in BUSY:
        clock.move(3600)
        asked = desk.server.counts()["token"]
        desk.server.plan_token_answers(trouble)
        refused = await desk.whoami()
        assert (refused.status, refused.json()["error"]) == (502, "upstream_unreachable"), trouble
        assert (refused.json()["outcome"], refused.json()["retryable"]) == ("not_sent", True)
        assert int(refused.headers["Retry-After"]) >= 1
        assert desk.server.counts()["token"] == asked + 1
        shown = await desk.shown(connection)
        assert shown["state"] == "degraded", trouble
        assert shown["retry_at"]
        # Until then nobody asks again.
        assert (await desk.whoami()).json()["error"] == "upstream_unreachable"
        assert desk.server.counts()["token"] == asked + 1
        clock.move(301)
        assert await desk.login() == "alice"
        assert (await desk.shown(connection))["state"] == "active"


async def test_while_the_token_endpoint_is_down_the_old_token_serves_until_it_ends(desk: Desk, clock: HandClock) -> None:
    connection = await desk.connect()
    clock.move(3600 - 30)
    desk.server.plan_token_answers(TokenAnswer(status=503))
    assert await desk.login() == "alice"
    assert (await desk.shown(connection))["state"] == "degraded"
    assert await desk.login() == "alice"
    clock.move(29)
    assert await desk.login() == "alice"


async def test_a_token_endpoint_that_cannot_be_reached_ends_nothing(tmp_path: Path, clock: HandClock) -> None:
    if not available_providers():
        lacking("an OAuth server")
    async with provider() as server, demo(tmp_path, server, clock=clock) as desk:
        connection = await desk.connect()
        server.stop()
        clock.move(3600)
        refused = await desk.whoami()
        assert (refused.status, refused.json()["error"]) == (502, "upstream_unreachable")
        shown = await desk.shown(connection)
        assert (shown["state"], shown["reason"]) == ("degraded", "not_reached")


async def test_where_no_refresh_token_comes_back_the_old_one_is_kept_and_no_scope_is_sent(
    tmp_path: Path, server: Provider, clock: HandClock
) -> None:
    async with provider(server.kind, rotate=False, repeat_refresh_token=False) as silent:
        async with demo(tmp_path, silent, clock=clock) as desk:
            await desk.connect()
            for _ in range(3):
                clock.move(3600)
                assert await desk.login() == "alice"
            forms = [query_of("?" + seen["body"]) for seen in silent.requests() if "refresh_token=" in seen["body"]]
            assert len(forms) == 3
            assert len({form["refresh_token"] for form in forms}) == 1
            assert not any("scope" in form for form in forms)


# -- processes that stop or die --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two processes on one database."""

    first: RunningGateway
    second: RunningGateway
    database: Mapping[str, str]

    async def end_leases(self) -> None:
        """As if the time of every lease had passed."""
        database = await open_database(self.database.get("database_url"), self.first.data_dir)
        try:
            assert await database.execute("UPDATE leases SET until = 0") >= 1
        finally:
            await database.close()


@pytest.fixture
async def pair(tmp_path: Path, tokens: Numbered, database_setting: dict[str, str]) -> AsyncIterator[Pair]:
    """With one connection: `at-1`, `rt-1`."""
    definitions = write_definitions(tmp_path, tokens.definition())
    more: dict[str, Any] = {"integrations": CLIENT, "definitions": definitions, **database_setting}
    async with gateway_process(tmp_path, **more) as first:
        async with gateway_process(tmp_path, org=first.org, **more) as second:
            await numbered.connect(first)
            for one in (first, second):
                assert _went([await one.call("demo", "whoami")]) == {(200, 200): 1}
            yield Pair(first=first, second=second, database=database_setting)


@pytest.mark.failure("R18")
async def test_a_process_that_was_stopped_past_its_lease_overwrites_nothing(pair: Pair, tokens: Numbered) -> None:
    """T108: its late answer loses the compare-and-swap; the newest refresh token stays."""
    tokens.expire()
    hold = tokens.hold()
    stopped = asyncio.create_task(pair.first.call("demo", "whoami"))
    await asyncio.wait_for(hold.decided.wait(), 10)
    with _stopped(pair.first):
        hold.release()
        await pair.end_leases()
        assert _went([await pair.second.call("demo", "whoami")]) == {(200, 200): 1}
        assert tokens.presented == ["the-code", "rt-1", "rt-1"]
    assert _went([await asyncio.wait_for(stopped, 20)]) == {(200, 200): 1}
    assert tokens.used[-1] == "at-3"
    for one in (pair.first, pair.second):
        tokens.expire()
        assert _went([await one.call("demo", "whoami")]) == {(200, 200): 1}
    assert tokens.presented == ["the-code", "rt-1", "rt-1", "rt-3", "rt-4"]


async def test_a_process_that_was_stopped_does_not_take_its_successors_lease_away(pair: Pair, tokens: Numbered) -> None:
    tokens.expire()
    first_hold = tokens.hold()
    stopped = asyncio.create_task(pair.first.call("demo", "whoami"))
    await asyncio.wait_for(first_hold.decided.wait(), 10)
    with _stopped(pair.first):
        first_hold.release()
        await pair.end_leases()
        second_hold = tokens.hold()
        working = asyncio.create_task(pair.second.call("demo", "whoami"))
        await asyncio.wait_for(second_hold.decided.wait(), 10)
    # The first one goes on, and gives back what is no longer its own; the second is still at it.
    await asyncio.wait([stopped], timeout=1)
    await pair.end_leases()
    second_hold.release()
    assert _went(await asyncio.gather(working, stopped)) == {(200, 200): 2}
    assert await _state(pair.second) == ["active"]


async def test_a_process_that_is_killed_while_it_refreshes_stops_nobody_else(pair: Pair, tokens: Numbered) -> None:
    tokens.expire()
    hold = tokens.hold()
    lost = asyncio.create_task(pair.first.call("demo", "whoami"))
    await asyncio.wait_for(hold.decided.wait(), 10)
    _signal(pair.first, signal.SIGKILL)
    await asyncio.wait([lost])
    assert lost.exception() is not None
    hold.release()
    waiting = asyncio.create_task(pair.second.call("demo", "whoami"))
    await asyncio.wait([waiting], timeout=1)
    # The dead one's lease is respected until it ends.
    assert tokens.presented == ["the-code", "rt-1"]
    await pair.end_leases()
    assert _went([await asyncio.wait_for(waiting, 10)]) == {(200, 200): 1}
    assert tokens.presented == ["the-code", "rt-1", "rt-1"]


async def test_a_kill_between_the_providers_answer_and_our_commit_costs_that_grant_alone_and_says_so(
    tmp_path: Path,
) -> None:
    """T109: with reuse detection and no grace this window cannot be closed, only told."""
    if not available_providers():
        lacking("an OAuth server")
    async with provider(token_delay=1) as server, demo_processes(tmp_path, server, 2) as (first, second):
        lost = await first.connect(login="alice", user="u-1")
        await first.connect(login="bob", user="u-2")
        server.expire_access_tokens()
        call = asyncio.create_task(first.whoami(user="u-1"))
        while (await asyncio.to_thread(server.counts))["refresh"] == 0:
            pass
        _signal(first.running, signal.SIGKILL)
        await asyncio.wait([call])
        assert call.exception() is not None
        await Pair(first=first.running, second=second.running, database={}).end_leases()
        refused = await second.whoami(user="u-1")
        assert (refused.status, refused.json()["error"]) == (401, "token_expired")
        assert refused.json()["details"] == {"connection": lost, "reason": "invalid_grant"}
        assert refused.json()["action_url"]
        assert await second.login(user="u-2") == "bob"


@pytest.mark.failure("R21")
async def test_a_process_that_is_told_to_end_stores_what_it_was_given(pair: Pair, tokens: Numbered) -> None:
    tokens.expire()
    hold = tokens.hold()
    calling = asyncio.create_task(pair.first.call("demo", "whoami"))
    await asyncio.wait_for(hold.decided.wait(), 10)
    _signal(pair.first, signal.SIGTERM)
    await asyncio.wait([calling], timeout=0.3)
    hold.release()
    assert _went([await calling]) == {(200, 200): 1}
    assert _went([await pair.second.call("demo", "whoami")]) == {(200, 200): 1}
    assert tokens.used[-1] == "at-2"
    assert tokens.presented == ["the-code", "rt-1"]


# -- small parts -----------------------------------------------------------------------------------


def _went(answers: Sequence[Answer]) -> Counter[tuple[int, Any]]:
    """How often each (our status, the upstream's status or our error)."""
    return Counter((answer.status, answer.json().get("status", answer.json().get("error"))) for answer in answers)


async def _state(running: RunningGateway) -> list[str]:
    answer = await running.ask("GET", "/v1/connections")
    return [connection["state"] for connection in answer.json()["connections"]]


async def _connected(desk: Desk, user: str) -> bool:
    listed = (await desk.running.ask("GET", f"/v1/skills?user={user}")).json()["integrations"]
    return bool(next(item for item in listed if item["slug"] == "demo")["connected"])


def _signal(running: RunningGateway, number: signal.Signals) -> None:
    assert running.process is not None
    os.kill(running.process.pid, number)


@contextlib.contextmanager
def _stopped(running: RunningGateway) -> Iterator[None]:
    _signal(running, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(running, signal.SIGCONT)
