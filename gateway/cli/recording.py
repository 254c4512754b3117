"""`skillway sandbox record`: makes an example for a definition of what an upstream really answers."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from jsonschema_rs import ValidationError

from gateway.cli import output
from gateway.cli.client import Client, client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.definitions import OWN_FOLDER, print_lines, shown_path
from gateway.cli.failures import REFUSED, refused
from gateway.cli.files import written_whole
from gateway.cli.jsontext import Json, dumps
from gateway.cli.names import check_name
from gateway.cli.params import read_object, read_params
from gateway.cli.skills import document
from skills_catalog.lint import lint
from skills_catalog.loader import load_definition
from skills_catalog.mistakes import CatalogError
from skills_catalog.recording.adding import CannotAdd, lines_of, with_example
from skills_catalog.recording.redacting import counted_words, redact
from skills_catalog.validation import compile_schema

_NO_BODY = (204, 205, 304)


@click.group(short_help="Make examples, which test keys are answered from.")
def sandbox() -> None:
    """What test keys are answered from: the examples of the definitions."""


@sandbox.command(
    short_help="Make an example of a live call: [our options] <integration> <action> [--param value]…",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--params", metavar="JSON|@FILE|-", help="The params as one JSON object; flags go before it.")
@click.option("--user", metavar="USER", help="The end user on whose behalf the call is made.")
@click.option("--connection", metavar="ID", help="Which connection to use, where several fit.")
@click.option("--to", metavar="FILE", type=click.Path(path_type=Path), help="The definition that the example is added to.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask: make a call that changes something, write the file.")
@click.argument("integration")
@click.argument("action")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAM VALUE]...")
def record(
    params: str | None,
    user: str | None,
    connection: str | None,
    to: Path | None,
    yes: bool,
    integration: str,
    action: str,
    words: tuple[str, ...],
) -> None:
    """Make a live call, and print it with its answer as an example for a definition.

    Secrets, mail addresses, names of people, tokens and ids are made up in the shape that they have; lists and texts
    are cut short. What a title or a text says is left: look through it. With --to the example is added to that file,
    unless the file would no longer lint. On a terminal the command asks before it changes anything.

    \b
    skillway sandbox record github list_issues --repo acme/webapp
    skillway sandbox record --to my-integrations/rooms.yaml rooms list_rooms --seats 6
    """
    check_name("integration", integration), check_name("action", action)
    before = _read(to, integration) if to is not None else None
    client = client_for(login_in_use())
    page = document(client, integration, action).members()
    given = read_object(params) if params is not None else {}
    if words:
        given |= read_params(words, page.get("parameters"))
    if page.get("effect") != "read" and not yes:
        _ask(f"{integration}.{action} changes something at {integration}, for real. Go on?", "--yes makes the call.")
    body: dict[str, Json] = {"params": given}
    body |= {"user": user} if user is not None else {}
    body |= {"connection": connection} if connection is not None else {}
    example = _recorded(client, integration, action, body, page.get("parameters"))
    click.echo("\n".join(lines_of(example)))
    if before is None and (own := OWN_FOLDER / f"{integration}.yaml").is_file() and _is_asked():
        to, before = own, _read(own, integration)
    if to is not None and before is not None:
        _write(to, before, action, example, sure=yes)


def _recorded(client: Client, integration: str, action: str, body: Json, schema: Json) -> Mapping[str, Any]:
    with output.spinner(f"{integration}/{action}"):
        answer = client.ask("POST", path_of("v1", integration, action), body=body, headers={"Cache-Control": "no-cache"})
    envelope = json.loads(answer.body)
    if envelope.get("meta", {}).get("sandbox"):
        raise refused("This is a test key: what it is answered is an example already. Use a live key.", code="forbidden")
    data = envelope["data"]
    if isinstance(data, dict) and data.get("omitted") is True and "size" in data:
        raise refused("The answer is too large to make an example of.", code="payload_too_large")
    if isinstance(data, dict) and data.get("encoding") == "base64" and "content" in data:
        # Of a file that it is one is enough.
        data = {**data, "content": "aGk=", "size": 2}
    assert isinstance(body, dict)
    given = json.loads(dumps(body["params"]))
    made, shown, redaction = redact(given, data)
    made = _taken(given, made, json.loads(dumps(schema)))
    words = list(counted_words(redaction.counted))
    output.note(f"Made up: {', '.join(words)}." if words else "Nothing had to be made up.")
    output.note("Look through it before you publish it: what titles and texts say is left.")
    response: dict[str, Any] = {"status": envelope["status"]}
    if envelope["status"] not in _NO_BODY:
        response["data"] = shown
    return {**({"params": made} if made else {}), "response": response}


def _taken(given: Mapping[str, Any], made: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """The made-up params, but for those whose schema takes none but the given."""
    try:
        check = compile_schema(schema)
    except (ValidationError, ValueError):
        return dict(made)
    taken = dict(given)
    for name, value in made.items():
        if value == given[name]:
            continue
        if check.is_valid({**taken, name: value}):
            taken[name] = value
        else:
            output.warn(f"{name} is as you gave it: its schema takes nothing made up.")
    return taken


def _read(to: Path, integration: str) -> str:
    try:
        text = to.read_bytes().decode()
        found, _ = load_definition(text, source=shown_path(to))
    except OSError as error:
        raise refused(f"{to} cannot be read: {error.strerror}.", code="not_found") from error
    except (UnicodeDecodeError, CatalogError) as error:
        raise refused(f"{to} does not load: {error}", hint="`skillway catalog lint` says what is wrong.") from error
    if found.slug != integration:
        raise refused(f"{to} is the definition of {found.slug}, not of {integration}.")
    return text


def _write(to: Path, before: str, action: str, example: Mapping[str, Any], *, sure: bool) -> None:
    """Adds the example, where the file lints with it as it did without."""
    name = shown_path(to)
    try:
        _, document_before = load_definition(before, source=name)
        after = with_example(before, document_before, action, example)
        found = [*_errors(after, name)]
    except (CannotAdd, CatalogError) as error:
        raise refused(f"The example was not added to {name}: {error}", code="conflict") from error
    known = {message for _, message in _errors(before, name)}
    if new := [line for line, message in found if message not in known]:
        print_lines(new)
        raise refused(f"The example was not added: {name} would not lint any more.", code="conflict")
    if _is_asked() and not sure:
        diff = difflib.unified_diff(before.split("\n"), after.split("\n"), name, name, n=2, lineterm="")
        print_lines(list(diff), most=200)
        _ask(f"Write {name}?")
    with written_whole(to) as file:
        file.write(after.encode())
    output.note(f"Added to {name}. A running gateway reads it on SIGHUP.")


def _errors(text: str, name: str) -> list[tuple[str, str]]:
    """What lint calls an error: as it is shown, and without its line, which an addition moves."""
    findings = lint(*load_definition(text, source=name))
    return [(str(one), f"{one.mistake.field} {one.mistake.message}") for one in findings if one.severity == "error"]


def _is_asked() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str, otherwise: str | None = None) -> None:
    """Goes on where a person says so; elsewhere than on a terminal nobody can be asked."""
    if not _is_asked():
        raise refused(f"{question} Nobody can be asked here.", hint=otherwise)
    if not click.confirm(question, default=False, err=True):
        output.note("Nothing was done.")
        raise click.exceptions.Exit(REFUSED)
