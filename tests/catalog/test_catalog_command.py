"""`skillway catalog` as a command: exit codes, lines like a compiler's, JSON for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.starting import starter
from skills_catalog.lint import lint
from skills_catalog.loader import load_definition
from tests.catalog.notes import NOTES, broken, line_of

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(folder: Path, *words: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", "catalog", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def write(folder: Path, text: str, name: str = "notes.yaml") -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_a_clean_file_passes(tmp_path: Path) -> None:
    write(tmp_path, NOTES)

    done = run(tmp_path, "lint", "notes.yaml")

    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("1 file: 0 errors, 0 warnings")


def test_a_mistake_fails_and_is_one_line_with_its_place(tmp_path: Path) -> None:
    text = broken("{type: string, maxLength: 200,", "{type: string, maxlength: 200,")
    write(tmp_path, text)

    done = run(tmp_path, "lint", "notes.yaml")

    line = line_of(text, "maxlength")
    assert done.code == 1
    assert done.out == (
        f"notes.yaml:{line}: actions.create_note.params.title.maxlength: Unknown key. Did you mean maxLength? "
        "[error: load]\n"
    )
    assert done.err == "1 file: 1 error, 0 warnings.\n"


def test_warnings_fail_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path, broken("docs_url: https://notes.example/docs\n", ""))

    assert run(tmp_path, "lint", "notes.yaml").code == 0
    done = run(tmp_path, "lint", "notes.yaml", "--strict")
    assert done.code == 1
    assert "[warning: words]" in done.out


def test_findings_as_json(tmp_path: Path) -> None:
    text = broken("params: {folder: home, title: Milk}", "params: {folder: home, titel: Milk}")
    write(tmp_path, text)

    done = run(tmp_path, "lint", ".", "--json")

    assert done.code == 1
    assert (done.json["ok"], done.json["files"], done.json["error"]) == (False, 1, 2)
    assert done.json["findings"][0] == {
        "severity": "error",
        "rule": "example-params",
        "file": "notes.yaml",
        "line": line_of(text, "titel"),
        "field": "actions.create_note.examples.0.params.titel",
        "message": "titel is not a param of notes.create_note. Did you mean title?",
    }


def test_two_files_of_one_folder_with_one_slug_fail(tmp_path: Path) -> None:
    write(tmp_path, NOTES, "a.yaml")
    write(tmp_path, NOTES, "b.yaml")

    done = run(tmp_path, "lint", ".")

    assert done.code == 1
    assert "b.yaml:1: slug: notes is defined in a.yaml already. [error: load]" in done.out


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    for command in ("lint", "test"):
        done = run(tmp_path, command, "gone")

        assert done.code == 1
        assert done.json["error"] == "not_found"
        assert "gone" in done.err


def test_without_a_path_the_shipped_and_ones_own_are_checked(tmp_path: Path) -> None:
    (tmp_path / "my-integrations").mkdir()
    write(tmp_path / "my-integrations", broken("name: Notes", "name: 1"))

    done = run(tmp_path, "lint", "--json")

    assert done.code == 1
    assert done.json["files"] >= 6
    assert [finding["file"] for finding in done.json["findings"]] == ["my-integrations/notes.yaml"]


def test_examples_become_requests_once_for_each_way_in(tmp_path: Path) -> None:
    write(tmp_path, NOTES)

    done = run(tmp_path, "test", "notes.yaml", "--json")

    assert done.code == 0, done.out + done.err
    requests = {(one["action"], one["auth"]): one["request"] for one in done.json["examples"]}
    assert requests[("notes.list_notes", "key")] == (
        "GET https://example.notes.example/v1/folders/home/notes?format=full&tags=a,b"
    )
    assert requests[("notes.create_note", "oauth")] == "POST https://example.notes.example/v1/folders/home/notes"
    assert ("notes.attach_file", "oauth") not in requests
    assert len(requests) == 9


def test_a_table_of_requests_for_people(tmp_path: Path) -> None:
    write(tmp_path, NOTES)

    done = run(tmp_path, "test", "notes.yaml")

    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["action", "auth", "request"]
    assert ["notes.get_note", "key", "ok", "GET", "https://example.notes.example/v1/notes/9"] in rows
    assert done.err == "9 requests built, 0 failed.\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("params: {folder: home, title: Milk}", "params: {folder: home}", "title is missing"),
        ("params: {folder: home, title: Milk}", "params: {folder: .., title: Milk}", "`..`"),
        ("params: {folder: home, title: Milk}", 'params: {folder: home, title: Milk, language: "a\\nb"}', "header"),
    ],
)
def test_an_example_that_makes_no_request_fails(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = broken(old, new)
    write(tmp_path, text)

    done = run(tmp_path, "test", "notes.yaml")

    assert done.code == 1
    line = line_of(text, f"- {new}")
    failed = [
        said
        for said in done.out.splitlines()
        if said.startswith(f"notes.yaml:{line}: actions.create_note.examples.0: ")
    ]
    assert len(failed) == 2
    assert words in failed[0]
    assert done.err == "9 requests built, 2 failed.\n"


def test_every_shipped_example_becomes_a_request(tmp_path: Path) -> None:
    done = run(tmp_path, "test", "--json")

    assert [one for one in done.json["examples"] if not one["ok"]] == []
    assert done.code == 0
    assert len(done.json["examples"]) > 150


def test_a_new_file_works_as_it_is(tmp_path: Path) -> None:
    done = run(tmp_path, "new", "my_crm")

    assert (done.code, done.out) == (0, "my-integrations/my_crm.yaml\n")
    assert run(tmp_path, "lint", "--strict", "my-integrations").code == 0
    assert run(tmp_path, "test", "my-integrations").code == 0
    first = (tmp_path / "my-integrations" / "my_crm.yaml").read_text().splitlines()[0]
    schema = first.rpartition("=")[2]
    assert json.loads((tmp_path / "my-integrations" / schema).read_text())["title"] == "Skillway integration"


def test_a_new_file_has_nothing_to_find_in_it() -> None:
    assert lint(*load_definition(starter("my_crm"))) == []


@pytest.mark.parametrize(
    ("slug", "code"),
    [("My-CRM", "bad_request"), ("skills", "bad_request"), ("../x", "bad_request"), ("x" * 65, "bad_request")],
)
def test_a_slug_that_cannot_be_is_refused(tmp_path: Path, slug: str, code: str) -> None:
    done = run(tmp_path, "new", slug)

    assert (done.code, done.json["error"]) == (1, code)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "my-integrations").mkdir()
    write(tmp_path / "my-integrations", NOTES)

    done = run(tmp_path, "new", "notes")

    assert (done.code, done.json["error"]) == (1, "conflict")
    assert (tmp_path / "my-integrations" / "notes.yaml").read_text() == NOTES
