"""A value that a connection field might have, for trying a definition without a connection."""

from __future__ import annotations

from skills_catalog.model import ConnectionField


def sample_value(field: ConnectionField) -> str:
    """Its default, what its host or schema allows, or a word."""
    if field.default is not None:
        return field.default
    if field.host:
        return "example" if field.host == "label" else "api.example.com"
    listed = [*field.schema.get("examples", ()), *field.schema.get("enum", ())]
    return next((value for value in listed if isinstance(value, str)), "example")
