"""What schemathesis cannot know: which cursors are of our making, how large a number may be, which key it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st

from gateway.store.cursors import cursor_of

schemathesis.openapi.format("cursor", st.sampled_from([cursor_of(1_795_348_800_000, "ent_0193"), cursor_of(0, "a")]))
schemathesis.openapi.format("return-url", st.sampled_from(["https://app.example.com/done", "http://localhost:3000/"]))
schemathesis.openapi.format("webhook-url", st.sampled_from(["https://app.example.com/in", "https://example.net/?a=1"]))
schemathesis.openapi.format("event-pattern", st.sampled_from(["*", "run.*", "hook.github.issues", "api_key.created"]))
schemathesis.openapi.format("jmespath", st.sampled_from(["id", "items[].{id: id}", "length(@)", "a.b[0]"]))


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Integers beyond 64 bits are refused wherever they stand, also where a schema lets anything stand."""
    return _fits(body)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Found in the list of keys, the key that everything is asked with would be revoked, and nothing more be seen."""
    for asked in (case.body, case.query):
        # What is waited for comes or does not come: the time it takes shows nothing more.
        if isinstance(asked, dict) and isinstance(asked.get("wait"), int | float):
            asked["wait"] = min(asked["wait"], 0.01)
    if isinstance(case.body, dict) and "callback_url" in case.body:
        # Only what is carried out later is called back; no schema of a single member says so.
        case.body["async"] = True
    if case.method.upper() == "DELETE" and case.path_parameters.get("id") == os.environ["FUZZ_KEY_ID"]:
        case.path_parameters["id"] = "key_another"


def _fits(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63
