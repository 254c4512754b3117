"""How log lines look: text for a person at a terminal, JSON for everything else. Control characters never get through."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

_LONGEST = 4096
_EXTRA = ("request_id", "ms", "org", "key")


def set_up(form: Literal["text", "json"], *, level: int = logging.INFO) -> None:
    """Sends all log lines to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("skillway").setLevel(level)
    # It writes what it could not parse, keys and all; our own connection class says enough.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)


def _clean(text: str) -> str:
    """One line of printable text: a name or an answer of somebody else's cannot end it or colour it."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:_LONGEST])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        for name in _EXTRA:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value
        if record.exc_info:
            line["trace"] = _clean(_trace(self, record))
        return json.dumps(line, separators=(",", ":"))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{name}={value}" for name in _EXTRA if (value := getattr(record, name, None)) is not None)
        line = f"{_time(record)} {record.levelname.lower():7} {_clean(record.getMessage())} {extra}".rstrip()
        return f"{line}\n{_trace(self, record)}" if record.exc_info else line


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Where it happened, without the exception's own text, which may hold what a client or an upstream sent."""
    kind, _, trace = record.exc_info or (None, None, None)
    lines = [f"{kind.__name__ if kind else 'error'}"]
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return "\n".join(lines)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
