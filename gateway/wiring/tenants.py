"""Orgs, their keys and plans, and what they have used."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.replicas import Replicas
from gateway.core.tenants.access import Access, Plans, PrincipalsById
from gateway.core.tenants.limits import Limits
from gateway.store.events import SqlEvents
from gateway.store.keys import SqlKeys
from gateway.store.ledger import SqlLedger
from gateway.store.members import SqlMembers
from gateway.store.opening import shared_counters
from gateway.store.orgs import SqlOrgs
from gateway.store.runs import RunWriter
from gateway.wiring.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Who may call, and how much."""

    orgs: SqlOrgs
    keys: SqlKeys
    members: SqlMembers
    plans: Plans
    access: Access
    principal_of: PrincipalsById
    events: SqlEvents
    ledger: SqlLedger
    limits: Limits
    replicas: Replicas
    runs: RunWriter


def make_tenants(ground: Ground) -> Tenants:
    database, clock, stack, settings = ground.database, ground.clock, ground.stack, ground.settings
    orgs, keys, members = (
        SqlOrgs(database, clock=clock),
        SqlKeys(database, clock=clock),
        SqlMembers(database, clock=clock),
    )
    runs = RunWriter(database, uses=keys, process=ground.owner_id, clock=clock)
    stack.push_async_callback(runs.close)
    plans = Plans(ground.installation.plans, orgs, upgrade_url=settings.upgrade_url)
    replicas = Replicas(ground.leases, ground.owner_id)
    stack.push_async_callback(replicas.leave)
    shared = None
    if settings.valkey_url is not None:
        installation = ground.opened.master.fingerprint
        shared = shared_counters(settings.valkey_url.reveal(), installation=installation, clock=clock)
        stack.push_async_callback(shared.close)
    events, ledger = SqlEvents(database), SqlLedger(database, clock=clock)
    return Tenants(
        orgs=orgs,
        keys=keys,
        members=members,
        plans=plans,
        access=Access(keys, plans, clock=clock),
        principal_of=PrincipalsById(keys, members, orgs, plans, clock=clock),
        events=events,
        ledger=ledger,
        limits=Limits(ledger, events, plans, shared=shared, replicas=replicas, clock=clock),
        replicas=replicas,
        runs=runs,
    )
