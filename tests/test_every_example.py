"""Every action of every definition, over sockets, by every way to connect: its first example goes out and comes back.

One recording upstream stands in for all of them: each address of a definition has it as its host, whatever field of a
connection stood there. Connections are put into the store: how they are made has tests of its own, and of an OAuth
method nothing else differs on the way of a call. What the five integrations with counterparts of their own do beyond
that is in `test_every_action.py`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pytest
import pytest_asyncio

from gateway.core.events import OPERATOR
from gateway.core.requests.building import build_request
from gateway.core.requests.request import UpstreamRequest
from oauth.connections import Connection, ConnectionState, Credential
from oauth.secret import Secret
from skills_catalog.loader import SHIPPED, load_catalog
from skills_catalog.model import AuthMethod, Example, Integration, Skill
from skills_catalog.samples import sample_value
from tests.elsewhere import moved
from tests.fakes.upstream import Answer as Told
from tests.fakes.upstream import Running, Seen, Upstream, json_answer, serve
from tests.format.desk import DEFINITIONS
from tests.harness import RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: The shipped ones, and those that show what the format can say.
CATALOG = load_catalog([SHIPPED, DEFINITIONS])
#: What a hook makes of a request is the operator's to try.
SKILLS = [
    pytest.param(skill, id=skill.id)
    for _, integration in sorted(CATALOG.integrations.items())
    for skill in integration.skills.values()
    if skill.hook is None
]
PASSWORD = "pass-9f3a7c51d2"
SECRET = "tokn-5c1e8b40aa"
USERNAME = "user-77d0e2"
#: What the envelope says of an answer that is a file.
FILE = {"encoding", "content_type", "filename", "size", "content"}
#: Headers that the HTTP client adds, or that only some bodies have.
ANY = {"host", "content-length"}


class Recorder(Upstream):
    """Answers every request with what is laid ready, and remembers the request."""

    ready: Told = json_answer(None)

    def _answer(self, seen: Seen) -> Told:
        return self.ready


@dataclass(slots=True, kw_only=True)
class Stage:
    """The gateway with a connection for each method, its user, and the upstream of all."""

    running: RunningGateway
    recorder: Running[Recorder]

    def find(self, skill: Skill) -> tuple[Integration, Skill]:
        """The definition with the addresses that this gateway was given."""
        assert self.running.services is not None
        return self.running.services.catalogs.find(skill.integration, skill.name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        recorder = await stack.enter_async_context(serve(Recorder()))
        overrides = {slug: moved(one, recorder.base_url) for slug, one in CATALOG.integrations.items()}
        running = await stack.enter_async_context(
            gateway(tmp_path_factory.mktemp("gateway"), integrations=overrides, definitions=DEFINITIONS)
        )
        assert running.services is not None
        connections = running.services.gateway._preparation._connections
        for integration in CATALOG.integrations.values():
            for method in integration.auth:
                if method.type != "none":
                    await connections.add(*connection(running.org.id, integration, method), by=OPERATOR, most=None)
        yield Stage(running=running, recorder=recorder)


def connection(org: str, integration: Integration, method: AuthMethod) -> tuple[Connection, Credential]:
    """As connecting leaves it, with a sample of every field."""
    fields = fields_of(integration, method)
    secret = {field.name for field in integration.fields if field.secret}
    made = Connection(
        id=f"conn_{integration.slug}_{method.name}",
        org=org,
        integration=integration.slug,
        user=method.name,
        method=method.name,
        state=ConnectionState.ACTIVE,
        fields={name: value for name, value in fields.items() if name not in secret},
    )
    is_basic = method.type == "basic"
    return made, Credential(
        token=None if is_basic else Secret(SECRET),
        token_secret=Secret("signing") if method.type == "oauth1" else None,
        username=USERNAME if is_basic else None,
        password=Secret(PASSWORD) if is_basic else None,
        fields={name: Secret(value) for name, value in fields.items() if name in secret},
    )


def fields_of(integration: Integration, method: AuthMethod) -> dict[str, str]:
    return {field.name: sample_value(field) for field in integration.fields if field.serves(method)}


@pytest.mark.parametrize("skill", SKILLS)
async def test_the_first_example_goes_out_as_the_definition_builds_it_and_its_answer_comes_back(
    stage: Stage, skill: Skill
) -> None:
    integration, skill = stage.find(skill)
    example = skill.examples[0]
    for method in integration.methods_for(skill):
        stage.running.forget_pace()
        stage.recorder.seen.clear()
        stage.recorder.upstream.ready = told(skill, example)
        answer = await stage.running.call(integration.slug, skill.name, example.params, user=method.name)
        assert answer.status == 200, answer.body
        envelope = answer.json()
        assert len(stage.recorder.seen) == 1
        seen = stage.recorder.last
        fields = fields_of(integration, method)
        key = f"skillway-{envelope['meta']['run_id']}"
        check_request(seen, expected(integration, skill, example, method, fields, key), method)
        check_credential(seen, skill, method, fields, key)
        check_answer(envelope, skill, example)
        assert stage.running.org.live not in wire_text(seen)


def expected(
    integration: Integration, skill: Skill, example: Example, method: AuthMethod, fields: Mapping[str, str], key: str
) -> UpstreamRequest:
    """What the definition makes of the example's params, but for the credential."""
    params = dict(example.params) | {
        param.name: fields[param.default_from]
        for param in skill.params.values()
        if param.default_from and param.default_from in fields and param.name not in example.params
    }
    if (own := (skill.idempotency or {}).get("param")) is not None:
        params.setdefault(own, key)
    place = method.placement
    values = {**fields, place.name: SECRET} if place is not None and place.location == "path" else fields
    return build_request(integration, skill, params, method=method, fields=values)


