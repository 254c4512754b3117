"""Files: streamed in and out, sealed, in ranges, for those who may see them; answers that are files."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.demo import write_definitions
from tests.fakes.upstream import HandClock
from tests.harness import RunningGateway, gateway, make_org

CONTENT = os.urandom(700_001)
MARK = b"%PDF-1.7 what nobody may find on the disk "


class Downloads:
    """Answers with a file, as large and as broken as a test says."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.headers = {"Content-Type": "application/pdf", "Content-Disposition": 'attachment; filename="a b.pdf"'}
        self.status = 200
        self.breaks_off = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status, headers=self.headers)
        await response.prepare(request)
        for start in range(0, len(self.content), 65536):
            await response.write(self.content[start : start + 65536])
            if self.breaks_off and start > 300_000:
                assert request.transport is not None
                request.transport.abort()
                return response
        await response.write_eof()
        return response


def definition(base_url: str) -> dict[str, Any]:
    def action(**more: Any) -> dict[str, Any]:
        example = {"params": {}, "response": {"status": 200, "data": {"content": "…"}}}
        return {"description": "Get it.", "request": "GET /file", "examples": [example], **more}

    return {
        "slug": "shop",
        "name": "Shop",
        "description": "Has files.",
        "base_url": base_url,
        "auth": [{"name": "key", "type": "bearer", "title": "Key"}],
        "actions": {"file": action(response="binary"), "any": action()},
    }


@asynccontextmanager
async def shop(folder: Path, **settings: Any) -> AsyncIterator[tuple[RunningGateway, Downloads]]:
    downloads = Downloads()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", downloads.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        definitions = write_definitions(folder, definition(f"http://127.0.0.1:{site.port}"))
        async with gateway(folder, definitions=definitions, **settings) as running:
            await running.connect("shop", {"token": "secret-of-the-shop"})
            yield running, downloads
    finally:
        await runner.cleanup()


class Client:
    """Speaks of files with a key, over plain HTTP."""

    def __init__(self, running: RunningGateway, session: aiohttp.ClientSession, key: str | None = None) -> None:
        self.running = running
        self.session = session
        self.headers = {"Authorization": f"Bearer {key or running.org.live}"}

    async def add(self, content: Any, *, query: str = "", **headers: str) -> tuple[int, Any]:
        url = f"{self.running.url}/v1/files{query}"
        async with self.session.post(url, data=content, headers={**self.headers, **headers}) as answer:
            return answer.status, await answer.json()

    async def read(self, file_id: str, **headers: str) -> tuple[int, bytes, Any]:
        url = f"{self.running.url}/v1/files/{file_id}"
        async with self.session.get(url, headers={**self.headers, **headers}) as answer:
            return answer.status, await answer.read(), answer.headers

    async def delete(self, file_id: str) -> int:
        async with self.session.delete(f"{self.running.url}/v1/files/{file_id}", headers=self.headers) as answer:
            return answer.status


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_a_file_comes_back_byte_for_byte_as_a_download(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path) as running:
        client = Client(running, session)
        status, told = await client.add(CONTENT, query="?filename=Gr%C3%B6%C3%9Fe.pdf", **{"Content-Type": "application/pdf"})
        assert status == 201
        assert told == {
            "file_id": told["file_id"],
            "url": f"{running.url}/v1/files/{told['file_id']}",
            "content_type": "application/pdf",
            "filename": "Größe.pdf",
            "size": len(CONTENT),
            "expires_at": told["expires_at"],
        }
        status, body, headers = await client.read(told["file_id"])
        assert (status, body) == (200, CONTENT)
        assert headers["Content-Type"] == "application/pdf" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.pdf"
        assert "sandbox" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
        assert headers["Content-Length"] == str(len(CONTENT)) and headers["Accept-Ranges"] == "bytes"


