"""What is wrong with an integration file: each mistake with its file, line and field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing wrong in one place. `field` is dotted (`actions.create_issue.params.repo`), or empty."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.field, self.message) if part)


class CatalogError(Exception):
    """A definition that cannot be loaded; `problems` names every mistake that was found."""

    def __init__(self, problems: Iterable[Mistake]) -> None:
        self.problems = sorted(problems, key=lambda mistake: (mistake.file, mistake.line, mistake.field))
        super().__init__("\n".join(str(mistake) for mistake in self.problems))
