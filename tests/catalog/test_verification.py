"""A definition is held against the vendor's description: every way to differ is found, where it stands."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from gateway.cli.trials import without_credential
from skills_catalog.importing.importer import Wish, import_operations
from skills_catalog.loader import load_definition, load_integration
from skills_catalog.mistakes import CatalogError
from skills_catalog.verification.comparing import Verification
from skills_catalog.verification.differences import KINDS, Compared, Difference
from skills_catalog.verification.paths import Part, Paths, is_server
from skills_catalog.verification.records import (
    Reason,
    explained,
    read_record,
    record_file,
    record_text,
    recorded,
)
from skills_catalog.verification.values import Values, readings
from tests.catalog.specs import NOTES_SPEC, SDL, described, openapi

NOTES = """\
slug: notes
name: Notes
description: Keeps the notes of a team.
base_url: https://api.notes.example/v1
auth: [{name: key, type: api_key, in: header, as: X-API-Key}]
actions:
  list_notes:
    description: List the notes of a folder.
    request: GET /folders/{folder}/notes
    params:
      folder: {type: string, required: true}
      tags: {type: array, items: {type: string}, explode: false}
      order: {type: string, enum: [newest, oldest], default: newest}
      limit: {type: integer, minimum: 1, maximum: 100}
    examples:
      - params: {folder: home, tags: [a, b], order: oldest, limit: 5}
        response: {status: 200, data: {notes: [{id: 1, title: Milk}], next_cursor: null}}
  create_note:
    description: Create a note.
    request: POST /folders/{folder}/notes
    effect: create
    params:
      folder: {type: string, required: true}
      title: {type: string, required: true}
      kind: {const: note}
      tags: {type: array, items: {type: string}}
    examples:
      - params: {folder: home, title: Milk, tags: [a]}
        response: {status: 201, data: {id: 9, title: Milk}}
  delete_note:
    description: Delete a note.
    request: DELETE /notes/{id}
    effect: delete
    params:
      id: {type: integer, required: true}
    examples:
      - params: {id: 9}
        response: {status: 204}
