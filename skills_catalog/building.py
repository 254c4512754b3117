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
from skills_catalog.model import AuthMethod, ConnectionField, Guide, Integration, Json, Skill, Variable, Whoami
from skills_catalog.names import RESERVED_SLUGS
from skills_catalog.schemas import with_definitions
from skills_catalog.strict_yaml import Document

#: Names that texts of token requests may hold beside connection fields.
_NOT_FIELDS = frozenset({"redirect_uri", "scopes", "assertion", "token_url"})


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
    definition.page_url(("docs_url",), spec.get("docs_url"))
    definition.fixed_headers(("headers",), spec.get("headers", {}))
    definition.jmespath(("error_when",), spec.get("error_when"))
    definition.methods = read_auth(definition)
    _base_urls(definition)
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
        servers={name: url.rstrip("/") for name, url in spec.get("servers", {}).items()},
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


def _base_urls(definition: Definition) -> None:
    """The base URL, those of methods and servers, and that a credential of the path stands in each of them."""
    spec = definition.spec
    in_path = {
        index: method.placement.name
        for index, method in enumerate(definition.methods)
        if method.placement is not None and method.placement.location == "path"
    }
    also = set(in_path.values())
    definition.url(("base_url",), spec["base_url"], query=False, also=also)
    for name, url in spec.get("servers", {}).items():
        definition.url(("servers", name), url, query=False, also=also)
    for index, method in enumerate(definition.methods):
        url = method.base_url or spec["base_url"]
        named = set(templates.fields_in(url))
        if index in in_path and in_path[index] not in named:
            definition.note(("auth", index, "in"), f"Neither base URL has {{{in_path[index]}}} in its path.")
        if method.type == "none" or method.base_url is not None:
            continue
        for name in sorted(named & (also - {in_path.get(index, "")})):
            definition.note(("auth", index), f"The base URL has {{{name}}}, which {method.name} does not fill.")
        for field in definition.fields:
            if field.name in named and not field.serves(method):
                message = f"The base URL has {{{field.name}}}, which connections of {method.name} do not have."
                definition.note(("auth", index), message)


def _field(definition: Definition, name: str, spec: Mapping[str, Any]) -> ConnectionField:
    at: Path = ("connection", name)
    schema = spec.get("schema", {"type": "string"})
    definition.schema((*at, "schema"), schema, definition.definitions)
    host, default = spec.get("host"), spec.get("default")
    if default is not None:
        if host and not templates.is_host_value(default, host):
            definition.note((*at, "default"), f"The default is not a {host} of a host name.")
        definition.default((*at, "schema"), {**schema, "default": default}, at_default=(*at, "default"))
    methods = [method["name"] for method in definition.spec["auth"] if method["type"] != "none"]
    for index, method in enumerate(spec.get("auth", ())):
        if method not in methods:
            definition.note((*at, "auth", index), f"There is no auth method {method} with connections.{meant(method, methods)}")
    if name in _NOT_FIELDS:
        definition.note(at, f"{name} has a meaning of its own in texts; take another name.")
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
        auth=tuple(spec["auth"]) if "auth" in spec else None,
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
    for index, method in enumerate(definition.methods):
        if method.lookup:
            _check_lookup(definition, ("auth", index, "lookup", "action"), method, skills)
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


def _check_lookup(definition: Definition, at: Path, method: AuthMethod, skills: Mapping[str, Skill]) -> None:
    assert method.lookup is not None
    name = method.lookup.action
    _action_exists(definition, at, name, skills)
    skill = skills.get(name)
    if skill is None:
        return
    if skill.effect != "read":
        definition.note(at, "Is asked on connecting, so it must only read.")
    if skill.lifecycle == "unreviewed":
        definition.note(at, f"{name} is not reviewed, so that nobody may call it.")
    if skill.input_schema.get("required"):
        definition.note(at, f"{name} has required params; this must work without.")
    if method.name not in skill.auth:
        definition.note(at, f"{name} is not served by {method.name}.")
    base = definition.spec["servers"].get(skill.server, "") if skill.server else method.base_url or definition.spec["base_url"]
    path = " ".join(f"{{{piece.name}}}" for pieces in skill.request.segments for piece in pieces if isinstance(piece, Variable))
    for field in sorted(set(templates.fields_in(f"{base} {path}")) & method.lookup.fields.keys()):
        definition.note(at, f"{name} needs {{{field}}} itself, which it is to find out; give it a `server`.")


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
        at = ("webhooks", "challenges", position)
        for key in ("when", "secret"):
            definition.jmespath((*at, key), challenge.get(key))
        answer = challenge.get("answer")
        words = answer if isinstance(answer, Mapping) else {"": answer}
        for name, word in words.items():
            place = (*at, "answer", name) if name else (*at, "answer")
            if isinstance(word, Mapping) and "signature" not in spec:
                definition.note(place, "There is nothing to sign it with: `signature` is missing.")
            definition.jmespath(place, word["hmac-sha256"] if isinstance(word, Mapping) else word)
    events = [{"name": event} if isinstance(event, str) else event for event in spec.get("events", ())]
    signature = in_seconds(spec.get("signature"), "tolerance")
    if signature:
        _signature(definition, ("webhooks", "signature"), signature)
    return {**spec, "events": events, **({"signature": signature} if signature else {})}


def _signature(definition: Definition, at: Path, spec: Mapping[str, Any]) -> None:
    """Checks that everything that is signed can be had."""
    if "path" in spec:
        definition.jmespath((*at, "path"), spec["path"])
        if spec["algorithm"] != "token" or len(spec) > 2:
            definition.note((*at, "path"), "What stands in the payload can only be a token, and nothing else is said of it.")
        return
    scheme, template = spec["scheme"], spec.get("template", "{body}")
    parts = scheme.split(spec.get("separator", ","))
    if any(part.count(name) > 1 for part in parts for name in ("{signature}", "{timestamp}")):
        definition.note((*at, "scheme"), "A placeholder stands twice in one part.")
    for name in templates.fields_in(scheme):
        if name not in ("signature", "timestamp"):
            definition.note((*at, "scheme"), f"There is no placeholder {name}; use {{signature}} or {{timestamp}}.")
    for name in templates.fields_in(template):
        if name not in ("timestamp", "id", "body", "form", "url", "method"):
            definition.note((*at, "template"), f"There is no placeholder {name}.")
    if "{body}" not in template and "{form}" not in template:
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
