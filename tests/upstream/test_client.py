"""The way out against real servers, well-behaved and not: the same answers and the same failures on both wires."""

import asyncio
import gzip
import json
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.core.requests.request import UpstreamFailed, UpstreamRequest
from gateway.upstream.client import HttpUpstream
from gateway.upstream.token_http import TokenHttp
from oauth.http_port import HttpRequest, Unreached
from tests.fakes.hostile import BOMB_BYTES, ENCODINGS, Recorder, hostile, packed, toxic
from tests.upstream.asking import ask, peak

LIMIT = 10_000_000


async def failure(upstream: HttpUpstream, request: UpstreamRequest, limit: int = LIMIT) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as failed:
        await upstream.send(request, limit=limit)
    return failed.value


# What goes out


async def test_a_request_goes_out_as_it_was_built_and_nothing_is_added(upstream: HttpUpstream) -> None:
    async with hostile("answer") as fake:
        request = ask(
            fake.base_url,
            "POST",
            path="/a%2Fb/%2e%2e/c;d",
            query="q=1%202&q=2&key=%5B%5D",
            headers=(("X-One", "1"), ("accept", "application/json"), ("X-One", "2"), ("Cookie", "a=b; c=d")),
            body=b'{"x":1}',
        )
        answer = await upstream.send(request, limit=100)
        assert (answer.status, answer.body, answer.size, answer.omitted) == (200, b"{}", 2, False)
        head, _, body = fake.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    if headers[-1] == "Connection: close":
        # The ordinary wire keeps no connection for a write.
        headers.pop()
    assert line == "POST /a%2Fb/%2e%2e/c;d?q=1%202&q=2&key=%5B%5D HTTP/1.1"
    assert headers == [
        f"Host: 127.0.0.1:{fake.port}",
        "X-One: 1",
        "accept: application/json",
        "X-One: 2",
        "Cookie: a=b; c=d",
        "Content-Length: 7",
    ]
    assert body == b'{"x":1}'


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("POST", "0"), ("PUT", "0"), ("PATCH", "0")])
async def test_a_request_without_a_body_says_so_where_one_is_expected(
    upstream: HttpUpstream, method: str, length: str | None
) -> None:
    async with hostile("answer") as fake:
        await upstream.send(ask(fake.base_url, method), limit=100)
        lines = fake.requests[0].decode().lower().split("\r\n")
    assert [line for line in lines if line.startswith(("content-length", "transfer-encoding"))] == (
        [] if length is None else [f"content-length: {length}"]
    )


@pytest.mark.parametrize("size", [1, 65_537, 3_000_000])
async def test_bodies_of_every_size_arrive_whole(upstream: HttpUpstream, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with hostile("answer") as fake:
        await upstream.send(ask(fake.base_url, "PUT", body=body[:size]), limit=100)
        assert fake.requests[0].partition(b"\r\n\r\n")[2] == body[:size]


async def test_head_is_answered_without_a_body(upstream: HttpUpstream) -> None:
    async with hostile("raw", data=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", close=False) as fake:
        for _ in range(2):
            answer = await upstream.send(ask(fake.base_url, "HEAD"), limit=100)
            assert (answer.status, answer.body, answer.omitted) == (200, b"", False)
            assert answer.header("content-length") == "5000"


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/a\r\nX-Evil: 1"},
        {"path": "/a b"},
        {"path": "a"},
        {"path": "/a#b"},
        {"query": "a\nb"},
        {"method": "GET /x"},
        {"method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"},
        {"headers": (("X", "a\r\nX-Evil: 1"),)},
        {"headers": (("X", "a\0b"),)},
        {"headers": (("X", "嘍嘊X-Evil: 1"),)},
        {"headers": (("X\r\nY", "a"),)},
        {"headers": (("Host", "evil.example"),)},
        {"headers": (("transfer-encoding", "chunked"),)},
        {"headers": (("Content-Length", "5"),)},
        {"headers": (("Connection", "upgrade"),)},
    ],
)
async def test_what_would_be_more_than_one_request_is_not_sent(upstream: HttpUpstream, fields: dict[str, Any]) -> None:
    async with Recorder() as witness:
        request = ask(witness.base_url, **fields)
        failed = await failure(upstream, request)
        assert (failed.sent, witness.connections) == (False, 0)


