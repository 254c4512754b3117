"""Params of imported actions: where each goes, under which name, with which schema, and a value for the example."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from skills_catalog.descriptions.model import NOTHING, Body, Description, Json, Operation, Parameter
from skills_catalog.descriptions.openapi import is_json, plain_media
from skills_catalog.descriptions.schemas import resolved
from skills_catalog.importing.naming import param_name
from skills_catalog.importing.samples import Samples
from skills_catalog.importing.shapes import DEEPEST, MOST_PARTS, Shapes, TooLarge
from skills_catalog.importing.words import first_sentence, words_of
from skills_catalog.names import is_header_name, is_reserved_header
from skills_catalog.verification.values import Values

_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_IDEMPOTENCY = re.compile(r"(x-)?idempotency-key|x-request-id-idempotent", re.IGNORECASE)
#: What formats an answer for people, or is the business of the transport.
_NOISE = frozenset(
    {
        *("pretty", "opt_pretty", "prettyprint", "callback", "alt", "quotauser", "userip", "upload_protocol"),
        *("uploadtype", "$.xgafv", "xgafv", "oauth_token", "access_token", "key"),
        *("user-agent", "accept", "content-type", "authorization", "accept-encoding"),
    }
)
#: More params than that are given as one body.
_MOST_PARAMS = 150
_LONGEST_TEXT = 240
#: Optional params that an example shows beside the required ones.
_MOST_SHOWN = 2
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_HOW = {"spaceDelimited": "spaces", "pipeDelimited": "`|`", "tabDelimited": "tabs"}


class NotImportable(Exception):
    """An operation that our format cannot say; the message says what of it."""


@dataclass(slots=True, kw_only=True)
class Input:
    """What an action takes, in the words of a definition, and the params of its example."""

    #: Template of the path, its variables named as the params are.
    path: str
    params: dict[str, dict[str, Json]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    example: dict[str, Json] = field(default_factory=dict)
    idempotency: dict[str, Json] | None = None
    #: Vendor's name of a query parameter -> ours.
    query: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Wanted:
    """A param to be: the vendor's schema of it, and what a definition says beside the schema."""

    wire: str
    #: path, query, header, body, form, file
    location: str
    schema: Json
    required: bool
    #: What the name is made of, where it is not what stands on the wire.
    name: str = ""
    entry: dict[str, Json] = field(default_factory=dict)
    own: Sequence[Json] = ()
    description: str = ""
    #: What the example shows: None where there is nothing special to it.
    shown: _Shown | None = None


@dataclass(frozen=True, slots=True)
class _Shown:
    """A property in the form of a body that the example follows; of several forms there is one."""

    schema: Json
    required: bool


def common_headers(description: Description) -> dict[str, str]:
    """Headers that nearly all operations take and that have one sensible value, such as the API's version."""
    found: dict[str, list[Parameter]] = {}
    for operation in description.operations:
        for one in operation.parameters:
            if one.location == "header" and not one.credential:
                found.setdefault(one.name, []).append(one)
    made: dict[str, str] = {}
    for name, listed in found.items():
        said = resolved(listed[0].schema, description.definitions)
        value = _only_value(said) if isinstance(said, dict) else None
        is_common = isinstance(value, str | int | float) and len(listed) >= len(description.operations) * 0.5
        if is_common and is_header_name(name) and not is_reserved_header(name) and _VISIBLE.fullmatch(str(value)):
            made[name] = str(value)
    return made


def _only_value(schema: Mapping[str, Json]) -> Json:
    if "default" in schema:
        return schema["default"]
    listed = schema.get("enum", ())
    return listed[0] if len(listed) == 1 else schema.get("const")


