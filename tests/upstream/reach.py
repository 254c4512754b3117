"""Run in a network namespace of its own: tries every spelling of internal addresses through every door.

    unshare --net python -m tests.upstream.reach FILE

The namespace's loopback carries live decoys for metadata services and private networks. Prints how much was
tried, and how many connections the decoys saw.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from gateway.core.requests.request import UpstreamFailed, UpstreamRequest
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import DEFAULT_PORTS, Egress, Policy, Url
from gateway.upstream.fast import FastWire
from gateway.upstream.session import SessionWire
from gateway.upstream.token_http import TokenHttp
from gateway.upstream.wire import Attempt, Broken, tls_context
from oauth.http_port import HttpRequest, Unreached
from tests.fakes.hostile import Recorder
from tests.upstream.asking import ask

#: What the guard must keep us from; each is alive on every port of `PORTS`.
DECOYS = ["169.254.169.254/32", "10.0.0.5/32", "192.168.0.1/32", "fd00:ec2::254/128", "93.184.216.34/32"]
#: Where the one friendly upstream lives: redirects start there, and it shows that the guard lets somebody in.
FRIENDLY = "127.77.0.0/16"
PORTS = (80, 443, 8080)

Try = Callable[[str], Coroutine[Any, Any, None]]


class Friendly:
    """An upstream in the allowed network: it redirects to `location`, or answers where there is none."""

    def __init__(self) -> None:
        self.location = b""
        self.base_url = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.77.0.1", 0)
        self.base_url = f"http://127.77.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        # Ends the tasks that still read.
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError), closing(writer):
            while await reader.readuntil(b"\r\n\r\n"):
                where = b"Location: %b\r\n" % self.location if self.location else b""
                status = b"302 Found" if self.location else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n%b\r\n" % (status, where))


def furnish() -> None:
    """Gives the empty namespace its loopback and the decoys."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in DECOYS:
        nodad = ["nodad"] if ":" in address else []
        subprocess.run(["ip", "addr", "add", address, "dev", "lo", *nodad], check=True)


async def main(spellings: list[str]) -> dict[str, int]:
    seen = {"tries": 0, "controls": 0}
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(Recorder(host=host, port=port))
            for host in ("0.0.0.0", "::")
            for port in PORTS
        ]
        friendly = await stack.enter_async_context(Friendly())
        for fast in (True, False):
            # Everything but the friendly upstream's own network is as it is on the open internet.
            egress = Egress(Policy.of([FRIENDLY]), deadline=1.0)
            upstream = await stack.enter_async_context(HttpUpstream(egress, fast=fast))
            wire = FastWire(egress, tls_context()) if fast else SessionWire(egress, tls_context())
            stack.push_async_callback(wire.close)
            doors: list[Try] = [
                _base_url(upstream),
                _token_url(upstream),
                _redirect(upstream, friendly),
                _socket(wire),
            ]
            for spelling in spellings:
                for text in {spelling, spelling.replace("http:", "https:", 1)}:
                    for door in doors:
                        await door(text)
                        seen["tries"] += 1
            seen["controls"] += await _control(upstream, friendly)
        seen["connections"] = sum(listener.connections for listener in listeners)
        async with aiohttp.ClientSession() as session:
            # The decoys are alive: whoever is let through does reach them.
            for address in ("127.0.0.1", "169.254.169.254", "10.0.0.5", "[fd00:ec2::254]"):
                with suppress(aiohttp.ClientError, TimeoutError):
                    await session.get(f"http://{address}/", timeout=aiohttp.ClientTimeout(total=0.2))
        seen["alive"] = sum(listener.connections for listener in listeners) - seen["connections"]
    return seen


def _base_url(upstream: HttpUpstream) -> Try:
    async def attempt(text: str) -> None:
        with suppress(UpstreamFailed):
            await upstream.send(ask(text, timeout=2.0), limit=1000)

    return attempt


def _token_url(upstream: HttpUpstream) -> Try:
    tokens = TokenHttp(upstream)

    async def attempt(text: str) -> None:
        with suppress(Unreached):
            await tokens.exchange(HttpRequest(method="POST", url=text, headers={}, body=b"x=1", timeout=2.0))

    return attempt


def _redirect(upstream: HttpUpstream, friendly: Friendly) -> Try:
    async def attempt(text: str) -> None:
        friendly.location = text.encode()
        # Refused: the redirect itself is the answer.
        answer = await upstream.send(ask(friendly.base_url, follow_redirects=True, timeout=2.0), limit=1000)
        assert answer.status == 302, text

    return attempt


def _socket(wire: FastWire | SessionWire) -> Try:
    """Past our own URL reader, as if it had let everything through: the guard at the socket stands alone."""

    async def attempt(text: str) -> None:
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            return
        if parts.scheme not in DEFAULT_PORTS or not host:
            return
        url = Url(scheme=parts.scheme, host=host, port=port or DEFAULT_PORTS[parts.scheme])
        request = UpstreamRequest(method="GET", origin=url.origin, path="/")
        with suppress(OSError, ValueError, aiohttp.ClientError, Broken):
            async with asyncio.timeout(2):
                await wire.exchange(request, url, Attempt(), limit=1000, part=None, fresh=True)

    return attempt


async def _control(upstream: HttpUpstream, friendly: Friendly) -> int:
    friendly.location = b""
    answer = await upstream.send(ask(friendly.base_url), limit=1000)
    return int(answer.status == 200)


if __name__ == "__main__":
    furnish()
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").split("\n")
    print(json.dumps(asyncio.run(main([line for line in lines if line]))))
