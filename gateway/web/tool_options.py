"""How a tool call is to be made beside its params: as arguments of `call_skill`, in `_meta` as `skillway/…`, in a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.calls.call import Call, Shape
from gateway.core.calls.paging import MOST_PAGES
from gateway.core.calls.shaping import check_select
from gateway.core.errors import Refusal
from gateway.core.tenants.keys import Principal
from gateway.web.bodies import checked
from gateway.web.operations import Field, choice, number, text
from skills_catalog.exporting.tool_shapes import digest_of
from skills_catalog.model import Skill

PREFIX = "skillway/"
#: Bytes of an answer where nobody says how many: about 8,000 tokens. What is cut is kept whole.
BUDGET = 24 * 1024
_LEAST_BYTES, _MOST = 256, 10**9
_LONGEST_WAIT = 3600
_YES: dict[str, Any] = {"type": "boolean"}

USER = text("user", "Whom the call is for; leave it out unless you serve several people.")
#: The options that a model has a use for.
FOR_MODELS = (
    USER,
    text("connection", "Id or label of the connection, where the user has several."),
    number(
        "max_bytes",
        f"Most bytes of the answer ({BUDGET} unless you say); the rest stays readable.",
        low=_LEAST_BYTES,
        high=_MOST,
    ),
    Field(
        name="select",
        about="JMESPath: the part of the answer's data that you need. It saves tokens.",
        schema={"type": "string", "minLength": 1, "maxLength": 2000},
        must="must be JMESPath of 1 to 2000 characters",
    ),
    Field(
        name="idempotency_key",
        about="Of your choice: a call sent again with the same key is not made twice.",
        schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        must="must be 1 to 255 printable ASCII characters",
    ),
)
#: All of them, as `_meta` takes them.
KNOWN: Mapping[str, Field] = {
    option.name: option
    for option in (
        *FOR_MODELS,
        number("max_items", "Most items of the answer's largest array.", low=0, high=_MOST),
        choice("view", "`brief` is the action's own short view.", ["brief", "full"]),
        Field(name="all", about="Follow the pages of a list.", schema=_YES),
        Field(name="async", about="Carry it out later, as a run.", schema=_YES),
        Field(name="wait", about="Seconds to wait for the run's end.", schema={"type": "number", "minimum": 0, "maximum": _LONGEST_WAIT}),
        Field(name="fresh", about="An answer that is kept for later reads will not do.", schema=_YES),
        Field(name="digest", about="What the tool said in `tools/list`.", schema={"type": "string"}),
    )
}  # fmt: skip


def options_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Our options in a request's `_meta`. Raises `bad_request` for one that is not known, or has a wrong value."""
    given = {name.removeprefix(PREFIX): value for name, value in meta.items() if name.startswith(PREFIX)}
    return checked(given, KNOWN, f"_meta {PREFIX}") if given else given


def check_digest(skill: Skill, options: Mapping[str, Any]) -> None:
    """Raises `conflict` for a tool that is no longer what the caller once looked at."""
    if options.get("digest") not in (None, digest_of(skill)):
        said = "The tool is no longer what it was when its digest was noted."
        raise Refusal("conflict", said, hint="Look at it again in tools/list.", retryable=False)


def call_of(
    who: Principal, slug: str, action: str, params: Mapping[str, Any], options: Mapping[str, Any], *, ceiling: float
) -> Call:
    """The call with its options. Its answer fits a model's context unless they say otherwise."""
    if "select" in options:
        check_select(options["select"])
    wait = options.get("wait")
    return Call(
        principal=who,
        integration=slug,
        action=action,
        params=params,
        user=options.get("user"),
        connection=options.get("connection"),
        shape=Shape(
            select=options.get("select"),
            brief=options.get("view") == "brief",
            max_bytes=options.get("max_bytes", BUDGET),
            max_items=options.get("max_items"),
        ),
        idempotency_key=options.get("idempotency_key"),
        is_async=options.get("async", False),
        wait=None if wait is None else min(float(wait), ceiling),
        pages=MOST_PAGES if options.get("all", False) else None,
        is_fresh=options.get("fresh", False),
    )
