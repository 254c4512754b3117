"""Every example of the catalog, changed so that it is wrong: refused, and by the name of what was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from skills_catalog.loader import SHIPPED, load_catalog
from skills_catalog.model import Skill
from skills_catalog.validation import problems

CATALOG = load_catalog([SHIPPED])
#: One value of each JSON type; of those that a param does not take, any is wrong.
OF_TYPE: Mapping[str, Any] = {
    "object": {"no such member": 1},
    "array": [[[]]],
    "string": "no such value",
    "integer": -987654321,
    "number": 0.125,
    "boolean": True,
    "null": None,
}
#: What an enum does not have, by the type of what it has.
MISSES: Mapping[type, Any] = {str: "no such value", int: -987654321, float: 0.125}


def without_required(skill: Skill, params: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name in skill.input_schema.get("required", ()):
        yield {key: value for key, value in params.items() if key != name}, name


def of_wrong_types(skill: Skill, params: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name in params:
        taken = types_of(resolved(skill, skill.input_schema["properties"][name]), skill)
        if not taken:
            continue
        if "number" in taken:
            taken = taken | {"integer"}
        for kind in OF_TYPE.keys() - taken - ({"number"} if "integer" in taken else set()):
            yield {**params, name: OF_TYPE[kind]}, name
        if "integer" in taken and "number" not in taken:
            yield {**params, name: 0.5}, name


def with_enum_misses(skill: Skill, params: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, schema in skill.input_schema["properties"].items():
        schema = resolved(skill, schema)
        if options := schema.get("enum"):
            yield {**params, name: MISSES[type(next(one for one in options if one is not None))]}, name
        items = resolved(skill, schema.get("items", {}))
        if schema.get("type") == "array" and (options := items.get("enum")):
            yield {**params, name: [MISSES[type(options[0])]]}, name


def with_unknown(skill: Skill, params: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield {**params, "no_such_param": 1}, "no_such_param"
    if params:
        name = next(iter(params))
        typo = f"{name}x" if f"{name}x" not in skill.params else f"{name}xx"
        yield {**params, typo: params[name]}, typo


def resolved(skill: Skill, schema: Any) -> Mapping[str, Any]:
    """The schema that stands behind a `$ref` of the action's own `$defs`."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref", "")
    if not reference.startswith("#/$defs/"):
        return schema
    return resolved(skill, skill.input_schema["$defs"][reference.removeprefix("#/$defs/")])


def types_of(schema: Mapping[str, Any], skill: Skill) -> frozenset[str]:
    """The JSON types that a schema takes, by its own word or that of its forms; none where it does not say."""
    said = schema.get("type")
    if said is not None:
        return frozenset([said] if isinstance(said, str) else said)
    forms = [types_of(resolved(skill, form), skill) for form in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))]
    return frozenset().union(*forms) if forms and all(forms) else frozenset()


MUTATIONS = {
    "without a required param": without_required,
    "of a wrong type": of_wrong_types,
    "with an enum miss": with_enum_misses,
    "with an unknown param": with_unknown,
}


@pytest.mark.parametrize("slug", sorted(CATALOG.integrations))
def test_an_example_that_was_made_wrong_is_refused_by_the_name_of_what_is_wrong(slug: str) -> None:
    tried = 0
    for skill in CATALOG.integrations[slug].skills.values():
        for example in skill.examples:
            assert problems(skill, example.params) == [], skill.id
            for what, mutate in MUTATIONS.items():
                for params, name in mutate(skill, example.params):
                    found = problems(skill, params)
                    named = {problem.path.partition("/")[0] for problem in found}
                    assert named == {name}, (skill.id, what, name, found)
                    assert all(problem.message and problem.keyword for problem in found)
                    tried += 1
    # An unknown param at least, of every example.
    assert tried >= sum(len(skill.examples) for skill in CATALOG.integrations[slug].skills.values())
