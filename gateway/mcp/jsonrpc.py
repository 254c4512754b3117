"""JSON-RPC 2.0 as MCP uses it: one message a body, read strictly; errors by the protocol's codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import Refusal
from gateway.core.strict_json import NotStrictJson, parse

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL = -32603
#: Ours: the gateway refused before a tool could run; `data` is the refusal as REST has it.
REFUSED = -32010
#: Of the handshake era alone; later that is `INVALID_PARAMS`.
RESOURCE_NOT_FOUND = -32002
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022
#: Of 2025-11-25 alone: a person has to open a page first.
URL_ELICITATION_REQUIRED = -32042

#: HTTP status of an error in 2026-07-28; before that an error of a method is an answer like any other.
STATUSES: Mapping[int, int] = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
    INTERNAL: 500,
}
_LONGEST_ID = 256
_LONGEST_METHOD = 128

Id = str | int | None


class RpcError(Exception):
    """The request itself cannot be answered; what a tool says no to is a result instead."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @classmethod
    def of(cls, refusal: Refusal, code: int = REFUSED) -> RpcError:
        return cls(code, refusal.message, refusal.body())

    def body(self, id: Id) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": id, "error": error}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request, or a notification, which has no id and gets no answer."""

    method: str
    params: Mapping[str, Any]
    id: Id

    @property
    def meta(self) -> Mapping[str, Any]:
        """`_meta` of its params. Raises `RpcError` where that is no object."""
        meta = self.params.get("_meta", {})
        if not isinstance(meta, dict):
            raise RpcError(INVALID_PARAMS, "params._meta must be an object.")
        return meta


def read_message(body: bytes) -> Message | None:
    """The message; None for an answer to a request, of which we send none. Raises `RpcError`."""
    try:
        value = parse(body)
    except NotStrictJson as error:
        raise RpcError(PARSE_ERROR, f"The message cannot be read: {error}.") from None
    if isinstance(value, list):
        raise RpcError(INVALID_REQUEST, "Send one message at a time; batches are not taken.")
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'The body must be one JSON-RPC message with "jsonrpc": "2.0".')
    if "method" not in value and ("result" in value or "error" in value):
        return None
    method, params, id = value.get("method"), value.get("params", {}), value.get("id")
    if not isinstance(method, str) or not 0 < len(method) <= _LONGEST_METHOD:
        raise RpcError(INVALID_REQUEST, f"`method` must be a string of 1 to {_LONGEST_METHOD} characters.")
    # JSON-RPC §4 lets an id be null, MCP does not; what is no notification is owed an answer.
    if "id" in value and not _is_id(id):
        raise RpcError(INVALID_REQUEST, f"`id` must be an integer, or a string of at most {_LONGEST_ID} characters.")
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "`params` must be an object.")
    return Message(method=method, params=params, id=id)


def _is_id(id: Any) -> bool:
    if isinstance(id, bool):
        return False
    return isinstance(id, int) or (isinstance(id, str) and len(id) <= _LONGEST_ID)
