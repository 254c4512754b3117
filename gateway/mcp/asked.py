"""A request of a client as its handler sees it: who asks, in which era, under which address, and what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.core.tenants.keys import Principal
from gateway.mcp.eras import Era
from gateway.web.context import Services
from skills_catalog.model import Integration

Json = dict[str, Any]
#: `direct`: each action is a tool. `meta`: a few tools find actions, describe and call them.
Mode = Literal["direct", "meta"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the handler of a method gets."""

    ours: Services
    who: Principal
    era: Era
    params: Mapping[str, Any]
    meta: Mapping[str, Any]
    #: What the address says, in place of what would be chosen for the key.
    mode: Mode | None
    #: The only integrations that the address is for; None is every one of the key.
    only: frozenset[str] | None
    #: The client said in its handshake that it does not show its person pages to open.
    ignores_pages: bool = False

    def serves(self, slug: str) -> bool:
        """Whether this address is for the integration; what the key may use is another question."""
        return self.only is None or slug in self.only


def usable(asked: Asked) -> Sequence[Integration]:
    """The integrations that the key may use and the address is for, each with the actions that are left to the key."""
    return [one for one in asked.ours.discovery.usable(asked.who) if asked.serves(one.slug)]
