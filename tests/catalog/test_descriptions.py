"""Every kind of description becomes the same small model; hostile ones are refused before they cost anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skills_catalog.descriptions import documents
from skills_catalog.descriptions.documents import read_document
from skills_catalog.descriptions.model import DescriptionError
from skills_catalog.descriptions.reading import read_description, read_file
from skills_catalog.descriptions.sdl import Argument, TypeRef, parse_schema
from tests.blowup import no_blowup
from tests.catalog.specs import NOTES_SPEC, SDL, described, only, openapi

ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------------- OpenAPI


def test_an_openapi_document_becomes_operations() -> None:
    description = described(NOTES_SPEC)

    assert (description.kind, description.title, description.version) == ("OpenAPI 3.1", "Notes API", "1.4")
    assert description.servers == ("https://api.notes.example/v1",)
    assert description.docs_url == "https://notes.example/docs"
    assert len(description.digest) == 64
    listing, making, deleting, _ = description.operations
    assert (listing.id, listing.line) == ("notes/list", "GET /folders/{folder}/notes")
    assert [(one.name, one.location, one.required, one.explode) for one in listing.parameters][:2] == [
        ("folder", "path", True, False),
        ("tags", "query", False, False),
    ]
    assert making.body is not None
    assert making.body.required
    assert list(making.body.media) == ["application/json"]
    assert making.security == ({"oauth": ("notes",)}, {"key": ()})
    assert [one.status for one in deleting.responses] == ["204"]
    oauth = description.schemes["oauth"]
    assert (oauth.type, oauth.flows[0].token_url) == ("oauth2", "/oauth/token")
    assert description.schemes["key"].key_name == "X-API-Key"


def test_a_parameter_of_the_operation_replaces_that_of_its_path() -> None:
    path = {
        "parameters": [
            {"name": "a", "in": "query", "schema": {"type": "string"}},
            {"name": "b", "in": "query", "schema": {"type": "string"}},
        ],
        "get": {
            "parameters": [{"name": "a", "in": "query", "schema": {"type": "integer"}}],
            "responses": {"200": {"description": "x"}},
        },
    }
    found = {one.name: one.schema for one in only(described(openapi({"/x": path}))).parameters}
    assert found == {"a": {"type": "integer"}, "b": {"type": "string"}}


def test_the_dialect_of_openapi_3_0_becomes_json_schema() -> None:
    schema = {
        "type": "object",
        "required": True,
        "properties": {
            "a": {"type": "string", "nullable": True, "enum": ["x"]},
            "b": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
            "c": {"nullable": True, "allOf": [{"type": "string"}]},
            "d": {"type": "any", "example": 5},
            "e": {"type": "string", "format": "uuid", "example": "not a uuid"},
            "f": {"type": "string", "pattern": "(?=a)b"},
        },
    }
    body = {"content": {"application/json": {"schema": schema}}}
    document = openapi({"/x": {"post": {"requestBody": body}}}, openapi="3.0.3")
    operation = only(described(document))
    assert operation.body is not None
    assert operation.body.media["application/json"] == {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"], "enum": ["x", None]},
            "b": {"type": "number", "exclusiveMinimum": 0},
            "c": {"anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}]},
            "d": {"examples": [5]},
            # A format that the vendor's own example does not have is a slip of the pen.
            "e": {"type": "string", "examples": ["not a uuid"]},
            # A pattern that no linear engine takes says nothing to us.
            "f": {"type": "string"},
        },
    }


def test_references_lead_anywhere_within_the_document() -> None:
    document = openapi(
        {
            "/x~y/z": {
                "post": {
                    "parameters": [{"$ref": "#/components/parameters/Page"}],
                    "requestBody": {"$ref": "#/components/requestBodies/Made"},
                    "responses": {"200": {"$ref": "#/components/responses/Fine"}},
                }
            }
        },
        components={
            "parameters": {
                "Page": {"name": "page", "in": "query", "schema": {"$ref": "#/components/schemas/odd name"}}
            },
            "requestBodies": {"Made": {"content": {"application/json": {"schema": {"$ref": "#/paths/~1x~0y~1z"}}}}},
            "responses": {"Fine": {"description": "Fine", "content": {"application/json": {}}}},
            "schemas": {"odd name": {"type": "integer"}},
        },
    )
    operation = only(described(document))
    description = described(document)
    assert operation.parameters[0].schema == {"$ref": "#/$defs/odd_name"}
    assert description.definitions["odd_name"] == {"type": "integer"}
    assert operation.responses[0].media == {"application/json": None}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("https://evil.example/schemas.json#/Pet", "leads out of the file"),
        ("file:///etc/passwd", "leads out of the file"),
        ("other.yaml#/Pet", "leads out of the file"),
        ("#/components/schemas/Gone", "is not there"),
    ],
)
def test_an_operation_that_names_what_cannot_be_followed_is_named_with_the_reason(reference: str, words: str) -> None:
    document = openapi(
        {
            "/bad": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}
                }
            },
            "/good": {"get": {"responses": {}}},
        },
        components={"schemas": {"A": {"type": "object", "properties": {"b": {"$ref": reference}}}}},
    )
    description = described(document)
    assert [one.path for one in description.operations] == ["/good"]
    assert words in description.unreadable["POST /bad"]
    del document["paths"]["/good"]
    with pytest.raises(DescriptionError, match=words):
        described(document)


def test_references_that_lead_round_in_a_circle_are_told() -> None:
    document = openapi(
        {"/x": {"get": {"parameters": [{"$ref": "#/components/parameters/A"}]}}, "/y": {"get": {}}},
        components={
            "parameters": {"A": {"$ref": "#/components/parameters/B"}, "B": {"$ref": "#/components/parameters/A"}}
        },
    )
    assert "round in a circle" in described(document).unreadable["GET /x"]


def test_a_schema_that_refers_to_itself_is_read() -> None:
    document = openapi(
        {
            "/x": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}}
                }
            }
        },
        components={
            "schemas": {"Tree": {"type": "object", "properties": {"below": {"$ref": "#/components/schemas/Tree"}}}}
        },
    )
    assert described(document).definitions["Tree"]["properties"]["below"] == {"$ref": "#/$defs/Tree"}


def test_a_parameter_that_carries_the_credential_is_told_from_the_others() -> None:
    document = openapi(
        {
            "/x": {
                "get": {
                    "parameters": [
                        {"name": "token", "in": "header", "description": "Authentication token."},
                        {"name": "X-Key", "in": "header"},
                        {"name": "token", "in": "query", "description": "Token of the next page."},
                    ]
                }
            }
        },
        components={"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-key"}}},
    )
    assert [one.credential for one in only(described(document)).parameters] == [True, True, False]


# ---------------------------------------------------------------------- the other kinds


def test_a_swagger_document_has_its_form_as_a_body() -> None:
    document = {
        "swagger": "2.0",
        "info": {"title": "Old", "version": "1"},
        "host": "old.example",
        "basePath": "/api",
        "schemes": ["http", "https"],
        "paths": {
            "/chat.post": {
                "post": {
                    "operationId": "chat_post",
                    "consumes": ["application/x-www-form-urlencoded", "application/json"],
                    "parameters": [
                        {"name": "token", "in": "formData", "type": "string", "description": "Authentication token"},
                        {"name": "text", "in": "formData", "type": "string", "required": True},
                        {"name": "ids", "in": "query", "type": "array", "items": {"type": "string"}},
                        {"name": "more", "in": "query", "type": "array", "collectionFormat": "multi", "items": {}},
                    ],
                    "responses": {"200": {"description": "ok", "examples": {"application/json": {"ok": True}}}},
                }
            },
            "/upload": {"post": {"parameters": [{"name": "f", "in": "formData", "type": "file"}], "responses": {}}},
        },
    }
    description = described(document)
    posting, uploading = description.operations
    assert description.servers == ("https://old.example/api",)
    assert posting.body is not None
    assert uploading.body is not None
    assert list(posting.body.media) == ["application/x-www-form-urlencoded", "application/json"]
    schema = posting.body.media["application/json"]
    assert (list(schema["properties"]), schema["required"]) == (["text"], ["text"])
    assert [(one.name, one.explode) for one in posting.parameters] == [("ids", False), ("more", True)]
    assert posting.responses[0].examples == ({"ok": True},)
    assert list(uploading.body.media) == ["multipart/form-data"]


def test_a_discovery_document_has_its_numbers_as_numbers() -> None:
    document = {
        "kind": "discovery#restDescription",
        "name": "mail",
        "version": "v1",
        "baseUrl": "https://mail.example/v1/",
        "auth": {"oauth2": {"scopes": {"https://a/read": {"description": "Read"}, "https://a/all": {}}}},
        "schemas": {
            "Thread": {
                "id": "Thread",
                "type": "object",
                "properties": {
                    "id": {"type": "string", "description": "Output only. Its id."},
                    "below": {"type": "array", "items": {"$ref": "Thread"}},
                },
            }
        },
        "resources": {
            "users": {
                "resources": {
                    "threads": {
                        "methods": {
                            "get": {
                                "id": "mail.users.threads.get",
                                "httpMethod": "GET",
                                "path": "users/{userId}/{+name}",
                                "scopes": ["https://a/read", "https://a/all"],
                                "parameters": {
                                    "userId": {"location": "path", "type": "string", "required": True},
                                    "name": {"location": "path", "type": "string", "required": True},
                                    "max": {"location": "query", "type": "integer", "maximum": "500", "default": "10"},
                                    "label": {"location": "query", "type": "string", "repeated": True},
                                },
                                "response": {"$ref": "Thread"},
                            }
                        }
                    }
                }
            }
        },
    }
    operation = only(described(document))
    assert (operation.id, operation.line) == ("users.threads.get", "GET /users/{userId}/{name}")
    assert (operation.any_scope, len(operation.security)) == (True, 2)
    by_name = {one.name: one for one in operation.parameters}
    assert by_name["name"].multi_segment
    assert by_name["max"].schema == {"type": "integer", "maximum": 500, "default": 10}
    assert by_name["label"].schema == {"type": "array", "items": {"type": "string"}}
    description = described(document)
    assert description.definitions["Thread"]["properties"]["id"]["readOnly"] is True


def test_a_graphql_schema_becomes_operations_with_documents_ready_to_send() -> None:
    description = described(SDL, "schema.graphql")
    documents = {
        one.id: one.body.media["application/json"]["properties"]["query"]["const"]
        for one in description.operations
        if one.body
    }
    assert (
        documents["Query.note"] == "query note($id: ID!) { note(id: $id) { id title made author { id name email } } }"
    )
    assert documents["Query.notes"] == (
        "query notes($first: Int, $after: String, $filter: NoteFilter) { notes(first: $first, after: $after, "
        "filter: $filter) { nodes { id title made author { id name email } } pageInfo { hasNextPage endCursor } } }"
    )
    assert documents["Mutation.noteDelete"] == "mutation noteDelete($id: ID!) { noteDelete(id: $id) }"
    assert description.definitions["NoteInput"]["required"] == ["title"]
    assert description.definitions["Kind"]["enum"] == ["TEXT", "LIST"]


@pytest.mark.parametrize(
    "text",
    [
        "type Query { a(: Int }",
        "type Query { a: [Int }",
        'type Query { a: Int @d(x: "unclosed) }',
        "type Query { a: " + "[" * 100 + "Int" + "]" * 100 + " }",
        "type Query { a: Int } type Other ? { b: Int }",
        "type Other { a: Int }",
        "query { a }",
    ],
)
def test_what_is_no_schema_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(
        DescriptionError, match=r"schema\.graphql: (is not a GraphQL schema: line \d+|has no operation)"
    ):
        described(text, "schema.graphql")


def introspection(text: str) -> dict[str, Any]:
    """What a server with this schema answers to an introspection query."""
    schema = parse_schema(text)
    kinds = {made.name: "INPUT_OBJECT" if made.kind == "input" else made.kind.upper() for made in schema.types.values()}

    def reference(kind: TypeRef) -> dict[str, Any]:
        named = {"kind": kinds.get(kind.name, "SCALAR"), "name": kind.name, "ofType": None}
        made = {"kind": "LIST", "name": None, "ofType": reference(kind.of)} if kind.of else named
        return {"kind": "NON_NULL", "name": None, "ofType": made} if kind.required else made

    def argument(name: str, said: Argument) -> dict[str, Any]:
        default = "1" if said.has_default else None
        return {"name": name, "description": said.description, "type": reference(said.type), "defaultValue": default}

    types = [
        {
            "kind": kinds[made.name],
            "name": made.name,
            "description": made.description or None,
            "fields": [
                {
                    "name": name,
                    "description": field.description or None,
                    "args": [argument(*one) for one in field.arguments.items()],
                    "type": reference(field.type),
                    "isDeprecated": field.deprecated,
                }
                for name, field in made.fields.items()
            ],
            "inputFields": [argument(*one) for one in made.inputs.items()] or None,
            "enumValues": [{"name": value} for value in made.values] or None,
        }
        for made in schema.types.values()
    ]
    own = {"kind": "OBJECT", "name": "__Type", "fields": []}
    return {
        "queryType": {"name": schema.roots["query"]},
        "mutationType": {"name": schema.roots["mutation"]},
        "types": [*types, own],
    }


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_a_server_tells_of_its_schema_is_read_like_the_schema(wrapped: bool) -> None:
    document: dict[str, Any] = {"__schema": introspection(SDL)}
    told = described({"data": document} if wrapped else document, "schema.json")
    written = described(SDL, "schema.graphql")
    assert told.kind == "GraphQL"
    assert told.operations == written.operations
    assert told.definitions == written.definitions


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "THING"},
        {"kind": "OBJECT", "fields": [{"name": "a", "type": {"kind": "NON_NULL", "ofType": None}}]},
        {"kind": "OBJECT", "fields": [{"name": "a"}]},
    ],
)
def test_an_introspection_that_breaks_off_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DescriptionError, match=r"schema\.json: is not a GraphQL schema"):
        described({"__schema": {"queryType": {"name": "Query"}, "types": [{"name": "Query", **change}]}}, "schema.json")


def test_a_method_of_a_discovery_document_is_about_its_resource() -> None:
    document = {
        "kind": "discovery#restDescription",
        "name": "mail",
        "title": "Mail API",
        "baseUrl": "https://www.googleapis.com/mail/v1/",
        "resources": {
            "users": {
                "methods": {"getProfile": {"id": "mail.users.getProfile", "path": "profile", "httpMethod": "GET"}},
                "resources": {
                    "messages": {
                        "methods": {
                            "list": {
                                "id": "mail.users.messages.list",
                                "path": "messages",
                                "httpMethod": "GET",
                                "scopes": ["https://x.example/mail.addons.all", "https://x.example/mail.readonly"],
                            }
                        }
                    }
                },
            }
        },
    }
    operations = described(document).operations
    assert [(one.id, one.tags) for one in operations] == [
        ("users.getProfile", ("users",)),
        ("users.messages.list", ("messages",)),
    ]
    # What add-ons are granted is granted to nobody else.
    assert operations[1].security == ({"oauth2": ("https://x.example/mail.readonly",)},)


# ---------------------------------------------------------------------- files as they come


def test_yaml_is_read_as_yaml_1_2_has_it() -> None:
    value = read_document(
        b"a: no\nb: 2026-01-01\nc: 0x1\nd: True\ne: ~\nf: 1.50\n200: x\ng: '1'\nh: &x [1, 2]\ni: *x\nj: 1_0\n", "s.yaml"
    )
    assert value == {
        "a": "no",
        "b": "2026-01-01",
        "c": "0x1",
        "d": True,
        "e": None,
        "f": 1.5,
        "200": "x",
        "g": "1",
        "h": [1, 2],
        "i": [1, 2],
        "j": "1_0",
    }


def test_what_is_no_description_says_so() -> None:
    for content in (b"[]", b"{}", b"a: b", b'{"openapi": "2.0"}', b'{"swagger": "1.2"}', b"just text"):
        with pytest.raises(DescriptionError, match="spec: is n"):
            read_description(content, "spec")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="No such file"):
        read_file(tmp_path / "gone.yaml")
    with pytest.raises(DescriptionError, match="Is a directory"):
        read_file(tmp_path)


def aliases(depth: int) -> bytes:
    """`lol`: each line ten times the one before it."""
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, depth):
        lines.append(b"a%d: &a%d [%s]" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 10)))
    return b"\n".join(lines)


def referring(levels: int) -> bytes:
    """Schemas that each name the next one twice: written out, two to the power of the levels."""
    schemas: dict[str, Any] = {
        f"S{n}": {
            "type": "object",
            "properties": {
                "a": {"$ref": f"#/components/schemas/S{n + 1}"},
                "b": {"$ref": f"#/components/schemas/S{n + 1}"},
            },
        }
        for n in range(levels)
    }
    schemas[f"S{levels}"] = {"type": "string"}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}}
    document = openapi({"/x": {"post": {"requestBody": body}}}, components={"schemas": schemas})
    return json.dumps(document).encode()


HOSTILE: list[tuple[str, Callable[[], bytes], str]] = [
    ("a hundred megabytes", lambda: b" " * 100_000_000, "is larger than 24 MB"),
    ("deep JSON", lambda: b"[" * 100_000 + b"]" * 100_000, "deeper than 100 levels"),
    ("JSON a little too deep", lambda: b'{"a":' * 300 + b"1" + b"}" * 300, "deeper than 100 levels"),
    ("deep YAML", lambda: b"- " * 100_000 + b"x", "deeper than 100 levels"),
    ("deep flow YAML", lambda: b"a: " + b"[" * 100_000, "deeper than 100 levels"),
    ("a bomb of aliases", lambda: aliases(15), "more than 2000000 parts"),
    ("deep aliases", lambda: b"\n".join([b"a0: &a0 [x]", *(b"a%d: &a%d [*a%d]" % (n, n, n - 1) for n in range(1, 200))]),
     "deeper than 100 levels"),
    ("an alias of itself", lambda: b"a: &a [*a]", "names nothing that is complete"),
    ("an alias of nothing", lambda: b"a: *b", "names nothing that is complete"),
    ("merge keys", lambda: b"a: &a {x: 1}\nb: {<<: *a}", "merge keys"),
    ("millions of parts", lambda: b"[" + b"[]," * 3_000_000 + b"[]]", "more than 2000000 parts"),
    ("no UTF-8", lambda: b"\xff\xfe{}", "is not UTF-8"),
    ("half of JSON", lambda: b'{"openapi": "3.1.0"', "is not JSON"),
    ("two documents", lambda: b"a: 1\n---\nb: 2", "more than one document"),
    ("nothing", lambda: b"", "is empty"),
    ("a tag of Python", lambda: b"!!python/object/apply:os.system [echo]", "is no description"),
    ("names that are lists", lambda: b"? [a]\n: b", "names are plain text"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_a_hostile_description_is_refused_in_no_time(content: Callable[[], bytes], words: str) -> None:
    made = content()
    with no_blowup():
        with pytest.raises(DescriptionError, match=words):
            read_description(made, "spec")


def test_schemas_that_grow_when_written_out_are_read_as_they_are_written() -> None:
    with no_blowup():
        description = described(referring(90))
        assert len(description.definitions) == 91


def test_the_largest_document_that_is_read_stays_within_its_memory(tmp_path: Path) -> None:
    """Two million parts are the bound; a process with a gigabyte reads them."""
    file = tmp_path / "wide.json"
    file.write_bytes(b'{"openapi": "3.1.0", "x": [' + b"{}," * (documents.MAX_PARTS // 2 - 10) + b"{}]}")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from pathlib import Path; from skills_catalog.descriptions.reading import read_file\n"
        "try: read_file(Path(sys.argv[1]))\nexcept Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert "has no operation that can be read" in done.stdout, done.stderr
