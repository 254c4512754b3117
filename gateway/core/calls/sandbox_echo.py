"""Makes an example's answer agree with the call: what the call named otherwise stands otherwise in the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skills_catalog.model import Example, Param, Skill

#: A text of so many letters is the param's wherever it stands; a shorter one only under the param's name.
_TELLING = 3
#: What a list of things calls the one word that a caller names each by.
_NAMED_BY = ("name", "login", "id", "key", "email", "title", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swap:
    """A value of the example's call that this call has another of."""

    names: frozenset[str]
    before: Any
    now: Any


def agreeing(skill: Skill, example: Example, params: Mapping[str, Any]) -> Any:
    """The example's data, with the call's values where it has the example's own.

    Numbers change under a name that belongs to the param; texts also where they fill a value or a segment of a path.
    """
    swaps = [
        _Swap(names=names_of(skill, name), before=before, now=params[name])
        for name, before in example.params.items()
        if name in params and not same(before, params[name])
    ]
    return _swapped(example.data, "", swaps) if swaps else example.data


def names_of(skill: Skill, name: str) -> frozenset[str]:
    """How a param may be called in an answer: as callers say it, and as the wire does."""
    param = skill.params.get(name)
    return frozenset({name, param.wire[-1]} if param and param.wire else {name})


def same(one: Any, other: Any) -> bool:
    """Whether two scalars are equal as a path has them; `true` is no 1."""
    if isinstance(one, bool) or isinstance(other, bool) or not (is_scalar(one) and is_scalar(other)):
        return type(one) is type(other) and bool(one == other)
    return str(one) == str(other)


def is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _swapped(value: Any, key: str, swaps: Sequence[_Swap]) -> Any:
    if isinstance(value, dict):
        return {name: _swapped(member, name, swaps) for name, member in value.items()}
    if isinstance(value, list):
        under = next((swap for swap in swaps if key in swap.names and swap.before == value), None)
        return under.now if under else [_swapped(item, key, swaps) for item in value]
    for swap in swaps:
        if not is_scalar(value) or not is_scalar(swap.before) or not is_scalar(swap.now):
            if key in swap.names and type(value) is type(swap.now) and value == swap.before:
                return swap.now
        elif same(value, swap.before) and (_belongs(key, swap.names) or _is_telling(value)):
            return alike(value, swap.now)
        elif isinstance(value, str) and "/" in value and not re.search(r"\s", value):
            value = _in_path(value, str(swap.before), str(swap.now))
    return value


def _belongs(key: str, names: frozenset[str]) -> bool:
    return any(key == name or name.endswith(f"_{key}") or key.endswith(f"_{name}") for name in names)


def _is_telling(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= _TELLING


def alike(before: Any, now: Any) -> Any:
    """The new value in the type of the old one, where it can be."""
    if isinstance(before, str):
        return str(now)
    if isinstance(before, int) and isinstance(now, str) and re.fullmatch(r"-?\d{1,18}", now):
        return int(now)
    return now


def _in_path(text: str, before: str, now: str) -> str:
    """The text with whole segments of a path exchanged: `…/acme/webapp/issues/7`."""
    pattern = rf"(?<![^/?#=&]){re.escape(before)}(?![^/?#&])"
    return re.sub(pattern, lambda _: now, text) if before else text


def given(skill: Skill, params: Mapping[str, Any]) -> dict[str, Any]:
    """What a call says of the thing itself: its params that are no part of the address, by their names on the wire."""
    if skill.request.method == "DELETE":
        # It says what is to be gone.
        return {}
    return {
        wire_name(skill.params[name]): value
        for name, value in params.items()
        if name in skill.params and skill.params[name].location not in ("path", "header", "file")
    }


def wire_name(param: Param) -> str:
    return param.wire[-1] if param.wire else param.name


def put_given(thing: Mapping[str, Any], skill: Skill, example: Example, params: Mapping[str, Any]) -> dict[str, Any]:
    """An object of an answer to a write, with what the call said under the names that the object has.

    What only the example's call said is not repeated to somebody who did not say it.
    """
    put = dict(thing)
    said = given(skill, params)
    unsaid = {
        name: value
        for name, value in given(skill, example.params).items()
        if name not in said and name in put and _says(put[name], value)
    }
    for name, value in unsaid.items():
        if not isinstance(value, dict):
            put[name] = [] if isinstance(value, list) else None
    for name, value in said.items():
        if name in put and name not in example_values(skill, example, params):
            put[name] = fitted(put[name], value)
    return put


def _says(shown: Any, value: Any) -> bool:
    """Whether what an answer shows is what the call said, things by their names included."""
    if isinstance(shown, list) and isinstance(value, list) and len(shown) == len(value) > 0:
        return all(
            one == other or (isinstance(one, dict) and other in [one.get(name) for name in _NAMED_BY])
            for one, other in zip(shown, value, strict=True)
        )
    return bool(shown == value)


def example_values(skill: Skill, example: Example, params: Mapping[str, Any]) -> frozenset[str]:
    """The names under which the call says just what the example's does: there the example's answer is right."""
    said, shown = given(skill, params), given(skill, example.params)
    return frozenset(name for name, value in said.items() if name in shown and shown[name] == value)


def fitted(before: Any, now: Any) -> Any:
    """The new value where it can stand in the old one's place, else the old one.

    Words become the things that a list has by that name.
    """
    if before is None or now is None:
        return now
    if isinstance(before, list) and isinstance(now, list):
        things = [item for item in before if isinstance(item, dict)]
        if not now or not before or isinstance(now[0], dict) == bool(things):
            return now
        if not things or not all(is_scalar(item) for item in now):
            return before
        name = next((one for one in _NAMED_BY if one in things[0]), None)
        return before if name is None else [{name: item} for item in now]
    if is_scalar(before) and is_scalar(now):
        if isinstance(before, str) == isinstance(now, str):
            return now
        return alike(before, now) if same(alike(before, now), now) else before
    return now if type(before) is type(now) else before


def objects_in(data: Any, depth: int = 3) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The objects of an answer with the way to each, outer ones first; those in lists are not among them."""
    open_objects: list[tuple[tuple[str, ...], Any]] = [((), data)]
    for path, value in open_objects:
        if isinstance(value, dict):
            yield path, value
            if len(path) < depth:
                open_objects += [((*path, name), member) for name, member in value.items()]


def at(data: Any, path: Sequence[str]) -> Any:
    """What stands there, or None."""
    for name in path:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def replaced(data: Any, path: Sequence[str], value: Any) -> Any:
    """The data with another value at that place."""
    if not path:
        return value
    return {**data, path[0]: replaced(data[path[0]], path[1:], value)}
