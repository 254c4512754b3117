"""Where the skills of agents live on disk, and how files get there without leaving their folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gateway.cli.failures import refused
from gateway.cli.files import written_whole


@dataclass(frozen=True, slots=True)
class Platform:
    """An agent: the folder of the working directory in which it looks, and the form in which it reads."""

    folder: str
    form: str = "agent-skill"


#: The first whose folder exists in the working directory is the one in use.
PLATFORMS: Mapping[str, Platform] = {
    "claude": Platform(".claude/skills"),
    "cursor": Platform(".cursor/rules", "cursor"),
    "windsurf": Platform(".windsurf/rules", "windsurf"),
    "generic": Platform(".skillway/skills"),
}
#: What we wrote to a folder, by the digest of each file: whatever differs from it was changed by somebody.
_WRITTEN = ".skillway.json"

_CORE_NAME = "skillway"
_CORE_DESCRIPTION = (
    "Call third-party services (GitHub, Slack and others) through a Skillway gateway. Use it when a task needs something "
    "read, created or changed in such a service."
)
#: What every agent that has a login gets to know.
_CORE = """\
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


def core_skill(platform: str) -> dict[str, str]:
    """The file of the core skill for the platform, by its path."""
    about = json.dumps(_CORE_DESCRIPTION)
    match PLATFORMS[platform].form:
        case "cursor":
            return {f"{_CORE_NAME}.mdc": f"---\ndescription: {about}\nglobs:\nalwaysApply: false\n---\n\n{_CORE}"}
        case "windsurf":
            return {f"{_CORE_NAME}.md": f"---\ntrigger: model_decision\ndescription: {about}\n---\n\n{_CORE}"}
        case _:
            head = f"name: {_CORE_NAME}\ndescription: {about}\nallowed-tools: Bash(skillway:*) Read Grep Glob"
            return {"SKILL.md": f"---\n{head}\n---\n\n{_CORE}"}


def detect_platform(directory: Path) -> str:
    """The platform that this directory is set up for."""
    return next((name for name in PLATFORMS if (directory / f".{name}").is_dir()), "generic")


def skill_folder(directory: Path, platform: str, name: str = _CORE_NAME) -> Path:
    """The folder of a skill: it is called as the skill is."""
    return directory / PLATFORMS[platform].folder / name


class FilesChanged(Exception):
    """Files that would be written over were changed since we wrote them, or are not ours. Nothing was written."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(", ".join(paths))
        self.paths = paths


def write_files(folder: Path, files: Mapping[str, str], *, overwrite: bool = False) -> list[Path]:
    """Writes the files below the folder, and removes those of an earlier time that are no longer among them.

    All paths are checked before the first is written. Raises `FilesChanged`, unless everything may be overwritten.
    """
    root = folder.resolve()
    places = {path: _place(root, path) for path in files}
    if len(set(places.values())) < len(files):
        raise refused("The gateway sent two files with the same path; nothing was written.", code="conflict")
    contents = {path: content.encode() for path, content in files.items()}
    known = _known(root)
    changed = [
        path
        for path, place in places.items()
        if (there := _digest_at(place)) is not None and there not in (_digest(contents[path]), known.get(path))
    ]
    if changed and not overwrite:
        raise FilesChanged(changed)
    for path, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(place) as file:
            file.write(contents[path])
    _remove(root, {path: digest for path, digest in known.items() if path not in files})
    digests = {path: _digest(content) for path, content in contents.items()}
    with written_whole(root / _WRITTEN) as file:
        file.write(json.dumps({"files": digests}, indent=1).encode() + b"\n")
    return list(places.values())


def _known(root: Path) -> dict[str, str]:
    """What we wrote there last: paths and digests. A list that cannot be read says nothing."""
    try:
        listed = json.loads((root / _WRITTEN).read_bytes())["files"]
        return {str(path): str(digest) for path, digest in listed.items() if _is_path(path)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _remove(root: Path, digests: Mapping[str, str]) -> None:
    """Takes away files that are as we wrote them, and the folders that are empty without them."""
    for path, digest in digests.items():
        place = root.joinpath(*PurePosixPath(path).parts)
        if place.parent.resolve().is_relative_to(root) and not place.is_symlink() and _digest_at(place) == digest:
            place.unlink()
            for above in list(place.relative_to(root).parents)[:-1]:
                if any((root / above).iterdir()):
                    break
                (root / above).rmdir()


def _digest_at(place: Path) -> str | None:
    try:
        return _digest(place.read_bytes())
    except FileNotFoundError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_path(path: str) -> bool:
    """Whether it leads to somewhere below its folder, spelled as every system spells it."""
    return (
        re.fullmatch(r"[A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*", path) is not None
        and not any(part in (".", "..") or part.endswith(".") for part in path.split("/"))
        and "/".join(PurePosixPath(path).parts) == path
        and path != _WRITTEN
    )


def _place(root: Path, path: str) -> Path:
    place = root.joinpath(*PurePosixPath(path).parts) if _is_path(path) else root
    # A link that somebody laid inside the folder must not lead a file out of it either.
    if place == root or not place.parent.resolve().is_relative_to(root) or place.is_dir():
        raise refused(f"The gateway sent a file for {path!r}, outside of its folder; nothing was written.")
    return place
