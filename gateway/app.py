"""Settings to services, services to a web application, and the serving of it."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import time

from aiohttp import web

from gateway.core.catalogs import Catalogs
from gateway.core.room import Room
from gateway.core.tenants.usage import Usage
from gateway.installation import open_installation, read_catalog
from gateway.mcp import routes as mcp_routes
from gateway.operator_file import BadSetting, Installation
from gateway.rest.routes import ROUTES
from gateway.rest.shapes import SHAPES
from gateway.settings import Settings, check_together, public_url_of
from gateway.store.database import DiskFailed, StorageUnavailable
from gateway.ui import routes as ui_routes
from gateway.web import health
from gateway.web.boundary import boundary
from gateway.web.context import SERVICES, Services
from gateway.web.description import Description
from gateway.web.request_log import RequestLog
from gateway.web.routing import mounted
from gateway.web.server import Listener
from gateway.wiring.calls import open_calls
from gateway.wiring.connections import make_connections
from gateway.wiring.ground import Ground, make_ground
from gateway.wiring.housekeeping import housekeeping
from gateway.wiring.messages import open_messages
from gateway.wiring.people import make_people
from gateway.wiring.tenants import make_tenants

#: Every route that programs use; pages for people stand in `gateway/ui/routes.py`.
API_ROUTES = (*ROUTES, *health.ROUTES)
#: New objects after which the collector looks for circles; calls make next to none.
_COLLECT_AFTER = 20_000


@asynccontextmanager
async def open_gateway(
    settings: Settings, installation: Installation, *, port: int, clock: Callable[[], float] = time
) -> AsyncIterator[Services]:
    """Everything a process needs to serve, opened in order and closed in reverse.

    `port` is the one really bound. Raises `BadSetting`, `NotUsable`, `KeyProblem` or `CatalogError`, all fit
    to show the operator.
    """
    public_url = public_url_of(settings, port)
    check_together(settings, installation)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_installation(settings, clock=clock))
        catalogs = Catalogs(lambda: read_catalog(installation))
        yield await _services(
            make_ground(stack, settings, installation, opened, catalogs, public_url=public_url, port=port, clock=clock)
        )


def make_web_app(services: Services) -> web.Application:
    """All surfaces as one application."""
    app = web.Application(middlewares=[boundary], client_max_size=services.settings.body_limit)
    app[SERVICES] = services
    app.add_routes(mounted(services.description.routes))
    app.add_routes(mcp_routes.routes())
    app.add_routes(ui_routes.routes())
    return app


def bind(settings: Settings) -> socket.socket:
    """The socket to serve on: bound first, since addresses of our own are made of its port.

    It does not listen yet: nobody shall wait on it while a start takes its time, or fails.
    """
    is_v6 = ":" in settings.host
    bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
    try:
        if is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(settings, error) from None
    return bound


async def _services(ground: Ground) -> Services:
    tenants = make_tenants(ground)
    connected = make_connections(ground, tenants)
    request_log = RequestLog(ground.settings.effective_log_format())
    ground.stack.callback(request_log.flush)
    messages = await open_messages(ground, tenants, connected)
    calls = await open_calls(ground, tenants, connected)
    people = make_people(ground, tenants, connected)
    await ground.stack.enter_async_context(housekeeping(ground, tenants, connected, messages, calls, people))
    return Services(
        settings=ground.settings,
        public_url=ground.public_url,
        catalogs=ground.catalogs,
        access=tenants.access,
        api_keys=people.api_keys,
        events=tenants.events,
        limits=tenants.limits,
        usage=Usage(
            ledger=tenants.ledger,
            limits=tenants.limits,
            keys=tenants.keys,
            connections=connected.connections,
            flush=tenants.runs.flush,
            clock=ground.clock,
        ),
        gateway=calls.gateway,
        preflight=calls.preflight,
        sandbox=calls.sandbox,
        approvals=calls.approvals,
        runs=calls.book,
        results=calls.results,
        files=calls.files,
        discovery=connected.discovery,
        description=Description(API_ROUTES, SHAPES, connected.discovery, public_url=ground.public_url),
        connecting=connected.connecting,
        consent=connected.consent,
        webhooks=messages.webhooks,
        hooks=messages.hooks,
        health=calls.health,
        room=Room(ground.settings.body_room),
        stop_taking=calls.worker.stop_taking,
        sessions=people.sessions,
        id_tokens=people.id_tokens,
        sign_in=people.sign_in,
        sign_up=people.sign_up,
        devices=people.devices,
        form_tokens=people.form_tokens,
        request_log=request_log,
        clock=ground.clock,
    )


def _settle_memory() -> None:
    """What was loaded until now stays: the collector need not walk through the catalog during calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    gc.enable()


def _cannot_listen(settings: Settings, error: OSError) -> BadSetting:
    return BadSetting(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}")


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def serve(
    settings: Settings,
    installation: Installation,
    listening: socket.socket,
    *,
    announce: Callable[[str], None],
    stop: asyncio.Event,
    reload: Callable[[Callable[[], object]], None],
) -> None:
    """Serves on a bound socket until `stop`, then lets calls in flight finish.

    `announce` gets the address once it answers; `reload` gets what to do on SIGHUP. Raises `DiskFailed`.
    """
    port = listening.getsockname()[1]
    broken = asyncio.Event()
    try:
        async with open_gateway(settings, installation, port=port) as services:
            broken = services.health.store_broken
            listener = Listener(make_web_app(services), drain=settings.drain)
            await listener.setup()
            try:
                try:
                    await web.SockSite(listener, listening, backlog=1024).start()
                except OSError as error:
                    raise _cannot_listen(settings, error) from None
                loop = asyncio.get_running_loop()
                reload(lambda: loop.run_in_executor(None, services.catalogs.reload))
                _settle_memory()
                host = f"[{settings.host}]" if ":" in settings.host else settings.host
                announce(f"http://{host}:{port}")
                await _first(stop, broken)
                services.health.drain()
                services.stop_taking()
            finally:
                await listener.cleanup()
    except StorageUnavailable:
        # What was still to be written cannot be.
        if not broken.is_set():
            raise
    if broken.is_set():
        raise DiskFailed
