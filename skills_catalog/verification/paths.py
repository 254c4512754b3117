"""Finds the operation of a description that a request is for, by its method and its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from skills_catalog.descriptions.model import Description, Json, Operation, ServerVariable
from skills_catalog.model import Skill, Text, Variable
from skills_catalog.verification.values import Values, readings

_VARIABLE = re.compile(r"\{([^{}]*)\}")
#: Variables within one segment of a path.
_MOST_VARIABLES = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of a concrete path; `joins` if it belongs to one value together with the segment before it."""

    text: str
    joins: bool = False
    #: The definition says it word for word.
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An operation, the values of its path parameters, and how many segments were the same word for word."""

    operation: Operation
    values: Mapping[str, str]
    exact: int
    #: Whether the base path is the vendor's too.
    same_base: bool


@dataclass(slots=True)
class Paths:
    """The paths of a description, ready to be looked up."""

    description: Description
    values: Values
    _rows: list[tuple[Operation, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for operation in self.description.operations:
            servers = operation.servers or self.description.servers or ("",)
            for base in dict.fromkeys(base_path(server, self.description.variables) for server in servers):
                self._rows.append((operation, _split(base), _split(operation.path)))

    def find(self, method: str, path: Sequence[Part]) -> Found | None:
        """The operation whose template fits best, with its base path or, failing that, without."""
        for with_base in (True, False):
            found = [
                Found(operation=operation, values=values, exact=exact, same_base=with_base)
                for operation, base, template in self._rows
                if operation.method == method
                for values, exact in _fits((*base, *template), path, with_base=with_base, template=template)
                if self._may_be(operation, values, path)
            ]
            if found:
                return max(found, key=self._likeness) if len(found) > 1 else found[0]
        return None

    def _likeness(self, found: Found) -> tuple[int, int, bool, int]:
        """Of templates that fit alike the one tells most: of a `:verb` behind a value, of words, of what values may be."""
        colons = sum(":" in value for value in found.values.values())
        stretched = self._stretched(found)
        return -colons, found.exact - stretched, self._takes(found), -stretched

    def _stretched(self, found: Found) -> int:
        """How many slashes are in values that are not known to have any."""
        return sum(
            text.count("/")
            for one in found.operation.parameters
            if one.location == "path" and "/" in (text := found.values.get(one.name, ""))
            if "pattern" not in _plain(one.schema) or not self.values.takes(one.schema, text)
        )

    def _takes(self, found: Found) -> bool:
        """Whether the operation's parameters take all values of the path."""
        return all(
            any(self.values.takes(one.schema, reading) for reading in readings(text, self.values.types(one.schema)))
            for one in found.operation.parameters
            if one.location == "path" and (text := found.values.get(one.name)) is not None
        )

    def _may_be(self, operation: Operation, values: Mapping[str, str], path: Sequence[Part]) -> bool:
        """Whether words of the definition may be values: `/user/starred` is not `/user/{account_id}`."""
        fixed = {part.text for part in path if part.fixed}
        return all(
            self.values.takes(one.schema, reading)
            for one in operation.parameters
            if one.location == "path" and values.get(one.name) in fixed
            for reading in [next(readings(values[one.name], self.values.types(one.schema)))]
        )

    def other_methods(self, method: str, path: Sequence[Part]) -> list[str]:
        """The methods that the description has for the path, where it does not have this one."""
        return sorted(
            {
                operation.method
                for operation, base, template in self._rows
                if operation.method != method
                and any(True for _ in _fits((*base, *template), path, with_base=True, template=template))
            }
        )


def concrete(skill: Skill, params: Mapping[str, object], path: str) -> list[Part]:
    """The segments of a path that was built for a skill: those that one value filled are joined."""
    texts = path.split("/")[1:]
    own: list[Part] = []
    for pieces in skill.request.segments:
        many = 1
        fixed = all(isinstance(piece, Text) for piece in pieces)
        for piece in pieces:
            if isinstance(piece, Variable) and piece.keep_slash:
                value = params.get(piece.name, "")
                many += (",".join(map(str, value)) if isinstance(value, list) else str(value)).count("/")
        own += [Part("", joins=at > 0, fixed=fixed) for at in range(many)]
    before = len(texts) - len(own)
    if before < 0:
        return []
    based = [Part(unquote(text), fixed=True) for text in texts[:before]]
    return based + [replace(part, text=unquote(text)) for part, text in zip(own, texts[before:], strict=True)]


