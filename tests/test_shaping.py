"""Answers that fit: views, whole items, and every byte of the rest within reach."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.calls.shaping import cut_to
from tests.harness import Answer, RunningGateway
from tests.workshop import Workshop, workshop

Shop = tuple[RunningGateway, Workshop]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with workshop(tmp_path) as (running, upstream):
        yield running, upstream


async def look(shop: Shop, answer: Any, **more: Any) -> Answer:
    running, upstream = shop
    upstream.answers["/look"] = answer
    return await running.call("shop", "look", {}, **more)


async def result(shop: Shop, run_id: str, **query: Any) -> Answer:
    text = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    return await shop[0].ask("GET", f"/v1/results/{run_id}?{text}")


ITEMS = [{"id": number, "title": f"Item {number}", "labels": ["a", "b"]} for number in range(200)]


async def test_a_selection_is_what_is_answered(shop: Shop) -> None:
    body = (await look(shop, {"items": ITEMS}, select="items[:2].{id: id, t: title}")).json()
    assert body["data"] == [{"id": 0, "t": "Item 0"}, {"id": 1, "t": "Item 1"}]
    assert "truncated" not in body["meta"]


async def test_the_brief_view_is_the_definitions_own(shop: Shop) -> None:
    assert (await look(shop, {"number": 7, "much": "more"}, view="brief")).json()["data"] == {"n": 7}
    assert (await look(shop, {"number": 7, "much": "more"}, view="full")).json()["data"]["much"] == "more"


async def test_a_refusal_is_shown_whole_whatever_the_view(shop: Shop) -> None:
    shop[1].statuses = [404]
    assert (await look(shop, {"why": "gone"}, view="brief")).json()["data"] == {"why": "gone"}


async def test_whole_items_that_fit_and_where_the_rest_is(shop: Shop) -> None:
    answer = await look(shop, {"total": 200, "items": ITEMS}, max_bytes=2000)
    body = answer.json()
    assert len(answer.body) <= 2000
    kept = len(body["data"]["items"])
    assert body["data"] == {"total": 200, "items": ITEMS[:kept]} and 10 < kept < 60
    meta = body["meta"]
    assert (meta["truncated"], meta["total"], meta["result_id"]) == (True, 200, meta["run_id"])
    assert meta["shape"] == {
        "total": "number", "items": [{"id": "number", "title": "string", "labels": ["string"]}],
    }  # fmt: skip
    # The way to the rest is one that can be followed.
    following = meta["next"].removeprefix(shop[0].url)
    items = list(body["data"]["items"])
    while following:
        page = (await shop[0].ask("GET", following)).json()
        items += page["data"]
        assert page["total"] == 200
        base, _, _ = following.partition("&offset=")
        following = f"{base}&offset={page['next']}&limit=50" if "next" in page else ""
    assert items == ITEMS


async def test_so_many_items_are_kept_as_were_asked_for(shop: Shop) -> None:
    body = (await look(shop, ITEMS, max_items=3)).json()
    assert body["data"] == ITEMS[:3] and body["meta"]["total"] == 200
    assert (await look(shop, ITEMS, max_items=200)).json()["meta"].get("truncated") is None
    assert (await look(shop, [], max_items=0)).json()["data"] == []


async def test_an_answer_that_fits_is_not_touched(shop: Shop) -> None:
    raw = b'{"n": 1.50, "big": 9007199254740993, "n":2}'
    answer = await look(shop, raw, max_bytes=100_000)
    assert raw in answer.body and "truncated" not in answer.json()["meta"]


async def test_what_is_kept_of_a_cut_is_the_upstreams_own_text(shop: Shop) -> None:
    items = ", ".join('{"n": 1.50, "big": 9007199254740993}' for _ in range(100))
    answer = await look(shop, f'{{"items": [{items}]}}'.encode(), max_items=2)
    assert answer.body.count(b'{"n": 1.50, "big": 9007199254740993}') == 2


async def test_an_item_that_is_too_large_by_itself_is_there_without_its_large_parts(shop: Shop) -> None:
    big = [{"id": 1, "name": "first", "body": "x" * 50_000, "more": {"deep": "y" * 50_000}}, {"id": 2}]
    answer = await look(shop, {"items": big}, max_bytes=1500)
    body = answer.json()
    assert len(answer.body) <= 1500
    [item] = body["data"]["items"]
    assert item == {
        "id": 1,
        "name": "first",
        "body": {"$omitted": "/items/0/body", "bytes": 50_002},
        "more": {"deep": {"$omitted": "/items/0/more/deep", "bytes": 50_002}},
    }
    piece = (await result(shop, body["meta"]["result_id"], path="/items/0/body", limit=100_000)).json()
    assert piece["total"] == 50_000 and set(piece["data"][0]) == {"x"}


async def test_a_text_is_read_letter_by_letter(shop: Shop) -> None:
    text = "".join(f"line {number} ü\n" for number in range(5000))
    body = (await look(shop, text, max_bytes=600)).json()
    assert body["data"]["$omitted"] == ""
    run_id, read, offset = body["meta"]["result_id"], "", 0
    while True:
        piece = (await result(shop, run_id, offset=offset, limit=30_000)).json()
        read += piece["data"][0]
        if "next" not in piece:
            break
        offset = piece["next"]
    assert read == text
    found = (await result(shop, run_id, grep="line 4321 ü")).json()
    assert (found["data"], found["total"]) == (["line 4321 ü"], 1)


async def test_items_that_hold_a_text_are_found(shop: Shop) -> None:
    items = [{"id": number, "name": "größe" if number % 50 == 7 else "other"} for number in range(200)]
    body = (await look(shop, json.dumps(items).encode(), max_items=1)).json()
    found = (await result(shop, body["meta"]["result_id"], grep="größe")).json()
    assert [item["id"] for item in found["data"]] == [7, 57, 107, 157]
    assert (await result(shop, body["meta"]["result_id"], grep="nothing like it")).json() == {"data": [], "total": 0}


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("", [{"a/b": {"c~d": [1, 2, 3]}, "e": None}]),
        ("/a~1b/c~0d", [1, 2, 3]),
        ("/a~1b/c~0d/1", [2]),
        ("/e", [None]),
        ('"a/b"."c~d"[1:]', [2, 3]),
    ],
)
async def test_a_path_is_a_pointer_or_jmespath(shop: Shop, path: str, data: list[Any]) -> None:
    body = (await look(shop, {"a/b": {"c~d": [1, 2, 3]}, "e": None}, max_items=0)).json()
    assert (await result(shop, body["meta"]["result_id"], path=path)).json()["data"] == data


@pytest.mark.parametrize("path", ["/nothing", "/items/9", "/items/x", "a[", "/items/-1"])
async def test_a_path_that_leads_nowhere_is_told(shop: Shop, path: str) -> None:
    body = (await look(shop, {"items": [1, 2]}, max_items=1)).json()
    answer = await result(shop, body["meta"]["result_id"], path=path)
    assert (answer.status, answer.json()["details"]["fields"][0]["path"]) == (400, "path")


async def test_what_was_not_cut_is_not_kept(shop: Shop) -> None:
    run_id = (await look(shop, ITEMS)).json()["meta"]["run_id"]
    answer = await result(shop, run_id)
    assert (answer.status, answer.json()["error"]) == (404, "not_found")


async def test_a_view_is_cut_as_well_and_the_whole_is_kept(shop: Shop) -> None:
    body = (await look(shop, {"items": ITEMS}, select="items[].title", max_items=2)).json()
    assert body["data"] == ["Item 0", "Item 1"]
    whole = (await result(shop, body["meta"]["result_id"], path="/items", limit=1)).json()
    assert whole == {"data": ITEMS[:1], "total": 200, "next": 1}


# ---------------------------------------------------------------------------------------------------------- by rule

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=60,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.integers(64, 3000))
def test_a_cut_is_valid_fits_and_holds_nothing_that_was_not_there(value: Any, max_bytes: int) -> None:
    data = json.dumps(value).encode()
    cut = cut_to(data, max_bytes=max_bytes, max_items=None)
    if cut is None:
        assert len(data) <= max_bytes
        return
    left = json.loads(cut.data)
    assert len(cut.data) <= max(max_bytes, 120)
    check_within(left, value)


def check_within(left: Any, whole: Any) -> None:
    """Every value is the whole one's, its first items, or a mark."""
    if isinstance(left, dict) and "$omitted" in left:
        return
    assert type(left) is type(whole)
    if isinstance(left, dict):
        assert left.keys() == whole.keys()
        for name, value in left.items():
            check_within(value, whole[name])
    elif isinstance(left, list):
        assert len(left) <= len(whole) + 1
        for value, other in zip(left, whole, strict=False):
            check_within(value, other)
    else:
        assert left == whole
