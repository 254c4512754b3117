"""What a definition that loads still does badly is found by the line and field where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from skills_catalog.lint import Finding, lint, lint_file, not_strict
from skills_catalog.loader import load_definition
from tests.catalog.notes import NOTES, broken, line_of


def found(text: str) -> list[Finding]:
    return lint(*load_definition(text, source="notes.yaml"))


def test_a_good_definition_has_no_errors_and_no_warnings() -> None:
    assert {one.severity for one in found(NOTES)} <= {"info"}


LACKING = [
    # what the examples show
    (
        "params: {folder: home, title: Milk}",
        "params: {folder: home, titel: Milk}",
        "error",
        "example-params",
        "- params: {folder: home, titel",
        "actions.create_note.examples.0.params.titel",
        "Did you mean title?",
    ),
    (
        "params: {folder: home, title: Milk}",
        "params: {folder: home}",
        "error",
        "example-params",
        "- params: {folder: home}",
        "actions.create_note.examples.0.params.title",
        "title is missing",
    ),
    (
        "params: {folder: home, tags: [a, b]}",
        "params: {folder: home, tags: [a, 2]}",
        "error",
        "example-params",
        "- params: {folder: home, tags",
        "actions.list_notes.examples.0.params.tags.1",
        "must be a string",
    ),
    (
        "response: {status: 201, data: {note: {id: 9}}}",
        "response: {status: 409}",
        "error",
        "example-answers",
        "examples:\n      - params: {folder: home, title: Milk}",
        "actions.create_note.examples",
        "No example shows a success",
    ),
    (
        "response: {status: 201, data: {note: {id: 9}}}",
        "response: {status: 204, data: {note: {id: 9}}}",
        "error",
        "example-answers",
        "response: {status: 204",
        "actions.create_note.examples.0.response.data",
        "has no body",
    ),
    (
        "response: {status: 201, data: {note: {id: 9}}}",
        "response: {status: 302, data: {note: {id: 9}}}",
        "warning",
        "example-answers",
        "response: {status: 302",
        "actions.create_note.examples.0.response.status",
        "redirect: follow",
    ),
    (
        "response: {status: 200, data: {id: 9, state: ready}}",
        "response: {status: 200, data: {id: 9, state: ready}}\n    output: {type: object, properties: {id: {type: string}}}",
        "error",
        "example-answers",
        "response: {status: 200, data: {id: 9",
        "actions.get_note.examples.0.response.data.id",
        "By `output` it must be a string",
    ),
    (
        "account: user.email",
        "account: user.mail",
        "error",
        "paths-into-answers",
        "whoami",
        "whoami.account",
        "finds no text or number",
    ),
    (
        "account: user.email",
        "account: user",
        "error",
        "paths-into-answers",
        "whoami",
        "whoami.account",
        "finds no text or number",
    ),
    (
        "items: notes,",
        "items: note,",
        "error",
        "paths-into-answers",
        "page: {type",
        "actions.list_notes.page.items",
        "finds no array",
    ),
    (
        "items: notes,",
        "",
        "error",
        "paths-into-answers",
        "page: {type",
        "actions.list_notes.page",
        "`items` is missing",
    ),
    (
        "id: note.id,",
        "id: note.no,",
        "error",
        "paths-into-answers",
        "poll: {",
        "actions.create_note.poll.id",
        "finds nothing",
    ),
    (
        "status: state,",
        "status: stat,",
        "error",
        "paths-into-answers",
        "poll: {",
        "actions.create_note.poll.status",
        "finds nothing in the example of get_note",
    ),
    (
        "    timeout: 1m\n",
        "    brief: '{a: x}.b'\n",
        "error",
        "paths-into-answers",
        "brief",
        "actions.create_note.brief",
        "Finds nothing",
    ),
    # contradictions
    (
        "effect: create\n    scopes",
        "effect: delete\n    scopes",
        "error",
        "name-and-effect",
        "effect: delete",
        "actions.create_note.effect",
        "contradict each other",
    ),
    (
        "request: GET /folders/{folder}/notes\n",
        "request: POST /folders/{folder}/notes\n    effect: update\n",
        "error",
        "name-and-effect",
        "    effect: update",
        "actions.list_notes.effect",
        "contradict each other",
    ),
    (
        "    request: GET /me\n",
        "    request: GET /me\n    idempotent: false\n",
        "error",
        "method-and-repeat",
        "idempotent: false",
        "actions.get_me.idempotent",
        "contradicts itself",
    ),
    (
        "    auth: [key]\n",
        "    auth: [key]\n    scopes: [write]\n",
        "warning",
        "scopes",
        "    scopes: [write]\n    params:\n      id",
        "actions.attach_file.scopes",
        "None of its auth methods has OAuth scopes",
    ),
    (
        "request: GET /me",
        "request: GET /v1/me",
        "error",
        "base-path",
        "request: GET /v1/me",
        "actions.get_me.request",
        "repeats /v1 of the base URL",
    ),
    (
        "https://{team}.notes.example/v1",
        "http://{team}.notes.example/v1",
        "warning",
        "https",
        "base_url",
        "base_url",
        "use https",
    ),
    (
        "  folder: {title: Folder",
        "  spare: {title: Spare}\n  folder: {title: Folder",
        "warning",
        "unused",
        "  spare:",
        "connection.spare",
        "Nothing uses this field",
    ),
    (
        "    timeout: 1m\n",
        "    deprecated: {since: 2026-11-30, use: write_note}\n",
        "error",
        "unused",
        "deprecated",
        "actions.create_note.deprecated.use",
        "no action write_note",
    ),
    # words
    (
        "description: Keeps the notes of a team.",
        "description: Notes.",
        "warning",
        "words",
        "description: Notes.",
        "description",
        "Has 6 characters",
    ),
    ("docs_url: https://notes.example/docs\n", "", "warning", "words", "slug", "", "`docs_url` is missing"),
    ("categories: [productivity]\n", "", "warning", "words", "slug", "", "`categories` is missing"),
    (
        ", description: Which come first.}",
        "}",
        "warning",
        "words",
        "order: {",
        "actions.list_notes.params.order",
        "`description` is missing",
    ),
    (
        "{status: 409, fix: Take another title.}",
        "{status: 409}",
        "warning",
        "words",
        "{status: 409}",
        "actions.create_note.errors.0",
        "`fix` is missing",
    ),
    # tools
    (
        "  attach_file:\n",
        f"  attach_{'file' * 14}:\n",
        "error",
        "tools",
        "  attach_filefile",
        f"actions.attach_{'file' * 14}",
        "longer than 64",
    ),
    (
        "title: {type: string,",
        "title: {type: string, not: {const: x},",
        "info",
        "tools",
        "  create_note:",
        "actions.create_note",
        "Not for strict tool calling: title uses not",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "severity", "rule", "at", "field", "words"),
    LACKING,
    ids=[f"{case[3]}: {case[6]}" for case in LACKING],
)
def test_what_is_lacking_is_found(
    old: str, new: str, severity: str, rule: str, at: str, field: str, words: str
) -> None:
    text = broken(old, new)

    findings = found(text)

    named = [
        one for one in findings if one.rule == rule and one.mistake.field == field and words in one.mistake.message
    ]
    assert named, "\n".join(map(str, findings))
    assert named[0].severity == severity
    assert (named[0].mistake.file, named[0].mistake.line) == ("notes.yaml", line_of(text, at))


def test_a_field_that_only_a_hook_can_use_is_not_unused() -> None:
    text = broken("  folder: {title: Folder", "  spare: {title: Spare}\n  folder: {title: Folder")
    hooked = text.replace("    request: GET /me\n", "    request: GET /me\n    hook: sign\n")
    assert "connection.spare" in {one.mistake.field for one in found(text)}
    assert "connection.spare" not in {one.mistake.field for one in found(hooked)}


def test_what_does_not_load_is_an_error_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text(broken("effect: create\n    scopes", "effect: make\n    scopes"), encoding="utf-8")

    (finding,) = lint_file(file)

    assert (finding.severity, finding.rule) == ("error", "load")
    assert (finding.mistake.line, finding.mistake.field) == (
        line_of(file.read_text(), "effect: make"),
        "actions.create_note.effect",
    )


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, None),
        ({"type": "object", "properties": {}}, "the input is an open object"),
        ({"properties": {"a": {"type": "object"}}}, "a is an open object"),
        ({"properties": {"a": {"type": "array", "items": {"uniqueItems": True}}}}, "a uses uniqueItems"),
        ({"$defs": {"b": {"patternProperties": {}}}}, "b uses patternProperties"),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"not": {}}]}}}, "a uses not"),
    ],
)
def test_strict_tool_calling_takes_closed_objects_of_common_keywords(
    schema: dict[str, object], reason: str | None
) -> None:
    assert not_strict(schema) == reason
