"""Hooks from the outside: made, signed messages become events once, challenges, caps, strangers."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo import KeyedApi, keyed_definition, write_definitions
from tests.fakes.receiver import Receiver, WalkingClock, verified
from tests.fakes.upstream import HandClock, serve
from tests.harness import Answer, RunningGateway, gateway, gateway_process, make_org

SECRET = "a secret of some length"
SLACK = {
    "event": "event.type",
    "events": ["message"],
    "signature": {
        "header": "X-Slack-Signature", "scheme": "v0={signature}", "template": "v0:{timestamp}:{body}",
        "timestamp_header": "X-Slack-Request-Timestamp",
    },
    "challenges": [{"method": "POST", "when": "type == 'url_verification'", "answer": "challenge"}],
}  # fmt: skip
META = {
    "event": "object",
    "signature": {"header": "X-Hub-Signature-256", "scheme": "sha256={signature}"},
    "challenges": [{"method": "GET", "answer_param": "hub.challenge", "token_param": "hub.verify_token"}],
}
GITLAB = {
    "event": "object_kind",
    "delivery_header": "X-Gitlab-Event-UUID",
    "signature": {"header": "X-Gitlab-Token", "scheme": "{signature}", "algorithm": "token"},
}


@pytest.fixture
def clock() -> HandClock:
    return WalkingClock()


@pytest.fixture
async def running(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with hooked(tmp_path, clock=clock, **database_setting) as made:
        yield made


def hooked(folder: Path, base_url: str = "http://127.0.0.1:1", **more: Any) -> Any:
    """A gateway whose catalog has upstreams that send in several ways."""
    blocks = {"slacky": SLACK, "meta": META, "gitlab": GITLAB, "silent": None}
    definitions = [
        keyed_definition(base_url, slug, **({"webhooks": block} if block else {})) for slug, block in blocks.items()
    ]
    return gateway(folder, definitions=write_definitions(folder, *definitions), **more)


async def hook(running: RunningGateway, integration: str, *, key: str | None = None, **more: Any) -> dict[str, Any]:
    answer = await running.ask("POST", "/v1/hooks", body={"integration": integration, **more}, key=key)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json()
    return made


async def send(running: RunningGateway, url: str, body: bytes, **headers: str) -> Answer:
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with running.session.post(url, data=io.BytesIO(body), headers=given) as answer:
        return Answer(status=answer.status, headers=answer.headers, body=await answer.read())


def mac(content: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


async def told(running: RunningGateway, *, key: str | None = None) -> list[dict[str, Any]]:
    answer = await running.ask("GET", "/v1/events?kind=hook", key=key)
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


async def refused(answer: Answer, status: int, code: str, reason: str | None = None) -> None:
    assert (answer.status, answer.json()["error"]) == (status, code), answer.body
    if reason is not None:
        assert answer.json()["details"] == {"reason": reason}


# ------------------------------------------------------------------------------------------- the shipped definitions


async def test_github_tells_of_an_issue(running: RunningGateway) -> None:
    made = await hook(running, "github", secret=SECRET)
    assert made["id"].startswith("hook_") and made["url"].startswith(running.url + "/hooks/")
    assert len(made["url"].rsplit("/", 1)[1]) >= 43
    assert {"issues", "pull_request", "push"} <= set(made["events"]) and made["signed"] and made["has_secret"]
    body = json.dumps({"action": "opened", "issue": {"number": 2**53 + 1, "title": "größe ✓"}}).encode()
    headers = {"X_GitHub_Event": "issues", "X_GitHub_Delivery": "72d3162e-cc78", "X_Hub_Signature_256": "sha256=" + mac(body)}
    assert (await send(running, made["url"], body, **headers)).status == 200
    [event] = await told(running)
    assert event["type"] == "hook.github.issues"
    assert event["data"] == {
        "hook": made["id"], "integration": "github", "event": "issues", "payload": json.loads(body),
    }  # fmt: skip
    listed = await running.ask("GET", "/v1/hooks")
    assert [one["id"] for one in listed.json()["hooks"]] == [made["id"]]
    assert "url" not in listed.json()["hooks"][0] and SECRET not in listed.body.decode()


OVERSKILL_EVENTS = [
    "app.created", "app.updated", "app.deleted", "app.generation.started", "app.generation.progress",
    "app.generation.completed", "app.generation.failed", "app.deployment.completed", "app.user.created",
    "app.user.access_granted", "app.user.access_revoked",
]  # fmt: skip


async def test_overskills_eleven_events(running: RunningGateway, clock: HandClock) -> None:
    made = await hook(running, "overskill", secret=SECRET)
    assert made["events"] == OVERSKILL_EVENTS
    for number, name in enumerate(OVERSKILL_EVENTS):
        body = json.dumps({"event": name, "timestamp": "2026-11-28T10:00:00Z", "team_id": 7, "data": {"n": number}}).encode()
        at = int(clock())
        headers = {
            "X_Overskill_Event": name, "X_Overskill_Delivery": f"d{number}", "X_Overskill_Timestamp": str(at),
            "X_Overskill_Signature": f"t={at},v1={mac(f'{at}.'.encode() + body)}",
        }  # fmt: skip
        assert (await send(running, made["url"], body, **headers)).status == 200
    assert [event["type"] for event in await told(running)] == [f"hook.overskill.{name}" for name in OVERSKILL_EVENTS]


async def test_overtens_two_events(running: RunningGateway, clock: HandClock) -> None:
    made = await hook(running, "overten", secret=SECRET)
    assert made["events"] == ["run.completed", "run.failed"]
    for name in made["events"]:
        body, at = json.dumps({"event": name, "run_id": "run_1", "task_id": "task_1"}).encode(), int(clock())
        signature = "sha256=" + mac(f"{at}.".encode() + body)
        headers = {"X_Overten_Signature": signature, "X_Overten_Timestamp": str(at), "X_Overten_Event": name}
        assert (await send(running, made["url"], body, **headers)).status == 200
    assert [event["type"] for event in await told(running)] == ["hook.overten.run.completed", "hook.overten.run.failed"]


async def test_skycots_four_events_by_the_url_alone(running: RunningGateway) -> None:
    """It says nothing of signatures: whoever has the URL is believed."""
    made = await hook(running, "skycot")
    assert (made["signed"], made["has_secret"]) == (False, False)
    assert made["events"] == ["build.started", "build.completed", "build.failed", "deploy.completed"]
    for name in made["events"]:
        assert (await send(running, made["url"], json.dumps({"event": name, "id": name}).encode())).status == 200
    # Where the name stands it does not say either.
    assert {event["type"] for event in await told(running)} == {"hook.skycot"}
    answer = await running.ask("POST", "/v1/hooks", body={"integration": "skycot", "secret": SECRET})
    await refused(answer, 400, "bad_request")


# ------------------------------------------------------------------------------------------------ what is refused


async def test_a_message_without_a_right_signature_is_401_and_leaves_nothing(running: RunningGateway) -> None:
    made = await hook(running, "github", secret=SECRET)
    body = b'{"action": "opened"}'
    good = "sha256=" + mac(body)
    for headers, reason in (
        ({}, "signature_missing"),
        ({"X_Hub_Signature_256": ""}, "signature_missing"),
        ({"X_Hub_Signature_256": good[:-1]}, "signature_wrong"),
        ({"X_Hub_Signature_256": "sha256=" + mac(body, "other")}, "signature_wrong"),
        ({"X_Hub_Signature_256": "sha1=" + mac(body)}, "signature_missing"),
    ):
        await refused(await send(running, made["url"], body, **headers), 401, "unauthorized", reason)
    await refused(await send(running, made["url"], body + b" ", X_Hub_Signature_256=good), 401, "unauthorized", "signature_wrong")
    assert await told(running) == []
    assert (await send(running, made["url"], body, X_Hub_Signature_256=good)).status == 200


async def test_an_old_message_is_refused(running: RunningGateway, clock: HandClock) -> None:
    made = await hook(running, "overten", secret=SECRET)
    body, at = b'{"event": "run.failed"}', int(clock()) - 400
    headers = {"X_Overten_Signature": "sha256=" + mac(f"{at}.".encode() + body), "X_Overten_Timestamp": str(at)}
    await refused(await send(running, made["url"], body, **headers), 401, "unauthorized", "timestamp_out_of_tolerance")


async def test_a_message_counts_once_within_a_day(running: RunningGateway, clock: HandClock) -> None:
    """T168: a hundred times, by whatever id it claims to have; and the upstream's own repeats."""
    made = await hook(running, "github", secret=SECRET)
    body = b'{"action": "opened"}'
    signed = {"X_GitHub_Event": "issues", "X_Hub_Signature_256": "sha256=" + mac(body)}
    answers = await asyncio.gather(
        *(send(running, made["url"], body, X_GitHub_Delivery=f"d{number % 2}", **signed) for number in range(100))
    )
    assert {answer.status for answer in answers} == {200}
    assert len(await told(running)) == 1
    # Signed anew, but the same delivery.
    again = b'{"action": "opened" }'
    headers = {"X_GitHub_Event": "issues", "X_Hub_Signature_256": "sha256=" + mac(again), "X_GitHub_Delivery": "d0"}
    [first] = {answer.body for answer in answers}
    assert (await send(running, made["url"], again, **headers)).body == first
    assert len(await told(running)) in (1, 2)
    before = len(await told(running))
    clock.move(86_401)
    assert (await send(running, made["url"], body, X_GitHub_Delivery="d9", **signed)).status == 200
    assert len(await told(running)) == before + 1


