"""The sign-in pages: how to, the link that works once, the OpenID provider and back, naming an org, signing out."""

from __future__ import annotations

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.sessions import SignedIn
from gateway.core.people.sign_in import Arrival
from gateway.ui.addresses import away, next_of, to_page
from gateway.ui.members import check_browser_form, check_member_form, form_token, who
from gateway.ui.pages import page, refused
from gateway.web.auth import signed_in
from gateway.web.context import services
from gateway.web.cookies import BROWSER, SESSION, browser_of, cookie_of, drop_cookie, set_cookie
from gateway.web.forms import read_form, text_input
from gateway.web.peers import peer

_ASK_AGAIN = "Ask for a new link."
_SIGN_IN_AGAIN = "Open the sign-in page and start again."


async def show(request: web.Request) -> web.Response:
    try:
        after = next_of(request)
        member = await signed_in(request)
    except Refusal as refusal:
        return refused(refusal, "You cannot sign in by this link", next=_SIGN_IN_AGAIN)
    if member is not None and "next" in request.query:
        return to_page(request, after)
    browser = browser_of(request)
    response = page(
        "sign_in.html",
        has_provider=services(request).sign_in.has_provider,
        form_token=form_token(request, browser),
        member=member,
        who=who(request, member),
    )
    set_cookie(request, response, BROWSER, browser)
    return response


async def begin(request: web.Request) -> web.Response:
    try:
        after = next_of(request)
        browser = check_browser_form(request, dict(await read_form(request)))
        response = away(await services(request).sign_in.begin(after, browser, address=peer(request)))
    except Refusal as refusal:
        return refused(refusal, "Not signed in", next=_SIGN_IN_AGAIN)
    # The same once more: it must outlast the way to the provider and back.
    set_cookie(request, response, BROWSER, browser)
    return response


async def callback(request: web.Request) -> web.Response:
    try:
        arrival = await services(request).sign_in.come_back(
            request.rel_url.query.items(), cookie_of(request, BROWSER), instead_of=cookie_of(request, SESSION)
        )
    except Refusal as refusal:
        return refused(refusal, "Not signed in", next=_SIGN_IN_AGAIN)
    if arrival.handle is not None:
        return to_page(request, f"/sign-up?h={arrival.handle}")
    return _arrived(request, arrival)


async def show_link(request: web.Request) -> web.Response:
    try:
        next_of(request)
        member, org = await services(request).sign_in.link(request.query.get("t", ""))
    except Refusal as refusal:
        return refused(refusal, "You cannot sign in by this link", next=_ASK_AGAIN)
    browser = browser_of(request)
    response = page(
        "sign_in_link.html", stays=True, member=member, org_name=org.name, form_token=form_token(request, browser)
    )
    set_cookie(request, response, BROWSER, browser)
    return response


async def use_link(request: web.Request) -> web.Response:
    try:
        after = next_of(request)
        check_browser_form(request, dict(await read_form(request)))
        token, before = request.query.get("t", ""), cookie_of(request, SESSION)
        cookie = await services(request).sign_in.use_link(token, instead_of=before)
    except Refusal as refusal:
        return refused(refusal, "You cannot sign in by this link", next=_ASK_AGAIN)
    return _arrived(request, Arrival(next=after, cookie=cookie))


async def show_sign_up(request: web.Request) -> web.Response:
    try:
        return await _sign_up_page(request)
    except Refusal as refusal:
        return refused(refusal, "No org was made", next=_SIGN_IN_AGAIN)


async def sign_up(request: web.Request) -> web.Response:
    try:
        form = dict(await read_form(request))
        browser = check_browser_form(request, form)
        try:
            org_name = text_input(form, "org_name")
        except Refusal:
            return await _sign_up_page(request, told="A name is 1 to 128 printable characters.", status=400)
        arrival = await services(request).sign_in.sign_up(
            request.query.get("h", ""), browser, org_name, instead_of=cookie_of(request, SESSION)
        )
    except Refusal as refusal:
        return refused(refusal, "No org was made", next=_SIGN_IN_AGAIN)
    return _arrived(request, arrival)


async def sign_out(request: web.Request, member: SignedIn) -> web.Response:
    form = dict(await read_form(request))
    check_member_form(request, form)
    sessions, cookie = services(request).sessions, cookie_of(request, SESSION)
    if form.get("everywhere"):
        await sessions.end_all(member.member.org, member.member.id)
    elif cookie is not None:
        await sessions.end(cookie)
    response = to_page(request, "/sign-in")
    drop_cookie(request, response, SESSION)
    return response


async def _sign_up_page(request: web.Request, *, told: str | None = None, status: int = 200) -> web.Response:
    browser = cookie_of(request, BROWSER)
    identity = await services(request).sign_in.newcomer(request.query.get("h", ""), browser)
    return page(
        "sign_up.html",
        status=status,
        stays=True,
        identity=identity,
        told=told,
        form_token=form_token(request, browser),
    )


def _arrived(request: web.Request, arrival: Arrival) -> web.Response:
    assert arrival.cookie is not None
    response = to_page(request, arrival.next)
    set_cookie(request, response, SESSION, arrival.cookie.reveal())
    return response
