"""`skillway connect` and `skillway connections`."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.client import Client
from gateway.cli.connect import poll
from gateway.cli.failures import CommandFailed

from .gateway_fake import KEY, FakeGateway, Reply, error
from .shell import Shell, interrupt

POLL = ("GET", "/v1/connect/conn_new")


class HandClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds


@pytest.fixture
def client(fake: FakeGateway) -> Client:
    return Client(url=fake.url, api_key=KEY)


def nothing(_: str) -> None:
    """Nobody listens."""


def test_connect_ends_with_one_line_of_json(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("connect", "github", "--no-browser")
    assert (done.code, done.out) == (0, b'{"status":"connected","integration":"github"}\n')
    assert f"{fake.url}/connect/conn_new" in done.err
    assert "Connected as octocat." in done.err
    assert fake.calls("POST", "/v1/connect")[0].json == {"integration": "github"}


def test_what_to_ask_for_is_passed_on(fake: FakeGateway, shell: Shell) -> None:
    shell.run("connect", "github", "--no-browser", "--user", "ann", "--scopes", "repo, read:user", "--auth", "oauth")
    assert fake.calls("POST", "/v1/connect")[0].json == {
        "integration": "github",
        "user": "ann",
        "auth": "oauth",
        "scopes": ["repo", "read:user"],
    }


def test_it_asks_every_three_seconds_until_connected(fake: FakeGateway, client: Client) -> None:
    fake.polls_until_connected = 7
    clock = HandClock()
    assert poll(client, "conn_new", clock=clock, progress=nothing).members()["status"] == "connected"
    assert clock.slept == [3.0] * 6


def test_it_gives_up_after_five_minutes(fake: FakeGateway, client: Client) -> None:
    fake.polls_until_connected = 10_000
    clock = HandClock()
    assert poll(client, "conn_new", clock=clock, progress=nothing).members()["status"] == "pending"
    assert clock.passed == 300.0
    assert len(fake.calls(*POLL)) == 101


def test_a_gateway_that_stumbles_does_not_end_the_wait(fake: FakeGateway, client: Client) -> None:
    fake.polls_until_connected = 2
    fake.queued[POLL] = [
        error(503, "shutting_down", "Back soon."),
        error(429, "rate_limited", "Slow down."),
        Reply(body=b"half", cut_at=1),
    ]
    clock = HandClock()
    assert poll(client, "conn_new", clock=clock, progress=nothing).members()["status"] == "connected"
    assert clock.slept == [3.0] * 4


def test_a_gateway_that_stays_away_ends_the_wait(fake: FakeGateway, client: Client) -> None:
    fake.replies[POLL] = error(503, "storage_unavailable", "No database.")
    clock = HandClock()
    with pytest.raises(CommandFailed) as failed:
        poll(client, "conn_new", clock=clock, progress=nothing)
    assert (failed.value.exit_code, clock.slept) == (2, [3.0] * 4)


def test_a_connect_that_is_gone_ends_the_wait_at_once(fake: FakeGateway, client: Client) -> None:
    fake.replies[POLL] = error(404, "not_found", "Connect not found.")
    with pytest.raises(CommandFailed) as failed:
        poll(client, "conn_new", clock=HandClock(), progress=nothing)
    assert failed.value.exit_code == 1


def test_progress_is_told_once_a_change(fake: FakeGateway, client: Client) -> None:
    waiting = Reply(body=b'{"status":"pending","detail":"awaiting_confirmation"}')
    fake.queued[POLL] = [Reply(body=b'{"status":"pending"}'), waiting, waiting]
    told: list[str] = []
    poll(client, "conn_new", clock=HandClock(), progress=told.append)
    assert told == ["Pending: awaiting_confirmation"]


def test_a_connect_that_was_denied_is_a_failure(fake: FakeGateway, shell: Shell) -> None:
    state = b'{"status":"error","integration":"github","error":"access_denied","message":"The user said no."}'
    fake.replies[POLL] = Reply(body=state)
    done = shell.run("connect", "github", "--no-browser")
    assert (done.code, done.out) == (1, state + b"\n")
    assert done.err.endswith("Error: The user said no. (access_denied)\n")


def test_an_error_without_words_is_a_failure_too(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[POLL] = Reply(body=b'{"status":"error","integration":"github"}')
    done = shell.run("connect", "github", "--no-browser")
    assert (done.code, done.json["status"]) == (1, "error")


def test_a_plan_limit_and_an_unknown_integration_exit_1(fake: FakeGateway, shell: Shell) -> None:
    assert shell.run("connect", "gitbub").code == 1
    fake.replies["POST", "/v1/connect"] = error(403, "plan_limit_reached", "Plan limit reached.")
    assert shell.run("connect", "github").code == 1


@pytest.mark.parametrize(
    ("given", "credentials"),
    [
        (b"tok_secret\n", {"token": "tok_secret"}),
        (b'{"token": "t", "region": "eu"}', {"token": "t", "region": "eu"}),
    ],
)
def test_a_credential_comes_from_stdin(
    fake: FakeGateway, shell: Shell, given: bytes, credentials: dict[str, str]
) -> None:
    done = shell.run("connect", "github", "--credential-stdin", "--auth", "token", given=given)
    assert (done.code, done.json) == (0, {"status": "connected", "integration": "github"})
    assert fake.calls("POST", "/v1/connect")[0].json["credentials"] == credentials
    assert fake.calls(*POLL) == []
    assert "secret" not in done.err


def test_a_bare_token_is_an_api_key_where_the_method_wants_one(fake: FakeGateway, shell: Shell) -> None:
    fake.queued["POST", "/v1/connect"] = [
        error(400, "bad_request", "credentials: api_key is missing."),
        Reply(body=b'{"connection_id":"conn_2","status":"connected"}'),
    ]
    assert shell.run("connect", "github", "--credential-stdin", given=b"k").code == 0
    assert [asked.json["credentials"] for asked in fake.calls("POST", "/v1/connect")] == [
        {"token": "k"},
        {"api_key": "k"},
    ]


def test_a_bare_token_that_is_taken_as_nothing_is_told_both_reasons(fake: FakeGateway, shell: Shell) -> None:
    fake.queued["POST", "/v1/connect"] = [
        error(400, "bad_request", "No method takes token."),
        error(400, "bad_request", "That api_key is too short."),
    ]
    done = shell.run("connect", "github", "--credential-stdin", given=b"secret")
    assert done.code == 1
    assert "As token: No method takes token. As api_key: That api_key is too short." in done.err
    assert "secret" not in done.err


def test_the_key_file_of_a_service_account_is_given_as_it_was_downloaded(fake: FakeGateway, shell: Shell) -> None:
    fake.queued["POST", "/v1/connect"] = [
        error(400, "bad_request", "No auth method takes client_email, private_key, type."),
        Reply(body=b'{"connection_id":"conn_2","status":"connected"}'),
    ]
    key = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
    file = {"type": "service_account", "client_email": "robot@acme.example", "private_key": key}
    done = shell.run("connect", "drive", "--credential-stdin", given=json.dumps(file).encode())
    assert done.code == 0
    assert [asked.json["credentials"] for asked in fake.calls("POST", "/v1/connect")] == [file, {"key_file": file}]
    assert "MIIE" not in done.err + done.out.decode()


@pytest.mark.parametrize("given", [b"", b"  \n", b"{broken"])
def test_a_credential_that_is_none_is_not_sent(fake: FakeGateway, shell: Shell, given: bytes) -> None:
    assert shell.run("connect", "github", "--credential-stdin", given=given).code == 1
    assert fake.asked == []


def recorder(folder: Path) -> tuple[str, Callable[[], list[str]]]:
    """A browser that writes down its arguments and chatters, and what it wrote."""
    script, seen = folder / "browser", folder / "seen"
    script.write_text(f'#!/bin/sh\necho chatter on stdout\nprintf "%s\\n" "$@" >> "{seen}"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script), lambda: seen.read_text().splitlines() if seen.exists() else []


def test_a_browser_is_opened_without_a_shell_and_kept_off_stdout(
    fake: FakeGateway, shell: Shell, tmp_path: Path
) -> None:
    browser, seen = recorder(tmp_path)
    address = f"{fake.url}/connect/conn_new?a=1&b=$(touch%20x);c='d'"
    fake.replies["POST", "/v1/connect"] = Reply(
        body=f'{{"connection_id":"conn_new","oauth_url":"{address}","status":"pending"}}'.encode()
    )
    done = shell.with_environment(BROWSER=browser).run("connect", "github")
    assert (done.code, done.out) == (0, b'{"status":"connected","integration":"github"}\n')
    assert seen() == [address]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://gw.example/x",
        "https://gw.example/ ; rm -rf x",
        "-h",
    ],
)
def test_no_browser_is_sent_to_an_address_that_is_not_safe(
    fake: FakeGateway, shell: Shell, tmp_path: Path, address: str
) -> None:
    browser, seen = recorder(tmp_path)
    fake.replies["POST", "/v1/connect"] = Reply(
        body=f'{{"connection_id":"conn_new","oauth_url":"{address}","status":"pending"}}'.encode()
    )
    done = shell.with_environment(BROWSER=browser).run("connect", "github")
    assert seen() == []
    assert "no browser is sent there" in done.err


def test_no_browser_means_none(fake: FakeGateway, shell: Shell, tmp_path: Path) -> None:
    browser, seen = recorder(tmp_path)
    assert shell.with_environment(BROWSER=browser).run("connect", "github", "--no-browser").code == 0
    assert seen() == []


def test_ctrl_c_ends_the_wait_cleanly(fake: FakeGateway, shell: Shell) -> None:
    fake.polls_until_connected = 10_000
    child = shell.start("connect", "github", "--no-browser")
    while not fake.calls(*POLL):
        assert child.poll() is None
    done = interrupt(child)
    assert (done.code, done.out) == (130, b"")
    assert done.err.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in done.err


def test_connections_are_listed_and_removed(fake: FakeGateway, shell: Shell) -> None:
    assert [known["id"] for known in shell.run("connections").json["connections"]] == ["conn_1"]
    done = shell.run("connections", "rm", "conn_1")
    assert (done.code, done.json) == (0, {"id": "conn_1", "removed": True})
    assert shell.run("connections").json == {"connections": []}
    assert shell.run("connections", "rm", "conn_1").code == 1


def test_an_id_never_becomes_another_path(fake: FakeGateway, shell: Shell) -> None:
    assert shell.run("connections", "rm", "../skills").code == 1
    assert fake.asked == []
