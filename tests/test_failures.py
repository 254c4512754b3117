"""What fails around a gateway: disks, databases, clocks, processes. What was acknowledged stays, and it says what it knows."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import resource
import shutil
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

import aiohttp
import pytest
import yarl
from aiohttp import web

from benchmarks.machine import cpu_seconds, forget_peak, peak_mb, rss_mb
from gateway.core.requests.answers import Result
from gateway.core.runs.later import MOST_ATTEMPTS
from gateway.store import sqlite
from gateway.store.database import NotUsable, StorageUnavailable
from gateway.store.migrate import MIGRATIONS, migrate
from gateway.store.migrate import load as known_migrations
from gateway.store.orgs import SqlOrgs
from gateway.store.sqlite import SqliteDatabase
from tests import numbered
from tests.conftest import lacking
from tests.demo import listening, query_of, write_definitions
from tests.failures import ROWS, shown
from tests.fakes.hostile import toxic
from tests.fakes.upstream import HandClock
from tests.fakes.valkey import Valkey, ValkeyMissing, valkey
from tests.harness import Answer, RunningGateway, browser, gateway, gateway_process
from tests.store.samples import opened
from tests.workshop import definition, until, workshop

# ------------------------------------------------------------------------------------------------------ the process


@pytest.mark.failure("R01")
async def test_keys_that_were_made_or_revoked_are_so_after_kill_9(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    made: dict[str, str] = {}
    async with gateway_process(tmp_path, **database_setting) as running:
        for number in range(6):
            answer = (await running.ask("POST", "/api-keys", body={"name": f"k{number}"})).json()
            made[answer["full_key"]] = answer["api_key"]["id"]
        for key_id in [*made.values()][:3]:
            assert (await running.ask("DELETE", f"/api-keys/{key_id}")).status == 204
        await kill(running)
    async with gateway_process(tmp_path, org=running.org, **database_setting) as again:
        statuses = [(await again.ask("GET", "/v1/verify", key=key)).status for key in made]
        assert statuses == [401] * 3 + [200] * 3


@pytest.mark.failure("R01")
async def test_a_connection_that_was_answered_serves_after_kill_9(tmp_path: Path) -> None:
    async with workshop(tmp_path, replicas=1) as ([running], upstream):
        await running.connect("shop", {"token": "secret-of-the-shop"})
        await kill(running)
        async with gateway_process(tmp_path, definitions=tmp_path / "definitions", org=running.org) as again:
            assert (await again.call("shop", "look")).json()["status"] == 200
            assert upstream.seen[-1][2]["Authorization"] == "Bearer secret-of-the-shop"


@pytest.mark.failure("R22")
async def test_replicas_that_restart_one_after_the_other_fail_no_client_that_tries_the_other(
    tmp_path: Path, postgres_url: str
) -> None:
    """What a load balancer does: where nobody listens, or whoever did leaves before it takes the request, the next is asked."""
    async with workshop(tmp_path, replicas=2, database_url=postgres_url) as (replicas, upstream):
        upstream.takes = 0.05
        done, answers = asyncio.Event(), list[int]()

        async def client(turn: int) -> None:
            while not done.is_set():
                for one in (replicas[turn % 2], replicas[(turn + 1) % 2]):
                    try:
                        answers.append((await one.call("shop", "send")).status)
                        break
                    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, ConnectionResetError):
                        # Had it been taken all the same, the upstream would have seen one more than was answered.
                        continue
                else:
                    answers.append(0)
                turn += 1

        load = [asyncio.create_task(client(number)) for number in range(6)]
        await asyncio.sleep(0.3)
        async with contextlib.AsyncExitStack() as stack:
            for number, old in enumerate(list(replicas)):
                assert old.process is not None
                old.process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(old.process.wait(), 20) == 0
                replicas[number] = await stack.enter_async_context(
                    gateway_process(
                        tmp_path, definitions=tmp_path / "definitions", org=old.org, database_url=postgres_url
                    )
                )
            await asyncio.sleep(0.3)
            done.set()
            await asyncio.gather(*load)
        assert set(answers) == {200} and len(answers) == upstream.count("/send")


@pytest.mark.failure("R31")
async def test_a_run_that_ends_every_process_is_given_up_with_its_reason(tmp_path: Path, clock: HandClock) -> None:
    async with workshop(tmp_path, clock=clock) as (running, upstream):
        queue, worker = idle_queue(running)
        run_id = (await running.call("shop", "put", **{"async": True})).json()["run_id"]
        for attempt in range(1, MOST_ATTEMPTS + 1):
            # A process takes it up, and is never heard of again.
            leased = await queue.take(f"proc_{attempt}", 15, after="")
            assert (leased.run.id, leased.attempt) == (run_id, attempt) and await queue.mark_sent(leased)
            assert (await run_of(running, run_id))["status"] == "running"
            clock.move(60)
            await worker.settle()
        run = await run_of(running, run_id)
        assert (run["status"], run["error"]["error"]) == ("failed", "internal")
        assert upstream.count("/put") == 0


@pytest.mark.failure("R19")
async def test_a_process_that_finishes_a_run_too_late_changes_nothing(tmp_path: Path, clock: HandClock) -> None:
    async with workshop(tmp_path, clock=clock) as (running, _):
        queue, worker = idle_queue(running)
        run_id = (await running.call("shop", "put", **{"async": True})).json()["run_id"]
        late = await queue.take("proc_stopped", 15, after="")
        clock.move(16)
        await worker.settle()
        successor = await queue.take("proc_other", 15, after="")
        assert successor.run.id == late.run.id and not await queue.prolong(late, 15)
        over = replace(successor.run, state="completed", status=200, outcome="answered", finished_at=1)
        for leased, answer in ((successor, b'"of the successor"'), (late, b'"too late"')):
            record = worker._record(leased)
            await record.answered(None, Result(status=200, data=answer, meta={}), over)
        assert not await queue.finish(late, over)
        run = await run_of(running, run_id)
        assert (run["status"], run["result"]["data"]) == ("completed", "of the successor")


@pytest.mark.failure("R21")
async def test_sigterm_between_a_providers_answer_and_our_commit_makes_the_connection_or_leaves_no_part_of_it(
    tmp_path: Path,
) -> None:
    """Told once, a process stores what it was given; told twice, it ends at once, and the person begins anew."""
    async with numbered.numbered() as provider:
        more: dict[str, Any] = {
            "integrations": {"demo": {"client_id": "us", "client_secret": "our-secret"}},
            "definitions": write_definitions(tmp_path, provider.definition()),
        }

        async def ended_by(running: RunningGateway, signals: int) -> str:
            """Ends it while a code is redeemed; the connection that this was for."""
            assert running.process is not None
            begun = (await running.ask("POST", "/v1/connect", body={"integration": "demo"})).json()
            async with browser() as session:
                async with session.post(begun["oauth_url"], allow_redirects=False) as clicked:
                    sent = query_of(clicked.headers["Location"])
                hold = provider.hold()
                back = yarl.URL(sent["redirect_uri"]).with_query(code="the-code", state=sent["state"])
                coming_back = asyncio.create_task(status_of(session, back))
                await asyncio.wait_for(hold.decided.wait(), 10)
                for _ in range(signals):
                    running.process.send_signal(signal.SIGTERM)
                    await refused_connections(running)
                if signals == 1:
                    hold.release()
                assert await asyncio.wait_for(running.process.wait(), 20) == signals - 1
                hold.release()
                assert await coming_back == (303 if signals == 1 else None)
            return str(begun["connection_id"])

        async with gateway_process(tmp_path, **more) as first:
            connection = await ended_by(first, 1)
        async with gateway_process(tmp_path, org=first.org, **more) as second:
            listed = (await second.ask("GET", "/v1/connections")).json()["connections"]
            assert [(one["id"], one["state"]) for one in listed] == [(connection, "active")]
            assert (await second.call("demo", "whoami")).json()["status"] == 200
            lost = await ended_by(second, 2)
        async with gateway(tmp_path, **more) as made:
            third = replace(made, org=first.org)
            listed = (await third.ask("GET", "/v1/connections")).json()["connections"]
            assert [one["id"] for one in listed if one["state"] == "active"] == [connection]
            assert (await third.ask("GET", f"/v1/connect/{lost}")).json()["status"] != "connected"
            again = await numbered.connect(third, code="another-code")
            assert (await third.call("demo", "whoami", connection=again)).json()["status"] == 200


@pytest.mark.failure("R23")
async def test_an_older_process_serves_on_while_a_newer_one_has_added_to_the_schema(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    """What a migration adds must not disturb who does not know it; only a start of the older version is refused."""
    async with workshop(tmp_path, **database_setting) as (older, upstream):
        done, answers = asyncio.Event(), list[int]()

        async def load() -> None:
            while not done.is_set():
                answers.append((await older.call("shop", "send")).status)

        loading = asyncio.create_task(load())
        newer = Path(shutil.copytree(MIGRATIONS, tmp_path / "newer"))
        number = len(known_migrations()) + 1
        (newer / f"{number:04}_more.sql").write_text(ADDITIVE)
        async with opened(database_setting.get("database_url"), older.data_dir) as database:
            applied = await migrate(database, older.data_dir, folder=newer)
            assert [migration.number for migration in applied] == [number]
            before = len(answers)
            await database.execute("UPDATE runs SET seen_by = 'the newer one'")

            async def went_on() -> bool:
                return len(answers) > before + 20

            await until(went_on)
            done.set()
            await loading
            assert set(answers) == {200} and upstream.count("/send") == len(answers)
            # Each reads what the other wrote.
            runs = (await older.ask("GET", "/v1/runs?limit=200")).json()["runs"]
            rows = await database.fetch("SELECT id FROM runs")
            assert {run["run_id"] for run in runs} <= {row["id"] for row in rows} and len(rows) == len(answers)
        with pytest.raises(NotUsable, match="Run the newer Skillway"):
            async with gateway(tmp_path, **database_setting):
                pass
        assert (await older.call("shop", "send")).status == 200


# ------------------------------------------------------------------------------------------------------- the disk


@pytest.mark.failure("R06")
async def test_a_lock_that_is_short_delays_and_a_long_one_refuses_and_both_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seconds and thirty beside the five that we wait, all a tenth as long."""
    assert sqlite.BUSY_SECONDS == 5
    pragmas = tuple(pragma.replace("busy_timeout = 5000", "busy_timeout = 500") for pragma in sqlite._PRAGMAS)
    monkeypatch.setattr(sqlite, "_PRAGMAS", pragmas)
    async with workshop(tmp_path) as (running, upstream):
        with closing(sqlite3.connect(running.data_dir / "skillway.db", isolation_level=None)) as other:
            for seconds, expected in ((0.2, {200}), (3.0, {503})):
                before = upstream.count("/send")
                other.execute("BEGIN EXCLUSIVE")
                began = monotonic()
                calls = [asyncio.create_task(running.call("shop", "send")) for _ in range(10)]
                finished, _ = await asyncio.wait(calls, timeout=seconds)
                other.execute("ROLLBACK")
                answers = [await call for call in calls]
                assert {answer.status for answer in answers} == expected
                if expected == {200}:
                    assert not finished and monotonic() - began >= seconds
                    assert upstream.count("/send") == before + 10
                else:
                    assert len(finished) == 10 and upstream.count("/send") == before
                    assert {answer.json()["error"] for answer in answers} == {"storage_unavailable"}
                    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}

        async def goes_on() -> bool:
            return bool((await running.call("shop", "send")).status == 200)

        await until(goes_on, 5)


