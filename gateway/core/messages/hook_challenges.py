"""How upstreams try out a hook's URL, and what they are answered: words, signed words, or a sign of life."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from gateway.core.errors import Refusal
from oauth.secret import Secret
from skills_catalog.model import Integration

#: A challenge is a random word; a longer one is something else.
_LONGEST_CHALLENGE = 256
#: Those that Microsoft Graph puts into a query are longer.
LONGEST_IN_QUERY = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an upstream is answered: a text, a JSON object, or nothing."""

    status: int = 200
    text: str | None = field(default=None, repr=False)
    json: Mapping[str, str] | None = field(default=None, repr=False)
    #: A header that it has to have.
    header: tuple[str, str] | None = field(default=None, repr=False)


RECEIVED = Reply(json={"status": "received"})
ACKNOWLEDGED = {"json": RECEIVED, "empty": Reply(), "no_content": Reply(status=204)}


def challenges_of(integration: Integration) -> Sequence[Mapping[str, Any]]:
    """The ways in which the upstream tries out a URL, as its definition has them."""
    challenges: Sequence[Mapping[str, Any]] = (integration.webhooks or {}).get("challenges", ())
    return challenges


def answered(wanted: Any, payload: Any, secret: Secret | None) -> Reply:
    """What a signed challenge asks for: a word, an object of words, or no more than a sign of life."""
    if wanted is None:
        return Reply(status=204)
    if isinstance(wanted, str):
        return Reply(text=echo(search(wanted, payload)))
    said = {}
    for name, word in wanted.items():
        if isinstance(word, str):
            said[name] = echo(search(word, payload))
        else:
            assert secret is not None, "a definition with signed words has a signature, which was proven"
            given = echo(search(word["hmac-sha256"], payload))
            said[name] = hmac.digest(secret.reveal().encode(), given.encode(), "sha256").hex()
    return Reply(json=said)


def search(path: str, payload: Any) -> Any:
    """What a JMESPath finds in what an upstream sent; None where it finds nothing."""
    try:
        return jmespath.search(path, payload)
    except JMESPathError:
        # A function of the path met a type that it does not take.
        return None


def echo(text: Any, most: int = _LONGEST_CHALLENGE) -> str:
    """The word, if it may be given back. Raises `bad_request`."""
    if not isinstance(text, str) or not 0 < len(text) <= most or not text.isprintable():
        raise Refusal("bad_request", f"A challenge is a printable text of at most {most} characters.")
    return text


def verify_token(token: str) -> str:
    """What the upstream has to know when it tries out the URL: made of the URL, so that nothing is stored."""
    return hashlib.sha256(b"verify " + token.encode(errors="surrogateescape")).hexdigest()[:32]
