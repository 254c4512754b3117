"""`skillway catalog lint` and `test`: what is wrong with integration files, and what their examples would send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.definitions import (
    chosen,
    counted,
    files_of,
    json_option,
    paths_argument,
    place_of,
    print_json,
)
from gateway.cli.failures import REFUSED, refused
from gateway.cli.trials import built
from skills_catalog.lint import Finding, lint_file
from skills_catalog.linting.explanations import EXPLANATIONS
from skills_catalog.loader import CatalogError, load_catalog, load_definition
from skills_catalog.mistakes import Mistake
from skills_catalog.model import AuthMethod, Example, Integration, Skill, Text
from skills_catalog.names import nearest
from skills_catalog.strict_yaml import Document
from skills_catalog.verification.comparing import NotBuilt
from skills_catalog.versions.lock import FILE, Deviation, deviations, read_lock


@click.command(short_help="Check integration files.")
@paths_argument
@click.option("--strict", is_flag=True, help="Warnings fail too, and `asks` are checked.")
@click.option("--all", "show_all", is_flag=True, help="Show what is only worth knowing, too.")
@click.option("--explain", metavar="RULE", help="Say what a rule is for and how to mend it, and leave.")
@json_option
def lint(paths: tuple[Path, ...], strict: bool, show_all: bool, explain: str | None, as_json: bool) -> None:
    """Check integration files: each finding with file, line, field and rule.

    Where a folder has a catalog.lock, its definitions are held against it. Exits 0 if there is nothing to mend, 1 if
    there is.

    \b
    skillway catalog lint --json my-integrations/rooms.yaml
    """
    if explain is not None:
        _explain(explain, as_json)
        return
    files: list[Path] = []
    findings: list[Finding] = []
    for path in chosen(paths):
        here = files_of(path)
        files += here
        found = [finding for file in here for finding in lint_file(file, strict=strict)]
        findings += found
        if all(finding.rule != "load" for finding in found):
            findings += _between(path)
            findings += _against_lock(path, here)
    count = {kind: sum(finding.severity == kind for finding in findings) for kind in ("error", "warning", "info")}
    failed = count["error"] > 0 or (strict and count["warning"] > 0)
    shown = [finding for finding in findings if show_all or finding.severity != "info"]
    hooks = sum(finding.rule == "hooks" for finding in findings)
    if as_json:
        found_here = [_members(one) for one in shown]
        print_json({"ok": not failed, "files": len(files), **count, "hooks": hooks, "findings": found_here})
    else:
        for finding in shown:
            output.text(str(finding))
        _summary(f"{counted(len(files), 'file')}: {counted(count['error'], 'error')}", count["warning"], count["info"])
        if hooks:
            output.note(f"{counted(hooks, 'action')} of them pass through a hook: code, not data.")
    if failed:
        raise click.exceptions.Exit(REFUSED)


def _explain(rule: str, as_json: bool) -> None:
    said = EXPLANATIONS.get(rule)
    if said is None:
        meant = nearest(rule, EXPLANATIONS)
        hint = f"Did you mean {meant}?" if meant else f"Rules: {', '.join(EXPLANATIONS)}."
        raise refused(f"There is no rule {rule!r}.", code="not_found", hint=hint)
    if as_json:
        print_json({"rule": rule, "finds": said.finds, "why": said.why, "mend": said.mend})
        return
    output.text(f"{rule}: {said.finds}")
    output.text(f"Why: {said.why}")
    output.text(f"Mend: {said.mend}")


def _between(path: Path) -> list[Finding]:
    """What is wrong between files that are right each by itself."""
    try:
        load_catalog([path])
    except CatalogError as error:
        return [Finding(severity="error", rule="load", mistake=mistake) for mistake in error.problems]
    return []


def _against_lock(path: Path, files: Sequence[Path]) -> Iterator[Finding]:
    """What changed since it was locked, without the version that says so."""
    folder = path if path.is_dir() else path.parent
    try:
        locked = read_lock(folder)
    except CatalogError as error:
        yield from (Finding(severity="error", rule="lock", mistake=mistake) for mistake in error.problems)
        return
    if locked is None:
        return
    sources = {file.resolve() for file in files}
    for one in deviations(folder, locked):
        if Path(one.integration.source).resolve() in sources:
            yield from _deviating(one)
    if path.is_dir():
        there = {integration.slug for integration in load_catalog([path]).integrations.values()}
        for slug in sorted(locked.keys() - there):
            message = f"{slug} is gone; run `skillway catalog lock`, and tell those who used it."
            yield _finding("warning", Mistake(file=str(folder / FILE), line=0, field=slug, message=message))


def _deviating(one: Deviation) -> Iterator[Finding]:
    document = one.document
    if one.locked is None:
        message = f"Is not in {FILE}; run `skillway catalog lock`."
        yield _finding("error", document.mistake(("slug",), message))
    elif one.is_enough:
        message = f"{FILE} has version {one.locked.version}; run `skillway catalog lock`."
        yield _finding("warning", document.mistake(("version",), message))
    elif one.breaks:
        for change in one.changes:
            if change.kind == "breaking":
                said = f"{change.message} That breaks callers of {one.locked.version}: raise the major version."
                yield _finding("error", document.mistake(change.at, said))
    else:
        what = f" ({', '.join(one.touched[:5])}{', …' if len(one.touched) > 5 else ''})" if one.touched else ""
        message = f"Says something else than {one.locked.version} in {FILE}{what}; raise the version."
        yield _finding("error", document.mistake(("version",), message))


def _finding(severity: str, mistake: Mistake) -> Finding:
    return Finding(severity=severity, rule="lock", mistake=mistake)  # type: ignore[arg-type]


def _members(finding: Finding) -> dict[str, object]:
    return {"severity": finding.severity, "rule": finding.rule, **place_of(finding.mistake)}


def _summary(text: str, warnings: int, infos: int) -> None:
    text += f", {counted(warnings, 'warning')}"
    output.note(f"{text}, {counted(infos, 'info')} (--all shows them)." if infos else f"{text}.")


# ---------------------------------------------------------------------- trying examples


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One example as one auth method would send it: the request line, or why there is none."""

    name: str
    method: str
    example: int
    request: str = ""
    mistake: Mistake | None = None

    def members(self) -> dict[str, object]:
        said = {"action": self.name, "auth": self.method, "example": self.example, "ok": self.mistake is None}
        return {**said, **({"request": self.request} if self.request else {}), **place_of(self.mistake)}


