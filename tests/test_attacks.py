"""What was found by attacking a live gateway, each as it was found: stalls, accidents, leaks, keys that reach too far."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from gateway.core.overrides import chosen
from gateway.core.requests.answers import PIECE, _json_string
from gateway.core.strict_json import MAX_NODES, NotStrictJson, parse
from gateway.core.tenants.grants import Grant
from gateway.installation import open_installation
from gateway.operator_file import BadSetting, Installation, Override
from gateway.settings import load_settings
from gateway.store.keys import SqlKeys
from skills_catalog.catalog import Catalog
from skills_catalog.loader import load_catalog
from skills_catalog.mistakes import CatalogError
from tests.blowup import no_blowup
from tests.demo import write_definitions
from tests.fakes.hostile import Hostile, hostile
from tests.harness import Answer, RunningGateway, gateway

over_sockets = pytest.mark.asyncio(loop_scope="module")

SECRET = "SECRETtokenOfThisConnection"
#: Seconds for what takes milliseconds, and took from seconds to hours.
SOON = 3.0
MIB = 1024 * 1024
LIMIT = 1 * MIB
EXAMPLES = [{"params": {}, "response": {"status": 200, "data": None}}]

PROBE = {
    "slug": "probe",
    "name": "Probe",
    "description": "Takes whatever an attacker can think of, to the host of the connection.",
    "base_url": "http://{host}",
    "auth": [
        {"name": "token", "type": "bearer", "title": "Token"},
        {"name": "query", "type": "api_key", "title": "Key", "in": "query", "as": "api_key"},
    ],
    "connection": {
        "host": {"title": "Host", "host": "domain"},
        "tenant": {"title": "Tenant", "secret": True, "required": False},
        "project": {"title": "Project", "required": False, "default_for": "project"},
    },
    "actions": {
        "get": {"description": "Reads.", "request": "GET /it", "timeout": "5s", "examples": EXAMPLES},
        "put": {
            "description": "Writes.", "request": "POST /it", "effect": "create", "timeout": "5s", "examples": EXAMPLES
        },
        "follow": {"description": "Goes on.", "request": "GET /it", "redirect": "follow", "examples": EXAMPLES},
        "place": {
            "description": "Has a param in every place.",
            "request": "POST /{one}/{+many}",
            "effect": "create",
            "params": {
                "one": {},
                "many": {},
                "asked": {"in": "query"},
                "head": {"in": "header", "as": "X-Head"},
                "forms": {"anyOf": [{"type": "array", "items": {"anyOf": [
                    {"type": "integer"}, {"type": "string", "format": "email"}, {"type": "string", "format": "uri"},
                ]}}, {"type": "object"}]},
            },
            "examples": EXAMPLES,
        },
        "upload": {
            "description": "Sends files of any form.",
            "request": "POST /files",
            "effect": "create",
            "params": {"file": {"in": "file", "type": ["string", "object", "array", "integer", "null"]}},
            "examples": EXAMPLES,
        },
        "replace": {
            "description": "Replaces it as a whole.",
            "request": "PUT /it",
            "effect": "update",
            "params": {"document": {"in": "body", "whole": True}},
            "examples": EXAMPLES,
        },
        "in_project": {
            "description": "Stands in a project.",
            "request": "GET /{project}",
            "params": {"project": {"type": "string", "maxLength": 8}},
            "examples": EXAMPLES,
        },
    },
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def probe(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    definitions = write_definitions(folder, PROBE, {**PROBE, "slug": "other", "name": "Other"})
    async with gateway(folder, definitions=definitions, response_limit=str(LIMIT)) as running:
        yield running


@asynccontextmanager
async def connected(
    probe: RunningGateway, behaviour: str = "answer", *, integration: str = "probe", **options: Any
) -> AsyncIterator[tuple[Hostile, str]]:
    """A misbehaving upstream and a connection to it, of a user named after nobody else."""
    kind = "api_key" if options.pop("key_in_query", False) else "token"
    fields = options.pop("fields", {})
    async with hostile(behaviour, **options) as upstream:
        given = {kind: SECRET, "host": f"127.0.0.1:{upstream.port}", **fields}
        connection = await probe.connect(integration, given, user=str(upstream.port))
        yield upstream, connection
        # Ports come again, and with them the name of the user.
        await probe.ask("DELETE", f"/v1/connections/{connection}")


async def call(probe: RunningGateway, upstream: Hostile, action: str = "get", *, raw: bool = False, **params: Any) -> Answer:
    # aiohttp warns of large bodies that are plain bytes.
    body = io.BytesIO(json.dumps({"params": params, "user": str(upstream.port)}).encode())
    headers = {"Authorization": f"Bearer {probe.org.live}", "Content-Type": "application/json"}
    path = f"/v1/probe/{action}" + ("?raw=1" if raw else "")
    async with probe.session.post(probe.url + path, data=body, headers=headers) as response:
        return Answer(status=response.status, headers=response.headers, body=await response.read())


def refused_field(answer: Answer) -> str:
    """The field that a `bad_request` names."""
    body = answer.json()
    assert (answer.status, body["error"]) == (400, "bad_request"), answer.body[:300]
    path: str = body["details"]["fields"][0]["path"]
    assert path.partition("/")[0] in body["message"]
    return path


# What stalls the loop, and with it every other tenant


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 65 + b'"' + b'\\"' * 4_000_000,
        b"[" * 65 + b"]" * 8_000_000,
        b'["' + b'",' * 3_000_000,
        b'"a" ' * 2_000_000,
        b'{"a":' * 100_000,
    ],
    ids=["string without end", "closing brackets", "tiny strings", "strings in a row", "depth"],
)
def test_no_text_takes_json_longer_than_its_length(text: bytes) -> None:
    with no_blowup():
        with pytest.raises(NotStrictJson):
            parse(text)


def test_only_what_is_a_value_counts_as_one() -> None:
    assert len(parse(b'["' + b",[{\\\"" * 1_000_000 + b'"]')[0]) == 4_000_000
    assert len(parse(b"[" + b",".join([b"1"] * MAX_NODES) + b"]")) == MAX_NODES
    with pytest.raises(NotStrictJson, match="values"):
        parse(b"[" + b",".join([b"1"] * (MAX_NODES + 1)) + b"]")


@pytest.mark.parametrize("param", ["one", "many", "asked", "head"])
@pytest.mark.parametrize("value", ["%" * 8 * MIB, "a/" * 4 * MIB, "%25" * 2 * MIB, ["x" * 80] * 50_000])
@over_sockets
async def test_a_param_too_long_for_its_place_is_refused_at_once(
    probe: RunningGateway, param: str, value: Any
) -> None:
    async with connected(probe) as (upstream, _):
        given = {"one": "a", "many": "b", param: value[: len(value) - 200]}
        with no_blowup():
            answer = await call(probe, upstream, "place", **given)
        assert refused_field(answer) == param
        assert upstream.requests == []


@over_sockets
async def test_a_long_array_that_has_none_of_its_forms_is_refused_at_once(probe: RunningGateway) -> None:
    async with connected(probe) as (upstream, _):
        with no_blowup():
            answer = await call(probe, upstream, "place", one="a", many="b", forms=["a" * 80] * 80_000)
        assert refused_field(answer) == "forms"
        answer = await call(probe, upstream, "place", one="a", forms=[1] * 80_000)
        assert refused_field(answer) == "many"
        answer = await call(probe, upstream, "place", one="a", many="b", froms=[1] * 80_000)
        assert answer.json()["details"]["fields"][0]["suggestion"] == "forms"


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "utf-7", "hex", "no-such-charset"])
@over_sockets
async def test_an_upstream_cannot_choose_any_codec_of_python(probe: RunningGateway, charset: str) -> None:
    body = b"-" + b"z9a" * 200_000
    async with connected(probe, body=body, kind=f"text/plain; charset={charset}") as (upstream, _):
        with no_blowup():
            data = (await call(probe, upstream)).json()["data"]
        assert base64.b64decode(data["content"]) == body


def test_a_long_text_is_the_same_string_in_pieces() -> None:
    text = ("é🦄\n\"\\\u2028" * PIECE)[: 3 * PIECE + 1]
    assert json.loads(_json_string(text)) == text


# What was an accident of ours


@pytest.mark.parametrize("header", ["Authorization: Bearer ", "X-API-Key: "])
@pytest.mark.parametrize("key", [b"\xff\xfe", b"\xed\xa0\x80"])
@over_sockets
async def test_a_key_that_is_not_utf_8_is_nobodys(probe: RunningGateway, header: str, key: bytes) -> None:
    answer = await sent(probe, b"GET /v1/skills HTTP/1.1\r\nHost: x\r\n" + header.encode() + key + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"api_key_invalid"' in answer


@over_sockets
async def test_an_expectation_that_nobody_knows_is_refused_in_our_words(probe: RunningGateway) -> None:
    answer = await sent(probe, b"GET /v1/skills HTTP/1.1\r\nHost: x\r\nExpect: planted\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: req_" in head.lower()
    assert json.loads(body)["error"] == "bad_request"
    assert b"planted" not in answer


@pytest.mark.parametrize(
    ("kind", "form"), [("; charset=no-such", b"a=b"), ("", b"a=\xff"), ("; charset=utf-16", b"a"), ("", b"a=%ff")]
)
@over_sockets
async def test_a_form_that_no_browser_sends_is_a_bad_request(probe: RunningGateway, kind: str, form: bytes) -> None:
    headers = {"Content-Type": f"application/x-www-form-urlencoded{kind}"}
    for path in ("/connect/conn_0", "/connect/new?t=x"):
        answer = await probe.ask("POST", path, key="", raw=form, headers=headers)
        assert answer.status == 400, answer.body


@pytest.mark.parametrize("file", [5, {}, {"content": 5}, {"content": None}, [["aGk="]], {"filename": "x"}, ["!"]])
@over_sockets
async def test_a_file_in_a_form_that_is_none_is_named(probe: RunningGateway, file: Any) -> None:
    async with connected(probe) as (upstream, _):
        assert refused_field(await call(probe, upstream, "upload", file=file)).startswith("file")
        assert upstream.requests == []


@over_sockets
async def test_files_may_be_none_one_or_several(probe: RunningGateway) -> None:
    async with connected(probe) as (upstream, _):
        for file, parts in ((None, 0), ("aGk=", 1), (["aGk=", None, {"content": "aG8=", "filename": "b"}], 2)):
            assert (await call(probe, upstream, "upload", file=file)).status == 200
            assert upstream.requests[-1].count(b'form-data; name="file"') == parts


@over_sockets
async def test_null_leaves_a_header_out(probe: RunningGateway) -> None:
    async with connected(probe) as (upstream, _):
        assert (await call(probe, upstream, "place", one="a", many="b", head=None, asked=None)).status == 200
        assert b"X-Head" not in upstream.requests[-1]
        assert upstream.requests[-1].startswith(b"POST /a/b HTTP/1.1\r\n")


@over_sockets
async def test_a_whole_body_that_is_left_out_is_no_body(probe: RunningGateway) -> None:
    async with connected(probe) as (upstream, _):
        for params, body in (({}, b""), ({"document": None}, b"null"), ({"document": {}}, b"{}")):
            assert (await call(probe, upstream, "replace", **params)).status == 200
            assert upstream.requests[-1].endswith(b"\r\n\r\n" + body)


@over_sockets
async def test_a_header_that_cannot_be_passed_on_does_not_cost_the_answer(probe: RunningGateway) -> None:
    told = b'HTTP/1.1 201 Made\r\nContent-Type: text/plain\x01\r\nETag: "a"\r\nContent-Length: 2\r\n\r\nok'
    async with connected(probe, "raw", data=told) as (upstream, _):
        answer = await call(probe, upstream, "put", raw=True)
        assert (answer.status, answer.body, answer.headers["X-Upstream-Status"]) == (200, b"ok", "201")
        assert answer.headers["ETag"] == '"a"'
        assert answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"login": 5}', b'{"login": [[]]}', b"\xff"])
@over_sockets
async def test_no_answer_of_whoami_is_a_failure_of_ours(tmp_path: Path, body: bytes) -> None:
    async with hostile("answer", body=body) as upstream, who(tmp_path, upstream, "join('', login)") as running:
        assert await running.connect("who", {"token": SECRET})


# What must not be told


@over_sockets
async def test_the_credential_is_taken_out_of_headers_too(probe: RunningGateway) -> None:
    headers = [
        ("ETag", f'"{SECRET}"'),
        ("Link", f"</it?api_key={SECRET}&page=2>; rel=next"),
        ("Link", "</it?page=9>; rel=last"),
        ("Content-Disposition", f'attachment; filename="{SECRET}.bin"'),
    ]
    options: dict[str, Any] = {"headers": headers, "kind": f"application/x-{SECRET}", "body": b"\xff\x00"}
    async with connected(probe, key_in_query=True, **options) as (upstream, _):
        answer = await call(probe, upstream)
        raw = await call(probe, upstream, raw=True)
    assert answer.json()["meta"]["redacted"] is True
    assert answer.json()["meta"]["upstream"]["link"] == (
        "</it?api_key=[secret]&page=2>; rel=next, </it?page=9>; rel=last"
    )
    assert answer.json()["data"]["filename"] == "[secret].bin"
    for told in (answer.body.decode(), str(raw.headers)):
        assert SECRET.lower() not in told.lower()
    assert raw.headers["ETag"] == '"[secret]"'


@pytest.mark.parametrize(
    "told",
    [
        b"HTTP/1.1 200 OK\r\nwhat api_key=%b\r\n\r\n" % SECRET.encode(),
        b"you sent api_key=%b\r\n\r\n" % SECRET.encode(),
        b"HTTP/1.1 200 OK\r\nX-A: %b\x00\r\n\r\n" % SECRET.encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
@over_sockets
async def test_the_log_of_a_malformed_answer_has_no_credential(
    probe: RunningGateway, caplog: pytest.LogCaptureFixture, told: bytes
) -> None:
    caplog.set_level(logging.INFO)
    async with connected(probe, "raw", data=told, key_in_query=True) as (upstream, _):
        for raw in (False, True):
            answer = await call(probe, upstream, raw=raw)
            assert (answer.status, answer.json()["error"]) == (502, "upstream_invalid_response")
        assert SECRET.encode() in upstream.requests[-1]
    assert "upstream_invalid_response" in caplog.text
    assert SECRET not in caplog.text


@over_sockets
async def test_a_credential_that_whoami_repeats_is_not_the_name_of_the_account(tmp_path: Path) -> None:
    body = json.dumps({"login": f"owner of {SECRET}"}).encode()
    async with hostile("answer", body=body) as upstream, who(tmp_path, upstream, "login") as running:
        connection = await running.connect("who", {"token": SECRET})
        shown = (await running.ask("GET", f"/v1/connections/{connection}")).json()
        assert shown["account"] == "owner of [secret]"


@over_sockets
async def test_a_redirect_that_repeats_a_secret_of_the_path_is_not_followed(tmp_path: Path) -> None:
    async with hostile("answer") as elsewhere:
        location = f"{elsewhere.base_url}/bot{SECRET}/it"
        async with hostile("redirect", location=location) as upstream:
            bot = {
                **PROBE,
                "slug": "bot",
                "base_url": f"{upstream.base_url}/bot{{tenant}}",
                "auth": [{"name": "token", "type": "bearer", "title": "Token"}],
                "connection": {"tenant": {"title": "Token of the bot", "secret": True}},
                "actions": {"follow": PROBE["actions"]["follow"]},  # type: ignore[index]
            }
            async with gateway(tmp_path, definitions=write_definitions(tmp_path, bot)) as running:
                await running.connect("bot", {"token": "another-token", "tenant": SECRET})
                assert (await running.call("bot", "follow")).json()["status"] == 302
        assert elsewhere.requests == []


@over_sockets
async def test_a_person_who_types_a_host_cannot_have_any_port_of_the_internet_knocked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    typed = {**PROBE, "slug": "typed", "base_url": "https://{host}"}
    async with gateway(tmp_path, definitions=write_definitions(tmp_path, typed)) as running:
        await running.connect("typed", {"token": SECRET, "host": "93.184.216.34:22"})
        for path in ("/v1/typed/get", "/v1/typed/get?raw=1"):
            caplog.clear()
            answer = (await running.ask("POST", path, body={})).json()
            assert (answer["error"], answer["outcome"]) == ("upstream_unreachable", "not_sent")
            assert "which a person typed" in caplog.text
            assert "typed" not in answer["message"]


# What a raw answer says where it cannot be given


@over_sockets
async def test_a_raw_answer_over_the_limit_says_that_the_upstream_answered(probe: RunningGateway) -> None:
    async with connected(probe, status=201, body=b"x" * (LIMIT + 1), kind="text/plain") as (upstream, _):
        answer = await call(probe, upstream, "put", raw=True)
        told = answer.json()
        assert (answer.status, told["error"]) == (502, "response_too_large")
        assert (told["outcome"], told["upstream_status"], told["retryable"]) == ("answered", 201, False)


@over_sockets
async def test_a_raw_answer_without_end_is_cut_at_the_limit(probe: RunningGateway) -> None:
    async with connected(probe, "endless_body") as (upstream, _):
        with pytest.raises(aiohttp.ClientPayloadError):
            await call(probe, upstream, raw=True)
        await upstream.deserted()
        assert upstream.sent < 64 * LIMIT


@over_sockets
async def test_a_raw_answer_that_cannot_be_unpacked_says_that_the_upstream_answered(probe: RunningGateway) -> None:
    packed = zlib.compress(b"{}")
    async with connected(probe, status=201, body=packed, headers={"Content-Encoding": "br, zstd"}) as (upstream, _):
        told = (await call(probe, upstream, "put", raw=True)).json()
        assert (told["error"], told["outcome"]) == ("upstream_invalid_response", "answered")
        assert (told["upstream_status"], told["retryable"]) == (201, False)


@over_sockets
async def test_a_redirect_whose_head_is_too_large_leaves_no_connection_open(probe: RunningGateway) -> None:
    many = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 15_000) for n in range(6))
    told = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n" + many + b"Content-Length: 9\r\n\r\n"
    async with connected(probe, "raw", data=told, close=False) as (upstream, _):
        answer = await call(probe, upstream, "follow", raw=True)
        assert (answer.status, answer.json()["error"]) == (502, "upstream_invalid_response")
        async with asyncio.timeout(SOON):
            await upstream.deserted()


# How far a key reaches


@over_sockets
async def test_a_key_of_one_integration_has_nothing_to_do_with_connections_of_another(probe: RunningGateway) -> None:
    key = await scoped_key(probe, "other")
    async with connected(probe) as (_, mine), connected(probe, integration="other") as (_, theirs):
        shown = (await probe.ask("GET", "/v1/connections", key=key)).json()["connections"]
        assert {connection["integration"] for connection in shown} == {"other"}
        for method, path in (
            ("GET", f"/v1/connections/{mine}"),
            ("GET", f"/v1/connect/{mine}"),
            ("DELETE", f"/v1/connections/{mine}"),
        ):
            answer = await probe.ask(method, path, key=key)
            assert (answer.status, answer.json()["error"]) == (403, "scope_not_allowed"), path
        confirm = await probe.ask(
            "POST", f"/v1/connect/{mine}/confirm", key=key, body={"user": "default", "handle": "x"}
        )
        assert confirm.json()["error"] == "scope_not_allowed"
        assert (await probe.ask("GET", f"/v1/connections/{mine}")).status == 200
        assert (await probe.ask("DELETE", f"/v1/connections/{theirs}", key=key)).status == 204


@over_sockets
async def test_a_test_key_sees_no_live_connection(probe: RunningGateway) -> None:
    async with connected(probe) as (_, connection):
        assert (await probe.ask("GET", "/v1/connections", key=probe.org.test)).json() == {"connections": []}
        for path in (f"/v1/connections/{connection}", f"/v1/connect/{connection}"):
            seen = await probe.ask("GET", path, key=probe.org.test)
            unknown = await probe.ask("GET", path[:-1] + "_", key=probe.org.test)
            assert (seen.status, seen.body) == (404, unknown.body)


@over_sockets
async def test_an_id_of_a_connection_is_not_made_ambiguous_by_a_label(probe: RunningGateway) -> None:
    async with connected(probe) as (upstream, first):
        second = await probe.connect(
            "probe", {"token": "another-token", "host": f"127.0.0.1:{upstream.port}"},
            user=str(upstream.port), label=first,
        )  # fmt: skip
        body = {"user": str(upstream.port), "connection": first}
        answer = await probe.ask("POST", "/v1/probe/get", body=body)
        assert answer.json()["status"] == 200
        assert SECRET.encode() in upstream.requests[-1]
        await probe.ask("DELETE", f"/v1/connections/{second}")


@over_sockets
async def test_a_connection_that_is_named_is_looked_for_also_where_none_is_needed(tmp_path: Path) -> None:
    async with hostile("answer") as upstream:
        public = {
            **PROBE,
            "slug": "public",
            "base_url": upstream.base_url,
            "auth": [{"name": "open", "type": "none"}],
            "connection": {},
            "actions": {"get": PROBE["actions"]["get"]},  # type: ignore[index]
        }
        async with gateway(tmp_path, definitions=write_definitions(tmp_path, public)) as running:
            assert (await running.call("public", "get")).json()["status"] == 200
            answer = await running.call("public", "get", connection="mine")
            assert (answer.status, answer.json()["error"]) == (404, "not_found")
        assert len(upstream.requests) == 1


@over_sockets
async def test_what_can_connect_nobody_is_not_available(tmp_path: Path) -> None:
    old = {
        **PROBE,
        "slug": "old",
        "base_url": "https://api.example.com",
        "connection": {},
        "auth": [{
            "name": "signed", "type": "oauth1", "request_token_url": "https://api.example.com/r",
            "authorization_url": "https://api.example.com/a", "token_url": "https://api.example.com/t",
        }],
        "actions": {"get": PROBE["actions"]["get"]},  # type: ignore[index]
    }  # fmt: skip
    async with gateway(tmp_path, definitions=write_definitions(tmp_path, old)) as running:
        listed = (await running.ask("GET", "/v1/skills")).json()["integrations"]
        shown = next(integration for integration in listed if integration["slug"] == "old")
        assert (shown["available"], shown["connected"]) == (False, False)
        assert "No OAuth client" in shown["unavailable_reason"]


# What a definition or an operator may say


@over_sockets
async def test_what_a_connection_fills_in_is_checked_like_what_a_caller_says(probe: RunningGateway) -> None:
    async with connected(probe, fields={"project": "far-too-long"}) as (upstream, _):
        assert refused_field(await call(probe, upstream, "in_project")) == "project"
        assert (await call(probe, upstream, "in_project", project="short")).status == 200
        assert [request.split(b" ")[1] for request in upstream.requests] == [b"/short"]


def test_a_field_of_a_connection_fills_no_param_that_is_not_text(tmp_path: Path) -> None:
    numbered = json.loads(json.dumps({**PROBE, "slug": "numbered"}))
    numbered["actions"]["in_project"]["params"]["project"] = {"type": "integer"}
    with pytest.raises(CatalogError, match="must take a string"):
        load_catalog([write_definitions(tmp_path, numbered)])


@pytest.mark.parametrize(
    "address",
    [
        "nowhere",
        "https://user:password@api.example.com",
        "https://api.example.com?x=1",
        "https://api.example.com/../admin",
        "https://{unknown}.example.com",
        "https://api.example.com/#here",
    ],
)
def test_an_address_that_no_definition_could_have_is_refused_at_the_start(tmp_path: Path, address: str) -> None:
    catalog = Catalog([*load_catalog([write_definitions(tmp_path, PROBE)]).integrations.values()])
    with pytest.raises(BadSetting, match=r"integrations\.probe\.base_url"):
        chosen(catalog, Installation(overrides={"probe": Override(addresses={"base_url": address})}))


def test_an_address_of_the_environment_that_is_not_set_is_no_reason_to_call_the_default(tmp_path: Path) -> None:
    config = tmp_path / "skills.yaml"
    config.write_text('integrations: {github: {base_url: "${GITHUB_URL}"}}')
    with pytest.raises(BadSetting, match="GITHUB_URL"):
        load_settings({}, config=str(config))
    _, installation = load_settings({"GITHUB_URL": "https://git.example.com/api"}, config=str(config))
    assert installation.overrides["github"].addresses == {"base_url": "https://git.example.com/api"}


def test_a_limit_of_nothing_is_not_no_limit(tmp_path: Path) -> None:
    (tmp_path / "skills.yaml").touch()
    with pytest.raises(BadSetting, match="BODY_LIMIT"):
        load_settings({"SKILLWAY_BODY_LIMIT": "0", "SKILLWAY_CONFIG": str(tmp_path / "skills.yaml")})


# Helpers


@asynccontextmanager
async def who(folder: Path, upstream: Hostile, account: str) -> AsyncIterator[RunningGateway]:
    """A gateway with an integration that asks who the account is."""
    definition = {
        "slug": "who",
        "name": "Who",
        "description": "Says who one is.",
        "base_url": upstream.base_url,
        "auth": [{"name": "token", "type": "bearer", "title": "Token"}],
        "whoami": {"action": "me", "account": account},
        "actions": {"me": {"description": "Says who one is.", "request": "GET /me", "examples": EXAMPLES}},
    }
    async with gateway(folder, definitions=write_definitions(folder, definition)) as running:
        yield running


async def sent(running: RunningGateway, request: bytes) -> bytes:
    """The whole answer to a request that no HTTP library would send; the connection is closed by somebody."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rsplit(":", 1)[1]))
    writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def scoped_key(running: RunningGateway, *scopes: str) -> str:
    """A live key of the org for those integrations alone."""
    environ = {
        "SKILLWAY_DATA_DIR": str(running.data_dir),
        "SKILLWAY_CONFIG": str(running.data_dir.parent / "skills.yaml"),
    }
    settings, _ = load_settings(environ)
    async with open_installation(settings) as opened:
        _, text = await SqlKeys(opened.database).create(running.org.id, "narrow", "live", Grant(scopes=scopes))
    return text.reveal()
