"""What the log says: one line of JSON or text for each event, whatever was sent, and never a secret."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from gateway import logs
from gateway.core.ids import random_hex
from tests.conftest import lacking
from tests.demo import write_definitions
from tests.fakes.postgres import PostgresMissing, fresh_database, postgres_server
from tests.fakes.upstream import Answer, Asked, Upstream, json_answer, route, serve
from tests.harness import RunningGateway, gateway_process

HOSTILE = [
    "plain", "", " ", "\r\nINFO forged line", "\n{\"level\":\"error\"}", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x00", "\x7f",
    '"', "\\", '","level":"error","x":"', "\u2028\u2029", "\u202egnirts", "\ufeff", "𝕊𝕜𝕚𝕝𝕝", "\ud800".encode("utf-8", "replace").decode(),
    "%s%s%n", "{0.__class__}", "${jndi:ldap://127.0.0.1:1/a}", "a" * 5000, "\t\x0b\x0c", "\x85\xa0", "ü☃",
]  # fmt: skip
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ufeff]*")


# ------------------------------------------------------------------------------------------------ the formatters


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_is_one_line_whatever_is_in_it(
    form: Any, text: str, capfd: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    logs.set_up(form)
    logging.getLogger("skillway.tests").warning("before %s after", text)
    lines = capfd.readouterr().err.split("\n")
    assert lines[1:] == [""]
    assert PRINTABLE.fullmatch(lines[0])
    if form == "json":
        line = json.loads(lines[0])
        assert list(line) == ["time", "level", "logger", "message"]
        assert (line["level"], line["logger"]) == ("warning", "skillway.tests")
        assert line["message"].startswith("before ")
        assert PRINTABLE.fullmatch(line["message"])
        assert len(line["message"]) <= 4096 * 6
    else:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning before ", lines[0])


def test_the_text_of_an_exception_is_not_in_its_trace(
    capfd: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    for form in ("json", "text"):
        logs.set_up(form)
        try:
            _fail("planted-in-an-exception")
        except ValueError as error:
            logging.getLogger("skillway.tests").error("failed: %s", type(error).__name__, exc_info=error)
        said = capfd.readouterr().err
        assert "planted" not in said
        assert "ValueError" in said
        assert re.search(r"test_logs\.py:\d+ in _fail", said)


def test_what_libraries_say_below_a_warning_is_not_written(
    capfd: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    logs.set_up("json")
    for name in ("aiohttp.server", "aiohttp.access", "aiosqlite", "asyncio", "asyncpg", "authlib"):
        logging.getLogger(name).info("planted")
    # aiohttp's server repeats what it could not parse, even in errors.
    logging.getLogger("aiohttp.server").error("planted")
    assert capfd.readouterr().err == ""


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """The loggers as they were: `set_up` is for a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    named = {name: logging.getLogger(name).level for name in ("skillway", "aiohttp")}
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in named.items():
        logging.getLogger(name).setLevel(before)


def _fail(secret: str) -> None:
    raise ValueError(f"it holds {secret}")


# ------------------------------------------------------------------------------------- hostile strings, over sockets


class Echo(Upstream):
    """Says back whatever it is asked, also as the reason of a refused token request."""

    @route("POST", "/token")
    def token(self, asked: Asked) -> Answer:
        said = asked.seen.body.decode() + " " + str(asked.seen.header("Authorization"))
        return json_answer({"error": "invalid_grant", "error_description": said}, 400)

    @route("GET", "/elsewhere")
    def elsewhere(self, asked: Asked) -> Answer:
        # Where nobody is, with the credential in the address as it came.
        return Answer(status=302, headers={"Location": f"http://127.0.0.1:1/?{asked.seen.raw_path.partition('?')[2]}"})

    @route("GET", "/{path...}")
    def answer(self, asked: Asked) -> Answer:
        return json_answer({"said": asked.seen.raw_path, "headers": asked.seen.headers})


async def test_every_line_parses_whatever_stands_in_a_request(tmp_path: Path) -> None:
    await _send_everywhere(tmp_path, HOSTILE)


@pytest.mark.shared
async def test_every_line_parses_whatever_naughty_string_stands_in_a_request(tmp_path: Path, shared: Path) -> None:
    naughty = json.loads((shared / "hostile" / "naughty-strings.json").read_text())
    assert len(naughty) > 500
    await _send_everywhere(tmp_path, naughty)


async def test_every_line_of_the_text_form_is_whole(tmp_path: Path) -> None:
    log = await _send_everywhere(tmp_path, HOSTILE, form="text")
    for line in log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|error) ", line), line


