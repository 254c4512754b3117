"""Signing in by a link, sessions, signing out: what works, what must not, and what a copy of the database gives away."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import yarl

from gateway.installation import open_installation
from gateway.store.members import SqlMembers
from gateway.ui.addresses import is_own
from tests.fakes.upstream import HandClock
from tests.harness import RunningGateway, gateway, make_org
from tests.leaks import files, leaks
from tests.operator import MISCONFIGURED, Operator
from tests.people import OWN_SITE, Person, invite, member_of, person, suspend


@pytest.fixture
async def running(tmp_path: Path, database_setting: dict[str, Any], clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path, clock=clock, **database_setting) as made:
        yield made


async def is_signed_in(somebody: Person) -> bool:
    page = await somebody.open("/keys")
    assert page.status == 200 or page.location == f"{somebody.running.url}/sign-in", page.words
    return page.status == 200


# -- the link ----------------------------------------------------------------------------------------


async def test_a_link_says_whom_it_signs_in_and_works_once(running: RunningGateway) -> None:
    link = await invite(running, name="Ada Lovelace")
    async with person(running) as ada, person(running) as other:
        shown = await ada.open(link)
        for named in ("Acme", "Ada Lovelace", "ada@example.com"):
            assert named in shown.words
        done = await ada.press(shown)
        assert (done.status, done.location) == (303, f"{running.url}/keys")
        assert await is_signed_in(ada)
        # The same link a second time, in the same browser and in another.
        for somebody in (ada, other):
            again = await somebody.open(link)
            assert again.status == 400 and "was used" in again.words
        assert not await is_signed_in(other)


async def test_only_the_button_uses_a_link_up(running: RunningGateway) -> None:
    """What scans mail opens every link in it."""
    link = await invite(running)
    async with person(running) as scanner:
        for _ in range(3):
            assert (await scanner.open(link)).status == 200
        async with scanner.session.head(link) as head:
            assert head.status == 200
        assert not await is_signed_in(scanner)
    async with person(running) as ada:
        await ada.sign_in(link)
        assert await is_signed_in(ada)


async def test_a_link_ends_after_a_day_and_when_there_is_a_newer_one(running: RunningGateway, clock: HandClock) -> None:
    first = await invite(running)
    second = await invite(running)
    async with person(running) as ada:
        assert (await ada.open(first)).status == 400
        shown = await ada.open(second)
        clock.move(24 * 3600 + 1)
        assert (await ada.press(shown)).status == 400
        assert (await ada.open(second)).status == 400
        third = await invite(running)
        clock.move(24 * 3600 - 1)
        await ada.sign_in(third)
        assert await is_signed_in(ada)


async def test_a_link_pressed_many_times_at_once_makes_one_session(running: RunningGateway) -> None:
    link = await invite(running)
    async with person(running) as ada:
        shown = await ada.open(link)
        done = await asyncio.gather(*(ada.press(shown) for _ in range(10)))
        assert sorted(page.status for page in done) == [303] + [400] * 9


async def test_what_is_no_link_signs_nobody_in(running: RunningGateway) -> None:
    async with person(running) as nobody:
        for token in ("", "x", "A" * 43, "%00", "'--", "é" * 43, "x" * 5000):
            page = await nobody.open(f"/sign-in/link?t={quote(token)}")
            assert page.status == 400 and "Ask for a new link" in page.words, token


async def test_a_link_goes_on_to_a_page_of_ours(running: RunningGateway) -> None:
    link = await invite(running)
    async with person(running) as ada:
        done = await ada.press(await ada.open(f"{link}&next={quote('/device?user_code=BCDF-GHJK')}"))
        assert done.location == f"{running.url}/device?user_code=BCDF-GHJK"


# -- where a person may be sent -------------------------------------------------------------------------

ELSEWHERE = [
    "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/%09/evil.example", "/%2f/evil.example",
    "/%5cevil.example", "javascript:alert(1)", "/keys@evil.example", "/keys/../..//evil.example", "/keys?next=//evil.example",
    "/keys\n", "/keys\r\nX: y", "/keys#", "keys", "", "/", "/sign-out", "/device?user_code=//x", "/connect/conn_1/../../x",
    "/connect/new?t=a&next=//evil.example", "/keys//", "/v1/skills", "/connect/conn_1?x=https://evil.example", "/ｋeys",
]


async def test_nobody_is_sent_elsewhere(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running, person(running) as ada:
        await _refused_everywhere(running, ada, ELSEWHERE)


@pytest.mark.shared
async def test_nothing_on_the_list_of_open_redirects_is_a_page_of_ours(tmp_path: Path, shared: Path) -> None:
    lines = (shared / "hostile" / "open-redirects.txt").read_text(encoding="utf-8").splitlines()
    targets = [line for line in lines if line]
    assert len(targets) >= 550
    assert [target for target in targets if is_own(target)] == []
    async with gateway(tmp_path) as running, person(running) as ada:
        await _refused_everywhere(running, ada, targets)


async def _refused_everywhere(running: RunningGateway, ada: Person, targets: list[str]) -> None:
    link = await invite(running)
    token = (await ada.open(link)).form().fields["form_token"]
    for target in targets:
        after = f"next={quote(target, safe='')}"
        for page in (
            await ada.open(f"/sign-in?{after}"),
            await ada.open(f"{link}&{after}"),
            await ada.send(f"{link}&{after}", {"form_token": token}),
            await ada.send(f"/sign-in?{after}", {"form_token": token}),
        ):
            assert (page.status, page.location) == (400, ""), target
    # None of it used the link up.
    await ada.sign_in(link)
    for target in targets:
        assert (await ada.open(f"/sign-in?next={quote(target, safe='')}")).status == 400, target


@pytest.mark.parametrize(
    "path",
    ["/keys", "/device", "/device?user_code=BCDF-GHJK", f"/connect/conn_{'0' * 32}", "/connect/new?t=KF4J_-x"],
)
def test_pages_of_ours_are_known(path: str) -> None:
    assert is_own(path)


# -- sessions ------------------------------------------------------------------------------------------


async def test_a_session_ends_after_eight_idle_hours_and_after_seven_days(
    running: RunningGateway, clock: HandClock
) -> None:
    async with person(running, await invite(running)) as ada:
        for _ in range(20):
            clock.move(8 * 3600 - 61)
            assert await is_signed_in(ada)
        clock.move(8 * 3600 + 1)
        assert not await is_signed_in(ada)
    async with person(running, await invite(running)) as ada:
        for _ in range(7 * 3):
            assert await is_signed_in(ada)
            clock.move(8 * 3600 - 1)
        clock.move(22)
        assert not await is_signed_in(ada)


async def test_signing_in_gives_a_new_session_and_ends_the_one_before(running: RunningGateway) -> None:
    """T184: what was in the browser before is not what is signed in afterwards."""
    async with person(running) as ada:
        planted = "A" * 43
        ada.session.cookie_jar.update_cookies({"skillway_session": planted}, yarl.URL(running.url))
        assert not await is_signed_in(ada)
        await ada.sign_in(await invite(running))
        first = ada.cookies["skillway_session"]
        assert first != planted and re.fullmatch(r"[\w-]{43}", first)
        await ada.sign_in(await invite(running))
        second = ada.cookies["skillway_session"]
        assert second != first and await is_signed_in(ada)
        for old in (planted, first):
            assert await _works(running, old) is False
        assert await _works(running, second)


async def test_who_signs_out_is_out_and_the_cookie_is_worth_nothing(running: RunningGateway) -> None:
    async with person(running, await invite(running)) as ada, person(running, await invite(running)) as elsewhere:
        cookie = ada.cookies["skillway_session"]
        done = await ada.sign_out()
        assert (done.status, done.location) == (303, f"{running.url}/sign-in")
        assert "skillway_session" not in ada.cookies
        assert not await is_signed_in(ada)
        assert await _works(running, cookie) is False
        keys = await running.ask("GET", "/api-keys", key="", headers={"Cookie": f"skillway_session={cookie}"})
        assert (keys.status, keys.json()["error"]) == (401, "unauthorized")
        assert await is_signed_in(elsewhere)


async def test_who_signs_out_everywhere_is_out_everywhere(running: RunningGateway) -> None:
    links = [await invite(running), await invite(running, "bob@example.com")]
    async with person(running, links[0]) as ada, person(running, links[1]) as bob:
        async with person(running, await invite(running)) as phone:
            await phone.sign_out(everywhere="1")
            assert not await is_signed_in(ada) and not await is_signed_in(phone)
        assert await is_signed_in(bob)


async def test_a_member_who_is_removed_is_out_at_once(running: RunningGateway) -> None:
    async with person(running, await invite(running)) as ada:
        assert running.services is not None
        async with open_installation(running.services.settings) as opened:
            assert await SqlMembers(opened.database).remove(running.org.id, (await member_of(running)).id)
        assert not await is_signed_in(ada)


async def test_a_suspended_org_signs_nobody_in_and_shows_nothing(running: RunningGateway) -> None:
    link = await invite(running)
    async with person(running, await invite(running, "bob@example.com")) as bob, person(running) as ada:
        shown = await ada.open(link)
        await suspend(running)
        for page in (await ada.open(link), await ada.press(shown), await bob.open("/keys"), await bob.open("/device")):
            assert page.status == 403 and "suspended" in page.words
        await suspend(running, undo=True)
        # It was not used up by what was refused.
        await ada.sign_in(link)
        assert await is_signed_in(ada) and await is_signed_in(bob)


async def test_cookies_are_of_this_host_alone_and_no_script_reads_them(running: RunningGateway) -> None:
    async with person(running) as ada:
        done = await ada.sign_in(await invite(running))
        [cookie] = done.headers.getall("Set-Cookie")  # type: ignore[attr-defined]
    name, _, rest = cookie.partition("=")
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert name == "skillway_session"
    assert {"httponly", "samesite=lax", "path=/", f"max-age={7 * 86400}"} <= attributes
    assert "secure" not in attributes and not any(part.startswith("domain") for part in attributes)


async def test_behind_https_the_cookies_carry_the_host_prefix(tmp_path: Path) -> None:
    async with gateway(tmp_path, public_url="https://gateway.example.com") as running:
        link = await invite(running)
        async with person(running) as ada:
            shown = await ada.open(link)
            assert "__Host-skillway_browser=" in shown.headers["Set-Cookie"]
            browser_cookie = shown.headers["Set-Cookie"].partition(";")[0]
            token = shown.form().fields["form_token"]
            done = await ada.send(link, {"form_token": token}, headers={**OWN_SITE, "Cookie": browser_cookie})
            assert (done.status, done.location) == (303, "https://gateway.example.com/keys")
            session = done.headers["Set-Cookie"]
            assert session.startswith("__Host-skillway_session=") and "Secure" in session and "Path=/" in session
            value = session.partition("=")[2].partition(";")[0]
            # A plainly named one, which another host could have set, counts for nothing.
            for name, status in (("skillway_session", 303), ("__Host-skillway_session", 200)):
                assert (await ada.open("/keys", headers={"Cookie": f"{name}={value}"})).status == status


async def test_a_copy_of_the_database_opens_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        unused = await invite(running, "bob@example.com")
        link = await invite(running)
        async with person(running, link) as ada:
            begun = (await running.ask("POST", "/auth/device/code", key="")).json()
            ours = [
                *ada.cookies.values(),
                unused.partition("t=")[2],
                link.partition("t=")[2],
                begun["device_code"],
                begun["user_code"].replace("-", ""),
                (await ada.open("/keys")).form("/keys").fields["form_token"],
            ]
            assert len(ours) == 7
            assert list(leaks(ours, files(running.data_dir))) == []
            # Not even the hash that a key in the database's hands could have made of the short code.
            digest = hashlib.sha256(begun["user_code"].replace("-", "").encode()).digest()
            assert all(digest not in content for _, content in files(running.data_dir))


# -- forms that others send ------------------------------------------------------------------------------

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
]
FORMS = ("/sign-in", "/sign-out", "/device", "/device/decision", "/keys", "/keys/key_1/revoke")


async def test_another_sites_form_is_refused_wherever_it_is_sent(running: RunningGateway) -> None:
    """T182, with the right token even: the browser says where the form came from."""
    link = await invite(running, "bob@example.com")
    async with person(running, await invite(running)) as ada:
        token = (await ada.open("/keys")).form("/keys").fields["form_token"]
        for path in (*FORMS, link):
            for headers in FOREIGN:
                page = await ada.send(path, {"form_token": token, "name": "x"}, headers=headers)
                assert (page.status, page.location) == (403, ""), (path, headers)
        assert await is_signed_in(ada)
        assert len((await running.ask("GET", "/api-keys")).json()) == 2


async def test_a_form_without_its_token_is_refused_wherever_it_is_sent(running: RunningGateway) -> None:
    """T182, where a browser is too old to say where a form came from."""
    link = await invite(running, "bob@example.com")
    async with person(running, await invite(running)) as ada, person(running, await invite(running)) as again:
        hers = (await again.open("/keys")).form("/keys").fields["form_token"]
        for path in (*FORMS, link):
            for fields in ({}, {"form_token": ""}, {"form_token": hers}, {"form_token": "é"}):
                page = await ada.send(path, fields, headers={})
                assert (page.status, page.location) == (403, ""), (path, fields)
        assert await is_signed_in(ada)
        assert len((await running.ask("GET", "/api-keys")).json()) == 2


async def test_what_is_no_form_is_refused(running: RunningGateway) -> None:
    async with person(running, await invite(running)) as ada:
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json"):
            page = await ada.send("/keys", {"name": "x"}, headers={**OWN_SITE, "Content-Type": kind})
            assert page.status == 415, kind


async def test_an_api_route_takes_a_session_from_our_own_site_alone(running: RunningGateway) -> None:
    async with person(running, await invite(running)) as ada:
        cookie = {"Cookie": f"skillway_session={ada.cookies['skillway_session']}"}
        assert (await running.ask("GET", "/api-keys", key="", headers=cookie)).status == 200
        made = await running.ask("POST", "/api-keys", key="", body={"name": "by session"}, headers=cookie | OWN_SITE)
        assert made.status == 201
        key = made.json()["api_key"]["id"]
        for headers in FOREIGN:
            refused = await running.ask("POST", "/api-keys", key="", body={"name": "x"}, headers=cookie | headers)
            assert (refused.status, refused.json()["error"]) == (403, "forbidden"), headers
            refused = await running.ask("DELETE", f"/api-keys/{key}", key="", headers=cookie | headers)
            assert refused.status == 403, headers
        plain = await running.ask(
            "POST", "/api-keys", key="", raw=b'{"name": "x"}', headers=cookie | {"Content-Type": "text/plain"}
        )
        assert plain.status == 415
        assert (await running.ask("DELETE", f"/api-keys/{key}", key="", headers=cookie | OWN_SITE)).status == 204
        audit = (await running.ask("GET", "/v1/events?kind=audit")).json()["events"]
        by = [event["actor"] for event in audit if event["data"].get("id") == key]
        assert [(actor["type"], actor["name"]) for actor in by] == [("member", "ada@example.com")] * 2


async def test_a_session_opens_the_routes_that_are_for_it_and_no_other(running: RunningGateway) -> None:
    async with person(running, await invite(running)) as ada:
        cookie = {"Cookie": f"skillway_session={ada.cookies['skillway_session']}", **OWN_SITE}
        for method, path in (
            ("GET", "/v1/verify"), ("GET", "/v1/skills"), ("GET", "/v1/connections"), ("GET", "/v1/events"),
            ("POST", "/v1/connect"), ("POST", "/v1/github/get_repo"),
        ):  # fmt: skip
            answer = await running.ask(method, path, key="", headers=cookie)
            assert (answer.status, answer.json()["error"]) == (401, "unauthorized"), path
        # A key beside it is what counts.
        verified = await running.ask("GET", "/api-keys", key="sk_live_gw_wrong", headers=cookie)
        assert verified.json()["error"] == "api_key_invalid"


async def test_every_page_is_kept_nowhere_and_lets_nothing_run(running: RunningGateway) -> None:
    """T183, T186 to T188, T190."""
    async with person(running, await invite(running)) as ada:
        link = await invite(running, "bob@example.com")
        for path in ("/sign-in", "/sign-in/link?t=x", link, "/sign-up?h=x", "/sign-in/callback?state=x", "/device", "/keys"):
            page = await ada.open(path, headers={"Host": "evil.example", "Origin": "https://evil.example"})
            assert page.headers["Cache-Control"] == "no-store", path
            assert page.headers["Referrer-Policy"] == "no-referrer"
            assert page.headers["X-Frame-Options"] == "DENY"
            policy = page.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
            assert "Access-Control-Allow-Origin" not in page.headers
            assert "evil.example" not in page.html and "<script" not in page.html
        for path in ("/keys/x.css", "/keys/", "/device/x.js", "/sign-in/x.png", "/sign-in/link/x.css"):
            assert (await ada.open(path)).status == 404, path


async def test_who_is_not_signed_in_comes_back_to_where_they_were(running: RunningGateway) -> None:
    async with person(running) as nobody:
        page = await nobody.open("/device?user_code=BCDF-GHJK")
        assert page.location == f"{running.url}/sign-in?next={quote('/device?user_code=BCDF-GHJK', safe='')}"
        assert (await nobody.open("/keys")).location == f"{running.url}/sign-in"
        assert (await nobody.send("/keys", {"name": "x"})).location == f"{running.url}/sign-in"
        shown = await nobody.open("/sign-in")
        assert shown.status == 200 and "skillway orgs invite" in shown.words
        # Without an OpenID provider there is no form, and no way there.
        assert "<form" not in shown.html
    async with person(running, await invite(running)) as ada:
        assert (await ada.open("/sign-in?next=/device")).location == f"{running.url}/device"
        assert "You are signed in" in (await ada.open("/sign-in")).words


async def test_another_orgs_members_see_their_own_keys(running: RunningGateway, database_setting: dict[str, Any]) -> None:
    environ = {"SKILLWAY_DATA_DIR": str(running.data_dir)} | {
        f"SKILLWAY_{name.upper()}": value for name, value in database_setting.items()
    }
    other = await make_org(environ, "Other")
    async with person(running, await invite(running, "eve@example.com", org=other.id)) as eve:
        page = await eve.open("/keys")
        assert "Other" in page.words and "Acme" not in page.words
        mine = (await running.ask("GET", "/api-keys")).json()[0]
        assert (await eve.open(f"/keys/{mine['id']}/revoke")).status == 404
        token = page.form("/keys").fields["form_token"]
        assert (await eve.send(f"/keys/{mine['id']}/revoke", {"form_token": token})).status == 404


async def test_members_and_their_links_are_in_the_audit_trail(running: RunningGateway) -> None:
    async with person(running, await invite(running)):
        audit = (await running.ask("GET", "/v1/events?kind=member")).json()["events"]
        assert [(event["type"], event["actor"]["type"]) for event in audit] == [
            ("member.added", "operator"), ("member.link_made", "operator"), ("member.signed_in", "member"),
        ]  # fmt: skip
        narrow = await running.ask("POST", "/api-keys", body={"name": "n", "level": "read_write"})
        seen = (await running.ask("GET", "/v1/events?kind=member", key=narrow.json()["full_key"])).json()["events"]
        assert seen == []


# -- the operator ------------------------------------------------------------------------------------------


async def test_an_operator_invites_lists_and_removes_members(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here", public_url="https://gateway.example.com/gate")
    org = operator.init()
    made = operator.done("orgs", "invite", org.id, "Ada@Example.com", "--name", "Ada").json()
    assert made["sign_in_url"].startswith("https://gateway.example.com/gate/sign-in/link?t=")
    assert (made["member"]["email"], made["member"]["name"], made["expires_in"]) == ("ada@example.com", "Ada", 86400)
    again = operator.done("orgs", "invite", org.id, "ada@example.com").json()
    assert again["member"]["id"] == made["member"]["id"] and again["sign_in_url"] != made["sign_in_url"]
    [listed] = operator.done("orgs", "members", org.id).json()["members"]
    assert listed == {**made["member"], "signed_in_at": None}
    assert made["sign_in_url"].partition("t=")[2].encode() not in operator.database.read_bytes()

    other = operator.done("orgs", "create", "--name", "Other", "--json").json()
    for words, said in (
        (("orgs", "invite", other["id"], "ada@example.com"), "a person belongs to one org"),
        (("orgs", "invite", org.id, "nonsense"), "is no email address"),
        (("orgs", "invite", org.id, "bob@example.com", "--name", "\x07"), "printable"),
        (("orgs", "invite", "org_nobody", "bob@example.com"), "There is no org"),
        (("orgs", "remove-member", other["id"], made["member"]["id"]), "has no member"),
        (("orgs", "members", "org_nobody"), "There is no org"),
    ):
        done = operator.run(*words)
        assert done.code == 1 and said in done.err, words
    assert operator.done("orgs", "remove-member", org.id, made["member"]["id"]).json()["removed"]
    assert operator.done("orgs", "members", org.id).json() == {"members": []}


async def test_without_a_public_address_no_link_is_made_and_the_setting_is_named(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here")
    org = operator.init()
    lost = operator.with_settings(host="0.0.0.0")
    for words in (
        ("orgs", "invite", org.id, "ada@example.com"),
        ("orgs", "set-client", org.id, "github", "--client-id", "x"),
        ("init", "--quiet", "--data-dir", str(tmp_path / "other")),
    ):
        done = lost.run(*words)
        assert done.code == MISCONFIGURED and "SKILLWAY_PUBLIC_URL" in done.err, words
        assert "Traceback" not in done.err
    assert operator.done("orgs", "members", org.id).json() == {"members": []}
    # Nothing was made whose keys nobody has seen.
    assert operator.done("orgs", "list", "--data-dir", str(tmp_path / "other")).json() == {"orgs": []}


async def test_the_line_of_init_signs_somebody_in(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path / "here")
    org = operator.init()
    async with operator.serving(org) as running:
        port = str(urlsplit(running.url).port)
        link = (await operator.with_settings(port=port).later("orgs", "invite", org.id, "you@example.com")).json()
        async with person(running) as you:
            await you.sign_in(link["sign_in_url"])
            assert "My org" in (await you.open("/keys")).words
            member = (await operator.later("orgs", "members", org.id)).json()["members"][0]
            assert member["signed_in_at"] is not None
            await operator.later("orgs", "remove-member", org.id, member["id"])
            assert not await is_signed_in(you)
        assert link["sign_in_url"].partition("t=")[2] not in operator.log()


async def _works(running: RunningGateway, cookie: str) -> bool:
    answer = await running.ask("GET", "/keys", key="", headers={"Cookie": f"skillway_session={cookie}"})
    return answer.status == 200

