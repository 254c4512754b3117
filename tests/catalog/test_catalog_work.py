"""`skillway catalog` at work on a vendor's description: import, again, compare, diff, lock, new on a terminal."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skills_catalog.descriptions.documents import MAX_BYTES
from skills_catalog.loader import SHIPPED, load_definition
from tests.catalog.notes import NOTES, broken
from tests.catalog.specs import NOTES_SPEC, SDL
from tests.catalog.test_catalog_command import Done, run, write
from tests.cli.shell import Shell, without_colour
from tests.fakes.upstream import Answer, Asked, Upstream, json_answer, route, serve

ROOT = Path(__file__).resolve().parents[2]


def spec_file(folder: Path, spec: Any = NOTES_SPEC, name: str = "spec.json") -> None:
    (folder / name).write_text(json.dumps(spec) if not isinstance(spec, str) else spec)


def definition(folder: Path, slug: str = "notes") -> str:
    return (folder / "my-integrations" / f"{slug}.yaml").read_text()


# ---------------------------------------------------------------------- import


def test_a_description_is_imported_checked_and_recorded(tmp_path: Path) -> None:
    spec_file(tmp_path)

    done = run(tmp_path, "import", "spec.json")

    assert (done.code, done.out) == (0, "my-integrations/notes.yaml\n"), done.err
    assert done.err.startswith("4 actions imported.\n")
    assert "1 × how a list is paged" in done.err
    text = definition(tmp_path)
    assert "spec.json (OpenAPI 3.1: Notes API 1.4)" in text
    assert text.startswith("# yaml-language-server: $schema=./integration.schema.json\n# Imported on ")
    assert run(tmp_path, "lint", "my-integrations").code == 0
    assert run(tmp_path, "test", "my-integrations").code == 0
    against = run(tmp_path, "test", "my-integrations", "--against", "spec.json", "--json").json
    assert (against["ok"], against["integrations"][0]["recorded"]) == (True, True)
    assert "match: 4" in (tmp_path / "my-integrations" / "verified" / "notes.yaml").read_text()


def test_an_import_as_json_has_everything_that_is_told(tmp_path: Path) -> None:
    spec = copy.deepcopy(NOTES_SPEC)
    spec["paths"]["/xml"] = {
        "post": {"operationId": "xml", "requestBody": {"content": {"text/xml+x": {"schema": {"type": "object"}}}}}
    }
    spec["paths"]["/apps.uninstall"] = {"get": {"operationId": "apps_uninstall"}}
    spec_file(tmp_path, spec)

    said = run(tmp_path, "import", "spec.json", "--slug", "memos", "-o", "here", "--json").json

    assert (said["file"], said["record"]) == ("here/memos.yaml", "here/verified/memos.yaml")
    assert said["added"] == ["list_notes", "create_note", "delete_note", "search_notes", "uninstall_app"]
    assert said["left_out"] == {"POST /xml": "a body of text/xml+x."}
    assert list(said["unreviewed"]) == ["uninstall_app"]
    assert said["guessed_pages"] == 1


def test_what_was_selected_is_remembered_for_the_next_time(tmp_path: Path) -> None:
    spec_file(tmp_path)
    assert run(tmp_path, "import", "spec.json", "--select", "tag:Notes", "--select", "!*delete*").code == 0
    assert "actions: 2" in (tmp_path / "my-integrations" / "verified" / "notes.yaml").read_text()
    before = definition(tmp_path)

    done = run(tmp_path, "import", "spec.json")

    assert (done.code, definition(tmp_path)) == (0, before)
    assert "2 actions stayed, 0 new ones." in done.err


def test_what_was_selected_by_our_names_is_found_again(tmp_path: Path) -> None:
    spec_file(tmp_path)
    assert run(tmp_path, "import", "spec.json", "--select", "list_notes").code == 0
    assert run(tmp_path, "import", "spec.json").code == 0
    more = run(tmp_path, "import", "spec.json", "--select", "list_notes", "--select", "search_notes", "--json").json
    assert more["added"] == ["search_notes"]


def test_the_operations_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    spec_file(tmp_path)
    words = ("import", "spec.json", "--list", "--select", "tag:Notes")

    done = run(tmp_path, *words)

    assert done.out.splitlines()[1].split() == [
        "list_notes",
        "read",
        "GET",
        "/folders/{folder}/notes",
        "notes/list",
        "Notes",
    ]
    assert done.err == "3 operations.\n"
    assert run(tmp_path, *words, "--json").json["operations"][2] == {
        "action": "delete_note",
        "effect": "delete",
        "request": "DELETE /notes/{id}",
        "id": "notes/delete",
        "tags": ["Notes"],
    }
    assert not (tmp_path / "my-integrations").exists()


def test_editors_are_shown_the_schema_that_stands_above_the_folder(tmp_path: Path) -> None:
    spec_file(tmp_path)
    (tmp_path / "integration.schema.json").write_text("{}")
    assert run(tmp_path, "import", "spec.json").code == 0
    assert definition(tmp_path).startswith("# yaml-language-server: $schema=../integration.schema.json\n")
    assert not (tmp_path / "my-integrations" / "integration.schema.json").exists()


def test_a_second_import_adds_what_is_new_as_not_reviewed(tmp_path: Path) -> None:
    spec = copy.deepcopy(NOTES_SPEC)
    later = spec["paths"].pop("/notes/search")
    spec_file(tmp_path, spec)
    run(tmp_path, "import", "spec.json")
    path = tmp_path / "my-integrations" / "notes.yaml"
    path.write_text(path.read_text().replace("description: Delete a note.", "description: Delete a note, for good."))
    spec["paths"]["/notes/search"] = later
    del spec["paths"]["/notes/{id}"]
    spec_file(tmp_path, spec)

    said = run(tmp_path, "import", "spec.json", "--json").json

    assert (said["added"], said["kept"], said["gone"]) == (["search_notes"], 3, ["delete_note"])
    assert said["unreviewed"] == {"search_notes": ""}
    integration, _ = load_definition(path)
    assert integration.skills["search_notes"].lifecycle == "unreviewed"
    assert integration.skills["delete_note"].description == "Delete a note, for good."
    assert integration.version == "0.2.0"
    # The same once more changes nothing.
    assert run(tmp_path, "import", "spec.json", "--json").json["added"] == []


def test_a_second_import_of_a_locked_folder_needs_no_other_version(tmp_path: Path) -> None:
    """What nobody reviewed promises nothing, and the version was raised with it."""
    spec = copy.deepcopy(NOTES_SPEC)
    later = spec["paths"].pop("/notes/search")
    spec_file(tmp_path, spec)
    run(tmp_path, "import", "spec.json")
    assert run(tmp_path, "lock", "my-integrations").code == 0
    spec["paths"]["/notes/search"] = later
    spec_file(tmp_path, spec)
    run(tmp_path, "import", "spec.json")
    assert run(tmp_path, "lint", "my-integrations").code == 0
    assert run(tmp_path, "lock", "my-integrations").code == 0


def test_a_graphql_schema_is_imported_by_the_names_of_its_operations(tmp_path: Path) -> None:
    spec_file(tmp_path, SDL, "schema.graphql")
    words = ("import", "schema.graphql", "--slug", "notes", "--base-url", "https://api.notes.example/graphql")

    done = run(tmp_path, *words, "--select", "Query.note", "--select", "create_*")

    assert done.code == 0, done.err
    integration, _ = load_definition(tmp_path / "my-integrations" / "notes.yaml")
    assert list(integration.skills) == ["get_note", "create_note"]
    assert run(tmp_path, "test", "my-integrations", "--against", "schema.graphql").code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("import", "gone.json"), "bad_request", "No such file"),
        (("import", "spec.json", "--slug", "Not-A-Slug"), "bad_request", "is no slug"),
        (("import", "spec.json", "--slug", "skills"), "bad_request", "reserved"),
        (("import", "spec.json", "--select", "tag:Note"), "not_found", "did you mean tag:Notes"),
        (("import", "spec.json", "--select", "!*"), "not_found", "Nothing is left"),
        (("import", "schema.graphql", "--slug", "x"), "bad_request", "--base-url"),
        (("import", "spec.json", "--base-url", "ftp://x"), "bad_request", "--base-url"),
        (("import", "https://user@notes.example/spec.json"), "bad_request", "cannot be fetched"),
        (("test", "--record"), "bad_request", "--against"),
        (("lint", "--explain", "portible-gemini"), "not_found", "There is no rule"),
        (("diff", "gone", "gone"), "not_found", "no such file"),
        (("diff", "gone.lock", "gone.lock"), "not_found", "There is no file"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], code: str, message: str
) -> None:
    spec_file(tmp_path)
    spec_file(tmp_path, SDL, "schema.graphql")

    done = run(tmp_path, *words)

    assert (done.code, done.json["error"]) == (1, code)
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "my-integrations").exists()


def test_an_import_counts_where_somebody_can_see_it(tmp_path: Path) -> None:
    paths = {f"/things/{n}": {"get": {"operationId": f"getThing{n}", "responses": {}}} for n in range(40)}
    shell = Shell.at(tmp_path, url="http://127.0.0.1:1").with_environment(PYTHONWARNINGS=None)
    spec_file(shell.folder, {**NOTES_SPEC, "paths": paths})
    done = shell.on_terminal("catalog", "import", "spec.json")
    assert done.code == 0
    assert b"Importing 30 of 40" in done.out
    assert without_colour(done.out).count("40 actions imported.") == 1


# ---------------------------------------------------------------------- from the network


class Vendor(Upstream):
    """Gives descriptions, small and endless ones, and sends people elsewhere."""

    @route("GET", "/spec.json")
    def spec(self, asked: Asked) -> Answer:
        return json_answer(NOTES_SPEC)

    @route("GET", "/moved")
    def moved(self, asked: Asked) -> Answer:
        return json_answer({}, 302, headers={"Location": "/spec.json"})

    @route("GET", "/away")
    def away(self, asked: Asked) -> Answer:
        return json_answer({}, 302, headers={"Location": "http://169.254.169.254/latest/meta-data"})

    @route("GET", "/large.json")
    def large(self, asked: Asked) -> Answer:
        return json_answer({"x": "y" * (MAX_BYTES + 10)})

    @route("GET", "/gone")
    def gone(self, asked: Asked) -> Answer:
        return json_answer({}, 404)


async def fetched(folder: Path, url: str, networks: str = "127.0.0.0/8") -> Done:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    if networks:
        environ["SKILLWAY_ALLOWED_PRIVATE_NETWORKS"] = networks
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "gateway.cli.main", "catalog", "import", url, "--json"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


async def test_a_description_behind_a_url_comes_through_the_one_door(tmp_path: Path) -> None:
    async with serve(Vendor()) as vendor:
        done = await fetched(tmp_path, f"{vendor.base_url}/moved")
        assert done.code == 0, done.err
        assert [seen.raw_path for seen in vendor.upstream.seen] == ["/moved", "/spec.json"]
        assert all(seen.header("Authorization") is None for seen in vendor.upstream.seen)
        assert "file: moved" in (tmp_path / "my-integrations" / "verified" / "notes.yaml").read_text()


@pytest.mark.parametrize(
    ("path", "networks", "code", "words"),
    [
        ("/spec.json", "", "description_unreachable", "SKILLWAY_ALLOWED_PRIVATE_NETWORKS"),
        ("/away", "127.0.0.0/8", "bad_request", "answered 302"),
        ("/large.json", "127.0.0.0/8", "bad_request", "is larger than 24 MB"),
        ("/gone", "127.0.0.0/8", "bad_request", "answered 404"),
    ],
)
async def test_what_the_door_does_not_let_through_is_told(
    tmp_path: Path, path: str, networks: str, code: str, words: str
) -> None:
    async with serve(Vendor()) as vendor:
        done = await fetched(tmp_path, vendor.base_url + path, networks)
    assert done.json["error"] == code, done.err
    assert words in done.out + done.err
    assert done.code == (2 if code == "description_unreachable" else 1)
    assert not (tmp_path / "my-integrations").exists()


# ---------------------------------------------------------------------- against


def test_a_difference_fails_until_it_has_a_reason(tmp_path: Path) -> None:
    spec_file(tmp_path)
    run(tmp_path, "import", "spec.json")
    spec = copy.deepcopy(NOTES_SPEC)
    order = spec["paths"]["/folders/{folder}/notes"]["get"]["parameters"][1]
    order["schema"]["enum"].append("random")
    spec_file(tmp_path, spec)

    done = run(tmp_path, "test", "my-integrations", "--against", "spec.json")

    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if line.endswith("[enum]")]
    assert line.startswith("my-integrations/notes.yaml:")
    assert ": actions.list_notes.params.order: The vendor also lists random." in line
    assert "3 of 4 actions match, 1 differ, 0 are not described." in done.err
    assert "says something else; --record writes it anew" in done.err

    record = tmp_path / "my-integrations" / "verified" / "notes.yaml"
    record.write_text(
        record.read_text()
        + "reasons: [{action: list_*, differs: enum, at: params.order, reason: Random order is slow. },\n"
        + "  {action: '*', differs: style, reason: Nothing differs like that.}]\n"
    )
    done = run(tmp_path, "test", "my-integrations", "--against", "spec.json", "--record")
    assert done.code == 0
    assert "4 of 4 actions match (1 with a reason)" in done.err
    assert "the reason for style of * explains nothing any more" in done.err
    assert "Random order is slow." in record.read_text()
    # A folder of descriptions: each definition against the file that its record names.
    (tmp_path / "specs").mkdir()
    spec_file(tmp_path / "specs", spec)
    report = run(tmp_path, "test", "my-integrations", "--against", "specs", "--json").json
    assert [(one["integration"], one["recorded"]) for one in report["integrations"]] == [("notes", True)]
    assert report["integrations"][0]["actions"][0]["explained"] == 1


def test_definitions_of_other_apis_are_not_compared(tmp_path: Path) -> None:
    spec_file(tmp_path)
    done = run(tmp_path, "test", "--against", "spec.json")
    assert (done.code, done.json["error"]) == (1, "not_found")


# ---------------------------------------------------------------------- diff, lock, table, explain


def test_changes_are_a_table_and_breaking_ones_fail(tmp_path: Path) -> None:
    write(tmp_path, NOTES, "old.yaml")
    write(tmp_path, broken("maxLength: 200", "maxLength: 300").replace("1.2.0", "1.3.0"), "wider.yaml")
    write(tmp_path, broken("maxLength: 200", "maxLength: 20"), "narrower.yaml")

    wider = run(tmp_path, "diff", "old.yaml", "wider.yaml")
    assert (wider.code, wider.err) == (0, "1 change, 0 breaking.\n")
    assert wider.out.splitlines()[1].split() == [
        *("notes", "additive", "actions.create_note.params.title", "Takes", "more", "than", "before."),
    ]
    said = run(tmp_path, "diff", "old.yaml", "narrower.yaml", "--json")
    assert said.code == 1
    assert (said.json["ok"], said.json["breaking"]) == (False, 1)
    assert said.json["changes"][0] == {
        "integration": "notes",
        "kind": "breaking",
        "at": "actions.create_note.params.title",
        "message": "Has a maxLength of 20 now.",
    }
    assert said.json["changes"][1]["at"] == "version"
    same = run(tmp_path, "diff", "old.yaml", "old.yaml")
    assert (same.code, same.out, same.err) == (0, "", "0 changes, 0 breaking.\n")
    other = run(tmp_path, "diff", "old.yaml", str(SHIPPED / "skycot.yaml"), "--json").json
    assert other["changes"][0]["message"] == "Was notes, is skycot."


def test_folders_and_locks_are_compared_too(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, NOTES)
    write(tmp_path / "new", NOTES.replace("slug: notes", "slug: memos"), "memos.yaml")
    run(tmp_path, "lock", "old")
    said = run(tmp_path, "diff", "old/catalog.lock", "new", "--json").json
    assert said["changes"] == [{"integration": "memos", "kind": "additive", "at": "", "message": "A new integration."}]
    assert run(tmp_path, "diff", "new", "old").code == 1


def test_lint_holds_a_folder_against_its_lock(tmp_path: Path) -> None:
    write(tmp_path, NOTES)
    assert run(tmp_path, "lock", ".").out == "catalog.lock\n"
    assert run(tmp_path, "lint", ".").code == 0

    def found(text: str) -> list[tuple[str, str, str]]:
        write(tmp_path, text)
        findings = run(tmp_path, "lint", ".", "--json").json["findings"]
        return [(one["severity"], one["field"], one["message"]) for one in findings if one["rule"] == "lock"]

    ((severity, field, message),) = found(broken("description: Its title.", "description: The title."))
    assert (severity, field) == ("error", "version")
    assert "Says something else than 1.2.0 in catalog.lock (create_note); raise the version." in message
    ((severity, field, message),) = found(broken("maxLength: 200", "maxLength: 20").replace("1.2.0", "1.3.0"))
    assert (severity, field) == ("error", "actions.create_note.params.title")
    assert "raise the major version" in message
    ((severity, field, message),) = found(broken("maxLength: 200", "maxLength: 20").replace("1.2.0", "2.0.0"))
    assert (severity, field) == ("warning", "version")
    assert "run `skillway catalog lock`" in message
    refused = run(tmp_path, "lock", ".")
    assert refused.code == 0
    assert found(broken("maxLength: 200", "maxLength: 20").replace("1.2.0", "2.0.0")) == []

    # What is not in it, and what it has alone.
    write(tmp_path, NOTES.replace("slug: notes", "slug: memos"), "memos.yaml")
    assert ("error", "slug") in [
        one[:2] for one in found(broken("maxLength: 200", "maxLength: 20").replace("1.2.0", "2.0.0"))
    ]
    (tmp_path / "memos.yaml").unlink()
    (tmp_path / "notes.yaml").unlink()
    write(tmp_path, NOTES.replace("slug: notes", "slug: other"), "other.yaml")
    gone = run(tmp_path, "lint", ".", "--json").json["findings"]
    assert ("warning", "notes") in [(one["severity"], one["field"]) for one in gone]


def test_the_lock_takes_no_change_that_its_version_does_not_tell(tmp_path: Path) -> None:
    write(tmp_path, NOTES)
    run(tmp_path, "lock", ".")
    before = (tmp_path / "catalog.lock").read_text()
    write(tmp_path, broken("maxLength: 200", "maxLength: 20"))

    done = run(tmp_path, "lock", ".")

    assert (done.code, done.json["error"]) == (1, "conflict")
    assert "actions.create_note.params.title: Has a maxLength of 20 now." in done.err
    assert (tmp_path / "catalog.lock").read_text() == before
    assert run(tmp_path, "lock", ".", "--force", "--json").json["locks"][0]["changed"] is True
    assert run(tmp_path, "lock", ".", "--json").json["locks"][0]["changed"] is False


def test_the_table_says_what_was_verified(tmp_path: Path) -> None:
    spec_file(tmp_path)
    run(tmp_path, "import", "spec.json")
    head, rule, row = run(tmp_path, "table", "my-integrations").out.splitlines()
    assert head == "| integration | slug | actions | auth methods | lifecycle | verified against |"
    assert rule == "| --- | --- | --- | --- | --- | --- |"
    assert row.startswith("| Notes | `notes` | 4 | `key`, `oauth` |  | Notes API 1.4 (OpenAPI 3.1), 20")
    assert row.endswith(": 4 of 4 actions match |")


def test_a_rule_is_explained(tmp_path: Path) -> None:
    done = run(tmp_path, "lint", "--explain", "missing-scopes")
    assert done.code == 0
    assert [line.partition(":")[0] for line in done.out.splitlines()] == ["missing-scopes", "Why", "Mend"]
    assert run(tmp_path, "lint", "--explain", "asks", "--json").json["rule"] == "asks"


# ---------------------------------------------------------------------- new


def test_a_new_file_is_asked_for_on_a_terminal(tmp_path: Path) -> None:
    shell = Shell.at(tmp_path, url="http://127.0.0.1:1").with_environment(PYTHONWARNINGS=None)
    typed = "My Rooms\nrooms\n\nnot a url\nhttps://rooms.corp.example/v1\nmagic\noauth2\nPOST rooms\nPOST /rooms/{id}/bookings\n"

    done = shell.on_terminal("catalog", "new", typed=typed, prompt="Slug")

    assert done.code == 0, done.out
    shown = without_colour(done.out)
    for words in (
        "'My Rooms' is no slug",
        "Name for people [Rooms]",
        "cannot be a base URL",
        "'magic' is none of",
        "no method and path",
    ):
        assert words in shown
    integration, _ = load_definition(shell.folder / "my-integrations" / "rooms.yaml")
    assert (integration.name, integration.base_url, integration.auth[0].type) == (
        *("Rooms", "https://rooms.corp.example/v1", "oauth2"),
    )
    (skill,) = integration.skills.values()
    assert (skill.request.path, skill.effect, list(skill.params)) == ("/rooms/{id}/bookings", "create", ["id"])
    assert run(shell.folder, "lint", "my-integrations").code == 0
    assert run(shell.folder, "test", "my-integrations").code == 0


def test_new_files_from_options_lint_and_build(tmp_path: Path) -> None:
    ways = ["api_key", "bearer", "basic", "oauth2", "client_credentials", "none"]
    actions = ["GET /me", "POST /a/{b}/c", "DELETE /files/{+path}", "PATCH /x", "HEAD /x"]
    for number, (auth, action) in enumerate(
        [*((way, "GET /me") for way in ways), *(("none", line) for line in actions)]
    ):
        done = run(tmp_path, "new", f"rooms_{number}", "--auth", auth, "--action", action)
        assert (done.code, done.out) == (0, f"my-integrations/rooms_{number}.yaml\n")
    said = run(tmp_path, "lint", "my-integrations", "--json").json
    assert (said["files"], said["error"], said["warning"]) == (11, 0, 0), said
    assert run(tmp_path, "test", "my-integrations").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--base-url", "rooms.example"),
        ("--base-url", "https://rooms.example/{x}"),
        ("--action", "BOOK /rooms"),
        ("--action", "GET rooms"),
        ("--name", ""),
    ],
)
def test_an_option_that_cannot_be_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(tmp_path, "new", "rooms", *words)
    assert (done.code, done.json["error"]) == (1, "bad_request")
    assert list(tmp_path.iterdir()) == []


def test_without_a_slug_and_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "new")
    assert (done.code, done.json["error"]) == (1, "bad_request")
