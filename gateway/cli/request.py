"""`skillway request`: any request of an integration, where no action does it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import click

from gateway.cli.client import client_for
from gateway.cli.config import login_in_use
from gateway.cli.failures import refused
from gateway.cli.jsontext import Json, loads
from gateway.cli.names import check_name
from gateway.cli.run import call_options, send_call

_JSON = "json"


@click.command(short_help="Make any request: <integration> <METHOD> </path> [--query name=value]…")
@click.option("--query", "-q", "queries", multiple=True, metavar="NAME=VALUE", help="A name and value of the query; repeats.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header, such as Accept; repeats.")
@click.option("--body", metavar="JSON|@FILE|-", help="The body; text where a header names a Content-Type that is not JSON.")
@call_options
@click.argument("integration")
@click.argument("method")
@click.argument("path")
@click.pass_context
def request(
    context: click.Context,
    /,
    queries: tuple[str, ...],
    headers: tuple[str, ...],
    body: str | None,
    integration: str,
    method: str,
    path: str,
    **options: Any,
) -> None:
    """Make a request that no action makes, with the connection's credential, and print its answer as JSON.

    The path goes on from the integration's base URL; it takes a live key of the level full_access. Exit codes are those
    of `skillway run`.

    \b
    skillway request github GET "/repos/acme/webapp/tags?per_page=5"
    skillway request github POST /repos/acme/webapp/forks --body '{"organization": "acme"}'
    skillway request shop POST /search -H "Content-Type: text/plain" --body @query.txt
    """
    check_name("integration", integration)
    path, _, inline = path.partition("?")
    params: dict[str, Json] = {"method": method.upper(), "path": path}
    if query := _query([*parse_qsl(inline, keep_blank_values=True), *(_pair("--query", text, "=") for text in queries)]):
        params["query"] = query
    given = dict(_pair("--header", text, ":") for text in headers)
    if given:
        params["headers"] = {name: value.strip() for name, value in given.items()}
    if body is not None:
        kind = next((value for name, value in given.items() if name.lower() == "content-type"), _JSON)
        params["body"] = _body(body, is_json=_JSON in kind.lower())
    context.exit(send_call(client_for(login_in_use()), integration, "request", params, **options))


def _query(pairs: Iterable[tuple[str, str]]) -> dict[str, Json]:
    """Names with their values; a name that stands there several times has a list of them."""
    found: dict[str, list[Json]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _pair(option: str, text: str, mark: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not name or not found:
        raise refused(f"{option} takes a name, `{mark}` and a value; this is {text!r}.")
    return name, value


def _body(text: str, *, is_json: bool) -> Json:
    """The value that JSON says, or the text as it is."""
    try:
        if text == "-":
            text = sys.stdin.buffer.read().decode()
        elif text.startswith("@"):
            text = Path(text[1:]).read_bytes().decode()
    except OSError as error:
        raise refused(f"--body: {text[1:]} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise refused("--body is not UTF-8: only text can be sent.") from error
    if not is_json:
        return text
    try:
        return loads(text)
    except ValueError as error:
        hint = "Text of another type takes -H 'Content-Type: …'."
        raise refused(f"--body is not JSON: {error}.", hint=hint) from error
