"""Workers that are killed, frozen or overrun: nothing is lost, and what comes twice comes under the same id."""

from __future__ import annotations

import ast
import asyncio
import base64
import importlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.core.events import KINDS, Event
from gateway.core.messages.signing import new_secret, signatures
from tests.conftest import lacking
from tests.crash.process import LEASE
from tests.crash.webhooks import crash, worker
from tests.fakes import npm
from tests.fakes.receiver import Receiver, headers_of, verified
from tests.fakes.upstream import Answer, Seen, serve
from tests.harness import ROOT, environment, make_org

NODE = ROOT / "tests" / "fakes" / "standardwebhooks"


@pytest.mark.failure("R03")
async def test_every_event_is_delivered_though_workers_are_killed(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    """The short form of `python -m tests.crash.webhooks`."""
    figures = await crash(tmp_path, deliveries=300, kills=4, endpoints=10, database=database_setting, within=120)
    assert figures["delivered"] == 300 and figures["kills"] == 4 and figures["wrong_signatures"] == 0
    assert figures["answered_with_failures"] > 50


@pytest.mark.failure("R19")
async def test_a_worker_that_froze_past_its_lease_changes_nothing_when_it_wakes(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    """T166, R19."""
    environ = environment(tmp_path, None, None, database_setting)
    org = await make_org(environ)
    held, release = asyncio.Event(), asyncio.Event()

    class Holding(Receiver):
        async def _record(self, request: Any) -> Seen:
            seen = await super()._record(request)
            if len(self.seen) == 1:
                held.set()
                await release.wait()
            return seen

    async with serve(Holding()) as receiver, worker(environ, tmp_path, org) as frozen:
        body = {"url": receiver.base_url + "/in", "events": ["api_key.*"]}
        made = (await frozen.ask("POST", "/v1/webhooks", body=body)).json()
        assert (await frozen.ask("POST", "/api-keys", body={"name": "k"})).status == 201
        await asyncio.wait_for(held.wait(), 10)
        assert frozen.process is not None
        frozen.process.send_signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with worker(environ, tmp_path, org) as other:
                await receiver.arrival(2, within=LEASE + 10)
                assert loop.time() - began > LEASE * 0.5, "not before the lease is over"
                path = f"/v1/webhooks/{made['id']}/deliveries"

                async def the_delivery() -> dict[str, Any]:
                    [one] = (await other.ask("GET", path)).json()["deliveries"]
                    return dict(one)

                async with asyncio.timeout(10):
                    while (await the_delivery())["state"] != "delivered":  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                before = await the_delivery()
                assert (before["attempts"], before["last_status"]) == (2, 204)
                # The first worker wakes: its own attempt timed out, and it may not say so any more.
                frozen.process.send_signal(signal.SIGCONT)
                release.set()
                await asyncio.sleep(2)
                assert await the_delivery() == before
        finally:
            frozen.process.send_signal(signal.SIGCONT)
        assert len(receiver.seen) == 2
        assert len({seen.header("webhook-id") for seen in receiver.seen}) == 1
        for seen in receiver.seen:
            assert verified(seen, made["secret"])["type"] == "api_key.created"


@pytest.mark.failure("R26")
async def test_a_backlog_waits_its_turn_when_a_process_starts(tmp_path: Path) -> None:
    """R26 in small: what has piled up does not keep the API from answering."""
    environ = environment(tmp_path, None, None, {})
    org = await make_org(environ)
    up = False
    async with serve(Receiver(lambda number, seen: Answer(status=200 if up else 500))) as receiver:
        async with worker(environ, tmp_path, org) as first:
            for number in range(20):
                body = {"url": f"{receiver.base_url}/{number}", "events": ["api_key.*"]}
                assert (await first.ask("POST", "/v1/webhooks", body=body)).status == 201
            for number in range(40):
                assert (await first.ask("POST", "/api-keys", body={"name": f"k{number}"})).status == 201
        up = True
        async with worker(environ, tmp_path, org) as second:
            loop, took = asyncio.get_running_loop(), []
            async with asyncio.timeout(60):
                while len({(seen.path, seen.header("webhook-id")) for seen in receiver.seen}) < 800:
                    began = loop.time()
                    assert (await second.ask("GET", "/v1/verify")).status == 200
                    took.append(loop.time() - began)
                    await asyncio.sleep(0.02)
            took.sort()
            assert took[int(len(took) * 0.99)] < 0.5, took[-5:]


def test_npm_agrees_with_what_we_sign_and_with_each_flipped_bit(tmp_path: Path) -> None:
    """T157."""
    if not (shutil.which("node") and npm.is_at_hand(NODE)):
        lacking("node with npm")
    cases: list[tuple[str, dict[str, str], bytes, bool]] = []
    at = int(time.time())
    for number in range(200):
        secret, old = new_secret(), new_secret()
        body = json.dumps({"n": number, "text": "größe ✓" * number}, ensure_ascii=False).encode()
        headers = dict(signatures([secret, old], f"evt_{number}", at, body))
        cases += [(one.reveal(), headers, body, True) for one in (secret, old)]
        flipped = bytearray(body)
        flipped[number % len(body)] ^= 1 << number % 7
        cases.append((secret.reveal(), headers, bytes(flipped), False))
        cases.append((secret.reveal(), {**headers, "webhook-id": f"evt_{number}x"}, body, False))
        cases.append((secret.reveal(), {**headers, "webhook-timestamp": str(at - 400)}, body, False))
        cases.append((new_secret().reveal(), headers, body, False))
    lines = [
        json.dumps({"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()})
        for secret, headers, body, _ in cases
    ]
    done = subprocess.run(
        [str(shutil.which("node")), str(NODE / "verify.mjs"), str(npm.installed(NODE))],
        input="\n".join(lines).encode(), capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    answers = [json.loads(line)["ok"] for line in done.stdout.splitlines()]
    assert answers == [good for *_, good in cases]


@pytest.mark.parametrize("library", ["standardwebhooks", "svix"])
def test_python_libraries_agree_with_what_we_sign(library: str) -> None:
    """T157: each of many random deliveries; a changed one never."""
    webhook_of = importlib.import_module(library).Webhook
    at = int(time.time())
    for number in range(1000):
        secret, body = new_secret(), json.dumps({"n": number, "x": os.urandom(number % 40).hex()}).encode()
        seen = Seen(method="POST", raw_path="/", headers=[*signatures([secret], f"evt_{number}", at, body)], body=body)
        webhook_of(secret.reveal()).verify(body, headers_of(seen))
        flipped = bytearray(body)
        flipped[number % len(body)] ^= 1
        with pytest.raises(Exception, match="signature"):
            webhook_of(secret.reveal()).verify(bytes(flipped), headers_of(seen))


def test_an_event_says_what_kind_it_is_of() -> None:
    """Subscriptions name kinds: every type that the code writes is of one that is known."""
    unknown = []
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Event.now" and len(node.args) > 1:
                for type in _texts(node.args[1]):
                    if type.partition(".")[0] not in KINDS and "." in type:
                        unknown.append(f"{path.name}:{node.lineno} {type}")
    assert unknown == []
    assert {Event.now("org_1", f"{kind}.x", 0.0).kind for kind in KINDS} == set(KINDS)


def _texts(node: Any) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return [str(node.values[0].value)]
    return []
