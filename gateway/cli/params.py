"""Turns the words after an action into its params: the action's JSON Schema decides what each of them is."""

from __future__ import annotations

import mimetypes
import re
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from gateway.cli.failures import CommandFailed, refused
from gateway.cli.jsontext import NUMBER, Json, Number, dumps, loads

_FLAG = re.compile(r"--([A-Za-z_][\w.\-]*)(?:=(.*))?", re.DOTALL)
_MAX_DEPTH = 16


def read_params(words: Sequence[str], schema: Json) -> dict[str, Json]:
    """The params that `--name value`, `--name=value` and bare `--name` say, by this schema of theirs."""
    known = _Known(schema)
    given: dict[str, list[str | None]] = {}
    for name, value in _flags(words, known):
        given.setdefault(name, []).append(value)
    return {name: _typed(name, values, known.shape(name)) for name, values in given.items()}


def read_object(argument: str) -> dict[str, Json]:
    """The object that `--params` says: JSON itself, `@FILE`, or `-` for stdin."""
    try:
        if argument == "-":
            value = loads(sys.stdin.buffer.read())
        elif argument.startswith("@"):
            value = loads(Path(argument[1:]).read_bytes())
        else:
            value = loads(argument)
    except OSError as error:
        raise refused(f"--params: {argument[1:]} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise refused(
            f"--params is not JSON: {error}.", hint="Expected is an object, @FILE, or - for stdin."
        ) from error
    if not isinstance(value, dict):
        raise refused("--params is not a JSON object.")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What a value may be: the schema with every `$ref`, `anyOf` and the like opened into parts side by side."""

    parts: tuple[Mapping[str, Json], ...]
    #: The whole that a `$ref` points into.
    root: Json

    @classmethod
    def of(cls, schema: Json, root: Json) -> _Shape:
        return cls(parts=tuple(_parts(schema, root)), root=root)

    @property
    def types(self) -> frozenset[str]:
        """The JSON types that some part allows; none means that any will do."""
        types: set[str] = set()
        for part in self.parts:
            said = part.get("type")
            if isinstance(said, str):
                types.add(said)
            elif isinstance(said, list):
                types |= {name for name in said if isinstance(name, str)}
            elif "properties" in part:
                types.add("object")
            elif "items" in part:
                types.add("array")
        return frozenset(types or {_type_of(member) for member in self.listed})

    @property
    def listed(self) -> list[Json]:
        """The values that the schema names one by one."""
        members: list[Json] = []
        for part in self.parts:
            enum = part.get("enum")
            members += enum if isinstance(enum, list) else []
            members += [part["const"]] if "const" in part else []
        return members

    @property
    def items(self) -> _Shape:
        opened = (_parts(part["items"], self.root) for part in self.parts if "items" in part)
        return _Shape(parts=tuple(chain.from_iterable(opened)), root=self.root)

    @property
    def file(self) -> str | None:
        """How a file is taken: `object` with name and content, `string` of base64, or not at all."""
        for part in self.parts:
            properties = part.get("properties")
            if isinstance(properties, dict) and "filename" in properties and "content" in properties:
                return "object"
        for part in self.parts:
            if part.get("format") in ("binary", "byte") or part.get("contentEncoding") == "base64":
                return "string"
        return None

    @property
    def is_switch(self) -> bool:
        """Whether it is a boolean and nothing else, so that no value needs to follow."""
        return self.types - {"null"} == {"boolean"}


class _Known:
    """The params that a schema knows, by every spelling that means just one of them."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema
        self._properties: dict[str, Json] = {}
        self._others: Json = True
        for part in _parts(schema, schema):
            properties, others = part.get("properties"), part.get("additionalProperties")
            self._properties |= properties if isinstance(properties, dict) else {}
            self._others = others if isinstance(others, dict) else self._others

    def __contains__(self, name: str) -> bool:
        return name in self._properties

    def name(self, typed: str) -> str:
        """The name in the schema; the word as typed where the schema knows none, for the gateway to correct."""
        if typed in self._properties:
            return typed
        fits = [name for name in self._properties if _alike(name) == _alike(typed)]
        if len(fits) > 1:
            raise refused(f"--{typed} may mean {' or '.join(sorted(fits))}; write it as it is spelled there.")
        return fits[0] if fits else typed

    def shape(self, name: str) -> _Shape:
        return _Shape.of(self._properties.get(name, self._others), self._schema)


def _flags(words: Sequence[str], known: _Known) -> Iterator[tuple[str, str | None]]:
    at = 0
    while at < len(words):
        match = _FLAG.fullmatch(words[at])
        if match is None:
            raise _unexpected(words[at])
        name, value = known.name(match[1]), match[2]
        at += 1
        if value is not None:
            yield name, value
        elif name not in known and (switch := _switched_off(match[1], known)):
            yield switch, "false"
        elif at < len(words) and _may_follow(words[at], known.shape(name)):
            yield name, words[at]
            at += 1
        else:
            yield name, None


def _switched_off(typed: str, known: _Known) -> str | None:
    """The boolean that `--no-name` switches off; a name that is no flag of the schema is left as it is."""
    if not typed.startswith("no-"):
        return None
    name = known.name(typed[len("no-") :])
    return name if name in known and known.shape(name).is_switch else None


