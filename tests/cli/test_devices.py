"""`skillway login` without a key: a code is shown, somebody approves it in a browser, and the key that comes is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.devices import sign_in_by_browser
from gateway.cli.failures import REFUSED, UNREACHED, CommandFailed

from .gateway_fake import KEY, FakeGateway, Reply, error
from .shell import Shell, interrupt
from .test_account import mode_of

CODE, TOKEN = ("POST", "/auth/device/code"), ("POST", "/auth/device/token")
PENDING = error(400, "authorization_pending", "Nobody has approved yet.")
SLOW_DOWN = error(400, "slow_down", "Too fast.")


class HandClock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 1000.0 + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def stranger(shell: Shell) -> Shell:
    """A shell that knows the address of the gateway and no key."""
    return shell.with_environment(SKILLWAY_API_KEY=None)


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A browser that notes where it was sent."""
    noted = tmp_path / "opened"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" >> {noted}\n')
    program.chmod(0o755)
    return program


def begun(**changes: object) -> Reply:
    usual = {
        "device_code": "the-device-code", "user_code": "BCDF-GHJK", "verification_uri": "http://127.0.0.1/device",
        "expires_in": 900, "interval": 5,
    }  # fmt: skip
    return Reply(body=json.dumps({**usual, **changes}).encode())


def test_on_a_terminal_an_empty_answer_signs_in_by_the_browser(fake: FakeGateway, stranger: Shell, browser: Path) -> None:
    shell = stranger.with_environment(BROWSER=str(browser), DISPLAY=":0", NO_COLOR="1", TERM="dumb")
    done = shell.on_terminal("login", typed="\n", prompt="API key for")
    shown = done.out.decode()
    assert done.code == 0, shown
    assert f"open this page: {fake.url}/device\n" in shown and "BCDF-GHJK" in shown
    assert f"Logged in to {fake.url}." in shown
    assert json.loads(shell.config.read_text()) == {"url": fake.url, "api_key": KEY}
    assert mode_of(shell.config) == 0o600
    assert KEY not in shown
    assert (browser.parent / "opened").read_text() == f"{fake.url}/device?user_code=BCDF-GHJK\n"


def test_without_a_browser_the_address_is_only_printed(fake: FakeGateway, stranger: Shell, browser: Path) -> None:
    shell = stranger.with_environment(BROWSER=str(browser), DISPLAY=":0")
    assert shell.on_terminal("login", "--no-browser", typed="\n", prompt="API key for").code == 0
    assert not (browser.parent / "opened").exists()


def test_without_a_terminal_nobody_is_asked_and_stdout_has_json_alone(fake: FakeGateway, stranger: Shell) -> None:
    done = stranger.run("login", "--no-browser")
    assert (done.code, done.json) == (0, {"status": "logged_in", "url": fake.url, "key_prefix": KEY[:16]})
    assert f"{fake.url}/device" in done.err and "BCDF-GHJK" in done.err
    assert "API key for" not in done.err and KEY not in done.err
    assert json.loads(stranger.config.read_text()) == {"url": fake.url, "api_key": KEY}
    assert mode_of(stranger.config) == 0o600
    [asked] = fake.calls(*CODE)
    assert "authorization" not in asked.headers
    assert asked.json["device_name"].startswith("skillway on ")
    assert [asked.json for asked in fake.calls(*TOKEN)] == [{"device_code": "the-device-code"}] * 2
    # The new key was tried like any other.
    assert len(fake.calls("GET", "/v1/skills")) == 1


def test_a_key_from_stdin_goes_before(fake: FakeGateway, stranger: Shell) -> None:
    assert stranger.run("login", "--key-stdin", given=KEY.encode()).code == 0
    assert fake.calls(*CODE) == []


@pytest.mark.parametrize(("code", "said"), [("access_denied", "denied"), ("expired_token", "expired")])
def test_a_refusal_ends_it_with_its_words(fake: FakeGateway, stranger: Shell, code: str, said: str) -> None:
    fake.replies[TOKEN] = error(400, code, "It was " + said + ".")
    done = stranger.run("login", "--no-browser")
    assert (done.code, done.json["error"]) == (1, code)
    assert f"It was {said}." in done.err
    assert not stranger.config.exists()


