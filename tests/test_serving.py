"""How the gateway listens: what may take how long, what is not HTTP, how it drains, what it leaves behind."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest

from gateway.operator_file import BadSetting, Installation
from gateway.settings import Settings, check_together
from gateway.store.runs import DELAY_SECONDS
from tests.conftest import lacking
from tests.fakes.github import GitHub
from tests.fakes.postgres import PostgresMissing, fresh_database, postgres_server
from tests.fakes.upstream import Running, serve
from tests.harness import ROOT, Answer, RunningGateway, gateway, gateway_process, make_org
from tests.harness import environment as environment_of

#: A key of the right shape that nobody has, as somebody's real one might stand in a request that is malformed.
PLANTED = "sk_live_gw_PlantedKeyThatMustNeverBeSeenAgain0123456789abcd"
ISSUE = {"repo": "acme/webapp", "title": "Bug report"}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"


@asynccontextmanager
async def line_to(running: RunningGateway, **options: int) -> AsyncIterator[Line]:
    """A connection on which a test says what it likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(running), **options)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


class Line:
    """Both ends of one connection's bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer, which has a Content-Length."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
        return int(head.split(b" ")[1]), body

    async def until_closed(self, within: float = 10) -> bytes:
        """Everything that still comes. Fails if the gateway does not close the connection in time."""
        got = b""
        async with asyncio.timeout(within):
            try:
                while part := await self.reader.read(65536):
                    got += part
            except ConnectionError:
                pass
        return got


# ------------------------------------------------------------------------------------------------- deadlines


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same deadlines, in tenths of a second."""
    monkeypatch.setattr("gateway.web.server.HEAD_DEADLINE", 0.3)
    monkeypatch.setattr("gateway.web.server.IDLE_DEADLINE", 0.6)
    monkeypatch.setattr("gateway.web.server.LINGER", 0.3)
    monkeypatch.setattr("gateway.web.server.WRITE_STALL", 500)
    monkeypatch.setattr("gateway.web.bodies.BODY_DEADLINE", 0.3)
    monkeypatch.setattr("gateway.web.streaming._STALL", 0.5)


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nX-Slow: "])
@pytest.mark.usefixtures("hurried")
async def test_a_head_that_does_not_come_whole_in_time_is_not_waited_for(tmp_path: Path, sent: bytes) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        began = monotonic()
        line.say(sent)
        assert await line.until_closed() == b""
        assert 0.2 < monotonic() - began < 20


@pytest.mark.usefixtures("hurried")
async def test_a_head_that_drips_gains_no_time_by_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        dripping = asyncio.create_task(_drip(line, b"GET /healthz HTTP/1.1\r\n" + b"X-More: 1\r\n" * 1000))
        assert await line.until_closed(within=5) == b""
        dripping.cancel()


@pytest.mark.usefixtures("hurried")
async def test_an_idle_connection_is_closed_and_a_dripping_second_head_does_not_keep_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, line_to(running) as idle, line_to(running) as busy:
        for line in (idle, busy):
            line.say(HEALTH)
            assert (await line.answer())[0] == 200
        dripping = asyncio.create_task(_drip(busy, HEALTH[:-2] + b"X-More: 1\r\n" * 1000))
        assert await idle.until_closed(within=5) == b""
        assert await busy.until_closed(within=5) == b""
        dripping.cancel()


async def test_a_connection_in_use_is_not_closed_for_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.server.HEAD_DEADLINE", 0.3)
    monkeypatch.setattr("gateway.web.server.IDLE_DEADLINE", 1.5)
    async with gateway(tmp_path) as running, line_to(running) as line:
        for _ in range(6):
            line.say(HEALTH)
            assert (await line.answer())[0] == 200
            await asyncio.sleep(0.4)


@pytest.mark.parametrize("drips", [False, True], ids=["stops", "drips"])
@pytest.mark.usefixtures("hurried")
async def test_a_body_that_does_not_come_whole_in_time_is_answered_and_the_connection_closed(
    tmp_path: Path, drips: bool
) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        line.say(_post(running, b'{"integration": "git', length=5000))
        dripping = asyncio.create_task(_drip(line, b"h" * 4000)) if drips else None
        got = await line.until_closed(within=5)
        if dripping:
            dripping.cancel()
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nConnection: close" in head
        assert json.loads(body) == {"error": "bad_request", "message": "The body did not arrive within 0.3 s."}


