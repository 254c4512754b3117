"""Holds a file against integration.schema.json and says in plain words where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

from skills_catalog.definition import MOST_MISTAKES
from skills_catalog.mistakes import Mistake
from skills_catalog.names import nearest
from skills_catalog.strict_yaml import Document
from skills_catalog.validation import compile_schema, expectation, known_properties

SCHEMA_FILE = Path(__file__).with_name("integration.schema.json")

_DAY = "must be a day such as 2026-11-30"
_NAME = "must be lower-case letters, digits and `_`, beginning with a letter, at most 64 of them"
_ENCODING = "must be json, ndjson, base64, base64url, percent, unix, unix_ms, date, mail, file, or two words such as 1/0"
# What a pattern or a choice of our schema means, by where it stands there.
_MEANING = {
    ("$defs", "name"): _NAME,
    ("$defs", "param_name"): "must be letters, digits, `_` and `-`, beginning with a letter or `_`, at most 64",
    ("$defs", "field_name"): "must be letters, digits and `_`, beginning with a letter or `_`, at most 64",
    ("$defs", "category"): "must be lower-case letters, digits, `-` and `_`, beginning with a letter",
    ("$defs", "duration"): "must be seconds, or a duration such as 30s, 5m or 1h",
    ("$defs", "action", "properties", "deprecated", "properties", "since"): _DAY,
    ("$defs", "action", "properties", "deprecated", "properties", "sunset"): _DAY,
    ("$defs", "header_name"): "must be a header name: letters, digits and `-`",
    ("$defs", "action", "properties", "request"): (
        "must be a method and a path after the base URL, such as GET /users/{id}"
    ),
    ("$defs", "auth", "properties", "name"): "must be letters, digits, `_` and `-`, beginning with a letter",
    ("properties", "version"): "must be a semantic version such as 1.0.0",
    ("$defs", "errors", "items"): "must have `status` or `code`",
    ("$defs", "action"): "must have `request` or `graphql`",
    ("$defs", "action", "properties", "scopes"): "must be a list of scopes, or a list of such lists",
    ("$defs", "server"): _NAME,
    ("$defs", "wrap"): "must be a name, or names with dots between them",
    ("$defs", "encoding"): _ENCODING,
    ("$defs", "param", "properties", "encode"): _ENCODING,
}


def mistakes_of_shape(document: Document) -> list[Mistake]:
    """Every place where the document does not fit the schema, in the order of the file."""
    if not isinstance(document.value, dict):
        return [document.mistake((), "The file must be a mapping that begins with `slug:`.")]
    found: list[Mistake] = []
    for error in islice(_check().iter_errors(document.value), MOST_MISTAKES):
        found += _mistakes(document, error)
        if len(found) >= MOST_MISTAKES:
            break
    return sorted(found, key=lambda mistake: mistake.line)


@cache
def integration_schema() -> Mapping[str, Any]:
    """The JSON Schema of one integration file."""
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


@cache
def _check() -> Draft202012Validator:
    return compile_schema(integration_schema())


def _mistakes(document: Document, error: ValidationError) -> list[Mistake]:
    at: list[str | int] = list(error.instance_path)
    kind: Any = error.kind
    match kind.name:
        case "required":
            return [document.mistake(at, f"`{kind.property}` is missing.")]
        case "additionalProperties":
            known = known_properties(integration_schema(), error)
            return [document.mistake([*at, name], _unknown(name, known)) for name in kind.unexpected[:MOST_MISTAKES]]
        case "propertyNames":
            name = kind.error.instance
            return [document.mistake([*at, name], f"The name {_meaning(kind.error, at=())}.")]
        case _:
            return [document.mistake(at, f"{_capital(_meaning(error, at))}.{_quote_hint(error)}")]


def _unknown(name: str, known: Sequence[str]) -> str:
    meant = nearest(name, known)
    if meant:
        return f"Unknown key. Did you mean {meant}?"
    return f"Unknown key; known here: {', '.join(known)}." if 0 < len(known) <= 20 else "Unknown key."


def _meaning(error: ValidationError, at: Sequence[str | int]) -> str:
    if error.kind.name in ("pattern", "anyOf", "maxLength", "minLength", "format"):
        path = tuple(error.schema_path)[:-1]
        for length in range(len(path), 1, -1):
            if path[:length] in _MEANING:
                return _MEANING[path[:length]]  # type: ignore[index]
    return expectation(error)


def _quote_hint(error: ValidationError) -> str:
    """`version: 1.0` reads as a number; quotes make it text."""
    wants_text = error.kind.name == "type" and "string" in error.kind.types  # type: ignore[attr-defined]
    is_scalar = isinstance(error.instance, int | float)
    return " Put it in quotes to make it text." if wants_text and is_scalar else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
