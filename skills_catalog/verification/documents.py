"""Holds the GraphQL document of a request against the schema: fields, arguments, variables, selections."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from skills_catalog.descriptions.sdl import (
    Argument,
    Malformed,
    Request,
    Schema,
    Selected,
    Type,
    TypeRef,
    Variable,
    parse_request,
)
from skills_catalog.verification.operations import Built

_DEEPEST = 30
_MOST_FOUND = 20
_SCALARS = frozenset({"Int", "Float", "String", "Boolean", "ID"})


def compare_document(schema: Schema, built: Built) -> tuple[str, list[str]]:
    """The root field that a request asks for (`query issue`), and what is wrong with its document."""
    try:
        body = json.loads(built.body or b"null")
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        return "", []
    try:
        request = parse_request(body["query"])
    except Malformed as error:
        return "", [f"The document is no GraphQL: {error}."]
    given = body.get("variables")
    name = next((one.name for one in request.selections if one.name), "")
    wrong: list[str] = []
    for message in _wrong(schema, request, given if isinstance(given, dict) else {}):
        wrong.append(message)
        if len(wrong) >= _MOST_FOUND:
            break
    return f"{request.operation} {name}", wrong


def _wrong(schema: Schema, request: Request, given: Mapping[str, Any]) -> Iterator[str]:
    root = schema.root(request.operation)
    if root is None:
        yield f"The schema has no {request.operation}."
        return
    for name, said in request.variables.items():
        if said.type.named not in schema.types and said.type.named not in _SCALARS:
            yield f"${name} is of the type {said.type.named}, which the schema does not have."
        if said.type.required and not said.has_default and given.get(name) is None:
            yield f"${name} is required, and the example does not give it."
        elif name in given:
            yield from _value(schema, said.type, given[name], f"${name}", request)
    for name in given:
        if name not in request.variables:
            yield f"The variable {name} is given, and the document does not declare it."
    yield from _selections(schema, request, root, request.selections, 0)


def _selections(
    schema: Schema, request: Request, holder: Type, selections: tuple[Selected, ...], depth: int
) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    for one in selections:
        if one.spread is not None:
            on, inner = request.fragments.get(one.spread, ("", ()))
            if on not in schema.types:
                yield f"There is no fragment {one.spread}, or no type for it."
            else:
                yield from _selections(schema, request, schema.types[on], inner, depth + 1)
        elif one.on is not None:
            within = schema.types.get(one.on) if one.on else holder
            if within is None:
                yield f"There is no type {one.on}."
            else:
                yield from _selections(schema, request, within, one.selections or (), depth + 1)
        elif not one.name.startswith("__"):
            yield from _field(schema, request, holder, one, depth)


def _field(schema: Schema, request: Request, holder: Type, one: Selected, depth: int) -> Iterator[str]:
    field = holder.fields.get(one.name)
    place = f"{holder.name}.{one.name}"
    if field is None:
        yield f"{place} is not there."
        return
    if field.deprecated:
        yield f"{place} is deprecated."
    for name, value in one.arguments.items():
        if name not in field.arguments:
            yield f"{place} has no argument {name}."
        else:
            yield from _value(schema, field.arguments[name].type, value, f"{place}({name})", request)
    for name, said in field.arguments.items():
        if said.type.required and not said.has_default and name not in one.arguments:
            yield f"{place} requires the argument {name}."
    inner = schema.types.get(field.type.named)
    is_leaf = inner is None or inner.kind in ("scalar", "enum")
    if is_leaf and one.selections is not None:
        yield f"{place} has no fields to select."
    elif not is_leaf and one.selections is None:
        yield f"{place} needs a selection of its fields."
    elif inner is not None and one.selections is not None:
        yield from _selections(schema, request, inner, one.selections, depth + 1)


def _value(schema: Schema, wanted: TypeRef, value: Any, place: str, request: Request, depth: int = 0) -> Iterator[str]:
    """What is wrong with a value, or with the type of the variable that stands for it."""
    if depth > _DEEPEST:
        return
    if isinstance(value, Variable):
        declared = request.variables.get(value.name)
        if declared is None:
            yield f"${value.name} is not declared."
        elif not _may_stand(declared, wanted):
            yield f"${value.name} is {declared.type}, and {place} wants {wanted}."
        return
    if value is None:
        if wanted.required:
            yield f"{place} may not be null."
        return
    if wanted.of is not None:
        for item in value if isinstance(value, list) else [value]:
            yield from _value(schema, wanted.of, item, place, request, depth + 1)
        return
    made = schema.types.get(wanted.name)
    if made is not None and made.kind == "enum" and value not in made.values:
        yield f"{place} must be one of {', '.join(made.values[:8])}."
    if made is not None and made.kind == "input":
        if not isinstance(value, dict):
            yield f"{place} must be an object."
            return
        for name, inner in value.items():
            if name not in made.inputs:
                yield f"{made.name} has no {name}."
            else:
                yield from _value(schema, made.inputs[name].type, inner, f"{made.name}.{name}", request, depth + 1)
        for name, said in made.inputs.items():
            if said.type.required and not said.has_default and value.get(name) is None:
                yield f"{made.name} requires {name}."
    kinds: dict[str, tuple[type, ...]] = {"Int": (int,), "Float": (int, float), "String": (str,), "Boolean": (bool,)}
    kinds["ID"] = (str, int)
    if wanted.name in kinds and (
        not isinstance(value, kinds[wanted.name]) or (isinstance(value, bool) and wanted.name != "Boolean")
    ):
        yield f"{place} must be {wanted.name}."


def _may_stand(declared: Argument, wanted: TypeRef) -> bool:
    """Whether a variable of one type may stand where another is wanted (GraphQL spec §5.8.5)."""
    own = declared.type
    if wanted.required and not own.required and not declared.has_default:
        return False
    if wanted.of is not None:
        return own.of is not None and _may_stand(Argument(type=own.of), wanted.of)
    return own.of is None and own.name == wanted.name