async def test_an_unknown_url_is_404_and_tells_nothing(running: RunningGateway) -> None:
    made = await hook(running, "github", secret=SECRET)
    token = made["url"].rsplit("/", 1)[1]
    for wrong in (token[:-1], token + "x", "x", "A" * 43, "%00", "ü", token.swapcase(), "x" * 5000):
        for method in ("POST", "GET"):
            answer = await running.ask(method, f"/hooks/{wrong}", raw=b"{}" if method == "POST" else None, key="")
            await refused(answer, 404, "not_found")
            assert answer.json()["message"] == "Hook not found."
    assert (await running.ask("DELETE", f"/v1/hooks/{made['id']}")).status == 204
    await refused(await send(running, made["url"], b"{}"), 404, "not_found")
    again = await running.ask("DELETE", f"/v1/hooks/{made['id']}")
    await refused(again, 404, "not_found")


async def test_a_message_to_another_orgs_hook_does_not_fit_its_secret(tmp_path: Path) -> None:
    """T169."""
    async with hooked(tmp_path) as running:
        other = await make_org({"SKILLWAY_DATA_DIR": str(tmp_path / "data")}, name="Other")
        mine = await hook(running, "github", secret=SECRET)
        theirs = await hook(running, "github", secret="their own", key=other.live)
        body = b'{"action": "opened"}'
        signature = "sha256=" + mac(body)
        swapped = await send(running, theirs["url"], body, X_Hub_Signature_256=signature)
        await refused(swapped, 401, "unauthorized", "signature_wrong")
        assert (await send(running, mine["url"], body, X_Hub_Signature_256=signature)).status == 200
        assert len(await told(running)) == 1 and await told(running, key=other.live) == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_body_that_is_too_large_is_413_before_anything_else(tmp_path: Path, known: bool) -> None:
    """T170."""
    async with hooked(tmp_path) as running:
        url = (await hook(running, "github", secret=SECRET))["url"] if known else running.url + "/hooks/nobodys"
        await refused(await send(running, url, b"x" * (1024 * 1024 + 1)), 413, "payload_too_large")

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 65536

        path = url.removeprefix(running.url)
        async with running.session.post(running.url + path, data=chunks()) as answer:
            assert answer.status == 413 and (await answer.json())["error"] == "payload_too_large"
        bomb = gzip.compress(bytes(10_000_000))
        await refused(await send(running, url, bomb, Content_Encoding="gzip"), 415, "unsupported_media_type")
        at_most = b"x" * (1024 * 1024)
        signed = await send(running, url, at_most, X_Hub_Signature_256="sha256=" + mac(at_most))
        assert signed.status == (200 if known else 404)


