"""The `skillway run …` line that makes the call of an example."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from skills_catalog.model import Example, Json, Skill

_FLAG = re.compile(r"--[A-Za-z_]")
#: Words that a list between commas can hold.
_PLAIN_ITEM = re.compile(r"[^\s,\[{\"'][^,]*(?<!\s)")


def cli_example(skill: Skill, example: Example) -> str:
    """The command line of an example; what flags cannot say goes into `--params`."""
    words = ["skillway", "run"]
    flags: list[str] = []
    rest: dict[str, Json] = {}
    for name, value in example.params.items():
        said = _flag(name, value, skill.input_schema.get("properties", {}).get(name, {}), skill)
        if said is None:
            rest[name] = value
        else:
            flags += said
    if rest:
        words += ["--params", _compact(rest)]
    return shlex.join([*words, skill.integration, skill.name, *flags])


def _flag(name: str, value: Json, schema: Json, skill: Skill) -> list[str] | None:
    """The words that say one param, or None where only JSON can."""
    if _is_file(schema, skill.input_schema):
        return [f"--{name}", _file_name(name, value)]
    types, listed = _types(schema, skill.input_schema)
    if value is True and types - {"null"} == {"boolean"}:
        return [f"--{name}"]
    text = _text(value, types, listed)
    if text is None:
        return None
    if _FLAG.match(text) or (value is False and types - {"null"} == {"boolean"}):
        return [f"--{name}={text}"]
    return [f"--{name}", text]


def _text(value: Json, types: frozenset[str], listed: Sequence[Json]) -> str | None:
    match value:
        case str() if any(value == option for option in listed):
            return value
        case str() if "string" in types:
            return None if value.lstrip()[:1] in ("[", "{") and types & {"array", "object"} else value
        case bool() if "boolean" in types and "string" not in types:
            return "true" if value else "false"
        case int() | float() if not isinstance(value, bool) and types & {"integer", "number"}:
            return None if "string" in types else _compact(value)
        case list() if "array" in types:
            return _list(value) if "string" not in types else _compact(value)
        case dict() if "object" in types:
            return _compact(value)
        case _:
            return None


def _list(items: Sequence[Json]) -> str:
    if items and all(isinstance(item, str) and _PLAIN_ITEM.fullmatch(item) for item in items):
        return ",".join(items)
    return _compact(items)


def _is_file(schema: Json, root: Mapping[str, Json]) -> bool:
    """Whether the command line takes the path of a file for it, and puts the content in base64 itself."""
    return any(
        part.get("contentEncoding") == "base64"
        or part.get("format") in ("binary", "byte")
        or {"filename", "content"} <= set(part.get("properties", ()))
        for part in _parts(schema, root)
    )


def _file_name(name: str, value: Json) -> str:
    given = value.get("filename") if isinstance(value, Mapping) else None
    return given if isinstance(given, str) and re.fullmatch(r"[\w][\w. -]*", given) else f"{name}.bin"


def _types(schema: Json, root: Mapping[str, Json]) -> tuple[frozenset[str], list[Json]]:
    """The JSON types that a schema allows, through `$ref` and alternatives, and the values it lists."""
    types: set[str] = set()
    listed: list[Json] = []
    for part in _parts(schema, root):
        said = part.get("type", ())
        types |= {said} if isinstance(said, str) else set(said)
        listed += part.get("enum", ())
        listed += [part["const"]] if "const" in part else []
    return frozenset(types), listed


def _parts(schema: Json, root: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    if not isinstance(schema, Mapping):
        return
    yield schema
    if "$ref" in schema:
        yield from _parts(root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2]), root)
    for keyword in ("anyOf", "oneOf", "allOf"):
        for way in schema.get(keyword, ()):
            yield from _parts(way, root)


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
