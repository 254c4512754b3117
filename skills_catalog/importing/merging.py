"""Brings the new operations of a description into a definition that exists, whose text stays as people wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skills_catalog.descriptions.model import Description, Operation
from skills_catalog.importing.importer import CannotImport, Imported
from skills_catalog.model import Integration
from skills_catalog.strict_yaml import Document
from skills_catalog.verification.differences import Compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a definition stands to a description: what is new in it, and what it no longer has."""

    new: tuple[Operation, ...]
    #: Actions whose operation is there no more.
    gone: tuple[str, ...]


def standing(operations: Sequence[Operation], compared: Sequence[Compared]) -> Standing:
    """What of the operations no action calls yet, and which actions call none of the description."""
    known = {key for one in compared for key in one.keys}
    return Standing(
        new=tuple(one for one in operations if one.key not in known),
        gone=tuple(one.action for one in compared if one.verdict == "not described"),
    )


def free_names(description: Description, names: dict[str, str], integration: Integration) -> dict[str, str]:
    """The names of operations, none of which an action of the integration has already."""
    taken = set(integration.skills)
    found: dict[str, str] = {}
    for one in description.operations:
        name, number = names[one.key], 2
        while name in taken:
            name, number = f"{names[one.key][:44]}_{number}", number + 1
        found[one.key] = name
        taken.add(name)
    return found


def merged(text: str, document: Document, imported: Imported) -> str:
    """The text of a definition with the imported actions after its own, and the next minor version.

    Raises `CannotImport` where its actions do not stand below each other.
    """
    lines = text.split("\n")
    places = document.place.inner
    assert isinstance(places, dict)
    actions = places["actions"]
    first = min(place.line for place in actions.inner.values()) if isinstance(actions.inner, dict) else 0
    if first <= actions.line:
        raise CannotImport("The actions of the definition stand on one line; put them below each other first.")
    indent = len(lines[first - 1]) - len(lines[first - 1].lstrip())
    after = [place.line for place in places.values() if place.line > actions.line]
    end = min(after) - 1 if after else len(lines)
    # Comments and empty lines before the next key belong to it.
    while end > 0 and re.fullmatch(r"\s*(#.*)?", lines[end - 1]):
        end -= 1
    made = ["", *(_shifted(imported.action_lines(), indent - 2))]
    lines[end:end] = made
    version = places.get("version")
    if version is not None:
        lines[version.line - 1] = _next_minor(lines[version.line - 1])
    return "\n".join(lines)


def _shifted(lines: Iterator[str], by: int) -> Iterator[str]:
    for line in lines:
        yield (" " * by + line if by >= 0 else line[-by:]) if line else line


def _next_minor(line: str) -> str:
    return re.sub(
        r"(version:\s*[\"']?)(\d+)\.(\d+)\.\d+",
        lambda match: f"{match[1]}{match[2]}.{int(match[3]) + 1}.0",
        line,
        count=1,
    )
