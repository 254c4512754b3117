"""What is wrong with a call's params: the same as a second validator finds, in words that repeat no value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from jsonschema_rs import ReferencingError, ValidationError

from skills_catalog import validation
from skills_catalog.loader import load_integration
from skills_catalog.model import Problem, Skill
from skills_catalog.schemas import check_schema, check_size
from skills_catalog.validation import compile_schema, keyword_of, problems
from tests.catalog.notes import NOTES

SKILLS = load_integration(NOTES).skills


def with_params(params: str) -> Skill:
    """A skill whose params are these lines of YAML."""
    text = f"""\
slug: sample
name: Sample
description: Something to check params with.
base_url: https://sample.example
auth: [{{name: open, type: none}}]
actions:
  act:
    description: Take the params.
    request: POST /act
    effect: update
    params: {params}
    examples: [{{response: {{status: 200}}}}]
"""
    return load_integration(text).skills["act"]


def only(skill: Skill, params: Mapping[str, Any]) -> Problem:
    found = problems(skill, params)
    assert len(found) == 1, found
    return found[0]


def test_params_that_fit_have_no_problems() -> None:
    assert problems(SKILLS["create_note"], {"title": "Milk", "author": "Ada"}) == []


def test_the_schema_is_compiled_once_for_a_skill(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    skill = with_params("{a: {type: string}}")

    def counting(schema: Mapping[str, Any]) -> object:
        compiled.append(schema)
        return compile_schema(schema)

    monkeypatch.setattr(validation, "compile_schema", counting)
    for _ in range(3):
        problems(skill, {"a": 1})

    assert compiled == [skill.input_schema]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tilte", "title"),
        ("titel", "title"),
        ("Title", "title"),
        ("titles", "title"),
        ("ttle", "title"),
        ("autor", "author"),
        ("author_name", "author"),
        ("zzz", None),
        ("x" * 300, None),
    ],
)
def test_an_unknown_param_is_refused_with_the_nearest_one(typed: str, meant: str | None) -> None:
    problem = only(SKILLS["create_note"], {"title": "Milk", typed: 1})

    assert problem.suggestion == meant
    assert problem.keyword == "additionalProperties"
    assert problem.path == typed[:64] + ("…" if len(typed) > 64 else "")
    assert f"is not a param of notes.create_note.{f' Did you mean {meant}?' if meant else ''}" in problem.message


def test_an_injected_name_is_an_unknown_param() -> None:
    assert only(SKILLS["list_notes"], {"format": "brief"}).message == "format is not a param of notes.list_notes."


@pytest.mark.parametrize(
    ("params", "given", "path", "keyword", "message"),
    [
        ("{a: {type: string, required: true}}", {}, "a", "required", "a is missing."),
        ("{a: {type: string}}", {"a": 1}, "a", "type", "a must be a string, not a number."),
        ("{a: {type: string}}", {"a": None}, "a", "type", "a must be a string, not null."),
        ("{a: {type: integer}}", {"a": "1"}, "a", "type", "a must be a whole number, not a string."),
        ("{a: {type: integer}}", {"a": 1.5}, "a", "type", "a must be a whole number, not a number with decimals."),
        ("{a: {type: boolean}}", {"a": {}}, "a", "type", "a must be true or false, not an object."),
        ("{a: {type: [string, 'null']}}", {"a": []}, "a", "type", "a must be a string or null, not an array."),
        (
            "{a: {type: array, items: {type: string}}}",
            {"a": ["b", 2]},
            "a/1",
            "type",
            "a/1 must be a string, not a number.",
        ),
        ("{a: {enum: [x, 2, null]}}", {"a": 3}, "a", "enum", "a must be one of x, 2, null."),
        ("{a: {minimum: 2}}", {"a": 1}, "a", "minimum", "a must be at least 2."),
        ("{a: {maximum: 2}}", {"a": 3}, "a", "maximum", "a must be at most 2."),
        ("{a: {exclusiveMinimum: 2}}", {"a": 2}, "a", "exclusiveMinimum", "a must be greater than 2."),
        ("{a: {exclusiveMaximum: 2}}", {"a": 2}, "a", "exclusiveMaximum", "a must be less than 2."),
        ("{a: {multipleOf: 3}}", {"a": 4}, "a", "multipleOf", "a must be a multiple of 3."),
        ("{a: {minLength: 1}}", {"a": ""}, "a", "minLength", "a must not be empty."),
        ("{a: {minLength: 3}}", {"a": "x"}, "a", "minLength", "a must have at least 3 characters."),
        ("{a: {maxLength: 1}}", {"a": "xy"}, "a", "maxLength", "a must have at most 1 character."),
        ("{a: {minItems: 1}}", {"a": []}, "a", "minItems", "a must have at least 1 item."),
        ("{a: {maxItems: 2}}", {"a": [1, 2, 3]}, "a", "maxItems", "a must have at most 2 items."),
        ("{a: {minProperties: 1}}", {"a": {}}, "a", "minProperties", "a must have at least 1 property."),
        (
            "{a: {maxProperties: 2}}",
            {"a": {"x": 1, "y": 2, "z": 3}},
            "a",
            "maxProperties",
            "a must have at most 2 properties.",
        ),
        (
            "{a: {uniqueItems: true, maxItems: 9}}",
            {"a": [1, 1]},
            "a",
            "uniqueItems",
            "a must not hold the same item twice.",
        ),
        ("{a: {pattern: '^x$'}}", {"a": "y"}, "a", "pattern", "a must match the pattern ^x$."),
        ("{a: {pattern: '^x$'}}", {"a": "x\n"}, "a", "pattern", "a must match the pattern ^x$."),
        ("{a: {format: date-time}}", {"a": "today"}, "a", "format", "a must have the format date-time."),
        ("{a: {format: email}}", {"a": "ada"}, "a", "format", "a must have the format email."),
        ("{a: {not: {type: string}}}", {"a": "x"}, "a", "not", "a must not have this form."),
        (
            "{a: {propertyNames: {maxLength: 1}}}",
            {"a": {"xy": 1}},
            "a",
            "propertyNames",
            "a holds a name that is not allowed.",
        ),
        ("{a: {properties: {b: false}}}", {"a": {"b": 1}}, "a/b", "false", "a/b is not allowed here."),
        (
            "{a: {properties: {b: {}}, additionalProperties: false}}",
            {"a": {"B": 1}},
            "a/B",
            "additionalProperties",
            "a/B is not a property that is allowed here. Did you mean b?",
        ),
        (
            "{a: {properties: {'x/y~': {type: string}}}}",
            {"a": {"x/y~": 1}},
            "a/x~1y~0",
            "type",
            "a/x~1y~0 must be a string, not a number.",
        ),
        (
            "{a: {anyOf: [{type: string}, {type: array}]}}",
            {"a": 1},
            "a",
            "anyOf",
            "a has none of the allowed forms: must be a string, not a number; or must be an array, not a number.",
        ),
        (
            "{a: {oneOf: [{minimum: 1}, {maximum: 9}]}}",
            {"a": 5},
            "a",
            "oneOf",
            "a fits more than one of the forms of which it may have one.",
        ),
        ("{a: {dependentRequired: {x: [y]}}}", {"a": {"x": 1}}, "a/y", "dependentRequired", "a/y is missing."),
        ("{a: {contains: {const: 1}}}", {"a": [2]}, "a", "contains", "a must hold the items that the schema asks for."),
        (
            "{a: {type: array, prefixItems: [{}], items: false}}",
            {"a": [1, 2]},
            "a/1",
            "false",
            "a/1 is not allowed here.",
        ),
    ],
)
def test_each_keyword_has_its_words(params: str, given: dict[str, Any], path: str, keyword: str, message: str) -> None:
    assert only(with_params(params), given) == Problem(
        path=path, keyword=keyword, message=message, suggestion="b" if path == "a/B" else None
    )


def test_a_value_that_is_nearly_one_of_the_allowed_is_corrected() -> None:
    problem = only(SKILLS["list_notes"], {"folder": "x", "order": "newset"})

    assert problem.suggestion == "newest"
    assert problem.message == "order must be one of newest, oldest. Did you mean newest?"


def test_problems_come_in_the_order_of_their_paths() -> None:
    skill = with_params(
        "{b: {type: array, items: {type: string}}, a: {type: string}, c: {type: string, required: true}}"
    )

    found = problems(skill, {"b": [*range(12)], "a": 1, "d": 1})

    assert [problem.path for problem in found] == ["a", *[f"b/{n}" for n in range(12)], "c", "d"]


@pytest.mark.parametrize(
    "params",
    [
        "{a: {type: integer}}",
        "{a: {enum: [x]}}",
        "{a: {const: sent}, b: {type: string}}",
        "{a: {maxLength: 3}}",
        "{a: {pattern: '^x$'}}",
        "{a: {format: uuid}}",
        "{a: {anyOf: [{type: integer}, {maxLength: 2}]}}",
        "{a: {not: {}}}",
    ],
)
def test_no_message_repeats_a_value(params: str) -> None:
    secret = "sk_live_planted_9f8e7d6c5b4a"

    found = problems(with_params(params), {"a": secret})

    assert found
    assert secret not in repr(found)


def test_long_names_are_cut() -> None:
    (problem, _) = problems(SKILLS["create_note"], {"x" * 100_000: 1})

    assert len(problem.message) < 200
    assert len(problem.path) < 100


def test_params_that_cannot_be_walked_are_a_problem_too() -> None:
    nested: list[Any] = []
    for _ in range(2000):
        nested = [nested]

    for params in ({"title": nested}, {"title": "x", "\ud800": 1}):
        assert only(SKILLS["create_note"], params).keyword == "depth"


class CountingCheck:
    """A validator, with a count of how often all errors were asked for."""

    def __init__(self, skill: Skill) -> None:
        self._check = compile_schema(skill.input_schema)
        self.all_asked = 0

    def is_valid(self, value: Any) -> bool:
        return self._check.is_valid(value)

    def validate(self, value: Any) -> None:
        self._check.validate(value)

    def iter_errors(self, value: Any) -> Iterator[ValidationError]:
        self.all_asked += 1
        return self._check.iter_errors(value)


@pytest.mark.parametrize(
    "large",
    [
        {"a": [1] * 100_000},
        {"a": [[1] * 10] * 1000},
        {f"name{n}": 1 for n in range(100_000)},
        {"a": {f"name{n}": 1 for n in range(5000)}},
    ],
)
def test_of_large_params_only_the_first_problem_is_looked_for(large: dict[str, Any]) -> None:
    skill = with_params("{a: {type: array, items: {type: string}}}")
    check = CountingCheck(skill)
    skill.compiled["params"] = check

    assert problems(skill, large)
    assert check.all_asked == 0
    assert problems(skill, {"a": [1, 2]})
    assert check.all_asked == 1


def test_guesses_are_made_for_the_first_problems_only() -> None:
    found = problems(SKILLS["create_note"], {"title": "x"} | {f"title{n:02}": 1 for n in range(40)})

    assert len(found) == 40
    assert [bool(problem.suggestion) for problem in found] == [True] * 5 + [False] * 35


def test_evil_patterns_are_matched_in_linear_time_or_not_at_all() -> None:
    """Were the engine a backtracking one, this test would not end within a lifetime."""
    text = "a" * 50_000 + "!"

    for pattern in (r"^(a+)+$", r"^(a|aa)+$", r"^(a|a)*$", r"^(\w+\s?)*$", r"^(a?){50}a{50}b$", r"(.*)*=.*"):
        assert not compile_schema({"pattern": pattern}).is_valid(text)
    for pattern in (r"(a)\1", r"(?=a)", r"(?<!a)b", "((a{1000}){1000}){1000}", r"(?:\p{L}{0,500}){0,500}"):
        with pytest.raises(ValidationError):
            compile_schema({"pattern": pattern})


def test_no_reference_is_fetched(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "string"}')

    for reference in (file.as_uri(), "http://127.0.0.1:9/schema"):
        with pytest.raises((ValidationError, ReferencingError)):
            compile_schema({"$ref": reference})


# ---------------------------------------------------------------------- a second opinion


#: Too few and too many of what an array must contain are one keyword for one validator and three for the other.
_CONTAINS = {"minContains": "contains", "maxContains": "contains"}


def _suite(shared: Path) -> Iterator[tuple[str, Any, Any, bool]]:
    for file in sorted((shared / "vectors" / "json-schema-2020-12").glob("*.json")):
        for group in json.loads(file.read_text(encoding="utf-8")):
            for case in group["tests"]:
                yield (
                    f"{file.stem}: {group['description']}: {case['description']}",
                    group["schema"],
                    case["data"],
                    case["valid"],
                )


def _accepted(schema: Any) -> Any:
    """The schema without `$schema`, if a definition may say it; else None."""
    if isinstance(schema, bool):
        return schema
    plain = {key: value for key, value in schema.items() if key not in ("$schema", "$comment")}
    definitions = plain.pop("$defs", {})
    refused: list[str] = []

    def note(_: object, message: str) -> None:
        refused.append(message)

    if not isinstance(definitions, dict) or _strange(plain) or _strange(definitions):
        return None
    for part in (plain, *definitions.values()):
        check_schema(part, definitions, note)
        check_size(part, definitions, note)
    return None if refused else {**plain, **({"$defs": definitions} if definitions else {})}


def _strange(schema: Any) -> bool:
    """Whether it uses what the format's own schema has no place for."""
    text = json.dumps(schema)
    return any(
        f'"{keyword}"' in text
        for keyword in (
            "$id",
            "$anchor",
            "$dynamicRef",
            "$dynamicAnchor",
            "$vocabulary",
            "$recursiveRef",
            "definitions",
        )
    )


