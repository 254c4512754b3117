"""The labelled requests of `requests.yaml`, and how well a ranking serves them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

KINDS = ("plain", "paraphrase", "vague", "typo", "jargon", "cross-service", "negative")
#: A ranking: the ids of the actions that it gives to a request, the best first, with their scores.
Ranking = Callable[[str], Sequence[tuple[str, float]]]
_FILE = Path(__file__).with_name("requests.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Words of a person. Each of `needs` is a set of actions of which one has to be found; none for a negative."""

    kind: str
    text: str
    needs: tuple[frozenset[str], ...]

    @property
    def held_back(self) -> bool:
        """Whether it is of the third that nothing was tuned by."""
        return int(hashlib.sha256(self.text.encode()).hexdigest(), 16) % 3 == 0

    def recall(self, found: Iterable[str], depth: int) -> float:
        """The share of what it needs that is among the first `depth`."""
        first = set(list(found)[:depth])
        return sum(bool(need & first) for need in self.needs) / len(self.needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How a ranking did on requests of one kind: shares between 0 and 1."""

    requests: int
    #: Of the needed actions, those among the first five. Of negatives, those under the threshold.
    at_5: float
    #: Requests whose first hit is one that serves.
    at_1: float
    #: Requests whose best score reaches the threshold.
    over: float


def requests() -> list[Request]:
    """All of them, in the order of the file."""
    return [
        Request(
            kind=kind,
            text=one["ask"],
            needs=tuple(frozenset(need) for need in (one["accept"], one.get("and")) if need),
        )
        for kind, listed in yaml.safe_load(_FILE.read_text()).items()
        for one in listed
    ]


def marks(asked: Sequence[Request], ranking: Ranking, threshold: float) -> Marks:
    """The means over the requests, which are of one kind, or all of kinds that something serves."""
    found = [ranking(one.text) for one in asked]
    over = sum(bool(hits) and hits[0][1] >= threshold for hits in found) / len(asked)
    if not any(one.needs for one in asked):
        return Marks(requests=len(asked), at_5=1 - over, at_1=1 - over, over=over)
    ids = [[name for name, _ in hits] for hits in found]
    return Marks(
        requests=len(asked),
        at_5=sum(one.recall(hits, 5) for one, hits in zip(asked, ids, strict=True)) / len(asked),
        at_1=sum(any(need & set(hits[:1]) for need in one.needs) for one, hits in zip(asked, ids, strict=True))
        / len(asked),
        over=over,
    )
