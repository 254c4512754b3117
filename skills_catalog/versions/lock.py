"""`catalog.lock`: the version, hashes and contract of every definition of a folder, as they were last published."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skills_catalog.loader import definition_files, load_definition
from skills_catalog.mistakes import CatalogError, Mistake
from skills_catalog.model import Integration, Json
from skills_catalog.strict_yaml import Document
from skills_catalog.versions.changes import Change, changes, is_enough
from skills_catalog.versions.contracts import contract_of, digests_of

FILE = "catalog.lock"
_FORMAT = 1
#: A lock of more bytes is none of ours.
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A definition as the lock remembers it."""

    version: str
    digest: str
    #: Action -> SHA-256 of what its part of the file said.
    actions: Mapping[str, str]
    contract: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A definition that says something else than the lock, and what that means for its version."""

    integration: Integration
    document: Document
    locked: Locked | None
    changes: tuple[Change, ...]
    #: Actions whose part of the file says something else.
    touched: tuple[str, ...]

    @property
    def is_enough(self) -> bool:
        """Whether the version was raised as far as the changes demand."""
        return self.locked is None or is_enough(self.locked.version, self.integration.version, self.changes)

    @property
    def breaks(self) -> bool:
        return any(change.kind == "breaking" for change in self.changes)


def read_lock(folder: Path) -> dict[str, Locked] | None:
    """What the lock of a folder remembers by slug, or None where the folder has none. Raises `CatalogError`."""
    return read_lock_file(folder / FILE)


def read_lock_file(file: Path) -> dict[str, Locked] | None:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise _bad(file, "Is too large.")
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _bad(file, f"Cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise _bad(file, "Is not JSON; `skillway catalog lock` writes it anew.") from error
    if not isinstance(value, dict) or value.get("lock") != _FORMAT or not isinstance(value.get("integrations"), dict):
        raise _bad(file, "Is no lock of this version; `skillway catalog lock` writes it anew.")
    try:
        return {slug: _locked(one) for slug, one in value["integrations"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _bad(file, "Is damaged; `skillway catalog lock` writes it anew.") from error


def locked_from(integration: Integration, document: Document) -> Locked:
    """What the lock would remember of a definition."""
    return Locked(
        version=integration.version,
        digest=integration.digest,
        actions=digests_of(document),
        contract=contract_of(integration),
    )


def lock_text(locked: Mapping[str, Locked]) -> str:
    """The lock as a file: one line for each action, so that a change shows as one."""
    lines = ["{", f'"lock": {_FORMAT},', '"integrations": {']
    for number, (slug, one) in enumerate(sorted(locked.items())):
        contract = {key: value for key, value in one.contract.items() if key != "actions"}
        head = {"version": one.version, "digest": one.digest, "contract": contract}
        lines.append(f'  {json.dumps(slug)}: {{{_compact(head)[1:-1]}, "actions": {{')
        actions = sorted({*one.actions, *one.contract["actions"]})
        for at, name in enumerate(actions):
            members = {"digest": one.actions.get(name, ""), "contract": one.contract["actions"].get(name)}
            comma = "," if at < len(actions) - 1 else ""
            lines.append(f"    {json.dumps(name)}: {_compact(members)}{comma}")
        lines.append("  }}" + ("," if number < len(locked) - 1 else ""))
    return "\n".join([*lines, "}", "}"]) + "\n"


def deviations(folder: Path, locked: Mapping[str, Locked]) -> list[Deviation]:
    """The definitions of a folder that the lock does not have as they are. Those that do not load are left out."""
    found = []
    for file in definition_files(folder):
        try:
            integration, document = load_definition(file)
        except CatalogError:
            continue
        one = deviation(integration, document, locked.get(integration.slug))
        if one is not None:
            found.append(one)
    return found


def deviation(integration: Integration, document: Document, locked: Locked | None) -> Deviation | None:
    """How a definition deviates from what the lock has of it; None where it does not."""
    if locked is None:
        return Deviation(integration=integration, document=document, locked=None, changes=(), touched=())
    if locked.digest == integration.digest:
        return None
    now = digests_of(document)
    touched = sorted(name for name in {*now, *locked.actions} if now.get(name) != locked.actions.get(name))
    return Deviation(
        integration=integration,
        document=document,
        locked=locked,
        changes=tuple(changes(locked.contract, contract_of(integration))),
        touched=tuple(touched),
    )


def warnings(paths: Iterable[Path]) -> list[str]:
    """Lines for an operator whose own folders are locked: what changed without the version that says so."""
    found: list[str] = []
    for path in paths:
        folder = path if path.is_dir() else path.parent
        try:
            locked = read_lock(folder)
            if locked is None:
                continue
            for one in deviations(folder, locked):
                found += _warning(one)
        except CatalogError as error:
            found.append(str(error))
    return found


def _warning(one: Deviation) -> list[str]:
    if one.locked is None or one.is_enough:
        return []
    source, slug = one.integration.source, one.integration.slug
    said = f"{source}: {slug} is not what {FILE} has of version {one.locked.version}"
    breaking = [change for change in one.changes if change.kind == "breaking"]
    if not breaking:
        return [f"{said}; raise its version."]
    return [f"{said}: {'.'.join(change.at)}: {change.message}" for change in breaking]


def _locked(one: Mapping[str, Any]) -> Locked:
    actions = {name: said["digest"] for name, said in one["actions"].items()}
    contracts = {name: said["contract"] for name, said in one["actions"].items() if said["contract"] is not None}
    contract: dict[str, Json] = {**one["contract"], "actions": contracts}
    if not isinstance(contract["base_url"], str) or not isinstance(contract["auth"], dict):
        raise TypeError
    return Locked(version=str(one["version"]), digest=str(one["digest"]), actions=actions, contract=contract)


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), sort_keys=True)


def _bad(file: Path, message: str) -> CatalogError:
    return CatalogError([Mistake(file=str(file), line=0, field="", message=message)])
