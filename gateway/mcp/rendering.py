"""Results and refusals as what a tool answers: the same envelopes as over REST, and a text that a model can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from gateway.core.answers import Result
from gateway.core.errors import CODES, Refusal
from gateway.core.once import Accepted
from gateway.mcp.asked import Json

#: What a person does not see and a model reads: controls, bidirectional and zero-width signs, tags, selectors. The two
#: joiners that scripts need are left alone. In JSON these stand in strings only, where an escape means the same.
_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)

#: How the data of an answer begins that is a file; and pictures that are text, which no model looks at.
_BASE64, _DRAWN = b'{"encoding":"base64"', ("image/svg+xml",)


def of_value(value: Any, text: str | None = None) -> Json:
    """An answer of our own."""
    written = orjson.dumps(value)
    return _answer(written, written.decode() if text is None else text)


def of_json(value: bytes) -> Json:
    """The same of JSON text."""
    return _answer(value, value.decode())


def of_result(result: Result) -> Json:
    """What the upstream answered, as the first envelope of the contract; an error where it says no."""
    meta = dict(result.meta)
    if "next" in meta:
        meta["next"] = _next(str(meta["next"]), str(meta["result_id"]))
    envelope = replace(result, meta=meta).envelope()
    if (seen := _seen_or_heard(result.data)) is not None:
        without = replace(result, data=orjson.dumps({**seen.about, "content": "see below"}), meta=meta).envelope()
        answer = _answer(envelope, without.decode(), is_error=result.status >= 400)
        return {**answer, "content": [*answer["content"], seen.block]}
    return _answer(envelope, envelope.decode(), is_error=result.status >= 400)


def of_accepted(accepted: Accepted, poll_url: str) -> Json:
    """A run to come back for."""
    run = {"run_id": accepted.run_id, "status": _shown(accepted.state), "poll_url": poll_url}
    return of_value(run, f"Not done yet. {_come_back(accepted.run_id)}\n{orjson.dumps(run).decode()}")


def of_refusal(refusal: Refusal) -> Json:
    """Why there is no answer, as the second envelope; the text says first what to do."""
    body = refusal.body()
    said = f"{refusal.message} ({refusal.code})\nNext: {next_step(refusal)}\n{orjson.dumps(body).decode()}"
    return _answer(orjson.dumps(body), said, is_error=True)


def next_step(refusal: Refusal) -> str:
    """What a model does about a refusal, in a sentence or two."""
    page, run = refusal.action_url, refusal.run_id
    match refusal.code:
        case "integration_not_connected" | "token_expired" | "missing_scopes" if page:
            return f"Ask the user to open {page} and connect the account; then make the same call again."
        case "approval_required" if run:
            return f"Ask the user to have it approved at {page}. It then goes on by itself: do not send it again. {_come_back(run)}"
        case "sync_timeout_upgrade_async" if run:
            return f"It goes on: do not send it again. {_come_back(run)}"
        case "ambiguous_connection":
            return "Ask the user which account is meant, and send its id as `connection`."
    if refusal.retry_after_ms is not None:
        return f"Wait {max(1, -(-refusal.retry_after_ms // 1000))} s, then make the same call again."
    if refusal.outcome == "unknown" and not refusal.retryable:
        return "It may have been done. Look at the upstream before you repeat it."
    return refusal.hint or CODES[refusal.code].fix


def safe(body: bytes) -> bytes:
    """JSON text in which nothing is unseen, on one line."""
    body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    if body.isascii() and b"\x7f" not in body:
        return body
    return _UNSEEN.sub(_escaped, body.decode()).encode()


def _answer(structured: bytes, text: str, *, is_error: bool = False) -> Json:
    answer: Json = {
        # Escaped here, the model sees the escape; in the structured form it means the sign itself.
        "content": [{"type": "text", "text": _UNSEEN.sub(_escaped, text)}],
        "structuredContent": orjson.Fragment(structured),
    }
    return answer | {"isError": True} if is_error else answer


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
    """How the rest of a cut answer is read from here, instead of over REST."""
    query = parse_qs(urlsplit(url).query)
    where = {name: query[name][0] for name in ("path",) if name in query}
    numbers = {name: int(query[name][0]) for name in ("offset", "limit") if name in query}
    return {"tool": "get_result", "arguments": {"result_id": result_id, **where, **numbers}}


def _come_back(run_id: str) -> str:
    return f'Call get_result with {{"result_id": "{run_id}", "wait": 30}} until it is over.'


def _shown(state: str) -> str:
    return "running" if state == "polling" else state


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
