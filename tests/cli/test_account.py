"""`skillway login`, `logout`, `whoami`, and which key goes where."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml

from .gateway_fake import KEY, FakeGateway
from .shell import Shell


@pytest.fixture
def stranger(shell: Shell) -> Shell:
    """A shell that knows the address of the gateway and no key."""
    return shell.with_environment(SKILLWAY_API_KEY=None)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_from_stdin_is_tried_and_stored_for_this_user_alone(fake: FakeGateway, stranger: Shell) -> None:
    done = stranger.run("login", "--key-stdin", given=f"{KEY}\n".encode())
    assert (done.code, done.json) == (0, {"status": "logged_in", "url": fake.url, "key_prefix": KEY[:16]})
    assert [asked.path for asked in fake.asked] == ["/v1/skills"]
    assert json.loads(stranger.config.read_text()) == {"url": fake.url, "api_key": KEY}
    assert mode_of(stranger.config) == 0o600
    assert mode_of(stranger.config.parent) == 0o700
    assert os.listdir(stranger.config.parent) == ["config.json"]
    assert KEY not in done.err


def test_the_stored_key_is_used_from_then_on(fake: FakeGateway, stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    assert stranger.with_environment(SKILLWAY_URL=None).run("skills").code == 0


def test_without_xdg_config_home_the_file_is_below_config(stranger: Shell) -> None:
    home = Path(stranger.environment["HOME"])
    for value in (None, "relative/path"):
        assert (
            stranger.with_environment(XDG_CONFIG_HOME=value).run("login", "--key-stdin", given=KEY.encode()).code == 0
        )
        (home / ".config" / "skillway" / "config.json").unlink()


@pytest.mark.parametrize("key", ["sk_live_gw_wrong", "", "two words", "a\r\nX-Evil: 1", "ключ"])
def test_a_key_that_does_not_work_is_not_stored(stranger: Shell, key: str) -> None:
    done = stranger.run("login", "--key-stdin", given=key.encode())
    assert done.code == 1
    assert not stranger.config.exists()
    assert not key or key not in done.err


def test_a_failed_login_keeps_the_one_before(stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    before = stranger.config.read_bytes()
    assert stranger.run("login", "--key-stdin", given=b"wrong").code == 1
    assert stranger.config.read_bytes() == before


def test_the_address_is_checked(stranger: Shell) -> None:
    for url in (
        "ftp://x",
        "nonsense",
        "http://",
        "http://key@127.0.0.1:1",
        "http://127.0.0.1:99999",
        "http://a b",
    ):
        done = stranger.run("login", "--url", url, "--key-stdin", given=KEY.encode())
        assert done.code == 1, url
        assert "is not the address of a gateway" in done.err


def test_a_key_is_asked_for_without_showing_it(stranger: Shell) -> None:
    done = stranger.on_terminal("login", typed=f"{KEY}\n", prompt="API key for")
    assert done.code == 0
    assert KEY.encode() not in done.out
    assert json.loads(stranger.config.read_text())["api_key"] == KEY


@pytest.mark.parametrize("typed", ["\x03", "\x04"])
def test_giving_up_at_the_prompt_ends_cleanly(stranger: Shell, typed: str) -> None:
    done = stranger.on_terminal("login", typed=typed, prompt="API key for")
    assert done.code == 130
    assert b"Traceback" not in done.out
    assert not stranger.config.exists()


def test_a_file_that_others_could_read_is_closed_to_them(stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    stranger.config.chmod(0o644)
    done = stranger.run("whoami")
    assert (done.code, mode_of(stranger.config)) == (0, 0o600)
    assert "0600" in done.err


def test_a_stored_key_is_shown_to_no_other_gateway(fake: FakeGateway, stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    with FakeGateway() as other:
        done = stranger.with_environment(SKILLWAY_URL=other.url).run("whoami")
        assert (done.code, other.asked) == (1, [])
        assert "belongs to" in done.err


def test_the_environment_goes_before_the_file(fake: FakeGateway, shell: Shell) -> None:
    shell.config.parent.mkdir(parents=True)
    shell.config.write_text('{"url": "http://127.0.0.1:1", "api_key": "wrong"}')
    shell.config.chmod(0o600)
    assert shell.run("whoami").code == 0


def test_a_broken_file_is_told_and_mended_by_a_login(stranger: Shell) -> None:
    stranger.config.parent.mkdir(parents=True)
    stranger.config.write_text("{broken")
    stranger.config.chmod(0o600)
    assert "cannot be read" in stranger.run("whoami").err
    assert stranger.run("login", "--key-stdin", given=KEY.encode()).code == 0
    assert stranger.run("whoami").code == 0


def test_logout_forgets_the_key(stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    assert stranger.run("logout").json == {"status": "logged_out"}
    assert not stranger.config.exists()
    done = stranger.run("whoami")
    assert (done.code, done.json["error"]) == (1, "unauthorized")
    assert "skillway login" in done.err
    assert stranger.run("logout").code == 0


def test_whoami_is_what_the_gateway_says(shell: Shell) -> None:
    assert shell.run("whoami").json["api_key"]["key_prefix"] == KEY[:16]


def test_login_tells_agents_about_the_command(stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    text = (stranger.folder / ".skillway" / "skills" / "skillway" / "SKILL.md").read_text()
    assert text.startswith("---\nname: skillway\n")
    for words in ("skillway help", "skillway skills", "skillway run"):
        assert words in text


@pytest.mark.parametrize(
    ("platform", "file"),
    [
        ("claude", ".claude/skills/skillway/SKILL.md"),
        ("cursor", ".cursor/rules/skillway/skillway.mdc"),
        ("windsurf", ".windsurf/rules/skillway/skillway.md"),
    ],
)
def test_login_tells_each_platform_in_its_own_form(stranger: Shell, platform: str, file: str) -> None:
    (stranger.folder / f".{platform}").mkdir()
    stranger.run("login", "--key-stdin", given=KEY.encode())
    head = yaml.safe_load((stranger.folder / file).read_text().split("---\n")[1])
    assert head.keys() == {
        "claude": {"name", "description", "allowed-tools"},
        "cursor": {"description", "globs", "alwaysApply"},
        "windsurf": {"trigger", "description"},
    }[platform]
    assert head["description"].startswith("Call third-party services")


def test_login_leaves_a_core_skill_that_somebody_changed(stranger: Shell) -> None:
    stranger.run("login", "--key-stdin", given=KEY.encode())
    skill = stranger.folder / ".skillway/skills/skillway/SKILL.md"
    skill.write_text("mine")
    again = stranger.run("login", "--key-stdin", given=KEY.encode())
    assert (again.code, skill.read_text()) == (0, "mine")
    assert "was changed here, and is left as it is" in again.err


def test_login_writes_no_skill_where_none_is_wanted(stranger: Shell) -> None:
    assert stranger.run("login", "--key-stdin", "--no-skill", given=KEY.encode()).code == 0
    assert list(stranger.folder.iterdir()) == []


def test_no_option_takes_a_key_on_the_command_line(stranger: Shell) -> None:
    for words in (
        ["login", "--key", KEY],
        ["login", "--api-key", KEY],
        ["connect", "github", "--token", KEY],
    ):
        assert stranger.run(*words).code == 1
    for command in ("login", "connect", "run"):
        listed = stranger.run(command, "--help").out.decode()
        assert not any(f"--{name} " in listed for name in ("key", "api-key", "token", "credential", "password"))
