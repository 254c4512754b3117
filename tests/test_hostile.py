"""Each misbehaving counterpart misbehaves as its name says, and the throw-away PostgreSQL is a real one."""

import asyncio
import contextlib
import importlib
import json
import os
import socket
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
import pytest

from tests.fakes.hostile import (
    BAD_JSON,
    BEHAVIOURS,
    BOMB_BYTES,
    DANGEROUS_HEADERS,
    ENCODINGS,
    Hostile,
    Recorder,
    hostile,
    packed,
    toxic,
)
from tests.fakes.postgres import (
    PostgresMissing,
    PostgresServer,
    drop_database,
    fresh_database,
    postgres_server,
)

GET = b"GET /thing HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer planted\r\n\r\n"
POST = b"POST /thing HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 "


class Wire:
    """A client that shows what is on the wire and mends nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readexactly(count)

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(10):
            return await self._reader.read()

    async def is_silent(self) -> bool:
        """Whether nothing comes, not even an end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self._reader.read(1)
                return False
        return True


@contextlib.asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def asked(behaviour: str, request: bytes = GET, **options: Any) -> AsyncIterator[tuple[Hostile, Wire]]:
    """A hostile upstream and a connection on which one request was sent."""
    async with hostile(behaviour, **options) as upstream, wire(upstream.port) as client:
        await client.send(request)
        yield upstream, client


async def answer_of(behaviour: str, **options: Any) -> tuple[bytes, bytes]:
    """The head and the body of a well-framed answer."""
    async with asked(behaviour, **options) as (_, client):
        head = await client.head()
        return head, await client.exactly(int(field(head, b"Content-Length")))


def field(head: bytes, name: bytes) -> bytes:
    values = [line.split(b": ", 1)[1] for line in head.split(b"\r\n") if line.startswith(name + b": ")]
    assert len(values) == 1, head
    return values[0]


async def test_requests_are_kept_raw_and_a_good_connection_is_kept_open() -> None:
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\n\r\n"
    async with hostile("answer") as upstream, wire(upstream.port) as client:
        for number, request in enumerate((GET, POST, chunked), start=1):
            await client.send(request)
            assert (await client.head()).startswith(OK)
            assert await client.exactly(2) == b"{}"
            await upstream.received(number)
        assert upstream.requests == [GET, POST, chunked]
        assert (upstream.connections, upstream.open) == (1, 1)
    assert upstream.open == 0


async def test_it_says_when_its_clients_have_gone() -> None:
    async with hostile("hang") as upstream:
        async with wire(upstream.port) as client:
            await client.send(GET)
            await upstream.received()
            assert upstream.open == 1
        await upstream.deserted()
        assert (upstream.connections, upstream.open) == (1, 0)


@pytest.mark.parametrize(
    ("behaviour", "sent_before"),
    [("hang", b""), ("deaf", b""), ("hang_after_headers", b"\r\n\r\n"), ("hang_mid_body", b'{"half": ')],
)
async def test_a_hang_leaves_the_connection_open_and_silent(behaviour: str, sent_before: bytes) -> None:
    async with asked(behaviour) as (upstream, client):
        if sent_before:
            head = await client.head()
            assert field(head, b"Content-Length") == b"100"
            body = sent_before.removeprefix(b"\r\n\r\n")
            assert await client.exactly(len(body)) == body
        assert await client.is_silent()
        assert upstream.requests == [GET]


