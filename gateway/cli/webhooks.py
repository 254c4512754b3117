"""`skillway webhooks`: who is told what happens, and what became of each delivery."""

from __future__ import annotations

import click

from gateway.cli import output
from gateway.cli.client import Answer, client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.jsontext import Json
from gateway.cli.names import check_id

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")


@click.group(invoke_without_command=True, short_help="List the webhooks; add, remove or wake one, see its deliveries.")
@_AS_JSON
@click.pass_context
def webhooks(context: click.Context, as_json: bool) -> None:
    """List the webhooks; add, remove or wake one, look at its deliveries and send one again.

    A webhook is told of events, such as `run.completed`; a key of level full_access is needed.

    \b
    skillway webhooks
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@webhooks.command(name="list", short_help="List the webhooks.")
@_AS_JSON
def list_webhooks(as_json: bool) -> None:
    """List the webhooks, as `skillway webhooks` alone does.

    \b
    skillway webhooks list
    """
    _list(as_json)


@webhooks.command(short_help="Subscribe a URL to events; its secret is shown this once.")
@click.option("--events", required=True, metavar="A,B", help="What is told: `run.completed`, `connection.*`, or `*`.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.argument("url")
def add(url: str, events: str, description: str | None) -> None:
    """Subscribe a URL to events. The secret that signs its deliveries is shown this once.

    \b
    skillway webhooks add --events 'run.*,connection.needs_reauth' https://app.example.com/skillway
    """
    body: dict[str, Json] = {"url": url, "events": [part.strip() for part in events.split(",") if part.strip()]}
    body |= {"description": description} if description is not None else {}
    _made(client_for(login_in_use()).ask("POST", "/v1/webhooks", body=body))


@webhooks.command(short_help="Remove a webhook with its deliveries.")
@click.argument("webhook")
def remove(webhook: str) -> None:
    """Remove a webhook with its deliveries; what waits is not sent.

    \b
    skillway webhooks remove whk_3c4e
    """
    client_for(login_in_use()).ask("DELETE", _path(webhook))
    output.line({"id": webhook, "removed": True})


@webhooks.command(short_help="Wake a webhook that was disabled.")
@click.argument("webhook")
def enable(webhook: str) -> None:
    """Wake a webhook that was disabled: it hears what the key in use may see.

    \b
    skillway webhooks enable whk_3c4e
    """
    output.answer(client_for(login_in_use()).ask("POST", _path(webhook, "enable"), body={}).body)


@webhooks.command(short_help="Give a webhook, or callbacks, a new secret; it is shown this once.")
@click.option("--callbacks", is_flag=True, help="The org's own secret, which signs what --callback-url is sent.")
@click.argument("webhook", required=False)
def rotate(webhook: str | None, callbacks: bool) -> None:
    """Give a webhook a new secret, or the org one for callbacks. For a day the old one signs beside it.

    \b
    skillway webhooks rotate whk_3c4e
    skillway webhooks rotate --callbacks
    """
    if callbacks == (webhook is not None):
        raise click.UsageError("Name a webhook, or say --callbacks.")
    path = "/v1/org/signing-secret" if webhook is None else _path(webhook, "rotate")
    _made(client_for(login_in_use()).ask("POST", path, body={}))


@webhooks.command(short_help="List what was sent to a webhook, and what will be.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", metavar="C", help="`next_cursor` of the page before.")
@_AS_JSON
@click.argument("webhook")
def deliveries(webhook: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """List what was sent to a webhook and what will be, the newest first.

    \b
    skillway webhooks deliveries --limit 10 whk_3c4e
    """
    query = {"limit": str(limit), "cursor": cursor}
    answer = client_for(login_in_use()).ask("GET", _path(webhook, "deliveries"), query=query)
    if not output.for_people(as_json):
        output.answer(answer.body)
        return
    members = answer.members()
    output.table(
        ("delivery", "event", "state", "attempts", "status", "error", "next attempt"),
        [
            (
                one.get("id"),
                event.get("type") if isinstance(event := one.get("event"), dict) else None,
                one.get("state"),
                one.get("attempts"),
                one.get("last_status"),
                one.get("last_error"),
                one.get("next_attempt_at"),
            )
            for one in _objects(members.get("deliveries"))
        ],
    )
    if members.get("next_cursor"):
        output.note(f"There are more: `skillway webhooks deliveries --cursor {members['next_cursor']} {webhook}`.")


@webhooks.command(short_help="Send a delivery again.")
@click.argument("webhook")
@click.argument("delivery")
def replay(webhook: str, delivery: str) -> None:
    """Send a delivery again, at once and under the same event id.

    \b
    skillway webhooks replay whk_3c4e dlv_5a1b
    """
    path = _path(webhook, "deliveries", check_id("delivery", delivery), "replay")
    output.answer(client_for(login_in_use()).ask("POST", path, body={}).body)


def _list(as_json: bool) -> None:
    answer = client_for(login_in_use()).ask("GET", "/v1/webhooks")
    if not output.for_people(as_json):
        output.answer(answer.body)
        return
    output.table(
        ("id", "events", "mode", "state", "description", "url"),
        [
            (
                one.get("id"),
                one.get("events"),
                one.get("mode"),
                one.get("disabled_reason") or ("failing" if one.get("failing_since") else "active"),
                one.get("description"),
                one.get("url"),
            )
            for one in _objects(answer.members().get("webhooks"))
        ],
    )


def _made(answer: Answer) -> None:
    """What came with a new secret."""
    if not output.for_people():
        output.answer(answer.body)
        return
    members = answer.members()
    if members.get("id"):
        output.text(f"\n  {members['id']}")
    output.text(f"\n  {members.get('secret')}\n")
    output.note("Save this secret now: it is not shown again.")


def _path(webhook: str, *more: str) -> str:
    return path_of("v1", "webhooks", check_id("webhook", webhook), *more)


def _objects(value: Json) -> list[dict[str, Json]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
