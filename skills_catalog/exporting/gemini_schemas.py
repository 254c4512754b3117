"""Input schemas in the part of OpenAPI 3.0 that Gemini takes for the parameters of a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skills_catalog.exporting.schema_forms import Definitions, Unsayable, can_say, definitions_of, forms, in_words
from skills_catalog.model import Json, Skill

#: By type, the formats that are taken; any other is refused.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "string": ("date-time", "enum"),
    "integer": ("int32", "int64"),
    "number": ("float", "double"),
}
_KEPT = frozenset({"minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems"})


def gemini_schema(skill: Skill) -> dict[str, Any] | None:
    """The input schema of the skill; None where it takes no params. Raises `Unsayable`."""
    if not skill.input_schema.get("properties"):
        return None
    schema = _one(skill.input_schema, definitions_of(skill.input_schema))
    if not all(can_say(schema, example.params) for example in skill.examples):
        raise Unsayable("has examples with members beyond those that it declares")
    return schema


def _value(schema: Json, definitions: Definitions) -> dict[str, Any]:
    ways = forms(schema, definitions)
    written = [_one(form, definitions) for form in ways if form.get("type") != "null"]
    if not written:
        raise Unsayable("takes null alone")
    if len(written) < len(ways):
        for one in written:
            one["nullable"] = True
    # Beside `anyOf` nothing else may stand.
    return written[0] if len(written) == 1 else {"anyOf": written}


def _one(form: Mapping[str, Json], definitions: Definitions) -> dict[str, Any]:
    kind = form.get("type")
    if kind is None:
        raise Unsayable("takes any value")
    written: dict[str, Any] = {"type": kind.upper()}
    kept = set(_KEPT & form.keys())
    if form.get("format") in FORMATS.get(kind, ()):
        kept.add("format")
    if kind == "string" and all(isinstance(value, str) and value for value in form.get("enum", ())):
        kept |= {"enum"} & form.keys()
    if kind == "object":
        properties: Mapping[str, Json] = form.get("properties", {})
        if not properties or form.get("additionalProperties", False) is not False:
            raise Unsayable("takes members of any name")
        written["properties"] = {name: _value(schema, definitions) for name, schema in properties.items()}
        if form.get("required"):
            written["required"] = list(form["required"])
    if kind == "array":
        if "items" not in form:
            raise Unsayable("takes items of any kind")
        written["items"] = _value(form["items"], definitions)
    said = " ".join(filter(None, (form.get("description", "").strip(), in_words(form, but=[*kept]))))
    if said:
        written["description"] = said
    return written | {word: form[word] for word in form if word in kept}