# What comes back


async def test_headers_come_back_in_order_with_all_their_values(upstream: HttpUpstream) -> None:
    headers = [("Set-Cookie", "a=1"), ("X-Empty", ""), ("Set-Cookie", "b=2"), ("X-Text", "caf\xe9")]
    async with hostile("answer", headers=headers) as fake:
        answer = await upstream.send(ask(fake.base_url), limit=100)
    ours = [(name, value) for name, value in answer.headers if name not in ("Content-Type", "Content-Length")]
    # Latin-1 is not UTF-8: the byte is replaced, never half a surrogate.
    assert ours == [("Set-Cookie", "a=1"), ("X-Empty", ""), ("Set-Cookie", "b=2"), ("X-Text", "caf\ufffd")]
    json.dumps(answer.headers).encode()


async def test_cookies_are_not_kept_for_the_next_call(upstream: HttpUpstream) -> None:
    async with hostile("answer", headers=[("Set-Cookie", "sid=tenant-a; Path=/")]) as fake:
        for _ in range(3):
            await upstream.send(ask(fake.base_url), limit=100)
        assert not any(b"cookie" in request.lower() for request in fake.requests)


async def test_the_environments_proxies_and_netrc_are_not_used(
    upstream: HttpUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with hostile("answer") as fake, Recorder() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password planted\n")
        (tmp_path / ".netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        await upstream.send(ask(fake.base_url), limit=100)
        stream = await upstream.stream(ask(fake.base_url))
        stream.close()
        assert proxy.connections == 0
        assert not any(b"authorization" in request.lower() for request in fake.requests)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3;ext=1\r\ndef\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef",
        b"HTTP/1.0 200 OK\r\n\r\nabcdef",
        # Sloppy, and common enough.
        b"HTTP/1.1 200\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\nContent-Length: 6\n\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6 \r\nabcdef\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef",
    ],
)
async def test_every_framing_of_a_body_is_read(upstream: HttpUpstream, wire: bytes) -> None:
    async with hostile("raw", data=wire) as fake:
        answer = await upstream.send(ask(fake.base_url), limit=100)
    assert (answer.status, answer.body) == (200, b"abcdef")
    assert answer.header("x-trailer") is None
    assert answer.header("link") is None


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 408, 429, 500, 503, 599])
async def test_every_status_is_an_answer(upstream: HttpUpstream, status: int) -> None:
    async with hostile("answer", status=status, headers=[("Location", "/x")]) as fake:
        answer = await upstream.send(ask(fake.base_url), limit=100)
        assert (answer.status, answer.body, len(fake.requests)) == (status, b"{}", 1)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw-deflate", "br", "two-members"])
async def test_an_encoded_body_is_decoded_and_no_longer_says_that_it_is_encoded(
    upstream: HttpUpstream, encoding: str
) -> None:
    text = b'{"text": "' + b"abc" * 1000 + b'"}'
    raw_deflate = zlib.compressobj(wbits=-15)
    body, name = {
        "gzip": (gzip.compress(text), "gzip"),
        "x-gzip": (gzip.compress(text), "X-GZIP"),
        "deflate": (zlib.compress(text), "deflate"),
        "raw-deflate": (raw_deflate.compress(text) + raw_deflate.flush(), "deflate"),
        "br": (ENCODINGS["br"]([text]), "br, identity"),
        "two-members": (gzip.compress(text[:99]) + gzip.compress(text[99:]) + b"\0\0", "gzip"),
    }[encoding]
    async with hostile("answer", headers=[("Content-Encoding", name)], body=body) as fake:
        answer = await upstream.send(ask(fake.base_url), limit=LIMIT)
        stream = await upstream.stream(ask(fake.base_url))
        streamed = b"".join([chunk async for chunk in stream.chunks])
    assert (answer.body, answer.size, streamed) == (text, len(text), text)
    for headers in (answer, stream):
        assert headers.header("content-encoding") is None
        assert headers.header("content-length") is None
        assert headers.header("content-type") == "application/json"


