"""One use of one skill, as asked and not yet checked; and the plan it becomes once it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.requests.file_params import GivenFiles
from gateway.core.requests.request import UpstreamRequest
from gateway.core.tenants.keys import Principal
from oauth.connections import Held
from skills_catalog.model import Example, Integration, Skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of an answer the caller wants, and how much of it."""

    #: JMESPath on the upstream's body.
    select: str | None = None
    #: The action's own short view.
    brief: bool = False
    max_bytes: int | None = None
    max_items: int | None = None

    @property
    def is_whole(self) -> bool:
        return self.select is None and not self.brief and self.max_bytes is None and self.max_items is None


WHOLE = Shape()
#: Seconds that a test key may have its answer put off: it holds a place as any call does.
LONGEST_DELAY = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What a test key wants to see instead of an example: an upstream that is slow, or answers with that status."""

    status: int | None = None
    #: Seconds.
    delay: float = 0.0


AS_IT_COMES = Forced()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a surface hands over: who asks, which action, for which user, with which params, and how."""

    principal: Principal
    integration: str
    action: str
    params: Mapping[str, Any]
    #: None is whom the key acts for.
    user: str | None = None
    #: Id or label of a connection, where the user has several.
    connection: str | None = None
    shape: Shape = WHOLE
    #: Whoever sends it again gets the same run.
    idempotency_key: str | None = field(default=None, repr=False)
    #: Carried out later, as a run to poll.
    is_async: bool = False
    #: Seconds that the caller waits for the end of a run before it polls.
    wait: float | None = None
    #: Follow the pages of the answer, up to so many.
    pages: int | None = None
    #: Where the end of the run is told, as a signed delivery.
    callback_url: str | None = field(default=None, repr=False)
    #: An answer that is kept for later reads does not do.
    is_fresh: bool = False
    #: Of a test key alone.
    forced: Forced = AS_IT_COMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A call that passed every check: what will be sent, and on whose connection."""

    call: Call
    integration: Integration
    skill: Skill
    user: str
    params: Mapping[str, Any]
    #: None where the skill needs no connection.
    held: Held | None
    request: UpstreamRequest
    run_id: str
    #: Unix milliseconds.
    started_at: int
    #: Those that params name by an id.
    files: GivenFiles = field(default_factory=dict, repr=False)
    #: Path and query of a further page as the upstream named it, in the place of what the params make.
    link: str | None = field(default=None, repr=False)
    #: What a test key is answered from, instead of an upstream.
    example: Example | None = None

    @property
    def connection(self) -> str | None:
        return self.held.connection.id if self.held is not None else None
