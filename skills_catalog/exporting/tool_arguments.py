"""The arguments of a tool call as the action takes them, where a vendor's models cannot say them so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skills_catalog.exporting.schema_forms import Definitions, Unsayable, definitions_of, forms
from skills_catalog.model import Json, Skill


def as_taken(
    skill: Skill, arguments: Mapping[str, Json], *, drops_nulls: bool = False, makes_whole: bool = False
) -> dict[str, Json]:
    """The params that a model meant.

    `drops_nulls`: strict mode makes a model give null for what it leaves out; such nulls go, but for those that the
    action's own schema takes. `makes_whole`: where all numbers have decimals, `7.0` is the `7` of a whole number.
    """
    reading = _Reading(definitions_of(skill.input_schema), drops_nulls, makes_whole)
    return reading.members([skill.input_schema], arguments)


@dataclass(frozen=True, slots=True)
class _Reading:
    definitions: Definitions
    drops_nulls: bool
    makes_whole: bool

    def members(self, schemas: Iterable[Json], value: Mapping[str, Json]) -> dict[str, Json]:
        objects = [form for form in self._forms(schemas) if form.get("type") == "object"]
        found: dict[str, Json] = {}
        for name, member in value.items():
            knowing = [form for form in objects if name in form.get("properties", ())]
            if member is None and self.drops_nulls and knowing and not any(self._needs(form, name) for form in knowing):
                continue
            found[name] = self._value([form["properties"][name] for form in knowing], member)
        return found

    def _value(self, schemas: Sequence[Json], value: Json) -> Json:
        if isinstance(value, dict):
            return self.members(schemas, value)
        if isinstance(value, list):
            items = [form["items"] for form in self._forms(schemas) if "items" in form]
            return [self._value(items, item) for item in value]
        if self.makes_whole and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            kinds = {form.get("type") for form in self._forms(schemas)}
            return int(value) if "integer" in kinds and "number" not in kinds else value
        return value

    def _needs(self, form: Mapping[str, Json], name: str) -> bool:
        """Whether null says something there, or nothing may be left out."""
        if name in form.get("required", ()):
            return True
        try:
            return any(one.get("type") in (None, "null") for one in forms(form["properties"][name], self.definitions))
        except Unsayable:
            return True

    def _forms(self, schemas: Iterable[Json]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for schema in schemas:
            try:
                found += forms(schema, self.definitions)
            except Unsayable:
                continue
        return found
