"""What a definition's `resource` says of things that persist: which actions are about one, and what it is known by.

All of it is read off the examples: where an action's answer has the value of one of its params, that is what things of
its kind are known by (`issue_number: 7` and `number: 7`). A kind whose examples do not show that has no memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.core.calls.sandbox_echo import is_scalar, objects_in, same
from skills_catalog.model import Example, Integration, Skill, Variable

Role = Literal["create", "get", "update", "delete", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one action does to things of a kind."""

    role: Role
    #: The param that names the thing; None for those that make one or list them.
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of thing of one integration."""

    name: str
    #: The member of a thing that it is known by.
    known_by: str
    parts: Mapping[str, Part]
    #: Params that say where things are: a thing of one repository is not found in another.
    places: frozenset[str]


def kind_of(integration: Integration, skill: Skill) -> Kind | None:
    """The kind of thing that an action is about, where such things can be remembered."""
    if skill.resource is None:
        return None
    if "sandbox" not in skill.compiled:
        skills = [one for one in integration.skills.values() if one.resource == skill.resource]
        kind = _kind(skill.resource, skills)
        for one in skills:
            one.compiled["sandbox"] = kind
    found: Kind | None = skill.compiled["sandbox"]
    return found if found is not None and skill.name in found.parts else None


def _kind(name: str, skills: Sequence[Skill]) -> Kind | None:
    votes: Counter[tuple[str, str]] = Counter()
    for skill in skills:
        for example in _answered(skill):
            for param, member in _named(skill, example):
                # What reads a thing by its name knows best what that is.
                votes[param, member] += 3 if skill.effect == "read" else 1
    if not votes:
        return None
    known_by = max(votes, key=lambda pair: votes[pair])[1]
    names = {param for param, member in votes if member == known_by}
    parts = {skill.name: part for skill in skills if (part := _part(skill, known_by, names)) is not None}
    if not any(part.role == "create" for part in parts.values()):
        return None
    things = {part.param for part in parts.values()}
    places = {place for skill in skills for place in _places(skill)} - things
    return Kind(name=name, known_by=known_by, parts=parts, places=frozenset(place for place in places if place))


def _part(skill: Skill, known_by: str, names: set[str]) -> Part | None:
    if skill.effect == "create" and any(thing_path(example.data, known_by) is not None for example in _answered(skill)):
        return Part(role="create")
    if skill.effect == "read" and any(list_path(example.data, known_by) is not None for example in _answered(skill)):
        return Part(role="list")
    param = next((one for one in _naming(skill) if one in names), None)
    if param is None:
        return None
    if skill.effect == "delete":
        return Part(role="delete", param=param)
    if skill.effect == "create" or not any(thing_path(one.data, known_by) is not None for one in _answered(skill)):
        return None
    return Part(role="get" if skill.effect == "read" else "update", param=param)


def thing_path(data: Any, known_by: str) -> tuple[str, ...] | None:
    """The way to the thing in an answer: the outermost object that has what things are known by."""
    return next((path for path, found in objects_in(data) if is_scalar(found.get(known_by))), None)


def list_path(data: Any, known_by: str) -> tuple[str, ...] | None:
    """The way to the things in an answer that lists some."""
    if _lists(data, known_by):
        return ()
    for path, found in objects_in(data):
        if is_scalar(found.get(known_by)):
            return None
        for name, value in found.items():
            if _lists(value, known_by):
                return (*path, name)
    return None


def _lists(value: Any, known_by: str) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and known_by in one for one in value)


def _answered(skill: Skill) -> Iterable[Example]:
    return (example for example in skill.examples if 200 <= example.status < 300)


def _naming(skill: Skill) -> list[str]:
    """The params that may name a thing: of a path the last one first, then what must be given."""
    in_path = [piece.name for segment in skill.request.segments for piece in segment if isinstance(piece, Variable)]
    needed = [name for name in skill.input_schema.get("required", ()) if name not in in_path]
    return [name for name in (*reversed(in_path), *needed) if name in skill.params]


def _named(skill: Skill, example: Example) -> Iterable[tuple[str, str]]:
    """A param and the member of the answer that has its value."""
    if skill.effect == "create":
        return
    for param in _naming(skill):
        value = example.params.get(param)
        if not is_scalar(value) or value == "":
            continue
        for _, found in objects_in(example.data):
            if (member := next((name for name, one in found.items() if is_scalar(one) and same(one, value)), None)) is not None:
                yield param, member
                return


def _places(skill: Skill) -> Iterable[str]:
    for segment in skill.request.segments:
        yield from (piece.name for piece in segment if isinstance(piece, Variable) and not piece.is_field)
    if skill.effect in ("read", "delete"):
        yield from skill.input_schema.get("required", ())
