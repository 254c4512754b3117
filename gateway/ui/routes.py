"""Every page in one table."""

from __future__ import annotations

from aiohttp import web

from gateway.ui import connect, docs


def routes() -> list[web.RouteDef]:
    return [
        web.get("/connect/new", connect.show_link),
        web.post("/connect/new", connect.click_link),
        web.get("/connect/{id}", connect.show),
        web.post("/connect/{id}", connect.click),
        web.get("/docs", docs.show),
        web.get("/oauth/callback/{context}", connect.callback),
    ]
