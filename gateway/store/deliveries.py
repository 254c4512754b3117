"""The queue of deliveries: who takes one has it for a lease, and only who has it may say what became of it.

The queue is one of endpoints. Whoever claims takes an endpoint's turn (its row, locked) and then one delivery of
it, so that neither a full endpoint hides the others nor two processes send it more than its pace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

from gateway.core.errors import Refusal
from gateway.core.events import Event
from gateway.core.ids import new_ordered_id
from gateway.core.messages.deliveries import Delivery, DeliveryState, Due, Outcome, payload_of, rest_after
from gateway.store.clock import DatabaseClock
from gateway.store.cursors import cursor_of, place_of
from gateway.store.database import Database, Dialect, Row, Statements
from gateway.store.times import to_ms, to_seconds

#: Seconds that a claim lasts: longer than an attempt and the note of its end may take together.
LEASE = 30.0
#: Attempts at one time to an endpoint that works, and to one whose last attempt failed.
TOGETHER, ALONE = 4, 1
#: What is told where a delivery became due by something that this process wrote.
TOPIC: Final = "deliveries"
#: Rows that another process works on are passed over. On SQLite BEGIN IMMEDIATE lets nobody else in.
SKIP_LOCKED: dict[Dialect, str] = {"sqlite": "", "postgresql": " FOR UPDATE OF {table} SKIP LOCKED"}

# First one endpoint of each org, the one that has waited longest; then a second one of each, and so on. Those of a
# suspended org wait.
_TURNS = """
    SELECT endpoints.org, endpoints.name FROM endpoints JOIN (
        SELECT org, name, due_at, ROW_NUMBER() OVER (PARTITION BY org ORDER BY due_at, name) AS turn
        FROM endpoints
        WHERE due_at <= {now} AND CAST(:busy AS TEXT) NOT LIKE '%' || org || '%'
            AND org NOT IN (SELECT id FROM orgs WHERE suspended_at IS NOT NULL) AND (
            SELECT COUNT(*) FROM deliveries
            WHERE deliveries.org = endpoints.org AND deliveries.endpoint = endpoints.name
                AND deliveries.claimed_until > {now}
        ) < CASE WHEN failing_since IS NULL THEN CAST(:together AS BIGINT) ELSE CAST(:alone AS BIGINT) END
    ) AS waiting ON waiting.org = endpoints.org AND waiting.name = endpoints.name
    WHERE endpoints.due_at <= {now}
    ORDER BY waiting.turn, waiting.due_at LIMIT :most
"""
_CLAIM = """
    UPDATE deliveries SET attempt = attempt + 1, tries = tries + 1, last_at = {now},
        next_at = {now} + :lease, claimed_until = {now} + :lease
    WHERE org = :org AND id = (
        SELECT id FROM deliveries WHERE org = :org AND endpoint = :endpoint AND next_at <= {now}
        ORDER BY next_at, id LIMIT 1
    )
    RETURNING *
"""
# Of the endpoint's deliveries the first is looked for, but not before it has rested.
_RESUME = "CASE WHEN endpoints.resume_at < {now} + :rest THEN {now} + :rest ELSE endpoints.resume_at END"
_LOOK_AGAIN = f"""
    UPDATE endpoints SET resume_at = {_RESUME}, due_at = (
        SELECT CASE WHEN MIN(next_at) < {_RESUME} THEN {_RESUME} ELSE MIN(next_at) END FROM deliveries
        WHERE deliveries.org = endpoints.org AND deliveries.endpoint = endpoints.name AND next_at IS NOT NULL
    )
    WHERE org = :org AND name = :endpoint
"""
# The row stays as it is, and locked until the transaction ends. Always before the endpoint's deliveries.
_LOCK = "UPDATE endpoints SET name = name WHERE org = :org AND name = :endpoint RETURNING name"
_FINISH = """
    UPDATE deliveries SET state = :state, status = :status, error = :error, answer = :answer, claimed_until = NULL,
        next_at = {now} + CAST(:pause AS BIGINT),
        finished_at = CASE WHEN CAST(:pause AS BIGINT) IS NULL THEN {now} END
    WHERE org = :org AND id = :id AND attempt = :attempt AND claimed_until IS NOT NULL
"""
_WORKS = """
    UPDATE endpoints SET failures = 0, failing_since = NULL WHERE org = :org AND name = :endpoint
"""
_FAILS = """
    UPDATE endpoints SET failures = failures + 1, failing_since = COALESCE(failing_since, {now})
    WHERE org = :org AND name = :endpoint
    RETURNING failures, {now} - failing_since AS failing