async def test_the_deaf_stop_reading_so_that_an_upload_gets_stuck() -> None:
    async with asked("deaf", b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n") as (_, client):
        upload = asyncio.create_task(client.send(b"x" * 50_000_000))
        done, _ = await asyncio.wait([upload], timeout=0.3)
        assert not done
        upload.cancel()


async def test_a_reset_is_a_reset_and_no_orderly_end() -> None:
    async with asked("reset_without_answer") as (_, client):
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_reset_mid_body_comes_behind_a_good_head() -> None:
    # A bare socket: a stream would forget what it has read once the reset arrives.
    loop = asyncio.get_running_loop()
    async with hostile("reset_mid_body") as upstream:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", upstream.port))
            await loop.sock_sendall(client, GET)
            data = await loop.sock_recv(client, 65536)
            assert data.startswith(OK)
            assert data.endswith(b'\r\n\r\n{"half": ')
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(client, 1)


async def test_an_upstream_may_close_without_a_word() -> None:
    async with asked("close_without_answer") as (_, client):
        assert await client.rest() == b""


async def test_half_closed_it_sends_no_more_but_still_listens() -> None:
    async with asked("half_close") as (upstream, client):
        assert (await client.rest()).endswith(b'\r\n\r\n{"half": ')
        await client.send(b"more")
        assert upstream.open == 1


async def test_a_short_body_ends_before_its_promised_length() -> None:
    async with asked("short_body") as (_, client):
        head, body = (await client.rest()).split(b"\r\n\r\n")
        assert field(head, b"Content-Length") == b"1000"
        assert body == b'{"short": 1}'
    async with asked("short_chunks") as (_, client):
        assert (await client.rest()).endswith(b'\r\n\r\nc\r\n{"short": 1}\r\n')


async def test_an_early_answer_does_not_wait_for_the_body() -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
    async with asked("early_answer", request) as (upstream, client):
        assert (await client.rest()).startswith(b"HTTP/1.1 413 ")
        assert upstream.requests == [request]


async def test_a_drip_sends_one_byte_at_a_time() -> None:
    async with asked("drip", interval=0.02) as (upstream, client):
        await client.head()
        started, sent = time.monotonic(), upstream.sent
        assert await client.exactly(10) == b" " * 10
        assert time.monotonic() - started > 0.15
        assert upstream.sent - sent <= 12
    async with asked("drip_headers", interval=0.02) as (_, client):
        assert (await client.exactly(31)) == b"HTTP/1.1 200 OK\r\nX-Slow: aaaaaa"


ENDLESS = {
    "endless_headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n"),
    "endless_header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
    "endless_informational": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "endless_body": (b"\r\n\r\n", b" "),
    "endless_chunk_extension": (b"\r\n\r\n1;x=", b"a"),
    "endless_trailers": (b"\r\n0\r\n", b"X-More: and more\r\n"),
}


@pytest.mark.parametrize("behaviour", ENDLESS)
async def test_what_is_endless_goes_on_until_the_client_leaves(behaviour: str) -> None:
    start, repeated = ENDLESS[behaviour]
    options: dict[str, Any] = {"chunked": False} if behaviour == "endless_body" else {}
    async with hostile(behaviour, **options) as upstream:
        async with wire(upstream.port) as client:
            await client.send(GET)
            data = await client.exactly(1_000_000)
            _, found, tail = data.partition(start) if start else (b"", b"", data)
            assert found == start
            assert tail.replace(repeated, b"") in repeated  # nothing else, but for a last piece that was cut
            assert upstream.sent >= 1_000_000
        await upstream.deserted()


async def test_an_endless_body_may_come_in_chunks() -> None:
    async with asked("endless_body") as (_, client):
        assert field(await client.head(), b"Transfer-Encoding") == b"chunked"
        for _ in range(3):
            assert await client.exactly(65536 + 9) == b"10000\r\n" + b" " * 65536 + b"\r\n"


async def test_a_client_that_stops_reading_stops_an_endless_body() -> None:
    async with asked("endless_body") as (upstream, client):
        await client.head()
        before = -1
        while upstream.sent != before:
            before = upstream.sent
            await asyncio.sleep(0.05)
        assert upstream.sent < 50_000_000


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
async def test_a_bomb_is_small_on_the_wire_and_large_when_decoded(encoding: str) -> None:
    head, body = await answer_of("bomb", encoding=encoding)
    assert field(head, b"Content-Encoding") == encoding.encode()
    assert len(body) < 250_000
    assert size_decoded(encoding, body) == BOMB_BYTES


async def test_the_bombs_that_need_no_library_are_always_there() -> None:
    assert {"gzip", "deflate", "br"} <= ENCODINGS.keys()
    assert packed("gzip", 1_500_001) == packed("gzip", 1_500_001)
    assert size_decoded("gzip", packed("gzip", 1_500_001)) == 1_500_001


async def test_encodings_are_stacked_in_the_order_that_the_header_tells() -> None:
    head, body = await answer_of("stacked_encodings", encodings=("deflate", "gzip"), body=b'{"deep": 1}')
    assert field(head, b"Content-Encoding") == b"deflate, gzip"
    assert zlib.decompress(zlib.decompress(body, 31)) == b'{"deep": 1}'


async def test_a_broken_encoding_is_plain_text_under_a_false_name() -> None:
    head, body = await answer_of("broken_encoding")
    assert field(head, b"Content-Encoding") == b"gzip"
    assert json.loads(body) == {"plain": "text"}


@pytest.mark.parametrize("case", sorted(BAD_JSON))
async def test_bad_json_claims_to_be_json(case: str) -> None:
    head, body = await answer_of("bad_json", case=case)
    assert field(head, b"Content-Type") == b"application/json"
    assert body == BAD_JSON[case]


async def test_bad_json_may_be_any_bytes() -> None:
    assert (await answer_of("bad_json", case=b"\x00\xff"))[1] == b"\x00\xff"


