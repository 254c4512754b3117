"""Asking a gateway: networks that fail, certificates, proxies, and answers that are none."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from gateway.cli.client import Client, path_of
from gateway.cli.failures import CommandFailed

from .gateway_fake import KEY, FakeGateway, Reply
from .shell import Shell


def refusal(client: Client) -> CommandFailed:
    with pytest.raises(CommandFailed) as failed:
        client.ask("GET", "/v1/skills")
    return failed.value


def test_nobody_listening_exits_2(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = shell.with_environment(SKILLWAY_URL=url).run("run", "github", "create_issue")
    assert (done.code, done.json["error"], done.json["outcome"]) == (2, "gateway_unreachable", "not_sent")
    assert "skillway serve" in done.err


def test_a_name_that_does_not_resolve_exits_2(shell: Shell) -> None:
    done = shell.with_environment(SKILLWAY_URL="http://gateway.invalid").run("skills")
    assert (done.code, done.json["outcome"]) == (2, "not_sent")


def test_a_gateway_that_does_not_answer_in_time_is_a_time_out(fake: FakeGateway) -> None:
    fake.replies["GET", "/v1/skills"] = Reply(after=1.0)
    failed = refusal(Client(url=fake.url, api_key=KEY, answer_timeout=0.1))
    assert (failed.exit_code, failed.problem.code, failed.problem.outcome) == (
        2,
        "gateway_timeout",
        "unknown",
    )


def test_an_answer_that_breaks_off_exits_2(fake: FakeGateway) -> None:
    fake.replies["GET", "/v1/skills"] = Reply(body=b'{"integrations": []}', cut_at=5)
    failed = refusal(Client(url=fake.url, api_key=KEY))
    assert (failed.exit_code, failed.problem.outcome) == (2, "unknown")


def test_something_that_speaks_no_http_exits_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_garbage, args=(server,))
        thread.start()
        failed = refusal(Client(url=f"http://127.0.0.1:{server.getsockname()[1]}", api_key=KEY))
        thread.join()
    assert failed.exit_code == 2


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>", 2),
        (200, b"[1]", 2),
        (502, b"<html>bad gateway", 2),
        (404, b"no such page", 1),
        (403, b"{}", 1),
    ],
)
def test_an_answer_in_other_words_is_no_success(
    fake: FakeGateway, shell: Shell, status: int, body: bytes, code: int
) -> None:
    fake.replies["POST", "/v1/github/create_issue"] = Reply(status=status, body=body)
    done = shell.run("run", "github", "create_issue")
    assert done.code == code
    assert isinstance(done.json["message"], str)


def test_a_key_is_never_carried_along_by_a_redirect(fake: FakeGateway, shell: Shell) -> None:
    with FakeGateway() as elsewhere:
        fake.replies["GET", "/v1/skills"] = Reply(status=307, headers={"Location": f"{elsewhere.url}/v1/skills"})
        done = shell.run("skills")
        assert (done.code, elsewhere.asked) == (1, [])
    assert elsewhere.url in done.err


def test_a_gateway_below_a_path_is_asked_there(fake: FakeGateway, shell: Shell) -> None:
    shell.with_environment(SKILLWAY_URL=f"{fake.url}/gateway/").run("skills")
    assert [asked.path for asked in fake.asked] == ["/gateway/v1/skills"]


def test_a_segment_stays_one_segment() -> None:
    assert path_of("v1", "a/b", "c?d#e%") == "/v1/a%2Fb/c%3Fd%23e%25"


def test_a_certificate_has_to_be_trusted(shell: Shell, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with FakeGateway(tls=context) as gateway:
        shell = shell.with_environment(SKILLWAY_URL=gateway.url)
        done = shell.run("skills")
        assert (done.code, done.json["outcome"]) == (2, "not_sent")
        assert "cannot be trusted" in done.err
        assert gateway.asked == []
        assert shell.with_environment(SSL_CERT_FILE=str(bundle)).run("skills").code == 0


def test_a_certificate_has_to_be_for_the_host(shell: Shell, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with FakeGateway(tls=context) as gateway:
        done = shell.with_environment(SKILLWAY_URL=gateway.url, SSL_CERT_FILE=str(bundle)).run("skills")
        assert (done.code, gateway.asked) == (2, [])


def test_no_proxy_comes_between_us_and_loopback(fake: FakeGateway, shell: Shell) -> None:
    with FakeGateway() as proxy:
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        done = shell.with_environment(**dict.fromkeys(names, proxy.url)).run("skills")
        assert (done.code, proxy.asked) == (0, [])


def test_a_proxy_is_used_for_a_gateway_elsewhere(shell: Shell) -> None:
    with FakeGateway() as proxy:
        address = proxy.url.replace("http://", "http://ann:p%40ss@")
        shell = shell.with_environment(SKILLWAY_URL="http://gateway.example:81", http_proxy=address)
        assert shell.run("skills").code == 0
        (asked,) = proxy.asked
        assert asked.headers["host"] == "gateway.example:81"
        assert asked.headers["proxy-authorization"] == "Basic YW5uOnBAc3M="
        assert shell.with_environment(no_proxy="gateway.example").run("skills").code == 2


def test_a_client_does_not_show_its_key() -> None:
    assert KEY not in repr(Client(url="http://127.0.0.1:1", api_key=KEY))


def test_the_key_is_in_no_command_line_while_a_command_runs(fake: FakeGateway, shell: Shell) -> None:
    fake.replies["POST", "/v1/connect"] = Reply(after=5.0)
    child = shell.start("connect", "github")
    while not fake.calls("POST", "/v1/connect"):
        assert child.poll() is None
    words = Path(f"/proc/{child.pid}/cmdline").read_bytes() if os.path.isdir("/proc") else b""
    child.kill()
    child.communicate()
    assert KEY.encode() not in words


def _answer_garbage(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-OpenSSH\r\n")
