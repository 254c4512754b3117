"""`skillway run`: one call of one action, its answer on stdout."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any

import click

from gateway.cli import output
from gateway.cli.client import Answer, Client, client_for, lost, path_of
from gateway.cli.config import login_in_use
from gateway.cli.failures import REFUSED, UNREACHED, CommandFailed, gateway_error, refused
from gateway.cli.files import written_whole
from gateway.cli.jsontext import Json, Number
from gateway.cli.names import check_name
from gateway.cli.params import read_object, read_params
from gateway.cli.skills import document, show_document

_CHUNK = 64 * 1024


#: How a call is made, and what of its answer is wanted: the same for whatever is called.
_OPTIONS = (
    click.option("--user", metavar="USER", help="The end user on whose behalf the call is made."),
    click.option("--connection", metavar="ID", help="Which connection to use, where several fit."),
    click.option("--async", "is_async", is_flag=True, help="Do not wait for the answer: a run to poll comes back."),
    click.option("--wait", type=click.FloatRange(0, 3600), metavar="S", help="Seconds to wait for the end of long work."),
    click.option("--callback-url", metavar="URL", help="With --async or --wait: is told of the end, signed."),
    click.option("--select", metavar="EXPR", help="JMESPath: the part of the upstream's body that is wanted."),
    click.option("--brief", is_flag=True, help="The action's own short view, where it has one."),
    click.option("--max-bytes", type=click.IntRange(256), metavar="N", help="Most bytes; what is cut is kept whole."),
    click.option("--max-items", type=click.IntRange(0), metavar="N", help="Most items; what is cut is kept whole."),
    click.option("--all", "all_pages", is_flag=True, help="Follow the pages of a list, and join their items."),
    click.option("--idempotency-key", metavar="K", help="Sent again, the call is not made again: its answer comes back."),
    click.option("--dry-run", is_flag=True, help="Only say what is in the way, and what would be sent."),
    click.option("--raw", is_flag=True, help="The body of the upstream's answer as it is, without status and data."),
    click.option(
        "-o", "--output", "to", metavar="FILE", help="Write the answer to FILE if the upstream accepted the call."
    ),
)


def call_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that `send_call` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(
    short_help="Call an action: [our options] <integration> <action> [--param value]…",
    # What comes after the action belongs to the action, whatever it is called.
    context_settings={"allow_interspersed_args": False},
)
@click.option("--params", metavar="JSON|@FILE|-", help="The params as one JSON object; flags go before it.")
@call_options
@click.argument("integration")
@click.argument("action")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAM VALUE]...")
@click.pass_context
def run(
    context: click.Context,
    /,
    params: str | None,
    integration: str,
    action: str,
    words: tuple[str, ...],
    **options: Any,
) -> None:
    """Call an action and print its answer as JSON.

    Options of this command stand before the integration; everything after the action is a param, typed by the action's
    schema: `--title 42` is a string where the schema says so, `--labels bug,priority` a list, `--draft` alone is true
    and `--no-draft` false, `--file report.pdf` the content of that file.

    \b
    skillway run github create_issue --repo acme/webapp --title "Bug report" --labels bug,priority
    skillway run --params @issue.json github create_issue
    skillway run --raw -o report.zip shop download_report --id 7

    skillway run --wait 120 overten generate_excel --prompt "Sales by month"

    Exit code: 0 the upstream said 2xx; 1 it said 4xx, or the call was not allowed or not valid; 2 no answer, or 5xx.
    """
    if action in ("--help", "-h"):
        click.echo(context.get_help())
        return
    check_name("integration", integration), check_name("action", action)
    client = client_for(login_in_use())
    members = read_object(params) if params is not None else {}
    if words:
        page = document(client, integration, action).members()
        if words == ("--help",) and "help" not in _param_names(page):
            show_document(page)
            return
        _warn_of_misplaced(words, page, context)
        members |= read_params(words, page.get("parameters"))
    context.exit(send_call(client, integration, action, members, **options))


def send_call(
    client: Client,
    integration: str,
    action: str,
    params: Json,
    *,
    user: str | None,
    connection: str | None,
    idempotency_key: str | None,
    dry_run: bool,
    raw: bool,
    to: str | None,
    **shape: Any,
) -> int:
    """Makes a call as the options say, prints its answer, and gives the exit code. Raises `CommandFailed`."""
    body: dict[str, Json] = {"params": params}
    body |= {"user": user} if user is not None else {}
    body |= {"connection": connection} if connection is not None else {}
    body |= _shape(**shape)
    headers = {"Idempotency-Key": _header_value(idempotency_key)} if idempotency_key is not None else {}
    try:
        if dry_run:
            return _dry_run(client, {"integration": integration, "action": action, **body}, headers)
        send = _run_raw if raw else _run
        return send(client, path_of("v1", integration, action), body, headers, None if to in (None, "-") else Path(str(to)))
    except CommandFailed as failed:
        raise _with_the_way_to_connect(failed, integration, user) from failed


def exit_code(upstream_status: int) -> int:
    """0 for what went well, 1 for what the caller has to change, 2 for what may go better another time."""
    if upstream_status < 400:
        return 0
    return REFUSED if upstream_status < 500 else UNREACHED


def _shape(
    is_async: bool,
    wait: float | None,
    callback_url: str | None,
    select: str | None,
    brief: bool,
    max_bytes: int | None,
    max_items: int | None,
    all_pages: bool,
) -> dict[str, Json]:
    """The fields of a call's body that say how it is made, and what of its answer is wanted."""
    shape: dict[str, Json] = {name: True for name, on in (("async", is_async), ("all", all_pages)) if on}
    shape |= {"view": "brief"} if brief else {}
    shape |= {"callback_url": callback_url} if callback_url is not None else {}
    shape |= {"select": select} if select is not None else {}
    for name, number in (("wait", wait), ("max_bytes", max_bytes), ("max_items", max_items)):
        if number is not None:
            shape[name] = Number(text=f"{number:g}" if isinstance(number, float) else str(number))
    return shape


