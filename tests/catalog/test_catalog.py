"""Finding skills: by name, by a name nearly right, by words; and telling when a definition has changed."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import cast

import pytest

from skills_catalog.catalog import Catalog
from skills_catalog.loader import load_integration
from skills_catalog.model import Integration
from skills_catalog.names import nearest
from tests.catalog.notes import NOTES, broken

NOTES_INTEGRATION = load_integration(NOTES)
PAGER = load_integration(
    """\
slug: pager
name: Pager
description: Wakes the person on duty.
synonyms: [on-call, incident]
categories: [operations]
base_url: https://pager.example
auth: [{name: open, type: none}]
actions:
  list_schedules:
    category: duty
    description: List who is on duty and when.
    request: GET /schedules
    synonyms: [rota]
    asks: [who carries the phone tonight]
    examples: [{response: {status: 200, data: []}}]
  create_incident:
    category: incidents
    description: Open an incident and wake somebody.
    request: POST /incidents
    effect: send
    examples: [{response: {status: 201}}]
"""
)
CATALOG = Catalog([PAGER, NOTES_INTEGRATION])


def found(text: str, limit: int = 20) -> list[str]:
    return [skill.id for skill, _ in CATALOG.search(text, limit)]


def test_integrations_are_in_the_order_of_their_slugs_and_cannot_be_changed() -> None:
    assert list(CATALOG.integrations) == ["notes", "pager"]
    with pytest.raises(TypeError):
        cast(MutableMapping[str, Integration], CATALOG.integrations)["notes"] = PAGER


def test_skills_are_found_by_their_names() -> None:
    skill = CATALOG.find("notes", "create_note")

    assert skill is not None and skill.id == "notes.create_note"
    assert CATALOG.find("notes", "create_notes") is None
    assert CATALOG.find("note", "create_note") is None
    assert CATALOG.get("pager") is PAGER
    assert CATALOG.get("Pager") is None


def test_a_name_nearly_right_leads_to_the_right_one() -> None:
    assert CATALOG.nearest_integration("ntoes") == "notes"
    assert CATALOG.nearest_integration("Pager") == "pager"
    assert CATALOG.nearest_integration("github") is None
    assert CATALOG.nearest_action("notes", "creat_note") == "create_note"
    assert CATALOG.nearest_action("notes", "createNote") == "create_note"
    assert CATALOG.nearest_action("notes", "send_email") is None
    assert CATALOG.nearest_action("unknown", "create_note") is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tilte", "title"),
        ("ttile", "title"),
        ("per-page", "per_page"),
        ("perPage", "per_page"),
        ("page_per", None),
        ("repository", "repo"),
        ("labels", "labels"),
        ("lables", "labels"),
        ("x", None),
        ("", None),
        ("t" * 65, None),
    ],
)
def test_the_nearest_name_is_one_typo_away_or_part_of_it(typed: str, meant: str | None) -> None:
    assert nearest(typed, ["repo", "title", "labels", "per_page"]) == meant


def test_words_find_skills_wherever_they_stand() -> None:
    assert found("rota")[0] == "pager.list_schedules"
    assert found("who carries the phone tonight")[0] == "pager.list_schedules"
    assert found("duty") == ["pager.list_schedules", "pager.create_incident"]
    assert set(found("on-call")) == {"pager.list_schedules", "pager.create_incident"}
    assert set(found("productivity")) == {f"notes.{name}" for name in NOTES_INTEGRATION.skills}


def test_a_name_counts_more_than_a_description() -> None:
    assert found("create note")[0] == "notes.create_note"
    assert found("incident")[0] == "pager.create_incident"


def test_the_beginning_of_a_word_counts_and_less_than_the_word() -> None:
    def score(text: str) -> float:
        return {skill.id: score for skill, score in CATALOG.search(text)}["pager.create_incident"]

    assert 0 < score("incid") < score("incident")


def test_the_limit_cuts_the_worst() -> None:
    assert found("note", 2) == found("note")[:2]


@pytest.mark.parametrize("text", ["", "   ", "!?-", "xyzzy"])
def test_words_that_are_nowhere_find_nothing(text: str) -> None:
    assert found(text) == []


def test_scores_are_between_nought_and_one_and_the_same_again() -> None:
    hits = CATALOG.search("open a note of somebody on duty")

    assert hits and all(0 < score <= 1 for _, score in hits)
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    again = Catalog([NOTES_INTEGRATION, PAGER]).search("open a note of somebody on duty")
    assert [(skill.id, score) for skill, score in again] == [(skill.id, score) for skill, score in hits]


def test_a_search_of_endless_words_is_cut() -> None:
    assert CATALOG.search("note " * 100_000) == CATALOG.search("note")


def test_the_digest_tells_when_any_definition_changed() -> None:
    assert Catalog([NOTES_INTEGRATION, PAGER]).digest == CATALOG.digest
    assert Catalog([load_integration("# said otherwise\n" + NOTES), PAGER]).digest == CATALOG.digest
    assert Catalog([load_integration(broken("Write a note", "Write the note")), PAGER]).digest != CATALOG.digest
    assert Catalog([PAGER]).digest != CATALOG.digest
    assert Catalog().digest != CATALOG.digest
