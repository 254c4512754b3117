"""`skillway catalog new`: the first lines of an integration file, from five answers or as a commented example."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from urllib.parse import urlsplit

import click

from gateway.cli import output
from gateway.cli.definitions import OWN_FOLDER, json_option, print_json
from gateway.cli.failures import CommandFailed, refused
from skills_catalog.descriptions.model import Description, Json, Operation
from skills_catalog.importing.effects import effect_of
from skills_catalog.importing.naming import action_names
from skills_catalog.importing.words import words_of
from skills_catalog.loader import load_definition
from skills_catalog.mistakes import CatalogError
from skills_catalog.names import RESERVED_SLUGS, SLUG
from skills_catalog.shape import SCHEMA_FILE
from skills_catalog.templates import Malformed, address, request_template, variables
from skills_catalog.writing import block

#: Ways in that a few lines can say.
_WAYS = ("api_key", "bearer", "basic", "oauth2", "client_credentials", "none")
_QUESTIONS = {
    "slug": "Slug, its name in URLs and commands",
    "name": "Name for people",
    "base_url": "Base URL, what every request starts with",
    "auth": f"How it lets us in ({', '.join(_WAYS)})",
    "action": "First action, as method and path",
}


@click.command(short_help="Start an integration file.")
@click.argument("slug", required=False)
@click.option("--name", help="Name for people, such as GitHub.")
@click.option("--base-url", metavar="URL", help="What every request starts with.")
@click.option("--auth", type=click.Choice(_WAYS), help="How it lets us in.")
@click.option("--action", metavar="REQUEST", help="The first action, such as 'POST /rooms/{id}/bookings'.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=OWN_FOLDER,
    show_default=True,
    help="Where to put it.",
)
@json_option
def new(
    slug: str | None,
    name: str | None,
    base_url: str | None,
    auth: str | None,
    action: str | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Start an integration file that works, to be changed into yours.

    On a terminal it asks what was not given. Elsewhere, without any option, it writes a commented example.

    \b
    skillway catalog new rooms --base-url https://rooms.corp.example/v1 --auth api_key --action 'GET /me'
    """
    given = {"slug": slug, "name": name, "base_url": base_url, "auth": auth, "action": action}
    answers = {key: value for key, value in given.items() if value is not None}
    for key, value in answers.items():
        if wrong := _wrong(key, value):
            raise wrong
    asked = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    if asked and len(answers) < len(given):
        _ask(answers)
    if "slug" not in answers:
        raise refused("SLUG is missing: its name in URLs and commands, such as my_crm.")
    slug = answers.pop("slug")
    file = folder / f"{slug}.yaml"
    _write(file, _from_answers(slug, answers) if answers else starter(slug))
    if as_json:
        print_json({"file": str(file)})
        return
    output.text(str(file))
    output.note(f"Change it, then `skillway catalog lint {file}` and `skillway catalog test {file}`.")
    output.note(f"To serve it, put {folder} under catalog.paths in skills.yaml and restart the gateway, once.")
    output.note("From then on SIGHUP makes a running gateway read changed and new files of that folder.")


def starter(slug: str) -> str:
    """The text of a new integration file with an example of everything that is common."""
    return _STARTER.replace("SLUG", slug).replace("NAME", _name_of(slug)).replace("SCHEMA", SCHEMA_FILE.name)


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
        # The editor's completion and checks come from the schema beside the file.
        copyfile(SCHEMA_FILE, file.parent / SCHEMA_FILE.name)
    except FileExistsError as error:
        raise refused(f"{file} exists already.", code="conflict") from error
    except OSError as error:
        raise refused(f"{file} cannot be written: {error.strerror}.") from error


# ---------------------------------------------------------------------- questions


def _ask(answers: dict[str, str]) -> None:
    """Asks for what is missing; a wrong answer is told and asked for again."""
    for key, question in _QUESTIONS.items():
        while key not in answers:
            said = click.prompt(question, default=_default(key, answers), err=True, type=str).strip()
            if wrong := _wrong(key, said):
                output.note(wrong.problem.message)
            else:
                answers[key] = said


