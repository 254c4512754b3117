"""Builds the requests of examples as the gateway would, with made-up connections, for the commands that check them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import Refusal
from gateway.core.request import UpstreamRequest
from gateway.core.requests import build_request
from oauth.connections import Credential
from oauth.schemes import Injection, inject
from oauth.secret import Secret
from skills_catalog.model import AuthMethod, ConnectionField, Example, Integration, Skill
from skills_catalog.validation import problems
from skills_catalog.verification.comparing import NotBuilt
from skills_catalog.verification.operations import Built


def without_credential(integration: Integration, skill: Skill, example: Example) -> tuple[Built, Mapping[str, Any]]:
    """The request of an example but for its credential, and its params. Raises `NotBuilt`."""
    request, params = built(integration, skill, example, Injection())
    shown = Built(
        method=request.method, path=request.path, query=request.query, headers=request.headers, body=request.body
    )
    return shown, params


def built(
    integration: Integration, skill: Skill, example: Example, injection: Injection
) -> tuple[UpstreamRequest, Mapping[str, Any]]:
    """The request of an example, and the params with what the connection fills in. Raises `NotBuilt`."""
    if found := problems(skill, example.params):
        raise NotBuilt(" ".join(problem.message for problem in found))
    fields = {field.name: sample_value(field) for field in integration.fields}
    filled = {
        param.name: fields[param.default_from]
        for param in skill.params.values()
        if param.default_from and param.name not in example.params
    }
    params = {**filled, **example.params}
    try:
        request = build_request(
            integration, skill, params, base_url=integration.base_url, fields=fields, injection=injection
        )
    except Refusal as refusal:
        raise NotBuilt(str(refusal)) from refusal
    return request, params


def sample_value(field: ConnectionField) -> str:
    """A value that a connection might have."""
    if field.default is not None:
        return field.default
    if field.host:
        return "example" if field.host == "label" else "api.example.com"
    listed = [*field.schema.get("examples", ()), *field.schema.get("enum", ())]
    return next((value for value in listed if isinstance(value, str)), "example")


def sample_injection(method: AuthMethod) -> Injection:
    """Where a credential of the method would go, with a made-up one."""
    placement = method.placement
    if placement is None:
        return Injection()
    credential = Credential(token=Secret("credential"), username="user", password=Secret("credential"))
    return inject(method.type, credential, location=placement.location, name=placement.name, prefix=placement.prefix)
