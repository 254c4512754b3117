"""Webhooks as who types commands has them: subscribed, told, sent again; and the callback of one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.shell import Done, Shell
from tests.fakes.receiver import Receiver, answering, verified
from tests.fakes.upstream import Running, serve
from tests.harness import RunningGateway
from tests.workshop import until, workshop


@dataclass(frozen=True, slots=True)
class Place:
    running: RunningGateway
    receiver: Running[Receiver]
    shell: Shell

    async def run(self, *words: str) -> Done:
        return await asyncio.to_thread(self.shell.run, *words)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with serve(Receiver()) as receiver, workshop(tmp_path) as (running, _):
        shell = Shell.at(tmp_path, url=running.url).with_environment(SKILLWAY_API_KEY=running.org.live)
        yield Place(running, receiver, shell)


async def test_a_webhook_is_added_listed_told_and_removed(place: Place) -> None:
    url = place.receiver.base_url + "/in"
    added = await place.run("webhooks", "add", "--events", "run.*, api_key.created", "--description", "mine", url)
    assert (added.code, added.json["events"], added.json["description"]) == (0, ["run.*", "api_key.created"], "mine")
    webhook = added.json["id"]
    for words in (("webhooks",), ("webhooks", "list")):
        listed = await place.run(*words)
        assert [one["id"] for one in listed.json["webhooks"]] == [webhook]
        assert added.json["secret"] not in listed.out.decode()
    await place.run("keys", "create", "--name", "k")
    assert verified(await place.receiver.arrival(), added.json["secret"])["type"] == "api_key.created"
    removed = await place.run("webhooks", "remove", webhook)
    assert (removed.code, removed.json) == (0, {"id": webhook, "removed": True})
    gone = await place.run("webhooks", "remove", webhook)
    assert (gone.code, gone.json["error"]) == (1, "not_found")


async def test_what_was_not_taken_is_seen_and_sent_again(place: Place) -> None:
    place.receiver.upstream.answering = answering(410, 204)
    url = place.receiver.base_url
    webhook = (await place.run("webhooks", "add", "--events", "api_key.created", url)).json["id"]
    await place.run("keys", "create", "--name", "k")
    await place.receiver.arrival()

    async def given_up() -> bool:
        listed = await place.run("webhooks", "deliveries", "--limit", "5", webhook)
        return [(one["state"], one["last_error"]) for one in listed.json["deliveries"]] == [("dead", "gone")]

    await until(given_up)
    [one] = (await place.run("webhooks", "deliveries", webhook)).json["deliveries"]
    disabled = await place.run("webhooks", "replay", webhook, one["id"])
    assert (disabled.code, disabled.json["error"]) == (1, "conflict")
    assert (await place.run("webhooks", "enable", webhook)).json["active"] is True
    assert (await place.run("webhooks", "replay", webhook, one["id"])).json["id"] == one["id"]
    again = await place.receiver.arrival(2)
    assert again.header("webhook-id") == one["event"]["id"]


async def test_secrets_are_made_anew(place: Place) -> None:
    added = (await place.run("webhooks", "add", "--events", "*", place.receiver.base_url)).json
    rotated = await place.run("webhooks", "rotate", added["id"])
    assert rotated.json["secret"].startswith("whsec_") and rotated.json["secret"] != added["secret"]
    callbacks = await place.run("webhooks", "rotate", "--callbacks")
    assert callbacks.json["secret"] not in (added["secret"], rotated.json["secret"])
    for words in ((), ("--callbacks", added["id"])):
        misused = await place.run("webhooks", "rotate", *words)
        assert misused.code == 1 and "Name a webhook, or say --callbacks." in misused.err


async def test_a_call_is_told_where_to_call_back(place: Place) -> None:
    secret = (await place.run("webhooks", "rotate", "--callbacks")).json["secret"]
    url = place.receiver.base_url + "/done"
    done = await place.run("run", "--async", "--callback-url", url, "shop", "send", "--note", "x")
    assert done.code == 0
    seen = await place.receiver.arrival()
    assert (seen.path, verified(seen, secret)["data"]["run_id"]) == ("/done", done.json["run_id"])
    refused = await place.run("run", "--async", "--callback-url", "https://10.0.0.1/", "shop", "send")
    assert (refused.code, refused.json["details"]["fields"][0]["path"]) == (1, "callback_url")


async def test_webhooks_are_tables_on_a_terminal(place: Place) -> None:
    added = await asyncio.to_thread(
        place.shell.on_terminal, "webhooks", "add", "--events", "api_key.*", place.receiver.base_url, columns=200
    )
    assert "whsec_" in added.out.decode() and "it is not shown again" in added.out.decode()
    await place.run("keys", "create", "--name", "k")
    await place.receiver.arrival()
    listed = await asyncio.to_thread(place.shell.on_terminal, "webhooks", columns=200)
    assert "api_key.*" in listed.out.decode() and "active" in listed.out.decode()
    webhook = (await place.run("webhooks")).json["webhooks"][0]["id"]
    shown = await asyncio.to_thread(place.shell.on_terminal, "webhooks", "deliveries", webhook, columns=200)
    assert "api_key.created" in shown.out.decode() and "dlv_" in shown.out.decode()


async def test_ids_that_are_none_are_refused_without_asking(place: Place) -> None:
    for words in (("remove", "../keys"), ("replay", "whk_1", "a/b"), ("deliveries", "a b")):
        refused = await place.run("webhooks", *words)
        assert refused.code == 1 and "is not the id of a" in refused.err
