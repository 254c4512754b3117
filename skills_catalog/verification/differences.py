"""How a definition and a vendor's description may differ: one list of kinds, each with what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["matches", "differs", "not described"]

#: Kind -> what it says of a definition.
KINDS: Mapping[str, str] = {
    "method": "The vendor has the path, with other methods.",
    "host": "The base URL is on a host that the vendor does not name.",
    "base-path": "The vendor's paths begin differently.",
    "deprecated": "The vendor calls the operation deprecated and the action does not, or the other way round.",
    "unknown-param": "A param that the vendor does not know.",
    "location": "A param that the vendor has elsewhere: in the query instead of the body, say.",
    "missing-param": "A param that the vendor requires and the action does not have.",
    "optional-param": "A param that the vendor requires and the action does not.",
    "type": "A param that takes what the vendor does not.",
    "enum": "The vendor lists other values.",
    "default": "The vendor assumes another value when it is left out.",
    "style": "An array that the vendor writes differently: repeated, or joined by commas.",
    "media-type": "A body of a kind that the vendor does not take.",
    "body": "A body where the vendor has none, or none where it requires one.",
    "value": "A value of an example that the vendor's schema refuses.",
    "status": "An example's answer has a status that the vendor does not describe.",
    "answer": "An example's answer that the vendor's schema refuses.",
    "document": "A GraphQL document that does not fit the schema.",
    "request": "An example of which no request can be built.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference: its kind, where it stands in the action (`params.state`), and what it is."""

    kind: str
    at: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An action beside the operation that it calls."""

    action: str
    verdict: Verdict
    #: `GET /repos/{owner}/{repo}`, or empty.
    operation: str = ""
    #: `Operation.key` of every operation that its examples call.
    keys: frozenset[str] = frozenset()
    differences: tuple[Difference, ...] = ()
