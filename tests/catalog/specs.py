"""Small descriptions of one made-up API in each kind, and ways to read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skills_catalog.descriptions.model import Description, Operation
from skills_catalog.descriptions.reading import read_description


def openapi(paths: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """An OpenAPI 3.1 document with these paths."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Notes API", "version": "1.4", "description": "Keeps the notes of a team."},
        "servers": [{"url": "https://api.notes.example/v1"}],
        "externalDocs": {"url": "https://notes.example/docs"},
        **members,
        "paths": dict(paths),
    }


def described(document: Mapping[str, Any] | str | bytes, source: str = "spec.json") -> Description:
    """A document as read."""
    if isinstance(document, Mapping):
        document = json.dumps(document)
    return read_description(document.encode() if isinstance(document, str) else document, source)


def only(description: Description) -> Operation:
    """The one operation of a description."""
    (operation,) = description.operations
    return operation


#: Notes with a folder, tags, a file and a search: most of what descriptions say.
NOTES_SPEC = openapi(
    {
        "/folders/{folder}/notes": {
            "parameters": [{"name": "folder", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {
                "operationId": "notes/list",
                "summary": "Lists the notes of a folder",
                "tags": ["Notes"],
                "parameters": [
                    {
                        "name": "tags",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                    {
                        "name": "order",
                        "in": "query",
                        "schema": {"type": "string", "enum": ["newest", "oldest"], "default": "newest"},
                    },
                    {"name": "cursor", "in": "query", "schema": {"type": "string"}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
                ],
                "responses": {
                    "200": {
                        "description": "Notes",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["notes"],
                                    "properties": {
                                        "notes": {"type": "array", "items": {"$ref": "#/components/schemas/Note"}},
                                        "next_cursor": {"type": ["string", "null"]},
                                    },
                                }
                            }
                        },
                    }
                },
            },
            "post": {
                "operationId": "notes/create",
                "summary": "Create a note",
                "tags": ["Notes"],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewNote"}}},
                },
                "responses": {
                    "201": {
                        "description": "Made",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}},
                    }
                },
            },
        },
        "/notes/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "delete": {
                "operationId": "notes/delete",
                "tags": ["Notes"],
                "summary": "Delete a note",
                "responses": {"204": {"description": "Gone"}},
            },
        },
        "/notes/search": {
            "post": {
                "operationId": "notes/search",
                "tags": ["Search"],
                "summary": "Search the notes",
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["query"],
                                "properties": {"query": {"type": "string", "minLength": 2}},
                            }
                        }
                    }
                },
                "responses": {"200": {"description": "Found"}},
            }
        },
    },
    security=[{"oauth": ["notes"]}, {"key": []}],
    components={
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "oauth": {
                "type": "oauth2",
                "flows": {
                    "authorizationCode": {
                        "authorizationUrl": "https://notes.example/oauth/authorize",
                        "tokenUrl": "/oauth/token",
                        "scopes": {"notes": "Everything"},
                    }
                },
            },
        },
        "schemas": {
            "Note": {
                "type": "object",
                "required": ["id", "title"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "title": {"type": "string", "example": "Milk"},
                    "state": {"type": "string", "enum": ["draft", "ready"]},
                },
            },
            "NewNote": {
                "allOf": [
                    {"$ref": "#/components/schemas/Note"},
                    {
                        "type": "object",
                        "required": ["kind"],
                        "properties": {
                            "kind": {"type": "string", "enum": ["note"]},
                            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
                            "children": {"type": "array", "items": {"$ref": "#/components/schemas/NewNote"}},
                        },
                    },
                ]
            },
        },
    },
)

SDL = '''
"""What the notes answer."""
schema { query: Query, mutation: Mutation }
scalar DateTime
type Query {
  "One note."
  note(id: ID!): Note!
  notes(first: Int = 50, after: String, filter: NoteFilter): NoteConnection!
}
type Mutation {
  noteCreate(input: NoteInput!): NotePayload!
  noteDelete(id: ID!): Boolean!
}
type Note implements Node { id: ID! title: String! made: DateTime! author: User children(first: Int): NoteConnection! }
interface Node { id: ID! }
type NoteConnection { nodes: [Note!]! pageInfo: PageInfo! }
type PageInfo { hasNextPage: Boolean! endCursor: String }
type User { id: ID! name: String! password: String @deprecated }
type NotePayload { note: Note }
enum Kind { TEXT LIST }
input NoteInput { title: String!, kind: Kind = TEXT, tags: [String!] }
input NoteFilter { and: [NoteFilter!], kind: Kind }
directive @hidden(why: String = "x") repeatable on FIELD_DEFINITION | OBJECT
extend type User { email: String }
'''
