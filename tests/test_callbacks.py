"""Callbacks: the end of a run is told to the URL that its call named, signed, and in spite of whatever dies between."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import StorageUnavailable
from tests.crash.callbacks import crash
from tests.crash.webhooks import worker
from tests.fakes.receiver import Receiver, verified
from tests.fakes.upstream import Running, Seen, serve
from tests.harness import Answer, RunningGateway, environment, gateway, make_org
from tests.people import invite, person
from tests.workshop import Workshop, until, workshop


@dataclass(frozen=True, slots=True)
class Place:
    running: RunningGateway
    upstream: Workshop
    receiver: Running[Receiver]

    async def call(self, action: str, to: Any = "/back", **more: Any) -> Answer:
        """A call that is carried out later; `to` is a path of the receiver, or a whole URL."""
        url = to if "://" in to else self.receiver.base_url + to
        return await self.running.call(
            "shop", action, more.pop("params", {"note": "x"}), **{"async": True, "callback_url": url, **more}
        )

    async def begin(self, action: str, to: Any = "/back", **more: Any) -> str:
        answer = await self.call(action, to, **more)
        assert answer.status == 202, answer.body
        return str(answer.json()["run_id"])

    async def secret(self, key: str | None = None) -> str:
        """One that signs callbacks from now on."""
        made = await self.running.ask("POST", "/v1/org/signing-secret", key=key)
        assert made.status == 201, made.body
        return str(made.json()["secret"])


@pytest.fixture
async def place(tmp_path: Path, database_setting: dict[str, Any]) -> AsyncIterator[Place]:
    async with serve(Receiver()) as receiver, workshop(tmp_path, **database_setting) as (running, upstream):
        yield Place(running, upstream, receiver)


async def test_the_end_of_a_run_is_told_to_the_url_of_its_call_and_signed(place: Place) -> None:
    secret = await place.secret()
    run_id = await place.begin("send", "/back?case=7")
    seen = await place.receiver.arrival()
    assert (seen.method, seen.raw_path) == ("POST", "/back?case=7")
    told = verified(seen, secret)
    assert (told["type"], told["org"], seen.header("X-Skillway-Event")) == (
        "run.completed",
        place.running.org.id,
        told["type"],
    )
    about = told["data"]
    assert (about["run_id"], about["status"], about["upstream_status"]) == (run_id, "completed", 200)
    assert (about["integration"], about["action"], about["error"]) == ("shop", "send", None)
    # What is polled is the same event, and the run is over when it is told.
    polled = (await place.running.ask("GET", "/v1/events?kind=run")).json()["events"]
    assert [event["id"] for event in polled] == [told["id"]] == [seen.header("webhook-id")]
    run = (await place.running.ask("GET", f"/v1/runs/{run_id}")).json()
    assert (run["status"], run["result"]["data"]["number"]) == ("completed", 1)


async def test_webhooks_hear_of_it_beside_the_callback(place: Place) -> None:
    body = {"url": place.receiver.base_url + "/hears", "events": ["run.*"]}
    made = (await place.running.ask("POST", "/v1/webhooks", body=body)).json()
    secret = await place.secret()
    await place.begin("send")
    await place.receiver.arrival(2)
    seen = {one.path: one for one in place.receiver.seen}
    assert verified(seen["/hears"], made["secret"]) == verified(seen["/back"], secret)
    with pytest.raises(Exception, match="signature"):
        verified(seen["/back"], made["secret"])


async def test_a_run_without_an_answer_is_told_as_failed(place: Place) -> None:
    place.upstream.statuses = [-1]
    run_id = await place.begin("send")
    told = (await place.receiver.arrival()).json()
    assert (told["type"], told["data"]["run_id"], told["data"]["status"]) == ("run.failed", run_id, "unknown")


async def test_a_run_that_is_stopped_is_told_as_cancelled(place: Place) -> None:
    place.upstream.gate = asyncio.Event()
    run_id = await place.begin("slow_put")
    await place.upstream.wait_for("/slow_put")
    assert (await place.running.ask("POST", f"/v1/runs/{run_id}/cancel")).status == 200
    told = (await place.receiver.arrival()).json()
    assert (told["type"], told["data"]["run_id"]) == ("run.cancelled", run_id)
    place.upstream.gate.set()


async def test_long_work_of_the_upstream_is_told_at_its_end(place: Place) -> None:
    place.upstream.answers["/start"] = {"job": "j1", "state": "queued"}
    place.upstream.job = [
        {"state": "going", "percent": 50},
        {"state": "done", "percent": 100, "result": {"made": True}},
    ]
    run_id = await place.begin("start")
    told = (await place.receiver.arrival(within=20)).json()
    assert (told["type"], told["data"]["run_id"]) == ("run.completed", run_id)
    assert len(place.receiver.seen) == 1


async def test_whoever_waits_is_called_back_too(place: Place) -> None:
    answer = await place.call("send", **{"async": False}, wait=20)
    assert answer.status == 200, answer.body
    told = (await place.receiver.arrival()).json()
    assert told["data"]["run_id"] == answer.json()["meta"]["run_id"]


async def test_a_run_that_is_done_again_calls_back_again(place: Place) -> None:
    first = await place.begin("put")
    await place.receiver.arrival()
    again = await place.running.ask("POST", f"/v1/runs/{first}/retry", body={})
    assert again.status == 202, again.body
    seen = await place.receiver.arrival(2)
    assert (seen.path, seen.json()["data"]["run_id"]) == ("/back", again.json()["run_id"])


async def test_a_call_that_is_sent_again_calls_back_once(place: Place) -> None:
    keyed = {"headers": {"Idempotency-Key": "mail-7"}}
    run_id = await place.begin("send", **keyed)
    await place.receiver.arrival()
    repeated = await place.call("send", **keyed)
    assert repeated.status in (200, 202) and run_id in repeated.body.decode()
    elsewhere = await place.call("send", "/elsewhere", **keyed)
    assert (elsewhere.status, elsewhere.json()["error"]) == (409, "idempotency_conflict")
    control = await place.begin("send", "/control")
    await until_seen(place, "/control")
    assert [(seen.path, seen.json()["data"]["run_id"]) for seen in place.receiver.seen] == [
        ("/back", run_id), ("/control", control),
    ]  # fmt: skip


@pytest.mark.parametrize(("decision", "type"), [("approve", "run.completed"), ("deny", "run.cancelled")])
async def test_what_a_person_decided_is_told_once_it_is_over(place: Place, decision: str, type: str) -> None:
    made = await place.running.ask("POST", "/api-keys", body={"name": "agent", "approval": {"effects": ["send"]}})
    held = await place.call("send", key=made.json()["full_key"])
    assert (held.status, held.json()["error"]) == (403, "approval_required")
    async with person(place.running, await invite(place.running)) as ada:
        run_id = held.json()["run_id"]
        page = await ada.open(f"/approvals/{run_id}")
        assert (await ada.press(page, run_id, decision=decision)).status == 200
    told = (await place.receiver.arrival()).json()
    assert (told["type"], told["data"]["run_id"]) == (type, run_id)
    await place.begin("look", "/control")
    await until_seen(place, "/control")
    assert [seen.path for seen in place.receiver.seen] == ["/back", "/control"]


async def test_a_test_keys_callback_is_signed_with_the_test_secret(place: Place) -> None:
    test = place.running.org.test
    live_secret, test_secret = await place.secret(), await place.secret(test)
    await place.begin("send", key=test)
    seen = await place.receiver.arrival()
    assert verified(seen, test_secret)["type"] == "run.completed"
    with pytest.raises(Exception, match="signature"):
        verified(seen, live_secret)
    assert place.upstream.seen == []


async def test_it_is_signed_before_anybody_asked_for_the_secret(place: Place) -> None:
    """A rotation shows a secret; the unknown first one still signs beside it."""
    await place.begin("send")
    assert len(signatures_of(await place.receiver.arrival())) == 1
    secret = await place.secret()
    await place.begin("send")
    again = await place.receiver.arrival(2)
    assert verified(again, secret)["type"] == "run.completed" and len(signatures_of(again)) == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nowhere",
        "ftp://ok.example/x",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/",
        "https://user:pw@ok.example/",
        "https://ok.example/" + "x" * 3000,
        7,
    ],
)
async def test_a_url_that_cannot_be_is_refused_before_anything_is_done(place: Place, url: Any) -> None:
    body = {"params": {"note": "x"}, "async": True, "callback_url": url}
    preflight = {"integration": "shop", "action": "send", **body}
    for path, sent in (("/v1/shop/send", body), ("/v1/preflight", preflight)):
        answer = await place.running.ask("POST", path, body=sent)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert [field["path"] for field in answer.json()["details"]["fields"]] == ["callback_url"]
    assert (await place.running.ask("GET", "/v1/runs")).json() == {"runs": []}


async def test_only_a_call_that_becomes_a_run_is_called_back(place: Place) -> None:
    for sent in ({"async": False}, {"async": False, "headers": {"Idempotency-Key": "k"}}):
        answer = await place.call("send", **sent)
        assert (answer.status, answer.json()["details"]["fields"][0]["path"]) == (400, "callback_url")
    answer = await place.call("send", **{"async": False, "headers": {"Prefer": "respond-async"}})
    assert answer.status == 202
    await place.receiver.arrival()
    assert place.upstream.count("/send") == 1


async def test_our_own_address_is_never_called_back(place: Place) -> None:
    answer = await place.call("send", place.running.url + "/v1/verify")
    assert (answer.status, answer.json()["details"]["fields"][0]["path"]) == (400, "callback_url")


async def test_where_no_private_network_is_allowed_it_is_https_on_443(tmp_path: Path) -> None:
    async with gateway(tmp_path, allowed_private_networks="") as running:
        for url, is_taken in (
            ("https://ok.example/x", True),
            ("http://ok.example/x", False),
            ("https://ok.example:8443/x", False),
            ("https://127.0.0.1/", False),
        ):
            body = {"integration": "github", "action": "get_repo", "params": {"repo": "a/b"}, "wait": 1}
            answer = await running.ask("POST", "/v1/preflight", body={**body, "callback_url": url})
            assert (answer.status == 200) is is_taken, (url, answer.body)


async def test_orgs_share_a_server_and_nothing_else(tmp_path: Path, database_setting: dict[str, Any]) -> None:
    """Each is signed with its own secret; a webhook of one hears nothing of the other's runs."""
    async with serve(Receiver()) as receiver, workshop(tmp_path, **database_setting) as (running, upstream):
        place = Place(running, upstream, receiver)
        other = await make_org(environment_of(tmp_path, database_setting), "Other")
        hears = {"url": receiver.base_url + "/others", "events": ["*"]}
        mine, theirs = await place.secret(), await place.secret(other.live)
        assert (await running.ask("POST", "/v1/webhooks", body=hears, key=other.live)).status == 201
        await place.begin("send", "/mine")
        await place.begin("send", "/theirs", key=other.live)
        await receiver.arrival(3)
        seen = {one.path: one for one in receiver.seen}
        assert set(seen) == {"/mine", "/theirs", "/others"}
        assert verified(seen["/mine"], mine)["org"] == running.org.id
        assert verified(seen["/theirs"], theirs)["org"] == other.id == seen["/others"].json()["org"]
        for path, secret in (("/mine", theirs), ("/theirs", mine)):
            with pytest.raises(Exception, match="signature"):
                verified(seen[path], secret)


