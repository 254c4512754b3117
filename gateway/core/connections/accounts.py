"""Asks an integration's `whoami` action whose credential this is: the check of every new connection."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from gateway.core.connections.outgoing import Outgoing
from gateway.core.errors import Refusal
from gateway.core.requests.answers import says_no
from gateway.core.requests.redaction import redact, spellings
from gateway.core.requests.request import Upstream, UpstreamFailed
from oauth.connections import Held
from skills_catalog.model import Integration

log = logging.getLogger("skillway.connect")
#: A whoami answer is small; more than this is not read.
_LIMIT = 1024 * 1024
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the integration calls the account; None where it did not say."""

    name: str | None = None
    id: str | None = None


class CredentialRefused(Exception):
    """The integration answered 401 or 403: the credential does not work."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the integration answered {status}")
        self.status = status


async def identify(upstream: Upstream, outgoing: Outgoing, integration: Integration, held: Held) -> Account:
    """The account behind a credential.

    Raises `CredentialRefused`. An integration that is down at this moment does not cost a consent that was
    just given: the account then has no name.
    """
    whoami = integration.whoami
    skill = integration.skills.get(whoami.action) if whoami else None
    connection = held.connection
    if whoami is None or skill is None or connection.method not in skill.auth:
        return Account()
    request = outgoing.request(integration, skill, {}, held)
    try:
        answer = await upstream.send(request, limit=_LIMIT)
    except UpstreamFailed as failed:
        log.warning("%s whoami: %s (%s)", connection.id, failed.code, failed.cause)
        if failed.code == "upstream_unreachable" and not failed.sent and connection.fields:
            # An address that the person typed: better said now than at every call.
            raise Refusal(
                "upstream_unreachable", f"{integration.name} could not be reached.", outcome="not_sent", retryable=True
            ) from failed
        return Account()
    if answer.status in (401, 403):
        raise CredentialRefused(answer.status)
    if not 200 <= answer.status < 300:
        return Account()
    if says_no(skill, answer.status, answer.body):
        method = integration.method(connection.method)
        if method is not None and not method.is_oauth:
            raise CredentialRefused(answer.status)
        # A consent that was just given is not lost to an upstream that is busy.
        return Account()
    try:
        # The name is stored and shown: an answer that repeats the credential must not make it one.
        body = json.loads(redact(answer.body, spellings(request.secrets))[0])
    except (ValueError, RecursionError):
        return Account()
    return Account(name=_text(whoami.account, body), id=_text(whoami.account_id, body) if whoami.account_id else None)


def _text(path: str, body: Any) -> str | None:
    try:
        found = jmespath.search(path, body)
    except JMESPathError:
        # A function of the path met a type that it does not take.
        return None
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        return None
    return "".join(char for char in str(found)[:_LONGEST] if char.isprintable())
