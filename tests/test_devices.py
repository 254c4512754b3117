"""Device login from all sides: the program that polls, the person who approves, and whoever guesses codes."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.people.devices import ALPHABET, LONGEST_DEVICE, as_device
from gateway.core.tenants.keys import is_well_formed
from gateway.installation import open_installation
from gateway.store.keys import SqlKeys
from gateway.store.members import SqlMembers
from tests.conftest import lacking
from tests.fakes import npm
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, gateway
from tests.operator import Operator
from tests.people import OWN_SITE, Page, Person, invite, member_of, person, suspend

CLIENTS = Path(__file__).parent / "clients"
PACKAGE = Path(__file__).parent / "fakes" / "openid_client"


@pytest.fixture
async def running(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path, clock=clock, **database_setting) as made:
        yield made


@pytest.fixture
async def ada(running: RunningGateway) -> AsyncIterator[Person]:
    async with person(running, await invite(running, name="Ada")) as made:
        yield made


async def begin(running: RunningGateway, **body: Any) -> Any:
    answer = await running.ask("POST", "/auth/device/code", key="", body=body or None)
    assert answer.status == 200, answer.body
    return answer.json()


async def poll(running: RunningGateway, device_code: str) -> Answer:
    return await running.ask("POST", "/auth/device/token", key="", body={"device_code": device_code})


async def look(somebody: Person, code: str) -> Page:
    return await somebody.press(await somebody.open("/device"), "/device", user_code=code)


async def approve(somebody: Person, code: str, **typed: str) -> Page:
    shown = await look(somebody, code)
    assert shown.status == 200, shown.words
    return await somebody.press(shown, "/device/decision", **{"decision": "approve", **typed})


async def authorize(running: RunningGateway, code: str, *, key: str | None = None, **more: Any) -> Answer:
    return await running.ask("POST", "/auth/device/authorize", key=key, body={"user_code": code, **more})


# -- the whole way -------------------------------------------------------------------------------------


async def test_a_device_is_approved_on_the_page_and_gets_a_key_of_its_own(running: RunningGateway, ada: Person) -> None:
    begun = await begin(running, device_name="Ada's laptop")
    assert set(begun) == {
        "device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval",
    }  # fmt: skip
    assert (begun["expires_in"], begun["interval"]) == (900, 5)
    assert begun["verification_uri"] == f"{running.url}/device"
    assert begun["verification_uri_complete"] == f"{running.url}/device?user_code={begun['user_code']}"
    first, _, second = begun["user_code"].partition("-")
    assert len(first) == len(second) == 4 and set(first + second) <= set(ALPHABET)

    pending = await poll(running, begun["device_code"])
    assert (pending.status, pending.headers["Cache-Control"]) == (400, "no-store")
    body = pending.json()
    assert (body["error"], body["status"]) == ("authorization_pending", "pending")
    assert body["error_description"] == body["message"]

    shown = await look(ada, begun["user_code"])
    for named in ("Ada's laptop", "127.0.0.1", "Acme", "read only", "read write", "full access", "UTC"):
        assert named in shown.words
    done = await ada.press(shown, "/device/decision", decision="approve")
    assert done.status == 200 and "Approved" in done.words

    answer = await poll(running, begun["device_code"])
    assert answer.status == 200
    complete = answer.json()
    assert complete["status"] == "complete"
    assert complete["user"] == {"email": "ada@example.com", "display_name": "Ada"}
    assert complete["api_keys_url"] == f"{running.url}/keys"
    assert (complete["token_type"], complete["scope"]) == ("Bearer", "read_write")
    assert is_well_formed(complete["access_token"])
    verified = (await running.ask("GET", "/v1/verify", key=complete["access_token"])).json()
    assert (verified["api_key"]["name"], verified["api_key"]["level"]) == ("Ada's laptop", "read_write")
    assert verified["org"]["id"] == running.org.id

    again = await poll(running, begun["device_code"])
    assert (again.status, again.json()["error"]) == (400, "already_used")
    assert complete["access_token"] not in again.body.decode()
    audit = (await running.ask("GET", "/v1/events?kind=audit")).json()["events"]
    made = [event for event in audit if event["data"].get("name") == "Ada's laptop"]
    assert [(event["type"], event["actor"]["type"], event["actor"]["name"]) for event in made] == [
        ("api_key.created", "member", "Ada")
    ]
    [approved] = [event for event in audit if event["type"] == "device.approved"]
    assert approved["data"] == {"device": "Ada's laptop", "address": "127.0.0.1", "level": "read_write"}


async def test_nothing_that_is_opened_approves_anything(running: RunningGateway, ada: Person) -> None:
    """T191: whoever is sent a filled-in link still has to read, and to press twice."""
    begun = await begin(running)
    for _ in range(2):
        shown = await ada.open(begun["verification_uri_complete"])
        assert shown.form("/device").fields["user_code"] == begun["user_code"]
        # What asks is not even shown before the form was sent.
        assert "Approve" not in shown.words
    looked = await look(ada, begun["user_code"])
    assert "Approve only what you began yourself" in looked.words
    assert (await poll(running, begun["device_code"])).json()["status"] == "pending"


async def test_a_person_who_denies_is_told_to_the_device(running: RunningGateway, ada: Person) -> None:
    begun = await begin(running)
    shown = await look(ada, begun["user_code"])
    done = await ada.press(shown, "/device/decision", decision="deny")
    assert "Denied" in done.words
    answer = await poll(running, begun["device_code"])
    assert (answer.status, answer.json()["error"], answer.json()["status"]) == (400, "access_denied", "denied")
    # Decided is decided.
    assert (await ada.press(shown, "/device/decision", decision="approve")).status == 400
    assert (await poll(running, begun["device_code"])).json()["error"] == "access_denied"


@pytest.mark.parametrize("level", ["read_only", "read_write", "full_access"])
async def test_the_key_may_what_its_approver_chose(running: RunningGateway, ada: Person, level: str) -> None:
    begun = await begin(running)
    await approve(ada, begun["user_code"], level=level, typed_again=begun["user_code"].lower())
    answer = (await poll(running, begun["device_code"])).json()
    assert answer["scope"] == level
    shown = (await running.ask("GET", "/v1/verify", key=answer["access_token"])).json()["api_key"]
    assert (shown["level"], shown["scopes"], shown["mode"]) == (level, ["*"], "live")


async def test_full_access_takes_the_code_typed_once_more(running: RunningGateway, ada: Person) -> None:
    begun = await begin(running)
    for typed in ("", "BCDF-GHJK", begun["user_code"][:-1]):
        page = await approve(ada, begun["user_code"], level="full_access", typed_again=typed)
        assert page.status == 400 and "once more" in page.words
        assert page.form("/device/decision").fields["user_code"] == begun["user_code"]
    assert (await poll(running, begun["device_code"])).json()["status"] == "pending"
    assert (await approve(ada, begun["user_code"], level="root")).status == 400


async def test_a_code_is_read_as_people_type_it(running: RunningGateway, ada: Person) -> None:
    for spell in (
        str.lower, lambda code: code.replace("-", ""), lambda code: f"  {code.replace('-', ' ').lower()} ",
        lambda code: code.replace("-", "\u2013"), lambda code: " ".join(code),
    ):  # fmt: skip
        begun = await begin(running)
        assert (await look(ada, spell(begun["user_code"]))).status == 200


# -- what a device may send, and how it calls itself ----------------------------------------------------


async def test_a_device_may_send_json_a_form_or_nothing_and_more_than_we_know(running: RunningGateway, ada: Person) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for raw, headers in (
        (None, None),
        (b"", form),
        (b"client_id=x&scope=openid+email", form),
        (b'{"client_id": "x", "scope": ["a"]}', None),
    ):
        answer = await running.ask("POST", "/auth/device/code", key="", raw=raw, headers=headers)
        assert answer.status == 200, raw
    begun = answer.json()
    grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=x"
    polled = await running.ask(
        "POST", "/auth/device/token", key="", raw=f"{grant}&device_code={begun['device_code']}".encode(), headers=form
    )
    assert polled.json()["error"] == "authorization_pending"
    await approve(ada, begun["user_code"])
    polled = await running.ask(
        "POST", "/auth/device/token", key="", raw=f"{grant}&device_code={begun['device_code']}".encode(), headers=form
    )
    assert polled.status == 200


WRONG_POLLS = [
    (b"{", "application/json", 400),
    (b"[]", "application/json", 400),
    (b"{}", "application/json", 400),
    (b'{"device_code": ""}', "application/json", 400),
    (b'{"device_code": 7}', "application/json", 400),
    (b'{"device_code": "a", "device_code": "b"}', "application/json", 400),
    (b'{"device_code": "' + b"x" * 200 + b'"}', "application/json", 400),
    (b"device_code=x", "text/plain", 415),
    (b"a=b&" * 600, "application/x-www-form-urlencoded", 400),
    (b"device_code=%ff", "application/x-www-form-urlencoded", 400),
    (b'{"device_code": "nobody-has-this"}', "application/json", 404),
    (b'{"device_code": "\\u0000"}', "application/json", 404),
]


async def test_a_wrong_poll_is_told_in_both_vocabularies(running: RunningGateway) -> None:
    for raw, content_type, status in WRONG_POLLS:
        headers = {"Content-Type": content_type}
        answer = await running.ask("POST", "/auth/device/token", key="", raw=raw, headers=headers)
        assert answer.status == status, (raw, answer.body)
        assert answer.json()["error_description"] == answer.json()["message"]
        assert "status" not in answer.json()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("laptop", "laptop"), ("  a\tb\nc  ", "a b c"), ("\x1b[31mred\x1b[0m", "[31mred [0m"), ("x" * 500, "x" * LONGEST_DEVICE),
        ("", None), ("\x00\x01", None), (None, None), ("\u202eevil", "evil"), ("größe ✓", "größe ✓"),
    ],
)  # fmt: skip
def test_what_a_device_calls_itself_is_made_fit_to_be_shown(said: str | None, kept: str | None) -> None:
    assert as_device(said) == kept


async def test_without_a_name_a_device_is_its_user_agent(running: RunningGateway, ada: Person) -> None:
    for agent, name in (("curl/8.5\tX", "curl/8.5 X"), ("", "a device")):
        answer = await running.ask("POST", "/auth/device/code", key="", headers={"User-Agent": agent})
        assert f"Calls itself {name} Asked" in (await look(ada, answer.json()["user_code"])).words


async def test_a_hostile_name_is_words_and_nothing_else(running: RunningGateway, ada: Person) -> None:
    calm = await look(ada, (await begin(running, device_name="calm"))["user_code"])
    for name in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "'/><b>"):
        begun = await begin(running, device_name=name)
        page = await look(ada, begun["user_code"])
        assert page.tags == calm.tags and name in page.words
        assert name in (await ada.press(page, "/device/decision", decision="approve")).words
        await poll(running, begun["device_code"])
        assert name in (await ada.open("/keys")).words and "<script" not in (await ada.open("/keys")).html


# -- time ---------------------------------------------------------------------------------------------


async def test_who_polls_too_fast_is_slowed_down(running: RunningGateway, ada: Person, clock: HandClock) -> None:
    begun = await begin(running)
    told = []
    for wait in (5, 5, 1, 5, 15):
        clock.move(wait)
        answer = await poll(running, begun["device_code"])
        told.append((answer.json()["error"], answer.headers.get("Retry-After")))
    assert told == [
        ("authorization_pending", None), ("authorization_pending", None), ("slow_down", "10"), ("slow_down", "15"),
        ("authorization_pending", None),
    ]  # fmt: skip
    # Whoever was hasty gets the key all the same, once it is there.
    await approve(ada, begun["user_code"])
    assert (await poll(running, begun["device_code"])).status == 200


async def test_a_code_ends_after_fifteen_minutes(running: RunningGateway, ada: Person, clock: HandClock) -> None:
    early, late = await begin(running), await begin(running)
    shown = await look(ada, early["user_code"])
    await approve(ada, late["user_code"])
    clock.move(901)
    assert (await look(ada, early["user_code"])).status == 400
    assert (await ada.press(shown, "/device/decision", decision="approve")).status == 400
    for begun in (early, late):
        answer = await poll(running, begun["device_code"])
        assert (answer.json()["error"], answer.json()["status"]) == ("expired_token", "expired")


async def test_many_polls_at_once_bring_one_key(running: RunningGateway, ada: Person) -> None:
    begun = await begin(running, device_name="eager")
    await approve(ada, begun["user_code"])
    answers = await asyncio.gather(*(poll(running, begun["device_code"]) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 19
    assert {answer.json()["error"] for answer in answers if answer.status == 400} == {"already_used"}
    listed = (await running.ask("GET", "/api-keys")).json()
    assert len([key for key in listed if key["name"] == "eager"]) == 1


# -- who may approve --------------------------------------------------------------------------------------


async def test_a_program_approves_with_a_session_or_a_live_key_of_full_access(running: RunningGateway, ada: Person) -> None:
    begun = await begin(running)
    assert (await authorize(running, begun["user_code"], key="")).json()["error"] == "unauthorized"
    narrow = (await running.ask("POST", "/api-keys", body={"name": "n", "level": "read_write"})).json()["full_key"]
    for key in (narrow, running.org.test):
        assert (await authorize(running, begun["user_code"], key=key)).json()["error"] == "forbidden"
    done = await authorize(running, begun["user_code"].lower(), level="read_only")
    assert (done.status, done.json()) == (200, {"status": "authorized"})
    answer = (await poll(running, begun["device_code"])).json()
    assert answer["scope"] == "read_only" and answer["user"] == {"email": None, "display_name": "Acme"}
    made = (await running.ask("GET", "/v1/verify", key=answer["access_token"])).json()["api_key"]
    assert made["parent"] is not None

    cookie = {"Cookie": f"skillway_session={ada.cookies['skillway_session']}"}
    begun = await begin(running)
    for headers, status in (({"Sec-Fetch-Site": "cross-site"}, 403), (OWN_SITE, 200)):
        done = await running.ask(
            "POST", "/auth/device/authorize", key="", body={"user_code": begun["user_code"]}, headers=cookie | headers
        )
        assert done.status == status
    assert (await poll(running, begun["device_code"])).json()["user"]["display_name"] == "Ada"

    begun = await begin(running)
    denied = await authorize(running, begun["user_code"], deny=True)
    assert (denied.status, denied.json()) == (200, {"status": "denied"})
    assert (await poll(running, begun["device_code"])).json()["status"] == "denied"


async def test_a_wrong_authorization_is_refused(running: RunningGateway) -> None:
    for body in (
        {}, {"user_code": 7}, {"user_code": "x", "deny": "yes"}, {"user_code": "x", "level": "root"}, {"user_cod": "x"},
    ):  # fmt: skip
        answer = await running.ask("POST", "/auth/device/authorize", body=body)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request"), body


async def test_a_key_that_approves_gives_no_more_than_it_has_and_takes_it_along(running: RunningGateway) -> None:
    maker = (await running.ask("POST", "/api-keys", body={"name": "m", "scopes": ["github"]})).json()
    begun = await begin(running)
    await authorize(running, begun["user_code"], key=maker["full_key"], level="full_access")
    token = (await poll(running, begun["device_code"])).json()["access_token"]
    shown = (await running.ask("GET", "/v1/verify", key=token)).json()["api_key"]
    assert (shown["scopes"], shown["level"], shown["parent"]) == (["github"], "full_access", maker["api_key"]["id"])
    later = await begin(running)
    await authorize(running, later["user_code"], key=maker["full_key"])
    await running.ask("DELETE", f"/api-keys/{maker['api_key']['id']}")
    assert (await running.ask("GET", "/v1/verify", key=token)).json()["error"] == "api_key_revoked"
    # What a key approved that no longer works is worth nothing any more.
    assert (await poll(running, later["device_code"])).json()["error"] == "access_denied"


async def test_whoever_may_no_longer_approve_has_approved_nothing(running: RunningGateway, ada: Person) -> None:
    begun, other = await begin(running), await begin(running)
    for one in (begun, other):
        await approve(ada, one["user_code"])
    await suspend(running)
    assert (await poll(running, begun["device_code"])).json()["error"] == "forbidden"
    await suspend(running, undo=True)
    assert (await poll(running, begun["device_code"])).status == 200
    assert running.services is not None
    async with open_installation(running.services.settings) as opened:
        await SqlMembers(opened.database).remove(running.org.id, (await member_of(running)).id)
    answer = await poll(running, other["device_code"])
    assert (answer.json()["error"], answer.json()["status"]) == ("access_denied", "denied")


async def test_a_device_finds_no_more_room_than_the_plan_has(tmp_path: Path, database_setting: dict[str, Any]) -> None:
    async with gateway(tmp_path, plans={"free": {"api_keys": 3}}, plan="free", **database_setting) as running:
        async with person(running, await invite(running)) as ada:
            first, second = await begin(running), await begin(running)
            for one in (first, second):
                await approve(ada, one["user_code"])
            assert (await poll(running, first["device_code"])).status == 200
            refused = await poll(running, second["device_code"])
            assert (refused.status, refused.json()["error"]) == (403, "plan_limit_reached")
            third = await begin(running)
            page = await approve(ada, third["user_code"])
            assert page.status == 403 and "Plan limit reached" in page.words
            # Once there is room the device that waits gets its key.
            assert running.services is not None
            async with open_installation(running.services.settings) as opened:
                keys = SqlKeys(opened.database)
                await keys.revoke(running.org.id, (await keys.list(running.org.id))[1].id)
            assert (await poll(running, second["device_code"])).status == 200


# -- guessing ---------------------------------------------------------------------------------------------


def guesses() -> list[str]:
    return ["".join(letters) for letters in itertools.islice(itertools.product(ALPHABET, repeat=8), 200)]


async def test_five_wrong_codes_are_answered_and_then_none_for_fifteen_minutes(
    running: RunningGateway, ada: Person, clock: HandClock
) -> None:
    """T192."""
    begun = await begin(running)
    pages = [await look(ada, guess) for guess in guesses()[:12]]
    assert [page.status for page in pages] == [400] * 5 + [429] * 7
    # Not even the right one; neither by another of her sessions, nor by the API.
    async with person(running, await invite(running)) as again:
        assert (await look(again, begun["user_code"])).status == 429
    cookie = {"Cookie": f"skillway_session={ada.cookies['skillway_session']}", **OWN_SITE}
    answer = await running.ask(
        "POST", "/auth/device/authorize", key="", body={"user_code": begun["user_code"]}, headers=cookie
    )
    assert (answer.status, answer.json()["error"]) == (429, "rate_limited") and int(answer.headers["Retry-After"]) >= 1
    assert (await poll(running, begun["device_code"])).json()["status"] == "pending"
    clock.move(899)
    begun = await begin(running)
    assert (await look(ada, begun["user_code"])).status == 429
    clock.move(2)
    assert (await look(ada, begun["user_code"])).status == 200


async def test_guesses_sent_at_once_do_not_slip_through(running: RunningGateway, ada: Person) -> None:
    token = (await ada.open("/device")).form("/device").fields["form_token"]
    sent = (ada.send("/device", {"form_token": token, "user_code": guess}) for guess in guesses()[:40])
    pages = await asyncio.gather(*sent)
    assert sorted(page.status for page in pages) == [400] * 5 + [429] * 35


async def test_right_codes_do_not_buy_more_wrong_ones(running: RunningGateway, ada: Person) -> None:
    """Whoever guesses can have right codes of their own at any time."""
    wrong, answered = iter(guesses()), 0
    for _ in range(10):
        own = await begin(running)
        if (await look(ada, own["user_code"])).status == 429:
            break
        answered += (await look(ada, next(wrong))).status == 400
    assert answered == 5
    # And whoever types right as often as they like is not held back.
    async with person(running, await invite(running, "bob@example.com")) as bob:
        for _ in range(8):
            assert (await look(bob, (await begin(running))["user_code"])).status == 200


async def test_one_address_guesses_for_all_its_members_together(running: RunningGateway) -> None:
    wrong, answered, refused = iter(guesses()), 0, 0
    for number in range(8):
        async with person(running, await invite(running, f"m{number}@example.com")) as member:
            for _ in range(6):
                status = (await look(member, next(wrong))).status
                answered, refused = answered + (status == 400), refused + (status == 429)
    assert (answered, answered + refused) == (30, 48)


async def test_a_key_that_guesses_is_stopped_as_well(running: RunningGateway) -> None:
    statuses = [(await authorize(running, guess)).status for guess in guesses()[:10]]
    assert statuses == [400] * 5 + [429] * 5


async def test_one_address_begins_so_many_devices_an_hour(running: RunningGateway, clock: HandClock) -> None:
    answers = await asyncio.gather(
        *(running.ask("POST", "/auth/device/code", key="") for _ in range(110))
    )
    assert sorted(answer.status for answer in answers) == [200] * 100 + [429] * 10
    clock.move(3601)
    assert (await running.ask("POST", "/auth/device/code", key="")).status == 200


# -- a client that we did not write -------------------------------------------------------------------------


@pytest.mark.parametrize("approves", [True, False], ids=["approved", "denied"])
async def test_the_openid_client_of_npm_logs_in(tmp_path: Path, approves: bool) -> None:
    node = shutil.which("node")
    if node is None or not npm.is_at_hand(PACKAGE):
        lacking("node with npm")
    package = await asyncio.to_thread(npm.installed, PACKAGE)
    async with gateway(tmp_path) as running:
        process = await asyncio.create_subprocess_exec(
            str(node), str(CLIENTS / "device.mjs"), str(package), running.url, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            begun = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
            assert begun["verification_uri_complete"].startswith(running.url)
            # It waits five seconds before it asks; what it is told first is that nobody has approved.
            await asyncio.sleep(5.5 if approves else 0)
            await authorize(running, begun["user_code"], deny=not approves)
            ended = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if approves:
            assert (ended["token_type"], ended["scope"]) == ("bearer", "read_write")
            verified = (await running.ask("GET", "/v1/verify", key=ended["access_token"])).json()
            assert verified["api_key"]["name"].startswith("openid-client/")
        else:
            assert ended == {"failed": "access_denied", "description": "The request was denied."}


async def test_skillway_login_gets_a_key_of_this_machine(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here")
    org = operator.init()
    async with operator.serving(org) as running:
        here = operator.with_settings(url=running.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "login", "--no-browser", "--no-skill",
            cwd=here.folder, env=here.environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None and process.stdout is not None
        said = ""
        while (code := re.search(r"type this code there: (\S+)", said)) is None:
            said += (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
        assert f"open this page: {running.url}/device\n" in said
        assert (await authorize(running, code[1])).status == 200
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0
        assert json.loads(out)["status"] == "logged_in"
        who = (await here.later("whoami")).json()
        assert who["api_key"]["name"].startswith("skillway on ") and who["api_key"]["level"] == "read_write"
        assert who["org"]["id"] == org.id
        assert code[1] not in operator.log() and code[1].replace("-", "") not in operator.log()
