"""Prompts: the guides and workflows of each integration, for a person to put before a model."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.mcp.asked import Asked, Json, usable
from gateway.mcp.jsonrpc import INVALID_PARAMS, RpcError
from gateway.mcp.paging import cacheable, page
from skills_catalog.exporting.skill_files import pages_of
from skills_catalog.model import Guide, Integration

_PAGE = 250


async def listed(asked: Asked) -> Json:
    """`prompts/list`."""
    found, following = page(asked, _prompts(asked), _PAGE)
    return cacheable({"prompts": [_shown(*one) for one in found], **following})


async def got(asked: Asked) -> Json:
    """`prompts/get`: the page, as if the person had written it. Raises `RpcError` for one that there is not."""
    name, arguments = asked.params.get("name"), asked.params.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "`name` must be a string and `arguments` an object.")
    found = _prompts(asked).get(name)
    if found is None:
        raise RpcError(INVALID_PARAMS, f"There is no prompt {name[:64]!r}. See prompts/list.")
    if arguments:
        raise RpcError(INVALID_PARAMS, f"The prompt takes no arguments, and so no {next(iter(arguments))[:64]!r}.")
    _, integration, guide = found
    text = f"# {integration.name}: {guide.title}\n\n{guide.text.strip()}\n"
    return {
        "description": _shown(*found)["description"],
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
    }


def _prompts(asked: Asked) -> Mapping[str, tuple[str, Integration, Guide]]:
    named = ((f"{one.slug}__{name}", one, guide) for one in usable(asked) for name, guide in pages_of(one).items())
    return {name: (name, integration, guide) for name, integration, guide in named}


def _shown(name: str, integration: Integration, guide: Guide) -> Json:
    title = f"{integration.name}: {guide.title}"
    return {"name": name, "title": title, "description": f"What to know of {integration.name}: {guide.title}."}
