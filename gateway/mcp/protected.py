"""`/mcp` as a protected resource of OAuth (RFC 9728), where that is switched on: whose tokens are taken, and what for.

Off, none of this is to be found: clients that find it ignore the key that their owner gave them.
"""

from __future__ import annotations

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.id_tokens import resource_of
from gateway.web.answers import json_answer
from gateway.web.auth import has_key
from gateway.web.context import services
from oauth.oidc import SCOPES

METADATA = "/.well-known/oauth-protected-resource"


async def metadata(request: web.Request) -> web.Response:
    """Where a client gets a token, and the resource that it has to ask it for (RFC 8707)."""
    ours = services(request)
    if not ours.settings.mcp_oauth:
        raise Refusal("not_found", "There is nothing here.")
    about = {
        "resource": resource_of(ours.public_url),
        "authorization_servers": [ours.settings.oidc_issuer],
        "bearer_methods_supported": ["header"],
        "scopes_supported": list(SCOPES),
        "resource_name": "Skillway",
    }
    return json_answer(about, headers={"Cache-Control": "public, max-age=3600"})


def challenge(request: web.Request) -> str:
    """The `WWW-Authenticate` of a 401: a plain one, or one that says where to read on (RFC 9728 §5.1)."""
    ours = services(request)
    if not ours.settings.mcp_oauth:
        return "Bearer"
    # RFC 6750 §3.1: no error where nothing was given.
    error = 'error="invalid_token", ' if has_key(request) else ""
    return f'Bearer {error}resource_metadata="{ours.public_url}{METADATA}/mcp", scope="{" ".join(SCOPES)}"'
