"""The one place of wiring: settings to services, services to a web application."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import time
from urllib.parse import urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core import replicas as signs
from gateway.core.access import Access, Plans, PrincipalsById
from gateway.core.admission import Admission
from gateway.core.api_keys import ApiKeys
from gateway.core.approvals import Approvals
from gateway.core.budgets import Budgets
from gateway.core.carrying import Carrier
from gateway.core.catalogs import Catalogs
from gateway.core.changes import Changes
from gateway.core.clients import OAuthClient
from gateway.core.connecting import Connecting
from gateway.core.connections import Connections
from gateway.core.consent import Consent
from gateway.core.credentials import Credentials
from gateway.core.delivering import Deliverer
from gateway.core.deprecations import EVERY as DEPRECATIONS_EVERY
from gateway.core.deprecations import Deprecations
from gateway.core.devices import Devices
from gateway.core.discovery import Discovery
from gateway.core.establishing import Establishing
from gateway.core.fetching import Fetching
from gateway.core.files import Files
from gateway.core.following import Following
from gateway.core.form_tokens import FormTokens
from gateway.core.gateway import Gateway
from gateway.core.health import Health
from gateway.core.hook_functions import HookMissing
from gateway.core.hook_functions import Hooks as HookFunctions
from gateway.core.hooks import Hooks
from gateway.core.id_tokens import IdTokens, resource_of
from gateway.core.ids import new_id
from gateway.core.kept import AnswerCache, KeptAnswers
from gateway.core.later import Later, RunWorker
from gateway.core.limits import Limits
from gateway.core.links import Links
from gateway.core.once import Once
from gateway.core.outgoing import Outgoing
from gateway.core.overrides import chosen
from gateway.core.paging import Paging
from gateway.core.preflight import Preflight
from gateway.core.preparation import Preparation
from gateway.core.providers import Providers
from gateway.core.repeats import Repeats
from gateway.core.replicas import Replicas
from gateway.core.results import Results
from gateway.core.run_book import RunBook
from gateway.core.sandbox import MEMORY, Sandbox
from gateway.core.sessions import Sessions
from gateway.core.shaping import Shaping
from gateway.core.sign_in import SignIn
from gateway.core.sign_up import SignUp
from gateway.core.usage import Usage
from gateway.core.webhooks import Webhooks
from gateway.core.wishes import Wishes
from gateway.installation import Opened, open_installation
from gateway.mcp import routes as mcp_routes
from gateway.rest.routes import ROUTES
from gateway.rest.shapes import SHAPES
from gateway.settings import BadSetting, Installation, Settings, check_together
from gateway.store.blobs import SqlBlobs
from gateway.store.clients import SqlClients
from gateway.store.connections import SqlConnections
from gateway.store.database import DiskFailed, StorageUnavailable
from gateway.store.deliveries import TOPIC as DELIVERIES
from gateway.store.deliveries import SqlDeliveries
from gateway.store.deprecations import SqlDeprecations
from gateway.store.device_flows import SqlDeviceFlows
from gateway.store.events import TOPIC as EVENTS
from gateway.store.events import SqlEvents
from gateway.store.fan_out import SqlFanOut
from gateway.store.flows import SqlFlows
from gateway.store.hooks import SqlHooks
from gateway.store.keys import SqlKeys
from gateway.store.leases import SqlLeases
from gateway.store.ledger import SqlLedger
from gateway.store.members import SqlMembers
from gateway.store.orgs import SqlOrgs
from gateway.store.queue import SqlQueue
from gateway.store.runs import RunWriter
from gateway.store.sandbox import SqlSandbox
from gateway.store.sessions import SqlSessions
from gateway.store.sign_in_flows import SqlSignInFlows
from gateway.store.sign_in_links import SqlSignInLinks
from gateway.store.sign_ups import SqlSignUps
from gateway.store.signing_secrets import SqlSigningSecrets
from gateway.store.tries import SqlTries
from gateway.store.valkey import ValkeyCounters
from gateway.store.webhooks import SqlWebhooks
from gateway.ui import routes as ui_routes
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import Egress, Policy
from gateway.upstream.post import DeliveryPost
from gateway.upstream.token_http import TokenHttp
from gateway.web import health
from gateway.web.boundary import boundary
from gateway.web.context import SERVICES, Services
from gateway.web.description import Description
from gateway.web.request_log import RequestLog
from gateway.web.routing import mounted
from gateway.web.server import Listener
from gateway.worker import Worker
from oauth.credentials import CredentialSource
from oauth.oidc import OpenIdProvider
from oauth.tokens import Http
from oauth.vault import MasterKey
from skills_catalog.catalog import Catalog
from skills_catalog.loader import SHIPPED, load_catalog
from skills_catalog.versions.lock import warnings

#: Every route that programs use; pages for people stand in `gateway/ui/routes.py`.
API_ROUTES = (*ROUTES, *health.ROUTES)
#: Seconds after which a flow that is over is forgotten, and a run that never ended is called `unknown`.
_FLOW_MEMORY = 3600.0
_LONGEST_CALL = 3600.0
#: Seconds between two looks for calls whose process no longer lives.
_SETTLE_EVERY = 15.0
#: Seconds for which an Idempotency-Key means the same call.
_KEY_MEMORY = 86_400.0
#: New objects after which the collector looks for circles; calls make next to none.
_COLLECT_AFTER = 20_000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

log = logging.getLogger("skillway.catalog")


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
        yield await _services(stack, settings, installation, opened, catalogs, public_url, port, clock)


def make_web_app(services: Services) -> web.Application:
    """All surfaces as one application."""
    app = web.Application(middlewares=[boundary], client_max_size=services.settings.body_limit)
    app[SERVICES] = services
    app.add_routes(mounted(services.description.routes))
    app.add_routes(mcp_routes.routes())
    app.add_routes(ui_routes.routes())
    return app


def read_catalog(installation: Installation) -> Catalog:
    """The shipped integrations and the operator's own, with the operator's choices. Raises `CatalogError`.

    Warns of own definitions that changed without the version that says so, where their folder is locked.
    """
    catalog = chosen(load_catalog([SHIPPED, *installation.paths]), installation)
    for warning in warnings(installation.paths):
        log.warning("%s", warning)
    return catalog


def public_url_of(settings: Settings, port: int) -> str:
    """How browsers reach us: never taken from a request."""
    if settings.public_url is not None:
        return settings.public_url
    if settings.host not in _LOOPBACK:
        raise BadSetting(
            f"SKILLWAY_PUBLIC_URL is required when the gateway listens on {settings.host}: "
            "links and OAuth redirects are made of it"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def policy_of(settings: Settings, public_url: str, port: int) -> Policy:
    """Where requests may go: never to ourselves, our database or our Valkey."""
    own = [(settings.host, port)]
    for url, usual in ((settings.database_url, 5432), (settings.valkey_url, 6379)):
        parts = urlsplit(url.reveal()) if url else None
        if parts is not None and parts.hostname:
            own.append((parts.hostname, parts.port or usual))
    public = urlsplit(public_url)
    ours = (public.hostname or "", public.port or (443 if public.scheme == "https" else 80))
    return Policy.of(map(str, settings.allowed_private_networks), own, [ours])


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


async def _services(
    stack: AsyncExitStack,
    settings: Settings,
    installation: Installation,
    opened: Opened,
    catalogs: Catalogs,
    public_url: str,
    port: int,
    clock: Callable[[], float],
) -> Services:
    database, vault = opened.database, opened.vault
    keys = SqlKeys(database, clock=clock)
    owner_id = new_id("proc")
    runs = RunWriter(database, uses=keys, process=owner_id, clock=clock)
    stack.push_async_callback(runs.close)
    flows, orgs = SqlFlows(database, vault, clock=clock), SqlOrgs(database, clock=clock)
    database_clock = None if clock is time else clock
    leases = SqlLeases(database, clock=database_clock)
    connections = Connections(SqlConnections(database, vault, clock=clock))
    egress = Egress(policy_of(settings, public_url, port))
    upstream = HttpUpstream(egress, ca_file=str(settings.tls_ca_file) if settings.tls_ca_file else None)
    stack.push_async_callback(upstream.close)
    http = TokenHttp(upstream)
    request_log = RequestLog(settings.effective_log_format())
    stack.callback(request_log.flush)
    links = Links(public_url, _key_for("links", opened.master), clock)
    providers = Providers(
        catalogs,
        {
            slug: OAuthClient(integration=slug, client_id=override.client_id, client_secret=override.client_secret)
            for slug, override in installation.overrides.items()
            if override.client_id is not None
        },
        SqlClients(database, vault, clock=clock),
        public_url=public_url,
        tenancy=settings.tenancy,
    )
    plans = Plans(installation.plans, orgs, upgrade_url=settings.upgrade_url)
    access = Access(keys, plans, clock=clock)
    changes = Changes()
    outgoing = Outgoing(_hooks(settings))
    wishes = Wishes(
        providers=providers,
        orgs=orgs,
        connections=connections,
        plans=plans,
        tenancy=settings.tenancy,
        verify=settings.verify_connect,
        clock=clock,
    )
    establishing = Establishing(
        catalogs=catalogs,
        providers=providers,
        flows=flows,
        connections=connections,
        plans=plans,
        changes=changes,
        http=http,
        upstream=upstream,
        outgoing=outgoing,
        clock=clock,
    )
    source = CredentialSource(connections, leases, http, providers.for_connection, owner_id=owner_id, clock=clock)
    stack.push_async_callback(source.close)
    replicas = Replicas(leases, owner_id)
    stack.push_async_callback(replicas.leave)
    events, ledger = SqlEvents(database), SqlLedger(database, clock=clock)
    shared = None
    if settings.valkey_url is not None:
        shared = ValkeyCounters(settings.valkey_url.reveal(), installation=opened.master.fingerprint, clock=clock)
        stack.push_async_callback(shared.close)
    discovery = Discovery(catalogs, connections, providers, public_url)
    deprecations = Deprecations(catalogs, SqlDeprecations(database), clock=clock)
    limits = Limits(ledger, events, plans, shared=shared, replicas=replicas, clock=clock)
    webhooks, hooks = SqlWebhooks(database, vault, clock=clock), SqlHooks(database, vault, clock=clock)
    signing_secrets = SqlSigningSecrets(database, vault, clock=clock)
    deliveries = SqlDeliveries(database, clock=database_clock)
    post = DeliveryPost(upstream, egress, keep_private=settings.tenancy == "one_owner")
    deliverer = await stack.enter_async_context(
        Deliverer(
            deliveries=deliveries,
            fan_out=SqlFanOut(database, clock=clock, database_clock=database_clock),
            webhooks=webhooks,
            signing_secrets=signing_secrets,
            post=post,
            rate=settings.webhook_rate,
            clock=clock,
        )
    )
    for topic in (EVENTS, DELIVERIES):
        database.listen(topic, deliverer.wake)
    credentials = Credentials(source, providers, links, clock)
    budgets = Budgets(providers.client_name, replicas=replicas, clock=clock)
    queue = SqlQueue(database, vault, clock=database_clock)
    blobs = SqlBlobs(database, vault, clock=clock)
    kept = KeptAnswers(blobs, retention=settings.retention, most=2 * settings.response_limit, clock=clock)
    files = Files(
        blobs,
        most=settings.file_limit,
        room=settings.storage_limit,
        retention=settings.file_retention,
        public_url=public_url,
        clock=clock,
    )
    cache = AnswerCache(kept, runs, queue, clock=clock)
    preparation = Preparation(
        catalogs=catalogs,
        connections=connections,
        credentials=credentials,
        outgoing=outgoing,
        files=files,
        links=links,
        plans=plans,
        clock=clock,
    )
    sandbox_store = SqlSandbox(database, vault, clock=clock)
    sandbox = Sandbox(sandbox_store)
    carrier = Carrier(
        preparation=preparation,
        credentials=credentials,
        fetching=Fetching(upstream, files, limit=settings.response_limit, inline=settings.inline_limit),
        paging=Paging(preparation.rebuilt, most=settings.response_limit, seconds=settings.sync_ceiling, clock=clock),
        admission=Admission(limits, budgets),
        budgets=budgets,
        repeats=Repeats(preparation.rebuilt, clock=clock),
        cache=cache,
        sandbox=sandbox,
        clock=clock,
    )
    book = RunBook(runs, queue, kept, changes, catalogs, public_url=public_url, clock=clock)
    once = Once(
        carrier=carrier,
        queue=queue,
        kept=kept,
        book=book,
        changes=changes,
        owner_id=owner_id,
        ceiling=settings.sync_ceiling,
        clock=clock,
    )
    later = Later(queue=queue, once=once, book=book, kept=kept, changes=changes, clock=clock)
    members = SqlMembers(database, clock=clock)
    principal_of = PrincipalsById(keys, members, orgs, plans, clock=clock)
    preflight = Preflight(preparation, limits, budgets)
    approvals = Approvals(
        store=queue,
        queue=queue,
        runs=runs,
        catalogs=catalogs,
        preflight=preflight,
        changes=changes,
        principal_of=principal_of,
        public_url=public_url,
        lifetime=settings.approval_lifetime,
        clock=clock,
    )
    gateway = Gateway(
        preparation=preparation,
        approvals=approvals,
        carrier=carrier,
        once=once,
        later=later,
        cache=cache,
        shaping=Shaping(kept, runs, queue, public_url=public_url),
        runs=runs,
        queue=queue,
        kept=kept,
        book=book,
        changes=changes,
        ceiling=settings.sync_ceiling,
        owner_id=owner_id,
        clock=clock,
    )
    worker = RunWorker(
        queue=queue,
        preparation=preparation,
        carrier=carrier,
        following=Following(catalogs=catalogs, preparation=preparation, carrier=carrier, clock=clock),
        kept=kept,
        changes=changes,
        principal_of=principal_of,
        owner_id=owner_id,
        at_once=settings.run_workers,
        clock=clock,
    )
    health = Health(database.check, database.broken)

    async def end_runs() -> None:
        left = health.left(settings.drain if health.draining else 0.0)
        await asyncio.gather(worker.close(left), gateway.close(left))

    # Before it takes anything: whose process has given no sign of life counts as dead.
    await replicas.look()
    worker.start()
    stack.push_async_callback(end_runs)
    tries = SqlTries(database, clock=clock)
    openid = _openid(settings, http, clock)
    session_rows, sign_in_links = SqlSessions(database, clock=clock), SqlSignInLinks(database, clock=clock)
    sign_in_flows, device_flows = SqlSignInFlows(database, clock=clock), SqlDeviceFlows(database, clock=clock)
    api_keys = ApiKeys(
        store=keys, access=access, plans=plans, catalogs=catalogs, connections=connections, clock=clock
    )
    sessions = Sessions(session_rows, plans, clock=clock)
    sign_up = SignUp(
        by=settings.signup,
        token=settings.signup_token,
        plan=settings.signup_plan,
        openid=openid,
        members=members,
        store=SqlSignUps(database, clock=clock),
        tries=tries,
        clock=clock,
    )
    await stack.enter_async_context(
        Worker(
            [
                ("settle runs of processes that are gone", 5.0, worker.settle),
                ("end what nobody approved", 30.0, approvals.expire),
                ("forget idempotency keys", 3600.0, lambda: queue.forget_keys(int((clock() - _KEY_MEMORY) * 1000))),
                ("forget blobs", 600.0, lambda: blobs.forget(clock())),
                ("count replicas", signs.EVERY, replicas.look),
                ("forget what test keys made", 3600.0, lambda: sandbox_store.forget(clock() - MEMORY)),
                ("tell of deprecations", DEPRECATIONS_EVERY, deprecations.look),
                ("forget flows", 600.0, lambda: flows.purge(clock() - _FLOW_MEMORY)),
                ("forget leases", 600.0, leases.purge),
                ("forget sessions", 3600.0, session_rows.purge),
                ("forget sign-in links", 3600.0, sign_in_links.purge),
                ("forget sign-in flows", 600.0, sign_in_flows.purge),
                ("forget device flows", 600.0, lambda: device_flows.purge(clock() - _FLOW_MEMORY)),
                ("forget tries", 600.0, tries.purge),
                ("settle runs", _SETTLE_EVERY, lambda: runs.settle(int((clock() - _LONGEST_CALL) * 1000))),
                ("forget runs", 3600.0, lambda: runs.forget(int((clock() - settings.retention) * 1000))),
                ("forget events", 3600.0, lambda: events.forget(int((clock() - settings.retention) * 1000))),
                ("forget deliveries", 3600.0, lambda: deliveries.forget(int((clock() - settings.retention) * 1000))),
                ("forget messages", 3600.0, lambda: hooks.forget(int(clock() * 1000))),
                ("look for new data keys", 5.0, vault.ring.reload),
            ]
        )
    )
    return Services(
        settings=settings,
        public_url=public_url,
        catalogs=catalogs,
        access=access,
        api_keys=api_keys,
        events=events,
        limits=limits,
        usage=Usage(ledger=ledger, limits=limits, keys=keys, connections=connections, flush=runs.flush, clock=clock),
        gateway=gateway,
        preflight=preflight,
        sandbox=sandbox,
        approvals=approvals,
        runs=book,
        results=Results(kept),
        files=files,
        discovery=discovery,
        description=Description(API_ROUTES, SHAPES, discovery, public_url=public_url),
        connecting=Connecting(
            catalogs=catalogs,
            providers=providers,
            flows=flows,
            orgs=orgs,
            connections=connections,
            wishes=wishes,
            establishing=establishing,
            changes=changes,
            links=links,
            http=http,
            clock=clock,
        ),
        consent=Consent(
            catalogs=catalogs,
            providers=providers,
            flows=flows,
            orgs=orgs,
            wishes=wishes,
            establishing=establishing,
            links=links,
            verify=settings.verify_connect,
            clock=clock,
        ),
        webhooks=Webhooks(
            store=webhooks,
            deliveries=deliveries,
            signing_secrets=signing_secrets,
            keys=keys,
            plans=plans,
            post=post,
            clock=clock,
        ),
        hooks=Hooks(
            store=hooks,
            catalogs=catalogs,
            connections=connections,
            plans=plans,
            public_url=public_url,
            clock=clock,
        ),
        health=health,
        stop_taking=worker.stop_taking,
        sessions=sessions,
        id_tokens=IdTokens(openid, members, orgs, plans, resource_of(public_url)),
        sign_in=SignIn(
            members=members,
            orgs=orgs,
            sessions=sessions,
            links=sign_in_links,
            flows=sign_in_flows,
            sign_up=sign_up,
            tries=tries,
            openid=openid,
            http=http,
            public_url=public_url,
            key=_key_for("sign-in", opened.master),
            clock=clock,
        ),
        sign_up=sign_up,
        devices=Devices(
            flows=device_flows,
            tries=tries,
            api_keys=api_keys,
            keys=keys,
            members=members,
            orgs=orgs,
            plans=plans,
            public_url=public_url,
            key=_key_for("device codes", opened.master),
            clock=clock,
        ),
        form_tokens=FormTokens(_key_for("forms", opened.master)),
        request_log=request_log,
        clock=clock,
    )


def _hooks(settings: Settings) -> HookFunctions:
    try:
        return HookFunctions.installed(settings.hooks)
    except HookMissing as error:
        raise BadSetting(f"SKILLWAY_HOOKS: {error}") from None


def _settle_memory() -> None:
    """What was loaded until now stays: the collector need not walk through the catalog during calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def _key_for(purpose: str, master: MasterKey) -> bytes:
    """A key of its own for each purpose: what one proves is worth nothing for another."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"skillway {purpose}".encode()).derive(master.key)


def _openid(settings: Settings, http: Http, clock: Callable[[], float]) -> OpenIdProvider | None:
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    return OpenIdProvider(
        http,
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        clock=clock,
    )


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
