"""One use of one skill, as asked and not yet checked; and the plan it becomes once it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.grants import DEFAULT_USER
from gateway.core.keys import Principal
from gateway.core.request import UpstreamRequest
from oauth.connections import Held
from skills_catalog.model import Integration, Skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a surface hands over: who asks, which action, for which user, with which params."""

    principal: Principal
    integration: str
    action: str
    params: Mapping[str, Any]
    user: str = DEFAULT_USER
    #: Id or label of a connection, where the user has several.
    connection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A call that passed every check: what will be sent, and on whose connection."""

    call: Call
    integration: Integration
    skill: Skill
    params: Mapping[str, Any]
    #: None where the skill needs no connection.
    held: Held | None
    request: UpstreamRequest
    run_id: str
    started_at: int
