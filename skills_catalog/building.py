"""Turns a file of the right shape into an Integration, and notes every place where it contradicts itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from skills_catalog import templates
from skills_catalog.actions import param_exists, read_action
from skills_catalog.auth_methods import read_auth
from skills_catalog.definition import Definition, Enough, Path, in_seconds, meant, title_of
from skills_catalog.mistakes import Mistake
from skills_catalog.model import ConnectionField, Guide, Integration, Json, Skill, Whoami
from skills_catalog.names import RESERVED_SLUGS
from skills_catalog.schemas import with_definitions
from skills_catalog.strict_yaml import Document


def build(document: Document) -> tuple[Integration | None, list[Mistake]]:
    """The integration of a document that fits the schema; None and the mistakes if it cannot stand."""
    definition = Definition(document)
    try:
        integration = _integration(definition)
    except Enough:
        return None, definition.mistakes
    return (None, definition.mistakes) if definition.mistakes else (integration, [])


def _integration(definition: Definition) -> Integration:
    spec = definition.spec
    slug: str = spec["slug"]
    if slug in RESERVED_SLUGS:
        definition.note(("slug",), f"{slug} is reserved for a route of the gateway; take another name.")
    for name, schema in definition.definitions.items():
        definition.schema(("$defs", name), schema, definition.definitions)
    definition.fields = tuple(_field(definition, name, field) for name, field in spec.get("connection", {}).items())
    definition.url(("base_url",), spec["base_url"], query=False)
    definition.page_url(("docs_url",), spec.get("docs_url"))
    definition.fixed_headers(("headers",), spec.get("headers", {}))
    definition.methods = read_auth(definition)
    skills = {name: read_action(definition, slug, name, action) for name, action in spec["actions"].items()}
    _references(definition, skills)
    return Integration(
        slug=slug,
        name=spec["name"],
        description=spec["description"].strip(),
        base_url=spec["base_url"].rstrip("/"),
        auth=definition.methods,
        skills=skills,
        categories=tuple(spec.get("categories", ())),
        version=spec.get("version", "0.1.0"),
        docs_url=spec.get("docs_url"),
        headers=spec.get("headers", {}),
        fields=definition.fields,
        whoami=Whoami(**spec["whoami"]) if "whoami" in spec else None,
        redirect=spec.get("redirect") == "follow",
        upstream_limits=_limits(spec.get("upstream_limits")),
        webhooks=_webhooks(definition, spec.get("webhooks")),
        guides=_guides(spec.get("guides", ())),
        workflows=_guides(spec.get("workflows", ())),
        synonyms=tuple(spec.get("synonyms", ())),
        lifecycle=spec.get("lifecycle"),
        source=definition.document.source,
        digest=_digest(spec),
    )


def _field(definition: Definition, name: str, spec: Mapping[str, Any]) -> ConnectionField:
    at: Path = ("connection", name)
    schema = spec.get("schema", {"type": "string"})
    definition.schema((*at, "schema"), schema, definition.definitions)
    host, default = spec.get("host"), spec.get("default")
    if default is not None:
        if host and not templates.is_host_value(default, host):
            definition.note((*at, "default"), f"The default is not a {host} of a host name.")
        definition.default((*at, "schema"), {**schema, "default": default}, at_default=(*at, "default"))
    target = spec.get("default_for")
    if target and spec.get("secret"):
        definition.note((*at, "default_for"), "A secret cannot fill a param: params are recorded. Use `headers`.")
    return ConnectionField(
        name=name,
        title=spec.get("title", title_of(name)),
        schema=with_definitions(_described(schema, spec), definition.definitions),
        required=spec.get("required", True),
        host=host,
        secret=spec.get("secret", False),
        default=default,
        default_for=target,
    )


def _references(definition: Definition, skills: Mapping[str, Skill]) -> None:
    """Names of actions and params must exist."""
    whoami = definition.spec.get("whoami")
    if whoami:
        _action_exists(definition, ("whoami", "action"), whoami["action"], skills)
        for key in ("account", "account_id"):
            definition.jmespath(("whoami", key), whoami.get(key))
        skill = skills.get(whoami["action"])
        if skill and skill.effect != "read":
            definition.note(("whoami", "action"), "Checks every new connection, so it must only read.")
        if skill and skill.lifecycle == "unreviewed":
            definition.note(("whoami", "action"), f"{skill.name} is not reviewed, so that nobody may call it.")
        if skill and skill.input_schema.get("required"):
            definition.note(("whoami", "action"), f"{skill.name} has required params; this must work without.")
    for name in definition.spec.get("upstream_limits", {}).get("actions", {}):
        _action_exists(definition, ("upstream_limits", "actions", name), name, skills)
    every = {param for skill in skills.values() for param in skill.params}
    for field in definition.fields:
        if field.default_for and field.default_for not in every:
            at: Path = ("connection", field.name, "default_for")
            definition.note(at, f"No action has a param {field.default_for}.{meant(field.default_for, every)}")
    for name, skill in skills.items():
        if skill.poll:
            _check_poll(definition, ("actions", name, "poll"), skill.poll, skills)


def _check_poll(definition: Definition, at: Path, poll: Mapping[str, Any], skills: Mapping[str, Skill]) -> None:
    _action_exists(definition, (*at, "action"), poll["action"], skills)
    target = skills.get(poll["action"])
    if target is None:
        return
    if target.effect != "read":
        definition.note((*at, "action"), "Is asked again and again, so it must only read.")
    if target.lifecycle == "unreviewed" and skills[str(at[1])].lifecycle != "unreviewed":
        definition.note((*at, "action"), f"{target.name} is not reviewed, so that nobody may call it.")
    if "param" in poll:
        param_exists(definition, (*at, "param"), poll["param"], target.params)
    elif "id" in poll and len(target.input_schema.get("required", ())) != 1:
        definition.note(at, f"`param` is missing: {target.name} has not exactly one required param.")


def _action_exists(definition: Definition, at: Path, name: str, skills: Mapping[str, Skill]) -> None:
    if name not in skills:
        definition.note(at, f"There is no action {name}.{meant(name, skills)}")


def _limits(spec: Any) -> Mapping[str, Json] | None:
    if spec is None:
        return None
    limits = dict(spec)
    for key in ("per_connection", "per_client"):
        if key in limits:
            limits[key] = _windows(limits[key])
    if "actions" in limits:
        limits["actions"] = {name: _windows(value) for name, value in limits["actions"].items()}
    return limits


def _webhooks(definition: Definition, spec: Any) -> Mapping[str, Json] | None:
    if spec is None:
        return None
    definition.page_url(("webhooks", "docs_url"), spec.get("docs_url"))
    definition.jmespath(("webhooks", "event"), spec.get("event"))
    for position, challenge in enumerate(spec.get("challenges", ())):
        for key in ("when", "answer"):
            definition.jmespath(("webhooks", "challenges", position, key), challenge.get(key))
    events = [{"name": event} if isinstance(event, str) else event for event in spec.get("events", ())]
    signature = in_seconds(spec.get("signature"), "tolerance")
    if signature:
        _signature(definition, ("webhooks", "signature"), signature)
    return {**spec, "events": events, **({"signature": signature} if signature else {})}


def _signature(definition: Definition, at: Path, spec: Mapping[str, Any]) -> None:
    """Checks that everything that is signed can be had."""
    scheme, template = spec["scheme"], spec.get("template", "{body}")
    parts = scheme.split(spec.get("separator", ","))
    if any(part.count(name) > 1 for part in parts for name in ("{signature}", "{timestamp}")):
        definition.note((*at, "scheme"), "A placeholder stands twice in one part.")
    for name in templates.fields_in(scheme):
        if name not in ("signature", "timestamp"):
            definition.note((*at, "scheme"), f"There is no placeholder {name}; use {{signature}} or {{timestamp}}.")
    for name in templates.fields_in(template):
        if name not in ("timestamp", "id", "body", "url", "method"):
            definition.note((*at, "template"), f"There is no placeholder {name}.")
    if "{body}" not in template:
        definition.note((*at, "template"), "The body must be part of what is signed.")
    if "{timestamp}" in template and "{timestamp}" not in scheme and "timestamp_header" not in spec:
        definition.note((*at, "template"), "Where the timestamp stands is missing: in `scheme` or `timestamp_header`.")
    if "{id}" in template and "id_header" not in spec:
        definition.note((*at, "template"), "`id_header` is missing.")


def _described(schema: Mapping[str, Json], spec: Mapping[str, Any]) -> Mapping[str, Json]:
    """The field's schema with the field's description, which forms show."""
    return {"description": spec["description"], **schema} if "description" in spec else schema


def _guides(spec: Iterable[Mapping[str, str]]) -> tuple[Guide, ...]:
    return tuple(Guide(title=page["title"], text=page["text"].strip()) for page in spec)


def _windows(spec: Any) -> list[Json]:
    return [in_seconds(window, "window") for window in (spec if isinstance(spec, list) else [spec])]


def _digest(spec: Mapping[str, Any]) -> str:
    """SHA-256 of what the file says; comments, layout and the order of keys aside."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
