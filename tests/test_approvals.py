"""Approvals: a call that a person has to look at waits, goes on exactly as it was asked, once, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.installation import open_installation
from gateway.store.orgs import SqlOrgs
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway
from tests.people import Person, invite, person
from tests.workshop import Workshop, workshop

Shop = tuple[RunningGateway, Workshop]
RULE = {"effects": ["send"], "when": [{"action": "shop.put", "if": "note == 'much'"}]}


@pytest.fixture
async def shop(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[Shop]:
    async with workshop(tmp_path, clock=clock, **database_setting) as (running, upstream):
        yield running, upstream


@pytest.fixture
async def ada(shop: Shop) -> AsyncIterator[Person]:
    async with person(shop[0], await invite(shop[0], name="Ada")) as made:
        yield made


async def agent(running: RunningGateway, rule: Any = RULE, **more: Any) -> str:
    """A key whose calls have to be approved."""
    made = await running.ask("POST", "/api-keys", body={"name": "agent 7", "approval": rule, **more})
    assert made.status == 201, made.body
    return str(made.json()["full_key"])


async def call(running: RunningGateway, key: str, action: str = "send", note: str = "x", **more: Any) -> Answer:
    return await running.call("shop", action, {"note": note}, key=key, **more)


def parked(answer: Answer) -> str:
    """The run of a call that waits."""
    body = answer.json()
    assert (answer.status, body["error"], body["outcome"], body["retryable"]) == (
        403, "approval_required", "not_sent", False,
    ), answer.body  # fmt: skip
    assert body["action_url"].endswith(f"/approvals/{body['run_id']}")
    assert answer.headers["x-should-retry"] == "false"
    return str(body["run_id"])


async def run_of(running: RunningGateway, key: str, run_id: str, wait: int = 0) -> Any:
    answer = await running.ask("GET", f"/v1/runs/{run_id}?wait={wait}", key=key)
    assert answer.status == 200, answer.body
    return answer.json()


async def decide(member: Person, run_id: str, decision: str) -> Any:
    page = await member.open(f"/approvals/{run_id}")
    assert page.status == 200, page.words
    return await member.press(page, run_id, decision=decision)


# ---------------------------------------------------------------------------------------------------- the way


async def test_a_call_waits_for_a_person_and_then_goes_on_exactly_as_it_was_asked(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key, note="to <everybody>"))
    waiting = await run_of(running, key, run_id)
    assert (waiting["status"], waiting["finished_at"]) == ("awaiting_approval", None)
    assert waiting["action_url"].endswith(f"/approvals/{run_id}")
    assert upstream.seen == []

    listed = await ada.open("/approvals")
    assert "shop.send" in listed.words and run_id in listed.html
    page = await ada.open(f"/approvals/{run_id}")
    for shown in ("shop.send", "send", "agent 7", "default", "POST", "/send", '{"note":"to <everybody>"}'):
        assert shown in page.words, page.words
    assert "<everybody>" not in page.html
    assert (await ada.press(page, run_id, decision="approve")).status == 200

    run = await run_of(running, key, run_id, wait=20)
    assert (run["status"], run["upstream_status"]) == ("completed", 200)
    assert run["result"]["data"]["echo"] == {"note": "to <everybody>"}
    assert upstream.count("/send") == 1
    told = (await running.ask("GET", "/v1/events?kind=approval")).json()["events"]
    assert [event["type"] for event in told] == ["approval.asked", "approval.granted"]
    audit = (await running.ask("GET", "/v1/events?kind=audit")).json()["events"]
    assert [event["actor"]["name"] for event in audit if event["type"] == "approval.granted"] == ["Ada"]


async def test_what_is_denied_is_never_sent_and_says_so(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    assert (await decide(ada, run_id, "deny")).status == 200
    run = await run_of(running, key, run_id)
    assert (run["status"], run["error"]["error"], run["outcome"]) == ("cancelled", "forbidden", "not_sent")
    assert "Ada" in run["error"]["message"]
    assert run["credits_used"] == 0 and upstream.seen == []


async def test_what_nobody_decides_on_in_time_is_over(shop: Shop, ada: Person, clock: HandClock) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    page = await ada.open(f"/approvals/{run_id}")
    clock.move(3601)
    late = await ada.press(page, run_id, decision="approve")
    assert late.status == 409, late.words
    assert running.services is not None
    assert await running.services.approvals.expire() == 1
    assert await running.services.approvals.expire() == 0
    run = await run_of(running, key, run_id)
    assert (run["status"], run["error"]["error"]) == ("cancelled", "approval_required")
    assert upstream.seen == []


# ------------------------------------------------------------------------------------------------ what asks for it


@pytest.mark.parametrize(
    ("action", "note", "waits"),
    [
        ("send", "x", True),
        ("put", "much", True),
        ("put", "little", False),
        ("look", "much", False),
        ("remove", "x", False),
    ],
)
async def test_effects_and_conditions_say_which_calls_wait(shop: Shop, action: str, note: str, waits: bool) -> None:
    running, upstream = shop
    answer = await call(running, await agent(running), action, note)
    if waits:
        parked(answer)
    else:
        assert answer.status == 200, answer.body
    assert len(upstream.seen) == (not waits)


async def test_a_condition_that_cannot_be_judged_is_judged_by_a_person(shop: Shop) -> None:
    rule = {"when": [{"action": "shop.*", "if": "abs(note) > `1`"}]}
    parked(await call(shop[0], await agent(shop[0], rule)))


async def test_a_key_that_a_key_makes_has_to_ask_for_as_much_and_more(shop: Shop) -> None:
    running, _ = shop
    mother = await agent(running)
    made = await running.ask(
        "POST", "/api-keys", key=mother, body={"name": "child", "approval": {"effects": ["update"]}}
    )
    child = made.json()["full_key"]
    assert made.json()["api_key"]["approval"] == {"effects": ["send", "update"], "when": RULE["when"]}
    parked(await call(running, child, "send"))
    parked(await call(running, child, "put", "little"))


async def test_a_plan_asks_for_all_keys_of_its_orgs(tmp_path: Path, clock: HandClock) -> None:
    plans = {"careful": {"approval": {"effects": ["delete"], "when": [{"action": "shop.send"}]}}}
    async with workshop(tmp_path, clock=clock, plans=plans, plan="careful") as (running, upstream):
        parked(await call(running, running.org.live, "remove"))
        parked(await call(running, running.org.live, "send"))
        assert (await call(running, running.org.live, "put")).status == 200
        assert upstream.count("/put") == len(upstream.seen) == 1


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"effects": ["sending"]}, "approval/effects/0"),
        ({"when": [{"if": "a"}]}, "approval/when/0"),
        ({"when": [{"action": "shop.put", "if": "a["}]}, "approval/when/0/if"),
        ({"when": [{"action": "shop put"}]}, "approval/when/0/action"),
        ({"effect": ["send"]}, "approval"),
        ([], "approval"),
    ],
)
async def test_a_rule_that_cannot_be_meant_is_told_with_its_place(shop: Shop, rule: Any, path: str) -> None:
    answer = await shop[0].ask("POST", "/api-keys", body={"name": "k", "approval": rule})
    assert answer.status == 400, answer.body
    assert answer.json()["details"]["fields"][0]["path"].startswith(path), answer.body


async def test_a_preflight_says_that_somebody_has_to_approve(shop: Shop) -> None:
    running, upstream = shop
    body = {"integration": "shop", "action": "send", "params": {"note": "x"}}
    shown = (await running.ask("POST", "/v1/preflight", key=await agent(running), body=body)).json()
    assert not shown["ok"]
    assert [problem["error"] for problem in shown["problems"]] == ["approval_required"]
    assert (await running.ask("GET", "/v1/runs")).json()["runs"] == [] and upstream.seen == []


# ------------------------------------------------------------------------------------------------ once, and bound


async def test_the_same_call_again_is_the_same_wish_and_a_new_one_once_it_was_decided(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key = await agent(running)
    first = parked(await call(running, key))
    answers = await asyncio.gather(*(call(running, key) for _ in range(20)))
    assert {parked(answer) for answer in answers} == {first}
    assert parked(await call(running, key, note="y")) != first
    await decide(ada, first, "approve")
    assert (await run_of(running, key, first, wait=20))["status"] == "completed"
    second = parked(await call(running, key))
    assert second != first and upstream.count("/send") == 1


async def test_an_idempotency_key_stands_for_the_call_before_and_after_it_was_approved(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key, head = await agent(running), {"Idempotency-Key": "k-1"}
    run_id = parked(await call(running, key, headers=head))
    assert parked(await call(running, key, headers=head)) == run_id
    other = await call(running, key, note="swapped", headers=head)
    assert (other.status, other.json()["error"]) == (409, "idempotency_conflict")
    await decide(ada, run_id, "approve")
    await run_of(running, key, run_id, wait=20)
    again = await call(running, key, headers=head)
    assert again.status == 200 and again.json()["meta"]["replayed"] is True
    assert again.json()["data"]["echo"] == {"note": "x"}
    swapped = await call(running, key, note="swapped", headers=head)
    assert (swapped.status, swapped.json()["error"]) == (409, "idempotency_conflict")
    assert upstream.count("/send") == 1


async def test_ten_members_press_at_once_and_it_is_sent_once(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    page = await ada.open(f"/approvals/{run_id}")
    pressed = await asyncio.gather(*(ada.press(page, run_id, decision="approve") for _ in range(10)))
    assert sorted(answer.status for answer in pressed) == [200, *[409] * 9]
    await run_of(running, key, run_id, wait=20)
    assert upstream.count("/send") == 1


async def test_what_was_looked_at_is_what_is_sent_or_nothing_is(shop: Shop, ada: Person, tmp_path: Path) -> None:
    """The definition changes between the asking and the deciding: nobody approves what they did not see."""
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    page = await ada.open(f"/approvals/{run_id}")
    redefine(running, tmp_path)
    refused = await ada.press(page, run_id, decision="approve")
    assert refused.status == 409 and "changed" in refused.words
    shown = await ada.open(f"/approvals/{run_id}")
    assert "can only be denied" in shown.words
    assert 'value="approve"' not in shown.html
    assert (await ada.press(shown, run_id, decision="deny")).status == 200
    assert upstream.seen == []


def redefine(running: RunningGateway, folder: Path) -> None:
    """The operator's file says something else, and the gateway has read it."""
    [path] = [one for one in (folder / "definitions").rglob("*") if one.is_file()]
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "description": "Makes other things."}))
    assert running.services is not None
    catalogs = running.services.catalogs
    before = catalogs.current.digest
    catalogs.reload()
    assert catalogs.current.digest != before


