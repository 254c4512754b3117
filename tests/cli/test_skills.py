"""`skillway skills`: three levels and a search, and `skillway pull`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from .gateway_fake import FakeGateway, Reply
from .shell import Shell

DOWNLOAD = ("GET", "/v1/github/download")


@pytest.mark.parametrize(
    ("words", "path", "query"),
    [
        ([], "/v1/skills", {}),
        (["github"], "/v1/skills/github", {}),
        (["github", "create_issue"], "/v1/skills/github/create_issue", {}),
        (["--user", "ann b&c"], "/v1/skills", {"user": "ann b&c"}),
        (["--search", "open a bug"], "/v1/skills/search", {"q": "open a bug"}),
        (["github", "--search", "bug"], "/v1/skills/search", {"q": "bug", "integration": "github"}),
        (
            ["--search", "bug", "--effect", "read", "--connected"],
            "/v1/skills/search",
            {"q": "bug", "effect": "read", "connected": "1"},
        ),
    ],
)
def test_each_level_is_one_request_and_its_answer(
    fake: FakeGateway, shell: Shell, words: list[str], path: str, query: dict[str, str]
) -> None:
    done = shell.run("skills", *words)
    assert done.code == 0
    assert isinstance(done.json, dict)
    assert [(asked.path, asked.query) for asked in fake.asked] == [(path, query)]


def test_an_integration_that_is_not_there_exits_1(shell: Shell) -> None:
    done = shell.run("skills", "nope")
    assert (done.code, done.json["error"]) == (1, "not_found")


@pytest.mark.parametrize("words", [["github", "create_issue", "--search", "x"], ["--effect", "read"], ["--connected"]])
def test_what_does_not_go_together_asks_nothing(fake: FakeGateway, shell: Shell, words: list[str]) -> None:
    assert shell.run("skills", *words).code == 1
    assert fake.asked == []


@pytest.mark.parametrize(
    ("folders", "flags", "expected"),
    [
        ([], [], ".skillway/skills/skillway-github/SKILL.md"),
        ([".claude"], [], ".claude/skills/skillway-github/SKILL.md"),
        ([".cursor"], [], ".cursor/rules/skillway-github/skillway-github.mdc"),
        ([".windsurf"], [], ".windsurf/rules/skillway-github/skillway-github.md"),
        ([".windsurf", ".cursor", ".claude"], [], ".claude/skills/skillway-github/SKILL.md"),
        ([".claude"], ["--platform", "cursor"], ".cursor/rules/skillway-github/skillway-github.mdc"),
        ([".claude"], ["--platform", "generic"], ".skillway/skills/skillway-github/SKILL.md"),
        ([".cursor"], ["--to", "docs/skills"], "docs/skills/skillway-github/SKILL.md"),
        ([".claude"], ["--to", "rules", "--platform", "windsurf"], "rules/skillway-github/skillway-github.md"),
    ],
)
def test_pull_writes_where_the_platform_looks(
    shell: Shell, folders: list[str], flags: list[str], expected: str
) -> None:
    for folder in folders:
        (shell.folder / folder).mkdir()
    done = shell.run("pull", "github", *flags)
    assert done.code == 0
    main = shell.folder / expected
    assert done.json["files"] == [main.name, "endpoints/issues/create_issue.md"]
    assert shell.folder / done.json["folder"] == main.parent
    assert main.read_text(encoding="utf-8").endswith("# GitHub ☃\n")
    assert (main.parent / "endpoints/issues/create_issue.md").is_file()
    assert shell.run("pull", "github", *flags).code == 0


PULLED = Path(".skillway/skills/skillway-github")


def download(**files: str) -> Reply:
    listed = [{"file_path": path.replace("__", "/") + ".md", "content": content} for path, content in files.items()]
    return Reply(body=json.dumps({"slug": "github", "name": "skillway-github", "files": listed}).encode())


def test_pulled_again_files_are_brought_up_to_date(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[DOWNLOAD] = download(SKILL="old", endpoints__issues__gone="x", endpoints__issues__kept="x")
    assert shell.run("pull", "github").code == 0
    (shell.folder / PULLED / "notes.txt").write_text("mine")
    fake.replies[DOWNLOAD] = download(SKILL="new", endpoints__pulls__merge="x")
    (shell.folder / PULLED / "endpoints/issues/kept.md").write_text("with a note of mine")
    assert shell.run("pull", "github").code == 0
    there = {str(path.relative_to(shell.folder / PULLED)) for path in (shell.folder / PULLED).rglob("*")}
    assert there == {
        ".skillway.json", "SKILL.md", "notes.txt", "endpoints", "endpoints/issues", "endpoints/issues/kept.md",
        "endpoints/pulls", "endpoints/pulls/merge.md",
    }  # fmt: skip
    assert (shell.folder / PULLED / "SKILL.md").read_text() == "new"
    fake.replies[DOWNLOAD] = download(SKILL="newer")
    assert shell.run("pull", "github").code == 0
    assert not (shell.folder / PULLED / "endpoints/pulls").exists()


def test_what_somebody_changed_is_not_overwritten_unless_it_is_said(fake: FakeGateway, shell: Shell) -> None:
    fake.replies[DOWNLOAD] = download(SKILL="old", a="old")
    assert shell.run("pull", "github").code == 0
    skill, other = shell.folder / PULLED / "SKILL.md", shell.folder / PULLED / "a.md"
    skill.write_text("mine")
    fake.replies[DOWNLOAD] = download(SKILL="new", a="new")
    refused = shell.run("pull", "github")
    assert (refused.code, refused.json["error"]) == (1, "conflict")
    assert "SKILL.md" in refused.err and "a.md" not in refused.err and "--force" in refused.err
    assert (skill.read_text(), other.read_text()) == ("mine", "old")
    assert shell.run("pull", "github", "--force").code == 0
    assert (skill.read_text(), other.read_text()) == ("new", "new")


def test_a_file_of_somebody_elses_is_not_overwritten_either(fake: FakeGateway, shell: Shell) -> None:
    (shell.folder / PULLED).mkdir(parents=True)
    (shell.folder / PULLED / "SKILL.md").write_text("mine")
    assert shell.run("pull", "github").code == 1
    assert [path.name for path in (shell.folder / PULLED).iterdir()] == ["SKILL.md"]
    # What is there already as it would be written is nobody's loss.
    fake.replies[DOWNLOAD] = download(SKILL="mine")
    assert shell.run("pull", "github").code == 0


@pytest.mark.parametrize(
    "list",
    [b"", b"[]", b"{}", b'{"files": 7}', b'{"files": {"../../../outside.txt": "DIGEST"}}', b'{"files": {"link/outside.txt": "DIGEST"}}'],
)
def test_a_list_of_written_files_that_makes_no_sense_harms_nobody(
    fake: FakeGateway, shell: Shell, list: bytes
) -> None:
    outside = shell.folder / "outside.txt"
    outside.write_text("old")
    fake.replies[DOWNLOAD] = download(SKILL="old")
    assert shell.run("pull", "github").code == 0
    (shell.folder / PULLED / "link").symlink_to(shell.folder)
    digest = hashlib.sha256(b"old").hexdigest().encode()
    (shell.folder / PULLED / ".skillway.json").write_bytes(list.replace(b"DIGEST", digest))
    assert shell.run("pull", "github").code == 0
    assert outside.read_text() == "old"


@pytest.mark.parametrize(
    "path",
    [
        "../evil.md", "a/../../evil.md", "/evil.md", "a//b.md", "./a.md", "a/./b.md", "", ".", "..", "a/", "a\\..\\b",
        "C:evil.md", "~/evil.md", "a\x00b", "a\nb", "a/..", "...", "con.", "\u2025/x", "link/evil.md", "dir", ".skillway.json",
    ],
)  # fmt: skip
def test_pull_writes_nothing_when_a_path_leaves_the_folder(fake: FakeGateway, shell: Shell, path: str) -> None:
    folder = shell.folder / PULLED
    (folder / "dir").mkdir(parents=True)
    outside = shell.folder / "outside"
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    files = [{"file_path": "first.md", "content": "x"}, {"file_path": path, "content": "x"}]
    fake.replies[DOWNLOAD] = Reply(body=json.dumps({"slug": "github", "name": "skillway-github", "files": files}).encode())
    done = shell.run("pull", "github")
    assert done.code == 1
    assert "nothing was written" in done.err
    assert list(outside.iterdir()) == []
    assert sorted(found.name for found in folder.iterdir()) == ["dir", "link"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b'{"name": "x", "files": []}', b'{"name": "x", "files": [{"file_path": 1, "content": "x"}]}',
        b'{"name": "../x", "files": [{"file_path": "a", "content": "x"}]}', b'{"files": [{"file_path": "a", "content": "x"}]}',
    ],
)  # fmt: skip
def test_pull_refuses_a_list_that_makes_no_sense(fake: FakeGateway, shell: Shell, body: bytes) -> None:
    fake.replies[DOWNLOAD] = Reply(body=body)
    assert shell.run("pull", "github").code == 1
    assert list(shell.folder.iterdir()) == []
