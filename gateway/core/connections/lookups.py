"""What an action tells of a new connection: which sites or tenants its account has, and which one is meant."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from gateway.core.connections.flows import Choice
from gateway.core.connections.outgoing import Outgoing
from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.requests.answers import says_no
from gateway.core.requests.redaction import redact, spellings
from gateway.core.requests.request import Upstream, UpstreamFailed
from oauth.connections import Held
from oauth.token_answers import copied
from skills_catalog.model import Integration, Lookup

log = logging.getLogger("skillway.connect")

_LIMIT = 1024 * 1024
#: Nobody finds theirs among more.
_MOST_CHOICES = 500
_LONGEST_TITLE = 200


async def look_up(
    upstream: Upstream, outgoing: Outgoing, integration: Integration, lookup: Lookup, held: Held
) -> tuple[Choice, ...]:
    """What there is to choose from. Raises `Refusal` where the upstream does not say."""
    skill = integration.skills[lookup.action]
    request = outgoing.request(integration, skill, {}, held)
    try:
        answer = await upstream.send(request, limit=_LIMIT)
    except UpstreamFailed as failed:
        log.warning("%s lookup: %s (%s)", held.connection.id, failed.code, failed.cause)
        raise Refusal(
            "upstream_unreachable", f"{integration.name} could not be asked.", outcome="unknown", retryable=True
        ) from failed
    if not 200 <= answer.status < 300 or says_no(skill, answer.status, answer.body):
        message = f"{integration.name} did not tell what this connects to (it answered {answer.status})."
        raise bad_field("credentials", message)
    try:
        # It is stored and shown: an answer that repeats the credential must not make it a field.
        body = json.loads(redact(answer.body, spellings(request.secrets))[0])
    except (ValueError, RecursionError):
        body = None
    return _choices(lookup, body)


def pick(
    integration: Integration, choices: Sequence[Choice], known: Mapping[str, str], before: Mapping[str, str]
) -> Choice | None:
    """The one that is meant, None where nobody has said. Raises `bad_request` where there is none.

    `known` are fields that were given, `before` those of the connection that is renewed.
    """
    if not choices:
        raise bad_field("credentials", f"The account has nothing in {integration.name} that could be connected.")
    fitting = [choice for choice in choices if all(choice.fields[name] == value for name, value in known.items())]
    if not fitting:
        name = min(known)
        raise bad_field(name, f"The account has none with this {name}; it has {named(choices)}.")
    if len(fitting) > 1:
        same = [choice for choice in fitting if all(before.get(name) == value for name, value in choice.fields.items())]
        fitting = same or fitting
    return fitting[0] if len(fitting) == 1 else None


def named(choices: Sequence[Choice]) -> str:
    """The first few choices as words."""
    names = [f"{choice.title} ({', '.join(choice.fields.values())})" for choice in choices[:5]]
    return ", ".join(names) + (" and more" if len(choices) > 5 else "")


def _choices(lookup: Lookup, body: Any) -> tuple[Choice, ...]:
    items = _search(lookup.items, body) if lookup.items else body
    found: dict[tuple[str, ...], Choice] = {}
    for item in (items if isinstance(items, list) else [items])[:_MOST_CHOICES]:
        fields = copied(item, lookup.fields)
        if fields.keys() != lookup.fields.keys() or not all(value.isprintable() for value in fields.values()):
            continue
        title = copied(item, {"title": lookup.title}).get("title", "") if lookup.title else ""
        shown = "".join(letter for letter in title[:_LONGEST_TITLE] if letter.isprintable()) or ", ".join(fields.values())
        found.setdefault(tuple(fields.values()), Choice(fields=fields, title=shown))
    return tuple(found.values())


def _search(path: str, body: Any) -> Any:
    try:
        return jmespath.search(path, body)
    except JMESPathError:
        return None
