"""Results and refusals as what a tool answers: the same envelopes as over REST, and a text that a model can act on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.errors import CODES, Refusal
from gateway.core.requests.answers import Result
from gateway.core.runs.once import Accepted

#: The sentence that tells where a run's end is found; it takes the run's id.
ComeBack = Callable[[str], str]

#: What a person does not see and a model reads: controls, bidirectional and zero-width signs, tags, selectors. The two
#: joiners that scripts need are left alone. In JSON these stand in strings only, where an escape means the same.
_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """What a tool answered: as JSON text, and as words that a model reads."""

    structured: bytes
    text: str
    is_error: bool = False

    def as_mcp(self) -> dict[str, Any]:
        """The result of MCP's `tools/call`."""
        answer: dict[str, Any] = {
            "content": [{"type": "text", "text": self.shown}],
            "structuredContent": orjson.Fragment(self.structured),
        }
        return answer | {"isError": True} if self.is_error else answer

    @property
    def shown(self) -> str:
        """The words with nothing unseen in them: escaped here, the model sees the escape."""
        return _UNSEEN.sub(_escaped, self.text)


def of_value(value: Any, text: str | None = None) -> ToolAnswer:
    """An answer of our own."""
    written = orjson.dumps(value)
    return ToolAnswer(structured=written, text=written.decode() if text is None else text)


def of_json(value: bytes) -> ToolAnswer:
    """The same of JSON text."""
    return ToolAnswer(structured=value, text=value.decode())


def of_result(result: Result) -> ToolAnswer:
    """What the upstream answered, as the first envelope of the contract; an error where it says no."""
    envelope = result.envelope()
    return ToolAnswer(structured=envelope, text=envelope.decode(), is_error=result.status >= 400)


def of_accepted(accepted: Accepted, poll_url: str, come_back: ComeBack) -> ToolAnswer:
    """A run to come back for."""
    status = "running" if accepted.state == "polling" else accepted.state
    run = {"run_id": accepted.run_id, "status": status, "poll_url": poll_url}
    return of_value(run, f"Not done yet. {come_back(accepted.run_id)}\n{orjson.dumps(run).decode()}")


def of_refusal(refusal: Refusal, come_back: ComeBack) -> ToolAnswer:
    """Why there is no answer, as the second envelope; the text says first what to do."""
    body = orjson.dumps(refusal.body())
    said = f"{refusal.message} ({refusal.code})\nNext: {next_step(refusal, come_back)}\n{body.decode()}"
    return ToolAnswer(structured=body, text=said, is_error=True)


def next_step(refusal: Refusal, come_back: ComeBack) -> str:
    """What a model does about a refusal, in a sentence or two."""
    page, run = refusal.action_url, refusal.run_id
    match refusal.code:
        case "integration_not_connected" | "token_expired" | "missing_scopes" if page:
            return f"Ask the user to open {page} and connect the account; then make the same call again."
        case "approval_required" if run:
            return f"Ask the user to have it approved at {page}. It then goes on by itself: do not send it again. {come_back(run)}"
        case "sync_timeout_upgrade_async" if run:
            return f"It goes on: do not send it again. {come_back(run)}"
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


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
