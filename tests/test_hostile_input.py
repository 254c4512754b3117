"""What comes in may be anything: strings that walk out of their place, JSON that is none, requests that are wrong."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
import pytest_asyncio
import yarl

from gateway.core.errors import Refusal
from gateway.core.requests.building import build_request
from gateway.core.requests.request import UpstreamRequest
from gateway.core.strict_json import NotStrictJson, parse
from oauth.schemes import Injection
from skills_catalog.loader import SHIPPED, load_catalog
from skills_catalog.model import Integration, Param, Skill
from tests.blowup import no_blowup
from tests.demo import write_definitions
from tests.fakes.github import GitHub
from tests.fakes.overskill import OverSkill
from tests.fakes.upstream import Running, Seen, serve
from tests.harness import Answer, RunningGateway, gateway

#: What always runs; with the data beside the checkout there are 1,200 more.
STRINGS = [
    "", " ", ".", "..", "...", "../", "/..", "../..", "..\\..", "a/../b", "a/./b", "a//b", "/", "//", "///etc/passwd",
    "%2e%2e", "%2E%2E%2F", "%252e%252e%252f", "%25252e%25252e", "..%2f", "..%5c", "%2e%2e\\", "..;/", "..;x=1", ".%00.",
    "..\x00", "..\t", " .. ", "..%20", "%c0%ae%c0%ae/", "..%c0%af", "%uff0e%uff0e", "．．", "‥", "a\\b", "C:\\Windows",
    "?a=b", "#frag", "&x=1", "=;,", "a?b#c", "%", "%2", "%zz", "%00", "\x00", "\x7f", "\r\n", "a\r\nX-Evil: 1",
    "a\nHost: evil.example", "%0d%0aSet-Cookie: a=b", "\u2028", "\u560a\u560dSet-Cookie", "\ufeff", "\ud7ff\ue000",
    "//evil.example/", "https://evil.example/", "http:evil.example", "@evil.example", "user:pass@evil.example",
    ":80", "evil.example:80\\@api.github.com", "javascript:alert(1)", "file:///etc/passwd", "[::1]", "{id}", "{+repo}",
    "${jndi:ldap://x}", "{{7*7}}", "' OR 1=1 --", "<script>", "\"quoted\"", "ünï", "日本", "🦄", "e\u0301", "\u202eabc",
    "a" * 9000, "--boundary", "\r\n--boundary--\r\n",
]

CATALOG = load_catalog([SHIPPED])
_OPAQUE = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~=&,-]|%[0-9A-F]{2})*")

#: Every place that a param can have, beside the shipped ones.
EVERY_PLACE = {
    "slug": "places",
    "name": "Places",
    "description": "A param in every place.",
    "base_url": "https://api.example/v1/base",
    "auth": [{"name": "none", "type": "none", "title": "Nothing"}],
    "actions": {
        "parts": {
            "description": "Path, query, header and nested body.",
            "request": "PUT /a/{one}/v{two}.json/{+rest}/end",
            "effect": "update",
            "params": {
                "one": {"type": "string", "description": "x", "required": True},
                "two": {"type": "string", "description": "x", "required": True},
                "rest": {"type": "string", "description": "x", "required": True},
                "q": {"in": "query", "type": "string", "description": "x"},
                "list": {"in": "query", "as": "list[]", "type": "array", "items": {"type": "string"}, "description": "x"},
                "head": {"in": "header", "as": "X-Head", "type": "string", "description": "x"},
                "deep": {"as": "a.b.c", "type": "string", "description": "x"},
                "wide": {"as": "a.d", "type": "object", "description": "x"},
            },
            "examples": [{"params": {"one": "a", "two": "b", "rest": "c"}, "response": {"status": 200, "data": {}}}],
        },
        "whole": {
            "description": "The whole body.",
            "request": "POST /whole",
            "effect": "create",
            "params": {"it": {"in": "body", "whole": True, "description": "x"}},
            "examples": [{"params": {"it": 1}, "response": {"status": 200, "data": {}}}],
        },
        "form": {
            "description": "A form.",
            "request": "POST /form",
            "effect": "create",
            "params": {
                "x": {"in": "form", "type": "string", "description": "x"},
                "y": {"in": "form", "type": "array", "items": {"type": "string"}, "description": "x"},
            },
            "examples": [{"params": {}, "response": {"status": 200, "data": {}}}],
        },
    },
}


# The pure request builder


def hostile_strings(shared: Path) -> list[str]:
    """All of the shared lists, each line as it is."""
    folder = shared / "hostile"
    found = json.loads((folder / "naughty-strings.json").read_text())
    for name in ("path-traversal.txt", "crlf.txt", "open-redirects.txt"):
        found += (folder / name).read_text().split("\n")
    return list(dict.fromkeys(found))


def skills(folder: Path) -> Iterator[tuple[Integration, Skill]]:
    """All actions of some shipped integrations, and the actions with a param in every place.

    The builder is the same for all, and a million requests would show no more.
    """
    catalog = load_catalog([SHIPPED, write_definitions(folder, EVERY_PLACE)])
    for slug in ("github", "overscore", "overskill", "overten", "skycot", str(EVERY_PLACE["slug"])):
        integration = catalog.integrations[slug]
        for skill in integration.skills.values():
            yield integration, skill


def test_a_hostile_string_stays_in_its_place_in_every_param_of_every_action(tmp_path: Path) -> None:
    assert attack(tmp_path, STRINGS) > 10_000


@pytest.mark.shared
def test_every_shared_hostile_string_stays_in_its_place_in_every_param_of_every_action(
    tmp_path: Path, shared: Path
) -> None:
    strings = hostile_strings(shared)
    assert len(strings) > 1200
    # GitHub's ninety actions have no place for a string that the others lack.
    assert attack(tmp_path, strings, without="github") > 50_000


def attack(folder: Path, strings: list[str], *, without: str = "") -> int:
    """Puts each string into each path param by itself and into all other params at once; how many were built."""
    built = 0
    for integration, skill in skills(folder):
        if integration.slug == without:
            continue
        fields = {"domain": "skycot.example"}
        path = [param for param in skill.params.values() if param.location == "path"]
        rest = [param for param in skill.params.values() if param.location != "path"]
        plain = {param.name: "plain" for param in path}
        for string in strings:
            for param in path:
                built += check(integration, skill, {**plain, param.name: string}, fields)
            if rest:
                built += check(integration, skill, {**plain, **{p.name: planted(p, string) for p in rest}}, fields)
    return built


def planted(param: Param, string: str) -> Any:
    """The string as a value of the param's kind; where a string does not fit the schema, it comes all the same."""
    kind = param.schema.get("type")
    if param.location == "file":
        return {"filename": string, "content": "AA=="}
    if kind == "array":
        return [string, string + "2"]
    if kind == "object":
        return {string: string, "list": [string]}
    return string