async def test_a_key_that_was_revoked_in_the_meantime_sends_nothing(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    made = (await running.ask("POST", "/api-keys", body={"name": "agent 7", "approval": RULE})).json()
    run_id = parked(await call(running, made["full_key"]))
    assert (await running.ask("DELETE", f"/api-keys/{made['api_key']['id']}")).status == 204
    shown = await ada.open(f"/approvals/{run_id}")
    assert "revoked" in shown.words
    await ada.press(shown, run_id, decision="approve")
    run = await run_of(running, running.org.live, run_id, wait=20)
    assert (run["status"], run["error"]["error"]) == ("failed", "api_key_revoked")
    assert upstream.seen == []


async def test_it_can_be_cancelled_by_whoever_asked(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    page = await ada.open(f"/approvals/{run_id}")
    cancelled = await running.ask("POST", f"/v1/runs/{run_id}/cancel", key=key, body={})
    assert (cancelled.status, cancelled.json()["status"]) == (200, "cancelled")
    assert (await ada.press(page, run_id, decision="approve")).status == 409
    assert upstream.seen == []


async def test_doing_it_again_has_to_be_approved_again(shop: Shop, ada: Person) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    await decide(ada, run_id, "approve")
    await run_of(running, key, run_id, wait=20)
    again = await running.ask("POST", f"/v1/runs/{run_id}/retry", key=key, body={})
    assert parked(again) != run_id
    assert upstream.count("/send") == 1


async def test_async_and_streamed_calls_wait_like_all_others(shop: Shop) -> None:
    running, upstream = shop
    key = await agent(running)
    parked(await running.call("shop", "send", {"note": "x"}, key=key, **{"async": True}))
    parked(await call(running, key, note="y", wait=5))
    raw = await running.ask("POST", "/v1/shop/send?raw=1", key=key, body={"params": {"note": "z"}})
    parked(raw)
    assert upstream.seen == []


# ---------------------------------------------------------------------------------------------------- who may


async def test_no_key_approves_anything(shop: Shop) -> None:
    running, upstream = shop
    key = await agent(running)
    run_id = parked(await call(running, key))
    for token in (key, running.org.live):
        for method in ("GET", "POST"):
            answer = await running.ask(method, f"/approvals/{run_id}", key=token, raw=b"decision=approve")
            assert answer.status == 303 and "/sign-in" in answer.headers["Location"]
    assert (await run_of(running, key, run_id))["status"] == "awaiting_approval"
    assert upstream.seen == []


async def test_a_form_of_another_site_decides_nothing(shop: Shop, ada: Person) -> None:
    running, _ = shop
    run_id = parked(await call(running, await agent(running)))
    page = await ada.open(f"/approvals/{run_id}")
    fields = {**page.form(run_id).fields, "decision": "approve"}
    foreign = await ada.send(f"/approvals/{run_id}", fields, headers={"Sec-Fetch-Site": "cross-site"})
    without = await ada.send(f"/approvals/{run_id}", {"decision": "approve"})
    assert (foreign.status, without.status) == (403, 403)
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]


async def test_a_member_of_another_org_sees_nothing_of_it(shop: Shop, tmp_path: Path) -> None:
    running, _ = shop
    run_id = parked(await call(running, await agent(running)))
    assert running.services is not None
    async with open_installation(running.services.settings) as opened:
        other = await SqlOrgs(opened.database).create("Other & Sons")
    async with person(running, await invite(running, "eve@example.com", org=other.id)) as eve:
        theirs, nobodys = await eve.open(f"/approvals/{run_id}"), await eve.open(f"/approvals/run_{'0' * 32}")
        assert theirs.status == nobodys.status == 404
        assert theirs.html.replace(run_id, "") == nobodys.html.replace("run_" + "0" * 32, "")
        assert "shop.send" not in (await eve.open("/approvals")).words


async def test_a_signed_out_person_signs_in_and_comes_back_to_the_page(shop: Shop) -> None:
    running, _ = shop
    run_id = parked(await call(running, await agent(running)))
    async with person(running) as nobody:
        sent = await nobody.open(f"/approvals/{run_id}")
        assert sent.status == 303 and f"next=%2Fapprovals%2F{run_id}" in sent.location
