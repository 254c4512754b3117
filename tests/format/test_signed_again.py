"""OAuth 1.0a with everything that a call can be: pages, repeats, runs, keys, preflights, files; each request verified."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.oauth1 import CLIENT_SECRET, OAuth1Server
from tests.fakes.upstream import Seen
from tests.format.test_oauth1 import Lists, lists, server

__all__ = ["server"]

PHOTOS = [{"id": f"p{number}"} for number in range(5)]


@pytest.fixture
async def albums(tmp_path: Path, server: OAuth1Server) -> AsyncIterator[Lists]:
    async with lists(tmp_path, server, slug="albums") as made:
        server.answers["/1/photos"] = photos
        server.answers["/1/feed"] = feed
        await made.connect()
        server.seen.clear()
        yield made


def photos(seen: Seen) -> web.Response:
    if seen.method == "POST":
        return web.json_response({"id": "p9"})
    asked = dict(seen.query)
    start, size = (int(asked.get("page", "1")) - 1) * 2, int(asked["size"])
    return web.json_response({"photos": PHOTOS[start : start + size], "pages": 3})


def feed(seen: Seen) -> web.Response:
    """Its links say what they mean, in letters that a signature has to keep."""
    start = int(dict(seen.query).get("from", "0"))
    headers = (
        {"Link": f'</1/feed?from={start + 2}&topic=a%20b%2Bc&realm=x>; rel="next"'} if start + 2 < len(PHOTOS) else {}
    )
    return web.json_response(PHOTOS[start : start + 2], headers=headers)


def nonces(server: OAuth1Server) -> list[str]:
    said = [seen.header("Authorization") or "" for seen in server.seen]
    return [part for header in said for part in header.split(", ") if part.startswith("oauth_nonce")]


@pytest.mark.parametrize(
    ("action", "where"), [("list_photos", lambda data: data["photos"]), ("list_feed", lambda data: data)]
)
async def test_every_page_is_signed_for_itself(albums: Lists, action: str, where: Any) -> None:
    envelope = await albums.call(action, all=True)
    assert where(envelope["data"]) == PHOTOS
    assert envelope["meta"]["pages"] == {"count": 3, "items": 5, "complete": True}
    assert len(albums.server.seen) == 3 == len(set(nonces(albums.server)))


async def test_pages_in_a_run_are_signed_when_it_is_carried_out(albums: Lists) -> None:
    answer = await albums.running.call("albums", "list_feed", {}, all=True, **{"async": True})
    assert answer.status == 202
    run = (await albums.running.ask("GET", f"/v1/runs/{answer.json()['run_id']}?wait=20")).json()
    assert (run["status"], run["result"]["data"]) == ("completed", PHOTOS)
    assert len(set(nonces(albums.server))) == 3


async def test_a_request_that_is_made_again_is_signed_again(albums: Lists) -> None:
    """The server has heard it: under the same nonce it would take it for a replay (RFC 5849 §3.3)."""
    albums.server.deaf = 2
    envelope = await albums.call("list_photos", {"page": 2, "size": 2})
    assert (envelope["status"], envelope["data"]["photos"]) == (200, PHOTOS[2:4])
    assert len(albums.server.seen) == 3 == len(set(nonces(albums.server)))


async def test_a_write_that_was_heard_is_not_made_again(albums: Lists) -> None:
    albums.server.deaf = 1
    answer = await albums.running.call("albums", "add_photo", {"title": "Milk"})
    assert (answer.json()["error"], answer.json()["outcome"]) == ("upstream_unreachable", "unknown")
    assert len(albums.server.seen) == 1


async def test_our_key_is_signed_with_the_form_that_it_stands_in(albums: Lists) -> None:
    headers = {"Idempotency-Key": "k 1"}
    first = await albums.call("add_photo", {"title": "Milk & more"}, headers=headers)
    again = await albums.call("add_photo", {"title": "Milk & more"}, headers=headers)
    assert first["status"] == 200 and again["meta"]["replayed"] is True
    (seen,) = albums.server.seen
    title, key = seen.form()
    assert title == ("title", "Milk & more") and key[0] == "key" and key[1].startswith("skillway-")


async def test_a_repeat_has_the_same_key_of_ours_in_its_header(albums: Lists) -> None:
    albums.server.deaf = 1
    assert (await albums.call("name_photo", {"id": "p1", "title": "x"}))["status"] == 200
    keys = {seen.header("X-Request-Key") for seen in albums.server.seen}
    assert len(albums.server.seen) == 2 and len(keys) == 1 and None not in keys


async def test_a_file_is_no_part_of_the_signature(albums: Lists) -> None:
    async with albums.running.session.post(
        f"{albums.running.url}/v1/files?filename=a.png",
        data=b"\x89PNG" * 100_000,
        headers={"Authorization": f"Bearer {albums.running.org.live}", "Content-Type": "image/png"},
    ) as added:
        file_id = (await added.json())["file_id"]
    for given in (base64.b64encode(b"\x89PNG").decode(), {"file_id": file_id}):
        assert (await albums.call("upload", {"picture": given, "title": "x"}))["status"] == 200
    assert [len(seen.parts()[0].content) for seen in albums.server.seen] == [4, 400_000]


async def test_a_preflight_shows_the_request_and_no_signature(albums: Lists) -> None:
    asked = {"integration": "albums", "action": "add_photo", "params": {"title": f"x {CLIENT_SECRET} y"}}
    shown = (await albums.running.ask("POST", "/v1/preflight", body=asked)).json()
    assert shown["ok"] is True and albums.server.seen == []
    request = shown["request"]
    headers = {header["name"]: header["value"] for header in request["headers"]}
    assert headers["Authorization"] == "[secret]"
    assert (request["method"], request["url"]) == ("POST", f"{albums.server.base_url}/1/photos")
    assert request["body"].startswith("title=x%20[secret]%20y&key=skillway-")
    (token,) = albums.server.granted.items()
    for secret in (token[0], token[1].secret, CLIENT_SECRET, "oauth_signature"):
        assert secret not in str(shown)


async def test_without_its_client_a_preflight_says_what_the_call_says(albums: Lists) -> None:
    assert albums.running.services is not None
    albums.running.services.connecting._providers._installed = {}
    asked = {"integration": "albums", "action": "get_me"}
    shown = (await albums.running.ask("POST", "/v1/preflight", body=asked)).json()
    (problem,) = shown["problems"]
    assert problem["error"] == (await albums.running.call("albums", "get_me")).json()["error"] == "forbidden"
    assert "OAuth client" in problem["message"] and albums.server.seen == []
