"""Nobody reaches what is another's: every route, with every kind of id, asked by everybody who may not.

The table of routes makes the cases, so that a new route joins by itself; one that takes an id of a kind which
nobody has described here fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.core.tenants.grants import LEVELS
from gateway.installation import open_installation
from gateway.rest.routes import ROUTES
from gateway.settings import load_settings
from gateway.store.orgs import SqlOrgs
from gateway.web.operations import Route
from tests.fakes.github import GitHub
from tests.fakes.upstream import Running, serve
from tests.harness import Answer, Org, RunningGateway, gateway, make_org
from tests.operator import Operator

#: Routes for which a key makes a difference.
KEYED = [route for route in ROUTES if route.level is not None or route.operation.takes_key]
#: Which kind of thing the placeholder of a route names, by the route's path.
KINDS: dict[str, str] = {
    "/v1/connect/{id}": "flow",
    "/v1/connect/{id}/confirm": "flow",
    "/v1/connections/{id}": "connection",
    "/api-keys/{id}": "api_key",
    "/v1/runs/{id}": "run",
    "/v1/runs/{id}/cancel": "run",
    "/v1/runs/{id}/retry": "run",
    "/v1/results/{id}": "run",
    "/v1/files/{id}": "file",
    "/v1/webhooks/{id}": "webhook",
    "/v1/webhooks/{id}/rotate": "webhook",
    "/v1/webhooks/{id}/enable": "webhook",
    "/v1/webhooks/{id}/deliveries": "webhook",
    "/v1/webhooks/{id}/deliveries/{delivery}/replay": "webhook",
    "/v1/hooks/{id}": "hook",
}
#: What belongs to the key that made it and to those above that: to other keys it does not exist.
OF_ITS_MAKER = ("api_key", "webhook")
#: What stands for a name of the catalog, which is everybody's.
NAMES = {"integration": "github", "action": "get_repo", "delivery": f"dlv_{'0' * 32}"}
#: Bodies that would be taken, so that whoever is refused is refused for who they are.
BODIES: dict[str, Any] = {
    "POST /v1/connect": {"integration": "github", "auth": "token"},
    "POST /v1/connect/{id}/confirm": {"user": "default", "handle": "x"},
    "PUT /v1/org/redirect-urls": {"redirect_urls": []},
    "POST /api-keys": {"name": "k"},
    "POST /v1/files": {},
    "POST /v1/runs/{id}/cancel": {},
    "POST /v1/runs/{id}/retry": {},
    "POST /auth/device/authorize": {"user_code": "WDJB-MJHT"},
    "POST /v1/sandbox/reset": {},
    "POST /v1/preflight": {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}},
    "POST /v1/webhooks": {"url": "https://ok.example/in", "events": ["run.*"]},
    "POST /v1/webhooks/{id}/rotate": {},
    "POST /v1/webhooks/{id}/enable": {},
    "POST /v1/webhooks/{id}/deliveries/{delivery}/replay": {},
    "POST /v1/org/signing-secret": {},
    "POST /v1/hooks": {"integration": "github"},
    "PUT /v1/hooks/{id}": {"secret": "one that is long enough"},
    "POST /v1/{integration}/{action}": {"params": {"repo": "acme/webapp"}},
    "POST /v1/tools/call": {
        "format": "anthropic",
        "call": {"type": "tool_use", "id": "toolu_1", "name": "github__get_repo", "input": {"repo": "acme/webapp"}},
    },
}
#: Routes that ask for a key, or do more for one.
KEYED = [route for route in ROUTES if route.level is not None or route.operation.takes_key]
#: What a route cannot do without.
QUERIES = {"GET /v1/skills/search": "?q=repo", "GET /v1/tools": "?format=openai"}
#: Ids that stand in a body: where, and of which kind.
IN_BODIES: list[tuple[str, str, Any, str]] = [
    ("POST", "/v1/connect", lambda id: {"integration": "github", "auth": "token", "connection": id}, "connection"),
    ("POST", "/v1/github/get_repo", lambda id: {"params": {"repo": "a/b"}, "connection": id}, "connection"),
    (
        "POST",
        "/v1/tools/call",
        lambda id: {**BODIES["POST /v1/tools/call"], "connection": id},
        "connection",
    ),
    ("POST", "/api-keys", lambda id: {"name": "k", "connections": [id]}, "connection"),
    ("POST", "/v1/hooks", lambda id: {"integration": "github", "connection": id}, "connection"),
]


@dataclass(slots=True, kw_only=True)
class Tenant:
    """An org with one thing of every kind, and keys that may less and less."""

    org: Org
    ids: dict[str, str] = field(default_factory=dict)
    #: Level, or what is wrong with it, to the key's text.
    keys: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True, kw_only=True)
class Stage:
    running: RunningGateway
    mine: Tenant
    other: Tenant
    operator: Operator

    async def ask(self, route: Route, key: str, thing: str = "") -> Answer:
        path = path_of(route, thing) + QUERIES.get(name_of(route), "")
        return await self.running.ask(route.method, path, key=key, body=BODIES.get(name_of(route)))


def name_of(route: Route) -> str:
    return f"{route.method} {canonical(route.path)}"


def canonical(path: str) -> str:
    """The path with the names of its placeholders alone."""
    return re.sub(r"\{(\w+)(?::(?:[^{}]|\{[^{}]*\})*)?\}", r"{\1}", path.replace("[^{}/]", "[^/]"))


def path_of(route: Route, thing: str) -> str:
    filled = canonical(route.path)
    for name in re.findall(r"\{(\w+)\}", filled):
        filled = filled.replace(f"{{{name}}}", thing if name == "id" else NAMES[name])
    return filled


def takes_id(route: Route) -> bool:
    return "{id}" in route.path


@asynccontextmanager
async def staged(folder: Path, github: Running[GitHub], **settings: Any) -> AsyncIterator[Stage]:
    integrations = {"github": {"base_url": github.base_url, "client_id": "x", "client_secret": "y"}}
    async with gateway(folder, integrations=integrations, **settings) as running:
        environ = {
            "SKILLWAY_DATA_DIR": str(folder / "data"),
            "SKILLWAY_CONFIG": str(folder / "skills.yaml"),
            **{f"SKILLWAY_{name.upper()}": value for name, value in settings.items()},
        }
        other = await make_org(environ, "Other & Sons")
        operator = Operator.at(folder / "cli").with_settings(url=running.url)
        stage = Stage(running=running, mine=Tenant(org=running.org), other=Tenant(org=other), operator=operator)
        for tenant in (stage.mine, stage.other):
            await furnish(running, tenant, github)
        yield stage


async def furnish(running: RunningGateway, tenant: Tenant, github: Running[GitHub]) -> None:
    key = tenant.org.live

    async def asked(method: str, path: str, body: Any = None) -> Any:
        answer = await running.ask(method, path, key=key, body=body)
        assert answer.status in (200, 201, 204), answer.body
        return answer.json() if answer.body else None

    token = {"token": github.upstream.token}
    made = await asked("POST", "/v1/connect", {"integration": "github", "credentials": token})
    tenant.ids["connection"] = made["connection_id"]
    flow = await asked("POST", "/v1/connect", {"integration": "github", "auth": "token", "user": "somebody"})
    tenant.ids["flow"] = flow["connection_id"]
    run = await asked("POST", "/v1/github/get_repo", {"params": {"repo": "acme/webapp"}, "wait": 20, "max_items": 1})
    tenant.ids["run"] = run["meta"]["run_id"]
    tenant.ids["file"] = (await asked("POST", "/v1/files", {"a": "file"}))["file_id"]
    tenant.keys |= {"full_access": key, "test": tenant.org.test}
    for level in LEVELS[:-1]:
        made = await asked("POST", "/api-keys", {"name": level, "level": level})
        tenant.keys[level] = made["full_key"]
    for grant, body in {
        "other_scope": {"scopes": ["overten"]},
        "other_user": {"users": ["nobody"]},
        "revoked": {},
    }.items():
        made = await asked("POST", "/api-keys", {"name": grant, **body})
        tenant.keys[grant] = made["full_key"]
    await asked("DELETE", f"/api-keys/{made['api_key']['id']}")
    tenant.ids["api_key"] = (await asked("POST", "/api-keys", {"name": "a thing"}))["api_key"]["id"]
    tenant.ids["webhook"] = (await asked("POST", "/v1/webhooks", BODIES["POST /v1/webhooks"]))["id"]
    tenant.ids["hook"] = (await asked("POST", "/v1/hooks", BODIES["POST /v1/hooks"]))["id"]


@pytest.fixture
async def github() -> AsyncIterator[Running[GitHub]]:
    async with serve(GitHub()) as served:
        yield served


@pytest.fixture
async def stage(
    tmp_path: Path, github: Running[GitHub], database_setting: dict[str, Any]
) -> AsyncIterator[Stage]:
    async with staged(tmp_path, github, **database_setting) as made:
        yield made


def unknown(thing: str) -> str:
    """An id of the same form that nobody has."""
    head, _, tail = thing.partition("_")
    return f"{head}_{'0' * len(tail)}"


async def belongings(stage: Stage, tenant: Tenant) -> Any:
    """What an org has, as it sees it itself; counts of uses aside."""
    found = {}
    for path in (
        "/v1/connections",
        "/api-keys",
        "/v1/org/redirect-urls",
        "/v1/webhooks",
        "/v1/hooks",
        "/v1/runs",
        f"/v1/connect/{tenant.ids['flow']}",
    ):
        answer = await stage.running.ask("GET", path, key=tenant.org.live)
        found[path] = re.sub(r'"(request_count|last_used_at)":("[^"]*"|\d+|null)', "", answer.body.decode())
    return found


# ---------------------------------------------------------------------------------------------------------- the table


def test_every_route_is_described_here() -> None:
    for route in KEYED:
        names = re.findall(r"\{(\w+)\}", canonical(route.path))
        assert set(names) <= {"id", *NAMES}, f"{route.path}: what stands for its placeholders?"
        assert not takes_id(route) or canonical(route.path) in KINDS, f"{route.path}: ids of which kind?"
        assert route.method in ("GET", "DELETE") or name_of(route) in BODIES, f"{name_of(route)}: which body?"


async def test_without_a_key_that_works_every_route_is_401(stage: Stage) -> None:
    for route in KEYED:
        thing = stage.mine.ids.get(KINDS.get(canonical(route.path), ""), "")
        for key, code in (
            ("", "unauthorized"),
            (stage.mine.keys["revoked"], "api_key_revoked"),
            ("sk_live_gw_" + "a" * 44, "api_key_invalid"),
            (stage.mine.org.live[:-1], "api_key_invalid"),
        ):
            if route.level is None and not key:
                continue
            answer = await stage.ask(route, key, thing)
            assert (answer.status, answer.json()["error"]) == (401, code), (name_of(route), answer.body)
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_key_of_a_lower_level_is_403_everywhere(stage: Stage) -> None:
    seen = 0
    for route in KEYED:
        thing = stage.mine.ids.get(KINDS.get(canonical(route.path), ""), "")
        for level in LEVELS[: LEVELS.index(route.level)] if route.level is not None else ():
            answer = await stage.ask(route, stage.mine.keys[level], thing)
            assert (answer.status, answer.json()["error"]) == (403, "forbidden"), (name_of(route), level)
            seen += 1
    assert seen > 8


async def test_what_is_another_orgs_does_not_exist(stage: Stage) -> None:
    """Byte for byte the answer to an id that nobody has; nothing of theirs is changed or told."""
    before = await belongings(stage, stage.mine)
    seen = 0
    for route in filter(takes_id, KEYED):
        theirs = stage.mine.ids[KINDS[canonical(route.path)]]
        foreign = await stage.ask(route, stage.other.keys["full_access"], theirs)
        nobodys = await stage.ask(route, stage.other.keys["full_access"], unknown(theirs))
        assert foreign.status == nobodys.status == 404, (name_of(route), foreign.body)
        assert foreign.body == nobodys.body
        assert theirs not in foreign.body.decode()
        seen += 1
    for method, path, body, kind in IN_BODIES:
        theirs = stage.mine.ids[kind]
        answers = [
            await stage.running.ask(method, path, key=stage.other.keys["full_access"], body=body(thing))
            for thing in (theirs, unknown(theirs))
        ]
        # A model is answered in its own shape; what it reads is the refusal.
        refused = (200,) if path == "/v1/tools/call" else (400, 404)
        assert answers[0].status in refused and answers[0].status == answers[1].status
        assert b"has no" in answers[0].body or b"not_found" in answers[0].body or answers[0].status == 400
        assert answers[0].body.decode().replace(theirs, "ID") == answers[1].body.decode().replace(
            unknown(theirs), "ID"
        ), path
    assert seen == sum(map(takes_id, KEYED))
    assert await belongings(stage, stage.mine) == before


async def test_lists_hold_what_is_ones_own(stage: Stage) -> None:
    for route in KEYED:
        if route.method != "GET" or takes_id(route):
            continue
        for mine, other in ((stage.mine, stage.other), (stage.other, stage.mine)):
            answer = await stage.ask(route, mine.org.live)
            assert answer.status == 200, (name_of(route), answer.body)
            text = answer.body.decode()
            assert not [thing for thing in other.ids.values() if thing in text], name_of(route)
            assert other.org.id not in text


async def test_a_test_key_sees_nothing_that_is_live(stage: Stage) -> None:
    for route in KEYED:
        kind = KINDS.get(canonical(route.path))
        if kind is not None:
            answer = await stage.ask(route, stage.mine.org.test, stage.mine.ids[kind])
            assert (answer.status, answer.json()["error"]) in ((404, "not_found"), (403, "forbidden")), name_of(route)
            if answer.status == 404:
                nobodys = await stage.ask(route, stage.mine.org.test, unknown(stage.mine.ids[kind]))
                assert answer.body == nobodys.body
        elif route.method == "GET":
            answer = await stage.ask(route, stage.mine.org.test)
            assert answer.status == 200
            text = answer.body.decode()
            assert not [thing for thing in stage.mine.ids.values() if thing in text], name_of(route)


@pytest.mark.parametrize("grant", ["other_scope", "other_user"])
async def test_a_key_for_something_else_reaches_no_connection(stage: Stage, grant: str) -> None:
    key = stage.mine.keys[grant]
    for route in filter(takes_id, KEYED):
        kind = KINDS[canonical(route.path)]
        if kind in OF_ITS_MAKER:
            # A key sees itself and what it made.
            answer = await stage.ask(route, key, stage.mine.ids[kind])
            assert answer.status == 404
            continue
        answer = await stage.ask(route, key, stage.mine.ids[kind])
        assert answer.status == 403, (name_of(route), answer.body)
        assert answer.json()["error"] in ("forbidden", "scope_not_allowed")
    call = await stage.running.call("github", "get_repo", {"repo": "acme/webapp"}, key=key)
    assert call.status == 403
    listed = await stage.running.ask("GET", "/v1/connections", key=key)
    assert listed.json() == {"connections": []}
    assert not [
        event
        for event in (await stage.running.ask("GET", "/v1/events?kind=connection", key=key)).json()["events"]
        if event["data"]["connection"] == stage.mine.ids["connection"]
    ]


async def test_a_suspended_org_is_refused_everywhere_and_the_others_go_on(
    stage: Stage, tmp_path: Path, database_setting: dict[str, Any]
) -> None:
    settings, _ = load_settings(
        {"SKILLWAY_DATA_DIR": str(tmp_path / "data")}
        | {f"SKILLWAY_{name.upper()}": value for name, value in database_setting.items()}
    )
    async with open_installation(settings) as opened:
        assert await SqlOrgs(opened.database).suspend(stage.mine.org.id)
    assert stage.running.services is not None
    stage.running.services.access.forget()
    for route in KEYED:
        answer = await stage.ask(route, stage.mine.org.live, stage.mine.ids.get(KINDS.get(canonical(route.path), ""), ""))
        assert (answer.status, answer.json()["error"]) == (403, "forbidden"), name_of(route)
        assert "suspended" in answer.json()["message"]
    assert (await stage.running.ask("GET", "/v1/verify", key=stage.other.org.live)).status == 200


async def test_no_body_says_whose_it_is(stage: Stage) -> None:
    """What only the gateway may decide is no field of a request."""
    for route in KEYED:
        if route.method in ("GET", "DELETE") and not takes_id(route):
            continue
        for field_name in ("org", "org_id", "tenant_id", "created_at", "hash", "id"):
            body = {**BODIES.get(name_of(route), {}), field_name: stage.other.org.id}
            path = path_of(route, stage.mine.ids.get(KINDS.get(canonical(route.path), ""), ""))
            # A file's body is whatever it is.
            if route.method in ("GET", "DELETE") or canonical(route.path) == "/v1/files":
                answer = await stage.running.ask(route.method, f"{path}?{field_name}={stage.other.org.id}")
            else:
                answer = await stage.running.ask(route.method, path, body=body)
            assert (answer.status, answer.json()["error"]) == (400, "bad_request"), (name_of(route), field_name)
            assert answer.json()["details"]["fields"][0]["path"] == field_name


# ------------------------------------------------------------------------------------------------ the command line


def commands(ids: dict[str, str]) -> Iterator[tuple[str, ...]]:
    yield ("connections", "rm", ids["connection"])
    yield ("keys", "revoke", ids["api_key"])
    yield ("run", "--connection", ids["connection"], "github", "get_repo", "--repo", "acme/webapp")


async def test_the_command_line_reaches_nothing_of_another_org(stage: Stage) -> None:
    before = await belongings(stage, stage.mine)
    person = stage.operator.with_settings(api_key=stage.other.org.live)
    wrong = {kind: unknown(thing) for kind, thing in stage.mine.ids.items()}
    for theirs, nobodys in zip(commands(stage.mine.ids), commands(wrong), strict=True):
        foreign, none = await person.later(*theirs), await person.later(*nobodys)
        assert foreign.code == none.code == 1, foreign
        assert json.loads(foreign.out)["error"] == "not_found"
        for kind, thing in stage.mine.ids.items():
            foreign.out.replace(thing, kind)
        assert blanked(foreign.out, stage.mine.ids) == blanked(none.out, wrong)
        assert blanked(foreign.err, stage.mine.ids) == blanked(none.err, wrong)
    for words in (("connections",), ("keys",), ("usage",), ("whoami",), ("skills",)):
        shown = await person.later(*words)
        assert shown.code == 0
        assert not [thing for thing in stage.mine.ids.values() if thing in shown.out + shown.err]
    assert await belongings(stage, stage.mine) == before
    for key, code in (("revoked", "api_key_revoked"), ("read_only", "forbidden"), ("other_scope", "scope_not_allowed")):
        person = stage.operator.with_settings(api_key=stage.mine.keys[key])
        refused = await person.later("connect", "github", "--no-browser")
        assert (refused.code, json.loads(refused.out)["error"]) == (1, code)


def blanked(text: str, ids: dict[str, str]) -> str:
    for thing in ids.values():
        text = text.replace(thing, "ID")
    return text
