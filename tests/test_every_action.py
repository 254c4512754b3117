"""Every action of the five integrations with a counterpart here, over sockets: the exact request, the exact envelope."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from aiohttp import web

from skills_catalog.loader import SHIPPED, load_catalog
from tests.actions import github, overscore, overskill, overten, skycot
from tests.actions.case import Case, File, Text, World, filled
from tests.fakes.github import GitHub
from tests.fakes.overscore import Overscore
from tests.fakes.overskill import OverSkill
from tests.fakes.overten import Overten
from tests.fakes.skycot import SkyCot
from tests.fakes.upstream import Answer as Told
from tests.fakes.upstream import Asked, Clock, HandClock, Part, Running, Seen, Upstream, json_answer, route, serve
from tests.harness import Answer, RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CATALOG = load_catalog([SHIPPED])
CASES: Mapping[str, Mapping[str, tuple[Case, ...]]] = {
    "github": github.CASES,
    "overskill": overskill.CASES,
    "skycot": skycot.CASES,
    "overten": overten.CASES,
    "overscore": overscore.CASES,
}
PREPARE: Mapping[str, Callable[[Any], World]] = {
    "github": github.prepare,
    "overskill": overskill.prepare,
    "skycot": skycot.prepare,
    "overten": overten.prepare,
    "overscore": overscore.prepare,
}
#: Every action of the integrations that have a counterpart here, with every auth method that may serve it; one without
#: a case fails. The others are tried by their examples, in `test_every_example.py`.
CALLS = [
    pytest.param(slug, skill.name, method, id=f"{skill.id}-{method}")
    for slug in sorted(CASES)
    for skill in CATALOG.integrations[slug].skills.values()
    for method in skill.auth
]
OAUTH_TOKEN = "gho_16C7e42F292c6912E7710c838347Ae178B4a"
#: Header of an upstream -> where it stands in `meta.upstream`.
PASSED = {
    "Retry-After": ("retry_after",),
    "Link": ("link",),
    "ETag": ("etag",),
    "Sunset": ("sunset",),
    "X-RateLimit-Limit": ("rate_limit", "limit"),
    "X-RateLimit-Remaining": ("rate_limit", "remaining"),
    "X-RateLimit-Reset": ("rate_limit", "reset"),
}


# What stands on the other side


class Watched(Upstream):
    """Keeps what it answered: its bytes are compared with what the caller gets."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        super().__init__(clock=clock)
        self.told: list[web.Response] = []

    async def _take(self, request: web.Request) -> web.StreamResponse:
        response = await super()._take(request)
        assert isinstance(response, web.Response)
        self.told.append(response)
        return response


class WatchedGitHub(GitHub, Watched):
    pass


class WatchedOverSkill(OverSkill, Watched):
    pass


class WatchedSkyCot(SkyCot, Watched):
    pass


class WatchedOverten(Overten, Watched):
    pass


class WatchedOverscore(Overscore, Watched):
    pass