def _may_follow(word: str, shape: _Shape) -> bool:
    """Whether the word is the value of the flag before it."""
    if _FLAG.fullmatch(word):
        return False
    return not shape.is_switch or word in ("true", "false", "null")


def _typed(name: str, values: Sequence[str | None], shape: _Shape) -> Json:
    types = shape.types
    texts = [value for value in values if value is not None]
    if len(texts) < len(values):
        if types and "boolean" not in types:
            raise refused(f"--{name} needs a value; write --{name}=VALUE if the value itself starts with --.")
        if len(values) == 1:
            return True
    for text in texts:
        _check_encoding(name, text)
    if len(values) == len(texts) == 1:
        return _value(name, texts[0], shape)
    if (types and "array" not in types) or len(texts) < len(values):
        raise refused(f"--{name} is given {len(values)} times, and it takes one value.")
    if not types:
        return [_guess(text) for text in texts]
    return [item for text in texts for item in _items(name, text, shape)]


def _value(name: str, text: str, shape: _Shape) -> Json:
    if shape.file:
        return _file(name, text, shape.file)
    types = shape.types
    if not types:
        return _guess(text)
    for member in shape.listed:
        if text == (member if isinstance(member, str) else dumps(member)):
            return member
    if "string" in types:
        structure = _structure(text, types)
        return text if structure is None else structure
    if "boolean" in types and text in ("true", "false"):
        return text == "true"
    if types & {"integer", "number"} and NUMBER.fullmatch(text):
        return Number(text=text)
    if "null" in types and text == "null":
        return None
    if "array" in types and not ("object" in types and text.lstrip().startswith("{")):
        return _items(name, text, shape)
    if "object" in types:
        return _json(name, text)
    # Not what the schema wants: the gateway says so, and names the param and what it expected.
    return text


def _items(name: str, text: str, shape: _Shape) -> list[Json]:
    """The items of a list: a JSON array, or words between commas. An item that holds a comma needs the array."""
    opening, item = text.lstrip()[:1], shape.items
    if opening == "[":
        try:
            value = loads(text)
        except ValueError:
            value = None
        if isinstance(value, list):
            return value
    if opening in ("{", "[") and item.types & {"object", "array"}:
        value = _json(name, f"[{text}]")
        return value if isinstance(value, list) else []
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    return [_value(name, word, item) if item.types or item.file else word for word in words]


def _structure(text: str, types: frozenset[str]) -> Json:
    """The array or object that the text is, where the schema takes one as well as a string."""
    opening = text.lstrip()[:1]
    if {"[": "array", "{": "object"}.get(opening) not in types:
        return None
    try:
        return loads(text)
    except ValueError:
        return None


def _guess(text: str) -> Json:
    """What a word most likely is, where no schema tells."""
    if text in ("true", "false"):
        return text == "true"
    if NUMBER.fullmatch(text):
        return Number(text=text)
    if text[:1] in ("{", "["):
        try:
            return loads(text)
        except ValueError:
            return text
    return text


def _json(name: str, text: str) -> Json:
    try:
        return loads(text)
    except ValueError as error:
        raise refused(f"--{name} takes JSON, and this is none: {error}.") from error


def _file(name: str, text: str, shape: str) -> Json:
    """The file at this path; `@` before it is allowed, `@-` is stdin."""
    if shape == "object" and text.lstrip().startswith("{"):
        return _json(name, text)
    path = text.removeprefix("@")
    try:
        content = sys.stdin.buffer.read() if text == "@-" else Path(path).expanduser().read_bytes()
    except OSError as error:
        raise refused(f"--{name}: the file {path} cannot be read: {error.strerror}.") from error
    encoded = b64encode(content).decode("ascii")
    if shape == "string":
        return encoded
    filename = "stdin" if text == "@-" else Path(path).name
    content_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return {"filename": filename, "content_type": content_type, "content": encoded}


def _parts(schema: Json, root: Json, depth: int = 0) -> Iterator[Mapping[str, Json]]:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return
    yield schema
    if isinstance(reference := schema.get("$ref"), str):
        yield from _parts(_pointed(root, reference), root, depth + 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        ways = schema.get(keyword)
        for way in ways if isinstance(ways, list) else ():
            yield from _parts(way, root, depth + 1)


def _pointed(root: Json, reference: str) -> Json:
    """What a reference inside the schema points to (RFC 6901); references to elsewhere are not followed."""
    if not reference.startswith("#/"):
        return root if reference == "#" else None
    at = root
    for token in reference[2:].split("/"):
        at = at.get(token.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
    return at


def _type_of(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case Number():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _alike(name: str) -> str:
    return name.replace("-", "_")


def _check_encoding(name: str, text: str) -> None:
    # Bytes of the command line that are no UTF-8 come in as lone surrogates.
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refused(f"--{name} is not UTF-8; a file param or --params @FILE takes any content.") from error


def _unexpected(word: str) -> CommandFailed:
    return refused(
        f"{word!r} is no param: after the action come --name value pairs.",
        hint="Options of `skillway run` itself stand before the integration.",
    )
