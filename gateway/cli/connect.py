"""`skillway connect` and `skillway connections`: a person lets the gateway use an account, and takes it back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

import click

from gateway.cli import output
from gateway.cli.browser import may_open, open_page
from gateway.cli.client import Answer, Client, client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.failures import REFUSED, UNREACHED, CommandFailed, Problem, refused
from gateway.cli.jsontext import Json, dumps, loads
from gateway.cli.names import check_id, check_name

POLL_EVERY = 3.0
GIVE_UP_AFTER = 300.0
#: So many polls in a row may fail before the gateway counts as gone.
_PATIENCE = 5


class Clock(Protocol):
    """Time as `connect` needs it; tests move it."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """Time as it passes."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@click.command(short_help="Connect an account of an integration, in a browser.")
@click.argument("integration")
@click.option("--user", metavar="USER", help="The end user whose account it is; else `default`.")
@click.option("--scopes", metavar="A,B", help="OAuth scopes to ask for instead of the usual ones.")
@click.option("--auth", metavar="METHOD", help="Which of the integration's ways to be let in; see `skillway skills`.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--credential-stdin", is_flag=True, help="Read the credential from stdin: a token, or a JSON object.")
def connect(
    integration: str,
    user: str | None,
    scopes: str | None,
    auth: str | None,
    no_browser: bool,
    credential_stdin: bool,
) -> None:
    """Connect an account of an integration.

    Opens a page in the browser where a person agrees, and waits for that for up to five minutes. A credential that you
    already have (an API key, a personal token) can be given on stdin instead; it is never part of the command line.

    \b
    skillway connect github
    skillway connect github --auth token --credential-stdin < token.txt
    skillway connect shop --credential-stdin < username-and-password.json
    """
    body: dict[str, Json] = {"integration": check_name("integration", integration)}
    body |= {"user": user} if user is not None else {}
    body |= {"auth": auth} if auth is not None else {}
    body |= {"scopes": [*filter(None, (scope.strip() for scope in scopes.split(",")))]} if scopes is not None else {}
    client = client_for(login_in_use())
    if credential_stdin:
        started = _start_with_credential(client, body, sys.stdin.read())
    else:
        started = client.ask("POST", "/v1/connect", body=body)
    finish(client, integration, started, browser=not no_browser, clock=SystemClock())


@click.group(invoke_without_command=True, short_help="List the connections, or remove one with `rm ID`.")
@click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")
@click.pass_context
def connections(context: click.Context, as_json: bool) -> None:
    """List the connections, or remove one.

    \b
    skillway connections
    """
    if context.invoked_subcommand:
        return
    answer = client_for(login_in_use()).ask("GET", "/v1/connections")
    if not output.for_people(as_json):
        output.answer(answer.body)
        return
    items = answer.members().get("connections")
    if not items:
        output.note("There are no connections yet. `skillway connect <integration>` makes one.")
    elif isinstance(items, list):
        columns = ("id", "integration", "user", "account", "state")
        rows = [[item.get(column) for column in columns] for item in items if isinstance(item, dict)]
        output.table(columns, rows)


@connections.command(name="rm", short_help="Remove a connection.")
@click.argument("connection_id", metavar="ID")
def remove(connection_id: str) -> None:
    """Remove a connection; what the provider gave for it is revoked there too where that is possible.

    \b
    skillway connections rm conn_6e90
    """
    path = path_of("v1", "connections", check_id("connection", connection_id))
    answer = client_for(login_in_use()).ask("DELETE", path)
    output.note(f"{connection_id} is removed.")
    if answer.body:
        output.answer(answer.body)
    elif not output.for_people():
        output.line({"id": connection_id, "removed": True})


