"""The upstream request of an action as one connection makes it: built, passed through its hook, signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.bodies import FORM
from gateway.core.credentials import injection, method_of, values_of
from gateway.core.hooks import Hooks
from gateway.core.request import UpstreamRequest
from gateway.core.requests import build_request, check_size
from oauth.connections import Held
from oauth.oauth1 import Signer
from skills_catalog.model import Integration, Skill


class Outgoing:
    """Makes the requests of calls, of `whoami` and of what is looked up on connecting."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def request(
        self, integration: Integration, skill: Skill, params: Mapping[str, Any], held: Held | None
    ) -> UpstreamRequest:
        """The request, ready to send; without a connection the fields have their defaults. Raises `Refusal`."""
        if held is None:
            fields = {item.name: item.default for item in integration.fields if item.default is not None}
            return self._hooks.apply(skill, build_request(integration, skill, params, fields=fields), fields)
        method = method_of(integration, held)
        injected, values = injection(method, held), values_of(method, held)
        request = build_request(
            integration,
            skill,
            params,
            method=method,
            fields=values,
            injection=injected,
            secrets=held.credential.secrets(),
        )
        request = self._hooks.apply(skill, request, values)
        return request if injected.signer is None else signed(request, injected.signer)


def signed(request: UpstreamRequest, signer: Signer) -> UpstreamRequest:
    """The request with its signature (RFC 5849 §3): over the address as sent, and the body where that is a form."""
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    form = request.body if types and types[-1].partition(";")[0].strip().lower() == FORM else None
    header = signer.authorization(request.method, request.url, form=form)
    request = replace(
        request,
        headers=(*request.headers, ("Authorization", header)),
        credential_headers=request.credential_headers | {"authorization"},
    )
    check_size(request)
    return request
