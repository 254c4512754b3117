"""What an agent learns before it calls: three levels, search and download, per key and per user."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.tenants.grants import Grant
from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.keys import SqlKeys
from skills_catalog.catalog import LIKELY
from skills_catalog.loader import SHIPPED, load_catalog
from tests.demo import write_definitions
from tests.harness import RunningGateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CATALOG = load_catalog([SHIPPED])


def definition(slug: str, *auth: dict[str, Any]) -> dict[str, Any]:
    return {
        "slug": slug,
        "name": slug.capitalize(),
        "description": f"The integration {slug} of this test.",
        "base_url": "https://api.example",
        "auth": list(auth),
        "actions": {
            "old_way": {
                "description": "Does it as it was done before.",
                "request": "GET /old",
                "deprecated": {"since": "2026-01-01", "sunset": "2027-01-01", "use": "new_way"},
                "examples": [{"params": {}, "response": {"status": 200, "data": {}}}],
            },
            "new_way": {
                "description": "Does it as it is done now.",
                "request": "GET /new",
                "examples": [{"params": {}, "response": {"status": 200, "data": {}}}],
            },
        },
    }


CONSENT = {
    "name": "oauth",
    "type": "oauth2",
    "title": "Sign in",
    "authorization_url": "https://login.example/authorize",
    "token_url": "https://login.example/token",
}
DEFINITIONS = (
    definition("consent", CONSENT),
    definition("registered", CONSENT),
    definition("open_data", {"name": "none", "type": "none", "title": "Nothing"}),
)
SLUGS = sorted({*load_catalog([SHIPPED]).integrations, "consent", "open_data", "registered"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    async with gateway(
        folder,
        definitions=write_definitions(folder, *DEFINITIONS),
        integrations={"registered": {"client_id": "id", "client_secret": "secret"}},
    ) as running:
        yield running


async def read(live: RunningGateway, path: str, key: str | None = None) -> Any:
    answer = await live.ask("GET", path, key=key)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


async def scoped_key(live: RunningGateway, *scopes: str) -> str:
    settings, _ = load_settings(
        {"SKILLWAY_DATA_DIR": str(live.data_dir), "SKILLWAY_CONFIG": str(live.data_dir.parent / "skills.yaml")}
    )
    async with open_installation(settings) as opened:
        _, secret = await SqlKeys(opened.database).create(live.org.id, "narrow", "live", Grant(scopes=scopes))
    return secret.reveal()


# Level 1


async def test_level_one_lists_every_integration_with_all_that_a_choice_needs(live: RunningGateway) -> None:
    listed = await read(live, "/v1/skills")
    assert list(listed) == ["integrations"]
    items = {item["slug"]: item for item in listed["integrations"]}
    assert list(items) == SLUGS
    assert items["github"] == {
        "slug": "github",
        "name": "GitHub",
        "description": "Issues, pull requests, repositories, actions, releases, gists and search.",
        "categories": ["developer-tools"],
        "auth": ["oauth", "token"],
        "connected": False,
        "available": True,
        "skill_count": 90,
        "version": "1.0.1",
    }
    assert [items[slug]["skill_count"] for slug in ("overskill", "skycot", "overten", "overscore")] == [13, 10, 24, 2]
    assert items["skycot"]["lifecycle"] == "planned"
    assert items["overten"]["version"] == "1.0.0-alpha"


async def test_what_nobody_can_connect_yet_says_why_with_the_redirect_uri_to_register(live: RunningGateway) -> None:
    items = {item["slug"]: item for item in (await read(live, "/v1/skills"))["integrations"]}
    assert items["consent"]["available"] is False
    reason = items["consent"]["unavailable_reason"]
    assert f"{live.url}/oauth/callback/consent" in reason
    assert "skills.yaml" in reason
    assert items["registered"]["available"] is True
    assert "unavailable_reason" not in items["registered"]
    refused = await live.ask("POST", "/v1/connect", body={"integration": "consent"})
    assert refused.status == 403
    assert f"{live.url}/oauth/callback/consent" in refused.json()["message"]


async def test_orgs_that_know_nothing_of_each_other_are_told_their_own_redirect_uri(tmp_path: Path) -> None:
    async with gateway(
        tmp_path,
        definitions=write_definitions(tmp_path, *DEFINITIONS),
        integrations={"registered": {"client_id": "id", "client_secret": "secret"}},
        tenancy="separate",
        public_url="https://skillway.example",
    ) as running:
        items = {item["slug"]: item for item in (await read(running, "/v1/skills"))["integrations"]}
        # The installation's own client serves nobody here.
        for slug in ("consent", "registered"):
            assert items[slug]["available"] is False
            reason = items[slug]["unavailable_reason"]
            assert f"https://skillway.example/oauth/callback/{slug}." in reason
            assert "skillway orgs set-client" in reason


async def test_connected_is_of_one_user(live: RunningGateway) -> None:
    made = await live.connect("overskill", {"api_key": "os_abc"}, user="ada")

    async def connected(user: str) -> set[str]:
        listed = await read(live, f"/v1/skills?user={user}")
        return {item["slug"] for item in listed["integrations"] if item["connected"]}

    # What needs no connection counts as connected.
    assert await connected("ada") == {"overskill", "open_data"}
    assert await connected("bob") == {"open_data"}
    assert {item["slug"] for item in (await read(live, "/v1/skills"))["integrations"] if item["connected"]} == {"open_data"}
    assert (await read(live, "/v1/skills/overskill?user=ada"))["connected"] is True
    assert (await read(live, "/v1/skills/overskill?user=bob"))["connected"] is False
    found = await read(live, "/v1/skills/search?q=list_apps&user=ada")
    assert found["skills"][0]["connected"] is True
    assert (await live.ask("DELETE", f"/v1/connections/{made}")).status == 204
    assert await connected("ada") == {"open_data"}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
async def test_pages_together_are_the_whole_list(live: RunningGateway, limit: int) -> None:
    slugs: list[str] = []
    cursor = ""
    while True:
        page = await read(live, f"/v1/skills?limit={limit}{cursor}")
        slugs += [item["slug"] for item in page["integrations"]]
        assert len(page["integrations"]) <= limit
        if "next_cursor" not in page:
            break
        assert re.fullmatch(r"[\w-]+", page["next_cursor"])
        cursor = f"&cursor={page['next_cursor']}"
    assert slugs == SLUGS


# Levels 2 and 3


async def test_level_two_lists_the_actions_of_one_integration(live: RunningGateway) -> None:
    for slug, integration in CATALOG.integrations.items():
        listed = await read(live, f"/v1/skills/{slug}")
        assert list(listed) == ["integration", "name", "description", "connected", "auth", "skills"]
        assert [method["name"] for method in listed["auth"]] == [method.name for method in integration.auth]
        assert [skill["name"] for skill in listed["skills"]] == list(integration.skills)
        for skill in listed["skills"]:
            marks = {"lifecycle"} if slug == "skycot" else set()
            assert set(skill) == {"name", "title", "method", "category", "description", "effect"} | marks
            assert all(isinstance(text, str) and text for text in skill.values())
    # How each method is connected: what `credentials` takes, or nothing where a browser is needed.
    methods = {method["name"]: method for method in (await read(live, "/v1/skills/overskill"))["auth"]}
    assert (methods["api_key"]["credentials"], methods["oauth"]["credentials"]) == (["api_key"], [])
    (method,) = (await read(live, "/v1/skills/skycot"))["auth"]
    assert [(one["name"], one["required"]) for one in method["fields"]] == [("domain", False)]
    (create,) = [one for one in (await read(live, "/v1/skills/github"))["skills"] if one["name"] == "create_issue"]
    assert create == {
        "name": "create_issue",
        "title": "Create issue",
        "method": "POST",
        "category": "issues",
        "description": "Open an issue in a repository.",
        "effect": "create",
    }


async def test_level_three_says_everything_about_one_action(live: RunningGateway) -> None:
    document = await read(live, "/v1/skills/github/create_issue")
    assert document["integration"] == "github"
    assert (document["method"], document["path"]) == ("POST", "/repos/{+repo}/issues")
    assert (document["effect"], document["idempotent"], document["scopes"]) == ("create", False, ["repo"])
    schema = document["parameters"]
    assert (schema["type"], schema["additionalProperties"]) == ("object", False)
    assert schema["required"] == ["repo", "title"]
    assert schema["properties"]["labels"]["items"] == {"type": "string"}
    example = document["examples"][0]
    assert example["params"] == {"repo": "acme/webapp", "title": "Bug report"}
    assert example["response"]["status"] == 201
    assert example["cli"].startswith("skillway run github create_issue ")
    assert {"code": "410", "fix": "Issues are switched off in this repository."}.items() <= {
        key: value for error in document["errors"] if error["code"] == "410" for key, value in error.items()
    }.items()


async def test_every_action_has_its_document(live: RunningGateway) -> None:
    for slug, integration in CATALOG.integrations.items():
        for name, skill in integration.skills.items():
            document = await read(live, f"/v1/skills/{slug}/{name}")
            assert (document["integration"], document["name"]) == (slug, name)
            assert document["examples"] and document["errors"] is not None
            # What is sent and never shown is not there.
            assert set(document["parameters"]["properties"]) == set(skill.params)
            for text in document["parameters"]["properties"].values():
                assert isinstance(text, dict)


async def test_an_action_that_will_go_says_when_and_what_to_use(live: RunningGateway) -> None:
    document = await read(live, "/v1/skills/open_data/old_way")
    assert document["deprecated"] == {"since": "2026-01-01", "sunset": "2027-01-01", "use": "new_way"}
    assert "deprecated" not in await read(live, "/v1/skills/open_data/new_way")


async def test_planned_actions_are_marked(live: RunningGateway) -> None:
    document = await read(live, "/v1/skills/skycot/deploy_build")
    assert (document["lifecycle"], document["requires_plan"]) == ("planned", "Business+")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/skills/githb", "github"),
        ("/v1/skills/over_ten", "overten"),
        ("/v1/skills/github/creat_issue", "create_issue"),
        ("/v1/skills/github/createIssue", "create_issue"),
        ("/v1/skills/overscore/query", "run_query"),
        ("/v1/gihub/download", "github"),
    ],
)
async def test_a_name_that_is_nearly_right_is_suggested(live: RunningGateway, path: str, meant: str) -> None:
    answer = await live.ask("GET", path)
    assert (answer.status, answer.json()["error"]) == (404, "not_found")
    assert meant in answer.json()["hint"]


async def test_a_name_that_is_like_none_gets_no_suggestion(live: RunningGateway) -> None:
    for path in ("/v1/skills/zzzzzzzzzz", "/v1/skills/github/zzzzzzzzzz"):
        answer = await live.ask("GET", path)
        assert (answer.status, answer.json()["error"]) == (404, "not_found")
        assert "hint" not in answer.json()
        assert "zzzzzzzzzz" in answer.json()["message"]


# Who asks


async def test_nothing_is_shown_without_a_key(live: RunningGateway) -> None:
    for path in ("/v1/skills", "/v1/skills/github", "/v1/skills/github/get_repo", "/v1/skills/search?q=a",
                 "/v1/github/download", "/v1/skills/nope"):
        answer = await live.ask("GET", path, key="")
        assert (answer.status, answer.json()["error"]) == (401, "unauthorized")


async def test_a_key_sees_the_integrations_of_its_scopes(live: RunningGateway) -> None:
    key = await scoped_key(live, "overten", "skycot")
    assert [item["slug"] for item in (await read(live, "/v1/skills", key))["integrations"]] == ["overten", "skycot"]
    found = await read(live, "/v1/skills/search?q=create&limit=200", key)
    assert {skill["integration"] for skill in found["skills"]} == {"overten", "skycot"}
    assert (await read(live, "/v1/skills/overten", key))["integration"] == "overten"
    for path in ("/v1/skills/github", "/v1/skills/github/get_repo", "/v1/github/download"):
        answer = await live.ask("GET", path, key=key)
        assert (answer.status, answer.json()["error"]) == (403, "scope_not_allowed")
    called = await live.call("github", "get_repo", {"repo": "a/b"}, key=key)
    assert (called.status, called.json()["error"]) == (403, "scope_not_allowed")
    page = await read(live, "/v1/skills?limit=1", key)
    assert [item["slug"] for item in page["integrations"]] == ["overten"]
    page = await read(live, f"/v1/skills?limit=1&cursor={page['next_cursor']}", key)
    assert ([item["slug"] for item in page["integrations"]], "next_cursor" in page) == (["skycot"], False)


# Search


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("create issue", "github.create_issue"),
        ("CREATE_ISSUE", "github.create_issue"),
        ("merge a pull request on github", "github.merge_pull"),
        ("generate slides", "overten.generate_slides"),
        ("deploy dashboard", "overscore.deploy_dashboard"),
        ("download build", "skycot.download_build"),
        ("revoke user access", "overskill.revoke_user_access"),
    ],
)
async def test_search_finds_an_action_by_its_words(live: RunningGateway, query: str, best: str) -> None:
    found = (await read(live, f"/v1/skills/search?q={query.replace(' ', '+')}"))["skills"]
    assert f"{found[0]['integration']}.{found[0]['action']}" == best
    assert set(found[0]) == {"integration", "action", "description", "effect", "score", "connected"}
    scores = [skill["score"] for skill in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


async def test_search_gives_as_many_as_are_asked_for(live: RunningGateway) -> None:
    assert len((await read(live, "/v1/skills/search?q=list"))["skills"]) == 20
    assert len((await read(live, "/v1/skills/search?q=list&limit=3"))["skills"]) == 3
    assert len((await read(live, "/v1/skills/search?q=list&limit=200"))["skills"]) > 20
    assert (await read(live, "/v1/skills/search?q=zzzzzzzz"))["skills"] == []
    assert (await read(live, "/v1/skills/search?q=%22%27%3B--%25_%2A"))["skills"] == []


async def test_search_tells_whether_anything_is_likely_to_fit(live: RunningGateway) -> None:
    found = await read(live, "/v1/skills/search?q=open+an+isue+in+github")
    assert found["likely"] is True and "hint" not in found
    assert found["skills"][0]["score"] >= LIKELY
    for text in ("zzzzzzzz", "water+the+kitchen+herbs"):
        found = await read(live, f"/v1/skills/search?q={text}")
        assert found["likely"] is False and "other words" in found["hint"]
        assert all(skill["score"] < LIKELY for skill in found["skills"])


async def test_search_keeps_to_an_integration_an_effect_and_what_is_connected(live: RunningGateway) -> None:
    found = (await read(live, "/v1/skills/search?q=delete+it&integration=overten&effect=delete&limit=200"))["skills"]
    assert {(skill["integration"], skill["effect"]) for skill in found} == {("overten", "delete")}
    everything = (await read(live, "/v1/skills/search?q=old+way&limit=200&user=ada"))["skills"]
    assert {skill["connected"] for skill in everything} == {True, False}
    connected = (await read(live, "/v1/skills/search?q=old+way&limit=200&user=ada&connected=1"))["skills"]
    assert connected and connected == [skill for skill in everything if skill["connected"]]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("integration=githb", 404, "not_found"),
        ("integration=UP", 400, "bad_request"),
        ("effect=reads", 400, "bad_request"),
        ("connected=maybe", 400, "bad_request"),
    ],
)
async def test_search_refuses_a_filter_that_it_does_not_know(live: RunningGateway, query: str, status: int, code: str) -> None:
    answer = await live.ask("GET", f"/v1/skills/search?q=issue&{query}")
    assert (answer.status, answer.json()["error"]) == (status, code)
    assert query.split("=")[0] in answer.json()["message"].lower()


async def test_search_in_an_integration_that_the_key_is_not_for_is_refused(live: RunningGateway) -> None:
    key = await scoped_key(live, "overten")
    answer = await live.ask("GET", "/v1/skills/search?q=issue&integration=github", key=key)
    assert (answer.status, answer.json()["error"]) == (403, "scope_not_allowed")


# Download


async def test_a_download_is_a_skill_with_one_file_for_each_action(live: RunningGateway) -> None:
    for slug, integration in CATALOG.integrations.items():
        document = await read(live, f"/v1/{slug}/download")
        assert (list(document), document["slug"]) == (["slug", "name", "files"], slug)
        assert document["name"] == f"skillway-{slug.replace('_', '-')}"
        files = {file["file_path"]: file["content"] for file in document["files"]}
        assert len(files) == len(document["files"])
        assert next(iter(files)) == "SKILL.md"
        for name, skill in integration.skills.items():
            page = files[f"endpoints/{skill.category}/{name}.md"]
            assert page.startswith(f"---\nname: {name}\nmethod: {skill.request.method}\n")
        assert f"POST {live.url}/v1/{slug}/{{action_name}}" in files["SKILL.md"]
        for path in files:
            assert re.fullmatch(r"(?:[a-z0-9][\w-]*/)*[\w-]+\.md", path), path
        assert live.org.live not in json.dumps(document)


async def test_skill_md_opens_with_what_an_agent_reads_first(live: RunningGateway) -> None:
    files = (await read(live, "/v1/github/download"))["files"]
    head = files[0]["content"].split("---\n")[1]
    assert head.startswith('name: skillway-github\ndescription: "Issues, pull requests, ')
    for line in ('allowed-tools: "Bash(skillway:*) Read Grep Glob"', 'metadata:\n  version: "1.0.1"\n'):
        assert line in head


async def test_a_download_is_in_the_form_that_is_asked_for(live: RunningGateway) -> None:
    for form, main in (("agent-skill", "SKILL.md"), ("cursor", "skillway-github.mdc"), ("windsurf", "skillway-github.md")):
        files = (await read(live, f"/v1/github/download?form={form}"))["files"]
        assert files[0]["file_path"] == main
    refused = await live.ask("GET", "/v1/github/download?form=emacs")
    assert (refused.status, refused.json()["details"]["fields"][0]["path"]) == (400, "form")


# Caching


@pytest.mark.parametrize(
    "path",
    ["/v1/skills", "/v1/skills?user=ada&limit=2", "/v1/skills/github", "/v1/skills/github/create_issue",
     "/v1/skills/search?q=issue", "/v1/github/download", "/v1/connections"],
)
async def test_what_did_not_change_is_not_sent_again(live: RunningGateway, path: str) -> None:
    first = await live.ask("GET", path)
    tag = first.headers["ETag"]
    assert re.fullmatch(r'"[\w-]{16,}"', tag)
    assert "private" in first.headers["Cache-Control"]
    assert {"Authorization", "X-API-Key"} <= set(first.headers["Vary"].split(", "))
    for known in (tag, f"W/{tag}", f'"other", {tag}', f'W/"a",W/{tag}'):
        again = await live.ask("GET", path, headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    for other in ('"other"', tag[:-2] + '"', tag.strip('"')):
        assert (await live.ask("GET", path, headers={"If-None-Match": other})).body == first.body


async def test_a_tag_changes_with_what_it_stands_for(live: RunningGateway) -> None:
    async def tag(path: str, key: str | None = None) -> str:
        return (await live.ask("GET", path, key=key)).headers["ETag"]

    before, other = await tag("/v1/skills"), await tag("/v1/skills?user=someone")
    assert before == other
    made = await live.connect("overskill", {"api_key": "os_abc"})
    assert await tag("/v1/skills") != before
    assert await tag("/v1/skills?user=someone") == other
    assert await tag("/v1/skills", await scoped_key(live, "github")) != before
    await live.ask("DELETE", f"/v1/connections/{made}")
    assert await tag("/v1/skills") == before


async def test_a_tag_opens_nothing_without_a_key(live: RunningGateway) -> None:
    tag = (await live.ask("GET", "/v1/skills")).headers["ETag"]
    answer = await live.ask("GET", "/v1/skills", key="", headers={"If-None-Match": tag})
    assert answer.status == 401


async def test_an_integration_that_is_switched_off_is_not_there(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(gateway(tmp_path, integrations={"github": {"enabled": False}}))
        slugs = [item["slug"] for item in (await read(running, "/v1/skills"))["integrations"]]
        assert slugs == sorted(load_catalog([SHIPPED]).integrations.keys() - {"github"})
        for method, path in (("GET", "/v1/skills/github"), ("POST", "/v1/github/get_repo"), ("GET", "/v1/github/download")):
            answer = await running.ask(method, path, body={} if method == "POST" else None)
            assert (answer.status, answer.json()["error"]) == (404, "not_found")