class TokenDesk(Upstream):
    """A token endpoint that redeems any code for the one token which the counterparts let in, with every scope."""

    @route("POST", "/token")
    def token(self, asked: Asked) -> Told:
        back = dict(asked.seen.form())["redirect_uri"]
        granted = "repo,workflow,gist,user,delete_repo" if back.endswith("/github") else "full_access"
        return json_answer({"access_token": OAUTH_TOKEN, "token_type": "bearer", "scope": granted})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an auth method puts its secret."""

    secret: str
    header: str | None = None
    prefix: str = ""
    cookie: str | None = None
    body: str | None = None


@dataclass(slots=True, kw_only=True)
class Stage:
    """One gateway, and the five counterparts that it is connected to by every method; the user is the method."""

    running: RunningGateway
    github: Running[WatchedGitHub]
    overskill: Running[WatchedOverSkill]
    skycot: Running[WatchedSkyCot]
    overten: Running[WatchedOverten]
    overscore: Running[WatchedOverscore]
    desk: Running[TokenDesk]

    def counterpart(self, slug: str) -> Running[Any]:
        found: Running[Any] = getattr(self, slug)
        return found

    def renew(self) -> None:
        """Puts every counterpart back to how it began; the addresses and credentials stay good."""
        self.running.forget_pace()
        for slug in CASES:
            upstream = self.counterpart(slug).upstream
            fresh = type(upstream)(clock=HandClock())
            fresh.base_url = upstream.base_url
            if upstream.storage is not None:
                upstream.storage.seen.clear()
                fresh.storage = upstream.storage
            vars(upstream).clear()
            vars(upstream).update(vars(fresh))
        self.github.upstream.add_token(OAUTH_TOKEN, "ada")
        self.overskill.upstream.add_token(OAUTH_TOKEN)

    def place(self, slug: str, method: str) -> Place:
        bearer = {"header": "Authorization", "prefix": "Bearer "}
        places = {
            "github/token": Place(secret=self.github.upstream.token, **bearer),
            "github/oauth": Place(secret=OAUTH_TOKEN, **bearer),
            "overskill/api_key": Place(secret=self.overskill.upstream.key, header="X-API-Key"),
            "overskill/oauth": Place(secret=OAUTH_TOKEN, **bearer),
            "skycot/key": Place(secret=self.skycot.upstream.live_key, **bearer),
            "overten/key": Place(secret=self.overten.upstream.key, header="X-API-Key"),
            "overten/firebase": Place(secret=self.overten.upstream.id_token, **bearer),
            "overscore/project_key": Place(secret=self.overscore.upstream.key, body="apiKey"),
            "overscore/session_token": Place(secret=self.overscore.upstream.session, **bearer),
            "overscore/session": Place(secret=self.overscore.upstream.session, cookie="session"),
        }
        return places[f"{slug}/{method}"]

    async def call(self, slug: str, action: str, params: Any, *, user: str, **more: Any) -> Answer:
        return await self.running.call(slug, action, params, user=user, **more)

    async def sign_in(self, slug: str) -> None:
        """What a person's browser does: our page, its button, (consent,) back to the callback."""
        browser = self.running.session
        begun = await self.running.ask(
            "POST", "/v1/connect", body={"integration": slug, "auth": "oauth", "user": "oauth"}
        )
        async with browser.post(begun.json()["oauth_url"], allow_redirects=False) as clicked:
            asked = parse_qs(urlsplit(clicked.headers["Location"]).query)
        back = {"code": "a-code", "state": asked["state"][0]}
        async with browser.get(asked["redirect_uri"][0], params=back) as landed:
            assert landed.status == 200, await landed.text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        counterparts: dict[str, Running[Any]] = {
            name: await stack.enter_async_context(serve(upstream))
            for name, upstream in {
                "github": WatchedGitHub(clock=HandClock()),
                "overskill": WatchedOverSkill(clock=HandClock()),
                "skycot": WatchedSkyCot(clock=HandClock()),
                "overten": WatchedOverten(clock=HandClock()),
                "overscore": WatchedOverscore(clock=HandClock()),
                "desk": TokenDesk(),
            }.items()
        }
        client = {
            "client_id": "gateway",
            "client_secret": "not a secret",
            "token_url": counterparts["desk"].base_url + "/token",
        }
        running = await stack.enter_async_context(
            gateway(
                tmp_path_factory.mktemp("gateway"),
                integrations={
                    "github": {"base_url": counterparts["github"].base_url, **client},
                    "overskill": {"base_url": counterparts["overskill"].base_url + "/api/v1", **client},
                    "skycot": {"base_url": "http://{domain}/api/v1"},
                    "overten": {"base_url": counterparts["overten"].base_url + "/api/v1"},
                    "overscore": {"base_url": counterparts["overscore"].base_url},
                },
            )
        )
        stage = Stage(running=running, **counterparts)
        stage.renew()
        await stage.sign_in("github")
        await stage.sign_in("overskill")
        domain = stage.skycot.base_url.removeprefix("http://")
        for slug, method, given in (
            ("github", "token", {"token": stage.github.upstream.token}),
            ("overskill", "api_key", {"api_key": stage.overskill.upstream.key}),
            ("skycot", "key", {"token": stage.skycot.upstream.live_key, "domain": domain}),
            ("overten", "key", {"api_key": stage.overten.upstream.key}),
            ("overten", "firebase", {"token": stage.overten.upstream.id_token}),
            ("overscore", "project_key", {"api_key": stage.overscore.upstream.key}),
            ("overscore", "session_token", {"token": stage.overscore.upstream.session}),
            ("overscore", "session", {"api_key": stage.overscore.upstream.session}),
        ):
            await running.connect(slug, given, auth=method, user=method)
        yield stage


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    whole_stage.renew()
    return whole_stage


# The table