async def test_unknown_urls_cost_about_what_a_wrong_signature_costs(tmp_path: Path) -> None:
    async with hooked(tmp_path) as running:
        made = await hook(running, "github", secret=SECRET)
        body = b"x" * 500_000
        loop = asyncio.get_running_loop()

        # In turn, so that a machine that becomes busy meanwhile is so for both.
        times: dict[str, list[float]] = {made["url"]: [], running.url + "/hooks/" + "A" * 43: []}
        for _ in range(15):
            for url, took in times.items():
                began = loop.time()
                await send(running, url, body, X_Hub_Signature_256="sha256=" + "0" * 64)
                took.append(loop.time() - began)
        known, unknown = (sorted(took)[7] for took in times.values())
        assert 0.3 < known / unknown < 3


# ------------------------------------------------------------------------------------------------------ challenges


async def test_slack_gets_its_challenge_back_as_plain_text(running: RunningGateway, clock: HandClock) -> None:
    """T171."""
    made = await hook(running, "slacky", secret=SECRET)

    async def ask(challenge: Any, **changes: str) -> Answer:
        body = json.dumps({"type": "url_verification", "token": "x", "challenge": challenge}).encode()
        at = int(clock())
        headers = {
            "X_Slack_Signature": "v0=" + mac(f"v0:{at}:".encode() + body), "X_Slack_Request_Timestamp": str(at), **changes,
        }  # fmt: skip
        return await send(running, made["url"], body, **headers)

    for text in ("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "<script>alert(1)</script>"):
        answer = await ask(text)
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    for wrong in ("x" * 257, "", 7, None, {"a": 1}, "a\r\nb"):
        await refused(await ask(wrong), 400, "bad_request")
    await refused(await ask("x", X_Slack_Signature="v0=" + "0" * 64), 401, "unauthorized")
    assert await told(running) == []


async def test_meta_gets_its_challenge_back_if_it_knows_the_token(running: RunningGateway) -> None:
    made = await hook(running, "meta", secret=SECRET)
    path = made["url"].removeprefix(running.url)

    async def ask(query: str) -> Answer:
        return await running.ask("GET", path + query, key="")

    right = f"?hub.mode=subscribe&hub.verify_token={made['verify_token']}&hub.challenge="
    answer = await ask(right + "1158201444")
    assert (answer.status, answer.body) == (200, b"1158201444")
    answer = await ask(right + "%3Cscript%3Ealert(1)%3C/script%3E")
    assert answer.headers["Content-Type"].startswith("text/plain") and answer.headers["X-Content-Type-Options"] == "nosniff"
    for wrong in ("?hub.challenge=1", "?hub.challenge=1&hub.verify_token=x", "?hub.challenge=1&hub.verify_token=%00ü"):
        await refused(await ask(wrong), 401, "unauthorized", "verify_token_wrong")
    await refused(await ask("?x=1"), 404, "not_found")
    await refused(await ask(right + "x" * 300), 400, "bad_request")
    body = b'{"object": "page", "entry": []}'
    assert (await send(running, made["url"], body, X_Hub_Signature_256="sha256=" + mac(body))).status == 200
    assert [event["type"] for event in await told(running)] == ["hook.meta.page"]


# ----------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize(
    ("kind", "body", "payload"),
    [
        ("application/json", b'{"n": 9007199254740993, "f": 1.5, "s": "\\u00e9"}', {"n": 9007199254740993, "f": 1.5, "s": "é"}),
        ("application/json", b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ("application/json", b'{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ("application/json", b"[1, 2]", [1, 2]),
        ("application/json", b"not JSON \x00", "not JSON \x00"),
        ("application/x-www-form-urlencoded", b"payload=%7B%7D", "payload=%7B%7D"),
        ("application/octet-stream", b"\xff\x00", {"encoding": "base64", "content_type": "application/octet-stream", "content": "/wA="}),
        ("application/json", b"", ""),
    ],
)
async def test_what_came_is_kept_as_it_is(tmp_path: Path, kind: str, body: bytes, payload: Any) -> None:
    async with hooked(tmp_path) as running:
        made = await hook(running, "gitlab", secret=SECRET)
        answer = await send(running, made["url"], body, X_Gitlab_Token=SECRET, Content_Type=kind)
        assert answer.status == 200, answer.body
        [event] = await told(running)
        assert event["data"]["payload"] == payload


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("merge_request", "hook.gitlab.merge_request"),
        ("a b\nc<script>", "hook.gitlab.a_bc_script_"),
        ("x" * 500, "hook.gitlab." + "x" * 100),
        (7, "hook.gitlab"),
        ("", "hook.gitlab"),
    ],
)
async def test_the_name_of_an_event_is_made_harmless(tmp_path: Path, name: Any, type: str) -> None:
    async with hooked(tmp_path) as running:
        made = await hook(running, "gitlab", secret=SECRET)
        await send(running, made["url"], json.dumps({"object_kind": name}).encode(), X_Gitlab_Token=SECRET)
        assert [event["type"] for event in await told(running)] == [type]


