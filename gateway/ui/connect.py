"""The connect page, its POST, and the provider's callback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from gateway.core.consent import Away, Page
from gateway.core.errors import Refusal
from gateway.ui.pages import page
from gateway.web.bodies import read
from gateway.web.context import services

#: Seconds that the cookie which binds a browser to its flows is kept.
_COOKIE_AGE = 3600
_BROWSER = re.compile(r"[\w-]{43}", re.ASCII)
_FORM_LIMIT = 64 * 1024
_NOTHING: Mapping[str, str] = MappingProxyType({})
_MOST_INPUTS = 100


async def show(request: web.Request) -> web.Response:
    found = await services(request).consent.page(request.match_info["id"], _browser(request))
    return _shown(found)


async def click(request: web.Request) -> web.Response:
    connection = request.match_info["id"]
    form: Mapping[str, str] = {}
    try:
        form = await _form(request)
        return _away(request, await services(request).consent.click(connection, form, _browser(request)))
    except Refusal as refusal:
        return _refused(refusal, await services(request).consent.page(connection, _browser(request)), form)


async def show_link(request: web.Request) -> web.Response:
    try:
        return _shown(await services(request).consent.link_page(request.query.get("t", "")))
    except Refusal as refusal:
        return _refused(refusal, None)


async def click_link(request: web.Request) -> web.Response:
    token = request.query.get("t", "")
    form: Mapping[str, str] = {}
    try:
        form = await _form(request)
        return _away(request, await services(request).consent.link_click(token, form, _browser(request)))
    except Refusal as refusal:
        shown = await services(request).consent.link_page(token) if refusal.code == "bad_request" else None
        return _refused(refusal, shown, form)


async def callback(request: web.Request) -> web.Response:
    try:
        away = await services(request).consent.callback(
            request.match_info["context"], request.rel_url.query.items(), _browser(request)
        )
    except Refusal as refusal:
        return _refused(refusal, None)
    return _away(request, away)


def _shown(
    found: Page | None, *, told: str | None = None, typed: Mapping[str, str] = _NOTHING, status: int = 200
) -> web.Response:
    if found is None:
        return page(
            "result.html",
            status=404,
            title="This link does not work",
            tone="bad",
            account=None,
            message="It was mistyped, is too old, or was replaced by a newer one.",
            next="Ask for a new link.",
        )
    if found.state == "open":
        return page(
            "connect.html",
            status=status,
            org_name=found.org_name,
            integration=found.integration,
            method=found.method,
            scopes=found.scopes,
            # What is no secret need not be typed twice.
            inputs=[item if item.secret else replace(item, value=typed.get(item.name, item.value)) for item in found.inputs],
            told=told,
        )
    if found.state == "choosing":
        return page(
            "choose.html",
            status=status,
            org_name=found.org_name,
            integration=found.integration,
            choices=found.choices,
            told=told,
        )
    title, tone, after = {
        "connected": (f"{found.integration.name} is connected", "good", "You can close this page."),
        "error": (f"{found.integration.name} was not connected", "bad", "Ask for a new link to try again."),
        "over": ("This link is over", "bad", "Ask for a new link to try again."),
    }[found.state]
    return page(
        "result.html",
        status=200 if found.state == "connected" else 400,
        title=title,
        tone=tone,
        account=found.account,
        message=found.message,
        next=after,
    )


def _refused(refusal: Refusal, found: Page | None, typed: Mapping[str, str] = _NOTHING) -> web.Response:
    """What went wrong, on the form where it can be mended there."""
    if found is not None and found.state in ("open", "choosing") and refusal.code == "bad_request":
        return _shown(found, told=refusal.message, typed=typed, status=400)
    return page(
        "result.html",
        status=refusal.status,
        title="Not connected",
        tone="bad",
        account=None,
        message=refusal.message,
        next="Ask for a new link to try again.",
    )


def _away(request: web.Request, away: Away) -> web.Response:
    response = web.Response(
        status=303,
        headers={"Location": away.url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )
    if away.browser:
        response.set_cookie(
            _cookie_name(request),
            away.browser,
            max_age=_COOKIE_AGE,
            path="/",
            httponly=True,
            secure=_is_https(request),
            samesite="Lax",
        )
    return response


async def _form(request: web.Request) -> dict[str, str]:
    """The page's own form. One that another site posted is refused: the browser says so."""
    own = services(request).public_url
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Refusal("forbidden", "This form was sent from another site.")
    origin = request.headers.get("Origin")
    if origin is not None and origin not in (own_origin(own), "null"):
        raise Refusal("forbidden", "This form was sent from another site.")
    if request.content_type != "application/x-www-form-urlencoded" and request.can_read_body:
        raise Refusal("unsupported_media_type", "Send the page's own form.")
    body = await read(request)
    if len(body) > _FORM_LIMIT:
        raise Refusal("payload_too_large", f"The form is larger than {_FORM_LIMIT} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_INPUTS))
    except ValueError:
        raise Refusal("bad_request", "The form is not one that this page makes.") from None


def own_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _browser(request: web.Request) -> str | None:
    value = request.cookies.get(_cookie_name(request), "")
    return value if _BROWSER.fullmatch(value) else None


def _is_https(request: web.Request) -> bool:
    return services(request).public_url.startswith("https://")


def _cookie_name(request: web.Request) -> str:
    # `__Host-` (RFC 6265bis §4.1.3) keeps other hosts from setting it; browsers take it over https alone.
    return "__Host-skillway_browser" if _is_https(request) else "skillway_browser"
