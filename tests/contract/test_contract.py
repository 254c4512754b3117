"""The public contract may grow and nothing else: today's is held against the one that was committed."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.compare import Difference, code_differences, contract_of, differences
from tests.contract.snapshot import CODES_FILE, DOCUMENT_FILE, breaking, codes_today, committed, document_today
from tests.harness import ROOT

GROWN = "The contract has grown. Take it in with `python -m tests.contract`, so that it is missed once it goes."


def test_no_client_of_the_committed_contract_would_break() -> None:
    found = breaking()
    if found:
        pytest.fail("\n".join(["Clients of today would break:", *map(str, found)]), pytrace=False)


def test_the_committed_contract_is_todays() -> None:
    assert committed(DOCUMENT_FILE) == document_today(), GROWN
    assert committed(CODES_FILE) == codes_today(), GROWN


def test_taking_it_in_changes_nothing_where_nothing_was_added() -> None:
    before = DOCUMENT_FILE.read_bytes(), CODES_FILE.read_bytes()
    done = subprocess.run([sys.executable, "-m", "tests.contract"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "Written: openapi.json, errors.json.\n"), done
    assert (DOCUMENT_FILE.read_bytes(), CODES_FILE.read_bytes()) == before


# ---------------------------------------------------------------------- the comparison itself

Json = dict[str, Any]


def document() -> Json:
    """A small API with one of everything."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1", "description": "words"},
        "security": [{"bearer": []}],
        "paths": {
            "/things": {
                "get": {
                    "operationId": "list_things",
                    "summary": "words",
                    "x-level": "read_only",
                    "parameters": [
                        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 200, "default": 50}},
                        {"name": "kind", "in": "query", "schema": {"type": "string", "enum": ["a", "b"]}},
                        {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}},
                    ],
                    "responses": {
                        "200": {
                            "description": "words",
                            "headers": {"ETag": {"$ref": "#/components/headers/ETag"}},
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                        },
                        "404": {"$ref": "#/components/responses/gone"},
                    },
                },
                "post": {
                    "operationId": "make_thing",
                    "x-level": "full_access",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "name": {"type": "string", "maxLength": 100},
                                        "size": {"type": ["integer", "string"]},
                                        "tags": {"type": "array", "items": {"type": "string"}},
                                        "color": {"anyOf": [{"const": "*"}, {"type": "string", "pattern": "^[a-z]+$"}]},
                                        "note": {"type": "string"},
                                    },
                                    "required": ["name"],
                                    "additionalProperties": False,
                                }
                            }
                        },
                    },
                    "responses": {"201": {"description": "words"}},
                },
            },
            "/open": {"get": {"operationId": "get_open", "security": [], "responses": {"200": {"description": "words"}}}},
        },
        "components": {
            "headers": {"ETag": {"required": True, "schema": {"type": "string"}}},
            "schemas": {
                "Thing": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "state": {"type": "string", "enum": ["new", "old"]},
                        "count": {"type": "integer", "minimum": 0},
                        "at": {"type": ["string", "null"], "format": "date-time"},
                        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                        "owner": {"anyOf": [{"$ref": "#/components/schemas/Part"}, {"type": "null"}]},
                        "description": {"type": "string", "description": "words"},
                        "rest": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                    "required": ["id", "state"],
                },
                "Part": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
                "Refusal": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
            },
            "responses": {
                "gone": {
                    "description": "words",
                    "x-codes": ["not_found", "gone"],
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
                }
            },
        },
    }


def get(doc: Json) -> Any:
    return doc["paths"]["/things"]["get"]


def post(doc: Json) -> Any:
    return doc["paths"]["/things"]["post"]


def body(doc: Json) -> Any:
    return post(doc)["requestBody"]["content"]["application/json"]["schema"]


def fields(doc: Json) -> Any:
    return body(doc)["properties"]


def thing(doc: Json) -> Any:
    return doc["components"]["schemas"]["Thing"]


def members(doc: Json) -> Any:
    return thing(doc)["properties"]


def query(doc: Json, name: str) -> Any:
    return next(one for one in get(doc)["parameters"] if one["name"] == name)


def codes(doc: Json) -> Any:
    return doc["components"]["responses"]["gone"]["x-codes"]