async def test_a_run_is_not_over_unless_its_callback_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction: where the delivery cannot be written, the end is not there either."""
    tried = asyncio.Event()

    async def fails(*args: Any) -> None:
        tried.set()
        raise StorageUnavailable

    place.upstream.gate = asyncio.Event()
    run_id = await place.begin("put")
    await place.upstream.wait_for("/put")
    with monkeypatch.context() as broken:
        broken.setattr("gateway.store.queue.call_back", fails)
        place.upstream.gate.set()
        await asyncio.wait_for(tried.wait(), 20)
        run = (await place.running.ask("GET", f"/v1/runs/{run_id}")).json()
        # It may be in line again by now.
        assert run["status"] in ("running", "queued") and run["finished_at"] is None
        assert (await place.running.ask("GET", "/v1/events?kind=run")).json()["events"] == []
    assert place.receiver.seen == []


async def test_a_process_that_dies_before_it_delivers_leaves_that_to_another(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    held = asyncio.Event()

    class Holding(Receiver):
        async def _record(self, request: Any) -> Seen:
            seen = await super()._record(request)
            if len(self.seen) == 1:
                # It never answers the first one, who dies waiting.
                held.set()
                await asyncio.sleep(3600)
            return seen

    environ = environment(tmp_path, None, None, database_setting)
    org = await make_org(environ)
    async with serve(Holding()) as receiver:
        async with worker(environ, tmp_path, org) as first:
            secret = (await first.ask("POST", "/v1/org/signing-secret")).json()["secret"]
            back = {"async": True, "callback_url": receiver.base_url + "/back"}
            run = await first.call("github", "get_repo", {"repo": "acme/webapp"}, key=org.test, **back)
            assert run.status == 202, run.body
            test_secret = (await first.ask("POST", "/v1/org/signing-secret", key=org.test)).json()["secret"]
            await asyncio.wait_for(held.wait(), 20)
            assert first.process is not None
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
        assert len(receiver.seen) == 1
        async with worker(environ, tmp_path, org):
            again = await receiver.arrival(2, within=30)
    told = verified(again, test_secret)
    assert told["data"]["run_id"] == run.json()["run_id"] and secret != test_secret
    assert len({seen.header("webhook-id") for seen in receiver.seen}) == 1
    assert len({seen.body for seen in receiver.seen}) == 1


@pytest.mark.failure("R03")
async def test_every_run_is_called_back_though_workers_are_killed(
    tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    """The short form of `python -m tests.crash.callbacks`."""
    figures = await crash(tmp_path, runs=60, kills=4, database=database_setting, within=120)
    assert figures["called_back"] == figures["runs"] >= 40 and figures["kills"] == 4


def environment_of(folder: Path, database_setting: dict[str, Any]) -> dict[str, str]:
    given = {"data_dir": str(folder / "data"), **database_setting}
    return {f"SKILLWAY_{name.upper()}": value for name, value in given.items()}


def signatures_of(seen: Seen) -> list[str]:
    return (seen.header("webhook-signature") or "").split(" ")


async def until_seen(place: Place, path: str) -> None:
    async def there() -> bool:
        return path in {seen.path for seen in place.receiver.seen}

    await until(there)
