"""The rules for effects, scopes, words, portability and secrets: each finding where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from skills_catalog.lint import RULES, STRICT_RULES, TEXT_RULES, Finding, lint, lint_file
from skills_catalog.linting.explanations import EXPLANATIONS
from skills_catalog.linting.safety import looks_issued
from skills_catalog.loader import SHIPPED, definition_files, load_definition
from tests.catalog.notes import NOTES, broken, line_of

ASKS = "    asks: [jot this down, remember the milk, keep that for later]\n"


def found(text: str, *, strict: bool = False) -> list[Finding]:
    return lint(*load_definition(text, source="notes.yaml"), strict=strict)


LACKING = [
    # effects and methods
    ("request: POST /folders/{folder}/notes\n    effect: create", "request: PUT /folders/{folder}/notes\n    effect: read",
     "error", "effect-and-method", "actions.create_note.effect", "A PUT that only reads"),
    ("request: POST /folders/{folder}/notes\n    effect: create", "request: PATCH /folders/{folder}/notes\n    effect: create",
     "warning", "effect-and-method", "actions.create_note.effect", "A PATCH changes what exists"),
    ("request: POST /notes/{id}/files\n    effect: create", "request: PUT /notes/{id}/files\n    effect: delete",
     "warning", "effect-and-method", "actions.attach_file.effect", "A PUT that deletes"),
    ("    description: Read a note by its id.\n", "    deprecated: {since: '2026-01-01', use: send_note}\n    description: Read a note by its id.\n",
     "error", "unused", "actions.get_note.deprecated.use", "no action send_note"),
    # auth
    # names
    ("  attach_file:\n", "  attach__file:\n", "warning", "names", "actions.attach__file", "use single `_`"),
    ("  attach_file:\n", "  attach_a_file_to_a_note_of_a_folder_that_is_somewhere:\n",
     "warning", "names", "actions.attach_a_file_to_a_note_of_a_folder_that_is_somewhere", "The name has 53 characters"),
    ("  attach_file:\n", "  notes_attach:\n", "info", "names", "actions.notes_attach", "leave it out"),
    # descriptions
    ("description: Write a note into a folder.", "description: This endpoint writes a note into a folder.",
     "warning", "description", "actions.create_note.description", "as an order"),
    ("description: Write a note into a folder.", "description: Writes a note into a folder.",
     "warning", "description", "actions.create_note.description", "Not 'Writes'"),
    ("description: Write a note into a folder.", "description: Creating notes in a folder.",
     "warning", "description", "actions.create_note.description", "Not 'Creating'"),
    ("description: Write a note into a folder.", "description: Write a note into a folder",
     "warning", "description", "actions.create_note.description", "full stop"),
    ("description: Write a note into a folder.", "description: Write a note. See https://notes.example/docs.",
     "warning", "description", "actions.create_note.description", "helps no agent"),
    ("description: Write a note into a folder.", "description: Create a note.",
     "info", "description", "actions.create_note.description", "no more than the name"),
    ("description: Name of the folder., required: true}\n      title", "description: The folder., required: true}\n      title",
     "info", "param-words", "actions.create_note.params.folder", "no more than the name"),
    # portability
    ("author: {type: string, as: meta.author", 'author: {type: object, properties: {"full name": {type: string}}, as: meta.author',
     "warning", "portable-names", "actions.create_note.params.author.properties.full name", "Anthropic"),
    ("order: {type: string, enum: [newest, oldest], default: newest", "order: {type: integer, enum: [1, 2]",
     "info", "portable-gemini", "actions.list_notes.params.order", "other values than text"),
    ("author: {type: string, as", "author: {type: object, as",
     "info", "portable-gemini", "actions.create_note.params.author", "becomes text"),
    # secrets
    ("headers: {Accept: application/json,", "headers: {X-Token: q7Zk29fJwLmXp4RtVb8s, Accept: application/json,",
     "error", "secrets", "headers.X-Token", "sent with every call"),
    ("format: {const: full}", "api_key: {const: q7Zk29fJwLmXp4RtVb8s}",
     "error", "secrets", "actions.list_notes.params.api_key.const", "sent with every call"),
    ("data: {note: {id: 9}}", "data: {note: {id: 9}, token: ghp_9fK2mQ8xLr4TzW7vB1nYc5JdHs3Gp6Ua0Ei}",
     "error", "secrets", "actions.create_note.examples.0.response.data.token", "somebody was issued"),
    ("language: {type: string, in: header, as: Accept-Language, description: Language of it.}",
     "key: {type: string, in: header, as: X-Api-Key2, description: A key.}\n      token: {type: string, in: query, as: access_token, description: A token.}",
     "warning", "credential-params", "actions.create_note.params.token", "belongs under `auth`"),
    ("  folder: {title: Folder, required", "  password: {title: Word, default_for: author}\n  folder: {title: Folder, required",
     "warning", "credential-params", "connection.password", "secret: true"),
    ("pattern: ^nk_", "pattern: (?i)^nk_", "warning", "patterns", "auth.0.pattern", "(?i)"),
    ("author: {type: string,", "author: {type: string, pattern: '\\A[a-z]+\\z',",
     "warning", "patterns", "actions.create_note.params.author.pattern", r"\A"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "severity", "rule", "field", "words"), LACKING)
def test_what_a_reviewer_would_say_is_found(
    old: str, new: str, severity: str, rule: str, field: str, words: str
) -> None:
    text = broken(old, new)
    findings = found(text)
    named = [
        one for one in findings if one.rule == rule and one.mistake.field == field and words in one.mistake.message
    ]
    assert named, "\n".join(map(str, findings))
    assert named[0].severity == severity
    assert named[0].mistake.line > 1


def test_an_auth_method_that_serves_nothing_is_named() -> None:
    text = broken("  - name: oauth\n", "  - {name: spare, type: basic}\n  - name: oauth\n")
    text = text.replace("    request: ", "    auth: [key, oauth]\n    request: ").replace("    auth: [key]\n", "", 1)
    messages = {one.mistake.field: one for one in found(text) if one.rule == "unused-auth"}
    assert messages["auth.1"].severity == "warning"
    assert messages["auth.1"].mistake.line == line_of(text, "- {name: spare")
    text = broken("request: GET /me\n", "request: GET /me\n    auth: [key]\n")
    assert [(one.severity, one.mistake.field) for one in found(text) if one.rule == "unused-auth"] == [
        ("info", "auth.1")
    ]


def test_scopes_are_missed_where_the_neighbours_have_some() -> None:
    action = """\
  make_{n}:
    description: Make the thing number {n}.
    request: POST /things/{n}
    effect: create
    scopes: [write]
    examples: [{{response: {{status: 200}}}}]