def check(integration: Integration, skill: Skill, params: Mapping[str, Any], fields: Mapping[str, str]) -> bool:
    """Refused, or a request in which every value is where it belongs and nowhere else."""
    request = built_or_refused(integration, skill, params, fields)
    if isinstance(request, Refusal):
        assert request.code == "bad_request", (skill.id, params)
        assert request.details is not None and request.details["fields"], (skill.id, params)
        return False
    context = (skill.id, params, request.url)
    assert request.method == skill.request.method
    scheme, _, rest = integration.base_url.partition("://")
    host, _, base = rest.format_map(fields).partition("/")
    assert request.origin == f"{scheme}://{host}", context
    assert len(request.url) <= 8192, context
    template = (f"/{base}" if base else "") + skill.request.path
    check_path(request.path, template.split("/"), params, skill)
    check_query(request, skill, params)
    check_headers(request, skill, params)
    check_body(request, skill, params)
    return True


def built_or_refused(
    integration: Integration, skill: Skill, params: Mapping[str, Any], fields: Mapping[str, str]
) -> UpstreamRequest | Refusal:
    try:
        return build_request(integration, skill, params, fields=fields)
    except Refusal as refusal:
        return refusal


def check_path(path: str, template: list[str], params: Mapping[str, Any], skill: Skill) -> None:
    """Segment by segment as the template says; each value one opaque segment, or as many as it has slashes."""
    context = (skill.id, params, path)
    values = {**{constant.name: constant.const for constant in skill.constants}, **params}
    segments = path.split("/")
    position = 0
    for want in template:
        variables = re.findall(r"\{(\+?)(\w+)\}", want)
        if not variables:
            assert segments[position] == want, context
            position += 1
            continue
        ((keeps_slashes, name),) = variables
        text = values[name]
        assert isinstance(text, str)
        before, after = re.split(r"\{\+?\w+\}", want)
        size = text.count("/") + 1 if keeps_slashes else 1
        taken = segments[position : position + size]
        joined = "/".join(taken)
        assert joined.startswith(before) and joined.endswith(after), context
        inner = joined[len(before) : len(joined) - len(after)]
        assert unquote(inner, errors="strict") == text, context
        for segment in inner.split("/"):
            assert _OPAQUE.fullmatch(segment), context
        decoded = joined
        for _ in range(3):
            assert not {".", ".."} & set(re.split(r"[/\\]", decoded)), context
            decoded = unquote(decoded, errors="replace")
        position += size
    assert position == len(segments), context


