"""`skillway keys` and `skillway usage`: the keys of the org, and how much it has used."""

from __future__ import annotations

import click

from gateway.cli import output
from gateway.cli.client import client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.jsontext import Json, Number
from gateway.cli.names import check_id

LEVELS = ("read_only", "read_write", "full_access")


@click.group(invoke_without_command=True, short_help="List the API keys of the org, make or revoke one.")
@click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")
@click.pass_context
def keys(context: click.Context, as_json: bool) -> None:
    """List the API keys of the org; make one, or revoke one.

    A key never makes one that may do more than itself, and what it made dies with it.

    \b
    skillway keys
    """
    if context.invoked_subcommand is not None:
        return
    answer = client_for(login_in_use()).ask("GET", "/api-keys")
    found = answer.json()
    if not output.for_people(as_json) or not isinstance(found, list):
        output.answer(answer.body)
        return
    shown = [key for key in found if isinstance(key, dict)]
    output.table(
        ("id", "name", "prefix", "mode", "level", "scopes", "state", "last used"),
        [
            (
                key.get("id"),
                key.get("name"),
                key.get("key_prefix"),
                key.get("mode"),
                key.get("level"),
                key.get("scopes"),
                "revoked" if key.get("revoked_at") else "expired" if key.get("expired") else "active",
                key.get("last_used_at"),
            )
            for key in shown
        ],
    )


@keys.command(short_help="Make a key; its text is shown this once.")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--scopes", metavar="A,B", help="Integrations it may use; else all that the key in use may.")
@click.option("--level", type=click.Choice(LEVELS), help="How much it may change; else as the key in use.")
@click.option("--allow", metavar="A,B", help="The only actions it may call: `github.create_issue`, `github.list_*`.")
@click.option("--deny", metavar="A,B", help="Actions it may not call.")
@click.option("--users", metavar="A,B", help="The only users it may act for.")
@click.option("--connections", metavar="A,B", help="Ids of the only connections it may use.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="When it stops working.")
@click.option("--test", "is_test", is_flag=True, help="A sandbox key: answered from examples, never sent upstream.")
def create(name: str, level: str | None, expires_in_days: int | None, is_test: bool, **lists: str | None) -> None:
    """Make a key of the org. Its text is shown this once.

    \b
    skillway keys create --name 'issue bot' --scopes github --level read_write --expires-in-days 30
    """
    body: dict[str, Json] = {"name": name}
    if level is not None:
        body["level"] = level
    if expires_in_days is not None:
        body["expires_in_days"] = Number(text=str(expires_in_days))
    if is_test:
        body["mode"] = "test"
    for field, text in lists.items():
        if text is not None:
            body[field] = [part.strip() for part in text.split(",") if part.strip()]
    made = client_for(login_in_use()).ask("POST", "/api-keys", body=body)
    if not output.for_people():
        output.answer(made.body)
        return
    members = made.members()
    output.text(f"\n  {members.get('full_key')}\n")
    output.note("Save this key now: it is not shown again.")


@keys.command(short_help="Revoke a key by its id.")
@click.argument("key")
def revoke(key: str) -> None:
    """Revoke a key by its id, and all that were made by it. It stops within two seconds everywhere.

    \b
    skillway keys revoke key_90d2
    """
    client_for(login_in_use()).ask("DELETE", path_of("api-keys", check_id("key", key)))
    output.line({"id": key, "revoked": True})


@click.command(short_help="Show what the org has used, and what is left.")
@click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")
def usage(as_json: bool) -> None:
    """Show what the org has used in this month and today, and what is left.

    \b
    skillway usage
    """
    answer = client_for(login_in_use()).ask("GET", "/v1/usage")
    if not output.for_people(as_json):
        output.answer(answer.body)
        return
    members = answer.members()
    output.fields({name: members.get(name) for name in ("plan", "requests_per_minute")})
    limited = ("credits", "calls_today", "connections", "api_keys")
    output.table(
        ("", "used", "limit", "left"),
        [
            (name.replace("_", " "), *(part.get(column) for column in ("used", "limit", "left")))
            for name in limited
            if isinstance(part := members.get(name), dict)
        ],
    )
    for title, name in (("by_integration", "integration"), ("by_key", "name")):
        rows = [row for row in _list(members.get(title)) if isinstance(row, dict)]
        if rows:
            output.heading(f"\n{title.replace('_', ' ')}")
            output.table((name, "calls", "credits"), [(row.get(name), row.get("calls"), row.get("credits")) for row in rows])


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
