"""Who asks: the one key on a request, an ID token in its place, or the session of a member's browser."""

from __future__ import annotations

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.sessions import SignedIn
from gateway.core.tenants.keys import Principal
from gateway.web.context import PRINCIPAL, RATE, services
from gateway.web.cookies import SESSION, cookie_of
from gateway.web.forms import check_same_origin

#: Where a key must not stand: it would end up in logs and histories.
_IN_QUERY = ("api_key", "apikey", "access_token", "key")
_SAFE = ("GET", "HEAD")


async def principal(
    request: web.Request, *, session: bool = False, id_token: bool = False, bearer: bool = False
) -> Principal:
    """Who asks. Raises `Refusal` for no key, more than one, one that does not work, or one that asked too often.

    `session` takes a signed-in browser too, `id_token` an ID token and `bearer` an access token made for MCP, where the
    operator allows it.
    """
    ours = services(request)
    found = await _member(request) if session and not has_key(request) else None
    found = found or await _of_key(
        request, id_token=id_token and ours.settings.oidc_on_api, bearer=bearer and ours.settings.mcp_oauth
    )
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


async def signed_in(request: web.Request) -> SignedIn | None:
    """The member who is signed in in this browser. Raises `forbidden` where their org is suspended."""
    cookie = cookie_of(request, SESSION)
    found = await services(request).sessions.find(cookie) if cookie is not None else None
    if found is not None:
        request[PRINCIPAL] = found.principal
    return found


def bearer_of(request: web.Request) -> str | None:
    """What stands behind `Authorization: Bearer`; None where nothing does. Raises `bad_request` for two of them."""
    given = request.headers.getall("Authorization", [])
    if len(given) > 1:
        raise Refusal("bad_request", "Send exactly one `Authorization: Bearer <token>`.")
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def _member(request: web.Request) -> Principal | None:
    found = await signed_in(request)
    if found is None:
        return None
    if request.method not in _SAFE:
        check_same_origin(request)
    return found.principal


async def _of_key(request: web.Request, *, id_token: bool, bearer: bool) -> Principal:
    ours, text = services(request), _key(request)
    if bearer and ours.id_tokens.is_one(text):
        return await ours.id_tokens.bearer(text)
    if id_token and ours.id_tokens.is_one(text):
        return await ours.id_tokens.principal(text)
    return await ours.access.principal(text)


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
