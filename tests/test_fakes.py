"""Each counterpart of a shipped integration has its endpoints and behaves as the real one is documented."""

import asyncio
import base64
import gzip
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.fakes.github import GitHub
from tests.fakes.overscore import Overscore
from tests.fakes.overskill import OverSkill
from tests.fakes.overten import Overten
from tests.fakes.skycot import FILES, Account, SkyCot
from tests.fakes.upstream import HandClock, Running, Upstream, serve

pytestmark = pytest.mark.asyncio

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Asks a counterpart with the same credential each time."""

    session: aiohttp.ClientSession
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: object = None, **options: Any) -> Told:
        if body is not None:
            options["json"] = body
        options["headers"] = {**self.headers, **options.get("headers", {})}
        url = URL(self.base_url + path, encoded=True)
        async with self.session.request(method, url, allow_redirects=False, **options) as answer:
            return Told(status=answer.status, headers=answer.headers, body=await answer.read())

    async def get(self, path: str, **options: Any) -> Told:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> Told:
        return await self.ask("POST", path, body, **options)

    def with_headers(self, headers: Mapping[str, str]) -> "Caller":
        return Caller(session=self.session, base_url=self.base_url, headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest_asyncio.fixture
async def overskill() -> AsyncIterator[Running[OverSkill]]:
    async with serve(OverSkill(clock=HandClock())) as running:
        yield running


@pytest_asyncio.fixture
async def skycot() -> AsyncIterator[Running[SkyCot]]:
    async with serve(SkyCot(clock=HandClock())) as running:
        yield running


@pytest_asyncio.fixture
async def overten() -> AsyncIterator[Running[Overten]]:
    async with serve(Overten(clock=HandClock())) as running:
        yield running


@pytest_asyncio.fixture
async def overscore() -> AsyncIterator[Running[Overscore]]:
    async with serve(Overscore(clock=HandClock())) as running:
        yield running


@pytest_asyncio.fixture
async def github() -> AsyncIterator[Running[GitHub]]:
    async with serve(GitHub(clock=HandClock())) as running:
        yield running


def at(running: Running[Any], session: aiohttp.ClientSession, headers: Mapping[str, str]) -> Caller:
    return Caller(session=session, base_url=running.base_url + running.upstream.prefix, headers=headers)


def asked_endpoints(running: Running[Any]) -> set[tuple[str, str]]:
    """The endpoints that the requests so far went to; the narrowest one that fits comes first."""
    went = (
        next(
            (
                one
                for one in running.upstream.endpoints
                if one.method == seen.method and one.match(seen.path.split("/")) is not None
            ),
            None,
        )
        for seen in running.seen
    )
    return {(endpoint.method, endpoint.template) for endpoint in went if endpoint}


def all_endpoints(upstream: type[Upstream]) -> set[tuple[str, str]]:
    return {(endpoint.method, endpoint.template) for endpoint in upstream.endpoints}


# The base


async def test_a_request_is_recorded_exactly_as_it_came(
    session: aiohttp.ClientSession, overskill: Running[OverSkill]
) -> None:
    caller = at(overskill, session, {"X-Odd-CASE": "a", "X-API-Key": "wrong"})
    told = await caller.ask("PUT", "/a%2Fb/c%20d?x=1&x=2&y=%C3%BC&z", {"n": 1})
    assert told.status == 401
    seen = overskill.last
    assert seen.method == "PUT"
    assert seen.raw_path == "/api/v1/a%2Fb/c%20d?x=1&x=2&y=%C3%BC&z"
    assert seen.path == "/api/v1/a%2Fb/c%20d"
    assert seen.query == [("x", "1"), ("x", "2"), ("y", "ü"), ("z", "")]
    assert ("X-Odd-CASE", "a") in seen.headers
    assert seen.header("x-odd-case") == "a"
    assert seen.json() == {"n": 1}
    assert overskill.connections == 1


async def test_a_form_and_a_multipart_body_can_be_read_back(
    session: aiohttp.ClientSession, overscore: Running[Overscore]
) -> None:
    caller = at(overscore, session, {})
    await caller.post("/query", data={"a": "1 &=", "b": ""})
    assert overscore.last.form() == [("a", "1 &="), ("b", "")]
    content = b"\r\n--not the boundary\r\n\x00\xff\r\n"
    # Left to itself, aiohttp percent-encodes a filename, and servers take it as it stands.
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("note", "größer")
    form.add_field("bundle", content, filename="a b.bin", content_type="application/x-odd")
    await caller.post("/deploy", data=form)
    note, bundle = overscore.last.parts()
    assert (note.name, note.filename, note.content.decode()) == ("note", None, "größer")
    assert (bundle.name, bundle.filename, bundle.content_type) == ("bundle", "a b.bin", "application/x-odd")
    assert bundle.content == content


async def test_a_request_that_breaks_off_is_recorded_too(overskill: Running[OverSkill]) -> None:
    host, _, port = overskill.base_url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/v1/webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    await writer.drain()
    writer.close()
    seen = await overskill.arrival()
    assert (seen.path, seen.body) == ("/api/v1/webhooks", b"abc")


async def test_a_planned_answer_comes_once_and_the_true_one_after_it(
    session: aiohttp.ClientSession, overskill: Running[OverSkill]
) -> None:
    caller = at(overskill, session, {"X-API-Key": overskill.upstream.key})
    overskill.next(status=418, headers={"X-Odd": "yes"}, json={"tea": True})
    overskill.next(status=200, body=b"\xff\x00")
    overskill.refuse_next(429, headers={"Retry-After": "7"})
    overskill.next(delay=0.01)
    first, second, third, last = [await caller.get("/managed_apps") for _ in range(4)]
    assert (first.status, first.headers["X-Odd"], first.data) == (418, "yes", {"tea": True})
    assert second.body == b"\xff\x00"
    assert (third.status, third.headers["Retry-After"]) == (429, "7")
    assert third.data["error"] == "Too Many Requests"
    assert last.data["apps"] == []


async def test_a_counterpart_can_be_stopped_and_started_again_with_its_state(
    session: aiohttp.ClientSession,
) -> None:
    upstream = OverSkill()
    for count in (1, 2):
        async with serve(upstream) as running:
            caller = at(running, session, {"X-API-Key": upstream.key})
            await caller.post("/managed_apps", {"name": "Kept"})
            assert (await caller.get("/managed_apps")).data["meta"]["total_count"] == count


@pytest.mark.parametrize(
    ("upstream", "count"), [(OverSkill, 13), (SkyCot, 10), (Overten, 24), (Overscore, 2)]
)
async def test_each_seed_system_has_all_its_endpoints(upstream: type[Upstream], count: int) -> None:
    assert len(all_endpoints(upstream)) == count


# OverSkill


async def test_every_endpoint_of_overskill_answers(
    session: aiohttp.ClientSession, overskill: Running[OverSkill]
) -> None:
    caller = at(overskill, session, {"X-API-Key": overskill.upstream.key})
    made = await caller.post("/managed_apps", {"name": "Task Manager", "prompt": "Tasks"})
    assert (made.status, made.data["app"]["status"]) == (201, "generating")
    app_id = made.data["app"]["id"]
    listed = await caller.get("/managed_apps?status=generating&name=task")
    assert [app["id"] for app in listed.data["apps"]] == [app_id]
    assert (await caller.get(f"/managed_apps/{app_id}")).data["app"]["creator"]["id"] == 42
    deployed = await caller.post(f"/managed_apps/{app_id}/deploy")
    assert (deployed.status, deployed.data["deployment_id"]) == (202, 42)
    queued = await caller.post("/generation_queue", {"prompt": "Dark mode", "app_id": app_id})
    assert (queued.status, queued.data["status"]) == (202, "queued")
    assert queued.data["status_url"].startswith(overskill.base_url)
    path = f"/generation_queue/{queued.data['job_id']}"
    polls = [(await caller.get(path)).data for _ in range(5)]
    assert [poll["status"] for poll in polls] == [
        "queued",
        "processing",
        "processing",
        "completed",
        "completed",
    ]
    assert polls[0]["completed_at"] is None
    assert polls[-1]["progress"] == 100
    granted = await caller.post(
        "/managed_users/grant_access", {"app_id": app_id, "email": "ada@acme.example", "tier": "pro"}
    )
    assert (granted.status, granted.data["app_user"]["access_tier"]) == (201, "pro")
    user_id = granted.data["app_user"]["id"]
    assert (await caller.get("/managed_users?email=ADA")).data["app_users"][0]["id"] == user_id
    revoked = await caller.post(f"/managed_users/{user_id}/revoke")
    assert revoked.data["app_user"]["revoked"] is True
    hook = await caller.post("/webhooks", {"url": "https://a.example/h", "events": ["app.created"]})
    assert hook.status == 201
    assert (await caller.get("/webhooks")).data["webhooks"][0]["url"] == "https://a.example/h"
    minted = await caller.post("/api_keys", {"name": "CI", "scope": "read_only", "expires_in_days": 1})
    assert (minted.status, len(minted.data["raw_key"])) == (201, 51)
    assert minted.data["raw_key"] not in str((await caller.get("/api_keys")).data)
    assert asked_endpoints(overskill) == all_endpoints(OverSkill)


async def test_overskill_refuses_in_its_own_shape_and_always_tells_the_rate(
    session: aiohttp.ClientSession, overskill: Running[OverSkill]
) -> None:
    nobody = await at(overskill, session, {}).get("/managed_apps")
    assert nobody.status == 401
    assert nobody.data == {"error": "Unauthorized", "message": "Invalid or expired API key"}
    assert int(nobody.headers["X-RateLimit-Reset"]) > overskill.upstream.clock()
    caller = at(overskill, session, bearer(overskill.upstream.token))
    missing = await caller.get("/managed_apps/nope")
    assert (missing.status, missing.data["error"]) == (404, "Not Found")
    assert missing.headers["X-RateLimit-Limit"] == "1000"
    assert (await caller.get("/managed_apps?page=x")).status == 400
    assert (await caller.post("/managed_apps", {})).data["message"] == "name is required"
    reader = overskill.upstream.add_key("Reader", "read_only")
    refused = await caller.with_headers({"X-API-Key": reader.raw}).post("/managed_apps", {"name": "x"})
    assert (refused.status, refused.data["error"]) == (403, "Forbidden")


async def test_overskill_refuses_the_request_after_the_last_of_a_minute(
    session: aiohttp.ClientSession,
) -> None:
    clock = HandClock()
    async with serve(OverSkill(clock=clock, plan="free")) as running:
        caller = at(running, session, {"X-API-Key": running.upstream.key})
        left = [(await caller.get("/webhooks")).headers["X-RateLimit-Remaining"] for _ in range(60)]
        assert (left[0], left[-1]) == ("59", "0")
        assert (await caller.get("/webhooks")).status == 429
        clock.move(60)
        assert (await caller.get("/webhooks")).status == 200


async def test_overskill_pages_with_a_meta_block(
    session: aiohttp.ClientSession, overskill: Running[OverSkill]
) -> None:
    for number in range(30):
        overskill.upstream.add_app(f"App {number}")
    caller = at(overskill, session, {"X-API-Key": overskill.upstream.key})
    told = await caller.get("/managed_apps?page=2")
    assert len(told.data["apps"]) == 5
    assert told.data["meta"] == {"current_page": 2, "total_pages": 2, "total_count": 30, "per_page": 25}


async def test_an_expired_key_of_overskill_is_refused(
    session: aiohttp.ClientSession, overskill: Running[OverSkill]
) -> None:
    clock = overskill.upstream.clock
    assert isinstance(clock, HandClock)
    key = overskill.upstream.add_key("Short", "read_only", expires_at=clock() + 60)
    caller = at(overskill, session, {"X-API-Key": key.raw})
    assert (await caller.get("/webhooks")).status == 200
    clock.move(60)
    assert (await caller.get("/webhooks")).status == 401


# SKYCOT


async def built(caller: Caller, requirements: str = "Kanban") -> str:
    project = (await caller.post("/projects", {"name": "Board"})).data["id"]
    build = (await caller.post(f"/projects/{project}/builds", {"requirements": requirements})).data[
        "build_id"
    ]
    for _ in range(4):
        await caller.get(f"/builds/{build}")
    return str(build)


async def test_every_endpoint_of_skycot_answers(
    session: aiohttp.ClientSession, skycot: Running[SkyCot]
) -> None:
    caller = at(skycot, session, bearer(skycot.upstream.live_key))
    made = await caller.post("/projects", {"name": "Board", "archetype_hint": "project-management"})
    assert (made.status, made.data["archetype"]) == (201, "project-management")
    project = made.data["id"]
    assert (await caller.get("/projects")).data["projects"][0]["id"] == project
    started = await caller.post(
        f"/projects/{project}/builds", {"requirements": "Kanban", "integrations": ["slack"]}
    )
    build = started.data["build_id"]
    assert (started.status, started.data["poll_url"]) == (202, f"/api/v1/builds/{build}")
    assert (await caller.get(f"/builds/{build}/download")).status == 404
    polls = [(await caller.get(f"/builds/{build}")).data for _ in range(4)]
    assert [poll["status"] for poll in polls] == ["compiling", "building", "verifying", "completed"]
    assert (await caller.get(f"/projects/{project}")).data["builds"][0]["status"] == "completed"
    listed = (await caller.get(f"/builds/{build}/files")).data["files"]
    assert {one["path"] for one in listed} == set(FILES)
    for path, raw in (
        ("src/app/page.tsx", "src/app/page.tsx"),
        ("src/components/Drag & Drop (v2).tsx", "src/components/Drag%20%26%20Drop%20%28v2%29.tsx"),
        ("public/icon.png", "public/icon.png"),
    ):
        told = await caller.get(f"/builds/{build}/files/{raw}")
        assert told.body == FILES[path][1]
    archive = await caller.get(f"/builds/{build}/download")
    assert archive.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.body)) as opened:
        assert opened.read("src/app/page.tsx") == FILES["src/app/page.tsx"][1]
    assert (await caller.post(f"/builds/{build}/deploy")).status == 202
    assert (await caller.get("/usage")).data["tokens_used"] == 2_545_000
    assert asked_endpoints(skycot) == all_endpoints(SkyCot)


async def test_skycot_refuses_in_its_own_nested_shape(
    session: aiohttp.ClientSession, skycot: Running[SkyCot]
) -> None:
    nobody = await at(skycot, session, {}).get("/usage")
    assert (nobody.status, nobody.data["error"]["code"]) == (401, "unauthorized")
    caller = at(skycot, session, bearer(skycot.upstream.live_key))
    wrong = await caller.post("/projects", {"name": 7})
    assert (wrong.status, wrong.data["error"]["code"]) == (400, "validation_error")
    assert wrong.data["error"]["details"]["issues"][0]["path"] == ["name"]
    assert (await caller.get("/builds/bld_none")).data["error"]["code"] == "not_found"
    told = await caller.get("/usage")
    assert "X-RateLimit-Remaining" in told.headers
    assert "X-RateLimit-Limit" not in told.headers


async def test_skycot_asks_for_the_tier_that_an_endpoint_needs(
    session: aiohttp.ClientSession, skycot: Running[SkyCot]
) -> None:
    caller = at(skycot, session, bearer(skycot.upstream.live_key))
    build = await built(caller)
    skycot.upstream.account.tier = "pro"
    refused = await caller.post(f"/builds/{build}/deploy")
    assert (refused.status, refused.data["error"]["details"]["required_tier"]) == (403, "business")
    skycot.upstream.account.tier = "starter"
    assert (await caller.get("/projects")).status == 403


async def test_skycot_stops_builds_when_the_allowance_is_used_up(
    session: aiohttp.ClientSession, skycot: Running[SkyCot]
) -> None:
    caller = at(skycot, session, bearer(skycot.upstream.live_key))
    project = (await caller.post("/projects", {"name": "Board"})).data["id"]
    skycot.upstream.account.tokens_used = 10_250_000
    refused = await caller.post(f"/projects/{project}/builds", {"requirements": "More"})
    assert refused.data["error"]["code"] == "token_limit_exceeded"
    assert refused.data["error"]["details"]["tokens_used"] == 10_250_000


async def test_another_account_and_the_sandbox_see_nothing_of_a_skycot_project(
    session: aiohttp.ClientSession, skycot: Running[SkyCot]
) -> None:
    caller = at(skycot, session, bearer(skycot.upstream.live_key))
    project = (await caller.post("/projects", {"name": "Board"})).data["id"]
    other = skycot.upstream.add_key(Account(name="other"))
    for key in (skycot.upstream.test_key, other):
        assert (await caller.with_headers(bearer(key)).get(f"/projects/{project}")).status == 404


async def test_a_build_of_skycot_can_fail_and_then_has_no_files(
    session: aiohttp.ClientSession, skycot: Running[SkyCot]
) -> None:
    caller = at(skycot, session, bearer(skycot.upstream.live_key))
    build = await built(caller, "[fail]")
    assert (await caller.get(f"/builds/{build}")).data["status"] == "failed"
    assert (await caller.get(f"/builds/{build}/files")).data["files"] == []


# Overten


def upload(name: str, content_type: str, **texts: str) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", b"\x00bytes\xff", filename=name, content_type=content_type)
    for key, value in texts.items():
        form.add_field(key, value)
    return form


async def test_every_endpoint_of_overten_answers(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    person = at(overten, session, bearer(overten.upstream.id_token))
    signed_up = await person.post("/signup", {"org_name": "New", "key_name": "First"})
    assert (signed_up.status, signed_up.data["secret"][:8]) == (201, "sk_live_")
    keys = f"/organizations/{signed_up.data['org_id']}/api-keys"
    minted = await person.post(keys, {"name": "CI"})
    assert minted.status == 201
    listed = await person.get(keys)
    assert minted.data["secret"] not in str(listed.data)
    assert (await person.ask("DELETE", f"{keys}/{minted.data['key_id']}")).status == 204
    revoked = await person.with_headers({"X-API-Key": minted.data["secret"]}).get("/verify")
    assert revoked.status == 401

    caller = at(overten, session, {"X-API-Key": overten.upstream.key})
    assert (await caller.get("/verify")).data["org_name"] == "Acme"
    ready = await caller.post("/preflight", {"format": "excel", "prompt": "Sales"})
    assert (ready.data["ok"], overten.upstream.org.credits) == (True, 1000)
    file = await caller.post("/files", data=upload("a.xlsx", "application/x-xlsx", purpose="reference"))
    assert (file.status, file.data["purpose"], file.data["size_bytes"]) == (201, "reference", 7)
    image = await caller.post("/images", data=upload("a.png", "image/png", tags="logo, blue"))
    assert image.data["tags"] == ["logo", "blue"]
    image_path = f"/images/{image.data['image_id']}"
    assert (await caller.get("/images")).data["images"][0]["image_id"] == image.data["image_id"]
    assert (await caller.get(image_path)).data["content_type"] == "image/png"
    gone = await caller.ask("DELETE", image_path)
    assert (gone.status, gone.body) == (204, b"")
    assert (await caller.get(image_path)).status == 404

    for kind in ("excel", "word", "slides"):
        done = await caller.post(f"/{kind}/generate", {"prompt": "Sales", "data_sources": [file.data]})
        assert (done.status, done.data["status"], done.data["credits_used"]) == (200, "completed", 10)
    run_id = done.data["run_id"]
    answered = await caller.post("/excel/analyze", {"prompt": "Total?", "file_id": file.data["file_id"]})
    assert "a.xlsx" in answered.data["answer"]
    assert len((await caller.post("/slides/outline", {"prompt": "Q3"})).data["outline"]) == 3
    task = await caller.get(f"/tasks/{done.data['task_id']}")
    assert task.data["result"]["run_id"] == run_id
    assert len((await caller.get("/runs")).data["runs"]) == 3
    assert (await caller.get(f"/runs/{run_id}")).data["credits_used"] == 10
    assert (await caller.get(f"/runs/{run_id}/download")).status == 302
    exported = await caller.post(f"/runs/{run_id}/export", {"format": "PDF"})
    assert exported.data["download_url"].startswith(overten.storage.base_url)
    hook = await caller.post("/webhooks", {"url": "https://a.example/h", "events": ["run.completed"]})
    assert (hook.status, hook.data["secret"][:6]) == (201, "whsec_")
    assert "secret" not in (await caller.get("/webhooks")).data["webhooks"][0]
    assert (await caller.ask("DELETE", f"/webhooks?webhook_id={hook.data['webhook_id']}")).status == 204
    assert asked_endpoints(overten) == all_endpoints(Overten)


async def test_overten_refuses_in_its_two_shapes(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    nobody = await at(overten, session, {}).get("/verify")
    assert (nobody.status, nobody.data["success"], nobody.data["error"]) == (401, False, "invalid_api_key")
    caller = at(overten, session, bearer(overten.upstream.key))
    wrong = await caller.post("/word/generate", {"prompt": "", "timeout_ms": 1})
    assert wrong.status == 422
    assert [one["loc"] for one in wrong.data["detail"]] == [["body", "prompt"], ["body", "timeout_ms"]]
    missing = await caller.post("/preflight", {"format": "word", "prompt": "x", "image_assets": ["image_no"]})
    assert (missing.status, missing.data["error"]) == (400, "preflight_failed")
    assert missing.data["missing"] == ["image_no"]
    overten.upstream.org.credits = 0
    assert (await caller.post("/word/generate", {"prompt": "x"})).data["error"] == "insufficient_credits"
    overten.upstream.upload_limit = 10
    assert (await caller.post("/files", data=upload("a", "text/plain"))).status == 413


async def test_each_credential_of_overten_opens_only_its_own_endpoints(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    upstream = overten.upstream
    caller = at(overten, session, bearer(upstream.key))
    assert (await caller.post("/signup", {"org_name": "x"})).status == 401
    assert (await caller.with_headers(bearer(upstream.id_token)).get("/verify")).status == 401
    late = upstream.sign_in("uid_ada", "ada@acme.example", seconds=-1)
    assert (await caller.with_headers(bearer(late)).post("/signup", {"org_name": "x"})).status == 401
    stranger = upstream.sign_in("uid_eve", "eve@other.example")
    path = f"/organizations/{upstream.org.id}/api-keys"
    assert (await caller.with_headers(bearer(stranger)).get(path)).status == 404


async def test_a_slow_call_of_overten_is_promoted_and_goes_on_as_a_task(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    caller = at(overten, session, {"X-API-Key": overten.upstream.key})
    promoted = await caller.post("/excel/generate", {"prompt": "[slow] Sales"})
    assert (promoted.status, promoted.data["error"]) == (408, "sync_timeout_upgrade_async")
    path = f"/tasks/{promoted.data['task_id']}"
    polls = [(await caller.get(path)).data for _ in range(4)]
    assert [poll["status"] for poll in polls] == ["queued", "running", "running", "completed"]
    assert overten.upstream.org.credits == 990
    outline = await caller.post("/slides/outline", {"prompt": "Q3", "async": True})
    assert outline.status == 202
    polls = [(await caller.get(f"/tasks/{outline.data['task_id']}")).data for _ in range(4)]
    assert len(polls[-1]["result"]["outline"]) == 3
    overten.upstream.promotion_status = 202
    assert (await caller.post("/word/generate", {"prompt": "[slow]"})).status == 202


async def test_an_overten_run_can_be_resumed_and_a_repeated_key_makes_one_run(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    caller = at(overten, session, {"X-API-Key": overten.upstream.key})
    body = {"prompt": "Sales", "idempotency_key": "once"}
    first = await caller.post("/excel/generate", body)
    assert (await caller.post("/excel/generate", body)).body == first.body
    assert (await caller.post("/excel/generate", {**body, "prompt": "Other"})).status == 409
    run_id = first.data["run_id"]
    await caller.post("/excel/generate", {"prompt": "Add a chart", "run_id": run_id})
    assert (await caller.get(f"/runs/{run_id}")).data["revision"] == 2
    assert (await caller.post("/word/generate", {"prompt": "x", "run_id": run_id})).status == 400
    other = overten.upstream.add_key(overten.upstream.add_org("Other", "uid_bo"), "Key")
    assert (await caller.with_headers(bearer(other.raw)).get(f"/runs/{run_id}")).status == 404


async def test_overten_pages_runs_by_cursor_newest_first(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    caller = at(overten, session, {"X-API-Key": overten.upstream.key})
    made = [(await caller.post("/word/generate", {"prompt": str(n)})).data["run_id"] for n in range(5)]
    first = (await caller.get("/runs?limit=3")).data
    second = (await caller.get(f"/runs?limit=3&cursor={first['next_cursor']}")).data
    assert [run["run_id"] for run in first["runs"] + second["runs"]] == made[::-1]
    assert second["next_cursor"] is None


async def test_a_download_leads_to_a_second_origin_that_refuses_our_credential(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    caller = at(overten, session, {"X-API-Key": overten.upstream.key})
    run_id = (await caller.post("/excel/generate", {"prompt": "Sales"})).data["run_id"]
    location = URL((await caller.get(f"/runs/{run_id}/download")).headers["Location"], encoded=True)
    assert location.origin() != URL(overten.base_url).origin()
    path = location.raw_path_qs
    storage = Caller(session=session, base_url=overten.storage.base_url)
    fetched = await storage.get(path)
    assert (fetched.status, fetched.body[:4]) == (200, b"PK\x03\x04")
    assert (await storage.get(path, headers=bearer("leaked"))).status == 400
    assert overten.storage.last.header("authorization") == "Bearer leaked"
    assert (await storage.get(path.replace("Signature=", "Signature=0"))).status == 403
    clock = overten.upstream.clock
    assert isinstance(clock, HandClock)
    clock.move(86_401)
    assert (await storage.get(path)).status == 403


async def test_overten_takes_the_id_of_a_webhook_from_a_body_too(
    session: aiohttp.ClientSession, overten: Running[Overten]
) -> None:
    caller = at(overten, session, {"X-API-Key": overten.upstream.key})
    hook = (await caller.post("/webhooks", {"url": "https://a.example", "events": ["run.failed"]})).data
    assert (await caller.ask("DELETE", "/webhooks")).status == 400
    assert (await caller.ask("DELETE", "/webhooks", {"webhook_id": hook["webhook_id"]})).status == 204
    assert (await caller.ask("DELETE", "/webhooks", {"webhook_id": hook["webhook_id"]})).status == 404


async def test_overten_tells_when_it_ends_and_when_to_come_back(session: aiohttp.ClientSession) -> None:
    clock = HandClock()
    async with serve(Overten(clock=clock, requests_per_minute=1)) as running:
        running.upstream.sunset = "Wed, 31 Dec 2027 23:59:59 GMT"
        caller = at(running, session, {"X-API-Key": running.upstream.key})
        assert (await caller.get("/verify")).headers["X-Deprecated"] == "true"
        clock.move(15)
        refused = await caller.get("/verify")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "45")


# Overscore


def bundle_form(content: bytes | io.BytesIO, project: str = "acme") -> aiohttp.FormData:
    form = aiohttp.FormData({"projectSlug": project, "dashboardSlug": "sales-dashboard"})
    form.add_field("bundle", content, filename="dist.tar.gz", content_type="application/gzip")
    return form


def query_body(key: str, name: str) -> Json:
    return {"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": name, "apiKey": key}


async def test_every_endpoint_of_overscore_answers(
    session: aiohttp.ClientSession, overscore: Running[Overscore]
) -> None:
    caller = at(overscore, session, {})
    told = await caller.post("/query", query_body(overscore.upstream.key, "revenue_by_month"))
    assert (told.status, told.data["metadata"]["rowCount"]) == (200, 3)
    assert told.data["metadata"]["cached"] is False
    bundle = gzip.compress(b"tar")
    with_cookie = {"Cookie": f"other=1; session={overscore.upstream.session}"}
    for headers in (bearer(overscore.upstream.session), with_cookie):
        deployed = await caller.with_headers(headers).post("/deploy", data=bundle_form(bundle))
        assert deployed.data["url"] == "https://acme.overscore.dev/sales-dashboard/"
        assert deployed.data["deployment"]["sizeBytes"] == len(bundle)
    assert asked_endpoints(overscore) == all_endpoints(Overscore)


async def test_overscore_tells_its_cache_only_while_it_is_fresh(
    session: aiohttp.ClientSession, overscore: Running[Overscore]
) -> None:
    caller = at(overscore, session, {})
    body = query_body(overscore.upstream.key, "cached_revenue")
    filled = (await caller.post("/query", body)).data["metadata"]
    cached = (await caller.post("/query", body)).data["metadata"]
    assert "cacheTtl" not in filled
    assert (cached["cached"], cached["cacheTtl"]) == (True, 3600)
    clock = overscore.upstream.clock
    assert isinstance(clock, HandClock)
    clock.move(3600)
    assert (await caller.post("/query", body)).data["metadata"]["cached"] is False


async def test_overscore_refuses_with_a_sentence(
    session: aiohttp.ClientSession, overscore: Running[Overscore]
) -> None:
    upstream = overscore.upstream
    caller = at(overscore, session, {})
    bad = await caller.post("/query", query_body("os_live_no", "revenue_by_month"))
    assert (bad.status, bad.data) == (401, {"error": "Invalid API key"})
    unknown = await caller.post("/query", query_body(upstream.key, "nope"))
    assert unknown.data == {"error": "Query 'nope' is not registered for dashboard 'sales-dashboard'"}
    broken = await caller.post("/query", query_body(upstream.key, "broken_orders"))
    assert (broken.status, broken.data["error"]) == (500, "Query execution failed")
    assert broken.data["detail"].startswith("BigQuery error: ")
    form = bundle_form(gzip.compress(b"tar"))
    assert (await caller.post("/deploy", data=form)).status == 401
    viewer = caller.with_headers(bearer(upstream.viewer_session))
    assert (await viewer.post("/deploy", data=bundle_form(gzip.compress(b"tar")))).status == 403
    owner = caller.with_headers(bearer(upstream.session))
    large = await owner.post("/deploy", data=bundle_form(io.BytesIO(b"\x1f\x8b" + bytes(50 * 1024 * 1024))))
    assert (large.status, large.data) == (413, {"error": "Bundle size exceeds the 50MB limit"})


async def test_overscore_limits_each_endpoint_of_a_project_by_itself(
    session: aiohttp.ClientSession, overscore: Running[Overscore]
) -> None:
    caller = at(overscore, session, bearer(overscore.upstream.session))
    bundle = gzip.compress(b"tar")
    statuses = [(await caller.post("/deploy", data=bundle_form(bundle))).status for _ in range(10)]
    assert statuses == [200] * 10
    refused = await caller.post("/deploy", data=bundle_form(bundle))
    assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (429, True)
    body = query_body(overscore.upstream.key, "revenue_by_month")
    assert (await caller.post("/query", body)).status == 200


# GitHub

WEB = "/repos/acme/webapp"


def text(content: str) -> str:
    return base64.b64encode(content.encode()).decode()


def github_calls(upstream: GitHub) -> Sequence[tuple[str, str, object, int]]:
    """One happy call per endpoint, in an order in which each finds what it needs."""
    repo = upstream.repos["acme/webapp"]
    comment, release, workflow, run = (
        next(iter(store)) for store in (repo.comments, repo.releases, repo.workflows, repo.runs)
    )
    label_id = repo.data["id"]
    head = repo.commits["main"][0]["sha"]
    return [
        ("GET", "/user", None, 200),
        ("PATCH", "/user", {"bio": "Writes code"}, 200),
        ("GET", "/user/emails", None, 200),
        ("GET", "/user/orgs", None, 200),
        ("GET", "/users", None, 200),
        ("GET", "/users/grace", None, 200),
        ("GET", "/user/followers", None, 200),
        ("GET", "/users/ada/followers", None, 200),
        ("GET", "/user/following", None, 200),
        ("GET", "/users/ada/following", None, 200),
        ("PUT", "/user/following/grace", None, 204),
        ("GET", "/user/following/grace", None, 204),
        ("DELETE", "/user/following/grace", None, 204),
        ("PUT", "/user/starred/acme/webapp", None, 204),
        ("GET", "/user/starred/acme/webapp", None, 204),
        ("GET", "/user/starred", None, 200),
        ("GET", "/users/ada/starred", None, 200),
        ("GET", f"{WEB}/stargazers", None, 200),
        ("DELETE", "/user/starred/acme/webapp", None, 204),
        ("POST", "/gists", {"files": {"a.txt": {"content": "hi"}}, "public": True}, 201),
        ("GET", "/gists", None, 200),
        ("GET", "/users/ada/gists", None, 200),
        ("GET", "/gists/starred", None, 200),
        ("GET", "/user/repos", None, 200),
        ("GET", "/users/ada/repos", None, 200),
        ("GET", "/orgs/acme/repos", None, 200),
        ("POST", "/user/repos", {"name": "new one", "private": True}, 201),
        ("GET", WEB, None, 200),
        ("GET", f"/repositories/{label_id}", None, 200),
        ("PATCH", WEB, {"description": "Changed"}, 200),
        ("GET", f"{WEB}/topics", None, 200),
        ("PUT", f"{WEB}/topics", {"names": ["web"]}, 200),
        ("GET", f"{WEB}/languages", None, 200),
        ("GET", f"{WEB}/contributors", None, 200),
        ("GET", f"{WEB}/collaborators", None, 200),
        ("POST", f"{WEB}/forks", None, 202),
        ("GET", f"{WEB}/branches", None, 200),
        ("GET", f"{WEB}/branches/feature/login", None, 200),
        ("GET", f"{WEB}/git/ref/heads/main", None, 200),
        ("GET", f"{WEB}/git/trees/main?recursive=1", None, 200),
        ("POST", f"{WEB}/git/refs", {"ref": "refs/heads/fix", "sha": head}, 201),
        (
            "PUT",
            f"{WEB}/contents/docs/A%20b.md",
            {"message": "Add", "content": text("x"), "branch": "fix"},
            201,
        ),
        ("GET", f"{WEB}/contents", None, 200),
        ("GET", f"{WEB}/contents/src/app.py", None, 200),
        ("GET", f"{WEB}/readme", None, 200),
        ("GET", f"{WEB}/commits", None, 200),
        ("GET", f"{WEB}/commits/{head}", None, 200),
        ("GET", f"{WEB}/commits/main/status", None, 200),
        ("GET", f"{WEB}/compare/main...feature/login", None, 200),
        ("DELETE", f"{WEB}/git/refs/heads/fix", None, 204),
        ("GET", f"{WEB}/releases", None, 200),
        ("POST", f"{WEB}/releases", {"tag_name": "v2"}, 201),
        ("POST", f"{WEB}/releases/generate-notes", {"tag_name": "v3"}, 200),
        ("GET", f"{WEB}/releases/latest", None, 200),
        ("GET", f"{WEB}/releases/tags/v1.0.0", None, 200),
        ("GET", f"{WEB}/releases/{release}", None, 200),
        ("PATCH", f"{WEB}/releases/{release}", {"name": "Second"}, 200),
        ("DELETE", f"{WEB}/releases/{release}", None, 204),
        ("POST", f"{WEB}/issues", {"title": "Bug report", "labels": ["bug"], "assignees": ["ada"]}, 201),
        ("GET", "/issues", None, 200),
        ("GET", "/user/issues", None, 200),
        ("GET", f"{WEB}/issues?labels=bug", None, 200),
        ("GET", f"{WEB}/issues/1", None, 200),
        ("PATCH", f"{WEB}/issues/1", {"state": "closed", "state_reason": "not_planned"}, 200),
        ("PUT", f"{WEB}/issues/1/lock", {"lock_reason": "resolved"}, 204),
        ("DELETE", f"{WEB}/issues/1/lock", None, 204),
        ("GET", f"{WEB}/assignees", None, 200),
        ("POST", f"{WEB}/issues/1/assignees", {"assignees": ["grace"]}, 201),
        ("DELETE", f"{WEB}/issues/1/assignees", {"assignees": ["grace"]}, 200),
        ("POST", f"{WEB}/issues/1/reactions", {"content": "heart"}, 201),
        ("POST", f"{WEB}/issues/1/reactions", {"content": "heart"}, 200),
        ("POST", f"{WEB}/issues/1/comments", {"body": "Me too"}, 201),
        ("GET", f"{WEB}/issues/comments", None, 200),
        ("GET", f"{WEB}/issues/1/comments", None, 200),
        ("GET", f"{WEB}/issues/comments/{comment}", None, 200),
        ("PATCH", f"{WEB}/issues/comments/{comment}", {"body": "Changed"}, 200),
        ("DELETE", f"{WEB}/issues/comments/{comment}", None, 204),
        ("GET", f"{WEB}/labels", None, 200),
        ("POST", f"{WEB}/labels", {"name": "help/wanted", "color": "00ff00"}, 201),
        ("GET", f"{WEB}/labels/help%2Fwanted", None, 200),
        ("PATCH", f"{WEB}/labels/help%2Fwanted", {"new_name": "help"}, 200),
        ("GET", f"{WEB}/issues/1/labels", None, 200),
        ("POST", f"{WEB}/issues/1/labels", {"labels": ["help"]}, 200),
        ("PUT", f"{WEB}/issues/1/labels", {"labels": ["help", "bug"]}, 200),
        ("DELETE", f"{WEB}/issues/1/labels/help", None, 200),
        ("DELETE", f"{WEB}/issues/1/labels", None, 204),
        ("DELETE", f"{WEB}/labels/help", None, 204),
        ("GET", f"{WEB}/milestones", None, 200),
        ("POST", f"{WEB}/milestones", {"title": "v2"}, 201),
        ("GET", f"{WEB}/milestones/1", None, 200),
        ("PATCH", f"{WEB}/milestones/1", {"state": "closed"}, 200),
        ("DELETE", f"{WEB}/milestones/1", None, 204),
        ("GET", f"{WEB}/pulls", None, 200),
        ("POST", f"{WEB}/pulls", {"title": "Search", "head": "feature/search", "base": "main"}, 201),
        ("GET", f"{WEB}/pulls/2", None, 200),
        ("PATCH", f"{WEB}/pulls/2", {"title": "Login"}, 200),
        ("PUT", f"{WEB}/pulls/2/update-branch", None, 202),
        ("GET", f"{WEB}/pulls/2/files", None, 200),
        ("GET", f"{WEB}/pulls/2/commits", None, 200),
        ("POST", f"{WEB}/pulls/2/reviews", {"event": "APPROVE"}, 200),
        ("GET", f"{WEB}/pulls/2/reviews", None, 200),
        ("POST", f"{WEB}/pulls/2/comments", {"body": "?", "commit_id": head, "path": "a.py", "line": 1}, 201),
        ("GET", f"{WEB}/pulls/2/comments", None, 200),
        ("GET", f"{WEB}/pulls/2/requested_reviewers", None, 200),
        ("POST", f"{WEB}/pulls/2/requested_reviewers", {"reviewers": ["ada"]}, 201),
        ("DELETE", f"{WEB}/pulls/2/requested_reviewers", {"reviewers": ["ada"]}, 200),
        ("PUT", f"{WEB}/pulls/2/merge", {"merge_method": "squash"}, 200),
        ("GET", f"{WEB}/pulls/2/merge", None, 204),
        ("GET", f"{WEB}/actions/workflows", None, 200),
        ("GET", f"{WEB}/actions/workflows/{workflow}", None, 200),
        ("PUT", f"{WEB}/actions/workflows/{workflow}/disable", None, 204),
        ("PUT", f"{WEB}/actions/workflows/ci.yml/enable", None, 204),
        ("POST", f"{WEB}/actions/workflows/ci.yml/dispatches", {"ref": "main"}, 204),
        ("GET", f"{WEB}/actions/runs", None, 200),
        ("GET", f"{WEB}/actions/workflows/ci.yml/runs", None, 200),
        ("GET", f"{WEB}/actions/runs/{run}", None, 200),
        ("GET", f"{WEB}/actions/runs/{run}/jobs", None, 200),
        ("GET", f"{WEB}/actions/jobs/{run + 1}", None, 200),
        ("GET", f"{WEB}/actions/runs/{run}/logs", None, 302),
        ("GET", f"{WEB}/actions/jobs/{run + 1}/logs", None, 302),
        ("GET", f"{WEB}/actions/artifacts", None, 200),
        ("GET", f"{WEB}/actions/runs/{run}/artifacts", None, 200),
        ("GET", f"{WEB}/actions/artifacts/{run + 1}", None, 200),
        ("GET", f"{WEB}/actions/artifacts/{run + 1}/zip", None, 302),
        ("POST", f"{WEB}/actions/runs/{run}/cancel", None, 202),
        ("POST", f"{WEB}/actions/runs/{run}/rerun", None, 201),
        ("DELETE", f"{WEB}/actions/runs/{run}", None, 204),
        ("GET", "/search/repositories?q=webapp", None, 200),
        ("GET", "/search/issues?q=crash+repo:acme/webapp", None, 200),
        ("GET", "/search/code?q=hello", None, 200),
        ("GET", "/search/commits?q=initial", None, 200),
        ("GET", "/search/users?q=ada", None, 200),
        ("GET", f"/search/labels?q=bug&repository_id={label_id}", None, 200),
        ("GET", "/search/topics?q=web", None, 200),
        ("GET", "/rate_limit", None, 200),
        ("DELETE", "/repos/ada/dotfiles", None, 204),
    ]


async def test_every_endpoint_of_github_answers(
    session: aiohttp.ClientSession, github: Running[GitHub]
) -> None:
    upstream = github.upstream
    caller = at(github, session, bearer(upstream.token))
    for method, path, body, status in github_calls(upstream):
        told = await caller.ask(method, path, body)
        assert told.status == status, (method, path, told.body)
    gist = next(iter(upstream.gists))
    for method, path, body, status in (
        ("GET", f"/gists/{gist}", None, 200),
        ("PATCH", f"/gists/{gist}", {"description": "Changed"}, 200),
        ("PUT", f"/gists/{gist}/star", None, 204),
        ("DELETE", f"/gists/{gist}/star", None, 204),
        ("DELETE", f"/gists/{gist}", None, 204),
    ):
        assert (await caller.ask(method, path, body)).status == status
    review = next(iter(upstream.repos["acme/webapp"].reviews))
    assert (await caller.get(f"{WEB}/pulls/2/reviews/{review}")).data["state"] == "APPROVED"
    drafted = (await caller.post(f"{WEB}/pulls/2/reviews", {"body": "So far"})).data
    events = f"{WEB}/pulls/2/reviews/{drafted['id']}/events"
    assert (await caller.post(events, {"event": "COMMENT"})).data["state"] == "COMMENTED"
    assert (await caller.post(events, {"event": "COMMENT"})).status == 422
    comment = next(iter(upstream.repos["acme/webapp"].review_comments))
    reply = await caller.post(f"{WEB}/pulls/2/comments/{comment}/replies", {"body": "!"})
    assert (reply.status, reply.data["in_reply_to_id"]) == (201, comment)
    await caller.post(f"{WEB}/actions/workflows/ci.yml/dispatches", {"ref": "main"})
    run = max(upstream.repos["acme/webapp"].runs)
    polls = [(await caller.get(f"{WEB}/actions/runs/{run}")).data["status"] for _ in range(3)]
    assert polls == ["queued", "in_progress", "completed"]
    assert (await caller.post(f"{WEB}/actions/runs/{run}/rerun-failed-jobs")).status == 201
    path = f"{WEB}/contents/docs/Getting%20started.md"
    sha = (await caller.get(path)).data["sha"]
    assert (await caller.ask("DELETE", path, {"message": "Gone", "sha": sha})).data["content"] is None
    assert asked_endpoints(github) == all_endpoints(GitHub)


async def test_github_refuses_in_its_own_shapes(
    session: aiohttp.ClientSession, github: Running[GitHub]
) -> None:
    bad = await at(github, session, bearer("nope")).get("/user")
    assert (bad.status, bad.data["message"]) == (401, "Bad credentials")
    assert "documentation_url" in bad.data
    caller = at(github, session, bearer(github.upstream.token))
    for path in ("/nothing/here", "/repos/acme/nope", f"{WEB}/issues/99"):
        assert ((told := await caller.get(path)).status, told.data["message"]) == (404, "Not Found")
    wrong = await caller.post(f"{WEB}/issues", {"body": "No title"})
    assert (wrong.status, wrong.data["message"]) == (422, "Validation Failed")
    assert wrong.data["errors"] == [{"resource": "Issue", "field": "title", "code": "missing_field"}]
    broken = await caller.post(f"{WEB}/issues", data=b"{")
    assert (broken.status, broken.data["message"]) == (400, "Problems parsing JSON")
    await caller.ask("PATCH", WEB, {"has_issues": False})
    assert (await caller.post(f"{WEB}/issues", {"title": "x"})).status == 410
    nameless = await caller.get("/user", skip_auto_headers=["User-Agent"])
    assert nameless.status == 403


async def test_what_github_was_told_shows_in_what_it_lists(
    session: aiohttp.ClientSession, github: Running[GitHub]
) -> None:
    caller = at(github, session, bearer(github.upstream.token))
    made = (await caller.post(f"{WEB}/issues", {"title": "Bug report", "labels": ["new"]})).data
    assert made["id"] > 2**53
    listed = (await caller.get(f"{WEB}/issues?labels=new")).data
    assert [issue["number"] for issue in listed] == [made["number"]]
    await caller.ask("PATCH", f"{WEB}/issues/{made['number']}", {"state": "closed"})
    assert (await caller.get(f"{WEB}/issues?labels=new")).data == []
    query = "is:issue+is:closed+label:new+repo:acme/webapp"
    assert (await caller.get(f"/search/issues?q={query}")).data["total_count"] == 1
    file = f"{WEB}/contents/new/file.txt"
    put = await caller.ask("PUT", file, {"message": "Add", "content": text("first")})
    assert put.status == 201
    assert (await caller.ask("PUT", file, {"message": "x", "content": text("2")})).status == 422
    stale = {"message": "x", "content": text("2"), "sha": "0" * 40}
    assert (await caller.ask("PUT", file, stale)).status == 409
    fresh = {**stale, "sha": put.data["content"]["sha"]}
    assert (await caller.ask("PUT", file, fresh)).status == 200
    assert base64.b64decode((await caller.get(file)).data["content"]) == b"2"
    raw = await caller.get(file, headers={"Accept": "application/vnd.github.raw+json"})
    assert raw.body == b"2"


async def test_github_links_its_pages(session: aiohttp.ClientSession, github: Running[GitHub]) -> None:
    repo = github.upstream.repos["acme/webapp"]
    for number in range(5):
        github.upstream.add_issue(repo, f"Issue {number}")
    caller = at(github, session, bearer(github.upstream.token))
    told = await caller.get(f"{WEB}/issues?per_page=3&state=all&page=2")
    assert len(told.data) == 3
    pages = {part.split("; ")[1]: part.split(">")[0].strip("< ") for part in told.headers["Link"].split(",")}
    assert set(pages) == {'rel="prev"', 'rel="next"', 'rel="first"', 'rel="last"'}
    assert pages['rel="next"'] == f"{github.base_url}{WEB}/issues?per_page=3&state=all&page=3"


async def test_github_counts_searches_apart_and_knows_what_the_caller_holds(
    session: aiohttp.ClientSession, github: Running[GitHub]
) -> None:
    caller = at(github, session, bearer(github.upstream.token))
    told = await caller.get("/user")
    assert (told.headers["X-RateLimit-Limit"], told.headers["X-RateLimit-Remaining"]) == ("5000", "4999")
    same = await caller.get("/user", headers={"If-None-Match": told.headers["ETag"]})
    assert (same.status, same.body) == (304, b"")
    statuses = [(await caller.get("/search/users?q=ada")).status for _ in range(31)]
    assert (statuses[29], statuses[30]) == (200, 403)
    assert (await caller.get("/user")).status == 200


async def test_a_renamed_repository_moves_and_a_private_one_hides(
    session: aiohttp.ClientSession, github: Running[GitHub]
) -> None:
    caller = at(github, session, bearer(github.upstream.token))
    await caller.ask("PATCH", WEB, {"name": "site"})
    moved = await caller.get(WEB)
    assert (moved.status, moved.headers["Location"]) == (301, moved.data["url"])
    path = moved.data["url"].removeprefix(github.base_url)
    assert (await caller.get(path)).data["full_name"] == "acme/site"
    github.upstream.add_token("ghp_grace", "grace")
    assert (await caller.with_headers(bearer("ghp_grace")).get("/repos/ada/dotfiles")).status == 404


async def test_the_logs_of_a_run_lie_on_a_second_origin(
    session: aiohttp.ClientSession, github: Running[GitHub]
) -> None:
    caller = at(github, session, bearer(github.upstream.token))
    run = next(iter(github.upstream.repos["acme/webapp"].runs))
    location = (await caller.get(f"{WEB}/actions/runs/{run}/logs")).headers["Location"]
    assert location.startswith(github.storage.base_url)
    storage = Caller(session=session, base_url=github.storage.base_url)
    fetched = await storage.get(location.removeprefix(github.storage.base_url))
    assert (fetched.status, fetched.headers["Content-Type"]) == (200, "application/zip")
