"""One action of a file becomes a skill: its request, its effect, its params, and what later stages read of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from skills_catalog import templates
from skills_catalog.definition import Definition, Path, in_seconds, meant, title_of
from skills_catalog.model import Deprecation, ErrorHint, Example, Json, Param, RequestTemplate, Skill
from skills_catalog.names import RESERVED_ACTIONS, is_reserved_header
from skills_catalog.params import bound_template, check_injections, check_wires, input_schema, read_wires
from skills_catalog.templates import Malformed

MAX_TIMEOUT = 1800.0


def read_action(definition: Definition, slug: str, name: str, spec: Mapping[str, Any]) -> Skill:
    """The skill of one entry under `actions`. Connection fields and auth methods have been read before."""
    at: Path = ("actions", name)
    if name in RESERVED_ACTIONS:
        definition.note(at, f"{name} is a reserved action name; take another.")
    template = _template(definition, (*at, "request"), spec["request"])
    effect = _effect(definition, at, spec, template.method)
    auth = _auth_of(definition, at, spec)
    wires = read_wires(definition, at, spec, template)
    template = bound_template(definition, at, template, wires)
    check_wires(definition, wires, template.method)
    definition.fixed_headers((*at, "headers"), spec.get("headers", {}))
    check_injections(definition, at, spec, wires, auth, template.method)
    params = {wire.param.name: wire.param for wire in wires if not wire.param.is_const}
    timeout = spec.get("timeout")
    if timeout is not None and templates.seconds(timeout) > MAX_TIMEOUT:
        definition.note((*at, "timeout"), "A timeout is at most 30m.")
    if spec.get("cache") and effect != "read":
        definition.note((*at, "cache"), f"Only actions that read can be cached; the effect of this one is {effect}.")
    definition.jmespath((*at, "brief"), spec.get("brief"))
    return Skill(
        integration=slug,
        name=name,
        title=spec.get("title", title_of(name)),
        category=spec.get("category", "general"),
        description=spec["description"].strip(),
        effect=effect,  # type: ignore[arg-type]
        idempotent=spec.get("idempotent", template.method in ("GET", "HEAD", "PUT", "DELETE")),
        scopes=tuple(spec.get("scopes", ())),
        auth=auth,
        request=template,
        params=params,
        constants=tuple(wire.param for wire in wires if wire.param.is_const),
        input_schema=input_schema(definition, at, spec, params),
        headers=spec.get("headers", {}),
        response=spec.get("response", "auto"),
        redirect=spec.get("redirect", definition.spec.get("redirect")) == "follow",
        timeout=templates.seconds(timeout) if timeout is not None else None,
        cost=spec.get("cost", 1),
        requires_plan=spec.get("requires_plan"),
        lifecycle=spec.get("lifecycle"),
        deprecated=_deprecation(definition, (*at, "deprecated"), spec.get("deprecated")),
        errors=tuple(_error_hint(error) for error in spec.get("errors", ())),
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


def _template(definition: Definition, at: Path, line: str) -> RequestTemplate:
    try:
        return templates.request_template(line)
    except Malformed as error:
        definition.note(at, str(error))
        method = line.split(" ", 1)[0].upper()
        return RequestTemplate(method=method, path="", segments=())


def _effect(definition: Definition, at: Path, spec: Mapping[str, Any], method: str) -> str:
    effect: str | None = spec.get("effect")
    if method in ("GET", "HEAD"):
        if effect not in (None, "read"):
            definition.note((*at, "effect"), f"A {method} that has the effect {effect} contradicts itself.")
        return "read"
    if effect is None:
        definition.note(at, f"`effect` is missing; a {method} may read, create, update, delete or send.")
        return "update"
    if method == "DELETE" and effect in ("read", "create", "send"):
        definition.note((*at, "effect"), f"A DELETE that has the effect {effect} contradicts itself.")
    return effect


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
