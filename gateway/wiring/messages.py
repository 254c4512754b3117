"""Webhooks out and in, and what delivers them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.messages.delivering import Deliverer
from gateway.core.messages.hooks import Hooks
from gateway.core.messages.webhooks import Webhooks
from gateway.store.deliveries import TOPIC as DELIVERIES
from gateway.store.deliveries import SqlDeliveries
from gateway.store.events import TOPIC as EVENTS
from gateway.store.fan_out import SqlFanOut
from gateway.store.hooks import SqlHooks
from gateway.store.signing_secrets import SqlSigningSecrets
from gateway.store.webhooks import SqlWebhooks
from gateway.upstream.post import DeliveryPost
from gateway.wiring.connections import Connected
from gateway.wiring.ground import Ground
from gateway.wiring.tenants import Tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Events that leave and events that come."""

    webhooks: Webhooks
    hooks: Hooks
    deliveries: SqlDeliveries
    received: SqlHooks


async def open_messages(ground: Ground, tenants: Tenants, connected: Connected) -> Messages:
    """Deliveries begin at once: those that another process left first."""
    database, vault, clock = ground.database, ground.vault, ground.clock
    store, received = SqlWebhooks(database, vault, clock=clock), SqlHooks(database, vault, clock=clock)
    signing_secrets = SqlSigningSecrets(database, vault, clock=clock)
    deliveries = SqlDeliveries(database, clock=ground.database_clock)
    post = DeliveryPost(ground.upstream, ground.egress, keep_private=ground.settings.tenancy == "one_owner")
    deliverer = await ground.stack.enter_async_context(
        Deliverer(
            deliveries=deliveries,
            fan_out=SqlFanOut(database, clock=clock, database_clock=ground.database_clock),
            webhooks=store,
            signing_secrets=signing_secrets,
            post=post,
            rate=ground.settings.webhook_rate,
            clock=clock,
        )
    )
    for topic in (EVENTS, DELIVERIES):
        database.listen(topic, deliverer.wake)
    return Messages(
        webhooks=Webhooks(
            store=store,
            deliveries=deliveries,
            signing_secrets=signing_secrets,
            keys=tenants.keys,
            plans=tenants.plans,
            post=post,
            clock=clock,
        ),
        hooks=Hooks(
            store=received,
            catalogs=ground.catalogs,
            connections=connected.connections,
            plans=tenants.plans,
            public_url=ground.public_url,
            clock=clock,
        ),
        deliveries=deliveries,
        received=received,
    )