async def test_an_echo_tells_the_token_in_each_of_its_forms() -> None:
    _, told = await answer_of("echo", request=POST.replace(b"Host: here", b"Authorization: Bearer planted"))
    assert json.loads(told) == {
        "line": "POST /thing HTTP/1.1",
        "headers": {"authorization": "Bearer planted", "content-length": "4"},
        "body": "body",
    }
    head, told = await answer_of("echo", form="text", status=401)
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"Bearer planted" in told
    head, _ = await answer_of("echo", form="header")
    assert field(head, b"X-Saw-Authorization") == b"Bearer planted"


async def test_garbage_and_http09_have_no_status_line() -> None:
    async with asked("garbage") as (_, client):
        assert (await client.rest()).startswith(b"\x16\x03\x01")
    async with asked("http09") as (_, client):
        assert await client.rest() == b'{"ok": true}\n'


async def test_two_framings_are_both_told() -> None:
    async with asked("length_and_chunked") as (_, client):
        head = await client.head()
        assert field(head, b"Content-Length") == b"3"
        assert field(head, b"Transfer-Encoding") == b"chunked"
        assert await client.exactly(22) == b'c\r\n{"ok": true}\r\n0\r\n\r\n'
    async with asked("two_lengths") as (_, client):
        head = await client.head()
        assert head.count(b"Content-Length: ") == 2
        assert await client.exactly(12) == b'{"ok": true}'


async def test_no_content_comes_with_a_body_all_the_same() -> None:
    head, body = await answer_of("no_content_with_body")
    assert head.startswith(b"HTTP/1.1 204 ")
    assert body == b'{"ok": true}'


async def test_protocols_are_switched_unasked() -> None:
    async with asked("switching_protocols") as (_, client):
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.exactly(5) == b"hello"


async def test_an_unsolicited_answer_lies_ready_for_the_next_request() -> None:
    async with asked("unsolicited_answer") as (upstream, client):
        bodies = []
        for _ in range(2):
            head = await client.head()
            bodies.append(json.loads(await client.exactly(int(field(head, b"Content-Length")))))
        assert bodies == [{"answer": "yours"}, {"answer": "planted"}]
        assert len(upstream.requests) == 1


async def test_twenty_dangerous_headers_come_with_a_good_body() -> None:
    head, body = await answer_of("dangerous_headers")
    assert len({name for name, _ in DANGEROUS_HEADERS}) == 20
    for name, value in DANGEROUS_HEADERS:
        assert field(head, name.encode()) == value.encode()
    assert body == b"{}"


