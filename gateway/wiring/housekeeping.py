"""What is done again and again besides calls: settling what others left, forgetting what is over."""

from __future__ import annotations

from gateway.core import replicas as signs
from gateway.core.calls.sandbox import MEMORY
from gateway.core.deprecations import EVERY as DEPRECATIONS_EVERY
from gateway.core.deprecations import Deprecations
from gateway.store.deprecations import SqlDeprecations
from gateway.wiring.calls import Calls
from gateway.wiring.connections import Connected
from gateway.wiring.ground import Ground
from gateway.wiring.messages import Messages
from gateway.wiring.people import People
from gateway.wiring.tenants import Tenants
from gateway.worker import Worker

#: Seconds after which a flow that is over is forgotten, and a run that never ended is called `unknown`.
_FLOW_MEMORY = 3600.0
_LONGEST_CALL = 3600.0
#: Seconds between two looks for calls whose process no longer lives.
_SETTLE_EVERY = 15.0
#: Seconds for which an Idempotency-Key means the same call.
_KEY_MEMORY = 86_400.0


def housekeeping(
    ground: Ground, tenants: Tenants, connected: Connected, messages: Messages, calls: Calls, people: People
) -> Worker:
    """Each with its name in the log and the seconds between two times."""
    clock = ground.clock
    runs, events, retention = tenants.runs, tenants.events, ground.settings.retention
    deprecations = Deprecations(ground.catalogs, SqlDeprecations(ground.database), clock=clock)

    def ms(ago: float) -> int:
        return int((clock() - ago) * 1000)

    async def settle() -> None:
        for run in await runs.settle(ms(_LONGEST_CALL)):
            await calls.cache.empty(run)

    return Worker(
        [
            ("settle runs of processes that are gone", 5.0, calls.worker.settle),
            ("end what nobody approved", 30.0, calls.approvals.expire),
            ("forget idempotency keys", 3600.0, lambda: calls.queue.forget_keys(ms(_KEY_MEMORY))),
            ("forget blobs", 600.0, lambda: calls.blobs.forget(clock())),
            ("count replicas", signs.EVERY, tenants.replicas.look),
            ("forget what test keys made", 3600.0, lambda: calls.sandbox_store.forget(clock() - MEMORY)),
            ("tell of deprecations", DEPRECATIONS_EVERY, deprecations.look),
            ("forget flows", 600.0, lambda: connected.flows.purge(clock() - _FLOW_MEMORY)),
            ("forget leases", 600.0, ground.leases.purge),
            ("forget sessions", 3600.0, people.session_rows.purge),
            ("forget sign-in links", 3600.0, people.sign_in_links.purge),
            ("forget sign-in flows", 600.0, people.sign_in_flows.purge),
            ("forget device flows", 600.0, lambda: people.device_flows.purge(clock() - _FLOW_MEMORY)),
            ("forget tries", 600.0, ground.tries.purge),
            ("settle runs", _SETTLE_EVERY, settle),
            ("forget runs", 3600.0, lambda: runs.forget(ms(retention))),
            ("forget events", 3600.0, lambda: events.forget(ms(retention))),
            ("forget deliveries", 3600.0, lambda: messages.deliveries.forget(ms(retention))),
            ("forget messages", 3600.0, lambda: messages.received.forget(ms(0))),
            ("look for new data keys", 5.0, ground.vault.ring.reload),
        ]
    )
