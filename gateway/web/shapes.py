"""Pieces of the schemas of answers. Objects are open: whoever reads them passes over members that came later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
AMOUNT: Schema = {"type": "integer"}
YES_OR_NO: Schema = {"type": "boolean"}
WHEN: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date"}
LINK: Schema = {"type": "string", "format": "uri"}
ANY_OBJECT: Schema = {"type": "object"}
ANY: Schema = {}


def shape(about: str = "", /, *, optional: Mapping[str, Schema] | None = None, **members: Schema) -> Schema:
    """An object whose `members` are always there and whose `optional` ones are there sometimes."""
    said = {"description": about} if about else {}
    return {**said, "type": "object", "properties": {**members, **(optional or {})}, "required": list(members)}


def listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]} if "type" not in schema else {**schema, "type": [schema["type"], "null"]}


def one_of(values: Sequence[str | None]) -> Schema:
    """Words that are known today; there may be more of them one day."""
    types = ["string", "null"] if None in values else "string"
    return {"type": types, "enum": list(values)}


def described(schema: Schema, about: str) -> Schema:
    return {**schema, "description": about}
