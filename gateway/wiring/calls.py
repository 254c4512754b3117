"""The way of a call, at once or as a run in the background, and what is kept of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.core.calls.admission import Admission
from gateway.core.calls.budgets import Budgets
from gateway.core.calls.carrying import Carrier
from gateway.core.calls.fetching import Fetching
from gateway.core.calls.kept import AnswerCache, KeptAnswers
from gateway.core.calls.paging import Paging
from gateway.core.calls.preflight import Preflight
from gateway.core.calls.preparation import Preparation
from gateway.core.calls.repeats import Repeats
from gateway.core.calls.sandbox import Sandbox
from gateway.core.calls.shaping import Shaping
from gateway.core.gateway import Gateway
from gateway.core.health import Health
from gateway.core.requests.files import Files
from gateway.core.room import Room
from gateway.core.runs.approvals import Approvals
from gateway.core.runs.following import Following
from gateway.core.runs.later import Later, RunWorker
from gateway.core.runs.once import Once
from gateway.core.runs.results import Results
from gateway.core.runs.run_book import RunBook
from gateway.store.blobs import SqlBlobs
from gateway.store.queue import SqlQueue
from gateway.store.sandbox import SqlSandbox
from gateway.wiring.connections import Connected
from gateway.wiring.ground import Ground
from gateway.wiring.tenants import Tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The gateway itself, and what surfaces ask of its runs."""

    gateway: Gateway
    preflight: Preflight
    approvals: Approvals
    book: RunBook
    results: Results
    files: Files
    cache: AnswerCache
    sandbox: Sandbox
    worker: RunWorker
    health: Health
    queue: SqlQueue
    blobs: SqlBlobs
    sandbox_store: SqlSandbox


async def open_calls(ground: Ground, tenants: Tenants, connected: Connected) -> Calls:
    """Runs are taken up at once: those that another process left first."""
    settings, database, vault, clock = ground.settings, ground.database, ground.vault, ground.clock
    catalogs, changes, runs = ground.catalogs, ground.changes, tenants.runs
    answer_room = Room(settings.effective_answer_room())
    queue = SqlQueue(database, vault, clock=ground.database_clock)
    blobs = SqlBlobs(database, vault, clock=clock)
    kept = KeptAnswers(blobs, answer_room, retention=settings.retention, most=2 * settings.response_limit, clock=clock)
    files = Files(
        blobs,
        most=settings.file_limit,
        room=settings.storage_limit,
        retention=settings.file_retention,
        public_url=ground.public_url,
        clock=clock,
    )
    cache = AnswerCache(kept, runs, queue, catalogs, clock=clock)
    budgets = Budgets(connected.providers.client_name, replicas=tenants.replicas, clock=clock)
    preparation = Preparation(
        catalogs=catalogs,
        connections=connected.connections,
        credentials=connected.credentials,
        outgoing=ground.outgoing,
        files=files,
        links=ground.links,
        plans=tenants.plans,
        clock=clock,
    )
    sandbox_store = SqlSandbox(database, vault, clock=clock)
    sandbox = Sandbox(sandbox_store)
    carrier = Carrier(
        preparation=preparation,
        credentials=connected.credentials,
        fetching=Fetching(ground.upstream, files, answer_room, limit=settings.response_limit, inline=settings.inline_limit),
        paging=Paging(preparation.rebuilt, most=settings.response_limit, seconds=settings.sync_ceiling, clock=clock),
        admission=Admission(tenants.limits, budgets),
        budgets=budgets,
        repeats=Repeats(preparation.rebuilt, clock=clock),
        cache=cache,
        sandbox=sandbox,
        clock=clock,
    )
    book = RunBook(runs, queue, kept, changes, catalogs, public_url=ground.public_url, clock=clock)
    once = Once(
        carrier=carrier,
        queue=queue,
        kept=kept,
        book=book,
        changes=changes,
        owner_id=ground.owner_id,
        ceiling=settings.sync_ceiling,
        clock=clock,
    )
    preflight = Preflight(preparation, tenants.limits, budgets)
    approvals = Approvals(
        store=queue,
        queue=queue,
        runs=runs,
        catalogs=catalogs,
        preflight=preflight,
        changes=changes,
        principal_of=tenants.principal_of,
        public_url=ground.public_url,
        lifetime=settings.approval_lifetime,
        clock=clock,
    )
    gateway = Gateway(
        preparation=preparation,
        approvals=approvals,
        carrier=carrier,
        once=once,
        later=Later(queue=queue, once=once, book=book, kept=kept, changes=changes, clock=clock),
        cache=cache,
        shaping=Shaping(kept, runs, queue, public_url=ground.public_url),
        runs=runs,
        queue=queue,
        kept=kept,
        book=book,
        changes=changes,
        ceiling=settings.sync_ceiling,
        owner_id=ground.owner_id,
        clock=clock,
    )
    worker = RunWorker(
        queue=queue,
        preparation=preparation,
        carrier=carrier,
        following=Following(catalogs=catalogs, preparation=preparation, carrier=carrier, clock=clock),
        kept=kept,
        cache=cache,
        changes=changes,
        principal_of=tenants.principal_of,
        owner_id=ground.owner_id,
        at_once=settings.run_workers,
        clock=clock,
    )
    health = Health(database.check, database.broken)

    async def end_runs() -> None:
        left = health.left(settings.drain if health.draining else 0.0)
        await asyncio.gather(worker.close(left), gateway.close(left))

    # Before it takes anything: whose process has given no sign of life counts as dead.
    await tenants.replicas.look()
    worker.start()
    ground.stack.push_async_callback(end_runs)
    return Calls(
        gateway=gateway,
        preflight=preflight,
        approvals=approvals,
        book=book,
        results=Results(kept),
        files=files,
        cache=cache,
        sandbox=sandbox,
        worker=worker,
        health=health,
        queue=queue,
        blobs=blobs,
        sandbox_store=sandbox_store,
    )
