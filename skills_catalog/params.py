"""The params of an action: which there are, where each goes on the request, and that no two meet there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skills_catalog import templates
from skills_catalog.definition import Definition, Path, meant
from skills_catalog.model import Body, Json, Location, Param, Placement, RequestTemplate, Style, Text, Variable
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
        {
            "type": "object",
            "description": "A file that was added before: POST /v1/files.",
            "properties": {
                "file_id": {"type": "string", "pattern": "^file_[A-Za-z0-9]{1,64}$"},
                "filename": {"type": "string", "maxLength": 255},
                "content_type": {"type": "string", "maxLength": 100, "pattern": f"^{MEDIA_TYPE}$"},
            },
            "required": ["file_id"],
            "additionalProperties": False,
        },
    ]
}

_SHORT_TEXT = {"type": "string", "maxLength": 1000}
#: What callers give for a mail (RFC 5322) that the definition encodes for them.
MAIL_SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "to": {"type": "array", "items": {"type": "string"}, "maxItems": 500, "description": "Addresses, also `Ada <ada@example.com>`."},
        "cc": {"type": "array", "items": {"type": "string"}, "maxItems": 500, "description": "Who gets a copy."},
        "bcc": {"type": "array", "items": {"type": "string"}, "maxItems": 500, "description": "Who gets a copy unseen."},
        "from": {**_SHORT_TEXT, "description": "Sender, where the account may send as several."},
        "reply_to": {**_SHORT_TEXT, "description": "Where answers go."},
        "subject": {**_SHORT_TEXT, "description": "The subject."},
        "text": {"type": "string", "description": "The message as plain text."},
        "html": {"type": "string", "description": "The message as HTML, instead of the text or beside it."},
        "in_reply_to": {**_SHORT_TEXT, "description": "Message-ID of the mail that it answers."},
        "references": {"type": "array", "items": {"type": "string"}, "maxItems": 100, "description": "Message-IDs of the thread."},
        "attachments": {"type": "array", "items": FILE_SCHEMA, "maxItems": 50, "description": "Files."},
    },
    "required": ["to"],
    "additionalProperties": False,
}

_PLACING = frozenset({"in", "as", "whole", "explode", "style", "encode", "content_type", "member", "spread", "const"})
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What params of an action do that do not say otherwise."""

    method: str
    #: Names in the path of the request.
    named: frozenset[str]
    #: Where params go that have a body to go to.
    body: Location
    style: Style
    #: The object of the JSON body that holds them.
    wrap: tuple[str, ...] = ()

    def location(self, wire: str) -> Location:
        if wire in self.named:
            return "path"
        return "query" if self.method in ("GET", "HEAD", "DELETE") else self.body


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
    usual = _usual(definition, at, spec, template, [entry for _, _, entry in entries.values()])
    return [
        Wire(where, _param(definition, where, name, schema, entry, full, usual))
        for name, (where, schema, entry) in entries.items()
    ]


def body_of(definition: Definition, at: Path, spec: Mapping[str, Any], wires: Sequence[Wire]) -> Body:
    """The form of the body: as the action says, or as its params do. Notes where the two contradict each other."""
    kinds = {wire.param.location for wire in wires if not (wire.param.location == "file" and wire.param.whole)}
    if "body" not in spec:
        return "multipart" if "file" in kinds else "form" if "form" in kinds else "json"
    body: Body = spec["body"] or "null"
    allowed: Mapping[str, set[Location]] = {
        "json": {"body"},
        "form": {"form"},
        "multipart": {"form", "file"},
        "related": {"body", "file"},
        "null": set(),
        "none": set(),
    }
    where: Path = (*at, "body")
    if "graphql" in spec:
        definition.note(where, "A GraphQL request has its own body.")
    for wrong in sorted(kinds & {"body", "form", "file"} - allowed[body]):
        definition.note(where, f"Is {body}, but there are params `in: {wrong}`.")
    if body == "related" and sum(wire.param.location == "file" for wire in wires) != 1:
        definition.note(where, "A related body is the JSON of the body params and exactly one file.")
    return body


def bound_template(
    definition: Definition, at: Path, template: RequestTemplate, wires: Sequence[Wire]
) -> RequestTemplate:
    """The template with its variables renamed to the params that fill them."""
    filling: dict[str, str] = {}
    for wire in wires:
        if wire.param.location == "path":
            filling[wire.param.wire[0]] = wire.param.name
    found = templates.variables(template)
    fields = {field.name for field in definition.fields} - filling.keys()
    for name in dict.fromkeys(found):
        if name not in filling and name not in fields:
            known = [wire.param.name for wire in wires]
            definition.note((*at, "request"), f"No param fills {{{name}}}.{meant(name, [*known, *fields])}")
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
                piece
                if isinstance(piece, Text)
                else Variable(filling.get(piece.name, piece.name), piece.keep_slash, is_field=piece.name in fields)
                for piece in pieces
            )
            for pieces in template.segments
        ),
    )


