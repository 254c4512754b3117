"""`skillway catalog import`: a vendor's description becomes an integration file, or adds to one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile

import click

from gateway.cli import output
from gateway.cli.definitions import OWN_FOLDER, counted, json_option, print_json, print_lines, shown_path
from gateway.cli.failures import refused
from gateway.cli.fetching import description_of
from gateway.cli.trials import without_credential
from gateway.cli.verifying import verify, write_record
from skills_catalog.descriptions.model import Description, Operation
from skills_catalog.importing.effects import effect_of
from skills_catalog.importing.importer import CannotImport, Imported, Wish, import_operations
from skills_catalog.importing.merging import free_names, merged, standing
from skills_catalog.importing.naming import action_names, slug_of
from skills_catalog.importing.selecting import NothingSelected, selected
from skills_catalog.loader import load_definition
from skills_catalog.mistakes import CatalogError
from skills_catalog.model import Integration
from skills_catalog.names import RESERVED_SLUGS, SLUG
from skills_catalog.shape import SCHEMA_FILE
from skills_catalog.strict_yaml import MAX_BYTES
from skills_catalog.verification.comparing import NotBuilt
from skills_catalog.verification.records import record_file

#: Slugs stand before the names of actions, and both together have 64 characters.
_LONGEST_SLUG = 32


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What an import did, for people and for machines."""

    file: Path
    added: list[str] = field(default_factory=list)
    #: Actions that are neither listed nor callable until a person removes their mark, and why.
    unreviewed: dict[str, str] = field(default_factory=dict)
    #: Operation -> why it was not brought over.
    left_out: dict[str, str] = field(default_factory=dict)
    #: Actions whose operation the description no longer has.
    gone: list[str] = field(default_factory=list)
    #: Actions that differ from the description now.
    differing: list[str] = field(default_factory=list)
    kept: int = 0
    notes: list[str] = field(default_factory=list)
    pages: int = 0


@click.command("import", short_help="Make an integration file of a vendor's description.")
@click.argument("spec")
@click.option(
    "--select",
    multiple=True,
    metavar="PATTERN",
    help="Only operations that fit: tag:NAME, /path/*, GET /path/*, an operation id or action name with *; !PATTERN leaves out.",
)
@click.option("--base-url", metavar="URL", help="Where the API is, if the description does not say, or elsewhere.")
@click.option("--slug", help="Name of the integration in URLs and commands.")
@click.option(
    "-o",
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=OWN_FOLDER,
    show_default=True,
    help="Where to put it.",
)
@click.option("--list", "only_list", is_flag=True, help="Only show which operations there are, and the names they get.")
@click.option("--unreviewed", is_flag=True, help="Mark every action as not reviewed, not only those in doubt.")
@json_option
def import_(
    spec: str,
    select: tuple[str, ...],
    base_url: str | None,
    slug: str | None,
    folder: Path,
    only_list: bool,
    unreviewed: bool,
    as_json: bool,
) -> None:
    """Make an integration file of a vendor's description: OpenAPI, Swagger, Google discovery or GraphQL.

    SPEC is a file or an URL. Where the file exists already, its text stays, and operations that it does not have are
    added as `lifecycle: unreviewed`: they load, and are neither listed nor callable until you remove that line.
    What could not be brought over is listed.

    \b
    skillway catalog import library.yaml --select 'tag:Books'
    skillway catalog import https://api.example.com/openapi.json --list --json
    """
    description = description_of(spec)
    slug = _slug(slug, description)
    if only_list:
        _print_operations(description, select, slug, as_json)
        return
    file = folder / f"{slug}.yaml"
    if file.exists():
        if base_url is not None:
            raise refused(f"{shown_path(file)} has a base URL already; change it there.")
        outcome = _again(file, description, select, slug)
    else:
        outcome = _first(file, description, select, Wish(slug=slug, base_url=base_url, unreviewed=unreviewed))
    if as_json:
        print_json(_members(outcome))
    else:
        _print(outcome)


