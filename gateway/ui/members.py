"""What pages need of whoever is signed in: the guard, the head of the page, the token that their forms carry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.sessions import SignedIn
from gateway.ui.addresses import HOME, is_own, to_sign_in
from gateway.ui.pages import refused
from gateway.web.auth import signed_in
from gateway.web.context import services
from gateway.web.cookies import BROWSER, SESSION, cookie_of

MemberHandler = Callable[[web.Request, SignedIn], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def form_token(request: web.Request, browser: str | None = None) -> str:
    """What the forms of a page carry: for whoever is signed in, or else for the browser with this cookie."""
    cookie = cookie_of(request, SESSION) if browser is None else browser
    assert cookie is not None
    return services(request).form_tokens.of(cookie)


def check_browser_form(request: web.Request, form: dict[str, str]) -> str:
    """The cookie of the browser that sent a form of a page for whoever is not signed in. Raises `forbidden`."""
    browser = cookie_of(request, BROWSER)
    services(request).form_tokens.check(browser, form.get("form_token", ""))
    assert browser is not None
    return browser


def check_member_form(request: web.Request, form: dict[str, str]) -> None:
    """Raises `forbidden` for a form that was not shown to whoever is signed in."""
    services(request).form_tokens.check(cookie_of(request, SESSION), form.get("form_token", ""))


def who(request: web.Request, member: SignedIn | None) -> dict[str, str] | None:
    """What the head of a page says of whoever is signed in."""
    if member is None:
        return None
    return {
        "name": member.member.shown_name,
        "org_name": member.principal.org_name,
        "form_token": form_token(request),
        "home": services(request).public_url,
        "here": request.path.split("/")[1],
    }


def for_members(handler: MemberHandler, *, back: str = HOME) -> Handler:
    """A page for whoever is signed in. Everybody else signs in first, and comes back: to where they were, or `back`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        member: SignedIn | None = None
        try:
            member = await signed_in(request)
            if member is None:
                return to_sign_in(request, request.path_qs if is_own(request.path_qs) else back)
            return await handler(request, member)
        except Refusal as refusal:
            return refused(
                refusal, "That did not work", next="Go back and try again.", who=who(request, member)
            )

    return handle
