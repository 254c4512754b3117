"""GraphQL over sockets: what is sent for a query and its variables, and what a 200 with errors becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills_catalog.loader import load_integration
from tests.fakes.upstream import json_answer
from tests.format.desk import DEFINITIONS, Desk, desk

BOARDS = load_integration(DEFINITIONS / "boards.yaml")


@pytest.fixture
async def boards(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path, "boards") as made:
        made.says["/graphql"] = json_answer({"data": {"viewer": {"name": "Ada"}}})
        assert (await made.connect({"api_key": "lin_key_of_ada"}))["account"] == "Ada"
        yield made


async def test_a_query_without_variables_is_sent_as_it_is_written(boards: Desk) -> None:
    envelope = await boards.call("viewer")
    assert envelope["data"] == {"data": {"viewer": {"name": "Ada"}}}
    seen = boards.last
    assert (seen.method, seen.raw_path) == ("POST", "/graphql")
    assert seen.header("Content-Type") == "application/json"
    assert seen.header("Authorization") == "lin_key_of_ada"
    assert seen.json() == {"query": "{ viewer { id name } }", "variables": {}}


async def test_params_are_variables_and_a_dotted_name_nests(boards: Desk) -> None:
    await boards.call("find_cards", {"state": "open", "tags": ["a", "b"], "first": 3})
    assert boards.last.json() == {
        "query": BOARDS.skills["find_cards"].graphql,
        "variables": {"filter": {"state": {"eq": "open"}}, "tags": ["a", "b"], "first": 3},
    }


async def test_what_is_left_out_is_no_variable(boards: Desk) -> None:
    await boards.call("find_cards", {"state": "open"})
    assert boards.last.json()["variables"] == {"filter": {"state": {"eq": "open"}}}


async def test_a_mutation_goes_where_its_request_says_with_its_constants(boards: Desk) -> None:
    await boards.call("create_card", {"space": "home", "title": "Milk"})
    assert boards.last.raw_path == "/v2/home/graphql"
    assert boards.last.json()["variables"] == {"input": {"kind": "TASK", "title": "Milk"}}


async def test_nothing_of_a_param_becomes_a_part_of_the_query(boards: Desk) -> None:
    evil = '"}) { x } } mutation { deleteEverything } query ($input: String = "{'
    await boards.call("create_card", {"space": "home", "title": evil})
    sent = boards.last.json()
    assert sent["query"] == BOARDS.skills["create_card"].graphql
    assert sent["variables"]["input"]["title"] == evil
    assert set(sent) == {"query", "variables"}


@pytest.mark.parametrize(
    ("errors", "hint"),
    [
        ([{"message": "No", "extensions": {"code": "NOT_FOUND"}}], "Look the space up again."),
        ([{"message": "The title is taken."}], "Choose another title."),
        ([{"message": "Slow down", "extensions": {"code": "RATELIMITED"}}], "Wait a minute before the next call."),
        ([{"message": "Something else"}], None),
    ],
)
async def test_errors_in_a_200_get_the_hint_and_are_passed_on_untouched(
    boards: Desk, errors: list[object], hint: str | None
) -> None:
    body = {"data": None, "errors": errors}
    boards.says["/v2/home/graphql"] = json_answer(body)
    envelope = await boards.call("create_card", {"space": "home", "title": "Milk"})
    assert (envelope["status"], envelope["data"]) == (200, body)
    assert envelope["meta"].get("hint") == hint


async def test_a_success_that_only_speaks_of_an_error_gets_no_hint(boards: Desk) -> None:
    for body in ({"data": {"text": "NOT_FOUND"}}, {"data": {"x": "NOT_FOUND"}, "errors": []}):
        boards.says["/v2/home/graphql"] = json_answer(body)
        envelope = await boards.call("create_card", {"space": "home", "title": "Milk"})
        assert "hint" not in envelope["meta"]


def test_effect_and_repeating_follow_from_the_kind_of_operation() -> None:
    kinds = {skill.name: (skill.effect, skill.idempotent) for skill in BOARDS.skills.values()}
    assert kinds == {"viewer": ("read", True), "find_cards": ("read", True), "create_card": ("create", False)}
