"""How the value of a param is written: encoded as its definition says, and as names and values of a query or form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from gateway.core.errors import bad_param
from gateway.core.requests.file_params import NO_FILES, GivenFiles, file_content
from gateway.core.requests.mail import mail_bytes
from skills_catalog.model import Param, Style

Pairs = list[tuple[str, str]]

#: Characters of all names and values of one form or query: a deep object writes its path anew for every leaf.
MAX_SPELLED = 16 * 1024 * 1024
_JOINTS: Mapping[Style, str] = {"comma": ",", "space": "%20", "pipe": "%7C"}


def scalar(value: Any) -> str:
    """A value as text: true, false, null and numbers as JSON spells them, an object as compact JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        # What a step made: the rest of the request is text.
        return value.decode("utf-8", "replace")
    return orjson.dumps(value).decode()


def quoted(text: str) -> str:
    return quote(text, safe="")


def ascii_json(value: Any) -> str:
    """JSON that a header can carry: nothing but visible ASCII and spaces."""
    return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")


def encoded(param: Param, value: Any, files: GivenFiles = NO_FILES) -> Any:
    """The value after the steps that its definition names. Raises `Refusal` for one that a step cannot take."""
    for step in param.encode if value is not None else ():
        if step == "mail":
            value = _mail(param, value, files)
        elif step == "file":
            value = _file(param, value, files)
        else:
            value = _STEPS[step](param, value) if step in _STEPS else _word(step, value)
    return value


def pairs(param: Param, value: Any) -> Pairs:
    """Names and values, percent-encoded, of a query or a form."""
    name = param.wire[0] if param.wire else param.name
    found: Pairs = []
    size = 0
    for key, text in _spelled(param, name, value, param.style):
        size += len(key) + len(text)
        if size > MAX_SPELLED:
            raise bad_param(param.name, "maxLength", f"The param {param.name!r} is larger than a form can be.")
        found.append((key, text))
    return found


def _spelled(param: Param, name: str, value: Any, style: Style) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, list):
        yield from _array(param, name, value, style)
    elif isinstance(value, Mapping) and style in ("brackets", "indices", "dots"):
        for key, inner in value.items():
            yield from _spelled(param, _within(param, name, key, style), inner, style)
    else:
        yield quoted(name), quoted(scalar(value))


def _array(param: Param, name: str, items: list[Any], style: Style) -> Iterator[tuple[str, str]]:
    if style == "json":
        yield quoted(name), quoted(scalar(items))
    elif style in _JOINTS:
        yield quoted(name), _JOINTS[style].join(quoted(scalar(item)) for item in items)
    elif style == "indices" or (style == "brackets" and any(isinstance(item, list | Mapping) for item in items)):
        for number, item in enumerate(items):
            yield from _spelled(param, f"{name}[{number}]", item, style)
    else:
        # `a[]` says what it is already where the definition names it so.
        name += "[]" if style == "brackets" and not name.endswith("[]") else ""
        for item in items:
            yield quoted(name), quoted(scalar(item))


def _within(param: Param, name: str, key: str, style: Style) -> str:
    """The name of a member. A key must not lead to another place than its own."""
    wrong = "." if style == "dots" else "[]"
    if not key or any(letter in key for letter in wrong) or "\0" in key:
        raise bad_param(param.name, "propertyNames", f"A name within {param.name!r} is empty or holds one of {wrong}")
    return f"{name}.{key}" if style == "dots" else f"{name}[{key}]"


# -- steps -----------------------------------------------------------------------------------------


def _word(step: str, value: Any) -> Any:
    """`yes/no`: the word for true, the word for false; whatever else stays as it is."""
    yes, _, no = step.partition("/")
    return {True: yes, False: no}.get(value, value) if isinstance(value, bool) else value


def _json(param: Param, value: Any) -> str:
    return ascii_json(value) if param.location == "header" else orjson.dumps(value).decode()


def _ndjson(param: Param, value: Any) -> str:
    return "".join(orjson.dumps(item).decode() + "\n" for item in value)


def _base64(param: Param, value: Any) -> str:
    return base64.b64encode(_bytes(value)).decode()


def _base64url(param: Param, value: Any) -> str:
    return base64.urlsafe_b64encode(_bytes(value)).decode()


def _percent(param: Param, value: Any) -> str:
    return quote(_bytes(value), safe="")


def _unix(param: Param, value: Any) -> int:
    return int(_moment(param, value).timestamp())


def _unix_ms(param: Param, value: Any) -> int:
    return round(_moment(param, value).timestamp() * 1000)


def _date(param: Param, value: Any) -> str:
    return _moment(param, value).date().isoformat()


def _mail(param: Param, value: Any, files: GivenFiles) -> bytes:
    if not isinstance(value, Mapping):
        raise bad_param(param.name, "type", f"The mail {param.name!r} must be an object.")
    return mail_bytes(param.name, value, files)


def _file(param: Param, value: Any, files: GivenFiles) -> bytes:
    _, _, content = file_content(param.name, value, name=param.name, files=files)
    assert isinstance(content, bytes), "files that are encoded are read before"
    return content


_STEPS: Mapping[str, Callable[[Param, Any], Any]] = {
    "json": _json,
    "ndjson": _ndjson,
    "base64": _base64,
    "base64url": _base64url,
    "percent": _percent,
    "unix": _unix,
    "unix_ms": _unix_ms,
    "date": _date,
}


def _moment(param: Param, value: Any) -> datetime:
    """A date with its time or without; without a zone it is UTC."""
    try:
        if not isinstance(value, str) or not re.fullmatch(r"[\d:.TtZz+ -]{8,40}", value, re.ASCII):
            raise ValueError
        moment = datetime.fromisoformat(value.upper())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment.timestamp()
        return moment
    except (ValueError, OverflowError):
        message = f"The param {param.name!r} must be a date such as 2026-11-22T09:30:00Z, or 2026-11-22."
        raise bad_param(param.name, "format", message) from None


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else scalar(value).encode("utf-8", "surrogatepass")