"""
_DUE = """
    SELECT COUNT(CASE WHEN due_at <= {now} THEN 1 END) AS due, MIN(CASE WHEN due_at > {now} THEN due_at END) - {now} AS ms
    FROM endpoints WHERE due_at IS NOT NULL
"""
_OPEN = """
    INSERT INTO endpoints (org, name, due_at, resume_at, failures, failing_since)
    VALUES (:org, :endpoint, NULL, 0, 0, NULL) ON CONFLICT (org, name) DO NOTHING
"""
_ADD = """
    INSERT INTO deliveries (id, org, endpoint, url, mode, event, type, payload, state, attempt, tries, next_at,
        created_at)
    VALUES (:id, :org, :endpoint, :url, :mode, :event, :type, :payload, 'pending', 0, 0, {now}, {now})
    ON CONFLICT (org, endpoint, event) DO NOTHING
"""
_LIST = """
    SELECT * FROM deliveries WHERE org = :org AND endpoint = :endpoint AND id < :before ORDER BY id DESC LIMIT :limit
"""
_REPLAY = """
    UPDATE deliveries SET state = 'pending', tries = 0, next_at = {now}, claimed_until = NULL, finished_at = NULL
    WHERE org = :org AND endpoint = :endpoint AND id = :id AND (claimed_until IS NULL OR claimed_until <= {now})
    RETURNING *
"""
_FORGET = "DELETE FROM deliveries WHERE finished_at < :before"
# Those of webhooks go with their webhooks.
_FORGET_ENDPOINTS = """
    DELETE FROM endpoints WHERE due_at IS NULL AND name NOT LIKE 'whk|_%' ESCAPE '|' AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE deliveries.org = endpoints.org AND deliveries.endpoint = endpoints.name
    )
