"""`skillway catalog`: start an integration file, check it, and try its examples without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile

import click

from gateway.cli import output
from gateway.cli.failures import REFUSED, refused
from skills_catalog.lint import Finding, lint_file
from skills_catalog.loader import SHIPPED, CatalogError, definition_files, load_catalog, load_definition
from skills_catalog.mistakes import Mistake
from skills_catalog.model import AuthMethod, Example, Integration, Skill, Text
from skills_catalog.names import RESERVED_SLUGS, SLUG
from skills_catalog.samples import sample_value
from skills_catalog.shape import SCHEMA_FILE
from skills_catalog.strict_yaml import Document

#: Where one's own definitions are kept, as the shipped skills.yaml says.
OWN_FOLDER = Path("my-integrations")

_paths = click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group(short_help="Write and check integration files.")
def catalog() -> None:
    """Write and check integration files.

    Without PATH the shipped integrations and those of ./my-integrations are meant.
    """


@catalog.command(short_help="Check integration files.")
@_paths
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--all", "show_all", is_flag=True, help="Show what is only worth knowing, too.")
@_json
def lint(paths: tuple[Path, ...], strict: bool, show_all: bool, as_json: bool) -> None:
    """Check integration files: each finding with file, line and field.

    Exits 0 if there is nothing to mend, 1 if there is.
    """
    files: list[Path] = []
    findings: list[Finding] = []
    for path in _chosen(paths):
        here = _files(path)
        files += here
        found = [finding for file in here for finding in lint_file(file)]
        findings += found
        if all(finding.rule != "load" for finding in found):
            findings += _between(path)
    count = {kind: sum(finding.severity == kind for finding in findings) for kind in ("error", "warning", "info")}
    failed = count["error"] > 0 or (strict and count["warning"] > 0)
    shown = [finding for finding in findings if show_all or finding.severity != "info"]
    hooks = sum(finding.rule == "hooks" for finding in findings)
    if as_json:
        _print_json(
            {"ok": not failed, "files": len(files), **count, "hooks": hooks, "findings": [_members(one) for one in shown]}
        )
    else:
        for finding in shown:
            output.text(str(finding))
        _summary(
            f"{_counted(len(files), 'file')}: {_counted(count['error'], 'error')}", count["warning"], count["info"]
        )
        if hooks:
            output.note(f"{_counted(hooks, 'action')} of them pass through a hook: code, not data.")
    if failed:
        raise click.exceptions.Exit(REFUSED)


@catalog.command(short_help="Build the request of every example.")
@_paths
@_json
def test(paths: tuple[Path, ...], as_json: bool) -> None:
    """Build the request that every example would send, once for each way to connect. Nothing is sent.

    Exits 0 if all can be built and go where their definition says, 1 if one does not.
    """
    trials = [trial for path in _chosen(paths) for file in _files(path) for trial in _trials(file)]
    failures = [trial for trial in trials if trial.mistake]
    if as_json:
        _print_json({"ok": not failures, "examples": [trial.members() for trial in trials]})
    else:
        rows = [(trial.name, trial.method, "failed" if trial.mistake else "ok", trial.request) for trial in trials]
        if rows:
            output.table(("action", "auth", "", "request"), rows)
        for trial in failures:
            output.text(str(trial.mistake))
        output.note(f"{_counted(len(trials), 'request')} built, {len(failures)} failed.")
    if failures:
        raise click.exceptions.Exit(REFUSED)


@catalog.command(short_help="Start an integration file.")
@click.argument("slug")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=OWN_FOLDER,
    show_default=True,
    help="Where to put it.",
)
@_json
def new(slug: str, folder: Path, as_json: bool) -> None:
    """Write a working integration file with comments, to be changed into yours."""
    if not SLUG.fullmatch(slug):
        raise refused(f"{slug!r} is no slug: lower-case letters, digits and _, beginning with a letter.")
    if slug in RESERVED_SLUGS:
        raise refused(f"{slug} is reserved for a route of the gateway; take another name.")
    file = folder / f"{slug}.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(starter(slug))
        # The editor's completion and checks come from the schema beside the file.
        copyfile(SCHEMA_FILE, folder / SCHEMA_FILE.name)
    except FileExistsError as error:
        raise refused(f"{file} exists already.", code="conflict") from error
    except OSError as error:
        raise refused(f"{file} cannot be written: {error.strerror}.") from error
    if as_json:
        _print_json({"file": str(file)})
        return
    output.text(str(file))
    output.note(f"Change it, then `skillway catalog lint {file}` and `skillway catalog test {file}`.")
    output.note(f"To serve it, put {folder} under catalog.paths in skills.yaml and restart the gateway, once.")
    output.note("From then on SIGHUP makes a running gateway read changed and new files of that folder.")


def starter(slug: str) -> str:
    """The text of a new integration file."""
    name = slug.replace("_", " ").title()
    return _STARTER.replace("SLUG", slug).replace("NAME", name).replace("SCHEMA", SCHEMA_FILE.name)


# ---------------------------------------------------------------------- trying examples


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One example as one auth method would send it: the request line, or why there is none."""

    name: str
    method: str
    example: int
    request: str = ""
    mistake: Mistake | None = None

    def members(self) -> dict[str, object]:
        said = {"action": self.name, "auth": self.method, "example": self.example, "ok": self.mistake is None}
        return {**said, **({"request": self.request} if self.request else {}), **_place(self.mistake)}


