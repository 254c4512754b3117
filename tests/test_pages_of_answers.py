"""`all`: pages of an answer are followed and joined, within bounds, and never to another origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.demo import write_definitions
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, gateway

ITEMS = [{"id": number, "text": f"thing {number} ✓"} for number in range(23)]
SIZE = {"type": "integer", "minimum": 1, "maximum": 10, "description": "Items of a page."}


class Pages:
    """Lists of 23 things in every way in which lists are cut into pages."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], str | None]] = []
        #: What `/link` and `/named` name as their next page, where that is not the truth.
        self.link: str | None = None
        self.fails_at: int | None = None
        self.evil: list[str | None] = []
        self.hops = 0

    async def answer(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.seen.append((request.path, query, request.headers.get("Authorization")))
        if self.fails_at is not None and len(self.seen) >= self.fails_at:
            return web.json_response({"error": "no more"}, status=429)
        size = int(query.get("size", 4))
        headers = {}
        body: Any
        if request.path == "/page":
            number = int(query.get("page", 1))
            start = (number - 1) * size
            body = {"meta": {"pages": -(-len(ITEMS) // size)}, "things": ITEMS[start : start + size]}
        elif request.path == "/plain":
            start = (int(query.get("page", 1)) - 1) * size
            body = ITEMS[start : start + size]
        elif request.path == "/offset":
            start = int(query.get("skip", 0))
            body = {"data": {"things": ITEMS[start : start + size]}, "total": len(ITEMS)}
        elif request.path == "/cursor":
            start = int(query.get("after", "c0")[1:])
            following = start + size
            body = {"things": ITEMS[start:following], "next": f"c{following}" if following < len(ITEMS) else None}
        elif request.path == "/circle":
            body = {"things": ITEMS[:2], "next": "c0"}
        else:
            start = int(query.get("start", 0))
            body = ITEMS[start : start + size]
            following = start + size
            if following < len(ITEMS) or self.link:
                url = self.link or f"{request.url.origin()}{request.path}?start={following}&size={size}"
                if request.path == "/named":
                    headers["Next-Page"] = url
                else:
                    headers["Link"] = f'<https://elsewhere.test/1>; rel="last", <{url}>; title="a, b"; rel="next"'
        return web.Response(body=orjson.dumps(body), headers={"Content-Type": "application/json", **headers})


def definition(base_url: str) -> dict[str, Any]:
    def action(path: str, page: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
        params: dict[str, Any] = {name: {"type": ["integer", "string"], "description": "Where."} for name in names}
        return {
            "description": "List things.",
            "request": f"GET {path}",
            "params": {**params, "size": SIZE},
            "page": page,
            "examples": [{"params": {}, "response": {"status": 200, "data": []}}],
            **more,
        }

    size = {"size_param": "size", "max_size": 10}
    return {
        "slug": "shop",
        "name": "Shop",
        "description": "Lists things.",
        "base_url": base_url,
        "auth": [{"name": "key", "type": "bearer", "title": "Key"}],
        "actions": {
            "page": action("/page", {"type": "page", "param": "page", "pages": "meta.pages", "items": "things", **size}, "page"),
            "plain": action("/plain", {"type": "page", "param": "page", **size}, "page"),
            "offset": action("/offset", {"type": "offset", "param": "skip", "items": "data.things", "total": "total"}, "skip"),
            "cursor": action("/cursor", {"type": "cursor", "param": "after", "next": "next", "items": "things"}, "after"),
            "circle": action("/circle", {"type": "cursor", "param": "after", "next": "next", "items": "things"}, "after"),
            "link": action("/link", {"type": "link"}),
            "named": action("/named", {"type": "link", "header": "next-page"}),
            "one": {
                "description": "Show one.",
                "request": "GET /one",
                "examples": [{"params": {}, "response": {"status": 200, "data": {}}}],
            },
        },
    }


@asynccontextmanager
async def shop(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[RunningGateway, Pages]]:
    pages = Pages()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", pages.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        definitions = write_definitions(tmp_path, definition(f"http://127.0.0.1:{site.port}"))
        async with gateway(tmp_path, definitions=definitions, **settings) as running:
            await running.connect("shop", {"token": "secret-of-the-shop"})
            yield running, pages
    finally:
        await runner.cleanup()


async def everything(running: RunningGateway, action: str, **more: Any) -> Answer:
    return await running.call("shop", action, more.pop("params", {}), **{"all": True, **more})


@pytest.mark.parametrize(
    ("action", "where", "pages"),
    [
        ("page", lambda data: data["things"], 3),
        ("plain", lambda data: data, 3),
        ("offset", lambda data: data["data"]["things"], 6),
        ("cursor", lambda data: data["things"], 6),
        ("link", lambda data: data, 6),
        ("named", lambda data: data, 6),
    ],
)
async def test_every_kind_of_pages_is_followed_to_its_end(tmp_path: Path, action: str, where: Any, pages: int) -> None:
    async with shop(tmp_path) as (running, upstream):
        answer = (await everything(running, action)).json()
        assert where(answer["data"]) == ITEMS
        assert answer["meta"]["pages"] == {"count": pages, "items": 23, "complete": True}
        assert len(upstream.seen) == pages
        assert {key for _, _, key in upstream.seen} == {"Bearer secret-of-the-shop"}
        # What stands around the items is the first page's own.
        if action == "offset":
            assert answer["data"]["total"] == 23


async def test_pages_are_as_large_as_the_definition_allows_unless_the_caller_says(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, upstream):
        await everything(running, "page")
        assert [query for _, query, _ in upstream.seen] == [
            {"size": "10"}, {"size": "10", "page": "2"}, {"size": "10", "page": "3"},
        ]  # fmt: skip
        upstream.seen.clear()
        answer = await everything(running, "page", params={"size": 5, "page": 2})
        assert len(answer.json()["data"]["things"]) == 18
        assert [query["page"] for _, query, _ in upstream.seen] == ["2", "3", "4", "5"]


async def test_most_items_bound_the_pages_that_are_asked_for(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, upstream):
        answer = (await everything(running, "cursor", max_items=9)).json()
        assert [item["id"] for item in answer["data"]["things"]] == list(range(9))
        assert answer["meta"]["pages"] == {
            "count": 3, "items": 12, "complete": False, "stopped": "most items", "next": {"after": "c12"},
        }  # fmt: skip
        assert answer["meta"]["truncated"] is True and len(upstream.seen) == 3
        # The params that are named go on from there.
        rest = await everything(running, "cursor", params=answer["meta"]["pages"]["next"])
        assert [item["id"] for item in rest.json()["data"]["things"]] == list(range(12, 23))


async def test_pages_that_never_end_are_stopped(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, upstream):
        answer = (await everything(running, "circle", params={"after": "c9"})).json()
        assert answer["meta"]["pages"]["count"] == 2
        upstream.link = "/link?start=0&n=1"
        answer = (await everything(running, "link")).json()
        assert answer["meta"]["pages"]["count"] <= 2


async def test_time_and_bytes_bound_the_pages(tmp_path: Path, clock: HandClock) -> None:
    async with shop(tmp_path, clock=clock, response_limit="600") as (running, _):
        answer = (await everything(running, "cursor")).json()
        assert answer["meta"]["pages"]["stopped"] == "most bytes" and 0 < len(answer["data"]["things"]) < 23


@pytest.mark.parametrize("action", ["link", "named"])
@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.test/link?start=4",
        "http://127.0.0.1:1/link?start=4",
        "//elsewhere.test/link",
        "http://user@127.0.0.1/link",
        "http://127.0.0.1:99999/link",
        "javascript:alert(1)",
        "/link?start=4\u00e9",
    ],
)
async def test_a_link_to_another_origin_is_not_followed(tmp_path: Path, link: str, action: str) -> None:
    async with shop(tmp_path) as (running, upstream):
        upstream.link = link
        answer = (await everything(running, action)).json()
        assert answer["status"] == 200 and len(answer["data"]) == 4
        assert answer["meta"]["pages"] == {"count": 1, "items": 4, "complete": False, "stopped": "link refused"}
        assert len(upstream.seen) == 1


async def test_a_link_that_the_upstream_has_a_header_of_its_own_for_is_told_as_one(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, upstream):
        upstream.link = "/named?start=4"
        answer = (await running.call("shop", "named")).json()
        assert answer["meta"]["upstream"] == {"link": '</named?start=4>; rel="next"'}


async def test_what_came_before_a_page_failed_is_given_back(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, upstream):
        upstream.fails_at = 3
        answer = (await everything(running, "cursor")).json()
        assert answer["status"] == 200 and len(answer["data"]["things"]) == 8
        assert answer["meta"]["pages"] == {
            "count": 2, "items": 8, "complete": False, "stopped": "upstream_status", "upstream_status": 429,
            "next": {"after": "c8"},
        }  # fmt: skip


async def test_all_of_what_has_no_pages_is_refused(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, upstream):
        answer = await everything(running, "one")
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert answer.json()["details"]["fields"][0]["path"] == "all" and upstream.seen == []


async def test_a_view_and_a_budget_are_of_all_pages_together(tmp_path: Path) -> None:
    async with shop(tmp_path) as (running, _):
        answer = (await everything(running, "offset", select="data.things[].id")).json()
        assert answer["data"] == list(range(23))
        answer = (await everything(running, "offset", max_bytes=700)).json()
        assert answer["meta"]["total"] == 23 and answer["meta"]["pages"]["complete"] is True
        result = answer["meta"]["result_id"]
        rest = (await running.ask("GET", f"/v1/results/{result}?path=/data/things&limit=100")).json()
        assert rest["data"] == ITEMS
