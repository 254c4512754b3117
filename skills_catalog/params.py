"""The params of an action: which there are, where each goes on the request, and that no two meet there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skills_catalog import templates
from skills_catalog.definition import Definition, Path, meant
from skills_catalog.model import Json, Location, Param, Placement, RequestTemplate, Text, Variable
from skills_catalog.names import MEDIA_TYPE, is_header_name, is_reserved_header
from skills_catalog.schemas import check_size, with_definitions

#: What callers give for a file where the definition says nothing else.
FILE_SCHEMA: Mapping[str, Json] = {
    "anyOf": [
        {"type": "string", "contentEncoding": "base64", "description": "The content in base64."},
        {
            "type": "object",
            "properties": {
                "content": {"type": "string", "contentEncoding": "base64"},
                "filename": {"type": "string", "maxLength": 255},
                "content_type": {"type": "string", "maxLength": 100, "pattern": f"^{MEDIA_TYPE}$"},
            },
            "required": ["content"],
            "additionalProperties": False,
        },
    ]
}

_PLACING = frozenset({"in", "as", "whole", "explode", "const"})
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Wire:
    """A param with the place where the file says it, and its schema as callers see it."""

    at: Path
    param: Param


def read_wires(definition: Definition, at: Path, spec: Mapping[str, Any], template: RequestTemplate) -> list[Wire]:
    """Every param and constant of an action, with its place."""
    full: Mapping[str, Any] = spec.get("input", {})
    properties: Mapping[str, Any] = full.get("properties", {})
    placed: Mapping[str, Any] = spec.get("params", {})
    if full:
        _check_input(definition, at, full, placed)
    entries: dict[str, tuple[Path, Any, Any]] = {
        name: ((*at, "input", "properties", name), schema, placed.get(name, {})) for name, schema in properties.items()
    }
    for name, entry in placed.items():
        if name not in entries:
            entries[name] = ((*at, "params", name), _without_placing(entry), entry)
    named = set(templates.variables(template))
    has_file = any(entry.get("in") == "file" for _, _, entry in entries.values())
    default = partial(_default_location, method=template.method, named=named, has_file=has_file)
    return [
        Wire(where, _param(definition, where, name, schema, entry, full, default))
        for name, (where, schema, entry) in entries.items()
    ]


def bound_template(
    definition: Definition, at: Path, template: RequestTemplate, wires: Sequence[Wire]
) -> RequestTemplate:
    """The template with its variables renamed to the params that fill them."""
    filling: dict[str, str] = {}
    for wire in wires:
        if wire.param.location == "path":
            filling[wire.param.wire[0]] = wire.param.name
    found = templates.variables(template)
    for name in dict.fromkeys(found):
        if name not in filling:
            known = [wire.param.name for wire in wires]
            definition.note((*at, "request"), f"No param fills {{{name}}}.{meant(name, known)}")
        if found.count(name) > 1:
            definition.note((*at, "request"), f"{{{name}}} stands in the path twice.")
    for wire in wires:
        if wire.param.location == "path" and wire.param.wire[0] not in found and template.path:
            definition.note(wire.at, f"The path has no {{{wire.param.wire[0]}}} for it.")
    return RequestTemplate(
        method=template.method,
        path=template.path,
        segments=tuple(
            tuple(
                piece if isinstance(piece, Text) else Variable(filling.get(piece.name, piece.name), piece.keep_slash)
                for piece in pieces
            )
            for pieces in template.segments
        ),
    )


def check_wires(definition: Definition, wires: Sequence[Wire], method: str) -> None:
    """Where things go must be possible, and no two may go to the same place."""
    taken: dict[tuple[str, ...], str] = {}
    kinds = {wire.param.location for wire in wires}
    whole = [wire for wire in wires if wire.param.whole]
    for wire in wires:
        param = wire.param
        _check_wire(definition, wire, method, kinds)
        if whole and param.location == "body" and (not param.whole or wire is not whole[0]):
            definition.note(wire.at, f"{whole[0].param.name} is the whole body, so nothing else goes there.")
            continue
        place = _place(param)
        for length in range(1, len(place) + 1):
            other = taken.get(place[:length]) if length > 1 else None
            if other:
                definition.note(wire.at, f"Goes to the same place as {other}.")
                break
        else:
            clash = next((name for known, name in taken.items() if known[: len(place)] == place), None)
            if clash:
                definition.note(wire.at, f"Goes to the same place as {clash}.")
        taken.setdefault(place, param.name)


def check_injections(
    definition: Definition, at: Path, spec: Mapping[str, Any], wires: Sequence[Wire], auth: Sequence[str], method: str
) -> None:
    """Callers must not be able to say what the credential says."""
    fixed = {name.lower(): ("headers", name) for name in definition.spec.get("headers", {})}
    fixed |= {name.lower(): (*at, "headers", name) for name in spec.get("headers", {})}
    for wire in wires:
        if wire.param.location == "header" and wire.param.wire[0].lower() in fixed:
            definition.note(wire.at, f"The header {wire.param.wire[0]} is set by `headers` already.")
    for one in definition.methods:
        if one.name not in auth or one.placement is None:
            continue
        slot = one.placement
        if slot.location == "body" and method in ("GET", "HEAD"):
            definition.note((*at, "request"), f"{one.name} goes into the body, which a {method} does not have.")
        if slot.location == "header" and slot.name.lower() in fixed:
            definition.note(fixed[slot.name.lower()], f"The header is where the credential of {one.name} goes.")
        for wire in wires:
            if _collides(wire.param, slot):
                definition.note(wire.at, f"Is where the credential of {one.name} goes; callers may not set it.")


def input_schema(
    definition: Definition, at: Path, spec: Mapping[str, Any], params: Mapping[str, Param]
) -> dict[str, Json]:
    """What callers see: a closed object of the params, with the definitions that it needs."""
    full: Mapping[str, Any] = spec.get("input", {})
    # A param that a connection field can fill is asked for only after that was tried.
    required = [param.name for param in params.values() if param.required and param.default_from is None]
    schema: dict[str, Json] = {
        "type": "object",
        **{key: value for key, value in full.items() if key not in ("type", "$defs", "required")},
        "properties": {name: param.schema for name, param in params.items()},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
    definitions = _definitions_of(definition, full)
    before = len(definition.mistakes)
    where: Path = (*at, "input" if full else "params")
    check_size(schema, definitions, lambda _, message: definition.note(where, message))
    return with_definitions(schema, definitions) if len(definition.mistakes) == before else schema


def _param(
    definition: Definition,
    at: Path,
    name: str,
    schema: Any,
    entry: Mapping[str, Any],
    full: Mapping[str, Any],
    default_location: Callable[[str], Location],
) -> Param:
    wire = entry.get("as", name)
    location: Location = entry.get("in") or default_location(wire)
    required = entry.get("required") is True or name in full.get("required", ()) or location == "path"
    if location == "path" and entry.get("required") is False:
        definition.note((*at, "required"), "A param of the path is always required.")
    if location == "file" and isinstance(schema, dict) and not _has_type(schema):
        schema = {**FILE_SCHEMA, **schema}
    is_const = "const" in entry
    if is_const:
        _constant(definition, (*at, "const"), entry["const"], location)
    else:
        definition.schema(at, schema, _definitions_of(definition, full))
    default = next((field.name for field in definition.fields if field.default_for == name), None)
    if default is not None and isinstance(schema, dict) and "string" not in schema.get("type", "string"):
        definition.note(at, f"The connection field {default} fills it with text, so it must take a string.")
    return Param(
        name=name,
        location=location,
        wire=_wire(wire, location, entry),
        schema=schema if isinstance(schema, dict) else {"not": {}} if schema is False else {},
        required=required,
        whole=entry.get("whole", False),
        explode=entry.get("explode", True),
        const=entry.get("const"),
        is_const=is_const,
        default_from=None if is_const else default,
    )


def _check_input(definition: Definition, at: Path, full: Mapping[str, Any], placed: Mapping[str, Any]) -> None:
    properties = full["properties"]
    if full.get("additionalProperties", False) is not False:
        definition.note((*at, "input", "additionalProperties"), "The input is closed: only false can stand here.")
    for name in full.get("required", ()):
        if name not in properties:
            definition.note((*at, "input", "required"), f"{name} is required but is not a property.")
    for name, entry in placed.items():
        if name in properties:
            for key in sorted(set(entry) - _PLACING | set(entry) & {"const"}):
                definition.note((*at, "params", name, key), "Beside `input`, a param says only where it goes.")
        elif "const" not in entry:
            definition.note((*at, "params", name), "Is not a property of `input`.")
    rest = {key: value for key, value in full.items() if key not in ("properties", "$defs")}
    definition.schema((*at, "input"), rest, _definitions_of(definition, full))
    for name, schema in full.get("$defs", {}).items():
        definition.schema((*at, "input", "$defs", name), schema, _definitions_of(definition, full))


def _constant(definition: Definition, at: Path, value: Json, location: Location) -> None:
    if location in ("path", "query", "header") and isinstance(value, dict | list | None):
        definition.note(at, f"A constant in the {location} is a string, a number, true or false.")
    elif location == "header":
        definition.header_value(at, str(value))
    elif location == "file":
        definition.note(at, "A file cannot be a constant.")


def _check_wire(definition: Definition, wire: Wire, method: str, kinds: set[Location]) -> None:
    param, name = wire.param, ".".join(wire.param.wire)
    if param.location in ("body", "form", "file") and method in ("GET", "HEAD"):
        definition.note(wire.at, f"A {method} has no body; use `in: query`.")
    if param.location == "file" and method not in ("POST", "PUT", "PATCH"):
        definition.note(wire.at, "A file needs POST, PUT or PATCH.")
    if param.location == "body" and kinds & {"form", "file"}:
        definition.note(wire.at, "A body is either JSON or a form; beside forms and files use `in: form`.")
    if param.whole and param.location != "body":
        definition.note(wire.at, "Only a param `in: body` can be the whole body.")
    if param.location == "header":
        if not is_header_name(name):
            definition.note(wire.at, f"{name} cannot be the name of a header; give the name with `as:`.")
        elif is_reserved_header(name):
            definition.note(wire.at, f"The header {name} may not be set by a param.")
    if _CONTROLS.search(name) or (not all(wire.param.wire) and not param.whole):
        definition.note(wire.at, "The name on the wire is empty or holds control characters.")


def _definitions_of(definition: Definition, full: Mapping[str, Any]) -> dict[str, Any]:
    return {**definition.definitions, **full["$defs"]} if "$defs" in full else definition.definitions


def _default_location(wire: str, *, method: str, named: set[str], has_file: bool) -> Location:
    if wire in named:
        return "path"
    if method in ("GET", "HEAD", "DELETE"):
        return "query"
    # Beside a file the rest can only be fields of the same form.
    return "form" if has_file else "body"


def _wire(name: str, location: Location, entry: Mapping[str, Any]) -> tuple[str, ...]:
    if entry.get("whole"):
        return ()
    # Only a JSON body nests; elsewhere a dot is a letter of the name.
    return tuple(name.split(".")) if location == "body" and "as" in entry else (name,)


def _place(param: Param) -> tuple[str, ...]:
    """Where a param goes, so that two of the same place can be found: location, then the parts of its name."""
    location = "form" if param.location == "file" else param.location
    names = tuple(name.lower() for name in param.wire) if location == "header" else param.wire
    return (location, *names)


def _collides(param: Param, slot: Placement) -> bool:
    if slot.location == "header":
        return param.location == "header" and param.wire[0].lower() == slot.name.lower()
    if slot.location == "query":
        return param.location == "query" and param.wire[0] == slot.name
    if slot.location == "body" and param.location in ("body", "form", "file"):
        return param.whole or param.wire[0] == slot.name
    return False


def _without_placing(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in entry.items()
        if key not in _PLACING and not (key == "required" and isinstance(value, bool))
    }


def _has_type(schema: Mapping[str, Any]) -> bool:
    return not schema.keys().isdisjoint({"type", "$ref", "anyOf", "oneOf", "allOf", "enum"})
