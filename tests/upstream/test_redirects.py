"""Redirects: followed only where allowed and safe, never with a credential to another origin, else an answer."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.requests.request import UpstreamAnswer, UpstreamFailed, UpstreamRequest
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import parse_url_strict
from gateway.upstream.redirects import next_hop
from tests.fakes.hostile import Recorder, hostile
from tests.upstream.asking import ask

SHARED = Path(os.environ.get("SKILLWAY_SHARED") or Path(__file__).resolve().parents[2] / ".." / "shared")
PLANTED = "planted-credential"
CODES = [301, 302, 303, 307, 308]
AUTHS: dict[str, dict[str, Any]] = {
    "bearer": {
        "headers": (("Authorization", f"Bearer {PLANTED}"), ("X-Static", "yes"), ("Accept", "*/*")),
        "credential_headers": frozenset({"authorization"}),
    },
    "header": {
        "headers": (("X-Api-Key", PLANTED), ("Accept", "*/*")),
        "credential_headers": frozenset({"x-api-key"}),
    },
    "query": {"query": f"page=1&api_key={PLANTED}", "credential_params": frozenset({"api_key"})},
    "body": {"method": "POST", "body": f'{{"apiKey": "{PLANTED}"}}'.encode()},
}


async def follow(upstream: HttpUpstream, base_url: str, method: str = "GET", **fields: Any) -> UpstreamAnswer:
    fields.setdefault("follow_redirects", True)
    return await upstream.send(ask(base_url, method, **fields), limit=100_000)


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("status", CODES)
async def test_a_credential_never_reaches_another_origin(upstream: HttpUpstream, status: int, auth: str) -> None:
    """Every kind of credential, and a first origin that repeats our query in its redirect as many servers do."""
    async with hostile("answer") as second:
        # What stood in a body is not marked as a credential: what repeats it is the upstream's own doing.
        echoes = () if auth == "body" else (f"/next?api_key={PLANTED}", f"/next/{PLANTED}%20")
        for where in ("/next", *echoes):
            async with hostile("redirect", status=status, location=second.base_url + where) as first:
                await follow(upstream, first.base_url, **AUTHS[auth])
                assert PLANTED.encode() in first.requests[0]
    assert not any(PLANTED.encode() in request for request in second.requests)
    # Where nothing of ours is repeated, a read does go on.
    if auth != "body":
        assert second.requests[0].startswith(b"GET /next HTTP/1.1\r\n")


@pytest.mark.parametrize("status", CODES)
async def test_only_harmless_headers_go_along_to_another_origin(upstream: HttpUpstream, status: int) -> None:
    headers = (
        ("Authorization", "Basic eDp5"),
        ("Cookie", "a=b"),
        ("X-Tenant", "t"),
        ("Accept", "text/csv"),
        ("Range", "bytes=0-1"),
    )
    async with (
        hostile("answer") as second,
        hostile("redirect", status=status, location=second.base_url) as first,
    ):
        await follow(upstream, first.base_url, headers=headers)
        head = second.requests[0].decode()
    assert head == f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{second.port}\r\nAccept: text/csv\r\nRange: bytes=0-1\r\n\r\n"


@pytest.mark.parametrize("status", CODES)
async def test_within_the_origin_the_credential_stays(upstream: HttpUpstream, status: int) -> None:
    async with hostile("redirect", status=status, location="next?x=1") as fake:
        answer = await follow(upstream, fake.base_url, path="/a/b", headers=(("X-Api-Key", PLANTED),))
        # It redirects for ever: three hops, then the redirect itself is the answer.
        assert (answer.status, len(fake.requests)) == (status, 4)
        assert [request.split(b" ")[1] for request in fake.requests] == [b"/a/b", *[b"/a/next?x=1"] * 3]
        assert all(PLANTED.encode() in request for request in fake.requests)


async def test_a_credential_does_not_come_back_once_it_was_taken_off(upstream: HttpUpstream) -> None:
    async with hostile("redirect", location="/loop") as home:
        async with hostile("redirect", location=f"{home.base_url}/back") as away:
            # The first hop leaves the origin, the second returns to it.
            async with hostile("redirect", location=f"{away.base_url}/") as start:
                await follow(upstream, start.base_url, headers=(("Authorization", PLANTED),))
        assert home.requests
        assert not any(PLANTED.encode() in request for request in home.requests)


@pytest.mark.parametrize("status", CODES)
async def test_nothing_is_followed_unless_the_definition_allows_it(upstream: HttpUpstream, status: int) -> None:
    async with Recorder() as witness, hostile("redirect", status=status, location=witness.base_url) as fake:
        answer = await follow(upstream, fake.base_url, follow_redirects=False)
        assert (answer.status, answer.header("location")) == (status, witness.base_url)
        stream = await upstream.stream(ask(fake.base_url))
        assert stream.status == status
        stream.close()
        assert witness.connections == 0


@pytest.mark.parametrize(
    ("status", "followed"), [(301, b"GET"), (302, b"GET"), (303, b"GET"), (307, b"POST"), (308, b"POST")]
)
async def test_a_body_is_sent_again_only_within_the_origin_and_only_by_307_and_308(
    upstream: HttpUpstream, status: int, followed: bytes
) -> None:
    headers = (("Content-Type", "application/json"), ("X-Kept", "yes"))
    async with hostile("redirect", status=status, location="/next") as fake:
        await follow(upstream, fake.base_url, "POST", body=b'{"x":1}', headers=headers)
        again = fake.requests[1]
    assert again.startswith(followed + b" /next ")
    assert again.endswith(b'\r\n\r\n{"x":1}' if followed == b"POST" else b"\r\n\r\n")
    assert (b"Content-Type" in again, b"X-Kept" in again) == (followed == b"POST", True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [307, 308])
async def test_a_write_does_not_leave_its_origin(upstream: HttpUpstream, method: str, status: int) -> None:
    async with Recorder() as witness, hostile("redirect", status=status, location=witness.base_url) as fake:
        answer = await follow(upstream, fake.base_url, method, body=None if method == "DELETE" else b"{}")
        assert (answer.status, witness.connections, len(fake.requests)) == (status, 0, 1)


@pytest.mark.parametrize(
    "location",
    [
        b"", b"http://user:pw@127.0.0.1:1/", b"http://user@127.0.0.1/", b"javascript:alert(1)", b"file:///etc/passwd",
        b"ftp://127.0.0.1/", b"//127.0.0.1/", b"///127.0.0.1/", b"http:///x", b"http:127.0.0.1", b"http://127.0.0.1:0/",
        b"/\\127.0.0.1", b"\\\\127.0.0.1", b"http://127.0.0.1\\@evil/", b"/a b", b"/a\tb", b"/caf\xc3\xa9", b"/\xff",
        b"http://0/", b"http://127.1/", b"http://[::]/", b"http://169.254.169.254/latest/meta-data/",
        b"http://10.0.0.5/", b"https://192.168.0.1/", b"http://nowhere.invalid/", b"http+unix://%2Fsocket/",
        b"data:text/plain,x", b"/" + b"a" * 9000,
    ],
)  # fmt: skip
async def test_a_location_that_leads_nowhere_good_makes_the_redirect_the_answer(
    upstream: HttpUpstream, location: bytes
) -> None:
    async with hostile("redirect", location=location) as fake:
        answer = await follow(upstream, fake.base_url)
        assert (answer.status, len(fake.requests)) == (302, 1)
        stream = await upstream.stream(ask(fake.base_url, follow_redirects=True))
        assert stream.status == 302
        stream.close()


async def test_two_locations_are_none(upstream: HttpUpstream) -> None:
    headers = [("Location", "/a"), ("Location", "/b")]
    async with hostile("answer", status=302, headers=headers) as fake:
        assert (await follow(upstream, fake.base_url)).status == 302
        assert len(fake.requests) == 1


async def test_a_location_of_ten_megabytes_is_no_answer(upstream: HttpUpstream) -> None:
    async with hostile("huge_location") as fake:
        with pytest.raises(UpstreamFailed) as failed:
            await follow(upstream, fake.base_url)
        assert failed.value.code == "upstream_invalid_response"
        # It was cut off at our limit, not read to its end.
        assert fake.sent < 10_000_000


async def test_a_download_behind_a_redirect_is_streamed(upstream: HttpUpstream) -> None:
    async with (
        hostile("answer", body=b"file" * 1000) as second,
        hostile("redirect", location=second.base_url) as first,
    ):
        stream = await upstream.stream(
            ask(first.base_url, follow_redirects=True, headers=(("Authorization", PLANTED),))
        )
        assert (stream.status, b"".join([chunk async for chunk in stream.chunks])) == (200, b"file" * 1000)
        assert PLANTED.encode() not in second.requests[0]


async def test_the_deadline_covers_all_hops(upstream: HttpUpstream) -> None:
    async with hostile("hang") as second, hostile("redirect", location=second.base_url) as first:
        with pytest.raises(UpstreamFailed) as failed:
            await follow(upstream, first.base_url, timeout=0.3)
        assert failed.value.code == "upstream_timeout"
        await asyncio.wait_for(second.deserted(), 2)


async def test_a_write_that_was_answered_by_a_redirect_is_answered_whatever_comes_behind(
    upstream: HttpUpstream,
) -> None:
    async with (
        hostile("close_without_answer") as second,
        hostile("redirect", status=303, location=second.base_url) as first,
    ):
        answer = await follow(upstream, first.base_url, "POST", body=b"{}")
        assert (answer.status, len(first.requests), len(second.requests)) == (303, 1, 1)


# The rules alone, on addresses that a test may not talk to

REQUEST = UpstreamRequest(method="GET", origin="https://api.example", path="/v1/a", query="key=planted-credential")


def hop(location: str, request: UpstreamRequest = REQUEST, status: int = 302) -> str | None:
    found = next_hop(request, parse_url_strict(request.origin), status, (("Location", location),))
    return found[0].url if found else None


def test_https_never_becomes_http() -> None:
    assert hop("http://api.example/v1/b") is None
    assert hop("http://other.example/") is None
    assert hop("https://other.example/") == "https://other.example/"
    plain = replace(REQUEST, origin="http://api.example", query="")
    assert hop("https://api.example/v1/b", plain) == "https://api.example/v1/b"


def test_the_default_port_written_out_is_the_same_origin() -> None:
    request = replace(REQUEST, headers=(("Authorization", "x"),), credential_headers=frozenset({"authorization"}))
    found = next_hop(request, parse_url_strict(request.origin), 302, (("location", "https://API.example:443/b"),))
    assert found is not None
    assert found[0].headers == request.headers


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://api.example/b"),
        ("b?x=1", "https://api.example/v1/b?x=1"),
        ("?x=1", "https://api.example/v1/a?x=1"),
        ("../b#part", "https://api.example/b"),
        ("/b%2F..%2fc", "https://api.example/b%2F..%2fc"),
    ],
)
def test_a_relative_location_is_read_against_the_request(location: str, url: str) -> None:
    assert hop(location) == url


@pytest.mark.shared
def test_no_line_of_the_open_redirect_list_leaves_the_origin_unseen() -> None:
    """Each is either refused, stays, or names its other origin so plainly that the guard judges that very host."""
    source = SHARED / "data" / "hostile" / "open-redirects.txt"
    if not source.exists():
        pytest.skip(f"no {source}")
    lines = source.read_text(encoding="utf-8").split("\n")
    for line in filter(None, lines):
        found = next_hop(REQUEST, parse_url_strict(REQUEST.origin), 302, (("Location", line),))
        if found is not None:
            request, url = found
            assert request.origin == url.origin
            assert url.scheme == "https"
            assert url.host == "api.example" or f"//{url.host}" in line.lower()
