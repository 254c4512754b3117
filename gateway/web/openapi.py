"""The routes as an OpenAPI 3.1 document; with actions, each of them as an operation of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from gateway.core.calls.paging import pages_of
from gateway.core.errors import CODES
from gateway.web.operations import GROUPS, Answer, Field, Operation, Route, Schema
from gateway.web.shapes import AMOUNT, ANY_OBJECT, COUNT, LINK, TEXT, YES_OR_NO, described, one_of, shape
from skills_catalog.exporting.openapi import action_operation, action_schemas
from skills_catalog.model import Integration

Json = dict[str, Any]

VERSION = "1"
#: What a route can refuse with, whatever it does: every one, those that need a key, those that read a body.
ALWAYS = ("bad_request", "internal", "shutting_down", "overloaded", "storage_unavailable")
WITH_KEY = (
    *("unauthorized", "api_key_invalid", "api_key_revoked", "api_key_expired"),
    *("forbidden", "rate_limited"),
)
WITH_BODY = ("payload_too_large", "unsupported_media_type")

REFUSAL = shape(
    "There is no answer to give: why, and what to do.",
    error=described(TEXT, "A stable code."),
    message=described(TEXT, "For people and agents."),
    optional={
        "action_url": described(TEXT, "Where a person mends it."),
        "hint": TEXT,
        "retryable": described(YES_OR_NO, "Whether the same request may be sent again."),
        "retry_after_ms": COUNT,
        "details": described(ANY_OBJECT, "`fields`: what is wrong where; and whatever else helps a program."),
        "run_id": TEXT,
        "outcome": described(one_of(["not_sent", "unknown", "answered"]), "What became of the upstream request."),
        "upstream_status": AMOUNT,
        "status": described(TEXT, "Of a device: how far it has got."),
        "error_description": described(TEXT, "The message, where OAuth clients look for it (RFC 6749 §5.2)."),
    },
)
HEADERS: Mapping[str, tuple[str, Schema]] = {
    "X-Request-Id": ("Names the request in the operator's log.", TEXT),
    "X-RateLimit-Limit": ("Requests a minute of this key, where its plan limits them.", COUNT),
    "X-RateLimit-Remaining": ("How many of them are left in this minute.", COUNT),
    "X-RateLimit-Reset": ("When the next minute begins, in unix seconds.", COUNT),
    "Retry-After": ("Seconds to wait.", COUNT),
    "WWW-Authenticate": ("How to authenticate.", TEXT),
    "ETag": ("Send it as `If-None-Match` to be told `304` where nothing has changed.", TEXT),
    "X-Upstream-Status": ("The upstream's status.", COUNT),
    "X-Run-Id": ("The record of a call whose body is streamed.", TEXT),
    "Location": ("Where the new thing is.", LINK),
    "Content-Disposition": ("Always `attachment`, with the file's name where it has one (RFC 6266).", TEXT),
    "Accept-Ranges": ("`bytes`.", TEXT),
    "Content-Range": ("Which part of the file this is (RFC 9110 §14.4).", TEXT),
    "X-Deprecated": ("`true` where the route or the action is deprecated.", TEXT),
    "Deprecation": ("Since when, as `@` and unix seconds (RFC 9745).", TEXT),
    "Sunset": ("After which day it may be gone (RFC 8594).", TEXT),
    "Link": ('`rel="successor-version"`: what to use instead.', TEXT),
}
_EVERY_ANSWER = ("X-Request-Id",)
_WITH_KEY = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_DEPRECATED = ("X-Deprecated", "Deprecation", "Sunset", "Link")
#: Headers that an answer of the status always has.
_OF_STATUS = {401: ("WWW-Authenticate",), 429: ("Retry-After",)}
_REQUIRED = frozenset({"X-Request-Id", "Retry-After", "WWW-Authenticate", "X-Upstream-Status"})
_ANY_QUERY: Json = {
    "name": "any",
    "in": "query",
    "description": "Parameters of any name.",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_OF_KIND: Mapping[str, Json] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_ABOUT = """\
What a client may rely on. Within `/v1` this only grows: members, routes, codes and values may be added, none goes and none
changes its meaning. Pass over what you do not know.

