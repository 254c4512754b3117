"""What schemathesis cannot know: which cursors are of our making, and how large a number may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st

from gateway.store.cursors import cursor_of

schemathesis.openapi.format("cursor", st.sampled_from([cursor_of(1_795_348_800_000, "ent_0193"), cursor_of(0, "a")]))


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Integers beyond 64 bits are refused wherever they stand, also where a schema lets anything stand."""
    return _fits(body)


def _fits(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63
