"""What the commands on integration files share: which files are meant, and how findings are printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.failures import refused
from skills_catalog.loader import SHIPPED, CatalogError, definition_files
from skills_catalog.mistakes import Mistake

#: Where one's own definitions are kept, as the shipped skills.yaml says.
OWN_FOLDER = Path("my-integrations")

paths_argument = click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def chosen(paths: Sequence[Path]) -> list[Path]:
    """The paths that were given, or the shipped folder and one's own."""
    return list(paths) or [SHIPPED, *([OWN_FOLDER] if OWN_FOLDER.is_dir() else [])]


def files_of(path: Path) -> list[Path]:
    """The integration files of a path. Refuses one that is not there."""
    try:
        return definition_files(path)
    except CatalogError as error:
        raise refused(str(error), code="not_found") from error


def place_of(mistake: Mistake | None) -> dict[str, object]:
    """Where a mistake is and what it is, as members of a JSON object."""
    if mistake is None:
        return {}
    return {"file": mistake.file, "line": mistake.line, "field": mistake.field, "message": mistake.message}


def shown_path(path: Path) -> str:
    """The path as a person would write it: relative where the file is below the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def print_lines(lines: Sequence[str], most: int = 50) -> None:
    """Lines for whoever watches, the first of many."""
    for line in lines[:most]:
        output.note(line)
    if len(lines) > most:
        output.note(f"… and {len(lines) - most} more.")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
