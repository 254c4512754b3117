"""Reads what a GraphQL server answers about its own schema: the same types as SDL has, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skills_catalog.descriptions.openapi import mapping, text
from skills_catalog.descriptions.sdl import Argument, Field, Kind, Malformed, Schema, Type, TypeRef

_KINDS: Mapping[str, Kind] = {
    "OBJECT": "object",
    "INTERFACE": "interface",
    "UNION": "union",
    "ENUM": "enum",
    "INPUT_OBJECT": "input",
    "SCALAR": "scalar",
}


def introspected(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema in an answer to an introspection query, with or without its `data`; None where there is none."""
    for holder in (document, document.get("data")):
        if isinstance(holder, dict) and isinstance(holder.get("__schema"), dict):
            return mapping(holder["__schema"])
    return None


def schema_of(said: Mapping[str, Any]) -> Schema:
    """The types of an introspected schema. Raises `Malformed`."""
    schema = Schema(roots={})
    for operation in ("query", "mutation"):
        root = text(mapping(said.get(f"{operation}Type")).get("name"))
        if root:
            schema.roots[operation] = root
    for node in _list(said.get("types")):
        name = text(node.get("name"))
        # The types that introspection itself is made of.
        if not name.startswith("__"):
            schema.types[name] = _type(node, name)
    return schema


def _type(node: Mapping[str, Any], name: str) -> Type:
    kind = _KINDS.get(text(node.get("kind")))
    if kind is None or not name:
        raise Malformed(f"the type {name[:64]!r} is of no kind that there is")
    return Type(
        kind=kind,
        name=name,
        description=text(node.get("description")),
        fields={text(one.get("name")): _field(one) for one in _list(node.get("fields"))},
        inputs=_arguments(node.get("inputFields")),
        values=[text(one.get("name")) for one in _list(node.get("enumValues"))],
        members=[text(one.get("name")) for one in _list(node.get("possibleTypes"))] if kind == "union" else [],
    )


def _field(node: Mapping[str, Any]) -> Field:
    return Field(
        type=_reference(node.get("type")),
        arguments=_arguments(node.get("args")),
        description=text(node.get("description")),
        deprecated=node.get("isDeprecated") is True,
    )


def _arguments(nodes: Any) -> dict[str, Argument]:
    return {
        text(one.get("name")): Argument(
            type=_reference(one.get("type")),
            has_default=one.get("defaultValue") is not None,
            description=text(one.get("description")),
        )
        for one in _list(nodes)
    }


def _reference(node: Any) -> TypeRef:
    node = mapping(node)
    if node.get("kind") == "NON_NULL":
        inner = _reference(node.get("ofType"))
        return TypeRef(name=inner.name, of=inner.of, required=True)
    if node.get("kind") == "LIST":
        return TypeRef(of=_reference(node.get("ofType")))
    name = text(node.get("name"))
    if not name:
        raise Malformed("a type is not named as deep as it lies; the introspection asked for too few levels of ofType")
    return TypeRef(name=name)


def _list(nodes: Any) -> list[Mapping[str, Any]]:
    return [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