@pytest.mark.parametrize(
    "location",
    [
        "http://name:secret@127.0.0.1:1/",
        "javascript:alert(1)",
        "http://169.254.169.254/",
        "//evil",
        b"/\xff\xfe",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_goes_anywhere(status: int, location: str | bytes) -> None:
    head, _ = await answer_of("redirect", status=status, location=location)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert field(head, b"Location") == (location.encode() if isinstance(location, str) else location)


async def test_a_location_may_be_ten_megabytes_long() -> None:
    head, _ = await answer_of("huge_location")
    assert len(field(head, b"Location")) > 10_000_000


async def test_a_stale_connection_ends_when_idle_or_when_used_again() -> None:
    async with asked("stale_keepalive") as (upstream, client):
        assert (await client.rest()).endswith(b"\r\n\r\n{}")
        assert len(upstream.requests) == 1
    async with asked("stale_keepalive", when="next_request") as (upstream, client):
        await client.head()
        await client.exactly(2)
        assert await client.is_silent()
        await client.send(POST)
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert upstream.requests == [GET]


async def test_an_answer_may_be_any_answer() -> None:
    head, body = await answer_of("answer", status=429, headers={"Retry-After": "-1"}, body=b"later")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert field(head, b"Retry-After") == b"-1"
    assert body == b"later"
    async with asked("raw", data=b"anything\x00") as (_, client):
        assert await client.rest() == b"anything\x00"


def test_every_behaviour_is_tried_here() -> None:
    source = Path(__file__).read_text()
    assert [name for name in BEHAVIOURS if f'"{name}"' not in source] == []


async def test_a_line_carries_both_ways_and_counts() -> None:
    async with hostile("answer") as upstream, toxic(upstream.port) as line, wire(line.port) as client:
        await client.send(POST)
        head = await client.head()
        await client.exactly(2)
        assert upstream.requests == [POST]
        assert line.connections == 1
        assert line.to_target.bytes == len(POST)
        assert line.to_client.bytes == len(head) + 2


async def test_latency_delays_one_direction() -> None:
    async with hostile("answer") as upstream, toxic(upstream.port) as line, wire(line.port) as client:
        line.to_client.latency = 0.2
        started = time.monotonic()
        head = asyncio.create_task(client.head())
        await client.send(GET)
        await upstream.received()
        assert not head.done()
        await head
        assert time.monotonic() - started >= 0.2


async def test_a_limit_cuts_each_connection_after_so_many_bytes() -> None:
    async with hostile("answer", body=b"x" * 10_000) as upstream, toxic(upstream.port) as line:
        line.to_client.limit_data = 100
        for _ in range(2):
            async with wire(line.port) as client:
                await client.send(GET)
                assert len(await client.rest()) == 100


async def test_a_stopped_line_holds_an_answer_that_was_given() -> None:
    async with hostile("answer") as upstream, toxic(upstream.port) as line, wire(line.port) as client:
        line.to_client.stop()
        await client.send(GET)
        await upstream.received()
        assert await client.is_silent()
        line.to_client.resume()
        assert (await client.head()).startswith(OK)


async def test_a_reset_line_resets_and_a_line_that_is_down_takes_nobody() -> None:
    async with hostile("hang") as upstream, toxic(upstream.port) as line, wire(line.port) as client:
        await client.send(GET)
        await upstream.received()
        line.reset()
        with pytest.raises(ConnectionResetError):
            await client.rest()
        await upstream.deserted()
        line.down = True
        async with wire(line.port) as other:
            with pytest.raises(ConnectionResetError):
                await other.rest()
        assert upstream.connections == 1


async def test_a_line_to_nowhere_resets() -> None:
    async with Recorder() as gone:
        pass
    async with toxic(gone.port) as line, wire(line.port) as client:
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_recorder_counts_who_came_and_says_nothing() -> None:
    async with Recorder() as witness:
        assert (witness.connections, witness.received) == (0, 0)
        async with wire(witness.port) as client:
            await client.send(GET)
            assert await client.is_silent()
        assert (witness.connections, witness.received) == (1, len(GET))
        assert b"".join(witness.data) == GET


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(postgres_server())
        except PostgresMissing as missing:
            lacking(str(missing))
        yield started


def lacking(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have a PostgreSQL: {what}")
    pytest.skip(what)


async def test_each_test_gets_an_empty_database_of_its_own(server: PostgresServer) -> None:
    one, other = fresh_database(server.url), fresh_database(server.url)
    assert await run(one, "CREATE TABLE things (id int)", "INSERT INTO things VALUES (7)") is None
    assert await run(one, "SELECT id FROM things") == 7
    assert await run(other, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    drop_database(one)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await run(one, "SELECT 1")
    assert await run(other, "SHOW fsync") == "on"
    drop_database(other)


async def test_a_crashed_server_comes_back_with_what_it_had_promised(server: PostgresServer) -> None:
    database = fresh_database(server.url)
    await run(database, "CREATE TABLE things (id int)", "INSERT INTO things VALUES (7)")
    pid = server.pid
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        await run(database, "SELECT 1")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    server.start()
    assert await run(database, "SELECT id FROM things") == 7
    drop_database(database)


async def test_a_paused_server_answers_once_it_is_resumed(server: PostgresServer) -> None:
    server.pause()
    waiting = asyncio.create_task(run(server.url, "SELECT 1"))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    server.resume()
    assert await waiting == 1


async def test_a_commit_may_be_done_though_its_answer_is_held(server: PostgresServer) -> None:
    database = fresh_database(server.url)
    await run(database, "CREATE TABLE things (id int)")
    async with toxic(server.port) as line:
        through = database.replace(f":{server.port}/", f":{line.port}/")
        connection = await asyncpg.connect(through)
        line.to_client.stop()
        insert = asyncio.create_task(connection.execute("INSERT INTO things VALUES (7)"))
        async with asyncio.timeout(10):
            while await run(database, "SELECT count(*) FROM things") == 0:
                pass
        assert not insert.done()
        line.reset()
        with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
            await insert
        connection.terminate()
    drop_database(database)


async def run(url: str, *statements: str) -> Any:
    """What the last statement gives."""
    connection = await asyncpg.connect(url)
    try:
        value = None
        for statement in statements:
            value = await connection.fetchval(statement)
        return value
    finally:
        await connection.close()


def size_decoded(encoding: str, body: bytes) -> int:
    """How large a body is once decoded, without keeping it."""
    for name in {"br": ["brotli"], "zstd": ["compression.zstd", "backports.zstd"]}.get(encoding, []):
        with contextlib.suppress(ImportError):
            return len(importlib.import_module(name).decompress(body))
    size, left = 0, body
    inflate = zlib.decompressobj(31 if encoding == "gzip" else 15)
    while left and not inflate.eof:
        size += len(inflate.decompress(left, 1 << 20))
        left = inflate.unconsumed_tail
    return size + len(inflate.flush())