"""
_NEWEST = "dlv_g"


class _Late(Exception):
    """Somebody else has it by now."""


class SqlDeliveries:
    """The queue in the database; implements `DeliveryStore`. `clock` replaces the database's own."""

    def __init__(self, database: Database, *, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._clock = DatabaseClock(database.dialect, clock)
        self._turns = self._clock.into(_TURNS) + SKIP_LOCKED[database.dialect].format(table="endpoints")

    async def claim(self, most: int, *, busy: Collection[str], interval: float) -> Sequence[Delivery]:
        claimed = []
        async with self._database.transaction() as transaction:
            turns = await transaction.fetch(
                self._turns, busy=" ".join(busy), together=TOGETHER, alone=ALONE, most=most, **self._clock.params()
            )
            for turn in turns:
                org, endpoint = turn["org"], turn["name"]
                row = await self._fetch_one(transaction, _CLAIM, org=org, endpoint=endpoint, lease=to_ms(LEASE))
                if row is not None:
                    claimed.append(_delivery(row))
                await look_again(transaction, self._clock, org, endpoint, rest=interval if row is not None else 0.0)
        return claimed

    async def due(self) -> Due:
        row = await self._database.fetch_one(self._clock.into(_DUE), **self._clock.params())
        assert row is not None
        return Due(is_now=row["due"] > 0, next_in=to_seconds(row["ms"]))

    async def finish(
        self, delivery: Delivery, state: DeliveryState, outcome: Outcome, *, pause: float | None = None
    ) -> float | None:
        org, endpoint, failing, rest = delivery.org, delivery.endpoint, 0.0, 0.0
        try:
            async with self._database.transaction() as transaction:
                if outcome.error is None:
                    await transaction.execute(_WORKS, org=org, endpoint=endpoint)
                elif row := await self._fetch_one(transaction, _FAILS, org=org, endpoint=endpoint):
                    failing, rest = to_seconds(row["failing"]), rest_after(row["failures"], outcome.retry_after)
                if not await self._note(transaction, delivery, state, outcome, pause):
                    raise _Late
                await look_again(transaction, self._clock, org, endpoint, rest=rest)
        except _Late:
            return None
        return failing

    async def list(
        self, org: str, endpoint: str, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[Delivery], str | None]:
        before = _NEWEST if cursor is None else place_of(cursor)[1]
        rows = await self._database.fetch(_LIST, org=org, endpoint=endpoint, before=before, limit=limit + 1)
        page = [_delivery(row) for row in rows[:limit]]
        return page, cursor_of(round(page[-1].created_at), page[-1].id) if len(rows) > limit else None

    async def replay(self, org: str, endpoint: str, delivery_id: str) -> Delivery | None:
        async with self._database.transaction() as transaction:
            await transaction.fetch(_LOCK, org=org, endpoint=endpoint)
            row = await self._fetch_one(transaction, _REPLAY, org=org, endpoint=endpoint, id=delivery_id)
            if row is None:
                sql = "SELECT id FROM deliveries WHERE org = :org AND endpoint = :endpoint AND id = :id"
                if await transaction.fetch_one(sql, org=org, endpoint=endpoint, id=delivery_id) is None:
                    return None
                raise Refusal("conflict", "This delivery is being sent at the moment.")
            await look_again(transaction, self._clock, org, endpoint)
            transaction.tell(TOPIC)
        return _delivery(row)

    async def forget(self, before: int) -> int:
        """Deletes those that were over before that time (unix ms), and endpoints that were only called back."""
        forgotten = await self._database.execute(_FORGET, before=before)
        await self._database.execute(_FORGET_ENDPOINTS)
        return forgotten

    async def _note(
        self, transaction: Statements, delivery: Delivery, state: DeliveryState, outcome: Outcome, pause: float | None
    ) -> bool:
        """False where it is another worker's by now."""
        changed = await self._execute(
            transaction,
            _FINISH,
            org=delivery.org,
            id=delivery.id,
            attempt=delivery.attempt,
            state=state,
            status=outcome.status,
            error=outcome.error,
            answer=outcome.answer,
            pause=to_ms(pause),
        )
        return changed == 1

    async def _fetch_one(self, statements: Statements, sql: str, **params: str | int | None) -> Row | None:
        return await statements.fetch_one(self._clock.into(sql), **params, **self._clock.params())

    async def _execute(self, statements: Statements, sql: str, **params: str | int | None) -> int:
        return await statements.execute(self._clock.into(sql), **params, **self._clock.params())


async def add_deliveries(
    transaction: Statements,
    clock: DatabaseClock,
    org: str,
    endpoint: str,
    events: Sequence[Event],
    *,
    url: str | None = None,
) -> bool:
    """Deliveries of events to one endpoint, due at once; `url` for callbacks. False where the endpoint is gone."""
    if await transaction.fetch_one(_LOCK, org=org, endpoint=endpoint) is None:
        return False
    for event in events:
        await transaction.execute(
            clock.into(_ADD),
            id=new_ordered_id("dlv", event.at),
            org=org,
            endpoint=endpoint,
            url=url,
            mode=event.mode,
            event=event.id,
            type=event.type,
            payload=payload_of(event),
            **clock.params(),
        )
    await look_again(transaction, clock, org, endpoint)
    transaction.tell(TOPIC)
    return True


async def call_back(transaction: Statements, clock: DatabaseClock, org: str, url: str, event: Event) -> None:
    """The delivery of an event to a URL that was checked. The same event to the same server counts once."""
    origin = _origin(url)
    await open_endpoint(transaction, org, origin)
    while not await add_deliveries(transaction, clock, org, origin, [event], url=url):
        # It was forgotten at this very moment.
        await open_endpoint(transaction, org, origin)


async def look_again(
    transaction: Statements, clock: DatabaseClock, org: str, endpoint: str, *, rest: float = 0.0
) -> None:
    """Notes when the endpoint is due next; for `rest` seconds it is not."""
    await transaction.execute(clock.into(_LOOK_AGAIN), org=org, endpoint=endpoint, rest=to_ms(rest), **clock.params())


async def open_endpoint(transaction: Statements, org: str, endpoint: str) -> None:
    """A place in the queue, where there is none yet."""
    await transaction.execute(_OPEN, org=org, endpoint=endpoint)


async def lock_endpoint(transaction: Statements, org: str, endpoint: str) -> None:
    """Until the transaction ends nobody else takes its turn or ends a delivery of it."""
    await transaction.fetch(_LOCK, org=org, endpoint=endpoint)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=row["id"],
        org=row["org"],
        endpoint=row["endpoint"],
        url=row["url"],
        mode=row["mode"],
        event=row["event"],
        type=row["type"],
        payload=bytes(row["payload"]),
        state=row["state"],
        attempt=row["attempt"],
        tries=row["tries"],
        next_at=to_seconds(row["next_at"]),
        claimed_until=to_seconds(row["claimed_until"]),
        status=row["status"],
        error=row["error"],
        answer=row["answer"],
        created_at=to_seconds(row["created_at"]),
        last_at=to_seconds(row["last_at"]),
        finished_at=to_seconds(row["finished_at"]),
    )