@pytest.mark.failure("R28")
async def test_an_org_and_strangers_have_half_of_the_room_for_bodies_each_and_give_it_back(tmp_path: Path) -> None:
    async with gateway(tmp_path, body_room="64KiB", body_limit="32KiB") as running:
        other = await make_org({"SKILLWAY_DATA_DIR": str(running.data_dir)}, "Other")
        room = running.services.room if running.services is not None else None
        assert room is not None

        async def until_taken(size: int) -> None:
            async with asyncio.timeout(10):
                while room._taken != size:  # noqa: ASYNC110 - nobody can tell us
                    await asyncio.sleep(0.01)

        begun = _post(running, b"{", length=20_000)
        async with line_to(running) as first, line_to(running) as second, line_to(running) as third:
            first.say(begun)
            await until_taken(20_000)
            second.say(begun)
            status, body = await second.answer()
            assert (status, json.loads(body)["error"]) == (503, "overloaded")
            # A small one of the same org, and a large one of another, are taken.
            assert (await running.ask("POST", "/api-keys", body={"name": "small"})).status == 201
            third.say(begun.replace(running.org.live.encode(), other.live.encode()))
            await until_taken(40_000)
            async with line_to(running) as stranger:
                stranger.say(b"POST /hooks/nobodys HTTP/1.1\r\nHost: gateway\r\nContent-Length: 30000\r\n\r\n")
                assert (await stranger.answer())[0] == 503
        await until_taken(0)
        async with line_to(running) as again:
            again.say(_post(running, b"{}" + b" " * 19_998, length=20_000))
            assert (await again.answer())[0] == 400
    with pytest.raises(BadSetting, match="SKILLWAY_BODY_ROOM must be at least twice SKILLWAY_BODY_LIMIT"):
        check_together(Settings(body_room=8 * 1024**2), Installation())


async def test_what_follows_a_body_that_broke_off_is_not_taken_for_a_request(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        line.say(_post(running, b"", chunked=True) + b"3\r\n{}\n\r\n")
        await asyncio.sleep(0.1)
        line.say(b"zz\r\n" + HEALTH)
        got = await line.until_closed()
        assert got.count(b"HTTP/1.") == 1
        assert b" 400 " in got.partition(b"\r\n")[0]


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(tmp_path) as running:
        async with line_to(running) as line:
            line.say(_post(running, b'{"integration"', length=5000))
            await line.writer.drain()
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        assert (await running.ask("GET", "/readyz")).status == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("how", ["?raw=1", ""], ids=["stream", "envelope"])
@pytest.mark.usefixtures("hurried")
async def test_a_client_that_does_not_read_its_answer_is_let_go(tmp_path: Path, how: str) -> None:
    size = 40_000_000
    async with serve(GitHub()) as github, _with_github(tmp_path, github) as running:
        github.next(body=b'"' + b"x" * (size - 2) + b'"', headers={"Content-Type": "application/json"})
        request = _request(running, "POST", f"/v1/github/get_repo{how}", b'{"params": {"repo": "acme/webapp"}}')
        async with line_to(running, limit=4096) as line:
            line.say(request)
            await github.arrival(len(github.seen) + 1)
            # Longer than the stall, and reading nothing: kernel buffers hold a few MB of it.
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(3)
            line.writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert len(await line.until_closed()) < size
        assert (await running.ask("GET", "/readyz")).status == 200


async def test_the_deadlines_hold_under_the_loop_that_serve_runs_on(tmp_path: Path) -> None:
    """In a process of its own, since `serve` runs on another event loop than these tests."""
    hurry = (
        "import gateway.web.server as s, gateway.web.bodies as b; from gateway.cli.main import main;"
        "s.HEAD_DEADLINE, s.IDLE_DEADLINE, s.LINGER, s.WRITE_STALL, b.BODY_DEADLINE = 0.3, 0.6, 0.3, 500, 0.3;"
        "main(['serve', '--port', '0'])"
    )
    async with serve(GitHub()) as github, _process(tmp_path, ["-c", hurry], github) as running:
        await running.connect("github", {"token": github.upstream.token})
        async with line_to(running) as silent, line_to(running) as idle, line_to(running) as slow:
            async with line_to(running, limit=4096) as deaf:
                size = 40_000_000
                github.next(body=b'"' + b"x" * (size - 2) + b'"', headers={"Content-Type": "application/json"})
                deaf.say(_request(running, "POST", "/v1/github/get_repo", b'{"params": {"repo": "acme/webapp"}}'))
                deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
                idle.say(HEALTH)
                slow.say(_post(running, b"{", length=5000))
                assert await silent.until_closed(within=5) == b""
                assert (await idle.until_closed(within=5)).endswith(b'{"status":"ok"}')
                assert b"The body did not arrive" in await slow.until_closed(within=5)
                await asyncio.sleep(3)
                deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]
                assert len(await deaf.until_closed()) < size


