"""One action of a file becomes a skill: its request, its effect, its params, and what later stages read of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from skills_catalog import graphql, templates
from skills_catalog.definition import Definition, Path, in_seconds, meant, title_of
from skills_catalog.model import Deprecation, ErrorHint, Example, Json, Param, RequestTemplate, Skill, Variable
from skills_catalog.names import RESERVED_ACTIONS, is_reserved_header
from skills_catalog.params import Wire, body_of, bound_template, check_injections, check_wires, input_schema, read_wires
from skills_catalog.schemas import check_size, with_definitions
from skills_catalog.templates import Malformed

MAX_TIMEOUT = 1800.0
#: Where GraphQL is asked unless the action says otherwise, and what tells of a refusal there.
GRAPHQL_REQUEST = "POST /graphql"
GRAPHQL_ERRORS = "errors"

#: The types of JSON that a built-in scalar of GraphQL takes.
_SCALARS = {
    "String": {"string"},
    "ID": {"string", "integer"},
    "Int": {"integer"},
    "Float": {"number", "integer"},
    "Boolean": {"boolean"},
}


def read_action(definition: Definition, slug: str, name: str, spec: Mapping[str, Any]) -> Skill:
    """The skill of one entry under `actions`. Connection fields and auth methods have been read before."""
    at: Path = ("actions", name)
    if name in RESERVED_ACTIONS:
        definition.note(at, f"{name} is a reserved action name; take another.")
    template = _template(definition, (*at, "request"), spec.get("request", GRAPHQL_REQUEST))
    operation = _operation(definition, at, spec, template.method)
    effect = _effect(definition, at, spec, template.method, operation)
    auth = _auth_of(definition, at, spec)
    wires = read_wires(definition, at, spec, template)
    template = bound_template(definition, at, template, wires)
    body = body_of(definition, at, spec, wires)
    check_wires(definition, wires, template.method, body)
    if operation is not None:
        _check_variables(definition, at, operation, wires)
    _check_path_fields(definition, at, template, auth)
    definition.fixed_headers((*at, "headers"), spec.get("headers", {}))
    check_injections(definition, at, spec, wires, auth, template.method, body)
    params = {wire.param.name: wire.param for wire in wires if not wire.param.is_const}
    timeout = spec.get("timeout")
    if timeout is not None and templates.seconds(timeout) > MAX_TIMEOUT:
        definition.note((*at, "timeout"), "A timeout is at most 30m.")
    if spec.get("cache") and effect != "read":
        definition.note((*at, "cache"), f"Only actions that read can be cached; the effect of this one is {effect}.")
    definition.jmespath((*at, "brief"), spec.get("brief"))
    definition.jmespath((*at, "error_when"), spec.get("error_when"))
    if "server" in spec and spec["server"] not in definition.spec.get("servers", {}):
        known = definition.spec.get("servers", {})
        definition.note((*at, "server"), f"There is no server {spec['server']} under `servers`.{meant(spec['server'], known)}")
    scopes, *other_scopes = _scopes(spec.get("scopes", ()))
    return Skill(
        integration=slug,
        name=name,
        title=spec.get("title", title_of(name)),
        category=spec.get("category", "general"),
        description=spec["description"].strip(),
        effect=effect,  # type: ignore[arg-type]
        idempotent=spec.get(
            "idempotent", operation.kind == "query" if operation else template.method in ("GET", "HEAD", "PUT", "DELETE")
        ),
        scopes=scopes,
        other_scopes=tuple(other_scopes),
        auth=auth,
        request=template,
        params=params,
        constants=tuple(wire.param for wire in wires if wire.param.is_const),
        input_schema=input_schema(definition, at, spec, params),
        output=_output(definition, (*at, "output"), spec.get("output")),
        headers=spec.get("headers", {}),
        server=spec.get("server"),
        body=body,
        graphql=spec["graphql"].strip() if operation else None,
        hook=spec.get("hook"),
        response=spec.get("response", "auto"),
        redirect=spec.get("redirect", definition.spec.get("redirect")) == "follow",
        timeout=templates.seconds(timeout) if timeout is not None else None,
        cost=spec.get("cost", 1),
        requires_plan=spec.get("requires_plan"),
        lifecycle=spec.get("lifecycle"),
        deprecated=_deprecation(definition, (*at, "deprecated"), spec.get("deprecated")),
        errors=tuple(_error_hint(error) for error in (*spec.get("errors", ()), *definition.spec.get("errors", ()))),
        error_when=spec.get("error_when", GRAPHQL_ERRORS if operation else definition.spec.get("error_when")),
        examples=tuple(_example(example) for example in spec["examples"]),
        synonyms=tuple(spec.get("synonyms", ())),
        asks=tuple(spec.get("asks", ())),
        page=_page(definition, at, spec.get("page"), params),
        poll=_poll(definition, at, spec.get("poll")),
        cache=in_seconds(spec.get("cache"), "ttl"),
        brief=spec.get("brief"),
        resource=spec.get("resource"),
        idempotency=_idempotency(definition, at, spec.get("idempotency"), params),
    )


def _output(definition: Definition, at: Path, schema: Any) -> Mapping[str, Any] | None:
    """The schema with the definitions that it needs. `true` and `false` say as little as nothing."""
    if not isinstance(schema, dict):
        return None
    before = len(definition.mistakes)
    definition.schema(at, schema, definition.definitions)
    check_size(schema, definition.definitions, lambda _, message: definition.note(at, message))
    return with_definitions(schema, definition.definitions) if len(definition.mistakes) == before else None


def _template(definition: Definition, at: Path, line: str) -> RequestTemplate:
    try:
        return templates.request_template(line)
    except Malformed as error:
        definition.note(at, str(error))
        method = line.split(" ", 1)[0].upper()
        return RequestTemplate(method=method, path="", segments=())


def _effect(
    definition: Definition, at: Path, spec: Mapping[str, Any], method: str, operation: graphql.Operation | None
) -> str:
    effect: str | None = spec.get("effect")
    reads = operation.kind == "query" if operation else method in ("GET", "HEAD")
    what = operation.kind if operation else method
    if reads:
        if effect not in (None, "read"):
            definition.note((*at, "effect"), f"A {what} that has the effect {effect} contradicts itself.")
        return "read"
    if effect is None:
        definition.note(at, f"`effect` is missing; a {what} may read, create, update, delete or send.")
        return "update"
    if operation and effect == "read":
        definition.note((*at, "effect"), "A mutation that only reads contradicts itself; write a query.")
    if method == "DELETE" and effect in ("read", "create", "send"):
        definition.note((*at, "effect"), f"A DELETE that has the effect {effect} contradicts itself.")
    return effect


def _operation(definition: Definition, at: Path, spec: Mapping[str, Any], method: str) -> graphql.Operation | None:
    if "graphql" not in spec:
        return None
    if method != "POST":
        definition.note((*at, "request"), f"GraphQL is asked by POST here, not by {method}.")
    try:
        return graphql.operation(spec["graphql"])
    except Malformed as error:
        definition.note((*at, "graphql"), str(error))
        return None


def _check_variables(definition: Definition, at: Path, operation: graphql.Operation, wires: Sequence[Wire]) -> None:
    """Every variable is declared, used and filled, and nothing else goes into the body."""
    declared = operation.variables
    filled: dict[str, list[Wire]] = {}
    for wire in wires:
        param = wire.param
        if param.location in ("form", "file") or param.whole or (param.location == "body" and param.spread):
            definition.note(wire.at, "Params of a GraphQL body are variables: they cannot be forms, files or the whole.")
        elif param.location == "body":
            filled.setdefault(param.wire[0], []).append(wire)
            if param.wire[0] not in declared:
                message = f"The {operation.kind} declares no variable ${param.wire[0]}."
                definition.note(wire.at, f"{message}{meant(param.wire[0], declared)}")
    for name in sorted(operation.used - declared.keys()):
        definition.note((*at, "graphql"), f"${name} is used but not declared.{meant(name, declared)}")
    for name, variable in declared.items():
        if name not in operation.used:
            definition.note((*at, "graphql"), f"${name} is declared but not used.")
        found = filled.get(name, [])
        if not found:
            definition.note((*at, "graphql"), f"No param fills ${name}.{meant(name, (w.param.name for w in wires))}")
        elif variable.is_required and not any(one.param.required or one.param.is_const for one in found):
            definition.note(found[0].at, f"Fills ${name}, which may not be null: `required: true` is missing.")
        for wire in found:
            _check_variable_type(definition, wire, variable.type)


def _check_variable_type(definition: Definition, wire: Wire, declared: str) -> None:
    said = wire.param.schema.get("type")
    if len(wire.param.wire) > 1 or said is None or wire.param.is_const or wire.param.encode:
        return
    types = ({said} if isinstance(said, str) else set(said)) - {"null"}
    wanted = {"array"} if declared.startswith("[") else _SCALARS.get(declared.rstrip("!"))
    if wanted and not types <= wanted:
        definition.note(wire.at, f"Fills a variable of the type {declared}, which takes no {min(types - wanted)}.")


def _check_path_fields(definition: Definition, at: Path, template: RequestTemplate, auth: Sequence[str]) -> None:
    """A connection field of the path must be one that every connection has which may serve the action."""
    names = {piece.name for pieces in template.segments for piece in pieces if isinstance(piece, Variable) and piece.is_field}
    for field in definition.fields:
        if field.name not in names:
            continue
        without = [
            one.name
            for one in definition.methods
            if one.name in auth and (one.type == "none" or not field.serves(one)) and field.default is None
        ]
        if without:
            definition.note((*at, "request"), f"Connections of {without[0]} have no field {field.name}; say `auth`.")


def _scopes(spec: Sequence[Any]) -> list[tuple[str, ...]]:
    """The choices, each a set of scopes that is enough."""
    return [tuple(one) for one in spec] if spec and isinstance(spec[0], list) else [tuple(spec)]


def _auth_of(definition: Definition, at: Path, spec: Mapping[str, Any]) -> tuple[str, ...]:
    known = [method.name for method in definition.methods]
    for index, name in enumerate(spec.get("auth", ())):
        if name not in known:
            definition.note((*at, "auth", index), f"There is no auth method {name}.{meant(name, known)}")
    return tuple(spec.get("auth", known))


def _page(definition: Definition, at: Path, page: Any, params: Mapping[str, Param]) -> Mapping[str, Json] | None:
    if page is None:
        return None
    for key in ("items", "next", "more", "total", "pages"):
        definition.jmespath((*at, "page", key), page.get(key))
    for key in ("param", "size_param"):
        if key in page:
            param_exists(definition, (*at, "page", key), page[key], params)
    if "header" in page and (page["type"] != "link" or "next" in page):
        definition.note((*at, "page", "header"), "Names the next page of `type: link` alone, and instead of `next`.")
    return dict(page)


def _poll(definition: Definition, at: Path, poll: Any) -> Mapping[str, Json] | None:
    if poll is None:
        return None
    for key in ("id", "status", "progress", "result", "error"):
        definition.jmespath((*at, "poll", key), poll.get(key))
    return in_seconds(poll, "every", "timeout")


def _idempotency(definition: Definition, at: Path, spec: Any, params: Mapping[str, Param]) -> Mapping[str, Json] | None:
    if spec is None:
        return None
    if "param" in spec:
        param_exists(definition, (*at, "idempotency", "param"), spec["param"], params)
    if "header" in spec and is_reserved_header(spec["header"]):
        definition.note((*at, "idempotency", "header"), f"The header {spec['header']} may not be set here.")
    if "header" in spec and "param" in spec:
        definition.note((*at, "idempotency"), "Is either a header or a param.")
    return in_seconds(spec, "window")


def param_exists(definition: Definition, at: Path, name: str, params: Iterable[str]) -> None:
    names = list(params)
    if name not in names:
        definition.note(at, f"There is no param {name}.{meant(name, names)}")


def _deprecation(definition: Definition, at: Path, spec: Any) -> Deprecation | None:
    if spec is None:
        return None
    since = _day(definition, (*at, "since"), spec["since"])
    sunset = _day(definition, (*at, "sunset"), spec["sunset"]) if "sunset" in spec else None
    if sunset is not None and sunset <= since:
        definition.note((*at, "sunset"), "Must be after `since`: whoever uses it needs time to change.")
    return Deprecation(since=since, sunset=sunset, use=spec.get("use"))


def _day(definition: Definition, at: Path, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        # RFC 3339 has a year 0.
        definition.note(at, "Must be a day such as 2026-11-30.")
        return date.min


def _error_hint(spec: Mapping[str, Any]) -> ErrorHint:
    return ErrorHint(
        status=spec.get("status"),
        code=spec.get("code"),
        description=spec.get("description", "").strip(),
        fix=spec.get("fix", "").strip(),
    )


def _example(spec: Mapping[str, Any]) -> Example:
    response = spec["response"]
    return Example(
        params=spec.get("params", {}),
        status=response["status"],
        data=response.get("data"),
        headers=response.get("headers", {}),
    )
