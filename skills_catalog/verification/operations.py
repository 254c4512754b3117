"""Compares one action with one operation: what it declares, the requests of its examples, and their answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from skills_catalog.descriptions.model import Json, Operation, Parameter, Response
from skills_catalog.descriptions.openapi import is_json, plain_media
from skills_catalog.descriptions.schemas import resolved
from skills_catalog.model import Integration, Param, Skill
from skills_catalog.verification.differences import Difference
from skills_catalog.verification.values import Values, Wrong, readings

_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
#: Headers of every request, which descriptions leave out (OpenAPI 3.0, Parameter Object).
_IMPLIED_HEADERS = frozenset({"accept", "content-type", "authorization", "user-agent", "accept-encoding"})
_MOST_LISTED = 8
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A request as the gateway would send it, without a credential."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes | None

    def header(self, name: str) -> str | None:
        return next((value for given, value in reversed(self.headers) if given.lower() == name), None)


class Comparison:
    """One action beside one operation."""

    def __init__(self, integration: Integration, skill: Skill, operation: Operation, values: Values) -> None:
        self._integration = integration
        self._skill = skill
        self._operation = operation
        self._values = values
        self._query = _by_name(operation, "query", values)
        self._headers = {
            one.name.lower(): one for one in operation.parameters if one.location == "header" and not one.credential
        }
        self._sent = [*skill.params.values(), *skill.constants]
        #: Places on the wire that were told of already.
        self._told: set[tuple[str, ...]] = set()

    # ------------------------------------------------------------------ what it declares

    def declared(self) -> Iterator[Difference]:
        """Differences between the params of the action and those of the operation."""
        if self._operation.deprecated != (self._skill.deprecated is not None):
            said = "calls it deprecated" if self._operation.deprecated else "does not call it deprecated"
            yield Difference(kind="deprecated", at=("deprecated",), message=f"The vendor {said}.")
        yield from self._body_kind()
        for param in self._sent:
            at: Path = ("params", param.name)
            known = self._known(param)
            if known is None:
                self._told.add((param.location, *param.wire))
                yield self._unknown(param, at)
            elif known is not True:
                yield from self._beside(param, at, known)
        yield from self._missing()

    def _known(self, param: Param) -> Json | Parameter | None:
        """What the operation has where a param goes: a parameter, a schema, True where it does not say; or None."""
        wire = ".".join(param.wire)
        if param.location == "path":
            return True
        if param.location == "query":
            return self._query.get(wire)
        if param.location == "header":
            implied = wire.lower() in _IMPLIED_HEADERS or None
            return self._headers.get(wire.lower(), implied)
        schema = self._body_schema()
        if schema is None:
            # That there is no such body is told once; what goes elsewhere is told of each.
            return None if any(one.name == wire for one in self._operation.parameters) else True
        if param.whole:
            return schema
        for step in param.wire:
            known, _, is_open = self._values.properties(schema)
            if step not in known:
                listed = re.fullmatch(r"(.+?)(\[[^\]]*\])+", step)
                if listed and listed[1] in known and param.location == "form":
                    return True
                return True if is_open else None
            schema = known[step]
        return schema

    def _unknown(self, param: Param, at: Path) -> Difference:
        wire = ".".join(param.wire)
        elsewhere = [one.location for one in self._operation.parameters if one.name == wire and not one.credential]
        schema = self._body_schema()
        if param.location in ("query", "header") and schema is not None and wire in self._values.properties(schema)[0]:
            elsewhere.append("body")  # type: ignore[arg-type]
        if elsewhere:
            return Difference(
                kind="location",
                at=at,
                message=f"{wire} goes into the {param.location} here; the vendor has it in the {elsewhere[0]}.",
            )
        return Difference(
            kind="unknown-param", at=at, message=f"The vendor knows no {wire or 'body'} in the {param.location}."
        )

    def _beside(self, param: Param, at: Path, known: Json | Parameter) -> Iterator[Difference]:
        schema = known.schema if isinstance(known, Parameter) else known
        if param.is_const:
            if isinstance(known, Parameter):
                yield from self._text_value(_as_text(param.const), known, at)
            elif wrong := self._values.wrong(schema, param.const):
                yield Difference(kind="value", at=at, message=f"The constant {wrong[0].message}.")
            return
        if isinstance(known, Parameter) and known.required and not param.required and param.default_from is None:
            yield self._optional(param, at)
        is_text = param.location in ("query", "header", "form", "file")
        yield from self._types(param, at, schema, is_text=is_text)
        yield from self._enum(param, at, schema)
        yield from self._default(param, at, schema)
        if isinstance(known, Parameter) and known.location == "query" and known.style == "form":
            own, theirs = self._own_types(param), self._values.types(schema)
            if "array" in own and "array" in theirs and param.explode != known.explode:
                way = "repeats the name" if known.explode else "joins the items by commas"
                yield Difference(kind="style", at=at, message=f"The vendor {way} of an array.")

    def _types(self, param: Param, at: Path, schema: Json, *, is_text: bool) -> Iterator[Difference]:
        own, theirs = set(self._own_types(param)) - {"null"}, set(self._values.types(schema)) - {"null"}
        if "file" in param.encode:
            # Callers may give an object; what is sent is the text of its bytes.
            own = {"string"}
        if not own or not theirs or param.location == "file":
            return
        if "number" in theirs:
            theirs.add("integer")
        if is_text and "string" in theirs:
            # On the wire everything is text.
            return
        if is_text and "array" in theirs:
            theirs |= self._values.types(resolved(schema, self._values.definitions).get("items", {})) or {"string"}
            theirs.add("string")
        if extra := sorted(own - theirs):
            wanted = " or ".join(sorted(theirs))
            yield Difference(kind="type", at=at, message=f"Takes {' or '.join(extra)}; the vendor wants {wanted}.")

    def _own_types(self, param: Param) -> frozenset[str]:
        return Values(self._skill.input_schema.get("$defs", {})).types(param.schema)

    def _enum(self, param: Param, at: Path, schema: Json) -> Iterator[Difference]:
        own = Values(self._skill.input_schema.get("$defs", {})).choices(param.schema)
        theirs = self._values.choices(schema)
        if own is None or theirs is None:
            return
        ours = {_as_text(value) for value in own if value is not None}
        known = {_as_text(value) for value in theirs if value is not None}
        if extra := sorted(ours - known):
            yield Difference(kind="enum", at=at, message=f"The vendor does not list {_listed(extra)}.")
        if lacking := sorted(known - ours):
            yield Difference(kind="enum", at=at, message=f"The vendor also lists {_listed(lacking)}.")

    def _default(self, param: Param, at: Path, schema: Json) -> Iterator[Difference]:
        theirs = resolved(schema, self._values.definitions)
        if "default" not in param.schema or not isinstance(theirs, dict) or theirs.get("default") is None:
            return
        own, known = param.schema["default"], theirs["default"]
        if own != known and _as_text(own).lower() != _as_text(known).lower():
            yield Difference(
                kind="default", at=at, message=f"Is {_short(own)} here; the vendor assumes {_short(known)}."
            )

    def _optional(self, param: Param, at: Path) -> Difference:
        return Difference(kind="optional-param", at=at, message=f"The vendor requires {'.'.join(param.wire)}.")

    def _missing(self) -> Iterator[Difference]:
        fixed = {name.lower() for name in (*self._integration.headers, *self._skill.headers)}
        wires = {(param.location, ".".join(param.wire)) for param in self._sent}
        for one in self._operation.parameters:
            if not one.required or one.credential or one.location == "path":
                continue
            if one.location == "query" and _is_spread(one, self._values):
                continue
            name = one.name.lower() if one.location == "header" else one.name
            given = {wire.lower() if place == "header" else wire for place, wire in wires if place == one.location}
            if name in given or (one.location == "header" and name in fixed | _IMPLIED_HEADERS):
                continue
            yield Difference(
                kind="missing-param", at=("params",), message=f"The vendor requires {one.name} in the {one.location}."
            )
        schema = self._body_schema()
        bodies = [param for param in self._sent if param.location in ("body", "form", "file")]
        is_needed = self._operation.body is not None and self._operation.body.required
        if schema is None or any(param.whole for param in bodies) or not (is_needed or bodies):
            return
        yield from self._missing_below(schema, (), bodies)

    def _missing_below(self, schema: Json, above: tuple[str, ...], bodies: Sequence[Param]) -> Iterator[Difference]:
        known, required, _ = self._values.properties(schema)
        depth = len(above)
        for name in sorted(required):
            said = resolved(known.get(name, {}), self._values.definitions)
            if isinstance(said, dict) and said.get("readOnly") is True:
                continue
            below = [param for param in bodies if param.wire[: depth + 1] == (*above, name)]
            whole = [param for param in below if len(param.wire) == depth + 1]
            if not below:
                place = ".".join((*above, name))
                yield Difference(
                    kind="missing-param", at=("params",), message=f"The vendor requires {place} in the body."
                )
            elif whole and not (whole[0].required or whole[0].is_const or whole[0].default_from):
                yield self._optional(whole[0], ("params", whole[0].name))
            elif not whole:
                yield from self._missing_below(known.get(name, {}), (*above, name), below)

    def _body_kind(self) -> Iterator[Difference]:
        kind = self._own_media()
        body = self._operation.body
        if kind is None:
            if body is not None and body.required and self._values.properties(next(iter(body.media.values())))[1]:
                yield Difference(kind="body", at=("params",), message="The vendor requires a body, and none is sent.")
        elif body is None:
            yield Difference(kind="body", at=("params",), message="The vendor describes no body here.")
        elif self._media() is None:
            listed = _listed(list(body.media))
            yield Difference(kind="media-type", at=("params",), message=f"Sends {kind}; the vendor takes {listed}.")

    def _own_media(self) -> str | None:
        kinds = {param.location for param in self._sent}
        said = next((value for name, value in self._skill.headers.items() if name.lower() == "content-type"), None)
        if "file" in kinds:
            return _MULTIPART
        if "form" in kinds:
            return said or _URLENCODED
        return (said or "application/json") if "body" in kinds else None

    def _media(self) -> str | None:
        """The vendor's media type that fits what is sent."""
        own, body = self._own_media(), self._operation.body
        if own is None or body is None:
            return None
        own = plain_media(own)
        for media in body.media:
            plain = plain_media(media)
            if plain == own or (is_json(plain) and is_json(own)) or plain == "*/*":
                return media
            if plain.endswith("/*") and own.startswith(plain[:-1]):
                return media
        return None

    def _body_schema(self) -> Json:
        media = self._media()
        return None if media is None or self._operation.body is None else self._operation.body.media[media]

    # ------------------------------------------------------------------ the requests of its examples

    def request(
        self, at: Path, params: Mapping[str, Json], built: Built, path_values: Mapping[str, str]
    ) -> Iterator[Difference]:
        """Differences of a request that was built from an example's params; `at` is that example's place."""
        for one in self._operation.parameters:
            if one.location == "path" and one.name in path_values:
                for difference in self._text_value(path_values[one.name], one, (*at, "params")):
                    yield Difference(kind="value", at=difference.at, message=f"In the path {difference.message}")
        texts: dict[str, list[str]] = {}
        for name, text in parse_qsl(built.query, keep_blank_values=True):
            texts.setdefault(name, []).append(text)
        for name, given in texts.items():
            known = self._query.get(name)
            if isinstance(known, Parameter):
                yield from self._query_value(given, known, (*at, "params", self._param_at("query", (name,))))
        for name, text in built.headers:
            header = self._headers.get(name.lower())
            if header is not None:
                yield from self._text_value(text, header, (*at, "params", self._param_at("header", (name,))))
        yield from self._body(at, built)

    def _query_value(self, given: Sequence[str], known: Parameter, at: Path) -> Iterator[Difference]:
        if "array" in self._values.types(known.schema) and known.style == "form" and not known.as_json:
            items = [part for text in given for part in ([text] if known.explode else text.split(","))]
            inner = resolved(known.schema, self._values.definitions).get("items", {})
            types = self._values.types(inner)
            value = [
                next((one for one in readings(item, types) if self._values.takes(inner, one)), item) for item in items
            ]
            if wrong := self._values.wrong(known.schema, value):
                # A list that was written out by the caller is one text.
                if len(given) == 1 and not self._values.wrong(
                    {**_plain(known.schema), "items": inner}, given[0].split(",")
                ):
                    return
                yield Difference(kind="value", at=at, message=f"{known.name} {wrong[0].message}.")
            return
        for text in given:
            yield from self._text_value(text, known, at)

    def _text_value(self, text: str, known: Parameter, at: Path) -> Iterator[Difference]:
        types = self._values.types(known.schema)
        if known.as_json or (types <= {"object", "array"} and types):
            try:
                value = json.loads(text)
            except ValueError:
                return
            wrong = self._values.wrong(known.schema, value)
        elif any(self._values.takes(known.schema, one) for one in readings(text, types)):
            return
        else:
            wrong = self._values.wrong(known.schema, next(readings(text, types)))
        if wrong:
            yield Difference(kind="value", at=at, message=f"{known.name} {wrong[0].message}.")

    def _body(self, at: Path, built: Built) -> Iterator[Difference]:
        schema = self._body_schema()
        if built.body is None or schema is None:
            return
        kind = plain_media(built.header("content-type") or "")
        if is_json(kind):
            for wrong in self._values.wrong(schema, json.loads(built.body)):
                yield from self._body_value(at, wrong)
        elif kind == _URLENCODED:
            known = self._values.properties(schema)[0]
            fields: dict[str, list[str]] = {}
            for name, text in parse_qsl(built.body.decode(), keep_blank_values=True):
                fields.setdefault(name, []).append(text)
            for name, texts in fields.items():
                if name in known:
                    part = Parameter(name=name, location="query", schema=known[name])
                    yield from self._query_value(texts, part, (*at, "params", self._param_at("form", (name,))))

    def _body_value(self, at: Path, wrong: Wrong) -> Iterator[Difference]:
        steps = tuple(str(step) for step in wrong.path)
        if wrong.unknown and all(("body", *steps, name) in self._told for name in wrong.unknown):
            return
        name = self._param_at("body", steps)
        within = ".".join(steps) or "The body"
        yield Difference(
            kind="value", at=(*at, "params", *([name] if name else [])), message=f"{within} {wrong.message}."
        )

    def _param_at(self, location: str, wire: tuple[str, ...]) -> str:
        """The param of the action that goes to a place, or empty."""
        for param in self._sent:
            same = param.wire if location != "header" else tuple(part.lower() for part in param.wire)
            place = wire if location != "header" else tuple(part.lower() for part in wire)
            if param.location == location and same and place[: len(same)] == same:
                return param.name
            if param.location == location and param.whole:
                return param.name
        return ""

    # ------------------------------------------------------------------ its answers

    def answer(self, at: Path, status: int, data: Json) -> Iterator[Difference]:
        """Differences of the answer that an example shows."""
        if not self._operation.responses:
            return
        response = _response(self._operation.responses, status)
        if response is None:
            if status < 400 and all(one.status.startswith(("4", "5")) for one in self._operation.responses):
                # The vendor says nothing of what a success looks like.
                return
            listed = _listed([one.status for one in self._operation.responses])
            yield Difference(
                kind="status", at=(*at, "response", "status"), message=f"The vendor describes {listed}, not {status}."
            )
            return
        schemas = [schema for media, schema in response.media.items() if is_json(media) and schema is not None]
        if data is None or not schemas:
            return
        found = [self._values.wrong(schema, data, "answer") for schema in schemas]
        for wrong in min(found, key=len)[:3]:
            steps = ".".join(map(str, wrong.path)) or "It"
            yield Difference(
                kind="answer", at=(*at, "response", "data", *wrong.path), message=f"{steps} {wrong.message}."
            )


