"""The upstream request of an action as one connection makes it: built, passed through its hook, signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.connections.credentials import injection, method_of, values_of
from gateway.core.requests.bodies import FORM
from gateway.core.requests.building import NO_INJECTION, build_request, check_size
from gateway.core.requests.file_params import NO_FILES, GivenFiles
from gateway.core.requests.hook_functions import Hooks
from gateway.core.requests.request import UpstreamRequest
from oauth.connections import Held
from oauth.oauth1 import Signer
from oauth.schemes import Injection
from skills_catalog.model import AuthMethod, Integration, Skill


@dataclass(frozen=True, slots=True, kw_only=True)
class _Added:
    """What a credential adds to requests, the values of `{field}`s, and what must not come back in answers."""

    method: AuthMethod = field(repr=False)
    injection: Injection
    values: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(repr=False)


class Outgoing:
    """Makes the requests of calls, of `whoami` and of what is looked up on connecting."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def request(
        self,
        integration: Integration,
        skill: Skill,
        params: Mapping[str, Any],
        held: Held | None,
        *,
        files: GivenFiles = NO_FILES,
        key: str | None = None,
        link: str | None = None,
    ) -> UpstreamRequest:
        """The request, ready to send; without a connection the fields have their defaults. Raises `Refusal`.

        `key` goes where the upstream takes an idempotency key in a header. `link` is the path and query of another page
        of the same list: what signs the request signs that.
        """
        if held is None:
            injected = NO_INJECTION
            values: Mapping[str, str] = {
                item.name: item.default for item in integration.fields if item.default is not None
            }
            request = build_request(integration, skill, params, fields=values, files=files)
        else:
            method = method_of(integration, held)
            added = _added(method, held)
            injected, values = added.injection, added.values
            request = build_request(
                integration,
                skill,
                params,
                method=method,
                fields=values,
                injection=injected,
                secrets=added.secrets,
                files=files,
            )
        request = self._hooks.apply(skill, _with_key(skill, _at(request, link), key), values)
        return request if injected.signer is None else signed(request, injected.signer)


def _added(method: AuthMethod, held: Held) -> _Added:
    """Worked out once for as long as the connection is held, which is several times a second on the way of calls."""
    known = held.notes.get("added")
    # A catalog that was read again has another method of the same name.
    if isinstance(known, _Added) and known.method is method:
        return known
    found = held.notes["added"] = _Added(
        method=method,
        injection=injection(method, held),
        values=values_of(method, held),
        secrets=tuple(held.credential.secrets()),
    )
    return found


def _at(request: UpstreamRequest, link: str | None) -> UpstreamRequest:
    if link is None:
        return request
    path, _, query = link.partition("?")
    request = replace(request, path=path, query=query)
    check_size(request)
    return request


def _with_key(skill: Skill, request: UpstreamRequest, key: str | None) -> UpstreamRequest:
    header = (skill.idempotency or {}).get("header")
    if key is None or header is None:
        return request
    return replace(request, headers=(*request.headers, (header, key)))


def signed(request: UpstreamRequest, signer: Signer) -> UpstreamRequest:
    """The request with its signature (RFC 5849 §3): over the address as sent, and the body where that is a form."""
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    is_form = bool(types) and types[-1].partition(";")[0].strip().lower() == FORM
    form = request.body if is_form and isinstance(request.body, bytes) else None
    header = signer.authorization(request.method, request.url, form=form)
    request = replace(
        request,
        headers=(*request.headers, ("Authorization", header)),
        credential_headers=request.credential_headers | {"authorization"},
        once=True,
    )
    check_size(request)
    return request