def build_examples(paths: Sequence[Path], as_json: bool) -> None:
    """Builds the request of every example, once for each way to connect, and says how that went."""
    trials = [trial for path in chosen(paths) for file in files_of(path) for trial in _trials(file)]
    failures = [trial for trial in trials if trial.mistake]
    if as_json:
        print_json({"ok": not failures, "examples": [trial.members() for trial in trials]})
    else:
        rows = [(trial.name, trial.method, "failed" if trial.mistake else "ok", trial.request) for trial in trials]
        if rows:
            output.table(("action", "auth", "", "request"), rows)
        for trial in failures:
            output.text(str(trial.mistake))
        output.note(f"{counted(len(trials), 'request')} built, {len(failures)} failed.")
    if failures:
        raise click.exceptions.Exit(REFUSED)


def _trials(file: Path) -> Iterator[_Trial]:
    try:
        integration, document = load_definition(file)
    except CatalogError as error:
        for mistake in error.problems:
            yield _Trial(name=file.stem, method="-", example=0, mistake=mistake)
        return
    for skill in integration.skills.values():
        for number, example in enumerate(skill.examples):
            for method in integration.methods_for(skill):
                yield _trial(integration, document, skill, method, number, example)


def _trial(
    integration: Integration,
    document: Document,
    skill: Skill,
    method: AuthMethod,
    number: int,
    example: Example,
) -> _Trial:
    def failed(message: str) -> _Trial:
        mistake = document.mistake(("actions", skill.name, "examples", number), message)
        return _Trial(name=skill.id, method=method.name, example=number, mistake=mistake)

    try:
        request = built(integration, skill, example, method)
    except NotBuilt as error:
        return failed(str(error))
    if request.method != skill.request.method:
        return failed(f"Became a {request.method} instead of a {skill.request.method}.")
    if not _fits(skill, request.path):
        return failed(f"Became the path {request.path}, which is not {skill.request.path}.")
    return _Trial(name=skill.id, method=method.name, example=number, request=f"{request.method} {_shown(request.url)}")


def _fits(skill: Skill, path: str) -> bool:
    """Whether a built path ends as its template does: as many segments at least, the fixed ones in place."""
    segments = skill.request.segments
    parts = path.split("/")
    if any(not isinstance(piece, Text) and piece.keep_slash for pieces in segments for piece in pieces):
        return len(parts) > len(segments)
    ending = parts[-len(segments) :]
    return len(parts) > len(segments) and all(
        "".join(piece.text for piece in pieces if isinstance(piece, Text)) == part
        for pieces, part in zip(segments, ending, strict=True)
        if all(isinstance(piece, Text) for piece in pieces)
    )


def _shown(url: str) -> str:
    return url if len(url) <= 200 else f"{url[:199]}…"