"""


def compare(text: str, spec: Any = NOTES_SPEC, source: str = "spec.json") -> dict[str, Compared]:
    integration = load_integration(text)
    verification = Verification(described(spec, source), without_credential)
    return {name: verification.compare(integration, skill) for name, skill in integration.skills.items()}


def differences(text: str, spec: Any = NOTES_SPEC) -> list[tuple[str, str, str]]:
    return [
        (one.kind, f"{action}.{'.'.join(map(str, one.at))}", one.message)
        for action, compared in compare(text, spec).items()
        for one in compared.differences
    ]


def edited(old: str, new: str) -> str:
    assert NOTES.count(old) >= 1, old
    return NOTES.replace(old, new, 1)


def test_a_definition_that_says_what_the_vendor_says_matches() -> None:
    found = compare(NOTES)
    assert {name: (one.verdict, one.operation) for name, one in found.items()} == {
        "list_notes": ("matches", "GET /folders/{folder}/notes"),
        "create_note": ("matches", "POST /folders/{folder}/notes"),
        "delete_note": ("matches", "DELETE /notes/{id}"),
    }


DIFFERING = [
    # what is declared
    ("tags: {type: array, items: {type: string}, explode", "tags: {type: array, as: tagz, items: {type: string}, explode",
     [("unknown-param", "list_notes.params.tags", "knows no tagz in the query")]),
    ("      tags: {type: array, items: {type: string}}\n", "      tags: {type: array, items: {type: string}, in: query}\n",
     [("location", "create_note.params.tags", "goes into the query here; the vendor has it in the body")]),
    ("title: {type: string, required: true}", "title: {type: string}",
     [("optional-param", "create_note.params.title", "requires title")]),
    ("      kind: {const: note}\n", "",
     [("missing-param", "create_note.params", "requires kind in the body"),
      ("value", "create_note.examples.0.params", "lacks kind")]),
    ("      kind: {const: note}\n", "      kind: {const: list}\n",
     [("value", "create_note.params.kind", "must be one of note"),
      ("value", "create_note.examples.0.params.kind", "must be one of note")]),
    ("enum: [newest, oldest]", "enum: [newest, oldest, alphabetical]",
     [("enum", "list_notes.params.order", "does not list alphabetical")]),
    ("enum: [newest, oldest], default: newest}", "enum: [oldest]}",
     [("enum", "list_notes.params.order", "also lists newest")]),
    ("default: newest", "default: oldest", [("default", "list_notes.params.order", "assumes newest")]),
    ("limit: {type: integer, minimum: 1, maximum: 100}", "limit: {type: number, minimum: 1}",
     [("type", "list_notes.params.limit", "Takes number; the vendor wants integer")]),
    ("title: {type: string, required: true}", "title: {type: [string, integer], required: true}",
     [("type", "create_note.params.title", "Takes integer; the vendor wants string")]),
    ("explode: false", "explode: true", [("style", "list_notes.params.tags", "joins the items by commas")]),
    ("    effect: delete\n", "    effect: delete\n    deprecated: {since: '2026-01-01'}\n",
     [("deprecated", "delete_note.deprecated", "does not call it deprecated")]),
    # where it goes
    ("request: DELETE /notes/{id}", "request: PUT /notes/{id}", [("method", "delete_note.request", "has DELETE there, not PUT")]),
    ("https://api.notes.example/v1", "https://api.memos.example/v1", [("host", "list_notes.request", "https://api.notes.example")]),
    ("https://api.notes.example/v1", "https://api.notes.example/v2", [("base-path", "list_notes.request", "/folders/{folder}/notes at")]),
    # what is sent
    ("limit: 5}", "limit: 5, folder: home}", []),
    ("      - params: {folder: home, title: Milk, tags: [a]}", "      - params: {folder: home, title: Milk, tags: [a, a, a, a, a, a]}",
     [("value", "create_note.examples.0.params.tags", "at most 5 items")]),
    ("    request: POST /folders", "    headers: {Content-Type: text/plain}\n    request: POST /folders",
     [("media-type", "create_note.params", "Sends text/plain; the vendor takes application/json")]),
    ("      id: {type: integer, required: true}", "      id: {type: integer, required: true}\n      why: {type: string, in: body}",
     [("body", "delete_note.params", "describes no body")]),
    # what is shown
    ("data: {id: 9, title: Milk}", "data: {id: nine, title: Milk}",
     [("answer", "create_note.examples.0.response.data.id", "must be a whole number")]),
    ("data: {id: 9, title: Milk}", "data: {id: 9, titel: Milk}",
     [("answer", "create_note.examples.0.response.data", "unknown names: titel")]),
    ("{status: 201, data: {id: 9", "{status: 202, data: {id: 9",
     [("status", "create_note.examples.0.response.status", "describes 201, not 202")]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), DIFFERING, ids=[f"{case[1][:60]}" for case in DIFFERING])
def test_what_differs_is_found_where_it_stands(old: str, new: str, expected: list[tuple[str, str, str]]) -> None:
    text = edited(old, new)
    if "limit: 5, folder" in new:
        # A name twice is the loader's matter.
        with pytest.raises(CatalogError):
            load_integration(text)
        return
    found = differences(text)
    for kind, at, words in expected:
        assert any((kind, at) == one[:2] and words in one[2] for one in found), found
    assert {one[0] for one in found} == {one[0] for one in expected}


def test_every_kind_of_difference_is_tried_or_has_a_test_of_its_own() -> None:
    tried = {one[0] for case in DIFFERING for one in case[2]}
    assert set(KINDS) - tried == {"document", "request"}


def test_an_action_that_the_vendor_does_not_describe_says_only_that() -> None:
    text = edited("request: DELETE /notes/{id}", "request: DELETE /memos/{id}")
    assert compare(text)["delete_note"].verdict == "not described"


def test_an_example_that_makes_no_request_differs_and_the_rest_is_compared() -> None:
    text = edited("params: {id: 9}", "params: {id: nine}").replace("id: {type: integer", "id: {in: path, type: integer")
    found = compare(text.replace("    effect: delete\n", "    effect: delete\n    deprecated: {since: '2026-01-01'}\n"))
    assert [(one.kind, one.at) for one in found["delete_note"].differences] == [
        ("request", ("examples", 0)),
        ("deprecated", ("deprecated",)),
    ]


def test_a_name_within_the_body_that_nobody_knows_is_found_though_objects_are_open() -> None:
    spec = copy.deepcopy(NOTES_SPEC)
    spec["components"]["schemas"]["NewNote"]["allOf"][1]["properties"]["author"] = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
    }
    text = edited("      kind: {const: note}\n", "      kind: {const: note}\n      author: {type: object}\n")
    text = text.replace("title: Milk, tags: [a]}", "title: Milk, author: {nmae: Ada}}")
    assert [one[:2] for one in differences(text, spec)] == [("value", "create_note.examples.0.params.author")]
    spec["components"]["schemas"]["NewNote"]["allOf"][1]["properties"]["author"]["additionalProperties"] = True
    assert differences(text, spec) == []


def test_paths_that_differ_in_their_values_alone_are_told_apart_by_the_values() -> None:
    """As Google has them: one template of one variable for many kinds of things, the kind being in the value."""
    def get(kind: str, answer: str) -> dict[str, Any]:
        return {
            "id": f"notes.{kind}.get",
            "path": "v1/{+name}",
            "httpMethod": "GET",
            "parameters": {"name": {"location": "path", "required": True, "type": "string", "pattern": f"^{kind}/[^/]+$"}},
            "response": {"$ref": answer},
        }

    people, places = get("people", "Person"), get("places", "Place")
    share = {**get("places", "Place"), "id": "notes.places.share", "path": "v1/{+name}:share", "response": {"$ref": "Share"}}
    # Its variable could hold the end of a name as well.
    key = {"location": "path", "required": True, "type": "string"}
    two = {"key": {**key, "pattern": "^[^/]+$"}, "kind": {**key, "pattern": "^[^/]+$"}}
    any_place = {"id": "notes.any", "path": "v1/places/{key}", "httpMethod": "GET", "parameters": {"key": key}}
    spec = {
        "kind": "discovery#restDescription", "name": "notes", "version": "v1", "title": "Notes API",
        "rootUrl": "https://notes.example/", "servicePath": "",
        "resources": {
            "people": {"methods": {"get": people}},
            "places": {"methods": {"get": places, "share": share}},
            "kinds": {"methods": {"get": {**any_place, "id": "notes.kinds", "path": "v1/{+key}/{+kind}", "parameters": two}}},
            "any": {"methods": {"get": {**any_place, "path": "v1/people/{key}/parts"}}},
        },
        "schemas": {
            "Person": {"id": "Person", "type": "object", "properties": {"age": {"type": "integer"}}},
            "Share": {"id": "Share", "type": "object", "properties": {"link": {"type": "string"}}},
            "Place": {"id": "Place", "type": "object", "properties": {"city": {"type": "string"}}},
        },
    }  # fmt: skip
    description = described(spec)
    made = import_operations(description, description.operations, Wish(slug="notes"))
    integration, _ = load_definition(made.text("made"))
    verification = Verification(description, without_credential)
    found = {name: verification.compare(integration, skill) for name, skill in integration.skills.items()}
    assert {name: (one.verdict, one.differences) for name, one in found.items() if one.verdict != "matches"} == {}
    assert len(found) == 5


def test_a_vendor_who_describes_no_success_is_not_contradicted_by_one() -> None:
    spec = copy.deepcopy(NOTES_SPEC)
    spec["paths"]["/notes/{id}"]["delete"]["responses"] = {"401": {"description": "Who are you?"}}
    assert compare(NOTES, spec)["delete_note"].verdict == "matches"


def test_a_wrapped_body_is_followed_into_its_wrapper() -> None:
    spec = openapi(
        {
            "/tasks": {
                "post": {
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["data"],
                                    "properties": {
                                        "data": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {"name": {"type": "string"}, "note": {"type": "string"}},
                                        }
                                    },
                                }
                            }
                        },
                    }
                }
            }
        }
    )
    head = NOTES.partition("actions:")[0]
    action = """\
