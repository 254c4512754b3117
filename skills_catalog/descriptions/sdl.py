"""Takes GraphQL text apart: the types of a schema, and the selections of a document (GraphQL spec, October 2021).

Only what a description needs is kept. Nesting is bounded, so that no text costs more than its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any, Final, Literal, NoReturn

Kind = Literal["object", "interface", "union", "enum", "input", "scalar"]
MAX_TOKENS: Final = 2_000_000
MAX_DEPTH: Final = 50

_TOKEN = re.compile(
    r'(?P<skip>[\s,\ufeff]+|\#[^\r\n]*)|(?P<block>"""(?:\\"""|(?!""")[\s\S])*""")'
    r'|(?P<string>"(?:\\.|[^"\\\r\n])*")|(?P<name>[_A-Za-z][_0-9A-Za-z]*)'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<mark>\.\.\.|[!$&()\[\]:=@{}|])"
)


class Malformed(ValueError):
    """Text that is no GraphQL; the message has the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRef:
    """`[Issue!]!`: a name, or a list of another; `required` is the `!`."""

    name: str = ""
    of: TypeRef | None = None
    required: bool = False

    @property
    def named(self) -> str:
        """The name at the bottom of the lists."""
        return self.of.named if self.of else self.name

    def __str__(self) -> str:
        return (f"[{self.of}]" if self.of else self.name) + ("!" if self.required else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    type: TypeRef
    has_default: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    type: TypeRef
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    description: str = ""
    deprecated: bool = False

    @property
    def needs_arguments(self) -> bool:
        return any(one.type.required and not one.has_default for one in self.arguments.values())


@dataclass(slots=True, kw_only=True)
class Type:
    """A type with all its extensions. Inputs keep their fields as arguments of no field."""

    kind: Kind
    name: str
    description: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    inputs: dict[str, Argument] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Schema:
    types: dict[str, Type] = field(default_factory=dict)
    #: `query`, `mutation` -> the name of its root type.
    roots: dict[str, str] = field(default_factory=lambda: {"query": "Query", "mutation": "Mutation"})

    def root(self, operation: str) -> Type | None:
        return self.types.get(self.roots.get(operation, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """One selection: a field, an inline fragment (`on`), or the spread of a named one."""

    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    on: str | None = None
    spread: str | None = None
    selections: tuple[Selected, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An operation of a document, with the fragments that stand beside it."""

    operation: str
    variables: Mapping[str, Argument]
    selections: tuple[Selected, ...]
    fragments: Mapping[str, tuple[str, tuple[Selected, ...]]]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$id` where a value stands."""

    name: str


def parse_schema(text: str) -> Schema:
    """The types of a schema document. Raises `Malformed`."""
    return _Parser(text).schema()


def parse_request(text: str) -> Request:
    """The one operation of an executable document. Raises `Malformed`."""
    return _Parser(text).request()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._read()
        self._token = next(self._tokens)
        self._depth = 0

    # ------------------------------------------------------------------ tokens

    def _read(self) -> Iterator[_Token]:
        at = count = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                self._fail(at, f"{self._text[at]!r} cannot stand there")
            if match.lastgroup != "skip":
                count += 1
                if count > MAX_TOKENS:
                    self._fail(at, f"it has more than {MAX_TOKENS} parts")
                yield _Token(match.lastgroup, match[0], at)
            at = match.end()
        yield _Token("end", "", at)

    def _fail(self, at: int, why: str) -> NoReturn:
        raise Malformed(f"line {self._text.count(chr(10), 0, at) + 1}: {why}")

    def _wrong(self, wanted: str) -> NoReturn:
        found = repr(self._token.text[:40]) if self._token.text else "the end"
        self._fail(self._token.at, f"expected {wanted}, not {found}")

    def _advance(self) -> _Token:
        token, self._token = self._token, next(self._tokens, self._token)
        return token

    def _is(self, text: str) -> bool:
        return self._token.text == text and self._token.kind in ("mark", "name")

    def _take(self, text: str) -> bool:
        if self._is(text):
            self._advance()
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._wrong(repr(text))

    def _name(self) -> str:
        if self._token.kind != "name":
            self._wrong("a name")
        return self._advance().text

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(self._token.at, f"nested deeper than {MAX_DEPTH} levels")

    def _described(self) -> str:
        if self._token.kind == "block":
            return dedent(self._advance().text[3:-3].replace('\\"""', '"""')).strip()
        if self._token.kind == "string":
            return str(_string(self._advance().text)).strip()
        return ""

    # ------------------------------------------------------------------ schemas

    def schema(self) -> Schema:
        schema = Schema()
        while self._token.kind != "end":
            description = self._described()
            self._take("extend")
            word = self._name()
            if word == "schema":
                self._directives()
                self._roots(schema)
            elif word == "directive":
                self._directive_definition()
            else:
                self._type(schema, word, description)
        return schema

    def _roots(self, schema: Schema) -> None:
        if not self._take("{"):
            return
        while not self._take("}"):
            operation = self._name()
            self._expect(":")
            schema.roots[operation] = self._name()

    def _directive_definition(self) -> None:
        self._expect("@")
        self._name()
        self._arguments()
        self._take("repeatable")
        self._expect("on")
        self._take("|")
        self._name()
        while self._take("|"):
            self._name()

    def _type(self, schema: Schema, word: str, description: str) -> None:
        kinds: dict[str, Kind] = {"type": "object", "interface": "interface", "union": "union"}
        kinds |= {"enum": "enum", "input": "input", "scalar": "scalar"}
        if word not in kinds:
            self._wrong(f"a definition, which {word!r} does not begin")
        name = self._name()
        made = schema.types.setdefault(name, Type(kind=kinds[word], name=name))
        made.description = made.description or description
        if self._take("implements"):
            self._take("&")
            while self._token.kind == "name":
                self._name()
                self._take("&")
        self._directives()
        if word == "union" and self._take("="):
            self._take("|")
            made.members.append(self._name())
            while self._take("|"):
                made.members.append(self._name())
        elif self._take("{"):
            while not self._take("}"):
                self._member(made)

    def _member(self, made: Type) -> None:
        description = self._described()
        name = self._name()
        if made.kind == "enum":
            self._directives()
            made.values.append(name)
        elif made.kind == "input":
            made.inputs[name] = self._argument(description)
        else:
            arguments = self._arguments()
            self._expect(":")
            kind = self._type_ref()
            deprecated = "deprecated" in self._directives()
            made.fields[name] = Field(type=kind, arguments=arguments, description=description, deprecated=deprecated)

    def _arguments(self) -> dict[str, Argument]:
        found: dict[str, Argument] = {}
        if self._take("("):
            while not self._take(")"):
                description = self._described()
                name = self._name()
                found[name] = self._argument(description)
        return found

    def _argument(self, description: str) -> Argument:
        self._expect(":")
        kind = self._type_ref()
        has_default = self._take("=")
        if has_default:
            self._value()
        self._directives()
        return Argument(type=kind, has_default=has_default, description=description)

    def _type_ref(self) -> TypeRef:
        self._deeper()
        if self._take("["):
            of = self._type_ref()
            self._expect("]")
            made = TypeRef(of=of, required=self._take("!"))
        else:
            made = TypeRef(name=self._name(), required=self._take("!"))
        self._depth -= 1
        return made

    def _directives(self) -> set[str]:
        found = set()
        while self._take("@"):
            found.add(self._name())
            self._given()
        return found

    def _given(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        if self._take("("):
            while not self._take(")"):
                name = self._name()
                self._expect(":")
                given[name] = self._value()
        return given

    def _value(self) -> Any:
        self._deeper()
        value = self._plain_value()
        self._depth -= 1
        return value

    def _plain_value(self) -> Any:
        if self._take("$"):
            return Variable(self._name())
        if self._take("["):
            items = []
            while not self._take("]"):
                items.append(self._value())
            return items
        if self._take("{"):
            members = {}
            while not self._take("}"):
                name = self._name()
                self._expect(":")
                members[name] = self._value()
            return members
        token = self._advance()
        if token.kind == "number":
            return float(token.text) if re.search(r"[.eE]", token.text) else int(token.text[:30])
        if token.kind == "string":
            return _string(token.text)
        if token.kind == "block":
            return token.text[3:-3]
        if token.kind != "name":
            self._fail(token.at, "expected a value")
        return {"true": True, "false": False, "null": None}.get(token.text, token.text)

    # ------------------------------------------------------------------ documents

    def request(self) -> Request:
        operation, variables = "", {}
        selections: tuple[Selected, ...] = ()
        fragments: dict[str, tuple[str, tuple[Selected, ...]]] = {}
        while self._token.kind != "end":
            if self._take("fragment"):
                name = self._name()
                self._expect("on")
                on = self._name()
                self._directives()
                fragments[name] = (on, self._selections())
                continue
            if operation:
                self._fail(self._token.at, "only one operation may stand here")
            operation = "query"
            if not self._is("{"):
                operation = self._name()
                if operation not in ("query", "mutation", "subscription"):
                    self._wrong("query or mutation")
                if self._token.kind == "name":
                    self._name()
                variables = self._variables()
                self._directives()
            selections = self._selections()
        if not operation:
            self._fail(self._token.at, "there is no operation")
        return Request(operation=operation, variables=variables, selections=selections, fragments=fragments)

    def _variables(self) -> dict[str, Argument]:
        found: dict[str, Argument] = {}
        if self._take("("):
            while not self._take(")"):
                self._expect("$")
                name = self._name()
                found[name] = self._argument("")
        return found

    def _selections(self) -> tuple[Selected, ...]:
        self._deeper()
        self._expect("{")
        found = []
        while not self._take("}"):
            found.append(self._selected())
        self._depth -= 1
        return tuple(found)

    def _selected(self) -> Selected:
        if self._take("..."):
            if self._token.kind == "name" and not self._is("on"):
                spread = self._name()
                self._directives()
                return Selected(spread=spread)
            on = self._name() if self._take("on") else ""
            self._directives()
            return Selected(on=on, selections=self._selections())
        name = self._name()
        if self._take(":"):
            name = self._name()
        given = self._given()
        self._directives()
        return Selected(name=name, arguments=given, selections=self._selections() if self._is("{") else None)


def _string(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text[1:-1]
    return value if isinstance(value, str) else text[1:-1]
