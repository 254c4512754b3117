"""Renders pages: one layout, escaped by default, under a policy that lets nothing run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.core.errors import Refusal
from gateway.core.sessions import SignedIn
from gateway.web.auth import signed_in
from gateway.web.context import services
from gateway.web.cookies import BROWSER, SESSION, cookie_of

MemberHandler = Callable[[web.Request, SignedIn], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FOLDER = Path(__file__).parent / "templates"
#: The pages of ours that a person may be sent back to, each as a whole: what is not spelled so leads elsewhere.
_OWN = re.compile(
    r"/keys|/device(?:\?user_code=[A-Za-z-]{1,32})?|/connect/conn_[\w-]{1,64}|/connect/new\?t=[\w-]{1,1024}", re.ASCII
)
HOME = "/keys"


def page(template: str, *, status: int = 200, stays: bool = False, **shown: Any) -> web.Response:
    """An HTML answer made from a template of `templates/`. Forms of a page that `stays` lead to us alone."""
    html = _environment().get_template(template).render({"style": _style(), "who": None, **shown})
    return web.Response(text=html, status=status, content_type="text/html", headers=_headers(stays))


def result(
    title: str, message: str | None = None, *, next: str, status: int = 200, tone: str = "bad", **shown: Any
) -> web.Response:
    """A page that says how something ended, and what to do then."""
    return page(
        "result.html", status=status, title=title, tone=tone, message=message, next=next, **{"account": None, **shown}
    )


def refused(refusal: Refusal, title: str, *, next: str, **shown: Any) -> web.Response:
    """A page that says why there is no other."""
    return result(title, refusal.message, next=refusal.hint or next, status=refusal.status, **shown)


def away(url: str) -> web.Response:
    """Sends the browser to another address, which learns nothing of this one."""
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)


def to_page(request: web.Request, path: str) -> web.Response:
    """Sends the browser to a page of ours."""
    return away(services(request).public_url + path)


def to_sign_in(request: web.Request, back: str) -> web.Response:
    """Sends the browser to sign in, and then back to a page of ours."""
    return to_page(request, "/sign-in" + (f"?next={quote(back, safe='')}" if is_own(back) and back != HOME else ""))


def is_own(path: str) -> bool:
    """Whether this is the path of a page of ours, and nothing that a browser could read as another address."""
    return _OWN.fullmatch(path) is not None


def next_of(request: web.Request) -> str:
    """The page of ours that comes after this one. Raises `bad_request` for one that is none of ours."""
    path = request.query.get("next", HOME)
    if not is_own(path):
        raise Refusal("bad_request", "This link leads elsewhere than to a page of this gateway.")
    return path


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


@lru_cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache
def _style() -> str:
    return (_FOLDER / "style.css").read_text()


@lru_cache
def _headers(stays: bool) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    # Where a form's POST is redirected to a provider there is no form-action: browsers hold the redirect against it.
    forms = "; form-action 'self'" if stays else ""
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'{forms}"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