actions:
  create_task:
    description: Create a task.
    request: POST /tasks
    effect: create
    params:
      name: {type: string, as: data.name, required: true}
    examples: [{params: {name: Milk}, response: {status: 200}}]
"""
    assert differences(head + action, spec) == []
    assert [one[0] for one in differences(head + action.replace("data.name", "data.nam"), spec)] == [
        "unknown-param",
        "missing-param",
        "value",
    ]


@pytest.mark.parametrize(
    ("template", "value", "operation"),
    [
        ("/repos/{+repo}/issues", "acme/webapp", "GET /repos/{owner}/{repo}/issues"),
        ("/files/{+path}", "docs/a/b.md", "GET /files/{path}"),
        ("/users/me", "", "GET /users/me"),
        ("/users/{repo}", "ada", "GET /users/{name}"),
        ("/users/ada", "", "GET /users/{name}"),
        # Word for word is better than a variable; what cannot be a value is none.
        ("/accounts/starred", "", ""),
        ("/compare/{repo}...main", "dev", "GET /compare/{basehead}"),
    ],
)
def test_a_path_finds_its_operation(template: str, value: str, operation: str) -> None:
    spec = openapi(
        {
            path: {
                "get": {"parameters": [{"name": name, "in": "path", "schema": {"type": kind}} for name, kind in names]}
            }
            for path, names in {
                "/repos/{owner}/{repo}/issues": [],
                "/files/{path}": [],
                "/users/me": [],
                "/users/{name}": [("name", "string")],
                "/accounts/{id}": [("id", "integer")],
                "/compare/{basehead}": [],
            }.items()
        }
    )
    name = template.partition("{")[2].strip("+").partition("}")[0]
    params = f"params: {{{name}: {{type: string, required: true}}}}" if name else "cost: 1"
    example = f"{{params: {{{name}: {value}}}, response: {{status: 200}}}}" if name else "{response: {status: 200}}"
    text = (
        NOTES.partition("actions:")[0]
        + f"""\
