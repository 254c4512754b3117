"""GitHub: the 90 actions, on a repository with an issue, a pull request, a review and workflow runs."""

from __future__ import annotations

import hashlib

from tests.actions.case import At, Case, File, Text, World
from tests.fakes.github import GitHub

#: As `git hash-object` names the bytes `print('hello')` with a line end.
APP_BLOB = "b376c9941fda362c8d2c5c8ddb35db3e0b003402"
WEB = "/repos/acme/webapp"


def prepare(github: GitHub) -> World:
    """Adds what the counterpart's own repository lacks, and names what is there."""
    repo = github.repos["acme/webapp"]
    run = next(iter(repo.runs))
    workflow = next(iter(repo.workflows))
    done = github.add_run(repo, repo.workflows[workflow], "main", "ada", {})
    done["step"] = 2
    feature = repo.commits["feature/login"][0]["sha"]
    at = {"user": "ada", "created_at": "2025-12-23T10:00:00Z", "updated_at": "2025-12-23T10:00:00Z"}
    review = 9_007_199_254_999_001
    repo.reviews[review] = {
        "id": review, "pull": 2, "user": "ada", "body": "", "state": "PENDING", "commit_id": feature,
        "submitted_at": "2025-12-23T10:00:00Z",
    }
    remark = 9_007_199_254_999_003
    repo.review_comments[remark] = {
        "id": remark, "pull": 2, "body": "Why?", "commit_id": feature, "path": "src/login.py", "line": 1,
        "side": "RIGHT", **at,
    }
    gist = hashlib.md5(b"gist", usedforsecurity=False).hexdigest()
    github.gists[gist] = {
        "id": gist, "owner": "ada", "description": "Hello", "public": True, "files": {"hello.rb": "puts 'Hi'\n"},
        "created_at": "2025-12-23T10:00:00Z", "updated_at": "2025-12-23T10:00:00Z",
    }
    return {
        "head": repo.commits["main"][0]["sha"],
        "feature": feature,
        "comment": next(iter(repo.comments)),
        "review": review,
        "remark": remark,
        "gist": gist,
        "workflow": workflow,
        "run": run,
        "job": run + 1,
        "artifact": run + 1,
        "done": done["id"],
    }


