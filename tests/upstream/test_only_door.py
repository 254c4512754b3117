"""No other part of the product opens a connection: everything that goes out goes through `gateway/upstream`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Calls that open a connection or make what does.
OPENERS = {
    "ClientSession", "TCPConnector", "UnixConnector", "create_connection", "open_connection", "start_connection",
    "create_datagram_endpoint", "create_unix_connection", "open_unix_connection", "sock_connect", "urlopen",
    "urlretrieve", "HTTPConnection", "HTTPSConnection", "AsyncClient",
}  # fmt: skip
LIBRARIES = {
    "requests",
    "httpx",
    "urllib3",
    "http.client",
    "urllib.request",
    "ftplib",
    "smtplib",
    "telnetlib",
}
#: The command line is a client of the gateway, on another machine; it holds no credential but its own key.
CLIENTS = ("gateway/cli/",)


def modules() -> Iterator[Path]:
    for package in ("gateway", "oauth", "skills_catalog"):
        yield from sorted((ROOT / package).rglob("*.py"))


def openers_in(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in OPENERS:
                found.append(f"{name} in line {node.lineno}")
        elif isinstance(node, ast.Import):
            found += [f"import {alias.name}" for alias in node.names if alias.name in LIBRARIES]
        elif isinstance(node, ast.ImportFrom) and node.module in LIBRARIES:
            found.append(f"from {node.module}")
    return found


def test_sockets_are_opened_in_the_upstream_package_alone() -> None:
    elsewhere = {}
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("gateway/upstream/", *CLIENTS)) and (found := openers_in(path.read_text())):
            elsewhere[name] = found
    assert elsewhere == {}


def test_the_search_finds_what_it_looks_for() -> None:
    package = "".join(path.read_text() for path in (ROOT / "gateway" / "upstream").glob("*.py"))
    assert {found.split()[0] for found in openers_in(package)} >= {
        "ClientSession",
        "TCPConnector",
        "start_connection",
    }


@pytest.mark.parametrize("source", ["aiohttp.ClientSession()", "import requests", "from urllib.request import urlopen"])
def test_each_way_out_is_recognised(source: str) -> None:
    assert openers_in(source)