async def test_many_large_messages_come_in_pages_that_are_not_too_large(tmp_path: Path) -> None:
    async with hooked(tmp_path) as running:
        made = await hook(running, "gitlab", secret=SECRET)
        for number in range(12):
            body = json.dumps({"object_kind": "push", "n": number, "x": "x" * 900_000}).encode()
            assert (await send(running, made["url"], body, X_Gitlab_Token=SECRET)).status == 200
        seen, query = [], ""
        while True:
            answer = await running.ask("GET", f"/v1/events?kind=hook{query}")
            assert len(answer.body) < 5_000_000
            page = answer.json()
            seen += [event["data"]["payload"]["n"] for event in page["events"]]
            if "next_cursor" not in page:
                break
            query = f"&cursor={page['next_cursor']}"
        assert seen == list(range(12))


async def test_a_message_is_forwarded_to_the_orgs_webhooks(running: RunningGateway) -> None:
    async with serve(Receiver()) as receiver:
        body = {"url": receiver.base_url + "/in", "events": ["hook.github.*"]}
        webhook = (await running.ask("POST", "/v1/webhooks", body=body)).json()
        made = await hook(running, "github", secret=SECRET)
        raw = b'{"action": "opened", "n": 9007199254740993}'
        await send(running, made["url"], raw, X_GitHub_Event="issues", X_Hub_Signature_256="sha256=" + mac(raw))
        seen = await receiver.arrival()
        payload = verified(seen, webhook["secret"])
        assert (payload["type"], payload["data"]["payload"]["n"]) == ("hook.github.issues", 9007199254740993)


