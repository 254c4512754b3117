"""What a person sees: the commands on a real terminal."""

from __future__ import annotations

from .gateway_fake import FakeGateway, Reply, error, upstream
from .shell import Shell, without_colour

EXECUTE = ("POST", "/v1/github/create_issue")


def test_lists_are_tables(shell: Shell) -> None:
    shown = without_colour(shell.on_terminal("skills").out).splitlines()
    assert [line.split() for line in shown] == [
        ["integration", "connected", "available", "actions", "description"],
        ["github", "yes", "yes", "1", "Issues", "and", "more."],
    ]
    assert "create_issue  POST" in without_colour(shell.on_terminal("skills", "github").out)
    assert "conn_1  github" in without_colour(shell.on_terminal("connections").out)
    assert "create_issue" in without_colour(shell.on_terminal("skills", "--search", "issue").out)
    assert "org.name" in without_colour(shell.on_terminal("whoami").out)


def test_an_action_is_a_page(shell: Shell) -> None:
    shown = without_colour(shell.on_terminal("skills", "github", "create_issue").out)
    for words in (
        "POST /repos/{+repo}/issues",
        "array of string",
        "Owner and name.",
        "Examples",
        "410: Issues are",
    ):
        assert words in shown


def test_json_is_given_on_a_terminal_to_who_asks(shell: Shell) -> None:
    assert without_colour(shell.on_terminal("skills", "--json").out).startswith('{\n  "integrations": [')


def test_tables_fit_the_terminal(fake: FakeGateway, shell: Shell) -> None:
    wide = {
        "slug": "github",
        "connected": True,
        "available": True,
        "skill_count": 1,
        "description": "日本語" * 100,
    }
    fake.replies["GET", "/v1/skills"] = _json({"integrations": [wide]})
    row = without_colour(shell.on_terminal("skills", columns=80).out).splitlines()[1]
    assert row.endswith("…")
    assert len(row) + sum(mark in "日本語" for mark in row) <= 80


def test_colour_is_for_terminals_without_no_color(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = error(400, "bad_request", "No.")
    for words in (["skills"], ["run", "github", "create_issue"]):
        assert b"\x1b[" in shell.on_terminal(*words).out
        assert b"\x1b[3" not in shell.with_environment(NO_COLOR="1").on_terminal(*words).out
        assert b"\x1b[" not in shell.with_environment(TERM="dumb").on_terminal(*words).out
        done = shell.run(*words)
        assert b"\x1b[" not in done.out + done.err.encode()


def test_an_answer_is_indented_with_its_numbers_as_they_came(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = upstream(200, '{"b": 1.0, "a": 1e400}')
    shown = without_colour(shell.on_terminal("run", "github", "create_issue").out)
    assert shown == '{\n  "status": 200,\n  "data": {\n    "b": 1.0,\n    "a": 1e400\n  }\n}\n'


def test_nothing_from_afar_steers_the_terminal(fake: FakeGateway, shell: Shell) -> None:
    shell = shell.with_environment(NO_COLOR="1")
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r"
    fake.replies["GET", "/v1/skills"] = _json({"integrations": [{"slug": evil, "description": evil}]})
    fake.replies[EXECUTE] = upstream(200, f'"{evil[:0]}\\u001b[2J\u009b\u202e"')
    fake.replies["GET", "/v1/verify"] = _json({evil: evil})
    fake.replies["GET", "/v1/connections"] = error(400, "bad_request", evil)
    for words in (["skills"], ["run", "github", "create_issue"], ["whoami"], ["connections"]):
        shown = shell.on_terminal(*words).out
        assert b"2J" in shown
        assert not {0x1B, 0x07, 0x0D}.intersection(shown), words
        assert not any(hidden in shown.decode() for hidden in "\x9b\u202e"), words


def test_deep_answers_are_shown_without_failing(fake: FakeGateway, shell: Shell) -> None:
    for depth in (400, 900, 5000):
        fake.replies[EXECUTE] = upstream(200, "[" * depth + "]" * depth)
        done = shell.on_terminal("run", "github", "create_issue")
        assert (done.code, done.out.count(b"]")) == (0, depth)


def test_a_refusal_is_told_once_and_in_words(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = error(403, "plan_limit_reached", "No more.", action_url="https://gw.example/upgrade")
    shown = without_colour(shell.on_terminal("run", "github", "create_issue").out)
    assert shown == "Error: No more. (plan_limit_reached)\nFix: https://gw.example/upgrade\n"


def test_a_slow_call_turns_a_spinner_and_leaves_nothing_of_it(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = Reply(body=upstream(200, "1").body, after=0.8)
    shown = shell.on_terminal("run", "github", "create_issue").out
    assert "⠋".encode() in shown
    assert b"\r\x1b[K{" in shown.replace(b"\x1b[36m", b"")
    assert "⠋".encode() not in shell.run("run", "github", "create_issue").err.encode()


def test_raw_text_is_shown_and_raw_bytes_are_kept_from_the_terminal(fake: FakeGateway, shell: Shell) -> None:
    headers = {"Content-Type": "text/plain; charset=latin-1", "X-Upstream-Status": "200"}
    fake.replies[EXECUTE] = Reply(body=b"caf\xe9 \x1b[2J\nnext", headers=headers)
    assert shell.on_terminal("run", "--raw", "github", "create_issue").out.decode() == "café \\x1b[2J\nnext\n"
    headers = {"Content-Type": "application/zip", "X-Upstream-Status": "200"}
    fake.replies[EXECUTE] = Reply(body=b"PK\x03\x04", headers=headers)
    shell = shell.with_environment(TMPDIR=str(shell.folder))
    shown = shell.on_terminal("run", "--raw", "github", "create_issue").out
    assert b"PK" not in shown
    (kept,) = shell.folder.iterdir()
    assert kept.read_bytes() == b"PK\x03\x04"
    assert kept.name in shown.decode()


def _json(value: object) -> Reply:
    import json

    return Reply(body=json.dumps(value).encode())


def test_whoever_changed_a_pulled_file_is_asked_before_it_is_overwritten(shell: Shell) -> None:
    skill = shell.folder / ".skillway/skills/skillway-github/SKILL.md"
    assert shell.on_terminal("pull", "github").code == 0
    skill.write_text("mine")
    kept = shell.on_terminal("pull", "github", typed="n\n", prompt="Overwrite?")
    assert b"SKILL.md. Overwrite? [y/N]" in kept.out
    assert kept.code != 0 and skill.read_text() == "mine"
    assert shell.on_terminal("pull", "github", typed="y\n", prompt="Overwrite?").code == 0
    assert skill.read_text() != "mine"
