"""What callers of a definition rely on, as plain JSON: without words, layout and examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from skills_catalog.model import AuthMethod, ConnectionField, Integration, Json, Param, Skill
from skills_catalog.strict_yaml import Document

#: Keywords of a schema that change nothing about which values it takes.
_WORDS = frozenset({"title", "description", "examples", "default", "deprecated", "$comment", "readOnly", "writeOnly"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})


def contract_of(integration: Integration) -> dict[str, Json]:
    """The contract of an integration; actions that nobody reviewed are no part of it."""
    return {
        "base_url": integration.base_url,
        **_given(headers=dict(integration.headers), redirect=integration.redirect, servers=dict(integration.servers)),
        "auth": {method.name: _method(method) for method in integration.auth},
        **_given(connection={field.name: _field(field) for field in integration.fields}),
        "actions": {
            name: action_contract(skill)
            for name, skill in integration.skills.items()
            if skill.lifecycle != "unreviewed"
        },
    }


def action_contract(skill: Skill) -> dict[str, Json]:
    """The contract of one action; what goes without saying is left out."""
    return {
        "request": f"{skill.request.method} {skill.request.path}",
        "effect": skill.effect,
        "idempotent": skill.idempotent,
        "auth": sorted(skill.auth),
        **_given(
            scopes=sorted(skill.scopes),
            other_scopes=[sorted(scopes) for scopes in skill.other_scopes],
            headers=dict(skill.headers),
            server=skill.server,
            # The others follow from where the params go.
            body=skill.body if skill.body in ("related", "null", "none") else None,
            graphql=skill.graphql,
            hook=skill.hook,
            constants={".".join((one.location, *one.wire)): one.const for one in skill.constants},
            response=None if skill.response == "auto" else skill.response,
            redirect=skill.redirect,
            requires_plan=skill.requires_plan,
            params={param.name: _param(param) for param in skill.params.values()},
        ),
        **_given(**{"$defs": without_words(skill.input_schema).get("$defs"), "rules": _rules(skill)}),
    }


def digests_of(document: Document) -> dict[str, str]:
    """SHA-256 of what each action's part of a file says."""
    return {name: digest_of(spec) for name, spec in document.value["actions"].items()}


def digest_of(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def without_words(schema: Json) -> Any:
    """A schema without what is only said about it."""
    if isinstance(schema, list):
        return [without_words(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Json] = {}
    for keyword, value in schema.items():
        if keyword in _WORDS:
            continue
        if keyword in _MAPS and isinstance(value, Mapping):
            made[keyword] = {name: without_words(inner) for name, inner in value.items()}
        elif keyword in ("enum", "const", "required", "dependentRequired"):
            made[keyword] = value
        else:
            made[keyword] = without_words(value)
    return made


def _param(param: Param) -> dict[str, Json]:
    return {
        "in": param.location,
        **_given(
            **{"as": ".".join(param.wire) if param.wire != (param.name,) and not param.whole else None},
            whole=param.whole,
            joined=not param.explode,
            style=None if param.style in ("repeat", "comma") else param.style,
            encode=list(param.encode),
            content_type=param.content_type,
            member=list(param.member),
            spread=param.spread,
            required=param.required,
            default_from=param.default_from,
        ),
        "schema": without_words(param.schema),
    }


def _rules(skill: Skill) -> dict[str, Json]:
    """What the input's schema asks beyond its params: which go together."""
    own = without_words(skill.input_schema)
    usual = ("type", "properties", "required", "additionalProperties", "$defs")
    return {keyword: value for keyword, value in own.items() if keyword not in usual}


def _method(method: AuthMethod) -> dict[str, Json]:
    placement = method.placement
    return {
        "type": method.type,
        **_given(
            placement=[placement.location, placement.name, placement.prefix] if placement else None,
            value=placement.template if placement else None,
            base_url=method.base_url,
            headers=dict(method.headers),
            query=dict(method.query),
            request_token_url=method.request_token_url,
            authorization_url=method.authorization_url,
            token_url=method.token_url,
            refresh_url=method.refresh_url,
            revocation_url=method.revocation_url,
            scopes=sorted(method.scopes.default),
        ),
    }


def _field(field: ConnectionField) -> dict[str, Json]:
    return {
        **_given(required=field.required, host=field.host, secret=field.secret, default=field.default),
        **_given(default_for=field.default_for),
        "schema": without_words(field.schema),
    }


def _given(**members: Json) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value not in (None, False, {}, [], "")}
