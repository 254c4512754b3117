"""Texts of a definition with `{name}`s in them, filled in once: what a value says is never filled in again."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names_in(text: str) -> list[str]:
    """The names that a text holds."""
    return _NAME.findall(text) if "{" in text else []


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its names replaced; one without a value becomes nothing."""
    return _NAME.sub(lambda match: values.get(match[1], ""), text) if "{" in text else text


def fill_whole(text: str, values: Mapping[str, str]) -> str | None:
    """The same, or None where a name has no value: half a text is of no use."""
    return fill(text, values) if all(values.get(name) for name in names_in(text)) else None


def fill_json(value: Any, values: Mapping[str, str], known: Collection[str] | None = None) -> Any:
    """A JSON value with its texts filled in; where `known` is given, braces around other names are letters like any."""
    if isinstance(value, str):
        if "{" not in value or known is None:
            return fill(value, values)
        return _NAME.sub(lambda match: values.get(match[1], "") if match[1] in known else match[0], value)
    if isinstance(value, Mapping):
        return {name: fill_json(inner, values, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill_json(inner, values, known) for inner in value]
    return value