def wire_name(param: Param) -> str:
    return param.wire[0] + "".join(f"[{part}]" for part in param.wire[1:])


def check_query(request: UpstreamRequest, skill: Skill, params: Mapping[str, Any]) -> None:
    expected = []
    for name, value in params.items():
        param = skill.params[name]
        if param.location == "query":
            expected += [(wire_name(param), item) for item in (value if isinstance(value, list) else [value])]
    assert parse_qsl(request.query, keep_blank_values=True, strict_parsing=bool(expected)) == expected
    assert _QUERY.fullmatch(request.query), request.query


def check_headers(request: UpstreamRequest, skill: Skill, params: Mapping[str, Any]) -> None:
    declared = {skill.params[name].wire[0]: value for name, value in params.items() if skill.params[name].location == "header"}
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(map(str.lower, names)))
    for name, value in request.headers:
        assert re.fullmatch(r"[A-Za-z0-9-]+", name)
        assert not set(value) & set("\r\n\0"), (name, value)
        assert value.isascii()
        if name in declared:
            assert value == declared.pop(name)
    assert not declared


def check_body(request: UpstreamRequest, skill: Skill, params: Mapping[str, Any]) -> None:
    given = {name: value for name, value in params.items() if skill.params[name].location in ("body", "form", "file")}
    if request.body is None:
        assert not given
        return
    assert isinstance(request.body, bytes)
    kind = dict(request.headers)["Content-Type"]
    if kind == "application/json":
        whole = [value for name, value in given.items() if skill.params[name].whole]
        assert json.loads(request.body) == (whole[0] if whole else nested(skill, given))
    elif kind == "application/x-www-form-urlencoded":
        pairs = [
            (wire_name(skill.params[name]), item)
            for name, value in given.items()
            for item in (value if isinstance(value, list) else [value])
        ]
        assert parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(pairs)) == pairs
    else:
        headers = [("Content-Type", kind)]
        parts = Seen(method="POST", raw_path="/", headers=headers, body=request.body).parts()
        assert [part.name for part in parts] == [".".join(skill.params[name].wire) for name in given]
        for part, (name, value) in zip(parts, given.items(), strict=True):
            if skill.params[name].location == "file":
                assert part.content == b"\0"
                assert part.filename is not None and not set(part.filename) & set('\r\n\0"\\')
            else:
                assert (part.filename, part.content) == (None, value.encode())