def check_wires(definition: Definition, wires: Sequence[Wire], method: str, body: Body) -> None:
    """Where things go must be possible, and no two may go to the same place."""
    taken: dict[tuple[str, ...], str] = {}
    kinds = {wire.param.location for wire in wires if not (wire.param.location == "file" and wire.param.whole)}
    whole = [wire for wire in wires if wire.param.whole]
    for wire in wires:
        param = wire.param
        _check_wire(definition, wire, method, kinds, body)
        _check_spelling(definition, wire, body)
        in_body = param.location in ("body", "form", "file")
        if whole and in_body and (not param.whole or wire is not whole[0]):
            definition.note(wire.at, f"{whole[0].param.name} is the whole body, so nothing else goes there.")
            continue
        if param.spread:
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
    definition: Definition,
    at: Path,
    spec: Mapping[str, Any],
    wires: Sequence[Wire],
    auth: Sequence[str],
    method: str,
    body: Body,
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
        if slot.location == "body" and (method in ("GET", "HEAD") or "graphql" in spec or body in ("null", "none")):
            what = "a GraphQL request" if "graphql" in spec else f"a {method}" if method in ("GET", "HEAD") else "this one"
            definition.note((*at, "request"), f"{one.name} goes into the body, which {what} does not have.")
        if slot.location == "header" and slot.name.lower() in fixed:
            definition.note(fixed[slot.name.lower()], f"The header is where the credential of {one.name} goes.")
        slots = [slot, *(Placement(location="header", name=name) for name in one.headers)]
        slots += [Placement(location="query", name=name) for name in one.query]
        for wire in wires:
            if any(_collides(wire.param, taken) for taken in slots):
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
    usual: Usual,
) -> Param:
    wire = entry.get("as", name)
    location: Location = entry.get("in") or usual.location(wire)
    required = entry.get("required") is True or name in full.get("required", ()) or location == "path"
    if location == "path" and entry.get("required") is False:
        definition.note((*at, "required"), "A param of the path is always required.")
    encode = entry.get("encode", [])
    encode = (encode,) if isinstance(encode, str) else tuple(encode)
    if location == "file" and isinstance(schema, dict):
        schema = _file_schema(schema)
    if "file" in encode and isinstance(schema, dict) and not _has_type(schema):
        schema = {**FILE_SCHEMA, **schema}
    if "mail" in encode and isinstance(schema, dict) and not _has_type(schema):
        schema = {**MAIL_SCHEMA, **schema}
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
        wire=_wire(wire, location, entry, usual),
        schema=schema if isinstance(schema, dict) else {"not": {}} if schema is False else {},
        required=required,
        whole=entry.get("whole", False),
        style=entry.get("style") or {True: "repeat", False: "comma"}.get(entry.get("explode"), usual.style),  # type: ignore[arg-type]
        encode=encode,
        content_type=entry.get("content_type"),
        member=_member(name, entry),
        spread=entry.get("spread", False),
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
    elif location == "path" and isinstance(value, str) and templates.fields_in(value):
        definition.note(at, "Write the `{field}` into the path itself.")
    elif location == "file":
        definition.note(at, "A file cannot be a constant.")
    if isinstance(value, str) and (name := re.fullmatch(r"\{(\w+)\}", value)):
        definition.known_fields(at, name[0])


def _check_wire(definition: Definition, wire: Wire, method: str, kinds: set[Location], body: Body) -> None:
    param, name = wire.param, ".".join(wire.param.wire)
    if param.location in ("body", "form", "file") and method in ("GET", "HEAD"):
        definition.note(wire.at, f"A {method} has no body; use `in: query`.")
    if param.location == "file" and method not in ("POST", "PUT", "PATCH"):
        definition.note(wire.at, "A file needs POST, PUT or PATCH.")
    if param.location == "body" and kinds & {"form", "file"} and body != "related":
        definition.note(wire.at, "A body is either JSON or a form; beside forms and files use `in: form`.")
    if param.whole and param.location not in ("body", "file"):
        definition.note(wire.at, "Only a param `in: body` or `in: file` can be the whole body.")
    if param.location == "header":
        if not is_header_name(name):
            definition.note(wire.at, f"{name} cannot be the name of a header; give the name with `as:`.")
        elif is_reserved_header(name):
            definition.note(wire.at, f"The header {name} may not be set by a param.")
    if _CONTROLS.search(name) or (not all(wire.param.wire) and not param.whole):
        definition.note(wire.at, "The name on the wire is empty or holds control characters.")


