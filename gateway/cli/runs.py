"""`skillway runs`: the calls that were made, what became of them, and answers that were cut."""

from __future__ import annotations

import click

from gateway.cli import output
from gateway.cli.client import Answer, client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.failures import REFUSED, UNREACHED
from gateway.cli.jsontext import Json
from gateway.cli.names import check_id

#: What a run that is over means for whoever waits for it.
_EXIT_CODES = {"failed": REFUSED, "cancelled": REFUSED, "unknown": UNREACHED}


@click.group(invoke_without_command=True, short_help="List the calls that were made; look at one, stop it, do it again.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", metavar="C", help="`next_cursor` of the page before.")
@click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")
@click.pass_context
def runs(context: click.Context, limit: int, cursor: str | None, as_json: bool) -> None:
    """List the calls that were made, the newest first; look at one, stop it, or do it again.

    \b
    skillway runs --limit 10
    """
    if context.invoked_subcommand is not None:
        return
    answer = client_for(login_in_use()).ask("GET", "/v1/runs", query={"limit": str(limit), "cursor": cursor})
    if not output.for_people(as_json):
        output.answer(answer.body)
        return
    members = answer.members()
    found = members.get("runs")
    output.table(
        ("run", "action", "user", "status", "upstream", "progress", "began"),
        [
            (
                run.get("run_id"),
                f"{run.get('integration')}.{run.get('action')}",
                run.get("user"),
                run.get("status"),
                run.get("upstream_status"),
                run.get("progress"),
                run.get("created_at"),
            )
            for run in (found if isinstance(found, list) else [])
            if isinstance(run, dict)
        ],
    )
    if members.get("next_cursor"):
        output.note(f"There are more: `skillway runs --cursor {members['next_cursor']}`.")


@runs.command(short_help="Show a run, with its result once it is over.")
@click.option("--wait", type=click.IntRange(0, 3600), default=0, metavar="S", help="Seconds to wait until it is over.")
@click.argument("run")
@click.pass_context
def show(context: click.Context, run: str, wait: int) -> None:
    """Show a run, with its result once it is over.

    Exit code: 0 the upstream answered, or it still goes on; 1 it failed or was cancelled; 2 nobody knows.

    \b
    skillway runs show --wait 60 run_01a2
    """
    with output.spinner(run):
        answer = client_for(login_in_use()).ask("GET", _path(run), query={"wait": str(wait)})
    context.exit(_shown(answer))


@runs.command(short_help="Stop a run.")
@click.argument("run")
def cancel(run: str) -> None:
    """Stop a run: at once if nobody carries it out yet, else as soon as may be.

    \b
    skillway runs cancel run_01a2
    """
    output.answer(client_for(login_in_use()).ask("POST", _path(run, "cancel"), body={}).body)


@runs.command(short_help="Do a run again, as a new one.")
@click.option("--even-if-unknown", is_flag=True, help="You have looked at the upstream: it was not done.")
@click.argument("run")
def retry(run: str, even_if_unknown: bool) -> None:
    """Do a run again, as a new one.

    \b
    skillway runs retry run_01a2
    skillway runs retry --even-if-unknown run_01a2
    """
    body: dict[str, Json] = {"even_if_unknown": True} if even_if_unknown else {}
    output.answer(client_for(login_in_use()).ask("POST", _path(run, "retry"), body=body).body)


@runs.command(short_help="Read the whole of an answer that was cut, piece by piece.")
@click.option("--path", metavar="POINTER", help="Which part: a JSON pointer such as /items, or JMESPath.")
@click.option("--offset", type=click.IntRange(0), metavar="N", help="Items, or letters of a text, to pass over.")
@click.option("--limit", type=click.IntRange(1, 100_000), metavar="N", help="How many items at most.")
@click.option("--grep", metavar="TEXT", help="Only items, or lines, that hold this text.")
@click.argument("run")
def result(run: str, path: str | None, offset: int | None, limit: int | None, grep: str | None) -> None:
    """Read the whole of an answer that was cut, piece by piece: `result_id` of the answer is its run.

    \b
    skillway runs result --path /items --offset 50 --limit 50 run_01a2
    skillway runs result --grep overdue run_01a2
    """
    numbers = {name: None if number is None else str(number) for name, number in (("offset", offset), ("limit", limit))}
    query = {"path": path, "grep": grep, **numbers}
    output.answer(client_for(login_in_use()).ask("GET", path_of("v1", "results", check_id("run", run)), query=query).body)


def _path(run: str, *more: str) -> str:
    return path_of("v1", "runs", check_id("run", run), *more)


def _shown(answer: Answer) -> int:
    output.answer(answer.body)
    status = answer.members().get("status")
    return _EXIT_CODES.get(status, 0) if isinstance(status, str) else 0
