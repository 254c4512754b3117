"""The connect page, its POST, and the provider's callback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from aiohttp import web

from gateway.core.connections.consent import Away, Page, SignInFirst
from gateway.core.errors import Refusal
from gateway.core.people.sessions import SignedIn
from gateway.core.tenants.keys import Principal
from gateway.ui.addresses import away, to_sign_in
from gateway.ui.members import check_member_form, form_token
from gateway.ui.pages import page
from gateway.web.auth import signed_in
from gateway.web.context import services
from gateway.web.cookies import BROWSER, cookie_of, set_cookie
from gateway.web.forms import read_form

_NOTHING: Mapping[str, str] = MappingProxyType({})


async def show(request: web.Request) -> web.Response:
    try:
        member = await _member(request)
        browser = cookie_of(request, BROWSER)
        found = await services(request).consent.page(request.match_info["id"], browser, _principal(member))
        return _shown(request, found, member)
    except Refusal as refusal:
        return _refused(request, refusal, None)


async def click(request: web.Request) -> web.Response:
    connection = request.match_info["id"]
    form: Mapping[str, str] = {}
    member: SignedIn | None = None
    consent = services(request).consent
    try:
        form, member = await _pressed(request)
        return _away(
            request,
            await consent.click(connection, form, cookie_of(request, BROWSER), _principal(member)),
        )
    except SignInFirst as first:
        return to_sign_in(request, first.back)
    except Refusal as refusal:
        browser = cookie_of(request, BROWSER)
        found = await consent.page(connection, browser, _principal(member)) if _mends(refusal) else None
        return _refused(request, refusal, found, form, member)


async def show_link(request: web.Request) -> web.Response:
    try:
        member = await _member(request)
        found = await services(request).consent.link_page(request.query.get("t", ""), _principal(member))
        return _shown(request, found, member)
    except Refusal as refusal:
        return _refused(request, refusal, None)


async def click_link(request: web.Request) -> web.Response:
    token = request.query.get("t", "")
    form: Mapping[str, str] = {}
    member: SignedIn | None = None
    consent = services(request).consent
    try:
        form, member = await _pressed(request)
        return _away(
            request, await consent.link_click(token, form, cookie_of(request, BROWSER), _principal(member))
        )
    except SignInFirst as first:
        return to_sign_in(request, first.back)
    except Refusal as refusal:
        found = await consent.link_page(token, _principal(member)) if _mends(refusal) else None
        return _refused(request, refusal, found, form, member)


async def callback(request: web.Request) -> web.Response:
    try:
        member = await _member(request)
        return _away(
            request,
            await services(request).consent.callback(
                request.match_info["context"],
                request.rel_url.query.items(),
                cookie_of(request, BROWSER),
                _principal(member),
            ),
        )
    except SignInFirst as first:
        return to_sign_in(request, first.back)
    except Refusal as refusal:
        return _refused(request, refusal, None)


async def _member(request: web.Request) -> SignedIn | None:
    """Who is signed in, where that matters."""
    return await signed_in(request) if services(request).consent.takes_members else None


def _principal(member: SignedIn | None) -> Principal | None:
    return member.principal if member is not None else None


async def _pressed(request: web.Request) -> tuple[dict[str, str], SignedIn | None]:
    """The form and, where that matters, who is signed in: then it is theirs, and no other site's."""
    form = dict(await read_form(request))
    member = await _member(request)
    if member is not None:
        check_member_form(request, form)
    return form, member


def _shown(
    request: web.Request,
    found: Page | None,
    member: SignedIn | None,
    *,
    told: str | None = None,
    typed: Mapping[str, str] = _NOTHING,
    status: int = 200,
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
    if found.state in ("open", "sign_in"):
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
            signs_in=found.state == "sign_in",
            form_token=form_token(request) if member is not None else None,
            member=member.member if member is not None else None,
        )
    if found.state == "choosing":
        return page(
            "choose.html",
            status=status,
            org_name=found.org_name,
            integration=found.integration,
            choices=found.choices,
            told=told,
            form_token=form_token(request) if member is not None else None,
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


def _mends(refusal: Refusal) -> bool:
    """Whether the form can be shown again with what is wrong on it."""
    return refusal.code == "bad_request"


def _refused(
    request: web.Request,
    refusal: Refusal,
    found: Page | None,
    typed: Mapping[str, str] = _NOTHING,
    member: SignedIn | None = None,
) -> web.Response:
    """What went wrong, on the form where it can be mended there."""
    if found is not None and found.state in ("open", "choosing") and _mends(refusal):
        return _shown(request, found, member, told=refusal.message, typed=typed, status=400)
    return page(
        "result.html",
        status=refusal.status,
        title="Not connected",
        tone="bad",
        account=None,
        message=refusal.message,
        next="Ask for a new link to try again.",
    )


def _away(request: web.Request, to: Away) -> web.Response:
    response = away(to.url)
    if to.browser:
        set_cookie(request, response, BROWSER, to.browser)
    return response
