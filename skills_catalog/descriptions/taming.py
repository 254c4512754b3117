"""Takes out of schemas what costs far more than it says: circles, towers and trees of parts of one value.

`allOf`, `anyOf`, `oneOf` and `$ref` apply to the same value. Sixty definitions that each name the next one twice are
a tree with more leaves than anybody can visit; a definition that comes back to itself never ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skills_catalog.descriptions.model import Json
from skills_catalog.descriptions.schemas import referred

#: Parts that apply to one value, names written out.
MOST_PARTS = 2000
#: Parts within parts that apply to one value.
DEEPEST = 30
_LISTS = ("allOf", "anyOf", "oneOf")
_ONE = ("not", "if", "then", "else")
#: Under these stand schemas of other values.
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_OTHERS = ("items", "additionalProperties", "propertyNames", "contains", "unevaluatedProperties", "unevaluatedItems")


class Taming:
    """The definitions of a description, tamed; and a way to tame what stands elsewhere and names them."""

    def __init__(self, definitions: Mapping[str, Json]) -> None:
        #: Definition -> its parts and its levels.
        self._extents: dict[str, tuple[int, int]] = {}
        self._definitions = dict(definitions)
        for name in definitions:
            self._measure(name)
        self.definitions = {name: self.tame(schema) for name, schema in self._definitions.items()}

    def tame(self, schema: Json) -> Json:
        """The schema; of a value of which it says too much only the words are left."""
        parts, levels = _extent(schema, self._extents)
        if parts > MOST_PARTS or levels > DEEPEST:
            return _words(schema)
        return self._within(schema)

    def _within(self, schema: Json) -> Json:
        """The schema with everything tamed that it says of values within its own."""
        if not isinstance(schema, dict):
            return schema
        made: dict[str, Json] = {}
        for keyword, value in schema.items():
            if keyword in _LISTS:
                made[keyword] = [self._within(part) for part in value]
            elif keyword in _ONE:
                made[keyword] = self._within(value)
            elif keyword in _MAPS:
                made[keyword] = {name: self.tame(inner) for name, inner in value.items()}
            elif keyword == "prefixItems":
                made[keyword] = [self.tame(inner) for inner in value]
            elif keyword in _OTHERS:
                made[keyword] = self.tame(value)
            else:
                made[keyword] = value
        return made

    def _measure(self, root: str) -> None:
        """The extent of a definition, those that it names first; what leads back to itself is cut off."""
        found = self._definitions
        work: list[tuple[str, bool]] = [(root, False)]
        open_names: set[str] = set()
        while work:
            name, is_done = work.pop()
            if is_done:
                open_names.discard(name)
                parts, levels = _extent(found[name], self._extents)
                if parts > MOST_PARTS or levels > DEEPEST:
                    found[name], parts, levels = _words(found[name]), 1, 1
                self._extents[name] = (parts, levels)
            elif name not in self._extents and name not in open_names:
                open_names.add(name)
                work.append((name, True))
                inner = {one for one in _in_place(found[name]) if one in found}
                if back := inner & open_names:
                    found[name] = _without(found[name], back)
                work += [(one, False) for one in sorted(inner - open_names)]


def _extent(schema: Json, known: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Parts and levels that apply to one value."""
    if not isinstance(schema, dict):
        return 1, 1
    parts, levels = 1, 0
    name = referred(schema)
    if name is not None and name in known:
        parts, levels = parts + known[name][0], known[name][1]
    for inner in _parts(schema):
        more, deeper = _extent(inner, known)
        parts, levels = parts + more, max(levels, deeper)
    return parts, levels + 1


def _in_place(schema: Json) -> Iterator[str]:
    """The definitions that apply to the same value."""
    open_schemas = [schema]
    while open_schemas:
        current = open_schemas.pop()
        name = referred(current)
        if name is not None:
            yield name
        if isinstance(current, dict):
            open_schemas += _parts(current)


def _parts(schema: Mapping[str, Any]) -> Iterator[Json]:
    for keyword in _LISTS:
        yield from schema.get(keyword, ())
    for keyword in _ONE:
        if keyword in schema:
            yield schema[keyword]


def _without(schema: Json, names: set[str]) -> Json:
    """The schema without the parts of its value that lead to one of the names."""
    if not isinstance(schema, dict):
        return schema
    if referred(schema) in names:
        return {key: value for key, value in schema.items() if key != "$ref"}
    made = dict(schema)
    for keyword in _LISTS:
        if keyword in made:
            made[keyword] = [_without(inner, names) for inner in made[keyword]]
    for keyword in _ONE:
        if keyword in made:
            made[keyword] = _without(made[keyword], names)
    return made


def _words(schema: Json) -> Json:
    said = schema if isinstance(schema, dict) else {}
    return {key: said[key] for key in ("description", "title") if key in said}