def _check_spelling(definition: Definition, wire: Wire, body: Body) -> None:
    """How the value is written must make sense where it goes."""
    param = wire.param
    types = param.schema.get("type")
    types = {types} if isinstance(types, str) else set(types or ())
    is_part = param.location in ("form", "file") if body == "multipart" else body == "related" and param.location == "file"
    if param.content_type and not (param.whole or is_part):
        definition.note((*wire.at, "content_type"), "Is of a whole body, or of a part of a multipart body.")
    if param.content_type and param.content_type.startswith("multipart/"):
        definition.note((*wire.at, "content_type"), "Only the request itself can make a multipart body.")
    if param.member and (param.location not in ("query", "header", "form") or param.spread):
        definition.note((*wire.at, "member"), "Only in a query, header or form does a JSON text stand.")
    if param.member and "" in param.member:
        definition.note((*wire.at, "member"), "A part of the name is empty.")
    if param.spread and (param.location not in ("body", "query", "form") or param.whole):
        definition.note((*wire.at, "spread"), "Only in a body, query or form do members stand side by side.")
    if param.spread and param.location in ("query", "form") and param.wire:
        definition.note((*wire.at, "as"), "Members that are spread out have their own names; leave `as` out.")
    if param.spread and types != {"object"}:
        definition.note((*wire.at, "spread"), "Only an object has members: `type: object` is missing.")
    wanted = {"ndjson": {"array"}, "mail": {"object"}, "unix": {"string"}, "unix_ms": {"string"}, "date": {"string"}}
    for number, step in enumerate(param.encode):
        if param.location == "file":
            definition.note((*wire.at, "encode"), "A file is sent as it is.")
        need = {"boolean"} if "/" in step else wanted.get(step)
        if number == 0 and need and types and types != need and not param.is_const:
            definition.note((*wire.at, "encode"), f"{step} is of a value with `type: {min(need)}`.")
        if step == "file" and param.encode[number + 1 : number + 2] not in (("base64",), ("base64url",)):
            definition.note((*wire.at, "encode"), "The bytes of a file are no text: write [file, base64].")
        if number and (need or step in ("json", "file")):
            definition.note((*wire.at, "encode"), f"{step} can only be the first step.")


def _definitions_of(definition: Definition, full: Mapping[str, Any]) -> dict[str, Any]:
    return {**definition.definitions, **full["$defs"]} if "$defs" in full else definition.definitions


def _usual(
    definition: Definition,
    at: Path,
    spec: Mapping[str, Any],
    template: RequestTemplate,
    entries: Sequence[Mapping[str, Any]],
) -> Usual:
    defaults = definition.spec.get("defaults", {})
    body: Location = "body"
    if "graphql" not in spec:
        # Beside a file the rest can only be fields of the same form.
        has_file = any(entry.get("in") == "file" and not entry.get("whole") for entry in entries)
        said = spec.get("body", "multipart" if has_file else defaults.get("body", "json"))
        body = "form" if said in ("form", "multipart") else "body"
    wrap = spec.get("wrap", defaults.get("wrap", "") if "graphql" not in spec else "")
    if "wrap" in spec and ("graphql" in spec or body == "form"):
        definition.note((*at, "wrap"), "Only params of a JSON body can be wrapped.")
    return Usual(
        # A body that is spelled out is meant, also of a DELETE.
        method="POST" if template.method == "DELETE" and spec.get("body") in ("json", "form") else template.method,
        named=frozenset(templates.variables(template)),
        body=body,
        style=spec.get("style", defaults.get("style", "repeat")),
        wrap=tuple(wrap.split(".")) if wrap else (),
    )


def _wire(name: str, location: Location, entry: Mapping[str, Any], usual: Usual) -> tuple[str, ...]:
    if entry.get("whole"):
        return ()
    # Members that are spread out stand in the object that the param itself would have stood in.
    names: tuple[str, ...] = () if entry.get("spread") and "as" not in entry else (name,)
    if location != "body":
        # Only a JSON body nests; elsewhere a dot is a letter of the name.
        return names if location in ("query", "form") else (name,)
    return (*usual.wrap, *(name.split(".") if "as" in entry else names))


def _member(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    member = entry.get("member")
    if member is None:
        return ()
    return (name,) if member is True else tuple(member.split("."))


def _file_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a file, or of an array of files, where the definition leaves it to us."""
    if not _has_type(schema):
        return {**FILE_SCHEMA, **schema}
    items = schema.get("items", {})
    if schema.get("type") == "array" and isinstance(items, dict) and not _has_type(items):
        return {**schema, "items": {**FILE_SCHEMA, **items}}
    return schema


def _place(param: Param) -> tuple[str, ...]:
    """Where a param goes, so that two of the same place can be found: location, then the parts of its name."""
    location = "form" if param.location == "file" else param.location
    names = tuple(name.lower() for name in param.wire) if location == "header" else param.wire
    if location in ("query", "form") and names:
        # `a[b]` is within `a`, whoever spells it.
        names = tuple(re.split(r"\]?\[", names[0].removesuffix("]")))
    return (location, *names, *param.member)


def _collides(param: Param, slot: Placement) -> bool:
    if slot.location == "header":
        return param.location == "header" and param.wire[0].lower() == slot.name.lower()
    if slot.location == "query":
        return param.location == "query" and param.wire == (slot.name,)
    if slot.location == "body" and param.location in ("body", "form", "file"):
        return param.whole or param.wire[:1] == (slot.name,)
    return False


def _without_placing(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in entry.items()
        if key not in _PLACING and not (key == "required" and isinstance(value, bool))
    }


def _has_type(schema: Mapping[str, Any]) -> bool:
    return not schema.keys().isdisjoint({"type", "$ref", "anyOf", "oneOf", "allOf", "enum"})
