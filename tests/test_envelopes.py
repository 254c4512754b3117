"""What comes back: envelope 1 around bytes of every kind, envelope 2 where there is no answer, and the record."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.demo import write_definitions
from tests.fakes.hostile import BAD_JSON, DANGEROUS_HEADERS, ENCODINGS, hostile
from tests.fakes.upstream import Running, Upstream, serve
from tests.harness import Answer, RunningGateway, gateway, gateway_process

pytestmark = pytest.mark.asyncio(loop_scope="module")

INLINE = 64 * 1024
LIMIT = 1024 * 1024
SECRET = 'tok/en-"quoted"+plus=end'
MIB = 1024 * 1024


def example(status: int = 200) -> list[Any]:
    return [{"params": {}, "response": {"status": status, "data": None}}]


PROBE = {
    "slug": "probe",
    "name": "Probe",
    "description": "Says what a test wants said, on the host of the connection.",
    "base_url": "http://{host}",
    "auth": [
        {"name": "token", "type": "bearer", "title": "Token"},
        {"name": "query", "type": "api_key", "title": "Key", "in": "query", "as": "key"},
        {"name": "basic", "type": "basic", "title": "Password"},
    ],
    "connection": {"host": {"title": "Host", "schema": {"type": "string"}, "host": "domain"}},
    "actions": {
        "get": {
            "description": "Reads.",
            "request": "GET /it",
            "timeout": "1s",
            "errors": [
                {"status": 409, "code": "stale", "fix": "Read it again."},
                {"status": 409, "fix": "Wait a moment."},
                {"code": "quota", "fix": "Buy more."},
            ],
            "examples": example(),
        },
        "post": {
            "description": "Writes.",
            "request": "POST /it",
            "effect": "create",
            "timeout": "1s",
            "examples": example(201),
        },
        "head": {"description": "Asks for the head.", "request": "HEAD /it", "examples": example()},
        "binary": {"description": "Downloads.", "request": "GET /it", "response": "binary", "examples": example()},
        "text": {"description": "Reads text.", "request": "GET /it", "response": "text", "examples": example()},
        "json": {"description": "Reads JSON.", "request": "GET /it", "response": "json", "examples": example()},
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Running[Upstream]]:
    async with serve(Upstream()) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def probe(tmp_path_factory: pytest.TempPathFactory, upstream: Running[Upstream]) -> AsyncIterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    async with gateway(
        folder, definitions=write_definitions(folder, PROBE), inline_limit=str(INLINE), response_limit=str(LIMIT)
    ) as running:
        await connect(running, upstream.base_url)
        yield running


@pytest.fixture(autouse=True)
def fresh_pace(probe: RunningGateway) -> None:
    probe.forget_pace()


async def connect(running: RunningGateway, base_url: str, user: str = "default", **credentials: str) -> str:
    """A connection of `user` to the upstream at that address."""
    given = {"token": SECRET, **credentials} if set(credentials) <= {"host"} else credentials
    return await running.connect("probe", {**given, "host": base_url.removeprefix("http://")}, user=user)


async def told(
    probe: RunningGateway, upstream: Running[Upstream], body: bytes, kind: str | None = "application/json",
    *, action: str = "get", status: int = 200, headers: dict[str, str] | None = None,
) -> Answer:
    """The gateway's answer where the upstream sends this body."""
    more = headers or {}
    # Without a type of its own the counterpart's server would name one.
    upstream.next(status=status, body=body, headers=more if kind is None else {"Content-Type": kind, **more})
    answer = await probe.call("probe", action)
    assert answer.status == 200, answer.body
    return answer


def data_of(answer: Answer) -> bytes:
    """The bytes that stand under `data`."""
    found = re.fullmatch(rb'\{"status":\d{3},"data":(.*),"meta":\{"run_id":.*?\}\}', answer.body, re.DOTALL)
    if found is None:
        found = re.fullmatch(rb'\{"status":\d{3},"data":(.*),"meta":\{[^{}]*(?:\{.*\})?[^{}]*\}\}', answer.body, re.DOTALL)
    assert found, answer.body[-400:]
    return found[1]


# JSON

