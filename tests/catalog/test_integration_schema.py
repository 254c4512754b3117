"""The schema that editors complete from says the same as the loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from skills_catalog.auth_methods import ONLY_FOR
from skills_catalog.model import AuthMethod, Skill
from skills_catalog.shape import integration_schema

SCHEMA = integration_schema()
PLACING = {"in", "as", "required", "whole", "explode", "style", "encode", "content_type", "member", "spread", "const"}


def test_the_schema_is_a_schema_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_param_takes_every_keyword_of_a_schema_and_says_where_it_goes() -> None:
    keywords = set(SCHEMA["$defs"]["schema"]["properties"])

    assert set(SCHEMA["$defs"]["param"]["properties"]) == keywords | PLACING
    assert set(SCHEMA["$defs"]["input"]["properties"]) == keywords | {"$defs"}


def test_objects_are_closed_or_maps_so_that_a_typo_is_a_mistake() -> None:
    open_objects = [
        path
        for path, node in _nodes(SCHEMA, "#")
        if node.get("type") == "object" and "properties" in node and node.get("additionalProperties") is not False
    ]

    # What an example sends may be anything; the action's own schema judges it.
    assert open_objects == []


def test_every_key_of_an_auth_method_and_an_action_reaches_the_model() -> None:
    method = set(SCHEMA["$defs"]["auth"]["properties"]) - {"in", "as", "prefix", "value"}
    action = set(SCHEMA["$defs"]["action"]["properties"]) - {"input", "style", "wrap"}

    assert method <= set(AuthMethod.__dataclass_fields__)
    assert action <= set(Skill.__dataclass_fields__)
    assert set(ONLY_FOR) <= set(SCHEMA["$defs"]["auth"]["properties"])


def test_every_property_that_people_write_has_a_title_or_a_description() -> None:
    bare = [
        f"{where}.{name}"
        for where, node in (
            ("integration", SCHEMA),
            ("auth", SCHEMA["$defs"]["auth"]),
            ("action", SCHEMA["$defs"]["action"]),
        )
        for name, part in node["properties"].items()
        if not ({"title", "description"} & set(_resolved(part)))
    ]

    assert bare == []


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(node.get("$ref", "")).rpartition("/")[2]
    return {**SCHEMA["$defs"].get(name, {}), **node}


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, Mapping):
        yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{path}/{index}")