async def _send_everywhere(folder: Path, strings: Sequence[str], *, form: str = "json") -> str:
    """Sends each string in every place that a client fills; gives back the log, of which each line was checked."""
    async with serve(Echo()) as echo:
        definitions = write_definitions(folder, _definition("echo", echo.base_url))
        async with gateway_process(folder, definitions=definitions, log_format=form) as running:
            await running.connect("echo", {"token": "t"}, auth="bearer")
            answers = await asyncio.gather(*(_places(running, text) for text in strings))
    sent = sum(answers)
    log = (folder / "log").read_text()
    assert log.endswith("\n")
    lines = log[:-1].split("\n")
    assert all(PRINTABLE.fullmatch(line) for line in lines)
    requests = [line for line in lines if re.search(r"(GET|POST|DELETE) \S+ \d{3}", line)]
    # One line for each request, and one for the connect above; nothing that was sent made a line of its own.
    assert len(requests) == sent + 1
    if form == "json":
        for line in lines:
            parsed = json.loads(line)
            assert set(parsed) <= {
                "time",
                "level",
                "logger",
                "message",
                "request_id",
                "ms",
                "peer",
                "org",
                "key",
                "trace",
            }
            assert parsed["logger"].startswith("skillway.")
    return log


async def _places(running: RunningGateway, text: str) -> int:
    """One request for each place; how many they were."""
    in_path = quote(text.encode("utf-8", "surrogatepass"), safe="")[:2000]
    header = "".join(char for char in text if char.isascii() and char.isprintable())[:2000]
    requests: list[tuple[str, str, Any, dict[str, str]]] = [
        ("GET", f"/v1/skills/{in_path}x", None, {}),
        ("GET", f"/v1/connections/{in_path}x", None, {}),
        ("POST", f"/v1/echo/{in_path}x", {}, {}),
        ("GET", f"/v1/skills?user={in_path}", None, {}),
        ("GET", f"/v1/skills?{in_path}=1", None, {}),
        ("GET", f"/oauth/callback/echo?state={in_path}&code={in_path}&error={in_path}", None, {}),
        ("POST", "/v1/echo/ask", {"params": {"note": text}}, {}),
        ("POST", "/v1/echo/ask", {"params": {text: 1}}, {}),
        ("POST", "/v1/echo/ask", {"params": {}, "user": text}, {}),
        ("POST", "/v1/echo/ask", {"params": {}, "connection": text}, {}),
        ("POST", "/v1/echo/ask", {text: {}}, {}),
        ("POST", "/v1/connect", {"integration": text}, {}),
        ("POST", "/v1/connect", {"integration": "echo", "label": text, "credentials": {"token": text}}, {}),
        ("POST", "/v1/connect", {"integration": "echo", "redirect_url": text}, {}),
        ("GET", "/v1/verify", None, {"Authorization": f"Bearer {header}"}),
        (
            "GET",
            "/v1/verify",
            None,
            {"User-Agent": header, "X-Forwarded-For": header, "X-Request-Id": header, "Referer": header},
        ),
    ]
    for method, path, body, headers in requests:
        if body is not None:
            raw = json.dumps(body).encode()
            answer = await running.ask(method, path, raw=raw, headers=headers)
        else:
            answer = await running.ask(method, path, headers=headers)
        assert answer.status < 500, (method, path, body, answer.body)
    return len(requests)


# ------------------------------------------------------------------------------------------------------- secrets


