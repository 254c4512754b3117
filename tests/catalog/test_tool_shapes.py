"""Every shipped action as a tool of every vendor, by the vendors' written rules; and what a schema becomes for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from skills_catalog.exporting.gemini_schemas import gemini_schema
from skills_catalog.exporting.schema_forms import Unsayable
from skills_catalog.exporting.strict_schemas import NotStrict, strict_schema
from skills_catalog.exporting.tool_arguments import as_taken
from skills_catalog.exporting.tool_names import LONGEST, tool_name
from skills_catalog.exporting.tool_shapes import FORMATS, Format, tool_of, why_not_strict
from skills_catalog.loader import SHIPPED, load_catalog, load_integration
from skills_catalog.model import Skill
from skills_catalog.validation import compile_schema

CATALOG = load_catalog([SHIPPED])
SHIPPED_SKILLS = [(one, skill) for one in CATALOG.integrations.values() for skill in one.skills.values()]
#: https://ai.google.dev/api/caching#Schema, but for what is there to be ignored.
GEMINI_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"}
GEMINI_WORDS = {
    *("type", "format", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties", "required"),
    *("minLength", "maxLength", "pattern", "minimum", "maximum", "anyOf"),
}
#: https://platform.openai.com/docs/guides/structured-outputs.
STRICT_WORDS = {
    *("type", "description", "enum", "anyOf", "properties", "required", "additionalProperties", "items"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
    *("pattern", "format"),
}


def tools(format: Format) -> dict[str, dict[str, Any]]:
    named = {tool_name(CATALOG, skill): (one, skill) for one, skill in SHIPPED_SKILLS}
    return {name: tool_of(one, skill, name, format) for name, (one, skill) in named.items()}


def nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for inner in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        yield from nodes(inner)
    if "items" in schema:
        yield from nodes(schema["items"])


@pytest.mark.parametrize("format", FORMATS)
def test_every_vendor_takes_the_names(format: Format) -> None:
    for name, tool in tools(format).items():
        assert tool.get("function", tool)["name"] == name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name) and len(name) <= LONGEST


def test_strict_schemas_keep_to_what_strict_mode_knows() -> None:
    strict = [tool["function"] for tool in tools("openai-strict").values() if tool["function"]["strict"]]
    assert len(strict) > 700
    for function in strict:
        for node in nodes(function["parameters"]):
            assert node.keys() <= STRICT_WORDS
            assert "type" in node or "anyOf" in node
            if "properties" in node:
                assert node["additionalProperties"] is False
                assert node["required"] == list(node["properties"])


def test_what_is_not_strict_says_why_and_keeps_its_whole_schema() -> None:
    for one, skill in SHIPPED_SKILLS:
        tool = tool_of(one, skill, "x", "openai-strict")["function"]
        assert tool["strict"] == (why_not_strict(skill) is None)
        if not tool["strict"]:
            assert re.fullmatch(r"(`[\w/\[\]]+` takes|Its examples have) .+\.", why_not_strict(skill) or "")
            assert tool["parameters"] == skill.input_schema


def test_openai_takes_the_descriptions() -> None:
    for format in ("openai", "openai-strict"):
        for tool in tools(format).values():
            assert 0 < len(tool["function"]["description"]) <= 1024


def test_anthropic_takes_the_schemas() -> None:
    for tool in tools("anthropic").values():
        schema = tool["input_schema"]
        assert schema["type"] == "object"
        assert not schema.keys() & {"anyOf", "oneOf", "allOf"}
        assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name) for name in schema["properties"])


def test_gemini_takes_the_schemas() -> None:
    said = {"parameters": 0, "parametersJsonSchema": 0, "none": 0}
    for tool in tools("gemini").values():
        if "parameters" not in tool:
            said["parametersJsonSchema" if "parametersJsonSchema" in tool else "none"] += 1
            continue
        said["parameters"] += 1
        for node in nodes(tool["parameters"]):
            assert node.keys() <= GEMINI_WORDS
            if "anyOf" in node:
                assert node.keys() == {"anyOf"}
                continue
            assert node["type"] in GEMINI_TYPES
            assert node.get("format", "enum") in {"enum", "date-time", "int32", "int64", "float", "double"}
            assert all(isinstance(value, str) and value for value in node.get("enum", ()))
            if node["type"] == "OBJECT":
                assert node["properties"] and set(node.get("required", ())) <= set(node["properties"])
                assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) for name in node["properties"])
            if node["type"] == "ARRAY":
                assert "items" in node
    assert said["parameters"] > 8 * said["parametersJsonSchema"] > 0 < said["none"]


def test_what_strict_mode_makes_a_model_say_is_taken_by_the_action() -> None:
    """Each example, with null for whatever it leaves out, fits the strict schema, and comes back as it was."""
    for _, skill in SHIPPED_SKILLS:
        if why_not_strict(skill) is not None:
            continue
        check = compile_schema(strict_schema(skill))
        for example in skill.examples:
            said = with_nulls(strict_schema(skill), dict(example.params))
            assert check.is_valid(said), skill.id
            assert as_taken(skill, said, drops_nulls=True) == example.params


def with_nulls(schema: Mapping[str, Any], value: Any) -> Any:
    """What a model says in strict mode: every member, null where it has nothing to say."""
    if isinstance(value, list):
        return [with_nulls(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    [shape] = [node for node in (schema, *schema.get("anyOf", ())) if "properties" in node][:1] or [{"properties": {}}]
    return {name: with_nulls(inner, value.get(name)) for name, inner in shape["properties"].items()}


# ------------------------------------------------------------------------------------------------- single schemas


def skill_with(params: str) -> Skill:
    return load_integration(
        f"""\