CASES: dict[str, tuple[Case, ...]] = {
    # Issues
    "create_issue": (
        Case(
            params={"repo": "acme/webapp", "title": "Bug report"},
            sent=f"POST {WEB}/issues",
            json={"title": "Bug report"},
            status=201,
        ),
        Case(
            params={
                "repo": "acme/webapp", "title": "Größe: “42” 🦄 \\ / \u2028", "body": "a\r\n\tb\x00", "type": "Bug",
                "labels": ["bug", "prio/1"], "assignees": ["ada"], "milestone": 1,
            },
            sent=f"POST {WEB}/issues",
            json={
                "title": "Größe: “42” 🦄 \\ / \u2028", "body": "a\r\n\tb\x00", "type": "Bug",
                "labels": ["bug", "prio/1"], "assignees": ["ada"], "milestone": 1,
            },
            status=201,
        ),
    ),
    "list_issues_for_repo": (
        Case(params={"repo": "acme/webapp"}, sent=f"GET {WEB}/issues"),
        Case(
            params={
                "repo": "acme/webapp", "state": "all", "labels": "bug,good first issue", "assignee": "*",
                "creator": "grace", "mentioned": "ada", "milestone": "1", "type": "*", "sort": "updated",
                "direction": "asc", "since": "2020-01-05T10:00:00+02:00", "per_page": 1, "page": 2,
            },
            sent=f"GET {WEB}/issues?state=all&labels=bug%2Cgood%20first%20issue&assignee=%2A&creator=grace"
            "&mentioned=ada&milestone=1&type=%2A&sort=updated&direction=asc"
            "&since=2020-01-05T10%3A00%3A00%2B02%3A00&per_page=1&page=2",
        ),
    ),
    "list_issues": (
        Case(
            params={"filter": "all", "state": "all", "labels": "bug", "sort": "created", "direction": "desc",
                    "since": "2020-01-05T10:00:00Z", "per_page": 100, "page": 1},
            sent="GET /issues?filter=all&state=all&labels=bug&sort=created&direction=desc"
            "&since=2020-01-05T10%3A00%3A00Z&per_page=100&page=1",
        ),
    ),
    "get_issue": (Case(params={"repo": "acme/webapp", "issue_number": 1}, sent=f"GET {WEB}/issues/1"),),
    "update_issue": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "title": "Crash", "body": "", "state": "closed",
                    "state_reason": "not_planned", "labels": [], "assignees": ["grace"], "milestone": None},
            sent=f"PATCH {WEB}/issues/1",
            json={"title": "Crash", "body": "", "state": "closed", "state_reason": "not_planned", "labels": [],
                  "assignees": ["grace"], "milestone": None},
        ),
    ),
    "lock_issue": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "lock_reason": "too heated"},
            sent=f"PUT {WEB}/issues/1/lock",
            json={"lock_reason": "too heated"},
            status=204,
        ),
        Case(params={"repo": "acme/webapp", "issue_number": 1}, sent=f"PUT {WEB}/issues/1/lock", json={}, status=204),
    ),
    "unlock_issue": (
        Case(params={"repo": "acme/webapp", "issue_number": 1}, sent=f"DELETE {WEB}/issues/1/lock", status=204),
    ),
    "list_issue_comments": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "since": "2020-01-01T00:00:00Z", "per_page": 5, "page": 1},
            sent=f"GET {WEB}/issues/1/comments?since=2020-01-01T00%3A00%3A00Z&per_page=5&page=1",
        ),
    ),
    "create_issue_comment": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "body": "Thanks."},
            sent=f"POST {WEB}/issues/1/comments",
            json={"body": "Thanks."},
            status=201,
        ),
    ),
    "update_issue_comment": (
        Case(
            params={"repo": "acme/webapp", "comment_id": At("comment"), "body": "Fixed."},
            sent=f"PATCH {WEB}/issues/comments/{{comment}}",
            json={"body": "Fixed."},
        ),
    ),
    "delete_issue_comment": (
        Case(
            params={"repo": "acme/webapp", "comment_id": At("comment")},
            sent=f"DELETE {WEB}/issues/comments/{{comment}}",
            status=204,
        ),
    ),
    "add_labels": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "labels": ["good first issue"]},
            sent=f"POST {WEB}/issues/1/labels",
            json={"labels": ["good first issue"]},
        ),
    ),
    "set_labels": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "labels": ["docs", "a/b"]},
            sent=f"PUT {WEB}/issues/1/labels",
            json={"labels": ["docs", "a/b"]},
        ),
    ),
    "remove_label": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "name": "bug"},
            sent=f"DELETE {WEB}/issues/1/labels/bug",
        ),
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "name": "help/wanted? #1 100%"},
            sent=f"DELETE {WEB}/issues/1/labels/help%2Fwanted%3F%20%231%20100%25",
            status=404,
        ),
    ),
    "add_assignees": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "assignees": ["grace", "ada"]},
            sent=f"POST {WEB}/issues/1/assignees",
            json={"assignees": ["grace", "ada"]},
            status=201,
        ),
    ),
    "remove_assignees": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "assignees": ["grace"]},
            sent=f"DELETE {WEB}/issues/1/assignees",
            json={"assignees": ["grace"]},
        ),
    ),
    "create_issue_reaction": (
        Case(
            params={"repo": "acme/webapp", "issue_number": 1, "content": "+1"},
            sent=f"POST {WEB}/issues/1/reactions",
            json={"content": "+1"},
            status=201,
        ),
    ),
    "list_labels_for_repo": (
        Case(params={"repo": "acme/webapp", "per_page": 1, "page": 2}, sent=f"GET {WEB}/labels?per_page=1&page=2"),
    ),
    "create_label": (
        Case(
            params={"repo": "acme/webapp", "name": "regression", "color": "d93f0b", "description": "Worked before"},
            sent=f"POST {WEB}/labels",
            json={"name": "regression", "color": "d93f0b", "description": "Worked before"},
            status=201,
        ),
    ),
    "list_milestones": (
        Case(
            params={"repo": "acme/webapp", "state": "all", "sort": "completeness", "direction": "asc", "per_page": 3,
                    "page": 1},
            sent=f"GET {WEB}/milestones?state=all&sort=completeness&direction=asc&per_page=3&page=1",
        ),
    ),
    "create_milestone": (
        Case(
            params={"repo": "acme/webapp", "title": "v2.0", "state": "open", "description": "Next",
                    "due_on": "2026-05-01T00:00:00Z"},
            sent=f"POST {WEB}/milestones",
            json={"title": "v2.0", "state": "open", "description": "Next", "due_on": "2026-05-01T00:00:00Z"},
            status=201,
        ),
    ),
    # Pull requests
    "create_pull": (
        Case(
            params={"repo": "acme/webapp", "title": "Search", "head": "feature/search", "base": "main", "body": "Box",
                    "draft": True, "maintainer_can_modify": False},
            sent=f"POST {WEB}/pulls",
            json={"title": "Search", "head": "feature/search", "base": "main", "body": "Box", "draft": True,
                  "maintainer_can_modify": False},
            status=201,
        ),
    ),
    "list_pulls": (
        Case(
            params={"repo": "acme/webapp", "state": "open", "head": "acme:feature/login", "base": "main",
                    "sort": "long-running", "direction": "desc", "per_page": 10, "page": 1},
            sent=f"GET {WEB}/pulls?state=open&head=acme%3Afeature%2Flogin&base=main&sort=long-running&direction=desc"
            "&per_page=10&page=1",
        ),
    ),
    "get_pull": (Case(params={"repo": "acme/webapp", "pull_number": 2}, sent=f"GET {WEB}/pulls/2"),),
    "update_pull": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "title": "Login", "body": "New", "state": "open",
                    "base": "main", "maintainer_can_modify": True},
            sent=f"PATCH {WEB}/pulls/2",
            json={"title": "Login", "body": "New", "state": "open", "base": "main", "maintainer_can_modify": True},
        ),
    ),
    "merge_pull": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "commit_title": "Login", "commit_message": "Closes #1",
                    "sha": At("feature"), "merge_method": "squash"},
            sent=f"PUT {WEB}/pulls/2/merge",
            json={"commit_title": "Login", "commit_message": "Closes #1", "sha": At("feature"),
                  "merge_method": "squash"},
        ),
    ),
    "list_pull_files": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "per_page": 100, "page": 1},
            sent=f"GET {WEB}/pulls/2/files?per_page=100&page=1",
        ),
    ),
    "list_pull_commits": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "per_page": 100, "page": 1},
            sent=f"GET {WEB}/pulls/2/commits?per_page=100&page=1",
        ),
    ),
    "list_reviews": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "per_page": 100, "page": 1},
            sent=f"GET {WEB}/pulls/2/reviews?per_page=100&page=1",
        ),
    ),
    "create_review": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "event": "REQUEST_CHANGES", "body": "Two things.",
                    "commit_id": At("feature"),
                    "comments": [{"path": "src/login.py", "body": "Why?", "line": 1, "side": "RIGHT"}]},
            sent=f"POST {WEB}/pulls/2/reviews",
            json={"event": "REQUEST_CHANGES", "body": "Two things.", "commit_id": At("feature"),
                  "comments": [{"path": "src/login.py", "body": "Why?", "line": 1, "side": "RIGHT"}]},
        ),
    ),
    "submit_review": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "review_id": At("review"), "event": "COMMENT",
                    "body": "Two questions."},
            sent=f"POST {WEB}/pulls/2/reviews/{{review}}/events",
            json={"event": "COMMENT", "body": "Two questions."},
        ),
    ),
    "request_reviewers": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "reviewers": ["ada"], "team_reviewers": ["core"]},
            sent=f"POST {WEB}/pulls/2/requested_reviewers",
            json={"reviewers": ["ada"], "team_reviewers": ["core"]},
            status=201,
        ),
    ),
    "list_review_comments": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "sort": "updated", "direction": "asc",
                    "since": "2020-01-01T00:00:00Z", "per_page": 7, "page": 1},
            sent=f"GET {WEB}/pulls/2/comments?sort=updated&direction=asc&since=2020-01-01T00%3A00%3A00Z&per_page=7&page=1",
        ),
    ),
    "create_review_comment": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "body": "Why?", "commit_id": At("feature"),
                    "path": "src/login.py", "line": 2, "side": "RIGHT", "start_line": 1, "start_side": "side",
                    "in_reply_to": At("remark"), "subject_type": "line"},
            sent=f"POST {WEB}/pulls/2/comments",
            json={"body": "Why?", "commit_id": At("feature"), "path": "src/login.py", "line": 2, "side": "RIGHT",
                  "start_line": 1, "start_side": "side", "in_reply_to": At("remark"), "subject_type": "line"},
            status=201,
        ),
    ),
    "reply_to_review_comment": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "comment_id": At("remark"), "body": "Done."},
            sent=f"POST {WEB}/pulls/2/comments/{{remark}}/replies",
            json={"body": "Done."},
            status=201,
        ),
    ),
    "update_pull_branch": (
        Case(
            params={"repo": "acme/webapp", "pull_number": 2, "expected_head_sha": At("feature")},
            sent=f"PUT {WEB}/pulls/2/update-branch",
            json={"expected_head_sha": At("feature")},
            status=202,
        ),
    ),
    # Repositories
    "get_repo": (Case(params={"repo": "acme/webapp"}, sent=f"GET {WEB}"),),
    "list_repos": (
        Case(
            params={"visibility": "all", "affiliation": "owner,collaborator", "sort": "full_name", "direction": "asc",
                    "since": "2020-01-01T00:00:00Z", "before": "2030-01-01T00:00:00Z", "per_page": 1, "page": 1},
            sent="GET /user/repos?visibility=all&affiliation=owner%2Ccollaborator&sort=full_name&direction=asc"
            "&since=2020-01-01T00%3A00%3A00Z&before=2030-01-01T00%3A00%3A00Z&per_page=1&page=1",
        ),
        Case(params={"type": "member"}, sent="GET /user/repos?type=member"),
    ),
    "list_repos_for_user": (
        Case(
            params={"username": "ada", "type": "owner", "sort": "pushed", "direction": "desc", "per_page": 2, "page": 1},
            sent="GET /users/ada/repos?type=owner&sort=pushed&direction=desc&per_page=2&page=1",
        ),
    ),
    "create_repo": (
        Case(
            params={"name": "notes", "description": "Mine", "homepage": "https://a.example/?b=c", "private": True,
                    "auto_init": True, "gitignore_template": "Python", "license_template": "mit", "has_issues": False,
                    "has_wiki": False, "delete_branch_on_merge": True},
            sent="POST /user/repos",
            json={"name": "notes", "description": "Mine", "homepage": "https://a.example/?b=c", "private": True,
                  "auto_init": True, "gitignore_template": "Python", "license_template": "mit", "has_issues": False,
                  "has_wiki": False, "delete_branch_on_merge": True},
            status=201,
        ),
    ),
    "update_repo": (
        Case(
            params={"repo": "acme/webapp", "description": "The web app", "homepage": "", "visibility": "public",
                    "default_branch": "main", "has_issues": True, "has_wiki": False, "allow_squash_merge": True,
                    "allow_merge_commit": False, "allow_rebase_merge": False, "allow_auto_merge": True,
                    "delete_branch_on_merge": True, "archived": False},
            sent=f"PATCH {WEB}",
            json={"description": "The web app", "homepage": "", "visibility": "public", "default_branch": "main",
                  "has_issues": True, "has_wiki": False, "allow_squash_merge": True, "allow_merge_commit": False,
                  "allow_rebase_merge": False, "allow_auto_merge": True, "delete_branch_on_merge": True,
                  "archived": False},
        ),
        # The path's `repo` and the body's `name` do not collide.
        Case(params={"repo": "acme/webapp", "name": "site"}, sent=f"PATCH {WEB}", json={"name": "site"}),
    ),
    "delete_repo": (Case(params={"repo": "ada/dotfiles"}, sent="DELETE /repos/ada/dotfiles", status=204),),
    "get_branch": (
        Case(
            params={"repo": "acme/webapp", "branch": "feature/login"},
            sent=f"GET {WEB}/branches/feature%2Flogin",
        ),
    ),
    "create_ref": (
        Case(
            params={"repo": "acme/webapp", "ref": "refs/heads/fix", "sha": At("head")},
            sent=f"POST {WEB}/git/refs",
            json={"ref": "refs/heads/fix", "sha": At("head")},
            status=201,
        ),
    ),
    "list_commits": (
        Case(
            params={"repo": "acme/webapp", "sha": "feature/login", "path": "src/app.py", "author": "ada",
                    "committer": "ada@acme.example", "since": "2020-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z",
                    "per_page": 2, "page": 1},
            sent=f"GET {WEB}/commits?sha=feature%2Flogin&path=src%2Fapp.py&author=ada&committer=ada%40acme.example"
            "&since=2020-01-01T00%3A00%3A00Z&until=2030-01-01T00%3A00%3A00Z&per_page=2&page=1",
        ),
    ),
    "get_commit": (
        Case(
            params={"repo": "acme/webapp", "ref": "feature/login", "per_page": 30, "page": 1},
            sent=f"GET {WEB}/commits/feature%2Flogin?per_page=30&page=1",
        ),
        Case(params={"repo": "acme/webapp", "ref": At("head")}, sent=f"GET {WEB}/commits/{{head}}"),
    ),
    "get_combined_status": (
        Case(
            params={"repo": "acme/webapp", "ref": "main", "per_page": 30, "page": 1},
            sent=f"GET {WEB}/commits/main/status?per_page=30&page=1",
        ),
    ),
    "get_contents": (
        Case(
            params={"repo": "acme/webapp", "path": "docs/Getting started.md", "ref": "main"},
            sent=f"GET {WEB}/contents/docs/Getting%20started.md?ref=main",
        ),
        Case(params={"repo": "acme/webapp", "path": "src"}, sent=f"GET {WEB}/contents/src"),
        Case(
            params={"repo": "acme/webapp", "path": "a?b#c/d;e/50% – ü+&=.md"},
            sent=f"GET {WEB}/contents/a%3Fb%23c/d%3Be/50%25%20%E2%80%93%20%C3%BC%2B%26%3D.md",
            status=404,
        ),
    ),
    "get_tree": (
        Case(
            params={"repo": "acme/webapp", "tree_sha": "feature/login", "recursive": "1"},
            sent=f"GET {WEB}/git/trees/feature%2Flogin?recursive=1",
        ),
    ),
    "create_or_update_file": (
        Case(
            params={"repo": "acme/webapp", "path": "docs/Neu & schön.md", "message": "Say hello", "content": "SGVsbG8K",
                    "branch": "main", "committer": {"name": "Ada", "email": "ada@acme.example"},
                    "author": {"name": "Grace", "email": "grace@acme.example"}},
            sent=f"PUT {WEB}/contents/docs/Neu%20%26%20sch%C3%B6n.md",
            json={"message": "Say hello", "content": "SGVsbG8K", "branch": "main",
                  "committer": {"name": "Ada", "email": "ada@acme.example"},
                  "author": {"name": "Grace", "email": "grace@acme.example"}},
            status=201,
        ),
        Case(
            params={"repo": "acme/webapp", "path": "src/app.py", "message": "Change", "content": "", "sha": APP_BLOB},
            sent=f"PUT {WEB}/contents/src/app.py",
            json={"message": "Change", "content": "", "sha": APP_BLOB},
        ),
    ),
    "delete_file": (
        Case(
            params={"repo": "acme/webapp", "path": "src/app.py", "message": "Gone", "sha": APP_BLOB, "branch": "main"},
            sent=f"DELETE {WEB}/contents/src/app.py",
            json={"message": "Gone", "sha": APP_BLOB, "branch": "main"},
        ),
    ),
    # Releases
    "list_releases": (
        Case(params={"repo": "acme/webapp", "per_page": 3, "page": 1}, sent=f"GET {WEB}/releases?per_page=3&page=1"),
    ),
    "get_latest_release": (Case(params={"repo": "acme/webapp"}, sent=f"GET {WEB}/releases/latest"),),
    "create_release": (
        Case(
            params={"repo": "acme/webapp", "tag_name": "v1.1.0", "target_commitish": "main", "name": "1.1", "body": "- a",
                    "draft": True, "prerelease": False, "generate_release_notes": True, "make_latest": "false",
                    "discussion_category_name": "News"},
            sent=f"POST {WEB}/releases",
            json={"tag_name": "v1.1.0", "target_commitish": "main", "name": "1.1", "body": "- a", "draft": True,
                  "prerelease": False, "generate_release_notes": True, "make_latest": "false",
                  "discussion_category_name": "News"},
            status=201,
        ),
    ),
    "generate_release_notes": (
        Case(
            params={"repo": "acme/webapp", "tag_name": "v1.1.0", "target_commitish": "main",
                    "previous_tag_name": "v1.0.0", "configuration_file_path": ".github/release.yml"},
            sent=f"POST {WEB}/releases/generate-notes",
            json={"tag_name": "v1.1.0", "target_commitish": "main", "previous_tag_name": "v1.0.0",
                  "configuration_file_path": ".github/release.yml"},
        ),
    ),
    # Actions
    "list_workflows": (
        Case(
            params={"repo": "acme/webapp", "per_page": 3, "page": 1},
            sent=f"GET {WEB}/actions/workflows?per_page=3&page=1",
        ),
    ),
    "run_workflow": (
        Case(
            params={"repo": "acme/webapp", "workflow_id": "ci.yml", "ref": "main",
                    "inputs": {"environment": "staging", "n": 1}},
            sent=f"POST {WEB}/actions/workflows/ci.yml/dispatches",
            json={"ref": "main", "inputs": {"environment": "staging", "n": 1}},
            status=204,
        ),
        Case(
            params={"repo": "acme/webapp", "workflow_id": At("workflow"), "ref": "main"},
            sent=f"POST {WEB}/actions/workflows/{{workflow}}/dispatches",
            json={"ref": "main"},
            status=204,
        ),
    ),
    "enable_workflow": (
        Case(
            params={"repo": "acme/webapp", "workflow_id": "ci.yml"},
            sent=f"PUT {WEB}/actions/workflows/ci.yml/enable",
            status=204,
        ),
    ),
    "disable_workflow": (
        Case(
            params={"repo": "acme/webapp", "workflow_id": At("workflow")},
            sent=f"PUT {WEB}/actions/workflows/{{workflow}}/disable",
            status=204,
        ),
    ),
    "list_workflow_runs": (
        Case(
            params={"repo": "acme/webapp", "branch": "feature/login", "event": "push", "status": "success",
                    "actor": "ada", "created": ">=2025-01-01", "head_sha": At("head"),
                    "check_suite_id": 9007199254740993, "exclude_pull_requests": True, "per_page": 1, "page": 1},
            sent=f"GET {WEB}/actions/runs?branch=feature%2Flogin&event=push&status=success&actor=ada"
            "&created=%3E%3D2025-01-01&head_sha={head}&check_suite_id=9007199254740993&exclude_pull_requests=true"
            "&per_page=1&page=1",
        ),
    ),
    "get_workflow_run": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("run"), "exclude_pull_requests": False},
            sent=f"GET {WEB}/actions/runs/{{run}}?exclude_pull_requests=false",
        ),
    ),
    "rerun_workflow": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("done"), "enable_debug_logging": True},
            sent=f"POST {WEB}/actions/runs/{{done}}/rerun",
            json={"enable_debug_logging": True},
            status=201,
        ),
    ),
    "rerun_failed_jobs": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("done")},
            sent=f"POST {WEB}/actions/runs/{{done}}/rerun-failed-jobs",
            json={},
            status=201,
        ),
    ),
    "cancel_workflow_run": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("run")},
            sent=f"POST {WEB}/actions/runs/{{run}}/cancel",
            status=202,
        ),
    ),
    "list_jobs_for_run": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("run"), "filter": "latest", "per_page": 30, "page": 1},
            sent=f"GET {WEB}/actions/runs/{{run}}/jobs?filter=latest&per_page=30&page=1",
        ),
    ),
    "download_job_logs": (
        Case(
            params={"repo": "acme/webapp", "job_id": At("job")},
            sent=f"GET {WEB}/actions/jobs/{{job}}/logs",
            data=Text("2025-12-23T10:00:00Z ok\n"),
            then="/bucket/job_{run}.txt",
        ),
    ),
    "download_run_logs": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("run")},
            sent=f"GET {WEB}/actions/runs/{{run}}/logs",
            data=File("application/zip", "logs_{run}.zip", b"PK\x03\x04" + bytes(range(256))),
            then="/bucket/logs_{run}.zip",
        ),
    ),
    "list_run_artifacts": (
        Case(
            params={"repo": "acme/webapp", "run_id": At("run"), "name": "my report", "per_page": 30, "page": 1},
            sent=f"GET {WEB}/actions/runs/{{run}}/artifacts?name=my%20report&per_page=30&page=1",
        ),
    ),
    "download_artifact": (
        Case(
            params={"repo": "acme/webapp", "artifact_id": At("artifact")},
            sent=f"GET {WEB}/actions/artifacts/{{artifact}}/zip",
            data=File("application/zip", "{artifact}.zip", b"PK\x03\x04" + bytes(64)),
            then="/bucket/{artifact}.zip",
        ),
    ),
    # Search
    "search_issues": (
        Case(
            params={"q": 'repo:acme/webapp is:open label:"good first issue" a+b & c', "sort": "reactions-+1",
                    "order": "asc", "per_page": 1, "page": 1},
            sent="GET /search/issues?q=repo%3Aacme%2Fwebapp%20is%3Aopen%20label%3A%22good%20first%20issue%22"
            "%20a%2Bb%20%26%20c&sort=reactions-%2B1&order=asc&per_page=1&page=1",
        ),
    ),
    "search_code": (
        Case(
            params={"q": "hello repo:acme/webapp", "sort": "indexed", "order": "desc", "per_page": 1, "page": 1},
            sent="GET /search/code?q=hello%20repo%3Aacme%2Fwebapp&sort=indexed&order=desc&per_page=1&page=1",
        ),
    ),
    "search_repos": (
        Case(
            params={"q": "webapp", "sort": "help-wanted-issues", "order": "desc", "per_page": 1, "page": 1},
            sent="GET /search/repositories?q=webapp&sort=help-wanted-issues&order=desc&per_page=1&page=1",
        ),
    ),
    "search_users": (
        Case(
            params={"q": "größe in:login", "sort": "joined", "order": "asc", "per_page": 1, "page": 1},
            sent="GET /search/users?q=gr%C3%B6%C3%9Fe%20in%3Alogin&sort=joined&order=asc&per_page=1&page=1",
        ),
    ),
    "search_commits": (
        Case(
            params={"q": "initial", "sort": "author-date", "order": "desc", "per_page": 1, "page": 1},
            sent="GET /search/commits?q=initial&sort=author-date&order=desc&per_page=1&page=1",
        ),
    ),
    # Users
    "get_authenticated_user": (Case(params={}, sent="GET /user"),),
    "get_user": (
        Case(params={"username": "grace"}, sent="GET /users/grace"),
        Case(params={"username": "no/body"}, sent="GET /users/no%2Fbody", status=404),
    ),
    "list_emails": (Case(params={"per_page": 1, "page": 1}, sent="GET /user/emails?per_page=1&page=1"),),
    "list_followers": (
        Case(params={"username": "ada", "per_page": 1, "page": 1}, sent="GET /users/ada/followers?per_page=1&page=1"),
    ),
    "follow_user": (Case(params={"username": "grace"}, sent="PUT /user/following/grace", status=204),),
    "unfollow_user": (Case(params={"username": "grace"}, sent="DELETE /user/following/grace", status=204),),
    "list_starred": (
        Case(
            params={"sort": "updated", "direction": "asc", "per_page": 1, "page": 1},
            sent="GET /user/starred?sort=updated&direction=asc&per_page=1&page=1",
        ),
    ),
    "star_repo": (Case(params={"repo": "acme/webapp"}, sent="PUT /user/starred/acme/webapp", status=204),),
    "unstar_repo": (Case(params={"repo": "acme/webapp"}, sent="DELETE /user/starred/acme/webapp", status=204),),
    # Gists
    "list_gists": (
        Case(
            params={"since": "2020-01-01T00:00:00Z", "per_page": 1, "page": 1},
            sent="GET /gists?since=2020-01-01T00%3A00%3A00Z&per_page=1&page=1",
        ),
    ),
    "get_gist": (Case(params={"gist_id": At("gist")}, sent="GET /gists/{gist}"),),
    "create_gist": (
        Case(
            params={"files": {"a/b.txt": {"content": "hi"}, "": {"content": "x"}}, "description": "Two", "public": False},
            sent="POST /gists",
            json={"files": {"a/b.txt": {"content": "hi"}, "": {"content": "x"}}, "description": "Two", "public": False},
            status=201,
        ),
    ),
    "update_gist": (
        Case(
            params={"gist_id": At("gist"), "description": "New",
                    "files": {"hello.rb": None, "b.txt": {"content": "b"}}},
            sent="PATCH /gists/{gist}",
            json={"description": "New", "files": {"hello.rb": None, "b.txt": {"content": "b"}}},
        ),
    ),
    "delete_gist": (Case(params={"gist_id": At("gist")}, sent="DELETE /gists/{gist}", status=204),),
    "star_gist": (Case(params={"gist_id": At("gist")}, sent="PUT /gists/{gist}/star", status=204),),
    "get_rate_limit": (Case(params={}, sent="GET /rate_limit"),),
}