SPLICED = {
    "numbers": b'{"one":1.0,"uno":1,"exp":1E+2,"big":123456789012345678901234567890,"tiny":1e-400,"zero":-0,"n":-0.0}',
    "huge_number": b'{"id": 1' + b"0" * 5000 + b"}",
    "key_order": b'{"z":1,"a":{"y":2,"b":3}}',
    "duplicate_keys": b'{"role":"user","role":"admin"}',
    "escapes": b'{"a":"\\u00e9\\ud83e\\udd84\\/\\b","\\u0061":1}',
    "raw_unicode": '{"a":"é🦄\u2028"}'.encode(),
    "white_space": b' \n\t{ "a" : [ 1 , 2 ]\r\n} \n',
    "escaped_nul": b'{"name":"a\\u0000b"}',
    "string": b'"text"',
    "number": b"0.10",
    "true": b"true",
    "null": b"null",
    "empty_array": b"[]",
    "status_and_error": b'{"status":500,"error":"theirs","data":{"data":1},"meta":null}',
    "deep": b"[" * 400 + b"]" * 400,
}


@pytest.mark.parametrize("name", SPLICED)
async def test_json_comes_through_byte_for_byte(
    probe: RunningGateway, upstream: Running[Upstream], name: str
) -> None:
    body = SPLICED[name]
    for action in ("get", "json"):
        answer = await told(probe, upstream, body, action=action)
        assert answer.body.startswith(b'{"status":200,"data":' + body + b',"meta":{')
        assert list(strict(answer.body)) == ["status", "data", "meta"]


@pytest.mark.parametrize(
    "kind",
    ["application/json", "APPLICATION/JSON; charset=UTF-8", "application/vnd.api+json", "application/problem+json",
     "text/json"],
)
async def test_every_name_of_json_is_json(probe: RunningGateway, upstream: Running[Upstream], kind: str) -> None:
    answer = await told(probe, upstream, b'{"a": 1.0}', kind)
    assert data_of(answer) == b'{"a": 1.0}'


