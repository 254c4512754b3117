"""`tools/list` and `tools/call`: each action as a tool, or a few tools that lead to all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.errors import Refusal
from gateway.mcp import calling
from gateway.mcp.asked import Asked, Json, Mode, usable
from gateway.mcp.jsonrpc import INVALID_PARAMS, RpcError
from gateway.mcp.meta_tools import IN_DIRECT, META_TOOLS, MetaTool
from gateway.mcp.options import options_of
from gateway.mcp.paging import cacheable, page
from gateway.mcp.rendering import of_refusal
from gateway.web.bodies import checked
from gateway.web.operations import PRINTABLE, Field
from skills_catalog.exporting.tool_names import tool_name, tools_of
from skills_catalog.model import Integration, Skill

#: With more actions than that a key gets the tools that find them, unless its address says otherwise.
MOST_DIRECT = 40
#: Tools of one page of the list.
PAGE = 250
_DIGEST = 16


def mode_of(asked: Asked) -> Mode:
    """How this key's actions are listed under this address."""
    if asked.mode is not None:
        return asked.mode
    return "direct" if sum(len(one.skills) for one in usable(asked)) <= MOST_DIRECT else "meta"


async def listed(asked: Asked) -> Json:
    """What the key may use, in an order that only a change of the catalog changes."""
    if mode_of(asked) == "meta":
        return cacheable({"tools": [_meta_tool(tool) for tool in META_TOOLS.values()]})
    skills = {skill.id: (one, skill) for one in usable(asked) for skill in one.skills.values()}
    found, following = page(asked, skills, PAGE)
    catalog = asked.ours.catalogs.current
    tools = [_tool(integration, skill, tool_name(catalog, skill)) for integration, skill in found]
    if not following:
        tools += [_meta_tool(META_TOOLS[name]) for name in IN_DIRECT]
    return cacheable({"tools": tools, **following})


async def called(asked: Asked) -> Json:
    """The answer of one tool. Raises `RpcError` for a tool that there is not."""
    name, arguments = asked.params.get("name"), asked.params.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "`name` must be a string and `arguments` an object.")
    try:
        options = options_of(asked.meta)
        if (tool := META_TOOLS.get(name)) is not None:
            return await tool.run(asked, checked(arguments, tool.takes, "argument"), options)
        skill = _found(asked, name)
        if options.get("digest") not in (None, digest_of(skill)):
            said = "The tool is no longer what it was when its digest was noted."
            raise Refusal("conflict", said, hint="Look at it again in tools/list.", retryable=False)
        return await calling.call(asked, skill.integration, skill.name, arguments, options)
    except Refusal as refusal:
        return of_refusal(refusal)


def digest_of(skill: Skill) -> str:
    """Changes with whatever a model is told of the tool: a client that noted it is not fooled later."""
    about = [skill.id, skill.description, skill.input_schema, *filter(None, [skill.output])]
    told = orjson.dumps(about, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(told).hexdigest()[:_DIGEST]


def _found(asked: Asked, name: str) -> Skill:
    """The action of a tool. What the key may not use is found too: the gateway refuses it as everywhere."""
    skill = tools_of(asked.ours.catalogs.current).get(name)
    if skill is not None and asked.serves(skill.integration):
        return skill
    slug, _, action = name.partition("__")
    try:
        # Only to say what was meant: the name of no tool is made up of its parts.
        asked.ours.catalogs.find(slug, action)
    except Refusal as refusal:
        said = {**refusal.body(), "message": f"Unknown tool {name[:64]!r}. {refusal.message}"}
        raise RpcError(INVALID_PARAMS, " ".join(filter(None, (said["message"], refusal.hint))), said) from None
    gone = Refusal("not_found", f"Unknown tool {name[:64]!r}.")
    raise RpcError.of(gone, INVALID_PARAMS)


def _tool(integration: Integration, skill: Skill, name: str) -> Json:
    described = f"{integration.name}: {skill.description}"
    if skill.deprecated is not None:
        described += f" Deprecated{f'; use {skill.successor}' if skill.successor else ''}."
    return {
        "name": name,
        "title": f"{integration.name}: {skill.title}",
        "description": described,
        "inputSchema": skill.input_schema,
        **({"outputSchema": _envelope(skill.output)} if skill.output is not None else {}),
        "annotations": _annotations(skill),
        "_meta": {"skillway/action": skill.id, "skillway/effect": skill.effect, "skillway/digest": digest_of(skill)},
    }


def _envelope(output: Mapping[str, Any]) -> Json:
    """What the structured content is. Clients refuse an answer that its schema does not take, and the call is made by then:
    so whatever else `data` may be, because the service changed or a part was asked for, is taken too."""
    own = {name: value for name, value in output.items() if name != "$defs"}
    schema: Json = {
        "type": "object",
        "properties": {
            "status": {"description": "HTTP status that the service answered with."},
            "data": {"anyOf": [own, {}]},
            "meta": {"type": "object"},
        },
    }
    return {**schema, "$defs": output["$defs"]} if "$defs" in output else schema


def _annotations(skill: Skill) -> dict[str, Any]:
    """What clients warn by. To create or send adds something; to update or delete does away with what was there."""
    if skill.effect == "read":
        return {"readOnlyHint": True, "openWorldHint": True}
    return {
        "readOnlyHint": False,
        "destructiveHint": skill.effect in ("update", "delete"),
        "idempotentHint": skill.idempotent,
        "openWorldHint": True,
    }


def _meta_tool(tool: MetaTool) -> Json:
    takes = tool.takes.values()
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": {
            "type": "object",
            "properties": {field.name: _shown(field) for field in takes},
            "required": [field.name for field in takes if field.required],
            "additionalProperties": False,
        },
        "annotations": tool.annotations,
    }


def _shown(field: Field) -> Json:
    """The schema of an argument, without the long list of signs that no text may hold."""
    shown = {name: value for name, value in field.schema.items() if (name, value) != ("pattern", PRINTABLE)}
    return {**shown, "description": field.about}