slug: sample
name: Sample
description: Something to make tools of.
base_url: https://sample.example
auth: [{{name: open, type: none}}]
actions:
  act:
    description: Take a param.
    request: POST /act
    effect: update
    params: {params}
    examples: [{{response: {{status: 200}}}}]
"""
    ).skills["act"]


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ("{type: string, required: true}", {"type": "string"}),
        ("{type: string}", {"type": ["string", "null"]}),
        (
            "{type: string, description: Its name., maxLength: 9, minLength: 1, default: x}",
            {
                "type": ["string", "null"],
                "description": "Its name. Left out, it is `x`. Characters at least: `1`. Characters at most: `9`.",
            },
        ),
        ("{enum: [a, b]}", {"type": ["string", "null"], "enum": ["a", "b", None]}),
        ("{type: integer, minimum: 1}", {"type": ["integer", "null"], "minimum": 1}),
        ("{type: string, format: uri}", {"type": ["string", "null"], "description": "Format: `uri`."}),
        ("{type: string, format: date}", {"type": ["string", "null"], "format": "date"}),
        ("{type: [string, integer], maximum: 3}",
         {"anyOf": [{"type": "string"}, {"type": "integer", "maximum": 3}, {"type": "null"}]}),
        ("{type: [string, 'null'], required: true}", {"type": ["string", "null"]}),
        ("{type: array, items: {type: [string, 'null']}, required: true}",
         {"type": "array", "items": {"type": ["string", "null"]}}),
        ("{const: 3, required: true}", {"type": "integer", "enum": [3]}),
    ],
)  # fmt: skip
def test_a_param_becomes_strict(schema: str, strict: Any) -> None:
    if schema.startswith("{const"):
        # A constant of the definition is no param; one of a schema stands within one.
        schema = "{type: array, items: {const: 3}, required: true}"
        strict = {"type": "array", "items": strict}
    assert strict_schema(skill_with(f"{{a: {schema}}}"))["properties"]["a"] == strict


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{type: object}", "`a` takes members of any name."),
        ("{type: object, properties: {b: {type: string}}, additionalProperties: true}", "`a` takes members of any name."),
        ("{type: object, properties: {b: {type: object}}}", "`a/b` takes members of any name."),
        ("{type: array}", "`a` takes items of any kind."),
        ("{description: Anything.}", "`a` takes any value."),
        ("{type: [string, 'null']}", "`a` takes null for something other than being left out."),
        ("{type: string, not: {const: x}}", "`a` has `not`."),
        ("{type: array, items: {allOf: [{type: string}]}}", "`a/[]` has `allOf`."),
        ("{type: object, anyOf: [{required: [b]}], properties: {b: {type: string}}}",
         "`a` has conditions beside its alternatives."),
    ],
)  # fmt: skip
def test_what_cannot_be_strict_says_where_and_why(schema: str, why: str) -> None:
    skill = skill_with(f"{{a: {schema}}}")
    with pytest.raises(NotStrict, match=re.escape(why)):
        strict_schema(skill)
    assert why_not_strict(skill) == why


def test_an_object_too_deep_is_not_strict() -> None:
    deep = "{type: string}"
    for _ in range(11):
        deep = f"{{type: object, properties: {{b: {deep}}}}}"
    with pytest.raises(NotStrict, match="nested more than 10 deep"):
        strict_schema(skill_with(f"{{a: {deep}}}"))


def test_too_many_values_are_not_strict() -> None:
    values = ", ".join(f"v{number}" for number in range(501))
    with pytest.raises(NotStrict, match="more than 1000 values"):
        strict_schema(skill_with(f"{{a: {{enum: [{values}]}}, b: {{enum: [{values}]}}}}"))


@pytest.mark.parametrize(
    ("schema", "gemini"),
    [
        ("{type: string, format: uri}", {"type": "STRING", "description": "Format: `uri`."}),
        ("{enum: [1, 2]}", {"type": "INTEGER", "description": "One of `1`, `2`."}),
        ("{enum: ['', a]}", {"type": "STRING", "description": "One of ``, `a`."}),
        ("{type: [string, 'null'], description: Who.}", {"type": "STRING", "description": "Who.", "nullable": True}),
        ("{type: [string, integer, 'null']}",
         {"anyOf": [{"type": "STRING", "nullable": True}, {"type": "INTEGER", "nullable": True}]}),
        ("{type: number, exclusiveMinimum: 0}", {"type": "NUMBER", "description": "More than: `0`."}),
    ],
)  # fmt: skip
def test_a_param_becomes_geminis(schema: str, gemini: Any) -> None:
    made = gemini_schema(skill_with(f"{{a: {schema}}}"))
    assert made == {"type": "OBJECT", "properties": {"a": gemini}}


def test_no_params_are_no_schema_for_gemini_and_free_ones_json_schema() -> None:
    assert gemini_schema(skill_with("{}")) is None
    free = skill_with("{a: {type: object}}")
    with pytest.raises(Unsayable):
        gemini_schema(free)
