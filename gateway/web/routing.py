"""Routes as the web framework takes them: who may use one, and what it takes, is checked before its handler runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from gateway.core.tenants.access import check_level, check_live
from gateway.web.auth import principal
from gateway.web.bodies import read_asked
from gateway.web.context import MORE_HEADERS
from gateway.web.deprecation import deprecation_headers
from gateway.web.operations import Route


def mounted(routes: Sequence[Route]) -> list[web.RouteDef]:
    """The routes as the web framework takes them."""
    return [web.route(route.method, route.path, _guarded(route)) for route in routes]


def _guarded(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    retiring, operation = route.deprecated, route.operation
    more = {} if retiring is None else deprecation_headers(retiring.since, retiring.sunset, retiring.use)

    takes_id_tokens = route.path.startswith("/v1/")

    async def handle(request: web.Request) -> web.StreamResponse:
        if more:
            request[MORE_HEADERS] = more
        if route.level is None:
            return await operation.handler(request, await read_asked(request, operation))
        who = await principal(request, session=route.session, id_token=takes_id_tokens)
        check_level(who, route.level)
        if route.live_only:
            check_live(who)
        return await operation.handler(request, who, await read_asked(request, operation))

    return handle
