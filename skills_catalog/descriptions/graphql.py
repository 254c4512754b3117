"""Reads a GraphQL schema: every field of its root types becomes an operation with a document that is ready to send.

What a field answers is chosen for it: the plain fields of its type, and those of what is near to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skills_catalog.descriptions.introspection import schema_of
from skills_catalog.descriptions.model import Body, Description, DescriptionError, Json, Operation, Response
from skills_catalog.descriptions.sdl import Argument, Field, Malformed, Schema, Type, TypeRef, parse_schema

#: Where the requests go, after the base URL, unless the importer is told otherwise.
PATH = "/graphql"
_SCALARS: Mapping[str, Json] = {
    "Int": {"type": "integer"},
    "Float": {"type": "number"},
    "String": {"type": "string"},
    "Boolean": {"type": "boolean"},
    "ID": {"type": "string"},
}
#: Of what lies below the answer's own type, these say what it is.
_TELLING = ("id", "name", "title", "key", "number", "identifier", "email", "login", "url", "state", "status", "type")
_MOST_FIELDS = 30
#: What is asked of a type that has no plain field.
_NOTHING_PLAIN = " { __typename }"


def read_graphql(content: bytes, source: str, digest: str) -> Description:
    """The description of a GraphQL schema (SDL). Raises `DescriptionError`."""
    try:
        schema = parse_schema(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DescriptionError(f"{source}: is not UTF-8.") from error
    except Malformed as error:
        raise DescriptionError(f"{source}: is not a GraphQL schema: {error}.") from error
    return _description(schema, source, digest)


def read_introspected(said: Mapping[str, Any], source: str, digest: str) -> Description:
    """The description of a GraphQL schema as its server tells it. Raises `DescriptionError`."""
    try:
        return _description(schema_of(said), source, digest)
    except Malformed as error:
        raise DescriptionError(f"{source}: is not a GraphQL schema: {error}.") from error


def _description(schema: Schema, source: str, digest: str) -> Description:
    operations = [
        _operation(schema, kind, name, field)
        for kind in ("query", "mutation")
        if (root := schema.root(kind)) is not None
        for name, field in root.fields.items()
    ]
    if not operations:
        raise DescriptionError(f"{source}: has no operation: neither queries nor mutations.")
    return Description(
        source=source,
        kind="GraphQL",
        title="",
        version="",
        digest=digest,
        operations=tuple(operations),
        definitions={
            made.name: _input_schema(schema, made) for made in schema.types.values() if made.kind in ("input", "enum")
        },
        graphql=schema,
    )


def _operation(schema: Schema, kind: str, name: str, field: Field) -> Operation:
    variables = ", ".join(f"${argument}: {said.type}" for argument, said in field.arguments.items())
    given = ", ".join(f"{argument}: ${argument}" for argument in field.arguments)
    asked = schema.types.get(field.type.named)
    # The page that is asked for stands above its items.
    chosen, answer = _chosen(schema, field.type, -1 if asked is not None and _is_page(asked) else 0)
    call = name + (f"({given})" if given else "") + chosen
    document = f"{kind} {name}{f'({variables})' if variables else ''} {{ {call} }}"
    required = [argument for argument, said in field.arguments.items() if said.type.required and not said.has_default]
    properties: dict[str, Json] = {"query": {"const": document}}
    if field.arguments:
        properties["variables"] = {
            "type": "object",
            "properties": {argument: _argument_schema(schema, said) for argument, said in field.arguments.items()},
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }
    return Operation(
        id=f"{kind.capitalize()}.{name}",
        method="POST",
        path=PATH,
        description=field.description,
        tags=(kind.capitalize(),),
        deprecated=field.deprecated,
        body=Body(
            media={
                "application/json": {
                    "type": "object",
                    "properties": properties,
                    "required": ["query", *(["variables"] if required else [])],
                    "additionalProperties": False,
                }
            },
            required=True,
        ),
        responses=(Response(status="200", media={"application/json": _answer_schema(name, answer)}),),
    )


def _answer_schema(name: str, answer: Json) -> Json:
    return {
        "type": "object",
        "properties": {
            "data": {"type": ["object", "null"], "properties": {name: answer}, "required": [name]},
            "errors": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["data"],
    }


def _argument_schema(schema: Schema, said: Argument) -> Json:
    made = _value_schema(schema, said.type)
    return {**made, "description": said.description} if said.description else made


def _value_schema(schema: Schema, kind: TypeRef) -> dict[str, Any]:
    if kind.of is not None:
        return {"type": "array", "items": _value_schema(schema, kind.of)}
    named = schema.types.get(kind.name)
    if named is not None and named.kind in ("input", "enum"):
        return {"$ref": f"#/$defs/{kind.name}"}
    return dict(_scalar(kind.name))


def _input_schema(schema: Schema, made: Type) -> Json:
    about = {"description": made.description} if made.description else {}
    if made.kind == "enum":
        return {"type": "string", "enum": made.values or [""], **about}
    required = [name for name, said in made.inputs.items() if said.type.required and not said.has_default]
    return {
        "type": "object",
        "properties": {name: _argument_schema(schema, said) for name, said in made.inputs.items()},
        "additionalProperties": False,
        **({"required": required} if required else {}),
        **about,
    }


def _scalar(name: str) -> Json:
    """A scalar by its name; of the vendor's own only what the name tells."""
    if name in _SCALARS:
        return _SCALARS[name]
    if re.search(r"json|map|object|any$", name, re.IGNORECASE):
        return {}
    if re.fullmatch(r"(?i)datetime", name):
        return {"type": "string", "format": "date-time"}
    return {"type": "string"}