def _default(key: str, answers: Mapping[str, str]) -> str | None:
    slug = answers.get("slug", "")
    defaults = {
        "name": _name_of(slug),
        "base_url": f"https://api.{slug.replace('_', '-')}.example",
        "auth": "api_key",
        "action": "GET /me",
    }
    return defaults.get(key)


def _wrong(key: str, value: str) -> CommandFailed | None:
    match key:
        case "slug" if not SLUG.fullmatch(value):
            return refused(f"{value!r} is no slug: lower-case letters, digits and _, beginning with a letter.")
        case "slug" if value in RESERVED_SLUGS:
            return refused(f"{value} is reserved for a route of the gateway; take another name.")
        case "name" if not value or len(value) > 100:
            return refused("A name has 1 to 100 characters.")
        case "auth" if value not in _WAYS:
            return refused(f"{value!r} is none of {', '.join(_WAYS)}.")
        case "base_url":
            return _wrong_address(value)
        case "action":
            try:
                request_template(value if " /" in value else f"{value} ")
            except Malformed as error:
                return refused(f"{value!r} is no method and path such as GET /me: {error}")
            return None if " /" in value else refused(f"{value!r} is no method and path such as GET /me.")
    return None


def _wrong_address(url: str) -> CommandFailed | None:
    try:
        found = address(url)
    except Malformed as error:
        return refused(f"{url!r} cannot be a base URL: {error}")
    if found.query or "{" in url:
        return refused(f"{url!r} cannot be a base URL: leave out the query and braces; the file may have them later.")
    return None


# ---------------------------------------------------------------------- the file


def _from_answers(slug: str, answers: Mapping[str, str]) -> str:
    """A definition with one action, as answered; the rest is what is likely."""
    name = answers.get("name") or _name_of(slug)
    base_url = answers.get("base_url") or f"https://api.{slug.replace('_', '-')}.example"
    head: dict[str, Json] = {
        "slug": slug,
        "name": name,
        "description": f"Reads and changes what {name} keeps.",
        "categories": ["own"],
        "version": "0.1.0",
        "docs_url": _origin(base_url),
        "base_url": base_url.rstrip("/"),
        "auth": [_method(answers.get("auth") or "api_key", _origin(base_url))],
    }
    action, spec = _action(answers.get("action") or "GET /me", slug)
    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA_FILE.name}",
        "# `skillway catalog new` elsewhere than on a terminal writes an example of everything, with comments.",
        *block(head),
        "",
        "# The action that checks a new connection, and where its answer names the account:",
        "# whoami: {action: get_me, account: email}",
        "",
        "actions:",
        f"  {action}:",
        *block(spec, 4),
    ]
    text = "\n".join(lines) + "\n"
    try:
        load_definition(text, source=slug)
    except CatalogError as error:
        raise refused(f"No file can be made of these answers: {error.problems[0].message}") from error
    return text


def _method(kind: str, origin: str) -> dict[str, Json]:
    match kind:
        case "api_key":
            return {"name": "key", "type": "api_key", "title": "API key", "in": "header", "as": "X-API-Key"}
        case "bearer":
            return {"name": "token", "type": "bearer", "title": "Access token"}
        case "basic":
            return {"name": "login", "type": "basic"}
        case "oauth2":
            return {
                "name": "oauth",
                "type": "oauth2",
                "authorization_url": f"{origin}/oauth/authorize",
                "token_url": f"{origin}/oauth/token",
            }
        case "client_credentials":
            return {"name": "client", "type": "client_credentials", "token_url": f"{origin}/oauth/token"}
        case _:
            return {"name": "open", "type": "none"}


