"""What was asked, as it is stored with a run: to carry it out later, to do it again, to tell one body from another."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

import orjson

from gateway.core.calls.call import Call, Forced, Plan, Shape
from gateway.core.tenants.keys import Principal
from skills_catalog.model import Skill


def stored(plan: Plan, *, is_held: bool = False) -> bytes:
    """The call of a plan, without who asks: that stands in the run's own columns. `is_held`: until a person approves it."""
    call = plan.call
    return orjson.dumps(
        {
            "params": call.params,
            "connection": plan.connection or call.connection,
            "shape": asdict(call.shape),
            "pages": call.pages,
            "callback_url": call.callback_url,
            "digest": plan.integration.digest,
            "held": is_held,
            "forced": asdict(call.forced),
        }
    )


def digest_of(request: bytes) -> str:
    """The definition's digest at the time of asking."""
    return str(orjson.loads(request)["digest"])


def is_held(request: bytes) -> bool:
    """Whether a person had to approve it."""
    return bool(orjson.loads(request).get("held"))


def restored(request: bytes, principal: Principal, integration: str, action: str, user: str) -> Call:
    """The call that was stored."""
    asked = orjson.loads(request)
    return Call(
        principal=principal,
        integration=integration,
        action=action,
        params=asked["params"],
        user=user,
        connection=asked["connection"],
        shape=Shape(**asked["shape"]),
        pages=asked["pages"],
        # Not there in what earlier versions stored.
        callback_url=asked.get("callback_url"),
        forced=Forced(**asked.get("forced", {})),
    )


def scope_of(plan: Plan) -> str:
    """Under what an Idempotency-Key is one: whoever else sends the same text means something else."""
    assert plan.call.idempotency_key is not None
    return _scope(plan.call, plan.user, plan.connection, plan.skill)


def held_scope(plan: Plan) -> str:
    """Under what a call without a key that waits for a person is one: sent again, it is the same wish."""
    parts = ["held", plan.call.principal.actor.id, plan.user, plan.connection, plan.skill.id, fingerprint_of(plan)]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def upstream_key(call: Call, user: str, connection: str | None, skill: Skill, run_id: str) -> str:
    """The key that an upstream gets which knows such keys: the same for whatever is one call to us."""
    if call.idempotency_key is None:
        return f"skillway-{run_id}"
    return f"skillway-{_scope(call, user, connection, skill)[:40]}"


def _scope(call: Call, user: str, connection: str | None, skill: Skill) -> str:
    parts = [call.principal.actor.id, user, connection, skill.id, call.idempotency_key]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def fingerprint_of(plan: Plan) -> str:
    """What was asked under an Idempotency-Key, however its members are ordered."""
    asked: list[object] = [plan.call.params, plan.call.pages]
    if plan.call.callback_url is not None:
        # Whoever gives another one would wait for a callback that goes elsewhere.
        asked.append(plan.call.callback_url)
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
