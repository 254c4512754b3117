"""Checks a call's params against the skill's input schema, and says in plain words what is wrong.

Schemas are compiled once, on first use, with a linear regular-expression engine and without any way to fetch a
`$ref`. No message repeats a value that was given: it may be long, or a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from skills_catalog.model import Json, Problem, Skill
from skills_catalog.names import nearest

#: A call with more problems than that is told the first ones.
MOST_PROBLEMS = 50
#: Params with more values than that are told their first problem alone.
LARGE = 1000
#: Guessing what was meant takes time, which a call full of wrong names should not buy.
MOST_GUESSES = 5
#: A pattern compiles to at most so many bytes: long inputs stay cheap, counted repeats cannot explode.
REGEX_BYTES = 1 << 20
_LONGEST_NAME = 64
_MOST_OPTIONS = 20

# The words for what JSON types a schema may ask for.
_A = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def problems(skill: Skill, params: Mapping[str, Json]) -> list[Problem]:
    """What is wrong with the params, sorted by path; empty if nothing is. Each message is a whole sentence."""
    check: Draft202012Validator | None = skill.compiled.get("params")
    if check is None:
        check = skill.compiled["params"] = compile_schema(skill.input_schema)
    try:
        if check.is_valid(params):
            return []
        if _is_large(params) and (one := _problem_of_large(skill, params)):
            return [one]
        found = _errors(check, params)
    except ValueError:
        # Nested past what the validator walks, or text that is not Unicode.
        return [Problem(path="", keyword="depth", message="The params are nested too deeply to be checked.")]
    described = sorted((one for error in found for one in _described(skill, error)), key=lambda one: one.order)
    return [one.problem(guess=at < MOST_GUESSES) for at, one in enumerate(described[:MOST_PROBLEMS])]


def compile_schema(schema: Mapping[str, Json] | bool) -> Draft202012Validator:
    """A validator that checks formats, fetches nothing and shows no value; `ValidationError` if it cannot be."""
    return Draft202012Validator(
        schema if isinstance(schema, bool) else dict(schema),
        validate_formats=True,
        pattern_options=RegexOptions(size_limit=REGEX_BYTES),
        mask="…",
        offline=True,
    )


def keyword_of(error: ValidationError) -> str:
    """The keyword of the schema that an error comes from; `false` where the schema allows nothing."""
    name = error.kind.name
    if name == "falseSchema":
        return "false"
    last = error.schema_path[-1] if error.schema_path else name
    return name if name == "propertyNames" or not isinstance(last, str) else last


def pointer(path: Iterable[str | int]) -> str:
    """`labels/0`; a slash or tilde within a name is escaped as in a JSON pointer (RFC 6901 §3)."""
    return "/".join(_short(str(step)).replace("~", "~0").replace("/", "~1") for step in path)


def known_properties(schema: Json, error: ValidationError) -> list[str]:
    """The property names that the schema of an error knows, where it stands beside the failed keyword."""
    for step in list(error.schema_path)[:-1]:
        try:
            schema = schema[step]
        except (KeyError, IndexError, TypeError):
            return []
    return list(schema.get("properties", ())) if isinstance(schema, Mapping) else []


def expectation(error: ValidationError) -> str:
    """What the value ought to be, to stand after its name: `must be a string, not a number`."""
    kind: Any = error.kind
    match kind.name:
        case "type":
            return f"must be {_types(kind.types)}, not {_type_of(error.instance, kind.types)}"
        case "enum":
            return f"must be one of {_options(kind.options)}"
        case "const":
            return f"must be {_value(kind.expected_value)}"
        case "minimum":
            return f"must be at least {kind.limit}"
        case "maximum":
            return f"must be at most {kind.limit}"
        case "exclusiveMinimum":
            return f"must be greater than {kind.limit}"
        case "exclusiveMaximum":
            return f"must be less than {kind.limit}"
        case "multipleOf":
            return f"must be a multiple of {kind.multiple_of}"
        case "minLength":
            return "must not be empty" if kind.limit == 1 else f"must have at least {kind.limit} characters"
        case "maxLength":
            return f"must have at most {_count(kind.limit, 'character')}"
        case "minItems":
            return f"must have at least {_count(kind.limit, 'item')}"
        case "maxItems":
            return f"must have at most {_count(kind.limit, 'item')}"
        case "minProperties":
            return f"must have at least {_count(kind.limit, 'property')}"
        case "maxProperties":
            return f"must have at most {_count(kind.limit, 'property')}"
        case "uniqueItems":
            return "must not hold the same item twice"
        case "pattern":
            return f"must match the pattern {_short(kind.pattern, 200)}"
        case "format":
            return f"must have the format {kind.format}"
        case "contains":
            return "must hold the items that the schema asks for"
        case "not":
            return "must not have this form"
        case "falseSchema":
            return "is not allowed here"
        case "unevaluatedItems" | "additionalItems":
            return "has more items than are allowed"
        case "anyOf" | "oneOf" if hasattr(kind, "context"):
            return _forms(kind, len(error.instance_path))
        case _:
            return f"does not satisfy {keyword_of(error)}"


def _errors(check: Draft202012Validator, params: Mapping[str, Json]) -> list[ValidationError]:
    """Every error of params of an ordinary size; of large ones the first, for a million take half a minute."""
    if _is_large(params):
        try:
            check.validate(params)
        except ValidationError as error:
            return [error]
    return list(islice(check.iter_errors(params), MOST_PROBLEMS))


def _problem_of_large(skill: Skill, params: Mapping[str, Json]) -> Problem | None:
    """The first problem of large params, where the validator would tell too many.

    It tells every unknown name, and for `anyOf` and `oneOf` every problem of every form: minutes for a long array.
    """
    for name in params:
        if name not in skill.params:
            return _unknown(skill, (), name, "additionalProperties", list(skill.params)).problem(guess=True)
    if "alone" not in skill.compiled:
        schema = {key: value for key, value in skill.input_schema.items() if key in ("properties", "$defs")}
        has_forms = re.search(r'"(any|one)Of"', json.dumps(skill.input_schema))
        skill.compiled["alone"] = compile_schema(schema) if has_forms else None
    alone: Draft202012Validator | None = skill.compiled["alone"]
    if alone is None:
        return None
    for name in skill.input_schema.get("required", ()):
        if name not in params:
            return Problem(path=name, keyword="required", message=f"{name} is missing.")
    wrong = next((name for name, value in params.items() if not alone.is_valid({name: value})), None)
    subject = "The whole of the params" if wrong is None else wrong
    message = f"{subject} does not fit the schema, and is too large to say where."
    return Problem(path=wrong or "", keyword="anyOf", message=message)


def _is_large(value: Json) -> bool:
    open_values = [value]
    for seen, current in enumerate(open_values):
        if isinstance(current, Mapping):
            open_values += islice(current.values(), LARGE)
        elif isinstance(current, list | tuple):
            open_values += current[:LARGE]
        if seen >= LARGE or len(open_values) > LARGE:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """A problem to be, with the names that a wrong one may have meant."""

    path: tuple[str | int, ...]
    keyword: str
    message: str
    name: str = ""
    known: Sequence[str] = ()

    @property
    def order(self) -> tuple[Any, str]:
        """By path, items of an array by number."""
        steps = [(0, step, "") if isinstance(step, int) else (1, 0, step) for step in self.path]
        return steps, self.keyword

    def problem(self, *, guess: bool) -> Problem:
        meant = nearest(self.name, self.known) if guess and self.known else None
        message = f"{self.message} Did you mean {meant}?" if meant else self.message
        return Problem(path=pointer(self.path), keyword=self.keyword, message=message, suggestion=meant)


def _described(skill: Skill, error: ValidationError) -> list[_Described]:
    """The problems of one error: one for each unknown or missing name."""
    at = tuple(error.instance_path)
    kind: Any = error.kind
    keyword = keyword_of(error)
    subject = pointer(at) or "params"
    match kind.name:
        case "required":
            path = (*at, kind.property)
            return [_Described(path=path, keyword=keyword, message=f"{pointer(path)} is missing.")]
        case "additionalProperties" | "unevaluatedProperties":
            known = known_properties(skill.input_schema, error)
            return [_unknown(skill, at, name, keyword, known) for name in kind.unexpected[:MOST_PROBLEMS]]
        case "propertyNames":
            message = f"{subject} holds a name that is not allowed."
            return [_Described(path=at, keyword=keyword, message=message)]
        case "enum" if isinstance(error.instance, str):
            options = [option for option in kind.options if isinstance(option, str)]
            message = f"{subject} {expectation(error)}."
            return [_Described(path=at, keyword=keyword, message=message, name=error.instance, known=options)]
        case _:
            return [_Described(path=at, keyword=keyword, message=f"{subject} {expectation(error)}.")]


def _unknown(skill: Skill, at: tuple[str | int, ...], name: str, keyword: str, known: Sequence[str]) -> _Described:
    path = (*at, name)
    of = "a property that is allowed here" if at else f"a param of {skill.id}"
    message = f"{pointer(path)} is not {of}."
    return _Described(path=path, keyword=keyword, message=message, name=name, known=known)


def _forms(kind: Any, depth: int) -> str:
    """What each alternative asks for of the value at that depth, the first few of them."""
    if kind.__class__.__name__ == "OneOfMultipleValid":
        return "fits more than one of the forms of which it may have one"
    parts: list[str] = []
    for branch in kind.context:
        if branch:
            first = branch[0]
            inner = pointer(list(first.instance_path)[depth:])
            if first.kind.name == "required":
                inner, words = "", f"must have {first.kind.property}"
            elif first.kind.name in ("additionalProperties", "unevaluatedProperties"):
                inner, words = "", "must not have other properties"
            else:
                words = expectation(first)
            part = f"{inner} {words}".strip()
            if part not in parts:
                parts.append(part)
    listed = "; or ".join(parts[:4])
    return f"has none of the allowed forms: {listed}" if len(parts) > 1 else listed or "has no allowed form"


def _types(types: Iterable[str]) -> str:
    return " or ".join(_A.get(name, name) for name in sorted(types, key=lambda name: name == "null"))


def _type_of(value: Json, wanted: Sequence[str] = ()) -> str:
    match value:
        case float() if "integer" in wanted:
            return "a number with decimals"
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case _:
            return "an array"


def _options(options: Sequence[Json]) -> str:
    shown = ", ".join(_value(option) for option in options[:_MOST_OPTIONS])
    return shown if len(options) <= _MOST_OPTIONS else f"{shown}, … ({len(options)} in all)"


def _value(value: Json) -> str:
    match value:
        case str():
            return _short(value) if value else "the empty string"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return _type_of(value)


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def _short(text: str, most: int = _LONGEST_NAME) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
