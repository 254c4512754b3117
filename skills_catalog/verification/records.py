"""What a definition was held against, kept beside it: `verified/github.yaml`, with the differences that are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from skills_catalog.descriptions.model import Description
from skills_catalog.mistakes import CatalogError
from skills_catalog.names import nearest
from skills_catalog.strict_yaml import Document, dotted, read
from skills_catalog.verification.differences import KINDS, Compared, Difference
from skills_catalog.writing import block

FOLDER = "verified"
#: `differs` of a reason why actions are missing in the description.
NOT_DESCRIBED = "not described"
_TEXTS = ("description", "kind", "version", "file", "sha256", "date")
_COUNTS = ("actions", "match", "not_described")
_OF_A_REASON = ("action", "differs", "at", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why differences are meant. `action` and `at` may hold `*`; without `at` the whole action is meant."""

    action: str
    differs: str
    reason: str
    at: str = "*"

    def explains(self, action: str, difference: Difference) -> bool:
        return (
            self.differs == difference.kind
            and fnmatchcase(action, self.action)
            and fnmatchcase(dotted(difference.at), self.at)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The last verification of a definition."""

    description: str
    kind: str
    version: str
    file: str
    sha256: str
    date: str
    actions: int
    match: int
    not_described: int
    #: What of the description was imported, where the definition was.
    select: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An action beside its operation, with the differences that nobody explained and the number of those explained."""

    compared: Compared
    differences: tuple[Difference, ...]
    explained: int

    @property
    def verdict(self) -> str:
        if self.compared.verdict == "differs" and not self.differences:
            return "matches"
        return self.compared.verdict


def record_file(definition: Path) -> Path:
    """Where the record of a definition lies."""
    return definition.parent / FOLDER / f"{definition.stem}.yaml"


def read_record(file: Path) -> Record | None:
    """The record in a file, or None if there is no such file. Raises `CatalogError`."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    document = read(content, str(file))
    return _Reader(document).record()


def explained(compared: Sequence[Compared], reasons: Sequence[Reason]) -> tuple[list[Explained], list[Reason]]:
    """The actions without the differences that have a reason, and the reasons that explain nothing any more."""
    used: set[Reason] = set()
    found: list[Explained] = []
    for one in compared:
        left: list[Difference] = []
        for difference in one.differences:
            why = [reason for reason in reasons if reason.explains(one.action, difference)]
            used.update(why)
            if not why:
                left.append(difference)
        if one.verdict == NOT_DESCRIBED:
            used.update(
                reason
                for reason in reasons
                if reason.differs == NOT_DESCRIBED and fnmatchcase(one.action, reason.action)
            )
        found.append(Explained(compared=one, differences=tuple(left), explained=len(one.differences) - len(left)))
    return found, [reason for reason in reasons if reason not in used]


def recorded(
    description: Description,
    found: Sequence[Explained],
    reasons: Sequence[Reason],
    date: str,
    select: Sequence[str] = (),
) -> Record:
    """The record of a verification."""
    return Record(
        description=re.sub(r"\s+", " ", description.title).strip() or Path(description.source).stem,
        kind=description.kind,
        version=description.version,
        file=re.sub(r"[?#].*$", "", description.source).rstrip("/").rpartition("/")[2],
        sha256=description.digest,
        date=date,
        actions=len(found),
        match=sum(one.verdict == "matches" for one in found),
        not_described=sum(one.verdict == NOT_DESCRIBED for one in found),
        select=tuple(select),
        reasons=tuple(reasons),
    )


def record_text(record: Record, definition: str) -> str:
    """The record as a file."""
    members: dict[str, Any] = {name: getattr(record, name) for name in (*_TEXTS, *_COUNTS)}
    if record.select:
        members["select"] = list(record.select)
    members["reasons"] = [
        {
            "action": one.action,
            "differs": one.differs,
            **({"at": one.at} if one.at != "*" else {}),
            "reason": one.reason,
        }
        for one in record.reasons
    ]
    if not record.reasons:
        del members["reasons"]
    head = (
        f"# What {definition} was last held against. `skillway catalog test {definition} --against FILE --record`\n"
        "# writes it anew and keeps the reasons, which say of differences that they are meant.\n"
    )
    return head + "\n".join(block(members)) + "\n"


def same_outcome(one: Record, other: Record) -> bool:
    """Whether two records say the same but for the day."""
    return replace(one, date="") == replace(other, date="")


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document

    def record(self) -> Record:
        value = self._mapping((), self._document.value)
        self._only((), value, (*_TEXTS, *_COUNTS, "select", "reasons"))
        texts = {name: self._text((name,), value.get(name)) for name in _TEXTS}
        counts = {name: self._count((name,), value.get(name)) for name in _COUNTS}
        select = value.get("select", [])
        if not isinstance(select, list):
            raise self._wrong(("select",), "Must be a list.")
        return Record(
            **texts,  # type: ignore[arg-type]
            **counts,  # type: ignore[arg-type]
            select=tuple(self._text(("select", number), one) for number, one in enumerate(select)),
            reasons=tuple(self._reasons(value.get("reasons", []))),
        )

    def _reasons(self, listed: Any) -> Iterator[Reason]:
        if not isinstance(listed, list):
            raise self._wrong(("reasons",), "Must be a list.")
        for number, one in enumerate(listed):
            at = ("reasons", number)
            value = self._mapping(at, one)
            self._only(at, value, _OF_A_REASON)
            differs = self._text((*at, "differs"), value.get("differs"))
            if differs not in KINDS and differs != NOT_DESCRIBED:
                meant = nearest(differs, [*KINDS, NOT_DESCRIBED])
                hint = f" Did you mean {meant}?" if meant else f" Known: {', '.join((*KINDS, NOT_DESCRIBED))}."
                raise self._wrong((*at, "differs"), f"There is no such difference.{hint}")
            reason = self._text((*at, "reason"), value.get("reason"))
            if len(reason.split()) < 3:
                raise self._wrong((*at, "reason"), "Say in a sentence why it is meant.")
            yield Reason(
                action=self._text((*at, "action"), value.get("action")),
                differs=differs,
                at=self._text((*at, "at"), value.get("at", "*")),
                reason=reason,
            )

    def _mapping(self, at: tuple[str | int, ...], value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(at, "Must be a mapping.")
        return value

    def _only(self, at: tuple[str | int, ...], value: Mapping[str, Any], known: Sequence[str]) -> None:
        for name in value:
            if name not in known:
                meant = nearest(name, known)
                raise self._wrong((*at, name), f"Unknown key.{f' Did you mean {meant}?' if meant else ''}")

    def _text(self, at: tuple[str | int, ...], value: Any) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self._wrong(at, "Must be text.")
        return value

    def _count(self, at: tuple[str | int, ...], value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(at, "Must be a number of actions.")
        return value

    def _wrong(self, at: tuple[str | int, ...], message: str) -> CatalogError:
        return CatalogError([self._document.mistake(at, message)])