"""
    text = NOTES + "".join(action.format(n=number) for number in range(8))
    text = text.replace(
        "scopes: [write]\n    examples: [{response: {status: 200}}]\n", "examples: [{response: {status: 200}}]\n", 1
    )
    assert [one.mistake.field for one in found(text) if one.rule == "missing-scopes"] == ["actions.make_0"]
    # Where half of them have none, it is no habit.
    text = text.replace("    scopes: [write]\n", "", 5)
    assert [one for one in found(text) if one.rule == "missing-scopes"] == []


def test_alternatives_at_the_root_of_an_input_are_told() -> None:
    text = broken(
        "    params:\n      id: {type: integer, description: Its id., required: true}\n    examples:\n      - params: {id: 9}\n",
        "    input:\n      properties: {id: {type: integer, description: Its id.}}\n      anyOf: [{required: [id]}]\n"
        "    params: {id: {in: path}}\n    examples:\n      - params: {id: 9}\n",
    )
    assert [one.mistake.field for one in found(text) if one.rule == "portable-root"] == ["actions.get_note.input.anyOf"]


def test_asks_are_asked_for_under_strict_alone() -> None:
    assert [one for one in found(NOTES) if one.rule == "asks"] == []
    lacking = [one for one in found(NOTES, strict=True) if one.rule == "asks"]
    assert len(lacking) == 5
    assert all(one.severity == "warning" and "Has 0 `asks`" in one.mistake.message for one in lacking)

    text = broken("    timeout: 1m\n", "    timeout: 1m\n" + ASKS)
    fields = [one.mistake.field for one in found(text, strict=True) if one.rule == "asks"]
    assert "actions.create_note" not in " ".join(fields)
    text = broken("    timeout: 1m\n", "    timeout: 1m\n" + ASKS.replace("jot this down", "write notes"))
    (ask,) = [one for one in found(text, strict=True) if one.mistake.field == "actions.create_note.asks.0"]
    assert ask.mistake.message == "write, notes: the name or description says that already; use other words."


@pytest.mark.parametrize(
    ("text", "issued"),
    [
        ("ghp_9fK2mQ8xLr4TzW7vB1nYc5JdHs3Gp6Ua0Ei", True),
        ("xoxb-1111827399-16111519414-9fK2mQ8xLr4T", True),
        ("AKIAQ7ZK29FJWLMXP4RT", True),
        ("-----BEGIN PRIVATE KEY-----", True),
        ("sk_live_a1b2c3d4e5f6g7h8i9j0k1l2m3n4", False),
        ("sk_live_xxxxxxxxxxxxxxxxxxxxxxxx", False),
        ("AKIAIOSFODNN7EXAMPLE", False),
        ("sk_live_gw_mMJw3Y9a…", False),
        ("a sentence about sk_live_ keys", False),
    ],
)
def test_a_made_up_credential_is_told_from_one_that_was_issued(text: str, issued: bool) -> None:
    assert looks_issued(text) is issued


def test_every_rule_is_explained_and_every_explanation_has_a_rule() -> None:
    assert set(EXPLANATIONS) == {"load", "lock", *RULES, *STRICT_RULES, *TEXT_RULES}
    for said in EXPLANATIONS.values():
        assert all(text.endswith((".", "`")) and len(text) > 9 for text in (said.finds, said.why, said.mend))


@pytest.mark.parametrize("file", definition_files(SHIPPED), ids=lambda file: file.name)
def test_a_shipped_file_lints_clean_under_strict(file: Path) -> None:
    assert [str(one) for one in lint_file(file, strict=True) if one.severity != "info"] == []
