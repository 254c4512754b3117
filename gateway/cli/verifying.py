"""`skillway catalog test --against`: integration files held against what the vendor says of the same API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.checking import build_examples
from gateway.cli.definitions import (
    chosen,
    counted,
    files_of,
    json_option,
    paths_argument,
    place_of,
    print_json,
    print_lines,
    shown_path,
)
from gateway.cli.failures import REFUSED, refused
from gateway.cli.fetching import description_of, is_url
from gateway.cli.trials import without_credential
from skills_catalog.descriptions.model import Description
from skills_catalog.loader import CatalogError, load_definition
from skills_catalog.mistakes import Mistake
from skills_catalog.model import Integration
from skills_catalog.strict_yaml import Document
from skills_catalog.verification.comparing import Verification
from skills_catalog.verification.differences import Compared, Difference
from skills_catalog.verification.paths import is_server
from skills_catalog.verification.records import (
    Explained,
    Reason,
    Record,
    explained,
    read_record,
    record_file,
    record_text,
    recorded,
    same_outcome,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A definition that was held against a description."""

    file: Path
    integration: Integration
    document: Document
    description: Description
    found: list[Explained]
    #: Reasons that explain nothing any more.
    unused: list[Reason]
    #: What was recorded before.
    before: Record | None

    @property
    def differing(self) -> list[Explained]:
        return [one for one in self.found if one.verdict == "differs"]

    def record(self, select: Sequence[str] | None = None) -> Record:
        """What there is to be recorded now; the reasons stay."""
        reasons = self.before.reasons if self.before else ()
        kept = self.before.select if self.before and select is None else tuple(select or ())
        day = datetime.now(UTC).date().isoformat()
        return recorded(self.description, self.found, reasons, day, kept)

    def is_as_recorded(self) -> bool:
        return self.before is not None and same_outcome(self.before, self.record())


@click.command(short_help="Build the request of every example; hold it against the vendor's description.")
@paths_argument
@click.option(
    "--against",
    metavar="SPEC",
    help="OpenAPI, Swagger, Google discovery or GraphQL: a file, an URL, or a folder with the files of the records.",
)
@click.option("--record", "write", is_flag=True, help="Keep the outcome beside the definition, in verified/.")
@json_option
def test(paths: tuple[Path, ...], against: str | None, write: bool, as_json: bool) -> None:
    """Build the request that every example would send, once for each way to connect. Nothing is sent.

    With --against each request, each declared param and each shown answer is compared with the vendor's own
    description. What differs on purpose is explained in verified/SLUG.yaml. Exits 0 if all can be built and nothing
    differs without a reason, 1 otherwise.

    \b
    skillway catalog test my-integrations/library.yaml --against library.yaml
    """
    if against is None:
        if write:
            raise refused("--record keeps what --against found; give that too.")
        build_examples(paths, as_json)
        return
    verified = _in_folder(paths, Path(against)) if _is_folder(against) else _all(paths, description_of(against))
    if not verified:
        raise refused(f"None of the definitions is about the API of {against}.", code="not_found")
    if write:
        for one in verified:
            write_record(one)
    if as_json:
        print_json(_report(verified))
    else:
        for one in verified:
            _print(one)
    if any(one.differing for one in verified):
        raise click.exceptions.Exit(REFUSED)


def verify(file: Path, description: Description, verification: Verification | None = None) -> Verified:
    """Holds one file against a description. Refuses a file that does not load."""
    try:
        integration, document = load_definition(file)
        before = read_record(record_file(file))
    except CatalogError as error:
        raise refused(str(error)) from error
    verification = verification or Verification(description, without_credential)
    compared = [verification.compare(integration, skill) for skill in integration.skills.values()]
    found, unused = explained(compared, before.reasons if before else ())
    return Verified(
        file=file,
        integration=integration,
        document=document,
        description=description,
        found=found,
        unused=unused,
        before=before,
    )


