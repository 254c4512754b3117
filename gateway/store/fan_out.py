"""From events to deliveries: the mark on an event goes in the transaction that makes its deliveries."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from gateway.core.events import Event
from gateway.core.messages.webhook import Webhook
from gateway.store.clock import DatabaseClock
from gateway.store.database import Database
from gateway.store.deliveries import SKIP_LOCKED, add_deliveries
from gateway.store.events import event_of
from gateway.store.webhooks import OF_ORG, webhook_of

# A cursor over the events would miss some: their ids are not in the order of their commits.
_IS_ONE = "SELECT 1 AS one FROM events WHERE pending IS NOT NULL LIMIT 1"
_TAKE = "SELECT * FROM events WHERE pending IS NOT NULL ORDER BY id LIMIT :most"
_DONE = "UPDATE events SET pending = NULL WHERE id = :id"


class SqlFanOut:
    """Makes deliveries in the database; implements `FanOut`. `database_clock` replaces the database's own."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        database_clock: Callable[[], float] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._database_clock = DatabaseClock(database.dialect, database_clock)
        self._take = _TAKE + SKIP_LOCKED[database.dialect].format(table="events")

    async def fan_out(self, most: int) -> int:
        if await self._database.fetch_one(_IS_ONE) is None:
            return 0
        async with self._database.transaction() as transaction:
            events = [event_of(row) for row in await transaction.fetch(self._take, most=most)]
            webhooks: dict[str, list[Webhook]] = {}
            for org in sorted({event.org for event in events}):
                found = await transaction.fetch(OF_ORG, org=org)
                webhooks[org] = [webhook_of(row, self._clock()) for row in found]
            # In one order wherever it is done: two that wait for each other's endpoints would wait for ever.
            told: dict[tuple[str, str], list[Event]] = defaultdict(list)
            for event in events:
                for webhook in webhooks[event.org]:
                    if webhook.hears(event):
                        told[webhook.org, webhook.id].append(event)
            for (org, webhook_id), heard in sorted(told.items()):
                await add_deliveries(transaction, self._database_clock, org, webhook_id, heard)
            await transaction.execute_many(_DONE, [[event.id] for event in events])
        return len(events)
