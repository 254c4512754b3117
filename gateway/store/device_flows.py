"""Device flows: every step is one statement that changes a row or finds nothing, so that it happens once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from gateway.core.events import Actor, Event
from gateway.core.people.devices import PACE, USUAL_LEVEL, DeviceFlow
from gateway.core.tenants.grants import Level
from gateway.store.database import AlreadyThere, Database, Row
from gateway.store.events import append
from gateway.store.times import to_ms, to_seconds

#: Milliseconds that a poll may come early: a slow answer to the one before makes the next look so.
_GRACE = 1000
_ADD = """
    INSERT INTO device_flows (id, device_code, user_code, device, address, status, pace, hurried, next_poll_at,
        created_at, expires_at)
    VALUES (:id, :device_code, :user_code, :device, :address, 'pending', :pace, 0, :created_at, :created_at, :expires_at)
"""
_WAITING = "user_code = :user_code AND status = 'pending' AND expires_at > :now"
_DECIDE = f"""
    UPDATE device_flows SET status = :status, org = :org, approver = :approver, level = :level
    WHERE {_WAITING} RETURNING *
"""
# All on the right is as it was before. RFC 8628 §3.5: each that comes too early adds five seconds.
_POLL = f"""
    UPDATE device_flows SET
        hurried = CASE WHEN next_poll_at > :now THEN 1 ELSE 0 END,
        pace = pace + CASE WHEN next_poll_at > :now AND status = 'pending' THEN {PACE} ELSE 0 END,
        next_poll_at = :now - {_GRACE} + 1000 * (pace + CASE WHEN next_poll_at > :now THEN {PACE} ELSE 0 END)
    WHERE device_code = :device_code RETURNING *
"""
_REDEEM = """
    UPDATE device_flows SET status = 'used'
    WHERE device_code = :device_code AND status = 'approved' AND expires_at > :now RETURNING *
"""
_GIVE_BACK = "UPDATE device_flows SET status = 'approved' WHERE id = :id AND status = 'used'"


class SqlDeviceFlows:
    """Device flows in the database; implements `DeviceFlowStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(self, flow: DeviceFlow, device_code: bytes, user_code: bytes) -> bool:
        try:
            await self._database.execute(
                _ADD,
                id=flow.id,
                device_code=device_code,
                user_code=user_code,
                device=flow.device,
                address=flow.address,
                pace=flow.pace,
                created_at=to_ms(flow.created_at),
                expires_at=to_ms(flow.expires_at),
            )
        except AlreadyThere:
            return False
        return True

    async def by_user_code(self, user_code: bytes) -> DeviceFlow | None:
        sql = f"SELECT * FROM device_flows WHERE {_WAITING}"
        row = await self._database.fetch_one(sql, user_code=user_code, now=to_ms(self._clock()))
        return None if row is None else _flow(row)

    async def decide(self, user_code: bytes, org: str, by: Actor, level: Level | None) -> DeviceFlow | None:
        now = self._clock()
        async with self._database.transaction() as transaction:
            row = await transaction.fetch_one(
                _DECIDE,
                user_code=user_code,
                status="denied" if level is None else "approved",
                org=org,
                approver=json.dumps(by.shown()),
                level=level,
                now=to_ms(now),
            )
            if row is None:
                return None
            flow = _flow(row)
            told = Event.now(
                org, f"device.{flow.status}", now, actor=by, device=flow.device, address=flow.address, level=level
            )
            await append(transaction, told)
        return flow

    async def poll(self, device_code: bytes) -> DeviceFlow | None:
        # Anybody may ask for made-up codes: none of that takes a turn at writing.
        sql = "SELECT id FROM device_flows WHERE device_code = :device_code"
        if await self._database.fetch_one(sql, device_code=device_code) is None:
            return None
        row = await self._database.fetch_one(_POLL, device_code=device_code, now=to_ms(self._clock()))
        return None if row is None else _flow(row)

    async def redeem(self, device_code: bytes) -> DeviceFlow | None:
        row = await self._database.fetch_one(_REDEEM, device_code=device_code, now=to_ms(self._clock()))
        return None if row is None else _flow(row)

    async def give_back(self, flow: DeviceFlow) -> None:
        await self._database.execute(_GIVE_BACK, id=flow.id)

    async def purge(self, before: float) -> int:
        """Forgets flows that expired before that time; says how many."""
        return await self._database.execute("DELETE FROM device_flows WHERE expires_at < :before", before=to_ms(before))


def _flow(row: Row) -> DeviceFlow:
    return DeviceFlow(
        id=row["id"],
        device=row["device"],
        address=row["address"],
        status=row["status"],
        org=row["org"],
        approver=Actor.of(json.loads(row["approver"])) if row["approver"] else None,
        level=row["level"] or USUAL_LEVEL,
        pace=row["pace"],
        hurried=bool(row["hurried"]),
        created_at=to_seconds(row["created_at"]),
        expires_at=to_seconds(row["expires_at"]),
    )