async def test_the_shipped_catalog_has_the_actions_that_were_promised() -> None:
    counts = {slug: len(CATALOG.integrations[slug].skills) for slug in CASES}
    assert counts == {"github": 90, "overskill": 13, "skycot": 10, "overten": 24, "overscore": 2}
    actions = {slug: set(CATALOG.integrations[slug].skills) for slug in CASES}
    assert {slug: set(cases) for slug, cases in CASES.items()} == actions


@pytest.mark.parametrize(("slug", "action", "method"), CALLS)
async def test_an_action_makes_its_request_and_the_answer_comes_back_untouched(
    stage: Stage, slug: str, action: str, method: str
) -> None:
    counterpart = stage.counterpart(slug)
    for case in CASES[slug][action]:
        stage.renew()
        world = PREPARE[slug](counterpart.upstream)
        answer = await stage.call(slug, action, filled(case.params, world), user=method)
        assert len(counterpart.seen) == 1, answer.body
        check_request(counterpart, case, world, stage.place(slug, method), slug)
        if case.then:
            check_redirected(counterpart, case, world, stage.place(slug, method))
        check_envelope(answer, case, world, counterpart.upstream.told[-1])
        assert stage.running.org.live not in wire_text(counterpart.last)


def check_request(counterpart: Running[Any], case: Case, world: World, place: Place, slug: str) -> None:
    """Method, target, every header and the body are what is written down, and the secret is in its one place."""
    seen = counterpart.last
    method, _, target = case.sent.format_map(world).partition(" ")
    assert (seen.method, seen.raw_path) == (method, target)

    headers = {"Host": counterpart.base_url.removeprefix("http://"), "User-Agent": "Skillway"}
    headers["Accept-Encoding"] = "gzip, deflate"
    headers["Accept"] = "application/vnd.github+json" if slug == "github" else "application/json"
    if slug == "github":
        headers["X-GitHub-Api-Version"] = "2022-11-28"
    if place.header:
        headers[place.header] = place.prefix + place.secret
    if place.cookie:
        headers["Cookie"] = f"{place.cookie}={place.secret}"
    if seen.body or method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(seen.body))
    if case.json is not None:
        headers["Content-Type"] = "application/json"
    if case.parts:
        boundary = re.fullmatch(r"multipart/form-data; boundary=([\w-]{20,70})", seen.header("Content-Type") or "")
        assert boundary
        headers["Content-Type"] = boundary[0]
    assert len(seen.headers) == len(headers)
    assert dict(seen.headers) == headers

    if case.parts:
        assert tuple(seen.parts()) == case.parts
    elif case.json is not None:
        document = filled(case.json, world)
        if case.key:
            key = json.loads(seen.body)[case.key]
            assert re.fullmatch(r"skillway-run_[0-9a-z]{20,}", key)
            document = {**document, case.key: key}
        if place.body:
            document = {**document, place.body: place.secret}
        assert seen.body == json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    else:
        assert seen.body == b""
    assert wire_text(seen).count(place.secret) == 1


def check_redirected(counterpart: Running[Any], case: Case, world: World, place: Place) -> None:
    """The second origin got a plain GET: nothing of the credential, in no form."""
    assert case.then is not None
    (seen,) = counterpart.storage.seen
    assert (seen.method, seen.path) == ("GET", case.then.format_map(world))
    assert [name for name, _ in seen.query] == ["Expires", "Signature"]
    assert place.secret not in wire_text(seen)
    assert not {"authorization", "x-api-key", "cookie"} & {name.lower() for name, _ in seen.headers}
    assert seen.body == b""


