"""Builds the requests of examples as the gateway would, with made-up connections, for the commands that check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.connections.outgoing import Outgoing
from gateway.core.errors import Refusal
from gateway.core.requests.building import build_request
from gateway.core.requests.hook_functions import Hooks
from gateway.core.requests.request import UpstreamRequest
from oauth.connections import Connection, ConnectionState, Credential, Held
from oauth.secret import Secret
from skills_catalog.model import AuthMethod, Example, Integration, Skill
from skills_catalog.samples import sample_value
from skills_catalog.validation import problems
from skills_catalog.verification.comparing import NotBuilt
from skills_catalog.verification.operations import Built


def without_credential(integration: Integration, skill: Skill, example: Example) -> tuple[Built, Mapping[str, Any]]:
    """The request of an example but for its credential, and its params. Raises `NotBuilt`."""
    fields, params = _filled(integration, skill, example)
    try:
        request = build_request(integration, skill, params, fields=fields)
    except Refusal as refusal:
        raise NotBuilt(str(refusal)) from refusal
    assert request.body is None or isinstance(request.body, bytes), "examples name no files of an org"
    shown = Built(
        method=request.method, path=request.path, query=request.query, headers=request.headers, body=request.body
    )
    return shown, params


def built(integration: Integration, skill: Skill, example: Example, method: AuthMethod) -> UpstreamRequest:
    """The request of an example as a connection of the method would send it. Raises `NotBuilt`."""
    fields, params = _filled(integration, skill, example)
    credential = Credential(
        token=Secret("credential"), username="user", password=Secret("credential"), client_id="client"
    )
    connection = Connection(
        id="conn_",
        org="",
        integration=integration.slug,
        user="",
        method=method.name,
        state=ConnectionState.ACTIVE,
        fields=fields,
    )
    held = None if method.type == "none" else Held(connection=connection, credential=credential)
    try:
        # What a hook makes of it is the operator's to try.
        return Outgoing(Hooks({})).request(integration, replace(skill, hook=None), params, held)
    except Refusal as refusal:
        raise NotBuilt(str(refusal)) from refusal


def _filled(integration: Integration, skill: Skill, example: Example) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """Fields of a connection, and the params with what they fill in. Raises `NotBuilt` where the schema refuses them."""
    if found := problems(skill, example.params):
        raise NotBuilt(" ".join(problem.message for problem in found))
    fields = {field.name: sample_value(field) for field in integration.fields}
    filled = {
        param.name: fields[param.default_from]
        for param in skill.params.values()
        if param.default_from and param.name not in example.params
    }
    return fields, {**filled, **example.params}