def _first(file: Path, description: Description, select: tuple[str, ...], wish: Wish) -> _Outcome:
    names = action_names(description, wish.slug)
    operations = _selected(description, select, names)
    imported = _imported(description, operations, wish, names)
    text = imported.text(_about(description, _schema_for(file.parent)))
    _check(text, file, "The imported definition cannot be used")
    _write(file, text)
    write_record(verify(file, description), select)
    return _outcome(file, imported)


def _again(file: Path, description: Description, select: tuple[str, ...], slug: str) -> _Outcome:
    before = verify(file, description)
    if not select and before.before is not None:
        select = before.before.select
    plain = action_names(description, slug)
    # What was selected by name is meant by the name that it had then.
    operations = _selected(description, select, plain)
    names = free_names(description, plain, before.integration)
    now = standing(operations, [one.compared for one in before.found])
    outcome = _Outcome(file=file, kept=len(before.found))
    if now.new:
        try:
            wish = Wish(slug=slug, unreviewed=True, into=before.integration)
            imported = _imported(description, now.new, wish, names)
            text = merged(file.read_text(encoding="utf-8"), before.document, imported)
        except CannotImport as error:
            raise refused(str(error)) from error
        _check(text, file, "The file could not take the new actions")
        _write(file, text)
        outcome = _outcome(file, imported)
        outcome.kept = len(before.found)
    after = verify(file, description)
    outcome.gone = list(now.gone)
    outcome.differing = [one.compared.action for one in after.differing]
    write_record(after, select)
    return outcome


def _imported(
    description: Description, operations: list[Operation] | tuple[Operation, ...], wish: Wish, names: Mapping[str, str]
) -> Imported:
    try:
        with _progress("Importing") as tell:
            return import_operations(description, operations, wish, names=names, check=_not_buildable, progress=tell)
    except CannotImport as error:
        raise refused(str(error)) from error


def _not_buildable(integration: Integration) -> dict[str, str]:
    """Actions whose example makes no request, with the reason."""
    found = {}
    for skill in integration.skills.values():
        for example in skill.examples:
            try:
                without_credential(integration, skill, example)
            except NotBuilt as error:
                found[skill.name] = str(error)
    return found


def _selected(description: Description, select: tuple[str, ...], names: Mapping[str, str]) -> list[Operation]:
    try:
        operations = selected(description.operations, select, names)
    except NothingSelected as error:
        raise refused(str(error), code="not_found") from error
    if not operations:
        raise refused("Nothing is left to import.", code="not_found")
    return operations


def _print_operations(description: Description, select: tuple[str, ...], slug: str, as_json: bool) -> None:
    """The operations that fit, with what a pattern of --select may name."""
    names = action_names(description, slug)
    operations = _selected(description, select, names)
    effects = {one.key: effect_of(one, names[one.key]).effect for one in operations}
    if as_json:
        members = [
            {"action": names[one.key], "effect": effects[one.key], "request": one.line, "id": one.id, "tags": one.tags}
            for one in operations
        ]
        print_json({"operations": members})
        return
    rows = [(names[one.key], effects[one.key], one.line, one.id, ", ".join(one.tags)) for one in operations]
    output.table(("action", "effect", "the vendor's operation", "its id", "tags"), rows)
    output.note(f"{counted(len(rows), 'operation')}.")


def _slug(given: str | None, description: Description) -> str:
    slug = slug_of(description) if given is None else given
    if not SLUG.fullmatch(slug) or len(slug) > _LONGEST_SLUG:
        said = f"{slug!r} is no slug" if slug else "The description has no name that would make a slug"
        raise refused(
            f"{said}; give --slug: lower-case letters, digits and _, beginning with a letter, at most {_LONGEST_SLUG}."
        )
    if slug in RESERVED_SLUGS:
        raise refused(f"{slug} is reserved for a route of the gateway; give another with --slug.")
    return slug