@pytest.mark.parametrize(
    ("behaviour", "options"),
    [
        ("stacked_encodings", {}),
        ("stacked_encodings", {"encodings": ["deflate", "gzip", "br"]}),
        ("broken_encoding", {"encoding": "gzip"}),
        ("broken_encoding", {"encoding": "deflate"}),
        ("broken_encoding", {"encoding": "br"}),
        ("answer", {"headers": [("Content-Encoding", "compress")], "body": b"xxxxx"}),
        ("answer", {"headers": [("Content-Encoding", "gzip")], "body": gzip.compress(b"x" * 999)[:-9]}),
        ("answer", {"headers": [("Content-Encoding", "gzip")], "body": gzip.compress(b"") * 2000}),
    ],
)
async def test_a_body_that_cannot_be_decoded_is_left_out_and_the_answer_stands(
    upstream: HttpUpstream, behaviour: str, options: dict[str, Any]
) -> None:
    async with hostile(behaviour, **options) as fake:
        answer = await upstream.send(ask(fake.base_url, "POST"), limit=LIMIT)
        assert (answer.status, answer.omitted, answer.body) == (200, True, b"")
        assert answer.size > 0


@pytest.mark.parametrize("size", [99, 100, 101])
@pytest.mark.parametrize("chunked", [True, False])
async def test_the_limit_is_exact(upstream: HttpUpstream, size: int, chunked: bool) -> None:
    body = b"x" * size
    wire = b"HTTP/1.1 201 Created\r\n" + (
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        if chunked
        else b"Content-Length: %d\r\n\r\n%b" % (size, body)
    )
    async with hostile("raw", data=wire) as fake:
        answer = await upstream.send(ask(fake.base_url, "POST"), limit=100)
    assert (answer.status, answer.omitted, answer.size) == (201, size > 100, size)
    assert answer.body == (b"" if size > 100 else body)


