"""Files by their ids as params: in bodies of every kind, for those who may see them, at flat memory."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from benchmarks.machine import forget_peak, peak_mb
from gateway.core.requests.file_params import MOST_WHOLE
from tests.demo import listening
from tests.fakes.upstream import HandClock
from tests.format.desk import DEFINITIONS, Desk, desk
from tests.harness import RunningGateway, gateway_process, make_org

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
async def api(tmp_path: Path, clock: HandClock) -> AsyncIterator[Desk]:
    async with desk(tmp_path, "bodies", clock=clock) as made:
        await made.connect({"api_key": "the-key-of-ada"})
        yield made


async def add(
    running: RunningGateway, content: bytes = CONTENT, *, name: str = "a%20b.png", key: str | None = None
) -> str:
    headers = {"Authorization": f"Bearer {key or running.org.live}", "Content-Type": "image/png"}
    url = f"{running.url}/v1/files?filename={name}"
    async with running.session.post(url, data=io.BytesIO(content), headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["file_id"])


# -- bodies ----------------------------------------------------------------------------------------


async def test_a_file_is_the_whole_body_with_its_length(api: Desk) -> None:
    file_id = await add(api.running)
    await api.call("upload", {"content": {"file_id": file_id}, "path": "/a.png"})
    seen = api.last
    assert seen.body == CONTENT
    assert (seen.header("Content-Length"), seen.header("Transfer-Encoding")) == (str(len(CONTENT)), None)
    assert seen.header("X-Key") == "the-key-of-ada"


async def test_files_are_parts_beside_inline_ones_and_fields(api: Desk) -> None:
    file_id = await add(api.running)
    given = [
        {"file_id": file_id},
        {"content": base64.b64encode(b"hi").decode(), "filename": "hi.txt", "content_type": "text/plain"},
        {"file_id": file_id, "filename": 'other"name.bin', "content_type": "application/x-other"},
    ]
    await api.call("post_files", {"files": given, "name": "n"})
    parts = [(part.name, part.filename, part.content_type, part.content) for part in api.last.parts()]
    assert parts == [
        ("files[]", "a b.png", "image/png", CONTENT),
        ("files[]", "hi.txt", "text/plain", b"hi"),
        ("files[]", "other_name.bin", "application/x-other", CONTENT),
        ("attributes", None, "application/json", b'{"name":"n"}'),
    ]
    assert api.last.header("Content-Length") == str(len(api.last.body))


async def test_a_file_is_related_to_its_json(api: Desk) -> None:
    await api.call("put_related", {"name": "a", "file": {"file_id": await add(api.running)}})
    body = b"Content-Type: " + (api.last.header("Content-Type") or "").encode() + b"\r\n\r\n" + api.last.body
    message = email.message_from_bytes(body, policy=email.policy.HTTP)
    described, file = message.iter_parts()
    assert (described.get_payload(decode=True), file.get_payload(decode=True)) == (b'{"name":"a"}', CONTENT)


async def test_an_empty_file_is_a_file(api: Desk) -> None:
    await api.call("upload", {"content": {"file_id": await add(api.running, b"")}, "path": "/a"})
    assert (api.last.body, api.last.header("Content-Length")) == (b"", "0")


async def test_a_mail_carries_files_by_their_ids(api: Desk) -> None:
    mail = {"to": ["a@b.c"], "subject": "x", "text": "y", "attachments": [{"file_id": await add(api.running)}]}
    await api.call("send_mail", {"message": mail})
    message = email.message_from_bytes(base64.urlsafe_b64decode(api.last.json()["raw"]), policy=email.policy.default)
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type(), attached.get_content()) == (
        "a b.png",
        "image/png",
        CONTENT,
    )


async def test_a_file_within_json_is_its_base64_however_it_is_given(api: Desk) -> None:
    written = base64.b64encode(CONTENT).decode()
    for given in (written, {"content": written, "filename": "a.png"}, {"file_id": await add(api.running)}):
        await api.call("put_content", {"content": given, "message": "m"})
        assert api.last.json() == {"file": {"content": written}, "message": "m"}
    refused = await api.refused("put_content", {"content": "no base64!"})
    assert (refused["error"], refused["details"]["fields"][0]["path"]) == ("bad_request", "content/content")


async def test_a_file_within_json_is_held_whole_and_has_a_limit(api: Desk) -> None:
    refused = await api.refused("put_content", {"content": {"file_id": await add(api.running, b"x" * (MOST_WHOLE + 1))}})
    assert (refused["error"], refused["details"]["fields"][0]["path"]) == ("payload_too_large", "content/file_id")


async def test_what_has_to_be_held_whole_has_a_limit(api: Desk) -> None:
    file_id = await add(api.running, b"x" * (MOST_WHOLE // 2 + 1))
    other = await add(api.running, b"y" * (MOST_WHOLE // 2 + 1))
    mail = {"to": ["a@b.c"], "attachments": [{"file_id": file_id}, {"file_id": other}]}
    refused = await api.refused("send_mail", {"message": mail})
    assert (refused["error"], refused["details"]["fields"][0]["path"]) == (
        "payload_too_large", "message/attachments/1/file_id",
    )  # fmt: skip


# -- who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"files": [{"content": "aGk="}, {"file_id": "ID"}]}, "files/1/file_id"),
        ({"files": [{"file_id": "ID"}]}, "files/0/file_id"),
    ],
)
async def test_a_file_that_is_not_there_is_named_and_nothing_is_sent(
    api: Desk, params: Any, path: str, clock: HandClock
) -> None:
    expired = await add(api.running)
    clock.move(86_401)
    other = await make_org({"SKILLWAY_DATA_DIR": str(api.running.data_dir)}, "Other")
    for file_id in (
        "file_0000",
        expired,
        await add(api.running, key=other.live),
        await add(api.running, key=api.running.org.test),
    ):
        given = {"files": [{**one, "file_id": file_id} if "file_id" in one else one for one in params["files"]]}
        refused = await api.refused("post_files", given)
        assert refused["error"] == "not_found"
        assert [field["path"] for field in refused["details"]["fields"]] == [path]
        asked = {"integration": "bodies", "action": "post_files", "params": given}
        shown = (await api.running.ask("POST", "/v1/preflight", body=asked)).json()
        assert (shown["ok"], shown["problems"][0]["details"]) == (False, refused["details"])


async def test_a_key_gives_away_no_file_that_it_may_not_see(api: Desk) -> None:
    body = {"name": "narrow", "level": "read_write", "users": ["default"]}
    narrow = (await api.running.ask("POST", "/api-keys", body=body)).json()["full_key"]
    theirs, own = await add(api.running), await add(api.running, key=narrow)
    params = {"content": {"file_id": theirs}, "path": "/a"}
    refused = await api.refused("upload", params, key=narrow)
    assert (refused["error"], refused["details"]["fields"][0]["path"]) == ("not_found", "content/file_id")
    assert theirs not in str(refused) and str(len(CONTENT)) not in str(refused)
    assert (await api.call("upload", {"content": {"file_id": own}, "path": "/a"}, key=narrow))["status"] == 200


@pytest.mark.parametrize(
    "wrong",
    [{"file_id": 7}, {"file_id": "conn_1"}, {"file_id": "file_a/../b"}, {"file_id": "file_1", "content": "aGk="}],
)
async def test_what_is_no_id_is_refused_by_the_schema(api: Desk, wrong: Any) -> None:
    refused = await api.refused("upload", {"content": wrong, "path": "/a"})
    assert (refused["error"], refused["details"]["fields"][0]["path"].partition("/")[0]) == ("bad_request", "content")


async def test_the_sandbox_looks_for_the_files_of_test_keys(api: Desk) -> None:
    key = api.running.org.test
    given = {"content": {"file_id": await add(api.running, key=key)}, "path": "/a"}
    assert (await api.call("upload", given, key=key))["meta"]["sandbox"] is True
    refused = await api.refused("upload", {"content": {"file_id": await add(api.running)}, "path": "/a"}, key=key)
    assert refused["error"] == "not_found"


# -- with the rest ---------------------------------------------------------------------------------


async def test_a_run_reads_the_file_when_its_time_comes(api: Desk) -> None:
    params = {"content": {"file_id": await add(api.running)}, "path": "/a"}
    answer = await api.running.call("bodies", "upload", params, **{"async": True})
    run = (await api.running.ask("GET", f"/v1/runs/{answer.json()['run_id']}?wait=20")).json()
    assert (run["status"], api.last.body) == ("completed", CONTENT)


async def test_under_a_key_a_file_is_sent_once(api: Desk) -> None:
    params = {"content": {"file_id": await add(api.running)}, "path": "/a"}
    for _ in range(3):
        await api.call("upload", params, headers={"Idempotency-Key": "k1"})
    assert len(api.api.seen) == 1


async def test_a_preflight_tells_of_the_file_instead_of_showing_it(api: Desk) -> None:
    file_id = await add(api.running, b"the-content " * 10_000)
    params = {"files": [{"file_id": file_id}], "payload": {"mind": "the-key-of-ada"}}
    asked = {"integration": "bodies", "action": "post_files", "params": params}
    shown = (await api.running.ask("POST", "/v1/preflight", body=asked)).json()
    assert shown["ok"] is True and api.api.seen == []
    body = shown["request"]["body"]
    assert "[file a b.png: 120000 bytes]" in body and "the-content" not in body
    assert '{"mind":"[secret]"}' in body and "the-key-of-ada" not in str(shown)
    assert shown["request"]["body_bytes"] > 120_000


async def test_a_file_that_breaks_on_the_way_is_not_half_an_upload(api: Desk) -> None:
    file_id = await add(api.running)
    with sqlite3.connect(next(api.running.data_dir.glob("*.db"))) as database:
        database.execute("DELETE FROM blobs WHERE place LIKE ? AND place LIKE '%!'", (f"{file_id}/%",))
    answer = await api.running.call("bodies", "upload", {"content": {"file_id": file_id}, "path": "/a"})
    refused = answer.json()
    assert (refused["error"], refused["outcome"]) == ("upstream_unreachable", "unknown")


async def test_fifty_megabytes_go_out_at_flat_memory(tmp_path: Path) -> None:
    size, piece = 50 * 1024 * 1024, bytes(range(256)) * 1024
    arrived: list[tuple[int, str]] = []

    async def take(request: web.Request) -> web.Response:
        digest, count = hashlib.sha256(), 0
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            count += len(chunk)
        arrived.append((count, digest.hexdigest()))
        return web.json_response({})

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    async with listening(web.route("*", "/{rest:.*}", take)) as origin:
        integrations = {"bodies": {"base_url": origin}}
        async with gateway_process(tmp_path, integrations=integrations, definitions=DEFINITIONS) as running:
            await running.connect("bodies", {"api_key": "the-key"})
            url, headers = f"{running.url}/v1/files", {"Authorization": f"Bearer {running.org.live}"}
            async with running.session.post(url, data=pieces(), headers=headers) as added:
                file_id = (await added.json())["file_id"]
            assert running.process is not None
            # Once before, so that what stays for good is there.
            small = await add(running, b"x" * 1_000_000)
            for given in (small, file_id):
                forget_peak(running.process.pid)
                before = peak_mb(running.process.pid)
                answer = await running.call("bodies", "upload", {"content": {"file_id": given}, "path": "/a"})
                assert answer.json()["status"] == 200
                grown = peak_mb(running.process.pid) - before
    whole = hashlib.sha256()
    for _ in range(size // len(piece)):
        whole.update(piece)
    assert arrived[-1] == (size, whole.hexdigest())
    assert grown < 12, f"{grown} MB more"
