"""TLS to the upstream is verified, recent, and cannot be switched off; the operator may add a CA."""

import asyncio
import datetime
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from gateway.core.requests.request import UpstreamFailed
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import Egress, Policy
from gateway.upstream.wire import tls_context
from tests.fakes.hostile import Hostile, hostile
from tests.upstream.asking import LOOPBACK, ask

PLANTED = (("Authorization", "Bearer planted"),)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["fast", "session"])
async def upstream(request: pytest.FixtureRequest, ca: trustme.CA, tmp_path: Path) -> AsyncIterator[HttpUpstream]:
    """Both wires, with the test's CA in the operator's file."""
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    egress = Egress(Policy.of(LOOPBACK))
    async with HttpUpstream(egress, ca_file=str(ca_file), fast=request.param == "fast") as made:
        yield made


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


async def refused(upstream: HttpUpstream, fake: Hostile) -> str:
    with pytest.raises(UpstreamFailed) as failed:
        await upstream.send(ask(fake.base_url, "POST", headers=PLANTED), limit=100)
    assert (failed.value.code, failed.value.sent) == ("upstream_unreachable", False)
    assert not fake.requests
    return failed.value.cause


async def test_a_certificate_of_the_operators_ca_is_good(upstream: HttpUpstream, ca: trustme.CA) -> None:
    async with hostile("answer", tls=server_context(ca.issue_cert("127.0.0.1"))) as fake:
        for _ in range(3):
            assert (await upstream.send(ask(fake.base_url, "GET"), limit=100)).status == 200
        assert fake.connections == 1
        stream = await upstream.stream(ask(fake.base_url))
        assert b"".join([chunk async for chunk in stream.chunks]) == b"{}"


async def test_a_large_exchange_over_tls_is_whole(upstream: HttpUpstream, ca: trustme.CA) -> None:
    body = b"x" * 3_000_000
    async with hostile("answer", tls=server_context(ca.issue_cert("127.0.0.1")), body=body) as fake:
        answer = await upstream.send(ask(fake.base_url, "PUT", body=body), limit=10_000_000)
        assert answer.body == body
        assert fake.requests[0].endswith(body)


async def test_an_unknown_issuer_is_refused(upstream: HttpUpstream) -> None:
    async with hostile("answer", tls=server_context(trustme.CA().issue_cert("127.0.0.1"))) as fake:
        assert "certificate verify failed" in await refused(upstream, fake)


async def test_another_hosts_certificate_is_refused(upstream: HttpUpstream, ca: trustme.CA) -> None:
    for name in ("example.com", "127.0.0.2"):
        async with hostile("answer", tls=server_context(ca.issue_cert(name))) as fake:
            assert "certificate" in await refused(upstream, fake)


async def test_an_expired_certificate_is_refused(upstream: HttpUpstream, ca: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    async with hostile("answer", tls=server_context(ca.issue_cert("127.0.0.1", not_after=past))) as fake:
        assert "expired" in await refused(upstream, fake)


async def test_a_self_signed_certificate_is_refused(upstream: HttpUpstream, tmp_path: Path) -> None:
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/cert.pem",
    ]  # fmt: skip
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with hostile("answer", tls=context) as fake:
        assert "self-signed" in await refused(upstream, fake)


async def test_old_tls_is_refused(upstream: HttpUpstream, ca: trustme.CA) -> None:
    context = server_context(ca.issue_cert("127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # Python warns of every use of TLS 1.0, and the test's server is meant to be that old.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with hostile("answer", tls=context) as fake:
        await refused(upstream, fake)


async def test_a_server_without_tls_hears_nothing_of_the_request(upstream: HttpUpstream) -> None:
    async with hostile("answer") as fake:
        with pytest.raises(UpstreamFailed) as failed:
            await upstream.send(ask(fake.base_url.replace("http:", "https:"), headers=PLANTED, timeout=2), limit=100)
        assert failed.value.sent is False
        assert not fake.requests


async def test_without_the_operators_file_the_test_ca_is_unknown(ca: trustme.CA) -> None:
    async with HttpUpstream(Egress(Policy.of(LOOPBACK))) as upstream:
        async with hostile("answer", tls=server_context(ca.issue_cert("127.0.0.1"))) as fake:
            assert "certificate verify failed" in await refused(upstream, fake)


def test_a_ca_file_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(OSError, match="No such file"):
        tls_context("/nowhere/ca.pem")
