"""`skillway skills`: three levels and a search, and `skillway pull`."""

from __future__ import annotations

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
        ([], [], ".skillway/skills/github"),
        ([".claude"], [], ".claude/skills/skillway-github"),
        ([".cursor"], [], ".cursor/rules/skillway-github"),
        ([".windsurf"], [], ".windsurf/rules/skillway-github"),
        ([".windsurf", ".cursor", ".claude"], [], ".claude/skills/skillway-github"),
        ([".claude"], ["--platform", "cursor"], ".cursor/rules/skillway-github"),
        ([".claude"], ["--platform", "generic"], ".skillway/skills/github"),
    ],
)
def test_pull_writes_where_the_platform_looks(
    shell: Shell, folders: list[str], flags: list[str], expected: str
) -> None:
    for folder in folders:
        (shell.folder / folder).mkdir()
    done = shell.run("pull", "github", *flags)
    assert done.code == 0
    assert done.json["files"] == ["SKILL.md", "endpoints/issues/create_issue.md"]
    assert Path(done.json["folder"]) == shell.folder / expected
    assert (shell.folder / expected / "SKILL.md").read_text(encoding="utf-8").endswith("# GitHub ☃\n")
    assert (shell.folder / expected / "endpoints/issues/create_issue.md").is_file()
    assert shell.run("pull", "github", *flags).code == 0


@pytest.mark.parametrize(
    "path",
    [
        "../evil.md", "a/../../evil.md", "/evil.md", "a//b.md", "./a.md", "a/./b.md", "", ".", "..", "a/", "a\\..\\b",
        "C:evil.md", "~/evil.md", "a\x00b", "a\nb", "a/..", "...", "con.", "\u2025/x", "link/evil.md", "dir",
    ],
)  # fmt: skip
def test_pull_writes_nothing_when_a_path_leaves_the_folder(fake: FakeGateway, shell: Shell, path: str) -> None:
    folder = shell.folder / ".skillway" / "skills" / "github"
    (folder / "dir").mkdir(parents=True)
    outside = shell.folder / "outside"
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    files = [{"file_path": "first.md", "content": "x"}, {"file_path": path, "content": "x"}]
    fake.replies[DOWNLOAD] = Reply(body=json.dumps({"slug": "github", "files": files}).encode())
    done = shell.run("pull", "github")
    assert done.code == 1
    assert "nothing was written" in done.err
    assert list(outside.iterdir()) == []
    assert sorted(found.name for found in folder.iterdir()) == ["dir", "link"]


@pytest.mark.parametrize("body", [b'{"files": []}', b"{}", b'{"files": [{"file_path": 1, "content": "x"}]}'])
def test_pull_refuses_a_list_that_makes_no_sense(fake: FakeGateway, shell: Shell, body: bytes) -> None:
    fake.replies[DOWNLOAD] = Reply(body=body)
    assert shell.run("pull", "github").code == 1
    assert list(shell.folder.iterdir()) == []