async def test_a_form_with_one_part_is_a_file_too(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path) as running:
        client = Client(running, session)
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../etc/logo.png"\r\nContent-Type: image/png'
        whole = head + b"\r\n\r\n" + CONTENT + b"\r\n--b--\r\n"
        status, told = await client.add(whole, **{"Content-Type": "multipart/form-data; boundary=b"})
        assert (status, told["filename"], told["content_type"]) == (201, "logo.png", "image/png")
        assert (await client.read(told["file_id"]))[1] == CONTENT
        form = aiohttp.FormData()
        form.add_field("wrong", b"x", filename="x")
        status, told = await client.add(form)
        assert (status, told["details"]["fields"][0]["path"]) == (400, "file")


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-0", 206, 0, 0),
        ("bytes=0-", 206, 0, 700_000),
        ("bytes=262143-262145", 206, 262_143, 262_145),
        ("bytes=699999-9999999", 206, 699_999, 700_000),
        ("bytes=-5", 206, 699_996, 700_000),
        ("bytes=-9999999", 206, 0, 700_000),
        ("bytes=700001-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-1", 200, 0, 700_000),
        ("bytes=0-1,5-6", 200, 0, 700_000),
        ("lines=0-1", 200, 0, 700_000),
        ("bytes=", 200, 0, 700_000),
    ],
)
async def test_ranges_are_answered_as_the_standard_says(
    tmp_path: Path, session: aiohttp.ClientSession, asked: str, status: int, first: int, last: int
) -> None:
    async with gateway(tmp_path) as running:
        client = Client(running, session)
        _, told = await client.add(CONTENT)
        found, body, headers = await client.read(told["file_id"], Range=asked)
        assert found == status
        if status == 416:
            assert headers["Content-Range"] == f"bytes */{len(CONTENT)}"
            return
        assert body == CONTENT[first : last + 1]
        if status == 206:
            assert headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
        # Of another version nobody gets a part.
        found, body, _ = await client.read(told["file_id"], Range=asked, **{"If-Range": '"other"'})
        assert (found, body) == (200, CONTENT)


async def test_nothing_of_a_file_lies_open_on_the_disk(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path) as running:
        client = Client(running, session)
        content = MARK * 20_000
        _, told = await client.add(content, query="?filename=secret-name.pdf")
        assert (await client.read(told["file_id"]))[1] == content
        folder = running.data_dir
        assert not [
            path for path in folder.rglob("*") if path.is_file() and (MARK in path.read_bytes() or b"secret-name" in path.read_bytes())
        ]
        with sqlite3.connect(next(folder.glob("*.db"))) as database:
            # The name of the org's second blob under that of the first: no part opens in another place.
            places = [row[0] for row in database.execute("SELECT place FROM blobs ORDER BY place")]
            parts = [place for place in places if place.startswith(told["file_id"])]
            one, two = parts[1:3]
            sealed = dict(database.execute("SELECT place, sealed FROM blobs WHERE place IN (?, ?)", (one, two)))
            database.execute("UPDATE blobs SET sealed = ? WHERE place = ?", (sealed[two], one))
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.read(told["file_id"])


async def test_files_belong_to_an_org_and_its_mode_and_expire(
    tmp_path: Path, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    async with gateway(tmp_path, clock=clock) as running:
        client = Client(running, session)
        _, told = await client.add(CONTENT)
        other = await make_org({"SKILLWAY_DATA_DIR": str(running.data_dir)}, "Other")
        for key in (other.live, running.org.test):
            for status in ((await Client(running, session, key).read(told["file_id"]))[0],
                           await Client(running, session, other.live).delete(told["file_id"])):  # fmt: skip
                assert status == 404
        assert (await client.read("file_0000"))[0] == 404
        assert (await client.read(f"{told['file_id']}%2F000001"))[0] == 404
        clock.move(86_399)
        assert (await client.read(told["file_id"]))[0] == 200
        clock.move(2)
        assert (await client.read(told["file_id"]))[0] == 404


async def test_a_deleted_file_is_gone(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path) as running:
        client = Client(running, session)
        _, told = await client.add(b"")
        assert told["size"] == 0 and (await client.read(told["file_id"]))[:2] == (200, b"")
        assert await client.delete(told["file_id"]) == 200
        assert (await client.read(told["file_id"]))[0] == 404


async def test_a_key_for_some_users_sees_only_its_own_files(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path) as running:
        body = {"name": "narrow", "level": "read_write", "users": ["ada"]}
        narrow = (await running.ask("POST", "/api-keys", body=body)).json()["full_key"]
        wide, mine = Client(running, session), Client(running, session, narrow)
        _, theirs = await wide.add(b"theirs")
        _, own = await mine.add(b"own")
        assert (await mine.read(theirs["file_id"]))[0] == 403
        assert (await mine.read(own["file_id"]))[1] == b"own"
        assert (await wide.read(own["file_id"]))[1] == b"own"


async def test_a_file_over_the_limit_leaves_nothing(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path, file_limit="600000") as running:
        client = Client(running, session)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(CONTENT), 65536):
                yield CONTENT[start : start + 65536]

        for content in (CONTENT, chunks()):
            status, told = await client.add(content)
            assert (status, told["error"]) == (413, "payload_too_large")
        assert running.services is not None
        with sqlite3.connect(next(running.data_dir.glob("*.db"))) as database:
            assert database.execute("SELECT COUNT(*) FROM blobs").fetchone() == (0,)


