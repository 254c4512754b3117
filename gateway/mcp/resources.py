"""Skills over MCP (extension `io.modelcontextprotocol/skills`, SEP-2640): each integration is an Agent Skill, its files resources."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.mcp.asked import Asked, Json, usable
from gateway.mcp.jsonrpc import INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError
from gateway.mcp.paging import cacheable, page
from skills_catalog.exporting.skill_files import front_matter, skill_description, skill_name
from skills_catalog.model import Integration

EXTENSION = "io.modelcontextprotocol/skills"
#: Skills of one page: their files are written and hashed for it.
_SKILLS, _RESOURCES = 10, 100
_LONGEST = 2000
_SCHEME, _TOP, _MARKDOWN = "skill://", "SKILL.md", "text/markdown"


async def listed(asked: Asked) -> Json:
    """`resources/list`: the SKILL.md of each integration. What else there is to read stands in it."""
    found, following = page(asked, _skills(asked), _RESOURCES)
    return cacheable({"resources": [_resource(one) for one in found], **following})


async def templates(asked: Asked) -> Json:
    """`resources/templates/list`: none, every file has an address of its own."""
    return cacheable({"resourceTemplates": []})


async def read(asked: Asked) -> Json:
    """`resources/read`: one file. Raises `RpcError` where there is none, or none that is for the key."""
    uri = _uri(asked)
    name, _, path = uri.removeprefix(_SCHEME).partition("/")
    integration = _skills(asked).get(name) if uri.startswith(_SCHEME) else None
    text = None if integration is None else _files(asked, integration).get(path)
    if text is None:
        # 2026-07-28 did away with the code of its own (SEP-2164).
        code = INVALID_PARAMS if asked.era.is_modern else RESOURCE_NOT_FOUND
        raise RpcError(code, "There is no such resource.", {"uri": uri})
    return cacheable({"contents": [{"uri": uri, "mimeType": _MARKDOWN, "text": text}]})


async def skills_listed(asked: Asked) -> Json:
    """`skills/list`: each skill with all its files and their digests."""
    found, following = page(asked, _skills(asked), _SKILLS)
    return cacheable({"skills": [_entry(asked, one) for one in found], **following})


async def skill(asked: Asked) -> Json:
    """`skills/get`: one of them by the address of its SKILL.md."""
    uri = _uri(asked)
    found = next((one for one in _skills(asked).values() if _address(one, _TOP) == uri), None)
    if found is None:
        raise RpcError(INVALID_PARAMS, "There is no such skill.", {"uri": uri})
    return cacheable({"skill": _entry(asked, found)})


def _skills(asked: Asked) -> Mapping[str, Integration]:
    return {skill_name(one.slug): one for one in usable(asked) if one.skills}


def _files(asked: Asked, integration: Integration) -> Mapping[str, str]:
    files: Sequence[Mapping[str, str]] = asked.ours.discovery.download(asked.who, integration.slug, "agent-skill")["files"]
    return {file["file_path"]: file["content"] for file in files}


def _entry(asked: Asked, integration: Integration) -> Json:
    files = _files(asked, integration)
    return {
        "uri": _address(integration, _TOP),
        "frontmatter": front_matter(files[_TOP]),
        "resources": [_file(_address(integration, path), text.encode()) for path, text in files.items()],
    }


def _file(uri: str, content: bytes) -> Json:
    return {"uri": uri, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def _resource(integration: Integration) -> dict[str, Any]:
    return {
        "uri": _address(integration, _TOP),
        "name": skill_name(integration.slug),
        "title": integration.name,
        "description": skill_description(integration),
        "mimeType": _MARKDOWN,
    }


def _address(integration: Integration, path: str) -> str:
    return f"{_SCHEME}{skill_name(integration.slug)}/{path}"


def _uri(asked: Asked) -> str:
    uri = asked.params.get("uri")
    if not isinstance(uri, str) or len(uri) > _LONGEST:
        raise RpcError(INVALID_PARAMS, f"`uri` must be a string of at most {_LONGEST} characters.")
    return uri