def sketched(base_url: str, skill: Skill, params: Mapping[str, object]) -> list[Part]:
    """The segments that a path would have, where no request can be built: values as they stand, `x` for what lacks."""
    base = urlsplit(_VARIABLE.sub("x", base_url)).path.strip("/")
    parts = [Part(unquote(text), fixed=True) for text in base.split("/") if text]
    for pieces in skill.request.segments:
        text = "".join(
            unquote(piece.text) if isinstance(piece, Text) else str(params.get(piece.name) or "x") for piece in pieces
        )
        fixed = all(isinstance(piece, Text) for piece in pieces)
        slashes = any(isinstance(piece, Variable) and piece.keep_slash for piece in pieces)
        texts = text.split("/") if slashes else [text]
        parts += [Part(one, joins=at > 0, fixed=fixed) for at, one in enumerate(texts)]
    return parts


def base_path(server: str, variables: Mapping[str, ServerVariable]) -> str:
    """The path of a server's URL, its variables filled with their defaults."""
    filled = _VARIABLE.sub(lambda match: variables[match[1]].default if match[1] in variables else "x", server)
    return urlsplit(filled).path.rstrip("/")


def is_server(base_url: str, servers: Sequence[str]) -> bool:
    """Whether a base URL with `{field}`s is on the host of one of the servers, whatever stands for variables."""
    own = _host(base_url)
    known = [host for server in servers if (host := _host(server))]
    return not known or any(_same_host(own, host) for host in known)


def _host(url: str) -> str:
    return re.sub(r"^[a-z]+://|[/?#].*$", "", url.lower()) if "://" in url else ""


def _same_host(one: str, other: str) -> bool:
    def pattern(host: str) -> str:
        return "[^/]+".join(re.escape(part) for part in _VARIABLE.split(host)[::2])

    plain = [_VARIABLE.sub("x", host) for host in (one, other)]
    return bool(re.fullmatch(pattern(one), plain[1]) or re.fullmatch(pattern(other), plain[0]))


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()


def _fits(
    whole: Sequence[str], path: Sequence[Part], *, with_base: bool, template: Sequence[str]
) -> Iterator[tuple[dict[str, str], int]]:
    path = [part for part in path if part.text] if path and not path[-1].text else path
    wanted = whole if with_base else template
    if not with_base:
        # The end of the path, however it begins.
        starts = range(1, len(path) - len(template) + 1) if len(path) > len(template) else range(0)
    else:
        starts = range(1)
    for start in starts:
        found = _aligned(tuple(wanted), tuple(path[start:]))
        if found is not None:
            yield found
            return


def _aligned(wanted: tuple[str, ...], path: tuple[Part, ...]) -> tuple[dict[str, str], int] | None:
    """The values of the variables if the template fits the whole path, and the segments that are equal."""
    if not wanted or not path:
        return ({}, 0) if not wanted and not path else None
    segment = wanted[0]
    if "{" not in segment:
        if segment != path[0].text:
            return None
        rest = _aligned(wanted[1:], path[1:])
        return (rest[0], rest[1] + 1) if rest else None
    # Also of `{name}:cancel` the value may have slashes.
    most = 1
    while most < len(path) and path[most].joins:
        most += 1
    # As few segments as can be: what a value filled is given to as many variables as there are.
    for many in range(1, most + 1):
        text = "/".join(part.text for part in path[:many])
        match = _segment_pattern(segment).fullmatch(text)
        if match is None:
            continue
        rest = _aligned(wanted[1:], path[many:])
        if rest is not None:
            names = _VARIABLE.findall(segment)
            return ({**dict(zip(names, match.groups(), strict=True)), **rest[0]}, rest[1])
    return None


def _plain(schema: Json) -> Mapping[str, Json]:
    return schema if isinstance(schema, dict) else {}


@lru_cache(maxsize=8192)
def _segment_pattern(segment: str) -> re.Pattern[str]:
    pieces = _VARIABLE.split(segment)
    if len(pieces) > 2 * _MOST_VARIABLES + 1:
        # Each more multiplies the ways in which a text could be cut.
        return re.compile(r"(?!)")
    return re.compile("(.+)".join(re.escape(piece) for piece in pieces[::2]), re.DOTALL)