class Inputs:
    """Makes the input of one operation after the other."""

    def __init__(self, description: Description, shapes: Shapes, fixed_headers: Mapping[str, str]) -> None:
        self._definitions = description.definitions
        self._values = Values(description.definitions)
        self._shapes = shapes
        self._samples = Samples(shapes.definition, shapes.validates)
        self._fixed = {name.lower() for name in fixed_headers}

    def of(self, operation: Operation) -> Input:
        """The input of an operation. Raises `NotImportable`."""
        made = Input(path=operation.path)
        wanted = [
            *self._path(operation, made),
            *self._query(operation, made),
            *self._headers(operation, made),
            *self._body(operation, made),
        ]
        _name(wanted, made, operation.method)
        self._fill(wanted, made)
        return made

    # ------------------------------------------------------------------ outside the body

    def _path(self, operation: Operation, made: Input) -> Iterator[_Wanted]:
        known = {one.name: one for one in operation.parameters if one.location == "path"}
        for wire in dict.fromkeys(re.findall(r"\{([^{}]*)\}", operation.path)):
            if operation.path.count(f"{{{wire}}}") > 1:
                raise NotImportable(f"{{{wire}}} stands in the path twice")
            one = known.get(wire, Parameter(name=wire, location="path", schema={"type": "string"}, required=True))
            schema = one.schema
            if "array" in self._values.types(schema):
                schema = {"type": "string", "description": "Values, separated by commas."}
            name = param_name(wire, made.params)
            said = resolved(schema, self._definitions)
            # A credential is somebody's; whose data it is about is not for the caller to say.
            is_me = isinstance(said, dict) and said.get("default") in ("me", "@me")
            made.params[name] = {}
            made.path = made.path.replace(f"{{{wire}}}", f"{{{'+' if one.multi_segment else ''}{name}}}")
            yield _Wanted(
                wire=name, location="path", name=name, schema=schema, required=True, own=one.examples,
                description=one.description, entry={"const": said["default"]} if is_me else {},
            )  # fmt: skip

    def _query(self, operation: Operation, made: Input) -> Iterator[_Wanted]:
        for one in operation.parameters:
            if one.location == "cookie" and one.required and not one.credential:
                raise NotImportable(f"the cookie {one.name} is required")
            if one.location != "query" or self._is_left_out(one):
                continue
            types = self._values.types(one.schema)
            if types == {"object"} and (one.style == "deepObject" or (one.explode and not one.as_json)):
                yield from self._spread(one)
                continue
            entry: dict[str, Json] = {}
            schema = one.schema
            if "array" in types and (one.as_json or one.style in _HOW):
                how = "as JSON" if one.as_json else f"separated by {_HOW[one.style]}"
                schema = {"type": "string", "description": f"A list, {how}."}
            elif "array" in types and not one.explode:
                entry["explode"] = False
            yield _Wanted(
                wire=one.name, location="query", schema=schema, required=one.required, entry=entry,
                own=one.examples, description=one.description,
            )  # fmt: skip

    def _is_left_out(self, one: Parameter) -> bool:
        if one.credential or (one.name.lower() in _NOISE and not one.required):
            return True
        if one.deprecated and not one.required:
            self._shapes.lost["optional params that the vendor calls deprecated"] += 1
            return True
        return False

    def _spread(self, one: Parameter) -> Iterator[_Wanted]:
        """An object of the query, each of its properties by itself."""
        known, required, _ = self._values.properties(one.schema)
        if not known:
            self._shapes.lost["objects of the query without known properties"] += 1
        for name, schema in known.items():
            wire = f"{one.name}[{name}]" if one.style == "deepObject" else name
            yield _Wanted(
                wire=wire, location="query", name=f"{one.name}_{name}" if one.style == "deepObject" else "",
                schema=schema, required=one.required and name in required,
                description=str((resolved(schema, self._definitions) or {}).get("description", "") or one.description),
            )  # fmt: skip

    def _headers(self, operation: Operation, made: Input) -> Iterator[_Wanted]:
        for one in operation.parameters:
            if one.location != "header" or one.name.lower() in self._fixed or self._is_left_out(one):
                continue
            if one.name.lower() == "content-type" and operation.body is not None:
                # The body's own type says it (OpenAPI 3.1, Parameter Object).
                continue
            if not is_header_name(one.name) or is_reserved_header(one.name):
                if one.required:
                    raise NotImportable(f"the header {one.name} is required and may not be set")
                continue
            if _IDEMPOTENCY.fullmatch(one.name) and not one.required:
                made.idempotency = {"header": one.name}
                continue
            yield _Wanted(
                wire=one.name, location="header", name="_".join(words_of(one.name)), schema=one.schema,
                required=one.required, own=one.examples, description=one.description,
            )  # fmt: skip

    # ------------------------------------------------------------------ the body

    def _body(self, operation: Operation, made: Input) -> Iterator[_Wanted]:
        body = operation.body
        if body is None:
            return
        if operation.method in ("GET", "HEAD"):
            if body.required:
                raise NotImportable(f"a {operation.method} with a body")
            self._shapes.lost[f"bodies of a {operation.method}"] += 1
            return
        for media, schema in body.media.items():
            plain = plain_media(media)
            if is_json(plain):
                yield from self._json(body, schema)
                return
            if plain in (_URLENCODED, _MULTIPART):
                fields = list(self._form(body, schema, is_multipart=plain == _MULTIPART))
                if plain == _MULTIPART and fields and not any(one.location == "file" for one in fields):
                    continue
                yield from fields
                return
            if self._is_text(schema):
                yield self._raw(media, schema, body, made)
                return
        raise NotImportable(f"a body of {', '.join(body.media)}")

    def _json(self, body: Body, schema: Json) -> Iterator[_Wanted]:
        known, _, is_open = self._object(schema)
        others = self._values.types(schema) - {"object"}
        if others - {"null"} or not known or len(known) > _MOST_PARAMS or _dotted(known):
            if not known and not is_open and not others:
                return
            yield _Wanted(
                wire="body", location="body", schema=schema, required=body.required, entry={"whole": True},
                own=body.examples, description=body.description or "The whole body.",
            )  # fmt: skip
            return
        wrapper = next(iter(known)) if len(known) == 1 else ""
        if wrapper and self._values.types(known[wrapper]) == {"object"}:
            below, _, is_free = self._object(known[wrapper])
            if below and not is_free and len(below) <= _MOST_PARAMS and not _dotted(below):
                own = [one[wrapper] for one in body.examples if isinstance(one, dict) and wrapper in one]
                yield from self._properties(known[wrapper], own, above=f"{wrapper}.")
                return
        if "query" in known and "variables" in known and "const" in known["query"]:
            # A GraphQL request: the document is fixed, its variables are the params.
            yield from self._variables(known["variables"])
        yield from self._properties(schema, body.examples, without={"variables"} if "variables" in known else set())

    def _variables(self, schema: Json) -> Iterator[_Wanted]:
        """The variables of a GraphQL request; what stands in `input` is given like all others."""
        known, _, _ = self._object(schema)
        below, _, is_free = self._object(known["input"]) if "input" in known else ({}, set(), True)
        is_spread = bool(below) and not is_free and len(below) + len(known) <= _MOST_PARAMS and not _dotted(below)
        yield from self._properties(schema, (), above="variables.", without={"input"} if is_spread else set())
        if is_spread:
            # Relay's mark of a request comes back in the answer; a caller has that anyway.
            yield from self._properties(known["input"], (), above="variables.input.", without={"clientMutationId"})

    def _object(self, schema: Json) -> tuple[dict[str, Json], set[str], bool]:
        """What of an object is given by callers: properties, those required, whether others may stand beside."""
        known, required, is_open = self._values.properties(schema)
        known = {name: inner for name, inner in known.items() if not self._is_read_only(inner)}
        return known, required & known.keys(), is_open

    def _properties(
        self, schema: Json, examples: Sequence[Json], *, above: str = "", without: AbstractSet[str] = frozenset()
    ) -> Iterator[_Wanted]:
        known, required, _ = self._object(schema)
        form = self._form_shown(schema)
        form_known, form_required, _ = self._object(form) if form is not None else ({}, set(), False)
        for name, inner in known.items():
            if name in without:
                continue
            said = resolved(inner, self._definitions)
            said = said if isinstance(said, dict) else {}
            if said.get("deprecated") is True and name not in required:
                self._shapes.lost["optional params that the vendor calls deprecated"] += 1
                continue
            entry: dict[str, Json] = {"as": f"{above}{name}"} if above else {}
            listed = [said["const"]] if "const" in said else said.get("enum", ())
            if len(listed) == 1 and name in required and not isinstance(listed[0], dict | list):
                entry["const"] = listed[0]
            yield _Wanted(
                wire=name, location="body", schema=inner, required=name in required, entry=entry,
                own=[one[name] for one in examples if isinstance(one, dict) and name in one],
                shown=_Shown(form_known.get(name, inner), name in form_required) if form is not None else None,
            )  # fmt: skip

    def _form_shown(self, schema: Json) -> Json:
        """The first form of an object that has several, joined with what they have in common; None if it has one."""
        said = resolved(schema, self._definitions)
        if not isinstance(said, dict):
            return None
        for keyword in ("oneOf", "anyOf"):
            ways = [way for way in said.get(keyword, ()) if self._values.types(way) in ({"object"}, frozenset())]
            if len(ways) > 1:
                first = self._form_shown(ways[0]) or ways[0]
                return {"allOf": [{key: value for key, value in said.items() if key != keyword}, first]}
        for at, part in enumerate(said.get("allOf", ())):
            form = self._form_shown(part)
            if form is not None:
                return {**said, "allOf": [*said["allOf"][:at], form, *said["allOf"][at + 1 :]]}
        return None

    def _form(self, body: Body, schema: Json, *, is_multipart: bool) -> Iterator[_Wanted]:
        known, required, _ = self._values.properties(schema)
        for name, inner in known.items():
            if self._is_read_only(inner):
                continue
            entry: dict[str, Json] = {}
            is_file = is_multipart and self._is_file(inner)
            if is_file:
                inner = _about_file(resolved(inner, self._definitions))
            elif "array" in self._values.types(inner) and body.encoding.get(name, ("form", True))[1] is False:
                entry["explode"] = False
            yield _Wanted(
                wire=name, location="file" if is_file else "form", schema=inner, required=name in required, entry=entry,
                own=[one[name] for one in body.examples if isinstance(one, dict) and name in one],
            )  # fmt: skip

    def _raw(self, media: str, schema: Json, body: Body, made: Input) -> _Wanted:
        made.headers["Content-Type"] = plain_media(media)
        said = resolved(schema, self._definitions)
        said = said if isinstance(said, dict) else {}
        is_text = plain_media(media).startswith("text/") or said.get("format") in ("base64", "byte")
        text = str(said.get("description") or body.description or f"The body, {plain_media(media)}.")
        raw = {"type": "string", "description": text, **({} if is_text else {"contentEncoding": "base64"})}
        return _Wanted(
            wire="body", location="body", schema=raw, required=True, entry={"whole": True},
            own=said.get("examples", ()) if is_text else (),
        )  # fmt: skip

    def _is_text(self, schema: Json) -> bool:
        return self._values.types(schema) <= {"string"}

    def _is_file(self, schema: Json) -> bool:
        said = resolved(schema, self._definitions)
        if not isinstance(said, dict):
            return False
        if said.get("type") == "array" and isinstance(said.get("items"), dict):
            said = resolved(said["items"], self._definitions)
        return isinstance(said, dict) and (
            said.get("format") == "binary"
            or said.get("contentEncoding") in ("binary", "base64")
            or ("contentMediaType" in said and "contentEncoding" not in said)
        )

    def _is_read_only(self, schema: Json) -> bool:
        said = resolved(schema, self._definitions)
        return isinstance(said, dict) and said.get("readOnly") is True

    # ------------------------------------------------------------------ schemas and samples

    def _fill(self, wanted: Sequence[_Wanted], made: Input) -> None:
        """The schemas, as large as they may be, and the example's params."""
        for depth in (None, 8, 6, 4, 3, 2, 1, 0):
            try:
                schemas = [
                    self._shapes.made(one.schema, depth=DEEPEST if depth is None else depth, named=depth is None)
                    if "const" not in one.entry
                    else {}
                    for one in wanted
                ]
            except TooLarge:
                continue
            if sum(self._shapes.size(schema) for schema in schemas) <= MOST_PARTS:
                break
        else:
            raise NotImportable("its schemas are too large, however far they are cut")
        shown = 0
        for one, schema in zip(wanted, schemas, strict=True):
            if "const" in one.entry:
                made.params[one.name] = one.entry
                continue
            if one.location == "file":
                schema = {key: value for key, value in schema.items() if key == "description"}
            schema = _described(schema, one)
            made.params[one.name] = {**schema, **one.entry, **({"required": True} if one.required else {})}
            if one.location == "query":
                made.query[one.wire] = one.name
            is_shown = one.required if one.shown is None else one.shown.required
            if is_shown or (one.own and one.shown is None and shown < _MOST_SHOWN and one.location != "header"):
                value = self._sample(one, schema)
                if value is NOTHING and is_shown:
                    raise NotImportable(f"no example could be made for {one.wire}")
                if value is not NOTHING:
                    made.example[one.name] = value
                shown += not one.required
        self._show_something(wanted, schemas, made)

    def _show_something(self, wanted: Sequence[_Wanted], schemas: Sequence[Json], made: Input) -> None:
        """An example of a change changes something: one of the params of the body is given."""
        bodies = [
            (one, schema)
            for one, schema in zip(wanted, schemas, strict=True)
            if one.location in ("body", "form") and "const" not in one.entry
        ]
        if any(one.name in made.example for one, _ in bodies):
            return
        for one, schema in bodies[:10]:
            value = self._sample(one, schema)
            if value is not NOTHING:
                made.example[one.name] = value
                return

    def _sample(self, one: _Wanted, schema: Json) -> Json:
        if one.location == "file":
            return {"content": "aGk=", "filename": "hello.txt"}
        theirs = one.schema if one.shown is None else one.shown.schema
        said = resolved(theirs, self._definitions)
        own = [*one.own, *(said.get("examples", ()) if isinstance(said, dict) else ())]
        fitting = [value for value in own if self._values.takes(theirs, value)]
        shape = schema if one.shown is None else self._shapes.made(theirs, depth=4, named=False)
        value = self._samples.of(shape, one.wire, fitting)
        if value is NOTHING:
            return value
        # Ours may be wider where forms were joined, so that the vendor's own has the last word.
        for other in (value, *self._samples.several(shape, one.wire)):
            if self._values.takes(theirs, other) and self._shapes.validates(schema, other):
                return other
        return value if one.shown is None else NOTHING