def _chosen(schema: Schema, kind: TypeRef, depth: int) -> tuple[str, Json]:
    """The selection of a type as text, with a space before it, and the JSON Schema of what it brings."""
    named = schema.types.get(kind.named)
    if named is None or named.kind in ("scalar", "enum", "input"):
        plain = {"type": "string", "enum": named.values} if named and named.values else _scalar(kind.named)
        return "", _wrapped(kind, plain)
    fields: dict[str, tuple[str, Json]] = {}
    # Of many fields the telling ones come along first.
    is_large = len(named.fields) > _MOST_FIELDS
    for name, field in sorted(named.fields.items(), key=lambda one: is_large and one[0] not in _TELLING):
        if field.needs_arguments or field.deprecated or len(fields) >= _MOST_FIELDS or name == "clientMutationId":
            continue
        inner = schema.types.get(field.type.named)
        if inner is None or inner.kind in ("scalar", "enum"):
            if depth == 0 or name in _TELLING or "hasNextPage" in named.fields:
                fields[name] = _chosen(schema, field.type, depth + 1)
        elif _is_worth(named, name, inner, depth):
            text, answer = _chosen(schema, field.type, 0 if _is_page(named) and depth < 0 else max(depth, 0) + 1)
            if text and (text != _NOTHING_PLAIN or name in ("nodes", "edges", "node")):
                fields[name] = (text, answer)
    if not fields:
        fields["__typename"] = ("", {"type": "string"})
    text = " ".join(name + chosen for name, (chosen, _) in fields.items())
    answer = {"type": "object", "properties": {name: made for name, (_, made) in fields.items()}}
    return f" {{ {text} }}", _wrapped(kind, answer)


def _is_worth(holder: Type, name: str, inner: Type, depth: int) -> bool:
    """Whether an object within an object is brought along: the items of the page asked for, and what is near to them."""
    if _is_page(holder):
        return depth < 0 and (name in ("nodes", "pageInfo") or (name == "edges" and "nodes" not in holder.fields))
    if name == "node":
        return depth < 2
    return depth < 1 and not _is_page(inner)


def _is_page(made: Type) -> bool:
    """Whether it is a page of a list: a connection."""
    return "pageInfo" in made.fields and not made.fields.keys().isdisjoint({"nodes", "edges"})


def _wrapped(kind: TypeRef, schema: Json) -> Json:
    if kind.of is not None:
        inner = {"type": "array", "items": _wrapped(kind.of, schema)}
        return inner if kind.required else {"anyOf": [inner, {"type": "null"}]}
    return schema if kind.required else {"anyOf": [schema, {"type": "null"}]}
