"""The protocol at `/mcp`, byte by byte: both eras, what is refused, and that nothing of it reached an upstream."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from tests.mcp.conftest import Stage
from tests.mcp.wire import MODERN, modern, modern_body, modern_headers, older, send, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALL = {"name": "github__get_repo", "arguments": {"repo": "acme/webapp"}}
HANDSHAKES = ["2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.fixture(autouse=True)
def nothing_reached(stage: Stage, request: pytest.FixtureRequest) -> Any:
    """What is refused reaches nobody; tests that call say so."""
    before = len(stage.github.seen)
    yield
    if "calls" not in request.keywords:
        assert len(stage.github.seen) == before


# ------------------------------------------------------------------------------------------------------ the two eras


async def test_a_client_of_today_asks_without_a_handshake(stage: Stage) -> None:
    result = (await modern(stage.running, "server/discover")).json()["result"]
    assert result["resultType"] == "complete"
    assert result["supportedVersions"] == [MODERN]
    assert "tools" in result["capabilities"]
    assert result["ttlMs"] > 0 and result["cacheScope"] == "private"
    listed = (await modern(stage.running, "tools/list")).json()["result"]
    assert listed["ttlMs"] >= 0 and listed["cacheScope"] == "private" and "nextCursor" not in listed


@pytest.mark.parametrize("version", HANDSHAKES)
async def test_an_older_client_shakes_hands_and_nothing_is_kept_of_it(stage: Stage, version: str) -> None:
    hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    result = (await older(stage.running, "initialize", hello)).json()["result"]
    assert result["protocolVersion"] == version and result["serverInfo"]["name"] == "skillway"
    done = await send(stage.running, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (done.status, done.body) == (202, b"")
    assert (await older(stage.running, "ping", version=version)).json()["result"] == {}
    listed = (await older(stage.running, "tools/list", version=version)).json()["result"]
    assert set(listed) == {"tools"}


async def test_a_version_that_nobody_speaks_is_answered_with_the_newest_of_the_handshake(stage: Stage) -> None:
    hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    result = (await older(stage.running, "initialize", hello)).json()["result"]
    assert result["protocolVersion"] == "2025-11-25"


async def test_without_a_version_a_request_is_of_the_first_that_is_served(stage: Stage) -> None:
    answer = await send(stage.running, {"jsonrpc": "2.0", "id": "a", "method": "ping"})
    assert (answer.status, answer.json()) == (200, {"jsonrpc": "2.0", "id": "a", "result": {}})


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_there_is_no_stream_and_no_session_to_ask_for(stage: Stage, method: str) -> None:
    answer = await stage.running.ask(method, "/mcp")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_no_page_tells_of_an_oauth_server(stage: Stage) -> None:
    """A client that finds one ignores the key that its owner gave it."""
    for name in ("oauth-protected-resource", "oauth-protected-resource/mcp", "oauth-authorization-server"):
        assert (await stage.running.ask("GET", f"/.well-known/{name}", key="")).status == 404


# --------------------------------------------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("key", "code"), [("", "unauthorized"), ("nonsense", "api_key_invalid"), ("gho_upstream", "api_key_invalid")]
)
async def test_without_a_key_that_works_it_is_401_and_says_no_more_than_bearer(
    stage: Stage, key: str, code: str
) -> None:
    for answer in (await modern(stage.running, "tools/list", key=key), await older(stage.running, "ping", key=key)):
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["data"]["error"] == code


async def test_a_key_stands_in_either_header_and_never_in_the_address(stage: Stage) -> None:
    body = modern_body("tools/list")
    given = {**modern_headers(body), "X-API-Key": stage.running.org.live}
    assert (await send(stage.running, body, key="", headers=given)).status == 200
    assert (await send(stage.running, body, headers=given)).status == 400
    asked = await modern(stage.running, "tools/list", key="", path=f"/mcp?key={stage.running.org.live}")
    assert asked.status == 400


@pytest.mark.parametrize(
    "origin",
    [
        "null", "http://localhost.evil", "https://gw.evil", "http://evil.example", "https://evil.example:8700", "file://",
        "http://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "HTTP://127.0.0.1:{port}",
        "http://127.0.0.1:{port}/", "http://127.0.0.1:{port}.evil", "http://127.0.0.1.evil:{port}", "http://LOCALHOST:{port}",
        "http://localhost:{port}@evil", "http://evil@localhost:{port}", "http://localhost", "http://localhost:80",
        "http://0.0.0.0:{port}", "http://127.1:{port}", "http://2130706433:{port}", "http://[::1]", "http://[::ffff:127.0.0.1]:{port}",
        "http://localhost:{port}, http://evil.example", "http://localhost:{port} ", "", "*", "chrome-extension://abcdef",
        "vscode-webview://x", "http://xn--lcalhost-7za:{port}", "http://localhost%2eevil:{port}", "about:blank",
    ],
)  # fmt: skip
async def test_a_page_of_another_site_is_refused(stage: Stage, origin: str) -> None:
    said = origin.format(port=stage.running.url.rpartition(":")[2])
    if said.endswith(" "):
        said = said.strip() + "\t."
    body = modern_body("tools/call", CALL)
    answer = await send(stage.running, body, headers={**modern_headers(body), "Origin": said})
    assert (answer.status, answer.json()["error"]["data"]["error"]) == (403, "forbidden")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
async def test_our_own_page_may_ask_by_each_name_of_this_machine(stage: Stage, name: str) -> None:
    origin = f"http://{name}:{stage.running.url.rpartition(':')[2]}"
    body = modern_body("tools/list")
    assert (await send(stage.running, body, headers={**modern_headers(body), "Origin": origin})).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8700", "localhost.evil", "127.0.0.1.evil", "gateway"])
async def test_a_name_that_was_made_to_lead_here_is_refused(stage: Stage, host: str) -> None:
    answer = await send(stage.running, modern_body("tools/list"), headers={"Host": host})
    assert answer.status == 403


# -------------------------------------------------------------------------------------- what headers and body say


def b64(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    "headers",
    [
        {"Mcp-Name": "github__list_repos"}, {"Mcp-Name": "GITHUB__GET_REPO"}, {"Mcp-Name": ""}, {"Mcp-Name": None},
        {"Mcp-Name": "github__get_repo,github__get_repo"}, {"Mcp-Name": b64("github__list_repos")},
        {"Mcp-Name": "=?base64?Z2l0?="}, {"Mcp-Name": b64("github__get_repo").replace("?=", "=?=")},
        {"Mcp-Name": "=?base64??="}, {"Mcp-Name": "=?BASE64?" + b64("github__get_repo")[9:]}, {"Mcp-Name": "=?base64?%%%?="},
        {"Mcp-Method": "tools/list"}, {"Mcp-Method": None}, {"Mcp-Method": "TOOLS/CALL"}, {"Mcp-Method": "server/discover"},
        {"MCP-Protocol-Version": None}, {"MCP-Protocol-Version": "2025-11-25"}, {"MCP-Protocol-Version": "2026-07-29"},
        {"MCP-Protocol-Version": "2025-03-26"}, {"Mcp-Param-Repo": "acme/other"}, {"mcp-param-x": b64("y")},
    ],
)  # fmt: skip
async def test_headers_that_say_something_else_than_the_body_are_refused(
    stage: Stage, headers: Mapping[str, str | None]
) -> None:
    body = modern_body("tools/call", CALL)
    merged = {**modern_headers(body), **headers}
    answer = await send(
        stage.running, body, headers={name: value for name, value in merged.items() if value is not None}
    )
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32020)
    assert answer.json()["id"] == 1


async def test_an_older_version_is_no_way_around_the_comparison(stage: Stage) -> None:
    for headers in ({"Mcp-Name": "github__list_repos"}, {"Mcp-Method": "tools/list"}, {"Mcp-Param-Repo": "x"}):
        answer = await older(stage.running, "tools/call", CALL, headers=headers)
        assert (answer.status, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_header_that_stands_there_twice_is_refused(stage: Stage) -> None:
    body = modern_body("tools/call", CALL)
    twice = [*modern_headers(body).items(), ("Mcp-Name", "github__get_repo")]
    sent = [*twice, ("Authorization", f"Bearer {stage.running.org.live}")]
    async with stage.running.session.post(f"{stage.running.url}/mcp", json=body, headers=sent) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, -32020)


@pytest.mark.calls
async def test_a_name_may_come_encoded(stage: Stage) -> None:
    body = modern_body("tools/call", CALL)
    answer = await send(stage.running, body, headers={**modern_headers(body), "Mcp-Name": b64("github__get_repo")})
    assert answer.json()["result"]["structuredContent"]["status"] == 200


async def test_a_version_that_is_not_served_is_told_which_are(stage: Stage) -> None:
    body = modern_body("tools/list")
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2027-01-01"
    answer = await send(stage.running, body, headers={**modern_headers(body), "MCP-Protocol-Version": "2027-01-01"})
    assert answer.status == 400
    assert answer.json()["error"]["code"] == -32022
    assert answer.json()["error"]["data"] == {"supported": [MODERN], "requested": "2027-01-01"}
    bare = await older(stage.running, "tools/list", version="1999-01-01")
    assert (bare.status, bare.json()["error"]["code"]) == (400, -32022)


@pytest.mark.parametrize("meta", [None, [], {}, {"io.modelcontextprotocol/protocolVersion": MODERN}])
async def test_a_request_of_today_says_its_version_and_what_its_client_can(stage: Stage, meta: Any) -> None:
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    answer = await send(stage.running, body, headers={"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"})
    assert (answer.status, answer.json()["error"]["code"]) == (400, -32602)


# ----------------------------------------------------------------------------------------------------- JSON-RPC


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", -32700), (b"{", -32700), (b"\xff", -32700), (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', -32700), (b"[" * 100_000, -32700),
        (b'{"jsonrpc":"2.0","id":99999999999999999999999,"method":"ping"}', -32700),
        (b"[]", -32600), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600), (b"1", -32600), (b"null", -32600),
        (b'"ping"', -32600), (b"{}", -32600), (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":1}', -32600), (b'{"jsonrpc":"2.0","id":1,"method":""}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 257 + b'","method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 129 + b'"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', -32602),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_refused_by_the_code_for_it(stage: Stage, raw: bytes, code: int) -> None:
    answer = await send(stage.running, raw)
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    "method", ["nonsense", "resources/subscribe", "notifications/initialized", "initialize", "ping"]
)
async def test_a_method_that_there_is_not_is_404_today_and_was_an_answer_before(stage: Stage, method: str) -> None:
    answer = await modern(stage.running, method)
    assert (answer.status, answer.json()["error"]["code"]) == (404, -32601)
    if method not in ("initialize", "ping"):
        before = await older(stage.running, method)
        assert (before.status, before.json()["error"]["code"]) == (200, -32601)


async def test_what_has_no_id_is_taken_and_done_nothing_about(stage: Stage) -> None:
    call = modern_body("tools/call", CALL)
    del call["id"]
    answered = {"jsonrpc": "2.0", "id": 1, "result": {}}
    for body in (call, answered, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}):
        answer = await send(stage.running, body)
        assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize(
    "params", [{}, {"name": 1}, {"name": "x", "arguments": []}, {"name": "x", "arguments": "{}"}, {"name": "x" * 5000}]
)
async def test_a_call_without_a_name_or_with_no_object_for_arguments_is_refused(stage: Stage, params: Any) -> None:
    answer = await older(stage.running, "tools/call", params)
    assert (answer.status, answer.json()["error"]["code"]) == (200, -32602)


@pytest.mark.parametrize("query", ["tools=all", "tools=", "tool=meta", "tools=meta&tools=direct", "integration=nope"])
async def test_an_address_that_says_something_unknown_is_refused(stage: Stage, query: str) -> None:
    answer = await modern(stage.running, "tools/list", path=f"/mcp?{query}")
    assert answer.status in (400, 404)


async def test_another_type_of_body_is_refused(stage: Stage) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert (await send(stage.running, modern_body("tools/list"), headers={"Content-Type": kind})).status == 415


@pytest.mark.calls
async def test_what_nobody_sees_is_written_as_an_escape(stage: Stage) -> None:
    hidden = "a\u200bb\u202ec\U000e0041d\u2066e\x7ff"
    stage.github.next(json={"body": hidden})
    params = {"name": "github__get_repo", "arguments": {"repo": "acme/webapp"}}
    answer = await modern(stage.running, "tools/call", params)
    assert not {*"\u200b\u202e\U000e0041\u2066\x7f"} & {*answer.body.decode()}
    result = answer.json()["result"]
    assert r"a\u200bb\u202ec\udb40\udc41d\u2066e" in result["content"][0]["text"]
    assert result["structuredContent"]["data"]["body"] == hidden


@pytest.mark.calls
async def test_numbers_and_line_ends_of_an_upstream_survive(stage: Stage) -> None:
    stage.github.next(body=b'{\n "id": 9007199254740993,\r\n "x": 1.50}', headers={"Content-Type": "application/json"})
    answer = await modern(stage.running, "tools/call", CALL)
    assert b'"id": 9007199254740993' in answer.body and b'"x": 1.50' in answer.body
    assert b"\n" not in answer.body


async def test_a_tool_never_shows_the_credential(stage: Stage) -> None:
    token = stage.github.upstream.token
    said = [
        await tool(stage.running, "search_skills", {"query": "issue"}),
        await tool(stage.running, "connect_integration", {"integration": "github"}),
    ]
    assert token not in str(said)
