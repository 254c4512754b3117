"""`skillway run` as a child process: what is sent, what is printed, and the exit code."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from .gateway_fake import KEY, FakeGateway, Reply, error, upstream
from .shell import Shell, interrupt

EXECUTE = ("POST", "/v1/github/create_issue")
ISSUE = ("github", "create_issue", "--repo", "acme/webapp", "--title", "42")


def test_a_call_sends_typed_params_and_prints_the_answer_alone(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", *ISSUE, "--labels", "bug,priority", "--draft", "--per-page", "50")
    assert done.code == 0
    assert done.json["status"] == 201
    assert done.err == ""
    (call,) = fake.calls(*EXECUTE)
    assert call.json == {
        "params": {
            "repo": "acme/webapp",
            "title": "42",
            "labels": ["bug", "priority"],
            "draft": True,
            "per_page": 50,
        }
    }
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["content-type"] == "application/json"


def test_a_call_without_flags_asks_for_no_schema(fake: FakeGateway, shell: Shell) -> None:
    assert shell.run("run", "--params", '{"repo":"a/b","title":"x"}', "github", "create_issue").code == 0
    assert [asked.path for asked in fake.asked] == ["/v1/github/create_issue"]


def test_options_of_ours_stand_before_the_integration(fake: FakeGateway, shell: Shell) -> None:
    shell.run("run", "--user", "ann", "--connection", "conn_1", *ISSUE)
    assert fake.calls(*EXECUTE)[0].json == {
        "params": {"repo": "acme/webapp", "title": "42"},
        "user": "ann",
        "connection": "conn_1",
    }


def test_an_option_of_ours_after_the_action_is_a_param_and_is_said_to_be_one(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", *ISSUE, "--user", "ann")
    assert fake.calls(*EXECUTE)[0].json["params"]["user"] == "ann"
    assert done.code == 1
    assert "--user after the action is taken for a param" in done.err


def test_flags_go_before_what_params_say(fake: FakeGateway, shell: Shell) -> None:
    shell.run("run", "--params", '{"repo":"a/b","title":"old"}', "github", "create_issue", "--title", "new")
    assert fake.calls(*EXECUTE)[0].json == {"params": {"repo": "a/b", "title": "new"}}


def test_params_come_from_stdin_with_their_numbers_as_written(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", "--params", "-", "github", "create_issue", given=b'{"weight":1e400,"per_page":1.0}')
    assert done.code == 0
    assert fake.calls(*EXECUTE)[0].body == b'{"params":{"weight":1e400,"per_page":1.0}}'


def test_a_param_that_is_not_known_gets_the_hint_of_the_gateway(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", *ISSUE, "--titel", "x")
    assert done.code == 1
    assert done.json["error"] == "bad_request"
    assert done.err == "Error: titel is no param of create_issue. (bad_request)\nHint: Did you mean title?\n"


def test_a_file_is_sent_in_base64(fake: FakeGateway, shell: Shell) -> None:
    (shell.folder / "site.tar").write_bytes(b"\x00\xff")
    shell.run("run", *ISSUE, "--bundle", "site.tar")
    sent = fake.calls(*EXECUTE)[0].json["params"]["bundle"]
    assert sent == {"filename": "site.tar", "content_type": "application/x-tar", "content": "AP8="}


def test_the_answer_of_the_gateway_is_printed_byte_for_byte(fake: FakeGateway, shell: Shell) -> None:
    data = '{"b": 1.0, "a": 1e400, "big": 123456789012345678901234567890, "dup": 1, "dup": 2, "\\u00e9": "é"}'
    fake.replies[EXECUTE] = upstream(200, data)
    done = shell.run("run", "github", "create_issue")
    assert done.out == fake.replies[EXECUTE].body + b"\n"
    assert done.code == 0


def test_an_answer_nested_deeper_than_we_read_is_still_an_answer(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = upstream(201, "[" * 5000 + "]" * 5000)
    done = shell.run("run", "github", "create_issue")
    assert (done.code, done.out) == (0, fake.replies[EXECUTE].body + b"\n")


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, 0), (204, 0), (302, 0), (304, 0), (400, 1), (404, 1), (408, 1), (429, 1), (500, 2), (503, 2)],
)
@pytest.mark.parametrize("header", [True, False])
def test_the_exit_code_tells_what_the_upstream_said(
    fake: FakeGateway, shell: Shell, status: int, code: int, header: bool
) -> None:
    reply = upstream(status, '{"message": "said"}')
    fake.replies[EXECUTE] = reply if header else Reply(body=reply.body)
    done = shell.run("run", "github", "create_issue")
    assert (done.code, done.json["status"]) == (code, status)
    assert (f"The upstream answered {status}." in done.err) == (status >= 400)


@pytest.mark.parametrize(
    ("status", "error_code", "code"),
    [
        (400, "bad_request", 1),
        (401, "token_expired", 1),
        (403, "integration_not_connected", 1),
        (404, "not_found", 1),
        (408, "sync_timeout_upgrade_async", 2),
        (409, "ambiguous_connection", 1),
        (429, "rate_limited", 1),
        (500, "internal", 2),
        (502, "upstream_unreachable", 2),
        (504, "upstream_timeout", 2),
    ],
)
def test_the_exit_code_tells_why_the_gateway_refused(
    fake: FakeGateway, shell: Shell, status: int, error_code: str, code: int
) -> None:
    fake.replies[EXECUTE] = error(status, error_code, "No.", action_url="https://gw.example/fix", hint="Do this.")
    done = shell.run("run", "github", "create_issue")
    assert done.code == code
    assert done.json == {
        "error": error_code,
        "message": "No.",
        "action_url": "https://gw.example/fix",
        "hint": "Do this.",
    }
    connect = error_code in ("token_expired", "integration_not_connected")
    hint = "`skillway connect github` connects it." if connect else "Do this."
    assert done.err == f"Error: No. ({error_code})\nFix: https://gw.example/fix\nHint: {hint}\n"


def test_not_being_connected_says_where_to_connect(fake: FakeGateway, shell: Shell) -> None:
    fake.connected.clear()
    done = shell.run("run", "--user", "ann b", *ISSUE)
    assert done.code == 1
    assert f"\nFix: {fake.url}/connect/new?integration=github\n" in done.err
    assert "`skillway connect github --user 'ann b'`" in done.err


def test_more_of_a_refusal_is_told(fake: FakeGateway, shell: Shell) -> None:
    choices = [{"connection": "conn_1", "account": "ann"}, {"connection": "conn_2", "account": None}]
    fake.replies[EXECUTE] = error(
        409,
        "ambiguous_connection",
        "Which one?",
        details={"choices": choices},
        run_id="run_1",
        retry_after_ms=1500,
        outcome="unknown",
    )
    assert shell.run("run", "github", "create_issue").err.splitlines()[1:] == [
        "  connection: conn_1, account: ann",
        "  connection: conn_2, account: null",
        "Run: run_1",
        "Whether the call went through is not known.",
        "Try again in 2 s.",
    ]


def test_every_field_that_is_wrong_is_told_once(fake: FakeGateway, shell: Shell) -> None:
    fields = [{"path": "titel", "message": "titel is no param."}, {"path": "title", "message": "title is missing."}]
    details = {"action": "github.create_issue", "fields": fields}
    fake.replies[EXECUTE] = error(400, "bad_request", "titel is no param.", details=details)
    assert shell.run("run", "github", "create_issue").err.splitlines() == [
        "Error: titel is no param. (bad_request)",
        "  action: github.create_issue",
        "  title: title is missing.",
    ]


def test_the_hint_of_an_upstream_error_is_told(fake: FakeGateway, shell: Shell) -> None:
    body = b'{"status": 410, "data": null, "meta": {"hint": "Issues are switched off."}}'
    fake.replies[EXECUTE] = Reply(
        body=body, headers={"X-Upstream-Status": "410", "X-Deprecated": "true", "Sunset": "soon"}
    )
    done = shell.run("run", "github", "create_issue")
    assert done.err == (
        "The upstream answered 410.\nHint: Issues are switched off.\n"
        "Warning: This action is deprecated and ends on soon.\n"
    )


def test_nothing_the_gateway_says_reaches_stderr_raw(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = error(400, "x\x1b[2J", "a\x1b]0;t\x07b\nFix: https://evil.example", hint="\u202e\x9b")
    err = shell.run("run", "github", "create_issue").err
    assert err == "Error: a\\x1b]0;t\\x07b Fix: https://evil.example (x\\x1b[2J)\nHint: \\u202e\\x9b\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run"], "Missing argument"),
        (["run", "github"], "Missing argument"),
        (["run", "--nope", "github", "create_issue"], "No such option"),
        (["run", "github", "../../api-keys"], "is not the name"),
        (["run", "GitHub", "create_issue"], "is not the name"),
        (["run", "--params", "[]", "github", "create_issue"], "--params is not a JSON object"),
        (["run", *ISSUE, "stray"], "'stray' is no param"),
        (["run", *ISSUE, "--extra", "{"], "--extra takes JSON"),
        (["nope"], "No such command 'nope'"),
    ],
)
def test_what_cannot_be_understood_is_never_sent(
    fake: FakeGateway, shell: Shell, words: list[str], complaint: str
) -> None:
    done = shell.run(*words)
    assert done.code == 1
    assert complaint in done.err
    assert [asked for asked in fake.asked if asked.method == "POST"] == []


def test_an_unknown_action_is_the_answer_of_the_gateway(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", "github", "nope", "--a", "b")
    assert (done.code, done.json["error"]) == (1, "not_found")


def test_help_after_the_action_is_the_page_of_the_action_and_calls_nothing(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", "github", "create_issue", "--help")
    assert done.code == 0
    assert b"Open an issue in a repository." in done.out
    assert fake.calls(*EXECUTE) == []


def test_raw_is_the_body_alone_whatever_it_is(fake: FakeGateway, shell: Shell) -> None:
    body = bytes(range(256)) * 4096
    fake.replies[EXECUTE] = Reply(body=body, headers={"Content-Type": "application/zip", "X-Upstream-Status": "200"})
    done = shell.run("run", "--raw", "github", "create_issue")
    assert (done.code, done.out) == (0, body)
    assert fake.calls(*EXECUTE)[0].query == {"raw": "1"}


def test_raw_goes_to_a_file(fake: FakeGateway, shell: Shell) -> None:
    body = bytes(range(256)) * 4096
    fake.replies[EXECUTE] = Reply(body=body, headers={"Content-Type": "application/zip", "X-Upstream-Status": "200"})
    done = shell.run("run", "--raw", "-o", "site.zip", "github", "create_issue")
    assert (done.code, done.out) == (0, b"")
    assert hashlib.sha256((shell.folder / "site.zip").read_bytes()).digest() == hashlib.sha256(body).digest()


def test_a_refusal_does_not_take_the_place_of_a_file(fake: FakeGateway, shell: Shell) -> None:
    kept = shell.folder / "kept"
    kept.write_text("kept")
    for flags in ([], ["--raw"]):
        fake.replies[EXECUTE] = upstream(404, '"gone"')
        assert shell.run("run", *flags, "-o", "kept", "github", "create_issue").code == 1
        fake.replies[EXECUTE] = error(502, "upstream_unreachable", "No.")
        done = shell.run("run", *flags, "-o", "kept", "github", "create_issue")
        assert (done.code, done.json["error"]) == (2, "upstream_unreachable")
    assert kept.read_text() == "kept"


def test_a_body_that_breaks_off_is_no_success_and_leaves_no_file(fake: FakeGateway, shell: Shell) -> None:
    headers = {"Content-Type": "application/zip", "X-Upstream-Status": "200"}
    fake.replies[EXECUTE] = Reply(body=b"x" * 1000, headers=headers, cut_at=500)
    for flags in (["--raw"], []):
        done = shell.run("run", *flags, "-o", "site.zip", "github", "create_issue")
        assert done.code == 2
        assert done.json["outcome"] == "unknown"
    assert list(shell.folder.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told(fake: FakeGateway, shell: Shell) -> None:
    done = shell.run("run", "-o", "no/such/folder/file", "github", "create_issue")
    assert done.code == 1
    assert "The answer came, and no/such/folder/file cannot be written" in done.err


def test_ctrl_c_ends_a_call_cleanly(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = Reply(after=5.0)
    child = shell.start("run", "github", "create_issue")
    while not fake.calls(*EXECUTE):
        assert child.poll() is None
    done = interrupt(child)
    assert (done.code, done.out) == (130, b"")
    assert done.err.strip() == "Interrupted."


def test_a_reader_that_has_had_enough_is_no_error(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[EXECUTE] = upstream(200, '"' + "x" * 1_000_000 + '"')
    child = shell.start("run", "github", "create_issue")
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b""
    assert child.wait(timeout=10) == 0


def test_arguments_that_are_no_text_are_refused(fake: FakeGateway, shell: Shell, tmp_path: Path) -> None:
    done = shell.run(b"run", b"github", b"create_issue", b"--title", b"\xff\xfe")
    assert done.code == 1
    assert "--title is not UTF-8" in done.err
