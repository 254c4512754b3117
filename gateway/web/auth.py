"""Finds the one key on a request and resolves it to a principal."""

from __future__ import annotations

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.keys import Principal
from gateway.web.context import PRINCIPAL, RATE, services

#: Where a key must not stand: it would end up in logs and histories.
_IN_QUERY = ("api_key", "apikey", "access_token", "key")


async def principal(request: web.Request) -> Principal:
    """Who asks. Raises `Refusal` for no key, more than one, one that does not work, or one that asked too often."""
    ours = services(request)
    found = await ours.access.principal(_key(request))
    request[PRINCIPAL] = found
    resource = request.match_info.route.resource
    rate, refusal = await ours.limits.request(found, f"{request.method} {resource.canonical if resource else '-'}")
    if rate is not None:
        request[RATE] = rate
    if refusal is not None:
        raise refusal
    return found


def has_key(request: web.Request) -> bool:
    """Whether a key is on the request, or what was meant as one."""
    in_query = bool(request.rel_url.raw_query_string) and any(name in request.rel_url.query for name in _IN_QUERY)
    return in_query or "Authorization" in request.headers or "X-API-Key" in request.headers


def _key(request: web.Request) -> str:
    authorization = request.headers.getall("Authorization", [])
    api_key = request.headers.getall("X-API-Key", [])
    if request.rel_url.raw_query_string and any(name in request.rel_url.query for name in _IN_QUERY):
        raise Refusal("bad_request", "A key in the URL ends up in logs. Send `Authorization: Bearer <key>`.")
    if len(authorization) + len(api_key) > 1:
        raise Refusal("bad_request", "Send exactly one key: `Authorization: Bearer <key>` or `X-API-Key: <key>`.")
    if api_key:
        return api_key[0].strip()
    scheme, _, key = authorization[0].partition(" ") if authorization else ("", "", "")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refusal("unauthorized", "Missing or invalid authorization. Send `Authorization: Bearer sk_live_gw_…`.")
    return key.strip()