# -------------------------------------------------------------------------------------------- what is not HTTP

_POST = b"POST /v1/connect HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer " + PLANTED.encode() + b"\r\n"
_GET = b"GET /v1/skills HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer " + PLANTED.encode() + b"\r\n"
MALFORMED = {
    "length and chunked": _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": _POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length with a sign": _POST + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": _POST + b"Content-Length: -5\r\n\r\nhello",
    "a hexadecimal length": _POST + b"Content-Length: 0x5\r\n\r\nhello",
    "an empty length": _POST + b"Content-Length: \r\n\r\nhello",
    "a length past 64 bits": _POST + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "a length with an underscore": _POST + b"Content-Length: 1_0\r\n\r\nhellohello",
    "an unknown coding": _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": _POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "another coding first": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a second coding line": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a quoted coding": _POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunks in HTTP/1.0": _POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is none": _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk size": _POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than said": _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}!!\r\n0\r\n\r\n",
    "a chunk size past 64 bits": _POST + b"Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n{}\r\n",
    "a folded header": _GET + b"X-Folded: one\r\n two\r\n\r\n",
    "bare line feeds": (_GET + b"\r\n").replace(b"\r\n", b"\n"),
    "one bare line feed": _GET + b"X-One: 1\nX-Two: 2\r\n\r\n",
    "a NUL in a header": _GET + b"X-Nul: a\0b\r\n\r\n",
    "a bare carriage return": _GET + b"X-Return: a\rb\r\n\r\n",
    "a space before the colon": _GET + b"X-Space : 1\r\n\r\n",
    "a header without a colon": _GET + b"nothing at all\r\n\r\n",
    "a header without a name": _GET + b": value\r\n\r\n",
    "a header name that is no token": _GET + b"X(Y): value\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\nAuthorization: Bearer " + PLANTED.encode() + b"\r\n\r\n",
    "two hosts": _GET + b"Host: another\r\n\r\n",
    "a key that breaks off its line": _GET.replace(b"Bearer ", b"Bearer \x01") + b"\r\n",
    "an unknown method": _GET.replace(b"GET", b"BREW") + b"\r\n",
    "a lower-case method": _GET.replace(b"GET", b"get") + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version to come": _GET.replace(b"HTTP/1.1", b"HTTP/1.2") + b"\r\n",
    "a space in the target": _GET.replace(b"/v1/skills", b"/v1/ skills") + b"\r\n",
    "bytes in the target": _GET.replace(b"/v1/skills", b"/v1/\xff\xfe") + b"\r\n",
    "the absolute form": _GET.replace(b"/v1/skills", b"http://evil.example/v1/skills") + b"\r\n",
    "the authority form": _GET.replace(b"GET /v1/skills", b"CONNECT evil.example:443") + b"\r\n",
    "the asterisk form": _GET.replace(b"GET /v1/skills", b"OPTIONS *") + b"\r\n",
    "two hundred headers": _GET + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
    "a header of 9 KB": _GET + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n",
    "a target of 9 KB": _GET.replace(b"/v1/skills", b"/v1/" + b"a" * 9000) + b"\r\n",
    "a TLS greeting": bytes.fromhex("16030100a5010000a10303") + b"\x5a" * 160,
}