def test_a_login_that_is_given_up_keeps_the_one_before(fake: FakeGateway, stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    before = stranger.config.read_bytes()
    fake.replies[TOKEN] = PENDING
    child = stranger.start("login", "--no-browser")
    while not fake.calls(*TOKEN):
        assert child.poll() is None
    assert interrupt(child).code == 130
    assert stranger.config.read_bytes() == before


def test_the_gateways_pace_is_kept_and_slow_down_honoured(fake: FakeGateway, clock: HandClock) -> None:
    fake.queued[CODE] = [begun(interval=7)]
    fake.queued[TOKEN] = [PENDING, SLOW_DOWN, PENDING, SLOW_DOWN]
    fake.polls_until_approved = 0
    assert sign_in_by_browser(fake.url, browser=False, clock=clock) == KEY
    assert clock.slept == [7, 7, 12, 12, 17]


def test_it_gives_up_when_the_code_is_over(fake: FakeGateway, clock: HandClock) -> None:
    for lifetime, most in ((900, 900), (60, 60), (10**9, 900)):
        fake.queued[CODE] = [begun(expires_in=lifetime)]
        fake.replies[TOKEN] = PENDING
        clock.slept.clear()
        with pytest.raises(CommandFailed) as failed:
            sign_in_by_browser(fake.url, browser=False, clock=clock)
        assert (failed.value.exit_code, failed.value.problem.code) == (REFUSED, "expired_token")
        assert most - 5 < sum(clock.slept) <= most


def test_without_an_interval_it_is_five_seconds(fake: FakeGateway, clock: HandClock) -> None:
    for odd in ({"interval": None}, {"interval": "x"}, {"interval": 0}, {"interval": -5}):
        fake.queued[CODE] = [begun(**odd)]
        clock.slept.clear()
        assert sign_in_by_browser(fake.url, browser=False, clock=clock) == KEY
        assert clock.slept[0] == (1 if odd["interval"] in (0, -5) else 5)


def test_a_gateway_that_restarts_meanwhile_is_waited_for(fake: FakeGateway, clock: HandClock) -> None:
    down = error(503, "shutting_down", "The gateway is stopping.")
    fake.queued[TOKEN] = [PENDING, down, down, down, PENDING, down]
    fake.polls_until_approved = 0
    assert sign_in_by_browser(fake.url, browser=False, clock=clock) == KEY
    fake.replies[TOKEN] = down
    with pytest.raises(CommandFailed) as failed:
        sign_in_by_browser(fake.url, browser=False, clock=clock)
    assert failed.value.exit_code == UNREACHED


@pytest.mark.parametrize(
    ("route", "answer"),
    [
        (CODE, Reply(body=b"{}")),
        (CODE, Reply(body=b"[]")),
        (CODE, error(404, "not_found", "There is no such route.")),
        (CODE, error(429, "rate_limited", "Too many devices.")),
        (TOKEN, Reply(body=b"{}")),
        (TOKEN, Reply(body=b'{"access_token": "two words"}')),
        (TOKEN, Reply(body=b'{"access_token": "a\\r\\nX-Evil: 1"}')),
    ],
)
def test_what_is_no_device_login_is_told(
    fake: FakeGateway, clock: HandClock, route: tuple[str, str], answer: Reply
) -> None:
    fake.replies[route] = answer
    with pytest.raises(CommandFailed):
        sign_in_by_browser(fake.url, browser=False, clock=clock)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://evil.example/", "file:///etc/passwd", "https://x/;rm -rf"])
def test_no_browser_is_sent_to_what_is_no_page(
    fake: FakeGateway, stranger: Shell, browser: Path, address: str
) -> None:
    """T196."""
    fake.queued[CODE] = [begun(verification_uri=address, verification_uri_complete=address, interval=1)]
    fake.polls_until_approved = 0
    done = stranger.with_environment(BROWSER=str(browser), DISPLAY=":0").run("login")
    assert done.code == 0 and "no browser is sent there" in done.err
    assert not (browser.parent / "opened").exists()
