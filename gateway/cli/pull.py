"""`skillway pull`: the documentation of an integration, written to where the agent's platform looks for skills."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.client import client_for, path_of
from gateway.cli.config import login_in_use
from gateway.cli.failures import refused
from gateway.cli.jsontext import Json
from gateway.cli.names import check_name
from gateway.cli.skillfiles import PLATFORMS, detect_platform, skill_folder, write_files


@click.command(short_help="Write an integration's skill files for an agent.")
@click.argument("integration")
@click.option(
    "--platform",
    type=click.Choice(list(PLATFORMS)),
    help="Instead of the one that this folder is set up for.",
)
def pull(integration: str, platform: str | None) -> None:
    """Write an integration's skill files to where the platform in use looks for skills.

    The platform is told by the folders of the working directory: .claude, .cursor or .windsurf; without one of them,
    the files go below .skillway.

    \b
    skillway pull github
    skillway pull github --platform claude
    """
    slug = check_name("integration", integration)
    page = client_for(login_in_use()).ask("GET", path_of("v1", slug, "download")).members()
    files = _files(page.get("files"))
    here = Path.cwd()
    chosen = platform or detect_platform(here)
    folder = skill_folder(here, chosen, slug)
    try:
        write_files(folder, files)
    except OSError as error:
        raise refused(f"{folder} cannot be written: {error.strerror}.", code="conflict") from error
    output.note(f"{len(files)} files written to {folder}.")
    if not output.for_people():
        paths: list[Json] = [*files]
        output.line({"integration": slug, "platform": chosen, "folder": str(folder), "files": paths})


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