async def test_an_org_has_room_for_so_much(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with gateway(tmp_path, storage_limit="1000000") as running:
        client = Client(running, session)
        assert (await client.add(CONTENT))[0] == 201
        status, told = await client.add(b"x")
        assert (status, told["error"]) == (403, "plan_limit_reached")


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {"Content-Type": "multipart/form-data"}])
async def test_what_cannot_be_read_as_a_file_is_refused(
    tmp_path: Path, session: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    async with gateway(tmp_path) as running:
        status, told = await Client(running, session).add(b"--x\r\nbroken", **headers)
        assert status in (400, 415) and told["error"] in ("bad_request", "unsupported_media_type")


# --------------------------------------------------------------------------------------------- answers that are files


@pytest.mark.parametrize("action", ["file", "any"])
async def test_an_answer_that_is_a_large_file_is_told_of_by_its_id(
    tmp_path: Path, session: aiohttp.ClientSession, action: str
) -> None:
    async with shop(tmp_path, inline_limit="1000") as (running, _):
        answer = (await running.call("shop", action)).json()
        data = answer["data"]
        assert answer["status"] == 200
        assert data == {
            "file_id": data["file_id"],
            "url": f"{running.url}/v1/files/{data['file_id']}",
            "content_type": "application/pdf",
            "filename": "a b.pdf",
            "size": len(CONTENT),
            "expires_at": data["expires_at"],
        }
        status, body, _ = await Client(running, session).read(data["file_id"])
        assert (status, hashlib.sha256(body).digest()) == (200, hashlib.sha256(CONTENT).digest())


async def test_a_small_file_stands_in_the_envelope(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, downloads):
        downloads.content = b"\x00\xff"
        data = (await running.call("shop", "file")).json()["data"]
        assert data == {
            "encoding": "base64", "content_type": "application/pdf", "filename": "a b.pdf", "size": 2, "content": "AP8=",
        }  # fmt: skip


async def test_a_secret_in_a_file_is_blanked(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with shop(tmp_path, inline_limit="1000") as (running, downloads):
        downloads.content = b"\x00" * 65_530 + b"secret-of-the-shop" + b"\x00" * 100_000
        data = (await running.call("shop", "file")).json()["data"]
        _, body, _ = await Client(running, session).read(data["file_id"])
        assert b"secret-of-the-shop" not in body and len(body) > 150_000


async def test_an_answer_for_one_is_no_file_for_another(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with shop(tmp_path, inline_limit="1000") as (running, _):
        data = (await running.call("shop", "file")).json()["data"]
        for grant in ({"users": ["ada"]}, {"scopes": ["github"]}):
            key = (await running.ask("POST", "/api-keys", body={"name": "k", "level": "read_only", **grant})).json()
            assert (await Client(running, session, key["full_key"]).read(data["file_id"]))[0] == 403


async def test_a_file_that_breaks_off_is_no_file(tmp_path: Path) -> None:
    async with shop(tmp_path, inline_limit="1000") as (running, downloads):
        downloads.breaks_off = True
        answer = await running.call("shop", "file")
        assert answer.status == 502 and answer.json()["error"] == "upstream_invalid_response"
        with sqlite3.connect(next(running.data_dir.glob("*.db"))) as database:
            assert database.execute("SELECT COUNT(*) FROM blobs").fetchone() == (0,)


async def test_a_file_that_there_is_no_room_for_is_left_out_of_an_answer(tmp_path: Path) -> None:
    async with shop(tmp_path, inline_limit="1000", file_limit="500000") as (running, _):
        answer = (await running.call("shop", "file")).json()
        assert answer["status"] == 200 and answer["data"]["omitted"] is True
        assert "500000 bytes" in answer["data"]["reason"]


async def test_an_error_of_a_file_action_is_read_as_any_other(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, downloads):
        downloads.status, downloads.content = 404, b'{"message":"no such file"}'
        downloads.headers = {"Content-Type": "application/json"}
        answer = (await running.call("shop", "file")).json()
        assert (answer["status"], answer["data"]) == (404, {"message": "no such file"})