actions:
  get_it:
    description: Get it, whatever it is.
    request: GET {template}
    {params}
    examples: [{example}]
"""
    )
    assert compare(text, spec)["get_it"].operation == operation


def test_hosts_with_fields_are_the_vendors_where_they_could_be() -> None:
    servers = ["https://{region}.notes.example/v1", "https://eu.notes.example"]
    assert is_server("https://eu.notes.example/v2", servers)
    assert is_server("https://{team}.notes.example", servers)
    assert is_server("https://{domain}", servers)
    assert not is_server("https://notes.example.evil", servers)
    assert not is_server("https://memos.example", servers)
    assert is_server("https://anything.example", [])


def test_paths_are_found_fast_however_many_there_are() -> None:
    spec = openapi({f"/a{n}/{{x}}/b/{{y}}": {"get": {}} for n in range(1500)})
    description = described(spec)
    paths = Paths(description, Values({}))
    found = paths.find("GET", [Part("v1", fixed=True), Part("a1499"), Part("1"), Part("b"), Part("2")])
    assert found is not None
    assert (found.operation.path, found.values) == ("/a1499/{x}/b/{y}", {"x": "1", "y": "2"})


def test_a_text_may_stand_for_what_the_schema_wants() -> None:
    assert list(readings("5", frozenset({"integer"}))) == [5, "5"]
    assert list(readings("true", frozenset({"boolean", "string"}))) == [True, "true"]
    assert list(readings("x", frozenset({"integer"}))) == ["x"]


# ---------------------------------------------------------------------- GraphQL


def graphql(document: str, variables: str = '{id: "1"}') -> str:
    head = NOTES.partition("actions:")[0].replace("/v1", "")
    return (
        head
        + f"""\
actions:
  ask:
    description: Ask for something.
    request: POST /graphql
    effect: read
    params:
      query: {{const: {json.dumps(document)}}}
      variables: {{type: object}}
    examples: [{{params: {{variables: {variables}}}, response: {{status: 200, data: {{}}}}}}]
