"""What changed between two versions of a definition: what breaks callers is told from what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skills_catalog.loader import SHIPPED, load_definition
from skills_catalog.mistakes import CatalogError
from skills_catalog.validation import compile_schema
from skills_catalog.versions.changes import Change, changes, is_enough
from skills_catalog.versions.contracts import contract_of, without_words
from skills_catalog.versions.lock import (
    FILE,
    deviations,
    lock_text,
    locked_from,
    read_lock,
    warnings,
)
from skills_catalog.versions.narrowing import narrower
from tests.catalog.notes import NOTES, broken


def changed(old: str, new: str) -> list[Change]:
    before, after = load_definition(NOTES)[0], load_definition(broken(old, new))[0]
    return changes(contract_of(before), contract_of(after))


CHANGES = [
    # of the integration
    ("https://{team}.notes.example/v1", "https://{team}.notes.example/v2", "breaking", "base_url"),
    ('X-Team: "{team}"}', 'X-Team: "{team}", X-More: a}', "breaking", "headers"),
    ("as: X-API-Key", "as: X-Key", "breaking", "auth.key"),
    ("token_url: https://{team}.notes.example/oauth/token", "token_url: https://{team}.notes.example/token", "breaking", "auth.oauth.token_url"),
    ("{default: [read]", "{default: [read, write]", "breaking", "auth.oauth.scopes"),
    ("  - name: oauth\n", "  - {name: basic, type: basic}\n  - name: oauth\n", "additive", "auth.basic"),
    ("connection:\n", "connection:\n  region: {title: Region, default_for: order, required: false}\n", "additive", "connection.region"),
    ("connection:\n", "connection:\n  region: {title: Region, default_for: order}\n", "breaking", "connection.region"),
    # of actions
    ("  attach_file:\n", "  add_file:\n", "breaking", "actions.attach_file"),
    ("request: GET /me", "request: GET /self", "breaking", "actions.get_me.request"),
    ("    effect: create\n    auth: [key]", "    effect: send\n    auth: [key]", "breaking", "actions.attach_file.effect"),
    ("    effect: create\n    scopes", "    effect: update\n    scopes", "breaking", "actions.create_note.effect"),
    ("scopes: [write]", "scopes: [write, admin]", "breaking", "actions.create_note.scopes"),
    ("    scopes: [write]\n", "", "additive", "actions.create_note.scopes"),
    ("    auth: [key]\n", "", "additive", "actions.attach_file.auth"),
    ("request: GET /me\n", "request: GET /me\n    auth: [key]\n", "breaking", "actions.get_me.auth"),
    ("    timeout: 1m\n", "    timeout: 1m\n    idempotent: true\n", "additive", "actions.create_note.idempotent"),
    ("format: {const: full}", "format: {const: short}", "breaking", "actions.list_notes.constants"),
    ("    timeout: 1m\n", "    timeout: 1m\n    requires_plan: Pro\n", "breaking", "actions.create_note.requires_plan"),
    # of params
    ("author: {type: string, as: meta.author", "writer: {type: string, as: meta.author", "breaking", "actions.create_note.params.author"),
    ("      author: {type: string, as: meta.author, description: Who wrote it.}\n", "", "breaking", "actions.create_note.params.author"),
    ("as: meta.author", "as: meta.by", "breaking", "actions.create_note.params.author"),
    ("explode: false", "explode: true", "breaking", "actions.list_notes.params.tags"),
    ("author: {type: string,", "colour: {type: string, description: A colour.}\n      author: {type: string,", "additive", "actions.create_note.params.colour"),
    ("author: {type: string,", "author: {type: string, required: true,", "breaking", "actions.create_note.params.author"),
    ("description: Its title., required: true}", "description: Its title.}", "additive", "actions.create_note.params.title"),
    ("maxLength: 200", "maxLength: 100", "breaking", "actions.create_note.params.title"),
    ("maxLength: 200", "maxLength: 300", "additive", "actions.create_note.params.title"),
    ("enum: [newest, oldest]", "enum: [newest, oldest, random]", "additive", "actions.list_notes.params.order"),
    ("enum: [newest, oldest]", "enum: [newest]", "breaking", "actions.list_notes.params.order"),
    ("tag: {type: string, minLength: 1", "tag: {type: string, minLength: 2", "breaking", "actions.list_notes.params.tags"),
    ("id: {type: integer, description: Its id., required: true}", "id: {type: [integer, string], description: Its id., required: true}", "additive", "actions.get_note.params.id"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "kind", "at"), CHANGES, ids=[f"{case[3]}: {case[1][:30]!r}" for case in CHANGES]
)
def test_a_change_has_its_class_and_its_place(old: str, new: str, kind: str, at: str) -> None:
    found = changed(old, new)
    assert (kind, at) in [(one.kind, ".".join(one.at)) for one in found], found
    if kind == "additive":
        assert all(one.kind == "additive" for one in found), found


def test_a_new_name_is_told_with_the_old_one() -> None:
    found = {".".join(one.at): one.message for one in changed("  attach_file:\n", "  add_file:\n")}
    assert found["actions.attach_file"] == "Is called add_file now."
    renamed = changed("author: {type: string, as: meta.author", "writer: {type: string, as: meta.author")
    assert [(one.kind, one.message) for one in renamed] == [("breaking", "Is called writer now.")]


def test_words_examples_and_hints_change_no_contract() -> None:
    for old, new in [
        ("description: Its title.", "description: The title."),
        ("{status: 409, fix: Take another title.}", "{status: 409, fix: Take another.}"),
        ("params: {folder: home, title: Milk}", "params: {folder: work, title: Bread}"),
        ("every: 3s", "every: 5s"),
        ("default: newest", "default: oldest"),
    ]:
        assert changed(old, new) == []


def test_an_action_that_nobody_reviewed_promises_nothing() -> None:
    hidden = broken("whoami: {action: get_me, account: user.email, account_id: user.id}\n", "")
    hidden = hidden.replace("    request: GET /me\n", "    request: GET /me\n    lifecycle: unreviewed\n")
    before, after = load_definition(NOTES)[0], load_definition(hidden)[0]
    assert [(one.kind, one.at) for one in changes(contract_of(before), contract_of(after))] == [
        ("breaking", ("actions", "get_me"))
    ]
    assert [(one.kind, one.at) for one in changes(contract_of(after), contract_of(before))] == [
        ("additive", ("actions", "get_me"))
    ]


BREAKING = [Change(kind="breaking", at=("base_url",), message="x")]
ADDITIVE = [Change(kind="additive", at=("actions", "x"), message="x")]


@pytest.mark.parametrize(
    ("old", "new", "found", "enough"),
    [
        ("1.2.3", "1.2.3", [], False),
        ("1.2.3", "1.2.4", [], True),
        ("1.2.3", "1.2.4", ADDITIVE, True),
        ("1.2.3", "1.3.0", ADDITIVE, True),
        ("1.2.3", "1.2.2", ADDITIVE, False),
        ("1.2.3", "1.3.0", BREAKING, False),
        ("1.2.3", "2.0.0", BREAKING, True),
        ("0.2.3", "0.3.0", BREAKING, True),
        ("0.2.3", "0.2.4", BREAKING, False),
        ("0.9.0", "0.10.0", BREAKING, True),
        ("1.0.0-rc1", "2.0.0+build.7", BREAKING, True),
    ],
)
def test_a_version_says_as_much_as_semver_asks(old: str, new: str, found: list[Change], enough: bool) -> None:
    assert is_enough(old, new, found) is enough


# ---------------------------------------------------------------------- narrower schemas


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"type": "integer"}, {"type": "number"}, None),
        ({"type": "number"}, {"type": "integer"}, "no longer takes number"),
        ({"type": "string"}, {"type": ["string", "null"]}, None),
        ({"enum": ["a"]}, {"type": "string", "maxLength": 3}, None),
        ({"enum": ["abcd"]}, {"type": "string", "maxLength": 3}, "no longer takes abcd"),
        ({}, {"type": "string"}, "no longer takes"),
        ({"type": "string"}, {"type": "string", "format": "int32"}, None),
        ({"type": "string"}, {"type": "string", "format": "date"}, "the format date"),
        ({"type": "integer", "multipleOf": 4}, {"type": "integer", "multipleOf": 2}, None),
        ({"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 4}, "a multiple of 4"),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 0}, None),
        ({"type": "integer", "minimum": 0}, {"type": "integer", "exclusiveMinimum": 0}, "minimum"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": ["string", "null"]}, None),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"type": "object"}, {"type": "object", "properties": {"a": {"type": "string"}}}, "a no longer takes"),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False},
         {"type": "object", "properties": {"a": {}, "b": {"type": "string"}}, "additionalProperties": False}, None),
        ({"type": "object", "properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}, "required": ["a"]}, "requires a"),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "string", "pattern": "^a"}}, "[] must match"),
        ({"type": "array"}, {"type": "array", "uniqueItems": True, "maxItems": 5}, ""),
        ({"$ref": "#/$defs/x"}, {"type": "string"}, None),
        ({"type": "string"}, {"$ref": "#/$defs/y"}, "a maxLength of 3"),
        ({"$ref": "#/$defs/x"}, {"$ref": "#/$defs/x"}, None),
        ({"$ref": "#/$defs/y"}, {"$ref": "#/$defs/y"}, "a maxLength of 3"),
    ],
)  # fmt: skip
def test_a_schema_that_takes_less_is_told_by_what_it_refuses(old: Any, new: Any, words: str | None) -> None:
    found = narrower(
        old,
        new,
        {"x": {"type": "string"}, "y": {"type": "string"}},
        {"x": {"type": "string"}, "y": {"type": "string", "maxLength": 3}},
    )
    assert (found is None) is (words is None), found
    assert words is None or words in str(found)


SMALL = st.integers(0, 4)
LEAVES = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "null", ["string", "null"], ["integer", "string"]]),
            "minLength": SMALL,
            "maxLength": SMALL,
            "minimum": SMALL,
            "exclusiveMaximum": SMALL,
            "multipleOf": st.integers(1, 4),
            "pattern": st.sampled_from(["^a", "b$", "."]),
        },
    ),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["a", "ab", 1, 2, None, True]), min_size=1, max_size=3)}),
    st.booleans(),
    st.just({"$ref": "#/$defs/X"}),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={
                "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
                "required": st.lists(st.sampled_from("ab"), unique=True, max_size=2),
                "additionalProperties": inner,
                "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
                "minProperties": SMALL,
                "unevaluatedProperties": inner,
            },
        ),
        st.fixed_dictionaries(
            {"type": st.just("array")},
            optional={
                "items": inner,
                "maxItems": SMALL,
                "uniqueItems": st.booleans(),
                "contains": inner,
                "minContains": SMALL,
            },
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}, optional={"minimum": SMALL}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}, optional={"maxLength": SMALL}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"if": inner}, optional={"then": inner, "else": inner}),
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 6) | st.sampled_from([0.5, 2.0, "", "a", "ab", "b", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=600, deadline=None)
@given(
    SCHEMAS,
    SCHEMAS,
    LEAVES,
    LEAVES,
    st.sampled_from(["both", "drop", "swap"]),
    st.lists(VALUES, min_size=8, max_size=12),
)
def test_what_is_not_called_narrower_takes_all_that_was_taken(
    old: Any, other: Any, named: Any, renamed: Any, way: str, values: list[Any]
) -> None:
    assume("$ref" not in str(named) and "$ref" not in str(renamed))
    new = other
    if way == "drop" and isinstance(old, dict) and old:
        new = {key: value for key, value in old.items() if key != sorted(old)[0]}
    if way == "swap" and isinstance(old, dict) and isinstance(other, dict):
        new = {**old, **{key: value for key, value in other.items() if key in old}}
    if narrower(old, new, {"X": named}, {"X": renamed}) is not None:
        return
    before = compile_schema({**old, "$defs": {"X": named}} if isinstance(old, dict) else old)
    after = compile_schema({**new, "$defs": {"X": renamed}} if isinstance(new, dict) else new)
    for value in values:
        assert not before.is_valid(value) or after.is_valid(value)


@given(SCHEMAS)
def test_a_schema_is_not_narrower_than_itself_and_words_do_not_count(schema: Any) -> None:
    assert narrower(schema, schema, {"X": {}}, {"X": {}}) is None
    if isinstance(schema, dict):
        assert without_words({**schema, "description": "x", "examples": [1]}) == without_words(schema)


# ---------------------------------------------------------------------- the lock


def lock(folder: Path) -> None:
    found = {}
    for file in folder.glob("*.yaml"):
        integration, document = load_definition(file)
        found[integration.slug] = locked_from(integration, document)
    (folder / FILE).write_text(lock_text(found))


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(NOTES)
    lock(tmp_path)
    integration, document = load_definition(tmp_path / "notes.yaml")
    assert read_lock(tmp_path) == {"notes": locked_from(integration, document)}
    assert deviations(tmp_path, read_lock(tmp_path) or {}) == []
    # One line for each action, so that a change of one shows as one.
    assert sum(line.startswith('    "') for line in (tmp_path / FILE).read_text().splitlines()) == 5


def test_a_folder_without_a_lock_promises_nothing(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    assert warnings([tmp_path]) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"lock": 2, "integrations": {}}', '{"lock": 1, "integrations": {"a": {}}}', "[" * 9999]
)
def test_a_damaged_lock_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CatalogError, match="skillway catalog lock"):
        read_lock(tmp_path)


def test_an_operator_is_warned_of_a_change_that_no_version_tells_of(tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text(NOTES)
    lock(tmp_path)
    assert warnings([tmp_path, file]) == []

    file.write_text(broken("description: Its title.", "description: The title."))
    assert warnings([tmp_path]) == [f"{file}: notes is not what catalog.lock has of version 1.2.0; raise its version."]
    file.write_text(broken("maxLength: 200", "maxLength: 20").replace("version: 1.2.0", "version: 1.3.0"))
    (warning,) = warnings([tmp_path])
    assert "actions.create_note.params.title: Has a maxLength of 20 now." in warning
    file.write_text(broken("maxLength: 200", "maxLength: 20").replace("version: 1.2.0", "version: 2.0.0"))
    assert warnings([tmp_path]) == []


def test_the_shipped_catalog_is_what_its_lock_says() -> None:
    """After a change: raise the definition's `version`, then `skillway catalog lock skills_catalog/integrations`."""
    locked = read_lock(SHIPPED)
    assert locked is not None
    assert [one.integration.slug for one in deviations(SHIPPED, locked)] == []
    assert {load_definition(file)[0].slug for file in SHIPPED.glob("*.yaml")} == set(locked)