def finish(client: Client, integration: str, started: Answer, *, browser: bool, clock: Clock) -> None:
    """Sees a connect that was started through to its end: connected, or CommandFailed."""
    page = started.members()
    if page.get("status") == "connected":
        _print_connected(integration, page)
        return
    connection_id, address = page.get("connection_id"), page.get("oauth_url")
    if not isinstance(connection_id, str) or not isinstance(address, str):
        raise refused("The gateway named no page to connect on.", code="internal")
    output.note(f"To connect {integration}, open this page: {address}")
    if browser and not may_open(address):
        output.warn("That is no https or loopback address, so no browser is sent there.")
    elif browser and not open_page(address):
        output.note("No browser could be opened; open the page yourself.")
    output.note("Waiting for the connection …")
    with output.spinner(f"waiting for {integration} to be connected") as tell:
        last = poll(client, connection_id, clock=clock, progress=tell)
    state = last.members()
    if state.get("status") == "connected":
        _print_connected(integration, state)
        return
    raise _not_connected(integration, last, state)


def poll(client: Client, connection_id: str, *, clock: Clock, progress: Callable[[str], None]) -> Answer:
    """The last state of a connect: the first that is not pending, or pending when the time is up."""
    path = path_of("v1", "connect", connection_id)
    give_up, failures, told = clock.now() + GIVE_UP_AFTER, 0, ""
    last: Answer | None = None
    while True:
        try:
            last, failures = client.ask("GET", path), 0
        except CommandFailed as failed:
            # A gateway that restarts or asks for patience does not end what a person is busy with in a browser.
            failures += 1
            passing = failed.exit_code == UNREACHED or failed.problem.code == "rate_limited"
            if not passing or failures >= _PATIENCE or (last is None and clock.now() >= give_up):
                raise
        if last is not None and not failures:
            state = last.members()
            if state.get("status") != "pending":
                return last
            detail = state.get("detail")
            if isinstance(detail, str) and detail != told:
                told = detail
                progress(f"Pending: {detail}")
        if clock.now() + POLL_EVERY > give_up and last is not None:
            return last
        clock.sleep(POLL_EVERY)


def _start_with_credential(client: Client, body: dict[str, Json], text: str) -> Answer:
    if text.lstrip().startswith("{"):
        try:
            credentials = loads(text)
        except ValueError as error:
            raise refused(f"The credential on stdin starts like JSON and is none: {error}.") from error
        try:
            return client.ask("POST", "/v1/connect", body={**body, "credentials": credentials})
        except CommandFailed as failed:
            # The key file of a service account is a JSON object too. The gateway knows which methods take one.
            if failed.problem.code != "bad_request" or "PRIVATE KEY" not in text:
                raise
            return client.ask("POST", "/v1/connect", body={**body, "credentials": {"key_file": credentials}})
    token = text.strip()
    if not token:
        raise refused("There is no credential on stdin.")
    # The one secret of a bearer method and that of an API key method have different names; the gateway knows which.
    said: list[str] = []
    for name in ("token", "api_key"):
        try:
            return client.ask("POST", "/v1/connect", body={**body, "credentials": {name: token}})
        except CommandFailed as failed:
            if failed.problem.code != "bad_request":
                raise
            said.append(f"As {name}: {failed.problem.message}")
    raise refused(" ".join(said), hint="A credential of several parts is given as a JSON object.")


def _print_connected(integration: str, state: dict[str, Json]) -> None:
    account = state.get("account")
    if account:
        output.note(f"Connected as {account if isinstance(account, str) else dumps(account)}.")
    output.line({"status": "connected", "integration": integration})


def _not_connected(integration: str, last: Answer, state: dict[str, Json]) -> CommandFailed:
    if state.get("status") == "pending":
        message = f"Nobody finished connecting {integration} within {GIVE_UP_AFTER / 60:.0f} minutes."
        return CommandFailed(UNREACHED, Problem(code="connect_timeout", message=message), last.body)
    code, words = state.get("error"), state.get("message")
    problem = Problem(
        code=code if isinstance(code, str) else "connect_failed",
        message=words if isinstance(words, str) else f"{integration} was not connected.",
    )
    return CommandFailed(REFUSED, problem, last.body)