# ------------------------------------------------------------------------------------------------------ who may see


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "integration"),
        ({"integration": "githb"}, "integration"),
        ({"integration": "silent"}, "integration"),
        ({"integration": "github", "connection": "conn_nobodys"}, "connection"),
        ({"integration": "github", "secret": ""}, "secret"),
        ({"integration": "github", "url": "https://x.example"}, "url"),
    ],
)
async def test_a_hook_that_cannot_be_is_refused_with_its_field(tmp_path: Path, body: dict[str, Any], path: str) -> None:
    async with hooked(tmp_path) as running:
        answer = await running.ask("POST", "/v1/hooks", body=body)
        await refused(answer, 400, "bad_request")
        assert [field["path"] for field in answer.json()["details"]["fields"]] == [path]


async def test_a_hook_may_get_its_secret_later(running: RunningGateway) -> None:
    """Some upstreams give it out once they have the URL."""
    made = await hook(running, "github")
    assert made["signed"] and not made["has_secret"]
    body = b'{"action": "opened"}'
    headers = {"X_Hub_Signature_256": "sha256=" + mac(body)}
    await refused(await send(running, made["url"], body, **headers), 401, "unauthorized", "secret_missing")
    answer = await running.ask("PUT", f"/v1/hooks/{made['id']}", body={"secret": SECRET})
    assert (answer.status, answer.json()["has_secret"]) == (200, True)
    assert (await send(running, made["url"], body, **headers)).status == 200
    types = [event["type"] for event in (await running.ask("GET", "/v1/events?kind=audit")).json()["events"]]
    assert types[-2:] == ["org.hook_added", "org.hook_secret_changed"]


