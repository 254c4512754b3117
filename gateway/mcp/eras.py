"""Which revision of the protocol a message is of, and whether its headers say what its body says.

From 2026-07-28 on each request says its version and its client's capabilities in `_meta`, mirrored in headers; before
that a handshake settled both, and here nothing of it is kept: the version comes in a header, or is 2025-03-26.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDictProxy

from gateway.mcp.jsonrpc import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_VERSION,
    Message,
    RpcError,
)

MODERN = "2026-07-28"
#: The newest that a handshake settles.
LATEST_HANDSHAKE = "2025-11-25"
HANDSHAKES = ("2025-03-26", "2025-06-18", LATEST_HANDSHAKE)

_META = "io.modelcontextprotocol/"
VERSION, CAPABILITIES = f"{_META}protocolVersion", f"{_META}clientCapabilities"
SERVER_INFO = f"{_META}serverInfo"

_HEADERS = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name")
#: Of which param `Mcp-Name` is the mirror.
_NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
#: What a header cannot carry stands in it like this (2026-07-28, "Value Encoding").
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """The revision that a message is of, and what its client can do as far as it says so."""

    version: str
    capabilities: Mapping[str, Any]

    @property
    def is_modern(self) -> bool:
        return self.version == MODERN

    def has_extension(self, name: str) -> bool:
        extensions = self.capabilities.get("extensions")
        return isinstance(extensions, dict) and isinstance(extensions.get(name), dict)

    @property
    def opens_pages(self) -> bool:
        """Whether the client says that it shows its person a page to open."""
        elicitation = self.capabilities.get("elicitation")
        return isinstance(elicitation, dict) and isinstance(elicitation.get("url"), dict)


def era_of(message: Message, headers: CIMultiDictProxy[str]) -> Era:
    """The era of a message. Raises `RpcError` where headers and body disagree, or for a version that is not served."""
    for name in _HEADERS:
        if len(headers.getall(name, ())) > 1:
            # Whoever reads the first and whoever reads the last would not agree.
            raise RpcError(HEADER_MISMATCH, f"The header {name} is there more than once.")
    for name in headers:
        if name.lower().startswith("mcp-param-"):
            # No tool of ours asks for one, so nobody may decide by it.
            raise RpcError(HEADER_MISMATCH, f"No tool here mirrors a param as {name[:64]}.")
    said, meant = headers.get("MCP-Protocol-Version"), message.meta.get(VERSION)
    if meant is None and (said is None or said in HANDSHAKES or message.method == "initialize"):
        _check_mirrors(message, headers, needed=False)
        return Era(version=said if said in HANDSHAKES else HANDSHAKES[0], capabilities={})
    return _modern(message, headers, said, meant)


def _modern(message: Message, headers: CIMultiDictProxy[str], said: str | None, meant: Any) -> Era:
    if message.id is None:
        # A notification carries no envelope; its header alone says what it is of.
        _check_version(said or str(meant))
        return Era(version=MODERN, capabilities={})
    if meant is None and said != MODERN:
        _check_version(str(said))
    missing = [name for name in (VERSION, CAPABILITIES) if name not in message.meta]
    if missing:
        raise RpcError(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}.")
    capabilities = message.meta[CAPABILITIES]
    if not isinstance(meant, str) or not isinstance(capabilities, dict):
        raise RpcError(INVALID_PARAMS, f"{VERSION} must be a string and {CAPABILITIES} an object.")
    if said != meant:
        raise RpcError(HEADER_MISMATCH, "The header MCP-Protocol-Version is not the version in params._meta.")
    _check_mirrors(message, headers, needed=True)
    _check_version(meant)
    return Era(version=MODERN, capabilities=capabilities)


def _check_mirrors(message: Message, headers: CIMultiDictProxy[str], *, needed: bool) -> None:
    method, named = headers.get("Mcp-Method"), headers.get("Mcp-Name")
    if method != message.method and (needed or method is not None):
        raise RpcError(HEADER_MISMATCH, "The header Mcp-Method is not the method of the body.")
    param = _NAMED_BY.get(message.method)
    name = message.params.get(param) if param is not None else None
    if name is None and named is None:
        return
    if (needed or named is not None) and (not isinstance(name, str) or _decoded(named) != name):
        raise RpcError(HEADER_MISMATCH, f"The header Mcp-Name is not the `{param or 'name'}` of the body.")


def _check_version(version: str) -> None:
    if version != MODERN:
        raise RpcError(
            UNSUPPORTED_VERSION,
            "This version of the protocol is not served.",
            {"supported": [MODERN], "requested": version[:64]},
        )


def _decoded(value: str | None) -> str | None:
    """What a header says; None for an encoding that is not exactly what an encoder makes."""
    found = _ENCODED.fullmatch(value) if value is not None else None
    if found is None:
        return value
    try:
        decoded = base64.b64decode(found[1], validate=True)
        return decoded.decode() if base64.b64encode(decoded).decode() == found[1] else None
    except (binascii.Error, ValueError):
        return None