@pytest.mark.failure("R02")
async def test_the_files_as_they_lie_at_any_moment_under_load_hold_every_commit_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    """Copied while others write, the log cut anywhere behind what was acknowledged when the copy began."""
    chance, folder = random.Random(1), tmp_path / "data"  # noqa: S311
    acknowledged, done = list[str](), asyncio.Event()
    async with opened(None, folder) as database:
        await migrate(database, folder)
        assert isinstance(database, SqliteDatabase)
        # Checkpoints come between two copies alone: the database file is of one moment only while there is none.
        await database.fetch("PRAGMA wal_autocheckpoint = 0")

        async def write(writer: int) -> None:
            for turn in count():
                await SqlOrgs(database).create(f"{writer} {turn}")
                acknowledged.append(f"{writer} {turn}")
                if done.is_set():
                    return

        writers = [asyncio.create_task(write(number)) for number in range(4)]
        log, copies = folder / "skillway.db-wal", list[tuple[Path, bytes, int, set[str]]]()
        for number in range(20):
            await asyncio.sleep(chance.uniform(0.001, 0.02))
            if number % 5 == 4:
                await database.checkpoint()
            copy = tmp_path / f"copy-{number}"
            copy.mkdir(mode=0o700)
            promised, length = {*acknowledged}, log.stat().st_size
            whole = await asyncio.to_thread(log.read_bytes)
            await asyncio.to_thread(shutil.copy, folder / "skillway.db", copy)
            copies.append((copy, whole, length, promised))
        done.set()
        await asyncio.gather(*writers)
    assert len(copies[-1][3]) > 20
    for copy, whole, length, promised in copies:
        cut = chance.randint(length, len(whole))
        torn = chance.choice((b"", chance.randbytes(512), bytes(4096), whole[32 : 32 + 24 + 512]))
        (copy / "skillway.db-wal").write_bytes(whole[:cut] + torn)
        async with opened(None, copy) as database:
            assert {org.name for org in await SqlOrgs(database).list()} >= promised
            rows = await database.fetch("PRAGMA integrity_check")
            assert [row["integrity_check"] for row in rows] == ["ok"]



