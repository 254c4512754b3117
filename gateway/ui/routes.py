"""Every page in one table."""

from __future__ import annotations

from aiohttp import web

from gateway.ui import approvals, connect, devices, docs, keys, sign_in
from gateway.ui.members import for_members


def routes() -> list[web.RouteDef]:
    return [
        web.get("/connect/new", connect.show_link),
        web.post("/connect/new", connect.click_link),
        web.get("/connect/{id}", connect.show),
        web.post("/connect/{id}", connect.click),
        web.get("/docs", docs.show),
        web.get("/oauth/callback/{context}", connect.callback),
        web.get("/sign-in", sign_in.show),
        web.post("/sign-in", sign_in.begin),
        web.get("/sign-in/callback", sign_in.callback),
        web.get("/sign-in/link", sign_in.show_link),
        web.post("/sign-in/link", sign_in.use_link),
        web.get("/sign-up", sign_in.show_sign_up),
        web.post("/sign-up", sign_in.sign_up),
        web.post("/sign-out", for_members(sign_in.sign_out)),
        web.get("/device", for_members(devices.show)),
        web.post("/device", for_members(devices.look, back="/device")),
        web.post("/device/decision", for_members(devices.decide, back="/device")),
        web.get("/approvals", for_members(approvals.show_all)),
        web.get("/approvals/{id}", for_members(approvals.show)),
        web.post("/approvals/{id}", for_members(approvals.decide)),
        web.get("/keys", for_members(keys.show)),
        web.post("/keys", for_members(keys.create)),
        web.get("/keys/{id}/revoke", for_members(keys.ask_to_revoke)),
        web.post("/keys/{id}/revoke", for_members(keys.revoke)),
    ]
