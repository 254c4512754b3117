"""Which addresses a browser may be sent to."""

from __future__ import annotations

import pytest

from gateway.cli.browser import is_loopback, may_open, open_page


@pytest.mark.parametrize(
    "url",
    [
        "https://gw.example/connect/conn_1?a=b&c=d#e",
        "https://gw.example:8443/",
        "http://127.0.0.1:8700/connect/conn_1",
        "http://localhost:8700/",
        "http://[::1]:8700/",
    ],
)
def test_https_and_loopback_may_be_opened(url: str) -> None:
    assert may_open(url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://gw.example/", "//gw.example/", "",
        "http://gw.example/", "http://127.0.0.1.evil.example/", "http://127.evil.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1@evil.example/", "https://user:pw@gw.example/", "https://", "https:///path", "https://:443/",
        "https://gw.example/; rm -rf ~", "https://gw.example/`id`", "https://gw.example/\nx", "https://gw.example/\x1b",
        "https://gw.example/\"x", "https://gw.example\\@evil.example", "https://gw.exämple/", "https://gw.example:port/",
        " https://gw.example/", "-new-window", "--profile=x https://gw.example/", "HTTPS ://x",
        "https://[::1/", "ms-msdt:/id",
    ],
)  # fmt: skip
def test_everything_else_is_refused(url: str) -> None:
    assert not may_open(url)
    assert not open_page(url)


def test_loopback_is_told_by_address_and_name() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("127.evil.example", "10.0.0.1", "localhost.evil.example", "")))
