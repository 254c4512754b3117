"""The approval pages: what waits for a person, what exactly would be sent, and the two buttons."""

from __future__ import annotations

from aiohttp import web

from gateway.core.people.sessions import SignedIn
from gateway.core.times import iso
from gateway.ui.members import check_member_form, form_token, who
from gateway.ui.pages import page, result
from gateway.web.context import services
from gateway.web.forms import read_form


async def show_all(request: web.Request, member: SignedIn) -> web.Response:
    ours = services(request)
    waiting = await ours.approvals.waiting(member.principal)
    return page(
        "approvals.html",
        stays=True,
        waiting=[(run, iso(run.started_at / 1000)) for run in waiting],
        url=ours.public_url,
        who=who(request, member),
    )


async def show(request: web.Request, member: SignedIn) -> web.Response:
    ours = services(request)
    asked = await ours.approvals.look(member.principal, request.match_info["id"])
    return page(
        "approval.html",
        stays=True,
        asked=asked,
        asked_at=iso(asked.run.started_at / 1000),
        expires_at=iso(asked.expires_at),
        action=f"{ours.public_url}/approvals/{asked.run.id}",
        form_token=form_token(request),
        who=who(request, member),
    )


async def decide(request: web.Request, member: SignedIn) -> web.Response:
    form = dict(await read_form(request))
    check_member_form(request, form)
    approves = form.get("decision") == "approve"
    run = await services(request).approvals.decide(member.principal, request.match_info["id"], approves=approves)
    name = f"{run.integration}.{run.action}"
    return result(
        "Approved" if approves else "Denied",
        f"{name} goes on now." if approves else f"{name} is not carried out.",
        next="You can close this page. Whoever asked sees it at the run.",
        tone="good",
        who=who(request, member),
    )
