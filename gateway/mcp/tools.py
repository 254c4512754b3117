"""`tools/list` and `tools/call`: each action as a tool, or a few tools that lead to all of them."""

from __future__ import annotations

from gateway.core.errors import Refusal
from gateway.mcp import calling
from gateway.mcp.asked import Asked, Json, Mode, usable
from gateway.mcp.jsonrpc import INVALID_PARAMS, RpcError
from gateway.mcp.meta_tools import IN_DIRECT, META_TOOLS, MetaTool
from gateway.mcp.paging import cacheable, page
from gateway.mcp.rendering import of_refusal
from gateway.web.bodies import checked
from gateway.web.operations import PRINTABLE, Field
from gateway.web.tool_options import check_digest, options_of
from skills_catalog.exporting.tool_names import tool_name
from skills_catalog.exporting.tool_shapes import tool_of
from skills_catalog.model import Skill

#: With more actions than that a key gets the tools that find them, unless its address says otherwise.
MOST_DIRECT = 40
#: Tools of one page of the list.
PAGE = 250


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
    tools = [tool_of(integration, skill, tool_name(catalog, skill), "mcp") for integration, skill in found]
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
        check_digest(skill, options)
        return await calling.call(asked, skill.integration, skill.name, arguments, options)
    except Refusal as refusal:
        return of_refusal(refusal)


def _found(asked: Asked, name: str) -> Skill:
    """The action of a tool. What the key may not use is found too: the gateway refuses it as everywhere."""
    try:
        skill = asked.ours.catalogs.tool(name)
    except Refusal as refusal:
        said = " ".join(filter(None, (refusal.message, refusal.hint)))
        raise RpcError(INVALID_PARAMS, said, refusal.body()) from None
    if asked.serves(skill.integration):
        return skill
    raise RpcError.of(Refusal("not_found", f"Unknown tool {name[:64]!r}."), INVALID_PARAMS)


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
