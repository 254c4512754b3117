"""What a test key makes is there to be read, listed, changed and deleted; what it asks to go wrong goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.calls.sandbox import MEMORY
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, gateway

REPO = {"repo": "acme/shop"}
#: Ids that are no numbers, a list in an envelope, a thing in one, and a search.
ORDERS = """\
slug: orders
name: Orders
description: Orders of a shop.
base_url: https://orders.example
auth: [{name: key, type: api_key, title: Key, in: header, as: X-Key}]
actions:
  create_order:
    description: Place an order.
    request: POST /orders
    effect: create
    resource: order
    params:
      customer: {type: string, description: Who pays., required: true}
      note: {type: string, description: A remark.}
      tags: {type: array, items: {type: string}, description: Words.}
    examples:
      - params: {customer: ada, tags: [new]}
        response: {status: 201, data: {data: {id: ord_7f3k9Q, customer: ada, paid: false, tags: [{name: new}], url: "https://orders.example/o/ord_7f3k9Q"}}}
  get_order:
    description: Read an order.
    request: GET /orders/{id}
    resource: order
    params: {id: {type: string, description: Its id., required: true}}
    examples:
      - params: {id: ord_7f3k9Q}
        response: {status: 200, data: {data: {id: ord_7f3k9Q, customer: ada, note: null, paid: false, tags: []}}}
      - params: {id: ord_missing}
        response: {status: 404, data: {error: no_such_order}}
  list_orders:
    description: List orders.
    request: GET /orders
    resource: order
    params:
      customer: {type: string, description: Of whom.}
      search: {type: string, description: Words.}
      limit: {type: integer, description: At most., default: 20}
      page: {type: integer, description: Which page.}
    page: {type: page, param: page, size_param: limit, items: orders, total: total}
    examples:
      - response: {status: 200, data: {orders: [{id: ord_7f3k9Q, customer: ada, paid: false}], total: 1}}
  pay_order:
    description: Pay an order.
    request: PATCH /orders/{id}
    effect: update
    resource: order
    params:
      id: {type: string, description: Its id., required: true}
      paid: {type: boolean, description: Whether it is.}
      note: {type: string, description: A remark.}
    examples:
      - params: {id: ord_7f3k9Q, paid: true}
        response: {status: 200, data: {data: {id: ord_7f3k9Q, paid: true}}}
  delete_order:
    description: Cancel an order.
    request: DELETE /orders/{id}
    effect: delete
    resource: order
    params: {id: {type: string, description: Its id., required: true}}
    errors: [{status: 404, fix: List the orders.}]
    examples:
      - params: {id: ord_7f3k9Q}
        response: {status: 204}