def check_envelope(answer: Answer, case: Case, world: World, told: web.Response) -> None:
    """HTTP 200, the upstream's status beside the upstream's own bytes, and what we know in `meta`."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Upstream-Status"] == str(case.status)
    sent = told.body or b""
    assert isinstance(sent, bytes)
    if case.data is None:
        data = sent or b"null"
        if told.headers.get("Content-Type", "").startswith("application/json"):
            json.loads(sent)
    elif isinstance(case.data, Text):
        data = json.dumps(case.data.text, ensure_ascii=False).encode()
    else:
        data = file_json(case.data, world, sent)
    head = b'{"status":%d,"data":%b,"meta":' % (case.status, data)
    assert answer.body[: len(head)] == head
    envelope = answer.json()
    assert list(envelope) == ["status", "data", "meta"]
    meta = envelope["meta"]
    assert re.fullmatch(r"run_\w{10,}", meta.pop("run_id"))
    assert isinstance(meta.pop("account"), str)
    if case.status >= 400:
        meta.pop("hint", None)
    expected = {} if case.then else upstream_meta(told)
    assert meta == ({"upstream": expected} if expected else {})


def file_json(file: File, world: World, sent: bytes) -> bytes:
    content = sent if file.content is None else file.content
    return json.dumps(
        {
            "encoding": "base64",
            "content_type": file.content_type,
            "filename": file.filename.format_map(world) if file.filename else None,
            "size": len(content),
            "content": base64.b64encode(content).decode(),
        },
        separators=(",", ":"),
    ).encode()


def upstream_meta(told: web.Response) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for header, (name, *inner) in PASSED.items():
        if (value := told.headers.get(header)) is None:
            continue
        if inner:
            meta.setdefault(name, {})[inner[0]] = int(value)
        else:
            meta[name] = value
    return meta


def wire_text(seen: Seen) -> str:
    lines = [f"{seen.method} {seen.raw_path}", *(f"{name}: {value}" for name, value in seen.headers)]
    return "\n".join(lines) + "\n\n" + seen.body.decode("latin-1")


# Each system's own refusals

PLANNED = "Planned by a test"
OVERTEN_DETAIL = [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing", "input": {}, "ctx": {}}]
REFUSALS: Mapping[str, Mapping[int, tuple[dict[str, Any], Any]]] = {
    "overskill": {
        400: ({}, {"error": "Bad Request", "message": PLANNED}),
        401: ({}, {"error": "Unauthorized", "message": PLANNED}),
        403: ({}, {"error": "Forbidden", "message": PLANNED}),
        404: ({}, {"error": "Not Found", "message": PLANNED}),
        409: ({}, {"error": "Conflict", "message": PLANNED}),
        413: ({}, {"error": "Payload Too Large", "message": PLANNED}),
        422: ({}, {"error": "Unprocessable Entity", "message": PLANNED}),
        429: ({}, {"error": "Too Many Requests", "message": PLANNED}),
        500: ({}, {"error": "Internal Server Error", "message": PLANNED}),
    },
    "skycot": {
        400: (
            {"details": {"issues": [{"path": ["name"], "code": "invalid_type"}]}},
            {"error": {"code": "validation_error", "message": PLANNED,
                       "details": {"issues": [{"path": ["name"], "code": "invalid_type"}]}}},
        ),
        401: ({}, {"error": {"code": "unauthorized", "message": PLANNED}}),
        403: (
            {"code": "token_limit_exceeded", "details": {"tokens_used": 10000000, "tokens_limit": 10000000}},
            {"error": {"code": "token_limit_exceeded", "message": PLANNED,
                       "details": {"tokens_used": 10000000, "tokens_limit": 10000000}}},
        ),
        404: ({}, {"error": {"code": "not_found", "message": PLANNED}}),
        409: ({}, {"error": {"code": "conflict", "message": PLANNED}}),
        413: ({}, {"error": {"code": "payload_too_large", "message": PLANNED}}),
        422: ({"code": "unprocessable"}, {"error": {"code": "unprocessable", "message": PLANNED}}),
        429: ({}, {"error": {"code": "rate_limit_exceeded", "message": PLANNED}}),
        500: ({}, {"error": {"code": "internal_error", "message": PLANNED}}),
    },
    "overten": {
        400: (
            {"code": "preflight_failed", "details": {"missing": ["file_a"]}},
            {"success": False, "error": "preflight_failed", "message": PLANNED, "missing": ["file_a"]},
        ),
        401: ({}, {"success": False, "error": "invalid_api_key", "message": PLANNED}),
        403: ({}, {"success": False, "error": "forbidden", "message": PLANNED}),
        404: ({}, {"success": False, "error": "not_found", "message": PLANNED}),
        409: (
            {"code": "idempotency_conflict"},
            {"success": False, "error": "idempotency_conflict", "message": PLANNED},
        ),
        413: ({}, {"success": False, "error": "payload_too_large", "message": PLANNED}),
        422: ({"details": OVERTEN_DETAIL}, {"detail": OVERTEN_DETAIL}),
        429: ({}, {"success": False, "error": "rate_limited", "message": PLANNED}),
        500: ({}, {"success": False, "error": "internal_error", "message": PLANNED}),
    },
    "overscore": {
        400: ({}, {"error": PLANNED}),
        401: ({}, {"error": PLANNED}),
        403: ({}, {"error": PLANNED}),
        404: ({}, {"error": PLANNED}),
        409: ({}, {"error": PLANNED}),
        413: ({}, {"error": PLANNED}),
        422: ({}, {"error": PLANNED}),
        429: ({}, {"error": PLANNED}),
        500: (
            {"details": "BigQuery error: Table not found: p.a.orders"},
            {"error": PLANNED, "detail": "BigQuery error: Table not found: p.a.orders"},
        ),
    },
    "github": {
        status: ({"details": details} if details else {}, body)
        for status, details, body in (
            (status, details, {
                "message": PLANNED, **({"errors": details} if details else {}),
                "documentation_url": "https://docs.github.com/rest", "status": str(status),
            })
            for status, details in (
                (400, None), (401, None), (403, None), (404, None), (409, None), (413, None),
                (422, [{"resource": "Issue", "field": "title", "code": "missing_field"}]), (429, None), (500, None),
            )
        )
    },
}
#: An action of each system with the method that serves it, and params that pass our own checks.
ASKED: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "overskill": ("create_app", "api_key", {"name": "x"}),
    "skycot": ("create_project", "key", {"name": "x"}),
    "overten": ("generate_word", "key", {"prompt": "x"}),
    "overscore": ("run_query", "project_key", {"projectSlug": "a", "dashboardSlug": "b", "queryName": "c"}),
    "github": ("create_issue", "token", {"repo": "acme/webapp", "title": "x"}),
}


@pytest.mark.parametrize(
    ("slug", "status"), [(slug, status) for slug, refusals in REFUSALS.items() for status in refusals]
)
async def test_a_refusal_of_the_upstream_stays_in_its_own_words_under_data(stage: Stage, slug: str, status: int) -> None:
    counterpart = stage.counterpart(slug)
    action, user, params = ASKED[slug]
    plan, body = REFUSALS[slug][status]
    waits = {"Retry-After": "17"} if status == 429 else {}
    counterpart.refuse_next(status, PLANNED, headers=waits, **plan)
    answer = await stage.call(slug, action, params, user=user)
    envelope = answer.json()
    assert (answer.status, envelope["status"]) == (200, status)
    assert answer.headers["X-Upstream-Status"] == str(status)
    assert "error" not in envelope
    assert envelope["data"] == body
    sent = counterpart.upstream.told[-1].body
    assert answer.body.startswith(b'{"status":%d,"data":%b,"meta":' % (status, sent))
    # Asked once: a refused write is never repeated.
    assert len(counterpart.seen) == 1
    if status == 429:
        assert envelope["meta"]["upstream"]["retry_after"] == "17"
        assert "Retry-After" not in answer.headers


async def test_real_refusals_of_every_system_come_with_the_hint_of_the_definition(stage: Stage) -> None:
    overskill, skycot, overten = stage.overskill.upstream, stage.skycot.upstream, stage.overten.upstream
    project = skycot_project(skycot)
    skycot.account.tokens_used = skycot.account.tokens_limit
    overten.org.credits = 0
    overskill.keys[0].scope = "read_only"
    query = {"projectSlug": "acme", "dashboardSlug": "sales-dashboard"}
    for slug, action, user, params, status, data, hint in (
        ("overskill", "create_app", "api_key", {"name": "x"}, 403,
         {"error": "Forbidden", "message": "This key's scope, read_only, does not allow this"}, "read_only"),
        ("overskill", "get_app", "api_key", {"id": "nope"}, 404,
         {"error": "Not Found", "message": "App not found"}, "list_apps"),
        ("skycot", "trigger_build", "key", {"id": project, "requirements": "x"}, 403,
         {"error": {
             "code": "token_limit_exceeded",
             "message": "Monthly token allowance exhausted. Upgrade your plan or wait for the next billing cycle.",
             "details": {"tokens_used": 10000000, "tokens_limit": 10000000, "overage_rate": "8.00 per 1M tokens"},
         }}, "get_usage"),
        ("overten", "generate_word", "key", {"prompt": "x"}, 402,
         {"success": False, "error": "insufficient_credits", "message": "Not enough credits for this generation"},
         "Buy credits"),
        ("overscore", "run_query", "project_key", {**query, "queryName": "broken_orders"}, 500,
         {"error": "Query execution failed",
          "detail": "BigQuery error: Table not found: my-project.analytics.orders"}, "BigQuery"),
        ("overscore", "run_query", "project_key", {**query, "queryName": "nope"}, 404,
         {"error": "Query 'nope' is not registered for dashboard 'sales-dashboard'"}, "Register the query"),
        ("github", "get_issue", "token", {"repo": "acme/webapp", "issue_number": 99}, 404,
         {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}, "repo"),
    ):
        envelope = (await stage.call(slug, action, params, user=user)).json()
        assert (envelope["status"], envelope["data"]) == (status, data)
        assert hint in envelope["meta"]["hint"]


# The traps of each system


def skycot_project(skycot: SkyCot) -> str:
    return str(PREPARE["skycot"](skycot)["project"])


async def test_a_key_in_the_body_is_put_there_by_the_gateway_alone(stage: Stage) -> None:
    query = {"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "revenue_by_month"}
    refused = await stage.call("overscore", "run_query", {**query, "apiKey": "os_live_mine"}, user="project_key")
    assert (refused.status, refused.json()["error"]) == (400, "bad_request")
    assert "apiKey" in refused.json()["message"]
    document = (await stage.running.ask("GET", "/v1/skills/overscore/run_query")).json()
    assert set(document["parameters"]["properties"]) == {"projectSlug", "dashboardSlug", "queryName"}
    assert "apiKey" not in json.dumps(document["examples"])
    assert stage.overscore.seen == []


async def test_rows_of_a_body_that_has_data_itself_stay_one_level_deeper(stage: Stage) -> None:
    query = {"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "cached_revenue"}
    asked: dict[str, Any] = {"user": "project_key", "headers": {"Cache-Control": "no-cache"}}
    first, second = [(await stage.call("overscore", "run_query", query, **asked)).json() for _ in range(2)]
    assert first["data"]["data"][0] == {"month": "2025-01", "total_revenue": 52400}
    assert first["data"]["metadata"]["cacheUrl"] is None
    assert "cacheTtl" not in first["data"]["metadata"]
    assert second["data"]["metadata"]["cached"] is True
    assert second["data"]["metadata"]["cacheTtl"] == 3600


async def test_a_field_of_the_connection_fills_the_param_that_the_caller_leaves_out(stage: Stage) -> None:
    key = stage.overscore.upstream.key
    await stage.running.connect(
        "overscore", {"api_key": key, "projectSlug": "acme"}, auth="project_key", user="with-project"
    )
    asked = {"dashboardSlug": "sales-dashboard", "queryName": "revenue_by_month"}
    answer = await stage.call("overscore", "run_query", asked, user="with-project")
    assert answer.json()["status"] == 200
    assert stage.overscore.last.json() == {**asked, "projectSlug": "acme", "apiKey": key}
    other = await stage.call("overscore", "run_query", {**asked, "projectSlug": "other"}, user="with-project")
    assert other.json()["status"] == 401
    assert stage.overscore.last.json()["projectSlug"] == "other"
    missing = await stage.call("overscore", "run_query", asked, user="project_key")
    assert (missing.status, missing.json()["error"]) == (400, "bad_request")
    assert "projectSlug" in missing.json()["message"]
    assert len(stage.overscore.seen) == 2


async def test_only_connections_of_a_method_that_may_serve_an_action_are_candidates(stage: Stage) -> None:
    running, upstream = stage.running, stage.overscore.upstream
    bundle = {"projectSlug": "acme", "dashboardSlug": "sales", "bundle": "H4sIAAA="}
    query = {"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "revenue_by_month"}
    refused = await stage.call("overscore", "deploy_dashboard", bundle, user="project_key")
    assert (refused.status, refused.json()["error"]) == (403, "integration_not_connected")
    assert refused.json()["action_url"].startswith(f"{running.url}/connect/new?")
    assert stage.overscore.seen == []

    await running.connect("overscore", {"api_key": upstream.key}, auth="project_key", user="both")
    await running.connect("overscore", {"token": upstream.session}, auth="session_token", user="both")
    assert (await stage.call("overscore", "run_query", query, user="both")).json()["status"] == 200
    assert (await stage.call("overscore", "deploy_dashboard", bundle, user="both")).json()["status"] == 200
    await running.connect("overscore", {"api_key": upstream.session}, auth="session", user="both", label="hub")
    several = await stage.call("overscore", "deploy_dashboard", bundle, user="both")
    assert (several.status, several.json()["error"]) == (409, "ambiguous_connection")
    assert several.headers["x-should-retry"] == "false"
    assert len(several.json()["details"]["choices"]) == 2
    named = await stage.call("overscore", "deploy_dashboard", bundle, user="both", connection="hub")
    assert named.json()["status"] == 200
    assert stage.overscore.last.cookie("session") == upstream.session
    assert len(stage.overscore.seen) == 3


async def test_a_person_and_an_org_have_different_credentials_at_overten(stage: Stage) -> None:
    for action, user, params in (
        ("sign_up", "key", {"org_name": "Acme"}),
        ("verify", "firebase", {}),
        ("list_api_keys", "key", {"org_id": stage.overten.upstream.org.id}),
    ):
        refused = await stage.call("overten", action, params, user=user)
        assert (refused.status, refused.json()["error"]) == (403, "integration_not_connected")
    assert stage.overten.seen == []


async def test_a_company_that_runs_skycot_itself_is_asked_on_its_own_domain(stage: Stage) -> None:
    async with serve(SkyCot(clock=HandClock())) as enterprise:
        key = enterprise.upstream.live_key
        domain = enterprise.base_url.removeprefix("http://")
        await stage.running.connect("skycot", {"token": key, "domain": domain}, user="enterprise")
        answer = await stage.call("skycot", "get_usage", {}, user="enterprise")
        assert answer.json()["status"] == 200
        assert enterprise.last.header("Host") == domain
        assert enterprise.last.raw_path == "/api/v1/usage"
    assert stage.skycot.seen == []


async def test_without_a_domain_a_connection_goes_to_skycot(stage: Stage) -> None:
    made = await stage.running.connect("skycot", {"token": "sk_test_abc"}, user="usual")
    shown = (await stage.running.ask("GET", f"/v1/connections/{made}")).json()
    assert shown["fields"] == {"domain": "api.skycot.com"}


@pytest.mark.parametrize(
    "domain",
    ["", " ", "a b", "evil.example/api", "evil.example#", "evil.example?", "user@evil.example", "a..b", "-a.example",
     "evil.example:0", "evil.example:99999", "evil.example:80:80", "http://evil.example", "evil.example\\@skycot.com",
     "evil.example%2f", "evil.example\r\nX-A: b", "[::1]", "{domain}", "ⓔvil.example"],
)
async def test_a_domain_that_is_no_host_name_is_not_connected(stage: Stage, domain: str) -> None:
    body = {"integration": "skycot", "user": "bad", "credentials": {"token": "sk_live_abc", "domain": domain}}
    answer = await stage.running.ask("POST", "/v1/connect", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert "domain" in answer.json()["message"]


async def test_announced_actions_are_marked_and_can_be_called(stage: Stage) -> None:
    document = (await stage.running.ask("GET", "/v1/skills/skycot/get_usage")).json()
    assert document["lifecycle"] == "planned"
    assert document["requires_plan"] == "Pro+"
    assert (await stage.call("skycot", "get_usage", {}, user="key")).json()["status"] == 200


async def test_a_poll_url_in_an_answer_is_neither_followed_nor_changed(stage: Stage) -> None:
    project = skycot_project(stage.skycot.upstream)
    answer = (await stage.call("skycot", "trigger_build", {"id": project, "requirements": "x"}, user="key")).json()
    assert answer["data"]["poll_url"] == f"/api/v1/builds/{answer['data']['build_id']}"
    assert len(stage.skycot.seen) == 1


async def test_a_408_of_the_upstream_is_an_answer_and_comes_once(stage: Stage) -> None:
    for action in ("generate_excel", "outline_slides", "analyze_excel"):
        stage.renew()
        PREPARE["overten"](stage.overten.upstream)
        params = {"prompt": "A book [slow]", **({"file_id": "file_a"} if action == "analyze_excel" else {})}
        answer = await stage.call("overten", action, params, user="key")
        assert (answer.status, answer.json()["status"]) == (200, 408)
        assert answer.json()["data"]["error"] == "sync_timeout_upgrade_async"
        assert answer.json()["data"]["task_id"].startswith("task_")
        assert "get_task" in answer.json()["meta"]["hint"]
        assert len(stage.overten.seen) == 1


async def test_a_deprecation_that_the_upstream_announces_is_told(stage: Stage) -> None:
    stage.overten.upstream.sunset = "Wed, 31 Dec 2027 23:59:59 GMT"
    answer = await stage.call("overten", "verify", {}, user="key")
    assert answer.json()["meta"]["upstream"] == {"sunset": "Wed, 31 Dec 2027 23:59:59 GMT"}
    assert "Sunset" not in answer.headers
    assert "X-Deprecated" not in answer.headers


async def test_a_bundle_over_the_upstreams_limit_is_the_upstreams_413(stage: Stage) -> None:
    stage.overscore.upstream.bundle_limit = 8
    bundle = {"projectSlug": "acme", "dashboardSlug": "sales", "bundle": overscore.BUNDLE_BASE64}
    answer = await stage.call("overscore", "deploy_dashboard", bundle, user="session_token")
    assert (answer.status, answer.json()["status"]) == (200, 413)
    assert answer.json()["data"] == {"error": "Bundle size exceeds the 50MB limit"}


async def test_ids_beyond_what_a_double_holds_keep_every_digit(stage: Stage) -> None:
    answer = await stage.call("github", "get_authenticated_user", {}, user="token")
    identifier = stage.github.upstream.users["ada"]["id"]
    assert identifier > 2**53 and identifier % 2 == 1
    assert f'"id": {identifier}'.encode() in answer.body
    # A field that no definition knows passes, in the spelling in which it was sent.
    assert b'"added_later": {"ratio": 0.1, "nothing": null, "deep": [[{}]]}' in answer.body


async def test_a_repository_that_moved_is_followed_with_the_credential_on_its_own_origin(stage: Stage) -> None:
    repo = {"repo": "acme/webapp"}
    renamed = await stage.call("github", "update_repo", {**repo, "name": "site"}, user="token")
    assert renamed.json()["status"] == 200
    stage.github.seen.clear()
    answer = await stage.call("github", "get_repo", repo, user="token")
    assert (answer.json()["status"], answer.json()["data"]["full_name"]) == (200, "acme/site")
    first, second = stage.github.seen
    assert first.raw_path == "/repos/acme/webapp"
    assert second.raw_path == f"/repositories/{answer.json()['data']['id']}"
    assert first.bearer() == second.bearer() == stage.github.upstream.token
    # Where the definition does not say so, the redirect itself is the answer.
    stage.github.seen.clear()
    listed = await stage.call("github", "list_labels_for_repo", repo, user="token")
    assert (listed.json()["status"], listed.json()["data"]["message"]) == (301, "Moved Permanently")
    assert "Location" not in listed.headers
    assert len(stage.github.seen) == 1


async def test_a_dead_static_key_is_the_upstreams_own_401(stage: Stage) -> None:
    stage.overskill.upstream.keys[0].active = False
    answer = await stage.call("overskill", "list_apps", {}, user="api_key")
    assert (answer.status, answer.json()["status"]) == (200, 401)
    assert answer.json()["data"] == {"error": "Unauthorized", "message": "Invalid or expired API key"}
    assert len(stage.overskill.seen) == 1


async def test_a_token_request_asks_github_for_json_and_proves_the_click(stage: Stage) -> None:
    github_asked = stage.desk.seen[0]
    form = dict(github_asked.form())
    assert github_asked.header("Accept") == "application/json"
    assert (form["grant_type"], form["code"], form["client_id"]) == ("authorization_code", "a-code", "gateway")
    assert re.fullmatch(r"[\w.~-]{43,128}", form["code_verifier"])
    assert form["redirect_uri"] == f"{stage.running.url}/oauth/callback/github"


async def test_a_multipart_body_cannot_be_ended_by_its_content(stage: Stage) -> None:
    content = b"\r\n--boundary--\r\nContent-Disposition: form-data; name=\"projectSlug\"\r\n\r\nother\r\n"
    bundle = {
        "filename": 'a"\r\nX-A: b\r\n\r\n.tgz',
        "content_type": "application/gzip",
        "content": base64.b64encode(b"\x1f\x8b" + content).decode(),
    }
    params = {"projectSlug": "acme\r\n--x", "dashboardSlug": "sales", "bundle": bundle}
    await stage.call("overscore", "deploy_dashboard", params, user="session_token")
    assert stage.overscore.last.parts() == [
        Part(name="projectSlug", filename=None, content_type=None, content=b"acme\r\n--x"),
        Part(name="dashboardSlug", filename=None, content_type=None, content=b"sales"),
        Part(
            name="bundle", filename="a___X-A: b____.tgz", content_type="application/gzip", content=b"\x1f\x8b" + content
        ),
    ]


async def test_nothing_of_a_secret_is_in_the_folder_of_the_gateway(stage: Stage) -> None:
    for folder in (stage.running.data_dir,):
        files = [path.read_bytes() for path in Path(folder).iterdir() if path.is_file()]
        assert len(files) >= 2
        for slug, method in (("github", "token"), ("overskill", "api_key"), ("overscore", "project_key"), ("github", "oauth")):
            secret = stage.place(slug, method).secret.encode()
            assert not any(secret in content for content in files)
