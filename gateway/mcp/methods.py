"""What a client may ask, by era: the handshake or `server/discover`, the tools, resources and prompts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version

from gateway.mcp import prompts, resources, tasks, tools
from gateway.mcp.asked import Asked, Json
from gateway.mcp.eras import HANDSHAKES, LATEST_HANDSHAKE, MODERN, SERVER_INFO
from gateway.mcp.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError

Method = Callable[[Asked], Awaitable[Json]]

_SERVER = {"name": "skillway", "title": "Skillway", "version": version("skillway")}
#: Milliseconds for which a client may keep what we are able to do.
_TTL = 3_600_000
_ABOUT = (
    "Skillway calls third-party services for you; accounts are connected by a person, and you never see their secrets. "
    "An error says what to do next. "
)
_HOW = {
    "meta": "Find an action with search_skills, read it with describe_skill, then use call_skill.",
    "direct": "Each tool is one action of one service.",
}


async def _initialize(asked: Asked) -> Json:
    """Nothing is kept of it: whatever a later request needs, it says itself."""
    wanted = asked.params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise RpcError(INVALID_PARAMS, "`protocolVersion` must be a string.")
    return {
        "protocolVersion": wanted if wanted in HANDSHAKES else LATEST_HANDSHAKE,
        "capabilities": {
            "tools": {"listChanged": False},
            "resources": {"listChanged": False, "subscribe": False},
            "prompts": {"listChanged": False},
            "extensions": {resources.EXTENSION: {}},
        },
        "serverInfo": _SERVER,
        "instructions": _ABOUT + _HOW[tools.mode_of(asked)],
    }


async def _discover(asked: Asked) -> Json:
    return {
        "supportedVersions": [MODERN],
        "capabilities": {
            "tools": {},
            "resources": {},
            "prompts": {},
            "extensions": {tasks.EXTENSION: {}, resources.EXTENSION: {}},
        },
        "instructions": _ABOUT + _HOW[tools.mode_of(asked)],
        "ttlMs": _TTL,
        "cacheScope": "private",
    }


async def _ping(asked: Asked) -> Json:
    return {}


_BOTH: Mapping[str, Method] = {
    "tools/list": tools.listed,
    "tools/call": tools.called,
    "resources/list": resources.listed,
    "resources/templates/list": resources.templates,
    "resources/read": resources.read,
    "skills/list": resources.skills_listed,
    "skills/get": resources.skill,
    "prompts/list": prompts.listed,
    "prompts/get": prompts.got,
}
_HANDSHAKE: Mapping[str, Method] = {"initialize": _initialize, "ping": _ping, **_BOTH}
_STATELESS: Mapping[str, Method] = {
    "server/discover": _discover,
    **_BOTH,
    "tasks/get": tasks.get,
    "tasks/update": tasks.update,
    "tasks/cancel": tasks.cancel,
}


async def result_of(method: str, asked: Asked) -> Json:
    """The result of a request. Raises `RpcError`."""
    found = (_STATELESS if asked.era.is_modern else _HANDSHAKE).get(method)
    if found is None:
        raise RpcError(METHOD_NOT_FOUND, f"There is no method {method[:64]!r} in {asked.era.version}.")
    result = await found(asked)
    if not asked.era.is_modern:
        return {name: value for name, value in result.items() if name not in ("ttlMs", "cacheScope")}
    return {"resultType": "complete", **result, "_meta": {SERVER_INFO: _SERVER}}