@pytest.mark.shared
def test_every_case_of_the_official_suite_that_we_accept_is_decided_as_it_says(shared: Path) -> None:
    wrong: list[str] = []
    decided = 0
    for name, schema, data, valid in _suite(shared):
        accepted = _accepted(schema)
        if accepted is None or name.startswith(("format", "content")):
            continue
        decided += 1
        if compile_schema(accepted).is_valid(data) is not valid:
            wrong.append(name)

    assert not wrong
    assert decided > 800


@pytest.mark.shared
def test_two_validators_name_the_same_places_and_keywords(shared: Path) -> None:
    different: list[str] = []
    compared = 0
    for name, schema, data, valid in _suite(shared):
        accepted = _accepted(schema)
        if valid or accepted is None or name.startswith(("format", "content", "unevaluated")):
            continue
        try:
            theirs = {
                (tuple(error.absolute_path), _keyword(error))
                for error in jsonschema.Draft202012Validator(accepted).iter_errors(data)
            }
        except re.error:
            continue  # a pattern of ECMA 262 that Python's engine does not know
        compared += 1
        ours = {
            (tuple(error.instance_path), _CONTAINS.get(keyword_of(error), keyword_of(error)))
            for error in compile_schema(accepted).iter_errors(data)
        }
        if any(keyword == "false" for _, keyword in ours):
            # Where a schema is `false`, one names the value and the other what holds it.
            assert theirs, name
            continue
        if ours != theirs:
            different.append(f"{name}: {sorted(map(str, ours))} and {sorted(map(str, theirs))}")

    assert different == []
    assert compared > 300


def _keyword(error: jsonschema.ValidationError) -> str:
    if "propertyNames" in error.absolute_schema_path:
        return "propertyNames"
    keyword = str(error.validator)
    return "false" if keyword == "None" else _CONTAINS.get(keyword, keyword)


@pytest.mark.shared
def test_remote_references_of_the_suite_are_refused_at_load(shared: Path) -> None:
    groups = json.loads((shared / "vectors" / "json-schema-2020-12" / "refRemote.json").read_text(encoding="utf-8"))

    assert groups
    for group in groups:
        assert _accepted(group["schema"]) is None, group["description"]
