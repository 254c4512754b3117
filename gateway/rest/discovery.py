"""The three levels of discovery, search and download."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from gateway.core.discovery import Sought
from gateway.core.tenants.access import user_of
from gateway.core.tenants.keys import Principal
from gateway.rest.fields import ACTION, CURSOR, INTEGRATION, MOST_LISTED, USER, after, cursor_of
from gateway.rest.shapes import ACTION as ACTION_SHAPE
from gateway.rest.shapes import EFFECT, FOUND, INTEGRATION_LISTED, SKILL_FILES
from gateway.rest.shapes import INTEGRATION as INTEGRATION_SHAPE
from gateway.web.answers import tagged
from gateway.web.context import services
from gateway.web.operations import Answer, Asked, choice, number, operation, switch, text
from gateway.web.shapes import TEXT, YES_OR_NO, listed, shape
from skills_catalog.catalog import LIKELY
from skills_catalog.exporting.skill_files import FORMS

_GROUP = "Discovery"
_UNCHANGED = Answer(about="You have it already.", headers=("ETag",))
_FILE = {"file_path": "SKILL.md", "content": "---\nname: skillway-github\n…"}


@operation(
    "list_integrations",
    "List the integrations that this key may use",
    group=_GROUP,
    about="All of them at once, or page by page with `limit`.",
    query=[USER, number("limit", "How many at most; left out, all.", low=1, high=MOST_LISTED), CURSOR],
    answers={
        200: Answer(
            about="The integrations by slug.",
            schema=shape(integrations=listed(INTEGRATION_LISTED), optional={"next_cursor": TEXT}),
            example={
                "integrations": [
                    {
                        "slug": "github",
                        "name": "GitHub",
                        "description": "Issues, pull requests and repositories.",
                        "categories": ["developer-tools"],
                        "auth": ["oauth", "token"],
                        "connected": True,
                        "available": True,
                        "skill_count": 90,
                        "version": "1.0.0",
                    }
                ]
            },
            headers=("ETag",),
        ),
        304: _UNCHANGED,
    },
)
async def integrations(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    limit: int | None = asked.query.get("limit")
    listed = await services(request).discovery.integrations(who, user_of(who, asked.query.get("user")))
    if "cursor" in asked.query:
        start = after(asked.query["cursor"])
        listed = [item for item in listed if item["slug"] > start]
    answer: dict[str, object] = {"integrations": listed[:limit]}
    if limit is not None and len(listed) > limit:
        answer["next_cursor"] = cursor_of(listed[limit - 1]["slug"])
    return tagged(request, answer)


@operation(
    "search_actions",
    "Find actions by what they do",
    group=_GROUP,
    about=(
        "Ranked over everything that this key may use, whatever the words, slips of typing included; the same words "
        f"give the same order. Scores of different searches compare: where the best is below {LIKELY}, probably no "
        "action does this."
    ),
    query=[
        text("q", "What you want to do, in your words.", most=400, required=True),
        replace(INTEGRATION, about="Only of this integration.", required=False),
        choice("effect", "Only of this effect.", EFFECT["enum"]),
        switch("connected", "Only of integrations that the user has connected."),
        USER,
        number("limit", "How many at most.", low=1, high=MOST_LISTED, default=20),
    ],
    answers={
        200: Answer(
            about="The actions, the best first. Of several services that are named, in turns.",
            schema=shape(skills=listed(FOUND), likely=YES_OR_NO, optional={"hint": TEXT}),
            example={
                "skills": [
                    {
                        "integration": "github",
                        "action": "create_issue",
                        "description": "Open an issue in a repository.",
                        "effect": "create",
                        "score": 0.8732,
                        "connected": True,
                    }
                ],
                "likely": True,
            },
            headers=("ETag",),
        ),
        304: _UNCHANGED,
    },
    refuses=["scope_not_allowed", "not_found"],
    example={"query": {"q": "create issue"}},
)
async def search(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    said = asked.query
    sought = Sought(
        text=said["q"],
        limit=said["limit"],
        integration=said.get("integration"),
        effect=said.get("effect"),
        connected=said["connected"] in ("1", "true"),
    )
    return tagged(request, await services(request).discovery.search(who, sought, user_of(who, said.get("user"))))


@operation(
    "get_integration",
    "List the actions of an integration",
    group=_GROUP,
    about="With the ways to connect it.",
    path=[INTEGRATION],
    query=[USER],
    answers={
        200: Answer(
            about="The actions that this key may use.",
            schema=INTEGRATION_SHAPE,
            example={
                "integration": "github",
                "name": "GitHub",
                "description": "Issues, pull requests and repositories.",
                "connected": True,
                "auth": [
                    {"name": "token", "type": "bearer", "title": "Token", "credentials": ["token"], "fields": []}
                ],
                "skills": [
                    {
                        "name": "create_issue",
                        "title": "Create issue",
                        "method": "POST",
                        "category": "issues",
                        "description": "Open an issue in a repository.",
                        "effect": "create",
                    }
                ],
            },
            headers=("ETag",),
        ),
        304: _UNCHANGED,
    },
    refuses=["scope_not_allowed", "not_found"],
    example={"path": {"integration": "github"}},
)
async def integration(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    slug, user = request.match_info["integration"], user_of(who, asked.query.get("user"))
    return tagged(request, await services(request).discovery.integration(who, slug, user))


@operation(
    "get_action",
    "Read everything about an action",
    group=_GROUP,
    about="Its params as a JSON Schema, calls with their answers, and what refusals of the upstream mean.",
    path=[INTEGRATION, ACTION],
    answers={
        200: Answer(
            about="The action.",
            schema=ACTION_SHAPE,
            example={
                "integration": "github",
                "name": "create_issue",
                "title": "Create issue",
                "method": "POST",
                "path": "/repos/{+repo}/issues",
                "category": "issues",
                "description": "Open an issue in a repository.",
                "effect": "create",
                "idempotent": False,
                "scopes": ["repo"],
                "auth": ["oauth", "token"],
                "parameters": {
                    "type": "object",
                    "properties": {"repo": {"type": "string"}, "title": {"type": "string"}},
                    "required": ["repo", "title"],
                    "additionalProperties": False,
                },
                "examples": [
                    {
                        "cli": "skillway run github create_issue --repo acme/webapp --title 'Bug report'",
                        "params": {"repo": "acme/webapp", "title": "Bug report"},
                        "response": {"status": 201, "data": {"number": 7}},
                    }
                ],
                "errors": [{"code": "410", "status": 410, "description": "Issues are off.", "fix": "Turn them on."}],
            },
            headers=("ETag",),
        ),
        304: _UNCHANGED,
    },
    refuses=["scope_not_allowed", "not_found"],
    example={"path": {"integration": "github", "action": "create_issue"}},
)
async def action(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    slug, name = request.match_info["integration"], request.match_info["action"]
    return tagged(request, services(request).discovery.action(who, slug, name))


@operation(
    "download_integration",
    "Download an integration as an Agent Skill",
    group=_GROUP,
    about="The files that an agent reads from its disk, for a folder of that `name`.",
    path=[INTEGRATION],
    query=[choice("form", "What they are for: an Agent Skill, or a rule of Cursor or Windsurf.", FORMS, default="agent-skill")],
    answers={
        200: Answer(
            about="The files.",
            schema=SKILL_FILES,
            example={"slug": "github", "name": "skillway-github", "files": [_FILE]},
            headers=("ETag",),
        ),
        304: _UNCHANGED,
    },
    refuses=["scope_not_allowed", "not_found"],
    example={"path": {"integration": "github"}},
)
async def download(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return tagged(request, services(request).discovery.download(who, request.match_info["integration"], asked.query["form"]))