def check_request(seen: Seen, wanted: UpstreamRequest, method: AuthMethod) -> None:
    """Method, path, query and body, and every header that is not the credential's."""
    place = method.placement
    in_query = set(method.query) | ({place.name} if place and place.location == "query" else set())
    in_body = {place.name} if place and place.location == "body" else set()
    assert (seen.method, seen.path) == (wanted.method, wanted.path)
    pairs = [pair for pair in seen.raw_path.partition("?")[2].split("&") if pair.partition("=")[0] not in in_query]
    assert "&".join(pairs) == wanted.query
    headers = {name.lower(): value for name, value in wanted.headers}
    content_type = headers.pop("content-type", "")
    for name, value in headers.items():
        assert seen.header(name) == value, name
    assert isinstance(wanted.body, bytes | None)
    body = wanted.body or b""
    if content_type.startswith("multipart/"):
        # Each has a boundary of its own.
        own = (seen.header("Content-Type") or "").partition("boundary=")[2]
        assert seen.body.replace(own.encode(), content_type.partition("boundary=")[2].encode()) == body
    elif in_body:
        given = seen.json() if (seen.header("Content-Type") or "").startswith("application/json") else dict(seen.form())
        rest = {name: value for name, value in given.items() if name not in in_body}
        assert rest == (json.loads(body) if body.startswith(b"{") else {})
    else:
        assert seen.header("Content-Type") == (content_type or None)
        assert seen.body == body


