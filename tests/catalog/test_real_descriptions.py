"""Real descriptions of eleven APIs: nearly every operation is imported, loads, lints, and sends what is described."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import cache

import pytest

from gateway.cli.trials import without_credential
from gateway.cli.verifying import verify
from skills_catalog.descriptions.model import Description
from skills_catalog.descriptions.reading import read_file
from skills_catalog.importing.importer import Imported, Wish, import_operations
from skills_catalog.importing.naming import LONGEST, action_names, slug_of
from skills_catalog.lint import lint
from skills_catalog.loader import SHIPPED, definition_files, load_definition
from skills_catalog.verification.comparing import Verification
from skills_catalog.verification.records import read_record, record_file
from tests.conftest import SHARED

pytestmark = pytest.mark.shared
SPECS = SHARED / "data" / "specs"
#: Operations of each description, counted by hand.
OPERATIONS = {
    "asana.json": 247,
    "discord.json": 242,
    "figma.yaml": 47,
    "github-subset.json": 252,
    "google-calendar.v3.discovery.json": 38,
    "google-gmail.v1.discovery.json": 79,
    "intercom.yaml": 162,
    "notion.json": 24,
    "resend.yaml": 104,
    "slack.json": 174,
    "spotify.yaml": 97,
}
#: Of every hundred operations, so many become actions that work.
LEAST = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A description and what was made of it."""

    description: Description
    imported: Imported
    text: str
    seconds: float


@cache
def brought(name: str) -> Brought:
    started = time.monotonic()
    description = read_file(SPECS / name)
    imported = import_operations(description, description.operations, Wish(slug=slug_of(description)))
    return Brought(
        description=description,
        imported=imported,
        text=imported.text(name),
        seconds=time.monotonic() - started,
    )


def test_every_shared_description_is_tried() -> None:
    assert {file.name for file in SPECS.iterdir()} == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_real_description_is_imported(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each operation becomes an action that loads, has no error of lint, and whose example is what is described."""
    one = brought(name)
    assert len(one.description.operations) == OPERATIONS[name]
    assert one.description.unreadable == {}

    integration, document = load_definition(one.text, source=name)
    errors = {
        finding.mistake.field.split(".")[1] for finding in lint(integration, document) if finding.severity == "error"
    }
    verification = Verification(one.description, without_credential)
    compared = {skill.name: verification.compare(integration, skill) for skill in integration.skills.values()}
    fine = [action for action, found in compared.items() if found.verdict == "matches" and action not in errors]

    share = len(fine) / OPERATIONS[name]
    with capsys.disabled():
        print(f"\n{name}: {len(fine)} of {OPERATIONS[name]} operations ({share:.1%}), {one.seconds:.1f} s", end="")
    differing = [(action, found.differences) for action, found in compared.items() if found.differences]
    assert share >= LEAST, (one.imported.left_out, differing, errors)
    # Whatever was left out is told, and nothing is lost without a word.
    assert len(integration.skills) + len(one.imported.left_out) == OPERATIONS[name]
    assert one.seconds < 60


@pytest.mark.parametrize("name", OPERATIONS)
def test_names_of_a_real_description_are_short_unique_and_stable(name: str) -> None:
    description = read_file(SPECS / name)
    names = action_names(description, slug_of(description))
    assert len(set(names.values())) == OPERATIONS[name]
    assert max(map(len, names.values())) <= LONGEST
    assert names == action_names(read_file(SPECS / name), slug_of(description))


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_imported_reads_like_what_people_write(name: str) -> None:
    """Of the rules of words none warns but for what the vendor does not say."""
    integration, document = load_definition(brought(name).text, source=name)
    warnings = Counter(finding.rule for finding in lint(integration, document) if finding.severity == "warning")
    assert warnings["description"] == warnings["names"] == warnings["portable-root"] == 0
    assert warnings["words"] <= 1


def test_effects_of_well_known_operations_are_right() -> None:
    effects = {
        name: {
            skill.name: skill.effect for skill in load_definition(brought(name).text, source=name)[0].skills.values()
        }
        for name in ("slack.json", "google-gmail.v1.discovery.json", "intercom.yaml", "notion.json", "asana.json")
    }
    assert effects["slack.json"]["post_chat_message"] == "send"
    assert effects["slack.json"]["delete_chat"] == "delete"
    assert effects["google-gmail.v1.discovery.json"]["send_message"] == "send"
    assert effects["google-gmail.v1.discovery.json"]["trash_message"] == "delete"
    assert effects["intercom.yaml"]["search_contacts"] == "read"
    assert effects["intercom.yaml"]["reply_conversation"] == "send"
    assert effects["notion.json"]["query_data_source"] == "read"
    assert effects["asana.json"]["remove_follower_for_task"] == "update"


def test_a_get_of_slack_that_changes_something_is_not_served_unseen() -> None:
    integration = load_definition(brought("slack.json").text, source="slack")[0].reviewed()
    assert {"publish_view", "uninstall_app", "revoke_auth"} <= integration.unreviewed.keys()
    assert "publish_view" not in integration.skills


def test_what_is_recorded_of_the_shipped_definitions_is_so() -> None:
    """`skillway catalog test --against FOLDER --record` writes the records anew."""
    recorded = 0
    for file in definition_files(SHIPPED):
        record = read_record(record_file(file))
        if record is None or not (SPECS / record.file).is_file():
            continue
        recorded += 1
        one = verify(file, read_file(SPECS / record.file))
        assert [(row.compared.action, row.differences) for row in one.differing] == []
        assert one.unused == []
        assert one.is_as_recorded(), f"{file.name} is not what verified/{file.name} says"
        # What is not described has a reason too.
        explained = [reason for reason in record.reasons if reason.differs == "not described"]
        assert record.match + record.not_described == record.actions
        assert explained or not record.not_described
    assert recorded >= 1


def test_slips_in_the_definition_of_github_are_found() -> None:
    """The comparison is no rubber stamp: a letter changed anywhere is seen."""
    text = (SHIPPED / "github.yaml").read_text()
    description = read_file(SPECS / "github-subset.json")
    verification = Verification(description, without_credential)
    for old, new, kind in [
        ("per_page: {type: integer", "per_page: {as: per_pages, type: integer", "unknown-param"),
        ("state_reason: {type: string, enum: [completed, ", "state_reason: {type: string, enum: [complete, ", "enum"),
        ("assignees: {type: array, items: {type: string}, description: Logins of the", "assignees: {type: string, description: Logins of the", "type"),
        ("description: Text in Markdown.}\n      labels", "in: query, description: Text in Markdown.}\n      labels", "location"),
        ("title: {type: string, minLength: 1, description: Title of the issue., required: true}", "title: {type: string, minLength: 1, description: Title of the issue.}", "optional-param"),
        ("request: PATCH /repos/{+repo}/issues/{issue_number}\n", "request: PUT /repos/{+repo}/issues/{issue_number}\n", "method"),
        ("sort: {type: string, enum: [created, updated, comments], default: created", "sort: {type: string, enum: [created, updated, comments], default: updated", "default"),
        ("data: {number: 7, title: Bug report, state: open, html_url", "data: {number: seven, title: Bug report, state: open, html_url", "answer"),
        ("          status: 201\n", "          status: 299\n", "status"),
        ("base_url: https://api.github.com", "base_url: https://api.github.example", "host"),
    ]:  # fmt: skip
        assert old in text
        integration, _ = load_definition(text.replace(old, new, 1), source="github.yaml")
        found = {
            difference.kind
            for skill in list(integration.skills.values())[:12]
            for difference in verification.compare(integration, skill).differences
        }
        assert kind in found, (new, found)