def nested(skill: Skill, given: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in given.items():
        inner = document
        *way, last = skill.params[name].wire
        for step in way:
            inner = inner.setdefault(step, {})
        inner[last] = value
    return document


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\0b", "ü", " a", "a ", "\x7f"])
def test_a_credential_or_connection_field_cannot_split_a_header_either(value: str) -> None:
    github, skycot = (CATALOG.integrations[slug] for slug in ("github", "skycot"))
    for domain in (value, "a/b", "a@b", "a?b", "a#b", "a\\b", "..", "%2e", "a:b", ""):
        with pytest.raises(Refusal) as refused:
            build_request(skycot, skycot.skills["get_usage"], {}, fields={"domain": domain})
        assert refused.value.code == "bad_request"
    request = build_request(github, github.skills["get_repo"], {"repo": "a/b"}, injection=Injection(query=(("key", value),)))
    assert parse_qsl(request.query, keep_blank_values=True) == [("key", value)]
    assert not set(request.url) & set(" \r\n\0")


# JSON that two parsers could read in two ways

REFUSED_JSON = {
    "duplicate names": b'{"params": {"a": 1, "a": 2}}',
    "duplicate names, one escaped": b'{"params": {"a": 1, "\\u0061": 2}}',
    "NaN": b'{"params": {"a": NaN}}',
    "Infinity": b'{"params": {"a": -Infinity}}',
    "an integer over 2^63": b'{"params": {"a": 9223372036854775808}}',
    "an integer of 5,000 digits": b'{"params": {"a": 1' + b"0" * 5000 + b"}}",
    "an integer under -2^63": b'{"params": {"a": -9223372036854775809}}',
    "a number that is infinite as a double": b'{"params": {"a": 1e400}}',
    "65 levels": b'{"params": ' + b"[" * 64 + b"]" * 64 + b"}",
    "a hundred thousand levels": b"[" * 100_000,
    "a million members": b'{"params": {' + b",".join(b'"%d":1' % n for n in range(500_000)) + b"}}",
    "a million items": b'{"params": {"a": [' + b"1," * 999_999 + b"1]}}",
    "UTF-16": '{"params": {}}'.encode("utf-16"),
    "UTF-16 without a mark": '{"params": {}}'.encode("utf-16-le"),
    "UTF-32": '{"params": {}}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"params": {}}',
    "invalid UTF-8": b'{"params": {"a": "caf\xe9"}}',
    "an overlong slash": b'{"params": {"a": "\xc0\xaf"}}',
    "a surrogate in UTF-8": b'{"params": {"a": "\xed\xa0\x80"}}',
    "half a surrogate pair": b'{"params": {"a": "\\ud800"}}',
    "half a pair as a name": b'{"params": {"\\udfff": 1}}',
    "a pair the wrong way round": b'{"params": {"a": "\\udd1e\\ud834"}}',
    "a comment": b'{"params": {} /* */}',
    "a trailing comma": b'{"params": {},}',
    "single quotes": b"{'params': {}}",
    "two documents": b'{"params": {}}{}',
    "a leading zero": b'{"params": {"a": 01}}',
    "a plus sign": b'{"params": {"a": +1}}',
    "a line break in a string": b'{"params": {"a": "\n"}}',
    "an array": b"[]",
    "a string": b'"params"',
    "null": b"null",
    "nothing but space": b" ",
}


@pytest.mark.parametrize(
    "body",
    [b'{"a":9223372036854775807,"b":-9223372036854775808,"c":1.7976931348623157e308,"d":5e-324,"e":-0.0}',
     b" [\t]\r\n", '{"ü🦄":"\u2028\\u0000\\/"}'.encode(), b'"\\ud834\\udd1e"', b"[" * 64 + b"]" * 64,
     b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}', b'"' + b"[" * 1000 + b'"', b'"' + b"," * 300_000 + b'"'],
)
def test_ordinary_json_is_taken_with_its_values(body: bytes) -> None:
    assert parse(body) == json.loads(body)


@pytest.mark.shared
def test_the_vectors_of_json_parsing_are_decided_as_they_say(shared: Path) -> None:
    decided = {"y_": 0, "n_": 0}
    for vector in sorted((shared / "vectors" / "json-parsing").iterdir()):
        body = vector.read_bytes()
        # Names that stand twice are JSON; two parsers read them in two ways, so we refuse them.
        ours = vector.name.startswith("y_object_duplicated_key")
        try:
            value = parse(body)
        except NotStrictJson:
            assert not vector.name.startswith("y_") or ours, vector.name
        else:
            assert not vector.name.startswith("n_") and not ours, vector.name
            assert value == json.loads(body)
        if vector.name[:2] in decided:
            decided[vector.name[:2]] += 1
    assert decided == {"y_": 95, "n_": 188}


# Over sockets

socket_tests = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def github() -> AsyncIterator[Running[GitHub]]:
    async with serve(GitHub(requests_per_hour=1_000_000)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory, github: Running[GitHub]) -> AsyncIterator[RunningGateway]:
    async with serve(OverSkill()) as overskill, gateway(
        tmp_path_factory.mktemp("gateway"),
        integrations={
            "github": {"base_url": github.base_url},
            "overskill": {"base_url": overskill.base_url + "/api/v1"},
        },
    ) as running:
        await running.connect("github", {"token": github.upstream.token})
        await running.connect("overskill", {"api_key": overskill.upstream.key})
        yield running


#: Action, param that gets the string, the other params, and what the request's path must match.
ATTACKS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("get_user", "username", {}, r"/users/[^/]+"),
    ("get_branch", "branch", {"repo": "acme/webapp"}, r"/repos/acme/webapp/branches/[^/]+"),
    ("get_contents", "path", {"repo": "acme/webapp"}, r"/repos/acme/webapp/contents/.+"),
    ("remove_label", "name", {"repo": "acme/webapp", "issue_number": 1}, r"/repos/acme/webapp/issues/1/labels/[^/]+"),
    ("search_users", "q", {}, r"/search/users"),
    ("list_commits", "path", {"repo": "acme/webapp"}, r"/repos/acme/webapp/commits"),
    ("create_issue", "title", {"repo": "acme/webapp"}, r"/repos/acme/webapp/issues"),
    ("create_gist", "description", {"files": {"a": {"content": "b"}}}, r"/gists"),
    ("get_repo", "repo", {}, r"/repos/[\w.-]+/[\w.-]+"),
)


def spread(strings: list[str], count: int) -> list[str]:
    """That many of them, from all over the list."""
    return [strings[position * len(strings) // count] for position in range(count)]


@socket_tests
async def test_hostile_strings_over_sockets_never_leave_their_place(
    live: RunningGateway, github: Running[GitHub]
) -> None:
    await attack_live(live, github, STRINGS)


@socket_tests
@pytest.mark.shared
async def test_two_hundred_shared_hostile_strings_over_sockets_never_leave_their_place(
    live: RunningGateway, github: Running[GitHub], shared: Path
) -> None:
    await attack_live(live, github, spread(hostile_strings(shared), 200))


async def attack_live(live: RunningGateway, github: Running[GitHub], strings: list[str]) -> None:
    reached = 0
    for string in strings:
        for action, param, others, path in ATTACKS:
            github.seen.clear()
            live.forget_pace()
            answer = await live.call("github", action, {**others, param: string})
            assert answer.status in (200, 400), (action, string, answer.body)
            if answer.status == 400:
                check_refusal(answer, param)
                assert github.seen == []
                continue
            assert answer.json()["status"] < 500, (action, string, answer.body)
            reached += 1
            for seen in github.seen:
                assert re.fullmatch(path, seen.path), (action, string, seen.raw_path)
                assert [name for name, _ in seen.headers].count("Host") == 1
                assert "evil" not in (seen.header("Host") or "")
                assert seen.header("Set-Cookie") is seen.header("X-Evil") is None
            first = github.seen[0]
            if param == "q" or action == "list_commits":
                assert first.query == [("q" if param == "q" else "path", string)]
            elif action in ("create_issue", "create_gist"):
                assert first.json()[param] == string
            else:
                assert unquote(first.path).endswith(string)
    assert reached > 4 * len(strings)


def check_refusal(answer: Answer, param: str) -> None:
    body = answer.json()
    assert body["error"] == "bad_request"
    assert not {"status", "data"} & set(body)
    assert param in [field["path"].split("/")[0] for field in body["details"]["fields"]] or "longer" in body["message"]


@socket_tests
async def test_hostile_strings_in_everything_else_that_a_caller_names_are_no_accident(live: RunningGateway) -> None:
    for string in STRINGS:
        for method, path, body in (
            ("POST", "/v1/github/get_repo", {"params": {"repo": "acme/webapp"}, "user": string}),
            ("POST", "/v1/github/get_repo", {"params": {"repo": "acme/webapp"}, "connection": string}),
            ("POST", "/v1/github/get_repo", {"params": {string: string}}),
            ("POST", "/v1/github/get_repo", {string: string}),
            ("POST", "/v1/connect", {"integration": string}),
            ("POST", "/v1/connect", {"integration": "github", "user": string, "label": string, "auth": string}),
            ("POST", "/v1/connect", {"integration": "github", "scopes": [string], "redirect_url": string}),
            ("POST", "/v1/connect", {"integration": "overskill", "credentials": {string: string}}),
            ("POST", "/v1/connect", {"integration": "overskill", "connection": string, "credentials": {"api_key": string}}),
            ("POST", "/v1/connect/conn_x/confirm", {"user": string, "handle": string}),
            ("PUT", "/v1/org/redirect-urls", {"redirect_urls": [string]}),
        ):
            answer = await live.ask(method, path, body=body)
            # An empty or printable name is a name like any other.
            assert answer.status in (200, 400, 403, 404), (path, body, answer.body)
        for path in ("/v1/skills/search?q=", "/v1/skills?user=", "/v1/skills?cursor=", "/v1/connections?user="):
            answer = await get(live, path + str(yarl.URL.build(query={"x": string}).raw_query_string)[2:])
            assert answer.status in (200, 400), (path, string, answer.body)


@socket_tests
async def test_hostile_strings_as_names_in_our_own_paths_are_not_found(live: RunningGateway) -> None:
    for string in STRINGS:
        escaped = re.sub(r"[^\w.~-]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), string)
        for path in (f"/v1/skills/{escaped}", f"/v1/skills/github/{escaped}", f"/v1/{escaped}/download",
                     f"/v1/connect/{escaped}", f"/v1/connections/{escaped}", f"/connect/{escaped}"):
            answer = await get(live, path)
            assert answer.status in (200, 400, 404, 405) and (answer.status != 200 or string in ("", ".", "..", "/", "//"))
        for path in (f"/v1/{escaped}/get_repo", f"/v1/github/{escaped}"):
            async with live.session.post(
                yarl.URL(live.url + path, encoded=True), json={}, headers={"Authorization": f"Bearer {live.org.live}"}
            ) as posted:
                assert posted.status in (400, 404, 405), path


async def get(live: RunningGateway, path: str) -> Answer:
    """A GET whose path is sent as it is written."""
    async with live.session.get(
        yarl.URL(live.url + path, encoded=True), headers={"Authorization": f"Bearer {live.org.live}"}
    ) as response:
        return Answer(status=response.status, headers=response.headers, body=await response.read())


@socket_tests
@pytest.mark.parametrize("what", REFUSED_JSON)
async def test_json_that_is_not_plain_json_is_refused(
    live: RunningGateway, github: Running[GitHub], what: str
) -> None:
    before = len(github.seen)
    # Refused before it is built.
    with no_blowup():
        answer = await post(live, "/v1/github/create_issue", REFUSED_JSON[what])
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert len(github.seen) == before


@socket_tests
@pytest.mark.shared
async def test_no_vector_as_a_body_or_as_params_is_a_failure_of_ours(
    live: RunningGateway, github: Running[GitHub], shared: Path
) -> None:
    before = len(github.seen)
    for vector in sorted((shared / "vectors" / "json-parsing").iterdir()):
        body = vector.read_bytes()
        for sent in (body, b'{"params": ' + body + b"}", b'{"params": {"repo": ' + body + b"}}"):
            answer = await live.ask("POST", "/v1/github/get_repo", raw=sent)
            assert (answer.status, answer.json()["error"]) == (400, "bad_request"), (vector.name, answer.body)
    assert len(github.seen) == before


# Requests that are wrong


@socket_tests
@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ({"Content-Type": "text/plain"}, b'{"params": {}}'),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"params=1"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n"),
        ({"Content-Type": "application/json-patch+json"}, b'{"params": {}}'),
        ({"Content-Type": ""}, b'{"params": {}}'),
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"params": {}}', mtime=0)),
        ({"Content-Encoding": "deflate"}, b"x"),
        ({"Content-Encoding": "br"}, b"x"),
        ({"Content-Encoding": "gzip, gzip"}, b"x"),
    ],
)
async def test_a_body_of_another_kind_is_415(live: RunningGateway, headers: dict[str, str], raw: bytes) -> None:
    answer = await live.ask("POST", "/v1/github/get_repo", raw=raw, headers=headers)
    assert (answer.status, answer.json()["error"]) == (415, "unsupported_media_type")


@socket_tests
async def test_a_body_bomb_is_not_unpacked(live: RunningGateway) -> None:
    bomb = gzip.compress(b" " * 50_000_000, mtime=0)
    answer = await live.ask("POST", "/v1/github/get_repo", raw=bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.json()["error"]) == (415, "unsupported_media_type")


@socket_tests
async def test_a_body_over_the_limit_is_413(live: RunningGateway) -> None:
    eight = 8 * 1024 * 1024
    fits = b'{"params": {"repo": "' + b"a" * (eight - 24) + b'"}}'
    assert len(fits) == eight
    assert (await post(live, "/v1/github/get_repo", fits)).json()["error"] == "bad_request"
    answer = await post(live, "/v1/github/get_repo", fits + b" ")
    assert (answer.status, answer.json()["error"]) == (413, "payload_too_large")
    assert str(eight) in answer.json()["message"]


async def post(live: RunningGateway, path: str, body: bytes) -> Answer:
    """A body of any size; as bytes alone, the client would warn of a large one."""
    headers = {"Authorization": f"Bearer {live.org.live}", "Content-Type": "application/json"}
    async with live.session.post(live.url + path, data=io.BytesIO(body), headers=headers) as response:
        return Answer(status=response.status, headers=response.headers, body=await response.read())


@socket_tests
async def test_a_key_is_sent_once_and_never_in_the_query(live: RunningGateway) -> None:
    key = live.org.live
    good = f"Bearer {key}"
    for headers, query in (
        ({"Authorization": good, "X-API-Key": key}, ""),
        ({"Authorization": good}, f"?api_key={key}"),
        ({}, f"?access_token={key}"),
    ):
        answer = await live.ask("GET", f"/v1/verify{query}", key="", headers=headers)
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
        assert key.encode() not in answer.body
    lines = f"Authorization: {good}\r\nAuthorization: {good}\r\n"
    assert (await sent_raw(live, f"GET /v1/verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n")).startswith(b"HTTP/1.1 400 ")
    for headers in ({"X-API-Key": key}, {"Authorization": f"bearer {key}"}, {"authorization": good}):
        assert (await live.ask("GET", "/v1/verify", key="", headers=headers)).status == 200


@socket_tests
@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        ("", "unauthorized"),
        ("Bearer", "unauthorized"),
        ("Bearer ", "unauthorized"),
        ("Basic YTpi", "unauthorized"),
        ("Bearer sk_live_gw_short", "api_key_invalid"),
        ("Bearer sk_live_gw_" + "a" * 44, "api_key_invalid"),
        ("Bearer " + "a" * 5000, "api_key_invalid"),
        ("Bearer ../../etc/passwd", "api_key_invalid"),
        ("Bearer ' OR 1=1 --", "api_key_invalid"),
    ],
)
async def test_a_key_that_is_none_is_401(live: RunningGateway, authorization: str, error: str) -> None:
    answer = await live.ask("GET", "/v1/skills", key="", headers={"Authorization": authorization} if authorization else {})
    assert (answer.status, answer.json()["error"]) == (401, error)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@socket_tests
