"""The two cookies: one ties a browser to what it began, the other says who is signed in."""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from gateway.web.context import services

BROWSER, SESSION = "skillway_browser", "skillway_session"
#: Seconds that each is kept. What it opens may end sooner.
_AGES = {BROWSER: 3600, SESSION: 7 * 86400}
#: What we make: 256 bits in base64url.
_VALUE = re.compile(r"[\w-]{43}", re.ASCII)


def cookie_of(request: web.Request, name: str) -> str | None:
    """The cookie's value, if it can be one of ours."""
    value = request.cookies.get(_spelled(request, name), "")
    return value if _VALUE.fullmatch(value) else None


def browser_of(request: web.Request) -> str:
    """The cookie of this browser; a fresh one, to be set, where it has none."""
    return cookie_of(request, BROWSER) or secrets.token_urlsafe(32)


def set_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
    response.set_cookie(
        _spelled(request, name),
        value,
        max_age=_AGES[name],
        path="/",
        httponly=True,
        secure=_is_https(request),
        samesite="Lax",
    )


def drop_cookie(request: web.Request, response: web.StreamResponse, name: str) -> None:
    response.del_cookie(
        _spelled(request, name), path="/", httponly=True, secure=_is_https(request), samesite="Lax"
    )


def _spelled(request: web.Request, name: str) -> str:
    # `__Host-` (RFC 6265bis §4.1.3) keeps other hosts from setting it; browsers take it over https alone.
    return f"__Host-{name}" if _is_https(request) else name


def _is_https(request: web.Request) -> bool:
    return services(request).public_url.startswith("https://")
