"""How much an org may use: the plans of `skills.yaml`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.approval_rules import NONE, ApprovalRule, RuleMistake, read_rule
from gateway.patterns import is_pattern, lets_through
from skills_catalog.names import nearest
from skills_catalog.strict_yaml import Document

#: What an operator can also set for one org alone.
NUMBERS = ("requests_per_minute", "calls_per_day", "connections", "api_keys", "credits_per_month")
_KEYS = (*NUMBERS, "overage", "windows", "allow", "deny", "approval")
_WINDOWS = {"per_minute": 60, "per_hour": 3600, "per_day": 86400}
_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) /[\w/{}.-]*")


class PlanMistake(ValueError):
    """A plan that cannot be meant; `path` says where in `plans.<name>` it goes wrong."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` uses a key in each stretch of `seconds`, aligned to the UTC clock."""

    #: A pattern of actions, or `POST /v1/connect`: a method and a route of ours.
    what: str
    limit: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Limits of an org; None is no limit. Requests a minute and windows count per key, all else per org."""

    name: str | None = None
    requests_per_minute: int | None = None
    #: Executed calls from midnight to midnight, UTC.
    calls_per_day: int | None = None
    connections: int | None = None
    api_keys: int | None = None
    #: Credits of a calendar month, UTC.
    credits_per_month: int | None = None
    #: Credits that may be spent beyond those of the month; None is no end.
    overage: int | None = 0
    #: What they cost, in the operator's words.
    overage_rate: str | None = None
    #: Windows of actions, whose pattern may cover several together.
    windows: tuple[Window, ...] = ()
    #: Windows of routes, by `POST /v1/connect`.
    routes: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    #: Patterns of the only actions that the plan holds, and of those that it does not.
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    #: Calls that a person has to approve first.
    approval: ApprovalRule = NONE

    def holds(self, action_id: str) -> bool:
        """Whether `integration.action` belongs to the plan."""
        return lets_through(action_id, self.allow, self.deny)

    def with_numbers(self, numbers: Mapping[str, int | None]) -> Plan:
        """The plan as it is for an org that has numbers of its own."""
        return replace(self, **numbers) if numbers else self  # type: ignore[arg-type]


#: An org without a plan.
UNLIMITED = Plan()


def read_plan(document: Document, name: str) -> Plan:
    """The plan under `plans.<name>` of `skills.yaml`. Raises `PlanMistake`."""
    spec = document.value["plans"][name] or {}
    if not isinstance(spec, dict):
        raise PlanMistake((), "expected a mapping")
    for key in spec:
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(_KEYS)}"
            raise PlanMistake((key,), f"unknown key {key!r}; {hint}")
    overage = _mapping(spec, "overage", ("credits", "rate"))
    windows = _windows(spec)
    routes: dict[str, tuple[Window, ...]] = {}
    for window in windows:
        if "/" in window.what:
            routes[window.what] = (*routes.get(window.what, ()), window)
    return Plan(
        name=name,
        **{number: _number(spec.get(number), (number,)) for number in NUMBERS},
        overage=_number(overage.get("credits"), ("overage", "credits")) if overage else 0,
        overage_rate=_text(overage.get("rate"), ("overage", "rate")),
        windows=tuple(window for window in windows if "/" not in window.what),
        routes=routes,
        allow=_patterns(spec, "allow"),
        deny=_patterns(spec, "deny") or (),
        approval=_approval(spec),
    )


def read_number(text: str) -> int | None:
    """A limit as an operator types it: a whole number, or `null`. Raises `ValueError`."""
    if text in ("null", "none", ""):
        return None
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError("a whole number, or null for no limit")
    return int(text)


def _windows(spec: Mapping[str, Any]) -> tuple[Window, ...]:
    found = []
    for what, limits in _mapping(spec, "windows").items():
        at = ("windows", what)
        if not (is_pattern(what) or _ROUTE.fullmatch(what)):
            message = "expected an action such as `github.create_issue`, or a route such as `POST /v1/connect`"
            raise PlanMistake(at, message)
        if not isinstance(limits, dict) or not limits or limits.keys() - _WINDOWS.keys():
            raise PlanMistake(at, f"expected some of {', '.join(_WINDOWS)}, each with a number")
        for per, value in limits.items():
            limit = _number(value, (*at, per))
            if limit is not None:
                found.append(Window(what, limit, _WINDOWS[per]))
    return tuple(found)


def _mapping(spec: Mapping[str, Any], key: str, known: tuple[str, ...] = ()) -> dict[str, Any]:
    value = spec.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or (known and value.keys() - set(known)):
        raise PlanMistake((key,), f"expected a mapping of {', '.join(known)}" if known else "expected a mapping")
    return value


def _approval(spec: Mapping[str, Any]) -> ApprovalRule:
    try:
        return read_rule(spec.get("approval") or {})
    except RuleMistake as wrong:
        raise PlanMistake(("approval", *wrong.path), str(wrong)) from None


def _number(value: Any, at: tuple[str | int, ...]) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise PlanMistake(at, "expected a whole number, or null for no limit")
    return value


def _text(value: Any, at: tuple[str | int, ...]) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PlanMistake(at, "expected text")
    return value


def _patterns(spec: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = spec.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(is_pattern, value)):
        raise PlanMistake((key,), "expected a list of actions such as `github.create_issue` or `github.*`")
    return tuple(value)