def _header_value(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable():
        raise refused("--idempotency-key takes printable ASCII characters.")
    return text


def _dry_run(client: Client, body: Json, headers: Mapping[str, str]) -> int:
    answer = client.ask("POST", "/v1/preflight", body=body, headers=headers)
    output.answer(answer.body)
    return 0 if answer.members().get("ok") is True else REFUSED


def _run(client: Client, path: str, body: Json, headers: Mapping[str, str], to: Path | None) -> int:
    with output.spinner(path.removeprefix("/v1/")):
        answer = client.ask("POST", path, body=body, headers=headers)
    page = _page(answer)
    if answer.status == 202:
        output.answer(answer.body)
        output.note(f"It goes on as a run: `skillway runs show --wait 60 {page.get('run_id')}` tells of it.")
        return 0
    status = _status(answer.headers, page)
    if to is not None and exit_code(status) == 0:
        _write(to, iter((answer.body,)))
    else:
        output.answer(answer.body)
    meta = page.get("meta")
    _tell(answer.headers, status, meta.get("hint") if isinstance(meta, dict) else None)
    return exit_code(status)


def _run_raw(client: Client, path: str, body: Json, headers: Mapping[str, str], to: Path | None) -> int:
    with ExitStack() as open_answer:
        with output.spinner(path.removeprefix("/v1/")):
            response = open_answer.enter_context(
                client.open("POST", path, query={"raw": "1"}, body=body, headers=headers)
            )
        if response.status >= 400 and not response.getheader("X-Upstream-Status"):
            failed = gateway_error(response.status, b"".join(_chunks(response)))
            if failed is not None:
                raise failed
        status = _status(response.headers, {"status": Number(text=str(response.status))})
        if to is not None and exit_code(status) == 0:
            _write(to, _chunks(response))
        elif sys.stdout.isatty():
            _show_body(response)
        else:
            output.content(_chunks(response))
        _tell(response.headers, status, None)
        return exit_code(status)


def _with_the_way_to_connect(failed: CommandFailed, integration: str, user: str | None) -> CommandFailed:
    """The gateway's hint speaks of its API; who typed a command is better helped by another command."""
    if failed.problem.code == "sync_timeout_upgrade_async" and failed.problem.run_id:
        hint = f"`skillway runs show --wait 60 {failed.problem.run_id}` tells of it."
        problem = replace(failed.problem, hint=hint)
        return CommandFailed(failed.exit_code, problem, failed.body)
    if failed.problem.code not in ("integration_not_connected", "token_expired", "missing_scopes"):
        return failed
    words = ["skillway", "connect", integration, *(("--user", user) if user is not None else ())]
    problem = replace(failed.problem, hint=f"`{shlex.join(words)}` connects it.")
    return CommandFailed(failed.exit_code, problem, failed.body)


def _page(answer: Answer) -> dict[str, Json]:
    """The answer as an object. An upstream's body may be nested deeper than we read; that is no failure of the call."""
    if "X-Upstream-Status" not in answer.headers:
        return answer.members()
    try:
        return answer.members()
    except CommandFailed:
        return {}


def _status(headers: HTTPMessage, page: dict[str, Json]) -> int:
    said = headers.get("X-Upstream-Status") or ""
    status = page.get("status")
    if not said and isinstance(status, Number):
        said = status.text
    # A run that was queued has a word for its status, and went well so far.
    return int(said) if said.isdecimal() else 200


def _tell(headers: HTTPMessage, status: int, hint: Json) -> None:
    """What the person who waits should know beyond the answer itself."""
    if status >= 400:
        output.note(f"The upstream answered {status}.")
    if isinstance(hint, str):
        output.note(f"Hint: {hint}")
    if headers.get("X-Deprecated"):
        end = headers.get("Sunset")
        output.warn(f"This action is deprecated{f' and ends on {end}' if end else ''}.")


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(_CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise lost(error) from error
    # http.client tells of a body that ends too early only when it is read in one piece.
    if response.length:
        raise lost(IncompleteRead(b"", response.length))


def _write(to: Path, chunks: Iterator[bytes]) -> None:
    try:
        with written_whole(to) as file:
            file.writelines(chunks)
    except OSError as error:
        raise refused(f"The answer came, and {to} cannot be written: {error.strerror}.", code="conflict") from error
    output.note(f"Written to {to}.")


def _show_body(response: HTTPResponse) -> None:
    """Text goes to the terminal; anything else would garble it and goes to a file, for the call cannot be had again."""
    kind = response.headers.get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        output.answer(b"".join(_chunks(response)))
        return
    if kind.startswith("text/"):
        text = b"".join(_chunks(response)).decode(response.headers.get_content_charset("utf-8"), "replace")
        for line in text.splitlines():
            output.text(line)
        return
    handle, name = tempfile.mkstemp(prefix="skillway-")
    with os.fdopen(handle, "wb") as file:
        file.writelines(_chunks(response))
    output.note(f"The answer is {kind}, no text for a terminal; it is in {name}. Another time, use -o FILE.")


def _param_names(page: dict[str, Json]) -> frozenset[str]:
    schema = page.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else frozenset()


def _warn_of_misplaced(words: tuple[str, ...], page: dict[str, Json], context: click.Context) -> None:
    """An option of ours after the action is a param that the action does not know: say so, before the gateway does."""
    ours = {name for option in context.command.params for name in option.opts if name.startswith("--")}
    known = _param_names(page)
    for word in words:
        name = word.partition("=")[0]
        if name in ours and name[2:] not in known:
            output.note(f"{name} after the action is taken for a param; as an option it stands before the integration.")