@pytest.mark.failure("R04")
async def test_a_full_disk_refuses_writes_before_anything_is_sent_and_room_is_enough_to_go_on(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (running, upstream):
        assert (await running.call("shop", "send")).status == 200
        database = database_of(running)

        async def allow(pages: int) -> None:
            async with database.transaction() as transaction:
                await transaction.fetch(f"PRAGMA max_page_count = {pages}")

        await allow(1)  # no less than what it has already
        refused = None
        for _ in range(200):
            before = upstream.count("/send")
            answer = await running.call("shop", "send", {"note": "x" * 2000}, **{"async": True})
            if answer.status == 503:
                refused = answer
                break
        assert refused is not None and refused.json()["error"] == "storage_unavailable"
        assert refused.headers["Retry-After"] and upstream.count("/send") <= before + 1
        # What needs no room goes on.
        assert (await running.ask("GET", "/v1/skills")).status == 200
        assert (await running.call("shop", "look")).status == 200
        await allow(1_000_000)

        async def goes_on() -> bool:
            answer = await running.call("shop", "send")
            return bool(answer.status == 200)

        await until(goes_on)
    with closing(sqlite3.connect(running.data_dir / "skillway.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.failure("R05")
async def test_a_disk_that_fails_to_sync_ends_the_process_so_that_it_is_started_anew(tmp_path: Path) -> None:
    definitions = write_definitions(tmp_path, definition("http://127.0.0.1:1"))
    async with failing_on_signal(tmp_path, definitions) as running:
        assert running.process is not None
        assert (await running.ask("POST", "/api-keys", body={"name": "before"})).status == 201
        running.process.send_signal(signal.SIGUSR2)
        answer = await running.ask("POST", "/api-keys", body={"name": "after"})
        if answer.status == 201:
            lacking("a kernel that lets a test fail its fsync")
        assert (answer.status, answer.json()["error"]) == (503, "storage_unavailable")
        assert await asyncio.wait_for(running.process.wait(), 20) == 1
    assert "failed to sync" in (tmp_path / "log").read_text()
    async with gateway_process(tmp_path, definitions=definitions, org=running.org) as again:
        names = [key["name"] for key in (await again.ask("GET", "/api-keys")).json()]
        assert "before" in names


@pytest.mark.failure("R02")
async def test_a_log_that_is_torn_behind_the_last_sync_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """What a power cut leaves: all that was synced, and of what came after any part, or garbage in its last sector."""
    synced: list[tuple[int, str]] = []
    folder = tmp_path / "data"
    async with opened(None, folder) as database:
        await migrate(database, folder)
        assert isinstance(database, SqliteDatabase)
        await database.checkpoint()
        log = folder / "skillway.db-wal"
        for number in range(30):
            await SqlOrgs(database).create(f"org {number}")
            synced.append((log.stat().st_size, f"org {number}"))
        whole, torn = log.read_bytes(), tmp_path / "torn"
        for number, (length, _) in enumerate(synced):
            for cut, tail in ((0, b""), (100, b""), (700, b"\xa5" * 512), (4120, b"\0" * 512)):
                shutil.rmtree(torn, ignore_errors=True)
                torn.mkdir()
                shutil.copy(folder / "skillway.db", torn)
                (torn / "skillway.db-wal").write_bytes(whole[: length + cut] + tail)
                with closing(sqlite3.connect(torn / "skillway.db")) as connection:
                    names = {name for (name,) in connection.execute("SELECT name FROM orgs")}
                    assert names >= {name for _, name in synced[: number + 1]}
                    if number % 10 == 0:
                        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.failure("R07")
async def test_a_damaged_database_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    async with opened(None, tmp_path / "whole") as database:
        await migrate(database, tmp_path / "whole")
        for number in range(20):
            await SqlOrgs(database).create(f"org {number}")
        assert isinstance(database, SqliteDatabase)
        await database.checkpoint()
    whole = (tmp_path / "whole" / "skillway.db").read_bytes()
    refused = 0
    for place in [*range(0, 100, 7), *range(100, len(whole), len(whole) // 40)]:
        folder = tmp_path / f"at-{place}"
        folder.mkdir(mode=0o700)
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        (folder / "skillway.db").write_bytes(damaged)
        try:
            async with opened(None, folder) as database:
                await migrate(database, folder)
                names = [org.name for org in await SqlOrgs(database).list()]
                # The damage is elsewhere, or changed one letter: what is there is still there.
                assert len(names) == 20
        except (NotUsable, StorageUnavailable):
            refused += 1
        left = (folder / "skillway.db").read_bytes()
        assert len(left) >= len(damaged) and sum(a != b for a, b in zip(left, damaged, strict=False)) < 200
    assert refused >= 5


# -------------------------------------------------------------------------------------------------- other servers


@pytest.mark.failure("R09")
async def test_a_commit_whose_answer_is_lost_sends_nothing_and_ends_as_unknown(
    tmp_path: Path, postgres_url: str, clock: HandClock
) -> None:
    port = int(postgres_url.rsplit(":", 1)[1].split("/")[0])
    async with toxic(port) as line:
        through = postgres_url.replace(f":{port}/", f":{line.port}/")
        async with workshop(tmp_path, database_url=through, clock=clock) as (running, upstream):
            assert (await running.call("shop", "send")).status == 200
            line.to_client.stop()
            call = asyncio.create_task(running.call("shop", "send", {"note": "lost"}))
            await asyncio.sleep(0.3)
            line.reset()
            line.to_client.resume()
            answer = await call
            assert (answer.status, answer.json()["error"]) == (503, "storage_unavailable")
            assert upstream.count("/send") == 1

            async def goes_on() -> bool:
                answer = await running.call("shop", "send")
                return bool(answer.status == 200)

            await until(goes_on)
            clock.move(3601)
            assert running.services is not None
            await running.services.gateway._runs.settle(int((clock() - 3600) * 1000))
            runs = (await running.ask("GET", "/v1/runs")).json()["runs"]
            assert {run["status"] for run in runs} <= {"completed", "unknown"}


@pytest.fixture
def cache() -> Iterator[Valkey]:
    try:
        with valkey() as server:
            yield server
    except ValkeyMissing as error:
        lacking(str(error))


@pytest.mark.failure("R11")
@pytest.mark.parametrize("trouble", ["full", "read-only", "flushed"])
async def test_a_valkey_that_is_full_read_only_or_flushed_costs_no_error(
    tmp_path: Path, cache: Valkey, trouble: str
) -> None:
    options: dict[str, Any] = {"plans": {"p": {"requests_per_minute": 600}}, "plan": "p", "valkey_url": cache.url}
    async with gateway(tmp_path, **options) as running:
        assert (await running.ask("GET", "/v1/verify")).status == 200
        said = {
            "full": b"CONFIG SET maxmemory 1\r\n",
            "read-only": b"REPLICAOF 127.0.0.1 1\r\n",
            "flushed": b"FLUSHALL\r\n",
        }[trouble]
        with socket.create_connection(("127.0.0.1", cache.port), timeout=5) as connection:
            connection.sendall(said)
            assert connection.recv(64).startswith(b"+OK")
        answers = await asyncio.gather(*(running.ask("GET", "/v1/verify") for _ in range(30)))
        assert {answer.status for answer in answers} == {200}
        left = {int(answer.headers["X-RateLimit-Remaining"]) for answer in answers}
        assert len(left) == 30 and max(left) < 600


@pytest.mark.failure("R12")
async def test_a_valkey_that_is_flushed_under_load_doubles_no_work(tmp_path: Path, cache: Valkey) -> None:
    options: dict[str, Any] = {"plans": {"p": {"requests_per_minute": 6000}}, "plan": "p", "valkey_url": cache.url}
    async with (
        workshop(tmp_path, **options) as (one, upstream),
        gateway(tmp_path, definitions=tmp_path / "definitions", **options) as made,
    ):
        replicas = (one, replace(made, org=one.org))
        answers, done = list[Answer](), asyncio.Event()

        async def client(number: int) -> None:
            for turn in count():
                note = f"{number} {turn}"
                twice = [
                    each.call("shop", "send", {"note": note}, headers={"Idempotency-Key": note}) for each in replicas
                ]
                answers.extend(await asyncio.gather(*twice))
                if done.is_set():
                    return

        load = [asyncio.create_task(client(number)) for number in range(6)]
        flushes = 0
        with socket.create_connection(("127.0.0.1", cache.port), timeout=5) as connection:
            while len(answers) < 60:
                connection.sendall(b"FLUSHALL\r\n")
                assert connection.recv(64).startswith(b"+OK")
                flushes += 1
                await asyncio.sleep(0.02)
        done.set()
        await asyncio.gather(*load)
        assert flushes > 3 and {answer.status for answer in answers} == {200}
        notes = [body["note"] for path, body, _ in upstream.seen if path == "/send"]
        assert len(notes) == len({*notes}) == len(answers) / 2


# ------------------------------------------------------------------------------------------------- clock and limits


@pytest.mark.failure("R25")
@pytest.mark.parametrize("jump", [-3600, 2 * 86_400])
async def test_a_clock_that_jumps_fails_no_call_and_loses_no_run(tmp_path: Path, clock: HandClock, jump: float) -> None:
    plans = {"p": {"requests_per_minute": 100, "calls_per_day": 100, "credits_per_month": 1000}}
    async with workshop(tmp_path, clock=clock, plans=plans, plan="p") as (running, upstream):
        await running.connect("shop", {"token": "secret-of-the-shop"})
        upstream.gate = asyncio.Event()
        plain = asyncio.create_task(running.call("shop", "send", {"note": "plain"}))
        await upstream.wait_for("/send")
        later = (await running.call("shop", "put", **{"async": True})).json()["run_id"]
        clock.move(jump)
        upstream.gate.set()
        assert (await plain).status == 200
        waiting = (await running.call("shop", "put", **{"async": True})).json()["run_id"]
        assert running.services is not None
        await running.services.stop_taking.__self__.settle()
        for run_id in (later, waiting):
            assert (await run_of(running, run_id, wait=20))["status"] == "completed"
        for _ in range(5):
            assert (await running.call("shop", "look")).status == 200
        assert (upstream.count("/send"), upstream.count("/put")) == (1, 2)


@pytest.mark.failure("R27")
async def test_more_idle_connections_than_descriptors_neither_spin_nor_end_the_process(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as running:
        assert running.process is not None
        pid, port = running.process.pid, int(running.url.rsplit(":", 1)[1])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
        idle = []
        try:
            for _ in range(150):
                with contextlib.suppress(OSError):
                    idle.append(socket.create_connection(("127.0.0.1", port), timeout=2))
            before = cpu_seconds(pid)
            await asyncio.sleep(1)
            assert cpu_seconds(pid) - before < 0.5
        finally:
            for connection in idle:
                connection.close()

        async def answers() -> bool:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                return (await running.ask("GET", "/v1/verify")).status == 200
            return False

        await until(answers)
        assert running.process.returncode is None and peak_mb(pid) - before < 5 * 128 / 2


@pytest.mark.failure("R28")
async def test_more_bodies_than_memory_are_refused_and_the_process_lives_on(tmp_path: Path) -> None:
    """Forty of 8 MB at once, their calls held by the upstream: the process takes some four times what it has room for, not a GB."""
    gate, reached = asyncio.Event(), list[int]()

    async def answer(request: web.Request) -> web.Response:
        reached.append(sum([len(piece) async for piece in request.content.iter_any()]))
        await gate.wait()
        return web.json_response({"number": 1})

    async with (
        listening(web.post("/send", answer)) as upstream,
        gateway_process(tmp_path, definitions=write_definitions(tmp_path, definition(upstream))) as running,
    ):
        assert running.process is not None
        pid = running.process.pid
        before = rss_mb(pid)
        forget_peak(pid)
        raw = json.dumps({"params": {"note": "x" * (8 * 1024**2 - 100)}}).encode()

        async def send(body: bytes) -> tuple[int, str, str]:
            """Status, error and `Retry-After`."""
            headers = {"Authorization": f"Bearer {running.org.live}", "Content-Type": "application/json"}
            async with running.session.post(f"{running.url}/v1/shop/send", data=io.BytesIO(body), headers=headers) as got:
                return got.status, (await got.json()).get("error", ""), got.headers.get("Retry-After", "")

        calls = [asyncio.create_task(send(raw)) for _ in range(40)]

        async def all_are_decided() -> bool:
            return len(reached) + sum(call.done() for call in calls) == 40

        await until(all_are_decided)
        assert sum(call.done() for call in calls) == 32
        # Small ones find room beside them.
        assert (await running.ask("GET", "/v1/verify")).status == 200
        assert (await running.ask("POST", "/api-keys", body={"name": "small"})).status == 201
        gate.set()
        answers = await asyncio.gather(*calls)
        assert {*answers} == {(200, "", ""), (503, "overloaded", "1")}
        assert len(reached) == 8 and min(reached) > 8_000_000
        # The room is given back, and whoever sends too much is told that it is too much.
        assert (await send(raw))[0] == 200
        assert (await send(raw + b" " * 1024))[:2] == (413, "payload_too_large")
        assert running.process.returncode is None and peak_mb(pid) - before < 4 * 128 / 2


#: Bodies up to the limits of size and of values, each the worst for another step of reading one.
HEAVY = {
    "a long text": (b'"' + b"x" * (8 * 1024**2 - 50) + b'"', 200),
    "escapes": (b'"' + rb"\u0041" * (8 * 1024**2 // 6 - 20) + b'"', 200),
    "quotes in a text": (b'"' + rb"\"" * (4 * 1024**2 - 50) + b'"', 200),
    "brackets in a text": (b'"' + b"[{," * (8 * 1024**2 // 3 - 50) + b'"', 200),
    "depth": (b"[" * (8 * 1024**2 - 50), 400),
    "many values": (b"[" + b",".join([b"[]"] * 49_000) + b"]", 400),
    "many names": (b"{" + b",".join(b'"%d":1' % number for number in range(99_000)) + b"}", 400),
    "more values than are read": (b"[" + b"1," * (4 * 1024**2 - 50) + b"1]", 400),
}


@pytest.mark.failure("R29")
async def test_no_body_keeps_the_loop_from_others_for_long(tmp_path: Path) -> None:
    """By the CPU time of one turn of the loop, which other programs of the machine do not lengthen much."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        before = thread_time()
        while True:
            await asyncio.sleep(0)
            now = thread_time()
            longest, before = max(longest, now - before), now

    async with workshop(tmp_path) as (running, _):
        headers = {"Authorization": f"Bearer {running.org.live}", "Content-Type": "application/json"}
        watching = asyncio.create_task(watch())
        for what, (note, status) in HEAVY.items():
            turns = []
            # The best of three: caches that others fill, and a collection of the test's own rubbish, are no fault of ours.
            for _ in range(3):
                body = io.BytesIO(b'{"params":{"note":' + note + b"}}")
                longest = 0.0
                async with running.session.post(f"{running.url}/v1/shop/send", data=body, headers=headers) as answer:
                    assert (answer.status, what) == (status, what)
                turns.append(longest)
            # Some 130 ms for the names, a third of that for the others.
            assert min(turns) < 0.4, (what, turns)
        watching.cancel()


# ------------------------------------------------------------------------------------------------------- the list


def test_every_failure_has_a_test_that_names_it() -> None:
    """Whoever takes a test away finds out here which failure is left without one; a reason may stand in its place."""
    without: dict[str, str] = {}
    found = shown(Path(__file__).parent)
    assert found.keys() <= ROWS.keys(), "a row that is none"
    assert {row for row in ROWS if row not in found} == without.keys()


# ----------------------------------------------------------------------------------------------------- what helps

#: What a later version may do to the schema: only add, and only what who does not know it leaves alone.
ADDITIVE = """
ALTER TABLE runs ADD COLUMN seen_by TEXT;
CREATE TABLE sightings (id TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL);
CREATE INDEX runs_by_sight ON runs (seen_by);
"""


async def status_of(session: aiohttp.ClientSession, url: yarl.URL) -> int | None:
    """The status of the answer, or None where there was none."""
    try:
        async with session.get(url, allow_redirects=False) as answer:
            return answer.status
    except aiohttp.ClientError:
        return None


async def refused_connections(running: RunningGateway) -> None:
    """Waits until a signal to end has arrived: nobody new is let in then."""
    port = int(running.url.rsplit(":", 1)[1])

    async def is_refused() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        return False

    await until(is_refused)


async def kill(running: RunningGateway) -> None:
    assert running.process is not None
    running.process.kill()
    await running.process.wait()


async def run_of(running: RunningGateway, run_id: str, *, wait: int = 0) -> Any:
    return (await running.ask("GET", f"/v1/runs/{run_id}?wait={wait}")).json()


def database_of(running: RunningGateway) -> Any:
    assert running.services is not None
    return running.services.gateway._queue._database  # type: ignore[attr-defined]


def idle_queue(running: RunningGateway) -> tuple[Any, Any]:
    """The queue, and its worker that takes up nothing more: a test does, in the place of other processes."""
    assert running.services is not None
    running.services.stop_taking()
    return running.services.gateway._queue, running.services.stop_taking.__self__  # type: ignore[attr-defined]


@asynccontextmanager
async def failing_on_signal(folder: Path, definitions: Path) -> AsyncIterator[RunningGateway]:
    """A gateway whose disk fails to sync from SIGUSR2 on."""
    script = (
        "import signal; from tests.store.failing_disk import fail_syncs; from gateway.cli.main import main;"
        "signal.signal(signal.SIGUSR2, lambda *_: fail_syncs());"
        "main(['serve', '--port', '0'])"
    )
    async with gateway_process(folder, definitions=definitions, program=("-c", script)) as running:
        yield running