`POST /v1/{integration}/{action}` answers 200 whatever the upstream said, with its `status` and its `data`. An answer with
`error` comes from the gateway: there is no answer to give."""


def describe(
    routes: Sequence[Route],
    shapes: Mapping[str, Schema],
    *,
    public_url: str,
    actions: Sequence[Integration] | None = None,
) -> Json:
    """The document of the routes and, where they are given, of the actions that one key may use.

    What it says of actions is JSON text already (`orjson.Fragment`): written piece by piece, between which other
    threads have their turn, where the whole would hold them up for a second.
    """
    writer = _Writer(shapes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.shown_path, {})[route.method.lower()] = writer.operation(route)
    tags = [{"name": name} for name in sorted({route.operation.group for route in routes}, key=GROUPS.index)]
    if actions is not None:
        for integration in actions:
            tags.append({"name": integration.slug, "description": integration.description})
            paths.update(writer.actions(integration))
        writer.schemas["IntegrationSlug"] = _slugs(actions)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Skillway", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": public_url}],
        "security": [{"bearer": []}, {"api_key": []}],
        "tags": tags,
        "paths": paths,
        "components": writer.components(),
    }


def codes_of(route: Route) -> dict[int, list[str]]:
    """The codes that a route can refuse with, by their status."""
    operation, needs_key = route.operation, route.level is not None
    codes = {*ALWAYS, *operation.refuses}
    if needs_key or operation.takes_key:
        codes |= {*WITH_KEY}
    if operation.body is not None or operation.takes:
        codes |= {*WITH_BODY}
    by_status: dict[int, list[str]] = {}
    for code in CODES:
        if code in codes:
            by_status.setdefault(CODES[code].status, []).append(code)
    return dict(sorted(by_status.items()))


class _Writer:
    """Writes operations, and collects what they name."""

    def __init__(self, shapes: Mapping[str, Schema]) -> None:
        self._names = {id(schema): name for name, schema in {**shapes, "Refusal": REFUSAL}.items()}
        self.schemas: Json = {}
        for name, schema in {**shapes, "Refusal": REFUSAL}.items():
            # What stands for itself is written out; all else in it may be a name.
            self.schemas[name] = {key: self.schema(value) for key, value in schema.items()}
        self._responses: Json = {}

    def operation(self, route: Route) -> Json:
        said = route.operation
        has_key = route.level is not None or said.takes_key
        standing = (*_EVERY_ANSWER, *(_WITH_KEY if has_key else ()), *(_DEPRECATED if route.deprecated else ()))
        written: Json = {
            "operationId": said.id,
            "summary": said.summary,
            **({"description": said.about} if said.about else {}),
            "tags": [said.group],
        }
        if route.level is None:
            written["security"] = [{}, {"bearer": []}, {"api_key": []}] if said.takes_key else []
        else:
            written["x-level"] = route.level
        if route.live_only:
            written["x-live-only"] = True
        if route.deprecated:
            written |= {"deprecated": True, "x-sunset": route.deprecated.sunset.isoformat()}
        parameters = [self._parameter(one, "path", said.example.get("path", {})) for one in said.path]
        parameters += [self._parameter(one, "query", said.example.get("query", {})) for one in said.query.values()]
        if said.any_query:
            parameters.append(_ANY_QUERY)
        parameters += [self._parameter(one, "header", said.example.get("headers", {})) for one in said.headers]
        if parameters:
            written["parameters"] = parameters
        if said.body is not None:
            written["requestBody"] = self._body(said.body, said)
        elif said.takes:
            content = {kind: {"schema": dict(schema)} for kind, schema in said.takes.items()}
            written["requestBody"] = {"required": False, "content": content}
        answers = {str(status): self._answer(answer, standing) for status, answer in said.answers.items()}
        for status, codes in codes_of(route).items():
            if status in said.answers:
                continue
            answers[str(status)] = {"$ref": self._refusals(status, codes, has_key, standing)}
        written["responses"] = answers
        if said.id == "execute":
            self._execute = (said, route)
        return written

    def actions(self, integration: Integration) -> dict[str, Json]:
        """An operation for each action: the execute route, said for that action alone."""
        execute, route = self._execute
        assert execute.body is not None
        members = {name: self._member(one) for name, one in execute.body.items() if name != "params"}
        result = self.schema(execute.answers[200].schema["anyOf"][0])  # type: ignore[index]
        standing = (*_EVERY_ANSWER, *_WITH_KEY)
        later = self._answer(execute.answers[202], (*standing, *_DEPRECATED))
        later["content"]["application/json"].pop("example")
        others: dict[str, Json] = {"202": later}
        others |= {
            str(status): {"$ref": self._refusals(status, codes, True, standing)}
            for status, codes in codes_of(route).items()
        }
        paths = {}
        for skill in integration.skills.values():
            # All pages can be asked for where there are pages.
            beside = {name: one for name, one in members.items() if name != "all" or pages_of(skill)}
            self.schemas |= {name: _written(schema) for name, schema in action_schemas(skill).items()}
            headers = (*_EVERY_ANSWER, *_WITH_KEY, "X-Upstream-Status", *(_DEPRECATED if skill.deprecated else ()))
            operation = action_operation(
                skill, beside=beside, result=result, headers=_header_refs(headers), others=others
            )
            paths[f"/v1/{skill.integration}/{skill.name}"] = {"post": _written(operation)}
        return paths

    def components(self) -> Json:
        headers = {
            name: {"description": about, "schema": dict(schema), **({"required": True} if name in _REQUIRED else {})}
            for name, (about, schema) in HEADERS.items()
        }
        return {
            "schemas": self.schemas,
            "responses": self._responses,
            "headers": headers,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`"},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        }

    def schema(self, value: Any) -> Any:
        """A schema as it is written: what has a name is named."""
        if id(value) in self._names:
            return {"$ref": f"#/components/schemas/{self._names[id(value)]}"}
        if isinstance(value, Mapping):
            return {key: self.schema(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.schema(item) for item in value]
        return value

    def _parameter(self, one: Field, place: str, examples: Mapping[str, Any]) -> Json:
        written: Json = {"name": one.name, "in": place, "description": one.about}
        if one.required or place == "path":
            written["required"] = True
        written["schema"] = self.schema(one.schema)
        if one.name in examples:
            written["example"] = examples[one.name]
        return written

    def _body(self, fields: Mapping[str, Field], said: Operation) -> Json:
        required = [name for name, one in fields.items() if one.required]
        schema: Json = {
            "type": "object",
            "properties": {name: self._member(one) for name, one in fields.items()},
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }
        content: Json = {"schema": schema}
        if "body" in said.example:
            content["example"] = said.example["body"]
        return {"required": bool(required), "content": {"application/json": content}}

    def _member(self, one: Field) -> Json:
        return {**self.schema(one.schema), "description": one.about}

    def _answer(self, answer: Answer, standing: Sequence[str]) -> Json:
        written: Json = {"description": answer.about, "headers": _header_refs((*standing, *answer.headers))}
        if answer.schema is None and answer.also:
            written["content"] = {kind: _OF_KIND.get(kind, {}) for kind in answer.also}
        if answer.schema is not None:
            content: Json = {"schema": self.schema(answer.schema)}
            if answer.example is not None:
                content["example"] = answer.example
            written["content"] = {"application/json": content, **{kind: {} for kind in answer.also}}
        if answer.links:
            written["links"] = {
                name: {
                    "operationId": name,
                    "parameters": {one: f"$response.body#{place}" for one, place in places.items()},
                }
                for name, places in answer.links.items()
            }
        return written

    def _refusals(self, status: int, codes: Sequence[str], has_key: bool, standing: Sequence[str]) -> str:
        """Where the response stands; its name says what it has beside what every route has."""
        usual = {*ALWAYS, *WITH_KEY, *WITH_BODY} if has_key else {*ALWAYS, *WITH_BODY}
        parts = ["" if has_key else "open", "retiring" if "Sunset" in standing else "", str(status)]
        name = "_".join(part for part in [*parts, *(code for code in codes if code not in usual)] if part)
        if name not in self._responses:
            self._responses[name] = self._refusal(status, codes, standing)
        return f"#/components/responses/{name}"

    def _refusal(self, status: int, codes: Sequence[str], standing: Sequence[str]) -> Json:
        # One schema for all: clients that generators make of it have one type of refusal, and take codes that come later.
        schema = {"$ref": "#/components/schemas/Refusal"}
        example = {"error": codes[0], "message": CODES[codes[0]].meaning}
        return {
            "description": " ".join(f"`{code}`: {CODES[code].meaning}" for code in codes),
            "x-codes": list(codes),
            "headers": _header_refs((*standing, *_OF_STATUS.get(status, ()))),
            "content": {"application/json": {"schema": schema, "example": example}},
        }


def _written(value: Json) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(value))


def _header_refs(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in dict.fromkeys(names)}


def _slugs(actions: Sequence[Integration]) -> Json:
    """The integrations that this key may name; a key that may use none can name none."""
    slugs = [integration.slug for integration in actions]
    return {"type": "string", "enum": slugs} if slugs else {"type": "string", "not": {}}
