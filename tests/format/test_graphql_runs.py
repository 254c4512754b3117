"""GraphQL behind a login with everything that a call can be: pages, runs, keys, caches, short views, preflights."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import Answer, HandClock, Seen, json_answer
from tests.format.desk import Desk, desk

CARDS = [{"id": f"c{number}"} for number in range(5)]
LIMITED = {"errors": [{"message": "Slow down", "extensions": {"code": "RATELIMITED"}}]}


def moved(origin: str) -> Mapping[str, Any]:
    return {"base_url": origin, "token_url": f"{origin}/login"}


@pytest.fixture
async def decks(tmp_path: Path, clock: HandClock) -> AsyncIterator[Desk]:
    async with desk(tmp_path, "decks", moved, clock=clock) as made:
        made.says["/login"] = json_answer({"session": "session-number-1"})
        made.says["/graphql"] = cards
        made.says["/log"] = log
        await made.connect({"login": "ada", "secret": "hunter2-hunter2"})
        made.api.seen.clear()
        yield made


def cards(seen: Seen) -> Answer:
    asked = seen.json()["variables"]
    if "title" in asked:
        return json_answer({"data": {"cardAdd": {"id": "c9"}}})
    start = int((asked.get("after") or "c0")[1:])
    following = start + asked.get("first", 2)
    cursor = f"c{following}" if following < len(CARDS) else None
    return json_answer({"data": {"cards": {"nodes": CARDS[start:following], "pageInfo": {"endCursor": cursor}}}})


def log(seen: Seen) -> Answer:
    start = int(dict(seen.query).get("from", "0"))
    headers = {"Link": f'</log?from={start + 2}>; rel="next"'} if start + 2 < len(CARDS) else {}
    return json_answer(CARDS[start : start + 2], headers=headers)


def refusing(at: int, answer: Answer, then: Any) -> Any:
    """Answers as `then` does, but the request of that number otherwise."""
    seen_so_far: list[Seen] = []

    def answered(seen: Seen) -> Answer:
        seen_so_far.append(seen)
        return answer if len(seen_so_far) == at else then(seen)

    return answered


async def run_of(decks: Desk, action: str, params: Any = None, **more: Any) -> Any:
    answer = await decks.running.call("decks", action, params, **{"async": True, **more})
    assert answer.status == 202, answer.body
    run = (await decks.running.ask("GET", f"/v1/runs/{answer.json()['run_id']}?wait=20")).json()
    assert run["status"] in ("completed", "failed"), run
    return run


async def test_pages_are_asked_for_by_a_variable_and_joined_in_their_place(decks: Desk) -> None:
    envelope = await decks.call("list_cards", all=True)
    assert envelope["data"]["data"]["cards"]["nodes"] == CARDS
    assert envelope["meta"]["pages"] == {"count": 3, "items": 5, "complete": True}
    asked = [seen.json()["variables"] for seen in decks.api.seen]
    assert asked == [{"first": 2}, {"first": 2, "after": "c2"}, {"first": 2, "after": "c4"}]
    assert {seen.header("X-Session") for seen in decks.api.seen} == {"session-number-1"}
    assert len({seen.json()["query"] for seen in decks.api.seen}) == 1


@pytest.mark.parametrize(
    ("action", "path", "then", "where"),
    [
        ("list_cards", "/graphql", cards, lambda data: data["data"]["cards"]["nodes"]),
        ("list_log", "/log", log, lambda data: data),
    ],
)
async def test_a_session_that_ends_between_two_pages_is_got_anew_and_the_same_page_asked_for(
    decks: Desk, action: str, path: str, then: Any, where: Any
) -> None:
    decks.says[path] = refusing(2, json_answer({}, 401), then)
    decks.says["/login"] = json_answer({"session": "session-number-2"})
    envelope = await decks.call(action, all=True)
    assert where(envelope["data"]) == CARDS
    used = [seen.header("X-Session") for seen in decks.api.seen if seen.path == path]
    assert used == ["session-number-1"] * 2 + ["session-number-2"] * 2


async def test_a_page_that_says_no_in_a_200_ends_it_and_what_came_is_given_back(decks: Desk) -> None:
    decks.says["/graphql"] = refusing(2, json_answer(LIMITED), cards)
    envelope = await decks.call("list_cards", all=True)
    assert envelope["data"]["data"]["cards"]["nodes"] == CARDS[:2]
    assert envelope["meta"]["pages"] == {
        "count": 1, "items": 2, "complete": False, "stopped": "upstream_status", "upstream_status": 200,
        "next": {"after": "c2"},
    }  # fmt: skip


async def test_a_first_page_that_says_no_is_the_answer_with_its_hint(decks: Desk) -> None:
    decks.says["/graphql"] = json_answer(LIMITED)
    envelope = await decks.call("list_cards", all=True, view="brief")
    assert (envelope["data"], envelope["meta"]["hint"]) == (LIMITED, "Wait a minute before the next call.")
    assert "pages" not in envelope["meta"] and len(decks.api.seen) == 1


async def test_a_short_view_is_of_successes_alone(decks: Desk) -> None:
    assert (await decks.call("list_cards", view="brief"))["data"] == ["c0", "c1"]
    decks.says["/graphql"] = json_answer(LIMITED)
    envelope = await decks.call("list_cards", {"first": 3}, view="brief")
    assert envelope["data"] == LIMITED


async def test_a_200_that_says_no_is_not_kept_for_others(decks: Desk) -> None:
    decks.says["/graphql"] = json_answer(LIMITED)
    assert (await decks.call("list_cards"))["data"] == LIMITED
    decks.says["/graphql"] = cards
    first = await decks.call("list_cards")
    assert "cached" not in first["meta"] and first["data"]["data"]["cards"]["nodes"] == CARDS[:2]
    assert (await decks.call("list_cards"))["meta"]["cached"] is True
    assert len(decks.api.seen) == 2


async def test_a_mutation_under_a_key_is_made_once_and_the_upstream_gets_a_key_as_its_variable(decks: Desk) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await decks.call("add_card", {"title": "Milk"}, headers=headers)
    again = await decks.call("add_card", {"title": "Milk"}, headers=headers)
    assert first["data"] == again["data"] == {"data": {"cardAdd": {"id": "c9"}}}
    assert again["meta"]["replayed"] is True
    (seen,) = decks.api.seen
    assert seen.json()["variables"]["title"] == "Milk"
    assert seen.json()["variables"]["key"].startswith("skillway-")


async def test_a_run_makes_its_request_of_the_params_when_its_time_comes(decks: Desk) -> None:
    run = await run_of(decks, "add_card", {"title": "Milk"})
    assert run["result"]["data"] == {"data": {"cardAdd": {"id": "c9"}}}
    run = await run_of(decks, "list_cards", all=True)
    assert run["result"]["data"]["data"]["cards"]["nodes"] == CARDS


async def test_a_run_gets_a_session_of_its_own_time(decks: Desk, clock: HandClock) -> None:
    decks.says["/login"] = json_answer({"session": "session-number-2"})
    clock.move(901)
    assert (await run_of(decks, "add_card", {"title": "Milk"}))["status"] == "completed"
    assert decks.last.header("X-Session") == "session-number-2"


@pytest.mark.parametrize(
    ("told", "status", "data"),
    [
        (
            {"data": {"deal": {"id": "d1", "state": "dealt"}}},
            "completed",
            {"data": {"deal": {"id": "d1", "state": "dealt"}}},
        ),
        (LIMITED, "failed", LIMITED),
    ],
)
async def test_work_that_goes_on_is_asked_after_by_a_query(tmp_path: Path, told: Any, status: str, data: Any) -> None:
    def dealt(seen: Seen) -> Answer:
        if "mutation" in seen.json()["query"]:
            return json_answer({"data": {"deal": {"id": "d1", "state": "dealing"}}})
        assert seen.json()["variables"] == {"id": "d1"}
        return json_answer(told)

    async with desk(tmp_path, "decks", moved) as made:
        made.says["/login"] = json_answer({"session": "session-number-1"})
        made.says["/graphql"] = dealt
        await made.connect({"login": "ada", "secret": "hunter2-hunter2"})
        run = await run_of(made, "deal", {"count": 3})
        assert (run["status"], run["result"]["data"]) == (status, data)


async def test_a_preflight_shows_query_and_variables_and_masks_session_and_password(decks: Desk) -> None:
    asked = {
        "integration": "decks",
        "action": "add_card",
        "params": {"title": "of hunter2-hunter2 and session-number-1"},
    }
    shown = (await decks.running.ask("POST", "/v1/preflight", body=asked)).json()
    assert shown["ok"] is True and decks.api.seen == []
    headers = {header["name"]: header["value"] for header in shown["request"]["headers"]}
    assert headers["X-Session"] == "[secret]"
    body = json.loads(shown["request"]["body"])
    assert body["query"].startswith("mutation ($title") and body["variables"]["title"] == "of [secret] and [secret]"