async def test_a_byte_order_mark_is_left_out_of_the_envelope(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    answer = await told(probe, upstream, b'\xef\xbb\xbf{"ok": true}')
    assert data_of(answer) == b'{"ok": true}'


async def test_a_compressed_body_comes_unpacked_byte_for_byte(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    body = b'{ "a": 1.0, "b": [' + b"0," * 5000 + b"0]}\n"
    for encoding in ("gzip", "deflate"):
        headers = {"Content-Encoding": encoding}
        answer = await told(probe, upstream, ENCODINGS[encoding]([body]), headers=headers)
        assert data_of(answer) == body
        upstream.next(
            status=200, body=ENCODINGS[encoding]([body]), headers={"Content-Type": "application/json", **headers}
        )
        raw = await probe.ask("POST", "/v1/probe/get?raw=1", body={})
        assert (raw.body, raw.headers.get("Content-Encoding")) == (body, None)


@pytest.mark.parametrize("status", [201, 202, 206, 299, 304, 400, 402, 418, 429, 451, 500, 503, 599])
async def test_every_status_is_an_answer(probe: RunningGateway, upstream: Running[Upstream], status: int) -> None:
    body = b"" if status == 304 else b'{"error": "nested?"}'
    upstream.next(status=status, body=body, headers={"Content-Type": "application/json"})
    answer = await probe.call("probe", "get")
    assert (answer.status, answer.json()["status"]) == (200, status)
    assert answer.headers["X-Upstream-Status"] == str(status)
    assert data_of(answer) == (body or b"null")


# What is no JSON


async def test_no_body_is_null(probe: RunningGateway, upstream: Running[Upstream]) -> None:
    for action, status, headers in (
        ("get", 200, {"Content-Type": "application/json"}),
        ("get", 204, {}),
        ("post", 205, {}),
        ("binary", 200, {"Content-Type": "application/zip"}),
        ("head", 200, {"Content-Type": "application/json", "ETag": '"v1"'}),
    ):
        upstream.next(status=status, body=b"", headers=headers)
        answer = await probe.call("probe", action)
        assert answer.body.startswith(b'{"status":%d,"data":null,"meta":{' % status)
    assert upstream.last.method == "HEAD"
    assert answer.json()["meta"]["upstream"]["etag"] == '"v1"'


async def test_a_204_with_a_body_against_the_rules_is_null(probe: RunningGateway) -> None:
    async with hostile("no_content_with_body") as bad:
        await connect(probe, bad.base_url, "no-content")
        answer = await probe.call("probe", "get", user="no-content")
        assert answer.body.startswith(b'{"status":204,"data":null,')


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"plain\r\n\ttext \xc3\xa9", "text/plain", "plain\r\n\ttext é"),
        (b"caf\xe9", "text/plain; charset=iso-8859-1", "café"),
        (b"caf\xe9 \x80", 'text/html; charset="windows-1252"', "café €"),
        ("größer".encode("utf-16"), "text/plain; charset=utf-16", "größer"),
        (b"<a/>", "application/xml", "<a/>"),
        (b"a,b\n", "text/csv", "a,b\n"),
        (b'{"a":1}\n{"a":2}\n', "application/x-ndjson", '{"a":1}\n{"a":2}\n'),
        (b"no type at all", None, "no type at all"),
        # Text that looks like JSON and does not claim to be is text.
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        # It claims to be JSON and is not.
        (b'{"value": NaN, "other": -Infinity}', "application/json", '{"value": NaN, "other": -Infinity}'),
        (b'{"name": "unfin', "application/json", '{"name": "unfin'),
        (b"<html><body>Bad Gateway</body></html>", "application/json", "<html><body>Bad Gateway</body></html>"),
        (b'{"first": 1}{"second": 2}', "application/json", '{"first": 1}{"second": 2}'),
        (b"{'a': 1}", "application/problem+json", "{'a': 1}"),
        (b'{"a": "\x01"}', "application/json", '{"a": "\x01"}'),
        (b'{"a": 01}', "application/json", '{"a": 01}'),
        # Half of a surrogate pair is no text: many parsers would refuse the whole envelope for it.
        (b'{"name": "\\ud800"}', "application/json", '{"name": "\\ud800"}'),
        (b"   ", "application/json", "   "),
        ('{"ok": true}'.encode("utf-16"), "application/json; charset=utf-16", '{"ok": true}'),
    ],
)
async def test_text_becomes_a_string(
    probe: RunningGateway, upstream: Running[Upstream], body: bytes, kind: str | None, text: str
) -> None:
    if kind is None:
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        async with hostile("raw", data=raw) as bare:
            await connect(probe, bare.base_url, "bare")
            answer = await probe.call("probe", "get", user="bare")
    else:
        answer = await told(probe, upstream, body, kind)
    assert answer.json()["data"] == text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"name": "caf\xe9 \xff\xfe"}', "application/json"),
        ('{"ok": true}'.encode("utf-16"), "application/json"),
        (b"\xff\xfe\x00", "text/plain"),
        (b"caf\xe9", "text/plain; charset=utf-8"),
        (b"abc", "text/plain; charset=no-such-thing"),
        (b"YWJj", "text/plain; charset=base64"),
        (b"\xd8\x00", "text/plain; charset=utf-16-be"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"%PDF-1.7", "application/pdf"),
        (b"{}", "application/octet-stream"),
    ],
)
async def test_what_is_no_text_comes_in_base64_with_its_bytes(
    probe: RunningGateway, upstream: Running[Upstream], body: bytes, kind: str
) -> None:
    answer = await told(probe, upstream, body, kind)
    assert answer.json()["data"] == {
        "encoding": "base64",
        "content_type": kind.partition(";")[0],
        "filename": None,
        "size": len(body),
        "content": base64.b64encode(body).decode(),
    }


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('attachment; filename="a b.zip"', "a b.zip"),
        ("attachment; filename=a.zip", "a.zip"),
        ("inline", None),
        ("attachment; filename*=UTF-8''gr%C3%B6%C3%9Fer.zip", "größer.zip"),
        ("attachment; filename=\"fallback.zip\"; filename*=UTF-8''%e2%82%ac.zip", "€.zip"),
        # A name is a name and no path.
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="..\\\\..\\\\evil.exe"', "evil.exe"),
    ],
)
async def test_a_file_keeps_its_name(
    probe: RunningGateway, upstream: Running[Upstream], disposition: str, filename: str | None
) -> None:
    answer = await told(
        probe, upstream, b"PK\x03\x04", "application/zip", headers={"Content-Disposition": disposition}
    )
    assert answer.json()["data"]["filename"] == filename


