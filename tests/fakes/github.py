"""The counterpart of GitHub: repositories, issues, pulls, actions, search, users, stars and gists."""

import base64
import binascii
import hashlib
import re
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from .upstream import (
    NO_CONTENT,
    Answer,
    Asked,
    Clock,
    Fault,
    Field,
    Refused,
    Seen,
    Spent,
    Storage,
    Upstream,
    Window,
    iso,
    json_answer,
    opaque,
    route,
)

Json = dict[str, Any]

DOCS = "https://docs.github.com/rest"
ALL_SCOPES = ("repo", "workflow", "user", "gist", "delete_repo")
TITLES = {
    401: "Requires authentication",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    410: "Gone",
    413: "Payload too large",
    422: "Validation Failed",
    429: "You have exceeded a secondary rate limit",
    500: "Server Error",
}
TEXT = Field(required=True, least=1)
WHOLE = Field(kind=int)
LIST = Field(kind=list)
FLAG = Field(kind=bool)
#: Larger than what a double holds exactly, as ids of real systems come to be.
FIRST_ID = 9_007_199_254_740_993
REACTIONS = ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes")
#: What a review becomes when it is handed in.
REVIEW_STATES = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
#: What the looks at a workflow run show, one after the other: status and conclusion.
RUN_STEPS = (("queued", None), ("in_progress", None), ("completed", "success"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    login: str
    scopes: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Repo:
    owner: str
    name: str
    data: Json
    #: Who may push; nobody else sees a private repository.
    writers: set[str]
    #: Branch name to the files of its head.
    branches: dict[str, dict[str, bytes]] = field(default_factory=dict)
    #: Branch name to its commits, newest first.
    commits: dict[str, list[Json]] = field(default_factory=dict)
    #: Issues and pulls share their numbers; a pull is in both.
    issues: dict[int, Json] = field(default_factory=dict)
    pulls: dict[int, Json] = field(default_factory=dict)
    labels: dict[str, Json] = field(default_factory=dict)
    milestones: dict[int, Json] = field(default_factory=dict)
    comments: dict[int, Json] = field(default_factory=dict)
    reviews: dict[int, Json] = field(default_factory=dict)
    review_comments: dict[int, Json] = field(default_factory=dict)
    releases: dict[int, Json] = field(default_factory=dict)
    workflows: dict[int, Json] = field(default_factory=dict)
    runs: dict[int, Json] = field(default_factory=dict)
    topics: list[str] = field(default_factory=list)
    #: By issue, login and content.
    reactions: dict[tuple[int, str, str], Json] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def main(self) -> str:
        return str(self.data["default_branch"])


class GitHub(Upstream):
    storage: Storage

    def __init__(self, *, clock: Clock = time.time, requests_per_hour: int = 5000) -> None:
        super().__init__(clock=clock)
        self.storage = Storage(clock=clock)
        self.windows = {
            "core": Window(requests_per_hour, 3600),
            "search": Window(30, 60),
            "code_search": Window(10, 60),
        }
        self.tokens: dict[str, Token] = {}
        self.users: dict[str, Json] = {}
        self.repos: dict[str, Repo] = {}
        #: Old full name to the id of a repository that was renamed.
        self.moved: dict[str, int] = {}
        self.gists: dict[str, Json] = {}
        self.starred: dict[str, list[str]] = {}
        self.starred_gists: dict[str, set[str]] = {}
        #: Login to the logins that it follows.
        self.follows: dict[str, list[str]] = {}
        self._numbered = 0
        for login in ("ada", "grace", "linnea"):
            self.add_user(login)
        self.add_user("acme", kind="Organization")
        self.follows["grace"] = ["ada"]
        self.follows["ada"] = ["grace", "linnea"]
        self.token = "ghp_" + opaque("github token", 36)
        self.add_token(self.token, "ada")
        self._fill(self.add_repo("acme", "webapp", writers={"ada", "grace"}))
        self.add_repo("ada", "dotfiles", writers={"ada"}, private=True)

    # What a test prepares

    def add_token(self, raw: str, login: str, scopes: Iterable[str] = ALL_SCOPES) -> None:
        self.tokens[raw] = Token(login=login, scopes=tuple(scopes))

    def add_user(self, login: str, *, kind: str = "User") -> Json:
        self.users[login] = {
            "login": login,
            "id": self._next_id(),
            "node_id": "U_" + opaque(login, 12),
            "type": kind,
            "site_admin": False,
            "name": login.capitalize(),
            "company": None,
            "blog": "",
            "location": None,
            "email": f"{login}@acme.example",
            "hireable": None,
            "bio": None,
            "twitter_username": None,
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
        }
        return self.users[login]

    def add_repo(
        self, owner: str, name: str, *, writers: set[str], private: bool = False, has_issues: bool = True
    ) -> Repo:
        data = {
            "id": self._next_id(),
            "node_id": "R_" + opaque(f"{owner}/{name}", 12),
            "description": None,
            "private": private,
            "visibility": "private" if private else "public",
            "fork": False,
            "archived": False,
            "has_issues": has_issues,
            "has_wiki": True,
            "homepage": None,
            "language": "Python",
            "default_branch": "main",
            "stargazers_count": 0,
            "forks_count": 0,
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
            "pushed_at": iso(self.clock()),
        }
        repo = Repo(owner=owner, name=name, data=data, writers=writers)
        self.repos[repo.full_name.lower()] = repo
        readme = f"# {name}\n\nThe repository {owner}/{name}.\n".encode()
        repo.branches["main"] = {"README.md": readme}
        self.commit(repo, "main", "Initial commit", owner)
        return repo

    def add_issue(
        self, repo: Repo, title: str, *, by: str = "grace", number: int | None = None, **more: Any
    ) -> Json:
        number = number or max(repo.issues, default=0) + 1
        issue: Json = {
            "id": self._next_id(),
            "node_id": "I_" + opaque(f"{repo.full_name}#{number}", 12),
            "number": number,
            "title": title,
            "body": None,
            "state": "open",
            "state_reason": None,
            "user": by,
            "labels": [],
            "assignees": [],
            "milestone": None,
            "locked": False,
            "active_lock_reason": None,
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
            "closed_at": None,
            **more,
        }
        repo.issues[number] = issue
        return issue

    def add_pull(self, repo: Repo, title: str, head: str, base: str = "main", **more: Any) -> Json:
        issue = self.add_issue(repo, title, **more)
        pull = {
            "issue": issue,
            "head": head,
            "base": base,
            "draft": False,
            "merged": False,
            "merged_at": None,
            "merge_commit_sha": None,
            "maintainer_can_modify": True,
            "requested_reviewers": [],
        }
        repo.pulls[issue["number"]] = pull
        return pull

    def commit(
        self, repo: Repo, branch: str, message: str, login: str, files: list[str] | None = None
    ) -> Json:
        log = repo.commits.setdefault(branch, [])
        commit = {
            "sha": hashlib.sha1(f"{self._next_id()}".encode(), usedforsecurity=False).hexdigest(),
            "message": message,
            "author": login,
            "date": iso(self.clock()),
            "files": files if files is not None else list(repo.branches[branch]),
            "parents": [log[0]["sha"]] if log else [],
        }
        log.insert(0, commit)
        repo.data["pushed_at"] = iso(self.clock())
        return commit

    def add_label(self, repo: Repo, name: str, color: str | None, description: str | None) -> Json:
        repo.labels[name] = {
            "id": self._next_id(),
            "name": name,
            "color": color or "ededed",
            "default": False,
            "description": description,
        }
        return repo.labels[name]

    def add_milestone(self, repo: Repo, given: Json) -> Json:
        number = max(repo.milestones, default=0) + 1
        repo.milestones[number] = {
            "id": self._next_id(),
            "number": number,
            "title": given["title"],
            "description": given.get("description"),
            "state": given.get("state") or "open",
            "due_on": given.get("due_on"),
            "created_at": iso(self.clock()),
        }
        return repo.milestones[number]

    def add_comment(self, repo: Repo, number: int, login: str, body: str) -> Json:
        comment = {
            "id": self._next_id(),
            "issue": number,
            "user": login,
            "body": body,
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
        }
        repo.comments[int(str(comment["id"]))] = comment
        return comment

    def add_release(self, repo: Repo, login: str, given: Json) -> Json:
        release = {
            "id": self._next_id(),
            "tag_name": given["tag_name"],
            "target_commitish": given.get("target_commitish") or repo.main,
            "name": given.get("name"),
            "body": given.get("body"),
            "draft": bool(given.get("draft")),
            "prerelease": bool(given.get("prerelease")),
            "author": login,
            "created_at": iso(self.clock()),
        }
        repo.releases[int(str(release["id"]))] = release
        return release

    def add_run(self, repo: Repo, workflow: Json, branch: str, login: str, inputs: Json) -> Json:
        run = {
            "id": self._next_id(),
            "name": workflow["name"],
            "workflow_id": workflow["id"],
            "head_branch": branch,
            "head_sha": repo.commits[branch][0]["sha"],
            "event": "workflow_dispatch",
            "actor": login,
            "inputs": inputs,
            "run_number": len(repo.runs) + 1,
            "run_attempt": 1,
            "step": 0,
            "cancelled": False,
            "created_at": iso(self.clock()),
        }
        repo.runs[run["id"]] = run
        return run

    # Users

    @route("GET", "/user")
    def get_authenticated_user(self, asked: Asked) -> Answer:
        login = asked.who.login
        owned = [repo for repo in self.repos.values() if repo.owner == login]
        private = sum(repo.data["private"] for repo in owned)
        more = {"total_private_repos": private, "disk_usage": 1024, "two_factor_authentication": True}
        return json_answer({**self._profile(login), **more})

    @route("PATCH", "/user")
    def update_authenticated_user(self, asked: Asked) -> Answer:
        self._need_scope(asked, "user")
        texts = ("name", "email", "blog", "twitter_username", "company", "location", "bio")
        given = self._read(asked, "User", {**dict.fromkeys(texts, Field()), "hireable": FLAG})
        changed = {key: given[key] for key in (*texts, "hireable") if key in given}
        self.users[asked.who.login].update(changed, updated_at=iso(self.clock()))
        return self.get_authenticated_user(asked)

    @route("GET", "/user/emails")
    def list_emails(self, asked: Asked) -> Answer:
        email = self.users[asked.who.login]["email"]
        return self._page(asked, [{"email": email, "primary": True, "verified": True, "visibility": None}])

    @route("GET", "/user/orgs")
    def list_organizations(self, asked: Asked) -> Answer:
        return self._page(asked, [self._short(u) for u, user in self.users.items() if _is_org(user)])

    @route("GET", "/users")
    def list_users(self, asked: Asked) -> Answer:
        return self._page(asked, [self._short(login) for login in self.users])

    @route("GET", "/users/{username}")
    def get_user(self, asked: Asked) -> Answer:
        return json_answer(self._profile(self._user(asked.params["username"])))

    @route("GET", "/user/followers")
    def list_my_followers(self, asked: Asked) -> Answer:
        return self._page(asked, self._followers(asked.who.login))

    @route("GET", "/users/{username}/followers")
    def list_followers(self, asked: Asked) -> Answer:
        return self._page(asked, self._followers(self._user(asked.params["username"])))

    @route("GET", "/user/following")
    def list_my_following(self, asked: Asked) -> Answer:
        return self._page(asked, [self._short(u) for u in self.follows.get(asked.who.login, [])])

    @route("GET", "/users/{username}/following")
    def list_following(self, asked: Asked) -> Answer:
        login = self._user(asked.params["username"])
        return self._page(asked, [self._short(u) for u in self.follows.get(login, [])])

    @route("GET", "/user/following/{username}")
    def check_following(self, asked: Asked) -> Answer:
        if asked.params["username"] not in self.follows.get(asked.who.login, []):
            raise self.refuse(404, "Not Found")
        return NO_CONTENT

    @route("PUT", "/user/following/{username}")
    def follow(self, asked: Asked) -> Answer:
        self._need_scope(asked, "user")
        login = self._user(asked.params["username"])
        followed = self.follows.setdefault(asked.who.login, [])
        if login not in followed:
            followed.append(login)
        return NO_CONTENT

    @route("DELETE", "/user/following/{username}")
    def unfollow(self, asked: Asked) -> Answer:
        self._need_scope(asked, "user")
        login = self._user(asked.params["username"])
        self.follows[asked.who.login] = [u for u in self.follows.get(asked.who.login, []) if u != login]
        return NO_CONTENT

    # Stars

    @route("GET", "/user/starred")
    def list_my_starred(self, asked: Asked) -> Answer:
        return self._page(asked, self._starred(asked.who.login))

    @route("GET", "/users/{username}/starred")
    def list_starred(self, asked: Asked) -> Answer:
        return self._page(asked, self._starred(self._user(asked.params["username"])))

    @route("GET", "/user/starred/{owner}/{repo}")
    def check_starred(self, asked: Asked) -> Answer:
        if self._repo(asked).full_name not in self.starred.get(asked.who.login, []):
            raise self.refuse(404, "Not Found")
        return NO_CONTENT

    @route("PUT", "/user/starred/{owner}/{repo}")
    def star(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        stars = self.starred.setdefault(asked.who.login, [])
        if repo.full_name not in stars:
            stars.append(repo.full_name)
            repo.data["stargazers_count"] += 1
        return NO_CONTENT

    @route("DELETE", "/user/starred/{owner}/{repo}")
    def unstar(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        stars = self.starred.setdefault(asked.who.login, [])
        if repo.full_name in stars:
            stars.remove(repo.full_name)
            repo.data["stargazers_count"] -= 1
        return NO_CONTENT

    @route("GET", "/repos/{owner}/{repo}/stargazers")
    def list_stargazers(self, asked: Asked) -> Answer:
        name = self._repo(asked).full_name
        return self._page(asked, [self._short(u) for u, stars in self.starred.items() if name in stars])

    # Gists

    @route("GET", "/gists")
    def list_gists(self, asked: Asked) -> Answer:
        mine = [gist for gist in self.gists.values() if gist["owner"] == asked.who.login]
        return self._page(asked, [self._show_gist(gist) for gist in mine])

    @route("GET", "/users/{username}/gists")
    def list_user_gists(self, asked: Asked) -> Answer:
        login = self._user(asked.params["username"])
        found = [gist for gist in self.gists.values() if gist["owner"] == login and gist["public"]]
        return self._page(asked, [self._show_gist(gist) for gist in found])

    @route("GET", "/gists/starred")
    def list_starred_gists(self, asked: Asked) -> Answer:
        starred = self.starred_gists.get(asked.who.login, set())
        return self._page(asked, [self._show_gist(self.gists[id_]) for id_ in sorted(starred)])

    @route("POST", "/gists")
    def create_gist(self, asked: Asked) -> Answer:
        self._need_scope(asked, "gist")
        fields = {"files": Field(kind=dict, required=True), "description": Field()}
        given = self._read(asked, "Gist", {**fields, "public": Field(kind=(bool, str))})
        gist = {
            "id": hashlib.md5(str(self._next_id()).encode(), usedforsecurity=False).hexdigest(),
            "owner": asked.who.login,
            "description": given.get("description"),
            "public": given.get("public") in (True, "true"),
            "files": self._gist_files({}, given["files"]),
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
        }
        self.gists[str(gist["id"])] = gist
        return self._created(self._show_gist(gist))

    @route("GET", "/gists/{gist_id}")
    def get_gist(self, asked: Asked) -> Answer:
        return json_answer(self._show_gist(self._gist(asked)))

    @route("PATCH", "/gists/{gist_id}")
    def update_gist(self, asked: Asked) -> Answer:
        gist = self._own_gist(asked)
        given = self._read(asked, "Gist", {"files": Field(kind=dict), "description": Field()})
        if "description" in given:
            gist["description"] = given["description"]
        gist["files"] = self._gist_files(gist["files"], given.get("files") or {})
        return json_answer(self._show_gist(gist))

    @route("DELETE", "/gists/{gist_id}")
    def delete_gist(self, asked: Asked) -> Answer:
        del self.gists[self._own_gist(asked)["id"]]
        return NO_CONTENT

    @route("PUT", "/gists/{gist_id}/star")
    def star_gist(self, asked: Asked) -> Answer:
        self.starred_gists.setdefault(asked.who.login, set()).add(self._gist(asked)["id"])
        return NO_CONTENT

    @route("DELETE", "/gists/{gist_id}/star")
    def unstar_gist(self, asked: Asked) -> Answer:
        self.starred_gists.setdefault(asked.who.login, set()).discard(self._gist(asked)["id"])
        return NO_CONTENT

    # Repositories

    @route("GET", "/user/repos")
    def list_my_repos(self, asked: Asked) -> Answer:
        login = asked.who.login
        mine = [repo for repo in self.repos.values() if repo.owner == login or login in repo.writers]
        return self._page(asked, [self._show_repo(repo) for repo in mine])

    @route("GET", "/users/{username}/repos")
    @route("GET", "/orgs/{username}/repos")
    def list_user_repos(self, asked: Asked) -> Answer:
        login = self._user(asked.params["username"])
        found = [r for r in self.repos.values() if r.owner == login and self._sees(asked, r)]
        return self._page(asked, [self._show_repo(repo) for repo in found])

    @route("POST", "/user/repos")
    def create_repo(self, asked: Asked) -> Answer:
        fields = {
            "name": TEXT,
            "description": Field(),
            "homepage": Field(),
            "private": FLAG,
            "auto_init": FLAG,
        }
        given = self._read(asked, "Repository", fields)
        login, name = asked.who.login, _repo_name(given["name"])
        if f"{login}/{name}".lower() in self.repos:
            message = "name already exists on this account"
            raise self._invalid("Repository", "name", "custom", message=message)
        repo = self.add_repo(login, name, writers={login}, private=bool(given.get("private")))
        repo.data.update({key: given[key] for key in ("description", "homepage") if key in given})
        return self._created(self._show_repo(repo))

    @route("GET", "/repos/{owner}/{repo}")
    def get_repo(self, asked: Asked) -> Answer:
        return json_answer(self._show_repo(self._repo(asked)))

    @route("GET", "/repositories/{id}")
    def get_repo_by_id(self, asked: Asked) -> Answer:
        for repo in self.repos.values():
            if str(repo.data["id"]) == asked.params["id"] and self._sees(asked, repo):
                return json_answer(self._show_repo(repo))
        raise self.refuse(404, "Not Found")

    @route("PATCH", "/repos/{owner}/{repo}")
    def update_repo(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        texts = ("description", "homepage", "default_branch", "visibility")
        flags = ("private", "has_issues", "has_wiki", "archived")
        fields = {**dict.fromkeys(texts, Field()), **dict.fromkeys(flags, FLAG), "name": Field()}
        given = self._read(asked, "Repository", fields)
        if given.get("default_branch") and given["default_branch"] not in repo.branches:
            raise self._invalid("Repository", "default_branch", "invalid")
        repo.data.update({key: given[key] for key in (*texts, *flags) if given.get(key) is not None})
        if given.get("name") and given["name"] != repo.name:
            self._rename(repo, _repo_name(given["name"]))
        return json_answer(self._show_repo(repo))

    @route("DELETE", "/repos/{owner}/{repo}")
    def delete_repo(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        if "delete_repo" not in asked.who.scopes:
            raise self.refuse(403, "Must have admin rights to Repository.")
        del self.repos[repo.full_name.lower()]
        return NO_CONTENT

    @route("GET", "/repos/{owner}/{repo}/topics")
    def get_topics(self, asked: Asked) -> Answer:
        return json_answer({"names": self._repo(asked).topics})

    @route("PUT", "/repos/{owner}/{repo}/topics")
    def replace_topics(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        repo.topics = self._read(asked, "Repository", {"names": Field(kind=list, required=True)})["names"]
        return json_answer({"names": repo.topics})

    @route("GET", "/repos/{owner}/{repo}/languages")
    def list_languages(self, asked: Asked) -> Answer:
        self._repo(asked)
        return json_answer({"Python": 78_342, "Shell": 1_024})

    @route("GET", "/repos/{owner}/{repo}/contributors")
    def list_contributors(self, asked: Asked) -> Answer:
        writers = sorted(self._repo(asked).writers)
        return self._page(asked, [{**self._short(login), "contributions": 7} for login in writers])

    @route("GET", "/repos/{owner}/{repo}/collaborators")
    def list_collaborators(self, asked: Asked) -> Answer:
        writers = sorted(self._writable(asked).writers)
        return self._page(asked, [{**self._short(login), "role_name": "write"} for login in writers])

    @route("POST", "/repos/{owner}/{repo}/forks")
    def create_fork(self, asked: Asked) -> Answer:
        source = self._repo(asked)
        login = asked.who.login
        fork = self.add_repo(login, source.name, writers={login})
        fork.data["fork"] = True
        source.data["forks_count"] += 1
        return json_answer(self._show_repo(fork), 202)

    # Branches, commits, contents

    @route("GET", "/repos/{owner}/{repo}/branches")
    def list_branches(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return self._page(asked, [self._show_branch(repo, name) for name in repo.branches])

    @route("GET", "/repos/{owner}/{repo}/branches/{branch...}")
    def get_branch(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        if asked.params["branch"] not in repo.branches:
            raise self.refuse(404, "Branch not found")
        return json_answer(self._show_branch(repo, asked.params["branch"]))

    @route("GET", "/repos/{owner}/{repo}/git/ref/{ref...}")
    def get_ref(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        branch = asked.params["ref"].removeprefix("heads/")
        if branch not in repo.branches:
            raise self.refuse(404, "Not Found")
        return json_answer(self._show_ref(repo, branch))

    @route("POST", "/repos/{owner}/{repo}/git/refs")
    def create_ref(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        given = self._read(asked, "Reference", {"ref": TEXT, "sha": TEXT})
        branch = given["ref"].removeprefix("refs/heads/")
        source = self._branch_of_sha(repo, given["sha"])
        if source is None or not given["ref"].startswith("refs/heads/"):
            raise self.refuse(422, "Object does not exist")
        if branch in repo.branches:
            raise self.refuse(422, "Reference already exists")
        repo.branches[branch] = dict(repo.branches[source])
        repo.commits[branch] = list(repo.commits[source])
        return self._created(self._show_ref(repo, branch))

    @route("DELETE", "/repos/{owner}/{repo}/git/refs/{ref...}")
    def delete_ref(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        branch = asked.params["ref"].removeprefix("heads/")
        if branch not in repo.branches:
            raise self.refuse(422, "Reference does not exist")
        if branch == repo.main:
            raise self.refuse(422, "Cannot delete the default branch")
        del repo.branches[branch], repo.commits[branch]
        return NO_CONTENT

    @route("GET", "/repos/{owner}/{repo}/git/trees/{tree_sha...}")
    def get_tree(self, asked: Asked) -> Answer:
        """All blobs with `recursive`, whatever its value; else only what lies at the top."""
        repo = self._repo(asked)
        branch = self._ref(repo, asked.params["tree_sha"])
        deep = asked.query("recursive") is not None
        files = {path: content for path, content in repo.branches[branch].items() if deep or "/" not in path}
        tree = [
            {"path": path, "mode": "100644", "type": "blob", "sha": _blob_sha(content), "size": len(content)}
            for path, content in files.items()
        ]
        if not deep:
            folders = {path.partition("/")[0] for path in repo.branches[branch] if "/" in path}
            tree += [{"path": name, "mode": "040000", "type": "tree"} for name in sorted(folders)]
        return json_answer({"sha": repo.commits[branch][0]["sha"], "tree": tree, "truncated": False})

    @route("GET", "/repos/{owner}/{repo}/commits")
    def list_commits(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        found = repo.commits[self._ref(repo, asked.query("sha"))]
        author, path = asked.query("author"), asked.query("path")
        chosen = [
            commit
            for commit in found
            if (author is None or commit["author"] == author) and (path is None or path in commit["files"])
        ]
        return self._page(asked, [self._show_commit(repo, commit) for commit in chosen])

    @route("GET", "/repos/{owner}/{repo}/commits/{ref...}")
    def get_commit(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        commit = self._find_commit(repo, asked.params["ref"])
        if commit is None:
            raise self.refuse(422, f"No commit found for SHA: {asked.params['ref']}")
        files = [{"filename": name, "status": "modified", "additions": 1} for name in commit["files"]]
        return json_answer({**self._show_commit(repo, commit), "files": files})

    @route("GET", "/repos/{owner}/{repo}/commits/{ref}/status")
    def get_combined_status(self, asked: Asked) -> Answer:
        """Pending without statuses, as for any commit that no checker has looked at."""
        repo = self._repo(asked)
        commit = self._find_commit(repo, asked.params["ref"])
        if commit is None:
            raise self.refuse(404, "Not Found")
        shown = {"state": "pending", "statuses": [], "sha": commit["sha"], "total_count": 0}
        return json_answer({**shown, "repository": self._show_repo(repo)})

    @route("GET", "/repos/{owner}/{repo}/compare/{basehead...}")
    def compare_commits(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        base, dots, head = asked.params["basehead"].partition("...")
        if not dots or base not in repo.branches or head not in repo.branches:
            raise self.refuse(404, "Not Found")
        ahead = self._ahead(repo, base, head)
        status = "ahead" if ahead else "identical"
        shown = [self._show_commit(repo, commit) for commit in ahead]
        return json_answer({"status": status, "ahead_by": len(ahead), "behind_by": 0, "commits": shown})

    @route("GET", "/repos/{owner}/{repo}/contents")
    @route("GET", "/repos/{owner}/{repo}/contents/{path...}")
    def get_contents(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        branch = self._ref(repo, asked.query("ref"))
        return self._content_answer(asked, repo, branch, asked.params.get("path", "").rstrip("/"))

    @route("GET", "/repos/{owner}/{repo}/readme")
    def get_readme(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return self._content_answer(asked, repo, self._ref(repo, asked.query("ref")), "README.md")

    @route("PUT", "/repos/{owner}/{repo}/contents/{path...}")
    def put_contents(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        fields = {"message": TEXT, "content": Field(required=True), "sha": Field(), "branch": Field()}
        given = self._read(asked, "Commit", fields)
        try:
            content = base64.b64decode("".join(given["content"].split()), validate=True)
        except (binascii.Error, ValueError):
            raise self.refuse(422, "content is not valid Base64") from None
        branch = self._ref(repo, given.get("branch"))
        files, path = repo.branches[branch], asked.params["path"]
        existed = path in files
        if existed:
            self._same_sha(files[path], path, given.get("sha"))
        files[path] = content
        commit = self.commit(repo, branch, given["message"], asked.who.login, [path])
        shown = self._show_file(repo, branch, path, with_content=False)
        answer = {"content": shown, "commit": self._bare_commit(repo, commit)}
        return json_answer(answer, 200 if existed else 201)

    @route("DELETE", "/repos/{owner}/{repo}/contents/{path...}")
    def delete_contents(self, asked: Asked) -> Answer:
        """The message and the sha come in the body, or in the query from clients that send no body here."""
        repo = self._writable(asked)
        given = dict(asked.seen.query) | self.read_object(asked, any_type=True, may_be_empty=True)
        self._check("Commit", given, {"message": TEXT, "sha": TEXT, "branch": Field()})
        branch = self._ref(repo, given.get("branch"))
        files, path = repo.branches[branch], asked.params["path"]
        if path not in files:
            raise self.refuse(404, "Not Found")
        self._same_sha(files[path], path, given["sha"])
        del files[path]
        commit = self.commit(repo, branch, given["message"], asked.who.login, [path])
        return json_answer({"content": None, "commit": self._bare_commit(repo, commit)})

    # Releases

    @route("GET", "/repos/{owner}/{repo}/releases")
    def list_releases(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return self._page(asked, [self._show_release(repo, r) for r in reversed(repo.releases.values())])

    @route("POST", "/repos/{owner}/{repo}/releases")
    def create_release(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        texts = dict.fromkeys(("target_commitish", "name", "body", "make_latest"), Field())
        flags = dict.fromkeys(("draft", "prerelease", "generate_release_notes"), FLAG)
        given = self._read(asked, "Release", {"tag_name": TEXT, **texts, **flags})
        if any(release["tag_name"] == given["tag_name"] for release in repo.releases.values()):
            raise self._invalid("Release", "tag_name", "already_exists")
        release = self.add_release(repo, asked.who.login, given)
        return self._created(self._show_release(repo, release))

    @route("POST", "/repos/{owner}/{repo}/releases/generate-notes")
    def generate_release_notes(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        given = self._read(asked, "Release", {"tag_name": TEXT, "target_commitish": Field()})
        log = repo.commits[self._ref(repo, given.get("target_commitish"))]
        body = "\n".join(["## What's Changed", *(f"* {c['message']} by @{c['author']}" for c in log)])
        return json_answer({"name": given["tag_name"], "body": body})

    @route("GET", "/repos/{owner}/{repo}/releases/latest")
    def get_latest_release(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        for release in reversed(repo.releases.values()):
            if not release["draft"] and not release["prerelease"]:
                return json_answer(self._show_release(repo, release))
        raise self.refuse(404, "Not Found")

    @route("GET", "/repos/{owner}/{repo}/releases/tags/{tag...}")
    def get_release_by_tag(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        for release in repo.releases.values():
            if release["tag_name"] == asked.params["tag"]:
                return json_answer(self._show_release(repo, release))
        raise self.refuse(404, "Not Found")

    @route("GET", "/repos/{owner}/{repo}/releases/{release_id}")
    def get_release(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return json_answer(self._show_release(repo, self._one(repo.releases, asked.params["release_id"])))

    @route("PATCH", "/repos/{owner}/{repo}/releases/{release_id}")
    def update_release(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        release = self._one(repo.releases, asked.params["release_id"])
        given = self.read_object(asked, any_type=True)
        release.update({key: given[key] for key in release.keys() & given.keys() - {"id", "author"}})
        return json_answer(self._show_release(repo, release))

    @route("DELETE", "/repos/{owner}/{repo}/releases/{release_id}")
    def delete_release(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        del repo.releases[self._one(repo.releases, asked.params["release_id"])["id"]]
        return NO_CONTENT

    # Issues

    @route("GET", "/issues")
    @route("GET", "/user/issues")
    def list_my_issues(self, asked: Asked) -> Answer:
        mine = [
            self._show_issue(repo, issue)
            for repo in self.repos.values()
            for issue in repo.issues.values()
            if asked.who.login in issue["assignees"] and self._has_state(asked, issue)
        ]
        return self._page(asked, mine)

    @route("GET", "/repos/{owner}/{repo}/issues")
    def list_issues(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        labels = {name for name in (asked.query("labels") or "").split(",") if name}
        assignee, creator = asked.query("assignee"), asked.query("creator")
        since, milestone = asked.query("since"), asked.query("milestone")
        found = [
            issue
            for issue in repo.issues.values()
            if self._has_state(asked, issue)
            and labels <= set(issue["labels"])
            and (creator is None or issue["user"] == creator)
            and _is_assigned(issue, assignee)
            and (milestone in (None, "*") or str(issue["milestone"]) == milestone)
            and (since is None or issue["updated_at"] >= since)
        ]
        found.sort(key=lambda issue: issue["number"], reverse=asked.query("direction") != "asc")
        return self._page(asked, [self._show_issue(repo, issue) for issue in found])

    @route("POST", "/repos/{owner}/{repo}/issues")
    def create_issue(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        given = self._read(asked, "Issue", {"title": Field(kind=(str, int), required=True), **_ISSUE_FIELDS})
        if str(given["title"]).strip() == "":
            raise self._invalid("Issue", "title", "missing_field")
        issue = self.add_issue(repo, str(given["title"]), by=asked.who.login)
        self._change_issue(repo, issue, {key: value for key, value in given.items() if key != "title"})
        return self._created(self._show_issue(repo, issue))

    @route("GET", "/repos/{owner}/{repo}/issues/{number}")
    def get_issue(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        return json_answer(self._show_issue(repo, self._issue(asked, repo)))

    @route("PATCH", "/repos/{owner}/{repo}/issues/{number}")
    def update_issue(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        issue = self._issue(asked, repo)
        states = {"state": Field(choices=("open", "closed")), "state_reason": Field()}
        given = self._read(asked, "Issue", {"title": Field(kind=(str, int)), **states, **_ISSUE_FIELDS})
        self._change_issue(repo, issue, given)
        return json_answer(self._show_issue(repo, issue))

    @route("PUT", "/repos/{owner}/{repo}/issues/{number}/lock")
    def lock_issue(self, asked: Asked) -> Answer:
        issue = self._issue(asked, self._writable(asked))
        given = self.read_object(asked, any_type=True, may_be_empty=True)
        reasons = ("off-topic", "too heated", "resolved", "spam")
        self._check("Lock", given, {"lock_reason": Field(choices=reasons)})
        issue.update(locked=True, active_lock_reason=given.get("lock_reason"))
        return NO_CONTENT

    @route("DELETE", "/repos/{owner}/{repo}/issues/{number}/lock")
    def unlock_issue(self, asked: Asked) -> Answer:
        self._issue(asked, self._writable(asked)).update(locked=False, active_lock_reason=None)
        return NO_CONTENT

    @route("GET", "/repos/{owner}/{repo}/assignees")
    def list_assignees(self, asked: Asked) -> Answer:
        return self._page(asked, [self._short(login) for login in sorted(self._repo(asked).writers)])

    @route("POST", "/repos/{owner}/{repo}/issues/{number}/assignees")
    def add_assignees(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        issue = self._issue(asked, repo)
        # Whoever cannot be assigned is left out without a word.
        for login in self._read(asked, "Issue", {"assignees": LIST}).get("assignees") or []:
            if login in repo.writers and login not in issue["assignees"]:
                issue["assignees"].append(login)
        return self._created(self._show_issue(repo, issue))

    @route("DELETE", "/repos/{owner}/{repo}/issues/{number}/assignees")
    def remove_assignees(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        issue = self._issue(asked, repo)
        gone = self._read(asked, "Issue", {"assignees": Field(kind=list, required=True)})["assignees"]
        issue["assignees"] = [login for login in issue["assignees"] if login not in gone]
        return json_answer(self._show_issue(repo, issue))

    @route("POST", "/repos/{owner}/{repo}/issues/{number}/reactions")
    def react_to_issue(self, asked: Asked) -> Answer:
        """The same reaction of the same user is kept once: 200 where it was there before."""
        repo = self._with_issues(asked)
        number = self._issue(asked, repo)["number"]
        given = self._read(asked, "Reaction", {"content": Field(required=True, choices=REACTIONS)})
        kept_as = (number, asked.who.login, given["content"])
        existed = kept_as in repo.reactions
        reaction = repo.reactions.setdefault(
            kept_as, {"id": self._next_id(), "created_at": iso(self.clock())}
        )
        shown = {**reaction, "user": self._short(asked.who.login), "content": given["content"]}
        return json_answer(shown, 200 if existed else 201)

    # Comments

    @route("GET", "/repos/{owner}/{repo}/issues/comments")
    def list_repo_comments(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        return self._page(asked, [self._show_comment(repo, comment) for comment in repo.comments.values()])

    @route("GET", "/repos/{owner}/{repo}/issues/{number}/comments")
    def list_comments(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        number = self._issue(asked, repo)["number"]
        found = [comment for comment in repo.comments.values() if comment["issue"] == number]
        return self._page(asked, [self._show_comment(repo, comment) for comment in found])

    @route("POST", "/repos/{owner}/{repo}/issues/{number}/comments")
    def create_comment(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        issue = self._issue(asked, repo)
        if issue["locked"] and asked.who.login not in repo.writers:
            raise self.refuse(403, "Unable to create comment because issue is locked.")
        given = self._read(asked, "IssueComment", {"body": TEXT})
        comment = self.add_comment(repo, issue["number"], asked.who.login, given["body"])
        return self._created(self._show_comment(repo, comment))

    @route("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}")
    def get_comment(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        return json_answer(self._show_comment(repo, self._one(repo.comments, asked.params["comment_id"])))

    @route("PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}")
    def update_comment(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        comment = self._one(repo.comments, asked.params["comment_id"])
        comment["body"] = self._read(asked, "IssueComment", {"body": TEXT})["body"]
        comment["updated_at"] = iso(self.clock())
        return json_answer(self._show_comment(repo, comment))

    @route("DELETE", "/repos/{owner}/{repo}/issues/comments/{comment_id}")
    def delete_comment(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        del repo.comments[self._one(repo.comments, asked.params["comment_id"])["id"]]
        return NO_CONTENT

    # Labels

    @route("GET", "/repos/{owner}/{repo}/labels")
    def list_labels(self, asked: Asked) -> Answer:
        return self._page(asked, list(self._repo(asked).labels.values()))

    @route("POST", "/repos/{owner}/{repo}/labels")
    def create_label(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        given = self._read(asked, "Label", {"name": TEXT, "color": Field(), "description": Field()})
        if given["name"] in repo.labels:
            raise self._invalid("Label", "name", "already_exists")
        self._check_color(given)
        return self._created(
            self.add_label(repo, given["name"], given.get("color"), given.get("description"))
        )

    @route("GET", "/repos/{owner}/{repo}/labels/{name}")
    def get_label(self, asked: Asked) -> Answer:
        return json_answer(self._label(asked, self._repo(asked)))

    @route("PATCH", "/repos/{owner}/{repo}/labels/{name}")
    def update_label(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        label = self._label(asked, repo)
        fields = {"new_name": Field(least=1), "color": Field(), "description": Field()}
        given = self._read(asked, "Label", fields)
        self._check_color(given)
        old, new = label["name"], given.get("new_name") or label["name"]
        label.update({key: given[key] for key in ("color", "description") if key in given}, name=new)
        repo.labels = {each["name"]: each for each in repo.labels.values()}
        for issue in repo.issues.values():
            issue["labels"] = [new if name == old else name for name in issue["labels"]]
        return json_answer(label)

    @route("DELETE", "/repos/{owner}/{repo}/labels/{name}")
    def delete_label(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        name = self._label(asked, repo)["name"]
        del repo.labels[name]
        for issue in repo.issues.values():
            issue["labels"] = [each for each in issue["labels"] if each != name]
        return NO_CONTENT

    @route("GET", "/repos/{owner}/{repo}/issues/{number}/labels")
    def list_issue_labels(self, asked: Asked) -> Answer:
        repo = self._with_issues(asked)
        return self._page(asked, self._issue_labels(repo, self._issue(asked, repo)))

    @route("POST", "/repos/{owner}/{repo}/issues/{number}/labels")
    def add_issue_labels(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        issue = self._issue(asked, repo)
        self._set_labels(repo, issue, [*issue["labels"], *self._label_names(asked)])
        return json_answer(self._issue_labels(repo, issue))

    @route("PUT", "/repos/{owner}/{repo}/issues/{number}/labels")
    def set_issue_labels(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        issue = self._issue(asked, repo)
        self._set_labels(repo, issue, self._label_names(asked))
        return json_answer(self._issue_labels(repo, issue))

    @route("DELETE", "/repos/{owner}/{repo}/issues/{number}/labels")
    def remove_issue_labels(self, asked: Asked) -> Answer:
        self._issue(asked, self._writable(asked))["labels"] = []
        return NO_CONTENT

    @route("DELETE", "/repos/{owner}/{repo}/issues/{number}/labels/{name}")
    def remove_issue_label(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        issue = self._issue(asked, repo)
        if asked.params["name"] not in issue["labels"]:
            raise self.refuse(404, "Label does not exist")
        issue["labels"].remove(asked.params["name"])
        return json_answer(self._issue_labels(repo, issue))

    # Milestones

    @route("GET", "/repos/{owner}/{repo}/milestones")
    def list_milestones(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        found = [one for one in repo.milestones.values() if self._has_state(asked, one)]
        return self._page(asked, [self._show_milestone(repo, one) for one in found])

    @route("POST", "/repos/{owner}/{repo}/milestones")
    def create_milestone(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        given = self._read(asked, "Milestone", {**_MILESTONE_FIELDS, "title": TEXT})
        if any(one["title"] == given["title"] for one in repo.milestones.values()):
            raise self._invalid("Milestone", "title", "already_exists")
        one = self.add_milestone(repo, given)
        return self._created(self._show_milestone(repo, one))

    @route("GET", "/repos/{owner}/{repo}/milestones/{number}")
    def get_milestone(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return json_answer(self._show_milestone(repo, self._one(repo.milestones, asked.params["number"])))

    @route("PATCH", "/repos/{owner}/{repo}/milestones/{number}")
    def update_milestone(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        one = self._one(repo.milestones, asked.params["number"])
        given = self._read(asked, "Milestone", _MILESTONE_FIELDS)
        one.update({key: given[key] for key in _MILESTONE_FIELDS if key in given})
        return json_answer(self._show_milestone(repo, one))

    @route("DELETE", "/repos/{owner}/{repo}/milestones/{number}")
    def delete_milestone(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        number = self._one(repo.milestones, asked.params["number"])["number"]
        del repo.milestones[number]
        for issue in repo.issues.values():
            issue["milestone"] = None if issue["milestone"] == number else issue["milestone"]
        return NO_CONTENT

    # Pulls

    @route("GET", "/repos/{owner}/{repo}/pulls")
    def list_pulls(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        head, base = asked.query("head"), asked.query("base")
        found = [
            pull
            for pull in reversed(repo.pulls.values())
            if self._has_state(asked, pull["issue"])
            and (base is None or pull["base"] == base)
            and (head is None or head in (pull["head"], f"{repo.owner}:{pull['head']}"))
        ]
        return self._page(asked, [self._show_pull(repo, pull) for pull in found])

    @route("POST", "/repos/{owner}/{repo}/pulls")
    def create_pull(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        fields = {"title": Field(), "head": TEXT, "base": TEXT, "body": Field(), "issue": WHOLE}
        given = self._read(asked, "PullRequest", {**fields, "draft": FLAG, "maintainer_can_modify": FLAG})
        if not given.get("title") and not given.get("issue"):
            raise self._invalid("PullRequest", "title", "missing_field")
        head = given["head"].removeprefix(f"{repo.owner}:")
        for name, branch in (("head", head), ("base", given["base"])):
            if branch not in repo.branches:
                raise self._invalid("PullRequest", name, "invalid")
        if not self._ahead(repo, given["base"], head):
            message = f"No commits between {given['base']} and {head}"
            raise self._invalid("PullRequest", None, "custom", message=message)
        if any((p["head"], p["issue"]["state"]) == (head, "open") for p in repo.pulls.values()):
            message = f"A pull request already exists for {repo.owner}:{head}."
            raise self._invalid("PullRequest", None, "custom", message=message)
        title = given.get("title") or f"Pull of {head}"
        pull = self.add_pull(repo, title, head, given["base"], by=asked.who.login, body=given.get("body"))
        pull["draft"] = bool(given.get("draft"))
        return self._created(self._show_pull(repo, pull))

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}")
    def get_pull(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        pull = self._pull(asked, repo)
        if "diff" in (asked.seen.header("Accept") or ""):
            names = self._changed(repo, pull)
            text = "".join(f"diff --git a/{name} b/{name}\n" for name in names)
            headers = {"Content-Type": "application/vnd.github.diff; charset=utf-8"}
            return Answer(body=text.encode(), headers=headers)
        return json_answer(self._show_pull(repo, pull, whole=True))

    @route("PATCH", "/repos/{owner}/{repo}/pulls/{number}")
    def update_pull(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        pull = self._pull(asked, repo)
        states = {"state": Field(choices=("open", "closed")), "maintainer_can_modify": FLAG}
        fields = {"title": Field(), "body": Field(), "base": Field(), **states}
        given = self._read(asked, "PullRequest", fields)
        if given.get("base"):
            pull["base"] = self._ref(repo, given["base"])
        self._change_issue(repo, pull["issue"], {k: v for k, v in given.items() if k != "base"})
        return json_answer(self._show_pull(repo, pull, whole=True))

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/merge")
    def check_merged(self, asked: Asked) -> Answer:
        if not self._pull(asked, self._repo(asked))["merged"]:
            raise self.refuse(404, "Not Found")
        return NO_CONTENT

    @route("PUT", "/repos/{owner}/{repo}/pulls/{number}/merge")
    def merge_pull(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        pull = self._pull(asked, repo)
        given = self.read_object(asked, any_type=True, may_be_empty=True)
        methods = Field(choices=("merge", "squash", "rebase"))
        texts = dict.fromkeys(("commit_title", "commit_message", "sha"), Field())
        self._check("PullRequest", given, {**texts, "merge_method": methods})
        issue = pull["issue"]
        gone = not {pull["head"], pull["base"]} <= repo.branches.keys()
        if pull["merged"] or pull["draft"] or gone or issue["state"] == "closed":
            raise self.refuse(405, "Pull Request is not mergeable")
        if given.get("sha") and given["sha"] != repo.commits[pull["head"]][0]["sha"]:
            raise self.refuse(409, "Head branch was modified. Review and try the merge again.")
        title = given.get("commit_title") or f"Merge pull request #{issue['number']} from {pull['head']}"
        repo.branches[pull["base"]].update(repo.branches[pull["head"]])
        commit = self.commit(repo, pull["base"], title, asked.who.login, self._changed(repo, pull))
        pull.update(merged=True, merged_at=iso(self.clock()), merge_commit_sha=commit["sha"])
        self._change_issue(repo, issue, {"state": "closed"})
        return json_answer(
            {"sha": commit["sha"], "merged": True, "message": "Pull Request successfully merged"}
        )

    @route("PUT", "/repos/{owner}/{repo}/pulls/{number}/update-branch")
    def update_pull_branch(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        pull = self._pull(asked, repo)
        url = self._url(f"/repos/{repo.full_name}/pulls/{pull['issue']['number']}")
        return json_answer({"message": "Updating pull request branch.", "url": url}, 202)

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/files")
    def list_pull_files(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        pull = self._pull(asked, repo)
        files = [
            {
                "sha": _blob_sha(repo.branches.get(pull["head"], {}).get(name, b"")),
                "filename": name,
                "status": "modified" if name in repo.branches.get(pull["base"], {}) else "added",
                "additions": 1,
                "deletions": 0,
                "changes": 1,
                "patch": "@@ -0,0 +1 @@\n+line",
            }
            for name in self._changed(repo, pull)
        ]
        return self._page(asked, files)

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/commits")
    def list_pull_commits(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        pull = self._pull(asked, repo)
        found = reversed(self._ahead(repo, pull["base"], pull["head"]))
        return self._page(asked, [self._show_commit(repo, commit) for commit in found])

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/reviews")
    def list_reviews(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        number = self._pull(asked, repo)["issue"]["number"]
        found = [review for review in repo.reviews.values() if review["pull"] == number]
        return self._page(asked, [self._show_review(repo, review) for review in found])

    @route("POST", "/repos/{owner}/{repo}/pulls/{number}/reviews")
    def create_review(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        pull = self._pull(asked, repo)
        event = Field(choices=tuple(REVIEW_STATES))
        texts = {"commit_id": Field(), "body": Field(), "comments": LIST}
        given = self._read(asked, "PullRequestReview", {**texts, "event": event})
        if given.get("event") == "APPROVE" and pull["issue"]["user"] == asked.who.login:
            raise self.refuse(422, "Unprocessable Entity", details=["Can not approve your own pull request"])
        if given.get("event") in ("REQUEST_CHANGES", "COMMENT") and not given.get("body"):
            raise self._invalid("PullRequestReview", "body", "missing_field")
        review = {
            "id": self._next_id(),
            "pull": pull["issue"]["number"],
            "user": asked.who.login,
            "body": given.get("body") or "",
            "state": REVIEW_STATES.get(given.get("event") or "", "PENDING"),
            "commit_id": given.get("commit_id") or self._head_sha(repo, pull["head"]),
            "submitted_at": iso(self.clock()),
        }
        repo.reviews[int(str(review["id"]))] = review
        return json_answer(self._show_review(repo, review))

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/reviews/{review_id}")
    def get_review(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        self._pull(asked, repo)
        return json_answer(self._show_review(repo, self._one(repo.reviews, asked.params["review_id"])))

    @route("POST", "/repos/{owner}/{repo}/pulls/{number}/reviews/{review_id}/events")
    def submit_review(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        self._pull(asked, repo)
        review = self._one(repo.reviews, asked.params["review_id"])
        event = Field(required=True, choices=tuple(REVIEW_STATES))
        given = self._read(asked, "PullRequestReview", {"event": event, "body": Field()})
        if review["state"] != "PENDING":
            message = "Can not submit a review that was submitted before"
            raise self.refuse(422, "Unprocessable Entity", details=[message])
        review.update(state=REVIEW_STATES[given["event"]], body=given.get("body") or review["body"])
        return json_answer(self._show_review(repo, review))

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/comments")
    def list_review_comments(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        number = self._pull(asked, repo)["issue"]["number"]
        found = [one for one in repo.review_comments.values() if one["pull"] == number]
        return self._page(asked, [self._show_comment(repo, one) for one in found])

    @route("POST", "/repos/{owner}/{repo}/pulls/{number}/comments")
    def create_review_comment(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        number = self._pull(asked, repo)["issue"]["number"]
        fields = {"body": TEXT, "commit_id": TEXT, "path": TEXT, "line": WHOLE, "side": Field()}
        given = self._read(asked, "PullRequestReviewComment", fields)
        chosen = {key: given.get(key) for key in fields}
        return self._created(self._add_review_comment(asked, repo, number, chosen))

    @route("POST", "/repos/{owner}/{repo}/pulls/{number}/comments/{comment_id}/replies")
    def reply_to_review_comment(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        number = self._pull(asked, repo)["issue"]["number"]
        first = self._one(repo.review_comments, asked.params["comment_id"])
        given = self._read(asked, "PullRequestReviewComment", {"body": TEXT})
        place = {key: first[key] for key in ("commit_id", "path", "line", "side")}
        reply = {"body": given["body"], **place, "in_reply_to_id": first["id"]}
        return self._created(self._add_review_comment(asked, repo, number, reply))

    @route("GET", "/repos/{owner}/{repo}/pulls/{number}/requested_reviewers")
    def list_requested_reviewers(self, asked: Asked) -> Answer:
        pull = self._pull(asked, self._repo(asked))
        return json_answer({"users": [self._short(u) for u in pull["requested_reviewers"]], "teams": []})

    @route("POST", "/repos/{owner}/{repo}/pulls/{number}/requested_reviewers")
    def request_reviewers(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        pull = self._pull(asked, repo)
        given = self._read(asked, "PullRequest", {"reviewers": LIST, "team_reviewers": LIST})
        for login in given.get("reviewers") or []:
            if login not in repo.writers:
                message = "Reviews may only be requested from collaborators."
                raise self.refuse(422, message, details=[message])
            if login == pull["issue"]["user"]:
                raise self.refuse(422, "Review cannot be requested from pull request author.")
            if login not in pull["requested_reviewers"]:
                pull["requested_reviewers"].append(login)
        return self._created(self._show_pull(repo, pull))

    @route("DELETE", "/repos/{owner}/{repo}/pulls/{number}/requested_reviewers")
    def remove_requested_reviewers(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        pull = self._pull(asked, repo)
        gone = self._read(asked, "PullRequest", {"reviewers": Field(kind=list, required=True)})["reviewers"]
        pull["requested_reviewers"] = [u for u in pull["requested_reviewers"] if u not in gone]
        return json_answer(self._show_pull(repo, pull))

    # Actions

    @route("GET", "/repos/{owner}/{repo}/actions/workflows")
    def list_workflows(self, asked: Asked) -> Answer:
        return self._counted(asked, "workflows", list(self._repo(asked).workflows.values()))

    @route("GET", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}")
    def get_workflow(self, asked: Asked) -> Answer:
        return json_answer(self._workflow(asked, self._repo(asked)))

    @route("PUT", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/disable")
    def disable_workflow(self, asked: Asked) -> Answer:
        self._workflow(asked, self._writable(asked))["state"] = "disabled_manually"
        return NO_CONTENT

    @route("PUT", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/enable")
    def enable_workflow(self, asked: Asked) -> Answer:
        self._workflow(asked, self._writable(asked))["state"] = "active"
        return NO_CONTENT

    @route("POST", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches")
    def dispatch_workflow(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        workflow = self._workflow(asked, repo)
        given = self._read(asked, "Workflow", {"ref": TEXT, "inputs": Field(kind=dict)})
        branch = given["ref"].removeprefix("refs/heads/")
        if branch not in repo.branches:
            raise self.refuse(422, f"No ref found for: {given['ref']}")
        if workflow["state"] != "active":
            raise self.refuse(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
        self.add_run(repo, workflow, branch, asked.who.login, given.get("inputs") or {})
        return NO_CONTENT

    @route("GET", "/repos/{owner}/{repo}/actions/runs")
    def list_runs(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return self._counted(asked, "workflow_runs", self._runs(asked, repo))

    @route("GET", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs")
    def list_workflow_runs(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        workflow = self._workflow(asked, repo)["id"]
        found = [run for run in self._runs(asked, repo) if run["workflow_id"] == workflow]
        return self._counted(asked, "workflow_runs", found)

    @route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}")
    def get_run(self, asked: Asked) -> Answer:
        """Every look moves the run one step on."""
        repo = self._repo(asked)
        run = self._one(repo.runs, asked.params["run_id"])
        shown = self._show_run(repo, run)
        run["step"] = min(run["step"] + 1, len(RUN_STEPS) - 1)
        return json_answer(shown)

    @route("DELETE", "/repos/{owner}/{repo}/actions/runs/{run_id}")
    def delete_run(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        del repo.runs[self._one(repo.runs, asked.params["run_id"])["id"]]
        return NO_CONTENT

    @route("POST", "/repos/{owner}/{repo}/actions/runs/{run_id}/cancel")
    def cancel_run(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        run = self._one(repo.runs, asked.params["run_id"])
        if self._show_run(repo, run)["status"] == "completed":
            raise self.refuse(409, "Cannot cancel a workflow run that is completed.")
        run["cancelled"] = True
        return json_answer({}, 202)

    @route("POST", "/repos/{owner}/{repo}/actions/runs/{run_id}/rerun")
    @route("POST", "/repos/{owner}/{repo}/actions/runs/{run_id}/rerun-failed-jobs")
    def rerun(self, asked: Asked) -> Answer:
        repo = self._writable(asked)
        run = self._one(repo.runs, asked.params["run_id"])
        if self._show_run(repo, run)["status"] != "completed":
            raise self.refuse(403, "This workflow is already running")
        run.update(step=0, cancelled=False, run_attempt=run["run_attempt"] + 1)
        return json_answer({}, 201)

    @route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/jobs")
    def list_jobs(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return self._counted(asked, "jobs", [self._job(repo, self._one(repo.runs, asked.params["run_id"]))])

    @route("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}")
    def get_job(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return json_answer(self._job(repo, self._run_of_job(asked, repo)))

    @route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/logs")
    def download_run_logs(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        run = self._one(repo.runs, asked.params["run_id"])
        return self._stored(f"logs_{run['id']}.zip", b"PK\x03\x04" + bytes(range(256)), "application/zip")

    @route("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}/logs")
    def download_job_logs(self, asked: Asked) -> Answer:
        run = self._run_of_job(asked, self._repo(asked))
        return self._stored(f"job_{run['id']}.txt", b"2025-12-23T10:00:00Z ok\n", "text/plain")

    @route("GET", "/repos/{owner}/{repo}/actions/runs/{run_id}/artifacts")
    def list_run_artifacts(self, asked: Asked) -> Answer:
        repo = self._repo(asked)
        return self._counted(
            asked, "artifacts", [self._artifact(self._one(repo.runs, asked.params["run_id"]))]
        )

    @route("GET", "/repos/{owner}/{repo}/actions/artifacts")
    def list_artifacts(self, asked: Asked) -> Answer:
        found = [self._artifact(run) for run in self._repo(asked).runs.values()]
        return self._counted(asked, "artifacts", found)

    @route("GET", "/repos/{owner}/{repo}/actions/artifacts/{artifact_id}")
    def get_artifact(self, asked: Asked) -> Answer:
        for run in self._repo(asked).runs.values():
            artifact = self._artifact(run)
            if str(artifact["id"]) == asked.params["artifact_id"]:
                return json_answer(artifact)
        raise self.refuse(404, "Not Found")

    @route("GET", "/repos/{owner}/{repo}/actions/artifacts/{artifact_id}/{archive_format}")
    def download_artifact(self, asked: Asked) -> Answer:
        for run in self._repo(asked).runs.values():
            artifact = self._artifact(run)
            if (str(artifact["id"]), "zip") == (asked.params["artifact_id"], asked.params["archive_format"]):
                return self._stored(f"{artifact['id']}.zip", b"PK\x03\x04" + bytes(64), "application/zip")
        raise self.refuse(404, "Not Found")

    # Search

    @route("GET", "/search/repositories")
    def search_repositories(self, asked: Asked) -> Answer:
        words, wanted = self._search_terms(asked)
        found = [
            self._show_repo(repo)
            for repo in self._visible(asked)
            if self._repo_fits(repo, wanted)
            and _holds(f"{repo.full_name} {repo.data['description'] or ''}", words)
        ]
        return self._found(asked, found)

    @route("GET", "/search/issues")
    def search_issues(self, asked: Asked) -> Answer:
        words, wanted = self._search_terms(asked)
        found = [
            self._show_issue(repo, issue)
            for repo in self._visible(asked)
            if self._repo_fits(repo, wanted)
            for issue in repo.issues.values()
            if _issue_fits(issue, wanted, is_pull=issue["number"] in repo.pulls)
            and _holds(f"{issue['title']} {issue['body'] or ''}", words)
        ]
        return self._found(asked, found)

    @route("GET", "/search/code")
    def search_code(self, asked: Asked) -> Answer:
        words, wanted = self._search_terms(asked)
        found = [
            {
                **self._show_file(repo, repo.main, path, with_content=False),
                "repository": self._show_repo(repo),
            }
            for repo in self._visible(asked)
            if self._repo_fits(repo, wanted)
            for path, content in repo.branches[repo.main].items()
            if _holds(f"{path} {content.decode('utf-8', 'replace')}", words)
        ]
        return self._found(asked, found)

    @route("GET", "/search/commits")
    def search_commits(self, asked: Asked) -> Answer:
        words, wanted = self._search_terms(asked)
        found = [
            {**self._show_commit(repo, commit), "repository": self._show_repo(repo)}
            for repo in self._visible(asked)
            if self._repo_fits(repo, wanted)
            for commit in repo.commits[repo.main]
            if _holds(commit["message"], words)
        ]
        return self._found(asked, found)

    @route("GET", "/search/users")
    def search_users(self, asked: Asked) -> Answer:
        words, wanted = self._search_terms(asked)
        kinds = {"user": "User", "org": "Organization"}
        found = [
            self._short(login)
            for login, user in self.users.items()
            if _holds(f"{login} {user['name']}", words)
            and all(user["type"] == kinds.get(kind, "") for kind in wanted.get("type", []))
        ]
        return self._found(asked, found)

    @route("GET", "/search/labels")
    def search_labels(self, asked: Asked) -> Answer:
        words, _ = self._search_terms(asked)
        for repo in self._visible(asked):
            if str(repo.data["id"]) == asked.query("repository_id"):
                return self._found(asked, [one for one in repo.labels.values() if _holds(one["name"], words)])
        raise self.refuse(404, "Not Found")

    @route("GET", "/search/topics")
    def search_topics(self, asked: Asked) -> Answer:
        words, _ = self._search_terms(asked)
        topics = sorted({topic for repo in self._visible(asked) for topic in repo.topics})
        return self._found(asked, [{"name": topic, "score": 1.0} for topic in topics if _holds(topic, words)])

    @route("GET", "/rate_limit")
    def get_rate_limit(self, asked: Asked) -> Answer:
        limits = {name: {"limit": window.limit} for name, window in self.windows.items()}
        return json_answer({"resources": limits, "rate": limits["core"]})

    # Who is let in, and how a refusal looks

    def admit(self, seen: Seen) -> Token:
        if not seen.header("User-Agent"):
            message = "Request forbidden by administrative rules: a User-Agent header is needed."
            raise self.refuse(403, message)
        scheme, _, raw = (seen.header("Authorization") or "").partition(" ")
        if not raw:
            raise self.refuse(401, "Requires authentication")
        if scheme.lower() not in ("bearer", "token") or raw not in self.tokens:
            raise self.refuse(401, "Bad credentials")
        return self.tokens[raw]

    def meter(self, seen: Seen, who: Token) -> dict[str, str]:
        resource = "core"
        if seen.path.startswith("/search/"):
            resource = "code_search" if seen.path == "/search/code" else "search"
        spent = self.windows[resource].take(who.login, self.clock())
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": opaque(f"request {len(self.seen)}", 16).upper(),
            "X-OAuth-Scopes": ", ".join(who.scopes),
            **_rate_headers(spent, resource),
        }
        if spent.refused:
            refused = self.refuse(403, f"API rate limit exceeded for user ID {self.users[who.login]['id']}.")
            raise Refused(refused.answer.with_headers(headers))
        return headers

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        body: Json = {"message": message or TITLES.get(status, "Error")}
        if details is not None:
            body["errors"] = details
        return Refused(json_answer({**body, "documentation_url": DOCS, "status": str(status)}, status))

    def refuse_malformed(self, reason: str) -> Refused:
        wrong_kind = "must be a JSON object" in reason
        return self.refuse(400, "Body should be a JSON object" if wrong_kind else "Problems parsing JSON")

    def refuse_route(self, seen: Seen) -> Refused:
        return self.refuse(404, "Not Found")

    def _answer(self, seen: Seen) -> Answer:
        """A GET whose answer the caller holds already is told so (RFC 9110 §13.1.2)."""
        answer = super()._answer(seen)
        if seen.method != "GET" or answer.status != 200:
            return answer
        etag = f'W/"{hashlib.sha256(answer.body).hexdigest()}"'
        held = seen.header("If-None-Match") == etag
        kept = {
            name: value for name, value in answer.headers.items() if not (held and name == "Content-Type")
        }
        return Answer(
            status=304 if held else 200,
            body=b"" if held else answer.body,
            headers={**kept, "ETag": etag, "Cache-Control": "private, max-age=60, s-maxage=60"},
        )

    def _invalid(self, resource: str, name: str | None, code: str, *, message: str | None = None) -> Refused:
        told = {"resource": resource, "code": code}
        if name:
            told["field"] = name
        if message:
            told["message"] = message
        return self.refuse(422, "Validation Failed", details=[told])

    def _read(self, asked: Asked, resource: str, fields: dict[str, Field]) -> Json:
        """GitHub takes a JSON body whatever its content type says, and an empty one as no fields."""
        given = self.read_object(asked, any_type=True, may_be_empty=True)
        self._check(resource, given, fields)
        return given

    def _check(self, resource: str, given: Json, fields: dict[str, Field]) -> None:
        try:
            self.check(given, fields)
        except _Faults as found:
            raise self._refuse_faults(resource, found.faults) from None

    def refuse_fields(self, faults: list[Fault], given: object) -> Refused:
        return _Faults(faults)

    def _refuse_faults(self, resource: str, faults: list[Fault]) -> Refused:
        codes = {"missing": "missing_field", "low": "missing_field"}
        wrong = [fault for fault in faults if fault.kind == "type"]
        if wrong:
            return self.refuse(
                422, f"Invalid request.\n\nFor 'properties/{wrong[0].name}': {wrong[0].message}."
            )
        details = [
            {"resource": resource, "field": fault.name, "code": codes.get(fault.kind, "invalid")}
            for fault in faults
        ]
        return self.refuse(422, "Validation Failed", details=details)

    def _need_scope(self, asked: Asked, scope: str) -> None:
        """What a token's scopes do not reach is not there."""
        if scope not in asked.who.scopes:
            raise self.refuse(404, "Not Found")

    # Finding things

    def _user(self, login: str) -> str:
        found = next((name for name in self.users if name.lower() == login.lower()), None)
        if found is None:
            raise self.refuse(404, "Not Found")
        return found

    def _sees(self, asked: Asked, repo: Repo) -> bool:
        return not repo.data["private"] or (asked.who.login in repo.writers and "repo" in asked.who.scopes)

    def _visible(self, asked: Asked) -> list[Repo]:
        return [repo for repo in self.repos.values() if self._sees(asked, repo)]

    def _repo(self, asked: Asked) -> Repo:
        name = f"{asked.params['owner']}/{asked.params['repo']}"
        repo = self.repos.get(name.lower())
        if repo is None and name.lower() in self.moved:
            location = self._url(f"/repositories/{self.moved[name.lower()]}")
            body = {"message": "Moved Permanently", "url": location, "documentation_url": DOCS}
            raise Refused(json_answer(body, 301, {"Location": location}))
        if repo is None or not self._sees(asked, repo):
            raise self.refuse(404, "Not Found")
        return repo

    def _writable(self, asked: Asked) -> Repo:
        repo = self._repo(asked)
        if asked.who.login not in repo.writers:
            raise self.refuse(403, "Must have admin rights to Repository.")
        if not {"repo", "public_repo"} & set(asked.who.scopes):
            raise self.refuse(404, "Not Found")
        return repo

    def _with_issues(self, asked: Asked) -> Repo:
        repo = self._repo(asked)
        if not repo.data["has_issues"]:
            raise self.refuse(410, "Issues has been disabled in this repository.")
        return repo

    def _one(self, store: dict[int, Json], number: str) -> Json:
        if not (number.isascii() and number.isdigit() and len(number) < 20 and int(number) in store):
            raise self.refuse(404, "Not Found")
        return store[int(number)]

    def _issue(self, asked: Asked, repo: Repo) -> Json:
        return self._one(repo.issues, asked.params["number"])

    def _pull(self, asked: Asked, repo: Repo) -> Json:
        return self._one(repo.pulls, asked.params["number"])

    def _label(self, asked: Asked, repo: Repo) -> Json:
        if asked.params["name"] not in repo.labels:
            raise self.refuse(404, "Not Found")
        return repo.labels[asked.params["name"]]

    def _gist(self, asked: Asked) -> Json:
        if asked.params["gist_id"] not in self.gists:
            raise self.refuse(404, "Not Found")
        return self.gists[asked.params["gist_id"]]

    def _own_gist(self, asked: Asked) -> Json:
        self._need_scope(asked, "gist")
        gist = self._gist(asked)
        if gist["owner"] != asked.who.login:
            raise self.refuse(404, "Not Found")
        return gist

    def _workflow(self, asked: Asked, repo: Repo) -> Json:
        """By id, or by the name of its file."""
        named = asked.params["workflow_id"]
        for workflow in repo.workflows.values():
            if named in (str(workflow["id"]), workflow["path"].rpartition("/")[2]):
                return workflow
        raise self.refuse(404, "Not Found")

    def _run_of_job(self, asked: Asked, repo: Repo) -> Json:
        for run in repo.runs.values():
            if str(self._job(repo, run)["id"]) == asked.params["job_id"]:
                return run
        raise self.refuse(404, "Not Found")

    def _ref(self, repo: Repo, name: str | None) -> str:
        branch = (name or repo.main).removeprefix("refs/heads/")
        found = branch if branch in repo.branches else self._branch_of_sha(repo, branch)
        if found is None:
            raise self.refuse(404, f"No commit found for the ref {branch}")
        return found

    def _branch_of_sha(self, repo: Repo, sha: str) -> str | None:
        return next((name for name, log in repo.commits.items() if log and log[0]["sha"] == sha), None)

    def _find_commit(self, repo: Repo, ref: str) -> Json | None:
        if ref in repo.commits:
            return repo.commits[ref][0]
        every = (commit for log in repo.commits.values() for commit in log)
        return next((commit for commit in every if len(ref) > 6 and commit["sha"].startswith(ref)), None)

    def _has_state(self, asked: Asked, record: Json) -> bool:
        state = asked.query("state") or "open"
        if state not in ("open", "closed", "all"):
            raise self._invalid("Search", "state", "invalid")
        return state in ("all", record["state"])

    def _ahead(self, repo: Repo, base: str, head: str) -> list[Json]:
        known = {commit["sha"] for commit in repo.commits.get(base, [])}
        return [commit for commit in repo.commits.get(head, []) if commit["sha"] not in known]

    def _head_sha(self, repo: Repo, branch: str) -> str | None:
        """Nothing for a branch that was deleted."""
        return repo.commits[branch][0]["sha"] if branch in repo.commits else None

    def _changed(self, repo: Repo, pull: Json) -> list[str]:
        ahead = self._ahead(repo, pull["base"], pull["head"])
        return sorted({name for commit in ahead for name in commit["files"]})

    # Changing things

    def _fill(self, repo: Repo) -> None:
        """What a used repository holds: labels, a milestone, an issue, a pull, a release, a workflow."""
        repo.data["description"] = "The web application"
        repo.topics = ["web", "python"]
        files = repo.branches["main"]
        files["src/app.py"] = b"print('hello')\n"
        files["docs/Getting started.md"] = "# Erste Schritte für alle\n".encode()
        files["assets/logo.png"] = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
        self.commit(repo, "main", "Add the application", "ada", list(files))
        for name, color in (("bug", "d73a4a"), ("good first issue", "7057ff")):
            self.add_label(repo, name, color, None)
        self.add_milestone(repo, {"title": "v1.1"})
        first = self.add_issue(repo, "Crash on start", body="It stops at once.", labels=["bug"], milestone=1)
        self.add_comment(repo, first["number"], "ada", "I can see it here too.")
        repo.branches["feature/login"] = {**files, "src/login.py": b"def login(): ...\n"}
        repo.commits["feature/login"] = list(repo.commits["main"])
        self.commit(repo, "feature/login", "Add a login page", "grace", ["src/login.py"])
        repo.branches["feature/search"] = {**files, "src/search.py": b"def search(): ...\n"}
        repo.commits["feature/search"] = list(repo.commits["main"])
        self.commit(repo, "feature/search", "Add a search box", "ada", ["src/search.py"])
        self.add_pull(repo, "Add a login page", "feature/login")
        self.add_release(repo, "ada", {"tag_name": "v1.0.0", "name": "First"})
        workflow = {
            "id": self._next_id(),
            "name": "CI",
            "path": ".github/workflows/ci.yml",
            "state": "active",
            "created_at": iso(self.clock()),
        }
        repo.workflows[int(str(workflow["id"]))] = workflow
        self.add_run(repo, workflow, "main", "ada", {})

    def _rename(self, repo: Repo, name: str) -> None:
        old = repo.full_name.lower()
        del self.repos[old]
        repo.name = name
        self.repos[repo.full_name.lower()] = repo
        self.moved[old] = repo.data["id"]

    def _change_issue(self, repo: Repo, issue: Json, given: Json) -> None:
        milestone = given.get("milestone")
        if milestone is not None and milestone not in repo.milestones:
            raise self._invalid("Issue", "milestone", "invalid")
        assignees = given.get("assignees") or ([given["assignee"]] if given.get("assignee") else None)
        if unknown := [login for login in assignees or [] if login not in repo.writers]:
            raise self._invalid("Issue", "assignees", "invalid", message=f"Could not assign {unknown[0]}")
        for key in ("title", "body", "milestone"):
            if key in given:
                issue[key] = given[key]
        if "labels" in given:
            self._set_labels(repo, issue, [_label_name(label) for label in given["labels"] or []])
        if assignees is not None or "assignees" in given:
            issue["assignees"] = list(assignees or [])
        state = given.get("state")
        if state and state != issue["state"]:
            closed = state == "closed"
            issue.update(state=state, closed_at=iso(self.clock()) if closed else None)
            issue["state_reason"] = given.get("state_reason") or ("completed" if closed else "reopened")
        issue["updated_at"] = iso(self.clock())

    def _set_labels(self, repo: Repo, issue: Json, names: list[str]) -> None:
        issue["labels"] = list(dict.fromkeys(names))
        for name in issue["labels"]:
            if name not in repo.labels:
                self.add_label(repo, name, None, None)

    def _label_names(self, asked: Asked) -> list[str]:
        """An object with `labels`, or the bare list."""
        try:
            given = asked.seen.json()
        except ValueError:
            raise self.refuse_malformed("") from None
        given = given.get("labels") if isinstance(given, dict) else given
        if not isinstance(given, list):
            raise self._invalid("Label", "labels", "missing_field")
        return [_label_name(label) for label in given]

    def _check_color(self, given: Json) -> None:
        if given.get("color") and not re.fullmatch(r"[0-9a-fA-F]{6}", given["color"]):
            raise self._invalid("Label", "color", "invalid")

    def _add_review_comment(self, asked: Asked, repo: Repo, number: int, chosen: Json) -> Json:
        comment = {
            "id": self._next_id(),
            "pull": number,
            "user": asked.who.login,
            **chosen,
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
        }
        repo.review_comments[comment["id"]] = comment
        return self._show_comment(repo, comment)

    def _gist_files(self, files: Json, given: Json) -> Json:
        """A null takes a file away; anything else has content."""
        merged = dict(files)
        for name, one in given.items():
            if one is None:
                merged.pop(name, None)
            elif isinstance(one, dict) and isinstance(one.get("content"), str) and one["content"]:
                merged[name] = one["content"]
            else:
                raise self._invalid("Gist", "files", "missing_field")
        if not merged:
            raise self._invalid("Gist", "files", "missing_field")
        return merged

    def _same_sha(self, content: bytes, path: str, sha: str | None) -> None:
        if not sha:
            raise self.refuse(422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
        if sha != _blob_sha(content):
            raise self.refuse(409, f"{path} does not match {sha}")

    def _next_id(self) -> int:
        self._numbered += 1
        return FIRST_ID + 2 * self._numbered

    # Showing things

    def _url(self, path: str) -> str:
        return f"{self.base_url}{path}"

    def _short(self, login: str) -> Json:
        user = self.users.get(login) or {"login": login, "id": 0, "node_id": "", "type": "User"}
        shown = {key: user[key] for key in ("login", "id", "node_id", "type")}
        return {**shown, "url": self._url(f"/users/{login}"), "html_url": f"https://github.com/{login}"}

    def _profile(self, login: str) -> Json:
        owned = [repo for repo in self.repos.values() if repo.owner == login]
        return {
            **self.users[login],
            "html_url": f"https://github.com/{login}",
            "public_repos": sum(not repo.data["private"] for repo in owned),
            "followers": len(self._followers(login)),
            "following": len(self.follows.get(login, [])),
            # A field that no client knows yet.
            "added_later": {"ratio": 0.1, "nothing": None, "deep": [[{}]]},
        }

    def _followers(self, login: str) -> list[Json]:
        return [self._short(name) for name, followed in self.follows.items() if login in followed]

    def _starred(self, login: str) -> list[Json]:
        names = self.starred.get(login, [])
        return [self._show_repo(repo) for repo in self.repos.values() if repo.full_name in names]

    def _show_repo(self, repo: Repo) -> Json:
        return {
            **repo.data,
            "name": repo.name,
            "full_name": repo.full_name,
            "owner": self._short(repo.owner),
            "topics": repo.topics,
            "open_issues_count": sum(issue["state"] == "open" for issue in repo.issues.values()),
            "url": self._url(f"/repos/{repo.full_name}"),
            "html_url": f"https://github.com/{repo.full_name}",
            "permissions": {"admin": True, "push": True, "pull": True},
        }

    def _show_branch(self, repo: Repo, name: str) -> Json:
        sha = repo.commits[name][0]["sha"]
        url = self._url(f"/repos/{repo.full_name}/commits/{sha}")
        return {"name": name, "commit": {"sha": sha, "url": url}, "protected": name == repo.main}

    def _show_ref(self, repo: Repo, branch: str) -> Json:
        sha = repo.commits[branch][0]["sha"]
        url = self._url(f"/repos/{repo.full_name}/git/refs/heads/{branch}")
        return {"ref": f"refs/heads/{branch}", "url": url, "object": {"type": "commit", "sha": sha}}

    def _bare_commit(self, repo: Repo, commit: Json) -> Json:
        person = {
            "name": commit["author"],
            "email": f"{commit['author']}@acme.example",
            "date": commit["date"],
        }
        return {
            "sha": commit["sha"],
            "message": commit["message"],
            "author": person,
            "committer": person,
            "html_url": f"https://github.com/{repo.full_name}/commit/{commit['sha']}",
            "parents": [{"sha": sha} for sha in commit["parents"]],
        }

    def _show_commit(self, repo: Repo, commit: Json) -> Json:
        bare = self._bare_commit(repo, commit)
        inner = {key: bare[key] for key in ("message", "author", "committer")}
        author = self._short(commit["author"])
        outer = {key: bare[key] for key in ("sha", "html_url", "parents")}
        return {**outer, "commit": inner, "author": author, "committer": author}

    def _show_file(self, repo: Repo, branch: str, path: str, *, with_content: bool = True) -> Json:
        content = repo.branches[branch][path]
        shown: Json = {
            "type": "file",
            "name": path.rpartition("/")[2],
            "path": path,
            "sha": _blob_sha(content),
            "size": len(content),
            "html_url": f"https://github.com/{repo.full_name}/blob/{branch}/{path}",
        }
        if with_content:
            # Broken into lines, as GitHub does it.
            shown |= {"encoding": "base64", "content": base64.encodebytes(content).decode()}
        return shown

    def _content_answer(self, asked: Asked, repo: Repo, branch: str, path: str) -> Answer:
        files = repo.branches[branch]
        if path in files:
            if "raw" in (asked.seen.header("Accept") or ""):
                headers = {"Content-Type": "application/vnd.github.raw; charset=utf-8"}
                return Answer(body=files[path], headers=headers)
            return json_answer(self._show_file(repo, branch, path))
        inside = f"{path}/" if path else ""
        below = [name for name in files if name.startswith(inside)]
        if not below:
            raise self.refuse(404, "Not Found")
        listed = [
            self._show_file(repo, branch, n, with_content=False) for n in below if "/" not in n[len(inside) :]
        ]
        folders = dict.fromkeys(n[len(inside) :].partition("/")[0] for n in below if "/" in n[len(inside) :])
        return json_answer([*({"type": "dir", "name": n, "path": inside + n} for n in folders), *listed])

    def _show_release(self, repo: Repo, release: Json) -> Json:
        path = f"/repos/{repo.full_name}/releases/{release['id']}"
        shown = {**release, "author": self._short(release["author"]), "url": self._url(path), "assets": []}
        return {
            **shown,
            "html_url": f"https://github.com/{repo.full_name}/releases/tag/{release['tag_name']}",
        }

    def _issue_labels(self, repo: Repo, issue: Json) -> list[Json]:
        return [repo.labels[name] for name in issue["labels"] if name in repo.labels]

    def _show_issue(self, repo: Repo, issue: Json) -> Json:
        number = issue["number"]
        kind = "pull" if number in repo.pulls else "issues"
        milestone = repo.milestones.get(issue["milestone"] or 0)
        shown = {
            **issue,
            "user": self._short(issue["user"]),
            "labels": self._issue_labels(repo, issue),
            "assignees": [self._short(login) for login in issue["assignees"]],
            "assignee": self._short(issue["assignees"][0]) if issue["assignees"] else None,
            "milestone": self._show_milestone(repo, milestone) if milestone else None,
            "comments": sum(comment["issue"] == number for comment in repo.comments.values()),
            "url": self._url(f"/repos/{repo.full_name}/issues/{number}"),
            "html_url": f"https://github.com/{repo.full_name}/{kind}/{number}",
            "repository_url": self._url(f"/repos/{repo.full_name}"),
            "performed_via_github_app": None,
        }
        if kind == "pull":
            shown["pull_request"] = {"url": self._url(f"/repos/{repo.full_name}/pulls/{number}")}
        return shown

    def _show_comment(self, repo: Repo, comment: Json) -> Json:
        number = comment.get("issue") or comment.get("pull")
        kept = {key: value for key, value in comment.items() if key not in ("issue", "pull")}
        url = f"https://github.com/{repo.full_name}/issues/{number}#issuecomment-{comment['id']}"
        return {**kept, "user": self._short(comment["user"]), "html_url": url}

    def _show_milestone(self, repo: Repo, one: Json) -> Json:
        here = [issue for issue in repo.issues.values() if issue["milestone"] == one["number"]]
        opened = sum(issue["state"] == "open" for issue in here)
        counts = {"open_issues": opened, "closed_issues": len(here) - opened}
        return {**one, **counts, "url": self._url(f"/repos/{repo.full_name}/milestones/{one['number']}")}

    def _show_pull(self, repo: Repo, pull: Json, *, whole: bool = False) -> Json:
        issue = self._show_issue(repo, pull["issue"])
        kept = {key: value for key, value in issue.items() if key not in ("pull_request", "comments")}
        sides = {
            side: {
                "label": f"{repo.owner}:{pull[side]}",
                "ref": pull[side],
                "sha": self._head_sha(repo, pull[side]),
            }
            for side in ("head", "base")
        }
        shown = {
            **kept,
            **sides,
            **{key: pull[key] for key in ("draft", "merged_at", "merge_commit_sha")},
            "requested_reviewers": [self._short(login) for login in pull["requested_reviewers"]],
            "url": self._url(f"/repos/{repo.full_name}/pulls/{issue['number']}"),
        }
        if whole:
            changed = self._changed(repo, pull)
            shown |= {
                "merged": pull["merged"],
                "mergeable": not pull["merged"],
                "changed_files": len(changed),
            }
        return shown

    def _show_review(self, repo: Repo, review: Json) -> Json:
        kept = {key: value for key, value in review.items() if key != "pull"}
        url = f"https://github.com/{repo.full_name}/pull/{review['pull']}#pullrequestreview-{review['id']}"
        return {**kept, "user": self._short(review["user"]), "html_url": url}

    def _runs(self, asked: Asked, repo: Repo) -> list[Json]:
        branch, status, event = (asked.query(name) for name in ("branch", "status", "event"))
        return [
            shown
            for shown in (self._show_run(repo, run) for run in reversed(repo.runs.values()))
            if (branch is None or shown["head_branch"] == branch)
            and (status is None or status in (shown["status"], shown["conclusion"]))
            and (event is None or shown["event"] == event)
        ]

    def _show_run(self, repo: Repo, run: Json) -> Json:
        status, conclusion = ("completed", "cancelled") if run["cancelled"] else RUN_STEPS[run["step"]]
        kept = {key: value for key, value in run.items() if key not in ("step", "cancelled", "inputs")}
        return {
            **kept,
            "status": status,
            "conclusion": conclusion,
            "actor": self._short(run["actor"]),
            "jobs_url": self._url(f"/repos/{repo.full_name}/actions/runs/{run['id']}/jobs"),
            "logs_url": self._url(f"/repos/{repo.full_name}/actions/runs/{run['id']}/logs"),
            "html_url": f"https://github.com/{repo.full_name}/actions/runs/{run['id']}",
        }

    def _job(self, repo: Repo, run: Json) -> Json:
        shown = self._show_run(repo, run)
        kept = {key: shown[key] for key in ("status", "conclusion", "head_sha", "run_attempt")}
        return {"id": run["id"] + 1, "run_id": run["id"], "name": "build", **kept, "steps": []}

    def _artifact(self, run: Json) -> Json:
        return {"id": run["id"] + 1, "name": "report", "size_in_bytes": 68, "expired": False}

    def _show_gist(self, gist: Json) -> Json:
        files = {
            name: {"filename": name, "type": "text/plain", "size": len(content.encode()), "content": content}
            for name, content in gist["files"].items()
        }
        urls = {"url": self._url(f"/gists/{gist['id']}"), "html_url": f"https://gist.github.com/{gist['id']}"}
        return {**gist, "owner": self._short(gist["owner"]), "files": files, **urls}

    def _created(self, shown: Json) -> Answer:
        # A branch may be called anything, and a header may not hold everything.
        location = quote(shown.get("url", ""), safe=":/%", errors="replace")
        return json_answer(shown, 201, {"Location": location} if location else None)

    def _stored(self, name: str, content: bytes, content_type: str) -> Answer:
        self.storage.keep(name, content, content_type)
        return Answer(status=302, headers={"Location": self.storage.sign(name, seconds=60)})

    # Pages and search

    def _page(self, asked: Asked, found: list[Json]) -> Answer:
        shown, headers = self._cut(asked, found)
        return json_answer(shown, headers=headers)

    def _counted(self, asked: Asked, name: str, found: list[Json]) -> Answer:
        shown, headers = self._cut(asked, found)
        return json_answer({"total_count": len(found), name: shown}, headers=headers)

    def _found(self, asked: Asked, found: list[Json]) -> Answer:
        shown, headers = self._cut(asked, [{**one, "score": 1.0} for one in found])
        answer = {"total_count": len(found), "incomplete_results": False, "items": shown}
        return json_answer(answer, headers=headers)

    def _cut(self, asked: Asked, found: list[Json]) -> tuple[list[Json], dict[str, str]]:
        """One page, and the Link header (RFC 8288) that leads to the others."""
        per_page = min(_whole_number(asked.query("per_page"), 30), 100)
        page = _whole_number(asked.query("page"), 1)
        last = max(1, -(-len(found) // per_page))
        wanted = [("prev", page - 1), ("next", page + 1), ("first", 1), ("last", last)]
        links = [
            f'<{self._page_url(asked, number)}>; rel="{name}"'
            for name, number in wanted
            if 1 <= number <= last and number != page
        ]
        shown = found[(page - 1) * per_page : page * per_page]
        return shown, {"Link": ", ".join(links)} if links else {}

    def _page_url(self, asked: Asked, number: int) -> str:
        query = [(name, value) for name, value in asked.seen.query if name != "page"]
        return self._url(f"{asked.seen.path}?{urlencode([*query, ('page', str(number))])}")

    def _search_terms(self, asked: Asked) -> tuple[list[str], dict[str, list[str]]]:
        """The words of `q`, and its qualifiers: `repo:acme/webapp is:open label:"good first issue"`."""
        text = asked.query("q")
        if not text or not text.strip():
            raise self._invalid("Search", "q", "missing")
        try:
            terms = shlex.split(text)
        except ValueError:
            terms = text.split()
        words: list[str] = []
        wanted: dict[str, list[str]] = {}
        for term in terms:
            name, colon, value = term.partition(":")
            if colon and name in _QUALIFIERS:
                wanted.setdefault(name, []).append(value)
            else:
                words.append(term.lower())
        return words, wanted

    def _repo_fits(self, repo: Repo, wanted: dict[str, list[str]]) -> bool:
        owners = [*wanted.get("user", []), *wanted.get("org", [])]
        names = [name.lower() for name in wanted.get("repo", [])]
        languages = [name.lower() for name in wanted.get("language", [])]
        return (
            (not names or repo.full_name.lower() in names)
            and (not owners or repo.owner in owners)
            and (not languages or str(repo.data["language"]).lower() in languages)
            and all(topic in repo.topics for topic in wanted.get("topic", []))
        )


class _Faults(Refused):
    """Faults of a body on their way to where the resource is known that they are told of."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(Answer(status=422))
        self.faults = faults


_QUALIFIERS = {
    "repo",
    "user",
    "org",
    "language",
    "topic",
    "is",
    "state",
    "type",
    "label",
    "author",
    "assignee",
    "in",
    "sort",
}
_ISSUE_FIELDS = {
    "body": Field(),
    "labels": LIST,
    "assignees": LIST,
    "assignee": Field(),
    "milestone": Field(kind=(int, str)),
}
_MILESTONE_FIELDS = {
    "title": Field(least=1),
    "state": Field(choices=("open", "closed")),
    "description": Field(),
    "due_on": Field(),
}


def _is_org(user: Json) -> bool:
    return bool(user["type"] == "Organization")


def _is_assigned(issue: Json, assignee: str | None) -> bool:
    if assignee in (None, "*"):
        return assignee is None or bool(issue["assignees"])
    return not issue["assignees"] if assignee == "none" else assignee in issue["assignees"]


def _issue_fits(issue: Json, wanted: dict[str, list[str]], *, is_pull: bool) -> bool:
    tests: dict[str, Callable[[str], bool]] = {
        "is": lambda value: value in (issue["state"], "pr" if is_pull else "issue", "public"),
        "type": lambda value: value == ("pr" if is_pull else "issue"),
        "state": lambda value: value == issue["state"],
        "label": lambda value: value in issue["labels"],
        "author": lambda value: value == issue["user"],
        "assignee": lambda value: value in issue["assignees"],
    }
    return all(fits(value) for name, fits in tests.items() for value in wanted.get(name, []))


def _holds(text: str, words: list[str]) -> bool:
    return all(word in text.lower() for word in words)


def _repo_name(wanted: str) -> str:
    return re.sub(r"[^\w.-]", "-", wanted, flags=re.ASCII)


def _label_name(label: object) -> str:
    return str(label.get("name")) if isinstance(label, dict) else str(label)


def _blob_sha(content: bytes) -> str:
    """As git names a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _whole_number(text: str | None, default: int) -> int:
    """GitHub takes the default where a number makes no sense."""
    sane = text is not None and text.isascii() and text.isdigit() and 0 < len(text) < 10
    return max(1, int(text)) if sane and text is not None else default


def _rate_headers(spent: Spent, resource: str) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(spent.limit),
        "X-RateLimit-Remaining": str(spent.remaining),
        "X-RateLimit-Used": str(spent.limit - spent.remaining),
        "X-RateLimit-Reset": str(spent.reset),
        "X-RateLimit-Resource": resource,
    }