"""


@dataclass(slots=True, kw_only=True)
class Trying:
    running: RunningGateway
    clock: HandClock

    async def ask(self, integration: str, action: str, params: Any = None, **more: Any) -> Answer:
        more.setdefault("key", self.running.org.test)
        return await self.running.call(integration, action, params, **more)

    async def data(self, integration: str, action: str, params: Any = None, **more: Any) -> Any:
        body = (await self.ask(integration, action, params, **more)).json()
        assert 200 <= body["status"] < 300, body
        return body["data"]

    async def status(self, integration: str, action: str, params: Any = None, **more: Any) -> int:
        return int((await self.ask(integration, action, params, **more)).json()["status"])

    async def another_key(self) -> str:
        made = await self.running.ask("POST", "/api-keys", body={"name": "another", "mode": "test"})
        return str(made.json()["full_key"])


@pytest_asyncio.fixture
async def tester(tmp_path: Path, database_setting: dict[str, Any]) -> AsyncIterator[Trying]:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "orders.yaml").write_text(ORDERS)
    clock = HandClock(time.time())
    async with gateway(tmp_path, definitions=tmp_path / "own", clock=clock, **database_setting) as running:
        yield Trying(running=running, clock=clock)


async def test_an_issue_that_was_opened_can_be_read_listed_and_closed(tester: Trying) -> None:
    made = await tester.data("github", "create_issue", {**REPO, "title": "It breaks", "body": "Here", "labels": ["bug"]})
    assert made["title"] == "It breaks"
    assert made["html_url"] == f"https://github.com/acme/shop/issues/{made['number']}"
    here = {**REPO, "issue_number": made["number"]}
    read = await tester.data("github", "get_issue", here)
    assert (read["title"], read["body"], read["number"]) == ("It breaks", "Here", made["number"])
    assert made["title"] in [issue["title"] for issue in await tester.data("github", "list_issues_for_repo", REPO)]
    closed = await tester.data("github", "update_issue", {**here, "state": "closed"})
    assert (closed["state"], closed["title"]) == ("closed", "It breaks")
    assert (await tester.data("github", "get_issue", here))["state"] == "closed"
    still_open = await tester.data("github", "list_issues_for_repo", {**REPO, "state": "open"})
    assert made["title"] not in [issue["title"] for issue in still_open]
    every = await tester.data("github", "list_issues_for_repo", {**REPO, "state": "all"})
    assert made["title"] in [issue["title"] for issue in every]


async def test_each_thing_that_is_made_has_an_id_of_its_own_in_the_form_of_the_example(tester: Trying) -> None:
    numbers = [(await tester.data("github", "create_issue", {**REPO, "title": "x"}))["number"] for _ in range(3)]
    assert numbers == [7, 8, 9]
    made = [(await tester.data("orders", "create_order", {"customer": "bob"}))["data"] for _ in range(3)]
    ids = [order["id"] for order in made]
    assert ids[0] == "ord_7f3k9Q"
    assert len(set(ids)) == 3
    assert all(len(one) == len(ids[0]) and one.startswith("ord_") for one in ids)
    assert [order["url"] for order in made] == [f"https://orders.example/o/{one}" for one in ids]


async def test_an_answer_says_what_the_call_said_and_not_what_only_the_example_did(tester: Trying) -> None:
    order = (await tester.data("orders", "create_order", {"customer": "bob", "note": "Ring twice"}))["data"]
    assert (order["customer"], order["tags"], order["paid"]) == ("bob", [], False)
    worded = (await tester.data("orders", "create_order", {"customer": "eve", "tags": ["a", "b"]}))["data"]
    assert worded["tags"] == [{"name": "a"}, {"name": "b"}]
    read = (await tester.data("orders", "get_order", {"id": order["id"]}))["data"]
    assert (read["customer"], read["note"]) == ("bob", "Ring twice")
    # One that nobody made is answered as the example is, under the id that was asked for.
    assert (await tester.data("orders", "get_order", {"id": "ord_other"}))["data"]["id"] == "ord_other"


async def test_what_was_deleted_is_gone_from_all_that_would_show_it(tester: Trying) -> None:
    order = (await tester.data("orders", "create_order", {"customer": "bob"}))["data"]["id"]
    await tester.data("orders", "delete_order", {"id": order})
    for action in ("get_order", "pay_order", "delete_order"):
        gone = (await tester.ask("orders", action, {"id": order})).json()
        assert (gone["status"], gone["data"]) == (404, {"error": "no_such_order"})
    assert gone["meta"]["hint"] == "List the orders."
    assert order not in [one["id"] for one in (await tester.data("orders", "list_orders"))["orders"]]
    # A deleted thing's id is nobody else's.
    assert (await tester.data("orders", "create_order", {"customer": "bob"}))["data"]["id"] != order


async def test_a_thing_of_the_examples_can_be_changed_too(tester: Trying) -> None:
    paid = await tester.data("orders", "pay_order", {"id": "ord_7f3k9Q", "paid": True})
    assert paid == {"data": {"id": "ord_7f3k9Q", "paid": True}}
    assert (await tester.data("orders", "get_order", {"id": "ord_7f3k9Q"}))["data"]["paid"] is True
    listed = (await tester.data("orders", "list_orders"))["orders"]
    assert [(one["id"], one["paid"]) for one in listed] == [("ord_7f3k9Q", True)]


async def test_a_list_is_filtered_searched_cut_and_counted(tester: Trying) -> None:
    for customer in ("bob", "eve", "bob"):
        tester.clock.move(1)
        await tester.data("orders", "create_order", {"customer": customer, "note": f"For {customer} only"})
    listed = await tester.data("orders", "list_orders")
    assert [one["customer"] for one in listed["orders"]] == ["bob", "eve", "bob"]
    assert listed["total"] == 3
    assert len((await tester.data("orders", "list_orders", {"customer": "bob"}))["orders"]) == 2
    assert len((await tester.data("orders", "list_orders", {"search": "EVE"}))["orders"]) == 1
    assert len((await tester.data("orders", "list_orders", {"limit": 2}))["orders"]) == 2
    # A second page has nothing of it: nothing is there twice.
    assert len((await tester.data("orders", "list_orders", {"page": 2}))["orders"]) == 1


async def test_a_thing_of_one_place_is_not_found_in_another(tester: Trying) -> None:
    made = await tester.data("github", "create_issue", {**REPO, "title": "Ours"})
    elsewhere = await tester.data("github", "get_issue", {"repo": "acme/other", "issue_number": made["number"]})
    assert elsewhere["title"] != "Ours"
    titles = [one["title"] for one in await tester.data("github", "list_issues_for_repo", {"repo": "acme/other"})]
    assert "Ours" not in titles


async def test_another_key_sees_nothing_of_it_nor_does_another_org(tester: Trying) -> None:
    made = await tester.data("github", "create_issue", {**REPO, "title": "Ours"})
    other = await tester.another_key()
    seen = await tester.data("github", "get_issue", {**REPO, "issue_number": made["number"]}, key=other)
    assert seen["title"] != "Ours"
    reset = await tester.running.ask("POST", "/v1/sandbox/reset", key=other, body={})
    assert reset.json() == {"forgotten": 0}
    assert (await tester.data("github", "get_issue", {**REPO, "issue_number": made["number"]}))["title"] == "Ours"


async def test_a_reset_and_seven_days_forget_it(tester: Trying) -> None:
    services = tester.running.services
    assert services is not None
    made = await tester.data("github", "create_issue", {**REPO, "title": "Ours"})
    here = {**REPO, "issue_number": made["number"]}
    reset = await tester.running.ask("POST", "/v1/sandbox/reset", key=tester.running.org.test, body={})
    assert reset.json() == {"forgotten": 1}
    assert (await tester.data("github", "get_issue", here))["title"] != "Ours"

    await tester.data("github", "create_issue", {**REPO, "title": "Ours"})
    assert await services.sandbox._store.forget(tester.clock() - MEMORY) == 0
    tester.clock.move(MEMORY + 1)
    assert await services.sandbox._store.forget(tester.clock() - MEMORY) == 1


async def test_ten_that_are_made_at_once_are_ten(tester: Trying) -> None:
    made = await asyncio.gather(
        *(tester.data("github", "create_issue", {**REPO, "title": f"Issue {number}"}) for number in range(10))
    )
    assert len({issue["number"] for issue in made}) == 10
    for issue in made:
        read = await tester.data("github", "get_issue", {**REPO, "issue_number": issue["number"]})
        assert read["title"] == issue["title"]


async def test_what_is_too_large_is_answered_and_not_kept(tester: Trying) -> None:
    order = (await tester.data("orders", "create_order", {"customer": "bob", "note": "x" * 20_000}))["data"]
    assert order["customer"] == "bob"
    assert (await tester.data("orders", "get_order", {"id": order["id"]}))["data"]["customer"] == "ada"


async def test_a_call_sent_again_under_its_key_makes_one_thing(tester: Trying) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = [
        await tester.ask("github", "create_issue", {**REPO, "title": "Once"}, headers=headers) for _ in range(2)
    ]
    assert first.json()["data"] == second.json()["data"]
    titles = [one["title"] for one in await tester.data("github", "list_issues_for_repo", REPO)]
    assert titles.count("Once") == 1


async def test_a_preflight_makes_nothing(tester: Trying) -> None:
    body = {"integration": "github", "action": "create_issue", "params": {**REPO, "title": "Not yet"}}
    assert (await tester.running.ask("POST", "/v1/preflight", key=tester.running.org.test, body=body)).json()["ok"]
    titles = [one["title"] for one in await tester.data("github", "list_issues_for_repo", REPO)]
    assert "Not yet" not in titles


# What is asked to go wrong


async def test_a_status_that_is_asked_for_is_the_answer_and_nothing_is_done(tester: Trying) -> None:
    forced = {"X-Sandbox-Status": "503"}
    answer = await tester.ask("github", "create_issue", {**REPO, "title": "Lost"}, headers=forced)
    assert (answer.status, answer.json()["status"]) == (200, 503)
    titles = [one["title"] for one in await tester.data("github", "list_issues_for_repo", REPO)]
    assert "Lost" not in titles
    known = await tester.ask("orders", "get_order", {"id": "a"}, headers={"X-Sandbox-Status": "404"})
    assert known.json()["data"] == {"error": "no_such_order"}


async def test_a_429_says_when_to_come_back(tester: Trying) -> None:
    answer = (await tester.ask("orders", "list_orders", headers={"X-Sandbox-Status": "429"})).json()
    assert answer["status"] == 429
    assert answer["meta"]["upstream"] == {"retry_after": "1"}


async def test_a_delay_that_is_asked_for_is_taken_by_runs_too(tester: Trying) -> None:
    began = time.monotonic()
    assert await tester.status("orders", "list_orders", headers={"X-Sandbox-Delay": "0.3"}) == 200
    assert time.monotonic() - began >= 0.3
    forced = {"X-Sandbox-Status": "500", "X-Sandbox-Delay": "0.1"}
    answer = await tester.ask("orders", "list_orders", headers=forced, wait=10)
    assert answer.json()["status"] == 500, answer.body


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Sandbox-Status", "99"), ("X-Sandbox-Status", "600"), ("X-Sandbox-Status", "abc"), ("X-Sandbox-Status", ""),
     ("X-Sandbox-Delay", "-1"), ("X-Sandbox-Delay", "10.1"), ("X-Sandbox-Delay", "1e3"), ("X-Sandbox-Delay", "nan")],
)
async def test_a_header_that_makes_no_sense_is_refused_by_its_name(tester: Trying, name: str, value: str) -> None:
    answer = await tester.ask("orders", "list_orders", headers={name: value})
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["details"]["fields"][0]["path"] == name


async def test_a_live_key_may_not_believe_that_it_is_in_a_sandbox(tester: Trying) -> None:
    live = tester.running.org.live
    answer = await tester.ask("orders", "list_orders", key=live, headers={"X-Sandbox-Status": "200"})
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    reset = await tester.running.ask("POST", "/v1/sandbox/reset", key=live, body={})
    assert (reset.status, reset.json()["error"]) == (403, "forbidden")