Change = Callable[[Json], Any]
BREAKING: dict[str, tuple[Change, str]] = {
    "a route goes": (lambda d: d["paths"].pop("/open"), "GET /open: is gone"),
    "a method goes": (lambda d: d["paths"]["/things"].pop("post"), "POST /things: is gone"),
    "a route is renamed": (
        lambda d: d["paths"].update({"/opened": d["paths"].pop("/open")}),
        "GET /open: is gone",
    ),
    "an operation is renamed": (lambda d: get(d).update(operationId="things"), "its name was list_things"),
    "an open route needs a key": (lambda d: d["paths"]["/open"]["get"].pop("security"), "GET /open: needs a key"),
    "a route takes more": (lambda d: get(d).update({"x-level": "full_access"}), "level of its key was read_only"),
    "a test key may not": (lambda d: get(d).update({"x-live-only": True}), "GET /things: whether a test key may"),
    "a parameter goes": (lambda d: get(d)["parameters"].pop(0), "query parameter limit: is gone"),
    "a parameter is required": (lambda d: query(d, "kind").update(required=True), "query parameter kind: is required"),
    "a new parameter is required": (
        lambda d: get(d)["parameters"].append({"name": "x", "in": "query", "required": True, "schema": {}}),
        "query parameter x: is new and required",
    ),
    "a parameter has another type": (
        lambda d: query(d, "q")["schema"].update(type="integer"),
        "query parameter q: was string and is integer",
    ),
    "a parameter takes less": (
        lambda d: query(d, "limit")["schema"].update(maximum=100),
        "limit: maximum was 200 and is 100",
    ),
    "a parameter has another default": (
        lambda d: query(d, "limit")["schema"].update(default=10),
        "limit: left out it was 50 and is 10",
    ),
    "a parameter gets a default": (
        lambda d: query(d, "q")["schema"].update(default="x"),
        "q: left out it was None and is 'x'",
    ),
    "a word is no longer taken": (
        lambda d: query(d, "kind")["schema"]["enum"].remove("b"),
        "query parameter kind: the value 'b' is gone",
    ),
    "only some words are taken": (
        lambda d: query(d, "q")["schema"].update(enum=["x"]),
        "query parameter q: whether its words are listed",
    ),
    "a form is asked for": (
        lambda d: query(d, "q")["schema"].update(pattern="^x$"),
        "query parameter q: pattern was None and is ^x$",
    ),
    "another form is asked for": (
        lambda d: fields(d)["color"]["anyOf"][1].update(pattern="^[a-f]+$"),
        "body.color: pattern was ^[a-z]+$ and is ^[a-f]+$",
    ),
    "a body is no longer read": (lambda d: post(d).pop("requestBody"), "POST /things: body: is no longer read"),
    "a body is asked for": (
        lambda d: get(d).update(requestBody={"required": True, "content": {}}),
        "GET /things: body: is new and required",
    ),
    "a field goes": (lambda d: fields(d).pop("note"), "POST /things: body.note: is gone"),
    "a field is required": (lambda d: body(d)["required"].append("note"), "body.note: is required"),
    "a new field is required": (
        lambda d: (fields(d).update(extra={}), body(d)["required"].append("extra")),
        "body.extra: is new and required",
    ),
    "a field has one type less": (lambda d: fields(d)["size"].update(type="integer"), "body.size: was "),
    "a field may be less long": (lambda d: fields(d)["name"].update(maxLength=10), "body.name: maxLength was 100"),
    "items have another type": (
        lambda d: fields(d)["tags"]["items"].update(type="integer"),
        "body.tags[]: was string and is integer",
    ),
    "an alternative goes": (lambda d: fields(d)["color"]["anyOf"].pop(1), "POST /things: body.color"),
    "a good status goes": (lambda d: post(d)["responses"].pop("201"), "POST /things: 201: is gone"),
    "a header goes": (lambda d: get(d)["responses"]["200"]["headers"].clear(), "200: header ETag: is gone"),
    "a header may be missing": (
        lambda d: d["components"]["headers"]["ETag"].pop("required"),
        "header ETag: is no longer always there",
    ),
    "an answer has another content type": (
        lambda d: get(d)["responses"]["200"].update(content={"text/plain": {}}),
        "application/json is gone",
    ),
    "a member goes": (lambda d: members(d).pop("count"), "GET /things: 200.count: is gone"),
    "a member called description goes": (lambda d: members(d).pop("description"), "200.description: is gone"),
    "a member may be missing": (lambda d: thing(d)["required"].remove("state"), "200.state: is no longer always there"),
    "a member has another type": (lambda d: members(d)["id"].update(type="integer"), "200.id: was string and is integer"),
    "a member may be null": (lambda d: members(d)["id"].update(type=["string", "null"]), "200.id: was string and is null"),
    "a member of a member goes": (
        lambda d: d["components"]["schemas"]["Part"]["properties"].pop("id"),
        "200.parts[].id: is gone",
    ),
    "an alternative has another type": (
        lambda d: members(d)["owner"]["anyOf"].append({"type": "string"}),
        "GET /things: 200.owner: was ",
    ),
    "other members have another type": (
        lambda d: members(d)["rest"]["additionalProperties"].update(type="integer"),
        "200.rest.*: was string and is integer",
    ),
    "a number may be negative": (lambda d: members(d)["count"].pop("minimum"), "200.count: minimum was 0 and is None"),
    "a time has another form": (lambda d: members(d)["at"].update(format="date"), "200.at: format was date-time and is date"),
    "a word of an answer goes": (lambda d: members(d)["state"]["enum"].remove("old"), "200.state: the value 'old' is gone"),
    "a code of a refusal goes": (lambda d: codes(d).remove("gone"), "404.error: the value 'gone' is gone"),
    "the refusal has another form": (
        lambda d: d["components"]["schemas"]["Refusal"].pop("required"),
        "404.error: is no longer always there",
    ),
}
ADDITIVE: dict[str, tuple[Change, str]] = {
    "a route": (lambda d: d["paths"].update({"/more": d["paths"]["/open"]}), "GET /more: is new"),
    "a method": (lambda d: d["paths"]["/open"].update(delete=d["paths"]["/open"]["get"]), "DELETE /open: is new"),
    "an optional parameter": (
        lambda d: get(d)["parameters"].append({"name": "x", "in": "query", "schema": {}}),
        "query parameter x: is new",
    ),
    "an optional field": (lambda d: fields(d).update(extra={"type": "string"}), "POST /things: body.extra: is new"),
    "a type of a field": (lambda d: fields(d)["note"].update(type=["string", "null"]), "body.note: "),
    "room in a field": (lambda d: fields(d)["name"].update(maxLength=1000), "body.name: maxLength was 100 and is 1000"),
    "a word of a request": (lambda d: query(d, "kind")["schema"]["enum"].append("c"), "kind: the value 'c' is new"),
    "an alternative of a request": (
        lambda d: fields(d)["color"]["anyOf"].append({"type": "integer"}),
        "body.color: its alternatives are others",
    ),
    "what was required is not": (lambda d: query(d, "q").pop("required"), "query parameter q: is no longer required"),
    "a form that is no longer asked for": (
        lambda d: fields(d)["color"]["anyOf"][1].pop("pattern"),
        "",
    ),
    "a member": (lambda d: members(d).update(more={"type": "string"}), "GET /things: 200.more: is new"),
    "a member that is always there": (lambda d: thing(d)["required"].append("count"), "200.count: is always there"),
    "a member that is never null": (lambda d: members(d)["at"].update(type="string"), "200.at: "),
    "a word of an answer": (lambda d: members(d)["state"]["enum"].append("lost"), "200.state: the value 'lost' is new"),
    "a code of a refusal": (lambda d: codes(d).append("lost"), "404.error: the value 'lost' is new"),
    "a status": (lambda d: post(d)["responses"].update({"409": {"description": "words"}}), "POST /things: 409: is new"),
    "a refusal that does not come any more": (lambda d: get(d)["responses"].pop("404"), "GET /things: 404: is gone"),
    "a header": (
        lambda d: get(d)["responses"]["200"]["headers"].update({"X-More": {"schema": {}}}),
        "200: header X-More: is new",
    ),
    "less of a key": (lambda d: post(d).update({"x-level": "read_write"}), "the level of its key was full_access"),
    "no key": (lambda d: get(d).update(security=[{}, {"bearer": []}]), "GET /things: needs no key"),
    "a warning": (lambda d: get(d).update(deprecated=True), "GET /things: is deprecated"),
}