async def test_a_definition_says_what_a_body_is(probe: RunningGateway, upstream: Running[Upstream]) -> None:
    assert (await told(probe, upstream, b'{"a":1}', action="binary")).json()["data"]["content"] == "eyJhIjoxfQ=="
    assert (await told(probe, upstream, b'{"a":1}', action="text")).json()["data"] == '{"a":1}'
    assert (await told(probe, upstream, b'{"a":1}', "text/html", action="json")).json()["data"] == {"a": 1}
    # A refusal in JSON stays JSON, also where a file was asked for.
    refused = await told(probe, upstream, b'{"error": "no file"}', action="binary", status=404)
    assert refused.json()["data"] == {"error": "no file"}


# Large


async def test_a_file_stands_in_the_envelope_up_to_the_limit(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    headers = {"Content-Disposition": 'attachment; filename="big.bin"'}
    fits = await told(probe, upstream, b"\x00" * INLINE, "application/zip", headers=headers)
    assert len(base64.b64decode(fits.json()["data"]["content"])) == INLINE
    above = (await told(probe, upstream, b"\x00" * (INLINE + 1), "application/zip", headers=headers)).json()["data"]
    assert "content" not in above
    assert (above["size"], above["content_type"], above["filename"]) == (INLINE + 1, "application/zip", "big.bin")
    # JSON and text are not files: only the limit of all answers holds for them.
    text = await told(probe, upstream, b"x" * (INLINE + 1), "text/plain")
    assert text.json()["data"] == "x" * (INLINE + 1)


async def test_an_answer_over_the_limit_is_left_out_and_is_no_error(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    fits = await told(probe, upstream, b'"' + b"x" * (LIMIT - 2) + b'"')
    assert len(fits.json()["data"]) == LIMIT - 2
    for action, status in (("get", 200), ("post", 201)):
        answer = await told(probe, upstream, b'"' + b"x" * (LIMIT - 1) + b'"', action=action, status=status)
        envelope = answer.json()
        assert envelope["status"] == status
        assert envelope["data"]["omitted"] is True
        assert envelope["data"]["size"] >= LIMIT + 1
        assert len(answer.body) < 1000


async def test_a_small_answer_that_unpacks_to_a_large_one_is_left_out(probe: RunningGateway) -> None:
    async with hostile("bomb", size=50_000_000) as bomb:
        await connect(probe, bomb.base_url, "bomb")
        answer = await probe.call("probe", "get", user="bomb")
        assert answer.json()["data"]["omitted"] is True


# The shared vectors as bodies


@pytest.mark.shared
async def test_no_vector_of_a_json_parser_breaks_the_envelope(
    probe: RunningGateway, upstream: Running[Upstream], shared: Path
) -> None:
    vectors = sorted((shared / "vectors" / "json-parsing").iterdir())
    assert len(vectors) == 318
    for vector in vectors:
        body = vector.read_bytes()
        answer = await told(probe, upstream, body)
        spliced = answer.body.startswith(b'{"status":200,"data":' + body + b',"meta":')
        if vector.name.startswith("y_"):
            assert spliced, vector.name
        elif body:
            assert not (spliced and vector.name.startswith("n_")), vector.name
        envelope = strict(answer.body)
        assert list(envelope) == ["status", "data", "meta"], vector.name
        if vector.name.startswith("n_"):
            data = envelope["data"]
            assert data is None or isinstance(data, str) or data.get("encoding") == "base64", vector.name


def strict(text: bytes) -> Any:
    """The value of a JSON text; not what only Python takes for JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    # An integer of any length is JSON; Python converts only some.
    return json.loads(text.decode(), parse_constant=refuse, parse_int=float)


@pytest.mark.parametrize("case", [case for case in BAD_JSON if case != "empty"])
async def test_a_body_that_is_bad_in_its_own_way_makes_a_good_envelope(probe: RunningGateway, case: str) -> None:
    async with hostile("bad_json", case=case) as bad:
        await connect(probe, bad.base_url, case)
        answer = await probe.call("probe", "get", user=case)
        assert answer.status == 200
        if case != "deep":
            assert strict(answer.body)["status"] == 200
        assert answer.headers["X-Upstream-Status"] == "200"


# Headers, meta


async def test_no_header_of_the_upstream_becomes_one_of_ours(probe: RunningGateway) -> None:
    async with hostile("dangerous_headers") as bad:
        await connect(probe, bad.base_url, "dangerous")
        for path in ("/v1/probe/get", "/v1/probe/get?raw=1"):
            answer = await probe.ask("POST", path, body={"user": "dangerous"})
            assert (answer.status, answer.headers["X-Upstream-Status"]) == (200, "200")
            told = " ".join(f"{name}: {value}" for name, value in answer.headers.items())
            for name, value in DANGEROUS_HEADERS:
                assert f"{name}: {value}".lower() not in told.lower()
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Request-Id"].startswith("req_")


async def test_meta_tells_the_headers_that_a_caller_can_act_on(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    answer = await told(
        probe, upstream, b"{}", status=429,
        headers={
            "X-RateLimit-Limit": "60", "x-ratelimit-remaining": "0", "RateLimit-Reset": "17", "Retry-After": "17",
            "Deprecation": "@1688169599", "Sunset": "Sat, 31 Dec 2027 23:59:59 GMT", "ETag": 'W/"abc"',
            "Link": '<https://api.example/it?page=2>; rel="next"', "X-Secret-Header": "no",
        },
    )
    assert answer.json()["meta"]["upstream"] == {
        "rate_limit": {"limit": 60, "remaining": 0, "reset": 17},
        "retry_after": "17",
        "deprecation": "@1688169599",
        "sunset": "Sat, 31 Dec 2027 23:59:59 GMT",
        "etag": 'W/"abc"',
        "link": '<https://api.example/it?page=2>; rel="next"',
    }


async def test_meta_names_the_run_and_the_connection_that_answered(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    made = await connect(probe, upstream.base_url, "named")
    upstream.next(status=200, json={})
    meta = (await probe.call("probe", "get", user="named")).json()["meta"]
    assert meta["account"] == made
    assert (await row(probe, meta["run_id"]))["connection"] == made


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (409, {"code": "stale"}, "Read it again."),
        (409, {"code": "other"}, "Wait a moment."),
        (403, {"error": {"code": "quota"}}, "Buy more."),
        (403, {"error": "nothing that is known"}, None),
        (200, {"code": "quota"}, None),
    ],
)
async def test_the_definition_hints_at_what_to_do_about_a_refusal(
    probe: RunningGateway, upstream: Running[Upstream], status: int, body: Any, hint: str | None
) -> None:
    answer = await told(probe, upstream, json.dumps(body).encode(), status=status)
    assert answer.json()["meta"].get("hint") == hint
    assert answer.json()["data"] == body


# The secret


@pytest.mark.parametrize("form", ["json", "text", "header"])
async def test_the_credential_of_the_call_is_taken_out_of_the_answer(probe: RunningGateway, form: str) -> None:
    async with hostile("echo", form=form, status=400) as echo:
        await connect(probe, echo.base_url, f"echo-{form}")
        for path in ("/v1/probe/get", "/v1/probe/get?raw=1", "/v1/probe/post"):
            answer = await probe.ask("POST", path, body={"user": f"echo-{form}"})
            assert answer.headers["X-Upstream-Status"] == "400"
            everything = answer.body + str(answer.headers).encode()
            for spelling in (SECRET, json.dumps(SECRET)[1:-1], json.dumps(json.dumps(SECRET)[1:-1])[1:-1]):
                assert spelling.encode() not in everything
            if form != "header":
                assert b"Bearer [secret]" in answer.body
            if "raw" not in path:
                assert answer.json()["meta"].get("redacted", False) is (form != "header")
        # The upstream itself got it whole.
        assert f"Authorization: Bearer {SECRET}".encode() in echo.requests[-1]


async def test_only_the_credential_of_this_call_is_taken_out(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    answer = await told(probe, upstream, b'{"new": "sk_issued_now", "short": "tok"}')
    assert data_of(answer) == b'{"new": "sk_issued_now", "short": "tok"}'
    assert "redacted" not in answer.json()["meta"]


async def test_a_key_of_the_query_is_taken_out_of_links_too(probe: RunningGateway, upstream: Running[Upstream]) -> None:
    key = "key/with+signs=1"
    await connect(probe, upstream.base_url, "query", api_key=key)
    link = f'<https://api.example/it?key={quote(key, safe="")}&page=2>; rel="next", <https://api.example/?key={key}>'
    upstream.next(status=200, json={"self": f"/it?key={quote(key, safe='')}"}, headers={"Link": link, "ETag": key})
    answer = await probe.call("probe", "get", user="query")
    assert upstream.last.raw_path == f"/it?key={quote(key, safe='')}"
    assert key.encode() not in answer.body
    assert quote(key, safe="").encode() not in answer.body
    envelope = answer.json()
    assert envelope["meta"]["redacted"] is True
    assert envelope["meta"]["upstream"]["link"].endswith("/?key=[secret]>")
    assert envelope["data"] == {"self": "/it?key=[secret]"}


async def test_a_password_is_taken_out_as_it_was_sent_too(probe: RunningGateway) -> None:
    async with hostile("echo") as echo:
        await connect(probe, echo.base_url, "basic", username="ada", password="correct horse")
        answer = await probe.call("probe", "get", user="basic")
        sent = base64.b64encode(b"ada:correct horse")
        assert b"Authorization: Basic " + sent in echo.requests[-1]
        assert sent not in answer.body
        assert answer.json()["meta"]["redacted"] is True


async def test_a_secret_split_over_two_packets_of_a_stream_is_taken_out(probe: RunningGateway) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for piece in ("before ", SECRET[:5], SECRET[5:9], SECRET[9:], " ", SECRET, SECRET[:8], " after"):
            await response.write(piece.encode())
            await asyncio.sleep(0.02)
        return response

    async with listening(drip) as base_url:
        await connect(probe, base_url, "split")
        answer = await probe.ask("POST", "/v1/probe/get?raw=1", body={"user": "split"})
        assert answer.body == f"before [secret] [secret]{SECRET[:8]} after".encode()


# Raw


async def test_a_raw_answer_is_the_body_with_its_own_type_and_cannot_act_on_our_origin(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    body = b"<script>alert(1)</script>\xff\x00"
    upstream.next(
        status=404, body=body,
        headers={"Content-Type": "text/html; charset=x", "Content-Language": "de", "Set-Cookie": "a=b"},
    )
    answer = await probe.ask("POST", "/v1/probe/get?raw=1", body={})
    assert (answer.status, answer.headers["X-Upstream-Status"], answer.body) == (200, "404", body)
    assert answer.headers["Content-Type"] == "text/html; charset=x"
    assert answer.headers["Content-Language"] == "de"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert (await row(probe, answer.headers["X-Run-Id"]))["status"] == 404


async def test_a_raw_answer_that_breaks_off_is_not_taken_for_whole(probe: RunningGateway) -> None:
    async with hostile("short_chunks") as bad:
        await connect(probe, bad.base_url, "short")
        with pytest.raises(aiohttp.ClientPayloadError):
            await probe.ask("POST", "/v1/probe/get?raw=1", body={"user": "short"})


async def test_fifty_megabytes_stream_through_in_flat_memory(tmp_path: Path) -> None:
    block = bytes(range(256)) * 4096  # 1 MiB

    async def download(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/zip"})
        await response.prepare(request)
        for _ in range(50):
            await response.write(block)
        return response

    async with listening(download) as base_url, gateway_process(
        tmp_path, definitions=write_definitions(tmp_path, PROBE)
    ) as running:
        await connect(running, base_url)
        assert running.process is not None
        small = await running.ask("POST", "/v1/probe/get", body={})
        assert small.status == 200
        before = peak_memory(running.process.pid, anew=True)
        got, digest = 0, hashlib.sha256()
        async with running.session.post(
            f"{running.url}/v1/probe/binary?raw=1", json={}, headers={"Authorization": f"Bearer {running.org.live}"}
        ) as response:
            assert response.headers["Content-Type"] == "application/zip"
            async for piece in response.content.iter_any():
                got += len(piece)
                digest.update(piece)
        assert got == 50 * MIB
        assert digest.digest() == hashlib.sha256(block * 50).digest()
        assert peak_memory(running.process.pid) - before < 12 * MIB


async def test_a_raw_answer_over_the_limit_is_refused_or_cut(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    upstream.next(status=200, body=b"x" * (LIMIT + 1), headers={"Content-Type": "application/zip"})
    answer = await probe.ask("POST", "/v1/probe/binary?raw=1", body={})
    assert (answer.status, answer.json()["error"]) == (502, "response_too_large")
    assert (answer.json()["outcome"], answer.json()["upstream_status"]) == ("answered", 200)
    # Where the length is not told before, only an end too early can say it.
    async with hostile("endless_body") as endless:
        await connect(probe, endless.base_url, "too-much")
        with pytest.raises(aiohttp.ClientPayloadError):
            await probe.ask("POST", "/v1/probe/binary?raw=1", body={"user": "too-much"})
        await endless.deserted()


async def test_a_reader_that_stands_still_stops_the_upstream(tmp_path: Path) -> None:
    definitions = write_definitions(tmp_path, PROBE)
    async with hostile("endless_body") as endless, gateway(
        tmp_path, definitions=definitions, response_limit="1GiB"
    ) as running:
        await connect(running, endless.base_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rsplit(":", 1)[1]), limit=1024)
        writer.write(
            b"POST /v1/probe/text?raw=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % running.org.live.encode()
        )
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        before = -1
        async with asyncio.timeout(20):
            while endless.sent != before:
                before = endless.sent
                await asyncio.sleep(0.3)
        assert endless.sent < 64 * MIB
        writer.transport.abort()
        # Gone is gone: the upstream is let go too.
        await endless.deserted()


def peak_memory(pid: int, *, anew: bool = False) -> int:
    """The most that a process held, bytes: ever, or since the peak was last counted `anew`."""
    if anew:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


class listening:
    """A handler on a free loopback port; gives back the address."""

    def __init__(self, handler: Any) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, listener).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


# No answer

#: Behaviour -> code; whether the upstream may have acted is unknown in all of them.
NO_ANSWER = {
    "hang": "upstream_timeout",
    "hang_after_headers": "upstream_timeout",
    "hang_mid_body": "upstream_timeout",
    "drip": "upstream_timeout",
    "drip_headers": "upstream_timeout",
    "close_without_answer": "upstream_unreachable",
    "reset_without_answer": "upstream_unreachable",
    "reset_mid_body": "upstream_invalid_response",
    "half_close": "upstream_invalid_response",
    "short_body": "upstream_invalid_response",
    "short_chunks": "upstream_invalid_response",
    "endless_headers": "upstream_invalid_response",
    "endless_header": "upstream_invalid_response",
    "garbage": "upstream_invalid_response",
    "http09": "upstream_invalid_response",
    "length_and_chunked": "upstream_invalid_response",
    "switching_protocols": "upstream_invalid_response",
}
STATUS = {"upstream_timeout": 504, "upstream_unreachable": 502, "upstream_invalid_response": 502}


@pytest.mark.parametrize("behaviour", NO_ANSWER)
async def test_an_upstream_that_does_not_answer_leaves_a_write_unknown(probe: RunningGateway, behaviour: str) -> None:
    async with hostile(behaviour) as bad:
        await connect(probe, bad.base_url, behaviour)
        for action, retryable in (("get", True), ("post", False)):
            answer = await probe.call("probe", action, user=behaviour)
            body = answer.json()
            assert (answer.status, body["error"]) == (STATUS[NO_ANSWER[behaviour]], NO_ANSWER[behaviour])
            assert (body["outcome"], body["retryable"]) == ("unknown", retryable)
            assert not {"status", "data"} & set(body)
            assert "127.0.0.1" not in body["message"]
            assert (answer.headers.get("x-should-retry") == "false") is not retryable
            kept = await row(probe, body["run_id"], ended=True)
            assert (kept["outcome"], kept["error"]) == ("unknown", body["error"])
            assert kept["state"] == ("failed" if retryable else "unknown")
        assert sum(request.startswith(b"POST") for request in bad.requests) == 1


async def test_what_was_never_sent_says_so_and_may_be_repeated(probe: RunningGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    await connect(probe, closed, "closed")
    answer = await probe.call("probe", "post", user="closed")
    assert (answer.status, answer.json()["error"]) == (502, "upstream_unreachable")
    assert (answer.json()["outcome"], answer.json()["retryable"]) == ("not_sent", True)
    kept = await row(probe, answer.json()["run_id"], ended=True)
    assert (kept["state"], kept["outcome"]) == ("failed", "not_sent")


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.0.0.1", "metadata.google.internal", "0.0.0.0", "100.100.100.200"]
)
async def test_an_address_that_may_not_be_reached_looks_like_one_that_is_not_there(
    probe: RunningGateway, host: str
) -> None:
    await connect(probe, host, host)
    answer = await probe.call("probe", "post", user=host)
    assert (answer.status, answer.json()["error"]) == (502, "upstream_unreachable")
    assert answer.json()["outcome"] == "not_sent"
    assert host.encode() not in answer.body


# The record


async def row(running: RunningGateway, run_id: str, *, ended: bool = False) -> dict[str, Any]:
    """The run as the database has it; waits for it, at most as long as a loaded machine may take."""
    until = time.monotonic() + 5
    while True:
        found = read_row(running, run_id)
        if found is not None and (found["finished_at"] is not None or not ended):
            return found
        assert time.monotonic() < until, f"{run_id} was not written"
        await asyncio.sleep(0.02)


def read_row(running: RunningGateway, run_id: str) -> dict[str, Any] | None:
    database = sqlite3.connect(f"file:{running.data_dir / 'skillway.db'}?mode=ro", uri=True)
    try:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if found is None else dict(found)
    finally:
        database.close()


def running_rows(running: RunningGateway) -> list[dict[str, Any]]:
    database = sqlite3.connect(f"file:{running.data_dir / 'skillway.db'}?mode=ro", uri=True)
    try:
        database.row_factory = sqlite3.Row
        return [dict(one) for one in database.execute("SELECT * FROM runs WHERE state = 'running'")]
    finally:
        database.close()


async def test_a_write_is_on_disk_before_the_upstream_hears_of_it(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    seen_rows: list[dict[str, Any]] = []

    async def look(request: web.Request) -> web.Response:
        seen_rows.extend(one for one in running_rows(probe) if one["user"] == "look")
        return web.json_response({}, status=201)

    async with listening(look) as base_url:
        await connect(probe, base_url, "look")
        write = (await probe.call("probe", "post", user="look")).json()
        assert [one["id"] for one in seen_rows] == [write["meta"]["run_id"]]
        assert (seen_rows[0]["effect"], seen_rows[0]["mode"]) == ("create", "live")
        kept = await row(probe, write["meta"]["run_id"], ended=True)
        assert (kept["state"], kept["status"], kept["outcome"]) == ("completed", 201, "answered")
        assert kept["finished_at"] >= kept["started_at"]
        # A read waits for no disk: nothing of it is there while it runs.
        seen_rows.clear()
        read = (await probe.call("probe", "get", user="look")).json()
        assert seen_rows == []
        kept = await row(probe, read["meta"]["run_id"])
        assert (kept["state"], kept["status"], kept["effect"]) == ("completed", 201, "read")


async def test_a_call_that_is_refused_before_it_is_sent_leaves_no_run(
    probe: RunningGateway, upstream: Running[Upstream]
) -> None:
    before = len(upstream.seen)
    answer = await probe.call("probe", "get", {"nope": 1})
    assert answer.status == 400
    assert "run_id" not in answer.json()
    assert len(upstream.seen) == before
