"""Which calls a person has to approve first: by what they do to the world, or by what stands in their params."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import jmespath
from jmespath.exceptions import JMESPathError

from gateway.patterns import fits, is_pattern, touches
from skills_catalog.model import Effect, Skill

EFFECTS: tuple[Effect, ...] = get_args(Effect)
#: Most conditions of one rule, and letters of one of their expressions.
MOST_CONDITIONS, LONGEST_EXPRESSION = 50, 500


class RuleMistake(ValueError):
    """A rule that cannot be meant; `path` says where in it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Condition:
    """Calls of the actions that `action` covers, where the params make `expression` (JMESPath) true; None is always."""

    action: str
    expression: str | None = None

    def holds(self, action_id: str, params: Mapping[str, Any]) -> bool:
        if not fits(action_id, (self.action,)):
            return False
        if self.expression is None:
            return True
        try:
            found = jmespath.search(self.expression, params)
        except (JMESPathError, TypeError, ValueError):
            # Of what cannot be judged a person judges.
            return True
        # JMESPath's truth: zero is a value, emptiness is none.
        return found is not None and found is not False and found not in ("", [], {})


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """What has to be approved: every call of these effects, and whatever one of the conditions holds for."""

    effects: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()

    def asks(self, action_id: str, effect: str, params: Mapping[str, Any]) -> bool:
        return effect in self.effects or any(condition.holds(action_id, params) for condition in self.when)

    def asks_before_hatch(self, hatch: Skill, params: Mapping[str, Any]) -> bool:
        """The same of the escape hatch: a request that changes something may have any effect but `read`.

        A condition about other actions of the integration holds, for theirs are not the params at hand.
        """
        if hatch.effect in self.effects or (hatch.effect != "read" and any(effect != "read" for effect in self.effects)):
            return True
        return any(
            condition.holds(hatch.id, params)
            if condition.action == hatch.id
            else touches(hatch.integration, (condition.action,))
            for condition in self.when
        )

    def and_also(self, other: ApprovalRule) -> ApprovalRule:
        """What either of the two asks for."""
        return ApprovalRule(
            tuple(dict.fromkeys((*self.effects, *other.effects))), tuple(dict.fromkeys((*self.when, *other.when)))
        )

    def to_json(self) -> dict[str, Any]:
        when = [
            {"action": each.action, **({"if": each.expression} if each.expression is not None else {})}
            for each in self.when
        ]
        return {"effects": list(self.effects), "when": when}

    def __bool__(self) -> bool:
        return bool(self.effects or self.when)


#: Nothing has to be approved.
NONE = ApprovalRule()


def read_rule(value: Any) -> ApprovalRule:
    """A rule as operators and clients write it: `{effects, when: [{action, if}]}`. Raises `RuleMistake`."""
    _only(value, (), ("effects", "when"))
    effects, when = value.get("effects") or [], value.get("when") or []
    if not isinstance(effects, list) or not all(effect in EFFECTS for effect in effects):
        raise RuleMistake(("effects",), f"expected a list of some of {', '.join(EFFECTS)}")
    if not isinstance(when, list) or len(when) > MOST_CONDITIONS:
        raise RuleMistake(("when",), f"expected a list of at most {MOST_CONDITIONS} conditions")
    return ApprovalRule(
        tuple(dict.fromkeys(effects)), tuple(_condition(each, ("when", at)) for at, each in enumerate(when))
    )


def _condition(value: Any, at: tuple[str | int, ...]) -> Condition:
    _only(value, at, ("action", "if"))
    action, expression = value.get("action"), value.get("if")
    if not is_pattern(action):
        raise RuleMistake((*at, "action"), "expected an action such as `github.create_issue` or `github.*`")
    if expression is not None:
        if not isinstance(expression, str) or not 0 < len(expression) <= LONGEST_EXPRESSION:
            raise RuleMistake((*at, "if"), f"expected JMESPath of at most {LONGEST_EXPRESSION} letters")
        try:
            jmespath.compile(expression)
        except JMESPathError as error:
            raise RuleMistake((*at, "if"), f"is not JMESPath: {str(error).splitlines()[0][:200]}") from None
    return Condition(action, expression)


def _only(value: Any, at: tuple[str | int, ...], known: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise RuleMistake(at, f"expected a mapping of {' and '.join(known)}")
    for key in value:
        if key not in known:
            raise RuleMistake((*at, str(key)[:64]), f"is unknown; known here: {', '.join(known)}")
