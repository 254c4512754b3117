"""What a test key gets: the definition's own example that fits the call best, and no upstream at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.errors import Refusal
from gateway.core.request import UpstreamAnswer
from skills_catalog.model import Example, Skill


def best_example(skill: Skill, params: Mapping[str, Any]) -> Example:
    """The example with the most params equal to the call's; the earlier of two that fit alike."""
    if not skill.examples:
        raise Refusal("not_found", f"{skill.id} has no example that a test key could be answered from.")

    def fits(example: Example) -> tuple[int, int]:
        equal = sum(1 for name, value in params.items() if example.params.get(name, params) == value)
        return equal, -len(example.params.keys() ^ params.keys())

    return max(skill.examples, key=fits)


def answer_of(example: Example) -> UpstreamAnswer:
    """The example as an upstream would answer it."""
    body = b"" if example.data is None else orjson.dumps(example.data)
    headers = {"Content-Type": "application/json", **example.headers}
    return UpstreamAnswer(status=example.status, headers=tuple(headers.items()), body=body)