def _action(line: str, slug: str) -> tuple[str, dict[str, Json]]:
    template = request_template(line)
    operation = Operation(id="", method=template.method, path=re.sub(r"\{\+", "{", template.path))
    description = Description(source="", kind="", title="", version="", digest="", operations=(operation,))
    name = action_names(description, slug)[operation.key]
    words = name.replace("_", " ")
    spec: dict[str, Json] = {
        "category": "general",
        "description": f"{words[:1].upper()}{words[1:]}, in a sentence that tells an agent when to use it.",
        "request": line,
    }
    if template.method not in ("GET", "HEAD"):
        spec["effect"] = effect_of(operation, name).effect
    names = list(dict.fromkeys(variables(template)))
    if names:
        spec["params"] = {
            one: {
                "type": "string",
                "description": f"The {' '.join(words_of(one))}, and where to find it.",
                "required": True,
            }
            for one in names
        }
    status = 204 if template.method in ("DELETE", "HEAD") else 201 if spec.get("effect") == "create" else 200
    response: dict[str, Json] = {"status": status, **({"data": {"id": "1"}} if status != 204 else {})}
    params = {"params": dict.fromkeys(names, "example")} if names else {}
    spec["examples"] = [{**params, "response": response}]
    return name, spec


def _name_of(slug: str) -> str:
    return slug.replace("_", " ").title()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


_STARTER = """\
# yaml-language-server: $schema=./SCHEMA
# An integration: a third-party API, how it lets us in, and its actions. Everything here works as it is; change it.

slug: SLUG                              # its name in URLs and commands
name: NAME
description: Reads and writes the notes of NAME.
categories: [productivity]
version: 0.1.0
docs_url: https://example.com/docs
base_url: https://api.example.com/v1    # every path below is added to it

# How it lets us in, one or more. Other types: bearer, basic, oauth2, oauth1, client_credentials, jwt_bearer, session, none.
auth:
  - name: key
    type: api_key
    title: API key
    in: header                          # or query, body, cookie
    as: X-API-Key                       # the name of that header
#  - name: oauth
#    type: oauth2
#    authorization_url: https://example.com/oauth/authorize
#    token_url: https://example.com/oauth/token
#    scopes: {default: [notes.read, notes.write]}

# The action that checks a new connection, and where its answer names the account.
whoami: {action: get_me, account: email}

actions:
  get_me:
    category: account
    description: Tell whose key this is.
    request: GET /me                    # a GET reads, so no effect is needed
    asks:                               # what people say when they want it, in other words; search is built on them
      - who am I here
      - which account do we use
      - check that we are logged in
    examples:
      - response: {status: 200, data: {id: 7, email: ada@example.com}}

  list_notes:
    category: notes
    description: List the notes, newest first.
    request: GET /notes
    params:                             # of a GET: they go into the query
      search: {type: string, description: Only notes that hold this text.}
      per_page: {type: integer, minimum: 1, maximum: 100, default: 20, description: Notes of a page.}
    asks: [what did I jot down, everything about milk, my latest memos]
    examples:
      - params: {search: milk}
        response: {status: 200, data: [{id: 12, title: Shopping}]}

  create_note:
    category: notes
    description: Write a note.
    request: POST /notes
    effect: create                      # read, create, update, delete or send
    params:                             # of a POST: they go into the JSON body
      title: {type: string, minLength: 1, maxLength: 200, description: Title of the note., required: true}
      text: {type: string, description: Its text in Markdown.}
      tags: {type: array, items: {type: string}, description: Words to find it by.}
    asks: [jot this down, remember the milk, keep that for later]
    errors:                             # what refusals mean, and what to do
      - {status: 402, fix: The account is full. Delete notes or take a larger plan.}
    examples:                           # they must work: docs, tests and the sandbox are made of them
      - params: {title: Shopping, tags: [home]}
        response: {status: 201, data: {id: 13, title: Shopping, tags: [home]}}

  delete_note:
    category: notes
    description: Delete a note for good.
    request: DELETE /notes/{id}         # {id} is filled by the param of that name; {+id} would keep its slashes
    effect: delete
    params:
      id: {type: integer, description: Id of the note., required: true}
    asks: [throw that memo away, I do not need this any more, remove what I jotted down]
    examples:
      - params: {id: 13}
        response: {status: 204}
"""
