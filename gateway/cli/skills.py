"""`skillway skills`: what can be called, in three levels, each one request."""

from __future__ import annotations

import click

from gateway.cli import output
from gateway.cli.client import Answer, Client, client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.failures import refused
from gateway.cli.jsontext import Json, dumps
from gateway.cli.names import check_name

_EFFECTS = ("read", "create", "update", "delete", "send")


@click.command(short_help="List integrations, the actions of one, or document one action.")
@click.argument("integration", required=False)
@click.argument("action", required=False)
@click.option("--search", metavar="TEXT", help="Find actions, of all integrations or of one, by what they do.")
@click.option("--effect", type=click.Choice(_EFFECTS), help="With --search: only actions of this effect.")
@click.option("--connected", is_flag=True, help="With --search: only of integrations that the user has connected.")
@click.option("--user", metavar="USER", help="Tell what this user has connected.")
@click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")
def skills(
    integration: str | None,
    action: str | None,
    search: str | None,
    effect: str | None,
    connected: bool,
    user: str | None,
    as_json: bool,
) -> None:
    """List the integrations, the actions of one, or document one action.

    \b
    skillway skills                      which integrations there are, and which are connected
    skillway skills github               the actions of one
    skillway skills github create_issue  the params, examples and errors of one action
    skillway skills --search "open bug"  actions by what they do
    """
    client = client_for(login_in_use())
    if search is not None:
        if action:
            raise refused("--search finds actions; leave the action out.")
        within = check_name("integration", integration) if integration else None
        query = {"q": search, "integration": within, "effect": effect, "connected": "1" if connected else None, "user": user}
        answer, show = client.ask("GET", "/v1/skills/search", query=query), _show_found
    elif effect or connected:
        raise refused("--effect and --connected go with --search.")
    elif integration is None:
        answer, show = client.ask("GET", "/v1/skills", query={"user": user}), _show_integrations
    elif action is None:
        path = path_of("v1", "skills", check_name("integration", integration))
        answer, show = client.ask("GET", path, query={"user": user}), _show_actions
    else:
        answer, show = document(client, integration, action), show_document
    if output.for_people(as_json):
        show(answer.members())
    else:
        output.answer(answer.body)


def document(client: Client, integration: str, action: str) -> Answer:
    """The documentation of one action, its JSON Schema under `parameters`."""
    return client.ask(
        "GET", path_of("v1", "skills", check_name("integration", integration), check_name("action", action))
    )


def show_document(page: dict[str, Json]) -> None:
    """One action, as a page for people."""
    output.heading(f"{_word(page.get('integration'))} {_word(page.get('name'))}: {_word(page.get('title'))}")
    output.text(f"{_word(page.get('method'))} {_word(page.get('path'))}  ({_word(page.get('effect'))})")
    for paragraph in _word(page.get("description")).splitlines():
        output.text(paragraph)
    schema = page.get("parameters")
    properties, required = _member(schema, "properties"), _member(schema, "required")
    if isinstance(properties, dict) and properties:
        print()
        rows = [_param_row(name, part, required) for name, part in properties.items()]
        output.table(("param", "type", "required", "description"), rows)
    for title, name, key in (("Examples", "examples", "cli"), ("Errors", "errors", None)):
        members = page.get(name)
        if isinstance(members, list) and members:
            print()
            output.heading(title)
            for member in members:
                output.text("  " + (_word(_member(member, key)) if key else _error_line(member)))
    if page.get("deprecated"):
        output.warn(f"This action is deprecated: {dumps(page['deprecated'])}")


def _show_integrations(page: dict[str, Json]) -> None:
    rows = [
        (
            _member(item, "slug"),
            _member(item, "connected"),
            _member(item, "available"),
            _member(item, "skill_count"),
            _member(item, "unavailable_reason") or _member(item, "description"),
        )
        for item in _items(page, "integrations")
    ]
    output.table(("integration", "connected", "available", "actions", "description"), rows)


def _show_actions(page: dict[str, Json]) -> None:
    connected = "connected" if page.get("connected") else "not connected"
    output.heading(f"{_word(page.get('name'))} ({connected}): {_word(page.get('description'))}")
    for method in _items(page, "auth"):
        output.text(f"  --auth {_word(_member(method, 'name'))}: {_word(_member(method, 'title'))}")
    columns = ("name", "method", "category", "effect", "description")
    rows = [[_member(item, column) for column in columns] for item in _items(page, "skills")]
    output.table(("action", *columns[1:]), rows)


def _show_found(page: dict[str, Json]) -> None:
    columns = ("integration", "action", "connected", "description")
    output.table(columns, [[_member(item, column) for column in columns] for item in _items(page, "skills")])
    if hint := _word(page.get("hint")):
        output.warn(hint)


def _param_row(name: str, schema: Json, required: Json) -> tuple[Json, ...]:
    description = _word(_member(schema, "description"))
    allowed = _member(schema, "enum")
    if isinstance(allowed, list):
        description = f"{description} One of {', '.join(_word(value) for value in allowed)}."
    return name, _type_name(schema), isinstance(required, list) and name in required, description


def _type_name(schema: Json) -> str:
    said = _member(schema, "type")
    if isinstance(said, list):
        return " or ".join(_word(name) for name in said)
    if said == "array":
        return f"array of {_word(_member(_member(schema, 'items'), 'type')) or 'anything'}"
    return _word(said) or "any"


def _error_line(member: Json) -> str:
    return f"{_word(_member(member, 'code'))}: {_word(_member(member, 'fix')) or _word(_member(member, 'description'))}"


def _items(page: dict[str, Json], name: str) -> list[Json]:
    items = page.get(name)
    return items if isinstance(items, list) else []


def _member(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, dict) else None


def _word(value: Json) -> str:
    return "" if value is None else value if isinstance(value, str) else dumps(value)
