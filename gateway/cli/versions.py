"""`skillway catalog diff` and `lock`: what changed between definitions, and what was published last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.definitions import chosen, counted, files_of, json_option, paths_argument, print_json, shown_path
from gateway.cli.failures import REFUSED, refused
from skills_catalog.loader import CatalogError, load_definition
from skills_catalog.strict_yaml import dotted
from skills_catalog.versions.changes import Change, changes, is_enough
from skills_catalog.versions.lock import (
    FILE,
    Deviation,
    Locked,
    deviation,
    lock_text,
    locked_from,
    read_lock,
    read_lock_file,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One change of one integration; `words` where nothing but words is other."""

    slug: str
    kind: str
    at: str
    message: str


@click.command(short_help="Class the changes between two versions: additive or breaking.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Class the changes between two versions of integration files, folders of them, or catalog.lock files.

    Exits 0 if callers of OLD go on with NEW as before, 1 if something breaks.

    \b
    skillway catalog diff old/rooms.yaml my-integrations/rooms.yaml
    """
    rows = list(_rows(_known(old), _known(new)))
    breaking = sum(row.kind == "breaking" for row in rows)
    if as_json:
        members = [{"integration": row.slug, "kind": row.kind, "at": row.at, "message": row.message} for row in rows]
        print_json({"ok": breaking == 0, "breaking": breaking, "changes": members})
    else:
        if rows:
            table = [(row.slug, row.kind, row.at, row.message) for row in rows]
            output.table(("integration", "", "where", "what"), table)
        output.note(f"{counted(len(rows), 'change')}, {breaking} breaking.")
    if breaking:
        raise click.exceptions.Exit(REFUSED)


@click.command(short_help="Remember the definitions as they are published now.")
@paths_argument
@click.option("--force", is_flag=True, help="Also where the version does not say what changed.")
@json_option
def lock(paths: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Write catalog.lock beside the definitions: version, hashes and contract of each.

    `skillway catalog lint` holds them against it from then on, and a gateway warns of its own folders. Refuses
    definitions that say something else than before without the version that tells so.

    \b
    skillway catalog lock my-integrations
    """
    written = []
    for path in chosen(paths):
        folder = path if path.is_dir() else path.parent
        locked, refusals = _to_lock(folder)
        if refusals and not force:
            raise refused("; ".join(refusals), code="conflict", hint="Raise the versions, or --force.")
        file = folder / FILE
        text = lock_text(locked)
        try:
            is_new = not file.exists() or file.read_text(encoding="utf-8") != text
            if is_new:
                file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise refused(f"{file} cannot be written: {error.strerror}.") from error
        written.append({"file": str(file), "integrations": len(locked), "changed": is_new})
        if not as_json:
            output.text(shown_path(file))
            output.note(f"{counted(len(locked), 'integration')}{'' if is_new else ', as before'}.")
    if as_json:
        print_json({"locks": written})


def _to_lock(folder: Path) -> tuple[dict[str, Locked], list[str]]:
    """What the lock of a folder is to remember, and what speaks against it."""
    try:
        before = read_lock(folder) or {}
        now: dict[str, Locked] = {}
        refusals: list[str] = []
        for file in files_of(folder):
            integration, document = load_definition(file)
            one = deviation(integration, document, before.get(integration.slug))
            now[integration.slug] = locked_from(integration, document)
            if one is not None and not one.is_enough:
                refusals.append(_refusal(one))
    except CatalogError as error:
        raise refused(str(error)) from error
    return now, refusals


def _refusal(one: Deviation) -> str:
    assert one.locked is not None
    slug, version = one.integration.slug, one.locked.version
    breaking = [change for change in one.changes if change.kind == "breaking"]
    if breaking:
        first = f"{dotted(breaking[0].at)}: {breaking[0].message}"
        return f"{slug} breaks callers of {version} ({counted(len(breaking), 'change')}, first {first})"
    return f"{slug} is not what it was in {version}"


def _known(path: Path) -> dict[str, Locked]:
    """The definitions of a file or folder, or those that a lock remembers."""
    try:
        if path.suffix == ".lock":
            locked = read_lock_file(path)
            if locked is None:
                raise refused(f"There is no file {path}.", code="not_found")
            return locked
        loaded = [load_definition(file) for file in files_of(path)]
    except CatalogError as error:
        raise refused(str(error)) from error
    return {integration.slug: locked_from(integration, document) for integration, document in loaded}


def _rows(old: Mapping[str, Locked], new: Mapping[str, Locked]) -> list[_Row]:
    rows: list[_Row] = []
    if len(old) == len(new) == 1 and old.keys() != new.keys():
        # Two files that were named are meant, whatever they are called.
        (before,), (after,) = old, new
        rows.append(_Row(slug=after, kind="breaking", at="slug", message=f"Was {before}, is {after}."))
        new = {before: new[after]}
    for slug in sorted({*old, *new}):
        if slug not in new:
            rows.append(_Row(slug=slug, kind="breaking", at="", message="The integration is gone."))
        elif slug not in old:
            rows.append(_Row(slug=slug, kind="additive", at="", message="A new integration."))
        else:
            rows += _of_one(slug, old[slug], new[slug])
    return rows


def _of_one(slug: str, old: Locked, new: Locked) -> list[_Row]:
    found: list[Change] = changes(old.contract, new.contract)
    rows = [_Row(slug=slug, kind=one.kind, at=dotted(one.at), message=one.message) for one in found]
    told = {one.action for one in found}
    touched = sorted(name for name in {*old.actions, *new.actions} if old.actions.get(name) != new.actions.get(name))
    rows += [
        _Row(slug=slug, kind="words", at=f"actions.{name}", message="Only words, examples or hints are other.")
        for name in touched
        if name not in told
    ]
    if not rows and old.digest != new.digest:
        rows.append(_Row(slug=slug, kind="words", at="", message="Only words are other."))
    if old.digest != new.digest and not is_enough(old.version, new.version, found):
        said = f"{old.version} is followed by {new.version}, which does not tell of these changes."
        rows.append(_Row(slug=slug, kind="words", at="version", message=said))
    return rows