def check_credential(seen: Seen, skill: Skill, method: AuthMethod, fields: Mapping[str, str], key: str) -> None:
    """It stands where the definition puts it and nowhere else, with no header that nobody asked for."""
    names = {name.lower() for name, _ in seen.headers}
    place = method.placement
    username = USERNAME if method.username is None else filled(method.username, fields)
    password = PASSWORD if method.password is None else filled(method.password, fields)
    secret = base64.b64encode(f"{username}:{password}".encode()).decode() if method.type == "basic" else SECRET
    value = secret
    if place is not None:
        value = place.prefix + secret
        if place.template is not None:
            value = filled(place.template, {**fields, "token": secret, "api_key": secret})
    match place.location if place is not None else method.type:
        case "none":
            assert SECRET not in wire_text(seen)
        case "header":
            assert place is not None
            wanted = f"Basic {secret}" if method.type == "basic" else value
            assert seen.headers_named(place.name) == [wanted]
        case "query":
            assert place is not None
            assert [one for name, one in seen.query if name == place.name] == [value]
        case "cookie":
            assert place is not None
            assert seen.cookie(place.name) == value
        case "body":
            assert place is not None
            is_json = (seen.header("Content-Type") or "").startswith("application/json")
            assert (seen.json() if is_json else dict(seen.form()))[place.name] == value
        case "path":
            assert secret in unquote(seen.path)
        case "basic":
            assert seen.headers_named("Authorization") == [f"Basic {secret}"]
        case "oauth1":
            assert f'oauth_token="{quote(SECRET)}"' in (seen.header("Authorization") or "")
        case _:
            assert seen.headers_named("Authorization") == [f"Bearer {secret}"]
    assert wire_text(seen).count(secret) == (0 if method.type == "none" else 1)
    for name, text in method.headers.items():
        assert seen.header(name) == (filled(text, fields) or None)
    own = (skill.idempotency or {}).get("header")
    if own is not None:
        assert seen.header(own) == key
    allowed = ANY | {"accept", "accept-encoding", "user-agent", "content-type", "cookie", "authorization"}
    allowed |= {name.lower() for name in (*method.headers, own or "", place.name if place else "")}
    allowed |= {param.wire[0].lower() for param in (*skill.params.values(), *skill.constants) if param.location == "header"}
    known = CATALOG.integrations[skill.integration].headers
    assert names <= allowed | {name.lower() for name in (*known, *skill.headers)}


def filled(text: str, values: Mapping[str, str]) -> str:
    """Every `{field}` in its place; what the connection lacks leaves nothing of the text."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def told(skill: Skill, example: Example) -> Told:
    """The example as its upstream would send it."""
    data = example.data
    if data is None:
        return Told(status=example.status, headers=example.headers)
    if is_file(data):
        name = data.get("filename")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'} if name else {}
        headers["Content-Type"] = data.get("content_type", "application/octet-stream")
        body = base64.b64decode(data["content"])
        return Told(status=example.status, body=body, headers={**example.headers, **headers})
    if isinstance(data, str) and skill.response != "json":
        text = {"Content-Type": "text/plain; charset=utf-8", **example.headers}
        return Told(status=example.status, body=data.encode(), headers=text)
    return json_answer(data, example.status, example.headers)


def is_file(data: Any) -> bool:
    """Whether an example shows a file as the envelope does; an upstream's own JSON may hold base64 as well."""
    return isinstance(data, dict) and {"encoding", "content_type", "content"} <= data.keys() <= FILE


def check_answer(envelope: Any, skill: Skill, example: Example) -> None:
    assert envelope["status"] == example.status
    if skill.response == "binary" and isinstance(example.data, str):
        assert base64.b64decode(envelope["data"]["content"]).decode() == example.data
    elif is_file(example.data):
        wanted = {name: value for name, value in example.data.items() if name != "size"}
        assert {name: envelope["data"][name] for name in wanted} == wanted
    else:
        assert envelope["data"] == example.data


def wire_text(seen: Seen) -> str:
    lines = [f"{seen.method} {seen.raw_path}", *(f"{name}: {value}" for name, value in seen.headers)]
    return "\n".join(lines) + "\n\n" + seen.body.decode("latin-1")


async def test_every_action_can_be_tried() -> None:
    """A loop over nothing proves nothing."""
    assert [skill.id for one in CATALOG.integrations.values() for skill in one.skills.values() if not skill.examples] == []
    assert len(SKILLS) > 150