async def test_an_answer_that_says_it_is_too_large_is_left_out_at_once(upstream: HttpUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000000\r\n\r\nbegin"
    async with hostile("raw", data=head, close=False) as fake:
        answer = await upstream.send(ask(fake.base_url, "POST"), limit=100)
        assert (answer.omitted, answer.size) == (True, 50_000_000_000)
        await asyncio.wait_for(fake.deserted(), 2)


# Bombs


@pytest.mark.failure("R28")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_bomb_is_left_out_and_never_in_memory(upstream: HttpUpstream, encoding: str) -> None:
    packed(encoding, BOMB_BYTES)
    async with hostile("bomb", encoding=encoding) as fake:
        with peak() as grown:
            answer = await upstream.send(ask(fake.base_url), limit=LIMIT)
        assert answer.omitted
        assert answer.size > LIMIT
        assert grown() < 32_000_000


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_endless_body_is_left_out_and_never_in_memory(upstream: HttpUpstream, chunked: bool) -> None:
    async with hostile("endless_body", chunked=chunked) as fake:
        with peak() as grown:
            answer = await upstream.send(ask(fake.base_url), limit=LIMIT)
        assert (answer.omitted, answer.body) == (True, b"")
        assert grown() < 32_000_000
        await asyncio.wait_for(fake.deserted(), 2)


async def test_a_streamed_bomb_and_a_streamed_flood_go_through_in_flat_memory(upstream: HttpUpstream) -> None:
    packed("gzip", BOMB_BYTES)
    async with hostile("bomb") as fake:
        with peak() as grown:
            stream = await upstream.stream(ask(fake.base_url))
            size = 0
            async for chunk in stream.chunks:
                size += len(chunk)
        assert size == BOMB_BYTES
        assert grown() < 16_000_000
    async with hostile("endless_body") as fake:
        with peak() as grown:
            stream = await upstream.stream(ask(fake.base_url))
            size = 0
            async for chunk in stream.chunks:
                size += len(chunk)
                if size > 100_000_000:
                    break
            stream.close()
        assert grown() < 16_000_000
        await asyncio.wait_for(fake.deserted(), 2)


async def test_a_slow_reader_of_a_stream_slows_the_upstream_and_costs_no_deadline(
    upstream: HttpUpstream,
) -> None:
    async with hostile("endless_body") as fake:
        stream = await upstream.stream(ask(fake.base_url, timeout=0.3))
        await anext(stream.chunks)
        await asyncio.sleep(0.5)
        before = fake.sent
        await asyncio.sleep(0.2)
        assert fake.sent == before < 50_000_000
        await anext(stream.chunks)
        stream.close()


# What fails, and what that means


@pytest.mark.failure("R13")
@pytest.mark.parametrize(
    ("behaviour", "codes"),
    [
        ("hang", "upstream_timeout"),
        ("hang_after_headers", "upstream_timeout"),
        ("hang_mid_body", "upstream_timeout"),
        ("drip", "upstream_timeout"),
        ("drip_headers", "upstream_timeout"),
        ("close_without_answer", "upstream_unreachable"),
        ("reset_without_answer", "upstream_unreachable"),
        ("reset_mid_body", "upstream_invalid_response"),
        ("half_close", "upstream_invalid_response"),
        ("short_body", "upstream_invalid_response"),
        ("short_chunks", "upstream_invalid_response"),
        ("endless_headers", "upstream_invalid_response"),
        ("endless_header", "upstream_invalid_response"),
        ("endless_informational", "upstream_invalid_response upstream_timeout"),
        ("endless_chunk_extension", "upstream_invalid_response upstream_timeout"),
        ("endless_trailers", "upstream_invalid_response upstream_timeout"),
        ("garbage", "upstream_invalid_response"),
        ("http09", "upstream_invalid_response"),
        ("length_and_chunked", "upstream_invalid_response"),
        ("two_lengths", "upstream_invalid_response"),
        ("switching_protocols", "upstream_invalid_response"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_broken_answer_ends_in_time_with_its_code_and_its_connection_closed(
    upstream: HttpUpstream, behaviour: str, codes: str, method: str
) -> None:
    options: dict[str, Any] = {"interval": 0.05} if behaviour.startswith("drip") else {}
    async with hostile(behaviour, **options) as fake:
        started = time.monotonic()
        failed = await failure(upstream, ask(fake.base_url, method, timeout=0.4))
        assert time.monotonic() - started < 20
        assert failed.code in codes.split()
        assert failed.sent
        # A fresh connection that breaks is no stale one: nothing is repeated.
        assert len(fake.requests) == 1
        await asyncio.wait_for(fake.deserted(), 2)


@pytest.mark.failure("R13")
async def test_an_upload_that_nobody_reads_ends_in_time(upstream: HttpUpstream) -> None:
    async with hostile("deaf") as fake:
        failed = await failure(upstream, ask(fake.base_url, "POST", body=b"x" * 20_000_000, timeout=0.4))
        assert (failed.code, failed.sent) == ("upstream_timeout", True)


async def test_an_early_answer_is_an_answer_and_its_connection_is_not_used_again(
    upstream: HttpUpstream,
) -> None:
    async with hostile("early_answer") as fake:
        for _ in range(2):
            answer = await upstream.send(ask(fake.base_url, "POST", body=b"x" * 100_000), limit=100)
            assert answer.status == 413
        assert fake.connections == 2


async def test_nothing_was_sent_where_no_connection_came_about(upstream: HttpUpstream) -> None:
    async with Recorder() as gone:
        port = gone.port
    for origin in (
        f"http://127.0.0.1:{port}",
        "http://nowhere.invalid",
        "http://10.0.0.1",
        "https://169.254.169.254",
        "ftp://127.0.0.1",
        f"http://user:pw@127.0.0.1:{port}",
    ):
        failed = await failure(upstream, ask(origin, "POST"))
        assert (failed.code, failed.sent) == ("upstream_unreachable", False), origin
        assert "nothing" not in failed.cause


async def test_the_cause_names_the_place_and_no_secret(upstream: HttpUpstream) -> None:
    async with hostile("close_without_answer") as fake:
        request = ask(
            fake.base_url,
            path="/planted",
            query="key=planted",
            headers=(("X-Key", "planted"),),
            body=b"planted",
        )
        failed = await failure(upstream, request)
        assert fake.base_url in failed.cause
        assert "planted" not in failed.cause + repr(failed) + repr(request).replace("/planted", "")


async def test_a_cancelled_call_closes_its_connection(upstream: HttpUpstream) -> None:
    async with hostile("hang") as fake:
        call = asyncio.create_task(upstream.send(ask(fake.base_url), limit=100))
        await fake.received()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(fake.deserted(), 2)


@pytest.mark.parametrize(
    ("behaviour", "codes"),
    [
        ("short_body", "upstream_invalid_response"),
        ("reset_mid_body", "upstream_invalid_response upstream_unreachable"),
        ("hang_mid_body", "upstream_timeout"),
        ("drip", "upstream_timeout"),
        ("broken_encoding", "upstream_invalid_response"),
    ],
)
async def test_a_stream_that_breaks_says_so_and_one_that_hangs_or_drips_ends(
    upstream: HttpUpstream, behaviour: str, codes: str
) -> None:
    options: dict[str, Any] = {"interval": 0.05} if behaviour == "drip" else {}
    async with hostile(behaviour, **options) as fake:
        stream = await upstream.stream(ask(fake.base_url, timeout=0.4))
        started = time.monotonic()
        with pytest.raises(UpstreamFailed) as failed:
            async for _ in stream.chunks:
                pass
        assert time.monotonic() - started < 20
        assert failed.value.code in codes.split()
        assert failed.value.sent
        if behaviour != "broken_encoding":  # that body was read to its end
            await asyncio.wait_for(fake.deserted(), 2)


@pytest.mark.parametrize("behaviour", ["stacked_encodings", "garbage", "hang", "close_without_answer"])
async def test_a_stream_without_a_usable_head_fails_before_it_begins(upstream: HttpUpstream, behaviour: str) -> None:
    async with hostile(behaviour) as fake:
        with pytest.raises(UpstreamFailed) as failed:
            await upstream.stream(ask(fake.base_url, timeout=0.4))
        assert failed.value.sent
        if behaviour != "stacked_encodings":  # that body was read to its end
            await asyncio.wait_for(fake.deserted(), 2)


# Connections that are used again


async def test_a_connection_serves_one_call_after_the_other(upstream: HttpUpstream) -> None:
    async with hostile("answer") as fake:
        for _ in range(5):
            await upstream.send(ask(fake.base_url), limit=100)
        assert fake.connections == 1


async def test_an_answer_nobody_asked_for_never_becomes_the_answer_of_the_next_call(
    upstream: HttpUpstream,
) -> None:
    async with hostile("unsolicited_answer") as fake:
        for _ in range(10):
            answer = await upstream.send(ask(fake.base_url), limit=1000)
            assert json.loads(answer.body) == {"answer": "yours"}


async def test_a_body_behind_a_204_is_not_read_and_not_left_for_the_next_call(upstream: HttpUpstream) -> None:
    async with hostile("no_content_with_body") as fake:
        for _ in range(5):
            # aiohttp reads on, and finds no HTTP.
            with suppress(UpstreamFailed):
                answer = await upstream.send(ask(fake.base_url), limit=1000)
                assert (answer.status, answer.body) == (204, b"")


async def test_an_answer_too_large_leaves_nothing_for_the_next_call(upstream: HttpUpstream) -> None:
    async with hostile("answer", body=b"x" * 100_000) as fake:
        for _ in range(3):
            assert (await upstream.send(ask(fake.base_url), limit=100)).omitted
        assert (await upstream.send(ask(fake.base_url), limit=LIMIT)).body == b"x" * 100_000


async def test_calls_at_once_each_get_their_own_answer(upstream: HttpUpstream) -> None:
    async with hostile("echo") as fake:
        answers = await asyncio.gather(
            *(upstream.send(ask(fake.base_url, path=f"/{n}"), limit=10_000) for n in range(50))
        )
    assert [json.loads(answer.body)["line"] for answer in answers] == [f"GET /{n} HTTP/1.1" for n in range(50)]


@pytest.mark.failure("R16")
@pytest.mark.parametrize("when", ["idle", "next_request"])
async def test_reads_survive_every_stale_connection(upstream: HttpUpstream, when: str) -> None:
    async with hostile("stale_keepalive", when=when) as fake:
        for _ in range(300):
            assert (await upstream.send(ask(fake.base_url), limit=100)).status == 200


@pytest.mark.failure("R16")
async def test_a_write_is_never_done_twice_over_stale_connections(upstream: HttpUpstream) -> None:
    """Closed while idle: nearly always seen in time, and then a fresh one is taken. What was sent is not repeated."""
    async with hostile("stale_keepalive") as fake:
        calls = [ask(fake.base_url, "POST", path=f"/{n}", body=b"{}") for n in range(300)]
        failures = [failed for call in calls if (failed := await outcome(upstream, call)) is not None]
        paths = [request.split(b" ")[1] for request in fake.requests]
    assert len(paths) == len(set(paths))
    assert all(failed.sent for failed in failures)
    assert len(failures) <= 3


@pytest.mark.failure("R16")
async def test_a_write_that_was_sent_over_a_stale_connection_is_unknown_and_not_repeated(
    upstream: HttpUpstream,
) -> None:
    async with hostile("stale_keepalive", when="next_request") as fake:
        await upstream.send(ask(fake.base_url), limit=100)
        failed = await outcome(upstream, ask(fake.base_url, "POST", body=b"{}"))
        if failed is None:
            # The ordinary wire puts no write on a connection that served before.
            assert fake.connections == 2
        else:
            assert (failed.code, failed.sent, fake.connections) == ("upstream_unreachable", True, 1)


async def test_a_line_that_breaks_under_a_call_is_told_apart_from_one_that_never_was(
    upstream: HttpUpstream,
) -> None:
    async with hostile("hang") as fake, toxic(fake.port) as line:
        call = asyncio.create_task(failure(upstream, ask(line.base_url)))
        await fake.received()
        line.reset()
        failed = await call
        assert (failed.code, failed.sent) == ("upstream_unreachable", True)
        line.down = True
        assert (await failure(upstream, ask(line.base_url))).code == "upstream_unreachable"


# OAuth


async def test_a_token_request_goes_out_once_and_its_answer_comes_back(upstream: HttpUpstream) -> None:
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("Set-Cookie", "a=b")]
    async with hostile("answer", status=400, headers=headers, body=b'{"error":"invalid_grant"}') as fake:
        request = HttpRequest(
            method="POST",
            url=f"{fake.base_url}/token?x=1",
            headers={"accept": "application/json"},
            body=b"a=b",
            timeout=2,
        )
        answer = await TokenHttp(upstream).exchange(request)
        assert (answer.status, answer.body, answer.headers["x-twice"]) == (
            400,
            b'{"error":"invalid_grant"}',
            "1",
        )
        assert fake.requests[0].startswith(b"POST /token?x=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("behaviour", "sent"),
    [
        ("hang", True),
        ("close_without_answer", True),
        ("bomb", True),
        ("endless_body", True),
        ("garbage", True),
    ],
)
async def test_a_token_request_without_an_answer_says_whether_it_was_sent(
    upstream: HttpUpstream, behaviour: str, sent: bool
) -> None:
    async with hostile(behaviour) as fake:
        with pytest.raises(Unreached) as unreached:
            await TokenHttp(upstream).exchange(
                HttpRequest(method="POST", url=f"{fake.base_url}/token", headers={}, body=b"a=b", timeout=0.4)
            )
        assert unreached.value.sent is sent
        assert len(fake.requests) == 1


async def test_a_token_endpoint_that_redirects_is_not_followed(upstream: HttpUpstream) -> None:
    async with Recorder() as witness, hostile("redirect", status=307, location=witness.base_url) as fake:
        request = HttpRequest(method="POST", url=f"{fake.base_url}/token", headers={}, body=b"code=planted", timeout=2)
        assert (await TokenHttp(upstream).exchange(request)).status == 307
        assert witness.connections == 0


# Helpers


async def outcome(upstream: HttpUpstream, request: UpstreamRequest) -> UpstreamFailed | None:
    """None where an answer came, else the failure."""
    try:
        await upstream.send(request, limit=100)
    except UpstreamFailed as failed:
        return failed
    return None