"""
    )


def test_a_document_that_fits_the_schema_matches() -> None:
    text = graphql("query q($id: ID!) { note(id: $id) { id ...Who } } fragment Who on Note { author { name } }")
    found = compare(text, SDL, "schema.graphql")["ask"]
    assert (found.verdict, found.operation) == ("matches", "query note")
    assert found.keys == {"POST /graphql Query.note"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{ nothing }", "Query.nothing is not there"),
        ("query ($id: ID!) { note(id: $id) }", "needs a selection"),
        ("query ($id: ID!) { note(id: $id) { id { x } } }", "has no fields to select"),
        ("query ($id: ID!) { note(id: $id) { author { password } } }", "User.password is deprecated"),
        ("query ($id: ID!) { note(key: $id) { id } }", "has no argument key"),
        ("{ note { id } }", "requires the argument id"),
        ("query ($id: String!) { note(id: $id) { id } }", "$id is String!, and Query.note(id) wants ID!"),
        ("query ($id: ID) { note(id: $id) { id } }", "wants ID!"),
        ("query ($id: ID!, $x: Gone) { note(id: $id) { id } }", "the type Gone"),
        ("query ($other: ID!) { note(id: $other) { id } }", "$other is required, and the example does not give it"),
        ('mutation { noteCreate(input: {kind: AUDIO}) { note { id } } }', "must be one of TEXT, LIST"),
        ('mutation { noteCreate(input: {kind: TEXT}) { note { id } } }', "NoteInput requires title"),
        ('mutation { noteCreate(input: {title: "x", colour: 1}) { note { id } } }', "NoteInput has no colour"),
        ("subscription { note }", "has no subscription"),
        ("query q { note", "is no GraphQL: line 1"),
    ],
)  # fmt: skip
def test_a_document_that_does_not_fit_is_told_why(document: str, words: str) -> None:
    found = compare(graphql(document), SDL, "schema.graphql")["ask"]
    assert found.verdict == "differs"
    assert any(words in one.message for one in found.differences), found.differences


# ---------------------------------------------------------------------- reasons


DIFFERENCE = Difference(kind="enum", at=("params", "order"), message="x")


@pytest.mark.parametrize(
    ("reason", "explains"),
    [
        (Reason(action="list_notes", differs="enum", at="params.order", reason="It is so."), True),
        (Reason(action="list_*", differs="enum", reason="It is so."), True),
        (Reason(action="*", differs="enum", at="params.*", reason="It is so."), True),
        (Reason(action="*", differs="type", reason="It is so."), False),
        (Reason(action="get_*", differs="enum", reason="It is so."), False),
        (Reason(action="*", differs="enum", at="params.tags", reason="It is so."), False),
    ],
)
def test_a_reason_explains_what_it_names(reason: Reason, explains: bool) -> None:
    compared = Compared(action="list_notes", verdict="differs", operation="GET /x", differences=(DIFFERENCE,))
    (found,), unused = explained([compared], [reason])
    assert (found.verdict, found.explained, unused) == (("matches", 1, []) if explains else ("differs", 0, [reason]))


def test_a_record_is_read_as_it_was_written(tmp_path: Any) -> None:
    description = described(NOTES_SPEC, "https://notes.example/spec.json?x=1")
    found, _ = explained(list(compare(NOTES).values()), [])
    reasons = [Reason(action="*", differs="not described", reason="They are not in it yet.")]
    record = recorded(description, found, reasons, "2026-11-29", ["tag:Notes"])
    file = record_file(tmp_path / "notes.yaml")
    file.parent.mkdir()
    file.write_text(record_text(record, "notes.yaml"))

    assert file == tmp_path / "verified" / "notes.yaml"
    assert read_record(file) == record
    assert (record.file, record.actions, record.match) == ("spec.json", 3, 3)
    assert read_record(tmp_path / "gone.yaml") is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("actions: 3", "actions: many", "Must be a number of actions"),
        ("actions: 3", "actoins: 3", "Did you mean actions?"),
        ("differs: not described", "differs: enums", "Did you mean enum?"),
        ("reason: They are not in it yet.", "reason: because", "Say in a sentence"),
    ],
)
def test_a_record_that_is_wrong_names_its_line(tmp_path: Any, old: str, new: str, words: str) -> None:
    found, _ = explained(list(compare(NOTES).values()), [])
    reasons = [Reason(action="*", differs="not described", reason="They are not in it yet.")]
    text = record_text(recorded(described(NOTES_SPEC), found, reasons, "2026-11-29"), "notes.yaml")
    assert old in text
    file = tmp_path / "notes.yaml"
    file.write_text(text.replace(old, new))
    with pytest.raises(CatalogError, match=words) as refusal:
        read_record(file)
    assert refusal.value.problems[0].line > 2
