"""Why a command stopped: one exception that knows its exit code, what to print for people and what for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.cli.jsontext import Json, Number, dumps, loads

#: The upstream or the gateway said no, or what was typed makes no sense: trying again as it is will not help.
REFUSED = 1
#: The network, a time-out, or a server that failed: trying again may help.
UNREACHED = 2
INTERRUPTED = 130


class CommandFailed(Exception):
    """The command stops here with this exit code."""

    def __init__(self, exit_code: int, problem: Problem, body: bytes | None = None) -> None:
        super().__init__(problem.message)
        self.exit_code = exit_code
        self.problem = problem
        #: What the gateway answered, byte for byte, if it was the gateway that refused.
        self.body = body if body is not None else problem.to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, in the terms of the gateway's own error envelope."""

    code: str
    message: str
    action_url: str | None = None
    hint: str | None = None
    #: `not_sent` or `unknown`, where the call itself is what failed.
    outcome: str | None = None
    run_id: str | None = None
    retry_after_ms: str | None = None
    details: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        members: dict[str, Json] = {"error": self.code, "message": self.message}
        members |= {"hint": self.hint} if self.hint else {}
        members |= {"outcome": self.outcome} if self.outcome else {}
        return dumps(members).encode()


def refused(message: str, *, code: str = "bad_request", hint: str | None = None) -> CommandFailed:
    """What was asked cannot be done as it was typed."""
    return CommandFailed(REFUSED, Problem(code=code, message=message, hint=hint))


def unreached(message: str, *, code: str, outcome: str, hint: str | None = None) -> CommandFailed:
    """The gateway gave no answer."""
    return CommandFailed(UNREACHED, Problem(code=code, message=message, outcome=outcome, hint=hint))


def gateway_error(status: int, body: bytes) -> CommandFailed | None:
    """The gateway's refusal in this answer, or nothing if the answer is none."""
    # A connect or a run that failed says so in an `error` of its own, in an answer that went well.
    if status < 400:
        return None
    try:
        value = loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return CommandFailed(_exit_code(status), _problem(value), body)
    return CommandFailed(
        _exit_code(status),
        Problem(
            code="gateway_unreachable" if status >= 500 else "bad_request",
            message=f"HTTP {status} came back, and not in the words of a Skillway gateway.",
            hint="Is SKILLWAY_URL the address of the gateway? A proxy in between may have answered.",
        ),
    )


def _exit_code(status: int) -> int:
    # 408 is the gateway's own time-out; an upstream's 408 comes inside an answer of 200.
    return UNREACHED if status >= 500 or status == 408 else REFUSED


def _problem(body: dict[str, Json]) -> Problem:
    code = _text(body.get("error")) or "internal"
    message = _text(body.get("message")) or code
    return Problem(
        code=code,
        message=message,
        action_url=_text(body.get("action_url")),
        hint=_text(body.get("hint")),
        outcome=_text(body.get("outcome")),
        run_id=_text(body.get("run_id")),
        retry_after_ms=_text(body.get("retry_after_ms")),
        details=tuple(line for line in _details(body.get("details")) if message not in line),
    )


def _details(value: Json) -> Iterator[str]:
    """Lines for people: one for each field that is wrong, each choice, each member."""
    match value:
        case None:
            return
        case {"path": str(path), "message": str(message)}:
            yield f"{path}: {message}"
        case dict():
            for name, member in value.items():
                if isinstance(member, (dict, list)):
                    yield from _details(member)
                else:
                    yield f"{name}: {_text(member) or dumps(member)}"
        case list():
            for member in value:
                choice = isinstance(member, dict) and "path" not in member
                yield from (", ".join(_details(member)),) if choice else _details(member)
        case _:
            yield _text(value) or dumps(value)


def _text(value: Json) -> str | None:
    if isinstance(value, Number):
        return value.text
    return value if isinstance(value, str) and value else None