def found_by(change: Change) -> list[Difference]:
    changed = document()
    change(changed)
    return differences(document(), changed)


@pytest.mark.parametrize(("change", "told"), BREAKING.values(), ids=BREAKING.keys())
def test_what_breaks_clients_is_found(change: Change, told: str) -> None:
    broken = [str(one) for one in found_by(change) if one.kind == "breaking"]
    assert any(told in one for one in broken), broken


@pytest.mark.parametrize(("change", "told"), ADDITIVE.values(), ids=ADDITIVE.keys())
def test_what_is_added_is_let_through(change: Change, told: str) -> None:
    found = found_by(change)
    assert [str(one) for one in found if one.kind == "breaking"] == []
    assert not told or any(told in str(one) for one in found), found


def test_a_description_does_not_differ_from_itself() -> None:
    assert differences(document(), document()) == []
    today = document_today()
    assert differences(today, copy.deepcopy(today)) == []


def test_words_for_people_are_no_part_of_the_contract() -> None:
    changed = document()
    get(changed)["summary"] = changed["info"]["description"] = "other words"
    members(changed)["description"]["description"] = "other words"
    assert contract_of(document()) == contract_of(changed)
    assert "description" in contract_of(document())["components"]["schemas"]["Thing"]["properties"]


def test_schemas_may_move_without_a_difference() -> None:
    moved = document()
    moved["components"]["schemas"]["Renamed"] = moved["components"]["schemas"].pop("Part")
    for schema in (members(moved)["parts"]["items"], members(moved)["owner"]["anyOf"][0]):
        schema["$ref"] = "#/components/schemas/Renamed"
    assert differences(document(), moved) == []


def test_codes_may_be_added_and_nothing_else() -> None:
    old = {"a": 400, "b": 404}
    told = [(one.kind, str(one)) for one in code_differences(old, {"a": 409, "c": 500})]
    assert told == [
        ("breaking", "error code a: was 400 and is 409"),
        ("breaking", "error code b: is gone"),
        ("additive", "error code c: is new"),
    ]
    assert code_differences(old, old) == []
