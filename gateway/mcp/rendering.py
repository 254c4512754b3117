"""Answers of tools as MCP has them; what was cut, and what goes on, is read on with `get_result`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from gateway.core.errors import Refusal
from gateway.core.requests.answers import Result
from gateway.core.runs.once import Accepted
from gateway.mcp.asked import Json
from gateway.web import tool_answers

#: How the data of an answer begins that is a file; and pictures that are text, which no model looks at.
_BASE64, _DRAWN = b'{"encoding":"base64"', ("image/svg+xml",)


def of_value(value: Any, text: str | None = None) -> Json:
    """An answer of our own."""
    return tool_answers.of_value(value, text).as_mcp()


def of_json(value: bytes) -> Json:
    """The same of JSON text."""
    return tool_answers.of_json(value).as_mcp()


def of_result(result: Result) -> Json:
    """What the upstream answered; how the rest of a cut answer is read from here, instead of over REST."""
    meta = dict(result.meta)
    if "next" in meta:
        meta["next"] = _next(str(meta["next"]), str(meta["result_id"]))
    answer = tool_answers.of_result(replace(result, meta=meta))
    if (seen := _seen_or_heard(result.data)) is None:
        return answer.as_mcp()
    without = replace(result, data=orjson.dumps({**seen.about, "content": "see below"}), meta=meta).envelope()
    shown = replace(answer, text=without.decode()).as_mcp()
    return {**shown, "content": [*shown["content"], seen.block]}


def of_accepted(accepted: Accepted, poll_url: str) -> Json:
    """A run to come back for."""
    return tool_answers.of_accepted(accepted, poll_url, _come_back).as_mcp()


def of_refusal(refusal: Refusal) -> Json:
    """Why there is no answer; the text says first what to do."""
    return tool_answers.of_refusal(refusal, _come_back).as_mcp()


@dataclass(frozen=True, slots=True)
class _Medium:
    """A picture or a sound: what stands beside its bytes, and how a model takes it in."""

    about: Mapping[str, Any]
    block: Mapping[str, Any]


def _seen_or_heard(data: bytes) -> _Medium | None:
    """What an answer is that a model looks at or listens to; as text its bytes would tell it nothing."""
    if not data.startswith(_BASE64):
        return None
    about = orjson.loads(data)
    kind = str(about.get("content_type")).partition(";")[0].strip().lower()
    medium = kind.partition("/")[0]
    if medium not in ("image", "audio") or kind in _DRAWN or not isinstance(about.get("content"), str):
        return None
    return _Medium(about, {"type": medium, "data": about["content"], "mimeType": kind})


def _next(url: str, result_id: str) -> Mapping[str, Any]:
    query = parse_qs(urlsplit(url).query)
    where = {name: query[name][0] for name in ("path",) if name in query}
    numbers = {name: int(query[name][0]) for name in ("offset", "limit") if name in query}
    return {"tool": "get_result", "arguments": {"result_id": result_id, **where, **numbers}}


def _come_back(run_id: str) -> str:
    return f'Call get_result with {{"result_id": "{run_id}", "wait": 30}} until it is over.'