def _trials(file: Path) -> Iterator[_Trial]:
    try:
        integration, document = load_definition(file)
    except CatalogError as error:
        for mistake in error.problems:
            yield _Trial(name=file.stem, method="-", example=0, mistake=mistake)
        return
    for skill in integration.skills.values():
        for number, example in enumerate(skill.examples):
            for method in integration.methods_for(skill):
                yield _trial(integration, document, skill, method, number, example)


def _trial(
    integration: Integration,
    document: Document,
    skill: Skill,
    method: AuthMethod,
    number: int,
    example: Example,
) -> _Trial:
    # The builder brings the gateway's own modules along, which the other commands here do without.
    from gateway.core.errors import Refusal
    from gateway.core.hook_functions import Hooks
    from gateway.core.outgoing import Outgoing
    from oauth.connections import Connection, ConnectionState, Credential, Held
    from oauth.secret import Secret
    from skills_catalog.validation import problems

    def failed(message: str) -> _Trial:
        mistake = document.mistake(("actions", skill.name, "examples", number), message)
        return _Trial(name=skill.id, method=method.name, example=number, mistake=mistake)

    if found := problems(skill, example.params):
        return failed(" ".join(problem.message for problem in found))
    fields = {field.name: sample_value(field) for field in integration.fields}
    params = {
        **{
            param.name: fields[param.default_from]
            for param in skill.params.values()
            if param.default_from and param.name not in example.params
        },
        **example.params,
    }
    credential = Credential(
        token=Secret("credential"), username="user", password=Secret("credential"), client_id="client"
    )
    connection = Connection(
        id="conn_", org="", integration=integration.slug, user="", method=method.name, state=ConnectionState.ACTIVE,
        fields=fields,
    )
    held = None if method.type == "none" else Held(connection=connection, credential=credential)
    try:
        # What a hook makes of it is the operator's to try.
        request = Outgoing(Hooks({})).request(integration, replace(skill, hook=None), params, held)
    except Refusal as refusal:
        return failed(str(refusal))
    if request.method != skill.request.method:
        return failed(f"Became a {request.method} instead of a {skill.request.method}.")
    if not _fits(skill, request.path):
        return failed(f"Became the path {request.path}, which is not {skill.request.path}.")
    return _Trial(name=skill.id, method=method.name, example=number, request=f"{request.method} {_shown(request.url)}")


def _fits(skill: Skill, path: str) -> bool:
    """Whether a built path ends as its template does: as many segments at least, the fixed ones in place."""
    segments = skill.request.segments
    parts = path.split("/")
    if any(not isinstance(piece, Text) and piece.keep_slash for pieces in segments for piece in pieces):
        return len(parts) > len(segments)
    ending = parts[-len(segments) :]
    return len(parts) > len(segments) and all(
        "".join(piece.text for piece in pieces if isinstance(piece, Text)) == part
        for pieces, part in zip(segments, ending, strict=True)
        if all(isinstance(piece, Text) for piece in pieces)
    )


def _shown(url: str) -> str:
    return url if len(url) <= 200 else f"{url[:199]}…"


# ---------------------------------------------------------------------- files and output


def _chosen(paths: Sequence[Path]) -> list[Path]:
    return list(paths) or [SHIPPED, *([OWN_FOLDER] if OWN_FOLDER.is_dir() else [])]


def _files(path: Path) -> list[Path]:
    try:
        return definition_files(path)
    except CatalogError as error:
        raise refused(str(error), code="not_found") from error


def _between(path: Path) -> list[Finding]:
    """What is wrong between files that are right each by itself."""
    try:
        load_catalog([path])
    except CatalogError as error:
        return [Finding(severity="error", rule="load", mistake=mistake) for mistake in error.problems]
    return []


def _members(finding: Finding) -> dict[str, object]:
    return {"severity": finding.severity, "rule": finding.rule, **_place(finding.mistake)}


def _place(mistake: Mistake | None) -> dict[str, object]:
    if mistake is None:
        return {}
    return {"file": mistake.file, "line": mistake.line, "field": mistake.field, "message": mistake.message}


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _summary(text: str, warnings: int, infos: int) -> None:
    text += f", {_counted(warnings, 'warning')}"
    output.note(f"{text}, {_counted(infos, 'info')} (--all shows them)." if infos else f"{text}.")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
    examples:
      - response: {status: 200, data: {id: 7, email: ada@example.com}}

  list_notes:
    category: notes
    description: List the notes, newest first.
    request: GET /notes
    params:                             # of a GET: they go into the query
      search: {type: string, description: Only notes that hold this text.}
      per_page: {type: integer, minimum: 1, maximum: 100, default: 20, description: Notes of a page.}
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
    examples:
      - params: {id: 13}
        response: {status: 204}
"""