def write_record(one: Verified, select: Sequence[str] | None = None) -> None:
    """Writes verified/SLUG.yaml anew, unless it says the same but for the day."""
    if select is None and one.is_as_recorded():
        return
    file = record_file(one.file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(record_text(one.record(select), one.file.name), encoding="utf-8")
    except OSError as error:
        raise refused(f"{file} cannot be written: {error.strerror}.") from error


def _is_folder(against: str) -> bool:
    return not is_url(against) and Path(against).is_dir()


def _all(paths: Sequence[Path], description: Description) -> list[Verified]:
    """The definitions of the API that is described: all that were named, else those on its host."""
    verification = Verification(description, without_credential)
    files = [file for path in chosen(paths) for file in files_of(path)]
    named = len(files) == 1
    return [verify(file, description, verification) for file in files if named or _is_about(file, description)]


def _is_about(file: Path, description: Description) -> bool:
    try:
        integration, _ = load_definition(file)
    except CatalogError as error:
        raise refused(str(error)) from error
    host = re.sub(r"^https?://|[/?].*$|\{\w+\}", "", integration.base_url)
    # A host that connections fill in whole may be any.
    return "." in host and bool(description.servers) and is_server(integration.base_url, description.servers)


def _in_folder(paths: Sequence[Path], folder: Path) -> list[Verified]:
    """Every definition that was recorded, against the file of its record."""
    verified = []
    for path in chosen(paths):
        for file in files_of(path):
            try:
                record = read_record(record_file(file))
            except CatalogError as error:
                raise refused(str(error)) from error
            if record is not None and (folder / record.file).is_file():
                verified.append(verify(file, description_of(str(folder / record.file))))
    return verified


# ---------------------------------------------------------------------- what is printed


def _print(one: Verified) -> None:
    description = one.description
    about = " ".join(part for part in (description.title, description.version) if part) or description.source
    output.heading(f"{one.integration.slug}, against {about} ({description.kind})")
    output.table(
        ("action", "", "the vendor's operation"),
        [(row.compared.action, _words(row), row.compared.operation or "-") for row in one.found],
    )
    for row in one.differing:
        for difference in row.differences:
            output.text(f"{_mistake(one, row.compared, difference)} [{difference.kind}]")
    record = one.record()
    said = sum(row.explained > 0 for row in one.found)
    reasons = f" ({said} with a reason)" if said else ""
    output.note(
        f"{record.match} of {counted(record.actions, 'action')} match{reasons}, "
        f"{len(one.differing)} differ, {record.not_described} are not described."
    )
    where = shown_path(record_file(one.file))
    print_lines(
        [f"{where}: the reason for {why.differs} of {why.action} explains nothing any more." for why in one.unused]
    )
    if one.before is not None and not one.is_as_recorded():
        output.note(f"{where} says something else; --record writes it anew.")


def _words(row: Explained) -> str:
    return "matches, with a reason" if row.verdict == "matches" and row.explained else row.verdict


def _mistake(one: Verified, compared: Compared, difference: Difference) -> Mistake:
    return one.document.mistake(("actions", compared.action, *difference.at), difference.message)


def _report(verified: Sequence[Verified]) -> dict[str, object]:
    return {
        "ok": not any(one.differing for one in verified),
        "integrations": [
            {
                "integration": one.integration.slug,
                "description": {
                    "title": one.description.title,
                    "kind": one.description.kind,
                    "version": one.description.version,
                    "source": one.description.source,
                    "sha256": one.description.digest,
                },
                "recorded": one.is_as_recorded(),
                "actions": [
                    {
                        "action": row.compared.action,
                        "verdict": row.verdict,
                        "operation": row.compared.operation or None,
                        "explained": row.explained,
                        "differences": [
                            {"kind": difference.kind, **place_of(_mistake(one, row.compared, difference))}
                            for difference in row.differences
                        ],
                    }
                    for row in one.found
                ],
            }
            for one in verified
        ],
    }
