"""`GET /openapi.json`: valid, whole, and for each key what that key may use."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import validate

from gateway.app import API_ROUTES, make_web_app
from gateway.core.errors import CODES
from gateway.mcp import routes as mcp
from gateway.rest.shapes import SHAPES
from gateway.ui import routes as ui
from gateway.web.openapi import codes_of
from skills_catalog.catalog import Catalog
from skills_catalog.loader import SHIPPED, load_catalog, load_integration
from tests.harness import RunningGateway, gateway


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path) as started:
        yield started


async def description(running: RunningGateway, key: str | None = None) -> Any:
    answer = await running.ask("GET", "/openapi.json", key=key)
    assert answer.status == 200, answer.body
    return answer.json()


async def narrow_key(running: RunningGateway, **grant: Any) -> str:
    made = await running.ask("POST", "/api-keys", body={"name": "narrow", **grant})
    assert made.status == 201, made.body
    return str(made.json()["full_key"])


async def test_without_a_key_it_has_every_route_and_no_action(running: RunningGateway) -> None:
    document = await description(running, key="")
    validate(document)
    described = {
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    }
    assert running.services is not None
    served = {
        f"{one.method} {one.resource.canonical}"
        for one in make_web_app(running.services).router.routes()
        if one.method != "HEAD" and one.resource is not None
    }
    pages = {f"{route.method} {route.path}" for route in ui.routes()}
    # What /mcp takes and answers is another protocol, and so is who may let people in there.
    of_mcp = {f"{route.method} {route.path}" for route in mcp.routes()}
    assert described == served - pages - of_mcp
    assert "/v1/{integration}/{action}" in document["paths"]
    assert document["servers"] == [{"url": running.url}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}


async def test_with_a_key_it_has_every_action_that_the_key_may_use(running: RunningGateway) -> None:
    document = await description(running)
    validate(document)
    shipped = load_catalog([SHIPPED]).integrations.values()
    wanted = {f"{skill.integration}__{skill.name}" for one in shipped for skill in one.skills.values()}
    named = {
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    }
    assert wanted == {name for name in named if "__" in name}
    create = document["paths"]["/v1/github/create_issue"]["post"]
    assert (create["operationId"], create["tags"]) == ("github__create_issue", ["github"])
    assert (create["x-effect"], create["x-idempotent"]) == ("create", False)
    body = create["requestBody"]["content"]["application/json"]
    assert body["schema"]["required"] == ["params"]
    assert set(body["schema"]["properties"]) == {
        "params", "user", "connection", "async", "wait", "select", "view", "max_bytes", "max_items", "callback_url",
    }  # fmt: skip
    pages = document["paths"]["/v1/github/list_issues"]["post"]["requestBody"]["content"]["application/json"]
    assert "all" in pages["schema"]["properties"]
    params = document["components"]["schemas"]["github__create_issue"]
    assert params["required"] == ["repo", "title"]
    assert body["examples"]["example_1"]["value"]["params"]["repo"] == "acme/webapp"
    answer = create["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/Result"}
    assert answer["examples"]["example_1"]["value"]["status"] == 201
    assert document["components"]["schemas"]["IntegrationSlug"]["enum"] == [one.slug for one in shipped]


async def test_a_key_is_told_nothing_of_what_it_may_not_use(running: RunningGateway) -> None:
    reader = await narrow_key(running, scopes=["github", "skycot"], level="read_only", deny=["skycot.*", "*.get_*"])
    document = await description(running, key=reader)
    validate(document)
    actions = {path: methods["post"] for path, methods in document["paths"].items() if "{" not in path and "post" in methods}
    ours = {path: one for path, one in actions.items() if "__" in one["operationId"]}
    assert ours and all(path.startswith("/v1/github/") and one["x-effect"] == "read" for path, one in ours.items())
    assert not any("/get_" in path for path in ours)
    text = (await running.ask("GET", "/openapi.json", key=reader)).body
    assert b"overscore" not in text and b"github__create_issue" not in text


async def test_it_is_sent_again_only_where_it_has_changed(running: RunningGateway) -> None:
    first = await running.ask("GET", "/openapi.json")
    again = await running.ask("GET", "/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    other = await running.ask("GET", "/openapi.json", key="")
    assert other.headers["ETag"] != first.headers["ETag"]
    test = await running.ask("GET", "/openapi.json", key=running.org.test)
    # What decides is what a key may use, not which key it is.
    assert (test.headers["ETag"], test.body) == (first.headers["ETag"], first.body)
    assert "Authorization" in first.headers["Vary"]


async def test_a_key_that_does_not_work_gets_none(running: RunningGateway) -> None:
    for sent, code in (
        ({"Authorization": "Bearer nonsense"}, "api_key_invalid"),
        ({"X-API-Key": "sk_live_gw_x"}, "api_key_invalid"),
        ({"Authorization": "Basic eA=="}, "unauthorized"),
        ({"Authorization": f"Bearer {running.org.live}", "X-API-Key": running.org.live}, "bad_request"),
    ):
        answer = await running.ask("GET", "/openapi.json", key="", headers=sent)
        assert answer.json()["error"] == code
    assert (await running.ask("GET", "/openapi.json?api_key=x", key="")).json()["error"] == "bad_request"
    assert (await running.ask("GET", "/openapi.json?what=1", key="")).json()["error"] == "bad_request"


async def test_a_reload_brings_another_description(running: RunningGateway) -> None:
    assert running.services is not None
    before = await running.ask("GET", "/openapi.json")
    catalogs = running.services.catalogs
    catalogs.current = Catalog([one for slug, one in catalogs.current.integrations.items() if slug != "skycot"])
    after = await running.ask("GET", "/openapi.json")
    assert after.headers["ETag"] != before.headers["ETag"]
    assert b"/v1/skycot/" in before.body and b"/v1/skycot/" not in after.body


async def test_deprecated_actions_are_marked(running: RunningGateway) -> None:
    assert running.services is not None
    catalogs = running.services.catalogs
    definition = {
        "slug": "old",
        "name": "Old",
        "description": "An API that changes.",
        "base_url": "https://old.example",
        "auth": [{"name": "none", "type": "none", "title": "None"}],
        "$defs": {"id": {"type": "integer"}},
        "actions": {
            "get_it": {
                "description": "Get it.",
                "request": "GET /it/{id}",
                "params": {"id": {"$ref": "#/$defs/id", "required": True}},
                "deprecated": {"since": "2026-01-01", "sunset": "2027-01-01"},
                "examples": [{"params": {"id": 1}, "response": {"status": 200, "data": 1}}],
            }
        },
    }
    catalogs.current = Catalog([loaded(definition)])
    document = await description(running)
    validate(document)
    operation = document["paths"]["/v1/old/get_it"]["post"]
    assert (operation["deprecated"], operation["x-sunset"]) == (True, "2027-01-01")
    assert "Sunset" in operation["responses"]["200"]["headers"]
    # `$ref`s of the definition lead to where the document has the schemas.
    assert "#/components/schemas/old__get_it.id" in str(document["components"]["schemas"]["old__get_it"])
    assert document["components"]["schemas"]["old__get_it.id"] == {"type": "integer"}


def loaded(definition: Any) -> Any:
    return load_integration(json.dumps(definition))


async def test_all_examples_are_as_their_schemas_say(running: RunningGateway) -> None:
    document = await description(running)
    looked_at, seen = 0, set()
    for methods in document["paths"].values():
        for operation in methods.values():
            contents = [operation.get("requestBody", {}), *(resolved(document, one) for one in operation["responses"].values())]
            for content in [one["content"]["application/json"] for one in contents if "application/json" in one.get("content", {})]:
                # Many operations refuse in the same words.
                if id(content) in seen:
                    continue
                seen.add(id(content))
                values = [one["value"] for one in content.get("examples", {}).values()]
                values += [content["example"]] if "example" in content else []
                check = Draft202012Validator(standing_alone(document, content["schema"]), validate_formats=True)
                for value in values:
                    problems = [f"{list(error.instance_path)}: {error.message}" for error in check.iter_errors(value)]
                    assert problems == [], operation["operationId"]
                    looked_at += 1
            for parameter in operation.get("parameters", ()):
                if "example" in parameter and parameter["schema"].get("type") != "integer":
                    check = Draft202012Validator(standing_alone(document, parameter["schema"]))
                    assert check.is_valid(parameter["example"]), parameter
    assert looked_at > 300


def standing_alone(document: Any, schema: Any) -> Any:
    """The schema with those components alone that it leads to: to read all of them for each takes half a minute."""
    found: dict[str, Any] = {}
    waiting = [schema]
    while waiting:
        for name in re.findall(r'"#/components/schemas/([^"/]+)', json.dumps(waiting.pop())):
            if name not in found:
                found[name] = document["components"]["schemas"][name]
                waiting.append(found[name])
    return {**schema, "components": {"schemas": found}}


def resolved(document: Any, value: Any) -> Any:
    if "$ref" in value:
        for step in value["$ref"].removeprefix("#/").split("/"):
            document = document[step]
        return document
    return value


def test_paths_and_operations_name_the_same() -> None:
    ids = [route.operation.id for route in API_ROUTES]
    assert len(ids) == len(set(ids))
    for route in API_ROUTES:
        named = [part[1:-1] for part in route.shown_path.split("/") if part.startswith("{")]
        assert [one.name for one in route.operation.path] == named, route.shown_path
        assert {code for codes in codes_of(route).values() for code in codes} <= CODES.keys()
        assert (route.operation.body is not None or bool(route.operation.takes)) == (route.method in ("POST", "PUT", "PATCH")), route.shown_path
    assert len({id(schema) for schema in SHAPES.values()}) == len(SHAPES)


async def test_ten_thousand_actions_are_described_while_others_are_served(running: RunningGateway) -> None:
    assert running.services is not None
    catalogs = running.services.catalogs
    github = catalogs.current.integrations["github"]
    pattern = list(github.skills.values())
    many = []
    for number in range(10):
        slug = f"copy_{number}"
        skills = {
            f"{one.name}_{turn}": replace(one, integration=slug, name=f"{one.name}_{turn}")
            for turn in range(12)
            for one in pattern
        }
        many.append(replace(github, slug=slug, skills=dict(list(skills.items())[:1000]), digest=slug))
    catalogs.current = Catalog(many)
    began = time.perf_counter()
    asking = asyncio.ensure_future(running.ask("GET", "/openapi.json"))
    slowest = 0.0
    while not asking.done():
        asked = time.perf_counter()
        assert (await running.ask("GET", "/healthz", key="")).status == 200
        slowest = max(slowest, time.perf_counter() - asked)
    answer = asking.result()
    took = time.perf_counter() - began
    assert answer.body.count(b'"operationId":"copy_') == 10_000
    assert slowest < took, (slowest, took)
    assert (await running.ask("GET", "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})).status == 304
    print(f"10,000 actions: {took:.2f} s, {len(answer.body) / 1e6:.1f} MB, others waited {slowest:.3f} s at most")
