"""Where the skills of agents live on disk, and how files get there without leaving their folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from gateway.cli.failures import refused
from gateway.cli.files import written_whole

#: Where each platform looks for skills; the first whose folder exists in the working directory is the one in use.
PLATFORMS: Mapping[str, str] = {
    "claude": ".claude/skills",
    "cursor": ".cursor/rules",
    "windsurf": ".windsurf/rules",
    "generic": ".skillway/skills",
}

#: What every agent that has a login gets to know.
CORE_SKILL = """\
---
name: skillway
description: Call third-party services (GitHub, Slack and others) through a Skillway gateway. Use it when a task needs
  something read, created or changed in such a service.
user-invocable: false
---

# Skillway

The command `skillway` calls actions of third-party services; the gateway holds the credentials, you never see them.

- `skillway help` lists the commands, `skillway help COMMAND` explains one.
- `skillway skills` lists the integrations and tells which are connected.
- `skillway skills INTEGRATION` lists the actions of one.
- `skillway skills INTEGRATION ACTION` documents one action: its params, examples and errors. Read it before the first
  call.
- `skillway skills --search TEXT` finds actions by what they do.
- `skillway run INTEGRATION ACTION --param value …` calls an action. It prints JSON: `{"status", "data"}` is what the
  service answered, `{"error", "message"}` says why the gateway did not ask it.
- `skillway connect INTEGRATION` lets the user connect an account in a browser; run it when an error says
  `integration_not_connected` or `token_expired`.
- `skillway pull INTEGRATION` writes the documentation of a whole integration beside this file.

`skillway run` exits 0 when the service accepted the call, 1 when it or the gateway refused (change something before you
try again), 2 when there was no answer or a server failed.
"""


def detect_platform(directory: Path) -> str:
    """The platform that this directory is set up for."""
    return next((name for name in PLATFORMS if (directory / f".{name}").is_dir()), "generic")


def skill_folder(directory: Path, platform: str, slug: str | None) -> Path:
    """The folder of an integration's skill, or of the core skill where there is no slug."""
    if slug is None:
        return directory / PLATFORMS[platform] / "skillway"
    return directory / PLATFORMS[platform] / (slug if platform == "generic" else f"skillway-{slug.replace('_', '-')}")


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Writes the files below the folder: all paths are checked before the first is written."""
    root = folder.resolve()
    places = {_place(root, path): content for path, content in files.items()}
    if len(places) < len(files):
        raise refused("The gateway sent two files with the same path; nothing was written.", code="conflict")
    for place, content in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(place) as file:
            file.write(content.encode())
    return list(places)


def _place(root: Path, path: str) -> Path:
    parts = PurePosixPath(path).parts
    safe = (
        re.fullmatch(r"[A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*", path)
        and not any(part in (".", "..") or part.endswith(".") for part in path.split("/"))
        and "/".join(parts) == path
    )
    place = root.joinpath(*parts)
    # A link that somebody laid inside the folder must not lead a file out of it either.
    if not safe or not place.parent.resolve().is_relative_to(root) or place.is_dir():
        raise refused(f"The gateway sent a file for {path!r}, outside of its folder; nothing was written.")
    return place