def _about(description: Description, schema: str) -> str:
    title = " ".join(part for part in (description.title, description.version) if part)
    source = description.source.rpartition("/")[2]
    day = datetime.now(UTC).date().isoformat()
    return (
        f"yaml-language-server: $schema={schema}\n"
        f"Imported on {day} from {source} ({description.kind}{f': {title}' if title else ''}),\n"
        f"SHA-256 {description.digest}.\n"
        "Guesses are marked. Look through it, make it yours; a later import adds and never changes what stands here."
    )


def _write(file: Path, text: str) -> None:
    if len(text.encode()) > MAX_BYTES:
        raise refused(
            f"The definition would have more than {MAX_BYTES // 1024**2} MB.", hint="Select fewer operations."
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise refused(f"{file} cannot be written: {error.strerror}.") from error


def _check(text: str, file: Path, otherwise: str) -> None:
    """What was put together must load; the file on disk stays as it is if not."""
    try:
        load_definition(text, source=shown_path(file))
    except CatalogError as error:
        raise refused(f"{otherwise}: {error.problems[0]}") from error


def _schema_for(folder: Path) -> str:
    """Where editors find the schema of definitions: above the folder if it is there, else put into it."""
    if (folder.absolute().parent / SCHEMA_FILE.name).is_file():
        return f"../{SCHEMA_FILE.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copyfile(SCHEMA_FILE, folder / SCHEMA_FILE.name)
    except OSError as error:
        raise refused(f"{folder / SCHEMA_FILE.name} cannot be written: {error.strerror}.") from error
    return f"./{SCHEMA_FILE.name}"


def _outcome(file: Path, imported: Imported) -> _Outcome:
    return _Outcome(
        file=file,
        added=[action.name for action in imported.actions],
        unreviewed={action.name: action.doubt for action in imported.actions if action.is_unreviewed},
        left_out=dict(imported.left_out),
        notes=[*imported.notes, *(f"{many} × {what}" for what, many in imported.lost.most_common())],
        pages=sum("page" in action.spec for action in imported.actions),
    )


def _members(outcome: _Outcome) -> dict[str, object]:
    return {
        "file": str(outcome.file),
        "record": str(record_file(outcome.file)),
        "added": outcome.added,
        "kept": outcome.kept,
        "unreviewed": outcome.unreviewed,
        "left_out": outcome.left_out,
        "gone": outcome.gone,
        "differing": outcome.differing,
        "guessed_pages": outcome.pages,
        "notes": outcome.notes,
    }


def _print(outcome: _Outcome) -> None:
    file = shown_path(outcome.file)
    output.text(file)
    if outcome.kept:
        output.note(f"{counted(outcome.kept, 'action')} stayed, {counted(len(outcome.added), 'new one')}.")
    else:
        output.note(f"{counted(len(outcome.added), 'action')} imported.")
    if outcome.left_out:
        output.note(f"Not brought over, {len(outcome.left_out)}:")
        print_lines([f"  {line}: {why}" for line, why in outcome.left_out.items()])
    if outcome.unreviewed:
        output.note(f"Not served until you remove `lifecycle: unreviewed`, {len(outcome.unreviewed)}:")
        print_lines([f"  {name}{f': {why}' if why else ''}" for name, why in outcome.unreviewed.items()])
    if outcome.gone:
        output.note(f"Not described any more: {', '.join(outcome.gone[:20])}{', …' if len(outcome.gone) > 20 else ''}.")
    if outcome.differing:
        output.note(f"{counted(len(outcome.differing), 'action')} differ from the description; see")
        output.note(f"  skillway catalog test {file} --against SPEC")
    if outcome.pages:
        outcome.notes.append(f"{outcome.pages} × how a list is paged")
    if outcome.notes:
        output.note("Simplified or guessed:")
        print_lines([f"  {note}" for note in outcome.notes])
    output.note(f"Look through it, then `skillway catalog lint {file}` and `skillway catalog test {file}`.")


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A line on stderr that counts, where somebody can see it."""
    shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    told = False

    def tell(done: int, every: int) -> None:
        nonlocal told
        if shown and every >= 20 and (done % 10 == 0 or done == every):
            told = True
            sys.stderr.write(f"\r{doing} {done} of {every}\x1b[K")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        if told:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
