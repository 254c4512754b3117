"""The device page: a code is typed, what asks is shown, and a person approves or denies it."""

from __future__ import annotations

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.devices import ALPHABET, USUAL_LEVEL, DeviceFlow
from gateway.core.people.sessions import SignedIn
from gateway.core.tenants.grants import LEVEL_MEANINGS
from gateway.core.times import iso
from gateway.ui.members import check_member_form, form_token, who
from gateway.ui.pages import page, result
from gateway.web.context import services
from gateway.web.forms import read_form
from gateway.web.peers import peer

_FULL = "full_access"


async def show(request: web.Request, member: SignedIn) -> web.Response:
    return _asked(request, member, typed=request.query.get("user_code", "")[:32])


async def look(request: web.Request, member: SignedIn) -> web.Response:
    form = dict(await read_form(request))
    check_member_form(request, form)
    typed = form.get("user_code", "")[:64]
    try:
        flow = await services(request).devices.waiting(member.principal, typed, address=peer(request))
    except Refusal as refusal:
        return _asked(request, member, typed=typed, told=refusal.message, status=refusal.status)
    return _decided_on(request, member, flow, typed)


async def decide(request: web.Request, member: SignedIn) -> web.Response:
    form = dict(await read_form(request))
    check_member_form(request, form)
    devices, typed, level = services(request).devices, form.get("user_code", "")[:64], form.get("level", USUAL_LEVEL)
    approves = form.get("decision") == "approve"
    try:
        if approves and level == _FULL and _letters(form.get("typed_again", "")) != _letters(typed):
            flow = await devices.waiting(member.principal, typed, address=peer(request))
            told = "For full access, type the code that your device shows once more."
            return _decided_on(request, member, flow, typed, level=level, told=told, status=400)
        flow = await devices.decide(
            member.principal, typed, level if approves else None, address=peer(request)
        )
    except Refusal as refusal:
        return _asked(request, member, typed=typed, told=refusal.message, status=refusal.status)
    head = who(request, member)
    if not approves:
        return result("Denied", f"{flow.device} gets no key.", next="You can close this page.", tone="good", who=head)
    return result(
        "Approved",
        f"{flow.device} fetches its key now. The key's level is {flow.level.replace('_', ' ')}.",
        next="You can close this page. The key stands in your list of keys, where you can revoke it.",
        tone="good",
        who=head,
    )


def _asked(
    request: web.Request, member: SignedIn, *, typed: str, told: str | None = None, status: int = 200
) -> web.Response:
    return page(
        "device.html",
        status=status,
        stays=True,
        typed=typed,
        told=told,
        form_token=form_token(request),
        who=who(request, member),
    )


def _decided_on(
    request: web.Request,
    member: SignedIn,
    flow: DeviceFlow,
    typed: str,
    *,
    level: str = USUAL_LEVEL,
    told: str | None = None,
    status: int = 200,
) -> web.Response:
    return page(
        "device_decision.html",
        status=status,
        stays=True,
        action=services(request).public_url + "/device/decision",
        flow=flow,
        asked_at=iso(flow.created_at),
        typed=typed,
        levels=LEVEL_MEANINGS,
        level=level,
        told=told,
        form_token=form_token(request),
        who=who(request, member),
    )



def _letters(code: str) -> str:
    return "".join(letter for letter in code.upper() if letter in ALPHABET)