async def test_a_key_with_one_letter_changed_is_nobodys(live: RunningGateway) -> None:
    key = live.org.live
    for position in (12, 30, len(key) - 1):
        other = key[:position] + ("a" if key[position] != "a" else "b") + key[position + 1 :]
        answer = await live.ask("GET", "/v1/verify", key=other)
        assert (answer.status, answer.json()["error"]) == (401, "api_key_invalid")


@socket_tests
@pytest.mark.parametrize(
    "line", ["GET http://evil.example/v1/verify", "GET https://evil.example/v1/verify", "GET //evil.example/v1/verify",
             "GET *", "OPTIONS *", "CONNECT evil.example:443"],
)
async def test_a_request_line_that_names_a_host_is_refused(live: RunningGateway, line: str) -> None:
    answer = await sent_raw(
        live, f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {live.org.live}\r\n\r\n"
    )
    assert re.match(rb"HTTP/1\.[01] (400|404|405) ", answer), answer
    assert b"evil.example" not in answer


@socket_tests
async def test_a_host_header_changes_no_address_that_we_give(live: RunningGateway) -> None:
    for name in ("Host", "X-Forwarded-Host", "Forwarded", "X-Original-Host"):
        value = "host=evil.example" if name == "Forwarded" else "evil.example"
        host = "" if name == "Host" else "Host: x\r\n"
        answer = await sent_raw(
            live,
            f"POST /v1/skycot/get_usage HTTP/1.1\r\n{host}{name}: {value}\r\nAuthorization: Bearer {live.org.live}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n",
        )
        assert b"HTTP/1.1 403" in answer and f'"action_url":"{live.url}/connect/new'.encode() in answer
        assert b"evil.example" not in answer


