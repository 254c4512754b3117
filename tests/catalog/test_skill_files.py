"""The skill files of an integration: front matter that parsers read, a table of actions, a page for each."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
import yaml

from skills_catalog.exporting.skill_files import cli_example, skill_description, skill_files
from skills_catalog.loader import load_integration
from skills_catalog.model import Example
from tests.catalog.notes import NOTES, broken

GUIDES = """\
guides:
  - {title: "Folders, and how they nest!", text: Folders do not nest.}
  - {title: "Folders and how they nest", text: "Still not."}
workflows:
  - {title: Tidy up, text: "1. List. 2. Delete."}
"""


def files(text: str = NOTES) -> dict[str, str]:
    integration = load_integration(text)
    return {file["file_path"]: file["content"] for file in skill_files(integration, "https://gateway.example/")}


def front_matter(content: str) -> dict[str, Any]:
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    assert match is not None
    value: dict[str, Any] = yaml.safe_load(match[1])
    return value


def test_there_is_a_page_for_the_integration_for_each_action_and_for_each_guide() -> None:
    assert list(files(NOTES + GUIDES)) == [
        "SKILL.md",
        "endpoints/general/get_me.md",
        "endpoints/notes/list_notes.md",
        "endpoints/notes/create_note.md",
        "endpoints/notes/get_note.md",
        "endpoints/files/attach_file.md",
        "guides/folders-and-how-they-nest.md",
        "guides/folders-and-how-they-nest-2.md",
        "workflows/tidy-up.md",
    ]


def test_categories_are_spelled_with_hyphens_in_paths() -> None:
    text = broken("category: files", "category: file_uploads")

    assert "endpoints/file-uploads/attach_file.md" in files(text)


def test_the_front_matter_is_that_of_a_skill() -> None:
    head = front_matter(files()["SKILL.md"])

    assert head["name"] == "skillway-notes"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert head["version"] == "1.2.0"
    assert 0 < len(head["description"]) <= 1024
    assert head["description"].startswith("Keeps the notes of a team.")
    assert head["user-invocable"] is True
    assert head["disable-model-invocation"] is False
    assert head["allowed-tools"] == "Bash, Read, Grep, Glob"
    assert head["argument-hint"] == "[action] [params]"


def test_a_description_that_is_folded_over_lines_is_read_as_it_was_written() -> None:
    said = "Read-only access to well-known-and-long-named-things, " * 8 + "a-word-that-is-" + "long-" * 40 + "indeed"
    integration = replace(load_integration(NOTES), description=said)
    head = front_matter(skill_files(integration, "https://gateway.example")[0]["content"])
    assert head["description"] == skill_description(integration)
    assert said in head["description"]


def test_an_endless_description_is_cut_to_what_skills_may_have() -> None:
    text = broken("description: Keeps the notes of a team.", f"description: '{'Notes: # and more. ' * 45}'")

    assert len(front_matter(files(text)["SKILL.md"])["description"].strip()) <= 1024


def test_the_page_tells_how_to_call_and_lists_the_actions() -> None:
    page = files(NOTES + GUIDES)["SKILL.md"]

    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Execution",
        "## Endpoints",
        "## Guides",
        "## Workflows",
    ]
    assert "POST https://gateway.example/v1/notes/{action_name}\nAuthorization: Bearer $SKILLWAY_API_KEY" in page
    assert "| Notes | `endpoints/notes/` | `list_notes`, `create_note`, `get_note` |" in page
    assert "[Tidy up](workflows/tidy-up.md)" in page


def test_the_page_of_an_action_has_its_params_its_example_and_its_errors() -> None:
    page = files()["endpoints/notes/create_note.md"]
    head = front_matter(page)

    assert (head["name"], head["method"], head["effect"]) == ("create_note", "POST", "create")
    assert head["path"] == "/folders/{folder}/notes"
    assert "| `title` | string | yes | Its title. Characters at most: `200`. |" in page
    assert "| `folder` | string | no | Name of the folder. Left out, the connection's `folder` is used. |" in page
    assert "skillway run notes create_note --folder home --title Milk" in page
    assert '{"params": {"folder": "home", "title": "Milk"}}' in page
    assert "| 409 |  | Take another title. |" in page
    assert "must not be repeated blindly" in page
    assert "OAuth scopes: `write`." in page
    assert "follow it with `get_note`" in page
    answer = re.search(r"```json\n(.*?)\n```", page, re.DOTALL)
    assert answer is not None
    assert json.loads(answer[1]) == {"status": 201, "data": {"note": {"id": 9}}}


def test_a_constant_is_not_shown() -> None:
    assert "`format`" not in files()["endpoints/notes/list_notes.md"]


def test_text_of_a_definition_cannot_break_the_page() -> None:
    text = broken("description: Its title.", "description: 'A | pipe\n\n        and ```lines```'").replace(
        "data: {note: {id: 9}}", "data: {note: {id: 9, text: '````'}}"
    )

    page = files(text)["endpoints/notes/create_note.md"]

    assert "A \\| pipe and ```lines```" in page
    assert "`````json\n" in page


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ("{type: string}", "two words", "--a 'two words'"),
        ("{type: string}", "", "--a ''"),
        ("{type: string}", "42", "--a 42"),
        ("{type: string}", "--draft", "--a=--draft"),
        ("{type: string}", "it's", "--a 'it'\"'\"'s'"),
        ("{type: integer}", 42, "--a 42"),
        ("{type: number}", -1.5, "--a -1.5"),
        ("{type: boolean}", True, "--a"),
        ("{type: boolean}", False, "--a=false"),
        ("{type: array, items: {type: string}}", ["bug", "priority"], "--a bug,priority"),
        ("{type: array, items: {type: string}}", ["a, b"], "--a '[\"a, b\"]'"),
        ("{type: array, items: {type: string}}", [], "--a '[]'"),
        ("{type: array, items: {type: integer}}", [1, 2], "--a '[1,2]'"),
        ("{type: object}", {"k": "v"}, '--a \'{"k":"v"}\''),
        ("{enum: [open, closed]}", "open", "--a open"),
    ],
)
def test_a_flag_says_a_value_as_the_schema_reads_it(schema: str, value: object, said: str) -> None:
    assert command(schema, value) == f"skillway run sample act {said}"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("{type: [string, 'null']}", None),
        ("{type: [string, integer]}", 3),
        ("{type: [string, boolean]}", True),
        ("{type: [string, array], items: {type: string}}", "[not a list"),
        ("{description: anything}", "true"),
    ],
)
def test_what_no_flag_can_say_goes_into_params(schema: str, value: object) -> None:
    words = shlex.split(command(schema, value))

    assert words[:3] == ["skillway", "run", "--params"]
    assert json.loads(words[3]) == {"a": value}
    assert words[4:] == ["sample", "act"]


def command(schema: str, value: object) -> str:
    skill = load_integration(
        f"""\
slug: sample
name: Sample
description: Something to check command lines with.
base_url: https://sample.example
auth: [{{name: open, type: none}}]
actions:
  act:
    description: Take a param.
    request: POST /act
    effect: update
    params: {{a: {schema}}}
    examples: [{{response: {{status: 200}}}}]
"""
    ).skills["act"]
    return cli_example(skill, Example(params={"a": value}, status=200, data=None))
