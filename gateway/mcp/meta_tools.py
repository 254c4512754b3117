"""The tools that lead to every action: find one, read about it, call it, connect an account, read on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.connections.wishes import Wish
from gateway.core.discovery import Sought
from gateway.core.errors import Refusal
from gateway.core.run import Run
from gateway.core.tenants.access import check_level, check_live, check_scope, user_of
from gateway.mcp import calling
from gateway.mcp.asked import Asked, Json
from gateway.mcp.rendering import of_json, of_value
from gateway.mcp.tasks import outcome
from gateway.web.operations import ANYTHING, NAME, SLUG, Field, choice, number, text
from gateway.web.tool_options import BUDGET, FOR_MODELS, USER

#: Hits of one search, and at most.
_HITS, _MOST_HITS = 8, 50
#: An example's answer is shown up to so many bytes: its form, not its content.
_LARGEST_EXAMPLE = 1200
#: Items of a piece of a kept answer, and seconds that one look may wait.
_PAGE, _LONGEST_WAIT = 50, 60

_INTEGRATION = Field(name="integration", about="Slug of the integration, such as `github`.", schema=SLUG, required=True)
_ACTION = Field(name="action", about="Name of the action, such as `create_issue`.", schema=NAME, required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaTool:
    """A tool of ours: what it is told to a model as, and what runs it with checked arguments."""

    name: str
    title: str
    description: str
    takes: Mapping[str, Field]
    annotations: Mapping[str, bool]
    run: Callable[[Asked, Mapping[str, Any], Mapping[str, Any]], Awaitable[Json]]


async def _search(asked: Asked, given: Mapping[str, Any], options: Mapping[str, Any]) -> Json:
    user = user_of(asked.who, given.get("user") or options.get("user"))
    if (slug := given.get("integration")) is not None:
        asked.ours.catalogs.integration(slug)
        _check_served(asked, slug)
    sought = Sought(
        text=given["query"],
        limit=given["limit"],
        integration=slug,
        effect=given.get("effect"),
        connected=given["connected"],
        among=asked.only,
    )
    found = await asked.ours.discovery.search(asked.who, sought, user)
    answer: Json = {"skills": [{name: hit[name] for name in _OF_HIT} for hit in found["skills"]], "likely": found["likely"]}
    if not found["likely"]:
        served = [one.slug for one in asked.ours.discovery.usable(asked.who) if one.skills and asked.serves(one.slug)]
        answer["hint"] = f"{found['hint']} There are: {', '.join(served)[:1000]}."
    return of_value(answer)


_OF_HIT = ("integration", "action", "description", "effect", "score", "connected")


async def _describe(asked: Asked, given: Mapping[str, Any], options: Mapping[str, Any]) -> Json:
    slug, name = given["integration"], given["action"]
    _check_served(asked, slug)
    said = asked.ours.discovery.action(asked.who, slug, name)
    about: Json = {"integration": slug, "action": name}
    about |= {one: said[one] for one in ("description", "effect", "parameters")}
    about |= {one: said[one] for one in ("output", "deprecated", "requires_plan") if one in said}
    if said["examples"]:
        example = said["examples"][0]
        about["example"] = {"params": example["params"]}
        if len(orjson.dumps(example["response"])) <= _LARGEST_EXAMPLE:
            about["example"]["response"] = example["response"]
    if said["errors"]:
        about["errors"] = [{"code": one["code"], "fix": one["fix"]} for one in said["errors"] if one["fix"]]
    return of_value(about)


async def _call(asked: Asked, given: Mapping[str, Any], options: Mapping[str, Any]) -> Json:
    _check_served(asked, given["integration"])
    said = {name: given[name] for name in _CALL_OPTIONS if name in given}
    return await calling.call(asked, given["integration"], given["action"], given["params"], {**options, **said})


async def _connect(asked: Asked, given: Mapping[str, Any], options: Mapping[str, Any]) -> Json:
    ours, who, slug = asked.ours, asked.who, given["integration"]
    check_level(who, "read_write")
    check_live(who)
    ours.catalogs.integration(slug)
    _check_served(asked, slug)
    check_scope(who, slug)
    if who.grant.connections is not None:
        raise Refusal("forbidden", "This key is for certain connections, and makes no new one.")
    user = user_of(who, given.get("user") or options.get("user"))
    if (await ours.discovery.integration(who, slug, user))["connected"]:
        return of_value({"status": "connected", "integration": slug, "user": user})
    begun = await ours.connecting.begin(Wish(org=who.org, by=who.actor, integration=slug, user=user))
    if begun["oauth_url"] is None:
        return of_value({**begun, "integration": slug, "user": user})
    told = f"Ask the user to open {begun['oauth_url']} and connect {slug} there. Then make the call."
    return of_value({**begun, "integration": slug, "user": user}, f"{told}\n{orjson.dumps(begun).decode()}")


async def _result(asked: Asked, given: Mapping[str, Any], options: Mapping[str, Any]) -> Json:
    ours = asked.ours
    wait = min(given["wait"], ours.settings.sync_ceiling)
    run = await ours.runs.find(asked.who, given["result_id"], wait=wait)
    _check_served(asked, run.integration)
    if not run.is_over:
        return _going_on(asked, run, await ours.runs.shown(run))
    if run.refusal is not None or run.error is not None or run.state == "cancelled":
        return await outcome(asked, run)
    if not any(name in given for name in ("path", "offset", "limit", "grep")):
        return await outcome(asked, run)
    piece = await ours.results.read(
        run,
        path=given.get("path", ""),
        offset=given.get("offset", 0),
        limit=given.get("limit", _PAGE),
        grep=given.get("grep"),
        most=BUDGET,
    )
    return of_json(piece)


def _going_on(asked: Asked, run: Run, shown: bytes) -> Json:
    said = orjson.loads(shown)
    about = {name: said[name] for name in ("run_id", "status", "progress", "action_url") if said.get(name) is not None}
    page = about.get("action_url")
    todo = f"A person has to approve it at {page}." if page else "It goes on; do not send the call again."
    told = f"{todo} Call get_result again with wait.\n{orjson.dumps(about).decode()}"
    return of_value(about, told)


def _check_served(asked: Asked, slug: str) -> None:
    if not asked.serves(slug):
        raise Refusal("scope_not_allowed", f"This address is not for {slug}.")


_CALL_OPTIONS = tuple(option.name for option in FOR_MODELS)
_READS = {"readOnlyHint": True, "openWorldHint": False}


def _known(*fields: Field) -> Mapping[str, Field]:
    return {field.name: field for field in fields}


META_TOOLS: Mapping[str, MetaTool] = {
    tool.name: tool
    for tool in (
        MetaTool(
            name="search_skills",
            title="Find actions",
            description=(
                "Find actions of the services by what you want to do, the best first. Start here. "
                "Where `likely` is false, probably none does it."
            ),
            takes=_known(
                text("query", "What you want to do, in a few words; name the service if you know it.", most=400, required=True),
                Field(name="integration", about="Only of this integration.", schema=SLUG),
                choice("effect", "Only of this effect.", ["read", "create", "update", "delete", "send"]),
                Field(
                    name="connected",
                    about="Only of services that the user has connected.",
                    schema={"type": "boolean", "default": False},
                ),
                number("limit", "How many at most.", low=1, high=_MOST_HITS, default=_HITS),
            ),
            annotations=_READS,
            run=_search,
        ),
        MetaTool(
            name="describe_skill",
            title="Read about an action",
            description="What an action takes, as a JSON Schema, with an example. Read it before you call one.",
            takes=_known(_INTEGRATION, _ACTION),
            annotations=_READS,
            run=_describe,
        ),
        MetaTool(
            name="call_skill",
            title="Call an action",
            description=(
                "Call an action. Answers {status, data} as the service gave them, or an error that says what to do. "
                "A long answer is cut; get_result reads the rest."
            ),
            takes=_known(
                _INTEGRATION,
                _ACTION,
                Field(
                    name="params", about="What describe_skill says that it takes.", schema={**ANYTHING, "default": {}}
                ),
                *FOR_MODELS,
            ),
            annotations={
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": False,
                "openWorldHint": True,
            },
            run=_call,
        ),
        MetaTool(
            name="connect_integration",
            title="Connect an account",
            description="Get the link by which a person connects an account; tells it where one is connected already.",
            takes=_known(_INTEGRATION, USER),
            annotations={
                "readOnlyHint": False,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": True,
            },
            run=_connect,
        ),
        MetaTool(
            name="get_result",
            title="Read on, or wait",
            description="Read more of an answer that was cut, or see what became of a call that goes on as a run.",
            takes=_known(
                text("result_id", "The result_id or run_id that you were given.", required=True),
                Field(
                    name="path",
                    about="Which part: a JSON pointer such as /items, or JMESPath.",
                    schema={"type": "string", "maxLength": 2000},
                ),
                number("offset", "How many items or letters to pass over.", low=0, high=999_999_999),
                number("limit", f"How many items at most; {_PAGE} unless you say.", low=1, high=100_000),
                text("grep", "Only items, or lines, that hold this text.", most=2000),
                number("wait", "Seconds to wait for the end of a run.", low=0, high=_LONGEST_WAIT, default=0),
            ),
            annotations=_READS,
            run=_result,
        ),
    )
}
#: Those that the other way to list needs as well.
IN_DIRECT = ("connect_integration", "get_result")