async def sent_raw(live: RunningGateway, request: str) -> bytes:
    """The answer to bytes that no HTTP client would send; they ask for the connection to be closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(live.url.rsplit(":", 1)[1]))
    writer.write(request.encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@socket_tests
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/skills", "GET,HEAD"),
        ("POST", "/v1/skills/github", "GET,HEAD"),
        ("PATCH", "/v1/connect", "POST"),
        ("PUT", "/v1/github/get_repo", "POST"),
        ("GET", "/v1/github/get_repo", "POST"),
        ("POST", "/v1/connections/conn_x", "DELETE,GET,HEAD"),
        ("POST", "/v1/org/redirect-urls", "GET,HEAD,PUT"),
        ("TRACE", "/v1/verify", "GET,HEAD"),
        ("OPTIONS", "/v1/github/get_repo", "POST"),
    ],
)
async def test_a_method_that_a_route_does_not_take_is_405_with_those_it_takes(
    live: RunningGateway, method: str, path: str, allowed: str
) -> None:
    answer = await sent_raw(
        live,
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {live.org.live}\r\n"
        "X-HTTP-Method-Override: GET\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    told = re.search(rb"\r\nAllow: ([A-Z,]+)\r\n", head)
    assert head.startswith(b"HTTP/1.1 405 ") and told, answer
    assert set(told[1].decode().split(",")) == set(allowed.split(","))
    assert json.loads(body)["error"] == "method_not_allowed"


@socket_tests
@pytest.mark.parametrize("method", ["get", "Get", "BREW", "GE\u0301T", "G ET", ""])
async def test_a_method_that_nobody_knows_is_no_request(live: RunningGateway, method: str) -> None:
    answer = await sent_raw(
        live, f"{method} /v1/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {live.org.live}\r\n\r\n"
    )
    assert re.match(rb"HTTP/1\.[01] 400 ", answer), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "bad_request"


# What a refusal says


@socket_tests
@pytest.mark.parametrize(
    ("body", "path", "suggestion"),
    [
        ({"parms": {}}, "parms", "params"),
        ({"param": {}}, "param", "params"),
        ({"params": {}, "usr": "a"}, "usr", "user"),
        ({"params": {}, "conection": "a"}, "conection", "connection"),
        ({"params": {"repository": "a/b", "title": "x"}}, "repository", "repo"),
        ({"params": {"repo": "a/b", "titel": "x"}}, "titel", "title"),
        ({"params": {"repo": "a/b", "title": "x", "label": ["a"]}}, "label", "labels"),
        ({"params": {"repo": "a/b", "title": "x", "Body": "a"}}, "Body", "body"),
    ],
)
async def test_a_name_that_is_nearly_right_is_corrected(
    live: RunningGateway, body: dict[str, Any], path: str, suggestion: str
) -> None:
    answer = await live.ask("POST", "/v1/github/create_issue", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    told = {field["path"]: field for field in answer.json()["details"]["fields"]}
    assert told[path]["suggestion"] == suggestion
    assert path in answer.json()["message"] or path in json.dumps(answer.json()["details"])


@socket_tests
@pytest.mark.parametrize(
    ("params", "path", "says"),
    [
        ({"title": "x"}, "repo", "repo"),
        ({"repo": "a/b"}, "title", "title"),
        ({"repo": "nope", "title": "x"}, "repo", "pattern"),
        ({"repo": "a/b", "title": ""}, "title", "empty"),
        ({"repo": "a/b", "title": 7}, "title", "a string"),
        ({"repo": "a/b", "title": None}, "title", "a string"),
        ({"repo": "a/b", "title": "x", "labels": "bug"}, "labels", "an array"),
        ({"repo": "a/b", "title": "x", "labels": ["a", 1]}, "labels/1", "a string"),
        ({"repo": "a/b", "title": "x", "milestone": 1.5}, "milestone", "a whole number"),
        ({"repo": "a/b", "title": "x", "milestone": True}, "milestone", "a whole number"),
    ],
)
async def test_a_value_that_does_not_fit_is_named_with_what_was_expected(
    live: RunningGateway, github: Running[GitHub], params: dict[str, Any], path: str, says: str
) -> None:
    before = len(github.seen)
    answer = await live.call("github", "create_issue", params)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    (field,) = answer.json()["details"]["fields"]
    assert field["path"] == path
    assert says in field["message"]
    assert answer.json()["message"] == field["message"]
    assert len(github.seen) == before


@socket_tests
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"params": []}, "params"),
        ({"params": None}, "params"),
        ({"params": "x"}, "params"),
        ({"params": {}, "user": 7}, "user"),
        ({"params": {}, "user": ""}, "user"),
        ({"params": {}, "user": "a" * 129}, "user"),
        ({"params": {}, "user": "a\nb"}, "user"),
        ({"params": {}, "connection": {}}, "connection"),
    ],
)
async def test_a_field_of_the_wrong_kind_is_named(live: RunningGateway, body: dict[str, Any], path: str) -> None:
    answer = await live.ask("POST", "/v1/github/get_repo", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["details"]["fields"][0]["path"] == path


@socket_tests
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/skills?usr=a", "usr"),
        ("/v1/skills?limit=0", "limit"),
        ("/v1/skills?limit=201", "limit"),
        ("/v1/skills?limit=1e1", "limit"),
        ("/v1/skills?limit=-1", "limit"),
        ("/v1/skills?limit=%D9%A1", "limit"),
        ("/v1/skills?limit=1&limit=2", "limit"),
        ("/v1/skills?cursor=!", "cursor"),
        ("/v1/skills/search", "q"),
        ("/v1/skills/search?q=", "q"),
        ("/v1/skills/search?query=a", "query"),
        ("/v1/skills/github?limit=1", "limit"),
        ("/v1/skills/github/get_repo?x=1", "x"),
        ("/v1/verify?x=1", "x"),
        ("/v1/connect/conn_x?wait=soon", "wait"),
    ],
)
async def test_a_query_parameter_that_is_wrong_is_named(live: RunningGateway, path: str, name: str) -> None:
    answer = await get(live, path)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["details"]["fields"][0]["path"] == name


@socket_tests
@pytest.mark.parametrize("raw", ["yes", "0x1", "", "true&raw=true"])
async def test_raw_is_said_with_one_word(live: RunningGateway, github: Running[GitHub], raw: str) -> None:
    before = len(github.seen)
    answer = await live.ask("POST", f"/v1/github/get_repo?raw={raw}", body={"params": {"repo": "acme/webapp"}})
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["details"]["fields"][0]["path"] == "raw"
    assert len(github.seen) == before


@socket_tests
async def test_no_body_is_no_params(live: RunningGateway) -> None:
    answer = await live.ask("POST", "/v1/github/get_rate_limit")
    assert (answer.status, answer.json()["status"]) == (200, 200)
