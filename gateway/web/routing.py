"""A route of the API: who may use it stands beside its path, and is checked before its handler runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from gateway.core.access import check_level, check_live
from gateway.core.grants import Level
from gateway.core.keys import Principal
from gateway.web.auth import principal

Handler = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, for whoever has a key of at least `level`."""

    method: str
    path: str
    handler: Handler
    level: Level
    #: A test key may not: what it asks for needs an account.
    live_only: bool = False
    #: A member who is signed in in a browser may as well.
    session: bool = False


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """One method of one path that asks for no key: what it takes proves itself."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]


def mounted(routes: Sequence[Route | OpenRoute]) -> list[web.RouteDef]:
    """The routes as the web framework takes them."""
    return [
        web.route(route.method, route.path, _guarded(route) if isinstance(route, Route) else route.handler)
        for route in routes
    ]


def _guarded(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    takes_id_tokens = route.path.startswith("/v1/")

    async def handle(request: web.Request) -> web.StreamResponse:
        who = await principal(request, session=route.session, id_token=takes_id_tokens)
        check_level(who, route.level)
        if route.live_only:
            check_live(who)
        return await route.handler(request, who)

    return handle
