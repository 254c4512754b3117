"""`skillway pull`: the documentation of an integration, written to where the agent's platform looks for skills."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.client import client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.failures import refused
from gateway.cli.jsontext import Json
from gateway.cli.names import check_name
from gateway.cli.skillfiles import PLATFORMS, FilesChanged, detect_platform, skill_folder, write_files

_SHOWN = 5


@click.command(short_help="Write an integration's skill files for an agent.")
@click.argument("integration")
@click.option(
    "--platform",
    type=click.Choice(list(PLATFORMS)),
    help="Instead of the one that this folder is set up for.",
)
@click.option(
    "--to",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the skill's folder below this one; as an Agent Skill, unless --platform says otherwise.",
)
@click.option("--force", is_flag=True, help="Overwrite files that were changed since they were written.")
def pull(integration: str, platform: str | None, to: Path | None, force: bool) -> None:
    """Write an integration's skill files to where the platform in use looks for skills.

    The platform is told by the folders of the working directory: .claude, .cursor or .windsurf; without one of them,
    the files go below .skillway. Cursor and Windsurf get rules, any other an Agent Skill.

    Pulled again, files are brought up to date. What you changed yourself is not overwritten, unless you agree to it on
    a terminal or say --force.

    \b
    skillway pull github
    skillway pull github --platform claude
    """
    slug = check_name("integration", integration)
    here = Path.cwd()
    chosen = platform or ("generic" if to is not None else detect_platform(here))
    path = path_of("v1", slug, "download")
    page = client_for(login_in_use()).ask("GET", path, query={"form": PLATFORMS[chosen].form}).members()
    name, files = _name(page.get("name")), _files(page.get("files"))
    folder = to / name if to is not None else skill_folder(here, chosen, name)
    try:
        _write(folder, files, force=force)
    except OSError as error:
        raise refused(f"{folder} cannot be written: {error.strerror}.", code="conflict") from error
    output.note(f"{len(files)} files written to {folder}.")
    if not output.for_people():
        paths: list[Json] = [*files]
        output.line({"integration": slug, "platform": chosen, "folder": str(folder), "files": paths})


def _write(folder: Path, files: dict[str, str], *, force: bool) -> None:
    try:
        write_files(folder, files, overwrite=force)
    except FilesChanged as changed:
        more = f" and {len(changed.paths) - _SHOWN} more" if len(changed.paths) > _SHOWN else ""
        said = f"Changed in {folder} since it was written: {', '.join(changed.paths[:_SHOWN])}{more}."
        if not sys.stdin.isatty():
            hint = "--force overwrites what was changed; --to FOLDER writes elsewhere."
            raise refused(f"{said} Nothing was written.", code="conflict", hint=hint) from None
        click.confirm(f"{said} Overwrite?", abort=True, err=True)
        write_files(folder, files, overwrite=True)


def _name(given: Json) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given):
        raise refused("The gateway's name of the skill makes no sense; nothing was written.", code="internal")
    return given


def _files(listed: Json) -> dict[str, str]:
    files: dict[str, str] = {}
    for item in listed if isinstance(listed, list) else ():
        path = item.get("file_path") if isinstance(item, dict) else None
        content = item.get("content") if isinstance(item, dict) else None
        if not isinstance(path, str) or not isinstance(content, str) or path in files:
            raise refused("The gateway's list of files makes no sense; nothing was written.", code="internal")
        files[path] = content
    if not files:
        raise refused("The gateway sent no files; nothing was written.", code="not_found")
    return files
