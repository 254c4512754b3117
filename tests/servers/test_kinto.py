"""A Kinto as it comes from PyPI, by what the importer made of its own description: ETags, pages, schemas, two accounts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.harness import RunningGateway, gateway
from tests.operator import Operator
from tests.servers import running as servers

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOOKS = {"bucket_id": "library", "collection_id": "books"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.kinto(tmp_path_factory.mktemp("kinto")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A gateway with the accounts of two users, and a collection of one of them."""
    folder = tmp_path_factory.mktemp("gateway")
    definitions = folder / "definitions"
    definitions.mkdir()
    shutil.copy(servers.DEFINITIONS / "kinto.yaml", definitions)
    async with gateway(folder, integrations={"kinto": {"base_url": address}}, definitions=definitions) as made:
        for name in ("ada", "bob"):
            await _sign_up(address, name)
            await made.connect("kinto", {"username": name, "password": f"password-of-{name}"}, user=name)
        assert (await told(made, "set_bucket", {"id": "library"}))["status"] == 201
        schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
        await told(made, "set_collection", {"bucket_id": "library", "id": "books", "data": {"schema": schema}})
        yield made


async def _sign_up(address: str, name: str) -> None:
    account = {"data": {"password": f"password-of-{name}"}}
    async with aiohttp.ClientSession() as session, session.put(f"{address}/accounts/{name}", json=account) as answer:
        assert answer.status == 201, await answer.text()


async def told(made: RunningGateway, action: str, params: Any = None, **more: Any) -> Any:
    answer = await made.call("kinto", action, params, **{"user": "ada", **more})
    assert answer.status == 200, answer.body
    return answer.json()


async def test_the_account_is_the_one_of_the_password(library: RunningGateway) -> None:
    connections = (await library.ask("GET", "/v1/connections")).json()["connections"]
    assert {(one["user"], one["account"]) for one in connections} == {("ada", "account:ada"), ("bob", "account:bob")}
    # Kinto says 200 to a wrong password where anybody may read; `error_when` knows.
    credentials = {"username": "ada", "password": "password-of-bob"}
    refused = await library.ask("POST", "/v1/connect", body={"integration": "kinto", "credentials": credentials})
    assert (refused.status, refused.json()["error"]) == (400, "bad_request")


async def test_of_two_who_change_a_record_the_second_is_told(library: RunningGateway) -> None:
    made = await told(library, "create_record", {**BOOKS, "data": {"title": "Solaris"}})
    assert made["status"] == 201
    one = {**BOOKS, "id": made["data"]["data"]["id"]}
    etag = (await told(library, "get_record", one))["meta"]["upstream"]["etag"]
    assert etag == f'"{made["data"]["data"]["last_modified"]}"'
    assert (await told(library, "get_record", {**one, "if_none_match": etag}))["status"] == 304

    first = await told(library, "change_record", {**one, "if_match": etag, "data": {"year": 1961}})
    assert (first["status"], first["data"]["data"]["title"], first["data"]["data"]["year"]) == (200, "Solaris", 1961)
    second = await told(library, "change_record", {**one, "if_match": etag, "data": {"year": 1972}})
    assert (second["status"], second["data"]["details"]["existing"]["year"]) == (412, 1961)
    assert second["meta"]["hint"].startswith("Somebody changed it since.")
    assert (await told(library, "delete_record", {**one, "if_match": etag}))["status"] == 412

    assert (await told(library, "delete_record", one))["data"]["data"]["deleted"] is True
    gone = await told(library, "get_record", one)
    assert (gone["status"], gone["meta"]["hint"]) == (404, "There is no such record; list the records.")
    # What is no ETag never leaves the gateway.
    wrong = await library.call("kinto", "change_record", {**one, "if_match": "1", "data": {}}, user="ada")
    assert (wrong.status, wrong.json()["details"]["fields"][0]["path"]) == (400, "if_match")


async def test_a_record_that_breaks_the_schema_of_its_collection_is_told_with_what_to_do(library: RunningGateway) -> None:
    answer = await told(library, "create_record", {**BOOKS, "data": {"name": "Solaris"}})
    assert answer["status"] == 400
    assert "'title' is a required property" in answer["data"]["message"]
    assert answer["meta"]["hint"].startswith("The record does not follow the schema")


async def test_all_pages_are_followed_by_the_header_that_names_the_next_one(library: RunningGateway) -> None:
    await told(library, "set_collection", {"bucket_id": "library", "id": "shelves"})
    shelves = {"bucket_id": "library", "collection_id": "shelves"}
    for number in range(23):
        await told(library, "create_record", {**shelves, "data": {"number": number}})
    first = await told(library, "list_records", {**shelves, "limit": 5, "sort": ["number"]})
    assert [one["number"] for one in first["data"]["data"]] == [0, 1, 2, 3, 4]
    assert 'rel="next"' in first["meta"]["upstream"]["link"]

    every = await told(library, "list_records", {**shelves, "limit": 5, "sort": ["number"], "fields": ["number"]}, all=True)
    assert [one["number"] for one in every["data"]["data"]] == list(range(23))
    assert every["meta"]["pages"] == {"count": 5, "items": 23, "complete": True}

    some = await told(library, "list_records", {**shelves, "limit": 5, "sort": ["number"]}, all=True, max_items=7)
    assert (some["meta"]["pages"]["stopped"], some["meta"]["pages"]["complete"]) == ("most items", False)
    rest = await told(library, "list_records", {**shelves, **some["meta"]["pages"]["next"], "limit": 5, "sort": ["number"]})
    assert [one["number"] for one in rest["data"]["data"]] == [10, 11, 12, 13, 14]


async def test_each_user_acts_with_an_account_of_their_own(library: RunningGateway) -> None:
    answer = await told(library, "list_records", BOOKS, user="bob")
    assert (answer["status"], answer["meta"]["account"]) == (403, "account:bob")
    assert (await told(library, "list_records", BOOKS))["meta"]["account"] == "account:ada"


async def test_a_second_import_from_the_running_server_finds_every_action_and_adds_what_is_new(
    address: str, tmp_path: Path
) -> None:
    """The definition is an import that people worked on: renamed, described, with a way in, pages and hints."""
    operator = Operator.at(tmp_path)
    file = tmp_path / "ours" / "kinto.yaml"
    file.parent.mkdir()
    ours = (servers.DEFINITIONS / "kinto.yaml").read_text().replace("https://kinto.example/v1", address)
    file.write_text(ours)
    words = ("catalog", "import", f"{address}/__api__", "--slug", "kinto", "-o", "ours", "--json")
    chosen = ("--select", "GET /", "--select", "PUT /buckets/*", "--select", "/buckets/*/collections/*/records*")
    outcome = (await asyncio.to_thread(operator.done, *words, *chosen)).json()
    assert (outcome["kept"], outcome["differing"], outcome["gone"]) == (8, [], [])
    # Those that we had left out come in, and wait for somebody to look at them.
    assert set(outcome["added"]) == set(outcome["unreviewed"]) and len(outcome["added"]) == 3
    lines = iter(file.read_text().splitlines())
    assert all(line in lines for line in ours.replace("version: 1.0.0", "version: 1.1.0").splitlines())
    # How it lets us in is said already: nothing of it was guessed.
    assert not any("auth" in note for note in outcome["notes"])