def _by_name(operation: Operation, location: str, values: Values) -> dict[str, Json | Parameter]:
    """The parameters of a place by what stands on the wire: an object's properties may stand there each by itself."""
    found: dict[str, Json | Parameter] = {}
    for one in operation.parameters:
        if one.location != location or one.credential:
            continue
        found[one.name] = one
        if _is_spread(one, values):
            known, _, is_open = values.properties(one.schema)
            for name, schema in known.items():
                wire = f"{one.name}[{name}]" if one.style == "deepObject" else name
                found[wire] = Parameter(name=wire, location="query", schema=schema)
            if is_open:
                found.setdefault(f"{one.name}[]", True)
        if "array" in values.types(one.schema):
            found[f"{one.name}[]"] = True
    return found


def _is_spread(one: Parameter, values: Values) -> bool:
    """Whether an object's properties stand on the wire each by itself."""
    spread = one.style == "deepObject" or (one.style == "form" and one.explode and not one.as_json)
    return spread and values.types(one.schema) == {"object"}


def _response(responses: Sequence[Response], status: int) -> Response | None:
    for wanted in (str(status), f"{status // 100}XX", "default"):
        for one in responses:
            if one.status == wanted:
                return one
    return None


def _plain(schema: Json) -> dict[str, Json]:
    return dict(schema) if isinstance(schema, dict) else {}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(value: Any) -> str:
    text = _as_text(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(_short(value) for value in values[:_MOST_LISTED])
    return shown if len(values) <= _MOST_LISTED else f"{shown}, … ({len(values)} in all)"