async def test_what_is_not_plain_http_gets_one_fixed_answer_and_is_repeated_nowhere(tmp_path: Path) -> None:
    wrong = {}
    async with gateway_process(tmp_path, log_format="json") as running:
        for case, request in MALFORMED.items():
            async with line_to(running) as line:
                line.say(request)
                got = await line.until_closed(within=5)
            if not _is_fixed_refusal(got):
                wrong[case] = got
        assert (await running.ask("GET", "/healthz", key="")).status == 200
    assert wrong == {}
    log = (tmp_path / "log").read_bytes()
    lines = [json.loads(row) for row in log.splitlines()]
    assert len(lines) == len(MALFORMED) + 1
    for spelling in (*_spellings(PLANTED), PLANTED[20:40].encode(), b"evil.example", b"X-Folded", b"Traceback"):
        assert spelling not in log


async def test_the_python_parser_which_lets_more_through_is_refused(tmp_path: Path) -> None:
    environ = {**os.environ, **environment_of(tmp_path, None, None, {}), "AIOHTTP_NO_EXTENSIONS": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--port", "0", cwd=ROOT, env=environ, stdout=-1, stderr=-1
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 78
    assert b"AIOHTTP_NO_EXTENSIONS" in said


async def test_http_1_0_is_answered_and_closed(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        line.say(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await line.until_closed()).endswith(b'{"status":"ok"}')


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        skills = _request(running, "GET", "/v1/skills/nothing_of_that_name")
        line.say((HEALTH + skills) * 50)
        for _ in range(50):
            assert await line.answer() == (200, b'{"status":"ok"}')
            status, body = await line.answer()
            assert (status, json.loads(body)["error"]) == (404, "not_found")


async def test_ten_thousand_pipelined_requests_take_no_memory_to_speak_of(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as running:
        assert running.process is not None
        before = _resident(running.process.pid)
        async with line_to(running) as line:
            line.say(HEALTH * 10_000)
            for _ in range(10_000):
                assert (await line.answer())[0] == 200
            assert _resident(running.process.pid) - before < 50_000_000


async def test_an_upgrade_that_nobody_offers_changes_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, line_to(running) as line:
        for protocol in (b"h2c", b"websocket", b"h2c"):
            line.say(HEALTH[:-2] + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
            assert await line.answer() == (200, b'{"status":"ok"}')


async def test_it_listens_on_ipv6_as_well(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with gateway_process(tmp_path, host="::1") as running:
        assert re.fullmatch(r"http://\[::1\]:\d+", running.url)
        assert (await running.ask("GET", "/v1/verify")).status == 200


# --------------------------------------------------------------------------------------------- ids and addresses


async def test_every_answer_carries_an_id_of_its_own(tmp_path: Path) -> None:
    async with serve(GitHub()) as github, _with_github(tmp_path, github, body_limit="1KiB") as running:
        repo = {"params": {"repo": "acme/webapp"}}
        listed = await running.ask("GET", "/v1/skills")
        answers = [
            listed,
            await running.ask("GET", "/v1/skills", headers={"If-None-Match": listed.headers["ETag"]}),
            await running.ask("GET", "/healthz", key=""),
            await running.ask("GET", "/readyz", key=""),
            await running.ask("GET", "/nothing"),
            await running.ask("GET", "/v1/skills", key=""),
            await running.ask("PATCH", "/v1/skills"),
            await running.ask("POST", "/v1/github/get_repo", body=repo),
            await running.ask("POST", "/v1/github/get_repo?raw=1", body=repo),
            await running.ask("POST", "/v1/github/no_such_action", body={}),
            await running.ask("POST", "/v1/github/get_repo", body={"params": {"rep": "x"}}),
            await running.ask("POST", "/v1/github/get_repo", raw=b"{}", headers={"Content-Type": "text/plain"}),
            await running.ask("POST", "/v1/github/get_repo", raw=b"{}", headers={"Content-Encoding": "gzip"}),
            await running.ask("POST", "/v1/github/get_repo", raw=b" " * 2000),
            await running.ask("GET", "/connect/new?t=nothing", key=""),
            await running.ask("GET", "/oauth/callback/github?state=x&code=y", key=""),
        ]
        statuses = [answer.status for answer in answers]
        assert statuses[:14] == [200, 304, 200, 200, 404, 401, 405, 200, 200, 404, 400, 415, 415, 413]
        ids = [answer.headers.get("X-Request-Id", "none") for answer in answers]
        assert all(re.fullmatch("req_[0-9a-f]{16}", request_id) for request_id in ids), [
            *zip(statuses, ids, strict=True)
        ]
        assert len(set(ids)) == len(ids)
        assert {answer.headers["Server"] for answer in answers} == {"skillway"}


async def test_a_request_id_of_the_client_is_not_taken_over(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.ask("GET", "/healthz", headers={"X-Request-Id": "req_0000000000000000"})
        assert answer.headers["X-Request-Id"] != "req_0000000000000000"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "logged"),
    [
        ("", "203.0.113.7", "127.0.0.1"),
        ("10.0.0.0/8", "203.0.113.7", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.0/8", "198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.0/8,10.0.0.0/8", "198.51.100.9, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("127.0.0.0/8", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.0/8", '203.0.113.7, evil", "admin": "yes', "127.0.0.1"),
        ("127.0.0.0/8", "fe80::1%evil", "fe80::1"),
    ],
)
async def test_a_forwarded_address_is_believed_of_trusted_proxies_alone(
    tmp_path: Path, trusted: str, forwarded: str, logged: str
) -> None:
    async with gateway_process(tmp_path, trusted_proxies=trusted, log_format="json") as running:
        answer = await running.ask(
            "GET",
            "/v1/verify",
            headers={"X-Forwarded-For": forwarded, "X-Real-IP": "1.1.1.1", "Forwarded": "for=1.1.1.1"},
        )
    lines = [json.loads(row) for row in (tmp_path / "log").read_text().splitlines()]
    [line] = [line for line in lines if line.get("request_id") == answer.headers["X-Request-Id"]]
    assert line["peer"] == logged
    assert "1.1.1.1" not in (tmp_path / "log").read_text()


# --------------------------------------------------------------------------------------------------- the drain


async def test_readyz_says_no_while_healthz_says_yes_during_a_drain(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        assert running.services is not None
        assert (await running.ask("GET", "/readyz", key="")).json() == {"status": "ready"}
        running.services.health.drain()
        draining = await running.ask("GET", "/readyz", key="")
        assert (draining.status, draining.json()) == (503, {"status": "shutting_down"})
        alive = await running.ask("GET", "/healthz", key="")
        assert alive.status == 200
        # Whoever keeps connections is told that this one is the last to be answered here.
        assert alive.headers["Connection"] == "close"


@pytest.mark.failure("R20")
@pytest.mark.parametrize("workers", [1, 2])
async def test_calls_in_flight_finish_after_sigterm_and_nobody_new_is_let_in(tmp_path: Path, workers: int) -> None:
    async with (
        serve(GitHub()) as github,
        _process(tmp_path, ["-m", "gateway", "serve", "--port", "0", "--workers", str(workers)], github) as running,
    ):
        assert running.process is not None
        await running.connect("github", {"token": github.upstream.token})
        before = len(github.seen)
        for _ in range(20):
            github.next(delay=1.0)
        # A connection each, as twenty clients have, so that both workers get some.
        calls = [asyncio.create_task(_call_alone(running, "create_issue", ISSUE)) for _ in range(20)]
        await github.arrival(before + 20)
        running.process.send_signal(signal.SIGTERM)
        await _refused(running)
        assert [call.done() for call in calls] == [False] * 20
        answers = await asyncio.gather(*calls)
        assert [answer.json()["status"] for answer in answers] == [201] * 20
        assert await asyncio.wait_for(running.process.wait(), 10) == 0
    with closing(sqlite3.connect(tmp_path / "data" / "skillway.db")) as database:
        runs = database.execute("SELECT state, status FROM runs WHERE action = 'create_issue'").fetchall()
    assert runs == [("completed", 201)] * 20


@pytest.mark.failure("R20")
async def test_a_call_that_outlasts_the_drain_is_cut_and_its_run_says_that_nobody_knows(tmp_path: Path) -> None:
    async with (
        serve(GitHub()) as github,
        _process(tmp_path, ["-m", "gateway", "serve", "--port", "0"], github, drain="1") as running,
    ):
        assert running.process is not None
        await running.connect("github", {"token": github.upstream.token})
        before = len(github.seen)
        github.next(delay=60)
        call = asyncio.create_task(running.call("github", "create_issue", ISSUE))
        await github.arrival(before + 1)
        began = monotonic()
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises(aiohttp.ClientError):
            await call
        assert await asyncio.wait_for(running.process.wait(), 10) == 0
        assert 0.5 < monotonic() - began < 30
    with closing(sqlite3.connect(tmp_path / "data" / "skillway.db")) as database:
        runs = database.execute("SELECT state, outcome FROM runs WHERE action = 'create_issue'").fetchall()
    assert runs == [("unknown", "unknown")]


@pytest.mark.failure("R20")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_sigterm_ends_it_at_once(tmp_path: Path, workers: str) -> None:
    async with (
        serve(GitHub()) as github,
        _process(tmp_path, ["-m", "gateway", "serve", "--port", "0", "--workers", workers], github) as running,
    ):
        assert running.process is not None
        await running.connect("github", {"token": github.upstream.token})
        before = len(github.seen)
        github.next(delay=60)
        call = asyncio.create_task(running.call("github", "get_repo", {"repo": "acme/webapp"}))
        await github.arrival(before + 1)
        running.process.send_signal(signal.SIGTERM)
        await _refused(running)
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 5) == 1
        with pytest.raises(aiohttp.ClientError):
            await call


async def test_two_workers_share_one_socket_and_one_that_dies_ends_both(tmp_path: Path) -> None:
    async with _process(tmp_path, ["-m", "gateway", "serve", "--port", "0", "--workers", "2"], None) as running:
        assert running.process is not None
        children = _children(running.process.pid)
        assert len(children) == 2
        answers = await asyncio.gather(*(_get_alone(running, "/v1/verify") for _ in range(40)))
        assert set(answers) == {200}
        os.kill(children[1], signal.SIGKILL)
        assert await asyncio.wait_for(running.process.wait(), 10) != 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)


async def test_workers_that_cannot_start_say_why_once(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("slug: [")
    environ = {**os.environ, **environment_of(tmp_path, None, broken, {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--port", "0", "--workers", "3",
        cwd=ROOT, env=environ, stdout=-1, stderr=-1,
    )  # fmt: skip
    out, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 78
    assert said.count(b"broken.yaml:") == 1
    assert b"listening" not in out


# ------------------------------------------------------------------------------------------------- the database


@pytest.mark.failure("R35")
async def test_two_gateways_serve_from_one_sqlite_file(tmp_path: Path) -> None:
    async with serve(GitHub()) as github:
        arguments = ["-m", "gateway", "serve", "--port", "0"]
        async with (
            _process(tmp_path, arguments, github) as one,
            _process(tmp_path, arguments, github, like=one) as other,
        ):
            await one.connect("github", {"token": github.upstream.token})
            calls = [gate.call("github", "create_issue", ISSUE) for gate in (one, other) * 20]
            answers = await asyncio.gather(*calls)
            assert [answer.json().get("status") for answer in answers] == [201] * 40, answers[-1].body
            ids = {answer.json()["meta"]["run_id"] for answer in answers}
    with closing(sqlite3.connect(tmp_path / "data" / "skillway.db")) as database:
        kept = database.execute("SELECT id FROM runs WHERE action = 'create_issue' AND state = 'completed'").fetchall()
        assert {row[0] for row in kept} == ids
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.failure("R06")
async def test_a_locked_database_refuses_writes_before_anything_is_sent_and_reads_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry_sqlite(monkeypatch, 300)
    async with serve(GitHub()) as github, _with_github(tmp_path, github) as running:
        assert (await running.call("github", "create_issue", ISSUE)).json()["status"] == 201
        before = len(github.seen)
        with closing(sqlite3.connect(tmp_path / "data" / "skillway.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = await asyncio.gather(*(running.call("github", "create_issue", ISSUE) for _ in range(10)))
            assert {(answer.status, answer.json()["error"]) for answer in refused} == {(503, "storage_unavailable")}
            assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
            assert len(github.seen) == before
            read = await running.call("github", "get_repo", {"repo": "acme/webapp"})
            assert read.json()["status"] == 200
            assert (await running.ask("GET", "/v1/skills")).status == 200
            other.execute("ROLLBACK")
        again = await _until_accepted(running)
        assert again.json()["status"] == 201


@pytest.mark.failure("R08")
async def test_a_postgresql_that_is_down_refuses_writes_before_anything_is_sent_and_comes_back(tmp_path: Path) -> None:
    try:
        with postgres_server(fsync=False) as server:
            async with (
                serve(GitHub()) as github,
                _with_github(tmp_path, github, database_url=fresh_database(server.url)) as running,
            ):
                assert (await running.call("github", "create_issue", ISSUE)).json()["status"] == 201
                before = len(github.seen)
                server.stop()
                refused = await asyncio.gather(*(running.call("github", "create_issue", ISSUE) for _ in range(10)))
                assert {(answer.status, answer.json()["error"]) for answer in refused} == {(503, "storage_unavailable")}
                assert len(github.seen) == before
                ready = await running.ask("GET", "/readyz", key="")
                assert (ready.status, ready.json()["status"]) == (503, "storage_unavailable")
                # What needs no database goes on; a test key's key is remembered for a moment only.
                assert (await running.ask("GET", "/healthz", key="")).status == 200
                server.start()
                again = await _until_accepted(running)
                assert again.json()["status"] == 201
                assert (await running.ask("GET", "/readyz", key="")).status == 200
    except PostgresMissing as error:
        lacking(str(error))


@pytest.mark.failure("R01")
async def test_an_answered_write_is_on_record_after_kill_9(tmp_path: Path) -> None:
    async with serve(GitHub()) as github:
        arguments = ["-m", "gateway", "serve", "--port", "0"]
        for round_ in range(5):
            folder = tmp_path / str(round_)
            folder.mkdir()
            async with _process(folder, arguments, github) as running:
                assert running.process is not None
                await running.connect("github", {"token": github.upstream.token})
                answers = await asyncio.gather(*(running.call("github", "create_issue", ISSUE) for _ in range(5)))
                running.process.kill()
                await running.process.wait()
            acknowledged = {answer.json()["meta"]["run_id"] for answer in answers}
            with closing(sqlite3.connect(folder / "data" / "skillway.db")) as database:
                kept = database.execute("SELECT id, effect FROM runs WHERE action = 'create_issue'").fetchall()
                assert {row[0] for row in kept} == acknowledged
                assert {row[1] for row in kept} == {"create"}
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_read_is_on_record_a_moment_after_its_answer(tmp_path: Path) -> None:
    assert DELAY_SECONDS == 0.2
    async with serve(GitHub()) as github, _with_github(tmp_path, github) as running:
        with closing(sqlite3.connect(tmp_path / "data" / "skillway.db", isolation_level=None)) as database:
            answer = await running.call("github", "get_repo", {"repo": "acme/webapp"})
            answered = monotonic()
            run_id = answer.json()["meta"]["run_id"]
            # Time for a busy machine: what is promised is 200 ms, by the constant above.
            while monotonic() - answered < 20:
                row = database.execute("SELECT state, status, outcome FROM runs WHERE id = ?", (run_id,)).fetchone()
                if row is not None:
                    break
                await asyncio.sleep(0.01)
            assert row == ("completed", 200, "answered")


# --------------------------------------------------------------------------------------------------- what helps


@asynccontextmanager
async def _with_github(folder: Path, github: Running[GitHub], **settings: Any) -> AsyncIterator[RunningGateway]:
    async with gateway(folder, integrations={"github": {"base_url": github.base_url}}, **settings) as running:
        await running.connect("github", {"token": github.upstream.token})
        yield running


@asynccontextmanager
async def _process(
    folder: Path,
    arguments: Sequence[str],
    github: Running[GitHub] | None,
    *,
    like: RunningGateway | None = None,
    **settings: str,
) -> AsyncIterator[RunningGateway]:
    """A gateway of these arguments to Python, which ends when the block does; on `like`'s database if given."""
    overrides = {"github": {"base_url": github.base_url}} if github else None
    environ = {**os.environ, **environment_of(folder, overrides, None, {"log_format": "json", **settings})}
    org = like.org if like else await make_org(environ)
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, env=environ, stdout=-1, stderr=log
        )
    try:
        assert process.stdout is not None
        said = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", said), (said, (folder / "log").read_text())
        async with aiohttp.ClientSession() as session:
            yield RunningGateway(
                url=said.removeprefix("listening on ").strip(),
                org=org,
                session=session,
                data_dir=folder / "data",
                process=process,
            )
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


def _is_fixed_refusal(got: bytes) -> bool:
    head, _, body = got.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] != [b"400"]:
        return False
    refused = json.loads(body)
    known = ("The request is not valid HTTP/1.1.", "Send the path alone in the request line.",
             "The only transfer coding is `chunked`, and only in HTTP/1.1.")  # fmt: skip
    has_id = re.search(rb"\r\nX-Request-Id: req_[0-9a-f]{16}(\r\n|$)", head) is not None
    return has_id and set(refused) == {"error", "message"} and refused["message"] in known


async def _drip(line: Line, data: bytes) -> None:
    for at in range(len(data)):
        line.say(data[at : at + 1])
        await asyncio.sleep(0.02)


async def _call_alone(running: RunningGateway, action: str, params: object) -> Answer:
    """A call on a connection of its own."""
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {running.org.live}"}
        url = f"{running.url}/v1/github/{action}"
        async with session.post(url, json={"params": params}, headers=headers) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())


async def _get_alone(running: RunningGateway, path: str) -> int:
    async with aiohttp.ClientSession() as session:
        async with session.get(running.url + path, headers={"X-API-Key": running.org.live}) as response:
            return response.status


async def _refused(running: RunningGateway) -> None:
    """Waits until nothing listens there any more."""
    async with asyncio.timeout(5):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", _port(running)), timeout=1):
                    await asyncio.sleep(0.02)
            except ConnectionError:
                return


async def _until_accepted(running: RunningGateway) -> Answer:
    """Tries a write as a patient client does."""
    for _ in range(150):
        answer = await running.call("github", "create_issue", ISSUE)
        if answer.status != 503:
            break
        await asyncio.sleep(0.1)
    return answer


def _hurry_sqlite(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    from gateway.store import sqlite

    pragmas = tuple(re.sub(r"(busy_timeout = )\d+", rf"\g<1>{milliseconds}", pragma) for pragma in sqlite._PRAGMAS)
    assert pragmas != sqlite._PRAGMAS
    monkeypatch.setattr(sqlite, "_PRAGMAS", pragmas)


def _request(running: RunningGateway, method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {running.org.live}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _post(running: RunningGateway, body: bytes, *, length: int = 0, chunked: bool = False) -> bytes:
    """A POST whose body breaks off after `body`."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
    head = (
        "POST /v1/connect HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {running.org.live}\r\n{framing}\r\n\r\n"
    )
    return head.encode() + body


def _spellings(secret: str) -> list[bytes]:
    plain = secret.encode()
    return [plain, base64.b64encode(plain), base64.urlsafe_b64encode(plain).rstrip(b"="), plain.hex().encode()]


def _port(running: RunningGateway) -> int:
    return int(running.url.rsplit(":", 1)[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