def _name(wanted: Sequence[_Wanted], made: Input, method: str) -> None:
    """A name for every param, and its place where that is not the one that goes without saying."""
    paths = set(made.params)
    has_file = any(one.location == "file" for one in wanted)
    usual = "query" if method in ("GET", "HEAD", "DELETE") else "form" if has_file else "body"
    for one in wanted:
        if one.location == "path":
            continue
        one.name = param_name(one.name or one.wire, made.params, one.location)
        made.params[one.name] = one.entry
        if one.name != one.wire and not one.entry.get("whole"):
            one.entry.setdefault("as", one.wire)
        if one.location != usual or one.entry.get("as", one.name) in paths:
            one.entry["in"] = one.location


def _described(schema: Mapping[str, Json], one: _Wanted) -> dict[str, Json]:
    text = first_sentence(one.description, _LONGEST_TEXT) or str(schema.get("description", ""))
    if not text:
        words = words_of(re.sub(r"\]", "", one.wire).rpartition("[")[2] or one.wire)
        text = f"{' '.join(words).capitalize()}." if words else ""
    rest = {key: value for key, value in schema.items() if key != "description"}
    kind: dict[str, Json] = {key: rest.pop(key) for key in ("$ref", "type") if key in rest}
    return {**kind, **rest, **({"description": text} if text else {})}


def _about_file(schema: Any) -> Json:
    text = schema.get("description") if isinstance(schema, dict) else None
    return {"description": text} if text else {}


def _dotted(names: Mapping[str, Json]) -> bool:
    """Whether a name cannot be written where dots nest."""
    return any("." in name or not name.isprintable() or not name or len(name) > 150 for name in names)
