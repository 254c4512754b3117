"""Actions as the tools of a model, in its vendor's own shapes: the list to give it, and the calls that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from gateway.core.calls.shaping import check_select
from gateway.core.errors import Refusal
from gateway.core.runs.once import Accepted
from gateway.core.tenants.keys import Principal
from gateway.rest.calls import FORCED, IDEMPOTENCY_KEY, forced, idempotency_key, note_deprecation
from gateway.rest.fields import CURSOR, MOST_LISTED, after, cursor_of
from gateway.rest.shapes import TOOLS
from gateway.rest.vendor_calls import read_call
from gateway.web.answers import json_bytes, tagged
from gateway.web.bodies import bad_field
from gateway.web.context import Services, services
from gateway.web.operations import ANYTHING, Answer, Asked, Field, choice, number, operation
from gateway.web.shapes import ANY_OBJECT, described
from gateway.web.tool_answers import of_accepted, of_refusal, of_result, safe
from gateway.web.tool_options import KNOWN, call_of, check_digest, options_of
from skills_catalog.exporting.tool_names import tool_name
from skills_catalog.exporting.tool_shapes import FORMATS, tool_of, why_not_strict
from skills_catalog.model import Integration, Skill

_GROUP = "Tools"
_FORMAT = choice("format", "Whose shape. `openai-strict` is OpenAI's strict mode.", FORMATS)
_SELECT = replace(KNOWN["select"], schema={**KNOWN["select"].schema, "format": "jmespath"})
_OPTIONS = [_SELECT if name == "select" else KNOWN[name] for name in KNOWN if name != "digest"]
#: The tool call of the example, and what comes back for it.
_CALL = {
    "id": "call_8fX",
    "type": "function",
    "function": {"name": "rooms__book_room", "arguments": '{"id": 3, "minutes": 30}'},
}
_ANSWER = {"role": "tool", "tool_call_id": "call_8fX", "content": '{"status":201,"data":{"id":12},"meta":{"run_id":"run_0193"}}'}


@operation(
    "list_tools",
    "List actions as the tools of a model",
    group=_GROUP,
    about=(
        "`tools` is what the vendor's API takes under that name, as it stands. All that the key may use at once, or "
        "page by page with `limit`."
    ),
    query=[
        replace(_FORMAT, required=True),
        choice("api", "OpenAI alone: for Chat Completions, or for Responses.", ["chat", "responses"], default="chat"),
        Field(
            name="integration",
            about="Only of these: slugs, with commas between them.",
            schema={"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}(,[a-z][a-z0-9_]{0,63}){0,99}$"},
            must="must be slugs of integrations with commas between them",
        ),
        number("limit", "How many at most; left out, all.", low=1, high=MOST_LISTED),
        CURSOR,
    ],
    answers={
        200: Answer(
            about="The tools by integration and action.",
            schema=TOOLS,
            example={
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "rooms__book_room",
                            "description": "Rooms: Book a room from a time on.",
                            "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}},
                            "strict": False,
                        },
                    }
                ]
            },
            headers=("ETag",),
        ),
        304: Answer(about="You have it already.", headers=("ETag",)),
    },
    refuses=["scope_not_allowed", "not_found"],
    example={"query": {"format": "openai"}},
)
async def list_tools(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    ours, query = services(request), asked.query
    format, limit = query["format"], query.get("limit")
    found = _skills(ours, who, query.get("integration"))
    if "cursor" in query:
        start = after(query["cursor"])
        found = [pair for pair in found if pair[1].id > start]
    catalog = ours.catalogs.current
    page = [(one, skill, tool_name(catalog, skill)) for one, skill in found[:limit]]
    tools = [tool_of(one, skill, name, format) for one, skill, name in page]
    if query["api"] == "responses":
        if not format.startswith("openai"):
            raise bad_field("api", "enum", "The query parameter 'api' is for the formats of OpenAI.")
        tools = [{"type": "function", **tool["function"]} for tool in tools]
    if format == "gemini" and tools:
        tools = [{"functionDeclarations": tools}]
    answer: dict[str, Any] = {"tools": tools}
    if format == "openai-strict":
        answer["not_strict"] = [
            {"name": name, "integration": skill.integration, "action": skill.name, "reason": reason}
            for _, skill, name in page
            if (reason := why_not_strict(skill)) is not None
        ]
    if limit is not None and len(found) > limit:
        answer["next_cursor"] = cursor_of(found[limit - 1][1].id)
    return tagged(request, answer)


@operation(
    "call_tool",
    "Make the tool call of a model",
    group=_GROUP,
    about=(
        "`call` is the tool call as it came from the model, the answer is what the model is given back for it, as it "
        "stands. What the upstream or the gateway refuses is such a result as well; an error is a request that no "
        "model can mend."
    ),
    headers=[IDEMPOTENCY_KEY, *FORCED],
    body=[
        replace(_FORMAT, required=True),
        Field(
            name="call",
            about=(
                "OpenAI: an item of `tool_calls`, or of `type` `function_call`; Anthropic: a `tool_use` block; Gemini: "
                "a part with `functionCall`; MCP: the params of `tools/call`."
            ),
            schema=ANYTHING,
            required=True,
        ),
        *_OPTIONS,
    ],
    answers={
        200: Answer(
            about=(
                "OpenAI: the message of role `tool`, or `function_call_output`; Anthropic: a `tool_result` block; "
                "Gemini: a part with `functionResponse`; MCP: the result."
            ),
            schema=described(ANY_OBJECT, "The result in the vendor's own shape."),
            example=_ANSWER,
            headers=("X-Deprecated", "Deprecation", "Sunset", "Link"),
        ),
    },
    example={"body": {"format": "openai", "call": _CALL}},
)
async def call_tool(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    ours, body = services(request), asked.body
    vendor = read_call(body["format"], body["call"])
    options = {**options_of(vendor.meta), **_said(request, body)}
    upstream = forced(request, who)

    def come_back(run_id: str) -> str:
        return f"Whoever made the call for you can read what becomes of it at {ours.runs.poll_url(run_id)}."

    try:
        skill = ours.catalogs.tool(vendor.name)
        note_deprecation(request, skill.integration, skill.name)
        check_digest(skill, options)
        call = call_of(
            who, skill.integration, skill.name, vendor.params(skill), options, ceiling=ours.settings.sync_ceiling
        )
        result = await ours.gateway.call(replace(call, forced=upstream))
    except Refusal as refusal:
        answer = of_refusal(refusal, come_back)
    else:
        if isinstance(result, Accepted):
            answer = of_accepted(result, ours.runs.poll_url(result.run_id), come_back)
        else:
            answer = of_result(result)
    return json_bytes(safe(orjson.dumps(vendor.answer(answer))))


def _skills(ours: Services, who: Principal, slugs: str | None) -> Sequence[tuple[Integration, Skill]]:
    """What the key may use of the integrations, in an order that only a change of the catalog changes."""
    wanted = None if slugs is None else frozenset(slugs.split(","))
    for slug in sorted(wanted or ()):
        ours.discovery.check_visible(who, slug)
    usable = [one for one in ours.discovery.usable(who) if wanted is None or one.slug in wanted]
    return sorted(((one, skill) for one in usable for skill in one.skills.values()), key=lambda pair: pair[1].id)


def _said(request: web.Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a body, and the header that is one of them."""
    options = {name: body[name] for name in KNOWN if name in body}
    key = idempotency_key(request)
    if key is not None and options.setdefault("idempotency_key", key) != key:
        message = "The field 'idempotency_key' must be the same as the header Idempotency-Key."
        raise bad_field("idempotency_key", "const", message)
    if "select" in options:
        check_select(options["select"])
    return options