async def test_no_planted_secret_is_in_any_line(tmp_path: Path) -> None:
    planted = {
        name: f"planted{random_hex(16)}"
        for name in ("client_secret", "code", "api_key", "bearer", "wrong_key", "query_key", "path", "param", "field",
                     "credential", "state", "cookie", "description")
    }  # fmt: skip
    async with serve(Echo()) as echo:
        dead = _definition("dead", "http://127.0.0.1:1")
        moved = _definition("moved", echo.base_url, path="/elsewhere", redirect="follow")
        definitions = write_definitions(tmp_path, _definition("echo", echo.base_url), dead, moved)
        client = {"client_id": "gateway", "client_secret": planted["client_secret"]}
        async with gateway_process(
            tmp_path, definitions=definitions, integrations={"echo": client}, log_format="json"
        ) as running:
            ask = running.ask
            # A whole OAuth flow whose token endpoint says back, as the reason of its refusal, all that it was sent.
            begun = await ask("POST", "/v1/connect", body={"integration": "echo", "auth": "oauth", "user": "ann"})
            async with running.session.post(begun.json()["oauth_url"], allow_redirects=False) as clicked:
                asked = parse_qs(urlsplit(clicked.headers["Location"]).query)
            back = {"code": planted["code"], "state": asked["state"][0]}
            async with running.session.get(asked["redirect_uri"][0], params=back) as landed:
                await landed.read()
            polled = (await ask("GET", f"/v1/connect/{begun.json()['connection_id']}")).json()
            assert polled["status"] == "error"
            await ask(
                "GET",
                f"/oauth/callback/echo?state={planted['state']}&code={planted['code']}"
                f"&error=access_denied&error_description={planted['description']}",
                key="",
                headers={"Cookie": f"skillway_browser={planted['cookie']}"},
            )
            # A key in the query, to an upstream that is not there, and over a redirect to where nobody is.
            for slug in ("dead", "moved", "echo"):
                await ask("POST", "/v1/connect", body={
                    "integration": slug, "auth": "query", "credentials": {"api_key": planted["api_key"]}})  # fmt: skip
                await running.call(slug, "ask", {"note": planted["param"]})
                await ask("POST", f"/v1/{slug}/ask?raw=1", body={"params": {"note": planted["param"]}})
            await ask("POST", "/v1/connect", body={
                "integration": "dead", "auth": "bearer", "user": "bob", "credentials": {"token": planted["bearer"]}})  # fmt: skip
            await running.call("dead", "ask", {}, user="bob")
            # What people put into the wrong place.
            await ask("GET", "/v1/skills", key=planted["wrong_key"])
            await ask("GET", f"/v1/skills?api_key={planted['query_key']}")
            await ask("GET", f"/v1/skills/{planted['path']}")
            await ask("GET", f"/{planted['path']}/x")
            await ask("POST", "/v1/echo/ask", body={"params": {planted["param"]: planted["param"]}})
            await ask("POST", "/v1/echo/ask", body={planted["field"]: 1})
            await ask(
                "POST", "/v1/connect", body={"integration": "echo", "credentials": {"nonsense": planted["credential"]}}
            )
            master = (running.data_dir / "master.key").read_text().strip()
            secrets = {**planted, "live key": running.org.live, "test key": running.org.test, "master key": master,
                       "real state": asked["state"][0], "challenge": asked["code_challenge"][0]}  # fmt: skip
            seen = echo.seen[:]
    verifiers = [parse_qs(request.body.decode()).get("code_verifier", []) for request in seen]
    assert any(verifiers), "the token endpoint was asked"
    secrets["verifier"] = next(found[0] for found in verifiers if found)
    assert any(planted["code"].encode() in request.body for request in seen)
    assert any(planted["api_key"] in request.raw_path for request in seen)
    log = (tmp_path / "log").read_bytes()
    said = [json.loads(line)["message"] for line in log.splitlines()]
    assert any("upstream_unreachable" in message for message in said)
    assert any("not redeemed" in message for message in said)
    found = {name: spelling for name, secret in secrets.items() for spelling in spellings(secret) if spelling in log}
    assert found == {}


async def test_the_password_of_the_database_is_in_no_line_when_it_fails(tmp_path: Path) -> None:
    try:
        with postgres_server(fsync=False) as server:
            url = fresh_database(server.url)
            password = str(urlsplit(url).password)
            async with gateway_process(tmp_path, database_url=url, log_format="json") as running:
                await running.ask("GET", "/v1/verify")
                server.stop()
                for _ in range(3):
                    await running.call("github", "get_rate_limit", {})
                    assert (await running.ask("GET", "/readyz", key="")).status == 503
                    await asyncio.sleep(0.4)
                server.start()
    except PostgresMissing as error:
        lacking(str(error))
    log = (tmp_path / "log").read_bytes()
    assert b"storage_unavailable" in log or b"the store refuses" in log
    assert [spelling for spelling in spellings(password) if spelling in log] == []


def spellings(secret: str) -> list[bytes]:
    """The secret as it may stand in a text: plain, in URLs, in hex, and in base64 wherever it begins."""
    plain = secret.encode()
    found = {
        plain,
        quote(secret).encode(),
        quote(secret, safe="").encode(),
        plain.hex().encode(),
        plain.hex().upper().encode(),
    }
    found |= {json.dumps(secret)[1:-1].encode(), plain[::-1]}
    for offset in range(3):
        inner = base64.b64encode(b"\0" * offset + plain)
        # The first and last characters share their bits with what stands beside the secret.
        whole = inner[-(-offset * 8 // 6) : len(inner) - 4]
        found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return [spelling for spelling in found if len(spelling) > 12]


def test_the_search_finds_a_secret_in_each_spelling() -> None:
    secret = "planted-secret/with+signs 0123456789"
    for around in ("", "a", "ab", "abc"):
        text = f"{around}{secret}{around}".encode()
        for written in (
            text,
            text.hex().encode(),
            base64.b64encode(text),
            base64.urlsafe_b64encode(text),
            quote(text).encode(),
        ):
            assert any(spelling in written for spelling in spellings(secret)), written


def _definition(slug: str, base_url: str, *, path: str = "/ask", redirect: str | None = None) -> dict[str, Any]:
    action = {
        "description": "Asks.",
        "request": f"GET {path}",
        "params": {"note": {"type": "string"}},
        "examples": [{"params": {}, "response": {"status": 200, "data": {}}}],
    }
    oauth = {
        "name": "oauth", "type": "oauth2", "authorization_url": f"{base_url}/authorize", "token_url": f"{base_url}/token",
    }  # fmt: skip
    return {
        "slug": slug,
        "name": slug,
        "description": "Says back what it is asked.",
        "base_url": base_url,
        "auth": [
            oauth,
            {"name": "bearer", "type": "bearer"},
            {"name": "query", "type": "api_key", "in": "query", "as": "key"},
        ],
        "actions": {"ask": action | ({"redirect": redirect} if redirect else {})},
    }