async def test_a_hook_of_a_connection_is_seen_by_those_who_may_see_that(tmp_path: Path) -> None:
    async with serve(KeyedApi()) as api, hooked(tmp_path, api.base_url) as running:
        login = next(iter(api.upstream.logins))
        connection = await running.connect("gitlab", {"token": login}, user="ada")

        async def key(**grant: Any) -> str:
            made = (await running.ask("POST", "/api-keys", body={"name": "k", **grant})).json()
            return str(made["full_key"])

        adas, bobs, pinned = await key(users=["ada"]), await key(users=["bob"]), await key(connections=[connection])
        elsewhere = await key(scopes=["github"])
        made = await hook(running, "gitlab", secret=SECRET, connection=connection, key=adas)
        wide = await hook(running, "gitlab", secret=SECRET)
        for limited in (adas, pinned):
            answer = await running.ask("POST", "/v1/hooks", body={"integration": "gitlab"}, key=limited)
            await refused(answer, 403, "forbidden")
        answer = await running.ask("POST", "/v1/hooks", body={"integration": "gitlab", "connection": connection}, key=bobs)
        await refused(answer, 403, "forbidden")
        answer = await running.ask("POST", "/v1/hooks", body={"integration": "gitlab"}, key=elsewhere)
        await refused(answer, 403, "scope_not_allowed")
        for url in (made["url"], wide["url"]):
            await send(running, url, json.dumps({"object_kind": "push", "url": url}).encode(), X_Gitlab_Token=SECRET)
        mine = await told(running, key=adas)
        assert [event["data"]["hook"] for event in mine] == [made["id"]]
        assert (mine[0]["data"]["connection"], mine[0]["data"]["user"]) == (connection, "ada")
        assert len(await told(running)) == 2 and await told(running, key=bobs) == []
        for seer, ids in ((None, {made["id"], wide["id"]}), (adas, {made["id"]}), (pinned, {made["id"]}), (bobs, set()), (elsewhere, set())):
            listed = (await running.ask("GET", "/v1/hooks", key=seer)).json()["hooks"]
            assert {one["id"] for one in listed} == ids
        await refused(await running.ask("DELETE", f"/v1/hooks/{wide['id']}", key=adas), 403, "forbidden")
        await refused(await running.ask("DELETE", f"/v1/hooks/{made['id']}", key=elsewhere), 403, "scope_not_allowed")


async def test_a_hook_of_a_test_key_brings_test_events(running: RunningGateway) -> None:
    made = await hook(running, "gitlab", secret=SECRET, key=running.org.test)
    assert made["mode"] == "test"
    await send(running, made["url"], b'{"object_kind": "push"}', X_Gitlab_Token=SECRET)
    assert len(await told(running, key=running.org.test)) == 1
    live = await hook(running, "gitlab", secret=SECRET)
    await send(running, live["url"], b'{"object_kind": "push"}', X_Gitlab_Token=SECRET)
    assert [event["data"]["hook"] for event in await told(running, key=running.org.test)] == [made["id"]]
    await refused(await running.ask("DELETE", f"/v1/hooks/{live['id']}", key=running.org.test), 404, "not_found")


async def test_an_integration_that_is_turned_off_takes_nothing_in(tmp_path: Path) -> None:
    async with hooked(tmp_path) as running:
        made = await hook(running, "gitlab", secret=SECRET)
    (tmp_path / "skills.yaml").unlink()
    async with hooked(tmp_path, integrations={"gitlab": {"enabled": False}}) as running:
        path = made["url"][made["url"].index("/hooks/") :]
        answer = await running.ask("POST", path, raw=b"{}", headers={"X-Gitlab-Token": SECRET}, key="")
        await refused(answer, 404, "not_found")


# -------------------------------------------------------------------------------------------------------- durability


@pytest.mark.failure("R01")
async def test_what_was_answered_200_survives_a_kill(tmp_path: Path, database_setting: dict[str, Any]) -> None:
    """T172: killed right after the answer, again and again."""
    definitions = write_definitions(tmp_path, keyed_definition("http://127.0.0.1:1", "gitlab", webhooks=GITLAB))
    more: dict[str, Any] = {"definitions": definitions, **database_setting}
    taken: list[int] = []
    path, org, number = "", None, 0
    for _ in range(4):
        async with gateway_process(tmp_path, org=org, **more) as running:
            org = running.org
            if not path:
                path = (await hook(running, "gitlab", secret=SECRET))["url"].removeprefix(running.url)
            assert running.process is not None
            for _ in range(5):
                number += 1
                body = json.dumps({"object_kind": "push", "n": number}).encode()
                answer = await running.ask("POST", path, raw=body, headers={"X-Gitlab-Token": SECRET}, key="")
                assert answer.status == 200
                taken.append(number)
            running.process.kill()
            await running.process.wait()
    async with gateway_process(tmp_path, org=org, **more) as running:
        assert [event["data"]["payload"]["n"] for event in await told(running)] == taken
