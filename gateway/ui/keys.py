"""The keys page: a member lists the keys of the org, makes one, whose text is shown this once, and revokes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.core.people.sessions import SignedIn
from gateway.core.tenants.api_keys import KeyWish
from gateway.core.tenants.grants import LEVEL_MEANINGS, LEVELS
from gateway.ui.addresses import to_page
from gateway.ui.members import check_member_form, form_token, who
from gateway.ui.pages import page
from gateway.web.context import services
from gateway.web.forms import read_form, text_input

#: In the order in which they stand on the page.
_EXPIRIES: Mapping[str, str] = {"": "Never", "7": "In 7 days", "30": "In 30 days", "90": "In 90 days", "365": "In a year"}
_MODES: Mapping[str, str] = {
    "live": "Calls the integrations.",
    "test": "Is answered from examples; reaches no account.",
}


async def show(request: web.Request, member: SignedIn) -> web.Response:
    return await _listed(request, member)


async def create(request: web.Request, member: SignedIn) -> web.Response:
    pairs = await read_form(request)
    form, scopes = dict(pairs), tuple(value for name, value in pairs if name == "scope")
    check_member_form(request, form)
    try:
        made, text = await services(request).api_keys.create(member.principal, _wish(form, scopes))
    except Refusal as refusal:
        if refusal.code not in ("bad_request", "plan_limit_reached"):
            raise
        return await _listed(
            request, member, typed=form, scopes=scopes, told=refusal.message, status=refusal.status
        )
    return page("key_made.html", stays=True, key=made, text=text.reveal(), who=who(request, member))


async def ask_to_revoke(request: web.Request, member: SignedIn) -> web.Response:
    return page(
        "key_revoke.html",
        stays=True,
        key=await _found(request, member),
        form_token=form_token(request),
        who=who(request, member),
    )


async def revoke(request: web.Request, member: SignedIn) -> web.Response:
    check_member_form(request, dict(await read_form(request)))
    key = await _found(request, member)
    await services(request).api_keys.revoke(member.principal, key["id"])
    return to_page(request, "/keys")


async def _found(request: web.Request, member: SignedIn) -> dict[str, Any]:
    """The key that the address names, if it works. Raises `not_found`."""
    keys = await services(request).api_keys.list(member.principal)
    found = next((key for key in keys if key["id"] == request.match_info["id"] and not key["revoked_at"]), None)
    if found is None:
        raise Refusal("not_found", "There is no such key, or it was revoked before.")
    return found


async def _listed(
    request: web.Request,
    member: SignedIn,
    *,
    typed: Mapping[str, str] | None = None,
    scopes: Sequence[str] = (),
    told: str | None = None,
    status: int = 200,
) -> web.Response:
    ours = services(request)
    keys = await ours.api_keys.list(member.principal)
    integrations = sorted(ours.catalogs.current.integrations.values(), key=lambda one: one.name.lower())
    given = {"name": "", "level": "read_write", "mode": "live", "expires_in_days": "", **(typed or {})}
    return page(
        "keys.html",
        status=status,
        stays=True,
        keys=[key for key in keys if key["active"]][::-1],
        over=[key for key in keys if not key["active"]][::-1],
        most=member.principal.plan.api_keys,
        integrations=integrations,
        levels=LEVEL_MEANINGS,
        modes=_MODES,
        expiries=_EXPIRIES,
        given=given,
        scopes=scopes,
        told=told,
        form_token=form_token(request),
        who=who(request, member),
    )


def _wish(form: Mapping[str, str], scopes: tuple[str, ...]) -> KeyWish:
    mode, level, days = form.get("mode", "live"), form.get("level", LEVELS[0]), form.get("expires_in_days", "")
    if mode not in _MODES or level not in LEVELS or days not in _EXPIRIES:
        raise Refusal("bad_request", "Choose one of what the form offers.")
    try:
        name = text_input(form, "name")
    except Refusal:
        raise Refusal("bad_request", "Give the key a name of 1 to 128 printable characters.") from None
    return KeyWish(
        name=name,
        mode="test" if mode == "test" else "live",
        level=level,
        scopes=tuple(dict.fromkeys(scopes)) or None,
        expires_in_days=int(days) if days else None,
    )
